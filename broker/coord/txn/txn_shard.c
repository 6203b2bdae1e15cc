#include "broker/coord/txn/txn_shard.h"

#include "broker/coord/runtime.h"

#include <stdlib.h>

/* What the record of an end adds to that of the partitions before it, and a
 * batch to its record. */
enum { RECORD_ROOM_BYTES = 256 };

struct txn_shard {
    struct txn_shard_options options;
    const struct txn_shard_ops *ops;
    void *arg;
    enum { SHARD_LOADING, SHARD_ACTIVE, SHARD_RESIGNED } state;
    struct txn_coord *coord; /* NULL while loading */
    struct coord_runtime runtime;
    struct coord_time time; /* of the call in progress */
    int64_t announced;      /* the deadline last told by ops->deadline */
    struct list answers;    /* to be sent when the outermost call ends */
    struct list markers;    /* likewise */
    bool wants_ids;
    int depth; /* calls from outside that have not returned */
    bool sending;
};

static struct txn_write *write_of(struct coord_pending *pending)
{
    return LIST_ENTRY(pending, struct txn_write, pending);
}

/* ---- carrying out --------------------------------------------------------*/

/* All decisions are appended at once: the next request is to find them in the
 * log or refused. */
static void carry_out(struct txn_shard *shard, struct txn_update *update)
{
    while (!list_empty(&update->writes))
        coord_runtime_add(&shard->runtime,
                          LIST_ENTRY(list_pop_front(&update->writes),
                                     struct coord_pending, link),
                          shard->time.now_ms, shard->time.wall_ms);
    list_append_all(&shard->markers, &update->markers);
    list_append_all(&shard->answers, &update->answers);
    shard->wants_ids = shard->wants_ids || update->wants_ids;
    coord_runtime_flush(&shard->runtime, shard->time.now_ms,
                        shard->time.wall_ms);
}

static enum err on_append(void *arg, uint8_t *batch, size_t len,
                          int64_t *base_offset)
{
    struct txn_shard *shard = arg;

    return shard->ops->append(shard->arg, batch, len, base_offset);
}

/* State changes with the commit, not before. */
static void on_appended(void *arg, struct coord_pending *pending,
                        uint32_t first, uint32_t count, int64_t base_offset)
{
    (void)arg;
    (void)pending;
    (void)first;
    (void)count;
    (void)base_offset;
}

static void on_done(void *arg, struct coord_pending *pending, enum err err)
{
    struct txn_shard *shard = arg;
    struct txn_update update;

    txn_update_init(&update);
    txn_coord_done(shard->coord, write_of(pending), err, shard->time, &update);
    carry_out(shard, &update);
}

static const struct coord_runtime_ops runtime_ops = {
    on_append,
    on_appended,
    on_done,
};

int64_t txn_shard_next_deadline(const struct txn_shard *shard)
{
    if (shard->state != SHARD_ACTIVE)
        return INT64_MAX;
    int64_t timers = txn_coord_next_deadline(shard->coord);
    int64_t waiting = coord_runtime_next_deadline(&shard->runtime);
    return timers < waiting ? timers : waiting;
}

/* Calls from outside can nest: appending moves the high watermark, an answer
 * lets the next request of its connection in, and a marker may fail at once.
 * They leave when the outermost call has done its work. */
static void enter(struct txn_shard *shard, struct coord_time time)
{
    shard->depth++;
    shard->time = time;
}

static void send_all(struct txn_shard *shard)
{
    while (!list_empty(&shard->markers) || !list_empty(&shard->answers)) {
        if (!list_empty(&shard->markers))
            shard->ops->marker(shard->arg,
                               LIST_ENTRY(list_pop_front(&shard->markers),
                                          struct txn_marker, link));
        else
            shard->ops->answer(shard->arg,
                               LIST_ENTRY(list_pop_front(&shard->answers),
                                          struct txn_answer, link));
    }
}

static void leave(struct txn_shard *shard)
{
    if (--shard->depth > 0 || shard->sending)
        return;
    shard->sending = true;
    send_all(shard);
    if (shard->wants_ids) {
        shard->wants_ids = false;
        shard->ops->wants_ids(shard->arg);
    }
    shard->sending = false;
    int64_t deadline = txn_shard_next_deadline(shard);
    if (deadline < shard->announced && shard->ops->deadline != NULL)
        shard->ops->deadline(shard->arg);
    shard->announced = deadline;
}

/* ---- life ----------------------------------------------------------------*/

struct txn_shard *txn_shard_create(const struct txn_shard_options *options,
                                   const struct txn_shard_ops *ops, void *arg)
{
    struct txn_shard *shard = xcalloc(1, sizeof *shard);

    shard->options = *options;
    shard->options.config.record_max_bytes =
        options->batch_max_bytes > 2 * RECORD_ROOM_BYTES
            ? options->batch_max_bytes - RECORD_ROOM_BYTES
            : options->batch_max_bytes;
    shard->ops = ops;
    shard->arg = arg;
    shard->announced = INT64_MAX;
    list_init(&shard->answers);
    list_init(&shard->markers);
    return shard;
}

