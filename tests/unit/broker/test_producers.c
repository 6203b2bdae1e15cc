#include "tests/unit/broker/producers_kit.h"

#include <stdio.h>
#include <stdlib.h>

/* A partition's log, as far as producers go. */
struct bench {
    struct producers *producers;
    int64_t end_offset;
    int64_t now_ms;
};

static struct bench start(void)
{
    return (struct bench){.producers = producers_new(), .now_ms = now_ms};
}

static void finish(struct bench *t) { producers_free(t->producers); }

/* "append at 7", "duplicate of 3", or the name of the error. */
static const char *verdict(struct bench *t, struct sent s)
{
    static char text[64];
    int64_t offset, timestamp;
    enum err error;

    s.offset = t->end_offset;
    struct batch b = batch_of(s);
    switch (producers_check(t->producers, &b, &offset, &timestamp, &error)) {
    case PRODUCERS_APPEND:
        snprintf(text, sizeof text, "append at %lld", (long long)t->end_offset);
        break;
    case PRODUCERS_DUPLICATE:
        snprintf(text, sizeof text, "duplicate of %lld", (long long)offset);
        break;
    case PRODUCERS_REFUSE:
        snprintf(text, sizeof text, "%s", err_name(error));
        break;
    }
    return text;
}

/* Into the log without a question, as followers do. */
static void copy(struct bench *t, struct sent s)
{
    s.offset = t->end_offset;
    struct batch b = batch_of(s);
    take_batch(t->producers, &b, t->now_ms);
    t->end_offset = batch_last_offset(&b) + 1;
}

static const char *produce(struct bench *t, struct sent s)
{
    const char *text = verdict(t, s);

    if (strncmp(text, "append", 6) == 0)
        copy(t, s);
    return text;
}

static void expect(const char *got, const char *wanted)
{
    cr_assert_str_eq(got, wanted, "%s instead of %s", got, wanted);
}

Test(producers, batches_in_sequence_are_appended)
{
    struct bench t = start();

    expect(produce(&t, (struct sent){.id = 1, .records = 3}), "append at 0");
    expect(produce(&t, (struct sent){.id = 1, .sequence = 3}), "append at 3");
    expect(produce(&t, (struct sent){.id = 2, .sequence = 0}), "append at 4");
    expect(produce(&t, (struct sent){.id = 1, .sequence = 4}), "append at 5");
    cr_assert_eq(producers_count(t.producers), 2);
    finish(&t);
}

Test(producers, a_gap_or_a_step_back_is_out_of_order)
{
    struct bench t = start();

    produce(&t, (struct sent){.id = 1, .records = 3});
    expect(produce(&t, (struct sent){.id = 1, .sequence = 4}),
           "OUT_OF_ORDER_SEQUENCE_NUMBER");
    expect(produce(&t, (struct sent){.id = 1, .sequence = 2}),
           "OUT_OF_ORDER_SEQUENCE_NUMBER");
    expect(produce(&t, (struct sent){.id = 1, .sequence = 3}), "append at 3");
    finish(&t);
}

Test(producers, any_of_the_last_five_again_is_answered_with_its_offset)
{
    struct bench t = start();

    for (int i = 0; i < 6; i++)
        produce(&t, (struct sent){.id = 1, .sequence = 2 * i, .records = 2});
    for (int i = 1; i < 6; i++) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "duplicate of %d", 2 * i);
        expect(verdict(&t,
                       (struct sent){.id = 1, .sequence = 2 * i, .records = 2}),
               wanted);
    }
    expect(verdict(&t, (struct sent){.id = 1, .sequence = 0, .records = 2}),
           "OUT_OF_ORDER_SEQUENCE_NUMBER");
    finish(&t);
}

