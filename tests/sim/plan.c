#include "tests/sim/plan.h"

#include "base/assert.h"
#include "base/map.h"
#include "base/slice.h"

#include <stdio.h>
#include <stdlib.h>

const char *const fault_names[FAULT_KINDS] = {
#define X(name, text) text,
    FAULTS(X)
#undef X
};

const char *const moment_texts[MOMENTS_LEN] = {
#define X(name, text) text,
    MOMENTS(X)
#undef X
};

static int64_t between(struct prng *p, int64_t low, int64_t high)
{
    return low + (int64_t)prng_below(p, (uint64_t)(high - low) + 1);
}

static bool one_in(struct prng *p, int n)
{
    return prng_below(p, (uint64_t)n) == 0;
}

static int64_t pick(struct prng *p, const int64_t *from, size_t len)
{
    return from[prng_below(p, len)];
}

#define PICK(p, ...)                                                           \
    pick((p), (const int64_t[]){__VA_ARGS__},                                  \
         sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* ---- cluster ------------------------------------------------------------- */

static void draw_cluster(struct prng *p, struct plan *plan)
{
    plan->combined = !one_in(p, 4);
    plan->controllers = (int)PICK(p, 3, 3, 3, 1, 5);
    if (plan->combined)
        plan->nodes = plan->controllers > 3 ? plan->controllers : 3;
    else {
        plan->controllers = 3;
        plan->nodes = 6;
    }
    plan->shards = (int)PICK(p, 1, 1, 2, 3);
    plan->fsync = one_in(p, 3);
    plan->replication = (int)PICK(p, 3, 3, 3, 2);
    plan->min_isr = plan->replication == 3 ? (int)PICK(p, 1, 2, 2) : 1;
    plan->roll_ms = (int)PICK(p, 300, 2000, 3600000);
    plan->lag_max_ms = (int)PICK(p, 2000, 5000, 10000, 30000);
    plan->session_timeout_ms = (int)PICK(p, 3000, 4500, 9000);
    plan->grace_ms = (int)PICK(p, 100, 300, 1000);
    plan->delay_us = PICK(p, 50, 500, 2000, 20000);
    plan->jitter_us = plan->delay_us * PICK(p, 1, 2, 5);
    plan->work_max_us = PICK(p, 100, 1000, 10000);
    for (int i = 0; i < PLAN_NODES_FIXED_MAX; i++)
        plan->drift_ppm[i] = (int32_t)(one_in(p, 3) ? between(p, -20000, 20000)
                                                    : between(p, -50, 50));
}

/* ---- faults -------------------------------------------------------------- */

static bool possible(const struct plan *plan, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_POWER_ALL:
        return plan->fsync;
    case FAULT_WIPE:
        return !plan->combined;
    default:
        return true;
    }
}

static int64_t amount_of(struct prng *p, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_KILL:
    case FAULT_POWER:
        return between(p, 0, 2); /* when: see enum doom */
    case FAULT_SLOW:
        return PICK(p, 20000, 100000, 400000, 1200000); /* us */
    case FAULT_LOSSY:
        return PICK(p, 10000, 100000, 300000); /* ppm */
    case FAULT_NARROW:
        return PICK(p, 2000, 20000, 200000); /* bytes per second */
    case FAULT_RESET:
        return between(p, 1, 20); /* connections */
    case FAULT_JUMP:
        return PICK(p, -86400000, -3600000, -5000, 5000, 3600000, 86400000);
    case FAULT_DISK_SLOW:
        return PICK(p, 20000, 200000, 1000000); /* us */
    case FAULT_DISK_FULL:
        return between(p, 0, 20000); /* bytes left */
    case FAULT_DISK_ERROR:
        return PICK(p, 1000, 20000, 200000); /* ppm */
    case FAULT_SYNC_ERROR:
        return PICK(p, 20000, 200000, 500000); /* ppm */
    default:
        return (int64_t)(prng_next(p) >> 2);
    }
}

