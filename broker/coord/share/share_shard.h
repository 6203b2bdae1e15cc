/* The share states of one __share_group_state partition that this broker leads,
 * ready to be called by the broker: the coordinator, its runtime, and the
 * loading.
 *
 *     coordinator (share_coord.h)  decides
 *     runtime (../runtime.h)       appends, waits
 *     share_shard                  carries updates out, in one order: append,
 *                                  replay, answers
 *
 * Life: share_shard_create() when the partition gets its leader here: the shard
 * is loading and answers COORDINATOR_LOAD_IN_PROGRESS.  The partition's records
 * go through a share_loader, on any thread, in pieces; share_shard_activate()
 * takes the result.  share_shard_resign() at the loss of leadership answers
 * everything that waits with NOT_COORDINATOR, and every later request at once;
 * then free it.
 *
 * One thread, the partition's owner, except for the loader. */
#ifndef BROKER_COORD_SHARE_SHARE_SHARD_H
#define BROKER_COORD_SHARE_SHARE_SHARD_H

#include "broker/coord/share/share_coord.h"
#include "broker/coord/share/share_loader.h"

struct share_shard;

struct share_shard_ops {
    /* Appends one batch to the partition with acks=all; may patch it in
     * place.  Errors as the partition's leader reports them.  May call
     * share_shard_committed(), but not resign or free the shard. */
    enum err (*append)(void *arg, uint8_t *batch, size_t len,
                       int64_t *base_offset);
    /* The callee owns what it gets.  Comes at the end of a call below.  The
     * callee may make the next request, but not resign or free the shard. */
    void (*answer)(void *arg, struct share_answer *answer);
    /* share_shard_next_deadline() may have become earlier.  May be NULL. */
    void (*deadline)(void *arg);
};

struct share_shard_options {
    struct share_coord_config config; /* record_max_bytes is the shard's */
    uint32_t batch_max_bytes;         /* max.message.bytes of the topic */
    int64_t commit_timeout_ms;        /* share.coordinator.write.timeout.ms */
};

/* `ops` must outlive the shard; `options` are copied. */
struct share_shard *
share_shard_create(const struct share_shard_options *options,
                   const struct share_shard_ops *ops, void *arg);
/* Only after share_shard_resign(), or while still loading. */
void share_shard_free(struct share_shard *shard);

/* ---- the two ends of leadership ------------------------------------------*/

/* A loader with the shard's configuration. */
struct share_loader *share_shard_loader(const struct share_shard *shard);
/* Takes over the loader, which has seen everything below end_offset. */
void share_shard_activate(struct share_shard *shard,
                          struct share_loader *loader, int64_t end_offset,
                          int64_t high_watermark, struct coord_time time);
void share_shard_resign(struct share_shard *shard, struct coord_time time);

/* ---- events ---------------------------------------------------------------*/

/* See share_coord_request(). */
void share_shard_request(struct share_shard *shard,
                         const struct share_context *context, enum api_key api,
                         const void *request);
/* See share_coord_ask(). */
void share_shard_ask(struct share_shard *shard,
                     const struct share_context *context,
                     struct share_answer *piece);
/* See share_coord_topic_deleted(); 0 while it is not active. */
uint32_t share_shard_topic_deleted(struct share_shard *shard, struct uuid topic,
                                   struct coord_time time);
void share_shard_committed(struct share_shard *shard, int64_t high_watermark,
                           struct coord_time time);
/* Monotonic; INT64_MIN: now; INT64_MAX: never. */
int64_t share_shard_next_deadline(const struct share_shard *shard);
void share_shard_tick(struct share_shard *shard, struct coord_time time);
/* See share_coord_prune_offset(); 0 while it is not active. */
int64_t share_shard_prune_offset(const struct share_shard *shard);

/* NULL while loading.  For metrics and tests. */
const struct share_coord *share_shard_coord(const struct share_shard *shard);

#endif
