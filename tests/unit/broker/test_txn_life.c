/* What a transaction lives through: commits that lag, coordinators that go,
 * markers that fail, time. */
#include "tests/unit/broker/txn_fixture.h"

#include "broker/coord/pattern.h"
#include "broker/coord/txn/marker_request.h"
#include "proto/kafka/coordinator_record.h"

#include <stdio.h>
#include <stdlib.h>

static struct ledger l;

static const int64_t MINUTE = 60000;
static const int64_t HOUR = 60 * 60000;
static const int64_t DAY = 24 * 60 * 60000;

static void set_up(void) { ledger_open(&l); }
static void tear_down(void) { ledger_close(&l); }

TestSuite(txn_life, .init = set_up, .fini = tear_down);

#define cr_assert_state(id, want)                                              \
    cr_assert_str_eq(txn_state_of(&l, (id)), (want))

/* ---- answers wait for commits --------------------------------------------*/

Test(txn_life, nothing_is_answered_before_its_commit)
{
    l.hold = true;
    int init = INIT(&l);
    cr_assert_not(txn_answered(&l, init));
    cr_assert_err(init_err(&l, INIT(&l)), ERR_CONCURRENT_TRANSACTIONS);
    ledger_commit(&l);
    struct who who = init_of(&l, init, "t");

    int add = ADD(&l, who);
    cr_assert_not(txn_answered(&l, add));
    ledger_commit(&l);
    cr_assert_err(add_err(&l, add), ERR_NONE);

    int end = END(&l, who, .commit = true);
    cr_assert_not(txn_answered(&l, end));
    cr_assert_eq(l.markers_len, 0, "no marker for what is not decided");
    cr_assert_err(end_err(&l, END(&l, who)), ERR_CONCURRENT_TRANSACTIONS);
    ledger_commit(&l);
    cr_assert_err(end_err(&l, end), ERR_NONE);
    cr_assert_eq(l.markers_len, 1);
    cr_assert_state("t", "PrepareCommit");
    ledger_commit(&l);
    cr_assert_state("t", "CompleteCommit");
}

Test(txn_life, a_commit_that_takes_too_long_is_still_under_way)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who);
    l.hold = true;
    int end = END(&l, who, .commit = true);
    ledger_pass(&l, 5000);
    cr_assert_err(end_err(&l, end), ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_err(end_err(&l, END(&l, who)), ERR_CONCURRENT_TRANSACTIONS);
    ledger_pass(&l, 20 * MINUTE);
    cr_assert_state("t", "Ongoing");
    cr_assert_eq(l.markers_len, 0);
    l.hold = false;
    ledger_commit(&l);
    cr_assert_state("t", "CompleteCommit");
    cr_assert(l.markers_len == 1);
    cr_assert_err(end_err(&l, END(&l, who, .commit = true)), ERR_NONE);
}

Test(txn_life, a_failed_append_changes_nothing)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who);
    char *before = ledger_dump(&l);
    l.append_err = ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_err(end_err(&l, END(&l, who, .commit = true)),
                  ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_err(init_err(&l, INIT(&l)), ERR_COORDINATOR_NOT_AVAILABLE);
    l.append_err = ERR_NONE;
    char *after = ledger_dump(&l);
    cr_assert_str_eq(before, after);
    free(before);
    free(after);
    cr_assert_err(end_err(&l, END(&l, who)), ERR_NONE);
    cr_assert_state("t", "CompleteAbort");
}

Test(txn_life, completion_is_written_again_until_it_is_there)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who);
    l.hold_markers = true;
    END(&l, who, .commit = true);
    l.append_err = ERR_NOT_ENOUGH_REPLICAS;
    ledger_markers(&l);
    ledger_pass(&l, MINUTE);
    cr_assert_state("t", "PrepareCommit");
    l.append_err = ERR_NONE;
    ledger_pass(&l, 1000);
    cr_assert_state("t", "CompleteCommit");
}

/* ---- fail-over -----------------------------------------------------------*/

