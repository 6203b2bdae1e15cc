/* Kafka's choice of partition for a key: murmur2 with Kafka's seed, sign bit
 * dropped, modulo the number of partitions.  Clients in every language agree on
 * it, so records of one key meet in one partition. */
#ifndef PROTO_RECORD_PARTITIONER_H
#define PROTO_RECORD_PARTITIONER_H

#include "base/slice.h"

static inline uint32_t murmur2(struct slice key)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28cu ^ (uint32_t)key.len;
    const uint8_t *p = key.data;
    size_t left = key.len;

    for (; left >= 4; left -= 4, p += 4) {
        uint32_t k = (uint32_t)p[0] | (uint32_t)p[1] << 8 |
                     (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

        k *= m;
        k ^= k >> 24;
        h = h * m ^ k * m;
    }
    if (left > 0) {
        for (size_t i = 0; i < left; i++)
            h ^= (uint32_t)p[i] << 8 * i;
        h *= m;
    }
    h = (h ^ h >> 13) * m;
    return h ^ h >> 15;
}

/* From 0 to partitions - 1; partitions > 0. */
static inline int32_t partition_for_key(struct slice key, int32_t partitions)
{
    ASSERT(partitions > 0);
    return (int32_t)(murmur2(key) & 0x7fffffff) % partitions;
}

#endif
