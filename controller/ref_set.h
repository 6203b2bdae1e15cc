/* A set of partitions as 8-byte references: open addressing, half full at most.
 *
 * Its own order means nothing; ref_set_sorted() gives one that only depends on
 * the content.  Not thread-safe. */
#ifndef CONTROLLER_REF_SET_H
#define CONTROLLER_REF_SET_H

#include "base/arena.h"

/* Topic slot and partition, so references sort by topic, then partition. */
typedef uint64_t partition_ref;

static inline partition_ref partition_ref_of(uint32_t slot, int32_t partition)
{
    return (uint64_t)slot << 32 | (uint32_t)partition;
}

static inline uint32_t partition_ref_slot(partition_ref ref)
{
    return (uint32_t)(ref >> 32);
}

static inline int32_t partition_ref_partition(partition_ref ref)
{
    return (int32_t)(uint32_t)ref;
}

struct ref_set {
    partition_ref *table; /* of `cap` places; REF_SET_FREE: empty */
    uint32_t count;
    uint32_t cap; /* power of two or 0 */
};

#define REF_SET_INIT ((struct ref_set){NULL, 0, 0})
#define REF_SET_FREE UINT64_MAX /* no partition is numbered -1 */

void ref_set_free(struct ref_set *s);
bool ref_set_has(const struct ref_set *s, partition_ref ref);
/* Harmless if it is in already. */
void ref_set_add(struct ref_set *s, partition_ref ref);
/* Harmless if it isn't in. */
void ref_set_remove(struct ref_set *s, partition_ref ref);

static inline void ref_set_put(struct ref_set *s, partition_ref ref, bool in)
{
    if (in)
        ref_set_add(s, ref);
    else
        ref_set_remove(s, ref);
}

/* A sorted copy of s->count references in the arena. */
const partition_ref *ref_set_sorted(const struct ref_set *s, struct arena *a);

#endif
