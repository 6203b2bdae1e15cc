/* The header is decoded field by field at fixed places; nothing here looks at
 * the records themselves (record.h does).
 *
 * Happy path on arrival: batch_parse() -> batch_validate() -> batch_patch().
 * The one pass over the bytes is the CRC.  It is also the first verdict: a
 * batch damaged on its way must be called damaged and not invalid, because
 * clients retry the former only. */
#include "proto/record/batch.h"

#include "base/crc32c.h"
#include "proto/record/compression.h"

enum {
    LAST_OFFSET_DELTA_AT = 23,
    BASE_TIMESTAMP_AT = 27,
    MAX_TIMESTAMP_AT = 35,
    PRODUCER_ID_AT = 43,
    PRODUCER_EPOCH_AT = 51,
    BASE_SEQUENCE_AT = 53,
    RECORDS_COUNT_AT = 57,

    /* Length, attributes, two deltas, key and value length, header count: one
     * byte each at least. */
    RECORD_MIN_BYTES = 7,
    /* Message set v0: CRC, magic, attributes, two empty length fields. */
    LEGACY_MIN_LENGTH = 14,
    KNOWN_ATTRIBUTES = BATCH_COMPRESSION_MASK | BATCH_LOG_APPEND_TIME |
                       BATCH_TRANSACTIONAL | BATCH_CONTROL |
                       BATCH_DELETE_HORIZON,
};

static_assert(RECORDS_COUNT_AT + 4 == BATCH_HEADER_BYTES, "header layout");

static void decode(const uint8_t *p, struct batch *b)
{
    b->leader_epoch = (int32_t)be32_get(p + BATCH_EPOCH_AT);
    b->crc = be32_get(p + BATCH_CRC_AT);
    b->attributes = (int16_t)be16_get(p + BATCH_ATTRIBUTES_AT);
    b->last_offset_delta = (int32_t)be32_get(p + LAST_OFFSET_DELTA_AT);
    b->base_timestamp = (int64_t)be64_get(p + BASE_TIMESTAMP_AT);
    b->max_timestamp = (int64_t)be64_get(p + MAX_TIMESTAMP_AT);
    b->producer_id = (int64_t)be64_get(p + PRODUCER_ID_AT);
    b->producer_epoch = (int16_t)be16_get(p + PRODUCER_EPOCH_AT);
    b->base_sequence = (int32_t)be32_get(p + BASE_SEQUENCE_AT);
    b->records_count = (int32_t)be32_get(p + RECORDS_COUNT_AT);
}

enum err batch_parse(struct slice bytes, struct batch *b)
{
    *b = (struct batch){.producer_id = -1};
    if (bytes.len < BATCH_PREFIX_BYTES)
        return ERR_TOO_LARGE;
    int32_t length = (int32_t)be32_get(bytes.data + BATCH_LENGTH_AT);
    if (length < LEGACY_MIN_LENGTH)
        return ERR_CORRUPT_MESSAGE;
    b->base_offset = (int64_t)be64_get(bytes.data);
    b->size_bytes = (uint32_t)length + BATCH_PREFIX_BYTES;
    if (bytes.len < BATCH_MINIMUM_MAGIC_BYTES)
        return ERR_TOO_LARGE;
    b->magic = (int8_t)bytes.data[BATCH_MAGIC_AT];
    if (b->magic != 2)
        return ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT;
    if (b->size_bytes < BATCH_HEADER_BYTES)
        return ERR_CORRUPT_MESSAGE;
    if (bytes.len >= BATCH_HEADER_BYTES)
        decode(bytes.data, b);
    return bytes.len < b->size_bytes ? ERR_TOO_LARGE : ERR_NONE;
}

static uint32_t checksum(const uint8_t *bytes, uint32_t size_bytes)
{
    return crc32c(0, bytes + BATCH_ATTRIBUTES_AT,
                  size_bytes - BATCH_ATTRIBUTES_AT);
}

