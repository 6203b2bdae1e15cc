/* Appending: check that the bytes are whole batches with rising offsets, cut
 * them into runs that go to one segment each, write each run with one call,
 * then note every batch in the indexes, the tail and the epoch cache.
 *
 * Rolling is decided batch by batch, from the batches alone where Kafka does
 * so, and never by how many came in one call: a follower that receives in one
 * fetch what the leader took in ten appends ends up with the same segments.
 *
 * Failures: a run that cannot be written whole is cut off again, and so are the
 * runs before it in the same call. */
#include "base/log.h"
#include "broker/log/state.h"

#include <errno.h>

/* The next batch of `bytes`; false when they are not whole, or its offset is
 * below `floor`. */
static bool take_batch(struct slice *bytes, int64_t floor, struct batch *b)
{
    if (batch_parse(*bytes, b) != ERR_NONE)
        return false;
    if (b->base_offset < floor || b->last_offset_delta < 0 ||
        b->base_offset > INT64_MAX - 1 - b->last_offset_delta)
        return false;
    *bytes = slice_of(bytes->data + b->size_bytes, bytes->len - b->size_bytes);
    return true;
}

/* An epoch that was assigned at the log's end and has no batch yet may give
 * way to an older one: its leader is gone. */
static bool all_in_order(const struct log *log, struct slice bytes)
{
    int32_t epoch = epoch_cache_at(&log->epochs, log->end_offset - 1);
    int64_t floor = log->end_offset;
    struct batch b;

    while (bytes.len != 0) {
        if (!take_batch(&bytes, floor, &b))
            return false;
        if (b.leader_epoch >= 0 && b.leader_epoch < epoch)
            return false;
        if (b.leader_epoch >= 0)
            epoch = b.leader_epoch;
        floor = batch_last_offset(&b) + 1;
    }
    return true;
}

static int64_t roll_jitter(struct log *log, struct segment *s)
{
    if (log->config.segment_jitter_ms <= 0)
        return 0;
    if (s->jitter_ms < 0)
        s->jitter_ms = (int64_t)(env_random(log->env) %
                                 (uint64_t)log->config.segment_jitter_ms);
    return s->jitter_ms;
}

/* Time a segment has been open for, as Kafka counts it: between the timestamps
 * of its first batch and of this one, and by the clock if they have none. */
static bool open_too_long(struct log *log, struct segment *s,
                          const struct batch *b, int64_t first_timestamp,
                          int64_t now_wall_ms)
{
    if (log->config.segment_ms < 0)
        return false;
    /* Clients may send any time; those below zero are none. */
    int64_t timestamp = b->max_timestamp >= 0 ? b->max_timestamp : -1;
    int64_t waited = first_timestamp >= 0 ? timestamp - first_timestamp
                                          : now_wall_ms - s->created_ms;
    return waited > log->config.segment_ms - roll_jitter(log, s);
}

static int64_t segment_limit(const struct log *log)
{
    int64_t limit = log->config.segment_bytes;

    return limit < 0 || limit > SEGMENT_SIZE_MAX ? SEGMENT_SIZE_MAX : limit;
}

/* What segment_note_batch() would make of the segment, batch after batch,
 * without its entries. */
struct plan {
    int64_t size;
    int64_t first_timestamp;
    int64_t max_timestamp;
    int64_t time_index_last;
    int64_t unindexed_bytes;
    uint32_t offset_entries;
    uint32_t time_entries;
};

static struct plan plan_begin(const struct segment *s)
{
    return (struct plan){
        .size = s->size_bytes,
        .first_timestamp = s->first_timestamp,
        .max_timestamp = s->max_timestamp,
        .time_index_last = s->time_index_last,
        .unindexed_bytes = s->unindexed_bytes,
        .offset_entries = index_count(&s->offsets),
        .time_entries = index_count(&s->times),
    };
}

