/* Idempotent producers of one partition (KIP-98): the last five batches of each
 * producer id, so that a retry is answered with its original offset and a gap
 * in sequence numbers is refused.
 *
 * The state is a function of the log: the leader applies what it appends,
 * followers what they copy, and a restart loads the newest snapshot file and
 * applies the batches behind it.  A snapshot is taken when a segment rolls, so
 * that no more than the active segment is ever read again, and at a clean stop,
 * so that nothing is.
 *
 * Rules, as Apache Kafka's ProducerAppendInfo has them:
 *   - one of the last five batches again: a duplicate, answered as the first
 *   - a lower epoch: INVALID_PRODUCER_EPOCH
 *   - a higher epoch starts at sequence 0, a known epoch goes on at last + 1
 *     (0 behind 2^31 - 1): else OUT_OF_ORDER_SEQUENCE_NUMBER.  That is also the
 *     answer to a duplicate older than five batches.
 *   - an unknown id may start anywhere (KIP-360): what was known of it may have
 *     expired or left with old segments.
 *
 * Transactions: a transactional batch opens one unless its producer has one
 * open, a marker ends it.  With an open transaction a producer neither expires
 * nor writes outside of it (INVALID_TXN_STATE).  What is not decided for sure
 * ends the stable part of the log: open transactions, and ended ones whose
 * marker is not committed yet.  A marker is checked by
 *   - its producer's epoch, as a batch is; the marker of transaction version 2
 *     comes with an epoch of its own, so the known one is too old as well,
 *     unless nothing is open: then it is a retry, and written again
 *   - its coordinator's epoch: lower, TRANSACTION_COORDINATOR_FENCED
 *   - which decision it is, if the coordinator said so (ours do): a copy that
 *     was sent twice, and comes when the producer's next transaction is open
 *     already, is too old.  Before transaction version 2 both have one epoch,
 *     and it would end a transaction that nobody decided.
 *
 * Memory: 160 bytes per id, one block per partition; nothing without ids.
 * 24 bytes more per undecided transaction.
 * Of more than PRODUCERS_MAX ids the longest idle are forgotten, but none with
 * an open transaction: a new one is refused when as many are open.  So there
 * are a few more than PRODUCERS_MAX at most, for as long as those in the way of
 * the others are.
 *
 * Pure, but for load, store and truncated.  One thread. */
#ifndef BROKER_REPLICA_PRODUCERS_H
#define BROKER_REPLICA_PRODUCERS_H

#include "base/env.h"
#include "base/error.h"
#include "proto/record/control.h"

struct producers;
struct log;

enum {
    PRODUCERS_BATCHES = 5, /* remembered per id */
    PRODUCERS_MAX = 1 << 20,
};

struct producers *producers_new(void);
void producers_free(struct producers *p); /* NULL is allowed */

enum producers_verdict {
    PRODUCERS_APPEND,
    PRODUCERS_DUPLICATE, /* answer with *offset and *timestamp, don't append */
    PRODUCERS_REFUSE,    /* *error: OUT_OF_ORDER_SEQUENCE_NUMBER,
                            INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE;
                            KAFKA_STORAGE_ERROR: too many open transactions */
};

/* Leader, before the append.  b->producer_id >= 0.  Of a batch without sequence
 * (a coordinator's) only epoch and transaction are checked.  *offset is the
 * duplicate's base offset, *timestamp its max timestamp. */
enum producers_verdict producers_check(const struct producers *p,
                                       const struct batch *b, int64_t *offset,
                                       int64_t *timestamp, enum err *error);

/* What the log does not say of a marker. */
struct marker_origin {
    int8_t transaction_version; /* KIP-1228 */
    /* Grows with each decision of one life of a coordinator, whose numbers are
     * those of one multiple of MARKER_DECISIONS; 0: not known. */
    int64_t decision;
};
#define MARKER_DECISIONS (UINT64_C(1) << 40)

/* Likewise for a marker: ERR_NONE, INVALID_PRODUCER_EPOCH or
 * TRANSACTION_COORDINATOR_FENCED. */
enum err producers_check_marker(const struct producers *p,
                                const struct control_marker *m,
                                const struct marker_origin *origin);
/* Leader, after the append of a marker.  Kept in memory only: a copy goes to
 * one leader, and what is late enough to meet a later one meets a newer
 * coordinator's epoch, or is as good as lost with its connection. */
void producers_note_decision(struct producers *p, int64_t producer_id,
                             int64_t decision);
/* After the append, on leader and follower, and while recovering; in the order
 * of offsets.  What the log holds is believed, not checked.  Not for control
 * batches. */
void producers_apply(struct producers *p, const struct batch *b,
                     int64_t now_wall_ms);

/* What a marker ended. */
struct producers_ended {
    int64_t first_offset; /* -1: nothing was open */
    /* The transactions that are still open began here or above. */
    int64_t last_stable_offset;
};
/* Likewise for a control batch and the marker in it. */
void producers_apply_marker(struct producers *p, const struct batch *b,
                            const struct control_marker *m, int64_t now_wall_ms,
                            struct producers_ended *ended);

