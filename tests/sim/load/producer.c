/* A lane is one partition of one incarnation of a topic: its batches in order,
 * and the session that numbers them.  A batch takes its records' numbers and
 * its sequence when it is first sent.
 *
 * What may be sent next of a lane: a batch that failed before, only when it is
 * the oldest; a new one, only when none before it waits to be sent again.
 *
 * A lane is broken from the moment a batch failed for good until nothing of it
 * is in flight; then it begins a new session. */
#include "tests/sim/load/producer.h"

#include "proto/record/builder.h"
#include "tests/sim/load/payload.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BATCHES_IN_FLIGHT_MAX = 5,
    PRODUCE_WITH_IDS = 13,
    PRODUCE_FLOOR = 3, /* record batches */
    PRODUCE_ZSTD = 7,
    RETRY_MS = 50,
    TICK_MS = 20,
};

struct batch_out {
    struct list in; /* lane.batches */
    struct lane *lane;
    int count;     /* of records */
    int64_t first; /* number of its first record; -1: never sent */
    struct buf bytes;
    int64_t created_ms;
    int attempts;
    bool in_flight;
    bool was_head; /* when it was sent last */
};

struct lane {
    struct list in;
    char *name;
    struct uuid id;
    int topic; /* in the history */
    int32_t partition;
    struct list batches;
    int64_t retry_at_ms;
    bool broken;
    int64_t session; /* -1: none yet */
    int64_t producer_id;
    int16_t producer_epoch;
    int64_t next_sequence;
};

struct load_producer {
    struct env *env;
    struct load_client *client;
    struct history *history;
    struct load_producer_options options;
    struct prng *prng;
    struct list lanes;
    struct list requests; /* waiting for answers */
    int waiting;          /* batches of all lanes */
    int64_t next_number;
    int64_t producer_id; /* -1: none; being asked for */
    int16_t producer_epoch;
    bool asking;
    bool stopped;
    int64_t next_batch_ms;
    struct env_timer timer;
    struct codec *codec;
    struct batch_builder builder;
};

struct request {
    struct list in;
    struct load_producer *producer;
    struct batch_out **batches;
    int32_t len;
};

static void tick(void *arg);
static void pump(struct load_producer *p);

struct load_producer *load_producer_new(
    struct env *env, uint64_t seed, const struct load_client_options *client,
    struct history *history, const struct load_producer_options *options)
{
    struct load_producer *p = xcalloc(1, sizeof *p);

    p->env = env;
    p->client = load_client_new(env, seed, client);
    p->prng = load_client_prng(p->client);
    p->history = history;
    p->options = *options;
    p->producer_id = -1;
    p->timer.fn = tick;
    p->timer.arg = p;
    p->codec = codec_new();
    batch_builder_init(&p->builder);
    list_init(&p->lanes);
    list_init(&p->requests);
    return p;
}

static void batch_free(struct load_producer *p, struct batch_out *b)
{
    list_remove(&b->in);
    p->waiting--;
    buf_free(&b->bytes);
    free(b);
}

static void lane_free(struct load_producer *p, struct lane *lane)
{
    while (!list_empty(&lane->batches))
        batch_free(p, LIST_ENTRY(lane->batches.next, struct batch_out, in));
    list_remove(&lane->in);
    free(lane->name);
    free(lane);
}

static void request_free(struct request *r)
{
    list_remove(&r->in);
    free(r->batches);
    free(r);
}

void load_producer_free(struct load_producer *p)
{
    env_timer_stop(p->env, &p->timer);
    load_client_free(p->client);
    while (!list_empty(&p->requests))
        request_free(LIST_ENTRY(p->requests.next, struct request, in));
    while (!list_empty(&p->lanes))
        lane_free(p, LIST_ENTRY(p->lanes.next, struct lane, in));
    batch_builder_free(&p->builder);
    codec_free(p->codec);
    free(p);
}

/* ---- the producer id
 * ---------------------------------------------------------- */

