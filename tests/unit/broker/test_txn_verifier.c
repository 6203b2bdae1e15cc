/* Who is asked about which partition, in which order answers come, and what a
 * producer may hear. */
#include "broker/coord/txn/verifier.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { ANSWERS_MAX = 64 };

static struct {
    struct txn_verifier *v;
    int32_t coordinator; /* -1: nobody */
    struct txn_verify_request *sent[8];
    int sent_len;
    struct {
        int question;
        enum err error;
    } heard[ANSWERS_MAX];
    int heard_len;
    struct txn_question q[ANSWERS_MAX];
    int64_t now_ms;
    int again; /* a question that is asked from inside of an answer; -1 none */
} w;

static int32_t coordinator(void *arg, struct slice id)
{
    (void)arg;
    (void)id;
    return w.coordinator;
}

static void on_send(void *arg, struct txn_verify_request *request)
{
    (void)arg;
    w.sent[w.sent_len++] = request;
}

static void done(void *arg, struct txn_question *question, enum err error)
{
    (void)arg;
    w.heard[w.heard_len].question = (int)(question - w.q);
    w.heard[w.heard_len++].error = error;
    if (w.again >= 0) {
        int i = w.again;

        w.again = -1;
        txn_verifier_ask(w.v, &w.q[i], w.now_ms);
    }
}

static const struct txn_verifier_ops ops = {coordinator, on_send, done};

static void begin(void)
{
    static const struct txn_verifier_options options = {20, 100};

    memset(&w, 0, sizeof w);
    w.coordinator = 1;
    w.again = -1;
    w.v = txn_verifier_new(&options, &ops, NULL);
}

static void end(void) { txn_verifier_free(w.v); }

TestSuite(txn_verifier, .init = begin, .fini = end);

static void ask(int i, const char *id, int64_t producer, int16_t epoch,
                const char *topic, int32_t partition)
{
    w.q[i] = (struct txn_question){
        .transactional_id = slice_str(id),
        .producer_id = producer,
        .producer_epoch = epoch,
        .topic = slice_str(topic),
        .partition = partition,
    };
    txn_verifier_ask(w.v, &w.q[i], w.now_ms);
}

/* Says `error` of every partition of the oldest request. */
static void answer(enum err error)
{
    struct txn_verify_request *r = w.sent[0];
    struct add_partitions_to_txn_response a;
    struct arena arena;

    w.sent_len--;
    memmove(w.sent, w.sent + 1, (size_t)w.sent_len * sizeof *w.sent);
    arena_init(&arena, 0);
    add_partitions_to_txn_response_init(&a);
    a.results_by_transaction_len = r->request.transactions_len;
    a.results_by_transaction =
        arena_array(&arena, (size_t)r->request.transactions_len,
                    sizeof *a.results_by_transaction);
    for (int32_t i = 0; i < r->request.transactions_len; i++) {
        const struct add_partitions_to_txn_request_transaction *from =
            &r->request.transactions[i];
        struct add_partitions_to_txn_response_result *to =
            &a.results_by_transaction[i];

        to->transactional_id = from->transactional_id;
        to->topic_results_len = from->topics_len;
        to->topic_results = arena_array(&arena, (size_t)from->topics_len,
                                        sizeof *to->topic_results);
        for (int32_t t = 0; t < from->topics_len; t++) {
            int32_t len = from->topics[t].partitions_len;

            to->topic_results[t].name = from->topics[t].name;
            to->topic_results[t].results_by_partition_len = len;
            to->topic_results[t].results_by_partition =
                arena_array(&arena, (size_t)len,
                            sizeof *to->topic_results->results_by_partition);
            for (int32_t p = 0; p < len; p++)
                to->topic_results[t].results_by_partition[p] =
                    (struct add_partitions_to_txn_response_partition_result){
                        from->topics[t].partitions[p], err_wire(error)};
        }
    }
    txn_verifier_answered(w.v, r, ERR_NONE, &a, w.now_ms);
    arena_free(&arena);
}

static void heard(int i, int question, enum err error)
{
    cr_assert_lt(i, w.heard_len);
    cr_assert_eq(w.heard[i].question, question);
    cr_assert_eq(w.heard[i].error, error, "%s", err_text(w.heard[i].error));
}

