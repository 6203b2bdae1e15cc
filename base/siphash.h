/* SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012).
 *
 * For tables that believe a hash instead of keeping the key: without `key` two
 * inputs with one hash cannot be made, only met, with a chance of 2^-128 a
 * pair.  Not a checksum and not for anything that is stored.  Pure. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include "base/slice.h"

struct hash128 {
    uint64_t low;
    uint64_t high;
};

struct siphash_key {
    uint64_t low;
    uint64_t high;
};

struct hash128 siphash128(const struct siphash_key *key, struct slice data);

#endif
