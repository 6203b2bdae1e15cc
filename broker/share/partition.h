/* One share-partition: what the consumers of one share group do with the
 * records of one partition (KIP-932), on the broker that leads the partition.
 *
 * A pure state machine.  Requests, results of writes and the passing of time go
 * in; results, answers and writes for the share coordinator come out.  It reads
 * no clock, does no I/O, has no globals, and sees offsets, never records.  One
 * thread owns it: the partition's.
 *
 * Happy path: a fetch reads the log from share_partition_next_fetch() on, and
 * share_partition_acquire() gives its member a part of what was read, for the
 * duration of a lock.  The member acknowledges: the decision goes to the share
 * coordinator as a write, and with its success the records are done, or
 * available again.  Records at the start that are done leave the window, and
 * the start offset (SPSO) moves.
 *
 * The window is [start, end) (SPSO and SPEO): records below were dealt with,
 * those from `end` on were never handed out.  It is kept as runs of neighbours
 * that are alike, so costs follow batches and not records.
 *
 * When something goes wrong:
 *   a lock times out: available again, or archived at the delivery limit;
 *   the coordinator refuses a write: its decisions are taken back, and the
 *     locks go on;
 *   nobody knows what became of a write: it is sent again until that is known,
 *     and its records go to nobody meanwhile, for an acknowledgement that may
 *     be on disk must not be followed by a delivery.  Its clients are told;
 *   the coordinator knows a newer leader or group: everything ends.
 *
 * One write is under way at a time; what is decided meanwhile collects into the
 * next.  So writes arrive in order, and acknowledgements share them. */
#ifndef BROKER_SHARE_PARTITION_H
#define BROKER_SHARE_PARTITION_H

#include "broker/share/state.h"

#include "base/error.h"
#include "base/list.h"
#include "base/slice.h"

struct share_partition;

/* From the group's configuration, else the broker's group.share.*. */
struct share_partition_config {
    int32_t delivery_count_limit;    /* 5 */
    int32_t record_lock_duration_ms; /* 30000 */
    /* share.partition.max.record.locks: records in the window.  A batch may
     * exceed it, to twice as many at most. */
    int32_t max_record_locks; /* 2000 */
    bool renew_enabled;       /* share.renew.acknowledge.enable, true */
};

void share_partition_config_init(struct share_partition_config *config);

/* ---- out ----------------------------------------------------------------- */

/* A request that waits for its decisions to be written.  The caller embeds it
 * and keeps it until it comes back in an update, which it does exactly once. */
struct share_waiter {
    struct list link;
    enum err err; /* set when it comes back */
};

/* A write for the share coordinator (WriteShareGroupState).  Owned by the
 * partition and unchanged until share_partition_written() gets its id. */
struct share_write {
    uint64_t id;
    int32_t state_epoch;
    int32_t leader_epoch;
    int64_t start_offset;
    int32_t delivery_complete_count; /* done records in the window */
    struct share_batch *batches;     /* by rising offset, disjoint */
    uint32_t batches_len;            /* 0: only the start offset */
};

/* What one call decided.  share_update_init() first; the caller empties it. */
struct share_update {
    struct list ended;               /* of share_waiter.link */
    const struct share_write *write; /* NULL, or to be sent now; borrowed */
    /* Records became available or the window has room: fetches that wait may
     * find something. */
    bool news;
};

void share_update_init(struct share_update *update);

/* ---- life -----------------------------------------------------------------*/

/* What ReadShareGroupState answered. */
struct share_loaded {
    int32_t state_epoch;
    int64_t start_offset;   /* SHARE_START_UNKNOWN: take initial_offset */
    int64_t initial_offset; /* by share.auto.offset.reset, see reset.h */
    const struct share_batch *batches; /* borrowed for the call */
    uint32_t batches_len;
};

/* Copies the config.  NULL if the state makes no sense: batches below the start
 * offset, out of order, or with unknown states.  What lies between batches was
 * handed out at most and is available.  A start that was unknown is written
 * down at once: else the next leader would begin elsewhere. */
struct share_partition *
share_partition_create(const struct share_partition_config *config,
                       int32_t leader_epoch, const struct share_loaded *loaded,
                       struct share_update *update);
/* Leadership is lost, the group or topic is gone, or a write said so: all
 * waiters end with NOT_LEADER_OR_FOLLOWER, as does all that comes later. */
void share_partition_close(struct share_partition *p,
                           struct share_update *update);
bool share_partition_is_closed(const struct share_partition *p);
/* Nothing is acquired, and the coordinator knows all that it is to know. */
bool share_partition_is_idle(const struct share_partition *p);
/* Nobody may wait any more. */
void share_partition_free(struct share_partition *p);

/* Takes effect for what is acquired or released from now on. */
void share_partition_configure(struct share_partition *p,
                               const struct share_partition_config *config);

/* ---- fetching -------------------------------------------------------------*/

/* Where the next read of the log should begin: at the first available record,
 * else at the end of the window. */
int64_t share_partition_next_fetch(struct share_partition *p);
/* False: the window is full, nothing can be acquired before news. */
bool share_partition_can_acquire(struct share_partition *p);

/* A record batch as it lies in the log. */
struct share_log_batch {
    int64_t base;
    int64_t last; /* inclusive */
    /* False: nothing in it is for consumers (a control batch; with
     * read_committed one of an aborted transaction). */
    bool has_records;
};

