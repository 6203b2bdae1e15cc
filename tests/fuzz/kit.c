#include "tests/fuzz/kit.h"

#include "base/crc32c.h"

#include <stdlib.h>
#include <zlib.h>

/* ---- messages ------------------------------------------------------------ */

/* As broker/request.c has it. */
enum { DECODED_FACTOR = 24, DECODED_EXTRA_BYTES = 1 << 20 };

static void check_again(const struct kafka_desc *d, int16_t version,
                        const void *msg)
{
    struct buf first = BUF_INIT, second = BUF_INIT, text = BUF_INIT,
               text_again = BUF_INIT;
    void *again = xmalloc(d->size_bytes);
    struct arena arena;

    arena_init(&arena, 0);
    ASSERT(kafka_encode(d, version, msg, &first, NULL) == ERR_NONE);
    ASSERT(kafka_decode(d, version, buf_slice(&first), &arena, again) ==
           ERR_NONE);
    ASSERT(kafka_encode(d, version, again, &second, NULL) == ERR_NONE);
    ASSERT(slice_eq(buf_slice(&first), buf_slice(&second)));
    kafka_to_json(d, version, msg, &text);
    kafka_to_json(d, version, again, &text_again);
    ASSERT(slice_eq(buf_slice(&text), buf_slice(&text_again)));
    arena_free(&arena);
    free(again);
    buf_free(&first);
    buf_free(&second);
    buf_free(&text);
    buf_free(&text_again);
}

static void check_other_version(const struct kafka_desc *d, int16_t version,
                                const void *msg)
{
    struct buf out = BUF_INIT;

    buf_put_u8(&out, 1);
    enum err err = kafka_encode(d, version, msg, &out, NULL);
    ASSERT(err == ERR_NONE || out.len == 1);
    buf_free(&out);
}

bool fuzz_message(const struct kafka_desc *d, int16_t version,
                  struct slice body)
{
    void *msg = xmalloc(d->size_bytes);
    struct arena arena;

    arena_init(&arena, body.len * DECODED_FACTOR + DECODED_EXTRA_BYTES);
    bool ok = kafka_decode(d, version, body, &arena, msg) == ERR_NONE;
    if (ok) {
        int16_t other =
            (int16_t)(d->min + (int)(body.len % (size_t)(d->max - d->min + 1)));

        check_again(d, version, msg);
        check_other_version(d, other, msg);
    }
    arena_free(&arena);
    free(msg);
    return ok;
}

/* ---- checksums ----------------------------------------------------------- */

void fix_batches(uint8_t *bytes, size_t len, bool fix_lengths)
{
    while (len >= BATCH_HEADER_BYTES) {
        size_t size =
            (size_t)be32_get(bytes + BATCH_LENGTH_AT) + BATCH_PREFIX_BYTES;

        if (size < BATCH_HEADER_BYTES || size > len) {
            if (!fix_lengths)
                return;
            size = len;
            be32_put(bytes + BATCH_LENGTH_AT,
                     (uint32_t)(len - BATCH_PREFIX_BYTES));
        }
        be32_put(bytes + BATCH_CRC_AT, crc32c(0, bytes + BATCH_ATTRIBUTES_AT,
                                              size - BATCH_ATTRIBUTES_AT));
        bytes += size;
        len -= size;
    }
}

void fix_message_set(uint8_t *bytes, size_t len, bool fix_lengths)
{
    enum { PREFIX = 12, CRC = 4, MIN = 14 };

    while (len >= PREFIX + MIN) {
        size_t size = be32_get(bytes + 8);

        if (size < MIN || size > len - PREFIX) {
            if (!fix_lengths)
                return;
            size = len - PREFIX;
            be32_put(bytes + 8, (uint32_t)size);
        }
        be32_put(bytes + PREFIX,
                 (uint32_t)crc32_z(0, bytes + PREFIX + CRC, size - CRC));
        bytes += PREFIX + size;
        len -= PREFIX + size;
    }
}
