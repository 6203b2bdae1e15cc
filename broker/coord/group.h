/* Inside of the group coordinator: what a group and its members are.  For the
 * files of this folder that make up struct coord; others use coord.h. */
#ifndef BROKER_COORD_GROUP_H
#define BROKER_COORD_GROUP_H

#include "broker/coord/coord.h"

#include "base/heap.h"
#include "base/map.h"

enum group_state {
    GROUP_EMPTY,                /* no members; offsets may remain */
    GROUP_PREPARING_REBALANCE,  /* JoinGroups are parked */
    GROUP_COMPLETING_REBALANCE, /* SyncGroups are parked */
    GROUP_STABLE,
};

/* "PreparingRebalance" */
const char *group_state_name(enum group_state state);

/* ---- timers --------------------------------------------------------------*/

enum coord_timer_kind {
    TIMER_SESSION, /* struct member: it was not heard of for too long */
    TIMER_PENDING, /* struct pending_member: it did not come back */
    TIMER_JOIN,    /* struct roster: the join phase is over */
    TIMER_SYNC,    /* struct roster: SyncGroups are overdue */
    TIMER_EXPIRE,  /* struct group: some offsets may be too old */
};

struct coord_timer {
    struct heap_node node; /* key: monotonic milliseconds */
    enum coord_timer_kind kind;
};

/* ---- offsets (offsets.c) -------------------------------------------------*/

/* One commit of one partition.  An entry keeps the newest and, below it, those
 * that it replaces while it could still be lost. */
struct offset_value {
    struct offset_value *older; /* owned */
    int64_t record_offset;      /* of its record in the log */
    int64_t visible_offset;     /* committed when the high watermark passes
                                   it: its own record's or its marker's */
    int64_t offset;
    int64_t commit_wall_ms;
    int64_t expire_wall_ms; /* -1: by retention */
    int32_t leader_epoch;   /* -1: unknown */
    bool deleted;           /* a tombstone */
    uint32_t metadata_len;
    char metadata[];
};

struct offset_entry {
    int32_t partition;
    uint32_t unsettled;          /* how often it stands in coord.unsettled */
    struct offset_value *newest; /* owned, never NULL */
};

struct topic_offsets {
    struct group *group;
    struct offset_entry *entries; /* owned, by rising partition */
    uint32_t len;
    uint32_t cap;
    uint32_t name_len;
    char name[];
};

/* What transactions that have not ended commit of a topic. */
struct pending_topic {
    struct group *group;
    /* Index, 4 bytes -> struct pending_partition; never empty. */
    struct map partitions;
    uint32_t name_len;
    char name[];
};

struct pending_partition {
    struct pending_topic *topic;
    int32_t index;
    struct list offsets; /* of pending_offset.in_partition; never empty */
};

/* The last commit of a partition by a transaction that has not ended. */
struct pending_offset {
    struct list in_partition;
    struct pending_partition *partition;
    struct txn_offsets *txn;
    struct offset_value *value; /* owned */
};

struct txn_offsets {
    /* Address of the struct pending_partition -> struct pending_offset. */
    struct map pending;
};

/* ---- members -------------------------------------------------------------*/

/* A request that waits inside of the core. */
struct parked {
    void *token;
    int16_t version;
    bool waiting;
};

struct member {
    struct list link; /* roster.members, in the order of joining */
    struct group *group;
    struct coord_timer session;
    struct slice id;          /* owned, as all slices here */
    struct slice instance_id; /* null: a dynamic member */
    struct slice client_id;
    struct slice client_host;
    struct slice assignment; /* of the last stable generation */
    /* In order of preference; one block with what it points to. */
    struct join_group_request_protocol *protocols;
    int32_t protocols_len;
    int32_t rebalance_timeout_ms;
    int32_t session_timeout_ms;
    struct parked join;
    struct parked sync;
    size_t bytes;   /* counted in coord.members_bytes */
    bool is_new;    /* has not been told its first generation */
    bool owes_sync; /* knows the generation, has not sent SyncGroup */
};

/* An id was handed out, its owner has not joined with it (KIP-394). */
struct pending_member {
    struct coord_timer timer;
    struct group *group;
    struct slice id; /* owned */
};

/* How many members support a protocol. */
struct support {
    uint32_t members;
};

