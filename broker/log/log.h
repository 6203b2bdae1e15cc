/* One partition's log: Kafka's segment files in one directory.
 *
 * TOPIC-PARTITION/00000000000000000000.log with batches as on the wire, .index
 * (relative offset i32, position i32), .timeindex (timestamp i64, relative
 * offset i32), leader-epoch-checkpoint, partition.metadata (topic id),
 * NNN.txnindex (aborted transactions), NNN.snapshot (producer state).  Apache
 * Kafka's dump tool reads all of it.
 *
 * Happy path: log_append() writes validated batches at the end of the active
 * segment and returns the new log end offset; log_read() finds where an offset
 * lies and returns a file range, which the network sends without a copy.
 *
 * Failures: a write error or a full disk leaves the log as it was before the
 * append (truncated back; if even that fails, the log is `failed` and must be
 * closed).  After a crash log_open() checks only what lies behind the recovery
 * point: a torn tail is cut and reported; damage elsewhere is reported with
 * file and position and leaves the log opened up to there with `damaged_at`
 * set, so that the replica layer refetches it.  The bytes behind the damage are
 * kept aside in files ending in .damaged.
 *
 * What is on disk when: a new log is an empty directory; files appear with the
 * first append, index entries in blocks.  After log_flush_now() everything is
 * there.  What a crash takes from an index or from the epoch checkpoint is
 * rebuilt from the batches.
 *
 * Offsets are exclusive ends unless a name says otherwise: end_offset 5 means
 * records 0..4 are here.  One thread (the partition's shard) owns a log; the
 * functions marked [helper] block, and may run in env_work while nobody else
 * uses the log; log_scan_run() may run there at any time. */
#ifndef BROKER_LOG_LOG_H
#define BROKER_LOG_LOG_H

#include "base/env.h"
#include "base/error.h"
#include "base/uuid.h"
#include "proto/record/batch.h"
#include "proto/record/compression.h"

#include <stdatomic.h>

struct log;

/* Effective topic configuration, in Kafka's units; -1 = no limit. */
struct log_config {
    int64_t segment_bytes; /* segment.bytes */
    int64_t segment_ms;    /* segment.ms */
    int64_t segment_jitter_ms;
    int64_t retention_ms;         /* retention.ms */
    int64_t retention_bytes;      /* retention.bytes */
    int64_t file_delete_delay_ms; /* file.delete.delay.ms */
    int32_t index_interval_bytes; /* index.interval.bytes */
    int32_t segment_index_bytes;  /* segment.index.bytes */
    int32_t max_message_bytes;    /* max.message.bytes */
    bool delete_policy;           /* cleanup.policy contains delete */
    bool compact_policy;          /* ... contains compact */
    int64_t min_compaction_lag_ms;
    int64_t max_compaction_lag_ms;
    int64_t delete_retention_ms; /* of tombstones */
    double min_cleanable_ratio;  /* min.cleanable.dirty.ratio */
    int64_t flush_messages;      /* flush.messages; a flush is started */
    int64_t flush_ms;            /* flush.ms, see log_flush_due() */
};

struct log_open_report {
    int64_t cut_bytes;     /* torn tail removed */
    int64_t scanned_bytes; /* read behind the recovery point */
    int64_t damaged_at;    /* first offset that can't be trusted, -1 none */
    /* Records that this log had and does not have any more, because damage cut
     * it now or at an earlier opening: up to here (exclusive), and of leader
     * epochs up to this.  0 and -1 when there are none. */
    int64_t lost_until;
    int32_t lost_epoch;
    /* None of it was known to be on disk, and what was found is what a power
     * loss may leave. */
    bool lost_torn;
    /* None of it was known to be on disk, but whole batches follow: a power
     * loss may leave that, too, as pages reach a disk in any order; so may
     * damage to batches that others were told of.  Holds when lost_torn
     * does. */
    bool lost_unsynced;
    char *message; /* a sentence to log, or NULL; caller frees */
};

