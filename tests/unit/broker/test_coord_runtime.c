/* The runtime by itself: what is appended together, what waits, what ends. */
#include "broker/coord/runtime.h"

#include "proto/record/record.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

struct item {
    struct coord_pending pending;
    int number;
    uint32_t told; /* records that appended() has reported */
    int64_t last_offset;
};

static struct {
    struct coord_runtime runtime;
    int64_t end;
    enum err append_err;
    int fail_at; /* the append that fails, from 1; 0: none */
    int appends;
    int sizes[100]; /* records in each append */
    size_t largest;
    /* "1:NONE 2:REQUEST_TIMED_OUT " */
    char ended[4000];
    int commit_to; /* the high watermark moves inside of append */
} t;

static enum err on_append(void *arg, uint8_t *bytes, size_t len,
                          int64_t *base_offset)
{
    struct batch batch;

    t.appends++;
    if (t.append_err != ERR_NONE && (t.fail_at == 0 || t.fail_at == t.appends))
        return t.append_err;
    cr_assert_eq(batch_parse(slice_of(bytes, len), &batch), ERR_NONE);
    cr_assert(batch_crc_ok(slice_of(bytes, len), &batch));
    if (len > t.largest)
        t.largest = len;
    t.sizes[t.appends - 1] = batch.records_count;
    *base_offset = t.end;
    t.end += batch.records_count;
    if (t.commit_to != 0)
        coord_runtime_committed(&t.runtime, t.commit_to);
    return ERR_NONE;
}

static void on_appended(void *arg, struct coord_pending *pending,
                        uint32_t first, uint32_t count, int64_t base_offset)
{
    struct item *item = LIST_ENTRY(pending, struct item, pending);

    cr_assert_eq(first, item->told);
    item->told += count;
    item->last_offset = base_offset + count - 1;
}

static void on_done(void *arg, struct coord_pending *pending, enum err err)
{
    struct item *item = LIST_ENTRY(pending, struct item, pending);
    size_t at = strlen(t.ended);

    snprintf(t.ended + at, sizeof t.ended - at, "%d:%s ", item->number,
             err_name(err));
    coord_records_free(&item->pending.records);
    free(item);
}

static const struct coord_runtime_ops ops = {on_append, on_appended, on_done};

static void set_up(void)
{
    t.end = 100;
    coord_runtime_init(&t.runtime, &ops, NULL, 1000, 5000, 100, 100);
}

static void tear_down(void)
{
    coord_runtime_resign(&t.runtime);
    coord_runtime_free(&t.runtime);
}

TestSuite(coord_runtime, .init = set_up, .fini = tear_down);

static void add_with(int number, int records, size_t value_len, bool atomic)
{
    static uint8_t value[5000];
    struct item *item = calloc(1, sizeof *item);

    item->number = number;
    item->pending.atomic = atomic;
    for (int i = 0; i < records; i++)
        coord_records_add(&item->pending.records, SLICE("key"),
                          slice_of(value, value_len));
    coord_runtime_add(&t.runtime, &item->pending, 0, 7);
}

static void add(int number, int records, size_t value_len)
{
    add_with(number, records, value_len, false);
}

static void expect_ended(const char *text) { cr_assert_str_eq(t.ended, text); }

Test(coord_runtime, one_turn_is_one_append_and_ends_in_order)
{
    add(1, 1, 10);
    add(2, 3, 10);
    add(3, 1, 10);
    cr_assert_eq(t.appends, 0);
    cr_assert_eq(coord_runtime_next_deadline(&t.runtime), INT64_MIN);
    coord_runtime_flush(&t.runtime, 0, 7);
    cr_assert_eq(t.appends, 1);
    cr_assert_eq(t.sizes[0], 5);
    expect_ended("");
    coord_runtime_committed(&t.runtime, 103);
    expect_ended("1:NONE ");
    coord_runtime_committed(&t.runtime, 104);
    expect_ended("1:NONE 2:NONE ");
    coord_runtime_committed(&t.runtime, 105);
    expect_ended("1:NONE 2:NONE 3:NONE ");
}

Test(coord_runtime, no_batch_is_larger_than_the_topic_takes)
{
    add(1, 7, 300);
    coord_runtime_flush(&t.runtime, 0, 7);
    cr_assert_eq(t.appends, 4, "three twos and one");
    cr_assert_leq(t.largest, 1000);
    cr_assert_eq(t.end, 107);
    coord_runtime_committed(&t.runtime, 106);
    expect_ended("");
    coord_runtime_committed(&t.runtime, 107);
    expect_ended("1:NONE ");
}

Test(coord_runtime, what_is_atomic_is_in_one_batch)
{
    add(1, 1, 600);
    add_with(2, 2, 300, true);
    coord_runtime_flush(&t.runtime, 0, 7);
    cr_assert_eq(t.appends, 2);
    cr_assert_eq(t.sizes[1], 2);
    coord_runtime_committed(&t.runtime, 103);
    expect_ended("1:NONE 2:NONE ");
}

Test(coord_runtime, what_is_atomic_and_too_large_is_not_appended)
{
    add(1, 1, 10);
    add_with(2, 4, 300, true);
    coord_runtime_flush(&t.runtime, 0, 7);
    cr_assert_eq(t.end, 101);
    expect_ended("2:RECORD_LIST_TOO_LARGE ");
    add(3, 1, 10);
    coord_runtime_flush(&t.runtime, 0, 7);
    coord_runtime_committed(&t.runtime, 102);
    expect_ended("2:RECORD_LIST_TOO_LARGE 1:NONE 3:NONE ");
}

