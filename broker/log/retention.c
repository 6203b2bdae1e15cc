/* What leaves a log at its start: retention by time and size, DeleteRecords,
 * the leader's start offset; and how files and directories go away.
 *
 * A segment's files are renamed to .deleted at once, so that a crash cannot
 * bring them back, and unlinked on a helper thread after file.delete.delay.ms:
 * unlinking a gigabyte takes the file system a while.  A deleted log's
 * directory is renamed and emptied without a delay: readers hold references to
 * what they read.  On a full disk there may be no room for a longer name: then
 * both are unlinked at once. */
#include "base/log.h"
#include "broker/log/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Renamed files that wait to be unlinked. */
struct doomed {
    struct list link; /* in log->doomed until the timer fires */
    struct env_timer timer;
    struct env_work work;
    struct env *env;
    char **paths; /* owned */
    size_t paths_len;
};

static void unlink_all(struct doomed *d)
{
    for (size_t i = 0; i < d->paths_len; i++)
        env_unlink(d->env, d->paths[i]); /* what stays goes at the next open */
}

static void doomed_free(struct doomed *d)
{
    for (size_t i = 0; i < d->paths_len; i++)
        free(d->paths[i]);
    free(d->paths);
    free(d);
}

static void doomed_run(struct env_work *work)
{
    unlink_all(LIST_ENTRY(work, struct doomed, work));
}

static void doomed_done(struct env_work *work)
{
    doomed_free(LIST_ENTRY(work, struct doomed, work));
}

static void doomed_due(void *arg)
{
    struct doomed *d = arg;

    list_remove(&d->link);
    d->work = (struct env_work){.run = doomed_run, .done = doomed_done};
    env_work_start(d->env, &d->work);
}

void log_bury_doomed(struct log *log)
{
    LIST_EACH_SAFE (node, tmp, &log->doomed) {
        struct doomed *d = LIST_ENTRY(node, struct doomed, link);
        list_remove(&d->link);
        env_timer_stop(d->env, &d->timer);
        unlink_all(d);
        doomed_free(d);
    }
}

/* The files a segment may have; .log last, so that a crash in between leaves
 * a segment and not orphans. */
static const char *const suffixes[] = {".txnindex", ".snapshot", ".timeindex",
                                       ".index", ".log"};
enum {
    SUFFIXES = sizeof suffixes / sizeof suffixes[0],
    ABORTED_AT = 0,
    SNAPSHOT_AT = 1,
    INDEXES_AT = 2,
};

/* Whoever has it open keeps what is in it. */
static int doom_file(struct log *log, const char *path, struct doomed *d)
{
    char *to = xasprintf("%s.deleted", path);
    int rc = env_rename(log->env, path, to);

    if (rc == 0) {
        d->paths[d->paths_len++] = to;
        return 0;
    }
    free(to);
    if (rc != -ENOENT) {
        rc = env_unlink(log->env, path);
        log->dir_changed |= rc == 0;
    }
    if (rc == 0 || rc == -ENOENT)
        return 0;
    log_warn("log", "%s could not be removed (%s)", path, strerror(-rc));
    return rc;
}

/* From the i-th suffix on; those behind one that cannot be removed stay. */
static int doom_files(struct log *log, const struct segment *s, int i,
                      struct doomed *d)
{
    char path[PATH_MAX];
    int rc = 0;

    for (; rc == 0 && i < SUFFIXES; i++)
        rc = doom_file(
            log, log_file_path(log, s->base_offset, suffixes[i], path), d);
    return rc;
}

static struct doomed *doomed_new(struct log *log, uint32_t n)
{
    struct doomed *d = xcalloc(1, sizeof *d);

    d->env = log->env;
    d->paths = xcalloc((size_t)n * SUFFIXES, sizeof *d->paths);
    return d;
}

static void bury_later(struct log *log, struct doomed *d)
{
    if (d->paths_len == 0) {
        doomed_free(d);
        return;
    }
    log->dir_changed = true;
    d->timer.fn = doomed_due;
    d->timer.arg = d;
    list_push_back(&log->doomed, &d->link);
    env_timer_start(log->env, &d->timer, log->config.file_delete_delay_ms);
}

static void doomed_is(struct log *log, struct segment *s)
{
    log->size_bytes -= s->size_bytes;
    segment_free(s);
}

/* Of the last segment: if it stays, its aborted transactions are noted again,
 * since the recovery point lies in it or before. */
static int doom_last(struct log *log, struct segment *s, struct doomed *d)
{
    int rc = s->stored ? doom_files(log, s, ABORTED_AT, d) : 0;

    if (rc == 0)
        doomed_is(log, s);
    return rc;
}

/* Of the first: the recovery point lies behind it, so if it stays, nothing
 * tells that its aborted transactions are missing.  Without the .log they are
 * an orphan, which the next opening takes away. */
