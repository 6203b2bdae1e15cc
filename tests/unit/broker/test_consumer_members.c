/* Members: epochs, the way from one assignment to the next, static members. */
#include "tests/unit/broker/consumer_fixture.h"

#include "proto/kafka/coordinator_record.h"

#include <stdlib.h>

static struct realm r;

static void set_up(void) { realm_open(&r); }
static void tear_down(void) { realm_close(&r); }

TestSuite(consumer_members, .init = set_up, .fini = tear_down);

static struct client at_epoch(struct client c, int32_t epoch)
{
    c.epoch = epoch;
    return c;
}

/* ---- epochs --------------------------------------------------------------*/

Test(consumer_members, a_lone_member_gets_everything_at_once)
{
    struct client c = client_join(&r, "m", "a b");

    cr_assert_eq(c.epoch, 1);
    cr_assert_eq(c.parts_len, 6);
    cr_assert_str_eq(realm_state(&r, "g"), "Stable");
    int64_t before = r.records;
    int token = BEAT(&r, &c);
    cr_assert_null(beat_of(&r, token)->assignment);
    cr_assert_eq(beat_of(&r, token)->heartbeat_interval_ms, 5000);
    cr_assert_eq(r.records, before, "a heartbeat without news writes nothing");
    /* A full request hears everything again. */
    token = BEAT(&r, &c, .names = "b a", .timeout_ms = 10000);
    cr_assert_not_null(beat_of(&r, token)->assignment);
    cr_assert_eq(r.records, before);
    realm_check_reload(&r);
}

Test(consumer_members, epochs)
{
    struct client a = client_join(&r, "a", "a"), old = a;
    struct client b = client_join(&r, "b", "a");
    struct client nobody = at_epoch(named("nobody"), 1);

    client_beat(&r, &a); /* told to give one up */
    cr_assert_eq(a.epoch, 1);
    client_beat(&r, &a); /* has */
    cr_assert_eq(a.epoch, 2);
    const struct row rows[] = {
        {"unknown member", beat_err(&r, BEAT(&r, &nobody)),
         ERR_UNKNOWN_MEMBER_ID},
        {"epoch to come",
         beat_err(&r, BEAT(&r, (&(struct client){.id = "a", .epoch = 3}))),
         ERR_FENCED_MEMBER_EPOCH},
        {"last epoch, owns too much", beat_err(&r, BEAT(&r, &old)),
         ERR_FENCED_MEMBER_EPOCH},
        {"last epoch, does not say",
         beat_err(&r, BEAT(&r, &old, .silent = true)), ERR_FENCED_MEMBER_EPOCH},
        {"the answer was lost",
         beat_err(&r, BEAT(&r, (&(struct client){.id = "a", .epoch = 1}))),
         ERR_NONE},
        {"present", beat_err(&r, BEAT(&r, &a)), ERR_NONE},
        {"comes again", beat_err(&r, JOIN(&r, &old)), ERR_NONE},
        {"leaves",
         beat_err(&r, BEAT(&r, (&(struct client){.id = "b", .epoch = -1}))),
         ERR_NONE},
        {"has left", beat_err(&r, BEAT(&r, &b)), ERR_UNKNOWN_MEMBER_ID},
    };
    CHECK_ROWS(rows);
    realm_check_reload(&r);
}

Test(consumer_members, only_the_last_epoch_may_be_repeated)
{
    struct client a = client_join(&r, "a", "a");

    client_take(&r, &a, BEAT(&r, &a, .names = "a b"));
    client_take(&r, &a, BEAT(&r, &a, .names = "a b c"));
    cr_assert_eq(a.epoch, 3);
    a.epoch = 1;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_FENCED_MEMBER_EPOCH);
    a.epoch = 2;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
}

Test(consumer_members, a_join_whose_answer_was_lost_is_repeated)
{
    struct client c = client_join(&r, "m", "a"), again = named("m");

    client_take(&r, &again, JOIN(&r, &again));
    cr_assert_eq(again.epoch, c.epoch);
    cr_assert_eq(again.parts_len, 3);
}

/* ---- reconciliation ------------------------------------------------------*/

Test(consumer_members, a_partition_is_given_up_before_it_is_given)
{
    struct client a = client_join(&r, "a", "a");
    struct client b = named("b");
    int token = JOIN(&r, &b);

    client_take(&r, &b, token);
    cr_assert_eq(b.epoch, 2);
    cr_assert_eq(b.parts_len, 0);
    cr_assert_str_eq(realm_state(&r, "g"), "Reconciling");
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 0, "a still has it");

    struct client before = a;
    client_beat(&r, &a);
    cr_assert_eq(a.parts_len, 2);
    cr_assert_eq(a.epoch, 1);
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 0, "a has not said that it gave it up");
    cr_assert_err(beat_err(&r, BEAT(&r, &before)), ERR_NONE);
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 0, "a says that it has it still");
    cr_assert_err(beat_err(&r, BEAT(&r, &a, .silent = true)), ERR_NONE);
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 0, "a says nothing");

    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 2);
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 1);
    cr_assert_str_eq(realm_state(&r, "g"), "Stable");
    realm_check_reload(&r);
}

