/* Connections to the controller's listener: brokers' calls and long polls, Raft
 * messages, Kafka's requests. */
#include "controller/service_parts.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/planted.h"
#include "proto/internal/arena_allocator.h"

#include <stdlib.h>

enum {
    POLL_ENTRIES_MAX_BYTES = 4 << 20,
    POLL_WAIT_MAX_MS = 30000,
    PROBE_FRAME_MAX_BYTES = 1024,
};

size_t service_decoded_max(size_t frame_bytes)
{
    enum { FACTOR = 24, AT_LEAST_BYTES = 1 << 20 };

    return FACTOR * frame_bytes + AT_LEAST_BYTES;
}

/* A connection with this many polls and answers waiting, or this much that its
 * peer does not read, is not read from until there is less. */
enum {
    WAITING_MAX = 256,
    QUEUED_MAX_BYTES = 16 << 20,
    QUEUED_MAX_ANSWERS = 4096,
};

/* A FetchMetadata that waits for news. */
struct poll {
    struct list link;
    struct service_conn *conn;
    int32_t correlation_id;
    int64_t applied_index;
    size_t max_bytes;
    int64_t deadline_ms;
};

/* ---- answers ------------------------------------------------------------- */

static void conn_throttle(struct service_conn *c)
{
    if (c->stream == NULL)
        return;
    bool full = c->busy || c->refs > WAITING_MAX ||
                env_conn_queued(c->stream) > QUEUED_MAX_BYTES ||
                env_conn_queued_outs(c->stream) > QUEUED_MAX_ANSWERS;
    if (full && !c->paused)
        env_conn_pause(c->stream);
    else if (!full && c->paused)
        env_conn_resume(c->stream);
    c->paused = full;
}

static void conn_unref(struct service_conn *c)
{
    if (--c->refs == 0)
        free(c);
    else
        conn_throttle(c);
}

void service_conn_hold(struct service_conn *c, bool pause)
{
    c->refs++;
    c->busy |= pause;
    conn_throttle(c);
}

void service_conn_release(struct service_conn *c)
{
    c->busy = false;
    conn_unref(c);
}

void service_conn_drop(struct service_conn *c)
{
    if (c->stream != NULL)
        env_conn_close_when_sent(c->stream);
}

static void send_frame(struct service_conn *c, struct buf *frame)
{
    if (c->stream == NULL) {
        buf_free(frame);
        return;
    }
    struct env_out *out = env_out_new();
    env_out_add_buf(out, frame);
    env_conn_send(c->stream, out);
}

static void answer_free(struct service_answer *a)
{
    list_remove(&a->link);
    conn_unref(a->conn);
    buf_free(&a->frame);
    free(a);
}

void service_answer_at(struct service_conn *c, int64_t index, bool is_control,
                       struct buf *frame)
{
    struct controller_service *s = c->service;

    /* Answers of a connection go out in the order of its requests. */
    if (!list_empty(&s->answers)) {
        int64_t last =
            LIST_ENTRY(s->answers.prev, struct service_answer, link)->index;
        if (index < last)
            index = last;
    }
    if (index <= s->image.applied_index || PLANTED(CONTROLLER_ANSWERS_EARLY)) {
        send_frame(c, frame);
        return;
    }
    struct service_answer *a = xcalloc(1, sizeof *a);
    a->conn = c;
    c->refs++;
    a->index = index;
    a->is_control = is_control;
    a->frame = *frame;
    *frame = BUF_INIT;
    list_push_back(&s->answers, &a->link);
}

static void pack(Leat__ControlResponse *response, int32_t correlation_id,
                 struct buf *frame)
{
    size_t len = leat__control_response__get_packed_size(response);

    buf_put_u32(frame, (uint32_t)(4 + len));
    buf_put_u32(frame, (uint32_t)correlation_id);
    leat__control_response__pack(response, buf_extend(frame, len));
}

static void respond(struct service_conn *c, int32_t correlation_id,
                    Leat__ControlResponse *response, int64_t index)
{
    struct buf frame = BUF_INIT;

    pack(response, correlation_id, &frame);
    service_answer_at(c, index, true, &frame);
}

static void refuse_because(struct service_conn *c, int32_t correlation_id,
                           int error, const char *why)
{
    struct controller_service *s = c->service;
    Leat__ControlResponse response = LEAT__CONTROL_RESPONSE__INIT;

    response.error = error;
    response.message = (char *)(uintptr_t)why;
    response.leader_id = raft_node_leader(s->raft);
    const struct raft_member *leader =
        raft_config_find(raft_node_members(s->raft), response.leader_id);
    if (leader != NULL && !service_voters_are_configured(s)) {
        response.leader_host = (char *)(uintptr_t)leader->host;
        response.leader_port = leader->port;
    }
    respond(c, correlation_id, &response, 0);
}

