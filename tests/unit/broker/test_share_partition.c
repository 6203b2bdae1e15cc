/* Each rule of a share-partition by itself. */
#include "broker/share/partition.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

enum { LOCK_MS = 30000 };

/* A share-partition whose writes wait until the test ends them. */
static struct {
    struct share_partition_config config;
    struct share_partition *p;
    struct share_update update;
    int64_t now_ms;
    struct share_waiter waiters[64];
    bool ended[64];
    int waiters_len;
    const struct share_write *write; /* the last that came out */
    int writes;
    bool news;
    char *text;
} s;

static void take_update(void)
{
    while (!list_empty(&s.update.ended)) {
        struct share_waiter *waiter = LIST_ENTRY(
            list_pop_front(&s.update.ended), struct share_waiter, link);

        cr_assert_not(s.ended[waiter - s.waiters]);
        s.ended[waiter - s.waiters] = true;
    }
    if (s.update.write != NULL) {
        s.write = s.update.write;
        s.writes++;
    }
    s.news = s.news || s.update.news;
    share_update_init(&s.update);
}

static void load(int64_t start, const struct share_batch *batches, uint32_t len)
{
    struct share_loaded loaded = {7, start, 100, batches, len};

    s.p = share_partition_create(&s.config, 3, &loaded, &s.update);
    if (s.p != NULL)
        take_update();
}

static void set_up(void)
{
    memset(&s, 0, sizeof s);
    s.now_ms = 1000;
    share_partition_config_init(&s.config);
    share_update_init(&s.update);
    load(0, NULL, 0);
}

static void tear_down(void)
{
    if (s.p == NULL)
        return;
    share_partition_check(s.p);
    share_partition_close(s.p, &s.update);
    take_update();
    for (int i = 0; i < s.waiters_len; i++)
        cr_assert(s.ended[i]);
    share_partition_free(s.p);
    free(s.text);
}

static void again(void)
{
    tear_down();
    set_up();
}

TestSuite(share_partition, .init = set_up, .fini = tear_down);

/* ---- doing ---------------------------------------------------------------*/

static char ranges_text[4096];

struct fetch_args {
    const char *member;
    int64_t from; /* 0: where the next fetch begins; -1: 0 */
    int32_t max;
    int32_t batch_size;
    bool strict;
    bool holes; /* of each batch only its first half is there */
};

/* Batches of ten records, [0-9], [10-19] and so on, up to `to`.  Returns what
 * came of it: "0-9x1 10-14x2". */
static const char *fetch_with(int64_t to, struct fetch_args args)
{
    struct share_log_batch batches[64];
    struct share_acquired acquired = {0};
    int64_t from = args.from != 0 ? args.from : share_partition_next_fetch(s.p);
    uint32_t len = 0;
    size_t at = 0;

    from = from < 0 ? 0 : from;
    for (int64_t base = from / 10 * 10; base < to; base += 10)
        batches[len++] =
            (struct share_log_batch){base, base + (args.holes ? 4 : 9), true};
    struct share_acquire request = {
        .member = slice_str(args.member != NULL ? args.member : "a"),
        .now_ms = s.now_ms,
        .from = from,
        .batches = batches,
        .batches_len = len,
        .max_records = args.max != 0 ? args.max : 1000,
        .batch_size = args.batch_size != 0 ? args.batch_size : 1000,
        .mode = args.strict ? SHARE_RECORD_LIMIT : SHARE_BATCH_OPTIMIZED};
    cr_assert_eq(
        (int)share_partition_acquire(s.p, &request, &acquired, &s.update), 0);
    ranges_text[0] = '\0';
    for (uint32_t i = 0; i < acquired.len; i++)
        at += (size_t)snprintf(
            ranges_text + at, sizeof ranges_text - at, "%s%lld-%lldx%d",
            i == 0 ? "" : " ", (long long)acquired.ranges[i].first,
            (long long)acquired.ranges[i].last, acquired.ranges[i].deliveries);
    share_acquired_free(&acquired);
    take_update();
    return ranges_text;
}
#define FETCH(to, ...) fetch_with((to), (struct fetch_args){__VA_ARGS__})

