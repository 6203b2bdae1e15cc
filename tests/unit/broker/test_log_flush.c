#include "tests/unit/broker/log_fixture.h"

#include <errno.h>

static struct fixture f;
static int done_count;
static int done_result;

static void begin(void)
{
    done_count = 0;
    fixture_begin(&f);
    fixture_open(&f, false, 0);
}

static void end(void) { fixture_end(&f); }

TestSuite(log_flush, .init = begin, .fini = end, .timeout = 20);

static void on_done(struct log_flush *flush)
{
    done_count++;
    done_result = flush->result;
}

static struct log_flush *flush_new(void)
{
    static struct log_flush flushes[4];
    static int turn;
    struct log_flush *flush = &flushes[turn++ % 4];

    *flush = (struct log_flush){.done = on_done};
    return flush;
}

Test(log_flush, one_sync_covers_all_that_waits)
{
    append_n(&f, 10);
    struct log_flush *flush = flush_new();
    cr_assert(log_flush_begin(f.log, flush));
    cr_assert_eq(log_synced_offset(f.log), 0);
    append_n(&f, 5);
    env_mem_run(f.env);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(done_result, 0);
    cr_assert_eq(flush->end_offset, 10);
    cr_assert_eq(log_synced_offset(f.log), 10);

    /* Once files and names are there, one fdatasync is all. */
    struct disk_counts before = *env_mem_counts(f.env);
    cr_assert(log_flush_begin(f.log, flush_new()));
    env_mem_run(f.env);
    cr_assert_eq(log_synced_offset(f.log), 15);
    cr_assert_eq(env_mem_counts(f.env)->syncs, before.syncs + 1);
    cr_assert_eq(env_mem_counts(f.env)->dir_syncs, before.dir_syncs);
    cr_assert_not(log_flush_begin(f.log, flush_new()));
}

Test(log_flush, new_files_are_synced_by_name_too)
{
    append_n(&f, 1);
    int64_t before = env_mem_counts(f.env)->dir_syncs;
    cr_assert(log_flush_begin(f.log, flush_new()));
    env_mem_run(f.env);
    /* The directory and, as it is new itself, the one it is in. */
    cr_assert_eq(env_mem_counts(f.env)->dir_syncs, before + 2);
    fixture_crash(&f, ENV_MEM_POWER);
    fixture_open(&f, false, 0);
    cr_assert_eq(count_batches(&f), 1);
}

Test(log_flush, a_roll_moves_the_recovery_point)
{
    f.config.segment_bytes = 1000;
    log_set_config(f.log, &f.config);
    append_n(&f, 30);
    env_mem_run(f.env);
    cr_assert_eq(log_recovery_point(f.log), log_active_base_offset(f.log));
    cr_assert_eq(log_synced_offset(f.log), log_active_base_offset(f.log));
    cr_assert(log_flush_begin(f.log, flush_new()));
    env_mem_run(f.env);
    cr_assert_eq(log_synced_offset(f.log), 30);
}

/* Whoever rolls a log that is synced to its end still owes the indexes. */
Test(log_flush, a_roll_syncs_the_indexes_it_leaves)
{
    f.config.segment_bytes = 2000;
    f.config.index_interval_bytes = 200;
    log_set_config(f.log, &f.config);
    while (log_segment_count(f.log) == 1) {
        append(&f,
               (struct batch_shape){.timestamp = 1000 + log_end_offset(f.log)});
        if (log_segment_count(f.log) == 1) {
            log_flush_begin(f.log, flush_new());
            env_mem_run(f.env);
        }
    }
    int64_t base = log_active_base_offset(f.log);
    cr_assert_eq(log_synced_offset(f.log), base);
    cr_assert_lt(log_recovery_point(f.log), base);
    env_mem_run(f.env);
    cr_assert_eq(log_recovery_point(f.log), base);
    fixture_crash(&f, ENV_MEM_WORST);
    cr_assert_gt(file(&f, 0, ".index")->len, 0);
    const struct buf *times = file(&f, 0, ".timeindex");
    cr_assert_eq(be32_get(times->data + times->len - 4), base - 1);
    fixture_open(&f, false, base);
    cr_assert_geq(count_batches(&f), (int)base);
}

