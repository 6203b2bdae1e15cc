#include "broker/coord/runtime.h"

#include "base/planted.h"

#include "proto/record/builder.h"

#include <stdlib.h>

enum {
    /* Upper bound of what a record adds to its key and value: length,
     * attributes, two deltas, two lengths, count of headers. */
    RECORD_OVERHEAD_BYTES = 5 + 1 + 10 + 5 + 5 + 5 + 1,
};

/* Records [first, first + count) of a pending, in the batch that is filled. */
struct part {
    struct coord_pending *pending;
    uint32_t first;
    uint32_t count;
};

struct coord_runtime_batch {
    struct batch_builder builder;
    struct buf bytes;
    /* Whose transaction it is part of, that of a pending; NULL: nobody's. */
    const struct coord_pending *producer;
    struct part *parts; /* owned */
    uint32_t parts_len;
    uint32_t parts_cap;
};

void coord_runtime_init(struct coord_runtime *runtime,
                        const struct coord_runtime_ops *ops, void *arg,
                        uint32_t batch_max_bytes, int64_t commit_timeout_ms,
                        int64_t end_offset, int64_t high_watermark)
{
    *runtime = (struct coord_runtime){
        .ops = ops,
        .arg = arg,
        .batch_max_bytes = batch_max_bytes,
        .commit_timeout_ms = commit_timeout_ms,
        .end_offset = end_offset,
        .committed = high_watermark,
        .leader = true,
        .batch = xcalloc(1, sizeof *runtime->batch),
    };
    list_init(&runtime->collected);
    list_init(&runtime->parked);
    batch_builder_init(&runtime->batch->builder);
}

void coord_runtime_free(struct coord_runtime *runtime)
{
    if (runtime->batch == NULL)
        return;
    ASSERT(list_empty(&runtime->collected) && list_empty(&runtime->parked));
    batch_builder_free(&runtime->batch->builder);
    buf_free(&runtime->batch->bytes);
    free(runtime->batch->parts);
    free(runtime->batch);
    runtime->batch = NULL;
}

/* ---- what waits ----------------------------------------------------------*/

static struct coord_pending *first_of(const struct list *list)
{
    return LIST_ENTRY(list->next, struct coord_pending, link);
}

static void finish(struct coord_runtime *runtime, struct coord_pending *pending,
                   enum err err)
{
    list_remove(&pending->link);
    runtime->ops->done(runtime->arg, pending, err);
}

static void park(struct coord_runtime *runtime, struct coord_pending *pending,
                 int64_t end_offset, int64_t now_ms)
{
    pending->end_offset = end_offset;
    pending->deadline_ms = now_ms + runtime->commit_timeout_ms;
    list_remove(&pending->link);
    list_push_back(&runtime->parked, &pending->link);
}

static void release_committed(struct coord_runtime *runtime)
{
    while (!list_empty(&runtime->parked) &&
           first_of(&runtime->parked)->end_offset <= runtime->committed)
        finish(runtime, first_of(&runtime->parked), ERR_NONE);
}

void coord_runtime_committed(struct coord_runtime *runtime,
                             int64_t high_watermark)
{
    if (high_watermark <= runtime->committed)
        return;
    runtime->committed = high_watermark;
    release_committed(runtime);
}

/* ---- filling and appending a batch ---------------------------------------*/

static void add_part(struct coord_runtime_batch *batch, struct part part)
{
    if (batch->parts_len == batch->parts_cap) {
        batch->parts_cap = batch->parts_cap != 0 ? batch->parts_cap * 2 : 8;
        batch->parts =
            xrealloc(batch->parts, batch->parts_cap * sizeof *batch->parts);
    }
    batch->parts[batch->parts_len++] = part;
}

static enum err append(struct coord_runtime *runtime, int64_t *base_offset)
{
    struct coord_runtime_batch *batch = runtime->batch;
    struct batch_options options = BATCH_OPTIONS_INIT;

    *base_offset = runtime->end_offset;
    if (batch->builder.count == 0)
        return ERR_NONE; /* only pendings without records */
    batch->bytes.len = 0;
    if (batch->producer != NULL) {
        options.producer_id = batch->producer->producer_id;
        options.producer_epoch = batch->producer->producer_epoch;
        options.attributes |= BATCH_TRANSACTIONAL;
    }
    batch_builder_finish(&batch->builder, &options, NULL, &batch->bytes);
    return runtime->ops->append(runtime->arg, batch->bytes.data,
                                batch->bytes.len, base_offset);
}

static void part_appended(struct coord_runtime *runtime, struct part part,
                          int64_t base_offset, int64_t now_ms)
{
    struct coord_pending *pending = part.pending;

    pending->appended += part.count;
    if (part.count != 0)
        runtime->ops->appended(runtime->arg, pending, part.first, part.count,
                               base_offset);
    if (pending->appended == pending->records.count &&
        PLANTED(GROUPS_ANSWER_EARLY))
        finish(runtime, pending, ERR_NONE);
    else if (pending->appended == pending->records.count)
        park(runtime, pending, base_offset + part.count, now_ms);
}

/* Appends the batch.  If that fails, the pendings in it end; those without
 * records wait for what is in the log, which is less now. */
static enum err emit(struct coord_runtime *runtime, int64_t now_ms)
{
    struct coord_runtime_batch *batch = runtime->batch;
    int64_t offset;
    enum err err = append(runtime, &offset);
    uint32_t len = batch->parts_len;

