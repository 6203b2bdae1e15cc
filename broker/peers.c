#include "broker/peers.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/map.h"
#include "proto/kafka/header.h"

#include <stdlib.h>

enum {
    ANSWER_MAX_BYTES = 16 << 20,
    /* Decoded, an answer may take this many times its size, and some more. */
    DECODED_FACTOR = 24,
    DECODED_EXTRA_BYTES = 1 << 20,
};

/* A connection, established or on the way to be. */
struct peer {
    struct peers *peers;
    int32_t id;
    int64_t epoch;
    struct env_conn *conn;
    bool open;
    int32_t next_correlation_id;
    struct list calls; /* in the order sent, which is that of the answers */
    struct env_timer late;
};

struct peers {
    struct env *env;
    char *client_id;
    struct map by_id; /* broker id, 4 bytes -> struct peer */
    struct list lost; /* of peer_call.link: to nobody, until `task` runs */
    struct env_task task;
};

struct peers *peers_new(struct env *env, const char *client_id)
{
    struct peers *peers = xcalloc(1, sizeof *peers);

    peers->env = env;
    peers->client_id = xstrdup(client_id);
    list_init(&peers->lost);
    return peers;
}

static void unlink_peer(struct peer *peer)
{
    env_timer_stop(peer->peers->env, &peer->late);
    if (peer->conn != NULL)
        env_conn_close(peer->conn);
    map_remove(&peer->peers->by_id, slice_of(&peer->id, sizeof peer->id));
}

static void drop_out(struct peer_call *call)
{
    if (call->out != NULL)
        env_out_free(call->out);
    call->out = NULL;
}

/* The calls may ask again from inside, on another connection. */
static void peer_end(struct peer *peer, enum err error)
{
    unlink_peer(peer);
    for (struct list *node; (node = list_pop_front(&peer->calls)) != NULL;) {
        struct peer_call *call = LIST_ENTRY(node, struct peer_call, link);

        drop_out(call);
        call->done(call, error, NULL);
    }
    free(peer);
}

/* Each ends as many as there are now: others ask again from inside. */
static void end_lost(struct peers *peers)
{
    struct list lost;

    list_init(&lost);
    list_append_all(&lost, &peers->lost);
    for (struct list *node; (node = list_pop_front(&lost)) != NULL;) {
        struct peer_call *call = LIST_ENTRY(node, struct peer_call, link);

        call->done(call, ERR_CLOSED, NULL);
    }
}

static void on_lost(struct env_task *task)
{
    end_lost(LIST_ENTRY(task, struct peers, task));
}

static void lose(struct peers *peers, struct peer_call *call)
{
    bool first = list_empty(&peers->lost);

    list_init(&call->link);
    list_push_back(&peers->lost, &call->link);
    if (!first)
        return;
    peers->task.fn = on_lost;
    env_post(peers->env, &peers->task);
}

void peers_stop(struct peers *peers)
{
    end_lost(peers);
    MAP_EACH (e, &peers->by_id)
        peer_end(e->value, ERR_CLOSED);
}

void peers_free(struct peers *peers)
{
    ASSERT(map_count(&peers->by_id) == 0);
    map_free(&peers->by_id);
    free(peers->client_id);
    free(peers);
}

/* ---- answers -------------------------------------------------------------*/

static struct peer_call *first_call(const struct peer *peer)
{
    return LIST_ENTRY(peer->calls.next, struct peer_call, link);
}

static void watch(struct peer *peer)
{
    int64_t now_ms = env_now_ms(peer->peers->env);

    if (list_empty(&peer->calls)) {
        env_timer_stop(peer->peers->env, &peer->late);
        return;
    }
    int64_t left_ms = first_call(peer)->deadline_ms - now_ms;
    env_timer_start(peer->peers->env, &peer->late, left_ms > 0 ? left_ms : 0);
}

static void is_late(void *arg)
{
    struct peer *peer = arg;

    log_info("server", "Node %d does not answer in time; connecting again",
             peer->id);
    peer_end(peer, ERR_REQUEST_TIMED_OUT);
}

/* Answers come in the order of the requests. */
static enum err take(struct peer *peer, struct slice frame)
{
    struct peer_call *call;
    const struct api *api;
    struct arena arena;
    struct slice body;
    int32_t correlation_id;

