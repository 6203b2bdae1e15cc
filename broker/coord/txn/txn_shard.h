/* The transactions of one __transaction_state partition that this broker leads,
 * ready to be called by the broker: the coordinator, its runtime, and the
 * loading.
 *
 *     coordinator (txn_coord.h)  decides
 *     runtime (../runtime.h)     appends, waits
 *     txn_shard                  carries updates out, in one order: append,
 *                                replay, markers, answers
 *
 * Life: txn_shard_create() when the partition gets its leader here: the shard
 * is loading and answers COORDINATOR_LOAD_IN_PROGRESS.  The partition's records
 * go through a txn_loader, on any thread, in pieces; txn_shard_activate() takes
 * the result.  txn_shard_resign() at the loss of leadership answers everything
 * that waits with NOT_COORDINATOR, and every later request at once; then free
 * it.
 *
 * One thread, the partition's owner, except for the loader. */
#ifndef BROKER_COORD_TXN_TXN_SHARD_H
#define BROKER_COORD_TXN_TXN_SHARD_H

#include "broker/coord/txn/txn_coord.h"
#include "broker/coord/txn/txn_loader.h"

struct txn_shard;

struct txn_shard_ops {
    /* Appends one batch to the partition with acks=all; may patch it in
     * place.  Errors as the partition's leader reports them.  May call
     * txn_shard_committed(), but not resign or free the shard. */
    enum err (*append)(void *arg, uint8_t *batch, size_t len,
                       int64_t *base_offset);
    /* The callee owns what it gets.  These two come at the end of a call below.
     * The callee may make the next request or end a marker, but not resign or
     * free the shard. */
    void (*answer)(void *arg, struct txn_answer *answer);
    /* To be sent, and ended by txn_shard_marker_done().  Markers for partitions
     * of one leader that come in one turn make one WriteTxnMarkers request. */
    void (*marker)(void *arg, struct txn_marker *marker);
    /* Producer ids are running out: txn_shard_give_ids() should come, from
     * inside or later.  May be asked again before it has. */
    void (*wants_ids)(void *arg);
    /* txn_shard_next_deadline() may have become earlier.  May be NULL. */
    void (*deadline)(void *arg);
};

struct txn_shard_options {
    struct txn_config config; /* record_max_bytes is set by the shard */
    uint32_t batch_max_bytes; /* max.message.bytes of the topic */
    /* How long a client waits for a commit, less than request.timeout.ms. */
    int64_t commit_timeout_ms;
};

/* `ops` must outlive the shard; `options` are copied. */
struct txn_shard *txn_shard_create(const struct txn_shard_options *options,
                                   const struct txn_shard_ops *ops, void *arg);
/* Only after txn_shard_resign(), or while still loading. */
void txn_shard_free(struct txn_shard *shard);

/* ---- the two ends of leadership ------------------------------------------*/

/* A loader with the shard's configuration. */
struct txn_loader *txn_shard_loader(const struct txn_shard *shard);
/* Takes over the loader, which has seen everything below end_offset.
 * coordinator_epoch is the partition's leader epoch. */
void txn_shard_activate(struct txn_shard *shard, struct txn_loader *loader,
                        int32_t coordinator_epoch, int64_t end_offset,
                        int64_t high_watermark, struct coord_time time);
void txn_shard_resign(struct txn_shard *shard, struct coord_time time);

/* ---- events ---------------------------------------------------------------*/

/* See txn_coord_request(). */
void txn_shard_request(struct txn_shard *shard,
                       const struct txn_context *context, enum api_key api,
                       const void *request);
/* See txn_coord_marker_done(); after txn_shard_resign() it frees the marker. */
void txn_shard_marker_done(struct txn_shard *shard, struct txn_marker *marker,
                           enum txn_marker_result result,
                           struct coord_time time);
/* transaction.version, whenever it may have changed; also while loading. */
void txn_shard_set_version(struct txn_shard *shard, int16_t level);
void txn_shard_give_ids(struct txn_shard *shard, int64_t first, int32_t count);
void txn_shard_committed(struct txn_shard *shard, int64_t high_watermark,
                         struct coord_time time);
/* Monotonic; INT64_MIN: now; INT64_MAX: never. */
int64_t txn_shard_next_deadline(const struct txn_shard *shard);
void txn_shard_tick(struct txn_shard *shard, struct coord_time time);

/* NULL while loading.  For metrics and tests. */
const struct txn_coord *txn_shard_coord(const struct txn_shard *shard);

#endif
