/* DescribeConfigs and ListConfigResources, from the table of keys
 * (controller/config_defs.h), the image's dynamic configs and this node's file.
 *
 * A broker answers for itself and for the default of all brokers; other
 * brokers' files are theirs to tell. */
#include "base/log.h"
#include "broker/cluster_view.h"
#include "broker/dispatch.h"

#include <stdlib.h>

/* ConfigResource.Type of the protocol. */
enum {
    RESOURCE_TOPIC = 2,
    RESOURCE_BROKER = 4,
    RESOURCE_BROKER_LOGGER = 8,
    RESOURCE_CLIENT_METRICS = 16,
    RESOURCE_GROUP = 32,
};

typedef struct describe_configs_response_resource_result config_entry;

struct describing {
    struct request *request;
    const struct meta *meta;
    const struct describe_configs_request_resource *asked;
    struct map keys; /* that are asked for, unless all are */
    struct describe_configs_response_result *out;
};

/* ---- one key ------------------------------------------------------------ */

static bool is_wanted(const struct describing *d, struct slice key)
{
    return d->asked->configuration_keys_len < 0 ||
           map_get(&d->keys, key) != NULL;
}

static void add_synonyms(const struct describing *d,
                         const struct config_value *value, bool secret,
                         config_entry *e)
{
    const struct describe_configs_request *q = d->request->msg;

    if (!q->include_synonyms)
        return;
    e->synonyms = arena_array(&d->request->arena, value->synonyms_len,
                              sizeof *e->synonyms);
    e->synonyms_len = (int32_t)value->synonyms_len;
    for (size_t i = 0; i < value->synonyms_len; i++) {
        e->synonyms[i].name = slice_str(value->synonyms[i].name);
        e->synonyms[i].value = secret ? SLICE_NULL : value->synonyms[i].value;
        e->synonyms[i].source = (int8_t)value->synonyms[i].source;
    }
}

/* def may be NULL: a key that we do not know, and whose value may be a
 * secret. */
static void add_entry(const struct describing *d, const char *key,
                      const struct config_def *def, bool read_only,
                      const struct config_value *value)
{
    const struct describe_configs_request *q = d->request->msg;
    config_entry *e = &d->out->configs[d->out->configs_len++];
    bool secret = def == NULL || config_is_sensitive(def);

    describe_configs_response_resource_result_init(e);
    e->name = slice_str(key);
    if (!secret)
        e->value = config_canonical(def, value->value, &d->request->arena);
    else
        e->value = SLICE_NULL;
    e->read_only = read_only;
    e->is_sensitive = secret;
    if (d->request->version == 0)
        e->is_default = value->source == CONFIG_SOURCE_DEFAULT;
    else
        e->config_source = (int8_t)value->source;
    e->config_type = (int8_t)(def != NULL ? def->type : 0);
    e->documentation = q->include_documentation && def != NULL
                           ? slice_str(def->doc)
                           : SLICE_NULL;
    add_synonyms(d, value, secret, e);
}

/* Of a broker key; what we do not know nobody may change, as in Kafka. */
static bool is_read_only(const struct config_def *def)
{
    return def == NULL || def->update == CONFIG_READ_ONLY;
}

static void reserve(const struct describing *d, size_t n)
{
    d->out->configs =
        arena_array(&d->request->arena, n, sizeof *d->out->configs);
}

static void fail(const struct describing *d, enum err error,
                 struct slice message)
{
    d->out->error_code = err_wire(error);
    d->out->error_message = message;
}

/* ---- resources ---------------------------------------------------------- */

