/* Snapshot files of producer state, and loading from them and the log.
 *
 * Happy path: the newest snapshot stands at the log's end (a clean stop) or at
 * the start of the active segment (a roll), is read, and the batches behind it
 * are applied.
 *
 * Failures: nothing here is synced.  A power loss may leave a snapshot torn, or
 * one above the end that the log was left with; the first is known by its CRC,
 * the second by its name, and both are deleted.  A snapshot below the log's
 * start is of no use either: batches between the two are gone, and a producer
 * whose last ones they were would be refused for going on behind them. */
#include "broker/replica/producers.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "base/planted.h"
#include "broker/log/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
    VERSION = 1,
    VERSION_BYTES = 2,
    CRC_END = VERSION_BYTES + 4,
    ENTRY_BYTES = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8,
    HEAD_BYTES = CRC_END + 4,
    ENTRIES_MAX = 2 * PRODUCERS_MAX, /* see producers.h */
    FILE_MAX_BYTES = HEAD_BYTES + ENTRIES_MAX * ENTRY_BYTES,
    /* Reading this much again at the next start costs more than a file. */
    REREAD_MAX_BYTES = 4 << 20,
    OFFSET_DIGITS = 20,
    KEEP_AT_SEGMENTS = 2,
};

static const char suffix[] = ".snapshot";

/* ---- bytes ------------------------------------------------------------------
 */

void producers_encode(const struct producers *p, struct buf *out)
{
    size_t start = out->len;
    struct producer e;

    buf_reserve(out, HEAD_BYTES + producers_count(p) * ENTRY_BYTES);
    buf_put_u16(out, VERSION);
    buf_put_u32(out, 0);
    buf_put_u32(out, (uint32_t)producers_count(p));
    for (int64_t at = 0; (at = producers_next(p, at, &e)) != PRODUCERS_END;) {
        buf_put_u64(out, (uint64_t)e.producer_id);
        buf_put_u16(out, (uint16_t)e.epoch);
        buf_put_u32(out, (uint32_t)e.last_sequence);
        buf_put_u64(out, (uint64_t)e.last_offset);
        buf_put_u32(out, (uint32_t)e.offset_delta);
        buf_put_u64(out, (uint64_t)e.timestamp);
        buf_put_u32(out, (uint32_t)e.coordinator_epoch);
        buf_put_u64(out, (uint64_t)e.txn_first_offset);
    }
    uint8_t *crc = out->data + start + VERSION_BYTES;
    be32_put(crc, crc32c(0, crc + 4, out->len - start - CRC_END));
}

static struct producer read_entry(struct reader *r)
{
    struct producer e = {0};

    e.producer_id = read_i64(r);
    e.epoch = read_i16(r);
    e.last_sequence = read_i32(r);
    e.last_offset = read_i64(r);
    e.offset_delta = read_i32(r);
    e.timestamp = read_i64(r);
    e.coordinator_epoch = read_i32(r);
    e.txn_first_offset = read_i64(r);
    return e;
}

static bool makes_sense(const struct producer *e, int64_t end_offset)
{
    return e->producer_id >= 0 && e->epoch >= -1 && e->last_sequence >= -1 &&
           e->last_offset >= -1 && e->last_offset < end_offset &&
           e->offset_delta >= 0 &&
           (e->last_offset < 0 || e->offset_delta <= e->last_offset) &&
           e->txn_first_offset >= -1 && e->txn_first_offset < end_offset;
}

/* Kafka writes them in no order; ours are in this one. */
static int by_time(const void *a, const void *b)
{
    const struct producer *x = a, *y = b;

    if (x->timestamp != y->timestamp)
        return x->timestamp < y->timestamp ? -1 : 1;
    return x->last_offset < y->last_offset   ? -1
           : x->last_offset > y->last_offset ? 1
                                             : 0;
}

static const char *check_head(struct slice bytes, uint32_t *count)
{
    if (bytes.len < HEAD_BYTES)
        return "it is too short";
    if (be16_get(bytes.data) != VERSION)
        return "its version is unknown";
    if (be32_get(bytes.data + VERSION_BYTES) !=
        crc32c(0, bytes.data + CRC_END, bytes.len - CRC_END))
        return "its CRC is wrong";
    *count = be32_get(bytes.data + CRC_END);
    if (*count > ENTRIES_MAX ||
        bytes.len != HEAD_BYTES + (size_t)*count * ENTRY_BYTES)
        return "its length is wrong";
    return NULL;
}

