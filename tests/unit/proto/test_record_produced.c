#include "proto/record/produced.h"

#include "base/crc32c.h"
#include "proto/record/builder.h"
#include "proto/record/recompress.h"
#include "tests/unit/proto/record_fixtures.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { LIMIT = 1 << 20 };
static const int64_t now = 1700000000600; /* just after the fixtures */

static struct codec *codec;
static struct buf scratch;
static struct buf out;
static struct arena arena;
static struct buf bytes; /* what the request carries */

static void set_up(void)
{
    codec = codec_new();
    scratch = BUF_INIT;
    out = BUF_INIT;
    bytes = BUF_INIT;
    arena_init(&arena, 0);
}

static void tear_down(void)
{
    codec_free(codec);
    buf_free(&scratch);
    buf_free(&out);
    buf_free(&bytes);
    arena_free(&arena);
}

TestSuite(produced, .init = set_up, .fini = tear_down);
TestSuite(recompress, .init = set_up, .fini = tear_down);

/* A topic with Kafka's defaults and a new client. */
static struct produced_rules defaults(void)
{
    return (struct produced_rules){
        .api_version = 9,
        .max_message_bytes = 1048588,
        .keep_compression = true,
        .level = CODEC_LEVEL_DEFAULT,
        .now_ms = now,
        .before_max_ms = INT64_MAX,
        .after_max_ms = 3600000,
        .limit_bytes = LIMIT,
    };
}

/* Prepares a copy of `fixture`; whatever comes out is one sound batch. */
static enum err prepare(struct slice fixture, struct produced_rules rules,
                        struct produced *p)
{
    bytes.len = 0;
    buf_put_slice(&bytes, fixture);
    enum err err = produced_prepare(codec, bytes.data, bytes.len, &rules,
                                    &scratch, &arena, &out, p);
    cr_assert_eq(p->report.why[0] == '\0', err == ERR_NONE);
    if (err == ERR_NONE) {
        size_t len = p->converted ? out.len : bytes.len;
        struct batch b;

        cr_assert_eq(p->bytes, p->converted ? out.data : bytes.data);
        cr_assert_eq(batch_parse(slice_of(p->bytes, len), &b), ERR_NONE);
        cr_assert_eq(b.size_bytes, len);
        cr_assert(batch_crc_ok(slice_of(p->bytes, len), &b));
        cr_assert_eq(b.crc, p->batch.crc, "the header handed out is current");
        cr_assert_eq(b.size_bytes, p->batch.size_bytes);
        cr_assert_eq(b.base_offset, 0);
    }
    return err;
}

static const struct slice by_codec[] = {
    {fixture_v2_none, sizeof fixture_v2_none},
    {fixture_v2_gzip, sizeof fixture_v2_gzip},
    {fixture_v2_snappy, sizeof fixture_v2_snappy},
    {fixture_v2_lz4, sizeof fixture_v2_lz4},
    {fixture_v2_zstd, sizeof fixture_v2_zstd},
};

static struct slice made(int64_t timestamp, const char *key)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct batch_builder b;

    batch_builder_init(&b);
    batch_builder_append(&b, timestamp, slice_str(key), SLICE("v"), NULL, 0);
    scratch.len = 0;
    batch_builder_finish(&b, &options, codec, &scratch);
    batch_builder_free(&b);
    return buf_slice(&scratch);
}

/* ---- batches ------------------------------------------------------------- */

Test(produced, a_batch_in_the_topics_codec_stays_as_it_is)
{
    for (int i = 0; i < 5; i++) {
        struct produced_rules rules = defaults();
        struct produced p;

        cr_assert_eq(prepare(by_codec[i], rules, &p), ERR_NONE);
        cr_assert_not(p.converted);
        cr_assert(slice_eq(buf_slice(&bytes), by_codec[i]));
        rules.keep_compression = false;
        rules.compression = (enum compression)i;
        rules.deep = true;
        cr_assert_eq(prepare(by_codec[i], rules, &p), ERR_NONE);
        cr_assert_not(p.converted);
        cr_assert(slice_eq(buf_slice(&bytes), by_codec[i]));
    }
}

