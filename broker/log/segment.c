/* Life of a segment: created empty, appended to (append.c writes, this file
 * keeps the indexes), sealed when the next one begins, cut by truncation,
 * dropped by retention.
 *
 * Finding an offset: the offset index gives a batch at or before it, headers
 * are walked from there.  An index that turns out wrong is rebuilt from the
 * batches on the spot. */
#include "broker/log/segment.h"

#include "base/log.h"
#include "base/planted.h"
#include "broker/log/state.h"

#include <errno.h>

void segment_init(struct segment *s, int64_t base_offset)
{
    *s = (struct segment){
        .base_offset = base_offset,
        .end_offset = base_offset,
        .created_ms = -1,
        .jitter_ms = -1,
        .aborted = {.unwritten = BUF_INIT, .last_offset = -1},
        .first_timestamp = -1,
        .last_epoch = -1,
        .max_timestamp = -1,
        .max_timestamp_offset = -1,
        .time_index_last = -1,
    };
    index_file_init(&s->offsets, INDEX_OFFSETS);
    index_file_init(&s->times, INDEX_TIMES);
}

void segment_free(struct segment *s)
{
    if (s->file != NULL)
        env_file_unref(s->file);
    s->file = NULL;
    buf_free(&s->aborted.unwritten);
    index_file_free(&s->offsets);
    index_file_free(&s->times);
}

int segment_open_file(struct log *log, struct segment *s, bool keep,
                      struct env_file **file)
{
    char path[PATH_MAX];

    if (s->file == NULL) {
        log_file_path(log, s->base_offset, ".log", path);
        int rc = env_file_open(log->env, path, keep ? 0 : ENV_READ, file);
        if (rc < 0 || !keep)
            return rc;
        s->file = *file;
    }
    *file = env_file_ref(s->file);
    return 0;
}

int segment_create_file(struct log *log, struct segment *s)
{
    char path[PATH_MAX];

    ASSERT(s->file == NULL && !s->stored);
    log_file_path(log, s->base_offset, ".log", path);
    int rc = env_file_open(log->env, path, ENV_CREATE, &s->file);
    if (rc < 0)
        return rc;
    /* What an interrupted roll left there was never part of the log. */
    rc = env_file_truncate(s->file, 0);
    if (rc < 0) {
        env_file_unref(s->file);
        s->file = NULL;
        if (env_unlink(log->env, path) < 0)
            log->failed = true; /* see undo() in append.c */
        return rc;
    }
    s->stored = s->loaded = true;
    log->dir_changed = true;
    return 0;
}

/* ---- indexes and timestamps --------------------------------------------- */

static const char *index_suffix(const struct index *x)
{
    return x->kind == INDEX_OFFSETS ? ".index" : ".timeindex";
}

static char *index_path(struct log *log, struct segment *s, struct index *x,
                        char text[static PATH_MAX])
{
    return log_file_path(log, s->base_offset, index_suffix(x), text);
}

void segment_end_times(struct segment *s)
{
    if (s->max_timestamp <= s->time_index_last)
        return;
    struct index_entry e = {
        .timestamp = s->max_timestamp,
        .relative_offset = (int32_t)(s->max_timestamp_offset - s->base_offset),
    };
    index_add(&s->times, &e);
    s->time_index_last = s->max_timestamp;
}

void segment_note_batch(struct log *log, struct segment *s,
                        const struct batch *b, uint32_t position)
{
    if (position == 0)
        s->first_timestamp = b->max_timestamp;
    if (b->max_timestamp > s->max_timestamp) {
        s->max_timestamp = b->max_timestamp;
        s->max_timestamp_offset = batch_last_offset(b);
    }
    if ((int64_t)s->unindexed_bytes > log->config.index_interval_bytes) {
        struct index_entry e = {
            .relative_offset = (int32_t)(batch_last_offset(b) - s->base_offset),
            .position = (int32_t)position,
        };
        index_add(&s->offsets, &e);
        segment_end_times(s);
        s->unindexed_bytes = 0;
    }
    s->unindexed_bytes += b->size_bytes;
    s->last_epoch = b->leader_epoch;
    s->end_offset = batch_last_offset(b) + 1;
}

/* The time index first, see index.h. */
int segment_write_indexes(struct log *log, struct segment *s)
{
    char path[PATH_MAX];
    int rc =
        index_write(&s->times, log->env, index_path(log, s, &s->times, path));

    if (rc == 0)
        rc = index_write(&s->offsets, log->env,
                         index_path(log, s, &s->offsets, path));
    return rc;
}

