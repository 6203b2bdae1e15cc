/* Sets of partitions: what a member has, shall have, or shall give up.
 *
 * A set is an array that rises by topic id and partition and holds nothing
 * twice, so that each operation is one walk along two arrays. */
#ifndef BROKER_COORD_CONSUMER_PARTS_H
#define BROKER_COORD_CONSUMER_PARTS_H

#include "base/arena.h"
#include "base/uuid.h"

struct part {
    struct uuid topic;
    int32_t partition;
    /* Since which member epoch its owner has it (KIP-1251); 0 in sets that say
     * nothing about it.  No operation compares it. */
    int32_t epoch;
};

struct parts {
    struct part *items; /* whose they are says who holds the set */
    uint32_t len;
};

#define PARTS_EMPTY ((struct parts){NULL, 0})

/* By topic id, then partition. */
int part_cmp(const struct part *a, const struct part *b);

/* Makes a set of any items, in place. */
struct parts parts_of(struct part *items, uint32_t len);
/* NULL if it is not there. */
const struct part *parts_find(struct parts set, struct uuid topic,
                              int32_t partition);
bool parts_eq(struct parts a, struct parts b);
/* The same, epochs included. */
bool parts_same(struct parts a, struct parts b);
/* Every one of `subset` is in `set`. */
bool parts_contain(struct parts set, struct parts subset);
bool parts_overlap(struct parts a, struct parts b);

/* Results are in the arena and have the epochs of `a`. */
struct parts parts_and(struct arena *arena, struct parts a, struct parts b);
struct parts parts_minus(struct arena *arena, struct parts a, struct parts b);
/* Of sets that have nothing in common; each with its epochs. */
struct parts parts_join(struct arena *arena, struct parts a, struct parts b);

/* A copy to be freed by parts_free(). */
struct parts parts_dup(struct parts set);
void parts_free(struct parts *set);

/* Walks over a set topic by topic: those from *at on that have one topic.
 * Returns how many, 0 at the end. */
uint32_t parts_run(struct parts set, uint32_t at);
/* How many topics it has. */
uint32_t parts_topics(struct parts set);

#endif
