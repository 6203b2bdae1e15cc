#include "broker/log/tail.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdlib.h>

enum { TAIL_FIRST = 4 };

static_assert((TAIL_MAX & (TAIL_MAX - 1)) == 0, "ring indexes are masked");

void tail_free(struct tail *t)
{
    free(t->entries);
    *t = (struct tail){0};
}

void tail_clear(struct tail *t) { t->first = t->len = 0; }

static struct tail_entry *entry_at(const struct tail *t, unsigned i)
{
    return &t->entries[(t->first + i) & (t->cap - 1u)];
}

static void grow(struct tail *t)
{
    unsigned cap = t->cap == 0 ? TAIL_FIRST : t->cap * 2u;
    struct tail_entry *entries = xmalloc(cap * sizeof *entries);

    for (unsigned i = 0; i < t->len; i++)
        entries[i] = *entry_at(t, i);
    free(t->entries);
    t->entries = entries;
    t->cap = (uint16_t)cap;
    t->first = 0;
}

void tail_add(struct tail *t, int64_t base_offset, uint32_t position,
              int32_t last_offset_delta)
{
    if (t->len == t->cap && t->cap < TAIL_MAX)
        grow(t);
    if (t->len == t->cap) {
        t->first = (uint16_t)((t->first + 1u) & (t->cap - 1u));
        t->len--;
    }
    *entry_at(t, t->len++) = (struct tail_entry){
        .base_offset = base_offset,
        .position = position,
        .last_offset_delta = last_offset_delta,
    };
}

void tail_truncate(struct tail *t, uint32_t position)
{
    while (t->len != 0 && entry_at(t, t->len - 1u)->position >= position)
        t->len--;
}

bool tail_find(const struct tail *t, int64_t offset, struct tail_hit *hit)
{
    unsigned low = 0, high = t->len;

    /* Offsets before the ring could belong to a batch before it. */
    if (t->len == 0 || offset < entry_at(t, 0)->base_offset)
        return false;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        const struct tail_entry *e = entry_at(t, middle);
        if (e->base_offset + e->last_offset_delta < offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == t->len)
        return false;
    hit->batch = *entry_at(t, low);
    hit->newest = low + 1u == t->len;
    hit->next_position = hit->newest ? 0 : entry_at(t, low + 1)->position;
    return true;
}

bool tail_floor(const struct tail *t, uint32_t position, uint32_t *start)
{
    unsigned low = 0, high = t->len;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (entry_at(t, middle)->position <= position)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    *start = entry_at(t, low - 1)->position;
    return true;
}
