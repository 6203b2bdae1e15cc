/* The group coordinator of one __consumer_offsets partition: classic groups
 * (JoinGroup, SyncGroup, Heartbeat, LeaveGroup) and committed offsets, those of
 * groups of other kinds (group_kind.h), too.
 *
 * A pure state machine.  A request or the passing of time goes in, and an
 * update comes out: answers to send now, and writes, which are records for the
 * partition together with what has to happen once they are committed.  It
 * reads no clock and draws no random numbers, does no I/O, and has no globals.
 * One thread owns it.
 *
 * Happy path of a group: each member's JoinGroup is parked.  When all known
 * members are there (or time is up) everybody learns the new generation, and
 * the leader the members' metadata.  Each then sends SyncGroup, which is parked
 * too; the leader's carries the assignments.  They are written as one record,
 * and when it is committed all the parked SyncGroups are answered and the group
 * is stable.  Members show that they live by heartbeats and offset commits.
 *
 * What survives the loss of this coordinator is in the records: committed
 * offsets, and of each group the last stable generation or that it is empty.
 * coord_replay() alone builds that state, on load and for offsets and deletions
 * live, too.  Rebalances in progress, parked requests and pending members do
 * not survive; clients find the next coordinator and join again.
 *
 * Offsets have versions: a fetch without require_stable sees the newest
 * committed one, never one that could still be lost.
 *
 * Rules follow Apache Kafka's classic groups (KIP-134, 229, 345, 394, 559, 800,
 * 814).  Where Kafka leaves a duty to chance we choose the cautious side: an
 * assignment is handed out only when its record is committed, and a second
 * assignment for a generation whose first is on its way is ignored, so that a
 * generation never has two. */
#ifndef BROKER_COORD_COORD_H
#define BROKER_COORD_COORD_H

#include "broker/coord/handover.h"
#include "broker/coord/records.h"
#include "proto/kafka/api.h"

#include "base/error.h"
#include "base/uuid.h"

struct coord;

/* Names as in server.properties. */
struct coord_config {
    int32_t group_min_session_timeout_ms;        /* 6000 */
    int32_t group_max_session_timeout_ms;        /* 1800000 */
    int32_t group_initial_rebalance_delay_ms;    /* 3000 */
    int32_t group_max_size;                      /* 2^31-1 */
    int32_t offset_metadata_max_bytes;           /* 4096 */
    int64_t offsets_retention_ms;                /* offsets.retention.minutes */
    int64_t offsets_retention_check_interval_ms; /* 600000 */
    /* All members of all groups here: ids, metadata, assignments.  A join that
     * would exceed it gets GROUP_MAX_SIZE_REACHED. */
    size_t members_max_bytes; /* 256 MiB */
};

void coord_config_init(struct coord_config *config); /* the defaults */

/* ---- in: one request ------------------------------------------------------
 * All pointers and slices are borrowed for the call. */
struct coord_context {
    void *token;              /* comes back with the answer, exactly once */
    int64_t now_ms;           /* monotonic */
    int64_t wall_ms;          /* since 1970, for what is written */
    int16_t version;          /* of the API */
    struct slice client_id;   /* from the request header; may be null */
    struct slice client_host; /* "/192.0.2.7", as Kafka prints it */
    struct uuid random;       /* JoinGroup: for a new member's id */
};

/* Time, for the calls that are not requests. */
struct coord_time {
    int64_t now_ms;
    int64_t wall_ms;
};

/* ---- out ----------------------------------------------------------------- */

/* An answer to one request.  Its owner sends it and calls coord_answer_free().
 * The response is complete but for throttle_time_ms. */
struct coord_answer {
    struct list link;
    void *token;
    enum api_key api;
    int16_t version;
    struct arena arena; /* holds what the response points to */
    union {
        struct join_group_response join_group;
        struct sync_group_response sync_group;
        struct heartbeat_response heartbeat;
        struct leave_group_response leave_group;
        struct offset_commit_response offset_commit;
        struct offset_fetch_response offset_fetch; /* in its groups form */
        struct offset_delete_response offset_delete;
        struct describe_groups_response describe_groups;
        struct list_groups_response list_groups;
        struct delete_groups_response delete_groups;
        struct consumer_group_heartbeat_response consumer_group_heartbeat;
        struct consumer_group_describe_response consumer_group_describe;
        struct streams_group_heartbeat_response streams_group_heartbeat;
        struct streams_group_describe_response streams_group_describe;
        struct share_group_heartbeat_response share_group_heartbeat;
        struct share_group_describe_response share_group_describe;
        struct describe_share_group_offsets_response
            describe_share_group_offsets;
        struct alter_share_group_offsets_response alter_share_group_offsets;
        struct delete_share_group_offsets_response delete_share_group_offsets;
    } response;
};

void coord_answer_free(struct coord_answer *answer);
/* Rewrites a finished answer of a classic API into one that says `err`. */
void coord_answer_fail(struct coord_answer *answer, enum err err);