static void describe_topic(const struct describing *d)
{
    struct slice name = d->asked->resource_name;
    const struct image_topic *t = image_topic(&d->meta->image, name);

    if (t == NULL) {
        fail(d,
             topic_name_valid(name) ? ERR_UNKNOWN_TOPIC_OR_PARTITION
                                    : ERR_INVALID_TOPIC_EXCEPTION,
             SLICE_NULL);
        return;
    }
    struct config_layers layers = meta_config_layers(d->meta, t);
    reserve(d, config_count(CONFIG_TOPIC));
    for (size_t i = 0; i < config_count(CONFIG_TOPIC); i++) {
        const struct config_def *def = config_at(CONFIG_TOPIC, i);

        if (config_is_internal(def) || !is_wanted(d, slice_str(def->key)))
            continue;
        struct config_value *value =
            arena_alloc(&d->request->arena, sizeof *value);
        config_resolve_topic(def, &layers, &d->request->arena, value);
        add_entry(d, def->key, def, false, value);
    }
}

/* A key that is in no table: a listener's own (listener.name.NAME.KEY), or one
 * that only its owner knows. */
static bool is_other(struct slice key)
{
    const struct config_def *def = config_find(CONFIG_BROKER, key);

    return def == NULL || !slice_eq_str(key, def->key);
}

/* One that only its owner knows, set while brokers run. */
static void resolve_unknown(const char *name,
                            const struct config_layers *layers,
                            struct config_value *value)
{
    struct slice key = slice_str(name);
    struct slice own = layers->broker.get == NULL
                           ? SLICE_NULL
                           : layers->broker.get(layers->broker.set, key);
    struct slice everyones =
        layers->broker_default.get == NULL
            ? SLICE_NULL
            : layers->broker_default.get(layers->broker_default.set, key);

    *value = (struct config_value){0};
    if (!slice_is_null(own))
        value->synonyms[value->synonyms_len++] =
            (struct config_synonym){name, own, CONFIG_SOURCE_BROKER};
    if (!slice_is_null(everyones))
        value->synonyms[value->synonyms_len++] = (struct config_synonym){
            name, everyones, CONFIG_SOURCE_BROKER_DEFAULT};
    value->value = value->synonyms[0].value;
    value->source = value->synonyms[0].source;
}

static void describe_other(const struct describing *d, struct slice key,
                           const struct config_layers *layers)
{
    const struct config_def *def = config_find(CONFIG_BROKER, key);

    if (!is_wanted(d, key))
        return;
    const char *name = arena_strdup(&d->request->arena, key);
    struct config_value *value = arena_alloc(&d->request->arena, sizeof *value);

    if (def != NULL)
        config_resolve_listener(name, def, layers, value);
    else
        resolve_unknown(name, layers, value);
    add_entry(d, name, def, is_read_only(def), value);
}

static bool is_in(const struct image_configs *set, struct slice key)
{
    return set != NULL && map_get(&set->by_key, key) != NULL;
}

static void describe_others(const struct describing *d,
                            const struct config_layers *layers)
{
    const struct image *image = &d->meta->image;
    const struct image_configs *own =
        image_configs(image, IMAGE_RESOURCE_BROKER, slice_str(d->meta->own_id));
    const struct image_configs *everyones =
        image_configs(image, IMAGE_RESOURCE_BROKER, SLICE(""));

    if (own != NULL)
        MAP_EACH (e, &own->by_key) {
            if (is_other(e->key))
                describe_other(d, e->key, layers);
        }
    if (everyones != NULL)
        MAP_EACH (e, &everyones->by_key) {
            if (is_other(e->key) && !is_in(own, e->key))
                describe_other(d, e->key, layers);
        }
    /* What the file says that nobody knows is not told: it counts nowhere. */
    MAP_EACH (e, &d->meta->broker->config->values) {
        if (is_other(e->key) && config_find(CONFIG_BROKER, e->key) != NULL &&
            !is_in(own, e->key) && !is_in(everyones, e->key))
            describe_other(d, e->key, layers);
    }
}

static size_t count_set(const struct describing *d, struct slice broker)
{
    const struct image_configs *set =
        image_configs(&d->meta->image, IMAGE_RESOURCE_BROKER, broker);

    return set != NULL ? map_count(&set->by_key) : 0;
}

