/* One operation at a time: start_...() sends it and notes what it would change
 * in `pending`; its answer applies that, or makes it unsure.  A request without
 * an answer may still be carried out at any later time, so unsure is for good.
 */
#include "tests/sim/load/admin.h"

#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TICK_MS = 20,
    REQUEST_MS = 10000,
    RESOURCE_TOPIC = 2,
    OP_SET = 0,
    CONFIGS = 2,
};

enum belief { NO, YES, UNSURE };

struct topic {
    char *name;
    bool churn;
    enum belief exists;
    int32_t partitions; /* at least; acknowledged */
    enum belief set[CONFIGS];
    char value[CONFIGS][16];
};

enum kind { NOTHING, CREATE, DELETE, GROW, CONFIG, OTHER };

struct load_admin {
    struct env *env;
    struct load_client *client;
    struct history *history;
    struct load_admin_options options;
    struct prng *prng;
    struct env_timer timer;
    struct topic *topics;
    size_t topics_len;
    int names; /* churn names ever used */
    bool stopped;
    int64_t next_ms;
    uint64_t done;
    /* The request under way. */
    enum kind pending;
    enum api_key pending_api;
    size_t topic; /* it concerns */
    int32_t count;
    int config;
    char value[16];
};

static const char *const config_names[CONFIGS] = {"max.message.bytes",
                                                  "min.insync.replicas"};

static void tick(void *arg);

static void add_topic(struct load_admin *a, bool churn, int number)
{
    a->topics = xrealloc(a->topics, (a->topics_len + 1) * sizeof *a->topics);
    a->topics[a->topics_len++] = (struct topic){
        .name = xasprintf(
            "%s%d", churn ? a->options.churn_prefix : a->options.stable_prefix,
            number),
        .churn = churn};
}

struct load_admin *load_admin_new(struct env *env, uint64_t seed,
                                  const struct load_client_options *client,
                                  struct history *history,
                                  const struct load_admin_options *options)
{
    struct load_admin *a = xcalloc(1, sizeof *a);

    a->env = env;
    a->client = load_client_new(env, seed, client);
    a->prng = load_client_prng(a->client);
    a->history = history;
    a->options = *options;
    a->timer.fn = tick;
    a->timer.arg = a;
    for (int i = 0; i < options->stable; i++)
        add_topic(a, false, i);
    for (int i = 0; i < options->churn; i++)
        add_topic(a, true, a->names++);
    return a;
}

void load_admin_free(struct load_admin *a)
{
    env_timer_stop(a->env, &a->timer);
    load_client_free(a->client);
    for (size_t i = 0; i < a->topics_len; i++)
        free(a->topics[i].name);
    free(a->topics);
    free(a);
}

/* ---- answers
 * ----------------------------------------------------------------------- */

static enum err error_of(enum api_key api, const void *response)
{
    switch (api) {
    case API_CREATE_TOPICS: {
        const struct create_topics_response *r = response;
        return r->topics_len == 1 ? (enum err)r->topics[0].error_code
                                  : ERR_MALFORMED;
    }
    case API_DELETE_TOPICS: {
        const struct delete_topics_response *r = response;
        return r->responses_len == 1 ? (enum err)r->responses[0].error_code
                                     : ERR_MALFORMED;
    }
    case API_CREATE_PARTITIONS: {
        const struct create_partitions_response *r = response;
        return r->results_len == 1 ? (enum err)r->results[0].error_code
                                   : ERR_MALFORMED;
    }
    case API_INCREMENTAL_ALTER_CONFIGS: {
        const struct incremental_alter_configs_response *r = response;
        return r->responses_len == 1 ? (enum err)r->responses[0].error_code
                                     : ERR_MALFORMED;
    }
    case API_ALTER_PARTITION_REASSIGNMENTS: {
        const struct alter_partition_reassignments_response *r = response;
        return (enum err)r->error_code;
    }
    case API_ELECT_LEADERS:
        return (enum err)((const struct elect_leaders_response *)response)
            ->error_code;
    default:
        return ERR_NONE;
    }
}

/* Errors that say that nothing was or will be done. */
static bool is_refusal(enum err error)
{
    switch (error) {
    case ERR_TOPIC_ALREADY_EXISTS:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
    case ERR_INVALID_REPLICATION_FACTOR:
    case ERR_INVALID_PARTITIONS:
    case ERR_INVALID_REQUEST:
    case ERR_INVALID_CONFIG:
    case ERR_REASSIGNMENT_IN_PROGRESS:
        return true;
    default:
        return false;
    }
}

