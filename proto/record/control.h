/* Control batches that end a transaction (KIP-98): one record that says how,
 * and which epoch of the coordinator said so.
 *
 * Key: version i16, type i16 (0 abort, 1 commit).  Value: version i16,
 * coordinator epoch i32.  Later versions only add behind that.  Other types are
 * not about transactions. */
#ifndef PROTO_RECORD_CONTROL_H
#define PROTO_RECORD_CONTROL_H

#include "proto/record/batch.h"

struct control_marker {
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t coordinator_epoch;
    bool commit;
};

/* Appends the whole batch to `out`, with base offset 0. */
void control_marker_encode(const struct control_marker *m, int64_t timestamp_ms,
                           struct buf *out);
/* `bytes` is the batch that *b is the header of, its CRC checked.  False when
 * it ends no transaction: another type, or no record left by compaction. */
bool control_marker_decode(struct slice bytes, const struct batch *b,
                           struct control_marker *m);

#endif