/* The limits on replication are no configs of Kafka's brokers until they are
 * set. */
static bool is_rate(const struct config_def *def)
{
    return strcmp(def->key, "leader.replication.throttled.rate") == 0 ||
           strcmp(def->key, "follower.replication.throttled.rate") == 0 ||
           strcmp(def->key, "replica.alter.log.dirs.io.max.bytes.per.second") ==
               0;
}

/* True if nothing else is left. */
static bool drop_default(struct config_value *value)
{
    if (value->synonyms_len != 0 &&
        value->synonyms[value->synonyms_len - 1].source ==
            CONFIG_SOURCE_DEFAULT)
        value->synonyms_len--;
    return value->synonyms_len == 0;
}

static void describe_broker(const struct describing *d)
{
    struct config_layers layers = meta_config_layers(d->meta, NULL);

    reserve(d, config_count(CONFIG_BROKER) + count_set(d, SLICE("")) +
                   count_set(d, slice_str(d->meta->own_id)) +
                   map_count(&d->meta->broker->config->values));
    for (size_t i = 0; i < config_count(CONFIG_BROKER); i++) {
        const struct config_def *def = config_at(CONFIG_BROKER, i);

        if (config_is_internal(def) || !is_wanted(d, slice_str(def->key)))
            continue;
        struct config_value *value =
            arena_alloc(&d->request->arena, sizeof *value);
        config_resolve_broker(def, &layers, &d->request->arena, value);
        if (is_rate(def) && drop_default(value))
            continue;
        add_entry(d, def->key, def, is_read_only(def), value);
    }
    describe_others(d, &layers);
}

/* The default of all brokers: only what was set. */
static void describe_broker_default(const struct describing *d)
{
    const struct image_configs *set =
        image_configs(&d->meta->image, IMAGE_RESOURCE_BROKER, SLICE(""));

    if (set == NULL)
        return;
    reserve(d, map_count(&set->by_key));
    MAP_EACH (e, &set->by_key) {
        const char *key = arena_strdup(&d->request->arena, e->key);
        struct config_value value = {
            .value = slice_str(e->value),
            .source = CONFIG_SOURCE_BROKER_DEFAULT,
            .synonyms = {{key, slice_str(e->value),
                          CONFIG_SOURCE_BROKER_DEFAULT}},
            .synonyms_len = 1,
        };

        if (is_wanted(d, e->key))
            add_entry(d, key, config_find(CONFIG_BROKER, e->key),
                      is_read_only(config_find(CONFIG_BROKER, e->key)), &value);
    }
}

static void describe_group(const struct describing *d)
{
    struct config_layers layers = meta_config_layers(d->meta, NULL);
    const struct image_configs *own = image_configs(
        &d->meta->image, IMAGE_RESOURCE_GROUP, d->asked->resource_name);

    if (own != NULL)
        layers.topic = config_layer_of_map(&own->by_key);
    reserve(d, config_count(CONFIG_GROUP));
    for (size_t i = 0; i < config_count(CONFIG_GROUP); i++) {
        const struct config_def *def = config_at(CONFIG_GROUP, i);
        struct config_value *value =
            arena_alloc(&d->request->arena, sizeof *value);

        if (!is_wanted(d, slice_str(def->key)))
            continue;
        config_resolve_group(def, &layers, &d->request->arena, value);
        add_entry(d, def->key, def, false, value);
    }
}

