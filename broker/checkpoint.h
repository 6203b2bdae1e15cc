/* What a replica must remember besides its log: the high watermark, the
 * recovery point (everything below is on disk), the log start offset, when its
 * files were changed last, and how far it was compacted.
 *
 * One small LMDB store per log directory, written for the replicas that changed
 * every few seconds by a helper, and at shutdown.  Losing the last write costs
 * a longer recovery scan and nothing else: a stale high watermark is only ever
 * lower than the true one.  A store that cannot be written for another reason
 * than a full disk is a failed log directory. */
#ifndef BROKER_CHECKPOINT_H
#define BROKER_CHECKPOINT_H

#include "base/env.h"
#include "base/uuid.h"

#include <stdbool.h>

struct shard;
struct partition;
struct kv;
struct log_dir;

struct checkpoint {
    int64_t high_watermark;
    int64_t recovery_point;
    int64_t start_offset;
    int64_t unchanged_ms; /* as log_open() takes it */
    int64_t first_dirty;  /* everything below was compacted; 0: not known */
    /* log_dir.unclean_starts when it was open last.  With more of them since,
     * a clean stop says nothing of this log: it was not open meanwhile, and
     * nobody has looked at its tail. */
    int64_t unclean_starts;
};

/* False if nothing (usable) is stored.  Any thread. */
bool checkpoint_read(struct kv *kv, const struct uuid *topic_id,
                     int32_t partition, struct checkpoint *c);
/* Writes those of shard->checkpoint on a helper thread, unless a write is
 * already running. */
void checkpoint_begin(struct shard *s);
/* Blocking, at shutdown; sync: durable on return. */
void checkpoint_flush(struct shard *s, bool sync);
/* Puts p on the list. */
void checkpoint_touch(struct partition *p);
/* Whether what is stored may speak of something that a cut to end_offset, or
 * further but not below `limit`, takes away: the recovery point, the high
 * watermark (after an unclean election), which would call committed what is
 * written next, or the start offset, below which an opening would remove it. */
bool checkpoint_outlives(const struct partition *p, int64_t end_offset,
                         int64_t limit);
/* Now, blocking and durable: nothing from `limit` on counts as on disk or as
 * committed any more, and the log may begin there, before such a cut.  0 or
 * -errno. */
int checkpoint_lower(struct partition *p, int64_t limit);
/* Its replica is gone, and notes with it; written down with the next batch. */
void checkpoint_forget(struct partition *p);
/* Likewise what is known of it in one log directory. */
void checkpoint_forget_in(struct partition *p, const struct log_dir *dir);
/* Blocking, before anything of the directory is opened and again before a clean
 * stop is marked: sets dir->unclean_starts to what is stored, plus one if
 * !dir->clean, and stores that once.  0, or -errno: the stop must not be marked
 * as clean. */
int checkpoint_count_start(struct log_dir *dir);
/* Blocking, when the store was opened: sets dir->checkpoints_lost, and if `now`
 * stores it, as the store is an empty one in place of a damaged one.  0 or
 * -errno. */
int checkpoint_note_lost(struct log_dir *dir, bool now);
/* Whether a batch is being written that p, which was forgotten, may be in: then
 * partition_written() is called after it. */
bool checkpoint_holds_up(struct shard *s, struct partition *p);
/* Of a replica that is not there yet; blocking and durable, by a helper: 0 or
 * -errno. */
int checkpoint_write(struct kv *kv, const struct uuid *topic_id,
                     int32_t partition, const struct checkpoint *c);
/* Now, blocking and durable, by a helper before anything else is done with the
 * replica: 0 or -errno. */
int checkpoint_drop(struct kv *kv, const struct uuid *topic_id,
                    int32_t partition);

/* A note that the replica is about to be in another directory, or is there
 * already, or is not here yet: what is here of it may be older (move.h).
 * Blocking and durable, by a helper: 0 or -errno. */
int checkpoint_note_leaving(struct kv *kv, const struct uuid *topic_id,
                            int32_t partition, bool leaving);
/* Any thread. */
bool checkpoint_is_leaving(struct kv *kv, const struct uuid *topic_id,
                           int32_t partition);

#endif