static struct fault *next_fault(struct plan *plan)
{
    ASSERT(plan->faults_len < PLAN_FAULTS_MAX);
    return &plan->faults[plan->faults_len++];
}

static void draw_faults(struct prng *p, struct plan *plan)
{
    enum fault_kind on[FAULT_KINDS];
    int on_len = 0;
    int share = (int)PICK(p, 2, 4, 8);

    for (int kind = 0; kind < FAULT_KINDS_FIXED; kind++)
        if (possible(plan, kind) && one_in(p, share))
            on[on_len++] = (enum fault_kind)kind;
    plan->faults_us = between(p, 5, 40) * 1000000;
    if (on_len == 0 || one_in(p, 20))
        return;
    int wanted = (int)PICK(p, 2, 5, 10, 25, 50);
    for (int i = 0; i < wanted; i++) {
        struct fault *f = next_fault(plan);

        f->kind = on[prng_below(p, (uint64_t)on_len)];
        f->at_us = between(p, 0, plan->faults_us);
        f->duration_us =
            one_in(p, 3)
                ? between(p, 1000, 300000)
                : between(p, 300000, PICK(p, 1000000, 4000000, 15000000));
        f->a = (int)prng_below(p, 1000);
        f->b = (int)prng_below(p, 1000);
        f->amount = amount_of(p, f->kind);
    }
}

/* ---- members ------------------------------------------------------------- */

static void draw_members(uint64_t seed, struct plan *plan)
{
    static const enum fault_kind kinds[] = {FAULT_VOTE,   FAULT_VOTE,
                                            FAULT_UNVOTE, FAULT_UNVOTE,
                                            FAULT_LEAVE,  FAULT_ADD};
    struct prng p = {(seed ^ hash_bytes("members", 7)) * 0x9e3779b97f4a7c15u};

    if (!one_in(&p, 4))
        return;
    plan->members_change = true;
    plan->spares = (int)PICK(&p, 1, 1, 2);
    int wanted = (int)PICK(&p, 2, 4, 8, 12);
    for (int i = 0; i < wanted; i++) {
        struct fault *f = next_fault(plan);

        f->kind = kinds[prng_below(&p, sizeof kinds / sizeof *kinds)];
        f->at_us = between(&p, 0, plan->faults_us);
        f->duration_us = f->kind == FAULT_LEAVE ? between(&p, 5000000, 30000000)
                                                : between(&p, 1000, 2000000);
        f->a = (int)prng_below(&p, 1000);
        f->b = (int)prng_below(&p, 1000);
        f->amount = PICK(&p, 1, 1, 1, 2, 3); /* requests at once */
    }
}

/* ---- ambushes ------------------------------------------------------------ */

/* Two of five seeds have some.  They come from a stream of their own, so that
 * seeds without them stay what they were; its constant leaves alone those that
 * seeds.txt had when this was written. */
static const uint64_t AMBUSHES = 185459;

static int64_t ambush_duration(struct prng *p)
{
    int64_t most = PICK(p, 5000, 50000, 300000, 2000000, 15000000);

    return between(p, most / 10, most);
}

static struct fault *add_ambush(struct prng *p, struct plan *plan,
                                enum fault_kind kind)
{
    struct fault *f = next_fault(plan);

    f->kind = kind;
    f->at_us = between(p, 0, plan->faults_us);
    f->duration_us = ambush_duration(p);
    f->a = (int)prng_below(p, 1000);
    f->b = (int)prng_below(p, 1000) & ~1; /* not for the other kind of aim */
    f->amount = amount_of(p, kind);
    return f;
}

static struct fault *draw_ambush(struct prng *p, struct plan *plan)
{
    static const enum fault_kind kinds[] = {
        FAULT_KILL,  FAULT_KILL,  FAULT_PAUSE,      FAULT_ISOLATE,  FAULT_MUTE,
        FAULT_RESET, FAULT_RESET, FAULT_SLOW,       FAULT_LOSSY,    FAULT_POWER,
        FAULT_POWER, FAULT_STOP,  FAULT_SYNC_ERROR, FAULT_DISK_SLOW};
    enum fault_kind kind = kinds[prng_below(p, sizeof kinds / sizeof kinds[0])];

