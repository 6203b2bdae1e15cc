/* Structs to bytes, appended to a buf in one pass.
 *
 * The only length that isn't known beforehand is that of a tagged field: its
 * value is written first, and moved up by the width of its size.  Tagged
 * fields are few and small.  Records that somebody else will send (struct
 * kafka_records.ext) become a length and a gap. */
#include "proto/kafka/codec.h"

enum { STRING_MAX = INT16_MAX, UVARINT32_MAX_BYTES = 5 };

struct encoder {
    struct buf *out;
    struct kafka_gaps *gaps; /* may be NULL */
    int16_t version;
    bool flexible;
};

static enum err encode_struct(struct encoder *e, const struct kafka_desc *d,
                              const uint8_t *msg);

/* ---- lengths ----------------------------------------------------------- */

/* -1: null.  The caller has bounded `length`. */
static void put_length(struct encoder *e, const struct kafka_field *f,
                       int64_t length, bool is_short)
{
    if (e->flexible && !(f->flags & KAFKA_PLAIN))
        buf_put_uvarint32(e->out, (uint32_t)(length + 1));
    else if (is_short)
        buf_put_u16(e->out, (uint16_t)length);
    else
        buf_put_u32(e->out, (uint32_t)length);
}

static enum err encode_slice(struct encoder *e, const struct kafka_field *f,
                             struct slice s, bool may_be_null)
{
    bool is_short = f->type == KAFKA_STRING;

    if (s.len > (is_short ? (size_t)STRING_MAX : (size_t)INT32_MAX))
        return ERR_TOO_LARGE;
    if (slice_is_null(s) && may_be_null) {
        put_length(e, f, -1, is_short);
        return ERR_NONE;
    }
    put_length(e, f, (int64_t)s.len, is_short);
    buf_put_slice(e->out, s);
    return ERR_NONE;
}

/* ---- records ----------------------------------------------------------- */

static void gap_add(struct kafka_gaps *gaps, struct kafka_gap gap)
{
    if (gaps->len == gaps->cap) {
        gaps->cap = gaps->cap == 0 ? 8 : gaps->cap * 2;
        gaps->items = xrealloc(gaps->items, gaps->cap * sizeof *gaps->items);
    }
    gaps->items[gaps->len++] = gap;
    gaps->bytes += gap.ext_len;
}

static enum err encode_records(struct encoder *e, const struct kafka_field *f,
                               const struct kafka_records *records)
{
    if (records->ext == NULL)
        return encode_slice(e, f, records->bytes,
                            kafka_field_nullable(f, e->version));
    ASSERT(e->gaps != NULL);
    if (records->ext_len > INT32_MAX)
        return ERR_TOO_LARGE;
    put_length(e, f, records->ext_len, false);
    gap_add(e->gaps, (struct kafka_gap){.at = e->out->len,
                                        .ext = records->ext,
                                        .ext_len = records->ext_len});
    return ERR_NONE;
}

/* ---- values ------------------------------------------------------------ */

static void put_f64(struct buf *out, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    buf_put_u64(out, bits);
}

/* One value of the field's type, an array's element or the field itself. */
static enum err encode_value(struct encoder *e, const struct kafka_field *f,
                             const void *at, bool may_be_null)
{
    switch ((enum kafka_type)f->type) {
    case KAFKA_BOOL:
        buf_put_u8(e->out, *(const bool *)at ? 1 : 0);
        return ERR_NONE;
    case KAFKA_INT8:
        buf_put_u8(e->out, *(const uint8_t *)at);
        return ERR_NONE;
    case KAFKA_INT16:
    case KAFKA_UINT16:
        buf_put_u16(e->out, *(const uint16_t *)at);
        return ERR_NONE;
    case KAFKA_INT32:
        buf_put_u32(e->out, *(const uint32_t *)at);
        return ERR_NONE;
    case KAFKA_INT64:
        buf_put_u64(e->out, *(const uint64_t *)at);
        return ERR_NONE;
    case KAFKA_FLOAT64:
        put_f64(e->out, *(const double *)at);
        return ERR_NONE;
    case KAFKA_UUID:
        buf_put(e->out, at, sizeof(struct uuid));
        return ERR_NONE;
    case KAFKA_STRING:
    case KAFKA_BYTES:
        return encode_slice(e, f, *(const struct slice *)at, may_be_null);
    case KAFKA_RECORDS:
        return encode_records(e, f, at);
    case KAFKA_STRUCT:
        return encode_struct(e, f->desc, at);
    }
    ASSERT(!"a type the encoder does not know");
    return ERR_NONE;
}