static void identified(void *arg, enum err error, const void *response)
{
    struct load_producer *p = arg;
    const struct init_producer_id_response *a = response;

    p->asking = false;
    if (error != ERR_NONE || a->error_code != ERR_NONE)
        return; /* the next tick asks again */
    p->producer_id = a->producer_id;
    p->producer_epoch = a->producer_epoch;
    history_note(p->history, "producer %d has id %lld epoch %d",
                 p->options.number, (long long)a->producer_id,
                 a->producer_epoch);
    pump(p);
}

static void identify(struct load_producer *p)
{
    struct init_producer_id_request q;

    if (!p->options.idempotent || p->producer_id >= 0 || p->asking)
        return;
    p->asking = true;
    init_producer_id_request_init(&q);
    q.transactional_id = SLICE_NULL;
    q.transaction_timeout_ms = INT32_MAX;
    load_client_call(
        p->client, LOAD_ANY_NODE, API_INIT_PRODUCER_ID,
        load_client_version(p->client, API_INIT_PRODUCER_ID, 0, INT16_MAX), &q,
        0, identified, p);
}

static void new_identity(struct load_producer *p)
{
    if (p->producer_id < 0)
        return;
    if (p->producer_epoch < INT16_MAX && prng_below(p->prng, 2) == 0)
        p->producer_epoch++;
    else
        p->producer_id = -1;
    identify(p);
}

static void begin_session(struct load_producer *p, struct lane *lane)
{
    lane->session = history_session(p->history, p->options.number);
    lane->producer_id = p->producer_id;
    lane->producer_epoch = p->producer_epoch;
    lane->next_sequence = 0;
}

/* ---- the end of batches
 * --------------------------------------------------------- */

static struct history_id record_id(const struct load_producer *p,
                                   const struct batch_out *b, int i)
{
    return (struct history_id){b->lane->topic, p->options.number, b->first + i};
}

static void settle_acked(struct load_producer *p, struct batch_out *b,
                         int64_t offset)
{
    for (int i = 0; i < b->count; i++)
        history_acked(p->history, record_id(p, b, i),
                      offset < 0 ? -1 : offset + i);
    batch_free(p, b);
}

static void settle_unknown(struct load_producer *p, struct batch_out *b,
                           const char *why)
{
    for (int i = 0; b->first >= 0 && i < b->count; i++)
        history_unknown(p->history, record_id(p, b, i), why);
    batch_free(p, b);
}

static bool has_in_flight(const struct lane *lane)
{
    LIST_EACH (node, &lane->batches) {
        if (LIST_ENTRY(node, struct batch_out, in)->in_flight)
            return true;
    }
    return false;
}

/* Gives up what was sent and is not in flight; ends the session when nothing
 * is. */
static void break_lane(struct load_producer *p, struct lane *lane,
                       const char *why)
{
    if (lane->session < 0)
        return;
    lane->broken = true;
    LIST_EACH_SAFE (node, tmp, &lane->batches) {
        struct batch_out *b = LIST_ENTRY(node, struct batch_out, in);
        if (!b->in_flight && b->first >= 0)
            settle_unknown(p, b, why);
    }
    if (has_in_flight(lane))
        return;
    lane->broken = false;
    lane->session = -1;
    new_identity(p);
}

static bool is_head(const struct batch_out *b)
{
    return b->lane->batches.next == &b->in;
}

/* Whether sending again can help. */
static bool may_retry(const struct batch_out *b, enum err error)
{
    if (error == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER)
        return !b->was_head || !is_head(b);
    return err_retriable(error);
}

static void take_outcome(struct load_producer *p, struct batch_out *b,
                         enum err error, int64_t offset)
{
    struct lane *lane = b->lane;

