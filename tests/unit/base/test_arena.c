#include "base/arena.h"

#include <criterion/criterion.h>

Test(arena, zeroed_and_aligned)
{
    struct arena a;

    arena_init(&a, 0);
    for (size_t n = 1; n < 5000; n += 37) {
        uint8_t *p = arena_alloc(&a, n);

        cr_assert_eq((uintptr_t)p % 8, 0);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(p[i], 0);
        memset(p, 0xff, n);
    }
    arena_free(&a);
}

Test(arena, limit_refuses_and_says_so)
{
    struct arena a;

    arena_init(&a, 100);
    cr_assert_not_null(arena_alloc(&a, 96));
    cr_assert_null(arena_alloc(&a, 8));
    cr_assert(a.exhausted);
    arena_free(&a);
    cr_assert_null(arena_array(&a, SIZE_MAX / 2, 16));
    cr_assert(a.exhausted);
    arena_free(&a);
}
