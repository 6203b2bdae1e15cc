#include "broker/request.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "broker/address_limits.h"
#include "broker/dispatch.h"
#include "broker/listeners.h"
#include "broker/live.h"
#include "broker/quotas.h"
#include "broker/shard.h"
#include "broker/share_home.h"
#include "proto/kafka/header.h"

#include <stdlib.h>

/* Requests of one connection that may be in progress before it is no longer
 * read, and the answers' bytes that may wait for a slow reader. */
enum {
    IN_FLIGHT_MAX = 64,
    QUEUED_MAX_BYTES = 16 << 20,
    QUEUED_MAX_ANSWERS = 4096,
    /* Connections closed for idleness before others get their turn. */
    IDLE_BATCH_MAX = 256,
    COMPLAIN_MS = 10000,
    CLIENT_ID_KEPT_BYTES = 256, /* of a request that waits */
};

/* A decoded request may take this many times its size on the wire, and this
 * much more: enough for any honest one, a bound for the others. */
enum { DECODED_FACTOR = 24, DECODED_EXTRA_BYTES = 1 << 20 };

struct conn {
    struct list link; /* in shard->idle_conns or busy_conns */
    struct shard *shard;
    struct shard_port *port;
    struct visitor *visitor; /* or NULL: addresses are not counted */
    int64_t idle_since_ms;   /* in idle_conns */
    struct env_conn *stream;
    struct list requests; /* arrival order; the head is answered next */
    int in_flight;
    int listener;
    bool paused;
    bool held; /* until it is known whether its address has room */
    struct quota_use *quotas; /* of the client that asked last; or NULL */
    struct env_timer mute;    /* while its client is above a quota, ... */
    int64_t muted_until_ms;   /* ... until then */
    struct share_connection shares;
};

/* The request this thread works on, for request_percentage. */
static _Thread_local struct request *at_work;

struct share_connection *request_share_connection(const struct request *r)
{
    return &r->conn->shares;
}

/* Shards know one client listener of each broker. */
const struct shard_broker *request_hint(const struct request *r, int32_t id)
{
    const struct server_config *config = r->shard->broker->config;
    const struct server_listener *known =
        server_config_first_advertised(config);
    const struct shard_broker *b = id < 0 ? NULL : shard_broker(r->shard, id);

    return b != NULL && b->client_host != NULL && known != NULL &&
                   strcmp(config->listeners[r->listener].name, known->name) == 0
               ? b
               : NULL;
}

/* ---- the end of a request ------------------------------------------------ */

static void work_begins(struct request *r)
{
    r->began_us = env_now_us(r->owner);
    at_work = r;
}

static void work_ends(struct request *r)
{
    if (at_work != r)
        return;
    r->busy_us += env_now_us(r->owner) - r->began_us;
    at_work = NULL;
}

void request_drop_frame(struct request *r)
{
    if (r->frame != NULL)
        env_frame_unref(r->frame);
    r->frame = NULL;
    if (!atomic_load(&r->discounted))
        env_intake_give_back(r->shard->intake, r->intake_bytes);
    r->intake_bytes = 0;
}

void request_discount_frame(struct request *r)
{
    if (!atomic_exchange(&r->discounted, true))
        env_intake_give_back(r->shard->intake, r->intake_bytes);
}

void request_shrink(struct request *r, struct arena *kept, void *msg)
{
    struct slice name = r->client_id; /* for log lines */

    if (name.len > CLIENT_ID_KEPT_BYTES)
        name.len = CLIENT_ID_KEPT_BYTES;
    r->client_id = arena_copy(kept, name);
    r->client_host = arena_strdup(kept, slice_str(r->client_host));
    r->group_host = NULL;
    r->body = SLICE_NULL;
    r->msg = msg;
    request_drop_frame(r);
    arena_free(&r->arena);
    r->arena = *kept;
    atomic_store(&r->discounted, false);
    r->intake_bytes = sizeof *r + kept->used_bytes;
    env_intake_take(r->shard->intake, r->intake_bytes);
}

/* All but the answer, which may have to wait for its turn. */
static void drop_question(struct request *r)
{
    request_drop_frame(r);
    arena_free(&r->arena);
}

static void request_free(struct request *r)
{
    if (at_work == r)
        at_work = NULL;
    quota_use_unref(r->quotas);
    list_remove(&r->link);
    if (r->out != NULL)
        env_out_free(r->out);
    drop_question(r);
    free(r);
}

