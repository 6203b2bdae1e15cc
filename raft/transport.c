/* One outgoing connection for each peer.
 *
 *   idle --connect--> connecting --opened--> open --closed--> waiting
 *                         |                                      |
 *                         +---------- refused, too slow -------->+--> ...
 *
 * A message that comes in from a peer proves that it runs: the wait before
 * connecting to it is cut short. */
#include "raft/transport.h"

#include "base/env.h"
#include "base/list.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    QUEUE_DEFAULT_BYTES = 16 << 20,
    BACKOFF_MIN_MS = 20,
    BACKOFF_MAX_MS = 500,
    CONNECT_TIMEOUT_MS = 2000,
    SILENCE_MAX_MS = 3000,
    CHECK_MS = 1000,
    LATE_MS = 100,            /* a check later than this: we stood still */
    RECEIVE_MAX_BYTES = 1024, /* nothing is expected on these connections */
    /* What surrounds 4096 entries, or 1024 members with the longest names. */
    FRAME_OVERHEAD_BYTES = 1 << 20,
};

enum peer_state { PEER_WAITING, PEER_CONNECTING, PEER_OPEN };

struct peer {
    struct list link; /* transport.peers */
    struct raft_transport *transport;
    int32_t id;
    char host[RAFT_HOST_MAX + 1];
    uint16_t port;
    bool wanted; /* still a member; set_peers */

    enum peer_state state;
    struct env_conn *conn;  /* NULL while waiting */
    struct env_timer timer; /* connect again; or give up connecting */
    int64_t backoff_ms;
    int64_t heard_ms;
    int64_t sent_ms; /* first message since it was heard; 0: none */
    uint64_t dropped;
};

struct raft_transport {
    struct raft_transport_options options;
    struct raft_node *node;
    struct list peers;
    struct env_timer check;
    int64_t check_due_ms;
    char client_id[32];
    int32_t correlation_id;
};

static struct env *env_of(const struct peer *p)
{
    return p->transport->options.env;
}

static struct peer *find(const struct raft_transport *t, int32_t id)
{
    LIST_EACH (node, &t->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, link);

        if (p->id == id)
            return p;
    }
    return NULL;
}

/* ---- connections -------------------------------------------------------- */

static void connect_now(struct peer *p);

static void retry(void *arg) { connect_now(arg); }

static void wait_and_retry(struct peer *p)
{
    p->conn = NULL;
    p->state = PEER_WAITING;
    p->timer.fn = retry;
    env_timer_start(env_of(p), &p->timer, p->backoff_ms);
    p->backoff_ms += p->backoff_ms / 4;
    if (p->backoff_ms < BACKOFF_MIN_MS)
        p->backoff_ms = BACKOFF_MIN_MS;
    if (p->backoff_ms > BACKOFF_MAX_MS)
        p->backoff_ms = BACKOFF_MAX_MS;
}

static void lost(struct peer *p)
{
    int32_t id = p->id;
    struct raft_transport *t = p->transport;

    wait_and_retry(p);
    if (t->node != NULL)
        raft_node_peer_lost(t->node, id); /* last: it may change the peers */
}

static void opened(struct env_conn *conn, void *arg)
{
    struct peer *p = arg;

    (void)conn;
    env_timer_stop(env_of(p), &p->timer);
    p->state = PEER_OPEN;
    p->backoff_ms = 0;
    p->heard_ms = env_now_ms(env_of(p));
    p->sent_ms = 0;
    raft_node_peer_up(p->transport->node, p->id);
}

static void unexpected_frame(struct env_conn *conn, void *arg,
                             struct env_frame *frame)
{
    (void)conn;
    (void)arg;
    env_frame_unref(frame);
}

static void closed(struct env_conn *conn, void *arg, int error)
{
    struct peer *p = arg;

    (void)conn;
    (void)error;
    lost(p);
}

static const struct env_conn_ops conn_ops = {
    .opened = opened,
    .frame = unexpected_frame,
    .closed = closed,
};

static void give_up(void *arg)
{
    struct peer *p = arg;

    env_conn_close(p->conn);
    lost(p);
}

