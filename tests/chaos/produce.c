/* Idempotent producers that note what was acknowledged.
 *
 * Each producer is a thread with a client of its own.  It keeps to its rate as
 * long as each partition acknowledges; a partition that doesn't is left alone
 * once WINDOW records wait for it, so that the other partitions go on and an
 * outage doesn't become a burst.
 *
 * A number that was given to the client is never given again: librdkafka
 * retries by itself.  If it gives up, the record may or may not be there.
 *
 * A partition whose leader goes and comes back before librdkafka's thread for
 * that node has let go of it stays with the other node for good, whatever the
 * metadata say: rd_kafka_toppar_leader_update() takes it for a consumer's
 * partition at a follower nearby ("leader N unchanged, not migrating away from
 * preferred replica M"; so in 2.0, and much the same in 2.10).  It asks the
 * wrong node until its records' time is over, or until somebody else leads.
 * Then it bumps its epoch, and sends what was on its way to other partitions
 * again, under the new one: a batch whose answer was late is there twice, by no
 * fault of the cluster (rd_kafka_toppar_producer_serve(), "Message timeouts
 * will lead to gaps").  So a client that is stuck like this, with that sentence
 * said again and again, is let go once its other partitions wait for nothing,
 * and the producer goes on with a new one.  The records that were left in it
 * are counted apart. */

#include "tests/chaos/numbers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW = 400,
    LOG_DEBUG_LEVEL = 7,
    STALL_PAUSE_US = 5000000, /* without that sentence: it went on */
    STALL_US = 20000000,      /* no handover takes so long */
    LET_GO_MS = 5000,
};

struct load {
    const struct numbers_options *o;
    FILE *ledger;
    atomic_bool stop;
    atomic_llong acked[PARTITIONS_MAX];
    atomic_llong failed;
    atomic_llong stalled;
    atomic_llong waiting;
};

/* Since when, and when last, librdkafka said that a partition stays with
 * another node than its leader. */
struct stall {
    atomic_llong since_us;
    atomic_llong last_us;
    bool over; /* records have timed out of it, and none has got through since;
                  librdkafka may not ask any more then */
};

struct producer {
    pthread_t thread;
    struct load *load;
    int id;
    rd_kafka_t *client;
    struct stall stalls[PARTITIONS_MAX];
    int waiting[PARTITIONS_MAX]; /* records not answered yet */
    bool lets_go;                /* of its client */
    int64_t next[PARTITIONS_MAX];
};

/* The number of a record travels in its opaque pointer, plus one. */
static void *opaque_of(int64_t number)
{
    return (void *)(intptr_t)(number + 1);
}

static bool is_stuck(struct producer *p, int partition)
{
    struct stall *s = &p->stalls[partition];
    int64_t last = atomic_load(&s->last_us);

    return numbers_now_us() - last < STALL_PAUSE_US &&
           last - atomic_load(&s->since_us) > STALL_US;
}

static bool is_stalled(struct producer *p, int partition)
{
    struct stall *s = &p->stalls[partition];

    s->over = s->over || is_stuck(p, partition);
    return s->over;
}

static void note_stay(struct producer *p, const char *text)
{
    const char *topic = strstr(text, p->load->o->topic);
    const char *at = topic != NULL ? strchr(topic, '[') : NULL;
    int partition = at != NULL ? atoi(at + 1) : -1;
    int64_t now = numbers_now_us();

    if (partition < 0 || partition >= PARTITIONS_MAX)
        return;
    struct stall *s = &p->stalls[partition];
    if (now - atomic_load(&s->last_us) > STALL_PAUSE_US)
        atomic_store(&s->since_us, now);
    atomic_store(&s->last_us, now);
}

