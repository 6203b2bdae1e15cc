/* Cleaned segments take the place of those they were made from.
 *
 * By renames, whose order a crash keeps:
 *
 *   1  BASE.timeindex.cleaned, BASE.index.cleaned -> .swap
 *   2  BASE.log.cleaned -> BASE.log.swap    from here on it is the truth
 *   3  files of the old segments -> .deleted, or unlinked
 *   4  BASE.timeindex.swap, BASE.index.swap, BASE.log.swap -> their names
 *
 * A log that is opened with a BASE.log.swap has been stopped behind 2: the
 * segments that begin within its offsets go, if they are still there, and 4 is
 * done.  A .swap of an index alone was stopped before 2, and goes. */
#include "base/log.h"
#include "broker/log/clean_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The .log file is last at becoming .swap and at ceasing to be it. */
static const char *const kinds[] = {".timeindex", ".index", ".log"};
enum { KINDS = sizeof kinds / sizeof kinds[0], INDEX_KINDS = KINDS - 1 };

static int rename_suffix(struct log *log, int64_t base_offset, const char *kind,
                         const char *from_suffix, const char *to_suffix)
{
    char from[PATH_MAX], to[PATH_MAX], suffix[32];

    snprintf(suffix, sizeof suffix, "%s%s", kind, from_suffix);
    log_file_path(log, base_offset, suffix, from);
    snprintf(suffix, sizeof suffix, "%s%s", kind, to_suffix);
    log_file_path(log, base_offset, suffix, to);
    return env_rename(log->env, from, to);
}

/* ---- swapping -------------------------------------------------------------*/

int log_replace_segments(struct log *log, uint32_t from, uint32_t n,
                         struct segment *fresh)
{
    struct segment *old = &log->segments[from];
    int rc = log_doom_replaced(log, old, n);

    for (int i = 0; rc == 0 && i < KINDS; i++)
        rc = rename_suffix(log, fresh->base_offset, kinds[i], ".swap", "");
    /* Its aborted transactions are those of the first; the others have none. */
    struct aborted_index none = fresh->aborted;
    fresh->aborted = old[0].aborted;
    old[0].aborted = none;
    for (uint32_t i = 0; i < n; i++) {
        log->size_bytes -= old[i].size_bytes;
        segment_free(&old[i]);
    }
    log->size_bytes += fresh->size_bytes;
    *old = *fresh;
    *fresh = (struct segment){0};
    log->segments_len -= n - 1;
    memmove(old + 1, old + n,
            (log->segments_len - from - 1) * sizeof *log->segments);
    log->dir_changed = true;
    return rc;
}

/* The group's segments are where they were: whoever changes them aborts. */
static uint32_t place_of_group(const struct log_clean *c)
{
    uint32_t i = log_segment_of(c->log, c->fresh.base_offset);

    for (uint32_t k = c->group_first; k < c->group_end; k++)
        ASSERT(c->log->segments[i + k - c->group_first].base_offset ==
                   c->sources[k].base_offset &&
               c->log->segments[i + k - c->group_first].size_bytes ==
                   c->sources[k].size_bytes);
    return i;
}

/* Before anything else: it is right for the segment as it is, too. */
static int swap_aborted(struct log_clean *c, struct segment *first)
{
    char from[PATH_MAX], to[PATH_MAX];
    int rc;

    if (!c->new_aborted)
        return 0;
    clean_path(c, c->fresh.base_offset, ".txnindex.cleaned", from);
    clean_path(c, c->fresh.base_offset, ".txnindex", to);
    rc = c->aborted_left.len != 0 ? env_rename(c->env, from, to)
                                  : env_unlink(c->env, to);
    if (rc == 0) {
        aborted_replaced(first, buf_slice(&c->aborted_left));
        c->log->dir_changed = true;
    }
    return rc;
}

static int become_swap(struct log_clean *c)
{
    int64_t base = c->fresh.base_offset;
    int rc = 0, done = 0;

    for (; rc == 0 && done < KINDS; done++)
        rc = rename_suffix(c->log, base, kinds[done], ".cleaned", ".swap");
    if (rc == 0)
        return 0;
    while (--done > 0)
        rename_suffix(c->log, base, kinds[done - 1], ".swap", ".cleaned");
    return rc;
}

