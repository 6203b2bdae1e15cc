/* Reads a partition's batches into a coordinator. */
#include "broker/coord/share/share_loader.h"

#include "base/planted.h"
#include "proto/record/record.h"

#include <stdlib.h>

struct share_loader {
    struct share_coord *coord; /* owned until taken */
    struct codec *codec;
    struct buf scratch;
    uint64_t records;
    uint64_t skipped;
};

struct share_loader *
share_loader_create(const struct share_coord_config *config)
{
    struct share_loader *loader = xcalloc(1, sizeof *loader);

    loader->coord = share_coord_create(config);
    loader->codec = codec_new();
    return loader;
}

void share_loader_free(struct share_loader *loader)
{
    if (loader == NULL)
        return;
    share_coord_free(loader->coord);
    codec_free(loader->codec);
    buf_free(&loader->scratch);
    free(loader);
}

struct share_coord *share_loader_take(struct share_loader *loader)
{
    struct share_coord *coord = loader->coord;

    loader->coord = NULL;
    share_loader_free(loader);
    return coord;
}

uint64_t share_loader_records(const struct share_loader *loader)
{
    return loader->records;
}

uint64_t share_loader_skipped(const struct share_loader *loader)
{
    return loader->skipped;
}

static enum err read_batch(struct share_loader *loader, struct slice bytes,
                           const struct batch *batch)
{
    struct record_reader reader;
    struct record record;

    if (!batch_crc_ok(bytes, batch))
        return ERR_CORRUPT_MESSAGE;
    if ((batch->attributes & BATCH_CONTROL) != 0)
        return ERR_NONE; /* no coordinator writes these here */
    enum err err = record_open(&reader, loader->codec, bytes, batch,
                               CODEC_LIMIT_BYTES, &loader->scratch);
    if (err != ERR_NONE)
        return err;
    while (record_next(&reader, &record)) {
        loader->records++;
        if (share_coord_replay(loader->coord, record.key, record.value,
                               record.offset) != ERR_NONE)
            loader->skipped++;
    }
    return reader.err;
}

enum err share_loader_add(struct share_loader *loader, struct slice batches)
{
    while (batches.len != 0) {
        struct batch batch;
        enum err err = batch_parse(batches, &batch);

        if (err == ERR_NONE && (batch.size_bytes != batches.len ||
                                !PLANTED(SHARE_LOADS_WITHOUT_THE_LAST)))
            err = read_batch(loader, slice_of(batches.data, batch.size_bytes),
                             &batch);
        if (err != ERR_NONE)
            return err;
        batches = slice_of(batches.data + batch.size_bytes,
                           batches.len - batch.size_bytes);
    }
    return ERR_NONE;
}
