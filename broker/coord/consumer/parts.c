#include "broker/coord/consumer/parts.h"

#include <stdlib.h>

int part_cmp(const struct part *a, const struct part *b)
{
    int order = memcmp(a->topic.bytes, b->topic.bytes, sizeof a->topic.bytes);

    if (order != 0)
        return order;
    return a->partition < b->partition ? -1 : a->partition > b->partition;
}

static int compare(const void *a, const void *b) { return part_cmp(a, b); }

struct parts parts_of(struct part *items, uint32_t len)
{
    uint32_t kept = 0;

    if (len == 0)
        return PARTS_EMPTY;
    qsort(items, len, sizeof *items, compare);
    for (uint32_t i = 0; i < len; i++)
        if (kept == 0 || part_cmp(&items[kept - 1], &items[i]) != 0)
            items[kept++] = items[i];
    return (struct parts){items, kept};
}

const struct part *parts_find(struct parts set, struct uuid topic,
                              int32_t partition)
{
    struct part wanted = {topic, partition, 0};

    if (set.len == 0)
        return NULL;
    return bsearch(&wanted, set.items, set.len, sizeof *set.items, compare);
}

bool parts_eq(struct parts a, struct parts b)
{
    if (a.len != b.len)
        return false;
    for (uint32_t i = 0; i < a.len; i++)
        if (part_cmp(&a.items[i], &b.items[i]) != 0)
            return false;
    return true;
}

bool parts_same(struct parts a, struct parts b)
{
    if (!parts_eq(a, b))
        return false;
    for (uint32_t i = 0; i < a.len; i++)
        if (a.items[i].epoch != b.items[i].epoch)
            return false;
    return true;
}

/* The first of `set` from `at` on that is not below `item`. */
static uint32_t skip_to(struct parts set, uint32_t at, const struct part *item)
{
    while (at < set.len && part_cmp(&set.items[at], item) < 0)
        at++;
    return at;
}

static bool is_at(struct parts set, uint32_t at, const struct part *item)
{
    return at < set.len && part_cmp(&set.items[at], item) == 0;
}

bool parts_contain(struct parts set, struct parts subset)
{
    for (uint32_t i = 0, at = 0; i < subset.len; i++) {
        at = skip_to(set, at, &subset.items[i]);
        if (!is_at(set, at, &subset.items[i]))
            return false;
    }
    return true;
}

bool parts_overlap(struct parts a, struct parts b)
{
    for (uint32_t i = 0, at = 0; i < a.len; i++) {
        at = skip_to(b, at, &a.items[i]);
        if (is_at(b, at, &a.items[i]))
            return true;
    }
    return false;
}

/* Those of `a` that are in `b`, or those that are not. */
static struct parts filter(struct arena *arena, struct parts a, struct parts b,
                           bool in_b)
{
    struct parts out = {arena_array(arena, a.len, sizeof *a.items), 0};

    for (uint32_t i = 0, at = 0; i < a.len; i++) {
        at = skip_to(b, at, &a.items[i]);
        if (is_at(b, at, &a.items[i]) == in_b)
            out.items[out.len++] = a.items[i];
    }
    return out;
}

struct parts parts_and(struct arena *arena, struct parts a, struct parts b)
{
    return filter(arena, a, b, true);
}

struct parts parts_minus(struct arena *arena, struct parts a, struct parts b)
{
    return filter(arena, a, b, false);
}

struct parts parts_join(struct arena *arena, struct parts a, struct parts b)
{
    uint32_t len = a.len + b.len;
    struct part *items = arena_array(arena, len, sizeof *items);

    if (a.len != 0)
        memcpy(items, a.items, a.len * sizeof *items);
    if (b.len != 0)
        memcpy(items + a.len, b.items, b.len * sizeof *items);
    struct parts out = parts_of(items, len);
    ASSERT(out.len == len);
    return out;
}

struct parts parts_dup(struct parts set)
{
    if (set.len == 0)
        return PARTS_EMPTY;
    return (struct parts){xmemdup(set.items, set.len * sizeof *set.items),
                          set.len};
}

void parts_free(struct parts *set)
{
    free(set->items);
    *set = PARTS_EMPTY;
}

uint32_t parts_run(struct parts set, uint32_t at)
{
    uint32_t end = at;

    while (end < set.len && uuid_eq(set.items[end].topic, set.items[at].topic))
        end++;
    return end - at;
}

uint32_t parts_topics(struct parts set)
{
    uint32_t topics = 0;

    for (uint32_t at = 0; at < set.len; at += parts_run(set, at))
        topics++;
    return topics;
}
