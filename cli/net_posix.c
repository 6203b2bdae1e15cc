/* Sockets are non-blocking; every wait is a poll() with a deadline, so no
 * broken peer can hang the tool. */
#include "cli/net.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t net_now_ms(void) { return clock_ms(CLOCK_MONOTONIC); }

int64_t net_wall_ms(void) { return clock_ms(CLOCK_REALTIME); }

uint64_t net_random(void)
{
    uint64_t bits;

    while (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        ;
    return bits;
}

void net_sleep_ms(int64_t ms) { net_wait(NULL, 0, net_now_ms() + ms); }

static int left_ms(int64_t deadline_ms)
{
    int64_t left = deadline_ms - net_now_ms();

    if (left < 0)
        return 0;
    return left > 3600000 ? 3600000 : (int)left;
}

/* Waits for one event on one socket; false at the deadline. */
static bool wait_for(int fd, short events, int64_t deadline_ms)
{
    struct pollfd p = {fd, events, 0};
    int n;

    do {
        n = poll(&p, 1, left_ms(deadline_ms));
    } while (n < 0 && errno == EINTR && net_now_ms() < deadline_ms);
    return n > 0;
}

static enum err connect_one(const struct addrinfo *address, int64_t deadline_ms,
                            int *fd, int *fault)
{
    int one = 1;
    int s = socket(address->ai_family,
                   SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (s < 0) {
        *fault = errno;
        return ERR_REFUSED;
    }
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *fault = 0;
    if (connect(s, address->ai_addr, address->ai_addrlen) != 0)
        *fault = errno;
    if (*fault == EINPROGRESS) {
        socklen_t len = sizeof *fault;
        if (!wait_for(s, POLLOUT, deadline_ms))
            *fault = ETIMEDOUT;
        else
            getsockopt(s, SOL_SOCKET, SO_ERROR, fault, &len);
    }
    if (*fault == 0) {
        *fd = s;
        return ERR_NONE;
    }
    close(s);
    return *fault == ETIMEDOUT ? ERR_REQUEST_TIMED_OUT : ERR_REFUSED;
}

enum err net_connect(const char *host, uint16_t port, int64_t deadline_ms,
                     int *fd, char **why)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    enum err error = ERR_REFUSED;
    int fault = 0;
    char service[8];

    snprintf(service, sizeof service, "%u", port);
    int n = getaddrinfo(host, service, &hints, &list);
    if (n != 0) {
        *why = xasprintf("the host name %s cannot be resolved (%s)", host,
                         gai_strerror(n));
        return ERR_ABSENT;
    }
    for (struct addrinfo *a = list; a != NULL && error != ERR_NONE;
         a = a->ai_next)
        error = connect_one(a, deadline_ms, fd, &fault);
    freeaddrinfo(list);
    if (error != ERR_NONE)
        *why = xasprintf("%s:%u: %s", host, port, strerror(fault));
    return error;
}

void net_close(int fd) { close(fd); }

enum err net_send(int fd, struct slice bytes, int64_t deadline_ms)
{
    while (bytes.len != 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n >= 0) {
            bytes.data += n;
            bytes.len -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (!wait_for(fd, POLLOUT, deadline_ms))
                return ERR_REQUEST_TIMED_OUT;
        } else if (errno != EINTR) {
            return ERR_CLOSED;
        }
    }
    return ERR_NONE;
}

enum err net_receive(int fd, struct buf *into)
{
    for (;;) {
        enum { CHUNK = 256 * 1024 };
        uint8_t *at = buf_extend(into, CHUNK);
        ssize_t n = recv(fd, at, CHUNK, 0);
        into->len -= (size_t)(n > 0 ? CHUNK - n : CHUNK);
        if (n == CHUNK)
            continue;
        if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
            return ERR_NONE;
        return ERR_CLOSED;
    }
}

void net_wait(const int *fds, size_t count, int64_t deadline_ms)
{
    struct pollfd *p = xcalloc(count + 1, sizeof *p);

    for (size_t i = 0; i < count; i++)
        p[i] = (struct pollfd){fds[i], POLLIN, 0};
    poll(p, count, left_ms(deadline_ms));
    free(p);
}