    /* It makes a run without fsync a tame one. */
    if (kind == FAULT_POWER && !plan->fsync && !one_in(p, 4))
        kind = FAULT_KILL;
    struct fault *f = add_ambush(p, plan, kind);
    f->moment = (enum moment)between(p, 1, MOMENT_CUT);
    f->aim = (enum aim)prng_below(p, AIMS_LEN);
    f->after_us = PICK(p, 0, 0, 100, 1000, 5000, 50000, 300000);
    return f;
}

/* Two at once, in the same moment. */
static void draw_pair(struct prng *p, struct plan *plan)
{
    const struct fault *first = draw_ambush(p, plan);
    struct fault *second = draw_ambush(p, plan);

    second->at_us = first->at_us;
    second->moment = first->moment;
}

/* Several within two seconds: slow disks and links, and who dies meanwhile. */
static void draw_burst(struct prng *p, struct plan *plan)
{
    static const enum fault_kind kinds[] = {
        FAULT_SLOW,      FAULT_DISK_SLOW, FAULT_LOSSY, FAULT_KILL,
        FAULT_DISK_SLOW, FAULT_KILL,      FAULT_PAUSE, FAULT_ISOLATE};
    int64_t at_us = between(p, 0, plan->faults_us);

    for (int i = 0; i < 4; i++) {
        struct fault *f =
            add_ambush(p, plan, kinds[i < 3 ? i : between(p, 3, 7)]);

        f->at_us = at_us + between(p, 0, 2000000);
        if (i < 3)
            f->duration_us += 1000000;
        else
            f->at_us += 500000;
    }
}

struct strike {
    enum fault_kind kind;
    enum aim aim;
    int64_t after_us[2]; /* at least, at most */
    int64_t duration_us[2];
};

/* What takes two faults in the right order, which chance seldom draws. */
static const struct scenario {
    enum moment moment;
    struct strike strikes[2];
} scenarios[] = {
    /* A new leader that one follower does not reach, and that soon dies. */
    {MOMENT_LEADER,
     {{FAULT_CUT, AIM_IT, {0, 1000}, {1000000, 4000000}},
      {FAULT_KILL, AIM_IT, {100000, 1000000}, {300000, 3000000}}}},
    /* A proposal that is under way while one of its members starts anew. */
    {MOMENT_PROPOSAL,
     {{FAULT_MUTE, AIM_IT, {0, 0}, {500000, 2500000}},
      {FAULT_KILL, AIM_A, {0, 20000}, {5000, 50000}}}},
    /* One whose answer is lost. */
    {MOMENT_PROPOSAL,
     {{FAULT_RESET, AIM_CONTROLLER, {0, 2000}, {1000, 1000}},
      {FAULT_RESET, AIM_IT, {0, 20000}, {1000, 1000}}}},
    /* A broker starts anew while its calls to a new controller are under way.
     */
    {MOMENT_ACTIVE,
     {{FAULT_LOSSY, AIM_A, {0, 0}, {1000000, 3000000}},
      {FAULT_KILL, AIM_A, {1000, 300000}, {1000, 20000}}}},
    /* A leader that hears and is not heard, while its disk hangs: it goes on
     * taking records that others will not have. */
    {MOMENT_LEADER,
     {{FAULT_DISK_STUCK, AIM_IT, {0, 1000000}, {8000000, 15000000}},
      {FAULT_MUTE, AIM_IT, {500000, 2000000}, {4000000, 9000000}}}},
    /* A topic is deleted, and its files cannot go at once. */
    {MOMENT_DELETED,
     {{FAULT_DISK_SLOW, AIM_A, {0, 1000}, {1000000, 4000000}},
      {FAULT_KILL, AIM_A, {0, 1000000}, {5000, 300000}}}},
};

