#include "broker/log/clean_txn.h"

#include "base/planted.h"
#include "proto/record/control.h"

#include <stdlib.h>

void clean_txns_init(struct clean_txns *t)
{
    *t = (struct clean_txns){BUF_INIT, MAP_INIT, BUF_INIT};
}

void clean_txns_free(struct clean_txns *t)
{
    buf_free(&t->aborted);
    buf_free(&t->kept);
    map_free(&t->seen);
}

static size_t count(const struct clean_txns *t)
{
    return t->aborted.len / sizeof(struct log_aborted);
}

static const struct log_aborted *entry(const struct clean_txns *t, size_t i)
{
    return (const struct log_aborted *)(const void *)t->aborted.data + i;
}

static int by_producer(const void *a, const void *b)
{
    const struct log_aborted *x = a, *y = b;

    if (x->producer_id != y->producer_id)
        return x->producer_id < y->producer_id ? -1 : 1;
    return x->first_offset < y->first_offset
               ? -1
               : x->first_offset > y->first_offset;
}

void clean_txns_sort(struct clean_txns *t)
{
    if (t->aborted.len != 0)
        qsort(t->aborted.data, count(t), sizeof(struct log_aborted),
              by_producer);
}

/* The producer's last aborted transaction that began at `offset` or before. */
static const struct log_aborted *find(const struct clean_txns *t,
                                      int64_t producer_id, int64_t offset)
{
    struct log_aborted key = {.producer_id = producer_id,
                              .first_offset = offset};
    size_t low = 0, high = count(t);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (by_producer(entry(t, middle), &key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low != 0 && entry(t, low - 1)->producer_id == producer_id
               ? entry(t, low - 1)
               : NULL;
}

bool clean_txns_aborted(const struct clean_txns *t, const struct batch *b)
{
    if ((b->attributes & BATCH_TRANSACTIONAL) == 0)
        return false;
    const struct log_aborted *a = find(t, b->producer_id, b->base_offset);
    return a != NULL && b->base_offset < a->last_offset;
}

/* ---- markers ------------------------------------------------------------- */

static void keep_entry(struct clean_txns *t, const struct batch *b)
{
    int64_t marker = batch_last_offset(b);
    const struct log_aborted *a = find(t, b->producer_id, marker);

    if (a != NULL && a->last_offset == marker)
        buf_put(&t->kept, a, sizeof *a);
}

static enum clean_fate marker_fate(struct clean_txns *t, struct slice bytes,
                                   const struct batch *b)
{
    struct slice key = slice_of(&b->producer_id, sizeof b->producer_id);
    struct control_marker m;

    if (b->records_count == 0)
        return CLEAN_MARKER_OVER; /* emptied by another cleaner */
    if (!control_marker_decode(bytes, b, &m))
        return CLEAN_MARKER; /* not about transactions */
    bool has_batches = map_remove(&t->seen, key) != NULL;
    if (!has_batches)
        return CLEAN_MARKER_OVER;
    if (!m.commit)
        keep_entry(t, b);
    return PLANTED(CLEANER_DROPS_MARKERS_FIRST) ? CLEAN_MARKER_OVER
                                                : CLEAN_MARKER;
}

enum clean_fate clean_txns_fate(struct clean_txns *t, struct slice bytes,
                                const struct batch *b)
{
    if ((b->attributes & BATCH_CONTROL) != 0)
        return marker_fate(t, bytes, b);
    if ((b->attributes & BATCH_TRANSACTIONAL) == 0)
        return CLEAN_RECORDS;
    map_put(&t->seen, slice_of(&b->producer_id, sizeof b->producer_id), t);
    return clean_txns_aborted(t, b) && !PLANTED(CLEANER_KEEPS_ABORTED)
               ? CLEAN_ABORTED_RECORDS
               : CLEAN_RECORDS;
}

void clean_txns_take(struct clean_txns *t, struct buf *out)
{
    *out = t->kept;
    t->kept = BUF_INIT;
}
