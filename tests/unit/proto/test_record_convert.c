#include "proto/record/builder.h"
#include "tests/unit/proto/record_sets.h"

enum { NOW = 1700000009 };

static struct arena arena;

static void set_up_arena(void)
{
    set_up();
    arena_init(&arena, 0);
}

static void tear_down_arena(void)
{
    arena_free(&arena);
    tear_down();
}

TestSuite(convert, .init = set_up_arena, .fini = tear_down_arena);

/* ---- up ------------------------------------------------------------------ */

static struct message_set_up up_defaults(void)
{
    return (struct message_set_up){
        .rules = RECORD_RULES_NONE,
        .keep_compression = true,
        .level = CODEC_LEVEL_DEFAULT,
        .limit_bytes = LIMIT,
    };
}

static enum err up(struct slice set, struct message_set_up how, struct batch *b,
                   struct record_report *report)
{
    const char *why;

    out.len = 0;
    enum err err = message_set_up(codec, set, &how, &arena, &out, report);
    cr_assert_eq(report->why[0] == '\0', err == ERR_NONE);
    if (err != ERR_NONE) {
        cr_assert_eq(out.len, 0);
        return err;
    }
    cr_assert_eq(batch_parse(buf_slice(&out), b), ERR_NONE);
    cr_assert_eq(b->size_bytes, out.len, "exactly one batch");
    if ((b->attributes & BATCH_LOG_APPEND_TIME) == 0)
        cr_assert_eq(batch_validate(buf_slice(&out), b, &why), ERR_NONE);
    return ERR_NONE;
}

Test(convert, up_keeps_codec_keys_values_and_timestamps)
{
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct record_report report;
        struct batch b;

        cr_assert_eq(up(sets[i], up_defaults(), &b, &report), ERR_NONE);
        cr_assert_eq(batch_compression(&b), (enum compression)(i % 4));
        cr_assert_str_eq(batch_listing(buf_slice(&out)),
                         i < 4 ? magic1_listing : magic0_listing);
        cr_assert_eq(b.base_timestamp, i < 4 ? 1700000000000 : -1);
        cr_assert_eq(b.max_timestamp, i < 4 ? 1700000000500 : -1);
        cr_assert_eq(b.producer_id, -1);
        cr_assert_eq(report.max_timestamp, b.max_timestamp);
        cr_assert_eq(report.max_timestamp_offset, i < 4 ? 1 : 0);
    }
}

Test(convert, up_to_the_topics_codec)
{
    struct message_set_up how = up_defaults();
    struct record_report report;
    struct batch b;

    how.keep_compression = false;
    how.compression = COMPRESSION_ZSTD;
    cr_assert_eq(up(FIXTURE(v0_lz4), how, &b, &report), ERR_NONE);
    cr_assert_eq(batch_compression(&b), COMPRESSION_ZSTD);
    how.compression = COMPRESSION_NONE;
    cr_assert_eq(up(FIXTURE(v0_lz4), how, &b, &report), ERR_NONE);
    cr_assert_eq(batch_compression(&b), COMPRESSION_NONE);
    cr_assert_str_eq(batch_listing(buf_slice(&out)), magic0_listing);
}

Test(convert, up_stamps_append_time)
{
    struct message_set_up how = up_defaults();
    struct record_report report;
    struct batch b;

    how.append_time = true;
    how.append_time_ms = NOW;
    cr_assert_eq(up(FIXTURE(v0_gzip), how, &b, &report), ERR_NONE);
    cr_assert_eq(b.max_timestamp, NOW);
    cr_assert_str_eq(batch_listing(buf_slice(&out)),
                     "0@1700000009! key-0=value-0\n"
                     "1@1700000009! null=value-1\n"
                     "2@1700000009! key-2=null\n");
}

Test(convert, up_numbers_anew_whatever_the_offsets_say)
{
    struct record_report report;
    struct buf set = BUF_INIT;
    struct buf inside = BUF_INIT;
    struct batch b;

    put_entry(&set, (struct entry){77, 0, 0, 0, SLICE("a"), SLICE("1")});
    put_entry(&inside, (struct entry){0, 1, 0, 8, SLICE("b"), SLICE("2")});
    put_entry(&inside, (struct entry){0, 1, 0, 9, SLICE("c"), SLICE("3")});
    put_wrapper(&set, 0, COMPRESSION_GZIP, 0, &inside);
    cr_assert_eq(up(buf_slice(&set), up_defaults(), &b, &report), ERR_NONE);
    cr_assert_str_eq(batch_listing(buf_slice(&out)),
                     "0@-1 a=1\n1@8 b=2\n2@9 c=3\n");
    buf_free(&set);
}

