#include "proto/record/batch.h"

#include "base/crc32c.h"
#include "proto/record/compression.h"
#include "tests/unit/proto/record_fixtures.h"

#include <criterion/criterion.h>

/* A writable copy of a fixture, with its header. */
struct copy {
    uint8_t bytes[512];
    struct slice slice;
    struct batch batch;
    const char *why;
};

static void reparse(struct copy *c)
{
    be32_put(c->bytes + BATCH_CRC_AT,
             crc32c(0, c->bytes + BATCH_ATTRIBUTES_AT,
                    c->slice.len - BATCH_ATTRIBUTES_AT));
    cr_assert_eq(batch_parse(c->slice, &c->batch), ERR_NONE);
}

static struct slice copy_of(struct copy *c, struct slice fixture)
{
    cr_assert_leq(fixture.len, sizeof c->bytes);
    memcpy(c->bytes, fixture.data, fixture.len);
    c->slice = slice_of(c->bytes, fixture.len);
    cr_assert_eq(batch_parse(c->slice, &c->batch), ERR_NONE);
    return c->slice;
}

static enum err verdict(struct copy *c)
{
    reparse(c);
    enum err err = batch_validate(c->slice, &c->batch, &c->why);
    cr_assert_eq(err == ERR_NONE, c->why[0] == '\0');
    return err;
}

Test(batch, header_is_read_as_kafka_wrote_it)
{
    struct batch b;

    cr_assert_eq(batch_parse(FIXTURE(v2_transactional), &b), ERR_NONE);
    cr_assert_eq(b.base_offset, 100);
    cr_assert_eq(b.size_bytes, sizeof fixture_v2_transactional);
    cr_assert_eq(b.leader_epoch, 5);
    cr_assert_eq(b.magic, 2);
    cr_assert_eq(b.attributes, BATCH_TRANSACTIONAL);
    cr_assert_eq(batch_last_offset(&b), 102);
    cr_assert_eq(b.base_timestamp, 1700000000000);
    cr_assert_eq(b.max_timestamp, 1700000000500);
    cr_assert_eq(b.producer_id, 4242);
    cr_assert_eq(b.producer_epoch, 7);
    cr_assert_eq(b.base_sequence, 11);
    cr_assert_eq(b.records_count, 3);
    cr_assert(batch_crc_ok(FIXTURE(v2_transactional), &b));
}

Test(batch, kafkas_batches_of_every_codec_are_valid)
{
    const struct slice all[] = {FIXTURE(v2_none), FIXTURE(v2_gzip),
                                FIXTURE(v2_snappy), FIXTURE(v2_lz4),
                                FIXTURE(v2_zstd)};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct batch b;
        const char *why;

        cr_assert_eq(batch_parse(all[i], &b), ERR_NONE);
        cr_assert_eq(batch_compression(&b), (enum compression)i);
        cr_assert_eq(batch_validate(all[i], &b, &why), ERR_NONE, "%s", why);
    }
}

Test(batch, a_prefix_is_partial_and_its_size_is_known_from_12_bytes_on)
{
    struct slice whole = FIXTURE(v2_none);

    for (size_t n = 0; n < whole.len; n++) {
        struct batch b;

        cr_assert_eq(batch_parse(slice_of(whole.data, n), &b), ERR_TOO_LARGE);
        cr_assert_eq(b.size_bytes, n < BATCH_PREFIX_BYTES ? 0 : whole.len);
        cr_assert_eq(b.records_count, n < BATCH_HEADER_BYTES ? 0 : 3);
    }
}

Test(batch, older_magic_is_told_apart_and_sized)
{
    struct batch b;

    cr_assert_eq(batch_parse(FIXTURE(v1_gzip), &b),
                 ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT);
    cr_assert_eq(b.magic, 1);
    cr_assert_eq(b.size_bytes, sizeof fixture_v1_gzip);
    cr_assert_eq(batch_parse(FIXTURE(v0_gzip), &b),
                 ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT);
    cr_assert_eq(b.magic, 0);
}

Test(batch, a_length_no_batch_can_have_is_corrupt)
{
    const uint32_t lengths[] = {0, 13, 48, 0x80000000, 0xffffffff};

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct copy c;
        struct slice bytes = copy_of(&c, FIXTURE(v2_none));

        be32_put(c.bytes + BATCH_LENGTH_AT, lengths[i]);
        cr_assert_eq(batch_parse(bytes, &c.batch), ERR_CORRUPT_MESSAGE);
    }
}

Test(batch, every_flipped_bit_behind_the_crc_field_is_caught)
{
    struct copy c;
    struct slice bytes = copy_of(&c, FIXTURE(v2_zstd));

    for (size_t i = BATCH_CRC_AT; i < bytes.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct batch b;
            const char *why;

            c.bytes[i] ^= (uint8_t)(1 << bit);
            cr_assert_eq(batch_parse(bytes, &b), ERR_NONE);
            cr_assert_eq(batch_validate(bytes, &b, &why), ERR_CORRUPT_MESSAGE,
                         "byte %zu bit %d", i, bit);
            c.bytes[i] ^= (uint8_t)(1 << bit);
        }
    }
}

