/* AlterConfigs (all configs of a resource are replaced) and
 * IncrementalAlterConfigs (single ones are set, deleted, appended to or
 * subtracted from).
 *
 * Both work out the resource's configs as they will be, judge them, and put
 * records for what differs; a resource changes as a whole or not at all.
 *
 * min.insync.replicas decides which replicas are eligible leaders, so brokers
 * and controllers must agree on it: for all brokers it lives in the metadata
 * and cannot be removed, and single brokers cannot have their own. */
#include "controller/change.h"
#include "controller/image_kv.h"
#include "controller/topic_config.h"
#include "controller/topic_name.h"
#include "proto/kafka/kafka_messages.h"

#include <stdlib.h>

/* Any key of any resource must fit into a key of the store.  Keys of groups and
 * subscriptions are those of the tables, so their names may be longer. */
enum { KEY_MAX_BYTES = 240, NAME_MAX_BYTES = 400, TABLE_KEY_MAX_BYTES = 64 };
static_assert(sizeof IMAGE_KV_PREFIX + 1 + 1 + TOPIC_NAME_MAX + 1 +
                      KEY_MAX_BYTES <=
                  KV_KEY_MAX,
              "a topic's longest name and the longest key");
static_assert(sizeof IMAGE_KV_PREFIX + 1 + 1 + NAME_MAX_BYTES + 1 +
                      TABLE_KEY_MAX_BYTES <=
                  KV_KEY_MAX,
              "a group's longest name and its longest key");

enum config_operation {
    OPERATION_SET,
    OPERATION_DELETE,
    OPERATION_APPEND,
    OPERATION_SUBTRACT,
};

/* A resource and the configs it is to have. */
struct target {
    int8_t type;
    struct slice name;
    bool per_broker;
    const struct map *now; /* key -> value; NULL: none */
    struct map next;       /* likewise, values in the arena */
};

/* ---- judging ------------------------------------------------------------- */

/* Takes over the sentence of a validating function. */
static struct verdict verdict_of(struct step *s, enum err error, char *why)
{
    struct verdict v = VERDICT_GOOD;

    if (error != ERR_NONE)
        v = refuse(s, error, "%s", why != NULL ? why : err_text(error));
    free(why);
    return v;
}

/* Text that a record can hold. */
static struct verdict check_text(struct step *s, struct slice key,
                                 struct slice value)
{
    if (key.len == 0 || key.len > KEY_MAX_BYTES)
        return refuse(s, ERR_INVALID_CONFIG,
                      "A configuration's name must have between 1 and %d "
                      "characters.",
                      KEY_MAX_BYTES);
    if (memchr(key.data, 0, key.len) != NULL ||
        (value.len != 0 && memchr(value.data, 0, value.len) != NULL))
        return refuse(s, ERR_INVALID_CONFIG,
                      "Configuration %.*s contains a zero byte.",
                      SLICE_FMT(key));
    return VERDICT_GOOD;
}

struct verdict config_check_topic(struct step *s, struct slice key,
                                  struct slice value)
{
    char *why = NULL;

    if (slice_is_null(value))
        return refuse(s, ERR_INVALID_CONFIG,
                      "Null value not supported for topic configs: %.*s",
                      SLICE_FMT(key));
    struct verdict v = check_text(s, key, value);
    if (v.error != ERR_NONE)
        return v;
    enum err error = config_validate_topic(key, value, &why);
    return verdict_of(s, error, why);
}

struct verdict config_check_topic_all(struct step *s, const struct map *values)
{
    struct config_layers layers;
    struct topic_config config;
    char *why = NULL;

    topic_config_layers(s->c, SLICE(""), &layers);
    layers.topic = config_layer_of_map(values);
    topic_config_resolve(&layers, &config);
    enum err error = topic_config_check(&config, &why);
    return verdict_of(s, error, why);
}

static bool is_min_insync(struct slice key)
{
    return slice_eq_str(key, "min.insync.replicas");
}

static struct verdict check_broker(struct step *s, const struct target *t,
                                   struct slice key, struct slice value)
{
    char *why = NULL;
    struct verdict v = check_text(s, key, value);

