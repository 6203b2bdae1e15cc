/* What a node is started with: Kafka's server.properties as typed fields.
 *
 * server_config_load() takes, later ones winning, the file, KAFKA_* variables
 * of the environment, and overrides from the command line; checks each value
 * by the table of keys (controller/config_defs.h) and all of them together;
 * and either fills the struct or refuses with one sentence that names the key,
 * the value and the remedy.
 *
 * Pure: the caller reads the file and tells host name and processors.  The
 * struct is constant after loading, so any thread may read it. */
#ifndef BROKER_CONFIG_H
#define BROKER_CONFIG_H

#include "base/properties.h"
#include "controller/topic_config.h"

/* X(type, field, key): read as they are, in the unit their name ends in. */
#define SERVER_CONFIG_FIELDS(X)                                                \
    /* controllers and heartbeats */                                           \
    X(int32_t, election_timeout_ms, "controller.quorum.election.timeout.ms")   \
    X(int32_t, fetch_timeout_ms, "controller.quorum.fetch.timeout.ms")         \
    X(int32_t, controller_request_timeout_ms,                                  \
      "controller.quorum.request.timeout.ms")                                  \
    X(int32_t, controller_retry_backoff_ms,                                    \
      "controller.quorum.retry.backoff.ms")                                    \
    X(int64_t, metadata_snapshot_bytes,                                        \
      "metadata.log.max.record.bytes.between.snapshots")                       \
    X(int32_t, broker_heartbeat_interval_ms, "broker.heartbeat.interval.ms")   \
    X(int32_t, broker_session_timeout_ms, "broker.session.timeout.ms")         \
    X(int32_t, broker_disconnect_grace_ms, "leat.broker.disconnect.grace.ms")  \
    X(int32_t, initial_registration_timeout_ms,                                \
      "initial.broker.registration.timeout.ms")                                \
    X(bool, controlled_shutdown_enable, "controlled.shutdown.enable")          \
    /* connections */                                                          \
    X(int64_t, queued_max_request_bytes, "queued.max.request.bytes")           \
    X(int32_t, socket_send_buffer_bytes, "socket.send.buffer.bytes")           \
    X(int32_t, socket_receive_buffer_bytes, "socket.receive.buffer.bytes")     \
    X(int32_t, socket_request_max_bytes, "socket.request.max.bytes")           \
    X(int32_t, socket_listen_backlog, "socket.listen.backlog.size")            \
    X(int64_t, connections_max_idle_ms, "connections.max.idle.ms")             \
    X(int32_t, max_connections, "max.connections")                             \
    X(int32_t, max_connections_per_ip, "max.connections.per.ip")               \
    X(int32_t, max_connection_creation_rate, "max.connection.creation.rate")   \
    X(int32_t, request_timeout_ms, "request.timeout.ms")                       \
    /* topics and logs */                                                      \
    X(int32_t, num_partitions, "num.partitions")                               \
    X(int32_t, default_replication_factor, "default.replication.factor")       \
    X(bool, auto_create_topics_enable, "auto.create.topics.enable")            \
    X(bool, delete_topic_enable, "delete.topic.enable")                        \
    X(int32_t, min_insync_replicas, "min.insync.replicas")                     \
    X(int32_t, message_max_bytes, "message.max.bytes")                         \
    X(int64_t, leader_replication_throttled_rate,                              \
      "leader.replication.throttled.rate")                                     \
    X(int64_t, follower_replication_throttled_rate,                            \
      "follower.replication.throttled.rate")                                   \
    X(int64_t, log_retention_check_interval_ms,                                \
      "log.retention.check.interval.ms")                                       \
    X(int32_t, log_flush_checkpoint_interval_ms,                               \
      "log.flush.offset.checkpoint.interval.ms")                               \
    X(int32_t, recovery_threads_per_dir, "num.recovery.threads.per.data.dir")  \
    X(bool, log_cleaner_enable, "log.cleaner.enable")                          \
    X(int32_t, log_cleaner_threads, "log.cleaner.threads")                     \
    X(int64_t, log_cleaner_backoff_ms, "log.cleaner.backoff.ms")               \
    X(int64_t, log_cleaner_dedupe_buffer_bytes,                                \
      "log.cleaner.dedupe.buffer.size")                                        \
    X(double, log_cleaner_load_factor, "log.cleaner.io.buffer.load.factor")    \
    X(int32_t, log_cleaner_io_buffer_bytes, "log.cleaner.io.buffer.size")      \
    X(double, log_cleaner_io_max_bytes_per_second,                             \
      "log.cleaner.io.max.bytes.per.second")                                   \
    /* replication and fetching */                                             \
    X(int64_t, replica_lag_time_max_ms, "replica.lag.time.max.ms")             \
    X(int32_t, replica_fetch_max_bytes, "replica.fetch.max.bytes")             \
    X(int32_t, replica_fetch_min_bytes, "replica.fetch.min.bytes")             \
    X(int32_t, replica_fetch_wait_max_ms, "replica.fetch.wait.max.ms")         \
    X(int32_t, replica_fetch_backoff_ms, "replica.fetch.backoff.ms")           \
    X(int32_t, replica_fetch_response_max_bytes,                               \
      "replica.fetch.response.max.bytes")                                      \
    X(int64_t, replica_alter_log_dirs_bytes_per_second,                        \
      "replica.alter.log.dirs.io.max.bytes.per.second")                        \
    X(int32_t, replica_socket_timeout_ms, "replica.socket.timeout.ms")         \
    X(int32_t, replica_socket_receive_buffer_bytes,                            \
      "replica.socket.receive.buffer.bytes")                                   \
    X(int64_t, high_watermark_checkpoint_interval_ms,                          \
      "replica.high.watermark.checkpoint.interval.ms")                         \
    X(bool, auto_leader_rebalance_enable, "auto.leader.rebalance.enable")      \
    X(int64_t, leader_imbalance_check_interval_seconds,                        \
      "leader.imbalance.check.interval.seconds")                               \
    X(bool, unclean_leader_election_enable, "unclean.leader.election.enable")  \
    X(int32_t, fetch_max_bytes, "fetch.max.bytes")                             \
    X(int32_t, controller_quota_window_size_seconds,                           \
      "controller.quota.window.size.seconds")                                  \
    X(int32_t, controller_quota_window_num, "controller.quota.window.num")     \
    X(int32_t, replication_quota_window_size_seconds,                          \
      "replication.quota.window.size.seconds")                                 \
    X(int32_t, replication_quota_window_num, "replication.quota.window.num")   \
    X(int32_t, quota_window_size_seconds, "quota.window.size.seconds")         \
    X(int32_t, quota_window_num, "quota.window.num")                           \
    X(int32_t, fetch_session_slots,                                            \
      "max.incremental.fetch.session.cache.slots")                             \
    X(int32_t, describe_partitions_max, "max.request.partition.size.limit")    \
    /* groups and producers */                                                 \
    X(int32_t, offsets_topic_num_partitions, "offsets.topic.num.partitions")   \
    X(int32_t, offsets_topic_replication_factor,                               \
      "offsets.topic.replication.factor")                                      \
    X(int32_t, offsets_topic_segment_bytes, "offsets.topic.segment.bytes")     \
    X(int32_t, offsets_retention_minutes, "offsets.retention.minutes")         \
    X(int64_t, offsets_retention_check_interval_ms,                            \
      "offsets.retention.check.interval.ms")                                   \
    X(int32_t, offsets_commit_timeout_ms, "offsets.commit.timeout.ms")         \
    X(int32_t, offset_metadata_max_bytes, "offset.metadata.max.bytes")         \
    X(int32_t, group_initial_rebalance_delay_ms,                               \
      "group.initial.rebalance.delay.ms")                                      \
    X(int32_t, group_min_session_timeout_ms, "group.min.session.timeout.ms")   \
    X(int32_t, group_max_session_timeout_ms, "group.max.session.timeout.ms")   \
    X(int32_t, group_max_size, "group.max.size")                               \
    X(int32_t, group_consumer_max_size, "group.consumer.max.size")             \
    X(int32_t, group_consumer_session_timeout_ms,                              \
      "group.consumer.session.timeout.ms")                                     \
    X(int32_t, group_consumer_min_session_timeout_ms,                          \
      "group.consumer.min.session.timeout.ms")                                 \
    X(int32_t, group_consumer_max_session_timeout_ms,                          \
      "group.consumer.max.session.timeout.ms")                                 \
    X(int32_t, group_consumer_heartbeat_interval_ms,                           \
      "group.consumer.heartbeat.interval.ms")                                  \
    X(int32_t, group_consumer_min_heartbeat_interval_ms,                       \
      "group.consumer.min.heartbeat.interval.ms")                              \
    X(int32_t, group_consumer_max_heartbeat_interval_ms,                       \
      "group.consumer.max.heartbeat.interval.ms")                              \
    X(int32_t, group_consumer_assignment_interval_ms,                          \
      "group.consumer.assignment.interval.ms")                                 \
    X(int32_t, group_consumer_min_assignment_interval_ms,                      \
      "group.consumer.min.assignment.interval.ms")                             \
    X(int32_t, group_consumer_max_assignment_interval_ms,                      \
      "group.consumer.max.assignment.interval.ms")                             \
    X(int64_t, group_consumer_regex_refresh_interval_ms,                       \
      "group.consumer.regex.refresh.interval.ms")                              \
    X(int32_t, transaction_max_timeout_ms, "transaction.max.timeout.ms")       \
    X(int64_t, transactional_id_expiration_ms,                                 \
      "transactional.id.expiration.ms")                                        \
    X(int64_t, transaction_abort_interval_ms,                                  \
      "transaction.abort.timed.out.transaction.cleanup.interval.ms")           \
    X(int64_t, transaction_remove_interval_ms,                                 \
      "transaction.remove.expired.transaction.cleanup.interval.ms")            \
    X(int32_t, transaction_state_log_num_partitions,                           \
      "transaction.state.log.num.partitions")                                  \
    X(int32_t, transaction_state_log_replication_factor,                       \
      "transaction.state.log.replication.factor")                              \
    X(int64_t, transaction_state_log_segment_bytes,                            \
      "transaction.state.log.segment.bytes")                                   \
    X(int32_t, transaction_state_log_min_isr, "transaction.state.log.min.isr") \
    X(bool, transaction_partition_verification_enable,                         \
      "transaction.partition.verification.enable")                             \
    X(int64_t, add_partitions_to_txn_retry_backoff_ms,                         \
      "add.partitions.to.txn.retry.backoff.ms")                                \
    X(int64_t, add_partitions_to_txn_retry_backoff_max_ms,                     \
      "add.partitions.to.txn.retry.backoff.max.ms")                            \
    X(int32_t, share_state_topic_num_partitions,                               \
      "share.coordinator.state.topic.num.partitions")                          \
    X(int32_t, share_state_topic_replication_factor,                           \
      "share.coordinator.state.topic.replication.factor")                      \
    X(int32_t, share_state_topic_min_isr,                                      \
      "share.coordinator.state.topic.min.isr")                                 \
    X(int64_t, share_state_topic_segment_bytes,                                \
      "share.coordinator.state.topic.segment.bytes")                           \
    X(int64_t, share_state_topic_prune_interval_ms,                            \
      "share.coordinator.state.topic.prune.interval.ms")                       \
    X(int32_t, share_updates_per_snapshot,                                     \
      "share.coordinator.snapshot.update.records.per.snapshot")                \
    X(int64_t, share_cold_snapshot_interval_ms,                                \
      "share.coordinator.cold.partition.snapshot.interval.ms")                 \
    X(int64_t, share_write_timeout_ms, "share.coordinator.write.timeout.ms")   \
    X(int32_t, share_max_size, "group.share.max.size")                         \
    X(int32_t, share_session_timeout_ms, "group.share.session.timeout.ms")     \
    X(int32_t, share_heartbeat_interval_ms,                                    \
      "group.share.heartbeat.interval.ms")                                     \
    X(int32_t, share_assignment_interval_ms,                                   \
      "group.share.assignment.interval.ms")                                    \
    X(int32_t, share_initialize_retry_interval_ms,                             \
      "group.share.initialize.retry.interval.ms")                              \
    X(int32_t, share_delivery_count_limit, "group.share.delivery.count.limit") \
    X(int32_t, share_record_lock_ms, "group.share.record.lock.duration.ms")    \
    X(int32_t, share_record_locks, "group.share.partition.max.record.locks")   \
    X(int32_t, share_min_session_timeout_ms,                                   \
      "group.share.min.session.timeout.ms")                                    \
    X(int32_t, share_max_session_timeout_ms,                                   \
      "group.share.max.session.timeout.ms")                                    \
    X(int32_t, share_min_heartbeat_interval_ms,                                \
      "group.share.min.heartbeat.interval.ms")                                 \
    X(int32_t, share_max_heartbeat_interval_ms,                                \
      "group.share.max.heartbeat.interval.ms")                                 \
    X(int32_t, share_min_assignment_interval_ms,                               \
      "group.share.min.assignment.interval.ms")                                \
    X(int32_t, share_max_assignment_interval_ms,                               \
      "group.share.max.assignment.interval.ms")                                \
    X(int32_t, share_min_delivery_count_limit,                                 \
      "group.share.min.delivery.count.limit")                                  \
    X(int32_t, share_max_delivery_count_limit,                                 \
      "group.share.max.delivery.count.limit")                                  \
    X(int32_t, share_min_record_lock_ms,                                       \
      "group.share.min.record.lock.duration.ms")                               \
    X(int32_t, share_max_record_lock_ms,                                       \
      "group.share.max.record.lock.duration.ms")                               \
    X(int32_t, share_min_record_locks,                                         \
      "group.share.min.partition.max.record.locks")                            \
    X(int32_t, share_max_record_locks,                                         \
      "group.share.max.partition.max.record.locks")                            \
    X(int32_t, share_max_sessions, "group.share.max.share.sessions")           \
    X(int32_t, streams_max_size, "group.streams.max.size")                     \
    X(int32_t, streams_session_timeout_ms, "group.streams.session.timeout.ms") \
    X(int32_t, streams_min_session_timeout_ms,                                 \
      "group.streams.min.session.timeout.ms")                                  \
    X(int32_t, streams_max_session_timeout_ms,                                 \
      "group.streams.max.session.timeout.ms")                                  \
    X(int32_t, streams_heartbeat_interval_ms,                                  \
      "group.streams.heartbeat.interval.ms")                                   \
    X(int32_t, streams_min_heartbeat_interval_ms,                              \
      "group.streams.min.heartbeat.interval.ms")                               \
    X(int32_t, streams_max_heartbeat_interval_ms,                              \
      "group.streams.max.heartbeat.interval.ms")                               \
    X(int32_t, streams_assignment_interval_ms,                                 \
      "group.streams.assignment.interval.ms")                                  \
    X(int32_t, streams_min_assignment_interval_ms,                             \
      "group.streams.min.assignment.interval.ms")                              \
    X(int32_t, streams_max_assignment_interval_ms,                             \
      "group.streams.max.assignment.interval.ms")                              \
    X(int32_t, streams_initial_rebalance_delay_ms,                             \
      "group.streams.initial.rebalance.delay.ms")                              \
    X(int32_t, streams_num_standby_replicas,                                   \
      "group.streams.num.standby.replicas")                                    \
    X(int32_t, streams_max_standby_replicas,                                   \
      "group.streams.max.standby.replicas")                                    \
    X(int32_t, producer_id_expiration_ms, "producer.id.expiration.ms")         \
    X(int32_t, producer_id_check_interval_ms,                                  \
      "producer.id.expiration.check.interval.ms")

