/* Transactions as their clients saw them, and whether readers of committed
 * records may be shown what they were (KIP-98): all of a transaction that was
 * committed, nothing of others.
 *
 *   aborted-read    a record whose transaction was aborted, or whose commit
 *                   nobody asked for, was read as committed
 *   torn            some records of a transaction are in the end there, and
 *                   others are not
 *   txn-lost        a transaction whose commit was acknowledged is not there
 *   txn-order       within a partition, records of one client were read twice,
 *                   or an earlier after a later one
 *   txn-offsets     the group's offset is not that of the last transaction that
 *                   was committed
 *   txn-gap         a batch whose predecessors were acknowledged was refused as
 *                   out of order the first time it was sent
 *   hanging         after all is healed and every client has ended what it
 * began, a transaction is still open (by its caller)
 *
 * Violations go to the history, whose promise counts: with unclean elections
 * nothing is judged.
 *
 * Thread: one.  Numbers of clients and readers are the caller's, small. */
#ifndef TESTS_SIM_LOAD_TXN_HISTORY_H
#define TESTS_SIM_LOAD_TXN_HISTORY_H

#include "tests/sim/load/history.h"

struct txn_history;

struct txn_history *txn_history_new(struct history *h, bool unclean_possible);
void txn_history_free(struct txn_history *t);

/* ---- writing ------------------------------------------------------------- */

/* A transaction begins; returns its number, which rises by one from 0 per
 * client. */
int32_t txn_history_begin(struct txn_history *t, int client);
/* Before the first attempt to send so many records of it. */
void txn_history_sent(struct txn_history *t, int client, int32_t txn,
                      int records);
/* Its offsets in a group: `txn` itself.  Before the first attempt. */
void txn_history_offset(struct txn_history *t, int client, int32_t txn);
/* A batch was refused as out of order, and was not. */
void txn_history_gap(struct txn_history *t, int client, int32_t txn,
                     int32_t partition);
/* Before the first attempt to commit it. */
void txn_history_commits(struct txn_history *t, int client, int32_t txn);
/* That was acknowledged; or that it was aborted. */
void txn_history_ended(struct txn_history *t, int client, int32_t txn,
                       bool committed);

/* ---- reading ------------------------------------------------------------- */

struct txn_history_id {
    int client;
    int32_t txn;
    int32_t index; /* among all records of the transaction */
};

/* A record's value. */
void txn_history_put(struct buf *out, struct txn_history_id id);
bool txn_history_parse(struct slice value, struct txn_history_id *id);

/* A reader of committed records, which reads each partition from the start.
 * The number of the one that reads everything in the end is this. */
enum { TXN_HISTORY_FINAL = 0 };
void txn_history_read(struct txn_history *t, int reader, int32_t partition,
                      int64_t offset, struct txn_history_id id);
/* The final reader has read everything. */
void txn_history_judge(struct txn_history *t);
/* Then: what the group holds for the client; -1: nothing. */
void txn_history_judge_offset(struct txn_history *t, int client,
                              int64_t offset);

/* ---- progress ------------------------------------------------------------ */

struct txn_history_counts {
    uint64_t begun, committed, aborted, unknown, read;
};
const struct txn_history_counts *
txn_history_counts(const struct txn_history *t);

#endif
