/* Answers: made, failed, refused.
 *
 * Every API has its own place for an error; this file knows them.  Refusals say
 * something about everything that was asked for. */
#include "broker/coord/txn/txn.h"

#include <stdlib.h>

typedef struct add_partitions_to_txn_request_topic asked_topic;
typedef struct add_partitions_to_txn_response_topic_result told_topic;

static const struct kafka_desc *response_desc(enum api_key api)
{
    switch (api) {
    case API_INIT_PRODUCER_ID:
        return &init_producer_id_response_desc;
    case API_ADD_PARTITIONS_TO_TXN:
        return &add_partitions_to_txn_response_desc;
    case API_ADD_OFFSETS_TO_TXN:
        return &add_offsets_to_txn_response_desc;
    case API_END_TXN:
        return &end_txn_response_desc;
    case API_DESCRIBE_TRANSACTIONS:
        return &describe_transactions_response_desc;
    case API_LIST_TRANSACTIONS:
        return &list_transactions_response_desc;
    default:
        ASSERT(false); /* the caller sent us somebody else's request */
        return NULL;
    }
}

struct txn_answer *txn_answer_new(const struct txn_context *context,
                                  enum api_key api)
{
    struct txn_answer *answer = xcalloc(1, sizeof *answer);

    list_init(&answer->link);
    answer->token = context->token;
    answer->api = api;
    answer->version = context->version;
    arena_init(&answer->arena, 0);
    kafka_init(response_desc(api), &answer->response);
    return answer;
}

void txn_answer_free(struct txn_answer *answer)
{
    if (answer == NULL)
        return;
    arena_free(&answer->arena);
    free(answer);
}

void txn_answer_send(struct txn_step *step, struct txn_answer *answer)
{
    list_push_back(&step->update->answers, &answer->link);
}

void txn_answer_write_ended(struct txn_step *step, struct txn_answer *answer)
{
    if (--answer->waiting == 0)
        txn_answer_send(step, answer);
}

/* PRODUCER_FENCED came with these versions (KIP-588).  Clients before them do
 * the right thing on INVALID_PRODUCER_EPOCH. */
int16_t txn_error_code(enum api_key api, int16_t version, enum err err)
{
    int16_t fenced_from = api == API_INIT_PRODUCER_ID ? 4 : 2;

    if (err == ERR_PRODUCER_FENCED && version < fenced_from)
        err = ERR_INVALID_PRODUCER_EPOCH;
    return err_wire(err);
}

/* ---- an answer turned into a failure -------------------------------------*/

static void fail_topics(told_topic *topics, int32_t len, int16_t code)
{
    for (int32_t t = 0; t < len; t++)
        for (int32_t i = 0; i < topics[t].results_by_partition_len; i++)
            topics[t].results_by_partition[i].partition_error_code = code;
}

static void fail_add(struct txn_answer *answer, int32_t slot, int16_t code)
{
    struct add_partitions_to_txn_response *r =
        &answer->response.add_partitions_to_txn;

    if (answer->version < TXN_ADD_BATCHED_FROM)
        fail_topics(r->results_by_topic_v3_and_below,
                    r->results_by_topic_v3_and_below_len, code);
    else
        fail_topics(r->results_by_transaction[slot].topic_results,
                    r->results_by_transaction[slot].topic_results_len, code);
}

void txn_answer_fail(struct txn_answer *answer, int32_t slot, enum err err)
{
    int16_t code = txn_error_code(answer->api, answer->version, err);

    switch (answer->api) {
    case API_INIT_PRODUCER_ID:
        answer->response.init_producer_id.error_code = code;
        answer->response.init_producer_id.producer_id = -1;
        answer->response.init_producer_id.producer_epoch = -1;
        break;
    case API_ADD_PARTITIONS_TO_TXN:
        fail_add(answer, slot, code);
        break;
    case API_ADD_OFFSETS_TO_TXN:
        answer->response.add_offsets_to_txn.error_code = code;
        break;
    case API_END_TXN:
        answer->response.end_txn.error_code = code;
        answer->response.end_txn.producer_id = -1;
        answer->response.end_txn.producer_epoch = -1;
        break;
    default:
        ASSERT(false); /* no other answer fails as a whole */
    }
}

/* ---- refusals ------------------------------------------------------------*/

/* A transaction without an id is nobody's: whoever is asked says so. */
static enum err why(struct slice id, enum err err)
{
    return err != ERR_NONE && id.len == 0 ? ERR_INVALID_REQUEST : err;
}

