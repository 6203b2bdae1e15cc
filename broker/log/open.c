/* Opening a log: what is in its directory, and how much of it to believe.
 *
 * After a clean shutdown sizes are trusted; of the last segment only what lies
 * behind its last index entry is walked, which also finds the log end offset.
 * An empty segment has the one before it looked at: it may not hide batches.
 * After a crash, or when a clean log does not end in a whole batch, recovery.c
 * checks what lies behind the recovery point.
 *
 * Runs on a helper thread: no timers, no clock, no randomness. */
#include "base/log.h"
#include "base/planted.h"
#include "broker/log/recovery.h"

#include <errno.h>
#include <stdlib.h>

enum { SMALL_FILE_MAX = 1 << 20, BASE_DIGITS = 20 };

/* ---- what is in the directory --------------------------------------------*/

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

int64_t log_base_of_name(const char *name, const char **suffix)
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
    int64_t base = log_base_of_name(name, &suffix);

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
    } else if ((base = log_base_of_name(name, &suffix)) >= 0 &&
               strcmp(suffix, ".log") == 0) {
        /* Names come sorted, and sort as their numbers do. */
        log_push_segment(log, base)->stored = true;
    } else if (base >= 0 && strcmp(suffix, ".txnindex") == 0 &&
               has_segment(log, base)) {
        log_active(log)->aborted.exists = true;
    }
}

static void free_names(char **names, size_t names_len)
{
    for (size_t i = 0; i < names_len; i++)
        free(names[i]);
    free(names);
}

static bool has_swaps(char **names, size_t names_len)
{
    for (size_t i = 0; i < names_len; i++)
        if (ends_with(names[i], ".swap"))
            return true;
    return false;
}

/* Names as they are once cleanings that a crash interrupted are settled. */
static int settled_names(struct log *log, char ***names, size_t *names_len)
{
    int rc = env_list_dir(log->env, log->path, names, names_len);

    if (rc < 0 || !has_swaps(*names, *names_len))
        return rc;
    rc = clean_recover(log, *names, *names_len);
    free_names(*names, *names_len);
    return rc < 0 ? rc : env_list_dir(log->env, log->path, names, names_len);
}

