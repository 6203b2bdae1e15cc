/* Happy path: relay_request() moves the request to the metadata thread, whose
 * image says who leads the group's partition of __consumer_offsets.  If that is
 * this node the request goes home again, to the coordinator there; otherwise it
 * is sent over a connection that all requests to that broker share, and the
 * body of the answer goes to the client as it is: the versions that travel have
 * the same answers as version 0.
 *
 * Calls of one group stand in a queue; only the head is in progress.  It is in
 * one of three places: with the coordinator here (HERE), with another broker
 * (SENT), or nowhere (WAITING), for the image to name another leader or for a
 * pause to end.  SENT and WAITING calls are parked, so each change of the image
 * looks at them.
 *
 * Failures: answers that mean "not here" or "not yet", and connections that
 * break, send a call back to WAITING; commits and fetches may be repeated.  A
 * call that is late ends with the last error it met.  If it was late with a
 * broker, the connection is of no use any more and is closed. */
#include "broker/relay.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "broker/coord/offset_fetch_form.h"
#include "broker/coord/placement.h"
#include "broker/coordinators.h"
#include "broker/meta_parts.h"
#include "proto/kafka/header.h"

#include <stdlib.h>

enum {
    /* What may be held, of all groups together. */
    CALLS_MAX = 4096,
    CALLS_MAX_BYTES = 16 << 20,
    /* One request, and its answer: ten thousands of partitions. */
    CALL_MAX_BYTES = 1 << 20,
    ANSWER_MAX_BYTES = 16 << 20,
    /* Decoded, an answer may take this many times its size, and some more. */
    DECODED_FACTOR = 24,
    DECODED_EXTRA_BYTES = 1 << 20,
    /* Pauses before a call tries again. */
    PAUSE_MIN_MS = 50,
    PAUSE_MAX_MS = 1000,
    COMPLAIN_MS = 10000, /* between log lines */
    NOBODY = -1,
    /* The versions that travel: refused by brokers that do not coordinate the
     * group, and answered like version 0. */
    SENT_COMMIT_VERSION = 2,
    SENT_FETCH_VERSION = 1,
};

struct relay {
    struct meta *meta;
    struct map groups; /* group id -> struct queue, of those with calls */
    struct map peers;  /* broker id int32 -> struct peer, while connected */
    size_t calls;
    size_t bytes;
    int64_t complained_ms; /* when a call was refused for the limits last */
};

/* The calls of one group; the head is in progress. */
struct queue {
    struct list calls;
    struct slice group; /* owned */
};

/* A connection to a broker, established or on the way to be. */
struct peer {
    struct relay *relay;
    int32_t id;
    int64_t epoch; /* the broker's; another one is another process */
    struct env_conn *conn;
    bool open;
    int32_t next_correlation_id;
    struct list calls; /* SENT; those before `open` are yet to be written */
};

enum place { QUEUED, WAITING, SENT, HERE };

struct call {
    struct list link;      /* in its group's queue */
    struct list peer_link; /* SENT */
    struct parked parked;  /* WAITING and SENT */
    struct env_task task;  /* HERE: the end */
    struct relay *relay;
    struct queue *queue;
    struct request *request;
    void (*here)(struct request *r);
    size_t bytes; /* of the request */
    int64_t deadline_ms;
    int64_t pause_ms; /* the next one */
    enum place place;
    struct peer *peer;      /* SENT */
    int32_t correlation_id; /* SENT */
    int32_t asked;          /* whom last; NOBODY */
    bool creating;          /* waits for __consumer_offsets to be created */
    enum err error;         /* the last one */
};

static int64_t now_ms(const struct relay *relay)
{
    return env_now_ms(relay->meta->env);
}

/* ---- answers ------------------------------------------------------------ */

/* Not the coordinator's word, only that there is none yet. */
static bool is_none(enum err error)
{
    return error == ERR_COORDINATOR_NOT_AVAILABLE ||
           error == ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           error == ERR_NOT_COORDINATOR;
}

