/* InitProducerId: a producer takes a transactional id over.
 *
 *   new id                       a new producer id, epoch 0
 *   id without a transaction     the next epoch; who had the last is fenced
 *   epochs used up               a new producer id, epoch 0
 *   id with an open transaction  it is aborted first; CONCURRENT_TRANSACTIONS
 *                                until that is done
 *
 * A producer that names the id and epoch it has (KIP-360) goes on after an
 * error of its own, and hears PRODUCER_FENCED if it is not the last one.
 * Kafka lets such a producer abort an open transaction whatever epoch it
 * names; here it must be the current one, or a fenced producer could abort its
 * successor's transaction. */
#include "broker/coord/txn/txn.h"

#include "base/planted.h"

/* What the producer says it has; id -1: nothing. */
struct had {
    int64_t id;
    int16_t epoch;
};

/* What it gets. */
struct given {
    int64_t id;
    int16_t epoch;
    int16_t last_epoch;
};

static bool is_current(const struct txn *txn, struct had had)
{
    return had.id == txn->producer_id && had.epoch == txn->epoch;
}

/* The answer to its last call may have been lost. */
static bool is_repeated(const struct txn *txn, struct had had)
{
    bool id_ok =
        had.id == txn->producer_id || (had.id == txn->previous_producer_id &&
                                       had.epoch >= TXN_EPOCH_EXHAUSTED);

    return id_ok && txn->last_epoch >= 0 && had.epoch == txn->last_epoch;
}

static enum err new_id(struct txn_coord *coord, const struct txn *txn,
                       struct had had, struct given *given)
{
    given->id = txn_take_id(coord);
    given->epoch = 0;
    given->last_epoch = had.id >= 0 ? txn->epoch : -1;
    return given->id >= 0 ? ERR_NONE : ERR_COORDINATOR_LOAD_IN_PROGRESS;
}

/* Nothing is open. */
static enum err next_epoch(struct txn_coord *coord, const struct txn *txn,
                           struct had had, struct given *given)
{
    bool bumps = had.id < 0 || is_current(txn, had);

    if (bumps && txn->epoch >= TXN_EPOCH_EXHAUSTED)
        return new_id(coord, txn, had, given);
    if (!bumps && !is_repeated(txn, had))
        return ERR_PRODUCER_FENCED;
    *given = (struct given){
        txn->producer_id,
        (int16_t)(bumps && !PLANTED(TXN_KEEPS_EPOCH) ? txn->epoch + 1
                                                     : txn->epoch),
        bumps ? (had.id >= 0 ? txn->epoch : -1) : txn->last_epoch,
    };
    return ERR_NONE;
}

static void give(struct txn_step *step, struct txn *txn, struct given given,
                 int32_t timeout_ms, struct txn_answer *answer)
{
    struct transaction_log_value value = txn_value(txn);

    if (txn->exists && given.id != txn->producer_id)
        value.previous_producer_id = txn->producer_id;
    value.producer_id = given.id;
    value.producer_epoch = given.epoch;
    value.transaction_timeout_ms = timeout_ms;
    value.transaction_status = TXN_EMPTY;
    value.transaction_start_timestamp_ms = -1;
    answer->response.init_producer_id.producer_id = given.id;
    answer->response.init_producer_id.producer_epoch = given.epoch;
    txn_write(step, TXN_WRITE_INIT, txn, &value, answer)->last_epoch =
        given.last_epoch;
}

static enum err create(struct txn_step *step,
                       const struct init_producer_id_request *request,
                       struct txn_answer *answer)
{
    struct given given = {-1, 0, -1};

    if (txn_coord_is_full(step->coord))
        return ERR_COORDINATOR_NOT_AVAILABLE;
    given.id = txn_take_id(step->coord);
    if (given.id < 0)
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    give(step, txn_add(step->coord, request->transactional_id), given,
         request->transaction_timeout_ms, answer);
    return ERR_NONE;
}

static enum err take_over(struct txn_step *step, struct txn *txn,
                          const struct init_producer_id_request *request,
                          struct txn_answer *answer)
{
    struct had had = {request->producer_id, request->producer_epoch};
    struct given given;

    if (txn->under_way != NULL || txn_is_prepared(txn))
        return ERR_CONCURRENT_TRANSACTIONS;
    if (txn->state == TXN_ONGOING) {
        if (had.id >= 0 && !is_current(txn, had))
            return ERR_PRODUCER_FENCED;
        txn_fence(step, txn, TXN_WRITE_FENCE, answer);
        return ERR_NONE;
    }
    enum err err = next_epoch(step->coord, txn, had, &given);
    if (err == ERR_NONE)
        give(step, txn, given, request->transaction_timeout_ms, answer);
    return err;
}

static enum err check(const struct txn_coord *coord,
                      const struct init_producer_id_request *request)
{
    if (request->transactional_id.len == 0)
        return ERR_INVALID_REQUEST;
    if ((request->producer_id == -1) != (request->producer_epoch == -1) ||
        request->producer_id < -1 || request->producer_epoch < -1)
        return ERR_INVALID_REQUEST;
    if (request->transaction_timeout_ms <= 0 ||
        request->transaction_timeout_ms >
            coord->config.transaction_max_timeout_ms)
        return ERR_INVALID_TRANSACTION_TIMEOUT;
    return ERR_NONE;
}

void txn_init_request(struct txn_step *step, const struct txn_context *context,
                      const struct init_producer_id_request *request)
{
    struct txn_answer *answer = txn_answer_new(context, API_INIT_PRODUCER_ID);
    enum err err = check(step->coord, request);

    if (err == ERR_NONE) {
        struct txn *txn = txn_find(step->coord, request->transactional_id);

        err = txn != NULL ? take_over(step, txn, request, answer)
                          : create(step, request, answer);
    }
    if (err == ERR_NONE)
        return; /* the write answers */
    txn_answer_fail(answer, 0, err);
    txn_answer_send(step, answer);
}