Test(produced, any_codec_becomes_the_topics)
{
    for (int from = 0; from < 5; from++) {
        for (int to = 0; to < 5; to++) {
            struct produced_rules rules = defaults();
            struct produced p;

            rules.keep_compression = false;
            rules.compression = (enum compression)to;
            cr_assert_eq(prepare(by_codec[from], rules, &p), ERR_NONE);
            cr_assert_eq(p.converted, from != to);
            cr_assert_eq(batch_compression(&p.batch), (enum compression)to);
            cr_assert_eq(p.batch.max_timestamp, 1700000000500);
            if (to == COMPRESSION_NONE && p.converted)
                cr_assert_eq(
                    memcmp(out.data + BATCH_ATTRIBUTES_AT,
                           fixture_v2_none + BATCH_ATTRIBUTES_AT,
                           sizeof fixture_v2_none - BATCH_ATTRIBUTES_AT),
                    0);
        }
    }
}

Test(produced, append_time_is_stamped_in_place_and_after_conversion)
{
    struct produced_rules rules = defaults();
    struct produced p;

    rules.append_time = true;
    cr_assert_eq(prepare(FIXTURE(v2_gzip), rules, &p), ERR_NONE);
    cr_assert_not(p.converted);
    cr_assert_eq(p.batch.max_timestamp, now);
    cr_assert(p.batch.attributes & BATCH_LOG_APPEND_TIME);
    rules.keep_compression = false;
    rules.compression = COMPRESSION_ZSTD;
    cr_assert_eq(prepare(FIXTURE(v2_gzip), rules, &p), ERR_NONE);
    cr_assert_eq(p.batch.max_timestamp, now);
    cr_assert(p.batch.attributes & BATCH_LOG_APPEND_TIME);
    rules.api_version = 2;
    cr_assert_eq(prepare(FIXTURE(v1_gzip), rules, &p), ERR_NONE);
    cr_assert_eq(p.batch.max_timestamp, now);
    cr_assert(p.batch.attributes & BATCH_LOG_APPEND_TIME);
}

Test(produced, exactly_one_batch)
{
    struct produced p;
    struct buf two = BUF_INIT;

    buf_put_slice(&two, FIXTURE(v2_none));
    buf_put_slice(&two, FIXTURE(v2_none));
    cr_assert_eq(prepare(buf_slice(&two), defaults(), &p), ERR_INVALID_RECORD);
    for (size_t n = 0; n < sizeof fixture_v2_none; n++)
        cr_assert_eq(prepare(slice_of(fixture_v2_none, n), defaults(), &p),
                     ERR_INVALID_RECORD, "cut at %zu", n);
    two.len = sizeof fixture_v2_none + 1;
    cr_assert_eq(prepare(buf_slice(&two), defaults(), &p), ERR_INVALID_RECORD);
    buf_free(&two);
}

Test(produced, damage_is_corrupt)
{
    struct produced p;
    struct buf bad = BUF_INIT;

    buf_put_slice(&bad, FIXTURE(v2_none));
    bad.data[bad.len - 1]++;
    cr_assert_eq(prepare(buf_slice(&bad), defaults(), &p), ERR_CORRUPT_MESSAGE);
    be32_put(bad.data + BATCH_LENGTH_AT, 3);
    cr_assert_eq(prepare(buf_slice(&bad), defaults(), &p), ERR_CORRUPT_MESSAGE);
    buf_free(&bad);
}