enum {
    LOG_POINT_UNKNOWN = -1, /* a recovery point */
    LOG_DOUBTED = -1,       /* unchanged_ms: somebody has found damage */
};

/* Opens or creates directory `path`.  Blocking: [helper] at start-up; creating
 * an empty log is one mkdir and one directory listing.
 * clean: the broker's clean-shutdown marker was found, so nothing is scanned
 * (unless the last segment doesn't end in a whole batch, or an empty one begins
 * where the batches before it go on).
 * recovery_point: what log_recovery_point() said; everything below is on disk.
 * LOG_POINT_UNKNOWN: as 0, but that a log with gaps between its segments was
 * here, and whatever was known of it is lost.
 * unchanged_ms: a moment (wall clock) since which we have changed no .log file,
 * but for appends behind the recovery point after a crash; a file that was
 * changed later is checked whole.  0: not known.  LOG_DOUBTED: all are.
 * topic_id zero: not checked, not written.
 * ERR_INCONSISTENT_TOPIC_ID when the directory belongs to another topic;
 * ERR_DAMAGED when damaged bytes cannot be kept aside (nothing was changed);
 * ERR_IO; ERR_FULL, ERR_EXHAUSTED, also when they cannot just now.  The report
 * is filled in every case. */
enum err log_open(struct env *env, const char *path, struct uuid topic_id,
                  const struct log_config *config, int64_t recovery_point,
                  int64_t log_start_offset, bool clean, int64_t unchanged_ms,
                  struct log **log, struct log_open_report *report);
/* What was lost has been fetched again: files ending in .damaged get the ending
 * .refetched and count no more. */
void log_damage_mended(struct log *log);
/* The log goes on without it: the ending .lost. */
void log_damage_given_up(struct log *log);
/* When the last .log file changed last; for log_open()'s unchanged_ms, if
 * everything is synced.  0 if that cannot be said. */
int64_t log_changed_ms(struct log *log);
/* Writes what memory holds of indexes and epochs, syncs nothing (see
 * log_flush_now), closes files, frees.  Flushes under way finish with result
 * -ECANCELED and log NULL.  Segments waiting for file_delete_delay_ms are
 * unlinked. */
void log_close(struct log *log);
void log_set_config(struct log *log, const struct log_config *config);

const char *log_path(const struct log *log);
struct uuid log_topic_id(const struct log *log);
int64_t log_start_offset(const struct log *log);
int64_t log_end_offset(const struct log *log);
/* All offsets below are on disk (fdatasync done). */
int64_t log_synced_offset(const struct log *log);
/* What log_open() is to be given after a crash: at or below the synced offset,
 * such that indexes below it are on disk too.  Write it down now and then, and
 * after each truncation before anything is appended. */
int64_t log_recovery_point(const struct log *log);
int64_t log_size_bytes(const struct log *log);
int log_segment_count(const struct log *log);
/* Base offset of the segment that is appended to; rises when it rolls. */
int64_t log_active_base_offset(const struct log *log);
/* Of the segment that holds `offset`; `offset` itself if all begin behind. */
int64_t log_segment_base_offset(const struct log *log, int64_t offset);
bool log_failed(const struct log *log);
/* Or something was refused with an error that no room and no free file numbers
 * mend: the disk is not to be trusted, though the log could go on. */
bool log_disk_failed(const struct log *log);
/* Whether it is of that kind. */
bool log_is_disk_error(int negative_errno);
/* ERR_FULL and ERR_EXHAUSTED (no free file descriptors, no memory), which pass;
 * ERR_DAMAGED; ERR_IO, if it is of that kind. */
enum err log_errno(int negative_errno);

