/* Each decoder writes through a sink, which hands out room as it is needed and
 * never more than the limit and one byte.  That one byte tells a stream that
 * ends exactly at the limit from one that goes on.
 *
 * Happy path of codec_decode(): the decoder takes room from the sink, fills it,
 * says how much it took, until the library reports the end and the input is
 * used up.  Failures: any error of the library and any input left over mean
 * corrupt; the sink running full means too large.  Either way the caller's
 * buffer goes back to the length it had.
 *
 * Contexts are reset before use, not after, so an error leaves nothing to
 * clean.  Those that a large window has blown up are freed at once, and so is
 * lz4's after an error: resetting it forgets neither the content size that the
 * frame promised (before lz4 1.10), so that every later frame would be refused,
 * nor anything else for sure. */
#define ZLIB_CONST
#include "proto/record/compression.h"

#include <limits.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum {
    SINK_STEP_BYTES = 16 * 1024,
    SINK_STEP_MAX_BYTES = 64 * 1024 * 1024,
    /* Contexts larger than this aren't kept. */
    KEEP_BYTES = 4 * 1024 * 1024,

    GZIP_WINDOW = 15 + 16, /* 32 KiB window, gzip header */
    GZIP_MEMORY = 8,       /* zlib's default */

    XERIAL_MAGIC_BYTES = 8,
    XERIAL_HEADER_BYTES = 16, /* magic, version, compatible version */
    XERIAL_BLOCK_BYTES = 32 * 1024,

    LZ4_MAGIC_BYTES = 4,
    LZ4_HEADER_MIN_BYTES = 7,
    LZ4_HEADER_MAX_BYTES = 19,
    LZ4_FLAG_CONTENT_SIZE = 0x08,
    LZ4_FLAG_DICTIONARY = 0x01,
    LZ4_KAFKA_DEFAULT_LEVEL = 9,
};

struct codec {
    z_stream inflate;
    z_stream deflate;
    int deflate_level;
    bool inflate_ready;
    bool deflate_ready;
    LZ4F_dctx *lz4; /* NULL until first used, as the next two */
    ZSTD_DCtx *zstd_in;
    ZSTD_CCtx *zstd_out;
    uint64_t expanded_bytes;
};

struct codec *codec_new(void) { return xcalloc(1, sizeof(struct codec)); }

void codec_free(struct codec *c)
{
    if (c == NULL)
        return;
    if (c->inflate_ready)
        inflateEnd(&c->inflate);
    if (c->deflate_ready)
        deflateEnd(&c->deflate);
    LZ4F_freeDecompressionContext(c->lz4);
    ZSTD_freeDCtx(c->zstd_in);
    ZSTD_freeCCtx(c->zstd_out);
    free(c);
}

/* ---- sink ---------------------------------------------------------------- */

struct sink {
    struct buf *out;
    size_t start; /* out->len before the first byte */
    size_t limit;
};

static size_t sink_len(const struct sink *s) { return s->out->len - s->start; }

static bool sink_over(const struct sink *s) { return sink_len(s) > s->limit; }

/* At least one byte of room and `*n` in all, or NULL when the limit is passed.
 * Steps grow with what came out, so memory follows the real size. */
static uint8_t *sink_room(struct sink *s, size_t *n)
{
    size_t len = sink_len(s);
    size_t step = len < SINK_STEP_BYTES ? SINK_STEP_BYTES : len;

    if (len > s->limit)
        return NULL;
    if (step > SINK_STEP_MAX_BYTES)
        step = SINK_STEP_MAX_BYTES;
    if (step > s->limit - len)
        step = s->limit - len + 1;
    buf_reserve(s->out, step);
    *n = s->out->cap - s->out->len;
    if (*n > s->limit - len)
        *n = s->limit - len + 1;
    if (*n > SINK_STEP_MAX_BYTES)
        *n = SINK_STEP_MAX_BYTES;
    return s->out->data + s->out->len;
}

static void sink_took(struct sink *s, size_t n) { s->out->len += n; }

/* ---- gzip ---------------------------------------------------------------- */

static z_stream *inflate_stream(struct codec *c)
{
    if (c->inflate_ready) {
        inflateReset(&c->inflate);
    } else {
        ASSERT(inflateInit2(&c->inflate, GZIP_WINDOW) == Z_OK);
        c->inflate_ready = true;
    }
    return &c->inflate;
}

static enum err gzip_decode(struct codec *c, struct slice in, struct sink *s)
{
    z_stream *z = inflate_stream(c);

