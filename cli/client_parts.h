/* Shared by client.c and client_cluster.c alone. */
#ifndef CLI_CLIENT_PARTS_H
#define CLI_CLIENT_PARTS_H

#include "cli/client.h"

struct range {
    int16_t min;
    int16_t max;
};

struct connection {
    struct list link; /* in client.connections */
    int32_t id;
    int fd;
    struct list calls; /* struct client_call, in the order sent */
    struct buf in;     /* bytes not yet taken apart */
    struct range versions[API_COUNT];
};

struct address {
    char *host;
    uint16_t port;
};

struct client {
    char *client_id;
    int64_t timeout_ms;
    char *why;
    struct address *bootstrap;
    size_t bootstrap_len;
    struct client_node *nodes;
    size_t nodes_len;
    int32_t controller; /* -1: not known */
    int32_t answered;   /* who answered a CLIENT_ANY last; CLIENT_ANY: nobody */
    char *cluster_id;   /* NULL: not known */
    struct list connections;
    struct map coordinators; /* group -> int32_t, allocated */
    int32_t correlation;
};

/* Forgets the known brokers. */
void client_free_nodes(struct client *c);

#endif
