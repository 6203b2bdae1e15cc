/* An amount per second, with a burst. */
#include "base/rate.h"

#include <criterion/criterion.h>

TestSuite(rate, .timeout = 10);

#define S RATE_SECOND_NS

Test(rate, a_burst_then_as_late_as_what_is_too_much_takes)
{
    struct rate r = {0};
    int64_t now = 100 * S;

    cr_assert_eq(rate_take_ns(&r, rate_cost_ns(800, 100), 10 * S, now), 0);
    cr_assert_eq(rate_take_ns(&r, rate_cost_ns(200, 100), 10 * S, now), 0);
    cr_assert_eq(rate_take_ns(&r, rate_cost_ns(50, 100), 10 * S, now), S / 2);
    cr_assert_eq(rate_ahead_ns(&r, 10 * S, now), S / 2);
    cr_assert_eq(rate_ahead_ns(&r, 10 * S, now + S / 2), 0);
    /* After a pause of that length one more may come, and no more than that. */
    cr_assert_eq(rate_take_ns(&r, rate_cost_ns(100, 100), 10 * S, now + S / 2),
                 S);
}

Test(rate, what_would_be_is_not_taken)
{
    struct rate r = {0};

    cr_assert_eq(rate_would_be_ns(&r, 12 * S, 10 * S, S), 2 * S);
    cr_assert_eq(rate_would_be_ns(&r, 12 * S, 10 * S, S), 2 * S);
    cr_assert_eq(rate_ahead_ns(&r, 0, S), 0);
}

Test(rate, who_was_quiet_has_no_more_than_a_burst)
{
    struct rate r = {0};

    rate_take_ns(&r, S, 10 * S, S);
    cr_assert_eq(rate_take_ns(&r, 11 * S, 10 * S, 1000 * S), S);
}

Test(rate, absurd_amounts_do_not_overflow)
{
    struct rate r = {0};

    for (int i = 0; i < 5; i++)
        cr_assert(rate_take_ns(&r, rate_cost_ns(1e30, 1e-9), S, S) > 0);
}
