#include "broker/log/state.h"
#include "tests/unit/broker/log_fixture.h"

#include <errno.h>

static struct fixture f;

static void begin(void)
{
    fixture_begin(&f);
    fixture_open(&f, false, 0);
}

static void end(void)
{
    free(f.report.message);
    fixture_end(&f);
}

TestSuite(log_recovery, .init = begin, .fini = end, .timeout = 20);

/* Opens after a kill and keeps the report. */
static void open_after_kill(int64_t recovery_point)
{
    if (f.log != NULL)
        fixture_crash(&f, ENV_MEM_KILL);
    free(f.report.message);
    cr_assert_eq(fixture_try_open(&f, false, recovery_point, 0), ERR_NONE, "%s",
                 f.report.message);
}

static bool says(const char *what)
{
    return f.report.message != NULL && strstr(f.report.message, what) != NULL;
}

static bool file_ending(const char *part)
{
    char **names;
    size_t names_len;
    bool found = false;

    cr_assert_eq(env_list_dir(f.env, LOG_PATH, &names, &names_len), 0);
    for (size_t i = 0; i < names_len; i++) {
        found = found || strstr(names[i], part) != NULL;
        free(names[i]);
    }
    free(names);
    return found;
}

Test(log_recovery, a_killed_process_loses_nothing)
{
    f.config.segment_bytes = 1000;
    log_set_config(f.log, &f.config);
    append_n(&f, 50);
    open_after_kill(0);
    cr_assert_null(f.report.message);
    cr_assert_eq(f.report.cut_bytes, 0);
    cr_assert_eq(f.report.damaged_at, -1);
    cr_assert_eq(f.report.scanned_bytes, log_size_bytes(f.log));
    cr_assert_eq(count_batches(&f), 50);
    cr_assert_eq(log_synced_offset(f.log), 0);
}

Test(log_recovery, only_what_lies_behind_the_recovery_point_is_checked)
{
    append_n(&f, 50);
    open_after_kill(45);
    cr_assert_eq(f.report.scanned_bytes, log_size_bytes(f.log) / 10);
    cr_assert_eq(log_synced_offset(f.log), 45);
}

Test(log_recovery, a_clean_log_is_not_scanned_and_is_synced)
{
    append_n(&f, 2000);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_close(&f);
    struct disk_counts before = *env_mem_counts(f.env);
    fixture_open(&f, true, 0);
    const struct disk_counts *after = env_mem_counts(f.env);
    cr_assert_eq(f.report.scanned_bytes, 0);
    cr_assert_eq(log_end_offset(f.log), 2000);
    cr_assert_eq(log_synced_offset(f.log), 2000);
    cr_assert_lt(after->opens - before.opens, 10);
    cr_assert_lt(after->reads - before.reads, 12);
    cr_assert_eq(after->writes, before.writes);
    cr_assert_eq(env_mem_open_files(f.env), 0);
    cr_assert_eq(count_batches(&f), 2000);
}

Test(log_recovery, reopening_changes_nothing)
{
    f.config.segment_bytes = 3000;
    f.config.index_interval_bytes = 300;
    log_set_config(f.log, &f.config);
    append_n(&f, 60);
    log_assign_epoch(f.log, 4, 60);
    append(&f, (struct batch_shape){.epoch = 4, .timestamp = 9});
    int64_t size = log_size_bytes(f.log);
    int segments = log_segment_count(f.log);
    for (int i = 0; i < 3; i++) {
        struct buf index = BUF_INIT;
        cr_assert_eq(log_flush_now(f.log), ERR_NONE);
        int64_t active = log_active_base_offset(f.log);
        buf_put_slice(&index, buf_slice(file(&f, active, ".index")));
        fixture_close(&f);
        fixture_open(&f, true, 0);
        cr_assert_eq(log_end_offset(f.log), 61);
        cr_assert_eq(log_size_bytes(f.log), size);
        cr_assert_eq(log_segment_count(f.log), segments);
        cr_assert_eq(log_latest_epoch(f.log), 4);
        cr_assert_eq(log_epoch_at(f.log, 59), 0);
        cr_assert_eq(count_batches(&f), 61);
        cr_assert(
            slice_eq(buf_slice(&index), buf_slice(file(&f, active, ".index"))));
        buf_free(&index);
    }
}

/* Whatever part of the last batch got out, the rest of the log is whole. */
Test(log_recovery, a_tail_torn_at_any_byte_is_cut)
{
    append_n(&f, 5);
    struct buf whole = BUF_INIT;
    struct log_append_info info;
    size_t kept = (size_t)log_size_bytes(f.log);

    put_batch(&f, &whole, (struct batch_shape){.base_offset = 5});
    for (size_t n = 1; n < whole.len; n++) {
        buf_put(file(&f, 0, ".log"), whole.data, n);
        open_after_kill(0);
        cr_assert_eq(f.report.cut_bytes, (int64_t)n, "%zu bytes", n);
        cr_assert_eq(f.report.damaged_at, -1);
        cr_assert(says("00000000000000000000.log"));
        cr_assert_eq(log_end_offset(f.log), 5);
        cr_assert_eq(file(&f, 0, ".log")->len, kept);
        cr_assert_eq(count_batches(&f), 5);
    }
    cr_assert_eq(log_append(f.log, buf_slice(&whole), 1, &info), ERR_NONE);
    open_after_kill(0);
    cr_assert_eq(log_end_offset(f.log), 6);
    cr_assert_not(file_ending(".damaged"));
    buf_free(&whole);
}

