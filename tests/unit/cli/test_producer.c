/* Batches that the broker finds too large. */
#include "cli/producer.h"
#include "tests/unit/cli/fake_client.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARTITIONS = 2, RECORDS_MAX = 4096, PRODUCERS_MAX = 64 };

/* A broker that leads two partitions and checks sequence numbers. */
struct cluster {
    uint32_t batch_max; /* bytes; max.message.bytes */
    enum err refusal;   /* of larger ones */
    struct codec *codec;
    int64_t producers; /* ids given */
    int32_t next_sequence[PARTITIONS][PRODUCERS_MAX];
    int written[PARTITIONS]; /* records */
    int numbers[PARTITIONS][RECORDS_MAX];
    int requests;
    int refused; /* batches */
    int failed;  /* records that the producer gave up */
    char why[128];
};

static int number_of(struct slice value)
{
    char text[16] = "";

    memcpy(text, value.data, value.len < 8 ? value.len : 8);
    return atoi(text);
}

static void append(struct cluster *c, int32_t partition, struct slice bytes,
                   const struct batch *b)
{
    struct record_reader reader;
    struct record record;
    struct buf scratch = BUF_INIT;

    cr_assert_eq(
        record_open(&reader, c->codec, bytes, b, CODEC_LIMIT_BYTES, &scratch),
        ERR_NONE);
    while (record_next(&reader, &record))
        c->numbers[partition][c->written[partition]++] =
            number_of(record.value);
    cr_assert_eq(reader.err, ERR_NONE);
    buf_free(&scratch);
}

static enum err take(struct cluster *c, int32_t partition, struct slice bytes)
{
    struct batch b;

    cr_assert_eq(batch_parse(bytes, &b), ERR_NONE);
    cr_assert(batch_crc_ok(bytes, &b));
    if (bytes.len > c->batch_max) {
        c->refused++;
        return c->refusal;
    }
    cr_assert_geq(b.producer_id, 0);
    int32_t *next = &c->next_sequence[partition][b.producer_id];
    if (b.base_sequence != *next)
        return ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    *next += b.records_count;
    append(c, partition, bytes, &b);
    return ERR_NONE;
}

static void produce(struct cluster *c, const struct produce_request *q,
                    struct produce_response *r, struct arena *a)
{
    const struct produce_request_topic_produce_data *t = &q->topic_data[0];
    size_t len = (size_t)t->partition_data_len;

    c->requests++;
    r->responses = arena_array(a, 1, sizeof *r->responses);
    r->responses_len = 1;
    produce_response_topic_produce_response_init(&r->responses[0]);
    r->responses[0].name = t->name;
    r->responses[0].partition_responses =
        arena_array(a, len, sizeof *r->responses[0].partition_responses);
    r->responses[0].partition_responses_len = (int32_t)len;
    for (size_t i = 0; i < len; i++) {
        struct produce_response_partition_produce_response *p =
            &r->responses[0].partition_responses[i];
        produce_response_partition_produce_response_init(p);
        p->index = t->partition_data[i].index;
        p->error_code =
            (int16_t)take(c, p->index, t->partition_data[i].records.bytes);
    }
}

static enum err answer(void *arg, int32_t node, enum api_key api,
                       const void *request, void *response, struct arena *a)
{
    static const int32_t leaders[PARTITIONS] = {1, 1};
    struct cluster *c = arg;

    (void)node;
    if (api == API_METADATA)
        fake_topic(response, "orders", leaders, PARTITIONS, a);
    else if (api == API_INIT_PRODUCER_ID)
        ((struct init_producer_id_response *)response)->producer_id =
            c->producers++;
    else
        produce(c, request, response, a);
    cr_assert_lt(c->producers, PRODUCERS_MAX);
    return ERR_NONE;
}

static void on_failed(void *arg, const char *why, int32_t records)
{
    struct cluster *c = arg;

    c->failed += records;
    snprintf(c->why, sizeof c->why, "%s", why);
}

static struct producer *start(struct cluster *cluster, struct client **client,
                              enum compression compression)
{
    struct producer_options options = PRODUCER_OPTIONS_INIT;