static int acks_of(const char *member, const struct share_ack *acks,
                   uint32_t len)
{
    int i = s.waiters_len++;

    share_partition_acknowledge(s.p, slice_str(member), acks, len, s.now_ms,
                                &s.waiters[i], &s.update);
    take_update();
    return i;
}

static int ack_by(const char *member, int64_t first, int64_t last, int type)
{
    int8_t types[1] = {(int8_t)type};

    return acks_of(member, &(struct share_ack){first, last, types, 1}, 1);
}

static int ack(int64_t first, int64_t last, int type)
{
    return ack_by("a", first, last, type);
}

static int release(const char *member)
{
    int i = s.waiters_len++;

    share_partition_release(s.p, slice_str(member), &s.waiters[i], &s.update);
    take_update();
    return i;
}

static void written(enum err err)
{
    share_partition_written(s.p, s.write->id, err, s.now_ms, &s.update);
    take_update();
}

static void pass(int64_t ms)
{
    s.now_ms += ms;
    if (share_partition_next_deadline(s.p) <= s.now_ms)
        share_partition_tick(s.p, s.now_ms, &s.update);
    take_update();
}

#define assert_window(want)                                                    \
    do {                                                                       \
        struct buf b_ = BUF_INIT;                                              \
        share_partition_check(s.p);                                            \
        share_partition_dump(s.p, &b_);                                        \
        buf_put_u8(&b_, 0);                                                    \
        cr_assert_str_eq((char *)b_.data, (want));                             \
        buf_free(&b_);                                                         \
    } while (0)
#define assert_ended(i, want)                                                  \
    do {                                                                       \
        int i_ = (i);                                                          \
        cr_assert(s.ended[i_]);                                                \
        cr_assert_eq((int)s.waiters[i_].err, (int)(want), "%s",                \
                     err_name((int)s.waiters[i_].err));                        \
    } while (0)
#define assert_waits(i) cr_assert_not(s.ended[i])

/* ---- acquiring -----------------------------------------------------------*/

Test(share_partition, a_fetch_takes_what_is_new)
{
    cr_assert_str_eq(FETCH(20), "0-19x1");
    assert_window("[0, 20)\n0-19 acquired 1 a\n");
    cr_assert_eq(share_partition_next_fetch(s.p), 20);
    cr_assert_str_eq(FETCH(20, .member = "b"), "");
    cr_assert_str_eq(FETCH(20, .member = "b", .from = -1), "");
}

Test(share_partition, results_are_cut_at_batches)
{
    cr_assert_str_eq(FETCH(60, .batch_size = 15), "0-19x1 20-39x1 40-59x1");
    assert_window("[0, 60)\n0-59 acquired 1 a\n");
}

Test(share_partition, max_records_is_exceeded_to_the_end_of_a_batch)
{
    cr_assert_str_eq(FETCH(60, .max = 15), "0-19x1");
    cr_assert_str_eq(FETCH(60, .max = 15, .strict = true), "20-34x1");
    cr_assert_str_eq(FETCH(60, .max = 1), "35-39x1");
}

Test(share_partition, limit_of_record_locks)
{
    again();
    s.config.max_record_locks = 25;
    share_partition_configure(s.p, &s.config);
    cr_assert_str_eq(FETCH(100), "0-29x1");
    cr_assert_not(share_partition_can_acquire(s.p));
    cr_assert_str_eq(FETCH(100), "");
    ack(5, 9, SHARE_ACK_RELEASE);
    written(ERR_NONE);
    cr_assert(share_partition_can_acquire(s.p));
    cr_assert_str_eq(FETCH(100), "5-9x2");
    ack(0, 9, SHARE_ACK_ACCEPT);
    s.news = false;
    written(ERR_NONE);
    cr_assert(s.news);
    cr_assert_str_eq(FETCH(100, .strict = true), "30-34x1");
}