/* The live part of a group, while it has members or expects some. */
struct roster {
    struct group *group;
    struct list members;
    struct map by_id;       /* -> struct member */
    struct map by_instance; /* static members -> struct member */
    struct map pending;     /* -> struct pending_member */
    struct map supports;    /* protocol name -> struct support, members > 0 */
    struct map topics;      /* subscribed by any member, if topics_known */
    bool topics_known;
    /* Its record named no leader: these members were handed over by a group of
     * another kind, and have to join again.  Until they have. */
    bool unled;
    struct member *leader;   /* NULL without members */
    uint32_t joins_waiting;  /* members with join.waiting */
    uint32_t syncs_owed;     /* members with owes_sync */
    struct coord_timer join; /* TIMER_JOIN */
    struct coord_timer sync; /* TIMER_SYNC */
    /* First rebalance of an empty group: the join timer was set for
     * initial_delay_ms and may be extended by at most initial_left_ms. */
    bool initial;
    bool member_added; /* since the delay was last set */
    int32_t initial_delay_ms;
    int32_t initial_left_ms;
    /* The generation's assignments on their way to the log; NULL: none. */
    const struct coord_write *sync_in_flight;
};

struct group {
    enum group_state state;
    enum group_state previous;
    int32_t generation;
    /* False: tombstoned, and here only because offsets of it are unsettled, or
     * in a transaction that is open. */
    bool exists;
    struct slice protocol_type; /* owned; null: a simple group */
    struct slice protocol_name; /* owned; null: none selected */
    int64_t state_wall_ms;      /* when it got into this state; -1 unknown */
    int64_t record_offset;      /* of its last metadata record; -1 none */
    /* Of the record that it was loaded from; -1: it was not loaded. */
    int64_t loaded_offset;
    struct roster *roster;         /* NULL: nobody */
    struct topic_offsets **topics; /* owned, by rising name */
    uint32_t topics_len;
    uint32_t topics_cap;
    struct map pending; /* topic -> struct pending_topic */
    struct coord_timer expire;
    uint32_t id_len;
    char id[];
};

static inline struct slice group_id(const struct group *group)
{
    return slice_of(group->id, group->id_len);
}

/* ---- the coordinator -----------------------------------------------------*/

/* Where an offset entry has versions that wait to be committed. */
struct unsettled {
    int64_t visible_offset;
    struct topic_offsets *topic;
    int32_t partition;
};

struct coord {
    struct coord_config config;
    struct coord_others others; /* .arg NULL: there are none */
    struct map groups;          /* id -> struct group */
    struct map txns;            /* producer id, 8 bytes -> struct txn_offsets */
    struct heap timers;
    struct unsettled *unsettled; /* a ring in order of visible_offset */
    uint32_t unsettled_at;
    uint32_t unsettled_len;
    uint32_t unsettled_cap; /* power of two, or 0 */
    int64_t committed;      /* records below it are; exclusive */
    /* Records below it were there when this coordinator began, so those above
     * `committed` may have been committed by the one before; exclusive. */
    int64_t inherited;
    struct coord_time time; /* of the last call that came with it */
    bool active;            /* loaded; timers run */
    size_t members_bytes;
};

/* One call into the core: the time it happens at and what it decides. */
struct step {
    struct coord *coord;
    int64_t now_ms;
    int64_t wall_ms;
    struct coord_update *update;
};

/* ---- answers (answer.c) --------------------------------------------------*/

/* Response at its defaults. */
struct coord_answer *answer_new(void *token, enum api_key api, int16_t version);
/* Into the update, to be sent now. */
void answer_send(struct step *step, struct coord_answer *answer);

/* Answers a parked JoinGroup or SyncGroup, if there is one. */
void answer_join_error(struct step *step, struct member *member,
                       struct slice member_id, enum err err);
void answer_sync_error(struct step *step, struct member *member, enum err err);

/* ---- writes (write.c) ----------------------------------------------------*/

struct coord_write *write_new(enum coord_write_kind kind);
/* Into the update. */
void write_send(struct step *step, struct coord_write *write);
void write_free(struct coord_write *write);

void write_offset(struct coord_write *write, struct slice group,
                  struct slice topic, int32_t partition,
                  const struct offset_commit_value *value);
void write_offset_tombstone(struct coord_write *write, struct slice group,
                            struct slice topic, int32_t partition);
/* NULL: a tombstone. */
void write_group_value(struct coord_records *records, struct slice group,
                       const struct group_metadata_value *value);
void write_group_tombstone(struct coord_write *write, struct slice group);
/* The group as it is, but with these assignments (NULL: the members' own). */
void write_group(struct coord_write *write, const struct group *group,
                 const struct sync_group_request_assignment *assignments,
                 int32_t assignments_len);

/* ---- groups (group.c) ----------------------------------------------------*/

/* NULL if there is no such group. */
struct group *group_find(const struct coord *coord, struct slice id);
struct group *group_find_or_create(struct coord *coord, struct slice id,
                                   int64_t wall_ms);
