/* One walk serves topics and brokers: a key has an ordered list of broker
 * names, and the walk visits sources outside, names inside.  The first value
 * found is in effect; all values found are the synonyms.  A topic's own value
 * stands before them. */
#include "controller/config_resolve.h"

#include <stdlib.h>

/* Alternative names of broker keys, for the keys that have any; the first in
 * each row that equals the key starts the list.  Of log.flush.interval.ms only
 * the one direction holds. */
static const char *const alternatives[][3] = {
    {"log.roll.ms", "log.roll.hours", NULL},
    {"log.roll.jitter.ms", "log.roll.jitter.hours", NULL},
    {"log.flush.interval.ms", "log.flush.scheduler.interval.ms", NULL},
    {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
};

enum { NAMES_MAX = 3 };

static struct slice map_layer_get(const void *set, struct slice key)
{
    return slice_str(map_get(set, key));
}

struct config_layer config_layer_of_map(const struct map *m)
{
    return (struct config_layer){map_layer_get, m};
}

static struct slice layer_get(struct config_layer layer, const char *key)
{
    return layer.get == NULL ? SLICE_NULL
                             : layer.get(layer.set, slice_str(key));
}

/* What turns a time key's unit into milliseconds. */
static int64_t factor_of(const char *key)
{
    size_t n = strlen(key);

    if (n > 6 && strcmp(key + n - 6, ".hours") == 0)
        return 3600000;
    if (n > 8 && strcmp(key + n - 8, ".minutes") == 0)
        return 60000;
    return 1;
}

/* The names a broker key goes by, itself first unless its row says else. */
static size_t names_of(const char *key, const char *names[NAMES_MAX])
{
    for (size_t r = 0; r < sizeof alternatives / sizeof *alternatives; r++) {
        const char *const *row = alternatives[r];
        bool one_way = strcmp(row[0], "log.flush.interval.ms") == 0;
        size_t n = 0;
        bool found = false;

        for (; n < NAMES_MAX && row[n] != NULL; n++) {
            names[n] = row[n];
            found |= strcmp(row[n], key) == 0 && (n == 0 || !one_way);
        }
        if (found)
            return n;
    }
    names[0] = key;
    return 1;
}

static void add(struct config_value *out, const char *name, struct slice value,
                enum config_source source)
{
    if (slice_is_null(value))
        return;
    ASSERT(out->synonyms_len < CONFIG_SYNONYMS_MAX);
    out->synonyms[out->synonyms_len++] =
        (struct config_synonym){name, value, source};
}

static void add_layer(struct config_value *out, const char *const *names,
                      size_t count, struct config_layer layer,
                      enum config_source source)
{
    for (size_t i = 0; i < count; i++)
        add(out, names[i], layer_get(layer, names[i]), source);
}

static void add_defaults(struct config_value *out, const char *const *names,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct config_def *def =
            config_find(CONFIG_BROKER, slice_str(names[i]));
        /* A listener's own key has no default of its own. */
        if (def != NULL && strcmp(def->key, names[i]) == 0)
            add(out, names[i], slice_str(def->fallback), CONFIG_SOURCE_DEFAULT);
    }
}

/* Everything the broker side says about the key, strongest first. */
static void add_broker(struct config_value *out, const char *const *names,
                       size_t count, const struct config_layers *layers)
{
    add_layer(out, names, count, layers->broker, CONFIG_SOURCE_BROKER);
    add_layer(out, names, count, layers->broker_default,
              CONFIG_SOURCE_BROKER_DEFAULT);
    add_layer(out, names, count, layers->file, CONFIG_SOURCE_FILE);
    add_defaults(out, names, count);
}

/* A value in the unit of the key it stands for. */
static struct slice convert(struct config_synonym s, struct arena *a)
{
    int64_t factor = factor_of(s.name);
    int64_t number;

    if (factor == 1 || !config_parse_int64(s.value, &number))
        return s.value;
    if (number < 0) /* -1 hours means forever, in any unit */
        return arena_printf(a, "-1");
    if (number > INT64_MAX / factor)
        number = INT64_MAX / factor;
    return arena_printf(a, "%lld", (long long)(number * factor));
}

