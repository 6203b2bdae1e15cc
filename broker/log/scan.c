/* Walking batches on another thread: log_scan_begin() takes references to the
 * files and notes how far they reach; log_scan_run() looks at nothing else. */
#include "broker/log/state.h"

#include <errno.h>
#include <stdlib.h>

struct scan_part {
    struct env_file *file; /* owned reference */
    int64_t position;
    int64_t end; /* exclusive */
};

struct log_scan {
    int64_t from; /* inclusive */
    int64_t to;   /* exclusive */
    struct scan_part *parts;
    uint32_t parts_len;
};

static int add_part(struct log *log, struct log_scan *scan, uint32_t i)
{
    struct segment *s = &log->segments[i];
    struct segment_place place = {.position = 0};
    struct scan_part *part = &scan->parts[scan->parts_len];

    if (s->size_bytes == 0 || s->base_offset >= scan->to)
        return 0;
    if (s->base_offset < scan->from) {
        int rc = segment_find(log, s, scan->from, &place);
        if (rc < 0)
            return rc == -ENOENT ? 0 : rc;
    }
    part->position = place.position;
    part->end = s->size_bytes;
    int rc = segment_open_file(log, s, s == log_active(log), &part->file);
    if (rc == 0)
        scan->parts_len++;
    return rc;
}

enum err log_scan_begin(struct log *log, int64_t from, int64_t to,
                        struct log_scan **scan)
{
    struct log_scan *x = xcalloc(1, sizeof *x);
    int rc = 0;

    *scan = NULL;
    x->from = from;
    x->to = to < log->end_offset ? to : log->end_offset;
    uint32_t first = log_segment_of(log, from);
    x->parts = xcalloc(log->segments_len - first, sizeof *x->parts);
    for (uint32_t i = first; rc == 0 && i < log->segments_len; i++)
        rc = add_part(log, x, i);
    if (rc < 0) {
        log_scan_end(x);
        return log_errno(rc);
    }
    *scan = x;
    return ERR_NONE;
}

/* ERR_ABSENT: stopped by visit or at the end of the range. */
static enum err run_part(const struct log_scan *scan,
                         const struct scan_part *part, log_visit_fn visit,
                         void *arg)
{
    enum walk_result result;
    enum err err = ERR_NONE;
    struct slice bytes;
    struct walk w;

    walk_init(&w, part->file, part->position, part->end);
    while (err == ERR_NONE && (result = walk_next(&w)) != WALK_END) {
        if (result == WALK_BATCH && w.batch.base_offset >= scan->to)
            err = ERR_ABSENT;
        else if (result == WALK_BATCH)
            result = walk_body(&w, &bytes);
        if (result == WALK_IO)
            err = ERR_IO;
        else if (result == WALK_BAD ||
                 (err == ERR_NONE && !batch_crc_ok(bytes, &w.batch)))
            err = ERR_DAMAGED;
        if (err == ERR_NONE && batch_last_offset(&w.batch) >= scan->from &&
            !visit(arg, &w.batch, bytes))
            err = ERR_ABSENT;
    }
    walk_free(&w);
    return err;
}

enum err log_scan_run(struct log_scan *scan, log_visit_fn visit, void *arg)
{
    enum err err = ERR_NONE;

    for (uint32_t i = 0; err == ERR_NONE && i < scan->parts_len; i++)
        err = run_part(scan, &scan->parts[i], visit, arg);
    return err == ERR_ABSENT ? ERR_NONE : err;
}

void log_scan_end(struct log_scan *scan)
{
    for (uint32_t i = 0; i < scan->parts_len; i++)
        env_file_unref(scan->parts[i].file);
    free(scan->parts);
    free(scan);
}

enum err log_visit(struct log *log, int64_t from, int64_t to,
                   log_visit_fn visit, void *arg)
{
    struct log_scan *scan;
    enum err err = log_scan_begin(log, from, to, &scan);

    if (err != ERR_NONE)
        return err;
    err = log_scan_run(scan, visit, arg);
    log_scan_end(scan);
    return err;
}
