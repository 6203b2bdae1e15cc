/* Each rule of the share coordinator by itself. */
#include "tests/unit/broker/share_fixture.h"

#include "broker/coord/share/combine.h"

#include "base/prng.h"
#include "proto/kafka/coordinator_record.h"

#include <stdlib.h>

static struct state_log l;

static void set_up(void) { state_log_open(&l); }
static void tear_down(void) { state_log_close(&l); }

TestSuite(share_coord, .init = set_up, .fini = tear_down);

#define OK(token) cr_assert_err(told(&l, token), ERR_NONE)
#define FAILS(token, want) cr_assert_err(told(&l, token), want)

/* A coordinator that loads the log knows what the one before it knew. */
static void assert_reloads(void)
{
    char *before = state_log_dump(&l);
    state_log_fail_over(&l);
    char *after = state_log_dump(&l);

    cr_assert_str_eq(before, after);
    free(before);
    free(after);
}

/* ---- one key -------------------------------------------------------------*/

Test(share_coord, the_life_of_a_key)
{
    OK(INITIALIZE(&l, .start = 10, .state = 1));
    cr_assert_str_eq(state_text(&l, 1), "start 10:");
    OK(WRITE(&l, .state = 1, .leader = 1, .start = 10, .complete = 5,
             .batches = {{10, 14, SHARE_ACKNOWLEDGED, 1},
                         {20, 24, SHARE_AVAILABLE, 1}}));
    cr_assert_str_eq(state_text(&l, 1), "start 10: 10-14:2/1 20-24:0/1");
    cr_assert_eq(told_summary(&l, SUMMARY(&l))->delivery_complete_count, 5);
    assert_reloads();
    OK(WRITE(&l, .state = 1, .leader = 1, .start = 15,
             .batches = {{22, 30, SHARE_ARCHIVED, 2}}));
    cr_assert_str_eq(state_text(&l, 1), "start 15: 20-21:0/1 22-30:4/2");
    assert_reloads();
    OK(DELETE(&l));
    FAILS(READ(&l, .leader = 1), ERR_INVALID_REQUEST);
    cr_assert_eq(share_coord_count(share_shard_coord(l.shard)), 0);
    assert_reloads();
    OK(DELETE(&l));
}

Test(share_coord, nothing_without_initialize)
{
    FAILS(WRITE(&l), ERR_INVALID_REQUEST);
    FAILS(READ(&l), ERR_INVALID_REQUEST);
    OK(DELETE(&l));
    int t = SUMMARY(&l);
    cr_assert_eq(told_summary(&l, t)->start_offset, -1);
    cr_assert_eq(told_summary(&l, t)->delivery_complete_count, -1);
    cr_assert_eq(l.end_offset, 0);
}

Test(share_coord, hostile_requests)
{
    OK(INITIALIZE(&l));
    FAILS(INITIALIZE(&l, .group = ""), ERR_INVALID_GROUP_ID);
    FAILS(INITIALIZE(&l, .topic = -1), ERR_INVALID_REQUEST);
    FAILS(INITIALIZE(&l, .partition = -1), ERR_INVALID_REQUEST);
    FAILS(INITIALIZE(&l, .start = -2), ERR_INVALID_REQUEST);
    FAILS(WRITE(&l, .start = -2), ERR_INVALID_REQUEST);
    FAILS(WRITE(&l, .batches = {{5, 4, 0, 1}}), ERR_INVALID_REQUEST);
    FAILS(WRITE(&l, .batches = {{-5, 4, 0, 1}}), ERR_INVALID_REQUEST);
    FAILS(WRITE(&l, .batches = {{0, INT64_MAX, 0, 1}}), ERR_INVALID_REQUEST);
    FAILS(WRITE(&l, .batches = {{5, 9, 3, 1}}), ERR_INVALID_REQUEST);
    FAILS(WRITE(&l, .batches = {{5, 9, -1, 1}}), ERR_INVALID_REQUEST);
    FAILS(WRITE(&l, .batches = {{5, 9, 0, -1}}), ERR_INVALID_REQUEST);
    cr_assert_eq(l.end_offset, 1);
}

