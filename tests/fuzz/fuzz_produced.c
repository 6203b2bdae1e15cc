/* What a Produce request carries for one partition: two bytes of rules, then
 * batches or a message set.  What is taken must be what everybody can read. */
#include "tests/fuzz/records_kit.h"

#include "proto/record/produced.h"

#include <stdlib.h>

enum { NOW_MS = 1000 };

static struct produced_rules rules_of(uint8_t a, uint8_t b)
{
    return (struct produced_rules){
        .api_version = (int16_t)((a & 3) == 0 ? 2 : 6 + (a & 3)),
        .max_message_bytes = (a & 4) != 0 ? 1 << 20 : 300,
        .keep_compression = (a & 8) != 0,
        .compression = (enum compression)((b & 7) % 5),
        .level = CODEC_LEVEL_DEFAULT,
        .append_time = (a & 0x10) != 0,
        .now_ms = NOW_MS,
        .before_max_ms = (b & 8) != 0 ? 500 : INT64_MAX,
        .after_max_ms = (b & 0x10) != 0 ? 3600000 : INT64_MAX,
        .key_required = (b & 0x20) != 0,
        .deep = (b & 0x40) != 0,
        .limit_bytes = FUZZ_LIMIT_BYTES,
    };
}

static void fix(uint8_t *bytes, size_t len)
{
    if (len > BATCH_MAGIC_AT && bytes[BATCH_MAGIC_AT] == 2)
        fix_batches(bytes, len, true);
    else
        fix_message_set(bytes, len, true);
}

static void check_taken(const struct produced_rules *rules, struct produced *p)
{
    struct slice bytes = slice_of(p->bytes, p->batch.size_bytes);

    ASSERT(p->batch.base_offset == 0);
    ASSERT(p->batch.size_bytes <= (size_t)rules->max_message_bytes);
    ASSERT(batch_crc_ok(bytes, &p->batch));
    ASSERT(p->batch.records_count == p->batch.last_offset_delta + 1);
    ASSERT((p->batch.attributes & BATCH_CONTROL) == 0);
    ASSERT(((p->batch.attributes & BATCH_LOG_APPEND_TIME) != 0) ==
           rules->append_time);
    int records = fuzz_read_batch(bytes, &p->batch);
    ASSERT(records == -1 || records == p->batch.records_count);
    /* Nobody has looked into a compressed batch unless asked to. */
    bool looked =
        rules->deep || batch_compression(&p->batch) == COMPRESSION_NONE;
    ASSERT(records != -1 || !looked);
    batch_patch(p->bytes, 5000, 3);
    ASSERT(batch_parse(bytes, &p->batch) == ERR_NONE &&
           batch_crc_ok(bytes, &p->batch));
    fuzz_convert_down(bytes, &p->batch, looked ? records : -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    uint8_t a = read_u8(&r), b = read_u8(&r);
    struct produced_rules rules = rules_of(a, b);
    struct slice in = take_rest(&r);
    struct buf scratch = BUF_INIT, out = BUF_INIT;
    struct arena arena;
    struct produced p;

    uint8_t *bytes = xmalloc(in.len + 1);
    memcpy(bytes, in.data, in.len);
    bytes = xrealloc(bytes, in.len != 0 ? in.len : 1);
    if ((a & 0x20) == 0)
        fix(bytes, in.len);
    arena_init(&arena, 1 << 16);
    enum err err = produced_prepare(fuzz_codec(), bytes, in.len, &rules,
                                    &scratch, &arena, &out, &p);
    ASSERT(err == ERR_NONE || p.report.why[0] != '\0');
    if (err == ERR_NONE && in.len != 0 && p.batch.size_bytes != 0)
        check_taken(&rules, &p);
    arena_free(&arena);
    buf_free(&scratch);
    buf_free(&out);
    free(bytes);
    return 0;
}
