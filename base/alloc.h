/* Allocation that cannot fail: out of memory ends the process with a line.
 *
 * Sizes that come from outside are bounded before they get here, so running
 * out means the machine is out, and a replica elsewhere takes over.  Returned
 * memory is owned by the caller and freed with free(). */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>

void *xmalloc(size_t size_bytes);
/* Zeroed; checks count * size for overflow. */
void *xcalloc(size_t count, size_t size_bytes);
void *xrealloc(void *old, size_t size_bytes);
void *xmemdup(const void *data, size_t size_bytes);
char *xstrdup(const char *text);
/* printf into a new string. */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
