#include "broker/share_fetch.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/shard.h"

#include <stdatomic.h>

/* ---- at a stop -----------------------------------------------------------*/

static void woke(struct env_task *task);

/* If an earlier wake is still on its way, it serves for this one too. */
static void on_news(struct share_watch *w)
{
    struct share_fetched *item = (struct share_fetched *)(void *)w;
    struct share_stop *stop = &item->fetch->stops[item->stop];

    if (!stop->armed)
        return;
    stop->armed = false;
    if (atomic_exchange(&stop->wake_out, true))
        return;
    stop->wake.fn = woke;
    env_post(item->fetch->call->request->shard->env, &stop->wake);
}

static void take(struct share_fetch *f, struct share_fetched *item,
                 struct share_lead *lead)
{
    struct share_take how = {
        .owner = f->call->owner,
        .max_records = f->records_left,
        .batch_size = f->batch_size,
        .mode = f->mode,
        .max_bytes = f->bytes_left,
        .min_one = f->bytes_left == f->max_bytes,
        .look = f->walk == SHARE_WALK_LOOK,
    };

    item->taken.readable_bytes = 0;
    item->err = share_lead_take(lead, &how, &item->taken);
    f->readable_bytes += item->taken.readable_bytes;
    f->bytes_left -= item->taken.range.len;
    int64_t records = item->taken.acquired.records;
    f->records_left =
        records >= f->records_left ? 0 : f->records_left - (int32_t)records;
    f->found = f->found || records != 0;
}

static void failed(struct share_fetched *item, const struct partition *p,
                   enum err error)
{
    item->err = error;
    item->fetch->found = true;
    if (error == ERR_NOT_LEADER_OR_FOLLOWER && p != NULL)
        share_leader_hint(p, &item->leader, &item->leader_epoch);
}

/* The share-partition may end inside of a take, so it is looked for again. */
static void visit(struct share_stop *stop, struct share_fetched *item)
{
    struct share_fetch *f = stop->fetch;
    enum err error;
    struct partition *p = shard_partition(stop->shard, &item->name.topic,
                                          item->name.partition, &error);

    item->err = ERR_NONE;
    if (p != NULL)
        error = share_check_partition(p);
    if (error != ERR_NONE) {
        failed(item, p, error);
        return;
    }
    if (f->records_left > 0 && f->bytes_left > 0)
        take(f, item, share_lead_get(p, f->call->group));
    if (item->err != ERR_NONE) {
        failed(item, p, item->err);
        return;
    }
    if (f->found || f->last)
        return;
    share_lead_watch(share_lead_get(p, f->call->group), &item->watch);
    stop->armed = f->watched = true;
}

static void go_on(struct share_fetch *f);

static void arrived(struct env_task *task)
{
    struct share_fetch *f = LIST_ENTRY(task, struct share_fetch, task);
    struct share_stop *stop = &f->stops[f->at];

    stop->armed = false;
    for (int i = 0; i < stop->items_len; i++)
        share_unwatch(&stop->items[i]->watch);
    for (int i = 0; i < stop->items_len && f->walk != SHARE_WALK_LEAVE; i++)
        visit(stop, stop->items[i]);
    f->at++;
    go_on(f);
}

/* ---- at home -------------------------------------------------------------*/

static bool wakes_out(struct share_fetch *f)
{
    for (int i = 0; i < f->stops_len; i++)
        if (atomic_load(&f->stops[i].wake_out))
            return true;
    return false;
}

static void walk_begin(struct share_fetch *f, int walk)
{
    env_timer_stop(f->call->request->shard->env, &f->timer);
    f->walk = walk;
    f->walking = true;
    f->again = f->watched = false;
    f->at = 0;
    f->records_left = f->max_records;
    f->bytes_left = f->max_bytes;
    f->readable_bytes = 0;
    go_on(f);
}

static int first_walk(const struct share_fetch *f)
{
    return f->min_bytes > 1 && !f->last ? SHARE_WALK_LOOK : SHARE_WALK_TAKE;
}

static void wait(struct share_fetch *f)
{
    struct env *env = f->call->request->shard->env;
    int64_t left_ms = f->deadline_ms - env_now_ms(env);

    env_timer_start(env, &f->timer, left_ms > 0 ? left_ms : 0);
}

static void finish(struct share_fetch *f)
{
    f->walk = SHARE_WALK_LEAVE;
    if (!wakes_out(f))
        f->done(f);
}

/* A walk that found something may have left watches on stops before. */
static void walk_done(struct share_fetch *f)
{
    f->walking = false;
    if (f->walk == SHARE_WALK_LOOK &&
        (f->found || f->readable_bytes >= f->min_bytes)) {
        walk_begin(f, SHARE_WALK_TAKE);
    } else if (f->found || f->last || f->walk == SHARE_WALK_LEAVE) {
        if (f->watched)
            walk_begin(f, SHARE_WALK_LEAVE);
        else
            finish(f);
    } else if (f->again) {
        walk_begin(f, first_walk(f));
    } else {
        wait(f);
    }
}

