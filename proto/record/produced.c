/* Header checks come before anything that costs, except the CRC, see batch.c.
 *
 * When are records looked at?  Always in an uncompressed batch: it is a walk
 * over lengths that the CRC has just pulled into the cache, and a batch whose
 * offset deltas are wrong would be read differently by every client.  In a
 * compressed one only if a rule can't be decided from the header (keys, a lower
 * bound of time, a greatest timestamp that is too late, and then every fault is
 * to be listed), if the header has no greatest timestamp (sarama before 1.45.1
 * sent -1; retention and searches by time live on it), if it is expanded
 * anyway, or if asked for. */
#include "proto/record/produced.h"

#include "proto/record/message_set.h"
#include "proto/record/recompress.h"

enum {
    VERSION_BATCH_V2 = 3, /* from here on magic 2 only (KIP-98) */
    VERSION_ZSTD = 7,     /* KIP-110 */
};

struct preparation {
    struct codec *codec;
    const struct produced_rules *rules;
    struct record_rules records; /* what of the rules concerns records */
    struct buf *scratch;
    struct arena *arena;
    struct buf *out;
    struct produced *p;
};

static enum err refuse(struct produced *p, enum err err, const char *why)
{
    p->report.why = why;
    return err;
}

static enum err too_large(struct produced *p)
{
    return refuse(p, ERR_MESSAGE_TOO_LARGE,
                  "larger than the topic's max.message.bytes");
}

static bool fits(const struct preparation *prep, size_t size_bytes)
{
    return prep->rules->max_message_bytes >= 0 &&
           size_bytes <= (size_t)prep->rules->max_message_bytes;
}

static struct record_rules record_rules(const struct produced_rules *rules)
{
    struct record_rules r = RECORD_RULES_NONE;

    r.key_required = rules->key_required;
    if (rules->append_time)
        return r;
    if (__builtin_sub_overflow(rules->now_ms, rules->before_max_ms,
                               &r.timestamp_min))
        r.timestamp_min = INT64_MIN;
    if (__builtin_add_overflow(rules->now_ms, rules->after_max_ms,
                               &r.timestamp_max))
        r.timestamp_max = INT64_MAX;
    return r;
}

/* ---- batch v2 ------------------------------------------------------------ */

static bool repacks(const struct preparation *prep, const struct batch *b)
{
    return !prep->rules->keep_compression &&
           prep->rules->compression != batch_compression(b);
}

/* before.max.ms is unlimited by default: now - INT64_MAX is below any honest
 * timestamp, so only a bound above 0 (1970) counts as one. */
static bool needs_records(const struct preparation *prep, const struct batch *b)
{
    return batch_compression(b) == COMPRESSION_NONE || prep->rules->deep ||
           prep->records.key_required || prep->records.timestamp_min > 0 ||
           b->max_timestamp > prep->records.timestamp_max ||
           b->max_timestamp < b->base_timestamp || repacks(prep, b);
}

static enum err check_records(struct preparation *prep)
{
    struct produced *p = prep->p;
    struct slice bytes = slice_of(p->bytes, p->batch.size_bytes);

    return record_validate_all(prep->codec, bytes, &p->batch, &prep->records,
                               prep->rules->limit_bytes, prep->scratch,
                               prep->arena, &p->report);
}

/* check_records() has left the expanded records in scratch. */
static void repack(struct preparation *prep)
{
    struct produced *p = prep->p;
    struct slice records =
        batch_compression(&p->batch) == COMPRESSION_NONE
            ? slice_of(p->bytes + BATCH_HEADER_BYTES,
                       p->batch.size_bytes - BATCH_HEADER_BYTES)
            : buf_slice(prep->scratch);

    batch_pack(prep->codec, &p->batch, records, prep->rules->compression,
               prep->rules->level, prep->out);
    p->bytes = prep->out->data;
    p->converted = true;
}

/* Does what a v2 batch may need once it is known to be good. */
static void finish_batch(struct preparation *prep, bool records_seen)
{
    struct produced *p = prep->p;
    bool wrong_max =
        records_seen && p->report.max_timestamp != p->batch.max_timestamp;

    if (repacks(prep, &p->batch)) {
        repack(prep);
        p->batch.size_bytes = (uint32_t)prep->out->len;
    }
    if (prep->rules->append_time)
        batch_patch_append_time(p->bytes, p->batch.size_bytes,
                                prep->rules->now_ms);
    else if (wrong_max)
        batch_patch_max_timestamp(p->bytes, p->batch.size_bytes,
                                  p->report.max_timestamp);
}