static void refuse(struct service_conn *c, int32_t correlation_id, int error)
{
    refuse_because(c, correlation_id, error, protobuf_c_empty_string);
}

/* ---- long polls ---------------------------------------------------------- */

static void poll_free(struct poll *p)
{
    list_remove(&p->link);
    conn_unref(p->conn);
    free(p);
}

/* Entries from the log, or the whole image if they are gone. */
static void answer_poll(struct service_conn *c, int32_t correlation_id,
                        int64_t applied_index, size_t max_bytes)
{
    struct controller_service *s = c->service;
    Leat__ControlResponse response = LEAT__CONTROL_RESPONSE__INIT;
    Leat__FetchMetadataResponse fetch = LEAT__FETCH_METADATA_RESPONSE__INIT;
    struct arena arena;
    struct buf image = BUF_INIT;
    struct raft_entry entry;
    size_t count = (size_t)(s->image.applied_index - applied_index), bytes = 0;

    arena_init(&arena, 0);
    response.leader_id = s->options.node_id;
    response.result_case = LEAT__CONTROL_RESPONSE__RESULT_FETCH_METADATA;
    response.fetch_metadata = &fetch;
    fetch.committed_index = s->image.applied_index;
    if (count > 0 &&
        !raft_node_read(s->raft, (uint64_t)applied_index + 1, &entry)) {
        struct image_cursor cursor = {0};

        while (!cursor.done)
            image_snapshot_next(&s->image, &cursor, SIZE_MAX / 2, &image);
        fetch.snapshot_index = s->image.applied_index;
        fetch.snapshot_batch.data = image.data;
        fetch.snapshot_batch.len = image.len;
        fetch.snapshot_done = true;
        count = 0;
    }
    fetch.entries = arena_array(&arena, count, sizeof *fetch.entries);
    for (size_t i = 0; i < count && bytes < max_bytes; i++) {
        Leat__MetadataEntry *e = arena_alloc(&arena, sizeof *e);

        if (!raft_node_read(s->raft, (uint64_t)applied_index + 1 + i, &entry))
            break;
        leat__metadata_entry__init(e);
        e->index = (int64_t)entry.index;
        e->term = (int64_t)entry.term;
        if (entry.type == RAFT_ENTRY_DATA) {
            e->batch.data = (uint8_t *)(uintptr_t)entry.data.data;
            e->batch.len = entry.data.len;
        }
        bytes += entry.data.len + 16;
        fetch.entries[fetch.n_entries++] = e;
    }
    respond(c, correlation_id, &response, 0);
    arena_free(&arena);
    buf_free(&image);
}

static void on_poll_timer(void *arg)
{
    struct controller_service *s = arg;
    int64_t now_ms = env_now_ms(s->env), next_ms = INT64_MAX;

    LIST_EACH_SAFE (node, tmp, &s->polls) {
        struct poll *p = LIST_ENTRY(node, struct poll, link);

        if (p->deadline_ms > now_ms) {
            if (p->deadline_ms < next_ms)
                next_ms = p->deadline_ms;
            continue;
        }
        answer_poll(p->conn, p->correlation_id, p->applied_index, p->max_bytes);
        poll_free(p);
    }
    if (next_ms != INT64_MAX)
        env_timer_start(s->env, &s->poll_timer, next_ms - now_ms);
}

static void wake_polls(struct controller_service *s)
{
    for (struct list *node; (node = list_pop_front(&s->polls)) != NULL;) {
        struct poll *p = LIST_ENTRY(node, struct poll, link);

        answer_poll(p->conn, p->correlation_id, p->applied_index, p->max_bytes);
        poll_free(p);
    }
}

/* Somebody has more than we have committed: what this cluster never agreed on,
 * since it is another cluster's or a quorum has lost its disks, and it will end
 * itself; or others lead by now, and we are the ones who do not know yet.  An
 * entry that is proposed now tells: if it is committed nobody else had led when
 * we were asked.  Until then the answer is held, and it becomes NOT_CONTROLLER
 * with the loss of leadership. */