struct producers *producers_decode(struct slice bytes, int64_t end_offset,
                                   int64_t now_wall_ms, const char **why)
{
    uint32_t count;

    *why = check_head(bytes, &count);
    if (*why != NULL)
        return NULL;
    struct reader r =
        reader_of(slice_of(bytes.data + HEAD_BYTES, bytes.len - HEAD_BYTES));
    struct producer *entries = xcalloc(count + 1, sizeof *entries);
    for (uint32_t i = 0; i < count && *why == NULL; i++) {
        entries[i] = read_entry(&r);
        if (!makes_sense(&entries[i], end_offset))
            *why = "an entry makes no sense";
    }
    struct producers *p = NULL;
    if (*why == NULL) {
        qsort(entries, count, sizeof *entries, by_time);
        p = producers_new();
        producers_set_floor(p, end_offset);
        for (uint32_t i = 0; i < count; i++)
            producers_restore(p, &entries[i], now_wall_ms);
    }
    free(entries);
    return p;
}

/* ---- names
 * -------------------------------------------------------------------- */

static char *snapshot_path(const char *dir, int64_t offset)
{
    return xasprintf("%s/%0*" PRId64 "%s", dir, OFFSET_DIGITS, offset, suffix);
}

/* "00000000000000000042SUFFIX" -> 42; -1 for any other name. */
static int64_t offset_of_name(const char *name, const char *end)
{
    int64_t offset = 0;

    for (int i = 0; i < OFFSET_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9' ||
            offset > (INT64_MAX - (name[i] - '0')) / 10)
            return -1;
        offset = offset * 10 + (name[i] - '0');
    }
    return strcmp(name + OFFSET_DIGITS, end) == 0 ? offset : -1;
}

/* Offsets of the snapshots in a directory, rising. */
struct snapshots {
    int64_t *offsets; /* owned */
    bool *at_segment; /* owned; a segment starts there */
    size_t len;
};

static void snapshots_free(struct snapshots *s)
{
    free(s->offsets);
    free(s->at_segment);
}

/* Names come sorted: NNN.log before NNN.snapshot. */
static int list_snapshots(struct env *env, const char *dir, struct snapshots *s)
{
    char **names;
    size_t names_len;
    int64_t segment = -1;
    int rc = env_list_dir(env, dir, &names, &names_len);

    *s = (struct snapshots){0};
    if (rc < 0)
        return rc;
    s->offsets = xcalloc(names_len + 1, sizeof *s->offsets);
    s->at_segment = xcalloc(names_len + 1, sizeof *s->at_segment);
    for (size_t i = 0; i < names_len; i++) {
        int64_t offset = offset_of_name(names[i], suffix);
        int64_t base = offset_of_name(names[i], ".log");

        if (base >= 0)
            segment = base;
        if (offset >= 0) {
            s->at_segment[s->len] = offset == segment;
            s->offsets[s->len++] = offset;
        }
        free(names[i]);
    }
    free(names);
    return 0;
}

static int unlink_snapshot(struct env *env, const char *dir, int64_t offset)
{
    char *path = snapshot_path(dir, offset);
    int rc = env_unlink(env, path);

    if (rc < 0 && rc != -ENOENT)
        log_warn("log", "%s could not be deleted: %s", path, strerror(-rc));
    free(path);
    return rc == -ENOENT ? 0 : rc;
}

/* One that must not come back after a power loss, when the log may have grown
 * beyond it with other batches. */
static int delete_snapshot(struct env *env, struct log *log, int64_t offset)
{
    log_dir_changed(log);
    return unlink_snapshot(env, log_path(log), offset);
}

/* ---- storing
 * ------------------------------------------------------------------ */

static int write_file(struct env *env, const char *path, struct slice bytes)
{
    char *temporary = xasprintf("%s.tmp", path);
    struct env_file *file;
    int rc = env_file_open(env, temporary, ENV_CREATE, &file);

    if (rc == 0) {
        rc = env_file_truncate(file, 0);
        if (rc == 0)
            rc = env_file_write(file, &bytes, 1, 0);
        env_file_unref(file);
        if (rc == 0)
            rc = env_rename(env, temporary, path);
        if (rc < 0)
            env_unlink(env, temporary);
    }
    free(temporary);
    return rc;
}

/* Truncation and a torn newest one are what the older ones are for. */
static void prune(struct env *env, const char *dir)
{
    struct snapshots s;
    int kept = 0;

    if (list_snapshots(env, dir, &s) < 0)
        return;
    for (size_t i = s.len; i-- > 0;) {
        if (s.at_segment[i] && kept < KEEP_AT_SEGMENTS)
            kept++;
        else if (i != s.len - 1)
            unlink_snapshot(env, dir, s.offsets[i]);
    }
    snapshots_free(&s);
}