Test(produced, format_must_suit_the_version)
{
    struct produced_rules rules = defaults();
    struct produced p;

    cr_assert_eq(prepare(FIXTURE(v1_none), rules, &p), ERR_INVALID_RECORD);
    cr_assert_eq(prepare(FIXTURE(v0_none), rules, &p), ERR_INVALID_RECORD);
    rules.api_version = 6;
    cr_assert_eq(prepare(FIXTURE(v2_lz4), rules, &p), ERR_NONE);
    cr_assert_eq(prepare(FIXTURE(v2_zstd), rules, &p),
                 ERR_UNSUPPORTED_COMPRESSION_TYPE);
    rules.api_version = 2;
    cr_assert_eq(prepare(FIXTURE(v2_none), rules, &p), ERR_NONE);
    bytes.len = 0;
    buf_put_slice(&bytes, FIXTURE(v2_none));
    bytes.data[BATCH_MAGIC_AT] = 3;
    struct buf copy = bytes;
    bytes = BUF_INIT;
    cr_assert_eq(prepare(buf_slice(&copy), rules, &p), ERR_INVALID_RECORD);
    buf_free(&copy);
}

Test(produced, size_is_checked_before_and_after_conversion)
{
    struct produced_rules rules = defaults();
    struct produced p;

    rules.max_message_bytes = sizeof fixture_v2_none;
    cr_assert_eq(prepare(FIXTURE(v2_none), rules, &p), ERR_NONE);
    rules.max_message_bytes--;
    cr_assert_eq(prepare(FIXTURE(v2_none), rules, &p), ERR_MESSAGE_TOO_LARGE);

    rules = defaults();
    rules.keep_compression = false;
    char *long_value = xmalloc(1000);
    memset(long_value, 'x', 999);
    long_value[999] = '\0';
    struct buf small = BUF_INIT;
    struct batch b;
    struct slice large = made(now, long_value);
    cr_assert_eq(batch_parse(large, &b), ERR_NONE);
    batch_pack(codec, &b,
               slice_of(large.data + BATCH_HEADER_BYTES,
                        large.len - BATCH_HEADER_BYTES),
               COMPRESSION_GZIP, 1, &small);
    cr_assert_eq(prepare(buf_slice(&small), rules, &p), ERR_NONE);
    rules.max_message_bytes = 500;
    cr_assert_eq(prepare(buf_slice(&small), rules, &p), ERR_MESSAGE_TOO_LARGE);
    rules.keep_compression = true;
    cr_assert_eq(prepare(buf_slice(&small), rules, &p), ERR_NONE);
    buf_free(&small);
    free(long_value);
}

Test(produced, times_too_far_off_are_refused)
{
    struct produced_rules rules = defaults();
    struct produced p;

    cr_assert_eq(prepare(made(now + 3600000, "k"), rules, &p), ERR_NONE);
    cr_assert_eq(prepare(made(now + 3600001, "k"), rules, &p),
                 ERR_INVALID_TIMESTAMP);
    cr_assert_eq(p.report.faults_count, 1);
    cr_assert_eq(prepare(made(0, "k"), rules, &p), ERR_NONE);
    rules.before_max_ms = 1000;
    cr_assert_eq(prepare(made(now - 1000, "k"), rules, &p), ERR_NONE);
    cr_assert_eq(prepare(made(now - 1001, "k"), rules, &p),
                 ERR_INVALID_TIMESTAMP);
    cr_assert_eq(prepare(made(-1, "k"), rules, &p), ERR_NONE);
    /* Compressed: too old to be seen in the header. */
    rules.before_max_ms = 500;
    cr_assert_eq(prepare(FIXTURE(v2_zstd), rules, &p), ERR_INVALID_TIMESTAMP);
    cr_assert_eq(p.report.faults_count, 1);
    cr_assert_eq(p.report.faults[0].index, 0);
    rules.append_time = true;
    cr_assert_eq(prepare(FIXTURE(v2_zstd), rules, &p), ERR_NONE);
}

Test(produced, compacted_topics_need_keys)
{
    struct produced_rules rules = defaults();
    struct produced p;

    rules.key_required = true;
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(prepare(by_codec[i], rules, &p), ERR_INVALID_RECORD);
        cr_assert_eq(p.report.faults_count, 1);
        cr_assert_eq(p.report.faults[0].index, 1);
    }
    rules.api_version = 1;
    cr_assert_eq(prepare(FIXTURE(v1_snappy), rules, &p), ERR_INVALID_RECORD);
    cr_assert_eq(p.report.faults_count, 1);
}

