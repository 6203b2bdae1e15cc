#include "tests/unit/raft/lab.h"

#include "base/error.h"

#include <criterion/criterion.h>

static struct lab lab;

static void three(void)
{
    lab_init(&lab, 3);
    lab_elect(&lab, 1);
}

static void done(void) { lab_free(&lab); }

TestSuite(membership, .init = three, .fini = done);

Test(membership, a_learner_gets_the_log_and_no_vote)
{
    lab_add_outsider(&lab, 4, 3);
    cr_assert_eq(lab_change(&lab, 1, RAFT_ADD_LEARNER, 4), ERR_NONE);
    lab_run(&lab, 500);
    cr_assert_eq(lab.nodes[4].applied, 2);
    cr_assert_eq(raft_config_voters(raft_config_now(lab_core(&lab, 4))), 3);
    /* It neither counts for a commit nor campaigns. */
    lab_isolate(&lab, 2, true);
    lab_isolate(&lab, 3, true);
    lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    cr_assert_eq(lab_core(&lab, 1)->commit, 2);
    lab_isolate(&lab, 1, true);
    lab_run(&lab, 5000);
    cr_assert_eq(lab_core(&lab, 4)->role, RAFT_FOLLOWER);
    cr_assert_eq(lab_core(&lab, 4)->leader, RAFT_ID_NONE);
}

Test(membership, a_learner_is_promoted_when_it_has_caught_up)
{
    lab_add_outsider(&lab, 4, 3);
    lab_isolate(&lab, 4, true);
    cr_assert_eq(lab_change(&lab, 1, RAFT_ADD_LEARNER, 4), ERR_NONE);
    lab_run(&lab, 500);
    cr_assert_eq(lab_change(&lab, 1, RAFT_PROMOTE, 4), ERR_REQUEST_TIMED_OUT);
    cr_assert_eq(lab_change(&lab, 1, RAFT_PROMOTE, 5), ERR_VOTER_NOT_FOUND);
    cr_assert_eq(lab_change(&lab, 1, RAFT_PROMOTE, 2), ERR_DUPLICATE_VOTER);
    lab_isolate(&lab, 4, false);
    lab_run(&lab, 500);
    cr_assert_eq(lab_change(&lab, 1, RAFT_PROMOTE, 4), ERR_NONE);
    lab_run(&lab, 500);
    cr_assert_eq(raft_config_voters(raft_config_now(lab_core(&lab, 4))), 4);
    /* Two of four are no majority any more. */
    lab_isolate(&lab, 2, true);
    lab_isolate(&lab, 3, true);
    uint64_t commit = lab_core(&lab, 1)->commit;
    lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    cr_assert_eq(lab_core(&lab, 1)->commit, commit);
}

Test(membership, one_change_at_a_time)
{
    lab_isolate(&lab, 2, true);
    lab_isolate(&lab, 3, true);
    cr_assert_eq(lab_change(&lab, 1, RAFT_ADD_LEARNER, 4), ERR_NONE);
    cr_assert_eq(lab_change(&lab, 1, RAFT_ADD_LEARNER, 5),
                 ERR_REQUEST_TIMED_OUT);
    lab_isolate(&lab, 2, false);
    lab_run(&lab, 500);
    cr_assert_eq(lab_change(&lab, 1, RAFT_ADD_LEARNER, 5), ERR_NONE);
    cr_assert_eq(lab_change(&lab, 2, RAFT_ADD_LEARNER, 6), ERR_NOT_LEADER);
}

Test(membership, no_change_before_the_own_term_has_committed)
{
    cr_assert_eq(lab_transfer(&lab, 1, 2), ERR_NONE);
    while (lab_core(&lab, 2)->role != RAFT_LEADER)
        cr_assert(lab_deliver_one(&lab));
    lab_drop(&lab); /* its no-op among them */
    cr_assert_eq(lab_change(&lab, 2, RAFT_REMOVE, 3), ERR_REQUEST_TIMED_OUT);
    lab_run(&lab, 500);
    cr_assert_eq(lab_change(&lab, 2, RAFT_REMOVE, 3), ERR_NONE);
}

Test(membership, an_uncommitted_change_is_undone_by_the_next_leader)
{
    lab_isolate(&lab, 1, true);
    cr_assert_eq(lab_change(&lab, 1, RAFT_REMOVE, 3), ERR_NONE);
    cr_assert_eq(raft_config_now(lab_core(&lab, 1))->len, 2);
    lab_run(&lab, 3000);
    cr_assert_neq(lab_leader(&lab), 1);
    lab_isolate(&lab, 1, false);
    lab_run(&lab, 500);
    cr_assert_eq(raft_config_now(lab_core(&lab, 1))->len, 3);
    cr_assert_eq(raft_config_voters(raft_config_now(lab_core(&lab, 1))), 3);
}