bool producers_is_stored(struct env *env, const char *dir, int64_t end_offset)
{
    char *path = snapshot_path(dir, end_offset);
    bool is_stored = env_path_kind(env, path) == 1;

    free(path);
    return is_stored;
}

enum err producers_store(struct env *env, const struct producers *p,
                         const char *dir, int64_t end_offset)
{
    char *path = snapshot_path(dir, end_offset);
    struct buf bytes = BUF_INIT;
    int rc = 0;

    if (end_offset > 0) {
        producers_encode(p, &bytes);
        rc = write_file(env, path, buf_slice(&bytes));
        buf_free(&bytes);
        if (rc == 0)
            prune(env, dir);
        else
            unlink_snapshot(env, dir, end_offset);
        if (rc < 0)
            log_warn("log",
                     "%s could not be written (%s); more of the log will be "
                     "read at the next start",
                     path, strerror(-rc));
    }
    free(path);
    return log_errno(rc);
}

/* ---- loading
 * -------------------------------------------------------------------- */

/* *p is NULL if it is of no use; a negative errno if that cannot be said now.
 */
static int read_snapshot(struct env *env, const char *dir, int64_t offset,
                         int64_t now_wall_ms, struct producers **p)
{
    char *path = snapshot_path(dir, offset);
    struct buf bytes = BUF_INIT;
    const char *why = NULL;
    int rc = env_read_all(env, path, FILE_MAX_BYTES, &bytes);
    bool later = rc < 0 && log_errno(rc) == ERR_EXHAUSTED;

    *p = NULL;
    if (rc == 0)
        *p = producers_decode(buf_slice(&bytes), offset, now_wall_ms, &why);
    else
        why = strerror(-rc);
    buf_free(&bytes);
    if (*p == NULL && !later)
        log_warn("log", "%s is of no use (%s); taking an older one, or the log",
                 path, why);
    free(path);
    return later ? rc : 0;
}

/* The newest usable one between the log's start and end (both inclusive) that
 * is not above `limit`; *from is where the log goes on behind it.  Those above
 * go where they are not `kept`. */
static int find_snapshot(struct env *env, struct log *log, int64_t limit,
                         bool kept, int64_t now_wall_ms,
                         struct producers **found, int64_t *from)
{
    int64_t start = log_start_offset(log);
    int64_t end = log_end_offset(log);
    struct snapshots s;
    int rc = list_snapshots(env, log_path(log), &s);

    *found = NULL;
    *from = start;
    for (size_t i = s.len; rc == 0 && *found == NULL && i-- > 0;) {
        int64_t at = s.offsets[i];

        if (kept && at > limit && at <= end)
            continue;
        if (at >= start && at <= end && at <= limit)
            rc = read_snapshot(env, log_path(log), at, now_wall_ms, found);
        if (*found != NULL)
            *from = at;
        else if (rc == 0)
            rc = delete_snapshot(env, log, at);
    }
    for (size_t i = 0; rc == 0 && i < s.len && s.offsets[i] < start; i++)
        rc = delete_snapshot(env, log, s.offsets[i]);
    snapshots_free(&s);
    return rc;
}

static void take_marker(struct producers *p, struct log *log,
                        const struct batch *b, const struct control_marker *m,
                        int64_t now_wall_ms)
{
    struct producers_ended ended;

    producers_apply_marker(p, b, m, now_wall_ms, &ended);
    /* A log that was damaged and is believed may have them the other way. */
    if (!m->commit && ended.first_offset >= 0 &&
        ended.first_offset < batch_last_offset(b) &&
        !PLANTED(TXN_FOLLOWERS_NOTE_NO_ABORTS))
        log_note_aborted(log,
                         &(struct log_aborted){
                             .producer_id = m->producer_id,
                             .first_offset = ended.first_offset,
                             .last_offset = batch_last_offset(b),
                             .last_stable_offset = ended.last_stable_offset,
                         });
}

void producers_take(struct producers **p, struct log *log,
                    const struct batch *b, struct slice bytes,
                    int64_t now_wall_ms)
{
    bool control = (b->attributes & BATCH_CONTROL) != 0;
    struct control_marker m;

    if (b->producer_id < 0 || (control && !control_marker_decode(bytes, b, &m)))
        return;
    if (*p == NULL)
        *p = producers_new();
    if (control)
        take_marker(*p, log, b, &m, now_wall_ms);
    else
        producers_apply(*p, b, now_wall_ms);
}

