/* Which replica a consumer is sent to (KIP-392). */
#include "broker/replica/nearest.h"

#include <criterion/criterion.h>

TestSuite(nearest, .timeout = 10);

#define REPLICAS(...)                                                          \
    (struct nearest_replica[]){__VA_ARGS__},                                   \
        sizeof((struct nearest_replica[]){__VA_ARGS__}) /                      \
            sizeof(struct nearest_replica)

#define NEAREST(rack, leader, ...)                                             \
    nearest_replica(SLICE(rack), SLICE(leader), REPLICAS(__VA_ARGS__))

Test(nearest, one_in_the_readers_rack)
{
    cr_assert_eq(
        NEAREST("b", "a", {2, SLICE("b"), 10, 5}, {3, SLICE("c"), 20, 5}), 2);
}

Test(nearest, the_leader_if_it_is_in_the_rack_or_nobody_is)
{
    cr_assert_eq(NEAREST("b", "b", {2, SLICE("b"), 10, 5}), -1);
    cr_assert_eq(NEAREST("x", "a", {2, SLICE("b"), 10, 5}), -1);
    cr_assert_eq(NEAREST("", "a", {2, SLICE(""), 10, 5}), -1);
    cr_assert_eq(nearest_replica(SLICE_NULL, SLICE("a"), NULL, 0), -1);
}

Test(nearest, who_has_most_then_who_was_caught_up_last_then_the_larger_id)
{
    cr_assert_eq(
        NEAREST("b", "a", {2, SLICE("b"), 10, 9}, {3, SLICE("b"), 11, 5}), 3);
    cr_assert_eq(
        NEAREST("b", "a", {2, SLICE("b"), 10, 9}, {3, SLICE("b"), 10, 5}), 2);
    cr_assert_eq(
        NEAREST("b", "a", {2, SLICE("b"), 10, 5}, {3, SLICE("b"), 10, 5}), 3);
}
