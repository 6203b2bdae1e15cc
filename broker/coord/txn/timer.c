/* Timers: transactions that take too long, ids that nobody uses.
 *
 * Each id has one timer, which its state gives a meaning, so the cost is that
 * of the ids concerned, not of all.  Kafka looks for timeouts and for expired
 * ids at intervals; here the timers are put on a grid of those intervals.
 * Times in the records are wall clock, timers run on the monotonic one: the
 * timer only says when to look.  A wall clock that is set changes when things
 * happen, but nothing else; a transaction does not last longer than its timeout
 * after a coordinator has heard of it. */
#include "broker/coord/txn/txn.h"

#include "base/planted.h"

/* So that one call is short however many are due at once. */
enum { TIMERS_PER_TICK = 256 };

static int64_t sum(int64_t a, int64_t b)
{
    int64_t total;

    return __builtin_add_overflow(a, b, &total) ? INT64_MAX : total;
}

/* Wall time at which it is over, exclusive. */
static int64_t over_ms(const struct txn_coord *coord, const struct txn *txn)
{
    if (txn->state == TXN_ONGOING)
        return sum(txn->start_wall_ms, txn->timeout_ms);
    return sum(txn->update_wall_ms,
               coord->config.transactional_id_expiration_ms);
}

static int64_t interval_ms(const struct txn_coord *coord, const struct txn *txn)
{
    return txn->state == TXN_ONGOING ? coord->config.abort_timed_out_interval_ms
                                     : coord->config.remove_expired_interval_ms;
}

/* The first point of the grid behind `at`. */
static int64_t on_grid(int64_t at, int64_t interval)
{
    return sum(at - at % interval, interval);
}

void txn_timer_arm(struct txn_coord *coord, struct txn *txn)
{
    int64_t over = over_ms(coord, txn);
    int64_t delay = over > coord->time.wall_ms ? over - coord->time.wall_ms : 0;

    ASSERT(!txn_is_prepared(txn));
    if (txn->state == TXN_ONGOING && delay > txn->timeout_ms)
        delay = txn->timeout_ms;
    heap_set(&coord->timers, &txn->timer,
             on_grid(sum(coord->time.now_ms, delay), interval_ms(coord, txn)));
}

void txn_timer_again(struct txn_coord *coord, struct txn *txn)
{
    heap_set(&coord->timers, &txn->timer,
             on_grid(coord->time.now_ms, interval_ms(coord, txn)));
}

/* One that began later than now began by a clock that was ahead, or ours was
 * set back: it has had its time since the timer was armed.  Others may not wait
 * for the clock to come there, which may take days. */
static bool began_in_future(const struct txn_step *step, const struct txn *txn)
{
    return txn->state == TXN_ONGOING && txn->start_wall_ms > step->time.wall_ms;
}

static void idle_fires(struct txn_step *step, struct txn *txn)
{
    if (txn->under_way != NULL)
        return; /* its end arms the timer again */
    if (over_ms(step->coord, txn) > step->time.wall_ms &&
        !began_in_future(step, txn))
        txn_timer_arm(step->coord, txn);
    else if (txn->state == TXN_ONGOING && PLANTED(TXN_NEVER_TIMES_OUT))
        return;
    else if (txn->state == TXN_ONGOING)
        txn_fence(step, txn, TXN_WRITE_TIMEOUT, NULL);
    else
        txn_write_tombstone(step, txn);
}

static void fire(struct txn_step *step, struct txn *txn)
{
    heap_remove(&step->coord->timers, &txn->timer);
    if (txn_is_prepared(txn))
        txn_markers_retry(step, txn);
    else
        idle_fires(step, txn);
}

int64_t txn_coord_next_deadline(const struct txn_coord *coord)
{
    const struct heap_node *first = heap_first(&coord->timers);
    const struct heap_node *wait = heap_first(&coord->waits);
    int64_t due = first != NULL ? first->key : INT64_MAX;

    if (coord->life != TXN_COORD_ACTIVE)
        return INT64_MAX;
    return wait != NULL && wait->key < due ? wait->key : due;
}

void txn_coord_tick(struct txn_coord *coord, struct coord_time time,
                    struct txn_update *update)
{
    struct txn_step step = {coord, time, update};

    coord->time = time;
    for (int i = 0; i < TIMERS_PER_TICK && coord->life == TXN_COORD_ACTIVE;
         i++) {
        struct heap_node *first = heap_first(&coord->timers);

        if (txn_waits_tick(&step))
            continue;
        if (first == NULL || first->key > time.now_ms)
            break;
        fire(&step, HEAP_ENTRY(first, struct txn, timer));
    }
    txn_markers_pump(&step);
    update->wants_ids = coord->ids_end - coord->ids_next < TXN_IDS_LOW;
}