Test(membership, a_leader_that_removes_itself_steps_down_when_it_is_committed)
{
    cr_assert_eq(lab_change(&lab, 1, RAFT_REMOVE, 1), ERR_NONE);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_LEADER);
    lab_run(&lab, 150);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_FOLLOWER);
    cr_assert(lab_leader(&lab) == 2 || lab_leader(&lab) == 3,
              "handed over at once");
    lab_run(&lab, 5000);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_FOLLOWER);
}

/* Found by the simulator: the only node with the newest log is no voter in its
 * own configuration, and refuses the others, whose logs are older. */
Test(membership, a_node_that_removed_itself_leads_until_that_is_committed)
{
    cr_assert_eq(lab_change(&lab, 1, RAFT_REMOVE, 3), ERR_NONE);
    lab_run(&lab, 300);
    lab_isolate(&lab, 1, true);
    cr_assert_eq(lab_change(&lab, 1, RAFT_REMOVE, 1), ERR_NONE);
    lab_run(&lab, 5000);
    cr_assert_eq(lab_leader(&lab), RAFT_ID_NONE);
    lab_isolate(&lab, 1, false);
    lab_run(&lab, 5000);
    cr_assert_eq(lab_leader(&lab), 2);
    cr_assert_eq(raft_config_now(lab_core(&lab, 2))->len, 1);
}

Test(membership, the_last_voter_stays)
{
    cr_assert_eq(lab_change(&lab, 1, RAFT_REMOVE, 2), ERR_NONE);
    lab_run(&lab, 300);
    cr_assert_eq(lab_change(&lab, 1, RAFT_DEMOTE, 3), ERR_NONE);
    lab_run(&lab, 300);
    cr_assert_eq(lab_change(&lab, 1, RAFT_REMOVE, 1), ERR_INVALID_REQUEST);
    cr_assert_eq(lab_change(&lab, 1, RAFT_REMOVE, 7), ERR_VOTER_NOT_FOUND);
    cr_assert_eq(lab_change(&lab, 1, RAFT_REMOVE, 3), ERR_NONE);
    lab_run(&lab, 300);
    cr_assert_eq(raft_config_now(lab_core(&lab, 1))->len, 1);
    cr_assert_eq(lab_propose(&lab, 1, "alone"), ERR_NONE);
    cr_assert_eq(lab_core(&lab, 1)->commit,
                 raft_log_last(&lab_core(&lab, 1)->log));
}

Test(membership, configurations_survive_encoding_and_hostile_bytes_do_not)
{
    struct raft_config c = RAFT_CONFIG_INIT, d;
    struct buf bytes = BUF_INIT;

    raft_config_copy(&c, raft_config_now(lab_core(&lab, 1)));
    raft_config_encode(&c, &bytes);
    cr_assert(raft_config_decode(buf_slice(&bytes), &d));
    cr_assert_eq(d.len, 3);
    cr_assert_str_eq(d.members[2].host, "node-3");
    cr_assert(uuid_is_zero(d.members[2].directory));
    raft_config_free(&d);
    c.members[1].directory = (struct uuid){{1, 2, 3}};
    bytes.len = 0;
    raft_config_encode(&c, &bytes);
    cr_assert(raft_config_decode(buf_slice(&bytes), &d));
    cr_assert(uuid_eq(d.members[1].directory, c.members[1].directory));
    cr_assert_str_eq(d.members[2].host, "node-3");
    raft_config_free(&d);
    for (size_t len = 0; len < bytes.len; len++)
        cr_assert_not(raft_config_decode(slice_of(bytes.data, len), &d));
    buf_put_u8(&bytes, 0);
    cr_assert_not(raft_config_decode(buf_slice(&bytes), &d), "a byte more");
    be32_put(bytes.data + 1, 0xffffffff);
    cr_assert_not(raft_config_decode(buf_slice(&bytes), &d), "a wild count");
    raft_config_free(&c);
    buf_free(&bytes);
}

Test(membership, nobody_is_a_configuration_only_before_the_log)
{
    struct raft_config nobody = RAFT_CONFIG_INIT, d;
    struct buf bytes = BUF_INIT;

    raft_config_encode(&nobody, &bytes);
    cr_assert_not(raft_config_decode(buf_slice(&bytes), &d));
    cr_assert(raft_config_decode_base(buf_slice(&bytes), &d));
    cr_assert_eq(d.len, 0);
    buf_free(&bytes);
}

