/* Inside of the coordinator of streams groups: groups, their members, and what
 * each file gives the others. */
#ifndef BROKER_COORD_STREAMS_STREAMS_H
#define BROKER_COORD_STREAMS_STREAMS_H

#include "broker/coord/streams/assign_sticky.h"
#include "broker/coord/streams/reconcile.h"
#include "broker/coord/streams/streams_coord.h"
#include "broker/coord/streams/topology.h"

#include "base/heap.h"
#include "base/map.h"

enum {
    /* Partitions above it in a record are damage, not a task. */
    STREAMS_PARTITION_MAX = 1 << 24,
    /* A timer whose write could not be appended tries again. */
    STREAMS_RETRY_MS = 500,
    /* Missing internal topics are asked for no more often. */
    STREAMS_CREATE_PAUSE_MS = 1000,
    /* Of groups and targets without a record, as in Kafka. */
    STREAMS_FIRST_EPOCH = 1,
    /* What is told of why internal topics could not be made. */
    STREAMS_WHY_MAX_BYTES = 1000,
    /* validated topology epoch, standbys: the record does not say. */
    STREAMS_NONE = -1,
};

typedef struct streams_group_member_metadata_value_key_value streams_tag;

struct stimer {
    struct heap_node node; /* key: monotonic milliseconds */
    enum stimer_kind {
        STIMER_SESSION, /* struct stmember: it was not heard of for too long */
        STIMER_REBALANCE, /* struct stmember: it does not give tasks up */
        STIMER_ASSIGN,    /* struct stgroup: the next target may be computed */
        STIMER_EMPTY,     /* struct stgroup: it may be nobody's any more */
    } kind;
};

/* What a member said about itself: StreamsGroupMemberMetadata. */
struct stprofile {
    struct slice instance_id; /* null: a dynamic member */
    struct slice rack_id;     /* null: none */
    struct slice client_id;
    struct slice client_host;
    struct slice process_id;
    int32_t rebalance_timeout_ms;
    int32_t topology_epoch;
    bool has_endpoint; /* for interactive queries */
    struct slice endpoint_host;
    uint16_t endpoint_port;
    streams_tag *tags; /* rising by key, each once */
    uint32_t tags_len;
};

struct stmember {
    struct stgroup *group;
    struct slice id; /* owned */
    struct stimer session;
    struct stimer rebalance;
    /* Which records it has.  One without metadata is no member yet: loading may
     * meet the records in any order. */
    bool has_profile;
    bool has_target;
    bool has_current;
    struct stprofile profile; /* what it points to is in one block: */
    void *profile_block;      /* owned */
    struct tuple target;      /* owned sets, names of the group */
    struct scurrent current;  /* likewise */
    size_t bytes;             /* counted in coord.bytes */
};

/* Who has a task, as assigned or as to be given up.  Borrowed members. */
struct sholders {
    struct stmember *active;  /* NULL: nobody */
    struct stmember **others; /* owned array: standbys and warm-ups */
    uint32_t others_len;
};

/* A subtopology by name: what tasks of the group's sets call it. */
struct ssub {
    struct slice name;   /* owned */
    struct sholders *of; /* owned, by partition */
    uint32_t cap;
};

/* A topic that a group's topology names: the group is among those that want to
 * know of its changes. */
struct swant {
    struct list link; /* in stopic.groups */
    struct stopic *topic;
    struct stgroup *group;
};

struct stopic {
    struct slice name;  /* owned */
    struct list groups; /* of swant.link, never empty */
};

struct stgroup {
    struct slice id;     /* owned */
    bool exists;         /* has a StreamsGroupMetadata record, which says: */
    int32_t epoch;       /* bumped whenever a new target is needed */
    int64_t hash;        /* of the topics that `epoch` was for */
    int32_t valid_epoch; /* of the topology that could be configured then */
    int32_t standbys;    /* that `epoch` was for */
    bool has_target_record;
    int32_t target_epoch;
    int64_t target_wall_ms;
    struct stopology *topology; /* owned; NULL: none yet */
    size_t topology_bytes;      /* counted in coord.bytes */
    struct swant *wants;        /* owned array: its topics */
    uint32_t wants_len;
    struct map members; /* id -> struct stmember, owned */
    uint32_t size;      /* members with a profile */
    struct map subs;    /* name -> struct ssub, owned; as long as the group */
    struct stimer assign;
    struct stimer empty; /* set while it has no members */
    /* ---- does not survive ------------------------------------------------*/
    bool stale;             /* topics changed since `config` */
    struct sconfig *config; /* owned; of `topology`; NULL: to be computed */
    bool delayed;           /* `assign` is the initial delay */
    /* Owned; a member that wants all to stop, as messages quote it.  Until the
     * group is empty, as in Kafka, though the member may have left. */
    struct slice shutdown_by;
    int32_t
        endpoint_epoch; /* rises when tasks of members with endpoints move */
    int64_t asked_ms;   /* monotonic: for internal topics; 0: never */
    struct slice creation_why; /* owned, cut; why they could not be made */
};

