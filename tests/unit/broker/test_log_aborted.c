/* .txnindex files: what they hold, and what becomes of them. */
#include "tests/unit/broker/log_fixture.h"

static void note(struct fixture *f, int64_t id, int64_t first, int64_t last,
                 int64_t stable)
{
    log_note_aborted(f->log, &(struct log_aborted){id, first, last, stable});
}

/* n batches of one record, and what a transaction of `id` over all of them left
 * when it was aborted by the last. */
static void aborted_txn(struct fixture *f, int64_t id, int n)
{
    int64_t first = log_end_offset(f->log);

    append_n(f, n);
    note(f, id, first, first + n - 1, first + n);
}

static void flush(struct fixture *f)
{
    struct log_flush flush = {0};

    cr_assert(log_flush_begin(f->log, &flush));
    env_mem_run(f->env);
}

/* "id first..last" of those that overlap [from, to), with to at a batch. */
static const char *found(struct fixture *f, int64_t from, int64_t to)
{
    static char text[512];
    struct log_range range;
    struct buf list = BUF_INIT;
    size_t at = 0;

    text[0] = '\0';
    cr_assert_eq(log_read(f->log, from, to, 1 << 20, true, &range), ERR_NONE);
    cr_assert_gt(range.len, 0);
    enum err err = log_aborted_in(f->log, from, &range, &list);
    env_file_unref(range.file);
    if (err != ERR_NONE)
        return err_name(err);
    const struct log_aborted *a = (const void *)list.data;
    for (size_t i = 0; i < list.len / sizeof *a; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%lld %lld..%lld",
                               at != 0 ? ", " : "", (long long)a[i].producer_id,
                               (long long)a[i].first_offset,
                               (long long)a[i].last_offset);
    buf_free(&list);
    return text;
}

static void expect(struct fixture *f, int64_t from, int64_t to,
                   const char *wanted)
{
    const char *got = found(f, from, to);

    cr_assert_str_eq(got, wanted, "from %lld to %lld: %s instead of %s",
                     (long long)from, (long long)to, got, wanted);
}

Test(log_aborted, kafkas_bytes)
{
    static const uint8_t wanted[] = {
        0, 0,                   /* version */
        0, 0, 0, 0, 0, 0, 1, 4, /* producer id */
        0, 0, 0, 0, 0, 0, 0, 1, /* first offset */
        0, 0, 0, 0, 0, 0, 0, 3, /* offset of the marker */
        0, 0, 0, 0, 0, 0, 0, 2, /* last stable offset */
    };
    struct fixture f;

    fixture_begin(&f);
    fixture_open(&f, true, 0);
    append_n(&f, 4);
    note(&f, 260, 1, 3, 2);
    flush(&f);
    struct buf *bytes = file(&f, 0, ".txnindex");
    cr_assert_not_null(bytes);
    cr_assert(slice_eq(buf_slice(bytes), slice_of(wanted, sizeof wanted)));
    fixture_end(&f);
}

Test(log_aborted, a_log_without_aborted_transactions_has_no_file)
{
    struct fixture f;

    fixture_begin(&f);
    fixture_open(&f, true, 0);
    append_n(&f, 4);
    flush(&f);
    cr_assert_null(file(&f, 0, ".txnindex"));
    expect(&f, 0, 4, "");
    fixture_end(&f);
}

Test(log_aborted, those_that_overlap_what_is_read)
{
    struct fixture f;

    fixture_begin(&f);
    fixture_open(&f, true, 0);
    append_n(&f, 20);
    note(&f, 1, 2, 5, 3); /* id 2 is open since 3 */
    note(&f, 2, 3, 9, 10);
    note(&f, 3, 12, 14, 15);
    expect(&f, 0, 2, "");
    expect(&f, 0, 3, "1 2..5");
    expect(&f, 4, 6, "1 2..5, 2 3..9");
    expect(&f, 6, 12, "2 3..9");
    expect(&f, 6, 13, "2 3..9, 3 12..14");
    expect(&f, 10, 12, "");
    expect(&f, 15, 20, "");
    fixture_end(&f);
}

/* The marker lies segments behind the records. */
Test(log_aborted, over_segments)
{
    struct fixture f;

    fixture_begin(&f);
    f.config.segment_bytes = 400;
    fixture_open(&f, true, 0);
    while (log_segment_count(f.log) < 5)
        append_n(&f, 1);
    int64_t end = log_end_offset(f.log);
    note(&f, 7, 0, end - 1, end);
    expect(&f, 0, 1, "7 0..8");
    expect(&f, 4, 5, "7 0..8");
    cr_assert_eq(end, 9);
    fixture_close(&f);
    fixture_end(&f);
}

