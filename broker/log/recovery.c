/* Making a log whole after a crash.
 *
 * Every segment from the recovery point's on is walked: headers below the
 * recovery point, headers and CRCs above it; their indexes and leader epochs
 * are made anew on the way.  A segment that was changed while nobody had it
 * open is checked whole, with all that follow.  The first bad batch ends the
 * log:
 *
 *   - a torn tail: it lies above the recovery point and no whole batch follows,
 *     as when the process or the machine stopped in the middle of a write.  It
 *     is cut.
 *   - damage: anything else.  The bytes from there on and all later segments
 *     are kept aside in files ending in .damaged, the report says where, and
 *     the replica fetches the rest again from its leader.  If they cannot be
 *     kept, nothing is touched and the log does not open.
 *
 * What is kept above the recovery point is written once more, see
 * write_again(). */
#include "broker/log/recovery.h"

#include "base/log.h"
#include "base/planted.h"

#include <errno.h>
#include <stdlib.h>

void recovery_note_epoch(struct log *log, const struct batch *b)
{
    if (b->leader_epoch >= 0 &&
        b->leader_epoch != epoch_cache_latest(&log->epochs))
        epoch_cache_assign(&log->epochs, b->leader_epoch, b->base_offset);
}

/* Where a segment stops making sense. */
struct bad {
    int64_t position;
    int64_t offset;   /* expected there */
    const char *why;  /* NULL: it is good to its end */
    int64_t unsynced; /* position of the first batch that may not be on disk */
};

/* Why the batch under the walk cannot stand where it is; NULL if it can. */
static const char *misplaced(struct recovery *r, struct segment *s,
                             const struct batch *b, int64_t floor,
                             int64_t ceiling)
{
    if (b->base_offset < floor)
        return "its offset is below that of the batch before";
    if (batch_last_offset(b) >= ceiling)
        return "its offsets reach into the next segment";
    if (batch_last_offset(b) - s->base_offset > INT32_MAX)
        return "its offset is too far from the segment's";
    /* As when a power loss brings back a file that truncation had removed. */
    if (b->leader_epoch >= 0 &&
        b->leader_epoch < epoch_cache_latest(&r->log->epochs))
        return "its leader epoch is older than that of the batch before";
    return NULL;
}

/* Writes the bytes of [from, to) over themselves.  If a sync of the process
 * before failed, they are in the page cache and count as written, but are not
 * on the disk, and the next sync would not write them either. */
static int write_again(struct log *log, struct segment *s, int64_t from,
                       int64_t to)
{
    enum { PART_BYTES = 64 * 1024 };
    struct env_file *file;
    char path[PATH_MAX];
    int rc = env_file_open(
        log->env, log_file_path(log, s->base_offset, ".log", path), 0, &file);

    if (rc < 0)
        return rc;
    uint8_t *part = xmalloc(PART_BYTES);
    while (rc == 0 && from < to) {
        size_t want = to - from < PART_BYTES ? (size_t)(to - from) : PART_BYTES;
        int64_t n = env_file_read(file, part, want, from);
        struct slice bytes = slice_of(part, n > 0 ? (size_t)n : 0);

        rc = n < 0    ? (int)n
             : n == 0 ? -EIO
                      : env_file_write(file, &bytes, 1, from);
        from += n;
    }
    free(part);
    env_file_unref(file);
    return rc;
}

static int walk_segment(struct recovery *r, struct segment *s, int64_t ceiling,
                        struct bad *bad)
{
    struct log *log = r->log;
    enum walk_result result;
    struct env_file *file;
    struct walk w;
    int rc = segment_open_file(log, s, false, &file);

    if (rc < 0)
        return rc;
    *bad = (struct bad){.offset = s->base_offset, .unsynced = -1};
    walk_init(&w, file, 0, s->size_bytes);
    while ((result = walk_next(&w)) == WALK_BATCH) {
        w.why = misplaced(r, s, &w.batch, bad->offset, ceiling);
        if (w.why != NULL) {
            result = WALK_BAD;
            break;
        }
        if (batch_last_offset(&w.batch) >= r->check_from &&
            !PLANTED(LOG_TRUSTS_TORN_TAILS)) {
            if ((result = walk_check_crc(&w)) != WALK_BATCH)
                break;
            r->report->scanned_bytes += w.batch.size_bytes;
            if (bad->unsynced < 0)
                bad->unsynced = w.position;
        }
        segment_note_batch(log, s, &w.batch, (uint32_t)w.position);
        recovery_note_epoch(log, &w.batch);
        bad->offset = batch_last_offset(&w.batch) + 1;
    }
    bad->position = w.position;
    bad->why = result == WALK_BAD ? w.why : NULL;
    rc = result == WALK_IO ? w.error : 0;
    walk_free(&w);
    env_file_unref(file);
    return rc;
}

