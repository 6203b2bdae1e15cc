/* SyncGroup, Heartbeat, LeaveGroup, sessions: from a known generation to a
 * stable group and back. */
#include "tests/unit/broker/coord_fixture.h"

static struct world w;

static void set_up(void) { world_open(&w); }

static void tear_down(void) { world_close(&w); }

TestSuite(coord_sync, .init = set_up, .fini = tear_down);

static enum err sync_err(int token)
{
    return (enum err)sync_of(&w, token)->error_code;
}

static enum err join_err(int token)
{
    return (enum err)join_of(&w, token)->error_code;
}

/* Two members that know generation 1 and have not sent SyncGroup. */
static struct pair completing(void)
{
    struct pair pair;
    int first = JOIN(&w);
    int second = JOIN(&w);

    world_pass(&w, 6000);
    copy_id(join_of(&w, first)->member_id, pair.first);
    copy_id(join_of(&w, second)->member_id, pair.second);
    pair.generation = 1;
    return pair;
}

/* ---- handing out assignments ---------------------------------------------*/

Test(coord_sync, followers_wait_for_the_leader)
{
    struct pair p = completing();
    int follower = SYNC(&w, .member = p.second);

    cr_assert_not(answered(&w, follower));
    int leader = SYNC(&w, .member = p.first,
                      .assign = {p.first, "one", p.second, "two"});
    cr_assert_text(sync_of(&w, leader)->assignment, "one");
    cr_assert_text(sync_of(&w, follower)->assignment, "two");
    cr_assert_text(sync_of(&w, follower)->protocol_type, "consumer");
    cr_assert_text(sync_of(&w, follower)->protocol_name, "range");
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
}

Test(coord_sync, nobody_sees_an_assignment_before_it_is_committed)
{
    struct pair p = completing();

    w.hold = true;
    int follower = SYNC(&w, .member = p.second);
    int leader = SYNC(&w, .member = p.first,
                      .assign = {p.first, "one", p.second, "two"});
    cr_assert_not(answered(&w, leader));
    cr_assert_not(answered(&w, follower));
    cr_assert_str_eq(state_of(&w, "g"), "CompletingRebalance");
    cr_assert_err(HEARTBEAT(&w, .member = p.second), ERR_NONE);
    world_commit(&w);
    cr_assert_text(sync_of(&w, leader)->assignment, "one");
    cr_assert_text(sync_of(&w, follower)->assignment, "two");
}

Test(coord_sync, a_member_that_the_leader_forgot_gets_nothing)
{
    struct pair p = completing();
    int leader = SYNC(&w, .member = p.first,
                      .assign = {p.first, "all", "nobody", "lost"});

    cr_assert_text(sync_of(&w, leader)->assignment, "all");
    int late = SYNC(&w, .member = p.second);
    cr_assert_err(sync_err(late), ERR_NONE);
    cr_assert_eq(sync_of(&w, late)->assignment.len, 0);
    cr_assert_not(slice_is_null(sync_of(&w, late)->assignment));
}

Test(coord_sync, the_first_assignment_of_a_generation_is_the_only_one)
{
    struct pair p = completing();

    w.hold = true;
    int once = SYNC(&w, .member = p.first, .assign = {p.first, "first"});
    int twice = SYNC(&w, .member = p.first, .assign = {p.first, "second"});
    cr_assert_err(sync_err(once), ERR_REBALANCE_IN_PROGRESS);
    cr_assert_eq(w.end_offset, 1, "one record");
    world_commit(&w);
    cr_assert_text(sync_of(&w, twice)->assignment, "first");
    world_fail_over(&w);
    int reloaded = SYNC(&w, .member = p.first);
    cr_assert_text(sync_of(&w, reloaded)->assignment, "first");
}

