/* Group coordinators on the partitions of __consumer_offsets. */
#ifndef BROKER_COORDINATORS_H
#define BROKER_COORDINATORS_H

#include "broker/coord/consumer/consumer_coord.h"
#include "broker/coord_host.h"
#include "broker/txn_verify.h"

#define GROUP_TOPIC "__consumer_offsets"

/* A transaction is to be ended there: COORDINATOR_LOAD_IN_PROGRESS, or what was
 * collected goes into the log before the marker. */
enum err coordinators_before_marker(struct partition *p);
/* It was, by a marker at `offset`: the offsets committed in it count, or not.
 */
void coordinators_marker(struct partition *p, const struct control_marker *m,
                         int64_t offset);
/* A topic is gone: its committed offsets go, too. */
void coordinators_topic_deleted(struct shard *s, const char *topic);
/* A topic was made, is gone, or has more partitions; s->metadata_index says so.
 */
void coordinators_topic_changed(struct shard *s, const char *topic);
/* What the regexes of a group match; takes the lookup. */
void coordinators_looked_up(struct shard *s, int32_t partition,
                            struct consumer_lookup *lookup,
                            int64_t topics_version);

/* One call to one coordinator. */
struct group_call {
    struct coord_call call;
    enum api_key api;
    const void *msg;             /* in the request's arena; one group only */
    struct coord_answer *answer; /* never NULL when it returns; home frees it */
    bool *answered;              /* coordinators.c's, while it asks */
    struct txn_verify verify;    /* TxnOffsetCommit */
    struct slice transactional_id; /* likewise */
    void *arg;
};

/* Home thread. `returned` comes later, on the home thread; at once, from
 * inside, if the coordinator is here and decides at once. */
void group_call_start(struct group_call *call);

#endif