    if (v.error != ERR_NONE)
        return v;
    if (is_min_insync(key) && t->per_broker)
        return refuse(s, ERR_INVALID_CONFIG,
                      "Broker-level min.insync.replicas cannot be altered "
                      "while ELR is enabled.");
    enum err error =
        config_validate_broker_dynamic(key, value, t->per_broker, &why);
    return verdict_of(s, error, why);
}

/* Of a group, or of a subscription to clients' metrics. */
static struct verdict check_named(struct step *s, const struct target *t,
                                  struct slice key, struct slice value)
{
    char *why = NULL;
    struct verdict v = check_text(s, key, value);

    if (v.error != ERR_NONE)
        return v;
    enum err error = (t->type == IMAGE_RESOURCE_GROUP
                          ? config_validate_group
                          : config_validate_client_metrics)(key, value, &why);
    return verdict_of(s, error, why);
}

static struct verdict check_value(struct step *s, const struct target *t,
                                  struct slice key, struct slice value)
{
    switch (t->type) {
    case IMAGE_RESOURCE_TOPIC:
        return config_check_topic(s, key, value);
    case IMAGE_RESOURCE_BROKER:
        return check_broker(s, t, key, value);
    default:
        return check_named(s, t, key, value);
    }
}

/* Limits on connections that would let nobody in, brokers neither; of all
 * listeners, or of one. */
static bool lets_nobody_in(const struct target *t, const struct config_def *def,
                           struct slice key)
{
    const char *overrides =
        map_get(&t->next, SLICE("max.connections.per.ip.overrides"));

    if (strcmp(def->key, "max.connections.per.ip") == 0)
        return slice_eq_str(key, def->key) &&
               (overrides == NULL || *overrides == '\0');
    return strcmp(def->key, "max.connections") == 0 ||
           strcmp(def->key, "max.connection.creation.rate") == 0;
}

static struct verdict check_connections(struct step *s, const struct target *t)
{
    int32_t number;

    MAP_EACH (entry, &t->next) {
        const struct config_def *def = config_find(CONFIG_BROKER, entry->key);

        if (def != NULL &&
            config_parse_int32(slice_str(entry->value), &number) &&
            number <= 0 && lets_nobody_in(t, def, entry->key))
            return refuse(s, ERR_INVALID_REQUEST,
                          "Invalid value %d for configuration %.*s: it lets "
                          "nobody in",
                          (int)number, SLICE_FMT(entry->key));
    }
    return VERDICT_GOOD;
}

static struct verdict check_all(struct step *s, const struct target *t)
{
    if (t->type == IMAGE_RESOURCE_TOPIC)
        return config_check_topic_all(s, &t->next);
    if (t->type == IMAGE_RESOURCE_GROUP)
        return group_config_check(s, &t->next);
    if (t->type != IMAGE_RESOURCE_BROKER)
        return VERDICT_GOOD;
    if (!t->per_broker && t->now != NULL &&
        map_get(t->now, SLICE("min.insync.replicas")) != NULL &&
        map_get(&t->next, SLICE("min.insync.replicas")) == NULL)
        return refuse(s, ERR_INVALID_CONFIG,
                      "Cluster-level min.insync.replicas cannot be removed "
                      "while ELR is enabled.");
    return check_connections(s, t);
}

/* ---- the resource -------------------------------------------------------- */

static struct verdict find_broker(struct step *s, struct target *t)
{
    int32_t id;

    t->per_broker = t->name.len != 0;
    if (!t->per_broker)
        return VERDICT_GOOD;
    if (!config_parse_int32(t->name, &id))
        return refuse(s, ERR_INVALID_REQUEST,
                      "Node id must be an integer, but it is: %.*s",
                      SLICE_FMT(t->name));
    if (image_broker(s->image, id) == NULL)
        return refuse(s, ERR_BROKER_ID_NOT_REGISTERED,
                      "No broker with id %d found.", (int)id);
    t->name = arena_printf(s->arena, "%d", (int)id);
    return VERDICT_GOOD;
}

/* A group whether or not it exists, and a subscription that is made by setting
 * something of it. */
