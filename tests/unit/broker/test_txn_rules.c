/* Every error of the transaction coordinator, and when it is given. */
#include "tests/unit/broker/txn_fixture.h"

#include <stdio.h>

static struct ledger l;

static void set_up(void) { ledger_open(&l); }
static void tear_down(void) { ledger_close(&l); }

TestSuite(txn_rules, .init = set_up, .fini = tear_down);

struct row {
    const char *what;
    enum err got;
    enum err want;
};

static void check_rows(const struct row *rows, size_t len)
{
    for (size_t i = 0; i < len; i++)
        cr_expect_eq((int)rows[i].got, (int)rows[i].want, "%s: %s, not %s",
                     rows[i].what, err_name((int)rows[i].got),
                     err_name((int)rows[i].want));
}
#define CHECK_ROWS(rows) check_rows((rows), sizeof(rows) / sizeof *(rows))

static struct who with_epoch(struct who who, int epoch)
{
    who.epoch = (int16_t)epoch;
    return who;
}

static struct who with_producer(struct who who, int64_t producer_id)
{
    who.producer_id = producer_id;
    return who;
}

/* Drives an id to a given epoch. */
static struct who init_at(const char *id, int epoch)
{
    struct who who = init_ok(&l, id);

    while (who.epoch < epoch)
        who = init_ok(&l, id);
    return who;
}

/* ---- InitProducerId ------------------------------------------------------*/

Test(txn_rules, init)
{
    struct who first = init_ok(&l, "t");
    cr_assert_eq(first.epoch, 0);
    struct who second = init_ok(&l, "t");
    cr_assert_eq(second.producer_id, first.producer_id);
    cr_assert_eq(second.epoch, 1);

    struct who half = {"t", second.producer_id, -1};
    const struct row rows[] = {
        {"empty id", init_err(&l, INIT(&l, .id = "")), ERR_INVALID_REQUEST},
        {"producer id without epoch", init_err(&l, INIT(&l, .had = half)),
         ERR_INVALID_REQUEST},
        {"no timeout", init_err(&l, INIT(&l, .timeout_ms = TIMEOUT_0)),
         ERR_INVALID_TRANSACTION_TIMEOUT},
        {"negative timeout", init_err(&l, INIT(&l, .timeout_ms = -1)),
         ERR_INVALID_TRANSACTION_TIMEOUT},
        {"longest timeout", init_err(&l, INIT(&l, .timeout_ms = 900000)),
         ERR_NONE},
        {"longer timeout", init_err(&l, INIT(&l, .timeout_ms = 900001)),
         ERR_INVALID_TRANSACTION_TIMEOUT},
        {"fenced, v5", init_err(&l, INIT(&l, .had = first)),
         ERR_PRODUCER_FENCED},
        {"fenced, v4", init_err(&l, INIT(&l, .had = first, .version = 4)),
         ERR_PRODUCER_FENCED},
        {"fenced, v3", init_err(&l, INIT(&l, .had = first, .version = 3)),
         ERR_INVALID_PRODUCER_EPOCH},
        {"other producer",
         init_err(&l, INIT(&l, .had = with_producer(first, 9))),
         ERR_PRODUCER_FENCED},
        {"v0", init_err(&l, INIT(&l, .version = VERSION_0)), ERR_NONE},
    };
    CHECK_ROWS(rows);
}

Test(txn_rules, a_producer_goes_on_and_may_ask_twice)
{
    struct who first = init_ok(&l, "t");
    struct who second = init_of(&l, INIT(&l, .had = first), "t");
    cr_assert_eq(second.epoch, 1);
    /* The answer was lost. */
    struct who again = init_of(&l, INIT(&l, .had = first), "t");
    cr_assert_eq(again.epoch, 1);
    /* Another instance: now the first is out. */
    cr_assert_eq(init_ok(&l, "t").epoch, 2);
    cr_assert_err(init_err(&l, INIT(&l, .had = first)), ERR_PRODUCER_FENCED);
    cr_assert_err(init_err(&l, INIT(&l, .had = second)), ERR_PRODUCER_FENCED);
}

