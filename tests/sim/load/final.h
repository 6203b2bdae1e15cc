/* The final read: what was acknowledged of topics and configs is there, every
 * partition of every topic from its beginning to its end, every group's
 * committed offsets.  One after the other, each asked for again until it is
 * complete; the owner sets the time limit.
 *
 * Thread: the loop's. */
#ifndef TESTS_SIM_LOAD_FINAL_H
#define TESTS_SIM_LOAD_FINAL_H

#include "tests/sim/load/admin.h"
#include "tests/sim/load/reader.h"

struct load_final;

struct load_final_options {
    const struct load_admin *admin;
    const char *stable_prefix;
    const char *churn_prefix;
    int reader; /* number in the history */
    const char *const *groups;
    size_t groups_len;
};

/* done is called once, from the loop. */
struct load_final *load_final_new(struct env *env, uint64_t seed,
                                  const struct load_client_options *client,
                                  struct history *history,
                                  const struct load_final_options *options,
                                  void (*done)(void *arg), void *arg);
void load_final_free(struct load_final *f);
/* Violations for what is missing. */
void load_final_complain(struct load_final *f);

#endif
