/* The coordinator as a whole: life, dispatch, the end of writes. */
#include "broker/coord/streams/streams.h"

#include <stdlib.h>

void streams_config_init(struct streams_config *config)
{
    *config = (struct streams_config){
        .settings =
            {
                .session_timeout_ms = 45000,
                .heartbeat_interval_ms = 5000,
                .assignment_interval_ms = 1000,
                .initial_rebalance_delay_ms = 3000,
                .num_standby_replicas = 0,
            },
        .group_streams_max_size = INT32_MAX,
        .offsets_retention_check_interval_ms = 600000,
        .members_max_bytes = (size_t)256 << 20,
    };
}

void streams_creation_free(struct streams_creation *creation)
{
    if (creation == NULL)
        return;
    arena_free(&creation->arena);
    free(creation);
}

/* ---- life ----------------------------------------------------------------*/

struct streams_coord *streams_coord_create(const struct streams_config *config,
                                           const struct streams_world *world)
{
    struct streams_coord *coord = xcalloc(1, sizeof *coord);

    coord->config = *config;
    coord->world = *world;
    coord->life = STREAMS_LOADING;
    return coord;
}

void streams_coord_set_offsets(struct streams_coord *coord,
                               const struct consumer_offsets *offsets)
{
    coord->offsets = *offsets;
}

void streams_coord_free(struct streams_coord *coord)
{
    if (coord == NULL)
        return;
    MAP_EACH (entry, &coord->groups)
        stgroup_free(coord, entry->value);
    ASSERT(coord->bytes == 0);
    ASSERT(map_count(&coord->topics) == 0);
    map_free(&coord->groups);
    map_free(&coord->topics);
    heap_free(&coord->timers);
    free(coord);
}

void streams_coord_activate(struct streams_coord *coord, struct coord_time time)
{
    ASSERT(coord->life == STREAMS_LOADING);
    coord->life = STREAMS_ACTIVE;
    coord->time = time;
    MAP_EACH (entry, &coord->groups) {
        struct stgroup *group = entry->value;

        stgroup_watch_empty(coord, group);
        MAP_EACH (member_entry, &group->members) {
            struct stmember *member = member_entry->value;

            if (!member->has_profile)
                continue;
            stmember_heard(coord, member);
            stmember_arm(coord, member);
        }
    }
    coord->appends++; /* by others, and who knows whether committed */
}

void streams_coord_resign(struct streams_coord *coord)
{
    coord->life = STREAMS_RESIGNED;
}

/* ---- requests ------------------------------------------------------------*/

void streams_coord_request(struct streams_coord *coord,
                           const struct coord_context *context,
                           enum api_key api, const void *request,
                           struct coord_update *update)
{
    struct ststep step = {coord, {context->now_ms, context->wall_ms}, update};

    ASSERT(coord->life == STREAMS_ACTIVE);
    coord->time = step.time;
    switch (api) {
    case API_STREAMS_GROUP_HEARTBEAT:
        stheartbeat_request(&step, context, request);
        break;
    case API_STREAMS_GROUP_DESCRIBE:
        stdescribe_request(&step, context, request);
        break;
    default:
        ASSERT(false); /* the caller sent us somebody else's request */
    }
}

void streams_coord_topic_changed(struct streams_coord *coord, struct slice name)
{
    const struct stopic *topic = map_get(&coord->topics, name);

    if (topic == NULL)
        return;
    LIST_EACH (node, &topic->groups)
        LIST_ENTRY(node, struct swant, link)->group->stale = true;
}

void streams_coord_creation_failed(struct streams_coord *coord,
                                   struct slice group, struct slice why)
{
    struct stgroup *found = stgroup_find(coord, group);

    if (found != NULL)
        stgroup_set_excerpt(&found->creation_why, why, STREAMS_WHY_MAX_BYTES);
}

/* ---- writes --------------------------------------------------------------*/

void streams_coord_appended(struct streams_coord *coord,
                            struct streams_write *write, uint32_t first,
                            uint32_t count, struct coord_time time)
{
    coord->time = time;
    for (uint32_t i = first; i < first + count; i++) {
        struct coord_record record =
            coord_records_get(&write->pending.records, i);
        enum err err = streams_coord_replay(coord, record.key, record.value);

        /* We wrote it; others replay what is theirs. */
        ASSERT(err == ERR_NONE || err == ERR_UNSUPPORTED_VERSION);
    }
    coord->appends++;
    write->covers = coord->appends;
}

static void answer(struct ststep *step, struct streams_write *write,
                   enum err err)
{
    if (write->answer == NULL)
        return;
    if (err != ERR_NONE)
        stanswer_fail(write->answer, coord_append_error(err), SLICE_NULL);
    stanswer_send(step, write->answer);
    write->answer = NULL;
}

/* A write that failed tells its client so, and makes no topics.  What of it is
 * in the log is not committed, so answers to come wait until something after it
 * is. */
void streams_coord_done(struct streams_coord *coord,
                        struct streams_write *write, enum err err,
                        struct coord_update *update)
{
    struct ststep step = {coord, coord->time, update};

    answer(&step, write, err);
    if (err == ERR_NONE)
        stwrite_create(&step, write);
    if (err == ERR_NONE && write->covers > coord->settled)
        coord->settled = write->covers;
    stwrite_free(write);
}

uint32_t streams_coord_groups_count(const struct streams_coord *coord)
{
    return map_count(&coord->groups);
}