static void on_log(const rd_kafka_t *client, int level, const char *facility,
                   const char *text)
{
    struct producer *p = rd_kafka_opaque(client);

    if (strstr(text, "not migrating away from preferred replica") != NULL)
        note_stay(p, text);
    if (level < LOG_DEBUG_LEVEL || p->load->o->debug[0] != '\0')
        fprintf(stderr, "%lld %d %s %s: %s\n", (long long)numbers_now_us(),
                level, rd_kafka_name(client), facility, text);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *m,
                        void *opaque)
{
    struct producer *p = opaque;
    long long number = (long long)(intptr_t)m->_private - 1;
    p->waiting[m->partition]--;
    atomic_fetch_sub(&p->load->waiting, 1);
    if ((m->err && p->lets_go) || (m->err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT &&
                                   is_stalled(p, m->partition))) {
        atomic_fetch_add(&p->load->stalled, 1);
        fprintf(stderr,
                "stalled %d: number %lld: the client keeps partition %d with "
                "a node that does not lead\n",
                p->id, number, m->partition);
        return;
    }
    if (m->err) {
        atomic_fetch_add(&p->load->failed, 1);
        fprintf(stderr, "producer %d: number %lld: %s\n", p->id, number,
                rd_kafka_err2str(m->err));
        return;
    }
    p->stalls[m->partition].over = false;
    fprintf(p->load->ledger, "A %lld %d %d %lld %lld\n",
            (long long)numbers_now_us(), m->partition, p->id, number,
            (long long)m->offset);
    atomic_fetch_add(&p->load->acked[m->partition], 1);
}

static void on_error(rd_kafka_t *client, int err, const char *reason,
                     void *opaque)
{
    struct producer *p = opaque;
    char why[512];
    rd_kafka_resp_err_t fatal = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (err == RD_KAFKA_RESP_ERR__FATAL)
        fatal = rd_kafka_fatal_error(client, why, sizeof(why));
    if (fatal)
        fprintf(stderr, "producer %d: fatal: %s: %s\n", p->id,
                rd_kafka_err2name(fatal), why);
}

static void send_number(struct producer *p, int partition)
{
    struct numbers_record r;
    int64_t number = p->next[partition];
    numbers_record_make(&r, p->id, number);
    rd_kafka_resp_err_t err = rd_kafka_producev(
        p->client, RD_KAFKA_V_TOPIC(p->load->o->topic),
        RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY(r.key, r.key_len),
        RD_KAFKA_V_VALUE(r.value, r.value_len),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_OPAQUE(opaque_of(number)), RD_KAFKA_V_END);
    if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        return;
    if (err) {
        atomic_fetch_add(&p->load->failed, 1);
        atomic_store(&p->load->stop, true);
        return;
    }
    p->next[partition] += p->load->o->partitions;
    p->waiting[partition]++;
    atomic_fetch_add(&p->load->waiting, 1);
}

/* Sends what is due: one record to each partition that keeps up. */
static void send_round(struct producer *p)
{
    for (int i = 0; i < p->load->o->partitions; i++)
        if (p->waiting[i] < WINDOW)
            send_number(p, i);
}

/* ---- clients ------------------------------------------------------------- */

static void client_open(struct producer *p)
{
    /* Different compressions, because the broker patches and checks them all
     * alike but a client splits and retries them differently. */
    static const char *const codecs[] = {"none", "lz4", "none", "zstd"};
    const struct numbers_options *o = p->load->o;
    char timeout[16];
    snprintf(timeout, sizeof(timeout), "%d", o->timeout_ms);
    /* A new connection begins slowly: where a round trip takes a second, WINDOW
     * records in one request would take longer than a request may, each time
     * anew. */
    const char *pairs[] = {
        "bootstrap.servers",
        o->bootstrap,
        "enable.idempotence",
        "true",
        "acks",
        "all",
        "linger.ms",
        "2",
        "batch.size",
        "16384",
        "debug",
        o->debug[0] != '\0' ? o->debug : "topic",
        "message.timeout.ms",
        timeout,
        "socket.timeout.ms",
        o->request_ms,
        "request.timeout.ms",
        o->request_ms,
        "reconnect.backoff.max.ms",
        "500",
        "compression.type",
        codecs[p->id % 4],
        NULL,
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(conf, p);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, on_log);
    p->client = numbers_client(RD_KAFKA_PRODUCER, pairs, conf);
}