Test(txn_rules, a_new_id_may_be_named_by_a_producer_that_was_forgotten)
{
    struct who had = {"t", 77, 5};
    struct who got = init_of(&l, INIT(&l, .had = had), "t");

    cr_assert_neq(got.producer_id, 77);
    cr_assert_eq(got.epoch, 0);
}

Test(txn_rules, without_producer_ids_clients_come_again)
{
    tear_down();
    ledger_init(&l);
    l.no_ids = true;
    ledger_start(&l);
    cr_assert_err(init_err(&l, INIT(&l)), ERR_COORDINATOR_LOAD_IN_PROGRESS);
    l.no_ids = false;
    INIT(&l);
    cr_assert_err(init_err(&l, INIT(&l)), ERR_NONE);
}

Test(txn_rules, epochs_are_used_up_but_for_the_last)
{
    struct who who = init_at("t", INT16_MAX - 1);
    struct who next = init_ok(&l, "t");

    cr_assert_neq(next.producer_id, who.producer_id);
    cr_assert_eq(next.epoch, 0);
    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_INVALID_PRODUCER_ID_MAPPING);
    cr_assert_err(init_err(&l, INIT(&l, .had = who)), ERR_PRODUCER_FENCED);
}

Test(txn_rules, a_producer_that_used_up_its_epochs_may_ask_twice)
{
    struct who who = init_at("t", INT16_MAX - 1);
    struct who next = init_of(&l, INIT(&l, .had = who), "t");
    struct who again = init_of(&l, INIT(&l, .had = who), "t");

    cr_assert_neq(next.producer_id, who.producer_id);
    cr_assert_eq(again.producer_id, next.producer_id);
    cr_assert_eq(again.epoch, next.epoch);
}

Test(txn_rules, the_last_epoch_is_left_to_fence_with)
{
    struct who who = init_at("t", INT16_MAX - 1);

    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_NONE);
    cr_assert_err(init_err(&l, INIT(&l)), ERR_CONCURRENT_TRANSACTIONS);
    cr_assert_eq(describe_one(&l, "t")->producer_epoch, INT16_MAX);
    struct who next = init_ok(&l, "t");
    cr_assert_neq(next.producer_id, who.producer_id);
    cr_assert_eq(next.epoch, 0);
}

Test(txn_rules, an_open_transaction_is_aborted_first)
{
    struct who old = init_ok(&l, "t");
    ADD(&l, old);
    l.hold_markers = true;
    cr_assert_err(init_err(&l, INIT(&l)), ERR_CONCURRENT_TRANSACTIONS);
    cr_assert_str_eq(txn_state_of(&l, "t"), "PrepareAbort");
    cr_assert_err(init_err(&l, INIT(&l)), ERR_CONCURRENT_TRANSACTIONS);
    cr_assert_eq(l.markers[0]->producer_epoch, 1);
    cr_assert_not(l.markers[0]->committed);
    ledger_markers(&l);
    cr_assert_str_eq(txn_state_of(&l, "t"), "CompleteAbort");
    cr_assert_err(end_err(&l, END(&l, old, .commit = true)),
                  ERR_PRODUCER_FENCED);
    cr_assert_err(end_err(&l, END(&l, old, .version = 5)), ERR_PRODUCER_FENCED);
    cr_assert_err(init_err(&l, INIT(&l, .had = old)), ERR_PRODUCER_FENCED);
    cr_assert_eq(init_ok(&l, "t").epoch, 2);
}

Test(txn_rules, a_fenced_producer_does_not_abort_its_successors_transaction)
{
    struct who old = init_ok(&l, "t");
    struct who new = init_ok(&l, "t");

    ADD(&l, new);
    cr_assert_err(init_err(&l, INIT(&l, .had = old)), ERR_PRODUCER_FENCED);
    cr_assert_str_eq(txn_state_of(&l, "t"), "Ongoing");
    cr_assert_err(init_err(&l, INIT(&l, .had = new)),
                  ERR_CONCURRENT_TRANSACTIONS);
}