static void refuse_history(struct service_conn *c, int32_t correlation_id)
{
    struct controller_service *s = c->service;
    Leat__ControlResponse response = LEAT__CONTROL_RESPONSE__INIT;
    uint64_t index = 0;

    if (raft_node_propose(s->raft, SLICE(""), &index) != ERR_NONE) {
        refuse(c, correlation_id, ERR_NOT_CONTROLLER);
        return;
    }
    response.error = ERR_OFFSET_OUT_OF_RANGE;
    response.leader_id = s->options.node_id;
    respond(c, correlation_id, &response, (int64_t)index);
}

static void fetch_metadata(struct service_conn *c, int32_t correlation_id,
                           const Leat__FetchMetadataRequest *q)
{
    struct controller_service *s = c->service;
    size_t max_bytes = q->max_bytes > 0 && q->max_bytes < POLL_ENTRIES_MAX_BYTES
                           ? (size_t)q->max_bytes
                           : POLL_ENTRIES_MAX_BYTES;
    int64_t wait_ms =
        q->max_wait_ms < POLL_WAIT_MAX_MS ? q->max_wait_ms : POLL_WAIT_MAX_MS;

    if (q->applied_index < 0) {
        refuse(c, correlation_id, ERR_OFFSET_OUT_OF_RANGE);
        return;
    }
    if (q->applied_index > s->image.applied_index) {
        refuse_history(c, correlation_id);
        return;
    }
    if (q->broker_id >= 0 && s->controller.active)
        controller_broker_applied(&s->controller, q->broker_id, q->broker_epoch,
                                  q->applied_index);
    if (q->applied_index < s->image.applied_index || wait_ms <= 0) {
        answer_poll(c, correlation_id, q->applied_index, max_bytes);
        return;
    }
    struct poll *p = xcalloc(1, sizeof *p);
    p->conn = c;
    c->refs++;
    p->correlation_id = correlation_id;
    p->applied_index = q->applied_index;
    p->max_bytes = max_bytes;
    p->deadline_ms = env_now_ms(s->env) + wait_ms;
    list_push_back(&s->polls, &p->link);
    if (!env_timer_running(&s->poll_timer) ||
        s->poll_timer.node.key > p->deadline_ms)
        env_timer_start(s->env, &s->poll_timer, wait_ms);
}

/* ---- commits and losses of leadership ------------------------------------ */

void service_committed(struct controller_service *s)
{
    while (!list_empty(&s->answers)) {
        struct service_answer *a =
            LIST_ENTRY(s->answers.next, struct service_answer, link);

        if (a->index > s->image.applied_index)
            break;
        send_frame(a->conn, &a->frame);
        answer_free(a);
    }
    wake_polls(s);
}

/* The frames held back say yes to what may never be committed, so each is
 * replaced by a refusal with the same correlation id. Kafka's own requests have
 * no such answer; their connection is closed. */
void service_refuse_all(struct controller_service *s)
{
    struct list held;

    /* Off the list first: a refusal would stand in line behind them. */
    list_init(&held);
    list_append_all(&held, &s->answers);
    for (struct list *node; (node = list_pop_front(&held)) != NULL;) {
        struct service_answer *a =
            LIST_ENTRY(node, struct service_answer, link);

        if (a->is_control)
            refuse(a->conn, (int32_t)be32_get(a->frame.data + 4),
                   ERR_NOT_CONTROLLER);
        else if (a->conn->stream != NULL)
            env_conn_close_when_sent(a->conn->stream);
        answer_free(a);
    }
    for (struct list *node; (node = list_pop_front(&s->polls)) != NULL;) {
        struct poll *p = LIST_ENTRY(node, struct poll, link);

        refuse(p->conn, p->correlation_id, ERR_NOT_CONTROLLER);
        poll_free(p);
    }
    service_voters_lost(s);
}

/* ---- calls --------------------------------------------------------------- */

static void probe_broker(struct controller_service *s,
                         const struct image_broker *b);

static void broker_lost(struct controller_service *s, int32_t broker_id,
                        int64_t broker_epoch)
{
    struct controller_call call;
    struct controller_update update;
    struct arena arena;

    if (!s->controller.active || broker_id < 0)
        return;
    arena_init(&arena, 0);
    service_begin(s, &call, &arena);
    controller_broker_lost(&s->controller, &call, broker_id, broker_epoch,
                           &update);
    service_carry_out(s, &update);
    arena_free(&arena);

    const struct image_broker *b = image_broker(&s->image, broker_id);
    if (b != NULL && b->epoch == broker_epoch && !b->fenced)
        probe_broker(s, b);
}

