/* Damaged bytes are evidence: they are kept aside in files ending in .damaged,
 * never overwritten by later ones, before the log lets go of them.  And the
 * other ways in which segments leave a log that is being opened.
 *
 * As long as there is such a file the log lacks records that it once had; which
 * ones, its whole batches tell.  When they have been fetched again the file is
 * renamed to .refetched; somebody who wants to go on without them takes the
 * file away.
 *
 * What was never known to be on disk, and may have been torn by a power loss,
 * ends in .torn.damaged; in .unsynced.damaged if whole batches follow, because
 * pages reach a disk in any order.  Whoever has the only copy may go on without
 * it, and the file is renamed to .lost. */
#include "broker/log/recovery.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const infixes[] = {
    [ASIDE_DAMAGED] = "",
    [ASIDE_TORN] = ".torn",
    [ASIDE_UNSYNCED] = ".unsynced",
};

/* "PATH.damaged", or with a number if that is taken.  Caller frees. */
static char *free_name(struct log *log, const char *path)
{
    const char *infix = infixes[log->aside_kind];
    char *name = xasprintf("%s%s.damaged", path, infix);

    for (int i = 1; env_path_kind(log->env, name) != 0; i++) {
        free(name);
        name = xasprintf("%s.%d%s.damaged", path, i, infix);
    }
    return name;
}

static int copy_range(struct env_file *from, int64_t position, int64_t end,
                      struct env_file *to)
{
    enum { PIECE = 1 << 20 };
    uint8_t *piece = xmalloc(PIECE);
    int64_t written = 0;
    int rc = 0;

    while (rc == 0 && position < end) {
        size_t n = end - position < PIECE ? (size_t)(end - position) : PIECE;
        int64_t got = env_file_read(from, piece, n, position);
        if (got <= 0) {
            rc = got < 0 ? (int)got : -EIO;
            break;
        }
        struct slice part = slice_of(piece, (size_t)got);
        rc = env_file_write(to, &part, 1, written);
        position += got;
        written += got;
    }
    free(piece);
    return rc;
}

int aside_keep_rest(struct log *log, struct segment *s, int64_t position)
{
    struct env_file *from, *to;
    char path[PATH_MAX], suffix[40];
    int rc = segment_open_file(log, s, false, &from);

    if (rc < 0)
        return rc;
    snprintf(suffix, sizeof suffix, ".log.from-%lld", (long long)position);
    char *name =
        free_name(log, log_file_path(log, s->base_offset, suffix, path));
    rc = env_file_open(log->env, name, ENV_CREATE | ENV_EXCLUSIVE, &to);
    if (rc == 0) {
        rc = copy_range(from, position, s->size_bytes, to);
        if (rc == 0)
            rc = env_file_sync(to);
        env_file_unref(to);
        if (rc == 0)
            rc = env_sync_dir(log->env, log->path);
        if (rc < 0)
            env_unlink(log->env, name);
    }
    free(name);
    env_file_unref(from);
    return rc;
}

static void unlink_suffix(struct log *log, const struct segment *s,
                          const char *suffix)
{
    char path[PATH_MAX];

    env_unlink(log->env, log_file_path(log, s->base_offset, suffix, path));
}

/* Removes a segment's files; its batches are kept aside or unlinked. */
static int remove_files(struct log *log, const struct segment *s, bool keep)
{
    char path[PATH_MAX];
    int rc;

    log_file_path(log, s->base_offset, ".log", path);
    if (keep && s->size_bytes != 0) {
        char *name = free_name(log, path);
        rc = env_rename(log->env, path, name);
        free(name);
    } else {
        rc = env_unlink(log->env, path);
    }
    if (rc < 0)
        return rc;
    unlink_suffix(log, s, ".index");
    unlink_suffix(log, s, ".timeindex");
    unlink_suffix(log, s, ".txnindex");
    unlink_suffix(log, s, ".snapshot");
    log->dir_changed = true;
    return 0;
}

/* Takes the segments from n on out of the log. */
int aside_remove_segments(struct log *log, uint32_t n, bool keep)
{
    while (log->segments_len > n) {
        struct segment *s = log_active(log);
        int rc = remove_files(log, s, keep);
        if (rc < 0)
            return rc;
        log->size_bytes -= s->size_bytes;
        segment_free(s);
        log->segments_len--;
    }
    return 0;
}