Test(share_partition, a_giant_batch_is_cut)
{
    static const struct share_log_batch giant[] = {{0, 1000000, true}};
    struct share_acquired acquired = {0};

    share_partition_acquire(s.p,
                            &(struct share_acquire){.member = SLICE("a"),
                                                    .batches = giant,
                                                    .batches_len = 1,
                                                    .max_records = 500,
                                                    .batch_size = 500},
                            &acquired, &s.update);
    cr_assert_eq(acquired.records, 4000);
    share_acquired_free(&acquired);
}

Test(share_partition, what_the_log_has_not_is_archived)
{
    cr_assert_str_eq(FETCH(30, .holes = true), "0-4x1 10-14x1 20-24x1");
    assert_window("[0, 25)\n0-4 acquired 1 a\n5-9 archived 0\n"
                  "10-14 acquired 1 a\n15-19 archived 0\n"
                  "20-24 acquired 1 a\n");
    ack(0, 4, SHARE_ACK_ACCEPT);
    written(ERR_NONE);
    assert_window("[10, 25)\n10-14 acquired 1 a\n15-19 archived 0\n"
                  "20-24 acquired 1 a\n");
}

Test(share_partition, what_compaction_removed_meanwhile)
{
    FETCH(20);
    pass(LOCK_MS);
    written(ERR_NONE);
    cr_assert_str_eq(FETCH(20, .holes = true), "0-4x2 10-14x2");
    assert_window("[0, 20)\n0-4 acquired 2 a\n5-9 archived 0\n"
                  "10-14 acquired 2 a\n15-19 available 1\n");
}

Test(share_partition, control_batches_and_aborted_ones_go_to_nobody)
{
    static const struct share_log_batch log[] = {
        {0, 4, false}, {5, 9, true}, {10, 10, false}};
    struct share_acquired acquired = {0};

    share_partition_acquire(s.p,
                            &(struct share_acquire){.member = SLICE("a"),
                                                    .batches = log,
                                                    .batches_len = 3,
                                                    .max_records = 500,
                                                    .batch_size = 500},
                            &acquired, &s.update);
    cr_assert_eq(acquired.records, 5);
    share_acquired_free(&acquired);
    assert_window("[5, 11)\n5-9 acquired 1 a\n10-10 archived 0\n");
    cr_assert_eq(s.writes, 0);
}

/* ---- acknowledging -------------------------------------------------------*/

Test(share_partition, the_start_moves_when_it_is_written)
{
    FETCH(20);
    int w = ack(0, 9, SHARE_ACK_ACCEPT);
    assert_waits(w);
    assert_window("[0, 20)\n0-9 acquired 1 a -> acknowledged\n"
                  "10-19 acquired 1 a\n");
    cr_assert_eq(s.write->batches_len, 1);
    cr_assert_eq(s.write->start_offset, 0);
    cr_assert_eq(s.write->state_epoch, 7);
    cr_assert_eq(s.write->leader_epoch, 3);
    cr_assert_eq(s.write->delivery_complete_count, 10);
    written(ERR_NONE);
    assert_ended(w, ERR_NONE);
    assert_window("[10, 20)\n10-19 acquired 1 a\n");
}

Test(share_partition, types_for_each)
{
    int8_t types[5] = {1, 1, 2, 3, 0};

    FETCH(10);
    int w = acks_of("a", &(struct share_ack){2, 6, types, 5}, 1);
    cr_assert_eq(s.write->batches_len, 3);
    written(ERR_NONE);
    assert_ended(w, ERR_NONE);
    assert_window("[0, 10)\n0-1 acquired 1 a\n2-3 acknowledged 1\n"
                  "4-4 available 1\n5-6 archived 1\n7-9 acquired 1 a\n");
    cr_assert_str_eq(FETCH(10, .member = "b"), "4-4x2");
}

