/* Small parts of the workload: values of records, and the draw of options. */
#include "tests/sim/load/options.h"
#include "tests/sim/load/payload.h"

#include <criterion/criterion.h>

Test(payload, comes_back)
{
    struct history_id id = {3, 7, 1234567890123};
    struct history_id got;
    struct buf b = BUF_INIT;

    for (size_t filler = 0; filler < 100; filler++) {
        b.len = 0;
        payload_put(&b, id, filler);
        cr_assert_eq(b.len, PAYLOAD_HEAD_BYTES + filler);
        cr_assert(payload_parse(buf_slice(&b), &got));
        cr_assert(got.topic == id.topic && got.producer == id.producer &&
                  got.number == id.number);
    }
    buf_free(&b);
}

/* Without filler a changed head is another honest payload, so there is some. */
Test(payload, every_byte_counts)
{
    struct history_id id = {3, 7, 42};
    struct history_id got;
    struct buf b = BUF_INIT;

    payload_put(&b, id, 64);
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= 0x10;
        cr_assert_not(payload_parse(buf_slice(&b), &got), "byte %zu", i);
        b.data[i] ^= 0x10;
    }
    cr_assert_not(payload_parse(SLICE(""), &got));
    cr_assert_not(payload_parse(SLICE_NULL, &got));
    cr_assert_not(
        payload_parse(slice_of(b.data, PAYLOAD_HEAD_BYTES - 1), &got));
    buf_free(&b);
}

static struct load_options drawn(uint64_t seed)
{
    struct prng prng = {seed};
    struct load_options o;

    load_options_init(&o);
    load_options_draw(&prng, &o);
    return o;
}

Test(options, follow_from_the_seed)
{
    for (uint64_t seed = 1; seed < 50; seed++) {
        struct load_options a = drawn(seed);
        struct load_options b = drawn(seed);
        struct buf x = BUF_INIT;
        struct buf y = BUF_INIT;
        load_options_print(&a, &x);
        load_options_print(&b, &y);
        cr_assert(slice_eq(buf_slice(&x), buf_slice(&y)));
        buf_free(&x);
        buf_free(&y);
    }
}

Test(options, every_feature_is_on_and_off)
{
    enum { SEEDS = 200, FEATURES = 16 };
    int on[FEATURES] = {0};

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct load_options o = drawn(seed);
        bool is[FEATURES] = {o.churn > 0,
                             o.acks_0,
                             o.acks_1,
                             o.compression,
                             o.sessions,
                             o.long_polls,
                             o.seeks,
                             o.offset_queries,
                             o.small_fetches,
                             o.coming_and_going,
                             o.groups > 0,
                             o.static_percent > 0,
                             o.reassign,
                             o.delete_records,
                             o.idempotent_percent > 0,
                             o.newest_versions};
        for (int i = 0; i < FEATURES; i++)
            on[i] += is[i];
        cr_assert(o.replication_factor >= 1 && o.replication_factor <= o.nodes);
        cr_assert_leq(o.partitions, o.partitions_max);
    }
    for (int i = 0; i < FEATURES; i++)
        cr_assert(on[i] > SEEDS / 10 && on[i] < SEEDS * 9 / 10,
                  "feature %d is on in %d of %d", i, on[i], SEEDS);
}
