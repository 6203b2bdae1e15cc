/* The coordinator as a whole: life, dispatch, writes, timers. */
#include "broker/coord/share_group/sgroup.h"

#include <stdlib.h>

void share_group_config_init(struct share_group_config *config)
{
    *config = (struct share_group_config){
        .max_size = 200,
        .session_timeout_ms = 45000,
        .heartbeat_interval_ms = 5000,
        .assignment_interval_ms = 1000,
        .initialize_retry_interval_ms = 30000,
        .members_max_bytes = (size_t)256 << 20,
        .describing_max = 100000,
    };
}

/* ---- life ----------------------------------------------------------------*/

struct share_group_coord *
share_group_create(const struct share_group_config *config,
                   const struct consumer_world *world)
{
    struct share_group_coord *coord = xcalloc(1, sizeof *coord);

    coord->config = *config;
    coord->world = *world;
    return coord;
}

void share_group_free(struct share_group_coord *coord)
{
    if (coord == NULL)
        return;
    MAP_EACH (entry, &coord->groups)
        sgroup_free(coord, entry->value);
    ASSERT(coord->bytes == 0);
    map_free(&coord->groups);
    heap_free(&coord->timers);
    free(coord);
}

void share_group_activate(struct share_group_coord *coord,
                          struct coord_time time, struct coord_update *update)
{
    struct sstep step = {coord, time, update};

    ASSERT(coord->life == SGROUPS_LOADING);
    coord->life = SGROUPS_ACTIVE;
    coord->time = time;
    coord->appends++; /* by others, and who knows whether committed */
    MAP_EACH (entry, &coord->groups) {
        struct sgroup *group = entry->value;

        MAP_EACH (member_entry, &group->members) {
            struct smember *member = member_entry->value;

            if (member->has_profile)
                smember_heard(coord, member);
        }
        if (group->states.deleting_len != 0 ||
            group->states.initializing.len != 0)
            sgroup_ask(&step, group);
    }
}

void share_group_resign(struct share_group_coord *coord,
                        struct coord_update *update)
{
    struct sstep step = {coord, coord->time, update};

    coord->life = SGROUPS_RESIGNED;
    MAP_EACH (entry, &coord->groups)
        sgroup_end_waiting(&step, entry->value, ERR_NOT_COORDINATOR);
}

/* ---- requests ------------------------------------------------------------*/

void share_group_request(struct share_group_coord *coord,
                         const struct coord_context *context, enum api_key api,
                         const void *request, struct coord_update *update)
{
    struct sstep step = {coord, {context->now_ms, context->wall_ms}, update};

    ASSERT(coord->life == SGROUPS_ACTIVE);
    coord->time = step.time;
    switch (api) {
    case API_SHARE_GROUP_HEARTBEAT:
        sheartbeat_request(&step, context, request);
        break;
    case API_SHARE_GROUP_DESCRIBE:
        sdescribe_request(&step, context, request);
        break;
    case API_DELETE_GROUPS:
        sdelete_request(&step, context, request);
        break;
    default:
        soffsets_request(&step, context, api, request);
    }
}

/* ---- writes --------------------------------------------------------------*/

static struct swrite *write_of(struct coord_pending *pending)
{
    return LIST_ENTRY(pending, struct swrite, pending);
}

void share_group_appended(struct share_group_coord *coord,
                          struct coord_pending *pending, uint32_t first,
                          uint32_t count, struct coord_time time)
{
    coord->time = time;
    for (uint32_t i = first; i < first + count; i++) {
        struct coord_record record = coord_records_get(&pending->records, i);
        enum err err = share_group_replay(coord, record.key, record.value);

        ASSERT(err == ERR_NONE); /* we wrote it */
    }
    coord->appends++;
    write_of(pending)->covers = coord->appends;
}

static void answer(struct sstep *step, struct swrite *write, enum err err)
{
    if (write->answer == NULL)
        return;
    if (err != ERR_NONE)
        sanswer_fail(write->answer, coord_append_error(err), NULL);
    sanswer_send(step, write->answer);
    write->answer = NULL;
}

/* What a group's record wants of share coordinators is asked when it is
 * committed, unless some of it failed and waits for its time. */
