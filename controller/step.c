#include "controller/step.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the observer: keep the index and the sessions true ------------------ */

static void on_broker(void *arg, const struct image_broker *old,
                      const struct image_broker *now)
{
    struct step *s = arg;
    struct controller_broker *b =
        step_broker(s->c, now != NULL ? now->id : old->id);

    if (now == NULL || now->fenced)
        heap_remove(&s->c->sessions, &b->session);
    else if (!heap_has(&b->session))
        session_restart(s->c, b);
}

static void on_topic_added(void *arg, const struct image_topic *topic)
{
    index_topic_added(&((struct step *)arg)->c->index, topic);
}

static void on_topic_removed(void *arg, const struct image_topic *topic)
{
    struct controller *c = ((struct step *)arg)->c;

    index_topic_removed(&c->index, topic);
    c->policy.valid = false; /* the slot may be reused */
}

/* A preferred replica came back: look at leaders soon. */
static void expect_rebalance(struct controller *c)
{
    int64_t delay_ms = c->config.leader_rebalance_delay_ms;

    if (!c->config.auto_leader_rebalance || delay_ms < 0)
        return;
    if (c->rebalance_ms > c->now_ms + delay_ms)
        c->rebalance_ms = c->now_ms + delay_ms;
}

static void on_partition(void *arg, const struct image_topic *topic,
                         int32_t partition, const struct image_partition *old,
                         const struct image_partition *now)
{
    struct controller *c = ((struct step *)arg)->c;
    partition_ref ref = partition_ref_of(topic->slot, partition);
    bool was = ref_set_has(&c->index.imbalanced, ref);

    index_partition_changed(&c->index, topic, partition, old, now);
    if (!was && ref_set_has(&c->index.imbalanced, ref))
        expect_rebalance(c);
    if (old != NULL && old->leader != now->leader && now->leader != -1) {
        c->elections++;
        if (now->recovering && !old->recovering)
            c->unclean_elections++;
    }
}

static void on_config(void *arg, enum image_resource type, const char *name,
                      const char *key, const char *value)
{
    ((struct step *)arg)->c->policy.valid = false;
}

/* ---- life of a step ------------------------------------------------------ */

void step_begin(struct step *s, struct controller *c,
                const struct controller_call *call,
                struct controller_update *update)
{
    ASSERT(c->active);
    ASSERT(call->next_index > c->image.applied_index);
    *update = (struct controller_update){0};
    *s = (struct step){
        .c = c,
        .image = &c->image,
        .arena = call->arena,
        .prng = {call->seed},
        .now_ms = call->now_ms,
        .user = call->user,
        .client_id = call->client_id,
        .update = update,
        .index = call->next_index,
        .observer =
            {
                .broker_changed = on_broker,
                .topic_added = on_topic_added,
                .topic_removed = on_topic_removed,
                .partition_changed = on_partition,
                .config_changed = on_config,
            },
    };
    s->observer.arg = s;
    c->now_ms = call->now_ms;
}

static void close_batch(struct step *s)
{
    struct controller_update *u = s->update;

    if (s->batch_records == 0)
        return;
    if (u->batches_len == s->batches_cap) {
        s->batches_cap = s->batches_cap != 0 ? s->batches_cap * 2 : 1;
        u->batches = xrealloc(u->batches, s->batches_cap * sizeof *u->batches);
    }
    u->batches[u->batches_len++] =
        (struct controller_batch){s->index, s->batch};
    s->closed_bytes += s->batch.len;
    s->image->applied_index = s->index++;
    s->batch = BUF_INIT;
    s->batch_records = 0;
}

static bool batch_is_full(const struct step *s)
{
    return s->batch_records >= s->c->config.batch_max_records ||
           s->batch.len >= s->c->config.batch_max_bytes;
}

static int64_t next_deadline(const struct controller *c)
{
    struct heap_node *first = heap_first(&c->sessions);
    int64_t deadline_ms = first != NULL ? first->key : INT64_MAX;

    if (c->rebalance_ms < deadline_ms)
        deadline_ms = c->rebalance_ms;
    if (c->unclean_ms < deadline_ms)
        deadline_ms = c->unclean_ms;
    return deadline_ms;
}

void step_end(struct step *s)
{
    ASSERT(s->group == 0);
    close_batch(s);
    s->update->answer_index = s->index - 1;
    s->update->deadline_ms = next_deadline(s->c);
}

void step_put(struct step *s, const Leat__MetadataRecord *record)
{
    if (s->group == 0 && batch_is_full(s))
        close_batch(s);
    records_put(&s->batch, record);
    s->batch_records++;
    ASSERT(s->group == 0 || s->batch.len <= s->group_end);
    enum err error = image_replay(s->image, record, s->index, &s->observer);
    ASSERT(error == ERR_NONE);
}