static void broker_gone(struct controller_service *s, int32_t broker_id,
                        int64_t broker_epoch)
{
    struct controller_call call;
    struct controller_update update;
    struct arena arena;

    if (!s->controller.active)
        return;
    arena_init(&arena, 0);
    service_begin(s, &call, &arena);
    controller_broker_gone(&s->controller, &call, broker_id, broker_epoch,
                           &update);
    service_carry_out(s, &update);
    arena_free(&arena);
}

void service_respond_forward(struct service_conn *c, int32_t correlation_id,
                             struct slice body, int64_t index)
{
    Leat__ControlResponse response = LEAT__CONTROL_RESPONSE__INIT;
    Leat__ForwardResponse forward = LEAT__FORWARD_RESPONSE__INIT;

    response.leader_id = c->service->options.node_id;
    response.result_case = LEAT__CONTROL_RESPONSE__RESULT_FORWARD;
    response.forward = &forward;
    forward.body.data = (uint8_t *)(uintptr_t)body.data;
    forward.body.len = body.len;
    forward.committed_index = index;
    respond(c, correlation_id, &response, index);
}

static void forward_quorum(struct service_conn *c, int32_t correlation_id,
                           const Leat__ForwardRequest *q, struct arena *arena)
{
    struct buf body = BUF_INIT;
    enum err error = service_describe_quorum(
        c->service, (int16_t)q->api_version,
        slice_of(q->body.data, q->body.len), arena, &body);

    if (error == ERR_NONE)
        service_respond_forward(c, correlation_id, buf_slice(&body), 0);
    else
        refuse(c, correlation_id, error);
    buf_free(&body);
}

static void forward_voters(struct service_conn *c, int32_t correlation_id,
                           const Leat__ForwardRequest *q, struct arena *arena)
{
    struct voter_reply to = {
        .conn = c,
        .correlation_id = correlation_id,
        .is_control = true,
        .api_key = (int16_t)q->api_key,
        .version = (int16_t)q->api_version,
    };
    enum err error = service_change_voters(
        c->service, &to, slice_of(q->body.data, q->body.len), arena);

    if (error != ERR_NONE)
        refuse(c, correlation_id, error);
}

/* Whether the broker has been heard by a connection that was accepted later. It
 * has one at a time, so it has given this one up: what still arrives was on the
 * network when it did. */
static bool is_given_up(const struct service_conn *c, int32_t broker_id,
                        int64_t broker_epoch)
{
    for (struct list *node = c->link.next; node != &c->service->conns;
         node = node->next) {
        const struct service_conn *later =
            LIST_ENTRY(node, struct service_conn, link);

        if (later->broker_id == broker_id &&
            later->broker_epoch >= broker_epoch)
            return true;
    }
    return false;
}

/* The end of this connection is news of the broker from now on, that of an
 * older one is not. */
static void speaks_for(struct service_conn *c, int32_t broker_id,
                       int64_t broker_epoch)
{
    if (c->stream == NULL || is_given_up(c, broker_id, broker_epoch))
        return;
    if (c->broker_id != broker_id)
        LIST_EACH (node, &c->service->conns) {
            struct service_conn *other =
                LIST_ENTRY(node, struct service_conn, link);

            if (other->broker_id == broker_id)
                other->broker_id = -1;
        }
    c->broker_id = broker_id;
    c->broker_epoch = broker_epoch;
}

/* What was refused says nothing: it may be another process. */
static void heard_of(struct service_conn *c, const Leat__ControlRequest *q,
                     const Leat__ControlResponse *response)
{
    if (response->error != ERR_NONE)
        return;
    if (q->call_case == LEAT__CONTROL_REQUEST__CALL_HEARTBEAT)
        speaks_for(c, q->heartbeat->broker_id, q->heartbeat->broker_epoch);
    else if (q->call_case == LEAT__CONTROL_REQUEST__CALL_REGISTER_BROKER)
        speaks_for(c, q->register_broker->broker_id,
                   response->register_broker->broker_epoch);
}

static void decide(struct service_conn *c, int32_t correlation_id,
                   const Leat__ControlRequest *q, struct arena *arena)
{
    struct controller_service *s = c->service;
    struct controller_call call;
    struct controller_update update;
    Leat__ControlResponse response = LEAT__CONTROL_RESPONSE__INIT;

    service_begin(s, &call, arena);
    controller_handle(&s->controller, &call, q, &response, &update);
    response.leader_id = s->options.node_id;
    int64_t index = update.answer_index;
    if (response.result_case == LEAT__CONTROL_RESPONSE__RESULT_FORWARD)
        response.forward->committed_index = index;
    if (!service_carry_out(s, &update)) {
        refuse(c, correlation_id, ERR_NOT_CONTROLLER);
        return;
    }
    heard_of(c, q, &response);
    struct buf frame = BUF_INIT;
    pack(&response, correlation_id, &frame);
    service_answer_at(c, index, true, &frame);
}

