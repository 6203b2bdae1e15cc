/* The log as a list of segments: what all parts share, closing, truncating.
 * Opening is in open.c, appending in append.c, reading in read.c. */
#include "base/log.h"
#include "base/planted.h"
#include "broker/log/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum err log_errno(int negative_errno)
{
    switch (negative_errno) {
    case 0:
        return ERR_NONE;
    case -ENOSPC:
    case -EDQUOT:
        return ERR_FULL;
    case -EBADMSG:
        return ERR_DAMAGED;
    case -ENOMEM:
    case -EMFILE:
    case -ENFILE:
    case -EAGAIN:
    case -EINTR:
        return ERR_EXHAUSTED;
    default:
        return ERR_IO;
    }
}

bool log_is_disk_error(int negative_errno)
{
    return negative_errno < 0 && log_errno(negative_errno) == ERR_IO;
}

enum err log_fail(struct log *log, int negative_errno, const char *what)
{
    log->failed = true;
    log_line(LOG_ERROR, "log",
             "%s of %s failed (%s); the log takes no more "
             "requests",
             what, log->path, strerror(-negative_errno));
    return log_errno(negative_errno);
}

enum err log_refused(struct log *log, int negative_errno)
{
    if (log_is_disk_error(negative_errno))
        log->disk_failed = true;
    return log_errno(negative_errno);
}

char *log_file_path(const struct log *log, int64_t base_offset,
                    const char *suffix, char text[static PATH_MAX])
{
    /* A name cut short is too long for the kernel as well. */
    int n = snprintf(text, PATH_MAX, "%s/%020lld%s", log->path,
                     (long long)base_offset, suffix);
    (void)n;
    return text;
}

int log_write_small(struct log *log, const char *name, struct slice data)
{
    char *path = xasprintf("%s/%s", log->path, name);
    char *temporary = xasprintf("%s.tmp", path);
    struct env_file *file;
    int rc = env_file_open(log->env, temporary, ENV_CREATE, &file);

    if (rc == 0) {
        rc = env_file_truncate(file, 0);
        if (rc == 0)
            rc = env_file_write(file, &data, 1, 0);
        env_file_unref(file);
    }
    if (rc == 0)
        rc = env_rename(log->env, temporary, path);
    if (rc == 0)
        log->dir_changed = true;
    free(temporary);
    free(path);
    return rc;
}

int log_write_metadata(struct log *log)
{
    char id[UUID_TEXT_SIZE];

    if (log->has_metadata || uuid_is_zero(log->topic_id))
        return 0;
    char *text =
        xasprintf("version: 0\ntopic_id: %s", uuid_format(log->topic_id, id));
    int rc = log_write_small(log, "partition.metadata", slice_str(text));
    free(text);
    log->has_metadata = log->metadata_unsynced = rc == 0;
    return rc;
}

int log_write_epochs(struct log *log)
{
    struct buf text = BUF_INIT;

    /* A log without a file has no batches whose epochs could be asked for; ten
     * thousand idle partitions that change leaders write nothing. */
    if (!log->epochs.changed || !log->segments[0].stored)
        return 0;
    epoch_cache_format(&log->epochs, &text);
    int rc = log_write_small(log, "leader-epoch-checkpoint", buf_slice(&text));
    buf_free(&text);
    if (rc == 0) {
        log->epochs.changed = false;
        log->epochs_unsynced = true;
    } else {
        log_warn("log",
                 "the leader epochs of %s could not be written (%s); "
                 "trying again with the next flush",
                 log->path, strerror(-rc));
    }
    return rc;
}

uint32_t log_segment_of(const struct log *log, int64_t offset)
{
    uint32_t low = 0, high = log->segments_len;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->segments[middle].base_offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? 0 : low - 1;
}

struct segment *log_push_segment(struct log *log, int64_t base_offset)
{
    if (log->segments_len == log->segments_cap) {
        log->segments_cap = log->segments_cap == 0 ? 1 : log->segments_cap * 2;
        log->segments =
            xrealloc(log->segments, log->segments_cap * sizeof *log->segments);
    }
    struct segment *s = &log->segments[log->segments_len++];
    segment_init(s, base_offset);
    return s;
}

enum err log_roll(struct log *log, int64_t base_offset, int64_t now_wall_ms)
{
    struct segment *old = log_active(log);
    int rc = segment_seal(log, old);