static bool is_unsynced(const struct recovery *r, const struct bad *bad)
{
    return !r->whole && bad->offset >= r->recovery_point;
}

/* 1 when the bad batch, or what is missing, is where a write to this segment
 * may have been interrupted. */
static int may_be_torn(struct recovery *r, uint32_t i, const struct bad *bad)
{
    struct log *log = r->log;
    struct env_file *file;

    if (!is_unsynced(r, bad))
        return 0;
    int rc = segment_open_file(log, &log->segments[i], false, &file);
    if (rc < 0)
        return rc;
    rc = walk_find_valid(file, bad->position, log->segments[i].size_bytes,
                         bad->offset);
    env_file_unref(file);
    return rc < 0 ? rc : rc == 0;
}

/* And nothing was written behind it. */
static bool ends_here(const struct log *log, uint32_t i)
{
    for (uint32_t k = i + 1; k < log->segments_len; k++)
        if (log->segments[k].size_bytes != 0)
            return false;
    return true;
}

static int shorten(struct log *log, struct segment *s, int64_t position)
{
    struct env_file *file;
    char path[PATH_MAX];
    int rc = env_file_open(
        log->env, log_file_path(log, s->base_offset, ".log", path), 0, &file);

    if (rc < 0)
        return rc;
    rc = env_file_truncate(file, position);
    env_file_unref(file);
    if (rc < 0)
        return rc;
    log->size_bytes -= s->size_bytes - position;
    s->size_bytes = (uint32_t)position;
    return 0;
}

static int cut_torn_tail(struct recovery *r, uint32_t i, const struct bad *bad)
{
    struct log *log = r->log;
    struct segment *s = &log->segments[i];
    int64_t lost = s->size_bytes - bad->position;
    int rc = aside_remove_segments(log, i + 1, false);

    if (rc == 0)
        rc = shorten(log, s, bad->position);
    if (rc < 0)
        return rc;
    r->report->cut_bytes = lost;
    r->report->message = xasprintf(
        "%s/%020lld.log ended in %lld bytes of an unfinished write at position "
        "%lld (%s); they were cut, the log ends at offset %lld",
        log->path, (long long)s->base_offset, (long long)lost,
        (long long)bad->position, bad->why, (long long)bad->offset);
    return 0;
}

static int put_damage_aside(struct recovery *r, uint32_t i,
                            const struct bad *bad)
{
    struct log *log = r->log;
    struct segment *s = &log->segments[i];
    int rc = 0;

    if (bad->position < s->size_bytes)
        rc = aside_keep_rest(log, s, bad->position);
    enum err kept = log_errno(rc);
    /* From here on the log can only get shorter; a crash in between is seen as
     * the same damage again. */
    bool more = i + 1 < log->segments_len;
    if (rc == 0)
        rc = aside_remove_segments(log, i + 1, true);
    /* Or a power loss might bring them back behind a shorter one, below the
     * recovery point, where nobody would look for what is missing. */
    if (rc == 0 && more)
        rc = env_sync_dir(log->env, log->path);
    if (rc == 0)
        rc = shorten(log, s, bad->position);
    r->report->damaged_at = bad->offset;
    r->report->message = xasprintf(
        "%s/%020lld.log is damaged at position %lld, offset %lld: %s; %s%s",
        log->path, (long long)s->base_offset, (long long)bad->position,
        (long long)bad->offset, bad->why,
        rc == 0 ? "what follows was put aside in files ending in .damaged and "
                  "is to be fetched again from another replica"
                : "what follows could not be put aside: ",
        rc == 0 ? "" : strerror(-rc));
    /* Nothing is touched, and it may be kept later. */
    if (kept == ERR_FULL || kept == ERR_EXHAUSTED)
        return rc;
    return rc < 0 ? -EBADMSG : 0;
}