static enum err no_topic_2(void *arg, struct uuid topic, int32_t partition)
{
    (void)arg;
    return uuid_eq(topic, state_topic(2)) || partition > 3
               ? ERR_UNKNOWN_TOPIC_OR_PARTITION
               : ERR_NONE;
}

Test(share_coord, topics_that_are_not_there)
{
    OK(INITIALIZE(&l, .topic = 2));
    l.partition_error = no_topic_2;
    FAILS(INITIALIZE(&l, .topic = 2), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    FAILS(READ(&l, .partition = 4), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    FAILS(WRITE(&l, .topic = 2), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    OK(DELETE(&l, .topic = 2));
}

/* ---- epochs --------------------------------------------------------------*/

Test(share_coord, leader_epochs)
{
    OK(INITIALIZE(&l));
    OK(READ(&l, .leader = 5));
    FAILS(READ(&l, .leader = 4), ERR_FENCED_LEADER_EPOCH);
    FAILS(WRITE(&l, .leader = 4), ERR_FENCED_LEADER_EPOCH);
    OK(WRITE(&l, .leader = 6));
    FAILS(WRITE(&l, .leader = 5), ERR_FENCED_LEADER_EPOCH);
    state_log_fail_over(&l);
    FAILS(WRITE(&l, .leader = 5), ERR_FENCED_LEADER_EPOCH);
    OK(WRITE(&l, .leader = -1));
    OK(INITIALIZE(&l, .state = 1)); /* begins anew, but the leader stays */
    FAILS(WRITE(&l, .leader = 5), ERR_FENCED_LEADER_EPOCH);
}

Test(share_coord, state_epochs)
{
    OK(INITIALIZE(&l, .state = 3));
    FAILS(INITIALIZE(&l, .state = 2), ERR_FENCED_STATE_EPOCH);
    FAILS(WRITE(&l, .state = 2), ERR_FENCED_STATE_EPOCH);
    OK(WRITE(&l, .state = 3, .batches = {{0, 9, 2, 1}}));
    OK(INITIALIZE(&l, .state = 4, .start = 2));
    cr_assert_str_eq(state_text(&l, 0), "start 2:");
    FAILS(WRITE(&l, .state = 3), ERR_FENCED_STATE_EPOCH);
    OK(WRITE(&l, .state = 5, .start = 1, .batches = {{3, 9, 2, 1}}));
    cr_assert_str_eq(state_text(&l, 0), "start 1: 3-9:2/1");
    cr_assert_eq(told_state(&l, READ(&l))->state_epoch, 5);
    OK(WRITE(&l, .state = -1, .start = 2));
    cr_assert_str_eq(state_text(&l, 0), "start 2: 3-9:2/1");
    cr_assert_eq(told_state(&l, READ(&l))->state_epoch, 5);
    assert_reloads();
}

/* The coordinator of the group may have been replaced meanwhile. */
Test(share_coord, who_initializes_late_changes_nothing)
{
    OK(INITIALIZE(&l, .state = 3));
    OK(INITIALIZE(&l, .state = 3, .start = 10)); /* nobody has seen it */
    cr_assert_str_eq(state_text(&l, 2), "start 10:");
    OK(INITIALIZE(&l, .state = 3, .start = 11));
    cr_assert_str_eq(state_text(&l, 2), "start 10:");
    OK(WRITE(&l, .state = 3, .leader = 2, .start = 20, .complete = 3,
             .batches = {{20, 25, 2, 1}}));
    OK(INITIALIZE(&l, .state = 3, .start = 10));
    cr_assert_str_eq(state_text(&l, 2), "start 20: 20-25:2/1");
    cr_assert_eq(told_summary(&l, SUMMARY(&l))->delivery_complete_count, 3);
    assert_reloads();
    FAILS(WRITE(&l, .state = 3, .leader = 1), ERR_FENCED_LEADER_EPOCH);
    /* Its answer, too, is not that of a coordinator that was replaced. */
    l.hold = true;
    int late = INITIALIZE(&l, .state = 3);
    cr_assert_not(has_answer(&l, late));
    state_log_fail_over(&l);
    FAILS(late, ERR_NOT_COORDINATOR);
    state_log_commit(&l);
    l.hold = false;
    OK(INITIALIZE(&l, .state = 4, .start = 5));
    cr_assert_str_eq(state_text(&l, 2), "start 5:");
}

Test(share_coord, the_start_does_not_fall)
{
    OK(INITIALIZE(&l, .start = 10));
    OK(WRITE(&l, .start = 20));
    OK(WRITE(&l, .start = 15, .batches = {{15, 25, 2, 1}}));
    cr_assert_str_eq(state_text(&l, 0), "start 20: 20-25:2/1");
    OK(WRITE(&l, .start = -1, .batches = {{30, 30, 2, 1}}));
    cr_assert_str_eq(state_text(&l, 0), "start 20: 20-25:2/1 30-30:2/1");
    assert_reloads();
}

/* ---- commits -------------------------------------------------------------*/

Test(share_coord, answers_wait_for_the_commit)
{
    OK(INITIALIZE(&l));
    l.hold = true;
    int w = WRITE(&l, .batches = {{0, 9, 2, 1}});
    cr_assert_not(has_answer(&l, w));
    /* Nobody is told what may be lost, or what may yet come. */
    FAILS(READ(&l), ERR_COORDINATOR_NOT_AVAILABLE);
    FAILS(WRITE(&l), ERR_COORDINATOR_NOT_AVAILABLE);
    FAILS(INITIALIZE(&l), ERR_COORDINATOR_NOT_AVAILABLE);
    FAILS(DELETE(&l), ERR_COORDINATOR_NOT_AVAILABLE);
    OK(SUMMARY(&l));
    int other = INITIALIZE(&l, .partition = 1);
    cr_assert_not(has_answer(&l, other));
    state_log_commit(&l);
    OK(w);
    OK(other);
    l.hold = false;
    cr_assert_str_eq(state_text(&l, 0), "start 0: 0-9:2/1");
}

Test(share_coord, a_commit_that_takes_too_long)
{
    OK(INITIALIZE(&l));
    l.hold = true;
    int w = WRITE(&l, .batches = {{0, 9, 2, 1}});
    state_log_pass(&l, 5000);
    FAILS(w, ERR_COORDINATOR_NOT_AVAILABLE);
    FAILS(READ(&l), ERR_COORDINATOR_NOT_AVAILABLE);
    state_log_commit(&l);
    l.hold = false;
    cr_assert_str_eq(state_text(&l, 0), "start 0: 0-9:2/1");
    assert_reloads();
}

Test(share_coord, an_append_that_fails)
{
    l.append_err = ERR_NOT_ENOUGH_REPLICAS;
    FAILS(INITIALIZE(&l), ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_eq(share_coord_count(share_shard_coord(l.shard)), 0);
    l.append_err = ERR_NONE;
    OK(INITIALIZE(&l));
    l.append_err = ERR_NOT_LEADER_OR_FOLLOWER;
    FAILS(WRITE(&l, .batches = {{0, 9, 2, 1}}), ERR_NOT_COORDINATOR);
    l.append_err = ERR_NONE;
    cr_assert_str_eq(state_text(&l, 0), "start 0:");
}

Test(share_coord, a_lost_coordinator)
{
    OK(INITIALIZE(&l));
    int64_t end = l.end_offset;
    l.hold = true;
    int w = WRITE(&l, .batches = {{0, 9, 2, 1}});
    state_log_fail_over_at(&l, end);
    FAILS(w, ERR_NOT_COORDINATOR);
    /* What is loaded may not be committed yet. */
    l.hold = false;
    state_log_commit(&l);
    cr_assert_str_eq(state_text(&l, 0), "start 0:");
    l.hold = true;
    w = WRITE(&l, .batches = {{0, 9, 2, 1}});
    state_log_fail_over(&l);
    FAILS(w, ERR_NOT_COORDINATOR);
    FAILS(READ(&l), ERR_COORDINATOR_LOAD_IN_PROGRESS);
    cr_assert_eq(share_shard_prune_offset(l.shard), 0);
    state_log_commit(&l);
    l.hold = false;
    cr_assert_str_eq(state_text(&l, 0), "start 0: 0-9:2/1");
}

/* ---- snapshots and pruning -----------------------------------------------*/

static void reopen(int updates)
{
    state_log_close(&l);
    state_log_init(&l);
    l.options.config.snapshot_update_records_per_snapshot = updates;
    state_log_start(&l);
}

static void commit_to(int64_t high_watermark)
{
    l.high_watermark = high_watermark;
    share_shard_committed(l.shard, high_watermark, l.time);
}

Test(share_coord, a_snapshot_whose_commit_takes_too_long)
{
    reopen(0);
    OK(INITIALIZE(&l));
    l.hold = true;
    int w = WRITE(&l, .batches = {{0, 9, 2, 1}});
    int other = INITIALIZE(&l, .partition = 1);
    state_log_pass(&l, 5000);
    FAILS(w, ERR_COORDINATOR_NOT_AVAILABLE);
    FAILS(other, ERR_COORDINATOR_NOT_AVAILABLE);
    state_log_commit(&l);
    cr_assert_eq(share_shard_prune_offset(l.shard), 1);
    l.hold = false;
    OK(DELETE(&l));
    cr_assert_eq(share_shard_prune_offset(l.shard), 2);
    assert_reloads();
}

/* Who waits on is looked at after those who came later. */
Test(share_coord, a_snapshot_that_is_replayed_late_is_not_pruned)
{
    reopen(0);
    OK(INITIALIZE(&l, .partition = 1));
    OK(INITIALIZE(&l, .partition = 0));
    l.hold = true;
    int late = WRITE(&l, .partition = 0, .batches = {{0, 9, 2, 1}});
    state_log_pass(&l, 4000);
    int other = WRITE(&l, .partition = 1, .batches = {{0, 9, 2, 1}});
    state_log_pass(&l, 1000);
    FAILS(late, ERR_COORDINATOR_NOT_AVAILABLE);
    state_log_commit(&l);
    OK(other);
    l.hold = false;
    cr_assert_eq(share_shard_prune_offset(l.shard), 2);
    state_log_prune(&l);
    assert_reloads();
    OK(WRITE(&l, .partition = 0, .batches = {{10, 19, 2, 1}}));
}

Test(share_coord, a_new_key_that_waits_on_is_not_pruned)
{
    reopen(0);
    OK(INITIALIZE(&l, .partition = 1));
    l.hold = true;
    int late = INITIALIZE(&l, .partition = 0);
    state_log_pass(&l, 4000);
    int other = WRITE(&l, .partition = 1, .batches = {{0, 9, 2, 1}});
    int last = INITIALIZE(&l, .partition = 2);
    state_log_pass(&l, 1000);
    FAILS(late, ERR_COORDINATOR_NOT_AVAILABLE);
    commit_to(3);
    OK(other);
    cr_assert_not(has_answer(&l, last));
    cr_assert_leq(share_shard_prune_offset(l.shard), 1);
    state_log_prune(&l);
    state_log_commit(&l);
    l.hold = false;
    cr_assert_eq(share_coord_count(share_shard_coord(l.shard)), 3);
    assert_reloads();
}

Test(share_coord, a_snapshot_every_so_many_updates)
{
    reopen(3);
    OK(INITIALIZE(&l));
    for (int i = 0; i < 3; i++)
        OK(WRITE(&l, .batches = {{i, i, 2, 1}}));
    cr_assert_eq(state_log_prune(&l), 4);
    OK(WRITE(&l, .batches = {{3, 3, 2, 1}}));
    cr_assert_eq(state_log_prune(&l), 1);
    assert_reloads();
    cr_assert_str_eq(state_text(&l, 0), "start 0: 0-3:2/1");
    reopen(0);
    OK(INITIALIZE(&l));
    for (int i = 0; i < 3; i++) {
        OK(WRITE(&l, .batches = {{i, i, 2, 1}}));
        cr_assert_eq(state_log_prune(&l), 1);
    }
}

Test(share_coord, the_oldest_snapshot_holds)
{
    reopen(1);
    OK(INITIALIZE(&l, .partition = 0));
    OK(INITIALIZE(&l, .partition = 1));
    for (int i = 0; i < 10; i++)
        OK(WRITE(&l, .partition = 1, .batches = {{i, i, 2, 1}}));
    cr_assert_eq(share_shard_prune_offset(l.shard), 0);
    OK(DELETE(&l, .partition = 0));
    cr_assert_eq(share_shard_prune_offset(l.shard), 11);
    state_log_prune(&l);
    assert_reloads();
    OK(DELETE(&l, .partition = 1));
    cr_assert_eq(share_shard_prune_offset(l.shard), l.end_offset);
    cr_assert_eq(state_log_prune(&l), 0);
    assert_reloads();
}

Test(share_coord, cold_keys_get_snapshots)
{
    reopen(5);
    OK(INITIALIZE(&l, .partition = 0));
    OK(INITIALIZE(&l, .partition = 1));
    for (int i = 0; i < 30; i++)
        OK(WRITE(&l, .partition = 1, .batches = {{i, i, 2, 1}}));
    cr_assert_eq(share_shard_prune_offset(l.shard), 0);
    state_log_pass(&l, 300000);
    cr_assert_gt(share_shard_prune_offset(l.shard), 20);
    assert_reloads();
    /* and then there is peace */
    int64_t end = l.end_offset;
    state_log_pass(&l, 3000000);
    cr_assert_eq(l.end_offset, end);
}

Test(share_coord, a_topic_is_deleted)
{
    OK(INITIALIZE(&l, .partition = 0));
    OK(INITIALIZE(&l, .partition = 1));
    OK(INITIALIZE(&l, .topic = 2));
    l.hold = true;
    int w = WRITE(&l, .partition = 1);
    cr_assert_eq(share_shard_topic_deleted(l.shard, state_topic(1), l.time), 1);
    state_log_commit(&l);
    OK(w);
    cr_assert_eq(share_shard_topic_deleted(l.shard, state_topic(1), l.time), 0);
    state_log_commit(&l);
    l.hold = false;
    cr_assert_eq(share_coord_count(share_shard_coord(l.shard)), 1);
    assert_reloads();
}

/* ---- bounds --------------------------------------------------------------*/

Test(share_coord, a_state_that_is_too_large)
{
    enum { MANY = 5000 };
    static struct share_batch many[MANY];

    state_log_close(&l);
    state_log_init(&l);
    l.options.batch_max_bytes = 100000;
    state_log_start(&l);
    OK(INITIALIZE(&l));
    for (int i = 0; i < MANY; i++)
        many[i] = (struct share_batch){2 * i, 2 * i, SHARE_ARCHIVED, 1};
    FAILS(WRITE(&l, .many = many, .many_len = MANY), ERR_RECORD_LIST_TOO_LARGE);
    for (int i = 0; i + 1000 <= 4000; i += 1000)
        OK(WRITE(&l, .many = many + i, .many_len = 1000));
    FAILS(WRITE(&l, .many = many + 4000, .many_len = 1000),
          ERR_RECORD_LIST_TOO_LARGE);
    OK(WRITE(&l, .start = 2000, .many = many + 4000, .many_len = 1000));
    assert_reloads();
}

/* Some, again and again: in one request. */
static int write_again(const struct share_batch *many, int32_t len,
                       int32_t times)
{
    struct write_share_group_state_request_state_batch *batches =
        xcalloc((size_t)len, sizeof *batches);
    struct write_share_group_state_request_partition_data *p =
        xcalloc((size_t)times, sizeof *p);
    struct write_share_group_state_request_write_state_data t = {state_topic(1),
                                                                 p, times};
    struct write_share_group_state_request q = {SLICE("g"), &t, 1};

    for (int32_t i = 0; i < len; i++)
        batches[i] = (struct write_share_group_state_request_state_batch){
            many[i].first, many[i].last, (int8_t)many[i].state,
            many[i].deliveries};
    for (int32_t i = 0; i < times; i++)
        p[i] = (struct write_share_group_state_request_partition_data){
            .start_offset = -1,
            .delivery_complete_count = -1,
            .state_batches = batches,
            .state_batches_len = len};
    int token = state_send(&l, API_WRITE_SHARE_GROUP_STATE, &q);
    free(batches);
    free(p);
    return token;
}

Test(share_coord, what_a_decision_takes_does_not_stay)
{
    enum { MANY = 4000, TIMES = 100 };
    static struct share_batch many[MANY];

    state_log_close(&l);
    state_log_init(&l);
    l.options.batch_max_bytes = 100000;
    l.options.config.snapshot_update_records_per_snapshot = 0;
    state_log_start(&l);
    OK(INITIALIZE(&l));
    for (int i = 0; i < MANY; i++) /* unsorted */
        many[i] = (struct share_batch){2 * (MANY - i), 2 * (MANY - i),
                                       SHARE_ARCHIVED, 1};
    int token = WRITE(&l, .many = many, .many_len = MANY);
    OK(token);
    cr_assert_lt(l.answers[token]->arena.used_bytes,
                 2 * MANY * sizeof(struct share_batch));
    for (int i = 0; i < MANY; i++)
        many[i].first = many[i].last = many[i].first + 2 * MANY;
    token = write_again(many, MANY / 4, TIMES);
    FAILS(token, ERR_RECORD_LIST_TOO_LARGE);
    cr_assert_lt(l.answers[token]->arena.used_bytes,
                 2 * TIMES * (MANY / 4) * sizeof(struct share_batch));
}

Test(share_coord, too_many_keys)
{
    state_log_close(&l);
    state_log_init(&l);
    l.options.config.states_max_bytes = 10000;
    state_log_start(&l);
    int n = 0;
    while (told(&l, INITIALIZE(&l, .partition = n)) == ERR_NONE)
        n++;
    FAILS(INITIALIZE(&l, .partition = n), ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert(n > 10 && n < 100);
    OK(WRITE(&l, .partition = 1));
    OK(DELETE(&l, .partition = 0));
    OK(INITIALIZE(&l, .partition = n));
}

Test(share_coord, too_long_states)
{
    enum { MANY = 1000 };
    static struct share_batch many[MANY];

    state_log_close(&l);
    state_log_init(&l);
    l.options.config.states_max_bytes = 10000;
    state_log_start(&l);
    for (int i = 0; i < MANY; i++)
        many[i] = (struct share_batch){2 * i, 2 * i, SHARE_ARCHIVED, 1};
    OK(INITIALIZE(&l, .partition = 0));
    OK(INITIALIZE(&l, .partition = 1));
    OK(WRITE(&l, .partition = 1, .many = many, .many_len = 10));
    OK(WRITE(&l, .many = many, .many_len = MANY / 2));
    FAILS(WRITE(&l, .many = many + MANY / 2, .many_len = MANY / 2),
          ERR_RECORD_LIST_TOO_LARGE);
    FAILS(WRITE(&l, .partition = 1, .many = many + 10, .many_len = 1),
          ERR_RECORD_LIST_TOO_LARGE);
    OK(READ(&l, .partition = 1));
    /* What makes them shorter goes on. */
    OK(WRITE(&l, .partition = 1, .start = 20));
    OK(WRITE(&l, .many = many + 1, .many_len = 1));
    OK(WRITE(&l, .batches = {{0, MANY, SHARE_ARCHIVED, 2}}));
    OK(WRITE(&l, .partition = 1, .many = many + 10, .many_len = 1));
    assert_reloads();
}

/* ---- records that are not ours -------------------------------------------*/

static enum err replay_update(struct share_coord *coord, int16_t type,
                              int16_t version, int64_t first, int64_t last)
{
    struct share_update_key key = {SLICE("g"), state_topic(1), 0};
    struct share_update_value_state_batch batch = {first, last, 2, 1};
    struct share_update_value value = {0, 9, 3, 1, &batch, 1};
    struct buf k = BUF_INIT, v = BUF_INIT;

    cr_assert_err(coordinator_key_encode(&share_update_key_desc, &key, &k),
                  ERR_NONE);
    cr_assert_err(
        coordinator_value_encode(&share_update_value_desc, 0, &value, &v),
        ERR_NONE);
    be16_put(k.data, (uint16_t)type);
    be16_put(v.data, (uint16_t)version);
    enum err err = share_coord_replay(coord, buf_slice(&k), buf_slice(&v), 50);
    for (size_t n = 0; n < v.len; n++) /* cut off anywhere */
        if (share_coord_replay(coord, buf_slice(&k), slice_of(v.data, n), 51) ==
            ERR_NONE)
            err = ERR_UNKNOWN_SERVER_ERROR;
    buf_free(&k);
    buf_free(&v);
    return err;
}

Test(share_coord, records_that_make_no_sense)
{
    struct share_coord *coord = share_coord_create(&l.options.config);
    struct buf text = BUF_INIT;

    /* of a key that was deleted */
    cr_assert_err(replay_update(coord, 1, 0, 5, 9), ERR_NONE);
    cr_assert_eq(share_coord_count(coord), 0);
    cr_assert_err(replay_update(coord, 9, 0, 5, 9), ERR_UNSUPPORTED_VERSION);
    cr_assert_err(replay_update(coord, 1, 1, 5, 9), ERR_UNSUPPORTED_VERSION);
    cr_assert_err(replay_update(coord, 1, 0, 9, 5), ERR_MALFORMED);
    cr_assert_neq((int)share_coord_replay(coord, SLICE("x"), SLICE("y"), 60),
                  0);
    cr_assert_neq((int)share_coord_replay(coord, SLICE_NULL, SLICE_NULL, 61),
                  0);
    share_coord_dump(coord, &text);
    cr_assert_eq(text.len, 0);
    share_coord_check(coord);
    share_coord_free(coord);
}

/* ---- combining -----------------------------------------------------------*/

static void assert_combined(const struct share_batch *now, uint32_t now_len,
                            const struct share_batch *more, uint32_t more_len,
                            int64_t start, int64_t end)
{
    struct share_batch want[200];
    bool known[200] = {false};
    struct arena arena;
    uint32_t len;

    for (uint32_t i = 0; i < now_len + more_len; i++) {
        const struct share_batch *b =
            i < now_len ? &now[i] : &more[i - now_len];

        for (int64_t o = b->first; o <= b->last; o++) {
            if (!known[o] || b->deliveries > want[o].deliveries ||
                (b->deliveries == want[o].deliveries &&
                 b->state > want[o].state))
                want[o] = *b;
            known[o] = true;
        }
    }
    arena_init(&arena, 0);
    const struct share_batch *got =
        share_combine(now, now_len, more, more_len, start, &arena, &len);
    int64_t o = 0;
    for (uint32_t i = 0; i < len; i++) {
        cr_assert(got[i].first >= start && got[i].first <= got[i].last);
        if (i > 0 && got[i - 1].last + 1 == got[i].first)
            cr_assert(got[i].state != got[i - 1].state ||
                      got[i].deliveries != got[i - 1].deliveries);
        for (; o < got[i].first; o++)
            cr_assert(o < start || !known[o]);
        for (; o <= got[i].last; o++) {
            cr_assert(known[o]);
            cr_assert_eq((int)got[i].state, (int)want[o].state);
            cr_assert_eq(got[i].deliveries, want[o].deliveries);
        }
    }
    for (; o < end; o++)
        cr_assert(o < start || !known[o]);
    arena_free(&arena);
}

Test(share_combine, against_one_by_one)
{
    static const enum share_state states[] = {
        SHARE_AVAILABLE, SHARE_ACKNOWLEDGED, SHARE_ARCHIVED};
    struct prng prng = {7};

    for (int round = 0; round < 20000; round++) {
        struct share_batch now[12], more[12];
        uint32_t now_len = 0, more_len = (uint32_t)prng_below(&prng, 12);
        int64_t at = (int64_t)prng_below(&prng, 10);

        while (now_len < 12 && prng_below(&prng, 8) != 0) {
            int64_t last = at + (int64_t)prng_below(&prng, 8);

            now[now_len++] =
                (struct share_batch){at, last, states[prng_below(&prng, 3)],
                                     (int16_t)prng_below(&prng, 3)};
            at = last + 1 + (int64_t)prng_below(&prng, 3);
        }
        for (uint32_t i = 0; i < more_len; i++) {
            int64_t first = (int64_t)prng_below(&prng, 120);

            more[i] = (struct share_batch){
                first, first + (int64_t)prng_below(&prng, 40),
                states[prng_below(&prng, 3)], (int16_t)prng_below(&prng, 3)};
        }
        assert_combined(now, now_len, more, more_len,
                        (int64_t)prng_below(&prng, 60), 199);
    }
}
