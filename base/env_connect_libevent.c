/* Outgoing connections: from a name to an established socket.
 *
 * A numeric address is used as it is.  A name is looked up by a helper thread;
 * look-ups share a lane, so that a name server that does not answer holds up
 * one helper and not all of them.  Then each address is tried in turn, each
 * with its share of the time that is left.  Whatever fails, the owner hears of
 * it from closed(), never from inside env_connect().
 *
 * Owners give up and dial again, sooner than a slow name server answers.  So a
 * look-up whose owner has left is taken over by the next who wants that name,
 * also for a while after it was answered; and if nobody does before its turn
 * comes, it is not made.
 *
 * ERR_REFUSED is taken for proof that a process is gone.  So it needs a
 * refusal, and no address may have failed otherwise but those that this machine
 * cannot use at all, such as ::1 where there is no IPv6. */
#include "base/env_internal.h"
#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CONNECT_MS = 10000, /* for everything */
    ADDRESSES_MAX = 8,
    /* An answer for nobody is of use until then. */
    ANSWER_KEPT_MS = 10000,
};

struct env_dial {
    struct env_work work;  /* the look-up */
    struct list link;      /* env->lookups until somebody has its answer */
    struct env_conn *conn; /* NULL: it was closed meanwhile */
    atomic_bool wanted;    /* conn != NULL, for the helper */
    bool skipped;          /* it was not when the helper looked */
    bool answered;         /* for nobody, then: */
    int64_t answered_ms;
    char *host;
    uint16_t port;
    int64_t give_up_ms;
    struct sockaddr_storage addresses[ADDRESSES_MAX];
    socklen_t lens[ADDRESSES_MAX];
    size_t addresses_len;
    size_t next;  /* address to try */
    bool refused; /* by an address */
    bool unclear; /* an address failed in another way */
};

static const char lookup_lane;

static void try_next(struct env_conn *conn);

/* ---- names ---------------------------------------------------------------*/

static void look_up(struct env_dial *dial, int flags)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *found;
    char service[8];

    snprintf(service, sizeof service, "%u", dial->port);
    if (getaddrinfo(dial->host, service, &hints, &found) != 0)
        return;
    for (struct addrinfo *i = found;
         i != NULL && dial->addresses_len < ADDRESSES_MAX; i = i->ai_next) {
        size_t n = dial->addresses_len++;

        memcpy(&dial->addresses[n], i->ai_addr, i->ai_addrlen);
        dial->lens[n] = i->ai_addrlen;
    }
    freeaddrinfo(found);
}

static void lookup_run(struct env_work *work)
{
    struct env_dial *dial = LIST_ENTRY(work, struct env_dial, work);

    dial->skipped = !atomic_load(&dial->wanted);
    if (!dial->skipped)
        look_up(dial, 0);
}

static void set_owner(struct env_dial *dial, struct env_conn *conn)
{
    dial->conn = conn;
    atomic_store(&dial->wanted, conn != NULL);
}

static void dial_release(struct env_dial *dial)
{
    free(dial->host);
    free(dial);
}

static void lookup_end(struct env_dial *dial)
{
    list_remove(&dial->link);
    if (dial->conn == NULL)
        dial_release(dial);
    else
        try_next(dial->conn);
}

static void lookup_done(struct env_work *work)
{
    struct env_dial *dial = LIST_ENTRY(work, struct env_dial, work);

    dial->answered = dial->conn == NULL && dial->addresses_len != 0;
    dial->answered_ms = env_now_ms(work->home);
    if (dial->conn != NULL && dial->skipped)
        env_work_start(work->home, work); /* taken over too late for that */
    else if (!dial->answered)
        lookup_end(dial);
}

void env_dial_free(struct env_dial *dial)
{
    set_owner(dial, NULL);
    if (list_unlinked(&dial->link))
        dial_release(dial);
}

void env_lookups_free(struct env *env)
{
    struct list *node;

    while ((node = list_pop_front(&env->lookups)) != NULL)
        dial_release(LIST_ENTRY(node, struct env_dial, link));
}

static void drop_old_answers(struct env *env)
{
    int64_t now_ms = env_now_ms(env);

    LIST_EACH_SAFE (node, tmp, &env->lookups) {
        struct env_dial *dial = LIST_ENTRY(node, struct env_dial, link);

        if (dial->answered && now_ms - dial->answered_ms > ANSWER_KEPT_MS)
            lookup_end(dial);
    }
}

/* A look-up of the same name that is under way, or answered, for nobody. */
static struct env_dial *find_orphan(const struct env_conn *conn)
{
    LIST_EACH (node, &conn->env->lookups) {
        struct env_dial *dial = LIST_ENTRY(node, struct env_dial, link);

        if (dial->conn == NULL && dial->port == conn->dial->port &&
            strcmp(dial->host, conn->dial->host) == 0)
            return dial;
    }
    return NULL;
}

