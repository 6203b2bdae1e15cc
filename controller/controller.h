/* The active controller: every decision about brokers, topics, partitions,
 * configs and producer ids.
 *
 * Pure: no clock, no randomness, no I/O.  A call brings time, chance and the
 * index that Raft will give to the next entry; the answer and an update come
 * out.  One thread, one owner (service.c).
 *
 * What the owner does
 * -------------------
 * 1. Becoming leader: load the committed image (image_load() plus the entries
 *    of earlier terms; wait until the entry of the own term is applied), then
 *    controller_activate().
 * 2. Each event: set call.now_ms, call.next_index (Raft's last index + 1),
 *    call.seed (random) and an arena, call one function below, then
 *      a. propose update.batches in order, in the same callback.  Batch i must
 *         become the entry batches[i].index; if Raft refuses or numbers it
 *         otherwise, go to 3.
 *      b. hold the answer back until update.answer_index is committed.  This
 *         goes for refusals and reads too: they may rest on what was proposed
 *         and isn't committed yet.
 *      c. set the timer to update.deadline_ms and call controller_tick() then.
 *         Every update carries the deadline that holds from now on.
 *    and controller_update_free().
 * 3. Losing leadership: controller_deactivate(), answer everything held back
 *    with NOT_CONTROLLER.  The next activation starts from the committed image.
 *
 * The controller's image is ahead of what is committed: a record is replayed
 * when it is proposed, so that the next call sees its effect.  Nothing but 2b
 * keeps that from the outside.
 *
 * Sessions
 * --------
 * A broker that sent no heartbeat for broker_session_timeout_ms is fenced.  The
 * owner also watches connections: it tells controller_broker_lost() when the
 * connection by which the broker's heartbeats came is closed or reset; unless a
 * heartbeat arrives within broker_disconnect_grace_ms the broker is fenced
 * then. A controller_tick() that comes late means that the owner did not run,
 * and gives everybody time again instead of fencing them (sessions.c).
 * controller_broker_gone() is for a probe whose connect was refused, which only
 * a live machine with a dead process does: the broker is fenced at once. No
 * answer, no route and no such name say nothing.  An
 * activation starts fresh sessions for all brokers that are not fenced, so
 * after it the owner should probe those that don't call by themselves.
 *
 * A fencing moves the broker's partitions first and marks it fenced last; it
 * may take several batches.  Work is proportional to the partitions concerned,
 * never to all. */
#ifndef CONTROLLER_CONTROLLER_H
#define CONTROLLER_CONTROLLER_H

#include "base/arena.h"
#include "base/heap.h"
#include "controller/config_resolve.h"
#include "controller/image.h"
#include "controller/index.h"
#include "proto/internal/control.pb-c.h"

enum {
    /* A request that would take more is refused (POLICY_VIOLATION). */
    CONTROLLER_PARTITIONS_PER_REQUEST_MAX = 10000,
    /* Records of one resource's configs: what would have more, and more than
     * it has, is refused (INVALID_CONFIG). */
    CONTROLLER_CONFIGS_MAX_BYTES = 1 << 20,
    /* Kafka's block size of producer ids. */
    CONTROLLER_PRODUCER_IDS_BLOCK = 1000,
};

struct controller_config {
    /* Fencing.  Kafka: broker.session.timeout.ms. */
    int64_t broker_session_timeout_ms;
    int64_t broker_disconnect_grace_ms; /* leat.broker.disconnect.grace.ms */

    /* Leaders go back to the preferred replica.  auto.leader.rebalance.enable,
     * leader.imbalance.check.interval.seconds; besides, once the preferred
     * replica of a partition is back in sync, after the delay (< 0: not). */
    bool auto_leader_rebalance;
    int64_t leader_imbalance_check_interval_ms;
    int64_t leader_rebalance_delay_ms;
    /* unclean.leader.election.interval.ms */
    int64_t unclean_leader_election_interval_ms;

    /* CreateTopics with -1: num.partitions, default.replication.factor. */
    int32_t num_partitions;
    int16_t default_replication_factor;
    bool delete_topic_enable;

    /* controller.quota.window.num and .size.seconds */
    int32_t quota_window_num;
    int32_t quota_window_size_seconds;

