/* JoinGroup: who gets in, who leads, what starts a rebalance. */
#include "tests/unit/broker/coord_fixture.h"

static struct world w;

static void set_up(void) { world_open(&w); }

static void tear_down(void) { world_close(&w); }

TestSuite(coord_join, .init = set_up, .fini = tear_down);

static enum err join_err(int token)
{
    return (enum err)join_of(&w, token)->error_code;
}

/* ---- getting in ----------------------------------------------------------*/

Test(coord_join, first_member_waits_for_the_initial_delay_and_leads)
{
    int join = JOIN(&w, .version = 3, .metadata = "mine");

    world_pass(&w, 2999);
    cr_assert_not(answered(&w, join));
    cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
    world_pass(&w, 1);
    const struct join_group_response *r = join_of(&w, join);
    cr_assert_err(r->error_code, ERR_NONE);
    cr_assert_eq(r->generation_id, 1);
    cr_assert_text(r->protocol_name, "range");
    cr_assert(slice_eq(r->leader, r->member_id));
    cr_assert(r->member_id.len == strlen("client-") + 36);
    cr_assert_eq(memcmp(r->member_id.data, "client-", 7), 0);
    cr_assert_eq(r->members_len, 1);
    cr_assert_text(r->members[0].metadata, "mine");
    cr_assert_str_eq(state_of(&w, "g"), "CompletingRebalance");
}

Test(coord_join, only_the_leader_is_told_the_members)
{
    int first = JOIN(&w, .metadata = "a");
    int second = JOIN(&w, .metadata = "b");

    world_pass(&w, 6000);
    cr_assert_eq(join_of(&w, first)->members_len, 2);
    cr_assert_eq(join_of(&w, second)->members_len, 0);
    cr_assert_eq(join_of(&w, second)->generation_id, 1);
    cr_assert(
        slice_eq(join_of(&w, second)->leader, join_of(&w, first)->member_id));
    cr_assert_text(join_of(&w, first)->members[1].metadata, "b");
}

Test(coord_join, version_4_hands_out_an_id_and_wants_to_see_it_again)
{
    int first = JOIN(&w, .version = 4);

    cr_assert_err(join_err(first), ERR_MEMBER_ID_REQUIRED);
    char id[128];
    copy_id(join_of(&w, first)->member_id, id);
    cr_assert_str_eq(state_of(&w, "g"), "Empty");
    int again = JOIN(&w, .version = 4, .member = id);
    world_pass(&w, 3000);
    cr_assert_err(join_err(again), ERR_NONE);
    cr_assert_text(join_of(&w, again)->member_id, id);
}

Test(coord_join, an_id_that_nobody_came_back_with_is_forgotten_with_its_group)
{
    int first = JOIN(&w, .version = 4, .session_ms = 10000);
    char id[128];
    copy_id(join_of(&w, first)->member_id, id);

    world_pass(&w, 9999);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 1);
    world_pass(&w, 1);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 0);
    cr_assert_eq(coord_members_bytes(world_coord(&w)), 0);
    cr_assert_err(join_err(JOIN(&w, .version = 4, .member = id)),
                  ERR_UNKNOWN_MEMBER_ID);
    cr_assert_eq(w.batches_len, 0, "nothing was worth a record");
}

Test(coord_join, a_pending_member_holds_up_a_rebalance)
{
    char id[128];
    make_stable(&w, "g", id);
    int newcomer = JOIN(&w, .version = 4);
    char newcomer_id[128];
    copy_id(join_of(&w, newcomer)->member_id, newcomer_id);

    int leader = JOIN(&w, .member = id);
    cr_assert_not(answered(&w, leader), "the newcomer is on its way");
    JOIN(&w, .version = 4, .member = newcomer_id);
    cr_assert_eq(join_of(&w, leader)->members_len, 2);
}

Test(coord_join, a_pending_member_that_leaves_or_dies_lets_it_go_on)
{
    char id[128];
    make_stable(&w, "g", id);
    JOIN(&w, .version = 4, .session_ms = 6000);
    int leader = JOIN(&w, .member = id);

    cr_assert_not(answered(&w, leader));
    world_pass(&w, 6000);
    cr_assert_eq(join_of(&w, leader)->generation_id, 2);
    cr_assert_eq(join_of(&w, leader)->members_len, 1);
}

