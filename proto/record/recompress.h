/* A batch with the same records in another codec (topic's compression.type).
 *
 * The records' bytes do not depend on the codec, so they are expanded and
 * packed again without being looked at; the header keeps all it says but size,
 * codec and CRC.  Offsets and timestamps are patched afterwards as on any other
 * batch: batch_patch(), batch_patch_append_time(). */
#ifndef PROTO_RECORD_RECOMPRESS_H
#define PROTO_RECORD_RECOMPRESS_H

#include "proto/record/batch.h"
#include "proto/record/compression.h"

/* Appends to `out`.  `scratch` is used for the expanded records.  Control
 * batches are never compressed: they are copied.
 * Errors: codec_decode()'s.  On error `out` is as it was. */
enum err batch_recompress(struct codec *codec, struct slice bytes,
                          const struct batch *b, enum compression to, int level,
                          size_t limit_bytes, struct buf *scratch,
                          struct buf *out);

/* The second half of it, for those who have the expanded records at hand. */
void batch_pack(struct codec *codec, const struct batch *b,
                struct slice records, enum compression to, int level,
                struct buf *out);

#endif