Test(share_partition, runs_join_again)
{
    FETCH(10);
    for (int64_t o = 9; o >= 1; o--) {
        ack(o, o, SHARE_ACK_ACCEPT);
        written(ERR_NONE);
    }
    assert_window("[0, 10)\n0-0 acquired 1 a\n1-9 acknowledged 1\n");
}

Test(share_partition, errors_change_nothing)
{
    static const struct {
        const char *member;
        int64_t first, last;
        int type;
        enum err want;
    } rows[] = {
        {"a", 3, 2, 1, ERR_INVALID_REQUEST},
        {"a", -5, 2, 1, ERR_INVALID_REQUEST},
        {"a", 0, INT64_MAX, 1, ERR_INVALID_REQUEST},
        {"a", INT64_MIN, INT64_MAX, 1, ERR_INVALID_REQUEST},
        {"a", 0, 2, 5, ERR_INVALID_REQUEST},
        {"a", 0, 2, -1, ERR_INVALID_REQUEST},
        {"a", 0, 20, 1, ERR_INVALID_REQUEST},
        {"a", 20, 30, 1, ERR_INVALID_REQUEST},
        {"b", 0, 9, 1, ERR_INVALID_RECORD_STATE},
        {"", 0, 9, 1, ERR_INVALID_RECORD_STATE},
        {"a", 0, 19, 1, ERR_INVALID_RECORD_STATE},
    };
    int8_t types[3] = {1, 1, 9};

    FETCH(10);
    FETCH(20, .member = "b");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_ended(
            ack_by(rows[i].member, rows[i].first, rows[i].last, rows[i].type),
            rows[i].want);
    struct share_ack wrong[] = {
        {0, 9, types, 2}, {0, 9, types, 0}, {0, 2, types, 3}, {0, 9, NULL, -1}};
    for (int i = 0; i < 4; i++)
        assert_ended(acks_of("a", &wrong[i], 1), ERR_INVALID_REQUEST);
    struct share_ack overlap[] = {{0, 4, types, 1}, {4, 6, types, 1}};
    assert_ended(acks_of("a", overlap, 2), ERR_INVALID_REQUEST);
    struct share_ack half[] = {{0, 4, types, 1}, {10, 12, types, 1}};
    assert_ended(acks_of("a", half, 2), ERR_INVALID_RECORD_STATE);
    cr_assert_eq(s.writes, 0);
    assert_window("[0, 20)\n0-9 acquired 1 a\n10-19 acquired 1 b\n");
}

Test(share_partition, twice_is_an_error)
{
    FETCH(10);
    int first = ack(0, 4, SHARE_ACK_ACCEPT);
    assert_ended(ack(4, 4, SHARE_ACK_ACCEPT), ERR_INVALID_RECORD_STATE);
    written(ERR_NONE);
    assert_ended(first, ERR_NONE);
    assert_ended(ack(0, 4, SHARE_ACK_ACCEPT), ERR_NONE); /* below the start */
    ack(7, 7, SHARE_ACK_ACCEPT);
    written(ERR_NONE);
    assert_ended(ack(7, 7, SHARE_ACK_ACCEPT), ERR_INVALID_RECORD_STATE);
}

Test(share_partition, nothing_was_handed_out)
{
    assert_ended(ack(0, 4, SHARE_ACK_ACCEPT), ERR_INVALID_RECORD_STATE);
}

Test(share_partition, release_counts_and_ends_at_the_limit)
{
    again();
    s.config.delivery_count_limit = 2; /* nobody is a suspect */
    share_partition_configure(s.p, &s.config);
    for (int i = 1; i <= 2; i++) {
        cr_assert_str_eq(FETCH(1), i == 1 ? "0-9x1" : "0-9x2");
        ack(0, 9, SHARE_ACK_RELEASE);
        written(ERR_NONE);
    }
    assert_window("[10, 10)\n");
}

/* All that came is given back. */
static void fail(int64_t first, int64_t last)
{
    ack(first, last, SHARE_ACK_RELEASE);
    written(ERR_NONE);
}

