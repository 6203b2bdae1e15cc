/* The simple assignor: its promises, at random and by example. */
#include "broker/coord/share/assignor.h"

#include "base/prng.h"

#include <criterion/criterion.h>

#include <stdio.h>

enum { MEMBERS_MAX = 12, TOPICS_MAX = 5, HELD_MAX = 64 };

static struct group {
    struct share_assign_member members[MEMBERS_MAX];
    uint32_t topics[MEMBERS_MAX][TOPICS_MAX];
    struct share_assigned has[MEMBERS_MAX][HELD_MAX];
    uint32_t members_len;
    int32_t partitions[TOPICS_MAX];
    uint32_t topics_len;
    struct arena arena;
} g;

static bool holds(const struct share_assigned *list, uint32_t len,
                  uint32_t topic, int32_t partition)
{
    for (uint32_t i = 0; i < len; i++)
        if (list[i].topic == topic && list[i].partition == partition)
            return true;
    return false;
}

static bool subscribes(uint32_t m, uint32_t topic)
{
    for (uint32_t t = 0; t < g.members[m].topics_len; t++)
        if (g.topics[m][t] == topic)
            return true;
    return false;
}

static void assign(void)
{
    for (uint32_t m = 0; m < g.members_len; m++) {
        g.members[m].topics = g.topics[m];
        g.members[m].has = g.has[m];
    }
    arena_init(&g.arena, 0);
    share_assign(g.members, g.members_len, g.partitions, g.topics_len,
                 &g.arena);
}

/* What members got they have. */
static void settle(void)
{
    for (uint32_t m = 0; m < g.members_len; m++) {
        cr_assert_leq(g.members[m].gets_len, HELD_MAX);
        g.members[m].has_len = g.members[m].gets_len;
        for (uint32_t i = 0; i < g.members[m].gets_len; i++)
            g.has[m][i] = g.members[m].gets[i];
    }
    arena_free(&g.arena);
}

static void assert_gets(uint32_t m, const char *want)
{
    char text[400] = "";
    size_t at = 0;

    for (uint32_t i = 0; i < g.members[m].gets_len; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%u-%d",
                               i == 0 ? "" : " ", g.members[m].gets[i].topic,
                               g.members[m].gets[i].partition);
    cr_assert_str_eq(text, want);
}

static void group_of(uint32_t members, uint32_t topics, int32_t partitions)
{
    memset(&g, 0, sizeof g);
    g.members_len = members;
    g.topics_len = topics;
    for (uint32_t t = 0; t < topics; t++)
        g.partitions[t] = partitions;
    for (uint32_t m = 0; m < members; m++) {
        g.members[m].topics_len = topics;
        for (uint32_t t = 0; t < topics; t++)
            g.topics[m][t] = t;
    }
}

Test(share_assignor, fewer_members_than_partitions)
{
    group_of(2, 1, 5);
    assign();
    assert_gets(0, "0-0 0-1 0-4");
    assert_gets(1, "0-2 0-3");
    settle();
    g.members_len = 3;
    g.members[2].topics_len = 1;
    assign();
    assert_gets(0, "0-0 0-1");
    assert_gets(1, "0-2 0-3");
    assert_gets(2, "0-4");
    arena_free(&g.arena);
}

Test(share_assignor, more_members_than_partitions)
{
    group_of(5, 1, 2);
    assign();
    assert_gets(0, "0-0");
    assert_gets(1, "0-0");
    assert_gets(2, "0-1");
    assert_gets(3, "0-1");
    assert_gets(4, "0-0");
    arena_free(&g.arena);
}

Test(share_assignor, nobody_and_nothing)
{
    group_of(0, 1, 3);
    assign();
    arena_free(&g.arena);
    group_of(2, 0, 0);
    assign();
    assert_gets(0, "");
    arena_free(&g.arena);
    group_of(2, 1, 0);
    assign();
    assert_gets(1, "");
    arena_free(&g.arena);
}

/* ---- at random -----------------------------------------------------------*/

