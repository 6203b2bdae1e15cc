#include "controller/quota_entity.h"

#include "controller/config_defs.h"

#include <string.h>

#define DEFAULT "<default>"

static const char *const part_names[QUOTA_PARTS] = {"user", "client-id", "ip"};

static const char *const keys[QUOTA_TYPES] = {
    "producer_byte_rate", "consumer_byte_rate", "request_percentage",
    "controller_mutation_rate", "connection_creation_rate"};

const char *quota_part_name(enum quota_part part) { return part_names[part]; }

enum quota_part quota_part_find(struct slice name)
{
    int i = 0;

    while (i < QUOTA_PARTS && !slice_eq_str(name, part_names[i]))
        i++;
    return (enum quota_part)i;
}

const char *quota_key(enum quota_type type) { return keys[type]; }

enum quota_type quota_key_find(struct slice key)
{
    int i = 0;

    while (i < QUOTA_TYPES && !slice_eq_str(key, keys[i]))
        i++;
    return (enum quota_type)i;
}

/* ---- names --------------------------------------------------------------- */

static bool is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' ||
           c == ':';
}

static void put_name(struct buf *b, struct slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (is_plain(name.data[i]))
            buf_put_u8(b, name.data[i]);
        else
            buf_printf(b, "%%%02X", name.data[i]);
}

struct slice quota_entity_encode(const struct quota_entity *e, struct arena *a)
{
    struct buf b = BUF_INIT;

    for (int i = 0; i < QUOTA_PARTS; i++) {
        if (!e->has[i])
            continue;
        buf_printf(&b, "%s%s=", b.len != 0 ? ";" : "", part_names[i]);
        if (slice_is_null(e->name[i]))
            buf_printf(&b, DEFAULT);
        else
            put_name(&b, e->name[i]);
    }
    struct slice out = slice_str(arena_strdup(a, buf_slice(&b)));
    buf_free(&b);
    return out;
}

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool take_name(struct slice text, struct arena *a, struct slice *out)
{
    uint8_t *name = arena_alloc(a, text.len + 1);
    size_t len = 0;

    if (slice_eq_str(text, DEFAULT)) {
        *out = SLICE_NULL;
        return true;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (is_plain(text.data[i])) {
            name[len++] = text.data[i];
            continue;
        }
        if (text.data[i] != '%' || i + 2 >= text.len ||
            hex(text.data[i + 1]) < 0 || hex(text.data[i + 2]) < 0)
            return false;
        name[len++] =
            (uint8_t)(hex(text.data[i + 1]) << 4 | hex(text.data[i + 2]));
        i += 2;
    }
    *out = slice_of(name, len);
    return len != 0;
}

static bool take_part(struct slice text, struct arena *a,
                      struct quota_entity *e)
{
    const uint8_t *equals =
        text.len == 0 ? NULL : memchr(text.data, '=', text.len);

    if (equals == NULL)
        return false;
    size_t n = (size_t)(equals - text.data);
    enum quota_part part = quota_part_find(slice_of(text.data, n));
    if (part == QUOTA_PARTS || e->has[part])
        return false;
    e->has[part] = true;
    return take_name(slice_of(equals + 1, text.len - n - 1), a, &e->name[part]);
}

bool quota_entity_decode(struct slice text, struct arena *a,
                         struct quota_entity *e)
{
    *e = (struct quota_entity){0};
    while (text.len != 0) {
        const uint8_t *end = memchr(text.data, ';', text.len);
        size_t n = end == NULL ? text.len : (size_t)(end - text.data);

        if (!take_part(slice_of(text.data, n), a, e))
            return false;
        text = end == NULL ? SLICE_NULL : slice_of(end + 1, text.len - n - 1);
    }
    return e->has[QUOTA_USER] || e->has[QUOTA_CLIENT_ID] || e->has[QUOTA_IP];
}

/* ---- which counts -------------------------------------------------------- */

struct level {
    bool user, any_user;
    bool client, any_client;
};

static const struct level levels[] = {
    {true, false, true, false},  {true, false, false, true},
    {false, true, true, false},  {false, true, false, true},
    {true, false, false, false}, {false, true, false, false},
    {false, false, true, false}, {false, false, false, true},
};

static bool limit_of(const struct quota_entity *e, enum quota_type type,
                     quota_lookup *lookup, const void *arg, struct arena *a,
                     double *limit)
{
    const char *text =
        lookup(arg, quota_entity_encode(e, a), slice_str(keys[type]));

    return text != NULL && config_parse_double(slice_str(text), limit);
}

bool quota_find(enum quota_type type, struct slice user, struct slice client_id,
                quota_lookup *lookup, const void *arg, struct arena *a,
                struct quota_match *out)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        const struct level *l = &levels[i];
        struct quota_entity e = {
            .has = {l->user || l->any_user, l->client || l->any_client, false},
            .name = {l->user ? user : SLICE_NULL,
                     l->client ? client_id : SLICE_NULL, SLICE_NULL},
        };

        if (l->client && client_id.len == 0)
            continue;
        if (!limit_of(&e, type, lookup, arg, a, &out->limit))
            continue;
        e.name[QUOTA_USER] = user;
        e.name[QUOTA_CLIENT_ID] = client_id;
        struct slice who = quota_entity_encode(&e, a);
        out->bucket = arena_printf(a, "%s;%.*s", keys[type], SLICE_FMT(who));
        return true;
    }
    return false;
}

bool quota_find_ip(struct slice address, quota_lookup *lookup, const void *arg,
                   struct arena *a, double *limit)
{
    struct quota_entity e = {.has = {[QUOTA_IP] = true},
                             .name = {[QUOTA_IP] = address}};

    if (limit_of(&e, QUOTA_CONNECTION, lookup, arg, a, limit))
        return true;
    e.name[QUOTA_IP] = SLICE_NULL;
    return limit_of(&e, QUOTA_CONNECTION, lookup, arg, a, limit);
}