static int end_at_bad(struct recovery *r, uint32_t i, const struct bad *bad)
{
    int torn = may_be_torn(r, i, bad);

    if (torn < 0)
        return torn;
    if (torn && ends_here(r->log, i))
        return cut_torn_tail(r, i, bad);
    r->log->aside_kind = torn                  ? ASIDE_TORN
                         : is_unsynced(r, bad) ? ASIDE_UNSYNCED
                                               : ASIDE_DAMAGED;
    return put_damage_aside(r, i, bad);
}

/* Whether a gap in front of the segment at `next` may be compaction's doing.
 * Batches of a compacted log that another broker wrote may have gaps between
 * them, on disk and below the recovery point; ours have none. */
static bool is_compactions(struct recovery *r, int64_t next)
{
    if (!r->log->config.compact_policy)
        return false;
    if (r->clean || next <= r->recovery_point)
        return true;
    if (r->point_unknown && !r->gap_told)
        log_warn("log",
                 "%s has gaps between its segments, and what was known of how "
                 "much of it is on disk is lost. They are taken for "
                 "compaction's work",
                 r->log->path);
    r->gap_told = r->point_unknown;
    return r->point_unknown;
}

/* A segment that was rolled to but got no batch, when the end of the one
 * before was lost: it begins in the middle of nowhere. */
static int drop_empty_behind_gap(struct recovery *r, uint32_t i, int64_t end)
{
    struct log *log = r->log;

    for (uint32_t k = i + 1; k < log->segments_len; k++)
        if (log->segments[k].size_bytes != 0)
            return 0;
    if (i + 1 < log->segments_len && log->segments[i + 1].base_offset != end &&
        !is_compactions(r, log->segments[i + 1].base_offset))
        return aside_remove_segments(log, i + 1, false);
    return 0;
}

/* Batches are missing between segment i, which ends at `end`, and the next;
 * more than a segment can lack within may be missing in a compacted log. */
static bool lost_between(struct recovery *r, uint32_t i, int64_t end)
{
    const struct log *log = r->log;

    if (i + 1 == log->segments_len)
        return false;
    int64_t next = log->segments[i + 1].base_offset;
    return next != end && !is_compactions(r, next) &&
           (!log->config.compact_policy || next - end <= SEGMENT_GAP_MAX);
}

static int recover_segment(struct recovery *r, uint32_t i, int64_t *end)
{
    struct log *log = r->log;
    struct segment *s = &log->segments[i];
    int64_t ceiling = i + 1 < log->segments_len
                          ? log->segments[i + 1].base_offset
                          : INT64_MAX;
    struct bad bad;
    int rc = segment_reset_indexes(log, s);

    if (rc == 0)
        rc = walk_segment(r, s, ceiling, &bad);
    if (rc < 0)
        return rc;
    s->loaded = s->unsynced = true;
    *end = bad.offset;
    if (bad.why != NULL) {
        rc = end_at_bad(r, i, &bad);
    } else {
        rc = drop_empty_behind_gap(r, i, *end);
        if (rc == 0 && lost_between(r, i, *end)) {
            bad.why = "batches are missing between it and the next segment";
            rc = end_at_bad(r, i, &bad);
        }
    }
    if (rc == 0 && bad.unsynced >= 0)
        rc = write_again(log, s, bad.unsynced, bad.position);
    return rc;
}

int recovery_walk(struct recovery *r, uint32_t first)
{
    struct log *log = r->log;
    int64_t end = log->segments[first].base_offset;

    for (uint32_t i = first; i < log->segments_len; i++) {
        int rc = recover_segment(r, i, &end);
        if (rc == 0 && i + 1 < log->segments_len)
            rc = segment_seal(log, &log->segments[i]);
        if (rc < 0)
            return rc;
    }
    log->end_offset = end;
    log->dir_changed = true;
    log->unsynced_since_ms = log->size_bytes > 0 ? 0 : -1;
    return 0;
}

int recovery_first(struct recovery *r, uint32_t *first)
{
    struct log *log = r->log;
    int64_t end;

    *first = log_segment_of(log, r->recovery_point);
    if (*first == 0 || log->segments[*first].base_offset < r->recovery_point)
        return 0;
    int rc = segment_load(log, &log->segments[*first - 1], &end);
    if (rc < 0 && rc != -EBADMSG)
        return rc;
    if (rc == -EBADMSG || end > log->segments[*first].base_offset ||
        lost_between(r, *first - 1, end))
        (*first)--;
    else
        log->segments[*first - 1].unsynced = true; /* that cut, perhaps */
    return 0;
}

