/* What the fuzz targets share.
 *
 * A target is LLVMFuzzerTestOneInput() in a file fuzz_NAME.c.  It must not look
 * at anything but its input and leave nothing behind; whatever must hold is an
 * ASSERT.  libFuzzer calls it with inputs that it makes up; replay.c with those
 * in corpus/NAME. */
#ifndef TESTS_FUZZ_KIT_H
#define TESTS_FUZZ_KIT_H

#include "base/slice.h"
#include "proto/kafka/codec.h"
#include "proto/record/batch.h"

/* 0, whatever happened. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the next part of an input says; zeros and nothing behind its end. */
static inline struct slice take_rest(struct reader *r)
{
    struct slice rest = read_bytes(r, reader_left(r));

    return slice_is_null(rest) ? SLICE("") : rest;
}

/* A part with its length, u16, before it; the rest if there is less. */
static inline struct slice take_part(struct reader *r)
{
    size_t len = read_u16(r);
    size_t left = reader_left(r);
    struct slice part = read_bytes(r, len < left ? len : left);

    return slice_is_null(part) ? SLICE("") : part;
}

/* Decodes a body as the server does, with its limit on memory.  One that can be
 * decoded is encoded and decoded again, which must give the same content, and
 * is encoded in another version, which must not crash.  True: it could be
 * decoded. */
bool fuzz_message(const struct kafka_desc *d, int16_t version,
                  struct slice body);

/* Puts right, in place, the lengths and checksums of a row of batches v2: what
 * an attacker would do as well.  `fix_lengths`: a batch whose length is
 * impossible is taken to be the last. */
void fix_batches(uint8_t *bytes, size_t len, bool fix_lengths);
/* The same for the entries of a message set; not for those in wrappers. */
void fix_message_set(uint8_t *bytes, size_t len, bool fix_lengths);

#endif
