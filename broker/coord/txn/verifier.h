/* Are partitions part of their producers' transactions?  Asks the coordinators
 * for the partitions of this broker (KIP-890).
 *
 * Questions about one producer and partition are asked one after another and
 * answered in the order in which they came: a producer that the partition does
 * not know may begin with any sequence number, so a second batch must not hear
 * its yes before the first.  What waits behind a question that failed for a
 * passing reason fails with it.
 *
 * One request at a time goes to each coordinator; what comes meanwhile makes
 * the next one.
 *
 * A yes says how it was when the coordinator looked.  Whether the transaction
 * has ended since is for the partition to know, which gets the marker.
 *
 * Pure; any one thread. */
#ifndef BROKER_COORD_TXN_VERIFIER_H
#define BROKER_COORD_TXN_VERIFIER_H

#include "base/error.h"
#include "base/list.h"
#include "proto/kafka/kafka_messages.h"

/* Embedded by who asks, and kept until `done`. */
struct txn_question {
    struct list link;              /* the verifier's */
    struct slice transactional_id; /* borrowed until the end, as the topic */
    int64_t producer_id;
    int16_t producer_epoch;
    struct slice topic;
    int32_t partition;
    /* The client leaves it to the broker to add partitions (Produce 12,
     * TxnOffsetCommit 5): adds it.  Else only asks whether it was added. */
    bool add;
    /* The client knows TRANSACTION_ABORTABLE (Produce 11, TxnOffsetCommit 4);
     * others hear INVALID_TXN_STATE. */
    bool knows_abortable;
};

struct txn_verifier_options {
    /* A transaction that is being ended is asked again about after a pause,
     * for that long: add.partitions.to.txn.retry.backoff.ms and .max.ms. */
    int64_t retry_pause_ms;
    int64_t retry_max_ms;
};

/* AddPartitionsToTxn 5 for one coordinator. */
struct txn_verify_request {
    struct add_partitions_to_txn_request request;
    struct list chains; /* the verifier's */
    struct arena arena;
    int32_t broker;
};

struct txn_verifier_ops {
    /* Who coordinates the id now; -1: nobody known. */
    int32_t (*coordinator)(void *arg, struct slice transactional_id);
    /* To be sent, and ended by txn_verifier_answered(), not from inside. */
    void (*send)(void *arg, struct txn_verify_request *request);
    /* What the producer may be told; ERR_NONE: yes.  NOT_ENOUGH_REPLICAS when
     * the coordinator cannot say now, which old clients repeat, too.  May ask
     * again. */
    void (*done)(void *arg, struct txn_question *question, enum err error);
};

struct txn_verifier;

/* `ops` must outlive the verifier; `options` are copied. */
struct txn_verifier *
txn_verifier_new(const struct txn_verifier_options *options,
                 const struct txn_verifier_ops *ops, void *arg);
/* Questions and requests that are under way are forgotten: no `done`. */
void txn_verifier_free(struct txn_verifier *v);

void txn_verifier_ask(struct txn_verifier *v, struct txn_question *question,
                      int64_t now_ms);
/* Frees the request.  `error`: of the connection; then `response` may be
 * NULL. */
void txn_verifier_answered(
    struct txn_verifier *v, struct txn_verify_request *request, enum err error,
    const struct add_partitions_to_txn_response *response, int64_t now_ms);
/* For one that is not to be answered any more, before txn_verifier_free(). */
void txn_verify_request_free(struct txn_verify_request *request);
/* INT64_MAX: never. */
int64_t txn_verifier_next_deadline(const struct txn_verifier *v);
void txn_verifier_tick(struct txn_verifier *v, int64_t now_ms);

#endif
