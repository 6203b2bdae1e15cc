#include "tests/unit/broker/producers_kit.h"

#include "broker/replica/refusals.h"

#include <criterion/criterion.h>

static struct refusals *r;

static void finish(void)
{
    refusals_free(r);
    r = NULL;
}

TestSuite(refusals, .fini = finish);

static void refused(struct sent s, enum err error, int64_t at_ms)
{
    struct batch b = batch_of(s);

    refusals_note(&r, &b, error, at_ms);
}

static void accepted(struct sent s)
{
    struct batch b = batch_of(s);

    refusals_accepted(&r, &b);
}

static const char *reason(struct sent s, int64_t at_ms)
{
    struct batch b = batch_of(s);

    return err_name(refusals_reason(r, &b, at_ms));
}

static const char *const none = "NONE";
static const char *const no_leader = "NOT_LEADER_OR_FOLLOWER";

Test(refusals, what_follows_a_refused_batch_is_refused_for_its_reason)
{
    refused((struct sent){.id = 7, .sequence = 10}, ERR_NOT_LEADER_OR_FOLLOWER,
            0);
    cr_assert_str_eq(reason((struct sent){.id = 7, .sequence = 11}, 1),
                     no_leader);
    cr_assert_str_eq(reason((struct sent){.id = 7, .sequence = 500}, 1),
                     no_leader);
}

Test(refusals, the_batch_itself_and_earlier_ones_are_judged_by_their_merits)
{
    refused((struct sent){.id = 7, .sequence = 10}, ERR_NOT_LEADER_OR_FOLLOWER,
            0);
    cr_assert_str_eq(reason((struct sent){.id = 7, .sequence = 10}, 1), none);
    cr_assert_str_eq(reason((struct sent){.id = 7, .sequence = 9}, 1), none);
}

Test(refusals, other_producers_and_epochs_are_not_concerned)
{
    refused((struct sent){.id = 7, .epoch = 1, .sequence = 10},
            ERR_NOT_LEADER_OR_FOLLOWER, 0);
    cr_assert_str_eq(
        reason((struct sent){.id = 8, .epoch = 1, .sequence = 11}, 1), none);
    cr_assert_str_eq(
        reason((struct sent){.id = 7, .epoch = 2, .sequence = 11}, 1), none);
    cr_assert_str_eq(
        reason((struct sent){.id = 7, .epoch = 0, .sequence = 11}, 1), none);
}

Test(refusals, over_when_the_batch_comes_again)
{
    refused((struct sent){.id = 7, .sequence = 10}, ERR_NOT_ENOUGH_REPLICAS, 0);
    accepted((struct sent){.id = 7, .sequence = 9});
    cr_assert_str_eq(reason((struct sent){.id = 7, .sequence = 11}, 1),
                     "NOT_ENOUGH_REPLICAS");
    accepted((struct sent){.id = 7, .sequence = 10});
    cr_assert_str_eq(reason((struct sent){.id = 7, .sequence = 11}, 1), none);
    cr_assert_null(r, "nothing is kept for nobody");
}

Test(refusals, over_when_the_producer_has_begun_a_new_epoch)
{
    refused((struct sent){.id = 7, .sequence = 10}, ERR_NOT_ENOUGH_REPLICAS, 0);
    accepted((struct sent){.id = 7, .epoch = 1, .sequence = 0});
    cr_assert_null(r);
}

Test(refusals, the_earliest_refused_batch_counts)
{
    refused((struct sent){.id = 7, .sequence = 10}, ERR_NOT_LEADER_OR_FOLLOWER,
            0);
    refused((struct sent){.id = 7, .sequence = 20}, ERR_NOT_ENOUGH_REPLICAS, 1);
    cr_assert_str_eq(reason((struct sent){.id = 7, .sequence = 15}, 1),
                     no_leader);
    refused((struct sent){.id = 7, .sequence = 5}, ERR_NOT_ENOUGH_REPLICAS, 1);
    cr_assert_str_eq(reason((struct sent){.id = 7, .sequence = 6}, 1),
                     "NOT_ENOUGH_REPLICAS");
    refused((struct sent){.id = 7, .epoch = 1, .sequence = 0},
            ERR_NOT_LEADER_OR_FOLLOWER, 1);
    cr_assert_str_eq(
        reason((struct sent){.id = 7, .epoch = 1, .sequence = 3}, 1),
        no_leader);
}

Test(refusals, sequences_go_on_at_zero)
{
    refused((struct sent){.id = 7, .sequence = INT32_MAX},
            ERR_NOT_LEADER_OR_FOLLOWER, 0);
    cr_assert_str_eq(reason((struct sent){.id = 7, .sequence = 0}, 1),
                     no_leader);
    cr_assert_str_eq(
        reason((struct sent){.id = 7, .sequence = INT32_MAX - 1}, 1), none);
}

Test(refusals, a_producer_that_gave_up_hears_of_its_gap_in_the_end)
{
    refused((struct sent){.id = 7, .sequence = 10}, ERR_NOT_LEADER_OR_FOLLOWER,
            0);
    cr_assert_str_eq(
        reason((struct sent){.id = 7, .sequence = 11}, REFUSALS_KEPT_MS),
        no_leader);
    cr_assert_str_eq(
        reason((struct sent){.id = 7, .sequence = 11}, REFUSALS_KEPT_MS + 1),
        none);
    refusals_expire(&r, REFUSALS_KEPT_MS);
    cr_assert_not_null(r);
    refusals_expire(&r, REFUSALS_KEPT_MS + 1);
    cr_assert_null(r);
}

Test(refusals, an_expired_one_makes_room_for_a_later_batch)
{
    refused((struct sent){.id = 7, .sequence = 10}, ERR_NOT_LEADER_OR_FOLLOWER,
            0);
    refused((struct sent){.id = 7, .sequence = 20}, ERR_NOT_ENOUGH_REPLICAS,
            REFUSALS_KEPT_MS + 1);
    cr_assert_str_eq(
        reason((struct sent){.id = 7, .sequence = 15}, REFUSALS_KEPT_MS + 2),
        none);
    cr_assert_str_eq(
        reason((struct sent){.id = 7, .sequence = 21}, REFUSALS_KEPT_MS + 2),
        "NOT_ENOUGH_REPLICAS");
}

Test(refusals, batches_without_producer_or_sequence_are_of_no_interest)
{
    refused((struct sent){.id = -1, .sequence = -1}, ERR_NOT_ENOUGH_REPLICAS,
            0);
    refused((struct sent){.id = 7, .sequence = -1}, ERR_NOT_ENOUGH_REPLICAS, 0);
    cr_assert_null(r);
}

Test(refusals, only_so_many_are_remembered)
{
    for (int64_t id = 0; id <= REFUSALS_MAX; id++)
        refused((struct sent){.id = id, .sequence = 1},
                ERR_NOT_LEADER_OR_FOLLOWER, id);
    cr_assert_str_eq(reason((struct sent){.id = 0, .sequence = 2}, 1), none);
    cr_assert_str_eq(reason((struct sent){.id = 1, .sequence = 2}, 1),
                     no_leader);
    cr_assert_str_eq(
        reason((struct sent){.id = REFUSALS_MAX, .sequence = 2}, 1), no_leader);
}