/* Drops what stands before the first synonym named `key`. */
static void drop_until(struct config_value *out, const char *key)
{
    size_t i = 0;

    while (i < out->synonyms_len && strcmp(out->synonyms[i].name, key) != 0)
        i++;
    out->synonyms_len -= i;
    memmove(out->synonyms, out->synonyms + i,
            out->synonyms_len * sizeof *out->synonyms);
}

/* The broker key that stands first in a topic key's list; NUL-terminated. */
static const char *principal(const struct config_def *def)
{
    const struct config_def *broker;
    struct slice rest = slice_str(def->synonyms);
    struct slice first;

    if (!config_list_next(&rest, &first))
        return NULL;
    broker = config_find(CONFIG_BROKER, first);
    ASSERT(broker != NULL);
    return broker->key;
}

/* What a topic or a group has of its own, in front of the brokers' values. */
static void put_first(struct config_value *out, const char *key,
                      struct slice value, enum config_source source)
{
    ASSERT(out->synonyms_len < CONFIG_SYNONYMS_MAX);
    memmove(out->synonyms + 1, out->synonyms,
            out->synonyms_len * sizeof *out->synonyms);
    out->synonyms_len++;
    out->synonyms[0] = (struct config_synonym){key, value, source};
    out->value = value;
    out->source = source;
}

void config_resolve_topic(const struct config_def *def,
                          const struct config_layers *layers, struct arena *a,
                          struct config_value *out)
{
    struct slice own = layer_get(layers->topic, def->key);
    const char *broker_key = principal(def);

    *out = (struct config_value){.value = slice_str(def->fallback)};
    if (broker_key != NULL) {
        const char *names[NAMES_MAX];
        size_t count = names_of(broker_key, names);

        add_broker(out, names, count, layers);
        if (out->synonyms_len != 0)
            out->value = convert(out->synonyms[0], a);
        drop_until(out, broker_key);
    }
    if (!slice_is_null(own))
        put_first(out, def->key, own, CONFIG_SOURCE_TOPIC);
    out->source = out->synonyms_len != 0 ? out->synonyms[0].source
                                         : CONFIG_SOURCE_DEFAULT;
}

struct slice config_effective(const struct config_def *def,
                              const struct config_layers *layers,
                              struct arena *a)
{
    struct config_value value;

    config_resolve_topic(def, layers, a, &value);
    return value.value;
}

void config_resolve_group(const struct config_def *def,
                          const struct config_layers *layers, struct arena *a,
                          struct config_value *out)
{
    struct slice own = layer_get(layers->topic, def->key);
    const struct config_def *broker =
        config_find(CONFIG_BROKER, arena_printf(a, "group.%s", def->key));

    if (broker != NULL)
        config_resolve_broker(broker, layers, a, out);
    else
        *out = (struct config_value){.value = slice_str(def->fallback),
                                     .source = CONFIG_SOURCE_DEFAULT};
    if (!slice_is_null(own))
        put_first(out, def->key, own, CONFIG_SOURCE_GROUP);
}

static void resolve_names(const char *const *names, size_t count,
                          const char *key, const struct config_def *def,
                          const struct config_layers *layers,
                          struct config_value *out)
{
    *out = (struct config_value){0};
    add_broker(out, names, count, layers);
    drop_until(out, key);
    if (config_is_sensitive(def))
        for (size_t i = 0; i < out->synonyms_len; i++)
            out->synonyms[i].value = SLICE_NULL;
    out->source = CONFIG_SOURCE_DEFAULT;
    if (out->synonyms_len != 0) {
        out->value = out->synonyms[0].value;
        out->source = out->synonyms[0].source;
    }
}

void config_resolve_listener(const char *key, const struct config_def *def,
                             const struct config_layers *layers,
                             struct config_value *out)
{
    const char *names[] = {key, def->key};

    resolve_names(names, 2, key, def, layers, out);
}

void config_resolve_broker(const struct config_def *def,
                           const struct config_layers *layers, struct arena *a,
                           struct config_value *out)
{
    const char *names[NAMES_MAX];
    size_t count = names_of(def->key, names);

    (void)a;
    resolve_names(names, count, def->key, def, layers, out);
}
