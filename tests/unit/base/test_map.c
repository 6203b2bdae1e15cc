#include "base/map.h"
#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdlib.h>

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
    MAP_EACH (e, &m) {
        expected = (uint8_t)(expected + (expected == 0 ? 1 : 2));
        cr_assert_eq(e->key.data[0], expected);
    }
    cr_assert_eq(expected, 99);
    map_free(&m);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The second word cancels what the first did, in a hash that is known; or both
 * differ in one bit, which many hashes carry on to the same place. */
Test(map, nobody_can_choose_keys_that_meet)
{
    enum { KEYS = 2000 };
    static uint64_t hashes[2 * KEYS];
    struct map m = MAP_INIT;

    map_set_secrets(0x243f6a8885a308d3u, 0x13198a2e03707344u);
    for (uint64_t i = 0; i < KEYS; i++) {
        uint64_t h = (0x9e3779b97f4a7c15u ^ (16 * 0xff51afd7ed558ccdu) ^ i) *
                     0xff51afd7ed558ccdu;
        uint64_t words[2] = {i, h ^ h >> 32};

        map_put(&m, slice_of(words, sizeof words), &m);
        words[0] ^= UINT64_C(1) << 63;
        words[1] ^= UINT64_C(1) << 63 | UINT64_C(1) << 31;
        map_put(&m, slice_of(words, sizeof words), &m);
    }
    cr_assert_eq(map_count(&m), 2 * KEYS);
    for (uint32_t i = 0; i < 2 * KEYS; i++)
        hashes[i] = m.entries[i].hash;
    qsort(hashes, 2 * KEYS, sizeof *hashes, by_value);
    for (uint32_t i = 1; i < 2 * KEYS; i++)
        cr_assert_neq(hashes[i - 1], hashes[i]);
    map_free(&m);
}

/* The number of entries swings where the table grows. */
Test(map, one_in_one_out_costs_nothing)
{
    enum { KEYS = 1 << 17, SWINGS = 20000 };
    struct map m = MAP_INIT;
    uint32_t tables = 0;
    const uint32_t *slots = NULL;

    for (uint32_t i = 0; i < KEYS; i++)
        map_put(&m, slice_of(&i, sizeof i), &m);
    for (uint32_t i = 0; i < SWINGS; i++) {
        uint32_t next = KEYS + i, before = m.entries_len;

        map_remove(&m, slice_of(&i, sizeof i));
        map_put(&m, slice_of(&next, sizeof next), &m);
        tables += m.entries_len <= before || m.slots != slots;
        slots = m.slots;
    }
    cr_assert_leq(tables, 2);
    cr_assert_eq(map_count(&m), KEYS);
    map_free(&m);
}