    z->next_in = in.data;
    z->avail_in = (uInt)in.len;
    for (;;) {
        size_t room;
        uint8_t *to = sink_room(s, &room);

        if (to == NULL)
            return ERR_MESSAGE_TOO_LARGE;
        z->next_out = to;
        z->avail_out = (uInt)room;
        int rc = inflate(z, Z_NO_FLUSH);
        sink_took(s, room - z->avail_out);
        if (rc == Z_STREAM_END && z->avail_in == 0)
            return sink_over(s) ? ERR_MESSAGE_TOO_LARGE : ERR_NONE;
        if (rc == Z_STREAM_END)
            inflateReset(z);
        else if (rc != Z_OK)
            return ERR_CORRUPT_MESSAGE;
    }
}

static z_stream *deflate_stream(struct codec *c, int level)
{
    if (level < 1 || level > Z_BEST_COMPRESSION)
        level = Z_DEFAULT_COMPRESSION;
    if (c->deflate_ready && c->deflate_level == level) {
        deflateReset(&c->deflate);
        return &c->deflate;
    }
    if (c->deflate_ready)
        deflateEnd(&c->deflate);
    c->deflate = (z_stream){0};
    ASSERT(deflateInit2(&c->deflate, level, Z_DEFLATED, GZIP_WINDOW,
                        GZIP_MEMORY, Z_DEFAULT_STRATEGY) == Z_OK);
    c->deflate_ready = true;
    c->deflate_level = level;
    return &c->deflate;
}

static void gzip_encode(struct codec *c, int level, struct slice in,
                        struct buf *out)
{
    z_stream *z = deflate_stream(c, level);
    uLong bound = deflateBound(z, (uLong)in.len);

    buf_reserve(out, bound);
    z->next_in = in.data;
    z->avail_in = (uInt)in.len;
    z->next_out = out->data + out->len;
    z->avail_out = (uInt)bound;
    ASSERT(deflate(z, Z_FINISH) == Z_STREAM_END);
    out->len += bound - z->avail_out;
}

/* ---- snappy -------------------------------------------------------------- */

static const uint8_t xerial_header[XERIAL_HEADER_BYTES] = {
    0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};

static enum err snappy_block(struct slice in, struct sink *s)
{
    const char *from = (const char *)in.data;
    size_t len;

    if (snappy_uncompressed_length(from, in.len, &len) != SNAPPY_OK)
        return ERR_CORRUPT_MESSAGE;
    if (len > s->limit - sink_len(s))
        return ERR_MESSAGE_TOO_LARGE;
    /* The length is only claimed: look before making room for it. */
    if (snappy_validate_compressed_buffer(from, in.len) != SNAPPY_OK)
        return ERR_CORRUPT_MESSAGE;
    buf_reserve(s->out, len + 1);
    if (snappy_uncompress(from, in.len, (char *)s->out->data + s->out->len,
                          &len) != SNAPPY_OK)
        return ERR_CORRUPT_MESSAGE;
    sink_took(s, len);
    return ERR_NONE;
}

static bool is_xerial(struct slice in)
{
    return in.len >= XERIAL_HEADER_BYTES &&
           memcmp(in.data, xerial_header, XERIAL_MAGIC_BYTES) == 0;
}

/* Versions are not looked at: some writers have them in the other byte order.
 * Two streams put one behind the other repeat the header. */
static enum err snappy_decode(struct slice in, struct sink *s)
{
    enum err err = ERR_NONE;

    if (!is_xerial(in))
        return snappy_block(in, s);
    struct reader r = reader_of(in);
    while (err == ERR_NONE && reader_left(&r) != 0) {
        if (is_xerial(slice_of(r.at, reader_left(&r)))) {
            reader_take(&r, XERIAL_HEADER_BYTES);
            continue;
        }
        struct slice block = read_bytes(&r, read_u32(&r));
        err = r.bad ? ERR_CORRUPT_MESSAGE : snappy_block(block, s);
    }
    return err;
}

static void snappy_encode(struct slice in, struct buf *out)
{
    buf_put(out, xerial_header, sizeof xerial_header);
    for (size_t at = 0; at < in.len; at += XERIAL_BLOCK_BYTES) {
        size_t n =
            in.len - at < XERIAL_BLOCK_BYTES ? in.len - at : XERIAL_BLOCK_BYTES;
        size_t len = snappy_max_compressed_length(n);

        buf_reserve(out, 4 + len);
        uint8_t *to = out->data + out->len;
        ASSERT(snappy_compress((const char *)in.data + at, n, (char *)to + 4,
                               &len) == SNAPPY_OK);
        be32_put(to, (uint32_t)len);
        out->len += 4 + len;
    }
}

/* ---- lz4 ----------------------------------------------------------------- */

static uint32_t rotate(uint32_t v, int bits)
{
    return v << bits | v >> (32 - bits);
}

/* XXH32 with seed 0 for fewer than 16 bytes, which is all a frame header
 * has.  From the xxHash specification, "special case: input is less than 16
 * bytes". */
