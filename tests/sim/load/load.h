/* The workload: all actors of a run on one loop, and the history of what they
 * saw.  It needs base/env.h and nothing else of the world, so it runs in the
 * simulator and against real brokers alike; everything it does follows from
 * its seed and from the answers it is given.
 *
 *     load_start(l)           topics are made, everybody begins
 *     ...                     progress: history_counts(load_history(l))
 *     load_stop_writing(l)    no new batches, changes, members
 *     load_is_quiet(l)        within load_quiet_bound_ms() at the latest
 *     load_final_read(l, ...) everything from beginning to end, by fresh eyes
 *     done(arg)               history_judge() has been called
 *     load_final_give_up(l)   if done does not come in time
 *
 * Thread: the loop's. */
#ifndef TESTS_SIM_LOAD_LOAD_H
#define TESTS_SIM_LOAD_LOAD_H

#include "tests/sim/load/client.h"
#include "tests/sim/load/history.h"
#include "tests/sim/load/options.h"
#include "tests/sim/load/share_history.h"
#include "tests/sim/load/txn_history.h"

struct load;

/* `bootstrap` is copied, its hosts are not. */
struct load *load_new(struct env *env, uint64_t seed,
                      const struct load_options *options,
                      const struct load_address *bootstrap,
                      size_t bootstrap_len);
/* Not from inside a callback of the workload. */
void load_free(struct load *l);

struct history *load_history(struct load *l);

void load_start(struct load *l);
/* The share group has a start everywhere, if anybody is to wait for that. */
bool load_has_begun(const struct load *l);
/* No new changes of topics and configs; records go on. */
void load_stop_changes(struct load *l);
void load_stop_writing(struct load *l);
bool load_is_quiet(const struct load *l);
/* After load_stop_writing(), whatever the cluster does. */
int64_t load_quiet_bound_ms(const struct load *l);
/* It is not quiet though it should be: says what is known of why. */
void load_complain(struct load *l);

/* Readers stop; then metadata, configs, every partition and every committed
 * offset are read, over and over until all is there. */
void load_final_read(struct load *l, void (*done)(void *arg), void *arg);
/* The final read is taking too long: what is missing becomes a violation
 * (metadata, read-back), what was read is judged, and done is not called any
 * more. */
void load_final_give_up(struct load *l);

/* For telling whether a healed cluster makes progress: all only rise. */
struct load_progress {
    uint64_t acked; /* records */
    uint64_t read;
    uint64_t committed;
    uint64_t admin;
};
struct load_progress load_progress(const struct load *l);
struct txn_history_counts load_transactions(const struct load *l);
struct share_history_counts load_shares(const struct load *l);

#endif
