/* Flushing: one fdatasync per file for everything appended before it began.
 *
 * A flush takes references to the files that have unsynced bytes, oldest
 * segment first, and syncs them on a helper thread; flushes of one log run one
 * after another (the log is their lane), so each moves log_synced_offset()
 * further.  A segment that will not change any more is synced together with its
 * indexes.  The checkpoint of leader epochs and the directory are synced when
 * they changed.
 *
 * Truncation while a flush is under way lowers what the flush stands for.
 *
 * Failures: after a failed fsync the kernel may have dropped the pages and will
 * report success the next time, so the log is failed for good.  Who syncs on
 * the loop's thread first looks at what helpers have found, or are about to. */
#include "base/log.h"
#include "base/planted.h"
#include "broker/log/state.h"

#include <errno.h>
#include <stdlib.h>

enum { STAGE_WAITS, STAGE_SYNCS, STAGE_RAN, STAGE_TAKEN };

static void release(struct log_flush *flush)
{
    for (int i = 0; i < flush->files_len; i++)
        env_file_unref(flush->files[i]);
    flush->files_len = 0;
    free(flush->dir);
    free(flush->parent);
    flush->dir = flush->parent = NULL;
}

static void add_file(struct log_flush *flush, struct env_file *file)
{
    ASSERT(flush->files_len < LOG_FLUSH_FILES);
    flush->files[flush->files_len++] = file;
}

static int add_path(struct log *log, struct log_flush *flush, const char *path)
{
    struct env_file *file;
    int rc = env_file_open(log->env, path, ENV_READ, &file);

    if (rc == -ENOENT)
        return 0;
    if (rc == 0)
        add_file(flush, file);
    return rc;
}

static int add_segment(struct log *log, struct log_flush *flush,
                       struct segment *s)
{
    bool active = s == log_active(log);
    struct env_file *file;
    char path[PATH_MAX];
    int rc = segment_open_file(log, s, active, &file);

    if (rc < 0)
        return rc;
    add_file(flush, file);
    rc = aborted_write(log, s);
    if (rc == 0 && s->aborted.unsynced)
        rc = add_path(log, flush,
                      log_file_path(log, s->base_offset, ".txnindex", path));
    if (rc < 0 || active)
        return rc;
    rc = add_path(log, flush,
                  log_file_path(log, s->base_offset, ".timeindex", path));
    if (rc == 0)
        rc = add_path(log, flush,
                      log_file_path(log, s->base_offset, ".index", path));
    return rc;
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return xstrdup(".");
    return slash == path ? xstrdup("/")
                         : xasprintf("%.*s", (int)(slash - path), path);
}

static int add_named(struct log *log, struct log_flush *flush, const char *name)
{
    char *path = xasprintf("%s/%s", log->path, name);
    int rc = add_path(log, flush, path);

    free(path);
    return rc;
}

static int add_rest(struct log *log, struct log_flush *flush)
{
    int rc = 0;

    log_write_epochs(log);
    if (log->epochs_unsynced)
        rc = add_named(log, flush, "leader-epoch-checkpoint");
    if (rc == 0 && log->metadata_unsynced)
        rc = add_named(log, flush, "partition.metadata");
    if (log->dir_changed)
        flush->dir = xstrdup(log->path);
    if (log->dir_changed && log->is_new)
        flush->parent = parent_of(log->path);
    return rc;
}

/* Opens the files; true when there is something to do.  Files that cannot be
 * opened leave flush->result negative and everything as it was. */
static bool collect(struct log *log, struct log_flush *flush)
{
    /* Four files per segment, one for the epochs, one for the topic id. */
    enum { SEGMENTS_MAX = (LOG_FLUSH_FILES - 2) / 4 };
    int taken = 0;

    flush->result = 0;
    flush->files_len = 0;
    flush->dir = flush->parent = NULL;
    flush->end_offset = log->end_offset;
    for (uint32_t i = 0; i < log->segments_len; i++) {
        struct segment *s = &log->segments[i];
        if (!s->unsynced || !s->stored)
            continue;
        if (taken++ == SEGMENTS_MAX) {
            /* A segment begun behind a gap may have no batch yet. */
            if (s->base_offset < flush->end_offset)
                flush->end_offset = s->base_offset;
            break;
        }
        if ((flush->result = add_segment(log, flush, s)) < 0)
            break;
    }
    flush->recovery_point = flush->end_offset;
    if (taken == 0 && !log->epochs_unsynced && !log->dir_changed)
        return false;
    if (flush->result == 0)
        flush->result = add_rest(log, flush);
    if (flush->result < 0) {
        release(flush);
        log_warn("log", "%s could not be synced (%s): its files do not open",
                 log->path, strerror(-flush->result));
    }
    return true;
}

