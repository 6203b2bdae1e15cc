/* What the tool needs of the machine: sockets with deadlines, two clocks,
 * random bytes.  Implemented in net_posix.c.  One thread. */
#ifndef CLI_NET_H
#define CLI_NET_H

#include "base/error.h"
#include "base/slice.h"

int64_t net_now_ms(void);  /* monotonic */
int64_t net_wall_ms(void); /* since 1970 */
uint64_t net_random(void);
void net_sleep_ms(int64_t ms);

/* A connected, non-blocking TCP socket in *fd, or ERR_REFUSED,
 * ERR_REQUEST_TIMED_OUT, ERR_ABSENT (no such host) with a clause in *why that
 * the caller frees. deadline: a net_now_ms() value. */
enum err net_connect(const char *host, uint16_t port, int64_t deadline_ms,
                     int *fd, char **why);
void net_close(int fd);

/* All of the bytes, waiting while the socket is full.  ERR_CLOSED,
 * ERR_REQUEST_TIMED_OUT. */
enum err net_send(int fd, struct slice bytes, int64_t deadline_ms);

/* Appends what has arrived.  ERR_NONE also if nothing has; ERR_CLOSED. */
enum err net_receive(int fd, struct buf *into);

/* Waits until one of the sockets has something to read, or the deadline, or a
 * signal. */
void net_wait(const int *fds, size_t count, int64_t deadline_ms);

#endif