static void apply(struct load_admin *a, struct topic *t)
{
    a->done++;
    switch (a->pending) {
    case CREATE:
        t->exists = YES;
        t->partitions = a->count;
        /* What was not answered may still come, and then finds this one. */
        for (int i = 0; i < CONFIGS; i++)
            if (t->set[i] != UNSURE)
                t->set[i] = NO;
        break;
    case DELETE:
        t->exists = NO;
        break;
    case GROW:
        if (a->count > t->partitions)
            t->partitions = a->count;
        break;
    case CONFIG:
        if (t->set[a->config] != UNSURE)
            t->set[a->config] = YES;
        memcpy(t->value[a->config], a->value, sizeof a->value);
        break;
    default:
        break;
    }
}

/* Of a churning topic nothing is certain any more: another name takes over. */
static void replace_churn(struct load_admin *a, struct topic *t)
{
    free(t->name);
    *t = (struct topic){
        .name = xasprintf("%s%d", a->options.churn_prefix, a->names++),
        .churn = true};
}

static void doubt(struct load_admin *a, struct topic *t, enum err error)
{
    if (is_refusal(error) && a->pending != CREATE && a->pending != DELETE)
        return;
    switch (a->pending) {
    case CREATE:
        if (!t->churn && error == ERR_TOPIC_ALREADY_EXISTS) {
            t->exists = YES; /* by an attempt of ours that was not answered */
            t->partitions = 1;
        } else if (t->churn && error != ERR_INVALID_REPLICATION_FACTOR) {
            replace_churn(a, t);
        }
        break;
    case DELETE:
        replace_churn(a, t);
        break;
    case CONFIG:
        t->set[a->config] = UNSURE;
        break;
    default:
        break;
    }
}

static void answered(void *arg, enum err error, const void *response)
{
    struct load_admin *a = arg;
    struct topic *t = &a->topics[a->topic];

    if (error == ERR_NONE)
        error = error_of(a->pending_api, response);
    history_note(a->history, "admin: %d %s: %s", a->pending, t->name,
                 err_name(error));
    if (error == ERR_NONE)
        apply(a, t);
    else
        doubt(a, t, error);
    a->pending = NOTHING;
    load_client_look(a->client);
}

/* ---- requests
 * ------------------------------------------------------------------------- */

static void send(struct load_admin *a, enum kind kind, size_t topic,
                 int32_t node, enum api_key api, int16_t floor,
                 const void *request)
{
    a->pending = kind;
    a->pending_api = api;
    a->topic = topic;
    load_client_call(a->client, node, api,
                     load_client_version(a->client, api, floor, INT16_MAX),
                     request, REQUEST_MS, answered, a);
}

/* Every other one of those that come and go. */
static bool is_compacted(const struct topic *t)
{
    return t->churn && t->name[strlen(t->name) - 1] % 2 == 1;
}

static void create(struct load_admin *a, size_t i)
{
    struct create_topics_request_creatable_topic topic;
    struct create_topics_request_creatable_topic_config compacted;
    struct create_topics_request q;

    create_topics_request_init(&q);
    create_topics_request_creatable_topic_init(&topic);
    history_topic_wanted(a->history, slice_str(a->topics[i].name));
    a->count = a->options.partitions_first;
    topic.name = slice_str(a->topics[i].name);
    topic.num_partitions = a->count;
    topic.replication_factor = a->options.replication_factor;
    if (is_compacted(&a->topics[i])) {
        create_topics_request_creatable_topic_config_init(&compacted);
        compacted.name = SLICE("cleanup.policy");
        compacted.value = SLICE("compact");
        topic.configs = &compacted;
        topic.configs_len = 1;
        history_topic_compacted(a->history, topic.name);
    }
    q.topics = &topic;
    q.topics_len = 1;
    q.timeout_ms = REQUEST_MS;
    send(a, CREATE, i, LOAD_ANY_NODE, API_CREATE_TOPICS, 0, &q);
}

static void delete (struct load_admin *a, size_t i)
{
    struct delete_topics_request_delete_topic_state state;
    struct delete_topics_request q;
    struct slice name = slice_str(a->topics[i].name);
    const struct load_topic *t = load_client_topic(a->client, name, UUID_ZERO);

    history_topic_doomed(a->history, name);
    delete_topics_request_init(&q);
    delete_topics_request_delete_topic_state_init(&state);
    state.name = name;
    if (t != NULL && prng_below(a->prng, 2) == 0) {
        state.name = SLICE_NULL;
        state.topic_id = t->id;
    }
    q.topics = &state;
    q.topics_len = 1;
    q.topic_names = &name;
    q.topic_names_len = 1;
    q.timeout_ms = REQUEST_MS;
    if (load_client_version(a->client, API_DELETE_TOPICS, 0, INT16_MAX) < 6)
        q.topics_len = 0;
    else
        q.topic_names_len = 0;
    send(a, DELETE, i, LOAD_ANY_NODE, API_DELETE_TOPICS, 0, &q);
}

