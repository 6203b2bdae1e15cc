/* What the tools with Kafka's names share: usage on standard error and exit
 * code 1 for everything that goes wrong, --version, and answers to options of
 * the ZooKeeper age. */
#ifndef CLI_KAFKA_COMPAT_H
#define CLI_KAFKA_COMPAT_H

#include "cli/session.h"

/* Rows for the option tables. */
#define KAFKA_OPTIONS                                                          \
    {"bootstrap-server", OPTION_VALUE, 0, "HOST:PORT",                         \
     "REQUIRED: The server(s) to connect to."},                                \
        {"command-config", OPTION_VALUE, 0, "FILE",                            \
         "Property file containing configs to be passed to the client."},      \
        {"zookeeper", OPTION_VALUE, 0, NULL, NULL},                            \
        {"broker-list", OPTION_VALUE, 0, NULL, NULL},                          \
        {"bootstrap-controller", OPTION_VALUE, 0, NULL, NULL},                 \
        {"help", OPTION_FLAG, 0, NULL, "Print usage information."},            \
    {                                                                          \
        "version", OPTION_FLAG, 0, NULL, "Display Kafka version."              \
    }

struct kafka_tool {
    const char *name;  /* "kafka-topics" */
    const char *about; /* "Create, delete, describe, or change a topic." */
    const struct option_spec *specs;
};

/* The parsed options, or NULL with the exit code in *code: help, version, a
 * wrong option, --zookeeper. */
struct options *kafka_parse(const struct kafka_tool *tool, int argc,
                            char **argv, int *code);
/* Message and usage on standard error; returns 1. */
int kafka_usage(const struct kafka_tool *tool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum { KAFKA_TIMEOUT_MS = 60000 };
/* A client for --bootstrap-server (or --broker-list); NULL after a message.
 * Waits for a cluster that is still starting, as Kafka's tools do. */
struct client *kafka_open(const struct options *o, const char *client_id,
                          int64_t timeout_ms);
bool kafka_has_bootstrap(const struct options *o);

/* As Kafka does: pads every column, the last too, and separates with a tab.  At
 * most 16 columns. */
void kafka_print_table(const struct table *t);

/* "--a", "--b" given without an action that allows it: Kafka's sentence. */
int kafka_invalid(const struct kafka_tool *tool, const char *option,
                  const char *with);

#endif
