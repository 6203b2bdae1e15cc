/* Sets of tasks: what a member of a streams group has, shall have, or shall
 * give up.  A task is a partition number of a subtopology.
 *
 * A set is an array that rises by subtopology and partition and holds nothing
 * twice, so that each operation is one walk along two arrays.  What a
 * subtopology is called belongs to somebody else: the request, the record, or
 * the group. */
#ifndef BROKER_COORD_STREAMS_TASKS_H
#define BROKER_COORD_STREAMS_TASKS_H

#include "base/arena.h"

struct task {
    struct slice sub; /* subtopology id, borrowed */
    int32_t partition;
    /* Since which member epoch an active task is its owner's (KIP-1071, as
     * KIP-1251); else 0.  No operation compares it but tasks_same(). */
    int32_t epoch;
};

struct tasks {
    struct task *items; /* whose they are says who holds the set */
    uint32_t len;
};

#define TASKS_EMPTY ((struct tasks){NULL, 0})

enum task_kind {
    TASK_ACTIVE,  /* processes records */
    TASK_STANDBY, /* keeps a copy of the state */
    TASK_WARMUP,  /* catches up with the state, to be active later */
    TASK_KINDS,
};

/* Tasks of all kinds. */
struct tuple {
    struct tasks of[TASK_KINDS];
};

/* By subtopology, then partition. */
int task_cmp(const struct task *a, const struct task *b);

/* Makes a set of any items, in place. */
struct tasks tasks_of(struct task *items, uint32_t len);
/* NULL if it is not there. */
const struct task *tasks_find(struct tasks set, struct slice sub,
                              int32_t partition);
bool tasks_eq(struct tasks a, struct tasks b);
/* The same, epochs included. */
bool tasks_same(struct tasks a, struct tasks b);
/* Every one of `subset` is in `set`. */
bool tasks_contain(struct tasks set, struct tasks subset);
bool tasks_overlap(struct tasks a, struct tasks b);

/* Results are in the arena and have the epochs of `a`. */
struct tasks tasks_and(struct arena *arena, struct tasks a, struct tasks b);
struct tasks tasks_minus(struct arena *arena, struct tasks a, struct tasks b);
/* Of sets that have nothing in common; each with its epochs. */
struct tasks tasks_join(struct arena *arena, struct tasks a, struct tasks b);

/* A copy to be freed by tasks_free(); the names stay borrowed. */
struct tasks tasks_dup(struct tasks set);
void tasks_free(struct tasks *set);

/* Walks over a set by subtopology: those from *at on that have one.  Returns
 * how many, 0 at the end. */
uint32_t tasks_run(struct tasks set, uint32_t at);
/* How many subtopologies it has. */
uint32_t tasks_subs(struct tasks set);

/* ---- all kinds at once ---------------------------------------------------*/

bool tuple_is_empty(const struct tuple *t);
uint32_t tuple_len(const struct tuple *t);
bool tuple_eq(const struct tuple *a, const struct tuple *b);
bool tuple_same(const struct tuple *a, const struct tuple *b);
bool tuple_contain(const struct tuple *set, const struct tuple *subset);
bool tuple_overlap(const struct tuple *a, const struct tuple *b);
struct tuple tuple_and(struct arena *arena, const struct tuple *a,
                       const struct tuple *b);
struct tuple tuple_minus(struct arena *arena, const struct tuple *a,
                         const struct tuple *b);
struct tuple tuple_join(struct arena *arena, const struct tuple *a,
                        const struct tuple *b);
struct tuple tuple_dup(const struct tuple *t);
void tuple_free(struct tuple *t);

#endif
