#include "tests/unit/raft/lab.h"

#include "base/error.h"

#include <criterion/criterion.h>

static struct lab lab;
static char text[256];

static void done(void) { lab_free(&lab); }

static void three(void)
{
    lab_init(&lab, 3);
    lab_elect(&lab, 1);
}

TestSuite(replication, .init = three, .fini = done);

Test(replication, a_majority_commits_and_everybody_applies)
{
    lab_isolate(&lab, 3, true);
    cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
    lab_deliver(&lab);
    cr_assert_eq(lab.nodes[1].applied, 2);
    cr_assert_eq(lab.nodes[2].applied, 2);
    cr_assert_eq(lab.nodes[3].applied, 1);
    lab_isolate(&lab, 3, false);
    lab_run(&lab, 400);
    cr_assert_eq(lab.nodes[3].applied, 2);
}

Test(replication, a_minority_commits_nothing)
{
    lab_isolate(&lab, 2, true);
    lab_isolate(&lab, 3, true);
    cr_assert_eq(lab_propose(&lab, 1, "a"), ERR_NONE);
    lab_deliver(&lab);
    cr_assert_eq(lab_core(&lab, 1)->commit, 1);
}

Test(replication, a_leader_counts_its_own_copy_only_when_it_is_durable)
{
    lab.nodes[1].disk_stuck = true;
    lab_isolate(&lab, 3, true);
    lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    cr_assert_eq(raft_log_last(&lab_core(&lab, 2)->log), 2);
    cr_assert_eq(lab_core(&lab, 1)->commit, 1);
    lab_persist(&lab, 1);
    cr_assert_eq(lab_core(&lab, 1)->commit, 2);
}

Test(replication, others_may_commit_what_the_leader_is_still_writing)
{
    lab.nodes[1].disk_stuck = true;
    lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    cr_assert_eq(lab_core(&lab, 1)->commit, 2);
    cr_assert_eq(lab.nodes[2].applied, 2);
    cr_assert_eq(lab.nodes[1].applied, 1, "but it applies what it has");
    lab_persist(&lab, 1);
    cr_assert_eq(lab.nodes[1].applied, 2);
}

Test(replication, followers_acknowledge_only_what_is_durable)
{
    lab.nodes[2].disk_stuck = lab.nodes[3].disk_stuck = true;
    for (int i = 0; i < 5; i++)
        lab_propose(&lab, 1, "a");
    lab_run(&lab, 300); /* with heartbeats */
    cr_assert_eq(raft_log_last(&lab_core(&lab, 2)->log), 6);
    cr_assert_eq(lab_core(&lab, 1)->commit, 1);
    lab_persist(&lab, 2);
    cr_assert_eq(lab.queue_len, 1, "one answer for the whole write");
    lab_deliver(&lab);
    cr_assert_eq(lab_core(&lab, 1)->commit, 6);
}

Test(replication, an_old_write_does_not_make_a_rewritten_entry_durable)
{
    struct raft *r;
    struct raft_entry mine = {.index = 1, .term = 1, .data = SLICE("m")};
    struct raft_entry theirs = {.index = 1, .term = 2, .data = SLICE("t")};
    struct raft_message m = {
        .type = RAFT_APPEND, .from = 1, .to = 2, .term = 1};
    struct raft_event e = {.type = RAFT_RECEIVED, .message = &m};

    lab_free(&lab);
    lab_init(&lab, 3);
    r = lab_core(&lab, 2);
    lab.nodes[2].disk_stuck = true;
    m.append.entries = &mine;
    m.append.entries_len = 1;
    lab_event(&lab, 2, e); /* write 1: term 1, entry 1/1 */
    m.from = 3;
    m.term = 2;
    m.append.entries = &theirs;
    lab_event(&lab, 2, e); /* write 2: entry 1/2 instead */
    m.from = 1;
    m.term = 3;
    m.append.entries = &mine;
    lab_event(&lab, 2, e); /* write 3: entry 1/1 again */
    cr_assert_eq(r->seq, 3);
    /* Entry 1 with term 1 was just written, but write 2 will replace it. */
    lab_event(&lab, 2, (struct raft_event){.type = RAFT_PERSISTED, .seq = 1});
    cr_assert_eq(r->stable, 0);
    lab_event(&lab, 2, (struct raft_event){.type = RAFT_PERSISTED, .seq = 2});
    cr_assert_eq(r->stable, 0);
    lab_event(&lab, 2, (struct raft_event){.type = RAFT_PERSISTED, .seq = 3});
    cr_assert_eq(r->stable, 1);
}

