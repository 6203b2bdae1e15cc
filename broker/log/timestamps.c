/* ListOffsets: from a time to an offset.
 *
 * By timestamp: the first segment whose largest timestamp is not below the
 * target has the record; its time index says which offset everything later
 * lies behind, the offset index where that is; then batches are walked until
 * one has a large enough timestamp, and that one's records are looked at.
 *
 * The greatest timestamp is known of each segment, and of what lies before an
 * entry of its time index; headers say the rest. */
#include "base/alloc.h"
#include "broker/log/state.h"
#include "proto/record/record.h"

#include <errno.h>
#include <stdlib.h>

/* Batches of one file. */
struct search_part {
    struct env_file *file; /* owned reference */
    int64_t position;
    int64_t end;  /* of the file, exclusive */
    int64_t from; /* batches that end in [from, to) count */
    int64_t to;
};

struct log_search {
    int64_t timestamp;    /* LOG_GREATEST_TIMESTAMP: any */
    int64_t start_offset; /* inclusive */
    int64_t end_offset;   /* exclusive */
    int64_t next;         /* see log_search_end() */
    int parts_len;
    struct search_part parts[4];
};

static const struct log_timestamp_offset nothing = {
    .timestamp = -1, .offset = -1, .leader_epoch = -1};

/* ---- by timestamp, on the owner's thread --------------------------------- */

static int floor_time(struct log *log, struct segment *s,
                      enum index_field field, int64_t value,
                      struct index_entry *e)
{
    char path[PATH_MAX];

    return index_floor(&s->times, log->env,
                       log_file_path(log, s->base_offset, ".timeindex", path),
                       field, value, e, NULL);
}

/* Where to begin: every record in batches before `place` is older than the
 * target, or below the start offset.  -ENOENT when there is no such place. */
static int first_place(struct log *log, struct segment *s,
                       const struct log_search *search,
                       struct segment_place *place)
{
    struct index_entry e;
    int rc = floor_time(log, s, INDEX_BY_TIMESTAMP, search->timestamp, &e);
    int64_t from = rc < 0 ? s->base_offset : s->base_offset + e.relative_offset;

    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (rc < 0 || from < search->start_offset) {
        if (from < search->start_offset)
            from = search->start_offset;
        return segment_find(log, s, from, place);
    }
    rc = segment_find(log, s, from, place);
    /* The entry names the last offset and the timestamp of a batch. */
    if (rc == -ENOENT || (rc == 0 && (place->last_offset != from ||
                                      place->max_timestamp != e.timestamp)))
        return -EBADMSG;
    return rc;
}

/* Batches from `position` on that end in [from, to). */
static int add_part(struct log *log, struct segment *s, uint32_t position,
                    int64_t from, int64_t to, struct log_search *search)
{
    struct search_part *part = &search->parts[search->parts_len];
    int rc = segment_open_file(log, s, s == log_active(log), &part->file);

    if (rc < 0)
        return rc;
    part->position = position;
    part->end = s->size_bytes;
    part->from = from;
    part->to = to;
    search->parts_len++;
    return 0;
}

static int begin_in_segment(struct log *log, struct segment *s,
                            struct log_search *search)
{
    struct segment_place place;
    int rc = first_place(log, s, search, &place);

    if (rc == -EBADMSG && (rc = segment_rebuild(log, s)) == 0)
        rc = first_place(log, s, search, &place);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    return add_part(log, s, place.position, search->start_offset,
                    search->end_offset, search);
}

static int begin_by_timestamp(struct log *log, struct log_search *search)
{
    int rc = 0;

    for (uint32_t i = log_segment_of(log, search->start_offset);
         rc == 0 && search->parts_len == 0 && i < log->segments_len &&
         log->segments[i].base_offset < search->end_offset;
         i++) {
        struct segment *s = &log->segments[i];

        search->next = i + 1 < log->segments_len
                           ? log->segments[i + 1].base_offset
                           : INT64_MAX;
        rc = segment_load(log, s, NULL);
        if (rc == 0 && s->max_timestamp >= search->timestamp)
            rc = begin_in_segment(log, s, search);
    }
    return rc;
}

/* ---- greatest timestamp, on the owner's thread ---------------------------
 * A segment's own figure is good if it is that of a batch in [start, end).  In
 * the segment where the search starts it may not be, then all headers behind
 * the start are looked at; nor in the one where it ends, most often the active
 * one. */

/* From the batch with this offset on. */
static int add_from(struct log *log, struct segment *s, int64_t offset,
                    int64_t from, int64_t to, struct log_search *search)
{
    struct segment_place place;
    int rc = segment_find(log, s, offset, &place);

    return rc == -ENOENT ? 0
           : rc < 0      ? rc
                         : add_part(log, s, place.position, from, to, search);
}

