/* Markers on their way to the leaders of their partitions: which leader that is
 * now, and one WriteTxnMarkers request at a time for each; what comes meanwhile
 * makes the next one.
 *
 * A marker whose partition has no leader, or whose request failed, goes back to
 * its coordinator as TXN_MARKER_RETRY, which sends it again after a pause.
 *
 * Pure; any one thread. */
#ifndef BROKER_COORD_TXN_ROUTER_H
#define BROKER_COORD_TXN_ROUTER_H

#include "broker/coord/txn/marker_request.h"

enum { TXN_ROUTE_NOWHERE = -1, TXN_ROUTE_GONE = -2 };

struct txn_router_ops {
    /* The leader's id; TXN_ROUTE_NOWHERE: there is none now; TXN_ROUTE_GONE:
     * the partition was deleted. */
    int32_t (*leader)(void *arg, const struct txn_marker *marker);
    /* To be sent, and ended by txn_router_answered(), not from inside. */
    void (*send)(void *arg, int32_t broker, struct txn_marker_request *request);
    /* The marker is the callee's. */
    void (*ended)(void *arg, struct txn_marker *marker,
                  enum txn_marker_result result);
};

struct txn_router;

/* `ops` must outlive the router. */
struct txn_router *txn_router_new(const struct txn_router_ops *ops, void *arg);
/* Markers that wait are freed; requests that are on their way are their
 * senders', to be ended by txn_marker_request_done(). */
void txn_router_free(struct txn_router *router);

/* Takes the markers (of txn_marker.link). */
void txn_router_add(struct txn_router *router, struct list *markers);
/* See txn_marker_request_done(). */
void txn_router_answered(struct txn_router *router, int32_t broker,
                         struct txn_marker_request *request, enum err error,
                         const struct write_txn_markers_response *response);

#endif
