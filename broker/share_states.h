/* Share coordinators on the partitions of __share_group_state. */
#ifndef BROKER_SHARE_STATES_H
#define BROKER_SHARE_STATES_H

#include "broker/coord/share/split.h"
#include "broker/coord_host.h"

#define SHARE_STATE_TOPIC "__share_group_state"

/* A topic is gone: what is stored of its share-partitions goes, too. */
void share_states_topic_deleted(struct shard *s, const struct uuid *topic);

/* One call to one coordinator. */
struct share_state_call {
    struct coord_call call;
    struct share_answer *piece; /* there and, answered, back; home's */
    void *arg;
};

/* Home thread.  `returned` comes later, on the home thread; at once, from
 * inside, if the coordinator is here and decides at once. */
void share_state_call_start(struct share_state_call *call);

#endif
