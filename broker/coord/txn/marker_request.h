/* Markers for partitions of one leader, as a WriteTxnMarkers request and back.
 *
 * Whoever sends it finds the leaders, gathers a turn's markers for each, and
 * keeps the request until it is answered or its connection is lost.  Pure; any
 * one thread. */
#ifndef BROKER_COORD_TXN_MARKER_REQUEST_H
#define BROKER_COORD_TXN_MARKER_REQUEST_H

#include "broker/coord/txn/txn_coord.h"

struct txn_marker_request {
    struct write_txn_markers_request request; /* to be encoded; versions 1, 2 */
    struct list markers;                      /* of txn_marker.link; owned */
    struct arena arena;
};

/* Takes markers off the list, in order, into a new request.  A response knows
 * markers by producer id, partition and no more, so two decisions about one
 * producer id do not share a request: the later one stays on the list, as does
 * what would be the max-th marker.  NULL: the list was empty. */
struct txn_marker_request *txn_marker_request_new(struct list *markers,
                                                  uint32_t max);

/* What became of each marker, which `ended` takes over.  `err`: of the
 * connection or the response as a whole; then `response` may be NULL.  What the
 * response says nothing of is to be sent again.  Frees the request. */
void txn_marker_request_done(struct txn_marker_request *request, enum err err,
                             const struct write_txn_markers_response *response,
                             void (*ended)(void *arg, struct txn_marker *marker,
                                           enum txn_marker_result result),
                             void *arg);

#endif
