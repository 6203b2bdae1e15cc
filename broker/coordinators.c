#include "broker/coordinators.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/planted.h"
#include "broker/coord/group_shard.h"
#include "broker/request.h"
#include "broker/shard.h"

#include <stdlib.h>

enum { LOAD_PIECE_BYTES = 1 << 20, MEMBERS_MAX_BYTES = 256 << 20 };

struct coordinator {
    struct partition *partition; /* NULL: lost, waits for its tasks to end */
    struct shard *shard;
    struct group_shard *groups;
    struct group_loader *loader; /* while loading */
    int64_t load_at;
    int64_t load_end;
    int64_t load_started_us;
    struct env_timer timer;
    struct env_task poke; /* flush, commits and timers at the end of the turn */
    bool poke_posted;
};

static struct coord_time time_now(const struct coordinator *c)
{
    return (struct coord_time){env_now_ms(c->shard->env),
                               env_wall_ms(c->shard->env)};
}

/* ---- the end of a turn --------------------------------------------------- */

static void rearm(struct coordinator *c);
static void load_piece(struct coordinator *c);

static void on_poke(struct env_task *task)
{
    struct coordinator *c =
        (struct coordinator *)((char *)task -
                               offsetof(struct coordinator, poke));

    c->poke_posted = false;
    if (c->partition == NULL) {
        free(c);
        return;
    }
    if (c->loader != NULL) {
        load_piece(c);
        return;
    }
    group_shard_committed(c->groups, c->partition->high_watermark, time_now(c));
    group_shard_flush(c->groups, time_now(c));
    rearm(c);
}

static void poke(struct coordinator *c)
{
    if (c->poke_posted)
        return;
    c->poke_posted = true;
    c->poke.fn = on_poke;
    env_post(c->shard->env, &c->poke);
}

static void on_timer(void *arg)
{
    struct coordinator *c = arg;

    group_shard_tick(c->groups, time_now(c));
    rearm(c);
}

static void rearm(struct coordinator *c)
{
    int64_t deadline_ms = group_shard_next_deadline(c->groups);
    int64_t now_ms = env_now_ms(c->shard->env);

    if (deadline_ms == INT64_MIN)
        poke(c);
    else if (deadline_ms == INT64_MAX)
        env_timer_stop(c->shard->env, &c->timer);
    else
        env_timer_start(c->shard->env, &c->timer,
                        deadline_ms > now_ms ? deadline_ms - now_ms : 0);
}

/* ---- what the coordinator asks for --------------------------------------- */

static enum err append(void *arg, uint8_t *batch, size_t len,
                       int64_t *base_offset)
{
    struct coordinator *c = arg;
    struct partition_source in = {
        .bytes = batch, .len = len, .api_version = -1};
    struct partition_append result;

    enum err error = partition_append(c->partition, &in, -1, &result);
    *base_offset = result.base_offset;
    return error;
}

static void call_home(struct env_task *task)
{
    struct group_call *call = (struct group_call *)(void *)task;

    call->returned(call);
}

static void answered(struct group_call *call, struct shard *here,
                     struct coord_answer *answer)
{
    struct shard *home = call->request->shard;

    call->answer = answer;
    call->task.fn = call_home;
    if (home == here)
        call_home(&call->task);
    else
        env_post(home->env, &call->task);
}

static void on_answer(void *arg, struct coord_answer *answer)
{
    struct coordinator *c = arg;

    answered(answer->token, c->shard, answer);
}

static void on_deadline(void *arg) { poke(arg); }

static const struct group_shard_ops ops = {
    .append = append,
    .answer = on_answer,
    .deadline = on_deadline,
};

/* ---- loading ------------------------------------------------------------- */

static void load_done(struct coordinator *c)
{
    struct group_loader *loader = c->loader;

    c->loader = NULL;
    log_info(
        "groups",
        "Loaded %s-%d: %llu records in %lld ms, %llu of them not "
        "understood and skipped",
        c->partition->topic->name, c->partition->index,
        (unsigned long long)group_loader_records(loader),
        (long long)((env_now_us(c->shard->env) - c->load_started_us) / 1000),
        (unsigned long long)group_loader_skipped(loader));
    group_shard_activate(c->groups, loader, c->load_end,
                         c->partition->high_watermark, time_now(c));
    poke(c);
}

