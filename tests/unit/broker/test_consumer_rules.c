/* The new consumer group protocol, rule by rule. */
#include "tests/unit/broker/consumer_fixture.h"

#include "base/prng.h"
#include "proto/kafka/coordinator_record.h"

#include <stdio.h>
#include <stdlib.h>

static struct realm r;

static void set_up(void) { realm_open(&r); }
static void tear_down(void) { realm_close(&r); }

TestSuite(consumer_rules, .init = set_up, .fini = tear_down);

struct row {
    const char *what;
    enum err got;
    enum err want;
};

static void check_rows(const struct row *rows, size_t len)
{
    for (size_t i = 0; i < len; i++)
        cr_expect_eq((int)rows[i].got, (int)rows[i].want, "%s: %s, not %s",
                     rows[i].what, err_name((int)rows[i].got),
                     err_name((int)rows[i].want));
}
#define CHECK_ROWS(rows) check_rows((rows), sizeof(rows) / sizeof *(rows))

static struct client named(const char *id)
{
    struct client c = {0};

    snprintf(c.id, sizeof c.id, "%s", id);
    return c;
}

static struct client at_epoch(struct client c, int32_t epoch)
{
    c.epoch = epoch;
    return c;
}

/* ---- what a request must look like ---------------------------------------*/

static struct consumer_group_heartbeat_request joining(void)
{
    static struct slice names[1];
    struct consumer_group_heartbeat_request request;

    consumer_group_heartbeat_request_init(&request);
    names[0] = SLICE("a");
    request.group_id = SLICE("g");
    request.member_id = SLICE("m");
    request.rebalance_timeout_ms = 1000;
    request.subscribed_topic_names = names;
    request.subscribed_topic_names_len = 1;
    request.topic_partitions_len = 0;
    return request;
}

static enum err ask(const struct consumer_group_heartbeat_request *request,
                    int16_t version)
{
    return beat_err(
        &r, realm_request(&r, API_CONSUMER_GROUP_HEARTBEAT, version, request));
}

/* One field is wrong, or all are right. */
#define WITH(version, field, value)                                            \
    ({                                                                         \
        struct consumer_group_heartbeat_request q_ = joining();                \
        q_.field = value;                                                      \
        ask(&q_, (version));                                                   \
    })

Test(consumer_rules, requests)
{
    const struct row rows[] = {
        {"no group", WITH(1, group_id, SLICE("")), ERR_INVALID_REQUEST},
        {"no id", WITH(1, member_id, SLICE("")), ERR_INVALID_REQUEST},
        {"empty instance", WITH(1, instance_id, SLICE("")),
         ERR_INVALID_REQUEST},
        {"empty rack", WITH(1, rack_id, SLICE("")), ERR_INVALID_REQUEST},
        {"no rebalance timeout", WITH(1, rebalance_timeout_ms, -1),
         ERR_INVALID_REQUEST},
        {"a rebalance timeout of 0", WITH(1, rebalance_timeout_ms, 0),
         ERR_INVALID_REQUEST},
        {"negative rebalance timeout", WITH(1, rebalance_timeout_ms, -2),
         ERR_INVALID_REQUEST},
        {"no subscription", WITH(1, subscribed_topic_names_len, -1),
         ERR_INVALID_REQUEST},
        {"joins and does not say what it owns",
         WITH(1, topic_partitions_len, -1), ERR_INVALID_REQUEST},
        {"leaves for now without instance", WITH(1, member_epoch, -2),
         ERR_INVALID_REQUEST},
        {"epoch -3", WITH(1, member_epoch, -3), ERR_INVALID_REQUEST},
        {"epoch of nobody", WITH(1, member_epoch, 1), ERR_GROUP_ID_NOT_FOUND},
        {"nobody leaves", WITH(1, member_epoch, -1), ERR_GROUP_ID_NOT_FOUND},
        {"unknown assignor", WITH(1, server_assignor, SLICE("best")),
         ERR_UNSUPPORTED_ASSIGNOR},
        {"empty assignor", WITH(1, server_assignor, SLICE("")),
         ERR_UNSUPPORTED_ASSIGNOR},
        {"bad regex", WITH(1, subscribed_topic_regex, SLICE("(")),
         ERR_INVALID_REGULAR_EXPRESSION},
        {"right", WITH(1, rack_id, SLICE("r")), ERR_NONE},
        {"right, v0 without id", WITH(0, member_id, SLICE("")), ERR_NONE},
        {"an epoch to come", WITH(1, member_epoch, 9), ERR_FENCED_MEMBER_EPOCH},
    };

    CHECK_ROWS(rows);
    cr_assert_eq(consumer_coord_groups_count(r.coord), 1);
}