Test(share_partition, suspects_come_alone_and_few_at_once)
{
    cr_assert_str_eq(FETCH(20), "0-19x1");
    fail(0, 19);
    cr_assert_str_eq(FETCH(20), "0-19x2");
    fail(0, 19);
    cr_assert_str_eq(FETCH(20), "0-19x3");
    fail(0, 19);
    /* from the third delivery on half a batch, and nothing that is new */
    cr_assert_str_eq(FETCH(30), "0-4x4");
    cr_assert_str_eq(FETCH(30), "5-9x4");
    cr_assert_str_eq(FETCH(30), "10-14x4");
    fail(0, 9);
    /* for the last time one by one */
    cr_assert_str_eq(FETCH(30), "0-0x5");
    cr_assert_str_eq(FETCH(30, .strict = true), "1-1x5");
    fail(0, 0);
    ack(1, 1, SHARE_ACK_ACCEPT);
    written(ERR_NONE);
    assert_window("[2, 20)\n2-9 available 4\n10-14 acquired 4 a\n"
                  "15-19 available 3\n");
}

Test(share_partition, suspects_wait_behind_others)
{
    FETCH(20);
    for (int i = 0; i < 2; i++) {
        fail(10, 19);
        FETCH(20);
    }
    fail(0, 19);
    assert_window("[0, 20)\n0-9 available 1\n10-19 available 3\n");
    cr_assert_str_eq(FETCH(30), "0-9x2");
    cr_assert_str_eq(FETCH(30, .max = 3, .strict = true), "10-12x4");
    cr_assert_str_eq(FETCH(30), "13-17x4");
}

Test(share_partition, acks_meanwhile_share_the_next_write)
{
    FETCH(10);
    int a = ack(0, 0, SHARE_ACK_ACCEPT);
    int b = ack(1, 1, SHARE_ACK_ACCEPT), c = ack(3, 3, SHARE_ACK_REJECT);
    cr_assert_eq(s.writes, 1);
    written(ERR_NONE);
    assert_ended(a, ERR_NONE);
    assert_waits(b);
    cr_assert_eq(s.writes, 2);
    cr_assert_eq(s.write->batches_len, 2);
    cr_assert_eq(s.write->start_offset, 1);
    written(ERR_NONE);
    assert_ended(b, ERR_NONE);
    assert_ended(c, ERR_NONE);
}

/* ---- locks ---------------------------------------------------------------*/

Test(share_partition, locks_time_out)
{
    FETCH(10);
    cr_assert_eq(share_partition_next_deadline(s.p), 1000 + LOCK_MS);
    pass(LOCK_MS - 1);
    assert_window("[0, 10)\n0-9 acquired 1 a\n");
    s.news = false;
    pass(1);
    cr_assert(s.news);
    assert_window("[0, 10)\n0-9 available 1\n");
    cr_assert_eq(s.write->batches_len, 1);
    assert_ended(ack(0, 9, SHARE_ACK_ACCEPT), ERR_INVALID_RECORD_STATE);
    /* handed out before that is written */
    cr_assert_str_eq(FETCH(10, .member = "b"), "0-9x2");
    written(ERR_NONE);
    assert_window("[0, 10)\n0-9 acquired 2 b\n");
}

Test(share_partition, timeouts_end_at_the_limit)
{
    s.config.delivery_count_limit = 2;
    share_partition_configure(s.p, &s.config);
    for (int i = 0; i < 2; i++) {
        FETCH(10);
        pass(LOCK_MS);
        written(ERR_NONE);
    }
    assert_window("[10, 10)\n");
}

Test(share_partition, renewing)
{
    FETCH(10);
    pass(20000);
    assert_ended(ack(0, 4, SHARE_ACK_RENEW), ERR_NONE);
    cr_assert_eq(s.writes, 0);
    pass(10000);
    assert_window("[0, 10)\n0-4 acquired 1 a\n5-9 available 1\n");
    pass(20000);
    written(ERR_NONE);
    written(ERR_NONE);
    assert_window("[0, 10)\n0-9 available 1\n");
    s.config.renew_enabled = false;
    share_partition_configure(s.p, &s.config);
    FETCH(10);
    assert_ended(ack(0, 4, SHARE_ACK_RENEW), ERR_INVALID_REQUEST);
}