int segment_seal(struct log *log, struct segment *s)
{
    if (!s->stored || !s->loaded)
        return 0;
    segment_end_times(s);
    return segment_write_indexes(log, s);
}

int segment_reset_indexes(struct log *log, struct segment *s)
{
    struct index *both[] = {&s->offsets, &s->times};
    char path[PATH_MAX];

    for (int i = 0; i < 2; i++) {
        struct index *x = both[i];
        index_file_free(x);
        x->stored = 0;
        int rc = env_unlink(log->env, index_path(log, s, x, path));
        if (rc < 0 && rc != -ENOENT)
            return rc;
    }
    s->first_timestamp = s->max_timestamp = s->max_timestamp_offset = -1;
    s->time_index_last = -1;
    s->unindexed_bytes = 0;
    s->last_epoch = -1;
    s->end_offset = s->base_offset;
    return 0;
}

/* ---- loading -------------------------------------------------------------*/

/* Notes every batch from `position` to the end of the segment. */
static int note_rest(struct log *log, struct segment *s, struct env_file *file,
                     uint32_t position, int64_t *end_offset)
{
    enum walk_result result;
    struct walk w;
    int rc = 0;

    *end_offset = s->base_offset;
    walk_init(&w, file, position, s->size_bytes);
    while ((result = walk_next(&w)) == WALK_BATCH) {
        if (w.batch.base_offset < *end_offset ||
            batch_last_offset(&w.batch) - s->base_offset > INT32_MAX) {
            result = WALK_BAD;
            break;
        }
        segment_note_batch(log, s, &w.batch, (uint32_t)w.position);
        *end_offset = batch_last_offset(&w.batch) + 1;
    }
    if (result == WALK_BAD)
        rc = -EBADMSG;
    else if (result == WALK_IO)
        rc = w.error;
    walk_free(&w);
    return rc;
}

/* The last entry of an index; false when it is empty. */
static int last_entry(struct log *log, struct segment *s, struct index *x,
                      struct index_entry *e, bool *any)
{
    char path[PATH_MAX];

    *any = index_count(x) != 0;
    if (!*any)
        return 0;
    return index_get(x, log->env, index_path(log, s, x, path),
                     index_count(x) - 1, e);
}

/* The batch an offset entry names begins where it says and ends with the offset
 * it says: true of each entry, unless the file is not this segment's or was
 * damaged. */
static bool entry_holds(const struct segment *s, struct env_file *file,
                        const struct index_entry *e)
{
    struct walk w;

    if (e->position <= 0 || (uint32_t)e->position >= s->size_bytes)
        return false;
    walk_init(&w, file, e->position, s->size_bytes);
    bool holds =
        walk_next(&w) == WALK_BATCH &&
        batch_last_offset(&w.batch) == s->base_offset + e->relative_offset;
    walk_free(&w);
    return holds;
}

/* Takes counts and last entries from the files; *position is where the last
 * indexed batch begins. */
static int trust_indexes(struct log *log, struct segment *s,
                         struct env_file *file, uint32_t *position)
{
    struct index_entry offset_entry = {0}, time_entry = {0};
    char path[PATH_MAX];
    bool any;
    int rc;

    *position = 0;
    if ((rc = index_load(&s->offsets, log->env,
                         index_path(log, s, &s->offsets, path))) < 0 ||
        (rc = index_load(&s->times, log->env,
                         index_path(log, s, &s->times, path))) < 0)
        return rc;
    s->first_timestamp = s->max_timestamp = s->max_timestamp_offset = -1;
    s->time_index_last = -1;
    s->unindexed_bytes = 0;

    if ((rc = last_entry(log, s, &s->times, &time_entry, &any)) < 0)
        return rc;
    if (any) {
        s->time_index_last = s->max_timestamp = time_entry.timestamp;
        s->max_timestamp_offset = s->base_offset + time_entry.relative_offset;
    }
    if ((rc = last_entry(log, s, &s->offsets, &offset_entry, &any)) < 0)
        return rc;
    if (!any)
        return 0;

    if (!entry_holds(s, file, &offset_entry))
        return -EBADMSG;
    struct walk w;
    *position = (uint32_t)offset_entry.position;
    walk_init(&w, file, 0, s->size_bytes);
    if (walk_next(&w) == WALK_BATCH)
        s->first_timestamp = w.batch.max_timestamp;
    walk_free(&w);
    /* With each offset entry goes a time entry if there are timestamps. */
    if (s->first_timestamp >= 0 && index_count(&s->times) == 0)
        return -EBADMSG;
    return 0;
}

