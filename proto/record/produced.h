/* What a Produce request carries for one partition, made ready for the log.
 *
 * produced_prepare() puts the pieces of this folder together in Kafka's order:
 * format against API version, size, CRC and header, records where the topic's
 * rules need them looked at, conversion up or to another codec, size again,
 * timestamps.  On the way that matters, a v2 batch in the topic's codec, the
 * bytes stay where they are: one pass for the CRC and one over the records'
 * frames.
 *
 * The caller then checks sequences, batch_patch()es offset and leader epoch,
 * and appends. */
#ifndef PROTO_RECORD_PRODUCED_H
#define PROTO_RECORD_PRODUCED_H

#include "base/arena.h"
#include "proto/record/record.h"

struct produced_rules {
    int16_t api_version;       /* of the Produce request */
    int32_t max_message_bytes; /* topic's max.message.bytes */

    bool keep_compression;        /* compression.type=producer */
    enum compression compression; /* otherwise; "uncompressed" is NONE */
    int level;                    /* compression.X.level */

    bool append_time; /* message.timestamp.type=LogAppendTime */
    int64_t now_ms;
    int64_t before_max_ms; /* message.timestamp.before.max.ms */
    int64_t after_max_ms;  /* message.timestamp.after.max.ms */

    bool key_required; /* cleanup.policy contains compact */
    /* Expand compressed batches just to see that they are sound.  Kafka does;
     * it costs most of what a broker spends on them. */
    bool deep;
    size_t limit_bytes; /* for what a batch may expand to */
};

struct produced {
    /* One v2 batch, base offset 0: the caller's bytes, or in `out`.  Empty for
     * an empty message set, which is no error up to version 2. */
    uint8_t *bytes;
    struct batch batch;          /* its header; crc as it is now */
    bool converted;              /* bytes lie in `out` */
    struct record_report report; /* faults and, always, why */
};

/* `bytes` is patched in place if need be.  `scratch` and `out` are emptied
 * first; `arena` takes the list of faults.
 *   ERR_INVALID_RECORD  not exactly one batch, magic below 2 from version 3 on,
 *                       header or records against the rules
 *   ERR_CORRUPT_MESSAGE, ERR_MESSAGE_TOO_LARGE, ERR_INVALID_TIMESTAMP
 *   ERR_UNSUPPORTED_COMPRESSION_TYPE  also for zstd before version 7
 * (Magic 2 before version 3 is accepted, as Kafka accepts it.) */
enum err produced_prepare(struct codec *codec, uint8_t *bytes, size_t len,
                          const struct produced_rules *rules,
                          struct buf *scratch, struct arena *arena,
                          struct buf *out, struct produced *p);

#endif
