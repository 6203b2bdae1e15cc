/* A link is what the client has with one node: a connection or none, and the
 * calls that wait for it or for answers.  It goes from idle to connecting to
 * agreeing (ApiVersions) to ready; when the connection ends all its calls end
 * with it, and the next call begins anew after a pause.
 *
 * Ends are told from a list of the client's own, since a callback may start
 * new calls, or reset the client. */
#include "tests/sim/load/client.h"

#include "base/log.h"
#include "proto/kafka/header.h"
#include "tests/sim/load/client_parts.h"

#include <stdlib.h>

enum {
    FRAME_MAX_BYTES = 64 << 20,
    PAUSE_FIRST_MS = 20,
    PAUSE_MAX_MS = 500,
    VERSIONS_VERSION = 3,
};

enum link_state { IDLE, PAUSING, CONNECTING, AGREEING, READY };

struct link {
    struct list in; /* load_client.links */
    struct load_client *client;
    int32_t node;
    enum link_state state;
    struct env_conn *conn;
    struct list calls; /* in order; those sent come first */
    int64_t pause_ms;
    int64_t not_before_ms; /* of the next attempt to connect */
    struct env_timer timer;
    struct api_range served[API_COUNT];
};

struct call {
    struct list in;
    struct link *link;
    enum api_key api;
    int16_t version;
    int32_t correlation;
    struct buf frame; /* emptied when sent */
    bool sent;
    enum err error; /* once broken */
    struct env_timer timeout;
    load_client_done *done;
    void *arg;
};

/* ---- beginning and end ------------------------------------------------------
 */

struct load_client *load_client_new(struct env *env, uint64_t seed,
                                    const struct load_client_options *options)
{
    struct load_client *c = xcalloc(1, sizeof *c);

    c->env = env;
    c->prng.state = seed;
    c->options = *options;
    c->id = xstrdup(options->id);
    for (size_t i = 0; i < API_COUNT; i++)
        c->style[i] = prng_next(&c->prng);
    list_init(&c->links);
    list_init(&c->broken);
    load_cluster_init(c);
    return c;
}

static void call_free(struct load_client *c, struct call *call)
{
    env_timer_stop(c->env, &call->timeout);
    list_remove(&call->in);
    buf_free(&call->frame);
    free(call);
}

static void drop_calls(struct load_client *c, struct list *calls)
{
    while (!list_empty(calls))
        call_free(c, LIST_ENTRY(calls->next, struct call, in));
}

void load_client_reset(struct load_client *c)
{
    drop_calls(c, &c->broken);
    LIST_EACH (node, &c->links) {
        struct link *l = LIST_ENTRY(node, struct link, in);
        env_timer_stop(c->env, &l->timer);
        if (l->conn != NULL)
            env_conn_close(l->conn);
        l->conn = NULL;
        l->state = IDLE;
        drop_calls(c, &l->calls);
    }
    load_cluster_reset(c);
}

void load_client_free(struct load_client *c)
{
    load_client_reset(c);
    while (!list_empty(&c->links)) {
        struct link *l = LIST_ENTRY(c->links.next, struct link, in);
        list_remove(&l->in);
        free(l);
    }
    load_cluster_free(c);
    free(c->id);
    free(c);
}

struct env *load_client_env(const struct load_client *c) { return c->env; }

struct prng *load_client_prng(struct load_client *c) { return &c->prng; }

/* ---- versions ---------------------------------------------------------------
 */

int16_t load_client_version(const struct load_client *c, enum api_key api,
                            int16_t floor, int16_t cap)
{
    struct api_range served = api_table[api].served[API_ON_BROKER];
    int16_t min = floor > served.min ? floor : served.min;
    int16_t max = cap < served.max ? cap : served.max;
    uint64_t style = c->style[api];

    if (max < min)
        max = min;
    if (c->options.newest)
        return max;
    switch (style & 3) {
    case 0:
        return min;
    case 1:
        return max;
    case 2:
        return (int16_t)((min + max) / 2);
    default:
        return (int16_t)(min +
                         (int16_t)((style >> 2) % (uint64_t)(max - min + 1)));
    }
}

/* ---- the end of a connection
 * ------------------------------------------------- */

static void tell_broken(struct load_client *c)
{
    while (!list_empty(&c->broken)) {
        struct call *call = LIST_ENTRY(c->broken.next, struct call, in);
        load_client_done *done = call->done;
        void *arg = call->arg;
        enum err error = call->error;

        call_free(c, call);
        if (done != NULL)
            done(arg, error, NULL);
    }
}