Test(txn_life, a_loaded_coordinator_knows_what_the_one_before_knew)
{
    struct who a = init_ok(&l, "a"), b = init_ok(&l, "b");
    struct who c = init_ok(&l, "c");
    ADD(&l, a, .both = true);
    ADD(&l, a, .topic = "x", .version = 5);
    ADD(&l, b);
    END(&l, b, .commit = true);
    ADD(&l, c, .version = 5);
    END(&l, c, .version = 5);
    char *before = ledger_dump(&l);
    ledger_fail_over(&l);
    char *after = ledger_dump(&l);
    cr_assert_str_eq(before, after);
    free(before);
    free(after);
    cr_assert_err(end_err(&l, END(&l, a, .commit = true)), ERR_NONE);
    cr_assert_err(end_err(&l, END(&l, b, .commit = true)), ERR_NONE);
}

Test(txn_life, markers_are_resumed_with_the_new_epoch)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who, .both = true);
    l.hold_markers = true;
    END(&l, who, .commit = true);
    cr_assert_eq(l.markers[0]->coordinator_epoch, 1);
    ledger_marker(&l, 0, TXN_MARKER_WRITTEN);
    ledger_fail_over(&l);
    cr_assert_eq(l.markers_len, 2, "nobody knows that one was written");
    cr_assert_eq(l.markers[0]->coordinator_epoch, 2);
    cr_assert(l.markers[0]->committed);
    ledger_markers(&l);
    cr_assert_state("t", "CompleteCommit");
}

Test(txn_life, a_new_coordinator_acts_on_nothing_that_may_be_lost)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who);
    l.hold = l.hold_markers = true;
    int end = END(&l, who, .commit = true);
    int64_t with_end = l.end_offset;
    ledger_fail_over(&l);
    cr_assert_err(end_err(&l, end), ERR_NOT_COORDINATOR);
    cr_assert_eq(l.markers_len, 0);
    ledger_fail_over_at(&l, with_end - 1);
    ledger_commit(&l);
    cr_assert_state("t", "Ongoing");
    cr_assert_eq(l.markers_len, 0);
    l.hold = false;
    cr_assert_err(end_err(&l, END(&l, who)), ERR_NONE);
    cr_assert_not(l.markers[0]->committed);
}

Test(txn_life, who_waits_when_leadership_is_lost_is_told)
{
    l.hold = true;
    int init = INIT(&l);
    txn_shard_resign(l.shard, l.time);
    cr_assert_err(init_err(&l, init), ERR_NOT_COORDINATOR);
    struct who who = {"t", 1, 0};
    cr_assert_err(init_err(&l, INIT(&l)), ERR_NOT_COORDINATOR);
    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_NOT_COORDINATOR);
    cr_assert_err(end_err(&l, END(&l, who)), ERR_NOT_COORDINATOR);
    struct list_transactions_request list = {.duration_filter = -1};
    int token = ledger_request(&l, API_LIST_TRANSACTIONS, 1, &list);
    cr_assert_err(
        txn_answer_of(&l, token)->response.list_transactions.error_code,
        ERR_NONE);
}

/* ---- markers -------------------------------------------------------------*/

Test(txn_life, markers_are_sent_until_each_partition_has_its_own)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who, .both = true);
    ADD(&l, who, .partition = 5, .both = true);
    l.hold_markers = true;
    END(&l, who, .commit = true);
    cr_assert_eq(l.markers_len, 4);
    ledger_marker(&l, 0, TXN_MARKER_WRITTEN);
    ledger_marker(&l, 1, TXN_MARKER_RETRY);
    ledger_marker(&l, 2, TXN_MARKER_FENCED);
    ledger_marker(&l, 3, TXN_MARKER_GONE);
    cr_assert_state("t", "PrepareCommit");
    cr_assert_eq(l.markers_len, 4);
    ledger_pass(&l, 1000);
    cr_assert_eq(l.markers_len, 6, "what failed, and nothing else");
    cr_assert_eq(l.markers[4]->partition, 1);
    cr_assert_eq(l.markers[5]->partition, 5);
    for (int i = 0; i < 100; i++) {
        ledger_marker(&l, l.markers_len - 1, TXN_MARKER_RETRY);
        ledger_pass(&l, 1000);
    }
    cr_assert_eq(l.markers_len, 106);
    ledger_markers(&l);
    cr_assert_state("t", "CompleteCommit");
}

