#include "base/slice.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t read_uvarint64(struct reader *r)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = read_u8(r);

        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return r->bad ? 0 : value;
    }
    r->bad = true;
    return 0;
}

uint32_t read_uvarint32(struct reader *r)
{
    uint32_t value = 0;

    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = read_u8(r);

        if (shift == 28 && byte > 0x0f)
            break;
        value |= (uint32_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return r->bad ? 0 : value;
    }
    r->bad = true;
    return 0;
}

int32_t read_varint32(struct reader *r)
{
    uint32_t v = read_uvarint32(r);
    return (int32_t)(v >> 1 ^ (0u - (v & 1)));
}

int64_t read_varint64(struct reader *r)
{
    uint64_t v = read_uvarint64(r);
    return (int64_t)(v >> 1 ^ (0u - (v & 1)));
}

void buf_reserve(struct buf *b, size_t n)
{
    size_t cap = b->cap != 0 ? b->cap : 64;

    if (b->cap - b->len >= n)
        return;
    while (cap - b->len < n)
        cap *= 2;
    b->data = xrealloc(b->data, cap);
    b->cap = cap;
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = BUF_INIT;
}

void buf_put_uvarint64(struct buf *b, uint64_t v)
{
    while (v >= 0x80) {
        buf_put_u8(b, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    buf_put_u8(b, (uint8_t)v);
}

void buf_put_uvarint32(struct buf *b, uint32_t v)
{
    buf_put_uvarint64(b, v);
}

void buf_put_varint32(struct buf *b, int32_t v)
{
    buf_put_uvarint64(b, (uint32_t)v << 1 ^ (v < 0 ? UINT32_MAX : 0));
}

void buf_put_varint64(struct buf *b, int64_t v)
{
    buf_put_uvarint64(b, (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0));
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    buf_reserve(b, (size_t)length + 1);
    va_start(args, format);
    vsnprintf((char *)b->data + b->len, (size_t)length + 1, format, args);
    va_end(args);
    b->len += (size_t)length;
}
