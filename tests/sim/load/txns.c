/* A client goes from step to step, one request at a time; a request that fails
 * for a passing reason is made again.  What cannot go on is aborted; who cannot
 * abort either, or does not know his sequence numbers any more, begins again
 * with InitProducerId, which ends what is open.  Whether a commit that was
 * asked for and never answered took place stays unknown then. */
#include "tests/sim/load/txns.h"

#include "tests/sim/load/txns_parts.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TICK_MS = 20,
    RETRY_MS = 60,
    STEP_MS = 20000, /* then a step is given up */
    RECORDS_MAX = 4, /* in a batch */
    PRODUCE_FLOOR = 3,
    PRODUCE_CAP = 11, /* from 12 on brokers add partitions */
    PRODUCE_SECOND = 12,
    OFFSET_COMMIT_SECOND = 5,
    END_SECOND = 5, /* bumps the epoch */
    FLEXIBLE_COORDINATORS = 4,
    TRAIN_MAX = 4, /* fewer than the batches that a leader remembers */
    GAP_MS = 6,    /* between two batches of a train, at most */
};

enum step {
    STEP_INIT,
    STEP_IDLE,
    STEP_ADD,
    STEP_PRODUCE,
    STEP_ADD_OFFSETS,
    STEP_OFFSET,
    STEP_COMMIT,
    STEP_ABORT,
};

/* One of those that go to a partition one behind the other, without a wait for
 * the answer. */
struct txns_batch {
    struct buf bytes;
    int32_t count; /* of records */
    bool sent;     /* in this attempt */
    bool acked;
    enum err error; /* of this attempt */
};

/* A batch that waits for its answer, or that nobody waits for any more. */
struct txns_send {
    struct txns_client *client;
    struct txns_batch *batch;
    bool busy;
    bool left;
};

struct txns_client {
    struct load_txns *owner;
    int number;
    char *id;    /* transactional.id */
    char *group; /* whose offsets are in the transactions */
    struct load_client *client;
    struct prng *prng;
    enum step step;
    bool busy; /* a request is on its way */
    bool gone; /* died for good */
    int64_t next_ms;
    int64_t step_until_ms;
    int32_t coordinator; /* of transactions; -1 */
    int32_t group_coordinator;
    int64_t producer_id;
    int16_t epoch;
    int32_t sequence[TXNS_PARTITIONS_MAX];
    /* The transaction. */
    int32_t txn; /* -1: none */
    bool commits;
    bool doubtful; /* what was sent may come later: see in_doubt() */
    bool with_offset;
    uint32_t partitions;                /* bits; those yet to be written to */
    int32_t index;                      /* of the next record */
    struct txns_batch train[TRAIN_MAX]; /* what is being sent, ... */
    int train_len;                      /* ... 0: nothing, ... */
    int32_t train_at;                   /* ... to which partition, ... */
    int32_t train_to;                   /* ... and to which node */
    bool repeated;                      /* it is not the first attempt */
    struct env_timer pace;              /* for the next of the train */
    struct txns_send sends[2 * TRAIN_MAX];
};

/* ---- life of a client ---------------------------------------------------- */

static void send_next(void *arg);

struct txns_client *txns_client_of(struct load_txns *t, int number)
{
    struct txns_client *c = xcalloc(1, sizeof *c);

    c->owner = t;
    c->number = number;
    c->id = xasprintf("%stxn-%d", t->options.space, number);
    c->group = xasprintf("%stxn-group-%d", t->options.space, number);
    c->client = load_client_new(t->env, prng_next(&t->prng), &t->client);
    c->prng = load_client_prng(c->client);
    c->coordinator = c->group_coordinator = -1;
    c->txn = -1;
    for (int i = 0; i < 2 * TRAIN_MAX; i++)
        c->sends[i].client = c;
    c->pace.fn = send_next;
    c->pace.arg = c;
    return c;
}

