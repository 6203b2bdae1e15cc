/* What client.c (connections) and cluster.c (metadata) share. */
#ifndef TESTS_SIM_LOAD_CLIENT_PARTS_H
#define TESTS_SIM_LOAD_CLIENT_PARTS_H

#include "proto/kafka/api.h"
#include "tests/sim/load/client.h"

enum { BOOTSTRAP_BASE = -1000 }; /* id of the first address, downwards */

struct node {
    int32_t id;
    char *host;
    uint16_t port;
};

struct load_client {
    struct env *env;
    struct prng prng;
    char *id;
    struct load_client_options options;
    uint64_t style[API_COUNT]; /* which versions */
    int32_t correlation;
    struct list links;  /* struct link, one per node ever spoken to */
    struct list broken; /* calls whose end is being told */
    struct node *nodes;
    int32_t *node_ids;
    size_t nodes_len;
    struct load_topic *topics;
    size_t topics_len;
    struct env_timer look_timer;
    bool looking; /* a request is under way */
    bool look_wanted;
    int64_t looked_ms; /* when the last was sent */
    uint64_t looks;
    char *group;
    int32_t coordinator;
    bool searching;
    struct env_timer search_timer;
};

/* Host and port of a node or bootstrap address; false: unknown. */
bool load_client_address(const struct load_client *c, int32_t node,
                         const char **host, uint16_t *port);
/* A node to ask about the cluster. */
int32_t load_client_pick(struct load_client *c);
void load_cluster_init(struct load_client *c);
void load_cluster_reset(struct load_client *c);
void load_cluster_free(struct load_client *c);

#endif