static void conn_throttle(struct conn *c)
{
    bool full = c->in_flight >= IN_FLIGHT_MAX || env_timer_running(&c->mute) ||
                env_conn_queued(c->stream) > QUEUED_MAX_BYTES ||
                env_conn_queued_outs(c->stream) > QUEUED_MAX_ANSWERS;

    if (full == c->paused)
        return;
    c->paused = full;
    if (full)
        env_conn_pause(c->stream);
    else
        env_conn_resume(c->stream);
}

/* Requests in progress outlive the connection. Those that wait for something
 * are told that nobody waits for them. */
static void conn_free(struct conn *c)
{
    struct list orphans;

    list_init(&orphans);
    list_append_all(&orphans, &c->requests);
    LIST_EACH_SAFE (node, next, &orphans) {
        struct request *r = LIST_ENTRY(node, struct request, link);

        r->conn = NULL;
        if (r->done)
            request_free(r);
    }
    for (struct list *node; (node = list_pop_front(&orphans)) != NULL;) {
        struct request *r = LIST_ENTRY(node, struct request, link);

        if (r->cancel != NULL)
            r->cancel(r);
    }
    share_home_disconnect(c->shard, &c->shares);
    list_remove(&c->link);
    env_timer_stop(c->shard->env, &c->mute);
    quota_use_unref(c->quotas);
    if (c->visitor != NULL)
        visitor_leave(c->visitor);
    listeners_left(c->port);
    free(c);
}

static void conn_close(struct conn *c)
{
    env_conn_close(c->stream);
    conn_free(c);
}

/* ---- idle connections ----------------------------------------------------*/

static void conn_is_idle(struct conn *c)
{
    struct shard *s = c->shard;
    int64_t max_ms = s->broker->config->connections_max_idle_ms;

    c->idle_since_ms = env_now_ms(s->env);
    list_remove(&c->link);
    list_push_back(&s->idle_conns, &c->link);
    if (max_ms >= 0 && !env_timer_running(&s->idle_check))
        env_timer_start(s->env, &s->idle_check, max_ms);
}

static void conn_is_busy(struct conn *c)
{
    list_remove(&c->link);
    list_push_back(&c->shard->busy_conns, &c->link);
}

/* The timer follows the head of the list and is not moved when the head is: it
 * fires once per idle time at most, plus once for each batch that is closed. */
static void on_idle_check(void *arg)
{
    struct shard *s = arg;
    int64_t max_ms = s->broker->config->connections_max_idle_ms;
    int64_t now = env_now_ms(s->env);

    for (int i = 0; !list_empty(&s->idle_conns); i++) {
        struct conn *c = LIST_ENTRY(s->idle_conns.next, struct conn, link);
        int64_t left = c->idle_since_ms + max_ms - now;

        if (left > 0 || i == IDLE_BATCH_MAX) {
            env_timer_start(s->env, &s->idle_check, left > 0 ? left : 0);
            return;
        }
        /* Half a request arrived, or an answer is on its way out. */
        if (max_ms > 0 && env_conn_active_ms(c->stream) > c->idle_since_ms)
            conn_is_idle(c);
        else
            conn_close(c);
    }
}

void conns_init(struct shard *s)
{
    const struct server_config *config = s->broker->config;
    int64_t limit = config->socket_request_max_bytes;

    if (config->queued_max_request_bytes > 0)
        limit = config->queued_max_request_bytes / s->broker->shards_len;
    list_init(&s->idle_conns);
    list_init(&s->busy_conns);
    s->idle_check.fn = on_idle_check;
    s->idle_check.arg = s;
    s->intake = env_intake_new(s->env, limit > 0 ? (size_t)limit : 1);
    s->verifying_max_bytes = limit > 0 ? (size_t)limit / 2 : 0;
}

static bool close_first(struct list *conns, int spared_listener)
{
    LIST_EACH (node, conns) {
        struct conn *c = LIST_ENTRY(node, struct conn, link);

        if (c->listener == spared_listener)
            continue;
        conn_close(c);
        return true;
    }
    return false;
}

bool conns_close_oldest(struct shard *s, int spared_listener)
{
    return close_first(&s->idle_conns, spared_listener) ||
           close_first(&s->busy_conns, spared_listener);
}

static void on_unmute(void *arg) { conn_throttle(arg); }

