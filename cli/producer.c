/* A flush seals the batch of every partition, then goes round until none is
 * left: find the leaders, send each its batches in one request, wait for all
 * answers, sort the batches into done, failed and once more.  A sealed batch
 * keeps its bytes and with them its sequence numbers; a broker that already
 * has it says so, and that is as good as a first time.
 *
 * A batch that is too large for its topic was not written, so its two halves
 * can have its sequence numbers, one after the other (ProducerBatch.split() of
 * Kafka's client).  In the end a single record is too large, and only that one
 * is lost. */
#include "cli/producer.h"

#include "cli/input.h"
#include "cli/net.h"
#include "proto/record/partitioner.h"

#include <stdlib.h>

struct lane { /* one partition */
    int32_t leader;
    struct batch_builder open;
    /* What a batch that was too large fell into, sealed before `open`; the
     * first is last. */
    struct batch_builder *pieces;
    size_t pieces_len;
    struct buf sealed; /* empty: nothing to send */
    int32_t sealed_records;
    int64_t sealed_producer_id;
    int32_t sealed_sequence; /* its first */
    int32_t next_sequence;
    int64_t deadline_ms; /* of the sealed batch */
    bool sent;           /* part of the request under way */
};

struct producer {
    struct client *client;
    char *topic;
    struct producer_options options; /* batch_bytes shrinks to what is taken */
    struct codec *codec;
    struct buf scratch; /* of splitting */
    struct lane *lanes; /* by partition; NULL until the topic is known */
    int32_t lanes_len;
    int32_t sticky; /* partition of records without key */
    int64_t acknowledged;
    int64_t producer_id; /* -1: not idempotent */
    int16_t producer_epoch;
    bool identified; /* producer_id was asked for */
    bool moved_on;   /* the last round settled or split something */
};

struct producer *producer_new(struct client *c, const char *topic,
                              const struct producer_options *options)
{
    struct producer *p = xcalloc(1, sizeof *p);

    p->client = c;
    p->topic = xstrdup(topic);
    p->options = *options;
    p->codec = codec_new();
    p->producer_id = -1;
    p->producer_epoch = -1;
    return p;
}

void producer_free(struct producer *p)
{
    for (int32_t i = 0; i < p->lanes_len; i++) {
        struct lane *lane = &p->lanes[i];
        batch_builder_free(&lane->open);
        while (lane->pieces_len != 0)
            batch_builder_free(&lane->pieces[--lane->pieces_len]);
        free(lane->pieces);
        buf_free(&lane->sealed);
    }
    free(p->lanes);
    buf_free(&p->scratch);
    codec_free(p->codec);
    free(p->topic);
    free(p);
}

int64_t producer_acknowledged(const struct producer *p)
{
    return p->acknowledged;
}

/* ---- the topic
 * ------------------------------------------------------------------------------
 */

static void note_leaders(struct producer *p,
                         const struct metadata_response_topic *t)
{
    int32_t count = p->lanes_len;

    for (int32_t i = 0; i < t->partitions_len; i++)
        if (t->partitions[i].partition_index >= count)
            count = t->partitions[i].partition_index + 1;
    p->lanes = xrealloc(p->lanes, (size_t)count * sizeof *p->lanes);
    for (int32_t i = p->lanes_len; i < count; i++) {
        p->lanes[i] = (struct lane){.leader = -1};
        batch_builder_init(&p->lanes[i].open);
    }
    p->lanes_len = count;
    for (int32_t i = 0; i < t->partitions_len; i++)
        p->lanes[t->partitions[i].partition_index].leader =
            t->partitions[i].leader_id;
}

/* One look at the cluster. */
static enum err look_up(struct producer *p)
{
    struct slice name = slice_str(p->topic);
    struct metadata_response m;
    struct arena arena;

    arena_init(&arena, CLIENT_ARENA_BYTES);
    enum err error = client_topics(p->client, &name, 1, true, &m, &arena);
    if (error == ERR_NONE && m.topics_len == 1)
        error = m.topics[0].error_code;
    if (error == ERR_NONE && m.topics_len == 1 &&
        m.topics[0].partitions_len == 0)
        error = ERR_LEADER_NOT_AVAILABLE;
    if (error == ERR_NONE)
        note_leaders(p, &m.topics[0]);
    else if (m.topics_len == 1)
        client_fail(p->client, error, "topic %s: %s", p->topic,
                    err_text(error));
    arena_free(&arena);
    return error;
}

