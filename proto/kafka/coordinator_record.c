/* An int16 in front of a body, and the look-up of what the int16 means. */
#include "proto/kafka/coordinator_record.h"

enum { KEY_VERSION = 0 };

static enum err encode(const struct kafka_desc *desc, int16_t front,
                       int16_t version, const void *msg, struct buf *out)
{
    size_t start = out->len;

    buf_put_u16(out, (uint16_t)front);
    enum err err = kafka_encode(desc, version, msg, out, NULL);
    if (err != ERR_NONE)
        out->len = start;
    return err;
}

enum err coordinator_key_encode(const struct kafka_desc *desc, const void *key,
                                struct buf *out)
{
    return encode(desc, desc->number, KEY_VERSION, key, out);
}

enum err coordinator_value_encode(const struct kafka_desc *desc,
                                  int16_t version, const void *value,
                                  struct buf *out)
{
    return encode(desc, version, version, value, out);
}

static enum err decode(const struct kafka_desc *desc, int16_t version,
                       struct reader *r, struct arena *arena, void **msg)
{
    *msg = arena_alloc(arena, desc->size_bytes);
    if (*msg == NULL)
        return ERR_TOO_LARGE;
    enum err err = kafka_decode_prefix(desc, version, r, arena, *msg);
    if (err == ERR_NONE && reader_left(r) != 0)
        return ERR_MALFORMED;
    return err;
}

static const struct coordinator_record *
find(const struct coordinator_records *set, int16_t type)
{
    for (uint32_t i = 0; i < set->len; i++)
        if (set->items[i].type == type)
            return &set->items[i];
    return NULL;
}

enum err coordinator_key_decode(const struct coordinator_records *set,
                                struct slice bytes, struct arena *arena,
                                const struct coordinator_record **record,
                                void **key)
{
    struct reader r = reader_of(bytes);
    int16_t type = read_i16(&r);

    if (r.bad)
        return ERR_MALFORMED;
    *record = find(set, type);
    if (*record == NULL)
        return ERR_UNSUPPORTED_VERSION;
    return decode((*record)->key, KEY_VERSION, &r, arena, key);
}

enum err coordinator_value_decode(const struct coordinator_record *record,
                                  struct slice bytes, struct arena *arena,
                                  void **value)
{
    struct reader r = reader_of(bytes);
    int16_t version = read_i16(&r);

    if (r.bad)
        return ERR_MALFORMED;
    return decode(record->value, version, &r, arena, value);
}
