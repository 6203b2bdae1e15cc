/* A fetch takes records: which of those it has read become its member's.
 *
 * The batches of the log are walked by offset together with the window.  What
 * lies between batches, and batches without anything for consumers, are gaps:
 * archived at once, without a word to the coordinator, since whoever reads the
 * log again sees them again.  Of the others those that are available are taken,
 * and what lies beyond the end of the window comes into it, acquired.
 *
 * The limit is looked at after each batch, or with SHARE_RECORD_LIMIT within
 * it (KIP-1206).
 *
 * Records that were delivered often and not acknowledged are suspects: one of
 * them may be what its consumers fail at.  They are handed out alone, the more
 * often the fewer at once, and a single one before the last time, so that the
 * others are not archived with it (KAFKA-17541). */
#include "base/planted.h"
#include "broker/share/parts.h"

#include <stdlib.h>

struct acquiring {
    struct share_partition *p;
    const struct share_acquire *request;
    struct share_acquired *acquired;
    struct share_member *member;         /* NULL: holds nothing yet */
    const struct share_log_batch *batch; /* at hand */
    int64_t left;                        /* of max_records; may be negative */
    int64_t taken;
    bool stop; /* the window is full, or there are suspects */
    /* Suspects: neighbours that were delivered equally often. */
    bool alone;
    int16_t alone_deliveries;
    int64_t alone_next;
    int64_t alone_left;
};

void share_acquired_free(struct share_acquired *acquired)
{
    free(acquired->ranges);
    *acquired = (struct share_acquired){0};
}

/* ---- results -------------------------------------------------------------*/

/* A client acknowledges range by range, so they are neither to be tiny nor to
 * cut batches. */
static bool begins_range(const struct acquiring *a,
                         const struct share_range *last,
                         const struct share_run *run)
{
    return last->last + 1 != run->first ||
           last->deliveries != run->deliveries ||
           (a->request->mode == SHARE_BATCH_OPTIMIZED &&
            run->first == a->batch->base &&
            run->first - last->first >= a->request->batch_size);
}

static void note(struct acquiring *a, const struct share_run *run)
{
    struct share_acquired *to = a->acquired;

    to->records += share_run_size(run);
    if (to->len != 0 && !begins_range(a, &to->ranges[to->len - 1], run)) {
        to->ranges[to->len - 1].last = run->last;
        return;
    }
    if (to->len == to->cap) {
        to->cap = to->cap == 0 ? 8 : 2 * to->cap;
        to->ranges = xrealloc(to->ranges, to->cap * sizeof *to->ranges);
    }
    to->ranges[to->len++] =
        (struct share_range){run->first, run->last, run->deliveries};
}

/* ---- taking --------------------------------------------------------------*/

static struct share_member *member_of(struct acquiring *a)
{
    struct share_partition *p = a->p;

    if (a->member == NULL)
        a->member = map_get(&p->members, a->request->member);
    if (a->member == NULL) {
        struct share_member *member = xcalloc(1, sizeof *member);

        member->id =
            slice_of(xmemdup(a->request->member.data, a->request->member.len),
                     a->request->member.len);
        list_init(&member->runs);
        map_put(&p->members, member->id, member);
        a->member = member;
    }
    return a->member;
}

/* Its deliveries count this one already. */
static void take(struct acquiring *a, struct share_run *run)
{
    int64_t lock_ms = PLANTED(SHARE_LOCKS_FOR_EVER)
                          ? INT32_MAX
                          : a->p->config.record_lock_duration_ms;

    share_run_own(a->p, run, member_of(a), a->request->now_ms + lock_ms);
    a->left -= share_run_size(run);
    a->taken += share_run_size(run);
    note(a, run);
}