void log_clean_swap(struct log_clean *c)
{
    struct log *log = c->log;

    ASSERT(c->phase == CLEAN_SWAPPING && c->target != NULL);
    if (log == NULL || log->failed)
        log_clean_abort(c);
    if (atomic_load(&c->aborted))
        return; /* the next step removes it */
    uint32_t at = place_of_group(c);
    int rc = swap_aborted(c, &log->segments[at]);
    if (rc == 0)
        rc = become_swap(c);
    if (rc < 0) {
        log_warn("log", "%s could not be cleaned (%s)", log->path,
                 strerror(-rc));
        log_clean_abort(c);
        return;
    }
    env_file_unref(c->target);
    c->target = NULL;
    rc =
        log_replace_segments(log, at, c->group_end - c->group_first, &c->fresh);
    if (rc < 0) {
        log->failed = true;
        log_line(LOG_ERROR, "log",
                 "putting the cleaned segment %lld of %s in its place failed "
                 "(%s); the log takes no more requests",
                 (long long)c->sources[c->group_first].base_offset, log->path,
                 strerror(-rc));
        log_clean_abort(c);
    }
}

/* ---- after a crash --------------------------------------------------------*/

enum { BASE_DIGITS = 20 };

/* "00000000000000000042SUFFIX" -> 42, or -1. */
static int64_t base_of(const char *name, const char *suffix)
{
    int64_t base = 0;

    for (int i = 0; i < BASE_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9' ||
            base > (INT64_MAX - (name[i] - '0')) / 10)
            return -1;
        base = base * 10 + (name[i] - '0');
    }
    return strcmp(name + BASE_DIGITS, suffix) == 0 ? base : -1;
}

/* Where the batches of BASE.log.swap end (exclusive); -EBADMSG when they are
 * not whole. */
static int swap_end(struct log *log, int64_t base, int64_t *end_offset)
{
    char path[PATH_MAX];
    struct env_file *file;
    enum walk_result result;
    struct walk w;
    int rc = env_file_open(
        log->env, log_file_path(log, base, ".log.swap", path), ENV_READ, &file);

    if (rc < 0)
        return rc;
    *end_offset = base + 1;
    walk_init(&w, file, 0, env_file_size(file));
    while ((result = walk_next(&w)) == WALK_BATCH)
        *end_offset = batch_last_offset(&w.batch) + 1;
    rc = result == WALK_BAD ? -EBADMSG : result == WALK_IO ? w.error : 0;
    walk_free(&w);
    env_file_unref(file);
    return rc;
}

static int unlink_kind(struct log *log, int64_t base, const char *suffix)
{
    char path[PATH_MAX];
    int rc = env_unlink(log->env, log_file_path(log, base, suffix, path));

    return rc == -ENOENT ? 0 : rc;
}

/* The segments that were cleaned into this one, but for the first, which it
 * replaces. */
static int remove_replaced(struct log *log, int64_t base, int64_t end_offset,
                           char **names, size_t names_len)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < names_len; i++)
        for (int k = 0; rc == 0 && k < KINDS; k++) {
            int64_t other = base_of(names[i], kinds[k]);
            if (other > base && other < end_offset)
                rc = unlink_kind(log, other, kinds[k]);
        }
    return rc;
}

/* An index that did not become .swap is the old one's: without it the new one
 * is made from the batches. */
static int take_names(struct log *log, int64_t base)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < INDEX_KINDS; i++) {
        rc = rename_suffix(log, base, kinds[i], ".swap", "");
        if (rc == -ENOENT)
            rc = unlink_kind(log, base, kinds[i]);
    }
    return rc < 0 ? rc : rename_suffix(log, base, ".log", ".swap", "");
}

static int finish_swap(struct log *log, int64_t base, char **names,
                       size_t names_len)
{
    char path[PATH_MAX];
    int64_t end_offset = base;
    int rc = swap_end(log, base, &end_offset);

    if (rc == -EBADMSG &&
        env_path_kind(log->env, log_file_path(log, base, ".log", path)) != 0) {
        log_warn("log",
                 "%s/%020lld.log.swap is damaged; what it was made from is "
                 "still there and stays",
                 log->path, (long long)base);
        return unlink_kind(log, base, ".log.swap");
    }
    if (rc < 0 && rc != -EBADMSG)
        return rc;
    rc = remove_replaced(log, base, end_offset, names, names_len);
    return rc < 0 ? rc : take_names(log, base);
}

int clean_recover(struct log *log, char **names, size_t names_len)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < names_len; i++) {
        int64_t base = base_of(names[i], ".log.swap");
        if (base >= 0)
            rc = finish_swap(log, base, names, names_len);
    }
    for (size_t i = 0; rc == 0 && i < names_len; i++)
        for (int k = 0; rc == 0 && k < INDEX_KINDS; k++) {
            char suffix[32];
            snprintf(suffix, sizeof suffix, "%s.swap", kinds[k]);
            int64_t base = base_of(names[i], suffix);
            if (base >= 0)
                rc = unlink_kind(log, base, suffix);
        }
    return rc < 0 ? rc : env_sync_dir(log->env, log->path);
}
