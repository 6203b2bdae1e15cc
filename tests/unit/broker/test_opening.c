/* A replica on two disks in memory: which of them it is opened from, what comes
 * of it when the files are not as they should be, moves, and how it goes.  Whom
 * it would tell and ask is left out. */
#include "broker/replica/partition.h"

#include "base/alloc.h"
#include "base/kv.h"
#include "broker/checkpoint.h"
#include "broker/cleaner.h"
#include "broker/coord_host.h"
#include "broker/live.h"
#include "broker/meta.h"
#include "broker/replica/fetcher.h"
#include "broker/replica/move.h"
#include "broker/replica/places.h"
#include "broker/txn_verify.h"
#include "proto/record/builder.h"
#include "tests/sim/env_mem.h"
#include "tests/sim/kv_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SELF = 1, OTHER = 2, DIRS = 2, BATCHES = 10 };

static const struct uuid OURS = {{2, 2}}, DELETED = {{1, 1}};

static struct env *env;
static struct server_config config;
static struct live live;
static struct log_dir dirs[DIRS];
static struct broker broker;
static struct shard shard;
static struct topic_settings settings;
static struct codec *codec;
static struct shard_topic *topic;
static struct partition *p;
static bool is_offline;
static int not_cleaned; /* calls of cleaner_leave() less cleaner_note() */

/* ---- what it tells others -------------------------------------------------*/

void cleaner_note(struct partition *q) { not_cleaned = 0; }
void cleaner_leave(struct partition *q) { not_cleaned++; }
void cleaner_shortened(struct partition *q) {}
void cleaner_deleted(struct partition *q) {}
void cleaner_closed(struct partition *q) {}
void cleaner_moves(struct partition *q, struct log_dir *to, int64_t first_dirty)
{
}
void coord_host_elected(struct partition *q) {}
void coord_host_lost(struct partition *q) {}
void coord_host_committed(struct partition *q) {}
void fetcher_add(struct partition *q) {}
void fetcher_remove(struct partition *q) {}
void fetcher_synced(struct partition *q) {}
void txn_verify_forget(struct partition *q) {}

void meta_propose_isr(struct meta *m, struct isr_proposal *proposal)
{
    free(proposal);
}

void meta_log_dir_failed(struct meta *m, const struct log_dir *failed)
{
    cr_assert_fail("%s is given up", failed->path);
}

void meta_replica_offline(struct meta *m, const struct uuid *id, int32_t index)
{
    is_offline = true;
}

struct topic_settings *topic_settings_ref(struct topic_settings *s)
{
    return s;
}

void topic_settings_unref(struct topic_settings *s) {}

struct shard_broker *shard_broker(struct shard *s, int32_t id) { return NULL; }

struct log_dir *shard_wanted_dir(struct shard *s, const struct uuid *id,
                                 int32_t index)
{
    return NULL;
}

struct dir_place *place_ask(struct shard *s, const char *name, int32_t index,
                            struct partition *q,
                            void (*granted)(struct partition *q))
{
    return NULL;
}

bool place_is_granted(const struct dir_place *place) { return true; }

void place_give_back(struct dir_place *place) {}

/* ---- a node with two disks ------------------------------------------------*/

static void open_stores(void)
{
    char *why = NULL;

    for (int i = 0; i < DIRS; i++) {
        char *path = xasprintf("%s/kv", dirs[i].path);

        env_mkdir(env, path);
        cr_assert_eq(kv_open(env, path, &dirs[i].checkpoints, &why), 0, "%s",
                     why);
        free(path);
    }
}

static void start_shard(void)
{
    shard = (struct shard){.env = env,
                           .broker = &broker,
                           .live = &live,
                           .heard_ms = -1,
                           .settled = true};
    list_init(&shard.watched);
    list_init(&shard.checkpoint);
    list_init(&shard.leaving);
}