Test(batch, offset_and_epoch_may_change_without_a_new_crc)
{
    struct copy c;
    struct slice bytes = copy_of(&c, FIXTURE(v2_none));

    batch_patch(c.bytes, 1234567890123, 42);
    cr_assert_eq(batch_parse(bytes, &c.batch), ERR_NONE);
    cr_assert_eq(c.batch.base_offset, 1234567890123);
    cr_assert_eq(c.batch.leader_epoch, 42);
    cr_assert(batch_crc_ok(bytes, &c.batch));
}

/* Kafka wrote the one from the same records as the other. */
Test(batch, append_time_is_stamped_as_kafka_stamps_it)
{
    struct copy c;
    struct slice bytes = copy_of(&c, FIXTURE(v2_none));
    struct batch wanted;

    batch_patch(c.bytes, 100, 5);
    batch_patch_append_time(c.bytes, (uint32_t)bytes.len, 1700000009999);
    cr_assert_eq(batch_parse(bytes, &c.batch), ERR_NONE);
    cr_assert_eq(batch_parse(FIXTURE(v2_append_time), &wanted), ERR_NONE);
    cr_assert(batch_crc_ok(bytes, &c.batch));
    cr_assert_eq(c.batch.attributes, wanted.attributes);
    cr_assert_eq(c.batch.max_timestamp, wanted.max_timestamp);
}

Test(batch, markers_pass_the_crc_and_are_refused_from_clients)
{
    struct batch b;
    const char *why;

    cr_assert_eq(batch_parse(FIXTURE(v2_commit), &b), ERR_NONE);
    cr_assert(batch_crc_ok(FIXTURE(v2_commit), &b));
    cr_assert_eq(batch_validate(FIXTURE(v2_commit), &b, &why),
                 ERR_INVALID_RECORD);
}

/* One field of a good batch changed, CRC made right again. */
Test(batch, what_clients_may_not_send)
{
    static const struct {
        const char *what;
        size_t at;
        size_t len;
        uint64_t value;
        enum err err;
    } cases[] = {
        {"base offset", 0, 8, 1, ERR_INVALID_RECORD},
        {"codec 5", 21, 2, 5, ERR_UNSUPPORTED_COMPRESSION_TYPE},
        {"codec 7", 21, 2, 7, ERR_UNSUPPORTED_COMPRESSION_TYPE},
        {"LogAppendTime", 21, 2, BATCH_LOG_APPEND_TIME, ERR_INVALID_TIMESTAMP},
        {"transaction of nobody", 21, 2, BATCH_TRANSACTIONAL,
         ERR_INVALID_RECORD},
        {"control", 21, 2, BATCH_CONTROL, ERR_INVALID_RECORD},
        {"delete horizon", 21, 2, BATCH_DELETE_HORIZON, ERR_INVALID_RECORD},
        {"attribute bit 7", 21, 2, 0x80, ERR_INVALID_RECORD},
        {"attribute bit 15", 21, 2, 0x8000, ERR_INVALID_RECORD},
        {"delta too small", 23, 4, 1, ERR_INVALID_RECORD},
        {"delta too large", 23, 4, 3, ERR_INVALID_RECORD},
        {"negative delta", 23, 4, 0xffffffff, ERR_INVALID_RECORD},
        {"no records", 57, 4, 0, ERR_INVALID_RECORD},
        {"negative count", 57, 4, 0x80000000, ERR_INVALID_RECORD},
        {"epoch missing", 43, 8, 9, ERR_INVALID_RECORD},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct copy c;

        copy_of(&c, FIXTURE(v2_none));
        for (size_t k = 0; k < cases[i].len; k++)
            c.bytes[cases[i].at + k] =
                (uint8_t)(cases[i].value >> 8 * (cases[i].len - 1 - k));
        cr_assert_eq(verdict(&c), cases[i].err, "%s", cases[i].what);
    }
}

Test(batch, count_and_delta_that_agree_but_cannot_fit)
{
    struct copy c;

    copy_of(&c, FIXTURE(v2_none));
    be32_put(c.bytes + 23, 0x7ffffffe);
    be32_put(c.bytes + 57, 0x7fffffff);
    cr_assert_eq(verdict(&c), ERR_INVALID_RECORD);
    be32_put(c.bytes + 57, 0);
    be32_put(c.bytes + 23, 0xffffffff);
    cr_assert_eq(verdict(&c), ERR_INVALID_RECORD);
}

/* Each such batch would need a segment of its own. */
Test(batch, more_records_than_any_batch_may_expand_to)
{
    int32_t most = CODEC_LIMIT_BYTES / 7;
    struct copy c;

    copy_of(&c, FIXTURE(v2_zstd));
    be32_put(c.bytes + 23, (uint32_t)most);
    be32_put(c.bytes + 57, (uint32_t)most + 1);
    cr_assert_eq(verdict(&c), ERR_INVALID_RECORD);
    be32_put(c.bytes + 23, (uint32_t)most - 1);
    be32_put(c.bytes + 57, (uint32_t)most);
    cr_assert_eq(verdict(&c), ERR_NONE);
}

Test(batch, a_producer_needs_epoch_and_sequence)
{
    struct copy c;

    copy_of(&c, FIXTURE(v2_transactional));
    batch_patch(c.bytes, 0, 5);
    cr_assert_eq(verdict(&c), ERR_NONE);
    be32_put(c.bytes + 53, 0xffffffff);
    cr_assert_eq(verdict(&c), ERR_INVALID_RECORD);
}
