/* What can be done to topics, for both front ends.  Functions return ERR_NONE,
 * or an error with a sentence in client_why(): the server's own words where it
 * sent some. */
#ifndef CLI_ADMIN_TOPICS_H
#define CLI_ADMIN_TOPICS_H

#include "cli/client.h"

struct ids {
    const int32_t *items;
    int32_t len; /* -1: not told */
};

struct partition_view {
    int32_t index;
    int32_t leader; /* -1: none */
    struct ids replicas;
    struct ids isr;
    struct ids elr;
    struct ids last_known_elr;
    struct ids offline;
};

struct topic_view {
    struct slice name;
    struct uuid id;
    bool is_internal;
    struct partition_view *partitions; /* by index */
    int32_t partitions_len;
};

/* Views and what they point to live in the arena; sorted by name.
 * pattern: Kafka's: a regular expression (several with commas) that a whole
 * name has to match; NULL: all. */
enum err admin_topics_list(struct client *c, const char *pattern,
                           bool exclude_internal, struct arena *a,
                           struct topic_view **topics, int32_t *len);
/* The same with ELR, which costs more requests. */
enum err admin_topics_describe(struct client *c, const char *pattern,
                               bool exclude_internal, struct arena *a,
                               struct topic_view **topics, int32_t *len);

/* Whether `name` matches the pattern as a whole; false with a sentence in *why
 * for a pattern that is none (*why is untouched otherwise). */
bool admin_pattern_matches(const char *pattern, struct slice name, char **why);

/* Brokers of each partition from 0 on, from "1:2,2:3": partitions by commas,
 * replicas by colons. */
struct assignment {
    int32_t **brokers;
    int32_t *brokers_len; /* 0: not given ("1:2,,3:4" leaves the second) */
    int32_t len;
};

bool admin_assignment_parse(const char *text, struct arena *a,
                            struct assignment *out, char **why);

struct config_pair {
    struct slice key;
    struct slice value;
};

struct new_topic {
    const char *name;
    int32_t partitions;         /* -1: the cluster's default */
    int32_t replication_factor; /* fits 16 bits; -1: the cluster's default */
    struct assignment assignment;
    struct config_pair *configs;
    int32_t configs_len;
    bool validate_only;
};

enum err admin_topic_create(struct client *c, const struct new_topic *topic,
                            struct arena *a);
enum err admin_topics_delete(struct client *c, const struct topic_view *topics,
                             int32_t len, struct arena *a);
/* `added` may have no entries: the cluster places the new ones. */
enum err admin_partitions_add(struct client *c, struct slice topic,
                              int32_t count, const struct assignment *added,
                              struct arena *a);

/* Starts moving partitions to the given brokers (entry i is partition i);
 * cancel takes a running move back. */
enum err admin_reassign(struct client *c, struct slice topic,
                        const struct assignment *target, bool cancel,
                        struct arena *a);

struct move_view {
    struct slice topic;
    int32_t partition;
    struct ids replicas;
    struct ids adding;
    struct ids removing;
};
/* Moves that are under way. */
enum err admin_moves(struct client *c, struct arena *a,
                     struct move_view **moves, int32_t *len);

/* "1,2,3" */
const char *ids_text(struct ids ids, struct arena *a);

#endif