/* From here on new changes count as not covered. */
static void mark_covered(struct log *log, const struct log_flush *flush)
{
    bool all = flush->end_offset == log->end_offset;

    for (uint32_t i = 0; i < log->segments_len; i++)
        if (all || log->segments[i].base_offset < flush->end_offset)
            log->segments[i].unsynced = log->segments[i].aborted.unsynced =
                false;
    log->epochs_unsynced = log->dir_changed = log->is_new = false;
    log->metadata_unsynced = false;
    if (all)
        log->unsynced_since_ms = -1;
}

static int sync_all(struct log_flush *flush)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < flush->files_len; i++)
        rc = env_file_sync(flush->files[i]);
    if (PLANTED(LOG_SWALLOWS_SYNC_ERRORS))
        rc = 0;
    if (rc == 0 && flush->dir != NULL)
        rc = env_sync_dir(flush->env, flush->dir);
    if (rc == 0 && flush->parent != NULL)
        rc = env_sync_dir(flush->env, flush->parent);
    release(flush);
    return rc;
}

static void finish(struct log *log, struct log_flush *flush)
{
    if (log->failed && flush->result == 0)
        flush->result = -EIO; /* one before it failed, which covered more */
    if (flush->result < 0 && !flush->not_begun && !log->failed) {
        log->failed = true;
        log_line(LOG_ERROR, "log",
                 "syncing %s failed (%s); the log takes no more requests",
                 log->path, strerror(-flush->result));
    }
    if (flush->result == 0 && flush->end_offset > log->synced_offset)
        log->synced_offset = flush->end_offset;
    if (flush->result == 0 && flush->recovery_point > log->recovery_point)
        log->recovery_point = flush->recovery_point;
}

static void run(struct env_work *work)
{
    struct log_flush *flush = LIST_ENTRY(work, struct log_flush, work);

    int waits = STAGE_WAITS;

    if (!atomic_compare_exchange_strong(&flush->stage, &waits, STAGE_SYNCS)) {
        release(flush); /* another one covers it */
        return;
    }
    if (!flush->not_begun)
        flush->result = sync_all(flush);
    atomic_store_explicit(&flush->stage, STAGE_RAN, memory_order_release);
}

static void done(struct env_work *work)
{
    struct log_flush *flush = LIST_ENTRY(work, struct log_flush, work);
    struct log *log = flush->log;

    list_remove(&flush->link);
    if (log->closed) {
        flush->log = NULL;
        flush->result = -ECANCELED;
        if (list_empty(&log->flushes))
            log_free(log);
    } else {
        finish(log, flush);
    }
    if (flush->done != NULL)
        flush->done(flush);
}

static bool begin(struct log *log, struct log_flush *flush)
{
    if (flush->result == 0)
        mark_covered(log, flush);
    flush->not_begun = flush->result < 0;
    atomic_store(&flush->stage, STAGE_WAITS);
    flush->log = log;
    flush->env = log->env;
    flush->work = (struct env_work){.lane = log, .run = run, .done = done};
    list_push_back(&log->flushes, &flush->link);
    env_work_start(log->env, &flush->work);
    return true;
}

/* If others cover all, it has nothing to do but to end behind them. */
bool log_flush_begin(struct log *log, struct log_flush *flush)
{
    if (log->failed)
        return false;
    if (!collect(log, flush) &&
        (log->synced_offset == log->end_offset || list_empty(&log->flushes)))
        return false;
    return begin(log, flush);
}

static void own_done(struct log_flush *flush) { free(flush); }

void log_flush_own(struct log *log)
{
    struct log_flush *flush = xcalloc(1, sizeof *flush);

    flush->done = own_done;
    if (log->failed || !collect(log, flush) || !begin(log, flush))
        free(flush);
}

bool log_flush_due(const struct log *log, int64_t now_ms)
{
    return log->unsynced_since_ms >= 0 && log->config.flush_ms >= 0 &&
           now_ms - log->unsynced_since_ms >= log->config.flush_ms;
}