Test(consumer_rules, who_joins_owns_nothing)
{
    struct consumer_group_heartbeat_request request = joining();
    int32_t partition = 0;
    struct consumer_group_heartbeat_request_topic_partitions topic = {
        r.topics[0].id, &partition, 1};

    request.topic_partitions = &topic;
    request.topic_partitions_len = 1;
    cr_assert_err(ask(&request, 1), ERR_INVALID_REQUEST);
    cr_assert_eq(r.records, 0);
}

Test(consumer_rules, version_0_gets_an_id)
{
    struct client c = named("");
    int token = JOIN(&r, &c, .version = BEAT_VERSION_0);

    client_take(&r, &c, token);
    cr_assert_eq(strlen(c.id), 22);
    cr_assert_eq(c.epoch, 1);
    client_beat(&r, &c);
}

Test(consumer_rules, nonsense_in_what_a_member_owns_is_harmless)
{
    struct client c = client_join(&r, "m", "a");
    struct client liar = c;

    for (uint32_t i = 0; i < 3; i++)
        liar.parts[i] = (struct part){UUID_ZERO, i == 0 ? -5 : INT32_MAX, 0};
    cr_assert_err(beat_err(&r, BEAT(&r, &liar)), ERR_NONE);
    liar.parts[1] = liar.parts[0]; /* twice */
    cr_assert_err(beat_err(&r, BEAT(&r, &liar)), ERR_NONE);
    client_beat(&r, &c);
    cr_assert_eq(c.parts_len, 3);
}

Test(consumer_rules, a_group_may_be_full)
{
    tear_down();
    realm_init(&r);
    r.config.group_consumer_max_size = 2;
    realm_start(&r);
    struct client a = client_join(&r, "a", "a"), b = client_join(&r, "b", "a");
    struct client c = named("c");

    cr_assert_err(beat_err(&r, JOIN(&r, &c)), ERR_GROUP_MAX_SIZE_REACHED);
    client_beat(&r, &a);
    cr_assert_err(beat_err(&r, JOIN(&r, &b)), ERR_NONE); /* it comes again */
    a.epoch = -1;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    cr_assert_err(beat_err(&r, JOIN(&r, &c)), ERR_NONE);
}

Test(consumer_rules, memory_is_bounded)
{
    tear_down();
    realm_init(&r);
    r.config.members_max_bytes = 4000;
    realm_start(&r);
    struct client first = client_join(&r, "first", "a");
    enum err err = ERR_NONE;
    int joined = 0;

    for (; err == ERR_NONE && joined < 100; joined++) {
        struct client c = {0};
        snprintf(c.id, sizeof c.id, "m%d", joined);
        err = beat_err(&r, JOIN(&r, &c));
    }
    cr_assert_err(err, ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_lt(joined, 20);
    /* Who is there goes on, and may say again what it said. */
    cr_assert_err(
        beat_err(&r, BEAT(&r, &first, .names = "a", .timeout_ms = 10000)),
        ERR_NONE);
    cr_assert_err(beat_err(&r, BEAT(&r, &first, .names = "a b")),
                  ERR_GROUP_MAX_SIZE_REACHED);
}

/* Anything that can be decoded, in any order. */
Test(consumer_rules, any_request_gets_an_answer)
{
    static const char *const ids[] = {"", "m", "n", "o"};
    static const char *const texts[] = {NULL, NULL, "", "i", "j"};
    struct prng prng = {848};
    struct slice names[4] = {SLICE("a"), SLICE("b"), SLICE("a"), SLICE("")};

    for (int i = 0; i < 15000; i++) {
        int32_t p[2] = {(int32_t)prng_below(&prng, 5) - 1,
                        (int32_t)prng_next(&prng)};
        struct consumer_group_heartbeat_request_topic_partitions topic = {
            r.topics[prng_below(&prng, 2)].id, p,
            (int32_t)prng_below(&prng, 3)};
        struct consumer_group_heartbeat_request q = {
            .group_id = slice_str(ids[prng_below(&prng, 3)]),
            .member_id = slice_str(ids[prng_below(&prng, 4)]),
            .member_epoch = (int32_t)prng_below(&prng, 20) - 4,
            .instance_id = slice_str(texts[prng_below(&prng, 5)]),
            .rack_id = slice_str(texts[prng_below(&prng, 4)]),
            .rebalance_timeout_ms = (int32_t)prng_below(&prng, 5000) - 2,
            .subscribed_topic_names = names,
            .subscribed_topic_names_len = (int32_t)prng_below(&prng, 6) - 1,
            .subscribed_topic_regex =
                slice_str(prng_below(&prng, 5) == 0 ? "a*" : NULL),
            .topic_partitions = &topic,
            .topic_partitions_len = (int32_t)prng_below(&prng, 3) - 1,
        };
        if (q.subscribed_topic_names_len > 4)
            q.subscribed_topic_names_len = -1;
        if (prng_below(&prng, 3) == 0) { /* more of them are right */
            q.member_epoch = 0;
            q.topic_partitions_len = 0;
        }
        realm_request(&r, API_CONSUMER_GROUP_HEARTBEAT,
                      (int16_t)prng_below(&prng, 2), &q);
        if (prng_below(&prng, 50) == 0)
            realm_pass(&r, (int64_t)prng_below(&prng, 20000));
        if (prng_below(&prng, 500) == 0)
            realm_fail_over(&r);
    }
    cr_assert_gt(r.records, 1000);
    realm_check_reload(&r);
}

/* ---- epochs --------------------------------------------------------------*/

Test(consumer_rules, a_lone_member_gets_everything_at_once)
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

Test(consumer_rules, epochs)
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

Test(consumer_rules, only_the_last_epoch_may_be_repeated)
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

Test(consumer_rules, a_join_whose_answer_was_lost_is_repeated)
{
    struct client c = client_join(&r, "m", "a"), again = named("m");

    client_take(&r, &again, JOIN(&r, &again));
    cr_assert_eq(again.epoch, c.epoch);
    cr_assert_eq(again.parts_len, 3);
}

/* ---- reconciliation ------------------------------------------------------*/

Test(consumer_rules, a_partition_is_given_up_before_it_is_given)
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

Test(consumer_rules, who_does_not_give_up_in_time_is_out)
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

Test(consumer_rules, who_is_silent_is_out)
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

Test(consumer_rules, a_group_may_have_its_own_session_timeout)
{
    r.session_timeout_ms = 50000;
    struct client a = client_join(&r, "a", "a");

    realm_pass(&r, 49999);
    client_beat(&r, &a);
    realm_pass(&r, 50000);
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_UNKNOWN_MEMBER_ID);
}