static void look_at(struct sstep *step, const struct swrite *write,
                    enum err err)
{
    struct sgroup *group = map_get(&step->coord->groups, write->group);

    if (group == NULL)
        return;
    if (write->ends_asking)
        group->asking = false;
    if (write->is_wait)
        group->asks_when_settled = false;
    if (err != ERR_NONE) {
        sgroup_end_waiting(step, group, coord_append_error(err));
        heap_set(&step->coord->timers, &group->ask_again.node,
                 step->time.now_ms + SGROUP_RETRY_MS);
        sgroup_drop_if_hollow(step->coord, group); /* it was to be made */
    } else if (!write->ends_asking || !heap_has(&group->ask_again.node)) {
        sgroup_ask(step, group);
    }
}

void share_group_done(struct share_group_coord *coord,
                      struct coord_pending *pending, enum err err,
                      struct coord_time time, struct coord_update *update)
{
    struct sstep step = {coord, time, update};
    struct swrite *write = write_of(pending);

    coord->time = time;
    answer(&step, write, err);
    if (err == ERR_NONE && write->covers > coord->settled)
        coord->settled = write->covers;
    if (!slice_is_null(write->group) && coord->life == SGROUPS_ACTIVE)
        look_at(&step, write, err);
    swrite_free(write);
}

/* ---- time ----------------------------------------------------------------*/

int64_t share_group_next_deadline(const struct share_group_coord *coord)
{
    const struct heap_node *first = heap_first(&coord->timers);

    return first != NULL ? first->key : INT64_MAX;
}

/* Set again until the records are in the log. */
static void expire(struct sstep *step, struct smember *member)
{
    heap_set(&step->coord->timers, &member->session.node,
             step->time.now_ms + SGROUP_RETRY_MS);
    smember_remove(step, member, NULL);
}

static void assign(struct sstep *step, struct sgroup *group)
{
    heap_remove(&step->coord->timers, &group->assign.node);
    if (group->size == 0 || group->epoch <= group->target_epoch)
        return;
    heap_set(&step->coord->timers, &group->assign.node,
             step->time.now_ms + SGROUP_RETRY_MS);
    sgroup_assign_now(step, group);
}

void share_group_tick(struct share_group_coord *coord, struct coord_time time,
                      struct coord_update *update)
{
    struct sstep step = {coord, time, update};
    struct heap_node *first = heap_first(&coord->timers);

    coord->time = time;
    if (coord->life != SGROUPS_ACTIVE || first == NULL ||
        first->key > time.now_ms)
        return;
    struct stimer *timer = HEAP_ENTRY(first, struct stimer, node);
    switch (timer->kind) {
    case STIMER_SESSION:
        expire(&step, HEAP_ENTRY(timer, struct smember, session));
        break;
    case STIMER_ASSIGN:
        assign(&step, HEAP_ENTRY(timer, struct sgroup, assign));
        break;
    case STIMER_ASK:
        sgroup_ask(&step, HEAP_ENTRY(timer, struct sgroup, ask_again));
        break;
    }
}

/* ---- for groups of other kinds -------------------------------------------*/

enum group_presence share_group_presence(const struct share_group_coord *coord,
                                         struct slice group)
{
    const struct sgroup *found = sgroup_find(coord, group);

    if (found == NULL)
        return GROUP_PRESENT_NOT;
    return found->size != 0 || !sstates_are_none(&found->states) ||
                   found->asking || !list_empty(&found->waiting)
               ? GROUP_PRESENT
               : GROUP_PRESENT_EMPTY;
}

void share_group_delete_records(const struct share_group_coord *coord,
                                struct slice group,
                                struct coord_records *records)
{
    const struct sgroup *found = sgroup_find(coord, group);

    ASSERT(found != NULL && found->size == 0);
    swrite_group_gone(records, found);
}

bool share_group_subscribes(const struct share_group_coord *coord,
                            struct slice group, struct slice topic)
{
    const struct sgroup *found = sgroup_find(coord, group);

    if (found == NULL)
        return false;
    MAP_EACH (entry, &found->members) {
        const struct smember *member = entry->value;

        if (member->has_profile && sprofile_wants(&member->profile, topic))
            return true;
    }
    return false;
}
