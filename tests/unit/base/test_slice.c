#include "base/slice.h"

#include <criterion/criterion.h>

Test(reader, short_read_is_sticky_and_never_passes_the_end)
{
    const uint8_t bytes[] = {0, 0, 1};
    struct reader r = reader_of(slice_of(bytes, sizeof bytes));

    cr_assert_eq(read_u16(&r), 0);
    cr_assert_eq(read_u32(&r), 0);
    cr_assert(r.bad);
    cr_assert_eq(read_u8(&r), 0, "the byte is there, but the reader is bad");
}

Test(reader, varints_round_trip)
{
    const int64_t values[] = {0, 1, -1, 63, 64, -64, -65, INT32_MAX, INT32_MIN,
                              INT64_MAX, INT64_MIN};

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct buf b = BUF_INIT;
        buf_put_varint64(&b, values[i]);
        buf_put_varint32(&b, (int32_t)values[i]);
        struct reader r = reader_of(buf_slice(&b));
        cr_assert_eq(read_varint64(&r), values[i]);
        cr_assert_eq(read_varint32(&r), (int32_t)values[i]);
        cr_assert_not(r.bad);
        cr_assert_eq(reader_left(&r), 0);
        buf_free(&b);
    }
}

Test(reader, varints_that_are_too_long_are_bad)
{
    const uint8_t ones[11] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                              0xff, 0xff, 0xff, 0xff, 0x01};
    struct reader r = reader_of(slice_of(ones, sizeof ones));

    read_uvarint32(&r);
    cr_assert(r.bad);
    r = reader_of(slice_of(ones, sizeof ones));
    read_uvarint64(&r);
    cr_assert(r.bad);
}
