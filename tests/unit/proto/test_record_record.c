#include "proto/record/record.h"

#include "base/crc32c.h"
#include "proto/record/builder.h"
#include "tests/unit/proto/record_fixtures.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { LIMIT = 1 << 20 };

static struct codec *codec;
static struct buf scratch;
static struct buf out;
static struct arena arena;
static struct batch_builder builder;

static void set_up(void)
{
    codec = codec_new();
    scratch = BUF_INIT;
    out = BUF_INIT;
    arena_init(&arena, 0);
    batch_builder_init(&builder);
}

static void tear_down(void)
{
    codec_free(codec);
    buf_free(&scratch);
    buf_free(&out);
    arena_free(&arena);
    batch_builder_free(&builder);
}

TestSuite(record, .init = set_up, .fini = tear_down);

static void open_ok(struct record_reader *r, struct slice bytes)
{
    struct batch b;

    cr_assert_eq(batch_parse(bytes, &b), ERR_NONE);
    cr_assert_eq(record_open(r, codec, bytes, &b, LIMIT, &scratch), ERR_NONE);
}

static enum err validate(struct slice bytes, struct record_rules rules,
                         struct record_report *report)
{
    struct batch b;

    cr_assert_eq(batch_parse(bytes, &b), ERR_NONE);
    return record_validate_all(codec, bytes, &b, &rules, LIMIT, &scratch,
                               &arena, report);
}

/* Finishes the builder into `out`. */
static struct slice finish(struct batch_options options)
{
    out.len = 0;
    batch_builder_finish(&builder, &options, codec, &out);
    return buf_slice(&out);
}

static void append(int64_t timestamp, const char *key, const char *value)
{
    batch_builder_append(&builder, timestamp, slice_str(key), slice_str(value),
                         NULL, 0);
}

/* ---- reading what Kafka wrote -------------------------------------------- */

static void expect_fixture_records(struct slice bytes, int64_t base_offset)
{
    static const struct {
        int64_t timestamp;
        const char *key;
        const char *value;
    } wanted[] = {
        {1700000000000, "key-0", "value-0"},
        {1700000000500, NULL, "value-1"},
        {1700000000200, "key-2", NULL},
    };
    struct record_reader r;
    struct record record;
    struct record_header header;

    open_ok(&r, bytes);
    for (int i = 0; i < 3; i++) {
        cr_assert(record_next(&r, &record));
        cr_assert_eq(record.offset, base_offset + i);
        cr_assert_eq(record.timestamp, wanted[i].timestamp);
        cr_assert(slice_eq_str(record.key, wanted[i].key));
        cr_assert_eq(slice_is_null(record.key), wanted[i].key == NULL);
        cr_assert(slice_eq_str(record.value, wanted[i].value));
        cr_assert_eq(slice_is_null(record.value), wanted[i].value == NULL);
        cr_assert_eq(record.headers_count, i == 0 ? 2 : 0);
        if (i != 0)
            continue;
        cr_assert(record_header_next(&record.headers, &header));
        cr_assert(slice_eq_str(header.key, "h"));
        cr_assert(slice_eq_str(header.value, "x"));
        cr_assert(record_header_next(&record.headers, &header));
        cr_assert(slice_eq_str(header.key, "empty"));
        cr_assert(slice_is_null(header.value));
        cr_assert_not(record_header_next(&record.headers, &header));
    }
    cr_assert_not(record_next(&r, &record));
    cr_assert_eq(r.err, ERR_NONE);
}

Test(record, kafkas_records_are_read_from_every_codec)
{
    expect_fixture_records(FIXTURE(v2_none), 0);
    expect_fixture_records(FIXTURE(v2_gzip), 0);
    expect_fixture_records(FIXTURE(v2_snappy), 0);
    expect_fixture_records(FIXTURE(v2_lz4), 0);
    expect_fixture_records(FIXTURE(v2_zstd), 0);
    expect_fixture_records(FIXTURE(v2_transactional), 100);
}

Test(record, append_time_is_every_records_timestamp)
{
    struct record_reader r;
    struct record record;

    open_ok(&r, FIXTURE(v2_append_time));
    while (record_next(&r, &record))
        cr_assert_eq(record.timestamp, 1700000009999);
    cr_assert_eq(r.err, ERR_NONE);
}