void txn_shard_free(struct txn_shard *shard)
{
    if (shard == NULL)
        return;
    ASSERT(shard->state != SHARD_ACTIVE && shard->depth == 0 &&
           !shard->sending);
    coord_runtime_free(&shard->runtime);
    txn_coord_free(shard->coord);
    free(shard);
}

struct txn_loader *txn_shard_loader(const struct txn_shard *shard)
{
    return txn_loader_create(&shard->options.config);
}

void txn_shard_activate(struct txn_shard *shard, struct txn_loader *loader,
                        int32_t coordinator_epoch, int64_t end_offset,
                        int64_t high_watermark, struct coord_time time)
{
    struct txn_update update;

    ASSERT(shard->state == SHARD_LOADING);
    shard->coord = txn_loader_take(loader);
    shard->state = SHARD_ACTIVE;
    enter(shard, time);
    coord_runtime_init(
        &shard->runtime, &runtime_ops, shard, shard->options.batch_max_bytes,
        shard->options.commit_timeout_ms, end_offset, high_watermark);
    txn_update_init(&update);
    txn_coord_activate(shard->coord, coordinator_epoch, time, &update);
    carry_out(shard, &update);
    leave(shard);
}

/* A replaced coordinator's markers must not start now. */
static void drop_markers(struct txn_shard *shard)
{
    while (!list_empty(&shard->markers))
        txn_marker_free(LIST_ENTRY(list_pop_front(&shard->markers),
                                   struct txn_marker, link));
}

void txn_shard_resign(struct txn_shard *shard, struct coord_time time)
{
    bool active = shard->state == SHARD_ACTIVE;
    struct txn_update update;

    shard->state = SHARD_RESIGNED;
    if (!active)
        return;
    enter(shard, time);
    txn_update_init(&update);
    txn_coord_resign(shard->coord, &update);
    carry_out(shard, &update);
    coord_runtime_resign(&shard->runtime);
    drop_markers(shard);
    shard->wants_ids = false;
    leave(shard);
}

const struct txn_coord *txn_shard_coord(const struct txn_shard *shard)
{
    return shard->coord;
}

/* ---- requests ------------------------------------------------------------*/

/* A broker that leads no partition any more lists nothing of it. */
static enum err refusal(const struct txn_shard *shard, enum api_key api)
{
    if (shard->state == SHARD_LOADING)
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    return api == API_LIST_TRANSACTIONS ? ERR_NONE : ERR_NOT_COORDINATOR;
}

void txn_shard_request(struct txn_shard *shard,
                       const struct txn_context *context, enum api_key api,
                       const void *request)
{
    struct txn_update update;

    if (shard->state != SHARD_ACTIVE) {
        shard->ops->answer(
            shard->arg, txn_refuse(context, api, request, refusal(shard, api)));
        return;
    }
    enter(shard, (struct coord_time){context->now_ms, context->wall_ms});
    txn_update_init(&update);
    txn_coord_request(shard->coord, context, api, request, &update);
    carry_out(shard, &update);
    leave(shard);
}

void txn_shard_marker_done(struct txn_shard *shard, struct txn_marker *marker,
                           enum txn_marker_result result,
                           struct coord_time time)
{
    struct txn_update update;

    if (shard->state != SHARD_ACTIVE) {
        txn_marker_free(marker);
        return;
    }
    enter(shard, time);
    txn_update_init(&update);
    txn_coord_marker_done(shard->coord, marker, result, time, &update);
    carry_out(shard, &update);
    leave(shard);
}

void txn_shard_set_version(struct txn_shard *shard, int16_t level)
{
    shard->options.config.transaction_version = level;
    if (shard->coord != NULL)
        txn_coord_set_version(shard->coord, level);
}

void txn_shard_give_ids(struct txn_shard *shard, int64_t first, int32_t count)
{
    if (shard->state == SHARD_ACTIVE)
        txn_coord_give_ids(shard->coord, first, count);
}

/* ---- time and the log ----------------------------------------------------*/

void txn_shard_committed(struct txn_shard *shard, int64_t high_watermark,
                         struct coord_time time)
{
    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_runtime_committed(&shard->runtime, high_watermark);
    leave(shard);
}

void txn_shard_tick(struct txn_shard *shard, struct coord_time time)
{
    struct txn_update update;

    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_runtime_tick(&shard->runtime, time.now_ms, time.wall_ms);
    txn_update_init(&update);
    txn_coord_tick(shard->coord, time, &update);
    carry_out(shard, &update);
    shard->announced = INT64_MAX;
    leave(shard);
}
