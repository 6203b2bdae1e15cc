/* Partitions that are to be added while something is under way wait for it. */
#include "tests/unit/broker/txn_fixture.h"

static struct ledger l;

static void set_up(void) { ledger_open(&l); }
static void tear_down(void) { ledger_close(&l); }

TestSuite(txn_wait, .init = set_up, .fini = tear_down);

/* A transaction that was decided and waits for its markers. */
static struct who ending(const char *id)
{
    struct who who = init_ok(&l, id);

    ADD(&l, who);
    l.hold_markers = true;
    cr_assert_err(end_err(&l, END(&l, who, .commit = true)), ERR_NONE);
    return who;
}

Test(txn_wait, the_next_transaction_begins_when_the_last_one_has_ended)
{
    struct who who = ending("t");
    int add = ADD(&l, who, .topic = "b", .both = true);

    ledger_pass(&l, 5);
    cr_assert_not(txn_answered(&l, add));
    ledger_markers(&l);
    cr_assert_err(add_err(&l, add), ERR_NONE);
    cr_assert_err(add_err_at(&l, add, 1), ERR_NONE);
    cr_assert_str_eq(txn_state_of(&l, "t"), "Ongoing");
    cr_assert_eq(describe_one(&l, "t")->topics_len, 1);
    cr_assert_eq(describe_one(&l, "t")->topics[0].partitions_len, 2);
}

Test(txn_wait, so_do_offsets)
{
    struct who who = ending("t");

    l.offsets_partitions = 50;
    int add = add_offsets(&l, who, "g", 3);
    cr_assert_not(txn_answered(&l, add));
    ledger_markers(&l);
    cr_assert_err(add_offsets_err(&l, add), ERR_NONE);
    cr_assert_str_eq(txn_state_of(&l, "t"), "Ongoing");
}

/* Two brokers ask at once, each for a partition of its own. */
Test(txn_wait, one_after_the_other)
{
    struct who who = init_ok(&l, "t");

    l.hold = true;
    int one = ADD(&l, who, .partition = 1, .version = 5);
    int two = ADD(&l, who, .partition = 2, .version = 5);
    int three = ADD(&l, who, .partition = 3);
    ledger_commit(&l);
    cr_assert_err(add_err(&l, one), ERR_NONE);
    cr_assert_not(txn_answered(&l, two));
    ledger_commit(&l);
    cr_assert_err(add_err(&l, two), ERR_NONE);
    cr_assert_not(txn_answered(&l, three));
    ledger_commit(&l);
    cr_assert_err(add_err(&l, three), ERR_NONE);
    cr_assert_eq(describe_one(&l, "t")->topics[0].partitions_len, 3);
}

Test(txn_wait, for_a_while_only)
{
    struct who who = ending("t");
    int client = ADD(&l, who), broker = ADD(&l, who, .version = 5);

    ledger_pass(&l, 9);
    cr_assert_not(txn_answered(&l, broker));
    ledger_pass(&l, 1);
    cr_assert_err(add_err(&l, broker), ERR_CONCURRENT_TRANSACTIONS);
    cr_assert_not(txn_answered(&l, client));
    ledger_pass(&l, 490);
    cr_assert_err(add_err(&l, client), ERR_CONCURRENT_TRANSACTIONS);
    ledger_markers(&l);
    cr_assert_str_eq(txn_state_of(&l, "t"), "CompleteCommit");
}

Test(txn_wait, not_for_markers_that_cannot_be_written)
{
    struct who who = ending("t");

    ledger_marker(&l, 0, TXN_MARKER_RETRY);
    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_CONCURRENT_TRANSACTIONS);
    ledger_pass(&l, 60000);
    ledger_markers(&l);
    /* What failed then is forgotten. */
    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_NONE);
    cr_assert_err(end_err(&l, END(&l, who, .commit = true)), ERR_NONE);
    int add = ADD(&l, who);
    cr_assert_not(txn_answered(&l, add));
    ledger_markers(&l);
    cr_assert_err(add_err(&l, add), ERR_NONE);
}

