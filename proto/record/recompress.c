#include "proto/record/recompress.h"

#include "proto/record/builder.h"

void batch_pack(struct codec *codec, const struct batch *b,
                struct slice records, enum compression to, int level,
                struct buf *out)
{
    struct batch header = *b;
    size_t start = batch_begin(out);

    header.attributes =
        (int16_t)((b->attributes & ~BATCH_COMPRESSION_MASK) | (int)to);
    codec_encode(codec, to, level, 2, records, out);
    batch_end(out, start, &header);
}

enum err batch_recompress(struct codec *codec, struct slice bytes,
                          const struct batch *b, enum compression to, int level,
                          size_t limit_bytes, struct buf *scratch,
                          struct buf *out)
{
    struct slice body = slice_of(bytes.data + BATCH_HEADER_BYTES,
                                 b->size_bytes - BATCH_HEADER_BYTES);

    ASSERT(b->magic == 2 && bytes.len >= b->size_bytes);
    if ((b->attributes & BATCH_CONTROL) != 0) {
        buf_put(out, bytes.data, b->size_bytes);
        return ERR_NONE;
    }
    if (batch_compression(b) != COMPRESSION_NONE) {
        scratch->len = 0;
        enum err err = codec_decode(codec, batch_compression(b), b->magic, body,
                                    limit_bytes, scratch);
        if (err != ERR_NONE)
            return err;
        body = buf_slice(scratch);
    }
    batch_pack(codec, b, body, to, level, out);
    return ERR_NONE;
}