/* Loads of those that subscribe to the topic, by it alone or over all. */
static void check_balance(bool alike, uint32_t topic)
{
    uint32_t least = UINT32_MAX, most = 0;

    for (uint32_t m = 0; m < g.members_len; m++) {
        uint32_t load = 0;

        if (!subscribes(m, topic))
            continue;
        for (uint32_t i = 0; i < g.members[m].gets_len; i++)
            load += alike || g.members[m].gets[i].topic == topic;
        least = load < least ? load : least;
        most = load > most ? load : most;
    }
    cr_assert(least == UINT32_MAX || most - least <= 1);
    if (!alike && g.partitions[topic] > 0)
        cr_assert(least > 0);
}

static void check_partition(uint32_t topic, int32_t partition)
{
    uint32_t holders = 0, subscribers = 0;

    for (uint32_t m = 0; m < g.members_len; m++) {
        holders +=
            holds(g.members[m].gets, g.members[m].gets_len, topic, partition);
        subscribers += subscribes(m, topic);
    }
    cr_assert(holders > 0 || subscribers == 0);
}

static void check_member(uint32_t m)
{
    const struct share_assign_member *member = &g.members[m];
    int32_t any = 0;

    for (uint32_t i = 0; i < member->gets_len; i++) {
        cr_assert(subscribes(m, member->gets[i].topic));
        cr_assert(member->gets[i].partition >= 0 &&
                  member->gets[i].partition <
                      g.partitions[member->gets[i].topic]);
        cr_assert(i == 0 || member->gets[i - 1].topic < member->gets[i].topic ||
                  (member->gets[i - 1].topic == member->gets[i].topic &&
                   member->gets[i - 1].partition < member->gets[i].partition));
    }
    for (uint32_t t = 0; t < member->topics_len; t++)
        any += g.partitions[member->topics[t]];
    cr_assert(any == 0 || member->gets_len > 0);
}

static void check_group(bool alike)
{
    for (uint32_t t = 0; t < g.topics_len; t++) {
        check_balance(alike, t);
        for (int32_t p = 0; p < g.partitions[t]; p++)
            check_partition(t, p);
    }
    for (uint32_t m = 0; m < g.members_len; m++)
        check_member(m);
}

static bool all_alike(void)
{
    for (uint32_t m = 1; m < g.members_len; m++)
        for (uint32_t t = 0; t < g.topics_len; t++)
            if (subscribes(m, t) != subscribes(0, t))
                return false;
    return true;
}

/* Assigning again changes nothing. */
static void check_sticky(void)
{
    settle();
    assign();
    for (uint32_t m = 0; m < g.members_len; m++) {
        cr_assert_eq(g.members[m].gets_len, g.members[m].has_len);
        for (uint32_t i = 0; i < g.members[m].gets_len; i++)
            cr_assert(holds(g.has[m], g.members[m].has_len,
                            g.members[m].gets[i].topic,
                            g.members[m].gets[i].partition));
    }
    settle();
}

static void change(struct prng *prng, bool alike)
{
    g.members_len = 1 + (uint32_t)prng_below(prng, MEMBERS_MAX);
    for (uint32_t t = 0; t < g.topics_len; t++)
        g.partitions[t] = (int32_t)prng_below(prng, 12);
    uint64_t common = prng_next(prng);
    for (uint32_t m = 0; m < g.members_len; m++) {
        uint64_t mask = alike ? common : prng_next(prng);

        g.members[m].topics_len = 0;
        for (uint32_t t = 0; t < g.topics_len; t++)
            if ((mask >> t & 1) != 0)
                g.topics[m][g.members[m].topics_len++] = t;
    }
}

Test(share_assignor, promises)
{
    struct prng prng = {5};

    for (int round = 0; round < 1000; round++) {
        group_of(1, 1 + (uint32_t)prng_below(&prng, TOPICS_MAX), 1);
        for (int i = 0; i < 6; i++) {
            change(&prng, prng_below(&prng, 2) == 0);
            assign();
            check_group(all_alike());
            check_sticky();
        }
    }
}