    if (rc < 0)
        return log_errno(rc);
    ASSERT(base_offset > old->base_offset);
    struct segment *s = log_push_segment(log, base_offset);
    rc = segment_create_file(log, s);
    if (rc < 0) {
        log->segments_len--;
        return log_refused(log, rc);
    }
    s->created_ms = now_wall_ms;
    s->unsynced = true;
    old = s - 1;
    old->unsynced = true; /* its indexes are, even if its batches are not */
    log_flush_rolled(log, old);
    if (old->file != NULL)
        env_file_unref(old->file);
    old->file = NULL;
    tail_clear(&log->tail);
    /* The recovery point follows rolls, so that after a crash no more than
     * the active segment is read again. */
    log_flush_own(log);
    return ERR_NONE;
}

/* ---- what is asked often -------------------------------------------------*/

void log_set_config(struct log *log, const struct log_config *config)
{
    log->config = *config;
}

const char *log_path(const struct log *log) { return log->path; }

struct uuid log_topic_id(const struct log *log) { return log->topic_id; }

int64_t log_start_offset(const struct log *log) { return log->start_offset; }

int64_t log_end_offset(const struct log *log) { return log->end_offset; }

int64_t log_synced_offset(const struct log *log) { return log->synced_offset; }

/* Where the log ends in a gap, what is appended next may be torn behind the
 * last batch. */
int64_t log_recovery_point(const struct log *log)
{
    int64_t end = log->segments[log->segments_len - 1].end_offset;

    return log->recovery_point < end ? log->recovery_point : end;
}

int64_t log_size_bytes(const struct log *log) { return log->size_bytes; }

int log_segment_count(const struct log *log) { return (int)log->segments_len; }

int64_t log_active_base_offset(const struct log *log)
{
    return log->segments[log->segments_len - 1].base_offset;
}

int64_t log_segment_base_offset(const struct log *log, int64_t offset)
{
    int64_t base = log->segments[log_segment_of(log, offset)].base_offset;

    return base < offset ? base : offset;
}

bool log_failed(const struct log *log) { return log->failed; }

bool log_disk_failed(const struct log *log)
{
    return log->failed || log->disk_failed;
}

int32_t log_latest_epoch(const struct log *log)
{
    return epoch_cache_latest(&log->epochs);
}

/* Memory only: without a batch the entry has nothing to tell that survives a
 * crash (epoch_cache.h), and an election moves thousands of idle logs. */
enum err log_assign_epoch(struct log *log, int32_t epoch, int64_t start_offset)
{
    if (epoch < 0 || start_offset < 0)
        return ERR_INVALID_REQUEST;
    epoch_cache_assign(&log->epochs, epoch, start_offset);
    return ERR_NONE;
}

void log_take_epochs(struct log *log, const struct log *from)
{
    epoch_cache_clear(&log->epochs);
    for (uint32_t i = 0; i < from->epochs.len; i++)
        epoch_cache_assign(&log->epochs, from->epochs.entries[i].epoch,
                           from->epochs.entries[i].start_offset);
    log->epochs.changed = true;
    log_write_epochs(log);
}

bool log_is_flushing(const struct log *log)
{
    return !list_empty(&log->flushes);
}

int log_rename(struct log *log, const char *path)
{
    ASSERT(!log_is_flushing(log));
    log_bury_doomed(log);
    int rc = env_rename(log->env, log->path, path);

    if (rc == 0) {
        free(log->path);
        log->path = xstrdup(path);
        log->dir_changed = log->is_new = true;
    }
    return rc;
}

void log_end_offset_for_epoch(const struct log *log, int32_t epoch,
                              int32_t *found_epoch, int64_t *end_offset)
{
    epoch_cache_end_offset(&log->epochs, epoch, log->end_offset, found_epoch,
                           end_offset);
}

int32_t log_epoch_at(const struct log *log, int64_t offset)
{
    return epoch_cache_at(&log->epochs, offset);
}

void log_dir_changed(struct log *log) { log->dir_changed = true; }

/* ---- truncate ------------------------------------------------------------*/

static void ends_at(struct log *log, int64_t end_offset)
{
    log->end_offset = end_offset;
    if (log->synced_offset > end_offset)
        log->synced_offset = end_offset;
    if (log->recovery_point > end_offset)
        log->recovery_point = end_offset;
    log_flush_cut(log, end_offset);
    log_clean_cut(log, end_offset);
}

int log_sync_cut(struct log *log)
{
    int rc = log->cut_unsynced ? env_sync_dir(log->env, log->path) : 0;

    if (rc == 0)
        log->cut_unsynced = false;
    return rc;
}

/* What may pass leaves the log whole, as it is now; all else spoils it. */
static enum err cut_failed(struct log *log, int rc, const char *what)
{
    enum err error = log_errno(rc);

    return error == ERR_FULL || error == ERR_EXHAUSTED
               ? error
               : log_fail(log, rc, what);
}