    b->in_flight = false;
    if (error == ERR_NONE || error == ERR_DUPLICATE_SEQUENCE_NUMBER) {
        settle_acked(p, b, error == ERR_NONE ? offset : -1);
        if (lane->broken)
            break_lane(p, lane, "given up with an earlier batch");
        return;
    }
    history_note(p->history, "failed %d/%lld: %s", p->options.number,
                 (long long)b->first, err_name(error));
    load_client_look(p->client);
    if (lane->broken) {
        break_lane(p, lane, err_name(error));
        return;
    }
    if (may_retry(b, error)) {
        lane->retry_at_ms =
            env_now_ms(p->env) + RETRY_MS + (int64_t)prng_below(p->prng, 50);
        return;
    }
    settle_unknown(p, b, err_name(error));
    break_lane(p, lane, err_name(error));
}

/* ---- requests
 * -------------------------------------------------------------------- */

static const struct produce_response_partition_produce_response *
find_answer(const struct produce_response *a, const struct lane *lane)
{
    for (int32_t t = 0; t < a->responses_len; t++) {
        const struct produce_response_topic_produce_response *topic =
            &a->responses[t];
        if (!uuid_eq(topic->topic_id, lane->id) &&
            !slice_eq_str(topic->name, lane->name))
            continue;
        for (int32_t i = 0; i < topic->partition_responses_len; i++)
            if (topic->partition_responses[i].index == lane->partition)
                return &topic->partition_responses[i];
    }
    return NULL;
}

static void answered(void *arg, enum err error, const void *response)
{
    struct request *r = arg;
    struct load_producer *p = r->producer;

    for (int32_t i = 0; i < r->len; i++) {
        struct batch_out *b = r->batches[i];
        if (error != ERR_NONE) {
            take_outcome(p, b, error == ERR_MALFORMED ? ERR_CLOSED : error, -1);
            continue;
        }
        const struct produce_response_partition_produce_response *a =
            find_answer(response, b->lane);
        if (a == NULL)
            take_outcome(p, b, ERR_UNKNOWN_SERVER_ERROR, -1);
        else
            take_outcome(p, b, (enum err)a->error_code, a->base_offset);
    }
    request_free(r);
    pump(p);
}

/* Of topics that come and go some are compacted: there each record has a key of
 * its own, so that all of them stay. */
static struct slice key_of(const struct load_producer *p,
                           const struct history_id *id, char *key, size_t size)
{
    int n;

    if (p->options.by_id)
        n = snprintf(key, size, "key-%d-%lld", id->producer,
                     (long long)id->number);
    else if (id->number % 5 == 0)
        return SLICE_NULL;
    else
        n = snprintf(key, size, "key-%d", (int)(id->number % 7));
    return slice_of(key, (size_t)n);
}

/* The records, as of the first time it is sent. */
static void build(struct load_producer *p, struct batch_out *b)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct lane *lane = b->lane;
    int64_t now_ms = env_wall_ms(p->env);

    if (p->options.idempotent && lane->session < 0)
        begin_session(p, lane);
    b->first = p->next_number;
    p->next_number += b->count;
    for (int i = 0; i < b->count; i++) {
        struct history_sent s = {
            record_id(p, b, i), lane->partition, p->options.acks, -1, -1,
            now_ms + i % 3};
        struct buf value = BUF_INIT;
        char key[48];
        if (p->options.idempotent) {
            s.session = lane->session;
            s.sequence = lane->next_sequence + i;
        }
        payload_put(&value, s.id,
                    (size_t)prng_below(
                        p->prng, (uint64_t)p->options.filler_bytes_max + 1));
        batch_builder_append(&p->builder, s.timestamp_ms,
                             key_of(p, &s.id, key, sizeof key),
                             buf_slice(&value), NULL, 0);
        buf_free(&value);
        history_sent(p->history, &s);
    }
    options.compression = p->options.compression;
    if (p->options.idempotent) {
        options.producer_id = lane->producer_id;
        options.producer_epoch = lane->producer_epoch;
        options.base_sequence = (int32_t)(lane->next_sequence & INT32_MAX);
        lane->next_sequence += b->count;
    }
    batch_builder_finish(&p->builder, &options, p->codec, &b->bytes);
}

/* The batch of the lane that may go now, or NULL. */
static struct batch_out *next_of(struct load_producer *p, struct lane *lane)
{
    int in_flight = 0;