/* ---- segments that hide batches ------------------------------------------ */

/* 1 if a batch of segment i ends before `offset` and the next begins there, as
 * when the log was appended to after a roll that failed.  A batch's offset that
 * was damaged does not look like that. */
static int goes_on_at(struct log *log, uint32_t i, int64_t offset)
{
    struct segment *s = &log->segments[i];
    struct segment_place before, at;
    int rc = segment_find(log, s, offset - 1, &before);

    if (rc == 0)
        rc = segment_find(log, s, offset, &at);
    if (rc < 0)
        return rc == -ENOENT || rc == -EBADMSG ? 0 : rc;
    return before.last_offset == offset - 1 && at.base_offset == offset;
}

/* Of the empty segment i; *before is the last in front of it with batches. */
static int hides(struct log *log, uint32_t i, uint32_t *before, bool *hiding)
{
    int64_t base = log->segments[i].base_offset, end;

    *hiding = false;
    for (*before = i; *before > 0 && log->segments[*before].size_bytes == 0;)
        --*before;
    if (log->segments[*before].size_bytes == 0)
        return 0;
    int rc = segment_load(log, &log->segments[*before], &end);
    *hiding = rc == 0 && end > base;
    return rc == -EBADMSG ? 0 : rc;
}

int recovery_drop_hiding(struct recovery *r, uint32_t *first)
{
    struct log *log = r->log;
    uint32_t before;
    bool hiding;

    for (uint32_t i = 1; i < log->segments_len;) {
        struct segment *s = &log->segments[i++];
        if (s->size_bytes != 0)
            continue;
        if (!r->clean && s->base_offset > r->recovery_point)
            break; /* walked anyway */
        int rc = hides(log, i - 1, &before, &hiding);
        if (rc < 0)
            return rc;
        if (!hiding)
            continue;
        rc = goes_on_at(log, before, s->base_offset);
        if (rc < 0)
            return rc;
        log_warn("log",
                 "%s/%020lld.log is empty, but %020lld.log goes on behind its "
                 "offset; %s",
                 log->path, (long long)s->base_offset,
                 (long long)log->segments[before].base_offset,
                 rc > 0 ? "removing it" : "checking that one");
        if (rc == 0) {
            *first = before;
            if (r->check_from > log->segments[before].base_offset)
                r->check_from = log->segments[before].base_offset;
            r->whole = r->clean;
            return 1;
        }
        rc = aside_remove_empty(log, --i);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- files that somebody else changed ------------------------------------ */

static int was_changed(struct recovery *r, uint32_t i, bool *changed)
{
    struct env_file *file;
    int rc = segment_open_file(r->log, &r->log->segments[i], false, &file);

    if (rc < 0)
        return rc;
    *changed = env_file_changed_ms(file) > r->unchanged_ms;
    env_file_unref(file);
    return 0;
}

/* After a crash the last segment may have been appended to since; then it has
 * batches behind the recovery point. */
static int has_tail(struct recovery *r, bool *tail)
{
    int64_t end;
    int rc = segment_load(r->log, log_active(r->log), &end);

    *tail = rc == -EBADMSG || end > r->recovery_point;
    return rc == -EBADMSG ? 0 : rc;
}

int recovery_first_changed(struct recovery *r, uint32_t *first)
{
    struct log *log = r->log;
    uint32_t last = log->segments_len - 1;
    bool changed = false;
    int rc = 0;

    if (r->unchanged_ms == LOG_DOUBTED) {
        *first = 0;
        r->check_from = 0;
        r->whole = r->clean;
        return 1;
    }
    for (uint32_t i = 0; i <= last && rc == 0 && r->unchanged_ms > 0; i++) {
        rc = was_changed(r, i, &changed);
        if (rc == 0 && changed && i == last && !r->clean) {
            bool tail;

            rc = has_tail(r, &tail);
            changed = !tail;
        }
        if (rc < 0 || !changed)
            continue;
        log_warn("log",
                 "%s/%020lld.log was changed while this node did not run; "
                 "checking all of it",
                 log->path, (long long)log->segments[i].base_offset);
        r->check_from = log->segments[i].base_offset;
        r->whole = r->clean;
        if (i < *first)
            *first = i;
        return 1;
    }
    return rc;
}
