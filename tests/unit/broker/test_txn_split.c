/* Requests in pieces: every id goes to its coordinator once, and its answer
 * comes back to its place. */
#include "tests/unit/broker/txn_fixture.h"

#include "broker/coord/placement.h"
#include "broker/coord/txn/split.h"

#include <stdio.h>

enum { IDS = 40, PLACES = 7 };

static char names[IDS][16];

static void name_ids(struct slice ids[static IDS])
{
    for (int i = 0; i < IDS; i++) {
        snprintf(names[i], sizeof names[i], "id-%d", i);
        ids[i] = slice_str(names[i]);
    }
}

static const struct txn_context context = {.version = 5};

/* Every place is in one piece, the right one. */
static void check_pieces(const struct txn_piece *pieces, int32_t len)
{
    int seen[IDS] = {0};

    cr_assert_eq(len, PLACES);
    for (int32_t i = 0; i < len; i++)
        for (int32_t k = 0; k < pieces[i].len; k++) {
            int32_t place = pieces[i].places[k];

            seen[place]++;
            cr_assert_eq(pieces[i].partition,
                         coord_partition_of(slice_str(names[place]), PLACES));
            cr_assert(k == 0 || place > pieces[i].places[k - 1]);
        }
    for (int i = 0; i < IDS; i++)
        cr_assert_eq(seen[i], 1);
}

Test(txn_split, describe)
{
    struct slice ids[IDS];
    name_ids(ids);
    struct describe_transactions_request request = {ids, IDS};
    struct arena arena;
    int32_t len, partitions[] = {3, 4};
    struct describe_transactions_response_topic_data topic = {SLICE("a"),
                                                              partitions, 2};

    arena_init(&arena, 0);
    struct txn_piece *pieces =
        txn_split(API_DESCRIBE_TRANSACTIONS, &request, PLACES, &arena, &len);
    check_pieces(pieces, len);
    struct txn_answer *whole =
        txn_refuse(&context, API_DESCRIBE_TRANSACTIONS, &request, ERR_NONE);
    for (int32_t i = 0; i < len; i++) {
        struct txn_answer *part =
            txn_refuse(&context, API_DESCRIBE_TRANSACTIONS,
                       &pieces[i].request.describe_transactions, ERR_NONE);
        for (int32_t k = 0; k < pieces[i].len; k++) {
            struct describe_transactions_response_transaction_state *state =
                &part->response.describe_transactions.transaction_states[k];
            state->producer_id = pieces[i].places[k];
            state->topics = &topic;
            state->topics_len = 1;
        }
        txn_gather(whole, &pieces[i], part);
        txn_answer_free(part);
    }
    for (int i = 0; i < IDS; i++) {
        const struct describe_transactions_response_transaction_state *state =
            &whole->response.describe_transactions.transaction_states[i];
        cr_assert_eq(state->producer_id, i);
        cr_assert(slice_eq_str(state->transactional_id, names[i]));
        cr_assert_eq(state->topics[0].partitions[1], 4);
    }
    txn_answer_free(whole);
    arena_free(&arena);
}

Test(txn_split, add)
{
    struct slice ids[IDS];
    struct add_partitions_to_txn_request_transaction txns[IDS] = {0};
    int32_t partitions[] = {0, 1};
    struct add_partitions_to_txn_request_topic topic = {SLICE("a"), partitions,
                                                        2};
    struct arena arena;
    int32_t len;

    name_ids(ids);
    for (int i = 0; i < IDS; i++) {
        txns[i].transactional_id = ids[i];
        txns[i].topics = &topic;
        txns[i].topics_len = 1;
    }
    struct add_partitions_to_txn_request request = {.transactions = txns,
                                                    .transactions_len = IDS};
    arena_init(&arena, 0);
    struct txn_piece *pieces =
        txn_split(API_ADD_PARTITIONS_TO_TXN, &request, PLACES, &arena, &len);
    check_pieces(pieces, len);
    struct txn_answer *whole =
        txn_refuse(&context, API_ADD_PARTITIONS_TO_TXN, &request, ERR_NONE);
    for (int32_t i = 0; i < len; i++) {
        struct txn_answer *part = txn_refuse(
            &context, API_ADD_PARTITIONS_TO_TXN,
            &pieces[i].request.add_partitions_to_txn,
            pieces[i].partition == 3 ? ERR_NOT_COORDINATOR : ERR_NONE);
        txn_gather(whole, &pieces[i], part);
        txn_answer_free(part);
    }
    for (int i = 0; i < IDS; i++)
        cr_assert_err(
            whole->response.add_partitions_to_txn.results_by_transaction[i]
                .topic_results[0]
                .results_by_partition[1]
                .partition_error_code,
            coord_partition_of(ids[i], PLACES) == 3 ? ERR_NOT_COORDINATOR
                                                    : ERR_NONE);
    txn_answer_free(whole);
    arena_free(&arena);
}

Test(txn_split, nothing)
{
    struct describe_transactions_request request = {NULL, 0};
    struct arena arena;
    int32_t len;

    arena_init(&arena, 0);
    txn_split(API_DESCRIBE_TRANSACTIONS, &request, PLACES, &arena, &len);
    cr_assert_eq(len, 0);
    arena_free(&arena);
}

