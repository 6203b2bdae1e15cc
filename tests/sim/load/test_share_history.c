/* Each checker of share groups finds what it is for, and is silent otherwise.
 */
#include "tests/sim/load/share_history.h"

#include <criterion/criterion.h>

enum { LIMIT = 3, LOCK_MS = 10000, NODE = 1, OTHER_NODE = 2 };

static struct history *h;
static struct share_history *s;
static int64_t now_ms;

static void begin(void)
{
    struct history_promise promise = {false};

    h = history_new(&promise);
    s = share_history_new(h, LIMIT, false);
    now_ms = 1000;
}

static void end(void)
{
    share_history_free(s);
    history_free(h);
}

TestSuite(share_history, .init = begin, .fini = end);

/* Clients have one session each, of their own number. */
static struct share_history_ask ask(int client, int32_t node)
{
    return (struct share_history_ask){.client = client,
                                      .session = (uint64_t)client,
                                      .node = node,
                                      .sent = share_history_now(s),
                                      .sent_ms = now_ms};
}

/* Record 0/offset stands at its offset of partition 0. */
static void produce(int32_t count)
{
    uint64_t sending = share_history_sending(s, 0);

    share_history_produced(s, 0, 0, (struct share_history_id){0, 0}, count,
                           sending);
}

static void answer(const struct share_history_ask *a, int64_t offset,
                   int deliveries, int32_t epoch)
{
    struct share_history_got got = {.offset = offset,
                                    .id = {0, offset},
                                    .deliveries = deliveries,
                                    .epoch = epoch,
                                    .answered_ms = now_ms,
                                    .lock_ms = LOCK_MS};

    share_history_acquired(s, a, &got);
}

static void give_by(int client, int64_t offset, int deliveries, int32_t node,
                    int32_t epoch)
{
    struct share_history_ask a = ask(client, node);

    answer(&a, offset, deliveries, epoch);
}

static void give(int client, int64_t offset, int deliveries)
{
    give_by(client, offset, deliveries, NODE, 5);
}

static void say(int client, int64_t offset, enum share_history_type type,
                int deliveries, enum history_outcome outcome)
{
    struct share_history_ask a = ask(client, NODE);
    struct share_history_ack ack = {.offset = offset,
                                    .type = type,
                                    .deliveries = deliveries,
                                    .epoch = 5,
                                    .lock_ms = LOCK_MS,
                                    .answered_ms = now_ms};

    share_history_says(s, client, &ack);
    share_history_said(s, &a, &ack, outcome);
}

