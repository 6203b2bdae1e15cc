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
 * The disk's model of a power loss: directory changes reach the disk in the
 * order they were made, up to some point behind the last env_sync_dir(); of
 * each file everything synced is there, and of later writes nothing, a prefix,
 * single pages, or all.  Hence a test that passes has asked for every sync it
 * depends on. */
#ifndef TESTS_SIM_ENV_MEM_H
#define TESTS_SIM_ENV_MEM_H

#include "base/env.h"

struct env *env_mem_new(uint64_t seed);
void env_mem_free(struct env *env);

/* Runs what is due, and what that starts, until nothing is. */
void env_mem_run(struct env *env);
/* Moves the clocks, then runs. */
void env_mem_advance(struct env *env, int64_t ms);
bool env_mem_idle(const struct env *env);

enum env_mem_crash {
    ENV_MEM_KILL,  /* the process died: the page cache lives */
    ENV_MEM_POWER, /* the machine died */
    ENV_MEM_WORST, /* the machine died, and nothing unsynced had got out */
};
void env_mem_freeze(struct env *env);
void env_mem_crash(struct env *env, enum env_mem_crash kind);

/* What goes wrong, set by tests; zero means nothing does. */
struct env_mem_faults {
    int write_at;    /* the n-th write from now fails, leaving part of itself */
    int sync_at;     /* the n-th sync of a file */
    int truncate_at; /* the n-th truncation */
    int open_at;     /* the n-th open that may create a file */
    int error;       /* with this negative errno; 0: -EIO */
    int64_t capacity_bytes; /* of all files; beyond it -ENOSPC; 0: none */
};
struct env_mem_faults *env_mem_faults(struct env *env);

/* Calls so far. */
struct env_mem_counts {
    int64_t opens, reads, writes, syncs, dir_syncs, others;
};
const struct env_mem_counts *env_mem_counts(const struct env *env);
/* Files open now. */
int env_mem_open_files(const struct env *env);

/* Whole contents, for looking at and for damaging files; the buf stays the
 * world's.  NULL if there is no such file. */
struct buf *env_mem_file(struct env *env, const char *path);

#endif