static void control_call(struct service_conn *c, int32_t correlation_id,
                         const Leat__ControlRequest *q, struct arena *arena)
{
    struct controller_service *s = c->service;

    if (q->cluster_id[0] != '\0' &&
        strcmp(q->cluster_id, s->options.cluster_id) != 0) {
        refuse_because(c, correlation_id, ERR_INCONSISTENT_CLUSTER_ID,
                       (const char *)arena_printf(arena,
                                                  "they belong to cluster %s",
                                                  s->options.cluster_id)
                           .data);
        return;
    }
    if (!s->controller.active) {
        refuse(c, correlation_id, ERR_NOT_CONTROLLER);
        return;
    }
    switch (q->call_case) {
    case LEAT__CONTROL_REQUEST__CALL_FETCH_METADATA:
        fetch_metadata(c, correlation_id, q->fetch_metadata);
        return;
    case LEAT__CONTROL_REQUEST__CALL_FORWARD:
        if (q->forward->api_key == API_DESCRIBE_QUORUM) {
            forward_quorum(c, correlation_id, q->forward, arena);
            return;
        }
        if (q->forward->api_key >= 0 && q->forward->api_key < API_COUNT &&
            service_changes_voters((int16_t)q->forward->api_key)) {
            forward_voters(c, correlation_id, q->forward, arena);
            return;
        }
        break;
    default:
        break;
    }
    decide(c, correlation_id, q, arena);
}

/* api key, version, correlation id, client id: what precedes the body. */
static bool control_frame(struct service_conn *c, struct slice frame)
{
    struct reader r = reader_of(frame);
    struct arena arena;

    read_i16(&r);
    int16_t version = read_i16(&r);
    int32_t correlation_id = read_i32(&r);
    int16_t client_len = read_i16(&r);
    if (client_len > 0)
        reader_take(&r, (size_t)client_len);
    if (r.bad || version != CONTROL_API_VERSION)
        return false;
    arena_init(&arena, service_decoded_max(frame.len));
    ProtobufCAllocator allocator = arena_allocator(&arena);
    const Leat__ControlRequest *q =
        leat__control_request__unpack(&allocator, reader_left(&r), r.at);
    bool good = q != NULL && !arena.exhausted;
    arena.limit_bytes = 0; /* from here on the sizes are ours */
    if (good)
        control_call(c, correlation_id, q, &arena);
    arena_free(&arena);
    return good;
}

/* ---- connections --------------------------------------------------------- */

static void on_frame(struct env_conn *stream, void *arg,
                     struct env_frame *frame)
{
    struct service_conn *c = arg;
    struct slice bytes = slice_of(frame->data, frame->len);
    bool ok = false;

    c->refs++;
    if (bytes.len < 8)
        ok = false;
    else if (raft_transport_is(bytes))
        ok = raft_transport_receive(c->service->transport, bytes);
    else if (be16_get(bytes.data) == CONTROL_API_KEY)
        ok = control_frame(c, bytes);
    else
        ok = service_kafka_request(c, bytes);
    if (!ok && c->stream != NULL) {
        log_warn("controller",
                 "Closing the connection of %s to the controller listener: "
                 "its message cannot be understood or is not served",
                 env_conn_peer_host(stream));
        env_conn_close_when_sent(stream);
    }
    conn_unref(c);
    env_frame_unref(frame);
}

static void on_drained(struct env_conn *stream, void *arg)
{
    (void)stream;
    conn_throttle(arg);
}

static void on_closed(struct env_conn *stream, void *arg, int error)
{
    struct service_conn *c = arg;
    struct controller_service *s = c->service;
    int32_t broker_id = c->broker_id;
    int64_t broker_epoch = c->broker_epoch;

    (void)stream;
    (void)error;
    c->stream = NULL;
    list_remove(&c->link);
    conn_unref(c);
    broker_lost(s, broker_id, broker_epoch);
}

static const struct env_conn_ops conn_ops = {
    .frame = on_frame,
    .drained = on_drained,
    .closed = on_closed,
};

