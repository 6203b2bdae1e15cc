/* DescribeTransactions and ListTransactions: looking without touching. */
#include "broker/coord/pattern.h"
#include "broker/coord/txn/txn.h"

typedef struct describe_transactions_response_transaction_state described;
typedef struct list_transactions_response_transaction_state listed;

static struct slice state_text(const struct txn *txn)
{
    return slice_str(txn_state_name(txn->state));
}

/* ---- DescribeTransactions ------------------------------------------------*/

static void describe_topics(struct arena *arena, const struct txn *txn,
                            described *to)
{
    struct transaction_log_value value = {0};

    txn_value_partitions(&value, txn, NULL, 0, arena);
    to->topics_len = value.transaction_partitions_len;
    to->topics = arena_array(arena, (size_t)to->topics_len, sizeof *to->topics);
    for (int32_t i = 0; i < to->topics_len; i++) {
        const struct transaction_log_value_partitions_schema *from =
            &value.transaction_partitions[i];

        to->topics[i] = (struct describe_transactions_response_topic_data){
            from->topic, from->partition_ids, from->partition_ids_len};
    }
}

static void describe(struct arena *arena, const struct txn *txn, described *to)
{
    to->transaction_state = state_text(txn);
    to->transaction_timeout_ms = txn->timeout_ms;
    to->transaction_start_time_ms = txn->start_wall_ms;
    to->producer_id = txn->producer_id;
    to->producer_epoch = txn->epoch;
    describe_topics(arena, txn, to);
}

void txn_describe_request(struct txn_step *step,
                          const struct txn_context *context,
                          const struct describe_transactions_request *request)
{
    struct txn_answer *answer =
        txn_refuse(context, API_DESCRIBE_TRANSACTIONS, request, ERR_NONE);
    struct describe_transactions_response *r =
        &answer->response.describe_transactions;

    for (int32_t i = 0; i < request->transactional_ids_len; i++) {
        struct slice id = request->transactional_ids[i];
        const struct txn *txn = txn_find(step->coord, id);

        if (id.len == 0)
            r->transaction_states[i].error_code = ERR_INVALID_REQUEST;
        else if (txn == NULL || !txn->exists)
            r->transaction_states[i].error_code =
                ERR_TRANSACTIONAL_ID_NOT_FOUND;
        else
            describe(&answer->arena, txn, &r->transaction_states[i]);
    }
    txn_answer_send(step, answer);
}

/* ---- ListTransactions ----------------------------------------------------*/

struct filter {
    const struct list_transactions_request *request;
    struct coord_pattern *pattern; /* NULL: any id */
    int64_t wall_ms;
};

static bool known_state(struct slice name)
{
    for (int state = TXN_EMPTY; state <= TXN_PREPARE_EPOCH_FENCE; state++)
        if (slice_eq_str(name, txn_state_name((enum txn_state)state)))
            return true;
    return false;
}

static bool passes_state(const struct filter *f, const struct txn *txn)
{
    for (int32_t i = 0; i < f->request->state_filters_len; i++)
        if (slice_eq(f->request->state_filters[i], state_text(txn)))
            return true;
    return f->request->state_filters_len <= 0;
}

static bool passes_producer(const struct filter *f, const struct txn *txn)
{
    for (int32_t i = 0; i < f->request->producer_id_filters_len; i++)
        if (f->request->producer_id_filters[i] == txn->producer_id)
            return true;
    return f->request->producer_id_filters_len <= 0;
}

/* As in Kafka an id that never had a transaction (start -1) is an old one. */
static bool passes_duration(const struct filter *f, const struct txn *txn)
{
    return f->request->duration_filter < 0 ||
           f->wall_ms - txn->start_wall_ms > f->request->duration_filter;
}

static bool passes(const struct filter *f, const struct txn *txn)
{
    return txn->exists && passes_state(f, txn) && passes_producer(f, txn) &&
           passes_duration(f, txn) &&
           (f->pattern == NULL || coord_pattern_matches(f->pattern, txn->id));
}

static void list_unknown_states(struct arena *arena,
                                const struct list_transactions_request *request,
                                struct list_transactions_response *r)
{
    size_t len =
        request->state_filters_len > 0 ? (size_t)request->state_filters_len : 0;

    r->unknown_state_filters =
        arena_array(arena, len, sizeof *r->unknown_state_filters);
    for (size_t i = 0; i < len; i++)
        if (!known_state(request->state_filters[i]))
            r->unknown_state_filters[r->unknown_state_filters_len++] =
                arena_copy(arena, request->state_filters[i]);
}

static void list(const struct txn_coord *coord, const struct filter *filter,
                 struct arena *arena, struct list_transactions_response *r)
{
    r->transaction_states = arena_array(arena, map_count(&coord->txns),
                                        sizeof *r->transaction_states);
    MAP_EACH (entry, &coord->txns) {
        const struct txn *txn = entry->value;

        if (passes(filter, txn))
            r->transaction_states[r->transaction_states_len++] = (listed){
                arena_copy(arena, txn->id), txn->producer_id, state_text(txn)};
    }
}

void txn_list_request(struct txn_step *step, const struct txn_context *context,
                      const struct list_transactions_request *request)
{
    struct txn_answer *answer = txn_answer_new(context, API_LIST_TRANSACTIONS);
    struct list_transactions_response *r = &answer->response.list_transactions;
    struct slice pattern = request->transactional_id_pattern;
    struct filter filter = {request, NULL, step->time.wall_ms};

    if (pattern.len != 0)
        filter.pattern = coord_pattern_compile(pattern);
    if (pattern.len != 0 && filter.pattern == NULL) {
        r->error_code = ERR_INVALID_REGULAR_EXPRESSION;
    } else {
        list_unknown_states(&answer->arena, request, r);
        list(step->coord, &filter, &answer->arena, r);
    }
    coord_pattern_free(filter.pattern);
    txn_answer_send(step, answer);
}