static uint32_t xxh32_short(const uint8_t *p, size_t len)
{
    uint32_t h = 0x165667b1u + (uint32_t)len;

    ASSERT(len < 16);
    for (; len >= 4; len -= 4, p += 4) {
        uint32_t word = __builtin_bswap32(be32_get(p));
        h = rotate(h + word * 0xc2b2ae3du, 17) * 0x27d4eb2fu;
    }
    for (; len != 0; len--, p++)
        h = rotate(h + *p * 0x165667b1u, 11) * 0x9e3779b1u;
    h = (h ^ h >> 15) * 0x85ebca77u;
    h = (h ^ h >> 13) * 0xc2b2ae3du;
    return h ^ h >> 16;
}

/* Length of the frame header, or 0 if `in` is too short to hold it. */
static size_t lz4_header_len(struct slice in)
{
    size_t len = LZ4_HEADER_MIN_BYTES;

    if (in.len < len)
        return 0;
    uint8_t flags = in.data[LZ4_MAGIC_BYTES];
    if ((flags & LZ4_FLAG_CONTENT_SIZE) != 0)
        len += 8;
    if ((flags & LZ4_FLAG_DICTIONARY) != 0)
        len += 4;
    return in.len < len ? 0 : len;
}

static void advance(struct slice *s, size_t n)
{
    s->data += n;
    s->len -= n;
}

/* `head` may be empty; the library sees head and body as one stream. */
static enum err lz4_run(LZ4F_dctx *lz4, struct slice head, struct slice body,
                        struct sink *s)
{
    for (;;) {
        struct slice *in = head.len != 0 ? &head : &body;
        size_t room;
        uint8_t *to = sink_room(s, &room);

        if (to == NULL)
            return ERR_MESSAGE_TOO_LARGE;
        size_t used = in->len;
        size_t hint = LZ4F_decompress(lz4, to, &room, in->data, &used, NULL);
        if (LZ4F_isError(hint))
            return ERR_CORRUPT_MESSAGE;
        sink_took(s, room);
        advance(in, used);
        if (hint == 0 && head.len + body.len == 0)
            return sink_over(s) ? ERR_MESSAGE_TOO_LARGE : ERR_NONE;
        if (used == 0 && room == 0)
            return ERR_CORRUPT_MESSAGE;
    }
}

static enum err lz4_decode(struct codec *c, int8_t magic, struct slice in,
                           struct sink *s)
{
    uint8_t header[LZ4_HEADER_MAX_BYTES];
    size_t len = lz4_header_len(in);

    if (len == 0)
        return ERR_CORRUPT_MESSAGE;
    if (c->lz4 == NULL)
        ASSERT(!LZ4F_isError(
            LZ4F_createDecompressionContext(&c->lz4, LZ4F_VERSION)));
    LZ4F_resetDecompressionContext(c->lz4);
    memcpy(header, in.data, len);
    if (magic < 2)
        header[len - 1] = (uint8_t)(xxh32_short(header + LZ4_MAGIC_BYTES,
                                                len - LZ4_MAGIC_BYTES - 1) >>
                                    8);
    advance(&in, len);
    enum err err = lz4_run(c->lz4, slice_of(header, len), in, s);
    if (err != ERR_NONE) {
        LZ4F_freeDecompressionContext(c->lz4);
        c->lz4 = NULL;
    }
    return err;
}

static void lz4_encode(int level, int8_t magic, struct slice in,
                       struct buf *out)
{
    LZ4F_preferences_t how = {
        .frameInfo = {.blockSizeID = LZ4F_max64KB,
                      .blockMode = LZ4F_blockIndependent},
    };

    if (level != CODEC_LEVEL_DEFAULT && level != LZ4_KAFKA_DEFAULT_LEVEL)
        how.compressionLevel = level;
    size_t bound = LZ4F_compressFrameBound(in.len, &how);
    buf_reserve(out, bound);
    uint8_t *to = out->data + out->len;
    size_t len = LZ4F_compressFrame(to, bound, in.data, in.len, &how);
    ASSERT(!LZ4F_isError(len) && len >= LZ4_HEADER_MIN_BYTES);
    if (magic == 0)
        to[LZ4_HEADER_MIN_BYTES - 1] =
            (uint8_t)(xxh32_short(to, LZ4_HEADER_MIN_BYTES - 1) >> 8);
    out->len += len;
}

/* ---- zstd ---------------------------------------------------------------- */

static enum err zstd_run(ZSTD_DCtx *zstd, struct slice in, struct sink *s)
{
    ZSTD_inBuffer from = {in.data, in.len, 0};