static void describe_client_metrics(const struct describing *d)
{
    const struct image_configs *set =
        image_configs(&d->meta->image, IMAGE_RESOURCE_CLIENT_METRICS,
                      d->asked->resource_name);

    reserve(d, config_count(CONFIG_CLIENT_METRICS));
    for (size_t i = 0; i < config_count(CONFIG_CLIENT_METRICS); i++) {
        const struct config_def *def = config_at(CONFIG_CLIENT_METRICS, i);
        const char *own =
            set == NULL ? NULL : map_get(&set->by_key, slice_str(def->key));
        struct config_value value = {
            .value = slice_str(own != NULL ? own : def->fallback),
            .source = own != NULL ? CONFIG_SOURCE_CLIENT_METRICS
                                  : CONFIG_SOURCE_DEFAULT,
            .synonyms_len = 1,
        };

        value.synonyms[0] =
            (struct config_synonym){def->key, value.value, value.source};
        if (is_wanted(d, slice_str(def->key)))
            add_entry(d, def->key, def, false, &value);
    }
}

/* Levels of this node's loggers: api_loggers.c changes them. */
static void describe_loggers(const struct describing *d)
{
    reserve(d, (size_t)log_loggers());
    for (int i = 0; i < log_loggers(); i++) {
        struct slice name = slice_str(log_logger_name(i));
        config_entry *e = &d->out->configs[d->out->configs_len];

        if (!is_wanted(d, name))
            continue;
        d->out->configs_len++;
        describe_configs_response_resource_result_init(e);
        e->name = name;
        e->value = slice_str(log_level_name(log_logger_level(i)));
        e->config_source = CONFIG_SOURCE_BROKER_LOGGER;
        e->documentation = SLICE_NULL;
    }
}

static bool is_own_id(const struct describing *d)
{
    return slice_eq_str(d->asked->resource_name, d->meta->own_id);
}

static void refuse_broker(const struct describing *d, const char *others)
{
    fail(d, ERR_INVALID_REQUEST,
         arena_printf(&d->request->arena,
                      "Unexpected broker id, expected %d%s but received %.*s",
                      (int)d->meta->broker->node_id, others,
                      SLICE_FMT(d->asked->resource_name)));
}

static void describe(const struct describing *d)
{
    switch (d->asked->resource_type) {
    case RESOURCE_TOPIC:
        describe_topic(d);
        break;
    case RESOURCE_BROKER:
        if (d->asked->resource_name.len == 0)
            describe_broker_default(d);
        else if (is_own_id(d))
            describe_broker(d);
        else
            refuse_broker(d, " or empty string,");
        break;
    case RESOURCE_BROKER_LOGGER:
        if (d->asked->resource_name.len == 0)
            fail(d, ERR_INVALID_REQUEST, SLICE("Broker id must not be empty"));
        else if (is_own_id(d))
            describe_loggers(d);
        else
            refuse_broker(d, "");
        break;
    case RESOURCE_CLIENT_METRICS:
        if (d->asked->resource_name.len == 0)
            fail(d, ERR_INVALID_REQUEST,
                 SLICE("Client metrics subscription name must not be empty"));
        else
            describe_client_metrics(d);
        break;
    case RESOURCE_GROUP:
        if (d->asked->resource_name.len == 0)
            fail(d, ERR_INVALID_REQUEST, SLICE("Group name must not be empty"));
        else
            describe_group(d);
        break;
    default:
        fail(d, ERR_INVALID_REQUEST,
             arena_printf(&d->request->arena, "Unsupported resource type: %d",
                          d->asked->resource_type));
    }
}

static void describe_asked(struct request *r,
                           const struct describe_configs_request_resource *q,
                           struct describe_configs_response_result *out)
{
    struct describing d = {.request = r,
                           .meta = request_meta(r),
                           .asked = q,
                           .keys = MAP_INIT,
                           .out = out};

    for (int32_t i = 0; i < q->configuration_keys_len; i++)
        map_put(&d.keys, q->configuration_keys[i], r);
    describe_configs_response_result_init(out);
    out->resource_type = q->resource_type;
    out->resource_name = q->resource_name;
    describe(&d);
    map_free(&d.keys);
}

/* A resource that is named again is answered once: else a few bytes of a
 * request would cost as much as hundreds of keys. */
