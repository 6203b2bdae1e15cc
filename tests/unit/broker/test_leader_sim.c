/* Four brokers, a controller, and a network that delays, against the promise:
 * what a leader called committed is in the log of every later leader.
 *
 * Every broker applies the controller's log at its own pace, so there are
 * leaders that are none any more; brokers stop and start, some without the tail
 * of their log; answers get lost and arrive late.  The shell around the core is
 * what partition.c is: it tells the core only of newer metadata and of answers
 * to the proposal that is in flight.
 *
 * Each planted bug breaks one of these rules, and must be caught. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"
#include "broker/replica/leader.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    N = 4,
    EVERYBODY = (1 << N) - 1,
    LOG_MAX = 512,
    META_MAX = 1024,
    MAIL_MAX = 8,
    LAG_MS = 100
};

enum bug {
    NO_BUG,
    BUG_OLD_NEWS,        /* metadata heard before ends a proposal */
    BUG_LOST_ANSWER,     /* no answer is taken for a refusal */
    BUG_NOT_ANEW,        /* a restarted broker has what it had */
    BUG_COUNT_COMMITTED, /* the proposed ISR does not count */
    BUG_EARLY_LIFE,      /* a restarted broker acts on metadata of before */
    BUG_STALE_FETCH,     /* a fetch from an earlier life counts */
    BUGS,
};

/* The controller's view after one of its records. */
struct view {
    int leader; /* -1 none */
    int32_t leader_epoch;
    int32_t partition_epoch;
    replica_set isr;
    int broker_epoch[N];
    bool fenced[N];
};

struct proposal {
    int32_t leader_epoch;
    int32_t partition_epoch;
    int from;
    replica_set isr;
    int broker_epoch[N];
    bool decided;
    bool accepted;
    bool certain; /* it was refused for good */
};

struct fetch {
    int from;
    int broker_epoch;
    int32_t leader_epoch;
    int to;
    int64_t offset;
    int32_t last_epoch; /* of the record before it */
};

struct broker {
    bool up;
    int epoch;
    int applied; /* index in the controller's log */
    int registered_at;
    int log[LOG_MAX]; /* unique record numbers */
    int32_t record_epoch[LOG_MAX];
    int end;
    int64_t high_watermark;
    bool leads;
    struct leader l;
    int32_t partition_epoch;
};

struct world {
    struct prng prng;
    enum bug bug;
    int64_t now_ms;
    struct broker brokers[N];
    struct view metas[META_MAX];
    int metas_len;
    struct proposal proposals[MAIL_MAX];
    int proposals_len;
    struct fetch fetches[MAIL_MAX];
    int fetches_len;
    int next_record;
    int committed[LOG_MAX];
    int committed_len;
    bool violated;
};

static int rnd(struct world *w, int n)
{
    return (int)prng_below(&w->prng, (uint64_t)n);
}

static const struct view *last(const struct world *w)
{
    return &w->metas[w->metas_len - 1];
}

/* ---- checks -----------------------------------------------------------------
 */

static void note_committed(struct world *w, const struct broker *b)
{
    for (int i = 0; i < b->high_watermark; i++) {
        if (i == w->committed_len)
            w->committed[w->committed_len++] = b->log[i];
        w->violated |= w->committed[i] != b->log[i];
    }
}

static void check_elected(struct world *w, const struct broker *b)
{
    w->violated |= b->end < w->committed_len;
    for (int i = 0; i < w->committed_len && i < b->end; i++)
        w->violated |= w->committed[i] != b->log[i];
}

/* ---- the leader's shell
 * ------------------------------------------------------- */

static void propose(struct world *w, int id, replica_set isr)
{
    struct broker *b = &w->brokers[id];
    const struct view *v = &w->metas[b->applied];

    if (w->proposals_len == MAIL_MAX)
        return; /* the answer never comes */
    struct proposal *p = &w->proposals[w->proposals_len++];
    *p = (struct proposal){.leader_epoch = v->leader_epoch,
                           .partition_epoch = b->partition_epoch,
                           .from = id,
                           .isr = isr};
    memcpy(p->broker_epoch, v->broker_epoch, sizeof p->broker_epoch);
}

