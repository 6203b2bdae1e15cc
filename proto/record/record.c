/* A record is read with one bounded reader over exactly its own bytes, so a
 * length that lies can harm nothing but that record, and "the fields fill the
 * length" is one comparison at the end. */
#include "proto/record/record.h"

enum {
    /* A header takes at least two length bytes. */
    HEADER_MIN_BYTES = 2,
    FAULTS_FIRST = 16,
};

enum err record_open(struct record_reader *r, struct codec *codec,
                     struct slice bytes, const struct batch *b,
                     size_t limit_bytes, struct buf *scratch)
{
    struct slice body = slice_of(bytes.data + BATCH_HEADER_BYTES,
                                 b->size_bytes - BATCH_HEADER_BYTES);
    enum err err = ERR_NONE;

    ASSERT(b->magic == 2 && bytes.len >= b->size_bytes);
    /* A batch that compaction has emptied has nothing to expand. */
    if (batch_compression(b) != COMPRESSION_NONE && body.len != 0) {
        scratch->len = 0;
        err = codec_decode(codec, batch_compression(b), b->magic, body,
                           limit_bytes, scratch);
        body = buf_slice(scratch);
    }
    *r = (struct record_reader){
        .batch = *b,
        .in = reader_of(body),
        .left = err == ERR_NONE ? b->records_count : 0,
        .err = err,
    };
    return err;
}

/* A varint length, then the bytes; -1 is null where that is allowed. */
static struct slice read_field(struct reader *r, bool nullable)
{
    int32_t len = read_varint32(r);

    if (len < 0) {
        r->bad |= !nullable || len != -1;
        return SLICE_NULL;
    }
    return read_bytes(r, (size_t)len);
}

static void read_headers(struct reader *r, struct record *record)
{
    int32_t count = read_varint32(r);
    const uint8_t *start = r->at;

    if (count < 0 || (size_t)count > reader_left(r) / HEADER_MIN_BYTES) {
        r->bad = true;
        return;
    }
    for (int32_t i = 0; i < count && !r->bad; i++) {
        read_field(r, false);
        read_field(r, true);
    }
    record->headers_count = count;
    record->headers = slice_of(start, (size_t)(r->at - start));
}

static void read_record(struct reader *r, struct record *record)
{
    read_u8(r); /* attributes: none is defined */
    record->timestamp_delta = read_varint64(r);
    record->offset_delta = read_varint32(r);
    record->key = read_field(r, true);
    record->value = read_field(r, true);
    read_headers(r, record);
}

/* Sums wrap instead of overflowing: both terms came from outside. */
static int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static void place(const struct batch *b, struct record *record)
{
    record->offset = plus(b->base_offset, record->offset_delta);
    record->timestamp = (b->attributes & BATCH_LOG_APPEND_TIME) != 0
                            ? b->max_timestamp
                            : plus(b->base_timestamp, record->timestamp_delta);
}

bool record_next(struct record_reader *r, struct record *record)
{
    if (r->err != ERR_NONE)
        return false;
    if (r->left <= 0) {
        if (reader_left(&r->in) != 0)
            r->err = ERR_INVALID_RECORD;
        return false;
    }
    int32_t len = read_varint32(&r->in);
    struct reader own =
        reader_of(len < 0 ? SLICE_NULL : read_bytes(&r->in, (size_t)len));
    read_record(&own, record);
    if (r->in.bad || own.bad || reader_left(&own) != 0) {
        r->err = ERR_INVALID_RECORD;
        return false;
    }
    place(&r->batch, record);
    r->left--;
    return true;
}

bool record_header_next(struct slice *headers, struct record_header *header)
{
    struct reader r = reader_of(*headers);

    if (headers->len == 0)
        return false;
    header->key = read_field(&r, false);
    header->value = read_field(&r, true);
    ASSERT(!r.bad);
    *headers = slice_of(r.at, reader_left(&r));
    return true;
}

/* ---- all at once --------------------------------------------------------- */

/* Doubles the list in the arena when it is full; the old one is the arena's
 * loss.  Out of room, later faults are left out. */
