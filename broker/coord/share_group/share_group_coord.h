/* The coordinator of share groups (KIP-932) of one __consumer_offsets
 * partition: their members, what each fetches from, and which share-partitions
 * have a state at the share coordinator (../share/share_coord.h).
 *
 * A pure state machine.  A request, the end of a write, what share coordinators
 * answered, or the passing of time goes in, and an update comes out: answers to
 * send now, writes, which are records for the partition with the answer that
 * waits for their commit, and what share coordinators are to be asked.  It
 * reads no clock and draws no random numbers, does no I/O, and has no globals.
 * One thread owns it.
 *
 * Happy path: a member joins with a heartbeat of epoch 0 that says which topics
 * it subscribes to.  That bumps the group's epoch.  Partitions that the group
 * never had are written down as initializing; when that is committed, their
 * states are initialized, which is written down, too, and bumps the epoch
 * again.  The assignor shares out what is initialized, and each member takes
 * its part of the target at once, by its next heartbeat: partitions may have
 * several members, so nobody waits for anybody to give something up.
 *
 * State changes by share_group_replay() alone, live as soon as a record is in
 * the log, so that one decision sees the one before.  An answer leaves when
 * everything that it rests on is committed.
 *
 * Share coordinators are asked about one group once at a time: first what is to
 * be deleted, then what is to be initialized.  What fails is asked again after
 * a pause.  So is what a coordinator before this one may have asked: that a
 * state begins anew is harmless until members have been told of it, and they
 * are told of what is initialized only.
 *
 * Sessions do not survive; a new coordinator starts them over. */
#ifndef BROKER_COORD_SHARE_GROUP_SHARE_GROUP_COORD_H
#define BROKER_COORD_SHARE_GROUP_SHARE_GROUP_COORD_H

#include "broker/coord/consumer/consumer_coord.h"
#include "broker/coord/coord.h"

struct share_group_coord;

/* Names as in server.properties, without group.share., except for the last. */
struct share_group_config {
    int32_t max_size;                     /* 200 */
    int32_t session_timeout_ms;           /* 45000 */
    int32_t heartbeat_interval_ms;        /* 5000 */
    int32_t assignment_interval_ms;       /* 1000; 0: none */
    int32_t initialize_retry_interval_ms; /* 30000 */
    /* Rises when any topic is made, deleted, or gets more partitions; `arg` is
     * the world's.  NULL: that never happens. */
    uint64_t (*topic_changes)(void *arg);
    size_t members_max_bytes; /* 256 MiB; of groups, too */
    /* Partitions that DescribeShareGroupOffsets asks share coordinators about
     * at once: a few bytes name a group, with all that it has. */
    size_t describing_max; /* 100000 */
};

void share_group_config_init(struct share_group_config *config);

/* What is to be asked of share coordinators about one group.  The caller asks
 * for each item, fills in what it heard, and gives it back by
 * share_group_asked(), also after share_group_resign(). */
struct share_group_ask {
    struct list link; /* in the update */
    enum api_key api; /* Initialize-, Delete-, ReadShareGroupStateSummary */
    struct slice group;
    struct share_group_item {
        struct uuid topic;
        int32_t partition;
        int32_t state_epoch;
        int64_t start_offset;
        /* ---- heard -------------------------------------------------------*/
        enum err err;
        int32_t leader_epoch;
        int32_t complete; /* deliveries; -1: not known */
    } * items;
    uint32_t items_len;
    /* ---- the core's ------------------------------------------------------*/
    struct coord_answer *answer; /* that waits for it, or NULL */
    struct arena arena;          /* all of the above */
};

void share_group_ask_free(struct share_group_ask *ask);
/* It is not asked, or there is nobody to come back to: frees it, and returns
 * the answer that waited for it, with the error, or NULL. */
struct coord_answer *share_group_ask_end(struct share_group_ask *ask,
                                         enum err err);

/* ---- life -----------------------------------------------------------------*/

/* Copies both.  Of `world` topics and timeouts are asked. */
struct share_group_coord *
share_group_create(const struct share_group_config *config,
                   const struct consumer_world *world);
void share_group_free(struct share_group_coord *coord);
/* Everything is replayed. */
void share_group_activate(struct share_group_coord *coord,
                          struct coord_time time, struct coord_update *update);
/* Leadership is lost: answers that wait for share coordinators say so. */
void share_group_resign(struct share_group_coord *coord,
                        struct coord_update *update);

/* ---- records, writes ------------------------------------------------------*/

/* See consumer_coord_replay(). */
enum err share_group_replay(struct share_group_coord *coord, struct slice key,
                            struct slice value);
/* Records [first, first + count) of the write are in the log. */
void share_group_appended(struct share_group_coord *coord,
                          struct coord_pending *pending, uint32_t first,
                          uint32_t count, struct coord_time time);
/* The end of a write.  Takes it. */
void share_group_done(struct share_group_coord *coord,
                      struct coord_pending *pending, enum err err,
                      struct coord_time time, struct coord_update *update);

/* ---- events ---------------------------------------------------------------*/

/* ShareGroupHeartbeat, ShareGroupDescribe, DescribeShareGroupOffsets,
 * AlterShareGroupOffsets, DeleteShareGroupOffsets, and DeleteGroups of one
 * group that share_group_presence() knows.  The `lag` of a partition with a
 * start offset is the number of its deliveries that are complete, or -1: where
 * partitions end is for the caller to find out (broker/share_lag.h). */
void share_group_request(struct share_group_coord *coord,
                         const struct coord_context *context, enum api_key api,
                         const void *request, struct coord_update *update);
struct coord_answer *share_group_refuse(const struct coord_context *context,
                                        enum api_key api, const void *request,
                                        enum err err);
/* What share coordinators said.  Takes it. */
void share_group_asked(struct share_group_coord *coord,
                       struct share_group_ask *ask, struct coord_time time,
                       struct coord_update *update);

int64_t share_group_next_deadline(const struct share_group_coord *coord);
/* Fires one timer that is due. */
void share_group_tick(struct share_group_coord *coord, struct coord_time time,
                      struct coord_update *update);

/* ---- for groups of other kinds --------------------------------------------*/

/* A group with states at share coordinators never gives its name away, so it
 * is as one with members. */
enum group_presence share_group_presence(const struct share_group_coord *coord,
                                         struct slice group);
/* The group that this heartbeat would make; null: none. */
struct slice
share_group_claims(const struct share_group_heartbeat_request *request);
/* The tombstones of an empty group without states. */
void share_group_delete_records(const struct share_group_coord *coord,
                                struct slice group,
                                struct coord_records *records);
bool share_group_subscribes(const struct share_group_coord *coord,
                            struct slice group, struct slice topic);

/* ---- looking inside -------------------------------------------------------*/

/* See consumer_coord_list(). */
struct list_groups_response_listed_group *
share_group_list(const struct share_group_coord *coord,
                 const struct list_groups_request *request, struct arena *arena,
                 int32_t *len);
/* Aborts if an invariant is broken.  Slow. */
void share_group_check(const struct share_group_coord *coord);
/* The surviving state as text, sorted. */
void share_group_dump(const struct share_group_coord *coord, struct buf *out);

#endif
