/* Kafka's cleaner-offset-checkpoint, one in each log directory: how far each
 * replica there has been compacted.
 *
 * Text: a line with the version 0, a line with the count, then "TOPIC PARTITION
 * FIRST_DIRTY_OFFSET" lines.  It is written for Kafka's tools and for a Kafka
 * that takes the directory over; we ourselves go by checkpoint.h, which knows
 * topics by their id.  Replaced whole, so a reader never sees half of it. */
#ifndef BROKER_CLEANER_FILE_H
#define BROKER_CLEANER_FILE_H

#include "base/env.h"

struct cleaner_file;

/* Of log directory `dir`; reads nothing yet.  Any thread, as the others. */
struct cleaner_file *cleaner_file_new(const char *dir);
/* A work that still runs keeps it; NULL is allowed. */
void cleaner_file_unref(struct cleaner_file *f);

/* Has a helper write it down; -1 takes the replica's line out.  Works for one
 * directory run one after another, whichever shard they come from, and what the
 * file holds is touched by nobody else. */
void cleaner_file_set(struct cleaner_file *f, struct env *env,
                      const char *topic, int32_t partition,
                      int64_t first_dirty);

/* ---- for tests ------------------------------------------------------------*/

/* Takes its lines; false, and what came before the fault, when it is none. */
bool cleaner_file_parse(struct cleaner_file *f, struct slice text);
void cleaner_file_format(const struct cleaner_file *f, struct buf *text);
void cleaner_file_put(struct cleaner_file *f, const char *topic,
                      int32_t partition, int64_t first_dirty);

#endif