/* ---- append ---------------------------------------------------------------
 * Bytes hold one or more whole batches that were validated and already carry
 * their final base offsets (leader: batch_patch()ed from log_end_offset() on,
 * contiguous; follower: as received, rising, gaps allowed) and leader epochs.
 * Rolls the segment when needed, between any two batches, so that replicas roll
 * at the same offsets; assigns new leader epochs to the epoch cache.
 * One pwritev (one per segment touched), no copy.
 * All or nothing: ERR_FULL, ERR_EXHAUSTED, ERR_IO (the log is as before, or
 * failed),
 * ERR_CORRUPT_MESSAGE (not whole batches, offsets that don't rise, a leader
 * epoch older than that of the batch before). */
struct log_append_info {
    int64_t first_offset; /* of the first batch */
    int64_t end_offset;   /* log end offset afterwards */
    int64_t max_timestamp;
    int64_t max_timestamp_offset; /* last offset of the batch that has it */
};
enum err log_append(struct log *log, struct slice bytes, int64_t now_wall_ms,
                    struct log_append_info *info);

/* ---- read ------------------------------------------------------------------
 * A range of one segment file that starts at the batch containing `offset` and
 * ends at a batch boundary, at or below `end_offset` (exclusive upper bound,
 * e.g. the high watermark).  At most max_bytes, but at least the first batch
 * when min_one.  Empty (len 0) at end_offset.  ERR_OFFSET_OUT_OF_RANGE outside
 * [start, end]. */
struct log_range {
    struct env_file *file; /* referenced; caller env_file_unref()s if set */
    int64_t position;
    uint32_t len;
    int64_t base_offset; /* first batch's */
};
/* Near the end of the log this touches no file; elsewhere it reads index blocks
 * and batch headers, from the page cache if they are there. */
enum err log_read(struct log *log, int64_t offset, int64_t end_offset,
                  uint32_t max_bytes, bool min_one, struct log_range *range);

/* As log_read(), for readers whose format has no batches without records
 * (message sets): those that compaction has emptied, and control batches, are
 * passed over, or such a reader would never get behind them. */
enum err log_read_records(struct log *log, int64_t offset, int64_t end_offset,
                          uint32_t max_bytes, bool min_one,
                          struct log_range *range);

/* Kafka's ListOffsets by timestamp: the first record with timestamp >= t below
 * end_offset, offset -1 when there is none; or the first record with the
 * greatest timestamp (KIP-734).
 *
 * A search is begun and ended on the owner's thread, where the indexes say
 * which batches it has to look at, and run on any, while the log goes on: reads
 * their headers, and unpacks one of them.  It looks at one segment at a time:
 * when nothing is found there, another search begins where it ends. */
struct log_timestamp_offset {
    int64_t timestamp;
    int64_t offset;
    int32_t leader_epoch;
};
struct log_search;

enum { LOG_GREATEST_TIMESTAMP = -1 };

/* *search NULL: there is no such record from `from` on. */
enum err log_search_begin(struct log *log, int64_t timestamp, int64_t from,
                          int64_t end_offset, struct log_search **search);
/* [helper] */
enum err log_search_run(struct log_search *search, struct codec *codec,
                        struct log_timestamp_offset *found);
/* Where the next one goes on; INT64_MAX: nowhere. */
int64_t log_search_end(struct log_search *search);

/* All of it in one call: [helper] for what others have written. */
enum err log_offset_for_timestamp(struct log *log, struct codec *codec,
                                  int64_t timestamp, int64_t end_offset,
                                  struct log_timestamp_offset *found);
enum err log_max_timestamp(struct log *log, struct codec *codec,
                           int64_t end_offset,
                           struct log_timestamp_offset *found);
/* ListOffsets v0: up to `max` segment base offsets before timestamp (-1 latest,
 * -2 earliest), newest first, with end_offset as the first for latest. */
int log_offsets_before(struct log *log, int64_t timestamp, int64_t end_offset,
                       int64_t *offsets, int max);

/* ---- leader epochs (KIP-101, KIP-279) ----------------------------------- */

/* -1 when the log has none. */
int32_t log_latest_epoch(const struct log *log);
/* A new leader writes (epoch, end offset) before its first append; persisted
 * in leader-epoch-checkpoint. */
