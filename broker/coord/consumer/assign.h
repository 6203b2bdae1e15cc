/* Assignors: who shall have which partition (KIP-848, "Server Side Assignor").
 *
 * Pure functions of their input.  The result depends on ids, subscriptions and
 * what members had before, not on the order in which members are listed.
 *
 *   uniform   spreads all partitions evenly and moves as few as it can. Members
 *             with one subscription differ by one partition at most, and no
 *             partition moves that need not.  With different subscriptions
 *             partitions go to the least loaded subscribers, and move where
 * that makes two members less uneven. range     gives each subscriber of a
 * topic a range of its partitions, in the order of static members by instance
 * id, then the others by member id.  Topics with equal counts and subscribers
 * are co-partitioned.  What members had before does not matter.
 *
 * Racks do not matter, as in Kafka 4.
 *
 * Time: uniform O(P log P + M log M) for equal subscriptions; else at most 16
 * rounds over all pairs of member and subscribed topic, and O(log M) per moved
 * partition.  Range: O(P + S log M), with S the pairs of member and topic. */
#ifndef BROKER_COORD_CONSUMER_ASSIGN_H
#define BROKER_COORD_CONSUMER_ASSIGN_H

#include "broker/coord/consumer/parts.h"

struct assign_topic {
    struct uuid id;
    int32_t partitions;
};

struct assign_member {
    struct slice id;
    struct slice instance_id; /* null: a dynamic member */
    /* Subscribed topics: rising indexes into assign_input.topics. */
    const uint32_t *topics;
    uint32_t topics_len;
    /* Its last target.  It may name what no longer exists, is not subscribed
     * to, or is another's, too. */
    struct parts owned;
};

struct assign_input {
    const struct assign_topic *topics; /* by rising id */
    uint32_t topics_len;
    const struct assign_member *members;
    uint32_t members_len;
};

/* out[i] is what members[i] shall have, in the arena.  A topic without
 * subscribers is given to nobody. */
typedef void assign_fn(const struct assign_input *input, struct arena *arena,
                       struct parts *out);

assign_fn assign_uniform;
assign_fn assign_range;

/* "uniform", "range"; NULL: there is no such assignor. */
assign_fn *assign_find(struct slice name);

/* ---- for the assignors ---------------------------------------------------*/

/* An assignment in the making.  In the arena of the call. */
struct assign_work {
    const struct assign_input *input;
    struct arena *arena;
    uint32_t *first; /* of each topic: where its partitions begin in `owner`;
                        one more at the end */
    int32_t *owner;  /* of each partition: a member, or -1 */
    uint32_t *load;  /* of each member: how many partitions it owns */
    uint32_t *by_id; /* members by rising id */
    bool equal;      /* all members have one subscription */
};

void assign_begin(struct assign_work *work, const struct assign_input *input,
                  struct arena *arena);
/* Members keep of what they had what still is theirs to have. */
void assign_keep(struct assign_work *work);
void assign_give(struct assign_work *work, uint32_t slot, int32_t member);
bool assign_subscribes(const struct assign_member *member, uint32_t topic);
void assign_end(const struct assign_work *work, struct parts *out);

/* Different subscriptions: assign_uniform_mixed.c. */
void assign_uniform_mixed(struct assign_work *work);

#endif
