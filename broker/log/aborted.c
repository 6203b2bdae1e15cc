/* Aborted transactions: .txnindex files, see aborted.h.
 *
 * Who reads committed records only must be told which of those that it gets
 * were aborted.  An entry's last stable offset is what every transaction that
 * was open when it was written began at or above; where that is not below the
 * end of what is asked for, no later entry can matter. */
#include "broker/log/state.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

enum { VERSION = 0, WRITE_BYTES = 4096, READ_ENTRIES = 128 };

static const char suffix[] = ".txnindex";

static void encode(const struct log_aborted *a, struct buf *out)
{
    buf_put_u16(out, VERSION);
    buf_put_u64(out, (uint64_t)a->producer_id);
    buf_put_u64(out, (uint64_t)a->first_offset);
    buf_put_u64(out, (uint64_t)a->last_offset);
    buf_put_u64(out, (uint64_t)a->last_stable_offset);
}

static bool decode(const uint8_t *bytes, struct log_aborted *a)
{
    struct reader r = reader_of(slice_of(bytes, ABORTED_BYTES));
    int16_t version = read_i16(&r);

    a->producer_id = read_i64(&r);
    a->first_offset = read_i64(&r);
    a->last_offset = read_i64(&r);
    a->last_stable_offset = read_i64(&r);
    return version >= VERSION && a->producer_id >= 0 && a->first_offset >= 0 &&
           a->last_offset > a->first_offset;
}

/* ---- the file ------------------------------------------------------------ */

static int open_file(struct log *log, const struct segment *s, unsigned flags,
                     struct env_file **file)
{
    char path[PATH_MAX];

    return env_file_open(log->env,
                         log_file_path(log, s->base_offset, suffix, path),
                         flags, file);
}

/* Entry i of the file. */
static int read_entry(struct env_file *file, uint32_t i, struct log_aborted *a)
{
    uint8_t bytes[ABORTED_BYTES];
    int64_t n =
        env_file_read(file, bytes, sizeof bytes, (int64_t)i * ABORTED_BYTES);

    if (n < 0)
        return (int)n;
    return n == ABORTED_BYTES && decode(bytes, a) ? 0 : -EBADMSG;
}

/* Its ends tell a file that was cut, or filled with zeros, by a power loss. */
static int check_ends(struct env_file *file, struct segment *s, uint32_t n,
                      int64_t end_offset)
{
    struct log_aborted first, last;
    int rc = read_entry(file, 0, &first);

    if (rc == 0)
        rc = read_entry(file, n - 1, &last);
    if (rc == 0 && (first.last_offset < s->base_offset ||
                    last.last_offset < first.last_offset ||
                    last.last_offset >= end_offset))
        rc = -EBADMSG;
    if (rc == 0) {
        s->aborted.stored = n;
        s->aborted.last_offset = last.last_offset;
    }
    return rc;
}

int aborted_open(struct log *log, struct segment *s, int64_t end_offset)
{
    struct env_file *file;

    if (!s->aborted.exists)
        return 0;
    int rc = open_file(log, s, ENV_READ, &file);
    if (rc < 0)
        return rc;
    int64_t size = env_file_size(file);
    if (size < 0)
        rc = (int)size;
    else if (size % ABORTED_BYTES != 0 || size / ABORTED_BYTES > UINT32_MAX)
        rc = -EBADMSG;
    else if (size != 0)
        rc = check_ends(file, s, (uint32_t)(size / ABORTED_BYTES), end_offset);
    env_file_unref(file);
    return rc;
}

int aborted_reset(struct log *log, struct segment *s)
{
    char path[PATH_MAX];

    if (!s->aborted.exists)
        return 0;
    buf_free(&s->aborted.unwritten);
    s->aborted = (struct aborted_index){.last_offset = -1};
    int rc =
        env_unlink(log->env, log_file_path(log, s->base_offset, suffix, path));
    return rc == -ENOENT ? 0 : rc;
}

void aborted_doubt(struct segment *s) { s->aborted.stale = true; }

