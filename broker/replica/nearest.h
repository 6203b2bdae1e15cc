/* Which replica a consumer should read from (KIP-392): what Kafka's
 * RackAwareReplicaSelector decides.  Pure. */
#ifndef BROKER_REPLICA_NEAREST_H
#define BROKER_REPLICA_NEAREST_H

#include "base/slice.h"

struct nearest_replica {
    int32_t id;
    struct slice rack;
    int64_t end_offset;   /* exclusive */
    int64_t caught_up_ms; /* the later the better */
};

/* The leader if it is in the reader's rack; else of those who are, the one that
 * has most, was caught up last, and has the larger id.  -1: the leader.
 * `replicas` are those besides it that may be read from. */
int32_t nearest_replica(struct slice rack, struct slice leader_rack,
                        const struct nearest_replica *replicas, int len);

#endif