static void step(struct world *w, int id, struct leader_event e)
{
    struct broker *b = &w->brokers[id];
    struct leader_update u;
    int64_t before = b->high_watermark;

    e.now_ms = w->now_ms;
    leader_step(&b->l, &e, &u);
    if (w->bug == BUG_COUNT_COMMITTED)
        b->l.isr_proposed = b->l.isr;
    if ((u.flags & LEADER_UPDATE_PROPOSE_ISR) != 0)
        propose(w, id, u.isr_proposed);
    b->high_watermark = u.high_watermark;
    w->violated |= b->high_watermark < before;
    if (b->high_watermark > before)
        note_committed(w, b);
}

static void brokers_changed(struct world *w, int id, const struct view *old,
                            const struct view *new)
{
    for (int i = 0; i < N; i++) {
        if (i == id)
            continue;
        if (old->broker_epoch[i] != new->broker_epoch[i] &&
            w->bug != BUG_NOT_ANEW)
            step(w, id,
                 (struct leader_event){.type = LEADER_FOLLOWER_ANEW,
                                       .replica = i});
        step(w, id,
             (struct leader_event){.type = LEADER_ELIGIBILITY,
                                   .replica = i,
                                   .flag = !new->fenced[i]});
    }
}

static void lead(struct world *w, int id, const struct view *v)
{
    struct broker *b = &w->brokers[id];

    leader_init(&b->l, v->leader_epoch, id, N, v->isr, b->end, b->end,
                b->high_watermark, 1, LAG_MS, w->now_ms);
    b->leads = true;
    b->partition_epoch = v->partition_epoch;
    brokers_changed(w, id, v, v);
}

static void apply(struct world *w, int id, int index)
{
    struct broker *b = &w->brokers[id];
    const struct view *old = &w->metas[b->applied];
    const struct view *v = &w->metas[index];

    b->applied = index;
    if (v->leader != id) {
        b->leads = false;
    } else if (!b->leads || v->leader_epoch != b->l.epoch) {
        lead(w, id, v);
    } else {
        if (v->partition_epoch > b->partition_epoch || w->bug == BUG_OLD_NEWS) {
            b->partition_epoch = v->partition_epoch;
            step(w, id,
                 (struct leader_event){.type = LEADER_ISR_COMMITTED,
                                       .isr = v->isr});
        }
        brokers_changed(w, id, old, v);
    }
}

static void answered(struct world *w, const struct proposal *p)
{
    struct broker *b = &w->brokers[p->from];
    bool mine = b->leads && b->l.in_flight && b->l.epoch == p->leader_epoch;

    if (!mine)
        return;
    if (p->accepted) {
        if (p->partition_epoch + 1 <= b->partition_epoch)
            return;
        b->partition_epoch = p->partition_epoch + 1;
        step(
            w, p->from,
            (struct leader_event){.type = LEADER_ISR_COMMITTED, .isr = p->isr});
    } else if (p->certain && p->partition_epoch == b->partition_epoch) {
        step(w, p->from, (struct leader_event){.type = LEADER_ISR_REFUSED});
    }
}

/* ---- the controller
 * ------------------------------------------------------------ */

static struct view *record(struct world *w)
{
    w->metas[w->metas_len] = w->metas[w->metas_len - 1];
    return &w->metas[w->metas_len++];
}

static void elect(struct world *w, struct view *v)
{
    v->leader = -1;
    for (int i = rnd(w, N), n = 0; n < N && v->leader < 0; i++, n++)
        if (replica_in(v->isr, i % N) && !v->fenced[i % N])
            v->leader = i % N;
    v->leader_epoch++;
    if (v->leader >= 0)
        check_elected(w, &w->brokers[v->leader]);
}

static void fence(struct world *w, struct view *v, int id)
{
    v->fenced[id] = true;
    if (replica_set_size(v->isr) > 1 && replica_in(v->isr, id)) {
        v->isr = (replica_set)(v->isr & ~(1u << id));
        v->partition_epoch++;
    }
    if (v->leader == id) {
        elect(w, v);
        v->partition_epoch++;
    }
}

static void decide(struct world *w, struct proposal *p)
{
    const struct view *v = last(w);

    p->decided = true;
    if (p->from != v->leader || p->leader_epoch != v->leader_epoch ||
        p->partition_epoch != v->partition_epoch)
        return;
    for (int i = 0; i < N; i++)
        if (replica_in(p->isr, i) &&
            (v->fenced[i] || p->broker_epoch[i] != v->broker_epoch[i]))
            p->certain = true;
    if (p->certain)
        return;
    p->accepted = true;
    struct view *new = record(w);
    new->isr = p->isr;
    new->partition_epoch++;
}

