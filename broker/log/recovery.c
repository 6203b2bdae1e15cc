/* Opening a log, and making it whole after a crash.
 *
 * After a clean shutdown sizes are trusted; of the last segment only what lies
 * behind its last index entry is walked, which also finds the log end offset.
 *
 * After a crash every segment from the recovery point's on is walked: headers
 * below the recovery point, headers and CRCs above it; their indexes and leader
 * epochs are made anew on the way.  The first bad batch ends the log:
 *
 *   - a torn tail: it lies above the recovery point and no whole batch follows,
 *     as when the process or the machine stopped in the middle of a write.  It
 *     is cut.
 *   - damage: anything else.  The bytes from there on and all later segments
 *     are kept aside in files ending in .damaged, the report says where, and
 *     the replica fetches the rest again from its leader.  If they cannot be
 *     kept, nothing is touched and the log does not open.
 *
 * Runs on a helper thread: no timers, no clock, no randomness. */
#include "base/log.h"
#include "broker/log/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { SMALL_FILE_MAX = 1 << 20, BASE_DIGITS = 20 };

/* ---- what is in the directory --------------------------------------------*/

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* "00000000000000000042.SUFFIX" -> 42, or -1. */
static int64_t base_of_name(const char *name, const char **suffix)
{
    int64_t base = 0;

    for (int i = 0; i < BASE_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9' ||
            base > (INT64_MAX - (name[i] - '0')) / 10)
            return -1;
        base = base * 10 + (name[i] - '0');
    }
    *suffix = name + BASE_DIGITS;
    return **suffix == '.' ? base : -1;
}

static void unlink_name(struct log *log, const char *name)
{
    char *path = xasprintf("%s/%s", log->path, name);

    env_unlink(log->env, path);
    free(path);
}

static bool is_leftover(const char *name)
{
    return ends_with(name, ".deleted") || ends_with(name, ".cleaned") ||
           ends_with(name, ".tmp");
}

static bool has_segment(const struct log *log, int64_t base)
{
    return log->segments_len != 0 &&
           log->segments[log_segment_of(log, base)].base_offset == base;
}

/* Indexes belong to a segment or go. */
static void unlink_if_orphan(struct log *log, const char *name)
{
    const char *suffix;
    int64_t base = base_of_name(name, &suffix);

    if (base >= 0 && !has_segment(log, base) &&
        (strcmp(suffix, ".index") == 0 || strcmp(suffix, ".timeindex") == 0 ||
         strcmp(suffix, ".txnindex") == 0))
        unlink_name(log, name);
}

struct found {
    bool epochs;
    bool metadata;
};

static void look_at_name(struct log *log, const char *name, struct found *found)
{
    const char *suffix;
    int64_t base;

    if (is_leftover(name)) {
        unlink_name(log, name);
    } else if (strcmp(name, "leader-epoch-checkpoint") == 0) {
        found->epochs = true;
    } else if (strcmp(name, "partition.metadata") == 0) {
        found->metadata = true;
    } else if ((base = base_of_name(name, &suffix)) >= 0 &&
               strcmp(suffix, ".log") == 0) {
        /* Names come sorted, and sort as their numbers do. */
        log_push_segment(log, base)->stored = true;
    }
}

static int list_dir(struct log *log, struct found *found)
{
    char **names;
    size_t names_len;
    int rc = env_mkdir(log->env, log->path);

    if (rc < 0 ||
        (rc = env_list_dir(log->env, log->path, &names, &names_len)) < 0)
        return rc;
    log->is_new = log->dir_changed = names_len == 0;
    for (size_t i = 0; i < names_len; i++)
        look_at_name(log, names[i], found);
    for (size_t i = 0; i < names_len; i++) {
        unlink_if_orphan(log, names[i]);
        free(names[i]);
    }
    free(names);
    return 0;
}

static int load_sizes(struct log *log)
{
    for (uint32_t i = 0; i < log->segments_len; i++) {
        struct segment *s = &log->segments[i];
        struct env_file *file;
        int rc = segment_open_file(log, s, false, &file);
        if (rc < 0)
            return rc;
        int64_t size = env_file_size(file);
        env_file_unref(file);
        if (size < 0)
            return (int)size;
        if (size > SEGMENT_SIZE_MAX)
            return -EBADMSG;
        s->size_bytes = (uint32_t)size;
        log->size_bytes += size;
    }
    return 0;
}

