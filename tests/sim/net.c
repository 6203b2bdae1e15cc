/* The network under virtual time: base/env.h's connections and listeners.
 *
 * A stream is what TCP makes of a lossy network: bytes arrive in order or not
 * at all.  A lost segment costs a retransmission, which delays it and all
 * behind it; on a cut link segments wait, and are sent again some time after it
 * is mended.  Different streams overtake each other.
 *
 *     queued outs --flush--> segments in flight --arrival--> bytes --> frames
 *
 * The end of a process closes its streams: the peer hears of it, either behind
 * what was sent or at once, with a part of that lost.  When a host loses power
 * nobody says anything; peers that sent something get a reset when it is back.
 *
 * Bytes of a file range are read when they leave, as sendfile does.
 *
 * An intake (base/env.h) counts frames when they are handed over: what came
 * before that is in the socket, whose window is small. */
#include "tests/sim/loop.h"

#include "base/alloc.h"
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    WINDOW_BYTES = 256 * 1024,
    SEGMENT_BYTES = 64 * 1024,
    RETRANSMIT_MIN_US = 200000,
    RETRANSMITS_MAX = 5,
    MENDED_MAX_US = 1500000, /* from mending a link to the retransmission */
    CONNECT_MS = 10000,
    SYN_AGAIN_US = 1000000,
};

enum conn_state {
    CONN_CONNECTING,
    CONN_ACCEPTING,
    CONN_OPEN,
    CONN_DEAD,
};

struct half {
    struct list segments; /* on their way, in order */
    int64_t last_us;      /* arrival of the last one */
    size_t in_flight;     /* sent and not yet taken by the receiver's owner */
};

/* Half i carries what end i sends; end 0 is who dialled. */
struct stream {
    struct list link; /* world->streams */
    struct world *world;
    uint64_t number;
    struct host *host[2];
    struct env_conn *end[2];
    struct half half[2];
    bool silent[2]; /* the end vanished with its host's power */
};

struct segment {
    struct list link;
    struct event event;
    struct stream *stream;
    int from;
    bool end;     /* the stream ends behind it */
    bool stalled; /* arrived at a cut link */
    struct buf bytes;
};

struct env_conn {
    struct env *env;
    const struct env_conn_ops *ops;
    void *arg;
    enum conn_state state;
    struct stream *stream; /* NULL while connecting */
    int side;
    struct list link; /* env->conns, env->dead */
    struct list input_link;
    struct list dirty_link;
    size_t frame_max_bytes;
    struct env_intake *intake; /* or NULL */
    struct list intake_link;   /* intake->waiting */
    int64_t active_ms;

    /* Connecting. */
    struct event dial;
    char *host;
    uint16_t port;
    int64_t give_up_us;
    int64_t again_us;
    bool acknowledged; /* a stream was made; `dial` brings the news */
    bool opened;       /* to be told */
    bool refused;      /* likewise */
    bool unreachable;  /* refused: by nobody */
    struct env_listener *listener; /* accepting */

    /* Receiving. */
    struct buf in;
    size_t in_at;
    bool ended; /* nothing follows */
    bool paused;

    /* Sending. */
    struct list outs;
    size_t queued;
    size_t outs_len;
    bool closing;

    uint16_t local_port;
    const char *peer_host;
};

struct env_listener {
    struct env *env;
    struct env_listen_options options;
    bool paused;
    struct port *port;
    struct list link; /* env->listeners */
};

struct port {
    uint16_t number;
    struct env_listener **items;
    size_t len;
};

static void make_dirty(struct env_conn *conn);
static void send_end(struct stream *s, int from);

/* ---- frames -------------------------------------------------------------- */

struct frame {
    struct env_frame pub;
    unsigned refs;
    uint8_t bytes[];
};

static struct frame *frame_of(struct env_frame *frame)
{
    return (struct frame *)(void *)((char *)frame -
                                    offsetof(struct frame, pub));
}

static struct env_frame *frame_new(const uint8_t *data, size_t len)
{
    struct frame *frame = xmalloc(sizeof *frame + len);

    frame->refs = 1;
    frame->pub = (struct env_frame){frame->bytes, len};
    if (len != 0)
        memcpy(frame->bytes, data, len);
    return &frame->pub;
}

