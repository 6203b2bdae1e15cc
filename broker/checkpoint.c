#include "broker/checkpoint.h"

#include "base/kv.h"
#include "base/log.h"
#include "base/planted.h"
#include "broker/meta.h"
#include "broker/replica/partition.h"
#include "broker/shard.h"

#include <errno.h>
#include <stdlib.h>

/* Values that earlier releases wrote end before the first dirty offset, or
 * before the number of unclean starts. */
enum { KEY_BYTES = 20, VALUE_BYTES = 48 };
enum { VALUE_FIRST_BYTES = 32, VALUE_SECOND_BYTES = 40 };

/* Another key of the same replica: it is leaving. */
enum { NOTE_BYTES = KEY_BYTES + 1 };

struct checkpoint_batch {
    struct env_work work;
    struct shard *shard;
    struct kv_batch *batches; /* one per log directory */
    struct log_dir *failed;   /* whose store cannot be written; NULL: none */
    _Atomic bool taken;       /* by the helper, or by checkpoint_flush() */
};

static void make_key(uint8_t key[static KEY_BYTES], const struct uuid *topic_id,
                     int32_t partition)
{
    memcpy(key, topic_id->bytes, 16);
    be32_put(key + 16, (uint32_t)partition);
}

static void make_note(uint8_t key[static NOTE_BYTES],
                      const struct uuid *topic_id, int32_t partition)
{
    make_key(key, topic_id, partition);
    key[KEY_BYTES] = 'L';
}

bool checkpoint_read(struct kv *kv, const struct uuid *topic_id,
                     int32_t partition, struct checkpoint *c)
{
    uint8_t key[KEY_BYTES];
    struct buf value = BUF_INIT;

    make_key(key, topic_id, partition);
    bool ok = kv_get(kv, slice_of(key, KEY_BYTES), &value) == 0 &&
              (value.len == VALUE_BYTES || value.len == VALUE_SECOND_BYTES ||
               value.len == VALUE_FIRST_BYTES);
    if (ok) {
        c->high_watermark = (int64_t)be64_get(value.data);
        c->recovery_point = (int64_t)be64_get(value.data + 8);
        c->start_offset = (int64_t)be64_get(value.data + 16);
        c->unchanged_ms = (int64_t)be64_get(value.data + 24);
        c->first_dirty = value.len >= VALUE_SECOND_BYTES
                             ? (int64_t)be64_get(value.data + 32)
                             : 0;
        c->unclean_starts =
            value.len == VALUE_BYTES ? (int64_t)be64_get(value.data + 40) : 0;
    }
    buf_free(&value);
    return ok;
}

static void encode(const struct checkpoint *c,
                   uint8_t value[static VALUE_BYTES])
{
    be64_put(value, (uint64_t)c->high_watermark);
    be64_put(value + 8, (uint64_t)c->recovery_point);
    be64_put(value + 16, (uint64_t)c->start_offset);
    be64_put(value + 24, (uint64_t)c->unchanged_ms);
    be64_put(value + 32, (uint64_t)c->first_dirty);
    be64_put(value + 40, (uint64_t)c->unclean_starts);
}

static void put_below(struct kv_batch *batch, const struct partition *p,
                      int64_t limit)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    int64_t point = PLANTED(LOG_RECOVERS_FROM_ITS_END)
                        ? log_end_offset(p->log)
                        : log_recovery_point(p->log);

    /* It may have just been cut, or be about to. */
    int64_t end =
        log_end_offset(p->log) < limit ? log_end_offset(p->log) : limit;

    int64_t start = log_start_offset(p->log);

    make_key(key, &p->topic_id, p->index);
    const struct checkpoint c = {
        .high_watermark = p->high_watermark < limit ? p->high_watermark : limit,
        .recovery_point = point < limit ? point : limit,
        .start_offset = start < limit ? start : limit,
        .unchanged_ms = limit == INT64_MAX ? partition_unchanged_ms(p) : 0,
        .first_dirty = p->first_dirty < end ? p->first_dirty : end,
        .unclean_starts = p->dir->unclean_starts,
    };
    encode(&c, value);
    kv_batch_put(batch, slice_of(key, KEY_BYTES), slice_of(value, VALUE_BYTES));
}

static void put(struct kv_batch *batch, const struct partition *p)
{
    put_below(batch, p, INT64_MAX);
}

static struct checkpoint_batch *gather(struct shard *s)
{
    struct checkpoint_batch *b = xcalloc(1, sizeof *b);
    struct list unsynced; /* they stay on the list until they are on disk */

