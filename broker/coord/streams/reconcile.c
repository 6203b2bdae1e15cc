#include "broker/coord/streams/reconcile.h"

bool streams_reconciled(const struct scurrent *current, int32_t target_epoch)
{
    return current->state == SSTATE_STABLE && current->epoch == target_epoch;
}

bool scurrent_same(const struct scurrent *a, const struct scurrent *b)
{
    return a->epoch == b->epoch && a->previous_epoch == b->previous_epoch &&
           a->state == b->state && tuple_same(&a->assigned, &b->assigned) &&
           tuple_same(&a->revoking, &b->revoking);
}

/* A member that does not say what it has may have all of it. */
static bool still_has(const struct streams_reconcile_input *in,
                      const struct tuple *revoking)
{
    return in->owned == NULL || tuple_overlap(in->owned, revoking);
}

/* Of those that are wanted: the free ones, which are the member's from this
 * epoch on. */
static struct tasks take_free(const struct streams_reconcile_input *in,
                              struct arena *arena, enum task_kind kind,
                              struct tasks wanted)
{
    struct tasks out = {arena_array(arena, wanted.len, sizeof *out.items), 0};

    for (uint32_t i = 0; i < wanted.len; i++) {
        struct task task = wanted.items[i];

        if (!in->is_free(in->arg, kind, task.sub, task.partition))
            continue;
        task.epoch = kind == TASK_ACTIVE ? in->target_epoch : 0;
        out.items[out.len++] = task;
    }
    return out;
}

/* From this epoch and these tasks towards the target. */
static void advance(const struct streams_reconcile_input *in,
                    struct arena *arena, int32_t epoch,
                    const struct tuple *assigned, struct scurrent *next)
{
    struct tuple kept = tuple_and(arena, assigned, in->target);
    struct tuple revoking = tuple_minus(arena, assigned, in->target);
    struct tuple wanted, free;

    next->previous_epoch = in->current->epoch;
    if (!tuple_is_empty(&revoking) && still_has(in, &revoking)) {
        next->epoch = epoch;
        next->state = SSTATE_UNREVOKED;
        next->assigned = kept;
        next->revoking = revoking;
        return;
    }
    wanted = tuple_minus(arena, in->target, &kept);
    for (int k = 0; k < TASK_KINDS; k++)
        free.of[k] = take_free(in, arena, (enum task_kind)k, wanted.of[k]);
    next->epoch = in->target_epoch;
    next->state = tuple_len(&free) == tuple_len(&wanted) ? SSTATE_STABLE
                                                         : SSTATE_UNRELEASED;
    next->assigned = tuple_join(arena, &kept, &free);
    next->revoking = (struct tuple){0};
}

/* Of one that gave up what it was told to. */
static int32_t next_epoch(const struct streams_reconcile_input *in)
{
    int32_t epoch = in->current->epoch;

    return epoch < in->target_epoch ? epoch + 1 : epoch;
}

enum err streams_reconcile(const struct streams_reconcile_input *in,
                           struct arena *arena, struct scurrent *next)
{
    const struct scurrent *current = in->current;

    *next = *current;
    switch (current->state) {
    case SSTATE_STABLE:
        if (current->epoch != in->target_epoch)
            advance(in, arena, current->epoch, &current->assigned, next);
        return ERR_NONE;
    case SSTATE_UNREVOKED:
        /* What it has given up is free only when this is in the log, so it is
         * not its own again, in another kind, before the step after this. */
        if (!still_has(in, &current->revoking))
            advance(in, arena, next_epoch(in), &current->assigned, next);
        return ERR_NONE;
    case SSTATE_UNRELEASED:
        advance(in, arena, current->epoch, &current->assigned, next);
        /* It is still waiting for the same tasks. */
        if (next->epoch == current->epoch && next->state == current->state &&
            tuple_eq(&next->assigned, &current->assigned))
            *next = *current;
        return ERR_NONE;
    case SSTATE_UNKNOWN:
        if (in->owned == NULL || !tuple_is_empty(in->owned))
            return ERR_FENCED_MEMBER_EPOCH;
        advance(in, arena, in->target_epoch, &current->assigned, next);
        return ERR_NONE;
    }
    ASSERT(false);
}
