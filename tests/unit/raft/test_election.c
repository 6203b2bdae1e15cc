#include "tests/unit/raft/lab.h"

#include "base/error.h"

#include <criterion/criterion.h>

static struct lab lab;

static void three(void) { lab_init(&lab, 3); }

static void five(void) { lab_init(&lab, 5); }

static void done(void) { lab_free(&lab); }

TestSuite(election3, .init = three, .fini = done);
TestSuite(election5, .init = five, .fini = done);

static bool sends(int32_t from, enum raft_message_type type)
{
    const struct raft_update *u = &lab.nodes[from].update;

    for (size_t i = 0; i < u->messages_len; i++)
        if (u->messages[i].type == type)
            return true;
    return false;
}

Test(election3, cold_start_has_a_leader_within_150_ms)
{
    lab_run(&lab, 150);
    cr_assert_neq(lab_leader(&lab), RAFT_ID_NONE);
}

Test(election, many_cold_starts_are_quick_even_if_messages_take_a_while)
{
    /* Messages here take no time, so what is left is the timers. */
    for (uint64_t seed = 1; seed <= 200; seed++) {
        lab_init(&lab, 3);
        lab.prng.state = seed;
        lab_run(&lab, 130);
        cr_assert_neq(lab_leader(&lab), RAFT_ID_NONE, "seed %llu",
                      (unsigned long long)seed);
        lab_free(&lab);
    }
}

Test(election, a_single_voter_leads_at_once_and_commits_only_what_is_durable)
{
    lab = (struct lab){.now_ms = 5};
    lab_node_with_log(&lab, 1, 1, 0, RAFT_ID_NONE, NULL, 0);
    lab.nodes[1].disk_stuck = true;
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_START});
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_CANDIDATE);
    lab_persist(&lab, 1);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_LEADER);
    cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_TICK});
    cr_assert_eq(lab_core(&lab, 1)->commit, 1, "the no-op only");
    lab_persist(&lab, 1);
    cr_assert_eq(lab_core(&lab, 1)->commit, 2);
    cr_assert_eq(lab.nodes[1].update.deadline_ms, INT64_MAX, "nothing to do");
    lab_free(&lab);
}

Test(election3, a_vote_leaves_only_when_it_is_durable)
{
    struct raft_message ask = {
        .type = RAFT_VOTE_REQUEST, .from = 2, .to = 1, .term = 4};
    struct raft_event e = {.type = RAFT_RECEIVED, .message = &ask};

    ask.vote_request.vote_term = 4;
    lab.nodes[1].disk_stuck = true;
    lab_event(&lab, 1, e);
    cr_assert(lab.nodes[1].update.persist_vote);
    cr_assert_eq(lab_core(&lab, 1)->vote, 2);
    cr_assert_not(sends(1, RAFT_VOTE_REPLY));
    lab_event(&lab, 1, e); /* asked again meanwhile */
    cr_assert_not(sends(1, RAFT_VOTE_REPLY));
    lab_persist(&lab, 1);
    cr_assert(sends(1, RAFT_VOTE_REPLY));
    lab_event(&lab, 1, e); /* now it is known */
    cr_assert(sends(1, RAFT_VOTE_REPLY));
}

Test(election3, a_candidate_asks_only_when_its_own_vote_is_durable)
{
    lab.nodes[1].disk_stuck = true;
    lab_elect(&lab, 1);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_CANDIDATE);
    cr_assert_eq(lab_core(&lab, 2)->term, 0, "nobody was asked yet");
    lab_persist(&lab, 1);
    lab_deliver(&lab);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_LEADER);
}

Test(election3, a_disk_slower_than_the_timeout_spoils_one_candidacy_only)
{
    lab.nodes[1].disk_stuck = true;
    lab_elect(&lab, 1);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_CANDIDATE);
    lab_isolate(&lab, 1, true);
    lab.now_ms = lab_core(&lab, 1)->election_deadline_ms;
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_TICK});
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_PRECANDIDATE);
    lab_drop(&lab);
    lab_isolate(&lab, 1, false);
    lab.nodes[1].disk_stuck = false;
    lab_persist(&lab, 1);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_PRECANDIDATE);
    lab_elect(&lab, 1);
    lab_deliver(&lab);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_LEADER);
    cr_assert_eq(lab_core(&lab, 1)->term, 2);
}

