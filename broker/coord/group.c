/* What a group is, between requests: its state, its roster of members, which
 * protocol they agree on, and what they subscribe to. */
#include "broker/coord/group.h"

#include <stdlib.h>

const char *group_state_name(enum group_state state)
{
    switch (state) {
    case GROUP_EMPTY:
        return "Empty";
    case GROUP_PREPARING_REBALANCE:
        return "PreparingRebalance";
    case GROUP_COMPLETING_REBALANCE:
        return "CompletingRebalance";
    case GROUP_STABLE:
        return "Stable";
    }
    ASSERT(false);
    return "";
}

/* ---- names ---------------------------------------------------------------*/

enum group_presence group_elsewhere(const struct coord *coord, struct slice id)
{
    return coord->others.arg != NULL
               ? coord->others.presence(coord->others.arg, id)
               : GROUP_PRESENT_NOT;
}

enum group_presence coord_presence(const struct coord *coord, struct slice id)
{
    const struct group *group = group_find(coord, id);

    if (group == NULL)
        return GROUP_PRESENT_NOT;
    if (group->roster != NULL || group->state != GROUP_EMPTY)
        return GROUP_PRESENT;
    return group->record_offset >= 0 ? GROUP_PRESENT_EMPTY : GROUP_PRESENT_NOT;
}

/* ---- life ----------------------------------------------------------------*/

struct group *group_find(const struct coord *coord, struct slice id)
{
    struct group *group = map_get(&coord->groups, id);

    return group != NULL && group->exists ? group : NULL;
}

struct group *group_find_or_create(struct coord *coord, struct slice id,
                                   int64_t wall_ms)
{
    struct group *group = map_get(&coord->groups, id);

    if (group == NULL) {
        group = xcalloc(1, sizeof *group + id.len + 1);
        group->id_len = (uint32_t)id.len;
        if (id.len != 0)
            memcpy(group->id, id.data, id.len);
        group->expire.kind = TIMER_EXPIRE;
        map_put(&coord->groups, id, group);
    }
    if (!group->exists) {
        group->exists = true;
        group->state = group->previous = GROUP_EMPTY;
        group->state_wall_ms = wall_ms;
        group->record_offset = group->loaded_offset = -1;
    }
    return group;
}

struct roster *group_roster(struct group *group)
{
    struct roster *roster = group->roster;

    if (roster == NULL) {
        roster = group->roster = xcalloc(1, sizeof *roster);
        roster->group = group;
        roster->join.kind = TIMER_JOIN;
        roster->sync.kind = TIMER_SYNC;
        list_init(&roster->members);
    }
    return roster;
}

void group_drop_roster(struct coord *coord, struct group *group)
{
    struct roster *roster = group->roster;

    if (roster == NULL)
        return;
    LIST_EACH_SAFE (node, next, &roster->members)
        member_remove(coord, LIST_ENTRY(node, struct member, link));
    MAP_EACH (entry, &roster->pending)
        pending_remove(coord, entry->value);
    MAP_EACH (entry, &roster->supports)
        free(entry->value);
    heap_remove(&coord->timers, &roster->join.node);
    heap_remove(&coord->timers, &roster->sync.node);
    map_free(&roster->by_id);
    map_free(&roster->by_instance);
    map_free(&roster->pending);
    map_free(&roster->supports);
    map_free(&roster->topics);
    free(roster);
    group->roster = NULL;
}

void group_free(struct coord *coord, struct group *group)
{
    group_drop_roster(coord, group);
    heap_remove(&coord->timers, &group->expire.node);
    group_set_text(&group->protocol_type, SLICE_NULL);
    group_set_text(&group->protocol_name, SLICE_NULL);
    offsets_free(group);
    free(group);
}

static bool has_offsets(const struct group *group)
{
    for (uint32_t t = 0; t < group->topics_len; t++)
        for (uint32_t i = 0; i < group->topics[t]->len; i++)
            if (offset_newest(&group->topics[t]->entries[i]) != NULL)
                return true;
    return false;
}

bool coord_has_offsets(const struct coord *coord, struct slice id)
{
    const struct group *group = map_get(&coord->groups, id);

    return group != NULL && (has_offsets(group) || offsets_any_pending(group));
}

void group_forget(struct coord *coord, struct group *group)
{
    group_drop_roster(coord, group);
    heap_remove(&coord->timers, &group->expire.node);
    group_set_text(&group->protocol_type, SLICE_NULL);
    group_set_text(&group->protocol_name, SLICE_NULL);
    group->state = group->previous = GROUP_EMPTY;
    group->generation = 0;
    group->record_offset = group->loaded_offset = -1;
    group->state_wall_ms = -1;
    group->exists = has_offsets(group);
    if (group->exists)
        expire_arm_group(coord, group);
    group_drop_if_hollow(coord, group);
}

/* No member, no record, no offset: what a refused join or the last tombstone
 * leaves behind. */
void group_drop_if_hollow(struct coord *coord, struct group *group)
{
    struct roster *roster = group->roster;

    if (roster != NULL && group->state == GROUP_EMPTY &&
        map_count(&roster->by_id) == 0 && map_count(&roster->pending) == 0)
        group_drop_roster(coord, group);
    if (group->roster != NULL || group->topics_len != 0 ||
        offsets_any_pending(group))
        return;
    if (group->exists && (group->record_offset >= 0 || group->generation != 0 ||
                          group->state != GROUP_EMPTY))
        return;
    map_remove(&coord->groups, group_id(group));
    group_free(coord, group);
}

