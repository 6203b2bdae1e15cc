/* The cluster as one client sees it: brokers that are alive, with the addresses
 * that belong to the listener on which the client came in.  Made for one
 * answer, on the metadata thread; points into the image. */
#ifndef BROKER_CLUSTER_VIEW_H
#define BROKER_CLUSTER_VIEW_H

#include "broker/meta_parts.h"

struct view_broker {
    int32_t id;
    bool alive; /* not fenced */
    const struct image_broker *broker;
    const struct image_endpoint *endpoint; /* NULL: not on this listener */
};

struct cluster_view {
    const struct meta *meta;
    const struct image *image;
    struct arena *arena;         /* the request's */
    struct view_broker *brokers; /* sorted by id */
    size_t len;
};

void cluster_view_init(struct cluster_view *v, struct request *r);
/* NULL if it is not registered. */
const struct view_broker *cluster_view_broker(const struct cluster_view *v,
                                              int32_t id);
/* Alive and reachable by this client. */
static inline bool view_broker_usable(const struct view_broker *b)
{
    return b != NULL && b->alive && b->endpoint != NULL;
}
/* Whom clients may send requests for the controller: any broker forwards them,
 * the one beside the active controller saves a hop.  -1: nobody is alive. */
int32_t cluster_view_controller(const struct cluster_view *v);
/* Why clients cannot use the leader: ERR_NONE, LEADER_NOT_AVAILABLE or
 * LISTENER_NOT_FOUND. */
enum err cluster_view_leader(const struct cluster_view *v,
                             const struct image_partition *p);
/* Replicas that the client cannot reach; NULL and 0 if there are none. */
struct image_ids cluster_view_offline(const struct cluster_view *v,
                                      const struct image_partition *p);

static inline struct meta *request_meta(const struct request *r)
{
    return r->shard->broker->meta;
}

#endif
