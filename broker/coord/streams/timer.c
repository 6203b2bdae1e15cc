/* Sessions, deadlines for giving tasks up, the initial delay, targets at
 * intervals, and the end of empty groups.  Each timer belongs to one member or
 * group; nothing looks at all of them.
 *
 * A member whose time is up is removed by records, so its timer is set again
 * until they are in the log. */
#include "broker/coord/streams/streams.h"

struct streams_settings stgroup_settings(const struct streams_coord *coord,
                                         struct slice group)
{
    struct streams_settings s = coord->config.settings;

    if (coord->world.settings != NULL)
        coord->world.settings(coord->world.arg, group, &s);
    return s;
}

void stmember_heard(struct streams_coord *coord, struct stmember *member)
{
    heap_set(&coord->timers, &member->session.node,
             coord->time.now_ms +
                 stgroup_settings(coord, member->group->id).session_timeout_ms);
}

void stmember_arm(struct streams_coord *coord, struct stmember *member)
{
    if (member->has_profile && member->current.state == SSTATE_UNREVOKED)
        heap_set(&coord->timers, &member->rebalance.node,
                 coord->time.now_ms + member->profile.rebalance_timeout_ms);
    else
        heap_remove(&coord->timers, &member->rebalance.node);
}

void stgroup_delay(struct streams_coord *coord, struct stgroup *group)
{
    int32_t delay_ms =
        stgroup_settings(coord, group->id).initial_rebalance_delay_ms;

    if (delay_ms <= 0 || group->delayed)
        return;
    group->delayed = true;
    heap_set(&coord->timers, &group->assign.node,
             coord->time.now_ms + delay_ms);
}

int64_t streams_coord_next_deadline(const struct streams_coord *coord)
{
    const struct heap_node *first = heap_first(&coord->timers);

    return first != NULL ? first->key : INT64_MAX;
}

static void fence(struct ststep *step, struct stimer *timer,
                  struct stmember *member)
{
    heap_set(&step->coord->timers, &timer->node,
             step->time.now_ms + STREAMS_RETRY_MS);
    stmember_fence(step, member, NULL);
}

static void assign(struct ststep *step, struct stgroup *group)
{
    int64_t left_ms;

    group->delayed = false;
    heap_remove(&step->coord->timers, &group->assign.node);
    if (group->epoch <= group->target_epoch || group->size == 0)
        return;
    if (stgroup_may_assign(step, group, &left_ms)) {
        left_ms = STREAMS_RETRY_MS;
        stgroup_assign(step, group);
    }
    heap_set(&step->coord->timers, &group->assign.node,
             step->time.now_ms + left_ms);
}

void stgroup_watch_empty(struct streams_coord *coord, struct stgroup *group)
{
    int64_t interval = coord->config.offsets_retention_check_interval_ms;

    if (group->size != 0 || coord->life != STREAMS_ACTIVE)
        heap_remove(&coord->timers, &group->empty.node);
    else if (!heap_has(&group->empty.node))
        heap_set(&coord->timers, &group->empty.node,
                 coord->time.now_ms + interval);
}

/* With offsets it goes when the last of them expires.  What is left of a group
 * that has no record of its own has none. */
static void drop_empty(struct ststep *step, struct stgroup *group)
{
    struct streams_coord *coord = step->coord;
    const struct consumer_offsets *offsets = &coord->offsets;

    heap_set(&coord->timers, &group->empty.node,
             step->time.now_ms +
                 coord->config.offsets_retention_check_interval_ms);
    if (group->exists && offsets->any != NULL &&
        offsets->any(offsets->arg, group->id))
        return;
    struct streams_write *write = stwrite_new(NULL);
    stwrite_group_gone(&write->pending.records, group);
    stwrite_send(step, write);
}

void streams_coord_tick(struct streams_coord *coord, struct coord_time time,
                        struct coord_update *update)
{
    struct ststep step = {coord, time, update};
    struct heap_node *first = heap_first(&coord->timers);

    coord->time = time;
    if (coord->life != STREAMS_ACTIVE || first == NULL ||
        first->key > time.now_ms)
        return;
    struct stimer *timer = HEAP_ENTRY(first, struct stimer, node);
    switch (timer->kind) {
    case STIMER_SESSION:
        fence(&step, timer, HEAP_ENTRY(timer, struct stmember, session));
        break;
    case STIMER_REBALANCE:
        fence(&step, timer, HEAP_ENTRY(timer, struct stmember, rebalance));
        break;
    case STIMER_ASSIGN:
        assign(&step, HEAP_ENTRY(timer, struct stgroup, assign));
        break;
    case STIMER_EMPTY:
        drop_empty(&step, HEAP_ENTRY(timer, struct stgroup, empty));
        break;
    }
}
