/* Whose turn it is to be compacted, and how fast: a shard with a few replicas
 * whose logs are in memory, under virtual time.  What compaction does to a log
 * is test_log_clean.c's. */
#include "broker/cleaner.h"

#include "base/alloc.h"
#include "broker/checkpoint.h"
#include "broker/cleaner_file.h"
#include "broker/live.h"
#include "broker/log/clean.h"
#include "broker/log/state.h"
#include "broker/replica/partition.h"
#include "proto/record/builder.h"
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTITIONS = 4, BACKOFF_MS = 1000, RECORDS = 10 };

static struct env *env;
static struct live live;
static struct broker broker;
static struct log_dir dirs[2];
static struct shard shard;
static struct shard_topic topic = {.name = "t"};
static struct topic_settings settings;
static struct partition partitions[PARTITIONS];
static struct codec *codec;

static char cleaned[64]; /* indexes, in the order in which they were */
static int written;      /* calls of partition_written() */

/* ---- what the cleaner tells others ----------------------------------------*/

void checkpoint_touch(struct partition *p)
{
    size_t len = strlen(cleaned);

    snprintf(cleaned + len, sizeof cleaned - len, "%d", p->index);
}

void partition_written(struct partition *p)
{
    cr_assert(p->deleted);
    cr_assert_null(p->cleaning);
    written++;
}

int64_t partition_last_stable(const struct partition *p)
{
    return p->high_watermark;
}

/* ---- a shard --------------------------------------------------------------*/

static void open_log(struct partition *p)
{
    struct uuid id = {{1, (uint8_t)p->index}};
    struct log_open_report report;
    char path[32];

    snprintf(path, sizeof path, "/a/t-%d", p->index);
    cr_assert_eq(
        log_open(env, path, id, &settings.log, 0, 0, true, 0, &p->log, &report),
        ERR_NONE);
    free(report.message);
}

static void setup(void)
{
    env = env_mem_new(3);
    codec = codec_new();
    live = (struct live){.config = {
                             .log_cleaner_enable = true,
                             .log_cleaner_threads = 1,
                             .log_cleaner_backoff_ms = BACKOFF_MS,
                             .log_cleaner_dedupe_buffer_bytes = 1 << 20,
                             .log_cleaner_load_factor = 0.9,
                             .log_cleaner_io_buffer_bytes = 1000,
                             .log_cleaner_io_max_bytes_per_second = 1e300,
                         }};
    broker = (struct broker){.config = &live.config};
    for (int i = 0; i < 2; i++) {
        const char *path = i == 0 ? "/a" : "/b";
        env_mkdir(env, path);
        dirs[i] =
            (struct log_dir){.path = path, .cleaned = cleaner_file_new(path)};
    }
    settings = (struct topic_settings){.log = {
                                           .segment_bytes = 1 << 30,
                                           .segment_ms = -1,
                                           .retention_ms = -1,
                                           .retention_bytes = -1,
                                           .file_delete_delay_ms = 0,
                                           .index_interval_bytes = 4096,
                                           .segment_index_bytes = 10 << 20,
                                           .max_message_bytes = 1 << 20,
                                           .compact_policy = true,
                                           .min_cleanable_ratio = 0.5,
                                           .max_compaction_lag_ms = INT64_MAX,
                                           .flush_messages = INT64_MAX,
                                           .flush_ms = INT64_MAX,
                                       }};
    shard = (struct shard){.env = env, .broker = &broker, .live = &live};
    cleaner_init(&shard);
    for (int i = 0; i < PARTITIONS; i++) {
        struct partition *p = &partitions[i];
        *p = (struct partition){.shard = &shard,
                                .topic = &topic,
                                .index = i,
                                .role = PARTITION_FOLLOWER,
                                .settings = &settings,
                                .dir = &dirs[0]};
        list_init(&p->clean_link);
        open_log(p);
    }
    cleaned[0] = '\0';
    written = 0;
}

static void teardown(void)
{
    for (int i = 0; i < PARTITIONS; i++) {
        struct partition *p = &partitions[i];
        cleaner_leave(p);
        cleaner_closed(p);
        if (p->log != NULL)
            log_close(p->log);
    }
    env_mem_run(env);
    cr_assert_eq(broker.cleanings, 0);
    for (int i = 0; i < 2; i++)
        cleaner_file_unref(dirs[i].cleaned);
    codec_free(codec);
    cr_assert_eq(env_mem_open_files(env), 0, "a file stayed open");
    env_mem_free(env);
}