Test(membership, who_was_given_no_voters_waits_and_is_added)
{
    lab_add_outsider(&lab, 4, 0);
    lab_run(&lab, 5000);
    cr_assert_eq(lab_core(&lab, 4)->term, 0);
    cr_assert_eq(lab_change(&lab, 1, RAFT_ADD_LEARNER, 4), ERR_NONE);
    lab_run(&lab, 500);
    cr_assert_eq(lab_change(&lab, 1, RAFT_PROMOTE, 4), ERR_NONE);
    lab_run(&lab, 500);
    cr_assert_eq(raft_config_voters(raft_config_now(lab_core(&lab, 4))), 4);
}

/* Its owner answers who asked for that, so it must have it, and still lead. */
Test(membership, a_leader_that_is_removed_leads_until_its_own_disk_has_it)
{
    lab.nodes[1].disk_stuck = true;
    cr_assert_eq(lab_change(&lab, 1, RAFT_DEMOTE, 1), ERR_NONE);
    lab_deliver(&lab);
    cr_assert_eq(lab_core(&lab, 1)->commit, 2);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_LEADER);
    lab.nodes[1].disk_stuck = false;
    lab_persist(&lab, 1);
    cr_assert_eq(lab.nodes[1].applied, 2);
    cr_assert_eq(lab_core(&lab, 1)->role, RAFT_FOLLOWER);
}

/* ---- images ------------------------------------------------------------- */

static void compact(int32_t id)
{
    lab_event(&lab, id,
              (struct raft_event){.type = RAFT_COMPACT,
                                  .index = lab_core(&lab, id)->applied});
}

Test(membership, who_is_behind_the_log_gets_an_image_in_chunks)
{
    lab_isolate(&lab, 3, true);
    for (int i = 0; i < 20; i++)
        lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    compact(1);
    cr_assert_eq(lab_core(&lab, 1)->log.len, 0);
    lab_isolate(&lab, 3, false);
    lab_run(&lab, 1000);
    cr_assert_eq(lab.nodes[3].applied, 21);
    cr_assert_eq(lab_core(&lab, 3)->log.base_index, 21);
    cr_assert(slice_eq_str(buf_slice(&lab.nodes[3].image), "the whole image"));
    cr_assert_eq(raft_peer_find(lab_core(&lab, 1), 3)->state, RAFT_REPLICATE);
    cr_assert_not(lab_core(&lab, 1)->snapshot.ready, "released");
    lab_propose(&lab, 1, "b");
    lab_run(&lab, 300);
    cr_assert_eq(lab.nodes[3].applied, 22);
}

Test(membership, a_learner_that_starts_empty_gets_an_image_with_the_members)
{
    cr_assert_eq(lab_change(&lab, 1, RAFT_REMOVE, 3), ERR_NONE);
    lab_run(&lab, 300);
    cr_assert_eq(lab_change(&lab, 1, RAFT_ADD_LEARNER, 4), ERR_NONE);
    lab_run(&lab, 300);
    compact(1);
    compact(2);
    lab_add_outsider(&lab, 4, 3);
    lab_run(&lab, 1500);
    cr_assert_eq(lab.nodes[4].applied, 3);
    const struct raft_config *c = raft_config_now(lab_core(&lab, 4));
    cr_assert_eq(c->len, 3);
    cr_assert_null(raft_config_find(c, 3));
    cr_assert_not(raft_config_find(c, 4)->voter);
}

/* Its log begins before anybody is known in it. */
Test(membership, who_was_given_no_voters_keeps_its_log_until_it_knows_them)
{
    for (int i = 0; i < 4; i++)
        lab_propose(&lab, 1, "a");
    lab_run(&lab, 300);
    cr_assert_eq(lab_change(&lab, 1, RAFT_ADD_LEARNER, 4), ERR_NONE);
    lab_add_outsider(&lab, 4, 0);
    lab_run(&lab, 1500);
    struct raft *r = lab_core(&lab, 4);
    cr_assert_eq(r->applied, 6);
    lab_event(&lab, 4, (struct raft_event){.type = RAFT_COMPACT, .index = 5});
    cr_assert_eq(r->log.base_index, 0, "nobody is known at 5");
    compact(4);
    cr_assert_eq(r->log.base_index, 6);
    cr_assert_eq(raft_base_config(r, &(uint64_t){0})->len, 4);
}

Test(membership, lost_chunks_are_sent_again)
{
    lab_isolate(&lab, 3, true);
    for (int i = 0; i < 20; i++)
        lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    compact(1);
    lab_isolate(&lab, 3, false);
    for (int i = 0; i < 40; i++) {
        lab.cut[1][3] = i % 3 != 0; /* most of the time nothing gets through */
        lab_run(&lab, 400);
    }
    lab.cut[1][3] = false;
    lab_run(&lab, 2500);
    cr_assert_eq(lab.nodes[3].applied, 21);
    cr_assert(slice_eq_str(buf_slice(&lab.nodes[3].image), "the whole image"));
}