    for (;;) {
        ZSTD_outBuffer to = {NULL, 0, 0};

        if ((to.dst = sink_room(s, &to.size)) == NULL)
            return ERR_MESSAGE_TOO_LARGE;
        size_t before = from.pos;
        size_t rc = ZSTD_decompressStream(zstd, &to, &from);
        if (ZSTD_isError(rc))
            return ERR_CORRUPT_MESSAGE;
        sink_took(s, to.pos);
        if (rc == 0 && from.pos == from.size)
            return sink_over(s) ? ERR_MESSAGE_TOO_LARGE : ERR_NONE;
        if (from.pos == before && to.pos == 0)
            return ERR_CORRUPT_MESSAGE;
    }
}

static enum err zstd_decode(struct codec *c, struct slice in, struct sink *s)
{
    unsigned long long size = ZSTD_getFrameContentSize(in.data, in.len);

    if (size == ZSTD_CONTENTSIZE_ERROR)
        return ERR_CORRUPT_MESSAGE;
    if (size != ZSTD_CONTENTSIZE_UNKNOWN && size > s->limit)
        return ERR_MESSAGE_TOO_LARGE;
    if (c->zstd_in == NULL)
        ASSERT((c->zstd_in = ZSTD_createDCtx()) != NULL);
    ZSTD_DCtx_reset(c->zstd_in, ZSTD_reset_session_only);
    enum err err = zstd_run(c->zstd_in, in, s);
    if (ZSTD_sizeof_DCtx(c->zstd_in) > KEEP_BYTES) {
        ZSTD_freeDCtx(c->zstd_in);
        c->zstd_in = NULL;
    }
    return err;
}

static void zstd_encode(struct codec *c, int level, struct slice in,
                        struct buf *out)
{
    size_t bound = ZSTD_compressBound(in.len);

    if (level == CODEC_LEVEL_DEFAULT)
        level = ZSTD_defaultCLevel();
    if (c->zstd_out == NULL)
        ASSERT((c->zstd_out = ZSTD_createCCtx()) != NULL);
    buf_reserve(out, bound);
    size_t len = ZSTD_compressCCtx(c->zstd_out, out->data + out->len, bound,
                                   in.data, in.len, level);
    ASSERT(!ZSTD_isError(len));
    out->len += len;
    if (ZSTD_sizeof_CCtx(c->zstd_out) > KEEP_BYTES) {
        ZSTD_freeCCtx(c->zstd_out);
        c->zstd_out = NULL;
    }
}

/* ---- the door ------------------------------------------------------------ */

static enum err decode(struct codec *c, enum compression type, int8_t magic,
                       struct slice in, struct sink *s)
{
    switch (type) {
    case COMPRESSION_NONE:
        if (in.len > s->limit)
            return ERR_MESSAGE_TOO_LARGE;
        buf_put_slice(s->out, in);
        return ERR_NONE;
    case COMPRESSION_GZIP:
        return gzip_decode(c, in, s);
    case COMPRESSION_SNAPPY:
        return snappy_decode(in, s);
    case COMPRESSION_LZ4:
        return lz4_decode(c, magic, in, s);
    case COMPRESSION_ZSTD:
        if (magic >= 2)
            return zstd_decode(c, in, s);
    }
    return ERR_UNSUPPORTED_COMPRESSION_TYPE;
}

enum err codec_decode(struct codec *c, enum compression type, int8_t magic,
                      struct slice in, size_t limit_bytes, struct buf *out)
{
    struct sink s = {out, out->len, limit_bytes};

    if (in.len > INT32_MAX)
        return ERR_MESSAGE_TOO_LARGE;
    enum err err = decode(c, type, magic, in, &s);
    c->expanded_bytes += out->len - s.start;
    if (err != ERR_NONE)
        out->len = s.start;
    return err;
}

uint64_t codec_expanded_bytes(const struct codec *c)
{
    return c->expanded_bytes;
}

void codec_encode(struct codec *c, enum compression type, int level,
                  int8_t magic, struct slice in, struct buf *out)
{
    ASSERT(in.len <= INT32_MAX);
    switch (type) {
    case COMPRESSION_NONE:
        buf_put_slice(out, in);
        return;
    case COMPRESSION_GZIP:
        gzip_encode(c, level, in, out);
        return;
    case COMPRESSION_SNAPPY:
        snappy_encode(in, out);
        return;
    case COMPRESSION_LZ4:
        lz4_encode(level, magic, in, out);
        return;
    case COMPRESSION_ZSTD:
        ASSERT(magic >= 2);
        zstd_encode(c, level, in, out);
        return;
    }
    ASSERT(type <= COMPRESSION_ZSTD);
}

const char *compression_name(enum compression type)
{
    static const char *const names[] = {"none", "gzip", "snappy", "lz4",
                                        "zstd"};

    return (unsigned)type < sizeof names / sizeof *names ? names[type]
                                                         : "unknown";
}
