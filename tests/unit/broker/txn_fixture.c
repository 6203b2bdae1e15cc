#include "tests/unit/broker/txn_fixture.h"

#include <stdlib.h>

/* ---- the partition -------------------------------------------------------*/

static enum err on_append(void *arg, uint8_t *batch, size_t len,
                          int64_t *base_offset)
{
    struct ledger *l = arg;
    struct batch header;

    if (l->append_err != ERR_NONE)
        return l->append_err;
    cr_assert_lt(l->batches_len, LEDGER_BATCHES_MAX);
    cr_assert_eq(batch_parse(slice_of(batch, len), &header), ERR_NONE);
    batch_patch(batch, l->end_offset, l->leader_epoch);
    buf_put(&l->batches[l->batches_len++], batch, len);
    *base_offset = l->end_offset;
    l->end_offset += header.last_offset_delta + 1;
    if (!l->hold)
        ledger_commit(l);
    return ERR_NONE;
}

static void on_answer(void *arg, struct txn_answer *answer)
{
    struct ledger *l = arg;
    intptr_t token = (intptr_t)answer->token;

    cr_assert(token > 0 && token <= l->tokens);
    cr_assert_null(l->answers[token], "token %d answered twice", (int)token);
    l->answers[token] = answer;
    /* Everything we answer must have a place on the wire. */
    struct buf bytes = BUF_INIT;
    enum err err =
        kafka_encode(api_find((int16_t)answer->api)->response, answer->version,
                     &answer->response, &bytes, NULL);
    cr_assert_eq(err, ERR_NONE, "%s v%d: %s", api_name((int16_t)answer->api),
                 answer->version, err_name(err));
    buf_free(&bytes);
}

static void on_marker(void *arg, struct txn_marker *marker)
{
    struct ledger *l = arg;

    cr_assert_lt(l->markers_len, LEDGER_MARKERS_MAX);
    l->markers[l->markers_len++] = marker;
    if (!l->hold_markers)
        ledger_marker(l, l->markers_len - 1, TXN_MARKER_WRITTEN);
}

static void on_wants_ids(void *arg)
{
    struct ledger *l = arg;

    if (l->no_ids)
        return;
    txn_shard_give_ids(l->shard, l->next_id, 1000);
    l->next_id += 1000;
}

static const struct txn_shard_ops ops = {
    .append = on_append,
    .answer = on_answer,
    .marker = on_marker,
    .wants_ids = on_wants_ids,
};

/* ---- life ----------------------------------------------------------------*/

void ledger_init(struct ledger *l)
{
    memset(l, 0, sizeof *l);
    txn_config_init(&l->options.config);
    l->options.batch_max_bytes = 1 << 20;
    l->options.commit_timeout_ms = 5000;
    l->time = (struct coord_time){1000000, INT64_C(1700000000000)};
    l->next_id = 1000;
    l->offsets_partitions = 50;
}

void ledger_start(struct ledger *l)
{
    l->shard = txn_shard_create(&l->options, &ops, l);
    struct txn_loader *loader = txn_shard_loader(l->shard);

    for (int i = 0; i < l->batches_len; i++)
        cr_assert_eq(txn_loader_add(loader, buf_slice(&l->batches[i])),
                     ERR_NONE);
    cr_assert_eq(txn_loader_skipped(loader), 0);
    l->leader_epoch++;
    txn_shard_activate(l->shard, loader, l->leader_epoch, l->end_offset,
                       l->high_watermark, l->time);
    if (!l->hold)
        ledger_commit(l);
}

void ledger_open(struct ledger *l)
{
    ledger_init(l);
    ledger_start(l);
}

static void resign(struct ledger *l)
{
    txn_shard_resign(l->shard, l->time);
    for (int i = 0; i < l->markers_len; i++)
        ledger_marker(l, i, TXN_MARKER_RETRY);
    l->markers_len = 0;
    txn_shard_free(l->shard);
    l->shard = NULL;
}