Test(consumer_rules, sessions_begin_again_with_a_new_coordinator)
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

Test(consumer_rules, a_state_from_the_future_starts_over)
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
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_FENCED_MEMBER_EPOCH);
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

Test(consumer_rules, the_later_record_says_who_owns_a_partition)
{
    struct client a = client_join(&r, "a", "b");

    replay_current("x", 1);
    replay_current("y", 1);
    replay_current("x", 0);
    consumer_coord_check(r.coord);
    client_take(&r, &a, BEAT(&r, &a, .names = "a"));
    client_beat(&r, &a);
    cr_assert_eq(a.parts_len, 2);
    replay_current("y", 0);
    client_beat(&r, &a);
    cr_assert_eq(a.parts_len, 3);
}

/* ---- subscriptions and topics --------------------------------------------*/

Test(consumer_rules, other_topics_bump_the_epoch_and_other_things_do_not)
{
    struct client a = client_join(&r, "a", "a");

    client_take(&r, &a, BEAT(&r, &a, .rack = "r", .client_id = "other"));
    cr_assert_eq(a.epoch, 1);
    client_take(&r, &a, BEAT(&r, &a, .assignor = "range"));
    cr_assert_eq(a.epoch, 1);
    client_take(&r, &a, BEAT(&r, &a, .names = "a b"));
    cr_assert_eq(a.epoch, 2);
    cr_assert_eq(a.parts_len, 6);
    client_take(&r, &a, BEAT(&r, &a, .names = "b a"));
    cr_assert_eq(a.epoch, 2);
    client_take(&r, &a, BEAT(&r, &a, .names = "-"));
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 3);
    cr_assert_eq(a.parts_len, 0);
    realm_check_reload(&r);
}

Test(consumer_rules, topics_that_change_bump_the_epoch)
{
    struct client a = client_join(&r, "a", "a later");

    realm_topic(&r, "b", 9); /* not subscribed to */
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 1);
    realm_topic(&r, "a", 4);
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 2);
    cr_assert_eq(a.parts_len, 4);
    realm_topic(&r, "later", 2);
    client_beat(&r, &a);
    cr_assert_eq(a.parts_len, 6);
    realm_topic(&r, "later", 2); /* news without news */
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 3);
    realm_topic(&r, "a", 0);
    client_beat(&r, &a);
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 4);
    cr_assert_eq(a.parts_len, 2);
    realm_topic(&r, "a", 1); /* made again */
    client_beat(&r, &a);
    cr_assert_eq(a.parts_len, 3);
    cr_assert(client_owns(&a, &r.topics[0], 0));
    realm_check_reload(&r);
}

Test(consumer_rules, topics_of_those_who_left_do_not_matter)
{
    struct client a = client_join(&r, "a", "a"), b = client_join(&r, "b", "b");
    int32_t epoch = b.epoch + 1;

    b.epoch = -1;
    cr_assert_err(beat_err(&r, BEAT(&r, &b)), ERR_NONE);
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, epoch);
    realm_topic(&r, "a", 3); /* looked at again */
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, epoch);
}

