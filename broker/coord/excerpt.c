#include "broker/coord/excerpt.h"

/* All bytes of a character but the first are 10xxxxxx. */
static bool is_inside(uint8_t byte) { return (byte & 0xc0) == 0x80; }

struct slice coord_excerpt(struct arena *arena, struct slice text,
                           size_t max_bytes)
{
    size_t len = max_bytes;

    if (text.len <= max_bytes)
        return text;
    while (len > 0 && is_inside(text.data[len]))
        len--;
    return arena_printf(arena, "%.*s...", (int)len, (const char *)text.data);
}