TestSuite(cleaner, .init = setup, .fini = teardown, .timeout = 60);

/* n segments that may be cleaned, of RECORDS updates of two keys each. */
static void write_segments(int index, int n)
{
    struct partition *p = &partitions[index];
    struct log_append_info info;

    for (int i = 0; i < n * RECORDS; i++) {
        struct batch_options options = BATCH_OPTIONS_INIT;
        struct buf bytes = BUF_INIT;
        struct batch_builder b;
        uint8_t value[200] = {0};

        batch_builder_init(&b);
        batch_builder_append(&b, env_wall_ms(env),
                             i % 2 == 0 ? SLICE("even") : SLICE("odd"),
                             slice_of(value, sizeof value), NULL, 0);
        options.base_offset = log_end_offset(p->log);
        batch_builder_finish(&b, &options, codec, &bytes);
        batch_builder_free(&b);
        cr_assert_eq(
            log_append(p->log, buf_slice(&bytes), env_wall_ms(env), &info),
            ERR_NONE);
        buf_free(&bytes);
        if (i % RECORDS == RECORDS - 1)
            cr_assert_eq(log_roll(p->log, log_end_offset(p->log), 0), ERR_NONE);
    }
    env_mem_run(env);
    cr_assert_eq(log_flush_now(p->log), ERR_NONE);
    p->high_watermark = log_end_offset(p->log);
}

/* The partition has ten segments, of which the last `dirty` ones are so. */
static void note_dirty(int index, int dirty)
{
    write_segments(index, 10);
    partitions[index].first_dirty = (10 - dirty) * RECORDS;
    cleaner_note(&partitions[index]);
}

static bool is_listed(int index)
{
    return !list_unlinked(&partitions[index].clean_link);
}

static const char *file_text(int dir)
{
    static char texts[2][256];
    struct buf *found;

    env_mem_run(env);
    found = env_mem_file(env, dir == 0 ? "/a/cleaner-offset-checkpoint"
                                       : "/b/cleaner-offset-checkpoint");
    if (found == NULL)
        return "";
    cr_assert_lt(found->len, sizeof texts[dir]);
    memcpy(texts[dir], found->data, found->len);
    texts[dir][found->len] = '\0';
    return texts[dir];
}

/* The clock does not jump. */
static void pass(int64_t ms)
{
    for (int64_t i = 0; i < ms; i++)
        env_mem_advance(env, 1);
}

/* Lets time pass until nothing is being cleaned; how long that took. */
static int64_t run_until_idle(int64_t step_ms)
{
    int64_t began_ms = env_now_ms(env);

    do {
        env_mem_advance(env, step_ms);
        cr_assert_lt(env_now_ms(env), began_ms + 100000000, "it never ends");
    } while (broker.cleanings > 0);
    return env_now_ms(env) - began_ms;
}

/* ---- whose turn it is -----------------------------------------------------*/

Test(cleaner, looks_after_the_backoff)
{
    note_dirty(0, 10);
    env_mem_advance(env, BACKOFF_MS - 1);
    cr_assert_str_eq(cleaned, "");
    env_mem_advance(env, 1);
    cr_assert_str_eq(cleaned, "0");
    cr_assert_eq(partitions[0].first_dirty, 10 * RECORDS);
    cr_assert_lt(log_size_bytes(partitions[0].log), 12 * 300);
}

Test(cleaner, the_filthiest_first)
{
    note_dirty(0, 7);
    note_dirty(1, 10);
    note_dirty(2, 6);
    note_dirty(3, 9);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_str_eq(cleaned, "1302");
    for (int i = 0; i < PARTITIONS; i++)
        cr_assert_eq(partitions[i].first_dirty, 10 * RECORDS);
}

Test(cleaner, what_is_clean_enough_waits)
{
    note_dirty(0, 4);
    note_dirty(1, 6);
    env_mem_advance(env, 10 * BACKOFF_MS);
    cr_assert_str_eq(cleaned, "1");
    write_segments(0, 5);
    cleaner_note(&partitions[0]);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_str_eq(cleaned, "10");
}

