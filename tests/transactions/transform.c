/* A consume-transform-produce program as librdkafka's users write it, for
 * tests/transactions/exactly_once:
 *
 *     transform BOOTSTRAP ID GROUP FROM TO
 *
 * Copies every record of FROM to TO, a batch in a transaction together with the
 * offsets of GROUP (KIP-98, 447).  Some transactions are aborted for no reason,
 * and their batch is read again.  Ends with 1 at the first error, as who sees a
 * process die would start it again; runs until it is killed.  One line for each
 * transaction: "commit N" or "abort N". */
#include <librdkafka/rdkafka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 50, TRY_MS = 30000 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "transform: %s: %s\n", what, why);
    _exit(1); /* as a crash: no transaction is ended, no group is left */
}

static void check(const char *what, rd_kafka_error_t *error)
{
    if (error != NULL)
        die(what, rd_kafka_error_string(error));
}

static void check_err(const char *what, rd_kafka_resp_err_t err)
{
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        die(what, rd_kafka_err2str(err));
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *const *pairs)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[512];

    for (; *pairs != NULL; pairs += 2)
        if (rd_kafka_conf_set(conf, pairs[0], pairs[1], why, sizeof why) !=
            RD_KAFKA_CONF_OK)
            die(pairs[0], why);
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
    if (rk == NULL)
        die("rd_kafka_new", why);
    return rk;
}

/* What was read since: where it began, and where to go on, for each partition.
 */
static void note(rd_kafka_topic_partition_list_t *from,
                 rd_kafka_topic_partition_list_t *next,
                 const rd_kafka_message_t *m)
{
    const char *topic = rd_kafka_topic_name(m->rkt);
    rd_kafka_topic_partition_t *p =
        rd_kafka_topic_partition_list_find(next, topic, m->partition);

    if (p == NULL) {
        rd_kafka_topic_partition_list_add(from, topic, m->partition)->offset =
            m->offset;
        p = rd_kafka_topic_partition_list_add(next, topic, m->partition);
    }
    p->offset = m->offset + 1;
}

static void copy(rd_kafka_t *producer, const char *to,
                 const rd_kafka_message_t *m)
{
    check_err("produce",
              rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(to),
                                RD_KAFKA_V_PARTITION(m->partition),
                                RD_KAFKA_V_VALUE(m->payload, m->len),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                RD_KAFKA_V_END));
}

static void commit(rd_kafka_t *consumer, rd_kafka_t *producer,
                   const rd_kafka_topic_partition_list_t *next)
{
    rd_kafka_consumer_group_metadata_t *group =
        rd_kafka_consumer_group_metadata(consumer);

    check("send_offsets",
          rd_kafka_send_offsets_to_transaction(producer, next, group, TRY_MS));
    rd_kafka_consumer_group_metadata_destroy(group);
    check("commit", rd_kafka_commit_transaction(producer, TRY_MS));
}

/* The records are there, and count for nobody; they are read again. */
static void abandon(rd_kafka_t *consumer, rd_kafka_t *producer,
                    rd_kafka_topic_partition_list_t *from)
{
    check_err("flush", rd_kafka_flush(producer, TRY_MS));
    check("abort", rd_kafka_abort_transaction(producer, TRY_MS));
    check("seek", rd_kafka_seek_partitions(consumer, from, TRY_MS));
}

static void transaction(rd_kafka_t *consumer, rd_kafka_t *producer,
                        const char *to)
{
    rd_kafka_message_t *first = rd_kafka_consumer_poll(consumer, 500);
    rd_kafka_topic_partition_list_t *from, *next;
    int n = 0;

    if (first == NULL)
        return;
    from = rd_kafka_topic_partition_list_new(1);
    next = rd_kafka_topic_partition_list_new(1);
    check("begin", rd_kafka_begin_transaction(producer));
    for (rd_kafka_message_t *m = first; m != NULL;
         m = n < BATCH ? rd_kafka_consumer_poll(consumer, 20) : NULL) {
        check_err("consume", m->err);
        note(from, next, m);
        copy(producer, to, m);
        rd_kafka_message_destroy(m);
        n++;
    }
    bool aborts = rand() % 8 == 0;
    if (aborts)
        abandon(consumer, producer, from);
    else
        commit(consumer, producer, next);
    printf("%s %d\n", aborts ? "abort" : "commit", n);
    fflush(stdout);
    rd_kafka_topic_partition_list_destroy(from);
    rd_kafka_topic_partition_list_destroy(next);
}

int main(int argc, char **argv)
{
    if (argc != 6)
        die("usage", "transform BOOTSTRAP ID GROUP FROM TO");
    const char *consumer_pairs[] = {"bootstrap.servers",
                                    argv[1],
                                    "group.id",
                                    argv[3],
                                    "enable.auto.commit",
                                    "false",
                                    "auto.offset.reset",
                                    "earliest",
                                    "isolation.level",
                                    "read_committed",
                                    "session.timeout.ms",
                                    "6000",
                                    NULL};
    const char *producer_pairs[] = {"bootstrap.servers",
                                    argv[1],
                                    "transactional.id",
                                    argv[2],
                                    "transaction.timeout.ms",
                                    "20000",
                                    NULL};
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, consumer_pairs);
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, producer_pairs);
    rd_kafka_topic_partition_list_t *topics =
        rd_kafka_topic_partition_list_new(1);

    srand((unsigned)getpid());
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_add(topics, argv[4], RD_KAFKA_PARTITION_UA);
    check_err("subscribe", rd_kafka_subscribe(consumer, topics));
    check("init", rd_kafka_init_transactions(producer, TRY_MS));
    for (;;)
        transaction(consumer, producer, argv[5]);
}
