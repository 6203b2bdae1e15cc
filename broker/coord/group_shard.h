/* The groups of one __consumer_offsets partition that this broker leads, ready
 * to be called by the broker: the coordinators, their runtime, and the loading.
 *
 *     coordinators (group_kind.h)  decide, one for each kind of groups
 *     runtime (runtime.h)          appends, waits
 *     group_shard                  carries updates out, in one order: append,
 *                                  replay, answer; says whose a name is
 *
 * Life: group_shard_create() when the partition gets its leader here: the shard
 * is loading and answers COORDINATOR_LOAD_IN_PROGRESS.  The partition's records
 * go through a group_loader (loader.h), on any thread, in pieces;
 * group_shard_activate() takes the result.  group_shard_resign() at the loss of
 * leadership answers everything that waits with NOT_COORDINATOR, and every
 * later request at once; then free it.
 *
 * One thread, the partition's owner, except for the loader. */
#ifndef BROKER_COORD_GROUP_SHARD_H
#define BROKER_COORD_GROUP_SHARD_H

#include "broker/coord/group_kind.h"
#include "broker/coord/loader.h"

struct group_shard;

struct group_shard_ops {
    /* Appends one batch to the partition with acks=all; may patch it in
     * place.  Errors as the partition's leader reports them.  May call
     * group_shard_committed(), but not resign or free the shard. */
    enum err (*append)(void *arg, uint8_t *batch, size_t len,
                       int64_t *base_offset);
    /* An answer; the callee owns it.  Comes at the end of a call below, perhaps
     * of the group_shard_request() that it answers.  The callee may make the
     * next request, but not resign or free the shard. */
    void (*answer)(void *arg, struct coord_answer *answer);
    /* group_shard_next_deadline() may have become earlier.  May be NULL. */
    void (*deadline)(void *arg);
    /* Regexes to be matched; the callee owns the lookup, and gives it back by
     * group_shard_looked_up(), not from inside.  May be NULL: none is. */
    void (*look_up)(void *arg, struct consumer_lookup *lookup);
    /* What is to be asked of share coordinators; the callee owns it, and gives
     * it back by group_shard_asked(), not from inside.  May be NULL: nothing
     * is. */
    void (*ask)(void *arg, struct share_group_ask *ask);
    /* Internal topics of a streams group to be made; the callee owns it, and
     * says by group_shard_not_made() if it cannot, not from inside.  May be
     * NULL: none is. */
    void (*make)(void *arg, struct streams_creation *creation);
};

/* `ops` must outlive the shard; `options` are copied. */
struct group_shard *
group_shard_create(const struct group_shard_options *options,
                   const struct group_shard_ops *ops, void *arg);
/* Only after group_shard_resign(), or while still loading. */
void group_shard_free(struct group_shard *shard);

/* ---- the two ends of leadership ------------------------------------------*/

/* Takes over the loader, which has seen everything below end_offset. */
void group_shard_activate(struct group_shard *shard,
                          struct group_loader *loader, int64_t end_offset,
                          int64_t high_watermark, int64_t topics_version,
                          struct coord_time time);
void group_shard_resign(struct group_shard *shard, struct coord_time time);

/* ---- events ---------------------------------------------------------------*/

/* See coord_request(), and the other kinds' functions.  ListGroups and
 * DescribeGroups see groups of all kinds. */
void group_shard_request(struct group_shard *shard,
                         const struct coord_context *context, enum api_key api,
                         const void *request);
/* Whose such a request is now. */
enum group_kind_id group_shard_kind(const struct group_shard *shard,
                                    enum api_key api, const void *request);
/* At the end of a turn of the loop: appends the commits that it collected. */
void group_shard_flush(struct group_shard *shard, struct coord_time time);
void group_shard_committed(struct group_shard *shard, int64_t high_watermark,
                           struct coord_time time);
/* Another one wrote a transaction's end into the partition, at `offset`. */
void group_shard_marker(struct group_shard *shard, int64_t producer_id,
                        bool committed, int64_t offset, struct coord_time time);
/* Also while loading: its offsets are deleted when that is done. */
void group_shard_topic_deleted(struct group_shard *shard, struct slice topic,
                               struct coord_time time);
/* See consumer_coord_topic_changed(): for deleted topics, too. */
void group_shard_topic_changed(struct group_shard *shard, struct slice topic,
                               int64_t topics_version, struct coord_time time);
/* Takes the lookup, also after group_shard_resign(). */
void group_shard_looked_up(struct group_shard *shard,
                           struct consumer_lookup *lookup,
                           int64_t topics_version, struct coord_time time);
/* Takes the ask, also after group_shard_resign(). */
void group_shard_asked(struct group_shard *shard, struct share_group_ask *ask,
                       struct coord_time time);
/* Internal topics of a streams group could not be made; `why` for people. */
void group_shard_not_made(struct group_shard *shard, struct slice group,
                          struct slice why, struct coord_time time);
/* Monotonic; INT64_MIN: now; INT64_MAX: never. */
int64_t group_shard_next_deadline(const struct group_shard *shard);
void group_shard_tick(struct group_shard *shard, struct coord_time time);

/* NULL while loading.  For metrics and tests. */
const struct coord *group_shard_coord(const struct group_shard *shard);
const struct group_cores *group_shard_cores(const struct group_shard *shard);

#endif