Test(election3, one_vote_for_each_term)
{
    struct raft_message ask = {
        .type = RAFT_VOTE_REQUEST, .from = 2, .to = 1, .term = 4};
    struct raft_event e = {.type = RAFT_RECEIVED, .message = &ask};

    ask.vote_request.vote_term = 4;
    lab_event(&lab, 1, e);
    ask.from = 3;
    lab_event(&lab, 1, e);
    const struct raft_update *u = &lab.nodes[1].update;
    cr_assert_eq(u->messages_len, 1);
    cr_assert_not(u->messages[0].vote_reply.granted);
    cr_assert_eq(lab_core(&lab, 1)->vote, 2);
}

Test(election5, a_node_with_an_older_log_is_not_elected)
{
    uint64_t longer[] = {1, 1, 1}, newer[] = {1, 2};

    for (int32_t id = 2; id <= 5; id++)
        lab_node_with_log(&lab, id, 5, 2, RAFT_ID_NONE, newer, 2);
    lab_node_with_log(&lab, 1, 5, 2, RAFT_ID_NONE, longer, 3);
    for (int32_t id = 1; id <= 5; id++)
        lab_event(&lab, id, (struct raft_event){.type = RAFT_START});
    lab_elect(&lab, 1);
    cr_assert_neq(lab_core(&lab, 1)->role, RAFT_LEADER);
    cr_assert_eq(lab_core(&lab, 1)->term, 2, "pre-votes raise no term");
    lab_elect(&lab, 2);
    cr_assert_eq(lab_leader(&lab), 2);
}

Test(election3, a_node_that_was_cut_off_does_not_disturb_when_it_returns)
{
    lab_elect(&lab, 1);
    uint64_t term = lab_core(&lab, 1)->term;
    lab_isolate(&lab, 3, true);
    lab_run(&lab, 20000);
    cr_assert_eq(lab_core(&lab, 3)->term, term);
    lab_isolate(&lab, 3, false);
    lab_elect(&lab, 3); /* before the leader reaches it */
    lab_run(&lab, 5000);
    cr_assert_eq(lab_leader(&lab), 1);
    cr_assert_eq(lab_core(&lab, 1)->term, term);
    cr_assert_eq(lab_core(&lab, 3)->leader, 1);
}

Test(election3, a_leader_without_a_majority_steps_down)
{
    lab_elect(&lab, 1);
    lab_isolate(&lab, 1, true);
    lab_run(&lab, 999);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_LEADER);
    lab_run(&lab, 200);
    cr_assert_neq(lab_core(&lab, 1)->role, RAFT_LEADER);
    lab_run(&lab, 3000);
    cr_assert_neq(lab_leader(&lab), RAFT_ID_NONE);
    cr_assert_neq(lab_leader(&lab), 1);
    lab_isolate(&lab, 1, false);
    lab_run(&lab, 500);
    cr_assert_eq(lab_core(&lab, 1)->leader, lab_leader(&lab));
}

/* ---- standing still ------------------------------------------------------ */

/* Nobody runs for that long: a machine that was suspended, or is far too busy.
 */
static void stand_still(int64_t ms)
{
    lab_deliver(&lab);
    lab.now_ms += ms;
}

static void tick(int32_t id)
{
    lab_event(&lab, id, (struct raft_event){.type = RAFT_TICK});
}

/* The followers are the first to run again, and see a leader that was silent
 * for longer than an election timeout; the leader sees silent followers. */
Test(election, a_cluster_that_stood_still_keeps_its_leader)
{
    static const int64_t stalls_ms[] = {2200, 3000, 60000};

    for (uint64_t seed = 1; seed <= 60; seed++) {
        lab_init(&lab, 3);
        lab.prng.state = seed;
        lab_elect(&lab, 1);
        lab_run(&lab, 500 + (int64_t)seed * 7);
        uint64_t term = lab_core(&lab, 1)->term;
        for (int again = 0; again < 3; again++) {
            stand_still(stalls_ms[seed % 3]);
            for (int32_t id = 3; id >= 1; id--)
                tick(id);
            lab_run(&lab, 4000);
            cr_assert_eq(lab_leader(&lab), 1, "seed %d", (int)seed);
            cr_assert_eq(lab_core(&lab, 1)->term, term, "seed %d", (int)seed);
        }
        lab_free(&lab);
    }
}

