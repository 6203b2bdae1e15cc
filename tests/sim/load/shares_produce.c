/* A producer for a share group: one batch after another, each sent once.
 * Whether one that was not acknowledged is there nobody asks. */
#include "tests/sim/load/shares_parts.h"

#include <stdlib.h>

enum {
    RECORDS_MAX = 5, /* in a batch */
    PRODUCE_FLOOR = 3,
    PRODUCE_CAP = 12, /* by name */
    TIMEOUT_MS = 3000,
};

struct shares_producer {
    struct load_shares *owner;
    int number;
    struct load_client *client;
    struct prng *prng;
    int64_t next; /* number of the next record */
    bool busy;
    int64_t next_ms;
    /* What is under way. */
    int32_t partition;
    int32_t count;
    uint64_t sending;
};

struct shares_producer *shares_producer_of(struct load_shares *s, int number)
{
    struct shares_producer *p = xcalloc(1, sizeof *p);

    p->owner = s;
    p->number = number;
    p->client = load_client_new(s->env, prng_next(&s->prng), &s->client);
    p->prng = load_client_prng(p->client);
    return p;
}

void shares_producer_free(struct shares_producer *p)
{
    load_client_free(p->client);
    free(p);
}

static int64_t now(const struct shares_producer *p)
{
    return env_now_ms(p->owner->env);
}

static void build(struct shares_producer *p, struct buf *out)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct buf value = BUF_INIT;

    for (int32_t i = 0; i < p->count; i++) {
        value.len = 0;
        share_history_put(&value,
                          (struct share_history_id){p->number, p->next + i});
        batch_builder_append(&p->owner->builder, env_wall_ms(p->owner->env),
                             SLICE_NULL, buf_slice(&value), NULL, 0);
    }
    batch_builder_finish(&p->owner->builder, &options, NULL, out);
    buf_free(&value);
}

static void produced(void *arg, enum err error, const void *response)
{
    struct shares_producer *p = arg;
    const struct produce_response *a = response;

    if (error == ERR_NONE &&
        (a->responses_len != 1 || a->responses[0].partition_responses_len != 1))
        error = ERR_MALFORMED;
    if (error == ERR_NONE)
        error = (enum err)a->responses[0].partition_responses[0].error_code;
    if (error == ERR_NONE) {
        share_history_produced(
            p->owner->shares, p->partition,
            a->responses[0].partition_responses[0].base_offset,
            (struct share_history_id){p->number, p->next}, p->count,
            p->sending);
    } else {
        history_note(p->owner->history, "share producer %d: %s", p->number,
                     err_name(error));
        load_client_look(p->client);
    }
    p->next += p->count;
    p->busy = false;
    p->next_ms =
        now(p) + (int64_t)prng_below(
                     p->prng, (uint64_t)p->owner->options.interval_ms * 2 + 1);
}

static void produce(struct shares_producer *p, int32_t node)
{
    struct produce_request_partition_produce_data data;
    struct produce_request_topic_produce_data topic;
    struct produce_request q;
    struct buf batch = BUF_INIT;

    p->count = 1 + (int32_t)prng_below(p->prng, RECORDS_MAX);
    p->sending = share_history_sending(p->owner->shares, p->partition);
    build(p, &batch);
    produce_request_init(&q);
    produce_request_topic_produce_data_init(&topic);
    produce_request_partition_produce_data_init(&data);
    data.index = p->partition;
    data.records.bytes = buf_slice(&batch);
    topic.name = slice_str(p->owner->topic);
    topic.partition_data = &data;
    topic.partition_data_len = 1;
    q.acks = -1;
    q.timeout_ms = TIMEOUT_MS;
    q.topic_data = &topic;
    q.topic_data_len = 1;
    p->busy = true;
    load_client_call(
        p->client, node, API_PRODUCE,
        load_client_version(p->client, API_PRODUCE, PRODUCE_FLOOR, PRODUCE_CAP),
        &q, TIMEOUT_MS, produced, p);
    buf_free(&batch);
}

void shares_producer_tick(struct shares_producer *p)
{
    int32_t epoch;

    if (p->busy || p->owner->stopped || now(p) < p->next_ms ||
        !shares_watch_has_begun(p->owner->watch))
        return;
    p->partition =
        (int32_t)prng_below(p->prng, (uint64_t)p->owner->options.partitions);
    int32_t node = load_client_leader(p->client, slice_str(p->owner->topic),
                                      UUID_ZERO, p->partition, &epoch);
    if (node >= 0)
        produce(p, node);
}

bool shares_producer_is_quiet(const struct shares_producer *p)
{
    return p->owner->stopped && !p->busy;
}
