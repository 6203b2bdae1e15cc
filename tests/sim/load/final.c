#include "tests/sim/load/final.h"

#include "base/arena.h"

#include <stdlib.h>

/* Answers of 8 MB take longer on a slow link than the clients of some runs are
 * patient (REQUEST_TIMEOUT_MS: request.timeout.ms of Kafka's clients). */
enum { TICK_MS = 50, RESOURCE_TOPIC = 2, REQUEST_TIMEOUT_MS = 30000 };

enum stage { METADATA, CONFIGS, LOGS, OFFSETS, DONE };

struct load_final {
    struct env *env;
    struct load_client *client;
    struct load_client_options client_options;
    struct history *history;
    struct load_final_options options;
    struct load_reader *reader;
    struct load_client *group_client; /* of the group being asked about */
    size_t group;
    enum stage stage;
    bool busy;
    uint64_t looks; /* when it began: only later ones count */
    uint64_t asked;
    char *why; /* what is missing; NULL: nothing known */
    struct env_timer timer;
    void (*done)(void *arg);
    void *arg;
};

static void tick(void *arg);

struct load_final *load_final_new(struct env *env, uint64_t seed,
                                  const struct load_client_options *client,
                                  struct history *history,
                                  const struct load_final_options *options,
                                  void (*done)(void *arg), void *arg)
{
    struct load_final *f = xcalloc(1, sizeof *f);
    struct load_reader_options reader = {.number = options->reader,
                                         .by_id = true,
                                         .final = true,
                                         .max_wait_ms = 100,
                                         .min_bytes = 1,
                                         .max_bytes = 8 << 20,
                                         .partition_max_bytes = 1 << 20};

    f->env = env;
    f->client_options = *client;
    f->client_options.request_timeout_ms = REQUEST_TIMEOUT_MS;
    f->client_options.newest = true;
    f->client = load_client_new(env, seed, &f->client_options);
    f->history = history;
    f->options = *options;
    f->reader =
        load_reader_new(env, seed + 1, &f->client_options, history, &reader);
    f->timer.fn = tick;
    f->timer.arg = f;
    f->done = done;
    f->arg = arg;
    env_timer_start(env, &f->timer, 0);
    return f;
}

void load_final_free(struct load_final *f)
{
    env_timer_stop(f->env, &f->timer);
    load_client_free(f->client);
    if (f->group_client != NULL)
        load_client_free(f->group_client);
    load_reader_free(f->reader);
    free(f->why);
    free(f);
}

static void lacks(struct load_final *f, char *why)
{
    free(f->why);
    f->why = why;
}

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* ---- topics and configs -------------------------------------------------- */

static void check_metadata(struct load_final *f)
{
    if (load_client_looks(f->client) > f->looks) {
        f->looks = load_client_looks(f->client);
        lacks(f, load_admin_unmet(f->options.admin, f->client));
        if (f->why == NULL) {
            f->stage = CONFIGS;
            return;
        }
    } else if (f->why == NULL) {
        lacks(f, xasprintf("no broker answers Metadata"));
    }
    load_client_look(f->client);
}

static const struct describe_configs_response_resource_result *
find_config(const struct describe_configs_response *a, const char *topic,
            const char *config)
{
    for (int32_t i = 0; i < a->results_len; i++)
        for (int32_t k = 0; slice_eq_str(a->results[i].resource_name, topic) &&
                            k < a->results[i].configs_len;
             k++)
            if (slice_eq_str(a->results[i].configs[k].name, config))
                return &a->results[i].configs[k];
    return NULL;
}

static void described(void *arg, enum err error, const void *response)
{
    struct load_final *f = arg;
    const struct describe_configs_response *a = response;
    const char *topic, *config, *value;

    f->busy = false;
    if (error != ERR_NONE) {
        lacks(f, xasprintf("DescribeConfigs was not answered: %s",
                           err_text(error)));
        return;
    }
    for (size_t i = 0;
         load_admin_config(f->options.admin, i, &topic, &config, &value); i++) {
        const struct describe_configs_response_resource_result *found =
            find_config(a, topic, config);
        if (found != NULL && slice_eq_str(found->value, value))
            continue;
        lacks(f, xasprintf("%s of topic %s was set to %s, but is %.*s", config,
                           topic, value,
                           SLICE_FMT(found == NULL ? SLICE("unknown")
                                                   : found->value)));
        return;
    }
    lacks(f, NULL);
    f->stage = LOGS;
}