static int read_small(struct log *log, const char *name, struct buf *text)
{
    char *path = xasprintf("%s/%s", log->path, name);
    int rc = env_read_all(log->env, path, SMALL_FILE_MAX, text);

    free(path);
    return rc;
}

/* False when the file names another topic.  One that cannot be read says
 * nothing, and is written anew. */
static bool check_metadata(struct log *log)
{
    static const char prefix[] = "version: 0\ntopic_id: ";
    struct buf text = BUF_INIT;
    struct uuid id;
    bool same = true;

    if (read_small(log, "partition.metadata", &text) >= 0) {
        size_t skip = strlen(prefix);
        struct slice s = buf_slice(&text);
        while (s.len != 0 && s.data[s.len - 1] == '\n')
            s.len--;
        if (s.len > skip && memcmp(s.data, prefix, skip) == 0 &&
            uuid_parse(slice_of(s.data + skip, s.len - skip), &id)) {
            same = uuid_is_zero(log->topic_id) || uuid_eq(id, log->topic_id);
            log->topic_id = id;
            log->has_metadata = true;
        }
    }
    buf_free(&text);
    return same;
}

/* ---- leader epochs ------------------------------------------------------- */

static bool take_epoch(void *arg, const struct batch *b, struct slice bytes)
{
    struct log *log = arg;

    if (b->leader_epoch >= 0 &&
        b->leader_epoch != epoch_cache_latest(&log->epochs))
        epoch_cache_assign(&log->epochs, b->leader_epoch, b->base_offset);
    return true;
}

/* From the headers of segments [0, n). */
static int rebuild_epochs(struct log *log, uint32_t n)
{
    epoch_cache_clear(&log->epochs);
    log->epochs.changed = true;
    for (uint32_t i = 0; i < n; i++) {
        struct segment *s = &log->segments[i];
        struct env_file *file;
        struct walk w;
        int rc = segment_open_file(log, s, false, &file);
        if (rc < 0)
            return rc;
        walk_init(&w, file, 0, s->size_bytes);
        while (walk_next(&w) == WALK_BATCH)
            take_epoch(log, &w.batch, SLICE_NULL);
        walk_free(&w);
        env_file_unref(file);
    }
    return 0;
}

/* Entries for segments [0, n): later ones come from the batches as these are
 * walked. */
static int load_epochs(struct log *log, bool stored, uint32_t n)
{
    struct buf text = BUF_INIT;
    bool good = stored &&
                read_small(log, "leader-epoch-checkpoint", &text) >= 0 &&
                epoch_cache_parse(&log->epochs, buf_slice(&text));

    buf_free(&text);
    if (!good && log->size_bytes > 0)
        return rebuild_epochs(log, n);
    if (n < log->segments_len)
        epoch_cache_truncate_end(&log->epochs, log->segments[n].base_offset);
    return 0;
}

/* ---- keeping aside ------------------------------------------------------- */

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

/* Copies the segment from `position` on into a file of its own, on disk when
 * this returns; *name, the caller's, says which. */
