/* Sessions, deadlines for giving partitions up (of classic members: for joining
 * again and for SyncGroup), and targets at intervals.  Each timer belongs to
 * one member or group; nothing looks at all of them.
 *
 * A member whose time is up is removed by records, so its timer is set again
 * until they are in the log. */
#include "broker/coord/consumer/consumer.h"

struct consumer_timeouts cgroup_timeouts(const struct consumer_coord *coord,
                                         struct slice group)
{
    struct consumer_timeouts t = {
        coord->config.group_consumer_session_timeout_ms,
        coord->config.group_consumer_heartbeat_interval_ms,
        coord->config.group_consumer_assignment_interval_ms};

    if (coord->world.timeouts != NULL)
        coord->world.timeouts(coord->world.arg, group, &t);
    return t;
}

static void set_timer(struct consumer_coord *coord, struct ctimer *timer,
                      int64_t delay_ms)
{
    heap_set(&coord->timers, &timer->node, coord->time.now_ms + delay_ms);
}

void cmember_heard(struct consumer_coord *coord, struct cmember *member)
{
    set_timer(
        coord, &member->session,
        member->profile.classic
            ? member->profile.session_timeout_ms
            : cgroup_timeouts(coord, member->group->id).session_timeout_ms);
}

void cmember_await_join(struct consumer_coord *coord, struct cmember *member)
{
    if (!heap_has(&member->join.node))
        set_timer(coord, &member->join, member->profile.rebalance_timeout_ms);
}

void cmember_await_sync(struct consumer_coord *coord, struct cmember *member)
{
    heap_remove(&coord->timers, &member->join.node);
    set_timer(coord, &member->sync, member->profile.rebalance_timeout_ms);
}

void cmember_arm(struct consumer_coord *coord, struct cmember *member)
{
    bool classic = member->has_profile && member->profile.classic;

    if (member->current.state == CSTATE_UNREVOKED && !classic &&
        member->current.epoch != CONSUMER_LEAVES_FOR_NOW)
        set_timer(coord, &member->rebalance,
                  member->profile.rebalance_timeout_ms);
    else
        heap_remove(&coord->timers, &member->rebalance.node);
    if (!classic) {
        heap_remove(&coord->timers, &member->join.node);
        heap_remove(&coord->timers, &member->sync.node);
    }
}

int64_t consumer_coord_next_deadline(const struct consumer_coord *coord)
{
    const struct heap_node *first = heap_first(&coord->timers);

    return first != NULL ? first->key : INT64_MAX;
}

static void fence(struct cstep *step, struct ctimer *timer,
                  struct cmember *member)
{
    heap_set(&step->coord->timers, &timer->node,
             step->time.now_ms + CONSUMER_RETRY_MS);
    cmember_fence(step, member, NULL);
}

static void assign(struct cstep *step, struct cgroup *group)
{
    heap_set(&step->coord->timers, &group->assign.node,
             step->time.now_ms + CONSUMER_RETRY_MS);
    cgroup_assign(step, group);
    if (group->epoch <= group->target_epoch || group->size == 0)
        heap_remove(&step->coord->timers, &group->assign.node);
}

void cgroup_watch_empty(struct consumer_coord *coord, struct cgroup *group)
{
    int64_t interval = coord->config.offsets_retention_check_interval_ms;

    if (group->size != 0 || coord->life != CONSUMER_ACTIVE)
        heap_remove(&coord->timers, &group->empty.node);
    else if (!heap_has(&group->empty.node))
        heap_set(&coord->timers, &group->empty.node,
                 coord->time.now_ms + interval);
}

/* With offsets it goes when the last of them expires. */
static void drop_empty(struct cstep *step, struct cgroup *group)
{
    struct consumer_coord *coord = step->coord;
    const struct consumer_offsets *offsets = &coord->offsets;

    heap_set(&coord->timers, &group->empty.node,
             step->time.now_ms +
                 coord->config.offsets_retention_check_interval_ms);
    if (group->size != 0 || !group->exists ||
        (offsets->any != NULL && offsets->any(offsets->arg, group->id)))
        return;
    struct consumer_write *write = cwrite_new(NULL);
    cwrite_group_gone(&write->pending.records, group);
    cwrite_send(step, write);
}

void consumer_coord_tick(struct consumer_coord *coord, struct coord_time time,
                         struct coord_update *update)
{
    struct cstep step = {coord, time, update};
    struct heap_node *first = heap_first(&coord->timers);

    coord->time = time;
    if (coord->life != CONSUMER_ACTIVE || first == NULL ||
        first->key > time.now_ms)
        return;
    struct ctimer *timer = HEAP_ENTRY(first, struct ctimer, node);
    switch (timer->kind) {
    case CTIMER_SESSION:
        fence(&step, timer, HEAP_ENTRY(timer, struct cmember, session));
        break;
    case CTIMER_REBALANCE:
        fence(&step, timer, HEAP_ENTRY(timer, struct cmember, rebalance));
        break;
    case CTIMER_JOIN:
        fence(&step, timer, HEAP_ENTRY(timer, struct cmember, join));
        break;
    case CTIMER_SYNC:
        fence(&step, timer, HEAP_ENTRY(timer, struct cmember, sync));
        break;
    case CTIMER_ASSIGN:
        assign(&step, HEAP_ENTRY(timer, struct cgroup, assign));
        break;
    case CTIMER_EMPTY:
        drop_empty(&step, HEAP_ENTRY(timer, struct cgroup, empty));
        break;
    }
}
