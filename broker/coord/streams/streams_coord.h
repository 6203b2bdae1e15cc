/* The coordinator of streams groups (KIP-1071) of one __consumer_offsets
 * partition: Kafka Streams applications that leave it to the broker who of
 * their threads processes what.
 *
 * A pure state machine.  A request, the end of a write, or the passing of time
 * goes in, and an update comes out: answers to send now, writes, which are
 * records for the partition with the answer that waits for their commit, and
 * internal topics that are to be made.  It reads no clock and draws no random
 * numbers, does no I/O, and has no globals.  One thread owns it.
 *
 * Happy path: a member joins with a heartbeat of epoch 0 that carries the
 * application's topology: subtopologies, and the topics of each.  The first
 * one's is the group's.  When all topics are there with the right counts of
 * partitions (topology.h), the topology is valid and each subtopology has so
 * many tasks.  After a short delay, in which the other members come, the
 * assignor computes a target (assign_sticky.h), and members get there one by
 * one by their own heartbeats (reconcile.h).  So no task is active in two
 * members at once, and no process has one twice.
 *
 * While topics are missing, members have no tasks, and each answer says what is
 * missing; the update asks for internal topics to be made, when what was
 * written with that is committed.
 *
 * State changes by streams_coord_replay() alone, live as soon as a record is in
 * the log, so that one decision sees the one before.  An answer leaves when
 * everything that it rests on is committed.  Each record stands for itself:
 * whatever prefix of a write's records gets into the log leaves a group that
 * the next heartbeat puts right, as the group's epoch is the first of them.
 *
 * Sessions, deadlines for giving tasks up, the initial delay, the request to
 * shut down, and the endpoints' epoch do not survive, as in Kafka. */
#ifndef BROKER_COORD_STREAMS_STREAMS_COORD_H
#define BROKER_COORD_STREAMS_STREAMS_COORD_H

#include "broker/coord/consumer/consumer_coord.h"
#include "broker/coord/coord.h"

struct streams_coord;

/* Epochs with a meaning of their own. */
enum {
    STREAMS_JOINS = 0,
    STREAMS_LEAVES = -1,
    STREAMS_LEAVES_FOR_NOW = -2, /* of static members, which are refused */
};

/* What may differ from group to group (kafka-configs --entity-type groups). */
struct streams_settings {
    int32_t session_timeout_ms;         /* 45000 */
    int32_t heartbeat_interval_ms;      /* 5000 */
    int32_t assignment_interval_ms;     /* 1000; 0: none */
    int32_t initial_rebalance_delay_ms; /* 3000; 0: none */
    int32_t num_standby_replicas;       /* 0 */
};

struct streams_config {
    struct streams_settings settings; /* group.streams.*, of all groups */
    int32_t group_streams_max_size;   /* 2^31-1 */
    /* offsets.retention.check.interval.ms: an empty group without offsets goes
     * when that is over. */
    int64_t offsets_retention_check_interval_ms; /* 600000 */
    /* All groups here with their members and topologies.  A join or a topology
     * that would exceed it hears GROUP_MAX_SIZE_REACHED. */
    size_t members_max_bytes; /* 256 MiB */
};

void streams_config_init(struct streams_config *config); /* the defaults */

/* Functions of the caller's view of the cluster.  They answer at once, on the
 * coordinator's thread, and call nothing of the coordinator. */
struct streams_world {
    void *arg;
    /* False: no such topic. */
    bool (*topic_by_name)(void *arg, struct slice name,
                          struct consumer_topic *topic);
    /* The name of a topic id, for commits of older epochs; null: no such topic.
     * Valid until the function is called again. */
    struct slice (*topic_name)(void *arg, struct uuid id);
    /* Overrides of one group; the struct comes with the broker's.  May be
     * NULL. */
    void (*settings)(void *arg, struct slice group,
                     struct streams_settings *settings);
};

/* ---- out ----------------------------------------------------------------- */

/* Internal topics that a group lacks, and that is committed.  The caller has
 * them made and frees this; it is asked again while they are missing, once a
 * second at most.  If it cannot, it says so by streams_coord_creation_failed().
 */
struct streams_creation {
    struct list link;
    struct slice group;
    struct create_topics_request_creatable_topic *topics;
    uint32_t topics_len;
    struct arena arena; /* all of the above */
};

void streams_creation_free(struct streams_creation *creation);

/* Records that were decided, or none: then something waits for the commit of
 * what is in the log.  As consumer_write. */
struct streams_write {
    struct coord_pending pending; /* records, and the link in the update */
    /* The rest is the core's. */
    struct coord_answer *answer; /* may be NULL */
    /* Goes out with the answer, if the write succeeds; owned, may be NULL. */
    struct streams_creation *creation;
    uint64_t covers; /* how many appends it waits for */
};

/* ---- life -----------------------------------------------------------------*/

