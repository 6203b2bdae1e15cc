#include "base/arena.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BLOCK_MIN = 1024, ARENA_BLOCK_MAX = 1 << 20 };

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data[] */
    size_t used;
    _Alignas(8) uint8_t data[];
};

void arena_init(struct arena *a, size_t limit_bytes)
{
    *a = (struct arena){.limit_bytes = limit_bytes};
}

void arena_free(struct arena *a)
{
    struct arena_block *next;

    for (struct arena_block *b = a->blocks; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    arena_init(a, a->limit_bytes);
}

static struct arena_block *grow(struct arena *a, size_t size_bytes)
{
    size_t size = a->blocks != NULL ? a->blocks->size * 2 : ARENA_BLOCK_MIN;

    if (size > ARENA_BLOCK_MAX)
        size = ARENA_BLOCK_MAX;
    if (size < size_bytes)
        size = size_bytes;
    struct arena_block *b = xmalloc(sizeof *b + size);
    b->size = size;
    b->used = 0;
    b->next = a->blocks;
    a->blocks = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
    size_t size = (size_bytes + 7) & ~(size_t)7;

    if (size < size_bytes ||
        (a->limit_bytes != 0 && size > a->limit_bytes - a->used_bytes)) {
        a->exhausted = true;
        return NULL;
    }
    struct arena_block *b = a->blocks;
    if (b == NULL || b->size - b->used < size)
        b = grow(a, size);
    void *p = b->data + b->used;
    b->used += size;
    a->used_bytes += size;
    memset(p, 0, size);
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size_bytes)
{
    size_t total;

    if (__builtin_mul_overflow(count, size_bytes, &total)) {
        a->exhausted = true;
        return NULL;
    }
    return arena_alloc(a, total != 0 ? total : 1);
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    if (slice_is_null(s))
        return s;
    uint8_t *p = arena_alloc(a, s.len != 0 ? s.len : 1);
    if (p == NULL)
        return SLICE_NULL;
    if (s.len != 0)
        memcpy(p, s.data, s.len);
    return slice_of(p, s.len);
}

char *arena_strdup(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.len + 1);

    if (p != NULL && s.len != 0)
        memcpy(p, s.data, s.len);
    return p;
}

struct slice arena_printf(struct arena *a, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = arena_alloc(a, (size_t)length + 1);
    if (text == NULL)
        return SLICE_NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return slice_of(text, (size_t)length);
}
