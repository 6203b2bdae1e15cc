/* The parts of the tool that read what people type, and the assignor. */
#include "cli/admin_configs.h"
#include "cli/admin_groups.h"
#include "cli/admin_topics.h"
#include "cli/member.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- patterns
 * ---------------------------------------------------------------------- */

static bool matches(const char *pattern, const char *name)
{
    char *why = NULL;
    bool ok = admin_pattern_matches(pattern, slice_str(name), &why);

    cr_assert_null(why);
    return ok;
}

Test(admin, patterns_match_whole_names)
{
    cr_assert(matches("orders", "orders"));
    cr_assert_not(matches("orders", "orders2"));
    cr_assert(matches("ord.*", "orders"));
    cr_assert(matches("a, b", "b"));
    cr_assert(matches("a|b", "a"));
    cr_assert(matches("test\\.topic", "test.topic"));
    cr_assert_not(matches("test\\.topic", "test_topic"));
    cr_assert(matches("t\\d+", "t42"));
    cr_assert_not(matches("t\\d+", "tx"));
    char *why = NULL;
    cr_assert_not(admin_pattern_matches("a(", SLICE("a"), &why));
    cr_assert_str_eq(why, "a( is an invalid regex.");
    free(why);
}

/* ---- assignments
 * ---------------------------------------------------------------------- */

static void refuse_assignment(const char *text, const char *sentence)
{
    struct assignment a;
    struct arena arena;
    char *why = NULL;

    arena_init(&arena, 0);
    cr_assert_not(admin_assignment_parse(text, &arena, &a, &why));
    cr_assert_str_eq(why, sentence);
    free(why);
    arena_free(&arena);
}

Test(admin, assignments)
{
    struct assignment a;
    struct arena arena;
    char *why = NULL;

    arena_init(&arena, 0);
    cr_assert(admin_assignment_parse("1:2:3,,10 : 4", &arena, &a, &why));
    cr_assert_eq(a.len, 3);
    cr_assert_eq(a.brokers_len[0], 3);
    cr_assert_eq(a.brokers[0][2], 3);
    cr_assert_eq(a.brokers_len[1], 0);
    cr_assert_eq(a.brokers_len[2], 2);
    cr_assert_eq(a.brokers[2][0], 10);
    arena_free(&arena);
    refuse_assignment("1:1", "Partition replica lists may not contain "
                             "duplicate entries: 1");
    refuse_assignment("1:x", "\"1:x\" is not a list of brokers such as 1:2,2:3 "
                             "(partitions by commas, replicas by colons)");
    refuse_assignment("99999999999",
                      "\"99999999999\" is not a list of brokers such as "
                      "1:2,2:3 (partitions by commas, replicas by colons)");
}

/* ---- changes of configurations
 * ----------------------------------------------------------- */

Test(admin, changes)
{
    struct config_change *c;
    struct arena arena;
    int32_t len;
    char *why = NULL;

    arena_init(&arena, 0);
    cr_assert(
        admin_changes_parse("a=1, b = [x,y] ,c=", &arena, &c, &len, &why));
    cr_assert_eq(len, 3);
    cr_assert(slice_eq_str(c[0].key, "a"));
    cr_assert(slice_eq_str(c[1].key, "b"));
    cr_assert(slice_eq_str(c[1].value, "x,y"));
    cr_assert(slice_eq_str(c[2].value, ""));
    cr_assert_not(admin_changes_parse("a=1,b", &arena, &c, &len, &why));
    cr_assert_str_eq(why, "\"b\" is not of the form key=value");
    free(why);
    arena_free(&arena);
}

/* ---- times
 * --------------------------------------------------------------------------------
 */

static int64_t datetime(const char *text)
{
    int64_t ms = -1;

    cr_assert(admin_datetime_parse(text, &ms), "%s", text);
    return ms;
}

Test(admin, times)
{
    cr_assert_eq(datetime("1970-01-01T00:00:01.500"), 1500);
    cr_assert_eq(datetime("1970-01-01T00:00:01.5Z"), 1500);
    cr_assert_eq(datetime("1970-01-01T01:00:00+01:00"), 0);
    cr_assert_eq(datetime("1970-01-01T00:00:00.000-0130"), 5400000);
    cr_assert_eq(datetime("2026-11-21T09:30:00.000Z"), 1795253400000);
    const char *bad[] = {"",
                         "2026-11-21",
                         "2026-13-01T00:00:00",
                         "2026-11-21T25:00:00",
                         "2026-11-21T09:30:00X",
                         "2026-11-21T09:30:00+1x"};
    int64_t ms;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(admin_datetime_parse(bad[i], &ms), "%s", bad[i]);
}

static int64_t duration(const char *text)
{
    int64_t ms = -1;

    cr_assert(admin_duration_parse(text, &ms), "%s", text);
    return ms;
}

Test(admin, durations)
{
    cr_assert_eq(duration("PT1H"), 3600000);
    cr_assert_eq(duration("P1D"), 86400000);
    cr_assert_eq(duration("P1DT2H3M4.5S"), 93784500);
    const char *bad[] = {"",
                         "P",
                         "PT",
                         "1H",
                         "P1H",
                         "PT1D",
                         "PTH",
                         "PT1",
                         "PTnanH",
                         "PTinfH",
                         "PT0x10H",
                         "P1e30D",
                         "P99999999999999999999D"};
    int64_t ms;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(admin_duration_parse(bad[i], &ms), "%s", bad[i]);
}

/* ---- the range assignor
 * -------------------------------------------------------------------- */

struct outcome {
    struct buf text; /* "member.topic:first+count " */
    bool (*subscribed)(size_t member, size_t topic);
};

static bool ask(void *arg, size_t member, size_t topic)
{
    return ((struct outcome *)arg)->subscribed(member, topic);
}

static void note(void *arg, size_t member, size_t topic, int32_t first,
                 int32_t count)
{
    buf_printf(&((struct outcome *)arg)->text, "%zu.%zu:%d+%d ", member, topic,
               first, count);
}

static bool everyone(size_t member, size_t topic)
{
    (void)member;
    (void)topic;
    return true;
}

static bool not_first_of_second(size_t member, size_t topic)
{
    return !(member == 0 && topic == 1);
}

static void expect(size_t members, const int32_t *counts, size_t topics,
                   bool (*subscribed)(size_t member, size_t topic),
                   const char *want)
{
    struct outcome o = {BUF_INIT, subscribed};

    range_assign(members, counts, topics, ask, note, &o);
    buf_put_u8(&o.text, '\0');
    cr_assert_str_eq((const char *)o.text.data, want);
    buf_free(&o.text);
}

Test(member, range_assignment)
{
    expect(2, (const int32_t[]){3}, 1, everyone, "0.0:0+2 1.0:2+1 ");
    expect(3, (const int32_t[]){7}, 1, everyone, "0.0:0+3 1.0:3+2 2.0:5+2 ");
    expect(3, (const int32_t[]){2}, 1, everyone, "0.0:0+1 1.0:1+1 ");
    expect(2, (const int32_t[]){2, 3}, 2, not_first_of_second,
           "0.0:0+1 1.0:1+1 1.1:0+3 ");
    expect(1, (const int32_t[]){0}, 1, everyone, "");
    expect(0, (const int32_t[]){5}, 1, everyone, "");
}
