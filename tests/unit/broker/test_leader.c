/* The leader's rules, one by one.  Replica 0 leads, 1 and 2 follow. */
#include "broker/replica/leader.h"

#include <criterion/criterion.h>

enum { LAG_MS = 1000, ALL = 7 };

struct desk {
    struct leader l;
    struct leader_update u; /* of the last event */
    int64_t now_ms;
};

/* Everybody in sync and caught up at offset 100. */
static struct desk lead(replica_set isr, int min_isr)
{
    struct desk d = {.now_ms = 50000};

    leader_init(&d.l, 3, 0, 3, isr, 100, 100, 100, min_isr, LAG_MS, d.now_ms);
    return d;
}

static void step(struct desk *d, struct leader_event e)
{
    e.now_ms = d->now_ms;
    leader_step(&d->l, &e, &d->u);
}

static void append(struct desk *d, int64_t end)
{
    step(d, (struct leader_event){.type = LEADER_APPENDED, .offset = end});
}

static void fetch_by(struct desk *d, int replica, int64_t end, uint64_t session)
{
    step(d, (struct leader_event){.type = LEADER_FETCHED,
                                  .replica = replica,
                                  .offset = end,
                                  .session = session,
                                  .order = (uint32_t)session});
}

static void fetch(struct desk *d, int replica, int64_t end)
{
    fetch_by(d, replica, end, 11);
}

static void tick(struct desk *d, int64_t ms)
{
    d->now_ms += ms;
    step(d, (struct leader_event){.type = LEADER_TICK});
}

static void commit(struct desk *d, replica_set isr)
{
    step(d, (struct leader_event){.type = LEADER_ISR_COMMITTED, .isr = isr});
}

static void refuse(struct desk *d)
{
    step(d, (struct leader_event){.type = LEADER_ISR_REFUSED});
}

static void silent(struct desk *d, int replica, uint64_t session)
{
    step(d, (struct leader_event){.type = LEADER_FOLLOWER_SILENT,
                                  .replica = replica,
                                  .session = session});
}

static void eligible(struct desk *d, int replica, bool flag)
{
    step(d, (struct leader_event){
                .type = LEADER_ELIGIBILITY, .replica = replica, .flag = flag});
}

static void expect_high_watermark(const struct desk *d, int64_t wanted)
{
    cr_assert_eq(d->l.high_watermark, wanted, "high watermark %d, not %d",
                 (int)d->l.high_watermark, (int)wanted);
}

static void expect_proposed(const struct desk *d, int isr)
{
    cr_assert((d->u.flags & LEADER_UPDATE_PROPOSE_ISR) != 0, "no proposal");
    cr_assert_eq(d->u.isr_proposed, isr, "proposed %d, not %d",
                 d->u.isr_proposed, isr);
}

static void expect_quiet(const struct desk *d)
{
    cr_assert_eq(d->u.flags & LEADER_UPDATE_PROPOSE_ISR, 0u, "a proposal of %d",
                 d->u.isr_proposed);
}

static bool watched(const struct desk *d)
{
    return (d->u.flags & LEADER_UPDATE_WATCH) != 0;
}

/* ---- high watermark ------------------------------------------------------ */

Test(leader, a_record_is_committed_when_all_in_sync_have_it)
{
    struct desk d = lead(ALL, 1);

    append(&d, 110);
    expect_high_watermark(&d, 100);
    fetch(&d, 1, 110);
    expect_high_watermark(&d, 100);
    fetch(&d, 2, 105);
    expect_high_watermark(&d, 105);
    cr_assert((d.u.flags & LEADER_UPDATE_HIGH_WATERMARK) != 0);
    cr_assert_eq(d.u.high_watermark, 105);
    fetch(&d, 2, 110);
    expect_high_watermark(&d, 110);
    fetch(&d, 1, 110);
    cr_assert_eq(d.u.flags & LEADER_UPDATE_HIGH_WATERMARK, 0u);
}

Test(leader, alone_in_the_isr_every_append_is_committed)
{
    struct desk d = lead(1, 1);

    append(&d, 101);
    expect_high_watermark(&d, 101);
}

