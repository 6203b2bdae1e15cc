#include "tests/unit/broker/log_fixture.h"

#include <errno.h>

static struct fixture f;

static void begin(void)
{
    fixture_begin(&f);
    fixture_open(&f, false, 0);
}

static void end(void) { fixture_end(&f); }

TestSuite(log_append, .init = begin, .fini = end, .timeout = 20);

Test(log_append, a_new_log_is_an_empty_directory)
{
    cr_assert_eq(log_start_offset(f.log), 0);
    cr_assert_eq(log_end_offset(f.log), 0);
    cr_assert_eq(log_size_bytes(f.log), 0);
    cr_assert_eq(log_latest_epoch(f.log), -1);
    cr_assert_eq(env_path_kind(f.env, LOG_PATH), 2);
    cr_assert_null(file(&f, 0, ".log"));
    cr_assert_eq(env_mem_open_files(f.env), 0);
}

Test(log_append, offsets_go_up_and_bytes_come_back)
{
    struct log_append_info info;
    struct buf bytes = BUF_INIT;

    append(&f, (struct batch_shape){.records = 3, .timestamp = 10});
    put_batch(&f, &bytes,
              (struct batch_shape){.base_offset = 3,
                                   .records = 2,
                                   .timestamp = 50,
                                   .timestamp_step = -10});
    cr_assert_eq(log_append(f.log, buf_slice(&bytes), 1, &info), ERR_NONE);
    cr_assert_eq(info.first_offset, 3);
    cr_assert_eq(info.end_offset, 5);
    cr_assert_eq(info.max_timestamp, 50);
    cr_assert_eq(info.max_timestamp_offset, 4);
    cr_assert_eq(log_end_offset(f.log), 5);

    const struct buf *stored = file(&f, 0, ".log");
    cr_assert_eq(stored->len, (size_t)log_size_bytes(f.log));
    cr_assert_eq(
        memcmp(stored->data + stored->len - bytes.len, bytes.data, bytes.len),
        0);
    buf_free(&bytes);
}

Test(log_append, the_topic_id_is_written_as_kafka_writes_it)
{
    append_n(&f, 1);
    const struct buf *text =
        env_mem_file(f.env, LOG_PATH "/partition.metadata");
    cr_assert(slice_eq_str(buf_slice(text),
                           "version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4PEA"));
}