static enum err commit_error(const struct offset_commit_response *a)
{
    for (int32_t i = 0; i < a->topics_len; i++)
        for (int32_t j = 0; j < a->topics[i].partitions_len; j++) {
            enum err error = (enum err)a->topics[i].partitions[j].error_code;

            if (is_none(error))
                return error;
        }
    return ERR_NONE;
}

static enum err fetch_error(const struct offset_fetch_response *a)
{
    for (int32_t i = 0; i < a->topics_len; i++)
        for (int32_t j = 0; j < a->topics[i].partitions_len; j++) {
            enum err error = (enum err)a->topics[i].partitions[j].error_code;

            if (is_none(error))
                return error;
        }
    return ERR_NONE;
}

/* ERR_NONE: the answer is for the client.  Topics that do not exist are
 * answered beside what the coordinator says, so all partitions are looked
 * at. */
static enum err response_error(int16_t api_key, const void *response)
{
    return api_key == API_OFFSET_COMMIT ? commit_error(response)
                                        : fetch_error(response);
}

static void refuse(struct request *r, enum err error)
{
    struct coord_context context = {.version = r->version};
    struct offset_fetch_request groups;
    const void *msg = r->msg;
    bool fetch = r->api->key == API_OFFSET_FETCH;

    if (fetch) {
        offset_fetch_to_groups(r->msg, r->version, &r->arena, &groups);
        msg = &groups;
    }
    struct coord_answer *answer =
        coord_refuse(&context, (enum api_key)r->api->key, msg, error);
    if (fetch)
        offset_fetch_from_groups(&answer->response.offset_fetch, r->version,
                                 &answer->arena);
    request_respond(r, &answer->response);
    coord_answer_free(answer);
}

/* ---- the end of a call -------------------------------------------------- */

/* Out of wherever it is in progress. */
static void take_back(struct call *call)
{
    if (call->place == SENT || call->place == WAITING)
        meta_unpark(&call->parked);
    list_remove(&call->peer_link);
    call->peer = NULL;
    call->place = QUEUED;
}

static void wait_for(struct call *call, int64_t wait_ms)
{
    int64_t left_ms = call->deadline_ms - now_ms(call->relay);

    call->place = WAITING;
    if (wait_ms > left_ms)
        wait_ms = left_ms;
    meta_park(call->relay->meta, &call->parked, wait_ms > 0 ? wait_ms : 0);
}

/* The request was answered.  The next one begins in the loop's next turn. */
static void call_end(struct call *call)
{
    struct relay *relay = call->relay;
    struct queue *queue = call->queue;

    take_back(call);
    list_remove(&call->link);
    relay->calls--;
    relay->bytes -= call->bytes;
    free(call);
    if (!list_empty(&queue->calls)) {
        wait_for(LIST_ENTRY(queue->calls.next, struct call, link), 0);
        return;
    }
    map_remove(&relay->groups, queue->group);
    free((void *)(uintptr_t)queue->group.data);
    free(queue);
}

static void call_fail(struct call *call, enum err error)
{
    refuse(call->request, error);
    call_end(call);
}

static void try_later(struct call *call, enum err error)
{
    take_back(call);
    call->error = error;
    wait_for(call, call->pause_ms);
    call->pause_ms *= 2;
    if (call->pause_ms > PAUSE_MAX_MS)
        call->pause_ms = PAUSE_MAX_MS;
}

/* ---- the coordinator here ----------------------------------------------- */

static void refused_here(struct request *r)
{
    struct call *call = r->context;

    try_later(call, call->error);
}

static void ended_here(struct env_task *task)
{
    call_end(LIST_ENTRY(task, struct call, task));
}

void relay_answer(struct request *r, const void *response)
{
    struct call *call = r->context;
    struct env *meta = meta_env(r->shard->broker->meta);

    call->error = response_error(r->api->key, response);
    if (call->error != ERR_NONE) {
        request_move(r, meta, refused_here);
        return;
    }
    request_respond(r, response);
    call->task.fn = ended_here;
    env_post(meta, &call->task);
}

static void go_home(struct call *call)
{
    call->place = HERE;
    request_move(call->request, call->request->shard->env, call->here);
}

/* ---- another broker ----------------------------------------------------- */