/* ---- AddPartitionsToTxn, AddOffsetsToTxn ---------------------------------*/

Test(txn_rules, add)
{
    struct who old = init_ok(&l, "t");
    struct who who = init_ok(&l, "t");
    struct who nobody = {"none", 1, 0}, empty = {"", 1, 0};
    const struct row rows[] = {
        {"empty id", add_err(&l, ADD(&l, empty)), ERR_INVALID_REQUEST},
        {"unknown id", add_err(&l, ADD(&l, nobody)),
         ERR_INVALID_PRODUCER_ID_MAPPING},
        {"other producer", add_err(&l, ADD(&l, with_producer(who, 9))),
         ERR_INVALID_PRODUCER_ID_MAPPING},
        {"fenced, v3", add_err(&l, ADD(&l, old)), ERR_PRODUCER_FENCED},
        {"fenced, v2", add_err(&l, ADD(&l, old, .version = 2)),
         ERR_PRODUCER_FENCED},
        {"fenced, v1", add_err(&l, ADD(&l, old, .version = 1)),
         ERR_INVALID_PRODUCER_EPOCH},
        {"epoch to come", add_err(&l, ADD(&l, with_epoch(who, 2))),
         ERR_PRODUCER_FENCED},
        {"the first", add_err(&l, ADD(&l, who)), ERR_NONE},
        {"once more", add_err(&l, ADD(&l, who)), ERR_NONE},
        {"one and another", add_err(&l, ADD(&l, who, .both = true)), ERR_NONE},
        {"broker, v4", add_err(&l, ADD(&l, who, .version = 4, .topic = "b")),
         ERR_NONE},
        {"broker, v5, fenced", add_err(&l, ADD(&l, old, .version = 5)),
         ERR_PRODUCER_FENCED},
        {"offsets, empty id",
         add_offsets_err(&l, add_offsets(&l, empty, "g", 4)),
         ERR_INVALID_REQUEST},
        {"offsets, unknown id",
         add_offsets_err(&l, add_offsets(&l, nobody, "g", 4)),
         ERR_INVALID_PRODUCER_ID_MAPPING},
        {"offsets, fenced, v2",
         add_offsets_err(&l, add_offsets(&l, old, "g", 2)),
         ERR_PRODUCER_FENCED},
        {"offsets, fenced, v1",
         add_offsets_err(&l, add_offsets(&l, old, "g", 1)),
         ERR_INVALID_PRODUCER_EPOCH},
        {"offsets", add_offsets_err(&l, add_offsets(&l, who, "g", 4)),
         ERR_NONE},
        {"offsets again", add_offsets_err(&l, add_offsets(&l, who, "g", 4)),
         ERR_NONE},
    };
    CHECK_ROWS(rows);

    const struct describe_transactions_response_transaction_state *d =
        describe_one(&l, "t");
    cr_assert_eq(d->topics_len, 3);
    cr_assert(slice_eq_str(d->topics[0].topic, "a"));
    cr_assert_eq(d->topics[0].partitions_len, 2);
    cr_assert(slice_eq_str(d->topics[2].topic, "__consumer_offsets"));
}

/* Adds topics until there is no room; how many there are. */
static int32_t add_until_full(struct who who)
{
    enum { ENOUGH = 1000 };
    char topic[100];
    enum err err = ERR_NONE;
    int32_t n = 0;

    while (err == ERR_NONE && n < ENOUGH) {
        snprintf(topic, sizeof topic, "%090d", (int)n);
        err = add_err(&l, ADD(&l, who, .topic = topic));
        n += err == ERR_NONE;
    }
    cr_assert_err(err, ERR_UNKNOWN_SERVER_ERROR);
    return n;
}

static size_t largest_batch(void)
{
    size_t most = 0;

    for (int i = 0; i < l.batches_len; i++)
        if (l.batches[i].len > most)
            most = l.batches[i].len;
    return most;
}

