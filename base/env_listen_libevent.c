/* Incoming connections.
 *
 * Every address is one dual-stack IPv6 socket, or an IPv4 one where the machine
 * has no IPv6; 0.0.0.0 means the same, as it does for Java servers.
 *
 * Loops that share a port have a socket each (SO_REUSEPORT) and the kernel
 * spreads connections over them.  That option would also let a second process
 * of the same user join in unnoticed, so the first of our sockets for a port
 * proves with a plain bind that nobody else is there.
 *
 * Each of these sockets has a backlog of its own, which no other loop serves:
 * whoever pauses the listeners of a port has to resume every one.
 *
 * Out of descriptors, accept() would fail and the socket stay readable: the
 * listener says so once, rests for a moment and tries again.  So does one that
 * spares descriptors when only those it spares are left: a new descriptor has
 * the lowest number that is free. */
#include "base/env_internal.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    BACKLOG = 4096, /* unless given; the kernel cuts it to net.core.somaxconn */
    ACCEPT_TURN_MAX = 64,
    REST_MS = 100,
    COMPLAIN_MS = 10000,
    SPARED_PART = 8,
};

struct env_listener {
    struct env *env;
    struct list link;                  /* env->listeners */
    struct env_listen_options options; /* without host */
    int fd;
    uint16_t port;
    struct event event;
    bool paused; /* by the owner, or because admit() said no */
    struct env_timer rest;
    int64_t complained_ms; /* last line about lost connections; 0 never */
};

/* Ports that loops of this process share, with the count of their sockets. */
struct shared_port {
    struct list link;
    uint16_t port;
    unsigned sockets;
};

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list shared_ports = {&shared_ports, &shared_ports};

/* ---- addresses -----------------------------------------------------------*/

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
};

static bool every_address(const char *host)
{
    return host[0] == '\0' || strcmp(host, "0.0.0.0") == 0 ||
           strcmp(host, "::") == 0;
}

static struct address wildcard(sa_family_t family, uint16_t port)
{
    struct address a = {0};

    if (family == AF_INET6) {
        struct sockaddr_in6 in6 = {
            .sin6_family = AF_INET6,
            .sin6_port = htons(port),
            .sin6_addr = in6addr_any,
        };
        a.len = sizeof in6;
        memcpy(&a.storage, &in6, sizeof in6);
    } else {
        struct sockaddr_in in = {
            .sin_family = AF_INET,
            .sin_port = htons(port),
            .sin_addr = {htonl(INADDR_ANY)},
        };
        a.len = sizeof in;
        memcpy(&a.storage, &in, sizeof in);
    }
    return a;
}

/* The host's first address, IPv4 before IPv6.  Returns NULL or why not. */
static const char *look_up(const char *host, uint16_t port, struct address *a)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found, *best;
    char service[8];

    snprintf(service, sizeof service, "%u", port);
    int error = getaddrinfo(host, service, &hints, &found);
    if (error != 0)
        return error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error);
    best = found;
    for (struct addrinfo *i = found; i != NULL; i = i->ai_next)
        if (i->ai_family == AF_INET) {
            best = i;
            break;
        }
    a->len = best->ai_addrlen;
    memcpy(&a->storage, best->ai_addr, best->ai_addrlen);
    freeaddrinfo(found);
    return NULL;
}

/* ---- sockets -------------------------------------------------------------*/

/* A bound socket, or a negative errno. */
static int bind_socket(const struct address *a, bool reuse_port)
{
    int on = 1, off = 0;
    sa_family_t family = a->storage.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (reuse_port &&
         setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ||
        (family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) ||
        bind(fd, (const struct sockaddr *)&a->storage, a->len) != 0) {
        int error = errno;

        close(fd);
        return -error;
    }
    return fd;
}

static struct shared_port *shared_find(uint16_t port)
{
    LIST_EACH (node, &shared_ports) {
        struct shared_port *s = LIST_ENTRY(node, struct shared_port, link);

        if (s->port == port)
            return s;
    }
    return NULL;
}

/* Refuses a port on which a stranger listens.  shared_lock held. */
static int prove_free(const struct address *a)
{
    int fd = bind_socket(a, false);

    if (fd < 0)
        return fd;
    int error = listen(fd, 1) != 0 ? -errno : 0;
    close(fd);
    return error;
}

/* Accepted sockets inherit them; the receive buffer has to be known before the
 * handshake.  The kernel cuts what is beyond its limits. */