struct env_frame *env_frame_ref(struct env_frame *frame)
{
    frame_of(frame)->refs++;
    return frame;
}

void env_frame_unref(struct env_frame *frame)
{
    struct frame *f = frame_of(frame);

    ASSERT(f->refs > 0);
    if (--f->refs == 0)
        free(f);
}

/* ---- what goes out ------------------------------------------------------- */

struct chunk {
    struct buf bytes;
    struct env_file *file; /* NULL: bytes */
    int64_t position;
    size_t len;
};

struct env_out {
    struct list link;
    struct chunk *chunks;
    size_t chunks_len;
    size_t at;      /* first chunk not yet sent whole */
    size_t at_byte; /* sent of it */
    size_t len;     /* left */
};

struct env_out *env_out_new(void)
{
    struct env_out *out = xcalloc(1, sizeof *out);

    list_init(&out->link);
    return out;
}

static struct chunk *add(struct env_out *out, size_t len)
{
    out->chunks =
        xrealloc(out->chunks, (out->chunks_len + 1) * sizeof *out->chunks);
    struct chunk *chunk = &out->chunks[out->chunks_len++];
    *chunk = (struct chunk){.len = len};
    out->len += len;
    return chunk;
}

void env_out_add_buf(struct env_out *out, struct buf *b)
{
    if (b->len != 0) {
        add(out, b->len)->bytes = *b;
        *b = BUF_INIT;
    }
    buf_free(b);
}

void env_out_add_file(struct env_out *out, struct env_file *file,
                      int64_t position, size_t len)
{
    if (len == 0)
        return;
    struct chunk *chunk = add(out, len);
    chunk->file = env_file_ref(file);
    chunk->position = position;
}

void env_out_add_frame(struct env_out *out, struct env_frame *frame,
                       struct slice part)
{
    if (part.len == 0)
        return;
    ASSERT(part.data >= frame->data &&
           part.data + part.len <= frame->data + frame->len);
    buf_put_slice(&add(out, part.len)->bytes, part);
}

size_t env_out_len(const struct env_out *out) { return out->len; }

void env_out_free(struct env_out *out)
{
    for (size_t i = 0; i < out->chunks_len; i++) {
        buf_free(&out->chunks[i].bytes);
        if (out->chunks[i].file != NULL)
            env_file_unref(out->chunks[i].file);
    }
    free(out->chunks);
    free(out);
}

/* ---- streams ------------------------------------------------------------- */

static struct link *link_of(const struct stream *s, int from)
{
    return &s->world->links[s->host[from]->index][s->host[1 - from]->index];
}

static struct stream *stream_new(struct host *dialler, struct host *acceptor)
{
    struct world *w = dialler->world;
    struct stream *s = xcalloc(1, sizeof *s);

    s->world = w;
    s->number = w->streams_made++;
    s->host[0] = dialler;
    s->host[1] = acceptor;
    list_init(&s->half[0].segments);
    list_init(&s->half[1].segments);
    list_push_back(&w->streams, &s->link);
    return s;
}

static void segment_free(struct segment *g)
{
    event_cancel(g->stream->world, &g->event);
    list_remove(&g->link);
    buf_free(&g->bytes);
    free(g);
}

/* Once both ends are gone and nothing travels any more. */
static void stream_release(struct stream *s)
{
    if (s->end[0] != NULL || s->end[1] != NULL ||
        !list_empty(&s->half[0].segments) || !list_empty(&s->half[1].segments))
        return;
    list_remove(&s->link);
    free(s);
}

/* What a segment of this size takes from here on. */
static int64_t travel_us(struct stream *s, int from, size_t len)
{
    struct world *w = s->world;
    struct link *l = link_of(s, from);
    int64_t at = w->now_us, again = RETRANSMIT_MIN_US;

    if (s->host[0] == s->host[1])
        return at + world_between(w, 5, 20);
    if (l->bytes_per_s != 0) {
        if (l->busy_until_us > at)
            at = l->busy_until_us;
        at += (int64_t)len * 1000000 / l->bytes_per_s;
        l->busy_until_us = at;
    }
    at += l->delay_us + world_between(w, 0, l->jitter_us);
    for (int i = 0; i < RETRANSMITS_MAX && world_chance(w, l->loss_ppm); i++) {
        at += again;
        again *= 2;
    }
    return at;
}

