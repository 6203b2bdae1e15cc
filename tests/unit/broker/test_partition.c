/* A replica whose log is in memory, between its roles: what it does when
 * something fails halfway.  Whom it would tell and ask is left out. */
#include "broker/replica/partition.h"

#include "base/alloc.h"
#include "base/kv.h"
#include "broker/checkpoint.h"
#include "broker/cleaner.h"
#include "broker/coord_host.h"
#include "broker/fetch_part.h"
#include "broker/meta.h"
#include "broker/replica/fetcher.h"
#include "broker/replica/move.h"
#include "broker/replica/places.h"
#include "broker/txn_verify.h"
#include "proto/record/builder.h"
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { SELF = 1, OTHER = 2, BATCHES = 10 };

static struct env *env;
static struct server_config config;
static struct log_dir dir = {.path = "/a"};
static struct broker broker;
static struct shard shard;
static struct topic_settings settings;
static struct codec *codec;
static struct shard_topic *topic;
static struct partition *p;
static struct shard_broker *other; /* NULL: nothing is known of it */

/* ---- what it tells others -------------------------------------------------*/

void cleaner_note(struct partition *q) {}
void cleaner_leave(struct partition *q) {}
void cleaner_shortened(struct partition *q) {}
void cleaner_deleted(struct partition *q) {}
void cleaner_closed(struct partition *q) {}
void coord_host_elected(struct partition *q) {}
void coord_host_lost(struct partition *q) {}
void coord_host_committed(struct partition *q) {}
void fetcher_add(struct partition *q) {}
void fetcher_remove(struct partition *q) {}
void fetcher_synced(struct partition *q) {}
void move_closed(struct partition *q) {}
void move_shortened(struct partition *q) {}
bool move_holds_sync(const struct partition *q) { return false; }
bool move_leave(struct partition *q) { return false; }
void txn_verify_forget(struct partition *q) {}
void partition_serve_damaged(struct partition *q) {}
bool partition_gives_up_lost(struct partition *q) { return false; }
void partition_check_mended(struct partition *q, int64_t watermark) {}
void partition_mended_synced(struct partition *q) {}
void partition_choose_dir(struct partition *q) {}
void partition_set_dir(struct partition *q, struct log_dir *to) {}
void partition_open_begin(struct partition *q) {}
void partition_open_again(struct partition *q) {}
void partition_open_abandon(struct partition *q) {}
void partition_removal_new(struct partition *q) {}
void partition_remove_files(struct partition *q) {}
void partition_removal_free(struct partition *q) {}

static int proposals;

void meta_propose_isr(struct meta *m, struct isr_proposal *proposal)
{
    proposals++;
    free(proposal);
}

void meta_log_dir_failed(struct meta *m, const struct log_dir *failed)
{
    cr_assert_fail("the directory is given up");
}

void meta_replica_offline(struct meta *m, const struct uuid *id, int32_t index)
{
    cr_assert_fail("the replica is offline");
}

struct topic_settings *topic_settings_ref(struct topic_settings *s)
{
    return s;
}

void topic_settings_unref(struct topic_settings *s) {}

struct shard_broker *shard_broker(struct shard *s, int32_t id)
{
    return id == OTHER ? other : NULL;
}

struct partition *shard_partition(struct shard *s, const struct uuid *topic_id,
                                  int32_t index, enum err *error)
{
    *error = ERR_NONE;
    return p;
}

bool throttle_lists(const struct partition *q, enum throttle_side side)
{
    return false;
}

int32_t throttle_wait_ms(const struct shard *s, enum throttle_side side)
{
    return 0;
}

void partition_damaged_fetched(struct partition *q, int32_t broker_id,
                               int64_t offset, int32_t epoch)
{
}

int64_t partition_damaged_end(const struct partition *q) { return 0; }

int kv_write(struct kv *kv, const struct kv_batch *batch, bool sync)
{
    return 0;
}

int kv_get(struct kv *kv, struct slice key, struct buf *value) { return -1; }

struct dir_place *place_ask(struct shard *s, const char *name, int32_t index,
                            struct partition *q,
                            void (*granted)(struct partition *q))
{
    return NULL;
}

bool place_is_granted(const struct dir_place *place) { return false; }

void place_give_back(struct dir_place *place) {}

/* ---- a follower -----------------------------------------------------------*/