static void came_home(struct env_task *task)
{
    walk_done(LIST_ENTRY(task, struct share_fetch, task));
}

/* To the next stop, or home. */
static void go_on(struct share_fetch *f)
{
    bool home = f->at == f->stops_len;
    struct env *to =
        home ? f->call->request->shard->env : f->stops[f->at].shard->env;

    f->task.fn = home ? came_home : arrived;
    env_post(to, &f->task);
}

static void woke(struct env_task *task)
{
    struct share_stop *stop = LIST_ENTRY(task, struct share_stop, wake);
    struct share_fetch *f = stop->fetch;

    atomic_store(&stop->wake_out, false);
    if (f->walking) {
        f->again = true;
        return;
    }
    if (f->walk == SHARE_WALK_LEAVE)
        finish(f); /* it has left, but for the wakes */
    else
        walk_begin(f, first_walk(f));
}

static void on_timer(void *arg)
{
    struct share_fetch *f = arg;

    f->last = true;
    walk_begin(f, SHARE_WALK_TAKE);
}

void share_fetch_cancel(struct share_fetch *f)
{
    f->last = true;
    if (!f->walking && f->walk != SHARE_WALK_LEAVE)
        walk_begin(f, SHARE_WALK_LEAVE);
}

/* ---- the beginning -------------------------------------------------------*/

static struct share_stop *stop_of(struct share_fetch *f, struct shard *shard)
{
    for (int i = 0; i < f->stops_len; i++)
        if (f->stops[i].shard == shard)
            return &f->stops[i];
    struct share_stop *stop = &f->stops[f->stops_len++];
    stop->fetch = f;
    stop->shard = shard;
    return stop;
}

static struct share_stop *stop_of_item(struct share_fetch *f,
                                       const struct share_fetched *item)
{
    struct broker *broker = f->call->request->shard->broker;

    return stop_of(f, broker->shards[broker_shard_of(broker, &item->name.topic,
                                                     item->name.partition)]);
}

static void add_items(struct share_fetch *f, struct share_session *session)
{
    struct arena *arena = &f->call->request->arena;

    f->items = arena_array(arena, map_count(&session->by_id), sizeof *f->items);
    LIST_EACH (node, &session->partitions) {
        const struct share_session_partition *p =
            LIST_ENTRY(node, struct share_session_partition, link);
        struct share_fetched *item = &f->items[f->items_len++];

        list_init(&item->watch.link);
        item->watch.news = on_news;
        item->fetch = f;
        item->name = (struct share_session_name){p->topic, p->partition};
        item->leader = item->leader_epoch = -1;
    }
}

/* A topic that is not known is an answer by itself. */
static bool is_known(struct share_fetch *f, struct share_fetched *item)
{
    struct shard_topic *t =
        shard_topic_by_id(f->call->request->shard, &item->name.topic);

    if (t != NULL && item->name.partition >= 0 &&
        item->name.partition < t->partitions)
        return true;
    failed(item, NULL,
           t == NULL ? ERR_UNKNOWN_TOPIC_ID : ERR_UNKNOWN_TOPIC_OR_PARTITION);
    return false;
}

static void add_stops(struct share_fetch *f)
{
    struct arena *arena = &f->call->request->arena;
    struct broker *broker = f->call->request->shard->broker;

    f->stops = arena_array(arena, (size_t)broker->shards_len, sizeof *f->stops);
    for (int i = 0; i < f->items_len; i++)
        if (is_known(f, &f->items[i]))
            stop_of_item(f, &f->items[i])->items_len++;
    for (int i = 0; i < f->stops_len; i++) {
        f->stops[i].items = arena_array(arena, (size_t)f->stops[i].items_len,
                                        sizeof *f->stops[i].items);
        f->stops[i].items_len = 0;
    }
    for (int i = 0; i < f->items_len; i++) {
        if (f->items[i].err != ERR_NONE)
            continue;
        struct share_stop *stop = stop_of_item(f, &f->items[i]);
        stop->items[stop->items_len++] = &f->items[i];
        f->items[i].stop = (int)(stop - f->stops);
    }
}

void share_fetch_start(struct share_fetch *f)
{
    struct env *env = f->call->request->shard->env;

    add_items(f, share_call_session(f->call));
    add_stops(f);
    f->timer = (struct env_timer){.fn = on_timer, .arg = f};
    f->deadline_ms = env_now_ms(env) + f->max_wait_ms;
    f->last = f->last || f->max_wait_ms <= 0;
    walk_begin(f, first_walk(f));
}
