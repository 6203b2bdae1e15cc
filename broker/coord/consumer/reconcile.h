/* The next step of one member from what it has to what it shall have (KIP-848,
 * "Reconciliation of the group").
 *
 *   STABLE                it has its target, as far as it knows of one
 *   UNREVOKED_PARTITIONS  it was told to give some up and has not said that it
 *                         has; until then it keeps its epoch
 *   UNRELEASED_PARTITIONS it is at the target's epoch, but others still have
 *                         some of its target
 *
 * Pure; the rules are those of Kafka's CurrentAssignmentBuilder. */
#ifndef BROKER_COORD_CONSUMER_RECONCILE_H
#define BROKER_COORD_CONSUMER_RECONCILE_H

#include "broker/coord/consumer/parts.h"

#include "base/error.h"

/* Values as in the records. */
enum cstate {
    CSTATE_STABLE = 0,
    CSTATE_UNREVOKED = 1,
    CSTATE_UNRELEASED = 2,
    CSTATE_UNKNOWN = 127, /* written by something newer */
};

/* ConsumerGroupCurrentMemberAssignment. */
struct ccurrent {
    int32_t epoch;
    int32_t previous_epoch; /* its answer may have been lost */
    enum cstate state;
    struct parts assigned; /* what it may have; with epochs, as `revoking` */
    struct parts revoking; /* what it was told to give up; nobody else's yet */
};

struct reconcile_input {
    const struct ccurrent *current;
    int32_t target_epoch;
    struct parts target; /* of the epoch, or what the member wants of it */
    /* What the member says it owns; owned_known false: it did not say. */
    struct parts owned;
    bool owned_known;
    /* Whether anybody has a partition, the member itself included. */
    bool (*is_owned)(const void *arg, struct uuid topic, int32_t partition);
    const void *arg;
};

/* *next is complete, in the arena or borrowed from the input, and equal to
 * *current if there is nothing to do.
 * ERR_FENCED_MEMBER_EPOCH: the state is not known, and the member has to come
 * without partitions first. */
enum err reconcile(const struct reconcile_input *in, struct arena *arena,
                   struct ccurrent *next);

/* At this epoch it has no step to go. */
bool reconciled(const struct ccurrent *current, int32_t target_epoch);
bool ccurrent_same(const struct ccurrent *a, const struct ccurrent *b);

#endif
