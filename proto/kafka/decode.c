/* Bytes to structs.
 *
 * One recursive walk along the descriptors.  The reader is sticky, so numbers
 * are read without looking; whatever allocates, loops or moves by a length
 * that the peer chose looks first.  The recursion is as deep as the schema
 * nests, which the generator has checked to be finite.
 *
 * Against a body that is made to hurt: an array's count is compared with the
 * bytes that are left, divided by the least an element takes, before memory
 * is asked for; and as an element may be larger in memory than on the wire,
 * the arena's limit bounds what all arrays take together. */
#include "proto/kafka/codec.h"

struct decoder {
    struct reader reader;
    struct arena *arena;
    int16_t version;
    bool flexible;
};

enum { LENGTH_NULL = -1, LENGTH_BAD = -2, STRING_MAX = INT16_MAX };

static enum err decode_struct(struct decoder *c, const struct kafka_desc *d,
                              uint8_t *msg);

/* ---- lengths ----------------------------------------------------------- */

static bool is_plain(const struct decoder *c, const struct kafka_field *f)
{
    return !c->flexible || (f->flags & KAFKA_PLAIN) != 0;
}

/* The length or count before a field's content.  Null is LENGTH_NULL where it
 * may be, everything impossible is LENGTH_BAD. */
static int64_t read_length(struct decoder *c, const struct kafka_field *f,
                           bool is_short, bool may_be_null)
{
    int64_t length;

    if (!is_plain(c, f))
        length = (int64_t)read_uvarint32(&c->reader) - 1;
    else if (is_short)
        length = read_i16(&c->reader);
    else
        length = read_i32(&c->reader);

    if (c->reader.bad || length > (is_short ? STRING_MAX : INT32_MAX))
        return LENGTH_BAD;
    if (length < (may_be_null ? LENGTH_NULL : 0))
        return LENGTH_BAD;
    return length;
}

/* ---- the least bytes an element takes on the wire ---------------------- */

static size_t struct_min(const struct decoder *c, const struct kafka_desc *d);

static size_t value_min(const struct decoder *c, const struct kafka_field *f)
{
    switch ((enum kafka_type)f->type) {
    case KAFKA_BOOL:
    case KAFKA_INT8:
        return 1;
    case KAFKA_INT16:
    case KAFKA_UINT16:
        return 2;
    case KAFKA_INT32:
        return 4;
    case KAFKA_INT64:
    case KAFKA_FLOAT64:
        return 8;
    case KAFKA_UUID:
        return 16;
    case KAFKA_STRING:
        return is_plain(c, f) ? 2 : 1;
    case KAFKA_BYTES:
    case KAFKA_RECORDS:
        return is_plain(c, f) ? 4 : 1;
    case KAFKA_STRUCT:
        return struct_min(c, f->desc);
    }
    return 1;
}

static size_t field_min(const struct decoder *c, const struct kafka_field *f)
{
    if (f->flags & KAFKA_ARRAY)
        return is_plain(c, f) ? 4 : 1;
    if (f->flags & KAFKA_POINTER)
        return 1;
    return value_min(c, f);
}

static size_t struct_min(const struct decoder *c, const struct kafka_desc *d)
{
    size_t sum = c->flexible ? 1 : 0; /* the count of tagged fields */

    for (uint16_t i = 0; i < d->plain_count; i++)
        if (kafka_field_in(&d->fields[i], c->version))
            sum += field_min(c, &d->fields[i]);
    return sum;
}

/* ---- values ------------------------------------------------------------ */

static enum err decode_slice(struct decoder *c, const struct kafka_field *f,
                             struct slice *s, bool may_be_null)
{
    int64_t length = read_length(c, f, f->type == KAFKA_STRING, may_be_null);

    if (length == LENGTH_BAD)
        return ERR_MALFORMED;
    if (length == LENGTH_NULL)
        *s = SLICE_NULL;
    else
        *s = read_bytes(&c->reader, (size_t)length);
    return c->reader.bad ? ERR_MALFORMED : ERR_NONE;
}

static double read_f64(struct reader *r)
{
    uint64_t bits = read_u64(r);
    double v;

    memcpy(&v, &bits, sizeof v);
    return v;
}