static void draw_scenario(struct prng *p, struct plan *plan)
{
    const struct scenario *s =
        &scenarios[prng_below(p, sizeof scenarios / sizeof scenarios[0])];
    int64_t at_us = between(p, 0, plan->faults_us * 3 / 4);
    int a = (int)prng_below(p, 1000);

    for (int i = 0; i < 2; i++) {
        const struct strike *strike = &s->strikes[i];
        struct fault *f = add_ambush(p, plan, strike->kind);

        f->at_us = at_us;
        f->moment = s->moment;
        f->aim = strike->aim;
        f->a = a;
        f->after_us = between(p, strike->after_us[0], strike->after_us[1]);
        f->duration_us =
            between(p, strike->duration_us[0], strike->duration_us[1]);
        if (strike->kind == FAULT_KILL)
            f->amount = 0;
    }
}

/* Two leaders after one another that die with what nobody else has: `a` misses
 * what the others get from `c`, leads when that dies, cannot be reached by `b`,
 * and dies as well.  Takes a quorum that has no part in it. */
static void draw_chain(struct prng *p, struct plan *plan)
{
    int first = (int)prng_below(p, 3), step = 1 + (int)prng_below(p, 2);
    int a = plan->controllers + first;
    int b = plan->controllers + (first + step) % 3;
    int c = plan->controllers + (first + 2 * step) % 3;
    int64_t at_us = between(p, 0, plan->faults_us / 2);

    plan->aims = false;
    const struct {
        enum fault_kind kind;
        int a;
        int64_t at_us, duration_us;
    } parts[] = {
        {FAULT_DEAF, a, 0, between(p, 1000000, 2000000)},
        {FAULT_CUT, a, 0, between(p, 3000000, 6000000)},
        {FAULT_KILL, c, between(p, 300000, 900000),
         between(p, 2000000, 6000000)},
        {FAULT_KILL, a, between(p, 2000000, 4000000),
         between(p, 500000, 3000000)},
    };

    for (int i = 0; i < 4; i++) {
        struct fault *f = add_ambush(p, plan, parts[i].kind);

        f->at_us = at_us + parts[i].at_us;
        f->duration_us = parts[i].duration_us;
        f->a = parts[i].a;
        f->b = b;
        f->amount = 0;
    }
}

/* A controller is away until the others have cut their logs. */
static void draw_absence(struct prng *p, struct plan *plan)
{
    struct fault *f = add_ambush(p, plan, FAULT_KILL);

    plan->snapshot_bytes = 2000;
    plan->keep_entries = PICK(p, 1, 10, 50);
    f->a = (int)prng_below(p, (uint64_t)plan->controllers);
    f->amount = 0;
    f->at_us = between(p, 0, plan->faults_us / 2);
    f->duration_us = between(p, 10000000, 40000000);
}

static void draw_ambushes(struct plan *plan)
{
    struct prng p = {(plan->seed ^ AMBUSHES) * 0x9e3779b97f4a7c15u};

    if (prng_below(&p, 5) >= 2)
        return;
    plan->load.strays = one_in(&p, 3);
    plan->load.late_commits = one_in(&p, 2);
    if (one_in(&p, 3))
        draw_absence(&p, plan);
    if (one_in(&p, 3))
        add_ambush(&p, plan, FAULT_SYNC_ERROR);
    if (!plan->combined && one_in(&p, 2))
        draw_chain(&p, plan);
    else if (one_in(&p, 3))
        draw_burst(&p, plan);
    if (one_in(&p, 2))
        draw_scenario(&p, plan);
    if (one_in(&p, 4)) {
        plan->load.churn = 2;
        plan->load.admin_interval_ms = 100;
    }
    plan->fsync = plan->fsync || one_in(&p, 4);
    for (int64_t n = PICK(&p, 0, 1, 3); n > 0; n--) {
        if (one_in(&p, 2))
            draw_pair(&p, plan);
        else
            draw_ambush(&p, plan);
    }
}