Test(producers, a_batch_that_overlaps_an_earlier_one_is_no_duplicate)
{
    struct bench t = start();

    produce(&t, (struct sent){.id = 1, .records = 4});
    expect(verdict(&t, (struct sent){.id = 1, .records = 3}),
           "OUT_OF_ORDER_SEQUENCE_NUMBER");
    expect(verdict(&t, (struct sent){.id = 1, .sequence = 1, .records = 3}),
           "OUT_OF_ORDER_SEQUENCE_NUMBER");
    finish(&t);
}

Test(producers, an_unknown_id_may_start_anywhere)
{
    struct bench t = start();

    expect(produce(&t, (struct sent){.id = 1, .sequence = 77, .epoch = 3}),
           "append at 0");
    expect(produce(&t, (struct sent){.id = 1, .sequence = 78, .epoch = 3}),
           "append at 1");
    finish(&t);
}

Test(producers, a_lower_epoch_is_a_zombie)
{
    struct bench t = start();

    produce(&t, (struct sent){.id = 1, .epoch = 4});
    expect(produce(&t, (struct sent){.id = 1, .epoch = 3, .sequence = 1}),
           "INVALID_PRODUCER_EPOCH");
    expect(produce(&t, (struct sent){.id = 1, .epoch = 3, .sequence = 0}),
           "INVALID_PRODUCER_EPOCH");
    finish(&t);
}

Test(producers, a_new_epoch_starts_at_zero_and_forgets_the_old_batches)
{
    struct bench t = start();

    produce(&t, (struct sent){.id = 1, .records = 2});
    expect(verdict(&t, (struct sent){.id = 1, .epoch = 1, .sequence = 2}),
           "OUT_OF_ORDER_SEQUENCE_NUMBER");
    expect(produce(&t, (struct sent){.id = 1, .epoch = 1, .records = 2}),
           "append at 2");
    expect(verdict(&t, (struct sent){.id = 1, .epoch = 1, .records = 2}),
           "duplicate of 2");
    expect(verdict(&t, (struct sent){.id = 1, .epoch = 0, .records = 2}),
           "INVALID_PRODUCER_EPOCH");
    finish(&t);
}

Test(producers, sequences_wrap_from_the_largest_to_zero)
{
    struct bench t = start();

    produce(&t, (struct sent){.id = 1, .sequence = INT32_MAX});
    expect(verdict(&t, (struct sent){.id = 1, .sequence = 1}),
           "OUT_OF_ORDER_SEQUENCE_NUMBER");
    expect(produce(&t, (struct sent){.id = 1, .sequence = 0}), "append at 1");
    expect(verdict(&t, (struct sent){.id = 1, .sequence = INT32_MAX}),
           "duplicate of 0");

    /* A batch may lie across the wrap. */
    produce(&t,
            (struct sent){.id = 2, .sequence = INT32_MAX - 1, .records = 4});
    expect(verdict(
               &t,
               (struct sent){.id = 2, .sequence = INT32_MAX - 1, .records = 4}),
           "duplicate of 2");
    expect(produce(&t, (struct sent){.id = 2, .sequence = 2}), "append at 6");
    finish(&t);
}

/* A group coordinator's transactional offset commits. */
Test(producers, a_batch_without_sequence_is_checked_for_its_epoch_only)
{
    struct bench t = start();
    struct sent s = {.id = 1, .epoch = 2, .sequence = -1};

    expect(produce(&t, s), "append at 0");
    expect(produce(&t, s), "append at 1");
    s.epoch = 1;
    expect(produce(&t, s), "INVALID_PRODUCER_EPOCH");
    finish(&t);
}

Test(producers, a_follower_believes_what_the_leader_wrote)
{
    struct bench t = start();

    copy(&t, (struct sent){.id = 1, .epoch = 5, .sequence = 10});
    copy(&t, (struct sent){.id = 1, .epoch = 5, .sequence = 99});
    expect(verdict(&t, (struct sent){.id = 1, .epoch = 5, .sequence = 100}),
           "append at 2");
    copy(&t, (struct sent){.id = 1, .epoch = 4, .sequence = 7});
    expect(verdict(&t, (struct sent){.id = 1, .epoch = 4, .sequence = 8}),
           "append at 3");
    finish(&t);
}

