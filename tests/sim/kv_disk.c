/* A store is two sorted arrays of pairs, what is seen and what is durable, and
 * the operations between them.  A pair is shared by whoever holds it.  A scan
 * holds the array that it began with, and a write meanwhile makes a new one. */
#include "tests/sim/kv_disk.h"

#include "base/kv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { PAIR_OVERHEAD_BYTES = 16 }; /* about what LMDB needs beside the bytes */

struct pair {
    int refs;
    uint32_t key_len;
    uint32_t value_len;
    uint8_t bytes[]; /* key, value */
};

struct table {
    int refs;
    struct pair **pairs; /* by key */
    size_t len;
    size_t cap;
};

/* Of a batch that is seen and not durable. */
struct pending {
    enum kv_op_kind kind;
    struct pair *pair; /* KV_PUT: that; else from or key, and to */
};

struct store {
    struct disk_object object;
    struct table *seen;
    struct table *durable;
    struct pending *pending;
    size_t pending_len;
    size_t pending_cap;
    size_t *ends; /* of the pending batches, in `pending` */
    size_t ends_len;
    size_t ends_cap;
    int64_t bytes; /* of seen */
    uint64_t writes;
    bool damaged;
};

struct kv {
    struct env_file *file;
    struct store *store; /* lives as long as the file */
    bool refuses;        /* a sync failed */
};

/* ---- pairs ---------------------------------------------------------------*/

static struct pair *pair_new(struct slice key, struct slice value)
{
    struct pair *p = xmalloc(sizeof *p + key.len + value.len);

    *p = (struct pair){1, (uint32_t)key.len, (uint32_t)value.len};
    if (key.len != 0)
        memcpy(p->bytes, key.data, key.len);
    if (value.len != 0)
        memcpy(p->bytes + key.len, value.data, value.len);
    return p;
}

static struct pair *pair_ref(struct pair *p)
{
    p->refs++;
    return p;
}

static void pair_unref(struct pair *p)
{
    if (--p->refs == 0)
        free(p);
}

static struct slice pair_key(const struct pair *p)
{
    return slice_of(p->bytes, p->key_len);
}

static struct slice pair_value(const struct pair *p)
{
    return slice_of(p->bytes + p->key_len, p->value_len);
}

static int64_t pair_size(const struct pair *p)
{
    return (int64_t)p->key_len + p->value_len + PAIR_OVERHEAD_BYTES;
}

/* ---- tables --------------------------------------------------------------*/

static struct table *table_new(void)
{
    struct table *t = xcalloc(1, sizeof *t);

    t->refs = 1;
    return t;
}

static void table_unref(struct table *t)
{
    if (--t->refs != 0)
        return;
    for (size_t i = 0; i < t->len; i++)
        pair_unref(t->pairs[i]);
    free(t->pairs);
    free(t);
}

static struct table *table_copy(const struct table *t)
{
    struct table *copy = table_new();

    copy->cap = copy->len = t->len;
    copy->pairs = xcalloc(t->len + 1, sizeof(struct pair *));
    for (size_t i = 0; i < t->len; i++)
        copy->pairs[i] = pair_ref(t->pairs[i]);
    return copy;
}

/* Makes *t the only reference, so that it may be changed. */
static void table_own(struct table **t)
{
    if ((*t)->refs == 1)
        return;
    struct table *copy = table_copy(*t);
    table_unref(*t);
    *t = copy;
}

