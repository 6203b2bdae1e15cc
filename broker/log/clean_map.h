/* Which offset is the last one of each key: what one round of cleaning knows
 * of the dirty part of a log.
 *
 * A fixed table of 24-byte slots: 16 bytes of the key's hash, 8 of the offset;
 * the keys themselves are not kept.  The hash is keyed anew for each map
 * (base/siphash.h), so nobody can make keys that are taken for each other.
 *
 * The map says "full" before it gets slow; the round then ends with what it
 * has, and the next one goes on from there.  Pure; one thread at a time. */
#ifndef BROKER_LOG_CLEAN_MAP_H
#define BROKER_LOG_CLEAN_MAP_H

#include "base/siphash.h"

enum { CLEAN_MAP_SLOT_BYTES = 24 };

struct clean_map_slot {
    struct hash128 hash;
    int64_t offset; /* -1: free */
};

struct clean_map {
    struct clean_map_slot *slots; /* owned */
    uint64_t slots_len;
    uint64_t count;
    uint64_t count_max; /* full there */
    struct siphash_key key;
};

/* At most max_bytes of memory and at most what keys_max keys need; full at
 * load_factor (log.cleaner.io.buffer.load.factor, above 0, at most 0.99) of the
 * slots, but room for one key there always is. */
void clean_map_init(struct clean_map *m, uint64_t max_bytes, uint64_t keys_max,
                    double load_factor, struct siphash_key key);
void clean_map_free(struct clean_map *m);

/* Offsets of one key rise from call to call.  False: the map is full and does
 * not have the key. */
bool clean_map_put(struct clean_map *m, struct slice key, int64_t offset);
/* -1 when it does not have the key. */
int64_t clean_map_get(const struct clean_map *m, struct slice key);

#endif