/* CRC right, records not: seen at once if plain, when expanded if not. */
Test(produced, records_that_do_not_decode_are_refused)
{
    struct produced_rules rules = defaults();
    struct produced p;
    struct buf bad = BUF_INIT;
    struct batch b;

    buf_put_slice(&bad, FIXTURE(v2_none));
    bad.data[BATCH_HEADER_BYTES + 3] = 2; /* offset delta 1 */
    be32_put(bad.data + BATCH_CRC_AT, crc32c(0, bad.data + BATCH_ATTRIBUTES_AT,
                                             bad.len - BATCH_ATTRIBUTES_AT));
    cr_assert_eq(prepare(buf_slice(&bad), rules, &p), ERR_INVALID_RECORD);
    cr_assert_eq(batch_parse(buf_slice(&bad), &b), ERR_NONE);
    struct buf packed = BUF_INIT;
    batch_pack(
        codec, &b,
        slice_of(bad.data + BATCH_HEADER_BYTES, bad.len - BATCH_HEADER_BYTES),
        COMPRESSION_LZ4, 1, &packed);
    cr_assert_eq(prepare(buf_slice(&packed), rules, &p), ERR_NONE);
    rules.deep = true;
    cr_assert_eq(prepare(buf_slice(&packed), rules, &p), ERR_INVALID_RECORD);
    buf_free(&bad);
    buf_free(&packed);
}

Test(produced, a_header_that_lies_about_time_is_put_right)
{
    struct produced p;
    struct buf bad = BUF_INIT;

    buf_put_slice(&bad, FIXTURE(v2_none));
    batch_patch_max_timestamp(bad.data, (uint32_t)bad.len, 77);
    cr_assert_eq(prepare(buf_slice(&bad), defaults(), &p), ERR_NONE);
    cr_assert_eq(p.batch.max_timestamp, 1700000000500);
    buf_free(&bad);
}

/* sarama before 1.45.1 left the greatest timestamp of a batch at -1. */
Test(produced, a_greatest_timestamp_that_is_missing_is_found)
{
    for (size_t i = 0; i < sizeof by_codec / sizeof *by_codec; i++) {
        struct produced p;
        struct buf bad = BUF_INIT;

        buf_put_slice(&bad, by_codec[i]);
        batch_patch_max_timestamp(bad.data, (uint32_t)bad.len, -1);
        cr_assert_eq(prepare(buf_slice(&bad), defaults(), &p), ERR_NONE);
        cr_assert_eq(p.batch.max_timestamp, 1700000000500, "codec %zu", i);
        buf_free(&bad);
    }
}

/* ---- message sets -------------------------------------------------------- */

Test(produced, message_sets_become_batches)
{
    const struct slice sets[] = {FIXTURE(v1_none), FIXTURE(v1_gzip),
                                 FIXTURE(v0_none), FIXTURE(v0_lz4)};
    const enum compression codecs[] = {COMPRESSION_NONE, COMPRESSION_GZIP,
                                       COMPRESSION_NONE, COMPRESSION_LZ4};

    for (int i = 0; i < 4; i++) {
        struct produced_rules rules = defaults();
        struct produced p;

        rules.api_version = (int16_t)(i % 3);
        cr_assert_eq(prepare(sets[i], rules, &p), ERR_NONE);
        cr_assert(p.converted);
        cr_assert_eq(p.batch.records_count, 3);
        cr_assert_eq(batch_compression(&p.batch), codecs[i]);
    }
}

Test(produced, the_size_limit_holds_for_each_message_and_for_the_batch)
{
    struct produced_rules rules = defaults();
    struct produced p;

    rules.api_version = 2;
    rules.max_message_bytes = BATCH_PREFIX_BYTES + 22 + 5 + 7 - 1;
    cr_assert_eq(prepare(FIXTURE(v1_none), rules, &p), ERR_MESSAGE_TOO_LARGE);
    cr_assert_eq(out.len, 0, "refused before the work");
    rules.max_message_bytes++;
    cr_assert_eq(prepare(FIXTURE(v1_none), rules, &p), ERR_MESSAGE_TOO_LARGE);
    cr_assert_neq(out.len, 0, "the batch is larger than each message");
    rules.max_message_bytes = (int32_t)out.len;
    cr_assert_eq(prepare(FIXTURE(v1_none), rules, &p), ERR_NONE);
}

