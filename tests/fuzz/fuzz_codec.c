/* The four codecs: bytes that somebody else has compressed, and our own. */
#include "tests/fuzz/kit.h"

#include "proto/record/compression.h"

enum { LIMIT_BYTES = 1 << 18 };

static struct codec *codec; /* its contexts are meant to be reused */

/* Whatever came, the next one is decoded. */
static void check_next(enum compression type, int8_t magic)
{
    static struct buf packed[COMPRESSION_ZSTD + 1][3];
    struct slice text = SLICE("the next");
    struct buf out = BUF_INIT;

    if (type > COMPRESSION_ZSTD || (type == COMPRESSION_ZSTD && magic < 2))
        return;
    struct buf *p = &packed[type][magic];
    if (p->len == 0)
        codec_encode(codec, type, CODEC_LEVEL_DEFAULT, magic, text, p);
    ASSERT(codec_decode(codec, type, magic, buf_slice(p), text.len, &out) ==
           ERR_NONE);
    ASSERT(slice_eq(buf_slice(&out), text));
    buf_free(&out);
}

static void check_decode(enum compression type, int8_t magic, struct slice in)
{
    struct buf out = BUF_INIT;

    buf_put_u8(&out, 1);
    enum err err = codec_decode(codec, type, magic, in, LIMIT_BYTES, &out);
    ASSERT(err == ERR_NONE ? out.len - 1 <= LIMIT_BYTES : out.len == 1);
    ASSERT(out.data[0] == 1);
    buf_free(&out);
    if (err != ERR_NONE)
        check_next(type, magic);
}

static void check_encode(enum compression type, int8_t magic, int level,
                         struct slice in)
{
    struct buf packed = BUF_INIT, out = BUF_INIT;

    if (type == COMPRESSION_ZSTD && magic < 2)
        return;
    codec_encode(codec, type, level, magic, in, &packed);
    ASSERT(codec_decode(codec, type, magic, buf_slice(&packed), in.len, &out) ==
           ERR_NONE);
    ASSERT(slice_eq(buf_slice(&out), in));
    if (in.len != 0)
        check_decode(type, magic, slice_of(packed.data, packed.len - 1));
    buf_free(&packed);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    uint8_t what = read_u8(&r);
    enum compression type = (enum compression)(what & 7);
    int8_t magic = (int8_t)((what >> 3 & 3) % 3);
    bool encode = (what & 0x20) != 0;
    int level = encode ? read_i8(&r) : 0;

    /* Contexts are made anew for another level, which takes long. */
    if ((level & 7) != 0)
        level = CODEC_LEVEL_DEFAULT;

    if (codec == NULL)
        codec = codec_new();
    if (!encode)
        check_decode(type, magic, take_rest(&r));
    else if (type <= COMPRESSION_ZSTD)
        check_encode(type, magic, level, take_rest(&r));
    return 0;
}
