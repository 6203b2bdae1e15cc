/* Which leader epoch began at which offset (KIP-101, KIP-279).
 *
 * Epochs and start offsets both rise strictly.  The checkpoint file
 * leader-epoch-checkpoint is text, Kafka's: a line with the version 0, a line
 * with the count, then "EPOCH START_OFFSET" lines.
 *
 * The file may lag behind memory: batches carry their epoch, so entries above
 * the recovery point are found again by recovery, and an epoch without a batch
 * ends where it began, which answers nobody differently. */
#ifndef BROKER_LOG_EPOCH_CACHE_H
#define BROKER_LOG_EPOCH_CACHE_H

#include "base/slice.h"

struct epoch_entry {
    int32_t epoch;
    int64_t start_offset;
};

struct epoch_cache {
    struct epoch_entry *entries; /* owned */
    uint32_t len;
    uint32_t cap;
    bool changed; /* since the file was written */
};

void epoch_cache_free(struct epoch_cache *c);

/* Entries that contradict the new one (same or later epoch, same or later
 * start) go.  Nothing happens when the newest entry has this epoch and starts
 * no later. */
void epoch_cache_assign(struct epoch_cache *c, int32_t epoch,
                        int64_t start_offset);

/* Drops entries that begin at or above end_offset. */
void epoch_cache_truncate_end(struct epoch_cache *c, int64_t end_offset);
/* Drops entries that end at or below start_offset; the one that spans it now
 * begins there. */
void epoch_cache_truncate_start(struct epoch_cache *c, int64_t start_offset);
void epoch_cache_clear(struct epoch_cache *c);

/* -1 when there is none. */
int32_t epoch_cache_latest(const struct epoch_cache *c);
int32_t epoch_cache_at(const struct epoch_cache *c, int64_t offset);
/* log_end_offset_for_epoch() of log.h. */
void epoch_cache_end_offset(const struct epoch_cache *c, int32_t epoch,
                            int64_t log_end_offset, int32_t *found_epoch,
                            int64_t *end_offset);

void epoch_cache_format(const struct epoch_cache *c, struct buf *text);
/* False when the text is not a checkpoint; the cache is then empty. */
bool epoch_cache_parse(struct epoch_cache *c, struct slice text);

#endif