static void check_configs(struct load_final *f)
{
    struct describe_configs_request q;
    const char *topic, *config, *value;
    struct arena arena;
    size_t n = 0;

    while (load_admin_config(f->options.admin, n, &topic, &config, &value))
        n++;
    if (n == 0) {
        f->stage = LOGS;
        return;
    }
    arena_init(&arena, 0);
    describe_configs_request_init(&q);
    q.resources = arena_array(&arena, n, sizeof *q.resources);
    for (size_t i = 0; i < n; i++) {
        load_admin_config(f->options.admin, i, &topic, &config, &value);
        if (i > 0 &&
            slice_eq_str(q.resources[q.resources_len - 1].resource_name, topic))
            continue;
        struct describe_configs_request_resource *r =
            &q.resources[q.resources_len++];
        describe_configs_request_resource_init(r);
        r->resource_type = RESOURCE_TOPIC;
        r->resource_name = slice_str(topic);
        r->configuration_keys_len = -1;
    }
    f->busy = true;
    load_client_call(
        f->client, LOAD_ANY_NODE, API_DESCRIBE_CONFIGS,
        load_client_version(f->client, API_DESCRIBE_CONFIGS, 0, INT16_MAX), &q,
        0, described, f);
    arena_free(&arena);
}

/* ---- logs ---------------------------------------------------------------- */

static void start_reading(struct load_final *f)
{
    const struct load_topic *topics;
    size_t len = load_client_topics(f->client, &topics);

    history_final_start(f->history);
    for (size_t i = 0; i < len; i++)
        for (int32_t p = 0; p < topics[i].partitions_len; p++)
            if (begins(topics[i].name, f->options.stable_prefix) ||
                begins(topics[i].name, f->options.churn_prefix))
                load_reader_follow(f->reader, topics[i].name, topics[i].id, p,
                                   LOAD_EARLIEST);
    load_reader_start(f->reader);
    f->busy = true;
}

static void read_logs(struct load_final *f)
{
    if (!f->busy)
        start_reading(f);
    if (!load_reader_is_done(f->reader))
        return;
    f->busy = false;
    f->stage = OFFSETS;
}

/* ---- committed offsets --------------------------------------------------- */

static enum err offsets_error(const struct offset_fetch_response *a)
{
    if (a->groups_len != 1)
        return ERR_MALFORMED;
    const struct offset_fetch_response_group *g = &a->groups[0];
    if (g->error_code != ERR_NONE)
        return (enum err)g->error_code;
    for (int32_t t = 0; t < g->topics_len; t++)
        for (int32_t i = 0; i < g->topics[t].partitions_len; i++)
            if (g->topics[t].partitions[i].error_code != ERR_NONE)
                return (enum err)g->topics[t].partitions[i].error_code;
    return ERR_NONE;
}

static void take_offset(struct load_final *f, struct uuid id,
                        const struct offset_fetch_response_partitions *p)
{
    const struct load_topic *t = load_client_topic(f->client, SLICE_NULL, id);
    int64_t commit = -1;
    char text[24] = "";

    if (t == NULL)
        return;
    if (p->committed_offset >= 0 && p->metadata.len < sizeof text) {
        memcpy(text, p->metadata.data, p->metadata.len);
        commit = strtoll(text, NULL, 10);
    }
    history_offset(f->history, f->options.groups[f->group], INT32_MAX,
                   history_topic(f->history, slice_str(t->name), id),
                   p->partition_index, f->asked, commit, p->committed_offset);
}