    if (lane->broken || env_now_ms(p->env) < lane->retry_at_ms ||
        (p->options.idempotent && lane->session < 0 && p->producer_id < 0))
        return NULL;
    LIST_EACH (node, &lane->batches) {
        struct batch_out *b = LIST_ENTRY(node, struct batch_out, in);
        if (b->in_flight) {
            in_flight++;
            continue;
        }
        if (b->first >= 0)
            return is_head(b) ? b : NULL;
        return in_flight < p->options.in_flight_max &&
                       in_flight < BATCHES_IN_FLIGHT_MAX
                   ? b
                   : NULL;
    }
    return NULL;
}

static void fill(struct load_producer *p, struct request *r,
                 struct produce_request *q, struct arena *arena)
{
    q->acks = (int16_t)p->options.acks;
    q->timeout_ms = 1000 + (int32_t)prng_below(p->prng, 4000);
    q->topic_data = arena_array(arena, (size_t)r->len, sizeof *q->topic_data);
    for (int32_t i = 0; i < r->len; i++) {
        struct batch_out *b = r->batches[i];
        int32_t t = 0;
        while (t < q->topic_data_len &&
               !uuid_eq(q->topic_data[t].topic_id, b->lane->id))
            t++;
        struct produce_request_topic_produce_data *topic = &q->topic_data[t];
        if (t == q->topic_data_len) {
            q->topic_data_len++;
            produce_request_topic_produce_data_init(topic);
            topic->name = slice_str(b->lane->name);
            topic->topic_id = b->lane->id;
            topic->partition_data = arena_array(arena, (size_t)r->len,
                                                sizeof *topic->partition_data);
        }
        struct produce_request_partition_produce_data *d =
            &topic->partition_data[topic->partition_data_len++];
        produce_request_partition_produce_data_init(d);
        d->index = b->lane->partition;
        d->records.bytes = buf_slice(&b->bytes);
    }
}

static void send_request(struct load_producer *p, int32_t node,
                         struct request *r)
{
    struct produce_request q;
    struct arena arena;
    int16_t floor = p->options.by_id ? PRODUCE_WITH_IDS
                    : p->options.compression == COMPRESSION_ZSTD
                        ? PRODUCE_ZSTD
                        : PRODUCE_FLOOR;

    arena_init(&arena, 0);
    for (int32_t i = 0; i < r->len; i++) {
        struct batch_out *b = r->batches[i];
        if (b->first < 0)
            build(p, b);
        b->attempts++;
        b->in_flight = true;
        b->was_head = is_head(b);
    }
    produce_request_init(&q);
    fill(p, r, &q, &arena);
    load_client_call(
        p->client, node, API_PRODUCE,
        load_client_version(p->client, API_PRODUCE, floor, INT16_MAX), &q, 0,
        p->options.acks == 0 ? NULL : answered, r);
    arena_free(&arena);
    if (p->options.acks != 0)
        return;
    for (int32_t i = 0; i < r->len; i++)
        settle_unknown(p, r->batches[i], "acks=0");
    request_free(r);
}

/* One request to a node, if there is something for it. */
static bool send_to(struct load_producer *p, int32_t node)
{
    struct request *r = xcalloc(1, sizeof *r);

    r->producer = p;
    list_push_back(&p->requests, &r->in);
    r->batches = xcalloc((size_t)p->waiting + 1, sizeof(*r->batches));
    LIST_EACH (at, &p->lanes) {
        struct lane *lane = LIST_ENTRY(at, struct lane, in);
        struct batch_out *b = next_of(p, lane);
        int32_t epoch;
        if (b != NULL &&
            load_client_leader(p->client, slice_str(lane->name), lane->id,
                               lane->partition, &epoch) == node)
            r->batches[r->len++] = b;
    }
    if (r->len == 0) {
        request_free(r);
        return false;
    }
    send_request(p, node, r);
    return true;
}

