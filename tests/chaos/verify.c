/* Reads everything back and compares it with the ledger.
 *
 *   lost         acknowledged, and not there
 *   duplicated   there more than once, acknowledged or not
 *   disordered   a producer's smaller number behind its larger one in a
 * partition misplaced    acknowledged at one offset, found at another altered
 * not the bytes that were written holes        an offset that no record has
 *
 * The reader goes on until every acknowledged record has been seen and all
 * partitions are at their end, or until there has been no news for the time
 * given: a new leader shows its records only when it knows that the others have
 * them. */

#include "tests/chaos/numbers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 20 }; /* broken promises printed one by one */

struct note {
    int64_t offset; /* acknowledged, or -1 */
    int32_t partition;
    uint16_t seen;
    bool acked;
};

struct book {
    struct note *notes; /* by number */
    size_t count;
};

struct verdict {
    struct book books[PRODUCERS_MAX];
    int64_t last[PARTITIONS_MAX][PRODUCERS_MAX]; /* number; -1 before */
    int64_t next[PARTITIONS_MAX];                /* offset */
    bool end[PARTITIONS_MAX];
    int64_t acked, unplaced, found, read;
    int64_t lost, duplicated, disordered, misplaced, altered, holes;
    int shown;
};

static struct note *note_at(struct verdict *v, int producer, int64_t number)
{
    struct book *b = &v->books[producer];
    if ((size_t)number >= b->count) {
        size_t count = (size_t)number * 2 + 1024;
        b->notes = realloc(b->notes, count * sizeof(*b->notes));
        if (!b->notes)
            numbers_die("out of memory");
        memset(b->notes + b->count, 0, (count - b->count) * sizeof(*b->notes));
        b->count = count;
    }
    return &b->notes[number];
}

static void ledger_read(struct verdict *v, const struct numbers_options *o)
{
    FILE *file = fopen(o->ledger, "r");
    if (!file)
        numbers_die("cannot read %s", o->ledger);
    long long us, number, offset;
    int partition, producer;
    while (fscanf(file, "A %lld %d %d %lld %lld\n", &us, &partition, &producer,
                  &number, &offset) == 5) {
        if (producer < 0 || producer >= PRODUCERS_MAX || number < 0)
            numbers_die("%s is damaged", o->ledger);
        struct note *n = note_at(v, producer, number);
        if (n->acked)
            numbers_die("%s has a number twice", o->ledger);
        *n = (struct note){
            .offset = offset, .partition = partition, .acked = true};
        v->acked++;
        v->unplaced += offset < 0;
    }
    if (!feof(file))
        numbers_die("%s is damaged", o->ledger);
    fclose(file);
}

static void show(struct verdict *v, const char *what, int partition,
                 int64_t offset, int producer, int64_t number)
{
    if (v->shown++ < SHOWN)
        fprintf(stderr,
                "%s: partition %d offset %lld producer %d number %lld\n", what,
                partition, (long long)offset, producer, (long long)number);
}

static bool bytes_right(const rd_kafka_message_t *m, int producer,
                        int64_t number, const struct numbers_options *o)
{
    struct numbers_record r;
    numbers_record_make(&r, producer, number);
    return m->len == r.value_len && !memcmp(m->payload, r.value, m->len) &&
           number % o->partitions == m->partition;
}

static void judge_order(struct verdict *v, const rd_kafka_message_t *m,
                        int producer, int64_t number)
{
    int64_t *last = &v->last[m->partition][producer];
    if (number < *last) {
        v->disordered++;
        show(v, "disordered", m->partition, m->offset, producer, number);
    }
    if (number > *last)
        *last = number;
    if (m->offset != v->next[m->partition]) {
        v->holes++;
        show(v, "hole before", m->partition, m->offset, producer, number);
    }
    v->next[m->partition] = m->offset + 1;
}

