/* Group coordinators on the partitions of __consumer_offsets: the joint between
 * broker/coord (pure) and the partition that stores its records.
 *
 * When this replica begins to lead, the partition's records are read back in
 * pieces, a piece per turn of the loop, and until that is done requests hear
 * COORDINATOR_LOAD_IN_PROGRESS. All on the partition's shard. */
#ifndef BROKER_COORDINATORS_H
#define BROKER_COORDINATORS_H

#include "broker/coord/coord.h"
#include "broker/replica/partition.h"

#define GROUP_TOPIC "__consumer_offsets"

struct request;

/* This replica began to lead; does nothing for other topics. */
void coordinators_elected(struct partition *p);
/* It lost the lead (or goes away): answers what is parked. */
void coordinators_lost(struct partition *p);
/* Its high watermark moved. */
void coordinators_committed(struct partition *p);
/* A transaction is to be ended there: COORDINATOR_LOAD_IN_PROGRESS, or what was
 * collected goes into the log before the marker. */
enum err coordinators_before_marker(struct partition *p);
/* It was, by a marker at `offset`: the offsets committed in it count, or not.
 */
void coordinators_marker(struct partition *p, const struct control_marker *m,
                         int64_t offset);
/* A topic is gone: its committed offsets go, too. */
void coordinators_topic_deleted(struct shard *s, const char *topic);

/* One call to one coordinator, from home to the owner's shard and back. */
struct group_call {
    struct env_task task;
    struct request *request; /* whose home gets `returned` */
    struct shard *owner;     /* set by group_call_start */
    int32_t partition;       /* of GROUP_TOPIC; -1: there is no such topic */
    enum api_key api;
    const void *msg;             /* in the request's arena; one group only */
    struct coord_answer *answer; /* never NULL when it returns; home frees it */
    void (*returned)(struct group_call *call);
    void *arg;
};

/* Home thread. `returned` comes later, on the home thread; at once, from
 * inside, if the coordinator is here and decides at once. */
void group_call_start(struct group_call *call);

#endif