/* What waits in it may be there or not, and is sent no more. */
static void client_let_go(struct producer *p)
{
    p->lets_go = true;
    rd_kafka_purge(p->client,
                   RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(p->client, LET_GO_MS);
    rd_kafka_destroy(p->client);
    p->lets_go = false;
    for (int i = 0; i < p->load->o->partitions; i++) {
        atomic_store(&p->stalls[i].last_us, 0);
        p->stalls[i].over = false;
    }
}

/* A partition is stuck.  *alone: no other one waits for anything, or what is
 * underway to it might get there behind what a new client sends. */
static bool client_is_stuck(struct producer *p, bool *alone)
{
    bool found = false;

    *alone = true;
    for (int i = 0; i < p->load->o->partitions; i++) {
        bool stuck = p->waiting[i] != 0 && is_stuck(p, i);
        found = found || stuck;
        *alone = *alone && (stuck || p->waiting[i] == 0);
    }
    return found;
}

static void go_on(struct producer *p)
{
    const struct numbers_options *o = p->load->o;
    int64_t step_us = 1000000ll * o->partitions / o->rate;
    int64_t due = numbers_now_us();
    bool alone;

    while (!atomic_load(&p->load->stop)) {
        int64_t now = numbers_now_us();
        bool stuck = client_is_stuck(p, &alone);
        if (stuck && alone) {
            client_let_go(p);
            client_open(p);
        } else if (stuck || now < due) {
            rd_kafka_poll(p->client, now + 10000 < due ? 10 : 1);
        } else {
            send_round(p);
            rd_kafka_poll(p->client, 0);
            due = due + step_us < now - 100000 ? now : due + step_us;
        }
    }
}

/* librdkafka looks for records whose time is over once a second. */
static void finish(struct producer *p)
{
    int64_t until =
        numbers_now_us() + (p->load->o->timeout_ms + 10000) * 1000ll;
    bool alone = false, stuck = false;

    while (!stuck && numbers_now_us() < until &&
           rd_kafka_flush(p->client, 1000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        stuck = client_is_stuck(p, &alone) && alone;
    if (stuck)
        client_let_go(p);
    else
        rd_kafka_destroy(p->client);
}

static void *producer_run(void *arg)
{
    struct producer *p = arg;

    client_open(p);
    go_on(p);
    finish(p);
    return NULL;
}

static void producer_start(struct producer *p, struct load *load, int id)
{
    *p = (struct producer){.load = load, .id = id};
    for (int i = 0; i < load->o->partitions; i++)
        p->next[i] = i;
    if (pthread_create(&p->thread, NULL, producer_run, p))
        numbers_die("cannot start a thread");
}

static void status_print(struct load *load)
{
    printf("acked");
    for (int i = 0; i < load->o->partitions; i++)
        printf(" %lld", (long long)atomic_load(&load->acked[i]));
    printf(" failed %lld waiting %lld stalled %lld\n",
           (long long)atomic_load(&load->failed),
           (long long)atomic_load(&load->waiting),
           (long long)atomic_load(&load->stalled));
    fflush(stdout);
}

int numbers_produce(const struct numbers_options *o)
{
    static struct load load;
    static struct producer producers[PRODUCERS_MAX];
    load.o = o;
    load.ledger = fopen(o->ledger, "w");
    if (!load.ledger)
        numbers_die("cannot write %s", o->ledger);
    for (int i = 0; i < o->producers; i++)
        producer_start(&producers[i], &load, i);
    char line[64];
    while (fgets(line, sizeof(line), stdin))
        status_print(&load);
    atomic_store(&load.stop, true);
    for (int i = 0; i < o->producers; i++)
        pthread_join(producers[i].thread, NULL);
    status_print(&load);
    if (fclose(load.ledger))
        numbers_die("cannot write %s", o->ledger);
    return atomic_load(&load.failed) || atomic_load(&load.waiting);
}
