/* Heartbeats are held back for a shard that stands still: a metadata thread and
 * two shards, each with a loop that turns when the test says so. */
#include "broker/meta_parts.h"

#include "broker/shard.h"
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>

enum { SHARDS = 2, SESSION_MS = 6000, MOST_MS = SESSION_MS / 2 };

static struct env *home, *shard_envs[SHARDS];
static struct server_config config = {.broker_session_timeout_ms = SESSION_MS};
static struct broker broker = {.config = &config};
static struct shard shards[SHARDS];
static struct shard *shard_list[SHARDS];
static struct meta meta;
static int went_on;

void lifecycle_shards_turn(struct meta *m)
{
    cr_assert_eq(m, &meta);
    went_on++;
}

static void setup(void)
{
    home = env_mem_new(1);
    for (int i = 0; i < SHARDS; i++) {
        shard_envs[i] = env_mem_new(2);
        shards[i] =
            (struct shard){.env = shard_envs[i], .broker = &broker, .index = i};
        shard_list[i] = &shards[i];
    }
    broker.shards = shard_list;
    broker.shards_len = SHARDS;
    meta = (struct meta){.broker = &broker, .env = home};
    vouch_start(&meta);
}

static void teardown(void)
{
    vouch_free(&meta);
    env_mem_free(home);
    for (int i = 0; i < SHARDS; i++)
        env_mem_free(shard_envs[i]);
}

TestSuite(vouch, .init = setup, .fini = teardown);

/* Time passes, and all turn but `still` (-1: all). */
static void pass(int64_t ms, int still)
{
    for (int i = 0; i < SHARDS; i++)
        if (i != still)
            env_mem_run(shard_envs[i]);
    env_mem_advance(home, ms);
}

Test(vouch, shards_that_turn_are_vouched_for)
{
    for (int i = 0; i < 10; i++) {
        cr_assert(vouch(&meta));
        pass(MOST_MS - 1, -1);
    }
    cr_assert_eq(went_on, 0);
}

Test(vouch, one_that_stands_still_is_not)
{
    cr_assert(vouch(&meta));
    pass(MOST_MS, 1);
    cr_assert(vouch(&meta), "half a session is no more than slow");
    pass(1, 1);
    cr_assert_not(vouch(&meta));
    pass(SESSION_MS, 1);
    cr_assert_not(vouch(&meta));
    cr_assert_eq(went_on, 0);

    env_mem_run(shard_envs[1]);
    env_mem_run(home);
    cr_assert_eq(went_on, 1, "the heartbeat that was held back is due");
    cr_assert(vouch(&meta));
    pass(1, -1);
    cr_assert_eq(went_on, 1);
}

/* Two stand still: what counts is the last of them. */
Test(vouch, the_last_counts)
{
    cr_assert(vouch(&meta));
    env_mem_advance(home, MOST_MS + 1);
    cr_assert_not(vouch(&meta));
    pass(1, 1);
    cr_assert_not(vouch(&meta), "shard 1 still owes its answer");
    pass(1, -1);
    env_mem_run(home);
    cr_assert_geq(went_on, 1);
    cr_assert(vouch(&meta));
}
