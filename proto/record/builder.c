/* Records are encoded as they come; compression and the header wait for the
 * end, when sizes and the greatest timestamp are known.  A record's length
 * stands before it as a varint, so it is computed first. */
#include "proto/record/builder.h"

#include "base/crc32c.h"

void batch_builder_init(struct batch_builder *b)
{
    b->records = BUF_INIT;
    batch_builder_reset(b);
}

void batch_builder_reset(struct batch_builder *b)
{
    b->records.len = 0;
    b->count = 0;
    b->last_offset_delta = -1;
    b->base_timestamp = -1;
    b->max_timestamp = -1;
    b->base_is_set = false;
}

void batch_builder_set_base_timestamp(struct batch_builder *b,
                                      int64_t base_timestamp)
{
    ASSERT(b->count == 0);
    b->base_timestamp = base_timestamp;
    b->base_is_set = true;
}

void batch_builder_free(struct batch_builder *b)
{
    buf_free(&b->records);
    batch_builder_reset(b);
}

/* ---- one record ---------------------------------------------------------- */

static size_t varint_len(int64_t v)
{
    uint64_t zigzag = (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
    size_t len = 1;

    for (; zigzag >= 0x80; zigzag >>= 7)
        len++;
    return len;
}

static size_t field_len(struct slice s)
{
    if (slice_is_null(s))
        return varint_len(-1);
    return varint_len((int64_t)s.len) + s.len;
}

static void put_field(struct buf *out, struct slice s)
{
    ASSERT(s.len <= INT32_MAX);
    buf_put_varint32(out, slice_is_null(s) ? -1 : (int32_t)s.len);
    buf_put_slice(out, s);
}

/* Up to and including the header count. */
static void put_fields(struct batch_builder *b, int32_t offset_delta,
                       int64_t timestamp, struct slice key, struct slice value,
                       int32_t headers_count, size_t headers_len)
{
    if (b->count == 0 && !b->base_is_set)
        b->base_timestamp = timestamp;
    int64_t delta =
        (int64_t)((uint64_t)timestamp - (uint64_t)b->base_timestamp);
    size_t len = 1 + varint_len(delta) + varint_len(offset_delta) +
                 field_len(key) + field_len(value) + varint_len(headers_count) +
                 headers_len;

    ASSERT(len <= INT32_MAX);
    buf_put_varint32(&b->records, (int32_t)len);
    buf_put_u8(&b->records, 0);
    buf_put_varint64(&b->records, delta);
    buf_put_varint32(&b->records, offset_delta);
    put_field(&b->records, key);
    put_field(&b->records, value);
    buf_put_varint32(&b->records, headers_count);
    if (b->count == 0 || timestamp > b->max_timestamp)
        b->max_timestamp = timestamp;
    b->last_offset_delta = offset_delta;
    b->count++;
}

void batch_builder_append_encoded(struct batch_builder *b, int32_t offset_delta,
                                  int64_t timestamp, struct slice key,
                                  struct slice value, int32_t headers_count,
                                  struct slice headers)
{
    ASSERT(offset_delta > b->last_offset_delta);
    put_fields(b, offset_delta, timestamp, key, value, headers_count,
               headers.len);
    buf_put_slice(&b->records, headers);
}

void batch_builder_append(struct batch_builder *b, int64_t timestamp,
                          struct slice key, struct slice value,
                          const struct record_header *headers,
                          int32_t headers_count)
{
    size_t len = 0;

    for (int32_t i = 0; i < headers_count; i++) {
        ASSERT(!slice_is_null(headers[i].key));
        len += field_len(headers[i].key) + field_len(headers[i].value);
    }
    put_fields(b, b->last_offset_delta + 1, timestamp, key, value,
               headers_count, len);
    for (int32_t i = 0; i < headers_count; i++) {
        put_field(&b->records, headers[i].key);
        put_field(&b->records, headers[i].value);
    }
}

/* ---- the header ---------------------------------------------------------- */

size_t batch_begin(struct buf *out)
{
    size_t start = out->len;

    buf_extend(out, BATCH_HEADER_BYTES);
    return start;
}

void batch_end(struct buf *out, size_t start, const struct batch *header)
{
    size_t size = out->len - start;
    size_t end = out->len;

    ASSERT(size >= BATCH_HEADER_BYTES && size <= INT32_MAX);
    out->len = start;
    buf_put_u64(out, (uint64_t)header->base_offset);
    buf_put_u32(out, (uint32_t)(size - BATCH_PREFIX_BYTES));
    buf_put_u32(out, (uint32_t)header->leader_epoch);
    buf_put_u8(out, 2);
    buf_put_u32(out, 0);
    buf_put_u16(out, (uint16_t)header->attributes);
    buf_put_u32(out, (uint32_t)header->last_offset_delta);
    buf_put_u64(out, (uint64_t)header->base_timestamp);
    buf_put_u64(out, (uint64_t)header->max_timestamp);
    buf_put_u64(out, (uint64_t)header->producer_id);
    buf_put_u16(out, (uint16_t)header->producer_epoch);
    buf_put_u32(out, (uint32_t)header->base_sequence);
    buf_put_u32(out, (uint32_t)header->records_count);
    out->len = end;
    be32_put(out->data + start + BATCH_CRC_AT,
             crc32c(0, out->data + start + BATCH_ATTRIBUTES_AT,
                    size - BATCH_ATTRIBUTES_AT));
}

void batch_builder_finish(struct batch_builder *b,
                          const struct batch_options *options,
                          struct codec *codec, struct buf *out)
{
    bool append_time = (options->attributes & BATCH_LOG_APPEND_TIME) != 0;
    struct batch header = {
        .base_offset = options->base_offset,
        .leader_epoch = options->leader_epoch,
        .attributes = (int16_t)(options->attributes | options->compression),
        .last_offset_delta = b->last_offset_delta,
        .base_timestamp = b->base_timestamp,
        .max_timestamp =
            append_time ? options->append_time_ms : b->max_timestamp,
        .producer_id = options->producer_id,
        .producer_epoch = options->producer_epoch,
        .base_sequence = options->base_sequence,
        .records_count = b->count,
    };

    ASSERT(b->count > 0);
    ASSERT((options->attributes & BATCH_COMPRESSION_MASK) == 0);
    size_t start = batch_begin(out);
    codec_encode(codec, options->compression, options->level, 2,
                 buf_slice(&b->records), out);
    batch_end(out, start, &header);
    batch_builder_reset(b);
}
