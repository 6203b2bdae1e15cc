#include "base/map.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdlib.h>

uint64_t hash_bytes(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t h = 0x9e3779b97f4a7c15u ^ (len * 0xff51afd7ed558ccdu);

    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    uint64_t tail = 0;
    if (len != 0)
        memcpy(&tail, p, len);
    h = (h ^ tail) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 29;
}

/* Of the process: who does not know them cannot choose keys that meet. */
static uint64_t secrets[2] = {0x9e3779b97f4a7c15u, 0xc4ceb9fe1a85ec53u};

void map_set_secrets(uint64_t a, uint64_t b)
{
    secrets[0] = a;
    secrets[1] = b | 1;
}

/* Both halves of the product: each bit of either factor moves many. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_key(struct slice key)
{
    const uint8_t *p = key.data;
    size_t len = key.len;
    uint64_t h = secrets[0] ^ len;

    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = fold(h ^ word, secrets[1]) + secrets[0];
    }
    uint64_t tail = 0;
    if (len != 0)
        memcpy(&tail, p, len);
    return fold(h ^ tail, secrets[1]);
}

void map_free(struct map *m)
{
    for (uint32_t i = 0; i < m->entries_len; i++)
        free((void *)(uintptr_t)m->entries[i].key.data);
    free(m->entries);
    free(m->slots);
    *m = MAP_INIT;
}

/* The slot that holds key, or the free slot where it would go. */
static uint32_t probe(const struct map *m, struct slice key, uint64_t hash)
{
    uint32_t mask = m->slots_cap - 1;
    uint32_t slot = (uint32_t)hash & mask;

    for (; m->slots[slot] != 0; slot = (slot + 1) & mask) {
        const struct map_entry *e = &m->entries[m->slots[slot] - 1];

        if (e->hash == hash && e->key.data != NULL && slice_eq(e->key, key))
            break;
    }
    return slot;
}

/* Closes the holes and sizes the table to at most a third full: the next time
 * is not before as many were put as half of those that stay. */
static void rebuild(struct map *m)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < m->entries_len; i++)
        if (m->entries[i].key.data != NULL)
            m->entries[kept++] = m->entries[i];
    m->entries_len = kept;

    uint32_t cap = 8;
    while (cap < (uint64_t)kept * 3 + 2)
        cap *= 2;
    if (cap != m->slots_cap) {
        free(m->slots);
        m->slots = xcalloc(cap, sizeof *m->slots);
        m->slots_cap = cap;
    } else {
        memset(m->slots, 0, cap * sizeof *m->slots);
    }
    for (uint32_t i = 0; i < kept; i++) {
        uint32_t slot = (uint32_t)m->entries[i].hash & (cap - 1);
        while (m->slots[slot] != 0)
            slot = (slot + 1) & (cap - 1);
        m->slots[slot] = i + 1;
    }
}

void *map_get(const struct map *m, struct slice key)
{
    if (m->count == 0)
        return NULL;
    uint32_t slot = probe(m, key, hash_key(key));
    return m->slots[slot] == 0 ? NULL : m->entries[m->slots[slot] - 1].value;
}

void *map_put(struct map *m, struct slice key, void *value)
{
    uint64_t hash = hash_key(key);

    ASSERT(value != NULL);
    if (m->slots_cap == 0 || (m->entries_len + 1) * 2 > m->slots_cap)
        rebuild(m);
    uint32_t slot = probe(m, key, hash);
    if (m->slots[slot] != 0) {
        struct map_entry *e = &m->entries[m->slots[slot] - 1];
        void *old = e->value;
        e->value = value;
        return old;
    }
    if (m->entries_len == m->entries_cap) {
        m->entries_cap = m->entries_cap != 0 ? m->entries_cap * 2 : 8;
        m->entries =
            xrealloc(m->entries, m->entries_cap * sizeof *m->entries);
    }
    uint8_t *copy = xmalloc(key.len + 1);
    if (key.len != 0)
        memcpy(copy, key.data, key.len);
    copy[key.len] = 0;
    m->entries[m->entries_len++] =
        (struct map_entry){{copy, key.len}, value, hash};
    m->slots[slot] = m->entries_len;
    m->count++;
    return NULL;
}

void *map_remove(struct map *m, struct slice key)
{
    if (m->count == 0)
        return NULL;
    uint32_t slot = probe(m, key, hash_key(key));
    if (m->slots[slot] == 0)
        return NULL;
    /* The slot keeps pointing at the hole, so probes that pass it go on;
     * rebuild() clears both. */
    struct map_entry *e = &m->entries[m->slots[slot] - 1];
    void *old = e->value;
    free((void *)(uintptr_t)e->key.data);
    e->key = SLICE_NULL;
    e->value = NULL;
    m->count--;
    return old;
}
