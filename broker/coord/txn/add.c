/* AddPartitionsToTxn and AddOffsetsToTxn: partitions that a transaction writes
 * to, written down before it does, so that whoever ends it knows where markers
 * go.
 *
 * What the transaction has already is written down again.  Kafka answers from
 * memory then, but a coordinator that was replaced and does not know it yet
 * would do so, too; the record makes sure that it cannot.
 *
 * Up to version 3 a producer asks, for one transaction.  From 4 on brokers ask,
 * for many: to verify a partition before the first write of a classic producer
 * (KIP-890, part 1), or to add it in the producer's name (part 2). */
#include "broker/coord/txn/txn.h"

#include "base/planted.h"

#include "broker/coord/placement.h"

typedef struct add_partitions_to_txn_request_topic asked_topic;
typedef struct add_partitions_to_txn_response_topic_result told_topic;

static enum err judge_producer(const struct txn *txn,
                               const struct txn_adding *a)
{
    if (a->producer_id != txn->producer_id)
        return ERR_INVALID_PRODUCER_ID_MAPPING;
    /* The last epoch is for fencing: nobody was given it. */
    if (PLANTED(TXN_TAKES_ZOMBIES))
        return ERR_NONE;
    return a->epoch != txn->epoch || a->epoch == INT16_MAX ? ERR_PRODUCER_FENCED
                                                           : ERR_NONE;
}

/* ---- adding --------------------------------------------------------------*/

static enum err write_added(struct txn_step *step, struct txn *txn,
                            const struct txn_adding *a,
                            struct txn_answer *answer, int32_t slot)
{
    struct transaction_log_value value = txn_value(txn);
    uint32_t max = step->coord->config.record_max_bytes;
    struct arena arena;

    arena_init(&arena, 0);
    if (txn->state != TXN_ONGOING)
        value.transaction_start_timestamp_ms = step->time.wall_ms;
    value.transaction_status = TXN_ONGOING;
    value.client_transaction_version = a->client_version;
    txn_value_partitions(&value, txn, a->topics, a->topics_len, &arena);
    struct txn_write *write =
        txn_write(step, TXN_WRITE_ADD, txn, &value, answer);
    write->slot = slot;
    write->last_epoch = txn->last_epoch;
    arena_free(&arena);
    if (max == 0 || txn_write_bytes(write) <= max)
        return ERR_NONE;
    txn_write_drop(write);
    return ERR_UNKNOWN_SERVER_ERROR; /* as Kafka says of too large records */
}

enum err txn_add_judged(struct txn_step *step, struct txn *txn,
                        const struct txn_adding *a, struct txn_answer *answer,
                        int32_t slot)
{
    enum err err = judge_producer(txn, a);

    if (err != ERR_NONE)
        return err;
    if (txn_coord_is_full(step->coord))
        return ERR_COORDINATOR_NOT_AVAILABLE;
    return write_added(step, txn, a, answer, slot);
}

static enum err add(struct txn_step *step, const struct txn_adding *a,
                    struct txn_answer *answer, int32_t slot)
{
    struct txn *txn = txn_find(step->coord, a->id);

    if (a->id.len == 0)
        return ERR_INVALID_REQUEST;
    if (txn == NULL)
        return ERR_INVALID_PRODUCER_ID_MAPPING;
    /* Before all else: the producer may have its next id already, which this
     * one has only when it is complete. */
    if (txn->under_way != NULL || txn_is_prepared(txn))
        return txn_wait(step, txn, a, answer, slot)
                   ? ERR_NONE
                   : ERR_CONCURRENT_TRANSACTIONS;
    return txn_add_judged(step, txn, a, answer, slot);
}
/* ---- verifying -----------------------------------------------------------*/

/* Whether the transaction is open, and stays so for now. */
static enum err judge_verify(const struct txn_coord *coord,
                             const struct txn_adding *a, const struct txn **txn)
{
    const struct txn *found = txn_find(coord, a->id);

    if (a->id.len == 0)
        return ERR_INVALID_REQUEST;
    if (found == NULL)
        return ERR_INVALID_PRODUCER_ID_MAPPING;
    enum err err = judge_producer(found, a);
    if (err != ERR_NONE)
        return err;
    bool ends =
        found->under_way != NULL && found->under_way->kind != TXN_WRITE_ADD;
    *txn = found;
    return ends || txn_is_prepared(found) ? ERR_CONCURRENT_TRANSACTIONS
                                          : ERR_NONE;
}

static void verify(const struct txn_coord *coord, const struct txn_adding *a,
                   struct txn_answer *answer, int32_t slot, told_topic *told)
{
    const struct txn *txn = NULL;
    enum err err = judge_verify(coord, a, &txn);

