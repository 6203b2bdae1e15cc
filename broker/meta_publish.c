/* What changed in the image -> messages to the shards.
 *
 * Topics and brokers go to every shard, a partition of ours to the shard that
 * owns it.  While a batch of entries is applied the changes gather in one
 * message for each shard, in order; publish_send() posts them.
 *
 * A topic comes before its partitions but its message must carry their count:
 * the item of the topic added last is found again and counted up. */
#include "broker/meta_parts.h"

#include "base/alloc.h"
#include "base/log.h"
#include "broker/quotas.h"

#include <stdlib.h>

static int shards_len(const struct meta *m) { return m->broker->shards_len; }

static struct shard_update *add(struct meta *m, int shard,
                                enum shard_update_kind kind)
{
    if (m->out[shard] == NULL)
        m->out[shard] = shard_updates_new(m->broker->shards[shard]);
    struct shard_update *u = shard_updates_add(m->out[shard]);
    u->kind = kind;
    return u;
}

/* ---- brokers ------------------------------------------------------------ */

static const struct image_endpoint *endpoint_of(const struct image_broker *b,
                                                const char *listener)
{
    return listener == NULL ? NULL : image_endpoint(b, slice_str(listener));
}

static void fill_broker(const struct meta *m, const struct image_broker *b,
                        struct shard_broker *out)
{
    const struct server_config *config = m->broker->config;
    const struct image_endpoint *e =
        endpoint_of(b, config->inter_broker_listener);
    const struct server_listener *first =
        server_config_first_advertised(config);
    const struct image_endpoint *client =
        endpoint_of(b, first != NULL ? first->name : NULL);

    out->id = b->id;
    out->epoch = b->epoch;
    out->fenced = b->fenced;
    out->shutting_down = b->in_controlled_shutdown;
    out->rack = xstrdup(b->rack);
    if (e != NULL) {
        out->host = xstrdup(e->host);
        out->port = e->port;
    }
    if (client != NULL) {
        out->client_host = xstrdup(client->host);
        out->client_port = client->port;
    }
}

static void broker_changed(void *arg, const struct image_broker *old,
                           const struct image_broker *now)
{
    struct meta *m = arg;

    for (int i = 0; i < shards_len(m); i++) {
        if (now != NULL)
            fill_broker(m, now, &add(m, i, SHARD_BROKER)->broker);
        else
            add(m, i, SHARD_BROKER_GONE)->broker.id = old->id;
    }
}

/* ---- topics and partitions ---------------------------------------------- */

static void add_topic(struct meta *m, const struct image_topic *topic,
                      int32_t count)
{
    for (int i = 0; i < shards_len(m); i++) {
        struct shard_update *u = add(m, i, SHARD_TOPIC);

        u->topic_id = topic->id;
        u->name = xstrdup(topic->name);
        u->partition = count;
        m->topic_item[i] = m->out[i]->len - 1;
    }
    m->last_topic = topic->id;
}

static void topic_added(void *arg, const struct image_topic *topic)
{
    add_topic(arg, topic, 0);
}

static void topic_removed(void *arg, const struct image_topic *topic)
{
    struct meta *m = arg;

    for (int i = 0; i < shards_len(m); i++)
        add(m, i, SHARD_TOPIC_GONE)->topic_id = topic->id;
    if (uuid_eq(m->last_topic, topic->id))
        m->last_topic = UUID_ZERO;
    settings_forget(m, topic);
}

/* The topic has a partition `index`. */
static void count_partition(struct meta *m, const struct image_topic *topic,
                            int32_t index)
{
    if (!uuid_eq(m->last_topic, topic->id)) {
        add_topic(m, topic, index + 1);
        return;
    }
    for (int i = 0; i < shards_len(m); i++) {
        struct shard_update *u = &m->out[i]->items[m->topic_item[i]];
        if (u->partition <= index)
            u->partition = index + 1;
    }
}

/* A process that starts doesn't lead what the one before it led: its logs may
 * have lost their ends in a power failure, and followers that know it by what
 * it had, in the same epoch, would cut off committed records to agree with it.
 * Its registration takes the leaders away; what follows that is meant for it.
 */