static enum err check_header(struct preparation *prep)
{
    struct produced *p = prep->p;
    struct slice bytes = slice_of(p->bytes, p->batch.size_bytes);

    if (!fits(prep, p->batch.size_bytes))
        return too_large(p);
    enum err err = batch_validate(bytes, &p->batch, &p->report.why);
    if (err == ERR_NONE && batch_compression(&p->batch) == COMPRESSION_ZSTD &&
        prep->rules->api_version < VERSION_ZSTD)
        return refuse(p, ERR_UNSUPPORTED_COMPRESSION_TYPE,
                      "zstd needs Produce version 7");
    return err;
}

static enum err prepare_batch(struct preparation *prep, size_t len)
{
    struct produced *p = prep->p;

    if (p->batch.size_bytes != len)
        return refuse(p, ERR_INVALID_RECORD,
                      "there is not exactly one batch for a partition");
    enum err err = check_header(prep);
    if (err != ERR_NONE)
        return err;
    bool look = needs_records(prep, &p->batch);
    if (look && (err = check_records(prep)) != ERR_NONE)
        return err;
    finish_batch(prep, look);
    return ERR_NONE;
}

/* ---- message sets -------------------------------------------------------- */

/* The limit holds for each entry here, and for the batch made of them later. */
static bool entries_fit(const struct preparation *prep, struct slice set)
{
    struct reader r = reader_of(set);

    while (reader_left(&r) != 0) {
        read_i64(&r);
        uint32_t size = read_u32(&r);
        if (!fits(prep, (size_t)size + BATCH_PREFIX_BYTES))
            return false;
        read_bytes(&r, size);
    }
    return true;
}

static enum err prepare_set(struct preparation *prep, size_t len)
{
    struct slice set = slice_of(prep->p->bytes, len);
    struct message_set_up how = {
        .rules = prep->records,
        .append_time = prep->rules->append_time,
        .append_time_ms = prep->rules->now_ms,
        .keep_compression = prep->rules->keep_compression,
        .compression = prep->rules->compression,
        .level = prep->rules->level,
        .limit_bytes = prep->rules->limit_bytes,
    };

    if (prep->rules->api_version >= VERSION_BATCH_V2)
        return refuse(prep->p, ERR_INVALID_RECORD,
                      "this version of Produce takes batches of magic 2 only");
    if (!entries_fit(prep, set))
        return too_large(prep->p);
    enum err err = message_set_up(prep->codec, set, &how, prep->arena,
                                  prep->out, &prep->p->report);
    if (err != ERR_NONE)
        return err;
    prep->p->bytes = prep->out->data;
    prep->p->converted = true;
    return ERR_NONE;
}

/* ---- the door ------------------------------------------------------------ */

static enum err prepare(struct preparation *prep, size_t len)
{
    struct produced *p = prep->p;

    switch (batch_parse(slice_of(p->bytes, len), &p->batch)) {
    case ERR_NONE:
        return prepare_batch(prep, len);
    case ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
        if (p->batch.magic == 0 || p->batch.magic == 1)
            return prepare_set(prep, len);
        return refuse(p, ERR_INVALID_RECORD, "unknown magic");
    case ERR_TOO_LARGE:
        return refuse(p, ERR_INVALID_RECORD, "the batch is cut off");
    default:
        return refuse(p, ERR_CORRUPT_MESSAGE, "no batch has this length");
    }
}

/* Sizes may have changed, and the header certainly has. */
static enum err settle(struct preparation *prep)
{
    struct produced *p = prep->p;
    size_t len = p->converted ? prep->out->len : p->batch.size_bytes;

    ASSERT(batch_parse(slice_of(p->bytes, len), &p->batch) == ERR_NONE);
    return fits(prep, len) ? ERR_NONE : too_large(p);
}

enum err produced_prepare(struct codec *codec, uint8_t *bytes, size_t len,
                          const struct produced_rules *rules,
                          struct buf *scratch, struct arena *arena,
                          struct buf *out, struct produced *p)
{
    struct preparation prep = {
        codec, rules, record_rules(rules), scratch, arena, out, p,
    };

    *p = (struct produced){.bytes = bytes, .report = RECORD_REPORT_INIT};
    out->len = 0;
    scratch->len = 0;
    if (len == 0 && rules->api_version < VERSION_BATCH_V2)
        return ERR_NONE;
    if (len == 0)
        return refuse(p, ERR_INVALID_RECORD,
                      "there is not exactly one batch for a partition");
    enum err err = prepare(&prep, len);
    return err == ERR_NONE ? settle(&prep) : err;
}
