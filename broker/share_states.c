/* A coordinator is loaded, asked, and resigns as in transactions.c.  What is
 * its own: records that are not needed any more are deleted from the partition
 * now and then, and keys of deleted topics are, once nothing of them is under
 * way. */
#include "broker/share_states.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "broker/coord/share/share_shard.h"
#include "broker/request.h"
#include "broker/shard.h"

#include <stdlib.h>

enum {
    STATES_MAX_BYTES = 256 << 20,
    DELETE_AGAIN_MS = 1000,
};

struct share_states {
    struct coord_host *host;
    struct share_shard *states;
    int64_t prune_ms;     /* monotonic: next */
    struct uuid *deleted; /* owned: topics of which keys may be left */
    size_t deleted_len;
    int64_t delete_ms; /* monotonic: next; INT64_MAX: there are none */
};

static int64_t now_ms(const struct share_states *t)
{
    return env_now_ms(t->host->shard->env);
}

/* ---- what the coordinator asks for --------------------------------------- */

static enum err append(void *arg, uint8_t *batch, size_t len,
                       int64_t *base_offset)
{
    struct share_states *t = arg;

    return coord_host_append(t->host, batch, len, base_offset);
}

static void on_answer(void *arg, struct share_answer *answer)
{
    struct share_states *t = arg;
    struct share_state_call *call = answer->token;

    call->piece = answer;
    coord_call_return(&call->call, t->host->shard);
}

static void on_deadline(void *arg)
{
    struct share_states *t = arg;

    coord_host_poke(t->host);
}

static const struct share_shard_ops ops = {
    .append = append,
    .answer = on_answer,
    .deadline = on_deadline,
};

/* ---- life ---------------------------------------------------------------- */

static void take_options(const struct server_config *config,
                         const struct partition *p,
                         struct share_shard_options *o)
{
    share_coord_config_init(&o->config);
    o->config.snapshot_update_records_per_snapshot =
        config->share_updates_per_snapshot;
    o->config.cold_partition_snapshot_interval_ms =
        config->share_cold_snapshot_interval_ms;
    o->config.states_max_bytes = STATES_MAX_BYTES;
    o->batch_max_bytes = (uint32_t)p->settings->log.max_message_bytes;
    o->commit_timeout_ms = config->share_write_timeout_ms;
}

static void create(struct coord_host *host)
{
    struct share_states *t = xcalloc(1, sizeof *t);
    struct share_shard_options options;

    take_options(host->shard->broker->config, host->partition, &options);
    t->host = host;
    t->states = share_shard_create(&options, &ops, t);
    t->delete_ms = INT64_MAX;
    host->core = t;
    host->loader = share_shard_loader(t->states);
}

static enum err load(void *loader, struct slice batches)
{
    return share_loader_add(loader, batches);
}

static uint64_t loaded(const void *loader, uint64_t *skipped)
{
    *skipped = share_loader_skipped(loader);
    return share_loader_records(loader);
}

static void loader_free(void *loader) { share_loader_free(loader); }

static void activate(struct coord_host *host, struct coord_time time)
{
    struct share_states *t = host->core;

    t->prune_ms =
        time.now_ms +
        host->shard->broker->config->share_state_topic_prune_interval_ms;
    share_shard_activate(t->states, host->loader, host->load_end,
                         host->partition->high_watermark, time);
}

static void turn(struct coord_host *host, struct coord_time time)
{
    struct share_states *t = host->core;

    share_shard_committed(t->states, host->partition->high_watermark, time);
}

/* ---- time ---------------------------------------------------------------- */

/* What a partition may forget.  A failure waits for the next time. */
static void prune(struct share_states *t)
{
    struct partition *p = t->host->partition;
    int64_t offset = share_shard_prune_offset(t->states);

    t->prune_ms =
        now_ms(t) +
        t->host->shard->broker->config->share_state_topic_prune_interval_ms;
    if (offset > p->high_watermark)
        offset = p->high_watermark;
    if (offset <= log_start_offset(p->log))
        return;
    enum err error = partition_delete_records(p, &offset);
    if (error != ERR_NONE)
        log_info("share", "Cannot delete records of %s-%d below %lld: %s",
                 p->topic->name, p->index, (long long)offset, err_text(error));
}

