/* Which replicas are compacted, when, and how fast; broker/log/clean.h does the
 * work.
 *
 * A shard keeps a list of those of its replicas of compacted topics that may
 * have something to clean: they come in when they are opened, roll a segment,
 * or their settings change, and leave when there is nothing left to wait for.
 * Every log.cleaner.backoff.ms, while there are any, the one with the largest
 * share of dirty bytes is cleaned, then the next, until none is due.  Leaders
 * and followers alike: each cleans its own files.
 *
 * log.cleaner.threads is how many are cleaned at one time by all shards; memory
 * and bytes per second are shared out among as many.  A round is a chain of
 * short works for the helpers, so syncs of others get in between.
 *
 * A replica whose batches are damaged, or do not fit the table of keys, is
 * reported once and left alone until it is opened again or its settings change.
 *
 * On the shard's thread. */
#ifndef BROKER_CLEANER_H
#define BROKER_CLEANER_H

#include <stdint.h>

struct log_dir;
struct partition;
struct shard;

void cleaner_init(struct shard *s);
/* shard.live is another one now: log.cleaner.* count at once, but for memory of
 * a round under way. */
void cleaner_reconfigured(struct shard *s);
/* Its log may have something to clean. */
void cleaner_note(struct partition *p);
/* Its log ends or begins elsewhere now. */
void cleaner_shortened(struct partition *p);
/* It goes to another directory, and is clean up to there. */
void cleaner_moves(struct partition *p, struct log_dir *to,
                   int64_t first_dirty);
/* It is about to go, or is being copied: a cleaning under way is of no use. */
void cleaner_leave(struct partition *p);
/* Behind cleaner_leave().  Its files are to be deleted: once p->cleaning has
 * ended partition_written() is called. */
void cleaner_deleted(struct partition *p);
/* ... or it is closed at shutdown, and nobody waits for that. */
void cleaner_closed(struct partition *p);

#endif
