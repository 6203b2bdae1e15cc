/* The window as an array of runs.
 *
 * Pointers to runs lie in an array by offset, so that finding is a binary
 * search, and splitting moves pointers only; the front is given up by moving
 * `head`.  Runs join again when their difference ends, so that their number
 * follows what is going on and not what has been. */
#include "broker/share/parts.h"

#include <stdlib.h>

size_t share_runs_find(const struct share_partition *p, int64_t offset)
{
    size_t low = 0, high = p->len;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (share_run_at(p, middle)->last < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- counting ------------------------------------------------------------*/

static void count(struct share_partition *p, const struct share_run *run,
                  int64_t sign)
{
    if (share_state_is_terminal(run->state))
        p->terminal += sign * share_run_size(run);
    if (share_run_is_gap(run))
        p->gaps += sign * share_run_size(run);
}

void share_run_set(struct share_partition *p, struct share_run *run,
                   enum share_state state, int16_t deliveries)
{
    count(p, run, -1);
    run->state = state;
    run->deliveries = deliveries;
    count(p, run, 1);
}

/* ---- owners --------------------------------------------------------------*/

void share_run_own(struct share_partition *p, struct share_run *run,
                   struct share_member *member, int64_t deadline_ms)
{
    ASSERT(run->owner == NULL);
    run->owner = member;
    list_push_back(&member->runs, &run->owned);
    run->deadline_ms = deadline_ms;
    heap_set(&p->locks, &run->lock, deadline_ms);
}

void share_run_disown(struct share_partition *p, struct share_run *run)
{
    struct share_member *member = run->owner;

    run->decided = false;
    run->owner = NULL;
    heap_remove(&p->locks, &run->lock);
    list_remove(&run->owned);
    if (member != NULL && list_empty(&member->runs)) {
        map_remove(&p->members, member->id);
        free((void *)member->id.data);
        free(member);
    }
}

/* ---- the array -----------------------------------------------------------*/

static void make_room(struct share_partition *p)
{
    if (p->head + p->len < p->cap)
        return;
    if (p->head > p->cap / 2) {
        memmove(p->runs, p->runs + p->head, p->len * sizeof *p->runs);
        p->head = 0;
        return;
    }
    p->cap = p->cap == 0 ? 8 : 2 * p->cap;
    p->runs = xrealloc(p->runs, p->cap * sizeof *p->runs);
}

static void insert(struct share_partition *p, size_t i, struct share_run *run)
{
    make_room(p);
    struct share_run **at = p->runs + p->head + i;
    memmove(at + 1, at, (p->len - i) * sizeof *at);
    *at = run;
    p->len++;
}

struct share_run *share_runs_append(struct share_partition *p, int64_t last,
                                    enum share_state state, int16_t deliveries)
{
    struct share_run *run = xcalloc(1, sizeof *run);

    ASSERT(last >= p->end && last < INT64_MAX);
    run->first = p->end;
    run->last = last;
    run->state = state;
    run->deliveries = deliveries;
    list_init(&run->owned);
    list_init(&run->link);
    count(p, run, 1);
    p->end = last + 1;
    insert(p, p->len, run);
    return run;
}

/* Both halves are in the same lists and have the same lock. */
static void split(struct share_partition *p, size_t i, int64_t offset)
{
    struct share_run *left = share_run_at(p, i);
    struct share_run *right = xmemdup(left, sizeof *left);

    left->last = offset - 1;
    right->first = offset;
    list_init(&right->owned);
    list_init(&right->link);
    right->lock = (struct heap_node){0};
    if (left->owner != NULL)
        list_insert_after(&left->owned, &right->owned);
    if (!list_unlinked(&left->link))
        list_insert_after(&left->link, &right->link);
    if (heap_has(&left->lock))
        heap_set(&p->locks, &right->lock, left->deadline_ms);
    insert(p, i + 1, right);
}

size_t share_runs_split(struct share_partition *p, int64_t offset)
{
    size_t i = share_runs_find(p, offset);

    if (i == p->len || share_run_at(p, i)->first >= offset)
        return i;
    split(p, i, offset);
    return i + 1;
}

/* It has been counted out already. */
static void discard(struct share_partition *p, struct share_run *run)
{
    share_run_disown(p, run);
    list_remove(&run->link);
    free(run);
}

static bool decisions_alike(const struct share_run *a,
                            const struct share_run *b)
{
    return a->decided == b->decided && (!a->decided || a->next == b->next);
}

static bool alike(const struct share_run *a, const struct share_run *b)
{
    return a->state == b->state && a->deliveries == b->deliveries &&
           a->owner == b->owner && a->persist == b->persist &&
           (a->owner == NULL || (a->deadline_ms == b->deadline_ms &&
                                 heap_has(&a->lock) == heap_has(&b->lock))) &&
           decisions_alike(a, b);
}

void share_runs_join(struct share_partition *p, int64_t first, int64_t last)
{
    size_t from = share_runs_find(p, first), to = share_runs_find(p, last);
    struct share_run **runs = p->runs + p->head;

    if (p->len == 0)
        return;
    if (from > 0)
        from--;
    if (to + 1 < p->len)
        to++;
    else
        to = p->len - 1;
    size_t kept = from; /* the last that stays */
    for (size_t i = from + 1; i <= to; i++) {
        if (alike(runs[kept], runs[i])) {
            runs[kept]->last = runs[i]->last;
            discard(p, runs[i]);
        } else {
            runs[++kept] = runs[i];
        }
    }
    memmove(runs + kept + 1, runs + to + 1, (p->len - to - 1) * sizeof *runs);
    p->len -= to - kept;
}

/* There are many share-partitions, and most are idle. */
static void give_up_room(struct share_partition *p)
{
    free(p->runs);
    p->runs = NULL;
    p->head = p->cap = 0;
}

static void pop(struct share_partition *p)
{
    struct share_run *run = share_run_at(p, 0);

    count(p, run, -1);
    p->start = run->last + 1;
    p->head++;
    p->len--;
    discard(p, run);
    if (p->len == 0)
        give_up_room(p);
}

void share_runs_trim(struct share_partition *p, struct share_update *update)
{
    while (p->len != 0 && share_state_is_terminal(share_run_at(p, 0)->state)) {
        pop(p);
        update->news = true;
    }
}

void share_runs_drop_below(struct share_partition *p, int64_t offset)
{
    share_runs_split(p, offset);
    while (p->len != 0 && share_run_at(p, 0)->first < offset)
        pop(p);
    if (p->start < offset)
        p->start = offset;
    if (p->end < offset)
        p->end = offset;
}