void ledger_close(struct ledger *l)
{
    if (l->shard != NULL)
        resign(l);
    for (int i = 0; i < l->batches_len; i++)
        buf_free(&l->batches[i]);
    for (int i = 0; i <= l->tokens; i++)
        txn_answer_free(l->answers[i]);
}

void ledger_fail_over_at(struct ledger *l, int64_t end_offset)
{
    resign(l);
    while (l->batches_len > 0 &&
           (int64_t)be64_get(l->batches[l->batches_len - 1].data) >= end_offset)
        buf_free(&l->batches[--l->batches_len]);
    l->end_offset = end_offset;
    ledger_start(l);
}

void ledger_fail_over(struct ledger *l)
{
    ledger_fail_over_at(l, l->end_offset);
}

void ledger_commit_to(struct ledger *l, int64_t high_watermark)
{
    l->high_watermark = high_watermark;
    txn_shard_committed(l->shard, high_watermark, l->time);
}

void ledger_commit(struct ledger *l) { ledger_commit_to(l, l->end_offset); }

void ledger_pass(struct ledger *l, int64_t ms)
{
    int64_t end = l->time.now_ms + ms;
    int64_t wall_ahead = l->time.wall_ms - l->time.now_ms;

    for (;;) {
        int64_t due = txn_shard_next_deadline(l->shard);

        if (due > end)
            break;
        if (due > l->time.now_ms)
            l->time = (struct coord_time){due, due + wall_ahead};
        txn_shard_tick(l->shard, l->time);
    }
    l->time = (struct coord_time){end, end + wall_ahead};
}

void ledger_marker(struct ledger *l, int i, enum txn_marker_result result)
{
    struct txn_marker *marker = l->markers[i];

    l->markers[i] = NULL;
    if (marker != NULL)
        txn_shard_marker_done(l->shard, marker, result, l->time);
}

void ledger_markers(struct ledger *l)
{
    for (int i = 0; i < l->markers_len; i++)
        ledger_marker(l, i, TXN_MARKER_WRITTEN);
}

char *ledger_dump(const struct ledger *l)
{
    struct buf text = BUF_INIT;

    txn_coord_dump(txn_shard_coord(l->shard), &text);
    char *copy = slice_dup(buf_slice(&text));
    buf_free(&text);
    return copy;
}

/* ---- requests ------------------------------------------------------------*/

int ledger_request(struct ledger *l, enum api_key api, int16_t version,
                   const void *request)
{
    int token = ++l->tokens;
    struct txn_context context = {
        .token = (void *)(intptr_t)token,
        .now_ms = l->time.now_ms,
        .wall_ms = l->time.wall_ms,
        .version = version,
        .partition_error = l->partition_error,
        .offsets_partitions = l->offsets_partitions,
    };

    cr_assert_lt(token, LEDGER_TOKENS_MAX);
    txn_shard_request(l->shard, &context, api, request);
    txn_coord_check(txn_shard_coord(l->shard));
    return token;
}

bool txn_answered(const struct ledger *l, int token)
{
    return l->answers[token] != NULL;
}

const struct txn_answer *txn_answer_of(const struct ledger *l, int token)
{
    cr_assert(txn_answered(l, token), "token %d is not answered", token);
    return l->answers[token];
}

static int16_t version_or(int version, int16_t usual)
{
    return version == 0 ? usual : version == VERSION_0 ? 0 : (int16_t)version;
}

int init_with(struct ledger *l, struct init_args args)
{
    struct init_producer_id_request request = {
        .transactional_id = slice_str(args.id != NULL ? args.id : "t"),
        .transaction_timeout_ms = args.timeout_ms == 0 ? 60000
                                  : args.timeout_ms == TIMEOUT_0
                                      ? 0
                                      : args.timeout_ms,
        .producer_id = args.had.id != NULL ? args.had.producer_id : -1,
        .producer_epoch = args.had.id != NULL ? args.had.epoch : -1,
    };

    return ledger_request(l, API_INIT_PRODUCER_ID, version_or(args.version, 5),
                          &request);
}

enum err init_err(const struct ledger *l, int token)
{
    return txn_answer_of(l, token)->response.init_producer_id.error_code;
}

