#include "base/uuid.h"

#include <criterion/criterion.h>

Test(uuid, text_round_trips)
{
    struct prng p = {9};

    for (int i = 0; i < 1000; i++) {
        char text[UUID_TEXT_SIZE];
        struct uuid u = uuid_random(&p), back;
        cr_assert_eq(strlen(uuid_format(u, text)), 22);
        cr_assert_neq(text[0], '-');
        cr_assert(uuid_parse(slice_str(text), &back));
        cr_assert(uuid_eq(u, back));
    }
}

Test(uuid, refuses_what_is_not_one)
{
    struct uuid u;

    cr_assert(uuid_parse(SLICE("AAAAAAAAAAAAAAAAAAAAAQ"), &u));
    cr_assert_eq(u.bytes[15], 1);
    cr_assert_not(uuid_parse(SLICE("AAAAAAAAAAAAAAAAAAAAAR"), &u),
                  "stray low bits");
    cr_assert_not(uuid_parse(SLICE("AAAAAAAAAAAAAAAAAAAAA"), &u));
    cr_assert_not(uuid_parse(SLICE("AAAAAAAAAAAAAAAAAAAA+Q"), &u));
}