static int load_from(struct log *log, struct segment *s, struct env_file *file,
                     int64_t *end_offset)
{
    uint32_t position;
    int rc = trust_indexes(log, s, file, &position);

    if (rc == 0)
        rc = note_rest(log, s, file, position, end_offset);
    if (rc == 0 && s->max_timestamp_offset >= *end_offset)
        rc = -EBADMSG; /* a time entry that no batch accounts for */
    return rc;
}

int segment_load(struct log *log, struct segment *s, int64_t *end_offset)
{
    struct env_file *file;
    int64_t end = s->base_offset;

    if (s->loaded && end_offset == NULL)
        return 0;
    if (!s->stored || s->size_bytes == 0) {
        s->loaded = true;
        if (end_offset != NULL)
            *end_offset = end;
        return 0;
    }
    int rc = segment_open_file(log, s, false, &file);
    if (rc < 0)
        return rc;
    rc = load_from(log, s, file, &end);
    if (rc == -EBADMSG) {
        log_warn("log",
                 "the indexes of %s/%020lld.log are wrong, rebuilding "
                 "them from its batches",
                 log->path, (long long)s->base_offset);
        rc = segment_reset_indexes(log, s);
        if (rc == 0)
            rc = note_rest(log, s, file, 0, &end);
    }
    env_file_unref(file);
    if (rc < 0)
        return rc;
    /* Entries found missing: kept by the active segment until its next block
     * is full, written now for the others. */
    s->loaded = true;
    if (s->offsets.pending_len != 0 && s != log_active(log)) {
        rc = segment_seal(log, s);
        s->unsynced = true;
    }
    if (end_offset != NULL)
        *end_offset = end;
    return rc;
}

/* ---- finding ------------------------------------------------------------ */

/* Starts a walk that meets the first batch that ends at or behind `offset`.
 * -EBADMSG when the index entry it starts from does not hold. */
static int begin_walk(struct log *log, struct segment *s, int64_t offset,
                      struct env_file *file, struct walk *w)
{
    struct index_entry e;
    char path[PATH_MAX];
    int rc = index_floor(&s->offsets, log->env,
                         index_path(log, s, &s->offsets, path), INDEX_BY_OFFSET,
                         offset - s->base_offset, &e, NULL);

    if (rc == -ENOENT) {
        walk_init(w, file, 0, s->size_bytes);
        return 0;
    }
    if (rc < 0)
        return rc;
    if (!entry_holds(s, file, &e))
        return -EBADMSG;
    walk_init(w, file, e.position, s->size_bytes);
    return 0;
}

static int walk_to(struct log *log, struct segment *s, int64_t offset,
                   struct env_file *file, struct segment_place *place)
{
    enum walk_result result;
    struct walk w;
    int rc = begin_walk(log, s, offset, file, &w);

    if (rc < 0)
        return rc;
    while ((result = walk_next(&w)) == WALK_BATCH &&
           batch_last_offset(&w.batch) < offset)
        ;
    if (result == WALK_BATCH)
        *place = (struct segment_place){
            .position = (uint32_t)w.position,
            .size_bytes = w.batch.size_bytes,
            .base_offset = w.batch.base_offset,
            .last_offset = batch_last_offset(&w.batch),
            .max_timestamp = w.batch.max_timestamp,
            .leader_epoch = w.batch.leader_epoch,
        };
    rc = result == WALK_BATCH ? 0
         : result == WALK_END ? -ENOENT
         : result == WALK_IO  ? w.error
                              : -EBADMSG;
    walk_free(&w);
    return rc;
}

int segment_rebuild(struct log *log, struct segment *s)
{
    s->loaded = false;
    int rc = segment_reset_indexes(log, s);
    return rc < 0 ? rc : segment_load(log, s, NULL);
}

int segment_find(struct log *log, struct segment *s, int64_t offset,
                 struct segment_place *place)
{
    struct env_file *file;
    int rc = segment_load(log, s, NULL);

    if (rc < 0)
        return rc;
    if (s->size_bytes == 0)
        return -ENOENT;
    if ((rc = segment_open_file(log, s, s == log_active(log), &file)) < 0)
        return rc;
    rc = walk_to(log, s, offset, file, place);
    /* Asked once more, of an index made anew. */
    if (rc == -EBADMSG && (rc = segment_rebuild(log, s)) == 0)
        rc = walk_to(log, s, offset, file, place);
    env_file_unref(file);
    return rc;
}

