/* The assignors: what must hold for any input, and how far they move things. */
#include "broker/coord/consumer/assign.h"

#include "base/prng.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TOPICS_MAX = 200, MEMBERS_MAX = 1100, SUBSCRIPTIONS_MAX = 40 };

/* A group that changes; targets are kept between rounds. */
struct world {
    struct prng prng;
    struct assign_topic topics[TOPICS_MAX];
    uint32_t topics_len;
    struct assign_member members[MEMBERS_MAX];
    uint32_t subscriptions[MEMBERS_MAX][SUBSCRIPTIONS_MAX];
    uint32_t members_len;
    uint32_t ids; /* given so far */
    struct parts result[MEMBERS_MAX];
};

static struct world w;

static void set_up(void)
{
    memset(&w, 0, sizeof w);
    w.prng.state = 848;
}

static void drop_member(uint32_t m)
{
    free((void *)(uintptr_t)w.members[m].id.data);
    free((void *)(uintptr_t)w.members[m].instance_id.data);
    parts_free(&w.members[m].owned);
    w.members_len--;
    if (m == w.members_len)
        return;
    w.members[m] = w.members[w.members_len];
    memcpy(w.subscriptions[m], w.subscriptions[w.members_len],
           sizeof w.subscriptions[m]);
    w.members[m].topics = w.subscriptions[m];
}

static void tear_down(void)
{
    while (w.members_len > 0)
        drop_member(w.members_len - 1);
}

TestSuite(consumer_assign, .init = set_up, .fini = tear_down);

static uint32_t below(uint32_t bound)
{
    return (uint32_t)prng_below(&w.prng, bound);
}

/* Ids rise with n. */
static struct uuid topic_id(uint32_t n)
{
    struct uuid id = UUID_ZERO;

    be32_put(id.bytes + 4, n + 1);
    return id;
}

static void add_topics(uint32_t topics, int32_t partitions)
{
    for (uint32_t t = 0; t < topics; t++, w.topics_len++)
        w.topics[w.topics_len] =
            (struct assign_topic){topic_id(w.topics_len), partitions};
}

static struct slice text(const char *prefix, uint32_t n)
{
    char *s = xasprintf("%s%06u", prefix, n);

    return slice_str(s);
}

static struct assign_member *add_member(void)
{
    uint32_t m = w.members_len++;

    /* Ids in an order of their own. */
    w.members[m] =
        (struct assign_member){.id = text("m", (w.ids++ * 7919) % 1000003),
                               .topics = w.subscriptions[m]};
    return &w.members[m];
}

static void subscribe_all(struct assign_member *member)
{
    uint32_t *topics = w.subscriptions[member - w.members];

    for (uint32_t t = 0; t < w.topics_len; t++)
        topics[t] = t;
    member->topics_len = w.topics_len;
}

static void subscribe_some(struct assign_member *member)
{
    uint32_t *topics = w.subscriptions[member - w.members];

    member->topics_len = 0;
    for (uint32_t t = 0; t < w.topics_len; t++)
        if (below(2) == 0)
            topics[member->topics_len++] = t;
}

/* Each partition has one owner that subscribes to it, unless nobody does. */
static void check_valid(void)
{
    for (uint32_t t = 0; t < w.topics_len; t++) {
        bool wanted = false;

        for (uint32_t m = 0; m < w.members_len; m++)
            wanted |= assign_subscribes(&w.members[m], t);
        for (int32_t p = 0; p < w.topics[t].partitions; p++) {
            int owners = 0;
            for (uint32_t m = 0; m < w.members_len; m++)
                if (parts_find(w.result[m], w.topics[t].id, p) != NULL) {
                    owners++;
                    cr_assert(assign_subscribes(&w.members[m], t));
                }
            cr_assert_eq(owners, wanted ? 1 : 0, "topic %u partition %d", t, p);
        }
    }
}

static uint32_t total(void)
{
    uint32_t sum = 0;

    for (uint32_t m = 0; m < w.members_len; m++)
        sum += w.result[m].len;
    return sum;
}

/* Partitions that a present member had and another has now. */
static uint32_t moved(void)
{
    uint32_t count = 0;

    for (uint32_t m = 0; m < w.members_len; m++)
        for (uint32_t i = 0; i < w.members[m].owned.len; i++) {
            const struct part *p = &w.members[m].owned.items[i];
            count += parts_find(w.result[m], p->topic, p->partition) == NULL;
        }
    return count;
}

static void run(assign_fn *assign, struct arena *arena)
{
    struct assign_input input = {w.topics, w.topics_len, w.members,
                                 w.members_len};

    arena_init(arena, 0);
    assign(&input, arena, w.result);
}