static void plan_batch(const struct log *log, struct plan *p,
                       const struct batch *b)
{
    if (p->size == 0)
        p->first_timestamp = b->max_timestamp;
    if (b->max_timestamp > p->max_timestamp)
        p->max_timestamp = b->max_timestamp;
    if (p->unindexed_bytes > log->config.index_interval_bytes) {
        p->offset_entries++;
        p->time_entries += p->max_timestamp > p->time_index_last;
        p->time_index_last = p->max_timestamp;
        p->unindexed_bytes = 0;
    }
    p->unindexed_bytes += b->size_bytes;
    p->size += b->size_bytes;
}

/* The last slot of the time index is for segment_seal(). */
static bool indexes_full(const struct log *log, const struct plan *p)
{
    uint32_t bytes = (uint32_t)log->config.segment_index_bytes;

    return p->offset_entries >= bytes / INDEX_OFFSETS_ENTRY_BYTES ||
           p->time_entries + 1 >= bytes / INDEX_TIMES_ENTRY_BYTES;
}

/* Must `b`, the next batch of segment s as planned, begin a new one? */
static bool should_roll(struct log *log, struct segment *s,
                        const struct plan *p, const struct batch *b,
                        int64_t now_wall_ms)
{
    if (batch_last_offset(b) - s->base_offset > INT32_MAX)
        return true;
    if (p->size == 0)
        return false;
    return p->size > segment_limit(log) - (int64_t)b->size_bytes ||
           open_too_long(log, s, b, p->first_timestamp, now_wall_ms) ||
           indexes_full(log, p);
}

/* ---- one run -------------------------------------------------------------*/

/* Length of the longest prefix of `bytes` that belongs to segment s. */
static size_t run_length(struct log *log, struct segment *s, struct slice bytes,
                         int64_t now_wall_ms)
{
    struct plan p = plan_begin(s);
    struct slice rest = bytes;
    struct batch b;

    while (rest.len != 0) {
        struct slice before = rest;
        bool whole = take_batch(&rest, 0, &b);
        ASSERT(whole);
        if (should_roll(log, s, &p, &b, now_wall_ms))
            return bytes.len - before.len;
        plan_batch(log, &p, &b);
    }
    return bytes.len;
}

static int write_run(struct log *log, struct segment *s, struct slice run)
{
    struct env_file *file;
    int rc = segment_open_file(log, s, true, &file);

    if (rc < 0)
        return rc;
    rc = env_file_write(file, &run, 1, s->size_bytes);
    if (rc < 0 && env_file_truncate(file, s->size_bytes) < 0)
        log->failed = true;
    env_file_unref(file);
    return rc;
}

static void note_run(struct log *log, struct segment *s, struct slice run,
                     struct log_append_info *info)
{
    struct batch b;

    while (run.len != 0) {
        bool whole = take_batch(&run, 0, &b);
        ASSERT(whole);
        uint32_t position = s->size_bytes;
        segment_note_batch(log, s, &b, position);
        tail_add(&log->tail, b.base_offset, position, b.last_offset_delta);
        if (b.leader_epoch >= 0 && b.leader_epoch != log_latest_epoch(log))
            epoch_cache_assign(&log->epochs, b.leader_epoch, b.base_offset);
        if (b.max_timestamp > info->max_timestamp) {
            info->max_timestamp = b.max_timestamp;
            info->max_timestamp_offset = batch_last_offset(&b);
        }
        s->size_bytes += b.size_bytes;
        log->size_bytes += b.size_bytes;
        log->end_offset = batch_last_offset(&b) + 1;
    }
    s->unsynced = true;
}

/* ---- the whole ----------------------------------------------------------- */

/* A log without files gets the first of them; what was cut off stays away. */
static int begin_files(struct log *log)
{
    struct segment *s = log_active(log);
    int rc = 0;

    if (!s->stored) {
        rc = log_write_metadata(log);
        if (rc == 0)
            rc = segment_create_file(log, s);
    }
    return rc < 0 ? rc : log_sync_cut(log);
}

