/* Who waits until it is known that a partition is in its transaction: nobody of
 * a producer overtakes another.  The coordinator is the test. */
#include "broker/txn_verify.h"

#include "base/alloc.h"
#include "broker/live.h"
#include "broker/replica/partition.h"
#include "broker/txn_client.h"
#include "producers_kit.h"

#include <stdio.h>
#include <string.h>

enum { ASKED_MAX = 16, WAITING_MAX = 16, EPOCH = 4, ID = 7 };

static struct live live;
static struct shard shard;
static struct partition partition;
static struct txn_verify *asked[ASKED_MAX]; /* not answered yet */
static int asked_len;
static bool gone;

/* One batch that waits, and what became of it. */
struct waiting {
    struct txn_verify verify;
    int number;
    bool opens;           /* a yes opens its transaction */
    struct waiting *then; /* arrives while the answer is heard */
};

static struct waiting all[WAITING_MAX];
static int all_len;
static char heard[400]; /* "1:0 2:0 ": numbers and errors in their order */

void txn_client_verify(struct txn_verify *v)
{
    cr_assert_lt(asked_len, ASKED_MAX);
    asked[asked_len++] = v;
}

struct partition *shard_partition(struct shard *s, const struct uuid *topic_id,
                                  int32_t index, enum err *error)
{
    *error = gone ? ERR_UNKNOWN_TOPIC_OR_PARTITION : ERR_NONE;
    return gone ? NULL : &partition;
}

static void open_txn(int64_t id, int16_t epoch)
{
    struct batch b = batch_of((struct sent){.id = id,
                                            .epoch = epoch,
                                            .timestamp = now_ms,
                                            .attributes = BATCH_TRANSACTIONAL});

    producers_apply(partition.producers, &b, now_ms);
}

static void arrive(struct waiting *w);

static void done(struct txn_verify *v, struct partition *p, enum err error)
{
    struct waiting *w = LIST_ENTRY(v, struct waiting, verify);
    size_t len = strlen(heard);

    cr_assert_eq(p, gone ? NULL : &partition);
    snprintf(heard + len, sizeof heard - len, "%d:%d ", w->number, error);
    if (error == ERR_NONE && w->opens)
        open_txn(v->question.producer_id, v->question.producer_epoch);
    if (w->then != NULL)
        arrive(w->then);
    memset(v, 0xee, sizeof *v); /* its owner may drop it */
}

static void arrive(struct waiting *w)
{
    if (txn_verify_needed(&partition, w->verify.question.producer_id,
                          w->verify.question.producer_epoch))
        txn_verify(&w->verify, &partition);
    else
        done(&w->verify, &partition, ERR_NONE);
}

static struct waiting *batch(int64_t id, int16_t epoch)
{
    struct waiting *w = &all[all_len];

    cr_assert_lt(all_len, WAITING_MAX);
    *w = (struct waiting){
        .number = ++all_len,
        .opens = true,
        .verify = {.question = {.producer_id = id, .producer_epoch = epoch},
                   .done = done}};
    return w;
}

static void comes(void) { arrive(batch(ID, EPOCH)); }

/* The oldest question is answered. */
static void answer(enum err error)
{
    cr_assert_gt(asked_len, 0);
    struct txn_verify *v = asked[0];

    memmove(asked, asked + 1, (size_t)--asked_len * sizeof *asked);
    v->error = error;
    txn_verify_answered(&v->task);
}

static void expect(const char *wanted, int questions)
{
    cr_assert_str_eq(heard, wanted);
    cr_assert_eq(asked_len, questions);
}

static void set_up(void)
{
    live.config.transaction_partition_verification_enable = true;
    shard.live = &live;
    partition.shard = &shard;
    partition.producers = producers_new();
}

static void tear_down(void)
{
    cr_expect_eq(map_count(&partition.verifying), 0);
    txn_verify_forget(&partition);
    producers_free(partition.producers);
}

TestSuite(txn_verify, .init = set_up, .fini = tear_down);

Test(txn_verify, one_question_opens_the_way_for_all_behind)
{
    comes();
    comes();
    comes();
    expect("", 1);
    answer(ERR_NONE);
    expect("1:0 2:0 3:0 ", 0);
}

/* A batch that arrives while the second's answer is on its way, although the
 * first has opened the transaction. */