Test(log_aborted, a_clean_stop_keeps_all)
{
    struct fixture f;

    fixture_begin(&f);
    f.config.segment_bytes = 600;
    fixture_open(&f, true, 0);
    for (int i = 0; i < 10; i++)
        aborted_txn(&f, i, 2);
    cr_assert_gt(log_segment_count(f.log), 3);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_close(&f);
    env_mem_crash(f.env, ENV_MEM_WORST);
    fixture_open(&f, true, 20);
    cr_assert_eq(log_aborted_known(f.log), INT64_MAX);
    expect(&f, 1, 4, "0 0..1, 1 2..3");
    expect(&f, 18, 20, "9 18..19");
    fixture_end(&f);
}

/* A helper that was to sync the entry may not come to it any more. */
Test(log_aborted, a_clean_stop_keeps_what_a_flush_was_to_sync)
{
    struct fixture f;

    fixture_begin(&f);
    f.config.segment_bytes = 400;
    fixture_open(&f, true, 0);
    append_n(&f, 2);
    flush(&f);
    note(&f, 1, 0, 1, 2);
    struct log_flush late = {0};
    cr_assert(log_flush_begin(f.log, &late));
    append_n(&f, 1);
    cr_assert_eq(log_active_base_offset(f.log), 2);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(log_recovery_point(f.log), 3);
    fixture_crash(&f, ENV_MEM_WORST);
    fixture_open(&f, true, 3);
    expect(&f, 0, 2, "1 0..1");
    fixture_end(&f);
}

Test(log_aborted, noted_twice_counts_once)
{
    struct fixture f;

    fixture_begin(&f);
    fixture_open(&f, true, 0);
    aborted_txn(&f, 1, 2);
    aborted_txn(&f, 2, 2);
    note(&f, 1, 0, 1, 2);
    note(&f, 2, 2, 3, 4);
    expect(&f, 0, 4, "1 0..1, 2 2..3");
    fixture_end(&f);
}

Test(log_aborted, truncation_takes_markers_back)
{
    struct fixture f;

    fixture_begin(&f);
    fixture_open(&f, true, 0);
    aborted_txn(&f, 1, 2);
    aborted_txn(&f, 2, 2);
    flush(&f);
    aborted_txn(&f, 3, 2);
    cr_assert_eq(log_truncate(f.log, 3), ERR_NONE);
    expect(&f, 0, 3, "1 0..1");
    cr_assert_eq(file(&f, 0, ".txnindex")->len, 34);
    append_n(&f, 1);
    note(&f, 5, 2, 3, 4);
    expect(&f, 0, 4, "1 0..1, 5 2..3");
    cr_assert_eq(log_truncate_fully(f.log, 100), ERR_NONE);
    append_n(&f, 1);
    expect(&f, 100, 101, "");
    fixture_end(&f);
}

Test(log_aborted, retention_takes_the_file_along)
{
    struct fixture f;

    fixture_begin(&f);
    f.config.segment_bytes = 400;
    fixture_open(&f, true, 0);
    aborted_txn(&f, 1, 2);
    while (log_segment_count(f.log) < 3)
        append_n(&f, 1);
    flush(&f);
    cr_assert_not_null(file(&f, 0, ".txnindex"));
    cr_assert_eq(log_raise_start(f.log, log_active_base_offset(f.log)),
                 ERR_NONE);
    env_mem_advance(f.env, 100000);
    cr_assert_null(file(&f, 0, ".txnindex"));
    cr_assert_null(file(&f, 0, ".txnindex.deleted"));
    fixture_end(&f);
}

static void two_segments(struct fixture *f)
{
    fixture_begin(f);
    f->config.segment_bytes = 600;
    fixture_open(f, true, 0);
    aborted_txn(f, 1, 2);
    while (log_segment_count(f->log) < 2)
        append_n(f, 1);
    cr_assert_eq(log_flush_now(f->log), ERR_NONE);
}

/* The start is stored later: what is still there is part of the log again. */
Test(log_aborted, a_segment_whose_removal_was_cut_off_has_its_own)
{
    int there = 0, gone = 0;

    for (int turn = 1; turn < 12; turn++) {
        struct fixture f;

        two_segments(&f);
        int64_t point = log_recovery_point(f.log);
        env_mem_faults(f.env)->freeze_at = turn;
        log_raise_start(f.log, log_active_base_offset(f.log));
        fixture_crash(&f, ENV_MEM_KILL);
        fixture_open(&f, false, point);
        bool is_there = log_start_offset(f.log) == 0;
        if (is_there)
            expect(&f, 0, 2, "1 0..1");
        else
            cr_assert_null(file(&f, 0, ".txnindex"));
        there += is_there;
        gone += !is_there;
        fixture_end(&f);
    }
    cr_assert(there > 0 && gone > 0, "%d there, %d gone", there, gone);
}