struct loading {
    struct log *log;
    struct producers *producers;
    int64_t now_wall_ms;
    int64_t read_bytes;
};

static bool load_batch(void *arg, const struct batch *b, struct slice bytes)
{
    struct loading *l = arg;

    l->read_bytes += (int64_t)bytes.len;
    if (!PLANTED(PRODUCERS_FORGOTTEN_AT_OPEN))
        producers_take(&l->producers, l->log, b, bytes, l->now_wall_ms);
    return true;
}

static bool find_marker(void *arg, const struct batch *b, struct slice bytes)
{
    int64_t *offset = arg;

    (void)bytes;
    if ((b->attributes & BATCH_CONTROL) != 0)
        *offset = b->base_offset;
    return *offset == INT64_MAX;
}

/* A transaction that a marker between the high watermark and the snapshot ended
 * is not decided yet, and a snapshot does not say where it began.  Sets *limit
 * to such a marker's offset. */
static enum err find_undecided(struct log *log, int64_t high_watermark,
                               int64_t snapshot, int64_t *limit)
{
    int64_t from = high_watermark > log_start_offset(log)
                       ? high_watermark
                       : log_start_offset(log);

    *limit = INT64_MAX;
    return from < snapshot ? log_visit(log, from, snapshot, find_marker, limit)
                           : ERR_NONE;
}

/* Begins with the newest snapshot that will do. */
static enum err begin_load(struct env *env, struct loading *l,
                           int64_t high_watermark, int64_t *from)
{
    int64_t limit = log_aborted_known(l->log);
    int64_t marker;
    /* One above may be of a history that was cut, and back by a power loss:
     * batches that do not go with it were appended since. */
    int rc = find_snapshot(env, l->log, limit, false, l->now_wall_ms,
                           &l->producers, from);

    if (rc < 0)
        return log_errno(rc);
    if (l->producers == NULL)
        return ERR_NONE;
    enum err error = find_undecided(l->log, high_watermark, *from, &marker);
    if (error != ERR_NONE || marker == INT64_MAX)
        return error;
    producers_free(l->producers);
    rc = find_snapshot(env, l->log, marker, true, l->now_wall_ms, &l->producers,
                       from);
    return log_errno(rc);
}

static enum err read_log(struct loading *l, int64_t from)
{
    int64_t end = log_end_offset(l->log);

    return from < end ? log_visit(l->log, from, end, load_batch, l) : ERR_NONE;
}

enum err producers_load(struct env *env, struct log *log,
                        int64_t high_watermark, int64_t now_wall_ms,
                        struct producers **out)
{
    struct loading l = {.log = log, .now_wall_ms = now_wall_ms};
    int64_t end = log_end_offset(log);
    int64_t from;

    *out = NULL;
    enum err error = begin_load(env, &l, high_watermark, &from);
    if (error == ERR_NONE)
        error = read_log(&l, from);
    if (error != ERR_NONE) {
        producers_free(l.producers);
        return error;
    }
    log_aborted_all_known(log);
    producers_committed(l.producers, high_watermark);
    if (l.read_bytes > REREAD_MAX_BYTES)
        producers_store(env, l.producers, log_path(log), end);
    if (producers_count(l.producers) == 0) {
        producers_free(l.producers);
        return ERR_NONE;
    }
    *out = l.producers;
    return ERR_NONE;
}

/* ---- truncation
 * ------------------------------------------------------------------ */

static int delete_above(struct env *env, struct log *log, int64_t end_offset)
{
    struct snapshots s;
    int rc = list_snapshots(env, log_path(log), &s);

    for (size_t i = s.len; rc == 0 && i-- > 0;)
        if (s.offsets[i] > end_offset)
            rc = delete_snapshot(env, log, s.offsets[i]);
    snapshots_free(&s);
    return rc;
}

enum err producers_truncated(struct env *env, struct log *log,
                             int64_t high_watermark, int64_t now_wall_ms,
                             struct producers **p, bool *stale)
{
    int64_t end = log_end_offset(log);
    bool empty = log_start_offset(log) == end;
    bool was_stale = *stale;
    enum err error = ERR_NONE;

    *stale = true;
    int rc = delete_above(env, log, empty ? -1 : end);
    if (rc < 0)
        return log_errno(rc);
    bool ask_log = *p == NULL && was_stale;
    if (*p != NULL && (empty || !producers_truncate(*p, end))) {
        producers_free(*p);
        *p = NULL;
        ask_log = true;
    }
    if (ask_log && !empty)
        error = producers_load(env, log, high_watermark, now_wall_ms, p);
    *stale = error != ERR_NONE;
    return error;
}
