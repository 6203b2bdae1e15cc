/* Requests about groups and transactions that name something more than once.
 *
 * A group's members and offsets, and a transaction's partitions, are far larger
 * than its name, so answering each mention would multiply them.  Instead
 *   - a group is described or deleted once, where it is first named
 *     (DescribeGroups, ConsumerGroupDescribe, ShareGroupDescribe,
 *     StreamsGroupDescribe; DeleteGroups, as in Kafka), and so is a
 *     transactional id (DescribeTransactions)
 *   - all that a group has is told once (OffsetFetch and
 *     DescribeShareGroupOffsets without topics)
 *   - a partition's offset is told or deleted once (OffsetFetch, OffsetDelete)
 *   - a partition is committed once: of several offsets the last one, as if
 *     they came one after another (OffsetCommit, TxnOffsetCommit)
 *   - what is left with nothing to say of is left out.
 * Clients name things twice, if ever, where a list of their user's does, and
 * look up in the answer what they want to know; so no mention is refused.
 *
 * N mentions cost N log N, whatever their names; scratch memory is a small
 * multiple of the request's. */
#ifndef BROKER_ONCE_H
#define BROKER_ONCE_H

#include "base/slice.h"

/* Where a field is in the items of an array. */
struct once_field {
    size_t item_bytes;
    size_t at;
};

#define ONCE_FIELD(type, member)                                               \
    ((struct once_field){sizeof(type), offsetof(type, member)})

/* For each item the index of the first with the same name, a slice.  To be
 * freed by the caller. */
int32_t *once_firsts(const void *items, int32_t len, struct once_field name);
/* Keeps the first item of each name; how many these are. */
int32_t once_names(void *items, int32_t len, struct once_field name);

/* One mention of a topic. */
struct once_topic {
    int32_t scope; /* mentions of different scopes have nothing in common */
    struct slice name;
    void *partitions;
    int32_t *partitions_len;
    bool emptied; /* out: all its partitions are named elsewhere */
};

enum once_keep { ONCE_FIRST, ONCE_LAST };

/* Keeps one mention of each partition; `index` is an int32_t. */
void once_partitions(struct once_topic *topics, int32_t len,
                     struct once_field index, enum once_keep keep);

#endif
