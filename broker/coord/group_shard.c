#include "broker/coord/group_shard.h"

#include "broker/coord/runtime.h"

#include <stdlib.h>

enum shard_state { SHARD_LOADING, SHARD_ACTIVE, SHARD_RESIGNED };

struct group_shard {
    struct group_shard_options options;
    const struct group_shard_ops *ops;
    void *arg;
    enum shard_state state;
    struct coord *coord; /* NULL while loading */
    struct coord_runtime runtime;
    struct coord_time time; /* of the call in progress */
    int64_t announced;      /* the deadline last told by ops->deadline */
    struct list answers;    /* to be sent when the outermost call ends */
    int depth;              /* calls from outside that have not returned */
    bool sending;
};

static struct coord_write *write_of(struct coord_pending *pending)
{
    return LIST_ENTRY(pending, struct coord_write, pending);
}

/* ---- carrying out --------------------------------------------------------*/

/* Decisions are appended, and so take effect, before the next request is
 * handled.  Only plain commits collect until the end of the turn: they depend
 * on no record, and no other request is handled between them (see below). */
static void carry_out(struct group_shard *shard, struct coord_update *update)
{
    bool flush = false;

    while (!list_empty(&update->writes)) {
        struct coord_write *write = LIST_ENTRY(
            list_pop_front(&update->writes), struct coord_write, pending.link);
        flush = flush || !write->may_wait;
        coord_runtime_add(&shard->runtime, &write->pending, shard->time.now_ms,
                          shard->time.wall_ms);
    }
    if (flush)
        coord_runtime_flush(&shard->runtime, shard->time.now_ms,
                            shard->time.wall_ms);
    list_append_all(&shard->answers, &update->answers);
}

static enum err on_append(void *arg, uint8_t *batch, size_t len,
                          int64_t *base_offset)
{
    struct group_shard *shard = arg;

    return shard->ops->append(shard->arg, batch, len, base_offset);
}

static void on_appended(void *arg, struct coord_pending *pending,
                        uint32_t first, uint32_t count, int64_t base_offset)
{
    struct group_shard *shard = arg;

    coord_appended(shard->coord, write_of(pending), first, count, base_offset);
}

static void on_done(void *arg, struct coord_pending *pending, enum err err)
{
    struct group_shard *shard = arg;
    struct coord_update update;

    coord_update_init(&update);
    coord_done(shard->coord, write_of(pending), err, shard->time, &update);
    carry_out(shard, &update);
}

static const struct coord_runtime_ops runtime_ops = {
    on_append,
    on_appended,
    on_done,
};

int64_t group_shard_next_deadline(const struct group_shard *shard)
{
    if (shard->state != SHARD_ACTIVE)
        return INT64_MAX;
    int64_t timers = coord_next_deadline(shard->coord);
    int64_t waiting = coord_runtime_next_deadline(&shard->runtime);
    return timers < waiting ? timers : waiting;
}

/* Calls from outside can nest: appending moves the high watermark, and an
 * answer lets the next request of its connection in.  Answers leave when the
 * outermost call has done its work, so that what they cause finds the
 * coordinator at rest. */
static void enter(struct group_shard *shard, struct coord_time time)
{
    shard->depth++;
    shard->time = time;
}

static void leave(struct group_shard *shard)
{
    if (--shard->depth > 0 || shard->sending)
        return;
    shard->sending = true;
    while (!list_empty(&shard->answers))
        shard->ops->answer(shard->arg,
                           LIST_ENTRY(list_pop_front(&shard->answers),
                                      struct coord_answer, link));
    shard->sending = false;
    int64_t deadline = group_shard_next_deadline(shard);
    if (deadline < shard->announced && shard->ops->deadline != NULL)
        shard->ops->deadline(shard->arg);
    shard->announced = deadline;
}

/* ---- life ----------------------------------------------------------------*/

struct group_shard *
group_shard_create(const struct group_shard_options *options,
                   const struct group_shard_ops *ops, void *arg)
{
    struct group_shard *shard = xcalloc(1, sizeof *shard);

    shard->options = *options;
    shard->ops = ops;
    shard->arg = arg;
    shard->announced = INT64_MAX;
    list_init(&shard->answers);
    return shard;
}

void group_shard_free(struct group_shard *shard)
{
    if (shard == NULL)
        return;
    ASSERT(shard->state != SHARD_ACTIVE && shard->depth == 0 &&
           !shard->sending);
    coord_runtime_free(&shard->runtime);
    coord_free(shard->coord);
    free(shard);
}