static void pump(struct load_producer *p)
{
    const int32_t *ids;
    size_t n = load_client_nodes(p->client, &ids);

    for (size_t i = 0; i < n; i++)
        while (load_client_in_flight(p->client, ids[i]) <
                   p->options.in_flight_max &&
               send_to(p, ids[i]))
            ;
}

/* ---- new batches
 * -------------------------------------------------------------------- */

static struct lane *lane_of(struct load_producer *p, const struct load_topic *t,
                            int32_t partition)
{
    LIST_EACH (node, &p->lanes) {
        struct lane *lane = LIST_ENTRY(node, struct lane, in);
        if (lane->partition == partition && uuid_eq(lane->id, t->id))
            return lane;
    }
    struct lane *lane = xcalloc(1, sizeof *lane);
    lane->name = xstrdup(t->name);
    lane->id = t->id;
    lane->topic = history_topic(p->history, slice_str(t->name), t->id);
    lane->partition = partition;
    lane->session = -1;
    list_init(&lane->batches);
    list_push_back(&p->lanes, &lane->in);
    return lane;
}

/* A partition of a topic with our prefix, or NULL. */
static const struct load_topic *choose(struct load_producer *p)
{
    const struct load_topic *topics;
    const struct load_topic *chosen = NULL;
    size_t len = load_client_topics(p->client, &topics);
    uint64_t seen = 0;

    for (size_t i = 0; i < len; i++)
        if (strncmp(topics[i].name, p->options.topic_prefix,
                    strlen(p->options.topic_prefix)) == 0 &&
            topics[i].partitions_len > 0 && prng_below(p->prng, ++seen) == 0)
            chosen = &topics[i];
    return chosen;
}

static void make_batch(struct load_producer *p)
{
    const struct load_topic *t = choose(p);

    if (t == NULL) {
        load_client_look(p->client);
        return;
    }
    int32_t partition =
        (int32_t)prng_below(p->prng, (uint64_t)t->partitions_len);
    struct batch_out *b = xcalloc(1, sizeof *b);
    b->lane = lane_of(p, t, partition);
    b->count =
        1 + (int)prng_below(p->prng, (uint64_t)p->options.batch_records_max);
    b->first = -1;
    b->created_ms = env_now_ms(p->env);
    list_push_back(&b->lane->batches, &b->in);
    p->waiting++;
}

/* Batches that nothing became of in their time. */
static void give_up_late(struct load_producer *p, struct lane *lane)
{
    int64_t born_ms = env_now_ms(p->env) - p->options.delivery_timeout_ms;
    bool lost = false;

    LIST_EACH_SAFE (node, tmp, &lane->batches) {
        struct batch_out *b = LIST_ENTRY(node, struct batch_out, in);
        if (b->in_flight || b->created_ms > born_ms)
            continue;
        lost |= b->first >= 0;
        settle_unknown(p, b, "delivery timeout");
    }
    if (lost)
        break_lane(p, lane, "given up with an earlier batch");
}

static void tick(void *arg)
{
    struct load_producer *p = arg;
    int64_t now_ms = env_now_ms(p->env);

    identify(p);
    LIST_EACH (node, &p->lanes)
        give_up_late(p, LIST_ENTRY(node, struct lane, in));
    while (!p->stopped && now_ms >= p->next_batch_ms &&
           p->waiting < p->options.waiting_max) {
        make_batch(p);
        p->next_batch_ms += (int64_t)prng_below(
            p->prng, (uint64_t)p->options.interval_ms * 2 + 1);
        if (p->next_batch_ms < now_ms - 100)
            p->next_batch_ms = now_ms;
    }
    pump(p);
    if (!p->stopped || p->waiting > 0)
        env_timer_start(p->env, &p->timer, TICK_MS);
}

void load_producer_start(struct load_producer *p)
{
    p->next_batch_ms = env_now_ms(p->env);
    load_client_look(p->client);
    env_timer_start(p->env, &p->timer, 0);
}

void load_producer_stop(struct load_producer *p) { p->stopped = true; }

bool load_producer_is_quiet(const struct load_producer *p)
{
    return p->waiting == 0;
}