/* Everything below the high watermark is committed.  NULL is allowed. */
void producers_committed(struct producers *p, int64_t high_watermark);
/* Where the first undecided transaction began, -1 if there is none. */
int64_t producers_first_undecided(const struct producers *p);
/* Forgets producers that wrote nothing for expiration_ms and have no open
 * transaction.  Looks at no more than a thousand; true: there may be more. */
bool producers_expire(struct producers *p, int64_t now_wall_ms,
                      int64_t expiration_ms);
size_t producers_count(const struct producers *p); /* NULL: 0 */

/* What a snapshot holds of one id, and what an administrator may see of it. */
struct producer {
    int64_t producer_id;
    int16_t epoch;         /* -1 none */
    int32_t last_sequence; /* of the newest batch, -1 none */
    int64_t last_offset;   /* likewise */
    int32_t offset_delta;  /* last minus first offset of that batch */
    int64_t timestamp;     /* of that batch; under CreateTime not before the
                              time of its append */
    int32_t coordinator_epoch;
    int64_t txn_first_offset; /* of the open transaction, -1 none */
};
/* False: the id is not known. */
bool producers_get(const struct producers *p, int64_t producer_id,
                   struct producer *found);
/* Longest idle first.  Returns the number of the next; start with 0 and end at
 * PRODUCERS_END; NULL has none.  Applying or expiring ends the walk. */
enum { PRODUCERS_END = -1 };
int64_t producers_next(const struct producers *p, int64_t at,
                       struct producer *found);
/* Puts what a snapshot said in the place of what is known of the id, as the
 * youngest.  Times later than now_wall_ms count as now. */
void producers_restore(struct producers *p, const struct producer *from,
                       int64_t now_wall_ms);

/* Takes back everything at and above end_offset.  False when memory can't tell
 * what was before: then *p is spoilt, and the log must be asked. */
bool producers_truncate(struct producers *p, int64_t end_offset);
/* ... and below `offset`, where a snapshot was taken, it never can. */
void producers_set_floor(struct producers *p, int64_t offset);

/* ---- files -----------------------------------------------------------------
 * DIR/<end_offset>.snapshot, state of all batches below that offset; Kafka's
 * format: version i16 = 1, crc u32 (CRC-32C of what follows), count i32, then
 * producer id i64, epoch i16, last sequence i32, last offset i64, offset delta
 * i32, timestamp i64, coordinator epoch i32, open transaction's first offset
 * i64 of each. */

void producers_encode(const struct producers *p, struct buf *out);
/* NULL, and *why a static phrase, unless the bytes are a whole, undamaged
 * snapshot of offset end_offset. */
struct producers *producers_decode(struct slice bytes, int64_t end_offset,
                                   int64_t now_wall_ms, const char **why);

/* Writes the state (NULL: of no producer, which spares reading the log for
 * them) as of end_offset, in the place of what is there.  Keeps the newest one
 * and the newest two that stand at the start of a segment.  Not synced: what a
 * power loss leaves of it is recognised by its CRC and an older one is taken.
 * Page cache only: may be called on a loop. */
enum err producers_store(struct env *env, const struct producers *p,
                         const char *dir, int64_t end_offset);
bool producers_is_stored(struct env *env, const char *dir, int64_t end_offset);
/* Takes a batch of the log into the state: producers_apply(), or what its
 * marker says.  An aborted transaction goes into the log's index.  *p may be
 * NULL. */
void producers_take(struct producers **p, struct log *log,
                    const struct batch *b, struct slice bytes,
                    int64_t now_wall_ms);
/* The state as of the log's end, from the newest usable snapshot between its
 * start and its end, and the log behind that.  Damaged snapshots, and those
 * outside of the log, are deleted.  An older one is taken where batches behind
 * it are needed: for log_aborted_known(), and for transactions that ended by a
 * marker at or above the high watermark, of which a snapshot says nothing.  If
 * much had to be read a snapshot is left for the next time.  *out is NULL when
 * no producer is known.  [helper]: blocks, but reads nothing if the log is
 * empty or such a snapshot stands at its end. */
enum err producers_load(struct env *env, struct log *log,
                        int64_t high_watermark, int64_t now_wall_ms,
                        struct producers **out);
/* After log_truncate() or log_truncate_fully(): brings *p (may be NULL, may
 * become NULL) in line with the shorter log, and deletes snapshots of what it
 * lost.  From memory nearly always; reads the log as producers_load() when a
 * producer is left without any batch whose earlier ones it had.  With an error
 * *stale (false at first) becomes true: nothing may be appended, or said of a
 * producer, before another call has made it false. */
enum err producers_truncated(struct env *env, struct log *log,
                             int64_t high_watermark, int64_t now_wall_ms,
                             struct producers **p, bool *stale);

#endif
