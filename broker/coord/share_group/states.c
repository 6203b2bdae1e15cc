/* Which share-partitions have a state at a share coordinator, and what is asked
 * of those for it.
 *
 * A group's record lists what is to be initialized, what is, and topics whose
 * states are to be deleted.  It is in the log before share coordinators are
 * asked, so whoever coordinates next goes on with it.  A state that is to begin
 * elsewhere is in both of the first two: where is not in the record, so if that
 * fails it stays as it is. */
#include "broker/coord/share_group/sgroup.h"

#include <stdlib.h>

void sstates_clear(struct sstates *states)
{
    parts_free(&states->initializing);
    parts_free(&states->initialized);
    free(states->deleting);
    MAP_EACH (entry, &states->names)
        free(entry->value);
    map_free(&states->names);
    *states = (struct sstates){0};
}

bool sstates_are_none(const struct sstates *states)
{
    return states->initializing.len == 0 && states->initialized.len == 0 &&
           states->deleting_len == 0;
}

bool sstates_is_deleting(const struct sstates *states, struct uuid topic)
{
    for (uint32_t i = 0; i < states->deleting_len; i++)
        if (uuid_eq(states->deleting[i], topic))
            return true;
    return false;
}

bool sstates_add_new(const struct sstates *now, const struct stopics *topics,
                     struct sstates *next, struct arena *arena)
{
    uint32_t room = now->initializing.len, len = room;

    for (uint32_t t = 0; t < topics->len; t++)
        room += (uint32_t)topics->items[t].partitions;
    struct part *items = arena_array(arena, room, sizeof *items);
    if (len != 0)
        memcpy(items, now->initializing.items, len * sizeof *items);
    for (uint32_t t = 0; t < topics->len; t++) {
        struct uuid id = topics->items[t].id;

        if (sstates_is_deleting(now, id))
            continue;
        for (int32_t p = 0; p < topics->items[t].partitions; p++)
            if (parts_find(now->initialized, id, p) == NULL &&
                parts_find(now->initializing, id, p) == NULL)
                items[len++] = (struct part){id, p, 0};
    }
    *next = *now;
    if (len == now->initializing.len)
        return false;
    next->initializing = parts_of(items, len);
    return true;
}

/* The partitions of topics that are still there. */
static struct parts still_there(const struct share_group_coord *coord,
                                struct parts set, struct arena *arena)
{
    const struct consumer_world *world = &coord->world;
    struct part *items = arena_array(arena, set.len, sizeof *items);
    uint32_t len = 0;

    for (uint32_t at = 0, run; at < set.len; at += run) {
        run = parts_run(set, at);
        if (slice_is_null(world->topic_name(world->arg, set.items[at].topic)))
            continue;
        memcpy(items + len, set.items + at, run * sizeof *items);
        len += run;
    }
    return (struct parts){items, len};
}

bool sstates_drop_gone(const struct share_group_coord *coord,
                       struct sstates *next, struct arena *arena)
{
    struct parts initializing = still_there(coord, next->initializing, arena);
    struct parts initialized = still_there(coord, next->initialized, arena);
    bool dropped = initializing.len != next->initializing.len ||
                   initialized.len != next->initialized.len;

    next->initializing = initializing;
    next->initialized = initialized;
    return dropped;
}

/* ---- asking --------------------------------------------------------------*/

static struct share_group_ask *ask_new(const struct sgroup *group,
                                       enum api_key api, size_t most)
{
    struct share_group_ask *ask = xcalloc(1, sizeof *ask);

    list_init(&ask->link);
    arena_init(&ask->arena, 0);
    ask->api = api;
    ask->group = arena_copy(&ask->arena, group->id);
    ask->items = arena_array(&ask->arena, most, sizeof *ask->items);
    return ask;
}

void share_group_ask_free(struct share_group_ask *ask)
{
    coord_answer_free(ask->answer);
    arena_free(&ask->arena);
    free(ask);
}

struct coord_answer *share_group_ask_end(struct share_group_ask *ask,
                                         enum err err)
{
    struct coord_answer *answer = ask->answer;

    ask->answer = NULL;
    share_group_ask_free(ask);
    if (answer != NULL)
        sanswer_fail(answer, err, NULL);
    return answer;
}