    cluster->codec = codec_new();
    *client = fake_client_new(1, answer, cluster);
    options.compression = compression;
    options.failed = on_failed;
    options.arg = cluster;
    return producer_new(*client, "orders", &options);
}

/* A record of `size` bytes that begins with its number. */
static void add(struct producer *p, int32_t partition, int number, size_t size)
{
    struct record_header header = {SLICE("h"), SLICE("v")};
    char *value = xcalloc(1, size + 8);

    memset(value, 'x', size);
    snprintf(value, 8, "%06d", number);
    value[6] = 'x';
    cr_assert_eq(producer_add(p, partition, 1000 + number, SLICE("key"),
                              slice_of(value, size), &header, 1),
                 ERR_NONE);
    free(value);
}

static void stop(struct cluster *cluster, struct producer *p, struct client *c)
{
    producer_free(p);
    client_free(c);
    codec_free(cluster->codec);
}

static void expect_numbers(const struct cluster *c, int32_t partition,
                           int first, int count, int missing)
{
    int place = 0;

    for (int i = first; i < first + count; i++)
        if (i != missing)
            cr_assert_eq(c->numbers[partition][place++], i);
    cr_assert_eq(c->written[partition], place);
}

Test(producer, a_batch_that_is_too_large_goes_in_pieces)
{
    struct cluster cluster = {.batch_max = 1000,
                              .refusal = ERR_MESSAGE_TOO_LARGE};
    struct client *c;
    struct producer *p = start(&cluster, &c, COMPRESSION_NONE);

    for (int i = 0; i < 1000; i++)
        add(p, 0, i, 100);
    cr_assert_eq(producer_flush(p), ERR_NONE);
    cr_assert_eq(cluster.failed, 0);
    cr_assert_eq(producer_acknowledged(p), 1000);
    expect_numbers(&cluster, 0, 0, 1000, -1);
    cr_assert_eq(cluster.producers, 1);
    stop(&cluster, p, c);
}

Test(producer, what_was_learned_of_the_size_holds_for_later_batches)
{
    struct cluster cluster = {.batch_max = 1000,
                              .refusal = ERR_MESSAGE_TOO_LARGE};
    struct client *c;
    struct producer *p = start(&cluster, &c, COMPRESSION_NONE);

    for (int i = 0; i < 1000; i++)
        add(p, 0, i, 100);
    producer_flush(p);
    cluster.refused = 0;
    for (int i = 1000; i < 2000; i++)
        add(p, 0, i, 100);
    producer_flush(p);
    cr_assert_eq(cluster.refused, 0);
    expect_numbers(&cluster, 0, 0, 2000, -1);
    stop(&cluster, p, c);
}

Test(producer, only_the_record_that_is_too_large_is_lost)
{
    struct cluster cluster = {.batch_max = 1000,
                              .refusal = ERR_MESSAGE_TOO_LARGE};
    struct client *c;
    struct producer *p = start(&cluster, &c, COMPRESSION_NONE);

    /* The other partition is sent in the same requests. */
    for (int i = 0; i < 500; i++) {
        add(p, 0, i, i == 200 ? 3000 : 100);
        add(p, 1, 1000 + i, 60);
    }
    cr_assert_eq(producer_flush(p), ERR_NONE);
    cr_assert_eq(cluster.failed, 1);
    cr_assert_str_eq(cluster.why, "message too large (MESSAGE_TOO_LARGE)");
    cr_assert_eq(producer_acknowledged(p), 999);
    expect_numbers(&cluster, 0, 0, 500, 200);
    expect_numbers(&cluster, 1, 1000, 500, -1);
    stop(&cluster, p, c);
}

Test(producer, compressed_batches_are_split_too)
{
    struct cluster cluster = {.batch_max = 400,
                              .refusal = ERR_RECORD_LIST_TOO_LARGE};
    struct client *c;
    struct producer *p = start(&cluster, &c, COMPRESSION_GZIP);

    for (int i = 0; i < 1000; i++)
        add(p, 1, i, 50);
    cr_assert_eq(producer_flush(p), ERR_NONE);
    cr_assert_eq(cluster.failed, 0);
    expect_numbers(&cluster, 1, 0, 1000, -1);
    stop(&cluster, p, c);
}
