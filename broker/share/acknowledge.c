/* What members say about records they hold, and the end of their sessions.
 *
 * A request is looked through before anything of it is done, so that it is
 * done as a whole or not at all.  What it decides is kept with the runs, and
 * happens when it is written (persist.c); until then they are their member's.
 */
#include "base/planted.h"
#include "broker/share/parts.h"

/* ---- looking -------------------------------------------------------------*/

static bool type_ok(const struct share_partition *p, int8_t type)
{
    return (type >= SHARE_ACK_GAP && type <= SHARE_ACK_REJECT) ||
           (type == SHARE_ACK_RENEW && p->config.renew_enabled);
}

static bool types_ok(const struct share_partition *p,
                     const struct share_ack *ack)
{
    if (ack->types_len < 1 ||
        (ack->types_len > 1 && ack->last - ack->first != ack->types_len - 1))
        return false;
    for (int32_t i = 0; i < ack->types_len; i++)
        if (!type_ok(p, ack->types[i]))
            return false;
    return true;
}

static bool form_ok(const struct share_partition *p,
                    const struct share_ack *acks, uint32_t len)
{
    int64_t after = 0;

    for (uint32_t i = 0; i < len; i++) {
        if (acks[i].first < after || acks[i].last < acks[i].first ||
            acks[i].last == INT64_MAX || !types_ok(p, &acks[i]))
            return false;
        after = acks[i].last + 1;
    }
    return true;
}

static bool held_by(const struct share_run *run, struct slice member)
{
    return run->state == SHARE_ACQUIRED && !run->decided &&
           slice_eq(run->owner->id, member);
}

static enum err records_ok(const struct share_partition *p, struct slice member,
                           const struct share_ack *ack)
{
    int64_t first = ack->first < p->start ? p->start : ack->first;

    if (ack->last < p->start)
        return ERR_NONE;
    if (p->len == 0)
        return ERR_INVALID_RECORD_STATE;
    if (ack->last >= p->end)
        return ERR_INVALID_REQUEST;
    for (size_t i = share_runs_find(p, first);
         i < p->len && share_run_at(p, i)->first <= ack->last; i++)
        if (!held_by(share_run_at(p, i), member))
            return ERR_INVALID_RECORD_STATE;
    return ERR_NONE;
}

static enum err look_through(const struct share_partition *p,
                             struct slice member, const struct share_ack *acks,
                             uint32_t len)
{
    if (p->closed)
        return ERR_NOT_LEADER_OR_FOLLOWER;
    if (!form_ok(p, acks, len))
        return ERR_INVALID_REQUEST;
    for (uint32_t i = 0; i < len; i++) {
        enum err err = records_ok(p, member, &acks[i]);

        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

/* ---- doing ---------------------------------------------------------------*/

static void decide(struct share_partition *p, struct share_run *run,
                   enum share_state next)
{
    run->decided = true;
    run->next = next;
    share_run_dirty(p, run);
}

static void give_back(struct share_partition *p, struct share_run *run)
{
    bool last = run->deliveries >= p->config.delivery_count_limit &&
                !PLANTED(SHARE_IGNORES_LIMIT);

    if (PLANTED(SHARE_KEEPS_RELEASED))
        last = true;
    decide(p, run, last ? SHARE_ARCHIVED : SHARE_AVAILABLE);
}

static void renew(struct share_partition *p, struct share_run *run,
                  int64_t now_ms)
{
    run->deadline_ms = now_ms + p->config.record_lock_duration_ms;
    heap_set(&p->locks, &run->lock, run->deadline_ms);
}

static void acknowledge_run(struct share_partition *p, struct share_run *run,
                            enum share_ack_type type, int64_t now_ms)
{
    switch (type) {
    case SHARE_ACK_ACCEPT:
        decide(p, run, SHARE_ACKNOWLEDGED);
        break;
    case SHARE_ACK_RELEASE:
        give_back(p, run);
        break;
    case SHARE_ACK_GAP:
    case SHARE_ACK_REJECT:
        decide(p, run, SHARE_ARCHIVED);
        break;
    case SHARE_ACK_RENEW:
        renew(p, run, now_ms);
        break;
    }
}

/* False: none of it lies in the window. */
static bool acknowledge_range(struct share_partition *p, int64_t first,
                              int64_t last, enum share_ack_type type,
                              int64_t now_ms)
{
    if (last < p->start)
        return false;
    size_t i = share_runs_split(p, first < p->start ? p->start : first);
    share_runs_split(p, last + 1);
    for (; i < p->len && share_run_at(p, i)->first <= last; i++)
        acknowledge_run(p, share_run_at(p, i), type, now_ms);
    return true;
}

/* Neighbours of one type make one range.  True if something is to be written.
 */
static bool acknowledge_ranges(struct share_partition *p,
                               const struct share_ack *ack, int64_t now_ms)
{
    bool decides = false;

    for (int32_t i = 0, end; i < ack->types_len; i = end) {
        int8_t type = ack->types[i];

        for (end = i + 1; end < ack->types_len && ack->types[end] == type;)
            end++;
        int64_t first = ack->first + i;
        int64_t last = ack->types_len == 1 ? ack->last : ack->first + end - 1;
        if (acknowledge_range(p, first, last, (enum share_ack_type)type,
                              now_ms) &&
            type != SHARE_ACK_RENEW)
            decides = true;
    }
    if (ack->last >= p->start)
        share_runs_join(p, ack->first, ack->last);
    return decides;
}

static void end_or_wait(struct share_partition *p, bool decides,
                        struct share_waiter *waiter,
                        struct share_update *update)
{
    if (!decides || PLANTED(SHARE_ANSWERS_EARLY))
        share_waiter_end(update, waiter, ERR_NONE);
    else if (waiter != NULL)
        list_push_back(&p->collected, &waiter->link);
    share_flush(p, update);
}

void share_partition_acknowledge(struct share_partition *p, struct slice member,
                                 const struct share_ack *acks,
                                 uint32_t acks_len, int64_t now_ms,
                                 struct share_waiter *waiter,
                                 struct share_update *update)
{
    enum err err = look_through(p, member, acks, acks_len);
    bool decides = false;

    if (err != ERR_NONE) {
        share_waiter_end(update, waiter, err);
        return;
    }
    for (uint32_t i = 0; i < acks_len; i++)
        decides = acknowledge_ranges(p, &acks[i], now_ms) || decides;
    end_or_wait(p, decides, waiter, update);
}

void share_partition_release(struct share_partition *p, struct slice member,
                             struct share_waiter *waiter,
                             struct share_update *update)
{
    struct share_member *holder = map_get(&p->members, member);
    bool decides = false;

    if (p->closed) {
        share_waiter_end(update, waiter, ERR_NOT_LEADER_OR_FOLLOWER);
        return;
    }
    if (holder != NULL) {
        LIST_EACH (node, &holder->runs) {
            struct share_run *run = LIST_ENTRY(node, struct share_run, owned);

            if (run->decided)
                continue;
            give_back(p, run);
            decides = true;
        }
    }
    end_or_wait(p, decides, waiter, update);
}
