/* What is stored of a replica before its log is cut, and what a power loss then
 * leaves of it. */
#include "broker/checkpoint.h"

#include "base/kv.h"
#include "broker/meta.h"
#include "broker/replica/partition.h"
#include "broker/shard.h"
#include "tests/sim/kv_disk.h"
#include "tests/unit/broker/log_fixture.h"

static struct fixture f;
static struct broker broker;
static struct log_dir dir;
static struct shard shard;
static struct shard_topic topic;
static struct partition p;

/* ---- what a checkpoint asks of others -------------------------------------*/

void meta_log_dir_failed(struct meta *m, const struct log_dir *d)
{
    (void)m, (void)d;
    cr_assert_fail("the store failed");
}

void partition_written(struct partition *other) { (void)other; }

int64_t partition_unchanged_ms(const struct partition *other)
{
    (void)other;
    return 0;
}

/* ---- a replica ------------------------------------------------------------*/

static void open_store(void)
{
    char *why = NULL;

    env_mkdir(f.env, "/data/kv");
    cr_assert_eq(kv_open(f.env, "/data/kv", &dir.checkpoints, &why), 0, "%s",
                 why);
}

/* A follower's log begins at 500 and ends at 510, with segments of five
 * records. */
static void begin(void)
{
    fixture_begin(&f);
    fixture_open(&f, false, 0);
    append_n(&f, 1);
    f.config.segment_bytes = log_size_bytes(f.log) * 5;
    log_set_config(f.log, &f.config);
    cr_assert_eq(log_truncate_fully(f.log, 500), ERR_NONE);
    append_n(&f, 10);
    open_store();
    dir.path = LOG_DIR;
    topic = (struct shard_topic){.name = "t", .id = f.topic_id};
    broker = (struct broker){.log_dirs = &dir, .log_dirs_len = 1};
    shard = (struct shard){.env = f.env, .broker = &broker};
    list_init(&shard.checkpoint);
    list_init(&shard.leaving);
    p = (struct partition){.shard = &shard,
                           .topic = &topic,
                           .topic_id = f.topic_id,
                           .dir = &dir,
                           .log = f.log};
    list_init(&p.checkpoint_link);
}

static void end(void)
{
    if (f.log != NULL)
        fixture_close(&f);
    kv_close(dir.checkpoints);
    fixture_end(&f);
}

TestSuite(checkpoint, .init = begin, .fini = end, .timeout = 20);

static struct checkpoint stored(void)
{
    struct checkpoint c;

    cr_assert(checkpoint_read(dir.checkpoints, &f.topic_id, 0, &c));
    return c;
}

/* ---- tests ----------------------------------------------------------------*/

/* The leader's log begins at 0: so does ours from then on. */
Test(checkpoint, a_cut_below_the_start_survives_a_power_loss)
{
    struct checkpoint c;

    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    checkpoint_touch(&p);
    checkpoint_flush(&shard, true);
    cr_assert_eq(stored().start_offset, 500);
    cr_assert(checkpoint_outlives(&p, 0, 0));
    cr_assert_eq(checkpoint_lower(&p, 0), 0);
    cr_assert_eq(log_truncate_fully(f.log, 0), ERR_NONE);
    append_n(&f, 20);
    cr_assert_eq(log_flush_now(f.log), ERR_NONE);
    env_mem_freeze(f.env);
    fixture_close(&f);
    kv_close(dir.checkpoints);
    env_mem_crash(f.env, ENV_MEM_WORST);
    open_store();
    c = stored();
    cr_assert_eq(fixture_try_open(&f, false, c.recovery_point, c.start_offset),
                 ERR_NONE);
    free(f.report.message);
    cr_assert_eq(log_start_offset(f.log), 0);
    cr_assert_eq(log_end_offset(f.log), 20);
}

/* With a recovery point below the cut there is the start to lower. */
Test(checkpoint, a_start_above_the_cut_is_lowered_by_itself)
{
    fixture_close(&f);
    cr_assert_eq(fixture_try_open(&f, false, 0, 502), ERR_NONE);
    free(f.report.message);
    p.log = f.log;
    cr_assert_eq(log_recovery_point(f.log), 0);
    cr_assert(checkpoint_outlives(&p, 100, 100));
    cr_assert_eq(checkpoint_lower(&p, 100), 0);
    cr_assert_eq(stored().start_offset, 100);
    cr_assert_eq(stored().recovery_point, 0);
}

Test(checkpoint, a_cut_above_what_is_stored_needs_nothing)
{
    cr_assert_eq(log_start_offset(f.log), 500);
    cr_assert_eq(log_recovery_point(f.log), 500);
    cr_assert_not(checkpoint_outlives(&p, 503, 500));
    p.stored_point = 504;
    cr_assert(checkpoint_outlives(&p, 503, 500));
}

/* A power loss soon after the cut would leave it, and with it what is written
 * behind the cut would count as committed. */
Test(checkpoint, a_high_watermark_above_the_cut_is_lowered)
{
    p.high_watermark = 507;
    checkpoint_touch(&p);
    checkpoint_flush(&shard, true);
    cr_assert_eq(stored().high_watermark, 507);
    cr_assert_not(checkpoint_outlives(&p, 507, 505));
    cr_assert(checkpoint_outlives(&p, 506, 505));
    cr_assert_eq(checkpoint_lower(&p, 505), 0);
    cr_assert_eq(stored().high_watermark, 505);
}

/* At a stop one may still wait for a helper, which may be slow, or too late. */
Test(checkpoint, what_is_written_last_is_the_newest)
{
    p.high_watermark = 501;
    checkpoint_touch(&p);
    checkpoint_begin(&shard);
    p.high_watermark = 505;
    checkpoint_touch(&p);
    checkpoint_flush(&shard, true);
    cr_assert_eq(stored().high_watermark, 505);
    env_mem_run(f.env);
    cr_assert_eq(stored().high_watermark, 505);
}

Test(checkpoint, what_waits_for_a_helper_at_a_stop_is_written)
{
    p.high_watermark = 501;
    checkpoint_touch(&p);
    checkpoint_begin(&shard);
    list_remove(&p.checkpoint_link);
    checkpoint_flush(&shard, true);
    cr_assert_eq(stored().high_watermark, 501);
    env_mem_run(f.env);
}

/* For good: an opening asks long after the start that lost it. */
Test(checkpoint, a_lost_store_is_remembered)
{
    cr_assert_eq(checkpoint_note_lost(&dir, false), 0);
    cr_assert(!dir.checkpoints_lost);
    cr_assert_eq(checkpoint_note_lost(&dir, true), 0);
    cr_assert(dir.checkpoints_lost);
    fixture_crash(&f, ENV_MEM_WORST);
    kv_close(dir.checkpoints);
    open_store();
    dir.checkpoints_lost = false;
    cr_assert_eq(checkpoint_note_lost(&dir, false), 0);
    cr_assert(dir.checkpoints_lost);
}