/* A page that never got out, in the last batch. */
Test(log_recovery, a_tail_of_zeros_is_cut)
{
    append_n(&f, 5);
    struct buf *log = file(&f, 0, ".log");
    size_t one = log->len / 5;
    memset(log->data + 4 * one + 30, 0, one - 30);
    memset(buf_extend(log, 5000), 0, 5000);
    open_after_kill(0);
    cr_assert_eq(f.report.cut_bytes, (int64_t)one + 5000);
    cr_assert_eq(log_end_offset(f.log), 4);
}

/* Every byte the CRC covers, and those before it that a header check sees. */
Test(log_recovery, a_byte_flipped_in_the_middle_is_damage)
{
    append_n(&f, 5);
    struct buf before = BUF_INIT;
    size_t one = (size_t)log_size_bytes(f.log) / 5;

    buf_put_slice(&before, buf_slice(file(&f, 0, ".log")));
    for (size_t at = BATCH_MAGIC_AT; at < one; at++) {
        file(&f, 0, ".log")->data[2 * one + at] ^= 0x10;
        open_after_kill(0);
        cr_assert_eq(f.report.damaged_at, 2, "byte %zu: %s", at,
                     f.report.message);
        cr_assert_eq(f.report.cut_bytes, 0);
        cr_assert(says("00000000000000000000.log") && says("offset 2"));
        cr_assert_eq(log_end_offset(f.log), 2);
        cr_assert_eq(count_batches(&f), 2);
        /* Kept aside: the rest, bit for bit. */
        int number = (int)at - BATCH_MAGIC_AT;
        char *aside =
            number == 0
                ? xasprintf(LOG_PATH "/%020d.log.from-%zu.unsynced.damaged", 0,
                            2 * one)
                : xasprintf(LOG_PATH "/%020d.log.from-%zu.%d.unsynced.damaged",
                            0, 2 * one, number);
        const struct buf *kept = env_mem_file(f.env, aside);
        cr_assert_not_null(kept, "%s", aside);
        cr_assert_eq(kept->len, 3 * one);
        free(aside);

        struct buf *log = file(&f, 0, ".log");
        log->len = 0;
        buf_put_slice(log, buf_slice(&before));
    }
    buf_free(&before);
}

Test(log_recovery, damage_below_the_recovery_point_is_never_a_torn_tail)
{
    append_n(&f, 5);
    struct buf *log = file(&f, 0, ".log");
    log->len -= 10;
    open_after_kill(5);
    cr_assert_eq(f.report.damaged_at, 4);
    cr_assert_eq(f.report.cut_bytes, 0);
    cr_assert(file_ending(".damaged"));
    cr_assert_not(f.report.lost_unsynced);
}

Test(log_recovery, damage_in_an_earlier_segment_ends_the_log_there)
{
    f.config.segment_bytes = 500;
    log_set_config(f.log, &f.config);
    append_n(&f, 20);
    int64_t second = 0;
    while (file(&f, ++second, ".log") == NULL)
        ;
    file(&f, second, ".log")->data[80] ^= 1;
    open_after_kill(0);
    cr_assert_eq(f.report.damaged_at, second);
    cr_assert_not(f.report.lost_torn, "whole batches follow the bad one");
    cr_assert(f.report.lost_unsynced);
    open_after_kill(0);
    cr_assert_not(f.report.lost_torn, "the files' names say so");
    cr_assert(f.report.lost_unsynced);
    cr_assert_eq(log_end_offset(f.log), second);
    cr_assert_eq(count_batches(&f), (int)second);
    cr_assert_eq(log_segment_count(f.log), 2);
    /* Later segments are there under another name, and out of the way. */
    cr_assert_not_null(
        env_mem_file(f.env, file_name(second * 2, ".log.unsynced.damaged")));
    append_n(&f, 30);
    cr_assert_eq(count_batches(&f), (int)second + 30);
    open_after_kill(0);
    cr_assert_eq(f.report.damaged_at, -1);
    cr_assert_eq(log_end_offset(f.log), second + 30);
}

Test(log_recovery, a_segment_lost_in_the_middle_is_damage)
{
    f.config.segment_bytes = 500;
    log_set_config(f.log, &f.config);
    append_n(&f, 20);
    int64_t second = 0;
    while (file(&f, ++second, ".log") == NULL)
        ;
    fixture_crash(&f, ENV_MEM_KILL);
    env_unlink(f.env, file_name(second, ".log"));
    cr_assert_eq(fixture_try_open(&f, false, 0, 0), ERR_NONE);
    cr_assert_eq(f.report.damaged_at, second);
    cr_assert_eq(log_end_offset(f.log), second);
    cr_assert(says("missing"));
    /* Its indexes belong to nobody. */
    cr_assert_null(file(&f, second, ".index"));
}

/* The end of a segment, whose next one is there: what a power loss may leave of
 * writes that nobody synced, and nothing else does below the recovery point. */
