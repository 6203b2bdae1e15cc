/* Lists of throttled replicas. */
#include "broker/shard.h"

#include <criterion/criterion.h>

TestSuite(throttle, .timeout = 10);

static void parses(const char *text, bool all, int32_t len, const int32_t *want)
{
    struct throttled got;

    throttled_parse(slice_str(text), 3, &got);
    cr_assert_eq(got.all, all, "%s", text);
    cr_assert_eq(got.len, len, "%s", text);
    for (int32_t i = 0; i < len; i++)
        cr_assert_eq(got.partitions[i], want[i], "%s", text);
    throttled_free(&got);
}

Test(throttle, partitions_whose_replica_is_here)
{
    parses("7:3, 1:3,2:4", false, 2, (int32_t[]){1, 7});
    parses("*", true, 0, NULL);
    parses("", false, 0, NULL);
    parses("1:2", false, 0, NULL);
    parses("x:3,3,:3,4:", false, 0, NULL);
}

Test(throttle, equal_lists)
{
    struct throttled a, b, c;

    throttled_parse(SLICE("1:3,2:3"), 3, &a);
    throttled_parse(SLICE("2:3,1:3,1:9"), 3, &b);
    throttled_parse(SLICE("*"), 3, &c);
    cr_assert(throttled_equal(&a, &b));
    cr_assert_not(throttled_equal(&a, &c));
    throttled_free(&a);
    throttled_free(&b);
    throttled_free(&c);
}
