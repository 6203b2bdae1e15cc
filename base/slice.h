/* Bytes somebody else owns, and readers and writers of big-endian fields.
 *
 * A slice never owns its bytes.  data == NULL means "null" (as Kafka's nullable
 * strings know it); an empty slice has data != NULL and len == 0.
 *
 * reader: bounds-checked and sticky.  After the first short read `bad` is set,
 * the rest of the reads return 0 or null, and the caller checks once at the
 * end.  A reader never looks beyond `end`.
 *
 * buf: a growing byte buffer that owns its memory. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include "base/alloc.h"
#include "base/assert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

#define SLICE_NULL ((struct slice){NULL, 0})
/* A slice over a string literal. */
#define SLICE(literal)                                                         \
    ((struct slice){(const uint8_t *)("" literal), sizeof(literal) - 1})
/* printf("%.*s", SLICE_FMT(s)) */
#define SLICE_FMT(s) (int)(s).len, (s).data ? (const char *)(s).data : ""

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){(const uint8_t *)data, len};
}

/* NULL becomes the null slice. */
static inline struct slice slice_str(const char *text)
{
    return text == NULL ? SLICE_NULL : slice_of(text, strlen(text));
}

static inline bool slice_is_null(struct slice s)
{
    return s.data == NULL;
}

/* Bytes equal; null and empty compare as equal. */
static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_eq_str(struct slice a, const char *text)
{
    return slice_eq(a, slice_str(text));
}

/* Byte order, shorter first on a common prefix. */
static inline int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);

    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

/* A NUL-terminated copy that the caller frees; NULL for a null slice. */
static inline char *slice_dup(struct slice s)
{
    if (s.data == NULL)
        return NULL;
    char *copy = xmalloc(s.len + 1);
    if (s.len != 0)
        memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return copy;
}

/* ---- big-endian at an address ---------------------------------------- */

static inline uint16_t be16_get(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t be32_get(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}

static inline uint64_t be64_get(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}

static inline void be16_put(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void be32_put(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof v);
}

static inline void be64_put(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "big-endian hosts need the swaps above removed");

/* ---- reader ------------------------------------------------------------ */

struct reader {
    const uint8_t *at;
    const uint8_t *end; /* exclusive */
    bool bad;           /* a read went past end, or a varint was too long */
};

static inline struct reader reader_of(struct slice s)
{
    return (struct reader){s.data, s.data == NULL ? NULL : s.data + s.len,
                           false};
}

static inline size_t reader_left(const struct reader *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->at);
}

/* The next n bytes in place, or NULL (and bad) if there are fewer. */
static inline const uint8_t *reader_take(struct reader *r, size_t n)
{
    static const uint8_t nothing[1];

    if (r->bad || (size_t)(r->end - r->at) < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    if (n == 0)
        return p != NULL ? p : nothing;
    r->at += n;
    return p;
}

static inline uint8_t read_u8(struct reader *r)
{
    const uint8_t *p = reader_take(r, 1);
    return p != NULL ? *p : 0;
}

static inline int8_t read_i8(struct reader *r)
{
    return (int8_t)read_u8(r);
}

static inline uint16_t read_u16(struct reader *r)
{
    const uint8_t *p = reader_take(r, 2);
    return p != NULL ? be16_get(p) : 0;
}

static inline int16_t read_i16(struct reader *r)
{
    return (int16_t)read_u16(r);
}

static inline uint32_t read_u32(struct reader *r)
{
    const uint8_t *p = reader_take(r, 4);
    return p != NULL ? be32_get(p) : 0;
}

static inline int32_t read_i32(struct reader *r)
{
    return (int32_t)read_u32(r);
}

static inline uint64_t read_u64(struct reader *r)
{
    const uint8_t *p = reader_take(r, 8);
    return p != NULL ? be64_get(p) : 0;
}

static inline int64_t read_i64(struct reader *r)
{
    return (int64_t)read_u64(r);
}

static inline struct slice read_bytes(struct reader *r, size_t n)
{
    const uint8_t *p = reader_take(r, n);
    return p != NULL ? slice_of(p, n) : SLICE_NULL;
}

/* Unsigned LEB128 varints of at most 5 and 10 bytes; more is bad. */
uint32_t read_uvarint32(struct reader *r);
uint64_t read_uvarint64(struct reader *r);
/* Zigzag-encoded, as in record batches. */
int32_t read_varint32(struct reader *r);
int64_t read_varint64(struct reader *r);

/* ---- buf --------------------------------------------------------------- */

struct buf {
    uint8_t *data; /* owned; NULL while cap == 0 */
    size_t len;
    size_t cap;
};

#define BUF_INIT ((struct buf){NULL, 0, 0})

/* Make room for n more bytes; amortised. */
void buf_reserve(struct buf *b, size_t n);
void buf_free(struct buf *b); /* and back to BUF_INIT */

static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->data != NULL ? b->data : (const uint8_t *)"", b->len);
}

/* n uninitialised bytes at the end; valid until the next write. */
static inline uint8_t *buf_extend(struct buf *b, size_t n)
{
    if (b->cap - b->len < n)
        buf_reserve(b, n);
    uint8_t *p = b->data + b->len;
    b->len += n;
    return p;
}

static inline void buf_put(struct buf *b, const void *data, size_t n)
{
    if (n != 0)
        memcpy(buf_extend(b, n), data, n);
}

static inline void buf_put_slice(struct buf *b, struct slice s)
{
    buf_put(b, s.data, s.len);
}

static inline void buf_put_u8(struct buf *b, uint8_t v)
{
    *buf_extend(b, 1) = v;
}

static inline void buf_put_u16(struct buf *b, uint16_t v)
{
    be16_put(buf_extend(b, 2), v);
}

static inline void buf_put_u32(struct buf *b, uint32_t v)
{
    be32_put(buf_extend(b, 4), v);
}

static inline void buf_put_u64(struct buf *b, uint64_t v)
{
    be64_put(buf_extend(b, 8), v);
}

void buf_put_uvarint32(struct buf *b, uint32_t v);
void buf_put_uvarint64(struct buf *b, uint64_t v);
void buf_put_varint32(struct buf *b, int32_t v);
void buf_put_varint64(struct buf *b, int64_t v);
/* printf without the terminating NUL. */
void buf_printf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
