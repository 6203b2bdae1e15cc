/* Batches of producers, with defaults, and comparing states. */
#ifndef TESTS_UNIT_BROKER_PRODUCERS_KIT_H
#define TESTS_UNIT_BROKER_PRODUCERS_KIT_H

#include "broker/replica/producers.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { NOW_MS = 1700000000 };
static const int64_t now_ms = (int64_t)NOW_MS * 1000;

/* One batch; records 0 means 1. */
struct sent {
    int64_t id;
    int16_t epoch;
    int32_t sequence;
    int32_t records;
    int64_t offset; /* of its first record */
    int64_t timestamp;
    int16_t attributes;
};

static inline struct batch batch_of(struct sent s)
{
    int32_t records = s.records != 0 ? s.records : 1;

    return (struct batch){.base_offset = s.offset,
                          .magic = 2,
                          .attributes = s.attributes,
                          .last_offset_delta = records - 1,
                          .base_timestamp = s.timestamp,
                          .max_timestamp = s.timestamp,
                          .producer_id = s.id,
                          .producer_epoch = s.epoch,
                          .base_sequence = s.sequence,
                          .records_count = records};
}

/* Takes s into the state; a control batch is the abort of coordinator 0. */
static inline void take_batch(struct producers *p, const struct batch *b,
                              int64_t when_ms)
{
    struct producers_ended ended;
    struct control_marker m = {.producer_id = b->producer_id,
                               .producer_epoch = b->producer_epoch};

    if ((b->attributes & BATCH_CONTROL) != 0)
        producers_apply_marker(p, b, &m, when_ms, &ended);
    else
        producers_apply(p, b, when_ms);
}

static inline int by_id(const void *a, const void *b)
{
    const struct producer *x = a, *y = b;

    return x->producer_id < y->producer_id ? -1
                                           : x->producer_id > y->producer_id;
}

/* One line per id. */
static inline void dump_producers(const struct producers *p, struct buf *out)
{
    struct producer *all = xcalloc(producers_count(p) + 1, sizeof *all);
    size_t n = 0;

    for (int64_t at = 0; (at = producers_next(p, at, &all[n])) != -1;)
        n++;
    cr_assert_eq(n, producers_count(p));
    qsort(all, n, sizeof *all, by_id);
    for (size_t i = 0; i < n; i++) {
        struct producer *e = &all[i];
        buf_printf(out,
                   "id %lld epoch %d sequence %d offset %lld delta %d time "
                   "%lld coordinator %d txn %lld\n",
                   (long long)e->producer_id, e->epoch, e->last_sequence,
                   (long long)e->last_offset, e->offset_delta,
                   (long long)e->timestamp, e->coordinator_epoch,
                   (long long)e->txn_first_offset);
    }
    free(all);
}

static inline void expect_same(const struct producers *got,
                               const struct producers *wanted, const char *when)
{
    struct buf a = BUF_INIT, b = BUF_INIT;

    dump_producers(got, &a);
    dump_producers(wanted, &b);
    cr_assert(slice_eq(buf_slice(&a), buf_slice(&b)), "%s:\n%.*swanted:\n%.*s",
              when, SLICE_FMT(buf_slice(&a)), SLICE_FMT(buf_slice(&b)));
    buf_free(&a);
    buf_free(&b);
}

#endif