/* The connection is closed or of no more use; its calls try again. */
static void peer_free(struct peer *peer)
{
    struct relay *relay = peer->relay;

    if (peer->conn != NULL)
        env_conn_close(peer->conn);
    map_remove(&relay->peers, slice_of(&peer->id, sizeof peer->id));
    while (!list_empty(&peer->calls))
        try_later(LIST_ENTRY(peer->calls.next, struct call, peer_link),
                  ERR_COORDINATOR_NOT_AVAILABLE);
    free(peer);
}

static int16_t sent_version(const struct call *call)
{
    return call->request->api->key == API_OFFSET_COMMIT ? SENT_COMMIT_VERSION
                                                        : SENT_FETCH_VERSION;
}

static void peer_write(struct peer *peer, struct call *call)
{
    struct request_header h;
    struct buf b = BUF_INIT;

    request_header_init(&h);
    h.request_api_key = call->request->api->key;
    h.request_api_version = sent_version(call);
    h.correlation_id = call->correlation_id;
    h.client_id = call->request->client_id;
    /* Whatever version 0 can say, these can say, too. */
    ASSERT(kafka_frame_request(&b, &h, call->request->msg) == ERR_NONE);
    struct env_out *out = env_out_new();
    env_out_add_buf(out, &b);
    env_conn_send(peer->conn, out);
}

static void on_opened(struct env_conn *conn, void *arg)
{
    struct peer *peer = arg;

    (void)conn;
    peer->open = true;
    LIST_EACH (node, &peer->calls) {
        peer_write(peer, LIST_ENTRY(node, struct call, peer_link));
    }
}

static void on_closed(struct env_conn *conn, void *arg, int error)
{
    struct peer *peer = arg;

    (void)conn;
    if (peer->open)
        log_info("groups",
                 "The connection to node %d for requests about offsets ended: "
                 "%s",
                 peer->id, err_text(error));
    peer->conn = NULL;
    /* Answers come in order: this is whose was too long, and would be again. */
    if (error == ERR_TOO_LARGE && !list_empty(&peer->calls))
        call_fail(LIST_ENTRY(peer->calls.next, struct call, peer_link),
                  ERR_INVALID_REQUEST);
    peer_free(peer);
}

/* NULL: its client has the answer, or it was sent to another broker since. */
static struct call *find_call(struct peer *peer, int32_t correlation_id)
{
    LIST_EACH (node, &peer->calls) {
        struct call *call = LIST_ENTRY(node, struct call, peer_link);

        if (call->correlation_id == correlation_id)
            return call;
    }
    return NULL;
}

static enum err take_answer(struct call *call, struct slice frame)
{
    struct request *r = call->request;
    int32_t correlation_id;
    struct arena arena;
    struct slice body;

    enum err error = kafka_parse_response(
        frame, r->api->key, sent_version(call), &correlation_id, &body);
    if (error != ERR_NONE)
        return error;
    arena_init(&arena, frame.len * DECODED_FACTOR + DECODED_EXTRA_BYTES);
    void *response = arena_alloc(&arena, r->api->response->size_bytes);
    error = kafka_decode(r->api->response, sent_version(call), body, &arena,
                         response);
    enum err verdict =
        error == ERR_NONE ? response_error(r->api->key, response) : error;
    arena_free(&arena);
    if (error != ERR_NONE)
        return error;
    if (verdict != ERR_NONE) {
        try_later(call, verdict);
    } else {
        request_respond_body(r, body);
        call_end(call);
    }
    return ERR_NONE;
}

static void on_frame(struct env_conn *conn, void *arg, struct env_frame *frame)
{
    struct peer *peer = arg;
    struct reader r = reader_of(slice_of(frame->data, frame->len));
    int32_t correlation_id = read_i32(&r);
    struct call *call = r.bad ? NULL : find_call(peer, correlation_id);
    enum err error = r.bad ? ERR_MALFORMED : ERR_NONE;

    (void)conn;
    if (call != NULL)
        error = take_answer(call, slice_of(frame->data, frame->len));
    env_frame_unref(frame);
    if (error != ERR_NONE) {
        log_warn("groups",
                 "Node %d's answer to a request about offsets cannot be read "
                 "(%s); connecting again",
                 peer->id, err_text(error));
        peer_free(peer);
    }
}

