/* Carries a plan's faults out, and mends everything at the end.
 *
 * A fault is skipped, with a line in the trace, if it would take more than the
 * cluster promises to survive: a power loss without leat.durability=fsync, or
 * an emptied disk, is only survived while all others have everything. */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "tests/sim/check.h"
#include "tests/sim/plan.h"

struct faults;

struct faults_options {
    struct world *world;
    const struct plan *plan;
    struct node **nodes; /* room for PLAN_NODES_MAX; `add` appends */
    int *nodes_len;
    struct check *check;
    const bool *without; /* by number of the fault: left out; or NULL */
};

struct faults *faults_new(const struct faults_options *options);
/* From now on they happen. */
void faults_begin(struct faults *f);
/* Something happened that an ambush may wait for. */
void faults_moment(struct faults *f, enum moment moment, struct node *n);
/* None begins any more, all end at once, every node runs. */
void faults_end(struct faults *f);
/* Baseline of the links between all hosts; call after hosts were made. */
void faults_set_links(struct faults *f);

#endif