/* A longer pause takes the place of a shorter one.  The loop's clock is a
 * little behind the one that the pause was measured by. */
static void conn_mute(struct conn *c, int32_t ms)
{
    int64_t until_ms = env_now_ms(c->shard->env) + ms + 1;

    if (env_timer_running(&c->mute) && until_ms <= c->muted_until_ms)
        return;
    c->muted_until_ms = until_ms;
    env_timer_start(c->shard->env, &c->mute, (int64_t)ms + 1);
}

/* Sends every answer that is ready and whose turn it is. */
static void conn_flush(struct conn *c)
{
    while (!list_empty(&c->requests)) {
        struct request *r = LIST_ENTRY(c->requests.next, struct request, link);

        if (!r->done)
            break;
        if (r->close_after) {
            conn_close(c);
            return;
        }
        if (r->out != NULL)
            env_conn_send(c->stream, r->out);
        r->out = NULL;
        if (r->throttle_ms > 0)
            conn_mute(c, r->throttle_ms);
        if (--c->in_flight == 0)
            conn_is_idle(c);
        request_free(r);
    }
    conn_throttle(c);
}

static void finished_at_home(struct request *r)
{
    if (r->conn == NULL) {
        request_free(r);
        return;
    }
    r->done = true;
    drop_question(r);
    conn_flush(r->conn);
}

static void finished_elsewhere(struct env_task *task)
{
    struct request *r =
        (struct request *)((char *)task - offsetof(struct request, task));
    finished_at_home(r);
}

static void request_finish(struct request *r)
{
    work_ends(r);
    if (r->owner == r->shard->env) {
        finished_at_home(r);
        return;
    }
    r->task.fn = finished_elsewhere;
    env_post(r->shard->env, &r->task);
}

/* ---- answers --------------------------------------------------------------
 */

static void send_whole(struct request *r, struct buf *b)
{
    r->out = env_out_new();
    env_out_add_buf(r->out, b);
    request_finish(r);
}

void request_throttle(struct request *r, int32_t ms)
{
    if (ms > r->throttle_ms)
        r->throttle_ms = ms;
}

/* What its work has cost so far counts, too. */
static void take_work(struct request *r)
{
    int64_t us = r->busy_us;

    if (r->quotas == NULL || r->exempt)
        return;
    if (at_work == r)
        us += env_now_us(r->owner) - r->began_us;
    request_throttle(r, quota_take(r->quotas, QUOTA_REQUEST, (double)us,
                                   env_now_us(r->owner)));
}

static const struct kafka_field *throttle_field(const struct request *r)
{
    const struct kafka_desc *d = r->api->response;

    for (int i = 0; i < d->plain_count; i++)
        if (strcmp(d->fields[i].name, "throttleTimeMs") == 0)
            return &d->fields[i];
    return NULL;
}

/* Also into answers that somebody else has encoded: there it comes first. */
static void tell_throttle(struct request *r, const void *response,
                          struct buf *encoded, size_t body_at)
{
    const struct kafka_field *f = throttle_field(r);

    if (r->throttle_ms == 0 || f == NULL || !kafka_field_in(f, r->version))
        return;
    if (response != NULL)
        memcpy((char *)(uintptr_t)response + f->offset, &r->throttle_ms,
               sizeof r->throttle_ms);
    else if (f == r->api->response->fields && encoded->len >= body_at + 4)
        be32_put(encoded->data + body_at, (uint32_t)r->throttle_ms);
}

static bool encode(struct request *r, const void *response, struct buf *b,
                   struct kafka_gaps *gaps)
{
    take_work(r);
    tell_throttle(r, response, NULL, 0);
    enum err error = kafka_frame_response(b, r->api->key, r->version,
                                          r->correlation_id, response, gaps);

    if (error == ERR_NONE)
        return true;
    log_error("server",
              "The answer to a %s request version %d from %s cannot be encoded "
              "(%s); closing the connection. This is a bug",
              r->api->name, r->version, r->client_host, err_text(error));
    r->close_after = true;
    return false;
}

void request_respond(struct request *r, const void *response)
{
    struct buf b = BUF_INIT;

    if (encode(r, response, &b, NULL)) {
        send_whole(r, &b);
        return;
    }
    buf_free(&b);
    request_finish(r);
}