/* One address of a listener.  Strings are owned by the config. */
struct server_listener {
    char *name;         /* upper case, as in Kafka */
    char *host;         /* "": every interface; without the brackets of IPv6 */
    uint16_t port;      /* 0: any free one */
    bool is_controller; /* named in controller.listener.names */
};

/* A controller that may vote, or (with id -1) an address to find them by. */
struct server_endpoint {
    int32_t id;
    char *host;
    uint16_t port;
};

enum { GROUP_ASSIGNORS_MAX = 2 };

struct server_config {
#define X(type, field, key) type field;
    SERVER_CONFIG_FIELDS(X)
#undef X

    /* Not in the file: how many entries stay in the metadata log when it is
     * cut; 0 leaves that to Raft.  The simulator's clusters are small. */
    int64_t metadata_keep_entries;

    bool is_broker;
    bool is_controller;
    int32_t node_id;
    char *rack;         /* "" if none */
    bool reads_by_rack; /* replica.selector.class sends consumers to replicas
                           in their rack */
    char *cluster_id;   /* from CLUSTER_ID: format empty directories; or NULL */
    int32_t num_network_threads; /* shards; the processors unless given */
    enum durability durability;

    char **log_dirs; /* at least one, absolute or as given, all different */
    size_t log_dirs_len;
    char *metadata_log_dir;