static void lose_between(bool compact, bool synced)
{
    f.config.compact_policy = compact;
    f.config.segment_bytes = 500;
    log_set_config(f.log, &f.config);
    append_n(&f, 20);
    struct buf *first = file(&f, 0, ".log");
    int64_t next = 0;
    while (file(&f, ++next, ".log") == NULL)
        ;
    fixture_crash(&f, ENV_MEM_KILL);
    first->len = first->len / (size_t)next * (size_t)(next - 1);
    cr_assert_eq(fixture_try_open(&f, false, synced ? next : 0, 0), ERR_NONE);
    if (compact && synced) {
        cr_assert_eq(f.report.damaged_at, -1);
        return;
    }
    cr_assert_eq(f.report.damaged_at, next - 1);
    cr_assert_eq(f.report.lost_until, 20);
    cr_assert_eq(f.report.lost_torn, !synced);
    free(f.report.message);
    log_damage_given_up(f.log);
    fixture_close(&f);
    cr_assert_eq(fixture_try_open(&f, false, 0, 0), ERR_NONE);
    cr_assert_eq(f.report.lost_until, 0);
}

Test(log_recovery, a_gap_above_the_recovery_point_may_be_torn)
{
    lose_between(false, false);
}

Test(log_recovery, a_gap_below_the_recovery_point_is_damage)
{
    lose_between(false, true);
}

Test(log_recovery, compaction_does_not_hide_a_gap_above_the_recovery_point)
{
    lose_between(true, false);
}

Test(log_recovery, a_gap_of_compaction_may_be_on_disk)
{
    lose_between(true, true);
}

/* Five batches of less than 200 bytes, as a follower gets them from a leader
 * that compacted its log. */
static void append_with_gaps(int64_t gap, int segment_bytes)
{
    struct log_append_info info;

    f.config.compact_policy = true;
    f.config.segment_bytes = segment_bytes;
    log_set_config(f.log, &f.config);
    for (int64_t base = 0; base < 5 * gap; base += gap) {
        struct buf bytes = BUF_INIT;
        put_batch(&f, &bytes, (struct batch_shape){.base_offset = base});
        cr_assert_eq(log_append(f.log, buf_slice(&bytes), 1, &info), ERR_NONE);
        buf_free(&bytes);
    }
}

Test(log_recovery, compaction_may_leave_gaps)
{
    append_with_gaps(20, 200);
    cr_assert_null(file(&f, 20, ".log"));
    cr_assert_not_null(file(&f, 1, ".log"), "it begins behind the one before");
    open_after_kill(0);
    cr_assert_eq(f.report.damaged_at, -1);
    cr_assert_eq(log_end_offset(f.log), 81);
    cr_assert_eq(read_at(&f, 5, 81, 1).first, 20);
}

Test(log_recovery, compaction_may_leave_gaps_that_no_segment_can_have)
{
    for (int more = -1; more <= 2; more++) {
        int64_t gap = SEGMENT_GAP_MAX + more;

        end();
        begin();
        append_with_gaps(gap, 200);
        cr_assert_eq(file(&f, gap, ".log") != NULL, more == 2);
        open_after_kill(0);
        cr_assert_eq(f.report.damaged_at, -1);
        cr_assert_eq(log_end_offset(f.log), 4 * gap + 1);
        cr_assert_eq(read_at(&f, 5, 4 * gap + 1, 1).first, gap);
    }
}

/* A follower's log may end in a gap of its leader's. */
Test(log_recovery, a_log_cut_within_a_gap_is_whole)
{
    append_with_gaps(20, 400);
    cr_assert_eq(log_truncate(f.log, 50), ERR_NONE);
    cr_assert_eq(log_end_offset(f.log), 50);
    f.config.segment_bytes = 200;
    log_set_config(f.log, &f.config);
    append_n(&f, 3); /* the first of them in a new segment */
    open_after_kill(0);
    cr_assert_eq(f.report.damaged_at, -1);
    cr_assert_eq(log_end_offset(f.log), 53);
    cr_assert_eq(read_at(&f, 42, 53, 1).first, 50);
}

/* After a failed sync the next process finds the bytes in the page cache, and a
 * sync that succeeds does not write them: they have to be written again. */
Test(log_recovery, a_sync_after_a_failed_one_makes_the_tail_durable)
{
    append_n(&f, 40);
    env_mem_faults(f.env)->sync_at = 1;
    cr_assert_neq(log_flush_now(f.log), ERR_NONE);
    fixture_crash(&f, ENV_MEM_KILL);
    open_after_kill(0);
    cr_assert_eq(log_end_offset(f.log), 40);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    int64_t point = log_recovery_point(f.log);
    cr_assert_eq(point, 40);
    fixture_crash(&f, ENV_MEM_WORST);
    fixture_open(&f, false, 0);
    cr_assert_eq(f.report.damaged_at, -1);
    cr_assert_eq(log_end_offset(f.log), 40);
}

