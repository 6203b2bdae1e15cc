#include "broker/address_limits.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/rate.h"
#include "broker/live.h"
#include "broker/quotas.h"
#include "broker/shard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct address {
    int32_t count;    /* connections */
    struct rate rate; /* connection_creation_rate */
};

/* Those that one shard counts. */
struct address_count {
    struct map by_address; /* -> struct address * */
    uint32_t sweep_at;
};

struct address_limits {
    struct broker *broker;
    struct address_count *counts; /* of each shard */
};

struct visitor {
    struct env_task task;
    struct address_limits *limits;
    int home;  /* the shard of the connection */
    int owner; /* the shard that counts */
    void (*answer)(void *arg, bool admitted, int32_t max, int32_t wait_ms);
    void *arg; /* NULL: left before the answer came */
    bool answered;
    bool admitted;
    int32_t max;
    int32_t wait_ms;
    char address[ENV_HOST_BYTES];
};

static void post(struct visitor *v, int shard,
                 void (*fn)(struct env_task *task))
{
    v->task.fn = fn;
    env_post(v->limits->broker->shards[shard]->env, &v->task);
}

static int32_t max_of(const struct address_limits *limits, int shard,
                      const char *address)
{
    return live_max_per_address(limits->broker->shards[shard]->live, address);
}

/* ---- on the shard that counts -------------------------------------------- */

static void on_answer(struct env_task *task);

/* An address that has nothing, and could have anything at once. */
static bool is_forgettable(const struct address *a, int64_t now_us)
{
    return a->count == 0 && atomic_load(&a->rate.due_ns) <= now_us * 1000;
}

/* A few whenever somebody comes, so that those who left are forgotten. */
static void sweep(struct visitor *v, int64_t now_us)
{
    enum { STEPS = 4 };
    struct address_count *c = &v->limits->counts[v->owner];

    for (int i = 0; i < STEPS; i++) {
        uint32_t at = c->sweep_at++;

        if (at >= c->by_address.entries_len) {
            c->sweep_at = 0;
            return;
        }
        struct map_entry *e = &c->by_address.entries[at];
        if (e->key.data != NULL && is_forgettable(e->value, now_us))
            free(map_remove(&c->by_address, e->key));
    }
}

/* Refused connections do not count for the rate. */
static int32_t rate_wait_ms(const struct visitor *v, struct address *a,
                            int64_t now_us)
{
    enum { WAIT_MAX_MS = 1000 };
    struct broker *b = v->limits->broker;
    double per_second =
        quotas_of_address(b->shards[v->owner]->quotas, v->address);
    int64_t windows = b->config->quota_window_num - 1;
    int64_t burst_ns = (windows > 1 ? windows : 1) *
                       b->config->quota_window_size_seconds * RATE_SECOND_NS;

    if (isinf(per_second))
        return 0;
    int64_t cost_ns = rate_cost_ns(1, per_second);
    int64_t wait_ns =
        rate_would_be_ns(&a->rate, cost_ns, burst_ns, now_us * 1000);
    if (wait_ns == 0)
        rate_take_ns(&a->rate, cost_ns, burst_ns, now_us * 1000);
    return wait_ns / 1000000 < WAIT_MAX_MS
               ? (int32_t)(wait_ns / 1000000) + (wait_ns != 0)
               : WAIT_MAX_MS;
}

static void on_ask(struct env_task *task)
{
    struct visitor *v = LIST_ENTRY(task, struct visitor, task);
    struct map *counts = &v->limits->counts[v->owner].by_address;
    struct env *env = v->limits->broker->shards[v->owner]->env;
    int64_t now_us = env_now_us(env);

    sweep(v, now_us);
    struct address *a = map_get(counts, slice_str(v->address));
    if (a == NULL) {
        a = xcalloc(1, sizeof *a);
        map_put(counts, slice_str(v->address), a);
    }
    v->max = max_of(v->limits, v->owner, v->address);
    v->admitted = a->count < v->max;
    if (v->admitted) {
        v->wait_ms = rate_wait_ms(v, a, now_us);
        v->admitted = v->wait_ms == 0;
    }
    if (v->admitted)
        a->count++;
    post(v, v->home, on_answer);
}

static void on_leave(struct env_task *task)
{
    struct visitor *v = LIST_ENTRY(task, struct visitor, task);
    struct map *counts = &v->limits->counts[v->owner].by_address;
    struct env *env = v->limits->broker->shards[v->owner]->env;
    struct address *a = map_get(counts, slice_str(v->address));

    a->count--;
    if (is_forgettable(a, env_now_us(env)))
        free(map_remove(counts, slice_str(v->address)));
    free(v);
}

/* ---- on the connection's shard ------------------------------------------- */

static void on_answer(struct env_task *task)
{
    struct visitor *v = LIST_ENTRY(task, struct visitor, task);
    bool admitted = v->admitted; /* who leaves is freed by the owner */

    v->answered = true;
    if (v->arg != NULL)
        v->answer(v->arg, admitted, v->max, v->wait_ms);
    else if (admitted)
        post(v, v->owner, on_leave);
    if (!admitted)
        free(v);
}

struct visitor *visitor_ask(struct address_limits *limits, int home,
                            const char *address,
                            void (*answer)(void *arg, bool admitted,
                                           int32_t max, int32_t wait_ms),
                            void *arg)
{
    struct visitor *v = xcalloc(1, sizeof *v);
    size_t len = strlen(address);

    v->limits = limits;
    v->home = home;
    v->owner =
        (int)(hash_bytes(address, len) % (uint64_t)limits->broker->shards_len);
    v->answer = answer;
    v->arg = arg;
    memcpy(v->address, address, len + 1);
    post(v, v->owner, on_ask);
    return v;
}

void visitor_leave(struct visitor *v)
{
    if (v->answered)
        post(v, v->owner, on_leave);
    else
        v->arg = NULL;
}

/* ---- set-up -------------------------------------------------------------- */

/* The overrides of the file, for every shard. */
static bool look_up_overrides(struct broker *broker, char **why)
{
    struct config_layers layers = {.file = server_config_layer(broker->config)};
    struct slice text = live_overrides_text(&layers);

    *why = NULL;
    if (text.len == 0)
        return true;
    struct live *live = live_new(broker->config, &(struct config_layers){0});
    live_look_up(live, text, why);
    for (int i = 0; i < broker->shards_len; i++) {
        live_unref(broker->shards[i]->live);
        broker->shards[i]->live = live_ref(live);
    }
    live_unref(live);
    return *why == NULL;
}

bool address_limits_new(struct broker *broker, struct address_limits **result,
                        char **why)
{
    struct address_limits *limits = xcalloc(1, sizeof *limits);

    limits->broker = broker;
    limits->counts =
        xcalloc((size_t)broker->shards_len, sizeof *limits->counts);
    *result = limits; /* lasts as long as the process */
    return look_up_overrides(broker, why);
}
