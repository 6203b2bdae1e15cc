#include "broker/coord_host.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/planted.h"
#include "broker/request.h"
#include "broker/shard.h"

#include <stdlib.h>

enum { LOAD_PIECE_BYTES = 1 << 20, LOAD_AGAIN_MS = 1000 };

static const struct coord_host_kind *const kinds[] = {
    &coord_host_groups,
    &coord_host_transactions,
    &coord_host_share_states,
};

struct coord_time coord_host_time(const struct coord_host *host)
{
    return (struct coord_time){env_now_ms(host->shard->env),
                               env_wall_ms(host->shard->env)};
}

/* ---- the end of a turn --------------------------------------------------- */

static void load_piece(struct coord_host *host);

static void on_poke(struct env_task *task)
{
    struct coord_host *host =
        (struct coord_host *)((char *)task - offsetof(struct coord_host, poke));

    host->poke_posted = false;
    if (host->partition == NULL) {
        free(host);
        return;
    }
    if (host->loader != NULL) {
        load_piece(host);
        return;
    }
    host->kind->turn(host, coord_host_time(host));
    coord_host_rearm(host);
}

void coord_host_poke(struct coord_host *host)
{
    if (host->poke_posted)
        return;
    host->poke_posted = true;
    host->poke.fn = on_poke;
    env_post(host->shard->env, &host->poke);
}

static void on_timer(void *arg)
{
    struct coord_host *host = arg;

    if (host->loader != NULL) {
        load_piece(host);
        return;
    }
    host->kind->tick(host->core, coord_host_time(host));
    coord_host_rearm(host);
}

void coord_host_rearm(struct coord_host *host)
{
    int64_t deadline_ms = host->kind->next_deadline(host->core);
    int64_t now_ms = env_now_ms(host->shard->env);

    if (deadline_ms == INT64_MIN)
        coord_host_poke(host);
    else if (deadline_ms == INT64_MAX)
        env_timer_stop(host->shard->env, &host->timer);
    else
        env_timer_start(host->shard->env, &host->timer,
                        deadline_ms > now_ms ? deadline_ms - now_ms : 0);
}

enum err coord_host_append(struct coord_host *host, uint8_t *batch, size_t len,
                           int64_t *base_offset)
{
    struct partition_source in = {
        .bytes = batch, .len = len, .api_version = -1};
    struct partition_append result;

    enum err error = partition_append(host->partition, &in, -1, &result);
    *base_offset = result.base_offset;
    return error;
}

/* ---- loading ------------------------------------------------------------- */

static void load_done(struct coord_host *host)
{
    uint64_t skipped;
    uint64_t loaded = host->kind->loaded(host->loader, &skipped);

    log_info(
        host->kind->area,
        "Loaded %s-%d: %llu records in %lld ms, %llu of them not "
        "understood and skipped",
        host->partition->topic->name, host->partition->index,
        (unsigned long long)loaded,
        (long long)((env_now_us(host->shard->env) - host->load_started_us) /
                    1000),
        (unsigned long long)skipped);
    host->kind->activate(host, coord_host_time(host));
    host->loader = NULL;
    coord_host_poke(host);
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

static enum err load_range(struct coord_host *host,
                           const struct log_range *range)
{
    uint8_t *data = xmalloc(range->len);
    enum err error = ERR_KAFKA_STORAGE_ERROR;
    struct batch b;

    if (env_file_read(range->file, data, range->len, range->position) ==
        (int64_t)range->len) {
        size_t whole = whole_bytes(slice_of(data, range->len));

        error = whole == 0
                    ? ERR_CORRUPT_MESSAGE
                    : host->kind->load(host->loader, slice_of(data, whole));
        for (size_t at = 0; at < whole && error == ERR_NONE;
             at += b.size_bytes) {
            ASSERT(batch_parse(slice_of(data + at, whole - at), &b) ==
                   ERR_NONE);
            host->load_at = batch_last_offset(&b) + 1;
        }
    }
    free(data);
    return error;
}

/* A read that fails once may succeed the next time; nobody else has the lead
 * to load it instead. */
static void load_again(struct coord_host *host, enum err error)
{
    if (host->load_error != error)
        log_error(host->kind->area,
                  "Cannot load %s-%d at offset %lld: %s. Its %s stay "
                  "unavailable until it can be read: trying again each second; "
                  "or move the partition's lead to another replica",
                  host->partition->topic->name, host->partition->index,
                  (long long)host->load_at, err_text(error), host->kind->what);
    host->load_error = error;
    env_timer_start(host->shard->env, &host->timer, LOAD_AGAIN_MS);
}

static void load_piece(struct coord_host *host)
{
    struct log_range range = {0};
    enum err error = ERR_NONE;

    if (host->load_at < host->load_end)
        error = log_read(host->partition->log, host->load_at, host->load_end,
                         LOAD_PIECE_BYTES, true, &range);
    if (error == ERR_NONE && range.len != 0)
        error = load_range(host, &range);
    else if (error == ERR_NONE)
        host->load_at = host->load_end;
    if (range.file != NULL)
        env_file_unref(range.file);
    if (error != ERR_NONE) {
        load_again(host, error);
        return;
    }
    if (host->load_at >= host->load_end)
        load_done(host);
    else
        coord_host_poke(host);
}

/* ---- life ---------------------------------------------------------------- */

static const struct coord_host_kind *kind_of(const struct partition *p)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(p->topic->name, kinds[i]->topic) == 0)
            return kinds[i];
    return NULL;
}