static const struct env_conn_ops *on_accept(struct env_conn *stream,
                                            void *owner, void **arg)
{
    struct controller_service *s = owner;
    struct service_conn *c = xcalloc(1, sizeof *c);

    if (s->closing) {
        free(c);
        return NULL;
    }
    c->service = s;
    c->stream = stream;
    c->refs = 1;
    c->broker_id = -1;
    list_push_back(&s->conns, &c->link);
    *arg = c;
    return &conn_ops;
}

/* A bound on what clients ask must not keep the other controllers' log out. */
static size_t frame_max(const struct controller_service *s)
{
    size_t ours = raft_transport_frame_max(&raft_node_core(s->raft)->options);

    return ours > s->options.frame_max_bytes ? ours
                                             : s->options.frame_max_bytes;
}

int service_listen(struct controller_service *s, char **why)
{
    struct env_listen_options options = {
        .host = s->options.host,
        .port = s->options.port,
        .frame_max_bytes = frame_max(s),
        .accept = on_accept,
        .owner = s,
    };

    s->poll_timer = (struct env_timer){.fn = on_poll_timer, .arg = s};
    return env_listen(s->env, &options, &s->listener, why);
}

void service_close_conns(struct controller_service *s)
{
    env_timer_stop(s->env, &s->poll_timer);
    env_timer_stop(s->env, &s->timer);
    service_refuse_all(s);
    env_listener_close(s->listener);
    LIST_EACH_SAFE (node, next, &s->conns) {
        struct service_conn *c = LIST_ENTRY(node, struct service_conn, link);

        env_conn_close(c->stream);
        c->stream = NULL;
        list_remove(&c->link);
        conn_unref(c);
    }
}

/* ---- probes: is there anybody? ------------------------------------------- */

/* Proof of a broker's end is that its machine refuses connections to the
 * listener between brokers.  Others may be advertised by addresses that are not
 * the broker's for us, such as localhost.  If that listener is not known or the
 * broker has none of that name, all must refuse, one after the other. */
struct probe {
    struct list link;
    struct controller_service *service;
    int32_t broker_id;
    int64_t broker_epoch;
    size_t next; /* endpoint, once this one refused; SIZE_MAX: none */
};

static void probe_next(struct probe *p);

static void probe_opened(struct env_conn *stream, void *arg)
{
    struct probe *p = arg;

    env_conn_close(stream);
    list_remove(&p->link);
    free(p);
}

static void probe_frame(struct env_conn *stream, void *arg,
                        struct env_frame *frame)
{
    (void)stream;
    (void)arg;
    env_frame_unref(frame);
}

static void probe_closed(struct env_conn *stream, void *arg, int error)
{
    struct probe *p = arg;

    (void)stream;
    list_remove(&p->link);
    if (error == ERR_REFUSED)
        probe_next(p);
    else
        free(p);
}

static const struct env_conn_ops probe_ops = {
    .opened = probe_opened,
    .frame = probe_frame,
    .closed = probe_closed,
};

static void probe_endpoint(struct probe *p, const struct image_endpoint *e)
{
    list_push_back(&p->service->probes, &p->link);
    env_connect(p->service->env, e->host, e->port, PROBE_FRAME_MAX_BYTES,
                &probe_ops, p);
}

/* What was asked so far has refused. */
static void probe_next(struct probe *p)
{
    struct controller_service *s = p->service;
    const struct image_broker *b = image_broker(&s->image, p->broker_id);

    if (s->controller.active && b != NULL && b->epoch == p->broker_epoch) {
        if (p->next < b->endpoints_len) {
            probe_endpoint(p, &b->endpoints[p->next++]);
            return;
        }
        broker_gone(s, p->broker_id, p->broker_epoch);
    }
    free(p);
}

static void probe_broker(struct controller_service *s,
                         const struct image_broker *b)
{
    const char *listener = s->options.inter_broker_listener;
    const struct image_endpoint *e =
        listener != NULL ? image_endpoint(b, slice_str(listener)) : NULL;

    if (b->endpoints_len == 0)
        return;
    struct probe *p = xcalloc(1, sizeof *p);
    p->service = s;
    p->broker_id = b->id;
    p->broker_epoch = b->epoch;
    p->next = e != NULL ? SIZE_MAX : 1;
    probe_endpoint(p, e != NULL ? e : &b->endpoints[0]);
}

void service_probe_brokers(struct controller_service *s)
{
    for (size_t i = 0; i < s->image.brokers_len; i++)
        if (!s->image.brokers[i]->fenced)
            probe_broker(s, s->image.brokers[i]);
}