static void fill_state(const struct meta *m, const struct image_partition *p,
                       struct partition_state *out)
{
    struct image_ids replicas = image_replicas(p);
    bool too_early = p->leader == m->broker->node_id && !m->life.leads;

    out->leader = too_early ? -1 : p->leader;
    out->leader_epoch = p->leader_epoch;
    out->partition_epoch = p->partition_epoch;
    out->recovering = p->recovering;
    out->replicas_len = (uint8_t)replicas.len;
    for (uint32_t i = 0; i < replicas.len; i++) {
        out->replicas[i] = replicas.at[i];
        if (image_ids_have(image_isr(p), replicas.at[i]))
            out->isr = (replica_set)(out->isr | 1u << i);
    }
}

static bool is_ours(const struct meta *m, const struct image_partition *p)
{
    return p != NULL && image_ids_have(image_replicas(p), m->broker->node_id);
}

/* Ours, but too many have it besides us.  No controller makes it so any more;
 * an older one did. */
static bool is_left_alone(const struct image_partition *p)
{
    return p->replicas_len > LEADER_REPLICAS_MAX;
}

static void put_partition(struct meta *m, const struct image_topic *topic,
                          int32_t index, const struct image_partition *p)
{
    int shard = broker_shard_of(m->broker, &topic->id, index);
    struct topic_settings *settings = settings_of(m, topic);
    struct shard_update *u = add(m, shard, SHARD_PARTITION);

    u->topic_id = topic->id;
    u->name = xstrdup(topic->name);
    u->partition = index;
    u->settings = topic_settings_ref(settings);
    fill_state(m, p, &u->state);
}

/* Its data is deleted.  A process that starts from an old image sees replicas
 * go and come back that went and came back long ago; what is on disk is from
 * after that.  So until the image has caught up they only are remembered. */
static void drop_partition(struct meta *m, const struct uuid *topic_id,
                           int32_t index)
{
    if (!m->life.leads) {
        m->early_leavers =
            xrealloc(m->early_leavers,
                     (m->early_leavers_len + 1) * sizeof *m->early_leavers);
        m->early_leavers[m->early_leavers_len++] =
            (struct image_place){*topic_id, index};
        return;
    }
    struct shard_update *u = add(m, broker_shard_of(m->broker, topic_id, index),
                                 SHARD_PARTITION_GONE);
    u->topic_id = *topic_id;
    u->partition = index;
}

static void drop_early_leavers(struct meta *m)
{
    for (size_t i = 0; i < m->early_leavers_len; i++) {
        const struct image_place *at = &m->early_leavers[i];
        const struct image_topic *topic =
            image_topic_by_id(&m->image, at->topic_id);

        if (topic != NULL && !is_ours(m, image_partition(topic, at->partition)))
            drop_partition(m, &at->topic_id, at->partition);
    }
    free(m->early_leavers);
    m->early_leavers = NULL;
    m->early_leavers_len = 0;
}

static void partition_changed(void *arg, const struct image_topic *topic,
                              int32_t index, const struct image_partition *old,
                              const struct image_partition *now)
{
    struct meta *m = arg;

    if (old == NULL)
        count_partition(m, topic, index);
    if (is_left_alone(now))
        log_error("server",
                  "Partition %s-%d has %d replicas; this release serves up to "
                  "%d and leaves it alone",
                  topic->name, (int)index, now->replicas_len,
                  LEADER_REPLICAS_MAX);
    if (is_ours(m, now)) {
        if (!is_left_alone(now))
            put_partition(m, topic, index, now);
    } else if (is_ours(m, old)) {
        drop_partition(m, &topic->id, index);
    }
}

void publish_led(struct meta *m)
{
    drop_early_leavers(m);
    for (int i = 0; i < shards_len(m); i++)
        add(m, i, SHARD_SETTLED);
    for (uint32_t i = 0; i < m->image.topics_len; i++) {
        const struct image_topic *topic = m->image.topics[i];

        for (int32_t j = 0; topic != NULL && j < topic->partitions_len; j++) {
            const struct image_partition *p = topic->partitions[j];

            if (is_ours(m, p) && !is_left_alone(p) &&
                p->leader == m->broker->node_id)
                put_partition(m, topic, j, p);
        }
    }
}