/* max.message.bytes of its topic bounds a record, and so a transaction. */
Test(txn_rules, what_a_record_has_no_room_for_is_refused_and_the_rest_lives_on)
{
    enum { BATCH_MAX_BYTES = 4096, TOPIC_BYTES = 110 };

    ledger_close(&l);
    ledger_init(&l);
    l.options.batch_max_bytes = BATCH_MAX_BYTES;
    ledger_start(&l);
    struct who who = init_ok(&l, "t");
    int32_t n = add_until_full(who);
    cr_assert_leq(largest_batch(), (size_t)BATCH_MAX_BYTES);
    cr_assert_geq(n, BATCH_MAX_BYTES / TOPIC_BYTES / 2);
    ledger_fail_over(&l);
    cr_assert_eq(describe_one(&l, "t")->topics_len, n);
    cr_assert_str_eq(txn_state_of(&l, "t"), "Ongoing");
    cr_assert_err(add_err(&l, ADD(&l, who,
                                  .topic = "one that is too many "
                                           "for what is left of a "
                                           "batch, whatever it is")),
                  ERR_UNKNOWN_SERVER_ERROR);
    cr_assert_err(end_err(&l, END(&l, who, .commit = true)), ERR_NONE);
    ledger_markers(&l);
    cr_assert_str_eq(txn_state_of(&l, "t"), "CompleteCommit");
    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_NONE);
    cr_assert_eq(describe_one(&l, "t")->topics_len, 1);
}

Test(txn_rules, offsets_without_a_topic_for_them)
{
    struct who who = init_ok(&l, "t");

    l.offsets_partitions = 0;
    cr_assert_err(add_offsets_err(&l, add_offsets(&l, who, "g", 3)),
                  ERR_COORDINATOR_NOT_AVAILABLE);
}

