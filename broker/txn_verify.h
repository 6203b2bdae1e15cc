/* Is a partition part of a transaction?  (KIP-890)
 *
 * Before the first batch of a transaction is appended to a partition, the
 * transaction's coordinator is asked, or a batch that comes late opens a
 * transaction that nobody ends.  The question is AddPartitionsToTxn with
 * VerifyOnly; where clients add no partitions themselves (Produce 12,
 * TxnOffsetCommit 5), the same without it.
 *
 * This is the one place where an append waits for that answer.  What a producer
 * has sent behind it waits, too, although the transaction may be open by then:
 * answers for one producer and partition come in the order of the questions,
 * and nothing overtakes them.  Only the first is asked about; those behind it
 * once it is answered, if the transaction is not open then.  A marker for the
 * transaction that is written while the answer is on its way makes it
 * worthless: what it speaks of has ended. */
#ifndef BROKER_TXN_VERIFY_H
#define BROKER_TXN_VERIFY_H

#include "base/env.h"
#include "base/error.h"
#include "base/uuid.h"
#include "broker/coord/txn/verifier.h"

struct control_marker;
struct partition;
struct shard;

struct txn_verify {
    struct txn_question question; /* filled in by the caller but for `link` */
    struct uuid topic_id;
    /* What the producer is to hear, ERR_NONE: append.  At once, from inside,
     * or later, on the partition's thread.  p is NULL when the partition has
     * gone.  Not in the transaction: TRANSACTION_ABORTABLE or
     * INVALID_TXN_STATE; a later epoch: INVALID_PRODUCER_EPOCH; the coordinator
     * cannot say now: NOT_ENOUGH_REPLICAS, or CONCURRENT_TRANSACTIONS. */
    void (*done)(struct txn_verify *v, struct partition *p, enum err error);
    /* The rest is not the caller's. */
    struct env_task task;
    struct shard *shard;
    struct partition *partition; /* where it is the first of its producer; NULL
                                    when it is not, or that has gone */
    struct list behind;          /* of the same producer, not asked about yet */
    struct list link;            /* in another one's `behind` */
    int32_t leader_epoch;
    bool ended; /* a marker came meanwhile */
    enum err error;
};

/* On p's thread.  transaction.partition.verification.enable=false: says yes
 * without asking, but where partitions are to be added. */
void txn_verify(struct txn_verify *v, struct partition *p);
/* A marker was written; transaction_version as in WriteTxnMarkers. */
void txn_verify_ended(struct partition *p, const struct control_marker *m,
                      int8_t transaction_version);
/* The partition goes away. */
void txn_verify_forget(struct partition *p);

/* Would a batch of this producer open a transaction there, or is there one
 * before it that may?  Then it goes through txn_verify(). */
bool txn_verify_needed(const struct partition *p, int64_t producer_id,
                       int16_t producer_epoch);

/* Requests whose records wait here do not count among those that their shard
 * has in hand, or who asks might find no room where the question arrives, and
 * everybody else would suffer from a coordinator that is silent.  False: as
 * many wait for `home`, the shard of the request, as may; they are to come
 * again.  Any thread. */
bool txn_verify_take_room(struct shard *home, size_t bytes);
void txn_verify_give_room(struct shard *home, size_t bytes);

/* ---- for txn_client.c ------------------------------------------------------
 * v->error is set; on v->shard's thread. */
void txn_verify_answered(struct env_task *task);

#endif