/* Copies both.  Ready for streams_coord_replay(). */
struct streams_coord *streams_coord_create(const struct streams_config *config,
                                           const struct streams_world *world);
/* Copied.  Without this call no group has any. */
void streams_coord_set_offsets(struct streams_coord *coord,
                               const struct consumer_offsets *offsets);
/* Frees everything.  All writes must have ended. */
void streams_coord_free(struct streams_coord *coord);

/* Everything is replayed: sessions of loaded members start now. */
void streams_coord_activate(struct streams_coord *coord,
                            struct coord_time time);
/* Leadership is lost.  After it only streams_coord_appended() and
 * streams_coord_done() for what is under way and streams_coord_free() may be
 * called. */
void streams_coord_resign(struct streams_coord *coord);

/* ---- records --------------------------------------------------------------*/

/* The only mutator of what survives.  Record types of others, and versions
 * newer than ours, are skipped (ERR_UNSUPPORTED_VERSION); ERR_MALFORMED leaves
 * the state as it was. */
enum err streams_coord_replay(struct streams_coord *coord, struct slice key,
                              struct slice value);

/* Records [first, first + count) of `write` are in the log. */
void streams_coord_appended(struct streams_coord *coord,
                            struct streams_write *write, uint32_t first,
                            uint32_t count, struct coord_time time);
/* The end of a write: committed (ERR_NONE), or why not, as append or waiting
 * reported it.  Takes the write. */
void streams_coord_done(struct streams_coord *coord,
                        struct streams_write *write, enum err err,
                        struct coord_update *update);

/* ---- events ---------------------------------------------------------------*/

/* One decoded request; `request` is the API's generated struct:
 * StreamsGroupHeartbeat, StreamsGroupDescribe.  All groups it names belong to
 * this partition. */
void streams_coord_request(struct streams_coord *coord,
                           const struct coord_context *context,
                           enum api_key api, const void *request,
                           struct coord_update *update);

/* The answer that says `err` to such a request, without any state. */
struct coord_answer *streams_refuse(const struct coord_context *context,
                                    enum api_key api, const void *request,
                                    enum err err);

/* The group that this heartbeat would make if it is not there; null: none. */
struct slice
streams_heartbeat_claims(const struct streams_group_heartbeat_request *request);

/* A topic was made, deleted, or got more partitions.  Looks at the groups whose
 * topology names it only; they act at their next heartbeat. */
void streams_coord_topic_changed(struct streams_coord *coord,
                                 struct slice name);

/* Internal topics could not be made: members are told `why`, until they are
 * there. */
void streams_coord_creation_failed(struct streams_coord *coord,
                                   struct slice group, struct slice why);

/* When streams_coord_tick() is due, monotonic; INT64_MAX: never. */
int64_t streams_coord_next_deadline(const struct streams_coord *coord);
/* Fires one timer that is due. */
void streams_coord_tick(struct streams_coord *coord, struct coord_time time,
                        struct coord_update *update);

/* ---- for the offsets of these groups (offset_check.c) --------------------*/

/* Whether a partition's offset may be committed.  ERR_GROUP_ID_NOT_FOUND: not a
 * streams group.  Commits of an older epoch pass for tasks that the member has
 * had since then.  UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH,
 * UNSUPPORTED_VERSION. */
enum err streams_check_commit(const struct streams_coord *coord,
                              const struct coord_caller *caller,
                              struct uuid topic, int32_t partition);
/* The same for OffsetFetch as a whole. */
enum err streams_check_fetch(const struct streams_coord *coord,
                             const struct coord_caller *caller);
enum group_presence streams_presence(const struct streams_coord *coord,
                                     struct slice group);
/* OffsetDelete, and the expiry of offsets: whether the application of a group
 * that has members reads the topic. */
bool streams_subscribes(const struct streams_coord *coord, struct slice group,
                        struct slice topic);
/* Appends the tombstones that delete an empty group (DeleteGroups, or the
 * expiry of its last offset).  GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP. */
enum err streams_delete_records(const struct streams_coord *coord,
                                struct slice group,
                                struct coord_records *records);

/* ---- looking inside ------------------------------------------------------ */

/* The groups that pass the request's filters, for ListGroups: in the arena.
 * Walks over all groups. */
struct list_groups_response_listed_group *
streams_coord_list(const struct streams_coord *coord,
                   const struct list_groups_request *request,
                   struct arena *arena, int32_t *len);
uint32_t streams_coord_groups_count(const struct streams_coord *coord);
/* Aborts if an invariant is broken.  Slow; for tests and the simulator. */
void streams_coord_check(const struct streams_coord *coord);
/* The surviving state as text, one line per fact, sorted; for comparing a live
 * coordinator with a reloaded one. */
void streams_coord_dump(const struct streams_coord *coord, struct buf *out);

#endif