Test(txn_life, late_markers_end_nothing_of_the_next_transaction)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who);
    l.hold_markers = true;
    END(&l, who, .commit = true);
    struct txn_marker late = *l.markers[0];
    ledger_markers(&l);
    ADD(&l, who);
    END(&l, who, .commit = true);
    cr_assert_neq(l.markers[1]->round, late.round);
    l.markers[1]->round = late.round;
    ledger_marker(&l, 1, TXN_MARKER_WRITTEN);
    cr_assert_state("t", "PrepareCommit");
}

Test(txn_life, markers_in_flight_are_bounded)
{
    tear_down();
    ledger_init(&l);
    l.options.config.markers_in_flight_max = 3;
    ledger_start(&l);
    struct who who = init_ok(&l, "t");
    for (int p = 0; p < 10; p++)
        ADD(&l, who, .partition = p);
    l.hold_markers = true;
    END(&l, who, .commit = true);
    cr_assert_eq(l.markers_len, 3);
    ledger_marker(&l, 0, TXN_MARKER_WRITTEN);
    cr_assert_eq(l.markers_len, 4);
    ledger_markers(&l);
    cr_assert_eq(l.markers_len, 10);
    cr_assert_state("t", "CompleteCommit");
}

Test(txn_life, what_a_partitions_error_means)
{
    const struct {
        enum err err;
        enum txn_marker_result want;
    } rows[] = {
        {ERR_NONE, TXN_MARKER_WRITTEN},
        {ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, TXN_MARKER_WRITTEN},
        {ERR_INVALID_PRODUCER_EPOCH, TXN_MARKER_FENCED},
        {ERR_TRANSACTION_COORDINATOR_FENCED, TXN_MARKER_FENCED},
        {ERR_UNKNOWN_TOPIC_OR_PARTITION, TXN_MARKER_RETRY},
        {ERR_NOT_LEADER_OR_FOLLOWER, TXN_MARKER_RETRY},
        {ERR_NOT_ENOUGH_REPLICAS, TXN_MARKER_RETRY},
        {ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, TXN_MARKER_RETRY},
        {ERR_REQUEST_TIMED_OUT, TXN_MARKER_RETRY},
        {ERR_KAFKA_STORAGE_ERROR, TXN_MARKER_RETRY},
        {ERR_UNSUPPORTED_VERSION, TXN_MARKER_RETRY},
        {ERR_CLOSED, TXN_MARKER_RETRY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(txn_marker_result_of(rows[i].err), rows[i].want, "%s",
                     err_name(rows[i].err));
}

/* ---- time ----------------------------------------------------------------*/

Test(txn_life, a_transaction_that_takes_too_long_is_aborted)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who);
    ledger_pass(&l, MINUTE - 1);
    cr_assert_state("t", "Ongoing");
    ledger_pass(&l, 10001); /* it is looked at every 10 s */
    cr_assert_state("t", "CompleteAbort");
    cr_assert_eq(l.markers_len, 1);
    cr_assert_eq(describe_one(&l, "t")->producer_epoch, 1);
    cr_assert_err(end_err(&l, END(&l, who, .commit = true)),
                  ERR_PRODUCER_FENCED);
    cr_assert_err(end_err(&l, END(&l, who, .commit = true, .version = 1)),
                  ERR_INVALID_PRODUCER_EPOCH);
}

Test(txn_life, a_producer_that_bumps_learns_of_the_timeout_and_goes_on)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who, .version = 5);
    ledger_pass(&l, 2 * MINUTE);
    cr_assert_err(end_err(&l, END(&l, who, .commit = true, .version = 5)),
                  ERR_INVALID_TXN_STATE);
    struct who next = end_of(&l, END(&l, who, .version = 5), "t");
    cr_assert_eq(next.epoch, 1);
    cr_assert_err(add_err(&l, ADD(&l, next, .version = 5)), ERR_NONE);
}