Test(txn_wait, not_too_many)
{
    struct who who = ending("t");
    int adds[8];

    for (int i = 0; i < 8; i++)
        adds[i] = ADD(&l, who, .partition = i);
    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_CONCURRENT_TRANSACTIONS);
    ledger_markers(&l);
    for (int i = 0; i < 8; i++)
        cr_assert_err(add_err(&l, adds[i]), ERR_NONE);
    cr_assert_eq(describe_one(&l, "t")->topics[0].partitions_len, 8);
}

/* Who waits is judged when its turn comes. */
Test(txn_wait, a_zombie_waits_in_vain)
{
    struct who old = init_ok(&l, "t");
    struct who who = ending("t");
    int zombie = ADD(&l, old, .version = 5), next = ADD(&l, who);

    ledger_markers(&l);
    cr_assert_err(add_err(&l, zombie), ERR_PRODUCER_FENCED);
    cr_assert_err(add_err(&l, next), ERR_NONE);
}

/* An end that bumps gives the producer its next epoch when it is complete. */
Test(txn_wait, the_next_epoch_is_there_in_the_end)
{
    struct who one = init_ok(&l, "t");

    ADD(&l, one, .version = 5);
    l.hold_markers = true;
    struct who two =
        end_of(&l, END(&l, one, .commit = true, .version = 5), "t");
    int add = ADD(&l, two, .version = 5);
    int late = ADD(&l, one, .version = 5);
    ledger_markers(&l);
    cr_assert_err(add_err(&l, add), ERR_NONE);
    cr_assert_err(add_err(&l, late), ERR_PRODUCER_FENCED);
}

Test(txn_wait, a_coordinator_that_goes_says_so)
{
    struct who who = ending("t");
    int add = ADD(&l, who);

    ledger_fail_over(&l);
    cr_assert_err(add_err(&l, add), ERR_NOT_COORDINATOR);
    ledger_markers(&l);
    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_NONE);
}

Test(txn_wait, an_id_that_expires_is_not_there)
{
    struct who who = ending("t");

    ledger_markers(&l);
    l.hold = true;
    ledger_pass(&l, l.options.config.transactional_id_expiration_ms +
                        l.options.config.remove_expired_interval_ms);
    int add = ADD(&l, who);
    cr_assert_not(txn_answered(&l, add), "the tombstone is under way");
    ledger_commit(&l);
    cr_assert_err(add_err(&l, add), ERR_INVALID_PRODUCER_ID_MAPPING);
}

Test(txn_wait, all_hear_of_a_log_that_is_cut)
{
    struct who who = init_ok(&l, "t");

    l.hold = true;
    int one = ADD(&l, who, .partition = 1);
    int two = ADD(&l, who, .partition = 2);
    ledger_fail_over_at(&l, l.high_watermark);
    cr_assert_err(add_err(&l, one), ERR_NOT_COORDINATOR);
    cr_assert_err(add_err(&l, two), ERR_NOT_COORDINATOR);
}

Test(txn_wait, each_of_a_batch_waits_for_its_own)
{
    struct who busy = ending("busy"), idle = init_ok(&l, "idle");
    int32_t partition = 0;
    struct add_partitions_to_txn_request_topic topic = {SLICE("a"), &partition,
                                                        1};
    struct add_partitions_to_txn_request_transaction txns[2] = {
        {SLICE("busy"), busy.producer_id, busy.epoch, false, &topic, 1},
        {SLICE("idle"), idle.producer_id, idle.epoch, false, &topic, 1},
    };
    struct add_partitions_to_txn_request request = {.transactions = txns,
                                                    .transactions_len = 2};
    int token = ledger_request(&l, API_ADD_PARTITIONS_TO_TXN, 5, &request);

    cr_assert_not(txn_answered(&l, token));
    ledger_pass(&l, 10);
    const struct add_partitions_to_txn_response *r =
        &txn_answer_of(&l, token)->response.add_partitions_to_txn;
    cr_assert_err(r->results_by_transaction[0]
                      .topic_results[0]
                      .results_by_partition[0]
                      .partition_error_code,
                  ERR_CONCURRENT_TRANSACTIONS);
    cr_assert_err(r->results_by_transaction[1]
                      .topic_results[0]
                      .results_by_partition[0]
                      .partition_error_code,
                  ERR_NONE);
    ledger_markers(&l);
}
