/* The log in memory: every entry after `base`, the point up to which the
 * owner's image makes entries unnecessary.
 *
 * Entries never move or change; truncation and compaction free them.  Each one
 * remembers the write (see raft_update.persist_seq) that makes it durable, so
 * "durable up to" stays right when an index is truncated and written anew
 * while an older write is still on its way to the disk. */
#ifndef RAFT_LOG_H
#define RAFT_LOG_H

#include "base/slice.h"

enum raft_entry_type {
    RAFT_ENTRY_DATA = 0,   /* the owner's bytes */
    RAFT_ENTRY_NOOP = 1,   /* first entry of a leader's term */
    RAFT_ENTRY_CONFIG = 2, /* struct raft_config */
};

struct raft_entry {
    uint64_t index; /* from 1 */
    uint64_t term;
    enum raft_entry_type type;
    struct slice data;
};

struct raft_log_slot;

struct raft_log {
    uint64_t base_index;          /* last index dropped; 0: nothing was */
    uint64_t base_term;           /* its term */
    struct raft_log_slot **slots; /* owned; slots[0] is base_index + 1 */
    size_t len;
    size_t cap;
    size_t head; /* slots before head are unused, to drop a prefix cheaply */
    size_t size_bytes; /* payloads */
};

#define RAFT_LOG_INIT ((struct raft_log){0})

void raft_log_free(struct raft_log *log);
uint64_t raft_log_last(const struct raft_log *log);
/* Term of index; 0 for index 0 and for what is not here. */
uint64_t raft_log_term(const struct raft_log *log, uint64_t index);
static inline uint64_t raft_log_last_term(const struct raft_log *log)
{
    return raft_log_term(log, raft_log_last(log));
}
/* base_index < index <= last.  Bytes live until truncated or compacted. */
struct raft_entry raft_log_get(const struct raft_log *log, uint64_t index);
uint64_t raft_log_seq(const struct raft_log *log, uint64_t index);

/* Copies entry.data; entry.index is last + 1. */
void raft_log_append(struct raft_log *log, struct raft_entry entry,
                     uint64_t seq);
/* Drops index and everything behind it. */
void raft_log_truncate(struct raft_log *log, uint64_t from);
/* Drops everything up to and with index, which is in the log. */
void raft_log_compact(struct raft_log *log, uint64_t index);
/* Empty, standing at index. */
void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term);

#endif
