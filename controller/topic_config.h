/* A topic's configuration in effect, as typed fields, for code that runs on
 * every append and must not look strings up.  Pure; any thread. */
#ifndef CONTROLLER_TOPIC_CONFIG_H
#define CONTROLLER_TOPIC_CONFIG_H

#include "controller/config_resolve.h"

/* Numbers 0 to 4 are those of a batch's compression bits. */
enum topic_compression {
    TOPIC_COMPRESSION_NONE,
    TOPIC_COMPRESSION_GZIP,
    TOPIC_COMPRESSION_SNAPPY,
    TOPIC_COMPRESSION_LZ4,
    TOPIC_COMPRESSION_ZSTD,
    TOPIC_COMPRESSION_PRODUCER, /* as it came */
};

enum durability { DURABILITY_REPLICATED, DURABILITY_FSYNC };

struct topic_config {
    bool cleanup_delete;
    bool cleanup_compact;
    bool log_append_time; /* message.timestamp.type=LogAppendTime */
    bool preallocate;
    bool unclean_leader_election_enable;
    enum durability durability;
    enum topic_compression compression;
    int32_t compression_gzip_level;
    int32_t compression_lz4_level;
    int32_t compression_zstd_level;
    int32_t index_interval_bytes;
    int32_t max_message_bytes;
    int32_t min_insync_replicas;
    int32_t segment_index_bytes;
    double min_cleanable_dirty_ratio;
    int64_t delete_retention_ms;
    int64_t file_delete_delay_ms;
    int64_t flush_messages;
    int64_t flush_ms;
    int64_t max_compaction_lag_ms;
    int64_t min_compaction_lag_ms;
    int64_t retention_bytes; /* -1: no bound */
    int64_t retention_ms;    /* -1: forever */
    int64_t segment_bytes;   /* internal.segment.bytes if that is set */
    int64_t segment_jitter_ms;
    int64_t segment_ms;
    int64_t timestamp_after_max_ms;
    int64_t timestamp_before_max_ms;
};

/* Values were validated where they came in; one that is invalid all the same
 * (written by a newer release, say) is replaced by the default. */
void topic_config_resolve(const struct config_layers *layers,
                          struct topic_config *out);

enum topic_compression topic_compression_parse(struct slice name);
enum durability durability_parse(struct slice name);

/* Rules between keys of one topic: ERR_NONE, or ERR_INVALID_CONFIG and a
 * sentence in *why that the caller frees. */
enum err topic_config_check(const struct topic_config *config, char **why);

#endif
