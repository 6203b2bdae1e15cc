#include "tests/unit/raft/memory_kv.h"

#include <errno.h>
#include <stdlib.h>

struct pair {
    struct buf key;
    struct buf value;
};

/* Pairs ascending by key. */
struct table {
    struct pair *pairs;
    size_t len;
    size_t cap;
};

struct kv {
    struct table now;
    struct table durable;
    struct buf *unsynced; /* batches' ops since the last sync */
    size_t unsynced_len;
    size_t writes;
    int error;
    bool lie;
};

/* ---- table -------------------------------------------------------------- */

static size_t table_find(const struct table *t, struct slice key)
{
    size_t low = 0, high = t->len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (slice_cmp(buf_slice(&t->pairs[middle].key), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool table_has(const struct table *t, size_t at, struct slice key)
{
    return at < t->len && slice_eq(buf_slice(&t->pairs[at].key), key);
}

static void table_remove(struct table *t, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        buf_free(&t->pairs[i].key);
        buf_free(&t->pairs[i].value);
    }
    if (to > from)
        memmove(t->pairs + from, t->pairs + to,
                (t->len - to) * sizeof *t->pairs);
    t->len -= to - from;
}

static void table_put(struct table *t, struct slice key, struct slice value)
{
    size_t at = table_find(t, key);

    if (!table_has(t, at, key)) {
        if (t->len == t->cap) {
            t->cap = t->cap != 0 ? 2 * t->cap : 64;
            t->pairs = xrealloc(t->pairs, t->cap * sizeof *t->pairs);
        }
        memmove(t->pairs + at + 1, t->pairs + at,
                (t->len - at) * sizeof *t->pairs);
        t->len++;
        t->pairs[at] = (struct pair){BUF_INIT, BUF_INIT};
        buf_put_slice(&t->pairs[at].key, key);
    }
    t->pairs[at].value.len = 0;
    buf_put_slice(&t->pairs[at].value, value);
}

static void table_delete(struct table *t, struct slice key)
{
    size_t at = table_find(t, key);

    if (table_has(t, at, key))
        table_remove(t, at, at + 1);
}

static void table_delete_range(struct table *t, struct slice from,
                               struct slice to)
{
    size_t first = table_find(t, from);
    size_t end = table_find(t, to);

    if (end > first)
        table_remove(t, first, end);
}

static void table_apply(struct table *t, struct slice ops)
{
    struct reader in = reader_of(ops);
    struct kv_op op;

    while (kv_batch_next(&in, &op)) {
        if (op.kind == KV_PUT)
            table_put(t, op.key, op.value);
        else if (op.kind == KV_DELETE)
            table_delete(t, op.key);
        else
            table_delete_range(t, op.key, op.value);
    }
}

static void table_free(struct table *t)
{
    table_remove(t, 0, t->len);
    free(t->pairs);
    *t = (struct table){0};
}

static void table_copy(struct table *to, const struct table *from)
{
    table_free(to);
    for (size_t i = 0; i < from->len; i++)
        table_put(to, buf_slice(&from->pairs[i].key),
                  buf_slice(&from->pairs[i].value));
}

/* ---- kv ----------------------------------------------------------------- */

struct kv *memory_kv_new(void) { return xcalloc(1, sizeof(struct kv)); }

static void unsynced_clear(struct kv *kv)
{
    for (size_t i = 0; i < kv->unsynced_len; i++)
        buf_free(&kv->unsynced[i]);
    free(kv->unsynced);
    kv->unsynced = NULL;
    kv->unsynced_len = 0;
}

void memory_kv_free(struct kv *kv)
{
    unsynced_clear(kv);
    table_free(&kv->now);
    table_free(&kv->durable);
    free(kv);
}

static void make_durable(struct kv *kv, size_t count)
{
    for (size_t i = 0; i < count && i < kv->unsynced_len; i++)
        table_apply(&kv->durable, buf_slice(&kv->unsynced[i]));
    unsynced_clear(kv);
}

void memory_kv_crash(struct kv *kv, size_t keep)
{
    make_durable(kv, keep);
    table_copy(&kv->now, &kv->durable);
}

size_t memory_kv_unsynced(const struct kv *kv) { return kv->unsynced_len; }

void memory_kv_fail(struct kv *kv, int error) { kv->error = error; }

void memory_kv_lie(struct kv *kv, bool lie) { kv->lie = lie; }

int kv_write(struct kv *kv, const struct kv_batch *batch, bool sync)
{
    struct buf ops = BUF_INIT;

    if (kv->error != 0)
        return kv->error;
    kv->writes++;
    buf_put_slice(&ops, buf_slice(&batch->ops));
    table_apply(&kv->now, buf_slice(&ops));
    kv->unsynced =
        xrealloc(kv->unsynced, (kv->unsynced_len + 1) * sizeof *kv->unsynced);
    kv->unsynced[kv->unsynced_len++] = ops;
    if (sync && !kv->lie)
        make_durable(kv, kv->unsynced_len);
    return 0;
}

int kv_get(struct kv *kv, struct slice key, struct buf *value)
{
    size_t at = table_find(&kv->now, key);

    if (!table_has(&kv->now, at, key))
        return -ENOENT;
    buf_put_slice(value, buf_slice(&kv->now.pairs[at].value));
    return 0;
}

int kv_scan(struct kv *kv, struct slice from, struct slice to,
            bool (*visit)(void *arg, struct slice key, struct slice value),
            void *arg)
{
    const struct table *t = &kv->now;

    for (size_t i = table_find(t, from); i < t->len; i++) {
        struct slice key = buf_slice(&t->pairs[i].key);

        if (!slice_is_null(to) && slice_cmp(key, to) >= 0)
            break;
        if (!visit(arg, key, buf_slice(&t->pairs[i].value)))
            break;
    }
    return 0;
}