/* Damage that cannot be kept, with this error. */
static void keep_fails(int error, enum err wanted)
{
    append_n(&f, 5);
    struct buf *log = file(&f, 0, ".log");
    size_t size = log->len;
    log->data[size / 5 * 2 + 80] ^= 1;
    fixture_crash(&f, ENV_MEM_KILL);
    env_mem_faults(f.env)->write_at = 2; /* the first is partition.metadata */
    env_mem_faults(f.env)->error = error;
    cr_assert_eq(fixture_try_open(&f, false, 0, 0), wanted);
    cr_assert(says("could not be put aside"));
    cr_assert_null(f.log);
    cr_assert_eq(file(&f, 0, ".log")->len, size);
    open_after_kill(0);
    cr_assert_eq(f.report.damaged_at, 2);
}

Test(log_recovery, what_cannot_be_kept_aside_is_not_touched)
{
    keep_fails(-EIO, ERR_DAMAGED);
}

/* So the log is opened again later. */
Test(log_recovery, what_cannot_be_kept_aside_for_lack_of_room_may_be_later)
{
    keep_fails(-ENOSPC, ERR_FULL);
}

Test(log_recovery, an_unfinished_batch_before_an_empty_segment_is_a_torn_tail)
{
    f.config.segment_bytes = 500;
    log_set_config(f.log, &f.config);
    append_n(&f, 1);
    while (log_segment_count(f.log) == 1)
        append_n(&f, 1);
    int64_t second = log_active_base_offset(f.log);
    file(&f, second, ".log")->len = 0;
    file(&f, 0, ".log")->len -= 5;
    open_after_kill(0);
    cr_assert_gt(f.report.cut_bytes, 0);
    cr_assert_eq(f.report.damaged_at, -1);
    cr_assert_eq(log_end_offset(f.log), second - 1);
    cr_assert_null(file(&f, second, ".log"));
}

/* ---- indexes -------------------------------------------------------------*/

static void fill_segments(void)
{
    f.config.segment_bytes = 20000;
    f.config.index_interval_bytes = 500;
    log_set_config(f.log, &f.config);
    append_n(&f, 400);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_close(&f);
}

static void check_all_offsets(void)
{
    struct log_timestamp_offset found;

    for (int64_t offset = 0; offset < 400; offset += 3) {
        cr_assert_eq(read_at(&f, offset, 400, 300).first, offset);
        cr_assert_eq(log_offset_for_timestamp(f.log, f.codec, 1000 + offset,
                                              400, &found),
                     ERR_NONE);
        cr_assert_eq(found.offset, offset);
    }
}

static void spoil_each_index(void (*spoil)(const char *path))
{
    const char *suffixes[] = {".index", ".timeindex"};
    fill_segments();
    for (int64_t base = 0; base < 400; base++) {
        for (int i = 0; i < 2; i++) {
            const char *path = file_name(base, suffixes[i]);
            struct buf before = BUF_INIT;
            if (env_mem_file(f.env, path) == NULL)
                continue;
            buf_put_slice(&before, buf_slice(env_mem_file(f.env, path)));
            spoil(path);
            fixture_open(&f, true, 0);
            check_all_offsets();
            cr_assert_eq(log_end_offset(f.log), 400);
            cr_assert_eq(log_flush_now(f.log), ERR_NONE);
            fixture_close(&f);
            const struct buf *after = env_mem_file(f.env, path);
            cr_assert_not_null(after);
            cr_assert(slice_eq(buf_slice(after), buf_slice(&before)), "%s",
                      path);
            buf_free(&before);
        }
    }
}

static void lose(const char *path) { env_unlink(f.env, path); }

static void shorten_by_one(const char *path)
{
    env_mem_file(f.env, path)->len--;
}

static void zero(const char *path)
{
    struct buf *b = env_mem_file(f.env, path);

    memset(b->data, 0, b->len);
}

static void point_elsewhere(const char *path)
{
    struct buf *b = env_mem_file(f.env, path);

    for (size_t i = 3; i < b->len; i += 4)
        b->data[i] ^= 4;
}

Test(log_recovery, a_lost_index_is_rebuilt) { spoil_each_index(lose); }

Test(log_recovery, an_index_of_a_wrong_size_is_rebuilt)
{
    spoil_each_index(shorten_by_one);
}

Test(log_recovery, an_index_of_zeros_is_rebuilt) { spoil_each_index(zero); }

/* Not always noticed when opened, but never followed. */
Test(log_recovery, an_index_that_lies_misleads_nobody)
{
    fill_segments();
    for (int64_t base = 0; base < 400; base++) {
        if (file(&f, base, ".index") == NULL)
            continue;
        point_elsewhere(file_name(base, ".index"));
        fixture_open(&f, true, 0);
        check_all_offsets();
        fixture_close(&f);
    }
}

/* Well-formed, rising, and wrong: each entry but the last names the batch of
 * the next. */
static void shift(const char *path)
{
    struct buf *b = env_mem_file(f.env, path);

    for (size_t i = 0; i + 16 <= b->len; i += 8)
        memcpy(b->data + i + 4, b->data + i + 12, 4);
}

Test(log_recovery, a_plausible_index_that_lies_skips_nothing)
{
    fill_segments();
    for (int64_t base = 0; base < 400; base++) {
        if (file(&f, base, ".index") == NULL)
            continue;
        shift(file_name(base, ".index"));
        fixture_open(&f, true, 0);
        check_all_offsets();
        fixture_close(&f);
    }
}

