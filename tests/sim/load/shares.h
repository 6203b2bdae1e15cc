/* A share group (KIP-932), who produces for it, and the look at what is left
 * in the end; apart from the rest of the workload, on a topic of their own.
 *
 * Members join by ShareGroupHeartbeat, fetch in share sessions from the leaders
 * of what they are assigned, and accept, release, reject or renew what they
 * get, in time or too late, or say nothing at all.  Now and then one leaves, or
 * dies with what it has.
 *
 * Producers begin when the group has a start in every partition, so that there
 * is nothing that it need not see.  In the end members accept everything, until
 * it is stored that the group is done with all of each partition.
 *
 * Thread: the loop's. */
#ifndef TESTS_SIM_LOAD_SHARES_H
#define TESTS_SIM_LOAD_SHARES_H

#include "tests/sim/load/client.h"
#include "tests/sim/load/history.h"
#include "tests/sim/load/share_history.h"

struct load_shares_options {
    const char *space; /* begins all names; outlives the object */
    int members;
    int producers;
    int32_t partitions;
    int16_t replication_factor;
    int64_t interval_ms;        /* between batches of a producer, on average */
    int limit;                  /* group.share.delivery.count.limit */
    int32_t session_timeout_ms; /* group.share.session.timeout.ms */
    bool coming_and_going;      /* members leave and die */
    int64_t max_wait_ms;
    bool unclean_possible;
};

struct load_shares;

struct load_shares *load_shares_new(struct env *env, uint64_t seed,
                                    const struct load_client_options *client,
                                    struct history *history,
                                    const struct load_shares_options *options);
void load_shares_free(struct load_shares *s);
void load_shares_start(struct load_shares *s);
/* The group has a start in every partition. */
bool load_shares_has_begun(const struct load_shares *s);
/* Producers end; members accept everything, and leave when nothing is left. */
void load_shares_stop(struct load_shares *s);
bool load_shares_is_quiet(const struct load_shares *s);
/* Once it is quiet. */
void load_shares_judge(struct load_shares *s);
/* It does not get quiet: says what is left. */
void load_shares_complain(struct load_shares *s);
const struct share_history_counts *
load_shares_counts(const struct load_shares *s);

#endif