static enum err only_first_exists(void *arg, struct slice topic,
                                  int32_t partition)
{
    (void)arg;
    (void)topic;
    return partition == 0 ? ERR_NONE : ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

Test(txn_rules, one_bad_partition_spoils_the_request)
{
    struct who who = init_ok(&l, "t");

    l.partition_error = only_first_exists;
    int token = ADD(&l, who, .both = true);
    cr_assert_err(add_err_at(&l, token, 0), ERR_OPERATION_NOT_ATTEMPTED);
    cr_assert_err(add_err_at(&l, token, 1), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_str_eq(txn_state_of(&l, "t"), "Empty");
    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_NONE);
}

Test(txn_rules, verify)
{
    struct who old = init_ok(&l, "t");
    struct who who = init_ok(&l, "t");
    struct who nobody = {"none", 1, 0}, empty = {"", 1, 0};

    cr_assert_err(add_err(&l, ADD(&l, who, .verify = true)),
                  ERR_TRANSACTION_ABORTABLE);
    ADD(&l, who);
    int both = ADD(&l, who, .verify = true, .both = true);
    cr_assert_err(add_err_at(&l, both, 0), ERR_NONE);
    cr_assert_err(add_err_at(&l, both, 1), ERR_TRANSACTION_ABORTABLE);
    const struct row rows[] = {
        {"empty id", add_err(&l, ADD(&l, empty, .verify = true)),
         ERR_INVALID_REQUEST},
        {"unknown id", add_err(&l, ADD(&l, nobody, .verify = true)),
         ERR_INVALID_PRODUCER_ID_MAPPING},
        {"other producer",
         add_err(&l, ADD(&l, with_producer(who, 9), .verify = true)),
         ERR_INVALID_PRODUCER_ID_MAPPING},
        {"fenced", add_err(&l, ADD(&l, old, .verify = true)),
         ERR_PRODUCER_FENCED},
    };
    CHECK_ROWS(rows);
    l.hold = l.hold_markers = true;
    END(&l, who, .commit = true);
    cr_assert_err(add_err(&l, ADD(&l, who, .verify = true)),
                  ERR_CONCURRENT_TRANSACTIONS);
    ledger_commit(&l);
    cr_assert_err(add_err(&l, ADD(&l, who, .verify = true)),
                  ERR_CONCURRENT_TRANSACTIONS);
}

Test(txn_rules, a_batch_is_answered_when_all_of_it_is)
{
    struct who a = init_ok(&l, "one"), b = init_ok(&l, "two");
    int32_t partitions[1] = {0};
    struct add_partitions_to_txn_request_topic topic = {SLICE("a"), partitions,
                                                        1};
    struct add_partitions_to_txn_request_transaction txns[] = {
        {SLICE("one"), a.producer_id, 0, false, &topic, 1},
        {SLICE("two"), b.producer_id, 7, false, &topic, 1},
        {SLICE("two"), b.producer_id, 0, false, &topic, 1},
        {SLICE("two"), b.producer_id, 0, true, &topic, 1},
    };
    struct add_partitions_to_txn_request request = {.transactions = txns,
                                                    .transactions_len = 4};

    l.hold = true;
    int token = ledger_request(&l, API_ADD_PARTITIONS_TO_TXN, 5, &request);
    cr_assert_not(txn_answered(&l, token));
    ledger_commit_to(&l, l.end_offset - 1);
    cr_assert_not(txn_answered(&l, token));
    ledger_commit(&l);
    const struct add_partitions_to_txn_response *r =
        &txn_answer_of(&l, token)->response.add_partitions_to_txn;
    static const enum err want[] = {ERR_NONE, ERR_PRODUCER_FENCED, ERR_NONE,
                                    ERR_TRANSACTION_ABORTABLE};
    for (int i = 0; i < 4; i++)
        cr_assert_err(r->results_by_transaction[i]
                          .topic_results[0]
                          .results_by_partition[0]
                          .partition_error_code,
                      want[i]);
}

/* ---- EndTxn --------------------------------------------------------------*/

Test(txn_rules, end_classic)
{
    struct who old = init_ok(&l, "t");
    struct who who = init_ok(&l, "t");
    struct who nobody = {"none", 1, 0}, empty = {"", 1, 0};
    const struct row before[] = {
        {"empty id", end_err(&l, END(&l, empty)), ERR_INVALID_REQUEST},
        {"unknown id", end_err(&l, END(&l, nobody)),
         ERR_INVALID_PRODUCER_ID_MAPPING},
        {"other producer", end_err(&l, END(&l, with_producer(who, 9))),
         ERR_INVALID_PRODUCER_ID_MAPPING},
        {"fenced, v2", end_err(&l, END(&l, old, .version = 2)),
         ERR_PRODUCER_FENCED},
        {"fenced, v1", end_err(&l, END(&l, old, .version = 1)),
         ERR_INVALID_PRODUCER_EPOCH},
        {"fenced, v0", end_err(&l, END(&l, old, .version = VERSION_0)),
         ERR_INVALID_PRODUCER_EPOCH},
        {"commit of nothing", end_err(&l, END(&l, who, .commit = true)),
         ERR_INVALID_TXN_STATE},
        {"abort of nothing", end_err(&l, END(&l, who)), ERR_INVALID_TXN_STATE},
    };
    CHECK_ROWS(before);

    ADD(&l, who);
    l.hold_markers = true;
    const struct row prepared[] = {
        {"commit", end_err(&l, END(&l, who, .commit = true)), ERR_NONE},
        {"commit again", end_err(&l, END(&l, who, .commit = true)),
         ERR_CONCURRENT_TRANSACTIONS},
        {"abort after commit", end_err(&l, END(&l, who)),
         ERR_INVALID_TXN_STATE},
        {"init after commit", init_err(&l, INIT(&l)),
         ERR_CONCURRENT_TRANSACTIONS},
        {"fenced", end_err(&l, END(&l, old, .commit = true)),
         ERR_PRODUCER_FENCED},
    };
    CHECK_ROWS(prepared);

    ledger_markers(&l);
    const struct row complete[] = {
        {"commit again", end_err(&l, END(&l, who, .commit = true)), ERR_NONE},
        {"abort after commit", end_err(&l, END(&l, who)),
         ERR_INVALID_TXN_STATE},
        {"next", add_err(&l, ADD(&l, who)), ERR_NONE},
        {"abort", end_err(&l, END(&l, who)), ERR_NONE},
    };
    CHECK_ROWS(complete);
    ledger_markers(&l);
    const struct row aborted[] = {
        {"abort again", end_err(&l, END(&l, who)), ERR_NONE},
        {"commit after abort", end_err(&l, END(&l, who, .commit = true)),
         ERR_INVALID_TXN_STATE},
    };
    CHECK_ROWS(aborted);
}

#define END5(who, ...) END(&l, who, .version = 5, __VA_ARGS__)

Test(txn_rules, end_with_bumps)
{
    struct who zero = init_ok(&l, "t");
    struct who one = end_of(&l, END5(zero, .commit = false), "t");
    cr_assert_eq(one.epoch, 1, "an abort of nothing bumps, too");
    const struct row empty[] = {
        {"repeated abort", end_err(&l, END5(zero, .commit = false)), ERR_NONE},
        {"commit of what was aborted", end_err(&l, END5(zero, .commit = true)),
         ERR_INVALID_TXN_STATE},
        {"commit of nothing", end_err(&l, END5(one, .commit = true)),
         ERR_INVALID_TXN_STATE},
        {"epoch to come",
         end_err(&l, END5(with_epoch(one, 2), .commit = false)),
         ERR_PRODUCER_FENCED},
    };
    CHECK_ROWS(empty);

    ADD(&l, one, .version = 5);
    l.hold_markers = true;
    struct who two = end_of(&l, END5(one, .commit = true), "t");
    cr_assert_eq(two.epoch, 2);
    cr_assert_eq(l.markers[0]->producer_epoch, 2, "markers have the new epoch");
    cr_assert_eq(l.markers[0]->transaction_version, 2);
    const struct row prepared[] = {
        {"repeated", end_err(&l, END5(one, .commit = true)),
         ERR_CONCURRENT_TRANSACTIONS},
        {"the opposite", end_err(&l, END5(one, .commit = false)),
         ERR_INVALID_TXN_STATE},
        {"the next end", end_err(&l, END5(two, .commit = true)),
         ERR_CONCURRENT_TRANSACTIONS},
        {"the next end, an abort", end_err(&l, END5(two, .commit = false)),
         ERR_CONCURRENT_TRANSACTIONS},
        {"epoch to come", end_err(&l, END5(with_epoch(two, 3), .commit = true)),
         ERR_PRODUCER_FENCED},
    };
    CHECK_ROWS(prepared);

    ledger_markers(&l);
    struct who again = end_of(&l, END5(one, .commit = true), "t");
    cr_assert_eq(again.epoch, 2);
    const struct row complete[] = {
        {"the opposite", end_err(&l, END5(one, .commit = false)),
         ERR_INVALID_TXN_STATE},
        {"commit of nothing", end_err(&l, END5(two, .commit = true)),
         ERR_INVALID_TXN_STATE},
        {"one too old", end_err(&l, END5(zero, .commit = true)),
         ERR_PRODUCER_FENCED},
        {"add with the old epoch", add_err(&l, ADD(&l, one, .version = 5)),
         ERR_PRODUCER_FENCED},
        {"abort of nothing", end_err(&l, END5(two, .commit = false)), ERR_NONE},
    };
    CHECK_ROWS(complete);
}

Test(txn_rules, the_epoch_of_a_fence_is_nobodys_while_markers_are_on_their_way)
{
    struct who old = init_ok(&l, "t");

    ADD(&l, old, .version = 5);
    l.hold_markers = true;
    INIT(&l);
    cr_assert_str_eq(txn_state_of(&l, "t"), "PrepareAbort");
    cr_assert_err(end_err(&l, END5(with_epoch(old, 1), .commit = false)),
                  ERR_PRODUCER_FENCED);
}

Test(txn_rules, an_empty_id_takes_no_repetition)
{
    struct who zero = init_ok(&l, "t");
    struct who one = init_ok(&l, "t");

    cr_assert_err(end_err(&l, END5(zero, .commit = false)),
                  ERR_PRODUCER_FENCED);
    cr_assert_err(end_err(&l, END5(one, .commit = true)),
                  ERR_INVALID_TXN_STATE);
}

Test(txn_rules, the_last_epoch_is_followed_by_a_new_producer_id)
{
    struct who last = init_at("t", INT16_MAX - 1);

    ADD(&l, last, .version = 5);
    l.hold_markers = true;
    struct who next = end_of(&l, END5(last, .commit = true), "t");
    cr_assert_neq(next.producer_id, last.producer_id);
    cr_assert_eq(next.epoch, 0);
    cr_assert_eq(l.markers[0]->producer_id, last.producer_id);
    cr_assert_eq(l.markers[0]->producer_epoch, INT16_MAX);
    const struct row prepared[] = {
        {"repeated", end_err(&l, END5(last, .commit = true)),
         ERR_CONCURRENT_TRANSACTIONS},
        {"the next end", end_err(&l, END5(next, .commit = false)),
         ERR_CONCURRENT_TRANSACTIONS},
    };
    CHECK_ROWS(prepared);
    ledger_fail_over(&l); /* the records know the next id */
    ledger_markers(&l);
    struct who again = end_of(&l, END5(last, .commit = true), "t");
    cr_assert_eq(again.producer_id, next.producer_id);
    cr_assert_eq(again.epoch, 0);
    cr_assert_err(add_err(&l, ADD(&l, next, .version = 5)), ERR_NONE);
}

/* ---- Describe, List ------------------------------------------------------*/

Test(txn_rules, describe)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who);
    const struct row rows[] = {
        {"empty id", describe_one(&l, "")->error_code, ERR_INVALID_REQUEST},
        {"unknown id", describe_one(&l, "none")->error_code,
         ERR_TRANSACTIONAL_ID_NOT_FOUND},
        {"known", describe_one(&l, "t")->error_code, ERR_NONE},
    };
    CHECK_ROWS(rows);
    cr_assert_eq(describe_one(&l, "t")->transaction_start_time_ms,
                 l.time.wall_ms);
    cr_assert_eq(describe_one(&l, "t")->transaction_timeout_ms, 60000);
    cr_assert_eq(describe_one(&l, "t")->producer_id, who.producer_id);
    l.hold = true;
    INIT(&l, .id = "new");
    cr_assert_err(describe_one(&l, "new")->error_code,
                  ERR_TRANSACTIONAL_ID_NOT_FOUND);
}

