/* Every configuration key we know: Kafka's, with Kafka's types, defaults and
 * limits, and our own, which start with "leat.".
 *
 * Controllers and brokers judge changed configurations by this table, the
 * server reads its file by it, and docs/configuration.md is printed from it.
 * The table is constant; all functions are pure and safe on any thread.
 *
 * Values are text, as in files and on the wire.  Leading and trailing white
 * space never counts. */
#ifndef CONTROLLER_CONFIG_DEFS_H
#define CONTROLLER_CONFIG_DEFS_H

#include "base/error.h"
#include "base/slice.h"

/* The numbers that DescribeConfigs gives types (ConfigType). */
enum config_type {
    CONFIG_BOOLEAN = 1,
    CONFIG_STRING = 2,
    CONFIG_INT = 3,   /* 32 bits */
    CONFIG_SHORT = 4, /* 16 bits */
    CONFIG_LONG = 5,  /* 64 bits */
    CONFIG_DOUBLE = 6,
    CONFIG_LIST = 7,  /* separated by commas */
    CONFIG_CLASS = 8, /* a Java class: text to us */
    CONFIG_PASSWORD = 9,
};

enum config_scope {
    CONFIG_TOPIC,
    CONFIG_BROKER,
    CONFIG_GROUP,
    CONFIG_CLIENT_METRICS,
};

/* Who may change a broker key while the broker runs. */
enum config_update {
    CONFIG_READ_ONLY,    /* nobody: restart with a changed file */
    CONFIG_PER_BROKER,   /* one broker at a time */
    CONFIG_CLUSTER_WIDE, /* one broker, or the default of all brokers */
};

/* What we do with a key. */
enum config_effect {
    CONFIG_USED,
    CONFIG_NO_EFFECT, /* accepted; `why` says what happens instead */
    CONFIG_LEGACY,    /* gone from Kafka: accepted with a warning */
    CONFIG_REFUSED,   /* ignoring it would be wrong: only the default passes */
};

enum config_rule_kind {
    CONFIG_RULE_ANY,
    CONFIG_RULE_RANGE,         /* min and max, both inclusive */
    CONFIG_RULE_ONE_OF,        /* `allowed`; of a list: each item */
    CONFIG_RULE_ONE_OF_NOCASE, /* likewise, in any case */
    CONFIG_RULE_NON_EMPTY,
    CONFIG_RULE_GZIP_LEVEL,         /* 1 to 9, or -1 */
    CONFIG_RULE_THROTTLED_REPLICAS, /* * or partition:broker,... */
    CONFIG_RULE_SHARE_RESET,        /* share_reset.h; `allowed` says it */
};

struct config_rule {
    enum config_rule_kind kind;
    double min;          /* -INFINITY: none */
    double max;          /* INFINITY: none */
    const char *allowed; /* "a, b, c" */
};

struct config_def {
    const char *key;
    enum config_type type;
    const char *fallback; /* the default; NULL: no value */
    struct config_rule rule;
    enum config_update update;
    enum config_effect effect;
    const char *doc; /* one sentence */
    const char *why; /* of an effect other than CONFIG_USED, a clause */
    /* Topic keys: the broker keys that give the default, in order, "key" or
     * "key (xFACTOR)"; NULL if there are none. */
    const char *synonyms;
};

/* NULL if the key is not known.  Of brokers, "listener.name.NAME.KEY" and
 * "listener.name.NAME.MECHANISM.KEY" are found as KEY. */
const struct config_def *config_find(enum config_scope scope, struct slice key);

/* All keys of a scope, sorted by key within each of its tables: i from 0 to
 * config_count() - 1. */
size_t config_count(enum config_scope scope);
const struct config_def *config_at(enum config_scope scope, size_t i);

/* Whether a key is left out of lists of configurations: those for tests only,
 * and those that are gone from Kafka. */
bool config_is_internal(const struct config_def *def);
/* Whether values are secrets: never logged, described as null. */
bool config_is_sensitive(const struct config_def *def);

/* ---- judging values ------------------------------------------------------
 *
 * ERR_NONE, or ERR_INVALID_CONFIG with a sentence in *why that the caller
 * frees.  The sentences are Kafka's, since clients and tests match on them:
 * "Invalid value -2 for configuration retention.ms: Value must be at least
 * -1".  A null value stands for "no value given" and is valid where the
 * default is none. */

/* Type and limits alone. */
enum err config_check(const struct config_def *def, struct slice key,
                      struct slice value, char **why);
/* As a topic's own configuration: also refuses unknown keys. */
enum err config_validate_topic(struct slice key, struct slice value,
                               char **why);
enum err config_validate_group(struct slice key, struct slice value,
                               char **why);
/* Of a subscription to clients' metrics (KIP-714); the error of keys and
 * intervals is ERR_INVALID_REQUEST, as in Kafka. */
enum err config_validate_client_metrics(struct slice key, struct slice value,
                                        char **why);
/* As a change to running brokers: also refuses keys that cannot change, and
 * with per_broker false those that cannot change for all brokers at once.
 * Keys we do not know are accepted, as in Kafka, and the error is
 * ERR_INVALID_REQUEST, as there. */
enum err config_validate_broker_dynamic(struct slice key, struct slice value,
                                        bool per_broker, char **why);

/* ---- reading values ----------------------------------------------------- */

/* False if the text is not of the type; *out is then unchanged. */
bool config_parse_bool(struct slice value, bool *out);
bool config_parse_int32(struct slice value, int32_t *out);
bool config_parse_int64(struct slice value, int64_t *out);
bool config_parse_double(struct slice value, double *out);
struct slice config_trim(struct slice value);
/* Takes the next item off a list, trimmed.  False at the end. Start with the
 * whole value; an empty value is an empty list. */
bool config_list_next(struct slice *rest, struct slice *item);
/* Whether a list holds an item. */
bool config_list_has(struct slice list, const char *item);

#endif
