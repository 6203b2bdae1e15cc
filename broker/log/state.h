/* struct log and what its files share.  Not for other folders. */
#ifndef BROKER_LOG_STATE_H
#define BROKER_LOG_STATE_H

#include "broker/log/epoch_cache.h"
#include "broker/log/log.h"
#include "broker/log/segment.h"
#include "broker/log/tail.h"

#include <limits.h>

/* Why something is put aside, see aside.c. */
enum aside_kind { ASIDE_DAMAGED, ASIDE_TORN, ASIDE_UNSYNCED };

struct log {
    struct env *env;
    char *path; /* owned; of the directory */
    struct uuid topic_id;
    struct log_config config;

    struct segment *segments; /* owned; by base offset, at least one */
    uint32_t segments_len;
    uint32_t segments_cap;
    struct tail tail; /* newest batches of the last segment */
    struct epoch_cache epochs;

    int64_t start_offset;
    int64_t end_offset;
    int64_t synced_offset;     /* <= end_offset */
    int64_t recovery_point;    /* <= synced_offset */
    int64_t aborted_known;     /* see log_aborted_known() */
    int64_t size_bytes;        /* of all .log files */
    int64_t unsynced_since_ms; /* env_now_ms() of the oldest; -1 none */

    bool failed;
    bool disk_failed;           /* see log_disk_failed() */
    bool has_metadata;          /* partition.metadata is written */
    bool dir_changed;           /* entries no directory sync has covered */
    bool is_new;                /* the directory itself may be such an entry */
    bool epochs_unsynced;       /* the checkpoint was written, not synced */
    enum aside_kind aside_kind; /* of what is put aside now */
    bool cut_unsynced;          /* see log_sync_cut() */
    bool metadata_unsynced; /* so was partition.metadata, which may be written
                               after the first flush */
    bool closed;            /* the owner is gone; freed by the last flush */

    struct list flushes;     /* struct log_flush, under way */
    struct list doomed;      /* struct doomed, waiting for their delay */
    struct log_clean *clean; /* under way, or NULL; its owner's (clean.h) */
};

static inline struct segment *log_active(struct log *log)
{
    return &log->segments[log->segments_len - 1];
}

/* The log is failed from here on; says so. */
enum err log_fail(struct log *log, int negative_errno, const char *what);
/* As log_errno(), and remembers what it says of the disk. */
enum err log_refused(struct log *log, int negative_errno);

/* "PATH/00000000000000000042SUFFIX"; returns `text`. */
char *log_file_path(const struct log *log, int64_t base_offset,
                    const char *suffix, char text[static PATH_MAX]);

/* "00000000000000000042.SUFFIX" -> 42 and ".SUFFIX", or -1. */
int64_t log_base_of_name(const char *name, const char **suffix);

/* What was cut off is not to come back after a power loss behind something
 * shorter: before anything is appended that is on disk. */
int log_sync_cut(struct log *log);

/* Replaces a small file whole, without syncing it. */
int log_write_small(struct log *log, const char *name, struct slice data);
/* Writes partition.metadata unless it is there. */
int log_write_metadata(struct log *log);
/* Writes the checkpoint if it lags; a failure is kept for the next time. */
int log_write_epochs(struct log *log);

/* Index of the last segment with base offset <= offset; the first if none. */
uint32_t log_segment_of(const struct log *log, int64_t offset);
/* A new last segment, without files. */
struct segment *log_push_segment(struct log *log, int64_t base_offset);
/* Seals the active segment and starts another at base_offset, whose file
 * exists when this returns ERR_NONE. */
enum err log_roll(struct log *log, int64_t base_offset, int64_t now_wall_ms);

/* Takes the segments from `from` on out of the log, the last one first; their
 * files are renamed to .deleted at once and unlinked after the delay, or
 * unlinked at once where there is no room for the longer name.  Negative errno:
 * one could not be removed, and that one and those before it stay; the log must
 * not go on.  (retention.c) */
int log_drop_from(struct log *log, uint32_t from);
/* The same with the first n, the first one first, which the start offset has
 * left behind: how many are gone.  The rest may be dropped later. */
uint32_t log_drop_first(struct log *log, uint32_t n);
/* Puts `fresh`, whose files end in .swap, in the place of segments
 * [from, from + n); takes over its memory.  The old files go as above.  A
 * negative errno in the middle of it: the log must be opened again.
 * (clean_swap.c) */
int log_replace_segments(struct log *log, uint32_t from, uint32_t n,
                         struct segment *fresh);
/* The .log file and the indexes of a segment that is replaced; other files of
 * its name stay.  Negative errno: some of these did, too. */
int log_doom_replaced(struct log *log, const struct segment *old, uint32_t n);
/* Segments that begin below end_offset stay as they are, or a cleaning under
 * way has to give up. */
void log_clean_cut(struct log *log, int64_t end_offset);
/* The log is closed: a cleaning gives up and knows it no more. */
void log_clean_leave(struct log *log);
/* Finishes or undoes what a crash left of cleanings: files ending in .swap.
 * Blocking. */
int clean_recover(struct log *log, char **names, size_t names_len);
/* Unlinks what still waits. */
void log_bury_doomed(struct log *log);

/* The log was cut at end_offset: flushes under way cover less.  (flush.c) */
void log_flush_cut(struct log *log, int64_t end_offset);
/* Segment `old` was left: its indexes have yet to be synced. */
void log_flush_rolled(struct log *log, const struct segment *old);
/* The batch at `offset` got an entry in an index that has to be synced with it.
 */
void log_flush_noted(struct log *log, struct segment *s, int64_t offset);
/* Starts a flush that belongs to the log itself. */
void log_flush_own(struct log *log);

/* Frees the struct; no flush is under way. */
void log_free(struct log *log);

#endif