Test(convert, up_reports_broken_rules)
{
    struct message_set_up how = up_defaults();
    struct record_report report;
    struct batch b;

    how.rules.key_required = true;
    cr_assert_eq(up(FIXTURE(v1_gzip), how, &b, &report), ERR_INVALID_RECORD);
    cr_assert_eq(report.faults_count, 1);
    cr_assert_eq(report.faults[0].index, 1);
    how = up_defaults();
    how.rules.timestamp_max = 1700000000199;
    cr_assert_eq(up(FIXTURE(v1_none), how, &b, &report), ERR_INVALID_TIMESTAMP);
    cr_assert_eq(report.faults_count, 2);
    cr_assert_eq(up(FIXTURE(v0_none), how, &b, &report), ERR_NONE);
}

Test(convert, up_refuses_append_time_bombs_and_damage)
{
    struct message_set_up how = up_defaults();
    struct record_report report;
    struct batch b;

    cr_assert_eq(up(FIXTURE(v1_gzip_append_time), how, &b, &report),
                 ERR_INVALID_TIMESTAMP);
    how.limit_bytes = 20;
    cr_assert_eq(up(FIXTURE(v1_gzip), how, &b, &report), ERR_MESSAGE_TOO_LARGE);
    cr_assert_eq(up(slice_of(fixture_v1_none, 50), how, &b, &report),
                 ERR_CORRUPT_MESSAGE);
}

Test(convert, up_of_nothing_is_nothing)
{
    struct message_set_up how = up_defaults();
    struct record_report report;

    cr_assert_eq(message_set_up(codec, SLICE(""), &how, &arena, &out, &report),
                 ERR_NONE);
    cr_assert_eq(out.len, 0);
}

/* ---- down ---------------------------------------------------------------- */

static enum err down(struct slice batches, int8_t magic, int64_t first_offset,
                     size_t max_bytes, size_t *consumed)
{
    const struct message_set_down how = {magic, first_offset, max_bytes, LIMIT,
                                         LIMIT};

    out.len = 0;
    return message_set_down(codec, batches, &how, &out, consumed);
}

Test(convert, down_writes_kafkas_bytes)
{
    size_t consumed;

    cr_assert_eq(down(FIXTURE(v2_none), 1, 0, LIMIT, &consumed), ERR_NONE);
    cr_assert_eq(consumed, sizeof fixture_v2_none);
    cr_assert(slice_eq(buf_slice(&out), FIXTURE(v1_none)));
    cr_assert_eq(down(FIXTURE(v2_none), 0, 0, LIMIT, &consumed), ERR_NONE);
    cr_assert(slice_eq(buf_slice(&out), FIXTURE(v0_none)));
}

Test(convert, down_keeps_codec_offsets_and_timestamps)
{
    const struct slice batches[] = {FIXTURE(v2_gzip), FIXTURE(v2_snappy),
                                    FIXTURE(v2_lz4)};

    for (size_t i = 0; i < 3; i++) {
        uint8_t *bytes = xmemdup(batches[i].data, batches[i].len);
        size_t consumed;

        batch_patch(bytes, 100, 1);
        for (int8_t magic = 0; magic < 2; magic++) {
            cr_assert_eq(down(slice_of(bytes, batches[i].len), magic, 0, LIMIT,
                              &consumed),
                         ERR_NONE);
            /* One wrapper with the last offset and, with magic 1, the
             * greatest timestamp. */
            cr_assert_eq(12 + be32_get(out.data + 8), out.len);
            cr_assert_eq(be64_get(out.data), 102);
            cr_assert_eq(out.data[17], i + 1);
            if (magic == 1)
                cr_assert_eq(be64_get(out.data + 18), 1700000000500);
            expect_listing(buf_slice(&out),
                           magic == 1 ? "100@1700000000000 key-0=value-0\n"
                                        "101@1700000000500 null=value-1\n"
                                        "102@1700000000200 key-2=null\n"
                                      : "100@-1 key-0=value-0\n"
                                        "101@-1 null=value-1\n"
                                        "102@-1 key-2=null\n");
        }
        free(bytes);
    }
}