void txns_client_free(struct txns_client *c)
{
    env_timer_stop(c->owner->env, &c->pace);
    load_client_free(c->client);
    for (int i = 0; i < TRAIN_MAX; i++)
        buf_free(&c->train[i].bytes);
    free(c->id);
    free(c->group);
    free(c);
}

static int64_t now(const struct txns_client *c)
{
    return env_now_ms(c->owner->env);
}

static void go(struct txns_client *c, enum step step)
{
    c->step = step;
    c->step_until_ms = now(c) + STEP_MS;
    c->next_ms = now(c);
}

/* From the start: the coordinator ends what is open. */
static void begin_anew(struct txns_client *c)
{
    c->txn = -1;
    go(c, STEP_INIT);
}

static void give_up(struct txns_client *c)
{
    if (c->step == STEP_INIT || c->step == STEP_COMMIT || c->step == STEP_ABORT)
        begin_anew(c);
    else
        go(c, STEP_ABORT);
}

static void again(struct txns_client *c)
{
    c->next_ms = now(c) + RETRY_MS + (int64_t)prng_below(c->prng, RETRY_MS);
    load_client_look(c->client);
    if (now(c) >= c->step_until_ms && c->step != STEP_INIT)
        give_up(c);
}

/* A request without an answer may still be on its way: a batch that is there or
 * not, an EndTxn that would end the next transaction.  Within one epoch nobody
 * can tell it from a new one (KIP-890), so the client gets another when this
 * transaction is over. */
static void in_doubt(struct txns_client *c, enum err error)
{
    if (error != ERR_NONE && !c->owner->options.second)
        c->doubtful = true;
}

/* True: it went well. */
static bool judge(struct txns_client *c, enum err error)
{
    c->busy = false;
    if (error == ERR_NONE)
        return true;
    history_note(c->owner->history, "transaction %d/%d step %d: %s", c->number,
                 c->txn, c->step, err_name(error));
    switch (error) {
    case ERR_NOT_COORDINATOR:
    case ERR_COORDINATOR_NOT_AVAILABLE:
        c->coordinator = c->group_coordinator = -1;
        again(c);
        break;
    case ERR_CONCURRENT_TRANSACTIONS:
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
        again(c);
        break;
    case ERR_PRODUCER_FENCED:
    case ERR_INVALID_PRODUCER_EPOCH:
    case ERR_INVALID_PRODUCER_ID_MAPPING:
        begin_anew(c);
        break;
    default:
        if (err_retriable(error) || error == ERR_CLOSED ||
            error == ERR_REFUSED || error == ERR_UNREACHABLE ||
            error == ERR_MALFORMED) {
            c->coordinator = c->group_coordinator = -1;
            again(c);
        } else {
            give_up(c);
        }
    }
    return false;
}

/* ---- coordinators -------------------------------------------------------- */

static void found(void *arg, enum err error, const void *response)
{
    struct txns_client *c = arg;
    const struct find_coordinator_response *a = response;
    int32_t node = -1;

    if (error == ERR_NONE && a->coordinators_len > 0) {
        error = (enum err)a->coordinators[0].error_code;
        node = a->coordinators[0].node_id;
    } else if (error == ERR_NONE) {
        error = (enum err)a->error_code;
        node = a->node_id;
    }
    if (!judge(c, error))
        return;
    if (c->step == STEP_OFFSET)
        c->group_coordinator = node;
    else
        c->coordinator = node;
}

/* -1: it is being looked for. */
static int32_t coordinator(struct txns_client *c)
{
    bool group = c->step == STEP_OFFSET;
    int32_t node = group ? c->group_coordinator : c->coordinator;
    struct slice key = slice_str(group ? c->group : c->id);
    struct find_coordinator_request q;

    if (node >= 0)
        return node;
    int16_t version =
        load_client_version(c->client, API_FIND_COORDINATOR, 1, INT16_MAX);
    find_coordinator_request_init(&q);
    q.key_type = (int8_t)(group ? 0 : 1);
    if (version >= FLEXIBLE_COORDINATORS) {
        q.coordinator_keys = &key;
        q.coordinator_keys_len = 1;
    } else {
        q.key = key;
    }
    c->busy = true;
    load_client_call(c->client, LOAD_ANY_NODE, API_FIND_COORDINATOR, version,
                     &q, 0, found, c);
    return -1;
}