/* Removes the object if nothing is left of the group that matters. */
void group_drop_if_hollow(struct coord *coord, struct group *group);
/* Its metadata are gone: with offsets it is a simple group, without it is not
 * there, and only what is unsettled stays. */
void group_forget(struct coord *coord, struct group *group);
void group_free(struct coord *coord, struct group *group);
struct roster *group_roster(struct group *group); /* made if need be */
void group_drop_roster(struct coord *coord, struct group *group);

void group_set_state(struct group *group, enum group_state state,
                     int64_t wall_ms);
void group_set_text(struct slice *text, struct slice value); /* owned copy */
/* Whether its name is that of a group of another kind, whose offsets it holds.
 */
enum group_presence group_elsewhere(const struct coord *coord, struct slice id);
/* Members' count and largest timeout; 0 without. */
uint32_t group_size(const struct group *group);
int32_t group_rebalance_timeout_ms(const struct group *group);
bool group_all_joined(const struct group *group);
bool group_is_consumer(const struct group *group);
bool group_subscribes(const struct group *group, struct slice topic);
/* Reads the members' subscriptions of the selected protocol. */
void group_learn_topics(struct group *group);
/* Whether a member with these protocols could be one. */
bool group_supports(const struct group *group, struct slice protocol_type,
                    const struct join_group_request_protocol *protocols,
                    int32_t protocols_len);
/* The protocol with most votes among those that all members support. */
struct slice group_vote(const struct group *group);

/* ---- members (member.c) --------------------------------------------------*/

struct member *member_find(const struct group *group, struct slice id);
struct member *member_find_static(const struct group *group,
                                  struct slice instance_id);
struct pending_member *pending_find(const struct group *group, struct slice id);
/* Adds a member, with copies of everything. */
struct member *member_add(struct coord *coord, struct group *group,
                          struct slice id, struct slice instance_id,
                          struct slice client_id, struct slice client_host,
                          int32_t rebalance_timeout_ms,
                          int32_t session_timeout_ms,
                          const struct join_group_request_protocol *protocols,
                          int32_t protocols_len);
/* Nothing of it may be parked any more. */
void member_remove(struct coord *coord, struct member *member);
void member_set_protocols(struct coord *coord, struct member *member,
                          const struct join_group_request_protocol *protocols,
                          int32_t protocols_len);
void member_set_assignment(struct coord *coord, struct member *member,
                           struct slice assignment);
void member_rename(struct coord *coord, struct member *member, struct slice id);
bool member_has_protocols(const struct member *member,
                          const struct join_group_request_protocol *protocols,
                          int32_t protocols_len);
/* Metadata for a protocol; empty if it does not support it. */
struct slice member_metadata(const struct member *member,
                             struct slice protocol);
void member_park_join(struct step *step, struct member *member,
                      const struct coord_context *context);
void member_park_sync(struct step *step, struct member *member,
                      const struct coord_context *context);
/* Back from parked; false if it was not. */
bool member_unpark_join(struct member *member, struct parked *parked);
bool member_unpark_sync(struct member *member, struct parked *parked);
void member_set_owes_sync(struct member *member, bool owes);
/* Restarts its session. */
void member_heard(struct step *step, struct member *member, int64_t timeout_ms);
/* What a join would add to members_bytes, with an id of this length. */
size_t member_bytes_for(const struct group *group, size_t id_len,
                        const struct coord_context *context,
                        const struct join_group_request *request);
/* What it adds. */
size_t pending_bytes(const struct pending_member *pending);

void pending_add(struct step *step, struct group *group, struct slice id,
                 int64_t timeout_ms);
void pending_remove(struct coord *coord, struct pending_member *pending);

/* ERR_NONE, ERR_UNKNOWN_MEMBER_ID, or ERR_FENCED_INSTANCE_ID. */
enum err member_check(const struct group *group, struct slice member_id,
                      struct slice instance_id);

/* ---- the rebalance (rebalance.c) -----------------------------------------*/

/* Starts a rebalance where the state allows, else sees whether the one that
 * runs can be completed. */
void rebalance(struct step *step, struct group *group, const char *reason);
void rebalance_prepare(struct step *step, struct group *group,
                       const char *reason);
/* All have joined, and it isn't the delayed first one. */
void rebalance_complete_if_joined(struct step *step, struct group *group);
void rebalance_join_timeout(struct step *step, struct group *group);
void rebalance_sync_timeout(struct step *step, struct group *group);
/* Answers parked SyncGroups with each member's assignment. */
void rebalance_hand_out(struct step *step, struct group *group);
void rebalance_fail_syncs(struct step *step, struct group *group, enum err err);
/* It left, or died: answers what it has parked and removes it.  The caller goes
 * on with member_gone(). */