static int64_t start_of(const struct sgroup *group, const struct part *part)
{
    uint8_t key[20];

    memcpy(key, part->topic.bytes, 16);
    be32_put(key + 16, (uint32_t)part->partition);
    const int64_t *start = map_get(&group->starts, slice_of(key, sizeof key));
    return start != NULL ? *start : -1;
}

static bool is_initialized(const struct sgroup *group, const struct part *part)
{
    return parts_find(group->states.initialized, part->topic,
                      part->partition) != NULL;
}

static struct share_group_ask *ask_initialize(const struct sgroup *group)
{
    struct parts set = group->states.initializing;
    struct share_group_ask *ask =
        ask_new(group, API_INITIALIZE_SHARE_GROUP_STATE, set.len);

    for (uint32_t i = 0; i < set.len; i++) {
        int64_t start = start_of(group, &set.items[i]);

        /* It was to begin elsewhere, and where is not known any more: it stays
         * as it is. */
        if (start < 0 && is_initialized(group, &set.items[i]))
            continue;
        ask->items[ask->items_len++] = (struct share_group_item){
            .topic = set.items[i].topic,
            .partition = set.items[i].partition,
            .state_epoch = group->epoch,
            .start_offset = start,
        };
    }
    return ask;
}

/* Of a topic that is gone the share coordinators forget by themselves. */
static int32_t partitions_of(const struct share_group_coord *coord,
                             struct uuid id)
{
    const struct consumer_world *world = &coord->world;
    struct slice name = world->topic_name(world->arg, id);
    struct consumer_topic topic;

    return !slice_is_null(name) &&
                   world->topic_by_name(world->arg, name, &topic) &&
                   uuid_eq(topic.id, id)
               ? topic.partitions
               : 0;
}

static struct share_group_ask *ask_delete(const struct share_group_coord *coord,
                                          const struct sgroup *group)
{
    const struct sstates *states = &group->states;
    size_t most = 0;

    for (uint32_t i = 0; i < states->deleting_len; i++)
        most += (size_t)partitions_of(coord, states->deleting[i]);
    struct share_group_ask *ask =
        ask_new(group, API_DELETE_SHARE_GROUP_STATE, most);
    for (uint32_t i = 0; i < states->deleting_len; i++) {
        int32_t len = partitions_of(coord, states->deleting[i]);

        for (int32_t p = 0; p < len; p++)
            ask->items[ask->items_len++] = (struct share_group_item){
                .topic = states->deleting[i], .partition = p};
    }
    return ask;
}

/* Looks at the group again when all that is in its log is committed. */
static void ask_when_settled(struct sstep *step, struct sgroup *group)
{
    struct swrite *write;

    if (group->asks_when_settled)
        return;
    group->asks_when_settled = true;
    write = swrite_new(NULL);
    write->group = slice_of(slice_dup(group->id), group->id.len);
    write->is_wait = true;
    write->covers = step->coord->appends;
    list_push_back(&step->update->writes, &write->pending.link);
}

void sgroup_ask(struct sstep *step, struct sgroup *group)
{
    struct share_group_ask *ask;

    heap_remove(&step->coord->timers, &group->ask_again.node);
    if (group->asking || step->coord->life != SGROUPS_ACTIVE)
        return;
    /* Another coordinator may lead without that record, and for it what would
     * be deleted is there. */
    if (group->states.deleting_len != 0 &&
        step->coord->settled < group->states_at) {
        ask_when_settled(step, group);
        return;
    }
    if (group->states.deleting_len != 0) {
        ask = ask_delete(step->coord, group);
    } else if (group->states.initializing.len != 0) {
        ask = ask_initialize(group);
    } else {
        sgroup_end_waiting(step, group, ERR_NONE);
        return;
    }
    group->asking = true;
    list_push_back(&step->update->asks, &ask->link);
}

/* ---- what they said ------------------------------------------------------*/

/* Those of a set that went well, or did not. */
static struct parts heard(struct arena *arena,
                          const struct share_group_ask *ask, bool well)
{
    struct part *items = arena_array(arena, ask->items_len, sizeof *items);
    uint32_t len = 0;

    for (uint32_t i = 0; i < ask->items_len; i++)
        if ((ask->items[i].err == ERR_NONE) == well)
            items[len++] =
                (struct part){ask->items[i].topic, ask->items[i].partition, 0};
    return parts_of(items, len);
}