static bool is_limit(const struct acquiring *a)
{
    return a->request->mode == SHARE_RECORD_LIMIT;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- suspects ------------------------------------------------------------*/

/* From so many deliveries on: half of the limit, and no less than two. */
static int32_t suspect_from(const struct acquiring *a)
{
    int32_t half = (a->p->config.delivery_count_limit + 1) / 2;

    return half < 2 ? 2 : half;
}

static bool is_suspect(const struct acquiring *a, const struct share_run *run)
{
    return a->p->config.delivery_count_limit > 2 &&
           run->deliveries >= suspect_from(a);
}

/* Half of the batch, then a quarter, and so on. */
static int64_t suspects_at_once(const struct acquiring *a,
                                const struct share_run *run)
{
    int32_t shift = run->deliveries - suspect_from(a) + 1;
    int64_t n = a->batch->last - a->batch->base + 1;

    if (run->deliveries == a->p->config.delivery_count_limit - 1 || shift > 62)
        return 1;
    return n >> shift == 0 ? 1 : n >> shift;
}

/* How many records at the start of a run may be taken; 0: none, and no others
 * either. */
static int64_t allowance(struct acquiring *a, const struct share_run *run)
{
    int64_t n = share_run_size(run);

    if (is_limit(a))
        n = smaller(n, a->left);
    if (!a->alone && is_suspect(a, run) && a->taken == 0) {
        a->alone = true;
        a->alone_deliveries = run->deliveries;
        a->alone_next = run->first;
        a->alone_left = suspects_at_once(a, run);
    }
    if (!a->alone)
        return is_suspect(a, run) ? 0 : n;
    if (run->first != a->alone_next || run->deliveries != a->alone_deliveries)
        return 0;
    n = smaller(n, a->alone_left);
    a->alone_left -= n;
    a->alone_next += n;
    return n;
}

/* ---- the window ----------------------------------------------------------*/

/* The limit is lower than it was. */
static void archive(struct acquiring *a, struct share_run *run)
{
    share_run_set(a->p, run, SHARE_ARCHIVED, run->deliveries);
    share_run_dirty(a->p, run);
}

static void take_some(struct acquiring *a, struct share_run *run, int64_t n)
{
    if (n < share_run_size(run))
        share_runs_split(a->p, run->first + n);
    share_run_set(a->p, run, SHARE_ACQUIRED, (int16_t)(run->deliveries + 1));
    take(a, run);
}

/* [first, last] of the window. */
static void visit_window(struct acquiring *a, int64_t first, int64_t last,
                         bool has_records)
{
    struct share_partition *p = a->p;

    for (size_t i = share_runs_find(p, first);
         i < p->len && share_run_at(p, i)->first <= last; i++) {
        struct share_run *run = share_run_at(p, i);

        if (PLANTED(SHARE_GIVES_WHAT_IS_HELD) && run->state == SHARE_ACQUIRED &&
            !run->decided) {
            share_run_disown(p, run);
            share_run_set(p, run, SHARE_AVAILABLE, run->deliveries);
        }
        if (run->state != SHARE_AVAILABLE)
            continue;
        if (run->first < first) {
            share_runs_split(p, first);
            continue; /* to the right half */
        }
        share_runs_split(p, last + 1);
        if (!has_records) {
            share_run_set(p, run, SHARE_ARCHIVED, 0);
            continue;
        }
        if (is_limit(a) && a->left <= 0)
            return;
        if (run->deliveries >= p->config.delivery_count_limit &&
            !PLANTED(SHARE_IGNORES_LIMIT)) {
            archive(a, run);
            continue;
        }
        int64_t n = allowance(a, run);
        if (n == 0) {
            a->stop = true;
            return;
        }
        take_some(a, run, n);
    }
    a->stop = a->stop || a->alone; /* to the end of a batch at most */
}

/* How many records of a batch may still come into the window. */
static int64_t room(const struct acquiring *a)
{
    const struct share_partition *p = a->p;
    int64_t locks = p->config.max_record_locks;
    int64_t in_flight = p->end - p->start - p->gaps;

    if (in_flight >= locks)
        return 0;
    if (!is_limit(a))
        return 2 * locks - in_flight;
    return locks - in_flight < a->left ? locks - in_flight : a->left;
}

/* [p->end, last] comes into the window. */
static void extend(struct acquiring *a, int64_t last, bool has_records)
{
    struct share_partition *p = a->p;

    if (!has_records) {
        share_runs_append(p, last, SHARE_ARCHIVED, 0);
        return;
    }
    int64_t n = room(a);
    if (n < last - p->end + 1) {
        a->stop = true;
        last = p->end + n - 1;
    }
    if (n > 0)
        take(a, share_runs_append(p, last, SHARE_ACQUIRED, 1));
}

static void visit(struct acquiring *a, int64_t first, int64_t last,
                  bool has_records)
{
    int64_t end = a->p->end;

    ASSERT(first <= end); /* the window has no holes */
    if (first < end)
        visit_window(a, first, last < end ? last : end - 1, has_records);
    if (last >= end && !a->stop)
        extend(a, last, has_records);
}

/* Offset after the last that was looked at. */
static int64_t visit_batches(struct acquiring *a, int64_t from)
{
    const struct share_acquire *request = a->request;

    for (uint32_t i = 0; i < request->batches_len; i++) {
        const struct share_log_batch *batch = &request->batches[i];

        ASSERT(batch->base <= batch->last);
        if (batch->last < from)
            continue;
        if (a->stop || a->left <= 0)
            break;
        if (batch->base > from) {
            visit(a, from, batch->base - 1, false);
            from = batch->base;
        }
        a->batch = batch;
        visit(a, from, batch->last, batch->has_records);
        from = batch->last + 1;
    }
    return from;
}

enum err share_partition_acquire(struct share_partition *p,
                                 const struct share_acquire *request,
                                 struct share_acquired *acquired,
                                 struct share_update *update)
{
    struct acquiring a = {.p = p,
                          .request = request,
                          .acquired = acquired,
                          .left = request->max_records};
    int64_t from = request->from < p->start ? p->start : request->from;

    if (p->closed)
        return ERR_NOT_LEADER_OR_FOLLOWER;
    if (from > p->end)
        return ERR_NONE; /* of another window */
    int64_t to = visit_batches(&a, from);
    if (to > from)
        share_runs_join(p, from, to - 1);
    share_runs_trim(p, update);
    share_flush(p, update);
    return ERR_NONE;
}
