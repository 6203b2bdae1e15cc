/* Offsets that nobody needs any more (KIP-211), and the groups left without.
 *
 * An offset expires offsets.retention.minutes after
 *   its commit             in a group that never had members
 *   the group became empty in one that had
 *   its commit             in a stable consumer group, or one of another kind,
 *                          if nobody subscribes to the topic
 * or at the time that the commit itself named (versions 2 to 4), and never
 * while a transaction is open on it.
 *
 * An empty group without offsets goes: classic ones, and those of other kinds
 * that lose their last offset, here; consumer and streams groups that have had
 * none for some time by timers of their own.  Share groups have no offsets here
 * and stay until they are deleted, as in Kafka (ShareGroup.shouldExpire).
 *
 * Each group has a timer at the earliest time when something could expire, so
 * the cost is that of the groups concerned, not of all groups.  Timestamps
 * come from the log and the wall clock, timers run on the monotonic one; the
 * timer only says when to look. */
#include "broker/coord/group.h"

static bool applies(const struct group *group)
{
    return group->state == GROUP_EMPTY ||
           (group->state == GROUP_STABLE && group_is_consumer(group) &&
            group->roster->topics_known);
}

static int64_t due_wall_ms(const struct coord *coord, const struct group *group,
                           const struct offset_value *value)
{
    int64_t retention = coord->config.offsets_retention_ms;
    int64_t from = value->commit_wall_ms;

    if (value->expire_wall_ms >= 0)
        return value->expire_wall_ms;
    if (group->state == GROUP_EMPTY && !slice_is_null(group->protocol_type) &&
        group->state_wall_ms >= 0)
        from = group->state_wall_ms;
    return from > INT64_MAX - retention ? INT64_MAX : from + retention;
}

void expire_arm(struct coord *coord, struct group *group, int64_t wall_due_ms)
{
    int64_t delay = wall_due_ms <= coord->time.wall_ms
                        ? 0
                        : wall_due_ms - coord->time.wall_ms;

    if (!coord->active || delay > INT64_MAX - coord->time.now_ms)
        return;
    int64_t at = coord->time.now_ms + delay;
    if (!heap_has(&group->expire.node) || group->expire.node.key > at)
        heap_set(&coord->timers, &group->expire.node, at);
}

static int64_t next_check(const struct coord *coord)
{
    return coord->time.wall_ms +
           coord->config.offsets_retention_check_interval_ms;
}

/* When something of the group could expire, as far as its offsets know. */
static int64_t earliest_due(const struct coord *coord,
                            const struct group *group)
{
    int64_t earliest = INT64_MAX;

    if (group->topics_len == 0 || !applies(group))
        return next_check(coord);
    for (uint32_t t = 0; t < group->topics_len; t++) {
        const struct topic_offsets *topic = group->topics[t];

        for (uint32_t i = 0; i < topic->len; i++) {
            const struct offset_value *v = offset_newest(&topic->entries[i]);
            int64_t due = v != NULL ? due_wall_ms(coord, group, v) : INT64_MAX;
            if (due < earliest)
                earliest = due;
        }
    }
    return earliest;
}

void expire_arm_group(struct coord *coord, struct group *group)
{
    heap_remove(&coord->timers, &group->expire.node);
    if (group->topics_len != 0 || group->state == GROUP_EMPTY)
        expire_arm(coord, group, earliest_due(coord, group));
}

bool expire_is_subscribed(const struct coord *coord, struct slice id,
                          const struct group *group, struct slice topic)
{
    return (group != NULL && group_subscribes(group, topic)) ||
           (group_elsewhere(coord, id) == GROUP_PRESENT &&
            coord->others.subscribes(coord->others.arg, id, topic));
}

/* Writes tombstones for what has expired; true if nothing is left. */
static bool expire_offsets(struct step *step, const struct group *group,
                           struct coord_write *write)
{
    bool all = true;

    for (uint32_t t = 0; t < group->topics_len; t++) {
        const struct topic_offsets *topic = group->topics[t];
        struct slice name = offsets_topic_name(topic);
        bool subscribed =
            expire_is_subscribed(step->coord, group_id(group), group, name);

        for (uint32_t i = 0; i < topic->len; i++) {
            const struct offset_value *v = offset_newest(&topic->entries[i]);
            int32_t partition = topic->entries[i].partition;

            if (v == NULL)
                continue;
            if (!subscribed &&
                due_wall_ms(step->coord, group, v) <= step->wall_ms &&
                !offsets_pending_in_txn(group, name, partition))
                write_offset_tombstone(write, group_id(group), name, partition);
            else
                all = false;
        }
    }
    return all;
}

static void delete_empty(const struct coord *coord, struct coord_write *write,
                         const struct group *group)
{
    enum group_presence elsewhere = group_elsewhere(coord, group_id(group));

    if (elsewhere == GROUP_PRESENT)
        return; /* it has members, and needs no offsets */
    if (elsewhere == GROUP_PRESENT_EMPTY)
        coord->others.delete_records(coord->others.arg, group_id(group),
                                     &write->pending.records);
    write_group_tombstone(write, group_id(group));
}

void expire_timeout(struct step *step, struct group *group)
{
    struct coord *coord = step->coord;
    struct coord_write *write = write_new(COORD_WRITE_PLAIN);
    int64_t due = earliest_due(coord, group);
    int64_t check = next_check(coord);

    /* What is due and stays (subscribed, in a transaction, or its tombstone is
     * refused) is looked at again at the next check. */
    expire_arm(coord, group, due > check ? due : check);
    if (applies(group) && expire_offsets(step, group, write) &&
        group->state == GROUP_EMPTY && group->roster == NULL &&
        !offsets_any_pending(group))
        delete_empty(coord, write, group);
    if (write->pending.records.count == 0) {
        write_free(write);
        return;
    }
    write->replay = true;
    write_send(step, write);
}
