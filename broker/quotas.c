#include "broker/quotas.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/rate.h"
#include "broker/shard.h"
#include "controller/image.h"

#include <math.h>
#include <stdlib.h>

/* Of one request that comes before its bucket does. */
#define EARLY_MAX_NS (1000 * RATE_SECOND_NS)

/* Everybody's name, as nobody is asked for one. */
#define USER SLICE("ANONYMOUS")

/* ---- limits -------------------------------------------------------------- */

static void add_entity(struct quotas *q, const struct image_configs *set)
{
    struct map *values = xcalloc(1, sizeof *values);

    MAP_EACH (e, &set->by_key) {
        enum quota_type type = quota_key_find(e->key);

        q->limits_addresses |= type == QUOTA_CONNECTION;
        q->limits_clients |= type < QUOTA_CLIENT_TYPES;
        map_put(values, e->key, xstrdup(e->value));
    }
    map_put(&q->entities, slice_str(set->name), values);
}

struct quotas *quotas_new(const struct image *image, uint64_t generation)
{
    struct quotas *q = xcalloc(1, sizeof *q);

    atomic_init(&q->refs, 1);
    q->generation = generation;
    MAP_EACH (e, &image->configs) {
        const struct image_configs *set = e->value;

        if (set->type == IMAGE_RESOURCE_CLIENT_QUOTA)
            add_entity(q, set);
    }
    return q;
}

struct quotas *quotas_ref(struct quotas *q)
{
    atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
    return q;
}

static void values_free(struct map *values)
{
    MAP_EACH (e, values) {
        free(e->value);
    }
    map_free(values);
    free(values);
}

void quotas_unref(struct quotas *q)
{
    if (q == NULL || atomic_fetch_sub(&q->refs, 1) != 1)
        return;
    MAP_EACH (e, &q->entities) {
        values_free(e->value);
    }
    map_free(&q->entities);
    free(q);
}

static const char *look_up(const void *arg, struct slice entity,
                           struct slice key)
{
    const struct quotas *q = arg;
    const struct map *values = map_get(&q->entities, entity);

    return values != NULL ? map_get(values, key) : NULL;
}

double quotas_of_address(const struct quotas *q, const char *address)
{
    double limit = INFINITY;
    struct arena arena;

    if (q == NULL || !q->limits_addresses)
        return limit;
    arena_init(&arena, 0);
    quota_find_ip(slice_str(address), look_up, q, &arena, &limit);
    arena_free(&arena);
    return limit;
}

/* ---- buckets ------------------------------------------------------------- */

struct quota_bucket {
    _Atomic int refs; /* the owner's map has one */
    struct rate rate;
};

static void bucket_unref(struct quota_bucket *b)
{
    if (b != NULL && atomic_fetch_sub(&b->refs, 1) == 1)
        free(b);
}

/* Nobody uses it, and it would forbid nothing. */
static bool is_spent(const struct quota_bucket *b, int64_t now_us)
{
    return atomic_load(&b->refs) == 1 &&
           atomic_load(&b->rate.due_ns) <= now_us * 1000;
}

/* A few of them whenever one is asked for: there are never many more than are
 * in use. */
static void sweep(struct shard *s)
{
    enum { STEPS = 4 };
    int64_t now_us = env_now_us(s->env);

    for (int i = 0; i < STEPS && map_count(&s->quota_buckets) != 0; i++) {
        uint32_t at = s->quota_sweep_at++;
        struct map_entry *e;

        if (at >= s->quota_buckets.entries_len) {
            s->quota_sweep_at = 0;
            continue;
        }
        e = &s->quota_buckets.entries[at];
        if (e->key.data == NULL || !is_spent(e->value, now_us))
            continue;
        bucket_unref(map_remove(&s->quota_buckets, e->key));
    }
}

static struct quota_bucket *bucket_get(struct shard *s, const char *name)
{
    struct quota_bucket *b = map_get(&s->quota_buckets, slice_str(name));

    if (b == NULL) {
        sweep(s);
        b = xcalloc(1, sizeof *b);
        atomic_init(&b->refs, 1);
        map_put(&s->quota_buckets, slice_str(name), b);
    }
    atomic_fetch_add(&b->refs, 1);
    return b;
}

void quota_buckets_free(struct map *buckets)
{
    MAP_EACH (e, buckets) {
        bucket_unref(e->value);
    }
    map_free(buckets);
}

/* ---- what counts for a client -------------------------------------------- */

/* One limit of a client. */
struct quota_count {
    struct env_task task; /* to the bucket's shard and back */
    struct quota_use *use;
    struct shard *owner;
    char *name;
    double per_second; /* INFINITY: no limit */
    int64_t burst_ns;
    struct quota_bucket *_Atomic bucket; /* NULL until it is known */
    struct quota_bucket *found;          /* on its way back */
    _Atomic int64_t early_ns;            /* used before that */
};

struct quota_use {
    _Atomic int refs;
    uint64_t generation;
    struct shard *home;
    char *client_id;
    size_t client_id_len;
    struct quota_count counts[QUOTA_CLIENT_TYPES];
};

struct quota_use *quota_use_ref(struct quota_use *u)
{
    if (u != NULL)
        atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
    return u;
}

void quota_use_unref(struct quota_use *u)
{
    if (u == NULL || atomic_fetch_sub(&u->refs, 1) != 1)
        return;
    for (int i = 0; i < QUOTA_CLIENT_TYPES; i++) {
        bucket_unref(atomic_load(&u->counts[i].bucket));
        free(u->counts[i].name);
    }
    free(u->client_id);
    free(u);
}