/* The whole batches at the front. */
static size_t whole_bytes(struct slice bytes)
{
    struct batch b;
    size_t at = 0;

    while (at < bytes.len &&
           batch_parse(slice_of(bytes.data + at, bytes.len - at), &b) ==
               ERR_NONE)
        at += b.size_bytes;
    return at;
}

static enum err load_range(struct coordinator *c, const struct log_range *range)
{
    uint8_t *data = xmalloc(range->len);
    enum err error = ERR_KAFKA_STORAGE_ERROR;
    struct batch b;

    if (env_file_read(range->file, data, range->len, range->position) ==
        (int64_t)range->len) {
        size_t whole = whole_bytes(slice_of(data, range->len));

        error = whole == 0 ? ERR_CORRUPT_MESSAGE
                           : group_loader_add(c->loader, slice_of(data, whole));
        for (size_t at = 0; at < whole; at += b.size_bytes) {
            ASSERT(batch_parse(slice_of(data + at, whole - at), &b) ==
                   ERR_NONE);
            c->load_at = batch_last_offset(&b) + 1;
        }
    }
    free(data);
    return error;
}

static void load_piece(struct coordinator *c)
{
    struct log_range range = {0};
    enum err error = ERR_NONE;

    if (c->load_at < c->load_end)
        error = log_read(c->partition->log, c->load_at, c->load_end,
                         LOAD_PIECE_BYTES, true, &range);
    if (error == ERR_NONE && range.len != 0)
        error = load_range(c, &range);
    else if (error == ERR_NONE)
        c->load_at = c->load_end;
    if (range.file != NULL)
        env_file_unref(range.file);
    if (error != ERR_NONE) {
        log_error("groups",
                  "Cannot load %s-%d at offset %lld: %s. Its groups stay "
                  "unavailable here; move the partition to a replica that can "
                  "be read",
                  c->partition->topic->name, c->partition->index,
                  (long long)c->load_at, err_text(error));
        return;
    }
    if (c->load_at >= c->load_end)
        load_done(c);
    else
        poke(c);
}

/* ---- life ---------------------------------------------------------------- */

static void take_options(const struct server_config *config,
                         const struct partition *p,
                         struct group_shard_options *o)
{
    coord_config_init(&o->coord);
    o->coord.group_min_session_timeout_ms =
        config->group_min_session_timeout_ms;
    o->coord.group_max_session_timeout_ms =
        config->group_max_session_timeout_ms;
    o->coord.group_initial_rebalance_delay_ms =
        config->group_initial_rebalance_delay_ms;
    o->coord.group_max_size = config->group_max_size;
    o->coord.offset_metadata_max_bytes = config->offset_metadata_max_bytes;
    o->coord.offsets_retention_ms =
        (int64_t)config->offsets_retention_minutes * 60000;
    o->coord.offsets_retention_check_interval_ms =
        config->offsets_retention_check_interval_ms;
    o->coord.members_max_bytes = MEMBERS_MAX_BYTES;
    o->batch_max_bytes = (uint32_t)p->settings->log.max_message_bytes;
    o->commit_timeout_ms = config->offsets_commit_timeout_ms;
}

void coordinators_elected(struct partition *p)
{
    struct coordinator *c;
    struct group_shard_options options;

    if (strcmp(p->topic->name, GROUP_TOPIC) != 0)
        return;
    ASSERT(p->coordinator == NULL);
    c = xcalloc(1, sizeof *c);
    take_options(p->shard->broker->config, p, &options);
    c->partition = p;
    c->shard = p->shard;
    c->groups = group_shard_create(&options, &ops, c);
    c->loader = group_loader_create(&options.coord, p->high_watermark);
    c->load_at = log_start_offset(p->log);
    c->load_end = PLANTED(GROUPS_LOAD_TO_WATERMARK) ? p->high_watermark
                                                    : log_end_offset(p->log);
    c->load_started_us = env_now_us(p->shard->env);
    c->timer.fn = on_timer;
    c->timer.arg = c;
    p->coordinator = c;
    poke(c);
}

void coordinators_lost(struct partition *p)
{
    struct coordinator *c = p->coordinator;

    if (c == NULL)
        return;
    p->coordinator = NULL;
    if (c->loader != NULL)
        group_loader_free(c->loader);
    else
        group_shard_resign(c->groups, time_now(c));
    group_shard_free(c->groups);
    env_timer_stop(c->shard->env, &c->timer);
    c->partition = NULL;
    if (!c->poke_posted)
        free(c);
}

