#include "broker/log/clean_map.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdlib.h>

static_assert(sizeof(struct clean_map_slot) == CLEAN_MAP_SLOT_BYTES,
              "log.cleaner.dedupe.buffer.size is counted in slots");

enum { SLOTS_MIN = 2 };

static double within(double factor)
{
    return factor > 0.99 ? 0.99 : factor < 0.01 ? 0.01 : factor;
}

void clean_map_init(struct clean_map *m, uint64_t max_bytes, uint64_t keys_max,
                    double load_factor, struct siphash_key key)
{
    double factor = within(load_factor);
    uint64_t slots = max_bytes / CLEAN_MAP_SLOT_BYTES;
    double needed = (double)keys_max / factor + SLOTS_MIN;

    if ((double)slots > needed)
        slots = (uint64_t)needed;
    if (slots < SLOTS_MIN)
        slots = SLOTS_MIN;
    *m = (struct clean_map){
        .slots = xmalloc(slots * sizeof *m->slots),
        .slots_len = slots,
        .count_max = (uint64_t)((double)slots * factor),
        .key = key,
    };
    if (m->count_max == 0)
        m->count_max = 1;
    for (uint64_t i = 0; i < slots; i++)
        m->slots[i].offset = -1;
}

void clean_map_free(struct clean_map *m)
{
    free(m->slots);
    *m = (struct clean_map){0};
}

/* The key's slot, or the free one where it would go: there always is one, as
 * the map is full before its slots are. */
static struct clean_map_slot *probe(const struct clean_map *m,
                                    struct hash128 hash)
{
    uint64_t i = hash.low % m->slots_len;

    while (m->slots[i].offset >= 0 && (m->slots[i].hash.low != hash.low ||
                                       m->slots[i].hash.high != hash.high))
        i = i + 1 == m->slots_len ? 0 : i + 1;
    return &m->slots[i];
}

bool clean_map_put(struct clean_map *m, struct slice key, int64_t offset)
{
    struct hash128 hash = siphash128(&m->key, key);
    struct clean_map_slot *slot = probe(m, hash);

    ASSERT(offset >= 0 && offset > slot->offset);
    if (slot->offset < 0) {
        if (m->count == m->count_max)
            return false;
        m->count++;
        slot->hash = hash;
    }
    slot->offset = offset;
    return true;
}

int64_t clean_map_get(const struct clean_map *m, struct slice key)
{
    return probe(m, siphash128(&m->key, key))->offset;
}