struct streams_coord {
    struct streams_config config;
    struct streams_world world;
    struct consumer_offsets offsets;
    struct map groups; /* id -> struct stgroup, owned */
    struct map topics; /* name -> struct stopic, owned */
    struct heap timers;
    struct coord_time time; /* of the last call that came with it */
    size_t bytes;           /* of groups, members and topologies */
    enum { STREAMS_LOADING, STREAMS_ACTIVE, STREAMS_RESIGNED } life;
    /* Appends are counted, and loading is one.  Those up to `settled` are
     * known to be committed. */
    uint64_t appends;
    uint64_t settled;
};

/* One call: what it works on and where its decisions go. */
struct ststep {
    struct streams_coord *coord;
    struct coord_time time;
    struct coord_update *update;
};

/* ---- group.c: what there is ----------------------------------------------*/

struct stgroup *stgroup_find(const struct streams_coord *coord,
                             struct slice id);
struct stgroup *stgroup_get(struct streams_coord *coord, struct slice id);
void stgroup_free(struct streams_coord *coord, struct stgroup *group);
/* What it takes by itself, counted in coord.bytes. */
size_t stgroup_bytes(struct slice id);
/* Frees what has no record any more. */
void stgroup_drop_if_hollow(struct streams_coord *coord, struct stgroup *group);
/* A member with a profile; NULL: none. */
struct stmember *stgroup_member(const struct stgroup *group, struct slice id);
/* Takes nothing over; NULL: it has none any more. */
void stgroup_set_topology(struct streams_coord *coord, struct stgroup *group,
                          stopology_value *value);
/* Takes it; NULL: none. */
void stgroup_set_config(struct stgroup *group, struct sconfig *config);
void stgroup_set_text(struct slice *text, struct slice value);
/* What a message can hold of a value: see excerpt.h. */
void stgroup_set_excerpt(struct slice *text, struct slice value,
                         size_t max_bytes);

struct stmember *stmember_get(struct stgroup *group, struct slice id);
void stmember_drop_if_hollow(struct streams_coord *coord,
                             struct stmember *member);
/* Take nothing over; NULL: it has none any more. */
void stmember_set_profile(struct streams_coord *coord, struct stmember *member,
                          const struct stprofile *profile);
void stmember_set_target(struct streams_coord *coord, struct stmember *member,
                         const struct tuple *target);
void stmember_set_current(struct streams_coord *coord, struct stmember *member,
                          const struct scurrent *current);
bool stprofile_same(const struct stprofile *a, const struct stprofile *b);

/* NULL: nobody has it. */
const struct sholders *stgroup_holders(const struct stgroup *group,
                                       struct slice sub, int32_t partition);

/* ---- heartbeat.c, join.c, leave.c, describe.c, endpoints.c ---------------*/

void stheartbeat_request(struct ststep *step,
                         const struct coord_context *context,
                         const struct streams_group_heartbeat_request *request);
/* What a request must look like by itself; *why for clients' logs. */
enum err
stheartbeat_validate(struct arena *arena,
                     const struct streams_group_heartbeat_request *request,
                     struct slice *why);
/* What the member says it has.  False: it does not say. */
bool stheartbeat_owned(struct arena *arena,
                       const struct streams_group_heartbeat_request *request,
                       struct tuple *owned);
/* Whose heartbeat it is; NULL: a new member's. */
enum err stheartbeat_find(const struct stgroup *group,
                          const struct streams_group_heartbeat_request *request,
                          const struct tuple *owned,
                          const struct stmember **member);