Test(consumer_rules, a_new_coordinator_sees_what_changed_meanwhile)
{
    struct client a = client_join(&r, "a", "a");

    r.topics[0].partitions = 5; /* it was not told */
    realm_fail_over(&r);
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 2);
    cr_assert_eq(a.parts_len, 5);
    realm_fail_over(&r);
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 2);
}

Test(consumer_rules, most_votes_choose_the_assignor)
{
    struct client a = client_join(&r, "a", "a");
    struct client b = named("b"), c = named("c");

    cr_assert(slice_eq_str(realm_describe(&r, "g")->assignor_name, "uniform"));
    client_take(&r, &b, JOIN(&r, &b, .assignor = "range"));
    cr_assert(slice_eq_str(realm_describe(&r, "g")->assignor_name, "range"));
    client_take(&r, &c, JOIN(&r, &c, .assignor = "uniform"));
    cr_assert(slice_eq_str(realm_describe(&r, "g")->assignor_name, "uniform"));
    client_take(&r, &a, BEAT(&r, &a, .assignor = "range"));
    cr_assert(slice_eq_str(realm_describe(&r, "g")->assignor_name, "range"));
}

Test(consumer_rules, targets_are_computed_at_intervals)
{
    tear_down();
    realm_init(&r);
    r.config.group_consumer_assignment_interval_ms = 1000;
    realm_start(&r);
    struct client a = client_join(&r, "a", "a");
    cr_assert_eq(a.parts_len, 3, "the first at once");
    struct client b = client_join(&r, "b", "a");
    struct client c = client_join(&r, "c", "a");
    cr_assert_eq(c.epoch, 1);
    cr_assert_str_eq(realm_state(&r, "g"), "Assigning");
    cr_assert_eq(realm_describe(&r, "g")->group_epoch, 3);
    realm_pass(&r, 999);
    cr_assert_eq(realm_describe(&r, "g")->assignment_epoch, 1);
    realm_pass(&r, 1);
    cr_assert_eq(realm_describe(&r, "g")->assignment_epoch, 3);
    struct client *all[] = {&a, &b, &c};
    clients_settle(&r, all, 3);
    cr_assert_eq(a.parts_len + b.parts_len + c.parts_len, 3);
    cr_assert_eq(c.parts_len, 1);
    realm_check_reload(&r);
}

Test(consumer_rules, nobody_has_what_it_does_not_want_until_a_new_target)
{
    tear_down();
    realm_init(&r);
    r.config.group_consumer_assignment_interval_ms = 1000;
    realm_start(&r);
    struct client a = client_join(&r, "a", "a b");

    client_take(&r, &a, BEAT(&r, &a, .names = "b"));
    cr_assert_eq(a.epoch, 1);
    cr_assert_eq(a.parts_len, 3);
    cr_assert(client_owns(&a, &r.topics[1], 0));
    client_beat(&r, &a); /* gave them up */
    cr_assert_eq(a.epoch, 1);
    client_beat(&r, &a);
    realm_pass(&r, 1000);
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 2);
    cr_assert_eq(a.parts_len, 3);
    cr_assert_str_eq(realm_state(&r, "g"), "Stable");
    realm_check_reload(&r);
}

/* ---- regexes -------------------------------------------------------------*/

Test(consumer_rules, a_regex_counts_when_it_has_been_matched)
{
    struct client a = named("a");

    realm_topic(&r, "logs1", 2);
    r.hold_lookups = true;
    client_take(&r, &a, JOIN(&r, &a, .regex = "logs*"));
    cr_assert_eq(a.epoch, 1);
    cr_assert_eq(a.parts_len, 0);
    cr_assert_eq(r.lookups_len, 1);
    realm_look_up(&r, 0);
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 2);
    cr_assert_eq(a.parts_len, 2);
    realm_check_reload(&r);

    /* Another with the same regex is served at once. */
    struct client b = named("b");
    int seen = r.lookups_seen;
    client_take(&r, &b, JOIN(&r, &b, .regex = "logs*"));
    cr_assert_eq(b.epoch, 3);
    cr_assert_eq(r.lookups_seen, seen);
    struct client *both[] = {&a, &b};
    clients_settle(&r, both, 2);
    cr_assert_eq(b.parts_len, 1);

    /* Names and regex together; the regex goes with its last member. */
    client_take(&r, &b, BEAT(&r, &b, .names = "a", .regex = ""));
    a.epoch = -1;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    client_beat(&r, &b);
    client_beat(&r, &b);
    cr_assert_eq(b.parts_len, 3);
    char *text = realm_dump(&r);
    cr_assert_null(strstr(text, "version="));
    free(text);
    realm_check_reload(&r);
}