static void count_early(struct quota_count *c, struct quota_bucket *bucket,
                        int64_t now_us)
{
    int64_t early_ns = atomic_exchange(&c->early_ns, 0);

    if (early_ns > 0)
        rate_take_ns(&bucket->rate, early_ns, c->burst_ns, now_us * 1000);
}

static void bucket_home(struct env_task *task)
{
    struct quota_count *c = LIST_ENTRY(task, struct quota_count, task);

    atomic_store(&c->bucket, c->found);
    count_early(c, c->found, env_now_us(c->use->home->env));
    quota_use_unref(c->use);
}

static void bucket_wanted(struct env_task *task)
{
    struct quota_count *c = LIST_ENTRY(task, struct quota_count, task);

    c->found = bucket_get(c->owner, c->name);
    c->task.fn = bucket_home;
    if (c->owner == c->use->home)
        bucket_home(&c->task);
    else
        env_post(c->use->home->env, &c->task);
}

static void ask(struct quota_use *u, struct quota_count *c)
{
    struct broker *b = u->home->broker;
    size_t len = strlen(c->name);

    c->use = quota_use_ref(u);
    c->owner = b->shards[hash_bytes(c->name, len) % (uint64_t)b->shards_len];
    c->task.fn = bucket_wanted;
    if (c->owner == u->home)
        bucket_wanted(&c->task);
    else
        env_post(c->owner->env, &c->task);
}

/* In the unit that it is taken in. */
static double per_second_of(enum quota_type type, double limit)
{
    return type == QUOTA_REQUEST ? limit / 100 * 1e6 : limit;
}

static struct quota_use *use_new(struct shard *s, struct slice client_id)
{
    const struct server_config *config = s->broker->config;
    struct quota_use *u = xcalloc(1, sizeof *u);
    int64_t windows =
        config->quota_window_num > 1 ? config->quota_window_num - 1 : 1;
    struct arena arena;

    atomic_init(&u->refs, 1);
    u->generation = s->quotas->generation;
    u->home = s;
    u->client_id = slice_dup(client_id);
    u->client_id_len = client_id.len;
    arena_init(&arena, 0);
    for (int i = 0; i < QUOTA_CLIENT_TYPES; i++) {
        struct quota_count *c = &u->counts[i];
        struct quota_match match;

        c->per_second = INFINITY;
        c->burst_ns =
            windows * config->quota_window_size_seconds * RATE_SECOND_NS;
        if (i == QUOTA_MUTATION || /* the controller's */
            !quota_find((enum quota_type)i, USER, client_id, look_up, s->quotas,
                        &arena, &match))
            continue;
        c->per_second = per_second_of((enum quota_type)i, match.limit);
        c->name = slice_dup(match.bucket);
        ask(u, c);
    }
    arena_free(&arena);
    return u;
}

struct quota_use *quota_use_of(struct shard *s, struct quota_use *old,
                               struct slice client_id)
{
    if (s->quotas == NULL || !s->quotas->limits_clients) {
        quota_use_unref(old);
        return NULL;
    }
    if (old != NULL && old->generation == s->quotas->generation &&
        slice_eq(client_id, slice_of(old->client_id, old->client_id_len)))
        return old;
    quota_use_unref(old);
    return use_new(s, client_id);
}

/* ---- using --------------------------------------------------------------- */

static struct quota_count *count_of(struct quota_use *u, enum quota_type type)
{
    if (u == NULL || isinf(u->counts[type].per_second))
        return NULL;
    return &u->counts[type];
}

/* Rounded up; of a thread's time never more than one window, as in Kafka. */
static int32_t pause_ms(const struct quota_use *u, enum quota_type type,
                        int64_t ns)
{
    int64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    int64_t max =
        type == QUOTA_REQUEST
            ? u->home->broker->config->quota_window_size_seconds * INT64_C(1000)
            : INT32_MAX;

    return (int32_t)(ms < max ? ms : max);
}

int32_t quota_take(struct quota_use *u, enum quota_type type, double amount,
                   int64_t now_us)
{
    struct quota_count *c = count_of(u, type);

    if (c == NULL || amount <= 0)
        return 0;
    int64_t cost = rate_cost_ns(amount, c->per_second);
    struct quota_bucket *b = atomic_load(&c->bucket);
    if (b != NULL)
        return pause_ms(
            u, type, rate_take_ns(&b->rate, cost, c->burst_ns, now_us * 1000));
    atomic_fetch_add(&c->early_ns, cost < EARLY_MAX_NS ? cost : EARLY_MAX_NS);
    b = atomic_load(&c->bucket); /* it may have come just now */
    if (b != NULL)
        count_early(c, b, now_us);
    return 0;
}

int32_t quota_would_be(struct quota_use *u, enum quota_type type, double amount,
                       int64_t now_us)
{
    struct quota_count *c = count_of(u, type);
    struct quota_bucket *b = c == NULL ? NULL : atomic_load(&c->bucket);

    if (b == NULL || atomic_load(&b->rate.due_ns) <= now_us * 1000)
        return 0;
    return pause_ms(u, type,
                    rate_would_be_ns(&b->rate,
                                     rate_cost_ns(amount, c->per_second),
                                     c->burst_ns, now_us * 1000));
}

int32_t quota_largest(const struct quota_use *u, enum quota_type type)
{
    if (u == NULL || isinf(u->counts[type].per_second))
        return INT32_MAX;
    double bytes = u->counts[type].per_second *
                   (double)(u->counts[type].burst_ns / RATE_SECOND_NS);
    return bytes < INT32_MAX ? (int32_t)bytes : INT32_MAX;
}
