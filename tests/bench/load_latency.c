/* End-to-end latency at a fixed rate.
 *
 * The producing thread sends one record each 1/rate seconds, with the time at
 * which it was due in the first eight bytes of its value; the reading thread
 * subtracts that from the time it gets the record.  A record that is sent late
 * because the cluster or the machine stood still counts from when it was due,
 * so a stall cannot hide in the schedule.
 *
 * First the reader has to follow every partition: records stamped 0 are sent
 * until one from each has come back.  The first tenth of the samples is
 * dropped, too: connections and caches warm up there. */
#include "tests/bench/modes.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PARTITIONS_MAX = 64, DRAIN_S = 2 };

struct reader {
    const struct load *load;
    double *latency_s; /* samples_max of them; read after the join */
    int64_t samples;
    int64_t samples_max;
    uint64_t followed;          /* bit per partition that came back */
    _Atomic uint64_t following; /* the same, for the producing thread */
    _Atomic bool stop;
};

static void take(struct reader *r, const rd_kafka_message_t *message)
{
    double due;

    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR ||
        message->len < sizeof due || message->partition >= PARTITIONS_MAX)
        return;
    memcpy(&due, message->payload, sizeof due);
    if (due > 0) {
        if (r->samples < r->samples_max)
            r->latency_s[r->samples++] = now_s() - due;
        return;
    }
    r->followed |= UINT64_C(1) << message->partition;
    atomic_store(&r->following, r->followed);
}

static void *reader_run(void *arg)
{
    struct reader *r = arg;
    rd_kafka_t *rk = consumer_new(r->load, RD_KAFKA_OFFSET_END);

    while (!atomic_load(&r->stop) || r->samples < r->samples_max) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 50);
        if (message != NULL) {
            take(r, message);
            rd_kafka_message_destroy(message);
        } else if (atomic_load(&r->stop)) {
            break;
        }
    }
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return NULL;
}

static void send_stamped(rd_kafka_t *rk, const struct load *l,
                         int32_t partition, char *value, double stamp)
{
    memcpy(value, &stamp, sizeof stamp);
    producer_send(rk, l, partition, NULL, value, RD_KAFKA_MSG_F_COPY);
}

static void wait_followed(rd_kafka_t *rk, struct reader *r, char *value)
{
    const struct load *l = r->load;
    uint64_t all = (UINT64_C(1) << l->partitions) - 1;
    double deadline = now_s() + l->timeout_s;

    while (atomic_load(&r->following) != all) {
        if (now_s() > deadline)
            fail("the reader does not follow %s after %.0f s", l->topic,
                 l->timeout_s);
        for (int i = 0; i < l->partitions; i++)
            send_stamped(rk, l, i, value, 0);
        rd_kafka_poll(rk, 50);
    }
}

static void sleep_until(double at_s)
{
    struct timespec t = {.tv_sec = (time_t)at_s};

    t.tv_nsec = (long)((at_s - (double)t.tv_sec) * 1e9);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void send_at_rate(rd_kafka_t *rk, const struct load *l, int64_t records,
                         char *value)
{
    double start = now_s();

    for (int64_t i = 0; i < records; i++) {
        double due = start + (double)i / l->rate;
        rd_kafka_poll(rk, 0);
        if (due > now_s())
            sleep_until(due);
        send_stamped(rk, l, (int32_t)(i % l->partitions), value, due);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double at_share_ms(const struct reader *r, int64_t skip, double share)
{
    int64_t len = r->samples - skip;

    return r->latency_s[skip + (int64_t)((double)(len - 1) * share)] * 1e3;
}

static void print_result(struct reader *r)
{
    int64_t skip = r->samples / 10;

    if (r->samples < r->samples_max)
        fail("%" PRId64 " of %" PRId64 " records came back", r->samples,
             r->samples_max);
    qsort(r->latency_s + skip, (size_t)(r->samples - skip),
          sizeof *r->latency_s, compare);
    printf("{\"records\": %" PRId64 ", \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"p999_ms\": %.3f, \"max_ms\": %.3f}\n",
           r->samples, at_share_ms(r, skip, 0.5), at_share_ms(r, skip, 0.99),
           at_share_ms(r, skip, 0.999), at_share_ms(r, skip, 1));
}

void mode_latency(const struct load *l)
{
    static const char *const ours[] = {"acks", "all", "linger.ms", "0", NULL};
    struct reader r = {
        .load = l,
        .samples_max = (int64_t)(l->rate * l->seconds),
    };
    struct tally tally = {0};
    pthread_t thread;

    if (l->partitions >= PARTITIONS_MAX || r.samples_max < 10)
        fail("latency takes below %d partitions and at least 10 records",
             PARTITIONS_MAX);
    r.latency_s = xcalloc((size_t)r.samples_max, sizeof *r.latency_s);
    char *value = payload_new(l->size_bytes);
    rd_kafka_t *rk = producer_new(l, ours, &tally);
    if (pthread_create(&thread, NULL, reader_run, &r) != 0)
        fail("cannot start a thread");
    wait_followed(rk, &r, value);
    send_at_rate(rk, l, r.samples_max, value);
    rd_kafka_flush(rk, (int)(l->timeout_s * 1000));
    sleep_until(now_s() + DRAIN_S);
    atomic_store(&r.stop, true);
    pthread_join(thread, NULL);
    if (tally.failed != 0)
        fail("%" PRId64 " records refused", tally.failed);
    print_result(&r);
    rd_kafka_destroy(rk);
    free(value);
    free(r.latency_s);
}
