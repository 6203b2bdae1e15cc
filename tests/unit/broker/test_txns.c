/* Transactions in the producers' state: markers, and what is undecided. */
#include "tests/unit/broker/producers_kit.h"

struct bench {
    struct producers *producers;
    int64_t end_offset;
};

static void begin(struct bench *t)
{
    *t = (struct bench){.producers = producers_new()};
}

static void end(struct bench *t) { producers_free(t->producers); }

/* A transactional batch of one record. */
static int64_t data(struct bench *t, int64_t id)
{
    struct producer known = {.last_sequence = -1};

    producers_get(t->producers, id, &known);
    struct batch b = batch_of((struct sent){
        .id = id,
        .epoch = known.epoch < 0 ? 0 : known.epoch,
        .sequence = known.last_sequence + 1,
        .offset = t->end_offset,
        .attributes = BATCH_TRANSACTIONAL,
    });
    producers_apply(t->producers, &b, now_ms);
    return t->end_offset++;
}

static struct producers_ended marker(struct bench *t, struct control_marker m)
{
    struct producers_ended ended;
    struct batch b = batch_of(
        (struct sent){.id = m.producer_id,
                      .epoch = m.producer_epoch,
                      .sequence = -1,
                      .offset = t->end_offset++,
                      .attributes = BATCH_TRANSACTIONAL | BATCH_CONTROL});

    producers_apply_marker(t->producers, &b, &m, now_ms, &ended);
    return ended;
}

static void expect_undecided(struct bench *t, int64_t wanted, const char *when)
{
    int64_t got = producers_first_undecided(t->producers);

    cr_assert_eq(got, wanted, "%s: %lld instead of %lld", when, (long long)got,
                 (long long)wanted);
}

/* ---- which markers are taken --------------------------------------------- */

struct rule {
    const char *what;
    int16_t epoch; /* the producer's, with a transaction of coordinator 5 */
    bool open;
    int16_t marker_epoch;
    int32_t coordinator_epoch;
    int8_t version;
    enum err wanted;
};

static const struct rule rules[] = {
    {"as it should be", 3, true, 3, 5, 0, ERR_NONE},
    {"version 1", 3, true, 3, 5, 1, ERR_NONE},
    {"a coordinator that was elected", 3, true, 3, 6, 1, ERR_NONE},
    {"a coordinator that was deposed", 3, true, 3, 4, 1,
     ERR_TRANSACTION_COORDINATOR_FENCED},
    {"the same with nothing open", 3, false, 3, 4, 1,
     ERR_TRANSACTION_COORDINATOR_FENCED},
    {"a bumped epoch: it fences", 3, true, 4, 5, 1, ERR_NONE},
    {"an epoch that is over", 3, true, 2, 5, 1, ERR_INVALID_PRODUCER_EPOCH},
    {"both are over", 3, true, 2, 4, 1, ERR_INVALID_PRODUCER_EPOCH},
    {"nothing is open", 3, false, 3, 5, 0, ERR_NONE},
    {"version 2 comes with the next epoch", 3, true, 4, 5, 2, ERR_NONE},
    {"version 2 of an epoch that goes on", 3, true, 3, 5, 2,
     ERR_INVALID_PRODUCER_EPOCH},
    {"version 2 again: its answer was lost", 3, false, 3, 5, 2, ERR_NONE},
    {"version 2 again, late", 3, false, 2, 5, 2, ERR_INVALID_PRODUCER_EPOCH},
    {"version 2 again from one deposed", 3, false, 3, 4, 2,
     ERR_TRANSACTION_COORDINATOR_FENCED},
    {"the last epoch", INT16_MAX, true, INT16_MAX, 5, 1, ERR_NONE},
};

Test(txns, which_markers_are_taken)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const struct rule *r = &rules[i];
        struct bench t;

        begin(&t);
        marker(&t, (struct control_marker){7, r->epoch, 5, true});
        if (r->open)
            data(&t, 7);
        enum err got = producers_check_marker(
            t.producers,
            &(struct control_marker){7, r->marker_epoch, r->coordinator_epoch,
                                     true},
            &(struct marker_origin){.transaction_version = r->version});
        cr_assert_eq(got, r->wanted, "%s: %s instead of %s", r->what,
                     err_name(got), err_name(r->wanted));
        end(&t);
    }
}