/* Threads that stand still, in one of six seeds; a stream of their own. */
static void draw_stalls(struct plan *plan)
{
    struct prng p = {(plan->seed ^ hash_bytes("stalls", 6)) *
                     0x9e3779b97f4a7c15u};

    if (!one_in(&p, 6))
        return;
    for (int64_t n = PICK(&p, 1, 2, 4); n > 0; n--) {
        struct fault *f = next_fault(plan);

        f->kind = FAULT_STALL;
        f->at_us = between(&p, 0, plan->faults_us);
        f->duration_us = between(&p, 100000, PICK(&p, 2000000, 20000000));
        f->a = (int)prng_below(&p, 1000);
        f->b = (int)prng_below(&p, 1000) & ~1;     /* not for aims */
        f->amount = (int64_t)prng_below(&p, 1000); /* which */
    }
}

/* Clients with transactions, in one of two seeds from a million on: the seeds
 * below are those that were before there were any, so that what they have once
 * shown they still show. */
static void draw_transactions(struct plan *plan)
{
    struct prng p = {(plan->seed ^ hash_bytes("transactions", 12)) *
                     0x9e3779b97f4a7c15u};

    if (plan->seed < 1000000 || !one_in(&p, 2))
        return;
    load_options_draw_transactions(&p, &plan->load);
    if (plan->seed < 3000000)
        return;
    plan->load.txn_second = one_in(&p, 2);
    plan->load.txn_compacted = one_in(&p, 2);
    plan->load.txn_vanish = one_in(&p, 3);
    plan->load.txn_hasty = one_in(&p, 3);
    plan->load.txn_trains = plan->seed >= 6000000 && !one_in(&p, 4);
}

/* Groups by the protocol of KIP-848, in one of two seeds from two million on,
 * likewise.  Their sessions outlive a coordinator that does not know yet that
 * it was replaced. */
static void draw_modern(struct plan *plan)
{
    struct prng p = {(plan->seed ^ hash_bytes("modern groups", 13)) *
                     0x9e3779b97f4a7c15u};

    if (plan->seed < 2000000 || !one_in(&p, 2))
        return;
    plan->load.modern_percent = (int)PICK(&p, 50, 100);
    plan->load.late_modern = plan->seed >= 3000000;
    plan->load.modern_session_timeout_ms =
        2 * plan->session_timeout_ms + (int)PICK(&p, 6000, 12000);
    if (plan->load.groups == 0)
        plan->load.groups = 1;
}

/* Groups whose members use the classic protocol and that of KIP-848 and change
 * between them, in one of two seeds from five million on, likewise. */
static void draw_mixed(struct plan *plan)
{
    struct prng p = {(plan->seed ^ hash_bytes("mixed groups", 12)) *
                     0x9e3779b97f4a7c15u};
    struct load_options *load = &plan->load;

    if (plan->seed < 5000000 || !one_in(&p, 2))
        return;
    load->mixed_percent = (int)PICK(&p, 50, 100);
    load->late_modern = true;
    load->coming_and_going = true;
    load->members = (int)between(&p, 2, 5);
    if (load->groups == 0)
        load->groups = 1;
    if (load->modern_session_timeout_ms == 0)
        load->modern_session_timeout_ms =
            2 * plan->session_timeout_ms + (int)PICK(&p, 6000, 12000);
}

/* On slow disks each step of a move takes its time. */
static void slow_moves(struct prng *p, struct plan *plan)
{
    for (int i = 0, len = plan->faults_len; i < len; i++) {
        struct fault move = plan->faults[i];

        if (move.kind != FAULT_MOVE)
            continue;
        struct fault *f = add_ambush(p, plan, FAULT_DISK_SLOW);
        f->at_us = move.at_us;
        f->duration_us = between(p, 500000, 3000000);
        f->a = move.a;
    }
}

/* A share group, in one of two seeds from four million on.  In half of those
 * the active controller loses sight of brokers that others still reach, and
 * share-partitions move to other leaders. */
