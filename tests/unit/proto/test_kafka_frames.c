/* What real clients sent to Leat and what they were answered, captured by
 * tests/frames: whole frames, one a line of tests/frames/captured/CLIENT.tsv.
 *
 * Each frame is taken apart with its header, all its bytes are used, and what
 * was decoded encodes to the same bytes.  Each request is in a version that we
 * say we serve.  Records go through what a broker or a client does with them.
 *
 * The vectors hold every version of every message; these frames are the choices
 * of people who never saw our codec, and their compressors' output. */
#include "proto/kafka/api.h"
#include "proto/kafka/header.h"
#include "proto/record/message_set.h"
#include "proto/record/produced.h"
#include "tests/unit/proto/vectors.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

enum { SIZE_BYTES = 4, PATH_BYTES = 512, LIMIT_BYTES = 1 << 24 };

/* ---- the files ---------------------------------------------------------- */

/* Frames of one client, of each direction.  Capturing anew may change them. */
static const struct captured {
    const char *client;
    unsigned requests;
    unsigned responses;
} captured[] = {
    {"kafka-node", 15, 16},   {"kafkajs", 26, 23},  {"platformatic", 24, 21},
    {"kafka-python", 27, 24}, {"kcat", 17, 14},     {"librdkafka", 14, 15},
    {"java", 34, 31},         {"franz-go", 26, 23}, {"sarama", 58, 51},
};

enum { CLIENTS = sizeof captured / sizeof captured[0] };

enum { COLUMNS = 6 };

struct fixture {
    const struct captured *of;
    unsigned line; /* from 1 */
    const char *client;
    const char *api_name;
    int16_t version;
    bool is_request;
    const struct api *api;
    struct buf frame; /* with its size */
    /* Owned: the line that the texts point into. */
    char *text;
    size_t text_cap;
};

static const struct api *api_called(const char *name)
{
    for (int16_t key = 0; key < API_COUNT; key++)
        if (strcmp(api_name(key), name) == 0)
            return api_find(key);
    return NULL;
}

/* The line in f->text, without its end. */
static void parse_line(struct fixture *f)
{
    char *columns[COLUMNS] = {NULL};
    char *rest = f->text;
    int n = 0;

    while (n < COLUMNS && rest != NULL)
        columns[n++] = strsep(&rest, "\t");
    cr_assert(n == COLUMNS && rest == NULL, "%s:%u has not %d columns",
              f->of->client, f->line, COLUMNS);
    f->client = columns[0];
    f->api_name = columns[2];
    f->version = (int16_t)atoi(columns[3]);
    f->is_request = strcmp(columns[4], "request") == 0;
    cr_assert(f->is_request || strcmp(columns[4], "response") == 0);
    cr_assert(bytes_of_hex(columns[5], &f->frame), "%s:%u is not hex",
              f->of->client, f->line);
    f->api = api_called(f->api_name);
    cr_assert_not_null(f->api, "%s:%u: %s", f->of->client, f->line,
                       f->api_name);
}

static bool next_line(FILE *file, struct fixture *f)
{
    ssize_t len = getline(&f->text, &f->text_cap, file);

    if (len <= 0)
        return false;
    if (f->text[len - 1] == '\n')
        f->text[len - 1] = '\0';
    f->line++;
    return true;
}

static void each_of(const struct captured *of, void (*work)(struct fixture *))
{
    struct fixture f = {.of = of};
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/%s.tsv", FRAMES_DIR, of->client);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    cr_assert(next_line(file, &f), "%s is empty", path); /* the titles */
    while (next_line(file, &f)) {
        parse_line(&f);
        work(&f);
    }
    free(f.text);
    buf_free(&f.frame);
    fclose(file);
}

static void each(void (*work)(struct fixture *))
{
    for (size_t i = 0; i < CLIENTS; i++)
        each_of(&captured[i], work);
}