Test(cleaner, what_has_waited_for_long_is_due)
{
    settings.log.max_compaction_lag_ms = 60000;
    log_set_config(partitions[0].log, &settings.log);
    note_dirty(0, 1);
    env_mem_advance(env, 50000);
    cr_assert_str_eq(cleaned, "");
    cr_assert(is_listed(0));
    env_mem_advance(env, 12000);
    cr_assert_str_eq(cleaned, "0");
}

Test(cleaner, what_is_young_waits)
{
    settings.log.min_compaction_lag_ms = 60000;
    log_set_config(partitions[0].log, &settings.log);
    note_dirty(0, 10);
    env_mem_advance(env, 50000);
    cr_assert_str_eq(cleaned, "");
    cr_assert(is_listed(0));
    env_mem_advance(env, 12000);
    cr_assert_str_eq(cleaned, "0");
}

/* Undecided transactions, or records that are not committed, end it. */
Test(cleaner, only_what_is_stable)
{
    write_segments(0, 10);
    partitions[0].high_watermark = 4 * RECORDS + 3;
    cleaner_note(&partitions[0]);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_eq(partitions[0].first_dirty, 4 * RECORDS);
    cr_assert(is_listed(0), "there is more to come");
    partitions[0].high_watermark = 10 * RECORDS;
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_eq(partitions[0].first_dirty, 10 * RECORDS);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_not(is_listed(0));
}

Test(cleaner, nobody_looks_when_there_is_nothing)
{
    cr_assert_not(env_timer_running(&shard.cleaner));
    cleaner_note(&partitions[0]); /* an empty log */
    cr_assert(env_timer_running(&shard.cleaner));
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_not(is_listed(0));
    cr_assert_not(env_timer_running(&shard.cleaner));
    cr_assert_str_eq(cleaned, "");
}

Test(cleaner, who_is_not_noted)
{
    settings.log.compact_policy = false;
    note_dirty(0, 10);
    settings.log.compact_policy = true;
    partitions[1].deleted = true;
    note_dirty(1, 10);
    partitions[1].deleted = false;
    live.config.log_cleaner_enable = false;
    note_dirty(2, 10);
    for (int i = 0; i < 3; i++)
        cr_assert_not(is_listed(i), "%d", i);
}

Test(cleaner, who_cannot_be_cleaned_leaves)
{
    for (int i = 0; i < PARTITIONS; i++)
        note_dirty(i, 10);
    partitions[0].role = PARTITION_OPENING;
    partitions[1].role = PARTITION_DAMAGED;
    partitions[2].uncleanable = true;
    partitions[3].role = PARTITION_LEADER;
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_str_eq(cleaned, "3");
    for (int i = 0; i < 3; i++)
        cr_assert_not(is_listed(i), "%d", i);
}

/* ---- how many, how fast ---------------------------------------------------*/

static void set_rate(double bytes_per_second)
{
    live.config.log_cleaner_io_max_bytes_per_second = bytes_per_second;
}

Test(cleaner, one_at_a_time)
{
    set_rate(1000);
    note_dirty(0, 10);
    note_dirty(1, 9);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_not_null(partitions[0].cleaning);
    pass(3 * BACKOFF_MS);
    cr_assert_null(partitions[1].cleaning);
    cr_assert_eq(broker.cleanings, 1);
    while (strlen(cleaned) < 2)
        pass(BACKOFF_MS);
    cr_assert_str_eq(cleaned, "01");
}

Test(cleaner, as_many_as_there_are_threads)
{
    set_rate(1000);
    live.config.log_cleaner_threads = 2;
    note_dirty(0, 10);
    note_dirty(1, 9);
    note_dirty(2, 8);
    pass(4 * BACKOFF_MS);
    cr_assert_not_null(partitions[0].cleaning);
    cr_assert_not_null(partitions[1].cleaning);
    cr_assert_null(partitions[2].cleaning);
    cr_assert_eq(broker.cleanings, 2);
    while (strlen(cleaned) < 3)
        pass(BACKOFF_MS);
    cr_assert_eq(cleaned[2], '2', "%s", cleaned);
}

/* Another shard's count, too. */
Test(cleaner, waits_for_a_turn)
{
    broker.cleanings = 1;
    note_dirty(0, 10);
    env_mem_advance(env, 5 * BACKOFF_MS);
    cr_assert_str_eq(cleaned, "");
    cr_assert_eq(broker.cleanings, 1);
    broker.cleanings = 0;
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_str_eq(cleaned, "0");
}

