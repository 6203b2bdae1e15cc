#include "broker/coord/streams/tasks.h"

#include <stdlib.h>

static int compare_subs(struct slice a, struct slice b)
{
    if (a.data == b.data && a.len == b.len)
        return 0;
    return slice_cmp(a, b);
}

int task_cmp(const struct task *a, const struct task *b)
{
    int order = compare_subs(a->sub, b->sub);

    if (order != 0)
        return order;
    return a->partition < b->partition ? -1 : a->partition > b->partition;
}

static int compare(const void *a, const void *b) { return task_cmp(a, b); }

struct tasks tasks_of(struct task *items, uint32_t len)
{
    uint32_t kept = 0;

    if (len == 0)
        return TASKS_EMPTY;
    qsort(items, len, sizeof *items, compare);
    for (uint32_t i = 0; i < len; i++)
        if (kept == 0 || task_cmp(&items[kept - 1], &items[i]) != 0)
            items[kept++] = items[i];
    return (struct tasks){items, kept};
}

const struct task *tasks_find(struct tasks set, struct slice sub,
                              int32_t partition)
{
    struct task wanted = {sub, partition, 0};

    if (set.len == 0)
        return NULL;
    return bsearch(&wanted, set.items, set.len, sizeof *set.items, compare);
}

bool tasks_eq(struct tasks a, struct tasks b)
{
    if (a.len != b.len)
        return false;
    for (uint32_t i = 0; i < a.len; i++)
        if (task_cmp(&a.items[i], &b.items[i]) != 0)
            return false;
    return true;
}

bool tasks_same(struct tasks a, struct tasks b)
{
    if (!tasks_eq(a, b))
        return false;
    for (uint32_t i = 0; i < a.len; i++)
        if (a.items[i].epoch != b.items[i].epoch)
            return false;
    return true;
}

/* The first of `set` from `at` on that is not below `item`. */
static uint32_t skip_to(struct tasks set, uint32_t at, const struct task *item)
{
    while (at < set.len && task_cmp(&set.items[at], item) < 0)
        at++;
    return at;
}

static bool is_at(struct tasks set, uint32_t at, const struct task *item)
{
    return at < set.len && task_cmp(&set.items[at], item) == 0;
}

bool tasks_contain(struct tasks set, struct tasks subset)
{
    for (uint32_t i = 0, at = 0; i < subset.len; i++) {
        at = skip_to(set, at, &subset.items[i]);
        if (!is_at(set, at, &subset.items[i]))
            return false;
    }
    return true;
}

bool tasks_overlap(struct tasks a, struct tasks b)
{
    for (uint32_t i = 0, at = 0; i < a.len; i++) {
        at = skip_to(b, at, &a.items[i]);
        if (is_at(b, at, &a.items[i]))
            return true;
    }
    return false;
}

/* Those of `a` that are in `b`, or those that are not. */
static struct tasks filter(struct arena *arena, struct tasks a, struct tasks b,
                           bool in_b)
{
    struct tasks out = {arena_array(arena, a.len, sizeof *a.items), 0};

    for (uint32_t i = 0, at = 0; i < a.len; i++) {
        at = skip_to(b, at, &a.items[i]);
        if (is_at(b, at, &a.items[i]) == in_b)
            out.items[out.len++] = a.items[i];
    }
    return out;
}

struct tasks tasks_and(struct arena *arena, struct tasks a, struct tasks b)
{
    return filter(arena, a, b, true);
}

struct tasks tasks_minus(struct arena *arena, struct tasks a, struct tasks b)
{
    return filter(arena, a, b, false);
}

struct tasks tasks_join(struct arena *arena, struct tasks a, struct tasks b)
{
    uint32_t len = a.len + b.len;
    struct task *items = arena_array(arena, len, sizeof *items);

    if (a.len != 0)
        memcpy(items, a.items, a.len * sizeof *items);
    if (b.len != 0)
        memcpy(items + a.len, b.items, b.len * sizeof *items);
    struct tasks out = tasks_of(items, len);
    ASSERT(out.len == len);
    return out;
}

struct tasks tasks_dup(struct tasks set)
{
    if (set.len == 0)
        return TASKS_EMPTY;
    return (struct tasks){xmemdup(set.items, set.len * sizeof *set.items),
                          set.len};
}

void tasks_free(struct tasks *set)
{
    free(set->items);
    *set = TASKS_EMPTY;
}

uint32_t tasks_run(struct tasks set, uint32_t at)
{
    uint32_t end = at;

    while (end < set.len &&
           compare_subs(set.items[end].sub, set.items[at].sub) == 0)
        end++;
    return end - at;
}

uint32_t tasks_subs(struct tasks set)
{
    uint32_t subs = 0;

    for (uint32_t at = 0; at < set.len; at += tasks_run(set, at))
        subs++;
    return subs;
}

/* ---- all kinds at once ---------------------------------------------------*/

uint32_t tuple_len(const struct tuple *t)
{
    uint32_t len = 0;

    for (int k = 0; k < TASK_KINDS; k++)
        len += t->of[k].len;
    return len;
}

bool tuple_is_empty(const struct tuple *t) { return tuple_len(t) == 0; }

bool tuple_eq(const struct tuple *a, const struct tuple *b)
{
    for (int k = 0; k < TASK_KINDS; k++)
        if (!tasks_eq(a->of[k], b->of[k]))
            return false;
    return true;
}

bool tuple_same(const struct tuple *a, const struct tuple *b)
{
    for (int k = 0; k < TASK_KINDS; k++)
        if (!tasks_same(a->of[k], b->of[k]))
            return false;
    return true;
}

bool tuple_contain(const struct tuple *set, const struct tuple *subset)
{
    for (int k = 0; k < TASK_KINDS; k++)
        if (!tasks_contain(set->of[k], subset->of[k]))
            return false;
    return true;
}

bool tuple_overlap(const struct tuple *a, const struct tuple *b)
{
    for (int k = 0; k < TASK_KINDS; k++)
        if (tasks_overlap(a->of[k], b->of[k]))
            return true;
    return false;
}

struct tuple tuple_and(struct arena *arena, const struct tuple *a,
                       const struct tuple *b)
{
    struct tuple out;

    for (int k = 0; k < TASK_KINDS; k++)
        out.of[k] = tasks_and(arena, a->of[k], b->of[k]);
    return out;
}

struct tuple tuple_minus(struct arena *arena, const struct tuple *a,
                         const struct tuple *b)
{
    struct tuple out;

    for (int k = 0; k < TASK_KINDS; k++)
        out.of[k] = tasks_minus(arena, a->of[k], b->of[k]);
    return out;
}

struct tuple tuple_join(struct arena *arena, const struct tuple *a,
                        const struct tuple *b)
{
    struct tuple out;

    for (int k = 0; k < TASK_KINDS; k++)
        out.of[k] = tasks_join(arena, a->of[k], b->of[k]);
    return out;
}

struct tuple tuple_dup(const struct tuple *t)
{
    struct tuple out;

    for (int k = 0; k < TASK_KINDS; k++)
        out.of[k] = tasks_dup(t->of[k]);
    return out;
}

void tuple_free(struct tuple *t)
{
    for (int k = 0; k < TASK_KINDS; k++)
        tasks_free(&t->of[k]);
}