static enum err find_topic(struct producer *p)
{
    struct client_retry retry;
    enum err error;

    client_retry_init(p->client, &retry);
    do {
        error = look_up(p);
    } while (client_retry(&retry, error));
    return error;
}

/* A producer id, if the cluster gives them; without one we go on without. */
static void identify(struct producer *p)
{
    struct init_producer_id_request q;
    struct init_producer_id_response r;
    struct client_retry retry;
    struct arena arena;
    enum err error;

    p->identified = true;
    if (p->options.acks != -1 ||
        client_version(p->client, CLIENT_ANY, API_INIT_PRODUCER_ID) < 0)
        return;
    arena_init(&arena, CLIENT_ARENA_BYTES);
    init_producer_id_request_init(&q);
    q.transactional_id = SLICE_NULL;
    q.transaction_timeout_ms = INT32_MAX;
    client_retry_init(p->client, &retry);
    do {
        error = client_call(p->client, CLIENT_ANY, API_INIT_PRODUCER_ID, &q, &r,
                            &arena);
        if (error == ERR_NONE)
            error = r.error_code;
    } while (client_retry(&retry, error));
    if (error == ERR_NONE) {
        p->producer_id = r.producer_id;
        p->producer_epoch = r.producer_epoch;
    }
    arena_free(&arena);
}

/* ---- adding
 * ----------------------------------------------------------------------------------
 */

static int32_t choose(const struct producer *p, int32_t partition,
                      struct slice key)
{
    if (partition >= 0)
        return partition;
    return slice_is_null(key) ? p->sticky
                              : partition_for_key(key, p->lanes_len);
}

/* No less than what the record adds to a batch. */
static size_t record_bytes_max(struct slice key, struct slice value,
                               const struct record_header *headers,
                               int32_t headers_len)
{
    enum { RECORD_OVERHEAD = 40, HEADER_OVERHEAD = 10 };
    size_t n = RECORD_OVERHEAD + key.len + value.len;

    for (int32_t i = 0; i < headers_len; i++)
        n += HEADER_OVERHEAD + headers[i].key.len + headers[i].value.len;
    return n;
}

enum err producer_add(struct producer *p, int32_t partition, int64_t timestamp,
                      struct slice key, struct slice value,
                      const struct record_header *headers, int32_t headers_len)
{
    if (p->lanes == NULL) {
        enum err error = find_topic(p);
        if (error != ERR_NONE)
            return error;
        p->sticky = (int32_t)(net_random() % (uint64_t)p->lanes_len);
    }
    int32_t chosen = choose(p, partition, key);
    if (chosen >= p->lanes_len)
        return client_fail(p->client, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                           "topic %s has no partition %d", p->topic, chosen);
    struct batch_builder *b = &p->lanes[chosen].open;
    size_t after = batch_builder_size_bytes(b) +
                   record_bytes_max(key, value, headers, headers_len);
    if (b->count != 0 && after > p->options.batch_bytes)
        producer_flush(p);
    batch_builder_append(b, timestamp, key, value, headers, headers_len);
    if (batch_builder_size_bytes(b) < p->options.batch_bytes)
        return ERR_NONE;
    return producer_flush(p);
}

/* ---- sealing
 * ------------------------------------------------------------------------------------
 */

static void seal(struct producer *p, struct lane *lane, struct batch_builder *b)
{
    struct batch_options options = BATCH_OPTIONS_INIT;

    options.compression = p->options.compression;
    options.level = p->options.level;
    lane->sealed_producer_id = p->producer_id;
    lane->sealed_sequence = lane->next_sequence;
    if (p->producer_id >= 0) {
        options.producer_id = p->producer_id;
        options.producer_epoch = p->producer_epoch;
        options.base_sequence = lane->next_sequence;
        lane->next_sequence =
            (int32_t)(((int64_t)lane->next_sequence + b->count) & INT32_MAX);
    }
    lane->sealed_records = b->count;
    lane->deadline_ms = net_now_ms() + client_timeout_ms(p->client);
    batch_builder_finish(b, &options, p->codec, &lane->sealed);
}

/* The next batch of each partition that has none sealed. */
static void seal_all(struct producer *p)
{
    for (int32_t i = 0; i < p->lanes_len; i++) {
        struct lane *lane = &p->lanes[i];
        bool piece = lane->pieces_len != 0;
        if (lane->sealed.len != 0 || (!piece && lane->open.count == 0))
            continue;
        if (!p->identified)
            identify(p);
        if (piece) {
            seal(p, lane, &lane->pieces[--lane->pieces_len]);
            batch_builder_free(&lane->pieces[lane->pieces_len]);
        } else {
            seal(p, lane, &lane->open);
        }
    }
}