Test(txn_verify, nobody_overtakes_when_the_first_did_not_open)
{
    struct waiting *first = batch(ID, EPOCH);

    first->opens = false;
    arrive(first);
    comes();
    answer(ERR_NONE);
    expect("1:0 ", 1);
    open_txn(ID, EPOCH);
    comes();
    expect("1:0 ", 1);
    answer(ERR_NONE);
    expect("1:0 2:0 3:0 ", 0);
}

Test(txn_verify, who_arrives_while_an_answer_is_heard_is_last)
{
    struct waiting *first = batch(ID, EPOCH), *last;

    arrive(first);
    comes();
    comes();
    last = batch(ID, EPOCH);
    first->then = last;
    answer(ERR_NONE);
    expect("1:0 2:0 3:0 4:0 ", 0);
}

Test(txn_verify, a_passing_error_is_for_all_behind)
{
    comes();
    comes();
    answer(ERR_NOT_ENOUGH_REPLICAS);
    expect("1:19 2:19 ", 0);
    comes();
    expect("1:19 2:19 ", 1);
    answer(ERR_NONE);
    expect("1:19 2:19 3:0 ", 0);
}

/* What was wrong with the first need not be wrong with a later transaction. */
Test(txn_verify, another_error_is_for_the_first_alone)
{
    comes();
    arrive(batch(ID, EPOCH + 1));
    answer(ERR_INVALID_PRODUCER_EPOCH);
    expect("1:47 ", 1);
    answer(ERR_NONE);
    expect("1:47 2:0 ", 0);
}

Test(txn_verify, producers_do_not_wait_for_each_other)
{
    comes();
    arrive(batch(ID + 1, EPOCH));
    expect("", 2);
    answer(ERR_NONE);
    answer(ERR_NONE);
    expect("1:0 2:0 ", 0);
}

Test(txn_verify, a_marker_ends_what_waits)
{
    struct control_marker m = {.producer_id = ID, .producer_epoch = EPOCH};

    comes();
    comes();
    txn_verify_ended(&partition, &m, 1);
    comes();
    answer(ERR_NONE);
    expect("1:48 2:48 ", 1);
    answer(ERR_NONE);
    expect("1:48 2:48 3:0 ", 0);
}

Test(txn_verify, another_leadership_makes_the_answer_worthless)
{
    comes();
    comes();
    partition.state.leader_epoch++;
    answer(ERR_NONE);
    expect("1:6 2:6 ", 0);
}

Test(txn_verify, a_replica_that_goes_takes_nobody_along)
{
    comes();
    comes();
    txn_verify_forget(&partition);
    gone = true;
    answer(ERR_NONE);
    expect("1:3 2:3 ", 0);
}

/* One of the same topic came after it: what waits there is not mixed up. */
Test(txn_verify, a_replica_that_comes_again_knows_nobody)
{
    comes();
    comes();
    txn_verify_forget(&partition);
    comes();
    expect("", 2);
    answer(ERR_NONE);
    expect("1:6 2:6 ", 1);
    answer(ERR_NONE);
    expect("1:6 2:6 3:0 ", 0);
}

Test(txn_verify, verification_that_is_switched_off_still_lets_nobody_overtake)
{
    struct waiting *first = batch(ID, EPOCH);

    first->opens = false;
    arrive(first);
    live.config.transaction_partition_verification_enable = false;
    comes();
    comes();
    expect("", 1);
    answer(ERR_NONE);
    expect("1:0 2:0 3:0 ", 0);
    comes();
    expect("1:0 2:0 3:0 4:0 ", 0);
}

/* ---- room ----------------------------------------------------------------*/

Test(txn_verify, what_waits_has_a_bound_of_its_own)
{
    shard.verifying_max_bytes = 20;
    cr_assert(txn_verify_take_room(&shard, 10));
    cr_assert(txn_verify_take_room(&shard, 10));
    cr_assert_not(txn_verify_take_room(&shard, 1));
    txn_verify_give_room(&shard, 10);
    cr_assert(txn_verify_take_room(&shard, 10));
    txn_verify_give_room(&shard, 10);
    cr_assert_not(txn_verify_take_room(&shard, 21));
    txn_verify_give_room(&shard, 10);
    cr_assert(txn_verify_take_room(&shard, 21), "alone it is let in");
    txn_verify_give_room(&shard, 21);
    cr_assert_eq(shard.verifying_bytes, 0);
}