static int keep_rest(struct log *log, struct segment *s, int64_t position,
                     char **name)
{
    struct env_file *from, *to;
    char path[PATH_MAX], suffix[40];

    snprintf(suffix, sizeof suffix, ".log.from-%lld", (long long)position);
    *name = free_name(log, log_file_path(log, s->base_offset, suffix, path));
    int rc = segment_open_file(log, s, false, &from);
    if (rc < 0)
        return rc;
    rc = env_file_open(log->env, *name, ENV_CREATE | ENV_EXCLUSIVE, &to);
    if (rc == 0) {
        rc = copy_range(from, position, s->size_bytes, to);
        if (rc == 0)
            rc = env_file_sync(to);
        env_file_unref(to);
        if (rc == 0)
            rc = env_sync_dir(log->env, log->path);
        if (rc < 0)
            env_unlink(log->env, *name);
    }
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
static int remove_segments(struct log *log, uint32_t n, bool keep)
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
static int remove_below(struct log *log, int64_t start_offset)
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

/* ---- walking segments ----------------------------------------------------*/

/* What one open works with. */
struct recovery {
    struct log *log;
    struct log_open_report *report;
    int64_t recovery_point;
};

/* Where a segment stops making sense. */
struct bad {
    int64_t position;
    int64_t offset;  /* expected there */
    const char *why; /* NULL: it is good to its end */
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
    *bad = (struct bad){.offset = s->base_offset};
    walk_init(&w, file, 0, s->size_bytes);
    while ((result = walk_next(&w)) == WALK_BATCH) {
        w.why = misplaced(r, s, &w.batch, bad->offset, ceiling);
        if (w.why != NULL) {
            result = WALK_BAD;
            break;
        }
        if (batch_last_offset(&w.batch) >= r->recovery_point) {
            if ((result = walk_check_crc(&w)) != WALK_BATCH)
                break;
            r->report->scanned_bytes += w.batch.size_bytes;
        }
        segment_note_batch(log, s, &w.batch, (uint32_t)w.position);
        take_epoch(log, &w.batch, SLICE_NULL);
        bad->offset = batch_last_offset(&w.batch) + 1;
    }
    bad->position = w.position;
    bad->why = result == WALK_BAD ? w.why : NULL;
    rc = result == WALK_IO ? w.error : 0;
    walk_free(&w);
    env_file_unref(file);
    return rc;
}

/* 1 when the bad batch is where a write was interrupted. */
static int is_torn_tail(struct recovery *r, uint32_t i, const struct bad *bad)
{
    struct log *log = r->log;
    struct env_file *file;

    if (bad->offset < r->recovery_point)
        return 0;
    for (uint32_t k = i + 1; k < log->segments_len; k++)
        if (log->segments[k].size_bytes != 0)
            return 0;
    int rc = segment_open_file(log, &log->segments[i], false, &file);
    if (rc < 0)
        return rc;
    rc = walk_find_valid(file, bad->position, log->segments[i].size_bytes,
                         bad->offset);
    env_file_unref(file);
    return rc < 0 ? rc : rc == 0;
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
    int rc = remove_segments(log, i + 1, false);

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
    char *name = NULL;
    int rc = 0;

    if (bad->position < s->size_bytes)
        rc = keep_rest(log, s, bad->position, &name);
    /* From here on the log can only get shorter; a crash in between is seen as
     * the same damage again. */
    if (rc == 0)
        rc = remove_segments(log, i + 1, true);
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
    free(name);
    return rc < 0 ? -EBADMSG : 0;
}

static int end_at_bad(struct recovery *r, uint32_t i, const struct bad *bad)
{
    int torn = is_torn_tail(r, i, bad);

    if (torn < 0)
        return torn;
    return torn ? cut_torn_tail(r, i, bad) : put_damage_aside(r, i, bad);
}

/* A segment that was rolled to but got no batch, when the end of the one
 * before was lost: it begins in the middle of nowhere. */
static int drop_empty_behind_gap(struct recovery *r, uint32_t i, int64_t end)
{
    struct log *log = r->log;

    for (uint32_t k = i + 1; k < log->segments_len; k++)
        if (log->segments[k].size_bytes != 0)
            return 0;
    if (i + 1 < log->segments_len && log->segments[i + 1].base_offset != end)
        return remove_segments(log, i + 1, false);
    return 0;
}

/* Batches are missing between segment i, which ends at `end`, and the next.
 * Only compaction may do that. */
static bool lost_between(const struct log *log, uint32_t i, int64_t end)
{
    return !log->config.compact_policy && i + 1 < log->segments_len &&
           log->segments[i + 1].base_offset != end;
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
    if (bad.why != NULL)
        return end_at_bad(r, i, &bad);
    rc = drop_empty_behind_gap(r, i, *end);
    if (rc == 0 && lost_between(log, i, *end)) {
        bad.why = "batches are missing between it and the next segment";
        rc = put_damage_aside(r, i, &bad);
    }
    return rc;
}

/* Walks the segments from `first` on; sets the log's end. */
static int recover(struct recovery *r, uint32_t first)
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

/* ---- opening -------------------------------------------------------------*/

/* The clean way; -EBADMSG when the last segment belies the marker. */
static int open_clean(struct log *log)
{
    return segment_load(log, log_active(log), &log->end_offset);
}

/* The segment that holds the recovery point; the one before it when that one
 * does not end where it should: truncation had cut it at the recovery point,
 * and a power loss brought the end back. */
static int first_to_walk(struct recovery *r, uint32_t *first)
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
        lost_between(log, *first - 1, end))
        (*first)--;
    else
        log->segments[*first - 1].unsynced = true; /* that cut, perhaps */
    return 0;
}