/* ---- settings ----------------------------------------------------------- */

static void group_config_changed(struct meta *m, const char *group,
                                 const char *key, const char *value)
{
    for (int i = 0; i < shards_len(m); i++) {
        struct shard_update *u = add(m, i, SHARD_GROUP);

        u->name = xstrdup(group);
        u->key = xstrdup(key);
        u->value = value != NULL ? xstrdup(value) : NULL;
    }
}

/* Several keys of one topic change together, so they are looked at when the
 * batch has been applied. */
static void config_changed(void *arg, enum image_resource type,
                           const char *name, const char *key, const char *value)
{
    struct meta *m = arg;

    switch (type) {
    case IMAGE_RESOURCE_TOPIC:
        map_put(&m->changed_configs, slice_str(name), m);
        break;
    case IMAGE_RESOURCE_BROKER:
        if (name[0] == '\0' || strcmp(name, m->own_id) == 0)
            m->defaults_changed = true;
        break;
    case IMAGE_RESOURCE_GROUP:
        group_config_changed(m, name, key, value);
        break;
    case IMAGE_RESOURCE_CLIENT_QUOTA:
        m->quotas_changed = true;
        break;
    case IMAGE_RESOURCE_CLIENT_METRICS:
        break;
    }
}

static void settings_changed(struct meta *m, const struct image_topic *topic,
                             struct topic_settings *settings)
{
    for (int i = 0; i < shards_len(m); i++) {
        struct shard_update *u = add(m, i, SHARD_SETTINGS);

        u->topic_id = topic->id;
        u->settings = topic_settings_ref(settings);
    }
}

/* ---- features ----------------------------------------------------------- */

static void feature_changed(void *arg, const char *name, int16_t level)
{
    struct meta *m = arg;

    (void)name;
    (void)level;
    m->features_told = false;
}

static void features_tell(struct meta *m)
{
    struct feature_levels levels = feature_levels_of(&m->image);

    for (int i = 0; i < shards_len(m); i++)
        add(m, i, SHARD_FEATURES)->features = levels;
    m->features_told = true;
}

/* ---- a batch ------------------------------------------------------------ */

struct image_observer publish_observer(struct meta *m)
{
    return (struct image_observer){
        .arg = m,
        .broker_changed = broker_changed,
        .topic_added = topic_added,
        .topic_removed = topic_removed,
        .partition_changed = partition_changed,
        .config_changed = config_changed,
        .feature_changed = feature_changed,
    };
}

void publish_diff(struct meta *m, const struct image *old)
{
    struct image_observer observer = publish_observer(m);

    image_diff(old, &m->image, &observer);
}

static void refresh_quotas(struct meta *m)
{
    if (!m->quotas_changed)
        return;
    struct quotas *q = quotas_new(&m->image, ++m->quotas_generation);
    for (int i = 0; i < shards_len(m); i++)
        add(m, i, SHARD_QUOTAS)->quotas = quotas_ref(q);
    quotas_unref(q);
    m->quotas_changed = false;
}

void publish_send(struct meta *m)
{
    settings_refresh(m, settings_changed);
    if (!m->features_told)
        features_tell(m);
    refresh_quotas(m);
    for (int i = 0; i < shards_len(m); i++) {
        if (m->out[i] != NULL) {
            m->out[i]->metadata_index = m->image.applied_index;
            shard_updates_post(m->out[i]);
        }
        m->out[i] = NULL;
    }
    m->last_topic = UUID_ZERO;
}

void publish_heard(struct meta *m, int64_t asked_ms)
{
    for (int i = 0; i < shards_len(m); i++)
        add(m, i, SHARD_HEARD)->heard_ms = asked_ms;
    publish_send(m);
}

void publish_init(struct meta *m)
{
    m->out = xcalloc((size_t)shards_len(m), sizeof *m->out);
    m->topic_item = xcalloc((size_t)shards_len(m), sizeof *m->topic_item);
}

void publish_free(struct meta *m)
{
    for (int i = 0; i < shards_len(m); i++)
        if (m->out[i] != NULL)
            shard_updates_post(m->out[i]);
    free(m->out);
    free(m->topic_item);
    free(m->early_leavers);
    settings_free(m);
    live_free(m);
}