static void grow(struct load_admin *a, size_t i)
{
    struct create_partitions_request_topic topic;
    struct create_partitions_request q;

    if (a->topics[i].partitions >= a->options.partitions_max)
        return;
    create_partitions_request_init(&q);
    create_partitions_request_topic_init(&topic);
    a->count = a->topics[i].partitions + 1;
    topic.name = slice_str(a->topics[i].name);
    topic.count = a->count;
    topic.assignments_len = -1;
    q.topics = &topic;
    q.topics_len = 1;
    q.timeout_ms = REQUEST_MS;
    send(a, GROW, i, LOAD_ANY_NODE, API_CREATE_PARTITIONS, 0, &q);
}

static void alter_config(struct load_admin *a, size_t i)
{
    struct incremental_alter_configs_request_alter_configs_resource resource;
    struct incremental_alter_configs_request_alterable_config config;
    struct incremental_alter_configs_request q;

    a->config = a->options.min_insync ? (int)prng_below(a->prng, CONFIGS) : 0;
    snprintf(a->value, sizeof a->value, "%d",
             a->config == 0
                 ? 1000000 + (int)prng_below(a->prng, 9)
                 : 1 + (int)prng_below(
                           a->prng, a->options.replication_factor > 2 ? 2 : 1));
    incremental_alter_configs_request_init(&q);
    incremental_alter_configs_request_alter_configs_resource_init(&resource);
    incremental_alter_configs_request_alterable_config_init(&config);
    config.name = slice_str(config_names[a->config]);
    config.config_operation = OP_SET;
    config.value = slice_str(a->value);
    resource.resource_type = RESOURCE_TOPIC;
    resource.resource_name = slice_str(a->topics[i].name);
    resource.configs = &config;
    resource.configs_len = 1;
    q.resources = &resource;
    q.resources_len = 1;
    send(a, CONFIG, i, LOAD_ANY_NODE, API_INCREMENTAL_ALTER_CONFIGS, 0, &q);
}

/* As many nodes as there are replicas, in random order. */
static int32_t choose_nodes(struct load_admin *a, int32_t *into)
{
    const int32_t *ids;
    size_t n = load_client_nodes(a->client, &ids);
    int32_t want = a->options.replication_factor;
    int32_t got = 0;

    for (size_t i = 0; i < n && got < want; i++)
        if (prng_below(a->prng, n - i) < (uint64_t)(want - got))
            into[got++] = ids[i];
    if (got == 0)
        return 0;
    int32_t turn = (int32_t)prng_below(a->prng, (uint64_t)got);
    int32_t first = into[0];
    into[0] = into[turn];
    into[turn] = first;
    return got;
}

static void reassign(struct load_admin *a, size_t i)
{
    struct alter_partition_reassignments_request_reassignable_topic topic;
    struct alter_partition_reassignments_request_reassignable_partition part;
    struct alter_partition_reassignments_request q;
    int32_t nodes[16];

    alter_partition_reassignments_request_init(&q);
    alter_partition_reassignments_request_reassignable_topic_init(&topic);
    alter_partition_reassignments_request_reassignable_partition_init(&part);
    part.partition_index =
        (int32_t)prng_below(a->prng, (uint64_t)a->topics[i].partitions);
    part.replicas = nodes;
    part.replicas_len = choose_nodes(a, nodes);
    if (part.replicas_len < a->options.replication_factor)
        return;
    if (prng_below(a->prng, 5) == 0) { /* cancel what goes on */
        part.replicas = NULL;
        part.replicas_len = -1;
    }
    topic.name = slice_str(a->topics[i].name);
    topic.partitions = &part;
    topic.partitions_len = 1;
    q.topics = &topic;
    q.topics_len = 1;
    q.timeout_ms = REQUEST_MS;
    send(a, OTHER, i, LOAD_ANY_NODE, API_ALTER_PARTITION_REASSIGNMENTS, 0, &q);
}

static void elect(struct load_admin *a, size_t i)
{
    struct elect_leaders_request q;

    elect_leaders_request_init(&q);
    q.topic_partitions_len = -1;
    q.timeout_ms = REQUEST_MS;
    send(a, OTHER, i, LOAD_ANY_NODE, API_ELECT_LEADERS, 0, &q);
}

