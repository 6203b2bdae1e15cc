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
 *   vote-unsynced        a vote was given that is not on disk
 *   ack-unsynced         a Raft leader counts what a follower has not on disk,
 *                        or has otherwise
 *   controller-behind    the active controller decides without what the log has
 *   leader-not-live      a partition's leader is fenced or not in sync
 *   eligible-crashed     a broker that crashed counts as if it had stopped
 *   unfenced-early       a broker was unfenced that does not know its epoch
 *   isr-unasked          an in-sync set that no leader asked for, knowing what
 *                        it replaces and who its members are
 *   not-on-disk          a replica says that something is on disk which is not
 *   torn                 a log was opened with a broken batch
 *   foreign-log          or with that of another topic
 *   below-min-isr        the high watermark moved with too few in sync
 *   joins-behind         a leader proposes a replica that has not everything
 *   epoch-missing        it does not note where its epoch begins
 *   epoch-beyond         epochs outlived the records
 *   outlives-cut         places or producers outlived the records
 *   earlier-life         what a follower had before it registered again counts
 *   isr-forgotten        a leader does not wait for whom it made in sync
 *   old-answer           a follower took an answer that holds no more
 *   watermark-beyond     a high watermark beyond the end of the log
 *   not-healed           a partition without leader or out of sync at the end
 *
 * Violations go to the history, which keeps the first. */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "tests/sim/load/history.h"
#include "tests/sim/node.h"
#include "tests/sim/plan.h"

struct check;

struct check_options {
    struct history *history;
    struct node *const *nodes;
    const int *nodes_len;
    /* Committed records may be lost: only what holds in spite of that. */
    bool loss_possible;
    /* Told of what is worth an ambush. */
    void (*on_moment)(void *arg, enum moment moment, struct node *n);
    void *arg;
};

static inline void check_moment(const struct check_options *options,
                                enum moment moment, const struct node *n)
{
    options->on_moment(options->arg, moment, (struct node *)(uintptr_t)n);
}

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
/* What a leader asked the controller for. */
struct asked {
    int32_t partition_epoch; /* that it knew */
    uint64_t isr;            /* a bit per broker id, modulo 64 */
    int64_t epochs[16];      /* of its members, by broker id; 0 unknown */
};
/* The newest such proposal; NULL: there was none. */
const struct asked *check_partitions_asked(struct check_partitions *c,
                                           struct uuid topic, int32_t partition,
                                           int32_t partition_epoch,
                                           uint64_t isr);
/* Whether the node runs and its replica has lost its disk.  What it asked for
 * in the same turn nobody has seen. */
bool check_partitions_offline(const struct node *n, struct uuid topic,
                              int32_t partition);

/* check_image.c */
struct check_image;
struct check_image *check_image_new(const struct check_options *options,
                                    struct check_partitions *partitions);
void check_image_turn(struct check_image *c, struct node *n);

#endif