static struct verdict find_named(struct step *s, struct target *t)
{
    if (t->name.len == 0)
        return refuse(s, ERR_INVALID_REQUEST,
                      t->type == IMAGE_RESOURCE_GROUP
                          ? "Default group resources are not allowed."
                          : "Subscription name can't be empty");
    if (t->name.len > NAME_MAX_BYTES ||
        memchr(t->name.data, 0, t->name.len) != NULL)
        return refuse(s, ERR_INVALID_REQUEST,
                      "Only names of up to %d bytes, and none of them zero, "
                      "can have configs.",
                      NAME_MAX_BYTES);
    return VERDICT_GOOD;
}

static struct verdict find_resource(struct step *s, struct target *t)
{
    switch (t->type) {
    case IMAGE_RESOURCE_BROKER:
        return find_broker(s, t);
    case IMAGE_RESOURCE_GROUP:
    case IMAGE_RESOURCE_CLIENT_METRICS:
        return find_named(s, t);
    case IMAGE_RESOURCE_TOPIC:
        if (image_topic(s->image, t->name) != NULL)
            return VERDICT_GOOD;
        return refuse(s, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                      "The topic '%.*s' does not exist.", SLICE_FMT(t->name));
    default:
        return refuse(s, ERR_INVALID_REQUEST,
                      "Configs of resource type %d cannot be altered.",
                      (int)t->type);
    }
}

static struct verdict find_target(struct step *s, struct target *t)
{
    struct verdict v = find_resource(s, t);

    if (v.error != ERR_NONE)
        return v;
    const struct image_configs *configs =
        image_configs(s->image, (enum image_resource)t->type, t->name);
    t->now = configs == NULL ? NULL : &configs->by_key;
    return VERDICT_GOOD;
}

static void next_set(struct step *s, struct target *t, struct slice key,
                     struct slice value)
{
    map_put(&t->next, key, arena_strdup(s->arena, value));
}

static void next_from_now(struct step *s, struct target *t)
{
    if (t->now == NULL)
        return;
    MAP_EACH (entry, t->now)
        next_set(s, t, entry->key, slice_str(entry->value));
}

/* ---- effects of single keys ---------------------------------------------- */

/* What min.insync.replicas of a topic will be. */
static int32_t next_min_insync(struct step *s, const struct target *t,
                               const struct image_topic *topic)
{
    struct config_layers layers;
    int32_t value = 1;

    topic_config_layers(s->c, slice_str(topic->name), &layers);
    if (t->type == IMAGE_RESOURCE_TOPIC)
        layers.topic = config_layer_of_map(&t->next);
    else
        layers.broker_default = config_layer_of_map(&t->next);
    config_parse_int32(
        config_effective(
            config_find(CONFIG_TOPIC, SLICE("min.insync.replicas")), &layers,
            s->arena),
        &value);
    return value;
}

/* Where the high watermark will be free to move again, replicas outside of the
 * in-sync set stop being eligible; before the value changes, never after. */
static void drop_eligible(struct step *s, const struct target *t)
{
    uint32_t count = s->c->index.with_elr.count;
    const partition_ref *refs = ref_set_sorted(&s->c->index.with_elr, s->arena);

    for (uint32_t i = 0; i < count; i++) {
        struct image_topic *topic = ref_topic(s, refs[i]);
        struct change ch;

        if (t->type == IMAGE_RESOURCE_TOPIC &&
            !slice_eq_str(t->name, topic->name))
            continue;
        change_begin(s, topic, partition_ref_partition(refs[i]), &ch);
        ch.min_insync = next_min_insync(s, t, topic);
        change_put(&ch);
    }
}

static bool key_changes(const struct target *t, struct slice key)
{
    const char *now = t->now == NULL ? NULL : map_get(t->now, key);
    const char *next = map_get(&t->next, key);

    return now == NULL || next == NULL ? now != next : strcmp(now, next) != 0;
}

/* ---- records ------------------------------------------------------------- */

void config_put(struct step *s, enum image_resource type, struct slice name,
                struct slice key, struct slice value)
{
    Leat__ConfigRecord r = LEAT__CONFIG_RECORD__INIT;

    r.resource_type = type;
    r.resource_name = arena_strdup(s->arena, name);
    r.key = arena_strdup(s->arena, key);
    r.present = !slice_is_null(value);
    r.value = arena_strdup(s->arena, value);
    step_put(s, &RECORD(config, CONFIG, &r));
}

