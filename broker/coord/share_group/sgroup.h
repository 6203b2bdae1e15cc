/* Inside of the coordinator of share groups. */
#ifndef BROKER_COORD_SHARE_GROUP_SGROUP_H
#define BROKER_COORD_SHARE_GROUP_SGROUP_H

#include "broker/coord/share_group/share_group_coord.h"

#include "base/heap.h"
#include "base/map.h"

enum {
    SGROUP_JOINS = 0,
    SGROUP_LEAVES = -1,
    /* Partitions above it in a record are damage, not a topic. */
    SGROUP_PARTITION_MAX = 1 << 24,
    /* A timer whose write could not be appended tries again. */
    SGROUP_RETRY_MS = 500,
    SGROUP_STABLE = 0, /* the only state of a member's assignment */
};

struct stimer {
    struct heap_node node; /* key: monotonic milliseconds */
    enum stimer_kind {
        STIMER_SESSION, /* struct smember: it was not heard of for too long */
        STIMER_ASSIGN,  /* struct sgroup: the next target may be computed */
        STIMER_ASK,     /* struct sgroup: share coordinators are asked again */
    } kind;
};

/* ShareGroupMemberMetadata. */
struct sprofile {
    struct slice rack_id; /* null: none */
    struct slice client_id;
    struct slice client_host;
    struct slice *names; /* subscribed topics, rising, each once */
    uint32_t names_len;
};

struct smember {
    struct sgroup *group;
    struct slice id; /* owned */
    struct stimer session;
    /* Which records it has.  One without metadata is no member yet. */
    bool has_profile;
    bool has_target;
    bool has_current;
    struct sprofile profile; /* what it points to is in one block: */
    void *profile_block;     /* owned */
    struct parts target;     /* owned */
    int32_t epoch;
    int32_t previous_epoch;
    struct parts assigned; /* owned */
    size_t bytes;          /* counted in coord.bytes */
};

/* ShareGroupStatePartitionMetadata. */
struct sstates {
    struct parts initializing; /* owned */
    struct parts initialized;  /* owned */
    struct uuid *deleting;     /* owned; topics */
    uint32_t deleting_len;
    struct map names; /* topic id -> char *, owned */
};

struct sgroup {
    struct slice id; /* owned */
    bool exists;     /* has ShareGroupMetadata */
    int32_t epoch;
    int64_t hash; /* of the topics that it was made from */
    bool has_target_record;
    int32_t target_epoch;
    int64_t target_wall_ms;
    bool has_states_record;
    struct sstates states;
    struct map members; /* id -> struct smember */
    uint32_t size;      /* members with a profile */
    /* ---- not in records --------------------------------------------------*/
    uint64_t seen_topics; /* topic changes when `hash` and `states` were
                             compared last and had all of them, and one more */
    struct stimer assign;
    struct stimer ask_again;
    uint64_t states_at;     /* the append that `states` is from, which has to be
                               settled before anything is deleted */
    bool asks_when_settled; /* a write without records waits for that */
    bool asking; /* share coordinators are being asked, or a write of what they
                    said is under way */
    /* AlterShareGroupOffsets: where partitions that are initializing are to
     * begin, by topic id and partition (20 bytes); the values are owned. */
    struct map starts;
    /* Answers that wait until nothing is deleting or being altered. */
    struct list waiting; /* of coord_answer.link */
};

struct share_group_coord {
    struct share_group_config config;
    struct consumer_world world;
    enum { SGROUPS_LOADING, SGROUPS_ACTIVE, SGROUPS_RESIGNED } life;
    struct map groups; /* id -> struct sgroup */
    struct heap timers;
    struct coord_time time; /* of the call in progress */
    uint64_t appends;       /* writes in the log so far */
    uint64_t settled;       /* of them known to be committed */
    size_t bytes;           /* of groups and members */
    size_t describing;      /* partitions whose summaries are asked for */
};

struct sstep {
    struct share_group_coord *coord;
    struct coord_time time;
    struct coord_update *update;
};

struct swrite {
    struct coord_pending pending; /* records, and the link in the update */
    struct coord_answer *answer;  /* may be NULL */
    uint64_t covers;              /* how many appends it waits for */
    struct slice group; /* owned: what to look at when it is committed;
                           null: nothing */
    bool ends_asking;   /* it says what share coordinators have answered */
    bool is_wait;       /* it is what asks_when_settled says */
};

/* ---- sgroup.c ------------------------------------------------------------*/

/* One that is there: with a record of its own, or members.  Or NULL. */
struct sgroup *sgroup_find(const struct share_group_coord *coord,
                           struct slice id);
struct sgroup *sgroup_get(struct share_group_coord *coord, struct slice id);
/* What a group without members is counted as. */
size_t sgroup_bytes(struct slice id);
void sgroup_free(struct share_group_coord *coord, struct sgroup *group);
void sgroup_drop_if_hollow(struct share_group_coord *coord,
                           struct sgroup *group);
struct smember *sgroup_member(const struct sgroup *group, struct slice id);
struct smember *smember_get(struct sgroup *group, struct slice id);
void smember_drop_if_hollow(struct share_group_coord *coord,
                            struct smember *member);