Test(leader, a_new_leader_waits_until_all_in_sync_have_fetched)
{
    struct desk d = lead(ALL, 1);

    fetch(&d, 1, 100);
    append(&d, 101);
    fetch(&d, 1, 101);
    expect_high_watermark(&d, 100);
    fetch(&d, 2, 101);
    expect_high_watermark(&d, 101);
}

Test(leader, a_follower_that_truncates_does_not_take_the_high_watermark_back)
{
    struct desk d = lead(ALL, 1);

    append(&d, 110);
    fetch(&d, 1, 110);
    fetch(&d, 2, 110);
    fetch(&d, 2, 90);
    expect_high_watermark(&d, 110);
    append(&d, 120);
    fetch(&d, 1, 120);
    fetch(&d, 2, 115);
    expect_high_watermark(&d, 115);
}

Test(leader, below_min_isr_nothing_is_committed)
{
    struct desk d = lead(1, 2);

    append(&d, 110);
    expect_high_watermark(&d, 100);
    fetch(&d, 1, 110);
    expect_proposed(&d, 3);
    expect_high_watermark(&d, 100); /* proposed is not enough */
    commit(&d, 3);
    expect_high_watermark(&d, 110);
}

Test(leader, a_lower_min_isr_commits_at_once)
{
    struct desk d = lead(1, 2);

    append(&d, 110);
    step(&d, (struct leader_event){.type = LEADER_MIN_ISR, .offset = 1});
    expect_high_watermark(&d, 110);
}

/* The controller may have accepted already, and may elect replica 2. */
Test(leader, while_a_proposal_is_in_flight_both_sets_count)
{
    struct desk d = lead(3, 1);

    fetch(&d, 1, 100);
    fetch(&d, 2, 100);
    expect_proposed(&d, ALL);
    d.now_ms += LAG_MS + 1;
    append(&d, 110);
    d.now_ms += LAG_MS + 1; /* long enough to wait for an outsider */
    fetch(&d, 1, 110);
    expect_high_watermark(&d, 100);
    commit(&d, ALL);
    expect_high_watermark(&d, 100);
    fetch(&d, 2, 110);
    expect_high_watermark(&d, 110);
}

Test(leader, a_proposed_shrink_frees_the_high_watermark_only_when_committed)
{
    struct desk d = lead(ALL, 1);

    fetch(&d, 1, 100);
    append(&d, 110);
    d.now_ms += LAG_MS + 1;
    fetch(&d, 1, 110);
    expect_proposed(&d, 3);
    expect_high_watermark(&d, 100);
    commit(&d, 3);
    expect_high_watermark(&d, 110);
}

/* Else it would chase the end of the log for ever under steady appends. */
/* Always one round trip behind; what waits here for news tells its offset anew
 * with each append. */
Test(leader, a_follower_keeps_up_though_its_fetches_are_told_again)
{
    struct desk d = lead(3, 1);

    fetch(&d, 1, 100);
    for (int64_t end = 110; end < 300; end += 10) {
        append(&d, end);
        fetch(&d, 1, end - 10); /* it waited, and is answered now */
        d.now_ms += LAG_MS / 8;
        append(&d, end + 5);
        fetch(&d, 1, end - 10); /* another one waits */
        d.now_ms += LAG_MS / 8;
        append(&d, end + 7);
        fetch(&d, 1, end); /* what the answer gave */
        cr_assert_eq(d.l.isr_proposed, 3, "it left at %d", (int)end);
        d.now_ms += LAG_MS / 8;
    }
}

Test(leader, the_high_watermark_waits_for_an_outsider_that_keeps_up)
{
    struct desk d = lead(1, 1);
    int64_t end = 100;

    fetch(&d, 1, 50);
    expect_high_watermark(&d, 100);
    for (int i = 0; i < 5; i++) {
        append(&d, end += 10); /* it had all at its last fetch */
        d.now_ms += 5;
        fetch(&d, 1, end - 10);
    }
    append(&d, end += 10);
    d.now_ms += 5;
    fetch(&d, 1, end - 10);
    cr_assert_eq(d.l.isr_proposed, 3);
}

