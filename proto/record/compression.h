/* The four codecs of the record formats, bounded.
 *
 * What is read: gzip (also several members in a row); snappy as Java frames it
 * (xerial: 16-byte header, then blocks with a big-endian length) and bare, as
 * librdkafka and kafka-node send it; lz4 frames; zstd frames.
 * What is written is what the oldest reader of each takes: xerial blocks of
 * 32 KiB for snappy, independent 64 KiB blocks without checksums for lz4.
 *
 * KIP-57: in message sets the lz4 header checksum was computed over the wrong
 * bytes.  With magic 0 and 1 any header checksum is accepted; with magic 0 the
 * wrong one is written, because that is what clients of that age expect. */
#ifndef PROTO_RECORD_COMPRESSION_H
#define PROTO_RECORD_COMPRESSION_H

#include "base/error.h"
#include "base/slice.h"
#include "proto/record/batch.h"

#include <limits.h>

enum {
    /* A bound for what one batch may expand to, above any honest one:
     * socket.request.max.bytes is 100 MiB by default. */
    CODEC_LIMIT_BYTES = 128 * 1024 * 1024,
    /* "The codec's default" as a level. */
    CODEC_LEVEL_DEFAULT = INT_MIN,
};

/* The libraries' contexts, made at first use and kept while they are small.
 * One thread at a time; any number of them. */
struct codec;
struct codec *codec_new(void);
void codec_free(struct codec *c); /* NULL is fine */

/* Appends what `in` expands to to `out`; COMPRESSION_NONE copies.  `magic` is
 * the format of the batch or message the bytes come from.
 *   ERR_MESSAGE_TOO_LARGE             more than limit_bytes come out
 *   ERR_CORRUPT_MESSAGE               damaged, truncated, or bytes are left
 *   ERR_UNSUPPORTED_COMPRESSION_TYPE  no such codec, or zstd with magic < 2
 * On error `out` is as it was.  Memory follows what really comes out (a few
 * times that, for growing and for windows), never what a header claims. */
enum err codec_decode(struct codec *c, enum compression type, int8_t magic,
                      struct slice in, size_t limit_bytes, struct buf *out);

/* What has come out of it so far, that of attempts that failed included: for
 * whoever has to bound the time that a client takes. */
uint64_t codec_expanded_bytes(const struct codec *c);

/* Appends the compressed form of `in` (below 2 GiB).  `level` as in Kafka's
 * compression.{gzip,lz4,zstd}.level, out of range is brought into it; 9, the
 * default, is lz4's fast mode as it is in Kafka.  `type` must be a codec that
 * `magic` knows. */
void codec_encode(struct codec *c, enum compression type, int level,
                  int8_t magic, struct slice in, struct buf *out);

/* "none", "gzip", ...; "unknown" for others. */
const char *compression_name(enum compression type);

#endif