/* ShareAcquireMode of ShareFetch (KIP-1206). */
enum share_acquire_mode {
    SHARE_BATCH_OPTIMIZED = 0, /* max_records is exceeded to a batch's end */
    SHARE_RECORD_LIMIT = 1,    /* never more than max_records */
};

struct share_acquire {
    struct slice member; /* borrowed for the call, as everything here */
    int64_t now_ms;      /* monotonic */
    int64_t from;        /* where the read began */
    /* All batches of the log from `from` on, as many as were read, below the
     * high watermark or with read_committed the last stable offset.  What lies
     * between them the log does not have any more. */
    const struct share_log_batch *batches;
    uint32_t batches_len;
    int32_t max_records;
    int32_t batch_size; /* split results at batches, about so many records */
    enum share_acquire_mode mode;
};

struct share_range {
    int64_t first;
    int64_t last; /* inclusive */
    int16_t deliveries;
};

/* Zero-initialise; appended to.  Freed by share_acquired_free(). */
struct share_acquired {
    struct share_range *ranges; /* owned; rising */
    uint32_t len;
    uint32_t cap;
    int64_t records; /* offsets in them */
};

void share_acquired_free(struct share_acquired *acquired);

/* Nothing may be left to acquire: another fetch was faster.  Records near the
 * delivery limit come by themselves and few at once, see acquire.c.
 * ERR_NOT_LEADER_OR_FOLLOWER after the end. */
enum err share_partition_acquire(struct share_partition *p,
                                 const struct share_acquire *request,
                                 struct share_acquired *acquired,
                                 struct share_update *update);

/* ---- acknowledging --------------------------------------------------------*/

enum share_ack_type {
    SHARE_ACK_GAP = 0, /* the client found no record there */
    SHARE_ACK_ACCEPT = 1,
    SHARE_ACK_RELEASE = 2,
    SHARE_ACK_REJECT = 3,
    SHARE_ACK_RENEW = 4, /* the lock begins anew (KIP-1222) */
};

struct share_ack {
    int64_t first;
    int64_t last;        /* inclusive */
    const int8_t *types; /* one for all, or one each; borrowed for the call */
    int32_t types_len;
};

/* All or nothing.  What lies below the start offset counts as done.
 *   INVALID_REQUEST: no types or the wrong number of them, an unknown one,
 *     ranges out of order, or beyond what was ever handed out;
 *   INVALID_RECORD_STATE: a record is not acquired by this member, or decided
 *     on already;
 *   else what the write comes to, see share_partition_written(). */
void share_partition_acknowledge(struct share_partition *p, struct slice member,
                                 const struct share_ack *acks,
                                 uint32_t acks_len, int64_t now_ms,
                                 struct share_waiter *waiter,
                                 struct share_update *update);

/* A session ends: all that its member holds is released.  `waiter` may be NULL.
 * The deliveries count, or a consumer that is killed by what it gets would get
 * it for ever (KAFKA-19972). */
void share_partition_release(struct share_partition *p, struct slice member,
                             struct share_waiter *waiter,
                             struct share_update *update);

/* ---- writes, time, the log ------------------------------------------------*/

enum share_write_result {
    SHARE_WRITTEN,
    SHARE_REFUSED,  /* certainly not written, and never will be */
    SHARE_IN_DOUBT, /* may be written: to be sent again */
    SHARE_FENCED,   /* there is a newer leader, or no such group or topic */
};

/* What the coordinator's error means.  A lost answer is any network error. */
enum share_write_result share_write_result_of(enum err err);

/* What became of write `id`.  `err` is for the waiters if it was not written.
 * Late and repeated news are harmless. */
void share_partition_written(struct share_partition *p, uint64_t id,
                             enum err err, int64_t now_ms,
                             struct share_update *update);

/* When share_partition_tick() is due, monotonic; INT64_MAX: never.  The shell
 * keeps its partitions in a heap by it: a tick touches those that are due. */
int64_t share_partition_next_deadline(const struct share_partition *p);
/* Locks time out, a bounded number per call; a write in doubt goes again. */
void share_partition_tick(struct share_partition *p, int64_t now_ms,
                          struct share_update *update);

/* The log begins at this offset now. */
void share_partition_log_start(struct share_partition *p, int64_t log_start,
                               struct share_update *update);

/* ---- looking inside ------------------------------------------------------ */

struct share_partition_stats {
    int64_t start;             /* SPSO */
    int64_t end;               /* SPEO, exclusive */
    int64_t in_flight;         /* of the window, without gaps of the log */
    int64_t delivery_complete; /* of the window */
    uint32_t runs;
    uint32_t members; /* that hold something */
};

void share_partition_stats(const struct share_partition *p,
                           struct share_partition_stats *stats);
/* State of one offset of the window, with the member that holds it or null.
 * False: not in the window. */
bool share_partition_look(const struct share_partition *p, int64_t offset,
                          struct share_batch *alike, struct slice *member);
/* Aborts if an invariant is broken.  Slow; for tests and simulators. */
void share_partition_check(const struct share_partition *p);
/* The window as text, a line per run. */
void share_partition_dump(const struct share_partition *p, struct buf *out);

#endif