Test(coord_sync, failures_of_the_append_are_told_and_start_over)
{
    static const struct {
        enum err append, answer;
    } rows[] = {
        {ERR_NOT_ENOUGH_REPLICAS, ERR_COORDINATOR_NOT_AVAILABLE},
        {ERR_UNKNOWN_TOPIC_OR_PARTITION, ERR_COORDINATOR_NOT_AVAILABLE},
        {ERR_NOT_LEADER_OR_FOLLOWER, ERR_NOT_COORDINATOR},
        {ERR_KAFKA_STORAGE_ERROR, ERR_NOT_COORDINATOR},
        {ERR_MESSAGE_TOO_LARGE, ERR_UNKNOWN_SERVER_ERROR},
        {ERR_RECORD_LIST_TOO_LARGE, ERR_UNKNOWN_SERVER_ERROR},
        {ERR_CORRUPT_MESSAGE, ERR_CORRUPT_MESSAGE},
    };
    char group[] = "g0";

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++, group[1]++) {
        int join = JOIN(&w, .group = group);
        world_pass(&w, 3000);
        char id[128];
        copy_id(join_of(&w, join)->member_id, id);
        w.append_err = rows[i].append;
        int sync = SYNC(&w, .group = group, .member = id, .assign = {id, "x"});
        w.append_err = ERR_NONE;
        cr_assert_err(sync_err(sync), rows[i].answer);
        cr_assert_str_eq(state_of(&w, group), "PreparingRebalance");
        int again = JOIN(&w, .group = group, .member = id);
        cr_assert_eq(join_of(&w, again)->generation_id, 2);
    }
}

