/* What cleaning leaves of one batch.  Pure.
 *
 * A record goes when the map has a later offset for its key, when it has no
 * key, or when it is a tombstone (null value) whose time is over.  Offsets,
 * sequences, timestamps and headers of what stays do not change, nor do the
 * batch's base and last offset, its leader epoch and its producer.
 *
 * Tombstones (KIP-534): the first cleaning that leaves a tombstone in a batch
 * sets BATCH_DELETE_HORIZON and writes the time until which it stays,
 * now + delete.retention.ms, into the batch's base timestamp; the records'
 * timestamps are counted from there.
 *
 * Transactions: which were aborted, and whose marker may go, is for the caller
 * to say (clean_txn.h).  Records of aborted ones are not to be indexed.  A
 * marker that may go gets a horizon as tombstones do, and goes when it has
 * passed; one that must stay for its place in the log stays whole. */
#ifndef BROKER_LOG_CLEAN_BATCH_H
#define BROKER_LOG_CLEAN_BATCH_H

#include "broker/log/clean_map.h"
#include "proto/record/builder.h"

struct clean_filter {
    const struct clean_map *map;
    int64_t map_end; /* batches that begin here or later stay as they are */
    int64_t now_ms;  /* wall clock */
    int64_t delete_retention_ms;
    struct codec *codec;
    size_t limit_bytes; /* for what a batch may expand to */
    /* Owned; kept from batch to batch. */
    struct buf expanded;
    struct batch_builder builder;
};

void clean_filter_init(struct clean_filter *f);
void clean_filter_free(struct clean_filter *f);

/* Takes the keys of a batch of data into the map, those of records from `from`
 * on.
 * *full: the map had no room for all; the batch is not covered by it then.
 * Errors: what the records are damaged with; ERR_INVALID_RECORD also when their
 * offsets do not rise or are not the batch's. */
enum err clean_index_batch(struct clean_filter *f, struct clean_map *map,
                           struct slice bytes, const struct batch *b,
                           int64_t from, bool *full);

enum clean_kept {
    CLEAN_NOTHING, /* the batch goes */
    CLEAN_HEADER,  /* only its header stays, with no records */
    CLEAN_SOME,    /* written anew */
    CLEAN_ALL,     /* byte for byte */
};

enum clean_fate {
    CLEAN_RECORDS, /* each is judged by itself */
    CLEAN_ABORTED_RECORDS,
    CLEAN_MARKER,      /* a control batch that stays */
    CLEAN_MARKER_OVER, /* one that may go, in time */
};

/* Appends what is left to `out`.  keep_header: if no record is left, a batch
 * without records stays in its place.  On error, of the same kinds, `out` is as
 * it was. */
enum err clean_batch(struct clean_filter *f, struct slice bytes,
                     const struct batch *b, enum clean_fate fate,
                     bool keep_header, struct buf *out, enum clean_kept *kept);

#endif