static told_topic *refuse_topics(struct arena *arena, const asked_topic *asked,
                                 int32_t len, int16_t code)
{
    told_topic *told = arena_array(arena, (size_t)len, sizeof *told);

    for (int32_t t = 0; t < len; t++) {
        told[t].name = arena_copy(arena, asked[t].name);
        told[t].results_by_partition_len = asked[t].partitions_len;
        told[t].results_by_partition =
            arena_array(arena, (size_t)asked[t].partitions_len,
                        sizeof *told[t].results_by_partition);
        for (int32_t i = 0; i < asked[t].partitions_len; i++)
            told[t].results_by_partition[i] =
                (struct add_partitions_to_txn_response_partition_result){
                    asked[t].partitions[i], code};
    }
    return told;
}

static void refuse_batch(struct txn_answer *answer,
                         const struct add_partitions_to_txn_request *request,
                         enum err err)
{
    struct add_partitions_to_txn_response *r =
        &answer->response.add_partitions_to_txn;
    struct arena *arena = &answer->arena;

    r->results_by_transaction_len = request->transactions_len;
    r->results_by_transaction =
        arena_array(arena, (size_t)request->transactions_len,
                    sizeof *r->results_by_transaction);
    for (int32_t i = 0; i < request->transactions_len; i++) {
        const struct add_partitions_to_txn_request_transaction *from =
            &request->transactions[i];
        struct add_partitions_to_txn_response_result *to =
            &r->results_by_transaction[i];

        to->transactional_id = arena_copy(arena, from->transactional_id);
        to->topic_results_len = from->topics_len;
        to->topic_results =
            refuse_topics(arena, from->topics, from->topics_len,
                          txn_error_code(answer->api, answer->version,
                                         why(from->transactional_id, err)));
    }
}

static void refuse_add(struct txn_answer *answer,
                       const struct add_partitions_to_txn_request *request,
                       enum err err)
{
    struct add_partitions_to_txn_response *r =
        &answer->response.add_partitions_to_txn;

    if (answer->version >= TXN_ADD_BATCHED_FROM) {
        refuse_batch(answer, request, err);
        return;
    }
    err = why(request->v3_and_below_transactional_id, err);
    r->results_by_topic_v3_and_below_len = request->v3_and_below_topics_len;
    r->results_by_topic_v3_and_below =
        refuse_topics(&answer->arena, request->v3_and_below_topics,
                      request->v3_and_below_topics_len,
                      txn_error_code(answer->api, answer->version, err));
}

static void refuse_describe(struct txn_answer *answer,
                            const struct describe_transactions_request *request,
                            int16_t code)
{
    struct describe_transactions_response *r =
        &answer->response.describe_transactions;
    struct arena *arena = &answer->arena;

    r->transaction_states_len = request->transactional_ids_len;
    r->transaction_states =
        arena_array(arena, (size_t)request->transactional_ids_len,
                    sizeof *r->transaction_states);
    for (int32_t i = 0; i < request->transactional_ids_len; i++)
        r->transaction_states[i] =
            (struct describe_transactions_response_transaction_state){
                .error_code = code,
                .transactional_id =
                    arena_copy(arena, request->transactional_ids[i]),
                .transaction_state = SLICE(""),
            };
}

struct txn_answer *txn_refuse(const struct txn_context *context,
                              enum api_key api, const void *request,
                              enum err err)
{
    struct txn_answer *answer = txn_answer_new(context, api);
    int16_t code = txn_error_code(api, context->version, err);

    switch (api) {
    case API_ADD_PARTITIONS_TO_TXN:
        refuse_add(answer, request, err);
        break;
    case API_DESCRIBE_TRANSACTIONS:
        refuse_describe(answer, request, code);
        break;
    case API_LIST_TRANSACTIONS:
        answer->response.list_transactions.error_code = code;
        break;
    case API_ADD_OFFSETS_TO_TXN:
        txn_answer_fail(answer, 0,
                        why(((const struct add_offsets_to_txn_request *)request)
                                ->transactional_id,
                            err));
        break;
    case API_END_TXN:
        txn_answer_fail(
            answer, 0,
            why(((const struct end_txn_request *)request)->transactional_id,
                err));
        break;
    default:
        txn_answer_fail(answer, 0, err);
    }
    return answer;
}