static int doom_first(struct log *log, struct segment *s, struct doomed *d)
{
    char path[PATH_MAX];
    int rc = s->stored ? doom_files(log, s, SNAPSHOT_AT, d) : 0;

    if (rc < 0)
        return rc;
    if (s->stored)
        doom_file(
            log, log_file_path(log, s->base_offset, suffixes[ABORTED_AT], path),
            d);
    doomed_is(log, s);
    return 0;
}

/* What is left after each is a log that ends earlier.  The caller puts a new
 * segment in if none is left. */
int log_drop_from(struct log *log, uint32_t from)
{
    int rc = 0;

    if (from >= log->segments_len)
        return 0;
    struct doomed *d = doomed_new(log, log->segments_len - from);
    log_clean_cut(log, log->segments[from].base_offset);
    while (rc == 0 && log->segments_len > from) {
        rc = doom_last(log, log_active(log), d);
        if (rc == 0)
            log->segments_len--;
    }
    bury_later(log, d);
    return rc;
}

uint32_t log_drop_first(struct log *log, uint32_t n)
{
    uint32_t dropped = 0;

    if (n == 0)
        return 0;
    ASSERT(n < log->segments_len);
    struct doomed *d = doomed_new(log, n);
    log_clean_cut(log, log->segments[0].base_offset);
    while (dropped < n && doom_first(log, &log->segments[dropped], d) == 0)
        dropped++;
    log->segments_len -= dropped;
    memmove(log->segments, log->segments + dropped,
            log->segments_len * sizeof *log->segments);
    if (dropped < n) { /* some of its files may be gone */
        segment_reset_indexes(log, &log->segments[0]);
        log->segments[0].loaded = false;
    }
    bury_later(log, d);
    return dropped;
}

int log_doom_replaced(struct log *log, const struct segment *old, uint32_t n)
{
    struct doomed *d = doomed_new(log, n);
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < n; i++)
        if (old[i].stored)
            rc = doom_files(log, &old[i], INDEXES_AT, d);
    bury_later(log, d);
    return rc;
}

/* ---- retention -----------------------------------------------------------*/

/* Exclusive upper bound of the offsets in segment i. */
static int64_t segment_end(const struct log *log, uint32_t i)
{
    return i + 1 < log->segments_len ? log->segments[i + 1].base_offset
                                     : log->end_offset;
}

static bool too_old(struct log *log, struct segment *s, int64_t now_wall_ms)
{
    if (log->config.retention_ms < 0 || segment_load(log, s, NULL) < 0)
        return false;
    if (s->created_ms < 0)
        s->created_ms = now_wall_ms;
    int64_t newest = s->max_timestamp >= 0 ? s->max_timestamp : s->created_ms;
    return now_wall_ms - newest > log->config.retention_ms;
}

/* Segments from the start that may go, by any of the three rules. */
static uint32_t count_expired(struct log *log, int64_t now_wall_ms,
                              int64_t high_watermark)
{
    int64_t excess =
        log->config.delete_policy && log->config.retention_bytes >= 0
            ? log->size_bytes - log->config.retention_bytes
            : -1;
    bool by_time = log->config.delete_policy;
    uint32_t n = 0;

    for (; n < log->segments_len; n++) {
        struct segment *s = &log->segments[n];
        int64_t end = segment_end(log, n);
        bool last = n + 1 == log->segments_len;
        if (end > high_watermark || (last && s->size_bytes == 0))
            break;
        bool below_start = end <= log->start_offset;
        bool too_much = excess >= (int64_t)s->size_bytes;
        if (!below_start && !too_much &&
            !(by_time && too_old(log, s, now_wall_ms)))
            break;
        excess -= s->size_bytes;
    }
    return n;
}

/* Drops the first n segments; the active one only after a roll.  They are left
 * behind also if a file cannot be removed: the next round tries again. */
static uint32_t drop_first(struct log *log, uint32_t n, int64_t now_wall_ms)
{
    if (n == log->segments_len &&
        log_roll(log, log->end_offset, now_wall_ms) != ERR_NONE)
        n--;
    if (n == 0)
        return 0;
    if (log->start_offset < log->segments[n].base_offset)
        log->start_offset = log->segments[n].base_offset;
    n = log_drop_first(log, n);
    epoch_cache_truncate_start(&log->epochs, log->start_offset);
    log_write_epochs(log);
    return n;
}

int log_apply_retention(struct log *log, int64_t now_wall_ms,
                        int64_t high_watermark)
{
    if (log->failed)
        return 0;
    uint32_t n = count_expired(log, now_wall_ms, high_watermark);
    if (n == 0)
        return 0;
    n = drop_first(log, n, now_wall_ms);
    if (n != 0)
        log_info("log", "%s: %u segments removed, it starts at offset %lld now",
                 log->path, n, (long long)log->start_offset);
    return (int)n;
}

