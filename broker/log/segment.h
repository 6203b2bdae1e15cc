/* One segment: a .log file of batches with its two indexes.
 *
 * Only the last segment of a log is appended to.  It keeps its file open once
 * it was used; the others open theirs for each use.  What the segment knows
 * about its indexes and timestamps is loaded on first need (segment_load).
 *
 * Positions fit 31 bits, as the index has it: a segment never grows beyond
 * 2 GiB.
 *
 * Functions that return int: 0 or a negative errno; -EBADMSG means that stored
 * bytes are not what they should be. */
#ifndef BROKER_LOG_SEGMENT_H
#define BROKER_LOG_SEGMENT_H

#include "broker/log/aborted.h"
#include "broker/log/index.h"
#include "broker/log/walk.h"

struct log;

struct segment {
    int64_t base_offset;
    uint32_t size_bytes;   /* of the .log file */
    bool stored;           /* the .log file exists */
    bool loaded;           /* the fields below the line are known */
    bool unsynced;         /* the .log file has bytes no fsync covered */
    struct env_file *file; /* owned reference, or NULL while closed */
    int64_t created_ms;    /* wall clock when first seen; -1 not yet */
    int64_t jitter_ms;     /* drawn once, -1 not yet */
    struct aborted_index aborted;
    /* -- what segment_load() finds out -- */
    int64_t first_timestamp; /* max timestamp of the first batch; -1 none */
    int64_t max_timestamp;   /* -1: no batch has one */
    int64_t max_timestamp_offset; /* last offset of the batch that has it */
    int64_t time_index_last;      /* timestamp of the last time entry, or -1 */
    uint32_t
        unindexed_bytes; /* from the last offset entry's batch to the end */
    int32_t last_epoch;  /* leader epoch of the batch noted last; -1 none */
    int64_t end_offset;  /* behind that batch; base_offset when there is none */
    struct index offsets;
    struct index times;
};

enum {
    SEGMENT_SIZE_MAX = INT32_MAX,
    /* Offsets between the end of one and the first batch of the next; when
     * more are missing the next one begins at that batch (append.c). */
    SEGMENT_GAP_MAX = 1 << 30,
};

/* No files yet. */
void segment_init(struct segment *s, int64_t base_offset);
/* Closes and frees what it holds. */
void segment_free(struct segment *s);

/* A reference to the .log file, opened if needed; it stays open when `keep`. */
int segment_open_file(struct log *log, struct segment *s, bool keep,
                      struct env_file **file);
/* Creates the .log file, empty.  On an error there is none, or the log is
 * failed. */
int segment_create_file(struct log *log, struct segment *s);

/* Makes the part of the struct under the line true: from the indexes and the
 * batches behind their last entries, or from all batches if an index is
 * missing or wrong.  *end_offset (may be NULL) gets the exclusive end.
 * -EBADMSG when the segment doesn't end in a whole batch. */
int segment_load(struct log *log, struct segment *s, int64_t *end_offset);

/* Takes a batch at `position` into timestamps and indexes. */
void segment_note_batch(struct log *log, struct segment *s,
                        const struct batch *b, uint32_t position);
/* The last time entry of a segment that gets no more batches. */
void segment_end_times(struct segment *s);
/* Writes pending index entries. */
int segment_write_indexes(struct log *log, struct segment *s);
/* Before the segment is left for good or the log is closed: adds the last time
 * entry and writes the indexes, so that both files exist. */
int segment_seal(struct log *log, struct segment *s);
/* Makes the indexes anew from the batches, when they were caught lying. */
int segment_rebuild(struct log *log, struct segment *s);
/* Empties both indexes and forgets timestamps, before all batches are noted
 * again. */
int segment_reset_indexes(struct log *log, struct segment *s);

/* Where a batch lies. */
struct segment_place {
    uint32_t position;
    uint32_t size_bytes;
    int64_t base_offset;
    int64_t last_offset;
    int64_t max_timestamp; /* -1 also when found in memory (read.c) */
    int32_t leader_epoch;  /* likewise */
};
/* The first batch whose last offset is >= offset; -ENOENT when there is none.
 */
int segment_find(struct log *log, struct segment *s, int64_t offset,
                 struct segment_place *place);
/* The end of as many whole batches from `place` on as fit max_bytes, roughly:
 * exact to index.interval.bytes.  At least one batch. */
int segment_fit(struct log *log, struct segment *s,
                const struct segment_place *place, uint32_t max_bytes,
                uint32_t *end_position);

/* Cuts the segment at `position`, where a batch begins; offsets from
 * end_offset on are gone.  With an error that passes (log_errno()) it is as
 * before. */
int segment_cut(struct log *log, struct segment *s, uint32_t position,
                int64_t end_offset);

#endif