/* ---- what may happen
 * -------------------------------------------------------------- */

static void produce(struct world *w, int id)
{
    struct broker *b = &w->brokers[id];

    if (!b->up || !b->leads || b->end == LOG_MAX)
        return;
    b->log[b->end] = w->next_record++;
    b->record_epoch[b->end++] = b->l.epoch;
    step(w, id,
         (struct leader_event){.type = LEADER_APPENDED, .offset = b->end});
}

static void send_fetch(struct world *w, int id)
{
    const struct broker *b = &w->brokers[id];
    const struct view *v = &w->metas[b->applied];

    if (!b->up || v->leader < 0 || v->leader == id ||
        w->fetches_len == MAIL_MAX)
        return;
    w->fetches[w->fetches_len++] = (struct fetch){
        .from = id,
        .broker_epoch = b->epoch,
        .leader_epoch = v->leader_epoch,
        .to = v->leader,
        .offset = b->end,
        .last_epoch = b->end != 0 ? b->record_epoch[b->end - 1] : 0};
}

static int common(const struct broker *a, const struct broker *b)
{
    int n = 0;

    while (n < a->end && n < b->end && a->log[n] == b->log[n])
        n++;
    return n;
}

static void cut(struct broker *b, int end)
{
    b->end = end;
    if (b->high_watermark > end)
        b->high_watermark = end;
}

static void copy(struct world *w, struct broker *to, const struct broker *from)
{
    for (int n = rnd(w, 4); n > 0 && to->end < from->end; n--) {
        to->record_epoch[to->end] = from->record_epoch[to->end];
        to->log[to->end] = from->log[to->end];
        to->end++;
    }
    int64_t hw = from->high_watermark;
    if (hw > to->end)
        hw = to->end;
    if (hw > to->high_watermark)
        to->high_watermark = hw;
}

/* The request may be older than the follower's present life. */
static void take_fetch(struct world *w, const struct fetch *f)
{
    struct broker *to = &w->brokers[f->to], *from = &w->brokers[f->from];

    if (!to->up || !to->leads || to->l.epoch != f->leader_epoch)
        return;
    bool stale = f->broker_epoch < w->metas[to->applied].broker_epoch[f->from];
    if (stale && w->bug != BUG_STALE_FETCH)
        return;
    bool present = from->up && from->epoch == f->broker_epoch &&
                   from->end == f->offset && !from->leads &&
                   w->metas[from->applied].leader_epoch == f->leader_epoch;
    if (f->offset > to->end ||
        (f->offset != 0 && to->record_epoch[f->offset - 1] != f->last_epoch)) {
        if (present)
            cut(from, common(from, to));
        return;
    }
    step(w, f->to,
         (struct leader_event){.type = LEADER_FETCHED,
                               .replica = f->from,
                               .offset = f->offset,
                               .session = 1});
    if (present)
        copy(w, from, to);
}

static void deliver_fetch(struct world *w)
{
    if (w->fetches_len == 0)
        return;
    int i = rnd(w, w->fetches_len);
    struct fetch f = w->fetches[i];
    w->fetches[i] = w->fetches[--w->fetches_len];
    take_fetch(w, &f);
}

static void deliver_proposal(struct world *w)
{
    if (w->proposals_len == 0)
        return;
    int i = rnd(w, w->proposals_len);
    struct proposal *p = &w->proposals[i];
    if (!p->decided) {
        decide(w, p);
        if (w->bug == BUG_LOST_ANSWER && rnd(w, 4) == 0) {
            p->accepted = false;
            p->certain = true;
        }
        return;
    }
    struct proposal answer = *p;
    w->proposals[i] = w->proposals[--w->proposals_len];
    answered(w, &answer);
}

static void hear(struct world *w, int id)
{
    struct broker *b = &w->brokers[id];

    if (!b->up)
        return;
    if (b->applied + 1 < w->metas_len)
        apply(w, id, b->applied + 1);
    else if (rnd(w, 4) == 0)
        apply(w, id, b->applied); /* told once more */
    if (last(w)->fenced[id] && last(w)->broker_epoch[id] == b->epoch &&
        b->applied >= b->registered_at) {
        struct view *v = record(w);
        v->fenced[id] = false;
        if (v->leader < 0) {
            elect(w, v);
            v->partition_epoch += v->leader >= 0;
        }
    }
}

