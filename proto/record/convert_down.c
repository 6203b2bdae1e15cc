/* Old consumers: batches become messages.
 *
 * Happy path, per batch: its records are written as messages behind each other,
 * straight into the output, or, if the batch is compressed, into a buffer of
 * their own that becomes the value of one wrapper.
 *
 * Failures: whatever a batch comes to grief with, the output is cut back to
 * where that batch began.  If something stands there already it is the answer,
 * and the next fetch, which starts at the bad batch, gets the error. */
#include "proto/record/message_set.h"

#include <zlib.h>

enum {
    PREFIX_BYTES = 12, /* offset and size */
    CRC_AT = 12,
    MESSAGE_APPEND_TIME = 0x08,
};

/* What lives from batch to batch. */
struct down {
    struct codec *codec;
    const struct message_set_down *how;
    struct buf scratch; /* an expanded batch */
    struct buf inside;  /* the messages of a wrapper */
    struct buf *out;
};

/* ---- writing a message --------------------------------------------------- */

static size_t message_begin(struct buf *out, int8_t magic, int64_t offset,
                            int attributes, int64_t timestamp)
{
    size_t start = out->len;

    buf_put_u64(out, (uint64_t)offset);
    buf_put_u32(out, 0); /* size and CRC: message_end() */
    buf_put_u32(out, 0);
    buf_put_u8(out, (uint8_t)magic);
    buf_put_u8(out, (uint8_t)attributes);
    if (magic == 1)
        buf_put_u64(out, (uint64_t)timestamp);
    return start;
}

static void message_end(struct buf *out, size_t start)
{
    uint8_t *at = out->data + start;
    size_t size = out->len - start - PREFIX_BYTES;

    ASSERT(size <= INT32_MAX);
    be32_put(at + PREFIX_BYTES - 4, (uint32_t)size);
    be32_put(at + CRC_AT, (uint32_t)crc32_z(0, at + CRC_AT + 4, size - 4));
}

static void put_field(struct buf *out, struct slice s)
{
    ASSERT(s.len <= INT32_MAX);
    buf_put_u32(out, slice_is_null(s) ? UINT32_MAX : (uint32_t)s.len);
    buf_put_slice(out, s);
}

static void put_message(struct buf *out, int8_t magic, int64_t offset,
                        int attributes, int64_t timestamp, struct slice key,
                        struct slice value)
{
    size_t start = message_begin(out, magic, offset, attributes, timestamp);

    put_field(out, key);
    put_field(out, value);
    message_end(out, start);
}

static void put_wrapper(struct down *d, int64_t offset, int attributes,
                        enum compression compression, int64_t timestamp)
{
    int8_t magic = d->how->magic;
    size_t start = message_begin(d->out, magic, offset,
                                 attributes | (int)compression, timestamp);

    put_field(d->out, SLICE_NULL);
    size_t length_at = d->out->len;
    buf_put_u32(d->out, 0);
    codec_encode(d->codec, compression, CODEC_LEVEL_DEFAULT, magic,
                 buf_slice(&d->inside), d->out);
    be32_put(d->out->data + length_at, (uint32_t)(d->out->len - length_at - 4));
    message_end(d->out, start);
}

/* ---- one batch ----------------------------------------------------------- */

/* Offsets inside a magic 1 wrapper count from its first message. */
static int64_t inner_offset(const struct down *d, bool wrapped, int64_t first,
                            int64_t offset)
{
    return wrapped && d->how->magic == 1 ? offset - first : offset;
}

static enum err convert_records(struct down *d, struct record_reader *r,
                                struct buf *to, int attributes,
                                struct record_position *last)
{
    bool wrapped = to == &d->inside;
    size_t start = to->len;
    int64_t first = -1;
    struct record record;

    while (record_next(r, &record)) {
        if (record.offset < d->how->first_offset)
            continue;
        if (last->offset == -1) {
            first = record.offset;
            last->timestamp = record.timestamp;
        }
        put_message(to, d->how->magic,
                    inner_offset(d, wrapped, first, record.offset), attributes,
                    record.timestamp, record.key, record.value);
        last->offset = record.offset;
        if (record.timestamp > last->timestamp)
            last->timestamp = record.timestamp;
        if (to->len - start > d->how->limit_bytes)
            return ERR_MESSAGE_TOO_LARGE;
    }
    return r->err;
}

static enum err convert_batch(struct down *d, struct slice bytes,
                              const struct batch *b)
{
    enum compression compression = batch_compression(b);
    bool append_time = (b->attributes & BATCH_LOG_APPEND_TIME) != 0;
    int attributes =
        append_time && d->how->magic == 1 ? MESSAGE_APPEND_TIME : 0;
    struct record_position last = {-1, -1}; /* offset, greatest timestamp */
    struct record_reader r;

    if (compression >= COMPRESSION_ZSTD)
        return ERR_UNSUPPORTED_COMPRESSION_TYPE;
    enum err err =
        record_open(&r, d->codec, bytes, b, d->how->limit_bytes, &d->scratch);
    if (err != ERR_NONE)
        return err;
    if (compression == COMPRESSION_NONE)
        return convert_records(d, &r, d->out, attributes, &last);
    d->inside.len = 0;
    err = convert_records(d, &r, &d->inside, attributes, &last);
    if (err == ERR_NONE && last.offset != -1)
        put_wrapper(d, last.offset, attributes, compression, last.timestamp);
    return err;
}

/* ---- batch after batch --------------------------------------------------- */

static enum err convert_next(struct down *d, struct slice bytes,
                             const struct batch *b)
{
    if ((b->attributes & BATCH_CONTROL) != 0)
        return ERR_NONE;
    return convert_batch(d, bytes, b);
}

static enum err convert_all(struct down *d, struct slice batches,
                            size_t *consumed)
{
    size_t start = d->out->len;
    uint64_t expanded = codec_expanded_bytes(d->codec);

    for (;;) {
        struct slice left =
            slice_of(batches.data + *consumed, batches.len - *consumed);
        size_t before = d->out->len;
        bool first = before == start;
        struct batch b;

        if (!first &&
            codec_expanded_bytes(d->codec) - expanded >= d->how->total_bytes)
            return ERR_NONE;
        enum err err = batch_parse(left, &b);
        if (err == ERR_TOO_LARGE)
            return ERR_NONE;
        if (err == ERR_NONE)
            err = convert_next(d, left, &b);
        if (err == ERR_NONE &&
            (first || d->out->len - start <= d->how->max_bytes)) {
            *consumed += b.size_bytes;
            continue;
        }
        d->out->len = before;
        return first ? err : ERR_NONE;
    }
}

enum err message_set_down(struct codec *codec, struct slice batches,
                          const struct message_set_down *how, struct buf *out,
                          size_t *consumed)
{
    struct down d = {codec, how, BUF_INIT, BUF_INIT, out};

    ASSERT(how->magic == 0 || how->magic == 1);
    *consumed = 0;
    enum err err = convert_all(&d, batches, consumed);
    buf_free(&d.scratch);
    buf_free(&d.inside);
    return err;
}

void message_set_put_overflow(struct buf *out, uint32_t max_bytes)
{
    ASSERT(max_bytes < INT32_MAX);
    buf_put_u64(out, UINT64_MAX);
    buf_put_u32(out, max_bytes < BATCH_HEADER_BYTES ? BATCH_HEADER_BYTES
                                                    : max_bytes + 1);
}