/* ---- InitProducerId ------------------------------------------------------ */

static void initialized(void *arg, enum err error, const void *response)
{
    struct txns_client *c = arg;
    const struct init_producer_id_response *a = response;

    if (!judge(c, error == ERR_NONE ? (enum err)a->error_code : error))
        return;
    c->producer_id = a->producer_id;
    c->epoch = a->producer_epoch;
    for (int i = 0; i < TXNS_PARTITIONS_MAX; i++)
        c->sequence[i] = 0;
    c->doubtful = false;
    go(c, STEP_IDLE);
    c->next_ms += (int64_t)prng_below(
        c->prng, (uint64_t)c->owner->options.interval_ms * 2 + 1);
}

static void step_init(struct txns_client *c)
{
    struct init_producer_id_request q;
    int32_t node = coordinator(c);

    if (node < 0)
        return;
    init_producer_id_request_init(&q);
    q.transactional_id = slice_str(c->id);
    q.transaction_timeout_ms = c->owner->options.timeout_ms;
    c->busy = true;
    load_client_call(c->client, node, API_INIT_PRODUCER_ID,
                     load_client_version(c->client, API_INIT_PRODUCER_ID, 0, 4),
                     &q, 0, initialized, c);
}

/* ---- a transaction begins ------------------------------------------------ */

static void step_idle(struct txns_client *c)
{
    const struct load_topic *topic =
        load_client_topic(c->client, slice_str(c->owner->topic), UUID_ZERO);

    if (c->owner->stopped)
        return;
    if (topic == NULL) {
        load_client_look(c->client);
        c->next_ms = now(c) + RETRY_MS;
        return;
    }
    c->txn = txn_history_begin(c->owner->txns, c->number);
    c->index = 0;
    c->commits = prng_below(c->prng, 4) != 0;
    c->with_offset = c->owner->options.offsets && prng_below(c->prng, 2) == 0;
    c->partitions = 1 + (uint32_t)prng_below(
                            c->prng, (1u << c->owner->options.partitions) - 1);
    go(c, c->owner->options.second ? STEP_PRODUCE : STEP_ADD);
}

static enum err added_error(const struct add_partitions_to_txn_response *a)
{
    for (int32_t t = 0; t < a->results_by_topic_v3_and_below_len; t++) {
        const struct add_partitions_to_txn_response_topic_result *r =
            &a->results_by_topic_v3_and_below[t];

        for (int32_t i = 0; i < r->results_by_partition_len; i++)
            if (r->results_by_partition[i].partition_error_code != ERR_NONE)
                return (enum err)r->results_by_partition[i]
                    .partition_error_code;
    }
    return ERR_NONE;
}

static void added(void *arg, enum err error, const void *response)
{
    struct txns_client *c = arg;

    if (judge(c, error == ERR_NONE ? added_error(response) : error))
        go(c, STEP_PRODUCE);
}