/* Figure 7 of the paper: six followers whose logs differ from the leader's in
 * every possible way. */
Test(log_matching, a_leader_repairs_every_log_of_figure_7)
{
    static const uint64_t leader[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
    static const uint64_t a[] = {1, 1, 1, 4, 4, 5, 5, 6, 6};
    static const uint64_t b[] = {1, 1, 1, 4};
    static const uint64_t c[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6};
    static const uint64_t d[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7};
    static const uint64_t e[] = {1, 1, 1, 4, 4, 4, 4};
    static const uint64_t f[] = {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3};
    static const struct {
        const uint64_t *terms;
        size_t len;
    } logs[] = {{leader, 10}, {a, 9}, {b, 4}, {c, 11},
                {d, 12},      {e, 7}, {f, 11}};

    lab = (struct lab){.now_ms = 1000};
    for (int32_t id = 1; id <= 7; id++)
        lab_node_with_log(&lab, id, 7, 7, RAFT_ID_NONE, logs[id - 1].terms,
                          logs[id - 1].len);
    for (int32_t id = 1; id <= 7; id++)
        lab_event(&lab, id, (struct raft_event){.type = RAFT_START});
    /* c and d have longer logs and refuse; a, b, e, f are enough. */
    lab_elect(&lab, 1);
    cr_assert_eq(lab_leader(&lab), 1);
    lab_run(&lab, 500);
    for (int32_t id = 1; id <= 7; id++) {
        cr_assert_str_eq(lab_terms(&lab, id, text), "1 1 1 4 4 5 5 6 6 6 8",
                         "node %d", (int)id);
        cr_assert_eq(lab_core(&lab, id)->commit, 11);
    }
    lab_free(&lab);
}

/* Figure 8: an entry of term 2 on a majority must not be committed by the
 * leader of term 4 by counting, since a node with an entry of term 3 can still
 * win and replace it. */
Test(log_matching, figure_8_old_entries_are_not_committed_by_counting)
{
    static const uint64_t s1[] = {1, 2}, s3[] = {1}, s5[] = {1, 3};

    lab = (struct lab){.now_ms = 1000};
    lab_node_with_log(&lab, 1, 5, 3, RAFT_ID_NONE, s1, 2);
    lab_node_with_log(&lab, 2, 5, 3, RAFT_ID_NONE, s1, 2);
    lab_node_with_log(&lab, 3, 5, 3, RAFT_ID_NONE, s3, 1);
    lab_node_with_log(&lab, 4, 5, 3, RAFT_ID_NONE, s3, 1);
    lab_node_with_log(&lab, 5, 5, 3, 5, s5, 2);
    for (int32_t id = 1; id <= 5; id++)
        lab_event(&lab, id, (struct raft_event){.type = RAFT_START});
    /* (c): S1 leads term 4.  Its no-op reaches nobody; entry 2 reaches S3. */
    lab_isolate(&lab, 5, true);
    lab_elect(&lab, 1);
    cr_assert_eq(lab_core(&lab, 1)->term, 4);
    lab_free(&lab);

    lab = (struct lab){.now_ms = 1000};
    lab_node_with_log(&lab, 1, 5, 3, RAFT_ID_NONE, s1, 2);
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_START});
    lab_elect(&lab, 1);
    lab_drop(&lab);
    for (int pre = 1; pre >= 0; pre--)
        for (int32_t id = 2; id <= 3; id++) {
            struct raft_message yes = {
                .type = RAFT_VOTE_REPLY, .from = id, .to = 1, .term = 3 + !pre};
            yes.vote_reply.pre = pre;
            yes.vote_reply.vote_term = 4;
            yes.vote_reply.granted = true;
            lab_event(
                &lab, 1,
                (struct raft_event){.type = RAFT_RECEIVED, .message = &yes});
        }
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_LEADER);
    cr_assert_str_eq(lab_terms(&lab, 1, text), "1 2 4");
    for (int32_t id = 2; id <= 4; id++) {
        struct raft_message have = {
            .type = RAFT_APPEND_REPLY, .from = id, .to = 1, .term = 4};
        have.append_reply.match = 2;
        lab_event(&lab, 1,
                  (struct raft_event){.type = RAFT_RECEIVED, .message = &have});
    }
    /* 1, 2, 3 and 4 hold entry 2 of term 2: a majority, and not committed. */
    cr_assert_eq(lab_core(&lab, 1)->commit, 0);
    for (int32_t id = 2; id <= 3; id++) {
        struct raft_message have = {
            .type = RAFT_APPEND_REPLY, .from = id, .to = 1, .term = 4};
        have.append_reply.match = 3;
        lab_event(&lab, 1,
                  (struct raft_event){.type = RAFT_RECEIVED, .message = &have});
    }
    cr_assert_eq(lab_core(&lab, 1)->commit, 3, "(e): with the own term's");
    lab_free(&lab);
}

