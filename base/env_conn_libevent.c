/* A connection's life, and its receiving half: bytes become frames.
 *
 * The kernel is asked for as much as one readv can bring: the rest of the frame
 * under way goes straight to its buffer, what follows lands in the loop's
 * scratch buffer and is cut into frames there.  So one system call serves many
 * small pipelined requests, and the body of a large one is copied once, by the
 * kernel.  In front of and inside large frames only a small part of the scratch
 * buffer is offered, because what lands there is copied again.
 *
 * A length is a promise by a stranger: a frame starts with FRAME_TRUST_BYTES at
 * most and doubles when that much has really arrived.  A connection that sends
 * nothing holds no buffer at all.
 *
 * Whether bytes may be taken at all is asked of the intake (env_intake.c),
 * before each read and for each piece that is cut; they are counted as they
 * arrive.
 *
 * While the owner has paused, bytes already read wait in `held`; the read event
 * is taken out only if the socket turns readable meanwhile, because most pauses
 * are shorter than that.
 *
 * The end: env_conn_end() closes the descriptor, tells the owner, and leaves
 * the memory to the end of the turn, since callers up the stack still look at
 * the state.  After env_conn_close_when_sent() the descriptor outlives the
 * owner's interest: closing it with unread bytes would make the kernel send a
 * reset that destroys the answer on its way, so it is shut down for sending and
 * drained until the peer's end or LINGER_MS. */
#include "base/env_internal.h"
#include "base/env_libevent.h"
#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    /* Read from one connection before others get their turn. */
    READ_TURN_BYTES = 1024 * 1024,
    /* Scratch offered where a large frame is expected. */
    SCRATCH_BIG_BYTES = 4 * 1024,
    FRAME_TRUST_BYTES = 2 * 1024 * 1024 - 1024,
    LINGER_MS = 1000,
    TRIM_MS = 1000,
};

static void conn_readable(int fd, short what, void *arg);
static void conn_writable(int fd, short what, void *arg);
static void conn_timeout(void *arg);
static void conn_do_later(struct env_conn *conn);

/* ---- life ----------------------------------------------------------------*/

struct env_conn *env_conn_new(struct env *env, int fd, size_t frame_max_bytes)
{
    struct env_conn *conn = xcalloc(1, sizeof *conn);

    conn->env = env;
    conn->fd = fd;
    conn->frame_max_bytes = frame_max_bytes;
    conn->timer.fn = conn_timeout;
    conn->timer.arg = conn;
    list_init(&conn->dirty_link);
    list_init(&conn->later_link);
    list_init(&conn->intake_waiting);
    list_init(&conn->intake_arriving);
    list_init(&conn->outs);
    list_push_back(&env->conns, &conn->link);
    return conn;
}

static void watch_read(struct env_conn *conn, bool on)
{
    if (on == conn->read_on)
        return;
    conn->read_on = on;
    ASSERT((on ? event_add(&conn->read_event, NULL)
               : event_del(&conn->read_event)) == 0);
}

void env_conn_start(struct env_conn *conn)
{
    int on = 1;

    /* Neither matters enough to refuse a connection over. */
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    event_assign(&conn->read_event, conn->env->base, conn->fd,
                 EV_READ | EV_PERSIST, conn_readable, conn);
    env_conn_watch_write(conn);
    conn->state = CONN_OPEN;
    conn->active_ms = env_now_ms(conn->env);
    watch_read(conn, true);
}

void env_conn_watch_write(struct env_conn *conn)
{
    event_assign(&conn->write_event, conn->env->base, conn->fd,
                 EV_WRITE | EV_PERSIST, conn_writable, conn);
}

/* The frame under way, and the room that it holds. */
static void drop_frame(struct env_conn *conn)
{
    env_intake_leave(conn, conn->frame != NULL ? conn->frame->len : 0);
    if (conn->frame != NULL)
        env_frame_unref(conn->frame);
    conn->frame = NULL;
}

