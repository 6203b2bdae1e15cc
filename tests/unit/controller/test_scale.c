/* Ten thousand partitions: bounded batches, and work that follows the
 * partitions concerned. */
#include "tests/unit/controller/desk.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

static struct desk d;

static void tear_down(void) { desk_free(&d); }

TestSuite(scale, .fini = tear_down, .timeout = 120);

/* CPU time of a call on brokers that have nothing, and on one with much, is
 * compared below, never judged by itself. */
static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void many_partitions(int32_t topics, int32_t partitions, int32_t brokers)
{
    char name[16];

    desk_with_brokers(&d, brokers);
    d.light = true;
    for (int32_t t = 0; t < topics; t++) {
        snprintf(name, sizeof name, "t%d", t);
        cr_assert_eq(desk_create(&d, name, partitions, 3), ERR_NONE);
    }
}

Test(scale, a_fencing_is_cut_into_bounded_batches)
{
    many_partitions(10, 1000, 3);
    desk_kill(&d, 2);
    /* Every partition had it in sync; the broker's own record comes last. */
    cr_assert_eq(d.records, 10001);
    cr_assert_eq(d.batches, 11);
    cr_assert_eq(index_broker(&d.c.index, 2)->leads, 0);
    cr_assert_eq(d.c.index.leaderless.count, 0);
    cr_assert(image_equal(&d.c.image, &d.committed));
}

Test(scale, a_topic_is_never_cut)
{
    many_partitions(1, 9999, 3);
    cr_assert_eq(d.batches, 1);
    cr_assert_eq(d.records, 10000);
}

Test(scale, brokers_without_partitions_cost_nothing)
{
    many_partitions(10, 1000, 3);
    cr_assert_eq(desk_register(&d, (struct desk_broker){.id = 9}), ERR_NONE);
    desk_unfence(&d, 9);
    arena_free(&d.arena);

    double start = cpu_ms();
    desk_kill(&d, 9);
    double idle = cpu_ms() - start;
    cr_assert_eq(d.records, 1);
    cr_assert_lt(d.arena.used_bytes, 16384);

    start = cpu_ms();
    desk_kill(&d, 2);
    double busy = cpu_ms() - start;
    cr_assert_gt(busy, idle * 20, "%f ms against %f ms", busy, idle);
}

Test(scale, a_tick_with_nothing_to_do_looks_at_nothing)
{
    many_partitions(10, 1000, 3);
    arena_free(&d.arena);
    for (int i = 0; i < 1000; i++)
        desk_tick(&d);
    cr_assert_eq(d.records, 0);
    cr_assert_lt(d.arena.used_bytes, 1000 * 64);
}

Test(scale, return_and_rebalance_touch_what_is_concerned)
{
    many_partitions(10, 1000, 3);
    desk_kill(&d, 2);
    desk_kill(&d, 3);
    desk_kill(&d, 1);
    cr_assert_eq(d.c.index.leaderless.count, 10000);
    desk_restart(&d, 1, true);
    cr_assert_eq(d.records, 10001);
    cr_assert_eq(d.c.index.leaderless.count, 0);
    cr_assert_eq(index_broker(&d.c.index, 1)->leads, 10000);
    d.light = false;
}
