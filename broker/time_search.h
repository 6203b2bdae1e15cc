/* Searches by time for ListOffsets, on helpers: a loop has better things to do
 * than to read what may not be in memory and to unpack whole batches.
 *
 * A shard has one at a time under way, so that helpers are there for others,
 * and goes on with the next of its list after each segment. */
#ifndef BROKER_TIME_SEARCH_H
#define BROKER_TIME_SEARCH_H

#include "broker/replica/partition.h"

#include <stdatomic.h>

struct time_search {
    /* Set by the caller. */
    int64_t timestamp; /* or LOG_GREATEST_TIMESTAMP */
    int64_t end_offset;
    int32_t current_leader_epoch;
    const _Atomic bool *unwanted; /* nobody waits for it any more */
    void (*done)(struct time_search *t);
    void *arg;
    /* The result. */
    enum err error;
    struct log_timestamp_offset found;

    /* The rest is time_search.c's. */
    struct list link; /* in shard->time_searches */
    struct env_work work;
    struct shard *shard;
    struct uuid topic_id;
    int32_t index;
    int64_t from;
    struct log_search *search;
};

/* On p's shard.  `done` follows there, once; it may free t. */
void time_search_start(struct time_search *t, struct partition *p);

#endif