Test(log_flush, a_failed_sync_fails_the_log)
{
    append_n(&f, 3);
    env_mem_faults(f.env)->sync_at = 1;
    cr_assert(log_flush_begin(f.log, flush_new()));
    env_mem_run(f.env);
    cr_assert_eq(done_result, -EIO);
    cr_assert(log_failed(f.log));
    cr_assert_eq(log_synced_offset(f.log), 0);
    cr_assert_not(log_flush_begin(f.log, flush_new()));
    cr_assert_eq(log_flush_now(f.log), ERR_IO);
    cr_assert_eq(try_append(&f, (struct batch_shape){0}), ERR_IO);
}

Test(log_flush, truncation_lowers_what_a_flush_stands_for)
{
    append_n(&f, 10);
    struct log_flush *flush = flush_new();
    cr_assert(log_flush_begin(f.log, flush));
    cr_assert_eq(log_truncate(f.log, 4), ERR_NONE);
    append_n(&f, 6);
    env_mem_run(f.env);
    cr_assert_eq(flush->end_offset, 4);
    cr_assert_eq(log_synced_offset(f.log), 4);
    cr_assert(log_flush_begin(f.log, flush_new()));
    env_mem_run(f.env);
    cr_assert_eq(log_synced_offset(f.log), 10);
}

Test(log_flush, a_log_closed_meanwhile_ends_its_flushes)
{
    append_n(&f, 10);
    struct log_flush *flush = flush_new();
    cr_assert(log_flush_begin(f.log, flush));
    log_close(f.log);
    f.log = NULL;
    cr_assert_eq(done_count, 0);
    env_mem_run(f.env);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(done_result, -ECANCELED);
    cr_assert_null(flush->log);
}

Test(log_flush, now_covers_what_is_under_way)
{
    append_n(&f, 10);
    cr_assert(log_flush_begin(f.log, flush_new()));
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(log_synced_offset(f.log), 10);
    fixture_crash(&f, ENV_MEM_POWER);
    cr_assert_eq(done_count, 1);
    fixture_open(&f, true, 0);
    cr_assert_eq(count_batches(&f), 10);
}

Test(log_flush, flush_messages_starts_one)
{
    f.config.flush_messages = 10;
    log_set_config(f.log, &f.config);
    append_n(&f, 9);
    env_mem_run(f.env);
    cr_assert_eq(log_synced_offset(f.log), 0);
    append_n(&f, 1);
    env_mem_run(f.env);
    cr_assert_eq(log_synced_offset(f.log), 10);
}

Test(log_flush, flush_ms_is_told)
{
    f.config.flush_ms = 100;
    log_set_config(f.log, &f.config);
    cr_assert_not(log_flush_due(f.log, env_now_ms(f.env) + 1000));
    append_n(&f, 1);
    cr_assert_not(log_flush_due(f.log, env_now_ms(f.env) + 99));
    cr_assert(log_flush_due(f.log, env_now_ms(f.env) + 100));
    cr_assert(log_flush_begin(f.log, flush_new()));
    env_mem_run(f.env);
    cr_assert_not(log_flush_due(f.log, env_now_ms(f.env) + 1000));
}

Test(log_flush, many_unsynced_segments_take_several)
{
    f.config.segment_bytes = 300;
    log_set_config(f.log, &f.config);
    append_n(&f, 40);
    int64_t before = -1;
    while (log_synced_offset(f.log) < 40) {
        cr_assert_gt(log_synced_offset(f.log), before);
        before = log_synced_offset(f.log);
        log_flush_begin(f.log, flush_new());
        env_mem_run(f.env);
    }
    fixture_crash(&f, ENV_MEM_POWER);
    fixture_open(&f, false, 40);
    cr_assert_eq(count_batches(&f), 40);
}

/* Else whoever waits for the disk would never hear of it. */
Test(log_flush, a_flush_ends_behind_those_that_cover_it)
{
    f.config.flush_messages = 1;
    log_set_config(f.log, &f.config);
    append_n(&f, 1); /* the log starts a flush of its own */
    cr_assert(log_flush_begin(f.log, flush_new()));
    cr_assert_eq(done_count, 0);
    env_mem_run(f.env);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(done_result, 0);
    cr_assert_eq(log_synced_offset(f.log), 1);
    cr_assert_not(log_flush_begin(f.log, flush_new()));
}

Test(log_flush, a_flush_fails_with_those_that_cover_it)
{
    f.config.flush_messages = 1;
    log_set_config(f.log, &f.config);
    env_mem_faults(f.env)->sync_at = 1;
    append_n(&f, 1);
    cr_assert(log_flush_begin(f.log, flush_new()));
    env_mem_run(f.env);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(done_result, -EIO);
    cr_assert_eq(log_synced_offset(f.log), 0);
}
