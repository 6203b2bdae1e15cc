/* A kv in memory with what a disk does at a crash: batches that were not
 * synced may be lost, from some point on. */
#ifndef TESTS_RAFT_MEMORY_KV_H
#define TESTS_RAFT_MEMORY_KV_H

#include "base/kv.h"

struct kv *memory_kv_new(void);
void memory_kv_free(struct kv *kv);
/* Keeps the first `keep` unsynced batches at most and loses the rest. */
void memory_kv_crash(struct kv *kv, size_t keep);
size_t memory_kv_unsynced(const struct kv *kv);
/* The next writes return this negative errno; 0: they work. */
void memory_kv_fail(struct kv *kv, int error);
/* sync is taken for done and is not: a disk that lies. */
void memory_kv_lie(struct kv *kv, bool lie);

#endif
