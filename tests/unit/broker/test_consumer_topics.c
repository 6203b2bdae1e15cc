/* What members subscribe to, by name and by regex, and what becomes of it. */
#include "tests/unit/broker/consumer_fixture.h"

#include <stdlib.h>

static struct realm r;

static void set_up(void) { realm_open(&r); }
static void tear_down(void) { realm_close(&r); }

TestSuite(consumer_topics, .init = set_up, .fini = tear_down);

/* ---- subscriptions and topics --------------------------------------------*/

Test(consumer_topics, other_topics_bump_the_epoch_and_other_things_do_not)
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

Test(consumer_topics, topics_that_change_bump_the_epoch)
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

Test(consumer_topics, topics_of_those_who_left_do_not_matter)
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

Test(consumer_topics, a_new_coordinator_sees_what_changed_meanwhile)
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

Test(consumer_topics, most_votes_choose_the_assignor)
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

Test(consumer_topics, targets_are_computed_at_intervals)
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

Test(consumer_topics, nobody_has_what_it_does_not_want_until_a_new_target)
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

Test(consumer_topics, nobody_is_ahead_of_a_target_that_lags)
{
    tear_down();
    realm_init(&r);
    r.config.group_consumer_assignment_interval_ms = 1000;
    realm_start(&r);
    realm_topic(&r, "c", 3);
    struct client a = client_join(&r, "a", "a b c");

    cr_assert_eq(a.parts_len, 9);
    client_take(&r, &a, BEAT(&r, &a, .names = "b c"));
    cr_assert_eq(a.parts_len, 6);
    /* It gave up one topic, and does not want the next. */
    client_take(&r, &a, BEAT(&r, &a, .names = "c"));
    cr_assert_eq(a.parts_len, 3);
    cr_assert_eq(a.epoch, 1);
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 1);
    realm_pass(&r, 1000);
    client_beat(&r, &a);
    cr_assert_eq(a.epoch, 3);
    cr_assert_eq(a.parts_len, 3);
    realm_check_reload(&r);
}

/* ---- regexes -------------------------------------------------------------*/

Test(consumer_topics, a_regex_counts_when_it_has_been_matched)
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

Test(consumer_topics, new_topics_are_matched_after_a_pause)
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

Test(consumer_topics, what_was_matched_for_nobody_is_dropped)
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