static void put_unset(struct step *s, const struct target *t)
{
    struct slice *gone;
    size_t count = 0;

    if (t->now == NULL)
        return;
    /* Replay changes the map that we read. */
    gone = arena_array(s->arena, map_count(t->now), sizeof *gone);
    MAP_EACH (entry, t->now) {
        if (map_get(&t->next, entry->key) == NULL)
            gone[count++] = arena_copy(s->arena, entry->key);
    }
    for (size_t i = 0; i < count; i++)
        config_put(s, (enum image_resource)t->type, t->name, gone[i],
                   SLICE_NULL);
}

size_t config_record_bytes(struct slice name, struct slice key,
                           struct slice value)
{
    return 40 + name.len + key.len + value.len;
}

static size_t configs_bytes(struct slice name, const struct map *values)
{
    size_t bytes = 0;

    if (values != NULL)
        MAP_EACH (entry, values)
            bytes +=
                config_record_bytes(name, entry->key, slice_str(entry->value));
    return bytes;
}

/* A resource that has more, from an earlier release, may shrink. */
struct verdict config_check_size(struct step *s, struct slice name,
                                 const struct map *next, const struct map *now)
{
    size_t bytes = configs_bytes(name, next);

    if (bytes <= CONTROLLER_CONFIGS_MAX_BYTES ||
        bytes <= configs_bytes(name, now))
        return VERDICT_GOOD;
    return refuse(s, ERR_INVALID_CONFIG,
                  "The configurations of a resource may have %d bytes "
                  "together; these would have %zu.",
                  CONTROLLER_CONFIGS_MAX_BYTES, bytes);
}

/* Of all records that put_target() makes as one group. */
static size_t target_bytes(const struct target *t)
{
    size_t bytes = 0;

    if (t->now != NULL)
        MAP_EACH (entry, t->now)
            if (map_get(&t->next, entry->key) == NULL)
                bytes += config_record_bytes(t->name, entry->key, SLICE_NULL);
    MAP_EACH (entry, &t->next)
        if (key_changes(t, entry->key))
            bytes += config_record_bytes(t->name, entry->key,
                                         slice_str(entry->value));
    return bytes;
}

static void put_target(struct step *s, const struct target *t)
{
    bool min_insync = key_changes(t, SLICE("min.insync.replicas"));
    bool unclean = key_changes(t, SLICE("unclean.leader.election.enable"));
    struct slice *changed =
        arena_array(s->arena, map_count(&t->next), sizeof *changed);
    size_t count = 0;

    if (min_insync)
        drop_eligible(s, t);
    MAP_EACH (entry, &t->next) {
        if (key_changes(t, entry->key))
            changed[count++] = entry->key;
    }
    step_group_begin(s, target_bytes(t));
    put_unset(s, t); /* the last use of t->now, which may go with it */
    for (size_t i = 0; i < count; i++)
        config_put(s, (enum image_resource)t->type, t->name, changed[i],
                   slice_str(map_get(&t->next, changed[i])));
    step_group_end(s);
    if (unclean)
        partitions_elect_leaderless(s);
}

static struct verdict finish(struct step *s, struct target *t, struct verdict v,
                             bool validate_only)
{
    if (v.error == ERR_NONE)
        v = check_all(s, t);
    if (v.error == ERR_NONE)
        v = config_check_size(s, t->name, &t->next, t->now);
    if (v.error == ERR_NONE)
        v = step_fits(s, target_bytes(t));
    if (v.error == ERR_NONE && !validate_only)
        put_target(s, t);
    map_free(&t->next);
    return v;
}

/* ---- requests in common -------------------------------------------------- */

/* Type and name of a resource as a key. */
static struct buf resource_key(int8_t type, struct slice name)
{
    struct buf key = BUF_INIT;

    buf_put_u8(&key, (uint8_t)type);
    buf_put_slice(&key, name);
    return key;
}

/* Counts mentions; true for the second and later. */
static bool mention(struct map *seen, int8_t type, struct slice name)
{
    struct buf key = resource_key(type, name);
    bool again = map_put(seen, buf_slice(&key), seen) != NULL;

    buf_free(&key);
    return again;
}

static bool is_mentioned(const struct map *seen, int8_t type, struct slice name)
{
    struct buf key = resource_key(type, name);
    bool found = map_get(seen, buf_slice(&key)) != NULL;

    buf_free(&key);
    return found;
}