static int list_dir(struct log *log, struct found *found)
{
    char **names;
    size_t names_len;
    int rc = env_mkdir(log->env, log->path);

    if (rc < 0 || (rc = settled_names(log, &names, &names_len)) < 0)
        return rc;
    log->is_new = log->dir_changed = names_len == 0;
    for (size_t i = 0; i < names_len; i++)
        look_at_name(log, names[i], found);
    for (size_t i = 0; i < names_len; i++)
        unlink_if_orphan(log, names[i]);
    free_names(names, names_len);
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

/* Writes partition.metadata over itself, for the reason of write_again() in
 * recovery.c.  Not as a new file, which a power loss could leave empty in the
 * place of one that was on disk. */
static int write_metadata_again(struct log *log)
{
    char *path = xasprintf("%s/partition.metadata", log->path);
    struct buf text = BUF_INIT;
    struct env_file *file;
    int rc = env_read_all(log->env, path, SMALL_FILE_MAX, &text);

    if (rc >= 0)
        rc = env_file_open(log->env, path, 0, &file);
    if (rc >= 0) {
        struct slice bytes = buf_slice(&text);

        rc = env_file_write(file, &bytes, 1, 0);
        env_file_unref(file);
    }
    log->metadata_unsynced = rc >= 0;
    buf_free(&text);
    free(path);
    return rc < 0 ? rc : 0;
}

/* Of partition.metadata. */
static bool parse_topic_id(struct slice s, struct uuid *id)
{
    static const char prefix[] = "version: 0\ntopic_id: ";
    size_t skip = strlen(prefix);

    while (s.len != 0 && s.data[s.len - 1] == '\n')
        s.len--;
    return s.len > skip && memcmp(s.data, prefix, skip) == 0 &&
           uuid_parse(slice_of(s.data + skip, s.len - skip), id);
}

int log_dir_topic(struct env *env, const char *path, struct uuid *topic_id)
{
    char *file = xasprintf("%s/partition.metadata", path);
    struct buf text = BUF_INIT;
    int rc = env_read_all(env, file, SMALL_FILE_MAX, &text);

    if (rc >= 0)
        rc = parse_topic_id(buf_slice(&text), topic_id);
    buf_free(&text);
    free(file);
    return rc == -ENOENT ? 0 : rc;
}

enum owner { OWNER_UNKNOWN, OWNER_US, OWNER_OTHER };

static int read_owner(struct log *log, enum owner *owner)
{
    struct uuid id;
    int rc = log_dir_topic(log->env, log->path, &id);

    if (rc > 0) {
        bool same = uuid_is_zero(log->topic_id) || uuid_eq(id, log->topic_id) ||
                    PLANTED(LOG_TAKES_DELETED_TOPICS);
        *owner = same ? OWNER_US : OWNER_OTHER;
        log->topic_id = id;
        log->has_metadata = true;
    }
    return rc < 0 && rc != -EFBIG ? rc : 0;
}

/* 1 if these records are the topic's, 0 if not.  A file that is not there or
 * damaged says nothing; it is on disk before anything counts as being there, so
 * a power loss took it away only where nothing counted.  Then the records may
 * be those of a deleted topic of that name, from which the leader's history,
 * the same epochs and offsets, would not tell them. */
static int is_ours(struct recovery *r, const struct found *found)
{
    struct log *log = r->log;
    enum owner owner = OWNER_UNKNOWN;
    int rc = found->metadata ? read_owner(log, &owner) : 0;

    if (rc < 0)
        return rc;
    if (owner != OWNER_UNKNOWN)
        return owner == OWNER_US;
    return r->clean || r->recovery_point > 0 || log->segments_len == 0 ||
           uuid_is_zero(log->topic_id);
}

/* ---- leader epochs ------------------------------------------------------- */

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
        enum walk_result result;
        walk_init(&w, file, 0, s->size_bytes);
        while ((result = walk_next(&w)) == WALK_BATCH)
            recovery_note_epoch(log, &w.batch);
        rc = result == WALK_IO ? w.error : 0;
        walk_free(&w);
        env_file_unref(file);
        if (rc < 0)
            return rc;
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

static int find_batch(struct log *log, int64_t offset,
                      struct segment_place *place)
{
    return segment_find(log, &log->segments[log_segment_of(log, offset)],
                        offset, place);
}

/* 1 unless the log begins with a batch that has an epoch and no entry.  The
 * checkpoint may be ahead of the start offset that was stored before a crash:
 * DeleteRecords had taken away the entries of what is there again. */
static int nothing_is_missing(struct log *log)
{
    int64_t first = log->epochs.entries[0].start_offset;
    struct segment_place at;

    if (first <= log->start_offset)
        return 1;
    int rc = find_batch(log, log->start_offset, &at);
    if (rc < 0)
        return rc == -ENOENT || rc == -EBADMSG ? 1 : rc;
    return at.base_offset >= first || at.leader_epoch < 0;
}

/* 1 if entry i begins with a batch of its epoch, right behind one of an earlier
 * epoch; 0 if not.  What is not there, or damaged, belies nothing. */
static int entry_is_true(struct log *log, uint32_t i, int64_t end)
{
    const struct epoch_entry *e = &log->epochs.entries[i];
    struct segment_place at, before;

    if (e->start_offset < log->segments[0].base_offset ||
        e->start_offset >= end)
        return 1;
    int rc = find_batch(log, e->start_offset, &at);
    if (rc < 0)
        return rc == -ENOENT || rc == -EBADMSG ? 1 : rc;
    if (at.base_offset <= e->start_offset && at.leader_epoch >= 0 &&
        at.leader_epoch != e->epoch)
        return 0;
    if (at.base_offset < e->start_offset)
        return e->start_offset <= log->start_offset; /* where the log begins */
    if (e->start_offset == log->segments[0].base_offset)
        return 1;
    rc = find_batch(log, e->start_offset - 1, &before);
    if (rc < 0)
        return rc == -ENOENT || rc == -EBADMSG ? 1 : rc;
    return before.last_offset >= e->start_offset ||
           before.leader_epoch < e->epoch;
}

/* Leaves no file open. */
static int entries_are_true(struct log *log, int64_t end)
{
    struct segment *active = log_active(log);
    bool was_open = active->file != NULL;
    int rc = log->epochs.len != 0 ? nothing_is_missing(log) : 1;

    for (uint32_t i = 0; rc == 1 && i < log->epochs.len; i++)
        rc = entry_is_true(log, i, end);
    if (!was_open && active->file != NULL) {
        env_file_unref(active->file);
        active->file = NULL;
    }
    return rc;
}

/* Whether the entries for segments [0, n) go with the batches where they begin
 * and with the last one there.  The checkpoint is text that anything may have
 * changed.  With an epoch that never was this replica would not agree with any
 * leader again, and a leader with one that begins elsewhere makes its followers
 * cut off what is committed. */
static int check_epochs(struct log *log, uint32_t n)
{
    int64_t end =
        n < log->segments_len ? log->segments[n].base_offset : log->end_offset;

    while (n > 0 && log->segments[n - 1].size_bytes == 0)
        n--;
    if (n == 0)
        return 0;
    struct segment *s = &log->segments[n - 1];
    int rc = segment_load(log, s, NULL);
    if (rc < 0 && rc != -EBADMSG)
        return rc;
    bool good =
        rc == 0 && (s->last_epoch < 0 ||
                    epoch_cache_at(&log->epochs, end - 1) == s->last_epoch);
    if (good && (rc = entries_are_true(log, end)) != 0)
        return rc < 0 ? rc : 0;
    log_warn("log",
             "%s/leader-epoch-checkpoint does not go with the batches; making "
             "it anew from them",
             log->path);
    return rebuild_epochs(log, n);
}

/* ---- aborted transactions ------------------------------------------------ */

/* Those of segments [0, n) are on disk; what the others have was perhaps not
 * written, and goes, or is doubted where it was: below the recovery point, or
 * anywhere after a clean stop. */
static int open_aborted(struct recovery *r, uint32_t n)
{
    struct log *log = r->log;
    int rc = 0;

    log->aborted_known = INT64_MAX;
    for (uint32_t i = 0; rc == 0 && i < log->segments_len; i++) {
        struct segment *s = &log->segments[i];
        int64_t end =
            i + 1 < log->segments_len ? (s + 1)->base_offset : log->end_offset;

        rc = i < n ? aborted_open(log, s, end) : -EBADMSG;
        if (rc != -EBADMSG)
            continue;
        if (i < n)
            log_warn("log",
                     "%s/%020lld.txnindex is damaged; making it anew from the "
                     "batches",
                     log->path, (long long)s->base_offset);
        if (s->base_offset < log->aborted_known)
            log->aborted_known = s->base_offset;
        rc = 0;
        if (i < n || r->clean ||
            (i + 1 < log->segments_len && end <= r->recovery_point))
            aborted_doubt(s);
        else
            rc = aborted_reset(log, s);
    }
    return rc;
}

/* ---- opening -------------------------------------------------------------*/

/* The clean way; -EBADMSG when the last segment belies the marker. */
static int open_clean(struct log *log)
{
    return segment_load(log, log_active(log), &log->end_offset);
}

static int open_segments(struct recovery *r, bool clean, bool epochs_stored)
{
    struct log *log = r->log;
    uint32_t hidden = UINT32_MAX;
    int rc = recovery_drop_hiding(r, &hidden);

    if (rc < 0)
        return rc;
    uint32_t last = log->segments_len - 1;
    uint32_t first = last;
    rc = clean ? 0 : recovery_first(r, &first);
    if (rc == 0)
        rc = recovery_first_changed(r, &first);
    if (rc >= 0 && hidden <= first) {
        first = hidden;
        rc = 1;
    }
    if (rc > 0) {
        clean = false;
        rc = 0;
    }
    if (rc == 0)
        rc = load_epochs(log, epochs_stored, clean ? log->segments_len : first);
    if (rc < 0)
        return rc;
    if (clean) {
        rc = open_clean(log);
        if (rc == 0)
            rc = open_aborted(r, log->segments_len);
        if (rc == 0)
            return check_epochs(log, log->segments_len);
        if (rc != -EBADMSG)
            return rc;
        log_warn("log",
                 "%s does not end in a whole batch although it was "
                 "closed cleanly; checking it",
                 log->path);
        epoch_cache_truncate_end(&log->epochs, log->segments[last].base_offset);
        r->check_from = log->segments[last].base_offset;
    }
    rc = check_epochs(log, first);
    if (rc == 0)
        rc = open_aborted(r, first);
    return rc < 0 ? rc : recovery_walk(r, first);
}

/* DeleteRecords went further than what is left of the log. */
static int start_behind_end(struct recovery *r, int64_t start_offset)
{
    struct log *log = r->log;
    int rc = aside_remove_segments(log, 0, false);

    if (rc < 0)
        return rc;
    log_push_segment(log, start_offset);
    log->end_offset = start_offset;
    if (r->report->damaged_at >= 0)
        r->report->damaged_at = start_offset;
    return 0;
}

/* A .txnindex that was made anew is not on disk; in the segment of the recovery
 * point and behind the next opening does so again. */
static void lower_to_made_anew(struct log *log)
{
    uint32_t i = log_segment_of(log, log->recovery_point);

    if (log->aborted_known < log->recovery_point &&
        log->aborted_known < log->segments[i].base_offset)
        log->recovery_point = log->aborted_known;
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
    rc = is_ours(r, &found);
    if (rc <= 0)
        return rc < 0 ? rc : -EEXIST;
    rc = aside_remove_below(log, start_offset);
    if (rc < 0)
        return rc;
    /* The process before may have died between making these names and syncing
     * them, or because that failed. */
    if (!clean && (log->segments_len != 0 || found.metadata)) {
        log->is_new = log->dir_changed = true;
        log->epochs_unsynced = log->segments_len != 0;
        if (log->has_metadata)
            rc = write_metadata_again(log);
        if (rc < 0)
            return rc;
    }
    if (log->segments_len == 0)
        log_push_segment(log, start_offset);
    log->start_offset = log->segments[0].base_offset < start_offset
                            ? start_offset
                            : log->segments[0].base_offset;
    if (log->segments[0].stored)
        rc = open_segments(r, clean, found.epochs);
    else
        rc = segment_load(log, log_active(log), &log->end_offset);
    if (rc == 0 && log->end_offset < start_offset)
        rc = start_behind_end(r, start_offset);
    if (rc == 0 && log->segments[0].stored)
        rc = log_write_metadata(log);
    if (rc == 0)
        rc = aside_measure(log, r->report);
    if (rc < 0)
        return rc;
    epoch_cache_truncate_start(&log->epochs, log->start_offset);
    epoch_cache_truncate_end(&log->epochs, log->end_offset + 1);
    log->synced_offset = clean && r->report->scanned_bytes == 0
                             ? log->end_offset
                             : r->recovery_point;
    if (log->synced_offset > log->end_offset)
        log->synced_offset = log->end_offset;
    log->recovery_point = log->synced_offset;
    lower_to_made_anew(log);
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
        .aborted_known = INT64_MAX,
        .config = *config,
        .unsynced_since_ms = -1,
    };
    list_init(&log->flushes);
    list_init(&log->doomed);
    return log;
}

enum err log_open(struct env *env, const char *path, struct uuid topic_id,
                  const struct log_config *config, int64_t recovery_point,
                  int64_t log_start_offset, bool clean, int64_t unchanged_ms,
                  struct log **log, struct log_open_report *report)
{
    struct log *x = log_new(env, path, topic_id, config);
    struct recovery r = {
        .log = x,
        .report = report,
        .recovery_point = recovery_point < 0 ? 0 : recovery_point,
        .check_from = recovery_point < 0 ? 0 : recovery_point,
        .unchanged_ms = unchanged_ms,
        .clean = clean,
        .point_unknown = recovery_point == LOG_POINT_UNKNOWN,
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
            xasprintf("%s belongs to another topic of that name, or does not "
                      "say to which",
                      path);
    else if (report->message == NULL)
        report->message =
            xasprintf("%s could not be opened: %s", path, strerror(-rc));
    log_free(x);
    return rc == -EEXIST ? ERR_INCONSISTENT_TOPIC_ID : log_errno(rc);
}
