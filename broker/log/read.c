/* Reading: find the batch that holds the offset, then how far the answer may
 * reach: at most to the batch that holds end_offset, at most max_bytes.
 *
 * The newest batches are found in memory (tail.h), anything else through the
 * offset index and a short walk over headers, from the page cache if it is
 * there and otherwise from the disk. */
#include "broker/log/state.h"

#include <errno.h>

/* As segment_find(), asking memory first. */
static int find(struct log *log, uint32_t i, int64_t offset,
                struct segment_place *place)
{
    struct segment *s = &log->segments[i];
    struct tail_hit hit;

    if (s != log_active(log) || !tail_find(&log->tail, offset, &hit))
        return segment_find(log, s, offset, place);
    uint32_t end = hit.newest ? s->size_bytes : hit.next_position;
    *place = (struct segment_place){
        .position = hit.batch.position,
        .size_bytes = end - hit.batch.position,
        .base_offset = hit.batch.base_offset,
        .last_offset = hit.batch.base_offset + hit.batch.last_offset_delta,
        .max_timestamp = -1,
        .leader_epoch = -1,
    };
    return 0;
}

/* Position in segment i at which offsets from end_offset on begin. */
static int position_of_end(struct log *log, uint32_t i, int64_t end_offset,
                           uint32_t *position)
{
    struct segment_place place;

    *position = log->segments[i].size_bytes;
    if (end_offset >= log->end_offset ||
        (i + 1 < log->segments_len &&
         log->segments[i + 1].base_offset <= end_offset))
        return 0;
    int rc = find(log, i, end_offset, &place);
    if (rc == 0)
        *position = place.position;
    return rc == -ENOENT ? 0 : rc;
}

static int fill(struct log *log, uint32_t i, const struct segment_place *place,
                int64_t end_offset, uint32_t max_bytes, struct log_range *range)
{
    struct segment *s = &log->segments[i];
    uint32_t end, fits;
    int rc = position_of_end(log, i, end_offset, &end);

    if (rc < 0)
        return rc;
    if (end - place->position > max_bytes) {
        rc = segment_fit(log, s, place, max_bytes, &fits);
        if (rc < 0)
            return rc;
        if (fits < end)
            end = fits;
    }
    rc = segment_open_file(log, s, s == log_active(log), &range->file);
    if (rc < 0)
        return rc;
    range->position = place->position;
    range->len = end - place->position;
    range->base_offset = place->base_offset;
    return 0;
}

enum err log_read(struct log *log, int64_t offset, int64_t end_offset,
                  uint32_t max_bytes, bool min_one, struct log_range *range)
{
    struct segment_place place;
    int rc;

    *range = (struct log_range){.base_offset = offset};
    if (log->failed)
        return ERR_IO;
    if (offset < log->start_offset || offset > log->end_offset)
        return ERR_OFFSET_OUT_OF_RANGE;
    if (end_offset > log->end_offset)
        end_offset = log->end_offset;
    if (offset >= end_offset)
        return ERR_NONE;

    /* Compaction may have left nothing between the offset and the end of its
     * segment: then the next one has it. */
    uint32_t i = log_segment_of(log, offset);
    while ((rc = find(log, i, offset, &place)) == -ENOENT &&
           i + 1 < log->segments_len)
        i++;
    if (rc == -ENOENT)
        return ERR_NONE;
    if (rc < 0)
        return log_refused(log, rc);
    if (place.last_offset >= end_offset ||
        (place.size_bytes > max_bytes && !min_one))
        return ERR_NONE;
    return log_refused(log, fill(log, i, &place, end_offset, max_bytes, range));
}

static bool has_records(const struct batch *b)
{
    return b->records_count > 0 && (b->attributes & BATCH_CONTROL) == 0;
}

/* Takes batches without records off the front; *offset gets behind them. */
static enum err skip_empty(struct log_range *range, int64_t *offset)
{
    int64_t end = range->position + range->len;
    enum walk_result result;
    struct walk w;

    walk_init(&w, range->file, range->position, end);
    while ((result = walk_next(&w)) == WALK_BATCH && !has_records(&w.batch))
        *offset = batch_last_offset(&w.batch) + 1;
    if (result == WALK_BATCH)
        range->base_offset = w.batch.base_offset;
    range->position = w.position;
    range->len = (uint32_t)(end - w.position);
    walk_free(&w);
    return result == WALK_IO    ? ERR_IO
           : result == WALK_BAD ? ERR_DAMAGED
                                : ERR_NONE;
}

enum err log_read_records(struct log *log, int64_t offset, int64_t end_offset,
                          uint32_t max_bytes, bool min_one,
                          struct log_range *range)
{
    enum err err;

    while ((err = log_read(log, offset, end_offset, max_bytes, min_one,
                           range)) == ERR_NONE &&
           range->len != 0) {
        err = skip_empty(range, &offset);
        if (err == ERR_NONE && range->len != 0)
            return ERR_NONE;
        env_file_unref(range->file);
        *range = (struct log_range){.base_offset = offset};
        if (err != ERR_NONE)
            return err;
    }
    return err;
}
