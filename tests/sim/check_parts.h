/* Between the files that look at partitions: what each keeps of a replica from
 * one look to the next.  All zero: not looked at yet. */
#ifndef TESTS_SIM_CHECK_PARTS_H
#define TESTS_SIM_CHECK_PARTS_H

#include "broker/replica/partition.h"
#include "controller/image.h"
#include "tests/sim/check.h"

/* One replica of one partition, in one process. */
struct look {
    const struct check_options *options;
    const char *name; /* TOPIC-PARTITION */
    const struct node *node;
    struct partition *partition;
    const int64_t
        *broker_epochs; /* as the shard knows them, by node; -1 none */
};

/* ---- check_disk.c -------------------------------------------------------- */

struct promises {
    const struct log *log; /* the one that was looked at; NULL none */
    int64_t synced;        /* log_synced_offset() that was found to hold */
    int64_t syncs;         /* of the disk, */
    uint64_t stored;       /* and writes of the store of recovery points */
    int64_t end;           /* of the log */
    int64_t fetch_offset;
    int64_t own_end; /* as leader of `epoch` counts it; -1 none */
    int32_t epoch;
    int64_t high_watermark;
    const struct topic_settings *settings;
    /* In the segment `base` everything before `position` is below `offset`. */
    int64_t base;
    int64_t offset;
    size_t position;
};

void check_promises(const struct look *look, struct promises *q);

/* ---- check_insync.c ------------------------------------------------------ */

struct insync {
    bool leads;
    int32_t epoch;
    int32_t partition_epoch;
    int16_t min_isr;
    replica_set isr;
    replica_set proposed;
    bool in_flight;
    bool gave_up; /* its last proposal, in this partition epoch */
    int64_t high_watermark;
    int32_t brokers[LEADER_REPLICAS_MAX]; /* by number */
    int64_t broker_epochs[LEADER_REPLICAS_MAX];
    int64_t ends[LEADER_REPLICAS_MAX];
    uint64_t sessions[LEADER_REPLICAS_MAX];
    /* As follower. */
    const struct fetcher *fetcher;
    uint64_t fetch_seq;
    bool will_ask; /* what it asked last holds no more */
    int64_t end;
};

void check_insync(const struct look *look, struct insync *q,
                  const struct image *newest);

#endif
