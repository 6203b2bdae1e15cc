/* Holds decisions of a coordinator until their records are committed.
 *
 * Groups and transactions share it: a coordinator hands over a coord_pending,
 * the runtime packs its records into batches, has them appended to the
 * partition, and calls done() when the high watermark has passed them, when
 * offsets.commit.timeout.ms is over, or when leadership is lost.  Pendings end
 * in the order in which they came.
 *
 * Pendings added in one turn share a batch: coord_runtime_add() collects,
 * coord_runtime_flush() appends.  If an append fails, nothing of the batch is
 * in the log, and done() says why; a pending too large for one batch may have
 * its first records in the log already (appended() told its owner so), unless
 * it is atomic: then it ends with ERR_RECORD_LIST_TOO_LARGE.
 *
 * Pure: appending is the caller's function; time comes with the call.  One
 * thread.  The callbacks may add pendings but must not free the runtime. */
#ifndef BROKER_COORD_RUNTIME_H
#define BROKER_COORD_RUNTIME_H

#include "broker/coord/records.h"

#include "base/error.h"

struct coord_runtime_ops {
    /* Appends one uncompressed batch with acks=all.  May patch the bytes in
     * place (base offset, epoch).  *base_offset is its first record's.  May
     * call coord_runtime_committed(), must not call coord_runtime_resign(). */
    enum err (*append)(void *arg, uint8_t *batch, size_t len,
                       int64_t *base_offset);
    /* Records [first, first + count) of the pending are in the log. */
    void (*appended)(void *arg, struct coord_pending *pending, uint32_t first,
                     uint32_t count, int64_t base_offset);
    /* The end.  ERR_NONE: committed.  Else what append returned,
     * ERR_REQUEST_TIMED_OUT, or ERR_NOT_LEADER_OR_FOLLOWER.  The pending is
     * its owner's again. */
    void (*done)(void *arg, struct coord_pending *pending, enum err err);
};

struct coord_runtime_batch;

struct coord_runtime {
    const struct coord_runtime_ops *ops;
    void *arg;
    uint32_t batch_max_bytes;  /* max.message.bytes of the partition */
    int64_t commit_timeout_ms; /* offsets.commit.timeout.ms */
    struct list collected;     /* not appended yet */
    size_t collected_bytes;
    struct list parked; /* appended, by rising end_offset */
    int64_t end_offset; /* of the last append, exclusive */
    int64_t committed;  /* high watermark, exclusive */
    bool leader;
    bool flushing; /* a flush inside of a flush has to wait */
    struct coord_runtime_batch *batch; /* the one being filled */
};

/* Starts as the leader of a log that ends at end_offset. */
void coord_runtime_init(struct coord_runtime *runtime,
                        const struct coord_runtime_ops *ops, void *arg,
                        uint32_t batch_max_bytes, int64_t commit_timeout_ms,
                        int64_t end_offset, int64_t high_watermark);

/* Whether one batch has room for all of it: what is atomic ends with
 * ERR_RECORD_LIST_TOO_LARGE otherwise. */
bool coord_pending_fits(const struct coord_pending *pending,
                        uint32_t batch_max_bytes);

/* Everything must have ended: see coord_runtime_resign(). */
void coord_runtime_free(struct coord_runtime *runtime);

/* Takes the pending over until done().  Appends at once when a batch is full.
 */
void coord_runtime_add(struct coord_runtime *runtime,
                       struct coord_pending *pending, int64_t now_ms,
                       int64_t wall_ms);
/* Appends what was collected. */
void coord_runtime_flush(struct coord_runtime *runtime, int64_t now_ms,
                         int64_t wall_ms);
/* The high watermark moved. */
void coord_runtime_committed(struct coord_runtime *runtime,
                             int64_t high_watermark);
/* When coord_runtime_tick() is due; INT64_MIN while something is collected;
 * INT64_MAX: never. */
int64_t coord_runtime_next_deadline(const struct coord_runtime *runtime);
/* Flushes, and ends what waited too long. */
void coord_runtime_tick(struct coord_runtime *runtime, int64_t now_ms,
                        int64_t wall_ms);
/* Leadership is lost: everything ends with ERR_NOT_LEADER_OR_FOLLOWER. */
void coord_runtime_resign(struct coord_runtime *runtime);

#endif