static struct partition_state state_of(int32_t leader, int32_t epoch)
{
    return (struct partition_state){.leader = leader,
                                    .leader_epoch = epoch,
                                    .partition_epoch = epoch,
                                    .replicas_len = 2,
                                    .isr = 1,
                                    .replicas = {SELF, OTHER}};
}

static void begin(void)
{
    struct log_open_report report;

    env = env_mem_new(5);
    codec = codec_new();
    env_mkdir(env, dir.path);
    settings = (struct topic_settings){.refs = 1,
                                       .min_isr = 1,
                                       .log = {
                                           .segment_bytes = 400,
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
                                    .replica_lag_time_max_ms = 30000};
    broker = (struct broker){.config = &config,
                             .node_id = SELF,
                             .log_dirs = &dir,
                             .log_dirs_len = 1};
    other = NULL;
    shard = (struct shard){.env = env, .broker = &broker, .heard_ms = -1};
    list_init(&shard.watched);
    list_init(&shard.checkpoint);
    list_init(&shard.leaving);
    topic = xcalloc(1, sizeof *topic);
    topic->id = (struct uuid){{7, 7, 7}};
    topic->name = xstrdup("t");
    dir.replicas = 1;
    p = partition_new(&shard, topic, 0, &settings,
                      &(struct partition_state){0});
    p->dir = &dir;
    cr_assert_eq(log_open(env, "/a/t-0", topic->id, &settings.log, 0, 0, true,
                          0, &p->log, &report),
                 ERR_NONE);
    free(report.message);
    p->state = state_of(OTHER, 1);
    p->role = PARTITION_FOLLOWER;
}

static void end(void)
{
    env_mem_faults(env)->no_more_at = 0;
    partition_close(p, false);
    env_mem_run(env);
    free(topic->name);
    free(topic);
    codec_free(codec);
    env_mem_free(env);
}

/* The next batch of producer 9. */
static enum err replicate(void)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct buf bytes = BUF_INIT;
    struct batch_builder b;

    batch_builder_init(&b);
    batch_builder_append(&b, 1000, SLICE_NULL, SLICE("value"), NULL, 0);
    options.base_offset = log_end_offset(p->log);
    options.leader_epoch = 1;
    options.producer_id = 9;
    options.producer_epoch = 0;
    options.base_sequence = (int32_t)log_end_offset(p->log);
    options.attributes = BATCH_TRANSACTIONAL;
    batch_builder_finish(&b, &options, codec, &bytes);
    batch_builder_free(&b);
    enum err error = partition_replicate(p, buf_slice(&bytes), 0, 0);
    buf_free(&bytes);
    return error;
}

/* The log is cut, and at the n-th file that is opened there are no file
 * descriptors.  True if what is known of producers was to be mended. */
static bool cut_without_descriptors(int n)
{
    struct partition_state lead = state_of(SELF, 2);
    struct producer known;

    begin();
    for (int i = 0; i < BATCHES; i++)
        cr_assert_eq(replicate(), ERR_NONE);
    env_mem_faults(env)->no_more_at = n;
    enum err error = partition_truncate(p, 3);
    cr_assert(error == ERR_NONE || error == ERR_EXHAUSTED, "%s",
              err_name(error));
    bool stale = p->producers_stale;
    if (stale) {
        int64_t end_offset = log_end_offset(p->log);

        env_mem_faults(env)->no_more_at = 1;
        cr_assert_neq(replicate(), ERR_NONE);
        cr_assert_eq(log_end_offset(p->log), end_offset);
        cr_assert_eq(partition_stable_below(p, end_offset), 0);
        partition_set_state(p, &lead);
        cr_assert_eq(p->role, PARTITION_IDLE);
        partition_tick(p);
        cr_assert_eq(p->role, PARTITION_IDLE);
        env_mem_faults(env)->no_more_at = 0;
        partition_tick(p);
    } else {
        env_mem_faults(env)->no_more_at = 0;
        partition_set_state(p, &lead);
    }
    cr_assert_eq(p->role, PARTITION_LEADER);
    cr_assert(producers_get(p->producers, 9, &known));
    cr_assert_eq(known.last_sequence, log_end_offset(p->log) - 1);
    cr_assert_eq(known.txn_first_offset, 0);
    end();
    return stale;
}

/* It would answer a batch that was cut off as one that it has. */
Test(partition, leads_only_with_producers_that_go_with_its_log)
{
    int stale = 0;

    for (int n = 1; n < 12; n++)
        stale += cut_without_descriptors(n);
    cr_assert_gt(stale, 1);
}

