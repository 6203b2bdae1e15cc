/* .txnindex: the aborted transactions of a segment, those whose marker lies in
 * it, by rising offset of the marker.  For the log's own files; others go by
 * log_note_aborted() and log_aborted_in().
 *
 * Kafka's layout, 34 bytes each: version i16 = 0, producer id i64, first offset
 * i64, offset of the marker i64, last stable offset i64.
 *
 * Entries lie in memory until there are many or the log is synced.  All below
 * the recovery point are on disk: nothing tells that one is missing.  Those of
 * the segment where the recovery point lies, and behind it, are noted again
 * after a crash, as its batches are read (log_aborted_known()).  A segment
 * without an aborted transaction has no file.
 */
#ifndef BROKER_LOG_ABORTED_H
#define BROKER_LOG_ABORTED_H

#include "base/env.h"
#include "base/slice.h"

#include <stdint.h>

struct log;
struct segment;

enum { ABORTED_BYTES = 34 };

struct aborted_index {
    bool exists;          /* the file does */
    bool stale;           /* and counts for nothing, see aborted_doubt() */
    bool unsynced;        /* it has bytes no fsync covered */
    uint32_t stored;      /* entries in it */
    struct buf unwritten; /* owned; entries behind them */
    int64_t last_offset;  /* of the newest entry's marker; -1 none */
};

/* Takes the file of a segment that ends at end_offset as it is.  -EBADMSG when
 * it cannot be right. */
int aborted_open(struct log *log, struct segment *s, int64_t end_offset);
/* Removes the file. */
int aborted_reset(struct log *log, struct segment *s);
/* What the file says does not count; when all is known again (see
 * log_aborted_all_known()) what was noted takes its place, as a whole and
 * synced.  Until then it stays: below the recovery point nobody would miss it,
 * if the process ended in between. */
void aborted_doubt(struct segment *s);
/* Forgets entries whose marker is at end_offset or above. */
int aborted_cut(struct log *log, struct segment *s, int64_t end_offset);
/* Writes what is in memory, unless it may be a part only. */
int aborted_write(struct log *log, struct segment *s);

/* ---- for cleaning (clean.h): struct log_aborted in a buffer ---------------*/

/* Appends those of the segments from the i-th on that began below `to`. */
int aborted_below(struct log *log, uint32_t i, int64_t to, struct buf *out);
/* Appends all of a file.  [helper] */
int aborted_load(struct env *env, const char *path, struct buf *out);
/* Makes a file of them.  [helper] */
int aborted_save(struct env *env, const char *path, struct slice entries);
/* The file of the segment was replaced by these; none: it has no file. */
void aborted_replaced(struct segment *s, struct slice entries);

#endif