int aside_remove_empty(struct log *log, uint32_t i)
{
    struct segment *s = &log->segments[i];

    ASSERT(s->size_bytes == 0);
    int rc = remove_files(log, s, false);
    if (rc < 0)
        return rc;
    segment_free(s);
    log->segments_len--;
    memmove(s, s + 1, (log->segments_len - i) * sizeof *s);
    return 0;
}

/* Segments wholly below the start offset were deleted, but a power loss may
 * have brought their files back. */
int aside_remove_below(struct log *log, int64_t start_offset)
{
    uint32_t n = 0;

    while (n + 1 < log->segments_len &&
           log->segments[n + 1].base_offset <= start_offset)
        n++;
    if (n == 0)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        int rc = remove_files(log, &log->segments[i], false);
        if (rc < 0)
            return rc;
        log->size_bytes -= log->segments[i].size_bytes;
        segment_free(&log->segments[i]);
    }
    log->segments_len -= n;
    memmove(log->segments, log->segments + n,
            log->segments_len * sizeof *log->segments);
    return 0;
}

/* ---- what was lost --------------------------------------------------------*/

static const char damaged_suffix[] = ".damaged";

static bool is_damaged_name(const char *name)
{
    size_t n = strlen(name), m = strlen(damaged_suffix);

    return n > m && strcmp(name + n - m, damaged_suffix) == 0;
}

static bool is_of_kind(const char *name, enum aside_kind kind)
{
    size_t n = strlen(name), m = strlen(damaged_suffix);
    size_t k = strlen(infixes[kind]);

    return n > m + k && memcmp(name + n - m - k, infixes[kind], k) == 0;
}

/* Calls fn for the path of each .damaged file until it fails. */
static int each_damaged(struct log *log,
                        int (*fn)(struct log *, const char *,
                                  struct log_open_report *),
                        struct log_open_report *report)
{
    char **names;
    size_t names_len;
    int rc = env_list_dir(log->env, log->path, &names, &names_len);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < names_len; i++) {
        if (rc == 0 && is_damaged_name(names[i])) {
            char *path = xasprintf("%s/%s", log->path, names[i]);
            rc = fn(log, path, report);
            free(path);
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

static int measure(struct log *log, const char *path,
                   struct log_open_report *report)
{
    struct env_file *file;
    const char *suffix;
    int64_t base = log_base_of_name(strrchr(path, '/') + 1, &suffix);
    int rc = env_file_open(log->env, path, ENV_READ, &file);

    if (rc < 0)
        return rc;
    int64_t size = env_file_size(file);
    rc = size < 0 ? (int)size
                  : walk_salvage(file, size, base < 0 ? 0 : base,
                                 &report->lost_until, &report->lost_epoch);
    env_file_unref(file);
    if (report->lost_until <= log->end_offset)
        report->lost_until = log->end_offset + 1;
    if (!is_of_kind(path, ASIDE_TORN)) {
        report->lost_torn = false;
        if (!is_of_kind(path, ASIDE_UNSYNCED))
            report->lost_unsynced = false;
    }
    return rc;
}

int aside_measure(struct log *log, struct log_open_report *report)
{
    report->lost_until = 0;
    report->lost_epoch = -1;
    report->lost_torn = report->lost_unsynced = true;
    return each_damaged(log, measure, report);
}

static int rename_to(struct log *log, const char *path, const char *suffix)
{
    size_t len = strlen(path) - strlen(damaged_suffix);
    char *to = xasprintf("%.*s%s", (int)len, path, suffix);
    int rc = env_rename(log->env, path, to);

    free(to);
    return rc;
}

static int mend(struct log *log, const char *path,
                struct log_open_report *report)
{
    (void)report;
    return rename_to(log, path, ".refetched");
}

static int give_up(struct log *log, const char *path,
                   struct log_open_report *report)
{
    (void)report;
    return rename_to(log, path, ".lost");
}

void log_damage_mended(struct log *log)
{
    int rc = each_damaged(log, mend, NULL);

    log->dir_changed = true;
    if (rc < 0)
        log_warn("log",
                 "Cannot rename files ending in .damaged in %s: %s. What was "
                 "in them has been fetched again; remove them",
                 log->path, strerror(-rc));
}

void log_damage_given_up(struct log *log)
{
    int rc = each_damaged(log, give_up, NULL);

    log->dir_changed = true;
    if (rc < 0)
        log_warn("log",
                 "Cannot rename files ending in .damaged in %s: %s. The log "
                 "goes on without what is in them; take them away",
                 log->path, strerror(-rc));
}
