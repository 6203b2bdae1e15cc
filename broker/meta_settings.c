/* Effective settings of topics.
 *
 * Most topics have no configs of their own and share one object.  The others
 * have one each, kept from their first partition on this broker or their first
 * change until the topic goes. */
#include "broker/meta_parts.h"

#include "base/alloc.h"
#include "proto/record/compression.h"

#include <stdlib.h>

/* ---- resolving ---------------------------------------------------------- */

static struct config_layer layer_of(const struct image_configs *configs)
{
    return configs != NULL ? config_layer_of_map(&configs->by_key)
                           : (struct config_layer){0};
}

struct config_layers meta_config_layers(const struct meta *m,
                                        const struct image_topic *topic)
{
    return (struct config_layers){
        .topic = layer_of(topic == NULL
                              ? NULL
                              : image_configs(&m->image, IMAGE_RESOURCE_TOPIC,
                                              slice_str(topic->name))),
        .broker = layer_of(image_configs(&m->image, IMAGE_RESOURCE_BROKER,
                                         slice_str(m->own_id))),
        .broker_default = layer_of(
            image_configs(&m->image, IMAGE_RESOURCE_BROKER, SLICE(""))),
        .file = server_config_layer(m->broker->config),
    };
}

static int level_of(const struct topic_config *c)
{
    switch (c->compression) {
    case TOPIC_COMPRESSION_GZIP:
        return c->compression_gzip_level;
    case TOPIC_COMPRESSION_LZ4:
        return c->compression_lz4_level;
    case TOPIC_COMPRESSION_ZSTD:
        return c->compression_zstd_level;
    default:
        return CODEC_LEVEL_DEFAULT;
    }
}

static const char *const throttled_keys[THROTTLE_SIDES] = {
    "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas"};

static struct topic_settings *resolve(const struct meta *m,
                                      const struct image_topic *topic)
{
    struct config_layers layers = meta_config_layers(m, topic);
    struct topic_settings *s = xcalloc(1, sizeof *s);
    struct topic_config c;

    topic_config_resolve(&layers, &c);
    atomic_init(&s->refs, 1);
    s->log.segment_bytes = c.segment_bytes;
    s->log.segment_ms = c.segment_ms;
    s->log.segment_jitter_ms = c.segment_jitter_ms;
    s->log.retention_ms = c.retention_ms;
    s->log.retention_bytes = c.retention_bytes;
    s->log.file_delete_delay_ms = c.file_delete_delay_ms;
    s->log.index_interval_bytes = c.index_interval_bytes;
    s->log.segment_index_bytes = c.segment_index_bytes;
    s->log.max_message_bytes = c.max_message_bytes;
    s->log.delete_policy = c.cleanup_delete;
    s->log.compact_policy = c.cleanup_compact;
    s->log.min_compaction_lag_ms = c.min_compaction_lag_ms;
    s->log.max_compaction_lag_ms = c.max_compaction_lag_ms;
    s->log.delete_retention_ms = c.delete_retention_ms;
    s->log.min_cleanable_ratio = c.min_cleanable_dirty_ratio;
    /* What is appended to is not compacted. */
    if (c.cleanup_compact && c.max_compaction_lag_ms < c.segment_ms)
        s->log.segment_ms = c.max_compaction_lag_ms;
    s->log.flush_messages = c.flush_messages;
    s->log.flush_ms = c.flush_ms;
    s->min_isr =
        (int16_t)(c.min_insync_replicas < INT16_MAX ? c.min_insync_replicas
                                                    : INT16_MAX);
    s->fsync = c.durability == DURABILITY_FSYNC;
    s->append_time = c.log_append_time;
    s->timestamp_before_max_ms = c.timestamp_before_max_ms;
    s->timestamp_after_max_ms = c.timestamp_after_max_ms;
    s->compression = c.compression == TOPIC_COMPRESSION_PRODUCER
                         ? -1
                         : (int8_t)c.compression;
    s->compression_level = level_of(&c);
    for (int i = 0; topic != NULL && i < THROTTLE_SIDES; i++)
        throttled_parse(slice_str(image_config(&m->image, IMAGE_RESOURCE_TOPIC,
                                               slice_str(topic->name),
                                               slice_str(throttled_keys[i]))),
                        m->broker->node_id, &s->throttled[i]);
    return s;
}

