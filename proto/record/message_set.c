/* Reading.  One reader walks the set; when it meets a wrapper it expands the
 * value into scratch and a second reader walks that until it is empty.  There
 * is no third: a codec inside a wrapper is refused, so nesting cannot multiply
 * the limit.
 *
 * The last relative offset inside a wrapper is needed before the first message
 * can be given out, so offsets and sizes are hopped over once beforehand. */
#include "proto/record/message_set.h"

#include <zlib.h>

enum {
    ENTRY_PREFIX_BYTES = 12, /* offset and size */
    CRC_BYTES = 4,
    MESSAGE_CODEC_MASK = 0x07,
    MESSAGE_APPEND_TIME = 0x08,
};

/* One entry as it stands in the bytes. */
struct entry {
    int64_t offset;
    int8_t magic;
    uint8_t attributes;
    int64_t timestamp; /* -1 with magic 0 */
    struct slice key;
    struct slice value;
};

static bool refuse(struct message_set_reader *r, enum err err, const char *why)
{
    r->err = err;
    r->why = why;
    return false;
}

void message_set_open(struct message_set_reader *r, struct codec *codec,
                      struct slice set, size_t limit_bytes, struct buf *scratch)
{
    *r = (struct message_set_reader){
        .codec = codec,
        .scratch = scratch,
        .limit_bytes = limit_bytes,
        .outer = reader_of(set),
        .inner = reader_of(SLICE_NULL),
        .compression = COMPRESSION_NONE,
        .why = "",
    };
}

/* ---- one entry ----------------------------------------------------------- */

static struct slice read_field(struct reader *r)
{
    int32_t len = read_i32(r);

    if (len < 0) {
        r->bad |= len != -1;
        return SLICE_NULL;
    }
    return read_bytes(r, (size_t)len);
}

static bool crc_ok(struct slice message)
{
    return message.len > CRC_BYTES &&
           be32_get(message.data) ==
               crc32_z(0, message.data + CRC_BYTES, message.len - CRC_BYTES);
}

/* The message's bytes, from the CRC on; null and bad if they aren't all there.
 */
static struct slice hop(struct reader *in, int64_t *offset)
{
    *offset = read_i64(in);
    int32_t size = read_i32(in);

    in->bad |= size < 0;
    return in->bad ? SLICE_NULL : read_bytes(in, (size_t)size);
}

static bool read_entry(struct message_set_reader *r, struct reader *in,
                       struct entry *e)
{
    struct slice message = hop(in, &e->offset);

    if (in->bad)
        return refuse(r, ERR_CORRUPT_MESSAGE, "a message is cut off");
    if (!crc_ok(message))
        return refuse(r, ERR_CORRUPT_MESSAGE, "a message's CRC does not match");
    struct reader own = reader_of(message);
    read_u32(&own);
    e->magic = read_i8(&own);
    e->attributes = read_u8(&own);
    if (e->magic < 0 || e->magic > 1)
        return refuse(r, ERR_CORRUPT_MESSAGE,
                      "a message of another magic than 0 or 1");
    e->timestamp = e->magic == 1 ? read_i64(&own) : -1;
    e->key = read_field(&own);
    e->value = read_field(&own);
    if (own.bad || reader_left(&own) != 0)
        return refuse(r, ERR_CORRUPT_MESSAGE,
                      "a message's fields do not fill its size");
    return true;
}

static enum compression entry_compression(const struct entry *e)
{
    return (enum compression)(e->attributes & MESSAGE_CODEC_MASK);
}

/* ---- wrappers ------------------------------------------------------------ */

static bool last_inner_offset(struct message_set_reader *r, int64_t *offset)
{
    struct reader in = r->inner;

    if (reader_left(&in) == 0)
        return refuse(r, ERR_INVALID_RECORD,
                      "a compressed message holds no messages");
    while (reader_left(&in) != 0)
        hop(&in, offset);
    if (in.bad)
        return refuse(r, ERR_CORRUPT_MESSAGE,
                      "a message inside a compressed one is cut off");
    return true;
}

static bool open_wrapper(struct message_set_reader *r, const struct entry *e)
{
    int64_t last;

    if (slice_is_null(e->value))
        return refuse(r, ERR_INVALID_RECORD,
                      "a compressed message without a value");
    r->scratch->len = 0;
    enum err err = codec_decode(r->codec, entry_compression(e), e->magic,
                                e->value, r->limit_bytes, r->scratch);
    if (err != ERR_NONE)
        return refuse(r, err, "a compressed message does not expand");
    r->limit_bytes -= r->scratch->len;
    r->inner = reader_of(buf_slice(r->scratch));
    if (!last_inner_offset(r, &last))
        return false;
    r->shift =
        e->magic == 1 ? (int64_t)((uint64_t)e->offset - (uint64_t)last) : 0;
    r->wrapper_append_time =
        e->magic == 1 && (e->attributes & MESSAGE_APPEND_TIME) != 0;
    r->append_time_ms = e->timestamp;
    r->compression = entry_compression(e);
    return true;
}

static void fill(struct message *m, const struct entry *e)
{
    *m = (struct message){
        .offset = e->offset,
        .timestamp = e->timestamp,
        .magic = e->magic,
        .append_time =
            e->magic == 1 && (e->attributes & MESSAGE_APPEND_TIME) != 0,
        .key = e->key,
        .value = e->value,
    };
}

static bool next_inner(struct message_set_reader *r, struct message *m)
{
    struct entry e;

    if (!read_entry(r, &r->inner, &e))
        return false;
    if (entry_compression(&e) != COMPRESSION_NONE)
        return refuse(r, ERR_INVALID_RECORD,
                      "a compressed message inside a compressed one");
    fill(m, &e);
    m->offset = (int64_t)((uint64_t)m->offset + (uint64_t)r->shift);
    if (r->wrapper_append_time) {
        m->append_time = true;
        m->timestamp = r->append_time_ms;
    }
    return true;
}

bool message_set_next(struct message_set_reader *r, struct message *m)
{
    struct entry e;

    if (r->err != ERR_NONE)
        return false;
    if (reader_left(&r->inner) != 0)
        return next_inner(r, m);
    if (reader_left(&r->outer) == 0 || !read_entry(r, &r->outer, &e))
        return false;
    if (entry_compression(&e) != COMPRESSION_NONE)
        return open_wrapper(r, &e) && next_inner(r, m);
    fill(m, &e);
    return true;
}
