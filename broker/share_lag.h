/* How far share groups are behind (KIP-1226): the lag of each partition that
 * DescribeShareGroupOffsets tells of, from 1 on.
 *
 * The group's coordinator knows where the group begins and how many deliveries
 * behind that are complete; where the partition ends its leader knows.  Leaders
 * are asked from the metadata thread, whose image says who they are, all
 * partitions of one leader together; this broker's own partitions are asked in
 * the same way, by a connection to itself.
 *
 * Nothing is asked twice: the lag of a partition whose leader is not known,
 * refuses, or does not answer in time is not known either. */
#ifndef BROKER_SHARE_LAG_H
#define BROKER_SHARE_LAG_H

#include "base/env.h"
#include "proto/kafka/kafka_messages.h"

struct arena;
struct meta;
struct shard;
struct share_lag;
struct share_lag_end;

/* Embedded by its owner, and kept until it is done. */
struct share_lag_call {
    struct shard *shard; /* whose thread asks and hears */
    struct describe_share_group_offsets_response *response; /* borrowed */
    void (*done)(struct share_lag_call *call);
    /* ---- share_lag.c's ---------------------------------------------------*/
    struct env_task task;
    struct share_lag_end *ends;
    int32_t ends_len;
    int32_t pending; /* requests under way; +1 while they are made */
};

/* The shard's thread.  What a coordinator left in each `lag`, the number of
 * complete deliveries or -1 (coord/share_group/share_group_coord.h), becomes
 * the lag; -1: not known.  `done` comes from inside if nothing is to be asked.
 * Not answered any more once the node stops. */
void share_lag_start(struct share_lag_call *call, struct arena *arena);

/* ---- for meta.c, on the metadata thread ----------------------------------*/

struct share_lag *share_lag_new(struct meta *m);
/* Closes the connections.  What is under way is forgotten. */
void share_lag_stop(struct share_lag *l);
/* When no task can arrive any more, see meta_free(). */
void share_lag_free(struct share_lag *l);

#endif