static void connect_now(struct peer *p)
{
    p->state = PEER_CONNECTING;
    p->timer.fn = give_up;
    env_timer_start(env_of(p), &p->timer, CONNECT_TIMEOUT_MS);
    p->conn = env_connect(env_of(p), p->host, p->port, RECEIVE_MAX_BYTES,
                          &conn_ops, p);
}

static void disconnect(struct peer *p)
{
    env_timer_stop(env_of(p), &p->timer);
    if (p->conn != NULL)
        env_conn_close(p->conn);
    p->conn = NULL;
    p->state = PEER_WAITING;
}

/* ---- silence ------------------------------------------------------------ */

static bool silent(const struct peer *p, int64_t now_ms)
{
    return p->state == PEER_OPEN && p->sent_ms != 0 &&
           now_ms - p->sent_ms > SILENCE_MAX_MS;
}

/* lost() may change the list, so one at a time. */
static struct peer *find_silent(struct raft_transport *t)
{
    int64_t now_ms = env_now_ms(t->options.env);

    LIST_EACH (node, &t->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, link);

        if (silent(p, now_ms))
            return p;
    }
    return NULL;
}

static void check_later(struct raft_transport *t)
{
    t->check_due_ms = env_now_ms(t->options.env) + CHECK_MS;
    env_timer_start(t->options.env, &t->check, CHECK_MS);
}

/* Who could not listen cannot complain of silence. */
static void forgive(struct raft_transport *t, int64_t late_ms)
{
    LIST_EACH (node, &t->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, link);

        if (p->sent_ms != 0)
            p->sent_ms += late_ms;
    }
}

static void check(void *arg)
{
    struct raft_transport *t = arg;
    int64_t late_ms = env_now_ms(t->options.env) - t->check_due_ms;
    struct peer *p;

    if (late_ms > LATE_MS)
        forgive(t, late_ms);
    while ((p = find_silent(t)) != NULL) {
        log_debug("raft", "node %d does not answer; connecting anew",
                  (int)p->id);
        env_conn_close(p->conn);
        lost(p);
    }
    check_later(t);
}

static void heard(struct raft_transport *t, int32_t id)
{
    struct peer *p = find(t, id);

    if (p == NULL)
        return;
    p->heard_ms = env_now_ms(t->options.env);
    p->sent_ms = 0;
    if (p->state == PEER_WAITING) {
        env_timer_stop(t->options.env, &p->timer);
        connect_now(p);
    }
}

/* ---- the link ----------------------------------------------------------- */

static void put_header(struct raft_transport *t, struct buf *b, size_t body_len)
{
    size_t name_len = strlen(t->client_id);
    size_t len = 2 + 2 + 4 + 2 + name_len + body_len;

    buf_put_u32(b, (uint32_t)len);
    buf_put_u16(b, RAFT_API_KEY);
    buf_put_u16(b, RAFT_API_VERSION);
    buf_put_u32(b, (uint32_t)t->correlation_id++);
    buf_put_u16(b, (uint16_t)name_len);
    buf_put(b, t->client_id, name_len);
}

static size_t queue_max(const struct raft_transport *t)
{
    return t->options.queue_max_bytes != 0 ? t->options.queue_max_bytes
                                           : QUEUE_DEFAULT_BYTES;
}

static void send_body(void *arg, int32_t to, struct buf *body)
{
    struct raft_transport *t = arg;
    struct peer *p = find(t, to);
    struct buf header = BUF_INIT;
    struct env_out *out;

    if (p == NULL || p->state != PEER_OPEN ||
        env_conn_queued(p->conn) + body->len > queue_max(t)) {
        if (p != NULL)
            p->dropped++;
        buf_free(body);
        return;
    }
    put_header(t, &header, body->len);
    out = env_out_new();
    env_out_add_buf(out, &header);
    env_out_add_buf(out, body);
    if (p->sent_ms == 0)
        p->sent_ms = env_now_ms(t->options.env);
    env_conn_send(p->conn, out);
}

static struct peer *add(struct raft_transport *t, int32_t id)
{
    struct peer *p = xcalloc(1, sizeof *p);

