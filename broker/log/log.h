/* One partition's log: Kafka's segment files in one directory.
 *
 * TOPIC-PARTITION/00000000000000000000.log with batches as on the wire, .index
 * (relative offset i32, position i32), .timeindex (timestamp i64, relative
 * offset i32), leader-epoch-checkpoint, partition.metadata (topic id),
 * NNN.snapshot (producer state).  Apache Kafka's dump tool reads all of it.
 *
 * Happy path: log_append() writes validated batches at the end of the active
 * segment and returns the new log end offset; log_read() finds where an offset
 * lies and returns a file range, which the network sends without a copy.
 *
 * Failures: a write error or a full disk leaves the log as it was before the
 * append (truncated back; if even that fails, the log is `failed` and must be
 * closed).  After a crash log_open() scans only what lies behind the recovery
 * point: a torn tail is cut and reported; damage elsewhere is reported with
 * file and position and leaves the log opened up to there with
 * `damaged_at` set, so that the replica layer refetches it.
 *
 * Offsets are exclusive ends unless a name says otherwise: end_offset 5 means
 * records 0..4 are here.  One thread (the partition's shard) owns a log; the
 * functions marked [helper] may run in env_work with what they were given. */
#ifndef BROKER_LOG_LOG_H
#define BROKER_LOG_LOG_H

#include "base/env.h"
#include "base/error.h"
#include "base/uuid.h"
#include "proto/record/batch.h"

struct log;

/* Effective topic configuration, in Kafka's units; -1 = no limit. */
struct log_config {
    int64_t segment_bytes;             /* segment.bytes */
    int64_t segment_ms;                /* segment.ms */
    int64_t segment_jitter_ms;
    int64_t retention_ms;              /* retention.ms */
    int64_t retention_bytes;           /* retention.bytes */
    int64_t file_delete_delay_ms;      /* file.delete.delay.ms */
    int32_t index_interval_bytes;      /* index.interval.bytes */
    int32_t segment_index_bytes;       /* segment.index.bytes */
    int32_t max_message_bytes;         /* max.message.bytes */
    bool delete_policy;                /* cleanup.policy contains delete */
    bool compact_policy;               /* ... contains compact */
    int64_t flush_messages;            /* flush.messages */
    int64_t flush_ms;
    bool preallocate;
};

struct log_open_report {
    int64_t cut_bytes;     /* torn tail removed */
    int64_t scanned_bytes; /* read behind the recovery point */
    int64_t damaged_at;    /* first offset that can't be trusted, -1 none */
    char *message;         /* a sentence to log, or NULL; caller frees */
};

/* Opens or creates directory `path`.  Blocking: [helper] at start-up.
 * clean: the broker's clean-shutdown marker was found, so nothing is scanned.
 * recovery_point: everything below is known to be on disk. */
enum err log_open(struct env *env, const char *path, struct uuid topic_id,
                  const struct log_config *config, int64_t recovery_point,
                  int64_t log_start_offset, bool clean, struct log **log,
                  struct log_open_report *report);
/* Flushes nothing (see log_flush_begin), closes files, frees. */
void log_close(struct log *log);
void log_set_config(struct log *log, const struct log_config *config);

const char *log_path(const struct log *log);
int64_t log_start_offset(const struct log *log);
int64_t log_end_offset(const struct log *log);
/* All offsets below are on disk (fdatasync done). */
int64_t log_synced_offset(const struct log *log);
int64_t log_size_bytes(const struct log *log);
bool log_failed(const struct log *log);

/* ---- append ---------------------------------------------------------------
 * Bytes hold one or more whole batches that were validated and already carry
 * their final base offsets (leader: batch_patch()ed from log_end_offset() on,
 * contiguous; follower: as received, rising, gaps allowed) and leader epochs.
 * Rolls the segment when needed; assigns new leader epochs to the epoch cache.
 * One pwritev, no copy. */
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
enum err log_read(struct log *log, int64_t offset, int64_t end_offset,
                  uint32_t max_bytes, bool min_one, struct log_range *range);

/* Kafka's ListOffsets by timestamp: the first record with timestamp >= t below
 * end_offset.  Reads and may decompress one batch: [helper] for cold data.
 * offset -1 when there is none. */
struct log_timestamp_offset {
    int64_t timestamp;
    int64_t offset;
    int32_t leader_epoch;
};
enum err log_offset_for_timestamp(struct log *log, int64_t timestamp,
                                  int64_t end_offset,
                                  struct log_timestamp_offset *found);
/* KIP-734: the record with the greatest timestamp. */
enum err log_max_timestamp(struct log *log, int64_t end_offset,
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
/* The largest known epoch <= `epoch` and its exclusive end offset; epoch -1 and
 * end -1 when unknown. */
void log_end_offset_for_epoch(const struct log *log, int32_t epoch,
                              int32_t *found_epoch, int64_t *end_offset);
int32_t log_epoch_at(const struct log *log, int64_t offset);

/* ---- truncate, retention -------------------------------------------------*/

/* Drops everything at and above `end_offset`.  Synchronous in the page cache. */
enum err log_truncate(struct log *log, int64_t end_offset);
/* Drops everything and starts again, empty, at `offset`. */
enum err log_truncate_fully(struct log *log, int64_t offset);
/* DeleteRecords and following the leader's start: raises the start offset and
 * deletes segments that lie wholly below it. */
enum err log_raise_start(struct log *log, int64_t start_offset);
/* Applies retention by time and size to whole segments below high_watermark;
 * returns the number deleted.  Deleted files are renamed to .deleted and
 * unlinked after file_delete_delay_ms on this env's timer. */
int log_apply_retention(struct log *log, int64_t now_wall_ms,
                        int64_t high_watermark);

/* ---- durability -----------------------------------------------------------
 * One fdatasync serves every batch that waits for it: */
struct log_flush {
    struct env_work work; /* run/done are filled in by log_flush_begin */
    struct log *log;
    int64_t end_offset; /* synced to here when it succeeds */
    int result;         /* 0 or a negative errno */
    void (*done)(struct log_flush *flush);
    void *arg;
    /* the rest belongs to the log */
    struct env_file *files[4];
    int files_len;
};
/* Starts a flush of everything up to log_end_offset(); false if nothing is
 * unsynced.  done() runs on the owner's loop after log_synced_offset() moved.
 * A failed sync marks the log failed: the kernel may have dropped the pages. */
bool log_flush_begin(struct log *log, struct log_flush *flush);
/* Blocking, for a clean shutdown: data, indexes, checkpoints. */
enum err log_flush_now(struct log *log);

/* Renames the directory to NAME.UUID-delete and removes it later (topic
 * deleted, replica moved away).  Closes and frees the log. */
void log_delete(struct log *log);

/* Calls visit for every batch header in [from, to), reading from disk; used by
 * producer state recovery and by the group coordinator's loading.  `bytes` is the
 * whole batch.  [helper] */
enum err log_visit(struct log *log, int64_t from, int64_t to,
                   bool (*visit)(void *arg, const struct batch *b,
                                 struct slice bytes),
                   void *arg);

#endif
