#include "broker/address_limits.h"

#include "base/alloc.h"
#include "base/map.h"
#include "broker/shard.h"

#include <stdlib.h>
#include <string.h>

struct address_limits {
    struct broker *broker;
    struct map overrides; /* address -> int32_t *; constant */
    struct map *counts;   /* of each shard: address -> int32_t * */
};

struct visitor {
    struct env_task task;
    struct address_limits *limits;
    int home;  /* the shard of the connection */
    int owner; /* the shard that counts */
    void (*answer)(void *arg, bool admitted, int32_t max);
    void *arg; /* NULL: left before the answer came */
    bool answered;
    bool admitted;
    char address[ENV_HOST_BYTES];
};

static void post(struct visitor *v, int shard,
                 void (*fn)(struct env_task *task))
{
    v->task.fn = fn;
    env_post(v->limits->broker->shards[shard]->env, &v->task);
}

static int32_t max_of(const struct address_limits *limits, const char *address)
{
    const int32_t *max = map_get(&limits->overrides, slice_str(address));

    return max != NULL ? *max : limits->broker->config->max_connections_per_ip;
}

/* ---- on the shard that counts -------------------------------------------- */

static void on_answer(struct env_task *task);

static void on_ask(struct env_task *task)
{
    struct visitor *v = LIST_ENTRY(task, struct visitor, task);
    struct map *counts = &v->limits->counts[v->owner];
    int32_t *count = map_get(counts, slice_str(v->address));
    int32_t max = max_of(v->limits, v->address);

    v->admitted = count != NULL ? *count < max : max > 0;
    if (v->admitted && count == NULL) {
        count = xcalloc(1, sizeof *count);
        map_put(counts, slice_str(v->address), count);
    }
    if (v->admitted)
        ++*count;
    post(v, v->home, on_answer);
}

static void on_leave(struct env_task *task)
{
    struct visitor *v = LIST_ENTRY(task, struct visitor, task);
    struct map *counts = &v->limits->counts[v->owner];
    int32_t *count = map_get(counts, slice_str(v->address));

    if (--*count == 0)
        free(map_remove(counts, slice_str(v->address)));
    free(v);
}

/* ---- on the connection's shard ------------------------------------------- */

static void on_answer(struct env_task *task)
{
    struct visitor *v = LIST_ENTRY(task, struct visitor, task);

    v->answered = true;
    if (v->arg != NULL)
        v->answer(v->arg, v->admitted, max_of(v->limits, v->address));
    else if (v->admitted)
        post(v, v->owner, on_leave);
    if (!v->admitted)
        free(v);
}

struct visitor *
visitor_ask(struct address_limits *limits, int home, const char *address,
            void (*answer)(void *arg, bool admitted, int32_t max), void *arg)
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

static bool read_overrides(struct address_limits *limits, char **why)
{
    const struct server_config *config = limits->broker->config;

    for (size_t i = 0; i < config->connection_overrides_len; i++) {
        const struct server_endpoint *at = &config->connection_overrides[i];
        char address[ENV_HOST_BYTES];
        const char *reason = env_look_up(at->host, address);

        if (reason != NULL) {
            *why = xasprintf("max.connections.per.ip.overrides names %s, and "
                             "its address cannot be found: %s; give the "
                             "address itself",
                             at->host, reason);
            return false;
        }
        int32_t *max = xmalloc(sizeof *max);
        *max = at->id;
        free(map_put(&limits->overrides, slice_str(address), max));
    }
    return true;
}

bool address_limits_new(struct broker *broker, struct address_limits **result,
                        char **why)
{
    const struct server_config *config = broker->config;

    *result = NULL;
    if (config->max_connections_per_ip == INT32_MAX &&
        config->connection_overrides_len == 0)
        return true;
    struct address_limits *limits = xcalloc(1, sizeof *limits);
    limits->broker = broker;
    limits->counts =
        xcalloc((size_t)broker->shards_len, sizeof *limits->counts);
    *result = limits; /* lasts as long as the process */
    return read_overrides(limits, why);
}