static void add_fault(struct record_report *report, struct arena *arena,
                      int32_t index, const char *why)
{
    int32_t n = report->faults_count;
    bool full = n == 0 || (n >= FAULTS_FIRST && (n & (n - 1)) == 0);

    if (full) {
        size_t cap = n == 0 ? FAULTS_FIRST : 2 * (size_t)n;
        struct record_fault *more =
            arena_array(arena, cap, sizeof *report->faults);

        if (more == NULL)
            return;
        if (n != 0)
            memcpy(more, report->faults, (size_t)n * sizeof *more);
        report->faults = more;
    }
    report->faults[report->faults_count++] = (struct record_fault){index, why};
}

static enum err broken_rule(const struct record_rules *rules,
                            const struct record *record, const char **why)
{
    if (rules->key_required && slice_is_null(record->key)) {
        *why = "a record without a key in a compacted topic";
        return ERR_INVALID_RECORD;
    }
    if (record->timestamp != -1 && (record->timestamp < rules->timestamp_min ||
                                    record->timestamp > rules->timestamp_max)) {
        *why = "the timestamp is out of the topic's range";
        return ERR_INVALID_TIMESTAMP;
    }
    return ERR_NONE;
}

static void note_timestamp(struct record_report *report,
                           const struct record *record)
{
    if (report->max_timestamp_offset != -1 &&
        record->timestamp <= report->max_timestamp)
        return;
    report->max_timestamp = record->timestamp;
    report->max_timestamp_offset = record->offset;
}

void record_check(const struct record_rules *rules, const struct record *record,
                  int32_t index, struct arena *arena,
                  struct record_report *report)
{
    const char *why;
    enum err err = broken_rule(rules, record, &why);

    note_timestamp(report, record);
    if (err == ERR_NONE)
        return;
    add_fault(report, arena, index, why);
    if (report->verdict == ERR_NONE || err == ERR_INVALID_RECORD) {
        report->verdict = err;
        report->why = why;
    }
}

static enum err refuse(struct record_report *report, enum err err,
                       const char *why)
{
    report->why = why;
    return err;
}

static enum err validate_records(struct record_reader *r,
                                 const struct record_rules *rules,
                                 struct arena *arena,
                                 struct record_report *report)
{
    struct record record;

    for (int32_t i = 0; record_next(r, &record); i++) {
        if (record.offset_delta != i)
            return refuse(report, ERR_INVALID_RECORD,
                          "offset deltas are not 0 to n-1");
        record_check(rules, &record, i, arena, report);
    }
    if (r->err != ERR_NONE)
        return refuse(report, r->err, "a record does not decode");
    return report->verdict;
}

enum err record_validate_all(struct codec *codec, struct slice bytes,
                             const struct batch *b,
                             const struct record_rules *rules,
                             size_t limit_bytes, struct buf *scratch,
                             struct arena *arena, struct record_report *report)
{
    struct record_reader r;
    enum err err = record_open(&r, codec, bytes, b, limit_bytes, scratch);

    *report = RECORD_REPORT_INIT;
    if (err != ERR_NONE)
        return refuse(report, err,
                      err == ERR_MESSAGE_TOO_LARGE
                          ? "the batch expands beyond the limit"
                          : "the batch does not decompress");
    return validate_records(&r, rules, arena, report);
}

/* ---- by time ------------------------------------------------------------- */

enum err record_find_timestamp(struct codec *codec, struct slice bytes,
                               const struct batch *b, int64_t target_ms,
                               int64_t from_offset, size_t limit_bytes,
                               struct buf *scratch,
                               struct record_position *found)
{
    struct record_reader r;
    struct record record;

    *found = (struct record_position){-1, -1};
    enum err err = record_open(&r, codec, bytes, b, limit_bytes, scratch);
    if (err != ERR_NONE)
        return err;
    while (record_next(&r, &record)) {
        if (record.timestamp < target_ms || record.offset < from_offset)
            continue;
        *found = (struct record_position){record.offset, record.timestamp};
        return ERR_NONE;
    }
    return r.err;
}

enum err record_find_max_timestamp(struct codec *codec, struct slice bytes,
                                   const struct batch *b, size_t limit_bytes,
                                   struct buf *scratch,
                                   struct record_position *found)
{
    struct record_reader r;
    struct record record;

    *found = (struct record_position){-1, -1};
    enum err err = record_open(&r, codec, bytes, b, limit_bytes, scratch);
    if (err != ERR_NONE)
        return err;
    while (record_next(&r, &record))
        if (found->offset == -1 || record.timestamp > found->timestamp)
            *found = (struct record_position){record.offset, record.timestamp};
    return r.err;
}
