/* Fields of messages in memory: reaching them through their descriptors,
 * giving them their defaults, and asking whether they still have them. */
#include "proto/kafka/codec.h"

#include <stdlib.h>

/* Values are copied in and out: a `struct produce_topic *` may not be read as
 * if it were declared `void *`. */

struct kafka_array kafka_array_get(const void *at)
{
    struct kafka_array array;

    memcpy(&array.items, at, sizeof array.items);
    memcpy(&array.len, (const uint8_t *)at + sizeof array.items,
           sizeof array.len);
    return array;
}

void kafka_array_set(void *at, void *items, int32_t len)
{
    memcpy(at, &items, sizeof items);
    memcpy((uint8_t *)at + sizeof items, &len, sizeof len);
}

void *kafka_pointer_get(const void *at)
{
    void *pointer;

    memcpy(&pointer, at, sizeof pointer);
    return pointer;
}

void kafka_pointer_set(void *at, void *pointer)
{
    memcpy(at, &pointer, sizeof pointer);
}

size_t kafka_item_size(const struct kafka_field *f)
{
    switch ((enum kafka_type)f->type) {
    case KAFKA_BOOL:
        return sizeof(bool);
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
        return sizeof(struct uuid);
    case KAFKA_STRING:
    case KAFKA_BYTES:
        return sizeof(struct slice);
    case KAFKA_RECORDS:
        return sizeof(struct kafka_records);
    case KAFKA_STRUCT:
        return f->desc->size_bytes;
    }
    ASSERT(!"a type of no known size");
    return 0;
}

/* ---- defaults ---------------------------------------------------------- */

static bool default_is_null(const struct kafka_field *f)
{
    return (f->flags & KAFKA_NULL_DEFAULT) != 0;
}

static void number_init(const struct kafka_field *f, void *at)
{
    int64_t v = f->dflt;

    switch ((enum kafka_type)f->type) {
    case KAFKA_BOOL:
        *(bool *)at = v != 0;
        break;
    case KAFKA_INT8:
        *(int8_t *)at = (int8_t)v;
        break;
    case KAFKA_INT16:
        *(int16_t *)at = (int16_t)v;
        break;
    case KAFKA_UINT16:
        *(uint16_t *)at = (uint16_t)v;
        break;
    case KAFKA_INT32:
        *(int32_t *)at = (int32_t)v;
        break;
    case KAFKA_INT64:
        *(int64_t *)at = v;
        break;
    case KAFKA_FLOAT64:
        *(double *)at = 0.0;
        break;
    case KAFKA_UUID:
        *(struct uuid *)at = UUID_ZERO;
        break;
    case KAFKA_STRING:
    case KAFKA_BYTES:
    case KAFKA_RECORDS:
    case KAFKA_STRUCT:
        ASSERT(!"not a number");
    }
}

void kafka_field_init(const struct kafka_field *f, void *at)
{
    if (f->flags & KAFKA_ARRAY) {
        kafka_array_set(at, NULL, default_is_null(f) ? -1 : 0);
    } else if (f->flags & KAFKA_POINTER) {
        kafka_pointer_set(at, NULL);
    } else if (f->type == KAFKA_STRUCT) {
        kafka_init(f->desc, at);
    } else if (f->type == KAFKA_STRING || f->type == KAFKA_BYTES) {
        *(struct slice *)at = default_is_null(f) ? SLICE_NULL : SLICE("");
    } else if (f->type == KAFKA_RECORDS) {
        *(struct kafka_records *)at = (struct kafka_records){
            .bytes = default_is_null(f) ? SLICE_NULL : SLICE("")};
    } else {
        number_init(f, at);
    }
}

void kafka_init(const struct kafka_desc *d, void *msg)
{
    for (uint16_t i = 0; i < d->field_count; i++)
        kafka_field_init(&d->fields[i], (uint8_t *)msg + d->fields[i].offset);
}

static bool number_is_default(const struct kafka_field *f, const void *at)
{
    switch ((enum kafka_type)f->type) {
    case KAFKA_BOOL:
        return *(const bool *)at == (f->dflt != 0);
    case KAFKA_INT8:
        return *(const int8_t *)at == f->dflt;
    case KAFKA_INT16:
        return *(const int16_t *)at == f->dflt;
    case KAFKA_UINT16:
        return *(const uint16_t *)at == f->dflt;
    case KAFKA_INT32:
        return *(const int32_t *)at == f->dflt;
    case KAFKA_INT64:
        return *(const int64_t *)at == f->dflt;
    case KAFKA_FLOAT64: {
        /* By bits: -0.0 is something to send. */
        uint64_t bits;
        memcpy(&bits, at, sizeof bits);
        return bits == 0;
    }
    case KAFKA_UUID:
        return uuid_is_zero(*(const struct uuid *)at);
    case KAFKA_STRING:
    case KAFKA_BYTES:
    case KAFKA_RECORDS:
    case KAFKA_STRUCT:
        break;
    }
    ASSERT(!"not a number");
    return false;
}

/* A null slice in a field that is never null means an empty one. */
static bool slice_is_default(const struct kafka_field *f, struct slice s)
{
    if (default_is_null(f))
        return slice_is_null(s);
    return s.len == 0 && (!slice_is_null(s) || f->null_min > f->null_max);
}

static bool struct_is_default(const struct kafka_desc *d, const void *msg)
{
    for (uint16_t i = 0; i < d->field_count; i++)
        if (!kafka_field_is_default(&d->fields[i],
                                    (const uint8_t *)msg + d->fields[i].offset))
            return false;
    return true;
}

static bool pointer_is_default(const struct kafka_field *f, const void *item)
{
    if (default_is_null(f))
        return item == NULL;
    return item != NULL && struct_is_default(f->desc, item);
}

bool kafka_field_is_default(const struct kafka_field *f, const void *at)
{
    if (f->flags & KAFKA_ARRAY)
        return kafka_array_get(at).len == (default_is_null(f) ? -1 : 0);
    if (f->flags & KAFKA_POINTER)
        return pointer_is_default(f, kafka_pointer_get(at));
    if (f->type == KAFKA_STRUCT)
        return struct_is_default(f->desc, at);
    if (f->type == KAFKA_STRING || f->type == KAFKA_BYTES)
        return slice_is_default(f, *(const struct slice *)at);
    if (f->type == KAFKA_RECORDS) {
        const struct kafka_records *records = at;
        return records->ext == NULL && slice_is_default(f, records->bytes);
    }
    return number_is_default(f, at);
}

/* ---- gaps -------------------------------------------------------------- */

void kafka_gaps_free(struct kafka_gaps *gaps)
{
    free(gaps->items);
    *gaps = (struct kafka_gaps){0};
}

void kafka_gaps_cut(struct kafka_gaps *gaps, const struct kafka_gaps *before)
{
    if (gaps == NULL)
        return;
    gaps->len = before->len;
    gaps->bytes = before->bytes;
}
