/* As fast as the client can: produce until all records are acknowledged,
 * consume until all are read. */
#include "tests/bench/modes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PAYLOAD_VARIETY = 4096, /* values start at this many different bytes */
    POLL_EVERY = 1024,      /* records between looks at delivery reports */
};

static void print_result(int64_t records, size_t size_bytes, double seconds,
                         double client_cpu)
{
    printf("{\"records\": %" PRId64 ", \"seconds\": %.3f, \"mb_s\": %.2f, "
           "\"client_cpu_s\": %.2f}\n",
           records, seconds,
           (double)records * (double)size_bytes / 1e6 / seconds, client_cpu);
}

void mode_produce(const struct load *l)
{
    struct tally tally = {0};
    char *payload = payload_new(l->size_bytes + PAYLOAD_VARIETY);
    rd_kafka_t *rk = producer_new(l, NULL, &tally);
    double start = now_s(), cpu = cpu_s();

    for (int64_t i = 0; i < l->records; i++) {
        char key[32];

        snprintf(key, sizeof key, "key-%" PRId64, l->keys ? i % l->keys : 0);
        if (i % POLL_EVERY == 0)
            rd_kafka_poll(rk, 0);
        if (now_s() - start > l->timeout_s)
            fail("%" PRId64 " of %" PRId64 " records sent in %.0f s", i,
                 l->records, l->timeout_s);
        producer_send(rk, l, RD_KAFKA_PARTITION_UA, l->keys ? key : NULL,
                      payload + i % PAYLOAD_VARIETY, 0);
    }
    rd_kafka_flush(rk, (int)(l->timeout_s * 1000));
    double seconds = now_s() - start;
    if (tally.acked != l->records)
        fail("%" PRId64 " of %" PRId64 " records acknowledged, %" PRId64
             " refused",
             tally.acked, l->records, tally.failed);
    print_result(l->records, l->size_bytes, seconds, cpu_s() - cpu);
    rd_kafka_destroy(rk);
    free(payload);
}

void mode_consume(const struct load *l)
{
    rd_kafka_t *rk = consumer_new(l, RD_KAFKA_OFFSET_BEGINNING);
    double deadline = now_s() + l->timeout_s, start = 0, cpu = cpu_s();
    int64_t records = 0, bytes = 0;

    while (records < l->records) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 200);
        if (now_s() > deadline)
            fail("%" PRId64 " of %" PRId64 " records read in %.0f s", records,
                 l->records, l->timeout_s);
        if (message == NULL)
            continue;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            if (records == 0)
                start = now_s();
            records++;
            bytes += (int64_t)message->len;
        }
        rd_kafka_message_destroy(message);
    }
    double seconds = now_s() - start;
    print_result(records, (size_t)(bytes / records), seconds, cpu_s() - cpu);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}