    batch->parts_len = 0;
    batch->producer = NULL;
    for (uint32_t i = 0; i < len; i++) {
        struct part part = batch->parts[i];

        if (err != ERR_NONE && part.pending->records.count != 0) {
            finish(runtime, part.pending, err);
            continue;
        }
        if (err != ERR_NONE)
            offset = runtime->end_offset;
        part_appended(runtime, part, offset, now_ms);
        offset += part.count;
        if (err == ERR_NONE)
            runtime->end_offset = offset;
    }
    release_committed(runtime);
    return err;
}

static bool fits(const struct coord_runtime *runtime,
                 const struct coord_records_item *item)
{
    return batch_builder_size_bytes(&runtime->batch->builder) + item->key_len +
               item->value_len + RECORD_OVERHEAD_BYTES <=
           runtime->batch_max_bytes;
}

static size_t size_of(const struct coord_pending *pending)
{
    return pending->records.bytes.len +
           (size_t)pending->records.count * RECORD_OVERHEAD_BYTES;
}

bool coord_pending_fits(const struct coord_pending *pending,
                        uint32_t batch_max_bytes)
{
    return BATCH_HEADER_BYTES + size_of(pending) <= batch_max_bytes;
}

/* Whether there is room for all of it, in what is left of the batch or, behind
 * that, in the next one. */
static bool make_whole(struct coord_runtime *runtime,
                       struct coord_pending *pending, int64_t now_ms)
{
    const struct batch_builder *builder = &runtime->batch->builder;

    if (batch_builder_size_bytes(builder) + size_of(pending) <=
        runtime->batch_max_bytes)
        return true;
    if (builder->count != 0)
        emit(runtime, now_ms);
    return coord_pending_fits(pending, runtime->batch_max_bytes);
}

static void fill(struct coord_runtime *runtime, struct coord_pending *pending,
                 int64_t now_ms, int64_t wall_ms)
{
    struct batch_builder *builder = &runtime->batch->builder;
    struct part part = {pending, 0, 0};

    if (pending->records.count != 0 &&
        (pending->transactional || runtime->batch->producer != NULL))
        emit(runtime, now_ms);
    if (pending->transactional)
        runtime->batch->producer = pending;
    if (pending->atomic && !make_whole(runtime, pending, now_ms)) {
        runtime->ops->done(runtime->arg, pending, ERR_RECORD_LIST_TOO_LARGE);
        return;
    }
    for (uint32_t i = 0; i < pending->records.count; i++) {
        if (builder->count != 0 && !fits(runtime, &pending->records.items[i])) {
            bool in_batch = part.count != 0;

            if (in_batch)
                add_part(runtime->batch, part);
            if (emit(runtime, now_ms) != ERR_NONE && in_batch)
                return; /* it has ended with the batch */
            runtime->batch->producer = pending->transactional ? pending : NULL;
            part = (struct part){pending, i, 0};
        }
        struct coord_record record = coord_records_get(&pending->records, i);
        batch_builder_append(builder, wall_ms, record.key, record.value, NULL,
                             0);
        part.count++;
    }
    add_part(runtime->batch, part);
}

void coord_runtime_flush(struct coord_runtime *runtime, int64_t now_ms,
                         int64_t wall_ms)
{
    if (runtime->flushing)
        return; /* the loop below takes what was added */
    runtime->flushing = true;
    while (!list_empty(&runtime->collected)) {
        struct list taken;

        list_init(&taken);
        list_append_all(&taken, &runtime->collected);
        runtime->collected_bytes = 0;
        while (!list_empty(&taken)) {
            struct coord_pending *pending = first_of(&taken);

            list_remove(&pending->link); /* the batch knows it from here on */
            fill(runtime, pending, now_ms, wall_ms);
        }
        emit(runtime, now_ms);
    }
    runtime->flushing = false;
}

void coord_runtime_add(struct coord_runtime *runtime,
                       struct coord_pending *pending, int64_t now_ms,
                       int64_t wall_ms)
{
    pending->appended = 0;
    list_init(&pending->link);
    if (!runtime->leader) {
        runtime->ops->done(runtime->arg, pending, ERR_NOT_LEADER_OR_FOLLOWER);
        return;
    }
    list_push_back(&runtime->collected, &pending->link);
    runtime->collected_bytes += size_of(pending);
    if (runtime->collected_bytes >= runtime->batch_max_bytes)
        coord_runtime_flush(runtime, now_ms, wall_ms);
}

/* ---- time, and the end ---------------------------------------------------*/

int64_t coord_runtime_next_deadline(const struct coord_runtime *runtime)
{
    if (!list_empty(&runtime->collected))
        return INT64_MIN;
    return list_empty(&runtime->parked)
               ? INT64_MAX
               : first_of(&runtime->parked)->deadline_ms;
}

void coord_runtime_tick(struct coord_runtime *runtime, int64_t now_ms,
                        int64_t wall_ms)
{
    coord_runtime_flush(runtime, now_ms, wall_ms);
    while (!list_empty(&runtime->parked) &&
           first_of(&runtime->parked)->deadline_ms <= now_ms)
        finish(runtime, first_of(&runtime->parked), ERR_REQUEST_TIMED_OUT);
}

void coord_runtime_resign(struct coord_runtime *runtime)
{
    ASSERT(!runtime->flushing);
    runtime->leader = false;
    while (!list_empty(&runtime->parked))
        finish(runtime, first_of(&runtime->parked), ERR_NOT_LEADER_OR_FOLLOWER);
    while (!list_empty(&runtime->collected))
        finish(runtime, first_of(&runtime->collected),
               ERR_NOT_LEADER_OR_FOLLOWER);
    runtime->collected_bytes = 0;
}
