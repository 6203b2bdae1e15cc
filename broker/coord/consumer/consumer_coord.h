/* The coordinator of consumer groups of the new protocol (KIP-848) of one
 * __consumer_offsets partition.  Classic groups and offsets are coord.h's.
 *
 * Some members of a group may use the classic protocol: those of a classic
 * group that became this one when a member of the new protocol joined it
 * (upgrade.c), and those that join it by JoinGroup.  For them the coordinator
 * is the leader: it computes what they get by SyncGroup, and tells them by
 * their heartbeats to join again.  When only such are left the group becomes a
 * classic one (downgrade.c; handover.h for both).
 *
 * A pure state machine.  A request, the end of a write, the topics that a regex
 * matches, or the passing of time goes in, and an update comes out: answers to
 * send now, writes, which are records for the partition with the answer that
 * waits for their commit, and regexes to be matched.  It reads no clock and
 * draws no random numbers, does no I/O, and has no globals.  One thread owns
 * it.
 *
 * Happy path: a member joins with a heartbeat of epoch 0 that says what it
 * subscribes to.  That bumps the group's epoch, and an assignor computes a
 * target: who shall have what.  Members get there one by one, each by its own
 * heartbeats (reconcile.h): first it is told what to give up; once it says that
 * it has, it gets the target's epoch and what is free of its target, and the
 * rest when the others have given it up.  So a partition never has two owners,
 * and nobody waits for a whole group.
 *
 * State changes by consumer_coord_replay() alone, live as soon as a record is
 * in the log (consumer_coord_appended()), so that one decision sees the one
 * before.  An answer leaves when everything that it rests on is committed: its
 * own records, and whatever else was appended before.  A commit that takes too
 * long fails its answer only, and the answers after it go on waiting.  What a
 * new coordinator loaded is not committed either until its log is.
 *
 * Each record stands for itself: whatever prefix of a write's records gets into
 * the log leaves a group that the next heartbeat puts right, as the group's
 * epoch is the first of them.
 *
 * Sessions, and the deadlines for giving partitions up, do not survive; a new
 * coordinator starts them over, as Kafka's does. */
#ifndef BROKER_COORD_CONSUMER_CONSUMER_COORD_H
#define BROKER_COORD_CONSUMER_CONSUMER_COORD_H

#include "broker/coord/consumer/parts.h"
#include "broker/coord/coord.h"

struct consumer_coord;
struct cgroup;

/* Epochs with a meaning of their own (KIP-848, "Heartbeat"). */
enum {
    CONSUMER_JOINS = 0,
    CONSUMER_LEAVES = -1,
    CONSUMER_LEAVES_FOR_NOW = -2, /* a static member that will be back */
};

/* Names as in server.properties, but for those that end in max_bytes. */
struct consumer_config {
    int32_t group_consumer_max_size;                  /* 2^31-1 */
    int32_t group_consumer_session_timeout_ms;        /* 45000 */
    int32_t group_consumer_heartbeat_interval_ms;     /* 5000 */
    int32_t group_consumer_assignment_interval_ms;    /* 1000; 0: none */
    int64_t group_consumer_regex_refresh_interval_ms; /* 600000 */
    /* An empty group without offsets goes when that is over. */
    int64_t offsets_retention_check_interval_ms; /* 600000 */
    /* What members may choose; the first is the default.  Names that
     * assign_find() knows, not owned, valid as long as the coordinator. */
    struct slice group_consumer_assignors[2]; /* uniform, range */
    uint32_t group_consumer_assignors_len;
    /* All members of all groups here: texts and partitions.  A join or a
     * subscription that would exceed it hears GROUP_MAX_SIZE_REACHED. */
    size_t members_max_bytes; /* 256 MiB */
    /* group.consumer.migration.policy: classic groups with members may become
     * consumer groups, and the other way. */
    bool upgrade;   /* true */
    bool downgrade; /* true */
    /* Of members that use the classic protocol. */
    int32_t group_min_session_timeout_ms; /* 6000 */
    int32_t group_max_session_timeout_ms; /* 1800000 */
    int32_t group_max_size;               /* 2^31-1; of classic groups */
    /* max.message.bytes of the partition: a group changes its protocol by one
     * batch, or stays what it is. */
    uint32_t batch_max_bytes; /* 2^32-1 */
};

void consumer_config_init(struct consumer_config *config); /* the defaults */