/* The controller says that its client is above a quota. */
static void take_throttle(struct request *r, struct slice body)
{
    const struct kafka_field *f = throttle_field(r);

    if (f != NULL && f == r->api->response->fields &&
        kafka_field_in(f, r->version) && body.len >= 4)
        request_throttle(r, (int32_t)be32_get(body.data));
}

void request_respond_body(struct request *r, struct slice body)
{
    struct buf b = BUF_INIT;
    bool tagged = kafka_response_header_version(r->api->key, r->version) >= 1;

    buf_put_u32(&b, (uint32_t)(4 + tagged + body.len));
    buf_put_u32(&b, (uint32_t)r->correlation_id);
    if (tagged)
        buf_put_u8(&b, 0);
    size_t body_at = b.len;
    buf_put_slice(&b, body);
    take_throttle(r, body);
    take_work(r);
    tell_throttle(r, NULL, &b, body_at);
    send_whole(r, &b);
}

/* Memory up to each gap, then the gap's file range. */
static void splice(struct request *r, const struct buf *b,
                   const struct kafka_gaps *gaps)
{
    size_t at = 0;

    r->out = env_out_new();
    for (uint32_t i = 0; i < gaps->len; i++) {
        const struct log_range *range = gaps->items[i].ext;
        struct buf part = BUF_INIT;

        buf_put(&part, b->data + at, gaps->items[i].at - at);
        at = gaps->items[i].at;
        env_out_add_buf(r->out, &part);
        env_out_add_file(r->out, range->file, range->position, range->len);
    }
    struct buf last = BUF_INIT;
    buf_put(&last, b->data + at, b->len - at);
    env_out_add_buf(r->out, &last);
}

void request_respond_ranges(struct request *r, const void *response,
                            struct log_range *ranges, int ranges_len)
{
    struct buf b = BUF_INIT;
    struct kafka_gaps gaps = {0};

    if (encode(r, response, &b, &gaps))
        splice(r, &b, &gaps);
    for (int i = 0; i < ranges_len; i++)
        if (ranges[i].file != NULL)
            env_file_unref(ranges[i].file);
    kafka_gaps_free(&gaps);
    buf_free(&b);
    request_finish(r);
}

void request_finish_silently(struct request *r) { request_finish(r); }

void request_close(struct request *r, const char *why)
{
    log_warn("server", "Closing the connection of %s (client '%.*s'): %s %s",
             r->client_host, SLICE_FMT(r->client_id),
             r->api != NULL ? r->api->name : "request", why);
    r->close_after = true;
    request_finish(r);
}

/* ---- moving between threads -----------------------------------------------
 */

static void moved(struct env_task *task)
{
    struct request *r =
        (struct request *)((char *)task - offsetof(struct request, task));
    work_begins(r);
    r->moved(r);
    if (at_work == r)
        work_ends(r);
}

void request_move(struct request *r, struct env *to,
                  void (*fn)(struct request *))
{
    if (r->owner == to) {
        fn(r);
        return;
    }
    work_ends(r);
    r->owner = to;
    r->moved = fn;
    r->task.fn = moved;
    env_post(to, &r->task);
}

/* ---- arrival --------------------------------------------------------------
 */

static void conn_refuse(struct conn *c, const char *why)
{
    log_warn("server", "Closing the connection of %s: %s",
             env_conn_peer_host(c->stream), why);
    conn_close(c);
}

/* ApiVersions is how a client learns what we speak, so even a version that we
 * lack gets an answer that every client can read. */
static void answer_api_versions_unsupported(struct request *r)
{
    r->version = 0;
    dispatch_api_versions_unsupported(r);
}

static void start(struct conn *c, struct request *r, struct slice frame_body)
{
    const struct api *api = r->api;
    enum err error;

    if (api == NULL || !dispatch_serves(api->key)) {
        request_close(r, "with an API that is not served here");
        return;
    }
    if (!api_serves(api, API_ON_BROKER, r->version)) {
        if (api->key == API_API_VERSIONS)
            answer_api_versions_unsupported(r);
        else
            request_close(r, "in a version that is not served");
        return;
    }
    r->body = frame_body;
    r->msg = arena_alloc(&r->arena, api->request->size_bytes);
    error = kafka_decode_request(api->request, r->version, frame_body,
                                 &r->arena, r->msg);
    if (error != ERR_NONE) {
        request_close(r, error == ERR_TOO_LARGE ? "is too large to decode"
                                                : "cannot be decoded");
        return;
    }
    r->arena.limit_bytes = 0; /* from here on the sizes are ours */
    size_t decoded = sizeof *r + r->arena.used_bytes;
    env_intake_take(r->shard->intake, decoded);
    r->intake_bytes += decoded;
    dispatch(r);
    /* It may be gone, or another thread's: then it is not at work here. */
    if (at_work == r)
        work_ends(r);
}