/* Batches one by one; where the index has nothing behind `position`. */
static int walk_fit(struct segment *s, struct env_file *file, uint32_t position,
                    int64_t limit, uint32_t *end_position)
{
    enum walk_result result;
    struct walk w;

    walk_init(&w, file, position, s->size_bytes);
    while ((result = walk_next(&w)) == WALK_BATCH && w.next_position <= limit)
        ;
    /* Bytes that are no batch end the answer, they don't spoil it. */
    *end_position = (uint32_t)w.position;
    int rc = result == WALK_IO ? w.error : 0;
    walk_free(&w);
    return rc;
}

static int index_fit(struct log *log, struct segment *s, uint32_t first_end,
                     int64_t limit, uint32_t *end_position)
{
    struct env_file *file;
    struct index_entry e;
    char path[PATH_MAX];
    int rc = segment_open_file(log, s, s == log_active(log), &file);

    if (rc < 0)
        return rc;
    rc = index_floor(&s->offsets, log->env,
                     index_path(log, s, &s->offsets, path), INDEX_BY_POSITION,
                     limit, &e, NULL);
    if (rc == 0 && (uint32_t)e.position > first_end && entry_holds(s, file, &e))
        *end_position = (uint32_t)e.position;
    else
        rc = walk_fit(s, file, first_end, limit, end_position);
    env_file_unref(file);
    return rc;
}

int segment_fit(struct log *log, struct segment *s,
                const struct segment_place *place, uint32_t max_bytes,
                uint32_t *end_position)
{
    int64_t limit = (int64_t)place->position + max_bytes;
    uint32_t first_end = place->position + place->size_bytes;

    *end_position = first_end;
    if (limit <= first_end)
        return 0;
    if (limit >= s->size_bytes) {
        *end_position = s->size_bytes;
        return 0;
    }
    if (s == log_active(log) &&
        tail_floor(&log->tail, (uint32_t)limit, end_position)) {
        if (*end_position < first_end)
            *end_position = first_end;
        return 0;
    }
    return index_fit(log, s, first_end, limit, end_position);
}

/* ---- cutting -------------------------------------------------------------*/

static int cut_index(struct log *log, struct segment *s, struct index *x,
                     enum index_field field, int64_t last_kept)
{
    struct index_entry e;
    char path[PATH_MAX];
    uint32_t n;

    index_path(log, s, x, path);
    int rc = index_floor(x, log->env, path, field, last_kept, &e, &n);
    if (rc == -ENOENT)
        return index_truncate(x, log->env, path, 0);
    if (rc < 0)
        return rc;
    return index_truncate(x, log->env, path, n + 1);
}

/* It is shorter.  An index that cannot be made to fit now is made anew when it
 * is needed. */
static int cut_indexes(struct log *log, struct segment *s, uint32_t position,
                       int64_t end_offset)
{
    int rc = 0;

    if (position == 0)
        return segment_reset_indexes(log, s);
    if (cut_index(log, s, &s->offsets, INDEX_BY_POSITION,
                  (int64_t)position - 1) < 0 ||
        cut_index(log, s, &s->times, INDEX_BY_OFFSET,
                  end_offset - 1 - s->base_offset) < 0)
        rc = segment_reset_indexes(log, s);
    if (rc < 0)
        return rc;
    s->loaded = false;
    rc = segment_load(log, s, NULL);
    return log_errno(rc) == ERR_EXHAUSTED ? 0 : rc;
}

int segment_cut(struct log *log, struct segment *s, uint32_t position,
                int64_t end_offset)
{
    struct env_file *file;
    int rc = segment_open_file(log, s, true, &file);

    if (rc < 0)
        return rc;
    rc = aborted_cut(log, s, end_offset);
    if (rc < 0) {
        env_file_unref(file);
        return rc;
    }
    rc = env_file_truncate(file, position);
    /* Before anything is written there.  Of what is not on disk a power loss
     * may take any part, and what was cut off would stand in its place: whole
     * batches, in front of others of later epochs. */
    if (rc == 0 && !PLANTED(LOG_LEAVES_CUTS_UNSYNCED))
        rc = env_file_sync(file);
    env_file_unref(file);
    if (rc == 0) {
        s->size_bytes = position;
        s->unsynced = true;
        rc = cut_indexes(log, s, position, end_offset);
    }
    /* It is neither what it was nor what it shall be: that does not pass. */
    return rc == 0 || log_is_disk_error(rc) ? rc : -EIO;
}