Test(log_recovery, indexes_of_nobody_are_removed)
{
    append_n(&f, 1);
    fixture_close(&f);
    struct env_file *orphan;
    env_file_open(f.env, file_name(77, ".index"), ENV_CREATE, &orphan);
    env_file_unref(orphan);
    env_file_open(f.env, file_name(77, ".snapshot"), ENV_CREATE, &orphan);
    env_file_unref(orphan);
    env_file_open(f.env, file_name(5, ".log.deleted"), ENV_CREATE, &orphan);
    env_file_unref(orphan);
    fixture_open(&f, true, 0);
    cr_assert_null(file(&f, 77, ".index"));
    cr_assert_null(file(&f, 5, ".log.deleted"));
    cr_assert_not_null(file(&f, 77, ".snapshot"), "another module's");
}

/* ---- other files ---------------------------------------------------------*/

Test(log_recovery, another_topics_directory_is_refused)
{
    append_n(&f, 1);
    fixture_close(&f);
    f.topic_id.bytes[3] ^= 1;
    cr_assert_eq(fixture_try_open(&f, true, 0, 0), ERR_INCONSISTENT_TOPIC_ID);
    cr_assert(says("another topic"));
    f.topic_id = UUID_ZERO; /* not asked */
    free(f.report.message);
    cr_assert_eq(fixture_try_open(&f, true, 0, 0), ERR_NONE);
    cr_assert_eq(log_topic_id(f.log).bytes[0], 1);
}

/* A deleted topic's records, whose partition.metadata did not get to the disk,
 * have the same epochs and offsets as the new topic's. */
Test(log_recovery, records_that_are_nobodys_are_refused)
{
    for (int how = 0; how < 2; how++) {
        if (how == 1)
            fixture_open(&f, true, 0);
        append_n(&f, 1);
        fixture_close(&f);
        if (how == 0)
            env_mem_file(f.env, LOG_PATH "/partition.metadata")->len = 0;
        else
            env_unlink(f.env, LOG_PATH "/partition.metadata");
        cr_assert_eq(fixture_try_open(&f, false, 0, 0),
                     ERR_INCONSISTENT_TOPIC_ID);
        cr_assert(says("does not say to which"));
        free(f.report.message);
        /* A clean stop, or that something was synced, says that they are ours:
         * the file was damaged later. */
        cr_assert_eq(fixture_try_open(&f, false, 1, 0), ERR_NONE);
        cr_assert_gt(env_mem_file(f.env, LOG_PATH "/partition.metadata")->len,
                     0u, "it is written anew");
        fixture_close(&f);
    }
}

/* The file is written with the first records, maybe after a first flush. */
Test(log_recovery, whose_records_they_are_is_on_disk_with_them)
{
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    append_n(&f, 1);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_crash(&f, ENV_MEM_WORST);
    fixture_open(&f, false, 0);
    cr_assert_eq(log_end_offset(f.log), 1);
}

/* ... also where the sync of the process before failed: what it was to write
 * counts as written, and is not on the disk. */
Test(log_recovery, whose_records_they_are_is_written_again)
{
    for (int i = 0; i < 20; i++) {
        end();
        begin();
        append_n(&f, 1);
        *env_mem_faults(f.env) = (struct disk_faults){.sync_at = i / 4 + 1};
        log_flush_now(f.log);
        fixture_crash(&f, ENV_MEM_KILL);
        fixture_open(&f, false, 0);
        cr_assert_eq(log_end_offset(f.log), 1);
        cr_assert_eq(log_flush_now(f.log), ERR_NONE);
        fixture_crash(&f, ENV_MEM_WORST);
        cr_assert_eq(fixture_try_open(&f, false, 0, 0), ERR_NONE, "sync %d", i);
        cr_assert_eq(log_end_offset(f.log), 1);
    }
}

Test(log_recovery, a_lost_epoch_checkpoint_is_rebuilt)
{
    f.config.segment_bytes = 500;
    log_set_config(f.log, &f.config);
    for (int i = 0; i < 30; i++)
        append(&f, (struct batch_shape){.epoch = i / 10 * 3});
    for (int how = 0; how < 3; how++) {
        cr_assert_eq(log_flush_now(f.log), ERR_NONE);
        fixture_close(&f);
        struct buf *text =
            env_mem_file(f.env, LOG_PATH "/leader-epoch-checkpoint");
        cr_assert(slice_eq_str(buf_slice(text), "0\n3\n0 0\n3 10\n6 20\n"),
                  "%.*s", SLICE_FMT(buf_slice(text)));
        if (how == 0)
            env_unlink(f.env, LOG_PATH "/leader-epoch-checkpoint");
        else
            text->len = how == 1 ? 0 : 7;
        fixture_open(&f, how != 2, 0);
        cr_assert_eq(log_epoch_at(f.log, 9), 0);
        cr_assert_eq(log_epoch_at(f.log, 10), 3);
        cr_assert_eq(log_epoch_at(f.log, 29), 6);
    }
}

/* A file that can be read and tells of epochs that never were, after a clean
 * stop and after a crash, with one segment and with many. */