Test(consumer_rules, new_topics_are_matched_after_a_pause)
{
    struct client a = named("a");

    client_take(&r, &a, JOIN(&r, &a, .regex = "logs*", .names = "a"));
    client_beat(&r, &a);
    cr_assert_eq(a.parts_len, 3);
    realm_topic(&r, "logs1", 2);
    client_beat(&r, &a);
    cr_assert_eq(r.lookups_seen, 1);
    realm_pass(&r, 10000);
    client_beat(&r, &a);
    cr_assert_eq(r.lookups_seen, 2);
    client_beat(&r, &a);
    cr_assert_eq(a.parts_len, 5);
    realm_pass(&r, 10000);
    client_beat(&r, &a);
    cr_assert_eq(r.lookups_seen, 2, "nothing has changed");
    for (int i = 0; i < 60; i++) {
        realm_pass(&r, 10000);
        client_beat(&r, &a);
    }
    cr_assert_eq(r.lookups_seen, 3, "but permissions may have");
    cr_assert_eq(a.epoch, 3);
    realm_check_reload(&r);
}

Test(consumer_rules, what_was_matched_for_nobody_is_dropped)
{
    struct client a = named("a");

    r.hold_lookups = true;
    client_take(&r, &a, JOIN(&r, &a, .regex = "logs*"));
    a.epoch = -1;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    int64_t before = r.records;
    realm_look_up(&r, 0);
    cr_assert_eq(r.records, before);
    cr_assert_str_eq(realm_state(&r, "g"), "Empty");
}

/* ---- static members ------------------------------------------------------*/

static struct client static_named(const char *id, const char *instance)
{
    struct client c = named(id);

    c.instance = instance;
    return c;
}

Test(consumer_rules, a_static_member_comes_back_to_what_it_had)
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

Test(consumer_rules,
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
    a = static_named("a2", "i");
    client_take(&r, &a, JOIN(&r, &a));
    cr_assert_eq(a.parts_len, 2);
    cr_assert_str_eq(realm_state(&r, "g"), "Stable");
}

Test(consumer_rules, static_members)
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

Test(consumer_rules, a_static_member_that_does_not_come_back_is_out)
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

Test(consumer_rules, a_static_member_may_come_back_with_other_topics)
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

/* ---- answers wait for the commit -----------------------------------------*/

Test(consumer_rules, an_answer_waits_for_its_records)
{
    struct client a = named("a");

    r.hold = true;
    int join = JOIN(&r, &a);
    cr_assert_not(beat_answered(&r, join));
    realm_commit(&r);
    client_take(&r, &a, join);
    int beat = BEAT(&r, &a);
    cr_assert(beat_answered(&r, beat), "nothing is under way");
}

Test(consumer_rules, an_answer_waits_for_what_others_decided)
{
    struct client a = client_join(&r, "a", "a"), b = named("b");

    r.hold = true;
    int join = JOIN(&r, &b);
    struct client again = named("b");
    int rejoin = JOIN(&r, &again); /* writes nothing itself */
    struct client other = named("x");
    other.group = "other";
    int elsewhere = JOIN(&r, &other);
    cr_assert_not(beat_answered(&r, rejoin));
    cr_assert_not(beat_answered(&r, elsewhere));
    realm_commit(&r);
    cr_assert(beat_answered(&r, join) && beat_answered(&r, rejoin));
    cr_assert(beat_answered(&r, elsewhere));
    r.hold = false;
    client_beat(&r, &a);
}

Test(consumer_rules, a_late_commit_fails_the_answer_and_those_to_come_wait)
{
    struct client a = named("a");

    r.hold = true;
    int join = JOIN(&r, &a);
    realm_pass(&r, 5000);
    cr_assert_err(beat_err(&r, join), ERR_COORDINATOR_NOT_AVAILABLE);
    int again = JOIN(&r, &a);
    cr_assert_not(beat_answered(&r, again), "it rests on what is in doubt");
    realm_pass(&r, 5000);
    cr_assert_err(beat_err(&r, again), ERR_COORDINATOR_NOT_AVAILABLE);
    again = JOIN(&r, &a);
    realm_commit(&r);
    client_take(&r, &a, again);
    cr_assert_eq(a.epoch, 1);
    cr_assert_eq(a.parts_len, 3);
    cr_assert(beat_answered(&r, BEAT(&r, &a)));
}

