/* Offset index and time index of one segment, in Kafka's formats.
 *
 *   .index      relative offset i32, position i32: the last offset of a batch
 *               and where that batch begins
 *   .timeindex  timestamp i64, relative offset i32: the largest timestamp so
 *               far and the last offset of the batch that has it
 *
 * Both rise strictly.  Entries live in the file; memory holds only the newest
 * ones, not yet written, so that an idle log costs nothing.  New entries go to
 * the file in blocks, the time index first: if an offset entry is in the file,
 * the time entries up to it are too.
 *
 * An index can always be rebuilt from the log: what is found in a file is
 * checked, never trusted.
 *
 * Functions that return int: 0 or a negative errno. */
#ifndef BROKER_LOG_INDEX_H
#define BROKER_LOG_INDEX_H

#include "base/env.h"

enum index_kind { INDEX_OFFSETS, INDEX_TIMES };

enum {
    INDEX_OFFSETS_ENTRY_BYTES = 8,
    INDEX_TIMES_ENTRY_BYTES = 12,
    /* Entries kept in memory until they are written. */
    INDEX_PENDING_MAX = 128,
};

struct index_entry {
    int64_t timestamp; /* INDEX_TIMES only */
    int32_t relative_offset;
    int32_t position; /* INDEX_OFFSETS only */
};

/* What a search compares; every field rises within an index. */
enum index_field { INDEX_BY_OFFSET, INDEX_BY_POSITION, INDEX_BY_TIMESTAMP };

struct index {
    enum index_kind kind;
    uint32_t stored;      /* entries in the file */
    uint32_t pending_len; /* entries behind them, in memory */
    uint32_t pending_cap;
    uint8_t *pending; /* owned; in the file's format */
};

void index_file_init(struct index *x, enum index_kind kind);
void index_file_free(struct index *x); /* memory only */

static inline uint32_t index_count(const struct index *x)
{
    return x->stored + x->pending_len;
}

static inline uint32_t index_entry_bytes(enum index_kind kind)
{
    return kind == INDEX_OFFSETS ? INDEX_OFFSETS_ENTRY_BYTES
                                 : INDEX_TIMES_ENTRY_BYTES;
}

static inline bool index_wants_write(const struct index *x)
{
    return x->pending_len >= INDEX_PENDING_MAX;
}

/* Takes the count from the file's size; an absent file is an empty index.
 * -EBADMSG when the size is no multiple of an entry's. */
int index_load(struct index *x, struct env *env, const char *path);

/* At the end, in memory. */
void index_add(struct index *x, const struct index_entry *entry);

/* Moves what is pending to the file, creating it if needed (also when nothing
 * is pending).  After a failure everything is still pending. */
int index_write(struct index *x, struct env *env, const char *path);

/* Entry number n, n < index_count(). */
int index_get(struct index *x, struct env *env, const char *path, uint32_t n,
              struct index_entry *entry);

/* The last entry whose field is <= value; -ENOENT when there is none.  *n may
 * be NULL. */
int index_floor(struct index *x, struct env *env, const char *path,
                enum index_field field, int64_t value,
                struct index_entry *entry, uint32_t *n);

/* Keeps the first n entries. */
int index_truncate(struct index *x, struct env *env, const char *path,
                   uint32_t n);

#endif
