/* One transaction after another, by each of several producers: begin, some
 * records to the partitions in turn, commit.  With l->plain the producers are
 * idempotent and no more, and wait for the acknowledgement of the records
 * instead: what a transaction adds is the difference.
 *
 * The first tenth of the samples is dropped. */
#include "tests/bench/modes.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct client {
    const struct load *load;
    int number;
    pthread_t thread;
    rd_kafka_t *rk;
    struct tally tally;
    double until;
    double *took_s; /* one each; the first `len` of `cap` */
    int64_t len;
    int64_t cap;
};

static void check(rd_kafka_error_t *error, const char *what)
{
    if (error != NULL)
        fail("%s: %s", what, rd_kafka_error_string(error));
}

static void send_records(struct client *c, const char *value)
{
    const struct load *l = c->load;

    for (int64_t i = 0; i < l->records; i++)
        producer_send(c->rk, l, (int32_t)((c->number + i) % l->partitions),
                      NULL, value, 0);
}

static void one(struct client *c, const char *value)
{
    int timeout_ms = (int)(c->load->timeout_s * 1000);

    if (!c->load->plain)
        check(rd_kafka_begin_transaction(c->rk), "cannot begin");
    send_records(c, value);
    if (!c->load->plain)
        check(rd_kafka_commit_transaction(c->rk, timeout_ms), "cannot commit");
    else if (rd_kafka_flush(c->rk, timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("no acknowledgement after %d ms", timeout_ms);
}

static void *run(void *arg)
{
    struct client *c = arg;
    char *value = payload_new(c->load->size_bytes);

    while (now_s() < c->until) {
        double begin = now_s();

        one(c, value);
        if (c->len == c->cap) {
            c->cap = c->cap * 2 + 1024;
            c->took_s = xrealloc(c->took_s, (size_t)c->cap * sizeof *c->took_s);
        }
        c->took_s[c->len++] = now_s() - begin;
    }
    free(value);
    return NULL;
}

static void open_client(struct client *c)
{
    char id[64];
    const char *ours[] = {"acks", "all", "linger.ms", "0", "enable.idempotence",
                          "true", NULL,  NULL,        NULL};

    snprintf(id, sizeof id, "bench-%ld-%d", (long)getpid(), c->number);
    if (!c->load->plain) {
        ours[6] = "transactional.id";
        ours[7] = id;
    }
    c->rk = producer_new(c->load, ours, &c->tally);
    if (!c->load->plain)
        check(
            rd_kafka_init_transactions(c->rk, (int)(c->load->timeout_s * 1000)),
            "no producer id");
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print_result(struct client *clients, const struct load *l)
{
    int64_t count = 0, samples = 0;

    for (int i = 0; i < l->clients; i++)
        count += clients[i].len;
    double *all = xcalloc((size_t)count + 1, sizeof *all);
    for (int i = 0; i < l->clients; i++)
        for (int64_t k = clients[i].len / 10; k < clients[i].len; k++)
            all[samples++] = clients[i].took_s[k];
    if (samples < 10)
        fail("%" PRId64 " transactions are too few", count);
    qsort(all, (size_t)samples, sizeof *all, compare);
    printf("{\"transactions\": %" PRId64 ", \"per_s\": %.1f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
           count, (double)count / l->seconds, all[samples / 2] * 1e3,
           all[(int64_t)((double)(samples - 1) * 0.99)] * 1e3);
    free(all);
}

void mode_transactions(const struct load *l)
{
    struct client *clients = xcalloc((size_t)l->clients, sizeof *clients);

    for (int i = 0; i < l->clients; i++) {
        clients[i].load = l;
        clients[i].number = i;
        open_client(&clients[i]);
    }
    double until = now_s() + l->seconds;
    for (int i = 0; i < l->clients; i++) {
        clients[i].until = until;
        if (pthread_create(&clients[i].thread, NULL, run, &clients[i]) != 0)
            fail("cannot start a thread");
    }
    for (int i = 0; i < l->clients; i++)
        pthread_join(clients[i].thread, NULL);
    print_result(clients, l);
    for (int i = 0; i < l->clients; i++) {
        if (clients[i].tally.failed != 0)
            fail("%" PRId64 " records refused", clients[i].tally.failed);
        rd_kafka_destroy(clients[i].rk);
        free(clients[i].took_s);
    }
    free(clients);
}