Test(election3, a_leader_that_died_meanwhile_is_replaced)
{
    lab_elect(&lab, 1);
    lab_run(&lab, 500);
    lab_isolate(&lab, 1, true);
    stand_still(3000);
    tick(2);
    tick(3);
    cr_assert_eq(lab_core(&lab, 2)->role, RAFT_FOLLOWER);
    lab_run(&lab, 1500);
    cr_assert_neq(lab_leader(&lab), 1);
    cr_assert_neq(lab_leader(&lab), RAFT_ID_NONE);
    cr_assert_neq(lab_core(&lab, 1)->role, RAFT_LEADER);
}

Test(election3, a_node_that_is_always_late_forgives_once)
{
    lab_elect(&lab, 1);
    lab_run(&lab, 500);
    lab_isolate(&lab, 1, true);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(lab_core(&lab, 2)->role, RAFT_FOLLOWER);
        lab.now_ms = lab.nodes[2].update.deadline_ms + 500;
        tick(2);
    }
    cr_assert_neq(lab_core(&lab, 2)->role, RAFT_FOLLOWER);
}

/* Messages of others come before the tick that tells. */
Test(election3, a_node_that_stood_still_votes_against_no_leader)
{
    struct raft_message ask = {.type = RAFT_VOTE_REQUEST, .from = 2, .to = 3};

    lab_elect(&lab, 1);
    lab_run(&lab, 500);
    stand_still(3000);
    ask.term = lab_core(&lab, 3)->term;
    ask.vote_request.vote_term = ask.term + 1;
    ask.vote_request.pre = true;
    ask.vote_request.last_index = raft_log_last(&lab_core(&lab, 3)->log);
    ask.vote_request.last_term = raft_log_last_term(&lab_core(&lab, 3)->log);
    for (int i = 0; i < 2; i++) {
        lab_event(&lab, 3,
                  (struct raft_event){.type = RAFT_RECEIVED, .message = &ask});
        cr_assert_eq(lab.nodes[3].update.messages_len, 1);
        cr_assert_not(lab.nodes[3].update.messages[0].vote_reply.granted);
        tick(3);
    }
}

Test(election3, one_way_deafness_ends_a_leadership)
{
    lab_elect(&lab, 1);
    lab.cut[2][1] = lab.cut[3][1] = true; /* it is heard and hears nothing */
    lab_run(&lab, 4000);
    cr_assert_neq(lab_leader(&lab), 1);
    cr_assert_neq(lab_leader(&lab), RAFT_ID_NONE);
}

Test(election3, losing_the_leaders_connection_elects_another_at_once)
{
    lab_elect(&lab, 1);
    lab_run(&lab, 1000);
    lab_isolate(&lab, 1, true);
    for (int32_t id = 2; id <= 3; id++)
        lab_event(&lab, id,
                  (struct raft_event){.type = RAFT_PEER_LOST, .peer = 1});
    lab_run(&lab, 130);
    cr_assert(lab_leader(&lab) == 2 || lab_leader(&lab) == 3);
}

Test(election3, a_split_vote_among_survivors_is_repeated_quickly)
{
    lab_elect(&lab, 1);
    lab_run(&lab, 1000);
    lab_isolate(&lab, 1, true);
    for (int32_t id = 2; id <= 3; id++)
        lab_event(&lab, id,
                  (struct raft_event){.type = RAFT_PEER_LOST, .peer = 1});
    /* Both get the other's pre-vote before either campaigns. */
    for (int32_t id = 2; id <= 3; id++) {
        lab_core(&lab, id)->election_deadline_ms = lab.now_ms;
        lab_event(&lab, id, (struct raft_event){.type = RAFT_TICK});
    }
    lab_deliver(&lab);
    cr_assert_eq(lab_leader(&lab), RAFT_ID_NONE);
    lab_run(&lab, 130);
    cr_assert_neq(lab_leader(&lab), RAFT_ID_NONE);
}