/* The time index knows the greatest below the last offset entry below the end;
 * it takes its entries at offset entries only. */
static int begin_before_end(struct log *log, struct segment *s, int64_t from,
                            int64_t to, struct log_search *search)
{
    struct index_entry e;
    char path[PATH_MAX];
    int rc = floor_time(log, s, INDEX_BY_OFFSET, to - 1 - s->base_offset, &e);

    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (rc == 0 && s->base_offset + e.relative_offset < from)
        return add_from(log, s, from, from, to, search);
    if (rc == 0) {
        int64_t at = s->base_offset + e.relative_offset;

        rc = add_from(log, s, at, at, at + 1, search);
        if (rc < 0)
            return rc;
    }
    rc = index_floor(&s->offsets, log->env,
                     log_file_path(log, s->base_offset, ".index", path),
                     INDEX_BY_OFFSET, to - 1 - s->base_offset, &e, NULL);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    int64_t at = rc == 0 ? s->base_offset + e.relative_offset : s->base_offset;
    return add_from(log, s, at > from ? at : from, from, to, search);
}

static int begin_greatest(struct log *log, struct log_search *search)
{
    int64_t from = search->start_offset, to = search->end_offset;
    struct segment *best = NULL, *last = NULL;
    int rc = 0;

    for (uint32_t i = log_segment_of(log, from);
         rc == 0 && i < log->segments_len && log->segments[i].base_offset < to;
         i++) {
        struct segment *s = &log->segments[i];

        rc = segment_load(log, s, NULL);
        if (rc < 0 ||
            s->max_timestamp <= (best != NULL ? best->max_timestamp : -1))
            continue;
        if (s->max_timestamp_offset >= to)
            last = s;
        else if (s->max_timestamp_offset >= from)
            best = s;
        else
            rc = add_from(log, s, from, from, to, search);
    }
    if (rc == 0 && best != NULL)
        rc = add_from(log, best, best->max_timestamp_offset,
                      best->max_timestamp_offset,
                      best->max_timestamp_offset + 1, search);
    if (rc == 0 && last != NULL)
        rc = begin_before_end(
            log, last, from > last->base_offset ? from : last->base_offset, to,
            search);
    return rc;
}

enum err log_search_begin(struct log *log, int64_t timestamp, int64_t from,
                          int64_t end_offset, struct log_search **search)
{
    struct log_search *x;

    *search = NULL;
    if (log->failed)
        return ERR_IO;
    x = xcalloc(1, sizeof *x);
    x->timestamp = timestamp;
    x->start_offset = from > log->start_offset ? from : log->start_offset;
    x->end_offset = end_offset;
    x->next = INT64_MAX;
    int rc = timestamp == LOG_GREATEST_TIMESTAMP ? begin_greatest(log, x)
                                                 : begin_by_timestamp(log, x);
    if (rc < 0 || x->parts_len == 0)
        log_search_end(x);
    else
        *search = x;
    return rc < 0 ? log_errno(rc) : ERR_NONE;
}

int64_t log_search_end(struct log_search *search)
{
    int64_t next = search->next;

    for (int i = 0; i < search->parts_len; i++)
        env_file_unref(search->parts[i].file);
    free(search);
    return next;
}

/* ---- on any thread ------------------------------------------------------- */

/* The record of the walk's batch that the search is for. */
static enum err look_into(struct walk *w, const struct log_search *search,
                          struct codec *codec,
                          struct log_timestamp_offset *found)
{
    struct record_position position;
    struct buf scratch = BUF_INIT;
    struct slice bytes;
    enum err err;

    if (walk_body(w, &bytes) != WALK_BATCH)
        return ERR_IO;
    if (!batch_crc_ok(bytes, &w->batch))
        return ERR_DAMAGED;
    if (search->timestamp == LOG_GREATEST_TIMESTAMP)
        err = record_find_max_timestamp(codec, bytes, &w->batch,
                                        CODEC_LIMIT_BYTES, &scratch, &position);
    else
        err = record_find_timestamp(codec, bytes, &w->batch, search->timestamp,
                                    search->start_offset, CODEC_LIMIT_BYTES,
                                    &scratch, &position);
    buf_free(&scratch);
    if (err == ERR_NONE && position.offset >= 0)
        *found = (struct log_timestamp_offset){
            .timestamp = position.timestamp,
            .offset = position.offset,
            .leader_epoch = w->batch.leader_epoch,
        };
    return err;
}

static enum err walk_error(enum walk_result result)
{
    return result == WALK_IO    ? ERR_IO
           : result == WALK_BAD ? ERR_DAMAGED
                                : ERR_NONE;
}

