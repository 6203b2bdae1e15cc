#include "proto/record/compression.h"

#include "tests/unit/proto/record_fixtures.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { MIB = 1024 * 1024 };

static struct codec *codec;
static struct buf out;

static void set_up(void)
{
    codec = codec_new();
    out = BUF_INIT;
}

static void tear_down(void)
{
    codec_free(codec);
    buf_free(&out);
}

TestSuite(compression, .init = set_up, .fini = tear_down);

static const enum compression all[] = {COMPRESSION_NONE, COMPRESSION_GZIP,
                                       COMPRESSION_SNAPPY, COMPRESSION_LZ4,
                                       COMPRESSION_ZSTD};
enum { ALL = sizeof all / sizeof *all };

/* `len` bytes that compress to about a third; the caller frees. */
static struct buf text(size_t len)
{
    struct buf b = BUF_INIT;
    uint32_t state = 1;

    while (b.len < len) {
        state = state * 1664525 + 1013904223;
        buf_printf(&b, "event %u of user %u; ", state >> 8, state >> 28);
    }
    b.len = len;
    return b;
}

static struct buf encoded(enum compression type, int level, int8_t magic,
                          struct slice in)
{
    struct buf b = BUF_INIT;

    codec_encode(codec, type, level, magic, in, &b);
    return b;
}

static enum err decoded(enum compression type, struct slice in, size_t limit)
{
    out.len = 0;
    return codec_decode(codec, type, 2, in, limit, &out);
}

Test(compression, bodies_that_kafka_compressed_expand_to_the_plain_one)
{
    const struct slice batches[ALL] = {FIXTURE(v2_none), FIXTURE(v2_gzip),
                                       FIXTURE(v2_snappy), FIXTURE(v2_lz4),
                                       FIXTURE(v2_zstd)};
    struct slice plain = slice_of(batches[0].data + BATCH_HEADER_BYTES,
                                  batches[0].len - BATCH_HEADER_BYTES);

    for (int i = 0; i < ALL; i++) {
        struct slice body = slice_of(batches[i].data + BATCH_HEADER_BYTES,
                                     batches[i].len - BATCH_HEADER_BYTES);

        cr_assert_eq(decoded(all[i], body, MIB), ERR_NONE);
        cr_assert(slice_eq(buf_slice(&out), plain), "%s",
                  compression_name(all[i]));
    }
}

Test(compression, round_trips_of_all_sizes_and_levels)
{
    const size_t sizes[] = {0, 1, 2, 100, 32767, 32768, 32769, 700000};
    const int levels[] = {
        CODEC_LEVEL_DEFAULT, INT_MIN + 1, -5, 0, 1, 3, 9, 12, 100};

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct buf in = text(sizes[s]);

        for (int i = 0; i < ALL; i++) {
            for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
                if (sizes[s] > 100 && levels[l] > 9)
                    continue;
                struct buf small =
                    encoded(all[i], levels[l], 2, buf_slice(&in));

                cr_assert_eq(decoded(all[i], buf_slice(&small), sizes[s]),
                             ERR_NONE, "%s level %d size %zu",
                             compression_name(all[i]), levels[l], sizes[s]);
                cr_assert(slice_eq(buf_slice(&out), buf_slice(&in)));
                if (i != COMPRESSION_NONE && sizes[s] > 30000 && levels[l] >= 1)
                    cr_assert_lt(small.len, in.len * 4 / 5);
                buf_free(&small);
            }
        }
        buf_free(&in);
    }
}

Test(compression, decoding_appends_and_an_error_takes_it_back)
{
    struct buf in = text(1000);

    for (int i = 0; i < ALL; i++) {
        struct buf small = encoded(all[i], 1, 2, buf_slice(&in));

        out.len = 0;
        buf_put_slice(&out, SLICE("before"));
        cr_assert_eq(
            codec_decode(codec, all[i], 2, buf_slice(&small), 999, &out),
            ERR_MESSAGE_TOO_LARGE, "%s", compression_name(all[i]));
        cr_assert_eq(out.len, 6);
        cr_assert_eq(
            codec_decode(codec, all[i], 2, buf_slice(&small), 1000, &out),
            ERR_NONE);
        cr_assert_eq(out.len, 1006);
        cr_assert_eq(memcmp(out.data, "before", 6), 0);
        buf_free(&small);
    }
    buf_free(&in);
}