Test(log_recovery, a_checkpoint_that_belies_the_batches_is_made_anew)
{
    static const char *const lies[] = {
        "0\n1\n2147483647 0\n", "0\n0\n",           "0\n2\n0 0\n9 1\n",
        "0\n2\n0 0\n4 17\n",    "0\n2\n0 0\n3 9\n", "0\n2\n0 0\n3 11\n",
        "0\n2\n1 0\n3 10\n",    "0\n1\n3 10\n"};

    for (size_t i = 0; i < 4 * sizeof lies / sizeof *lies; i++) {
        if (i > 0) {
            fixture_end(&f);
            fixture_begin(&f);
            fixture_open(&f, true, 0);
        }
        f.config.segment_bytes = i % 2 == 0 ? 1000 : 1 << 20;
        log_set_config(f.log, &f.config);
        for (int n = 0; n < 30; n++)
            append(&f, (struct batch_shape){.epoch = n < 10 ? 0 : 3});
        cr_assert_eq(log_flush_now(f.log), ERR_NONE);
        fixture_close(&f);
        struct buf *text =
            env_mem_file(f.env, LOG_PATH "/leader-epoch-checkpoint");
        text->len = 0;
        buf_printf(text, "%s", lies[i / 4]);
        fixture_open(&f, i % 4 < 2, 29);
        cr_assert_eq(f.report.damaged_at, -1, "lie %zu: %s", i,
                     f.report.message);
        cr_assert_eq(log_end_offset(f.log), 30);
        cr_assert_eq(log_epoch_at(f.log, 9), 0, "lie %zu", i);
        cr_assert_eq(log_epoch_at(f.log, 10), 3, "lie %zu", i);
        cr_assert_eq(log_latest_epoch(f.log), 3, "lie %zu", i);
    }
}

/* DeleteRecords moved the start into a batch and took a segment away, and the
 * process was killed before the start was stored: where the first epoch begins
 * now it is the leader's word on where followers cut. */
Test(log_recovery, epochs_go_back_with_the_start)
{
    f.config.segment_bytes = 1300;
    log_set_config(f.log, &f.config);
    for (int n = 0; n < 20; n++)
        append(&f, (struct batch_shape){.records = 3, .epoch = n / 10 * 3});
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    int64_t end = log_end_offset(f.log);
    cr_assert_eq(log_raise_start(f.log, 32), ERR_NONE);
    cr_assert_eq(log_epoch_at(f.log, 31), -1);
    fixture_crash(&f, ENV_MEM_KILL);
    fixture_open(&f, false, end);
    cr_assert_lt(log_start_offset(f.log), 30);
    cr_assert_eq(log_epoch_at(f.log, 29), 0);
    cr_assert_eq(log_epoch_at(f.log, 30), 3);

    int32_t epoch;
    int64_t epoch_end;
    log_end_offset_for_epoch(f.log, 0, &epoch, &epoch_end);
    cr_assert_eq(epoch, 0);
    cr_assert_eq(epoch_end, 30);
}

Test(log_recovery, a_clean_marker_that_lies_is_noticed)
{
    append_n(&f, 50);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_close(&f);
    file(&f, 0, ".log")->len -= 3;
    cr_assert_eq(fixture_try_open(&f, true, 0, 0), ERR_NONE);
    cr_assert_gt(f.report.cut_bytes, 0);
    cr_assert_eq(count_batches(&f), 49);
}

Test(log_recovery, a_start_offset_behind_the_end_empties_the_log)
{
    append_n(&f, 5);
    fixture_close(&f);
    cr_assert_eq(fixture_try_open(&f, true, 0, 100), ERR_NONE);
    cr_assert_eq(log_start_offset(f.log), 100);
    cr_assert_eq(log_end_offset(f.log), 100);
    append_n(&f, 2);
    cr_assert_eq(count_batches(&f), 2);
}

/* Older records behind newer ones: a mixture of two histories. */
Test(log_recovery, leader_epochs_do_not_go_back)
{
    struct log_append_info info;
    struct buf bytes = BUF_INIT;

    append(&f, (struct batch_shape){.epoch = 5});
    put_batch(&f, &bytes, (struct batch_shape){.base_offset = 1, .epoch = 4});
    cr_assert_eq(log_append(f.log, buf_slice(&bytes), 1, &info),
                 ERR_CORRUPT_MESSAGE);
    append(&f, (struct batch_shape){.epoch = 6});
    struct buf *log = file(&f, 0, ".log");
    be32_put(log->data + log->len / 2 + BATCH_EPOCH_AT, 3);
    open_after_kill(0);
    cr_assert_eq(log_end_offset(f.log), 1);
    buf_free(&bytes);
}

/* Truncation cut segment 0, appends went on in the next one, and the process
 * was killed before the cut was synced. */
Test(log_recovery, a_cut_before_the_recovery_point_is_synced_in_the_end)
{
    append_n(&f, 5);
    f.config.segment_bytes = log_size_bytes(f.log);
    log_set_config(f.log, &f.config);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(log_truncate(f.log, 3), ERR_NONE);
    append(&f, (struct batch_shape){.value_bytes = 600});
    cr_assert_eq(log_active_base_offset(f.log), 3);
    fixture_crash(&f, ENV_MEM_KILL);
    fixture_open(&f, false, 3);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_crash(&f, ENV_MEM_WORST);
    fixture_open(&f, false, 4);
    cr_assert_eq(count_batches(&f), 4);
    struct read_result r = read_at(&f, 0, 4, 1 << 20);
    cr_assert_eq(r.end, 3);
}