static void keep(struct arena *arena)
{
    for (uint32_t m = 0; m < w.members_len; m++) {
        parts_free(&w.members[m].owned);
        w.members[m].owned = parts_dup(w.result[m]);
    }
    arena_free(arena);
}

/* The same members in another order get the same. */
static void check_order_does_not_matter(assign_fn *assign)
{
    static struct assign_member turned[MEMBERS_MAX];
    static struct parts result[MEMBERS_MAX];
    struct assign_input input = {w.topics, w.topics_len, turned, w.members_len};
    struct arena arena;

    arena_init(&arena, 0);
    for (uint32_t m = 0; m < w.members_len; m++)
        turned[m] = w.members[w.members_len - 1 - m];
    assign(&input, &arena, result);
    for (uint32_t m = 0; m < w.members_len; m++)
        cr_assert(parts_eq(result[w.members_len - 1 - m], w.result[m]));
    arena_free(&arena);
}

/* ---- uniform, one subscription -------------------------------------------*/

static void check_even(void)
{
    uint32_t each = total() / w.members_len;

    for (uint32_t m = 0; m < w.members_len; m++) {
        cr_assert_geq(w.result[m].len, each);
        cr_assert_leq(w.result[m].len, each + 1);
    }
}

/* What any even assignment has to move: all above the quotas. */
static uint32_t least_moves(void)
{
    uint32_t each = total() / w.members_len, extra = total() % w.members_len;
    uint32_t moves = 0;

    for (uint32_t m = 0; m < w.members_len; m++) {
        uint32_t had = w.members[m].owned.len;

        if (had <= each)
            continue;
        moves += had - each;
        if (extra > 0) {
            extra--;
            moves--;
        }
    }
    return moves;
}

Test(consumer_assign, uniform_moves_as_little_as_an_even_spread_allows)
{
    struct arena arena;

    add_topics(5, 13);
    for (int i = 0; i < 4; i++)
        subscribe_all(add_member());
    for (int round = 0; round < 400; round++) {
        if (below(2) == 0 && w.members_len < 40)
            subscribe_all(add_member());
        else if (w.members_len > 1)
            drop_member(below(w.members_len));
        if (below(8) == 0) {
            /* Nothing was lost of it, so targets stay true. */
            w.topics[below(5)].partitions++;
        }
        run(assign_uniform, &arena);
        check_valid();
        check_even();
        check_order_does_not_matter(assign_uniform);
        cr_assert_eq(moved(), least_moves());
        keep(&arena);
    }
}

Test(consumer_assign, uniform_leaves_alone_what_is_even)
{
    struct arena arena;

    add_topics(3, 10);
    for (int i = 0; i < 7; i++)
        subscribe_all(add_member());
    run(assign_uniform, &arena);
    keep(&arena);
    run(assign_uniform, &arena);
    cr_assert_eq(moved(), 0);
    keep(&arena);
}

Test(consumer_assign, uniform_drops_what_is_gone)
{
    struct arena arena;

    add_topics(3, 6);
    subscribe_all(add_member());
    subscribe_all(add_member());
    run(assign_uniform, &arena);
    keep(&arena);
    w.topics[2].id = topic_id(77); /* deleted, and made again */
    w.topics[0].partitions = 2;
    run(assign_uniform, &arena);
    check_valid();
    check_even();
    cr_assert_eq(total(), 14);
    keep(&arena);
}

Test(consumer_assign, two_members_that_had_the_same_share_it)
{
    struct arena arena;
    struct part part = {topic_id(0), 0, 0};

    add_topics(1, 2);
    for (int i = 0; i < 2; i++) {
        struct assign_member *member = add_member();
        subscribe_all(member);
        member->owned = parts_dup((struct parts){&part, 1});
    }
    run(assign_uniform, &arena);
    check_valid();
    check_even();
    arena_free(&arena);
}

Test(consumer_assign, nothing_to_assign)
{
    struct arena arena;

    run(assign_uniform, &arena);
    arena_free(&arena);
    add_member();
    run(assign_uniform, &arena);
    cr_assert_eq(w.result[0].len, 0);
    arena_free(&arena);
    add_topics(2, 3);
    add_member();
    run(assign_range, &arena);
    cr_assert_eq(total(), 0);
    arena_free(&arena);
    subscribe_all(add_member());
    w.topics[1].partitions = 0;
    run(assign_uniform, &arena);
    check_valid();
    cr_assert_eq(total(), 3);
    arena_free(&arena);
}

/* ---- uniform, different subscriptions ------------------------------------*/

