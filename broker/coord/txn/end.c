/* EndTxn, and the aborts that nobody asked for.
 *
 * Classic clients (before version 5) name the epoch that InitProducerId gave
 * them, and it stays.  From version 5 on (KIP-890, part 2) each end bumps the
 * epoch, so a late message of one transaction cannot fall into the next.  Then
 * the state does not tell a repetition from the next call, but the epoch does:
 *
 *                    one below the current one   the current one
 *                    abort     commit            abort     commit
 *   Empty            fenced    fenced            bumps     invalid
 *   CompleteAbort    done      invalid           bumps     invalid
 *   CompleteCommit   invalid   done              bumps     invalid
 *
 * ("bumps": the client could not know whether its first write had got as far as
 * adding the partition, so an abort of nothing must be possible.)
 *
 * While the markers of one end are on their way its producer knows the next
 * epoch already and may end the next transaction: it comes again.
 *
 * The last epoch of a producer id is followed by epoch 0 of a new one, which
 * takes over when the transaction is complete; markers still carry the old. */
#include "broker/coord/txn/txn.h"

#include "base/planted.h"

struct ending {
    int64_t producer_id;
    int16_t epoch;
    bool commit;
    bool bumps;
};

static bool same_result(const struct txn *txn, bool commit)
{
    return commit ? txn->state == TXN_PREPARE_COMMIT ||
                        txn->state == TXN_COMPLETE_COMMIT
                  : txn->state == TXN_PREPARE_ABORT ||
                        txn->state == TXN_COMPLETE_ABORT;
}

/* The producer's epoch was bumped by the end that it asks for again.  Not so
 * after a fence by a successor: its record names no version that bumps. */
static bool is_repeated(const struct txn *txn, const struct ending *e)
{
    if (txn->client_version < TXN_VERSION_BUMPS)
        return false;
    bool bumped =
        e->producer_id == txn->producer_id && e->epoch + 1 == txn->epoch;
    bool renamed = e->producer_id == txn->previous_producer_id &&
                   e->epoch == TXN_EPOCH_EXHAUSTED && txn->epoch == 0;

    return bumped || renamed;
}

/* It has been given its next epoch or id already, and the transaction before is
 * not complete. */
static bool is_ahead(const struct txn *txn, const struct ending *e)
{
    if (!txn_is_prepared(txn) || txn->client_version < TXN_VERSION_BUMPS)
        return false;
    if (txn->next_producer_id >= 0)
        return e->producer_id == txn->next_producer_id && e->epoch == 0;
    return e->producer_id == txn->producer_id && e->epoch == txn->epoch;
}

/* *done: there is nothing to do, and that is success. */
static enum err judge_state(const struct txn *txn, const struct ending *e,
                            bool repeated, bool *done)
{
    bool again = e->bumps ? repeated : true;

    if (txn->state == TXN_ONGOING)
        return ERR_NONE;
    if (txn_is_prepared(txn))
        return same_result(txn, e->commit) ? ERR_CONCURRENT_TRANSACTIONS
                                           : ERR_INVALID_TXN_STATE;
    if (txn_is_complete(txn) && again) {
        *done = same_result(txn, e->commit);
        return *done ? ERR_NONE : ERR_INVALID_TXN_STATE;
    }
    return e->bumps && !e->commit ? ERR_NONE : ERR_INVALID_TXN_STATE;
}

static bool epoch_fits(const struct txn *txn, const struct ending *e,
                       bool repeated)
{
    /* The last epoch is for fencing: nobody was given it. */
    bool current = (e->epoch == txn->epoch && e->epoch < INT16_MAX) ||
                   PLANTED(TXN_TAKES_ZOMBIES);

    if (!e->bumps || txn->state == TXN_ONGOING || txn->state == TXN_EMPTY)
        return current;
    return repeated || (current && txn_is_complete(txn));
}

static enum err judge(const struct txn *txn, const struct ending *e, bool *done)
{
    bool repeated = e->bumps && is_repeated(txn, e);

    if (!txn->exists || is_ahead(txn, e))
        return ERR_CONCURRENT_TRANSACTIONS;
    if (e->producer_id != txn->producer_id && !repeated)
        return ERR_INVALID_PRODUCER_ID_MAPPING;
    if (!epoch_fits(txn, e, repeated))
        return ERR_PRODUCER_FENCED;
    if (txn->under_way != NULL)
        return ERR_CONCURRENT_TRANSACTIONS;
    return judge_state(txn, e, repeated, done);
}

