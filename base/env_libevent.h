/* Loops for production: what main() needs beyond base/env.h.
 *
 *     struct env *env = env_create();      (main thread)
 *     env_listen(env, ...);                (set-up, before the loop runs)
 *     env_run(env);                        (this thread is now the loop)
 *     env_free(env);
 *
 * Several loops: create each, then give each its own thread that calls
 * env_run().  Until then a loop belongs to the thread that sets it up, which
 * may use everything in env.h on it; afterwards only functions marked "any
 * thread".
 *
 * A program without a loop, such as the command line, may call the functions on
 * files with NULL for env. */
#ifndef BASE_ENV_LIBEVENT_H
#define BASE_ENV_LIBEVENT_H

#include "base/env.h"

/* The first call also prepares the process: SIGPIPE is ignored.  Aborts with a
 * line if the kernel refuses the few descriptors a loop needs. */
struct env *env_create(void);

/* Runs the loop on the calling thread until env_stop().  May be called again
 * afterwards. */
void env_run(struct env *env);

/* Any thread, also before env_run(): the turn under way is finished, then
 * env_run() returns.  Queued bytes are not waited for. */
void env_stop(struct env *env);

/* For a loop that does not run any more: peers see its connections end, and
 * nobody connects.  Nothing is freed, and there are no callbacks. */
void env_hang_up(struct env *env);

/* For a loop that does not run.  Closes its connections and listeners without
 * callbacks, waits for the run() of its unfinished works (their done() is not
 * called), forgets its timers and tasks.  Freeing the last loop of the process
 * ends the helper threads. */
void env_free(struct env *env);

/* Calls fn on the loop for each arrival of the signal (SIGTERM, SIGINT).  Only
 * one loop of a process may do this; lasts until env_free(). */
void env_on_signal(struct env *env, int signo, void (*fn)(void *arg),
                   void *arg);

#endif
