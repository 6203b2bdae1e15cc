/* Configurations of topics, brokers and groups, for both front ends.  Errors
 * as in admin_topics.h. */
#ifndef CLI_ADMIN_CONFIGS_H
#define CLI_ADMIN_CONFIGS_H

#include "cli/client.h"

/* The numbers of DescribeConfigs. */
enum config_resource {
    RESOURCE_TOPIC = 2,
    RESOURCE_BROKER = 4, /* name "": the default of all brokers */
    RESOURCE_BROKER_LOGGER = 8,
    RESOURCE_CLIENT_METRICS = 16,
    RESOURCE_GROUP = 32,
};

enum { CONFIG_DEFAULT_SOURCE = 5 };

/* DYNAMIC_TOPIC_CONFIG, DEFAULT_CONFIG, ... */
const char *config_source_name(int8_t source);
bool config_source_is_dynamic(int8_t source);

struct config_entry {
    struct slice name;
    struct slice value; /* null for secrets */
    int8_t source;
    bool read_only;
    bool sensitive;
    const struct describe_configs_response_synonym *synonyms;
    int32_t synonyms_len;
};

/* In the server's order. */
enum err admin_configs_describe(struct client *c, enum config_resource type,
                                struct slice name, struct arena *a,
                                struct config_entry **entries, int32_t *len);
/* Of several resources in one request (topics): entries[i] belongs to
 * names[i]. */
enum err admin_configs_of_topics(struct client *c, const struct slice *names,
                                 int32_t count, struct arena *a,
                                 struct config_entry **entries, int32_t *len);

/* By name. */
void admin_configs_sort(struct config_entry *entries, int32_t len);

enum config_operation {
    CONFIG_SET = 0,
    CONFIG_DELETE = 1,
    CONFIG_APPEND = 2,
    CONFIG_SUBTRACT = 3,
};

struct config_change {
    struct slice key;
    struct slice value; /* null for CONFIG_DELETE */
    enum config_operation operation;
};

enum err admin_configs_alter(struct client *c, enum config_resource type,
                             struct slice name,
                             const struct config_change *changes, int32_t len,
                             struct arena *a);

/* Splits "k=v,k2=[a,b]" (brackets hold values with commas).  False with a
 * sentence in *why. */
bool admin_changes_parse(const char *text, struct arena *a,
                         struct config_change **changes, int32_t *len,
                         char **why);

#endif
