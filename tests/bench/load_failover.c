/* How long a cluster takes no records: from nothing to the first
 * acknowledgement, and from one leader's last to the next leader's first. */
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
    LEADERS_MAX = 64,
    TRY_AGAIN_US = 2000,
    CREATE_TIMEOUT_MS = 5000,
};

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
        producer_send(rk, l, 0, NULL, value, 0);
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

/* ---- from one leader to the next -------------------------------------- */

/* Who acknowledged, and when it did so for the first time in a row. */
struct leader {
    double first_ack_at;
    int32_t id;
};

static void print_result(const struct tally *tally, const struct leader *list,
                         int len)
{
    printf("{\"acked\": %" PRId64 ", \"failed\": %" PRId64 ", \"leaders\": [",
           tally->acked, tally->failed);
    for (int i = 0; i < len; i++)
        printf("%s[%d, %.6f]", i > 0 ? ", " : "", list[i].id,
               list[i].first_ack_at);
    puts("]}");
}

void mode_failover(const struct load *l)
{
    struct tally tally = {.last_broker = -1};
    struct leader leaders[LEADERS_MAX];
    int len = 0;
    rd_kafka_t *rk = producer_new(l, NULL, &tally);
    char *value = payload_new(l->size_bytes);
    double start = now_s(), last = start;

    /* A record still without an answer when the time is up is waited for: its
     * answer may be the next leader's first. */
    while (now_s() - start < l->seconds && len < LEADERS_MAX) {
        int64_t before = tally.acked + tally.failed;
        int64_t acked = tally.acked;
        producer_send(rk, l, 0, NULL, value, 0);
        while (tally.acked + tally.failed == before) {
            if (now_s() - last > l->timeout_s)
                fail("no acknowledgement for %.0f s", l->timeout_s);
            rd_kafka_poll(rk, 1);
        }
        if (tally.acked == acked)
            continue;
        last = now_s();
        if (len == 0 || leaders[len - 1].id != tally.last_broker)
            leaders[len++] = (struct leader){last, tally.last_broker};
    }
    print_result(&tally, leaders, len);
    rd_kafka_destroy(rk);
    free(value);
}