/* The connection is over, and so are all its calls. */
static void fail_link(struct link *l, enum err error, struct call *late)
{
    struct load_client *c = l->client;

    if (l->conn != NULL)
        env_conn_close(l->conn);
    l->conn = NULL;
    l->state = IDLE;
    env_timer_stop(c->env, &l->timer);
    l->pause_ms = l->pause_ms == 0 ? PAUSE_FIRST_MS : l->pause_ms * 2;
    if (l->pause_ms > PAUSE_MAX_MS)
        l->pause_ms = PAUSE_MAX_MS;
    l->not_before_ms = env_now_ms(c->env) + l->pause_ms;
    LIST_EACH (node, &l->calls) {
        struct call *call = LIST_ENTRY(node, struct call, in);
        env_timer_stop(c->env, &call->timeout);
        call->error = call == late ? ERR_REQUEST_TIMED_OUT : error;
    }
    list_append_all(&c->broken, &l->calls);
    load_client_look(c);
    tell_broken(c);
}

static void on_timeout(void *arg)
{
    struct call *call = arg;

    fail_link(call->link, ERR_CLOSED, call);
}

/* ---- sending
 * ------------------------------------------------------------------ */

static void send_call(struct link *l, struct call *call)
{
    struct env_out *out = env_out_new();

    env_out_add_buf(out, &call->frame);
    env_conn_send(l->conn, out);
    call->sent = true;
    if (call->done == NULL)
        call_free(l->client, call);
}

static struct call *new_call(struct link *l, enum api_key api, int16_t version,
                             const void *request, int64_t patience_ms)
{
    struct load_client *c = l->client;
    struct call *call = xcalloc(1, sizeof *call);
    struct request_header h;

    request_header_init(&h);
    h.request_api_key = (int16_t)api;
    h.request_api_version = version;
    h.correlation_id = c->correlation++;
    h.client_id = slice_str(c->id);
    enum err error = kafka_frame_request(&call->frame, &h, request);
    if (error != ERR_NONE)
        log_error("load", "%s version %d cannot be encoded: %s",
                  api_name((int16_t)api), version, err_text(error));
    ASSERT(error == ERR_NONE);
    list_init(&call->in);
    call->link = l;
    call->api = api;
    call->version = version;
    call->correlation = h.correlation_id;
    call->timeout.fn = on_timeout;
    call->timeout.arg = call;
    env_timer_start(c->env, &call->timeout,
                    c->options.request_timeout_ms + patience_ms);
    return call;
}

static void refuse(void *arg)
{
    struct link *l = arg;

    fail_link(l, ERR_UNSUPPORTED_VERSION, NULL);
}

static bool serves(const struct link *l, const struct call *call)
{
    return call->version >= l->served[call->api].min &&
           call->version <= l->served[call->api].max;
}

static void send_waiting(struct link *l)
{
    LIST_EACH_SAFE (node, tmp, &l->calls) {
        struct call *call = LIST_ENTRY(node, struct call, in);
        if (call->sent)
            continue;
        if (!serves(l, call)) {
            refuse(l);
            return;
        }
        send_call(l, call);
    }
}

/* ---- the connection
 * ------------------------------------------------------------ */

static void connect_link(void *arg);

static void begin(struct link *l)
{
    int64_t wait_ms = l->not_before_ms - env_now_ms(l->client->env);

    l->state = PAUSING;
    l->timer.fn = connect_link;
    l->timer.arg = l;
    env_timer_start(l->client->env, &l->timer, wait_ms > 0 ? wait_ms : 0);
}

static void on_versions(void *arg, enum err error, const void *response)
{
    struct link *l = arg;
    const struct api_versions_response *a = response;

    if (error != ERR_NONE)
        return;
    memset(l->served, 0xff, sizeof l->served);
    for (int32_t i = 0; i < a->api_keys_len; i++) {
        int16_t key = a->api_keys[i].api_key;
        if (key >= 0 && key < API_COUNT)
            l->served[key] = (struct api_range){a->api_keys[i].min_version,
                                                a->api_keys[i].max_version};
    }
    l->state = READY;
    l->pause_ms = 0;
    send_waiting(l);
}