static void schedule(struct segment *g, int64_t at_us)
{
    struct half *h = &g->stream->half[g->from];

    if (at_us < h->last_us)
        at_us = h->last_us;
    h->last_us = at_us;
    g->stalled = false;
    event_at(g->stream->world, &g->event, at_us);
}

static void segment_arrives(struct event *event);

static struct segment *segment_new(struct stream *s, int from)
{
    struct segment *g = xcalloc(1, sizeof *g);

    g->event.fn = segment_arrives;
    g->stream = s;
    g->from = from;
    list_push_back(&s->half[from].segments, &g->link);
    return g;
}

static void launch(struct segment *g)
{
    schedule(g, travel_us(g->stream, g->from, g->bytes.len));
}

/* The stream ends behind what `from` has sent. */
static void send_end(struct stream *s, int from)
{
    struct segment *g = segment_new(s, from);

    g->end = true;
    launch(g);
}

static void input_ready(struct env_conn *conn)
{
    if (conn->state == CONN_DEAD)
        return;
    if (list_unlinked(&conn->input_link))
        list_push_back(&conn->env->input, &conn->input_link);
    loop_wake(conn->env);
}

/* A way is open if the link is not cut and the far host can answer. */
static bool way_open(const struct stream *s, int from)
{
    if (s->host[0] == s->host[1])
        return s->host[0]->up;
    return !link_of(s, from)->cut && s->host[1 - from]->up;
}

/* It came before the one in front of it, which has arrived now. */
static void next_may_arrive(struct half *h)
{
    if (list_empty(&h->segments))
        return;
    struct segment *next = LIST_ENTRY(h->segments.next, struct segment, link);
    if (next->stalled)
        schedule(next, next->stream->world->now_us);
}

static void segment_arrives(struct event *event)
{
    struct segment *g = HEAP_ENTRY(event, struct segment, event);
    struct stream *s = g->stream;
    struct half *h = &s->half[g->from];
    struct env_conn *to = s->end[1 - g->from];
    bool first = h->segments.next == &g->link;

    if (!way_open(s, g->from) || !first) {
        g->stalled = true;
        return;
    }
    if (to == NULL) {
        /* Nobody there: a reset comes back. */
        if (s->end[g->from] != NULL && !g->end &&
            list_empty(&s->half[1 - g->from].segments))
            send_end(s, 1 - g->from);
        segment_free(g);
        next_may_arrive(h);
        stream_release(s);
        return;
    }
    if (g->bytes.len != 0)
        buf_put_slice(&to->in, buf_slice(&g->bytes));
    to->ended = to->ended || g->end;
    segment_free(g);
    next_may_arrive(h);
    input_ready(to);
}

/* ---- the end of a connection --------------------------------------------- */

static void drop_outs(struct env_conn *conn)
{
    struct list *node;

    while ((node = list_pop_front(&conn->outs)) != NULL)
        env_out_free(LIST_ENTRY(node, struct env_out, link));
    conn->queued = conn->outs_len = 0;
}

/* Everything but the struct, which callers up the stack still look at; tells
 * the peer. */
static void release(struct env_conn *conn)
{
    struct stream *s = conn->stream;

    ASSERT(conn->state != CONN_DEAD);
    conn->state = CONN_DEAD;
    event_cancel(conn->env->world, &conn->dial);
    drop_outs(conn);
    buf_free(&conn->in);
    free(conn->host);
    conn->host = NULL;
    list_remove(&conn->input_link);
    list_remove(&conn->intake_link);
    list_remove(&conn->dirty_link);
    list_remove(&conn->link);
    list_push_back(&conn->env->dead, &conn->link);
    conn->stream = NULL;
    if (s == NULL)
        return;
    s->end[conn->side] = NULL;
    if (s->end[1 - conn->side] != NULL)
        send_end(s, conn->side);
    stream_release(s);
}

static void end(struct env_conn *conn, int error)
{
    bool tell = conn->state != CONN_ACCEPTING;

    if (conn->state == CONN_DEAD)
        return;
    release(conn);
    if (tell)
        conn->ops->closed(conn, conn->arg, error);
}