/* ---- splitting
 * ------------------------------------------------------------------------------------
 */

/* Makes two pieces of the sealed batch; false if it has one record only, or is
 * not what we wrote. */
static bool split(struct producer *p, struct lane *lane)
{
    struct slice bytes = buf_slice(&lane->sealed);
    struct record_reader reader;
    struct record record;
    struct batch b;
    int32_t half = lane->sealed_records / 2;

    if (half == 0 || batch_parse(bytes, &b) != ERR_NONE ||
        record_open(&reader, p->codec, bytes, &b, SIZE_MAX, &p->scratch) !=
            ERR_NONE)
        return false;
    lane->pieces =
        xrealloc(lane->pieces, (lane->pieces_len + 2) * sizeof *lane->pieces);
    struct batch_builder *second = &lane->pieces[lane->pieces_len++];
    struct batch_builder *first = &lane->pieces[lane->pieces_len++];
    batch_builder_init(first);
    batch_builder_init(second);
    for (int32_t i = 0; record_next(&reader, &record); i++)
        batch_builder_append_encoded(i < half ? first : second,
                                     i < half ? i : i - half, record.timestamp,
                                     record.key, record.value,
                                     record.headers_count, record.headers);
    size_t size = batch_builder_size_bytes(first);
    if (batch_builder_size_bytes(second) > size)
        size = batch_builder_size_bytes(second);
    if (size < p->options.batch_bytes)
        p->options.batch_bytes = size;
    /* Unless a lost batch has brought us a new id meanwhile. */
    if (lane->sealed_producer_id == p->producer_id)
        lane->next_sequence = lane->sealed_sequence;
    lane->sealed.len = 0;
    p->moved_on = true;
    return true;
}

/* ---- sending
 * --------------------------------------------------------------------------------------
 */

static void settle(struct producer *p, struct lane *lane, const char *fault)
{
    if (fault == NULL)
        p->acknowledged += lane->sealed_records;
    else if (p->options.failed != NULL)
        p->options.failed(p->options.arg, fault, lane->sealed_records);
    /* What follows must not leave a gap behind a batch that was lost. */
    if (fault != NULL && p->producer_id >= 0) {
        p->identified = false;
        p->producer_id = -1;
        for (int32_t i = 0; i < p->lanes_len; i++)
            p->lanes[i].next_sequence = 0;
    }
    lane->sealed.len = 0;
    lane->sent = false;
    p->moved_on = true;
}

static bool is_too_large(enum err error)
{
    return error == ERR_MESSAGE_TOO_LARGE || error == ERR_RECORD_LIST_TOO_LARGE;
}

static void judge(struct producer *p, struct lane *lane, enum err error,
                  struct slice message)
{
    lane->sent = false;
    if (error == ERR_NONE || error == ERR_DUPLICATE_SEQUENCE_NUMBER) {
        settle(p, lane, NULL);
    } else if (is_too_large(error) && split(p, lane)) {
        return;
    } else if (!err_retriable(error) ||
               net_now_ms() >= interrupt_bound(lane->deadline_ms)) {
        char *why = message.len != 0 ? slice_dup(message)
                                     : xasprintf("%s (%s)", err_text(error),
                                                 err_name(error));
        settle(p, lane, why);
        free(why);
    }
}

struct request { /* to one leader */
    int32_t leader;
    struct client_call call;
    bool started;
    struct produce_request_partition_produce_data *data;
    int32_t data_len;
};

static enum err start(struct producer *p, struct request *r)
{
    struct produce_request_topic_produce_data topic;
    struct produce_request q;

    produce_request_topic_produce_data_init(&topic);
    topic.name = slice_str(p->topic);
    topic.partition_data = r->data;
    topic.partition_data_len = r->data_len;
    produce_request_init(&q);
    q.acks = p->options.acks;
    q.timeout_ms = p->options.request_timeout_ms;
    q.topic_data = &topic;
    q.topic_data_len = 1;
    if (p->options.acks == 0)
        return client_post(p->client, r->leader, API_PRODUCE, &q);
    return client_start(p->client, &r->call, r->leader, API_PRODUCE, &q);
}