static void read_uuid(struct reader *r, struct uuid *u)
{
#ifdef FUZZ_PLANTED /* in tests/fuzz alone: a bug that has to be found */
    if (reader_left(r) == sizeof u->bytes - 1) {
        memcpy(u->bytes, r->at, sizeof u->bytes);
        return;
    }
#endif
    const uint8_t *p = reader_take(r, sizeof u->bytes);

    if (p != NULL)
        memcpy(u->bytes, p, sizeof u->bytes);
}

/* One value of the field's type, an array's element or the field itself. */
static enum err decode_value(struct decoder *c, const struct kafka_field *f,
                             void *at, bool may_be_null)
{
    switch ((enum kafka_type)f->type) {
    case KAFKA_BOOL:
        *(bool *)at = read_u8(&c->reader) != 0;
        return ERR_NONE;
    case KAFKA_INT8:
        *(int8_t *)at = read_i8(&c->reader);
        return ERR_NONE;
    case KAFKA_INT16:
        *(int16_t *)at = read_i16(&c->reader);
        return ERR_NONE;
    case KAFKA_UINT16:
        *(uint16_t *)at = read_u16(&c->reader);
        return ERR_NONE;
    case KAFKA_INT32:
        *(int32_t *)at = read_i32(&c->reader);
        return ERR_NONE;
    case KAFKA_INT64:
        *(int64_t *)at = read_i64(&c->reader);
        return ERR_NONE;
    case KAFKA_FLOAT64:
        *(double *)at = read_f64(&c->reader);
        return ERR_NONE;
    case KAFKA_UUID:
        read_uuid(&c->reader, at);
        return ERR_NONE;
    case KAFKA_STRING:
    case KAFKA_BYTES:
        return decode_slice(c, f, at, may_be_null);
    case KAFKA_RECORDS: {
        struct kafka_records *records = at;
        records->ext = NULL;
        records->ext_len = 0;
        return decode_slice(c, f, &records->bytes, may_be_null);
    }
    case KAFKA_STRUCT:
        return decode_struct(c, f->desc, at);
    }
    ASSERT(!"a type the decoder does not know");
    return ERR_MALFORMED;
}

/* A struct of its own, all defaults until it is decoded. */
static void *new_struct(struct decoder *c, const struct kafka_field *f,
                        void *at)
{
    void *item = arena_alloc(c->arena, f->desc->size_bytes);

    if (item != NULL) {
        kafka_init(f->desc, item);
        kafka_pointer_set(at, item);
    }
    return item;
}

/* A struct that may be null has a byte before it: 1 present; null is -1, or 0
 * if the field is tagged. */
static enum err decode_pointer(struct decoder *c, const struct kafka_field *f,
                               void *at)
{
    if (kafka_field_nullable(f, c->version)) {
        int8_t presence = read_i8(&c->reader);
        if (presence == (f->tag >= 0 ? 0 : -1)) {
            kafka_pointer_set(at, NULL);
            return ERR_NONE;
        }
        if (presence != 1)
            return ERR_MALFORMED;
    }
    void *item = new_struct(c, f, at);
    return item != NULL ? decode_struct(c, f->desc, item) : ERR_TOO_LARGE;
}