void env_conn_close(struct env_conn *conn)
{
    if (conn->state != CONN_DEAD)
        release(conn);
}

static void bury(struct env *env)
{
    struct list *node;

    while ((node = list_pop_front(&env->dead)) != NULL)
        free(LIST_ENTRY(node, struct env_conn, link));
}

/* ---- connecting ---------------------------------------------------------- */

static struct env_conn *conn_new(struct env *env, size_t frame_max_bytes)
{
    struct env_conn *conn = xcalloc(1, sizeof *conn);

    conn->env = env;
    conn->frame_max_bytes = frame_max_bytes;
    list_init(&conn->input_link);
    list_init(&conn->intake_link);
    list_init(&conn->dirty_link);
    list_init(&conn->outs);
    list_push_back(&env->conns, &conn->link);
    return conn;
}

static struct host *host_named(struct world *w, const char *name)
{
    for (int i = 0; i < w->hosts_len; i++)
        if (strcmp(w->hosts[i]->name, name) == 0)
            return w->hosts[i];
    return NULL;
}

static struct port *port_of(const struct host *h, uint16_t number)
{
    char key[40];

    snprintf(key, sizeof key, "%s:%u", h->name, number);
    return map_get(&h->world->listeners, slice_str(key));
}

static void accept_from(struct env_conn *dialler, struct host *to,
                        struct port *port)
{
    struct world *w = to->world;
    struct env_listener *listener =
        port->items[world_between(w, 0, (int64_t)port->len - 1)];
    struct env_conn *conn =
        conn_new(listener->env, listener->options.frame_max_bytes);
    struct stream *s = stream_new(dialler->env->process->host, to);

    conn->state = CONN_ACCEPTING;
    conn->listener = listener;
    conn->intake = listener->options.intake;
    conn->local_port = port->number;
    conn->peer_host = dialler->env->process->host->name;
    conn->stream = dialler->stream = s;
    conn->side = 1;
    dialler->side = 0;
    s->end[0] = dialler;
    s->end[1] = conn;
    input_ready(conn);
}

static int64_t path_us(struct world *w, const struct host *from,
                       const struct host *to)
{
    struct link *l = &w->links[from->index][to->index];

    if (from == to)
        return world_between(w, 5, 20);
    return l->delay_us + world_between(w, 0, l->jitter_us);
}

static void dial_again(struct env_conn *conn)
{
    struct world *w = conn->env->world;

    conn->again_us *= 2;
    if (w->now_us + conn->again_us >= conn->give_up_us) {
        conn->refused = conn->unreachable = true;
        event_at(w, &conn->dial, conn->give_up_us);
        return;
    }
    event_in(w, &conn->dial, conn->again_us);
}

/* A SYN arrives, or the answer to one, or time is up. */
static void dial(struct event *event)
{
    struct env_conn *conn = HEAP_ENTRY(event, struct env_conn, dial);
    struct world *w = conn->env->world;
    struct host *from = conn->env->process->host;
    struct host *to = host_named(w, conn->host);
    struct port *port;

    if (conn->refused || conn->acknowledged) {
        conn->opened = conn->acknowledged;
        input_ready(conn);
        return;
    }
    if (to != NULL && from != to &&
        (!to->up || w->links[from->index][to->index].cut ||
         w->links[to->index][from->index].cut ||
         world_chance(w, w->links[from->index][to->index].loss_ppm))) {
        dial_again(conn);
        return;
    }
    port = to != NULL && to->process != NULL ? port_of(to, conn->port) : NULL;
    if (port == NULL) {
        conn->refused = true;
        conn->unreachable = to == NULL;
    } else {
        accept_from(conn, to, port);
        conn->acknowledged = true;
    }
    event_in(w, &conn->dial, to != NULL ? path_us(w, to, from) : 10);
}