/* ---- what the coordinator asks while it decides --------------------------*/

struct consumer_topic {
    struct uuid id;
    int32_t partitions;
};

struct consumer_timeouts {
    int32_t session_timeout_ms;
    int32_t heartbeat_interval_ms;
    int32_t assignment_interval_ms; /* KIP-1263; 0: none */
};

/* Functions of the caller's view of the cluster.  They answer at once, on the
 * coordinator's thread, and call nothing of the coordinator. */
struct consumer_world {
    void *arg;
    /* False: no such topic. */
    bool (*topic_by_name)(void *arg, struct slice name,
                          struct consumer_topic *topic);
    /* The name of a topic id, for ConsumerGroupDescribe; null: no such topic.
     * Valid until the function is called again. */
    struct slice (*topic_name)(void *arg, struct uuid id);
    /* Whether a pattern can be compiled.  Kafka takes RE2 syntax (RE2/J), and a
     * name must match as a whole.  NULL: no regex is accepted. */
    bool (*regex_is_valid)(void *arg, struct slice pattern);
    /* Overrides of one group (kafka-configs --entity-type groups); the struct
     * comes with the broker's.  May be NULL. */
    void (*timeouts)(void *arg, struct slice group,
                     struct consumer_timeouts *timeouts);
};

/* ---- out ----------------------------------------------------------------- */

/* Records that were decided, or none: then something waits for the commit of
 * what is in the log.  The caller has them appended before the next call into
 * the coordinator but consumer_coord_appended(), waits for the commit, and ends
 * it by consumer_coord_done(). */
struct consumer_write {
    struct coord_pending pending; /* records, and the link in the update */
    /* The rest is the core's. */
    struct coord_answer *answer; /* may be NULL */
    uint64_t covers;             /* how many appends it waits for */
    bool is_barrier;             /* waits for them for the answers to come */
    /* Whose JoinGroup it is, owned; null: nobody's.  When it is committed the
     * member has until then to send SyncGroup. */
    struct slice joined_group;
    struct slice joined_member;
};

/* Regexes of one group of which the matching topics are to be found, leaving
 * out those that the client whose heartbeat asked for it may not describe.  The
 * caller fills `topics` in (memory from the arena, any order) and gives it back
 * by consumer_coord_looked_up(), soon; after consumer_coord_resign() by
 * consumer_lookup_free(). */
struct consumer_lookup {
    struct list link;
    struct slice group;
    struct consumer_lookup_item {
        struct slice pattern;
        struct slice *topics; /* names */
        uint32_t topics_len;
    } * items;
    uint32_t items_len;
    struct arena arena; /* all of the above */
};

void consumer_lookup_free(struct consumer_lookup *lookup);

/* Who keeps the offsets of these groups. */
struct consumer_offsets {
    void *arg;
    bool (*any)(void *arg, struct slice group);
};

/* ---- life -----------------------------------------------------------------*/

/* Copies both.  Ready for consumer_coord_replay(). */
struct consumer_coord *
consumer_coord_create(const struct consumer_config *config,
                      const struct consumer_world *world);
/* Copied.  Without this call no group has any. */
void consumer_coord_set_offsets(struct consumer_coord *coord,
                                const struct consumer_offsets *offsets);
/* Copied.  Without this call no group changes its kind. */
void consumer_coord_set_classics(struct consumer_coord *coord,
                                 const struct handover_classics *classics);
/* Frees everything.  All writes must have ended. */
void consumer_coord_free(struct consumer_coord *coord);

/* Everything is replayed: sessions of loaded members start now.
 * topics_version: see consumer_coord_topic_changed(). */
void consumer_coord_activate(struct consumer_coord *coord,
                             int64_t topics_version, struct coord_time time);
/* Leadership is lost.  After it only consumer_coord_appended() and
 * consumer_coord_done() for what is under way and consumer_coord_free() may be
 * called. */
void consumer_coord_resign(struct consumer_coord *coord);

/* ---- records --------------------------------------------------------------*/

/* The only mutator of what survives.  Record types of others, and versions
 * newer than ours, are skipped (ERR_UNSUPPORTED_VERSION); ERR_MALFORMED leaves
 * the state as it was. */
enum err consumer_coord_replay(struct consumer_coord *coord, struct slice key,
                               struct slice value);

