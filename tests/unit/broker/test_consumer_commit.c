/* Answers wait for the commit; what becomes of decisions that fail, or fail in
 * the middle; records of others. */
#include "tests/unit/broker/consumer_fixture.h"

#include "proto/kafka/coordinator_record.h"

#include <stdlib.h>

static struct realm r;

static void set_up(void) { realm_open(&r); }
static void tear_down(void) { realm_close(&r); }

TestSuite(consumer_commit, .init = set_up, .fini = tear_down);

/* ---- answers wait for the commit -----------------------------------------*/

Test(consumer_commit, an_answer_waits_for_its_records)
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

Test(consumer_commit, an_answer_waits_for_what_others_decided)
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

Test(consumer_commit, a_late_commit_fails_the_answer_and_those_to_come_wait)
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

Test(consumer_commit, what_was_loaded_may_be_in_doubt)
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

Test(consumer_commit, a_failed_append_changes_nothing)
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
Test(consumer_commit, half_a_write_is_put_right)
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

/* ---- damaged and foreign records -----------------------------------------*/

Test(consumer_commit, records_that_make_no_sense)
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
Test(consumer_commit, the_list_of_partitions_is_replaced_by_the_hash)
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
