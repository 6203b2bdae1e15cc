/* How long a cluster takes no records: from nothing to the first
 * acknowledgement, and from one acknowledgement to the next. */
#include "tests/bench/modes.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    GAPS_MAX = 64,
    GAPS_PRINTED = 8,
    TRY_AGAIN_US = 2000,
    CREATE_TIMEOUT_MS = 5000,
};
static const double gap_min_s = 0.02; /* shorter ones aren't noted */

/* ---- from nothing to the first ---------------------------------------- */

/* Tries again sooner than a patient program would: the figure is the
 * cluster's, not the client's.  By itself librdkafka looks for a broker or a
 * leader that it missed only once a second, and waits a tenth of one for a
 * connection that it opens when the first record is there. */
static const char *const eager[] = {
    "acks",
    "all",
    "linger.ms",
    "0",
    "reconnect.backoff.ms",
    "5",
    "reconnect.backoff.max.ms",
    "20",
    "retry.backoff.ms",
    "5",
    "topic.metadata.refresh.interval.ms",
    "10",
    "enable.sparse.connections",
    "false",
    "topic.metadata.refresh.fast.interval.ms",
    "10",
    NULL,
};

static bool listens(const char *host, const char *port)
{
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV,
    };
    struct addrinfo *at;
    bool yes = false;

    if (getaddrinfo(host, port, &hints, &at) != 0)
        fail("cannot resolve %s:%s", host, port);
    int fd = socket(at->ai_family, SOCK_STREAM, 0);
    if (fd >= 0) {
        yes = connect(fd, at->ai_addr, at->ai_addrlen) == 0;
        close(fd);
    }
    freeaddrinfo(at);
    return yes;
}

/* Of the bootstrap brokers, those that refuse connections. */
static int count_deaf(const struct load *l)
{
    char *list = xstrdup(l->brokers), *save = NULL;
    int deaf = 0;

    for (char *host = strtok_r(list, ",", &save); host != NULL;
         host = strtok_r(NULL, ",", &save)) {
        char *colon = strrchr(host, ':');
        if (colon == NULL)
            fail("%s is not HOST:PORT", host);
        *colon = '\0';
        deaf += !listens(host, colon + 1);
    }
    free(list);
    return deaf;
}

/* librdkafka that meets a refusal before it knows any broker waits a second;
 * it is let loose when nobody refuses any more. */
static void wait_listening(const struct load *l, double deadline)
{
    while (count_deaf(l) != 0) {
        if (now_s() > deadline)
            fail("not all of %s listen after %.0f s", l->brokers, l->timeout_s);
        usleep(TRY_AGAIN_US);
    }
}

static void wait_created(rd_kafka_t *rk, const struct load *l, double deadline)
{
    rd_kafka_resp_err_t error;

    while ((error = topics_try_create(rk, l, CREATE_TIMEOUT_MS)) !=
           RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (now_s() > deadline)
            fail("%s is not created after %.0f s: %s", l->topic, l->timeout_s,
                 rd_kafka_err2str(error));
        usleep(TRY_AGAIN_US);
    }
}

void mode_first(const struct load *l)
{
    struct tally tally = {0};
    double deadline = now_s() + l->timeout_s;
    char *value = payload_new(l->size_bytes);

    wait_listening(l, deadline);
    rd_kafka_t *rk = producer_new(l, eager, &tally);
    if (!l->exists)
        wait_created(rk, l, deadline);
    double created = now_s();
    while (tally.acked == 0) {
        int64_t refused = tally.failed;
        producer_send(rk, l, 0, value, 0);
        while (tally.acked == 0 && tally.failed == refused) {
            if (now_s() > deadline)
                fail("no acknowledgement after %.0f s", l->timeout_s);
            rd_kafka_poll(rk, 1);
        }
    }
    printf("{\"acked_at\": %.6f, \"created_at\": %.6f}\n", now_s(), created);
    rd_kafka_destroy(rk);
    free(value);
}

/* ---- from one to the next --------------------------------------------- */

struct gap {
    double from_at;  /* the last acknowledgement before */
    double until_at; /* the first one after */
};

struct gaps {
    struct gap list[GAPS_MAX];
    int len;
};

static double length(const struct gap *g) { return g->until_at - g->from_at; }

/* Keeps the longest GAPS_MAX. */
static void note(struct gaps *g, struct gap gap)
{
    int shortest = 0;

    if (length(&gap) < gap_min_s)
        return;
    if (g->len < GAPS_MAX) {
        g->list[g->len++] = gap;
        return;
    }
    for (int i = 1; i < g->len; i++)
        if (length(&g->list[i]) < length(&g->list[shortest]))
            shortest = i;
    if (length(&gap) > length(&g->list[shortest]))
        g->list[shortest] = gap;
}

static int longest_first(const void *a, const void *b)
{
    double x = length(a), y = length(b);

    return (x < y) - (x > y);
}

static void print_result(const struct tally *tally, struct gaps *g)
{
    printf("{\"acked\": %" PRId64 ", \"failed\": %" PRId64 ", \"gaps\": [",
           tally->acked, tally->failed);
    qsort(g->list, (size_t)g->len, sizeof g->list[0], longest_first);
    for (int i = 0; i < g->len && i < GAPS_PRINTED; i++)
        printf("%s[%.6f, %.6f]", i > 0 ? ", " : "", g->list[i].from_at,
               g->list[i].until_at);
    puts("]}");
}

void mode_failover(const struct load *l)
{
    struct tally tally = {0};
    struct gaps gaps = {.len = 0};
    rd_kafka_t *rk = producer_new(l, NULL, &tally);
    char *value = payload_new(l->size_bytes);
    double start = now_s(), last = start;

    /* A record still without an answer when the time is up is waited for: it
     * is the end of the last gap. */
    while (now_s() - start < l->seconds) {
        int64_t before = tally.acked + tally.failed;
        int64_t acked = tally.acked;
        producer_send(rk, l, 0, value, 0);
        while (tally.acked + tally.failed == before) {
            if (now_s() - last > l->timeout_s)
                fail("no acknowledgement for %.0f s", l->timeout_s);
            rd_kafka_poll(rk, 1);
        }
        if (tally.acked == acked)
            continue;
        double at = now_s();
        /* The first acknowledgement waits for connections. */
        if (acked > 0)
            note(&gaps, (struct gap){.from_at = last, .until_at = at});
        last = at;
    }
    print_result(&tally, &gaps);
    rd_kafka_destroy(rk);
    free(value);
}