static void draw_shares(struct plan *plan)
{
    struct prng p = {(plan->seed ^ hash_bytes("share groups", 12)) *
                     0x9e3779b97f4a7c15u};

    if (plan->seed < 4000000 || !one_in(&p, 2))
        return;
    load_options_draw_shares(&p, &plan->load);
    for (int64_t n = PICK(&p, 0, 0, 2, 4);
         n > 0 && plan->faults_len < PLAN_FAULTS_MAX; n--) {
        struct fault *f = next_fault(plan);

        f->kind = FAULT_CUT;
        f->at_us = between(&p, 0, plan->faults_us);
        f->moment = MOMENT_LEADER;
        f->aim = AIM_CONTROLLER;
        f->after_us = PICK(&p, 0, 1000, 1000000);
        f->duration_us =
            plan->session_timeout_ms * 2000 + between(&p, 0, 5000000);
        f->b = (int)prng_below(&p, 1000);
    }
}

/* Several log directories, in one of two seeds from three million on, and in
 * most of those the failure of one. */
static void draw_dirs(struct plan *plan)
{
    struct prng p = {(plan->seed ^ hash_bytes("dirs", 4)) *
                     0x9e3779b97f4a7c15u};

    plan->dirs = 1;
    if (plan->seed < 3000000 || !one_in(&p, 2))
        return;
    plan->dirs = (int)between(&p, 2, 3);
    for (int64_t n = PICK(&p, 0, 1, 1, 2, 4); n > 0; n--) {
        struct fault *f = next_fault(plan);

        f->kind = FAULT_DIR_ERROR;
        f->at_us = between(&p, 0, plan->faults_us);
        f->duration_us = between(&p, 100000, PICK(&p, 3000000, 15000000));
        f->a = (int)prng_below(&p, 1000);
        f->b = (int)prng_below(&p, 1000) & ~1; /* not for aims */
        f->amount = between(&p, 1, plan->dirs - 1);
    }
    plan->move_rate = PICK(&p, 20000, 200000, 0);
    for (int64_t n = PICK(&p, 0, 2, 5, 10); n > 0; n--) {
        struct fault *f = next_fault(plan);

        f->kind = FAULT_MOVE;
        f->at_us = between(&p, 0, plan->faults_us);
        f->duration_us = 1000;
        f->a = (int)prng_below(&p, 1000);
        f->b = (int)prng_below(&p, 1000) & ~1;
        f->amount = (int64_t)(prng_next(&p) >> 2); /* which, and where to */
    }
    for (int64_t n = PICK(&p, 0, 0, 1, 3); n > 0; n--) {
        enum fault_kind kind = (enum fault_kind)PICK(
            &p, FAULT_KILL, FAULT_KILL, FAULT_POWER, FAULT_DIR_ERROR);

        if (kind == FAULT_POWER && !plan->fsync)
            kind = FAULT_KILL;
        struct fault *f = add_ambush(&p, plan, kind);
        f->moment = MOMENT_MOVED;
        f->aim = AIM_IT;
        f->after_us = PICK(&p, 0, 0, 100, 1000, 5000, 300000);
        if (f->kind == FAULT_DIR_ERROR)
            f->amount = between(&p, 1, plan->dirs - 1);
    }
    if (one_in(&p, 2))
        slow_moves(&p, plan);
}

/* Enough to race with every fault; more would only cost time, and a few seeds
 * with many records most of it. */
static void limit_records(struct plan *plan)
{
    struct load_options *o = &plan->load;
    int64_t most = 2500;

    o->produce_interval_ms *= 8;
    int64_t records = plan->faults_us / 1000 / o->produce_interval_ms *
                      o->producers * (o->batch_records_max + 1) / 2;
    if (records > most)
        o->produce_interval_ms = o->produce_interval_ms * records / most;
}

/* A replica that was away longer than delete.retention.ms may have missed
 * markers, of which nothing is left by then, and take what was aborted for
 * committed; and tombstones of groups' members, who are back then.  So it is
 * with Apache Kafka. */
static void keep_deletions(struct plan *plan)
{
    bool long_away = false;

    for (int i = 0; i < plan->faults_len; i++)
        long_away = long_away || plan->faults[i].duration_us >= 1500000;
    if (long_away)
        plan->load.txn_retention_ms = 600000;
    /* Nor may it have passed where a clock has jumped. */
    plan->delete_retention_ms = plan->seed <= 6010000 ? 3000
                                : long_away           ? 864000000
                                                      : 3000;
}