static void stop(struct world *w, int id)
{
    struct broker *b = &w->brokers[id];

    if (!b->up)
        return;
    b->up = b->leads = false;
    fence(w, record(w), id);
}

static void start(struct world *w, int id)
{
    struct broker *b = &w->brokers[id];

    if (b->up)
        return;
    /* The disk may forget, but for the last that is in sync. */
    if (!replica_in(last(w)->isr, id) && rnd(w, 2) == 0)
        cut(b, rnd(w, b->end + 1));
    b->up = true;
    b->epoch++;
    struct view *v = record(w);
    v->broker_epoch[id] = b->epoch;
    v->fenced[id] = true;
    /* What the controller said in its earlier life it does not act on: it
     * would lead once more in an epoch in which others know it by what it
     * lost. */
    apply(w, id, w->bug == BUG_EARLY_LIFE ? b->applied : w->metas_len - 1);
    b->registered_at = w->metas_len - 1;
}

static void pass_time(struct world *w)
{
    w->now_ms += rnd(w, 8) == 0 ? rnd(w, 200) : 1;
    for (int i = 0; i < N; i++)
        if (w->brokers[i].up && w->brokers[i].leads)
            step(w, i, (struct leader_event){.type = LEADER_TICK});
}

static void something(struct world *w)
{
    int id = rnd(w, N), dice = rnd(w, 100);

    if (dice < 1)
        stop(w, id);
    else if (dice < 5)
        start(w, id);
    else if (dice < 32)
        hear(w, id);
    else if (dice < 39)
        produce(w, id);
    else if (dice < 42)
        pass_time(w);
    else if (dice < 54)
        deliver_proposal(w);
    else if (dice < 74)
        deliver_fetch(w);
    else
        send_fetch(w, id);
}

static struct world *world_new(uint64_t seed, enum bug bug)
{
    struct world *w = xcalloc(1, sizeof *w);

    w->prng.state = seed;
    w->bug = bug;
    w->metas[0] = (struct view){
        .leader_epoch = 1, .partition_epoch = 1, .isr = EVERYBODY};
    w->metas_len = 1;
    for (int i = 0; i < N; i++)
        w->brokers[i].up = true;
    for (int i = 0; i < N; i++)
        apply(w, i, 0);
    return w;
}

/* All goes well from now on: everything must become committed everywhere. */
static bool heals(struct world *w)
{
    for (int i = 0; i < N; i++)
        start(w, i);
    for (int n = 0; n < 3000 && w->metas_len < META_MAX - 4; n++) {
        w->now_ms += 1;
        for (int i = 0; i < N; i++) {
            hear(w, i);
            send_fetch(w, i);
        }
        deliver_fetch(w);
        deliver_fetch(w);
        deliver_fetch(w);
        deliver_proposal(w);
        pass_time(w);
        const struct view *v = last(w);
        if (v->leader >= 0 && v->isr == EVERYBODY &&
            w->brokers[v->leader].leads &&
            w->brokers[v->leader].high_watermark == w->brokers[v->leader].end)
            return true;
    }
    return false;
}

/* Returns whether the promise was kept. */
static bool run(uint64_t seed, enum bug bug, bool *healed)
{
    struct world *w = world_new(seed, bug);

    for (int i = 0; i < 3000 && !w->violated && w->metas_len < META_MAX / 2;
         i++)
        something(w);
    bool kept = !w->violated;
    *healed = heals(w);
    kept = kept && !w->violated;
    free(w);
    return kept;
}

Test(leader_sim, what_was_committed_is_never_lost)
{
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        bool healed;
        cr_assert(run(seed, NO_BUG, &healed), "seed %d", (int)seed);
        cr_assert(healed, "seed %d does not heal", (int)seed);
    }
}

Test(leader_sim, every_planted_bug_is_caught)
{
    for (enum bug bug = NO_BUG + 1; bug < BUGS; bug++) {
        bool healed, caught = false;
        for (uint64_t seed = 1; seed <= 20000 && !caught; seed++)
            caught = !run(seed, bug, &healed);
        cr_assert(caught, "bug %d is not caught", (int)bug);
    }
}
