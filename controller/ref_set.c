#include "controller/ref_set.h"

#include <stdlib.h>

enum { CAP_MIN = 8 };

void ref_set_free(struct ref_set *s)
{
    free(s->table);
    *s = REF_SET_INIT;
}

static uint32_t home(const struct ref_set *s, partition_ref ref)
{
    uint64_t h = ref * 0x9e3779b97f4a7c15u;

    return (uint32_t)(h >> 32) & (s->cap - 1);
}

/* Where ref is, or the free place where it would go. */
static uint32_t probe(const struct ref_set *s, partition_ref ref)
{
    uint32_t at = home(s, ref);

    while (s->table[at] != ref && s->table[at] != REF_SET_FREE)
        at = (at + 1) & (s->cap - 1);
    return at;
}

static void resize(struct ref_set *s, uint32_t cap)
{
    struct ref_set bigger = {
        .table = xmalloc(cap * sizeof *bigger.table),
        .count = s->count,
        .cap = cap,
    };

    for (uint32_t i = 0; i < cap; i++)
        bigger.table[i] = REF_SET_FREE;
    for (uint32_t i = 0; i < s->cap; i++)
        if (s->table[i] != REF_SET_FREE)
            bigger.table[probe(&bigger, s->table[i])] = s->table[i];
    free(s->table);
    *s = bigger;
}

bool ref_set_has(const struct ref_set *s, partition_ref ref)
{
    return s->count != 0 && s->table[probe(s, ref)] == ref;
}

void ref_set_add(struct ref_set *s, partition_ref ref)
{
    if ((s->count + 1) * 2 > s->cap)
        resize(s, s->cap != 0 ? s->cap * 2 : CAP_MIN);
    uint32_t at = probe(s, ref);
    if (s->table[at] == ref)
        return;
    s->table[at] = ref;
    s->count++;
}

/* Backward shift: close the gap with entries that probed across it, so that no
 * tombstones gather. */
void ref_set_remove(struct ref_set *s, partition_ref ref)
{
    if (s->count == 0)
        return;
    uint32_t mask = s->cap - 1;
    uint32_t gap = probe(s, ref);
    if (s->table[gap] != ref)
        return;
    for (uint32_t at = (gap + 1) & mask; s->table[at] != REF_SET_FREE;
         at = (at + 1) & mask) {
        uint32_t wanted = home(s, s->table[at]);

        /* It may move if its home isn't in (gap, at], seen around the end. */
        if (((at - wanted) & mask) >= ((at - gap) & mask)) {
            s->table[gap] = s->table[at];
            gap = at;
        }
    }
    s->table[gap] = REF_SET_FREE;
    s->count--;
    if (s->cap > CAP_MIN && s->count * 8 < s->cap)
        resize(s, s->cap / 2);
}

static int compare(const void *a, const void *b)
{
    partition_ref x = *(const partition_ref *)a;
    partition_ref y = *(const partition_ref *)b;

    return x < y ? -1 : x > y;
}

const partition_ref *ref_set_sorted(const struct ref_set *s, struct arena *a)
{
    partition_ref *out = arena_array(a, s->count, sizeof *out);
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->cap; i++)
        if (s->table[i] != REF_SET_FREE)
            out[n++] = s->table[i];
    if (n != 0)
        qsort(out, n, sizeof *out, compare);
    return out;
}