static int replace_stale(struct log *log, struct segment *s)
{
    struct aborted_index *x = &s->aborted;
    struct slice bytes = buf_slice(&x->unwritten);
    char path[PATH_MAX];
    int rc = 0;

    log_file_path(log, s->base_offset, suffix, path);
    if (bytes.len != 0)
        rc = env_write_all(log->env, path, bytes);
    else if (x->exists)
        rc = env_unlink(log->env, path);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    log->dir_changed = log->dir_changed || x->exists;
    x->exists = bytes.len != 0;
    x->stale = false;
    x->stored = (uint32_t)(bytes.len / ABORTED_BYTES);
    buf_free(&x->unwritten);
    return 0;
}

int aborted_write(struct log *log, struct segment *s)
{
    struct aborted_index *x = &s->aborted;
    struct slice bytes = buf_slice(&x->unwritten);
    struct env_file *file;

    if (x->stale)
        return log->aborted_known == INT64_MAX ? replace_stale(log, s) : 0;
    if (bytes.len == 0)
        return 0;
    int rc = open_file(log, s, ENV_CREATE, &file);
    if (rc < 0)
        return rc;
    rc = env_file_write(file, &bytes, 1, (int64_t)x->stored * ABORTED_BYTES);
    env_file_unref(file);
    if (rc < 0)
        return rc;
    log->dir_changed = log->dir_changed || !x->exists;
    x->exists = x->unsynced = true;
    x->stored += (uint32_t)(bytes.len / ABORTED_BYTES);
    buf_free(&x->unwritten);
    return 0;
}

/* ---- entries, in the file or not ----------------------------------------- */

static uint32_t entries(const struct segment *s)
{
    return s->aborted.stored +
           (uint32_t)(s->aborted.unwritten.len / ABORTED_BYTES);
}

/* Reads entries one after the other, in blocks. */
struct cursor {
    const struct segment *segment;
    struct env_file *file; /* NULL: all is in memory */
    uint8_t block[READ_ENTRIES * ABORTED_BYTES];
    uint32_t first; /* in the block, ... */
    uint32_t len;   /* ... which holds so many */
};

static int cursor_open(struct log *log, const struct segment *s,
                       struct cursor *c)
{
    c->segment = s;
    c->file = NULL;
    c->first = c->len = 0;
    return s->aborted.stored == 0 ? 0 : open_file(log, s, ENV_READ, &c->file);
}

static void cursor_close(struct cursor *c)
{
    if (c->file != NULL)
        env_file_unref(c->file);
}

static int fill_block(struct cursor *c, uint32_t i)
{
    uint32_t left = c->segment->aborted.stored - i;

    c->first = i;
    c->len = left < READ_ENTRIES ? left : READ_ENTRIES;
    int64_t want = (int64_t)c->len * ABORTED_BYTES;
    int64_t n = env_file_read(c->file, c->block, (size_t)want,
                              (int64_t)i * ABORTED_BYTES);
    if (n != want)
        c->len = 0;
    return n < 0 ? (int)n : n < want ? -EBADMSG : 0;
}

static int cursor_get(struct cursor *c, uint32_t i, struct log_aborted *a)
{
    const struct aborted_index *x = &c->segment->aborted;
    const uint8_t *bytes;
    int rc = 0;

    if (i >= x->stored) {
        bytes = x->unwritten.data + (size_t)(i - x->stored) * ABORTED_BYTES;
    } else {
        if (i < c->first || i >= c->first + c->len)
            rc = fill_block(c, i);
        bytes = c->block + (size_t)(i - c->first) * ABORTED_BYTES;
    }
    if (rc == 0 && !decode(bytes, a))
        rc = -EBADMSG;
    return rc;
}

