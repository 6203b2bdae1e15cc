/* Lets protobuf-c allocate from an arena: with a limit, a small message that
 * claims millions of fields ends as malformed (NULL, or arena->exhausted). */
#ifndef PROTO_INTERNAL_ARENA_ALLOCATOR_H
#define PROTO_INTERNAL_ARENA_ALLOCATOR_H

#include "base/arena.h"

#include <protobuf-c/protobuf-c.h>

static inline void *arena_allocator_alloc(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static inline void arena_allocator_free(void *arena, void *pointer)
{
    (void)arena;
    (void)pointer;
}

static inline ProtobufCAllocator arena_allocator(struct arena *arena)
{
    return (ProtobufCAllocator){arena_allocator_alloc, arena_allocator_free,
                                arena};
}

#endif
