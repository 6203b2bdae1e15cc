/* Text of clients and other nodes within messages of ours: a string of the
 * protocol has 32767 bytes at most, and a message that quotes such a one would
 * have no place in its answer. */
#ifndef BROKER_COORD_EXCERPT_H
#define BROKER_COORD_EXCERPT_H

#include "base/arena.h"

enum { COORD_QUOTE_BYTES = 256 }; /* of an id or a name */

/* The text, or its first characters, of at most max_bytes, and "..."; in the
 * arena or the text itself.  A UTF-8 character is not split. */
struct slice coord_excerpt(struct arena *arena, struct slice text,
                           size_t max_bytes);

/* Of an id or a name. */
static inline struct slice coord_quote(struct arena *arena, struct slice text)
{
    return coord_excerpt(arena, text, COORD_QUOTE_BYTES);
}

#endif
