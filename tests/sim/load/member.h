/* A member of a consumer group: joins, reads what it was given, commits, leaves
 * or dies and comes back.  By the classic protocol it leads if it is told to
 * (range assignment); by that of KIP-848 it gives up what it is told to and
 * takes what becomes free.  In a group of both protocols whoever leads may be
 * the coordinator, and nobody may be given what another has.
 *
 * Each commit carries its number in the history as metadata.  Members with an
 * instance id (KIP-345) keep it when they come back.
 *
 * Thread: the loop's. */
#ifndef TESTS_SIM_LOAD_MEMBER_H
#define TESTS_SIM_LOAD_MEMBER_H

#include "tests/sim/load/reader.h"

struct load_member_options {
    const char *group;        /* outlives the member */
    const char *instance_id;  /* likewise; NULL: a dynamic member */
    const char *topic_prefix; /* subscribes to all topics that begin so */
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
    int64_t heartbeat_ms;
    int64_t commit_ms;
    int64_t stay_ms; /* about as long, then it leaves or dies; 0: for ever */
    int64_t away_ms; /* about as long until it comes back */
    bool modern;     /* KIP-848 */
    /* Each time that it comes it may use the other protocol; so do the others
     * of its group. */
    bool mixed;
    int late_percent; /* so many commits come again, of the last generation */
    bool unclean_possible; /* so that it may have been forgotten */
};

struct load_member;

struct load_member *load_member_new(struct env *env, uint64_t seed,
                                    const struct load_client_options *client,
                                    struct history *history,
                                    const struct load_member_options *options,
                                    const struct load_reader_options *reader);
void load_member_free(struct load_member *m);
void load_member_start(struct load_member *m);
/* Commits and leaves, then stays away. */
void load_member_stop(struct load_member *m);
bool load_member_is_quiet(const struct load_member *m);

#endif