static const struct env_conn_ops conn_ops = {
    .opened = on_opened, .frame = on_frame, .closed = on_closed};

/* Connected or about to be; NULL if nobody knows where it listens. */
static struct peer *peer_of(struct relay *relay, const struct image_broker *b)
{
    struct meta *m = relay->meta;
    const struct image_endpoint *e = meta_broker_endpoint(m, b);
    struct peer *peer = map_get(&relay->peers, slice_of(&b->id, sizeof b->id));

    if (peer != NULL && peer->epoch != b->epoch) {
        peer_free(peer);
        peer = NULL;
    }
    if (peer != NULL || e == NULL)
        return peer;
    peer = xcalloc(1, sizeof *peer);
    peer->relay = relay;
    peer->id = b->id;
    peer->epoch = b->epoch;
    list_init(&peer->calls);
    peer->conn = env_connect(m->env, e->host, e->port, ANSWER_MAX_BYTES,
                             &conn_ops, peer);
    map_put(&relay->peers, slice_of(&peer->id, sizeof peer->id), peer);
    return peer;
}

static void send_to(struct call *call, struct peer *peer)
{
    call->place = SENT;
    call->peer = peer;
    call->correlation_id = peer->next_correlation_id;
    peer->next_correlation_id =
        call->correlation_id == INT32_MAX ? 0 : call->correlation_id + 1;
    list_push_back(&peer->calls, &call->peer_link);
    meta_park(call->relay->meta, &call->parked,
              call->deadline_ms - now_ms(call->relay));
    if (peer->open)
        peer_write(peer, call);
}

/* ---- who coordinates ---------------------------------------------------- */

/* NOBODY: there is no coordinator now. */
static int32_t coordinator_of(const struct call *call)
{
    const struct meta *m = call->relay->meta;
    const struct image_topic *t = image_topic(&m->image, SLICE(GROUP_TOPIC));

    if (t == NULL || t->partitions_len == 0)
        return NOBODY;
    return t
        ->partitions[coord_partition_of(call->queue->group, t->partitions_len)]
        ->leader;
}

