/* Small state that must change atomically: an ordered map from bytes to bytes,
 * kept in LMDB (base/kv_lmdb.c; the simulator has its own).
 *
 * Writes are gathered in a batch and applied as one transaction, all or
 * nothing, also across kill -9 and power loss when `sync` was asked for.
 * Without `sync` a write may be lost in a power failure, and then every later
 * one with it, but never in part.
 *
 * kv_write and kv_open block and belong in env_work on loops; kv_get and
 * kv_scan read memory-mapped pages.  Writers on several threads wait for each
 * other; the caller orders writes, where their order matters, with an env_work
 * lane.  Readers may run on other threads, and see the store as it was when
 * they began.
 *
 * Keys are 1 to KV_KEY_MAX bytes, in byte order; values up to 2 GiB.
 *
 * Errors are negative errnos: -EINVAL a key that is empty or too long, -ENOSPC,
 * -EFBIG a batch above what one transaction can hold (about 500 MB), -EBADMSG
 * the stored data is damaged, others from the disk.  After an error of kv_write
 * nothing of the batch is stored, though after a power loss it may turn out
 * that it was.  A sync that failed is made up for before the next write. */
#ifndef BASE_KV_H
#define BASE_KV_H

#include "base/slice.h"

#include <errno.h>

struct env;
struct kv;

enum { KV_KEY_MAX = 511 };

/* Opens or creates the store in directory `path`, which nobody else has open.
 * On failure returns a negative errno and *why gets a sentence (what, where,
 * what to do) that the caller frees.
 *
 * Reads the whole store but for large values, which takes a few milliseconds
 * for 10 MB, and answers -EBADMSG if anything in its file could lead a reader
 * or writer astray: what has opened is a map with its keys in order that can
 * be read and changed.  That the bytes of keys and values are those once
 * written is not checked here, nor that the last commit is there if its number
 * has been changed to an earlier one. */
int kv_open(struct env *env, const char *path, struct kv **kv, char **why);
void kv_close(struct kv *kv);
/* For stores that hold what can be had again: a damaged one is renamed to
 * PATH.damaged (.1.damaged, ...), and an empty one takes its place; then *aside
 * gets the new name, which the caller frees. */
int kv_open_cache(struct env *env, const char *path, struct kv **kv,
                  char **aside, char **why);
/* The same for one that opened and turned out to be damaged: closes *kv. */
int kv_replace_damaged(struct env *env, const char *path, struct kv **kv,
                       char **aside, char **why);

/* Puts and deletions in the order they will be applied.  Owns its bytes. */
struct kv_batch {
    struct buf ops;
    size_t count;
};

#define KV_BATCH_INIT ((struct kv_batch){BUF_INIT, 0})

void kv_batch_put(struct kv_batch *b, struct slice key, struct slice value);
void kv_batch_delete(struct kv_batch *b, struct slice key);
/* Deletes from <= key < to; empty: from the first, to the last. */
void kv_batch_delete_range(struct kv_batch *b, struct slice from,
                           struct slice to);
void kv_batch_free(struct kv_batch *b);

/* For the stores: the operations of a batch one after another. */
enum kv_op_kind { KV_PUT = 1, KV_DELETE, KV_DELETE_RANGE };

struct kv_op {
    enum kv_op_kind kind;
    struct slice key;   /* or from, inclusive; bytes of the batch */
    struct slice value; /* or to, exclusive */
};

/* ops starts as reader_of(buf_slice(&batch->ops)); false at the end. */
bool kv_batch_next(struct reader *ops, struct kv_op *op);

/* Applies and leaves the batch as it is.  sync: durable on return. */
int kv_write(struct kv *kv, const struct kv_batch *batch, bool sync);
/* Whether such an error ends when somebody makes room.  After others nobody
 * knows what the disk has kept of what it was given. */
static inline bool kv_error_may_pass(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

/* 0 and the value appended to `value`, or -ENOENT. */
int kv_get(struct kv *kv, struct slice key, struct buf *value);
/* Keys in order, from <= key < to (from empty: from the first; to empty: to the
 * end).  The slices live until the callback returns; returning false stops. */
int kv_scan(struct kv *kv, struct slice from, struct slice to,
            bool (*visit)(void *arg, struct slice key, struct slice value),
            void *arg);
/* As kv_scan, from the last key below `to` down to `from`. */
int kv_scan_back(struct kv *kv, struct slice from, struct slice to,
                 bool (*visit)(void *arg, struct slice key, struct slice value),
                 void *arg);

#endif