/* Ten segments are read twice, for the keys and for the records; 10 bytes a
 * millisecond. */
Test(cleaner, no_faster_than_the_rate)
{
    int64_t bytes, took_ms;

    note_dirty(0, 10);
    bytes = log_size_bytes(partitions[0].log);
    set_rate(10000);
    env_mem_advance(env, BACKOFF_MS);
    took_ms = run_until_idle(1);
    cr_assert_geq(took_ms, 2 * bytes / 10 * 9 / 10, "%lld bytes in %lld ms",
                  (long long)bytes, (long long)took_ms);
    cr_assert_leq(took_ms, 3 * bytes / 10, "%lld bytes in %lld ms",
                  (long long)bytes, (long long)took_ms);
}

Test(cleaner, threads_share_the_rate)
{
    int64_t alone_ms, shared_ms;

    note_dirty(0, 10);
    note_dirty(1, 10);
    partitions[1].role = PARTITION_OFFLINE;
    set_rate(10000);
    env_mem_advance(env, BACKOFF_MS);
    alone_ms = run_until_idle(1);
    partitions[1].role = PARTITION_LEADER;
    cleaner_note(&partitions[1]);
    live.config.log_cleaner_threads = 4;
    env_mem_advance(env, BACKOFF_MS);
    shared_ms = run_until_idle(1);
    cr_assert_geq(shared_ms, 3 * alone_ms, "%lld ms, alone %lld ms",
                  (long long)shared_ms, (long long)alone_ms);
    cr_assert_leq(shared_ms, 5 * alone_ms, "%lld ms, alone %lld ms",
                  (long long)shared_ms, (long long)alone_ms);
}

/* However low the rate, there is some progress each minute. */
Test(cleaner, a_rate_of_almost_nothing)
{
    note_dirty(0, 10);
    set_rate(0.001);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_lt(run_until_idle(1000), 150 * 60000);
    cr_assert_str_eq(cleaned, "0");
}

Test(cleaner, another_rate_counts_at_once)
{
    note_dirty(0, 10);
    set_rate(100);
    env_mem_advance(env, BACKOFF_MS + 5000);
    cr_assert_not_null(partitions[0].cleaning);
    set_rate(1e300);
    env_mem_advance(env, 60000); /* the pause that had begun */
    cr_assert_str_eq(cleaned, "0");
}

Test(cleaner, another_backoff_counts_at_once)
{
    live.config.log_cleaner_backoff_ms = 3600000;
    note_dirty(0, 10);
    env_mem_advance(env, BACKOFF_MS);
    live.config.log_cleaner_backoff_ms = 10;
    cleaner_reconfigured(&shard);
    env_mem_advance(env, 10);
    cr_assert_str_eq(cleaned, "0");
}

/* ---- resuming -------------------------------------------------------------*/

Test(cleaner, goes_on_from_where_it_was)
{
    int64_t kept;

    note_dirty(0, 10);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_str_eq(file_text(0), "0\n1\nt 0 100\n");
    kept = log_size_bytes(partitions[0].log);
    write_segments(0, 10);
    cleaner_note(&partitions[0]);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_eq(partitions[0].first_dirty, 20 * RECORDS);
    cr_assert_str_eq(file_text(0), "0\n1\nt 0 200\n");
    cr_assert_leq(log_size_bytes(partitions[0].log), kept + 300,
                  "what was kept has been superseded");
    cr_assert_str_eq(cleaned, "00");
}

/* The next process knows what was clean, and has nothing to do. */
Test(cleaner, a_restart_cleans_nothing_again)
{
    struct partition *p = &partitions[0];

    note_dirty(0, 10);
    env_mem_advance(env, BACKOFF_MS);
    log_close(p->log);
    env_mem_run(env);
    open_log(p);
    cleaner_note(p);
    env_mem_advance(env, 10 * BACKOFF_MS);
    cr_assert_str_eq(cleaned, "0");
    cr_assert_not(is_listed(0));
}

Test(cleaner, a_log_that_was_cut)
{
    struct partition *p = &partitions[0];

    note_dirty(0, 10);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_eq(log_truncate(p->log, 5 * RECORDS), ERR_NONE);
    cleaner_shortened(p);
    cr_assert_eq(p->first_dirty, log_end_offset(p->log));
    cr_assert_lt(p->first_dirty, 10 * RECORDS);
    int64_t before = p->first_dirty;
    cleaner_shortened(p);
    cr_assert_eq(p->first_dirty, before);
    cr_assert_str_eq(cleaned, "00", "written down once more");
}