Test(record, a_marker_is_read)
{
    struct record_reader r;
    struct record record;
    /* version 0, type 1 COMMIT; version 0, coordinator epoch 3 */
    const uint8_t key[] = {0, 0, 0, 1};
    const uint8_t value[] = {0, 0, 0, 0, 0, 3};

    open_ok(&r, FIXTURE(v2_commit));
    cr_assert(record_next(&r, &record));
    cr_assert_eq(record.offset, 103);
    cr_assert(slice_eq(record.key, slice_of(key, sizeof key)));
    cr_assert(slice_eq(record.value, slice_of(value, sizeof value)));
    cr_assert_not(record_next(&r, &record));
    cr_assert_eq(r.err, ERR_NONE);
}

/* ---- the builder --------------------------------------------------------- */

Test(record, builder_writes_kafkas_bytes)
{
    const struct record_header headers[] = {{SLICE("h"), SLICE("x")},
                                            {SLICE("empty"), SLICE_NULL}};
    struct batch_options options = BATCH_OPTIONS_INIT;

    batch_builder_append(&builder, 1700000000000, SLICE("key-0"),
                         SLICE("value-0"), headers, 2);
    append(1700000000500, NULL, "value-1");
    append(1700000000200, "key-2", NULL);
    cr_assert_eq(batch_builder_size_bytes(&builder), sizeof fixture_v2_none);
    options.leader_epoch = 5;
    cr_assert(slice_eq(finish(options), FIXTURE(v2_none)));
    cr_assert_eq(builder.count, 0);
}

Test(record, builder_writes_kafkas_transactional_bytes)
{
    struct record_reader r;
    struct record record;
    struct batch_options options = BATCH_OPTIONS_INIT;

    open_ok(&r, FIXTURE(v2_transactional));
    while (record_next(&r, &record))
        batch_builder_append_encoded(&builder, record.offset_delta,
                                     record.timestamp, record.key, record.value,
                                     record.headers_count, record.headers);
    options.base_offset = 100;
    options.leader_epoch = 5;
    options.producer_id = 4242;
    options.producer_epoch = 7;
    options.base_sequence = 11;
    options.attributes = BATCH_TRANSACTIONAL;
    cr_assert(slice_eq(finish(options), FIXTURE(v2_transactional)));
}

Test(record, built_batches_are_valid_in_every_codec)
{
    for (int type = COMPRESSION_NONE; type <= COMPRESSION_ZSTD; type++) {
        struct batch_options options = BATCH_OPTIONS_INIT;
        struct record_report report;
        struct batch b;
        const char *why;

        for (int i = 0; i < 1000; i++)
            append(1000 - i, i % 2 ? "odd" : NULL, "value");
        options.compression = (enum compression)type;
        struct slice bytes = finish(options);
        cr_assert_eq(batch_parse(bytes, &b), ERR_NONE);
        cr_assert_eq(batch_validate(bytes, &b, &why), ERR_NONE, "%s", why);
        cr_assert_eq(b.records_count, 1000);
        cr_assert_eq(b.base_timestamp, 1000);
        cr_assert_eq(b.max_timestamp, 1000);
        cr_assert_eq(validate(bytes, RECORD_RULES_NONE, &report), ERR_NONE);
        cr_assert_eq(report.max_timestamp, 1000);
        cr_assert_eq(report.max_timestamp_offset, 0);
    }
}

Test(record, timestamps_far_apart_survive_the_delta)
{
    const int64_t times[] = {INT64_MIN, INT64_MAX, -1, 0};
    struct record_reader r;
    struct record record;

    for (int i = 0; i < 4; i++)
        append(times[i], NULL, NULL);
    open_ok(&r, finish(BATCH_OPTIONS_INIT));
    for (int i = 0; i < 4; i++) {
        cr_assert(record_next(&r, &record));
        cr_assert_eq(record.timestamp, times[i]);
    }
}

/* ---- validation ---------------------------------------------------------- */

/* A batch around hand-made record bytes. */
static struct slice around(int32_t count, struct slice records)
{
    struct batch header = {.producer_id = -1,
                           .producer_epoch = -1,
                           .base_sequence = -1,
                           .records_count = count,
                           .last_offset_delta = count - 1};

    out.len = 0;
    size_t start = batch_begin(&out);
    buf_put_slice(&out, records);
    batch_end(&out, start, &header);
    return buf_slice(&out);
}

