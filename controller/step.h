/* One call of the controller while it runs: what it was given, what it has
 * proposed so far.  Private to controller/.
 *
 * step_put() replays a record at once and packs it, so everything that follows
 * in the same call sees its effect.  There is no undo: check first, put then.
 */
#ifndef CONTROLLER_STEP_H
#define CONTROLLER_STEP_H

#include "base/prng.h"
#include "controller/controller.h"
#include "controller/records.h"

struct rate;

struct step {
    struct controller *c;
    struct image *image; /* &c->image */
    struct arena *arena;
    struct prng prng;
    int64_t now_ms;
    struct controller_update *update;
    size_t batches_cap;
    struct buf batch; /* open: not yet in update.batches */
    size_t batch_records;
    int64_t index;       /* of the open batch */
    size_t closed_bytes; /* of batches in the update */
    int group;           /* > 0: the batch must not be closed */
    size_t group_end;    /* the batch's length that the group may reach */
    struct image_observer observer;
    struct slice user, client_id; /* as in the call */
    struct {
        bool strict;
        struct rate *rate; /* NULL: no limit */
        double per_second;
        int64_t pause_ns; /* the client's, once it has its answer */
    } mutation;
};

void step_begin(struct step *s, struct controller *c,
                const struct controller_call *call,
                struct controller_update *update);
/* Closes the last batch and fills the rest of the update. */
void step_end(struct step *s);

void step_put(struct step *s, const Leat__MetadataRecord *record);
/* What is put between these stays in one batch.  It has `bytes` at most, which
 * step_fits() has found to be possible. */
void step_group_begin(struct step *s, size_t bytes);
void step_group_end(struct step *s);

/* ---- common questions ---------------------------------------------------- */

/* Created on first use; never NULL. */
struct controller_broker *step_broker(struct controller *c, int32_t id);

/* May lead and be in sync: registered, not fenced, not shutting down. */
bool broker_is_active(const struct controller *c, int32_t id);

/* ERR_STALE_BROKER_EPOCH unless `id` is registered with `epoch`. */
enum err broker_check_epoch(struct step *s, int32_t id, int64_t epoch,
                            const char **why);

int32_t topic_min_insync_replicas(struct step *s,
                                  const struct image_topic *topic);
bool topic_unclean_election(struct step *s, const struct image_topic *topic);
/* Where a topic's configs are looked for; the layers borrow from the image. */
void topic_config_layers(const struct controller *c, struct slice topic,
                         struct config_layers *layers);

/* The partition behind a reference that is in the index. */
struct image_topic *ref_topic(const struct step *s, partition_ref ref);

/* After the sessions of brokers or the set of leaders changed. */
/* A heartbeat or a registration has come. */
void session_heard(struct controller *c, struct controller_broker *b);
void session_restart(struct controller *c, struct controller_broker *b);

/* What became of one item of a request; why is null or in the arena. */
struct verdict {
    enum err error;
    struct slice why;
};

#define VERDICT_GOOD ((struct verdict){ERR_NONE, {NULL, 0}})