    list_init(&unsynced);
    b->shard = s;
    /* First what is gone: a replica that came back writes after it. */
    b->batches = s->forgotten;
    s->forgotten = NULL;
    if (b->batches == NULL)
        b->batches =
            xcalloc((size_t)s->broker->log_dirs_len, sizeof *b->batches);
    for (struct list *node; (node = list_pop_front(&s->checkpoint)) != NULL;) {
        struct partition *p =
            LIST_ENTRY(node, struct partition, checkpoint_link);

        if (p->log == NULL || log_dir_failed(p->dir))
            continue;
        put(&b->batches[p->dir - s->broker->log_dirs], p);
        if (p->stored_point < log_recovery_point(p->log))
            p->stored_point = log_recovery_point(p->log);
        if (log_recovery_point(p->log) < log_end_offset(p->log))
            list_push_back(&unsynced, node);
    }
    list_append_all(&s->checkpoint, &unsynced);
    return b;
}

static void write_batches(struct checkpoint_batch *b, bool sync)
{
    struct broker *broker = b->shard->broker;

    for (int i = 0; i < broker->log_dirs_len; i++) {
        if (b->batches[i].count == 0 || log_dir_failed(&broker->log_dirs[i]))
            continue;
        int error =
            kv_write(broker->log_dirs[i].checkpoints, &b->batches[i], sync);
        if (error < 0 && error != -ENOSPC)
            b->failed = &broker->log_dirs[i];
        if (error < 0)
            log_warn("server",
                     "Cannot write the checkpoints of %s: %s. The next start "
                     "will scan more of the logs; free space or replace the "
                     "disk",
                     broker->log_dirs[i].path, strerror(-error));
    }
}

static void batch_free(struct checkpoint_batch *b)
{
    for (int i = 0; i < b->shard->broker->log_dirs_len; i++)
        kv_batch_free(&b->batches[i]);
    free(b->batches);
    free(b);
}

static void run(struct env_work *work)
{
    struct checkpoint_batch *b = (struct checkpoint_batch *)(void *)work;

    if (!atomic_exchange(&b->taken, true))
        write_batches(b, false);
}

static void done(struct env_work *work)
{
    struct checkpoint_batch *b = (struct checkpoint_batch *)(void *)work;
    struct shard *s = b->shard;

    s->checkpoint_batch = NULL;
    if (b->failed != NULL)
        meta_log_dir_failed(s->broker->meta, b->failed);
    batch_free(b);
    for (struct list *node; (node = list_pop_front(&s->leaving)) != NULL;)
        partition_written(LIST_ENTRY(node, struct partition, checkpoint_link));
}

void checkpoint_begin(struct shard *s)
{
    if (s->checkpoint_batch != NULL ||
        (list_empty(&s->checkpoint) && s->forgotten == NULL))
        return;
    s->checkpoint_batch = gather(s);
    s->checkpoint_batch->work =
        (struct env_work){.lane = s->broker, .run = run, .done = done};
    env_work_start(s->env, &s->checkpoint_batch->work);
}

void checkpoint_flush(struct shard *s, bool sync)
{
    struct checkpoint_batch *b = gather(s);
    struct checkpoint_batch *before = s->checkpoint_batch;

    /* One that still waits for a helper is older: written after this one, it
     * would be what the next start finds. */
    if (before != NULL && !atomic_exchange(&before->taken, true))
        write_batches(before, sync);
    write_batches(b, sync);
    batch_free(b);
}

void checkpoint_touch(struct partition *p)
{
    if (list_unlinked(&p->checkpoint_link))
        list_push_back(&p->shard->checkpoint, &p->checkpoint_link);
}

/* The stored point may be above the log's own, which an opening moves back
 * where it has checked what was on disk; the stored start never is. */
bool checkpoint_outlives(const struct partition *p, int64_t end_offset,
                         int64_t limit)
{
    return end_offset < log_recovery_point(p->log) ||
           end_offset < p->stored_point || end_offset < p->high_watermark ||
           limit < log_start_offset(p->log);
}

int checkpoint_lower(struct partition *p, int64_t limit)
{
    struct kv_batch batch = KV_BATCH_INIT;

    put_below(&batch, p, limit);
    int error = kv_write(p->dir->checkpoints, &batch, true);
    if (error < 0)
        log_warn("server", "Cannot write the checkpoint of %s-%d in %s: %s",
                 p->topic->name, p->index, p->dir->path, strerror(-error));
    kv_batch_free(&batch);
    if (error == 0)
        p->stored_point = limit;
    if (error < 0 && error != -ENOSPC)
        meta_log_dir_failed(p->shard->broker->meta, p->dir);
    return error;
}

