#include "base/crc32c.h"

#include "base/prng.h"

#include <criterion/criterion.h>

Test(crc32c, known_value)
{
    cr_assert_eq(crc32c(0, "123456789", 9), 0xe3069283u);
    cr_assert_eq(crc32c_portable(0, "123456789", 9), 0xe3069283u);
}

Test(crc32c, hardware_equals_portable_at_every_length_and_split)
{
    static uint8_t data[20000];
    struct prng p = {1};

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)prng_next(&p);
    for (size_t len = 0; len < sizeof data; len += 1 + len / 7) {
        uint32_t whole = crc32c_portable(0, data, len);
        size_t split = prng_below(&p, len + 1);

        cr_assert_eq(crc32c(0, data, len), whole, "length %zu", len);
        cr_assert_eq(
            crc32c(crc32c(0, data, split), data + split, len - split), whole,
            "length %zu split %zu", len, split);
    }
}
