#include "tests/fuzz/records_kit.h"

#include "proto/record/recompress.h"

struct codec *fuzz_codec(void)
{
    static struct codec *codec;

    if (codec == NULL)
        codec = codec_new();
    return codec;
}

static void read_headers(const struct record *record)
{
    struct slice headers = record->headers;
    struct record_header header;
    int32_t n = 0;

    while (record_header_next(&headers, &header)) {
        ASSERT(!slice_is_null(header.key));
        n++;
    }
    ASSERT(n == record->headers_count && headers.len == 0);
}

/* -1 as an offset means that there is none, so records that say so themselves
 * cannot be found. */
static void search(struct slice bytes, const struct batch *b, int records,
                   bool below_zero)
{
    struct buf scratch = BUF_INIT;
    struct record_position found;
    enum err err = record_find_max_timestamp(
        fuzz_codec(), bytes, b, FUZZ_LIMIT_BYTES, &scratch, &found);

    ASSERT((err == ERR_NONE) == (records >= 0));
    if (err == ERR_NONE && found.offset != -1) {
        int64_t greatest = found.timestamp;

        ASSERT(record_find_timestamp(fuzz_codec(), bytes, b, greatest,
                                     INT64_MIN, FUZZ_LIMIT_BYTES, &scratch,
                                     &found) == ERR_NONE);
        ASSERT(found.offset == -1 || found.timestamp == greatest);
        ASSERT(found.offset != -1 || below_zero);
    }
    buf_free(&scratch);
}

static void repack(struct slice bytes, const struct batch *b, int records)
{
    enum compression to = (enum compression)(b->records_count & 3);
    struct buf scratch = BUF_INIT, out = BUF_INIT;
    struct batch again;
    struct record_reader r;
    struct record record;
    int n = 0;

    if (batch_recompress(fuzz_codec(), bytes, b, to, CODEC_LEVEL_DEFAULT,
                         FUZZ_LIMIT_BYTES, &scratch, &out) == ERR_NONE &&
        records >= 0) {
        ASSERT(batch_parse(buf_slice(&out), &again) == ERR_NONE);
        ASSERT(again.size_bytes == out.len);
        ASSERT((b->attributes & BATCH_CONTROL) != 0 ||
               batch_crc_ok(buf_slice(&out), &again));
        ASSERT(record_open(&r, fuzz_codec(), buf_slice(&out), &again,
                           FUZZ_LIMIT_BYTES, &scratch) == ERR_NONE);
        while (record_next(&r, &record))
            n++;
        ASSERT(r.err == ERR_NONE && n == records);
    }
    buf_free(&scratch);
    buf_free(&out);
}

int fuzz_read_batch(struct slice bytes, const struct batch *b)
{
    struct buf scratch = BUF_INIT;
    struct record_reader r;
    struct record record;
    bool below_zero = false;
    int n = 0;

    if (record_open(&r, fuzz_codec(), bytes, b, FUZZ_LIMIT_BYTES, &scratch) !=
        ERR_NONE) {
        n = -1;
    } else {
        for (; record_next(&r, &record); n++) {
            read_headers(&record);
            below_zero |= record.offset < 0;
        }
        if (r.err != ERR_NONE)
            n = -1;
    }
    buf_free(&scratch);
    search(bytes, b, n, below_zero);
    repack(bytes, b, n);
    return n;
}

static void read_down(struct slice set, int8_t magic, const struct batch *b,
                      int records)
{
    struct buf scratch = BUF_INIT;
    struct message_set_reader r;
    struct message m;
    int n = 0;

    message_set_open(&r, fuzz_codec(), set, FUZZ_LIMIT_BYTES, &scratch);
    for (; message_set_next(&r, &m); n++) {
        ASSERT(m.magic == magic);
        ASSERT(n > 0 || m.offset == b->base_offset);
    }
    /* A wrapper of many small messages is larger than the batch was. */
    ASSERT(r.err == ERR_NONE ? n == records : r.err == ERR_MESSAGE_TOO_LARGE);
    buf_free(&scratch);
}

void fuzz_convert_down(struct slice bytes, const struct batch *b, int records)
{
    for (int8_t magic = 0; magic <= 1; magic++) {
        struct message_set_down how = {
            .magic = magic,
            .first_offset = b->base_offset,
            .max_bytes = FUZZ_LIMIT_BYTES,
            .limit_bytes = FUZZ_LIMIT_BYTES,
            .total_bytes = FUZZ_LIMIT_BYTES,
        };
        struct buf out = BUF_INIT;
        size_t consumed;

        enum err err =
            message_set_down(fuzz_codec(), bytes, &how, &out, &consumed);
        ASSERT(err == ERR_NONE || out.len == 0);
        if (err == ERR_NONE && records >= 0 && out.len != 0)
            read_down(buf_slice(&out), magic, b, records);
        buf_free(&out);
    }
}