/* Where the segment that begins with batch b starts: right behind segment s, so
 * that after a crash what is missing between two of them was lost.  Batches
 * that compaction took from a leader's log are missing within the segment; only
 * a gap that its offsets cannot span is left between. */
static int64_t next_base(const struct segment *s, const struct batch *b)
{
    return b->base_offset - s->end_offset > SEGMENT_GAP_MAX ||
                   batch_last_offset(b) - s->end_offset > INT32_MAX
               ? b->base_offset
               : s->end_offset;
}

static enum err append_runs(struct log *log, struct slice bytes,
                            int64_t now_wall_ms, struct log_append_info *info)
{
    while (bytes.len != 0) {
        struct segment *s = log_active(log);
        int rc = segment_load(log, s, NULL);
        if (rc < 0)
            return log_refused(log, rc);
        if (s->created_ms < 0)
            s->created_ms = now_wall_ms;
        size_t n = run_length(log, s, bytes, now_wall_ms);
        if (n == 0) {
            struct slice rest = bytes;
            struct batch b;
            bool whole = take_batch(&rest, 0, &b);
            ASSERT(whole);
            enum err err = log_roll(log, next_base(s, &b), now_wall_ms);
            if (err != ERR_NONE)
                return err;
            continue;
        }
        struct slice run = slice_of(bytes.data, n);
        rc = write_run(log, s, run);
        if (rc < 0)
            return log_refused(log, rc);
        note_run(log, s, run, info);
        bytes = slice_of(bytes.data + n, bytes.len - n);
    }
    return ERR_NONE;
}

static void after_append(struct log *log)
{
    struct segment *s = log_active(log);

    if (log->unsynced_since_ms < 0)
        log->unsynced_since_ms = env_now_ms(log->env);
    /* Best effort: what stays in memory is written with the next block. */
    if (index_wants_write(&s->offsets) || index_wants_write(&s->times))
        segment_write_indexes(log, s);
    if (log->epochs.changed)
        log_write_epochs(log);
    if (log->config.flush_messages > 0 &&
        log->end_offset - log->synced_offset >= log->config.flush_messages)
        log_flush_own(log);
}

/* Takes back the runs written before one that failed, and segments begun for
 * it.  An empty one that stayed would hide what is appended to the segment
 * before from whoever opens the log. */
static void undo(struct log *log, int64_t end_before, uint32_t segments_before)
{
    if (log->end_offset > end_before &&
        log_truncate(log, end_before) != ERR_NONE)
        log->failed = true;
    if (log->failed || log->segments_len <= segments_before)
        return;
    int rc = log_drop_from(log, segments_before);
    if (rc < 0)
        log_fail(log, rc, "taking back what was begun at the end");
}

enum err log_append(struct log *log, struct slice bytes, int64_t now_wall_ms,
                    struct log_append_info *info)
{
    *info = (struct log_append_info){
        .first_offset = log->end_offset,
        .end_offset = log->end_offset,
        .max_timestamp = -1,
        .max_timestamp_offset = -1,
    };
    if (log->failed)
        return ERR_IO;
    if (bytes.len == 0)
        return ERR_NONE;
    if (bytes.len > SEGMENT_SIZE_MAX || !all_in_order(log, bytes))
        return ERR_CORRUPT_MESSAGE;

    int64_t end_before = log->end_offset;
    uint32_t segments_before = log->segments_len;
    int64_t first_offset = (int64_t)be64_get(bytes.data);
    int rc = begin_files(log);
    enum err err = rc < 0 ? log_refused(log, rc)
                          : append_runs(log, bytes, now_wall_ms, info);
    if (err != ERR_NONE) {
        if (!log->failed)
            undo(log, end_before, segments_before);
        log_warn("log", "appending to %s failed: %s%s", log->path,
                 err_text(err),
                 log->failed ? "; the log takes no more requests" : "");
        return err;
    }
    info->first_offset = first_offset;
    info->end_offset = log->end_offset;
    after_append(log);
    return ERR_NONE;
}
