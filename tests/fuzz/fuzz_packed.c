/* As fuzz_produced.c, one layer deeper: the input is what a producer compressed
 * (records of a batch v2, or the messages inside a wrapper), and is compressed
 * and wrapped here with everything in order around it. */
#include "tests/fuzz/records_kit.h"

#include "proto/record/builder.h"
#include "proto/record/produced.h"

#include <stdlib.h>

static void wrap_batch(enum compression type, int32_t count, struct slice in,
                       struct buf *out)
{
    struct batch header = {
        .leader_epoch = -1,
        .magic = 2,
        .attributes = (int16_t)type,
        .last_offset_delta = count - 1,
        .base_timestamp = 100,
        .max_timestamp = 200,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1,
        .records_count = count,
    };
    size_t start = batch_begin(out);

    codec_encode(fuzz_codec(), type, CODEC_LEVEL_DEFAULT, 2, in, out);
    batch_end(out, start, &header);
}

static void wrap_messages(enum compression type, int8_t magic, struct slice in,
                          struct buf *out)
{
    struct buf inside = BUF_INIT, packed = BUF_INIT;

    buf_put_slice(&inside, in);
    fix_message_set(inside.data, inside.len, false);
    codec_encode(fuzz_codec(), type, CODEC_LEVEL_DEFAULT, magic,
                 buf_slice(&inside), &packed);
    buf_put_u64(out, 7);
    buf_put_u32(out, (uint32_t)(packed.len + 14 + (magic == 1 ? 8 : 0)));
    buf_put_u32(out, 0);
    buf_put_u8(out, (uint8_t)magic);
    buf_put_u8(out, (uint8_t)type);
    if (magic == 1)
        buf_put_u64(out, 150);
    buf_put_u32(out, UINT32_MAX);
    buf_put_u32(out, (uint32_t)packed.len);
    buf_put_slice(out, buf_slice(&packed));
    fix_message_set(out->data, out->len, false);
    buf_free(&inside);
    buf_free(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    uint8_t how = read_u8(&r), count = read_u8(&r);
    struct slice in = take_rest(&r);
    int8_t magic = (int8_t)((how & 3) % 3);
    enum compression type = (enum compression)(1 + (how >> 2 & 3));
    struct produced_rules rules = {
        .api_version = magic == 2 ? 9 : 2,
        .max_message_bytes = 1 << 20,
        .keep_compression = (how & 0x10) != 0,
        .compression = (enum compression)((how >> 5) % 5),
        .level = CODEC_LEVEL_DEFAULT,
        .before_max_ms = INT64_MAX,
        .after_max_ms = INT64_MAX,
        .deep = true,
        .limit_bytes = FUZZ_LIMIT_BYTES,
    };
    struct buf whole = BUF_INIT, scratch = BUF_INIT, out = BUF_INIT;
    struct arena arena;
    struct produced p;

    if (magic < 2 && type == COMPRESSION_ZSTD)
        return 0;
    if (magic == 2)
        wrap_batch(type, count, in, &whole);
    else
        wrap_messages(type, magic, in, &whole);
    arena_init(&arena, 1 << 16);
    enum err err = produced_prepare(fuzz_codec(), whole.data, whole.len, &rules,
                                    &scratch, &arena, &out, &p);
    if (err == ERR_NONE) {
        struct slice bytes = slice_of(p.bytes, p.batch.size_bytes);
        int records = fuzz_read_batch(bytes, &p.batch);

        ASSERT(records == p.batch.records_count);
        ASSERT(magic < 2 || records == count);
        fuzz_convert_down(bytes, &p.batch, records);
    }
    arena_free(&arena);
    buf_free(&whole);
    buf_free(&scratch);
    buf_free(&out);
    return 0;
}
