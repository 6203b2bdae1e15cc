/* The coordinator as a whole: life, dispatch, timers, the end of writes. */
#include "broker/coord/coord.h"

#include "broker/coord/group.h"

#include <stdlib.h>

/* So that one call is short however many sessions end at once. */
enum { TIMERS_PER_TICK = 256 };

void coord_config_init(struct coord_config *config)
{
    *config = (struct coord_config){
        .group_min_session_timeout_ms = 6000,
        .group_max_session_timeout_ms = 1800000,
        .group_initial_rebalance_delay_ms = 3000,
        .group_max_size = INT32_MAX,
        .offset_metadata_max_bytes = 4096,
        .offsets_retention_ms = INT64_C(10080) * 60000,
        .offsets_retention_check_interval_ms = 600000,
        .members_max_bytes = (size_t)256 << 20,
    };
}

void coord_update_init(struct coord_update *update)
{
    list_init(&update->answers);
    list_init(&update->writes);
    list_init(&update->lookups);
    list_init(&update->creations);
    list_init(&update->asks);
}

/* ---- life ----------------------------------------------------------------*/

struct coord *coord_create(const struct coord_config *config)
{
    struct coord *coord = xcalloc(1, sizeof *coord);

    coord->config = *config;
    return coord;
}

void coord_set_others(struct coord *coord, const struct coord_others *others)
{
    coord->others = *others;
}

void coord_free(struct coord *coord)
{
    if (coord == NULL)
        return;
    offsets_free_txns(coord);
    MAP_EACH (entry, &coord->groups)
        group_free(coord, entry->value);
    map_free(&coord->groups);
    heap_free(&coord->timers);
    free(coord->unsettled);
    free(coord);
}

void coord_activate(struct coord *coord, struct coord_time time,
                    struct coord_update *update)
{
    struct step step = {coord, time.now_ms, time.wall_ms, update};

    coord->time = time;
    coord->active = true;
    coord->inherited = offsets_unsettled_end(coord);
    MAP_EACH (entry, &coord->groups) {
        struct group *group = entry->value;

        if (!group->exists)
            continue;
        handover_begin(&step, group);
        expire_arm_group(coord, group);
    }
}

void coord_resign(struct coord *coord, struct coord_update *update)
{
    struct step step = {coord, coord->time.now_ms, coord->time.wall_ms, update};

    coord->active = false;
    MAP_EACH (entry, &coord->groups) {
        struct roster *roster = ((struct group *)entry->value)->roster;

        if (roster == NULL)
            continue;
        LIST_EACH (node, &roster->members) {
            struct member *m = LIST_ENTRY(node, struct member, link);
            answer_join_error(&step, m, m->id, ERR_NOT_COORDINATOR);
            answer_sync_error(&step, m, ERR_NOT_COORDINATOR);
        }
    }
}

/* ---- requests ------------------------------------------------------------*/

void coord_request(struct coord *coord, const struct coord_context *context,
                   enum api_key api, const void *request,
                   struct coord_update *update)
{
    struct step step = {coord, context->now_ms, context->wall_ms, update};

    coord->time = (struct coord_time){context->now_ms, context->wall_ms};
    switch (api) {
    case API_JOIN_GROUP:
        join_request(&step, context, request);
        break;
    case API_SYNC_GROUP:
        sync_request(&step, context, request);
        break;
    case API_HEARTBEAT:
        heartbeat_request(&step, context, request);
        break;
    case API_LEAVE_GROUP:
        leave_request(&step, context, request);
        break;
    case API_OFFSET_COMMIT:
        offset_commit_request(&step, context, request);
        break;
    case API_TXN_OFFSET_COMMIT:
        offset_commit_txn_request(&step, context, request);
        break;
    case API_OFFSET_FETCH:
        offset_fetch_request(&step, context, request);
        break;
    case API_OFFSET_DELETE:
        offset_delete_request(&step, context, request);
        break;
    case API_DESCRIBE_GROUPS:
        describe_groups_request(&step, context, request);
        break;
    case API_LIST_GROUPS:
        list_groups_request(&step, context, request);
        break;
    case API_DELETE_GROUPS:
        delete_groups_request(&step, context, request);
        break;
    default:
        ASSERT(false); /* the caller sent us somebody else's request */
    }
}

/* ---- writes --------------------------------------------------------------*/

void coord_committed(struct coord *coord, int64_t end_offset)
{
    if (end_offset <= coord->committed)
        return;
    coord->committed = end_offset;
    offsets_settle(coord);
}

void coord_appended(struct coord *coord, struct coord_write *write,
                    uint32_t first, uint32_t count, int64_t base_offset)
{
    struct group *group =
        slice_is_null(write->group) ? NULL : group_find(coord, write->group);
    int64_t producer_id =
        write->pending.transactional ? write->pending.producer_id : -1;

    for (uint32_t i = 0; i < count && write->replay; i++) {
        struct coord_record record =
            coord_records_get(&write->pending.records, first + i);
        enum err err = coord_replay(
            coord, (struct coord_origin){base_offset + i, producer_id},
            record.key, record.value);
        /* We wrote it; others replay what is theirs. */
        ASSERT(err == ERR_NONE || err == ERR_UNSUPPORTED_VERSION);
    }
    if (group != NULL)
        group->record_offset = base_offset;
}