struct env_conn *env_connect(struct env *env, const char *host, uint16_t port,
                             size_t frame_max_bytes,
                             const struct env_conn_ops *ops, void *arg)
{
    struct world *w = env->world;
    struct env_conn *conn = conn_new(env, frame_max_bytes);
    struct host *to = host_named(w, host);

    conn->state = CONN_CONNECTING;
    conn->ops = ops;
    conn->arg = arg;
    conn->host = xstrdup(host);
    conn->port = port;
    conn->peer_host = to != NULL ? to->name : "?";
    conn->give_up_us = w->now_us + CONNECT_MS * 1000;
    conn->again_us = SYN_AGAIN_US / 2;
    conn->dial.fn = dial;
    event_in(w, &conn->dial,
             to != NULL ? path_us(w, env->process->host, to) : 10);
    return conn;
}

void env_conn_set_receive_buffer(struct env_conn *conn, int bytes)
{
    (void)conn;
    (void)bytes;
}

const char *env_look_up(const char *host, char address[ENV_HOST_BYTES])
{
    snprintf(address, ENV_HOST_BYTES, "%s", host); /* peers are names, too */
    return NULL;
}

/* ---- the bound on frames ------------------------------------------------- */

struct env_intake {
    size_t limit_bytes;
    size_t used_bytes;
    struct list waiting;
};

struct env_intake *env_intake_new(struct env *env, size_t limit_bytes)
{
    struct env_intake *intake = xcalloc(1, sizeof *intake);

    (void)env;
    intake->limit_bytes = limit_bytes;
    list_init(&intake->waiting);
    return intake;
}

void env_intake_free(struct env_intake *intake) { free(intake); }

size_t env_intake_used(const struct env_intake *intake)
{
    return intake->used_bytes;
}

void env_intake_take(struct env_intake *intake, size_t bytes)
{
    intake->used_bytes += bytes;
}

void env_intake_give_back(struct env_intake *intake, size_t bytes)
{
    struct list *node;

    ASSERT(intake->used_bytes >= bytes);
    intake->used_bytes -= bytes;
    if (intake->used_bytes >= intake->limit_bytes)
        return;
    while ((node = list_pop_front(&intake->waiting)) != NULL)
        input_ready(LIST_ENTRY(node, struct env_conn, intake_link));
}

/* Whether the connection may have another frame; else it waits. */
static bool intake_open(struct env_conn *conn)
{
    struct env_intake *intake = conn->intake;

    if (intake == NULL || intake->used_bytes < intake->limit_bytes)
        return true;
    if (list_unlinked(&conn->intake_link))
        list_push_back(&intake->waiting, &conn->intake_link);
    return false;
}

/* ---- receiving ----------------------------------------------------------- */

static bool receiving(const struct env_conn *conn)
{
    return conn->state == CONN_OPEN && !conn->closing;
}

/* The receiver's owner has taken n bytes: the sender may go on. */
static void taken(struct env_conn *conn, size_t n)
{
    struct half *h = &conn->stream->half[1 - conn->side];
    struct env_conn *sender = conn->stream->end[1 - conn->side];

    h->in_flight -= n < h->in_flight ? n : h->in_flight;
    if (sender != NULL && sender->queued != 0) {
        make_dirty(sender);
        loop_wake(sender->env);
    }
}

static void cut_frames(struct env_conn *conn)
{
    while (receiving(conn) && !conn->paused) {
        const uint8_t *at = conn->in.data + conn->in_at;
        size_t left = conn->in.len - conn->in_at;

        if (left < 4)
            break;
        size_t len = be32_get(at);
        if (len > conn->frame_max_bytes || len > INT32_MAX) {
            end(conn, ERR_TOO_LARGE);
            return;
        }
        if (left - 4 < len) {
            if (conn->in_at != 0) { /* a frame larger than the window */
                memmove(conn->in.data, at, left);
                conn->in.len = left;
                conn->in_at = 0;
            }
            if (left > WINDOW_BYTES / 2)
                taken(conn, WINDOW_BYTES / 2);
            break;
        }
        if (!intake_open(conn))
            break;
        if (conn->intake != NULL)
            env_intake_take(conn->intake, len);
        struct env_frame *frame = frame_new(at + 4, len);
        conn->in_at += 4 + len;
        taken(conn, 4 + len);
        world_note(conn->env->world, frame->data, len);
        conn->ops->frame(conn, conn->arg, frame);
    }
    if (conn->state == CONN_OPEN && conn->in_at == conn->in.len)
        conn->in.len = conn->in_at = 0;
}

