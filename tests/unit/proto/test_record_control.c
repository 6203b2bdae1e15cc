/* The control batches that end transactions. */
#include "proto/record/builder.h"
#include "proto/record/control.h"

#include <criterion/criterion.h>

static const struct control_marker marker = {
    .producer_id = 4001,
    .producer_epoch = 7,
    .coordinator_epoch = 11,
    .commit = true,
};

/* Apache Kafka's MemoryRecords.withEndTransactionMarker() writes the same. */
Test(record_control, kafkas_bytes)
{
    static const char wanted[] =
        "0000000000000000" /* base offset */
        "00000042"         /* length */
        "ffffffff"         /* leader epoch */
        "02"               /* magic */
        "........"         /* CRC */
        "0030"             /* transactional, control */
        "00000000"         /* last offset delta */
        "0000018bcfe56800" /* base timestamp */
        "0000018bcfe56800" /* max timestamp */
        "0000000000000fa1" /* producer id */
        "0007"             /* epoch */
        "ffffffff"         /* sequence */
        "00000001"         /* records */
        "20000000"         /* length, attributes, timestamp, offset */
        "0800000001"       /* key: version, commit */
        "0c00000000000b"   /* value: version, coordinator epoch */
        "00";              /* headers */
    struct buf bytes = BUF_INIT, hex = BUF_INIT;
    struct batch b;

    control_marker_encode(&marker, 1700000000000, &bytes);
    cr_assert_eq(batch_parse(buf_slice(&bytes), &b), ERR_NONE);
    cr_assert(batch_crc_ok(buf_slice(&bytes), &b));
    for (size_t i = 0; i < bytes.len; i++)
        buf_printf(&hex, "%02x", bytes.data[i]);
    memset(hex.data + (size_t)BATCH_CRC_AT * 2, '.', 8);
    cr_assert(slice_eq_str(buf_slice(&hex), wanted), "%.*s",
              SLICE_FMT(buf_slice(&hex)));
    buf_free(&hex);
    buf_free(&bytes);
}

Test(record_control, there_and_back)
{
    for (int commit = 0; commit < 2; commit++) {
        struct control_marker in = marker, out;
        struct buf bytes = BUF_INIT;
        struct batch b;

        in.commit = commit != 0;
        control_marker_encode(&in, 5, &bytes);
        cr_assert_eq(batch_parse(buf_slice(&bytes), &b), ERR_NONE);
        cr_assert(control_marker_decode(buf_slice(&bytes), &b, &out));
        cr_assert_eq(out.producer_id, in.producer_id);
        cr_assert_eq(out.producer_epoch, in.producer_epoch);
        cr_assert_eq(out.coordinator_epoch, in.coordinator_epoch);
        cr_assert_eq(out.commit, in.commit);
        buf_free(&bytes);
    }
}

/* ---- what ends nothing --------------------------------------------------- */

struct strange {
    const char *what;
    uint16_t attributes;
    struct slice key, value;
    bool ends;
};

#define BYTES(text)                                                            \
    {                                                                          \
        (const uint8_t *)(text), sizeof(text) - 1                              \
    }

static const struct strange stranges[] = {
    {"as it should be", BATCH_CONTROL, BYTES("\0\0\0\1"), BYTES("\0\0\0\0\0\1"),
     true},
    {"later versions, with more behind", BATCH_CONTROL, BYTES("\0\3\0\1more"),
     BYTES("\0\2\0\0\0\1more"), true},
    {"no control batch", 0, BYTES("\0\0\0\1"), BYTES("\0\0\0\0\0\1"), false},
    {"a leader change", BATCH_CONTROL, BYTES("\0\0\0\2"), BYTES("\0\0\0\0\0\1"),
     false},
    {"a negative version", BATCH_CONTROL, BYTES("\377\377\0\1"),
     BYTES("\0\0\0\0\0\1"), false},
    {"a key cut off", BATCH_CONTROL, BYTES("\0\0\0"), BYTES("\0\0\0\0\0\1"),
     false},
    {"a value cut off", BATCH_CONTROL, BYTES("\0\0\0\1"), BYTES("\0\0\0\0\0"),
     false},
    {"no key", BATCH_CONTROL, {NULL, 0}, BYTES("\0\0\0\0\0\1"), false},
    {"no value", BATCH_CONTROL, BYTES("\0\0\0\1"), {NULL, 0}, false},
};

Test(record_control, what_ends_nothing)
{
    for (size_t i = 0; i < sizeof stranges / sizeof *stranges; i++) {
        const struct strange *s = &stranges[i];
        struct batch_options options = BATCH_OPTIONS_INIT;
        struct buf bytes = BUF_INIT;
        struct batch_builder builder;
        struct control_marker m;
        struct batch b;

        options.producer_id = 1;
        options.producer_epoch = 0;
        options.attributes = s->attributes;
        batch_builder_init(&builder);
        batch_builder_append(&builder, 1, s->key, s->value, NULL, 0);
        batch_builder_finish(&builder, &options, NULL, &bytes);
        batch_builder_free(&builder);
        cr_assert_eq(batch_parse(buf_slice(&bytes), &b), ERR_NONE);
        cr_assert_eq(control_marker_decode(buf_slice(&bytes), &b, &m), s->ends,
                     "%s", s->what);
        buf_free(&bytes);
    }
}

/* Compaction keeps the batch for its producer's sake. */
Test(record_control, one_without_its_record)
{
    struct buf bytes = BUF_INIT;
    struct control_marker m;
    struct batch b;

    control_marker_encode(&marker, 5, &bytes);
    cr_assert_eq(batch_parse(buf_slice(&bytes), &b), ERR_NONE);
    b.size_bytes = BATCH_HEADER_BYTES;
    b.records_count = 0;
    cr_assert_not(control_marker_decode(buf_slice(&bytes), &b, &m));
    buf_free(&bytes);
}