/* Where a frame comes from, for messages. */
#define FIXTURE_FMT "%s:%u, %s %d %s"
#define FIXTURE_ARGS(f)                                                        \
    (f)->of->client, (f)->line, (f)->api_name, (f)->version,                   \
        (f)->is_request ? "request" : "response"

/* ---- one frame, taken apart --------------------------------------------- */

/* What a frame says.  Its bytes are a copy of exactly their size, so that the
 * address sanitizer sees a read of one byte beyond. */
struct said {
    uint8_t *copy;
    struct request_header header; /* of a request */
    int32_t correlation_id;       /* of a response */
    struct slice body;
    const struct kafka_desc *desc;
    void *msg;
    struct arena arena;
};

static void forget(struct said *s)
{
    arena_free(&s->arena);
    free(s->msg);
    free(s->copy);
}

/* A client asks for ApiVersions in the newest version it knows, which may be
 * newer than ours: franz-go starts with 5.  We answer UNSUPPORTED_VERSION as
 * version 0, which every client understands (KIP-511). */
static bool is_too_new(const struct fixture *f)
{
    return f->api->key == API_API_VERSIONS &&
           f->version > f->api->served[API_ON_BROKER].max;
}

/* In which version a frame's body is. */
static int16_t body_version(const struct fixture *f)
{
    return !f->is_request && is_too_new(f) ? 0 : f->version;
}

static enum err take_header(const struct fixture *f, struct slice frame,
                            struct said *s)
{
    if (!f->is_request)
        return kafka_parse_response(frame, f->api->key, body_version(f),
                                    &s->correlation_id, &s->body);
    return kafka_parse_request(frame, &s->header, &s->body);
}

/* The first `len` bytes of the frame behind its size; what is not there is
 * zero.  forget() it whatever the answer. */
static enum err take_apart(const struct fixture *f, size_t len, struct said *s)
{
    size_t have = f->frame.len - SIZE_BYTES;

    *s = (struct said){.desc =
                           f->is_request ? f->api->request : f->api->response};
    arena_init(&s->arena, 0);
    s->copy = xcalloc(len > 0 ? len : 1, 1);
    memcpy(s->copy, f->frame.data + SIZE_BYTES, len < have ? len : have);
    s->msg = xmalloc(s->desc->size_bytes);
    memset(s->msg, 0xa5, s->desc->size_bytes); /* decode has to set it all */
    enum err err = take_header(f, slice_of(s->copy, len), s);
    if (err != ERR_NONE)
        return err;
    return kafka_decode(s->desc, body_version(f), s->body, &s->arena, s->msg);
}

static enum err take_whole(const struct fixture *f, struct said *s)
{
    return take_apart(f, f->frame.len - SIZE_BYTES, s);
}

/* ---- the codec ---------------------------------------------------------- */

static enum err put_together(const struct fixture *f, const struct said *s,
                             struct buf *out)
{
    if (f->is_request)
        return kafka_frame_request(out, &s->header, s->msg);
    return kafka_frame_response(out, f->api->key, body_version(f),
                                s->correlation_id, s->msg, NULL);
}

static void expect_same_frame(struct fixture *f)
{
    struct buf out = BUF_INIT;
    struct said s;
    char why[VECTOR_WHY] = "";

    cr_assert_eq(be32_get(f->frame.data), f->frame.len - SIZE_BYTES,
                 FIXTURE_FMT ": the size in front", FIXTURE_ARGS(f));
    enum err err = take_whole(f, &s);
    cr_expect_eq(err, ERR_NONE, FIXTURE_FMT ": does not decode: %s",
                 FIXTURE_ARGS(f), err_name(err));
    if (err == ERR_NONE) {
        err = put_together(f, &s, &out);
        cr_expect_eq(err, ERR_NONE, FIXTURE_FMT ": does not encode: %s",
                     FIXTURE_ARGS(f), err_name(err));
        cr_expect(bytes_same(buf_slice(&f->frame), buf_slice(&out), why),
                  FIXTURE_FMT ": %s", FIXTURE_ARGS(f), why);
    }
    forget(&s);
    buf_free(&out);
}