Test(share_partition, a_session_ends)
{
    FETCH(10);
    FETCH(20, .member = "b");
    ack(0, 1, SHARE_ACK_ACCEPT);
    int w = release("a");
    assert_ended(release("nobody"), ERR_NONE);
    written(ERR_NONE);
    assert_waits(w);
    written(ERR_NONE);
    assert_ended(w, ERR_NONE);
    assert_window("[2, 20)\n2-9 available 1\n10-19 acquired 1 b\n");
    cr_assert_str_eq(FETCH(20, .member = "c"), "2-9x2");
}

/* ---- writes that fail ----------------------------------------------------*/

Test(share_partition, refused_is_taken_back)
{
    FETCH(10);
    int w = ack(0, 4, SHARE_ACK_ACCEPT);
    written(ERR_INVALID_REQUEST);
    assert_ended(w, ERR_INVALID_REQUEST);
    assert_window("[0, 10)\n0-9 acquired 1 a\n");
    assert_ended(release("b"), ERR_NONE);
    w = ack(0, 9, SHARE_ACK_ACCEPT);
    written(ERR_NONE);
    assert_ended(w, ERR_NONE);
}

Test(share_partition, refused_after_the_lock)
{
    FETCH(10);
    int w = ack(0, 4, SHARE_ACK_ACCEPT);
    pass(LOCK_MS);
    assert_window("[0, 10)\n0-4 acquired 1 a -> acknowledged\n"
                  "5-9 available 1\n");
    written(ERR_MESSAGE_TOO_LARGE);
    assert_ended(w, ERR_MESSAGE_TOO_LARGE);
    assert_window("[0, 10)\n0-9 available 1\n");
}

Test(share_partition, in_doubt_goes_to_nobody)
{
    FETCH(10);
    int w = ack(0, 9, SHARE_ACK_ACCEPT);
    uint64_t id = s.write->id;
    written(ERR_NETWORK_EXCEPTION);
    assert_ended(w, ERR_NETWORK_EXCEPTION);
    for (int i = 0; i < 50; i++) {
        pass(1000);
        cr_assert_eq(s.write->id, id);
        cr_assert_eq(s.writes, i + 2);
        written(i % 2 == 0 ? ERR_NOT_COORDINATOR : ERR_REQUEST_TIMED_OUT);
    }
    assert_window("[0, 10)\n0-9 acquired 1 a -> acknowledged\n");
    written(ERR_NONE);
    assert_window("[10, 10)\n");
}