Test(replication, appends_are_pipelined_within_the_window)
{
    struct raft *r = lab_core(&lab, 1);
    const struct raft_peer *p = raft_peer_find(r, 2);

    r->options.inflight_max_messages = 4;
    lab.cut[2][1] = lab.cut[3][1] = true; /* answers are lost */
    for (int i = 0; i < 10; i++)
        lab_propose(&lab, 1, "a");
    cr_assert_eq(p->inflight_len, 4);
    cr_assert_eq(p->next, 6, "four of ten are on their way");
    lab_drop(&lab);
    lab.cut[2][1] = lab.cut[3][1] = false;
    lab_run(&lab, 500); /* a heartbeat finds that they were lost */
    cr_assert_eq(r->commit, 11);
    cr_assert_eq(p->inflight_len, 0);
    cr_assert_eq(p->inflight_bytes, 0);
}

Test(replication, the_window_counts_bytes_too)
{
    struct raft *r = lab_core(&lab, 1);
    const struct raft_peer *p = raft_peer_find(r, 2);

    r->options.inflight_max_bytes = 10;
    for (int i = 0; i < 10; i++)
        lab_propose(&lab, 1, "12345");
    cr_assert_eq(p->inflight_bytes, 10);
    lab_deliver(&lab);
    cr_assert_eq(r->commit, 11);
}

Test(replication, too_much_that_is_not_committed_is_refused)
{
    struct raft *r = lab_core(&lab, 1);

    r->options.uncommitted_max_bytes = 10;
    r->options.entry_max_bytes = 20;
    cr_assert_eq(lab_propose(&lab, 1, "123456789012345678901"), ERR_TOO_LARGE);
    cr_assert_eq(lab_propose(&lab, 1, "12345678901234"), ERR_NONE,
                 "one always goes");
    cr_assert_eq(lab_propose(&lab, 1, "1"), ERR_THROTTLING_QUOTA_EXCEEDED);
    lab_deliver(&lab);
    cr_assert_eq(lab_propose(&lab, 1, "1"), ERR_NONE);
    cr_assert_eq(lab_propose(&lab, 2, "1"), ERR_NOT_LEADER);
}

Test(replication, lost_appends_are_sent_again)
{
    lab_propose(&lab, 1, "a");
    lab_drop(&lab);
    lab_propose(&lab, 1, "b");
    lab_run(&lab, 300);
    cr_assert_eq(lab_core(&lab, 1)->commit, 3);
    cr_assert_eq(lab.nodes[2].applied, 3);
    cr_assert_eq(lab.nodes[3].applied, 3);
}

Test(replication, a_wiped_follower_is_filled_again)
{
    for (int i = 0; i < 5; i++)
        lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_PEER_LOST, .peer = 3});
    lab_add_outsider(&lab, 3, 3);
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_PEER_UP, .peer = 3});
    lab_run(&lab, 1000);
    cr_assert_eq(lab.nodes[3].applied, 6);
}
