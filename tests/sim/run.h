/* One run of one seed: a cluster, its clients and its faults, from the first
 * start to the verdict. */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include "tests/sim/plan.h"

struct run_options {
    uint64_t seed;
    bool print; /* the whole trace to standard output */
    int tail;   /* if something is wrong: print so many last lines of it */
    const bool *without; /* faults left out, by number; or NULL */
    const char *mute;    /* a checker that is switched off; or NULL */
};

struct run_result {
    bool finished;    /* false: the process died before it could say */
    char checker[32]; /* "": nothing is wrong */
    char sentence[640];
    uint64_t hash;
    int64_t steps;
    int64_t simulated_us;
    int64_t cpu_us;
    uint64_t acked, read, committed;
    int faults;
};

/* Once per operating system process: what the run leaves behind is not freed.
 */
void run_seed(const struct run_options *options, struct run_result *result);

#endif