/* Records [first, first + count) of `write` are in the log. */
void consumer_coord_appended(struct consumer_coord *coord,
                             struct consumer_write *write, uint32_t first,
                             uint32_t count, struct coord_time time);
/* The end of a write: committed (ERR_NONE), or why not, as append or waiting
 * reported it.  Takes the write. */
void consumer_coord_done(struct consumer_coord *coord,
                         struct consumer_write *write, enum err err,
                         struct coord_update *update);

/* ---- events ---------------------------------------------------------------*/

/* One decoded request; `request` is the API's generated struct:
 * ConsumerGroupHeartbeat, ConsumerGroupDescribe; and, for a group that is here
 * and has members, those of the classic protocol: JoinGroup, SyncGroup,
 * Heartbeat, LeaveGroup.  All groups it names belong to this partition.
 * context->random becomes a new member's id where the client did not choose one
 * (version 0). */
void consumer_coord_request(struct consumer_coord *coord,
                            const struct coord_context *context,
                            enum api_key api, const void *request,
                            struct coord_update *update);

/* The answer that says `err` to such a request, without any state. */
struct coord_answer *consumer_refuse(const struct coord_context *context,
                                     enum api_key api, const void *request,
                                     enum err err);

/* A topic was made, deleted, or got more partitions.  topics_version rises with
 * each such event: it is the offset of the metadata that says so.  Looks at the
 * groups that subscribe to this topic only; they act at their next heartbeat,
 * and so do groups with regexes. */
void consumer_coord_topic_changed(struct consumer_coord *coord,
                                  struct slice name, int64_t topics_version);

/* What regexes match as of topics_version.  Takes the lookup. */
void consumer_coord_looked_up(struct consumer_coord *coord,
                              struct consumer_lookup *lookup,
                              int64_t topics_version, struct coord_time time,
                              struct coord_update *update);

/* When consumer_coord_tick() is due, monotonic; INT64_MAX: never. */
int64_t consumer_coord_next_deadline(const struct consumer_coord *coord);
/* Fires one timer that is due. */
void consumer_coord_tick(struct consumer_coord *coord, struct coord_time time,
                         struct coord_update *update);

/* ---- for the offsets of these groups (offset_check.c) --------------------*/

/* Whether a partition's offset may be committed.  ERR_GROUP_ID_NOT_FOUND: not a
 * group of this protocol, so the classic rules are asked.  Commits of an older
 * epoch pass for partitions that the member has had since then (KIP-1251).
 * UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH, UNSUPPORTED_VERSION. */
enum err consumer_check_commit(const struct consumer_coord *coord,
                               const struct coord_caller *caller,
                               struct uuid topic, int32_t partition);
/* The same for OffsetFetch as a whole. */
enum err consumer_check_fetch(const struct consumer_coord *coord,
                              const struct coord_caller *caller);
/* OffsetDelete, and the expiry of offsets: whether a member subscribes. */
bool consumer_subscribes(const struct consumer_coord *coord, struct slice group,
                         struct slice topic);
/* Appends the tombstones that delete an empty group (DeleteGroups, or the
 * expiry of its last offset).  Their owner has them replayed when they are in
 * the log.  GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP. */
enum err consumer_delete_records(const struct consumer_coord *coord,
                                 struct slice group,
                                 struct coord_records *records);

/* ---- for groups of other kinds ------------------------------------------- */

enum group_presence consumer_presence(const struct consumer_coord *coord,
                                      struct slice group);
/* The group that this heartbeat would make if it is not there; null: none. */
struct slice consumer_heartbeat_claims(
    const struct consumer_coord *coord, int16_t version,
    const struct consumer_group_heartbeat_request *request);

/* ---- looking inside ------------------------------------------------------ */

/* The groups that pass the request's filters, for ListGroups: in the arena.
 * Walks over all groups. */
struct list_groups_response_listed_group *
consumer_coord_list(const struct consumer_coord *coord,
                    const struct list_groups_request *request,
                    struct arena *arena, int32_t *len);
uint32_t consumer_coord_groups_count(const struct consumer_coord *coord);
/* Aborts if an invariant is broken.  Slow; for tests and the simulator. */
void consumer_coord_check(const struct consumer_coord *coord);
/* The surviving state as text, one line per fact, sorted; for comparing a live
 * coordinator with a reloaded one. */
void consumer_coord_dump(const struct consumer_coord *coord, struct buf *out);

#endif