Test(compression, snappy_is_taken_framed_bare_and_concatenated)
{
    /* "abcabcabc" as one literal of 3 and one copy of 6, offset 3. */
    const uint8_t bare[] = {9, 0x08, 'a', 'b', 'c', 0x16, 3, 0};
    struct buf framed = encoded(COMPRESSION_SNAPPY, 0, 2, SLICE("xyz"));
    struct buf twice = encoded(COMPRESSION_SNAPPY, 0, 2, SLICE("xyz"));

    cr_assert_eq(decoded(COMPRESSION_SNAPPY, slice_of(bare, sizeof bare), MIB),
                 ERR_NONE);
    cr_assert(slice_eq_str(buf_slice(&out), "abcabcabc"));
    buf_put_slice(&twice, buf_slice(&framed));
    cr_assert_eq(decoded(COMPRESSION_SNAPPY, buf_slice(&twice), MIB), ERR_NONE);
    cr_assert(slice_eq_str(buf_slice(&out), "xyzxyz"));
    buf_free(&framed);
    buf_free(&twice);
}

Test(compression, gzip_members_and_frames_may_follow_each_other)
{
    const enum compression types[] = {COMPRESSION_GZIP, COMPRESSION_LZ4,
                                      COMPRESSION_ZSTD};

    for (int i = 0; i < 3; i++) {
        struct buf b = encoded(types[i], 1, 2, SLICE("one "));
        struct buf more = encoded(types[i], 1, 2, SLICE("two"));

        buf_put_slice(&b, buf_slice(&more));
        cr_assert_eq(decoded(types[i], buf_slice(&b), MIB), ERR_NONE);
        cr_assert(slice_eq_str(buf_slice(&out), "one two"));
        buf_free(&b);
        buf_free(&more);
    }
}

/* KIP-57. */
Test(compression, lz4_header_checksum_depends_on_the_magic)
{
    struct slice in = SLICE("some text, some text, some text");
    struct buf old = encoded(COMPRESSION_LZ4, 1, 0, in);
    struct buf new = encoded(COMPRESSION_LZ4, 1, 1, in);

    cr_assert_eq(old.len, new.len);
    for (size_t i = 0; i < old.len; i++)
        cr_assert_eq(old.data[i] == new.data[i], i != 6,
                     "only the checksum differs: byte %zu", i);
    cr_assert_eq(
        codec_decode(codec, COMPRESSION_LZ4, 0, buf_slice(&old), MIB, &out),
        ERR_NONE);
    cr_assert(slice_eq(buf_slice(&out), in));
    cr_assert_eq(
        codec_decode(codec, COMPRESSION_LZ4, 1, buf_slice(&old), MIB, &out),
        ERR_NONE);
    cr_assert_eq(
        codec_decode(codec, COMPRESSION_LZ4, 0, buf_slice(&new), MIB, &out),
        ERR_NONE);
    cr_assert_eq(decoded(COMPRESSION_LZ4, buf_slice(&new), MIB), ERR_NONE);
    cr_assert_eq(decoded(COMPRESSION_LZ4, buf_slice(&old), MIB),
                 ERR_CORRUPT_MESSAGE);
    buf_free(&old);
    buf_free(&new);
}

Test(compression, unknown_codecs_and_zstd_in_message_sets_are_refused)
{
    struct buf small = encoded(COMPRESSION_ZSTD, 1, 2, SLICE("text"));

    for (int magic = 0; magic < 2; magic++)
        cr_assert_eq(codec_decode(codec, COMPRESSION_ZSTD, (int8_t)magic,
                                  buf_slice(&small), MIB, &out),
                     ERR_UNSUPPORTED_COMPRESSION_TYPE);
    for (int type = 5; type < 8; type++)
        cr_assert_eq(decoded((enum compression)type, buf_slice(&small), MIB),
                     ERR_UNSUPPORTED_COMPRESSION_TYPE);
    buf_free(&small);
}