struct verdict refuse(struct step *s, enum err error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether records of so many bytes together can be decided at once: Raft would
 * not take a larger entry.  ERR_POLICY_VIOLATION */
struct verdict step_fits(struct step *s, size_t bytes);

/* An assignment given by hand: not empty, no broker twice, all registered. */
struct verdict assignment_check(struct step *s, const int32_t *ids,
                                int32_t len);
/* Whether `replicas` brokers can be found. */
struct placement;
struct verdict placement_check(struct step *s, const struct placement *p,
                               int32_t replicas);
/* Put a partition's first record: in sync are the active replicas, of which
 * there must be one, and the first of them leads. */
size_t partition_record_bytes(uint32_t replicas); /* at most */
void partition_put_new(struct step *s, const struct uuid *topic_id,
                       int32_t partition, const int32_t *replicas,
                       uint32_t len);

/* ---- decisions, by file -------------------------------------------------- */

/* broker_control.c */
enum err broker_register(struct step *s,
                         const Leat__RegisterBrokerRequest *request,
                         Leat__RegisterBrokerResponse *response,
                         const char **why);
enum err broker_heartbeat(struct step *s, const Leat__HeartbeatRequest *request,
                          Leat__HeartbeatResponse *response, const char **why);
enum err broker_unregister(struct step *s, int32_t id, const char **why);
/* sessions.c */
/* Moves its partitions, then marks it fenced. */
void broker_fence(struct step *s, int32_t id);
void sessions_start(struct controller *c);
void sessions_tick(struct step *s);
void session_lost(struct step *s, int32_t id, int64_t epoch);
void session_gone(struct step *s, int32_t id, int64_t epoch);
bool session_is_valid(const struct controller *c,
                      const struct controller_broker *b);

/* What a broker may have lost of its logs. */
enum replica_loss {
    LOSS_NONE,
    LOSS_TAIL, /* it was not stopped cleanly */
    LOSS_ALL,  /* its log directories are new, or it has left for good */
};

/* partition_moves.c: what a broker's change of state does to partitions */
void partitions_leave(struct step *s, int32_t broker_id,
                      enum replica_loss loss);
void partition_leave_offline(struct step *s, struct image_topic *topic,
                             int32_t partition, int32_t broker_id);
void partitions_come_online(struct step *s, int32_t broker_id);
void partitions_elect_leaderless(struct step *s);
void partitions_elect_leaderless_of(struct step *s, int32_t broker_id);
void partitions_rebalance(struct step *s);

/* partition_control.c */
enum err partitions_alter(struct step *s,
                          const Leat__AlterPartitionRequest *request,
                          Leat__AlterPartitionResponse *response,
                          const char **why);
enum err partitions_offline(struct step *s,
                            const Leat__OfflineReplicasRequest *request,
                            const char **why);
/* producer_ids.c */
enum err producer_ids_allocate(struct step *s,
                               const Leat__AllocateProducerIdsRequest *request,
                               Leat__AllocateProducerIdsResponse *response,
                               const char **why);

/* feature_control.c */
/* Why it may not join; NULL: it may. */
const char *
features_registration_problem(struct step *s,
                              const Leat__RegisterBrokerRequest *request);
void features_put_initial(struct step *s);
void features_update(struct step *s, int16_t version, const void *request,
                     void *response);

/* Kafka's requests; `request` and `response` are the API's generated structs,
 * the response is at its defaults.  Arrays of the response are in the arena. */
void topics_create(struct step *s, int16_t version, const void *request,
                   void *response);
void topics_delete(struct step *s, int16_t version, const void *request,
                   void *response);
void partitions_create(struct step *s, int16_t version, const void *request,
                       void *response);
void configs_alter(struct step *s, int16_t version, const void *request,
                   void *response);
void configs_alter_incrementally(struct step *s, int16_t version,
                                 const void *request, void *response);
void client_quotas_alter(struct step *s, int16_t version, const void *request,
                         void *response);
void leaders_elect(struct step *s, int16_t version, const void *request,
                   void *response);
void reassignments_alter(struct step *s, int16_t version, const void *request,
                         void *response);
void reassignments_list(struct step *s, int16_t version, const void *request,
                        void *response);
void broker_unregister_kafka(struct step *s, int16_t version,
                             const void *request, void *response);

/* mutation_quota.c */
/* Before the first topic of a request.  strict: what is above the quota is
 * refused, else it is carried out. */
void mutation_quota_begin(struct step *s, bool strict);
/* ERR_THROTTLING_QUOTA_EXCEEDED */
struct verdict mutation_quota_take(struct step *s, int32_t partitions);
/* What to answer as throttle_time_ms. */
int32_t mutation_quota_pause_ms(const struct step *s);
/* group_config.c */
/* All that will be set on a group, together; key -> NUL-terminated value. */
struct verdict group_config_check(struct step *s, const struct map *values);
/* config_control.c */
/* Of the record that config_put() makes, at most. */
size_t config_record_bytes(struct slice name, struct slice key,
                           struct slice value);
/* All that will be set on a resource; key -> NUL-terminated value.  `now`: what
 * is set, or NULL. */
struct verdict config_check_size(struct step *s, struct slice name,
                                 const struct map *next, const struct map *now);
/* One config of a topic, by itself. */
struct verdict config_check_topic(struct step *s, struct slice key,
                                  struct slice value);
/* All that will be set on a topic, together; key -> NUL-terminated value. */
struct verdict config_check_topic_all(struct step *s, const struct map *values);
/* value null: back to the default. */
void config_put(struct step *s, enum image_resource type, struct slice name,
                struct slice key, struct slice value);

#endif