static void on_frame(struct env_conn *stream, void *arg,
                     struct env_frame *frame)
{
    struct conn *c = arg;
    struct request *r = xcalloc(1, sizeof *r);
    struct request_header header;
    struct slice body;

    (void)stream;
    list_init(&r->link);
    r->shard = c->shard;
    r->frame = frame;
    r->intake_bytes = frame->len;
    arena_init(&r->arena, frame->len * DECODED_FACTOR + DECODED_EXTRA_BYTES);
    enum err error =
        kafka_parse_request(slice_of(frame->data, frame->len), &header, &body);
    if (error == ERR_MALFORMED) {
        request_free(r);
        conn_refuse(c, "its request header cannot be decoded");
        return;
    }
    r->conn = c;
    r->owner = c->shard->env;
    r->api = api_find(header.request_api_key);
    r->version = header.request_api_version;
    r->correlation_id = header.correlation_id;
    r->client_id = arena_copy(&r->arena, header.client_id);
    r->client_host =
        arena_strdup(&r->arena, slice_str(env_conn_peer_host(c->stream)));
    r->listener = c->listener;
    r->arrived_us = env_now_us(c->shard->env);
    r->size_bytes = frame->len;
    c->quotas = quota_use_of(c->shard, c->quotas, r->client_id);
    r->quotas = quota_use_ref(c->quotas);
    list_push_back(&c->requests, &r->link);
    c->in_flight++;
    conn_is_busy(c);
    conn_throttle(c);
    work_begins(r);
    start(c, r, body);
}

static void on_drained(struct env_conn *stream, void *arg)
{
    (void)stream;
    conn_throttle(arg);
}

static void on_closed(struct env_conn *stream, void *arg, int error)
{
    struct conn *c = arg;

    if (error != ERR_CLOSED)
        log_warn("server", "The connection of %s ended: %s",
                 env_conn_peer_host(stream), err_text(error));
    conn_free(c);
}

const struct env_conn_ops request_conn_ops = {
    .frame = on_frame,
    .drained = on_drained,
    .closed = on_closed,
};

/* Whether the address has room for this connection, which reads nothing before
 * it is known. */
static void on_refused(void *arg) { conn_close(arg); }

static void on_address_known(void *arg, bool admitted, int32_t max,
                             int32_t wait_ms)
{
    struct conn *c = arg;
    struct shard *s = c->shard;
    int64_t now = env_now_ms(s->env);

    if (admitted) {
        if (c->held)
            env_conn_resume(c->stream);
        c->held = false;
        return;
    }
    c->visitor = NULL;
    if (wait_ms > 0) { /* so that it does not come again at once */
        c->mute.fn = on_refused;
        env_timer_start(s->env, &c->mute, wait_ms);
        return;
    }
    if (s->complained_ms == 0 || now - s->complained_ms >= COMPLAIN_MS) {
        s->complained_ms = now;
        log_warn("server",
                 "Closing a new connection of %s: it has %d, as many as "
                 "max.connections.per.ip and its overrides allow",
                 env_conn_peer_host(c->stream), max);
    }
    conn_close(c);
}

struct conn *conn_new(struct shard *shard, struct env_conn *stream,
                      struct shard_port *port, int listener,
                      struct address_limits *addresses)
{
    struct conn *c = xcalloc(1, sizeof *c);

    c->shard = shard;
    c->stream = stream;
    c->port = port;
    c->listener = listener;
    c->mute.fn = on_unmute;
    c->mute.arg = c;
    list_init(&c->requests);
    list_init(&c->link);
    share_connection_init(&c->shares);
    conn_is_idle(c);
    if (addresses != NULL) {
        c->held = live_limits_addresses(shard->live) ||
                  (shard->quotas != NULL && shard->quotas->limits_addresses);
        if (c->held)
            env_conn_pause(stream);
        c->visitor =
            visitor_ask(addresses, shard->index, env_conn_peer_host(stream),
                        on_address_known, c);
    }
    return c;
}
