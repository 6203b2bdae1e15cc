/* What the modes of the load client share: a clock, librdkafka handles with
 * the settings every figure uses, and topics.
 *
 * Everything here ends the program with a sentence and status 1 when the
 * cluster does not do in time what was asked: a figure that was not taken is
 * better than a wrong one.  One thread, unless a function says otherwise. */
#ifndef TESTS_BENCH_CLIENT_H
#define TESTS_BENCH_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The command line, parsed by load.c; a mode reads the fields it needs. */
struct load {
    const char *brokers;   /* bootstrap list */
    const char *topic;     /* or the prefix of several, see topics */
    int64_t records;       /* how many to send or to read */
    size_t size_bytes;     /* of one record's value, >= 8 */
    int partitions;        /* of each topic that is created */
    int replicas;          /* of each partition that is created */
    int topics;            /* 1: "topic"; more: "topic-0", "topic-1", ... */
    bool exists;           /* the topic need not be created */
    int64_t keys;          /* different ones, one after another; 0: no keys */
    int clients;           /* how many producers at once */
    bool plain;            /* without transactions, to compare */
    double rate;           /* records per second */
    double seconds;        /* how long the load lasts */
    double timeout_s;      /* the bound of everything else */
    const char **settings; /* librdkafka's "key=value", win over ours */
    size_t settings_len;
};

/* CLOCK_MONOTONIC in seconds: comparable between processes. */
double now_s(void);
/* CPU seconds that this process has used. */
double cpu_s(void);

/* Prints a sentence to stderr and ends the program with status 1. */
_Noreturn void fail(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* size_bytes letters that do not repeat soon; the caller frees them. */
char *payload_new(size_t size_bytes);

/* A conf with bootstrap.servers, a quiet log and l->settings applied on top
 * of the pairs in `ours` (NULL-terminated: key, value, key, value, NULL).
 * Owned by the caller until it is given to client_new. */
rd_kafka_conf_t *conf_new(const struct load *l, const char *const *ours);
/* Takes the conf. The caller ends the handle with rd_kafka_destroy. */
rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf);

/* Acknowledged and refused records of a producer.  Written by delivery
 * reports, on the thread that polls the producer. */
struct tally {
    int64_t acked;
    int64_t failed;
    int32_t last_broker; /* who acknowledged last */
};
/* A producer with acks=all that counts its reports in *tally, which must live
 * as long as the handle. `ours` as in conf_new. */
rd_kafka_t *producer_new(const struct load *l, const char *const *ours,
                         struct tally *tally);
/* Queues l->size_bytes of `value` under a key, which may be NULL and is copied;
 * waits while the queue is full. With flags 0 the value has to stay until it is
 * acknowledged, with RD_KAFKA_MSG_F_COPY it may change at once. */
void producer_send(rd_kafka_t *rk, const struct load *l, int32_t partition,
                   const char *key, const char *value, int flags);

/* A consumer assigned to every partition of the topic, from `offset`
 * (RD_KAFKA_OFFSET_BEGINNING or RD_KAFKA_OFFSET_END); no group is joined. */
rd_kafka_t *consumer_new(const struct load *l, int64_t offset);

/* Asks once for the topics of `l` to be created and waits for the answer.
 * Returns the first error that is not "exists already". */
rd_kafka_resp_err_t topics_try_create(rd_kafka_t *rk, const struct load *l,
                                      int timeout_ms);

/* Metadata of the one topic `l` names; tries again until the topic has
 * partitions.  The caller destroys it.  rk is a consumer: a producer's
 * question would create the topic. */
const struct rd_kafka_metadata *topic_metadata(rd_kafka_t *rk,
                                               const struct load *l);

#endif