    /* This node's file, for defaults of topic configs (min.insync.replicas,
     * unclean.leader.election.enable, ...).  Outlives the controller. */
    struct config_layer file;

    /* A batch is closed when it has reached one of these; what must be atomic
     * (one topic with its partitions) stays together. */
    size_t batch_max_records;
    size_t batch_max_bytes;
    /* What Raft takes as one entry.  A request of which something atomic would
     * be larger is refused, see step_fits(). */
    size_t entry_max_bytes;
    /* So much of one request's changes is decided, the rest is refused: Raft
     * holds a bounded amount that is not committed. */
    size_t request_max_bytes;
};

/* Kafka's defaults; no file. */
void controller_config_init(struct controller_config *config);

/* One event.  Filled in by the owner. */
struct controller_call {
    int64_t now_ms;      /* monotonic */
    int64_t next_index;  /* of the next entry in the log */
    uint64_t seed;       /* for topic ids and placement */
    struct arena *arena; /* no limit; responses and scratch live here */
    /* Of Kafka's requests: whose quotas count.  user empty: nobody's. */
    struct slice user;
    struct slice client_id;
};

struct controller_batch {
    int64_t index;    /* that the entry must get */
    struct buf bytes; /* a MetadataBatch */
};

/* What the owner must do now; owned by it, see controller_update_free(). */
struct controller_update {
    struct controller_batch *batches;
    size_t batches_len;
    int64_t answer_index; /* answer when this is committed */
    int64_t deadline_ms;  /* call controller_tick() at; INT64_MAX: never */
};

void controller_update_free(struct controller_update *update);

/* What the controller knows of a broker besides its registration; lost with
 * the activation. */
struct controller_broker {
    int32_t id;
    struct heap_node session; /* in sessions while not fenced */
    int64_t contact_ms;       /* last heartbeat or registration */
    int64_t forgiven_ms;      /* more time since then, as we stood still */
    bool heard;               /* there was one in this activation */
    bool lost;                /* its connection closed, at lost_ms */
    int64_t lost_ms;
    bool leaving;           /* being fenced: never elected */
    int64_t applied_index;  /* metadata that it says it has applied */
    int64_t shutdown_index; /* may stop when the others applied this */
};

struct controller {
    struct controller_config config;
    bool active;
    struct image image; /* with everything proposed */
    struct index index;
    struct map brokers;   /* id -> struct controller_broker */
    struct heap sessions; /* of brokers, by the time they get fenced */
    int64_t now_ms;       /* of the call under way */
    int64_t rebalance_ms; /* next check, periodic or earlier */
    int64_t unclean_ms;   /* next look at partitions without leader */

    /* Of the topic last looked at; valid until configs change. */
    struct {
        bool valid;
        uint32_t slot;
        int32_t min_insync_replicas;
        bool unclean_election;
    } policy;

    struct map mutation_rates; /* bucket -> struct rate; mutation_quota.c */
    uint32_t mutation_sweep_at;

    /* For metrics; never reset. */
    uint64_t elections;         /* leaders changed */
    uint64_t unclean_elections; /* of these, with possible loss */
    uint64_t sessions_expired;
};

void controller_init(struct controller *c,
                     const struct controller_config *config);
void controller_free(struct controller *c);

/* Become the active controller with the committed image, which is moved from
 * *image (left empty). */
void controller_activate(struct controller *c, struct image *image,
                         const struct controller_call *call,
                         struct controller_update *update);
/* Forget everything. */
void controller_deactivate(struct controller *c);

/* All functions from here on: only while active; update is filled completely.
 */

void controller_tick(struct controller *c, const struct controller_call *call,
                     struct controller_update *update);

/* The connection closed by which the last heartbeat or registration came of the
 * process with `broker_epoch`. */
void controller_broker_lost(struct controller *c,
                            const struct controller_call *call,
                            int32_t broker_id, int64_t broker_epoch,
                            struct controller_update *update);
/* The kernel of the broker's machine says that nothing listens at the address
 * it registered in `broker_epoch`: it is fenced now, unless it is heard. */
void controller_broker_gone(struct controller *c,
                            const struct controller_call *call,
                            int32_t broker_id, int64_t broker_epoch,
                            struct controller_update *update);
