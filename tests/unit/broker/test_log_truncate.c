#include "tests/unit/broker/log_fixture.h"

#include <errno.h>

static struct fixture f;

static void begin_seeded(uint64_t seed)
{
    fixture_begin_seeded(&f, seed);
    f.config.segment_bytes = 1000;
    f.config.index_interval_bytes = 200;
    fixture_open(&f, false, 0);
}

static void begin(void) { begin_seeded(7); }

static void end(void) { fixture_end(&f); }

TestSuite(log_truncate, .init = begin, .fini = end, .timeout = 20);

Test(log_truncate, any_offset_across_segments)
{
    for (int64_t to = 0; to <= 40; to++) {
        int64_t had = log_end_offset(f.log);
        append_n(&f, (int)(40 - had));
        cr_assert_eq(log_truncate(f.log, to), ERR_NONE);
        cr_assert_eq(log_end_offset(f.log), to);
        cr_assert_eq(count_batches(&f), to);
        cr_assert_eq(read_at(&f, to + 1, to + 1, 1).err,
                     ERR_OFFSET_OUT_OF_RANGE);
        /* What is there is what is on disk. */
        int64_t bytes = 0;
        for (int64_t base = 0; base <= 40; base++)
            if (file(&f, base, ".log") != NULL)
                bytes += (int64_t)file(&f, base, ".log")->len;
        cr_assert_eq(bytes, log_size_bytes(f.log));
    }
}

Test(log_truncate, inside_a_batch_the_batch_goes)
{
    for (int i = 0; i < 5; i++)
        append(&f, (struct batch_shape){.records = 10});
    cr_assert_eq(log_truncate(f.log, 35), ERR_NONE);
    cr_assert_eq(log_end_offset(f.log), 30);
    cr_assert_eq(log_truncate(f.log, 30), ERR_NONE);
    cr_assert_eq(log_end_offset(f.log), 30);
    cr_assert_eq(count_batches(&f), 3);
}

Test(log_truncate, beyond_the_end_is_nothing)
{
    append_n(&f, 3);
    cr_assert_eq(log_truncate(f.log, 3), ERR_NONE);
    cr_assert_eq(log_truncate(f.log, 300), ERR_NONE);
    cr_assert_eq(log_end_offset(f.log), 3);
}

/* Index and time index must not remember what is gone. */
Test(log_truncate, indexes_forget_too)
{
    struct log_timestamp_offset found;

    f.config.segment_bytes = 1 << 20;
    log_set_config(f.log, &f.config);
    append_n(&f, 100);
    append(&f, (struct batch_shape){.timestamp = 99999});
    append_n(&f, 100);
    cr_assert_eq(log_truncate(f.log, 90), ERR_NONE);
    cr_assert_eq(log_offset_for_timestamp(f.log, f.codec, 5000, 90, &found),
                 ERR_NONE);
    cr_assert_eq(found.offset, -1);
    cr_assert_eq(log_max_timestamp(f.log, f.codec, 90, &found), ERR_NONE);
    cr_assert_eq(found.offset, 89);
    cr_assert_eq(found.timestamp, 1089);
    for (int i = 0; i < 100; i++)
        append(&f,
               (struct batch_shape){.timestamp = 3000 + i, .value_bytes = 37});
    for (int64_t offset = 0; offset < 190; offset++)
        cr_assert_eq(read_at(&f, offset, 190, 1).first, offset);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    /* Entries rise, and each names a batch. */
    const struct buf *index = file(&f, 0, ".index");
    for (size_t i = 8; i < index->len; i += 8)
        cr_assert_gt(be32_get(index->data + i), be32_get(index->data + i - 8));
}

Test(log_truncate, fully_starts_again_elsewhere)
{
    append_n(&f, 30);
    cr_assert_eq(log_truncate_fully(f.log, 1000), ERR_NONE);
    cr_assert_eq(log_start_offset(f.log), 1000);
    cr_assert_eq(log_end_offset(f.log), 1000);
    cr_assert_eq(log_synced_offset(f.log), 1000);
    cr_assert_eq(log_size_bytes(f.log), 0);
    cr_assert_eq(log_latest_epoch(f.log), -1);
    /* The file's name remembers, whatever becomes of the caller's notes. */
    fixture_close(&f);
    fixture_open(&f, false, 0);
    cr_assert_eq(log_end_offset(f.log), 1000);
    append_n(&f, 3);
    cr_assert_eq(count_batches(&f), 3);
    cr_assert_eq(log_truncate_fully(f.log, 0), ERR_NONE);
    append_n(&f, 1);
    cr_assert_eq(log_end_offset(f.log), 1);
    cr_assert_eq(count_batches(&f), 1);
}