void coord_host_elected(struct partition *p)
{
    const struct coord_host_kind *kind = kind_of(p);

    if (kind == NULL)
        return;
    ASSERT(p->coordinator == NULL);
    struct coord_host *host = xcalloc(1, sizeof *host);
    host->partition = p;
    host->shard = p->shard;
    host->kind = kind;
    host->number = ++p->shard->coord_hosts_made;
    host->load_at = log_start_offset(p->log);
    host->load_end = PLANTED(GROUPS_LOAD_TO_WATERMARK) ? p->high_watermark
                                                       : log_end_offset(p->log);
    host->load_started_us = env_now_us(p->shard->env);
    host->timer.fn = on_timer;
    host->timer.arg = host;
    kind->create(host);
    p->coordinator = host;
    coord_host_poke(host);
}

void coord_host_lost(struct partition *p)
{
    struct coord_host *host = p->coordinator;

    if (host == NULL)
        return;
    p->coordinator = NULL;
    if (host->loader != NULL)
        host->kind->loader_free(host->loader);
    else
        host->kind->resign(host->core, coord_host_time(host));
    host->kind->core_free(host->core);
    env_timer_stop(host->shard->env, &host->timer);
    host->partition = NULL;
    if (!host->poke_posted)
        free(host);
}

/* Not at once: this may come from inside the coordinator's own append. */
void coord_host_committed(struct partition *p)
{
    coord_host_poke(p->coordinator);
}

struct coord_host *coord_host_find(struct shard *s,
                                   const struct coord_host_kind *kind,
                                   int32_t partition)
{
    struct shard_topic *t = shard_topic_by_name(s, slice_str(kind->topic));

    if (t == NULL || partition < 0 || partition >= t->partitions ||
        t->local[partition] == NULL)
        return NULL;
    return t->local[partition]->coordinator;
}

/* ---- calls --------------------------------------------------------------- */

int32_t coord_host_partitions(struct shard *s,
                              const struct coord_host_kind *kind)
{
    struct shard_topic *t = shard_topic_by_name(s, slice_str(kind->topic));

    return t == NULL ? 0 : t->partitions;
}

static void call_arrived(struct env_task *task)
{
    struct coord_call *call = LIST_ENTRY(task, struct coord_call, task);

    call->arrived(call);
}

static void call_home(struct env_task *task)
{
    struct coord_call *call = LIST_ENTRY(task, struct coord_call, task);

    call->returned(call);
}

void coord_call_start(struct coord_call *call,
                      const struct coord_host_kind *kind)
{
    struct shard *home = call->request->shard;
    struct shard_topic *t = shard_topic_by_name(home, slice_str(kind->topic));

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

void coord_call_return(struct coord_call *call, struct shard *here)
{
    struct shard *home = call->request->shard;

    call->task.fn = call_home;
    if (home == here)
        call_home(&call->task);
    else
        env_post(home->env, &call->task);
}