void plan_draw(uint64_t seed, struct plan *plan)
{
    struct prng p = {seed * 0x9e3779b97f4a7c15u + 1};

    *plan = (struct plan){.seed = seed};
    draw_cluster(&p, plan);
    draw_faults(&p, plan);
    plan->unclean = one_in(&p, 15);
    load_options_init(&plan->load);
    plan->load.nodes =
        plan->combined ? plan->nodes : plan->nodes - plan->controllers;
    plan->load.unclean_possible = plan->unclean;
    load_options_draw(&p, &plan->load);
    plan->load.replication_factor = (int16_t)plan->replication;
    limit_records(plan);
    plan->snapshot_bytes = PICK(&p, 2000, 20000, 20971520);
    plan->aims = one_in(&p, 3);
    draw_members(seed, plan);
    draw_ambushes(plan);
    draw_stalls(plan);
    draw_transactions(plan);
    draw_modern(plan);
    draw_mixed(plan);
    draw_dirs(plan);
    keep_deletions(plan);
    draw_shares(plan);
}

static bool is_spare(const struct plan *plan, int index)
{
    return index >= plan->nodes && index < plan->nodes + plan->spares;
}

char *plan_properties(const struct plan *plan, int index)
{
    struct buf b = BUF_INIT;
    bool spare = is_spare(plan, index);
    bool controller = index < plan->controllers || spare;
    bool broker = !spare && (plan->combined || !controller);
    int id = index + 1;

    buf_printf(&b, "process.roles=%s\nnode.id=%d\n",
               controller && broker ? "broker,controller"
               : broker             ? "broker"
                                    : "controller",
               id);
    /* A spare that is given no voters learns all from the log. */
    bool blank = spare && index % 2 == 0;
    buf_printf(&b, blank ? "controller.quorum.bootstrap.servers="
                         : "controller.quorum.voters=");
    for (int i = 0; i < plan->controllers; i++) {
        buf_printf(&b, i > 0 ? "," : "");
        if (!blank)
            buf_printf(&b, "%d@", i + 1);
        buf_printf(&b, "n%d:9093", i + 1);
    }
    buf_printf(&b, "\nlisteners=");
    if (broker)
        buf_printf(&b, "PLAINTEXT://n%d:9092", id);
    if (controller)
        buf_printf(&b, "%sCONTROLLER://n%d:9093", broker ? "," : "", id);
    buf_printf(
        &b,
        "\ncontroller.listener.names=CONTROLLER\n"
        "log.dirs=/data%s\n"
        "metadata.log.dir=/data\n"
        "num.network.threads=%d\n"
        "leat.durability=%s\n"
        "min.insync.replicas=%d\n"
        "default.replication.factor=%d\n"
        "offsets.topic.num.partitions=3\n"
        "transaction.state.log.num.partitions=2\n"
        "transaction.state.log.replication.factor=%d\n"
        "transaction.state.log.min.isr=%d\n"
        "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n"
        "offsets.topic.replication.factor=%d\n"
        "log.roll.ms=%d\n"
        "log.index.interval.bytes=512\n"
        "log.cleaner.backoff.ms=1000\n"
        "log.cleaner.min.cleanable.ratio=0.1\n"
        "log.cleaner.delete.retention.ms=%d\n"
        "log.cleaner.io.buffer.size=2048\n"
        "log.cleaner.io.max.bytes.per.second=50000\n"
        "replica.lag.time.max.ms=%d\n"
        "broker.session.timeout.ms=%d\n"
        "broker.heartbeat.interval.ms=%d\n"
        "leat.broker.disconnect.grace.ms=%d\n"
        "metadata.log.max.record.bytes.between.snapshots=%lld\n"
        "group.initial.rebalance.delay.ms=100\n"
        "unclean.leader.election.enable=%s\n"
        "%s",
        plan->dirs == 3   ? ",/data1,/data2"
        : plan->dirs == 2 ? ",/data1"
                          : "",
        plan->shards, plan->fsync ? "fsync" : "replicated", plan->min_isr,
        plan->replication, plan->replication, plan->min_isr, plan->replication,
        plan->roll_ms, plan->delete_retention_ms, plan->lag_max_ms,
        plan->session_timeout_ms, plan->session_timeout_ms / 4, plan->grace_ms,
        (long long)plan->snapshot_bytes, plan->unclean ? "true" : "false",
        plan->move_rate == 20000
            ? "replica.alter.log.dirs.io.max.bytes.per.second=20000\n"
        : plan->move_rate != 0
            ? "replica.alter.log.dirs.io.max.bytes.per.second=200000\n"
            : "");
    if (plan->load.modern_session_timeout_ms > 0)
        buf_printf(&b,
                   "group.consumer.min.session.timeout.ms=1000\n"
                   "group.consumer.session.timeout.ms=%d\n"
                   "group.consumer.assignment.interval.ms=%d\n",
                   plan->load.modern_session_timeout_ms,
                   plan->seed % 2 == 0 ? 0 : 1000);
    if (plan->load.share_members > 0)
        buf_printf(&b,
                   "share.coordinator.state.topic.num.partitions=2\n"
                   "share.coordinator.state.topic.replication.factor=%d\n"
                   "share.coordinator.state.topic.min.isr=%d\n"
                   "group.share.delivery.count.limit=%d\n"
                   "group.share.min.session.timeout.ms=1000\n"
                   "group.share.session.timeout.ms=%d\n"
                   "group.share.min.record.lock.duration.ms=1000\n"
                   "group.share.record.lock.duration.ms=%d\n"
                   "share.coordinator.snapshot.update.records.per.snapshot=%d\n"
                   "share.coordinator.state.topic.prune.interval.ms=%d\n"
                   "group.share.initialize.retry.interval.ms=3000\n",
                   plan->replication, plan->min_isr, plan->load.share_limit,
                   plan->load.share_session_timeout_ms,
                   plan->load.share_lock_ms, plan->seed % 3 == 0 ? 5 : 500,
                   plan->seed % 5 == 0 ? 1000 : 300000);
    buf_put_u8(&b, 0);
    return (char *)b.data;
}