static void step_add(struct txns_client *c)
{
    struct add_partitions_to_txn_request q;
    struct add_partitions_to_txn_request_topic topic;
    int32_t partitions[TXNS_PARTITIONS_MAX];
    int32_t node = coordinator(c);

    if (node < 0)
        return;
    add_partitions_to_txn_request_init(&q);
    add_partitions_to_txn_request_topic_init(&topic);
    topic.name = slice_str(c->owner->topic);
    topic.partitions = partitions;
    for (int32_t p = 0; p < TXNS_PARTITIONS_MAX; p++)
        if (c->partitions & 1u << p)
            partitions[topic.partitions_len++] = p;
    q.v3_and_below_transactional_id = slice_str(c->id);
    q.v3_and_below_producer_id = c->producer_id;
    q.v3_and_below_producer_epoch = c->epoch;
    q.v3_and_below_topics = &topic;
    q.v3_and_below_topics_len = 1;
    c->busy = true;
    load_client_call(
        c->client, node, API_ADD_PARTITIONS_TO_TXN,
        load_client_version(c->client, API_ADD_PARTITIONS_TO_TXN, 0, 3), &q, 0,
        added, c);
}

/* ---- records ------------------------------------------------------------- */

static void build_batch(struct txns_client *c, struct txns_batch *batch,
                        int32_t sequence)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct buf value = BUF_INIT;

    batch->acked = false;
    batch->count = 1 + (int32_t)prng_below(c->prng, RECORDS_MAX);
    txn_history_sent(c->owner->txns, c->number, c->txn, batch->count);
    for (int32_t i = 0; i < batch->count; i++) {
        value.len = 0;
        txn_history_put(&value,
                        (struct txn_history_id){c->number, c->txn, c->index++});
        batch_builder_append(&c->owner->builder, env_wall_ms(c->owner->env),
                             c->owner->options.compacted ? buf_slice(&value)
                                                         : SLICE_NULL,
                             buf_slice(&value), NULL, 0);
    }
    buf_free(&value);
    options.producer_id = c->producer_id;
    options.producer_epoch = c->epoch;
    options.base_sequence = sequence;
    options.attributes = BATCH_TRANSACTIONAL;
    batch->bytes.len = 0;
    batch_builder_finish(&c->owner->builder, &options, NULL, &batch->bytes);
}

static void build(struct txns_client *c, int32_t partition)
{
    int32_t sequence = c->sequence[partition];

    c->train_at = partition;
    c->repeated = false;
    c->train_len = 1;
    if (c->owner->options.trains)
        c->train_len += (int)prng_below(c->prng, TRAIN_MAX);
    for (int i = 0; i < c->train_len; i++) {
        build_batch(c, &c->train[i], sequence);
        sequence += c->train[i].count;
    }
}

static void drop_train(struct txns_client *c)
{
    env_timer_stop(c->owner->env, &c->pace);
    c->train_len = 0;
}

static enum err produced_error(const struct produce_response *a)
{
    if (a->responses_len != 1 || a->responses[0].partition_responses_len != 1)
        return ERR_MALFORMED;
    return (enum err)a->responses[0].partition_responses[0].error_code;
}

static enum step after_records(const struct txns_client *c)
{
    if (c->with_offset)
        return c->owner->options.second ? STEP_OFFSET : STEP_ADD_OFFSETS;
    return c->commits ? STEP_COMMIT : STEP_ABORT;
}

/* In the second protocol the version says what is meant, so it is fixed. */
static int16_t version_of(struct txns_client *c, enum api_key api, int16_t low,
                          int16_t high, int16_t second)
{
    return c->owner->options.second
               ? second
               : load_client_version(c->client, api, low, high);
}

static void train_arrived(struct txns_client *c)
{
    c->busy = false;
    c->doubtful = false;
    for (int i = 0; i < c->train_len; i++)
        c->sequence[c->train_at] += c->train[i].count;
    drop_train(c);
    c->partitions &= ~(1u << c->train_at);
    if (c->partitions != 0)
        go(c, STEP_PRODUCE);
    else
        go(c, after_records(c));
}

/* The first that failed says what is to be done; what was behind it may have
 * failed for that reason alone. */
static void train_failed(struct txns_client *c, const struct txns_batch *first)
{
    env_timer_stop(c->owner->env, &c->pace);
    if (first->error == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER && !c->repeated &&
        !c->doubtful)
        txn_history_gap(c->owner->txns, c->number, c->txn, c->train_at);
    c->repeated = true;
    c->doubtful = true;
    judge(c, first->error);
}