/* A move to another directory ends when its topic is long gone. */
Test(partition, a_deleted_one_knows_its_id_without_its_topic)
{
    uint8_t id[sizeof topic->id.bytes];

    begin();
    p->flush = xcalloc(1, sizeof *p->flush); /* holds it up */
    memcpy(id, topic->id.bytes, sizeof id);
    partition_delete(p);
    memset(&topic->id, 0xdd, sizeof topic->id);
    kv_batch_free(&shard.forgotten[0]);
    shard.forgotten[0] = (struct kv_batch)KV_BATCH_INIT;
    checkpoint_forget_in(p, &dir);
    struct slice ops = buf_slice(&shard.forgotten[0].ops);
    cr_assert_not_null(memmem(ops.data, ops.len, id, sizeof id));
    kv_batch_free(&shard.forgotten[0]);
    free(shard.forgotten);
    free(p->flush);
    p->flush = NULL;
    end();
}

/* ---- a leader whose records are deleted -----------------------------------*/

struct deletion {
    struct partition_waiter waiter;
    int calls;
    enum err error;
};

static void deleted(struct partition_waiter *w, enum err error)
{
    struct deletion *d = (struct deletion *)(void *)w;

    d->calls++;
    d->error = error;
}

static void delete_below(int64_t offset, struct deletion *d)
{
    *d = (struct deletion){.waiter = {.done = deleted}};
    d->waiter.end_offset = offset;
    cr_assert_eq(partition_delete_records(p, &d->waiter.end_offset), ERR_NONE);
    partition_wait_start(p, &d->waiter);
}

static struct shard_broker live;

static void begin_leading(void)
{
    struct partition_state lead = state_of(SELF, 2);

    begin();
    live = (struct shard_broker){.id = OTHER};
    other = &live;
    settings.log.delete_policy = true;
    for (int i = 0; i < BATCHES; i++)
        cr_assert_eq(replicate(), ERR_NONE);
    partition_set_state(p, &lead);
    cr_assert_eq(p->high_watermark, BATCHES);
}

/* Or the next leader would have them again. */
Test(partition, records_are_deleted_when_live_replicas_begin_later)
{
    struct deletion three, five, all;

    begin_leading();
    delete_below(3, &three);
    cr_assert_eq(log_start_offset(p->log), 3);
    cr_assert_eq(partition_low_watermark(p), -1);
    partition_follower_starts(p, OTHER, 0);
    cr_assert_eq(partition_low_watermark(p), 0);
    delete_below(5, &five);
    cr_assert_eq(three.calls, 0);
    partition_follower_starts(p, OTHER, 4);
    cr_assert_eq(three.calls, 1);
    cr_assert_eq(three.error, ERR_NONE);
    cr_assert_eq(five.calls, 0);
    delete_below(4, &three); /* that is so */
    cr_assert_eq(three.calls, 1);
    delete_below(-1, &all);
    cr_assert_eq(all.waiter.end_offset, BATCHES);
    live.fenced = true;
    partition_broker_changed(p, OTHER, false);
    cr_assert_eq(five.calls + all.calls, 2);
    cr_assert_eq(partition_low_watermark(p), BATCHES);
    end();
}

Test(partition, who_waits_for_a_deletion_hears_of_the_leaderships_end)
{
    struct partition_state follow = state_of(OTHER, 3);
    struct deletion d;

    begin_leading();
    delete_below(3, &d);
    cr_assert_eq(d.calls, 0);
    partition_set_state(p, &follow);
    cr_assert_eq(d.calls, 1);
    cr_assert_eq(d.error, ERR_NOT_LEADER_OR_FOLLOWER);
    end();
}

/* The next batch of the leader's own. */
static int64_t append(void)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct partition_append result;
    struct buf bytes = BUF_INIT;
    struct batch_builder b;

    batch_builder_init(&b);
    batch_builder_append(&b, 1000, SLICE_NULL, SLICE("value"), NULL, 0);
    batch_builder_finish(&b, &options, codec, &bytes);
    batch_builder_free(&b);
    struct partition_source in = {
        .bytes = bytes.data, .len = bytes.len, .api_version = -1};
    cr_assert_eq(partition_append(p, &in, 1, &result), ERR_NONE);
    buf_free(&bytes);
    return result.end_offset;
}