static bool accept_one(struct env_conn *conn)
{
    struct env_listener *l = conn->listener;
    void *arg = NULL;

    if (l->paused)
        return false; /* it stays in the backlog */
    if (l->options.admit != NULL && !l->options.admit(l->options.owner)) {
        l->paused = true;
        return false;
    }
    const struct env_conn_ops *ops =
        l->options.accept(conn, l->options.owner, &arg);

    if (conn->state == CONN_DEAD)
        return false;
    if (ops == NULL) {
        release(conn);
        return false;
    }
    conn->ops = ops;
    conn->arg = arg;
    conn->state = CONN_OPEN;
    return true;
}

static void take_input(struct env_conn *conn)
{
    conn->active_ms = env_now_ms(conn->env);
    if (conn->refused) {
        end(conn, conn->unreachable ? ERR_UNREACHABLE : ERR_REFUSED);
        return;
    }
    if (conn->state == CONN_ACCEPTING && !accept_one(conn))
        return;
    if (conn->state == CONN_CONNECTING) {
        if (!conn->opened)
            return; /* bytes overtook the news */
        conn->state = CONN_OPEN;
        if (conn->ops->opened != NULL)
            conn->ops->opened(conn, conn->arg);
        if (conn->state == CONN_OPEN)
            make_dirty(conn);
    }
    cut_frames(conn);
    if (conn->state == CONN_OPEN && conn->ended && !conn->paused &&
        list_unlinked(&conn->intake_link))
        end(conn, conn->in_at < conn->in.len ? ERR_MALFORMED : ERR_CLOSED);
}

void net_turn_input(struct env *env)
{
    struct list batch, *node;

    list_init(&batch);
    list_append_all(&batch, &env->input);
    while ((node = list_pop_front(&batch)) != NULL)
        take_input(LIST_ENTRY(node, struct env_conn, input_link));
}

void env_conn_pause(struct env_conn *conn) { conn->paused = true; }

void env_conn_resume(struct env_conn *conn)
{
    if (!conn->paused)
        return;
    conn->paused = false;
    input_ready(conn);
}

int64_t env_conn_active_ms(const struct env_conn *conn)
{
    return conn->active_ms;
}

const char *env_conn_peer_host(const struct env_conn *conn)
{
    return conn->peer_host;
}

uint16_t env_conn_local_port(const struct env_conn *conn)
{
    return conn->local_port;
}

/* ---- sending ------------------------------------------------------------- */

static void make_dirty(struct env_conn *conn)
{
    if (conn->state == CONN_OPEN && list_unlinked(&conn->dirty_link))
        list_push_back(&conn->env->dirty, &conn->dirty_link);
}

void env_conn_send(struct env_conn *conn, struct env_out *out)
{
    bool sendable = conn->state == CONN_OPEN || conn->state == CONN_CONNECTING;

    if (!sendable || conn->closing || out->len == 0) {
        env_out_free(out);
        return;
    }
    list_push_back(&conn->outs, &out->link);
    conn->queued += out->len;
    conn->outs_len++;
    make_dirty(conn);
    loop_wake(conn->env);
}

size_t env_conn_queued(const struct env_conn *conn) { return conn->queued; }

size_t env_conn_queued_outs(const struct env_conn *conn)
{
    return conn->outs_len;
}

void env_conn_close_when_sent(struct env_conn *conn)
{
    if (conn->state != CONN_OPEN && conn->state != CONN_CONNECTING)
        return;
    conn->closing = true;
    make_dirty(conn);
    loop_wake(conn->env);
}

/* Up to n bytes of the queue's front; false if a file does not hold what was
 * promised. */
static bool take_out(struct env_conn *conn, struct buf *into, size_t n)
{
    while (n != 0 && conn->queued != 0) {
        struct env_out *out = LIST_ENTRY(conn->outs.next, struct env_out, link);
        struct chunk *chunk = &out->chunks[out->at];
        size_t part = chunk->len - out->at_byte;

        if (part > n)
            part = n;
        if (chunk->file == NULL) {
            buf_put(into, chunk->bytes.data + out->at_byte, part);
        } else if (env_file_read(chunk->file, buf_extend(into, part), part,
                                 chunk->position + (int64_t)out->at_byte) !=
                   (int64_t)part) {
            return false;
        }
        n -= part;
        conn->queued -= part;
        out->len -= part;
        out->at_byte += part;
        if (out->at_byte < chunk->len)
            continue;
        out->at_byte = 0;
        if (++out->at < out->chunks_len)
            continue;
        list_remove(&out->link);
        conn->outs_len--;
        env_out_free(out);
    }
    return true;
}

