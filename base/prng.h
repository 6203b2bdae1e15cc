/* Seeded pseudo-random numbers (splitmix64).  Not for secrets. */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_next(struct prng *p)
{
    p->state += 0x9e3779b97f4a7c15u;
    uint64_t z = p->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 <= result < bound; bound > 0. */
static inline uint64_t prng_below(struct prng *p, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)prng_next(p) * bound) >> 64);
}

#endif