static void offsets_fetched(void *arg, enum err error, const void *response)
{
    struct load_final *f = arg;
    const struct offset_fetch_response *a = response;

    f->busy = false;
    if (error == ERR_NONE)
        error = offsets_error(a);
    if (error != ERR_NONE) {
        load_client_forget_coordinator(f->group_client);
        lacks(f, xasprintf("OffsetFetch of group %s failed: %s",
                           f->options.groups[f->group], err_text(error)));
        return;
    }
    for (int32_t t = 0; t < a->groups[0].topics_len; t++)
        for (int32_t i = 0; i < a->groups[0].topics[t].partitions_len; i++)
            take_offset(f, a->groups[0].topics[t].topic_id,
                        &a->groups[0].topics[t].partitions[i]);
    lacks(f, NULL);
    f->group++;
}

static void ask_offsets(struct load_final *f, int32_t node)
{
    const struct load_topic *topics;
    size_t len = load_client_topics(f->client, &topics);
    struct offset_fetch_request_group group;
    struct offset_fetch_request q;
    struct arena arena;

    arena_init(&arena, 0);
    offset_fetch_request_init(&q);
    offset_fetch_request_group_init(&group);
    group.group_id = slice_str(f->options.groups[f->group]);
    group.topics = arena_array(&arena, len + 1, sizeof *group.topics);
    for (size_t i = 0; i < len; i++) {
        if (!begins(topics[i].name, f->options.stable_prefix))
            continue;
        struct offset_fetch_request_topics *t =
            &group.topics[group.topics_len++];
        offset_fetch_request_topics_init(t);
        t->name = slice_str(topics[i].name);
        t->topic_id = topics[i].id;
        t->partition_indexes =
            arena_array(&arena, (size_t)topics[i].partitions_len + 1,
                        sizeof *t->partition_indexes);
        for (int32_t p = 0; p < topics[i].partitions_len; p++)
            t->partition_indexes[t->partition_indexes_len++] = p;
    }
    q.groups = &group;
    q.groups_len = 1;
    f->busy = true;
    f->asked = history_now(f->history);
    load_client_call(
        f->group_client, node, API_OFFSET_FETCH,
        load_client_version(f->group_client, API_OFFSET_FETCH, 10, INT16_MAX),
        &q, 0, offsets_fetched, f);
    arena_free(&arena);
}

static void read_offsets(struct load_final *f)
{
    if (f->group == f->options.groups_len) {
        f->stage = DONE;
        return;
    }
    const char *group = f->options.groups[f->group];
    if (f->asked == 0 || f->why == NULL) { /* the first time for this group */
        if (f->group_client != NULL)
            load_client_free(f->group_client);
        f->group_client =
            load_client_new(f->env, 7 + f->group, &f->client_options);
        lacks(f, xasprintf("group %s has no coordinator", group));
        f->asked = 1;
    }
    int32_t node = load_client_coordinator(f->group_client, group);
    if (node >= 0)
        ask_offsets(f, node);
}

/* ---- time ---------------------------------------------------------------- */

static void tick(void *arg)
{
    struct load_final *f = arg;

    if (f->stage == METADATA)
        check_metadata(f);
    if (f->stage == CONFIGS && !f->busy)
        check_configs(f);
    if (f->stage == LOGS)
        read_logs(f);
    if (f->stage == OFFSETS && !f->busy)
        read_offsets(f);
    if (f->stage == DONE) {
        history_judge(f->history);
        f->done(f->arg);
        return;
    }
    env_timer_start(f->env, &f->timer, TICK_MS);
}

void load_final_complain(struct load_final *f)
{
    if (f->stage == METADATA || f->stage == CONFIGS)
        history_violation(f->history, "metadata", "%s",
                          f->why != NULL ? f->why : "no answer");
    else if (f->stage == LOGS)
        history_violation(f->history, "read-back", "%s",
                          load_reader_missing(f->reader));
    else if (f->stage == OFFSETS)
        history_violation(f->history, "read-back", "%s",
                          f->why != NULL ? f->why : "no answer");
    if (f->stage == DONE)
        return;
    f->stage = DONE;
    env_timer_stop(f->env, &f->timer);
    load_client_reset(f->client);
    if (f->group_client != NULL)
        load_client_reset(f->group_client);
    load_reader_stop(f->reader);
    history_judge(f->history);
}
