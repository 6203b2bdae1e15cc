/* Several kinds of groups on one __consumer_offsets partition: classic groups
 * (with everybody's offsets), consumer groups (KIP-848), share groups
 * (KIP-932), streams groups (KIP-1071), and whatever comes next.  Each kind is
 * a pure core of its own that knows nothing of the others; group_shard.c runs
 * them side by side on one runtime by this table.
 *
 * To add a kind: its core; a kind_NAME.c that fills in a struct group_kind; its
 * place in enum group_kind_id and in group_cores.c; the responses of its
 * requests in coord_answer's union; what it is configured by in
 * group_shard_options.
 *
 * Rules:
 * - A record type belongs to one kind (owns_record), which replays it: on load,
 *   and live when it is in the log, whoever wrote it.  So a decision of one
 *   kind may hold tombstones of another.
 * - An API belongs to one kind (owns_api), ListGroups and DescribeGroups aside;
 *   DeleteGroups of a share group is its own, as it takes more than records,
 * and JoinGroup, SyncGroup, Heartbeat and LeaveGroup are the consumer core's
 * for a consumer group that has members.
 * - A coord_pending belongs to the kind that handed it over (pending.owner) and
 *   comes back to it by appended() and done().
 * - A name belongs to one kind.  A request that may make a group says which
 *   (claims): if another kind has it, the request is refused with the kind's
 *   `taken`, unless that group is empty and gives way (takes): then its
 *   tombstones go into the log first.  Its offsets stay: they are the name's.
 *   As in Kafka's GroupMetadataManager:
 *
 *       an empty group that is  classic     consumer    share      streams
 *       JoinGroup                           gives way   (1)        (1)
 *       ConsumerGroupHeartbeat  gives way               (2)        (2)
 *       StreamsGroupHeartbeat   gives way   (2)         (2)
 *       ShareGroupHeartbeat     (2)         (2)                    (2)
 *       AlterShareGroupOffsets  (2)         (2)                    (2)
 *
 *       (1) INCONSISTENT_GROUP_PROTOCOL   (2) GROUP_ID_NOT_FOUND
 *
 *   Classic groups and consumer groups become one another with their members
 *   by one decision of the consumer core (handover.h).
 * - Time comes with each call; a core is asked for its next deadline after it.
 *
 * `core` below is what create() returned.  One thread at a time. */
#ifndef BROKER_COORD_GROUP_KIND_H
#define BROKER_COORD_GROUP_KIND_H

#include "broker/coord/consumer/consumer_coord.h"
#include "broker/coord/coord.h"
#include "broker/coord/share_group/share_group_coord.h"
#include "broker/coord/streams/streams_coord.h"

enum group_kind_id {
    GROUP_CLASSIC, /* the first: it keeps the offsets */
    GROUP_CONSUMER,
    GROUP_SHARE,
    GROUP_STREAMS,
    GROUP_KINDS,
};

/* What all kinds are configured by. */
struct group_shard_options {
    struct coord_config coord;
    struct consumer_config consumer;
    struct share_group_config share;
    struct streams_config streams;
    struct consumer_world world; /* the cluster's topics, and their likes */
    /* Instead of world.timeouts, for share groups; may be NULL. */
    void (*share_timeouts)(void *arg, struct slice group,
                           struct consumer_timeouts *timeouts);
    /* streams_world.settings; may be NULL. */
    void (*streams_settings)(void *arg, struct slice group,
                             struct streams_settings *settings);
    uint32_t batch_max_bytes;  /* max.message.bytes of the topic */
    int64_t commit_timeout_ms; /* offsets.commit.timeout.ms, 5000 */
};

struct group_kind {
    /* ---- life ------------------------------------------------------------*/
    void *(*create)(const struct group_shard_options *options);
    void (*core_free)(void *core);
    void (*activate)(void *core, int64_t topics_version, struct coord_time time,
                     struct coord_update *update);
    void (*resign)(void *core, struct coord_update *update);

    /* ---- records ---------------------------------------------------------*/
    bool (*owns_record)(int16_t type);
    enum err (*replay)(void *core, struct coord_origin origin, struct slice key,
                       struct slice value);
    /* Records [first, first + count) of its own pending are in the log, and
     * those of its types are not replayed yet: by itself. */
    void (*appended)(void *core, struct coord_pending *pending, uint32_t first,
                     uint32_t count, int64_t base_offset,
                     struct coord_time time);
    void (*done)(void *core, struct coord_pending *pending, enum err err,
                 struct coord_time time, struct coord_update *update);

