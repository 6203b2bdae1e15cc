/* librdkafka: admin, producers with each compression and with idempotence, a
 * balanced consumer group, committed offsets, offsets by time.
 *
 * Record number i is always the same bytes and always goes to partition i mod
 * 3, so a reader knows what it must see next in each partition and notices a
 * lost, repeated, reordered or altered record at once.
 *
 * Each check returns NULL, or the sentence that says what is wrong, in a buffer
 * that the next check overwrites.  main() prints one line for each. */

#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PARTITIONS = 3, REPLICAS = 3, RECORDS = 10000 };

static const char *bootstrap;
static const char *run;
static char detail[160]; /* what a check that passes wants to tell */
static char wrong[512];  /* what a check that fails has found */
static int failed;

__attribute__((format(printf, 1, 2))) static const char *say(const char *format,
                                                             ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(wrong, sizeof(wrong), format, args);
    va_end(args);
    return wrong;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A name that no other suite or run uses. */
static const char *unique(char name[static 128], const char *what)
{
    snprintf(name, 128, "librdkafka-%s-%s", what, run);
    return name;
}

/* ---- records ---- */

struct record {
    char key[32];
    char value[160];
    char number[16]; /* value of the header "number" */
};

static struct record record_at(int i)
{
    struct record r;
    snprintf(r.key, sizeof(r.key), "key-%d", i);
    int n = snprintf(r.value, sizeof(r.value), "value-%d-", i);
    memset(r.value + n, 'x', (size_t)(i % 100));
    r.value[n + i % 100] = 0;
    snprintf(r.number, sizeof(r.number), "%d", i);
    return r;
}

/* What a reader has received: next[p] is the record partition p must give. */
struct ledger {
    int next[PARTITIONS];
    int count;
};

static struct ledger ledger_new(void)
{
    struct ledger l = {.count = 0};
    for (int p = 0; p < PARTITIONS; p++)
        l.next[p] = p;
    return l;
}

static bool bytes_are(const void *bytes, size_t size, const char *text)
{
    return size == strlen(text) && memcmp(bytes, text, size) == 0;
}

static const char *ledger_add(struct ledger *l, const rd_kafka_message_t *m)
{
    struct record want = record_at(l->next[m->partition]);
    if (!bytes_are(m->key, m->key_len, want.key) ||
        !bytes_are(m->payload, m->len, want.value))
        return say("partition %d: expected %s, got key %.*s at offset %lld",
                   m->partition, want.key, (int)m->key_len,
                   m->key ? (const char *)m->key : "", (long long)m->offset);
    rd_kafka_headers_t *headers;
    const void *number;
    size_t size;
    if (rd_kafka_message_headers(m, &headers) ||
        rd_kafka_header_get_last(headers, "number", &number, &size) ||
        !bytes_are(number, size, want.number))
        return say("partition %d: %s lacks its header", m->partition, want.key);
    l->next[m->partition] += PARTITIONS;
    l->count++;
    return NULL;
}

/* ---- clients ---- */

static void set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof(why))) {
        printf("FAILED suite: %s\n", why);
        exit(1);
    }
}

static void quiet(const rd_kafka_t *rk, int level, const char *fac,
                  const char *buf)
{
    (void)rk;
    if (getenv("VERBOSE"))
        fprintf(stderr, "%d %s %s\n", level, fac, buf);
}

static rd_kafka_conf_t *conf_new(void)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", bootstrap);
    rd_kafka_conf_set_log_cb(conf, quiet);
    return conf;
}

static rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char why[256];
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));
    if (!rk) {
        printf("FAILED suite: %s\n", why);
        exit(1);
    }
    return rk;
}

/* ---- topics ---- */