static void begin(void)
{
    static const char *const paths[DIRS] = {"/a", "/b"};

    env = env_mem_new(5);
    codec = codec_new();
    for (int i = 0; i < DIRS; i++) {
        dirs[i] = (struct log_dir){.path = paths[i]};
        env_mkdir(env, paths[i]);
    }
    env_sync_dir(env, "/");
    open_stores();
    settings = (struct topic_settings){.refs = 1,
                                       .min_isr = 1,
                                       .log = {
                                           .segment_bytes = 1 << 20,
                                           .segment_ms = -1,
                                           .retention_ms = -1,
                                           .retention_bytes = -1,
                                           .index_interval_bytes = 4096,
                                           .segment_index_bytes = 10 << 20,
                                           .max_message_bytes = 1 << 20,
                                           .flush_messages = INT64_MAX,
                                           .flush_ms = INT64_MAX,
                                       }};
    config = (struct server_config){.broker_session_timeout_ms = 9000,
                                    .replica_lag_time_max_ms = 30000,
                                    .replica_alter_log_dirs_bytes_per_second =
                                        INT64_MAX};
    live.config = config;
    broker = (struct broker){.config = &config,
                             .node_id = SELF,
                             .log_dirs = dirs,
                             .log_dirs_len = DIRS};
    start_shard();
    topic = xcalloc(1, sizeof *topic);
    topic->id = OURS;
    topic->name = xstrdup("t");
}

static void close_all(void)
{
    if (p != NULL)
        partition_close(p, false);
    p = NULL;
    env_mem_run(env);
    for (int i = 0; shard.forgotten != NULL && i < DIRS; i++)
        kv_batch_free(&shard.forgotten[i]);
    free(shard.forgotten);
    shard.forgotten = NULL;
    for (int i = 0; i < DIRS; i++)
        kv_close(dirs[i].checkpoints);
}

static void end(void)
{
    close_all();
    map_free(&broker.futures);
    free(topic->name);
    free(topic);
    codec_free(codec);
    env_mem_advance(env, 1000000);
    cr_assert_eq(env_mem_open_files(env), 0, "a file stayed open");
    env_mem_free(env);
}

TestSuite(opening, .init = begin, .fini = end, .timeout = 20);

/* The node is there again, after such a crash. */
static void crash(enum env_mem_crash kind)
{
    env_mem_freeze(env);
    close_all();
    env_mem_crash(env, kind);
    open_stores();
    start_shard();
}

/* Its only replica is the leader. */
static void opens(void)
{
    struct partition_state state = {.leader = SELF,
                                    .leader_epoch = 2,
                                    .partition_epoch = 2,
                                    .replicas_len = 1,
                                    .isr = 1,
                                    .replicas = {SELF}};

    p = partition_new(&shard, topic, 0, &settings, &state);
    partition_open_begin(p);
    env_mem_run(env);
}

static void later(void)
{
    for (int i = 0; i < 50; i++)
        env_mem_advance(env, 100);
}

static enum err put(struct log *log, int64_t offset)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct buf bytes = BUF_INIT;
    struct log_append_info info;
    struct batch_builder b;

    batch_builder_init(&b);
    batch_builder_append(&b, 1000, SLICE_NULL, SLICE("value"), NULL, 0);
    options.base_offset = offset;
    options.leader_epoch = 1;
    batch_builder_finish(&b, &options, codec, &bytes);
    batch_builder_free(&b);
    enum err error = log_append(log, buf_slice(&bytes), 1, &info);
    buf_free(&bytes);
    return error;
}

/* A log with that many batches of one record, all on disk. */
static void make_log(const char *path, struct uuid id, int batches)
{
    struct log_open_report report;
    struct log *log;

    cr_assert_eq(
        log_open(env, path, id, &settings.log, 0, 0, true, 0, &log, &report),
        ERR_NONE);
    for (int i = 0; i < batches; i++)
        cr_assert_eq(put(log, i), ERR_NONE);
    cr_assert_eq(log_flush_now(log), ERR_NONE);
    log_close(log);
    env_mem_run(env);
}

static void store(struct log_dir *dir, int64_t recovery_point)
{
    struct checkpoint c = {.high_watermark = recovery_point,
                           .recovery_point = recovery_point};

    cr_assert_eq(checkpoint_write(dir->checkpoints, &OURS, 0, &c), 0);
}

static struct buf *log_file(const char *dir)
{
    static char path[100];

    snprintf(path, sizeof path, "%s/t-0/00000000000000000000.log", dir);
    return env_mem_file(env, path);
}

/* How many names in a directory end in this. */
static int count_names(const char *path, const char *suffix)
{
    char **names;
    size_t len;
    int n = 0;

    if (env_list_dir(env, path, &names, &len) < 0)
        return 0;
    for (size_t i = 0; i < len; i++) {
        size_t m = strlen(names[i]), k = strlen(suffix);

        n += m >= k && strcmp(names[i] + m - k, suffix) == 0;
        free(names[i]);
    }
    free(names);
    return n;
}