/* Of an older client, whose transactions all have one epoch. */
Test(txns, a_marker_that_was_sent_twice_ends_nothing_else)
{
    const int64_t life = (int64_t)(5 * MARKER_DECISIONS);
    const struct {
        const char *what;
        int32_t coordinator_epoch;
        int64_t decision;
        enum err wanted;
    } cases[] = {
        {"the next decision", 5, life + 8, ERR_NONE},
        {"the same again", 5, life + 7, ERR_INVALID_PRODUCER_EPOCH},
        {"an earlier one", 5, life + 1, ERR_INVALID_PRODUCER_EPOCH},
        {"of a coordinator that does not tell", 5, 0, ERR_NONE},
        {"of another life", 5, life - 1, ERR_NONE},
        {"of the next coordinator", 6, life + 7, ERR_NONE},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench t;

        begin(&t);
        data(&t, 7);
        marker(&t, (struct control_marker){7, 0, 5, true});
        producers_note_decision(t.producers, 7, life + 7);
        struct control_marker late = {7, 0, cases[i].coordinator_epoch, true};
        struct marker_origin origin = {1, cases[i].decision};
        cr_assert_eq(producers_check_marker(t.producers, &late, &origin),
                     ERR_NONE, "%s, nothing open: a retry", cases[i].what);
        data(&t, 7);
        enum err got = producers_check_marker(t.producers, &late, &origin);
        cr_assert_eq(got, cases[i].wanted, "%s: %s", cases[i].what,
                     err_name(got));
        end(&t);
    }
}

Test(txns, any_marker_of_an_unknown_producer_is_taken)
{
    struct bench t;

    begin(&t);
    cr_assert_eq(producers_check_marker(NULL,
                                        &(struct control_marker){1, 9, 9, 1},
                                        &(struct marker_origin){2, 0}),
                 ERR_NONE);
    cr_assert_eq(producers_check_marker(t.producers,
                                        &(struct control_marker){1, 9, 9, true},
                                        &(struct marker_origin){2, 0}),
                 ERR_NONE);
    struct producers_ended ended =
        marker(&t, (struct control_marker){1, 9, 9, true});
    cr_assert_eq(ended.first_offset, -1, "nothing was open");
    expect_undecided(&t, -1, "an empty transaction");
    end(&t);
}

Test(txns, a_marker_leaves_its_epochs)
{
    struct producer p;
    struct bench t;

    begin(&t);
    data(&t, 1);
    marker(&t, (struct control_marker){1, 2, 8, false});
    cr_assert(producers_get(t.producers, 1, &p));
    cr_assert_eq(p.epoch, 2);
    cr_assert_eq(p.coordinator_epoch, 8);
    cr_assert_eq(p.txn_first_offset, -1);
    cr_assert_eq(p.last_sequence, -1, "a new epoch starts at 0");
    end(&t);
}

/* ---- which batches are --------------------------------------------------- */

struct batch_rule {
    const char *what;
    bool open;
    struct sent sent;
    enum err wanted;
};

/* The producer wrote sequence 0 with epoch 3, and a marker of that epoch ended
 * an earlier transaction. */
static const struct batch_rule batch_rules[] = {
    {"the next of the transaction",
     true,
     {.epoch = 3, .sequence = 1, .attributes = BATCH_TRANSACTIONAL},
     ERR_NONE},
    {"outside of it", true, {.epoch = 3, .sequence = 1}, ERR_INVALID_TXN_STATE},
    {"outside, with the epoch of the next",
     true,
     {.epoch = 4, .sequence = 0},
     ERR_INVALID_TXN_STATE},
    {"a gap is found first",
     true,
     {.epoch = 3, .sequence = 5},
     ERR_OUT_OF_ORDER_SEQUENCE_NUMBER},
    {"a gap in it",
     true,
     {.epoch = 3, .sequence = 5, .attributes = BATCH_TRANSACTIONAL},
     ERR_OUT_OF_ORDER_SEQUENCE_NUMBER},
    {"fenced",
     true,
     {.epoch = 2, .sequence = 1, .attributes = BATCH_TRANSACTIONAL},
     ERR_INVALID_PRODUCER_EPOCH},
    {"a coordinator's, without sequence",
     true,
     {.epoch = 3, .sequence = -1, .attributes = BATCH_TRANSACTIONAL},
     ERR_NONE},
    {"a coordinator's, fenced",
     true,
     {.epoch = 2, .sequence = -1, .attributes = BATCH_TRANSACTIONAL},
     ERR_INVALID_PRODUCER_EPOCH},
    {"the first of the next transaction",
     false,
     {.epoch = 3, .sequence = 1, .attributes = BATCH_TRANSACTIONAL},
     ERR_NONE},
    {"no transaction at all", false, {.epoch = 3, .sequence = 1}, ERR_NONE},
    {"the first of a new epoch",
     false,
     {.epoch = 4, .sequence = 0, .attributes = BATCH_TRANSACTIONAL},
     ERR_NONE},
    {"the second of a new epoch",
     false,
     {.epoch = 4, .sequence = 1, .attributes = BATCH_TRANSACTIONAL},
     ERR_OUT_OF_ORDER_SEQUENCE_NUMBER},
};

