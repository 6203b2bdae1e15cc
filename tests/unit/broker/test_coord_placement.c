/* Groups must be looked for where Apache Kafka would look.  The hashes are
 * Java's String.hashCode(). */
#include "broker/coord/placement.h"

#include <criterion/criterion.h>

static const struct {
    const char *id;
    int64_t hash;
} rows[] = {
    {"", 0},
    {"a", 97},
    {"test", 3556498},
    {"hello world", 1794106052},
    {"my-group", -1906497762},
    {"gr\xc3\xbcppe", -1233264812},
    {"\xf0\x9f\x98\x80x", 54959989}, /* a surrogate pair in UTF-16 */
};

Test(coord_placement, is_the_absolute_value_of_javas_hash)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t positive = rows[i].hash < 0 ? -rows[i].hash : rows[i].hash;

        cr_expect_eq(coord_partition_of(slice_str(rows[i].id), 50),
                     positive % 50, "%s", rows[i].id);
        cr_expect_eq(coord_partition_of(slice_str(rows[i].id), 1), 0);
    }
}

Test(coord_placement, counts_the_hash_that_has_no_absolute_value_as_zero)
{
    /* "polygenelubricants".hashCode() is -2147483648. */
    cr_assert_eq(coord_partition_of(SLICE("polygenelubricants"), 50), 0);
    cr_assert_eq(coord_partition_of(SLICE("polygenelubricants"), 7), 0);
}

Test(coord_placement, survives_bytes_that_are_not_utf8)
{
    static const char *const broken[] = {
        "\xff",     "\xc3", "a\xe2\x82", "\xed\xa0\x80", "\xf8\x88\x80\x80\x80",
        "\xc0\x80",
    };

    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        int32_t p = coord_partition_of(slice_str(broken[i]), 50);
        cr_assert(p >= 0 && p < 50);
    }
}