/* ---- moves ----------------------------------------------------------------*/

/* The files ending in .damaged say what is missing, and they stay here. */
Test(opening, a_replica_that_lost_records_does_not_move)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES);
    log_file("/a")->len -= 3;
    opens();
    cr_assert_eq(p->role, PARTITION_DAMAGED);
    cr_assert_eq(partition_move(p, &dirs[1]), ERR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(partition_move(p, &dirs[0]), ERR_NONE);
    later();
    cr_assert_eq(p->dir, &dirs[0]);
    cr_assert_eq(count_names("/a/t-0", ".damaged"), 1);
    crash(ENV_MEM_KILL);
    opens();
    cr_assert_eq(p->role, PARTITION_DAMAGED);
}

static void interrupted_move(void)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES);
    log_file("/a")->len -= 3;
    map_put(&broker.futures, SLICE("t-0"), &dirs[1]);
    shard.settled = false;
    opens();
    later();
    cr_assert_eq(p->role, PARTITION_DAMAGED);
    cr_assert_eq(p->dir, &dirs[0]);
}

Test(opening, an_interrupted_move_waits_until_nothing_is_lost)
{
    interrupted_move();
    cr_assert_eq(put(p->log, BATCHES - 1), ERR_NONE);
    partition_check_mended(p, BATCHES);
    later();
    cr_assert_eq(p->dir, &dirs[1]);
    cr_assert_eq(log_end_offset(p->log), BATCHES);
}

Test(opening, what_tells_of_a_loss_stays_until_the_records_are_on_disk)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES);
    log_file("/a")->len -= 3;
    opens();
    cr_assert_eq(put(p->log, BATCHES - 1), ERR_NONE);
    partition_check_mended(p, BATCHES);
    cr_assert_eq(p->lost_until, 0);
    cr_assert_eq(count_names("/a/t-0", ".damaged"), 1);
    cr_assert_eq(log_flush_now(p->log), ERR_NONE);
    partition_may_sync(p);
    cr_assert_eq(count_names("/a/t-0", ".damaged"), 0);
}

Test(opening, somebody_may_end_it_meanwhile)
{
    interrupted_move();
    cr_assert_eq(partition_move(p, &dirs[0]), ERR_NONE);
    cr_assert_eq(put(p->log, BATCHES - 1), ERR_NONE);
    partition_check_mended(p, BATCHES);
    later();
    cr_assert_eq(p->dir, &dirs[0]);
}

/* ---- one of several directories -------------------------------------------*/

/* So many others are there already that a new one goes elsewhere. */
static void crowd(struct log_dir *dir) { atomic_store(&dir->replicas, 100); }

static bool is_there(const char *path) { return env_path_kind(env, path) != 0; }

static void delete_replica(void)
{
    partition_delete(p);
    p = NULL;
    env_mem_run(env);
    checkpoint_begin(&shard);
    env_mem_run(env);
}

Test(opening, files_of_another_topic_of_that_name_are_passed_over)
{
    make_log("/a/t-0", DELETED, 5);
    make_log("/b/t-0", OURS, BATCHES);
    store(&dirs[1], BATCHES);
    opens();
    cr_assert_eq(p->role, PARTITION_LEADER);
    cr_assert_eq(p->dir, &dirs[1]);
    cr_assert_eq(log_end_offset(p->log), BATCHES);
    cr_assert(!is_there("/a/t-0"));
}

/* Who starts with an old image takes nothing away, marked or not. */
Test(opening, the_files_of_a_newer_topic_stay)
{
    shard.settled = false;
    make_log("/a/t-0", DELETED, 5); /* newer, in fact */
    make_log("/b/t-0", OURS, BATCHES);
    cr_assert_eq(env_write_all(env, "/b/t-0/" REPLICA_NEWEST, SLICE("0\n")), 0);
    store(&dirs[1], BATCHES);
    opens();
    cr_assert_eq(p->dir, &dirs[1]);
    cr_assert_eq(p->role, PARTITION_LEADER);
    cr_assert(is_there("/a/t-0"));
}

