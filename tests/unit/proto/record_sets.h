/* What the tests of message sets share: sets made by hand, and listings that
 * make two sides of a conversion comparable. */
#ifndef TESTS_UNIT_PROTO_RECORD_SETS_H
#define TESTS_UNIT_PROTO_RECORD_SETS_H

#include "proto/record/message_set.h"
#include "tests/unit/proto/record_fixtures.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <zlib.h>

enum { LIMIT = 1 << 20 };

static struct codec *codec;
static struct buf scratch;
static struct buf out;
static struct buf text; /* the last listing */

static void set_up(void)
{
    codec = codec_new();
    scratch = BUF_INIT;
    out = BUF_INIT;
    text = BUF_INIT;
}

static void tear_down(void)
{
    codec_free(codec);
    buf_free(&scratch);
    buf_free(&out);
    buf_free(&text);
}

/* ---- fixtures by hand ---------------------------------------------------- */

struct entry {
    int64_t offset;
    int8_t magic;
    int attributes;
    int64_t timestamp;
    struct slice key;
    struct slice value;
};

static void put_field(struct buf *b, struct slice s)
{
    buf_put_u32(b, slice_is_null(s) ? UINT32_MAX : (uint32_t)s.len);
    buf_put_slice(b, s);
}

static inline void put_entry(struct buf *b, struct entry e)
{
    struct buf body = BUF_INIT;

    buf_put_u8(&body, (uint8_t)e.magic);
    buf_put_u8(&body, (uint8_t)e.attributes);
    if (e.magic == 1)
        buf_put_u64(&body, (uint64_t)e.timestamp);
    put_field(&body, e.key);
    put_field(&body, e.value);
    buf_put_u64(b, (uint64_t)e.offset);
    buf_put_u32(b, (uint32_t)body.len + 4);
    buf_put_u32(b, (uint32_t)crc32_z(0, body.data, body.len));
    buf_put_slice(b, buf_slice(&body));
    buf_free(&body);
}

/* Wraps `inside`, which is freed. */
static inline void put_wrapper(struct buf *b, int8_t magic,
                               enum compression type, int64_t offset,
                               struct buf *inside)
{
    struct buf value = BUF_INIT;

    codec_encode(codec, type, 1, magic, buf_slice(inside), &value);
    put_entry(b, (struct entry){offset, magic, (int)type, 5, SLICE_NULL,
                                buf_slice(&value)});
    buf_free(&value);
    buf_free(inside);
}

/* ---- listings ------------------------------------------------------------ */

static void put_nullable(struct slice s)
{
    buf_put_slice(&text, slice_is_null(s) ? SLICE("null") : s);
}

/* "offset@timestamp key=value", with a ! behind a broker's timestamp. */
static void put_line(int64_t offset, int64_t timestamp, bool append_time,
                     struct slice key, struct slice value)
{
    buf_printf(&text, "%lld@%lld%s ", (long long)offset, (long long)timestamp,
               append_time ? "!" : "");
    put_nullable(key);
    buf_put_slice(&text, SLICE("="));
    put_nullable(value);
    buf_put_slice(&text, SLICE("\n"));
}

/* A line for each message, then the error's name if there is one. */
static inline const char *listing(struct slice set, size_t limit)
{
    struct message_set_reader r;
    struct message m;

    text.len = 0;
    message_set_open(&r, codec, set, limit, &scratch);
    while (message_set_next(&r, &m))
        put_line(m.offset, m.timestamp, m.append_time, m.key, m.value);
    if (r.err != ERR_NONE)
        buf_printf(&text, "%s", err_name(r.err));
    buf_put_u8(&text, 0);
    return (const char *)text.data;
}

#define expect_listing(set, wanted)                                            \
    cr_assert_str_eq(listing(set, LIMIT), wanted)

/* The same for batches v2. */
static inline const char *batch_listing(struct slice bytes)
{
    struct record_reader r;
    struct record m;
    struct batch b;

    text.len = 0;
    for (; bytes.len != 0;
         bytes.data += b.size_bytes, bytes.len -= b.size_bytes) {
        cr_assert_eq(batch_parse(bytes, &b), ERR_NONE);
        cr_assert(batch_crc_ok(bytes, &b));
        cr_assert_eq(record_open(&r, codec, bytes, &b, LIMIT, &scratch),
                     ERR_NONE);
        while (record_next(&r, &m))
            put_line(m.offset, m.timestamp,
                     (b.attributes & BATCH_LOG_APPEND_TIME) != 0, m.key,
                     m.value);
        cr_assert_eq(r.err, ERR_NONE);
    }
    buf_put_u8(&text, 0);
    return (const char *)text.data;
}

static const char magic1_listing[] = "0@1700000000000 key-0=value-0\n"
                                     "1@1700000000500 null=value-1\n"
                                     "2@1700000000200 key-2=null\n";
static const char magic0_listing[] = "0@-1 key-0=value-0\n"
                                     "1@-1 null=value-1\n"
                                     "2@-1 key-2=null\n";

/* Magic 1 in the four codecs in order, then magic 0. */
static const struct slice sets[] = {
    {fixture_v1_none, sizeof fixture_v1_none},
    {fixture_v1_gzip, sizeof fixture_v1_gzip},
    {fixture_v1_snappy, sizeof fixture_v1_snappy},
    {fixture_v1_lz4, sizeof fixture_v1_lz4},
    {fixture_v0_none, sizeof fixture_v0_none},
    {fixture_v0_gzip, sizeof fixture_v0_gzip},
    {fixture_v0_snappy, sizeof fixture_v0_snappy},
    {fixture_v0_lz4, sizeof fixture_v0_lz4},
};

#endif