/* Tasks that the configured topology does not have are nobody's. */
enum err stheartbeat_check_tasks(const struct sconfig *config,
                                 const struct tuple *owned);
void stleave_request(struct ststep *step, const struct coord_context *context,
                     const struct streams_group_heartbeat_request *request);
/* It left, or a deadline passed.  The answer may be NULL. */
void stmember_fence(struct ststep *step, struct stmember *member,
                    struct coord_answer *answer);
void stgroup_ask_shutdown(struct stgroup *group, struct slice member_id);
void stdescribe_request(struct ststep *step,
                        const struct coord_context *context,
                        const struct streams_group_describe_request *request);
/* "Stable" */
const char *stgroup_state_name(const struct stgroup *group);
/* Which member's tasks read what, for interactive queries. */
void sendpoints_fill(const struct streams_coord *coord,
                     const struct stgroup *group, struct arena *arena,
                     struct streams_group_heartbeat_response *r);

/* ---- target.c ------------------------------------------------------------*/

/* A group as it will be: its members, with `id` and `profile` in the place of
 * one or in addition. */
struct splan {
    const struct stgroup *group; /* NULL: nobody yet */
    const struct stmember *replaced;
    struct slice id;
    const struct stprofile *profile; /* NULL: as it is */
    struct tuple target;             /* what the one that comes has had */
    const struct sconfig *config;
    int32_t standbys;
    struct arena *arena;
};

/* Writes the new target and returns the part of the one that comes. */
struct tuple splan_assign(struct splan *plan, struct ststep *step,
                          struct streams_write *write, struct slice group_id,
                          int32_t epoch);
/* Whether the interval between targets is over; else when it is. */
bool stgroup_may_assign(const struct ststep *step, const struct stgroup *group,
                        int64_t *left_ms);
/* A new target without a heartbeat. */
void stgroup_assign(struct ststep *step, struct stgroup *group);

/* ---- timer.c -------------------------------------------------------------*/

struct streams_settings stgroup_settings(const struct streams_coord *coord,
                                         struct slice group);
/* It was heard of. */
void stmember_heard(struct streams_coord *coord, struct stmember *member);
/* Its current assignment changed. */
void stmember_arm(struct streams_coord *coord, struct stmember *member);
/* It may have become empty, or have members again. */
void stgroup_watch_empty(struct streams_coord *coord, struct stgroup *group);
/* Its first member came. */
void stgroup_delay(struct streams_coord *coord, struct stgroup *group);

/* ---- write.c: decisions into records -------------------------------------*/

struct streams_write *stwrite_new(struct coord_answer *answer);
/* Into the update.  If nothing is to be written and nothing to be waited for,
 * the answer goes at once. */
void stwrite_send(struct ststep *step, struct streams_write *write);
/* Has internal topics made, if that was to be. */
void stwrite_create(struct ststep *step, struct streams_write *write);
void stwrite_free(struct streams_write *write);
void stwrite_epoch(struct coord_records *records, struct slice group_id,
                   int32_t epoch, int64_t hash, int32_t valid_epoch,
                   int32_t standbys);
void stwrite_topology(struct coord_records *records, struct slice group_id,
                      const stopology_value *value);
void stwrite_profile(struct coord_records *records, struct slice group_id,
                     struct slice member_id, const struct stprofile *profile);
void stwrite_target(struct coord_records *records, struct slice group_id,
                    struct slice member_id, const struct tuple *target);
void stwrite_target_epoch(struct coord_records *records, struct slice group_id,
                          int32_t epoch, int64_t wall_ms);
void stwrite_current(struct coord_records *records, struct slice group_id,
                     struct slice member_id, const struct scurrent *current);
void stwrite_member_gone(struct coord_records *records, struct slice group_id,
                         struct slice member_id);
void stwrite_group_gone(struct coord_records *records,
                        const struct stgroup *group);

/* ---- answer.c ------------------------------------------------------------*/

struct coord_answer *stanswer_new(const struct coord_context *context,
                                  enum api_key api);
void stanswer_send(struct ststep *step, struct coord_answer *answer);
void stanswer_tasks(struct arena *arena,
                    struct streams_group_heartbeat_response *r,
                    const struct tuple *tasks);
/* Rewrites an answer into one that says `err`; `why` may be null. */
void stanswer_fail(struct coord_answer *answer, enum err err, struct slice why);

#endif