Test(opening, nor_is_a_replica_made_beside_them)
{
    shard.settled = false;
    make_log("/a/t-0", DELETED, 5);
    crowd(&dirs[0]);
    opens();
    cr_assert_eq(p->role, PARTITION_OPENING);
    cr_assert(is_there("/a/t-0"));
    cr_assert(!is_there("/b/t-0"));
    shard.settled = true;
    env_mem_advance(env, 1000);
    partition_tick(p);
    env_mem_run(env);
    cr_assert_eq(p->role, PARTITION_LEADER);
    cr_assert_eq(log_end_offset(p->log), 0);
}

static bool is_known(const struct log_dir *dir)
{
    struct checkpoint c;

    return checkpoint_read(dir->checkpoints, &OURS, 0, &c);
}

/* With the other disk out of reach the replica would seem to be here, empty. */
Test(opening, nothing_is_known_of_what_is_set_aside)
{
    make_log("/a/t-0", OURS, 5);
    make_log("/b/t-0", OURS, BATCHES);
    cr_assert_eq(env_write_all(env, "/b/t-0/" REPLICA_NEWEST, SLICE("0\n")), 0);
    store(&dirs[0], 5);
    store(&dirs[1], BATCHES);
    opens();
    cr_assert_eq(p->dir, &dirs[1]);
    cr_assert(!is_there("/a/t-0"));
    cr_assert(!is_known(&dirs[0]));
    cr_assert(is_known(&dirs[1]));
}

Test(opening, nor_of_a_deleted_replica_that_was_to_move)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES);
    store(&dirs[1], BATCHES);
    opens();
    delete_replica();
    cr_assert(!is_known(&dirs[0]));
    cr_assert(!is_known(&dirs[1]));
}

/* It goes, comes back to the other disk, and that one syncs first. */
Test(opening, what_was_deleted_on_another_disk_does_not_come_back)
{
    make_log("/a/t-0", OURS, 5);
    store(&dirs[0], 5);
    opens();
    delete_replica();
    crowd(&dirs[0]);
    opens();
    cr_assert_eq(p->dir, &dirs[1]);
    for (int i = 0; i < BATCHES; i++)
        cr_assert_eq(put(p->log, i), ERR_NONE);
    cr_assert_eq(log_flush_now(p->log), ERR_NONE);
    crash(ENV_MEM_WORST);
    opens();
    cr_assert_eq(p->dir, &dirs[1]);
    cr_assert_eq(log_end_offset(p->log), BATCHES);
}

/* Thousands of new replicas do not sync other disks again and again. */
Test(opening, one_sync_serves_all_that_is_made_after_it)
{
    make_log("/a/t-0", OURS, 5);
    opens();
    crowd(&dirs[0]);
    delete_replica();
    for (int i = 0; i < 3; i++) {
        int64_t syncs = env_mem_counts(env)->dir_syncs;
        topic->id.bytes[5]++;
        topic->name[0]++;
        opens();
        cr_assert_eq(env_mem_counts(env)->dir_syncs - syncs, i == 0);
        partition_close(p, false);
        p = NULL;
        start_shard();
    }
}

/* ---- what is stored -------------------------------------------------------*/

static int64_t stored_point(const struct log_dir *dir)
{
    struct checkpoint c;

    return checkpoint_read(dir->checkpoints, &OURS, 0, &c) ? c.recovery_point
                                                           : -1;
}

/* Or what is appended next would count as synced. */
Test(opening, a_recovery_point_does_not_outlive_what_damage_cut_off)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES);
    struct buf *b = log_file("/a");
    b->data[b->len / BATCHES * 7 + 8] ^= 0x40; /* a batch's length */
    opens();
    cr_assert_eq(p->role, PARTITION_DAMAGED);
    cr_assert_eq(log_end_offset(p->log), 7);
    cr_assert_eq(p->stored_point, 7);
    crash(ENV_MEM_WORST);
    cr_assert_eq(stored_point(&dirs[0]), 7);
}

Test(opening, a_log_that_is_whole_writes_no_checkpoint)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES - 2);
    uint64_t writes = kv_disk_writes(env_disk(env), "/a/kv");
    opens();
    cr_assert_eq(p->role, PARTITION_LEADER);
    cr_assert_eq(kv_disk_writes(env_disk(env), "/a/kv"), writes);
}

/* ---- logs of another broker -----------------------------------------------*/

/* As Kafka's cleaner leaves a compacted log: segments that begin with their
 * first batch, and nothing between. */