Test(election3, a_false_alarm_about_the_leader_changes_nothing)
{
    lab_elect(&lab, 1);
    lab_run(&lab, 1000);
    uint64_t term = lab_core(&lab, 1)->term;
    lab_event(&lab, 2, (struct raft_event){.type = RAFT_PEER_LOST, .peer = 1});
    lab_run(&lab, 1000);
    cr_assert_eq(lab_leader(&lab), 1);
    cr_assert_eq(lab_core(&lab, 2)->term, term);
    cr_assert_eq(lab_core(&lab, 2)->leader, 1);
}

Test(election3, a_minority_that_finds_its_peer_again_elects_soon)
{
    lab_isolate(&lab, 1, true);
    lab_isolate(&lab, 2, true);
    lab_isolate(&lab, 3, true);
    lab_run(&lab, 30000);
    cr_assert_eq(lab_leader(&lab), RAFT_ID_NONE);
    lab_cut(&lab, 1, 2, false);
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_PEER_UP, .peer = 2});
    lab_event(&lab, 2, (struct raft_event){.type = RAFT_PEER_UP, .peer = 1});
    lab_run(&lab, 150);
    cr_assert_neq(lab_leader(&lab), RAFT_ID_NONE);
}

Test(election3, transfer_needs_no_timeout_and_loses_nothing)
{
    lab_elect(&lab, 1);
    lab_isolate(&lab, 2, true);
    cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
    lab_deliver(&lab);
    lab_isolate(&lab, 2, false);
    lab_run(&lab, 200); /* 2 catches up */
    cr_assert_eq(lab_propose(&lab, 1, "b"), ERR_NONE);
    cr_assert_eq(lab_transfer(&lab, 1, 2), ERR_NONE);
    cr_assert_eq(lab_propose(&lab, 1, "c"), ERR_NOT_LEADER);
    lab_deliver(&lab);
    cr_assert_eq(lab_leader(&lab), 2);
    cr_assert_eq(lab_core(&lab, 2)->commit, 4, "no-op, a, b, no-op");
    cr_assert_eq(lab_core(&lab, 1)->leader, 2);
}

Test(election3, a_transfer_that_fails_gives_proposals_back)
{
    lab_elect(&lab, 1);
    lab_isolate(&lab, 2, true);
    cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
    lab_deliver(&lab);
    cr_assert_eq(lab_transfer(&lab, 1, 2), ERR_NONE);
    lab_run(&lab, 1100);
    cr_assert_eq(lab_leader(&lab), 1);
    cr_assert_eq(lab_propose(&lab, 1, "b"), ERR_NONE);
    cr_assert_eq(lab_transfer(&lab, 1, 9), ERR_VOTER_NOT_FOUND);
    cr_assert_eq(lab_transfer(&lab, 3, 2), ERR_NOT_LEADER);
}

Test(election3, a_leader_whose_disk_fails_steps_down_and_stays_silent)
{
    lab_elect(&lab, 1);
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_STORE_FAILED});
    lab_run(&lab, 3000);
    cr_assert(lab_leader(&lab) == 2 || lab_leader(&lab) == 3);
    cr_assert_eq(lab_propose(&lab, lab_leader(&lab), "a"), ERR_NONE);
    lab_deliver(&lab);
    cr_assert_eq(raft_log_last(&lab_core(&lab, 1)->log), 1);
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_STORE_RECOVERED});
    lab_run(&lab, 500);
    cr_assert_eq(raft_log_last(&lab_core(&lab, 1)->log), 3);
}

/* Without a word of its own: its heartbeats go on. */
Test(election3, a_leader_whose_disk_hangs_hands_over)
{
    lab_elect(&lab, 1);
    lab.nodes[1].disk_stuck = true;
    lab_run(&lab, 3000);
    cr_assert_eq(lab_leader(&lab), 1, "nothing waits for its disk");
    cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
    lab_run(&lab, 900);
    cr_assert_eq(lab_leader(&lab), 1);
    lab_run(&lab, 200);
    int32_t leader = lab_leader(&lab);
    cr_assert(leader == 2 || leader == 3);
    cr_assert_eq(lab_propose(&lab, leader, "b"), ERR_NONE);
    lab_run(&lab, 3000);
    cr_assert_eq(lab_leader(&lab), leader);
    cr_assert_eq(lab.nodes[leader].applied, 4, "no-op, a, no-op, b");
    cr_assert_eq(lab.nodes[1].applied, 1);
    lab.nodes[1].disk_stuck = false;
    lab_persist(&lab, 1);
    lab_run(&lab, 500);
    cr_assert_eq(lab.nodes[1].applied, 4);
}

