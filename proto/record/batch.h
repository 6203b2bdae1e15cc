/* Record batch v2 (KIP-98) as bytes: the fixed header, checks, patches.
 *
 * A batch is never decoded on the hot path.  batch_parse() reads the header,
 * batch_validate() checks it once on arrival; then the broker patches the base
 * offset and the leader epoch in place (both lie before the CRC's range) and
 * appends the bytes as they are.
 *
 * Layout (big-endian): baseOffset i64, batchLength i32 (bytes after this
 * field), partitionLeaderEpoch i32, magic i8, crc u32 (CRC-32C of everything
 * after it), attributes i16, lastOffsetDelta i32, baseTimestamp i64,
 * maxTimestamp i64, producerId i64, producerEpoch i16, baseSequence i32,
 * recordsCount i32, records. */
#ifndef PROTO_RECORD_BATCH_H
#define PROTO_RECORD_BATCH_H

#include "base/error.h"
#include "base/slice.h"

enum {
    BATCH_LENGTH_AT = 8,
    BATCH_EPOCH_AT = 12,
    BATCH_MAGIC_AT = 16,
    BATCH_CRC_AT = 17,
    BATCH_ATTRIBUTES_AT = 21,
    BATCH_PREFIX_BYTES = 12,        /* baseOffset and batchLength */
    BATCH_HEADER_BYTES = 61,        /* up to the first record */
    BATCH_MINIMUM_MAGIC_BYTES = 17, /* enough to see length and magic */
};

enum batch_attributes {
    BATCH_COMPRESSION_MASK = 0x07,
    BATCH_LOG_APPEND_TIME = 0x08,
    BATCH_TRANSACTIONAL = 0x10,
    BATCH_CONTROL = 0x20,
    BATCH_DELETE_HORIZON = 0x40,
};

enum compression {
    COMPRESSION_NONE,
    COMPRESSION_GZIP,
    COMPRESSION_SNAPPY,
    COMPRESSION_LZ4,
    COMPRESSION_ZSTD,
};

/* Host-order copy of the fixed header. */
struct batch {
    int64_t base_offset;
    uint32_t size_bytes; /* whole batch with its 12-byte prefix */
    int32_t leader_epoch;
    int8_t magic;
    uint32_t crc;
    int16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id; /* -1 none */
    int16_t producer_epoch;
    int32_t base_sequence; /* -1 none */
    int32_t records_count;
};

static inline int64_t batch_last_offset(const struct batch *b)
{
    return b->base_offset + b->last_offset_delta;
}

static inline enum compression batch_compression(const struct batch *b)
{
    return (enum compression)(b->attributes & BATCH_COMPRESSION_MASK);
}

/* Reads the header of the first batch in `bytes`.  ERR_NONE, or
 * ERR_TOO_LARGE when fewer than size_bytes are there (a partial batch at the
 * end of a fetch; `b->size_bytes` is set if at least 12 bytes are there, all of
 * *b if the 61 of a header are), or ERR_CORRUPT_MESSAGE when the length is
 * below a header's, or ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT when magic is not 2
 * (size_bytes and magic are set: message sets v0 and v1 share the prefix). */
enum err batch_parse(struct slice bytes, struct batch *b);

/* Everything a produced batch must satisfy, for bytes that batch_parse()
 * accepted: CRC, base offset 0, counts (records_count == last_offset_delta + 1,
 * both in range, not more records than its bytes, or what they may expand to,
 * have room for), known compression, no unknown attribute bits, not a control
 * batch, no LogAppendTime and no delete horizon (both are the broker's to set),
 * sequence rules (producer_id >= 0 needs epoch and sequence >= 0, transactional
 * needs a producer_id).  The records inside are not looked at:
 * record_validate_all().
 * Returns ERR_NONE, ERR_CORRUPT_MESSAGE, ERR_INVALID_RECORD,
 * ERR_INVALID_TIMESTAMP, ERR_UNSUPPORTED_COMPRESSION_TYPE; *why is a static
 * phrase ("" for ERR_NONE). */
enum err batch_validate(struct slice bytes, const struct batch *b,
                        const char **why);

/* CRC alone: for followers and recovery, who accept control batches too. */
bool batch_crc_ok(struct slice bytes, const struct batch *b);

/* In place; both fields are outside the CRC. */
static inline void batch_patch(uint8_t *bytes, int64_t base_offset,
                               int32_t leader_epoch)
{
    be64_put(bytes, (uint64_t)base_offset);
    be32_put(bytes + BATCH_EPOCH_AT, (uint32_t)leader_epoch);
}

/* In place: sets LogAppendTime and max_timestamp, and recomputes the CRC. */
void batch_patch_append_time(uint8_t *bytes, uint32_t size_bytes,
                             int64_t append_time_ms);

/* In place: sets max_timestamp to what the records say, and recomputes the
 * CRC. */
void batch_patch_max_timestamp(uint8_t *bytes, uint32_t size_bytes,
                               int64_t max_timestamp_ms);

#endif