Test(coord_sync, an_assignment_that_is_not_committed_in_time_starts_over)
{
    struct pair p = completing();

    w.hold = true;
    int follower = SYNC(&w, .member = p.second);
    int leader = SYNC(&w, .member = p.first, .assign = {p.first, "one"});
    world_pass(&w, 4999);
    cr_assert_not(answered(&w, leader));
    world_pass(&w, 1);
    cr_assert_err(sync_err(leader), ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_err(sync_err(follower), ERR_COORDINATOR_NOT_AVAILABLE);
    world_commit(&w);
    cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
}

Test(coord_sync, a_rebalance_overtakes_an_assignment_on_its_way)
{
    struct pair p = completing();

    w.hold = true;
    int leader = SYNC(&w, .member = p.first, .assign = {p.first, "old"});
    int newcomer = JOIN(&w);
    cr_assert_err(sync_err(leader), ERR_REBALANCE_IN_PROGRESS);
    world_commit(&w);
    cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
    JOIN(&w, .member = p.first);
    JOIN(&w, .member = p.second);
    cr_assert_eq(join_of(&w, newcomer)->generation_id, 2);
    cr_assert_str_eq(state_of(&w, "g"), "CompletingRebalance");
}

/* Generations of a group that was deleted begin anew. */
Test(coord_sync, an_assignment_on_its_way_is_not_that_of_the_next_group)
{
    struct slice name = SLICE("g");
    struct delete_groups_request deletion = {&name, 1};
    struct pair p = completing();

    w.hold = true;
    SYNC(&w, .member = p.first, .assign = {p.first, "old"});
    int64_t old_end = w.end_offset;
    LEAVE(&w, .member = p.first, .member2 = p.second);
    world_request(&w, API_DELETE_GROUPS, 2, &deletion);
    int join = JOIN(&w);
    world_pass(&w, 3000);
    cr_assert_eq(join_of(&w, join)->generation_id, p.generation);
    world_commit_to(&w, old_end);
    cr_assert_str_eq(state_of(&w, "g"), "CompletingRebalance");
    char id[128];
    copy_id(join_of(&w, join)->member_id, id);
    int sync = SYNC(&w, .member = id, .assign = {id, "new"});
    world_commit(&w);
    cr_assert_text(sync_of(&w, sync)->assignment, "new");
}

Test(coord_sync, errors)
{
    struct pair p = completing();
    const struct {
        const char *what;
        int token;
        enum err err;
    } rows[] = {
        {"no group", SYNC(&w, .group = ""), ERR_INVALID_GROUP_ID},
        {"unknown group", SYNC(&w, .group = "x", .member = p.first),
         ERR_UNKNOWN_MEMBER_ID},
        {"unknown member", SYNC(&w, .member = "x"), ERR_UNKNOWN_MEMBER_ID},
        {"generation before", SYNC(&w, .member = p.first, .generation = 7),
         ERR_ILLEGAL_GENERATION},
        {"unknown instance", SYNC(&w, .member = p.first, .instance = "i"),
         ERR_UNKNOWN_MEMBER_ID},
        {"other type", SYNC(&w, .member = p.first, .type = "connect"),
         ERR_INCONSISTENT_GROUP_PROTOCOL},
        {"other name", SYNC(&w, .member = p.first, .name = "sticky"),
         ERR_INCONSISTENT_GROUP_PROTOCOL},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(sync_err(rows[i].token), rows[i].err, "%s: %s",
                     rows[i].what, err_name(sync_err(rows[i].token)));
    JOIN(&w, .member = p.first, .metadata = "changed");
    cr_assert_err(sync_err(SYNC(&w, .member = p.second)),
                  ERR_REBALANCE_IN_PROGRESS);
}

Test(coord_sync, names_that_agree_or_are_left_out_pass)
{
    struct pair p = completing();

    SYNC(&w, .member = p.second, .type = "consumer", .name = "range");
    int leader = SYNC(&w, .member = p.first, .assign = {p.first, "x"});
    cr_assert_err(sync_err(leader), ERR_NONE);
}

Test(coord_sync, who_sends_no_sync_within_the_rebalance_timeout_is_out)
{
    struct pair p = completing();
    int leader = SYNC(&w, .member = p.first, .assign = {p.first, "x"});

    cr_assert_err(sync_err(leader), ERR_NONE);
    for (int i = 0; i < 59; i++) {
        world_pass(&w, 1000);
        cr_assert_err(HEARTBEAT(&w, .member = p.first), ERR_NONE);
        cr_assert_err(HEARTBEAT(&w, .member = p.second), ERR_NONE);
    }
    world_pass(&w, 1000);
    cr_assert_err(HEARTBEAT(&w, .member = p.second), ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(HEARTBEAT(&w, .member = p.first), ERR_REBALANCE_IN_PROGRESS);
}

Test(coord_sync, when_all_have_synced_nothing_times_out)
{
    struct pair p = make_stable_pair(&w, "g");

    for (int i = 0; i < 100; i++) {
        world_pass(&w, 1000);
        cr_assert_err(HEARTBEAT(&w, .member = p.first), ERR_NONE);
        cr_assert_err(HEARTBEAT(&w, .member = p.second), ERR_NONE);
    }
}

/* ---- heartbeats and sessions ---------------------------------------------*/

Test(coord_sync, heartbeat_errors)
{
    struct pair p = make_stable_pair(&w, "g");

    cr_assert_err(HEARTBEAT(&w, .group = ""), ERR_INVALID_GROUP_ID);
    cr_assert_err(HEARTBEAT(&w, .group = "x", .member = p.first),
                  ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(HEARTBEAT(&w, .member = "x"), ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(HEARTBEAT(&w, .member = p.first, .generation = 2),
                  ERR_ILLEGAL_GENERATION);
    cr_assert_err(HEARTBEAT(&w, .member = p.first, .instance = "i"),
                  ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(HEARTBEAT(&w, .member = p.first), ERR_NONE);
}

Test(coord_sync, a_heartbeat_while_the_rebalance_completes_is_fine)
{
    struct pair p = completing();

    cr_assert_err(HEARTBEAT(&w, .member = p.first), ERR_NONE);
}

Test(coord_sync, silence_for_a_session_ends_it)
{
    struct pair p = make_stable_pair(&w, "g");

    world_pass(&w, 9000);
    cr_assert_err(HEARTBEAT(&w, .member = p.first), ERR_NONE);
    world_pass(&w, 999);
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
    world_pass(&w, 1);
    cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
    cr_assert_err(HEARTBEAT(&w, .member = p.second), ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(HEARTBEAT(&w, .member = p.first), ERR_REBALANCE_IN_PROGRESS);
}

Test(coord_sync, an_offset_commit_counts_as_a_heartbeat)
{
    char id[128];
    make_stable(&w, "g", id);

    for (int i = 0; i < 5; i++) {
        world_pass(&w, 9000);
        cr_assert_err(commit_of(&w, COMMIT(&w, .member = id, .generation = 1)),
                      ERR_NONE);
    }
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
}

Test(coord_sync, a_parked_member_lives_longer_than_its_session)
{
    struct pair p = make_stable_pair(&w, "g");
    int leader = JOIN(&w, .member = p.first);

    for (int i = 0; i < 10; i++) {
        world_pass(&w, 5000);
        HEARTBEAT(&w, .member = p.second);
    }
    cr_assert_not(answered(&w, leader));
    int second = JOIN(&w, .member = p.second);
    cr_assert_eq(join_of(&w, leader)->members_len, 2);
    int parked = SYNC(&w, .member = p.second, .generation = 2);
    for (int i = 0; i < 10; i++) {
        world_pass(&w, 5000);
        HEARTBEAT(&w, .member = p.first, .generation = 2);
    }
    cr_assert_not(answered(&w, parked));
    SYNC(&w, .member = p.first, .generation = 2, .assign = {p.second, "all"});
    cr_assert_text(sync_of(&w, parked)->assignment, "all");
    /* From here on the session counts again. */
    world_pass(&w, 10000);
    cr_assert_err(HEARTBEAT(&w, .member = p.second, .generation = 2),
                  ERR_UNKNOWN_MEMBER_ID);
    (void)second;
}

Test(coord_sync, the_last_session_that_ends_empties_the_group)
{
    char id[128];
    make_stable(&w, "g", id);
    COMMIT(&w, .member = id, .generation = 1, .offset = 42);

    world_pass(&w, 10000);
    cr_assert_str_eq(state_of(&w, "g"), "Empty");
    cr_assert_eq(coord_members_bytes(world_coord(&w)), 0);
    world_fail_over(&w);
    cr_assert_str_eq(state_of(&w, "g"), "Empty");
    cr_assert_eq(fetched(&w, "g", 0), 42);
    int join = JOIN(&w);
    world_pass(&w, 3000);
    cr_assert_eq(join_of(&w, join)->generation_id, 3, "1, empty 2, 3");
}

/* ---- leaving -------------------------------------------------------------*/

Test(coord_sync, leaving_starts_a_rebalance_at_once)
{
    struct pair p = make_stable_pair(&w, "g");
    int left = LEAVE(&w, .member = p.second, .version = 1);

    cr_assert_err(leave_of(&w, left)->error_code, ERR_NONE);
    cr_assert_eq(leave_of(&w, left)->members_len, 0);
    cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
    int leader = JOIN(&w, .member = p.first);
    cr_assert_eq(join_of(&w, leader)->members_len, 1);
}

Test(coord_sync, the_last_to_leave_waits_for_the_record_of_it)
{
    char id[128];
    make_stable(&w, "g", id);

    w.hold = true;
    int left = LEAVE(&w, .member = id);
    cr_assert_not(answered(&w, left));
    cr_assert_str_eq(state_of(&w, "g"), "Empty");
    world_commit(&w);
    cr_assert_err(leave_of(&w, left)->members[0].error_code, ERR_NONE);
}

Test(coord_sync, a_batch_has_an_error_for_each)
{
    struct pair p = make_stable_pair(&w, "g");
    int left = LEAVE(&w, .member = p.second, .member2 = "x");
    const struct leave_group_response *r = leave_of(&w, left);

    cr_assert_err(r->error_code, ERR_NONE);
    cr_assert_eq(r->members_len, 2);
    cr_assert_err(r->members[0].error_code, ERR_NONE);
    cr_assert_text(r->members[0].member_id, p.second);
    cr_assert_err(r->members[1].error_code, ERR_UNKNOWN_MEMBER_ID);
}

Test(coord_sync, leaving_what_one_is_not_in)
{
    make_stable_pair(&w, "g");

    cr_assert_err(leave_of(&w, LEAVE(&w, .group = ""))->error_code,
                  ERR_INVALID_GROUP_ID);
    cr_assert_err(
        leave_of(&w, LEAVE(&w, .member = "x", .version = 1))->error_code,
        ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(
        leave_of(&w, LEAVE(&w, .group = "x", .member = "x", .version = 1))
            ->error_code,
        ERR_UNKNOWN_MEMBER_ID);
    int left = LEAVE(&w, .group = "x", .member = "x");
    cr_assert_err(leave_of(&w, left)->error_code, ERR_NONE);
    cr_assert_err(leave_of(&w, left)->members[0].error_code,
                  ERR_UNKNOWN_MEMBER_ID);
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
}

Test(coord_sync, an_administrator_removes_a_static_member_by_its_instance)
{
    int join = JOIN(&w, .instance = "i", .version = 5);
    world_pass(&w, 3000);
    char id[128];
    copy_id(join_of(&w, join)->member_id, id);
    SYNC(&w, .member = id, .assign = {id, "x"});

    int wrong = LEAVE(&w, .member = "other", .instance = "i");
    cr_assert_err(leave_of(&w, wrong)->members[0].error_code,
                  ERR_FENCED_INSTANCE_ID);
    int absent = LEAVE(&w, .instance = "j");
    cr_assert_err(leave_of(&w, absent)->members[0].error_code,
                  ERR_UNKNOWN_MEMBER_ID);
    int left = LEAVE(&w, .instance = "i");
    cr_assert_err(leave_of(&w, left)->members[0].error_code, ERR_NONE);
    cr_assert_str_eq(state_of(&w, "g"), "Empty");
}

Test(coord_sync, leaving_while_parked_answers_what_was_parked)
{
    struct pair p = make_stable_pair(&w, "g");
    int parked = JOIN(&w, .member = p.first);

    LEAVE(&w, .member = p.first);
    cr_assert_err(join_err(parked), ERR_UNKNOWN_MEMBER_ID);

    int second = JOIN(&w, .member = p.second);
    cr_assert_eq(join_of(&w, second)->generation_id, 2);
    int third = JOIN(&w);
    JOIN(&w, .member = p.second);
    char id[128];
    copy_id(join_of(&w, third)->member_id, id);
    parked = SYNC(&w, .member = id, .generation = 3);
    LEAVE(&w, .member = id);
    cr_assert_err(sync_err(parked), ERR_UNKNOWN_MEMBER_ID);
}

Test(coord_sync, a_pending_member_can_leave)
{
    int join = JOIN(&w, .version = 4);
    char id[128];
    copy_id(join_of(&w, join)->member_id, id);
    int left = LEAVE(&w, .member = id);

    cr_assert_err(leave_of(&w, left)->members[0].error_code, ERR_NONE);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 0);
}

/* ---- the coordinator goes ------------------------------------------------*/

Test(coord_sync, at_the_loss_of_leadership_all_that_is_parked_is_answered)
{
    struct pair p = completing();
    int follower = SYNC(&w, .member = p.second);
    int other = JOIN(&w, .group = "other");

    w.hold = true;
    int leader = SYNC(&w, .member = p.first, .assign = {p.first, "x"});
    int commit = COMMIT(&w, .group = "simple", .offset = 1);
    world_fail_over(&w);
    cr_assert_err(sync_err(follower), ERR_NOT_COORDINATOR);
    cr_assert_err(sync_err(leader), ERR_NOT_COORDINATOR);
    cr_assert_err(join_err(other), ERR_NOT_COORDINATOR);
    cr_assert_err(commit_of(&w, commit), ERR_NOT_COORDINATOR);
}

Test(coord_sync, members_go_on_with_the_next_coordinator)
{
    struct pair p = make_stable_pair(&w, "g");

    world_pass(&w, 9000);
    world_fail_over(&w);
    world_pass(&w, 9000);
    cr_assert_err(HEARTBEAT(&w, .member = p.first), ERR_NONE);
    cr_assert_err(HEARTBEAT(&w, .member = p.second), ERR_NONE);
    cr_assert_text(sync_of(&w, SYNC(&w, .member = p.second))->assignment,
                   "two");
    world_pass(&w, 10000);
    cr_assert_str_eq(state_of(&w, "g"), "Empty", "sessions started again");
}

Test(coord_sync, what_a_new_coordinator_could_still_lose_it_does_not_tell)
{
    struct pair p = completing();

    w.hold = true;
    SYNC(&w, .member = p.first, .assign = {p.first, "one"});
    world_fail_over(&w);
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
    cr_assert_err(sync_err(SYNC(&w, .member = p.first)),
                  ERR_REBALANCE_IN_PROGRESS);
    world_commit(&w);
    cr_assert_text(sync_of(&w, SYNC(&w, .member = p.first))->assignment, "one");
}
