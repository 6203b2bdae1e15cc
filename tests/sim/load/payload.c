#include "tests/sim/load/payload.h"

#include "base/prng.h"

#include <string.h>

static const uint8_t magic[4] = {'L', 'O', 'A', 'D'};

enum { ALIKE = 16 }; /* bytes in a row: something to compress */

static uint8_t filler(struct history_id id, size_t row)
{
    struct prng p = {(uint64_t)id.number * 31 + (uint64_t)id.producer * 7 +
                     (uint64_t)id.topic + row * 1000003};

    return (uint8_t)prng_next(&p);
}

void payload_put(struct buf *out, struct history_id id, size_t filler_bytes)
{
    buf_put(out, magic, sizeof magic);
    buf_put_u32(out, (uint32_t)id.topic);
    buf_put_u32(out, (uint32_t)id.producer);
    buf_put_u64(out, (uint64_t)id.number);
    uint8_t *at = buf_extend(out, filler_bytes);
    for (size_t i = 0; i < filler_bytes; i += ALIKE)
        memset(at + i, filler(id, i / ALIKE),
               filler_bytes - i < ALIKE ? filler_bytes - i : ALIKE);
}

bool payload_parse(struct slice value, struct history_id *id)
{
    struct reader r = reader_of(value);

    *id = (struct history_id){-1, -1, -1};
    if (!slice_eq(read_bytes(&r, sizeof magic), slice_of(magic, sizeof magic)))
        return false;
    struct history_id got;
    got.topic = read_i32(&r);
    got.producer = read_i32(&r);
    got.number = read_i64(&r);
    if (r.bad)
        return false;
    size_t n = reader_left(&r);
    uint8_t byte = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % ALIKE == 0)
            byte = filler(got, i / ALIKE);
        if (r.at[i] != byte)
            return false;
    }
    *id = got;
    return true;
}