/* kafka-node counts them so: from 0 with magic 1, absolute with magic 0. */
Test(convert, down_numbers_the_inside_of_a_wrapper_as_kafka_does)
{
    enum { VALUE_AT_MAGIC_1 = 34, VALUE_AT_MAGIC_0 = 26 };
    struct buf batch = BUF_INIT;
    struct buf inside = BUF_INIT;
    size_t consumed;

    buf_put_slice(&batch, FIXTURE(v2_gzip));
    batch_patch(batch.data, 100, 1);
    cr_assert_eq(down(buf_slice(&batch), 1, 0, LIMIT, &consumed), ERR_NONE);
    cr_assert_eq(codec_decode(codec, COMPRESSION_GZIP, 1,
                              slice_of(out.data + VALUE_AT_MAGIC_1,
                                       out.len - VALUE_AT_MAGIC_1),
                              LIMIT, &inside),
                 ERR_NONE);
    cr_assert(slice_eq(buf_slice(&inside), FIXTURE(v1_none)));
    inside.len = 0;
    cr_assert_eq(down(buf_slice(&batch), 0, 0, LIMIT, &consumed), ERR_NONE);
    cr_assert_eq(codec_decode(codec, COMPRESSION_GZIP, 0,
                              slice_of(out.data + VALUE_AT_MAGIC_0,
                                       out.len - VALUE_AT_MAGIC_0),
                              LIMIT, &inside),
                 ERR_NONE);
    cr_assert_eq(be64_get(inside.data), 100);
    buf_free(&batch);
    buf_free(&inside);
}

Test(convert, down_keeps_append_time)
{
    size_t consumed;

    cr_assert_eq(down(FIXTURE(v2_append_time), 1, 0, LIMIT, &consumed),
                 ERR_NONE);
    expect_listing(buf_slice(&out), "100@1700000009999! key-0=value-0\n"
                                    "101@1700000009999! null=value-1\n"
                                    "102@1700000009999! key-2=null\n");
    cr_assert_eq(down(FIXTURE(v2_append_time), 0, 0, LIMIT, &consumed),
                 ERR_NONE);
    cr_assert_eq(out.data[17], 0, "magic 0 has no such bit");
}

Test(convert, down_leaves_out_markers_and_what_lies_before_the_offset)
{
    struct buf log = BUF_INIT;
    size_t consumed;

    buf_put_slice(&log, FIXTURE(v2_commit));
    buf_put_slice(&log, FIXTURE(v2_transactional));
    buf_put_slice(&log, FIXTURE(v2_commit));
    cr_assert_eq(down(buf_slice(&log), 1, 101, LIMIT, &consumed), ERR_NONE);
    cr_assert_eq(consumed, log.len);
    expect_listing(buf_slice(&out), "101@1700000000500 null=value-1\n"
                                    "102@1700000000200 key-2=null\n");
    cr_assert_eq(down(FIXTURE(v2_commit), 1, 0, LIMIT, &consumed), ERR_NONE);
    cr_assert_eq(out.len, 0);
    cr_assert_eq(consumed, sizeof fixture_v2_commit);
    cr_assert_eq(down(FIXTURE(v2_gzip), 1, 1, LIMIT, &consumed), ERR_NONE);
    expect_listing(buf_slice(&out), "1@1700000000500 null=value-1\n"
                                    "2@1700000000200 key-2=null\n");
    buf_free(&log);
}

Test(convert, down_stops_at_a_batch_when_the_room_is_used)
{
    const size_t each = sizeof fixture_v1_none;
    struct buf log = BUF_INIT;
    size_t consumed;

    for (int i = 0; i < 3; i++)
        buf_put_slice(&log, FIXTURE(v2_none));
    cr_assert_eq(down(buf_slice(&log), 1, 0, 2 * each, &consumed), ERR_NONE);
    cr_assert_eq(out.len, 2 * each);
    cr_assert_eq(consumed, 2 * sizeof fixture_v2_none);
    cr_assert_eq(down(buf_slice(&log), 1, 0, 2 * each - 1, &consumed),
                 ERR_NONE);
    cr_assert_eq(out.len, each);
    cr_assert_eq(down(buf_slice(&log), 1, 0, 1, &consumed), ERR_NONE);
    cr_assert_eq(out.len, each, "the first one comes whole");
    cr_assert_eq(down(slice_of(log.data, log.len - 1), 1, 0, LIMIT, &consumed),
                 ERR_NONE);
    cr_assert_eq(out.len, 2 * each, "a cut-off batch is left alone");
    cr_assert_eq(consumed, 2 * sizeof fixture_v2_none);
    buf_free(&log);
}

