/* Looking inside: what must hold in every state of the cluster, checked after
 * each turn of a loop on what that turn may have changed.
 *
 *   election-safety      two leaders of one Raft term (paper figure 3)
 *   log-matching         entries of one index and term that differ
 *   leader-completeness  a Raft leader without a committed entry
 *   state-machine        one index committed with two contents
 *   commit-back          a commit index went back
 *   partition-lost       a partition's leader without a committed record
 *   partition-differs    two replicas differ below the high watermark
 *   partition-truncated  a replica dropped committed records
 *   watermark-back       a leader's high watermark went back
 *   watermark-above-isr  it is above what an in-sync replica has
 *   two-leaders          two replicas lead a partition in one leader epoch
 *   metadata-differs     one partition epoch, two states; or two images of one
 *                        index at the end
 *   not-healed           a partition without leader or out of sync at the end
 *
 * Violations go to the history, which keeps the first. */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "tests/sim/load/history.h"
#include "tests/sim/node.h"

struct check;

struct check_options {
    struct history *history;
    struct node *const *nodes;
    const int *nodes_len;
    /* Committed records may be lost: only what holds in spite of that. */
    bool loss_possible;
};

struct check *check_new(const struct check_options *options);
/* After a turn; the loop's process runs. */
void check_turn(struct check *c, struct env *loop);
/* NULL if all partitions have leaders and everybody is in sync; else a sentence
 * about what is missing, which lives until the next call.  still: nobody
 * writes, so everybody must have the same records and metadata, too. */
const char *check_unhealed(struct check *c, bool still);

/* check_raft.c, check_partitions.c */
struct check_raft;
struct check_partitions;
struct check_raft *check_raft_new(const struct check_options *options);
void check_raft_turn(struct check_raft *c, struct node *n);
struct check_partitions *
check_partitions_new(const struct check_options *options);
void check_partitions_turn(struct check_partitions *c, struct node *n,
                           struct shard *s);
const char *check_partitions_unhealed(struct check_partitions *c, bool still);

#endif
