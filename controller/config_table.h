/* Notation of the rows in config_table_*.c; nobody else includes this. */
#ifndef CONTROLLER_CONFIG_TABLE_H
#define CONTROLLER_CONFIG_TABLE_H

#include "controller/config_defs.h"

#include <math.h>

#define ANY                                                                    \
    {                                                                          \
        CONFIG_RULE_ANY, -INFINITY, INFINITY, NULL                             \
    }
#define AT_LEAST(min)                                                          \
    {                                                                          \
        CONFIG_RULE_RANGE, min, INFINITY, NULL                                 \
    }
#define BETWEEN(min, max)                                                      \
    {                                                                          \
        CONFIG_RULE_RANGE, min, max, NULL                                      \
    }
#define ONE_OF(list)                                                           \
    {                                                                          \
        CONFIG_RULE_ONE_OF, -INFINITY, INFINITY, list                          \
    }
#define ONE_OF_NOCASE(list)                                                    \
    {                                                                          \
        CONFIG_RULE_ONE_OF_NOCASE, -INFINITY, INFINITY, list                   \
    }
#define NON_EMPTY                                                              \
    {                                                                          \
        CONFIG_RULE_NON_EMPTY, -INFINITY, INFINITY, NULL                       \
    }
#define GZIP_LEVEL                                                             \
    {                                                                          \
        CONFIG_RULE_GZIP_LEVEL, -INFINITY, INFINITY, NULL                      \
    }
#define THROTTLED_REPLICAS                                                     \
    {                                                                          \
        CONFIG_RULE_THROTTLED_REPLICAS, -INFINITY, INFINITY, NULL              \
    }

#define SHARE_RESET                                                            \
    {                                                                          \
        CONFIG_RULE_SHARE_RESET, -INFINITY, INFINITY,                          \
            "latest, earliest, by_duration:PnDTnHnMn.nS"                       \
    }

#define CONFIG_TABLE_LEN(table) (sizeof(table) / sizeof(table)[0])

/* X(name): the tables of broker keys, in the order they are documented. */
#define CONFIG_BROKER_TABLES(X)                                                \
    X(node)                                                                    \
    X(network)                                                                 \
    X(log)                                                                     \
    X(replica)                                                                 \
    X(group)                                                                   \
    X(transaction)                                                             \
    X(quota)                                                                   \
    X(security)                                                                \
    X(share)                                                                   \
    X(remote)                                                                  \
    X(legacy)

#define CONFIG_ALL_TABLES(X)                                                   \
    CONFIG_BROKER_TABLES(X)                                                    \
    X(topic)                                                                   \
    X(consumer_group)                                                          \
    X(client_metrics)

#define X(name)                                                                \
    extern const struct config_def config_table_##name[];                      \
    extern const size_t config_table_##name##_len;
CONFIG_ALL_TABLES(X)
#undef X

#endif
