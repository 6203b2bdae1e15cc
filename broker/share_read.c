/* Where the next read begins the share-partition says.  The batches found there
 * are acquired from, by their offsets; what it takes is answered with the bytes
 * from the first batch that holds some of it to the last, and what others have
 * in between the client skips.
 *
 * A read may find nothing for consumers (gaps, control batches, aborted
 * transactions): then the window has moved on, and the next read begins behind
 * it, a bounded number of times. */
#include "broker/share_read.h"

#include "base/alloc.h"
#include "broker/log/walk.h"

#include <stdlib.h>

enum {
    READS_MAX = 16,
    BATCHES_MAX = 10000,
    /* A window has no more: group.share.max.partition.max.record.locks, twice.
     */
    SHARE_READ_OFFSETS_MAX = 20000,
};

int64_t share_read_initial(const struct partition *p,
                           const struct share_reset *reset)
{
    struct log_timestamp_offset found = {-1, -1, -1};

    if (reset->kind == SHARE_RESET_EARLIEST)
        return log_start_offset(p->log);
    if (reset->kind == SHARE_RESET_BY_DURATION &&
        log_offset_for_timestamp(
            p->log, p->shard->codec,
            share_reset_timestamp(reset, env_wall_ms(p->shard->env)),
            p->high_watermark, &found) == ERR_NONE &&
        found.offset >= 0)
        return found.offset;
    return p->high_watermark;
}

/* A piece of the log: its batches, and where each lies. */
struct piece {
    struct log_range range;
    struct share_log_batch *batches; /* owned */
    int64_t *ends;                   /* owned; of each, position in the file */
    uint32_t len;
    uint32_t cap;
    struct buf aborted; /* of struct log_aborted */
};

static void piece_free(struct piece *piece)
{
    if (piece->range.file != NULL)
        env_file_unref(piece->range.file);
    free(piece->batches);
    free(piece->ends);
    buf_free(&piece->aborted);
}

static bool is_aborted(const struct piece *piece, const struct batch *b)
{
    const struct log_aborted *all = (const void *)piece->aborted.data;
    size_t len = piece->aborted.len / sizeof *all;

    if ((b->attributes & BATCH_TRANSACTIONAL) == 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (all[i].producer_id == b->producer_id &&
            all[i].first_offset <= b->base_offset &&
            b->base_offset <= all[i].last_offset)
            return true;
    return false;
}

static void add(struct piece *piece, const struct batch *b, int64_t end)
{
    if (piece->len == piece->cap) {
        piece->cap = piece->cap != 0 ? piece->cap * 2 : 16;
        piece->batches =
            xrealloc(piece->batches, piece->cap * sizeof *piece->batches);
        piece->ends = xrealloc(piece->ends, piece->cap * sizeof *piece->ends);
    }
    piece->batches[piece->len] = (struct share_log_batch){
        .base = b->base_offset,
        .last = batch_last_offset(b),
        .has_records = (b->attributes & BATCH_CONTROL) == 0 &&
                       b->records_count != 0 && !is_aborted(piece, b),
    };
    piece->ends[piece->len++] = end;
}

/* No more than can be acquired is looked at. */
static enum err walk(struct piece *piece, int64_t from, int64_t offsets_max)
{
    const struct log_range *range = &piece->range;
    enum walk_result result = WALK_END;
    struct walk w;

    walk_init(&w, range->file, range->position, range->position + range->len);
    while (piece->len < BATCHES_MAX && (result = walk_next(&w)) == WALK_BATCH) {
        add(piece, &w.batch, w.next_position);
        if (batch_last_offset(&w.batch) - from >= offsets_max)
            break;
    }
    walk_free(&w);
    return piece->len != 0 || result == WALK_END ? ERR_NONE
                                                 : ERR_KAFKA_STORAGE_ERROR;
}

static int64_t readable_end(const struct partition *p, bool read_committed)
{
    return read_committed ? partition_last_stable(p) : p->high_watermark;
}

static uint32_t clamp(int64_t bytes)
{
    return bytes <= 0 ? 0 : bytes > INT32_MAX ? INT32_MAX : (uint32_t)bytes;
}

static enum err piece_read(struct piece *piece, struct partition *p,
                           int64_t from, const struct share_take *take,
                           bool read_committed)
{
    enum err error =
        log_read(p->log, from, readable_end(p, read_committed),
                 clamp(take->max_bytes), take->min_one, &piece->range);

    if (error == ERR_NONE && piece->range.len != 0 && read_committed)
        error = log_aborted_in(p->log, from, &piece->range, &piece->aborted);
    return error == ERR_NONE ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

/* The range shrinks to the batches that hold what was acquired. */
static void trim(struct piece *piece, const struct share_acquired *acquired,
                 struct log_range *out)
{
    int64_t first = acquired->ranges[0].first;
    int64_t last = acquired->ranges[acquired->len - 1].last;
    uint32_t a = 0;

    while (piece->batches[a].last < first)
        a++;
    uint32_t b = a;
    while (b + 1 < piece->len && piece->batches[b + 1].base <= last)
        b++;
    *out = piece->range;
    piece->range.file = NULL;
    if (a != 0)
        out->position = piece->ends[a - 1];
    out->len = (uint32_t)(piece->ends[b] - out->position);
    out->base_offset = piece->batches[a].base;
}

static enum err acquire(struct piece *piece, struct partition *p,
                        struct share_partition *core, int64_t from,
                        const struct share_take *take,
                        struct share_taken *taken, struct share_update *update)
{
    struct share_acquire request = {
        .member = take->owner,
        .now_ms = env_now_ms(p->shard->env),
        .from = from,
        .batches = piece->batches,
        .batches_len = piece->len,
        .max_records = take->max_records,
        .batch_size = take->batch_size,
        .mode = take->mode,
    };
    enum err error =
        share_partition_acquire(core, &request, &taken->acquired, update);

    if (error == ERR_NONE && taken->acquired.len != 0)
        trim(piece, &taken->acquired, &taken->range);
    return error;
}

/* True: look again, the window has moved. */
static bool read_once(struct partition *p, struct share_partition *core,
                      const struct share_take *take, bool read_committed,
                      struct share_taken *taken, struct share_update *update,
                      enum err *error)
{
    int64_t from = share_partition_next_fetch(core);
    struct piece piece = {0};

    if (!share_partition_can_acquire(core) ||
        from >= readable_end(p, read_committed))
        return false;
    *error = piece_read(&piece, p, from, take, read_committed);
    if (*error == ERR_NONE && piece.range.len != 0 && take->look)
        taken->readable_bytes += piece.range.len;
    else if (*error == ERR_NONE && piece.range.len != 0)
        *error = walk(&piece, from, SHARE_READ_OFFSETS_MAX);
    if (*error == ERR_NONE && piece.len != 0)
        *error = acquire(&piece, p, core, from, take, taken, update);
    bool moved = piece.len != 0 && share_partition_next_fetch(core) != from;
    piece_free(&piece);
    return *error == ERR_NONE && moved && taken->acquired.len == 0;
}

enum err share_read(struct partition *p, struct share_partition *core,
                    const struct share_take *take, bool read_committed,
                    struct share_taken *taken, struct share_update *update)
{
    enum err error = ERR_NONE;

    share_partition_log_start(core, log_start_offset(p->log), update);
    for (int i = 0; i < READS_MAX; i++)
        if (!read_once(p, core, take, read_committed, taken, update, &error))
            break;
    return error;
}
