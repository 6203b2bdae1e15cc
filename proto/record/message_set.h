/* Message sets, the formats before batch v2: reading, and converting both ways.
 *
 * An entry is offset i64, size i32 (of what follows), crc u32 (CRC-32 of
 * everything after it), magic i8 (0 or 1), attributes i8 (bits 0-2 codec, bit 3
 * LogAppendTime), timestamp i64 (magic 1 only), key length i32 (-1 null) and
 * key, value length i32 (-1 null) and value.  A set is entries in a row, with
 * no count (KIP-31, KIP-32).
 *
 * A compressed set is the value of one entry, the wrapper, one level deep. With
 * magic 0 the offsets inside are absolute.  With magic 1 they are relative: the
 * wrapper's own offset is that of the last one inside, and under LogAppendTime
 * its timestamp is that of all of them.
 *
 * Old producers send these in Produce 0 to 2 and old consumers want them from
 * Fetch 0 and 1 (magic 0), 2 and 3 (magic 1); the log holds batches v2 only. */
#ifndef PROTO_RECORD_MESSAGE_SET_H
#define PROTO_RECORD_MESSAGE_SET_H

#include "base/arena.h"
#include "proto/record/record.h"

/* ---- reading ------------------------------------------------------------- */

/* Slices point into the set or into the reader's scratch buffer, and live until
 * the next call of message_set_next(). */
struct message {
    int64_t offset;
    int64_t timestamp; /* ms; -1 with magic 0 */
    int8_t magic;
    bool append_time;   /* the timestamp is a broker's */
    struct slice key;   /* may be null */
    struct slice value; /* may be null */
};

struct message_set_reader {
    struct codec *codec;
    struct buf *scratch; /* what the wrapper being read expands to */
    size_t limit_bytes;  /* that wrappers may still expand to, together */
    struct reader outer;
    struct reader inner; /* empty outside a wrapper */
    int64_t shift;       /* from an offset inside the wrapper to the real one */
    int64_t append_time_ms; /* of the wrapper, if wrapper_append_time */
    bool wrapper_append_time;
    enum compression compression; /* of the last wrapper seen */
    enum err err;                 /* why message_set_next() said false */
    const char *why;              /* static; "" for ERR_NONE */
};

void message_set_open(struct message_set_reader *r, struct codec *codec,
                      struct slice set, size_t limit_bytes,
                      struct buf *scratch);

/* The next message, those in wrappers one by one; false at the end and on an
 * error: look at r->err.
 *   ERR_CORRUPT_MESSAGE  CRC, sizes, a cut-off entry, magic above 1, a wrapper
 *                        that does not decompress
 *   ERR_INVALID_RECORD   a wrapper in a wrapper, an empty wrapper
 *   ERR_MESSAGE_TOO_LARGE, ERR_UNSUPPORTED_COMPRESSION_TYPE */
bool message_set_next(struct message_set_reader *r, struct message *m);

/* ---- up ------------------------------------------------------------------ */

struct message_set_up {
    struct record_rules rules;
    bool append_time; /* the topic's timestamps are ours */
    int64_t append_time_ms;
    bool keep_compression; /* compression.type=producer: the set's own codec */
    enum compression compression; /* otherwise */
    int level;
    size_t limit_bytes; /* for what wrappers expand to */
};

/* Appends one batch v2 with all messages of `set` to `out`: base offset 0,
 * offsets 0 to n-1 in the order of the set whatever it says itself (kafka-node
 * sends zeros), no producer id, no headers.  Magic 0 has no timestamps: -1.
 * An empty set appends nothing.
 * Errors: message_set_next()'s, ERR_INVALID_TIMESTAMP for a producer that sets
 * LogAppendTime, and those of the rules, with faults in the report; report->why
 * says which.  On error `out` is as it was. */
enum err message_set_up(struct codec *codec, struct slice set,
                        const struct message_set_up *how, struct arena *arena,
                        struct buf *out, struct record_report *report);

/* ---- down ---------------------------------------------------------------- */

struct message_set_down {
    int8_t magic;         /* 0 or 1 */
    int64_t first_offset; /* records before it are left out */
    size_t max_bytes;     /* of output; the first message may pass it */
    size_t limit_bytes;   /* for what one batch expands to */
    size_t total_bytes;   /* of what has come out of compressed batches: then no
                             other batch is begun, once there is a message */
};

/* Appends the records of `batches` to `out` as messages, keeping offsets.
 * Timestamps are lost with magic 0; headers, producer ids and control batches
 * always; aborted records stay visible, as such clients expect.  Compressed
 * batches become one wrapper each.
 *
 * Whole batches are converted while they fit max_bytes; *consumed says how many
 * bytes of input they took.  A batch cut off at the end is left alone.  The
 * first that yields anything is converted whatever its size; an old client is
 * sent its first max_bytes and understands a message that is cut off.
 * ERR_NONE with nothing appended: only control batches or a cut-off batch.
 *
 * Errors concern the first batch that yields anything (later ones end the
 * conversion, and the next call meets them): ERR_UNSUPPORTED_COMPRESSION_TYPE
 * for zstd, and what the records are damaged with. */
enum err message_set_down(struct codec *codec, struct slice batches,
                          const struct message_set_down *how, struct buf *out,
                          size_t *consumed);

/* Appends the start of a message that is larger than `max_bytes`, 12 bytes or
 * more, so that an old client says "message too large" instead of fetching the
 * same nothing again. */
void message_set_put_overflow(struct buf *out, uint32_t max_bytes);

#endif