    /* Of the fields above, socket_send_buffer_bytes,
     * socket_receive_buffer_bytes, replica_socket_receive_buffer_bytes and
     * socket_listen_backlog are 0 unless they were given: Kafka's defaults are
     * below what the system does by itself. */

    struct server_listener *listeners; /* at least one */
    size_t listeners_len;
    /* What clients are told: one entry of each broker listener, and of those
     * controller listeners that are advertised; hosts never empty. */
    struct server_listener *advertised;
    size_t advertised_len;
    /* On a controller-only node what the file says, or "": whom it asks
     * whether a broker is there. */
    char *inter_broker_listener;
    char *controller_listener; /* the first of controller.listener.names */

    struct server_endpoint *voters; /* empty: dynamic quorum */
    size_t voters_len;
    struct server_endpoint *bootstrap; /* controller.quorum.bootstrap.servers */
    size_t bootstrap_len;

    /* Exceptions to max_connections_per_ip, in "address:count,..." order. */
    struct server_endpoint *connection_overrides; /* id is the count */
    size_t connection_overrides_len;

    /* group.consumer.assignors: constants, the default first. */
    const char *group_consumer_assignors[GROUP_ASSIGNORS_MAX];
    uint32_t group_consumer_assignors_len; /* at least one */
    bool group_protocol_consumer; /* group.coordinator.rebalance.protocols */
    bool group_protocol_streams;  /* likewise */
    /* group.consumer.migration.policy: from the classic protocol to the new
     * one, and back. */
    bool group_upgrade;
    bool group_downgrade;

