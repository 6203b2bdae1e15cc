#include "tests/unit/broker/log_fixture.h"

static struct fixture f;

static void begin(void)
{
    fixture_begin(&f);
    f.config.segment_bytes = 2000;
    f.config.index_interval_bytes = 300;
    fixture_open(&f, false, 0);
}

static void end(void) { fixture_end(&f); }

TestSuite(log_timestamps, .init = begin, .fini = end, .timeout = 20);

static int64_t offset_for(int64_t timestamp, int64_t end_offset)
{
    struct log_timestamp_offset found;

    cr_assert_eq(
        log_offset_for_timestamp(f.log, f.codec, timestamp, end_offset, &found),
        ERR_NONE);
    cr_assert(found.offset < 0 || found.timestamp >= timestamp);
    return found.offset;
}

Test(log_timestamps, an_empty_log_has_none)
{
    struct log_timestamp_offset found;

    cr_assert_eq(offset_for(0, 0), -1);
    cr_assert_eq(log_max_timestamp(f.log, f.codec, 0, &found), ERR_NONE);
    cr_assert_eq(found.offset, -1);
    cr_assert_eq(found.timestamp, -1);
}

Test(log_timestamps, the_record_not_the_batch)
{
    for (int c = COMPRESSION_NONE; c <= COMPRESSION_ZSTD; c++)
        append(&f, (struct batch_shape){.records = 10,
                                        .timestamp = 100 + c * 100,
                                        .timestamp_step = 10,
                                        .compression = (enum compression)c});
    for (int64_t t = 100; t <= 590; t++)
        cr_assert_eq(offset_for(t, 50), (t - 100 + 9) / 10);
    cr_assert_eq(offset_for(0, 50), 0);
    cr_assert_eq(offset_for(591, 50), -1);
}

Test(log_timestamps, the_first_even_if_later_ones_are_older)
{
    int64_t times[] = {50, 70, 60, 90, 10, 95, 80};
    for (int i = 0; i < 7; i++)
        append(&f, (struct batch_shape){.timestamp = times[i]});
    cr_assert_eq(offset_for(55, 7), 1);
    cr_assert_eq(offset_for(71, 7), 3);
    cr_assert_eq(offset_for(91, 7), 5);
    cr_assert_eq(offset_for(5, 7), 0);
}

Test(log_timestamps, only_below_the_end_and_above_the_start)
{
    append_n(&f, 100);
    cr_assert_eq(offset_for(1050, 51), 50);
    cr_assert_eq(offset_for(1050, 50), -1);
    cr_assert_eq(log_raise_start(f.log, 60), ERR_NONE);
    cr_assert_eq(offset_for(1050, 100), 60);
}

Test(log_timestamps, the_leader_epoch_comes_along)
{
    struct log_timestamp_offset found;

    for (int i = 0; i < 20; i++)
        append(&f, (struct batch_shape){.epoch = i / 5, .timestamp = i});
    cr_assert_eq(log_offset_for_timestamp(f.log, f.codec, 12, 20, &found),
                 ERR_NONE);
    cr_assert_eq(found.leader_epoch, 2);
    cr_assert_eq(log_max_timestamp(f.log, f.codec, 20, &found), ERR_NONE);
    cr_assert_eq(found.leader_epoch, 3);
}

Test(log_timestamps, the_greatest_is_the_first_that_has_it)
{
    struct log_timestamp_offset found;

    append_n(&f, 30);
    append(&f, (struct batch_shape){
                   .records = 5, .timestamp = 9000, .timestamp_step = -1});
    append_n(&f, 30);
    append(&f, (struct batch_shape){.timestamp = 9000});
    cr_assert_eq(log_max_timestamp(f.log, f.codec, 66, &found), ERR_NONE);
    cr_assert_eq(found.offset, 30);
    cr_assert_eq(found.timestamp, 9000);
    /* Below the high watermark only. */
    cr_assert_eq(log_max_timestamp(f.log, f.codec, 30, &found), ERR_NONE);
    cr_assert_eq(found.offset, 29);
    /* Above the start only. */
    cr_assert_eq(log_raise_start(f.log, 40), ERR_NONE);
    cr_assert_eq(log_max_timestamp(f.log, f.codec, 65, &found), ERR_NONE);
    cr_assert_eq(found.offset, 64);
}

Test(log_timestamps, damage_is_an_error_not_an_answer)
{
    struct log_timestamp_offset found;

    append_n(&f, 3);
    file(&f, 0, ".log")->data[log_size_bytes(f.log) / 3 + 100] ^= 1;
    cr_assert_eq(log_offset_for_timestamp(f.log, f.codec, 1001, 3, &found),
                 ERR_DAMAGED);
}

/* With the newest record not yet committed, only what lies behind the last index
 * entry is looked at: a segment may be large. */
Test(log_timestamps, the_greatest_of_most_of_a_segment_is_not_looked_for)
{
    struct log_timestamp_offset found;

    f.config.segment_bytes = 1 << 20;
    log_set_config(f.log, &f.config);
    append_n(&f, 100);
    memset(file(&f, 0, ".log")->data, 0xee, log_size_bytes(f.log) / 2);
    cr_assert_eq(log_max_timestamp(f.log, f.codec, 99, &found), ERR_NONE);
    cr_assert_eq(found.offset, 98);
    cr_assert_eq(found.timestamp, 1098);
}

Test(log_timestamps, version_0_lists_segments)
{
    int64_t offsets[20];

    append_n(&f, 100);
    int segments = log_segment_count(f.log);
    cr_assert_gt(segments, 3);
    cr_assert_eq(log_offsets_before(f.log, -1, 100, offsets, 20), segments + 1);
    cr_assert_eq(offsets[0], 100);
    cr_assert_eq(offsets[1], log_active_base_offset(f.log));
    cr_assert_eq(offsets[segments], 0);
    cr_assert_eq(log_offsets_before(f.log, -1, 100, offsets, 1), 1);
    cr_assert_eq(offsets[0], 100);
    cr_assert_eq(log_offsets_before(f.log, -2, 100, offsets, 20), 1);
    cr_assert_eq(offsets[0], 0);
    /* Segments written before the time, newest first. */
    int64_t second = offsets[0];
    while (file(&f, ++second, ".log") == NULL)
        ;
    cr_assert_eq(log_offsets_before(f.log, 1000 + second, 100, offsets, 20), 1);
    cr_assert_eq(offsets[0], 0);
    cr_assert_eq(log_offsets_before(f.log, 100, 100, offsets, 20), 0);
    cr_assert_eq(log_raise_start(f.log, 2), ERR_NONE);
    cr_assert_eq(log_offsets_before(f.log, -2, 100, offsets, 20), 1);
    cr_assert_eq(offsets[0], 2);
}