/* NULL when all partitions of the topic have three replicas in sync. */
static const char *topic_in_sync(rd_kafka_t *rk, const char *name)
{
    const rd_kafka_metadata_t *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, &metadata, 5000);
    rd_kafka_topic_destroy(topic);
    if (err)
        return say("metadata: %s", rd_kafka_err2str(err));
    const char *why = NULL;
    const rd_kafka_metadata_topic_t *t = &metadata->topics[0];
    if (metadata->topic_cnt != 1 || t->partition_cnt != PARTITIONS)
        why = say("%s has %d partitions", name, t->partition_cnt);
    for (int p = 0; !why && p < t->partition_cnt; p++)
        if (t->partitions[p].replica_cnt != REPLICAS ||
            t->partitions[p].isr_cnt != REPLICAS || t->partitions[p].leader < 0)
            why = say("%s-%d has %d replicas, %d in sync", name, p,
                      t->partitions[p].replica_cnt, t->partitions[p].isr_cnt);
    rd_kafka_metadata_destroy(metadata);
    return why;
}

static const char *topic_create(const char *name)
{
    char why[256];
    rd_kafka_t *rk = client_new(RD_KAFKA_PRODUCER, conf_new());
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(name, PARTITIONS, REPLICAS, why, sizeof(why));
    rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
    const char *result = NULL;
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 20000);
    if (!event || rd_kafka_event_error(event)) {
        result = say("no answer to CreateTopics: %s",
                     event ? rd_kafka_event_error_string(event) : "timeout");
    } else {
        size_t n;
        const rd_kafka_topic_result_t **answers =
            rd_kafka_CreateTopics_result_topics(
                rd_kafka_event_CreateTopics_result(event), &n);
        if (n != 1 || rd_kafka_topic_result_error(answers[0]))
            result = say("CreateTopics: %s",
                         n ? rd_kafka_topic_result_error_string(answers[0])
                           : "no topic answered");
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    double end = now_s() + 20;
    while (!result && (result = topic_in_sync(rk, name)) && now_s() < end) {
        result = NULL;
        rd_kafka_poll(rk, 50);
    }
    rd_kafka_destroy(rk);
    return result;
}

/* ---- producing ---- */

struct delivery {
    int acknowledged;
    int refused;
    rd_kafka_resp_err_t why;
};

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct delivery *d = opaque;
    (void)rk;
    if (m->err) {
        d->refused++;
        d->why = m->err;
    } else {
        d->acknowledged++;
    }
}

/* Produces records from..to-1; key=value pairs configure the producer. */
static const char *produce(const char *topic, int from, int to,
                           const char *const *options)
{
    struct delivery d = {.acknowledged = 0};
    rd_kafka_conf_t *conf = conf_new();
    set(conf, "linger.ms", "5");
    rd_kafka_conf_set_opaque(conf, &d);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    for (; options && *options; options += 2)
        set(conf, options[0], options[1]);
    rd_kafka_t *rk = client_new(RD_KAFKA_PRODUCER, conf);
    rd_kafka_resp_err_t err = 0;
    for (int i = from; i < to && !err; i++) {
        struct record r = record_at(i);
        rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
        rd_kafka_header_add(headers, "number", -1, r.number, -1);
        err = rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(i % PARTITIONS),
            RD_KAFKA_V_KEY(r.key, strlen(r.key)),
            RD_KAFKA_V_VALUE(r.value, strlen(r.value)),
            RD_KAFKA_V_HEADERS(headers),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        rd_kafka_poll(rk, 0);
    }
    if (!err)
        err = rd_kafka_flush(rk, 60000);
    rd_kafka_destroy(rk);
    if (err || d.refused)
        return say("%d refused: %s", d.refused,
                   rd_kafka_err2str(err ? err : d.why));
    if (d.acknowledged != to - from)
        return say("%d of %d acknowledged", d.acknowledged, to - from);
    return NULL;
}

/* ---- consuming ---- */

static rd_kafka_t *consumer_with(rd_kafka_conf_t *conf, const char *group,
                                 const char *topic, const char *auto_commit)
{
    set(conf, "group.id", group);
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "enable.auto.commit", auto_commit);
    set(conf, "auto.commit.interval.ms", "100");
    set(conf, "session.timeout.ms", "10000");
    set(conf, "heartbeat.interval.ms", "200");
    set(conf, "fetch.wait.max.ms", "100");
    rd_kafka_t *rk = client_new(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *topics =
        rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return rk;
}