static void make_gaps(const char *path)
{
    static const int64_t offsets[] = {0, 20, 40};
    struct log_open_report report;
    struct log *log;

    settings.log.compact_policy = true;
    settings.log.segment_bytes = 50;
    cr_assert_eq(
        log_open(env, path, OURS, &settings.log, 0, 0, true, 0, &log, &report),
        ERR_NONE);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(put(log, offsets[i]), ERR_NONE);
    cr_assert_eq(log_flush_now(log), ERR_NONE);
    log_close(log);
    env_mem_run(env);
    for (int i = 1; i < 3; i++) {
        char *from =
            xasprintf("%s/%020lld.log", path, (long long)offsets[i - 1] + 1);
        char *to = xasprintf("%s/%020lld.log", path, (long long)offsets[i]);

        cr_assert_eq(env_rename(env, from, to), 0);
        free(from);
        free(to);
    }
    env_sync_dir(env, path);
}

static void crash_and_count(enum env_mem_crash kind)
{
    crash(kind);
    dirs[0].clean = false;
    dirs[0].unclean_starts++;
}

/* It was stopped cleanly, and this node is killed before it has stored
 * anything. */
Test(opening, a_clean_log_that_nobody_knew_is_remembered)
{
    make_gaps("/a/t-0");
    dirs[0].clean = true;
    opens();
    cr_assert_eq(log_end_offset(p->log), 41);
    for (int i = 0; i < 2; i++) {
        crash_and_count(ENV_MEM_WORST);
        opens();
        cr_assert_eq(p->role, PARTITION_LEADER);
        cr_assert_eq(log_end_offset(p->log), 41);
    }
}

/* A copy, newer than the mark of the clean stop. */
Test(opening, also_if_it_was_copied)
{
    make_gaps("/a/t-0");
    dirs[0].clean = true;
    dirs[0].stopped_ms = 1;
    opens();
    cr_assert_eq(log_end_offset(p->log), 41);
    crash_and_count(ENV_MEM_WORST);
    opens();
    cr_assert_eq(p->role, PARTITION_LEADER);
    cr_assert_eq(log_end_offset(p->log), 41);
}

Test(opening, gaps_outlive_the_store_of_checkpoints)
{
    make_gaps("/a/t-0");
    dirs[0].checkpoints_lost = true;
    dirs[0].unclean_starts = 1;
    opens();
    cr_assert_eq(p->role, PARTITION_LEADER);
    cr_assert_eq(log_end_offset(p->log), 41);
    for (int i = 0; i < 2; i++) {
        crash_and_count(ENV_MEM_WORST);
        opens();
        cr_assert_eq(p->role, PARTITION_LEADER);
        cr_assert_eq(log_end_offset(p->log), 41);
    }
}

/* One that is made beside such a store is known from its first batch on, so
 * that what a power loss takes is seen. */
Test(opening, a_new_log_has_no_gaps_of_others)
{
    dirs[0].checkpoints_lost = true;
    crowd(&dirs[1]);
    opens();
    cr_assert_eq(p->dir, &dirs[0]);
    partition_close(p, false);
    p = NULL;
    env_sync_dir(env, "/a");
    make_gaps("/a/t-0");
    crash_and_count(ENV_MEM_WORST);
    opens();
    cr_assert_eq(log_end_offset(p->log), 1);
    cr_assert_gt(count_names("/a/t-0", ".lost"), 0);
}

/* ---- rot ------------------------------------------------------------------*/

/* A batch that nothing but its CRC gives away, below what is checked. */
static void rot(bool clean)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES);
    dirs[0].clean = clean;
    struct buf *b = log_file("/a");
    b->data[b->len / BATCHES * 8 - 3] ^= 1;
    opens();
    cr_assert_eq(p->role, PARTITION_DAMAGED);
    cr_assert_eq(log_end_offset(p->log), 7);
    cr_assert_eq(p->lost_until, BATCHES);
    cr_assert_eq(count_names("/a/t-0", ".damaged"), 1);
    cr_assert_eq(stored_point(&dirs[0]), 7);
}

Test(opening, rot_that_producers_are_read_from_is_damage) { rot(false); }

Test(opening, also_after_a_clean_stop) { rot(true); }

/* ---- the end --------------------------------------------------------------*/

static void tick(void)
{
    struct list *node = list_pop_front(&shard.watched);

    env_mem_advance(env, 1000);
    if (node != NULL)
        partition_tick(LIST_ENTRY(node, struct partition, watched_link));
    env_mem_run(env);
}