/* ---- AlterConfigs -------------------------------------------------------- */

static struct verdict
replace_configs(struct step *s, const struct alter_configs_request_resource *r,
                bool validate_only)
{
    struct target t = {.type = r->resource_type, .name = r->resource_name};
    struct verdict v = find_target(s, &t);

    /* Cannot be removed, so leaving it out means leaving it alone. */
    if (v.error == ERR_NONE && t.type == IMAGE_RESOURCE_BROKER &&
        !t.per_broker && t.now != NULL) {
        const char *kept = map_get(t.now, SLICE("min.insync.replicas"));

        if (kept != NULL)
            next_set(s, &t, SLICE("min.insync.replicas"), slice_str(kept));
    }
    for (int32_t i = 0; i < r->configs_len && v.error == ERR_NONE; i++) {
        if (slice_is_null(r->configs[i].value))
            v = refuse(s, ERR_INVALID_REQUEST,
                       "Null value not supported for : %.*s",
                       SLICE_FMT(r->configs[i].name));
        else
            v = check_value(s, &t, r->configs[i].name, r->configs[i].value);
        if (v.error == ERR_NONE)
            next_set(s, &t, r->configs[i].name, r->configs[i].value);
    }
    return finish(s, &t, v, validate_only);
}

void configs_alter(struct step *s, int16_t version, const void *in, void *out)
{
    const struct alter_configs_request *request = in;
    struct alter_configs_response *response = out;
    int32_t count = request->resources_len;
    struct map seen = MAP_INIT;
    struct map duplicates = MAP_INIT;

    for (int32_t i = 0; i < count; i++)
        if (mention(&seen, request->resources[i].resource_type,
                    request->resources[i].resource_name))
            mention(&duplicates, request->resources[i].resource_type,
                    request->resources[i].resource_name);
    response->responses =
        arena_array(s->arena, (size_t)count, sizeof *response->responses);
    response->responses_len = count;
    for (int32_t i = 0; i < count; i++) {
        const struct alter_configs_request_resource *r = &request->resources[i];
        struct verdict v =
            is_mentioned(&duplicates, r->resource_type, r->resource_name)
                ? refuse(s, ERR_INVALID_REQUEST,
                         "Each resource must appear at most once.")
                : replace_configs(s, r, request->validate_only);

        response->responses[i].error_code = (int16_t)v.error;
        response->responses[i].error_message = v.why;
        response->responses[i].resource_type = r->resource_type;
        response->responses[i].resource_name = r->resource_name;
    }
    map_free(&seen);
    map_free(&duplicates);
}

/* ---- IncrementalAlterConfigs --------------------------------------------- */

typedef struct incremental_alter_configs_request_alterable_config alteration;

/* What a list grows from: its value, or the default. */
static struct slice list_value(struct step *s, const struct target *t,
                               const struct config_def *def)
{
    const char *set = map_get(&t->next, slice_str(def->key));
    struct config_layers layers;

    if (set != NULL)
        return slice_str(set);
    topic_config_layers(s->c, SLICE(""), &layers);
    return t->type == IMAGE_RESOURCE_TOPIC
               ? config_effective(def, &layers, s->arena)
               : slice_str(def->fallback);
}

static bool list_holds(struct slice list, struct slice item)
{
    struct slice each;

    while (config_list_next(&list, &each))
        if (slice_eq(each, item))
            return true;
    return false;
}

static void list_add(struct buf *list, struct slice item)
{
    if (list->len != 0)
        buf_put_u8(list, ',');
    buf_put_slice(list, item);
}

/* `old` and what is new in `items`, or `old` without `items`. */
static struct slice list_edit(struct step *s, struct slice old,
                              struct slice items, bool append)
{
    struct buf list = BUF_INIT;
    struct slice rest = old;
    struct slice each;

    while (config_list_next(&rest, &each))
        if (append || !list_holds(items, each))
            list_add(&list, each);
    for (rest = items; append && config_list_next(&rest, &each);)
        if (!list_holds(buf_slice(&list), each))
            list_add(&list, each);
    struct slice out = arena_copy(s->arena, buf_slice(&list));
    buf_free(&list);
    return out;
}

