/* Leader side of one partition: follower progress, in-sync replicas (ISR), high
 * watermark.
 *
 * Pure state machine: time comes with the event, everything to do comes out in
 * the update.  The shard that owns the partition calls it.
 *
 * Happy path: our log grows (LEADER_APPENDED), followers fetch from their ends
 * (LEADER_FETCHED), the smallest end among the ISR becomes the high watermark,
 * and the shell answers producers and wakes consumers.
 *
 * A follower that has everything stays caught up for as long as nothing is
 * appended, so an idle partition needs no ticks; a follower that stopped
 * fetching altogether is reported once (LEADER_FOLLOWER_SILENT).
 *
 * A follower outside of the ISR that keeps up holds the high watermark as well:
 * it may join only when it has everything below it, which under steady appends
 * would else always be one round trip away.
 *
 * ISR changes are proposals to the controller, one in flight; until its answer
 * is known the larger of the two sets counts (KIP-497), because the controller
 * may already have accepted it and elect from it.
 *
 * Offsets are exclusive ends: end_offset 5 means records 0..4 are present. */
#ifndef BROKER_REPLICA_LEADER_H
#define BROKER_REPLICA_LEADER_H

#include "controller/replicas_max.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum { LEADER_REPLICAS_MAX = PARTITION_REPLICAS_MAX };

/* Bit i set means "replica number i of the assignment is a member". */
typedef uint16_t replica_set;

static_assert(LEADER_REPLICAS_MAX <= 8 * sizeof(replica_set),
              "each replica has a bit");

struct leader_follower {
    int64_t end_offset;   /* what it last told us it has; -1 unknown */
    int64_t start_offset; /* and where its log begins; -1 unknown */
    int64_t caught_up_ms; /* last time it had everything we had */
    int64_t fetch_ms;     /* a fetch, and what we had then: a follower that */
    int64_t fetch_end;    /* now has fetch_end was caught up at fetch_ms;
                             INT64_MAX: the next fetch is the first */
    bool eligible;        /* unfenced, not shutting down: may join the ISR */
    bool silent;          /* reported silent, has not fetched since */
    uint64_t session;     /* by which its last fetch came, 0 none */
    uint32_t order;       /* of that session among the follower's */
};

struct leader {
    int32_t epoch;
    int64_t epoch_start_offset; /* our log's end when this epoch began, whether
                                   all of it was on disk or not */
    int64_t lag_max_ms;         /* replica.lag.time.max.ms */
    int64_t retry_ms;           /* no proposal before this */
    int64_t high_watermark;     /* Invariant: never decreases. */
    int16_t min_isr;            /* effective: at most the replica count */
    uint8_t self;               /* our number in followers[] */
    uint8_t replica_count;
    bool in_flight;           /* a proposal awaits its answer */
    replica_set isr;          /* committed by the controller */
    replica_set isr_proposed; /* equal to isr when nothing is in flight */
    replica_set isr_doubted;  /* of proposals that were refused and may be
                                 accepted even so: they count until the
                                 controller has accepted another one */
    struct leader_follower followers[LEADER_REPLICAS_MAX];
};

enum leader_event_type {
    LEADER_APPENDED,        /* .offset: our own (counted) log end; a lower one
                               than before says nothing */
    LEADER_FETCHED,         /* follower .replica has everything < .offset; it
                               fetches by .session.  It counts its sessions up
                               (.order, modulo 2^32): what an older one says is
                               out of date */
    LEADER_ISR_COMMITTED,   /* the controller's ISR is now .isr */
    LEADER_ISR_REFUSED,     /* the proposal failed; the ISR is what it was.
                               .flag: but it was sent more than once, and a copy
                               may yet arrive and be accepted */
    LEADER_ELIGIBILITY,     /* .replica may (.flag) or may not join the ISR */
    LEADER_FOLLOWER_SILENT, /* .replica has not fetched by .session for
                               lag_max_ms */
    LEADER_FOLLOWER_ANEW,   /* .replica's broker registered again: what it had
                               may be lost (KIP-903) */
    LEADER_MIN_ISR,         /* .offset: the new effective min.insync.replicas */
    LEADER_TICK,            /* only time has passed */
};

struct leader_event {
    enum leader_event_type type;
    int64_t now_ms;
    int64_t offset;
    int replica;
    replica_set isr;
    bool flag;
    uint64_t session;
    uint32_t order;
};

enum {
    LEADER_UPDATE_HIGH_WATERMARK = 1, /* it moved: answer, wake */
    LEADER_UPDATE_PROPOSE_ISR = 2,    /* send AlterPartition(isr_proposed) */
    LEADER_UPDATE_WATCH = 4, /* an ISR member lags or a proposal must be
                                retried: call with LEADER_TICK now and then */
};

struct leader_update {
    unsigned flags;
    int64_t high_watermark;
    replica_set isr_proposed;
};

static inline bool replica_in(replica_set set, int i)
{
    return (set >> i & 1) != 0;
}

static inline int replica_set_size(replica_set set)
{
    return __builtin_popcount(set);
}

/* `isr` contains `self`.  Of our own log, which ends at log_end, what is below
 * end_offset counts.  ISR members get the grace of now_ms: they have lag_max_ms
 * to make their first fetch in this epoch. */
void leader_init(struct leader *l, int32_t epoch, int self, int replica_count,
                 replica_set isr, int64_t log_end, int64_t end_offset,
                 int64_t high_watermark, int min_isr, int64_t lag_max_ms,
                 int64_t now_ms);

void leader_step(struct leader *l, const struct leader_event *event,
                 struct leader_update *update);

/* A replica that counts for the high watermark has lagged, or been silent, for
 * longer than patience_ms: nothing is committed before it comes back or the
 * controller takes it out of the ISR. */
bool leader_stands_still(const struct leader *l, int64_t now_ms,
                         int64_t patience_ms);

/* The in-sync follower that has most and may lead; -1 if there is none. */
int leader_successor(const struct leader *l);

/* Aborts if `l` is in a state no sequence of events may reach. */
void leader_check(const struct leader *l);

#endif
