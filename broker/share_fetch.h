/* Where a ShareFetch takes records: the partitions of its session, shard after
 * shard, until there are enough or time is up.
 *
 * A walk goes to each shard that owns some of the partitions and comes home.
 * One that finds nothing leaves a watch on each share-partition; the first news
 * begins the next walk.  The last walk takes the watches away.
 *
 * The limits of the request are those of the walk, so a shard takes what the
 * ones before it have left; each fetch begins with the partition that was
 * served longest ago. */
#ifndef BROKER_SHARE_FETCH_H
#define BROKER_SHARE_FETCH_H

#include "broker/share_home.h"
#include "broker/share_lead.h"

/* One partition: its owner's while a walk is there, else the home's. */
struct share_fetched {
    struct share_watch watch; /* first */
    struct share_fetch *fetch;
    struct share_session_name name;
    int stop; /* index */
    struct share_taken taken;
    enum err err;
    int32_t leader; /* with NOT_LEADER_OR_FOLLOWER; -1: not known */
    int32_t leader_epoch;
};

/* A shard on the way. */
struct share_stop {
    struct share_fetch *fetch;
    struct shard *shard;
    struct share_fetched **items;
    int items_len;
    bool armed; /* owner's: some item has a watch */
    struct env_task wake;
    _Atomic bool wake_out;
};

/* Embedded in the request's arena; owner sets the first part. */
struct share_fetch {
    struct share_call *call;
    int64_t min_bytes;
    int64_t max_bytes;
    int64_t max_wait_ms;
    int32_t max_records;
    int32_t batch_size;
    enum share_acquire_mode mode;
    void (*done)(struct share_fetch *fetch); /* home thread */
    /* ---- the result ------------------------------------------------------*/
    struct share_fetched *items; /* in the session's order */
    int items_len;
    /* ---- share_fetch.c's -------------------------------------------------*/
    enum { SHARE_WALK_LOOK, SHARE_WALK_TAKE, SHARE_WALK_LEAVE } walk;
    bool walking;
    bool again;   /* news came during the walk */
    bool last;    /* time is up, or nobody waits any more */
    bool found;   /* enough to answer */
    bool watched; /* the walk has left watches */
    struct share_stop *stops;
    int stops_len;
    int at; /* the stop of the walk */
    struct env_task task;
    struct env_timer timer;
    int64_t deadline_ms;
    int32_t records_left;
    int64_t bytes_left;
    int64_t readable_bytes;
};

/* The call's session is there. `done` comes later, or from inside. */
void share_fetch_start(struct share_fetch *fetch);
/* Nobody waits for the answer any more. */
void share_fetch_cancel(struct share_fetch *fetch);

#endif
