/* What leaders and group coordinators ask the coordinators of share-partitions:
 * which broker that is now, many questions in a request, and again when the
 * answer says so.
 *
 * Each API has one request to each broker on its way at a time; what comes
 * meanwhile makes the next one, of one group and in the order of arrival.  So a
 * write that is asked again does not overtake its first copy, as long as the
 * connection of a request that failed is closed.
 *
 * A coordinator that is not there, loads, or has a write of the key under way
 * is asked again after a pause, and so is one whose answer was lost, until the
 * question's deadline.  A topic that is not known there may be new.
 *
 * Pure; one thread. */
#ifndef BROKER_COORD_SHARE_ROUTER_H
#define BROKER_COORD_SHARE_ROUTER_H

#include "broker/coord/share/share_coord.h"

#include "base/heap.h"

/* About one share-partition.  Its owner keeps it until it is done. */
struct share_question {
    enum api_key api; /* one of the coordinator's five */
    struct slice group;
    struct uuid topic;
    int32_t partition;
    int64_t deadline_ms; /* monotonic: not asked again after it */
    int32_t state_epoch;
    int32_t leader_epoch;
    int64_t start_offset;
    int32_t complete;                  /* delivery complete count */
    const struct share_batch *batches; /* of a write */
    uint32_t batches_len;
    /* ---- answered: what the API has of them ------------------------------*/
    enum err err;
    struct {
        int32_t state_epoch;
        int32_t leader_epoch;
        int64_t start_offset;
        int32_t complete;
        struct share_batch *batches; /* of a read; the asker frees them */
        uint32_t len;
    } told;
    /* ---- the router's ----------------------------------------------------*/
    struct list link;
    struct heap_node again;
    int32_t attempts;
};

/* A request on its way. */
struct share_router_request {
    enum api_key api;
    int16_t version;
    union {
        struct initialize_share_group_state_request initialize;
        struct read_share_group_state_request read;
        struct write_share_group_state_request write;
        struct delete_share_group_state_request delete_;
        struct read_share_group_state_summary_request summary;
    } request;
    /* ---- the router's ----------------------------------------------------*/
    struct arena arena;
    struct list questions;
    int32_t broker;
};

struct share_router_ops {
    /* The id of the broker that coordinates; -1: there is none now. */
    int32_t (*coordinator)(void *arg, const struct share_question *q);
    /* To be sent, and ended by share_router_answered(), not from inside. */
    void (*send)(void *arg, int32_t broker,
                 struct share_router_request *request);
    void (*done)(void *arg, struct share_question *q);
};

struct share_router;

/* `ops` must outlive the router. */
struct share_router *share_router_new(const struct share_router_ops *ops,
                                      void *arg);
/* Questions that wait are forgotten; requests on their way are their senders',
 * to be freed by share_router_request_free(). */
void share_router_free(struct share_router *router);
void share_router_request_free(struct share_router_request *request);

void share_router_ask(struct share_router *router, struct share_question *q,
                      int64_t now_ms);
/* ERR_NONE with the decoded response, or what became of the connection.  Frees
 * the request. */
void share_router_answered(struct share_router *router,
                           struct share_router_request *request, enum err error,
                           const void *response, int64_t now_ms);
/* Monotonic; INT64_MAX: nothing waits for a time. */
int64_t share_router_next_deadline(const struct share_router *router);
void share_router_tick(struct share_router *router, int64_t now_ms);

#endif