Test(log_aborted, a_segment_that_cannot_be_removed_has_its_own)
{
    struct fixture f;

    two_segments(&f);
    int64_t end = log_end_offset(f.log);
    env_mem_faults(f.env)->rename_to = ".log.deleted";
    env_mem_faults(f.env)->unlink_of = ".log";
    log_raise_start(f.log, log_active_base_offset(f.log));
    env_mem_faults(f.env)->rename_to = env_mem_faults(f.env)->unlink_of = NULL;
    fixture_close(&f);
    fixture_open(&f, true, end);
    cr_assert_eq(log_start_offset(f.log), 0);
    expect(&f, 0, 2, "1 0..1");
    fixture_end(&f);
}

/* ---- damage -------------------------------------------------------------- */

struct harm {
    const char *what;
    size_t len;
    int zero_from; /* -1: nowhere */
};

Test(log_aborted, a_file_that_cannot_be_right_is_made_anew)
{
    static const struct harm harms[] = {
        {"cut inside an entry", 50, -1},
        {"its end is zeros", 68, 34},
        {"all zeros", 68, 0},
        {"a third entry of zeros", 102, 68},
    };
    struct fixture f;

    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        fixture_begin(&f);
        f.config.segment_bytes = 1000;
        fixture_open(&f, true, 0);
        while (log_segment_count(f.log) < 2)
            append_n(&f, 1);
        int64_t base = log_active_base_offset(f.log);
        aborted_txn(&f, 1, 2);
        aborted_txn(&f, 2, 2);
        cr_assert_eq(log_flush_now(f.log), ERR_NONE);
        fixture_close(&f);
        struct buf *bytes = file(&f, base, ".txnindex");
        size_t was = bytes->len;
        cr_assert_eq(was, 68, "%zu bytes", was);
        if (harms[i].len > was)
            buf_extend(bytes, harms[i].len - was);
        bytes->len = harms[i].len;
        if (harms[i].zero_from >= 0)
            memset(bytes->data + harms[i].zero_from, 0,
                   bytes->len - (size_t)harms[i].zero_from);
        fixture_open(&f, true, base + 5);
        cr_assert_eq(log_aborted_known(f.log), base, "%s", harms[i].what);
        note(&f, 1, base + 1, base + 2, base + 3);
        cr_assert_eq(base, 5);
        expect(&f, base, base + 3, "1 6..7");
        cr_assert_eq(file(&f, base, ".txnindex")->len, harms[i].len);
        log_aborted_all_known(f.log);
        cr_assert_eq(file(&f, base, ".txnindex")->len, 34);
        expect(&f, base, base + 3, "1 6..7");
        fixture_end(&f);
    }
}

Test(log_aborted, what_cannot_be_read_is_not_passed_over)
{
    struct fixture f;

    fixture_begin(&f);
    fixture_open(&f, true, 0);
    aborted_txn(&f, 1, 2);
    flush(&f);
    file(&f, 0, ".txnindex")->len = 10;
    cr_assert_str_eq(found(&f, 0, 2), err_name(ERR_IO));
    fixture_end(&f);
}

Test(log_aborted, after_a_crash_those_behind_the_recovery_point_are_unknown)
{
    struct fixture f;

    fixture_begin(&f);
    f.config.segment_bytes = 600;
    fixture_open(&f, true, 0);
    while (log_segment_count(f.log) < 3)
        aborted_txn(&f, 1, 2);
    flush(&f);
    int64_t active = log_active_base_offset(f.log);
    int64_t point = log_recovery_point(f.log);
    cr_assert_gt(point, active);
    aborted_txn(&f, 2, 2);
    fixture_crash(&f, ENV_MEM_KILL);
    fixture_open(&f, false, point);
    cr_assert_eq(log_aborted_known(f.log), active);
    expect(&f, 0, 1, "1 0..1");
    cr_assert_null(file(&f, active, ".txnindex"));
    fixture_end(&f);
}

/* A file that is made anew is not on disk, wherever it is. */
Test(log_aborted, nor_are_those_of_a_file_that_was_made_anew)
{
    struct fixture f;

    fixture_begin(&f);
    f.config.segment_bytes = 600;
    fixture_open(&f, true, 0);
    while (log_segment_count(f.log) < 4)
        aborted_txn(&f, 1, 2);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    int64_t point = log_recovery_point(f.log), end = log_end_offset(f.log);
    cr_assert_eq(point, end);
    int64_t middle = log_segment_base_offset(f.log, end / 2);
    fixture_close(&f);
    file(&f, middle, ".txnindex")->len -= 1;
    fixture_open(&f, true, point);
    cr_assert_eq(log_aborted_known(f.log), middle);
    cr_assert_eq(log_recovery_point(f.log), middle);
    note(&f, 1, middle, middle + 1, middle + 2);
    log_aborted_all_known(f.log);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(log_recovery_point(f.log), end);
    fixture_end(&f);
}