Test(consumer_rules, what_was_loaded_may_be_in_doubt)
{
    struct client a = named("a");

    r.hold = true;
    JOIN(&r, &a);
    realm_fail_over(&r);
    int64_t before = r.records;
    int join = JOIN(&r, &a);
    cr_assert_eq(r.records, before, "it is a member already");
    cr_assert_not(beat_answered(&r, join));
    realm_commit(&r);
    client_take(&r, &a, join);
    cr_assert_eq(a.parts_len, 3);
    cr_assert(beat_answered(&r, BEAT(&r, &a)));
}

Test(consumer_rules, a_failed_append_changes_nothing)
{
    struct client a = client_join(&r, "a", "a"), b = named("b");
    char *before = realm_dump(&r);

    r.append_err = ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_err(beat_err(&r, JOIN(&r, &b)), ERR_COORDINATOR_NOT_AVAILABLE);
    realm_pass(&r, 45000); /* nor can a be put out */
    char *after = realm_dump(&r);
    cr_assert_str_eq(after, before);
    free(before);
    free(after);
    r.append_err = ERR_NONE;
    realm_pass(&r, 500);
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(beat_err(&r, JOIN(&r, &b)), ERR_NONE);
    realm_check_reload(&r);
}

/* Any prefix of what was to be written: the members come again, and all is
 * well. */
Test(consumer_rules, half_a_write_is_put_right)
{
    for (int cut = 0; cut < 14; cut++) {
        tear_down();
        realm_init(&r);
        r.batch_max_bytes = 1; /* each record a batch of its own */
        realm_start(&r);
        struct client a = client_join(&r, "a", "a");
        struct client b = static_named("b1", "i");
        client_take(&r, &b, JOIN(&r, &b));
        client_beat(&r, &a);
        b.epoch = -2;
        cr_assert_err(beat_err(&r, BEAT(&r, &b)), ERR_NONE);
        int64_t end = r.end_offset;
        struct client c = static_named("b2", "i");
        client_take(&r, &c, JOIN(&r, &c, .names = "a b"));
        a.epoch = -1;
        cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
        realm_fail_over_at(&r, end + cut);
        struct client d = client_join(&r, "d", "a b");
        realm_pass(&r, 45000);
        cr_assert_err(beat_err(&r, BEAT(&r, &d)), ERR_UNKNOWN_MEMBER_ID);
        d = client_join(&r, "d", "a b");
        client_beat(&r, &d);
        cr_assert_eq(d.parts_len, 6, "cut %d: %u", cut, d.parts_len);
        cr_assert_str_eq(realm_state(&r, "g"), "Stable");
        realm_check_reload(&r);
    }
}

/* ---- offsets -------------------------------------------------------------*/

static enum err commit_err(const char *id, int32_t epoch, int topic, int32_t p)
{
    struct consumer_offsets_caller caller = {SLICE("g"), slice_str(id), epoch,
                                             9, false};

    return consumer_check_commit(r.coord, &caller, r.topics[topic].id, p);
}

static enum err fetch_err(const char *id, int32_t epoch)
{
    struct consumer_offsets_caller caller = {SLICE("g"), slice_str(id), epoch,
                                             9, false};

    return consumer_check_fetch(r.coord, &caller);
}

Test(consumer_rules, offsets_of_a_member)
{
    cr_assert_err(commit_err("a", 1, 0, 0), ERR_GROUP_ID_NOT_FOUND);
    cr_assert_err(fetch_err("a", 1), ERR_GROUP_ID_NOT_FOUND);
    struct client a = client_join(&r, "a", "a"), b = client_join(&r, "b", "a");
    client_beat(&r, &a);
    struct client *both[] = {&a, &b};
    clients_settle(&r, both, 2);
    int32_t given = b.parts[0].partition, kept = a.parts[0].partition;
    struct consumer_offsets_caller old = {SLICE("g"), SLICE("a"), 2, 8, false};
    const struct row rows[] = {
        {"present epoch", commit_err("a", 2, 0, kept), ERR_NONE},
        {"present epoch, any partition", commit_err("a", 2, 1, 0), ERR_NONE},
        {"older epoch, has it since", commit_err("a", 1, 0, kept), ERR_NONE},
        {"older epoch, gave it up", commit_err("a", 1, 0, given),
         ERR_STALE_MEMBER_EPOCH},
        {"older epoch, had it not yet", commit_err("b", 1, 0, given),
         ERR_STALE_MEMBER_EPOCH},
        {"epoch to come", commit_err("a", 3, 0, kept), ERR_STALE_MEMBER_EPOCH},
        {"no epoch", commit_err("a", -1, 0, kept), ERR_STALE_MEMBER_EPOCH},
        {"unknown", commit_err("x", 2, 0, kept), ERR_UNKNOWN_MEMBER_ID},
        {"a tool, while there are members", commit_err(NULL, -1, 0, kept),
         ERR_UNKNOWN_MEMBER_ID},
        {"version 8",
         consumer_check_commit(r.coord, &old, r.topics[0].id, kept),
         ERR_UNSUPPORTED_VERSION},
        {"fetch", fetch_err("a", 2), ERR_NONE},
        {"fetch, old", fetch_err("a", 1), ERR_STALE_MEMBER_EPOCH},
        {"fetch, unknown", fetch_err("x", 2), ERR_UNKNOWN_MEMBER_ID},
        {"fetch of a tool", fetch_err(NULL, -1), ERR_NONE},
    };
    CHECK_ROWS(rows);
    old.transactional = true;
    cr_assert_err(consumer_check_commit(r.coord, &old, r.topics[0].id, kept),
                  ERR_NONE);
    cr_assert(consumer_subscribes(r.coord, SLICE("g"), SLICE("a")));
    cr_assert_not(consumer_subscribes(r.coord, SLICE("g"), SLICE("b")));
}

