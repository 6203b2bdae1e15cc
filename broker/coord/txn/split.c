/* Pieces by partition, and their answers put together. */
#include "broker/coord/txn/split.h"

#include "broker/coord/placement.h"
#include "broker/coord/txn/txn.h"

int32_t txn_partition_of(enum api_key api, const void *request,
                         int32_t partitions)
{
    struct slice id = SLICE("");

    switch (api) {
    case API_INIT_PRODUCER_ID:
        id = ((const struct init_producer_id_request *)request)
                 ->transactional_id;
        break;
    case API_ADD_PARTITIONS_TO_TXN:
        id = ((const struct add_partitions_to_txn_request *)request)
                 ->v3_and_below_transactional_id;
        break;
    case API_ADD_OFFSETS_TO_TXN:
        id = ((const struct add_offsets_to_txn_request *)request)
                 ->transactional_id;
        break;
    case API_END_TXN:
        id = ((const struct end_txn_request *)request)->transactional_id;
        break;
    default:
        ASSERT(false); /* names several, or none */
    }
    return coord_partition_of(slice_is_null(id) ? SLICE("") : id, partitions);
}

/* ---- splitting -----------------------------------------------------------*/

static int32_t ids_of(enum api_key api, const void *request)
{
    if (api == API_DESCRIBE_TRANSACTIONS)
        return ((const struct describe_transactions_request *)request)
            ->transactional_ids_len;
    ASSERT(api == API_ADD_PARTITIONS_TO_TXN);
    return ((const struct add_partitions_to_txn_request *)request)
        ->transactions_len;
}

static struct slice id_at(enum api_key api, const void *request, int32_t i)
{
    if (api == API_DESCRIBE_TRANSACTIONS)
        return ((const struct describe_transactions_request *)request)
            ->transactional_ids[i];
    return ((const struct add_partitions_to_txn_request *)request)
        ->transactions[i]
        .transactional_id;
}

/* The ids at the piece's places. */
static void fill(enum api_key api, const void *request, struct arena *arena,
                 struct txn_piece *piece)
{
    struct describe_transactions_request *d =
        &piece->request.describe_transactions;
    struct add_partitions_to_txn_request *a =
        &piece->request.add_partitions_to_txn;
    size_t len = (size_t)piece->len;

    if (api == API_DESCRIBE_TRANSACTIONS) {
        d->transactional_ids_len = piece->len;
        d->transactional_ids =
            arena_array(arena, len, sizeof *d->transactional_ids);
        for (size_t i = 0; i < len; i++)
            d->transactional_ids[i] = id_at(api, request, piece->places[i]);
        return;
    }
    a->transactions_len = piece->len;
    a->transactions = arena_array(arena, len, sizeof *a->transactions);
    for (size_t i = 0; i < len; i++)
        a->transactions[i] =
            ((const struct add_partitions_to_txn_request *)request)
                ->transactions[piece->places[i]];
}

/* How many ids each partition has, in piece->len, and which piece is whose in
 * piece_of[], by partition. */
static int32_t count(const int32_t *partition_of, int32_t ids,
                     struct txn_piece *pieces, struct txn_piece **piece_of)
{
    int32_t len = 0;

    for (int32_t i = 0; i < ids; i++) {
        struct txn_piece **piece = &piece_of[partition_of[i]];

        if (*piece == NULL) {
            *piece = &pieces[len++];
            (*piece)->partition = partition_of[i];
        }
        (*piece)->len++;
    }
    return len;
}

/* Each piece gets its part of one array. */
static void place(const int32_t *partition_of, int32_t ids,
                  struct txn_piece *pieces, int32_t pieces_len,
                  struct txn_piece **piece_of, int32_t *places)
{
    for (int32_t i = 0; i < pieces_len; i++) {
        pieces[i].places = places;
        places += pieces[i].len;
        pieces[i].len = 0;
    }
    for (int32_t i = 0; i < ids; i++) {
        struct txn_piece *piece = piece_of[partition_of[i]];

        ((int32_t *)(uintptr_t)piece->places)[piece->len++] = i;
    }
}

struct txn_piece *txn_split(enum api_key api, const void *request,
                            int32_t partitions, struct arena *arena,
                            int32_t *len)
{
    int32_t ids = ids_of(api, request);
    size_t n = ids > 0 ? (size_t)ids : 0;
    int32_t *partition_of = arena_array(arena, n, sizeof *partition_of);
    int32_t *places = arena_array(arena, n, sizeof *places);
    struct txn_piece *pieces = arena_array(arena, n, sizeof *pieces);
    struct txn_piece **piece_of =
        arena_array(arena, (size_t)partitions, sizeof *piece_of);

    for (int32_t i = 0; i < ids; i++)
        partition_of[i] =
            coord_partition_of(id_at(api, request, i), partitions);
    *len = count(partition_of, ids, pieces, piece_of);
    place(partition_of, ids, pieces, *len, piece_of, places);
    for (int32_t i = 0; i < *len; i++)
        fill(api, request, arena, &pieces[i]);
    return pieces;
}