/* Index of the first key at or above `key`. */
static size_t lower_bound(const struct table *t, struct slice key)
{
    size_t low = 0, high = t->len;

    if (high != 0 && slice_cmp(pair_key(t->pairs[high - 1]), key) < 0)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_cmp(pair_key(t->pairs[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct table *t, size_t i, struct slice key)
{
    return i < t->len && slice_eq(pair_key(t->pairs[i]), key);
}

/* Each returns by how much the table has grown, in bytes. */
static int64_t table_put(struct table *t, struct pair *p)
{
    size_t i = lower_bound(t, pair_key(p));
    int64_t grown = pair_size(p);

    if (is_at(t, i, pair_key(p))) {
        grown -= pair_size(t->pairs[i]);
        pair_unref(t->pairs[i]);
        t->pairs[i] = pair_ref(p);
        return grown;
    }
    if (t->len == t->cap) {
        t->cap = t->cap != 0 ? t->cap * 2 : 16;
        t->pairs = xrealloc(t->pairs, t->cap * sizeof *t->pairs);
    }
    memmove(t->pairs + i + 1, t->pairs + i, (t->len - i) * sizeof *t->pairs);
    t->pairs[i] = pair_ref(p);
    t->len++;
    return grown;
}

static int64_t table_cut(struct table *t, size_t from, size_t to)
{
    int64_t grown = 0;

    if (from >= to)
        return 0;
    for (size_t i = from; i < to; i++) {
        grown -= pair_size(t->pairs[i]);
        pair_unref(t->pairs[i]);
    }
    memmove(t->pairs + from, t->pairs + to, (t->len - to) * sizeof *t->pairs);
    t->len -= to - from;
    return grown;
}

static int64_t table_apply(struct table *t, const struct pending *op)
{
    struct slice key = pair_key(op->pair), to = pair_value(op->pair);
    size_t i;

    switch (op->kind) {
    case KV_PUT:
        return table_put(t, op->pair);
    case KV_DELETE:
        i = lower_bound(t, key);
        return table_cut(t, i, i + is_at(t, i, key));
    case KV_DELETE_RANGE:
        return table_cut(t, lower_bound(t, key),
                         to.len != 0 ? lower_bound(t, to) : t->len);
    }
    return 0;
}

/* ---- stores --------------------------------------------------------------*/

/* The first `batches` of those pending become durable, the rest is dropped. */
static void settle(struct store *s, size_t batches)
{
    size_t reached = batches != 0 ? s->ends[batches - 1] : 0;

    for (size_t i = 0; i < s->pending_len; i++) {
        if (i < reached)
            table_apply(s->durable, &s->pending[i]);
        pair_unref(s->pending[i].pair);
    }
    s->pending_len = 0;
    s->ends_len = 0;
}

static void store_crash(struct disk_object *object, enum disk_crash kind,
                        struct prng *prng)
{
    struct store *s = LIST_ENTRY(object, struct store, object);

    if (s->ends_len == 0)
        return;
    settle(s, kind == DISK_WORST ? 0 : prng_below(prng, s->ends_len + 1));
    table_unref(s->seen);
    s->seen = table_copy(s->durable);
    s->bytes = 0;
    for (size_t i = 0; i < s->seen->len; i++)
        s->bytes += pair_size(s->seen->pairs[i]);
}

static void store_free(struct disk_object *object)
{
    struct store *s = LIST_ENTRY(object, struct store, object);

    settle(s, 0);
    table_unref(s->seen);
    table_unref(s->durable);
    free(s->pending);
    free(s->ends);
    free(s);
}

static struct store *store_new(void)
{
    struct store *s = xcalloc(1, sizeof *s);

    s->object = (struct disk_object){store_crash, store_free};
    s->seen = table_new();
    s->durable = table_new();
    return s;
}

bool kv_disk_damage(struct disk *disk, const char *path)
{
    char *name = xasprintf("%s/data.mdb", path);
    struct disk_object *object = disk_object_at(disk, name);

    free(name);
    if (object != NULL)
        LIST_ENTRY(object, struct store, object)->damaged = true;
    return object != NULL;
}

/* ---- looking at it --------------------------------------------------------*/

static const struct store *store_at(struct disk *disk, const char *path)
{
    char name[256];

    snprintf(name, sizeof name, "%s/data.mdb", path);
    struct disk_object *object = disk_object_at(disk, name);
    return object != NULL ? LIST_ENTRY(object, struct store, object) : NULL;
}

static bool value_in(const struct table *t, struct slice key,
                     struct slice *value)
{
    size_t i = lower_bound(t, key);

    if (!is_at(t, i, key))
        return false;
    *value = pair_value(t->pairs[i]);
    return true;
}

bool kv_disk_durable(struct disk *disk, const char *path, struct slice key,
                     struct slice *value)
{
    const struct store *s = store_at(disk, path);

    return s != NULL && value_in(s->durable, key, value);
}

bool kv_disk_seen(struct disk *disk, const char *path, struct slice key,
                  struct slice *value)
{
    const struct store *s = store_at(disk, path);

    return s != NULL && value_in(s->seen, key, value);
}

uint64_t kv_disk_writes(struct disk *disk, const char *path)
{
    const struct store *s = store_at(disk, path);

    return s != NULL ? s->writes : 0;
}

/* ---- opening -------------------------------------------------------------*/

/* A new directory's name must survive a power failure too. */
static int make_dir(struct env *env, const char *path)
{
    if (env_path_kind(env, path) == 2)
        return 0;
    int error = env_mkdir(env, path);
    return error != 0 ? error : env_sync_dir(env, path);
}

static int open_file(struct env *env, const char *path, struct env_file **file)
{
    char *name = xasprintf("%s/data.mdb", path);
    int error = make_dir(env, path);

    if (error == 0)
        error = env_file_open(env, name, ENV_CREATE, file);
    free(name);
    return error;
}

int kv_open(struct env *env, const char *path, struct kv **result, char **why)
{
    struct env_file *file;
    int error = open_file(env, path, &file);

    if (error != 0)
        goto err;
    struct disk_object **object = disk_object(file);
    if (*object == NULL)
        *object = &store_new()->object;
    struct store *s = LIST_ENTRY(*object, struct store, object);
    error = s->damaged ? -EBADMSG : env_sync_dir(env, path);
    if (error != 0)
        goto err_after_file;
    *result = xmalloc(sizeof **result);
    **result = (struct kv){file, s, false};
    return 0;

err_after_file:
    env_file_unref(file);
err:
    *why = xasprintf("cannot open the store %s/data.mdb: %s", path,
                     error == -EBADMSG ? "it is damaged" : strerror(-error));
    return error;
}

void kv_close(struct kv *kv)
{
    env_file_unref(kv->file);
    free(kv);
}

/* ---- writing -------------------------------------------------------------*/

static int usable(const struct kv *kv)
{
    if (disk_object(kv->file) == NULL)
        return -EIO;
    return kv->store->damaged ? -EBADMSG : 0;
}

/* Whether the operations are valid, and how many bytes they may need. */
static int check(const struct kv_batch *batch, int64_t *more)
{
    struct reader ops = reader_of(buf_slice(&batch->ops));
    struct kv_op op;

    *more = 0;
    while (kv_batch_next(&ops, &op)) {
        if (op.key.len > KV_KEY_MAX ||
            (op.key.len == 0 && op.kind != KV_DELETE_RANGE))
            return -EINVAL;
        if (op.kind == KV_PUT)
            *more += (int64_t)(op.key.len + op.value.len + PAIR_OVERHEAD_BYTES);
    }
    return 0;
}

static void add_pending(struct store *s, struct pending op)
{
    if (s->pending_len == s->pending_cap) {
        s->pending_cap = s->pending_cap != 0 ? s->pending_cap * 2 : 16;
        s->pending = xrealloc(s->pending, s->pending_cap * sizeof *s->pending);
    }
    s->pending[s->pending_len++] = op;
}

static void end_batch(struct store *s)
{
    if (s->ends_len == s->ends_cap) {
        s->ends_cap = s->ends_cap != 0 ? s->ends_cap * 2 : 16;
        s->ends = xrealloc(s->ends, s->ends_cap * sizeof *s->ends);
    }
    s->ends[s->ends_len++] = s->pending_len;
}

int kv_write(struct kv *kv, const struct kv_batch *batch, bool sync)
{
    struct store *s = kv->store;
    struct reader ops = reader_of(buf_slice(&batch->ops));
    struct kv_op op;
    int64_t more;

    int error = usable(kv);
    if (error == 0)
        error = kv->refuses ? -EIO : check(batch, &more);
    if (error == 0)
        error = disk_try_write(kv->file, more);
    if (error != 0)
        return error;
    /* LMDB syncs the pages in any case, and the page that makes them current
     * on demand. */
    error = disk_try_sync(kv->file);
    if (error != 0) {
        kv->refuses = true;
        return error;
    }
    s->writes++;
    table_own(&s->seen);
    while (kv_batch_next(&ops, &op)) {
        struct pending p = {op.kind, pair_new(op.key, op.value)};
        s->bytes += table_apply(s->seen, &p);
        add_pending(s, p);
    }
    end_batch(s);
    if (sync)
        settle(s, s->ends_len);
    disk_object_resized(kv->file, s->bytes);
    return 0;
}

/* ---- reading -------------------------------------------------------------*/

int kv_get(struct kv *kv, struct slice key, struct buf *value)
{
    if (key.len == 0 || key.len > KV_KEY_MAX)
        return -EINVAL;
    int error = usable(kv);
    if (error != 0)
        return error;
    const struct table *t = kv->store->seen;
    size_t i = lower_bound(t, key);
    if (!is_at(t, i, key))
        return -ENOENT;
    buf_put_slice(value, pair_value(t->pairs[i]));
    return 0;
}

typedef bool (*visit_fn)(void *arg, struct slice key, struct slice value);

static int scan(struct kv *kv, struct slice from, struct slice to, bool back,
                visit_fn visit, void *arg)
{
    if (from.len > KV_KEY_MAX || to.len > KV_KEY_MAX)
        return -EINVAL;
    int error = usable(kv);
    if (error != 0)
        return error;
    struct table *t = kv->store->seen;
    size_t first = lower_bound(t, from);
    size_t end = to.len != 0 ? lower_bound(t, to) : t->len;
    t->refs++;
    for (size_t i = first; i < end; i++) {
        const struct pair *p = t->pairs[back ? end - 1 - (i - first) : i];
        if (!visit(arg, pair_key(p), pair_value(p)))
            break;
    }
    table_unref(t);
    return 0;
}

int kv_scan(struct kv *kv, struct slice from, struct slice to, visit_fn visit,
            void *arg)
{
    return scan(kv, from, to, false, visit, arg);
}

int kv_scan_back(struct kv *kv, struct slice from, struct slice to,
                 visit_fn visit, void *arg)
{
    return scan(kv, from, to, true, visit, arg);
}