Test(kafka_frames, decode_and_encode_to_the_same_bytes)
{
    each(expect_same_frame);
}

static void expect_served(struct fixture *f)
{
    struct said s;

    if (!f->is_request)
        return;
    take_whole(f, &s);
    cr_expect_eq(s.header.request_api_key, f->api->key, FIXTURE_FMT,
                 FIXTURE_ARGS(f));
    cr_expect_eq(s.header.request_api_version, f->version, FIXTURE_FMT,
                 FIXTURE_ARGS(f));
    cr_expect(api_serves(f->api, API_ON_BROKER, s.header.request_api_version) ||
                  is_too_new(f),
              FIXTURE_FMT ": we don't offer this version", FIXTURE_ARGS(f));
    forget(&s);
}

Test(kafka_frames, requests_are_in_versions_that_we_offer)
{
    each(expect_served);
}

static unsigned refusals;

static void expect_refusal(struct fixture *f)
{
    struct said s;

    if (f->is_request || !is_too_new(f))
        return;
    cr_assert_eq(take_whole(f, &s), ERR_NONE, FIXTURE_FMT, FIXTURE_ARGS(f));
    const struct api_versions_response *m = s.msg;
    cr_expect_eq(m->error_code, ERR_UNSUPPORTED_VERSION, FIXTURE_FMT,
                 FIXTURE_ARGS(f));
    refusals++;
    forget(&s);
}

Test(kafka_frames, a_version_that_is_too_new_is_refused_in_version_0)
{
    each(expect_refusal);
    cr_expect_eq(refusals, 1, "franz-go's");
}

static void expect_length_matters(struct fixture *f)
{
    size_t len = f->frame.len - SIZE_BYTES;
    struct said s;

    cr_expect_eq(take_apart(f, len - 1, &s), ERR_MALFORMED,
                 FIXTURE_FMT ": one byte less decodes", FIXTURE_ARGS(f));
    forget(&s);
    cr_expect_eq(take_apart(f, len + 1, &s), ERR_MALFORMED,
                 FIXTURE_FMT ": one byte more decodes", FIXTURE_ARGS(f));
    forget(&s);
}

Test(kafka_frames, a_byte_less_or_more_is_malformed)
{
    each(expect_length_matters);
}

/* ---- records ------------------------------------------------------------ */

static struct codec *codec;
static struct buf scratch;
static struct buf rewritten;

/* How many sets of records were seen, by format and compression. */
static unsigned produced_seen[3][COMPRESSION_ZSTD + 1];
static unsigned fetched_seen[3];

static void set_up(void)
{
    codec = codec_new();
    scratch = BUF_INIT;
    rewritten = BUF_INIT;
}

static void tear_down(void)
{
    codec_free(codec);
    buf_free(&scratch);
    buf_free(&rewritten);
}

TestSuite(kafka_frames_records, .init = set_up, .fini = tear_down);

/* Where a batch v2 and a message of old have their magic. */
enum { MAGIC_AT = 16 };

/* All records of a batch, one by one. */
static int32_t count_records(const struct fixture *f, struct slice bytes,
                             const struct batch *b)
{
    struct record_reader r;
    struct record record;
    struct record_header header;
    int32_t count = 0;

    cr_assert_eq(record_open(&r, codec, bytes, b, LIMIT_BYTES, &scratch),
                 ERR_NONE, FIXTURE_FMT, FIXTURE_ARGS(f));
    for (; record_next(&r, &record); count++) {
        int32_t headers = 0;
        while (record_header_next(&record.headers, &header))
            headers++;
        cr_expect_eq(headers, record.headers_count, FIXTURE_FMT,
                     FIXTURE_ARGS(f));
    }
    cr_expect_eq(r.err, ERR_NONE, FIXTURE_FMT ": record %d: %s",
                 FIXTURE_ARGS(f), count, err_name(r.err));
    cr_expect_eq(count, b->records_count, FIXTURE_FMT, FIXTURE_ARGS(f));
    return count;
}

