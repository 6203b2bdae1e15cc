/* Message sets of magic 0 and 1 as old producers send them: a byte of how, then
 * the set.  What is read one by one is what the batch made of it holds. */
#include "tests/fuzz/records_kit.h"

#include <stdlib.h>

static int count_messages(struct slice set, enum err *err)
{
    struct buf scratch = BUF_INIT;
    struct message_set_reader r;
    struct message m;
    int n = 0;

    message_set_open(&r, fuzz_codec(), set, FUZZ_LIMIT_BYTES, &scratch);
    while (message_set_next(&r, &m)) {
        ASSERT(m.magic == 0 || m.magic == 1);
        n++;
    }
    ASSERT((r.err == ERR_NONE) == (r.why[0] == '\0'));
    *err = r.err;
    buf_free(&scratch);
    return n;
}

static void check_up(struct slice set, uint8_t flags, int expected,
                     enum err read)
{
    struct message_set_up how = {
        .rules = RECORD_RULES_NONE,
        .append_time = (flags & 2) != 0,
        .append_time_ms = 1234,
        .keep_compression = (flags & 4) != 0,
        .compression = (enum compression)((flags >> 3) % 5),
        .level = CODEC_LEVEL_DEFAULT,
        .limit_bytes = FUZZ_LIMIT_BYTES,
    };
    struct buf out = BUF_INIT;
    struct record_report report;
    struct arena arena;
    struct batch b;

    arena_init(&arena, 1 << 16);
    enum err err =
        message_set_up(fuzz_codec(), set, &how, &arena, &out, &report);
    if (err != ERR_NONE) {
        ASSERT(out.len == 0 && report.why[0] != '\0');
    } else if (out.len == 0) {
        ASSERT(expected == 0);
    } else {
        ASSERT(read == ERR_NONE);
        ASSERT(batch_parse(buf_slice(&out), &b) == ERR_NONE);
        ASSERT(b.size_bytes == out.len && b.records_count == expected);
        int records = fuzz_read_batch(buf_slice(&out), &b);
        ASSERT(records == expected || records == -1); /* more than the limit */
        fuzz_convert_down(buf_slice(&out), &b, records);
    }
    arena_free(&arena);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    uint8_t flags = read_u8(&r);
    struct slice in = take_rest(&r);
    enum err read;

    uint8_t *bytes = xmalloc(in.len != 0 ? in.len : 1);
    memcpy(bytes, in.data, in.len);
    if ((flags & 1) != 0)
        fix_message_set(bytes, in.len, (flags & 0x80) == 0);
    int n = count_messages(slice_of(bytes, in.len), &read);
    check_up(slice_of(bytes, in.len), flags & 0x7f, n, read);
    free(bytes);
    return 0;
}