Test(leader, the_wait_for_an_outsider_ends)
{
    struct desk d = lead(1, 1);

    fetch(&d, 1, 100);
    expect_proposed(&d, 3);
    refuse(&d);
    d.l.retry_ms = INT64_MAX; /* the controller goes on refusing */
    append(&d, 110);
    expect_high_watermark(&d, 100);
    cr_assert(watched(&d));
    tick(&d, LAG_MS);
    expect_high_watermark(&d, 100);
    tick(&d, 1);
    expect_high_watermark(&d, 110);
}

Test(leader, a_fenced_outsider_is_not_waited_for)
{
    struct desk d = lead(1, 1);

    eligible(&d, 1, false);
    fetch(&d, 1, 100);
    expect_quiet(&d);
    append(&d, 110);
    expect_high_watermark(&d, 110);
}

/* ---- leaving the ISR ----------------------------------------------------- */

Test(leader, a_follower_that_lags_too_long_leaves)
{
    struct desk d = lead(ALL, 1);

    fetch(&d, 1, 100);
    fetch(&d, 2, 100);
    append(&d, 110);
    cr_assert(watched(&d));
    tick(&d, LAG_MS / 2);
    fetch(&d, 1, 110);
    tick(&d, LAG_MS / 2);
    expect_quiet(&d);
    tick(&d, 1);
    expect_proposed(&d, 3);
    commit(&d, 3);
    expect_high_watermark(&d, 110);
    cr_assert_not(watched(&d));
}

Test(leader, a_follower_that_had_all_at_its_last_fetch_stays)
{
    struct desk d = lead(ALL, 1);

    fetch(&d, 2, 100);
    for (int64_t end = 110; end < 300; end += 10) {
        append(&d, end); /* always one step ahead of them */
        d.now_ms += LAG_MS / 2 - 1;
        fetch(&d, 1, end - 10);
        fetch(&d, 2, end - 10);
        expect_quiet(&d);
    }
    cr_assert_eq(d.l.isr_proposed, ALL);
}

Test(leader, an_idle_partition_needs_no_ticks_and_loses_nobody)
{
    struct desk d = lead(ALL, 1);

    fetch(&d, 1, 100);
    fetch(&d, 2, 100);
    cr_assert_not(watched(&d));
    d.now_ms += 100 * LAG_MS;
    append(&d, 110);
    expect_quiet(&d); /* they have lag_max_ms from now on */
    tick(&d, LAG_MS);
    expect_quiet(&d);
    tick(&d, 1);
    expect_proposed(&d, 1);
}

Test(leader, who_never_fetches_in_this_epoch_has_lag_max_ms)
{
    struct desk d = lead(ALL, 1);

    fetch(&d, 1, 100);
    tick(&d, LAG_MS);
    cr_assert(watched(&d));
    expect_quiet(&d);
    tick(&d, 1);
    expect_proposed(&d, 3);
}

Test(leader, a_silent_follower_leaves_even_if_it_had_everything)
{
    struct desk d = lead(ALL, 1);

    fetch(&d, 1, 100);
    fetch(&d, 2, 100);
    silent(&d, 2, 11);
    expect_proposed(&d, 3);
    commit(&d, 3);
    fetch(&d, 2, 100);
    expect_proposed(&d, ALL);
}

/* The follower connected again; a fetch of its old session, which waited all
 * the time, speaks once more.  Nothing would correct it: nothing is new. */
Test(leader, an_old_session_says_nothing)
{
    struct desk d = lead(ALL, 1);

    append(&d, 110);
    fetch_by(&d, 1, 110, 12);
    fetch_by(&d, 2, 110, 12);
    expect_high_watermark(&d, 110);
    fetch_by(&d, 1, 100, 11);
    cr_assert_eq(d.l.followers[1].end_offset, 110);
    silent(&d, 1, 11);
    tick(&d, 2 * LAG_MS);
    cr_assert((d.u.flags & LEADER_UPDATE_PROPOSE_ISR) == 0);

    /* They are counted modulo 2^32. */
    append(&d, 120);
    fetch_by(&d, 1, 115, UINT32_MAX / 2);
    fetch_by(&d, 1, 116, UINT32_MAX - 1);
    fetch_by(&d, 1, 117, 3);
    fetch_by(&d, 1, 110, UINT32_MAX);
    cr_assert_eq(d.l.followers[1].end_offset, 117);
}

