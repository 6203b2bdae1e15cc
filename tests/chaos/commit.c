/* Committed offsets: groups commit 1, 2, 3, ...; what was acknowledged must
 * stay. */

#include "tests/chaos/numbers.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct group {
    char name[64];
    rd_kafka_t *client;
    int64_t tried, acked;
};

static void group_open(struct group *g, const struct numbers_options *o, int i)
{
    snprintf(g->name, sizeof(g->name), "%s-%d", o->group, i);
    const char *pairs[] = {
        "bootstrap.servers",
        o->bootstrap,
        "group.id",
        g->name,
        "enable.auto.commit",
        "false",
        "reconnect.backoff.max.ms",
        "500",
        "log_level",
        "2", /* brokers come and go here */
        "socket.timeout.ms",
        "10000",
        NULL,
    };
    g->client = numbers_client(RD_KAFKA_CONSUMER, pairs, rd_kafka_conf_new());
    rd_kafka_poll_set_consumer(g->client);
}

static rd_kafka_topic_partition_list_t *
offsets_new(const struct numbers_options *o, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(o->partitions);
    for (int i = 0; i < o->partitions; i++)
        rd_kafka_topic_partition_list_add(list, o->topic, i)->offset = offset;
    return list;
}

static void group_commit(struct group *g, const struct numbers_options *o)
{
    rd_kafka_topic_partition_list_t *list = offsets_new(o, ++g->tried);
    rd_kafka_resp_err_t err = rd_kafka_commit(g->client, list, 0);
    for (int i = 0; !err && i < list->cnt; i++)
        err = list->elems[i].err;
    if (!err)
        g->acked = g->tried;
    rd_kafka_topic_partition_list_destroy(list);
}

static bool input_ended(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;
    return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) == 0;
}

int numbers_commit(const struct numbers_options *o)
{
    static struct group groups[PRODUCERS_MAX];
    for (int i = 0; i < o->producers; i++)
        group_open(&groups[i], o, i);
    while (!input_ended())
        for (int i = 0; i < o->producers; i++)
            group_commit(&groups[i], o);
    for (int i = 0; i < o->producers; i++) {
        printf("%s %lld %lld\n", groups[i].name, (long long)groups[i].tried,
               (long long)groups[i].acked);
        rd_kafka_consumer_close(groups[i].client);
        rd_kafka_destroy(groups[i].client);
    }
    return 0;
}

/* A coordinator that has just been chosen may not know it yet; a client asks
 * again. */
static bool transient(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
           err == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
           err == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
}

static rd_kafka_resp_err_t group_ask(struct group *g,
                                     rd_kafka_topic_partition_list_t *list,
                                     int timeout_ms)
{
    int64_t until = numbers_now_us() + (int64_t)timeout_ms * 1000;
    for (;;) {
        rd_kafka_resp_err_t err =
            rd_kafka_committed(g->client, list, timeout_ms);
        if (!transient(err) || numbers_now_us() > until)
            return err;
        rd_kafka_poll(g->client, 50);
    }
}

int numbers_committed(const struct numbers_options *o)
{
    for (int i = 0; i < o->producers; i++) {
        struct group g;
        group_open(&g, o, i);
        rd_kafka_topic_partition_list_t *list = offsets_new(o, -1);
        rd_kafka_resp_err_t err = group_ask(&g, list, o->timeout_ms);
        if (err)
            numbers_die("%s: %s", g.name, rd_kafka_err2str(err));
        printf("%s", g.name);
        for (int k = 0; k < list->cnt; k++)
            printf(" %lld", (long long)list->elems[k].offset);
        printf("\n");
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_consumer_close(g.client);
        rd_kafka_destroy(g.client);
    }
    return 0;
}