void rebalance_take_out(struct step *step, struct member *member);
void rebalance_member_gone(struct step *step, struct group *group,
                           const char *reason);
/* A JoinGroup's successful answer to a member. */
void rebalance_answer_join(struct step *step, struct member *member,
                           struct slice leader, bool with_members,
                           bool skip_assignment);

/* ---- groups that were loaded, or handed over (handover.c) ----------------*/

/* Sessions of its members begin, and a rebalance if it needs one. */
void handover_begin(struct step *step, struct group *group);

/* ---- requests, one file each ---------------------------------------------*/

void join_request(struct step *step, const struct coord_context *context,
                  const struct join_group_request *request);
void join_static_done(struct step *step, struct coord_write *write,
                      enum err err);
void sync_request(struct step *step, const struct coord_context *context,
                  const struct sync_group_request *request);
void sync_done(struct step *step, struct coord_write *write, enum err err);
void heartbeat_request(struct step *step, const struct coord_context *context,
                       const struct heartbeat_request *request);
void leave_request(struct step *step, const struct coord_context *context,
                   const struct leave_group_request *request);
void offset_commit_request(struct step *step,
                           const struct coord_context *context,
                           const struct offset_commit_request *request);
void offset_commit_txn_request(struct step *step,
                               const struct coord_context *context,
                               const struct coord_txn_commit *request);
void offset_fetch_request(struct step *step,
                          const struct coord_context *context,
                          const struct offset_fetch_request *request);
void offset_delete_request(struct step *step,
                           const struct coord_context *context,
                           const struct offset_delete_request *request);
void describe_groups_request(struct step *step,
                             const struct coord_context *context,
                             const struct describe_groups_request *request);
void list_groups_request(struct step *step, const struct coord_context *context,
                         const struct list_groups_request *request);
void delete_groups_request(struct step *step,
                           const struct coord_context *context,
                           const struct delete_groups_request *request);

/* ---- offsets -------------------------------------------------------------*/

struct slice offsets_topic_name(const struct topic_offsets *topic);
struct topic_offsets *offsets_topic(const struct group *group,
                                    struct slice topic);
struct offset_entry *offsets_find(const struct group *group, struct slice topic,
                                  int32_t partition);
/* A new version; takes over the value. */
void offsets_put(struct coord *coord, struct group *group, struct slice topic,
                 int32_t partition, struct offset_value *value);
/* As decided by everything in the log; NULL: none. */
const struct offset_value *offset_newest(const struct offset_entry *entry);
/* Whether a version that is not known to be committed may have been shown by
 * the coordinator before this one. */
bool offset_is_doubtful(const struct coord *coord,
                        const struct offset_entry *entry);
/* Behind the last version that is not known to be committed; 0: there is none.
 */
int64_t offsets_unsettled_end(const struct coord *coord);
/* As far as it is committed; NULL: none. */
const struct offset_value *offset_committed(const struct coord *coord,
                                            const struct offset_entry *entry);
bool offsets_pending_in_txn(const struct group *group, struct slice topic,
                            int32_t partition);
bool offsets_any_pending(const struct group *group);
/* NULL: none. */
struct pending_topic *offsets_pending_topic(const struct group *group,
                                            struct slice topic);
struct slice offsets_pending_name(const struct pending_topic *topic);
/* Drops the versions that newer committed ones have replaced. */
void offsets_settle(struct coord *coord);
void offsets_free(struct group *group);
/* Of a transaction that has not ended, whose commit of the same partition
 * before it this one replaces; takes over the value. */
void offsets_put_pending(struct coord *coord, struct group *group,
                         int64_t producer_id, struct slice topic,
                         int32_t partition, struct offset_value *value);
void offsets_drop_pending(struct group *group, struct slice topic,
                          int32_t partition);
void offsets_end_txn(struct coord *coord, int64_t producer_id, bool committed,
                     int64_t marker_offset);
void offsets_free_txns(struct coord *coord);

/* ---- expiry (expire.c) ---------------------------------------------------*/

/* A commit or a change of state may have made it due at wall_due_ms. */
void expire_arm(struct coord *coord, struct group *group, int64_t wall_due_ms);
/* Looks at the whole group. */
void expire_arm_group(struct coord *coord, struct group *group);
void expire_timeout(struct step *step, struct group *group);
/* Whether a member of the group, of whichever kind it is, subscribes to the
 * topic.  `group` may be NULL. */
bool expire_is_subscribed(const struct coord *coord, struct slice id,
                          const struct group *group, struct slice topic);

#endif
