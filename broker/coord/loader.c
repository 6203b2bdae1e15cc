/* Reads a partition's batches into coordinators. */
#include "broker/coord/loader.h"

#include "base/planted.h"
#include "proto/record/record.h"

#include <stdlib.h>

struct group_loader {
    struct group_cores *cores; /* owned until taken */
    struct codec *codec;
    struct buf scratch;
    uint64_t records;
    uint64_t skipped;
};

struct group_loader *
group_loader_create(const struct group_shard_options *options,
                    int64_t high_watermark)
{
    struct group_loader *loader = xcalloc(1, sizeof *loader);

    loader->cores = group_cores_create(options);
    loader->codec = codec_new();
    coord_committed(group_cores_classic(loader->cores), high_watermark);
    return loader;
}

void group_loader_free(struct group_loader *loader)
{
    if (loader == NULL)
        return;
    group_cores_free(loader->cores);
    codec_free(loader->codec);
    buf_free(&loader->scratch);
    free(loader);
}

struct group_cores *group_loader_take(struct group_loader *loader)
{
    struct group_cores *cores = loader->cores;

    loader->cores = NULL;
    group_loader_free(loader);
    return cores;
}

uint64_t group_loader_records(const struct group_loader *loader)
{
    return loader->records;
}

uint64_t group_loader_skipped(const struct group_loader *loader)
{
    return loader->skipped;
}

/* A control record's key is a version and a type. */
enum { MARKER_ABORT = 0, MARKER_COMMIT = 1 };

static void read_marker(struct group_loader *loader, const struct batch *batch,
                        const struct record *record)
{
    struct reader r = reader_of(record->key);
    int16_t version = read_i16(&r);
    int16_t type = read_i16(&r);
    struct coord_origin origin = {record->offset, batch->producer_id};

    if (r.bad || version < 0 || (type != MARKER_ABORT && type != MARKER_COMMIT))
        loader->skipped++;
    else
        coord_replay_marker(group_cores_classic(loader->cores), origin,
                            type == MARKER_COMMIT);
}

static void read_record(struct group_loader *loader, const struct batch *batch,
                        const struct record *record)
{
    bool in_txn = (batch->attributes & BATCH_TRANSACTIONAL) != 0;
    struct coord_origin origin = {record->offset,
                                  in_txn ? batch->producer_id : -1};

    loader->records++;
    if ((batch->attributes & BATCH_CONTROL) != 0)
        read_marker(loader, batch, record);
    else if (group_cores_replay(loader->cores, origin, record->key,
                                record->value) != ERR_NONE)
        loader->skipped++;
}

static enum err read_batch(struct group_loader *loader, struct slice bytes,
                           const struct batch *batch)
{
    struct record_reader reader;
    struct record record;

    if (!batch_crc_ok(bytes, batch))
        return ERR_CORRUPT_MESSAGE;
    enum err err = record_open(&reader, loader->codec, bytes, batch,
                               CODEC_LIMIT_BYTES, &loader->scratch);
    if (err != ERR_NONE)
        return err;
    while (record_next(&reader, &record))
        read_record(loader, batch, &record);
    return reader.err;
}

enum err group_loader_add(struct group_loader *loader, struct slice batches)
{
    while (batches.len != 0) {
        struct batch batch;
        enum err err = batch_parse(batches, &batch);

        if (err == ERR_NONE && (batch.size_bytes != batches.len ||
                                !PLANTED(GROUPS_LOAD_WITHOUT_THE_LAST)))
            err = read_batch(loader, slice_of(batches.data, batch.size_bytes),
                             &batch);
        if (err != ERR_NONE)
            return err;
        batches = slice_of(batches.data + batch.size_bytes,
                           batches.len - batch.size_bytes);
    }
    return ERR_NONE;
}
