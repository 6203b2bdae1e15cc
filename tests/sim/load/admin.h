/* The one administrator: creates, alters and deletes topics, moves replicas,
 * deletes records, one request after another; and remembers what it was told
 * is so.  Whatever had an unknown outcome it no longer vouches for.
 *
 * Topics SPACE"load-N" stay to the end.  Topics SPACE"churn-N" are deleted and
 * created again under the same name.
 *
 * Thread: the loop's. */
#ifndef TESTS_SIM_LOAD_ADMIN_H
#define TESTS_SIM_LOAD_ADMIN_H

#include "tests/sim/load/client.h"
#include "tests/sim/load/history.h"

struct load_admin_options {
    const char *stable_prefix; /* outlives the admin */
    const char *churn_prefix;
    int stable; /* topics */
    int churn;
    int32_t partitions_first; /* of a new topic */
    int32_t partitions_max;
    int16_t replication_factor;
    int64_t interval_ms; /* between requests, on average; 0: creates only */
    bool add_partitions;
    bool alter_configs;
    bool min_insync; /* ... min.insync.replicas among them */
    bool reassign;
    bool elect;
    bool delete_records;
};

struct load_admin;

struct load_admin *load_admin_new(struct env *env, uint64_t seed,
                                  const struct load_client_options *client,
                                  struct history *history,
                                  const struct load_admin_options *options);
void load_admin_free(struct load_admin *a);
void load_admin_start(struct load_admin *a);
/* Nothing new; what is under way is finished. */
void load_admin_stop(struct load_admin *a);
bool load_admin_is_quiet(const struct load_admin *a);
/* Requests that did what they asked for. */
uint64_t load_admin_done(const struct load_admin *a);

/* What this client's metadata lacks of what was acknowledged: a sentence that
 * the caller frees, or NULL. */
char *load_admin_unmet(const struct load_admin *a, const struct load_client *c);
/* The i-th config value that was acknowledged; false behind the last. */
bool load_admin_config(const struct load_admin *a, size_t i, const char **topic,
                       const char **config, const char **value);

#endif