enum err log_raise_start(struct log *log, int64_t start_offset)
{
    uint32_t n = 0;

    if (log->failed)
        return ERR_IO;
    if (start_offset > log->end_offset)
        return ERR_OFFSET_OUT_OF_RANGE;
    if (start_offset <= log->start_offset)
        return ERR_NONE;
    log->start_offset = start_offset;
    while (n + 1 < log->segments_len && segment_end(log, n) <= start_offset)
        n++;
    n = log_drop_first(log, n);
    epoch_cache_truncate_start(&log->epochs, start_offset);
    if (n != 0)
        log_write_epochs(log);
    return ERR_NONE;
}

/* ---- whole directories -------------------------------------------------- */

/* Removes a directory of plain files. */
static int remove_dir(struct env *env, const char *path)
{
    char **names;
    size_t names_len;
    int rc = env_list_dir(env, path, &names, &names_len);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < names_len; i++) {
        char *file = xasprintf("%s/%s", path, names[i]);
        env_unlink(env, file);
        free(file);
        free(names[i]);
    }
    free(names);
    return env_rmdir(env, path);
}

static void remove_or_warn(struct env *env, const char *path)
{
    int rc = remove_dir(env, path);

    if (rc < 0)
        log_warn("log",
                 "%s could not be removed (%s); the next start tries "
                 "again",
                 path, strerror(-rc));
}

struct removal {
    struct env_work work;
    struct env *env;
    char *path; /* owned */
};

static void removal_run(struct env_work *work)
{
    struct removal *r = LIST_ENTRY(work, struct removal, work);

    remove_or_warn(r->env, r->path);
}

static void removal_done(struct env_work *work)
{
    struct removal *r = LIST_ENTRY(work, struct removal, work);

    free(r->path);
    free(r);
}

enum { HEX_ID_LEN = 32, NAME_MAX_LEN = 255 };
static const char delete_suffix[] = "-delete";
static const char future_suffix[] = "-future";

/* A long name is cut so that the whole fits a file system's limit. */
static char *path_with(struct env *env, const char *path, const char *suffix)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    int room = NAME_MAX_LEN - HEX_ID_LEN - 1 - (int)strlen(suffix);

    return xasprintf("%.*s%.*s.%016llx%016llx%s", (int)(name - path), path,
                     room, name, (unsigned long long)env_random(env),
                     (unsigned long long)env_random(env), suffix);
}

char *log_doomed_path(struct env *env, const char *path)
{
    return path_with(env, path, delete_suffix);
}

char *log_future_path(struct env *env, const char *path)
{
    return path_with(env, path, future_suffix);
}

/* The length of what is before the id; 0: it has no such suffix. */
static size_t name_before(const char *name, const char *suffix)
{
    size_t len = strlen(name), tail = strlen(suffix);

    if (len <= tail + HEX_ID_LEN + 1 || strcmp(name + len - tail, suffix) != 0)
        return 0;
    const char *id = name + len - tail - HEX_ID_LEN;
    return id[-1] == '.' && strspn(id, "0123456789abcdef") == HEX_ID_LEN
               ? (size_t)(id - 1 - name)
               : 0;
}

void log_delete(struct log *log)
{
    struct removal *r = xcalloc(1, sizeof *r);
    struct env *env = log->env;

    *r = (struct removal){
        .work = {.run = removal_run, .done = removal_done},
        .env = env,
        .path = log_doomed_path(env, log->path),
    };
    log_bury_doomed(log);
    int rc = env_rename(env, log->path, r->path);
    if (rc < 0 && remove_dir(env, log->path) < 0)
        log_line(LOG_ERROR, "log",
                 "%s could neither be renamed for deletion (%s) nor emptied",
                 log->path, strerror(-rc));
    log->failed = true; /* nothing more is written to the old path */
    log_close(log);
    if (rc < 0)
        removal_done(&r->work);
    else
        env_work_start(env, &r->work);
}

void log_remove(struct env *env, const char *path)
{
    char *doomed = log_doomed_path(env, path);

    remove_or_warn(env, env_rename(env, path, doomed) == 0 ? doomed : path);
    free(doomed);
}

int log_remove_leftovers(struct env *env, const char *dir,
                         void (*future)(void *arg, struct slice name),
                         void *arg)
{
    char **names;
    size_t names_len;
    int removed = 0;

    if (env_list_dir(env, dir, &names, &names_len) < 0)
        return 0;
    for (size_t i = 0; i < names_len; i++) {
        size_t of_future = name_before(names[i], future_suffix);

        if (of_future != 0)
            future(arg, slice_of(names[i], of_future));
        if (of_future != 0 || name_before(names[i], delete_suffix) != 0) {
            char *path = xasprintf("%s/%s", dir, names[i]);
            removed += remove_dir(env, path) == 0;
            free(path);
        }
        free(names[i]);
    }
    free(names);
    return removed;
}