Test(log_recovery, failing_disks_are_reported)
{
    append_n(&f, 20);
    fixture_crash(&f, ENV_MEM_KILL);
    env_mem_freeze(f.env);
    cr_assert_eq(fixture_try_open(&f, false, 0, 0), ERR_IO);
    cr_assert(says("could not be opened"));
    env_mem_crash(f.env, ENV_MEM_KILL);
    open_after_kill(0);
}

/* ---- files that somebody changed while the log was closed -----------------*/

/* Appends 5 batches, closes, flips a byte of the third and opens again. */
static void flip_while_closed(bool clean, int64_t recovery_point)
{
    append_n(&f, 5);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    size_t one = (size_t)log_size_bytes(f.log) / 5;
    int64_t unchanged_ms = log_changed_ms(f.log);
    fixture_close(&f);

    struct env_file *file;
    uint8_t byte = 0xA5;
    struct slice part = slice_of(&byte, 1);
    env_mem_advance(f.env, 10);
    cr_assert_eq(env_file_open(f.env, file_name(0, ".log"), 0, &file), 0);
    cr_assert_eq(env_file_write(file, &part, 1, (int64_t)(3 * one - 10)), 0);
    env_file_unref(file);
    cr_assert_eq(log_open(f.env, LOG_PATH, f.topic_id, &f.config,
                          recovery_point, 0, clean, unchanged_ms, &f.log,
                          &f.report),
                 ERR_NONE);
}

Test(log_recovery, a_segment_changed_after_a_clean_stop_is_checked)
{
    flip_while_closed(true, 5);
    cr_assert_eq(f.report.damaged_at, 2);
    cr_assert_eq(log_end_offset(f.log), 2);
    cr_assert_eq(f.report.lost_until, 5);
    cr_assert_eq(f.report.lost_epoch, 0);
}

Test(log_recovery, a_segment_changed_after_a_crash_is_checked)
{
    flip_while_closed(false, 5);
    cr_assert_eq(f.report.damaged_at, 2);
    cr_assert_eq(f.report.lost_until, 5);
}

Test(log_recovery, a_log_that_nobody_changed_is_not_scanned)
{
    append_n(&f, 5);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    int64_t unchanged_ms = log_changed_ms(f.log);
    fixture_close(&f);
    cr_assert_eq(log_open(f.env, LOG_PATH, f.topic_id, &f.config, 5, 0, true,
                          unchanged_ms, &f.log, &f.report),
                 ERR_NONE);
    cr_assert_eq(f.report.scanned_bytes, 0);
    cr_assert_eq(f.report.lost_until, 0);
}

Test(log_recovery, what_was_lost_is_known_until_it_is_mended)
{
    flip_while_closed(true, 5);
    free(f.report.message);
    fixture_close(&f);
    fixture_open(&f, true, 2);
    cr_assert_eq(f.report.damaged_at, -1);
    cr_assert_eq(f.report.lost_until, 5);

    log_damage_mended(f.log);
    cr_assert(file_ending(".refetched"));
    fixture_close(&f);
    fixture_open(&f, true, 2);
    cr_assert_eq(f.report.lost_until, 0);
}

/* Not a disk that is dead, nor a directory of another topic. */
Test(log_recovery, without_descriptors_a_log_is_opened_later)
{
    enum err err = ERR_EXHAUSTED;
    int n = 0;

    append_n(&f, 40);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    log_close(f.log);
    f.log = NULL;
    while (err != ERR_NONE) {
        env_mem_faults(f.env)->no_more_at = ++n;
        err = fixture_try_open(&f, false, 0, 0);
        free(f.report.message);
        cr_assert(err == ERR_NONE || err == ERR_EXHAUSTED, "%d: %s", n,
                  err_name(err));
    }
    env_mem_faults(f.env)->no_more_at = 0;
    cr_assert_gt(n, 5);
    cr_assert_eq(count_batches(&f), 40);
}

/* ---- segments without batches ---------------------------------------------*/

static void put_empty_segment(int64_t base)
{
    struct env_file *empty;

    cr_assert_eq(
        env_file_open(f.env, file_name(base, ".log"), ENV_CREATE, &empty), 0);
    env_file_unref(empty);
}

/* As an append that was taken back could leave it: everything that was appended
 * later to the segment before would be passed over. */
Test(log_recovery, an_empty_segment_hides_nothing)
{
    static const int64_t bases[] = {1, 3, 8};

    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++)
        for (int clean = 0; clean < 2; clean++) {
            end();
            begin();
            append_n(&f, 5);
            cr_assert_eq(log_roll(f.log, 5, 0), ERR_NONE);
            append_n(&f, 5);
            fixture_close(&f);
            put_empty_segment(bases[i]);
            fixture_open(&f, clean, 10);
            cr_assert_lt(f.report.damaged_at, 0);
            cr_assert_eq(log_end_offset(f.log), 10);
            cr_assert_eq(count_batches(&f), 10);
            cr_assert_null(file(&f, bases[i], ".log"));
            append_n(&f, 1);
            cr_assert_eq(count_batches(&f), 11);
        }
}