static int open_segments(struct recovery *r, bool clean, bool epochs_stored)
{
    struct log *log = r->log;
    uint32_t last = log->segments_len - 1;
    uint32_t first = last;
    int rc = clean ? 0 : first_to_walk(r, &first);

    if (rc == 0)
        rc = load_epochs(log, epochs_stored, clean ? log->segments_len : first);
    if (rc < 0)
        return rc;
    if (clean) {
        rc = open_clean(log);
        if (rc != -EBADMSG)
            return rc;
        log_warn("log",
                 "%s does not end in a whole batch although it was "
                 "closed cleanly; checking it",
                 log->path);
        epoch_cache_truncate_end(&log->epochs, log->segments[last].base_offset);
    }
    return recover(r, first);
}

/* DeleteRecords went further than what is left of the log. */
static int start_behind_end(struct recovery *r, int64_t start_offset)
{
    struct log *log = r->log;
    int rc = remove_segments(log, 0, false);

    if (rc < 0)
        return rc;
    log_push_segment(log, start_offset);
    log->end_offset = start_offset;
    if (r->report->damaged_at >= 0)
        r->report->damaged_at = start_offset;
    return 0;
}

static int open_all(struct recovery *r, int64_t start_offset, bool clean)
{
    struct log *log = r->log;
    struct found found = {0};
    int rc = list_dir(log, &found);

    if (rc == 0)
        rc = load_sizes(log);
    if (rc < 0)
        return rc;
    if (found.metadata && !check_metadata(log))
        return -EEXIST;
    rc = remove_below(log, start_offset);
    if (rc < 0)
        return rc;
    if (log->segments_len == 0)
        log_push_segment(log, start_offset);
    if (log->segments[0].stored)
        rc = open_segments(r, clean, found.epochs);
    else
        rc = segment_load(log, log_active(log), &log->end_offset);
    if (rc == 0 && log->end_offset < start_offset)
        rc = start_behind_end(r, start_offset);
    if (rc == 0 && log->segments[0].stored)
        rc = log_write_metadata(log);
    if (rc < 0)
        return rc;
    log->start_offset = log->segments[0].base_offset;
    if (log->start_offset < start_offset)
        log->start_offset = start_offset;
    epoch_cache_truncate_start(&log->epochs, log->start_offset);
    epoch_cache_truncate_end(&log->epochs, log->end_offset + 1);
    log->synced_offset = clean && r->report->scanned_bytes == 0
                             ? log->end_offset
                             : r->recovery_point;
    if (log->synced_offset > log->end_offset)
        log->synced_offset = log->end_offset;
    log->recovery_point = log->synced_offset;
    return 0;
}

static struct log *log_new(struct env *env, const char *path,
                           struct uuid topic_id,
                           const struct log_config *config)
{
    struct log *log = xcalloc(1, sizeof *log);

    *log = (struct log){
        .env = env,
        .path = xstrdup(path),
        .topic_id = topic_id,
        .config = *config,
        .unsynced_since_ms = -1,
    };
    list_init(&log->flushes);
    list_init(&log->doomed);
    return log;
}

enum err log_open(struct env *env, const char *path, struct uuid topic_id,
                  const struct log_config *config, int64_t recovery_point,
                  int64_t log_start_offset, bool clean, struct log **log,
                  struct log_open_report *report)
{
    struct log *x = log_new(env, path, topic_id, config);
    struct recovery r = {
        .log = x,
        .report = report,
        .recovery_point = recovery_point < 0 ? 0 : recovery_point,
    };

    *log = NULL;
    *report = (struct log_open_report){.damaged_at = -1};
    int rc = open_all(&r, log_start_offset < 0 ? 0 : log_start_offset, clean);
    if (rc == 0) {
        *log = x;
        return ERR_NONE;
    }
    if (rc == -EEXIST)
        report->message =
            xasprintf("%s belongs to another topic of that name", path);
    else if (report->message == NULL)
        report->message =
            xasprintf("%s could not be opened: %s", path, strerror(-rc));
    log_free(x);
    return rc == -EEXIST ? ERR_INCONSISTENT_TOPIC_ID : log_errno(rc);
}