static void live(int client)
{
    struct share_history_ask a = ask(client, NODE);

    share_history_alive(s, &a, 0, 5);
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

Test(share_history, all_is_well)
{
    produce(3);
    give(1, 0, 1);
    give(1, 1, 1);
    give(2, 2, 1);
    say(1, 0, SHARE_HISTORY_ACCEPT, 1, HISTORY_ACKED);
    say(1, 1, SHARE_HISTORY_RELEASE, 1, HISTORY_ACKED);
    say(2, 2, SHARE_HISTORY_REJECT, 1, HISTORY_ACKED);
    give(2, 1, 2);
    say(2, 1, SHARE_HISTORY_ACCEPT, 2, HISTORY_ACKED);
    live(1);
    live(2);
    share_history_judge(s);
    expect(NULL);
}

/* ---- again --------------------------------------------------------------- */

Test(share_history, accepted_and_given_again)
{
    produce(1);
    give(1, 0, 1);
    say(1, 0, SHARE_HISTORY_ACCEPT, 1, HISTORY_ACKED);
    give(2, 0, 2);
    expect("share-again");
}

/* The lock was over when the leader read it; what that had archived was not
 * stored yet (seed 5111315). */
Test(share_history, accepted_in_time_and_answered_late)
{
    produce(1);
    give(1, 0, 1);
    struct share_history_ask a = ask(1, NODE);
    now_ms += LOCK_MS;
    struct share_history_ack ack = {.type = SHARE_HISTORY_ACCEPT,
                                    .deliveries = 1,
                                    .epoch = 5,
                                    .lock_ms = LOCK_MS,
                                    .answered_ms = now_ms};
    share_history_says(s, 1, &ack);
    share_history_said(s, &a, &ack, HISTORY_ACKED);
    give_by(2, 0, 2, OTHER_NODE, 6);
    expect(NULL);
}

Test(share_history, rejected_and_given_again_by_the_next_leader)
{
    produce(1);
    give(1, 0, 1);
    say(1, 0, SHARE_HISTORY_REJECT, 1, HISTORY_ACKED);
    give_by(2, 0, 2, OTHER_NODE, 6);
    expect("share-again");
}

Test(share_history, an_old_leader_does_not_know)
{
    produce(1);
    give(1, 0, 1);
    say(1, 0, SHARE_HISTORY_ACCEPT, 1, HISTORY_ACKED);
    give_by(2, 0, 2, OTHER_NODE, 4);
    give_by(2, 0, 2, OTHER_NODE, -1);
    expect(NULL);
}

Test(share_history, fetched_before_the_answer)
{
    produce(1);
    give(1, 0, 1);
    struct share_history_ask early = ask(2, NODE);
    say(1, 0, SHARE_HISTORY_ACCEPT, 1, HISTORY_ACKED);
    answer(&early, 0, 2, 5);
    expect(NULL);
}

Test(share_history, acceptance_that_nobody_acknowledged)
{
    produce(1);
    give(1, 0, 1);
    say(1, 0, SHARE_HISTORY_ACCEPT, 1, HISTORY_UNKNOWN);
    give(2, 0, 2);
    say(2, 0, SHARE_HISTORY_ACCEPT, 2, HISTORY_REFUSED);
    give(1, 0, 3);
    expect(NULL);
}

Test(share_history, accepted_when_its_lock_was_over)
{
    produce(1);
    give(1, 0, 1);
    now_ms += LOCK_MS;
    say(1, 0, SHARE_HISTORY_ACCEPT, 1, HISTORY_ACKED);
    give_by(2, 0, 2, NODE, 7);
    expect(NULL);
}

/* ---- two ----------------------------------------------------------------- */

Test(share_history, two_have_it)
{
    produce(1);
    give(1, 0, 1);
    now_ms += LOCK_MS / 2;
    give(2, 0, 2);
    expect(NULL); /* the first one's session may have ended */
    live(1);
    expect("share-two");
}

Test(share_history, the_same_session_is_given_it_twice)
{
    produce(1);
    give(1, 0, 1);
    give(1, 0, 2);
    live(1);
    expect("share-two");
}

Test(share_history, its_lock_was_over)
{
    produce(1);
    give(1, 0, 1);
    now_ms += LOCK_MS;
    give(2, 0, 2);
    live(1);
    expect(NULL);
}

Test(share_history, its_lock_was_renewed)
{
    produce(1);
    give(1, 0, 1);
    now_ms += LOCK_MS / 2;
    say(1, 0, SHARE_HISTORY_RENEW, 1, HISTORY_ACKED);
    now_ms += LOCK_MS * 3 / 4;
    give(2, 0, 2);
    live(1);
    expect("share-two");
}

Test(share_history, it_has_spoken)
{
    produce(1);
    give(1, 0, 1);
    say(1, 0, SHARE_HISTORY_RELEASE, 1, HISTORY_UNKNOWN);
    give(2, 0, 2);
    live(1);
    expect(NULL);
}

Test(share_history, its_session_had_ended)
{
    produce(1);
    give(1, 0, 1);
    give(2, 0, 2);
    share_history_left(s, 1, 1);
    live(1);
    expect(NULL);
    share_history_left(s, 2, 2);
    give(1, 0, 3);
    live(2);
    expect(NULL);
}

Test(share_history, leadership_was_elsewhere_meanwhile)
{
    produce(1);
    give(1, 0, 1);
    give_by(2, 0, 2, NODE, 7);
    live(1);
    give_by(1, 0, 3, OTHER_NODE, 8);
    live(2);
    expect(NULL);
}

Test(share_history, nobody_knows_who_led)
{
    struct share_history_ask later;

    produce(1);
    give(1, 0, 1);
    give(2, 0, 2);
    later = ask(1, NODE);
    share_history_alive(s, &later, 0, -1);
    live(1);
    expect(NULL);
}

/* ---- counts -------------------------------------------------------------- */

Test(share_history, given_too_often)
{
    produce(1);
    give(1, 0, LIMIT);
    expect(NULL);
    give(2, 0, LIMIT + 1);
    expect("share-count");
}

Test(share_history, deliveries_are_counted_anew)
{
    produce(1);
    give(1, 0, 2);
    say(1, 0, SHARE_HISTORY_RELEASE, 2, HISTORY_ACKED);
    give_by(2, 0, 1, OTHER_NODE, 6);
    expect("share-count");
}

Test(share_history, what_nobody_stored_may_be_forgotten)
{
    produce(2);
    give(1, 0, 2);
    share_history_left(s, 1, 1);
    give_by(2, 0, 2, OTHER_NODE, 6);
    give(1, 1, 2);
    say(1, 1, SHARE_HISTORY_RELEASE, 2, HISTORY_UNKNOWN);
    give_by(2, 1, 1, OTHER_NODE, 6);
    expect(NULL);
}

/* ---- lost ---------------------------------------------------------------- */

Test(share_history, nobody_ever_had_it)
{
    produce(1);
    share_history_judge(s);
    expect("share-lost");
}

Test(share_history, released_and_never_seen_again)
{
    produce(1);
    give(1, 0, 1);
    say(1, 0, SHARE_HISTORY_RELEASE, 1, HISTORY_ACKED);
    share_history_judge(s);
    expect("share-lost");
}

Test(share_history, acceptance_was_refused)
{
    produce(1);
    give(1, 0, 1);
    say(1, 0, SHARE_HISTORY_ACCEPT, 1, HISTORY_REFUSED);
    share_history_judge(s);
    expect("share-lost");
}

Test(share_history, given_up_after_all_deliveries)
{
    produce(1);
    give(1, 0, LIMIT);
    say(1, 0, SHARE_HISTORY_RELEASE, LIMIT, HISTORY_ACKED);
    share_history_judge(s);
    expect(NULL);
}

Test(share_history, fetches_without_an_answer_are_deliveries)
{
    produce(1);
    share_history_missed(s, 0);
    give(1, 0, 2);
    share_history_judge(s);
    expect(NULL);
}

Test(share_history, fetches_before_it_was_sent_are_none)
{
    for (int i = 0; i < LIMIT; i++)
        share_history_missed(s, 0);
    share_history_missed(s, 1);
    produce(1);
    share_history_judge(s);
    expect("share-lost");
}

/* ---- the rest ------------------------------------------------------------ */

Test(share_history, changed)
{
    struct share_history_ask a = ask(1, NODE);
    struct share_history_got got = {.offset = 0,
                                    .id = {0, 1},
                                    .deliveries = 1,
                                    .epoch = 5,
                                    .answered_ms = now_ms,
                                    .lock_ms = LOCK_MS};

    produce(1);
    share_history_acquired(s, &a, &got);
    expect("share-changed");
}

Test(share_history, nothing_is_promised)
{
    share_history_free(s);
    s = share_history_new(h, LIMIT, true);
    produce(1);
    give(1, 0, 1);
    say(1, 0, SHARE_HISTORY_ACCEPT, 1, HISTORY_ACKED);
    give(1, 0, LIMIT + 1);
    give(2, 0, 1);
    live(1);
    share_history_judge(s);
    expect(NULL);
}

Test(share_history, values)
{
    struct share_history_id id = {3, 10000000000}, got;
    struct buf b = BUF_INIT;

    share_history_put(&b, id);
    cr_assert(share_history_parse(buf_slice(&b), &got));
    cr_assert(got.producer == 3 && got.number == 10000000000);
    b.len--;
    cr_assert_not(share_history_parse(buf_slice(&b), &got));
    buf_free(&b);
}
