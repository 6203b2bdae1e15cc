/* floor: what this machine's kernel alone costs for the bytes a broker moves.
 *
 * Receiving is loopback TCP to recv, then CRC-32C, then pwrite at the end of a
 * growing file; sending is sendfile from the page cache to loopback TCP. A
 * child process is the other end; only this process's CPU counts, as only the
 * brokers' counts in the other figures. No broker can do the same work for
 * less, as long as it uses the same calls.
 *
 * Also: one fdatasync of 4 KiB, and a 1 KiB question and answer between two
 * processes, which is what each hop of a record costs at least.
 *
 *   floor [--bytes N] DIR      prints one JSON object */
#include "base/crc32c.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    RECEIVE_BYTES = 256 << 10,
    SEND_BYTES = 1 << 20,
    SYNCS = 200,
    SYNC_BYTES = 4096,
    ROUND_TRIPS = 20000,
    ROUND_TRIP_BYTES = 1024,
};

static char buffer[SEND_BYTES];
static char path[4096];

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print_cost(const char *name, int64_t bytes, double start,
                       double cpu)
{
    double gb = (double)bytes / 1e9;

    printf("\"%s\": {\"mb_s\": %.0f, \"cpu_s_gb\": %.3f}, ", name,
           gb * 1e3 / (now_s() - start), (cpu_s() - cpu) / gb);
}

/* ---- two ends of one connection --------------------------------------- */

static int listen_on_loopback(struct sockaddr_in *at)
{
    socklen_t len = sizeof *at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    *at = (struct sockaddr_in){.sin_family = AF_INET};
    at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)at, len) != 0 ||
        listen(fd, 1) != 0 || getsockname(fd, (struct sockaddr *)at, &len) != 0)
        fail("listen");
    return fd;
}

static int dial(const struct sockaddr_in *at)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)at, sizeof *at) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        fail("connect");
    return fd;
}

/* Runs `peer` in a child with one end, returns the other end. */
static int connected_to(void (*peer)(int fd, int64_t bytes), int64_t bytes,
                        pid_t *child)
{
    struct sockaddr_in at;
    int on = 1, listener = listen_on_loopback(&at);

    fflush(stdout);
    *child = fork();
    if (*child < 0)
        fail("fork");
    if (*child == 0) {
        peer(dial(&at), bytes);
        _exit(0);
    }
    int fd = accept(listener, NULL, NULL);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        fail("accept");
    close(listener);
    return fd;
}

static void hang_up(int fd, pid_t child)
{
    int status;

    close(fd);
    if (waitpid(child, &status, 0) != child || status != 0)
        fail("the other end");
}

static void write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n <= 0)
            fail("write");
        data += n;
        len -= (size_t)n;
    }
}

static void peer_writes(int fd, int64_t bytes)
{
    for (int64_t left = bytes; left > 0; left -= SEND_BYTES)
        write_all(fd, buffer, SEND_BYTES);
}

static void peer_reads(int fd, int64_t bytes)
{
    while (bytes > 0) {
        ssize_t n = read(fd, buffer, SEND_BYTES);
        if (n <= 0)
            fail("read");
        bytes -= n;
    }
}

static bool read_exactly(int fd, size_t len)
{
    size_t have = 0;

    while (have < len) {
        ssize_t n = read(fd, buffer + have, len - have);
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    return true;
}

static void peer_answers(int fd, int64_t bytes)
{
    (void)bytes;
    while (read_exactly(fd, ROUND_TRIP_BYTES))
        write_all(fd, buffer, ROUND_TRIP_BYTES);
}

/* ---- the figures ------------------------------------------------------ */

static void receive(const char *name, int64_t bytes, bool sum, bool keep)
{
    pid_t child;
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    int fd = connected_to(peer_writes, bytes, &child);
    double start = now_s(), cpu = cpu_s();
    uint32_t crc = 0;

    if (file < 0)
        fail(path);
    for (int64_t at = 0; at < bytes;) {
        ssize_t n = recv(fd, buffer, RECEIVE_BYTES, 0);
        if (n <= 0)
            fail("recv");
        if (sum)
            crc = crc32c(crc, buffer, (size_t)n);
        if (keep && pwrite(file, buffer, (size_t)n, at) != n)
            fail("pwrite");
        at += n;
    }
    print_cost(name, bytes, start, cpu);
    close(file);
    hang_up(fd, child);
    if (sum && crc == 0)
        fputs("floor: the sum is zero\n", stderr); /* keeps the sum alive */
}

/* Sends what receive() left in the file. */
static void send_file(int64_t bytes)
{
    pid_t child;
    int file = open(path, O_RDONLY);
    int fd = connected_to(peer_reads, bytes, &child);
    double start = now_s(), cpu = cpu_s();
    off_t at = 0;

    if (file < 0)
        fail(path);
    while (at < bytes)
        if (sendfile(fd, file, &at, SEND_BYTES) <= 0)
            fail("sendfile");
    print_cost("sendfile", bytes, start, cpu);
    close(file);
    hang_up(fd, child);
}

static void sync_data(void)
{
    double took[SYNCS];
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    if (file < 0)
        fail(path);
    for (int i = 0; i < SYNCS; i++) {
        if (pwrite(file, buffer, SYNC_BYTES, (off_t)i * SYNC_BYTES) !=
            SYNC_BYTES)
            fail("pwrite");
        double start = now_s();
        if (fdatasync(file) != 0)
            fail("fdatasync");
        took[i] = now_s() - start;
    }
    qsort(took, SYNCS, sizeof took[0], compare);
    printf("\"fdatasync\": {\"p50_ms\": %.3f, \"p99_ms\": %.3f}, ",
           took[SYNCS / 2] * 1e3, took[SYNCS * 99 / 100] * 1e3);
    close(file);
}

static void round_trip(void)
{
    static double took[ROUND_TRIPS];
    pid_t child;
    int fd = connected_to(peer_answers, 0, &child);

    for (int i = 0; i < ROUND_TRIPS; i++) {
        double start = now_s();
        write_all(fd, buffer, ROUND_TRIP_BYTES);
        if (!read_exactly(fd, ROUND_TRIP_BYTES))
            fail("round trip");
        took[i] = now_s() - start;
    }
    qsort(took, ROUND_TRIPS, sizeof took[0], compare);
    printf("\"round_trip\": {\"p50_ms\": %.4f, \"p99_ms\": %.4f, "
           "\"p999_ms\": %.4f}}\n",
           took[ROUND_TRIPS / 2] * 1e3, took[ROUND_TRIPS * 99 / 100] * 1e3,
           took[ROUND_TRIPS / 1000 * 999] * 1e3);
    hang_up(fd, child);
}

int main(int argc, char **argv)
{
    int64_t bytes = INT64_C(1) << 30;

    if (argc == 4 && strcmp(argv[1], "--bytes") == 0) {
        bytes = strtoll(argv[2], NULL, 10) / SEND_BYTES * SEND_BYTES;
        argv += 2;
        argc -= 2;
    }
    if (argc != 2 || bytes < SEND_BYTES || bytes > INT64_C(1) << 36) {
        fputs("Usage: floor [--bytes N] DIR    (N: 1 MiB to 64 GiB)\n", stderr);
        return 2;
    }
    snprintf(path, sizeof path, "%s/floor-%d.dat", argv[1], (int)getpid());
    memset(buffer, 'x', sizeof buffer);
    putchar('{');
    receive("recv", bytes, false, false);
    receive("recv_crc", bytes, true, false);
    receive("recv_crc_write", bytes, true, true);
    send_file(bytes);
    sync_data();
    round_trip();
    unlink(path);
    return 0;
}