Test(log_truncate, below_the_start_is_fully)
{
    append_n(&f, 30);
    cr_assert_eq(log_raise_start(f.log, 20), ERR_NONE);
    cr_assert_eq(log_truncate(f.log, 10), ERR_NONE);
    cr_assert_eq(log_start_offset(f.log), 10);
    cr_assert_eq(log_end_offset(f.log), 10);
}

Test(log_truncate, readers_keep_what_they_hold)
{
    struct log_range range;
    uint8_t byte;

    append_n(&f, 30);
    cr_assert_eq(log_read(f.log, 29, 30, 1000, true, &range), ERR_NONE);
    cr_assert_eq(log_truncate_fully(f.log, 0), ERR_NONE);
    env_mem_advance(f.env, 100000);
    cr_assert_eq(env_file_read(range.file, &byte, 1, range.position), 1);
    env_file_unref(range.file);
}

/* ---- leader epochs -------------------------------------------------------*/

static void assert_epoch_end(int32_t epoch, int32_t found, int64_t offset)
{
    int64_t end_offset;
    int32_t found_epoch;

    log_end_offset_for_epoch(f.log, epoch, &found_epoch, &end_offset);
    cr_assert(found_epoch == found && end_offset == offset,
              "epoch %d: %d ends at %lld", epoch, found_epoch,
              (long long)end_offset);
}

Test(log_truncate, epochs_end_where_the_next_begins)
{
    assert_epoch_end(3, -1, -1);
    cr_assert_eq(log_assign_epoch(f.log, 2, 0), ERR_NONE);
    for (int i = 0; i < 5; i++)
        append(&f, (struct batch_shape){.epoch = 2});
    for (int i = 0; i < 5; i++)
        append(&f, (struct batch_shape){.epoch = 7});
    cr_assert_eq(log_latest_epoch(f.log), 7);
    assert_epoch_end(7, 7, 10);
    assert_epoch_end(2, 2, 5);
    assert_epoch_end(4, 2, 5);   /* the largest not above */
    assert_epoch_end(1, 1, 0);   /* older than all known */
    assert_epoch_end(8, -1, -1); /* newer than all known */
    assert_epoch_end(-1, -1, -1);
    cr_assert_eq(log_epoch_at(f.log, 4), 2);
    cr_assert_eq(log_epoch_at(f.log, 5), 7);
}

Test(log_truncate, an_epoch_without_records_gives_way)
{
    append(&f, (struct batch_shape){.epoch = 1});
    cr_assert_eq(log_assign_epoch(f.log, 5, 1), ERR_NONE);
    assert_epoch_end(5, 5, 1);
    assert_epoch_end(1, 1, 1);
    /* The leader of epoch 5 is gone; that of epoch 4 had a record. */
    append(&f, (struct batch_shape){.epoch = 4});
    cr_assert_eq(log_latest_epoch(f.log), 4);
    assert_epoch_end(4, 4, 2);
    /* The same epoch again changes nothing. */
    cr_assert_eq(log_assign_epoch(f.log, 4, 2), ERR_NONE);
    cr_assert_eq(log_epoch_at(f.log, 1), 4);
    cr_assert_eq(log_assign_epoch(f.log, -1, 2), ERR_INVALID_REQUEST);
}

Test(log_truncate, truncation_takes_epochs_from_the_end)
{
    for (int i = 0; i < 30; i++)
        append(&f, (struct batch_shape){.epoch = i / 10});
    cr_assert_eq(log_truncate(f.log, 20), ERR_NONE);
    cr_assert_eq(log_latest_epoch(f.log), 1);
    assert_epoch_end(1, 1, 20);
    assert_epoch_end(2, -1, -1);
    cr_assert_eq(log_truncate(f.log, 5), ERR_NONE);
    assert_epoch_end(0, 0, 5);
    const struct buf *text =
        env_mem_file(f.env, LOG_PATH "/leader-epoch-checkpoint");
    cr_assert(slice_eq_str(buf_slice(text), "0\n1\n0 0\n"));
}

