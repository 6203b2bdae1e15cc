/* A world in memory, for tests of what touches files: virtual time, one loop,
 * a disk that can be full, refuse, tear writes, and lose what was not synced.
 * No network.
 *
 * Nothing happens by itself: timers, tasks and works wait for env_mem_run().
 * One seed gives one history.
 *
 * A crash in a test:
 *     env_mem_freeze(env);       the disk takes nothing more
 *     ... free the objects that would have died with the process ...
 *     env_mem_crash(env, kind);  what the next process finds
 *
 * The disk, what a power loss leaves of it, and its faults are those of
 * tests/sim/disk.h.  A test that passes under ENV_MEM_POWER and ENV_MEM_WORST
 * has asked for every sync it depends on. */
#ifndef TESTS_SIM_ENV_MEM_H
#define TESTS_SIM_ENV_MEM_H

#include "base/env.h"
#include "tests/sim/disk.h"

struct env *env_mem_new(uint64_t seed);
void env_mem_free(struct env *env);

/* Runs what is due, and what that starts, until nothing is. */
void env_mem_run(struct env *env);
/* Moves the clocks, then runs. */
void env_mem_advance(struct env *env, int64_t ms);
bool env_mem_idle(const struct env *env);

enum env_mem_crash {
    ENV_MEM_KILL = DISK_KILL,
    ENV_MEM_POWER = DISK_POWER,
    ENV_MEM_WORST = DISK_WORST,
};
void env_mem_freeze(struct env *env);
/* Files still open are dead, see tests/sim/disk.h. */
void env_mem_crash(struct env *env, enum env_mem_crash kind);

/* Set by tests; a crash clears them. */
struct disk_faults *env_mem_faults(struct env *env);
/* Calls so far. */
const struct disk_counts *env_mem_counts(const struct env *env);
/* Files open now. */
int env_mem_open_files(const struct env *env);

/* Whole contents, for looking at and for damaging files; the buf stays the
 * world's.  NULL if there is no such file. */
struct buf *env_mem_file(struct env *env, const char *path);

#endif
