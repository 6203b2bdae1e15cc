/* A cluster under faults: raft_node, its store and its messages as in
 * production, on virtual time, disks that lose what was not synced, and a
 * network that loses, repeats, delays and cuts.  After every event the checkers
 * look:
 *
 *   election safety      one leader for each term
 *   log matching         equal index and term: equal logs up to there
 *   leader completeness  a leader has everything that was ever committed
 *   state machine safety nobody applies anything else at an index, or skips one
 *
 * Then everything heals, and within some virtual seconds there must be a leader
 * that commits, and all members apply it. */
#ifndef TESTS_RAFT_SIM_H
#define TESTS_RAFT_SIM_H

#include "base/planted.h"

#include <stdint.h>

struct sim_options {
    uint64_t seed;
    enum planted planted; /* a bug to be found */
    int64_t fault_ms;
};

struct sim_result {
    char *violation; /* NULL: none; freed by the caller */
    uint64_t committed;
    uint64_t terms;
    uint64_t crashes;
    uint64_t images;
    uint64_t changes;
    uint64_t hash; /* of everything applied: two runs of a seed agree */
};

void sim_run(const struct sim_options *options, struct sim_result *result);

#endif