static void on_opened(struct env_conn *conn, void *arg)
{
    struct link *l = arg;
    struct api_versions_request q;

    (void)conn;
    l->state = AGREEING;
    api_versions_request_init(&q);
    q.client_software_name = SLICE("load");
    q.client_software_version = SLICE("1");
    struct call *call = new_call(l, API_API_VERSIONS, VERSIONS_VERSION, &q, 0);
    call->done = on_versions;
    call->arg = l;
    list_push_front(&l->calls, &call->in);
    send_call(l, call);
}

/* The answer to the oldest call that was sent. */
static enum err take_answer(struct link *l, struct slice frame)
{
    struct call *call = LIST_ENTRY(l->calls.next, struct call, in);
    const struct api *api;
    int32_t correlation;
    struct slice body;
    struct arena arena;

    if (list_empty(&l->calls) || !call->sent)
        return ERR_MALFORMED;
    api = api_find((int16_t)call->api);
    enum err error = kafka_parse_response(frame, api->key, call->version,
                                          &correlation, &body);
    if (error == ERR_NONE && correlation != call->correlation)
        error = ERR_MALFORMED;
    if (error != ERR_NONE)
        return error;
    arena_init(&arena, 0);
    void *response = arena_alloc(&arena, api->response->size_bytes);
    error = kafka_decode(api->response, call->version, body, &arena, response);
    if (error == ERR_NONE) {
        load_client_done *done = call->done;
        void *done_arg = call->arg;
        call_free(l->client, call);
        done(done_arg, ERR_NONE, response);
    }
    arena_free(&arena);
    return error;
}

static void on_frame(struct env_conn *conn, void *arg, struct env_frame *frame)
{
    struct link *l = arg;

    (void)conn;
    enum err error = take_answer(l, slice_of(frame->data, frame->len));
    env_frame_unref(frame);
    if (error != ERR_NONE) {
        log_warn("load", "%s: an answer of node %d cannot be read: %s",
                 l->client->id, l->node, err_text(error));
        fail_link(l, ERR_MALFORMED, NULL);
    }
}

static void on_closed(struct env_conn *conn, void *arg, int error)
{
    struct link *l = arg;

    (void)conn;
    l->conn = NULL;
    fail_link(l, (enum err)error, NULL);
}

static const struct env_conn_ops conn_ops = {
    .opened = on_opened,
    .frame = on_frame,
    .closed = on_closed,
};

static void connect_link(void *arg)
{
    struct link *l = arg;
    struct load_client *c = l->client;
    const char *host;
    uint16_t port;

    if (!load_client_address(c, l->node, &host, &port)) {
        fail_link(l, ERR_REFUSED, NULL);
        return;
    }
    l->state = CONNECTING;
    l->conn = env_connect(c->env, host, port, FRAME_MAX_BYTES, &conn_ops, l);
}

/* ---- calls
 * ---------------------------------------------------------------------- */

static struct link *find_link(const struct load_client *c, int32_t node)
{
    LIST_EACH (at, &c->links) {
        struct link *l = LIST_ENTRY(at, struct link, in);
        if (l->node == node)
            return l;
    }
    return NULL;
}

static struct link *link_of(struct load_client *c, int32_t node)
{
    struct link *l = find_link(c, node);

    if (l != NULL)
        return l;
    l = xcalloc(1, sizeof *l);
    l->client = c;
    l->node = node;
    list_init(&l->calls);
    list_push_back(&c->links, &l->in);
    return l;
}

void load_client_call(struct load_client *c, int32_t node, enum api_key api,
                      int16_t version, const void *request, int64_t patience_ms,
                      load_client_done *done, void *arg)
{
    struct link *l =
        link_of(c, node == LOAD_ANY_NODE ? load_client_pick(c) : node);
    struct call *call = new_call(l, api, version, request, patience_ms);

    call->done = done;
    call->arg = arg;
    list_push_back(&l->calls, &call->in);
    if (l->state == READY && serves(l, call)) {
        send_call(l, call);
    } else if (l->state == READY) {
        l->timer.fn = refuse;
        l->timer.arg = l;
        env_timer_start(c->env, &l->timer, 0);
    } else if (l->state == IDLE) {
        begin(l);
    }
}

int load_client_in_flight(const struct load_client *c, int32_t node)
{
    const struct link *l = find_link(c, node);
    int count = 0;

    if (l == NULL)
        return 0;
    LIST_EACH (at, &l->calls)
        count++;
    return count;
}