/* The follower connected again; its old session falls silent half a minute
 * later. */
Test(leader, silence_of_an_old_session_says_nothing)
{
    struct desk d = lead(ALL, 1);

    fetch(&d, 1, 100);
    fetch(&d, 2, 100);
    silent(&d, 2, 10);
    expect_quiet(&d);
    cr_assert_not(watched(&d));
}

Test(leader, it_stands_still_while_one_that_counts_lags)
{
    struct desk d = lead(ALL, 1);

    fetch(&d, 1, 100);
    fetch(&d, 2, 100);
    d.now_ms += 100 * LAG_MS;
    cr_assert_not(leader_stands_still(&d.l, d.now_ms, 200), "an idle one");
    append(&d, 110);
    fetch(&d, 1, 110);
    cr_assert_not(leader_stands_still(&d.l, d.now_ms + 200, 200));
    cr_assert(leader_stands_still(&d.l, d.now_ms + 201, 200));
    tick(&d, LAG_MS + 1);
    expect_proposed(&d, 3);
    cr_assert(leader_stands_still(&d.l, d.now_ms, 200), "not answered yet");
    commit(&d, 3);
    cr_assert_not(leader_stands_still(&d.l, d.now_ms, 200));
    silent(&d, 1, 11);
    cr_assert(leader_stands_still(&d.l, d.now_ms, 200), "a silent one");
}

Test(leader, the_successor_is_in_sync_and_has_most)
{
    struct desk d = lead(ALL, 1);

    cr_assert_eq(leader_successor(&d.l), -1, "nobody has fetched");
    append(&d, 120);
    fetch(&d, 1, 110);
    fetch(&d, 2, 120);
    cr_assert_eq(leader_successor(&d.l), 2);
    eligible(&d, 2, false);
    cr_assert_eq(leader_successor(&d.l), 1);
    silent(&d, 1, 11);
    cr_assert_eq(leader_successor(&d.l), -1, "who is silent or leaves");
    commit(&d, 5);
    eligible(&d, 2, true);
    fetch(&d, 1, 120);
    cr_assert_eq(leader_successor(&d.l), 2, "1 has left");
}

/* ---- joining the ISR ----------------------------------------------------- */

Test(leader, joining_needs_the_high_watermark)
{
    struct desk d = lead(1, 1);

    append(&d, 110);
    d.l.followers[1].caught_up_ms = d.now_ms;
    fetch(&d, 1, 109);
    expect_quiet(&d);
    fetch(&d, 1, 110);
    expect_proposed(&d, 3);
}

/* Our high watermark may be behind what the old leader committed. */
Test(leader, joining_needs_the_start_of_the_epoch)
{
    struct desk d = {.now_ms = 50000};

    leader_init(&d.l, 3, 0, 3, 3, 100, 100, 60, 1, LAG_MS, d.now_ms);
    d.l.followers[2].caught_up_ms = d.now_ms;
    fetch(&d, 2, 99);
    expect_quiet(&d);
    fetch(&d, 2, 100);
    expect_proposed(&d, ALL);
}

Test(leader, a_fenced_or_stopping_replica_does_not_join)
{
    struct desk d = lead(1, 1);

    eligible(&d, 1, false);
    fetch(&d, 1, 100);
    expect_quiet(&d);
    eligible(&d, 1, true);
    expect_proposed(&d, 3);
}

/* Its disk was lost, and it registered before it fetched anything (KIP-903). */
Test(leader, what_a_broker_had_in_an_earlier_life_lets_it_join_nothing)
{
    struct desk d = lead(1, 1);

    eligible(&d, 1, false);
    fetch(&d, 1, 100);
    step(&d, (struct leader_event){.type = LEADER_FOLLOWER_ANEW, .replica = 1});
    eligible(&d, 1, true);
    expect_quiet(&d);
    append(&d, 110);
    expect_high_watermark(&d, 110); /* and nobody waits for it */
    fetch(&d, 1, 110);
    expect_proposed(&d, 3);
}

Test(leader, what_a_broker_had_in_an_earlier_life_commits_nothing)
{
    struct desk d = lead(ALL, 1);

    append(&d, 110);
    fetch(&d, 1, 110);
    step(&d, (struct leader_event){.type = LEADER_FOLLOWER_ANEW, .replica = 1});
    fetch(&d, 2, 110);
    expect_high_watermark(&d, 100);
    fetch(&d, 1, 110);
    expect_high_watermark(&d, 110);
}

