/* AlterClientQuotas.  An entity's quotas change as a whole or not at all; what
 * is refused names the entity it is about.
 *
 * Quotas are kept as configs of IMAGE_RESOURCE_CLIENT_QUOTA, named as
 * quota_entity.h says. */
#include "controller/image_kv.h"
#include "controller/quota_entity.h"
#include "controller/step.h"
#include "proto/kafka/kafka_messages.h"

#include <arpa/inet.h>

/* All parts of a name and the longest key fit into a key of the store. */
enum { ENTITY_MAX_BYTES = 450, QUOTA_KEY_MAX_BYTES = 24 };
enum { NUMBER_MAX_BYTES = 32 }; /* as text */
static_assert(sizeof IMAGE_KV_PREFIX + 1 + 1 + ENTITY_MAX_BYTES + 1 +
                      QUOTA_KEY_MAX_BYTES <=
                  KV_KEY_MAX,
              "an entity's longest name and the longest key");

typedef struct alter_client_quotas_request_entry_data request_entry;
typedef struct alter_client_quotas_request_op_data request_op;

/* Addresses are compared as text, so they are written in one way. */
static bool take_address(struct step *s, struct slice name, struct slice *out)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    const char *given = arena_strdup(s->arena, name);

    for (int family = AF_INET;; family = AF_INET6) {
        if (inet_pton(family, given, bytes) == 1) {
            inet_ntop(family, bytes, text, sizeof text);
            *out = arena_copy(s->arena, slice_str(text));
            return true;
        }
        if (family == AF_INET6)
            return false;
    }
}

static struct verdict take_part(struct step *s, struct quota_entity *e,
                                struct slice type, struct slice name)
{
    enum quota_part part = quota_part_find(type);

    if (part == QUOTA_PARTS)
        return refuse(s, ERR_INVALID_REQUEST,
                      "Unhandled client quota entity type: %.*s",
                      SLICE_FMT(type));
    if (e->has[part])
        return refuse(s, ERR_INVALID_REQUEST,
                      "Invalid client quota entity, duplicate entity entry "
                      "%.*s",
                      SLICE_FMT(type));
    if (!slice_is_null(name) && name.len == 0)
        return refuse(s, ERR_INVALID_REQUEST, "Empty %.*s not supported",
                      SLICE_FMT(type));
    e->has[part] = true;
    e->name[part] = name;
    if (part == QUOTA_IP && !slice_is_null(name) &&
        !take_address(s, name, &e->name[part]))
        return refuse(s, ERR_INVALID_REQUEST,
                      "%.*s is not a valid IP or resolvable host.",
                      SLICE_FMT(name));
    return VERDICT_GOOD;
}

static struct verdict take_entity(struct step *s, const request_entry *r,
                                  struct quota_entity *e, struct slice *name)
{
    struct verdict v = VERDICT_GOOD;

    *e = (struct quota_entity){0};
    if (r->entity_len == 0)
        return refuse(s, ERR_INVALID_REQUEST,
                      "Invalid empty client quota entity");
    for (int32_t i = 0; i < r->entity_len && v.error == ERR_NONE; i++)
        v = take_part(s, e, r->entity[i].entity_type, r->entity[i].entity_name);
    if (v.error != ERR_NONE)
        return v;
    if (e->has[QUOTA_IP] && (e->has[QUOTA_USER] || e->has[QUOTA_CLIENT_ID]))
        return refuse(s, ERR_INVALID_REQUEST,
                      "Invalid quota entity combination, IP entity should not "
                      "be combined with User or ClientId");
    *name = quota_entity_encode(e, s->arena);
    if (name->len > ENTITY_MAX_BYTES)
        return refuse(s, ERR_INVALID_REQUEST,
                      "The names of a quota entity may have %d bytes together.",
                      ENTITY_MAX_BYTES);
    return VERDICT_GOOD;
}

static struct verdict check_op(struct step *s, const struct quota_entity *e,
                               const request_op *op)
{
    enum quota_type type = quota_key_find(op->key);
    bool of_ip = type == QUOTA_CONNECTION;

    if (op->remove)
        return VERDICT_GOOD;
    if (type == QUOTA_TYPES || of_ip != e->has[QUOTA_IP])
        return refuse(s, ERR_INVALID_REQUEST, "Invalid configuration key %.*s",
                      SLICE_FMT(op->key));
    if (!(op->value > 0))
        return refuse(s, ERR_INVALID_REQUEST,
                      "Quota %.*s must be greater than 0", SLICE_FMT(op->key));
    if (type == QUOTA_REQUEST || type == QUOTA_MUTATION)
        return VERDICT_GOOD;
    if (op->value > (of_ip ? (double)INT32_MAX : (double)INT64_MAX))
        return refuse(s, ERR_INVALID_REQUEST,
                      "Proposed value for %.*s is too large for %s.",
                      SLICE_FMT(op->key), of_ip ? "an INT" : "a LONG");
    if (op->value < 9e18 && op->value - (double)(int64_t)op->value > 1e-6)
        return refuse(s, ERR_INVALID_REQUEST,
                      "%.*s cannot be a fractional value.", SLICE_FMT(op->key));
    return VERDICT_GOOD;
}