void group_shard_activate(struct group_shard *shard,
                          struct group_loader *loader, int64_t end_offset,
                          int64_t high_watermark, struct coord_time time)
{
    struct coord_update update;

    ASSERT(shard->state == SHARD_LOADING);
    shard->coord = group_loader_take(loader);
    shard->state = SHARD_ACTIVE;
    enter(shard, time);
    coord_runtime_init(
        &shard->runtime, &runtime_ops, shard, shard->options.batch_max_bytes,
        shard->options.commit_timeout_ms, end_offset, high_watermark);
    coord_committed(shard->coord, high_watermark);
    coord_update_init(&update);
    coord_activate(shard->coord, time, &update);
    carry_out(shard, &update);
    leave(shard);
}

void group_shard_resign(struct group_shard *shard, struct coord_time time)
{
    struct coord_update update;
    bool active = shard->state == SHARD_ACTIVE;

    shard->state = SHARD_RESIGNED;
    if (!active)
        return;
    enter(shard, time);
    coord_update_init(&update);
    coord_resign(shard->coord, &update);
    carry_out(shard, &update);
    coord_runtime_resign(&shard->runtime);
    leave(shard);
}

const struct coord *group_shard_coord(const struct group_shard *shard)
{
    return shard->coord;
}

/* ---- requests ------------------------------------------------------------*/

/* What the client may be told while there is no coordinator.  While loading,
 * heartbeats are taken for good, and a SyncGroup starts over with JoinGroup,
 * as older clients do not know the real reason in either answer. */
static enum err refusal(const struct group_shard *shard, enum api_key api)
{
    if (shard->state == SHARD_RESIGNED)
        return api == API_LIST_GROUPS ? ERR_NONE : ERR_NOT_COORDINATOR;
    switch (api) {
    case API_HEARTBEAT:
        return ERR_NONE;
    case API_SYNC_GROUP:
        return ERR_REBALANCE_IN_PROGRESS;
    default:
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    }
}

/* Whether the request can be handled while commits before it are still to be
 * appended: it looks at no offsets, or only at committed ones. */
static bool ignores_collected(enum api_key api, const void *request)
{
    const struct offset_fetch_request *fetch = request;

    return api == API_OFFSET_COMMIT || api == API_HEARTBEAT ||
           api == API_DESCRIBE_GROUPS || api == API_LIST_GROUPS ||
           (api == API_OFFSET_FETCH && !fetch->require_stable);
}

void group_shard_request(struct group_shard *shard,
                         const struct coord_context *context, enum api_key api,
                         const void *request)
{
    struct coord_update update;

    if (shard->state != SHARD_ACTIVE) {
        shard->ops->answer(shard->arg, coord_refuse(context, api, request,
                                                    refusal(shard, api)));
        return;
    }
    enter(shard, (struct coord_time){context->now_ms, context->wall_ms});
    if (!ignores_collected(api, request))
        coord_runtime_flush(&shard->runtime, context->now_ms, context->wall_ms);
    coord_update_init(&update);
    coord_request(shard->coord, context, api, request, &update);
    carry_out(shard, &update);
    leave(shard);
}

void group_shard_topic_deleted(struct group_shard *shard, struct slice topic,
                               struct coord_time time)
{
    struct coord_update update;

    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_runtime_flush(&shard->runtime, time.now_ms, time.wall_ms);
    coord_update_init(&update);
    coord_topic_deleted(shard->coord, topic, time, &update);
    carry_out(shard, &update);
    leave(shard);
}

void group_shard_marker(struct group_shard *shard, int64_t producer_id,
                        bool committed, int64_t offset, struct coord_time time)
{
    struct coord_origin origin = {offset, producer_id};

    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_replay_marker(shard->coord, origin, committed);
    leave(shard);
}

/* ---- time and the log ----------------------------------------------------*/

void group_shard_flush(struct group_shard *shard, struct coord_time time)
{
    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_runtime_flush(&shard->runtime, time.now_ms, time.wall_ms);
    leave(shard);
}

void group_shard_committed(struct group_shard *shard, int64_t high_watermark,
                           struct coord_time time)
{
    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_committed(shard->coord, high_watermark);
    coord_runtime_committed(&shard->runtime, high_watermark);
    leave(shard);
}

void group_shard_tick(struct group_shard *shard, struct coord_time time)
{
    struct coord_update update;

    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_runtime_tick(&shard->runtime, time.now_ms, time.wall_ms);
    coord_update_init(&update);
    coord_tick(shard->coord, time, &update);
    carry_out(shard, &update);
    shard->announced = INT64_MAX;
    leave(shard);
}