/* What is to be given up is still the member's to commit for. */
Test(consumer_rules, offsets_of_what_is_given_up)
{
    struct client a = client_join(&r, "a", "a"), before = a;

    client_join(&r, "b", "a");
    client_beat(&r, &a);
    for (uint32_t i = 0; i < before.parts_len; i++)
        cr_assert_err(commit_err("a", 1, 0, before.parts[i].partition),
                      ERR_NONE);
}

Test(consumer_rules, an_empty_group_may_be_deleted)
{
    struct coord_records records = {0};
    struct client a = named("a");

    cr_assert_err(consumer_delete_records(r.coord, SLICE("g"), &records),
                  ERR_GROUP_ID_NOT_FOUND);
    client_take(&r, &a, JOIN(&r, &a, .regex = "b*"));
    cr_assert_err(consumer_delete_records(r.coord, SLICE("g"), &records),
                  ERR_NON_EMPTY_GROUP);
    a.epoch = -1;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    cr_assert_err(commit_err(NULL, -1, 0, 0), ERR_NONE);
    cr_assert_err(consumer_delete_records(r.coord, SLICE("g"), &records),
                  ERR_NONE);
    for (uint32_t i = 0; i < records.count; i++) {
        struct coord_record record = coord_records_get(&records, i);
        cr_assert_err(consumer_coord_replay(r.coord, record.key, record.value),
                      ERR_NONE);
    }
    coord_records_free(&records);
    cr_assert_eq(consumer_coord_groups_count(r.coord), 0);
    consumer_coord_check(r.coord);
}

/* ---- describe and list ---------------------------------------------------*/

Test(consumer_rules, describe)
{
    struct client a = static_named("a", "i");

    client_take(&r, &a, JOIN(&r, &a, .names = "b a", .rack = "r1"));
    struct client b = client_join(&r, "b", "a");
    const struct consumer_group_describe_response_described_group *g =
        realm_describe(&r, "g");
    const struct consumer_group_describe_response_member *m = &g->members[0];

    cr_assert_err(g->error_code, ERR_NONE);
    cr_assert_eq(g->group_epoch, 2);
    cr_assert_eq(g->assignment_epoch, 2);
    cr_assert_eq(g->members_len, 2);
    cr_assert(slice_eq_str(m->member_id, "a"));
    cr_assert(slice_eq_str(m->instance_id, "i"));
    cr_assert(slice_eq_str(m->rack_id, "r1"));
    cr_assert(slice_eq_str(m->client_host, "/192.0.2.7"));
    cr_assert_eq(m->member_epoch, 1);
    cr_assert_eq(m->member_type, 1);
    cr_assert_eq(m->subscribed_topic_names_len, 2);
    cr_assert(slice_eq_str(m->subscribed_topic_names[0], "a"));
    cr_assert_eq(m->assignment.topic_partitions_len, 2);
    cr_assert(slice_eq_str(m->assignment.topic_partitions[0].topic_name, "a"));
    cr_assert_eq(m->assignment.topic_partitions[0].partitions_len, 3);
    cr_assert(slice_is_null(g->members[1].instance_id));
    cr_assert_eq(g->members[1].target_assignment.topic_partitions_len, 1);
    cr_assert_eq(g->members[1].assignment.topic_partitions_len, 0);

    g = realm_describe(&r, "none");
    cr_assert_err(g->error_code, ERR_GROUP_ID_NOT_FOUND);
    client_beat(&r, &b);
}

static int32_t listed(const char *type, const char *state)
{
    struct slice types[1] = {slice_str(type)}, states[1] = {slice_str(state)};
    struct list_groups_request request = {states, state != NULL, types,
                                          type != NULL};
    struct arena arena;
    int32_t len;

    arena_init(&arena, 0);
    consumer_coord_list(r.coord, &request, &arena, &len);
    arena_free(&arena);
    return len;
}