int checkpoint_count_start(struct log_dir *dir)
{
    struct kv_batch batch = KV_BATCH_INIT;
    struct slice key = SLICE("unclean starts");
    struct buf value = BUF_INIT;
    uint8_t bytes[8];

    if (dir->start_counted)
        return 0;
    if (kv_get(dir->checkpoints, key, &value) == 0 && value.len == sizeof bytes)
        dir->unclean_starts = (int64_t)be64_get(value.data);
    dir->unclean_starts += !dir->clean;
    buf_free(&value);
    int error = 0;
    if (!dir->clean) {
        be64_put(bytes, (uint64_t)dir->unclean_starts);
        kv_batch_put(&batch, key, slice_of(bytes, sizeof bytes));
        error = kv_write(dir->checkpoints, &batch, true);
        kv_batch_free(&batch);
    }
    dir->start_counted = error == 0;
    return error;
}

int checkpoint_note_lost(struct log_dir *dir, bool now)
{
    struct kv_batch batch = KV_BATCH_INIT;
    struct slice key = SLICE("checkpoints lost");
    struct buf value = BUF_INIT;
    int error = 0;

    dir->checkpoints_lost = now || kv_get(dir->checkpoints, key, &value) == 0;
    buf_free(&value);
    if (now) {
        kv_batch_put(&batch, key, SLICE("1"));
        error = kv_write(dir->checkpoints, &batch, true);
        kv_batch_free(&batch);
    }
    return error;
}

bool checkpoint_holds_up(struct shard *s, struct partition *p)
{
    if (s->checkpoint_batch == NULL)
        return false;
    if (list_unlinked(&p->checkpoint_link))
        list_push_back(&s->leaving, &p->checkpoint_link);
    return true;
}

int checkpoint_write(struct kv *kv, const struct uuid *topic_id,
                     int32_t partition, const struct checkpoint *c)
{
    struct kv_batch batch = KV_BATCH_INIT;
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];

    make_key(key, topic_id, partition);
    encode(c, value);
    kv_batch_put(&batch, slice_of(key, KEY_BYTES),
                 slice_of(value, VALUE_BYTES));
    int error = kv_write(kv, &batch, true);
    kv_batch_free(&batch);
    return error;
}

int checkpoint_drop(struct kv *kv, const struct uuid *topic_id,
                    int32_t partition)
{
    struct kv_batch batch = KV_BATCH_INIT;
    uint8_t key[KEY_BYTES];

    make_key(key, topic_id, partition);
    kv_batch_delete(&batch, slice_of(key, KEY_BYTES));
    int error = kv_write(kv, &batch, true);
    kv_batch_free(&batch);
    return error;
}

int checkpoint_note_leaving(struct kv *kv, const struct uuid *topic_id,
                            int32_t partition, bool leaving)
{
    struct kv_batch batch = KV_BATCH_INIT;
    uint8_t key[NOTE_BYTES];

    make_note(key, topic_id, partition);
    if (leaving)
        kv_batch_put(&batch, slice_of(key, NOTE_BYTES), SLICE("1"));
    else
        kv_batch_delete(&batch, slice_of(key, NOTE_BYTES));
    int error = kv_write(kv, &batch, true);
    kv_batch_free(&batch);
    return error;
}

bool checkpoint_is_leaving(struct kv *kv, const struct uuid *topic_id,
                           int32_t partition)
{
    struct buf value = BUF_INIT;
    uint8_t key[NOTE_BYTES];

    make_note(key, topic_id, partition);
    bool leaving = kv_get(kv, slice_of(key, NOTE_BYTES), &value) == 0;
    buf_free(&value);
    return leaving;
}

/* What the next batch takes out of the store of one directory. */
static struct kv_batch *forgotten_in(struct shard *s, const struct log_dir *dir)
{
    if (s->forgotten == NULL)
        s->forgotten =
            xcalloc((size_t)s->broker->log_dirs_len, sizeof *s->forgotten);
    return &s->forgotten[dir - s->broker->log_dirs];
}

void checkpoint_forget(struct partition *p)
{
    struct broker *b = p->shard->broker;
    uint8_t key[NOTE_BYTES];

    checkpoint_forget_in(p, p->dir);
    make_note(key, &p->topic_id, p->index);
    for (int i = 0; i < b->log_dirs_len && b->log_dirs_len > 1; i++) {
        checkpoint_forget_in(p, &b->log_dirs[i]); /* of a move, too */
        kv_batch_delete(forgotten_in(p->shard, &b->log_dirs[i]),
                        slice_of(key, NOTE_BYTES));
    }
}

void checkpoint_forget_in(struct partition *p, const struct log_dir *dir)
{
    uint8_t key[KEY_BYTES];

    list_remove(&p->checkpoint_link);
    make_key(key, &p->topic_id, p->index);
    kv_batch_delete(forgotten_in(p->shard, dir), slice_of(key, KEY_BYTES));
}
