/* Replication throttles (KIP-73): bytes per second, of all shards together,
 * that a broker sends to, or takes as, replicas that are catching up.
 *
 * Only the replicas that a topic lists are throttled
 * (leader.replication.throttled.replicas and its sibling for followers), and of
 * these only while they are not in sync: what keeps up is counted, never held
 * back. */
#ifndef BROKER_THROTTLE_H
#define BROKER_THROTTLE_H

#include "base/slice.h"

struct partition;
struct shard;

enum throttle_side {
    THROTTLE_LEADER,   /* leader.replication.throttled.* */
    THROTTLE_FOLLOWER, /* follower.replication.throttled.* */
    THROTTLE_SIDES,
};

/* Of one topic, the partitions whose replica on this broker is listed. */
struct throttled {
    bool all;
    int32_t *partitions; /* rising */
    int32_t len;
};

/* "*", or "partition:broker,..." of which those of broker `id` are taken. */
void throttled_parse(struct slice text, int32_t id, struct throttled *out);
void throttled_free(struct throttled *t);
bool throttled_equal(const struct throttled *a, const struct throttled *b);

/* On the shard: whether the partition's replica here is listed. */
bool throttle_lists(const struct partition *p, enum throttle_side side);
/* For how many milliseconds, at most 1000, no more should be sent or taken;
 * 0: go on. */
int32_t throttle_wait_ms(const struct shard *s, enum throttle_side side);
/* Any shard: bytes of listed replicas went by. */
void throttle_count(const struct shard *s, enum throttle_side side,
                    int64_t bytes);

#endif
