#include "broker/log/clean_batch.h"

#include "base/planted.h"
#include "proto/record/recompress.h"

void clean_filter_init(struct clean_filter *f)
{
    *f = (struct clean_filter){.expanded = BUF_INIT};
    batch_builder_init(&f->builder);
}

void clean_filter_free(struct clean_filter *f)
{
    buf_free(&f->expanded);
    batch_builder_free(&f->builder);
}

static bool has(const struct batch *b, enum batch_attributes bit)
{
    return (b->attributes & (int)bit) != 0;
}

/* The next record, whose offset is behind that of the one before and within the
 * batch: of compressed records nobody may have asked that when they came.
 * *last_delta is -1 before the first. */
static bool next_in_order(struct record_reader *r, struct record *record,
                          int32_t *last_delta)
{
    if (!record_next(r, record))
        return false;
    if (record->offset_delta <= *last_delta ||
        record->offset_delta > r->batch.last_offset_delta) {
        r->err = ERR_INVALID_RECORD;
        return false;
    }
    *last_delta = record->offset_delta;
    return true;
}

/* ---- the map --------------------------------------------------------------*/

enum err clean_index_batch(struct clean_filter *f, struct clean_map *map,
                           struct slice bytes, const struct batch *b,
                           int64_t from, bool *full)
{
    struct record_reader r;
    struct record record;
    int32_t last_delta = -1;

    *full = false;
    ASSERT(!has(b, BATCH_CONTROL));
    enum err err =
        record_open(&r, f->codec, bytes, b, f->limit_bytes, &f->expanded);
    if (err != ERR_NONE)
        return err;
    while (!*full && next_in_order(&r, &record, &last_delta))
        if (!slice_is_null(record.key) && record.offset >= from)
            *full = !clean_map_put(map, record.key, record.offset);
    return r.err;
}

/* ---- what stays -----------------------------------------------------------*/

/* The base timestamp says until when; Kafka's DefaultRecordBatch
 * deleteHorizonMs(). */
static bool is_past_horizon(const struct clean_filter *f, const struct batch *b)
{
    return has(b, BATCH_DELETE_HORIZON) && f->now_ms >= b->base_timestamp;
}

static bool record_stays(const struct clean_filter *f, const struct batch *b,
                         const struct record *record)
{
    if (has(b, BATCH_CONTROL))
        return true;
    if (slice_is_null(record->key))
        return false;
    int64_t last = clean_map_get(f->map, record->key);
    if (record->offset < last ||
        (PLANTED(CLEANER_DROPS_THE_LAST) && record->offset == last))
        return false;
    return !slice_is_null(record->value) || !is_past_horizon(f, b);
}

struct tally {
    int32_t kept;
    int32_t tombstones; /* among them */
};

/* Counts what stays, so that nothing is written for a batch that all of, or
 * nothing of, stays. */
static enum err count(struct clean_filter *f, struct slice bytes,
                      const struct batch *b, struct tally *t)
{
    struct record_reader r;
    struct record record;
    int32_t last_delta = -1;
    enum err err =
        record_open(&r, f->codec, bytes, b, f->limit_bytes, &f->expanded);

    *t = (struct tally){0};
    if (err != ERR_NONE)
        return err;
    while (next_in_order(&r, &record, &last_delta)) {
        if (!record_stays(f, b, &record))
            continue;
        t->kept++;
        t->tombstones += slice_is_null(record.value);
    }
    return r.err;
}

static void put_empty(const struct batch *b, struct buf *out)
{
    struct batch header = *b;
    size_t start = batch_begin(out);

    /* As Kafka's writeEmptyHeader(): uncompressed, without a horizon. */
    header.attributes = (int16_t)(b->attributes & ~(BATCH_COMPRESSION_MASK |
                                                    BATCH_DELETE_HORIZON));
    header.base_timestamp = -1;
    header.records_count = 0;
    batch_end(out, start, &header);
}

/* The records that stay, from the bytes count() has expanded and checked. */
static void gather(struct clean_filter *f, struct record_reader r,
                   const struct batch *b)
{
    struct record record;

    while (record_next(&r, &record)) {
        /* Under LogAppendTime a record's own time is not what it shows. */
        int64_t timestamp = (int64_t)((uint64_t)b->base_timestamp +
                                      (uint64_t)record.timestamp_delta);
        if (record_stays(f, b, &record))
            batch_builder_append_encoded(&f->builder, record.offset_delta,
                                         timestamp, record.key, record.value,
                                         record.headers_count, record.headers);
    }
}

