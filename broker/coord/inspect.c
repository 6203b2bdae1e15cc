/* Looking at a coordinator from outside: its invariants, and what survives of
 * it as text. */
#include "broker/coord/group.h"

#include <stdlib.h>

/* ---- invariants ----------------------------------------------------------*/

static bool is_timed(const struct group *group, const struct member *m)
{
    return heap_has(&m->session.node) || m->join.waiting || m->sync.waiting ||
           group->state == GROUP_PREPARING_REBALANCE;
}

static size_t check_members(const struct coord *coord,
                            const struct group *group)
{
    const struct roster *roster = group->roster;
    uint32_t members = 0, joins = 0, owed = 0, instances = 0;
    size_t bytes = 0;

    LIST_EACH (node, &roster->members) {
        const struct member *m = LIST_ENTRY(node, struct member, link);

        ASSERT(m->group == group);
        ASSERT(map_get(&roster->by_id, m->id) == m);
        ASSERT(map_get(&roster->pending, m->id) == NULL);
        if (!slice_is_null(m->instance_id)) {
            ASSERT(map_get(&roster->by_instance, m->instance_id) == m);
            instances++;
        }
        ASSERT(!coord->active || is_timed(group, m));
        ASSERT(!m->sync.waiting || group->state == GROUP_COMPLETING_REBALANCE);
        members++;
        joins += m->join.waiting;
        owed += m->owes_sync;
        bytes += m->bytes;
    }
    ASSERT(members == map_count(&roster->by_id));
    ASSERT(instances == map_count(&roster->by_instance));
    ASSERT(joins == roster->joins_waiting);
    ASSERT(owed == roster->syncs_owed);
    ASSERT((roster->leader != NULL) == (members != 0));
    MAP_EACH (entry, &roster->supports) {
        const struct support *support = entry->value;
        ASSERT(support->members > 0 && support->members <= members);
    }
    return bytes;
}

static void check_state(const struct coord *coord, const struct group *group)
{
    switch (group->state) {
    case GROUP_EMPTY:
        ASSERT(group_size(group) == 0);
        break;
    case GROUP_PREPARING_REBALANCE:
        ASSERT(group->roster != NULL);
        ASSERT(!coord->active || heap_has(&group->roster->join.node));
        break;
    case GROUP_COMPLETING_REBALANCE:
    case GROUP_STABLE:
        ASSERT(group_size(group) != 0);
        ASSERT(!slice_is_null(group->protocol_name));
        ASSERT(!heap_has(&group->roster->join.node));
        ASSERT(!coord->active || group->roster->syncs_owed == 0 ||
               heap_has(&group->roster->sync.node));
        break;
    }
}

/* Returns how often the group's entries stand in the queue. */
static uint64_t check_offsets(const struct coord *coord,
                              const struct group *group)
{
    uint64_t unsettled = 0;

    for (uint32_t t = 0; t < group->topics_len; t++) {
        const struct topic_offsets *topic = group->topics[t];

        ASSERT(topic->group == group && topic->len > 0);
        ASSERT(t == 0 || slice_cmp(offsets_topic_name(group->topics[t - 1]),
                                   offsets_topic_name(topic)) < 0);
        for (uint32_t i = 0; i < topic->len; i++) {
            const struct offset_value *v = topic->entries[i].newest;

            ASSERT(i == 0 || topic->entries[i - 1].partition <
                                 topic->entries[i].partition);
            ASSERT(v != NULL);
            unsettled += topic->entries[i].unsettled;
            /* All but the oldest of several could still be lost. */
            for (; v->older != NULL; v = v->older)
                ASSERT(v->visible_offset >= coord->committed &&
                       v->visible_offset >= v->older->visible_offset);
        }
    }
    return unsettled;
}

/* Returns how many offsets of open transactions the group knows of. */
static uint64_t check_pending(const struct group *group)
{
    uint64_t pending = 0;

    MAP_EACH (entry, &group->pending) {
        const struct pending_topic *topic = entry->value;

        ASSERT(topic->group == group && map_count(&topic->partitions) != 0);
        MAP_EACH (at, &topic->partitions) {
            const struct pending_partition *partition = at->value;

            ASSERT(partition->topic == topic);
            ASSERT(!list_empty(&partition->offsets));
            LIST_EACH (node, &partition->offsets) {
                const struct pending_offset *offset =
                    LIST_ENTRY(node, struct pending_offset, in_partition);
                ASSERT(offset->partition == partition);
                pending++;
            }
        }
    }
    return pending;
}