/* There are no file descriptors, and nobody waits until there are. */
Test(opening, what_is_deleted_before_it_could_be_opened_leaves_nothing)
{
    make_log("/a/t-0", DELETED, 1);
    make_log("/b/t-0", OURS, BATCHES);
    shard.settled = false;
    env_mem_faults(env)->no_more_at = 2;
    opens();
    cr_assert_eq(p->role, PARTITION_OPENING);
    env_mem_faults(env)->no_more_at = 1;
    partition_delete(p);
    p = NULL;
    env_mem_run(env);
    tick();
    cr_assert_eq(shard.deleting, 1);
    env_mem_faults(env)->no_more_at = 0;
    tick();
    cr_assert_eq(shard.deleting, 0);
    cr_assert(!is_there("/b/t-0"));
    cr_assert_eq(count_names("/b", "-delete"), 0);
    cr_assert(is_there("/a/t-0"), "another topic's");
}

Test(opening, nor_does_one_whose_log_does_not_open)
{
    make_log("/a/t-0", OURS, BATCHES);
    opens();
    cr_assert_eq(p->role, PARTITION_LEADER);
    crash(ENV_MEM_KILL);
    env_mem_faults(env)->open_at = 1;
    env_mem_faults(env)->error = -ENOSPC;
    log_file("/a")->len -= 3;
    store(&dirs[0], BATCHES);
    opens();
    cr_assert_null(p->log);
    delete_replica();
    cr_assert_eq(shard.deleting, 0);
    cr_assert(!is_there("/a/t-0"));
}

/* Its last batches were cut off, and compaction had left a gap before them. */
Test(opening, a_log_that_ends_in_a_gap_moves)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES);
    opens();
    cr_assert_eq(put(p->log, 20), ERR_NONE);
    cr_assert_eq(log_flush_now(p->log), ERR_NONE);
    cr_assert_eq(log_truncate(p->log, 15), ERR_NONE);
    cr_assert_eq(partition_move(p, &dirs[1]), ERR_NONE);
    later();
    cr_assert_eq(p->dir, &dirs[1]);
    cr_assert_null(p->move);
    cr_assert_eq(log_end_offset(p->log), 15);
    cr_assert_eq(log_synced_offset(p->log), 15);
    cr_assert_eq(put(p->log, 15), ERR_NONE);
    cr_assert_eq(log_end_offset(p->log), 16);
}

/* What is copied in front of a tombstone must not be older than what is copied
 * behind it: the one may lack what the other still hides. */
Test(opening, nothing_is_compacted_while_it_moves)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES);
    opens();
    cr_assert_eq(not_cleaned, 0);
    cr_assert_eq(partition_move(p, &dirs[1]), ERR_NONE);
    cr_assert_eq(not_cleaned, 1);
    later();
    cr_assert_eq(p->dir, &dirs[1]);
    cr_assert_eq(not_cleaned, 0);
}

Test(opening, a_move_goes_at_the_rate_that_is_set_now)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES);
    opens();
    live.config.replica_alter_log_dirs_bytes_per_second = 0;
    cr_assert_eq(partition_move(p, &dirs[1]), ERR_NONE);
    env_mem_run(env);
    cr_assert_eq(p->dir, &dirs[0]);
    cr_assert_not_null(p->move);
    live.config.replica_alter_log_dirs_bytes_per_second = INT64_MAX;
    env_mem_advance(env, 60000);
    env_mem_run(env);
    cr_assert_eq(p->dir, &dirs[1]);
}

/* All that is left of the log is a gap. */
Test(opening, a_log_that_is_a_gap_moves)
{
    make_log("/a/t-0", OURS, BATCHES);
    store(&dirs[0], BATCHES);
    opens();
    cr_assert_eq(put(p->log, 20), ERR_NONE);
    cr_assert_eq(log_truncate(p->log, 15), ERR_NONE);
    cr_assert_eq(log_raise_start(p->log, 12), ERR_NONE);
    cr_assert_eq(partition_move(p, &dirs[1]), ERR_NONE);
    later();
    cr_assert_eq(p->dir, &dirs[1]);
    cr_assert_eq(log_start_offset(p->log), 12);
    cr_assert_eq(log_end_offset(p->log), 15);
}