Test(election3, a_slow_disk_that_is_needed_keeps_its_leader)
{
    lab_elect(&lab, 1);
    lab.nodes[1].disk_stuck = true;
    lab_isolate(&lab, 3, true);
    for (int i = 0; i < 30; i++) {
        cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
        lab_run(&lab, 100);
    }
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_LEADER);
}

Test(election3, a_slow_disk_that_gets_on_keeps_its_leader)
{
    lab_elect(&lab, 1);
    lab.nodes[1].disk_stuck = true;
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
        lab_run(&lab, 400);
        cr_assert_eq(lab_propose(&lab, 1, "b"), ERR_NONE);
        lab_run(&lab, 400);
        lab_persist(&lab, 1);
    }
    cr_assert_eq(lab_leader(&lab), 1);
}

/* The disk's answer came while nobody ran who could hear it. */
Test(election3, a_leader_that_stood_still_does_not_blame_its_disk)
{
    lab_elect(&lab, 1);
    lab.nodes[1].disk_stuck = true;
    cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
    lab_deliver(&lab);
    lab.now_ms += 5000;
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_TICK});
    cr_assert_eq(lab_propose(&lab, 1, "b"), ERR_NONE);
}

/* Whose hand-over was asked for shortly before. */
Test(election3, a_leader_whose_disk_hangs_waits_for_the_hand_over_under_way)
{
    lab_elect(&lab, 1);
    lab.nodes[1].disk_stuck = true;
    cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
    lab_run(&lab, 900);
    lab_cut(&lab, 1, 2, true);
    cr_assert_eq(lab_transfer(&lab, 1, 2), ERR_NONE);
    for (int i = 0; i < 5; i++) {
        lab.now_ms += 50;
        lab_event(&lab, 1, (struct raft_event){.type = RAFT_TICK});
        lab_deliver(&lab);
        cr_assert_gt(lab.nodes[1].update.deadline_ms, lab.now_ms);
    }
}

/* Both have all; one of them has not been heard of for a while. */
Test(election3, leadership_is_handed_to_who_is_there)
{
    for (int32_t gone = 2; gone <= 3; gone++) {
        done();
        three();
        lab_elect(&lab, 1);
        lab.nodes[1].disk_stuck = true;
        cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
        lab_deliver(&lab);
        lab_cut(&lab, 1, gone, true);
        lab_run(&lab, 1200);
        cr_assert_eq(lab_leader(&lab), 5 - gone);
    }
}

Test(election3, messages_that_make_no_sense_are_refused)
{
    struct raft_message m = {
        .type = RAFT_APPEND, .from = 2, .to = 1, .term = 3};
    struct raft_event e = {.type = RAFT_RECEIVED, .message = &m};
    struct raft_entry wrong = {.index = 1, .term = 9, .data = SLICE("x")};

    lab.nodes[1].disk_stuck = true; /* so that .update stays the answer */
    m.append.entries = &wrong;
    m.append.entries_len = 1; /* an entry of a later term than the leader's */
    lab_event(&lab, 1, e);
    cr_assert_not_null(lab.nodes[1].update.complaint);
    wrong.term = 3;
    wrong.type = RAFT_ENTRY_CONFIG; /* which "x" is not */
    lab_event(&lab, 1, e);
    cr_assert_not_null(lab.nodes[1].update.complaint);
    wrong.type = RAFT_ENTRY_DATA;
    m.from = 1;
    lab_event(&lab, 1, e);
    cr_assert_not_null(lab.nodes[1].update.complaint);
    m.from = 2;
    m.append.commit = 1;
    lab_event(&lab, 1, e);
    cr_assert_null(lab.nodes[1].update.complaint);
    m.from = 3; /* a second leader of one term */
    lab_event(&lab, 1, e);
    cr_assert_not_null(lab.nodes[1].update.complaint);
    m.from = 2; /* against what is committed */
    m.term = 4;
    wrong.term = 4;
    lab_event(&lab, 1, e);
    cr_assert_not_null(lab.nodes[1].update.complaint);
    cr_assert_eq(raft_log_term(&lab_core(&lab, 1)->log, 1), 3);
}
