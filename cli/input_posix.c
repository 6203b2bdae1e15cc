/* The buffer is our own, so that we know whether a read would block: the
 * producer sends what it has before it waits for more. */
#include "cli/input.h"

#include "cli/net.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum {
    CHUNK = 64 * 1024,
    STOPPING_MS = 5000, /* for last commits and the like */
};

static volatile sig_atomic_t interrupted;
static _Atomic int64_t interrupted_ms;

void input_init(struct input *in, int fd) { *in = (struct input){.fd = fd}; }

void input_free(struct input *in) { buf_free(&in->bytes); }

static const uint8_t *find_end(const struct input *in)
{
    if (in->bytes.len == in->at)
        return NULL;
    return memchr(in->bytes.data + in->at, '\n', in->bytes.len - in->at);
}

/* False when nothing more will come. */
static bool read_more(struct input *in)
{
    if (in->at != 0) {
        memmove(in->bytes.data, in->bytes.data + in->at,
                in->bytes.len - in->at);
        in->bytes.len -= in->at;
        in->at = 0;
    }
    uint8_t *to = buf_extend(&in->bytes, CHUNK);
    ssize_t n = read(in->fd, to, CHUNK);
    in->bytes.len -= (size_t)(n > 0 ? CHUNK - n : CHUNK);
    if (n >= 0)
        return n > 0;
    if (errno == EINTR)
        return !interrupted;
    if (errno == EAGAIN)
        return poll(&(struct pollfd){in->fd, POLLIN, 0}, 1, -1) >= 0 ||
               !interrupted;
    in->error = errno;
    return false;
}

bool input_line(struct input *in, struct slice *line)
{
    const uint8_t *end;

    while ((end = find_end(in)) == NULL && !in->ended)
        in->ended = interrupted || !read_more(in);
    const uint8_t *start = in->bytes.data + in->at;
    size_t left = in->bytes.len - in->at;
    if (interrupted || left == 0)
        return false;
    size_t n = end != NULL ? (size_t)(end - start) : left;
    in->at += n + (end != NULL);
    if (n != 0 && start[n - 1] == '\r')
        n--;
    *line = slice_of(start, n);
    return true;
}

bool input_ready(const struct input *in)
{
    struct pollfd p = {in->fd, POLLIN, 0};

    return in->ended || find_end(in) != NULL || poll(&p, 1, 0) > 0;
}

bool file_read(const char *path, size_t max, struct buf *out, char **why)
{
    FILE *f = fopen(path, "r");

    for (size_t n = 1; f != NULL && n != 0 && out->len <= max;) {
        uint8_t *at = buf_extend(out, CHUNK);
        n = fread(at, 1, CHUNK, f);
        out->len -= CHUNK - n;
    }
    bool ok = f != NULL && ferror(f) == 0;
    if (!ok)
        *why = xasprintf("cannot read %s: %m", path);
    if (f != NULL)
        fclose(f);
    return ok;
}

bool input_is_terminal(const struct input *in)
{
    return isatty(in->fd) == 1 && isatty(STDOUT_FILENO) == 1;
}

bool output_write(int fd, struct slice bytes)
{
    struct pollfd p = {fd, POLLOUT, 0};

    while (bytes.len != 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EAGAIN)
            poll(&p, 1, -1);
        else if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
        if (interrupted && bytes.len != 0) {
            errno = EINTR; /* before it waits again */
            return false;
        }
    }
    return true;
}

static void on_signal(int number)
{
    (void)number;
    if (!interrupted)
        interrupted_ms = net_now_ms();
    interrupted = 1;
}

void interrupt_install(void)
{
    /* A second one ends us at once. */
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool interrupt_seen(void) { return interrupted != 0; }

int64_t interrupt_bound(int64_t deadline_ms)
{
    int64_t bound = interrupted_ms + STOPPING_MS;

    return interrupted && bound < deadline_ms ? bound : deadline_ms;
}