enum err log_assign_epoch(struct log *log, int32_t epoch, int64_t start_offset);
/* The largest known epoch <= `epoch` and its exclusive end offset.  An epoch
 * older than all known ones is answered with itself and the start of the
 * oldest; -1 and -1 when `epoch` is -1 or newer than all known ones. */
void log_end_offset_for_epoch(const struct log *log, int32_t epoch,
                              int32_t *found_epoch, int64_t *end_offset);
int32_t log_epoch_at(const struct log *log, int64_t offset);

/* ---- truncate, retention -------------------------------------------------*/

/* Drops everything at and above `end_offset`, in whole batches: inside a batch
 * the log ends where that batch began.  Below the start offset it is as
 * log_truncate_fully().  Epochs that begin at the end or above are forgotten,
 * also when there is nothing to drop.  Synchronous in the page cache.
 * ERR_EXHAUSTED, ERR_FULL: the log is whole and may go on, but it ends where it
 * did or somewhere between; other errors leave it `failed`. */
enum err log_truncate(struct log *log, int64_t end_offset);
/* Drops everything and starts again, empty, at `offset`.  It is so, in memory,
 * also with ERR_EXHAUSTED and ERR_FULL; the disk follows with the next append.
 * Of either: when a segment would stay the log is failed, as it might hide what
 * is appended next. */
enum err log_truncate_fully(struct log *log, int64_t offset);
/* The log ends at `end_offset`, at or behind its end, with nothing between, as
 * one does that was cut in a gap of compaction.  In memory. */
void log_end_at(struct log *log, int64_t end_offset);
/* DeleteRecords and following the leader's start: raises the start offset and
 * deletes segments that lie wholly below it. */
enum err log_raise_start(struct log *log, int64_t start_offset);
/* Applies retention by time and size to whole segments below high_watermark
 * (rolling first when the active one goes too); returns the number deleted.
 * Time is the largest record timestamp in a segment; a segment without
 * timestamps counts from when this process first saw it. Deleted files are
 * renamed to .deleted and unlinked after file_delete_delay_ms on this env's
 * timer; at once where there is no room for the longer name.  What cannot be
 * removed lies below the start offset, and is tried again the next time. */
int log_apply_retention(struct log *log, int64_t now_wall_ms,
                        int64_t high_watermark);

/* ---- aborted transactions (KIP-98) -----------------------------------------
 * Found by whoever knows the producers, kept per segment in .txnindex files. */

struct log_aborted {
    int64_t producer_id;
    int64_t first_offset;
    int64_t last_offset; /* of the marker */
    /* Every other transaction that was open then began here or above. */
    int64_t last_stable_offset;
};
/* By rising last_offset, which is in the log; one that is known is skipped. */
void log_note_aborted(struct log *log, const struct log_aborted *aborted);
/* What a crash may have taken, so that whoever opened the log must note it
 * again: transactions aborted by a marker at this offset or above; INT64_MAX:
 * none. The other call says that it was done. */
int64_t log_aborted_known(const struct log *log);
void log_aborted_all_known(struct log *log);
/* Appends to `out` the struct log_aborted that overlap what was asked for from
 * `offset` and answered with `range` (log_read()), by first offset.  Memory,
 * and if there are many the page cache.  ERR_IO: it can't be said. */
enum err log_aborted_in(struct log *log, int64_t offset,
                        const struct log_range *range, struct buf *out);

/* ---- durability -----------------------------------------------------------
 * One fdatasync serves every batch that waits for it: */
enum { LOG_FLUSH_FILES = 10 };