    if (list_empty(&peer->calls))
        return ERR_MALFORMED;
    call = first_call(peer);
    api = api_find((int16_t)call->api);
    enum err error = kafka_parse_response(frame, api->key, call->version,
                                          &correlation_id, &body);
    if (error == ERR_NONE && correlation_id != call->correlation_id)
        error = ERR_MALFORMED;
    if (error != ERR_NONE)
        return error;
    arena_init(&arena, frame.len * DECODED_FACTOR + DECODED_EXTRA_BYTES);
    void *response = arena_alloc(&arena, api->response->size_bytes);
    error = kafka_decode(api->response, call->version, body, &arena, response);
    if (error == ERR_NONE) {
        list_remove(&call->link);
        watch(peer);
        call->done(call, ERR_NONE, response);
    }
    arena_free(&arena);
    return error;
}

static void on_frame(struct env_conn *conn, void *arg, struct env_frame *frame)
{
    struct peer *peer = arg;
    int32_t id = peer->id;
    enum err error = take(peer, slice_of(frame->data, frame->len));

    (void)conn;
    env_frame_unref(frame);
    if (error == ERR_NONE)
        return; /* the peer may be gone */
    log_warn("server",
             "An answer of node %d cannot be read (%s); connecting again", id,
             err_text(error));
    peer_end(peer, error);
}

static void on_opened(struct env_conn *conn, void *arg)
{
    struct peer *peer = arg;

    peer->open = true;
    LIST_EACH (node, &peer->calls) {
        struct peer_call *call = LIST_ENTRY(node, struct peer_call, link);

        env_conn_send(conn, call->out);
        call->out = NULL;
    }
}

static void on_closed(struct env_conn *conn, void *arg, int error)
{
    struct peer *peer = arg;

    (void)conn;
    peer->conn = NULL;
    peer_end(peer, (enum err)error);
}

static const struct env_conn_ops conn_ops = {
    .opened = on_opened, .frame = on_frame, .closed = on_closed};

/* ---- requests ------------------------------------------------------------*/

static struct peer *peer_of(struct peers *peers, const struct peer_address *to)
{
    struct slice key = slice_of(&to->id, sizeof to->id);
    struct peer *peer = map_get(&peers->by_id, key);

    if (peer != NULL && peer->epoch != to->epoch) {
        peer_end(peer, ERR_CLOSED);
        peer = map_get(&peers->by_id, key); /* who heard so may have asked */
    }
    if (peer != NULL)
        return peer;
    peer = xcalloc(1, sizeof *peer);
    peer->peers = peers;
    peer->id = to->id;
    peer->epoch = to->epoch;
    peer->late = (struct env_timer){.fn = is_late, .arg = peer};
    list_init(&peer->calls);
    map_put(&peers->by_id, key, peer);
    peer->conn = env_connect(peers->env, to->host, to->port, ANSWER_MAX_BYTES,
                             &conn_ops, peer);
    return peer;
}

static struct env_out *encode(const struct peers *peers,
                              const struct peer_call *call, const void *request)
{
    struct env_out *out = env_out_new();
    struct request_header h;
    struct buf b = BUF_INIT;

    request_header_init(&h);
    h.request_api_key = (int16_t)call->api;
    h.request_api_version = call->version;
    h.correlation_id = call->correlation_id;
    h.client_id = slice_str(peers->client_id);
    ASSERT(kafka_frame_request(&b, &h, request) == ERR_NONE);
    env_out_add_buf(out, &b);
    return out;
}

void peers_send(struct peers *peers, const struct peer_address *to,
                struct peer_call *call, enum api_key api, int16_t version,
                const void *request, int64_t timeout_ms)
{
    if (to == NULL) {
        lose(peers, call);
        return;
    }
    struct peer *peer = peer_of(peers, to);
    bool first = list_empty(&peer->calls);

    call->api = api;
    call->version = version;
    call->correlation_id = peer->next_correlation_id;
    peer->next_correlation_id =
        call->correlation_id == INT32_MAX ? 0 : call->correlation_id + 1;
    call->deadline_ms = env_now_ms(peers->env) + timeout_ms;
    call->out = encode(peers, call, request);
    list_init(&call->link);
    list_push_back(&peer->calls, &call->link);
    if (first)
        watch(peer);
    if (!peer->open)
        return;
    env_conn_send(peer->conn, call->out);
    call->out = NULL;
}