/* The first request about offsets in a cluster brings the topic about. */
static void await_topic(struct call *call)
{
    struct slice name = SLICE(GROUP_TOPIC);
    struct meta *m = call->relay->meta;

    if (call->creating && !creation_running(m, name)) {
        call_fail(call, ERR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    call->creating = true;
    try_later(call, ERR_COORDINATOR_NOT_AVAILABLE);
    creations_start(m, &name, 1);
}

/* Begins with a head that is nowhere. */
static void attempt(struct call *call)
{
    struct meta *m = call->relay->meta;
    struct peer *peer = NULL;

    if (image_topic(&m->image, SLICE(GROUP_TOPIC)) == NULL) {
        await_topic(call);
        return;
    }
    call->creating = false;
    call->asked = coordinator_of(call);
    if (call->asked == m->broker->node_id) {
        go_home(call);
        return;
    }
    if (call->asked >= 0) {
        const struct image_broker *b = image_broker(&m->image, call->asked);

        peer = b != NULL ? peer_of(call->relay, b) : NULL;
    }
    if (peer != NULL)
        send_to(call, peer);
    else
        try_later(call, ERR_COORDINATOR_NOT_AVAILABLE);
}

/* The image changed, or the time is up: the pause's, or all of the call's. */
static void look_again(struct parked *p, bool last)
{
    struct call *call = LIST_ENTRY(p, struct call, parked);
    struct peer *stuck = call->peer;
    bool late = now_ms(call->relay) >= call->deadline_ms;
    bool moved = call->creating || coordinator_of(call) != call->asked;

    if (!late && !last && !moved)
        return;
    take_back(call);
    if (!late) {
        attempt(call);
        return;
    }
    call_fail(call,
              stuck != NULL ? ERR_COORDINATOR_NOT_AVAILABLE : call->error);
    if (stuck != NULL)
        peer_free(stuck);
}

/* ---- the beginning ------------------------------------------------------ */

static enum err admit(struct relay *relay, const struct call *call)
{
    if (call->bytes > CALL_MAX_BYTES)
        return ERR_INVALID_REQUEST;
    if (relay->calls < CALLS_MAX &&
        relay->bytes + call->bytes <= CALLS_MAX_BYTES)
        return ERR_NONE;
    if (relay->complained_ms == 0 ||
        now_ms(relay) >= relay->complained_ms + COMPLAIN_MS) {
        relay->complained_ms = now_ms(relay);
        log_warn("groups",
                 "%zu requests about offsets of version 0, %zu bytes, wait for "
                 "coordinators; refusing more. Check that all nodes run",
                 relay->calls, relay->bytes);
    }
    return ERR_COORDINATOR_NOT_AVAILABLE;
}

static int64_t patience_ms(const struct relay *relay)
{
    const struct server_config *config = relay->meta->broker->config;
    int64_t ms = (int64_t)config->broker_session_timeout_ms +
                 config->offsets_commit_timeout_ms;

    return ms < config->request_timeout_ms ? ms : config->request_timeout_ms;
}

static struct slice group_of(const struct request *r)
{
    return r->api->key == API_OFFSET_COMMIT
               ? ((const struct offset_commit_request *)r->msg)->group_id
               : ((const struct offset_fetch_request *)r->msg)->group_id;
}

static struct queue *queue_of(struct relay *relay, struct slice group)
{
    struct queue *queue = map_get(&relay->groups, group);

    if (queue != NULL)
        return queue;
    queue = xcalloc(1, sizeof *queue);
    list_init(&queue->calls);
    queue->group = slice_of(slice_dup(group), group.len);
    map_put(&relay->groups, queue->group, queue);
    return queue;
}

/* On the metadata thread. */
static void arrived(struct request *r)
{
    struct call *call = r->context;
    struct relay *relay = call->relay = r->shard->broker->meta->relay;
    enum err error = admit(relay, call);

    if (error != ERR_NONE) {
        free(call);
        refuse(r, error);
        return;
    }
    relay->calls++;
    relay->bytes += call->bytes;
    call->deadline_ms = now_ms(relay) + patience_ms(relay);
    call->queue = queue_of(relay, group_of(r));
    list_push_back(&call->queue->calls, &call->link);
    if (call->queue->calls.next == &call->link)
        attempt(call);
}

void relay_request(struct request *r, void (*here)(struct request *r))
{
    struct call *call = xcalloc(1, sizeof *call);

    list_init(&call->link);
    list_init(&call->peer_link);
    call->request = r;
    call->here = here;
    call->bytes = r->body.len;
    call->pause_ms = PAUSE_MIN_MS;
    call->place = QUEUED;
    call->asked = NOBODY;
    call->error = ERR_COORDINATOR_NOT_AVAILABLE;
    call->parked.request = r;
    call->parked.retry = look_again;
    r->context = call;
    request_move(r, meta_env(r->shard->broker->meta), arrived);
}

/* ---- life --------------------------------------------------------------- */

struct relay *relay_new(struct meta *m)
{
    struct relay *relay = xcalloc(1, sizeof *relay);

    relay->meta = m;
    return relay;
}

void relay_stop(struct relay *relay)
{
    MAP_EACH (e, &relay->peers) {
        struct peer *peer = e->value;

        env_conn_close(peer->conn);
        free(peer);
    }
    map_free(&relay->peers);
    relay->peers = MAP_INIT;
    MAP_EACH (e, &relay->groups) {
        struct queue *queue = e->value;
        struct call *head = LIST_ENTRY(queue->calls.next, struct call, link);

        if (head->place == SENT || head->place == WAITING)
            meta_unpark(&head->parked);
    }
}

void relay_free(struct relay *relay)
{
    MAP_EACH (e, &relay->groups) {
        struct queue *queue = e->value;

        for (struct list *node; (node = list_pop_front(&queue->calls)) != NULL;)
            free(LIST_ENTRY(node, struct call, link));
        free((void *)(uintptr_t)queue->group.data);
        free(queue);
    }
    map_free(&relay->groups);
    free(relay);
}