Test(txn_verifier, a_yes)
{
    ask(0, "a", 7, 3, "orders", 4);
    cr_assert_eq(w.sent_len, 1);
    const struct add_partitions_to_txn_request *r = &w.sent[0]->request;
    cr_assert_eq(w.sent[0]->broker, 1);
    cr_assert_eq(r->transactions_len, 1);
    cr_assert(slice_eq_str(r->transactions[0].transactional_id, "a"));
    cr_assert_eq(r->transactions[0].producer_id, 7);
    cr_assert_eq(r->transactions[0].producer_epoch, 3);
    cr_assert(r->transactions[0].verify_only);
    cr_assert_eq(r->transactions[0].topics_len, 1);
    cr_assert_eq(r->transactions[0].topics[0].partitions[0], 4);
    answer(ERR_NONE);
    cr_assert_eq(w.heard_len, 1);
    heard(0, 0, ERR_NONE);
    ask(1, "a", 7, 3, "orders", 4);
    cr_assert_eq(w.sent_len, 1, "it is asked anew");
    answer(ERR_NONE);
}

Test(txn_verifier, what_comes_meanwhile_makes_one_request)
{
    ask(0, "a", 7, 3, "orders", 0);
    ask(1, "b", 8, 0, "orders", 0);
    ask(2, "a", 7, 3, "orders", 1);
    ask(3, "a", 7, 3, "mail", 1);
    ask(4, "a", 7, 3, "orders", 2);
    cr_assert_eq(w.sent_len, 1);
    answer(ERR_NONE);
    cr_assert_eq(w.sent_len, 1);
    const struct add_partitions_to_txn_request *r = &w.sent[0]->request;
    cr_assert_eq(r->transactions_len, 2);
    cr_assert_eq(r->transactions[1].topics_len, 3);
    answer(ERR_NONE);
    cr_assert_eq(w.sent_len, 0);
    cr_assert_eq(w.heard_len, 5);
    heard(1, 1, ERR_NONE);
    heard(4, 4, ERR_NONE);
}

/* Results are found by the id alone. */
Test(txn_verifier, two_producers_of_one_id_take_turns)
{
    ask(0, "z", 1, 0, "orders", 0);
    ask(1, "a", 7, 3, "orders", 0);
    ask(2, "a", 7, 4, "orders", 1);
    answer(ERR_NONE);
    cr_assert_eq(w.sent[0]->request.transactions_len, 1);
    cr_assert_eq(w.sent[0]->request.transactions[0].producer_epoch, 3);
    answer(ERR_PRODUCER_FENCED);
    cr_assert_eq(w.sent[0]->request.transactions[0].producer_epoch, 4);
    answer(ERR_NONE);
    heard(1, 1, ERR_INVALID_PRODUCER_EPOCH);
    heard(2, 2, ERR_NONE);
}

Test(txn_verifier, answers_for_a_partition_come_in_order)
{
    ask(0, "a", 7, 3, "orders", 4);
    ask(1, "a", 7, 3, "orders", 4);
    ask(2, "a", 7, 3, "orders", 4);
    w.coordinator = 2; /* it moves; nobody overtakes by asking the new one */
    cr_assert_eq(w.sent_len, 1);
    answer(ERR_NONE);
    cr_assert_eq(w.heard_len, 1);
    cr_assert_eq(w.sent_len, 1);
    cr_assert_eq(w.sent[0]->broker, 2);
    answer(ERR_NONE);
    cr_assert_eq(w.heard_len, 3);
    for (int i = 0; i < 3; i++)
        heard(i, i, ERR_NONE);
}

Test(txn_verifier, what_is_behind_a_passing_failure_fails_with_it)
{
    ask(0, "a", 7, 3, "orders", 4);
    ask(1, "a", 7, 3, "orders", 4);
    answer(ERR_NOT_COORDINATOR);
    heard(0, 0, ERR_NOT_ENOUGH_REPLICAS);
    heard(1, 1, ERR_NOT_ENOUGH_REPLICAS);
    cr_assert_eq(w.sent_len, 0);
    /* One that will not pass is nobody else's. */
    ask(2, "a", 7, 3, "orders", 4);
    ask(3, "a", 7, 3, "orders", 4);
    answer(ERR_TRANSACTION_ABORTABLE);
    heard(2, 2, ERR_INVALID_TXN_STATE);
    cr_assert_eq(w.heard_len, 3);
    answer(ERR_NONE);
    heard(3, 3, ERR_NONE);
}