/* What the broker does with the records of a Produce request, with the rules
 * of a topic at its defaults and every check there is. */
static void produce(const struct fixture *f, struct said *s,
                    struct slice records)
{
    struct produced_rules rules = {
        .api_version = f->version,
        .max_message_bytes = 1048588,
        .keep_compression = true,
        .level = CODEC_LEVEL_DEFAULT,
        .before_max_ms = INT64_MAX,
        .after_max_ms = INT64_MAX, /* the clock of the capture is not ours */
        .deep = true,
        .limit_bytes = LIMIT_BYTES,
    };
    struct produced p;
    uint8_t *bytes = s->copy + (records.data - s->copy); /* ours to patch */

    cr_assert_gt(records.len, MAGIC_AT, FIXTURE_FMT, FIXTURE_ARGS(f));
    uint8_t magic = bytes[MAGIC_AT];
    cr_assert_leq(magic, 2, FIXTURE_FMT, FIXTURE_ARGS(f));
    enum err err = produced_prepare(codec, bytes, records.len, &rules, &scratch,
                                    &s->arena, &rewritten, &p);
    cr_assert_eq(err, ERR_NONE, FIXTURE_FMT ": %s: %s", FIXTURE_ARGS(f),
                 err_name(err), p.report.why);
    struct slice batch = slice_of(p.bytes, p.batch.size_bytes);
    cr_expect_eq(p.converted, magic < 2, FIXTURE_FMT, FIXTURE_ARGS(f));
    cr_expect(batch_crc_ok(batch, &p.batch), FIXTURE_FMT, FIXTURE_ARGS(f));
    cr_expect_gt(count_records(f, batch, &p.batch), 0, FIXTURE_FMT,
                 FIXTURE_ARGS(f));
    produced_seen[magic][batch_compression(&p.batch)]++;
}

static void produce_all(struct fixture *f)
{
    struct said s;

    if (f->api->key != API_PRODUCE || !f->is_request)
        return;
    cr_assert_eq(take_whole(f, &s), ERR_NONE, FIXTURE_FMT, FIXTURE_ARGS(f));
    const struct produce_request *m = s.msg;
    for (int32_t t = 0; t < m->topic_data_len; t++)
        for (int32_t p = 0; p < m->topic_data[t].partition_data_len; p++)
            produce(f, &s, m->topic_data[t].partition_data[p].records.bytes);
    forget(&s);
}

Test(kafka_frames_records, produced_ones_are_valid)
{
    each(produce_all);
    for (int c = COMPRESSION_NONE; c <= COMPRESSION_ZSTD; c++)
        cr_expect_gt(produced_seen[2][c], 0, "batches with %s",
                     compression_name((enum compression)c));
    for (int c = COMPRESSION_NONE; c <= COMPRESSION_LZ4; c++)
        cr_expect_gt(produced_seen[1][c], 0, "message sets with %s",
                     compression_name((enum compression)c));
}

/* Message sets end where max_bytes cut them off, inside a message even: clients
 * of that age expect it.  True: a whole message starts at `set`. */
static bool has_whole_message(struct slice set)
{
    return set.len >= 12 && set.len - 12 >= be32_get(set.data + 8);
}

static size_t whole_messages(struct slice set)
{
    size_t at = 0;

    while (has_whole_message(slice_of(set.data + at, set.len - at)))
        at += 12 + be32_get(set.data + at + 8);
    return at;
}