static enum err run_by_timestamp(struct log_search *search, struct codec *codec,
                                 struct log_timestamp_offset *found)
{
    const struct search_part *part = &search->parts[0];
    enum walk_result result = WALK_END;
    enum err err = ERR_NONE;
    struct walk w;

    walk_init(&w, part->file, part->position, part->end);
    while (err == ERR_NONE && found->offset < 0 &&
           (result = walk_next(&w)) == WALK_BATCH &&
           w.batch.base_offset < part->to)
        if (w.batch.max_timestamp >= search->timestamp)
            err = look_into(&w, search, codec, found);
    walk_free(&w);
    if (found->offset >= part->to) {
        *found = nothing;
        search->next = INT64_MAX;
    }
    return err != ERR_NONE ? err : walk_error(result);
}

/* A batch that has the greatest timestamp seen so far. */
struct greatest {
    int64_t timestamp;
    const struct search_part *part;
    int64_t position;
};

static enum err walk_headers(const struct search_part *part, struct greatest *g)
{
    enum walk_result result;
    int64_t last = -1;
    struct walk w;

    walk_init(&w, part->file, part->position, part->end);
    while (last + 1 < part->to && (result = walk_next(&w)) == WALK_BATCH) {
        last = batch_last_offset(&w.batch);
        if (last >= part->from && last < part->to &&
            w.batch.max_timestamp > g->timestamp)
            *g = (struct greatest){w.batch.max_timestamp, part, w.position};
    }
    walk_free(&w);
    return last + 1 < part->to ? walk_error(result) : ERR_NONE;
}

static enum err run_greatest(struct log_search *search, struct codec *codec,
                             struct log_timestamp_offset *found)
{
    struct greatest g = {.timestamp = -1};
    enum err err = ERR_NONE;
    struct walk w;

    for (int i = 0; i < search->parts_len && err == ERR_NONE; i++)
        err = walk_headers(&search->parts[i], &g);
    if (err != ERR_NONE || g.part == NULL)
        return err;
    walk_init(&w, g.part->file, g.position, g.part->end);
    err = walk_error(walk_next(&w));
    if (err == ERR_NONE)
        err = look_into(&w, search, codec, found);
    walk_free(&w);
    return err;
}

enum err log_search_run(struct log_search *search, struct codec *codec,
                        struct log_timestamp_offset *found)
{
    *found = nothing;
    return search->timestamp == LOG_GREATEST_TIMESTAMP
               ? run_greatest(search, codec, found)
               : run_by_timestamp(search, codec, found);
}

/* ---- all of it ----------------------------------------------------------- */

static enum err search_here(struct log *log, struct codec *codec,
                            int64_t timestamp, int64_t end_offset,
                            struct log_timestamp_offset *found)
{
    struct log_search *search;
    int64_t from = 0;
    enum err err;

    *found = nothing;
    do {
        err = log_search_begin(log, timestamp, from, end_offset, &search);
        if (err != ERR_NONE || search == NULL)
            return err;
        err = log_search_run(search, codec, found);
        from = log_search_end(search);
    } while (err == ERR_NONE && found->offset < 0 && from < end_offset);
    return err;
}

enum err log_offset_for_timestamp(struct log *log, struct codec *codec,
                                  int64_t timestamp, int64_t end_offset,
                                  struct log_timestamp_offset *found)
{
    if (timestamp < 0)
        timestamp = 0; /* what has none is not found */
    return search_here(log, codec, timestamp, end_offset, found);
}

enum err log_max_timestamp(struct log *log, struct codec *codec,
                           int64_t end_offset,
                           struct log_timestamp_offset *found)
{
    return search_here(log, codec, LOG_GREATEST_TIMESTAMP, end_offset, found);
}

/* ---- version 0 -----------------------------------------------------------*/

/* Segments have no modification time here: their largest record timestamp
 * stands for it. */
static int64_t written_before(struct log *log, uint32_t i)
{
    struct segment *s = &log->segments[i];

    if (segment_load(log, s, NULL) < 0 || s->max_timestamp < 0)
        return s->created_ms;
    return s->max_timestamp;
}

int log_offsets_before(struct log *log, int64_t timestamp, int64_t end_offset,
                       int64_t *offsets, int max)
{
    enum { LATEST = -1, EARLIEST = -2 };
    int count = 0;

    if (timestamp == LATEST && count < max)
        offsets[count++] = end_offset;
    for (uint32_t i = log->segments_len; i-- != 0 && count < max;) {
        int64_t base = log->segments[i].base_offset;
        if (base < log->start_offset)
            base = log->start_offset;
        if (base >= end_offset && i != 0)
            continue;
        if (timestamp == EARLIEST && i != 0)
            continue;
        if (timestamp >= 0 && written_before(log, i) > timestamp)
            continue;
        offsets[count++] = base;
    }
    return count;
}