static void size_buffers(int fd, const struct env_listen_options *options)
{
    if (options->send_buffer_bytes > 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &options->send_buffer_bytes,
                   sizeof options->send_buffer_bytes);
    if (options->receive_buffer_bytes > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &options->receive_buffer_bytes,
                   sizeof options->receive_buffer_bytes);
}

static int open_socket(const struct address *a,
                       const struct env_listen_options *options)
{
    uint16_t port = options->port;
    int error = 0;

    if (options->shared && port != 0 && shared_find(port) == NULL)
        error = prove_free(a);
    int fd = error != 0 ? error : bind_socket(a, options->shared);
    if (fd >= 0)
        size_buffers(fd, options);
    if (fd >= 0 &&
        listen(fd, options->backlog > 0 ? options->backlog : BACKLOG) != 0) {
        error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static bool no_such_family(int error)
{
    return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL ||
           error == -EPROTONOSUPPORT;
}

static int open_listener(const struct env_listen_options *options,
                         const char **why)
{
    struct address a;
    int fd;

    if (every_address(options->host)) {
        a = wildcard(AF_INET6, options->port);
        fd = open_socket(&a, options);
        if (no_such_family(fd)) {
            a = wildcard(AF_INET, options->port);
            fd = open_socket(&a, options);
        }
    } else {
        *why = look_up(options->host, options->port, &a);
        if (*why != NULL)
            return -EADDRNOTAVAIL;
        fd = open_socket(&a, options);
    }
    if (fd < 0)
        *why = strerror(-fd);
    return fd;
}

const char *env_look_up(const char *host, char text[ENV_HOST_BYTES])
{
    struct address a;
    const char *why = look_up(host, 0, &a);

    if (why == NULL)
        env_print_address((const struct sockaddr *)&a.storage, text);
    return why;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;

    if (getsockname(fd, (struct sockaddr *)&storage, &len) != 0)
        return 0;
    return ntohs(storage.ss_family == AF_INET6
                     ? ((struct sockaddr_in6 *)&storage)->sin6_port
                     : ((struct sockaddr_in *)&storage)->sin_port);
}

/* shared_lock held. */
static void shared_enter(uint16_t port)
{
    struct shared_port *s = shared_find(port);

    if (s == NULL) {
        s = xcalloc(1, sizeof *s);
        s->port = port;
        list_push_back(&shared_ports, &s->link);
    }
    s->sockets++;
}

static void shared_leave(uint16_t port)
{
    pthread_mutex_lock(&shared_lock);
    struct shared_port *s = shared_find(port);
    if (--s->sockets == 0) {
        list_remove(&s->link);
        free(s);
    }
    pthread_mutex_unlock(&shared_lock);
}

/* ---- accepting -----------------------------------------------------------*/

static bool out_of_resources(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS ||
           error == ENOMEM;
}

static void rest(struct env_listener *listener, int error)
{
    int64_t now = env_now_ms(listener->env);

    if (listener->complained_ms == 0 ||
        now - listener->complained_ms >= COMPLAIN_MS) {
        listener->complained_ms = now;
        log_error("server",
                  "cannot accept connections on port %u: %s; trying again "
                  "every %d ms; raise the limit on open files",
                  listener->port, strerror(error), REST_MS);
    }
    event_del(&listener->event);
    env_timer_start(listener->env, &listener->rest, REST_MS);
}

void env_listener_pause(struct env_listener *listener)
{
    listener->paused = true;
    event_del(&listener->event);
}

void env_listener_resume(struct env_listener *listener)
{
    if (!listener->paused)
        return;
    listener->paused = false;
    if (!env_timer_running(&listener->rest))
        ASSERT(event_add(&listener->event, NULL) == 0);
}

static void rested(void *arg)
{
    struct env_listener *listener = arg;

    if (!listener->paused)
        ASSERT(event_add(&listener->event, NULL) == 0);
}

/* With a reset, as a port on which nobody listens would: some clients try the
 * next server of their list only then, and come back here after a mere end. */
static void reset_at_close(int fd)
{
    struct linger none = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

static void refuse(struct env_conn *conn)
{
    reset_at_close(conn->fd);
    env_conn_close(conn);
}

static void accepted(struct env_listener *listener, int fd,
                     const struct sockaddr *peer)
{
    const struct env_listen_options *options = &listener->options;
    struct env_conn *conn =
        env_conn_new(listener->env, fd, options->frame_max_bytes);

    conn->local_port = listener->port;
    conn->intake = options->intake;
    env_conn_set_peer(conn, peer);
    env_conn_start(conn);
    conn->ops = options->accept(conn, options->owner, &conn->arg);
    if (conn->ops == NULL)
        refuse(conn);
}

static bool is_spared(int fd)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
           (rlim_t)fd >= limit.rlim_cur - limit.rlim_cur / SPARED_PART;
}

/* -1 with errno if nobody is there. */
static int accept_one(struct env_listener *listener,
                      struct sockaddr_storage *peer)
{
    const struct env_listen_options *options = &listener->options;
    socklen_t len = sizeof *peer;
    int fd = accept4(listener->fd, (struct sockaddr *)peer, &len,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0 && options->spares_descriptors && is_spared(fd)) {
        reset_at_close(fd);
        close(fd);
        fd = -1;
        errno = EMFILE;
    }
    if (fd < 0 && options->unadmit != NULL) {
        int error = errno;

        options->unadmit(options->owner);
        errno = error;
    }
    return fd;
}

static void on_acceptable(int fd, short what, void *arg)
{
    struct env_listener *listener = arg;
    struct env *env = listener->env;

    env_turn_begin(env);
    for (int i = 0; i < ACCEPT_TURN_MAX; i++) {
        const struct env_listen_options *options = &listener->options;
        struct sockaddr_storage peer;

        if (options->admit != NULL && !options->admit(options->owner)) {
            env_listener_pause(listener);
            return;
        }
        int conn_fd = accept_one(listener, &peer);
        if (conn_fd >= 0) {
            accepted(listener, conn_fd, (struct sockaddr *)&peer);
            if (listener->fd < 0 || listener->paused)
                return; /* by the owner */
        } else if (out_of_resources(errno)) {
            rest(listener, errno);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

/* ---- the owner's calls ---------------------------------------------------*/

int env_listen(struct env *env, const struct env_listen_options *options,
               struct env_listener **result, char **why)
{
    const char *reason;

    pthread_mutex_lock(&shared_lock);
    int fd = open_listener(options, &reason);
    if (fd < 0) {
        pthread_mutex_unlock(&shared_lock);
        *why = xasprintf("cannot listen on %s:%u: %s%s",
                         options->host[0] != '\0' ? options->host : "0.0.0.0",
                         options->port, reason,
                         fd == -EADDRINUSE
                             ? ": another process has this port; stop it or "
                               "change 'listeners'"
                             : "; change 'listeners'");
        return fd;
    }
    struct env_listener *listener = xcalloc(1, sizeof *listener);
    listener->env = env;
    listener->options = *options;
    listener->options.host = NULL; /* the caller's, not needed any more */
    listener->fd = fd;
    listener->port = bound_port(fd);
    if (options->shared)
        shared_enter(listener->port);
    pthread_mutex_unlock(&shared_lock);
    listener->rest.fn = rested;
    listener->rest.arg = listener;
    event_assign(&listener->event, env->base, fd, EV_READ | EV_PERSIST,
                 on_acceptable, listener);
    listener->paused = options->paused;
    if (!listener->paused)
        ASSERT(event_add(&listener->event, NULL) == 0);
    list_push_back(&env->listeners, &listener->link);
    *result = listener;
    return 0;
}

uint16_t env_listener_port(const struct env_listener *listener)
{
    return listener->port;
}

/* The memory waits for the turn's end: accept() may be closing its own
 * listener. */
void env_listener_close(struct env_listener *listener)
{
    event_del(&listener->event);
    env_timer_stop(listener->env, &listener->rest);
    close(listener->fd);
    listener->fd = -1;
    if (listener->options.shared)
        shared_leave(listener->port);
    list_remove(&listener->link);
    list_push_back(&listener->env->closed_listeners, &listener->link);
}

void env_listeners_bury(struct env *env)
{
    struct list *node;

    while ((node = list_pop_front(&env->closed_listeners)) != NULL)
        free(LIST_ENTRY(node, struct env_listener, link));
}

void env_listeners_hang_up(struct env *env)
{
    LIST_EACH (node, &env->listeners)
        shutdown(LIST_ENTRY(node, struct env_listener, link)->fd, SHUT_RD);
}

void env_listeners_free(struct env *env)
{
    LIST_EACH_SAFE (node, tmp, &env->listeners) {
        env_listener_close(LIST_ENTRY(node, struct env_listener, link));
    }
    env_listeners_bury(env);
}
