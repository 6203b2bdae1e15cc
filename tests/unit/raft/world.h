/* Virtual time: what raft/ needs of base/env.h, for several hosts in one
 * process.  Everything that happens is ordered by time, then by the order in
 * which it was asked for; one seed decides all else. */
#ifndef TESTS_RAFT_WORLD_H
#define TESTS_RAFT_WORLD_H

#include "base/env.h"
#include "base/prng.h"

struct world {
    int64_t now_ms;
    struct prng prng;
    struct heap events; /* struct world_event */
    struct list tasks;  /* of all hosts, posted and not yet run */
    /* Milliseconds a disk takes: random up to this, sometimes ten times it. */
    int64_t disk_max_ms;
};

/* One host's loop. */
struct env {
    struct world *world;
    struct list works; /* started and not done, oldest first */
};

/* Happens at a time; fn frees it. */
struct world_event {
    struct heap_node node;
    void (*fn)(struct world_event *event);
};

void world_init(struct world *w, uint64_t seed);
void world_free(struct world *w);
void env_init(struct env *env, struct world *w);

void world_at(struct world *w, int64_t delay_ms, struct world_event *event);
/* The next thing that happens; false: nothing will.  Nothing that lies behind
 * until_ms happens, time stops there. */
bool world_next(struct world *w, int64_t until_ms);
/* Runs posted tasks. */
void world_settle(struct world *w);
/* The host dies: of its works some have reached the disk, from one on none;
 * all come back now. */
void env_crash(struct env *env);

static inline uint64_t world_random(struct world *w, uint64_t bound)
{
    return prng_below(&w->prng, bound);
}

/* True once in n times. */
static inline bool world_chance(struct world *w, uint64_t n)
{
    return prng_below(&w->prng, n) == 0;
}

#endif
