/* What all threads of a broker share.  Everything here is set before the
 * threads start and constant afterwards, but for the atomics. */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "base/env.h"
#include "base/map.h"
#include "base/rate.h"
#include "base/uuid.h"
#include "broker/config.h"
#include "broker/throttle.h"

#include <stdatomic.h>

struct shard;
struct live;
struct meta;
struct kv;

struct broker {
    const struct server_config *config;
    int32_t node_id;
    const char *cluster_id;
    struct uuid incarnation;
    _Atomic int64_t epoch; /* from the controller; -1 before registration */
    _Atomic bool stopping; /* controlled shutdown has begun */
    int64_t started_wall_ms;

    struct shard **shards;
    int shards_len;
    struct meta *meta;
    /* The metadata thread has another configuration; NULL: nobody asks. */
    void (*reconfigured)(void *arg, const struct live *now);
    void *reconfigured_arg;
    struct rate replicated[THROTTLE_SIDES]; /* throttle.h */
    _Atomic int cleanings;                  /* that run; see cleaner.h */
    _Atomic int moves;                      /* that copy; see replica/move.h */

    /* One entry for each of config's log.dirs, same order. */
    struct log_dir {
        const char *path;
        struct uuid id;
        bool clean;         /* the last shutdown was clean */
        int64_t stopped_ms; /* and when, by the wall clock */
        /* Starts after a stop that was not; checkpoint_count_start(). */
        int64_t unclean_starts;
        bool start_counted;
        struct kv *checkpoints;
        /* It is in the place of one that was damaged, since this start or an
         * earlier one. */
        bool checkpoints_lost;
        struct env_file *lock;
        struct cleaner_file *cleaned; /* cleaner_file.h */
        /* Given up until the next start; checkpoints is NULL if it was at the
         * start of this one. */
        _Atomic bool failed;
        _Atomic int replicas; /* that are here */
        /* How many were taken away since the start, and how many plus one
         * surely stay away after a power loss; 0: nor what the process before
         * took away. */
        _Atomic uint64_t removed, removed_synced;
    } * log_dirs;
    int log_dirs_len;
    /* TOPIC-PARTITION -> struct log_dir it was being moved to when the process
     * before ended. */
    struct map futures;
};

static inline bool log_dir_failed(const struct log_dir *dir)
{
    return atomic_load_explicit(&dir->failed, memory_order_relaxed);
}

/* The shard that owns a partition; the same on every thread, and for equal
 * shard counts on every broker. */
static inline int broker_shard_of(const struct broker *b,
                                  const struct uuid *topic_id,
                                  int32_t partition)
{
    return (int)((be32_get(topic_id->bytes) + (uint32_t)partition) %
                 (uint32_t)b->shards_len);
}

#endif