/* Two segments whose files seem to have been changed by others; an aborted
 * transaction in the first, below the recovery point, which is returned. */
static int64_t open_doubted(struct fixture *f)
{
    two_segments(f);
    int64_t point = log_recovery_point(f->log);
    int64_t unchanged_ms = log_changed_ms(f->log) - 1000;
    fixture_close(f);
    cr_assert_eq(log_open(f->env, LOG_PATH, f->topic_id, &f->config, point, 0,
                          false, unchanged_ms, &f->log, &f->report),
                 ERR_NONE);
    cr_assert_eq(log_aborted_known(f->log), 0);
    return point;
}

/* Who reads committed records would get those of the transaction. */
Test(log_aborted, a_doubted_file_is_there_until_another_takes_its_place)
{
    struct fixture f;
    int64_t point = open_doubted(&f);

    fixture_crash(&f, ENV_MEM_KILL);
    fixture_open(&f, false, point);
    expect(&f, 0, 2, "1 0..1");
    fixture_end(&f);
}

Test(log_aborted, nor_is_a_part_of_it_written)
{
    struct fixture f;
    int64_t point = open_doubted(&f);

    note(&f, 9, 1, 2, 3);
    fixture_crash(&f, ENV_MEM_KILL);
    fixture_open(&f, false, point);
    expect(&f, 0, 2, "1 0..1");
    fixture_end(&f);
}

Test(log_aborted, what_was_noted_takes_the_place_of_a_doubted_file)
{
    struct fixture f;
    int64_t point = open_doubted(&f);

    note(&f, 9, 1, 2, 3);
    log_aborted_all_known(f.log);
    expect(&f, 0, 2, "9 1..2");
    fixture_crash(&f, ENV_MEM_KILL);
    fixture_open(&f, false, point);
    expect(&f, 0, 2, "9 1..2");
    fixture_end(&f);
}

Test(log_aborted, where_nothing_was_noted_a_doubted_file_goes)
{
    struct fixture f;

    open_doubted(&f);
    log_aborted_all_known(f.log);
    cr_assert_null(file(&f, 0, ".txnindex"));
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    expect(&f, 0, 2, "");
    fixture_end(&f);
}

Test(log_aborted, a_doubted_file_that_cannot_be_replaced_is_with_the_next_flush)
{
    struct fixture f;
    int64_t point = open_doubted(&f);

    note(&f, 9, 1, 2, 3);
    env_mem_faults(f.env)->sync_at = 1;
    log_aborted_all_known(f.log);
    expect(&f, 0, 2, "9 1..2");
    cr_assert_eq(log_recovery_point(f.log), 0);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_crash(&f, ENV_MEM_POWER);
    fixture_open(&f, false, point);
    expect(&f, 0, 2, "9 1..2");
    fixture_end(&f);
}

/* A recovery point must not pass a marker whose entry is not on disk. */
Test(log_aborted, a_flush_that_began_before_the_note_does_not_cover_it)
{
    struct log_flush first = {0};
    struct fixture f;

    fixture_begin(&f);
    fixture_open(&f, true, 0);
    append_n(&f, 3);
    cr_assert(log_flush_begin(f.log, &first));
    note(&f, 1, 0, 2, 3);
    env_mem_run(f.env);
    cr_assert_eq(log_synced_offset(f.log), 3);
    cr_assert_eq(log_recovery_point(f.log), 2);
    flush(&f);
    cr_assert_eq(log_recovery_point(f.log), 3);
    fixture_end(&f);
}

/* ---- a full disk --------------------------------------------------------- */

Test(log_aborted, a_full_disk_delays_the_file_and_nothing_else)
{
    struct log_flush failed = {0};
    struct fixture f;

    fixture_begin(&f);
    fixture_open(&f, true, 0);
    aborted_txn(&f, 1, 2);
    env_mem_faults(f.env)->capacity_bytes = 1;
    cr_assert(log_flush_begin(f.log, &failed));
    env_mem_run(f.env);
    cr_assert_lt(failed.result, 0);
    cr_assert_not(log_failed(f.log));
    cr_assert_eq(log_recovery_point(f.log), 0);
    expect(&f, 0, 2, "1 0..1");
    env_mem_faults(f.env)->capacity_bytes = 0;
    flush(&f);
    cr_assert_eq(file(&f, 0, ".txnindex")->len, 34);
    cr_assert_eq(log_recovery_point(f.log), 2);
    fixture_end(&f);
}