Test(coord_join, version_0_has_the_session_timeout_as_rebalance_timeout)
{
    int join = JOIN(&w, .version = -1, .session_ms = 7000);
    world_pass(&w, 3000);
    char id[128];
    copy_id(join_of(&w, join)->member_id, id);
    SYNC(&w, .member = id, .assign = {id, "x"}, .version = 1);
    JOIN(&w, .session_ms = 30000, .rebalance_ms = 1);

    /* The first does not rejoin; it is waited for 7 s, as long as it has
     * said, while it sends heartbeats. */
    world_pass(&w, 6000);
    cr_assert_err(HEARTBEAT(&w, .member = id), ERR_REBALANCE_IN_PROGRESS);
    world_pass(&w, 999);
    cr_assert_err(HEARTBEAT(&w, .member = id), ERR_REBALANCE_IN_PROGRESS);
    world_pass(&w, 1);
    cr_assert_err(HEARTBEAT(&w, .member = id), ERR_UNKNOWN_MEMBER_ID);
}

/* ---- refusals ------------------------------------------------------------*/

Test(coord_join, refusals)
{
    char id[128];
    make_stable(&w, "g", id);
    const struct {
        const char *what;
        int token;
        enum err err;
    } rows[] = {
        {"no group", JOIN(&w, .group = ""), ERR_INVALID_GROUP_ID},
        {"session too short", JOIN(&w, .session_ms = 5999),
         ERR_INVALID_SESSION_TIMEOUT},
        {"session too long", JOIN(&w, .session_ms = 1800001),
         ERR_INVALID_SESSION_TIMEOUT},
        {"other type", JOIN(&w, .type = "connect"),
         ERR_INCONSISTENT_GROUP_PROTOCOL},
        {"no common protocol", JOIN(&w, .protocol = "sticky"),
         ERR_INCONSISTENT_GROUP_PROTOCOL},
        {"no protocols", JOIN(&w, .group = "new", .no_protocols = true),
         ERR_INCONSISTENT_GROUP_PROTOCOL},
        {"no type", JOIN(&w, .group = "new", .type = ""),
         ERR_INCONSISTENT_GROUP_PROTOCOL},
        {"id from another life", JOIN(&w, .member = "client-1"),
         ERR_UNKNOWN_MEMBER_ID},
        {"id in a group that is not there",
         JOIN(&w, .group = "new", .member = "client-1"), ERR_UNKNOWN_MEMBER_ID},
        {"instance that is not there", JOIN(&w, .member = id, .instance = "i"),
         ERR_UNKNOWN_MEMBER_ID},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(join_err(rows[i].token), rows[i].err, "%s: %s",
                     rows[i].what, err_name((int)join_err(rows[i].token)));
    cr_assert_eq(coord_groups_count(world_coord(&w)), 1,
                 "refused joins leave no group behind");
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
}

Test(coord_join, session_timeouts_at_the_bounds_are_fine)
{
    JOIN(&w, .group = "a", .session_ms = 6000);
    JOIN(&w, .group = "b", .session_ms = 1800000);
    cr_assert_str_eq(state_of(&w, "a"), "PreparingRebalance");
    cr_assert_str_eq(state_of(&w, "b"), "PreparingRebalance");
}

Test(coord_join, a_full_group_takes_nobody_else)
{
    world_close(&w);
    world_init(&w);
    w.options.coord.group_max_size = 1;
    world_start(&w);
    char id[128];
    make_stable(&w, "g", id);

    cr_assert_err(join_err(JOIN(&w)), ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_err(HEARTBEAT(&w, .member = id), ERR_NONE);
    int again = JOIN(&w, .member = id);
    cr_assert_err(join_err(again), ERR_NONE);
}

Test(coord_join, a_group_loaded_larger_than_allowed_is_cut_down)
{
    struct pair pair = make_stable_pair(&w, "g");

    w.options.coord.group_max_size = 1;
    world_fail_over(&w);
    cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
    int second = JOIN(&w, .member = pair.second);
    cr_assert_err(join_err(JOIN(&w, .member = pair.first)),
                  ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_err(join_err(second), ERR_NONE);
    cr_assert_eq(join_of(&w, second)->members_len, 1);
}

Test(coord_join, metadata_beyond_the_coordinators_memory_is_refused)
{
    world_close(&w);
    world_init(&w);
    w.options.coord.members_max_bytes = 2000;
    world_start(&w);
    char large[1500];
    memset(large, 'm', sizeof large);
    large[sizeof large - 1] = '\0';

    cr_assert_err(join_err(JOIN(&w, .metadata = large)),
                  ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_not(answered(&w, JOIN(&w)));
}

/* An id is made of the client's, and handed out to whoever asks. */
Test(coord_join, ids_that_nobody_came_back_with_count_as_members)
{
    world_close(&w);
    world_init(&w);
    w.options.coord.members_max_bytes = 1000000;
    world_start(&w);
    static char client[30001];
    memset(client, 'c', sizeof client - 1);
    int given = 0;

    while (given < 100 && join_err(JOIN(&w, .version = 4, .client = client)) ==
                              ERR_MEMBER_ID_REQUIRED)
        given++;
    cr_assert_eq(given, 1000000 / 60900, "%d", given);
    coord_check(world_coord(&w));
    /* As does the name of a group that is there for nobody else. */
    static char name[30001];
    memset(name, 'n', sizeof name - 1);
    world_pass(&w, 10000);
    cr_assert_eq(coord_members_bytes(world_coord(&w)), 0);
    for (given = 0; given < 100; given++) {
        name[0] = (char)('A' + given);
        if (join_err(JOIN(&w, .version = 4, .group = name)) !=
            ERR_MEMBER_ID_REQUIRED)
            break;
    }
    cr_assert_eq(given, 1000000 / 60900, "%d", given);
    coord_check(world_coord(&w));
}

/* Its own id does not keep a client out. */
Test(coord_join, a_client_that_comes_back_with_its_id_finds_room)
{
    world_close(&w);
    world_init(&w);
    w.options.coord.members_max_bytes = 1000;
    world_start(&w);
    char id[128];
    int first = JOIN(&w, .version = 4);

    cr_assert_err(join_err(first), ERR_MEMBER_ID_REQUIRED);
    copy_id(join_of(&w, first)->member_id, id);
    cr_assert_err(join_err(JOIN(&w, .version = 4)), ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_not(answered(&w, JOIN(&w, .version = 4, .member = id)));
}

/* ---- the initial delay ---------------------------------------------------*/

Test(coord_join, the_initial_delay_is_extended_while_members_come)
{
    int first = JOIN(&w);
    world_pass(&w, 2000);
    JOIN(&w);
    world_pass(&w, 1000); /* 3 s: somebody came, so 3 s more */
    cr_assert_not(answered(&w, first));
    world_pass(&w, 2999);
    cr_assert_not(answered(&w, first));
    world_pass(&w, 1);
    cr_assert_eq(join_of(&w, first)->members_len, 2);
}

Test(coord_join, the_initial_delay_ends_with_the_rebalance_timeout)
{
    int first = JOIN(&w, .rebalance_ms = 7000);

    for (int i = 0; i < 7; i++) {
        cr_assert_not(answered(&w, first), "after %d s", i);
        world_pass(&w, 1000);
        if (i < 6)
            JOIN(&w, .rebalance_ms = 7000);
    }
    cr_assert_eq(join_of(&w, first)->members_len, 7);
}

Test(coord_join, without_initial_delay_the_first_is_in_at_once)
{
    world_close(&w);
    world_init(&w);
    w.options.coord.group_initial_rebalance_delay_ms = 0;
    world_start(&w);
    int join = JOIN(&w);

    world_pass(&w, 0);
    cr_assert_eq(join_of(&w, join)->generation_id, 1);
}

/* ---- rejoining -----------------------------------------------------------*/

Test(coord_join, a_newcomer_makes_everybody_rejoin)
{
    char id[128];
    make_stable(&w, "g", id);
    int newcomer = JOIN(&w);

    cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
    cr_assert_err(HEARTBEAT(&w, .member = id), ERR_REBALANCE_IN_PROGRESS);
    int old = JOIN(&w, .member = id);
    cr_assert_eq(join_of(&w, old)->generation_id, 2);
    cr_assert_eq(join_of(&w, newcomer)->generation_id, 2);
    cr_assert_text(join_of(&w, newcomer)->leader, id);
}

Test(coord_join, a_leader_that_rejoins_starts_a_rebalance)
{
    struct pair pair = make_stable_pair(&w, "g");
    int leader = JOIN(&w, .member = pair.first);

    cr_assert_not(answered(&w, leader));
    cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
}

Test(coord_join, a_follower_that_rejoins_unchanged_does_not)
{
    struct pair pair = make_stable_pair(&w, "g");
    int follower = JOIN(&w, .member = pair.second);

    cr_assert_eq(join_of(&w, follower)->generation_id, pair.generation);
    cr_assert_eq(join_of(&w, follower)->members_len, 0);
    cr_assert_text(join_of(&w, follower)->leader, pair.first);
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
    int sync = SYNC(&w, .member = pair.second);
    cr_assert_text(sync_of(&w, sync)->assignment, "two");
}

Test(coord_join, a_follower_with_new_metadata_does)
{
    struct pair pair = make_stable_pair(&w, "g");
    int follower = JOIN(&w, .member = pair.second, .metadata = "more topics");

    cr_assert_not(answered(&w, follower));
    int leader = JOIN(&w, .member = pair.first);
    cr_assert_text(join_of(&w, leader)->members[1].metadata, "more topics");
}

Test(coord_join, who_missed_the_answer_gets_it_again_while_it_completes)
{
    int first = JOIN(&w);
    world_pass(&w, 3000);
    char id[128];
    copy_id(join_of(&w, first)->member_id, id);
    int again = JOIN(&w, .member = id);

    cr_assert_eq(join_of(&w, again)->generation_id, 1);
    cr_assert_eq(join_of(&w, again)->members_len, 1);
    cr_assert_str_eq(state_of(&w, "g"), "CompletingRebalance");
    int changed = JOIN(&w, .member = id, .metadata = "other");
    cr_assert_eq(join_of(&w, changed)->generation_id, 2);
}

Test(coord_join, a_second_join_of_a_waiting_member_replaces_the_first)
{
    char id[128];
    make_stable(&w, "g", id);
    JOIN(&w);
    JOIN(&w);
    int once = JOIN(&w, .member = id);
    cr_assert_eq(join_of(&w, once)->generation_id, 2);

    int newcomer = JOIN(&w, .version = 4);
    char waiting[128];
    copy_id(join_of(&w, newcomer)->member_id, waiting);
    int one = JOIN(&w, .version = 4, .member = waiting);
    cr_assert_not(answered(&w, one));
    int two = JOIN(&w, .version = 4, .member = waiting);
    cr_assert_err(join_err(one), ERR_COORDINATOR_LOAD_IN_PROGRESS);
    cr_assert_not(answered(&w, two));
}

Test(coord_join, who_does_not_rejoin_within_the_rebalance_timeout_is_out)
{
    struct pair pair = make_stable_pair(&w, "g");
    int second = JOIN(&w, .member = pair.second, .metadata = "changed");

    for (int i = 0; i < 59; i++) {
        world_pass(&w, 1000);
        cr_assert_err(HEARTBEAT(&w, .member = pair.first),
                      ERR_REBALANCE_IN_PROGRESS);
    }
    cr_assert_not(answered(&w, second));
    world_pass(&w, 1000);
    cr_assert_eq(join_of(&w, second)->members_len, 1);
    cr_assert_text(join_of(&w, second)->leader, pair.second);
    cr_assert_err(HEARTBEAT(&w, .member = pair.first), ERR_UNKNOWN_MEMBER_ID);
}

Test(coord_join, a_new_member_that_waits_for_five_minutes_is_given_up)
{
    char id[128];
    make_stable(&w, "g", id);
    JOIN(&w, .member = id, .rebalance_ms = 600000);
    int newcomer = JOIN(&w, .rebalance_ms = 600000, .session_ms = 400000);

    /* The first sends heartbeats but does not rejoin. */
    for (int i = 0; i < 299; i++) {
        world_pass(&w, 1000);
        HEARTBEAT(&w, .member = id, .generation = 2);
    }
    cr_assert_not(answered(&w, newcomer));
    world_pass(&w, 1000);
    cr_assert_err(join_err(newcomer), ERR_UNKNOWN_MEMBER_ID);
    cr_assert_eq(join_of(&w, newcomer)->member_id.len, 0);
}

/* ---- protocols -----------------------------------------------------------*/

Test(coord_join, the_protocol_with_most_votes_among_the_common_ones_wins)
{
    int first = JOIN(&w, .protocol = "range", .protocol2 = "roundrobin");
    JOIN(&w, .protocol = "roundrobin", .protocol2 = "range");
    JOIN(&w, .protocol = "roundrobin", .protocol2 = "range");
    world_pass(&w, 6000);
    cr_assert_text(join_of(&w, first)->protocol_name, "roundrobin");
}

Test(coord_join, a_favourite_that_not_all_support_does_not_win)
{
    int first = JOIN(&w, .protocol = "sticky", .protocol2 = "range");
    JOIN(&w, .protocol = "sticky", .protocol2 = "range");
    JOIN(&w, .protocol = "range");
    world_pass(&w, 6000);
    cr_assert_text(join_of(&w, first)->protocol_name, "range");
}

/* ---- static members ------------------------------------------------------*/

static void make_static_pair(char leader[static 128], char other[static 128])
{
    int first = JOIN(&w, .instance = "a", .version = 5);
    int second = JOIN(&w, .instance = "b", .version = 5);
    world_pass(&w, 6000);
    copy_id(join_of(&w, first)->member_id, leader);
    copy_id(join_of(&w, second)->member_id, other);
    SYNC(&w, .member = other);
    SYNC(&w, .member = leader, .assign = {leader, "one", other, "two"});
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
}

Test(coord_join, a_static_member_gets_in_without_the_second_round)
{
    int join = JOIN(&w, .instance = "a", .version = 5);
    world_pass(&w, 3000);
    cr_assert_err(join_err(join), ERR_NONE);
    cr_assert_eq(memcmp(join_of(&w, join)->member_id.data, "a-", 2), 0);
}

Test(coord_join, a_static_member_comes_back_without_a_rebalance)
{
    char a[128], b[128], b2[128];
    make_static_pair(a, b);

    int back = JOIN(&w, .instance = "b", .version = 5);
    cr_assert_err(join_err(back), ERR_NONE);
    copy_id(join_of(&w, back)->member_id, b2);
    cr_assert_str_neq(b, b2);
    cr_assert_eq(join_of(&w, back)->generation_id, 1);
    cr_assert_eq(join_of(&w, back)->members_len, 0);
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
    int sync = SYNC(&w, .member = b2, .instance = "b");
    cr_assert_text(sync_of(&w, sync)->assignment, "two");
    /* Its former self is out, whatever it tries. */
    cr_assert_err(HEARTBEAT(&w, .member = b, .instance = "b"),
                  ERR_FENCED_INSTANCE_ID);
    cr_assert_err(join_err(JOIN(&w, .member = b, .instance = "b")),
                  ERR_FENCED_INSTANCE_ID);
    cr_assert_err(
        sync_of(&w, SYNC(&w, .member = b, .instance = "b"))->error_code,
        ERR_FENCED_INSTANCE_ID);
    cr_assert_err(commit_of(&w, COMMIT(&w, .member = b, .instance = "b",
                                       .generation = 1)),
                  ERR_FENCED_INSTANCE_ID);
    cr_assert_err(HEARTBEAT(&w, .member = b2, .instance = "b"), ERR_NONE);
}

Test(coord_join, a_static_members_new_id_is_told_only_when_it_is_committed)
{
    char a[128], b[128];
    make_static_pair(a, b);

    w.hold = true;
    int back = JOIN(&w, .instance = "b", .version = 5);
    cr_assert_not(answered(&w, back));
    world_commit(&w);
    char b2[128];
    copy_id(join_of(&w, back)->member_id, b2);
    world_fail_over(&w);
    cr_assert_err(HEARTBEAT(&w, .member = b2, .instance = "b"), ERR_NONE);
    cr_assert_err(HEARTBEAT(&w, .member = b, .instance = "b"),
                  ERR_FENCED_INSTANCE_ID);
}

Test(coord_join, a_static_members_return_that_cannot_be_stored_did_not_happen)
{
    char a[128], b[128];
    make_static_pair(a, b);

    w.append_err = ERR_NOT_ENOUGH_REPLICAS;
    int back = JOIN(&w, .instance = "b", .version = 5);
    cr_assert_err(join_err(back), ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_eq(join_of(&w, back)->member_id.len, 0);
    cr_assert_err(HEARTBEAT(&w, .member = b, .instance = "b"), ERR_NONE);
    w.append_err = ERR_NONE;
    back = JOIN(&w, .instance = "b", .version = 5);
    cr_assert_err(join_err(back), ERR_NONE);
}

Test(coord_join, a_static_leader_that_comes_back_is_told_to_skip_assigning)
{
    char a[128], b[128];
    make_static_pair(a, b);

    /* Version 9 says so; the members are for watching their topics. */
    int back = JOIN(&w, .instance = "a", .version = 9);
    cr_assert(join_of(&w, back)->skip_assignment);
    cr_assert_eq(join_of(&w, back)->members_len, 2);
    cr_assert(
        slice_eq(join_of(&w, back)->leader, join_of(&w, back)->member_id));
    /* An older client must not find itself as the leader. */
    char a2[128];
    copy_id(join_of(&w, back)->member_id, a2);
    back = JOIN(&w, .instance = "a", .version = 8);
    cr_assert_not(join_of(&w, back)->skip_assignment);
    cr_assert_text(join_of(&w, back)->leader, a2);
    cr_assert_eq(join_of(&w, back)->members_len, 0);
}

Test(coord_join, a_static_member_that_changes_the_protocol_rebalances)
{
    int first = JOIN(&w, .instance = "a", .version = 5, .protocol = "range",
                     .protocol2 = "sticky");
    world_pass(&w, 3000);
    char a[128];
    copy_id(join_of(&w, first)->member_id, a);
    SYNC(&w, .member = a, .assign = {a, "x"});
    int back = JOIN(&w, .instance = "a", .version = 5, .protocol = "sticky");

    cr_assert_eq(join_of(&w, back)->generation_id, 2);
    cr_assert_text(join_of(&w, back)->protocol_name, "sticky");
}

Test(coord_join, a_static_member_that_comes_back_while_it_completes_rebalances)
{
    int first = JOIN(&w, .instance = "a", .version = 5);
    int second = JOIN(&w, .instance = "b", .version = 5);
    world_pass(&w, 6000);
    char a[128], b[128];
    copy_id(join_of(&w, first)->member_id, a);
    copy_id(join_of(&w, second)->member_id, b);
    int parked = SYNC(&w, .member = b, .instance = "b");

    int back = JOIN(&w, .instance = "b", .version = 5);
    cr_assert_err(sync_of(&w, parked)->error_code, ERR_FENCED_INSTANCE_ID);
    cr_assert_not(answered(&w, back));
    cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
    int leader = JOIN(&w, .member = a, .instance = "a", .version = 5);
    cr_assert_eq(join_of(&w, leader)->generation_id, 2);
    cr_assert_eq(join_of(&w, back)->generation_id, 2);
}

Test(coord_join, a_double_of_a_waiting_static_member_fences_it)
{
    int first = JOIN(&w, .instance = "a", .version = 5);
    int second = JOIN(&w, .instance = "a", .version = 5);

    cr_assert_err(join_err(first), ERR_FENCED_INSTANCE_ID);
    world_pass(&w, 6000);
    cr_assert_err(join_err(second), ERR_NONE);
}

Test(coord_join, a_static_members_return_that_is_logged_too_late_stands)
{
    char a[128], b[128];
    make_static_pair(a, b);

    w.hold = true;
    int back = JOIN(&w, .instance = "b", .version = 5);
    world_pass(&w, 5000);
    cr_assert_err(join_err(back), ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_err(HEARTBEAT(&w, .member = b, .instance = "b"),
                  ERR_FENCED_INSTANCE_ID);
    world_fail_over(&w);
    cr_assert_err(HEARTBEAT(&w, .member = b, .instance = "b"),
                  ERR_FENCED_INSTANCE_ID);
}

/* A session that ends while its owner waits does not count. */
Test(coord_join, a_static_members_session_goes_on_if_its_return_fails)
{
    char a[128], b[128];

    world_close(&w);
    world_init(&w);
    w.options.commit_timeout_ms = 15000;
    world_start(&w);
    make_static_pair(a, b);
    w.hold = true;
    int back = JOIN(&w, .instance = "b", .version = 5);
    for (int i = 0; i < 3; i++) {
        world_pass(&w, 5000);
        HEARTBEAT(&w, .member = a, .instance = "a");
    }
    cr_assert_err(join_err(back), ERR_COORDINATOR_NOT_AVAILABLE);
    world_commit(&w);
    world_pass(&w, 9000);
    cr_assert_err(HEARTBEAT(&w, .member = a, .instance = "a"), ERR_NONE);
    world_pass(&w, 1000);
    cr_assert_err(HEARTBEAT(&w, .member = a, .instance = "a"),
                  ERR_REBALANCE_IN_PROGRESS);
}

Test(coord_join, static_members_stay_through_a_rebalance_without_joining)
{
    int first = JOIN(&w, .instance = "a", .version = 5, .rebalance_ms = 4000);
    int second = JOIN(&w, .instance = "b", .version = 5, .rebalance_ms = 4000,
                      .session_ms = 30000);
    world_pass(&w, 6000);
    char a[128], b[128];
    copy_id(join_of(&w, first)->member_id, a);
    copy_id(join_of(&w, second)->member_id, b);
    SYNC(&w, .member = b);
    SYNC(&w, .member = a, .assign = {a, "one", b, "two"});

    int leader = JOIN(&w, .member = a, .instance = "a", .rebalance_ms = 4000);
    world_pass(&w, 3999);
    cr_assert_not(answered(&w, leader));
    world_pass(&w, 1);
    cr_assert_eq(join_of(&w, leader)->members_len, 2);
    cr_assert_eq(join_of(&w, leader)->generation_id, 2);
    cr_assert_err(HEARTBEAT(&w, .member = b, .instance = "b"),
                  ERR_ILLEGAL_GENERATION);
}

Test(coord_join, static_members_that_all_stay_away_keep_their_group_waiting)
{
    char a[128], b[128];
    make_static_pair(a, b);
    int newcomer = JOIN(&w, .version = 4, .session_ms = 6000);

    /* Somebody gets an id and does not come; a rejoins and dies parked. */
    cr_assert_err(join_err(newcomer), ERR_MEMBER_ID_REQUIRED);
    LEAVE(&w, .instance = "a");
    cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
    for (int i = 0; i < 70; i++) {
        world_pass(&w, 1000);
        cr_assert_err(HEARTBEAT(&w, .member = b, .instance = "b"),
                      ERR_REBALANCE_IN_PROGRESS);
    }
    int back = JOIN(&w, .member = b, .instance = "b");
    cr_assert_eq(join_of(&w, back)->generation_id, 2);
}

/* How often something is due within a second. */
static int ticks_of_a_second(void)
{
    int64_t end = w.time.now_ms + 1000;
    int ticks = 0;

    while (ticks < 1000 && group_shard_next_deadline(w.shard) <= end) {
        int64_t due = group_shard_next_deadline(w.shard);

        w.time.now_ms = due > w.time.now_ms ? due : w.time.now_ms;
        group_shard_tick(w.shard, w.time);
        coord_check(world_coord(&w));
        ticks++;
    }
    return ticks;
}

Test(coord_join, a_group_without_time_to_rebalance_does_not_look_for_ever)
{
    static const int32_t timeouts[] = {REBALANCE_0, 1, -1};
    char a[128], b[128];

    make_static_pair(a, b);
    for (int i = 0; i < 3; i++) {
        /* Both come back, and one goes. */
        for (int m = 0; m < 2; m++)
            cr_assert_err(join_err(JOIN(&w, .instance = m == 0 ? "a" : "b",
                                        .rebalance_ms = timeouts[i],
                                        .session_ms = 1800000)),
                          ERR_NONE);
        LEAVE(&w, .instance = "b");
        cr_assert_str_eq(state_of(&w, "g"), "PreparingRebalance");
        int ticks = ticks_of_a_second();
        cr_assert_leq(ticks, 5, "%d with %d", ticks, timeouts[i]);
        world_close(&w);
        world_open(&w);
        make_static_pair(a, b);
    }
}

Test(coord_join, a_member_that_names_no_time_has_that_of_its_session)
{
    char a[128], b[128];
    int first = JOIN(&w, .rebalance_ms = -1, .session_ms = 20000);
    int second = JOIN(&w, .rebalance_ms = -1, .session_ms = 20000);

    world_pass(&w, 6000);
    copy_id(join_of(&w, first)->member_id, a);
    copy_id(join_of(&w, second)->member_id, b);
    SYNC(&w, .member = b);
    SYNC(&w, .member = a, .assign = {a, "one", b, "two"});
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
    JOIN(&w, .member = a, .rebalance_ms = -1, .session_ms = 20000);
    world_pass(&w, 15000);
    cr_assert_err(HEARTBEAT(&w, .member = b), ERR_REBALANCE_IN_PROGRESS);
    world_pass(&w, 5000);
    cr_assert_err(HEARTBEAT(&w, .member = b), ERR_UNKNOWN_MEMBER_ID);
}