void api_describe_configs(struct request *r)
{
    const struct describe_configs_request *q = r->msg;
    struct map seen[UINT8_MAX + 1] = {0};
    struct describe_configs_response a;

    describe_configs_response_init(&a);
    a.results =
        arena_array(&r->arena, (size_t)q->resources_len, sizeof *a.results);
    for (int32_t i = 0; i < q->resources_len; i++) {
        const struct describe_configs_request_resource *asked =
            &q->resources[i];
        struct map *of_type = &seen[(uint8_t)asked->resource_type];

        if (map_put(of_type, asked->resource_name, r) == NULL)
            describe_asked(r, asked, &a.results[a.results_len++]);
    }
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
        map_free(&seen[i]);
    request_respond(r, &a);
}

/* ---- ListConfigResources ------------------------------------------------ */

struct listing {
    struct request *request;
    struct list_config_resources_response answer;
};

static void list_add(struct listing *l, int8_t type, struct slice name)
{
    struct list_config_resources_response_config_resource *e =
        &l->answer.config_resources[l->answer.config_resources_len++];

    e->resource_name = name;
    e->resource_type = type;
}

static void list_type(struct listing *l, int8_t type)
{
    const struct image *image = &request_meta(l->request)->image;
    struct image_topic *t;

    switch (type) {
    case RESOURCE_TOPIC:
        for (uint32_t at = 0; (t = image_topic_next(image, &at)) != NULL;)
            list_add(l, type, slice_of(t->name, t->name_len));
        break;
    case RESOURCE_BROKER:
    case RESOURCE_BROKER_LOGGER:
        for (size_t i = 0; i < image->brokers_len; i++)
            list_add(l, type,
                     arena_printf(&l->request->arena, "%d",
                                  (int)image->brokers[i]->id));
        break;
    case RESOURCE_CLIENT_METRICS:
    case RESOURCE_GROUP:
        MAP_EACH (e, &image->configs) {
            const struct image_configs *set = e->value;

            if (set->type == (enum image_resource)type)
                list_add(l, type,
                         arena_copy(&l->request->arena, slice_str(set->name)));
        }
        break;
    default:
        l->answer.error_code = ERR_UNSUPPORTED_VERSION;
    }
}

/* Each type at most once, however often it was asked for. */
static bool is_asked(const struct request *r, int8_t type)
{
    const struct list_config_resources_request *q = r->msg;

    if (r->version == 0)
        return type == RESOURCE_CLIENT_METRICS;
    for (int32_t i = 0; i < q->resource_types_len; i++)
        if (q->resource_types[i] == type)
            return true;
    return q->resource_types_len <= 0;
}

static bool types_known(const struct list_config_resources_request *q)
{
    for (int32_t i = 0; i < q->resource_types_len; i++)
        switch (q->resource_types[i]) {
        case RESOURCE_TOPIC:
        case RESOURCE_BROKER:
        case RESOURCE_BROKER_LOGGER:
        case RESOURCE_CLIENT_METRICS:
        case RESOURCE_GROUP:
            break;
        default:
            return false;
        }
    return true;
}

void api_list_config_resources(struct request *r)
{
    static const int8_t types[] = {RESOURCE_TOPIC, RESOURCE_BROKER,
                                   RESOURCE_BROKER_LOGGER,
                                   RESOURCE_CLIENT_METRICS, RESOURCE_GROUP};
    const struct image *image = &request_meta(r)->image;
    struct listing l = {.request = r};

    list_config_resources_response_init(&l.answer);
    l.answer.config_resources = arena_array(
        &r->arena,
        image->topics_len + 2 * image->brokers_len + map_count(&image->configs),
        sizeof *l.answer.config_resources);
    if (!types_known(r->msg))
        l.answer.error_code = ERR_UNSUPPORTED_VERSION;
    for (size_t i = 0;
         l.answer.error_code == ERR_NONE && i < sizeof types / sizeof *types;
         i++)
        if (is_asked(r, types[i]))
            list_type(&l, types[i]);
    request_respond(r, &l.answer);
}
