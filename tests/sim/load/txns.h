/* Clients with transactions, readers of what they committed, and the final look
 * at both; apart from the rest of the workload, on a topic of their own.
 *
 * A client has one transaction after another: records for some partitions, and
 * at times an offset in a group, in the protocol before KIP-890's second part
 * or in that one.  Some end in an abort, and now and then a client dies in the
 * middle, and comes back under the same transactional id, or doesn't.
 *
 * Thread: the loop's. */
#ifndef TESTS_SIM_LOAD_TXNS_H
#define TESTS_SIM_LOAD_TXNS_H

#include "tests/sim/load/client.h"
#include "tests/sim/load/history.h"
#include "tests/sim/load/txn_history.h"

struct load_txns_options {
    const char *space; /* begins all names; outlives the object */
    int clients;
    int readers;
    int32_t partitions;
    int16_t replication_factor;
    int64_t interval_ms; /* between transactions, on average */
    int32_t timeout_ms;  /* transaction.timeout.ms */
    bool offsets;
    bool deaths;
    bool second;    /* KIP-890's second part: an epoch for each transaction */
    bool compacted; /* each record has a key of its own */
    int64_t retention_ms; /* of markers in it; 0: the brokers' */
    bool vanish;          /* the last client dies in a transaction, for good */
    bool hasty;           /* some abort while a batch waits for its answer */
    bool trains;          /* several batches wait for their answers at once */
    bool unclean_possible;
};

struct load_txns;

struct load_txns *load_txns_new(struct env *env, uint64_t seed,
                                const struct load_client_options *client,
                                struct history *history,
                                const struct load_txns_options *options);
void load_txns_free(struct load_txns *t);
void load_txns_start(struct load_txns *t);
const struct txn_history_counts *load_txns_counts(const struct load_txns *t);
/* Each ends what it has begun. */
void load_txns_stop(struct load_txns *t);
bool load_txns_is_quiet(const struct load_txns *t);
/* Reads and judges everything, then calls done. */
void load_txns_final(struct load_txns *t, void (*done)(void *arg), void *arg);
/* The final read did not end: says what is missing. */
void load_txns_complain(struct load_txns *t);

#endif