/* What 3 says, and how many chunks with bytes that brings it. */
static size_t chunks_for(uint64_t offset)
{
    const struct raft_update *u = &lab.nodes[1].update;
    struct raft_message m = {
        .type = RAFT_SNAPSHOT_REPLY, .from = 3, .to = 1, .term = 1};
    size_t chunks = 0;

    m.snapshot_reply.index = lab_core(&lab, 1)->snapshot.index;
    m.snapshot_reply.offset = offset;
    lab_event(&lab, 1,
              (struct raft_event){.type = RAFT_RECEIVED, .message = &m});
    for (size_t i = 0; i < u->messages_len; i++)
        chunks += u->messages[i].type == RAFT_SNAPSHOT &&
                  u->messages[i].snapshot.len != 0;
    lab_drop(&lab);
    return chunks;
}

/* On a slow link copies of a chunk would hold up the next one, and be answered
 * with yet another. */
Test(membership, a_chunk_that_takes_a_while_is_not_sent_again)
{
    const struct raft_peer *p = raft_peer_find(lab_core(&lab, 1), 3);
    size_t asked = 0;

    lab_isolate(&lab, 3, true);
    for (int i = 0; i < 20; i++)
        lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    compact(1);
    lab_run(&lab, 300);
    lab_cut(&lab, 1, 3, false);
    lab_cut(&lab, 2, 3, false);
    lab.now_ms += 200;
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_TICK});
    while (p->state != RAFT_SNAPSHOTTING)
        cr_assert(lab_deliver_one(&lab));
    lab_drop(&lab);
    cr_assert_eq(chunks_for(4), 1);
    cr_assert_eq(chunks_for(4), 0, "it is on its way");
    lab_cut(&lab, 1, 3, true);
    lab.now_ms += 1100;
    lab_event(&lab, 1, (struct raft_event){.type = RAFT_TICK});
    for (size_t i = 0; i < lab.nodes[1].update.messages_len; i++) {
        const struct raft_message *m = &lab.nodes[1].update.messages[i];

        if (m->type != RAFT_SNAPSHOT)
            continue;
        cr_assert_eq(m->snapshot.len, 0, "only asks");
        asked++;
    }
    cr_assert_eq(asked, 1);
    cr_assert_eq(chunks_for(4), 1, "it was lost");
    cr_assert_eq(chunks_for(8), 1);
}

static void send_chunk(uint64_t term, uint64_t offset, const char *bytes)
{
    struct raft_message m = {.type = RAFT_SNAPSHOT, .from = 1, .to = 3};

    m.term = term;
    m.snapshot.index = 50;
    m.snapshot.index_term = 1;
    m.snapshot.config = raft_config_now(lab_core(&lab, 3));
    m.snapshot.offset = offset;
    m.snapshot.size = 8;
    m.snapshot.data = slice_str(bytes);
    lab_event(&lab, 3,
              (struct raft_event){.type = RAFT_RECEIVED, .message = &m});
}

/* After a restart a leader makes the image of the same entry anew, with its
 * records in another order. */
Test(membership, chunks_of_two_terms_are_not_put_together)
{
    send_chunk(1, 0, "abcd");
    send_chunk(2, 0, "cdab");
    send_chunk(2, 4, "gh");
    send_chunk(2, 6, "ef");
    cr_assert_eq(lab_core(&lab, 3)->log.base_index, 50);
    cr_assert(slice_eq_str(buf_slice(&lab.nodes[3].image), "cdabghef"));
}

Test(membership, nothing_is_installed_before_the_images_identity_is_durable)
{
    lab_isolate(&lab, 3, true);
    for (int i = 0; i < 20; i++)
        lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    compact(1);
    lab.nodes[3].disk_stuck = true;
    lab_isolate(&lab, 3, false);
    lab_run(&lab, 1000);
    cr_assert(lab_core(&lab, 3)->incoming.complete);
    cr_assert_not(lab.nodes[3].install_due);
    cr_assert_eq(lab_core(&lab, 3)->log.base_index, 0);
    lab_persist(&lab, 3);
    cr_assert_eq(lab_core(&lab, 3)->log.base_index, 21);
}

Test(membership, a_compaction_keeps_a_tail_for_those_a_little_behind)
{
    lab_core(&lab, 1)->options.compact_keep_entries = 5;
    lab_isolate(&lab, 3, true);
    for (int i = 0; i < 4; i++)
        lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    for (int i = 0; i < 1; i++)
        lab_propose(&lab, 1, "a");
    lab_deliver(&lab);
    compact(1);
    cr_assert_eq(lab_core(&lab, 1)->log.base_index, 1);
    lab_isolate(&lab, 3, false);
    lab_run(&lab, 1000);
    cr_assert_eq(lab.nodes[3].applied, 6);
    cr_assert_eq(lab_core(&lab, 3)->log.base_index, 0, "by appends");
}