Test(txns, which_batches_are_taken)
{
    for (size_t i = 0; i < sizeof batch_rules / sizeof *batch_rules; i++) {
        const struct batch_rule *r = &batch_rules[i];
        struct sent sent = r->sent;
        int64_t offset, timestamp;
        enum err got;
        struct bench t;

        begin(&t);
        marker(&t, (struct control_marker){7, 3, 5, true});
        data(&t, 7);
        if (!r->open)
            marker(&t, (struct control_marker){7, 3, 5, true});
        sent.id = 7;
        struct batch b = batch_of(sent);
        enum producers_verdict verdict =
            producers_check(t.producers, &b, &offset, &timestamp, &got);
        cr_assert_eq(got, r->wanted, "%s: %s instead of %s", r->what,
                     err_name(got), err_name(r->wanted));
        cr_assert_eq(verdict, r->wanted == ERR_NONE ? PRODUCERS_APPEND
                                                    : PRODUCERS_REFUSE);
        end(&t);
    }
}

/* ---- what is undecided --------------------------------------------------- */

Test(txns, undecided_until_the_marker_is_committed)
{
    struct bench t;

    begin(&t);
    expect_undecided(&t, -1, "nothing");
    data(&t, 1);
    data(&t, 2);
    data(&t, 1);
    expect_undecided(&t, 0, "two open");
    struct producers_ended ended =
        marker(&t, (struct control_marker){1, 0, 0, true}); /* at 3 */
    cr_assert_eq(ended.first_offset, 0);
    cr_assert_eq(ended.last_stable_offset, 1, "that of the other one");
    expect_undecided(&t, 0, "its marker may be lost yet");
    producers_committed(t.producers, 3);
    expect_undecided(&t, 0, "below its marker");
    producers_committed(t.producers, 4);
    expect_undecided(&t, 1, "the other one");
    ended = marker(&t, (struct control_marker){2, 0, 0, false}); /* at 4 */
    cr_assert_eq(ended.first_offset, 1);
    cr_assert_eq(ended.last_stable_offset, 5, "nothing is open");
    producers_committed(t.producers, 5);
    expect_undecided(&t, -1, "all done");
    end(&t);
}

Test(txns, the_next_of_the_same_producer)
{
    struct bench t;

    begin(&t);
    data(&t, 1);
    marker(&t, (struct control_marker){1, 0, 0, true});
    data(&t, 1); /* 2 */
    expect_undecided(&t, 0, "two of one producer");
    producers_committed(t.producers, 2);
    expect_undecided(&t, 2, "the second");
    end(&t);
}

Test(txns, truncation_forgets_those_that_began_behind)
{
    struct bench t;

    begin(&t);
    data(&t, 1);
    data(&t, 2);
    data(&t, 1);
    cr_assert(producers_truncate(t.producers, 1));
    expect_undecided(&t, 0, "the first goes on");
    cr_assert(producers_truncate(t.producers, 0));
    expect_undecided(&t, -1, "none");
    end(&t);
}

Test(txns, a_cut_marker_is_asked_of_the_log)
{
    struct bench t;

    begin(&t);
    data(&t, 1);
    marker(&t, (struct control_marker){1, 0, 0, true});
    cr_assert_not(producers_truncate(t.producers, 1));
    end(&t);
}

Test(txns, a_snapshot_tells_of_open_ones)
{
    struct buf bytes = BUF_INIT;
    const char *why;
    struct bench t;

    begin(&t);
    data(&t, 1);
    marker(&t, (struct control_marker){1, 0, 6, true});
    data(&t, 2);
    data(&t, 3);
    data(&t, 2);
    producers_encode(t.producers, &bytes);
    producers_free(t.producers);
    t.producers = producers_decode(buf_slice(&bytes), 5, now_ms, &why);
    expect_undecided(&t, 2, "of producer 2");
    cr_assert_eq(producers_check_marker(t.producers,
                                        &(struct control_marker){1, 0, 5, true},
                                        &(struct marker_origin){0, 0}),
                 ERR_TRANSACTION_COORDINATOR_FENCED);
    struct producers_ended ended =
        marker(&t, (struct control_marker){2, 0, 0, false});
    cr_assert_eq(ended.first_offset, 2);
    cr_assert_eq(ended.last_stable_offset, 3);
    buf_free(&bytes);
    end(&t);
}

Test(txns, an_open_one_does_not_expire)
{
    struct producer p;
    struct bench t;

    begin(&t);
    data(&t, 1);
    data(&t, 2);
    marker(&t, (struct control_marker){2, 0, 0, true});
    producers_committed(t.producers, 3);
    while (producers_expire(t.producers, now_ms + 1000000, 1000))
        ;
    cr_assert(producers_get(t.producers, 1, &p));
    cr_assert_not(producers_get(t.producers, 2, &p));
    expect_undecided(&t, 0, "after a long time");
    end(&t);
}