/* ---- proposals ----------------------------------------------------------- */

Test(leader, one_proposal_at_a_time)
{
    struct desk d = lead(1, 1);

    fetch(&d, 1, 100);
    expect_proposed(&d, 3);
    fetch(&d, 2, 100);
    expect_quiet(&d);
    commit(&d, 3);
    expect_proposed(&d, ALL);
}

Test(leader, a_refused_proposal_is_made_again_after_a_while)
{
    struct desk d = lead(1, 1);

    fetch(&d, 1, 100);
    expect_proposed(&d, 3);
    refuse(&d);
    expect_quiet(&d);
    cr_assert(watched(&d));
    cr_assert_eq(d.l.isr_proposed, 1);
    fetch(&d, 1, 100);
    expect_quiet(&d);
    tick(&d, 500);
    expect_proposed(&d, 3);
}

Test(leader, joining_and_leaving_go_into_one_proposal)
{
    struct desk d = lead(3, 1);

    append(&d, 110);
    d.now_ms += LAG_MS + 1;
    d.l.followers[1].caught_up_ms = 0;
    fetch(&d, 2, 110);
    expect_proposed(&d, 5);
}

Test(leader, the_controllers_isr_ends_a_proposal_whatever_it_is)
{
    struct desk d = lead(3, 1);

    fetch(&d, 1, 100);
    fetch(&d, 2, 100);
    expect_proposed(&d, ALL);
    d.now_ms += 1;
    commit(&d, 1); /* it fenced replica 1 before it heard of us */
    cr_assert_eq(d.l.isr, 1);
    expect_proposed(&d, ALL);
}

/* leat.durability was switched to fsync: the synced end is behind. */
Test(leader, a_lower_own_end_says_nothing)
{
    struct desk d = lead(1, 1);

    append(&d, 110);
    append(&d, 105);
    expect_high_watermark(&d, 110);
    cr_assert_eq(d.l.followers[0].end_offset, 110);
}

/* ---- proposals that may be taken after all ------------------------------- */

static void doubt(struct desk *d)
{
    step(d, (struct leader_event){.type = LEADER_ISR_REFUSED, .flag = true});
}

/* It was sent twice; the second copy is refused, the first is on its way. */
Test(leader, what_was_refused_in_doubt_counts_until_another_is_taken)
{
    struct desk d = lead(3, 1);

    fetch(&d, 1, 100);
    fetch(&d, 2, 100);
    expect_proposed(&d, ALL);
    doubt(&d);
    append(&d, 110);
    fetch(&d, 1, 110);
    expect_high_watermark(&d, 100); /* 2 may be in sync by now */
    eligible(&d, 2, false);
    tick(&d, 2000);
    expect_proposed(&d, 3);
    refuse(&d);
    expect_high_watermark(&d, 100); /* that does not settle it */
    tick(&d, 2000);
    expect_proposed(&d, 3);
    commit(&d, 3);
    expect_high_watermark(&d, 110);
    cr_assert_not(d.l.in_flight);
}

Test(leader, a_doubt_ends_with_the_set_that_was_taken)
{
    struct desk d = lead(3, 1);

    fetch(&d, 1, 100);
    fetch(&d, 2, 100);
    doubt(&d);
    commit(&d, ALL);
    append(&d, 110);
    fetch(&d, 1, 110);
    expect_high_watermark(&d, 100);
    fetch(&d, 2, 110);
    expect_high_watermark(&d, 110);
}

/* With leat.durability=fsync our own end may count less than the log has: what
 * is there may have been committed. */
Test(leader, who_joins_has_all_of_the_log_at_the_epochs_begin)
{
    struct desk d = {.now_ms = 1000000};

    leader_init(&d.l, 3, 0, 3, 1, 100, 0, 0, 1, LAG_MS, d.now_ms);
    fetch(&d, 1, 0);
    fetch(&d, 1, 99);
    cr_assert_not(d.l.in_flight);
    fetch(&d, 1, 100);
    expect_proposed(&d, 3);
}