Test(log_truncate, retention_takes_epochs_from_the_start)
{
    for (int i = 0; i < 30; i++)
        append(&f, (struct batch_shape){.epoch = i / 10});
    cr_assert_eq(log_raise_start(f.log, 15), ERR_NONE);
    assert_epoch_end(0, 0, 15);
    assert_epoch_end(1, 1, 20);
    cr_assert_eq(log_epoch_at(f.log, 14), -1);
    cr_assert_eq(log_epoch_at(f.log, 15), 1);
}

/* Elections move thousands of idle partitions: no file is touched. */
Test(log_truncate, assigning_an_epoch_is_free)
{
    struct disk_counts before = *env_mem_counts(f.env);

    for (int32_t epoch = 0; epoch < 5; epoch++)
        cr_assert_eq(log_assign_epoch(f.log, epoch, 0), ERR_NONE);
    cr_assert_eq(memcmp(&before, env_mem_counts(f.env), sizeof before), 0);
}

/* On a full disk there may be no room for a longer name. */
Test(log_truncate, segments_go_without_room_for_their_names)
{
    struct disk_faults full = {.rename_to = ".deleted", .error = -ENOSPC};

    append_n(&f, 40);
    *env_mem_faults(f.env) = full;
    cr_assert_eq(log_truncate(f.log, 3), ERR_NONE);
    *env_mem_faults(f.env) = (struct disk_faults){0};
    append_n(&f, 1);
    fixture_close(&f);
    fixture_open(&f, true, 0);
    cr_assert_eq(log_end_offset(f.log), 4);
    cr_assert_eq(count_batches(&f), 4);
    *env_mem_faults(f.env) = full;
    cr_assert_eq(log_truncate_fully(f.log, 100), ERR_NONE);
    *env_mem_faults(f.env) = (struct disk_faults){0};
    fixture_close(&f);
    fixture_open(&f, true, 0);
    cr_assert_eq(log_start_offset(f.log), 100);
}

/* It would have a part of another history behind what is appended next.  What
 * is left is a log without a gap. */
Test(log_truncate, a_segment_that_does_not_go_fails_the_log)
{
    for (int fully = 0; fully < 2; fully++) {
        end();
        begin();
        append_n(&f, 40);
        int64_t base = log_segment_base_offset(f.log, 20);
        *env_mem_faults(f.env) = (struct disk_faults){
            .rename_to = ".deleted",
            .unlink_of = strrchr(file_name(base, ".log"), '/'),
            .error = -ENOSPC,
        };
        enum err err =
            fully ? log_truncate_fully(f.log, 0) : log_truncate(f.log, 3);
        *env_mem_faults(f.env) = (struct disk_faults){0};
        cr_assert_eq(err, ERR_FULL);
        cr_assert(log_failed(f.log));
        fixture_close(&f);
        fixture_open(&f, true, 0);
        cr_assert_lt(log_end_offset(f.log), 40);
        cr_assert_gt(log_end_offset(f.log), base);
        cr_assert_eq(count_batches(&f), (int)log_end_offset(f.log));
    }
}

/* The segment that is cut and the names of those behind it get to the disk each
 * on its own. */
Test(log_truncate, a_power_loss_leaves_no_gap)
{
    for (int turns = 0; turns < 40; turns++) {
        end();
        begin_seeded((uint64_t)turns);
        append_n(&f, 40);
        cr_assert_eq(log_flush_now(f.log), ERR_NONE);
        cr_assert_eq(log_truncate(f.log, 3), ERR_NONE);
        fixture_crash(&f, ENV_MEM_POWER);
        cr_assert_eq(fixture_try_open(&f, false, 3, 0), ERR_NONE);
        cr_assert_lt(f.report.damaged_at, 0, "%s", f.report.message);
        free(f.report.message);
        cr_assert_geq(log_end_offset(f.log), 3);
    }
}

/* Batches of one length, and about that of a page, so that what was cut off
 * fits exactly in front of what is written behind it. */
static void append_pages(int32_t epoch)
{
    for (int i = 0; i < 10; i++)
        append(&f, (struct batch_shape){
                       .timestamp = 1000, .epoch = epoch, .value_bytes = 4000});
}