/* It was rolled to and got nothing. */
Test(log_recovery, an_empty_segment_in_its_place_stays)
{
    append_n(&f, 5);
    cr_assert_eq(log_roll(f.log, 5, 0), ERR_NONE);
    fixture_close(&f);
    fixture_open(&f, true, 0);
    cr_assert_eq(log_segment_count(f.log), 2);
    cr_assert_eq(log_end_offset(f.log), 5);
}

/* A flipped bit in front of it is no reason to believe what that says. */
Test(log_recovery, an_empty_segment_behind_a_damaged_offset_is_damage)
{
    struct batch b;

    append_n(&f, 5);
    cr_assert_eq(log_roll(f.log, 5, 0), ERR_NONE);
    fixture_close(&f);
    struct buf *bytes = file(&f, 0, ".log");
    cr_assert_eq(batch_parse(buf_slice(bytes), &b), ERR_NONE);
    be64_put(bytes->data + 4 * (size_t)b.size_bytes, 1 << 20);
    cr_assert_eq(fixture_try_open(&f, true, 0, 0), ERR_NONE);
    cr_assert_eq(f.report.damaged_at, 4);
    cr_assert_eq(log_end_offset(f.log), 4);
}

/* Ten batches from `base` on, and the third is damaged. */
static void lose_some_from(int64_t base)
{
    cr_assert_eq(log_truncate_fully(f.log, base), ERR_NONE);
    for (int i = 0; i < 10; i++)
        append(&f, (struct batch_shape){.epoch = 7, .timestamp = 1});
    size_t one = (size_t)log_size_bytes(f.log) / 10;
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    file(&f, base, ".log")->data[2 * one + 80] ^= 1;
    fixture_crash(&f, ENV_MEM_KILL);
    cr_assert_eq(fixture_try_open(&f, false, base, base), ERR_NONE);
}

Test(log_recovery, what_was_lost_is_measured_at_any_offset)
{
    static const int64_t bases[] = {0, 1000, 3000000000, INT64_MAX / 2};

    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        end();
        begin();
        lose_some_from(bases[i]);
        cr_assert_eq(log_end_offset(f.log), bases[i] + 2);
        cr_assert_eq(f.report.lost_until, bases[i] + 10, "%lld",
                     (long long)(f.report.lost_until - bases[i]));
        cr_assert_eq(f.report.lost_epoch, 7);
    }
}

/* As Kafka's cleaner names the segments of a compacted log: each by its first
 * batch, with gaps between.  Stopped cleanly. */
static void gaps_of_compaction(void)
{
    append_with_gaps(20, 200);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    fixture_close(&f);
    for (int base = 20; base <= 80; base += 20) {
        char *from = file_name(base == 20 ? 1 : base - 19, ".log");
        cr_assert_eq(env_rename(f.env, from, file_name(base, ".log")), 0);
    }
}

/* It was copied: all files are newer than the mark of the clean stop. */
Test(log_recovery, a_clean_stop_is_proof_of_gaps_of_compaction)
{
    gaps_of_compaction();
    cr_assert_eq(log_open(f.env, LOG_PATH, f.topic_id, &f.config, 0, 0, true, 1,
                          &f.log, &f.report),
                 ERR_NONE);
    cr_assert_eq(f.report.damaged_at, -1, "%s", f.report.message);
    cr_assert_gt(f.report.scanned_bytes, 0);
    cr_assert_eq(log_end_offset(f.log), 81);
    cr_assert_eq(count_batches(&f), 5);
}

/* With its checkpoint gone nothing tells such gaps from what a crash took. */
Test(log_recovery, without_a_recovery_point_gaps_are_compactions)
{
    gaps_of_compaction();
    put_empty_segment(90);
    cr_assert_eq(fixture_try_open(&f, false, LOG_POINT_UNKNOWN, 0), ERR_NONE);
    cr_assert_eq(f.report.damaged_at, -1, "%s", f.report.message);
    cr_assert_eq(log_end_offset(f.log), 90);
    cr_assert_eq(read_at(&f, 61, 90, 1).first, 80);
}

Test(log_recovery, with_one_they_are_losses_behind_it)
{
    gaps_of_compaction();
    cr_assert_eq(fixture_try_open(&f, false, 40, 0), ERR_NONE);
    cr_assert_eq(f.report.damaged_at, 41);
    cr_assert_eq(log_end_offset(f.log), 41);
}

/* What is appended behind the gap may be torn though it lies above the end that
 * the log had, and had on disk. */
Test(log_recovery, a_recovery_point_does_not_lie_in_a_gap_at_the_end)
{
    append_with_gaps(20, 1 << 20);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(log_truncate(f.log, 70), ERR_NONE);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    cr_assert_eq(log_end_offset(f.log), 70);
    cr_assert_eq(log_synced_offset(f.log), 70);
    int64_t point = log_recovery_point(f.log);
    cr_assert_eq(point, 61);
    append_n(&f, 1);
    fixture_crash(&f, ENV_MEM_KILL);
    file(&f, 0, ".log")->len -= 3;
    open_after_kill(point);
    cr_assert_eq(f.report.damaged_at, -1, "%s", f.report.message);
    cr_assert_gt(f.report.cut_bytes, 0);
    cr_assert_eq(log_end_offset(f.log), 61);
}
