/* Moving a replica to another log directory of its broker (KIP-113).
 *
 * A second replica, TOPIC-PARTITION.HEX-future, is made in the other directory
 * and gets what the first has: batches are read from the log and appended, one
 * piece at a time by a helper.  Once it has everything it takes the first one's
 * place in one turn of the loop, so whoever reads or writes notices nothing.
 *
 * What a crash finds, at any point:
 *   - a -future directory is no replica.  It is removed, and the move begins
 *     anew when the replica is open.
 *   - both directories have a TOPIC-PARTITION: the one with the file
 *     REPLICA_NEWEST in it counts, and the other is removed.  The file is on
 *     disk before the directory gets its name, and goes only when no other
 *     directory has a replica of that name, for sure.
 *   - one of them cannot be read any more: a note in the other's checkpoints
 *     (checkpoint_note_leaving) says that what is there, files or a checkpoint,
 *     counts for nothing while a directory is out of reach.  Both have it from
 *     before the swap on; in the new directory it goes when the new name is on
 *     disk, in the old one when the replica is back, or is opened there with
 *     all directories in reach.
 *
 * Between the swap and the moment the new name is on disk nothing counts as
 * synced that the old one did not have: syncs are held back.  So a power loss
 * then costs what it would have cost before.
 *
 * The shard that owns the partition; never from inside of its callbacks. */
#ifndef BROKER_REPLICA_MOVE_H
#define BROKER_REPLICA_MOVE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct partition;
struct log_dir;

#define REPLICA_NEWEST "leat-newest"

/* AlterReplicaLogDirs.  To where it is: ends a move that is under way.
 * KAFKA_STORAGE_ERROR (also of a log that has lost records: what tells so would
 * stay behind), REPLICA_NOT_AVAILABLE (not open yet). */
enum err partition_move(struct partition *p, struct log_dir *to);
/* A move that an earlier process had begun, if there was one; of a log that has
 * lost records once they are there again, or given up. */
void partition_move_resume(struct partition *p);

/* Where the future replica is, how many bytes it has, and how many offsets it
 * lacks; false: there is none. */
bool partition_moving(const struct partition *p, struct log_dir **to,
                      int64_t *size_bytes, int64_t *lag);

/* ---- for partition.c and append.c ----------------------------------------*/

/* No sync may begin just now; partition_start_flush() is called when it may. */
bool move_holds_sync(const struct partition *p);
/* The log was cut, or begins later. */
void move_shortened(struct partition *p);
/* The replica goes offline, or away: the future one is removed.  True: not yet
 * over, as the swap is; partition_written() is called then. */
bool move_leave(struct partition *p);
/* The process ends. */
void move_closed(struct partition *p);
/* A log directory failed. */
void move_dir_failed(struct partition *p, const struct log_dir *dir);

#endif