static enum config_scope scope_of(const struct target *t)
{
    switch (t->type) {
    case IMAGE_RESOURCE_TOPIC:
        return CONFIG_TOPIC;
    case IMAGE_RESOURCE_GROUP:
        return CONFIG_GROUP;
    case IMAGE_RESOURCE_CLIENT_METRICS:
        return CONFIG_CLIENT_METRICS;
    default:
        return CONFIG_BROKER;
    }
}

static struct verdict alter_list(struct step *s, struct target *t,
                                 const alteration *a, struct slice *value)
{
    bool append = a->config_operation == OPERATION_APPEND;
    const struct config_def *def = config_find(scope_of(t), a->name);

    if (def == NULL || def->type != CONFIG_LIST)
        return refuse(s, ERR_INVALID_CONFIG,
                      "Can't %s key %.*s because its type is not LIST.",
                      append ? "APPEND to" : "SUBTRACT from",
                      SLICE_FMT(a->name));
    *value = list_edit(s, list_value(s, t, def), a->value, append);
    return VERDICT_GOOD;
}

static struct verdict alter_one(struct step *s, struct target *t,
                                const alteration *a)
{
    struct slice value = a->value;
    struct verdict v = VERDICT_GOOD;

    switch (a->config_operation) {
    case OPERATION_DELETE:
        map_remove(&t->next, a->name);
        return VERDICT_GOOD;
    case OPERATION_SET:
    case OPERATION_APPEND:
    case OPERATION_SUBTRACT:
        break;
    default:
        return refuse(s, ERR_INVALID_REQUEST,
                      "Unknown operation type %d for config %.*s.",
                      (int)a->config_operation, SLICE_FMT(a->name));
    }
    if (slice_is_null(value))
        return refuse(s, ERR_INVALID_REQUEST,
                      "Null value not supported for : %.*s",
                      SLICE_FMT(a->name));
    if (a->config_operation != OPERATION_SET)
        v = alter_list(s, t, a, &value);
    if (v.error == ERR_NONE)
        v = check_value(s, t, a->name, value);
    if (v.error == ERR_NONE)
        next_set(s, t, a->name, value);
    return v;
}

static struct verdict alter_configs(
    struct step *s,
    const struct incremental_alter_configs_request_alter_configs_resource *r,
    bool validate_only)
{
    struct target t = {.type = r->resource_type, .name = r->resource_name};
    struct map keys = MAP_INIT;
    struct verdict v = find_target(s, &t);

    if (v.error == ERR_NONE)
        next_from_now(s, &t);
    for (int32_t i = 0; i < r->configs_len && v.error == ERR_NONE; i++) {
        if (map_put(&keys, r->configs[i].name, &keys) != NULL)
            v = refuse(s, ERR_INVALID_REQUEST,
                       "Error due to duplicate config keys : %.*s",
                       SLICE_FMT(r->configs[i].name));
        else
            v = alter_one(s, &t, &r->configs[i]);
    }
    map_free(&keys);
    return finish(s, &t, v, validate_only);
}

void configs_alter_incrementally(struct step *s, int16_t version,
                                 const void *in, void *out)
{
    const struct incremental_alter_configs_request *request = in;
    struct incremental_alter_configs_response *response = out;
    int32_t count = request->resources_len;
    struct map seen = MAP_INIT;
    struct map duplicates = MAP_INIT;

    for (int32_t i = 0; i < count; i++)
        if (mention(&seen, request->resources[i].resource_type,
                    request->resources[i].resource_name))
            mention(&duplicates, request->resources[i].resource_type,
                    request->resources[i].resource_name);
    response->responses =
        arena_array(s->arena, (size_t)count, sizeof *response->responses);
    response->responses_len = count;
    for (int32_t i = 0; i < count; i++) {
        const struct incremental_alter_configs_request_alter_configs_resource
            *r = &request->resources[i];
        struct verdict v =
            is_mentioned(&duplicates, r->resource_type, r->resource_name)
                ? refuse(s, ERR_INVALID_REQUEST,
                         "Each resource must appear at most once.")
                : alter_configs(s, r, request->validate_only);

        response->responses[i].error_code = (int16_t)v.error;
        response->responses[i].error_message = v.why;
        response->responses[i].resource_type = r->resource_type;
        response->responses[i].resource_name = r->resource_name;
    }
    map_free(&seen);
    map_free(&duplicates);
}
