#include "proto/record/partitioner.h"

#include <criterion/criterion.h>

/* Values of Kafka's Utils.murmur2(). */
Test(partitioner, murmur2_is_kafkas)
{
    static const struct {
        const char *key;
        int32_t hash;
    } known[] = {
        {"", 275646681},
        {"21", -973932308},
        {"abc", 479470107},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        cr_assert_eq((int32_t)murmur2(slice_str(known[i].key)), known[i].hash,
                     "%s", known[i].key);
}

Test(partitioner, the_sign_bit_is_dropped_before_the_modulo)
{
    cr_assert_eq(partition_for_key(SLICE("21"), 7),
                 (-973932308 & 0x7fffffff) % 7);
    cr_assert_eq(partition_for_key(SLICE("abc"), 1), 0);
}