void step_group_begin(struct step *s, size_t bytes)
{
    size_t max_bytes = s->c->config.entry_max_bytes;

    ASSERT(s->group == 0 && bytes <= max_bytes);
    if (batch_is_full(s) || s->batch.len + bytes > max_bytes)
        close_batch(s);
    s->group++;
    s->group_end = s->batch.len + bytes;
}

void step_group_end(struct step *s)
{
    ASSERT(s->group > 0);
    s->group--;
}

/* ---- common questions ---------------------------------------------------- */

struct controller_broker *step_broker(struct controller *c, int32_t id)
{
    struct slice key = slice_of(&id, sizeof id);
    struct controller_broker *b = map_get(&c->brokers, key);

    if (b == NULL) {
        b = xcalloc(1, sizeof *b);
        b->id = id;
        map_put(&c->brokers, key, b);
    }
    return b;
}

bool broker_is_active(const struct controller *c, int32_t id)
{
    const struct image_broker *b = image_broker(&c->image, id);

    return b != NULL && !b->fenced && !b->in_controlled_shutdown;
}

enum err broker_check_epoch(struct step *s, int32_t id, int64_t epoch,
                            const char **why)
{
    const struct image_broker *b = image_broker(s->image, id);

    if (b != NULL && b->epoch == epoch)
        return ERR_NONE;
    *why = b == NULL
               ? (const char *)arena_printf(s->arena,
                                            "No broker registration found for "
                                            "broker id %d.",
                                            (int)id)
                     .data
               : (const char *)arena_printf(
                     s->arena,
                     "Expected broker epoch %lld for broker %d, but got %lld.",
                     (long long)b->epoch, (int)id, (long long)epoch)
                     .data;
    return ERR_STALE_BROKER_EPOCH;
}

void topic_config_layers(const struct controller *c, struct slice topic,
                         struct config_layers *layers)
{
    const struct image_configs *own =
        image_configs(&c->image, IMAGE_RESOURCE_TOPIC, topic);
    const struct image_configs *all =
        image_configs(&c->image, IMAGE_RESOURCE_BROKER, SLICE(""));

    *layers = (struct config_layers){.file = c->config.file};
    if (own != NULL)
        layers->topic = config_layer_of_map(&own->by_key);
    if (all != NULL)
        layers->broker_default = config_layer_of_map(&all->by_key);
}

static struct slice topic_value(struct step *s, const struct image_topic *topic,
                                struct slice key)
{
    struct config_layers layers;

    topic_config_layers(s->c, slice_str(topic->name), &layers);
    return config_effective(config_find(CONFIG_TOPIC, key), &layers, s->arena);
}

static void policy_of(struct step *s, const struct image_topic *topic)
{
    struct controller *c = s->c;

    if (c->policy.valid && c->policy.slot == topic->slot)
        return;
    c->policy.valid = true;
    c->policy.slot = topic->slot;
    c->policy.min_insync_replicas = 1;
    c->policy.unclean_election = false;
    config_parse_int32(topic_value(s, topic, SLICE("min.insync.replicas")),
                       &c->policy.min_insync_replicas);
    config_parse_bool(
        topic_value(s, topic, SLICE("unclean.leader.election.enable")),
        &c->policy.unclean_election);
}

int32_t topic_min_insync_replicas(struct step *s,
                                  const struct image_topic *topic)
{
    policy_of(s, topic);
    return s->c->policy.min_insync_replicas;
}

bool topic_unclean_election(struct step *s, const struct image_topic *topic)
{
    policy_of(s, topic);
    return s->c->policy.unclean_election;
}

struct image_topic *ref_topic(const struct step *s, partition_ref ref)
{
    return s->image->topics[partition_ref_slot(ref)];
}

struct verdict step_fits(struct step *s, size_t bytes)
{
    const struct controller_config *config = &s->c->config;

    if (bytes > config->entry_max_bytes)
        return refuse(s, ERR_POLICY_VIOLATION,
                      "This would change up to %zu bytes of the metadata at "
                      "once, more than the %zu that are possible.",
                      bytes, config->entry_max_bytes);
    if (s->closed_bytes + s->batch.len + bytes > config->request_max_bytes)
        return refuse(s, ERR_POLICY_VIOLATION,
                      "The request would change more than %zu bytes of the "
                      "metadata.",
                      config->request_max_bytes);
    return VERDICT_GOOD;
}

struct verdict refuse(struct step *s, enum err error, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t kept = (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
    return (struct verdict){error, arena_copy(s->arena, slice_of(text, kept))};
}
