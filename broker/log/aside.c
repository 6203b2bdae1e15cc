/* Damaged bytes are evidence: they are kept aside in files ending in .damaged,
 * never overwritten by later ones, before the log lets go of them.  And the
 * other ways in which segments leave a log that is being opened. */
#include "broker/log/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* "PATH.damaged", or with a number if that is taken.  Caller frees. */
static char *free_name(struct log *log, const char *path)
{
    char *name = xasprintf("%s.damaged", path);

    for (int i = 1; env_path_kind(log->env, name) != 0; i++) {
        free(name);
        name = xasprintf("%s.%d.damaged", path, i);
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