static const struct list_transactions_response *
list_of(struct list_transactions_request request)
{
    int token = ledger_request(&l, API_LIST_TRANSACTIONS, 2, &request);

    return &txn_answer_of(&l, token)->response.list_transactions;
}

Test(txn_rules, list)
{
    struct who one = init_ok(&l, "pay-1"), two = init_ok(&l, "pay-2");
    init_ok(&l, "ship-1");
    ADD(&l, one);
    ledger_pass(&l, 5000);
    ADD(&l, two);

    struct slice ongoing[] = {SLICE("Ongoing"), SLICE("Nonsense")};
    struct slice fence[] = {SLICE("PrepareEpochFence")};
    int64_t ids[] = {two.producer_id};
    const struct {
        const char *what;
        struct list_transactions_request request;
        int count;
        int unknown;
        enum err err;
    } rows[] = {
        {"all", {.duration_filter = -1}, 3, 0, 0},
        {"by state",
         {.state_filters = ongoing,
          .state_filters_len = 2,
          .duration_filter = -1},
         2,
         1,
         0},
        {"a state that nothing is in",
         {.state_filters = fence,
          .state_filters_len = 1,
          .duration_filter = -1},
         0,
         0,
         0},
        {"by producer",
         {.producer_id_filters = ids,
          .producer_id_filters_len = 1,
          .duration_filter = -1},
         1,
         0,
         0},
        {"for longer than",
         {.state_filters = ongoing,
          .state_filters_len = 1,
          .duration_filter = 4999},
         1,
         0,
         0},
        {"for exactly",
         {.state_filters = ongoing,
          .state_filters_len = 1,
          .duration_filter = 5000},
         0,
         0,
         0},
        {"by pattern",
         {.duration_filter = -1, .transactional_id_pattern = SLICE("pay-.*")},
         2,
         0,
         0},
        {"the whole id",
         {.duration_filter = -1, .transactional_id_pattern = SLICE("pay")},
         0,
         0,
         0},
        {"no pattern",
         {.duration_filter = -1, .transactional_id_pattern = SLICE("")},
         3,
         0,
         0},
        {"a bad pattern",
         {.duration_filter = -1, .transactional_id_pattern = SLICE("pay(")},
         0,
         0,
         ERR_INVALID_REGULAR_EXPRESSION},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct list_transactions_response *r = list_of(rows[i].request);

        cr_expect_eq(r->transaction_states_len, rows[i].count, "%s: %d",
                     rows[i].what, r->transaction_states_len);
        cr_expect_eq(r->unknown_state_filters_len, rows[i].unknown, "%s",
                     rows[i].what);
        cr_expect_eq(r->error_code, (int)rows[i].err, "%s", rows[i].what);
    }
}