static void take_over(struct env_conn *conn, struct env_dial *dial)
{
    dial->give_up_ms = conn->dial->give_up_ms;
    dial->unclear = false;
    dial_release(conn->dial);
    conn->dial = dial;
    set_owner(dial, conn);
    if (dial->answered)
        lookup_end(dial);
}

void env_dial_start(struct env_conn *conn)
{
    struct env_dial *dial = conn->dial;

    /* The time is kept from here on, also while the name is looked up. */
    dial->give_up_ms = env_now_ms(conn->env) + CONNECT_MS;
    look_up(dial, AI_NUMERICHOST);
    if (dial->addresses_len != 0) {
        try_next(conn);
        return;
    }
    env_timer_start(conn->env, &conn->timer, CONNECT_MS);
    drop_old_answers(conn->env);
    struct env_dial *orphan = find_orphan(conn);
    if (orphan != NULL) {
        take_over(conn, orphan);
        return;
    }
    list_push_back(&conn->env->lookups, &dial->link);
    dial->work.lane = &lookup_lane;
    dial->work.urgent = true;
    dial->work.run = lookup_run;
    dial->work.done = lookup_done;
    env_work_start(conn->env, &dial->work);
}

/* ---- attempts ------------------------------------------------------------*/

static void drop_attempt(struct env_conn *conn)
{
    if (conn->write_on)
        event_del(&conn->write_event);
    conn->write_on = false;
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
}

static void established(struct env_conn *conn)
{
    if (conn->write_on)
        event_del(&conn->write_event);
    conn->write_on = false;
    env_timer_stop(conn->env, &conn->timer);
    env_dial_free(conn->dial);
    conn->dial = NULL;
    env_conn_start(conn);
    if (conn->ops->opened != NULL)
        conn->ops->opened(conn, conn->arg);
    if (conn->state == CONN_OPEN)
        env_conn_make_dirty(conn); /* what was queued before */
}

static void attempt_failed(struct env_dial *dial, int error)
{
    if (error == ECONNREFUSED)
        dial->refused = true;
    else if (error != EAFNOSUPPORT && error != EADDRNOTAVAIL &&
             error != ENETUNREACH)
        dial->unclear = true;
}

/* True unless this address is hopeless at once; errno tells why. */
static bool try_address(struct env_conn *conn, const struct sockaddr *address,
                        socklen_t len)
{
    conn->fd = socket(address->sa_family,
                      SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (conn->fd < 0)
        return false;
    if (conn->receive_buffer_bytes > 0)
        setsockopt(conn->fd, SOL_SOCKET, SO_RCVBUF, &conn->receive_buffer_bytes,
                   sizeof conn->receive_buffer_bytes);
    env_conn_set_peer(conn, address);
    if (connect(conn->fd, address, len) == 0) {
        established(conn);
        return true;
    }
    if (errno != EINPROGRESS)
        return false;
    env_conn_watch_write(conn);
    conn->write_on = true;
    ASSERT(event_add(&conn->write_event, NULL) == 0);
    return true;
}

static void try_next(struct env_conn *conn)
{
    struct env_dial *dial = conn->dial;

    drop_attempt(conn);
    while (dial->next < dial->addresses_len) {
        size_t i = dial->next++;
        int64_t left = dial->give_up_ms - env_now_ms(conn->env);

        if (left <= 0) {
            dial->unclear = true;
            break;
        }
        env_timer_start(conn->env, &conn->timer,
                        left / (int64_t)(dial->addresses_len - i));
        if (try_address(conn, (struct sockaddr *)&dial->addresses[i],
                        dial->lens[i]))
            return;
        attempt_failed(dial, errno);
        drop_attempt(conn);
    }
    env_conn_end(conn, dial->refused && !dial->unclear ? ERR_REFUSED
                                                       : ERR_UNREACHABLE);
}

void env_dial_writable(struct env_conn *conn)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0) {
        established(conn);
        return;
    }
    attempt_failed(conn->dial, error);
    try_next(conn);
}

/* The address did not answer, or the name server. */
void env_dial_timeout(struct env_conn *conn)
{
    conn->dial->unclear = true;
    if (list_unlinked(&conn->dial->link))
        try_next(conn);
    else
        env_conn_end(conn, ERR_UNREACHABLE);
}

struct env_conn *env_connect(struct env *env, const char *host, uint16_t port,
                             size_t frame_max_bytes,
                             const struct env_conn_ops *ops, void *arg)
{
    struct env_conn *conn = env_conn_new(env, -1, frame_max_bytes);
    struct env_dial *dial = xcalloc(1, sizeof *dial);

    list_init(&dial->link);
    set_owner(dial, conn);
    dial->host = xstrdup(host);
    dial->port = port;
    conn->dial = dial;
    conn->ops = ops;
    conn->arg = arg;
    list_push_back(&env->later, &conn->later_link);
    return conn;
}