/* Not at once: this may come from inside the coordinator's own append. */
void coordinators_committed(struct partition *p) { poke(p->coordinator); }

enum err coordinators_before_marker(struct partition *p)
{
    struct coordinator *c = p->coordinator;

    if (c == NULL)
        return ERR_NONE;
    if (c->loader != NULL)
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    group_shard_flush(c->groups, time_now(c));
    return partition_check_leader(p, -1);
}

void coordinators_marker(struct partition *p, const struct control_marker *m,
                         int64_t offset)
{
    struct coordinator *c = p->coordinator;

    if (c == NULL || c->loader != NULL)
        return;
    group_shard_marker(c->groups, m->producer_id, m->commit, offset,
                       time_now(c));
    rearm(c);
}

void coordinators_topic_deleted(struct shard *s, const char *topic)
{
    struct shard_topic *t = shard_topic_by_name(s, SLICE(GROUP_TOPIC));

    for (int32_t i = 0; t != NULL && i < t->partitions; i++) {
        struct partition *p = t->local[i];

        if (p == NULL || p->coordinator == NULL)
            continue;
        struct coordinator *c = p->coordinator;
        if (c->loader == NULL)
            group_shard_topic_deleted(c->groups, slice_str(topic), time_now(c));
    }
}

/* ---- calls --------------------------------------------------------------- */

static void fill_context(struct group_call *call, struct shard *here,
                         struct coord_context *context)
{
    const struct request *r = call->request;
    struct prng random = {env_random(here->env)};

    *context = (struct coord_context){
        .token = call,
        .now_ms = env_now_ms(here->env),
        .wall_ms = env_wall_ms(here->env),
        .version = r->version,
        .client_id = r->client_id,
        .client_host = slice_str(r->group_host),
        .random = uuid_random(&random),
    };
}

/* Nobody coordinates the group without a name. */
static enum err refusal(const struct group_call *call)
{
    struct slice group = SLICE("-");

    switch (call->api) {
    case API_JOIN_GROUP:
        group = ((const struct join_group_request *)call->msg)->group_id;
        break;
    case API_SYNC_GROUP:
        group = ((const struct sync_group_request *)call->msg)->group_id;
        break;
    case API_HEARTBEAT:
        group = ((const struct heartbeat_request *)call->msg)->group_id;
        break;
    case API_LEAVE_GROUP:
        group = ((const struct leave_group_request *)call->msg)->group_id;
        break;
    default:
        break;
    }
    return group.len == 0 ? ERR_INVALID_GROUP_ID : ERR_NOT_COORDINATOR;
}

/* What would have to be committed. */
static bool writes(enum api_key api)
{
    return api == API_JOIN_GROUP || api == API_SYNC_GROUP ||
           api == API_LEAVE_GROUP || api == API_OFFSET_COMMIT ||
           api == API_DELETE_GROUPS;
}

static void call_arrived(struct env_task *task)
{
    struct group_call *call = (struct group_call *)(void *)task;
    struct shard *here = call->owner;
    struct shard_topic *t = shard_topic_by_name(here, SLICE(GROUP_TOPIC));
    struct partition *p = NULL;
    struct coord_context context;

    if (t != NULL && call->partition >= 0 && call->partition < t->partitions)
        p = t->local[call->partition];
    fill_context(call, here, &context);
    if (p == NULL || p->coordinator == NULL) {
        answered(call, here,
                 coord_refuse(&context, call->api, call->msg, refusal(call)));
        return;
    }
    if (writes(call->api) && partition_is_cut_off(p)) {
        answered(
            call, here,
            coord_refuse(&context, call->api, call->msg, ERR_NOT_COORDINATOR));
        return;
    }
    struct coordinator *c = p->coordinator;
    group_shard_request(c->groups, &context, call->api, call->msg);
    if (c->loader == NULL)
        rearm(c);
}

void group_call_start(struct group_call *call)
{
    struct shard *home = call->request->shard;
    struct shard_topic *t = shard_topic_by_name(home, SLICE(GROUP_TOPIC));

    if (t == NULL || call->partition >= t->partitions)
        call->partition = -1;
    call->task.fn = call_arrived;
    call->owner = home;
    if (call->partition >= 0)
        call->owner = home->broker->shards[broker_shard_of(home->broker, &t->id,
                                                           call->partition)];
    if (call->owner == home)
        call_arrived(&call->task);
    else
        env_post(call->owner->env, &call->task);
}