void log_flush_cut(struct log *log, int64_t end_offset)
{
    if (PLANTED(LOG_LETS_FLUSHES_OUTLIVE_CUTS))
        return;
    LIST_EACH (node, &log->flushes) {
        struct log_flush *flush = LIST_ENTRY(node, struct log_flush, link);
        if (flush->end_offset > end_offset)
            flush->end_offset = end_offset;
        if (flush->recovery_point > end_offset)
            flush->recovery_point = end_offset;
    }
}

/* Nothing is missing on disk that was there before. */
void log_end_at(struct log *log, int64_t end_offset)
{
    int64_t before = log->end_offset;

    ASSERT(end_offset >= before);
    log->end_offset = end_offset;
    if (log->synced_offset == before)
        log->synced_offset = end_offset;
    LIST_EACH (node, &log->flushes) {
        struct log_flush *flush = LIST_ENTRY(node, struct log_flush, link);
        if (flush->end_offset == before)
            flush->end_offset = end_offset;
    }
}

static void lower_recovery_point(struct log *log, int64_t offset)
{
    if (log->recovery_point > offset)
        log->recovery_point = offset;
    LIST_EACH (node, &log->flushes) {
        struct log_flush *flush = LIST_ENTRY(node, struct log_flush, link);
        if (flush->recovery_point > offset)
            flush->recovery_point = offset;
    }
}

/* A recovery point inside of the segment has its indexes made anew. */
void log_flush_rolled(struct log *log, const struct segment *old)
{
    int64_t base = log_active(log)->base_offset;
    int64_t inside = (base < log->end_offset ? base : log->end_offset) - 1;

    lower_recovery_point(log,
                         inside < old->base_offset ? old->base_offset : inside);
}

/* A flush may have begun between the batch's append and this. */
void log_flush_noted(struct log *log, struct segment *s, int64_t offset)
{
    s->unsynced = true;
    lower_recovery_point(log, offset);
}

/* What flushes under way cover is not on disk yet: count it again.  Below the
 * recovery point everything is; between it and the synced offset indexes and
 * aborted transactions of segments may be missing. */
static void uncover(struct log *log)
{
    if (list_empty(&log->flushes))
        return;
    log->epochs_unsynced = log->dir_changed = log->is_new = true;
    log->metadata_unsynced = true;
    for (uint32_t i = log_segment_of(log, log->recovery_point);
         i < log->segments_len; i++)
        log->segments[i].unsynced = log->segments[i].aborted.unsynced = true;
}

/* Flushes under way that have not begun leave it to the one that follows here;
 * that of a helper is waited for, since it may be told of an error that nobody
 * is told of again.  0 or the -errno that one of them has met. */
static int take_over(struct log *log)
{
    int rc = 0;

    LIST_EACH (node, &log->flushes) {
        struct log_flush *flush = LIST_ENTRY(node, struct log_flush, link);
        int stage = STAGE_WAITS;

        if (flush->not_begun ||
            atomic_compare_exchange_strong(&flush->stage, &stage, STAGE_TAKEN))
            continue;
        while ((stage = atomic_load_explicit(
                    &flush->stage, memory_order_acquire)) == STAGE_SYNCS)
            env_pause(log->env);
        if (stage == STAGE_RAN && flush->result < 0)
            rc = flush->result;
    }
    return rc;
}

/* Nothing covers what was taken over. */
static enum err give_back(struct log *log, int rc)
{
    LIST_EACH (node, &log->flushes) {
        struct log_flush *flush = LIST_ENTRY(node, struct log_flush, link);

        if (atomic_load(&flush->stage) == STAGE_TAKEN) {
            flush->not_begun = true;
            flush->result = rc;
        }
    }
    return log_errno(rc);
}

enum err log_flush_now(struct log *log)
{
    struct log_flush flush = {0};

    if (log->failed)
        return ERR_IO;
    int rc = segment_seal(log, log_active(log));
    if (rc == 0)
        rc = take_over(log);
    if (rc < 0)
        return give_back(log, rc);
    uncover(log);
    while (collect(log, &flush)) {
        if (flush.result < 0)
            return give_back(log, flush.result);
        mark_covered(log, &flush);
        flush.env = log->env;
        flush.result = sync_all(&flush);
        finish(log, &flush);
        if (flush.result < 0)
            return log_errno(flush.result);
    }
    return ERR_NONE;
}
