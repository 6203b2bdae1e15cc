/* Answers are given when a request is started and handed out when it is
 * finished, as structs: nothing is encoded. */
#include "tests/unit/cli/fake_client.h"

#include "cli/net.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ATTEMPTS_MAX = 50 };

struct client {
    fake_answer answer;
    void *arg;
    struct client_node *nodes;
    size_t nodes_len;
    char *why;
    struct arena arena; /* of answers that were started */
};

struct client *fake_client_new(int32_t nodes, fake_answer answer, void *arg)
{
    struct client *c = xcalloc(1, sizeof *c);

    c->answer = answer;
    c->arg = arg;
    c->nodes = xcalloc((size_t)nodes + 1, sizeof *c->nodes);
    for (int32_t i = 1; i <= nodes; i++)
        c->nodes[c->nodes_len++] = (struct client_node){.id = i};
    c->why = xstrdup("");
    arena_init(&c->arena, 0);
    return c;
}

void client_free(struct client *c)
{
    arena_free(&c->arena);
    free(c->nodes);
    free(c->why);
    free(c);
}

int64_t client_timeout_ms(const struct client *c)
{
    (void)c;
    return 30000;
}

const char *client_why(const struct client *c) { return c->why; }

enum err client_fail(struct client *c, enum err error, const char *format, ...)
{
    va_list arguments;
    char why[1024];

    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    free(c->why);
    c->why = xstrdup(why);
    return error;
}

/* ---- requests ------------------------------------------------------------ */

enum err client_call(struct client *c, int32_t node, enum api_key api,
                     const void *request, void *response, struct arena *arena)
{
    const struct kafka_desc *d = api_find((int16_t)api)->response;

    memset(response, 0, d->size_bytes);
    kafka_init(d, response);
    if (node >= 0)
        node &= ~CLIENT_SECOND;
    return c->answer(c->arg, node, api, request, response, arena);
}

enum err client_start(struct client *c, struct client_call *call, int32_t node,
                      enum api_key api, const void *request)
{
    uint32_t size = api_find((int16_t)api)->response->size_bytes;

    *call = (struct client_call){.node = node, .api = api, .done = true};
    list_init(&call->link);
    void *response = buf_extend(&call->frame, size);
    call->error = client_call(c, node, api, request, response, &c->arena);
    return ERR_NONE;
}

enum err client_post(struct client *c, int32_t node, enum api_key api,
                     const void *request)
{
    struct client_call call;
    enum err error = client_start(c, &call, node, api, request);

    buf_free(&call.frame);
    return error;
}

void client_poll(struct client *c, int64_t deadline_ms)
{
    (void)c;
    (void)deadline_ms;
}

enum err client_finish(struct client *c, struct client_call *call,
                       void *response, struct arena *arena)
{
    (void)c;
    (void)arena;
    memcpy(response, call->frame.data, call->frame.len);
    buf_free(&call->frame);
    return call->error;
}

void client_abandon(struct client *c, struct client_call *call)
{
    (void)c;
    buf_free(&call->frame);
}

int16_t client_version(struct client *c, int32_t node, enum api_key api)
{
    (void)c;
    (void)node;
    return api_find((int16_t)api)->request->max;
}

int32_t client_any(struct client *c)
{
    (void)c;
    return 1;
}

/* ---- the cluster --------------------------------------------------------- */

size_t client_nodes(const struct client *c, const struct client_node **nodes)
{
    *nodes = c->nodes;
    return c->nodes_len;
}

enum err client_topics(struct client *c, const struct slice *names,
                       int32_t count, bool create,
                       struct metadata_response *out, struct arena *arena)
{
    struct metadata_request q;

    metadata_request_init(&q);
    q.allow_auto_topic_creation = create;
    q.topics_len = count;
    q.topics = count < 0
                   ? NULL
                   : arena_array(arena, (size_t)count + 1, sizeof *q.topics);
    for (int32_t i = 0; i < count; i++)
        q.topics[i].name = names[i];
    return client_call(c, CLIENT_ANY, API_METADATA, &q, out, arena);
}

void fake_topic(struct metadata_response *r, const char *name,
                const int32_t *leaders, int32_t partitions, struct arena *a)
{
    r->topics = arena_array(a, 1, sizeof *r->topics);
    r->topics_len = 1;
    metadata_response_topic_init(&r->topics[0]);
    r->topics[0].name = slice_str(name);
    r->topics[0].partitions =
        arena_array(a, (size_t)partitions, sizeof *r->topics[0].partitions);
    r->topics[0].partitions_len = partitions;
    for (int32_t i = 0; i < partitions; i++) {
        metadata_response_partition_init(&r->topics[0].partitions[i]);
        r->topics[0].partitions[i].partition_index = i;
        r->topics[0].partitions[i].leader_id = leaders[i];
    }
}

enum err client_refresh(struct client *c)
{
    (void)c;
    return ERR_NONE;
}

int32_t client_controller(const struct client *c)
{
    (void)c;
    return 1;
}

int32_t client_coordinator(struct client *c, struct slice group)
{
    (void)c;
    (void)group;
    return 1;
}

void client_forget_coordinator(struct client *c, struct slice group)
{
    (void)c;
    (void)group;
}

/* ---- repeating: at once, so often ---------------------------------------- */

void client_retry_init(struct client *c, struct client_retry *r)
{
    r->deadline_ms = net_now_ms() + client_timeout_ms(c);
    r->pause_ms = 0;
}

bool client_retry(struct client_retry *r, enum err error)
{
    return error != ERR_NONE && err_retriable(error) &&
           ++r->pause_ms < ATTEMPTS_MAX;
}