struct log_flush {
    struct env_work work; /* run/done are filled in by log_flush_begin */
    struct log *log;      /* NULL in done() when the log was closed */
    int64_t end_offset;   /* synced to here when it succeeds */
    int result;           /* 0 or a negative errno; see log_failed() */
    void (*done)(struct log_flush *flush);
    void *arg;
    /* the rest belongs to the log */
    struct list link;
    struct env *env;
    int64_t recovery_point;
    struct env_file *files[LOG_FLUSH_FILES];
    int files_len;
    bool not_begun;
    atomic_int stage; /* where its helper is: see flush.c */
    char *dir;        /* to be synced too, or NULL */
    char *parent;     /* likewise */
};
/* Starts a flush of everything up to log_end_offset() (of the oldest segments
 * first if there are many: end_offset says how far it goes), or, if flushes
 * under way cover all of it (the log starts its own), one that ends with the
 * last of them; false if nothing is unsynced.  The caller sets done and arg,
 * and keeps `flush` alive until done(), which runs on the owner's loop after
 * log_synced_offset() moved.
 * A failed sync marks the log failed: the kernel may have dropped the pages.
 * A flush that could not open its files only reports so. */
bool log_flush_begin(struct log *log, struct log_flush *flush);
/* Something has been unsynced for flush_ms or longer; now_ms is env_now_ms().
 */
bool log_flush_due(const struct log *log, int64_t now_ms);
/* Others (producer snapshots) changed entries of the directory: the next flush
 * syncs it too. */
void log_dir_changed(struct log *log);
/* Blocking, for a clean shutdown: data, indexes, checkpoints. */
enum err log_flush_now(struct log *log);

/* Renames the directory to NAME.UUID-delete and removes it on a helper thread
 * (topic deleted, replica moved away); at once where it cannot be renamed.
 * Readers keep what they have open.  Closes and frees the log. */
void log_delete(struct log *log);
/* The same with the directory of one that is not open.  [helper] */
void log_remove(struct env *env, const char *path);
/* What a log's directory that is to go is renamed to, Kafka's way:
 * "PARENT/TOPIC-PARTITION.0123...-delete".  The caller frees it. */
char *log_doomed_path(struct env *env, const char *path);
/* Where a log is made that shall be at `path` later: "PATH.0123...-future". */
char *log_future_path(struct env *env, const char *path);
/* The topic that a log's directory says it belongs to: 1; 0 if it does not say,
 * or is not there; or a negative errno. */
int log_dir_topic(struct env *env, const char *path, struct uuid *topic_id);
/* Removes the -delete directories that a crash, or a topic made anew, left in
 * log directory `dir`, and the -future ones, of which `future` is told the name
 * they were to get; returns how many.  [helper] */
int log_remove_leftovers(struct env *env, const char *dir,
                         void (*future)(void *arg, struct slice name),
                         void *arg);
/* Its directory gets another name, in the same file system; not while
 * log_is_flushing().  0 or -errno.  The name is not on disk yet. */
int log_rename(struct log *log, const char *path);
bool log_is_flushing(const struct log *log);
/* Which leader epochs began where, as in another log with the same records. */
void log_take_epochs(struct log *log, const struct log *from);

/* ---- walking all batches ------------------------------------------------- */

/* A snapshot of the batches that hold offsets in [from, to): begun and ended on
 * the owner's thread, run on any, while the log goes on. */
struct log_scan;

/* Returns false to stop.  `bytes` is the whole batch, valid during the call. */
typedef bool (*log_visit_fn)(void *arg, const struct batch *b,
                             struct slice bytes);

enum err log_scan_begin(struct log *log, int64_t from, int64_t to,
                        struct log_scan **scan);
/* Calls visit for each batch in order.  ERR_NONE (also when visit stopped it),
 * ERR_DAMAGED on a bad header or CRC, ERR_IO.  [helper] */
enum err log_scan_run(struct log_scan *scan, log_visit_fn visit, void *arg);
void log_scan_end(struct log_scan *scan);

/* The three in one call; used by producer state recovery and by the group
 * coordinator's loading.  [helper] */
enum err log_visit(struct log *log, int64_t from, int64_t to,
                   log_visit_fn visit, void *arg);

#endif
