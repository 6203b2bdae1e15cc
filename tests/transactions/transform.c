/* A consume-transform-produce program as librdkafka's users write it, for
 * tests/transactions/exactly_once:
 *
 *     transform BOOTSTRAP ID GROUP FROM TO
 *
 * Copies every record of FROM to TO, a batch in a transaction together with the
 * offsets of GROUP (KIP-98, 447).  Some transactions are aborted for no reason,
 * and their batch is read again, as is what was not committed before the group
 * rebalanced.  Ends with 1 at the first error, as who sees a process die would
 * start it again; runs until it is killed.  One line for each
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

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf,
                          const char *const *pairs)
{
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

/* A transaction begins with its first record. */
struct copier {
    rd_kafka_t *consumer, *producer;
    const char *to;
    rd_kafka_consumer_group_metadata_t *group; /* of the assignment we read */
    /* Where its records begin, and where to go on, for each partition. */
    rd_kafka_topic_partition_list_t *from, *next;
    int len; /* its records; 0: there is none */
};

static void note(struct copier *c, const rd_kafka_message_t *m)
{
    const char *topic = rd_kafka_topic_name(m->rkt);
    rd_kafka_topic_partition_t *p =
        rd_kafka_topic_partition_list_find(c->next, topic, m->partition);

    if (p == NULL) {
        rd_kafka_topic_partition_list_add(c->from, topic, m->partition)
            ->offset = m->offset;
        p = rd_kafka_topic_partition_list_add(c->next, topic, m->partition);
    }
    p->offset = m->offset + 1;
}

static void copy(struct copier *c, const rd_kafka_message_t *m)
{
    if (c->len == 0) {
        check("begin", rd_kafka_begin_transaction(c->producer));
        c->from = rd_kafka_topic_partition_list_new(1);
        c->next = rd_kafka_topic_partition_list_new(1);
    }
    c->len++;
    note(c, m);
    check_err("produce",
              rd_kafka_producev(c->producer, RD_KAFKA_V_TOPIC(c->to),
                                RD_KAFKA_V_PARTITION(m->partition),
                                RD_KAFKA_V_VALUE(m->payload, m->len),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                RD_KAFKA_V_END));
}

static void ended(struct copier *c, const char *how)
{
    printf("%s %d\n", how, c->len);
    fflush(stdout);
    rd_kafka_topic_partition_list_destroy(c->from);
    rd_kafka_topic_partition_list_destroy(c->next);
    c->len = 0;
}

static void commit(struct copier *c)
{
    check("send_offsets", rd_kafka_send_offsets_to_transaction(
                              c->producer, c->next, c->group, TRY_MS));
    check("commit", rd_kafka_commit_transaction(c->producer, TRY_MS));
    ended(c, "commit");
}

/* The records are there, and count for nobody. */
static void drop(struct copier *c)
{
    check_err("flush", rd_kafka_flush(c->producer, TRY_MS));
    check("abort", rd_kafka_abort_transaction(c->producer, TRY_MS));
}

static void abandon(struct copier *c)
{
    drop(c);
    check("seek", rd_kafka_seek_partitions(c->consumer, c->from, TRY_MS));
    ended(c, "abort");
}

/* Without this librdkafka changes the assignment behind our back, and what was
 * read under the old one would be committed in the new one's name: twice, as
 * who has the partition now read it, too. */
static void rebalanced(rd_kafka_t *consumer, rd_kafka_resp_err_t err,
                       rd_kafka_topic_partition_list_t *partitions, void *arg)
{
    struct copier *c = arg;

    if (c->len > 0) {
        drop(c);
        ended(c, "abort");
    }
    if (c->group != NULL)
        rd_kafka_consumer_group_metadata_destroy(c->group);
    c->group = NULL;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        c->group = rd_kafka_consumer_group_metadata(consumer);
        check_err("assign", rd_kafka_assign(consumer, partitions));
    } else {
        check_err("unassign", rd_kafka_assign(consumer, NULL));
    }
}

static void transaction(struct copier *c)
{
    rd_kafka_message_t *m;

    while (c->len < BATCH &&
           (m = rd_kafka_consumer_poll(c->consumer, c->len == 0 ? 500 : 20))) {
        check_err("consume", m->err);
        copy(c, m);
        rd_kafka_message_destroy(m);
    }
    if (c->len == 0)
        return;
    if (rand() % 8 == 0)
        abandon(c);
    else
        commit(c);
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
    struct copier c = {.to = argv[5]};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set_opaque(conf, &c);
    rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
    c.consumer = client(RD_KAFKA_CONSUMER, conf, consumer_pairs);
    c.producer = client(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), producer_pairs);
    rd_kafka_topic_partition_list_t *topics =
        rd_kafka_topic_partition_list_new(1);

    srand((unsigned)getpid());
    rd_kafka_poll_set_consumer(c.consumer);
    rd_kafka_topic_partition_list_add(topics, argv[4], RD_KAFKA_PARTITION_UA);
    check_err("subscribe", rd_kafka_subscribe(c.consumer, topics));
    check("init", rd_kafka_init_transactions(c.producer, TRY_MS));
    for (;;)
        transaction(&c);
}
