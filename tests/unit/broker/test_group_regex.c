/* What regexes of consumer groups match, in pieces: a shard whose loop turns
 * when the test says so, and a coordinator that notes what comes back. */
#include "broker/group_regex.h"

#include "base/alloc.h"
#include "broker/coordinators.h"
#include "broker/shard.h"
#include "tests/sim/env_mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct shard shard;
static char came[4096]; /* "PARTITION@VERSION GROUP: PATTERN=topic,... " */
static size_t came_len;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(came + came_len, sizeof came - came_len, format, args);
    va_end(args);
    cr_assert(n >= 0 && (size_t)n < sizeof came - came_len, "too much came");
    came_len += (size_t)n;
}

void coordinators_looked_up(struct shard *s, int32_t partition,
                            struct consumer_lookup *lookup,
                            int64_t topics_version)
{
    cr_assert_eq(s, &shard);
    say("%d@%lld %.*s:", partition, (long long)topics_version,
        SLICE_FMT(lookup->group));
    for (uint32_t i = 0; i < lookup->items_len; i++) {
        const struct consumer_lookup_item *item = &lookup->items[i];

        say(" %.*s=", SLICE_FMT(item->pattern));
        if (item->topics_len > 9) {
            say("%u", item->topics_len);
            continue;
        }
        for (uint32_t t = 0; t < item->topics_len; t++)
            say("%s%.*s", t > 0 ? "," : "", SLICE_FMT(item->topics[t]));
    }
    say("; ");
    consumer_lookup_free(lookup);
}

static void add_topic(const char *name)
{
    static struct shard_topic any;

    map_put(&shard.topics_by_name, slice_str(name), &any);
    shard.metadata_index++;
}

static void remove_topic(const char *name)
{
    map_remove(&shard.topics_by_name, slice_str(name));
    shard.metadata_index++;
}

static void look_up(int32_t partition, const char *group, int patterns_len,
                    const char *const *patterns)
{
    struct consumer_lookup *lookup = xcalloc(1, sizeof *lookup);

    arena_init(&lookup->arena, 0);
    lookup->group = arena_copy(&lookup->arena, slice_str(group));
    lookup->items = arena_array(&lookup->arena, (size_t)patterns_len,
                                sizeof *lookup->items);
    lookup->items_len = (uint32_t)patterns_len;
    for (int i = 0; i < patterns_len; i++)
        lookup->items[i] = (struct consumer_lookup_item){
            .pattern = arena_copy(&lookup->arena, slice_str(patterns[i]))};
    group_regex_look_up(&shard, partition, lookup);
}

#define LOOK_UP(partition, group, ...)                                         \
    look_up(partition, group,                                                  \
            sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),            \
            (const char *[]){__VA_ARGS__})

static void comes(const char *want)
{
    env_mem_run(shard.env);
    cr_assert_str_eq(came, want);
    came_len = 0;
    came[0] = '\0';
}

static void setup(void)
{
    shard = (struct shard){.env = env_mem_new(1)};
    list_init(&shard.group_lookups);
    came_len = 0;
    came[0] = '\0';
}

static void teardown(void)
{
    env_mem_free(shard.env);
    group_regex_stop(&shard);
    cr_assert(list_empty(&shard.group_lookups));
    map_free(&shard.topics_by_name);
}

TestSuite(group_regex, .init = setup, .fini = teardown, .timeout = 60);

Test(group_regex, what_is_a_pattern)
{
    cr_assert(group_regex_is_valid(SLICE("orders-[a-z]+")));
    cr_assert(group_regex_is_valid(SLICE("")));
    cr_assert_not(group_regex_is_valid(SLICE("orders-(")));
    cr_assert_not(group_regex_is_valid(SLICE("(?=a)")));
}

