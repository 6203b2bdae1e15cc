#include "broker/coord/share/share_shard.h"

#include "broker/coord/runtime.h"

#include <stdlib.h>

/* What a batch adds to its record. */
enum { RECORD_ROOM_BYTES = 256 };

struct share_shard {
    struct share_shard_options options;
    const struct share_shard_ops *ops;
    void *arg;
    enum { SHARD_LOADING, SHARD_ACTIVE, SHARD_RESIGNED } state;
    struct share_coord *coord; /* NULL while loading */
    struct coord_runtime runtime;
    struct coord_time time; /* of the call in progress */
    int64_t announced;      /* the deadline last told by ops->deadline */
    struct list answers;    /* to be sent when the outermost call ends */
    int depth;              /* calls from outside that have not returned */
    bool sending;
};

static struct share_coord_write *write_of(struct coord_pending *pending)
{
    return LIST_ENTRY(pending, struct share_coord_write, pending);
}

/* ---- carrying out --------------------------------------------------------*/

/* All decisions are appended at once: the next request is to find its key
 * under way or done. */
static void carry_out(struct share_shard *shard,
                      struct share_coord_update *update)
{
    while (!list_empty(&update->writes))
        coord_runtime_add(&shard->runtime,
                          LIST_ENTRY(list_pop_front(&update->writes),
                                     struct coord_pending, link),
                          shard->time.now_ms, shard->time.wall_ms);
    list_append_all(&shard->answers, &update->answers);
    coord_runtime_flush(&shard->runtime, shard->time.now_ms,
                        shard->time.wall_ms);
}

static enum err on_append(void *arg, uint8_t *batch, size_t len,
                          int64_t *base_offset)
{
    struct share_shard *shard = arg;

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
    struct share_shard *shard = arg;
    struct share_coord_update update;

    share_coord_update_init(&update);
    share_coord_done(shard->coord, write_of(pending), err, shard->time,
                     &update);
    carry_out(shard, &update);
}

static const struct coord_runtime_ops runtime_ops = {
    on_append,
    on_appended,
    on_done,
};

int64_t share_shard_next_deadline(const struct share_shard *shard)
{
    if (shard->state != SHARD_ACTIVE)
        return INT64_MAX;
    int64_t timer = share_coord_next_deadline(shard->coord);
    int64_t waiting = coord_runtime_next_deadline(&shard->runtime);
    return timer < waiting ? timer : waiting;
}

/* Calls from outside can nest: appending moves the high watermark, an answer
 * lets the next request of its connection in.  Answers leave when the outermost
 * call has done its work. */
static void enter(struct share_shard *shard, struct coord_time time)
{
    shard->depth++;
    shard->time = time;
}

static void leave(struct share_shard *shard)
{
    if (--shard->depth > 0 || shard->sending)
        return;
    shard->sending = true;
    while (!list_empty(&shard->answers))
        shard->ops->answer(shard->arg,
                           LIST_ENTRY(list_pop_front(&shard->answers),
                                      struct share_answer, link));
    shard->sending = false;
    int64_t deadline = share_shard_next_deadline(shard);
    if (deadline < shard->announced && shard->ops->deadline != NULL)
        shard->ops->deadline(shard->arg);
    shard->announced = deadline;
}

/* ---- life ----------------------------------------------------------------*/

struct share_shard *
share_shard_create(const struct share_shard_options *options,
                   const struct share_shard_ops *ops, void *arg)
{
    struct share_shard *shard = xcalloc(1, sizeof *shard);

    shard->options = *options;
    shard->options.config.record_max_bytes =
        options->batch_max_bytes > 2 * RECORD_ROOM_BYTES
            ? options->batch_max_bytes - RECORD_ROOM_BYTES
            : options->batch_max_bytes;
    shard->ops = ops;
    shard->arg = arg;
    shard->announced = INT64_MAX;
    list_init(&shard->answers);
    return shard;
}

