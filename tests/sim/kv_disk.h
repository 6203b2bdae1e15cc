/* The store of base/kv.h on a simulated disk (tests/sim/disk.h), in place of
 * base/kv_lmdb.c: link one of the two.
 *
 * A store is the file PATH/data.mdb, so it moves with its directory, goes with
 * its file, and is lost with a name that was not synced.  A kill loses nothing;
 * a power loss the batches behind some point after the last synced one;
 * DISK_WORST all behind that.  Every write also draws the disk's faults for a
 * write and for a sync.  Memory, not speed, pays: both contents are in it.
 *
 * An open store is an open file of its process, and dies with it: then every
 * call but kv_close is -EIO. */
#ifndef TESTS_SIM_KV_DISK_H
#define TESTS_SIM_KV_DISK_H

#include "tests/sim/disk.h"

/* The store in the directory cannot be read any more: opening it and using it
 * is -EBADMSG.  False: there is none. */
bool kv_disk_damage(struct disk *disk, const char *path);

/* The value that a power loss now would leave for certain; false: none. */
bool kv_disk_durable(struct disk *disk, const char *path, struct slice key,
                     struct slice *value);
/* The value that is seen, which lives until the next write; false: none. */
bool kv_disk_seen(struct disk *disk, const char *path, struct slice key,
                  struct slice *value);
/* How often the store was written to. */
uint64_t kv_disk_writes(struct disk *disk, const char *path);

#endif