enum err coord_append_error(enum err append)
{
    switch (append) {
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_NOT_ENOUGH_REPLICAS:
    case ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case ERR_REQUEST_TIMED_OUT:
        return ERR_COORDINATOR_NOT_AVAILABLE;
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_FENCED_LEADER_EPOCH:
    case ERR_KAFKA_STORAGE_ERROR:
    case ERR_IO:
    case ERR_FULL:
    case ERR_EXHAUSTED:
    case ERR_CLOSED:
        return ERR_NOT_COORDINATOR;
    case ERR_MESSAGE_TOO_LARGE:
    case ERR_RECORD_LIST_TOO_LARGE:
    case ERR_INVALID_FETCH_SIZE:
    case ERR_TOO_LARGE:
        return ERR_UNKNOWN_SERVER_ERROR;
    default:
        return append;
    }
}

/* Some clients know fewer errors than others. */
static enum err plain_error(enum api_key api, enum err append)
{
    enum err err = coord_append_error(append);

    if ((api == API_OFFSET_COMMIT || api == API_TXN_OFFSET_COMMIT) &&
        err == ERR_UNKNOWN_SERVER_ERROR && append != ERR_UNKNOWN_SERVER_ERROR)
        return ERR_INVALID_COMMIT_OFFSET_SIZE;
    /* Consumers retry a fetch on this one, and look for the coordinator. */
    if (api == API_OFFSET_FETCH && err == ERR_COORDINATOR_NOT_AVAILABLE)
        return ERR_NOT_COORDINATOR;
    return err;
}

static void plain_done(struct step *step, struct coord_write *write,
                       enum err err)
{
    if (write->answer == NULL)
        return;
    if (err != ERR_NONE)
        coord_answer_fail(write->answer, plain_error(write->answer->api, err));
    answer_send(step, write->answer);
    write->answer = NULL;
}

void coord_done(struct coord *coord, struct coord_write *write, enum err err,
                struct coord_time time, struct coord_update *update)
{
    struct step step = {coord, time.now_ms, time.wall_ms, update};

    coord->time = time;
    switch (write->kind) {
    case COORD_WRITE_PLAIN:
        plain_done(&step, write, err);
        break;
    case COORD_WRITE_SYNC:
        if (coord->active)
            sync_done(&step, write, err);
        break;
    case COORD_WRITE_STATIC:
        if (coord->active)
            join_static_done(&step, write, err);
        break;
    }
    write_free(write);
}

/* ---- timers --------------------------------------------------------------*/

static void session_over(struct step *step, struct member *m)
{
    struct group *group = m->group;

    /* Who waits for us lives, except that a new member that waits for too long
     * has probably gone. */
    if (!m->is_new && (m->join.waiting || m->sync.waiting))
        return;
    rebalance_take_out(step, m);
    rebalance_member_gone(step, group, "a member's session ended");
}

static void pending_over(struct step *step, struct pending_member *pending)
{
    struct group *group = pending->group;

    pending_remove(step->coord, pending);
    if (group->state == GROUP_PREPARING_REBALANCE)
        rebalance_member_gone(step, group, "");
    group_drop_if_hollow(step->coord, group);
}

static void fire(struct step *step, struct coord_timer *timer)
{
    heap_remove(&step->coord->timers, &timer->node);
    switch (timer->kind) {
    case TIMER_SESSION:
        session_over(step, HEAP_ENTRY(timer, struct member, session));
        break;
    case TIMER_PENDING:
        pending_over(step, HEAP_ENTRY(timer, struct pending_member, timer));
        break;
    case TIMER_JOIN:
        rebalance_join_timeout(step,
                               HEAP_ENTRY(timer, struct roster, join)->group);
        break;
    case TIMER_SYNC:
        rebalance_sync_timeout(step,
                               HEAP_ENTRY(timer, struct roster, sync)->group);
        break;
    case TIMER_EXPIRE:
        expire_timeout(step, HEAP_ENTRY(timer, struct group, expire));
        break;
    }
}

int64_t coord_next_deadline(const struct coord *coord)
{
    const struct heap_node *first = heap_first(&coord->timers);

    return first != NULL && coord->active ? first->key : INT64_MAX;
}

void coord_tick(struct coord *coord, struct coord_time time,
                struct coord_update *update)
{
    struct step step = {coord, time.now_ms, time.wall_ms, update};

    coord->time = time;
    for (int i = 0; i < TIMERS_PER_TICK; i++) {
        struct heap_node *first = heap_first(&coord->timers);

        if (first == NULL || first->key > time.now_ms)
            break;
        fire(&step, HEAP_ENTRY(first, struct coord_timer, node));
    }
}

/* ---- looking inside ------------------------------------------------------*/

uint32_t coord_groups_count(const struct coord *coord)
{
    return map_count(&coord->groups);
}

size_t coord_members_bytes(const struct coord *coord)
{
    return coord->members_bytes;
}
