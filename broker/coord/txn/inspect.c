/* Invariants, and the surviving state as text. */
#include "broker/coord/txn/txn.h"

#include <stdlib.h>

/* ---- invariants ----------------------------------------------------------*/

static uint32_t check_partitions(const struct txn *txn, uint32_t *queued)
{
    uint32_t unwritten = 0;

    MAP_EACH (entry, &txn->partitions) {
        const struct txn_partition *p = entry->value;

        ASSERT(p->txn == txn);
        ASSERT((p->marker == MARKER_QUEUED) == !list_unlinked(&p->link));
        unwritten += p->marker != MARKER_DONE;
        *queued += p->marker == MARKER_QUEUED;
    }
    return unwritten;
}

static void check_txn(const struct txn_coord *coord, const struct txn *txn,
                      uint32_t *queued)
{
    uint32_t unwritten = check_partitions(txn, queued);
    bool active = coord->life == TXN_COORD_ACTIVE;

    ASSERT(txn->under_way == NULL || txn->under_way->txn == txn);
    ASSERT(txn->exists || txn->under_way != NULL);
    ASSERT(list_empty(&txn->waits) || txn->under_way != NULL ||
           txn_is_prepared(txn));
    ASSERT(!txn->exists || (txn->producer_id >= 0 && txn->epoch >= 0));
    ASSERT(txn->epoch < INT16_MAX || txn->state != TXN_ONGOING);
    if (!active || !txn->exists)
        return;
    /* Everybody has somebody or something to wait for. */
    ASSERT(txn->under_way != NULL || heap_has(&txn->timer) || unwritten != 0);
    if (txn_is_prepared(txn))
        ASSERT(unwritten == txn->unwritten);
}

void txn_coord_check(const struct txn_coord *coord)
{
    uint32_t queued = 0, linked = 0;

    MAP_EACH (entry, &coord->txns)
        check_txn(coord, entry->value, &queued);
    LIST_EACH (node, &coord->queue)
        linked++;
    ASSERT(queued == linked);
    ASSERT(coord->markers_in_flight <= coord->config.markers_in_flight_max);
}

/* ---- text ----------------------------------------------------------------*/

static int by_id(const void *a, const void *b)
{
    return slice_cmp((*(const struct txn *const *)a)->id,
                     (*(const struct txn *const *)b)->id);
}

static void dump_txn(const struct txn *txn, struct buf *out)
{
    buf_printf(
        out, "%.*s %s %lld/%d previous %lld next %lld", SLICE_FMT(txn->id),
        txn_state_name(txn->state), (long long)txn->producer_id, txn->epoch,
        (long long)txn->previous_producer_id, (long long)txn->next_producer_id);
    buf_printf(out, " timeout %d start %lld update %lld version %d",
               txn->timeout_ms, (long long)txn->start_wall_ms,
               (long long)txn->update_wall_ms, txn->client_version);
    MAP_EACH (entry, &txn->partitions) {
        const struct txn_partition *p = entry->value;
        buf_printf(out, " %.*s-%d", SLICE_FMT(p->topic), p->partition);
    }
    buf_printf(out, "\n");
}

void txn_coord_dump(const struct txn_coord *coord, struct buf *out)
{
    uint32_t count = map_count(&coord->txns), i = 0;
    const struct txn **txns = xcalloc(count + 1, sizeof *txns);

    MAP_EACH (entry, &coord->txns)
        txns[i++] = entry->value;
    qsort(txns, count, sizeof *txns, by_id);
    for (i = 0; i < count; i++)
        if (txns[i]->exists)
            dump_txn(txns[i], out);
    free(txns);
}