/* A decision that takes effect when its records are committed.  The caller has
 * them appended, tells coord_appended(), waits, and ends it by coord_done();
 * the core owns what it means.  A failed append changes nothing. */
struct coord_write {
    struct coord_pending pending; /* records, and the link in the update */
    /* The rest is the core's. */
    enum coord_write_kind {
        COORD_WRITE_PLAIN,  /* an answer may wait, nothing else */
        COORD_WRITE_SYNC,   /* a leader's assignments */
        COORD_WRITE_STATIC, /* a static member's new id */
    } kind;
    bool replay;                 /* the records change state when appended */
    struct coord_answer *answer; /* PLAIN; may be NULL */
    struct slice group;          /* owned; whose metadata the record is */
    int32_t generation;          /* the one it was decided in */
    struct slice member;         /* owned; STATIC: the new id */
    struct slice old_member;     /* owned; STATIC: the id that it replaces */
    /* SYNC: the request's assignments, owned in one block. */
    struct sync_group_request_assignment *assignments;
    int32_t assignments_len;
};

/* Everything that one call decided, in order.  Initialise by
 * coord_update_init(); the caller empties the lists. */
struct coord_update {
    struct list answers;   /* of coord_answer.link */
    struct list writes;    /* of coord_pending.link: here in a coord_write */
    struct list lookups;   /* of consumer_lookup.link; see consumer_coord.h */
    struct list creations; /* of streams_creation.link; see streams_coord.h */
    struct list asks;      /* of share_group_ask.link; share_group_coord.h */
};

void coord_update_init(struct coord_update *update);

/* ---- groups of other kinds ------------------------------------------------*/

/* Who commits or fetches offsets. */
struct coord_caller {
    struct slice group;
    struct slice member_id;   /* null: none given */
    int32_t epoch;            /* "generation" in OffsetCommit; -1: none */
    int16_t version;          /* of the API */
    bool transactional;       /* TxnOffsetCommit */
    struct slice instance_id; /* null: none given, or not asked for */
};

/* A transactional commit that says nothing of who it is for; before version 3
 * none can (KIP-447).  That is checked only where something is given. */
static inline bool coord_caller_is_anonymous(const struct coord_caller *caller)
{
    return caller->transactional && caller->epoch == -1 &&
           caller->member_id.len == 0 && slice_is_null(caller->instance_id);
}

enum group_presence {
    GROUP_PRESENT_NOT,
    GROUP_PRESENT_EMPTY, /* has records, and no members */
    GROUP_PRESENT,       /* has members */
};

/* What offsets have to ask about groups that are not classic ones.  The
 * functions answer at once and change nothing. */
struct coord_others {
    void *arg;
    enum group_presence (*presence)(void *arg, struct slice group);
    /* Of a group that is present: whether a partition's offset may be
     * committed, and whether offsets may be fetched. */
    enum err (*check_commit)(void *arg, const struct coord_caller *caller,
                             struct uuid topic, int32_t partition);
    enum err (*check_fetch)(void *arg, const struct coord_caller *caller);
    /* Whether a member subscribes to the topic. */
    bool (*subscribes)(void *arg, struct slice group, struct slice topic);
    /* Adds the tombstones of an empty group. */
    void (*delete_records)(void *arg, struct slice group,
                           struct coord_records *records);
};

/* ---- life -----------------------------------------------------------------*/

/* Copies the config.  Ready for coord_replay(). */
struct coord *coord_create(const struct coord_config *config);
/* Copied.  Without this call there are only classic groups. */
void coord_set_others(struct coord *coord, const struct coord_others *others);
/* Frees everything; parked requests must have been taken back by
 * coord_resign(). */
void coord_free(struct coord *coord);

/* Loading is over: sessions of loaded members start now. */
void coord_activate(struct coord *coord, struct coord_time time,
                    struct coord_update *update);
/* Leadership is lost: every parked request is answered NOT_COORDINATOR.  After
 * it only coord_done() and coord_free() may be called. */
void coord_resign(struct coord *coord, struct coord_update *update);

/* ---- records --------------------------------------------------------------*/

/* Where a record came from. */
struct coord_origin {
    int64_t offset;
    int64_t producer_id; /* -1, or of the transaction it belongs to */
};

/* The only mutator of what survives.  Unknown record types, and versions newer
 * than ours, are skipped (ERR_UNSUPPORTED_VERSION); ERR_MALFORMED leaves the
 * state as it was. */
enum err coord_replay(struct coord *coord, struct coord_origin origin,
                      struct slice key, struct slice value);
/* A transaction's marker: its pending offsets take effect or vanish. */
void coord_replay_marker(struct coord *coord, struct coord_origin origin,
                         bool committed);
/* Records below `end_offset` (exclusive) are committed.  Never goes back.
 * To be called before replaying a log, lest all of its history be kept. */