/* The sync under way does not have it, and nobody else would start one soon. */
Test(partition, who_waits_for_a_sync_gets_it_though_none_is_asked_for_any_more)
{
    struct topic_settings relaxed;
    struct deletion d = {.waiter = {.done = deleted}};

    begin_leading();
    relaxed = settings;
    settings.fsync = true;
    append();
    d.waiter.end_offset = append();
    partition_wait(p, &d.waiter, 1);
    partition_set_settings(p, &relaxed);
    cr_assert_eq(d.calls, 0);
    env_mem_run(env);
    cr_assert_eq(d.calls, 1);
    cr_assert_eq(d.error, ERR_NONE);
    end();
}

/* Each fetch of a follower may ask for it, and no controller may answer for
 * long. */
Test(partition, asks_once_to_be_relieved_of_the_lead)
{
    begin_leading();
    proposals = 0;
    for (int i = 0; i < 3; i++)
        partition_hand_over(p, OTHER);
    cr_assert_eq(proposals, 1);
    partition_hand_over_answered(p);
    partition_hand_over(p, OTHER);
    cr_assert_eq(proposals, 2);
    end();
}

static int woken;

static void heard(struct partition_watch *w, bool data) { woken += data; }

Test(partition, replicas_that_wait_hear_of_a_deletion)
{
    struct partition_watch replica = {.sees_uncommitted = true,
                                      .changed = heard};
    struct partition_watch consumer = {.changed = heard};
    struct deletion d;

    begin_leading();
    partition_watch(p, &replica);
    partition_watch(p, &consumer);
    woken = 0;
    delete_below(3, &d);
    cr_assert_eq(woken, 1);
    partition_unwatch(&replica);
    partition_unwatch(&consumer);
    list_remove(&d.waiter.link);
    end();
}

/* ---- a follower that fetches by a session ---------------------------------*/

static void returned(struct fetch_part *part) { (void)part; }

/* Its next request, which names the partition unless offset is -1.  What the
 * last one found was sent, all of it unless the answer had no room. */
static int fetch(struct fetch_part *part, int64_t offset)
{
    struct fetch_ask ask = {.topic_id = topic->id,
                            .current_leader_epoch = p->state.leader_epoch,
                            .last_fetched_epoch = 1,
                            .max_bytes = 1 << 20,
                            .offset = offset,
                            .start_offset = 0};

    part->asks = &ask;
    part->asks_len = offset >= 0;
    part->sent = true;
    fetch_part_discard(part);
    fetch_part_send(part, FETCH_RUN);
    return part->results_len;
}

static void begin_fetching(struct fetch_part *part)
{
    begin_leading();
    fetch_part_init(part, &shard, &shard, NULL);
    part->returned = returned;
    part->replica_id = OTHER;
    part->max_bytes = 1 << 20;
}

static void end_fetching(struct fetch_part *part)
{
    fetch_part_send(part, FETCH_DROP);
    fetch_part_free(part);
    end();
}

/* It asks for others while it syncs these, or has no room for them. */
Test(partition, a_follower_is_sent_records_once_for_each_time_it_asks)
{
    struct fetch_part part;

    begin_fetching(&part);
    cr_assert_eq(fetch(&part, 3), 1);
    cr_assert_gt(part.bytes, 0);
    cr_assert_eq(fetch(&part, -1), 0);
    cr_assert_eq(fetch(&part, -1), 0);
    cr_assert_eq(fetch(&part, 3), 1, "it could not take them");
    cr_assert_gt(part.bytes, 0);
    part.trimmed = true;
    cr_assert_eq(fetch(&part, -1), 1, "the answer had no room");
    cr_assert_eq(fetch(&part, BATCHES), 1);
    cr_assert_eq(part.bytes, 0);
    end_fetching(&part);
}

Test(partition, a_follower_hears_of_an_error_once_for_each_time_it_asks)
{
    struct fetch_part part;

    begin_fetching(&part);
    part.replica_epoch = -1; /* of an earlier life */
    cr_assert_eq(fetch(&part, 3), 1);
    cr_assert_eq(part.results[0].error, ERR_STALE_BROKER_EPOCH);
    cr_assert_eq(fetch(&part, -1), 0);
    part.replica_epoch = 0;
    cr_assert_eq(fetch(&part, 3), 1);
    cr_assert_eq(part.results[0].error, ERR_NONE);
    end_fetching(&part);
}