void plan_print(const struct plan *plan)
{
    printf("seed %llu: %d nodes, %d controllers%s, %d spares, %d shards, %d "
           "dirs, %s, "
           "RF %d, "
           "min ISR %d%s, roll %d ms, lag %d ms, session %d ms, grace %d ms, "
           "snapshots by %lld bytes, %lld entries kept, "
           "delay %lld us, work %lld us, faults for %lld s\n",
           (unsigned long long)plan->seed, plan->nodes, plan->controllers,
           plan->combined ? ", combined" : "", plan->spares, plan->shards,
           plan->dirs, plan->fsync ? "fsync" : "replicated", plan->replication,
           plan->min_isr, plan->unclean ? ", unclean" : "", plan->roll_ms,
           plan->lag_max_ms, plan->session_timeout_ms, plan->grace_ms,
           (long long)plan->snapshot_bytes, (long long)plan->keep_entries,
           (long long)plan->delay_us, (long long)plan->work_max_us,
           (long long)plan->faults_us / 1000000);
    for (int i = 0; i < plan->faults_len; i++) {
        const struct fault *f = &plan->faults[i];

        printf("  fault %d: %s at %.3f s for %.3f s, a %d, b %d, amount %lld",
               i, fault_names[f->kind], (double)f->at_us / 1e6,
               (double)f->duration_us / 1e6, f->a, f->b, (long long)f->amount);
        if (f->moment != MOMENT_NONE)
            printf(", %.3f s after a node %s, to %s", (double)f->after_us / 1e6,
                   moment_texts[f->moment],
                   f->aim == AIM_IT           ? "it"
                   : f->aim == AIM_CONTROLLER ? "the active controller"
                                              : "a");
        printf("\n");
    }
}
