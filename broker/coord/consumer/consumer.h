/* Inside of the coordinator of consumer groups: groups, their members, and what
 * each file gives the others. */
#ifndef BROKER_COORD_CONSUMER_CONSUMER_H
#define BROKER_COORD_CONSUMER_CONSUMER_H

#include "broker/coord/consumer/assign.h"
#include "broker/coord/consumer/consumer_coord.h"
#include "broker/coord/consumer/reconcile.h"

#include "base/heap.h"
#include "base/map.h"

enum {
    /* Partitions above it in a record are damage, not a topic. */
    CONSUMER_PARTITION_MAX = 1 << 24,
    /* A timer whose write could not be appended tries again. */
    CONSUMER_RETRY_MS = 500,
    /* Regexes are not matched again more often than this, whatever happens to
     * topics (Kafka has the same). */
    CONSUMER_REGEX_PAUSE_MS = 10000,
};

struct ctimer {
    struct heap_node node; /* key: monotonic milliseconds */
    enum ctimer_kind {
        CTIMER_SESSION,   /* struct cmember: it was not heard of for too long */
        CTIMER_REBALANCE, /* struct cmember: it does not give partitions up */
        CTIMER_JOIN,      /* struct cmember: classic, it does not join again */
        CTIMER_SYNC,      /* struct cmember: classic, it sends no SyncGroup */
        CTIMER_ASSIGN,    /* struct cgroup: the next target may be computed */
        CTIMER_EMPTY,     /* struct cgroup: it may be nobody's any more */
    } kind;
};

/* ClassicMemberMetadata: one of the protocols that a member supports. */
typedef struct consumer_group_member_metadata_value_classic_protocol cprotocol;

/* What a member said about itself: ConsumerGroupMemberMetadata. */
struct cprofile {
    struct slice instance_id; /* null: a dynamic member */
    struct slice rack_id;     /* null: none */
    struct slice client_id;
    struct slice client_host;
    struct slice *names; /* subscribed topics, rising, each once */
    uint32_t names_len;
    struct slice regex;    /* null or empty: none */
    struct slice assignor; /* null: no preference */
    int32_t rebalance_timeout_ms;
    bool classic; /* it uses the classic protocol, else those below are zero */
    int32_t session_timeout_ms;
    cprotocol *protocols; /* in its order of preference */
    uint32_t protocols_len;
};

struct cmember {
    struct cgroup *group;
    struct slice id; /* owned */
    struct ctimer session;
    struct ctimer rebalance;
    struct ctimer join;
    struct ctimer sync;
    bool leaving; /* only during a call */
    /* Which records it has.  One without metadata is no member yet: loading may
     * meet the records in any order. */
    bool has_profile;
    bool has_target;
    bool has_current;
    struct cprofile profile; /* what it points to is in one block: */
    void *profile_block;     /* owned */
    struct parts target;     /* owned; epochs 0 */
    struct ccurrent current; /* owned sets */
    size_t bytes;            /* counted in coord.bytes */
};

/* A regex that members subscribe to, or that has a record. */
struct cregex {
    uint32_t members;
    uint32_t leaving; /* of them; only during a call */
    bool resolved;    /* has a record, which says: */
    int64_t topics_version;
    int64_t wall_ms;
    struct slice *topics; /* owned in one block; rising */
    uint32_t topics_len;
};

/* A topic that a group subscribes to: the group is among those that want to
 * know of its changes. */
struct csubscription {
    struct list link; /* in ctopic.groups */
    struct ctopic *topic;
    struct cgroup *group;
    uint32_t count; /* members and regexes with a record that name it */
};

struct ctopic {
    struct slice name;  /* owned */
    struct list groups; /* of csubscription.link, never empty */
};

/* Who owns the partitions of a topic. */
struct cowners {
    struct cmember **of; /* owned array of borrowed members; NULL: nobody */
    uint32_t cap;
    uint32_t count; /* partitions with an owner */
};