Test(producers, a_duplicate_is_answered_with_its_own_timestamp)
{
    struct bench t = start();
    int64_t offset, timestamp;
    enum err error;
    /* Client clocks go back, and miss. */
    const int64_t times[] = {5000, 9000, 7000, -1, 12000};

    for (int i = 0; i < 5; i++)
        copy(&t, (struct sent){.id = 1, .sequence = i, .timestamp = times[i]});
    for (int i = 0; i < 5; i++) {
        struct batch b = batch_of((struct sent){.id = 1, .sequence = i});
        cr_assert_eq(
            producers_check(t.producers, &b, &offset, &timestamp, &error),
            PRODUCERS_DUPLICATE);
        cr_assert_eq(timestamp, times[i], "batch %d: %lld", i,
                     (long long)timestamp);
    }
    finish(&t);
}

Test(producers, absurd_timestamps_do_no_harm)
{
    struct bench t = start();
    const int64_t times[] = {INT64_MIN, INT64_MAX, -1, 0, INT64_MAX, INT64_MIN};

    for (int i = 0; i < 6; i++)
        copy(&t, (struct sent){.id = 1, .sequence = i, .timestamp = times[i]});
    expect(verdict(&t, (struct sent){.id = 1, .sequence = 2}),
           "duplicate of 2");
    cr_assert(producers_truncate(t.producers, 3));
    expect(verdict(&t, (struct sent){.id = 1, .sequence = 3}), "append at 6");
    finish(&t);
}

/* ---- transactions
 * ------------------------------------------------------------ */

Test(producers, an_open_transaction_refuses_what_is_outside_of_it)
{
    struct bench t = start();
    struct sent in = {.id = 1, .attributes = BATCH_TRANSACTIONAL};

    expect(produce(&t, in), "append at 0");
    expect(produce(&t, (struct sent){.id = 1, .sequence = 1}),
           "INVALID_TXN_STATE");
    in.sequence = 1;
    expect(produce(&t, in), "append at 1");
    copy(&t, (struct sent){.id = 1,
                           .sequence = -1,
                           .attributes = BATCH_TRANSACTIONAL | BATCH_CONTROL});
    expect(produce(&t, (struct sent){.id = 1, .sequence = 2}), "append at 3");
    finish(&t);
}

/* KIP-890: each transaction ends with a higher epoch. */
Test(producers, behind_a_marker_of_a_new_epoch_sequences_start_at_zero)
{
    struct bench t = start();

    copy(&t, (struct sent){.id = 1, .attributes = BATCH_TRANSACTIONAL});
    copy(&t, (struct sent){.id = 1,
                           .epoch = 1,
                           .sequence = -1,
                           .attributes = BATCH_TRANSACTIONAL | BATCH_CONTROL});
    expect(verdict(&t, (struct sent){.id = 1, .epoch = 1, .sequence = 1}),
           "OUT_OF_ORDER_SEQUENCE_NUMBER");
    expect(verdict(&t, (struct sent){.id = 1, .epoch = 1}), "append at 2");
    finish(&t);
}

/* ---- forgetting
 * ---------------------------------------------------------------- */

Test(producers, ids_expire_when_they_wrote_nothing_for_long)
{
    struct bench t = start();

    /* By the time of the append: these records are a year old. */
    produce(&t, (struct sent){.id = 1, .timestamp = 1000});
    t.now_ms += 60000;
    produce(&t, (struct sent){.id = 2});
    t.now_ms += 60000;
    produce(&t, (struct sent){.id = 1, .sequence = 1, .timestamp = 2000});

    cr_assert_not(producers_expire(t.producers, t.now_ms + 29000, 90000));
    cr_assert_eq(producers_count(t.producers), 2);
    producers_expire(t.producers, t.now_ms + 30000, 90000);
    cr_assert_eq(producers_count(t.producers), 1);
    expect(verdict(&t, (struct sent){.id = 2, .sequence = 50}), "append at 3");
    expect(verdict(&t, (struct sent){.id = 1, .sequence = 1}),
           "duplicate of 2");
    finish(&t);
}

