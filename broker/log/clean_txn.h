/* What cleaning knows of transactions (KIP-98, KIP-534).
 *
 * Everything that is cleaned lies below the last stable offset, so each of its
 * transactions is decided: the entries of aborted ones name those, all others
 * were committed.  Nothing of an aborted transaction stays.
 *
 * A marker stays while the round has read a batch of its transaction, even one
 * that it then let go, and from the first round that finds none for another
 * delete.retention.ms: who reads slowly may still have met the records.  The
 * entry of an aborted transaction goes with the last of its batches, a round
 * before its marker at the earliest; without the marker it would hide what the
 * producer committed later.
 *
 * Memory: one entry for each aborted transaction, one for each that is between
 * its first batch and its marker.  Pure. */
#ifndef BROKER_LOG_CLEAN_TXN_H
#define BROKER_LOG_CLEAN_TXN_H

#include "base/map.h"
#include "broker/log/clean_batch.h"
#include "broker/log/log.h"

struct clean_txns {
    /* Owned; of struct log_aborted, by producer and first offset once
     * clean_txns_sort() was called. */
    struct buf aborted;
    struct map seen; /* producers with a batch since their last marker */
    struct buf kept; /* owned; of struct log_aborted, by offset of the marker:
                        entries whose transaction still has batches */
};

void clean_txns_init(struct clean_txns *t);
void clean_txns_free(struct clean_txns *t);
void clean_txns_sort(struct clean_txns *t);

/* A batch with records that clients wrote: is it part of an aborted
 * transaction? */
bool clean_txns_aborted(const struct clean_txns *t, const struct batch *b);
/* What becomes of the next batch of the copy; batches come in order. */
enum clean_fate clean_txns_fate(struct clean_txns *t, struct slice bytes,
                                const struct batch *b);
/* The segment is over: what was kept goes to `out`, whose owner is the caller.
 */
void clean_txns_take(struct clean_txns *t, struct buf *out);

#endif