struct cgroup {
    struct slice id;      /* owned */
    bool exists;          /* has a ConsumerGroupMetadata record */
    int32_t epoch;        /* bumped whenever a new target is needed */
    int64_t hash;         /* of the topics that `epoch` was for; 0: none */
    int32_t target_epoch; /* the epoch that the target is for; 0: none */
    int64_t target_wall_ms;
    bool has_target_record;
    /* Written by Kafka before 4.1; the next bump deletes it. */
    bool has_partition_record;
    struct map members;       /* id -> struct cmember, owned */
    uint32_t size;            /* members with a profile */
    uint32_t classics;        /* of them: use the classic protocol */
    struct map protocols;     /* name -> how many of these support it */
    struct map by_instance;   /* static members -> struct cmember */
    struct map regexes;       /* pattern -> struct cregex, owned */
    struct map subscriptions; /* topic name -> struct csubscription, owned */
    struct map owners;        /* topic id, 16 bytes -> struct cowners, owned */
    struct ctimer assign;
    struct ctimer empty; /* runs while it has no members */
    /* ---- does not survive ------------------------------------------------*/
    bool stale;        /* topics changed since `hash` was computed */
    bool looking_up;   /* regexes are being matched */
    int64_t looked_ms; /* monotonic: at which regexes are old, last time */
};

struct consumer_coord {
    struct consumer_config config;
    struct consumer_world world;
    struct consumer_offsets offsets; /* .any NULL: there are none */
    struct handover_classics classics;
    struct map groups; /* id -> struct cgroup, owned */
    struct map topics; /* name -> struct ctopic, owned */
    struct heap timers;
    struct coord_time time; /* of the last call that came with it */
    size_t bytes;           /* of members */
    int64_t topics_version;
    enum { CONSUMER_LOADING, CONSUMER_ACTIVE, CONSUMER_RESIGNED } life;
    /* Appends are counted, and loading is one.  Those up to `settled` are
     * known to be committed. */
    uint64_t appends;
    uint64_t settled;
};

/* One call: what it works on and where its decisions go. */
struct cstep {
    struct consumer_coord *coord;
    struct coord_time time;
    struct coord_update *update;
};

/* ---- group.c: what there is ----------------------------------------------*/

struct cgroup *cgroup_find(const struct consumer_coord *coord, struct slice id);
struct cgroup *cgroup_get(struct consumer_coord *coord, struct slice id);
void cgroup_free(struct consumer_coord *coord, struct cgroup *group);
/* Frees what has no record any more. */
void cgroup_drop_if_hollow(struct consumer_coord *coord, struct cgroup *group);
/* A member with a profile; NULL: none. */
struct cmember *cgroup_member(const struct cgroup *group, struct slice id);
struct cmember *cgroup_static(const struct cgroup *group,
                              struct slice instance_id);
/* NULL: it is free. */
struct cmember *cgroup_owner(const struct cgroup *group, struct uuid topic,
                             int32_t partition);

struct cmember *cmember_get(struct cgroup *group, struct slice id);
void cmember_drop_if_hollow(struct consumer_coord *coord,
                            struct cmember *member);
/* Takes nothing over; NULL: it has none any more. */
void cmember_set_profile(struct consumer_coord *coord, struct cmember *member,
                         const struct cprofile *profile);
void cmember_set_target(struct consumer_coord *coord, struct cmember *member,
                        struct parts target);
void cmember_set_current(struct consumer_coord *coord, struct cmember *member,
                         const struct ccurrent *current);

/* ---- subscription.c ------------------------------------------------------*/

/* `delta` more or fewer of a group's members or regexes name these topics. */
void csubscribe(struct consumer_coord *coord, struct cgroup *group,
                const struct slice *names, uint32_t len, int delta);
/* The same for members of a regex, which may be null. */
void cregex_count(struct cgroup *group, struct slice pattern, int delta);
void cregex_set(struct consumer_coord *coord, struct cgroup *group,
                struct slice pattern,
                const struct consumer_group_regular_expression_value *value);
bool cprofile_has_regex(const struct cprofile *profile);
/* By name, or by what its regex is known to match. */
bool cprofile_wants(const struct cgroup *group, const struct cprofile *profile,
                    struct slice topic);
bool cprofile_same_names(const struct cprofile *a, const struct cprofile *b);
bool cprofile_same(const struct cprofile *a, const struct cprofile *b);
/* In place: rising, each once.  Returns how many are left. */
uint32_t cnames_sort(struct slice *names, uint32_t len);
/* Sends regexes out to be matched if `pattern`, a member's own unless it is
 * null, never was, or some might match other topics by now. */
void cregex_refresh(struct cstep *step, struct cgroup *group,
                    struct slice group_id, struct slice pattern);
void cregex_looked_up(struct cstep *step, struct cgroup *group,
                      const struct consumer_lookup *lookup,
                      int64_t topics_version);