static void judge(struct verdict *v, const rd_kafka_message_t *m,
                  const struct numbers_options *o)
{
    int producer;
    int64_t number;
    v->read++;
    if (!numbers_key_parse(m->key, m->key_len, &producer, &number) ||
        !bytes_right(m, producer, number, o)) {
        v->altered++;
        show(v, "altered", m->partition, m->offset, -1, -1);
        return;
    }
    judge_order(v, m, producer, number);
    struct note *n = note_at(v, producer, number);
    if (++n->seen > 1) {
        v->duplicated++;
        show(v, "duplicated", m->partition, m->offset, producer, number);
        return;
    }
    v->found += n->acked;
    if (n->acked && n->offset >= 0 && n->offset != m->offset) {
        v->misplaced++;
        show(v, "misplaced", m->partition, m->offset, producer, number);
        show(v, "  acknowledged at", n->partition, n->offset, producer, number);
    }
}

static bool all_ended(const struct verdict *v, int partitions)
{
    for (int i = 0; i < partitions; i++)
        if (!v->end[i])
            return false;
    return true;
}

static rd_kafka_t *reader_open(const struct numbers_options *o)
{
    const char *pairs[] = {
        "bootstrap.servers",
        o->bootstrap,
        "group.id",
        "numbers-verify",
        "check.crcs",
        "true",
        "enable.partition.eof",
        "true",
        "enable.auto.commit",
        "false",
        "auto.offset.reset",
        "error",
        NULL,
    };
    rd_kafka_t *client =
        numbers_client(RD_KAFKA_CONSUMER, pairs, rd_kafka_conf_new());
    rd_kafka_poll_set_consumer(client);
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(o->partitions);
    for (int i = 0; i < o->partitions; i++)
        rd_kafka_topic_partition_list_add(list, o->topic, i)->offset = 0;
    if (rd_kafka_assign(client, list))
        numbers_die("cannot assign %s", o->topic);
    rd_kafka_topic_partition_list_destroy(list);
    return client;
}

static void read_all(struct verdict *v, const struct numbers_options *o)
{
    rd_kafka_t *client = reader_open(o);
    int64_t news = numbers_now_us();
    while (!(v->found == v->acked && all_ended(v, o->partitions)) &&
           numbers_now_us() - news < o->timeout_ms * 1000ll) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(client, 100);
        if (!m)
            continue;
        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            v->end[m->partition] = true;
        } else if (m->err) {
            fprintf(stderr, "reading: %s\n", rd_kafka_message_errstr(m));
        } else {
            news = numbers_now_us();
            v->end[m->partition] = false;
            judge(v, m, o);
        }
        rd_kafka_message_destroy(m);
    }
    if (!all_ended(v, o->partitions))
        numbers_die("no news for %d ms, and not at the end", o->timeout_ms);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
}

static void count_lost(struct verdict *v)
{
    for (int i = 0; i < PRODUCERS_MAX; i++) {
        for (size_t k = 0; k < v->books[i].count; k++) {
            struct note *n = &v->books[i].notes[k];
            if (!n->acked || n->seen)
                continue;
            v->lost++;
            show(v, "lost", n->partition, n->offset, i, (int64_t)k);
        }
        free(v->books[i].notes);
    }
}

int numbers_verify(const struct numbers_options *o)
{
    static struct verdict v;
    memset(v.last, 0xff, sizeof(v.last));
    ledger_read(&v, o);
    read_all(&v, o);
    count_lost(&v);
    printf("{\"acknowledged\": %lld, \"read\": %lld, \"unplaced\": %lld, "
           "\"lost\": %lld, \"duplicated\": %lld, \"disordered\": %lld, "
           "\"misplaced\": %lld, \"altered\": %lld, \"holes\": %lld}\n",
           (long long)v.acked, (long long)v.read, (long long)v.unplaced,
           (long long)v.lost, (long long)v.duplicated, (long long)v.disordered,
           (long long)v.misplaced, (long long)v.altered, (long long)v.holes);
    return v.lost || v.duplicated || v.disordered || v.misplaced || v.altered ||
           v.holes;
}