Test(txn_split, one_id)
{
    struct init_producer_id_request init = {SLICE("shop"), 0};
    struct add_partitions_to_txn_request add = {.v3_and_below_transactional_id =
                                                    SLICE("shop")};
    struct add_offsets_to_txn_request offsets = {SLICE("shop"), 0, 0,
                                                 SLICE("group")};
    struct end_txn_request end = {SLICE("shop"), 0, 0, false};
    int32_t want = coord_partition_of(SLICE("shop"), 50);

    cr_assert_eq(txn_partition_of(API_INIT_PRODUCER_ID, &init, 50), want);
    cr_assert_eq(txn_partition_of(API_ADD_PARTITIONS_TO_TXN, &add, 50), want);
    cr_assert_eq(txn_partition_of(API_ADD_OFFSETS_TO_TXN, &offsets, 50), want);
    cr_assert_eq(txn_partition_of(API_END_TXN, &end, 50), want);
}

/* Whoever is asked, its coordinator or not. */
Test(txn_split, an_empty_id_is_nobodys)
{
    int32_t partition = 0;
    struct add_partitions_to_txn_request_topic topic = {SLICE("a"), &partition,
                                                        1};
    struct add_partitions_to_txn_request_transaction txns[] = {
        {.transactional_id = SLICE(""), .topics = &topic, .topics_len = 1},
        {.transactional_id = SLICE("t"), .topics = &topic, .topics_len = 1}};
    struct add_partitions_to_txn_request add = {.transactions = txns,
                                                .transactions_len = 2,
                                                .v3_and_below_transactional_id =
                                                    SLICE(""),
                                                .v3_and_below_topics = &topic,
                                                .v3_and_below_topics_len = 1};
    struct add_offsets_to_txn_request offsets = {SLICE(""), 0, 0, SLICE("g")};
    struct end_txn_request end = {SLICE(""), 0, 0, false};
    static const struct txn_context old = {.version = 3};

    struct txn_answer *a = txn_refuse(&context, API_ADD_PARTITIONS_TO_TXN, &add,
                                      ERR_NOT_COORDINATOR);
    const struct add_partitions_to_txn_response_result *r =
        a->response.add_partitions_to_txn.results_by_transaction;
    cr_assert_err(
        r[0].topic_results[0].results_by_partition[0].partition_error_code,
        ERR_INVALID_REQUEST);
    cr_assert_err(
        r[1].topic_results[0].results_by_partition[0].partition_error_code,
        ERR_NOT_COORDINATOR);
    txn_answer_free(a);
    a = txn_refuse(&old, API_ADD_PARTITIONS_TO_TXN, &add, ERR_NOT_COORDINATOR);
    cr_assert_err(
        a->response.add_partitions_to_txn.results_by_topic_v3_and_below[0]
            .results_by_partition[0]
            .partition_error_code,
        ERR_INVALID_REQUEST);
    txn_answer_free(a);
    a = txn_refuse(&context, API_ADD_OFFSETS_TO_TXN, &offsets,
                   ERR_NOT_COORDINATOR);
    cr_assert_err(a->response.add_offsets_to_txn.error_code,
                  ERR_INVALID_REQUEST);
    txn_answer_free(a);
    a = txn_refuse(&context, API_END_TXN, &end, ERR_NOT_COORDINATOR);
    cr_assert_err(a->response.end_txn.error_code, ERR_INVALID_REQUEST);
    txn_answer_free(a);
}

/* ---- lists ---------------------------------------------------------------*/

static struct txn_answer *list_of(const char *id, enum err err)
{
    static const struct list_transactions_request request;
    static struct slice unknown[] = {SLICE("Nonsense")};
    struct txn_answer *answer =
        txn_refuse(&context, API_LIST_TRANSACTIONS, &request, err);
    struct list_transactions_response *r = &answer->response.list_transactions;

    r->transaction_states =
        arena_array(&answer->arena, 1, sizeof *r->transaction_states);
    r->transaction_states_len = id != NULL;
    r->transaction_states[0].transactional_id = slice_str(id);
    r->unknown_state_filters = unknown;
    r->unknown_state_filters_len = 1;
    return answer;
}

static void add_list(struct txn_answer *whole, struct txn_answer *part)
{
    txn_gather_list(whole, part);
    txn_answer_free(part);
}

Test(txn_split, list)
{
    struct txn_answer *whole = list_of(NULL, ERR_NONE);
    const struct list_transactions_response *r =
        &whole->response.list_transactions;

    add_list(whole, list_of("a", ERR_NONE));
    add_list(whole, list_of(NULL, ERR_NONE));
    add_list(whole, list_of("b", ERR_NONE));
    cr_assert_eq(r->transaction_states_len, 2);
    cr_assert_eq(r->unknown_state_filters_len, 1);
    cr_assert(slice_eq_str(r->transaction_states[1].transactional_id, "b"));
    add_list(whole, list_of(NULL, ERR_COORDINATOR_LOAD_IN_PROGRESS));
    add_list(whole, list_of("c", ERR_NONE));
    cr_assert_err(r->error_code, ERR_COORDINATOR_LOAD_IN_PROGRESS);
    cr_assert_eq(r->transaction_states_len, 0);
    txn_answer_free(whole);
}