/* Everything but the struct. */
static void conn_release(struct env_conn *conn)
{
    struct env *env = conn->env;

    ASSERT(conn->state != CONN_DEAD);
    conn->state = CONN_DEAD;
    watch_read(conn, false);
    if (conn->write_on)
        event_del(&conn->write_event);
    conn->write_on = false;
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    if (conn->dial != NULL)
        env_dial_free(conn->dial);
    conn->dial = NULL;
    env_timer_stop(env, &conn->timer);
    env_conn_drop_outs(conn);
    drop_frame(conn);
    buf_free(&conn->held);
    list_remove(&conn->dirty_link);
    list_remove(&conn->later_link);
    list_remove(&conn->link);
    list_push_back(&env->dead, &conn->link);
}

static bool owned(const struct env_conn *conn)
{
    return conn->state == CONN_CONNECTING || conn->state == CONN_OPEN;
}

void env_conn_end(struct env_conn *conn, int error)
{
    bool tell = owned(conn);

    if (conn->state == CONN_DEAD)
        return;
    conn_release(conn);
    if (tell)
        conn->ops->closed(conn, conn->arg, error);
}

void env_conn_close(struct env_conn *conn)
{
    if (owned(conn))
        conn_release(conn);
}

void env_conn_finish(struct env_conn *conn)
{
    shutdown(conn->fd, SHUT_WR);
    conn->state = CONN_LINGERING;
    drop_frame(conn);
    watch_read(conn, true);
    env_timer_start(conn->env, &conn->timer, LINGER_MS);
    conn->ops->closed(conn, conn->arg, ERR_CLOSED);
}

static void conn_timeout(void *arg)
{
    struct env_conn *conn = arg;

    if (conn->state == CONN_CONNECTING)
        env_dial_timeout(conn);
    else
        conn_release(conn); /* lingered long enough */
}

void env_conn_bury(struct env *env)
{
    struct list *node;

    while ((node = list_pop_front(&env->dead)) != NULL)
        free(LIST_ENTRY(node, struct env_conn, link));
}

void env_hang_up(struct env *env)
{
    env_listeners_hang_up(env);
    LIST_EACH (node, &env->conns) {
        const struct env_conn *conn = LIST_ENTRY(node, struct env_conn, link);

        if (conn->fd >= 0)
            shutdown(conn->fd, SHUT_RDWR);
    }
}

void env_conns_free(struct env *env)
{
    LIST_EACH_SAFE (node, tmp, &env->conns) {
        conn_release(LIST_ENTRY(node, struct env_conn, link));
    }
    env_conn_bury(env);
}

void env_conn_turn_end(struct env *env)
{
    struct list batch;
    struct list *node;

    list_init(&batch);
    list_append_all(&batch, &env->later);
    while ((node = list_pop_front(&batch)) != NULL)
        conn_do_later(LIST_ENTRY(node, struct env_conn, later_link));
    list_append_all(&batch, &env->dirty);
    while ((node = list_pop_front(&batch)) != NULL)
        env_conn_flush(LIST_ENTRY(node, struct env_conn, dirty_link));
    env_conn_bury(env);
}

/* ---- receiving -----------------------------------------------------------*/

static bool receiving(const struct env_conn *conn)
{
    return conn->state == CONN_OPEN && !conn->closing;
}

static void trim_frames(void *arg)
{
    struct env *env = arg;

    if (env_frame_trim(env->now_ms) != 0)
        env_timer_start(env, &env->trim, TRIM_MS);
}

static void frame_begin(struct env_conn *conn)
{
    struct env *env = conn->env;
    size_t cap = conn->frame_len;

    if (cap > FRAME_TRUST_BYTES)
        cap = FRAME_TRUST_BYTES;
    conn->frame = env_frame_new(cap);
    env_intake_begin(conn);
    conn->big = conn->frame_len > ENV_SCRATCH_BYTES;
    if (conn->big && !env_timer_running(&env->trim)) {
        env->trim.fn = trim_frames;
        env->trim.arg = env;
        env_timer_start(env, &env->trim, TRIM_MS);
    }
}

/* Bytes that may be put at frame->data + frame->len now. */
static size_t frame_room(const struct env_conn *conn)
{
    size_t cap = env_frame_cap(conn->frame);

    if (cap > conn->frame_len)
        cap = conn->frame_len;
    return cap - conn->frame->len;
}

