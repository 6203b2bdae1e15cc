/* ListOffsets: from a time to an offset.
 *
 * By timestamp: the first segment whose largest timestamp is not below the
 * target has the record; its time index says which offset everything later
 * lies behind, the offset index where that is; then batches are walked until
 * one has a large enough timestamp, and that one's records are looked at. */
#include "broker/log/state.h"
#include "proto/record/record.h"

#include <errno.h>

/* What a search passes down. */
struct search {
    struct codec *codec;
    int64_t timestamp;
    int64_t start_offset; /* inclusive */
    int64_t end_offset;   /* exclusive */
};

/* Where to begin: every record in batches before `place` is older than the
 * target, or below the start offset.  -ENOENT when there is no such place. */
static int first_place(struct log *log, struct segment *s,
                       const struct search *search, struct segment_place *place)
{
    struct index_entry e;
    char path[PATH_MAX];
    int rc = index_floor(&s->times, log->env,
                         log_file_path(log, s->base_offset, ".timeindex", path),
                         INDEX_BY_TIMESTAMP, search->timestamp, &e, NULL);
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

static enum err look_into(struct walk *w, const struct search *search,
                          struct log_timestamp_offset *found)
{
    struct record_position position;
    struct buf scratch = BUF_INIT;
    struct slice bytes;

    if (walk_body(w, &bytes) != WALK_BATCH)
        return ERR_IO;
    if (!batch_crc_ok(bytes, &w->batch))
        return ERR_DAMAGED;
    enum err err = record_find_timestamp(
        search->codec, bytes, &w->batch, search->timestamp,
        search->start_offset, CODEC_LIMIT_BYTES, &scratch, &position);
    buf_free(&scratch);
    if (err == ERR_NONE && position.offset >= 0)
        *found = (struct log_timestamp_offset){
            .timestamp = position.timestamp,
            .offset = position.offset,
            .leader_epoch = w->batch.leader_epoch,
        };
    return err;
}

static enum err search_segment(struct log *log, struct segment *s,
                               const struct search *search,
                               struct log_timestamp_offset *found)
{
    enum walk_result result = WALK_END;
    struct segment_place place;
    struct env_file *file;
    enum err err = ERR_NONE;
    struct walk w;
    int rc = first_place(log, s, search, &place);

    if (rc == -EBADMSG && (rc = segment_rebuild(log, s)) == 0)
        rc = first_place(log, s, search, &place);
    if (rc < 0)
        return rc == -ENOENT ? ERR_NONE : log_errno(rc);
    rc = segment_open_file(log, s, s == log_active(log), &file);
    if (rc < 0)
        return log_errno(rc);
    walk_init(&w, file, place.position, s->size_bytes);
    while (err == ERR_NONE && found->offset < 0 &&
           (result = walk_next(&w)) == WALK_BATCH &&
           w.batch.base_offset < search->end_offset)
        if (w.batch.max_timestamp >= search->timestamp)
            err = look_into(&w, search, found);
    if (result == WALK_IO || result == WALK_BAD)
        err = result == WALK_IO ? ERR_IO : ERR_DAMAGED;
    walk_free(&w);
    env_file_unref(file);
    return err;
}

static const struct log_timestamp_offset nothing = {
    .timestamp = -1, .offset = -1, .leader_epoch = -1};

enum err log_offset_for_timestamp(struct log *log, struct codec *codec,
                                  int64_t timestamp, int64_t end_offset,
                                  struct log_timestamp_offset *found)
{
    struct search search = {codec, timestamp, log->start_offset, end_offset};

    *found = nothing;
    if (log->failed)
        return ERR_IO;
    for (uint32_t i = log_segment_of(log, log->start_offset);
         i < log->segments_len && found->offset < 0; i++) {
        struct segment *s = &log->segments[i];
        if (s->base_offset >= end_offset)
            break;
        int rc = segment_load(log, s, NULL);
        if (rc < 0)
            return log_errno(rc);
        if (s->max_timestamp < timestamp)
            continue;
        enum err err = search_segment(log, s, &search, found);
        if (err != ERR_NONE)
            return err;
    }
    if (found->offset >= end_offset)
        *found = nothing;
    return ERR_NONE;
}

/* ---- greatest timestamp --------------------------------------------------*/

/* A batch that has the greatest timestamp seen so far. */
struct greatest {
    int64_t timestamp;
    int64_t last_offset;
    int64_t end_offset; /* batches that reach it are out */
};

static void consider(struct greatest *g, int64_t timestamp, int64_t last_offset)
{
    if (timestamp > g->timestamp && last_offset < g->end_offset) {
        g->timestamp = timestamp;
        g->last_offset = last_offset;
    }
}

/* Batch by batch; where the segment's own figure lies outside of [from, to). */
static bool consider_batch(void *arg, const struct batch *b, struct slice bytes)
{
    struct greatest *g = arg;

    consider(g, b->max_timestamp, batch_last_offset(b));
    return true;
}

static enum err consider_segment(struct log *log, uint32_t i,
                                 struct greatest *g)
{
    int64_t from = log->start_offset, to = g->end_offset;
    struct segment *s = &log->segments[i];
    int rc = segment_load(log, s, NULL);

    if (rc < 0)
        return log_errno(rc);
    if (s->max_timestamp <= g->timestamp)
        return ERR_NONE;
    if (s->max_timestamp_offset >= from && s->max_timestamp_offset < to) {
        consider(g, s->max_timestamp, s->max_timestamp_offset);
        return ERR_NONE;
    }
    if (s->base_offset > from)
        from = s->base_offset;
    if (i + 1 < log->segments_len && log->segments[i + 1].base_offset < to)
        to = log->segments[i + 1].base_offset;
    return log_visit(log, from, to, consider_batch, g);
}

struct record_search {
    struct codec *codec;
    struct log_timestamp_offset *found;
    enum err err;
};

static bool find_in_batch(void *arg, const struct batch *b, struct slice bytes)
{
    struct record_search *search = arg;
    struct record_position position;
    struct buf scratch = BUF_INIT;

    search->err = record_find_max_timestamp(
        search->codec, bytes, b, CODEC_LIMIT_BYTES, &scratch, &position);
    buf_free(&scratch);
    if (search->err == ERR_NONE && position.offset >= 0)
        *search->found = (struct log_timestamp_offset){
            .timestamp = position.timestamp,
            .offset = position.offset,
            .leader_epoch = b->leader_epoch,
        };
    return false;
}

enum err log_max_timestamp(struct log *log, struct codec *codec,
                           int64_t end_offset,
                           struct log_timestamp_offset *found)
{
    struct record_search search = {codec, found, ERR_NONE};
    struct greatest g = {-1, -1, end_offset};
    enum err err = ERR_NONE;

    *found = nothing;
    if (log->failed)
        return ERR_IO;
    for (uint32_t i = log_segment_of(log, log->start_offset);
         i < log->segments_len && err == ERR_NONE; i++) {
        if (log->segments[i].base_offset >= end_offset)
            break;
        err = consider_segment(log, i, &g);
    }
    if (err != ERR_NONE || g.last_offset < 0)
        return err;
    err = log_visit(log, g.last_offset, g.last_offset + 1, find_in_batch,
                    &search);
    return err != ERR_NONE ? err : search.err;
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