Test(producers, an_open_transaction_keeps_its_producer)
{
    struct bench t = start();

    for (int i = 0; i < 3; i++)
        produce(&t, (struct sent){.id = i, .attributes = BATCH_TRANSACTIONAL});
    produce(&t, (struct sent){.id = 3});
    cr_assert_not(producers_expire(t.producers, now_ms * 2, 1000));
    cr_assert_eq(producers_count(t.producers), 3);
    finish(&t);
}

/* One call may hold up a loop only so long. */
Test(producers, expiring_a_million_takes_many_short_calls)
{
    enum { IDS = 5000 };
    struct bench t = start();
    int calls = 1;

    for (int i = 0; i < IDS; i++)
        produce(&t, (struct sent){.id = i});
    cr_assert(producers_expire(t.producers, now_ms + 1000, 1000));
    cr_assert_gt(producers_count(t.producers), IDS - 1200);
    while (producers_expire(t.producers, now_ms + 1000, 1000))
        calls++;
    cr_assert_eq(producers_count(t.producers), 0);
    cr_assert_gt(calls, 3);
    expect(produce(&t, (struct sent){.id = 7, .sequence = 9}),
           "append at 5000");
    finish(&t);
}

Test(producers, beyond_the_most_the_longest_idle_is_forgotten)
{
    struct bench t = start();

    copy(&t, (struct sent){.id = 0, .attributes = BATCH_TRANSACTIONAL});
    for (int i = 1; i <= PRODUCERS_MAX; i++)
        copy(&t, (struct sent){.id = i});
    cr_assert_eq(producers_count(t.producers), PRODUCERS_MAX);
    expect(verdict(&t, (struct sent){.id = 1}), "append at 1048577");
    expect(verdict(&t, (struct sent){.id = 2}), "duplicate of 2");
    expect(
        verdict(&t, (struct sent){.id = 0, .attributes = BATCH_TRANSACTIONAL}),
        "duplicate of 0");
    finish(&t);
}

/* A marker is still to come for each, and without it the stable part of the log
 * would end nowhere, or their records be shown. */
Test(producers, beyond_the_most_no_open_transaction_is_forgotten)
{
    enum { OPEN = 100 };
    struct bench t = start();

    for (int i = 0; i < OPEN; i++)
        copy(&t, (struct sent){.id = i, .attributes = BATCH_TRANSACTIONAL});
    for (int i = OPEN; i < PRODUCERS_MAX + 1000; i++)
        copy(&t, (struct sent){.id = i});
    cr_assert_eq(producers_count(t.producers), PRODUCERS_MAX);
    cr_assert_eq(producers_first_undecided(t.producers), 0);
    for (int i = 0; i < OPEN; i++) {
        struct producer e;
        cr_assert(producers_get(t.producers, i, &e), "%d", i);
        cr_assert_eq(e.txn_first_offset, i);
    }
    finish(&t);
}

Test(producers, with_as_many_open_transactions_a_new_one_is_refused)
{
    struct bench t = start();
    struct producer e;

    for (int i = 0; i < PRODUCERS_MAX; i++)
        copy(&t, (struct sent){.id = i, .attributes = BATCH_TRANSACTIONAL});
    expect(verdict(&t, (struct sent){.id = PRODUCERS_MAX,
                                     .attributes = BATCH_TRANSACTIONAL}),
           "KAFKA_STORAGE_ERROR");
    expect(verdict(&t, (struct sent){.id = 0,
                                     .sequence = 1,
                                     .attributes = BATCH_TRANSACTIONAL}),
           "append at 1048576");
    /* Others come and go. */
    for (int i = 0; i < PRODUCERS_MAX / 4; i++)
        copy(&t, (struct sent){.id = PRODUCERS_MAX + i});
    cr_assert_lt(producers_count(t.producers),
                 PRODUCERS_MAX + PRODUCERS_MAX / 8);
    for (int i = 0; i < PRODUCERS_MAX; i++)
        cr_assert(producers_get(t.producers, i, &e), "%d", i);
    finish(&t);
}

