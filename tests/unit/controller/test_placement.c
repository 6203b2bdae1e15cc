/* Placement: even leaders, even replicas, racks apart. */
#include "base/arena.h"
#include "controller/placement.h"

#include <criterion/criterion.h>

enum { BROKERS_MAX = 40 };

static struct arena arena;
static struct image image;
static struct image_broker brokers[BROKERS_MAX];
static struct image_broker *pointers[BROKERS_MAX];

/* One letter a broker: its rack; a capital letter is fenced. */
static void cluster(const char *racks)
{
    image = (struct image){.brokers = pointers};
    for (; racks[image.brokers_len] != '\0'; image.brokers_len++) {
        size_t i = image.brokers_len;
        char rack[2] = {racks[i], '\0'};

        brokers[i] = (struct image_broker){
            .id = (int32_t)i,
            .rack = arena_strdup(&arena, slice_str(rack)),
            .fenced = racks[i] >= 'A' && racks[i] <= 'Z',
        };
        pointers[i] = &brokers[i];
    }
}

static void set_up(void) { arena_init(&arena, 0); }

static void tear_down(void) { arena_free(&arena); }

TestSuite(placement, .init = set_up, .fini = tear_down, .timeout = 60);

struct spread {
    int leads[BROKERS_MAX];
    int holds[BROKERS_MAX];
};

/* Checks each partition by itself on the way. */
static struct spread place(uint64_t seed, int partitions, uint32_t count)
{
    struct prng prng = {seed};
    struct placement p;
    struct spread s = {0};
    int32_t ids[BROKERS_MAX];

    placement_init(&p, &image, &arena, &prng);
    for (int i = 0; i < partitions; i++) {
        placement_next(&p, count, ids);
        s.leads[ids[0]]++;
        cr_assert_not(brokers[ids[0]].fenced);
        for (uint32_t j = 0; j < count; j++) {
            s.holds[ids[j]]++;
            for (uint32_t k = 0; k < j; k++)
                cr_assert_neq(ids[j], ids[k]);
        }
    }
    return s;
}

static void check_even(const int *counts, int within)
{
    int low = counts[0], high = counts[0];

    for (size_t i = 0; i < image.brokers_len; i++) {
        low = counts[i] < low ? counts[i] : low;
        high = counts[i] > high ? counts[i] : high;
    }
    cr_assert_leq(high - low, within, "%d to %d", low, high);
}

Test(placement, leaders_and_replicas_are_even)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        cluster("aaaaa");
        struct spread s = place(seed, 100, 3);
        check_even(s.leads, 0);
        check_even(s.holds, 0);
        cluster("abcabc");
        s = place(seed, 120, 3);
        check_even(s.leads, 0);
        check_even(s.holds, 6);
        cluster("a");
        place(seed, 3, 1);
    }
}

Test(placement, a_partition_has_its_replicas_in_different_racks)
{
    struct placement p;
    struct prng prng = {5};
    int32_t ids[4];

    cluster("aaabbc");
    placement_init(&p, &image, &arena, &prng);
    for (int i = 0; i < 60; i++) {
        placement_next(&p, 3, ids);
        cr_assert_str_neq(brokers[ids[0]].rack, brokers[ids[1]].rack);
        cr_assert_str_neq(brokers[ids[0]].rack, brokers[ids[2]].rack);
        cr_assert_str_neq(brokers[ids[1]].rack, brokers[ids[2]].rack);
        placement_next(&p, 4, ids); /* more replicas than racks */
    }
}

Test(placement, followers_of_one_leader_differ)
{
    struct placement p;
    struct prng prng = {5};
    int32_t ids[2];
    bool follows[5] = {false};
    int distinct = 0;

    cluster("aaaaa");
    placement_init(&p, &image, &arena, &prng);
    for (int i = 0; i < 20; i++) {
        placement_next(&p, 2, ids);
        if (ids[0] == 0)
            follows[ids[1]] = true;
    }
    for (int i = 0; i < 5; i++)
        distinct += follows[i];
    cr_assert_eq(distinct, 4);
}

Test(placement, single_partitions_start_anywhere)
{
    int leads[3] = {0};

    cluster("aaa");
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct spread s = place(seed * 977, 1, 3);
        for (int i = 0; i < 3; i++)
            leads[i] += s.leads[i];
    }
    for (int i = 0; i < 3; i++)
        cr_assert(leads[i] > 60, "broker %d leads %d", i, leads[i]);
}

Test(placement, fenced_brokers_come_last_and_never_lead)
{
    cluster("aAaA");
    struct spread s = place(1, 10, 2);
    cr_assert_eq(s.holds[1] + s.holds[3], 0);
    s = place(1, 10, 3);
    cr_assert_eq(s.holds[1] + s.holds[3], 10);
    cr_assert_eq(s.holds[1], 5);
    s = place(1, 10, 4);
    cr_assert_eq(s.leads[0], 5);
    cr_assert_eq(s.leads[2], 5);
}