Test(consumer_members, who_does_not_give_up_in_time_is_out)
{
    struct client a = client_join(&r, "a", "a"), b = client_join(&r, "b", "a");

    client_beat(&r, &a);
    struct client keeps = a;
    keeps.parts_len = 3;
    for (int i = 0; i < 3; i++) {
        realm_pass(&r, 3000);
        cr_assert_err(beat_err(&r, BEAT(&r, &keeps, .silent = true)), ERR_NONE);
    }
    realm_pass(&r, 999);
    cr_assert_err(beat_err(&r, BEAT(&r, &keeps, .silent = true)), ERR_NONE);
    realm_pass(&r, 1);
    cr_assert_err(beat_err(&r, BEAT(&r, &keeps)), ERR_UNKNOWN_MEMBER_ID);
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 3);
    realm_check_reload(&r);
}

Test(consumer_members, who_is_silent_is_out)
{
    struct client a = client_join(&r, "a", "a"), b = client_join(&r, "b", "a");
    struct client *both[] = {&a, &b};

    clients_settle(&r, both, 2);
    realm_pass(&r, 44999);
    client_beat(&r, &b);
    realm_pass(&r, 1);
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 3);
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_UNKNOWN_MEMBER_ID);
    realm_pass(&r, 45000);
    cr_assert_str_eq(realm_state(&r, "g"), "Empty");
    cr_assert_eq(realm_describe(&r, "g")->group_epoch, 4);
    cr_assert_eq(realm_describe(&r, "g")->assignment_epoch, 4);
    realm_check_reload(&r);
}

Test(consumer_members, a_group_may_have_its_own_session_timeout)
{
    r.session_timeout_ms = 50000;
    struct client a = client_join(&r, "a", "a");

    realm_pass(&r, 49999);
    client_beat(&r, &a);
    realm_pass(&r, 50000);
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_UNKNOWN_MEMBER_ID);
}

Test(consumer_members, sessions_begin_again_with_a_new_coordinator)
{
    struct client a = client_join(&r, "a", "a"), b = client_join(&r, "b", "a");

    client_beat(&r, &a); /* to give one up in 10 s */
    realm_pass(&r, 9000);
    realm_fail_over(&r);
    realm_pass(&r, 9000);
    client_beat(&r, &b);
    realm_pass(&r, 1000);
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_UNKNOWN_MEMBER_ID);
    realm_pass(&r, 44999 - 1000);
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 3);
}

Test(consumer_members, a_state_from_the_future_starts_over)
{
    struct client a = client_join(&r, "a", "a");
    struct consumer_group_current_member_assignment_key key = {SLICE("g"),
                                                               SLICE("a")};
    int32_t p = 0;
    struct consumer_group_current_member_assignment_value_topic_partitions
        topic = {r.topics[0].id, &p, 1, NULL, -1};
    struct consumer_group_current_member_assignment_value value = {
        1, 1, 9, &topic, 1, NULL, 0};
    struct buf k = BUF_INIT, v = BUF_INIT;

    coordinator_key_encode(&consumer_group_current_member_assignment_key_desc,
                           &key, &k);
    coordinator_value_encode(
        &consumer_group_current_member_assignment_value_desc, 0, &value, &v);
    cr_assert_err(consumer_coord_replay(r.coord, buf_slice(&k), buf_slice(&v)),
                  ERR_NONE);
    int64_t before = r.records;
    cr_assert_err(beat_err(&r, BEAT(&r, &a, .rack = "r")),
                  ERR_FENCED_MEMBER_EPOCH);
    cr_assert_eq(r.records, before);
    a.parts_len = 0;
    client_beat(&r, &a);
    client_beat(&r, &a);
    cr_assert_eq(a.parts_len, 3);
    buf_free(&k);
    buf_free(&v);
}

/* While a log is loaded that is being compacted, the record that took a
 * partition from one may be missed, but not the one after it. */
static void replay_current(const char *id, int32_t partitions)
{
    struct consumer_group_current_member_assignment_key key = {SLICE("g"),
                                                               slice_str(id)};
    int32_t p = 0;
    struct consumer_group_current_member_assignment_value_topic_partitions
        topic = {r.topics[0].id, &p, partitions, NULL, -1};
    struct consumer_group_current_member_assignment_value value = {
        1, 1, 0, &topic, 1, NULL, 0};
    struct buf k = BUF_INIT, v = BUF_INIT;

    coordinator_key_encode(&consumer_group_current_member_assignment_key_desc,
                           &key, &k);
    coordinator_value_encode(
        &consumer_group_current_member_assignment_value_desc, 0, &value, &v);
    cr_assert_err(consumer_coord_replay(r.coord, buf_slice(&k), buf_slice(&v)),
                  ERR_NONE);
    buf_free(&k);
    buf_free(&v);
}