void share_shard_free(struct share_shard *shard)
{
    if (shard == NULL)
        return;
    ASSERT(shard->state != SHARD_ACTIVE && shard->depth == 0 &&
           !shard->sending);
    coord_runtime_free(&shard->runtime);
    share_coord_free(shard->coord);
    free(shard);
}

struct share_loader *share_shard_loader(const struct share_shard *shard)
{
    return share_loader_create(&shard->options.config);
}

void share_shard_activate(struct share_shard *shard,
                          struct share_loader *loader, int64_t end_offset,
                          int64_t high_watermark, struct coord_time time)
{
    struct share_coord_update update;

    ASSERT(shard->state == SHARD_LOADING);
    shard->coord = share_loader_take(loader);
    shard->state = SHARD_ACTIVE;
    enter(shard, time);
    coord_runtime_init(
        &shard->runtime, &runtime_ops, shard, shard->options.batch_max_bytes,
        shard->options.commit_timeout_ms, end_offset, high_watermark);
    share_coord_update_init(&update);
    share_coord_activate(shard->coord, time, &update);
    carry_out(shard, &update);
    leave(shard);
}

void share_shard_resign(struct share_shard *shard, struct coord_time time)
{
    bool active = shard->state == SHARD_ACTIVE;

    shard->state = SHARD_RESIGNED;
    if (!active)
        return;
    enter(shard, time);
    share_coord_resign(shard->coord);
    coord_runtime_resign(&shard->runtime);
    leave(shard);
}

const struct share_coord *share_shard_coord(const struct share_shard *shard)
{
    return shard->coord;
}

/* ---- requests ------------------------------------------------------------*/

void share_shard_ask(struct share_shard *shard,
                     const struct share_context *context,
                     struct share_answer *piece)
{
    struct share_coord_update update;

    if (shard->state != SHARD_ACTIVE) {
        piece->token = context->token;
        share_answer_refuse(piece, shard->state == SHARD_LOADING
                                       ? ERR_COORDINATOR_LOAD_IN_PROGRESS
                                       : ERR_NOT_COORDINATOR);
        shard->ops->answer(shard->arg, piece);
        return;
    }
    enter(shard, (struct coord_time){context->now_ms, context->wall_ms});
    share_coord_update_init(&update);
    share_coord_ask(shard->coord, context, piece, &update);
    carry_out(shard, &update);
    leave(shard);
}

void share_shard_request(struct share_shard *shard,
                         const struct share_context *context, enum api_key api,
                         const void *request)
{
    share_shard_ask(shard, context, share_answer_new(context, api, request));
}

uint32_t share_shard_topic_deleted(struct share_shard *shard, struct uuid topic,
                                   struct coord_time time)
{
    struct share_coord_update update;

    if (shard->state != SHARD_ACTIVE)
        return 0;
    enter(shard, time);
    share_coord_update_init(&update);
    uint32_t left =
        share_coord_topic_deleted(shard->coord, topic, time, &update);
    carry_out(shard, &update);
    leave(shard);
    return left;
}

/* ---- time and the log ----------------------------------------------------*/

void share_shard_committed(struct share_shard *shard, int64_t high_watermark,
                           struct coord_time time)
{
    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_runtime_committed(&shard->runtime, high_watermark);
    leave(shard);
}

void share_shard_tick(struct share_shard *shard, struct coord_time time)
{
    struct share_coord_update update;

    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_runtime_tick(&shard->runtime, time.now_ms, time.wall_ms);
    share_coord_update_init(&update);
    share_coord_tick(shard->coord, time, &update);
    carry_out(shard, &update);
    shard->announced = INT64_MAX;
    leave(shard);
}

int64_t share_shard_prune_offset(const struct share_shard *shard)
{
    return shard->state == SHARD_ACTIVE ? share_coord_prune_offset(shard->coord)
                                        : 0;
}
