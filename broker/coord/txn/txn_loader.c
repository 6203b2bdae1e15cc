/* Reads a partition's batches into a coordinator. */
#include "broker/coord/txn/txn_loader.h"

#include "base/planted.h"

#include "proto/record/record.h"

#include <stdlib.h>

struct txn_loader {
    struct txn_coord *coord; /* owned until taken */
    struct codec *codec;
    struct buf scratch;
    uint64_t records;
    uint64_t skipped;
};

struct txn_loader *txn_loader_create(const struct txn_config *config)
{
    struct txn_loader *loader = xcalloc(1, sizeof *loader);

    loader->coord = txn_coord_create(config);
    loader->codec = codec_new();
    return loader;
}

void txn_loader_free(struct txn_loader *loader)
{
    if (loader == NULL)
        return;
    txn_coord_free(loader->coord);
    codec_free(loader->codec);
    buf_free(&loader->scratch);
    free(loader);
}

struct txn_coord *txn_loader_take(struct txn_loader *loader)
{
    struct txn_coord *coord = loader->coord;

    loader->coord = NULL;
    txn_loader_free(loader);
    return coord;
}

uint64_t txn_loader_records(const struct txn_loader *loader)
{
    return loader->records;
}

uint64_t txn_loader_skipped(const struct txn_loader *loader)
{
    return loader->skipped;
}

static enum err read_batch(struct txn_loader *loader, struct slice bytes,
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
        if (txn_coord_replay(loader->coord, record.key, record.value) !=
            ERR_NONE)
            loader->skipped++;
    }
    return reader.err;
}

enum err txn_loader_add(struct txn_loader *loader, struct slice batches)
{
    while (batches.len != 0) {
        struct batch batch;
        enum err err = batch_parse(batches, &batch);

        if (err == ERR_NONE && (batch.size_bytes != batches.len ||
                                !PLANTED(TXN_LOADS_WITHOUT_THE_LAST)))
            err = read_batch(loader, slice_of(batches.data, batch.size_bytes),
                             &batch);
        if (err != ERR_NONE)
            return err;
        batches = slice_of(batches.data + batch.size_bytes,
                           batches.len - batch.size_bytes);
    }
    return ERR_NONE;
}