static bool waits_for_answers(const struct txns_client *c)
{
    for (int i = 0; i < 2 * TRAIN_MAX; i++)
        if (c->sends[i].busy && !c->sends[i].left)
            return true;
    return false;
}

/* What was sent is answered; the rest is still to be sent, or is not to be in
 * this attempt. */
static void settle_train(struct txns_client *c)
{
    const struct txns_batch *failed = NULL;
    bool unsent = false;

    for (int i = 0; i < c->train_len; i++) {
        const struct txns_batch *b = &c->train[i];

        if (b->sent && !b->acked && failed == NULL)
            failed = b;
        unsent = unsent || (!b->sent && !b->acked);
    }
    if (failed != NULL)
        train_failed(c, failed);
    else if (!unsent)
        train_arrived(c);
    else
        c->busy = env_timer_running(&c->pace);
}

static void produced(void *arg, enum err error, const void *response)
{
    struct txns_send *s = arg;
    struct txns_client *c = s->client;
    bool left = s->left;

    s->busy = s->left = false;
    if (left)
        return;
    if (error == ERR_NONE)
        error = produced_error(response);
    s->batch->error = error == ERR_DUPLICATE_SEQUENCE_NUMBER ? ERR_NONE : error;
    s->batch->acked = s->batch->error == ERR_NONE;
    if (!waits_for_answers(c))
        settle_train(c);
}

static void send_batch(struct txns_client *c, struct txns_batch *batch)
{
    struct produce_request_partition_produce_data data;
    struct produce_request_topic_produce_data topic;
    struct produce_request q;
    struct txns_send *s = c->sends;

    produce_request_init(&q);
    produce_request_topic_produce_data_init(&topic);
    produce_request_partition_produce_data_init(&data);
    data.index = c->train_at;
    data.records.bytes = buf_slice(&batch->bytes);
    topic.name = slice_str(c->owner->topic);
    topic.partition_data = &data;
    topic.partition_data_len = 1;
    q.transactional_id = slice_str(c->id);
    q.acks = -1;
    q.timeout_ms = 3000;
    q.topic_data = &topic;
    q.topic_data_len = 1;
    while (s->busy)
        s++;
    ASSERT(s < c->sends + 2 * TRAIN_MAX);
    s->busy = c->busy = batch->sent = true;
    s->batch = batch;
    load_client_call(
        c->client, c->train_to, API_PRODUCE,
        version_of(c, API_PRODUCE, PRODUCE_FLOOR, PRODUCE_CAP, PRODUCE_SECOND),
        &q, 0, produced, s);
}

static int32_t leader_of(struct txns_client *c, int32_t partition)
{
    int32_t epoch;

    return load_client_leader(c->client, slice_str(c->owner->topic), UUID_ZERO,
                              partition, &epoch);
}

static struct txns_batch *next_unsent(struct txns_client *c)
{
    for (int i = 0; i < c->train_len; i++)
        if (!c->train[i].sent && !c->train[i].acked)
            return &c->train[i];
    return NULL;
}

/* Another leader gets the rest in another attempt: there it would come before
 * what is on its way to this one. */
static void send_next(void *arg)
{
    struct txns_client *c = arg;
    struct txns_batch *b = next_unsent(c);

    if (leader_of(c, c->train_at) == c->train_to)
        send_batch(c, b);
    else if (!waits_for_answers(c))
        c->busy = false;
    if (b->sent && next_unsent(c) != NULL)
        env_timer_start(c->owner->env, &c->pace,
                        (int64_t)prng_below(c->prng, GAP_MS));
}

static void step_produce(struct txns_client *c)
{
    int32_t partition = 0;

    while (!(c->partitions & 1u << partition))
        partition++;
    c->train_to = leader_of(c, partition);
    if (c->train_to < 0) {
        again(c);
        return;
    }
    if (c->train_len == 0)
        build(c, partition);
    for (int i = 0; i < c->train_len; i++)
        c->train[i].sent = false;
    send_next(c);
}

