/* The store of base/kv.h in LMDB: one unnamed database per directory
 * (data.mdb, lock.mdb).
 *
 * Durability.  LMDB never overwrites a page that the last two commits can
 * reach.  A commit writes its new pages, syncs them, and then writes one of two
 * alternating meta pages that makes them current.  So whatever instant the
 * machine stops at, one of the metas is whole and everything it reaches was
 * synced before it was written.  The two kinds of write differ in the last step
 * only:
 *
 *     sync        the meta page is written through to the disk (O_DSYNC)
 *     not sync    the meta page is left to the kernel (MDB_NOMETASYNC); it gets
 *                 to disk with the next commit's sync or by write-back
 *
 * Skipping the sync of the pages as well (MDB_NOSYNC) would be cheaper, but the
 * kernel may then write the meta page before the pages it points to, and a
 * power failure in between leaves a store that cannot be read.  We do not.
 * kill -9 loses nothing in either case: the kernel has the pages.
 *
 * After a sync that failed the kernel counts pages as written that are not.  Of
 * those that a commit reaches only the metas can be among them: data pages are
 * synced before their meta is written, or it is not written at all.  A commit
 * relies on the metas before it, so before the next one, in this process or in
 * another, both are written over themselves and synced (metas_again()).
 *
 * The map is address space, not memory or disk: MAP_BYTES are reserved, less
 * where the process may not have that much, and the file grows as it fills. */
#include "base/env.h"
#include "base/kv.h"
#include "base/kv_lmdb_check.h"
#include "base/log.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const size_t MAP_BYTES = (size_t)64 << 30;
static const size_t MAP_BYTES_MIN = (size_t)256 << 20;
/* What a commit may write beside the batch's own bytes: pages on the way to
 * them, LMDB's list of free ones. */
static const size_t COPIED_MAX_BYTES = (size_t)1 << 20;

struct kv {
    MDB_env *env;
    MDB_dbi dbi;
    /* One write at a time.  LMDB's own lock ends before the outcome of a
     * commit is known. */
    pthread_mutex_t writer;
    bool meta_sync; /* the last write's kind */
    bool failed;    /* the last write */
    /* A read transaction at rest: renewing one is cheaper than beginning. */
    _Atomic(MDB_txn *) reader;
};

static int error_of(int rc)
{
    switch (rc) {
    case MDB_NOTFOUND:
        return -ENOENT;
    case MDB_MAP_FULL:
        return -ENOSPC;
    case MDB_TXN_FULL:
        return -EFBIG;
    case MDB_BAD_VALSIZE:
        return -EINVAL;
    case MDB_READERS_FULL:
        return -EAGAIN;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return -EBADMSG;
    default:
        return rc > 0 ? -rc : rc == 0 ? 0 : -EIO;
    }
}

static MDB_val val_of(struct slice s)
{
    return (MDB_val){s.len, (void *)(uintptr_t)s.data};
}

static struct slice slice_of_val(MDB_val v)
{
    return slice_of(v.mv_size != 0 ? v.mv_data : "", v.mv_size);
}

static bool key_valid(struct slice key)
{
    return key.len >= 1 && key.len <= KV_KEY_MAX;
}

static bool below(MDB_val key, struct slice to)
{
    return to.len == 0 || slice_cmp(slice_of_val(key), to) < 0;
}

/* ---- opening -------------------------------------------------------------*/

static int open_map(struct kv *kv, const char *path)
{
    for (size_t map = MAP_BYTES;; map /= 4) {
        int rc = mdb_env_create(&kv->env);

        if (rc != 0)
            return rc;
        rc = mdb_env_set_mapsize(kv->env, map);
        if (rc == 0)
            rc = mdb_env_open(kv->env, path, MDB_NOTLS | MDB_NORDAHEAD, 0644);
        if (rc == 0)
            return 0;
        mdb_env_close(kv->env);
        if (rc != ENOMEM || map / 4 < MAP_BYTES_MIN)
            return rc;
    }
}

/* Within a write transaction, so nobody else changes them. */
static int metas_again(struct kv *kv)
{
    MDB_stat stat;
    int fd;
    int rc = mdb_env_stat(kv->env, &stat);

    if (rc == 0)
        rc = mdb_env_get_fd(kv->env, &fd);
    if (rc != 0)
        return rc;
    size_t len = 2 * (size_t)stat.ms_psize;
    uint8_t *pages = xmalloc(len);
    errno = 0;
    if (pread(fd, pages, len, 0) != (ssize_t)len ||
        pwrite(fd, pages, len, 0) != (ssize_t)len || fdatasync(fd) != 0)
        rc = errno != 0 ? errno : EIO;
    free(pages);
    return rc;
}

