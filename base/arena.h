/* Scratch memory of one request: many allocations, one free.
 *
 * Blocks double from 1 KiB; nothing is freed before arena_free().  `limit`
 * bounds the total, so a small hostile request cannot expand into gigabytes:
 * past it arena_alloc returns NULL and sets `exhausted`.  Not thread-safe. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used_bytes;          /* handed out so far */
    size_t limit_bytes;         /* 0: no limit */
    bool exhausted;
};

void arena_init(struct arena *a, size_t limit_bytes);
/* Frees everything; the arena can be used again with the same limit. */
void arena_free(struct arena *a);

/* Zeroed, aligned to 8 bytes.  NULL only when the limit is passed. */
void *arena_alloc(struct arena *a, size_t size_bytes);
/* As arena_alloc for count * size, overflow included in "limit is passed". */
void *arena_array(struct arena *a, size_t count, size_t size_bytes);
/* Copies; a null slice stays null. */
struct slice arena_copy(struct arena *a, struct slice s);
/* NUL-terminated copy; "" for a null slice. */
char *arena_strdup(struct arena *a, struct slice s);
/* printf into the arena (text is NUL-terminated, len excludes the NUL). */
struct slice arena_printf(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