/* Aborts while a batch is on its way, which may come after the end of its
 * transaction. */
static void lose_patience(struct txns_client *c)
{
    bool waits = false, left = false;

    for (int i = 0; i < 2 * TRAIN_MAX; i++) {
        waits = waits || (c->sends[i].busy && !c->sends[i].left);
        left = left || (c->sends[i].busy && c->sends[i].left);
    }
    if (!c->owner->options.hasty || c->step != STEP_PRODUCE || waits == left ||
        prng_below(c->prng, 8) != 0)
        return;
    history_note(c->owner->history, "transaction %d/%d waits no longer",
                 c->number, c->txn);
    for (int i = 0; i < 2 * TRAIN_MAX; i++)
        c->sends[i].left = c->sends[i].busy;
    c->busy = false;
    c->doubtful = true;
    go(c, STEP_ABORT);
}

/* ---- an offset ----------------------------------------------------------- */

static void offsets_added(void *arg, enum err error, const void *response)
{
    struct txns_client *c = arg;
    const struct add_offsets_to_txn_response *a = response;

    if (judge(c, error == ERR_NONE ? (enum err)a->error_code : error))
        go(c, STEP_OFFSET);
}

static void step_add_offsets(struct txns_client *c)
{
    struct add_offsets_to_txn_request q;
    int32_t node = coordinator(c);

    if (node < 0)
        return;
    add_offsets_to_txn_request_init(&q);
    q.transactional_id = slice_str(c->id);
    q.producer_id = c->producer_id;
    q.producer_epoch = c->epoch;
    q.group_id = slice_str(c->group);
    c->busy = true;
    load_client_call(
        c->client, node, API_ADD_OFFSETS_TO_TXN,
        load_client_version(c->client, API_ADD_OFFSETS_TO_TXN, 0, 3), &q, 0,
        offsets_added, c);
}

static void offset_stored(void *arg, enum err error, const void *response)
{
    struct txns_client *c = arg;
    const struct txn_offset_commit_response *a = response;

    if (error == ERR_NONE)
        error = a->topics_len == 1 && a->topics[0].partitions_len == 1
                    ? (enum err)a->topics[0].partitions[0].error_code
                    : ERR_MALFORMED;
    if (judge(c, error))
        go(c, c->commits ? STEP_COMMIT : STEP_ABORT);
}

static void step_offset(struct txns_client *c)
{
    struct txn_offset_commit_request_partition partition;
    struct txn_offset_commit_request_topic topic;
    struct txn_offset_commit_request q;
    int32_t node = coordinator(c);

    if (node < 0)
        return;
    txn_history_offset(c->owner->txns, c->number, c->txn);
    txn_offset_commit_request_init(&q);
    txn_offset_commit_request_topic_init(&topic);
    txn_offset_commit_request_partition_init(&partition);
    partition.committed_offset = c->txn;
    partition.committed_metadata = SLICE("");
    topic.name = slice_str(c->owner->topic);
    topic.partitions = &partition;
    topic.partitions_len = 1;
    q.transactional_id = slice_str(c->id);
    q.group_id = slice_str(c->group);
    q.producer_id = c->producer_id;
    q.producer_epoch = c->epoch;
    q.topics = &topic;
    q.topics_len = 1;
    c->busy = true;
    load_client_call(
        c->client, node, API_TXN_OFFSET_COMMIT,
        version_of(c, API_TXN_OFFSET_COMMIT, 0, 4, OFFSET_COMMIT_SECOND), &q, 0,
        offset_stored, c);
}

/* ---- the end ------------------------------------------------------------- */