static struct verdict check_ops(struct step *s, const struct quota_entity *e,
                                const request_entry *r)
{
    struct map keys = MAP_INIT;
    struct verdict v = VERDICT_GOOD;

    for (int32_t i = 0; i < r->ops_len && v.error == ERR_NONE; i++) {
        if (map_put(&keys, r->ops[i].key, &keys) != NULL)
            v = refuse(s, ERR_INVALID_REQUEST,
                       "Duplicate quota key %.*s not updating quota for this "
                       "entity",
                       SLICE_FMT(r->ops[i].key));
        else
            v = check_op(s, e, &r->ops[i]);
    }
    map_free(&keys);
    return v;
}

static void put_op(struct step *s, struct slice entity, const request_op *op)
{
    const char *now =
        image_config(s->image, IMAGE_RESOURCE_CLIENT_QUOTA, entity, op->key);
    struct slice value = SLICE_NULL;

    if (!op->remove)
        value = arena_printf(s->arena, "%.17g", op->value);
    if (now == NULL ? op->remove : slice_eq_str(value, now))
        return;
    config_put(s, IMAGE_RESOURCE_CLIENT_QUOTA, entity, op->key, value);
}

static struct verdict put_ops(struct step *s, struct slice entity,
                              const request_entry *r, bool validate_only)
{
    size_t bytes = 0;

    for (int32_t i = 0; i < r->ops_len; i++)
        bytes += config_record_bytes(entity, r->ops[i].key, SLICE_NULL) +
                 NUMBER_MAX_BYTES;
    struct verdict v = step_fits(s, bytes);
    if (v.error != ERR_NONE || validate_only)
        return v;
    step_group_begin(s, bytes);
    for (int32_t i = 0; i < r->ops_len; i++)
        put_op(s, entity, &r->ops[i]);
    step_group_end(s);
    return v;
}

/* Entities as they are mentioned: the text, or "?" and the number for those
 * that have none. */
static void find_duplicates(const struct slice *names, int32_t len,
                            struct map *duplicates)
{
    struct map seen = MAP_INIT;

    for (int32_t i = 0; i < len; i++)
        if (!slice_is_null(names[i]) && map_put(&seen, names[i], &seen) != NULL)
            map_put(duplicates, names[i], duplicates);
    map_free(&seen);
}

static void answer(struct step *s, const request_entry *r, struct verdict v,
                   struct alter_client_quotas_response_entry_data *out)
{
    alter_client_quotas_response_entry_data_init(out);
    out->error_code = (int16_t)v.error;
    out->error_message = v.why;
    out->entity =
        arena_array(s->arena, (size_t)r->entity_len, sizeof *out->entity);
    out->entity_len = r->entity_len;
    for (int32_t i = 0; i < r->entity_len; i++) {
        alter_client_quotas_response_entity_data_init(&out->entity[i]);
        out->entity[i].entity_type = r->entity[i].entity_type;
        out->entity[i].entity_name = r->entity[i].entity_name;
    }
}

void client_quotas_alter(struct step *s, int16_t version, const void *in,
                         void *out)
{
    const struct alter_client_quotas_request *request = in;
    struct alter_client_quotas_response *response = out;
    size_t count = (size_t)request->entries_len;
    struct quota_entity *entities =
        arena_array(s->arena, count, sizeof *entities);
    struct slice *names = arena_array(s->arena, count, sizeof *names);
    struct verdict *verdicts = arena_array(s->arena, count, sizeof *verdicts);
    struct map duplicates = MAP_INIT;
    struct map told = MAP_INIT;

    (void)version;
    response->entries = arena_array(s->arena, count, sizeof *response->entries);
    response->entries_len = 0;
    for (size_t i = 0; i < count; i++) {
        names[i] = SLICE_NULL;
        verdicts[i] =
            take_entity(s, &request->entries[i], &entities[i], &names[i]);
    }
    find_duplicates(names, request->entries_len, &duplicates);
    for (size_t i = 0; i < count; i++) {
        const request_entry *r = &request->entries[i];
        struct verdict v = verdicts[i];
        bool twice =
            !slice_is_null(names[i]) && map_get(&duplicates, names[i]) != NULL;

        if (twice && map_put(&told, names[i], &told) != NULL)
            continue;
        if (twice)
            v = refuse(s, ERR_INVALID_REQUEST, "Ignoring duplicate entity %.*s",
                       SLICE_FMT(names[i]));
        if (v.error == ERR_NONE)
            v = check_ops(s, &entities[i], r);
        if (v.error == ERR_NONE)
            v = put_ops(s, names[i], r, request->validate_only);
        answer(s, r, v, &response->entries[response->entries_len++]);
    }
    map_free(&told);
    map_free(&duplicates);
}