/* ---- target.c ------------------------------------------------------------*/

/* A group as it would be: its members but `replaced` and those that are marked
 * as leaving, and one with this id and profile in the place of the former or in
 * addition. */
struct cplan {
    const struct cgroup *group; /* NULL: nobody yet */
    const struct cmember *replaced;
    struct slice id;
    const struct cprofile *profile; /* NULL: nobody comes */
    struct parts target;            /* what it has had */
    /* What regexes match, in the place of what is known; may be NULL. */
    const struct consumer_lookup *lookup;
    struct arena *arena;
    /* ---- cplan_topics() --------------------------------------------------*/
    struct assign_topic *topics;
    uint32_t topics_len;
    struct assign_member *members;
    const struct cprofile **profiles; /* of each */
    const struct cmember **present;   /* of each; NULL: the one that comes */
    uint32_t members_len;
};

/* What the members subscribe to, as far as it exists; returns its hash. */
int64_t cplan_topics(struct cplan *plan, const struct consumer_coord *coord);
/* Writes the new target, after cplan_topics(), and returns the part of the one
 * that comes. */
struct parts cplan_assign(struct cplan *plan, struct cstep *step,
                          struct consumer_write *write, struct slice group_id,
                          int32_t epoch);
/* Whether the interval between targets is over, or there was nobody; else when
 * it is. */
bool cgroup_may_assign(const struct cstep *step, const struct cgroup *group,
                       int64_t *left_ms);
/* All wait with it, for as long as the interval says. */
void cgroup_assign_later(struct cstep *step, struct cgroup *group,
                         int64_t left_ms);
/* A new target without a heartbeat. */
void cgroup_assign(struct cstep *step, struct cgroup *group);
/* The name of the assignor that most members want. */
struct slice cplan_assignor(const struct consumer_coord *coord,
                            const struct cplan *plan);

/* ---- heartbeat.c, join.c, leave.c, describe.c ----------------------------*/

void cheartbeat_request(struct cstep *step, const struct coord_context *context,
                        const struct consumer_group_heartbeat_request *request);
/* What a request must look like by itself; *why for clients' logs. */
enum err
cheartbeat_validate(const struct consumer_coord *coord, int16_t version,
                    const struct consumer_group_heartbeat_request *request,
                    const char **why);
/* The request's partitions as a set. */
struct parts
cheartbeat_owned(struct arena *arena,
                 const struct consumer_group_heartbeat_request *request);
/* Whose heartbeat it is: *member (NULL: a new one), or, where a static member
 * comes back, *returned. */
enum err cheartbeat_find(const struct cgroup *group,
                         const struct consumer_group_heartbeat_request *request,
                         struct parts owned, const struct cmember **member,
                         const struct cmember **returned);
void cleave_request(struct cstep *step, const struct coord_context *context,
                    const struct consumer_group_heartbeat_request *request);
/* It left, or a deadline passed.  The answer may be NULL. */
void cmember_fence(struct cstep *step, struct cmember *member,
                   struct coord_answer *answer);
/* The same for all of a group's members that are marked as leaving, at least
 * one, which are not marked any more afterwards. */
void cmembers_fence(struct cstep *step, struct cgroup *group,
                    uint32_t leaving_len, struct coord_answer *answer);
void cdescribe_request(struct cstep *step, const struct coord_context *context,
                       const struct consumer_group_describe_request *request);
/* All have what they shall have, at the group's epoch.  Looks at all. */
bool cgroup_is_reconciled(const struct cgroup *group);
/* "Stable" */
const char *cgroup_state_name(const struct cgroup *group);

/* ---- members that use the classic protocol: classic_join.c,
 * classic_sync.c, classic_leave.c -----------------------------------------*/

void cjoin_request(struct cstep *step, const struct coord_context *context,
                   const struct join_group_request *request);
void csync_request(struct cstep *step, const struct coord_context *context,
                   const struct sync_group_request *request);
void cclassic_heartbeat_request(struct cstep *step,
                                const struct coord_context *context,
                                const struct heartbeat_request *request);
void cleave_group_request(struct cstep *step,
                          const struct coord_context *context,
                          const struct leave_group_request *request);
/* A member by the ids that a classic request names.  UNKNOWN_MEMBER_ID,
 * FENCED_INSTANCE_ID. */
enum err cclassic_find(const struct cgroup *group, struct slice member_id,
                       struct slice instance_id, struct cmember **member);

