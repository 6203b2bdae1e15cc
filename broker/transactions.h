/* Transaction coordinators on the partitions of __transaction_state. */
#ifndef BROKER_TRANSACTIONS_H
#define BROKER_TRANSACTIONS_H

#include "broker/coord/txn/txn_coord.h"
#include "broker/coord_host.h"

#define TXN_TOPIC "__transaction_state"

/* One call to one coordinator. */
struct txn_call {
    struct coord_call call;
    enum api_key api;
    int16_t version;
    const void *msg; /* in the request's arena; ids of one partition */
    struct txn_answer *answer; /* never NULL when it returns; home frees it */
    void *arg;
};

/* Home thread.  `returned` comes later, on the home thread; at once, from
 * inside, if the coordinator is here and decides at once. */
void txn_call_start(struct txn_call *call);

/* ---- for txn_client.c, on the thread of the coordinator's partition
 * --------*/

/* What became of a coordinator's markers; takes them. */
void transactions_markers_done(struct shard *s, struct list *markers);
/* Producer ids for the coordinator of that partition, if it is still here. */
void transactions_give_ids(struct shard *s, int32_t partition, int64_t first,
                           int32_t count);

#endif
