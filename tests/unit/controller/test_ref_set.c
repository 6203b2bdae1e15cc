#include "base/prng.h"
#include "controller/ref_set.h"

#include <criterion/criterion.h>

Test(ref_set, agrees_with_an_array)
{
    struct ref_set s = REF_SET_INIT;
    bool model[500] = {false};
    struct prng p = {11};
    uint32_t count = 0;
    struct arena a;

    for (int step = 0; step < 100000; step++) {
        /* Grow, then shrink, so that both resizings happen. */
        uint32_t k = (uint32_t)prng_below(&p, 500);
        bool add = prng_below(&p, 100) < (step / 20000 % 2 == 0 ? 80 : 20);
        partition_ref ref = partition_ref_of(k / 7, (int32_t)(k % 7));

        cr_assert_eq(ref_set_has(&s, ref), model[k]);
        ref_set_put(&s, ref, add);
        count = count - model[k] + add;
        model[k] = add;
        cr_assert_eq(s.count, count);
        if (step % 5000 == 0)
            for (uint32_t i = 0; i < 500; i++)
                cr_assert_eq(
                    ref_set_has(&s, partition_ref_of(i / 7, (int32_t)(i % 7))),
                    model[i]);
    }
    arena_init(&a, 0);
    const partition_ref *sorted = ref_set_sorted(&s, &a);
    for (uint32_t i = 1; i < s.count; i++)
        cr_assert_lt(sorted[i - 1], sorted[i]);
    arena_free(&a);
    ref_set_free(&s);
}
