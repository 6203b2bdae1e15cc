/* Each field is resolved by its key, once, when a topic or a default changes;
 * about thirty lookups, so nothing here needs to be fast. */
#include "controller/topic_config.h"

#include <stdlib.h>

struct source {
    const struct config_layers *layers;
    struct arena arena;
};

/* The text in effect, or the default where that is not valid. */
static struct slice text_of(struct source *s, const char *key)
{
    const struct config_def *def = config_find(CONFIG_TOPIC, slice_str(key));
    char *why = NULL;

    ASSERT(def != NULL);
    struct slice value = config_effective(def, s->layers, &s->arena);
    if (config_check(def, slice_str(key), value, &why) == ERR_NONE)
        return config_trim(value);
    free(why);
    return slice_str(def->fallback);
}

static int64_t long_of(struct source *s, const char *key)
{
    int64_t number = 0;
    bool ok = config_parse_int64(text_of(s, key), &number);

    ASSERT(ok);
    return number;
}

static int32_t int_of(struct source *s, const char *key)
{
    return (int32_t)long_of(s, key);
}

static double double_of(struct source *s, const char *key)
{
    double number = 0;
    bool ok = config_parse_double(text_of(s, key), &number);

    ASSERT(ok);
    return number;
}

static bool bool_of(struct source *s, const char *key)
{
    bool value = false;
    bool ok = config_parse_bool(text_of(s, key), &value);

    ASSERT(ok);
    return value;
}

enum topic_compression topic_compression_parse(struct slice name)
{
    static const char *const names[] = {"uncompressed", "gzip", "snappy", "lz4",
                                        "zstd"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_eq_str(config_trim(name), names[i]))
            return (enum topic_compression)i;
    return TOPIC_COMPRESSION_PRODUCER;
}

enum durability durability_parse(struct slice name)
{
    return slice_eq_str(config_trim(name), "fsync") ? DURABILITY_FSYNC
                                                    : DURABILITY_REPLICATED;
}

static int64_t segment_bytes(struct source *s)
{
    int64_t small;

    if (config_parse_int64(text_of(s, "internal.segment.bytes"), &small) &&
        small > 0)
        return small;
    return long_of(s, "segment.bytes");
}

void topic_config_resolve(const struct config_layers *layers,
                          struct topic_config *out)
{
    struct source s = {.layers = layers};

    arena_init(&s.arena, 0);
    struct slice policy = text_of(&s, "cleanup.policy");
    *out = (struct topic_config){
        .cleanup_delete = config_list_has(policy, "delete"),
        .cleanup_compact = config_list_has(policy, "compact"),
        .log_append_time = slice_eq_str(text_of(&s, "message.timestamp.type"),
                                        "LogAppendTime"),
        .preallocate = bool_of(&s, "preallocate"),
        .unclean_leader_election_enable =
            bool_of(&s, "unclean.leader.election.enable"),
        .durability = durability_parse(text_of(&s, "leat.durability")),
        .compression = topic_compression_parse(text_of(&s, "compression.type")),
        .compression_gzip_level = int_of(&s, "compression.gzip.level"),
        .compression_lz4_level = int_of(&s, "compression.lz4.level"),
        .compression_zstd_level = int_of(&s, "compression.zstd.level"),
        .index_interval_bytes = int_of(&s, "index.interval.bytes"),
        .max_message_bytes = int_of(&s, "max.message.bytes"),
        .min_insync_replicas = int_of(&s, "min.insync.replicas"),
        .segment_index_bytes = int_of(&s, "segment.index.bytes"),
        .min_cleanable_dirty_ratio = double_of(&s, "min.cleanable.dirty.ratio"),
        .delete_retention_ms = long_of(&s, "delete.retention.ms"),
        .file_delete_delay_ms = long_of(&s, "file.delete.delay.ms"),
        .flush_messages = long_of(&s, "flush.messages"),
        .flush_ms = long_of(&s, "flush.ms"),
        .max_compaction_lag_ms = long_of(&s, "max.compaction.lag.ms"),
        .min_compaction_lag_ms = long_of(&s, "min.compaction.lag.ms"),
        .retention_bytes = long_of(&s, "retention.bytes"),
        .retention_ms = long_of(&s, "retention.ms"),
        .segment_bytes = segment_bytes(&s),
        .segment_jitter_ms = long_of(&s, "segment.jitter.ms"),
        .segment_ms = long_of(&s, "segment.ms"),
        .timestamp_after_max_ms = long_of(&s, "message.timestamp.after.max.ms"),
        .timestamp_before_max_ms =
            long_of(&s, "message.timestamp.before.max.ms"),
    };
    arena_free(&s.arena);
}

enum err topic_config_check(const struct topic_config *config, char **why)
{
    if (config->min_compaction_lag_ms <= config->max_compaction_lag_ms)
        return ERR_NONE;
    *why = xasprintf("conflict topic config setting min.compaction.lag.ms "
                     "(%lld) > max.compaction.lag.ms (%lld)",
                     (long long)config->min_compaction_lag_ms,
                     (long long)config->max_compaction_lag_ms);
    return ERR_INVALID_CONFIG;
}
