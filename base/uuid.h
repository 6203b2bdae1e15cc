/* 128-bit ids: topic ids, cluster ids, directory ids, incarnations.
 * As text: 22 characters of URL-safe base64 without padding, as Kafka does. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include "base/prng.h"
#include "base/slice.h"

struct uuid {
    uint8_t bytes[16];
};

enum { UUID_TEXT_SIZE = 23 }; /* with the NUL */

#define UUID_ZERO ((struct uuid){{0}})

static inline bool uuid_eq(struct uuid a, struct uuid b)
{
    return memcmp(a.bytes, b.bytes, 16) == 0;
}

static inline bool uuid_is_zero(struct uuid u)
{
    return uuid_eq(u, UUID_ZERO);
}

static inline struct slice uuid_slice(const struct uuid *u)
{
    return slice_of(u->bytes, 16);
}

/* Version 4 from 128 random bits; never starts with '-' as text, so a tool
 * can take it as an argument. */
struct uuid uuid_random(struct prng *p);
/* Returns `text`. */
char *uuid_format(struct uuid u, char text[static UUID_TEXT_SIZE]);
/* False unless s is exactly a uuid's text. */
bool uuid_parse(struct slice s, struct uuid *u);

#endif