    /* ---- requests --------------------------------------------------------*/
    bool (*owns_api)(enum api_key api);
    void (*request)(void *core, const struct coord_context *context,
                    enum api_key api, const void *request,
                    struct coord_update *update);
    struct coord_answer *(*refuse)(const struct coord_context *context,
                                   enum api_key api, const void *request,
                                   enum err err);
    /* The group that the request would make if it is not there; null: none. */
    struct slice (*claims)(void *core, const struct coord_context *context,
                           enum api_key api, const void *request);
    enum err taken; /* such a name is a group's of another kind */
    /* Whose empty groups give way to it. */
    bool takes[GROUP_KINDS];

    /* ---- names and offsets -----------------------------------------------*/
    enum group_presence (*presence)(void *core, struct slice group);
    /* Of an empty group. */
    void (*delete_records)(void *core, struct slice group,
                           struct coord_records *records);
    /* See coord_others; NULL for classic groups. */
    enum err (*check_commit)(void *core, const struct coord_caller *caller,
                             struct uuid topic, int32_t partition);
    enum err (*check_fetch)(void *core, const struct coord_caller *caller);
    bool (*subscribes)(void *core, struct slice group, struct slice topic);
    /* For ListGroups: appends what passes the request's filters to an array
     * in the arena.  NULL for classic groups, whose answer it is. */
    void (*list)(void *core, const struct list_groups_request *request,
                 struct list_groups_response *to, struct arena *arena);

    /* ---- time and topics -------------------------------------------------*/
    int64_t (*next_deadline)(void *core); /* INT64_MAX: never */
    void (*tick)(void *core, struct coord_time time,
                 struct coord_update *update);
    /* A topic was made, deleted, or grew; may be NULL. */
    void (*topic_changed)(void *core, struct slice name,
                          int64_t topics_version);
};

extern const struct group_kind group_kind_classic;
extern const struct group_kind group_kind_consumer;
extern const struct group_kind group_kind_share;
extern const struct group_kind group_kind_streams;

/* ---- the cores of one partition (group_cores.c) --------------------------*/

struct group_cores {
    void *of[GROUP_KINDS];
};

extern const struct group_kind *const group_kinds[GROUP_KINDS];

static inline struct coord *group_cores_classic(const struct group_cores *c)
{
    return c->of[GROUP_CLASSIC];
}

static inline struct consumer_coord *
group_cores_consumer(const struct group_cores *c)
{
    return c->of[GROUP_CONSUMER];
}

static inline struct share_group_coord *
group_cores_share(const struct group_cores *c)
{
    return c->of[GROUP_SHARE];
}

static inline struct streams_coord *
group_cores_streams(const struct group_cores *c)
{
    return c->of[GROUP_STREAMS];
}

/* The options are not kept. */
struct group_cores *
group_cores_create(const struct group_shard_options *options);
void group_cores_free(struct group_cores *cores);

/* Appends `more` to an answer to ListGroups; in the arena. */
void group_list_add(struct list_groups_response *to,
                    const struct list_groups_response_listed_group *more,
                    int32_t len, struct arena *arena);
/* Whose record it is; GROUP_KINDS: nobody's. */
enum group_kind_id group_kind_of_record(struct slice key);
/* By its owner.  ERR_UNSUPPORTED_VERSION: nobody knows it. */
enum err group_cores_replay(struct group_cores *cores,
                            struct coord_origin origin, struct slice key,
                            struct slice value);
/* The answer that says `err` to a request of any kind, without any state. */
struct coord_answer *group_refuse(const struct coord_context *context,
                                  enum api_key api, const void *request,
                                  enum err err);
/* What a request for a group without a name is told, by whoever is asked;
 * ERR_NONE: the group has one, or may be without: offsets were once kept so. */
enum err group_check_name(enum api_key api, const void *request);
/* Whose request it is. */
enum group_kind_id group_kind_of_api(enum api_key api);
/* A kind but `but` that has the group, with or without members; GROUP_KINDS:
 * none. */
enum group_kind_id group_cores_find(const struct group_cores *cores,
                                    struct slice group, enum group_kind_id but,
                                    enum group_presence *presence);

#endif
