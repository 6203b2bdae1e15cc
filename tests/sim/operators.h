/* What people do to a cluster that does not go on by itself, as the log lines
 * tell them. */
#ifndef TESTS_SIM_OPERATORS_H
#define TESTS_SIM_OPERATORS_H

#include "tests/sim/node.h"

/* The only replica in sync that finds a bad batch behind its recovery point and
 * whole ones after it cannot tell a power loss, which takes pages in any order,
 * from damage to what was acknowledged, and does not lead.  An operator, who
 * knows that all nodes lost their power, takes the .unsynced.damaged files away
 * and restarts the node.  With leat.durability=fsync nothing acknowledged may
 * be lost by that.  True: there was such a node. */
bool operators_help(struct node *const *nodes, int nodes_len);

/* A node that goes on without one of its log directories is restarted, unless
 * its disk is dead still. */
void operators_restore_dirs(struct node *n);

#endif
