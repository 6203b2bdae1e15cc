/* Topics that are created because a client asked for them: any topic in a
 * Metadata request if auto.create.topics.enable allows it, and
 * __consumer_offsets, __transaction_state and __share_group_state when somebody
 * looks for the first coordinator on them.
 *
 * A creation is going on from the moment its CreateTopics call is made until
 * the image holds what came of it; requests that wait for it are parked and
 * look again (creation_running()).  A refusal ends it just so: the client hears
 * that the topic is unknown and tries again, which is a new creation. */
#include "broker/meta_parts.h"

#include "base/alloc.h"
#include "base/log.h"
#include "broker/coordinators.h"
#include "broker/internal_topics.h"
#include "broker/share_states.h"
#include "broker/transactions.h"

#include <stdlib.h>

enum {
    CREATE_VERSION = 5,
    CREATE_MS = 10000,   /* to reach a controller and get its answer */
    NAMES_MAX = 1000,    /* in one call */
    COMPLAIN_MS = 10000, /* between log lines */
    NAME_MAX_BYTES = 249,
};

struct creation {
    struct list link;
    struct control_call call;
    struct meta *meta;
    struct slice *names; /* owned, and their bytes */
    size_t len;
    bool answered;
    int64_t committed_index; /* the result is in the image from here on */
};

/* ---- names -------------------------------------------------------------- */

bool topic_name_valid(struct slice name)
{
    if (name.len == 0 || name.len > NAME_MAX_BYTES || slice_eq_str(name, ".") ||
        slice_eq_str(name, ".."))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';

        if (!ok)
            return false;
    }
    return true;
}

bool creation_possible(const struct meta *m, struct slice name)
{
    if (topic_is_internal(name))
        return true;
    return m->broker->config->auto_create_topics_enable &&
           topic_name_valid(name);
}

bool creation_running(const struct meta *m, struct slice name)
{
    return map_get(&m->creations.by_name, name) != NULL;
}

/* ---- the end ------------------------------------------------------------ */

static void creation_free(struct creation *c)
{
    list_remove(&c->link);
    for (size_t i = 0; i < c->len; i++)
        free((void *)(uintptr_t)c->names[i].data);
    free(c->names);
    free(c);
}

static void creation_end(struct creation *c)
{
    for (size_t i = 0; i < c->len; i++)
        map_remove(&c->meta->creations.by_name, c->names[i]);
    creation_free(c);
}

static void complain(struct meta *m, struct slice name, int error,
                     struct slice message)
{
    int64_t now_ms = env_now_ms(m->env);

    if (m->creations.complained_ms != 0 &&
        now_ms < m->creations.complained_ms + COMPLAIN_MS)
        return;
    m->creations.complained_ms = now_ms;
    log_warn("server",
             "Cannot create topic '%.*s' for a client that asked for "
             "it: %s. %.*s",
             SLICE_FMT(name), err_text(error), SLICE_FMT(message));
}

static void look_at_results(struct meta *m,
                            const Leat__ForwardResponse *response)
{
    struct slice body = slice_of(response->body.data, response->body.len);
    struct create_topics_response answer;
    struct arena arena;

    arena_init(&arena, 0);
    if (kafka_decode(&create_topics_response_desc, CREATE_VERSION, body, &arena,
                     &answer) == ERR_NONE)
        for (int32_t i = 0; i < answer.topics_len; i++)
            if (answer.topics[i].error_code != ERR_NONE &&
                answer.topics[i].error_code != ERR_TOPIC_ALREADY_EXISTS)
                complain(m, answer.topics[i].name, answer.topics[i].error_code,
                         answer.topics[i].error_message);
    arena_free(&arena);
}

static void create_done(struct control_call *call, enum err error,
                        const Leat__ControlResponse *response)
{
    struct creation *c = LIST_ENTRY(call, struct creation, call);
    struct meta *m = c->meta;

    c->answered = true;
    if (error == ERR_NONE && response->error == ERR_NONE &&
        response->result_case == LEAT__CONTROL_RESPONSE__RESULT_FORWARD) {
        c->committed_index = response->forward->committed_index;
        look_at_results(m, response->forward);
    } else {
        complain(m, c->names[0],
                 error != ERR_NONE ? (int)error : response->error, SLICE(""));
    }
    creations_applied(m);
    meta_retry_parked(m);
}

void creations_applied(struct meta *m)
{
    LIST_EACH_SAFE (node, next, &m->creations.all) {
        struct creation *c = LIST_ENTRY(node, struct creation, link);

        if (c->answered && c->committed_index <= m->image.applied_index)
            creation_end(c);
    }
}

/* ---- the call ----------------------------------------------------------- */

struct setting {
    const char *name;
    struct slice value;
};

static void fill_internal(struct arena *arena, int32_t partitions,
                          int32_t replicas, const struct setting *settings,
                          int32_t settings_len,
                          struct create_topics_request_creatable_topic *t)
{
    t->num_partitions = partitions;
    t->replication_factor = (int16_t)replicas;
    t->configs = arena_array(arena, (size_t)settings_len, sizeof *t->configs);
    t->configs_len = settings_len;
    for (int32_t i = 0; i < settings_len; i++) {
        t->configs[i].name = slice_str(settings[i].name);
        t->configs[i].value = settings[i].value;
    }
}

