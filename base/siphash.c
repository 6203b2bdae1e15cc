#include "base/siphash.h"

#include <string.h>

struct state {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

static void rounds(struct state *s, int n)
{
    while (n-- > 0) {
        s->v0 += s->v1;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v2 = rotate(s->v2, 32);
    }
}

static void take(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    rounds(s, 2);
    s->v0 ^= word;
}

/* What is left behind the last whole word, with the length's low byte on
 * top. */
static uint64_t last_word(const uint8_t *p, size_t left, size_t len)
{
    uint64_t word = (uint64_t)len << 56;

    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)p[i] << 8 * i;
    return word;
}

struct hash128 siphash128(const struct siphash_key *key, struct slice data)
{
    struct state s = {
        .v0 = key->low ^ 0x736f6d6570736575u,
        .v1 = key->high ^ 0x646f72616e646f6du ^ 0xee,
        .v2 = key->low ^ 0x6c7967656e657261u,
        .v3 = key->high ^ 0x7465646279746573u,
    };
    const uint8_t *p = data.data;
    size_t left = data.len;
    struct hash128 hash;

    for (; left >= 8; left -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8); /* little-endian, see slice.h */
        take(&s, word);
    }
    take(&s, last_word(p, left, data.len));
    s.v2 ^= 0xee;
    rounds(&s, 4);
    hash.low = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    s.v1 ^= 0xdd;
    rounds(&s, 4);
    hash.high = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    return hash;
}
