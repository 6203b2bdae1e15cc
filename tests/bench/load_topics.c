/* Topics come and go by the same client for every cluster. */
#include "tests/bench/modes.h"

#include "base/alloc.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ASK_AGAIN_US = 20000, ERROR_TEXT_BYTES = 512 };

static bool in_sync(const rd_kafka_metadata_partition_t *p)
{
    return p->err == RD_KAFKA_RESP_ERR_NO_ERROR && p->leader >= 0 &&
           p->isr_cnt == p->replica_cnt;
}

/* Returns the leader of partition 0. */
static int32_t wait_in_sync(rd_kafka_t *rk, const struct load *l)
{
    double deadline = now_s() + l->timeout_s;

    for (;;) {
        const struct rd_kafka_metadata *metadata = topic_metadata(rk, l);
        const rd_kafka_metadata_topic_t *topic = &metadata->topics[0];
        int32_t leader = topic->partitions[0].leader;
        int waiting = 0;

        for (int i = 0; i < topic->partition_cnt; i++)
            waiting += !in_sync(&topic->partitions[i]);
        rd_kafka_metadata_destroy(metadata);
        if (waiting == 0)
            return leader;
        if (now_s() > deadline)
            fail("%d partitions of %s are not in sync after %.0f s", waiting,
                 l->topic, l->timeout_s);
        usleep(ASK_AGAIN_US);
    }
}

void mode_settle(const struct load *l)
{
    rd_kafka_t *rk = client_new(RD_KAFKA_CONSUMER, conf_new(l, NULL));
    double start = now_s();
    int32_t leader = wait_in_sync(rk, l);

    printf("{\"leader\": %d, \"seconds\": %.3f}\n", leader, now_s() - start);
    rd_kafka_destroy(rk);
}

void mode_create(const struct load *l)
{
    rd_kafka_t *rk = client_new(RD_KAFKA_CONSUMER, conf_new(l, NULL));
    double start = now_s();
    rd_kafka_resp_err_t error =
        topics_try_create(rk, l, (int)(l->timeout_s * 1000));

    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("cannot create %s: %s", l->topic, rd_kafka_err2str(error));
    for (int i = 0; i < l->topics; i++) {
        struct load one = *l;
        char *name = xasprintf("%s-%d", l->topic, i);
        if (l->topics > 1)
            one.topic = name;
        wait_in_sync(rk, &one);
        free(name);
    }
    printf("{\"seconds\": %.3f}\n", now_s() - start);
    rd_kafka_destroy(rk);
}

void mode_delete(const struct load *l)
{
    rd_kafka_t *rk = client_new(RD_KAFKA_CONSUMER, conf_new(l, NULL));
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    int deleted = 0;

    for (int i = 0; i < l->topics; i++) {
        char *name =
            l->topics > 1 ? xasprintf("%s-%d", l->topic, i) : xstrdup(l->topic);
        rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);

        rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
        rd_kafka_event_t *event =
            rd_kafka_queue_poll(queue, (int)(l->timeout_s * 1000));
        if (event == NULL ||
            rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
            fail("cannot delete %s: %s", name,
                 event == NULL ? "no answer"
                               : rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteTopic_destroy(topic);
        free(name);
        deleted++;
    }
    printf("{\"deleted\": %d}\n", deleted);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}