    p->transport = t;
    p->id = id;
    p->timer.arg = p;
    list_push_back(&t->peers, &p->link);
    return p;
}

static void peer_free(struct peer *p)
{
    disconnect(p);
    list_remove(&p->link);
    free(p);
}

static bool same_address(const struct peer *p, const struct raft_member *m)
{
    return p->port == m->port && strcmp(p->host, m->host) == 0;
}

static void set_peer(struct raft_transport *t, const struct raft_member *m)
{
    struct peer *p = find(t, m->id);

    if (p == NULL)
        p = add(t, m->id);
    p->wanted = true;
    if (same_address(p, m))
        return;
    disconnect(p);
    memcpy(p->host, m->host, sizeof p->host);
    p->port = m->port;
    p->backoff_ms = 0;
    connect_now(p);
}

static void set_peers(void *arg, const struct raft_config *members)
{
    struct raft_transport *t = arg;

    LIST_EACH (node, &t->peers)
        LIST_ENTRY(node, struct peer, link)->wanted = false;
    for (size_t i = 0; i < members->len; i++)
        if (members->members[i].id != t->options.node_id)
            set_peer(t, &members->members[i]);
    LIST_EACH_SAFE (node, next, &t->peers) {
        struct peer *p = LIST_ENTRY(node, struct peer, link);

        if (!p->wanted)
            peer_free(p);
    }
    if (!env_timer_running(&t->check))
        check_later(t);
}

/* ---- life --------------------------------------------------------------- */

struct raft_transport *
raft_transport_new(const struct raft_transport_options *options)
{
    struct raft_transport *t = xcalloc(1, sizeof *t);

    t->options = *options;
    list_init(&t->peers);
    t->check.fn = check;
    t->check.arg = t;
    snprintf(t->client_id, sizeof t->client_id, "raft-%d",
             (int)options->node_id);
    return t;
}

struct raft_link raft_transport_link(struct raft_transport *t)
{
    return (struct raft_link){send_body, set_peers, t};
}

void raft_transport_bind(struct raft_transport *t, struct raft_node *node)
{
    t->node = node;
}

void raft_transport_free(struct raft_transport *t)
{
    env_timer_stop(t->options.env, &t->check);
    LIST_EACH_SAFE (node, next, &t->peers)
        peer_free(LIST_ENTRY(node, struct peer, link));
    free(t);
}

/* ---- receiving ---------------------------------------------------------- */

size_t raft_transport_frame_max(const struct raft_options *o)
{
    size_t max = o->message_max_bytes;

    if (max < o->entry_max_bytes)
        max = o->entry_max_bytes;
    if (max < o->snapshot_chunk_bytes)
        max = o->snapshot_chunk_bytes;
    return max + FRAME_OVERHEAD_BYTES;
}

bool raft_transport_is(struct slice frame)
{
    return frame.len >= 4 && be16_get(frame.data) == RAFT_API_KEY;
}

/* "raft-<id>", as put_header writes it. */
static bool sender_of(struct slice client_id, int32_t *id)
{
    static const char prefix[] = "raft-";
    size_t prefix_len = sizeof prefix - 1;
    int64_t value = 0;

    if (client_id.len <= prefix_len || client_id.len > prefix_len + 10 ||
        memcmp(client_id.data, prefix, prefix_len) != 0)
        return false;
    for (size_t i = prefix_len; i < client_id.len; i++) {
        if (client_id.data[i] < '0' || client_id.data[i] > '9')
            return false;
        value = value * 10 + (client_id.data[i] - '0');
    }
    *id = (int32_t)value;
    return value <= INT32_MAX;
}

bool raft_transport_receive(struct raft_transport *t, struct slice frame)
{
    struct reader in = reader_of(frame);
    int32_t from;

    if (read_u16(&in) != RAFT_API_KEY || read_u16(&in) != RAFT_API_VERSION)
        return false;
    read_i32(&in); /* correlation id: there are no responses */
    struct slice client_id = read_bytes(&in, read_u16(&in));
    struct slice body = read_bytes(&in, reader_left(&in));
    if (in.bad || !sender_of(client_id, &from))
        return false;
    heard(t, from);
    return raft_node_receive(t->node, body);
}