/* ---- upgrade.c, downgrade.c ----------------------------------------------*/

/* Whether a heartbeat for this name is for a classic group with members. */
bool cupgrade_is_due(const struct consumer_coord *coord, struct slice group);
/* Adds the records that make it a consumer group.  *as_if is a coordinator with
 * that group alone, as it will be when they are in the log; to be freed.
 * GROUP_ID_NOT_FOUND: it cannot or must not become one; GROUP_MAX_SIZE_REACHED:
 * nor can whoever sends this request join it. */
enum err cupgrade(struct cstep *step,
                  const struct consumer_group_heartbeat_request *request,
                  struct coord_records *records, struct consumer_coord **as_if);

/* A member in whose place another comes with the downgrade. */
struct creplacement {
    const struct cmember *replaced;
    struct slice id;
    const struct cprofile *profile;
    struct slice protocol; /* out: the group's, borrowed of a profile */
};

/* Whether all members use the classic protocol but those that are marked as
 * leaving, `leaving_len` of them, and `replaced` (NULL: nobody), and a classic
 * group may be made of them. */
bool cdowngrade_is_due(const struct consumer_coord *coord,
                       const struct cgroup *group, uint32_t leaving_len,
                       const struct cmember *replaced);
/* The records that make it a classic group; `by` may be NULL.  False: one batch
 * has no room for them, and none were added. */
bool cdowngrade(struct cstep *step, struct consumer_write *write,
                const struct cgroup *group, struct creplacement *by,
                bool rebalances);

/* ---- timer.c -------------------------------------------------------------*/

/* It was heard of. */
void cmember_heard(struct consumer_coord *coord, struct cmember *member);
/* It may have become empty, or have members again. */
void cgroup_watch_empty(struct consumer_coord *coord, struct cgroup *group);
/* A classic member was told to join again, if it was not yet. */
void cmember_await_join(struct consumer_coord *coord, struct cmember *member);
/* It has joined, and is to send SyncGroup. */
void cmember_await_sync(struct consumer_coord *coord, struct cmember *member);
/* Its current assignment, or its protocol, changed. */
void cmember_arm(struct consumer_coord *coord, struct cmember *member);
struct consumer_timeouts cgroup_timeouts(const struct consumer_coord *coord,
                                         struct slice group);

/* ---- write.c: decisions into records -------------------------------------*/

struct consumer_write *cwrite_new(struct coord_answer *answer);
/* Into the update.  If nothing is to be written and nothing to be waited for,
 * the answer goes at once. */
void cwrite_send(struct cstep *step, struct consumer_write *write);
void cwrite_free(struct consumer_write *write);
/* If it is the answer to a JoinGroup, its member has until then to send
 * SyncGroup. */
void cwrite_joined(struct consumer_coord *coord,
                   const struct consumer_write *write);
void cwrite_epoch(struct coord_records *records, const struct cgroup *group,
                  struct slice group_id, int32_t epoch, int64_t hash);
void cwrite_profile(struct coord_records *records, struct slice group_id,
                    struct slice member_id, const struct cprofile *profile);
void cwrite_target(struct coord_records *records, struct slice group_id,
                   struct slice member_id, struct parts target);
void cwrite_target_epoch(struct coord_records *records, struct slice group_id,
                         int32_t epoch, int64_t wall_ms);
void cwrite_current(struct coord_records *records, struct slice group_id,
                    struct slice member_id, const struct ccurrent *current);
void cwrite_regex(struct coord_records *records, struct slice group_id,
                  struct slice pattern, struct slice *topics, uint32_t len,
                  int64_t topics_version, int64_t wall_ms);
void cwrite_regex_gone(struct coord_records *records, struct slice group_id,
                       struct slice pattern);
void cwrite_member_gone(struct coord_records *records, struct slice group_id,
                        struct slice member_id);
void cwrite_group_gone(struct coord_records *records,
                       const struct cgroup *group);

/* ---- answer.c ------------------------------------------------------------*/

struct coord_answer *canswer_new(const struct coord_context *context,
                                 enum api_key api);
void canswer_send(struct cstep *step, struct coord_answer *answer);
struct consumer_group_heartbeat_response_assignment *
canswer_assignment(struct arena *arena, struct parts set);
/* Rewrites an answer, also to a classic request, into one that says `err`;
 * `why` may be NULL. */
void canswer_fail(struct coord_answer *answer, enum err err, const char *why);

#endif