static void delete_records(struct load_admin *a, size_t i)
{
    struct delete_records_request_topic topic;
    struct delete_records_request_partition part;
    struct delete_records_request q;
    struct slice name = slice_str(a->topics[i].name);
    const struct load_topic *t = load_client_topic(a->client, name, UUID_ZERO);
    int32_t epoch;

    if (t == NULL || a->topics[i].churn)
        return;
    delete_records_request_init(&q);
    delete_records_request_topic_init(&topic);
    delete_records_request_partition_init(&part);
    part.partition_index =
        (int32_t)prng_below(a->prng, (uint64_t)a->topics[i].partitions);
    int number = history_topic(a->history, name, t->id);
    part.offset = (int64_t)prng_below(
        a->prng,
        (uint64_t)history_length(a->history, number, part.partition_index) + 1);
    topic.name = name;
    topic.partitions = &part;
    topic.partitions_len = 1;
    q.topics = &topic;
    q.topics_len = 1;
    q.timeout_ms = REQUEST_MS;
    int32_t node = load_client_leader(a->client, name, t->id,
                                      part.partition_index, &epoch);
    if (node < 0)
        return;
    history_delete_asked(a->history, number, part.partition_index, part.offset);
    send(a, OTHER, i, node, API_DELETE_RECORDS, 0, &q);
}

/* ---- time
 * --------------------------------------------------------------------------------
 */

static void change(struct load_admin *a, size_t i)
{
    if (a->topics[i].churn && prng_below(a->prng, 2) == 0) {
        delete (a, i);
        return;
    }
    switch (prng_below(a->prng, 5)) {
    case 0:
        if (a->options.add_partitions)
            grow(a, i);
        break;
    case 1:
        if (a->options.alter_configs)
            alter_config(a, i);
        break;
    case 2:
        if (a->options.reassign)
            reassign(a, i);
        break;
    case 3:
        if (a->options.elect)
            elect(a, i);
        break;
    default:
        if (a->options.delete_records)
            delete_records(a, i);
    }
}

/* The first topic that has to be made, or any. */
static void act(struct load_admin *a)
{
    for (size_t i = 0; i < a->topics_len; i++)
        if (a->topics[i].exists == NO) {
            create(a, i);
            return;
        }
    if (a->topics_len != 0 && a->options.interval_ms > 0)
        change(a, (size_t)prng_below(a->prng, a->topics_len));
}

static void tick(void *arg)
{
    struct load_admin *a = arg;
    int64_t now_ms = env_now_ms(a->env);
    int64_t pause_ms =
        a->options.interval_ms > 0 ? a->options.interval_ms : 100;

    if (a->pending == NOTHING && !a->stopped && now_ms >= a->next_ms) {
        act(a);
        a->next_ms =
            now_ms + (int64_t)prng_below(a->prng, (uint64_t)pause_ms * 2 + 1);
    }
    for (size_t i = 0; i < a->topics_len; i++)
        if (a->topics[i].exists == NO && a->next_ms > now_ms + 100 &&
            !a->topics[i].churn)
            a->next_ms = now_ms + 100; /* the others wait for it */
    if (!load_admin_is_quiet(a))
        env_timer_start(a->env, &a->timer, TICK_MS);
}

void load_admin_start(struct load_admin *a)
{
    load_client_look(a->client);
    env_timer_start(a->env, &a->timer, 0);
}

void load_admin_stop(struct load_admin *a) { a->stopped = true; }

bool load_admin_is_quiet(const struct load_admin *a)
{
    return a->stopped && a->pending == NOTHING;
}

uint64_t load_admin_done(const struct load_admin *a) { return a->done; }

/* ---- at the end
 * ------------------------------------------------------------------------------
 */

char *load_admin_unmet(const struct load_admin *a, const struct load_client *c)
{
    for (size_t i = 0; i < a->topics_len; i++) {
        const struct topic *t = &a->topics[i];
        const struct load_topic *seen =
            load_client_topic(c, slice_str(t->name), UUID_ZERO);
        if (t->exists == YES && seen == NULL)
            return xasprintf("topic %s was created, but is not there", t->name);
        /* An unanswered attempt may have made a stable one. */
        if (t->exists == NO && t->churn && seen != NULL)
            return xasprintf("topic %s was deleted, but is there", t->name);
        if (t->exists == YES && seen->partitions_len < t->partitions)
            return xasprintf("topic %s was given %d partitions, but has %d",
                             t->name, t->partitions, seen->partitions_len);
    }
    return NULL;
}

bool load_admin_config(const struct load_admin *a, size_t i, const char **topic,
                       const char **config, const char **value)
{
    for (size_t k = 0; k < a->topics_len * CONFIGS; k++) {
        const struct topic *t = &a->topics[k / CONFIGS];
        if (t->exists != YES || t->set[k % CONFIGS] != YES || i-- != 0)
            continue;
        *topic = t->name;
        *config = config_names[k % CONFIGS];
        *value = t->value[k % CONFIGS];
        return true;
    }
    return false;
}
