/* A message as a line of JSON, in Kafka's spelling.
 *
 * Everything that its version puts on the wire, and nothing else: tagged
 * fields at their defaults are left out.  Bytes that aren't UTF-8 come from
 * peers, too, and become U+FFFD: the result is always valid JSON. */
#include "proto/kafka/codec.h"

#include <inttypes.h>

static void put_struct(const struct kafka_desc *d, int16_t version,
                       const uint8_t *msg, struct buf *out);

static void put_text(struct buf *out, const char *text)
{
    buf_put(out, text, strlen(text));
}

/* ---- strings ----------------------------------------------------------- */

/* Bytes of the valid UTF-8 sequence at p, or 0. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    size_t n = *p < 0x80   ? 1
               : *p < 0xc2 ? 0
               : *p < 0xe0 ? 2
               : *p < 0xf0 ? 3
               : *p < 0xf5 ? 4
                           : 0;

    if (n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xf0 && p[1] < 0x90))
        return 0; /* longer than needed */
    if ((*p == 0xed && p[1] > 0x9f) || (*p == 0xf4 && p[1] > 0x8f))
        return 0; /* a surrogate, or beyond U+10FFFF */
    return n;
}

static void put_string(struct buf *out, struct slice s)
{
    buf_put_u8(out, '"');
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_length(s.data + i, s.len - i);
        if (n == 0)
            put_text(out, "\\ufffd");
        else if (s.data[i] == '"' || s.data[i] == '\\')
            buf_printf(out, "\\%c", s.data[i]);
        else if (s.data[i] < 0x20)
            buf_printf(out, "\\u%04x", s.data[i]);
        else
            buf_put(out, s.data + i, n);
        i += n > 0 ? n : 1;
    }
    buf_put_u8(out, '"');
}

static void put_base64(struct buf *out, struct slice s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";

    buf_put_u8(out, '"');
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = s.len - i < 3 ? s.len - i : 3;
        uint32_t v = (uint32_t)s.data[i] << 16;
        if (n > 1)
            v |= (uint32_t)s.data[i + 1] << 8;
        if (n > 2)
            v |= s.data[i + 2];
        for (size_t k = 0; k < 4; k++) {
            char digit = digits[v >> (18 - 6 * k) & 63];
            buf_put_u8(out, k <= n ? (uint8_t)digit : '=');
        }
    }
    buf_put_u8(out, '"');
}

/* ---- values ------------------------------------------------------------ */

/* JSON has no infinities; Kafka's own converter writes them as strings. */
static void put_f64(struct buf *out, double v)
{
    if (v != v)
        put_text(out, "\"NaN\"");
    else if (v - v != 0)
        put_text(out, v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else
        buf_printf(out, "%.17g", v);
}

static void put_uuid(struct buf *out, struct uuid u)
{
    char text[UUID_TEXT_SIZE];

    buf_printf(out, "\"%s\"", uuid_format(u, text));
}

static void put_records(struct buf *out, const struct kafka_records *records)
{
    if (records->ext != NULL)
        buf_printf(out, "%" PRIu32, records->ext_len);
    else if (slice_is_null(records->bytes))
        put_text(out, "null");
    else
        buf_printf(out, "%zu", records->bytes.len);
}

/* A null slice in a field that is never null means an empty one. */
static void put_slice(struct buf *out, const struct kafka_field *f,
                      struct slice s, bool may_be_null)
{
    if (slice_is_null(s) && may_be_null)
        put_text(out, "null");
    else if (f->type == KAFKA_STRING)
        put_string(out, s);
    else
        put_base64(out, s);
}

static void put_value(const struct kafka_field *f, int16_t version,
                      const void *at, bool may_be_null, struct buf *out)
{
    switch ((enum kafka_type)f->type) {
    case KAFKA_BOOL:
        put_text(out, *(const bool *)at ? "true" : "false");
        break;
    case KAFKA_INT8:
        buf_printf(out, "%d", *(const int8_t *)at);
        break;
    case KAFKA_INT16:
        buf_printf(out, "%d", *(const int16_t *)at);
        break;
    case KAFKA_UINT16:
        buf_printf(out, "%u", *(const uint16_t *)at);
        break;
    case KAFKA_INT32:
        buf_printf(out, "%" PRId32, *(const int32_t *)at);
        break;
    case KAFKA_INT64:
        buf_printf(out, "%" PRId64, *(const int64_t *)at);
        break;
    case KAFKA_FLOAT64:
        put_f64(out, *(const double *)at);
        break;
    case KAFKA_UUID:
        put_uuid(out, *(const struct uuid *)at);
        break;
    case KAFKA_STRING:
    case KAFKA_BYTES:
        put_slice(out, f, *(const struct slice *)at, may_be_null);
        break;
    case KAFKA_RECORDS:
        put_records(out, at);
        break;
    case KAFKA_STRUCT:
        put_struct(f->desc, version, at, out);
        break;
    }
}

static void put_array(const struct kafka_field *f, int16_t version,
                      const void *at, struct buf *out)
{
    struct kafka_array array = kafka_array_get(at);
    size_t size = kafka_item_size(f);

    if (array.len < 0) {
        put_text(out, "null");
        return;
    }
    buf_put_u8(out, '[');
    for (int32_t i = 0; i < array.len; i++) {
        if (i > 0)
            buf_put_u8(out, ',');
        put_value(f, version, (const uint8_t *)array.items + (size_t)i * size,
                  false, out);
    }
    buf_put_u8(out, ']');
}

static void put_field(const struct kafka_field *f, int16_t version,
                      const void *at, struct buf *out)
{
    if (f->flags & KAFKA_ARRAY) {
        put_array(f, version, at, out);
    } else if (f->flags & KAFKA_POINTER) {
        const void *item = kafka_pointer_get(at);
        if (item == NULL)
            put_text(out, "null");
        else
            put_struct(f->desc, version, item, out);
    } else {
        put_value(f, version, at, kafka_field_nullable(f, version), out);
    }
}

/* ---- structs ----------------------------------------------------------- */

static void put_struct(const struct kafka_desc *d, int16_t version,
                       const uint8_t *msg, struct buf *out)
{
    const char *before = "{";

    for (uint16_t i = 0; i < d->field_count; i++) {
        const struct kafka_field *f = &d->fields[i];
        const void *at = msg + f->offset;
        if (!kafka_field_in(f, version))
            continue;
        if (i >= d->plain_count && kafka_field_is_default(f, at))
            continue;
        buf_printf(out, "%s\"%s\":", before, f->name);
        put_field(f, version, at, out);
        before = ",";
    }
    put_text(out, *before == '{' ? "{}" : "}");
}

void kafka_to_json(const struct kafka_desc *d, int16_t version, const void *msg,
                   struct buf *out)
{
    put_struct(d, version, msg, out);
}
