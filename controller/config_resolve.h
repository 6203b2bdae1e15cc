/* The value a configuration has in effect, where it comes from, and every
 * other value it would have had (Kafka's "synonyms"), as DescribeConfigs
 * tells them.
 *
 * A topic's key is looked for in the topic, then its broker keys
 * (retention.ms: log.retention.ms, log.retention.minutes, log.retention.hours)
 * are looked for in the broker's dynamic configuration, in the dynamic default
 * of all brokers, in the broker's file and among the defaults, in this order:
 * first by source, within a source by key.
 *
 * Pure; any thread. */
#ifndef CONTROLLER_CONFIG_RESOLVE_H
#define CONTROLLER_CONFIG_RESOLVE_H

#include "base/arena.h"
#include "base/map.h"
#include "controller/config_defs.h"

/* The numbers of DescribeConfigs (ConfigSource). */
enum config_source {
    CONFIG_SOURCE_TOPIC = 1,
    CONFIG_SOURCE_BROKER = 2,
    CONFIG_SOURCE_BROKER_DEFAULT = 3,
    CONFIG_SOURCE_FILE = 4,
    CONFIG_SOURCE_DEFAULT = 5,
    CONFIG_SOURCE_BROKER_LOGGER = 6,
    CONFIG_SOURCE_CLIENT_METRICS = 7,
    CONFIG_SOURCE_GROUP = 8,
};

/* One set of configurations, however its owner keeps them. */
struct config_layer {
    /* The value, or null if the key is not set here. */
    struct slice (*get)(const void *set, struct slice key);
    const void *set;
};

/* A layer over a map whose values are NUL-terminated strings. */
struct config_layer config_layer_of_map(const struct map *m);

/* Layers without a get function are empty. */
struct config_layers {
    struct config_layer topic;          /* or group; ignored for brokers */
    struct config_layer broker;         /* this broker, dynamic */
    struct config_layer broker_default; /* all brokers, dynamic */
    struct config_layer file;           /* this broker, from its file */
};

struct config_synonym {
    const char *name; /* constant, or the caller's key */
    struct slice value;
    enum config_source source;
};

enum { CONFIG_SYNONYMS_MAX = 16 };

struct config_value {
    struct slice value; /* null: none */
    enum config_source source;
    struct config_synonym synonyms[CONFIG_SYNONYMS_MAX];
    size_t synonyms_len;
};

/* Values live as long as the layers' and the arena's; the arena holds those
 * whose unit was converted.  Synonyms carry values as their owners wrote them,
 * unconverted.  As in Kafka the list begins at the first synonym with the
 * key's principal broker name, so a retention.ms that comes from
 * log.retention.hours has no synonyms and counts as a default. */
void config_resolve_topic(const struct config_def *def,
                          const struct config_layers *layers, struct arena *a,
                          struct config_value *out);
/* The value of a topic's key alone. */
struct slice config_effective(const struct config_def *def,
                              const struct config_layers *layers,
                              struct arena *a);
/* `def` is a group's key; layers->topic is the group's own.  Without a value of
 * its own a group takes that of the broker key group.KEY, whose synonyms follow
 * its own. */
void config_resolve_group(const struct config_def *def,
                          const struct config_layers *layers, struct arena *a,
                          struct config_value *out);
/* `key` is a listener's own, listener.name.NAME.KEY, and `def` what
 * config_find() finds for it.  What is said of KEY follows as synonyms: it
 * counts for listeners without one of their own. */
void config_resolve_listener(const char *key, const struct config_def *def,
                             const struct config_layers *layers,
                             struct config_value *out);
/* `def` is a broker key. */
void config_resolve_broker(const struct config_def *def,
                           const struct config_layers *layers, struct arena *a,
                           struct config_value *out);

/* A value as Kafka tells it, once it has read its text: "TRUE " as true, a
 * double "5" as 5.0.  In the arena, constant, or the value itself. */
struct slice config_canonical(const struct config_def *def, struct slice value,
                              struct arena *a);

#endif