    struct map values; /* every key that was given -> its text, char * */
    char **warnings;   /* to be logged once, in order */
    size_t warnings_len;
};

struct server_config_sources {
    const char *file_name;          /* for messages */
    struct slice file;              /* null: none */
    const char *const *environment; /* "NAME=value", NULL-terminated; or NULL */
    const char *const *overrides;   /* "key=value" */
    size_t overrides_len;
    const char *host_name; /* stands for an empty advertised host */
    int32_t processors;
};

/* ERR_NONE, or ERR_INVALID_CONFIG with a sentence in *why that the caller
 * frees; then *config needs no freeing.  Warnings (unknown and old keys) are
 * no errors. */
enum err server_config_load(const struct server_config_sources *sources,
                            struct server_config *config, char **why);
void server_config_free(struct server_config *config);

/* Changes one of SERVER_CONFIG_FIELDS on a copy that its owner keeps (dynamic
 * broker configuration).  Null: back to the file's value or the default.
 * False for a key that is no field, or a value that is not valid. */
bool server_config_set(struct server_config *config, struct slice key,
                       struct slice value);

/* The fields, by number from 0; NULL for a key that cannot change while the
 * node runs. */
size_t server_config_dynamic_count(void);
const char *server_config_dynamic_key(size_t i);

/* What the file gave, as the file layer of config_resolve.h. */
struct config_layer server_config_layer(const struct server_config *config);

/* NULL if there is no such listener. */
const struct server_listener *
server_config_listener(const struct server_config *config, const char *name);
const struct server_listener *
server_config_advertised(const struct server_config *config, const char *name);
/* The first of `advertised` that is for clients; NULL: a controller has none.
 */
const struct server_listener *
server_config_first_advertised(const struct server_config *config);
/* The voter with this id, or NULL. */
const struct server_endpoint *
server_config_voter(const struct server_config *config, int32_t id);

/* KAFKA_NODE_ID -> node.id: fills `key` and returns true if the variable's
 * name has the prefix KAFKA_ (or KAFKA_CFG_) and stands for a known key. */
bool server_config_env_key(struct slice name, struct buf *key);

#endif
