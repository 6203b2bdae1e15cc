#include "tests/sim/load/payload.h"

#include "base/prng.h"

static const uint8_t magic[4] = {'L', 'O', 'A', 'D'};

static uint8_t filler(struct history_id id, size_t i)
{
    struct prng p = {(uint64_t)id.number * 31 + (uint64_t)id.producer * 7 +
                     (uint64_t)id.topic + (i / 16) * 1000003};

    /* Sixteen alike in a row: something to compress. */
    return (uint8_t)prng_next(&p);
}

void payload_put(struct buf *out, struct history_id id, size_t filler_bytes)
{
    buf_put(out, magic, sizeof magic);
    buf_put_u32(out, (uint32_t)id.topic);
    buf_put_u32(out, (uint32_t)id.producer);
    buf_put_u64(out, (uint64_t)id.number);
    for (size_t i = 0; i < filler_bytes; i++)
        buf_put_u8(out, filler(id, i));
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
    for (size_t i = 0; i < n; i++)
        if (r.at[i] != filler(got, i))
            return false;
    *id = got;
    return true;
}
