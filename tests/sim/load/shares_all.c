#include "tests/sim/load/shares.h"

#include "tests/sim/load/shares_parts.h"

#include <stdlib.h>

enum { TICK_MS = 20, MAKE_AGAIN_MS = 500, CREATE_VERSION = 2 };

static void tick(void *arg);

struct load_shares *load_shares_new(struct env *env, uint64_t seed,
                                    const struct load_client_options *client,
                                    struct history *history,
                                    const struct load_shares_options *options)
{
    struct load_shares *s = xcalloc(1, sizeof *s);

    ASSERT(options->partitions <= SHARES_PARTITIONS_MAX);
    s->env = env;
    s->prng.state = seed;
    s->client = *client;
    s->history = history;
    s->options = *options;
    s->shares =
        share_history_new(history, options->limit, options->unclean_possible);
    s->topic = xasprintf("%sshares", options->space);
    s->group = xasprintf("%sshare-group", options->space);
    s->maker = load_client_new(env, prng_next(&s->prng), client);
    s->codec = codec_new();
    batch_builder_init(&s->builder);
    s->members = xcalloc((size_t)options->members + 1, sizeof(*s->members));
    s->producers =
        xcalloc((size_t)options->producers + 1, sizeof(*s->producers));
    for (int i = 0; i < options->members; i++)
        s->members[i] = shares_member_of(s, i);
    for (int i = 0; i < options->producers; i++)
        s->producers[i] = shares_producer_of(s, i);
    s->watch = shares_watch_of(s);
    s->timer = (struct env_timer){.fn = tick, .arg = s};
    return s;
}

void load_shares_free(struct load_shares *s)
{
    if (s == NULL)
        return;
    env_timer_stop(s->env, &s->timer);
    for (int i = 0; i < s->options.members; i++)
        shares_member_free(s->members[i]);
    for (int i = 0; i < s->options.producers; i++)
        shares_producer_free(s->producers[i]);
    shares_watch_free(s->watch);
    load_client_free(s->maker);
    batch_builder_free(&s->builder);
    codec_free(s->codec);
    share_history_free(s->shares);
    free(s->members);
    free(s->producers);
    free(s->topic);
    free(s->group);
    free(s);
}

/* ---- the topic ----------------------------------------------------------- */

static void made(void *arg, enum err error, const void *response)
{
    struct load_shares *s = arg;

    (void)error;
    (void)response;
    s->making = false;
    s->make_at_ms = env_now_ms(s->env) + MAKE_AGAIN_MS;
    load_client_look(s->maker);
}

static void make_topic(struct load_shares *s)
{
    struct create_topics_request_creatable_topic topic;
    struct create_topics_request q;

    if (s->making || env_now_ms(s->env) < s->make_at_ms ||
        load_client_topic(s->maker, slice_str(s->topic), UUID_ZERO) != NULL)
        return;
    create_topics_request_init(&q);
    create_topics_request_creatable_topic_init(&topic);
    topic.name = slice_str(s->topic);
    topic.num_partitions = s->options.partitions;
    topic.replication_factor = s->options.replication_factor;
    q.topics = &topic;
    q.topics_len = 1;
    q.timeout_ms = 5000;
    s->making = true;
    load_client_call(s->maker, LOAD_ANY_NODE, API_CREATE_TOPICS,
                     load_client_version(s->maker, API_CREATE_TOPICS,
                                         CREATE_VERSION, INT16_MAX),
                     &q, 0, made, s);
}

/* ---- phases -------------------------------------------------------------- */

static void tick(void *arg)
{
    struct load_shares *s = arg;

    make_topic(s);
    for (int i = 0; i < s->options.members; i++)
        shares_member_tick(s->members[i]);
    for (int i = 0; i < s->options.producers; i++)
        shares_producer_tick(s->producers[i]);
    shares_watch_tick(s->watch);
    if (!load_shares_is_quiet(s))
        env_timer_start(s->env, &s->timer, TICK_MS);
}

void load_shares_start(struct load_shares *s)
{
    load_client_look(s->maker);
    for (int i = 0; i < s->options.members; i++)
        shares_member_start(s->members[i]);
    env_timer_start(s->env, &s->timer, 0);
}

bool load_shares_has_begun(const struct load_shares *s)
{
    return shares_watch_has_begun(s->watch);
}

void load_shares_stop(struct load_shares *s) { s->stopped = true; }

bool load_shares_is_quiet(const struct load_shares *s)
{
    if (!s->stopped)
        return false;
    for (int i = 0; i < s->options.members; i++)
        if (!shares_member_is_quiet(s->members[i]))
            return false;
    for (int i = 0; i < s->options.producers; i++)
        if (!shares_producer_is_quiet(s->producers[i]))
            return false;
    return true;
}

void load_shares_judge(struct load_shares *s)
{
    share_history_judge(s->shares);
}

const struct share_history_counts *
load_shares_counts(const struct load_shares *s)
{
    return share_history_counts(s->shares);
}

void load_shares_complain(struct load_shares *s)
{
    if (!load_shares_is_quiet(s) && !shares_watch_is_done(s->watch))
        history_violation(s->history, "share-stuck", "%s",
                          shares_watch_missing(s->watch));
}