Test(consumer_rules, list)
{
    struct client a = client_join(&r, "a", "a");

    a.group = "other";
    cr_assert_err(beat_err(&r, JOIN(&r, &a)), ERR_NONE);
    a.epoch = -1;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    cr_assert_eq(listed(NULL, NULL), 2);
    cr_assert_eq(listed("Consumer", NULL), 2);
    cr_assert_eq(listed("classic", NULL), 0);
    cr_assert_eq(listed(NULL, "stable"), 1);
    cr_assert_eq(listed("consumer", "EMPTY"), 1);
}

Test(consumer_rules, refusals)
{
    struct slice ids[2] = {SLICE("g"), SLICE("h")};
    struct consumer_group_describe_request describe = {ids, 2, false};
    struct consumer_group_heartbeat_request beat = joining();
    struct coord_context context = {.version = 1};
    struct consumer_answer *answer =
        consumer_refuse(&context, API_CONSUMER_GROUP_DESCRIBE, &describe,
                        ERR_COORDINATOR_LOAD_IN_PROGRESS);

    cr_assert_eq(answer->response.describe.groups_len, 2);
    cr_assert_err(answer->response.describe.groups[1].error_code,
                  ERR_COORDINATOR_LOAD_IN_PROGRESS);
    consumer_answer_free(answer);
    answer = consumer_refuse(&context, API_CONSUMER_GROUP_HEARTBEAT, &beat,
                             ERR_NOT_COORDINATOR);
    cr_assert_err(answer->response.heartbeat.error_code, ERR_NOT_COORDINATOR);
    consumer_answer_free(answer);
}

/* ---- damaged and foreign records -----------------------------------------*/

Test(consumer_rules, records_that_make_no_sense)
{
    struct consumer_group_current_member_assignment_key key = {SLICE("g"),
                                                               SLICE("a")};
    int32_t p[2] = {-1, 0}, epochs[1] = {1};
    struct consumer_group_current_member_assignment_value_topic_partitions
        topic = {UUID_ZERO, p, 1, NULL, -1};
    struct consumer_group_current_member_assignment_value value = {
        1, 0, 0, &topic, 1, NULL, 0};
    struct buf k = BUF_INIT, v = BUF_INIT;

    coordinator_key_encode(&consumer_group_current_member_assignment_key_desc,
                           &key, &k);
    for (int round = 0; round < 3; round++) {
        if (round == 1) {
            p[0] = 1;
            topic =
                (struct
                 consumer_group_current_member_assignment_value_topic_partitions){
                    UUID_ZERO, p, 2, epochs, 1};
        } else if (round == 2) { /* assigned, and to be given up */
            topic.assignment_epochs_len = -1;
            value.partitions_pending_revocation = &topic;
            value.partitions_pending_revocation_len = 1;
        }
        v.len = 0;
        coordinator_value_encode(
            &consumer_group_current_member_assignment_value_desc, 0, &value,
            &v);
        cr_assert_err(
            consumer_coord_replay(r.coord, buf_slice(&k), buf_slice(&v)),
            ERR_MALFORMED);
    }
    cr_assert_eq(consumer_coord_groups_count(r.coord), 0);
    cr_assert_err(consumer_coord_replay(r.coord, buf_slice(&k), SLICE_NULL),
                  ERR_NONE);
    cr_assert_neq(
        (int)consumer_coord_replay(r.coord, SLICE("\0\x63"), SLICE("x")),
        (int)ERR_NONE);
    cr_assert_neq((int)consumer_coord_replay(r.coord, SLICE("x"), SLICE("")),
                  (int)ERR_NONE);
    cr_assert_eq(consumer_coord_groups_count(r.coord), 0);
    buf_free(&k);
    buf_free(&v);
}

/* As Kafka wrote them before 4.1. */
Test(consumer_rules, the_list_of_partitions_is_replaced_by_the_hash)
{
    struct client a = client_join(&r, "a", "a");
    struct consumer_group_partition_metadata_key key = {SLICE("g")};
    struct consumer_group_partition_metadata_value value = {0};
    struct buf k = BUF_INIT, v = BUF_INIT;

    coordinator_key_encode(&consumer_group_partition_metadata_key_desc, &key,
                           &k);
    coordinator_value_encode(&consumer_group_partition_metadata_value_desc, 0,
                             &value, &v);
    cr_assert_err(consumer_coord_replay(r.coord, buf_slice(&k), buf_slice(&v)),
                  ERR_NONE);
    int64_t before = r.records;
    client_take(&r, &a, BEAT(&r, &a, .names = "a b"));
    cr_assert_eq(r.records - before, 6);
    before = r.records;
    client_take(&r, &a, BEAT(&r, &a, .names = "a"));
    cr_assert_eq(r.records - before, 5);
    buf_free(&k);
    buf_free(&v);
}