/* ---- deciding ------------------------------------------------------------*/

static void decide(struct txn_step *step, struct txn *txn,
                   enum txn_write_kind kind,
                   struct transaction_log_value *value, int16_t last_epoch,
                   struct txn_answer *answer)
{
    struct arena arena;

    arena_init(&arena, 0);
    if (txn->state != TXN_ONGOING) /* nothing was added, but it ends now */
        value->transaction_start_timestamp_ms = step->time.wall_ms;
    txn_value_partitions(value, txn, NULL, 0, &arena);
    txn_write(step, kind, txn, value, answer)->last_epoch = last_epoch;
    arena_free(&arena);
}

/* Epoch and, behind the last epoch, the next id. */
static enum err bump(struct txn_coord *coord, const struct txn *txn,
                     struct transaction_log_value *value)
{
    if (txn->epoch >= TXN_EPOCH_EXHAUSTED) {
        value->next_producer_id = txn_take_id(coord);
        if (value->next_producer_id < 0)
            return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    }
    value->producer_epoch = (int16_t)(txn->epoch + 1);
    return ERR_NONE;
}

static enum err end(struct txn_step *step, struct txn *txn,
                    const struct ending *e, struct txn_answer *answer)
{
    struct transaction_log_value value = txn_value(txn);
    int16_t last_epoch = txn->last_epoch;

    value.transaction_status =
        e->commit ? TXN_PREPARE_COMMIT : TXN_PREPARE_ABORT;
    value.client_transaction_version = e->bumps ? TXN_VERSION_BUMPS : 0;
    if (e->bumps) {
        enum err err = bump(step->coord, txn, &value);

        if (err != ERR_NONE)
            return err;
        last_epoch = txn->epoch;
    }
    decide(step, txn, TXN_WRITE_END, &value, last_epoch, answer);
    return ERR_NONE;
}

/* The same record once more.  From memory alone a coordinator that was replaced
 * and does not know it would say yes to a transaction that came after those it
 * knows, as classic ends look alike. */
static void confirm(struct txn_step *step, struct txn *txn,
                    struct txn_answer *answer)
{
    struct transaction_log_value value = txn_value(txn);

    value.transaction_partitions_len = 0;
    txn_write(step, TXN_WRITE_END, txn, &value, answer)->last_epoch =
        txn->last_epoch;
}

void txn_end_request(struct txn_step *step, const struct txn_context *context,
                     const struct end_txn_request *request)
{
    struct txn_answer *answer = txn_answer_new(context, API_END_TXN);
    struct txn *txn = txn_find(step->coord, request->transactional_id);
    struct ending e = {request->producer_id, request->producer_epoch,
                       request->committed,
                       context->version >= TXN_END_BUMPS_FROM};
    bool done = false;
    enum err err = request->transactional_id.len == 0 ? ERR_INVALID_REQUEST
                   : txn == NULL ? ERR_INVALID_PRODUCER_ID_MAPPING
                                 : judge(txn, &e, &done);

    if (err == ERR_NONE && done)
        confirm(step, txn, answer);
    else if (err == ERR_NONE)
        err = end(step, txn, &e, answer);
    if (err == ERR_NONE)
        return; /* the write answers */
    txn_answer_fail(answer, 0, err);
    txn_answer_send(step, answer);
}

/* ---- fencing -------------------------------------------------------------*/

/* An epoch that nobody was given, so that the open transaction's producer can
 * write nothing more.
 *
 * After a timeout a producer that knows of bumps may learn by asking again that
 * its transaction was aborted, and go on.  After a fence by a successor it may
 * not: hence no version, and no last epoch. */
void txn_fence(struct txn_step *step, struct txn *txn, enum txn_write_kind kind,
               struct txn_answer *answer)
{
    struct transaction_log_value value = txn_value(txn);
    bool forgives =
        kind == TXN_WRITE_TIMEOUT &&
        step->coord->config.transaction_version >= TXN_VERSION_BUMPS;

    ASSERT(txn->state == TXN_ONGOING && txn->epoch < INT16_MAX);
    if (!forgives) {
        value.producer_epoch = (int16_t)(txn->epoch + 1);
    } else if (bump(step->coord, txn, &value) != ERR_NONE) {
        txn_timer_again(step->coord, txn); /* no ids now */
        return;
    }
    value.transaction_status = TXN_PREPARE_ABORT;
    value.client_transaction_version = forgives ? TXN_VERSION_BUMPS : 0;
    decide(step, txn, kind, &value, forgives ? txn->epoch : -1, answer);
}