/* No move of one partition would make two members less uneven. */
static void check_settled(void)
{
    for (uint32_t from = 0; from < w.members_len; from++)
        for (uint32_t i = 0; i < w.result[from].len; i++) {
            uint32_t t = be32_get(w.result[from].items[i].topic.bytes + 4) - 1;

            for (uint32_t to = 0; to < w.members_len; to++)
                cr_assert(!assign_subscribes(&w.members[to], t) ||
                          w.result[from].len <= w.result[to].len + 1);
        }
}

Test(consumer_assign, uniform_settles_with_different_subscriptions)
{
    struct arena arena;

    add_topics(12, 5);
    for (int round = 0; round < 400; round++) {
        if (below(2) == 0 && w.members_len < 15)
            subscribe_some(add_member());
        else if (w.members_len > 1)
            drop_member(below(w.members_len));
        else
            subscribe_some(add_member());
        if (below(6) == 0)
            subscribe_some(&w.members[below(w.members_len)]);
        run(assign_uniform, &arena);
        check_valid();
        check_settled();
        check_order_does_not_matter(assign_uniform);
        keep(&arena);
        run(assign_uniform, &arena);
        cr_assert_eq(moved(), 0, "round %d moves for nothing", round);
        keep(&arena);
    }
}

Test(consumer_assign, a_member_with_an_own_topic_gets_less_of_the_shared_one)
{
    struct arena arena;

    add_topics(2, 6);
    subscribe_all(add_member());
    w.subscriptions[1][0] = 1;
    add_member()->topics_len = 1;
    run(assign_uniform, &arena);
    check_valid();
    cr_assert_eq(w.result[0].len, 6);
    cr_assert_eq(w.result[1].len, 6);
    arena_free(&arena);
}

/* ---- range ---------------------------------------------------------------*/

static void expect_range(uint32_t member, uint32_t topic, int32_t first,
                         int32_t len)
{
    for (int32_t p = 0; p < w.topics[topic].partitions; p++)
        cr_assert_eq(parts_find(w.result[member], w.topics[topic].id, p) !=
                         NULL,
                     p >= first && p < first + len,
                     "member %u topic %u partition %d", member, topic, p);
}

Test(consumer_assign, range_co_partitions_equal_topics)
{
    struct arena arena;

    add_topics(3, 7);
    for (int i = 0; i < 3; i++)
        subscribe_all(add_member());
    run(assign_range, &arena);
    check_valid();
    check_order_does_not_matter(assign_range);
    for (uint32_t t = 0; t < 3; t++) {
        expect_range(0, t, 0, 3);
        expect_range(1, t, 3, 2);
        expect_range(2, t, 5, 2);
    }
    arena_free(&arena);
}

Test(consumer_assign, range_puts_static_members_first_by_instance)
{
    struct arena arena;

    add_topics(1, 5);
    for (int i = 0; i < 3; i++)
        subscribe_all(add_member());
    w.members[2].instance_id = text("i", 1);
    w.members[1].instance_id = text("i", 2);
    run(assign_range, &arena);
    expect_range(2, 0, 0, 2);
    expect_range(1, 0, 2, 2);
    expect_range(0, 0, 4, 1);
    arena_free(&arena);
}

Test(consumer_assign, range_with_any_subscriptions)
{
    struct arena arena;

    add_topics(9, 11);
    for (int round = 0; round < 200; round++) {
        while (w.members_len > 0)
            drop_member(0);
        for (uint32_t i = 1 + below(14); i > 0; i--)
            subscribe_some(add_member());
        run(assign_range, &arena);
        check_valid();
        check_order_does_not_matter(assign_range);
        arena_free(&arena);
    }
}

/* ---- size ----------------------------------------------------------------*/

/* Of the processor: others may be busy on it. */
static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check_speed(const char *what, assign_fn *assign)
{
    struct arena arena;
    double start = seconds();

    run(assign, &arena);
    double fresh = seconds() - start;
    keep(&arena);
    drop_member(500);
    start = seconds();
    run(assign, &arena);
    double again = seconds() - start;
    fprintf(stderr, "%s: %u members, %u partitions: %.1f ms, again %.1f ms\n",
            what, w.members_len, total(), fresh * 1e3, again * 1e3);
    cr_assert_lt(fresh, 2.0);
    cr_assert_lt(again, 2.0);
    keep(&arena);
}

Test(consumer_assign, a_thousand_members_and_ten_thousand_partitions)
{
    add_topics(40, 250);
    for (int i = 0; i < 1000; i++)
        subscribe_all(add_member());
    check_speed("uniform, equal", assign_uniform);
    check_speed("range, equal", assign_range);
    for (uint32_t m = 0; m < w.members_len; m++)
        subscribe_some(&w.members[m]);
    check_speed("uniform, different", assign_uniform);
    check_speed("range, different", assign_range);
}
