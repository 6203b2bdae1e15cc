#include "tests/sim/load/txns.h"

#include "tests/sim/load/txns_parts.h"

#include <stdio.h>
#include <stdlib.h>

enum { TICK_MS = 20, MAKE_AGAIN_MS = 500, CREATE_VERSION = 2 };

static void tick(void *arg);

struct load_txns *load_txns_new(struct env *env, uint64_t seed,
                                const struct load_client_options *client,
                                struct history *history,
                                const struct load_txns_options *options)
{
    struct load_txns *t = xcalloc(1, sizeof *t);

    t->env = env;
    t->prng.state = seed;
    t->client = *client;
    t->history = history;
    t->options = *options;
    t->txns = txn_history_new(history, options->unclean_possible);
    t->topic = xasprintf("%stxns", options->space);
    t->maker = load_client_new(env, prng_next(&t->prng), client);
    batch_builder_init(&t->builder);
    t->clients = xcalloc((size_t)options->clients + 1, sizeof(*t->clients));
    t->readers = xcalloc((size_t)options->readers + 1, sizeof(*t->readers));
    for (int i = 0; i < options->clients; i++)
        t->clients[i] = txns_client_of(t, i);
    for (int i = 0; i < options->readers; i++)
        t->readers[i] = txns_reader_of(t, TXN_HISTORY_FINAL + 1 + i);
    t->timer = (struct env_timer){.fn = tick, .arg = t};
    return t;
}

void load_txns_free(struct load_txns *t)
{
    if (t == NULL)
        return;
    env_timer_stop(t->env, &t->timer);
    for (int i = 0; i < t->options.clients; i++)
        txns_client_free(t->clients[i]);
    for (int i = 0; i < t->options.readers; i++)
        txns_reader_free(t->readers[i]);
    if (t->final != NULL)
        txns_reader_free(t->final);
    load_client_free(t->maker);
    batch_builder_free(&t->builder);
    txn_history_free(t->txns);
    free(t->clients);
    free(t->readers);
    free(t->topic);
    free(t);
}

/* ---- the topic ----------------------------------------------------------- */

static void made(void *arg, enum err error, const void *response)
{
    struct load_txns *t = arg;

    (void)error;
    (void)response;
    t->making = false;
    t->make_at_ms = env_now_ms(t->env) + MAKE_AGAIN_MS;
    load_client_look(t->maker);
}

static void make_topic(struct load_txns *t)
{
    struct create_topics_request_creatable_topic topic;
    struct create_topics_request_creatable_topic_config configs[2];
    char retention[24];
    struct create_topics_request q;

    if (t->making || env_now_ms(t->env) < t->make_at_ms ||
        load_client_topic(t->maker, slice_str(t->topic), UUID_ZERO) != NULL)
        return;
    create_topics_request_init(&q);
    create_topics_request_creatable_topic_init(&topic);
    topic.name = slice_str(t->topic);
    topic.num_partitions = t->options.partitions;
    topic.replication_factor = t->options.replication_factor;
    if (t->options.compacted) {
        for (int i = 0; i < 2; i++)
            create_topics_request_creatable_topic_config_init(&configs[i]);
        snprintf(retention, sizeof retention, "%lld",
                 (long long)t->options.retention_ms);
        configs[0].name = SLICE("cleanup.policy");
        configs[0].value = SLICE("compact");
        configs[1].name = SLICE("delete.retention.ms");
        configs[1].value = slice_str(retention);
        topic.configs = configs;
        topic.configs_len = t->options.retention_ms != 0 ? 2 : 1;
    }
    q.topics = &topic;
    q.topics_len = 1;
    q.timeout_ms = 5000;
    t->making = true;
    load_client_call(t->maker, LOAD_ANY_NODE, API_CREATE_TOPICS,
                     load_client_version(t->maker, API_CREATE_TOPICS,
                                         CREATE_VERSION, INT16_MAX),
                     &q, 0, made, t);
}

/* ---- phases -------------------------------------------------------------- */

static void tick(void *arg)
{
    struct load_txns *t = arg;

    make_topic(t);
    for (int i = 0; i < t->options.clients; i++)
        txns_client_tick(t->clients[i]);
    for (int i = 0; i < t->options.readers; i++)
        txns_reader_tick(t->readers[i]);
    if (t->final != NULL) {
        txns_reader_tick(t->final);
        if (txns_reader_is_done(t->final)) {
            t->done(t->done_arg);
            return;
        }
    }
    env_timer_start(t->env, &t->timer, TICK_MS);
}

void load_txns_start(struct load_txns *t)
{
    for (int i = 0; i < t->options.clients; i++)
        txns_client_start(t->clients[i]);
    env_timer_start(t->env, &t->timer, 0);
}

void load_txns_stop(struct load_txns *t) { t->stopped = true; }

bool load_txns_is_quiet(const struct load_txns *t)
{
    for (int i = 0; i < t->options.clients; i++)
        if (!txns_client_is_quiet(t->clients[i]))
            return false;
    return true;
}

void load_txns_final(struct load_txns *t, void (*done)(void *arg), void *arg)
{
    t->done = done;
    t->done_arg = arg;
    t->final = txns_reader_of(t, TXN_HISTORY_FINAL);
}

const struct txn_history_counts *load_txns_counts(const struct load_txns *t)
{
    return txn_history_counts(t->txns);
}

void load_txns_complain(struct load_txns *t)
{
    history_violation(t->history, "hanging", "%s",
                      txns_reader_missing(t->final));
}