Test(log_append, a_read_starts_at_the_batch_that_holds_the_offset)
{
    for (int i = 0; i < 10; i++)
        append(&f, (struct batch_shape){.records = 5});
    for (int64_t offset = 0; offset < 50; offset++) {
        struct read_result r = read_at(&f, offset, 50, 1 << 20);
        cr_assert_eq(r.first, offset / 5 * 5);
        cr_assert_eq(r.end, 50);
    }
    cr_assert_eq(read_at(&f, 50, 50, 100).batches, 0);
    cr_assert_eq(read_at(&f, 50, 50, 100).err, ERR_NONE);
    cr_assert_eq(read_at(&f, 51, 51, 100).err, ERR_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(read_at(&f, -1, 51, 100).err, ERR_OFFSET_OUT_OF_RANGE);
}

Test(log_append, a_read_stays_below_the_end_it_is_given)
{
    for (int i = 0; i < 10; i++)
        append(&f, (struct batch_shape){.records = 5});
    for (int64_t end = 1; end <= 50; end++) {
        struct read_result r = read_at(&f, 0, end, 1 << 20);
        /* Inside a batch the whole batch stays out. */
        cr_assert_eq(r.batches, end / 5);
        cr_assert_eq(r.err, ERR_NONE);
    }
}

Test(log_append, a_read_keeps_to_max_bytes_in_whole_batches)
{
    append_n(&f, 10);
    uint32_t one = (uint32_t)log_size_bytes(f.log) / 10;

    cr_assert_eq(read_at(&f, 2, 10, 3 * one).batches, 3);
    cr_assert_eq(read_at(&f, 2, 10, 3 * one + 1).batches, 3);
    cr_assert_eq(read_at(&f, 2, 10, 3 * one - 1).batches, 2);
    /* The first batch comes however small the limit is... */
    cr_assert_eq(read_at(&f, 2, 10, 1).batches, 1);
    /* ... unless the caller has got enough already. */
    struct log_range range;
    cr_assert_eq(log_read(f.log, 2, 10, one - 1, false, &range), ERR_NONE);
    cr_assert_eq(range.len, 0);
    cr_assert_null(range.file);
}

Test(log_append, old_offsets_are_found_through_the_index)
{
    append_n(&f, 2000);
    uint32_t one = (uint32_t)log_size_bytes(f.log) / 2000;

    log_flush_now(f.log);
    cr_assert(file(&f, 0, ".index")->len > 8 * 40);
    for (int64_t offset = 0; offset < 2000; offset += 7) {
        struct read_result r = read_at(&f, offset, 2000, 50 * one);
        cr_assert_eq(r.first, offset);
        cr_assert(r.batches == 50 || r.end == 2000 ||
                      (r.batches < 50 && r.batches > 50 - 4096 / (int)one - 2),
                  "%d batches at %lld", r.batches, (long long)offset);
    }
    for (int64_t end = 1; end < 2000; end += 7)
        cr_assert_eq(read_at(&f, 0, end, 1 << 30).end, end);
}

Test(log_append, reading_the_tail_touches_no_file)
{
    append_n(&f, 100);
    struct log_range range;
    struct disk_counts before = *env_mem_counts(f.env);

    for (int64_t offset = 60; offset < 100; offset++) {
        cr_assert_eq(log_read(f.log, offset, 99, 500, true, &range), ERR_NONE);
        if (range.file != NULL)
            env_file_unref(range.file);
    }
    cr_assert_eq(memcmp(&before, env_mem_counts(f.env), sizeof before), 0);
}

Test(log_append, index_entries_are_kafkas)
{
    f.config.index_interval_bytes = 300;
    log_set_config(f.log, &f.config);
    for (int i = 0; i < 6; i++)
        append(&f, (struct batch_shape){.records = 2,
                                        .value_bytes = 20,
                                        .timestamp = i == 3 ? 5000 : 1000 + i});
    uint32_t one = (uint32_t)log_size_bytes(f.log) / 6;
    cr_assert(one * 2 < 300 && one * 3 > 300, "the test's arithmetic");
    fixture_close(&f);

    /* More than 300 bytes lie before batch 3 of offsets 6 and 7. */
    const struct buf *index = file(&f, 0, ".index");
    cr_assert_eq(index->len, 8);
    cr_assert_eq(be32_get(index->data), 7);
    cr_assert_eq(be32_get(index->data + 4), 3 * one);
    /* The largest timestamp so far and the last offset of its batch. */
    const struct buf *times = file(&f, 0, ".timeindex");
    cr_assert_eq(times->len, 12);
    cr_assert_eq(be64_get(times->data), 5000);
    cr_assert_eq(be32_get(times->data + 8), 7);
}

Test(log_append, a_segment_rolls_before_it_would_pass_segment_bytes)
{
    f.config.segment_bytes = 1000;
    log_set_config(f.log, &f.config);
    append_n(&f, 20);
    uint32_t one = (uint32_t)log_size_bytes(f.log) / 20;
    int per_segment = 1000 / (int)one;

    cr_assert_eq(log_segment_count(f.log),
                 (20 + per_segment - 1) / per_segment);
    cr_assert_eq(file(&f, 0, ".log")->len, (size_t)per_segment * one);
    cr_assert_not_null(file(&f, per_segment, ".log"));
    cr_assert_not_null(file(&f, 0, ".index"));
    cr_assert_eq(file(&f, 0, ".timeindex")->len, 12);
    cr_assert_eq(count_batches(&f), 20);
    /* An answer never spans segments. */
    cr_assert_eq(read_at(&f, 0, 20, 1 << 20).end, per_segment);
}

Test(log_append, a_segment_rolls_by_the_timestamps_in_it)
{
    f.config.segment_ms = 100;
    log_set_config(f.log, &f.config);
    append(&f, (struct batch_shape){.timestamp = 1000});
    append(&f, (struct batch_shape){.timestamp = 1100});
    cr_assert_eq(log_segment_count(f.log), 1);
    append(&f, (struct batch_shape){.timestamp = 1101});
    cr_assert_eq(log_segment_count(f.log), 2);
    /* Also after the log was closed. */
    fixture_close(&f);
    fixture_open(&f, true, 0);
    append(&f, (struct batch_shape){.timestamp = 1201});
    cr_assert_eq(log_segment_count(f.log), 2);
    append(&f, (struct batch_shape){.timestamp = 1202});
    cr_assert_eq(log_segment_count(f.log), 3);
}

Test(log_append, a_time_before_all_times_does_not_roll)
{
    struct log_config config = f.config;

    config.segment_ms = 1000;
    log_set_config(f.log, &config);
    append(&f, (struct batch_shape){.timestamp = INT64_MAX});
    append(&f, (struct batch_shape){.timestamp = INT64_MIN});
    cr_assert_eq(log_segment_count(f.log), 1);
}

Test(log_append, a_segment_rolls_when_its_index_is_full)
{
    f.config.segment_index_bytes = 24;
    f.config.index_interval_bytes = 1;
    log_set_config(f.log, &f.config);
    append_n(&f, 8);
    /* Three offset entries, but one time entry besides the reserved one. */
    fixture_close(&f);
    for (int64_t base = 0; file(&f, base, ".log") != NULL; base += 2) {
        cr_assert_leq(file(&f, base, ".index")->len, 24);
        cr_assert_leq(file(&f, base, ".timeindex")->len, 24);
    }
    fixture_open(&f, true, 0);
    cr_assert_eq(log_segment_count(f.log), 4);
    cr_assert_eq(count_batches(&f), 8);
}

Test(log_append, an_offset_too_far_for_the_index_rolls)
{
    struct log_append_info info;
    struct buf bytes = BUF_INIT;
    int64_t far = (int64_t)INT32_MAX + 5;

    append_n(&f, 1);
    put_batch(&f, &bytes, (struct batch_shape){.base_offset = far});
    cr_assert_eq(log_append(f.log, buf_slice(&bytes), 1, &info), ERR_NONE);
    cr_assert_eq(log_segment_count(f.log), 2);
    cr_assert_not_null(file(&f, far, ".log"));
    /* Offsets nobody has lead to the next batch there is. */
    cr_assert_eq(read_at(&f, 17, far + 1, 1000).first, far);
    buf_free(&bytes);
}

/* A follower gets in one piece what the leader appended one by one. */
Test(log_append, replicas_roll_and_index_alike)
{
    struct log_append_info info;
    struct buf all = BUF_INIT;
    struct fixture leader;

    fixture_begin(&leader);
    leader.config.segment_bytes = f.config.segment_bytes = 3000;
    leader.config.index_interval_bytes = f.config.index_interval_bytes = 500;
    leader.config.segment_ms = f.config.segment_ms = 200;
    fixture_open(&leader, false, 0);
    log_set_config(f.log, &f.config);
    for (int i = 0; i < 100; i++) {
        struct batch_shape shape = {.base_offset = i,
                                    .value_bytes = 10 + (size_t)i * 7 % 300,
                                    .timestamp = i * i};
        append(&leader, shape);
        put_batch(&f, &all, shape);
    }
    cr_assert_eq(log_append(f.log, buf_slice(&all), 1, &info), ERR_NONE);
    cr_assert_eq(info.first_offset, 0);
    cr_assert_eq(info.end_offset, 100);
    cr_assert_gt(log_segment_count(f.log), 5);
    cr_assert_eq(log_segment_count(f.log), log_segment_count(leader.log));
    fixture_close(&f);
    fixture_close(&leader);
    for (int64_t base = 0; base < 100; base++) {
        const char *suffixes[] = {".log", ".index", ".timeindex"};
        for (int i = 0; i < 3; i++) {
            const struct buf *a = file(&f, base, suffixes[i]);
            const struct buf *b = file(&leader, base, suffixes[i]);
            cr_assert_eq(a == NULL, b == NULL);
            cr_assert(a == NULL || slice_eq(buf_slice(a), buf_slice(b)),
                      "%lld%s", (long long)base, suffixes[i]);
        }
    }
    buf_free(&all);
    fixture_end(&leader);
}

Test(log_append, what_is_no_row_of_whole_batches_is_refused)
{
    struct log_append_info info;
    struct buf bytes = BUF_INIT;

    append_n(&f, 3);
    int64_t size = log_size_bytes(f.log);
    put_batch(&f, &bytes, (struct batch_shape){.base_offset = 3});
    for (size_t n = 1; n < bytes.len; n++)
        cr_assert_eq(log_append(f.log, slice_of(bytes.data, n), 1, &info),
                     ERR_CORRUPT_MESSAGE);
    be64_put(bytes.data, 2); /* an offset that is taken */
    cr_assert_eq(log_append(f.log, buf_slice(&bytes), 1, &info),
                 ERR_CORRUPT_MESSAGE);
    cr_assert_eq(log_append(f.log, slice_of(bytes.data, 0), 1, &info),
                 ERR_NONE);
    cr_assert_eq(log_end_offset(f.log), 3);
    cr_assert_eq(log_size_bytes(f.log), size);
    buf_free(&bytes);
}

Test(log_append, a_full_disk_leaves_the_log_as_it_was)
{
    append_n(&f, 5);
    int64_t size = log_size_bytes(f.log);

    for (int i = 0; i < 10; i++) {
        env_mem_faults(f.env)->write_at = 1;
        env_mem_faults(f.env)->error = -ENOSPC;
        cr_assert_eq(try_append(&f, (struct batch_shape){0}), ERR_FULL);
        cr_assert_eq(file(&f, 0, ".log")->len, (size_t)size);
        cr_assert_eq(log_end_offset(f.log), 5);
        cr_assert_eq(count_batches(&f), 5);
    }
    append_n(&f, 1);
    cr_assert_eq(count_batches(&f), 6);
    cr_assert_not(log_failed(f.log));
}

/* At whichever write or create of an append that rolls twice. */
Test(log_append, a_full_disk_between_two_segments_leaves_the_log_as_it_was)
{
    struct log_append_info info;

    f.config.segment_bytes = 400;
    log_set_config(f.log, &f.config);
    append_n(&f, 3);
    int64_t end = log_end_offset(f.log);
    int segments = log_segment_count(f.log);
    bool succeeded = false;
    for (int n = 1; !succeeded; n++) {
        for (int what = 0; what < 2; what++) {
            struct buf all = BUF_INIT;
            for (int i = 0; i < 5; i++)
                put_batch(&f, &all,
                          (struct batch_shape){.base_offset = end + i});
            *env_mem_faults(f.env) = (struct disk_faults){
                .write_at = what == 0 ? n : 0,
                .open_at = what == 1 ? n : 0,
                .error = -ENOSPC,
            };
            enum err err = log_append(f.log, buf_slice(&all), 1, &info);
            buf_free(&all);
            *env_mem_faults(f.env) = (struct disk_faults){0};
            if (err == ERR_NONE) {
                succeeded = true;
                cr_assert_eq(log_truncate(f.log, end), ERR_NONE);
                continue;
            }
            cr_assert_eq(err, ERR_FULL);
            cr_assert_eq(log_end_offset(f.log), end);
            cr_assert_eq(log_segment_count(f.log), segments);
            cr_assert_eq(count_batches(&f), end);
            append_n(&f, 1);
            cr_assert_eq(log_truncate(f.log, end), ERR_NONE);
            cr_assert_eq(log_segment_count(f.log), segments);
        }
        cr_assert_lt(n, 100);
    }
    fixture_close(&f);
    fixture_open(&f, false, 0);
    cr_assert_eq(count_batches(&f), end);
}

/* Room for two batches and a small one in the first segment; the third batch
 * rolls and is not written, and there is no room for longer names. */
static enum err roll_for_nothing(const char *unlink_of)
{
    f.config.segment_bytes = 500;
    log_set_config(f.log, &f.config);
    append_n(&f, 2);
    *env_mem_faults(f.env) = (struct disk_faults){
        .write_at = 2, /* behind the time index */
        .rename_to = ".deleted",
        .unlink_of = unlink_of,
        .error = -ENOSPC,
    };
    enum err err = try_append(&f, (struct batch_shape){0});
    *env_mem_faults(f.env) = (struct disk_faults){0};
    return err;
}

/* The segment begun for nothing would hide the small batch after a restart. */
Test(log_append, a_segment_begun_for_nothing_goes_without_room_for_its_name)
{
    cr_assert_eq(roll_for_nothing(NULL), ERR_FULL);
    cr_assert_null(file(&f, 2, ".log"));
    append(&f, (struct batch_shape){.value_bytes = 1});
    cr_assert_eq(log_segment_count(f.log), 1);
    append_n(&f, 2);
    cr_assert_eq(log_segment_count(f.log), 2);
    fixture_close(&f);
    fixture_open(&f, true, 0);
    cr_assert_eq(count_batches(&f), 5);
}

Test(log_append, a_segment_begun_for_nothing_that_stays_fails_the_log)
{
    cr_assert_eq(roll_for_nothing("2.log"), ERR_FULL);
    cr_assert_not_null(file(&f, 2, ".log"));
    cr_assert(log_failed(f.log));
    cr_assert_eq(try_append(&f, (struct batch_shape){.value_bytes = 1}),
                 ERR_IO);
    fixture_close(&f);
    fixture_open(&f, true, 0);
    cr_assert_eq(count_batches(&f), 2);
    append_n(&f, 1);
    cr_assert_eq(count_batches(&f), 3);
}

Test(log_append, a_segment_file_that_is_of_no_use_goes_too)
{
    f.config.segment_bytes = 500;
    log_set_config(f.log, &f.config);
    append_n(&f, 2);
    env_mem_faults(f.env)->truncate_at = 1;
    env_mem_faults(f.env)->error = -ENOSPC;
    cr_assert_eq(try_append(&f, (struct batch_shape){0}), ERR_FULL);
    *env_mem_faults(f.env) = (struct disk_faults){0};
    cr_assert_null(file(&f, 2, ".log"));
    cr_assert_not(log_failed(f.log));
}

Test(log_append, a_log_that_cannot_be_cut_back_is_failed)
{
    append_n(&f, 2);
    env_mem_faults(f.env)->write_at = 1;
    env_mem_faults(f.env)->truncate_at = 1;
    cr_assert_eq(try_append(&f, (struct batch_shape){0}), ERR_IO);
    cr_assert(log_failed(f.log));
    *env_mem_faults(f.env) = (struct disk_faults){0};
    cr_assert_eq(try_append(&f, (struct batch_shape){0}), ERR_IO);
    cr_assert_eq(read_at(&f, 0, 2, 100).err, ERR_IO);
    /* The next process cuts the torn tail. */
    fixture_close(&f);
    fixture_open(&f, false, 0);
    cr_assert_eq(log_end_offset(f.log), 2);
}

Test(log_append, the_first_append_can_fail_too)
{
    for (int n = 1; n <= 3; n++) {
        env_mem_faults(f.env)->open_at = n;
        env_mem_faults(f.env)->error = -ENOSPC;
        enum err err = try_append(&f, (struct batch_shape){0});
        cr_assert(err == ERR_FULL || n == 3);
        env_mem_faults(f.env)->open_at = 0;
        if (err == ERR_FULL)
            cr_assert_eq(log_end_offset(f.log), 0);
    }
    append_n(&f, 1);
    cr_assert_eq(count_batches(&f), (int)log_end_offset(f.log));
}

static bool collect(void *arg, const struct batch *b, struct slice bytes)
{
    int64_t *next = arg;

    cr_assert_eq(b->base_offset, *next);
    cr_assert_eq(bytes.len, b->size_bytes);
    *next = batch_last_offset(b) + 1;
    return *next != 30;
}

Test(log_append, visiting_sees_each_batch_in_the_range)
{
    f.config.segment_bytes = 1000;
    log_set_config(f.log, &f.config);
    for (int i = 0; i < 20; i++)
        append(&f, (struct batch_shape){.records = 2});
    int64_t next = 4; /* of the batch with offset 5 */
    cr_assert_eq(log_visit(f.log, 5, 21, collect, &next), ERR_NONE);
    cr_assert_eq(next, 22);
    next = 10;
    cr_assert_eq(log_visit(f.log, 10, 40, collect, &next), ERR_NONE);
    cr_assert_eq(next, 30, "stopped by the visitor");

    /* A scan that was begun is not disturbed by what comes after. */
    struct log_scan *scan;
    cr_assert_eq(log_scan_begin(f.log, 0, 40, &scan), ERR_NONE);
    for (int i = 0; i < 20; i++)
        append(&f, (struct batch_shape){.records = 2});
    log_raise_start(f.log, 40);
    next = 0;
    cr_assert_eq(log_scan_run(scan, collect, &next), ERR_NONE);
    cr_assert_eq(next, 30);
    log_scan_end(scan);
}

Test(log_append, visiting_reports_damage)
{
    int64_t next = 0;

    append_n(&f, 5);
    file(&f, 0, ".log")->data[log_size_bytes(f.log) / 5 * 3 + 70] ^= 1;
    cr_assert_eq(log_visit(f.log, 0, 5, collect, &next), ERR_DAMAGED);
    cr_assert_eq(next, 3);
}

/* A replica that led for a moment and appended nothing: the new leader does not
 * know that epoch and says where the histories part, which is our end.  Unless
 * the epoch goes, we ask and are told the same for ever. */
Test(log_append, truncating_at_the_end_forgets_epochs_without_records)
{
    append(&f, (struct batch_shape){.records = 3, .timestamp = 10});
    log_assign_epoch(f.log, 1, 3);
    cr_assert_eq(log_latest_epoch(f.log), 1);
    cr_assert_eq(log_truncate(f.log, 3), ERR_NONE);
    cr_assert_eq(log_latest_epoch(f.log), 0);
    cr_assert_eq(log_end_offset(f.log), 3);
    fixture_close(&f);
    fixture_open(&f, true, 3);
    cr_assert_eq(log_latest_epoch(f.log), 0);
}
