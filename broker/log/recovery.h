/* Between opening (open.c), checking (recovery.c) and keeping damaged bytes
 * (aside.c).  Blocking; no timers, no clock, no randomness.
 *
 * Functions that return int: 0 or a negative errno. */
#ifndef BROKER_LOG_RECOVERY_H
#define BROKER_LOG_RECOVERY_H

#include "broker/log/state.h"

/* What one open works with. */
struct recovery {
    struct log *log;
    struct log_open_report *report;
    int64_t recovery_point;
    int64_t check_from;   /* batches from here on have their CRC checked */
    int64_t unchanged_ms; /* as in log_open() */
    bool clean;           /* as in log_open() */
    bool whole;           /* it was left whole: what is bad is not torn */
    bool point_unknown;   /* LOG_POINT_UNKNOWN */
    bool gap_told;        /* that it was taken for compaction's */
};

/* Walks the segments from `first` on, makes their indexes and leader epochs
 * anew, ends the log at the first bad batch; sets log->end_offset.  -EBADMSG
 * when damage could not be kept aside. */
int recovery_walk(struct recovery *r, uint32_t first);
/* The segment that holds the recovery point; the one before it when that one
 * does not end where it should: truncation had cut it at the recovery point,
 * and a power loss brought the end back. */
int recovery_first(struct recovery *r, uint32_t *first);
/* The first segment that was changed after unchanged_ms, by somebody else than
 * us, or the first of all if they are doubted: 1, with *first lowered to it and
 * check_from set; 0 if there is none. */
int recovery_first_changed(struct recovery *r, uint32_t *first);
/* Removes segments without batches that begin inside of the one before: readers
 * would pass over what that one has from there on.  1 when such a one cannot be
 * told from damage, with *first the index of the one before and check_from set;
 * 0 otherwise.  Reads nothing where no segment is empty; what is to be walked
 * after a crash is left to that. */
int recovery_drop_hiding(struct recovery *r, uint32_t *first);
/* Takes a batch's leader epoch into the cache. */
void recovery_note_epoch(struct log *log, const struct batch *b);

/* Copies a segment from `position` on into a file of its own, on disk when this
 * returns. */
int aside_keep_rest(struct log *log, struct segment *s, int64_t position);
/* Takes the segments from n on out of the log: their batches are kept in files
 * ending in .damaged, or unlinked. */
int aside_remove_segments(struct log *log, uint32_t n, bool keep);
/* Takes segment i, which has no batches, out of the log. */
int aside_remove_empty(struct log *log, uint32_t i);
/* Unlinks segments wholly below the start offset: they were deleted, but a
 * power loss may have brought their files back. */
int aside_remove_below(struct log *log, int64_t start_offset);
/* What the files ending in .damaged say of records that the log has lost:
 * report->lost_until and lost_epoch. */
int aside_measure(struct log *log, struct log_open_report *report);

#endif
