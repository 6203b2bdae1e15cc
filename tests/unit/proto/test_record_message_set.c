#include "tests/unit/proto/record_sets.h"

TestSuite(message_set, .init = set_up, .fini = tear_down);

Test(message_set, kafkas_sets_are_read_in_every_codec)
{
    expect_listing(FIXTURE(v1_none), magic1_listing);
    expect_listing(FIXTURE(v1_gzip), magic1_listing);
    expect_listing(FIXTURE(v1_snappy), magic1_listing);
    expect_listing(FIXTURE(v1_lz4), magic1_listing);
    expect_listing(FIXTURE(v0_none), magic0_listing);
    expect_listing(FIXTURE(v0_gzip), magic0_listing);
    expect_listing(FIXTURE(v0_snappy), magic0_listing);
    expect_listing(FIXTURE(v0_lz4), magic0_listing);
}

Test(message_set, relative_offsets_and_append_time_come_from_the_wrapper)
{
    expect_listing(FIXTURE(v1_gzip_100), "100@1700000000000 key-0=value-0\n"
                                         "101@1700000000500 null=value-1\n"
                                         "102@1700000000200 key-2=null\n");
    expect_listing(FIXTURE(v1_gzip_append_time),
                   "100@1700000009999! key-0=value-0\n"
                   "101@1700000009999! null=value-1\n"
                   "102@1700000009999! key-2=null\n");
}

/* KIP-31: after compaction the relative offsets have gaps. */
Test(message_set, gaps_inside_a_wrapper_are_kept)
{
    struct buf inside = BUF_INIT;

    put_entry(&inside, (struct entry){0, 1, 0, 1, SLICE("a"), SLICE("1")});
    put_entry(&inside, (struct entry){3, 1, 0, 2, SLICE("b"), SLICE("2")});
    put_entry(&inside, (struct entry){7, 1, 0, 3, SLICE("c"), SLICE("3")});
    put_wrapper(&out, 1, COMPRESSION_GZIP, 57, &inside);
    expect_listing(buf_slice(&out), "50@1 a=1\n53@2 b=2\n57@3 c=3\n");
}

Test(message_set, plain_messages_and_wrappers_may_mix)
{
    struct buf inside = BUF_INIT;

    put_entry(&out, (struct entry){1, 1, 0, 1, SLICE("a"), SLICE("1")});
    put_entry(&inside, (struct entry){0, 1, 0, 2, SLICE("b"), SLICE("2")});
    put_wrapper(&out, 1, COMPRESSION_SNAPPY, 2, &inside);
    put_entry(&inside, (struct entry){0, 1, 0, 3, SLICE("c"), SLICE("3")});
    put_entry(&inside, (struct entry){1, 1, 0, 4, SLICE("d"), SLICE("4")});
    put_wrapper(&out, 1, COMPRESSION_GZIP, 4, &inside);
    put_entry(&out, (struct entry){5, 0, 0, 0, SLICE("e"), SLICE("5")});
    expect_listing(buf_slice(&out),
                   "1@1 a=1\n2@2 b=2\n3@3 c=3\n4@4 d=4\n5@-1 e=5\n");
}

/* kafka-node: magic 1 with offset 0 inside a wrapper of magic 0. */
Test(message_set, a_magic_0_wrapper_may_hold_magic_1)
{
    struct buf inside = BUF_INIT;

    put_entry(&inside, (struct entry){0, 1, 0, 8, SLICE("a"), SLICE("1")});
    put_entry(&inside, (struct entry){0, 1, 0, 9, SLICE("b"), SLICE("2")});
    put_wrapper(&out, 0, COMPRESSION_GZIP, 0, &inside);
    expect_listing(buf_slice(&out), "0@8 a=1\n0@9 b=2\n");
}