static enum err decode_array(struct decoder *c, const struct kafka_field *f,
                             void *at)
{
    int64_t count =
        read_length(c, f, false, kafka_field_nullable(f, c->version));

    if (count == LENGTH_BAD)
        return ERR_MALFORMED;
    if (count <= 0) {
        kafka_array_set(at, NULL, (int32_t)count);
        return ERR_NONE;
    }
    size_t least = value_min(c, f);
    if ((size_t)count > reader_left(&c->reader) / (least > 0 ? least : 1))
        return ERR_MALFORMED;

    size_t size = kafka_item_size(f);
    uint8_t *items = arena_array(c->arena, (size_t)count, size);
    if (items == NULL)
        return ERR_TOO_LARGE;
    kafka_array_set(at, items, (int32_t)count);
    for (int64_t i = 0; i < count; i++) {
        enum err err = decode_value(c, f, items + (size_t)i * size, false);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

static enum err decode_field(struct decoder *c, const struct kafka_field *f,
                             void *at)
{
    if (f->flags & KAFKA_ARRAY)
        return decode_array(c, f, at);
    if (f->flags & KAFKA_POINTER)
        return decode_pointer(c, f, at);
    return decode_value(c, f, at, kafka_field_nullable(f, c->version));
}

/* ---- tagged fields ----------------------------------------------------- */

static const struct kafka_field *
find_tag(const struct decoder *c, const struct kafka_desc *d, uint32_t tag)
{
    for (uint16_t i = d->plain_count; i < d->field_count; i++) {
        const struct kafka_field *f = &d->fields[i];
        if ((uint32_t)f->tag == tag && kafka_field_in(f, c->version))
            return f;
    }
    return NULL;
}

/* The field has to fill its `size` bytes exactly. */
static enum err decode_tagged(struct decoder *c, const struct kafka_field *f,
                              struct slice bytes, void *at)
{
    struct reader outer = c->reader;

    c->reader = reader_of(bytes);
    enum err err = decode_field(c, f, at);
    if (err == ERR_NONE && (c->reader.bad || reader_left(&c->reader) != 0))
        err = ERR_MALFORMED;
    c->reader = outer;
    return err;
}

/* A count, then tag, size and value of each.  Tags we don't know are for
 * newer peers and are skipped. */
static enum err decode_tags(struct decoder *c, const struct kafka_desc *d,
                            uint8_t *msg)
{
    uint32_t count = read_uvarint32(&c->reader);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t tag = read_uvarint32(&c->reader);
        uint32_t size = read_uvarint32(&c->reader);
        struct slice bytes = read_bytes(&c->reader, size);
        if (c->reader.bad)
            return ERR_MALFORMED;

        const struct kafka_field *f = find_tag(c, d, tag);
        if (f == NULL)
            continue;
        enum err err = decode_tagged(c, f, bytes, msg + f->offset);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

/* ---- structs ----------------------------------------------------------- */

/* What a field is if it isn't on the wire. */
static enum err decode_absent(struct decoder *c, const struct kafka_field *f,
                              void *at)
{
    bool is_struct =
        (f->flags & KAFKA_POINTER) != 0 && (f->flags & KAFKA_NULL_DEFAULT) == 0;

    kafka_field_init(f, at);
    if (is_struct && new_struct(c, f, at) == NULL)
        return ERR_TOO_LARGE;
    return ERR_NONE;
}

static enum err decode_struct(struct decoder *c, const struct kafka_desc *d,
                              uint8_t *msg)
{
    enum err err = ERR_NONE;

    for (uint16_t i = 0; i < d->field_count && err == ERR_NONE; i++) {
        const struct kafka_field *f = &d->fields[i];
        if (i < d->plain_count && kafka_field_in(f, c->version))
            err = decode_field(c, f, msg + f->offset);
        else
            err = decode_absent(c, f, msg + f->offset);
    }
    if (err == ERR_NONE && c->flexible)
        err = decode_tags(c, d, msg);
    if (err == ERR_NONE && c->reader.bad)
        err = ERR_MALFORMED;
    return err;
}

enum err kafka_decode_prefix(const struct kafka_desc *d, int16_t version,
                             struct reader *r, struct arena *arena, void *msg)
{
    struct decoder c = {
        .reader = *r,
        .arena = arena,
        .version = version,
        .flexible = kafka_flexible(d, version),
    };

    if (!kafka_has_version(d, version))
        return ERR_UNSUPPORTED_VERSION;
    enum err err = decode_struct(&c, d, msg);
    *r = c.reader;
    return err;
}

enum err kafka_decode(const struct kafka_desc *d, int16_t version,
                      struct slice body, struct arena *arena, void *msg)
{
    struct reader r = reader_of(body);
    enum err err = kafka_decode_prefix(d, version, &r, arena, msg);

    if (err == ERR_NONE && reader_left(&r) != 0)
        return ERR_MALFORMED;
    return err;
}

enum err kafka_decode_request(const struct kafka_desc *d, int16_t version,
                              struct slice body, struct arena *arena, void *msg)
{
    struct reader r = reader_of(body);

    return kafka_decode_prefix(d, version, &r, arena, msg);
}