/* Times that are counted from elsewhere may take more bytes than before. */
static enum err put_rest(struct clean_filter *f, struct slice bytes,
                         const struct batch *b, bool set_horizon,
                         struct buf *out)
{
    struct batch header = *b;
    struct record_reader r;

    if (set_horizon) {
        header.attributes |= BATCH_DELETE_HORIZON;
        header.base_timestamp = f->now_ms > INT64_MAX - f->delete_retention_ms
                                    ? INT64_MAX
                                    : f->now_ms + f->delete_retention_ms;
    }
    record_open(&r, f->codec, bytes, b, f->limit_bytes, &f->expanded);
    batch_builder_reset(&f->builder);
    batch_builder_set_base_timestamp(&f->builder, header.base_timestamp);
    gather(f, r, b);
    if (f->builder.records.len > INT32_MAX - BATCH_HEADER_BYTES) {
        batch_builder_reset(&f->builder);
        return ERR_MESSAGE_TOO_LARGE;
    }
    if (!has(b, BATCH_LOG_APPEND_TIME))
        header.max_timestamp = f->builder.max_timestamp;
    header.records_count = f->builder.count;
    batch_pack(f->codec, &header, buf_slice(&f->builder.records),
               batch_compression(b), CODEC_LEVEL_DEFAULT, out);
    batch_builder_reset(&f->builder);
    return ERR_NONE;
}

/* What the tombstones hide goes in the same round. */
static bool wants_horizon(const struct batch *b, const struct tally *t)
{
    return t->tombstones > 0 && !has(b, BATCH_DELETE_HORIZON);
}

static void put_all(struct slice bytes, const struct batch *b, struct buf *out,
                    enum clean_kept *kept)
{
    buf_put(out, bytes.data, b->size_bytes);
    *kept = CLEAN_ALL;
}

static void put_header(const struct batch *b, bool keep, struct buf *out,
                       enum clean_kept *kept)
{
    *kept = !keep                                 ? CLEAN_NOTHING
            : b->size_bytes == BATCH_HEADER_BYTES ? CLEAN_ALL
                                                  : CLEAN_HEADER;
    if (keep)
        put_empty(b, out);
}

/* An empty one has been past its horizon before. */
static enum err end_marker(struct clean_filter *f, struct slice bytes,
                           const struct batch *b, bool keep, struct buf *out,
                           enum clean_kept *kept)
{
    struct tally t;

    if (b->records_count == 0 || is_past_horizon(f, b)) {
        *kept = CLEAN_NOTHING;
        if (keep)
            put_all(bytes, b, out, kept);
        return ERR_NONE;
    }
    enum err err = count(f, bytes, b, &t);
    if (err != ERR_NONE)
        return err;
    if (has(b, BATCH_DELETE_HORIZON)) {
        put_all(bytes, b, out, kept);
    } else {
        *kept = CLEAN_SOME;
        err = put_rest(f, bytes, b, true, out);
    }
    return err;
}

static enum err judge_records(struct clean_filter *f, struct slice bytes,
                              const struct batch *b, bool keep_header,
                              struct buf *out, enum clean_kept *kept)
{
    struct tally t;
    enum err err = count(f, bytes, b, &t);

    if (err != ERR_NONE)
        return err;
    bool set_horizon = wants_horizon(b, &t);
    if (t.kept == 0) {
        put_header(b, keep_header, out, kept);
    } else if (t.kept == b->records_count && !set_horizon) {
        put_all(bytes, b, out, kept);
    } else {
        *kept = CLEAN_SOME;
        err = put_rest(f, bytes, b, set_horizon, out);
    }
    return err;
}

enum err clean_batch(struct clean_filter *f, struct slice bytes,
                     const struct batch *b, enum clean_fate fate,
                     bool keep_header, struct buf *out, enum clean_kept *kept)
{
    if (fate == CLEAN_MARKER || b->base_offset >= f->map_end) {
        put_all(bytes, b, out, kept);
        return ERR_NONE;
    }
    if (fate == CLEAN_MARKER_OVER)
        return end_marker(f, bytes, b, keep_header, out, kept);
    if (fate == CLEAN_RECORDS)
        return judge_records(f, bytes, b, keep_header, out, kept);
    put_header(b, keep_header, out, kept);
    return ERR_NONE;
}