/* The broker says it has applied the metadata up to and with the index
 * (FetchMetadata says so more often than heartbeats).  Only remembered. */
void controller_broker_applied(struct controller *c, int32_t broker_id,
                               int64_t broker_epoch, int64_t applied_index);

/* ---- calls of brokers: proto/internal/control.proto ----------------------
 *
 * The error is for ControlResponse.error, *why for its message (in the arena,
 * or NULL).  Results are filled on ERR_NONE only and point into the arena. */

/* ERR_DUPLICATE_BROKER_REGISTRATION, ERR_INVALID_REGISTRATION,
 * ERR_INVALID_REQUEST */
enum err controller_register_broker(struct controller *c,
                                    const struct controller_call *call,
                                    const Leat__RegisterBrokerRequest *request,
                                    Leat__RegisterBrokerResponse *response,
                                    const char **why,
                                    struct controller_update *update);
/* ERR_STALE_BROKER_EPOCH */
enum err controller_heartbeat(struct controller *c,
                              const struct controller_call *call,
                              const Leat__HeartbeatRequest *request,
                              Leat__HeartbeatResponse *response,
                              const char **why,
                              struct controller_update *update);
/* ERR_STALE_BROKER_EPOCH; the errors of partitions are in their results. */
enum err controller_alter_partition(struct controller *c,
                                    const struct controller_call *call,
                                    const Leat__AlterPartitionRequest *request,
                                    Leat__AlterPartitionResponse *response,
                                    const char **why,
                                    struct controller_update *update);
/* ERR_STALE_BROKER_EPOCH, ERR_UNKNOWN_SERVER_ERROR when ids are used up */
enum err controller_allocate_producer_ids(
    struct controller *c, const struct controller_call *call,
    const Leat__AllocateProducerIdsRequest *request,
    Leat__AllocateProducerIdsResponse *response, const char **why,
    struct controller_update *update);

/* ERR_STALE_BROKER_EPOCH */
enum err
controller_offline_replicas(struct controller *c,
                            const struct controller_call *call,
                            const Leat__OfflineReplicasRequest *request,
                            const char **why, struct controller_update *update);

/* Any of the five, and ForwardRequest: fills the response, error included, in
 * the arena.  ERR_INVALID_REQUEST there for calls that the owner answers itself
 * (FetchMetadata) or that are missing. */
void controller_handle(struct controller *c, const struct controller_call *call,
                       const Leat__ControlRequest *request,
                       Leat__ControlResponse *response,
                       struct controller_update *update);

/* A controller's own endpoints, for DescribeCluster; no record if unchanged. */
void controller_register_controller(struct controller *c,
                                    const struct controller_call *call,
                                    const Leat__ControllerRecord *record,
                                    struct controller_update *update);
/* The voters of the quorum: who is new or has moved is written down, who is
 * not listed is taken out. An incarnation that is known stays, and is put into
 * the record. */
void controller_set_controllers(struct controller *c,
                                const struct controller_call *call,
                                Leat__ControllerRecord *records, size_t len,
                                struct controller_update *update);

/* ---- Kafka's requests ----------------------------------------------------
 *
 * CreateTopics, DeleteTopics, CreatePartitions, AlterConfigs,
 * IncrementalAlterConfigs, ElectLeaders, AlterPartitionReassignments,
 * ListPartitionReassignments, UnregisterBroker: decodes the body (without
 * header) and appends the response's body to `response`.  Errors of single
 * topics and so on are in the response, as Kafka tells them.
 *
 * ERR_UNSUPPORTED_VERSION  not one of these, or not that version
 * ERR_MALFORMED, ERR_TOO_LARGE  the body cannot be decoded
 * Authorization is the caller's. */
enum err controller_handle_kafka(struct controller *c,
                                 const struct controller_call *call,
                                 int16_t api_key, int16_t version,
                                 struct slice body, struct buf *response,
                                 struct controller_update *update);
bool controller_handles_kafka(int16_t api_key);

/* ---- for metrics --------------------------------------------------------- */

/* Partitions without a leader. */
static inline uint32_t controller_offline_partitions(const struct controller *c)
{
    return c->index.leaderless.count;
}

#endif