Test(coord_runtime, a_full_batch_is_not_kept_waiting)
{
    add(1, 1, 600);
    cr_assert_eq(t.appends, 0);
    add(2, 1, 600);
    cr_assert_geq(t.appends, 1);
    coord_runtime_flush(&t.runtime, 0, 7);
    cr_assert_eq(t.end, 102);
}

Test(coord_runtime, a_record_that_never_fits_is_the_partitions_to_refuse)
{
    t.append_err = ERR_MESSAGE_TOO_LARGE;
    t.fail_at = 2;
    add(1, 1, 10);
    add(2, 1, 4000);
    add(3, 1, 10);
    coord_runtime_flush(&t.runtime, 0, 7);
    expect_ended("2:MESSAGE_TOO_LARGE ");
    coord_runtime_committed(&t.runtime, 102);
    expect_ended("2:MESSAGE_TOO_LARGE 1:NONE 3:NONE ");
}

Test(coord_runtime, a_failed_append_ends_all_that_shared_it)
{
    t.append_err = ERR_NOT_ENOUGH_REPLICAS;
    t.fail_at = 1;
    add(1, 1, 10);
    add(2, 2, 10);
    coord_runtime_flush(&t.runtime, 0, 7);
    expect_ended("1:NOT_ENOUGH_REPLICAS 2:NOT_ENOUGH_REPLICAS ");
    add(3, 1, 10);
    coord_runtime_flush(&t.runtime, 0, 7);
    coord_runtime_committed(&t.runtime, 101);
    cr_assert_not_null(strstr(t.ended, "3:NONE"));
}

Test(coord_runtime, what_fails_in_the_middle_is_not_appended_further)
{
    t.append_err = ERR_NOT_ENOUGH_REPLICAS;
    t.fail_at = 2;
    add(1, 7, 300);
    add(2, 1, 10);
    coord_runtime_flush(&t.runtime, 0, 7);
    expect_ended("1:NOT_ENOUGH_REPLICAS ");
    cr_assert_eq(t.end, 103, "two records of the first, and the second");
    coord_runtime_committed(&t.runtime, 103);
    expect_ended("1:NOT_ENOUGH_REPLICAS 2:NONE ");
}

Test(coord_runtime, without_records_one_waits_for_what_was_before)
{
    add(1, 0, 0);
    coord_runtime_flush(&t.runtime, 0, 7);
    expect_ended("1:NONE ");
    add(2, 1, 10);
    add(3, 0, 0);
    add(4, 1, 10);
    coord_runtime_flush(&t.runtime, 0, 7);
    coord_runtime_committed(&t.runtime, 101);
    expect_ended("1:NONE 2:NONE 3:NONE ");
}

Test(coord_runtime, without_records_one_survives_a_failed_append)
{
    t.append_err = ERR_NOT_ENOUGH_REPLICAS;
    add(1, 1, 10);
    add(2, 0, 0);
    coord_runtime_flush(&t.runtime, 0, 7);
    expect_ended("1:NOT_ENOUGH_REPLICAS 2:NONE ");
}

Test(coord_runtime, what_is_not_committed_in_time_ends)
{
    add(1, 1, 10);
    coord_runtime_flush(&t.runtime, 1000, 7);
    add(2, 1, 10);
    coord_runtime_flush(&t.runtime, 2000, 7);
    cr_assert_eq(coord_runtime_next_deadline(&t.runtime), 6000);
    coord_runtime_tick(&t.runtime, 5999, 7);
    expect_ended("");
    coord_runtime_tick(&t.runtime, 6000, 7);
    expect_ended("1:REQUEST_TIMED_OUT ");
    coord_runtime_committed(&t.runtime, 102);
    expect_ended("1:REQUEST_TIMED_OUT 2:NONE ");
    cr_assert_eq(coord_runtime_next_deadline(&t.runtime), INT64_MAX);
}

Test(coord_runtime, leadership_lost_ends_everything)
{
    add(1, 1, 10);
    coord_runtime_flush(&t.runtime, 0, 7);
    add(2, 1, 10);
    coord_runtime_resign(&t.runtime);
    expect_ended("1:NOT_LEADER_OR_FOLLOWER 2:NOT_LEADER_OR_FOLLOWER ");
    add(3, 1, 10);
    cr_assert_not_null(strstr(t.ended, "3:NOT_LEADER_OR_FOLLOWER"));
    cr_assert_eq(t.appends, 1);
}

Test(coord_runtime, the_high_watermark_may_move_inside_of_the_append)
{
    t.commit_to = 102;
    add(1, 1, 10);
    add(2, 1, 10);
    coord_runtime_flush(&t.runtime, 0, 7);
    expect_ended("1:NONE 2:NONE ");
}

Test(coord_runtime, the_high_watermark_never_goes_back)
{
    coord_runtime_committed(&t.runtime, 101);
    coord_runtime_committed(&t.runtime, 50);
    add(1, 1, 10);
    coord_runtime_flush(&t.runtime, 0, 7);
    expect_ended("1:NONE ");
}