static void flush(struct env_conn *conn)
{
    struct half *h = &conn->stream->half[conn->side];
    size_t before = conn->queued;

    while (conn->queued != 0 && h->in_flight < WINDOW_BYTES) {
        size_t room = WINDOW_BYTES - h->in_flight;
        struct segment *g = segment_new(conn->stream, conn->side);

        if (!take_out(conn, &g->bytes,
                      room < SEGMENT_BYTES ? room : SEGMENT_BYTES)) {
            segment_free(g);
            end(conn, ERR_CLOSED);
            return;
        }
        h->in_flight += g->bytes.len;
        conn->active_ms = env_now_ms(conn->env);
        launch(g);
    }
    if (conn->queued != 0)
        return;
    if (conn->closing)
        end(conn, ERR_CLOSED);
    else if (before != 0 && conn->ops->drained != NULL)
        conn->ops->drained(conn, conn->arg);
}

void net_turn_end(struct env *env)
{
    struct list batch, *node;

    list_init(&batch);
    list_append_all(&batch, &env->dirty);
    while ((node = list_pop_front(&batch)) != NULL) {
        struct env_conn *conn = LIST_ENTRY(node, struct env_conn, dirty_link);

        if (conn->state == CONN_OPEN)
            flush(conn);
    }
    bury(env);
}

bool net_turn_wanted(const struct env *env)
{
    return !list_empty(&env->input) || !list_empty(&env->dirty);
}

/* ---- listeners ----------------------------------------------------------- */

static struct port *port_open(struct host *h, uint16_t number)
{
    struct port *port = port_of(h, number);
    char key[40];

    if (port != NULL)
        return port;
    port = xcalloc(1, sizeof *port);
    port->number = number;
    snprintf(key, sizeof key, "%s:%u", h->name, number);
    map_put(&h->world->listeners, slice_str(key), port);
    return port;
}

int env_listen(struct env *env, const struct env_listen_options *options,
               struct env_listener **listener, char **why)
{
    struct host *h = env->process->host;
    struct port *port = port_open(h, options->port);

    ASSERT(options->port != 0);
    if (port->len != 0 && !options->shared) {
        *why = xasprintf("port %u is taken", options->port);
        return -EADDRINUSE;
    }
    struct env_listener *l = xcalloc(1, sizeof *l);
    *l = (struct env_listener){.env = env,
                               .options = *options,
                               .paused = options->paused,
                               .port = port};
    port->items = xrealloc(port->items, (port->len + 1) * sizeof *port->items);
    port->items[port->len++] = l;
    list_push_back(&env->listeners, &l->link);
    *listener = l;
    return 0;
}

uint16_t env_listener_port(const struct env_listener *listener)
{
    return listener->port->number;
}

void env_listener_pause(struct env_listener *listener)
{
    listener->paused = true;
}

void env_listener_resume(struct env_listener *listener)
{
    if (!listener->paused)
        return;
    listener->paused = false;
    LIST_EACH (node, &listener->env->conns) {
        struct env_conn *conn = LIST_ENTRY(node, struct env_conn, link);

        if (conn->state == CONN_ACCEPTING && conn->listener == listener)
            input_ready(conn);
    }
}

void env_listener_close(struct env_listener *listener)
{
    struct host *h = listener->env->process->host;
    struct port *port = listener->port;
    size_t at = 0;
    char key[40];

    while (port->items[at] != listener)
        at++;
    port->items[at] = port->items[--port->len];
    LIST_EACH_SAFE (node, tmp, &listener->env->conns) {
        struct env_conn *conn = LIST_ENTRY(node, struct env_conn, link);

        if (conn->state == CONN_ACCEPTING && conn->listener == listener)
            release(conn);
    }
    if (port->len == 0) {
        snprintf(key, sizeof key, "%s:%u", h->name, port->number);
        map_remove(&h->world->listeners, slice_str(key));
        free(port->items);
        free(port);
    }
    list_remove(&listener->link);
    free(listener);
}