static rd_kafka_t *consumer_new(const char *group, const char *topic,
                                const char *auto_commit)
{
    return consumer_with(conf_new(), group, topic, auto_commit);
}

static unsigned bits_of(const rd_kafka_topic_partition_list_t *list)
{
    unsigned bits = 0;
    for (int i = 0; i < list->cnt; i++)
        bits |= 1u << list->elems[i].partition;
    return bits;
}

/* Takes and gives as it is told, and notes in *opaque what was taken. */
static void cooperate(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                      rd_kafka_topic_partition_list_t *parts, void *opaque)
{
    rd_kafka_error_t *error;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        error = rd_kafka_incremental_assign(rk, parts);
    } else {
        *(unsigned *)opaque |= bits_of(parts);
        error = rd_kafka_incremental_unassign(rk, parts);
    }
    if (error)
        rd_kafka_error_destroy(error);
}

/* A member that keeps what it has while another joins or leaves. */
static rd_kafka_t *cooperative_new(const char *group, const char *topic,
                                   unsigned *taken)
{
    rd_kafka_conf_t *conf = conf_new();
    set(conf, "partition.assignment.strategy", "cooperative-sticky");
    rd_kafka_conf_set_opaque(conf, taken);
    rd_kafka_conf_set_rebalance_cb(conf, cooperate);
    return consumer_with(conf, group, topic, "true");
}

