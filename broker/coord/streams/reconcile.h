/* The next step of one member from the tasks that it has to those that it shall
 * have (KIP-1071, "Reconciliation of the group").
 *
 *   STABLE            it has its target
 *   UNREVOKED_TASKS   it was told to give some up and has not said that it has;
 *                     until then it keeps its epoch
 *   UNRELEASED_TASKS  it is at the target's epoch, but some of its target is
 *                     not free yet
 *
 * A task is free to become active when nobody has it as active and no member of
 * the process has it as standby or warm-up; free to become standby or warm-up
 * when no member of the process has it at all: a process has one directory of
 * state for it.
 *
 * Pure; the rules are those of Kafka's CurrentAssignmentBuilder. */
#ifndef BROKER_COORD_STREAMS_RECONCILE_H
#define BROKER_COORD_STREAMS_RECONCILE_H

#include "broker/coord/streams/tasks.h"

#include "base/error.h"

/* Values as in the records. */
enum sstate {
    SSTATE_STABLE = 1,
    SSTATE_UNREVOKED = 2,
    SSTATE_UNRELEASED = 3,
    SSTATE_UNKNOWN = 127, /* written by something newer */
};

/* StreamsGroupCurrentMemberAssignment. */
struct scurrent {
    int32_t epoch;
    int32_t previous_epoch; /* its answer may have been lost */
    enum sstate state;
    struct tuple assigned; /* what it may have */
    struct tuple revoking; /* what it was told to give up; not free yet */
};

/* A member that has had nothing yet. */
#define SCURRENT_NEW ((struct scurrent){.state = SSTATE_STABLE})

struct streams_reconcile_input {
    const struct scurrent *current;
    int32_t target_epoch;
    const struct tuple *target;
    /* What the member says it has; NULL: it did not say. */
    const struct tuple *owned;
    /* Whether the rule above says that the task is free, the member itself
     * included. */
    bool (*is_free)(const void *arg, enum task_kind kind, struct slice sub,
                    int32_t partition);
    const void *arg;
};

/* *next is complete, in the arena or borrowed from the input, and equal to
 * *current if there is nothing to do.
 * ERR_FENCED_MEMBER_EPOCH: the state is not known, and the member has to come
 * without tasks first. */
enum err streams_reconcile(const struct streams_reconcile_input *in,
                           struct arena *arena, struct scurrent *next);

/* At this epoch it has no step to go. */
bool streams_reconciled(const struct scurrent *current, int32_t target_epoch);
bool scurrent_same(const struct scurrent *a, const struct scurrent *b);

#endif