Test(cleaner, another_directory)
{
    note_dirty(0, 10);
    note_dirty(1, 10);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_str_eq(file_text(0), "0\n2\nt 0 100\nt 1 100\n");
    cleaner_moves(&partitions[0], &dirs[1], 30);
    cr_assert_eq(partitions[0].first_dirty, 30);
    cr_assert_str_eq(file_text(0), "0\n1\nt 1 100\n");
    cr_assert_str_eq(file_text(1), "0\n1\nt 0 30\n");
    cleaner_moves(&partitions[1], &dirs[1], 0);
    cr_assert_str_eq(file_text(0), "0\n0\n");
    cr_assert_str_eq(file_text(1), "0\n1\nt 0 30\n");
}

/* ---- the end --------------------------------------------------------------*/

static void begin_slowly(void)
{
    set_rate(100);
    note_dirty(0, 10);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_not_null(partitions[0].cleaning);
}

Test(cleaner, a_replica_is_deleted_meanwhile)
{
    struct partition *p = &partitions[0];
    int64_t bytes;

    note_dirty(0, 7);
    set_rate(100);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_not_null(p->cleaning);
    bytes = log_size_bytes(p->log);
    cleaner_leave(p);
    p->deleted = true;
    cleaner_deleted(p);
    cr_assert_eq(written, 0, "not before the step has ended");
    env_mem_run(env);
    cr_assert_eq(written, 1);
    cr_assert_null(p->cleaning);
    cr_assert_eq(broker.cleanings, 0);
    cr_assert_eq(log_size_bytes(p->log), bytes);
    cr_assert_not(is_listed(0));
    cr_assert_str_eq(file_text(0), "0\n0\n");
}

Test(cleaner, a_replica_is_closed_meanwhile)
{
    struct partition *p = &partitions[0];

    begin_slowly();
    cleaner_leave(p);
    cleaner_closed(p);
    cr_assert_null(p->cleaning);
    cr_assert_eq(broker.cleanings, 0);
    cr_assert_eq(written, 0);
    cr_assert_str_eq(cleaned, "");
}

/* Cut while it is being cleaned: given up, and looked at again. */
Test(cleaner, a_log_is_cut_meanwhile)
{
    struct partition *p = &partitions[0];

    begin_slowly();
    cr_assert_eq(log_truncate(p->log, 5 * RECORDS), ERR_NONE);
    p->high_watermark = log_end_offset(p->log);
    set_rate(1e300);
    env_mem_advance(env, 61000);
    cr_assert_null(p->cleaning);
    pass(2 * BACKOFF_MS);
    cr_assert_leq(p->first_dirty, log_end_offset(p->log));
}

Test(cleaner, damage_is_left_alone)
{
    struct partition *p = &partitions[0];
    struct buf *file;

    write_segments(0, 10);
    file = env_mem_file(env, "/a/t-0/00000000000000000000.log");
    cr_assert_not_null(file);
    file->data[file->len / 2] ^= 0x40;
    cleaner_note(p);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert(p->uncleanable);
    cr_assert_eq(p->first_dirty, 0);
    cr_assert_str_eq(cleaned, "");
    env_mem_advance(env, 10 * BACKOFF_MS);
    cr_assert_not(is_listed(0));
    file->data[file->len / 2] ^= 0x40;
    p->uncleanable = false; /* other settings, or opened again */
    cleaner_note(p);
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_str_eq(cleaned, "0");
}

/* A disk that is full for a while is tried again. */
Test(cleaner, a_full_disk_is_tried_again)
{
    struct partition *p = &partitions[0];

    write_segments(0, 10);
    cleaner_note(p);
    env_mem_faults(env)->capacity_bytes = 1;
    env_mem_advance(env, 3 * BACKOFF_MS);
    cr_assert_not(p->uncleanable);
    cr_assert_eq(broker.cleanings, 0);
    cr_assert(is_listed(0));
    env_mem_faults(env)->capacity_bytes = 0;
    env_mem_advance(env, BACKOFF_MS);
    cr_assert_str_eq(cleaned, "0");
}