Test(convert, down_meets_zstd_and_damage_first_or_later)
{
    struct buf log = BUF_INIT;
    size_t consumed;

    cr_assert_eq(down(FIXTURE(v2_zstd), 1, 0, LIMIT, &consumed),
                 ERR_UNSUPPORTED_COMPRESSION_TYPE);
    cr_assert_eq(consumed, 0);
    buf_put_slice(&log, FIXTURE(v2_gzip));
    buf_put_slice(&log, FIXTURE(v2_zstd));
    cr_assert_eq(down(buf_slice(&log), 1, 0, LIMIT, &consumed), ERR_NONE);
    cr_assert_eq(consumed, sizeof fixture_v2_gzip);
    expect_listing(buf_slice(&out), magic1_listing);

    log.len = 0;
    buf_put_slice(&log, FIXTURE(v2_none));
    log.data[BATCH_HEADER_BYTES]++;
    cr_assert_eq(down(buf_slice(&log), 1, 0, LIMIT, &consumed),
                 ERR_INVALID_RECORD);
    cr_assert_eq(out.len, 0);
    buf_free(&log);
}

/* 7 bytes of a smallest record become 34 of a message. */
Test(convert, down_is_bounded)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct batch_builder builder;
    struct buf log = BUF_INIT;
    size_t consumed;

    batch_builder_init(&builder);
    for (int i = 0; i < LIMIT / 20; i++)
        batch_builder_append(&builder, 0, SLICE_NULL, SLICE_NULL, NULL, 0);
    options.compression = COMPRESSION_GZIP;
    batch_builder_finish(&builder, &options, codec, &log);
    cr_assert_eq(down(buf_slice(&log), 1, 0, LIMIT, &consumed),
                 ERR_MESSAGE_TOO_LARGE);
    cr_assert_eq(out.len, 0);
    batch_builder_free(&builder);
    buf_free(&log);
}

/* Each batch may expand to the limit, and a range may have many of them. */
Test(convert, down_begins_no_other_batch_when_enough_has_come_out)
{
    struct message_set_down how = {1, 0, LIMIT, LIMIT, 1};
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct batch_builder builder;
    struct buf log = BUF_INIT;
    size_t consumed, one;

    batch_builder_init(&builder);
    options.compression = COMPRESSION_GZIP;
    for (int i = 0; i < 2; i++) {
        options.base_offset = i;
        one = log.len;
        batch_builder_append(&builder, 0, SLICE_NULL, SLICE("value"), NULL, 0);
        batch_builder_finish(&builder, &options, codec, &log);
    }
    cr_assert_eq(
        message_set_down(codec, buf_slice(&log), &how, &out, &consumed),
        ERR_NONE);
    cr_assert_eq(consumed, one);
    out.len = 0;
    how.total_bytes = LIMIT;
    cr_assert_eq(
        message_set_down(codec, buf_slice(&log), &how, &out, &consumed),
        ERR_NONE);
    cr_assert_eq(consumed, log.len);
    batch_builder_free(&builder);
    buf_free(&log);
}

Test(convert, up_and_down_again_is_what_it_was)
{
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct record_report report;
        struct batch b;
        size_t consumed;

        cr_assert_eq(up(sets[i], up_defaults(), &b, &report), ERR_NONE);
        struct slice batch = slice_of(xmemdup(out.data, out.len), out.len);
        cr_assert_eq(down(batch, i < 4, 0, LIMIT, &consumed), ERR_NONE);
        if (i % 4 == 0)
            cr_assert(slice_eq(buf_slice(&out), sets[i]));
        expect_listing(buf_slice(&out),
                       i < 4 ? magic1_listing : magic0_listing);
        free((void *)(uintptr_t)batch.data);
    }
}

Test(convert, overflow_looks_like_a_message_larger_than_the_room)
{
    message_set_put_overflow(&out, 1000);
    cr_assert_eq(out.len, 12);
    cr_assert_eq(be64_get(out.data), UINT64_MAX);
    cr_assert_eq(be32_get(out.data + 8), 1001);
}