Test(compression, a_bomb_stops_at_the_limit_and_costs_no_more)
{
    struct slice zeros = slice_of(xcalloc(1, 32 * MIB), 32 * MIB);

    for (int i = COMPRESSION_GZIP; i < ALL; i++) {
        struct buf bomb = encoded(all[i], 1, 2, zeros);

        buf_free(&out);
        cr_assert_eq(decoded(all[i], buf_slice(&bomb), MIB),
                     ERR_MESSAGE_TOO_LARGE, "%s", compression_name(all[i]));
        cr_assert_leq(out.cap, 2 * MIB);
        cr_assert_geq(codec_expanded_bytes(codec), (uint64_t)i * MIB / 2,
                      "%s costs what it is stopped at",
                      compression_name(all[i]));
        buf_free(&bomb);
    }
    free((void *)(uintptr_t)zeros.data);
}

/* Headers that claim gigabytes must not be believed. */
Test(compression, a_claimed_size_allocates_nothing)
{
    const uint8_t snappy[] = {0xff, 0xff, 0xff, 0xff, 0x07, 0x00, 'a'};
    const uint8_t framed[] = {0x82, 'S',  'N',  'A',  'P',  'P',  'Y', 0, 0, 0,
                              0,    1,    0,    0,    0,    1,    0,   0, 0, 7,
                              0xff, 0xff, 0xff, 0xff, 0x07, 0x00, 'a'};
    const uint8_t longer[] = {0x82, 'S', 'N',  'A',  'P',  'P',  'Y',
                              0,    0,   0,    0,    1,    0,    0,
                              0,    1,   0xff, 0xff, 0xff, 0xff, 0};
    const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff,
                            0xff, 0xff, 0x7f, 1,    0,    0};
    const struct {
        enum compression type;
        struct slice bytes;
    } cases[] = {
        {COMPRESSION_SNAPPY, slice_of(snappy, sizeof snappy)},
        {COMPRESSION_SNAPPY, slice_of(framed, sizeof framed)},
        {COMPRESSION_SNAPPY, slice_of(longer, sizeof longer)},
        {COMPRESSION_ZSTD, slice_of(zstd, sizeof zstd)},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_free(&out);
        cr_assert_neq(decoded(cases[i].type, cases[i].bytes, MIB), ERR_NONE,
                      "case %zu", i);
        cr_assert_eq(decoded(cases[i].type, cases[i].bytes, INT32_MAX),
                     ERR_CORRUPT_MESSAGE, "case %zu", i);
        cr_assert_leq(out.cap, MIB, "case %zu", i);
    }
}

Test(compression, every_prefix_is_corrupt)
{
    struct buf in = text(300);

    for (int i = COMPRESSION_GZIP; i < ALL; i++) {
        struct buf small = encoded(all[i], 1, 2, buf_slice(&in));

        for (size_t n = 0; n < small.len; n++) {
            /* A xerial header alone is an empty stream. */
            bool whole = all[i] == COMPRESSION_SNAPPY && n == 16;
            uint8_t *exact = xmemdup(small.data, n);

            cr_assert_eq(decoded(all[i], slice_of(exact, n), MIB),
                         whole ? ERR_NONE : ERR_CORRUPT_MESSAGE,
                         "%s cut at %zu", compression_name(all[i]), n);
            free(exact);
        }
        buf_free(&small);
    }
    buf_free(&in);
}

/* Nothing to expect but that it ends, within the limit and the sanitizers. */
Test(compression, every_flipped_byte_is_survived)
{
    struct buf in = text(300);

    for (int i = COMPRESSION_GZIP; i < ALL; i++) {
        struct buf small = encoded(all[i], 1, 2, buf_slice(&in));

        for (size_t at = 0; at < small.len; at++) {
            for (int value = 0; value < 256; value += 15) {
                uint8_t old = small.data[at];

                small.data[at] = (uint8_t)value;
                decoded(all[i], buf_slice(&small), 100000);
                cr_assert_leq(out.len, 100000);
                small.data[at] = old;
            }
        }
        cr_assert_eq(decoded(all[i], buf_slice(&small), 300), ERR_NONE,
                     "the context works on after errors");
        buf_free(&small);
    }
    buf_free(&in);
}
