#include "broker/coord/consumer/reconcile.h"

#include "base/planted.h"

bool reconciled(const struct ccurrent *current, int32_t target_epoch)
{
    return current->state == CSTATE_STABLE && current->epoch == target_epoch;
}

bool ccurrent_same(const struct ccurrent *a, const struct ccurrent *b)
{
    return a->epoch == b->epoch && a->previous_epoch == b->previous_epoch &&
           a->state == b->state && parts_same(a->assigned, b->assigned) &&
           parts_same(a->revoking, b->revoking);
}

/* A member that does not say what it owns may own all of it. */
static bool still_owns(const struct reconcile_input *in, struct parts revoking)
{
    return (!in->owned_known || parts_overlap(in->owned, revoking)) &&
           !PLANTED(MODERN_AWAITS_NO_REVOCATION);
}

/* Of those that are wanted: the ones nobody has, which are the member's from
 * this epoch on. */
static struct parts take_free(const struct reconcile_input *in,
                              struct arena *arena, struct parts wanted)
{
    struct parts out = {arena_array(arena, wanted.len, sizeof *out.items), 0};

    for (uint32_t i = 0; i < wanted.len; i++) {
        struct part part = wanted.items[i];

        if (in->is_owned(in->arg, part.topic, part.partition) &&
            !PLANTED(MODERN_GIVES_WHAT_IS_OWNED))
            continue;
        part.epoch = in->target_epoch;
        out.items[out.len++] = part;
    }
    return out;
}

/* From this epoch and these partitions towards the target. */
static void advance(const struct reconcile_input *in, struct arena *arena,
                    int32_t epoch, struct parts assigned, struct ccurrent *next)
{
    struct parts kept = parts_and(arena, assigned, in->target);
    struct parts revoking = parts_minus(arena, assigned, in->target);

    next->previous_epoch = in->current->epoch;
    if (revoking.len != 0 && still_owns(in, revoking)) {
        next->epoch = epoch;
        next->state = CSTATE_UNREVOKED;
        next->assigned = kept;
        next->revoking = revoking;
        return;
    }
    struct parts wanted = parts_minus(arena, in->target, kept);
    struct parts free = take_free(in, arena, wanted);
    next->epoch = in->target_epoch;
    next->state = free.len == wanted.len ? CSTATE_STABLE : CSTATE_UNRELEASED;
    next->assigned = parts_join(arena, kept, free);
    next->revoking = PARTS_EMPTY;
}

/* Of one that gave up what it was told to.  It was at the target's epoch if it
 * had to because of a subscription that the target does not know yet. */
static int32_t next_epoch(const struct reconcile_input *in)
{
    int32_t epoch = in->current->epoch;

    return epoch < in->target_epoch ? epoch + 1 : epoch;
}

enum err reconcile(const struct reconcile_input *in, struct arena *arena,
                   struct ccurrent *next)
{
    const struct ccurrent *current = in->current;

    *next = *current;
    switch (current->state) {
    case CSTATE_STABLE:
        if (current->epoch != in->target_epoch ||
            !parts_contain(in->target, current->assigned))
            advance(in, arena, current->epoch, current->assigned, next);
        return ERR_NONE;
    case CSTATE_UNREVOKED:
        /* What it has given up is free for others only when this is in the
         * log, so it is not its own again before the step after this one. */
        if (!still_owns(in, current->revoking))
            advance(in, arena, next_epoch(in), current->assigned, next);
        return ERR_NONE;
    case CSTATE_UNRELEASED:
        advance(in, arena, current->epoch, current->assigned, next);
        /* It is still waiting for the same partitions. */
        if (next->epoch == current->epoch && next->state == current->state &&
            parts_eq(next->assigned, current->assigned))
            *next = *current;
        return ERR_NONE;
    case CSTATE_UNKNOWN:
        if (!in->owned_known || in->owned.len != 0)
            return ERR_FENCED_MEMBER_EPOCH;
        advance(in, arena, in->target_epoch, current->assigned, next);
        return ERR_NONE;
    }
    ASSERT(false);
}
