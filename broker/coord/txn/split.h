/* Requests that concern several partitions of __transaction_state:
 * AddPartitionsToTxn from version 4 on and DescribeTransactions name several
 * ids, ListTransactions none.  They go to the coordinators in pieces, and the
 * answers come back together.
 *
 * Pure; any one thread. */
#ifndef BROKER_COORD_TXN_SPLIT_H
#define BROKER_COORD_TXN_SPLIT_H

#include "broker/coord/txn/txn_coord.h"

/* The partition of a request that names one id: InitProducerId,
 * AddPartitionsToTxn up to version 3, AddOffsetsToTxn, EndTxn.
 * partitions > 0. */
int32_t txn_partition_of(enum api_key api, const void *request,
                         int32_t partitions);

/* What one coordinator is asked. */
struct txn_piece {
    int32_t partition;
    const int32_t *places; /* of its ids in the whole request, rising */
    int32_t len;           /* of places */
    union {
        struct add_partitions_to_txn_request add_partitions_to_txn;
        struct describe_transactions_request describe_transactions;
    } request;
};

/* The pieces of an AddPartitionsToTxn (from version 4 on) or
 * DescribeTransactions, by rising place of their first id, in `arena`; they
 * point into `request`.  *len: how many. */
struct txn_piece *txn_split(enum api_key api, const void *request,
                            int32_t partitions, struct arena *arena,
                            int32_t *len);

/* Puts a piece's answer into the whole one, which begins as
 * txn_refuse(..., ERR_NONE) of the whole request.  Copies; both stay their
 * owners'. */
void txn_gather(struct txn_answer *whole, const struct txn_piece *piece,
                const struct txn_answer *answer);

/* The same for ListTransactions, whose whole answer begins as the answer of any
 * coordinator, or as txn_refuse(..., ERR_NONE).  An error stays: a list that is
 * not complete is not told (KIP-664). */
void txn_gather_list(struct txn_answer *whole, const struct txn_answer *answer);

#endif