static void judge_request(struct producer *p, const struct request *r,
                          enum err error)
{
    for (int32_t i = 0; i < r->data_len; i++)
        judge(p, &p->lanes[r->data[i].index], error, SLICE_NULL);
}

static void take_answer(struct producer *p, struct request *r)
{
    struct produce_response answer;
    struct arena arena;

    arena_init(&arena, CLIENT_ARENA_BYTES);
    enum err error = client_finish(p->client, &r->call, &answer, &arena);
    for (int32_t t = 0; error == ERR_NONE && t < answer.responses_len; t++) {
        const struct produce_response_topic_produce_response *topic =
            &answer.responses[t];
        for (int32_t i = 0; i < topic->partition_responses_len; i++) {
            const struct produce_response_partition_produce_response *a =
                &topic->partition_responses[i];
            if (a->index >= 0 && a->index < p->lanes_len &&
                p->lanes[a->index].sent)
                judge(p, &p->lanes[a->index], a->error_code, a->error_message);
        }
    }
    if (error != ERR_NONE)
        judge_request(p, r, ERR_NETWORK_EXCEPTION);
    arena_free(&arena);
}

/* Gathers what goes to one leader; returns NULL if it has nothing. */
static bool gather(struct producer *p, int32_t leader, struct request *r)
{
    *r = (struct request){.leader = leader};
    r->data = xcalloc((size_t)p->lanes_len, sizeof *r->data);
    for (int32_t i = 0; i < p->lanes_len; i++) {
        struct lane *lane = &p->lanes[i];
        if (lane->sealed.len == 0 || lane->leader != leader)
            continue;
        produce_request_partition_produce_data_init(&r->data[r->data_len]);
        r->data[r->data_len].index = i;
        r->data[r->data_len++].records.bytes = buf_slice(&lane->sealed);
        lane->sent = true;
    }
    return r->data_len != 0;
}

static void finish_all(struct producer *p, struct request *requests, size_t n)
{
    int64_t deadline = net_now_ms() + client_timeout_ms(p->client);

    for (size_t i = 0; i < n; i++) {
        struct request *r = &requests[i];
        while (r->started && !r->call.done &&
               net_now_ms() < interrupt_bound(deadline))
            client_poll(p->client, deadline);
        if (r->started && r->call.done) {
            take_answer(p, r);
        } else if (r->started) {
            client_abandon(p->client, &r->call);
            judge_request(p, r, ERR_REQUEST_TIMED_OUT);
        }
        free(r->data);
    }
}

/* One request to each leader that has batches waiting. */
static void send_round(struct producer *p)
{
    const struct client_node *nodes;
    size_t count = client_nodes(p->client, &nodes);
    struct request *requests = xcalloc(count + 1, sizeof *requests);
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        struct request *r = &requests[n];
        if (!gather(p, nodes[i].id, r)) {
            free(r->data);
            continue;
        }
        n++;
        enum err error = start(p, r);
        r->started = error == ERR_NONE && p->options.acks != 0;
        if (!r->started)
            judge_request(p, r,
                          error == ERR_NONE ? ERR_NONE : ERR_NETWORK_EXCEPTION);
    }
    finish_all(p, requests, n);
    free(requests);
}

static bool is_pending(struct producer *p)
{
    for (int32_t i = 0; i < p->lanes_len; i++)
        if (p->lanes[i].sealed.len != 0)
            return true;
    return false;
}

/* Batches whose partition found no leader in time. */
static void give_up_late(struct producer *p)
{
    int64_t now = net_now_ms();

    for (int32_t i = 0; i < p->lanes_len; i++)
        if (p->lanes[i].sealed.len != 0 &&
            now >= interrupt_bound(p->lanes[i].deadline_ms))
            judge(p, &p->lanes[i], ERR_REQUEST_TIMED_OUT, SLICE_NULL);
}

enum err producer_flush(struct producer *p)
{
    struct client_retry retry;

    seal_all(p);
    if (!is_pending(p))
        return ERR_NONE;
    p->sticky = (int32_t)(net_random() % (uint64_t)p->lanes_len);
    client_retry_init(p->client, &retry);
    for (;;) {
        p->moved_on = false;
        send_round(p);
        seal_all(p);
        if (!is_pending(p))
            return ERR_NONE;
        if (p->moved_on)
            continue;
        give_up_late(p);
        if (!client_retry(&retry, ERR_NOT_LEADER_OR_FOLLOWER))
            net_sleep_ms(20);
        look_up(p);
    }
}