static int open_dbi(struct kv *kv)
{
    MDB_txn *txn;
    int dead;

    int rc = mdb_reader_check(kv->env, &dead);
    if (rc == 0)
        rc = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, NULL, 0, &kv->dbi);
    if (rc == 0)
        rc = metas_again(kv);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

/* LMDB itself would follow a damaged page out of the file, or abort. */
static int check_file(const char *path, char **damage)
{
    char *file = xasprintf("%s/data.mdb", path);
    int rc = kv_lmdb_check(file, MAP_BYTES, damage);

    free(file);
    return rc;
}

/* damage: or NULL, if LMDB found it. */
static char *why_not(const char *path, int rc, const char *damage)
{
    if (error_of(rc) == -EBADMSG)
        return xasprintf("the store %s/data.mdb is damaged (%s): restore the "
                         "file from a backup, or, if the other nodes have "
                         "this node's data, move the directory away and start "
                         "again; a controller has to be removed from the "
                         "quorum before and added again after that",
                         path, damage != NULL ? damage : mdb_strerror(rc));
    return xasprintf("cannot open the store %s/data.mdb: %s%s", path,
                     mdb_strerror(rc),
                     rc == EACCES || rc == EPERM
                         ? "; give this user read and write access to it"
                     : rc == ENOSPC ? "; free some disk space"
                                    : "");
}

/* A new directory's name must survive a power failure too. */
static int make_dir(struct env *env, const char *path)
{
    /* One that is there may be of a process that died before the sync. */
    int error = env_path_kind(env, path) == 2 ? 0 : env_mkdir(env, path);
    if (error != 0)
        return error;
    char *parent = xasprintf("%s/..", path);
    error = env_sync_dir(env, parent);
    free(parent);
    return error;
}

int kv_open(struct env *env, const char *path, struct kv **result, char **why)
{
    struct kv *kv = xcalloc(1, sizeof *kv);
    char *damage = NULL;
    int rc = -make_dir(env, path);

    pthread_mutex_init(&kv->writer, NULL);
    kv->meta_sync = true; /* LMDB's default */
    if (rc == 0)
        rc = check_file(path, &damage);
    if (rc != 0)
        goto err;
    rc = open_map(kv, path);
    if (rc != 0)
        goto err;
    ASSERT(mdb_env_get_maxkeysize(kv->env) >= KV_KEY_MAX);
    rc = open_dbi(kv);
    if (rc == 0)
        rc = -env_sync_dir(env, path);
    if (rc != 0)
        goto err_after_map;
    *result = kv;
    return 0;

err_after_map:
    mdb_env_close(kv->env);
err:
    *why = why_not(path, rc, damage);
    free(damage);
    pthread_mutex_destroy(&kv->writer);
    free(kv);
    return error_of(rc);
}

void kv_close(struct kv *kv)
{
    MDB_txn *reader = atomic_exchange(&kv->reader, NULL);

    if (reader != NULL)
        mdb_txn_abort(reader);
    mdb_env_close(kv->env);
    pthread_mutex_destroy(&kv->writer);
    free(kv);
}

/* ---- writing -------------------------------------------------------------*/

static int delete_range(struct kv *kv, MDB_txn *txn, struct slice from,
                        struct slice to)
{
    MDB_cursor *cursor;
    MDB_val key = val_of(from);

