/* Compaction of one log: the last record of each key survives (KIP-58, KIP-280,
 * KIP-354, KIP-534; Kafka's "log cleaner").
 *
 * Whole segments below the active one are cleaned, those whose offsets are all
 * below the last stable offset and the recovery point, and whose records are
 * all older than min.compaction.lag.ms.  What earlier rounds have cleaned ends
 * at the first dirty offset, which the caller remembers.  One round:
 *
 *   learn  which transactions were aborted (clean_txn.h)
 *   map    the dirty batches are read, the map gets the last offset of each key
 *          (clean_map.h); if it is full the round ends there
 *   copy   all segments up to there are written anew, without the records that
 *          clean_batch.h lets go; neighbours that are small together become one
 *   sync   BASE.log.cleaned and its indexes are on disk
 *   swap   a .txnindex with fewer entries takes its place: both the old and the
 *          new log are right with it; .cleaned becomes .swap, the old files
 * .deleted, .swap the real name
 *
 * and so on with the next group of segments, until the directory is synced.
 *
 * What never changes: the log's end; base and last offset of each batch that
 * stays; where a segment ends, as its last batch stays, emptied if need be; the
 * list of leader epochs, as the first batch of each stays, likewise; and the
 * last batch of each producer, whose sequence number is in it, or its markers
 * of that epoch if it has none.
 *
 * Failures: until BASE.log.swap is there nothing has happened, and what is
 * found ending in .cleaned is removed at the next opening.  From then on the
 * opening finishes the swap (clean_recover()).  A log that is truncated, loses
 * segments or is closed meanwhile has the cleaning give up.  Damaged batches
 * and an I/O error end it; the log is as before.
 *
 * Memory: the map, an entry for each aborted transaction, two buffers of
 * io_bytes or one batch, and what a compressed batch expands to; all of it only
 * while a round runs. */
#ifndef BROKER_LOG_CLEAN_H
#define BROKER_LOG_CLEAN_H

#include "broker/log/log.h"

/* What there is to clean.  Owner's thread. */
struct log_dirt {
    int64_t from; /* first dirty offset */
    int64_t to;   /* exclusive, where a segment begins */
    int64_t clean_bytes;
    int64_t dirty_bytes; /* of segments up to `to`; 0: nothing can be done */
    /* Of the records behind `from`, in segments that are not appended to any
     * more: the earliest time (wall clock); INT64_MAX none. */
    int64_t since_ms;
    bool behind; /* there are more such segments: later they may be cleaned */
};

void log_dirt(struct log *log, int64_t first_dirty, int64_t last_stable,
              int64_t now_wall_ms, struct log_dirt *dirt);
/* Dirty bytes among all of them, 0 to 1. */
double log_dirt_ratio(const struct log_dirt *dirt);
/* By min.cleanable.dirty.ratio or max.compaction.lag.ms. */
bool log_dirt_is_due(const struct log *log, const struct log_dirt *dirt,
                     int64_t now_wall_ms);

/* A producer that is known, as the log's end has it. */
struct clean_producer {
    int64_t id;
    int64_t last_offset; /* of its last batch in that epoch; -1 none */
    int16_t epoch;
};

struct log_clean_options {
    int64_t now_wall_ms;
    uint64_t map_bytes; /* log.cleaner.dedupe.buffer.size */
    double map_load_factor;
    size_t io_bytes;                        /* log.cleaner.io.buffer.size */
    const struct clean_producer *producers; /* in any order; copied */
    size_t producers_len;
};

struct log_clean;

/* Owner's thread, dirt->dirty_bytes > 0; one at a time for each log. */
struct log_clean *log_clean_begin(struct log *log, const struct log_dirt *dirt,
                                  const struct log_clean_options *options);

enum log_clean_next {
    LOG_CLEAN_STEP, /* call log_clean_step() again */
    LOG_CLEAN_SWAP, /* call log_clean_swap(), then log_clean_step() */
    LOG_CLEAN_DONE,
    LOG_CLEAN_ABORTED, /* given up: the log changed */
    LOG_CLEAN_FAILED,  /* see log_clean_error() */
};

/* A bounded piece of work: about io_bytes are read or written, or one file is
 * synced.  [helper], one call at a time; the log goes on meanwhile.  To be
 * called until one of the last three, which have removed what was not
 * finished. */
enum log_clean_next log_clean_step(struct log_clean *c);
/* Owner's thread, no step running. */
void log_clean_swap(struct log_clean *c);
/* The step in progress and later ones end soon.  Any thread. */
void log_clean_abort(struct log_clean *c);

/* Bytes read and written by the last step. */
size_t log_clean_step_bytes(const struct log_clean *c);
/* ERR_DAMAGED, ERR_IO, ERR_FULL, or ERR_TOO_LARGE: one batch has more keys than
 * the map can hold.  *why is a phrase that lives as long as `c`. */
enum err log_clean_error(const struct log_clean *c, const char **why);

struct log_clean_result {
    int64_t first_dirty; /* when LOG_CLEAN_DONE: everything below is clean; -1
                            if the log was cut since */
    int64_t read_bytes;  /* of what was copied */
    int64_t kept_bytes;
    uint64_t map_bytes;
};
/* Owner's thread, no step running; frees. */
void log_clean_end(struct log_clean *c, struct log_clean_result *result);

#endif