/* ---- ends that nobody asked for ------------------------------------------ */

/* Some of what is under way is lost, from a point on. */
static void lose_tail(struct stream *s, int from)
{
    struct half *h = &s->half[from];
    size_t n = 0, keep;

    LIST_EACH (node, &h->segments)
        n++;
    keep = (size_t)world_between(s->world, 0, (int64_t)n);
    LIST_EACH_SAFE (node, tmp, &h->segments) {
        if (keep != 0)
            keep--;
        else
            segment_free(LIST_ENTRY(node, struct segment, link));
    }
}

static void vanish(struct env_conn *conn, bool silent)
{
    struct stream *s = conn->stream;

    if (s == NULL) {
        event_cancel(conn->env->world, &conn->dial);
    } else if (silent) {
        s->end[conn->side] = NULL;
        s->silent[conn->side] = true;
        conn->stream = NULL;
        event_cancel(conn->env->world, &conn->dial);
        lose_tail(s, conn->side);
        stream_release(s);
    } else {
        if (world_chance(s->world, 500000))
            lose_tail(s, conn->side);
        release(conn);
    }
}

void net_process_gone(struct process *p, bool silent)
{
    LIST_EACH (node, &p->loops) {
        struct env *env = LIST_ENTRY(node, struct env, link);

        LIST_EACH_SAFE (at, tmp, &env->conns) {
            struct env_conn *conn = LIST_ENTRY(at, struct env_conn, link);
            if (conn->state != CONN_DEAD)
                vanish(conn, silent);
        }
        while (!list_empty(&env->listeners))
            env_listener_close(
                LIST_ENTRY(env->listeners.next, struct env_listener, link));
    }
}

/* Of a stream whose end at the host went with the power: the peer retransmits
 * what was never acknowledged, and learns the truth. */
static void reset_later(struct stream *s, int gone)
{
    struct segment *g;

    if (s->end[1 - gone] == NULL || !list_empty(&s->half[gone].segments))
        return;
    g = segment_new(s, gone);
    g->end = true;
    schedule(g, s->world->now_us +
                    world_between(s->world, RETRANSMIT_MIN_US, MENDED_MAX_US));
}

static void go_on(struct stream *s, int from)
{
    int64_t at = -1;

    LIST_EACH (node, &s->half[from].segments) {
        struct segment *g = LIST_ENTRY(node, struct segment, link);

        if (!g->stalled)
            continue;
        if (at < 0)
            at =
                s->world->now_us + world_between(s->world, 1000, MENDED_MAX_US);
        schedule(g, at);
    }
}

void net_links_changed(struct world *w)
{
    LIST_EACH (node, &w->streams) {
        struct stream *s = LIST_ENTRY(node, struct stream, link);

        for (int i = 0; i < 2; i++)
            if (way_open(s, i))
                go_on(s, i);
    }
}

void net_host_back(struct host *h)
{
    LIST_EACH (node, &h->world->streams) {
        struct stream *s = LIST_ENTRY(node, struct stream, link);

        for (int i = 0; i < 2; i++)
            if (s->host[i] == h && s->silent[i] &&
                s->half[1 - i].in_flight != 0)
                reset_later(s, i);
    }
    net_links_changed(h->world);
}

static bool resettable(const struct stream *s, const struct host *h)
{
    return (s->host[0] == h || s->host[1] == h) && s->end[0] != NULL &&
           s->end[1] != NULL && s->end[0]->state == CONN_OPEN &&
           s->end[1]->state == CONN_OPEN;
}

void net_reset_some(struct world *w, struct host *h)
{
    struct stream *chosen = NULL;
    int64_t n = 0;

    LIST_EACH (node, &w->streams) {
        struct stream *s = LIST_ENTRY(node, struct stream, link);

        if (resettable(s, h) && world_between(w, 0, n++) == 0)
            chosen = s;
    }
    if (chosen == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        struct env_conn *conn = chosen->end[i];

        lose_tail(chosen, i);
        conn->ended = true;
        input_ready(conn);
    }
}