bool batch_crc_ok(struct slice bytes, const struct batch *b)
{
    ASSERT(bytes.len >= b->size_bytes && b->size_bytes >= BATCH_HEADER_BYTES);
    return checksum(bytes.data, b->size_bytes) == b->crc;
}

static enum err refuse(enum err err, const char *sentence, const char **why)
{
    *why = sentence;
    return err;
}

static enum err check_attributes(const struct batch *b, const char **why)
{
    if ((b->attributes & ~KNOWN_ATTRIBUTES) != 0)
        return refuse(ERR_INVALID_RECORD, "unknown attribute bits", why);
    if ((b->attributes & BATCH_CONTROL) != 0)
        return refuse(ERR_INVALID_RECORD,
                      "clients may not write control records", why);
    if ((b->attributes & BATCH_DELETE_HORIZON) != 0)
        return refuse(ERR_INVALID_RECORD,
                      "clients may not set a delete horizon", why);
    if ((b->attributes & BATCH_LOG_APPEND_TIME) != 0)
        return refuse(ERR_INVALID_TIMESTAMP,
                      "producers may not set the timestamp type LogAppendTime",
                      why);
    if (batch_compression(b) > COMPRESSION_ZSTD)
        return refuse(ERR_UNSUPPORTED_COMPRESSION_TYPE,
                      "unknown compression type", why);
    return ERR_NONE;
}

static enum err check_counts(const struct batch *b, const char **why)
{
    /* A count that cannot be true takes as many offsets: a segment has no room
     * for two such batches. */
    uint32_t room = batch_compression(b) == COMPRESSION_NONE
                        ? b->size_bytes - BATCH_HEADER_BYTES
                        : CODEC_LIMIT_BYTES;

    if (b->base_offset != 0)
        return refuse(ERR_INVALID_RECORD,
                      "the base offset of a produced batch is not 0", why);
    if (b->records_count <= 0)
        return refuse(ERR_INVALID_RECORD, "the batch holds no records", why);
    if (b->last_offset_delta != b->records_count - 1)
        return refuse(ERR_INVALID_RECORD,
                      "record count and last offset delta disagree", why);
    if ((uint32_t)b->records_count > room / RECORD_MIN_BYTES)
        return refuse(ERR_INVALID_RECORD,
                      "more records than the batch has room for", why);
    return ERR_NONE;
}

static enum err check_producer(const struct batch *b, const char **why)
{
    if (b->producer_id >= 0 && (b->producer_epoch < 0 || b->base_sequence < 0))
        return refuse(ERR_INVALID_RECORD,
                      "a producer id without epoch or sequence", why);
    if (b->producer_id < 0 && (b->attributes & BATCH_TRANSACTIONAL) != 0)
        return refuse(ERR_INVALID_RECORD,
                      "a transactional batch without a producer id", why);
    return ERR_NONE;
}

enum err batch_validate(struct slice bytes, const struct batch *b,
                        const char **why)
{
    enum err err;

    if (!batch_crc_ok(bytes, b))
        return refuse(ERR_CORRUPT_MESSAGE, "the batch's CRC does not match",
                      why);
    if ((err = check_attributes(b, why)) != ERR_NONE ||
        (err = check_counts(b, why)) != ERR_NONE ||
        (err = check_producer(b, why)) != ERR_NONE)
        return err;
    *why = "";
    return ERR_NONE;
}

void batch_patch_max_timestamp(uint8_t *bytes, uint32_t size_bytes,
                               int64_t max_timestamp_ms)
{
    be64_put(bytes + MAX_TIMESTAMP_AT, (uint64_t)max_timestamp_ms);
    be32_put(bytes + BATCH_CRC_AT, checksum(bytes, size_bytes));
}

void batch_patch_append_time(uint8_t *bytes, uint32_t size_bytes,
                             int64_t append_time_ms)
{
    uint16_t attributes = be16_get(bytes + BATCH_ATTRIBUTES_AT);

    be16_put(bytes + BATCH_ATTRIBUTES_AT,
             (uint16_t)(attributes | BATCH_LOG_APPEND_TIME));
    batch_patch_max_timestamp(bytes, size_bytes, append_time_ms);
}