static void fetch_messages(const struct fixture *f, struct slice set)
{
    struct message_set_reader r;
    struct message m;
    int64_t last = -1;
    unsigned count = 0;

    set.len = whole_messages(set);
    message_set_open(&r, codec, set, LIMIT_BYTES, &scratch);
    for (; message_set_next(&r, &m); count++) {
        cr_expect_gt(m.offset, last, FIXTURE_FMT, FIXTURE_ARGS(f));
        last = m.offset;
    }
    cr_expect_eq(r.err, ERR_NONE, FIXTURE_FMT ": %s", FIXTURE_ARGS(f), r.why);
    cr_expect_gt(count, 0, FIXTURE_FMT, FIXTURE_ARGS(f));
}

/* Whole batches, as version 3 and later are answered.  Only the last may be
 * cut off. */
static void fetch_batches(const struct fixture *f, struct slice bytes)
{
    struct batch b;
    int64_t end = 0;
    size_t at = 0;

    while (at < bytes.len) {
        struct slice rest = slice_of(bytes.data + at, bytes.len - at);
        enum err err = batch_parse(rest, &b);
        if (err == ERR_TOO_LARGE)
            break;
        cr_assert_eq(err, ERR_NONE, FIXTURE_FMT, FIXTURE_ARGS(f));
        rest.len = b.size_bytes;
        cr_expect(batch_crc_ok(rest, &b), FIXTURE_FMT, FIXTURE_ARGS(f));
        cr_expect_geq(b.base_offset, end, FIXTURE_FMT, FIXTURE_ARGS(f));
        cr_expect_gt(count_records(f, rest, &b), 0, FIXTURE_FMT,
                     FIXTURE_ARGS(f));
        end = batch_last_offset(&b) + 1;
        at += b.size_bytes;
    }
    cr_expect_gt(at, 0, FIXTURE_FMT ": not one whole batch", FIXTURE_ARGS(f));
}

static void fetch(const struct fixture *f, struct slice records)
{
    if (records.len == 0)
        return;
    cr_assert_gt(records.len, MAGIC_AT, FIXTURE_FMT, FIXTURE_ARGS(f));
    uint8_t magic = records.data[MAGIC_AT];
    cr_assert_leq(magic, 2, FIXTURE_FMT, FIXTURE_ARGS(f));
    /* What each version of Fetch may be sent: KIP-31, KIP-32, KIP-98. */
    cr_expect_eq(magic,
                 f->version < 2   ? 0
                 : f->version < 4 ? 1
                                  : 2,
                 FIXTURE_FMT ": magic %d", FIXTURE_ARGS(f), magic);
    fetched_seen[magic]++;
    if (magic < 2)
        fetch_messages(f, records);
    else
        fetch_batches(f, records);
}

static void fetch_all(struct fixture *f)
{
    struct said s;

    if (f->api->key != API_FETCH || f->is_request)
        return;
    cr_assert_eq(take_whole(f, &s), ERR_NONE, FIXTURE_FMT, FIXTURE_ARGS(f));
    const struct fetch_response *m = s.msg;
    for (int32_t t = 0; t < m->responses_len; t++)
        for (int32_t p = 0; p < m->responses[t].partitions_len; p++)
            fetch(f, m->responses[t].partitions[p].records.bytes);
    forget(&s);
}

Test(kafka_frames_records, fetched_ones_are_whole)
{
    each(fetch_all);
    for (int magic = 0; magic <= 2; magic++)
        cr_expect_gt(fetched_seen[magic], 0, "magic %d", magic);
}

/* ---- the files, again --------------------------------------------------- */

static unsigned counted[2];

static void count(struct fixture *f)
{
    cr_expect_str_eq(f->client, f->of->client);
    counted[f->is_request]++;
}

Test(kafka_frames, none_got_lost)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        memset(counted, 0, sizeof counted);
        each_of(&captured[i], count);
        cr_expect_eq(counted[true], captured[i].requests, "%s: %u requests",
                     captured[i].client, counted[true]);
        cr_expect_eq(counted[false], captured[i].responses, "%s: %u responses",
                     captured[i].client, counted[false]);
    }
}