void coord_committed(struct coord *coord, int64_t end_offset);

/* Records [first, first + count) of `write` are in the log from base_offset
 * on. */
void coord_appended(struct coord *coord, struct coord_write *write,
                    uint32_t first, uint32_t count, int64_t base_offset);
/* The end of a write: committed (ERR_NONE), or why not, as append or waiting
 * reported it (see coord_append_error()).  Frees the write. */
void coord_done(struct coord *coord, struct coord_write *write, enum err err,
                struct coord_time time, struct coord_update *update);

/* What Kafka tells clients when a coordinator's append failed. */
enum err coord_append_error(enum err append);

/* ---- events ---------------------------------------------------------------*/

/* TxnOffsetCommit: an OffsetCommit in a producer's transaction, after the
 * partition has made sure of it (KIP-890).  Its answer has OffsetCommit's form.
 */
struct coord_txn_commit {
    struct offset_commit_request commit;
    int64_t producer_id;
    int16_t producer_epoch;
};

/* One decoded request; `request` is the API's generated struct, of
 * TxnOffsetCommit struct coord_txn_commit:
 * JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit, OffsetFetch,
 * TxnOffsetCommit, OffsetDelete, DescribeGroups, ListGroups, DeleteGroups.
 *
 * All groups it names belong to this partition: the caller splits requests that
 * name several, see offset_fetch_form.h for OffsetFetch, which comes in its
 * groups form whatever its version.  Topics have names: the caller has resolved
 * ids and taken out topics that do not exist or that the client may not see;
 * ids in the request come back in the response.  Null group ids are answered
 * INVALID_GROUP_ID. */
void coord_request(struct coord *coord, const struct coord_context *context,
                   enum api_key api, const void *request,
                   struct coord_update *update);

/* The answer that says `err` to such a request, without any state. */
struct coord_answer *coord_refuse(const struct coord_context *context,
                                  enum api_key api, const void *request,
                                  enum err err);

/* Partitions were deleted with their topic: their offsets go, too. */
void coord_topic_deleted(struct coord *coord, struct slice topic,
                         struct coord_time time, struct coord_update *update);

/* When coord_tick() is due, monotonic; INT64_MAX: never. */
int64_t coord_next_deadline(const struct coord *coord);
/* Fires what is due, at most a bounded number of timers per call. */
void coord_tick(struct coord *coord, struct coord_time time,
                struct coord_update *update);

/* ---- for groups of other kinds ------------------------------------------- */

/* Of a classic group: one that has only offsets is not present. */
enum group_presence coord_presence(const struct coord *coord,
                                   struct slice group);
/* Whether the name has offsets, or some in a transaction that is open. */
bool coord_has_offsets(const struct coord *coord, struct slice group);
/* The group that this JoinGroup would make if it is not there; null: none. */
struct slice coord_join_claims(const struct coord *coord,
                               const struct join_group_request *request);
/* How long a rebalance waits for a member that joins so.  Version 0 cannot say
 * it; a negative time is none, here as in the record that is made of it. */
static inline int32_t
coord_rebalance_timeout_ms(const struct join_group_request *request,
                           int16_t version)
{
    return version == 0 || request->rebalance_timeout_ms < 0
               ? request->session_timeout_ms
               : request->rebalance_timeout_ms;
}
/* Adds the tombstone of an empty classic group, for one of another kind that
 * takes its name.  Its offsets stay. */
void coord_delete_records(const struct coord *coord, struct slice group,
                          struct coord_records *records);

/* ---- for groups that change their kind (handover.h) ----------------------*/

bool coord_handover_find(const struct coord *coord, struct slice group,
                         struct arena *arena, struct handover_group *out);
void coord_handover_forget(const struct coord *coord, struct slice group,
                           struct coord_records *records);
/* Of no coordinator. */
void coord_handover_store(const struct handover_group *group, int64_t wall_ms,
                          struct coord_records *records);
/* Whether it is the key of a group's record: then, written by another kind of
 * groups, the one below replays it. */
bool coord_handover_concerns(struct slice key);
/* A group's record that another kind of groups wrote is in the log: as
 * coord_replay(), for a coordinator that is active.  Who waits in a group that
 * goes is answered REBALANCE_IN_PROGRESS; sessions in one that comes begin. */
void coord_hand_over(struct coord *coord, struct coord_origin origin,
                     struct slice key, struct slice value,
                     struct coord_time time, struct coord_update *update);

/* ---- looking inside ------------------------------------------------------ */

uint32_t coord_groups_count(const struct coord *coord);
size_t coord_members_bytes(const struct coord *coord);
/* Aborts if an invariant is broken.  Slow; for tests and the simulator. */
void coord_check(const struct coord *coord);
/* The surviving state as text, one line per fact, sorted; for comparing a live
 * coordinator with a reloaded one. */
void coord_dump(const struct coord *coord, struct buf *out);

#endif