static void consumer_close(rd_kafka_t *rk)
{
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

/* Reads until the ledger holds `total`; then nothing more may come. */
static const char *read_until(rd_kafka_t *rk, struct ledger *l, int total,
                              bool to_end)
{
    double end = now_s() + 60;
    while (l->count < total) {
        if (now_s() > end)
            return say("%d of %d records after 60 s", l->count, total);
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        if (!m)
            continue;
        const char *why = m->err ? NULL : ledger_add(l, m);
        rd_kafka_message_destroy(m);
        if (why)
            return why;
    }
    rd_kafka_message_t *more = to_end ? rd_kafka_consumer_poll(rk, 300) : NULL;
    bool extra = more && !more->err;
    if (more)
        rd_kafka_message_destroy(more);
    if (extra)
        return say("more than %d records", total);
    snprintf(detail, sizeof(detail), "%d records, complete and in order",
             total);
    return NULL;
}

static const char *read_all(const char *topic, int total)
{
    char group[160];
    snprintf(group, sizeof(group), "read-%s", topic);
    struct ledger l = ledger_new();
    rd_kafka_t *rk = consumer_new(group, topic, "true");
    const char *why = read_until(rk, &l, total, true);
    consumer_close(rk);
    return why;
}

/* The partitions a member owns, as bits. */
static unsigned owned(rd_kafka_t *rk)
{
    rd_kafka_topic_partition_list_t *list;
    if (rd_kafka_assignment(rk, &list))
        return 0;
    unsigned bits = bits_of(list);
    rd_kafka_topic_partition_list_destroy(list);
    return bits;
}

/* ---- the checks ---- */

static const char *check_create(void)
{
    char topic[128];
    return topic_create(unique(topic, "records"));
}

static const char *check_exists(void)
{
    char topic[128];
    const char *why = topic_create(unique(topic, "records"));
    if (!why)
        return "a topic was created twice";
    snprintf(detail, sizeof(detail), "%s", why);
    return strstr(why, "already exists") ? NULL : why;
}

static const char *check_produce(void)
{
    char topic[128];
    return produce(unique(topic, "records"), 0, RECORDS, NULL);
}

static const char *check_consume(void)
{
    char topic[128];
    return read_all(unique(topic, "records"), RECORDS);
}

static const char *produce_and_read(const char *what, int count,
                                    const char *const *options)
{
    char topic[128];
    const char *why = topic_create(unique(topic, what));
    if (!why)
        why = produce(topic, 0, count, options);
    return why ? why : read_all(topic, count);
}

static const char *check_idempotent(void)
{
    const char *options[] = {"enable.idempotence", "true", NULL};
    return produce_and_read("idempotent", RECORDS, options);
}

static const char *compression(const char *codec)
{
    const char *options[] = {"compression.type", codec, NULL};
    char what[64];
    snprintf(what, sizeof(what), "compressed-%s", codec);
    return produce_and_read(what, 1500, options);
}

static const char *check_gzip(void) { return compression("gzip"); }

static const char *check_snappy(void) { return compression("snappy"); }

static const char *check_lz4(void) { return compression("lz4"); }

static const char *check_zstd(void) { return compression("zstd"); }

static const char *check_acks(void)
{
    const char *none[] = {"acks", "0", NULL};
    const char *leader[] = {"acks", "1", NULL};
    const char *why = produce_and_read("acks-0", 300, none);
    return why ? why : produce_and_read("acks-1", 300, leader);
}

static const char *check_resume(void)
{
    char topic[128], group[128];
    unique(topic, "records");
    struct ledger first = ledger_new();
    rd_kafka_t *one = consumer_new(unique(group, "resume"), topic, "false");
    const char *why = read_until(one, &first, 4000, false);
    rd_kafka_topic_partition_list_t *offsets =
        rd_kafka_topic_partition_list_new(PARTITIONS);
    for (int p = 0; p < PARTITIONS; p++)
        rd_kafka_topic_partition_list_add(offsets, topic, p)->offset =
            (first.next[p] - p) / PARTITIONS;
    rd_kafka_resp_err_t err = why ? 0 : rd_kafka_commit(one, offsets, 0);
    rd_kafka_topic_partition_list_destroy(offsets);
    consumer_close(one);
    if (why || err)
        return why ? why : say("commit: %s", rd_kafka_err2str(err));

    struct ledger rest = first;
    rest.count = 0;
    rd_kafka_t *two = consumer_new(group, topic, "true");
    why = read_until(two, &rest, RECORDS - first.count, true);
    consumer_close(two);
    snprintf(detail, sizeof(detail), "%d then %d records", first.count,
             rest.count);
    return why;
}

static const char *check_watermarks(void)
{
    char topic[128];
    rd_kafka_t *rk = client_new(RD_KAFKA_PRODUCER, conf_new());
    int64_t low, high;
    rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
        rk, unique(topic, "records"), 0, &low, &high, 10000);
    rd_kafka_topic_partition_list_t *times =
        rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(times, topic, 0)->offset = 1;
    if (!err)
        err = rd_kafka_offsets_for_times(rk, times, 10000);
    int64_t at = times->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(times);
    rd_kafka_destroy(rk);
    if (err)
        return say("%s", rd_kafka_err2str(err));
    if (low != 0 || high != 3334 || at != 0)
        return say("from %lld to %lld, after the epoch %lld", (long long)low,
                   (long long)high, (long long)at);
    return NULL;
}

/* Two members, their seen records, and the condition a wait ends with. */
struct pair {
    rd_kafka_t *a, *b; /* b is NULL before it joins and after it leaves */
    bool seen[600];
    int by_a, by_b;
    bool cooperative;
};

static void take(struct pair *pair, rd_kafka_t *rk, int *by)
{
    rd_kafka_message_t *m = rk ? rd_kafka_consumer_poll(rk, 20) : NULL;
    if (!m)
        return;
    char key[32] = "";
    if (!m->err && m->key_len < sizeof(key))
        memcpy(key, m->key, m->key_len);
    int i = strncmp(key, "key-", 4) == 0 ? atoi(key + 4) : -1;
    if (i >= 0 && i < 600) {
        pair->seen[i] = true;
        (*by)++;
    }
    rd_kafka_message_destroy(m);
}

