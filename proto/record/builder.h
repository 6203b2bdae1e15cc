/* Writing v2 batches: append records, then finish with a header.
 *
 *   struct batch_builder b;
 *   batch_builder_init(&b);
 *   batch_builder_append(&b, now_ms, key, value, NULL, 0);
 *   struct batch_options options = BATCH_OPTIONS_INIT;
 *   batch_builder_finish(&b, &options, codec, &out);
 *   batch_builder_free(&b);
 *
 * Finishing leaves the builder empty and ready for the next batch, with its
 * memory kept. */
#ifndef PROTO_RECORD_BUILDER_H
#define PROTO_RECORD_BUILDER_H

#include "proto/record/batch.h"
#include "proto/record/compression.h"
#include "proto/record/record.h"

struct batch_builder {
    struct buf records; /* owned; encoded, uncompressed */
    int32_t count;
    int32_t last_offset_delta; /* -1 while empty */
    int64_t base_timestamp;    /* the first record's, unless set; else -1 */
    int64_t max_timestamp;     /* -1 while empty */
    bool base_is_set;          /* by batch_builder_set_base_timestamp() */
};

struct batch_options {
    int64_t base_offset;
    int32_t leader_epoch;
    int64_t producer_id; /* -1 none; then epoch and sequence are -1 too */
    int16_t producer_epoch;
    int32_t base_sequence;
    /* BATCH_TRANSACTIONAL, BATCH_CONTROL, BATCH_LOG_APPEND_TIME; the codec's
     * bits are set from `compression`. */
    uint16_t attributes;
    int64_t append_time_ms; /* max timestamp under BATCH_LOG_APPEND_TIME */
    enum compression compression;
    int level;
};
#define BATCH_OPTIONS_INIT                                                     \
    ((struct batch_options){.leader_epoch = -1,                                \
                            .producer_id = -1,                                 \
                            .producer_epoch = -1,                              \
                            .base_sequence = -1,                               \
                            .append_time_ms = -1,                              \
                            .level = CODEC_LEVEL_DEFAULT})

void batch_builder_init(struct batch_builder *b);
void batch_builder_reset(struct batch_builder *b); /* empty, memory kept */
void batch_builder_free(struct batch_builder *b);

/* Before the first record: what timestamps are counted from, if it is not to be
 * the first record's (KIP-534's delete horizon).  Until the next reset. */
void batch_builder_set_base_timestamp(struct batch_builder *b,
                                      int64_t base_timestamp);

/* Appends a record one offset behind the last one.  Key, value and headers'
 * values may be null; timestamp -1 is "none".  Everything is copied. */
void batch_builder_append(struct batch_builder *b, int64_t timestamp,
                          struct slice key, struct slice value,
                          const struct record_header *headers,
                          int32_t headers_count);
/* The same with headers as record_next() gave them, at an offset delta above
 * the last one (gaps are what compaction leaves). */
void batch_builder_append_encoded(struct batch_builder *b, int32_t offset_delta,
                                  int64_t timestamp, struct slice key,
                                  struct slice value, int32_t headers_count,
                                  struct slice headers);

/* What finish would append if nothing were compressed. */
static inline size_t batch_builder_size_bytes(const struct batch_builder *b)
{
    return BATCH_HEADER_BYTES + b->records.len;
}

/* Appends the whole batch to `out` and empties the builder.  The batch must not
 * pass 2 GiB.  `codec` may be NULL if options->compression is none. */
void batch_builder_finish(struct batch_builder *b,
                          const struct batch_options *options,
                          struct codec *codec, struct buf *out);

/* The rest is shared with recompress.c.
 *
 * batch_begin() makes room for a header at the end of `out` and returns where
 * the batch starts; when the records stand behind it batch_end() writes the
 * header, of which size_bytes and crc are computed. */
size_t batch_begin(struct buf *out);
void batch_end(struct buf *out, size_t start, const struct batch *header);

#endif