enum err log_truncate_fully(struct log *log, int64_t offset)
{
    ASSERT(offset >= 0);
    if (log->failed)
        return ERR_IO;
    int rc = log_drop_from(log, 0);
    if (rc < 0)
        return log_fail(log, rc, "emptying");
    tail_clear(&log->tail);
    struct segment *s = log_push_segment(log, offset);
    log->start_offset = offset;
    ends_at(log, offset);
    /* Nothing is left that could be unsynced. */
    log->synced_offset = log->recovery_point = offset;
    epoch_cache_clear(&log->epochs);
    log->cut_unsynced = true;
    /* The name of the empty file is where the log goes on after a restart.
     * What fails here comes with the first append. */
    rc = log_write_metadata(log);
    if (rc == 0)
        rc = segment_create_file(log, s);
    if (rc == 0)
        rc = log_sync_cut(log);
    if (rc < 0)
        return cut_failed(log, rc, "emptying");
    log_write_epochs(log);
    return ERR_NONE;
}

/* All segments behind segment i go; the log ends where they began. */
static int drop_behind(struct log *log, uint32_t i)
{
    int64_t end_offset = log->segments[i + 1].base_offset;
    int rc = log_drop_from(log, i + 1);

    if (rc < 0)
        return rc;
    log->cut_unsynced = true;
    if (!PLANTED(LOG_KEEPS_CUT_PLACES))
        tail_clear(&log->tail);
    ends_at(log, end_offset);
    if (!PLANTED(LOG_KEEPS_CUT_EPOCHS))
        epoch_cache_truncate_end(&log->epochs, end_offset);
    return 0;
}

enum err log_truncate(struct log *log, int64_t end_offset)
{
    struct segment_place place;

    if (log->failed)
        return ERR_IO;
    if (end_offset >= log->end_offset) {
        /* An epoch in which we led and appended nothing. */
        epoch_cache_truncate_end(&log->epochs, log->end_offset);
        log_write_epochs(log);
        return ERR_NONE;
    }
    if (end_offset < log->start_offset)
        return log_truncate_fully(log, end_offset);

    uint32_t i = log_segment_of(log, end_offset);
    int rc = segment_find(log, &log->segments[i], end_offset, &place);
    if (rc < 0 && rc != -ENOENT)
        return cut_failed(log, rc, "truncating");
    bool found = rc == 0;
    if (found && place.base_offset < end_offset)
        end_offset = place.base_offset;

    uint32_t later = log->segments_len - i - 1;
    if (later != 0 && (rc = drop_behind(log, i)) < 0)
        return log_fail(log, rc, "truncating");
    /* Or a power loss might bring them back behind a shorter one, and what is
     * between them would seem to be lost. */
    if (found && (rc = log_sync_cut(log)) < 0)
        return cut_failed(log, rc, "truncating");
    if (!PLANTED(LOG_KEEPS_CUT_PLACES))
        tail_clear(&log->tail);
    struct segment *s = log_active(log);
    if (found) {
        uint32_t before = s->size_bytes;
        log_clean_cut(log, end_offset);
        rc = segment_cut(log, s, place.position, end_offset);
        log->size_bytes -= before - s->size_bytes;
        if (rc < 0)
            return cut_failed(log, rc, "truncating");
    }
    ends_at(log, end_offset);
    if (log->start_offset > end_offset)
        log->start_offset = end_offset;
    if (!PLANTED(LOG_KEEPS_CUT_EPOCHS))
        epoch_cache_truncate_end(&log->epochs, end_offset);
    log_write_epochs(log);
    return ERR_NONE;
}

/* ---- closing -------------------------------------------------------------*/

void log_free(struct log *log)
{
    for (uint32_t i = 0; i < log->segments_len; i++)
        segment_free(&log->segments[i]);
    free(log->segments);
    tail_free(&log->tail);
    epoch_cache_free(&log->epochs);
    free(log->path);
    free(log);
}

void log_close(struct log *log)
{
    if (!log->failed) {
        int rc = segment_seal(log, log_active(log));
        if (rc < 0)
            log_warn("log",
                     "the indexes of %s could not be written (%s); they "
                     "will be rebuilt when it is opened",
                     log->path, strerror(-rc));
        if (log->segments[0].stored)
            log_write_epochs(log);
    }
    log_bury_doomed(log);
    log_clean_leave(log);
    log->closed = true;
    if (list_empty(&log->flushes))
        log_free(log);
}

int64_t log_changed_ms(struct log *log)
{
    struct segment *s = log_active(log);
    struct env_file *file;

    if (!s->stored || segment_open_file(log, s, false, &file) < 0)
        return 0;
    int64_t changed_ms = env_file_changed_ms(file);
    env_file_unref(file);
    return changed_ms > 0 ? changed_ms : 0;
}
