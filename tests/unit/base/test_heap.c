#include "base/heap.h"
#include "base/prng.h"

#include <criterion/criterion.h>

Test(heap, pops_in_order_after_random_moves_and_removals)
{
    struct heap h = {0};
    struct heap_node nodes[500] = {0};
    struct prng p = {7};

    for (int step = 0; step < 20000; step++) {
        struct heap_node *n = &nodes[prng_below(&p, 500)];
        if (prng_below(&p, 4) == 0)
            heap_remove(&h, n);
        else
            heap_set(&h, n, (int64_t)prng_below(&p, 1000));
    }
    int64_t last = -1;
    size_t left = h.len;
    cr_assert_gt(left, 100);
    for (struct heap_node *n; (n = heap_first(&h)) != NULL; left--) {
        cr_assert_geq(n->key, last);
        last = n->key;
        heap_remove(&h, n);
        cr_assert_not(heap_has(n));
    }
    cr_assert_eq(left, 0);
    heap_free(&h);
}

Test(heap, equal_deadlines_keep_the_order_of_insertion)
{
    struct heap h = {0};
    struct heap_node nodes[20] = {0};

    for (int i = 0; i < 20; i++)
        heap_set(&h, &nodes[i], 5);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(heap_first(&h), &nodes[i]);
        heap_remove(&h, &nodes[i]);
    }
    heap_free(&h);
}