    if (err != ERR_NONE) {
        txn_answer_fail(answer, slot, err);
        return;
    }
    for (int32_t t = 0; t < a->topics_len; t++)
        for (int32_t i = 0; i < a->topics[t].partitions_len; i++)
            if (!txn_has(txn, a->topics[t].name, a->topics[t].partitions[i]))
                told[t].results_by_partition[i].partition_error_code =
                    ERR_TRANSACTION_ABORTABLE;
}

/* ---- AddPartitionsToTxn --------------------------------------------------*/

/* One bad partition spoils the transaction's whole request. */
static bool refuse_bad(const struct txn_context *context,
                       const struct txn_adding *a, told_topic *told)
{
    bool bad = false;

    for (int32_t t = 0; t < a->topics_len && context->partition_error; t++)
        for (int32_t i = 0; i < a->topics[t].partitions_len; i++) {
            enum err err = context->partition_error(
                context->arg, a->topics[t].name, a->topics[t].partitions[i]);

            told[t].results_by_partition[i].partition_error_code =
                err != ERR_NONE ? err_wire(err)
                                : (int16_t)ERR_OPERATION_NOT_ATTEMPTED;
            bad = bad || err != ERR_NONE;
        }
    for (int32_t t = 0; t < a->topics_len && !bad; t++)
        for (int32_t i = 0; i < a->topics[t].partitions_len; i++)
            told[t].results_by_partition[i].partition_error_code = ERR_NONE;
    return bad;
}

static void handle(struct txn_step *step, const struct txn_context *context,
                   const struct txn_adding *a, struct txn_answer *answer,
                   int32_t slot, told_topic *told)
{
    if (refuse_bad(context, a, told))
        return;
    if (a->verify) {
        verify(step->coord, a, answer, slot, told);
        return;
    }
    enum err err = add(step, a, answer, slot);
    if (err != ERR_NONE)
        txn_answer_fail(answer, slot, err);
}

static void handle_batch(struct txn_step *step,
                         const struct txn_context *context,
                         const struct add_partitions_to_txn_request *request,
                         struct txn_answer *answer)
{
    struct add_partitions_to_txn_response *r =
        &answer->response.add_partitions_to_txn;

    for (int32_t i = 0; i < request->transactions_len; i++) {
        const struct add_partitions_to_txn_request_transaction *t =
            &request->transactions[i];
        struct txn_adding a = {t->transactional_id, t->producer_id,
                               t->producer_epoch,   t->verify_only,
                               TXN_VERSION_BUMPS,   t->topics,
                               t->topics_len};

        handle(step, context, &a, answer, i,
               r->results_by_transaction[i].topic_results);
    }
}

static void handle_one(struct txn_step *step, const struct txn_context *context,
                       const struct add_partitions_to_txn_request *request,
                       struct txn_answer *answer)
{
    struct txn_adding a = {
        .id = request->v3_and_below_transactional_id,
        .producer_id = request->v3_and_below_producer_id,
        .epoch = request->v3_and_below_producer_epoch,
        .topics = request->v3_and_below_topics,
        .topics_len = request->v3_and_below_topics_len,
    };

    handle(
        step, context, &a, answer, 0,
        answer->response.add_partitions_to_txn.results_by_topic_v3_and_below);
}

void txn_add_partitions_request(
    struct txn_step *step, const struct txn_context *context,
    const struct add_partitions_to_txn_request *request)
{
    struct txn_answer *answer =
        txn_refuse(context, API_ADD_PARTITIONS_TO_TXN, request, ERR_NONE);

    answer->waiting = 1; /* this call */
    if (context->version >= TXN_ADD_BATCHED_FROM)
        handle_batch(step, context, request, answer);
    else
        handle_one(step, context, request, answer);
    txn_answer_write_ended(step, answer);
}

/* ---- AddOffsetsToTxn -----------------------------------------------------*/

void txn_add_offsets_request(struct txn_step *step,
                             const struct txn_context *context,
                             const struct add_offsets_to_txn_request *request)
{
    struct txn_answer *answer = txn_answer_new(context, API_ADD_OFFSETS_TO_TXN);
    enum err err = ERR_COORDINATOR_NOT_AVAILABLE;

    if (context->offsets_partitions > 0) {
        int32_t partition =
            coord_partition_of(request->group_id, context->offsets_partitions);
        asked_topic topic = {SLICE("__consumer_offsets"), &partition, 1};
        struct txn_adding a = {.id = request->transactional_id,
                               .producer_id = request->producer_id,
                               .epoch = request->producer_epoch,
                               .topics = &topic,
                               .topics_len = 1};

        err = add(step, &a, answer, 0);
    }
    if (err == ERR_NONE)
        return; /* the write answers */
    txn_answer_fail(answer, 0, err);
    txn_answer_send(step, answer);
}