void coord_check(const struct coord *coord)
{
    uint64_t offsets = 0;
    size_t bytes = 0;
    uint64_t unsettled = 0;

    MAP_EACH (entry, &coord->groups) {
        const struct group *group = entry->value;

        ASSERT(slice_eq(group_id(group), entry->key));
        check_state(coord, group);
        unsettled += check_offsets(coord, group);
        offsets += check_pending(group);
        if (group->roster == NULL)
            continue;
        bytes += check_members(coord, group);
        MAP_EACH (pending, &group->roster->pending)
            bytes += pending_bytes(pending->value);
    }
    ASSERT(coord->members_bytes == bytes);
    MAP_EACH (entry, &coord->txns)
        offsets -= map_count(&((struct txn_offsets *)entry->value)->pending);
    ASSERT(offsets == 0);
    ASSERT(unsettled == coord->unsettled_len);
    for (uint32_t i = 1; i < coord->unsettled_len; i++) {
        uint32_t mask = coord->unsettled_cap - 1;
        const struct unsettled *a =
            &coord->unsettled[(coord->unsettled_at + i - 1) & mask];
        const struct unsettled *b =
            &coord->unsettled[(coord->unsettled_at + i) & mask];
        ASSERT(a->visible_offset <= b->visible_offset);
    }
}

/* ---- what survives, as text ----------------------------------------------*/

static void dump_group(const struct group *group, struct buf *out)
{
    const struct roster *roster = group->roster;

    buf_printf(out, "group %.*s %s generation %d type %.*s protocol %.*s",
               SLICE_FMT(group_id(group)), group_state_name(group->state),
               group->generation, SLICE_FMT(group->protocol_type),
               SLICE_FMT(group->protocol_name));
    if (roster != NULL && roster->leader != NULL)
        buf_printf(out, " leader %.*s", SLICE_FMT(roster->leader->id));
    buf_put_u8(out, '\n');
    if (roster == NULL)
        return;
    LIST_EACH (node, &roster->members) {
        const struct member *m = LIST_ENTRY(node, struct member, link);

        buf_printf(out, "member %.*s %.*s instance %.*s timeouts %d %d",
                   SLICE_FMT(group_id(group)), SLICE_FMT(m->id),
                   SLICE_FMT(m->instance_id), m->session_timeout_ms,
                   m->rebalance_timeout_ms);
        buf_printf(out, " metadata %.*s assignment %.*s\n",
                   SLICE_FMT(member_metadata(m, group->protocol_name)),
                   SLICE_FMT(m->assignment));
    }
}

static void dump_offset(const struct group *group, const char *what,
                        struct slice topic, int32_t partition,
                        const struct offset_value *v, struct buf *out)
{
    buf_printf(out,
               "%s %.*s %.*s-%d at %lld epoch %d commit %lld expire %lld "
               "metadata %.*s\n",
               what, SLICE_FMT(group_id(group)), SLICE_FMT(topic), partition,
               (long long)v->offset, v->leader_epoch,
               (long long)v->commit_wall_ms, (long long)v->expire_wall_ms,
               (int)v->metadata_len, v->metadata);
}

static void dump_pending(const struct group *group, struct buf *out)
{
    MAP_EACH (entry, &group->pending) {
        const struct pending_topic *topic = entry->value;

        MAP_EACH (at, &topic->partitions) {
            const struct pending_partition *partition = at->value;

            LIST_EACH (node, &partition->offsets)
                dump_offset(
                    group, "pending", offsets_pending_name(topic),
                    partition->index,
                    LIST_ENTRY(node, struct pending_offset, in_partition)
                        ->value,
                    out);
        }
    }
}

static void dump_offsets(const struct group *group, struct buf *out)
{
    for (uint32_t t = 0; t < group->topics_len; t++) {
        const struct topic_offsets *topic = group->topics[t];

        for (uint32_t i = 0; i < topic->len; i++) {
            const struct offset_value *v = offset_newest(&topic->entries[i]);

            if (v != NULL)
                dump_offset(group, "offset", offsets_topic_name(topic),
                            topic->entries[i].partition, v, out);
        }
    }
}

static int by_bytes(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static void sort_lines(struct buf *lines, struct buf *out)
{
    size_t count = 0;

    for (size_t i = 0; i < lines->len; i++)
        count += lines->data[i] == '\n';
    struct slice *sorted = xcalloc(count + 1, sizeof *sorted);
    const uint8_t *at = lines->data;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *end =
            memchr(at, '\n', lines->len - (size_t)(at - lines->data));
        sorted[i] = slice_of(at, (size_t)(end + 1 - at));
        at = end + 1;
    }
    qsort(sorted, count, sizeof *sorted, by_bytes);
    for (size_t i = 0; i < count; i++)
        buf_put_slice(out, sorted[i]);
    free(sorted);
}

void coord_dump(const struct coord *coord, struct buf *out)
{
    struct buf lines = BUF_INIT;

    MAP_EACH (entry, &coord->groups) {
        const struct group *group = entry->value;

        /* Groups that only ever had pending members leave nothing. */
        if (group->exists &&
            (group->record_offset >= 0 || group->topics_len != 0))
            dump_group(group, &lines);
        dump_offsets(group, &lines);
        dump_pending(group, &lines);
    }
    sort_lines(&lines, out);
    buf_free(&lines);
}
