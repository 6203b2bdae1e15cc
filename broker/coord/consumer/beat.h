/* One step of a member: a heartbeat of the new protocol, or a JoinGroup of the
 * classic one, which says the same in other words.  For heartbeat.c and
 * classic_join.c. */
#ifndef BROKER_COORD_CONSUMER_BEAT_H
#define BROKER_COORD_CONSUMER_BEAT_H

#include "broker/coord/consumer/consumer.h"

/* What is known of it so far. */
struct beat {
    struct cstep *step;
    const struct coord_context *context;
    /* Of a JoinGroup: what it says as a heartbeat of epoch 0. */
    const struct consumer_group_heartbeat_request *request;
    /* Of a JoinGroup: where the member uses the classic protocol; else NULL. */
    const struct cprofile *classic;
    struct coord_answer *answer;
    struct consumer_write *write;
    struct arena arena;
    struct cgroup *group;           /* NULL: to be made */
    const struct cmember *member;   /* NULL: a new one */
    const struct cmember *returned; /* the static member that it was before */
    struct slice id;
    struct parts owned;                 /* as it says */
    struct cprofile profile;            /* as it will be */
    const struct cprofile *old_profile; /* NULL: none */
    struct ccurrent current;            /* as it is */
    struct parts target;
    int32_t target_epoch;
    struct ccurrent next; /* as it will be */
    /* Of the classic group that the group becomes by it; null: it does not. */
    struct slice protocol;
};

/* Into b->write; the answer is the caller's.  The request is well-formed, and
 * the arena initialised. */
enum err beat_decide(struct beat *b);
/* Who sent the JoinGroup; classic_join.c. */
enum err beat_find_classic(struct beat *b);

#endif