/* With it begin new numbers, so nothing is in doubt. */
static void take_epoch(struct txns_client *c, const struct end_txn_response *a)
{
    c->producer_id = a->producer_id;
    c->epoch = a->producer_epoch;
    for (int i = 0; i < TXNS_PARTITIONS_MAX; i++)
        c->sequence[i] = 0;
    c->doubtful = false;
}

static void ended(void *arg, enum err error, const void *response)
{
    struct txns_client *c = arg;
    const struct end_txn_response *a = response;

    in_doubt(c, error);
    if (!judge(c, error == ERR_NONE ? (enum err)a->error_code : error))
        return;
    txn_history_ended(c->owner->txns, c->number, c->txn,
                      c->step == STEP_COMMIT);
    c->txn = -1;
    drop_train(c);
    if (c->owner->options.second)
        take_epoch(c, a);
    if (c->doubtful) {
        begin_anew(c);
        return;
    }
    go(c, STEP_IDLE);
    c->next_ms += (int64_t)prng_below(
        c->prng, (uint64_t)c->owner->options.interval_ms * 2 + 1);
}

static void step_end(struct txns_client *c)
{
    struct end_txn_request q;
    int32_t node = coordinator(c);

    if (node < 0)
        return;
    if (c->step == STEP_COMMIT)
        txn_history_commits(c->owner->txns, c->number, c->txn);
    end_txn_request_init(&q);
    q.transactional_id = slice_str(c->id);
    q.producer_id = c->producer_id;
    q.producer_epoch = c->epoch;
    q.committed = c->step == STEP_COMMIT;
    c->busy = true;
    load_client_call(c->client, node, API_END_TXN,
                     version_of(c, API_END_TXN, 0, 4, END_SECOND), &q, 0, ended,
                     c);
}

/* ---- time ---------------------------------------------------------------- */

/* As a process that dies, and one that takes its place. */
static void die(struct txns_client *c)
{
    history_note(c->owner->history, "transactional client %d dies", c->number);
    load_client_reset(c->client);
    load_client_look(c->client);
    c->busy = false;
    for (int i = 0; i < 2 * TRAIN_MAX; i++)
        c->sends[i].busy = c->sends[i].left = false;
    drop_train(c);
    c->coordinator = c->group_coordinator = -1;
    begin_anew(c);
}

/* Nobody takes its place: what is open is the coordinator's to abort. */
static bool vanishes(struct txns_client *c)
{
    if (c->owner->options.vanish && !c->gone &&
        c->number == c->owner->options.clients - 1 &&
        (c->step == STEP_PRODUCE || c->step == STEP_COMMIT) &&
        (c->owner->stopped || prng_below(c->prng, 100) == 0)) {
        die(c);
        c->gone = true;
    }
    return c->gone;
}

void txns_client_tick(struct txns_client *c)
{
    static void (*const steps[])(struct txns_client *) = {
        [STEP_INIT] = step_init,
        [STEP_IDLE] = step_idle,
        [STEP_ADD] = step_add,
        [STEP_PRODUCE] = step_produce,
        [STEP_ADD_OFFSETS] = step_add_offsets,
        [STEP_OFFSET] = step_offset,
        [STEP_COMMIT] = step_end,
        [STEP_ABORT] = step_end,
    };

    if (vanishes(c))
        return;
    if (c->owner->options.deaths && !c->owner->stopped &&
        prng_below(c->prng, 400) == 0)
        die(c);
    lose_patience(c);
    if (c->step != STEP_PRODUCE)
        drop_train(c);
    if (!c->busy && now(c) >= c->next_ms)
        steps[c->step](c);
}

void txns_client_start(struct txns_client *c)
{
    load_client_look(c->client);
    go(c, STEP_INIT);
}

/* Idle, after a last InitProducerId has ended what an earlier life began. */
bool txns_client_is_quiet(const struct txns_client *c)
{
    return c->gone || (c->step == STEP_IDLE && !c->busy);
}

const char *txns_client_group(const struct txns_client *c) { return c->group; }
