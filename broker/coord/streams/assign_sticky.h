/* The assignor "sticky": who shall have which task (KIP-1071).
 *
 * A pure function of its input, with the rules of Kafka's StickyTaskAssignor:
 *
 *   1. an active task stays with its member while that has less than its share;
 *   2. else it goes to a member that had it as standby, on the same condition;
 *   3. what is left goes, subtopology by subtopology, to the process with the
 *      least tasks per member, and there to the member with the least.
 *   Then each task with state gets its standbys, on other processes than the
 *   active one and than each other: first where it was active or standby and
 *   is within its share, then where there is least to do.
 *
 * Warm-ups are given to nobody (as in Kafka 4.3).  Each task is active in
 * exactly one member if there is any.  Ties go to what comes first by id, so
 * the result does not depend on the order in which members are listed.
 *
 * Time: O(T log P + M log M), with T tasks (standbys included), P processes and
 * M members. */
#ifndef BROKER_COORD_STREAMS_ASSIGN_STICKY_H
#define BROKER_COORD_STREAMS_ASSIGN_STICKY_H

#include "broker/coord/streams/tasks.h"

struct sticky_sub {
    struct slice id;
    int32_t tasks; /* its partition numbers: 0 to tasks - 1 */
    bool stateful; /* has changelogs, so standbys make sense */
};

struct sticky_member {
    struct slice id;
    struct slice process_id; /* members of one share a directory of state */
    /* Its last target.  It may name what no longer exists. */
    struct tuple owned;
};

struct sticky_input {
    const struct sticky_sub *subs; /* by rising id */
    uint32_t subs_len;
    const struct sticky_member *members;
    uint32_t members_len;
    int32_t standbys; /* num.standby.replicas */
};

/* out[i] is what members[i] shall have, in the arena. */
void streams_assign_sticky(const struct sticky_input *input,
                           struct arena *arena, struct tuple *out);

#endif