Test(txn_life, timeouts_go_on_after_a_fail_over)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who);
    ledger_pass(&l, 40000);
    ledger_fail_over(&l);
    ledger_pass(&l, 30001);
    cr_assert_state("t", "CompleteAbort");
}

/* The coordinator's clock is a day ahead, and then another's counts, or its
 * own again. */
Test(txn_life, timeouts_do_not_wait_for_a_clock_that_was_ahead)
{
    const int64_t day_ms = 24 * 60 * MINUTE;

    for (int fails_over = 0; fails_over < 2; fails_over++) {
        const char *id = fails_over ? "other" : "same";
        l.time.wall_ms += day_ms;
        struct who who = init_ok(&l, id);
        ADD(&l, who);
        l.time.wall_ms -= day_ms;
        if (fails_over)
            ledger_fail_over(&l);
        ledger_pass(&l, MINUTE - 1);
        cr_assert_state(id, "Ongoing");
        ledger_pass(&l, 10001);
        cr_assert_state(id, "CompleteAbort");
    }
}

Test(txn_life, a_timeout_waits_for_an_append_that_works)
{
    struct who who = init_ok(&l, "t");
    ADD(&l, who);
    l.append_err = ERR_NOT_ENOUGH_REPLICAS;
    ledger_pass(&l, 10 * MINUTE);
    cr_assert_state("t", "Ongoing");
    l.append_err = ERR_NONE;
    ledger_pass(&l, 10000);
    cr_assert_state("t", "CompleteAbort");
}

Test(txn_life, ids_that_nobody_uses_are_forgotten)
{
    struct who who = init_ok(&l, "t");
    struct who open = init_of(&l, INIT(&l, .id = "open"), "open");
    ADD(&l, who);
    END(&l, who, .commit = true);
    ledger_pass(&l, 7 * DAY - HOUR);
    cr_assert_state("t", "CompleteCommit");
    ADD(&l, open);
    ledger_pass(&l, 2 * HOUR);
    cr_assert_err(describe_one(&l, "t")->error_code,
                  ERR_TRANSACTIONAL_ID_NOT_FOUND);
    cr_assert_err(end_err(&l, END(&l, who, .commit = true)),
                  ERR_INVALID_PRODUCER_ID_MAPPING);
    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_INVALID_PRODUCER_ID_MAPPING);
    cr_assert_state("open", "CompleteAbort");
    ledger_fail_over(&l);
    cr_assert_eq(txn_coord_count(txn_shard_coord(l.shard)), 1);
    cr_assert_neq(init_ok(&l, "t").producer_id, who.producer_id);
}

/* ---- bounds, records -----------------------------------------------------*/