static void fill_offsets_topic(const struct server_config *config,
                               struct arena *arena,
                               struct create_topics_request_creatable_topic *t)
{
    const struct setting settings[] = {
        {"cleanup.policy", SLICE("compact")},
        {"compression.type", SLICE("producer")},
        {"segment.bytes",
         arena_printf(arena, "%d", (int)config->offsets_topic_segment_bytes)},
    };

    fill_internal(arena, config->offsets_topic_num_partitions,
                  config->offsets_topic_replication_factor, settings,
                  sizeof settings / sizeof *settings, t);
}

static void fill_txn_topic(const struct server_config *config,
                           struct arena *arena,
                           struct create_topics_request_creatable_topic *t)
{
    const struct setting settings[] = {
        {"cleanup.policy", SLICE("compact")},
        {"compression.type", SLICE("uncompressed")},
        {"min.insync.replicas",
         arena_printf(arena, "%d", (int)config->transaction_state_log_min_isr)},
        {"segment.bytes",
         arena_printf(arena, "%d",
                      (int)config->transaction_state_log_segment_bytes)},
        {"unclean.leader.election.enable", SLICE("false")},
    };

    fill_internal(arena, config->transaction_state_log_num_partitions,
                  config->transaction_state_log_replication_factor, settings,
                  sizeof settings / sizeof *settings, t);
}

static void fill_share_topic(const struct server_config *config,
                             struct arena *arena,
                             struct create_topics_request_creatable_topic *t)
{
    const struct setting settings[] = {
        {"cleanup.policy", SLICE("delete")},
        {"compression.type", SLICE("producer")},
        {"min.insync.replicas",
         arena_printf(arena, "%d", (int)config->share_state_topic_min_isr)},
        {"retention.ms", SLICE("-1")},
        {"segment.bytes",
         arena_printf(arena, "%d",
                      (int)config->share_state_topic_segment_bytes)},
    };

    fill_internal(arena, config->share_state_topic_num_partitions,
                  config->share_state_topic_replication_factor, settings,
                  sizeof settings / sizeof *settings, t);
}

static void encode_request(const struct creation *c, struct buf *body)
{
    const struct server_config *config = c->meta->broker->config;
    struct create_topics_request q;
    struct arena arena;

    arena_init(&arena, 0);
    create_topics_request_init(&q);
    q.topics = arena_array(&arena, c->len, sizeof *q.topics);
    q.topics_len = (int32_t)c->len;
    q.timeout_ms = CREATE_MS;
    for (size_t i = 0; i < c->len; i++) {
        create_topics_request_creatable_topic_init(&q.topics[i]);
        q.topics[i].name = c->names[i];
        q.topics[i].num_partitions = config->num_partitions;
        q.topics[i].replication_factor =
            (int16_t)config->default_replication_factor;
        if (slice_eq_str(c->names[i], GROUP_TOPIC))
            fill_offsets_topic(config, &arena, &q.topics[i]);
        else if (slice_eq_str(c->names[i], TXN_TOPIC))
            fill_txn_topic(config, &arena, &q.topics[i]);
        else if (slice_eq_str(c->names[i], SHARE_STATE_TOPIC))
            fill_share_topic(config, &arena, &q.topics[i]);
    }
    enum err error = kafka_encode(&create_topics_request_desc, CREATE_VERSION,
                                  &q, body, NULL);
    ASSERT(error == ERR_NONE);
    arena_free(&arena);
}

static void create_send(struct creation *c)
{
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__ForwardRequest f = LEAT__FORWARD_REQUEST__INIT;
    struct buf body = BUF_INIT;

    encode_request(c, &body);
    f.api_key = API_CREATE_TOPICS;
    f.api_version = CREATE_VERSION;
    f.client_id = "auto-create";
    f.principal = "User:ANONYMOUS";
    f.client_host = "";
    f.body = (ProtobufCBinaryData){body.len, body.data};
    request.call_case = LEAT__CONTROL_REQUEST__CALL_FORWARD;
    request.forward = &f;
    c->call.repeatable = true; /* "already exists" is as good */
    c->call.attempt_ms = CREATE_MS;
    c->call.deadline_ms = CREATE_MS;
    c->call.done = create_done;
    control_send(c->meta->control, CONTROL_CALLS, &c->call, &request);
    buf_free(&body);
}

void creations_start(struct meta *m, const struct slice *names, size_t len)
{
    struct creation *c = xcalloc(1, sizeof *c);

    c->meta = m;
    c->names = xcalloc(len + 1, sizeof *c->names);
    list_init(&c->link);
    list_push_back(&m->creations.all, &c->link);
    for (size_t i = 0; i < len && c->len < NAMES_MAX; i++) {
        if (image_topic(&m->image, names[i]) != NULL ||
            creation_running(m, names[i]))
            continue;
        c->names[c->len++] = slice_of(slice_dup(names[i]), names[i].len);
        map_put(&m->creations.by_name, names[i], c);
    }
    if (c->len == 0)
        creation_free(c);
    else
        create_send(c);
}

void creations_init(struct meta *m) { list_init(&m->creations.all); }

void creations_free(struct meta *m)
{
    while (!list_empty(&m->creations.all))
        creation_free(LIST_ENTRY(m->creations.all.next, struct creation, link));
    map_free(&m->creations.by_name);
}