static void delete_keys(struct share_states *t, struct coord_time time)
{
    size_t left = 0;

    for (size_t i = 0; i < t->deleted_len; i++)
        if (share_shard_topic_deleted(t->states, t->deleted[i], time) != 0)
            t->deleted[left++] = t->deleted[i];
    t->deleted_len = left;
    t->delete_ms = left == 0 ? INT64_MAX : time.now_ms + DELETE_AGAIN_MS;
}

static void tick(void *core, struct coord_time time)
{
    struct share_states *t = core;

    share_shard_tick(t->states, time);
    if (time.now_ms >= t->prune_ms)
        prune(t);
    if (time.now_ms >= t->delete_ms)
        delete_keys(t, time);
}

static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t next_deadline(const void *core)
{
    const struct share_states *t = core;

    return min(share_shard_next_deadline(t->states),
               min(t->prune_ms, t->delete_ms));
}

static void resign(void *core, struct coord_time time)
{
    share_shard_resign(((struct share_states *)core)->states, time);
}

static void core_free(void *core)
{
    struct share_states *t = core;

    share_shard_free(t->states);
    free(t->deleted);
    free(t);
}

const struct coord_host_kind coord_host_share_states = {
    .topic = SHARE_STATE_TOPIC,
    .area = "share",
    .what = "states of share groups",
    .create = create,
    .load = load,
    .loaded = loaded,
    .loader_free = loader_free,
    .activate = activate,
    .turn = turn,
    .tick = tick,
    .next_deadline = next_deadline,
    .resign = resign,
    .core_free = core_free,
};

/* ---- deleted topics ------------------------------------------------------ */

static void forget_topic(struct coord_host *host, const struct uuid *topic)
{
    struct share_states *t = host->core;

    t->deleted =
        xrealloc(t->deleted, (t->deleted_len + 1) * sizeof *t->deleted);
    t->deleted[t->deleted_len++] = *topic;
    t->delete_ms = now_ms(t); /* while loading: when that is done */
    if (host->loader == NULL)
        coord_host_rearm(host);
}

void share_states_topic_deleted(struct shard *s, const struct uuid *topic)
{
    int32_t len = coord_host_partitions(s, &coord_host_share_states);

    for (int32_t i = 0; i < len; i++) {
        struct coord_host *host =
            coord_host_find(s, &coord_host_share_states, i);

        if (host != NULL)
            forget_topic(host, topic);
    }
}

/* ---- calls --------------------------------------------------------------- */

/* What this broker knows of topics. */
static enum err partition_error(void *arg, struct uuid topic, int32_t partition)
{
    const struct shard_topic *t = shard_topic_by_id(arg, &topic);

    return t == NULL || partition < 0 || partition >= t->partitions
               ? ERR_UNKNOWN_TOPIC_OR_PARTITION
               : ERR_NONE;
}

static void arrived(struct coord_call *c)
{
    struct share_state_call *call =
        LIST_ENTRY(c, struct share_state_call, call);
    struct shard *here = c->owner;
    struct coord_host *host =
        coord_host_find(here, &coord_host_share_states, c->partition);
    struct share_context context = {
        .token = call,
        .now_ms = env_now_ms(here->env),
        .wall_ms = env_wall_ms(here->env),
        .version = call->piece->version,
        .partition_error = partition_error,
        .arg = here,
    };

    if (host == NULL || partition_is_cut_off(host->partition)) {
        share_answer_refuse(call->piece, ERR_NOT_COORDINATOR);
        coord_call_return(c, here);
        return;
    }
    struct share_states *t = host->core;
    share_shard_ask(t->states, &context, call->piece);
    if (host->loader == NULL)
        coord_host_rearm(host);
}

void share_state_call_start(struct share_state_call *call)
{
    call->call.arrived = arrived;
    coord_call_start(&call->call, &coord_host_share_states);
}