/* ---- no coordinator ------------------------------------------------------*/

static void check_all_say(enum err err)
{
    struct who who = {"t", 1, 0};
    struct slice id[] = {SLICE("t")};
    struct describe_transactions_request describe = {id, 1};
    int token = ledger_request(&l, API_DESCRIBE_TRANSACTIONS, 0, &describe);
    const struct row rows[] = {
        {"init", init_err(&l, INIT(&l)), err},
        {"add", add_err(&l, ADD(&l, who)), err},
        {"batch", add_err(&l, ADD(&l, who, .version = 5)), err},
        {"verify", add_err(&l, ADD(&l, who, .verify = true)), err},
        {"offsets", add_offsets_err(&l, add_offsets(&l, who, "g", 3)), err},
        {"end", end_err(&l, END(&l, who)), err},
        {"describe",
         txn_answer_of(&l, token)
             ->response.describe_transactions.transaction_states[0]
             .error_code,
         err},
    };
    CHECK_ROWS(rows);
}

Test(txn_rules, until_what_was_loaded_is_committed)
{
    init_ok(&l, "t");
    l.hold = true;
    INIT(&l);
    ledger_fail_over(&l);
    check_all_say(ERR_COORDINATOR_LOAD_IN_PROGRESS);
    ledger_pass(&l, 60000);
    check_all_say(ERR_COORDINATOR_LOAD_IN_PROGRESS);
    ledger_commit(&l);
    cr_assert_str_eq(txn_state_of(&l, "t"), "Empty");
}