/* The first entry whose marker is at `offset` or above. */
static int find(struct cursor *c, int64_t offset, uint32_t *found)
{
    uint32_t low = 0, high = entries(c->segment);
    struct log_aborted a = {0};
    int rc = 0;

    while (low < high && rc == 0) {
        uint32_t middle = low + (high - low) / 2;

        rc = cursor_get(c, middle, &a);
        if (a.last_offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low;
    return rc;
}

/* ---- cutting ------------------------------------------------------------- */

static int cut_file(struct log *log, struct segment *s, uint32_t n)
{
    struct env_file *file;
    int rc = open_file(log, s, 0, &file);

    if (rc < 0)
        return rc;
    rc = env_file_truncate(file, (int64_t)n * ABORTED_BYTES);
    env_file_unref(file);
    if (rc == 0) {
        s->aborted.stored = n;
        s->aborted.unsynced = true;
    }
    return rc;
}

static int keep(struct log *log, struct segment *s, uint32_t n, int64_t last)
{
    struct aborted_index *x = &s->aborted;
    uint32_t stored = x->stored;

    int rc = n < stored ? cut_file(log, s, n) : 0;
    if (rc < 0)
        return rc;
    x->last_offset = last;
    x->unwritten.len = n > stored ? (size_t)(n - stored) * ABORTED_BYTES : 0;
    return 0;
}

int aborted_cut(struct log *log, struct segment *s, int64_t end_offset)
{
    struct log_aborted last = {.last_offset = -1};
    struct cursor *c;
    uint32_t n;

    if (s->aborted.last_offset < end_offset)
        return 0;
    c = xmalloc(sizeof *c);
    int rc = cursor_open(log, s, c);
    if (rc == 0) {
        rc = find(c, end_offset, &n);
        if (rc == 0 && n != 0)
            rc = cursor_get(c, n - 1, &last);
        cursor_close(c);
    }
    free(c);
    return rc < 0 ? rc : keep(log, s, n, last.last_offset);
}

/* ---- for others ---------------------------------------------------------- */

int64_t log_aborted_known(const struct log *log) { return log->aborted_known; }

/* What fails is tried again with the next flush. */
static void write_soon(struct log *log, struct segment *s)
{
    if (s != log_active(log) || s->aborted.unwritten.len >= WRITE_BYTES)
        aborted_write(log, s);
}

void log_aborted_all_known(struct log *log)
{
    if (log->aborted_known == INT64_MAX)
        return;
    log->aborted_known = INT64_MAX;
    for (uint32_t i = 0; i < log->segments_len; i++) {
        struct segment *s = &log->segments[i];

        if (s->aborted.stale && aborted_write(log, s) < 0)
            log_flush_noted(log, s, s->base_offset);
    }
}

void log_note_aborted(struct log *log, const struct log_aborted *a)
{
    struct segment *s = &log->segments[log_segment_of(log, a->last_offset)];

    ASSERT(a->last_offset > a->first_offset);
    if (a->last_offset <= s->aborted.last_offset)
        return; /* read once more */
    encode(a, &s->aborted.unwritten);
    s->aborted.last_offset = a->last_offset;
    log_flush_noted(log, s, a->last_offset);
    write_soon(log, s);
}

static int by_first_offset(const void *a, const void *b)
{
    const struct log_aborted *x = a, *y = b;

    return x->first_offset < y->first_offset
               ? -1
               : x->first_offset > y->first_offset;
}

/* Adds what overlaps [from, to); *all: no later segment has more. */
static int collect(struct log *log, const struct segment *s, int64_t from,
                   int64_t to, struct buf *out, bool *all)
{
    struct cursor *c;
    struct log_aborted a;
    uint32_t i = 0;

    if (s->aborted.last_offset < from)
        return 0;
    c = xmalloc(sizeof *c);
    int rc = cursor_open(log, s, c);
    if (rc == 0) {
        rc = find(c, from, &i);
        for (; rc == 0 && !*all && i < entries(s); i++) {
            rc = cursor_get(c, i, &a);
            if (rc == 0 && a.first_offset < to)
                buf_put(out, &a, sizeof a);
            *all = rc == 0 && a.last_stable_offset >= to;
        }
        cursor_close(c);
    }
    free(c);
    return rc;
}

/* The offset behind the last record of the range. */
static int end_of(struct log *log, const struct log_range *range, int64_t *end)
{
    uint32_t i = log_segment_of(log, range->base_offset);
    int64_t position = range->position + range->len;
    uint8_t base[8];

    *end = i + 1 < log->segments_len ? log->segments[i + 1].base_offset
                                     : log->end_offset;
    if (position >= log->segments[i].size_bytes)
        return 0;
    int64_t n = env_file_read(range->file, base, sizeof base, position);
    *end = (int64_t)be64_get(base);
    return n < 0 ? (int)n : n < (int64_t)sizeof base ? -EBADMSG : 0;
}

static bool has_any(const struct log *log, uint32_t from)
{
    for (uint32_t i = from; i < log->segments_len; i++)
        if (log->segments[i].aborted.last_offset >= 0)
            return true;
    return false;
}

enum err log_aborted_in(struct log *log, int64_t offset,
                        const struct log_range *range, struct buf *out)
{
    uint32_t i = log_segment_of(log, range->base_offset);
    size_t start = out->len;
    bool all = false;
    int64_t end;

    if (range->len == 0 || !has_any(log, i))
        return ERR_NONE;
    int rc = end_of(log, range, &end);
    for (; rc == 0 && !all && i < log->segments_len; i++)
        rc = collect(log, &log->segments[i], offset, end, out, &all);
    if (rc < 0) {
        log_error("log",
                  "%s: a %s file cannot be read (%s); consumers of committed "
                  "records get an error, other replicas serve them",
                  log->path, suffix, strerror(-rc));
        out->len = start;
        return ERR_IO;
    }
    if (out->len != start)
        qsort(out->data + start,
              (out->len - start) / sizeof(struct log_aborted),
              sizeof(struct log_aborted), by_first_offset);
    return ERR_NONE;
}

/* ---- for cleaning -------------------------------------------------------- */

int aborted_below(struct log *log, uint32_t i, int64_t to, struct buf *out)
{
    bool all = false;
    int rc = 0;

    for (; rc == 0 && !all && i < log->segments_len; i++)
        rc = collect(log, &log->segments[i], 0, to, out, &all);
    return rc;
}

static int load_block(struct env_file *file, int64_t at, int64_t size,
                      struct buf *out)
{
    uint8_t block[READ_ENTRIES * ABORTED_BYTES];
    int64_t want =
        size - at < (int64_t)sizeof block ? size - at : (int64_t)sizeof block;
    int64_t n = env_file_read(file, block, (size_t)want, at);
    struct log_aborted a;

    if (n != want)
        return n < 0 ? (int)n : -EBADMSG;
    for (int64_t i = 0; i < want; i += ABORTED_BYTES) {
        if (!decode(block + i, &a))
            return -EBADMSG;
        buf_put(out, &a, sizeof a);
    }
    return 0;
}

int aborted_load(struct env *env, const char *path, struct buf *out)
{
    struct env_file *file;
    int rc = env_file_open(env, path, ENV_READ, &file);

    if (rc < 0)
        return rc;
    int64_t size = env_file_size(file);
    if (size < 0 || size % ABORTED_BYTES != 0)
        rc = size < 0 ? (int)size : -EBADMSG;
    for (int64_t at = 0; rc == 0 && at < size;
         at += (int64_t)READ_ENTRIES * ABORTED_BYTES)
        rc = load_block(file, at, size, out);
    env_file_unref(file);
    return rc;
}

int aborted_save(struct env *env, const char *path, struct slice entries)
{
    struct buf bytes = BUF_INIT;
    struct env_file *file;
    struct log_aborted a;
    int rc = env_file_open(env, path, ENV_CREATE | ENV_EXCLUSIVE, &file);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < entries.len; i += sizeof a) {
        memcpy(&a, entries.data + i, sizeof a);
        encode(&a, &bytes);
    }
    struct slice all = buf_slice(&bytes);
    rc = env_file_write(file, &all, 1, 0);
    env_file_unref(file);
    buf_free(&bytes);
    return rc;
}

void aborted_replaced(struct segment *s, struct slice entries)
{
    struct log_aborted last = {.last_offset = -1};

    if (entries.len != 0)
        memcpy(&last, entries.data + entries.len - sizeof last, sizeof last);
    buf_free(&s->aborted.unwritten);
    s->aborted = (struct aborted_index){
        .exists = entries.len != 0,
        .stored = (uint32_t)(entries.len / sizeof last),
        .last_offset = last.last_offset,
    };
}
