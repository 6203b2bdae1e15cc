/* Two sorted lists of batches are merged like two sorted lists of numbers, but
 * piece by piece: of two batches that overlap, the pieces go out one after
 * another, each in the state that wins.  An unsorted list is halved, its halves
 * are made sorted, and merged. */
#include "broker/coord/share/combine.h"

struct run {
    struct share_batch *batches;
    uint32_t len;
};

bool share_batch_ok(int64_t first, int64_t last, int state, int deliveries)
{
    return first >= 0 && last >= first && last < INT64_MAX && deliveries >= 0 &&
           (state == SHARE_AVAILABLE || state == SHARE_ACQUIRED ||
            state == SHARE_ACKNOWLEDGED || state == SHARE_ARCHIVED);
}

static bool wins(const struct share_batch *a, const struct share_batch *b)
{
    if (a->deliveries != b->deliveries)
        return a->deliveries > b->deliveries;
    return a->state >= b->state;
}

static void put(struct run *out, struct share_batch batch)
{
    struct share_batch *last =
        out->len != 0 ? &out->batches[out->len - 1] : NULL;

    if (last != NULL && last->last + 1 == batch.first &&
        last->state == batch.state && last->deliveries == batch.deliveries)
        last->last = batch.last;
    else
        out->batches[out->len++] = batch;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Puts what of `a` lies before offset `end`. */
static void put_before(struct run *out, struct share_batch *a, int64_t end)
{
    struct share_batch piece = *a;

    piece.last = smaller(a->last, end - 1);
    put(out, piece);
    a->first = piece.last + 1;
}

/* The next piece of what two batches cover; one of them gets smaller. */
static void put_piece(struct run *out, struct share_batch *a,
                      struct share_batch *b)
{
    if (a->first < b->first) {
        put_before(out, a, b->first);
    } else if (b->first < a->first) {
        put_before(out, b, a->first);
    } else {
        int64_t end = smaller(a->last, b->last) + 1;
        struct share_batch piece = wins(a, b) ? *a : *b;

        piece.last = end - 1;
        put(out, piece);
        a->first = b->first = end;
    }
}

static bool is_used_up(const struct share_batch *batch)
{
    return batch->first > batch->last;
}

/* Takes the next batch when the one at hand is used up. */
static bool fill(const struct run *from, uint32_t *at,
                 struct share_batch *batch)
{
    if (!is_used_up(batch))
        return true;
    if (*at == from->len)
        return false;
    *batch = from->batches[(*at)++];
    return true;
}

static struct run merge(struct run x, struct run y, struct arena *arena)
{
    struct run out = {arena_array(arena, 2 * ((size_t)x.len + y.len) + 1,
                                  sizeof *out.batches),
                      0};
    struct share_batch a = {.first = 1}, b = {.first = 1}; /* used up */
    uint32_t i = 0, j = 0;

    for (;;) {
        bool has_a = fill(&x, &i, &a), has_b = fill(&y, &j, &b);

        if (has_a && has_b)
            put_piece(&out, &a, &b);
        else if (has_a)
            put_before(&out, &a, INT64_MAX);
        else if (has_b)
            put_before(&out, &b, INT64_MAX);
        else
            return out;
    }
}

static bool is_sorted(const struct share_batch *batches, uint32_t len)
{
    for (uint32_t i = 1; i < len; i++)
        if (batches[i].first <= batches[i - 1].last)
            return false;
    return true;
}

static struct run sort(const struct share_batch *batches, uint32_t len,
                       struct arena *arena)
{
    uint32_t half = len / 2;

    if (is_sorted(batches, len)) /* as partitions send them */
        return (struct run){(struct share_batch *)batches, len};
    return merge(sort(batches, half, arena),
                 sort(batches + half, len - half, arena), arena);
}

static void cut_below(struct run *run, int64_t start)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < run->len; i++) {
        struct share_batch batch = run->batches[i];

        if (batch.last < start)
            continue;
        if (batch.first < start)
            batch.first = start;
        run->batches[kept++] = batch;
    }
    run->len = kept;
}

struct share_batch *share_combine(const struct share_batch *now,
                                  uint32_t now_len,
                                  const struct share_batch *more,
                                  uint32_t more_len, int64_t start_offset,
                                  struct arena *arena, uint32_t *len)
{
    struct run base = {(struct share_batch *)now, now_len};
    struct run out = merge(base, sort(more, more_len, arena), arena);

    cut_below(&out, start_offset);
    *len = out.len;
    return out.batches;
}