Test(record, what_is_inside_is_checked)
{
    /* length, attributes, timestamp delta, offset delta, key length, value
     * length, header count; varints are zigzag: 12 is 6, 1 is -1. */
    static const struct {
        const char *what;
        int32_t count;
        struct slice records;
        enum err err;
    } cases[] = {
        {"smallest record", 1, {(const uint8_t *)"\x0c\0\0\0\1\1\0", 7}, 0},
        {"empty key and value", 1, {(const uint8_t *)"\x0c\0\0\0\0\0\0", 7}, 0},
        {"a second record is missing",
         2,
         {(const uint8_t *)"\x0c\0\0\0\1\1\0", 7},
         ERR_INVALID_RECORD},
        {"a byte is left",
         1,
         {(const uint8_t *)"\x0c\0\0\0\1\1\0\0", 8},
         ERR_INVALID_RECORD},
        {"length too short",
         1,
         {(const uint8_t *)"\x0a\0\0\0\1\1\0", 7},
         ERR_INVALID_RECORD},
        {"length too long",
         1,
         {(const uint8_t *)"\x0e\0\0\0\1\1\0\0", 8},
         ERR_INVALID_RECORD},
        {"negative length",
         1,
         {(const uint8_t *)"\x01\0\0\0\1\1\0", 7},
         ERR_INVALID_RECORD},
        {"first delta is 1",
         1,
         {(const uint8_t *)"\x0c\0\0\2\1\1\0", 7},
         ERR_INVALID_RECORD},
        {"key length -2",
         1,
         {(const uint8_t *)"\x0c\0\0\0\3\1\0", 7},
         ERR_INVALID_RECORD},
        {"value reaches out of its record",
         2,
         {(const uint8_t *)"\x0c\0\0\0\1\2\0\x0c\0\0\2\1\1\0", 14},
         ERR_INVALID_RECORD},
        {"header without key",
         1,
         {(const uint8_t *)"\x10\0\0\0\1\1\2\1\1", 9},
         ERR_INVALID_RECORD},
        {"header with empty key and null value",
         1,
         {(const uint8_t *)"\x10\0\0\0\1\1\2\0\1", 9},
         0},
        {"negative header count",
         1,
         {(const uint8_t *)"\x0c\0\0\0\1\1\1", 7},
         ERR_INVALID_RECORD},
        {"two thousand million headers",
         1,
         {(const uint8_t *)"\x14\0\0\0\1\1\xfe\xff\xff\xff\x0f", 11},
         ERR_INVALID_RECORD},
        {"no records at all", 1, {(const uint8_t *)"", 0}, ERR_INVALID_RECORD},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct record_report report;
        enum err err = validate(around(cases[i].count, cases[i].records),
                                RECORD_RULES_NONE, &report);

        cr_assert_eq(err, cases[i].err, "%s: %s", cases[i].what, err_name(err));
        cr_assert_eq(report.why[0] == '\0', err == ERR_NONE);
    }
}

Test(record, offset_deltas_must_be_contiguous)
{
    struct record_report report;

    append(0, "a", "a");
    batch_builder_append_encoded(&builder, 2, 0, SLICE("b"), SLICE("b"), 0,
                                 SLICE_NULL);
    cr_assert_eq(
        validate(finish(BATCH_OPTIONS_INIT), RECORD_RULES_NONE, &report),
        ERR_INVALID_RECORD);
}

Test(record, missing_keys_are_all_listed)
{
    struct record_rules rules = RECORD_RULES_NONE;
    struct record_report report;

    rules.key_required = true;
    for (int i = 0; i < 100; i++)
        append(i, i % 2 ? "" : NULL, "v");
    cr_assert_eq(validate(finish(BATCH_OPTIONS_INIT), rules, &report),
                 ERR_INVALID_RECORD);
    cr_assert_eq(report.faults_count, 50);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(report.faults[i].index, 2 * i);
}

Test(record, timestamps_out_of_range_are_listed_and_none_passes)
{
    struct record_rules rules = {false, 1000, 2000};
    struct record_report report;
    const int64_t times[] = {999, 1000, 2000, 2001, -1};

    for (int i = 0; i < 5; i++)
        append(times[i], "k", "v");
    cr_assert_eq(validate(finish(BATCH_OPTIONS_INIT), rules, &report),
                 ERR_INVALID_TIMESTAMP);
    cr_assert_eq(report.faults_count, 2);
    cr_assert_eq(report.faults[0].index, 0);
    cr_assert_eq(report.faults[1].index, 3);

    rules.key_required = true;
    append(999, "k", "v");
    append(1000, NULL, "v");
    cr_assert_eq(validate(finish(BATCH_OPTIONS_INIT), rules, &report),
                 ERR_INVALID_RECORD, "a missing key outweighs a timestamp");
    cr_assert_eq(report.faults_count, 2);
}