/* ---- state ---------------------------------------------------------------*/

static bool may_follow(enum group_state next, enum group_state now)
{
    switch (next) {
    case GROUP_EMPTY:
    case GROUP_COMPLETING_REBALANCE:
        return now == GROUP_PREPARING_REBALANCE;
    case GROUP_PREPARING_REBALANCE:
        return now != GROUP_PREPARING_REBALANCE;
    case GROUP_STABLE:
        return now == GROUP_COMPLETING_REBALANCE;
    }
    return false;
}

void group_set_state(struct group *group, enum group_state state,
                     int64_t wall_ms)
{
    ASSERT(may_follow(state, group->state));
    group->previous = group->state;
    group->state = state;
    group->state_wall_ms = wall_ms;
}

void group_set_text(struct slice *text, struct slice value)
{
    struct slice old = *text;

    *text = slice_is_null(value) ? SLICE_NULL
                                 : slice_of(slice_dup(value), value.len);
    free((void *)(uintptr_t)old.data);
}

uint32_t group_size(const struct group *group)
{
    return group->roster != NULL ? map_count(&group->roster->by_id) : 0;
}

int32_t group_rebalance_timeout_ms(const struct group *group)
{
    int32_t largest = 0;

    if (group->roster == NULL)
        return 0;
    LIST_EACH (node, &group->roster->members) {
        const struct member *m = LIST_ENTRY(node, struct member, link);
        if (m->rebalance_timeout_ms > largest)
            largest = m->rebalance_timeout_ms;
    }
    return largest;
}

bool group_all_joined(const struct group *group)
{
    const struct roster *roster = group->roster;

    return roster == NULL || (roster->joins_waiting == group_size(group) &&
                              map_count(&roster->pending) == 0);
}

/* ---- protocols -----------------------------------------------------------*/

static bool all_support(const struct group *group, struct slice protocol)
{
    const struct support *support =
        group->roster != NULL ? map_get(&group->roster->supports, protocol)
                              : NULL;

    return (support != NULL ? support->members : 0) == group_size(group);
}

bool group_supports(const struct group *group, struct slice protocol_type,
                    const struct join_group_request_protocol *protocols,
                    int32_t protocols_len)
{
    if (group->state == GROUP_EMPTY)
        return protocol_type.len != 0 && protocols_len > 0;
    if (!slice_eq(group->protocol_type, protocol_type))
        return false;
    for (int32_t i = 0; i < protocols_len; i++)
        if (all_support(group, protocols[i].name))
            return true;
    return false;
}

/* A member's first choice among those that all support. */
static struct slice vote_of(const struct group *group, const struct member *m)
{
    for (int32_t i = 0; i < m->protocols_len; i++)
        if (all_support(group, m->protocols[i].name))
            return m->protocols[i].name;
    ASSERT(false); /* nobody joins without a protocol in common */
    return SLICE_NULL;
}

struct slice group_vote(const struct group *group)
{
    struct map votes = MAP_INIT;
    struct slice winner = SLICE_NULL;
    uintptr_t most = 0;

    ASSERT(group_size(group) != 0);
    LIST_EACH (node, &group->roster->members) {
        struct slice choice =
            vote_of(group, LIST_ENTRY(node, struct member, link));
        uintptr_t count = (uintptr_t)map_get(&votes, choice) + 1;
        map_put(&votes, choice, (void *)count);
    }
    /* Among equals the one that was voted for first. */
    MAP_EACH (entry, &votes) {
        if ((uintptr_t)entry->value > most)
            most = (uintptr_t)entry->value;
    }
    LIST_EACH (node, &group->roster->members) {
        winner = vote_of(group, LIST_ENTRY(node, struct member, link));
        if ((uintptr_t)map_get(&votes, winner) == most)
            break;
    }
    map_free(&votes);
    return winner;
}

/* ---- subscriptions -------------------------------------------------------*/

bool group_is_consumer(const struct group *group)
{
    return slice_eq_str(group->protocol_type, "consumer");
}

/* A consumer's subscription starts with a version and the topics in all
 * versions; the rest is the clients' affair. */
static bool read_topics(struct slice metadata, struct map *topics)
{
    struct reader r = reader_of(metadata);

    if (read_i16(&r) < 0)
        return false;
    int32_t count = read_i32(&r);
    for (int32_t i = 0; i < count && !r.bad; i++) {
        int16_t len = read_i16(&r);
        struct slice name = read_bytes(&r, len < 0 ? SIZE_MAX : (size_t)len);
        if (!r.bad)
            map_put(topics, name, topics);
    }
    return !r.bad && count >= 0;
}

void group_learn_topics(struct group *group)
{
    struct roster *roster = group->roster;

    if (roster == NULL)
        return;
    map_free(&roster->topics);
    roster->topics_known = false;
    if (!group_is_consumer(group) || slice_is_null(group->protocol_name))
        return;
    LIST_EACH (node, &roster->members) {
        const struct member *m = LIST_ENTRY(node, struct member, link);
        if (!read_topics(member_metadata(m, group->protocol_name),
                         &roster->topics))
            return;
    }
    roster->topics_known = true;
}

/* When it cannot be known, a consumer group is taken to read everything. */
bool group_subscribes(const struct group *group, struct slice topic)
{
    if (!group_is_consumer(group) || group->state == GROUP_EMPTY)
        return false;
    return group->roster == NULL || !group->roster->topics_known ||
           map_get(&group->roster->topics, topic) != NULL;
}
