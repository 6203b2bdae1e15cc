#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *memory, size_t size_bytes)
{
    if (memory == NULL && size_bytes != 0) {
        fprintf(stderr, "leat: out of memory: %zu bytes refused\n", size_bytes);
        abort();
    }
    return memory;
}

void *xmalloc(size_t size_bytes)
{
    return checked(malloc(size_bytes != 0 ? size_bytes : 1), size_bytes);
}

void *xcalloc(size_t count, size_t size_bytes)
{
    return checked(calloc(count != 0 ? count : 1, size_bytes), size_bytes);
}

void *xrealloc(void *old, size_t size_bytes)
{
    return checked(realloc(old, size_bytes != 0 ? size_bytes : 1), size_bytes);
}

void *xmemdup(const void *data, size_t size_bytes)
{
    void *copy = xmalloc(size_bytes);

    if (size_bytes != 0)
        memcpy(copy, data, size_bytes);
    return copy;
}

char *xstrdup(const char *text)
{
    return xmemdup(text, strlen(text) + 1);
}

char *xasprintf(const char *format, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    text = xmalloc((size_t)length + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}
