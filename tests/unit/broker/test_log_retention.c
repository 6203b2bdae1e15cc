#include "tests/unit/broker/log_fixture.h"

#include <errno.h>

static struct fixture f;

enum { PER_SEGMENT = 5 };

static void begin(void)
{
    fixture_begin(&f);
    f.config.index_interval_bytes = 200;
    fixture_open(&f, false, 0);
    append_n(&f, 1);
    f.config.segment_bytes = log_size_bytes(f.log) * PER_SEGMENT;
    log_set_config(f.log, &f.config);
    log_truncate(f.log, 0);
    /* Segments at 0, 5, 10, 15; timestamps 1000.. */
    append_n(&f, 4 * PER_SEGMENT);
    cr_assert_eq(log_segment_count(f.log), 4);
}

static void end(void) { fixture_end(&f); }

TestSuite(log_retention, .init = begin, .fini = end, .timeout = 20);

static void retain(int64_t ms, int64_t bytes)
{
    f.config.retention_ms = ms;
    f.config.retention_bytes = bytes;
    log_set_config(f.log, &f.config);
}

Test(log_retention, nothing_goes_without_limits)
{
    cr_assert_eq(log_apply_retention(f.log, INT64_MAX / 2, 20), 0);
    cr_assert_eq(count_batches(&f), 20);
}