    int rc = mdb_cursor_open(txn, kv->dbi, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, NULL,
                        from.len != 0 ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0 && below(key, to)) {
        rc = mdb_cursor_del(cursor, 0);
        /* After a deletion this stays where the next key has moved to. */
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, NULL, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int apply(struct kv *kv, MDB_txn *txn, const struct kv_op *op)
{
    MDB_val key = val_of(op->key), value = val_of(op->value);
    int rc;

    if (op->kind == KV_DELETE_RANGE)
        return op->key.len > KV_KEY_MAX
                   ? EINVAL
                   : delete_range(kv, txn, op->key, op->value);
    if (!key_valid(op->key))
        return EINVAL;
    if (op->kind == KV_PUT)
        return mdb_put(txn, kv->dbi, &key, &value, 0);
    rc = mdb_del(txn, kv->dbi, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* A flag of the environment, because LMDB ignores this one on transactions and
 * looks at it in the commit.  Call it within a write transaction: LMDB lets in
 * one at a time, so the flag stays as it is set until the commit. */
static int set_meta_sync(struct kv *kv, bool sync)
{
    int rc = 0;

    if (kv->meta_sync != sync)
        rc = mdb_env_set_flags(kv->env, MDB_NOMETASYNC, !sync);
    kv->meta_sync = sync;
    return rc;
}

/* anew: the write before has failed. */
static int write_batch(struct kv *kv, const struct kv_batch *batch, bool sync,
                       bool anew)
{
    struct reader ops = reader_of(buf_slice(&batch->ops));
    struct kv_op op;
    MDB_txn *txn;

    int rc = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (rc != 0)
        return rc;
    if (anew)
        rc = metas_again(kv);
    if (rc == 0)
        rc = set_meta_sync(kv, sync);
    while (rc == 0 && kv_batch_next(&ops, &op))
        rc = apply(kv, txn, &op);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    return rc;
}

/* Whether the disk has less room than the batch and its copied pages need. */
static bool disk_full(const struct kv *kv, const struct kv_batch *batch)
{
    struct statvfs fs;
    int fd;

    return mdb_env_get_fd(kv->env, &fd) == 0 && fstatvfs(fd, &fs) == 0 &&
           fs.f_bavail * fs.f_frsize < batch->ops.len + COPIED_MAX_BYTES;
}

/* A disk that fills up takes a part of a write, and LMDB says EIO for that, as
 * a broken one does; who may wait for room needs to know which it was.  If
 * there is room by now, somebody has made it just then: the second time all
 * pages are written and synced anew, and a broken disk says so again. */
int kv_write(struct kv *kv, const struct kv_batch *batch, bool sync)
{
    pthread_mutex_lock(&kv->writer);
    int rc = write_batch(kv, batch, sync, kv->failed);

    if (rc == EIO && !disk_full(kv, batch))
        rc = write_batch(kv, batch, sync, true);
    kv->failed = rc != 0;
    pthread_mutex_unlock(&kv->writer);
    if (rc == EIO && disk_full(kv, batch))
        rc = ENOSPC;
    return error_of(rc);
}

/* ---- reading -------------------------------------------------------------*/

static int reader_begin(struct kv *kv, MDB_txn **txn)
{
    *txn = atomic_exchange(&kv->reader, NULL);
    if (*txn == NULL)
        return mdb_txn_begin(kv->env, NULL, MDB_RDONLY, txn);
    int rc = mdb_txn_renew(*txn);
    if (rc != 0)
        mdb_txn_abort(*txn);
    return rc;
}

static void reader_end(struct kv *kv, MDB_txn *txn)
{
    mdb_txn_reset(txn);
    txn = atomic_exchange(&kv->reader, txn);
    if (txn != NULL)
        mdb_txn_abort(txn);
}

int kv_get(struct kv *kv, struct slice key, struct buf *value)
{
    MDB_txn *txn;
    MDB_val k = val_of(key), v;

    if (!key_valid(key))
        return -EINVAL;
    int rc = reader_begin(kv, &txn);
    if (rc != 0)
        return error_of(rc);
    rc = mdb_get(txn, kv->dbi, &k, &v);
    if (rc == 0)
        buf_put_slice(value, slice_of_val(v));
    reader_end(kv, txn);
    return error_of(rc);
}

typedef bool (*visit_fn)(void *arg, struct slice key, struct slice value);

static int scan_up(MDB_cursor *cursor, struct slice from, struct slice to,
                   visit_fn visit, void *arg)
{
    MDB_val key = val_of(from), value;

    int rc = mdb_cursor_get(cursor, &key, &value,
                            from.len != 0 ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0 && below(key, to) &&
           visit(arg, slice_of_val(key), slice_of_val(value)))
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    return rc;
}

static int scan_down(MDB_cursor *cursor, struct slice from, struct slice to,
                     visit_fn visit, void *arg)
{
    MDB_val key = val_of(to), value;
    int rc = MDB_NOTFOUND;

    /* The first key at or above `to`, and one back. */
    if (to.len != 0)
        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (rc == 0)
        rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
    else if (rc == MDB_NOTFOUND)
        rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    while (rc == 0 && slice_cmp(slice_of_val(key), from) >= 0 &&
           visit(arg, slice_of_val(key), slice_of_val(value)))
        rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
    return rc;
}

static int scan(struct kv *kv, struct slice from, struct slice to,
                visit_fn visit, void *arg,
                int (*direction)(MDB_cursor *, struct slice, struct slice,
                                 visit_fn, void *))
{
    MDB_txn *txn;
    MDB_cursor *cursor;

    if (from.len > KV_KEY_MAX || to.len > KV_KEY_MAX)
        return -EINVAL;
    int rc = reader_begin(kv, &txn);
    if (rc != 0)
        return error_of(rc);
    rc = mdb_cursor_open(txn, kv->dbi, &cursor);
    if (rc == 0) {
        rc = direction(cursor, from, to, visit, arg);
        mdb_cursor_close(cursor);
    }
    reader_end(kv, txn);
    return rc == MDB_NOTFOUND ? 0 : error_of(rc);
}

int kv_scan(struct kv *kv, struct slice from, struct slice to, visit_fn visit,
            void *arg)
{
    return scan(kv, from, to, visit, arg, scan_up);
}

int kv_scan_back(struct kv *kv, struct slice from, struct slice to,
                 visit_fn visit, void *arg)
{
    return scan(kv, from, to, visit, arg, scan_down);
}
