#include "broker/shard.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "broker/checkpoint.h"
#include "broker/cleaner.h"
#include "broker/coordinators.h"
#include "broker/group_regex.h"
#include "broker/live.h"
#include "broker/quotas.h"
#include "broker/replica/fetcher.h"
#include "broker/replica/move.h"
#include "broker/replica/partition.h"
#include "broker/request.h"
#include "broker/sessions.h"
#include "broker/share_home.h"
#include "broker/share_lead.h"
#include "broker/share_states.h"
#include "proto/record/compression.h"

#include <stdlib.h>

enum { TICK_MS = 500, CHECKPOINT_MS = 5000, RETENTION_SLICE = 256 };

/* ---- settings ------------------------------------------------------------ */

struct topic_settings *topic_settings_ref(struct topic_settings *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void topic_settings_unref(struct topic_settings *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (int i = 0; i < THROTTLE_SIDES; i++)
        throttled_free(&s->throttled[i]);
    free(s);
}

/* ---- directory ----------------------------------------------------------- */

struct shard_topic *shard_topic_by_name(struct shard *s, struct slice name)
{
    return map_get(&s->topics_by_name, name);
}

struct shard_topic *shard_topic_by_id(struct shard *s, const struct uuid *id)
{
    return map_get(&s->topics_by_id, uuid_slice(id));
}

struct shard_broker *shard_broker(struct shard *s, int32_t id)
{
    return map_get(&s->brokers, slice_of(&id, sizeof id));
}

struct partition *shard_partition(struct shard *s, const struct uuid *topic_id,
                                  int32_t index, enum err *error)
{
    struct shard_topic *t = shard_topic_by_id(s, topic_id);

    if (t == NULL || index < 0 || index >= t->partitions) {
        *error = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return NULL;
    }
    if (t->local[index] == NULL) {
        *error = ERR_NOT_LEADER_OR_FOLLOWER;
        return NULL;
    }
    *error = ERR_NONE;
    return t->local[index];
}

enum { WANTED_DIRS_MAX = 10000, WANTED_KEY_BYTES = 20 };

static struct slice wanted_key(uint8_t key[static WANTED_KEY_BYTES],
                               const struct uuid *topic_id, int32_t index)
{
    memcpy(key, topic_id->bytes, 16);
    be32_put(key + 16, (uint32_t)index);
    return slice_of(key, WANTED_KEY_BYTES);
}

void shard_want_dir(struct shard *s, const struct uuid *topic_id, int32_t index,
                    struct log_dir *dir)
{
    uint8_t key[WANTED_KEY_BYTES];

    if (map_count(&s->wanted_dirs) < WANTED_DIRS_MAX)
        map_put(&s->wanted_dirs, wanted_key(key, topic_id, index), dir);
}

struct log_dir *shard_wanted_dir(struct shard *s, const struct uuid *topic_id,
                                 int32_t index)
{
    uint8_t key[WANTED_KEY_BYTES];

    return map_remove(&s->wanted_dirs, wanted_key(key, topic_id, index));
}

static void each_partition(struct shard *s,
                           void (*fn)(struct partition *p, int64_t argument),
                           int64_t argument)
{
    MAP_EACH (e, &s->topics_by_id) {
        struct shard_topic *t = e->value;

        for (int32_t i = 0; i < t->partitions; i++)
            if (t->local[i] != NULL)
                fn(t->local[i], argument);
    }
}

static void topic_free(struct shard_topic *t)
{
    free(t->name);
    free(t->local);
    free(t);
}

static void broker_free(struct shard_broker *b)
{
    free(b->host);
    free(b->client_host);
    free(b->rack);
    free(b);
}

/* ---- updates from the metadata thread ------------------------------------ */

static struct shard_topic *set_topic(struct shard *s, struct shard_update *u)
{
    struct shard_topic *t = shard_topic_by_id(s, &u->topic_id);
    bool changed = t == NULL;

    if (t == NULL) {
        t = xcalloc(1, sizeof *t);
        t->id = u->topic_id;
        t->name = u->name;
        u->name = NULL;
        map_put(&s->topics_by_id, uuid_slice(&t->id), t);
        map_put(&s->topics_by_name, slice_str(t->name), t);
    }
    s->topic_changes++;
    if (u->partition > t->partitions) {
        changed = true;
        t->local = xrealloc(t->local, (size_t)u->partition * sizeof *t->local);
        for (int32_t i = t->partitions; i < u->partition; i++)
            t->local[i] = NULL;
        t->partitions = u->partition;
    }
    if (changed)
        coordinators_topic_changed(s, t->name);
    return t;
}

static void drop_partition(struct shard *s, struct shard_topic *t,
                           int32_t index)
{
    struct partition *p = t->local[index];

    if (p == NULL)
        return;
    t->local[index] = NULL;
    s->partitions_len--;
    partition_delete(p);
}

static void drop_topic(struct shard *s, const struct uuid *id)
{
    struct shard_topic *t = shard_topic_by_id(s, id);

    if (t == NULL)
        return;
    s->topic_changes++;
    for (int32_t i = 0; i < t->partitions; i++)
        drop_partition(s, t, i);
    coordinators_topic_deleted(s, t->name);
    share_states_topic_deleted(s, id);
    map_remove(&s->topics_by_id, uuid_slice(id));
    if (map_get(&s->topics_by_name, slice_str(t->name)) == t)
        map_remove(&s->topics_by_name, slice_str(t->name));
    coordinators_topic_changed(s, t->name);
    topic_free(t);
}

static void set_partition(struct shard *s, struct shard_update *u)
{
    struct shard_topic *t = shard_topic_by_id(s, &u->topic_id);

    ASSERT(t != NULL && u->partition < t->partitions);
    struct partition *p = t->local[u->partition];
    if (p != NULL) {
        partition_set_state(p, &u->state);
        return;
    }
    t->local[u->partition] =
        partition_new(s, t, u->partition, u->settings, &u->state);
    s->partitions_len++;
}

static void set_settings(struct shard *s, const struct shard_update *u)
{
    struct shard_topic *t = shard_topic_by_id(s, &u->topic_id);

    for (int32_t i = 0; t != NULL && i < t->partitions; i++)
        if (t->local[i] != NULL)
            partition_set_settings(t->local[i], u->settings);
}

/* The updates of one message are one step from a state of the metadata to a
 * later one; halfway there nothing may be committed that neither would. */
static void expect_settings(struct shard *s, const struct shard_update *u)
{
    struct shard_topic *t = shard_topic_by_id(s, &u->topic_id);

    for (int32_t i = 0; t != NULL && i < t->partitions; i++)
        if (t->local[i] != NULL)
            partition_expect_settings(t->local[i], u->settings);
}

static void broker_changed(struct partition *p, int64_t id)
{
    partition_broker_changed(p, (int32_t)id, false);
}

static void broker_anew(struct partition *p, int64_t id)
{
    partition_broker_changed(p, (int32_t)id, true);
}

static void set_broker(struct shard *s, struct shard_update *u)
{
    struct shard_broker *b = xmalloc(sizeof *b);

    *b = u->broker;
    u->broker.host = u->broker.client_host = u->broker.rack = NULL;
    struct shard_broker *old =
        map_put(&s->brokers, slice_of(&b->id, sizeof b->id), b);
    bool anew = old == NULL || old->epoch != b->epoch;
    fetcher_broker_changed(s, b, anew);
    each_partition(s, anew ? broker_anew : broker_changed, b->id);
    if (old != NULL)
        broker_free(old);
}

static void drop_broker(struct shard *s, int32_t id)
{
    struct shard_broker *old =
        map_remove(&s->brokers, slice_of(&id, sizeof id));

    if (old == NULL)
        return;
    each_partition(s, broker_changed, id);
    broker_free(old);
}

static void dir_failed(struct partition *p, int64_t dir)
{
    struct log_dir *failed = &p->shard->broker->log_dirs[dir];

    move_dir_failed(p, failed);
    if (p->dir == failed)
        partition_dir_failed(p);
}

static void isr_result(struct shard *s, const struct shard_update *u)
{
    enum err error;
    struct partition *p =
        shard_partition(s, &u->topic_id, u->partition, &error);

    if (p != NULL && u->hands_over)
        partition_hand_over_answered(p);
    else if (p != NULL)
        partition_isr_result(p, u->error, &u->state);
}

static void set_live(struct shard *s, struct shard_update *u)
{
    live_unref(s->live);
    s->live = live_ref(u->live);
    cleaner_reconfigured(s);
}

static void group_configs_free(struct map *configs)
{
    MAP_EACH (e, configs) {
        free(e->value);
    }
    map_free(configs);
    free(configs);
}

static void set_group_config(struct shard *s, struct shard_update *u)
{
    struct slice group = slice_str(u->name);
    struct map *configs = map_get(&s->group_configs, group);

    if (configs == NULL) {
        if (u->value == NULL)
            return;
        configs = xcalloc(1, sizeof *configs);
        map_put(&s->group_configs, group, configs);
    }
    if (u->value != NULL)
        free(map_put(configs, slice_str(u->key), u->value));
    else
        free(map_remove(configs, slice_str(u->key)));
    u->value = NULL;
    if (map_count(configs) == 0)
        group_configs_free(map_remove(&s->group_configs, group));
}

struct slice shard_group_config(const struct shard *s, struct slice group,
                                const char *key)
{
    const struct map *configs = map_get(&s->group_configs, group);

    return slice_str(configs != NULL ? map_get(configs, slice_str(key)) : NULL);
}

void shard_group_number(const struct shard *s, struct slice group,
                        const char *key, int32_t min, int32_t max,
                        int32_t *value)
{
    struct slice own = shard_group_config(s, group, key);

    if (slice_is_null(own) || !config_parse_int32(own, value))
        return;
    if (*value < min)
        *value = min;
    if (*value > max)
        *value = max;
}

static void apply(struct shard *s, struct shard_update *u)
{
    struct shard_topic *t;

    switch (u->kind) {
    case SHARD_TOPIC:
        set_topic(s, u);
        break;
    case SHARD_TOPIC_GONE:
        drop_topic(s, &u->topic_id);
        break;
    case SHARD_PARTITION:
        set_partition(s, u);
        break;
    case SHARD_PARTITION_GONE:
        t = shard_topic_by_id(s, &u->topic_id);
        if (t != NULL && u->partition < t->partitions)
            drop_partition(s, t, u->partition);
        break;
    case SHARD_SETTINGS:
        set_settings(s, u);
        break;
    case SHARD_BROKER:
        set_broker(s, u);
        break;
    case SHARD_BROKER_GONE:
        drop_broker(s, u->broker.id);
        break;
    case SHARD_ISR_RESULT:
        isr_result(s, u);
        break;
    case SHARD_SETTLED:
        s->settled = true;
        fetchers_settled(s);
        break;
    case SHARD_FEATURES:
        s->features = u->features;
        break;
    case SHARD_DIR_FAILED:
        each_partition(s, dir_failed, u->dir);
        break;
    case SHARD_LIVE:
        set_live(s, u);
        break;
    case SHARD_GROUP:
        set_group_config(s, u);
        break;
    case SHARD_QUOTAS:
        quotas_unref(s->quotas);
        s->quotas = quotas_ref(u->quotas);
        break;
    case SHARD_HEARD:
        s->heard_ms = u->heard_ms;
        break;
    }
}

struct shard_updates *shard_updates_new(struct shard *s)
{
    struct shard_updates *u = xcalloc(1, sizeof *u);

    u->shard = s;
    return u;
}

struct shard_update *shard_updates_add(struct shard_updates *u)
{
    if (u->len == u->cap) {
        u->cap = u->cap != 0 ? u->cap * 2 : 4;
        u->items = xrealloc(u->items, u->cap * sizeof *u->items);
    }
    struct shard_update *item = &u->items[u->len++];
    *item = (struct shard_update){0};
    return item;
}

static void updates_free(struct shard_updates *u)
{
    for (size_t i = 0; i < u->len; i++) {
        free(u->items[i].name);
        free(u->items[i].key);
        free(u->items[i].value);
        live_unref(u->items[i].live);
        quotas_unref(u->items[i].quotas);
        free(u->items[i].broker.host);
        free(u->items[i].broker.client_host);
        free(u->items[i].broker.rack);
        topic_settings_unref(u->items[i].settings);
    }
    free(u->items);
    free(u);
}

static void updates_arrived(struct env_task *task)
{
    struct shard_updates *u =
        (struct shard_updates *)((char *)task -
                                 offsetof(struct shard_updates, task));

    if (u->metadata_index > u->shard->metadata_index)
        u->shard->metadata_index = u->metadata_index;
    for (size_t i = 0; i < u->len; i++)
        if (u->items[i].kind == SHARD_SETTINGS)
            expect_settings(u->shard, &u->items[i]);
    for (size_t i = 0; i < u->len; i++)
        apply(u->shard, &u->items[i]);
    updates_free(u);
}

void shard_updates_post(struct shard_updates *u)
{
    if (u->len == 0) {
        updates_free(u);
        return;
    }
    u->task.fn = updates_arrived;
    env_post(u->shard->env, &u->task);
}

/* ---- time ---------------------------------------------------------------- */

static void sync_dirty(struct shard *s)
{
    LIST_EACH (node, &s->checkpoint) {
        struct partition *p =
            LIST_ENTRY(node, struct partition, checkpoint_link);

        if (p->log != NULL &&
            log_recovery_point(p->log) < log_end_offset(p->log))
            partition_sync_soon(p);
    }
}

/* Only partitions whose followers lag, and those whose checkpoint is stale, are
 * visited: an idle shard does nothing here. */
static void on_tick(void *arg)
{
    struct shard *s = arg;
    struct list watched;

    list_init(&watched);
    list_append_all(&watched, &s->watched);
    for (struct list *node; (node = list_pop_front(&watched)) != NULL;)
        partition_tick(LIST_ENTRY(node, struct partition, watched_link));

    fetch_sessions_tick(s);
    if (env_now_ms(s->env) >= s->next_checkpoint_ms) {
        s->next_checkpoint_ms = env_now_ms(s->env) + CHECKPOINT_MS;
        sync_dirty(s);
        checkpoint_begin(s);
    }
    env_timer_start(s->env, &s->tick, TICK_MS);
}

static void retain(struct partition *p, int64_t now_wall_ms)
{
    refusals_expire(&p->refusals, env_now_ms(p->shard->env));
    if (p->log == NULL || p->role == PARTITION_OFFLINE)
        return;
    int64_t active = log_active_base_offset(p->log);
    log_apply_retention(p->log, now_wall_ms, p->high_watermark);
    if (log_active_base_offset(p->log) != active)
        partition_rolled(p);
    if (p->producers != NULL)
        producers_expire(p->producers, now_wall_ms,
                         p->shard->live->config.producer_id_expiration_ms);
}

static void on_retention(void *arg)
{
    struct shard *s = arg;

    each_partition(s, retain, env_wall_ms(s->env));
    env_timer_start(s->env, &s->retention,
                    s->broker->config->log_retention_check_interval_ms);
}

/* ---- life ---------------------------------------------------------------- */

struct shard *shard_new(struct broker *broker, int index, struct env *env)
{
    struct shard *s = xcalloc(1, sizeof *s);

    s->env = env;
    s->broker = broker;
    s->index = index;
    s->features = FEATURE_LEVELS_UNKNOWN;
    s->heard_ms = -1;
    s->live = live_new(broker->config, &(struct config_layers){0});
    list_init(&s->watched);
    list_init(&s->checkpoint);
    list_init(&s->leaving);
    cleaner_init(s);
    list_init(&s->sessions);
    list_init(&s->time_searches);
    list_init(&s->group_lookups);
    conns_init(s);
    s->share_leads = share_leads_new(s);
    s->share_home = share_home_new(s);
    s->codec = codec_new();
    s->tick.fn = on_tick;
    s->tick.arg = s;
    s->retention.fn = on_retention;
    s->retention.arg = s;
    env_timer_start(env, &s->tick, TICK_MS);
    env_timer_start(env, &s->retention,
                    broker->config->log_retention_check_interval_ms);
    return s;
}

static void close_partition(struct partition *p, int64_t clean)
{
    struct shard *s = p->shard;

    bool given_up = log_dir_failed(p->dir);

    p->topic->local[p->index] = NULL;
    if (!partition_close(p, clean != 0) && !given_up)
        s->unflushed = true;
}

/* Before the image holds our registration there may be replicas on the disk of
 * which we never heard, as an earlier process left them. */
static bool knows_all_replicas(const struct shard *s)
{
    bool left_clean = true;

    for (int i = 0; i < s->broker->log_dirs_len; i++)
        left_clean = left_clean && (s->broker->log_dirs[i].clean ||
                                    log_dir_failed(&s->broker->log_dirs[i]));
    return s->settled || left_clean;
}

bool shard_stop(struct shard *s, bool clean)
{
    env_timer_stop(s->env, &s->tick);
    env_timer_stop(s->env, &s->retention);
    env_timer_stop(s->env, &s->cleaner);
    fetchers_stop(s);
    fetch_sessions_drop_all(s);
    checkpoint_flush(s, clean);
    each_partition(s, close_partition, clean);
    /* Files of a replica that is on its way out are not flushed, and the next
     * start may not know yet that it is. */
    return clean && !s->unflushed && s->deleting == 0 && knows_all_replicas(s);
}

void shard_free(struct shard *s)
{
    MAP_EACH (t, &s->topics_by_id) {
        topic_free(t->value);
    }
    MAP_EACH (b, &s->brokers) {
        broker_free(b->value);
    }
    group_regex_stop(s);
    MAP_EACH (g, &s->group_configs) {
        group_configs_free(g->value);
    }
    map_free(&s->group_configs);
    live_unref(s->live);
    quotas_unref(s->quotas);
    quota_buckets_free(&s->quota_buckets);
    share_home_free(s->share_home);
    share_leads_free(s->share_leads);
    map_free(&s->topics_by_id);
    map_free(&s->topics_by_name);
    map_free(&s->brokers);
    map_free(&s->fetchers);
    map_free(&s->wanted_dirs);
    map_free(&s->places);
    env_intake_free(s->intake);
    codec_free(s->codec);
    buf_free(&s->expanded);
    buf_free(&s->rewritten);
    free(s);
}