Test(share_partition, who_comes_while_a_write_is_in_doubt_hears_of_it)
{
    FETCH(10);
    int first = ack(0, 4, SHARE_ACK_ACCEPT);
    int late = ack(5, 9, SHARE_ACK_ACCEPT);
    written(ERR_COORDINATOR_NOT_AVAILABLE);
    assert_ended(first, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_ended(late, ERR_COORDINATOR_NOT_AVAILABLE);
    pass(1000);
    written(ERR_NONE);
    written(ERR_NONE); /* of what was decided meanwhile */
    assert_window("[10, 10)\n");
}

Test(share_partition, fenced_is_the_end)
{
    FETCH(10);
    int a = ack(0, 4, SHARE_ACK_ACCEPT), b = ack(5, 5, SHARE_ACK_ACCEPT);
    written(ERR_FENCED_STATE_EPOCH);
    assert_ended(a, ERR_NOT_LEADER_OR_FOLLOWER);
    assert_ended(b, ERR_NOT_LEADER_OR_FOLLOWER);
    assert_ended(ack(6, 6, SHARE_ACK_ACCEPT), ERR_NOT_LEADER_OR_FOLLOWER);
    assert_ended(release("a"), ERR_NOT_LEADER_OR_FOLLOWER);
    cr_assert_eq(share_partition_next_deadline(s.p), INT64_MAX);
    cr_assert_not(share_partition_can_acquire(s.p));
}

Test(share_partition, late_news_of_a_write)
{
    FETCH(10);
    ack(0, 4, SHARE_ACK_ACCEPT);
    uint64_t id = s.write->id;
    written(ERR_NONE);
    share_partition_written(s.p, id, ERR_FENCED_LEADER_EPOCH, 0, &s.update);
    share_partition_written(s.p, id + 1, ERR_NONE, 0, &s.update);
    take_update();
    assert_window("[5, 10)\n5-9 acquired 1 a\n");
}

/* ---- the start of the log ------------------------------------------------*/

Test(share_partition, the_log_start_moves)
{
    FETCH(20);
    ack(0, 12, SHARE_ACK_RELEASE);
    share_partition_log_start(s.p, 10, &s.update);
    take_update();
    assert_window("[10, 20)\n10-12 acquired 1 a -> available\n"
                  "13-19 acquired 1 a\n");
    assert_ended(ack(0, 9, SHARE_ACK_ACCEPT), ERR_NONE);
    written(ERR_NONE);
    assert_window("[10, 20)\n10-12 available 1\n13-19 acquired 1 a\n");
    share_partition_log_start(s.p, 50, &s.update);
    take_update();
    assert_window("[50, 50)\n");
    cr_assert_str_eq(FETCH(60), "50-59x1");
}

/* ---- loading -------------------------------------------------------------*/

Test(share_partition, loading)
{
    static const struct share_batch batches[] = {{0, 4, SHARE_ACKNOWLEDGED, 1},
                                                 {8, 9, SHARE_AVAILABLE, 2},
                                                 {10, 19, SHARE_ARCHIVED, 5}};

    tear_down();
    load(0, batches, 3);
    assert_window("[5, 20)\n5-7 available 0\n8-9 available 2\n"
                  "10-19 archived 5\n");
    cr_assert_eq(s.writes, 0);
    cr_assert_str_eq(FETCH(30), "5-7x1 8-9x3 20-29x1");
}

Test(share_partition, a_start_that_was_unknown_is_written)
{
    tear_down();
    load(SHARE_START_UNKNOWN, NULL, 0);
    assert_window("[100, 100)\n");
    cr_assert_eq(s.write->start_offset, 100);
    cr_assert_eq(s.write->batches_len, 0);
    written(ERR_NONE);
}

Test(share_partition, state_that_makes_no_sense)
{
    static const struct share_batch bad[][2] = {
        {{5, 4, SHARE_AVAILABLE, 1}, {10, 10, SHARE_AVAILABLE, 1}},
        {{5, 9, SHARE_AVAILABLE, 1}, {9, 10, SHARE_AVAILABLE, 1}},
        {{5, 9, (enum share_state)3, 1}, {10, 10, SHARE_AVAILABLE, 1}},
        {{5, 9, SHARE_AVAILABLE, -1}, {10, 10, SHARE_AVAILABLE, 1}},
        {{2, 9, SHARE_AVAILABLE, 1}, {10, 10, SHARE_AVAILABLE, 1}},
        {{5, 9, SHARE_AVAILABLE, 1}, {10, INT64_MAX, SHARE_AVAILABLE, 1}},
    };

    tear_down();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        load(4, bad[i], 2);
        cr_assert_null(s.p, "%zu", i);
    }
    load(-7, NULL, 0);
    cr_assert_null(s.p);
}

Test(share_partition, a_limit_that_was_lowered)
{
    for (int i = 0; i < 3; i++) {
        FETCH(10);
        pass(LOCK_MS);
        written(ERR_NONE);
    }
    s.config.delivery_count_limit = 3;
    share_partition_configure(s.p, &s.config);
    cr_assert_str_eq(FETCH(20), "10-19x1");
    assert_window("[10, 20)\n10-19 acquired 1 a\n");
}