/* The partition is here, so the coordinator has not heard of its topic yet; of
 * the transaction's other partitions it says that it did not look at them. */
Test(txn_verifier, a_coordinator_that_does_not_know_the_topic_yet_may_learn)
{
    static const enum err errors[] = {ERR_UNKNOWN_TOPIC_OR_PARTITION,
                                      ERR_OPERATION_NOT_ATTEMPTED};

    for (int i = 0; i < 2; i++) {
        ask(2 * i, "a", 7, 3, "orders", 4);
        ask(2 * i + 1, "a", 7, 3, "orders", 4);
        answer(errors[i]);
        heard(2 * i, 2 * i, ERR_NOT_ENOUGH_REPLICAS);
        heard(2 * i + 1, 2 * i + 1, ERR_NOT_ENOUGH_REPLICAS);
    }
}

Test(txn_verifier, a_lost_connection_may_pass)
{
    ask(0, "a", 7, 3, "orders", 4);
    w.sent_len = 0;
    txn_verifier_answered(w.v, w.sent[0], ERR_CLOSED, NULL, 0);
    heard(0, 0, ERR_NOT_ENOUGH_REPLICAS);
}

/* A response that does not name the partition says nothing of it. */
Test(txn_verifier, silence_may_pass)
{
    struct add_partitions_to_txn_response a;

    ask(0, "a", 7, 3, "orders", 4);
    add_partitions_to_txn_response_init(&a);
    w.sent_len = 0;
    txn_verifier_answered(w.v, w.sent[0], ERR_NONE, &a, 0);
    heard(0, 0, ERR_NOT_ENOUGH_REPLICAS);
}

Test(txn_verifier, nobody_to_ask)
{
    w.coordinator = -1;
    w.again = 1;
    w.q[1] = (struct txn_question){.transactional_id = SLICE("a"),
                                   .producer_id = 7,
                                   .topic = SLICE("orders")};
    ask(0, "a", 7, 0, "orders", 0);
    heard(0, 0, ERR_NOT_ENOUGH_REPLICAS);
    heard(1, 1, ERR_NOT_ENOUGH_REPLICAS);
    cr_assert_eq(w.sent_len, 0);
}

Test(txn_verifier, old_clients_hear_what_they_know)
{
    ask(0, "a", 7, 3, "orders", 4);
    w.q[0].knows_abortable = true;
    answer(ERR_TRANSACTION_ABORTABLE);
    heard(0, 0, ERR_TRANSACTION_ABORTABLE);
    ask(1, "a", 7, 3, "orders", 4);
    answer(ERR_CONCURRENT_TRANSACTIONS);
    heard(1, 1, ERR_NOT_ENOUGH_REPLICAS);
}

static void ask_to_add(int i)
{
    w.q[i] = (struct txn_question){.transactional_id = SLICE("a"),
                                   .producer_id = 7,
                                   .topic = SLICE("orders"),
                                   .add = true};
    txn_verifier_ask(w.v, &w.q[i], w.now_ms);
}

Test(txn_verifier, while_the_transaction_before_is_ended_it_asks_again)
{
    w.now_ms = 1000;
    ask_to_add(0);
    cr_assert_not(w.sent[0]->request.transactions[0].verify_only);
    while (w.heard_len == 0) {
        answer(ERR_CONCURRENT_TRANSACTIONS);
        if (w.heard_len != 0)
            break;
        cr_assert_eq(txn_verifier_next_deadline(w.v), w.now_ms + 20);
        w.now_ms += 19;
        txn_verifier_tick(w.v, w.now_ms);
        cr_assert_eq(w.sent_len, 0);
        w.now_ms += 1;
        txn_verifier_tick(w.v, w.now_ms);
        cr_assert_eq(w.sent_len, 1);
    }
    heard(0, 0, ERR_CONCURRENT_TRANSACTIONS);
    cr_assert_eq(w.now_ms, 1100);
    cr_assert_eq(txn_verifier_next_deadline(w.v), INT64_MAX);
    ask_to_add(1);
    answer(ERR_CONCURRENT_TRANSACTIONS);
    w.now_ms += 20;
    txn_verifier_tick(w.v, w.now_ms);
    answer(ERR_NONE);
    heard(1, 1, ERR_NONE);
}
