/* Where a group begins that has not been anywhere: share.auto.offset.reset
 * (KIP-932; by_duration: KIP-1106).  Pure. */
#ifndef CONTROLLER_SHARE_RESET_H
#define CONTROLLER_SHARE_RESET_H

#include "base/slice.h"

struct share_reset {
    enum {
        SHARE_RESET_LATEST,
        SHARE_RESET_EARLIEST,
        SHARE_RESET_BY_DURATION,
    } kind;
    int64_t duration_ms; /* BY_DURATION: so far back */
};

/* "latest", "earliest" or "by_duration:P2DT3H4M5.6S".  False: none of them, a
 * negative duration, or one that exceeds 2^63 ms. */
bool share_reset_parse(struct slice text, struct share_reset *reset);
/* What to ask ListOffsets for: -1 the end, -2 the start, else a time.  If no
 * record is that young, the group begins at the end. */
int64_t share_reset_timestamp(const struct share_reset *reset, int64_t wall_ms);

#endif
