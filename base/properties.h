/* Java's .properties text, as server.properties uses it.
 *
 * The rules are those of java.util.Properties.load: a line is `key=value`,
 * `key: value` or `key value`; blank lines and lines whose first character is
 * # or ! are skipped; a backslash at the end of a line continues it, and the
 * white space that opens the next line is dropped; \t \n \r \f \uXXXX and
 * backslash-anything are escapes.  White space round the separator is dropped,
 * at the end of a value it is kept (who parses the value trims it).
 *
 * Text is UTF-8 here; \uXXXX becomes UTF-8, surrogate pairs included.
 * Pure and not thread-safe. */
#ifndef BASE_PROPERTIES_H
#define BASE_PROPERTIES_H

#include "base/arena.h"
#include "base/error.h"

enum {
    PROPERTIES_SIZE_MAX = 4 * 1024 * 1024, /* bytes of one file */
    PROPERTIES_COUNT_MAX = 64 * 1024,      /* keys of one file */
};

struct property {
    struct slice key;   /* never null, may be empty; NUL-terminated */
    struct slice value; /* never null, may be empty; NUL-terminated */
    int line;           /* where the key stands, from 1 */
};

struct properties {
    struct property *items; /* in the order of the file, duplicates included */
    size_t count;
    size_t cap;
    struct arena arena; /* owns the bytes of keys and values */
};

/* Fills *p, which the caller frees with properties_free() on success.  On
 * failure returns ERR_MALFORMED or ERR_TOO_LARGE, *p is empty, and *why is a
 * sentence "NAME:LINE: what is wrong" that the caller frees.  `name` is what
 * the text is called in messages, usually the path of the file. */
enum err properties_parse(struct slice text, const char *name,
                          struct properties *p, char **why);
void properties_free(struct properties *p);

/* The last line with this key, as Java lets the last one win; NULL if none. */
const struct property *properties_find(const struct properties *p,
                                       struct slice key);

#endif