static enum err request_error(enum err append)
{
    static int n;
    char id[32];

    snprintf(id, sizeof id, "id-%d", n++);
    l.append_err = append;
    enum err err = init_err(&l, INIT(&l, .id = id));
    l.append_err = ERR_NONE;
    cr_assert_err(describe_one(&l, id)->error_code,
                  ERR_TRANSACTIONAL_ID_NOT_FOUND);
    return err;
}

Test(txn_rules, appends_that_fail)
{
    const struct row rows[] = {
        {"too few replicas", request_error(ERR_NOT_ENOUGH_REPLICAS),
         ERR_COORDINATOR_NOT_AVAILABLE},
        {"no topic", request_error(ERR_UNKNOWN_TOPIC_OR_PARTITION),
         ERR_COORDINATOR_NOT_AVAILABLE},
        {"timeout", request_error(ERR_REQUEST_TIMED_OUT),
         ERR_COORDINATOR_NOT_AVAILABLE},
        {"lead lost", request_error(ERR_NOT_LEADER_OR_FOLLOWER),
         ERR_NOT_COORDINATOR},
        {"disk", request_error(ERR_KAFKA_STORAGE_ERROR), ERR_NOT_COORDINATOR},
        {"too large", request_error(ERR_MESSAGE_TOO_LARGE),
         ERR_UNKNOWN_SERVER_ERROR},
    };
    CHECK_ROWS(rows);
}