Test(log_retention, by_the_largest_timestamp_of_a_segment)
{
    retain(100, -1);
    /* Segment 0 ends in timestamp 1004, segment 5 in 1009. */
    cr_assert_eq(log_apply_retention(f.log, 1104, 20), 0);
    cr_assert_eq(log_apply_retention(f.log, 1105, 20), 1);
    cr_assert_eq(log_start_offset(f.log), 5);
    cr_assert_eq(log_apply_retention(f.log, 1113, 20), 1);
    cr_assert_eq(log_start_offset(f.log), 10);
    cr_assert_eq(read_at(&f, 9, 20, 1).err, ERR_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(count_batches(&f), 10);
}

Test(log_retention, by_size)
{
    int64_t segment = log_size_bytes(f.log) / 4;

    retain(-1, 2 * segment + 1);
    cr_assert_eq(log_apply_retention(f.log, 0, 20), 1);
    retain(-1, 2 * segment);
    cr_assert_eq(log_apply_retention(f.log, 0, 20), 1);
    cr_assert_eq(log_start_offset(f.log), 10);
    cr_assert_eq(log_size_bytes(f.log), 2 * segment);
}

Test(log_retention, never_above_the_high_watermark)
{
    retain(0, 0);
    cr_assert_eq(log_apply_retention(f.log, 1000000, 9), 1);
    cr_assert_eq(log_start_offset(f.log), 5);
    cr_assert_eq(log_apply_retention(f.log, 1000000, 10), 1);
    cr_assert_eq(log_start_offset(f.log), 10);
}

Test(log_retention, all_of_it_rolls_first_and_the_end_is_remembered)
{
    retain(0, -1);
    cr_assert_eq(log_apply_retention(f.log, 1000000, 20), 4);
    cr_assert_eq(log_start_offset(f.log), 20);
    cr_assert_eq(log_end_offset(f.log), 20);
    cr_assert_eq(log_size_bytes(f.log), 0);
    cr_assert_eq(log_apply_retention(f.log, 1000000, 20), 0);
    fixture_close(&f);
    fixture_open(&f, false, 0);
    cr_assert_eq(log_start_offset(f.log), 20);
    cr_assert_eq(log_end_offset(f.log), 20);
    append_n(&f, 1);
    cr_assert_eq(count_batches(&f), 1);
}

Test(log_retention, only_with_the_delete_policy)
{
    retain(0, 0);
    f.config.delete_policy = false;
    f.config.compact_policy = true;
    log_set_config(f.log, &f.config);
    cr_assert_eq(log_apply_retention(f.log, 1000000, 20), 0);
    /* What DeleteRecords gave up goes in every policy. */
    cr_assert_eq(log_raise_start(f.log, 7), ERR_NONE);
    cr_assert_eq(log_segment_count(f.log), 3);
    cr_assert_eq(log_raise_start(f.log, 20), ERR_NONE);
    cr_assert_eq(log_segment_count(f.log), 1);
    cr_assert_eq(log_apply_retention(f.log, 0, 20), 1);
    cr_assert_eq(log_size_bytes(f.log), 0);
}

Test(log_retention, records_without_timestamps_count_from_when_they_were_seen)
{
    int64_t now = env_wall_ms(f.env);

    cr_assert_eq(log_truncate_fully(f.log, 0), ERR_NONE);
    for (int i = 0; i < 2 * PER_SEGMENT; i++)
        append(&f, (struct batch_shape){.timestamp = -1});
    retain(1000, -1);
    cr_assert_eq(log_apply_retention(f.log, now + 1000, 10), 0);
    cr_assert_eq(log_apply_retention(f.log, now + 1001, 10), 2);
}

Test(log_retention, the_start_offset_may_lie_inside_a_batch)
{
    cr_assert_eq(log_truncate_fully(f.log, 0), ERR_NONE);
    for (int i = 0; i < 4; i++)
        append(&f, (struct batch_shape){.records = 10});
    cr_assert_eq(log_raise_start(f.log, 13), ERR_NONE);
    cr_assert_eq(log_start_offset(f.log), 13);
    cr_assert_eq(read_at(&f, 13, 40, 1).first, 10);
    cr_assert_eq(read_at(&f, 12, 40, 1).err, ERR_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(log_raise_start(f.log, 5), ERR_NONE);
    cr_assert_eq(log_start_offset(f.log), 13, "it never falls");
    cr_assert_eq(log_raise_start(f.log, 41), ERR_OFFSET_OUT_OF_RANGE);
    /* The caller keeps it. */
    fixture_close(&f);
    cr_assert_eq(fixture_try_open(&f, true, 0, 13), ERR_NONE);
    cr_assert_eq(log_start_offset(f.log), 13);
}

Test(log_retention, files_are_renamed_then_unlinked)
{
    retain(-1, 0);
    cr_assert_eq(log_apply_retention(f.log, 0, 10), 2);
    cr_assert_null(file(&f, 0, ".log"));
    cr_assert_not_null(file(&f, 0, ".log.deleted"));
    cr_assert_not_null(file(&f, 0, ".index.deleted"));
    cr_assert_not_null(file(&f, 5, ".timeindex.deleted"));
    env_mem_advance(f.env, 59999);
    cr_assert_not_null(file(&f, 0, ".log.deleted"));
    env_mem_advance(f.env, 1);
    cr_assert_null(file(&f, 0, ".log.deleted"));
    cr_assert_null(file(&f, 5, ".timeindex.deleted"));
}

Test(log_retention, deleted_segments_stay_deleted_once_that_is_synced)
{
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(log_raise_start(f.log, 12), ERR_NONE);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_crash(&f, ENV_MEM_WORST);
    cr_assert_null(file(&f, 0, ".log"));
    fixture_open(&f, false, 0);
    cr_assert_eq(log_start_offset(f.log), 10);
}

Test(log_retention, truncated_segments_stay_gone_once_that_is_synced)
{
    env_mem_run(f.env);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(log_truncate(f.log, 12), ERR_NONE);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_crash(&f, ENV_MEM_WORST);
    cr_assert_null(file(&f, 15, ".log"));
    fixture_open(&f, false, 12);
    cr_assert_eq(log_end_offset(f.log), 12);
}

/* A power loss may undo the renames; the caller's start offset wins. */
Test(log_retention, deleted_segments_that_come_back_go_again)
{
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(log_raise_start(f.log, 12), ERR_NONE);
    fixture_crash(&f, ENV_MEM_WORST);
    cr_assert_not_null(file(&f, 0, ".log"));
    cr_assert_eq(fixture_try_open(&f, false, 20, 12), ERR_NONE);
    cr_assert_null(file(&f, 0, ".log"));
    cr_assert_null(file(&f, 5, ".timeindex"));
    cr_assert_eq(log_start_offset(f.log), 12);
    cr_assert_eq(log_segment_count(f.log), 2);
}

Test(log_retention, a_closed_log_leaves_no_renamed_files)
{
    retain(-1, 0);
    cr_assert_eq(log_apply_retention(f.log, 0, 10), 2);
    fixture_close(&f);
    cr_assert_null(file(&f, 0, ".log.deleted"));
    cr_assert(env_mem_idle(f.env));
    fixture_open(&f, true, 0);
}

/* A full disk may have no room for a longer name. */
Test(log_retention, segments_go_without_room_for_their_names)
{
    retain(-1, 0);
    *env_mem_faults(f.env) =
        (struct disk_faults){.rename_to = ".deleted", .error = -ENOSPC};
    cr_assert_eq(log_apply_retention(f.log, 0, 10), 2);
    *env_mem_faults(f.env) = (struct disk_faults){0};
    cr_assert_null(file(&f, 0, ".log"));
    cr_assert_null(file(&f, 5, ".timeindex"));
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_crash(&f, ENV_MEM_WORST);
    fixture_open(&f, false, 0);
    cr_assert_eq(log_start_offset(f.log), 10);
}

Test(log_retention, what_does_not_go_is_tried_again)
{
    int64_t size = log_size_bytes(f.log);

    retain(-1, 0);
    *env_mem_faults(f.env) = (struct disk_faults){
        .rename_to = ".deleted",
        .unlink_of = strrchr(file_name(5, ".log"), '/'),
    };
    cr_assert_eq(log_apply_retention(f.log, 0, 15), 1);
    cr_assert_eq(log_apply_retention(f.log, 0, 15), 0);
    cr_assert_eq(log_start_offset(f.log), 15);
    cr_assert_eq(read_at(&f, 14, 20, 1).err, ERR_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(read_at(&f, 15, 20, 1).first, 15);
    cr_assert_not_null(file(&f, 5, ".log"));
    cr_assert_not_null(file(&f, 10, ".log"), "none goes before an older one");
    cr_assert_not(log_failed(f.log));
    *env_mem_faults(f.env) = (struct disk_faults){0};
    cr_assert_eq(log_apply_retention(f.log, 0, 15), 2);
    cr_assert_null(file(&f, 5, ".log"));
    cr_assert_eq(log_size_bytes(f.log), size / 4);
    cr_assert_eq(count_batches(&f), 5);
}

Test(log_retention, a_deleted_log_goes_without_room_for_its_name)
{
    *env_mem_faults(f.env) =
        (struct disk_faults){.rename_to = "-delete", .error = -ENOSPC};
    log_delete(f.log);
    f.log = NULL;
    *env_mem_faults(f.env) = (struct disk_faults){0};
    env_mem_run(f.env);
    cr_assert_eq(env_path_kind(f.env, LOG_PATH), 0);
}

Test(log_retention, a_deleted_log_is_gone)
{
    struct log_range range;
    uint8_t byte;
    char **names;
    size_t names_len;

    cr_assert_eq(log_read(f.log, 0, 20, 100, true, &range), ERR_NONE);
    log_delete(f.log);
    f.log = NULL;
    cr_assert_eq(env_path_kind(f.env, LOG_PATH), 0);
    cr_assert_eq(env_list_dir(f.env, LOG_DIR, &names, &names_len), 0);
    cr_assert_eq(names_len, 1);
    cr_assert(strncmp(names[0], "t-0.", 4) == 0 &&
              strlen(names[0]) == 4 + 32 + 7);
    free(names[0]);
    free(names);
    env_mem_run(f.env);
    cr_assert_eq(env_list_dir(f.env, LOG_DIR, &names, &names_len), 0);
    cr_assert_eq(names_len, 0);
    free(names);
    /* A reader is not cut off. */
    cr_assert_eq(env_file_read(range.file, &byte, 1, 0), 1);
    env_file_unref(range.file);
    fixture_open(&f, false, 0);
    cr_assert_eq(log_end_offset(f.log), 0);
}

static int futures;

static void on_future(void *arg, struct slice name)
{
    futures++;
    cr_assert(slice_eq(name, SLICE("t.with.dots-12")));
}

Test(log_retention, a_replica_that_was_to_come_here_is_removed_and_told)
{
    char *path = log_future_path(f.env, LOG_DIR "/t.with.dots-12");
    char *file = xasprintf("%s/00000000000000000000.log", path);

    cr_assert_eq(env_mkdir(f.env, path), 0);
    cr_assert_eq(env_write_all(f.env, file, SLICE("some")), 0);
    cr_assert_eq(log_remove_leftovers(f.env, LOG_DIR, on_future, NULL), 1);
    cr_assert_eq(futures, 1);
    cr_assert_eq(env_path_kind(f.env, path), 0);
    free(file);
    free(path);
}

Test(log_retention, a_log_goes_on_under_another_name)
{
    env_mem_run(f.env);
    cr_assert_not(log_is_flushing(f.log));
    cr_assert_eq(log_rename(f.log, LOG_DIR "/u-0"), 0);
    cr_assert_str_eq(log_path(f.log), LOG_DIR "/u-0");
    cr_assert_eq(env_path_kind(f.env, LOG_DIR "/u-0"), 2);
    append_n(&f, 3);
    cr_assert_eq(count_batches(&f), 4 * PER_SEGMENT + 3);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(log_synced_offset(f.log), log_end_offset(f.log));
}

Test(log_retention, leftovers_of_deletions_are_removed_at_start)
{
    const char *stay[] = {"t-0", "x.00-delete", "meta.properties",
                          "0123456789abcdef0123456789abcdef-delete"};

    log_delete(f.log);
    f.log = NULL;
    env_mem_freeze(f.env);
    env_mem_run(f.env);
    env_mem_crash(f.env, ENV_MEM_KILL);
    for (int i = 0; i < 4; i++) {
        char *path = xasprintf(LOG_DIR "/%s", stay[i]);
        env_mkdir(f.env, path);
        free(path);
    }
    cr_assert_eq(log_remove_leftovers(f.env, LOG_DIR, on_future, NULL), 1);
    cr_assert_eq(log_remove_leftovers(f.env, LOG_DIR, on_future, NULL), 0);
    cr_assert_eq(futures, 0);
    for (int i = 0; i < 4; i++) {
        char *path = xasprintf(LOG_DIR "/%s", stay[i]);
        cr_assert_eq(env_path_kind(f.env, path), 2);
        free(path);
    }
}