Test(consumer_members, the_later_record_says_who_owns_a_partition)
{
    struct client a = client_join(&r, "a", "b");

    replay_current("x", 1);
    replay_current("y", 1);
    replay_current("x", 0);
    consumer_coord_check(r.coord);
    client_take(&r, &a, BEAT(&r, &a, .names = "a"));
    cr_assert_lt(a.parts_len, 3);
    /* Nobody of the two is a member, so their records go. */
    client_beat(&r, &a);
    cr_assert_eq(a.parts_len, 3);
    consumer_coord_check(r.coord);
}

/* ---- static members ------------------------------------------------------*/

Test(consumer_members, a_static_member_comes_back_to_what_it_had)
{
    struct client a = static_named("a1", "i"), b = client_join(&r, "b", "a");
    struct client *both[] = {&a, &b};

    client_take(&r, &a, JOIN(&r, &a));
    clients_settle(&r, both, 2);
    uint32_t had = a.parts_len;
    int32_t epoch = b.epoch;

    a.epoch = -2;
    cr_assert_eq(beat_of(&r, BEAT(&r, &a))->member_epoch, -2);
    client_beat(&r, &b);
    cr_assert_eq(b.epoch, epoch);
    cr_assert_eq(b.parts_len, 3 - had, "nobody gets what it had");
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE); /* says it again */
    realm_check_reload(&r);

    a = static_named("a2", "i");
    client_take(&r, &a, JOIN(&r, &a));
    cr_assert_eq(a.epoch, epoch);
    cr_assert_eq(a.parts_len, had);
    client_beat(&r, &b);
    cr_assert_eq(b.epoch, epoch);
    struct client old = static_named("a1", "i");
    old.epoch = epoch;
    cr_assert_err(beat_err(&r, BEAT(&r, &old)), ERR_FENCED_INSTANCE_ID);
    const struct consumer_group_describe_response_described_group *g =
        realm_describe(&r, "g");
    for (int i = 0; i < 2; i++)
        cr_assert_eq(g->members[i].target_assignment.topic_partitions_len, 1);
    realm_check_reload(&r);
}

Test(consumer_members,
     a_static_member_that_stops_has_given_up_what_it_was_told_to)
{
    struct client a = static_named("a1", "i");

    client_take(&r, &a, JOIN(&r, &a));
    struct client b = client_join(&r, "b", "a");
    client_beat(&r, &a); /* told */
    a.epoch = -2;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 1);
    realm_pass(&r, 20000); /* it has nothing to give up any more */
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 1);
    a = static_named("a2", "i");
    client_take(&r, &a, JOIN(&r, &a));
    cr_assert_eq(a.parts_len, 2);
    cr_assert_str_eq(realm_state(&r, "g"), "Stable");
}

Test(consumer_members, static_members)
{
    struct client a = static_named("a1", "i"), other = static_named("a2", "i");
    struct client nobody = at_epoch(static_named("a1", "none"), 1);

    client_take(&r, &a, JOIN(&r, &a));
    const struct row rows[] = {
        {"instance is taken", beat_err(&r, JOIN(&r, &other)),
         ERR_UNRELEASED_INSTANCE_ID},
        {"its first answer was lost", beat_err(&r, JOIN(&r, &a)), ERR_NONE},
        {"not the owner",
         beat_err(&r, BEAT(&r, (&(struct client){
                                   .id = "a2", .instance = "i", .epoch = 1}))),
         ERR_FENCED_INSTANCE_ID},
        {"not the owner leaves",
         beat_err(&r, BEAT(&r, (&(struct client){
                                   .id = "a2", .instance = "i", .epoch = -2}))),
         ERR_FENCED_INSTANCE_ID},
        {"no such instance", beat_err(&r, BEAT(&r, &nobody)),
         ERR_UNKNOWN_MEMBER_ID},
        {"leaves for good",
         beat_err(&r, BEAT(&r, (&(struct client){
                                   .id = "a1", .instance = "i", .epoch = -1}))),
         ERR_NONE},
        {"instance is free", beat_err(&r, JOIN(&r, &other)), ERR_NONE},
    };
    CHECK_ROWS(rows);
    realm_check_reload(&r);
}

Test(consumer_members, a_static_member_that_does_not_come_back_is_out)
{
    struct client a = static_named("a1", "i");

    client_take(&r, &a, JOIN(&r, &a));
    struct client b = client_join(&r, "b", "a");
    a.epoch = -2;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    for (int i = 0; i < 9; i++) {
        cr_assert_eq(b.parts_len, 0);
        realm_pass(&r, 5000);
        client_beat(&r, &b);
    }
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 3);
    realm_check_reload(&r);
}

Test(consumer_members, a_static_member_may_come_back_with_other_topics)
{
    struct client a = static_named("a1", "i");

    client_take(&r, &a, JOIN(&r, &a));
    a.epoch = -2;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    a = static_named("a2", "i");
    client_take(&r, &a, JOIN(&r, &a, .names = "b"));
    cr_assert_eq(a.epoch, 2);
    cr_assert_eq(a.parts_len, 3);
    cr_assert(client_owns(&a, &r.topics[1], 0));
    realm_check_reload(&r);
}
