/* Handles and topics of the load client; see client.h.
 *
 * Settings are the same for every cluster that is measured: librdkafka's own
 * defaults but acks=all, a linger of 5 ms and queues large enough not to
 * throttle a throughput run. */
#include "tests/bench/client.h"

#include "base/alloc.h"
#include "base/prng.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { ERROR_TEXT_BYTES = 512, RETRY_PAUSE_US = 20000 };

double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double cpu_s(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

_Noreturn void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    /* No atexit handlers: librdkafka's threads are still running. */
    fflush(stdout);
    _exit(1);
}

char *payload_new(size_t size_bytes)
{
    struct prng prng = {.state = 1};
    char *text = xmalloc(size_bytes);

    for (size_t i = 0; i < size_bytes; i++)
        text[i] = (char)('a' + prng_below(&prng, 26));
    return text;
}

/* ---- handles ---------------------------------------------------------- */

static void conf_set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char error[ERROR_TEXT_BYTES];

    if (rd_kafka_conf_set(conf, key, value, error, sizeof error) !=
        RD_KAFKA_CONF_OK)
        fail("%s", error);
}

rd_kafka_conf_t *conf_new(const struct load *l, const char *const *ours)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    conf_set(conf, "bootstrap.servers", l->brokers);
    conf_set(conf, "client.id", "leat-bench");
    conf_set(conf, "log_level", "3");
    for (; ours != NULL && ours[0] != NULL; ours += 2)
        conf_set(conf, ours[0], ours[1]);
    for (size_t i = 0; i < l->settings_len; i++) {
        char *key = xstrdup(l->settings[i]);
        char *equals = strchr(key, '=');
        *equals = '\0'; /* load.c lets nothing else through */
        conf_set(conf, key, equals + 1);
        free(key);
    }
    return conf;
}

rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char error[ERROR_TEXT_BYTES];
    rd_kafka_t *rk = rd_kafka_new(type, conf, error, sizeof error);

    if (rk == NULL)
        fail("%s", error);
    return rk;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message,
                        void *opaque)
{
    struct tally *tally = opaque;

    (void)rk;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        tally->acked++;
        tally->last_broker = rd_kafka_message_broker_id(message);
        return;
    }
    if (tally->failed++ == 0)
        fprintf(stderr, "load: a record was refused: %s\n",
                rd_kafka_err2str(message->err));
}

rd_kafka_t *producer_new(const struct load *l, const char *const *ours,
                         struct tally *tally)
{
    static const char *const common[] = {
        "acks",
        "all",
        "linger.ms",
        "5",
        "queue.buffering.max.messages",
        "1000000",
        "queue.buffering.max.kbytes",
        "1000000",
        NULL,
    };
    rd_kafka_conf_t *conf = conf_new(l, ours != NULL ? ours : common);

    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, tally);
    return client_new(RD_KAFKA_PRODUCER, conf);
}

void producer_send(rd_kafka_t *rk, const struct load *l, int32_t partition,
                   const char *key, const char *value, int flags)
{
    size_t key_len = key != NULL ? strlen(key) : 0;

    for (;;) {
        rd_kafka_resp_err_t error = rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(l->topic), RD_KAFKA_V_PARTITION(partition),
            RD_KAFKA_V_KEY(key, key_len),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)value, l->size_bytes),
            RD_KAFKA_V_MSGFLAGS(flags), RD_KAFKA_V_END);
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
            return;
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            fail("cannot send: %s", rd_kafka_err2str(error));
        rd_kafka_poll(rk, 10);
    }
}

rd_kafka_t *consumer_new(const struct load *l, int64_t offset)
{
    /* librdkafka stops asking for a second when it has more of a partition
     * than it likes to keep, however soon that is consumed. */
    static const char *const ours[] = {
        "group.id",
        "leat-bench",
        "enable.auto.commit",
        "false",
        "fetch.wait.max.ms",
        "100",
        "queued.min.messages",
        "10000000",
        "queued.max.messages.kbytes",
        "1048576",
        NULL,
    };
    rd_kafka_t *rk = client_new(RD_KAFKA_CONSUMER, conf_new(l, ours));
    const struct rd_kafka_metadata *metadata = topic_metadata(rk, l);
    int partitions = metadata->topics[0].partition_cnt;
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(partitions);

    rd_kafka_poll_set_consumer(rk);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, l->topic, i)->offset = offset;
    rd_kafka_resp_err_t error = rd_kafka_assign(rk, list);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("cannot consume: %s", rd_kafka_err2str(error));
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    return rk;
}

/* ---- topics ----------------------------------------------------------- */

static rd_kafka_NewTopic_t *new_topic(const struct load *l, int i)
{
    char error[ERROR_TEXT_BYTES];
    char *name =
        l->topics > 1 ? xasprintf("%s-%d", l->topic, i) : xstrdup(l->topic);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(
        name, l->partitions, l->replicas, error, sizeof error);

    if (topic == NULL)
        fail("%s", error);
    free(name);
    return topic;
}

static rd_kafka_resp_err_t first_error(rd_kafka_event_t *event)
{
    size_t len;
    const rd_kafka_topic_result_t **results;

    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return rd_kafka_event_error(event);
    results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(event), &len);
    for (size_t i = 0; i < len; i++) {
        rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[i]);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR &&
            error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            return error;
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* One topic a request: Kafka's controller bounds the records of one. */
static rd_kafka_resp_err_t create_one(rd_kafka_t *rk, const struct load *l,
                                      int i, int timeout_ms)
{
    char text[ERROR_TEXT_BYTES];
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_NewTopic_t *topic = new_topic(l, i);
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__TIMED_OUT;

    rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text,
                                              sizeof text);
    rd_kafka_CreateTopics(rk, &topic, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms + 1000);
    if (event != NULL) {
        error = first_error(event);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return error;
}

rd_kafka_resp_err_t topics_try_create(rd_kafka_t *rk, const struct load *l,
                                      int timeout_ms)
{
    for (int i = 0; i < l->topics; i++) {
        rd_kafka_resp_err_t error = create_one(rk, l, i, timeout_ms);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
            return error;
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

const struct rd_kafka_metadata *topic_metadata(rd_kafka_t *rk,
                                               const struct load *l)
{
    const struct rd_kafka_metadata *metadata;
    double deadline = now_s() + l->timeout_s;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, l->topic, NULL);

    for (;;) {
        rd_kafka_resp_err_t error =
            rd_kafka_metadata(rk, 0, topic, &metadata, 1000);
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            if (metadata->topic_cnt == 1 &&
                metadata->topics[0].partition_cnt > 0)
                break;
            rd_kafka_metadata_destroy(metadata);
        }
        if (now_s() > deadline)
            fail("no metadata of topic %s in %.0f s: %s", l->topic,
                 l->timeout_s, rd_kafka_err2str(error));
        usleep(RETRY_PAUSE_US);
    }
    rd_kafka_topic_destroy(topic);
    return metadata;
}