/* n bytes were put there: grows the buffer or hands the frame over. */
static void frame_advance(struct env_conn *conn, size_t n)
{
    struct env_frame *frame = conn->frame;

    frame->len += n;
    if (conn->intake != NULL)
        env_intake_take(conn->intake, n);
    if (frame->len == conn->frame_len) {
        conn->frame = NULL;
        conn->head_len = 0;
        env_intake_end(conn);
        conn->ops->frame(conn, conn->arg, frame);
    } else if (frame_room(conn) == 0) {
        size_t cap = 2 * frame->len;

        if (cap > conn->frame_len)
            cap = conn->frame_len;
        conn->frame = env_frame_grow(frame, cap);
    }
}

/* Takes bytes of the length prefix; returns how many. */
static size_t take_head(struct env_conn *conn, const uint8_t *data, size_t len)
{
    size_t n = sizeof conn->head - conn->head_len;

    if (n > len)
        n = len;
    memcpy(conn->head + conn->head_len, data, n);
    conn->head_len += (uint8_t)n;
    if (conn->head_len < sizeof conn->head)
        return n;
    /* A negative length is above any limit when read as unsigned. */
    conn->frame_len = be32_get(conn->head);
    if (conn->frame_len > conn->frame_max_bytes ||
        conn->frame_len > INT32_MAX) {
        env_conn_end(conn, ERR_TOO_LARGE);
        return n;
    }
    frame_begin(conn);
    if (conn->frame_len == 0)
        frame_advance(conn, 0);
    return n;
}

/* Cuts bytes into frames until they are used up, the owner pauses or closes, or
 * there is no room for more.  Returns how many were used. */
static size_t cut(struct env_conn *conn, const uint8_t *data, size_t len)
{
    size_t used = 0;

    while (used < len && receiving(conn) && !conn->paused &&
           env_intake_open(conn)) {
        if (conn->frame == NULL) {
            used += take_head(conn, data + used, len - used);
            continue;
        }
        size_t n = frame_room(conn);
        if (n > len - used)
            n = len - used;
        memcpy(conn->frame->data + conn->frame->len, data + used, n);
        used += n;
        frame_advance(conn, n);
    }
    return used;
}

static void cut_scratch(struct env_conn *conn, size_t len)
{
    const uint8_t *data = conn->env->scratch;
    size_t used = cut(conn, data, len);

    if (used < len && receiving(conn))
        buf_put(&conn->held, data + used, len - used);
}

static void cut_held(struct env_conn *conn)
{
    struct buf held = conn->held;

    /* Away from conn, which may die in a callback. */
    conn->held = BUF_INIT;
    size_t at = conn->held_at;
    at += cut(conn, held.data + at, held.len - at);
    if (at < held.len && receiving(conn)) {
        conn->held = held;
        conn->held_at = at;
        return;
    }
    conn->held_at = 0;
    buf_free(&held);
}

/* One system call's worth.  Returns the bytes read; 0 if the socket is empty
 * for now or the connection ended. */
static size_t receive(struct env_conn *conn, bool *more)
{
    size_t room = conn->frame != NULL ? frame_room(conn) : 0;
    if (conn->intake != NULL && room > ENV_INTAKE_READ_BYTES)
        room = ENV_INTAKE_READ_BYTES;
    bool whole =
        conn->frame == NULL || conn->frame->len + room == conn->frame_len;
    size_t scratch = conn->big ? SCRATCH_BIG_BYTES : ENV_SCRATCH_BYTES;
    struct iovec parts[2];
    int parts_len = 0;

    if (room != 0)
        parts[parts_len++] = (struct iovec){
            conn->frame->data + conn->frame->len,
            room,
        };
    if (whole)
        parts[parts_len++] = (struct iovec){conn->env->scratch, scratch};
    ssize_t n = readv(conn->fd, parts, parts_len);
    *more = n == (ssize_t)(room + (whole ? scratch : 0));
    if (n < 0) {
        *more = errno == EINTR;
        if (errno != EAGAIN && errno != EINTR)
            env_conn_end(conn, ERR_CLOSED);
        return 0;
    }
    if (n == 0) {
        bool inside = conn->head_len != 0;
        env_conn_end(conn, inside ? ERR_MALFORMED : ERR_CLOSED);
        return 0;
    }
    conn->active_ms = env_now_ms(conn->env);
    size_t in_frame = (size_t)n < room ? (size_t)n : room;
    if (in_frame != 0)
        frame_advance(conn, in_frame);
    if ((size_t)n > in_frame)
        cut_scratch(conn, (size_t)n - in_frame);
    return (size_t)n;
}

