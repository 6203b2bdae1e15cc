/* Hash map from byte strings to pointers, iterated in insertion order.
 *
 * Order never depends on hashes or addresses, so two runs with one seed visit
 * entries alike.  Keys are copied, values are the caller's.  Removing during
 * MAP_EACH is allowed, inserting is not.  Not thread-safe. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/slice.h"

struct map_entry {
    struct slice key; /* owned by the map */
    void *value;
    uint64_t hash;
};

struct map {
    struct map_entry *entries; /* in insertion order; a hole has no key.data */
    uint32_t entries_len;      /* with holes */
    uint32_t entries_cap;
    uint32_t count; /* without holes */
    uint32_t *slots; /* entry index + 1; 0 free; power-of-two table */
    uint32_t slots_cap;
};

#define MAP_INIT ((struct map){0})

/* Random numbers, before the first map is filled: keys come from outside, and
 * who could choose ones with the same hash would make each step a walk. */
void map_set_secrets(uint64_t a, uint64_t b);

void map_free(struct map *m); /* keys and tables, not values */
/* NULL if absent. */
void *map_get(const struct map *m, struct slice key);
/* Returns the value replaced, or NULL. `value` is never NULL. */
void *map_put(struct map *m, struct slice key, void *value);
/* Returns the value removed, or NULL. */
void *map_remove(struct map *m, struct slice key);

static inline uint32_t map_count(const struct map *m)
{
    return m->count;
}

/* Position of the first live entry at or after `from`, or entries_len. */
static inline uint32_t map_next(const struct map *m, uint32_t from)
{
    while (from < m->entries_len && m->entries[from].key.data == NULL)
        from++;
    return from;
}

#define MAP_EACH(entry, m)                                                     \
    for (uint32_t map_i_##entry = map_next(m, 0);                              \
         map_i_##entry < (m)->entries_len;                                     \
         map_i_##entry = map_next(m, map_i_##entry + 1))                       \
        for (struct map_entry *entry = &(m)->entries[map_i_##entry];           \
             entry != NULL; entry = NULL)

/* A 64-bit hash of bytes, the same on every machine and run. */
uint64_t hash_bytes(const void *data, size_t len);

#endif