/* ---- gathering -----------------------------------------------------------*/

/* Names and places are there already, only the codes are news. */
static void
gather_added(struct add_partitions_to_txn_response_result *to,
             const struct add_partitions_to_txn_response_result *from)
{
    ASSERT(to->topic_results_len == from->topic_results_len);
    for (int32_t t = 0; t < to->topic_results_len; t++) {
        struct add_partitions_to_txn_response_topic_result *topic =
            &to->topic_results[t];

        for (int32_t i = 0; i < topic->results_by_partition_len; i++)
            topic->results_by_partition[i].partition_error_code =
                from->topic_results[t]
                    .results_by_partition[i]
                    .partition_error_code;
    }
}

static void gather_described(
    struct arena *arena,
    struct describe_transactions_response_transaction_state *to,
    const struct describe_transactions_response_transaction_state *from)
{
    *to = *from;
    to->transactional_id = arena_copy(arena, from->transactional_id);
    to->transaction_state = arena_copy(arena, from->transaction_state);
    to->topics =
        arena_array(arena, (size_t)from->topics_len, sizeof *to->topics);
    for (int32_t t = 0; t < from->topics_len; t++) {
        size_t len = (size_t)from->topics[t].partitions_len;

        to->topics[t].topic = arena_copy(arena, from->topics[t].topic);
        to->topics[t].partitions_len = from->topics[t].partitions_len;
        to->topics[t].partitions = arena_array(arena, len, sizeof(int32_t));
        if (len != 0)
            memcpy(to->topics[t].partitions, from->topics[t].partitions,
                   len * sizeof(int32_t));
    }
}

void txn_gather(struct txn_answer *whole, const struct txn_piece *piece,
                const struct txn_answer *answer)
{
    ASSERT(whole->api == answer->api);
    for (int32_t i = 0; i < piece->len; i++)
        if (whole->api == API_DESCRIBE_TRANSACTIONS)
            gather_described(
                &whole->arena,
                &whole->response.describe_transactions
                     .transaction_states[piece->places[i]],
                &answer->response.describe_transactions.transaction_states[i]);
        else
            gather_added(&whole->response.add_partitions_to_txn
                              .results_by_transaction[piece->places[i]],
                         &answer->response.add_partitions_to_txn
                              .results_by_transaction[i]);
}

typedef struct list_transactions_response_transaction_state listed;

/* All coordinators say the same of the filters. */
static void gather_unknown(struct arena *arena,
                           struct list_transactions_response *to,
                           const struct list_transactions_response *from)
{
    if (to->unknown_state_filters_len > 0 ||
        from->unknown_state_filters_len <= 0)
        return;
    to->unknown_state_filters_len = from->unknown_state_filters_len;
    to->unknown_state_filters =
        arena_array(arena, (size_t)from->unknown_state_filters_len,
                    sizeof *to->unknown_state_filters);
    for (int32_t i = 0; i < from->unknown_state_filters_len; i++)
        to->unknown_state_filters[i] =
            arena_copy(arena, from->unknown_state_filters[i]);
}

void txn_gather_list(struct txn_answer *whole, const struct txn_answer *answer)
{
    struct list_transactions_response *to = &whole->response.list_transactions;
    const struct list_transactions_response *from =
        &answer->response.list_transactions;
    struct arena *arena = &whole->arena;
    int32_t before = to->transaction_states_len;

    if (to->error_code == ERR_NONE)
        to->error_code = from->error_code;
    if (to->error_code != ERR_NONE) {
        to->transaction_states_len = 0;
        return;
    }
    gather_unknown(arena, to, from);
    if (from->transaction_states_len == 0)
        return;
    listed *all = arena_array(
        arena, (size_t)before + (size_t)from->transaction_states_len,
        sizeof *all);
    if (before != 0)
        memcpy(all, to->transaction_states, (size_t)before * sizeof *all);
    for (int32_t i = 0; i < from->transaction_states_len; i++) {
        all[before + i] = from->transaction_states[i];
        all[before + i].transactional_id =
            arena_copy(arena, from->transaction_states[i].transactional_id);
        all[before + i].transaction_state =
            arena_copy(arena, from->transaction_states[i].transaction_state);
    }
    to->transaction_states = all;
    to->transaction_states_len = before + from->transaction_states_len;
}