/* ---- truncation
 * ----------------------------------------------------------------- */

Test(producers, truncation_takes_back_batches)
{
    struct bench t = start();

    for (int i = 0; i < 4; i++)
        produce(&t, (struct sent){.id = 1, .sequence = i});
    produce(&t, (struct sent){.id = 2});
    cr_assert(producers_truncate(t.producers, 2));
    t.end_offset = 2;
    cr_assert_eq(producers_count(t.producers), 1);
    expect(verdict(&t, (struct sent){.id = 1, .sequence = 1}),
           "duplicate of 1");
    expect(produce(&t, (struct sent){.id = 1, .sequence = 2}), "append at 2");
    finish(&t);
}

Test(producers, truncation_cannot_bring_back_what_was_forgotten)
{
    struct bench t = start();

    for (int i = 0; i < 7; i++)
        produce(&t, (struct sent){.id = 1, .sequence = i});
    cr_assert_not(producers_truncate(t.producers, 2));
    finish(&t);

    t = start();
    produce(&t, (struct sent){.id = 1});
    produce(&t, (struct sent){.id = 1, .epoch = 1});
    cr_assert_not(producers_truncate(t.producers, 1));
    finish(&t);

    t = start();
    produce(&t, (struct sent){.id = 1, .attributes = BATCH_TRANSACTIONAL});
    copy(&t, (struct sent){.id = 1,
                           .sequence = -1,
                           .attributes = BATCH_TRANSACTIONAL | BATCH_CONTROL});
    cr_assert_not(producers_truncate(t.producers, 1));
    finish(&t);
}

Test(producers, truncation_leaves_the_others_their_timestamps)
{
    struct bench t = start();
    int64_t offset, timestamp;
    enum err error;

    for (int i = 0; i < 4; i++)
        produce(&t, (struct sent){
                        .id = 1, .sequence = i, .timestamp = 1000 * i * i});
    cr_assert(producers_truncate(t.producers, 2));
    for (int i = 0; i < 2; i++) {
        struct batch b = batch_of((struct sent){.id = 1, .sequence = i});
        producers_check(t.producers, &b, &offset, &timestamp, &error);
        cr_assert_eq(timestamp, 1000 * i * i);
    }
    finish(&t);
}

/* The batch is older than the snapshot and is left, the marker is not. */
Test(producers, a_snapshot_does_not_tell_what_was_before_it)
{
    struct bench t = start();
    struct buf bytes = BUF_INIT;
    const char *why;

    produce(&t, (struct sent){.id = 1, .attributes = BATCH_TRANSACTIONAL});
    copy(&t, (struct sent){.id = 1,
                           .sequence = -1,
                           .attributes = BATCH_TRANSACTIONAL | BATCH_CONTROL});
    producers_encode(t.producers, &bytes);
    finish(&t);
    t.producers = producers_decode(buf_slice(&bytes), 2, now_ms, &why);
    cr_assert_not(producers_truncate(t.producers, 1));
    finish(&t);
    buf_free(&bytes);
}

Test(producers, truncation_takes_back_the_start_of_a_transaction)
{
    struct bench t = start();

    produce(&t, (struct sent){.id = 1});
    produce(&t, (struct sent){
                    .id = 1, .sequence = 1, .attributes = BATCH_TRANSACTIONAL});
    cr_assert(producers_truncate(t.producers, 1));
    expect(verdict(&t, (struct sent){.id = 1, .sequence = 1}), "append at 2");
    finish(&t);
}