static bool has_topic(struct parts set, struct uuid topic)
{
    for (uint32_t at = 0; at < set.len; at += parts_run(set, at))
        if (uuid_eq(set.items[at].topic, topic))
            return true;
    return false;
}

static void take_deleted(const struct sgroup *group, struct parts failed,
                         struct arena *arena, struct sstates *next)
{
    const struct sstates *now = &group->states;

    next->deleting =
        arena_array(arena, now->deleting_len, sizeof *next->deleting);
    next->deleting_len = 0;
    for (uint32_t i = 0; i < now->deleting_len; i++)
        if (has_topic(failed, now->deleting[i]))
            next->deleting[next->deleting_len++] = now->deleting[i];
}

static void take_initialized(const struct sgroup *group, struct parts well,
                             struct arena *arena, struct sstates *next)
{
    const struct sstates *now = &group->states;
    struct parts moved = parts_and(arena, now->initializing, well);

    /* What was to begin elsewhere, and could not, stays as it is. */
    next->initializing = parts_minus(
        arena, parts_minus(arena, now->initializing, moved), now->initialized);
    next->initialized =
        parts_join(arena, parts_minus(arena, now->initialized, moved), moved);
}

static void ask_later(struct sstep *step, struct sgroup *group, int64_t ms)
{
    heap_set(&step->coord->timers, &group->ask_again.node,
             step->time.now_ms + ms);
}

static enum err first_error(const struct share_group_ask *ask)
{
    for (uint32_t i = 0; i < ask->items_len; i++)
        if (ask->items[i].err != ERR_NONE)
            return ask->items[i].err;
    return ERR_NONE;
}

/* Members hear of what is initialized as the group has another epoch. */
static void take(struct sstep *step, struct sgroup *group,
                 const struct share_group_ask *ask)
{
    struct swrite *write = swrite_new(NULL);
    struct coord_records *records = &write->pending.records;
    struct sstates next = group->states;
    struct arena arena;

    arena_init(&arena, 0);
    write->group = slice_of(slice_dup(group->id), group->id.len);
    write->ends_asking = true;
    if (ask->api == API_DELETE_SHARE_GROUP_STATE) {
        take_deleted(group, heard(&arena, ask, false), &arena, &next);
        group->seen_topics = 0; /* who has joined may want it */
    } else {
        take_initialized(group, heard(&arena, ask, true), &arena, &next);
        swrite_group(records, group->id, group->epoch + 1, group->hash);
    }
    swrite_states(records, step->coord, group->id, &next);
    arena_free(&arena);
    swrite_send(step, write);
}

static bool some_went_well(const struct share_group_ask *ask)
{
    for (uint32_t i = 0; i < ask->items_len; i++)
        if (ask->items[i].err == ERR_NONE)
            return true;
    return ask->items_len == 0;
}

static void asked(struct sstep *step, struct sgroup *group,
                  const struct share_group_ask *ask)
{
    enum err error = first_error(ask);

    if (error != ERR_NONE) {
        ask_later(step, group,
                  step->coord->config.initialize_retry_interval_ms);
        sgroup_end_waiting(step, group, error);
    }
    if (some_went_well(ask))
        take(step, group, ask);
    else
        group->asking = false;
}

void share_group_asked(struct share_group_coord *coord,
                       struct share_group_ask *ask, struct coord_time time,
                       struct coord_update *update)
{
    struct sstep step = {coord, time, update};
    struct sgroup *group = map_get(&coord->groups, ask->group);

    coord->time = time;
    if (coord->life != SGROUPS_ACTIVE) {
        if (ask->answer != NULL) {
            sanswer_fail(ask->answer, ERR_NOT_COORDINATOR, NULL);
            sanswer_send(&step, ask->answer);
            ask->answer = NULL;
        }
    } else if (ask->api == API_READ_SHARE_GROUP_STATE_SUMMARY) {
        soffsets_described(&step, ask);
    } else if (group != NULL) {
        asked(&step, group, ask);
    }
    share_group_ask_free(ask);
}
