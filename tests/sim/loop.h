/* Between loop.c and net.c: what a loop is. */
#ifndef TESTS_SIM_LOOP_H
#define TESTS_SIM_LOOP_H

#include "tests/sim/world.h"

struct env {
    struct world *world;
    struct process *process;
    struct list link; /* process->loops */
    char name[16];
    bool running; /* loop_start() was called and loop_stop() not */
    bool stalled;
    struct event turn;
    int64_t idle_at_us; /* the turn under way or the last one ends then */
    int64_t now_ms;     /* the host's, read once a turn */
    struct heap timers;
    struct list tasks;
    struct prng random;

    /* net.c's */
    struct list conns;
    struct list listeners;
    struct list input; /* connections with something to take in */
    struct list dirty; /* with something to send */
    struct list dead;
};

/* There is something to do: a turn follows soon. */
void loop_wake(struct env *loop);
/* Its thread stands still, in a call that blocks, and goes on. */
void loop_stall(struct env *loop);
void loop_go_on(struct env *loop);
/* Code of the process runs between these two. */
void loop_enter(struct env *loop);
void loop_leave(struct env *loop);

#endif