struct who init_of(const struct ledger *l, int token, const char *id)
{
    const struct init_producer_id_response *r =
        &txn_answer_of(l, token)->response.init_producer_id;

    cr_assert_err(r->error_code, ERR_NONE);
    return (struct who){id, r->producer_id, r->producer_epoch};
}

struct who init_ok(struct ledger *l, const char *id)
{
    return init_of(l, INIT(l, .id = id), id);
}

int add_with(struct ledger *l, struct who who, struct add_args args)
{
    int16_t version =
        args.version != 0 ? (int16_t)args.version : (args.verify ? 4 : 3);
    int32_t partitions[2] = {args.partition, args.partition + 1};
    struct add_partitions_to_txn_request_topic topic = {
        slice_str(args.topic != NULL ? args.topic : "a"), partitions,
        args.both ? 2 : 1};
    struct add_partitions_to_txn_request_transaction txn = {
        slice_str(who.id), who.producer_id, who.epoch, args.verify, &topic, 1};
    struct add_partitions_to_txn_request request = {
        .v3_and_below_transactional_id = slice_str(who.id),
        .v3_and_below_producer_id = who.producer_id,
        .v3_and_below_producer_epoch = who.epoch,
        .v3_and_below_topics = &topic,
        .v3_and_below_topics_len = 1,
    };

    if (version >= 4)
        request = (struct add_partitions_to_txn_request){.transactions = &txn,
                                                         .transactions_len = 1};
    return ledger_request(l, API_ADD_PARTITIONS_TO_TXN, version, &request);
}

enum err add_err_at(const struct ledger *l, int token, int n)
{
    const struct txn_answer *answer = txn_answer_of(l, token);
    const struct add_partitions_to_txn_response *r =
        &answer->response.add_partitions_to_txn;
    const struct add_partitions_to_txn_response_topic_result *topics =
        answer->version >= 4 ? r->results_by_transaction[0].topic_results
                             : r->results_by_topic_v3_and_below;

    return topics[0].results_by_partition[n].partition_error_code;
}

enum err add_err(const struct ledger *l, int token)
{
    return add_err_at(l, token, 0);
}

int add_offsets(struct ledger *l, struct who who, const char *group,
                int version)
{
    struct add_offsets_to_txn_request request = {
        slice_str(who.id), who.producer_id, who.epoch, slice_str(group)};

    return ledger_request(l, API_ADD_OFFSETS_TO_TXN, (int16_t)version,
                          &request);
}

enum err add_offsets_err(const struct ledger *l, int token)
{
    return txn_answer_of(l, token)->response.add_offsets_to_txn.error_code;
}

int end_with(struct ledger *l, struct who who, struct end_args args)
{
    struct end_txn_request request = {slice_str(who.id), who.producer_id,
                                      who.epoch, args.commit};

    return ledger_request(l, API_END_TXN, version_or(args.version, 4),
                          &request);
}

enum err end_err(const struct ledger *l, int token)
{
    return txn_answer_of(l, token)->response.end_txn.error_code;
}

struct who end_of(const struct ledger *l, int token, const char *id)
{
    const struct end_txn_response *r =
        &txn_answer_of(l, token)->response.end_txn;

    cr_assert_err(r->error_code, ERR_NONE);
    return (struct who){id, r->producer_id, r->producer_epoch};
}

const struct describe_transactions_response_transaction_state *
describe_one(struct ledger *l, const char *id)
{
    struct slice ids[1] = {slice_str(id)};
    struct describe_transactions_request request = {ids, 1};
    int token = ledger_request(l, API_DESCRIBE_TRANSACTIONS, 0, &request);

    return &txn_answer_of(l, token)
                ->response.describe_transactions.transaction_states[0];
}

const char *txn_state_of(struct ledger *l, const char *id)
{
    struct slice state = describe_one(l, id)->transaction_state;

    for (int s = TXN_EMPTY; s <= TXN_PREPARE_EPOCH_FENCE; s++)
        if (slice_eq_str(state, txn_state_name((enum txn_state)s)))
            return txn_state_name((enum txn_state)s);
    return "";
}