Test(record, a_long_list_of_faults_stops_with_its_arena)
{
    struct record_rules rules = RECORD_RULES_NONE;
    struct record_report report;

    arena.limit_bytes = 1024;
    rules.key_required = true;
    for (int i = 0; i < 1000; i++)
        append(i, NULL, "v");
    cr_assert_eq(validate(finish(BATCH_OPTIONS_INIT), rules, &report),
                 ERR_INVALID_RECORD);
    cr_assert_geq(report.faults_count, 16);
    cr_assert_lt(report.faults_count, 1000);
}

Test(record, a_bomb_is_too_large_and_garbage_is_corrupt)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct record_report report;
    size_t len = 4 * LIMIT;
    uint8_t *zeros = xcalloc(1, len);

    options.compression = COMPRESSION_ZSTD;
    batch_builder_append(&builder, 0, SLICE_NULL, slice_of(zeros, len), NULL,
                         0);
    cr_assert_eq(validate(finish(options), RECORD_RULES_NONE, &report),
                 ERR_MESSAGE_TOO_LARGE);
    free(zeros);

    append(0, "k", "v");
    struct slice bytes = finish(BATCH_OPTIONS_INIT);
    be16_put(out.data + BATCH_ATTRIBUTES_AT, COMPRESSION_GZIP);
    cr_assert_eq(validate(bytes, RECORD_RULES_NONE, &report),
                 ERR_CORRUPT_MESSAGE);
}

/* Headers are honest, bodies are not: any byte, any codec. */
Test(record, flipped_and_cut_bodies_are_survived)
{
    const struct slice all[] = {FIXTURE(v2_none), FIXTURE(v2_gzip),
                                FIXTURE(v2_snappy), FIXTURE(v2_lz4),
                                FIXTURE(v2_zstd)};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t at = BATCH_HEADER_BYTES; at < all[i].len; at++) {
            struct record_report report;
            uint8_t *bytes = xmemdup(all[i].data, all[i].len);

            for (int value = 0; value < 256; value += 5) {
                bytes[at] = (uint8_t)value;
                validate(slice_of(bytes, all[i].len), RECORD_RULES_NONE,
                         &report);
            }
            free(bytes);
            bytes = xmemdup(all[i].data, at);
            be32_put(bytes + BATCH_LENGTH_AT,
                     (uint32_t)at - BATCH_PREFIX_BYTES);
            cr_assert_neq(
                validate(slice_of(bytes, at), RECORD_RULES_NONE, &report),
                ERR_NONE, "codec %zu cut at %zu", i, at);
            free(bytes);
        }
    }
}

/* ---- by time ------------------------------------------------------------- */

Test(record, the_first_record_at_or_after_a_time)
{
    static const struct {
        int64_t target, from, offset, timestamp;
    } cases[] = {
        {0, 0, 100, 1700000000000},
        {1700000000000, 0, 100, 1700000000000},
        {1700000000001, 0, 101, 1700000000500},
        {1700000000500, 0, 101, 1700000000500},
        {1700000000501, 0, -1, -1},
        {0, 101, 101, 1700000000500},
        {0, 102, 102, 1700000000200},
        {0, 103, -1, -1},
        {INT64_MIN, INT64_MIN, 100, 1700000000000},
    };
    struct batch b;

    cr_assert_eq(batch_parse(FIXTURE(v2_transactional), &b), ERR_NONE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct record_position found;

        cr_assert_eq(record_find_timestamp(codec, FIXTURE(v2_transactional), &b,
                                           cases[i].target, cases[i].from,
                                           LIMIT, &scratch, &found),
                     ERR_NONE);
        cr_assert_eq(found.offset, cases[i].offset, "case %zu", i);
        cr_assert_eq(found.timestamp, cases[i].timestamp);
    }
}

Test(record, the_greatest_timestamp_is_its_first_record)
{
    struct record_position found;
    struct batch b;

    cr_assert_eq(batch_parse(FIXTURE(v2_zstd), &b), ERR_NONE);
    cr_assert_eq(record_find_max_timestamp(codec, FIXTURE(v2_zstd), &b, LIMIT,
                                           &scratch, &found),
                 ERR_NONE);
    cr_assert_eq(found.offset, 1);
    cr_assert_eq(found.timestamp, 1700000000500);
    cr_assert_eq(batch_parse(FIXTURE(v2_append_time), &b), ERR_NONE);
    cr_assert_eq(record_find_max_timestamp(codec, FIXTURE(v2_append_time), &b,
                                           LIMIT, &scratch, &found),
                 ERR_NONE);
    cr_assert_eq(found.offset, 100);
    cr_assert_eq(found.timestamp, 1700000009999);
}
