/* Is a partition part of a transaction?  (KIP-890)
 *
 * Before the first batch of a transaction is appended to a partition, the
 * transaction's coordinator is to be asked, or a batch that comes late opens a
 * transaction that nobody ends.  The question is AddPartitionsToTxn with
 * VerifyOnly; from Produce 12 on, where clients add no partitions themselves,
 * the same without it.
 *
 * This is the one place where Produce waits for that answer.  Answers for one
 * producer and partition must come in the order of the questions: an unknown
 * producer may begin with any sequence number, so its second batch would be
 * taken if it came first.
 *
 * There is no coordinator yet, so nobody is asked and every transaction goes
 * ahead, as under transaction.partition.verification.enable=false. */
#ifndef BROKER_TXN_VERIFY_H
#define BROKER_TXN_VERIFY_H

#include "base/error.h"
#include "base/slice.h"
#include "base/uuid.h"

struct shard;

struct txn_verify {
    struct shard *shard; /* the partition's; `done` comes on its thread */
    int16_t api_version; /* of Produce */
    struct slice transactional_id; /* valid until `done` */
    int64_t producer_id;
    int16_t producer_epoch;
    struct uuid topic_id;
    int32_t partition;
    /* What the producer is to hear, ERR_NONE: append.  At once, from inside,
     * or later.  Not in the transaction: TRANSACTION_ABORTABLE, before Produce
     * 11 INVALID_TXN_STATE; a later epoch: INVALID_PRODUCER_EPOCH; the
     * coordinator cannot say now: NOT_ENOUGH_REPLICAS, which old clients
     * repeat, too. */
    void (*done)(struct txn_verify *v, enum err error);
};

void txn_verify(struct txn_verify *v);

#endif
