#include "base/map.h"
#include "base/prng.h"

#include <criterion/criterion.h>

Test(map, agrees_with_an_array)
{
    struct map m = MAP_INIT;
    void *model[300] = {0};
    struct prng p = {3};
    uint32_t live = 0;

    for (int step = 0; step < 50000; step++) {
        uint32_t k = (uint32_t)prng_below(&p, 300);
        struct slice key = slice_of(&k, sizeof k);

        switch (prng_below(&p, 3)) {
        case 0: {
            void *v = (void *)(uintptr_t)(step + 1);
            cr_assert_eq(map_put(&m, key, v), model[k]);
            live += model[k] == NULL;
            model[k] = v;
            break;
        }
        case 1:
            cr_assert_eq(map_remove(&m, key), model[k]);
            live -= model[k] != NULL;
            model[k] = NULL;
            break;
        default:
            cr_assert_eq(map_get(&m, key), model[k]);
        }
        cr_assert_eq(map_count(&m), live);
    }
    map_free(&m);
}

Test(map, iterates_in_insertion_order)
{
    struct map m = MAP_INIT;
    uint8_t expected = 0;

    for (uint8_t i = 0; i < 100; i++)
        map_put(&m, slice_of(&i, 1), (void *)(uintptr_t)(i + 1));
    for (uint8_t i = 0; i < 100; i += 2)
        map_remove(&m, slice_of(&i, 1));
    MAP_EACH(e, &m)
    {
        expected = (uint8_t)(expected + (expected == 0 ? 1 : 2));
        cr_assert_eq(e->key.data[0], expected);
    }
    cr_assert_eq(expected, 99);
    map_free(&m);
}
