/* The assignor "simple" of share groups (KIP-932, "The SimpleAssignor"): which
 * member consumes from which partitions.  A pure function.
 *
 * Every partition of a topic that somebody subscribes to has a member, every
 * member that subscribes to a partition has one, and loads differ by one at
 * most.  With fewer members than partitions each partition has one member; with
 * more, each member has one partition, and they are shared evenly.  What a
 * member has it keeps where that agrees with the rest.
 *
 * If all members subscribe to the same topics, their partitions are shared out
 * as one lot, else each topic by itself.  Cost: linear in partitions, members
 * and what is assigned, if all subscribe to the same; else in subscriptions
 * times a binary search, too. */
#ifndef BROKER_COORD_SHARE_ASSIGNOR_H
#define BROKER_COORD_SHARE_ASSIGNOR_H

#include "base/arena.h"

#include <stdint.h>

struct share_assigned {
    uint32_t topic; /* index */
    int32_t partition;
};

struct share_assign_member {
    const uint32_t *topics; /* indices, rising */
    uint32_t topics_len;
    /* What it has, rising by topic and partition.  May name partitions that
     * are not there or that it does not subscribe to. */
    const struct share_assigned *has;
    uint32_t has_len;
    /* ---- the result ------------------------------------------------------*/
    struct share_assigned *gets; /* in the arena; rising */
    uint32_t gets_len;
};

/* partitions[i]: how many topic i has; 0: it does not exist.  The order of
 * members breaks ties, so the caller sorts them by id. */
void share_assign(struct share_assign_member *members, uint32_t members_len,
                  const int32_t *partitions, uint32_t topics_len,
                  struct arena *arena);

#endif
