/* Markers: a decided transaction tells its partitions.
 *
 * Each partition of a prepared transaction is queued, sent, and then done or
 * failed.  What failed is tried again together, after a pause that grows, for
 * as long as this coordinator leads: a decision is never taken back, and
 * nothing but a marker in every partition completes it.  When all have theirs,
 * Complete* is written; if that fails, the same timer tries again. */
#include "broker/coord/txn/txn.h"

#include "base/planted.h"

#include <stdlib.h>

enum { PAUSE_MIN_MS = 50, PAUSE_MAX_MS = 1000 };

enum txn_marker_result txn_marker_result_of(enum err err)
{
    switch (err) {
    case ERR_NONE:
    /* The partition cannot hold what it would be a marker for. */
    case ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
        return TXN_MARKER_WRITTEN;
    case ERR_INVALID_PRODUCER_EPOCH:
    case ERR_TRANSACTION_COORDINATOR_FENCED:
        return TXN_MARKER_FENCED;
    default:
        return TXN_MARKER_RETRY;
    }
}

void txn_marker_free(struct txn_marker *marker)
{
    free((void *)(uintptr_t)marker->id.data);
    if (marker->topic.len != 0)
        free((void *)(uintptr_t)marker->topic.data);
    free(marker);
}

/* ---- completing ----------------------------------------------------------*/

static void complete(struct txn_step *step, struct txn *txn)
{
    struct transaction_log_value value = txn_value(txn);

    value.transaction_status = txn->state == TXN_PREPARE_COMMIT
                                   ? TXN_COMPLETE_COMMIT
                                   : TXN_COMPLETE_ABORT;
    value.transaction_partitions_len = 0; /* empty, where Empty has null */
    if (txn->next_producer_id >= 0) {
        value.previous_producer_id = txn->producer_id;
        value.producer_id = txn->next_producer_id;
        value.producer_epoch = 0;
    }
    txn_write(step, TXN_WRITE_COMPLETE, txn, &value, NULL)->last_epoch =
        txn->last_epoch;
}

static void complete_if_done(struct txn_step *step, struct txn *txn)
{
    if (txn->unwritten == 0 && txn->under_way == NULL)
        complete(step, txn);
}

/* ---- sending -------------------------------------------------------------*/

static void queue(struct txn_coord *coord, struct txn_partition *p)
{
    p->marker = MARKER_QUEUED;
    list_push_back(&coord->queue, &p->link);
}

static struct slice owned(struct slice s)
{
    return s.len == 0 ? SLICE("") : slice_of(xmemdup(s.data, s.len), s.len);
}

static void emit(struct txn_step *step, struct txn_partition *p)
{
    struct txn_marker *marker = xcalloc(1, sizeof *marker);
    const struct txn *txn = p->txn;

    *marker = (struct txn_marker){
        .id = owned(txn->id),
        .topic = owned(p->topic),
        .partition = p->partition,
        .committed =
            txn->state == TXN_PREPARE_COMMIT || PLANTED(TXN_COMMITS_ALL),
        .producer_id = txn->producer_id,
        .producer_epoch = txn->epoch,
        .coordinator_epoch = step->coord->epoch,
        .transaction_version = (int8_t)txn->client_version,
        .round = txn->round,
    };
    list_init(&marker->link);
    p->marker = MARKER_SENT;
    step->coord->markers_in_flight++;
    list_push_back(&step->update->markers, &marker->link);
}

void txn_markers_pump(struct txn_step *step)
{
    struct txn_coord *coord = step->coord;

    while (coord->markers_in_flight < coord->config.markers_in_flight_max &&
           !list_empty(&coord->queue))
        emit(step, LIST_ENTRY(list_pop_front(&coord->queue),
                              struct txn_partition, link));
}

void txn_markers_start(struct txn_step *step, struct txn *txn)
{
    ASSERT(txn_is_prepared(txn));
    txn->round = ++step->coord->rounds;
    txn->unwritten = map_count(&txn->partitions);
    txn->attempts = 0;
    txn->slow = false;
    MAP_EACH (entry, &txn->partitions)
        queue(step->coord, entry->value);
    complete_if_done(step, txn);
}

/* ---- what became of them -------------------------------------------------*/

void txn_markers_arm(struct txn_coord *coord, struct txn *txn)
{
    int64_t pause = PAUSE_MAX_MS;

    if (heap_has(&txn->timer))
        return;
    if (!txn->slow && txn->attempts < 5)
        pause = PAUSE_MIN_MS << txn->attempts;
    if (pause > PAUSE_MAX_MS)
        pause = PAUSE_MAX_MS;
    txn->attempts++;
    heap_set(&coord->timers, &txn->timer, coord->time.now_ms + pause);
}

void txn_markers_retry(struct txn_step *step, struct txn *txn)
{
    txn->slow = false;
    MAP_EACH (entry, &txn->partitions) {
        struct txn_partition *p = entry->value;

        if (p->marker == MARKER_FAILED)
            queue(step->coord, p);
    }
    complete_if_done(step, txn);
}

static struct txn_partition *waiting_for(const struct txn_coord *coord,
                                         const struct txn_marker *marker)
{
    const struct txn *txn = txn_find(coord, marker->id);
    struct buf key = BUF_INIT;

    if (txn == NULL || !txn_is_prepared(txn) || txn->round != marker->round)
        return NULL;
    buf_put_u32(&key, (uint32_t)marker->partition);
    buf_put_slice(&key, marker->topic);
    struct txn_partition *p = map_get(&txn->partitions, buf_slice(&key));
    buf_free(&key);
    return p != NULL && p->marker == MARKER_SENT ? p : NULL;
}

static void ended(struct txn_step *step, struct txn_partition *p,
                  enum txn_marker_result result)
{
    struct txn *txn = p->txn;

    if (result == TXN_MARKER_WRITTEN || result == TXN_MARKER_GONE) {
        p->marker = MARKER_DONE;
        txn->unwritten--;
        complete_if_done(step, txn);
        return;
    }
    if (PLANTED(TXN_SENDS_MARKERS_ONCE)) {
        p->marker = MARKER_DONE;
        txn->unwritten--;
        complete_if_done(step, txn);
        return;
    }
    p->marker = MARKER_FAILED;
    txn->slow = txn->slow || result == TXN_MARKER_FENCED;
    txn_markers_arm(step->coord, txn);
}

void txn_coord_marker_done(struct txn_coord *coord, struct txn_marker *marker,
                           enum txn_marker_result result,
                           struct coord_time time, struct txn_update *update)
{
    struct txn_step step = {coord, time, update};

    coord->time = time;
    ASSERT(coord->life == TXN_COORD_ACTIVE && coord->markers_in_flight > 0);
    coord->markers_in_flight--;
    struct txn_partition *p = waiting_for(coord, marker);
    if (p != NULL)
        ended(&step, p, result);
    txn_marker_free(marker);
    txn_markers_pump(&step);
}