Test(group_regex, whole_names_match_in_the_order_of_the_topics)
{
    add_topic("orders-eu");
    add_topic("orders");
    add_topic("old-orders-eu");
    add_topic("orders-us");
    LOOK_UP(7, "g", "orders-.*", "nothing", ".*");
    cr_assert_eq(came_len, 0, "not from inside the call");
    comes("7@4 g: orders-.*=orders-eu,orders-us nothing= "
          ".*=orders-eu,orders,old-orders-eu,orders-us; ");
}

Test(group_regex, without_topics_nothing_matches)
{
    LOOK_UP(0, "g", ".*");
    comes("0@0 g: .*=; ");
}

/* A coordinator that knew more has taken it. */
Test(group_regex, what_does_not_compile_matches_nothing)
{
    add_topic("a");
    LOOK_UP(1, "g", "a", "(", "a|b");
    comes("1@1 g: a=a (= a|b=a; ");
}

Test(group_regex, topics_are_those_of_its_turn)
{
    add_topic("before");
    add_topic("gone");
    LOOK_UP(0, "g", ".*");
    remove_topic("gone");
    add_topic("meanwhile");
    comes("0@4 g: .*=before,meanwhile; ");
    add_topic("after");
    LOOK_UP(0, "g", ".*");
    comes("0@5 g: .*=before,meanwhile,after; ");
}

Test(group_regex, one_after_the_other)
{
    add_topic("t");
    LOOK_UP(3, "first", "t");
    LOOK_UP(1, "second", "t");
    LOOK_UP(3, "first", "x");
    comes("3@1 first: t=t; 1@1 second: t=t; 3@1 first: x=; ");
}

/* ---- in pieces ------------------------------------------------------------*/

enum { MANY = 20000 };

static void add_many(void)
{
    char name[64];

    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "a-topic-with-a-longer-name-%05d", i);
        add_topic(name);
    }
}

/* Somebody else's work on the same loop: does some at each turn. */
static struct other {
    struct env_task task;
    int turns;
    void (*each)(int turn);
} other;

static void other_turn(struct env_task *task)
{
    struct other *o = (struct other *)(void *)task;

    o->turns++;
    if (o->each != NULL)
        o->each(o->turns);
    if (came_len == 0)
        env_post(shard.env, task);
}

static void begin_other(void (*each)(int turn))
{
    other = (struct other){.task.fn = other_turn, .each = each};
    env_post(shard.env, &other.task);
}

/* 2^20 steps of a pattern for bytes of names, and others go on. */
Test(group_regex, others_have_their_turns)
{
    add_many();
    LOOK_UP(0, "g", ".*[05]", "(a|b|c|-|[a-z]|[0-9]){32}");
    begin_other(NULL);
    comes("0@20000 g: .*[05]=4000 (a|b|c|-|[a-z]|[0-9]){32}=20000; ");
    cr_assert_gt(other.turns, 20, "%d turns", other.turns);
}

static void change_topics(int turn)
{
    char name[64];

    if (turn % 2 == 0)
        return;
    snprintf(name, sizeof name, "a-topic-with-a-longer-name-%05d", turn);
    remove_topic(name);
    snprintf(name, sizeof name, "a-topic-with-a-longer-name-x%04d", turn);
    add_topic(name);
}

/* Names are those of the first piece, and so is the version: whoever changed
 * since makes the coordinator ask again. */
Test(group_regex, topics_that_change_between_pieces)
{
    add_many();
    LOOK_UP(0, "g", ".*", "(a|b|c|-|[a-z]|[0-9]){32}");
    begin_other(change_topics);
    comes("0@20000 g: .*=20000 (a|b|c|-|[a-z]|[0-9]){32}=20000; ");
    cr_assert_gt(shard.metadata_index, 20000);
}

/* The loop has ended with some under way. */
Test(group_regex, what_has_not_come_is_dropped)
{
    add_topic("t");
    LOOK_UP(0, "g", "t");
    comes("0@1 g: t=t; ");
    LOOK_UP(0, "g", "t", "u");
    LOOK_UP(1, "h", "t");
    cr_assert_eq(came_len, 0);
}