static const char *wait_for(struct pair *pair, int records)
{
    double end = now_s() + 30;
    for (;;) {
        take(pair, pair->a, &pair->by_a);
        take(pair, pair->b, &pair->by_b);
        int seen = 0;
        while (seen < 600 && pair->seen[seen])
            seen++;
        unsigned a = owned(pair->a), b = pair->b ? owned(pair->b) : 0;
        bool balanced = (a | b) == 7 && (a & b) == 0 && a && (b || !pair->b);
        if (balanced && seen >= records)
            return NULL;
        if (now_s() > end)
            return say("they own %x and %x and saw %d of %d", a, b, seen,
                       records);
    }
}

static rd_kafka_t *member_new(struct pair *pair, const char *topic,
                              unsigned *taken)
{
    return pair->cooperative ? cooperative_new(topic, topic, taken)
                             : consumer_new(topic, topic, "true");
}

/* A group on a topic of the same name. */
static const char *rebalance(struct pair *pair, const char *topic)
{
    unsigned taken_a = 0, taken_b = 0;
    const char *why = topic_create(topic);
    if (why)
        return why;
    pair->a = member_new(pair, topic, &taken_a);
    why = wait_for(pair, 0);
    if (!why) {
        pair->b = member_new(pair, topic, &taken_b);
        why = wait_for(pair, 0);
    }
    if (!why && pair->cooperative && taken_a != owned(pair->b))
        why = say("%x was taken for %x", taken_a, owned(pair->b));
    if (!why)
        why = produce(topic, 0, 300, NULL);
    if (!why)
        why = wait_for(pair, 300);
    if (!why && (!pair->by_a || !pair->by_b))
        why = "one member read nothing";
    taken_a = 0;
    if (pair->b)
        consumer_close(pair->b);
    pair->b = NULL;
    if (!why)
        why = wait_for(pair, 300);
    if (!why && taken_a)
        why = say("%x was taken when the other left", taken_a);
    if (!why)
        why = produce(topic, 300, 600, NULL);
    if (!why)
        why = wait_for(pair, 600);
    consumer_close(pair->a);
    snprintf(detail, sizeof(detail), "%d and %d records", pair->by_a,
             pair->by_b);
    return why;
}

static const char *check_rebalance(void)
{
    char topic[128];
    struct pair pair = {.b = NULL};
    return rebalance(&pair, unique(topic, "rebalance"));
}

static const char *check_cooperative(void)
{
    char topic[128];
    struct pair pair = {.cooperative = true};
    return rebalance(&pair, unique(topic, "cooperative"));
}

static bool check(const char *name, const char *(*work)(void))
{
    detail[0] = 0;
    const char *why = work();
    if (why) {
        failed++;
        printf("FAILED %s: %s\n", name, why);
    } else {
        printf("ok %s%s%s\n", name, *detail ? ": " : "", detail);
    }
    fflush(stdout);
    return !why;
}

int main(void)
{
    char clock[32];
    snprintf(clock, sizeof(clock), "%lld", (long long)time(NULL));
    bootstrap = getenv("BOOTSTRAP") ? getenv("BOOTSTRAP") : "127.0.0.1:9092";
    run = getenv("RUN") ? getenv("RUN") : clock;

    if (!check("creates a topic with three partitions and three replicas",
               check_create))
        return 1;
    check("is told that a topic exists", check_exists);
    if (!check("produces 10,000 records with keys and headers", check_produce))
        return 1;
    check("consumes them back complete and in order", check_consume);
    check("idempotent producer writes each record once", check_idempotent);
    check("compression gzip produces and consumes", check_gzip);
    check("compression snappy produces and consumes", check_snappy);
    check("compression lz4 produces and consumes", check_lz4);
    check("compression zstd produces and consumes", check_zstd);
    check("acks 0 and acks 1 deliver", check_acks);
    check("resumes from committed offsets", check_resume);
    check("finds the first, the last and an offset by time", check_watermarks);
    check("rebalances when a second member joins and leaves", check_rebalance);
    check("a cooperative group takes only what it gives to another",
          check_cooperative);
    return failed ? 1 : 0;
}
