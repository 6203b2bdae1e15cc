/* Who may use a directory, in which order: replicas of three shards that share
 * one loop. */
#include "broker/replica/places.h"

#include "broker/shard.h"
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>

enum { SHARDS = 3 };

static struct env *env;
static struct broker broker;
static struct shard shards[SHARDS];
static struct shard *shard_list[SHARDS];
/* What stands for partitions: only their addresses count. */
static int replicas[4];
static int granted_to[8], granted_len;

static void setup(void)
{
    env = env_mem_new(1);
    broker.shards = shard_list;
    broker.shards_len = SHARDS;
    for (int i = 0; i < SHARDS; i++) {
        shards[i] = (struct shard){.env = env, .broker = &broker, .index = i};
        shard_list[i] = &shards[i];
    }
}

static void teardown(void)
{
    env_mem_run(env);
    for (int i = 0; i < SHARDS; i++) {
        cr_assert_eq(map_count(&shards[i].places), 0u, "a place is kept");
        map_free(&shards[i].places);
    }
    env_mem_free(env);
}

static void on_granted(struct partition *p)
{
    granted_to[granted_len++] = (int)((int *)(void *)p - replicas);
}

static struct dir_place *ask(int replica, const char *topic, int32_t index)
{
    return place_ask(&shards[replica % SHARDS], topic, index,
                     (struct partition *)(void *)&replicas[replica],
                     on_granted);
}

/* All that has been granted so far, in order. */
static void expect(const char *wanted)
{
    char text[16] = "";

    env_mem_run(env);
    for (int i = 0; i < granted_len; i++)
        text[i] = (char)('0' + granted_to[i]);
    cr_assert_str_eq(text, wanted);
}

TestSuite(places, .init = setup, .fini = teardown);

Test(places, who_asks_first_has_it_and_the_others_wait_in_turn)
{
    struct dir_place *a = ask(0, "orders", 3);
    expect("0");
    struct dir_place *b = ask(1, "orders", 3), *c = ask(2, "orders", 3);
    expect("0");
    cr_assert(place_is_granted(a));
    cr_assert_not(place_is_granted(b));
    place_give_back(a);
    expect("01");
    cr_assert_not(place_is_granted(c));
    place_give_back(b);
    expect("012");
    place_give_back(c);
}

Test(places, other_names_are_other_places)
{
    struct dir_place *a = ask(0, "orders", 3), *b = ask(1, "orders", 4),
                     *c = ask(2, "order", 3);

    expect("012");
    place_give_back(a);
    place_give_back(b);
    place_give_back(c);
}

Test(places, who_gives_up_while_it_waits_is_passed_over)
{
    struct dir_place *a = ask(0, "orders", 0), *b = ask(1, "orders", 0),
                     *c = ask(2, "orders", 0);

    expect("0");
    place_give_back(b);
    place_give_back(a);
    expect("02");
    place_give_back(c);
}

Test(places, who_gives_up_before_the_answer_is_never_called)
{
    struct dir_place *a = ask(0, "orders", 0);
    place_give_back(a);
    struct dir_place *b = ask(1, "orders", 0);

    expect("1");
    place_give_back(b);
    place_give_back(NULL);
}