/* Copies; NULL: it has none any more. */
void smember_set_profile(struct share_group_coord *coord,
                         struct smember *member,
                         const struct sprofile *profile);
bool sprofile_same(const struct sprofile *a, const struct sprofile *b);
bool sprofile_same_names(const struct sprofile *a, const struct sprofile *b);
bool sprofile_wants(const struct sprofile *profile, struct slice topic);
uint32_t snames_sort(struct slice *names, uint32_t len);
struct consumer_timeouts sgroup_timeouts(const struct share_group_coord *coord,
                                         struct slice group);
void smember_heard(struct share_group_coord *coord, struct smember *member);

/* ---- write.c -------------------------------------------------------------*/

struct swrite *swrite_new(struct coord_answer *answer);
/* Sends its answer at once if there is nothing to wait for. */
void swrite_send(struct sstep *step, struct swrite *write);
void swrite_free(struct swrite *write);
void swrite_group(struct coord_records *records, struct slice group,
                  int32_t epoch, int64_t hash);
void swrite_profile(struct coord_records *records, struct slice group,
                    struct slice member, const struct sprofile *profile);
void swrite_target(struct coord_records *records, struct slice group,
                   struct slice member, struct parts target);
void swrite_target_epoch(struct coord_records *records, struct slice group,
                         int32_t epoch, int64_t wall_ms);
void swrite_current(struct coord_records *records, struct slice group,
                    struct slice member, int32_t epoch, int32_t previous,
                    struct parts assigned);
/* Names come from `names` and, if they are not there, from the world. */
void swrite_states(struct coord_records *records,
                   const struct share_group_coord *coord, struct slice group,
                   const struct sstates *states);
void swrite_member_gone(struct coord_records *records, struct slice group,
                        struct slice member);
void swrite_group_gone(struct coord_records *records,
                       const struct sgroup *group);

/* ---- answer.c ------------------------------------------------------------*/

struct coord_answer *sanswer_new(const struct coord_context *context,
                                 enum api_key api);
void sanswer_fail(struct coord_answer *answer, enum err err, const char *why);
void sanswer_send(struct sstep *step, struct coord_answer *answer);

/* ---- target.c ------------------------------------------------------------*/

/* The topics that a group subscribes to, by rising id. */
struct stopics {
    struct consumer_topic *items; /* in the arena */
    struct slice *names;          /* likewise */
    uint32_t len;
};

/* With `profile` instead of what `member` (may be NULL) says; NULL: without
 * that member. */
struct stopics sgroup_topics(const struct share_group_coord *coord,
                             const struct sgroup *group,
                             const struct smember *member,
                             const struct sprofile *profile,
                             struct arena *arena);
int64_t stopics_hash(const struct stopics *topics);

/* A plan for the target of an epoch. */
struct splan {
    const struct sgroup *group;
    const struct smember *member;   /* whose profile is another; NULL: new */
    struct slice id;                /* of that one; null: nobody changes */
    const struct sprofile *profile; /* NULL: that one leaves */
};

/* Writes what changes; the target of plan->id. */
struct parts sgroup_assign(struct sstep *step, const struct splan *plan,
                           struct coord_records *records, struct slice group_id,
                           int32_t epoch, struct arena *arena);
/* False: not before *left_ms. */
bool sgroup_may_assign(const struct sstep *step, const struct sgroup *group,
                       int64_t *left_ms);

/* ---- states.c ------------------------------------------------------------*/

/* Adds to `next` what of the topics the group never had; false: nothing. */
bool sstates_add_new(const struct sstates *now, const struct stopics *topics,
                     struct sstates *next, struct arena *arena);
/* Topics that are gone leave; share coordinators forget them by themselves.
 * False: there were none. */
bool sstates_drop_gone(const struct share_group_coord *coord,
                       struct sstates *next, struct arena *arena);
void sstates_clear(struct sstates *states);
/* Asks share coordinators for what the committed records want of them. */
void sgroup_ask(struct sstep *step, struct sgroup *group);
bool sstates_is_deleting(const struct sstates *states, struct uuid topic);
/* Share coordinators have nothing of the group. */
bool sstates_are_none(const struct sstates *states);

/* ---- heartbeat.c, describe.c, offsets.c ----------------------------------*/

void sheartbeat_request(struct sstep *step, const struct coord_context *context,
                        const struct share_group_heartbeat_request *request);
/* A member is gone. */
void smember_remove(struct sstep *step, struct smember *member,
                    struct coord_answer *answer);
/* The target is due. */
void sgroup_assign_now(struct sstep *step, struct sgroup *group);
void sdescribe_request(struct sstep *step, const struct coord_context *context,
                       const struct share_group_describe_request *request);
void soffsets_request(struct sstep *step, const struct coord_context *context,
                      enum api_key api, const void *request);
void soffsets_described(struct sstep *step, struct share_group_ask *ask);
void sdelete_request(struct sstep *step, const struct coord_context *context,
                     const struct delete_groups_request *request);
/* What waited for share coordinators is done. */
void sgroup_end_waiting(struct sstep *step, struct sgroup *group, enum err err);

#endif
