/* Changes of who belongs to the cluster, as faults: controllers begin and cease
 * to vote, brokers leave for good.
 *
 * Each is asked of the active controller, on its own loop and through its own
 * code, as if a request had come; nobody waits for the answer.  A departure
 * goes on step by step:
 *
 *   the node ceases to vote, its replicas move to others, it is stopped, its
 *   registration is taken out, and it never starts again (node.gone)
 *
 * A departure that is not through when the faults end is given up: the node
 * runs again. */
#ifndef TESTS_SIM_MEMBERS_H
#define TESTS_SIM_MEMBERS_H

#include "tests/sim/node.h"
#include "tests/sim/plan.h"

struct members {
    struct node **nodes;
    const int *nodes_len;
    int initial; /* the first so many nodes are in everybody's configuration */
    int replication;
};

/* The node that believes to lead the quorum, or NULL. */
struct node *members_leader(const struct members *m);
/* `times` requests at once, to add or remove a voter each; which ones follows
 * from `chance`. */
void members_add_voters(const struct members *m, uint64_t chance, int times);
void members_remove_voters(const struct members *m, uint64_t chance, int times);

/* Whom to let go: a broker that the others can do without, or NULL.  Somebody
 * stays whom clients begin with, and a controller that new nodes begin with. */
struct node *members_choose_leaver(const struct members *m, uint64_t chance);
/* One step; true when it is gone. */
bool members_leave_on(const struct members *m, struct node *n);

#endif