static enum err encode_array(struct encoder *e, const struct kafka_field *f,
                             const void *at)
{
    struct kafka_array array = kafka_array_get(at);
    size_t size = kafka_item_size(f);

    ASSERT(array.len >= -1 && (array.len <= 0 || array.items != NULL));
    if (array.len == -1 && !kafka_field_nullable(f, e->version))
        return ERR_UNSUPPORTED_VERSION;
    put_length(e, f, array.len, false);
    for (int32_t i = 0; i < array.len; i++) {
        const uint8_t *item = (const uint8_t *)array.items + (size_t)i * size;
        enum err err = encode_value(e, f, item, false);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

/* A struct that may be null has a byte before it: 1 present; null is -1, or 0
 * if the field is tagged. */
static enum err encode_pointer(struct encoder *e, const struct kafka_field *f,
                               const void *at)
{
    const void *item = kafka_pointer_get(at);
    bool may_be_null = kafka_field_nullable(f, e->version);

    if (item == NULL && !may_be_null)
        return ERR_UNSUPPORTED_VERSION;
    if (item == NULL) {
        buf_put_u8(e->out, f->tag >= 0 ? 0 : 0xff);
        return ERR_NONE;
    }
    if (may_be_null)
        buf_put_u8(e->out, 1);
    return encode_struct(e, f->desc, item);
}

static enum err encode_field(struct encoder *e, const struct kafka_field *f,
                             const void *at)
{
    if (f->flags & KAFKA_ARRAY)
        return encode_array(e, f, at);
    if (f->flags & KAFKA_POINTER)
        return encode_pointer(e, f, at);
    return encode_value(e, f, at, kafka_field_nullable(f, e->version));
}

/* ---- tagged fields ----------------------------------------------------- */

/* Move what was written since `start` up, and put its size before it. */
static void size_before(struct buf *out, size_t start)
{
    uint8_t varint[UVARINT32_MAX_BYTES];
    size_t end = out->len;

    buf_put_uvarint32(out, (uint32_t)(end - start));
    size_t width = out->len - end;
    memcpy(varint, out->data + end, width);
    memmove(out->data + start + width, out->data + start, end - start);
    memcpy(out->data + start, varint, width);
}

/* The tagged fields that this version sends: those not at their defaults. */
static bool is_sent(const struct encoder *e, const struct kafka_field *f,
                    const uint8_t *msg)
{
    return kafka_field_in(f, e->version) &&
           !kafka_field_is_default(f, msg + f->offset);
}

static enum err encode_tags(struct encoder *e, const struct kafka_desc *d,
                            const uint8_t *msg)
{
    uint32_t count = 0;

    for (uint16_t i = d->plain_count; i < d->field_count; i++)
        count += is_sent(e, &d->fields[i], msg);
    buf_put_uvarint32(e->out, count);

    for (uint16_t i = d->plain_count; i < d->field_count; i++) {
        const struct kafka_field *f = &d->fields[i];
        if (!is_sent(e, f, msg))
            continue;
        buf_put_uvarint32(e->out, (uint32_t)f->tag);
        size_t start = e->out->len;
        enum err err = encode_field(e, f, msg + f->offset);
        if (err != ERR_NONE)
            return err;
        size_before(e->out, start);
    }
    return ERR_NONE;
}

/* ---- structs ----------------------------------------------------------- */

/* Content that the version cannot carry is an error unless it may be lost. */
static bool may_be_left_out(const struct kafka_field *f, const uint8_t *msg)
{
    return (f->flags & KAFKA_IGNORABLE) ||
           kafka_field_is_default(f, msg + f->offset);
}

static enum err encode_struct(struct encoder *e, const struct kafka_desc *d,
                              const uint8_t *msg)
{
    for (uint16_t i = 0; i < d->field_count; i++) {
        const struct kafka_field *f = &d->fields[i];
        if (!kafka_field_in(f, e->version)) {
            if (!may_be_left_out(f, msg))
                return ERR_UNSUPPORTED_VERSION;
        } else if (i < d->plain_count) {
            enum err err = encode_field(e, f, msg + f->offset);
            if (err != ERR_NONE)
                return err;
        }
    }
    return e->flexible ? encode_tags(e, d, msg) : ERR_NONE;
}

enum err kafka_encode(const struct kafka_desc *d, int16_t version,
                      const void *msg, struct buf *out, struct kafka_gaps *gaps)
{
    struct encoder e = {
        .out = out,
        .gaps = gaps,
        .version = version,
        .flexible = kafka_flexible(d, version),
    };
    size_t start = out->len;
    struct kafka_gaps before = gaps != NULL ? *gaps : (struct kafka_gaps){0};

    if (!kafka_has_version(d, version))
        return ERR_UNSUPPORTED_VERSION;
    enum err err = encode_struct(&e, d, msg);
    if (err != ERR_NONE) {
        out->len = start;
        kafka_gaps_cut(gaps, &before);
    }
    return err;
}
