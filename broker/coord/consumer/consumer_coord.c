/* The coordinator as a whole: life, dispatch, the end of writes. */
#include "broker/coord/consumer/consumer.h"

#include <stdlib.h>

void consumer_config_init(struct consumer_config *config)
{
    *config = (struct consumer_config){
        .group_consumer_max_size = INT32_MAX,
        .group_consumer_session_timeout_ms = 45000,
        .group_consumer_heartbeat_interval_ms = 5000,
        .group_consumer_assignment_interval_ms = 1000,
        .group_consumer_regex_refresh_interval_ms = 600000,
        .offsets_retention_check_interval_ms = 600000,
        .group_consumer_assignors = {SLICE("uniform"), SLICE("range")},
        .group_consumer_assignors_len = 2,
        .members_max_bytes = (size_t)256 << 20,
        .upgrade = true,
        .downgrade = true,
        .group_min_session_timeout_ms = 6000,
        .group_max_session_timeout_ms = 1800000,
        .group_max_size = INT32_MAX,
        .batch_max_bytes = UINT32_MAX,
    };
}

/* ---- life ----------------------------------------------------------------*/

struct consumer_coord *
consumer_coord_create(const struct consumer_config *config,
                      const struct consumer_world *world)
{
    struct consumer_coord *coord = xcalloc(1, sizeof *coord);

    ASSERT(config->group_consumer_assignors_len > 0);
    for (uint32_t i = 0; i < config->group_consumer_assignors_len; i++)
        ASSERT(assign_find(config->group_consumer_assignors[i]) != NULL);
    coord->config = *config;
    coord->world = *world;
    coord->life = CONSUMER_LOADING;
    return coord;
}

void consumer_coord_set_offsets(struct consumer_coord *coord,
                                const struct consumer_offsets *offsets)
{
    coord->offsets = *offsets;
}

void consumer_coord_set_classics(struct consumer_coord *coord,
                                 const struct handover_classics *classics)
{
    coord->classics = *classics;
}

void consumer_coord_free(struct consumer_coord *coord)
{
    if (coord == NULL)
        return;
    MAP_EACH (entry, &coord->groups)
        cgroup_free(coord, entry->value);
    ASSERT(coord->bytes == 0);
    ASSERT(map_count(&coord->topics) == 0);
    map_free(&coord->groups);
    map_free(&coord->topics);
    heap_free(&coord->timers);
    free(coord);
}

void consumer_coord_activate(struct consumer_coord *coord,
                             int64_t topics_version, struct coord_time time)
{
    ASSERT(coord->life == CONSUMER_LOADING);
    coord->life = CONSUMER_ACTIVE;
    coord->time = time;
    coord->topics_version = topics_version;
    MAP_EACH (entry, &coord->groups) {
        struct cgroup *group = entry->value;

        cgroup_watch_empty(coord, group);
        MAP_EACH (member_entry, &group->members) {
            struct cmember *member = member_entry->value;

            if (!member->has_profile)
                continue;
            cmember_heard(coord, member);
            cmember_arm(coord, member);
        }
    }
    coord->appends++; /* by others, and who knows whether committed */
}

void consumer_coord_resign(struct consumer_coord *coord)
{
    coord->life = CONSUMER_RESIGNED;
}

/* ---- requests ------------------------------------------------------------*/

void consumer_coord_request(struct consumer_coord *coord,
                            const struct coord_context *context,
                            enum api_key api, const void *request,
                            struct coord_update *update)
{
    struct cstep step = {coord, {context->now_ms, context->wall_ms}, update};

    ASSERT(coord->life == CONSUMER_ACTIVE);
    coord->time = step.time;
    switch (api) {
    case API_CONSUMER_GROUP_HEARTBEAT:
        cheartbeat_request(&step, context, request);
        break;
    case API_CONSUMER_GROUP_DESCRIBE:
        cdescribe_request(&step, context, request);
        break;
    case API_JOIN_GROUP:
        cjoin_request(&step, context, request);
        break;
    case API_SYNC_GROUP:
        csync_request(&step, context, request);
        break;
    case API_HEARTBEAT:
        cclassic_heartbeat_request(&step, context, request);
        break;
    case API_LEAVE_GROUP:
        cleave_group_request(&step, context, request);
        break;
    default:
        ASSERT(false); /* the caller sent us somebody else's request */
    }
}

void consumer_coord_looked_up(struct consumer_coord *coord,
                              struct consumer_lookup *lookup,
                              int64_t topics_version, struct coord_time time,
                              struct coord_update *update)
{
    struct cstep step = {coord, time, update};
    struct cgroup *group = cgroup_find(coord, lookup->group);

    ASSERT(coord->life == CONSUMER_ACTIVE);
    coord->time = time;
    if (group != NULL) {
        group->looking_up = false;
        group->looked_ms = time.now_ms;
        cregex_looked_up(&step, group, lookup, topics_version);
    }
    consumer_lookup_free(lookup);
}

/* ---- writes --------------------------------------------------------------*/

void consumer_coord_appended(struct consumer_coord *coord,
                             struct consumer_write *write, uint32_t first,
                             uint32_t count, struct coord_time time)
{
    coord->time = time;
    for (uint32_t i = first; i < first + count; i++) {
        struct coord_record record =
            coord_records_get(&write->pending.records, i);
        enum err err = consumer_coord_replay(coord, record.key, record.value);

        /* We wrote it; others replay what is theirs. */
        ASSERT(err == ERR_NONE || err == ERR_UNSUPPORTED_VERSION);
    }
    coord->appends++;
    write->covers = coord->appends;
}

static void answer(struct consumer_coord *coord, struct consumer_write *write,
                   enum err err, struct coord_update *update)
{
    struct cstep step = {coord, coord->time, update};

    if (write->answer == NULL)
        return;
    if (err != ERR_NONE)
        canswer_fail(write->answer, coord_append_error(err), NULL);
    canswer_send(&step, write->answer);
    write->answer = NULL;
}

/* A write that failed tells its client so.  What of it is in the log is not
 * committed, so answers to come wait until something after it is. */
void consumer_coord_done(struct consumer_coord *coord,
                         struct consumer_write *write, enum err err,
                         struct coord_update *update)
{
    if (err == ERR_NONE && coord->life == CONSUMER_ACTIVE)
        cwrite_joined(coord, write);
    answer(coord, write, err, update);
    if (err == ERR_NONE && write->covers > coord->settled)
        coord->settled = write->covers;
    cwrite_free(write);
}

uint32_t consumer_coord_groups_count(const struct consumer_coord *coord)
{
    return map_count(&coord->groups);
}