static void discard(struct env_conn *conn)
{
    ssize_t n = read(conn->fd, conn->env->scratch, ENV_SCRATCH_BYTES);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        conn_release(conn);
}

static void conn_readable(int fd, short what, void *arg)
{
    struct env_conn *conn = arg;
    size_t total = 0;
    bool more = true;

    env_turn_begin(conn->env);
    if (conn->env->scratch == NULL)
        conn->env->scratch = xmalloc(ENV_SCRATCH_BYTES);
    if (conn->state == CONN_LINGERING) {
        discard(conn);
        return;
    }
    /* What is held came first, and is cut at the end of the turn. */
    while (more && total < READ_TURN_BYTES && receiving(conn) &&
           !conn->paused && conn->held.len == 0 && env_intake_open(conn))
        total += receive(conn, &more);
    /* Level-triggered: what is left in the kernel comes back next turn, unless
     * nobody wants it. */
    bool unwanted = conn->paused || conn->closing;
    if (owned(conn) &&
        ((total == 0 && unwanted) || !list_unlinked(&conn->intake_waiting)))
        watch_read(conn, false);
    if (conn->intake != NULL)
        env_intake_next(conn->intake);
}

/* ---- the owner's calls ---------------------------------------------------*/

void env_conn_pause(struct env_conn *conn)
{
    conn->paused = true;
    env_intake_pause(conn);
}

void env_conn_resume(struct env_conn *conn)
{
    if (!conn->paused)
        return;
    conn->paused = false;
    if (!receiving(conn))
        return;
    env_intake_resume(conn);
    if (list_unlinked(&conn->later_link))
        list_push_back(&conn->env->later, &conn->later_link);
}

static void conn_do_later(struct env_conn *conn)
{
    if (conn->state == CONN_CONNECTING) {
        env_dial_start(conn);
        return;
    }
    if (receiving(conn) && !conn->paused && conn->held.len != 0)
        cut_held(conn);
    if (receiving(conn) && !conn->paused &&
        list_unlinked(&conn->intake_waiting))
        watch_read(conn, true);
    if (conn->intake != NULL)
        env_intake_next(conn->intake);
}

static void conn_writable(int fd, short what, void *arg)
{
    struct env_conn *conn = arg;

    env_turn_begin(conn->env);
    if (conn->state == CONN_CONNECTING)
        env_dial_writable(conn);
    else if (conn->state == CONN_OPEN)
        env_conn_flush(conn);
}

int64_t env_conn_active_ms(const struct env_conn *conn)
{
    return conn->active_ms;
}

void env_conn_set_receive_buffer(struct env_conn *conn, int bytes)
{
    conn->receive_buffer_bytes = bytes;
}

const char *env_conn_peer_host(const struct env_conn *conn)
{
    return conn->peer_host;
}

uint16_t env_conn_local_port(const struct env_conn *conn)
{
    return conn->local_port;
}

/* An IPv4 peer of a dual-stack socket is written as IPv4. */
void env_print_address(const struct sockaddr *address,
                       char text[ENV_HOST_BYTES])
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;

        inet_ntop(AF_INET, &in->sin_addr, text, ENV_HOST_BYTES);
        return;
    }
    const struct in6_addr *in6 =
        &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(in6))
        inet_ntop(AF_INET, in6->s6_addr + 12, text, ENV_HOST_BYTES);
    else
        inet_ntop(AF_INET6, in6, text, ENV_HOST_BYTES);
}

void env_conn_set_peer(struct env_conn *conn, const struct sockaddr *address)
{
    env_print_address(address, conn->peer_host);
}