Test(txn_life, memory_is_bounded)
{
    tear_down();
    ledger_init(&l);
    l.options.config.txns_max_bytes = 3000;
    ledger_start(&l);
    struct who who = init_ok(&l, "t");
    int n = 0;
    char id[32];
    do {
        snprintf(id, sizeof id, "id-%d", n++);
    } while (init_err(&l, INIT(&l, .id = id)) == ERR_NONE && n < 1000);
    cr_assert_lt(n, 1000);
    cr_assert_err(init_err(&l, INIT(&l, .id = id)),
                  ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_err(add_err(&l, ADD(&l, who)), ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_err(init_err(&l, INIT(&l)), ERR_NONE); /* old ones go on */
}

Test(txn_life, a_record_that_would_be_too_large_is_refused_while_it_can_end)
{
    tear_down();
    ledger_init(&l);
    l.options.batch_max_bytes = 2000;
    ledger_start(&l);
    struct who who = init_ok(&l, "t");
    int p = 0;
    while (add_err(&l, ADD(&l, who, .partition = p)) == ERR_NONE && p < 2000)
        p++;
    cr_assert_lt(p, 2000);
    cr_assert_err(add_err(&l, ADD(&l, who, .partition = p)),
                  ERR_UNKNOWN_SERVER_ERROR);
    cr_assert_err(end_err(&l, END(&l, who, .commit = true)), ERR_NONE);
    cr_assert_state("t", "CompleteCommit");
}

static enum err replay_value(struct txn_coord *coord,
                             struct transaction_log_value value)
{
    struct transaction_log_key key = {SLICE("t")};
    struct buf k = BUF_INIT, v = BUF_INIT;

    value.next_producer_epoch = -1;
    value.previous_producer_id = value.next_producer_id = -1;
    cr_assert_eq(coordinator_key_encode(&transaction_log_key_desc, &key, &k),
                 0);
    cr_assert_eq(
        coordinator_value_encode(&transaction_log_value_desc, 0, &value, &v),
        0);
    enum err err = txn_coord_replay(coord, buf_slice(&k), buf_slice(&v));
    buf_free(&k);
    buf_free(&v);
    return err;
}

Test(txn_life, records_that_make_no_sense_are_skipped)
{
    struct txn_config config;
    txn_config_init(&config);
    struct txn_coord *coord = txn_coord_create(&config);

    const struct transaction_log_value bad[] = {
        {.transaction_status = TXN_DEAD},
        {.transaction_status = -1},
        {.producer_epoch = -1},
        {.producer_id = -1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_err(replay_value(coord, bad[i]), ERR_MALFORMED);
    cr_assert_err(txn_coord_replay(coord, SLICE("\x00\x09zz"), SLICE("")),
                  ERR_UNSUPPORTED_VERSION);
    cr_assert_neq(txn_coord_replay(coord, SLICE("\x00"), SLICE("")), ERR_NONE);
    cr_assert_eq(txn_coord_count(coord), 0);
    const struct transaction_log_value good = {0};
    cr_assert_err(replay_value(coord, good), ERR_NONE);
    cr_assert_eq(txn_coord_count(coord), 1);
    txn_coord_free(coord);
}

/* ---- patterns ------------------------------------------------------------*/

Test(coord_pattern, rows)
{
    const struct {
        const char *pattern;
        const char *id;
        int want; /* -1: no pattern */
    } rows[] = {
        {"abc", "abc", 1},
        {"abc", "abcd", 0},
        {"ab", "abc", 0},
        {"", "", 1},
        {"a.c", "abc", 1},
        {"a*", "", 1},
        {"a*", "aaaa", 1},
        {"a*b", "aaab", 1},
        {"a+", "", 0},
        {"a+b?", "aab", 1},
        {"a+b?", "aabb", 0},
        {"a|bc|d", "bc", 1},
        {"a|bc|d", "abc", 0},
        {"(a|b)*c", "abbac", 1},
        {"(?:ab)+", "ababab", 1},
        {"(?:ab)+", "ababa", 0},
        {"a{3}", "aaa", 1},
        {"a{3}", "aa", 0},
        {"a{2,3}", "aaaa", 0},
        {"a{2,}", "aaaaaa", 1},
        {"a{2,}", "a", 0},
        {"a{0}b", "b", 1},
        {"a{0,}", "", 1},
        {"(ab){2}", "abab", 1},
        {"a{,2}", "a{,2}", 1},
        {"[a-c]+", "abcab", 1},
        {"[a-c]+", "abd", 0},
        {"[^a-c]", "d", 1},
        {"[^a-c]", "a", 0},
        {"[]a]+", "]a]", 1},
        {"[a-]+", "a-a", 1},
        {"[\\d_]+", "1_2", 1},
        {"\\w+-\\d+", "shop_A-12", 1},
        {"\\W", "-", 1},
        {"\\D\\S", "a-", 1},
        {"a\\.b", "a.b", 1},
        {"a\\.b", "axb", 0},
        {"^abc$", "abc", 1},
        {"a^b", "ab", 0},
        {"a.*?z", "abcz", 1},
        {".*", "anything at all", 1},
        {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", 0},
        {"(", "", -1},
        {")", "", -1},
        {"a)", "", -1},
        {"[a", "", -1},
        {"[", "", -1},
        {"*a", "", -1},
        {"a**", "", -1},
        {"a{3,2}", "", -1},
        {"a{2000}", "", -1},
        {"((a{100}){100}){100}", "", -1},
        {"\\", "", -1},
        {"\\1", "", -1},
        {"(?<n>a)b", "ab", 1},
        {"(?P<name>a+)", "aa", 1},
        {"(?P=n)", "", -1},
        {"(?<>a)", "", -1},
        {"(?i)abC-d", "AbC-D", 1},
        {"a(?i)b", "aB", 1},
        {"a(?i)b", "AB", 0},
        {"(a(?i)b)c", "aBC", 0},
        {"(?i:a)b", "Ab", 1},
        {"(?i:a)b", "AB", 0},
        {"(?i)[^a]", "A", 0},
        {"(?i-i)a", "A", 0},
        {"(?ms)a.b", "a\nb", 1},
        {"a.b", "a\nb", 0},
        {"(?x)a", "", -1},
        {"(?)a", "", -1},
        {"(?=a)a", "", -1},
        {"(?!a)b", "", -1},
        {"(?>a)", "", -1},
        {"a*+", "", -1},
        {"a+?b??", "aa", 1},
        {"[[:alpha:]]+", "abC", 1},
        {"[[:alpha:]]+", "ab1", 0},
        {"[[:^digit:]x-]+", "ab-", 1},
        {"[[:nothing:]]", "", -1},
        {"[[]+", "[[", 1},
        {"\\Aab\\z", "ab", 1},
        {"\\bab\\b", "ab", 1},
        {"a\\bb", "ab", 0},
        {"a\\Bb", "ab", 1},
        {"a\\b-b", "a-b", 1},
        {"\\Qa.b\\E.", "a.bc", 1},
        {"\\Qa.b\\E.", "axbc", 0},
        {"\\Qab\\E+", "abbb", 1},
        {"\\Qab\\E{2}c", "abbc", 1},
        {"\\Qa)|(", "a)|(", 1},
        {"(\\Q(\\E)*", "((", 1},
        {"a\\x2db", "a-b", 1},
        {"a\\x{2D}b", "a-b", 1},
        {"\\xg0", "", -1},
        {"\\pL", "", -1},
        {"\\C", "", -1},
        {"[z-a]", "", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct coord_pattern *p =
            coord_pattern_compile(slice_str(rows[i].pattern));
        int got =
            p == NULL ? -1 : coord_pattern_matches(p, slice_str(rows[i].id));

        cr_expect_eq(got, rows[i].want, "%s with %s: %d", rows[i].pattern,
                     rows[i].id, got);
        coord_pattern_free(p);
    }
}

/* What stands between `begin` and `end` is long. */
static bool compiles(const char *begin, char filler, int fillers,
                     const char *end)
{
    struct buf text = BUF_INIT;

    buf_put_slice(&text, slice_str(begin));
    for (int i = 0; i < fillers; i++)
        buf_put_u8(&text, (uint8_t)filler);
    buf_put_slice(&text, slice_str(end));
    struct coord_pattern *p = coord_pattern_compile(buf_slice(&text));
    bool is = p != NULL;
    coord_pattern_free(p);
    buf_free(&text);
    return is;
}

/* Its program may be short, but what is repeated is read so often. */
Test(coord_pattern, a_long_text_is_not_repeated_often)
{
    cr_expect(compiles("[", 'a', 30000, "]"));
    cr_expect(compiles("[", 'a', 30000, "]+"));
    cr_expect(compiles("[", 'a', 30000, "]{2}"));
    cr_expect_not(compiles("[", 'a', 30000, "]{1000}"));
    cr_expect_not(compiles("(?", 'i', 30000, "){1000}"));
    cr_expect_not(compiles("((?P<", 'a', 30000, ">a){30}){30}"));
    cr_expect(compiles("[a-zA-Z0-9._-]{1,249}", 'a', 0, ""));
    cr_expect(compiles("(?:[[:alnum:]]{1,20}[._-]){3,5}", 'a', 0, ""));
}

/* ---- markers on the wire -------------------------------------------------*/

TestSuite(txn_wire, .init = set_up, .fini = tear_down);

static int results[4]; /* how often each */

static void count_result(void *arg, struct txn_marker *marker,
                         enum txn_marker_result result)
{
    (void)arg;
    results[result]++;
    txn_marker_free(marker);
}

/* The markers that are held, as a list. */
static void take_markers(struct list *to)
{
    list_init(to);
    for (int i = 0; i < l.markers_len; i++)
        list_push_back(to, &l.markers[i]->link);
    l.markers_len = 0;
}

static void prepare(const char *id, bool commit)
{
    struct who who = init_ok(&l, id);

    ADD(&l, who, .both = true);
    ADD(&l, who, .topic = "b");
    END(&l, who, .commit = commit);
}

Test(txn_wire, markers_of_one_leader_make_one_request)
{
    struct list markers;

    l.hold_markers = true;
    prepare("one", true);
    prepare("two", false);
    take_markers(&markers);
    struct txn_marker_request *r = txn_marker_request_new(&markers, 100);
    cr_assert(list_empty(&markers));
    cr_assert_eq(r->request.markers_len, 2);
    cr_assert(r->request.markers[0].transaction_result);
    cr_assert_not(r->request.markers[1].transaction_result);
    cr_assert_eq(r->request.markers[0].coordinator_epoch, 1);
    cr_assert_eq(r->request.markers[0].decision, 1, "the first one");
    cr_assert_eq(r->request.markers[1].decision, 2);
    cr_assert_eq(r->request.markers[0].topics_len, 2);
    cr_assert_eq(r->request.markers[0].topics[0].partition_indexes_len, 2);
    cr_assert_eq(r->request.markers[0].topics[0].partition_indexes[1], 1);
    struct buf bytes = BUF_INIT;
    cr_assert_eq(kafka_encode(&write_txn_markers_request_desc, 2, &r->request,
                              &bytes, NULL),
                 ERR_NONE);
    buf_free(&bytes);

    struct write_txn_markers_response_writable_txn_marker_partition_result
        partitions[] = {{1, ERR_NONE}, {0, ERR_NOT_LEADER_OR_FOLLOWER}},
        fenced[] = {{0, ERR_TRANSACTION_COORDINATOR_FENCED}};
    struct write_txn_markers_response_writable_txn_marker_topic_result
        topics[] = {{SLICE("b"), fenced, 1}, {SLICE("a"), partitions, 2}};
    struct write_txn_markers_response_writable_txn_marker_result producers[] = {
        {r->request.markers[1].producer_id, topics, 2}};
    struct write_txn_markers_response response = {producers, 1};

    memset(results, 0, sizeof results);
    txn_marker_request_done(r, ERR_NONE, &response, count_result, NULL);
    cr_assert_eq(results[TXN_MARKER_WRITTEN], 1);
    cr_assert_eq(results[TXN_MARKER_FENCED], 1);
    cr_assert_eq(results[TXN_MARKER_RETRY], 4, "one, and all of the other");
}

Test(txn_wire, two_decisions_about_one_producer_make_two_requests)
{
    struct list markers;

    l.hold_markers = true;
    prepare("one", true);
    take_markers(&markers);
    LIST_ENTRY(markers.next, struct txn_marker, link)->producer_epoch++;
    struct txn_marker_request *a = txn_marker_request_new(&markers, 100);
    struct txn_marker_request *b = txn_marker_request_new(&markers, 1);
    struct txn_marker_request *c = txn_marker_request_new(&markers, 100);
    cr_assert_null(txn_marker_request_new(&markers, 100));
    memset(results, 0, sizeof results);
    txn_marker_request_done(a, ERR_CLOSED, NULL, count_result, NULL);
    txn_marker_request_done(b, ERR_CLOSED, NULL, count_result, NULL);
    txn_marker_request_done(c, ERR_CLOSED, NULL, count_result, NULL);
    cr_assert_eq(results[TXN_MARKER_RETRY], 3);
}