Test(log_truncate, a_power_loss_brings_nothing_back)
{
    for (int turns = 0; turns < 40; turns++) {
        end();
        begin_seeded((uint64_t)turns);
        f.config.segment_bytes = 1 << 30;
        log_set_config(f.log, &f.config);
        append_pages(0);
        int64_t batch_bytes = log_size_bytes(f.log) / 10;
        cr_assert_eq(log_flush_now(f.log), ERR_NONE);
        cr_assert_eq(log_truncate(f.log, 3), ERR_NONE);
        append_pages(1);
        fixture_crash(&f, ENV_MEM_POWER);
        cr_assert_eq(fixture_try_open(&f, false, 3, 0), ERR_NONE);
        free(f.report.message);
        const uint8_t *batch = file(&f, 0, ".log")->data + 3 * batch_bytes;
        if (log_end_offset(f.log) > 3)
            cr_assert_eq(be32_get(batch + 12), 1);
    }
}

/* A client holds all file descriptors of the node.  When the n-th open is
 * refused the log is still one, and is cut as soon as there are some again. */
static bool truncate_without_descriptors(int64_t to, int n)
{
    env_mem_faults(f.env)->no_more_at = n;
    enum err err = log_truncate(f.log, to);
    cr_assert(err == ERR_NONE || err == ERR_EXHAUSTED, "%s", err_name(err));
    cr_assert_not(log_disk_failed(f.log));
    env_mem_faults(f.env)->no_more_at = 0;
    cr_assert_eq(count_batches(&f), log_end_offset(f.log));
    return err == ERR_NONE;
}

Test(log_truncate, without_descriptors_it_waits)
{
    bool done = false;
    int n = 0;

    while (!done) {
        end();
        begin_seeded((uint64_t)n);
        append_n(&f, 40);
        cr_assert_eq(log_flush_now(f.log), ERR_NONE);
        done = truncate_without_descriptors(3, ++n);
        cr_assert_eq(log_truncate(f.log, 3), ERR_NONE);
        cr_assert_eq(log_end_offset(f.log), 3);
        append_n(&f, 3);
        cr_assert_eq(count_batches(&f), 6);
    }
    cr_assert_gt(n, 2);
}

/* What was refused is made up for before anything is appended. */
Test(log_truncate, a_power_loss_leaves_no_gap_behind_one_that_waited)
{
    for (int turns = 0; turns < 60; turns++) {
        end();
        begin_seeded((uint64_t)turns);
        append_n(&f, 40);
        cr_assert_eq(log_flush_now(f.log), ERR_NONE);
        truncate_without_descriptors(3, 1 + turns % 6);
        int64_t cut = log_end_offset(f.log);
        append_n(&f, 1);
        fixture_crash(&f, ENV_MEM_POWER);
        cr_assert_eq(fixture_try_open(&f, false, 3, 0), ERR_NONE);
        cr_assert_lt(f.report.damaged_at, 0, "%s", f.report.message);
        free(f.report.message);
        cr_assert_leq(log_end_offset(f.log), cut + 1);
    }
}

Test(log_truncate, fully_without_descriptors_or_room_it_waits)
{
    for (int n = 1; n < 5; n++) {
        end();
        begin_seeded((uint64_t)n);
        append_n(&f, 40);
        env_mem_faults(f.env)->no_more_at = n < 4 ? n : 0;
        env_mem_faults(f.env)->open_at = n < 4 ? 0 : 1;
        env_mem_faults(f.env)->error = -ENOSPC;
        enum err err = log_truncate_fully(f.log, 100);
        cr_assert_eq(err,
                     n < 3   ? ERR_EXHAUSTED
                     : n < 4 ? ERR_NONE
                             : ERR_FULL,
                     "%d: %s", n, err_name(err));
        cr_assert_not(log_disk_failed(f.log));
        env_mem_faults(f.env)->no_more_at = 0;
        cr_assert_eq(log_start_offset(f.log), 100);
        cr_assert_eq(log_end_offset(f.log), 100);
        append_n(&f, 2);
        fixture_crash(&f, ENV_MEM_WORST);
        fixture_open(&f, false, 100);
        cr_assert_eq(log_start_offset(f.log), 100);
    }
}