Test(message_set, nesting_ends_at_one_level)
{
    struct buf inside = BUF_INIT;
    struct buf middle = BUF_INIT;

    put_entry(&inside, (struct entry){0, 1, 0, 1, SLICE("a"), SLICE("1")});
    put_wrapper(&middle, 1, COMPRESSION_GZIP, 0, &inside);
    put_wrapper(&out, 1, COMPRESSION_GZIP, 0, &middle);
    expect_listing(buf_slice(&out), "INVALID_RECORD");
}

Test(message_set, wrappers_without_content_are_refused)
{
    struct buf nothing = BUF_INIT;

    put_wrapper(&out, 1, COMPRESSION_GZIP, 0, &nothing);
    expect_listing(buf_slice(&out), "INVALID_RECORD");
    out.len = 0;
    put_entry(&out, (struct entry){0, 1, COMPRESSION_GZIP, 1, SLICE_NULL,
                                   SLICE_NULL});
    expect_listing(buf_slice(&out), "INVALID_RECORD");
}

Test(message_set, zstd_and_unknown_codecs_are_refused)
{
    for (int type = COMPRESSION_ZSTD; type < 8; type++) {
        out.len = 0;
        put_entry(&out,
                  (struct entry){0, 1, type, 1, SLICE_NULL, SLICE("abc")});
        expect_listing(buf_slice(&out), "UNSUPPORTED_COMPRESSION_TYPE");
    }
}

Test(message_set, wrappers_share_one_limit)
{
    uint8_t same[1000];

    memset(same, 'x', sizeof same);
    for (int i = 0; i < 5; i++) {
        struct buf inside = BUF_INIT;

        put_entry(&inside, (struct entry){0, 1, 0, 1, SLICE_NULL,
                                          slice_of(same, sizeof same)});
        put_wrapper(&out, 1, COMPRESSION_GZIP, 0, &inside);
    }
    cr_assert_not(strstr(listing(buf_slice(&out), 5 * 1034), "TOO_LARGE"));
    cr_assert(strstr(listing(buf_slice(&out), 5 * 1034 - 1), "TOO_LARGE"));
}

Test(message_set, damage_is_corrupt)
{
    static const struct {
        const char *what;
        size_t at;
        uint8_t value;
    } cases[] = {
        {"size", 11, 25}, {"negative size", 8, 0xff}, {"crc", 12, 0},
        {"magic", 16, 2}, {"attributes", 17, 1},      {"key length", 29, 0xff},
        {"value", 40, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        out.len = 0;
        buf_put_slice(&out, FIXTURE(v1_none));
        out.data[cases[i].at] = cases[i].value;
        cr_assert_str_eq(listing(buf_slice(&out), LIMIT), "CORRUPT_MESSAGE",
                         "%s", cases[i].what);
    }
}

/* In an uncompressed set a cut between two messages leaves a shorter set. */
Test(message_set, every_prefix_is_corrupt)
{
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        int whole = 0;

        for (size_t n = 1; n < sets[i].len; n++) {
            uint8_t *exact = xmemdup(sets[i].data, n);

            whole += strstr(listing(slice_of(exact, n), LIMIT),
                            "CORRUPT_MESSAGE") == NULL;
            free(exact);
        }
        cr_assert_eq(whole, i % 4 == 0 ? 2 : 0, "set %zu", i);
    }
}

/* The CRC made right again over any changed byte of the outer message. */
Test(message_set, every_changed_byte_is_survived)
{
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        uint8_t *bytes = xmemdup(sets[i].data, sets[i].len);
        size_t size = be32_get(bytes + 8);

        for (size_t at = 8; at < 12 + size; at++) {
            uint8_t old = bytes[at];

            for (int value = 0; value < 256; value += 5) {
                bytes[at] = (uint8_t)value;
                be32_put(bytes + 12,
                         (uint32_t)crc32_z(0, bytes + 16, size - 4));
                listing(slice_of(bytes, sets[i].len), 10000);
            }
            bytes[at] = old;
        }
        free(bytes);
    }
}
