/* Each checker of transactions finds what it is for, and is silent otherwise.
 */
#include "tests/sim/load/txn_history.h"

#include <criterion/criterion.h>

static struct history *h;
static struct txn_history *t;
static int64_t next;

static void begin(void)
{
    struct history_promise promise = {false};

    h = history_new(&promise);
    t = txn_history_new(h, false);
    next = 0;
}

static void end(void)
{
    txn_history_free(t);
    history_free(h);
}

TestSuite(txn_history, .init = begin, .fini = end);

/* Transaction n of client 0 with two records. */
static int32_t two(void)
{
    int32_t n = txn_history_begin(t, 0);

    txn_history_sent(t, 0, n, 2);
    return n;
}

static void commit(int32_t n)
{
    txn_history_commits(t, 0, n);
    txn_history_ended(t, 0, n, true);
}

static void read_one(int reader, int32_t partition, int32_t n, int32_t index)
{
    txn_history_read(t, reader, partition, next++,
                     (struct txn_history_id){0, n, index});
}

static void expect(const char *checker)
{
    const char *sentence = "";
    const char *got = history_verdict(h, &sentence);

    if (checker == NULL)
        cr_assert_null(got, "%s: %s", got, sentence);
    else
        cr_assert_str_eq(got != NULL ? got : "nothing", checker, "%s",
                         sentence);
}

Test(txn_history, all_of_a_commit_and_nothing_of_an_abort)
{
    int32_t a = two(), b = two(), c = two();

    commit(a);
    txn_history_ended(t, 0, b, false);
    txn_history_commits(t, 0, c); /* nobody knows */
    read_one(1, 0, a, 0);
    read_one(1, 1, a, 1);
    read_one(TXN_HISTORY_FINAL, 0, a, 0);
    read_one(TXN_HISTORY_FINAL, 1, a, 1);
    txn_history_judge(t);
    expect(NULL);
    read_one(TXN_HISTORY_FINAL, 0, c, 0);
    read_one(TXN_HISTORY_FINAL, 0, c, 1);
    txn_history_judge(t);
    expect(NULL);
}

Test(txn_history, aborted)
{
    int32_t n = two();

    txn_history_ended(t, 0, n, false);
    read_one(1, 0, n, 0);
    expect("aborted-read");
}

Test(txn_history, a_commit_that_nobody_asked_for)
{
    read_one(1, 0, two(), 0);
    expect("aborted-read");
}

Test(txn_history, torn)
{
    int32_t n = two();

    txn_history_commits(t, 0, n);
    read_one(TXN_HISTORY_FINAL, 0, n, 0);
    txn_history_judge(t);
    expect("torn");
}

Test(txn_history, lost)
{
    commit(two());
    txn_history_judge(t);
    expect("txn-lost");
}

Test(txn_history, twice)
{
    int32_t n = two();

    commit(n);
    read_one(1, 0, n, 0);
    read_one(1, 0, n, 0);
    expect("txn-order");
}

Test(txn_history, out_of_order)
{
    int32_t a = two(), b = two();

    commit(a);
    commit(b);
    read_one(1, 0, b, 0);
    read_one(1, 1, a, 0);
    expect(NULL);
    read_one(1, 0, a, 1);
    expect("txn-order");
}

Test(txn_history, never_sent)
{
    int32_t n = two();

    commit(n);
    read_one(1, 0, n, 2);
    expect("foreign");
}

static void with_offset(int32_t n, bool there)
{
    txn_history_offset(t, 0, n);
    commit(n);
    for (int32_t i = 0; i < 2 && there; i++)
        read_one(TXN_HISTORY_FINAL, 0, n, i);
}

Test(txn_history, offsets)
{
    int32_t a = two(), b = two(), c = two();

    with_offset(a, true);
    with_offset(b, true);
    txn_history_ended(t, 0, c, false);
    txn_history_judge_offset(t, 0, b);
    expect(NULL);
    txn_history_judge_offset(t, 0, a);
    expect("txn-offsets");
}

Test(txn_history, an_offset_of_an_abort)
{
    int32_t n = two();

    txn_history_offset(t, 0, n);
    txn_history_ended(t, 0, n, false);
    txn_history_judge_offset(t, 0, -1);
    expect(NULL);
    txn_history_judge_offset(t, 0, n);
    expect("txn-offsets");
}

Test(txn_history, values)
{
    struct txn_history_id id = {3, 1000000, 7}, got;
    struct buf b = BUF_INIT;

    txn_history_put(&b, id);
    cr_assert(txn_history_parse(buf_slice(&b), &got));
    cr_assert(got.client == 3 && got.txn == 1000000 && got.index == 7);
    b.len--;
    cr_assert_not(txn_history_parse(buf_slice(&b), &got));
    buf_free(&b);
}