Test(produced, an_empty_set_is_no_error_for_old_clients_only)
{
    struct produced_rules rules = defaults();
    struct produced p;

    rules.api_version = 2;
    cr_assert_eq(
        produced_prepare(codec, NULL, 0, &rules, &scratch, &arena, &out, &p),
        ERR_NONE);
    cr_assert_eq(p.batch.records_count, 0);
    rules.api_version = 3;
    cr_assert_eq(
        produced_prepare(codec, NULL, 0, &rules, &scratch, &arena, &out, &p),
        ERR_INVALID_RECORD);
}

/* Any byte of any format, checksum untouched or made right. */
Test(produced, every_changed_byte_is_survived)
{
    const struct slice all[] = {FIXTURE(v2_none), FIXTURE(v2_gzip),
                                FIXTURE(v2_zstd), FIXTURE(v1_none),
                                FIXTURE(v1_lz4),  FIXTURE(v0_snappy)};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct produced_rules rules = defaults();
        uint8_t *bad = xmemdup(all[i].data, all[i].len);

        rules.api_version = i < 3 ? 9 : 2;
        rules.deep = true;
        for (size_t at = 0; at < all[i].len; at++) {
            for (int value = 0; value < 256; value += 51) {
                struct produced p;

                bad[at] = (uint8_t)value;
                if (i < 3 && at >= BATCH_ATTRIBUTES_AT)
                    be32_put(bad + BATCH_CRC_AT,
                             crc32c(0, bad + BATCH_ATTRIBUTES_AT,
                                    all[i].len - BATCH_ATTRIBUTES_AT));
                prepare(slice_of(bad, all[i].len), rules, &p);
            }
            bad[at] = all[i].data[at];
        }
        free(bad);
    }
}

/* ---- recompress ---------------------------------------------------------- */

Test(recompress, header_and_records_are_kept)
{
    struct batch before, after;

    cr_assert_eq(batch_parse(FIXTURE(v2_transactional), &before), ERR_NONE);
    cr_assert_eq(batch_recompress(codec, FIXTURE(v2_transactional), &before,
                                  COMPRESSION_ZSTD, 1, LIMIT, &scratch, &bytes),
                 ERR_NONE);
    cr_assert_eq(batch_parse(buf_slice(&bytes), &after), ERR_NONE);
    cr_assert(batch_crc_ok(buf_slice(&bytes), &after));
    cr_assert_eq(after.attributes, BATCH_TRANSACTIONAL | COMPRESSION_ZSTD);
    cr_assert_eq(after.producer_id, 4242);
    cr_assert_eq(after.base_offset, 100);
    cr_assert_eq(batch_recompress(codec, buf_slice(&bytes), &after,
                                  COMPRESSION_NONE, 1, LIMIT, &scratch, &out),
                 ERR_NONE);
    cr_assert(slice_eq(buf_slice(&out), FIXTURE(v2_transactional)));
}

Test(recompress, markers_are_copied)
{
    struct batch b;

    cr_assert_eq(batch_parse(FIXTURE(v2_commit), &b), ERR_NONE);
    cr_assert_eq(batch_recompress(codec, FIXTURE(v2_commit), &b,
                                  COMPRESSION_GZIP, 1, LIMIT, &scratch, &out),
                 ERR_NONE);
    cr_assert(slice_eq(buf_slice(&out), FIXTURE(v2_commit)));
}

Test(recompress, the_limit_holds)
{
    struct batch b;

    cr_assert_eq(batch_parse(FIXTURE(v2_zstd), &b), ERR_NONE);
    cr_assert_eq(batch_recompress(codec, FIXTURE(v2_zstd), &b, COMPRESSION_NONE,
                                  1, 10, &scratch, &out),
                 ERR_MESSAGE_TOO_LARGE);
    cr_assert_eq(out.len, 0);
}