static bool log_equal(const struct log_config *a, const struct log_config *b)
{
    return a->segment_bytes == b->segment_bytes &&
           a->segment_ms == b->segment_ms &&
           a->segment_jitter_ms == b->segment_jitter_ms &&
           a->retention_ms == b->retention_ms &&
           a->retention_bytes == b->retention_bytes &&
           a->file_delete_delay_ms == b->file_delete_delay_ms &&
           a->index_interval_bytes == b->index_interval_bytes &&
           a->segment_index_bytes == b->segment_index_bytes &&
           a->max_message_bytes == b->max_message_bytes &&
           a->delete_policy == b->delete_policy &&
           a->compact_policy == b->compact_policy &&
           a->min_compaction_lag_ms == b->min_compaction_lag_ms &&
           a->max_compaction_lag_ms == b->max_compaction_lag_ms &&
           a->delete_retention_ms == b->delete_retention_ms &&
           a->min_cleanable_ratio >= b->min_cleanable_ratio &&
           a->min_cleanable_ratio <= b->min_cleanable_ratio &&
           a->flush_messages == b->flush_messages && a->flush_ms == b->flush_ms;
}

static bool equal(const struct topic_settings *a,
                  const struct topic_settings *b)
{
    return log_equal(&a->log, &b->log) && a->min_isr == b->min_isr &&
           a->fsync == b->fsync && a->append_time == b->append_time &&
           a->timestamp_before_max_ms == b->timestamp_before_max_ms &&
           a->timestamp_after_max_ms == b->timestamp_after_max_ms &&
           a->compression == b->compression &&
           a->compression_level == b->compression_level &&
           throttled_equal(&a->throttled[0], &b->throttled[0]) &&
           throttled_equal(&a->throttled[1], &b->throttled[1]);
}

/* ---- who has which ------------------------------------------------------ */

static struct topic_settings *shared(struct meta *m)
{
    if (m->settings == NULL)
        m->settings = resolve(m, NULL);
    return m->settings;
}

static bool has_own(const struct meta *m, const struct image_topic *topic)
{
    const struct image_configs *c =
        image_configs(&m->image, IMAGE_RESOURCE_TOPIC, slice_str(topic->name));

    return c != NULL && map_count(&c->by_key) != 0;
}

struct topic_settings *settings_of(struct meta *m,
                                   const struct image_topic *topic)
{
    struct topic_settings *s =
        map_get(&m->topic_settings, uuid_slice(&topic->id));

    if (s != NULL)
        return s;
    if (!has_own(m, topic))
        return shared(m);
    s = resolve(m, topic);
    map_put(&m->topic_settings, uuid_slice(&topic->id), s);
    return s;
}

void settings_forget(struct meta *m, const struct image_topic *topic)
{
    topic_settings_unref(
        map_remove(&m->topic_settings, uuid_slice(&topic->id)));
}

/* ---- changes ------------------------------------------------------------ */

typedef void (*changed_fn)(struct meta *m, const struct image_topic *topic,
                           struct topic_settings *settings);

/* `certain`: its configs have changed.  Then the settings that are known are no
 * measure: they may have been asked for since, for a new partition or because
 * one has another state. */
static void refresh_topic(struct meta *m, const struct image_topic *topic,
                          bool certain, changed_fn changed)
{
    struct slice id = uuid_slice(&topic->id);
    struct topic_settings *old = map_get(&m->topic_settings, id);
    struct topic_settings *now =
        has_own(m, topic) ? resolve(m, topic) : topic_settings_ref(shared(m));

    if (old == NULL)
        old = shared(m);
    if (!certain && equal(old, now)) {
        topic_settings_unref(now);
        return;
    }
    topic_settings_unref(map_put(&m->topic_settings, id, now));
    changed(m, topic, now);
}

/* Also of topics that share one object. */
static void refresh_all(struct meta *m, changed_fn changed)
{
    struct topic_settings *old = shared(m);
    struct image_topic *topic;

    m->settings = resolve(m, NULL);
    bool same = equal(old, m->settings);
    for (uint32_t at = 0; (topic = image_topic_next(&m->image, &at)) != NULL;)
        if (map_get(&m->topic_settings, uuid_slice(&topic->id)) != NULL)
            refresh_topic(m, topic, false, changed);
        else if (!same)
            changed(m, topic, m->settings);
    topic_settings_unref(old);
}

void settings_refresh(struct meta *m, changed_fn changed)
{
    if (m->defaults_changed) {
        refresh_all(m, changed);
        live_refresh(m);
    }
    MAP_EACH (e, &m->changed_configs) {
        struct image_topic *topic = image_topic(&m->image, e->key);
        if (topic != NULL)
            refresh_topic(m, topic, true, changed);
    }
    m->defaults_changed = false;
    map_free(&m->changed_configs);
}

void settings_free(struct meta *m)
{
    MAP_EACH (e, &m->topic_settings) {
        topic_settings_unref(e->value);
    }
    map_free(&m->topic_settings);
    map_free(&m->changed_configs);
    topic_settings_unref(m->settings);
}
