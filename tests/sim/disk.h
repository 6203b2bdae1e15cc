/* A host's disk in memory: files that can be full, refuse, tear writes, rot,
 * and lose what was not synced.
 *
 * disk.c defines the file functions of base/env.h on it.  Whoever links it says
 * which disk a loop has, and which process it belongs to (see "from whoever
 * links it").  One thread.  One seed gives one history.
 *
 * A process that dies:
 *     disk_freeze(disk);         the disk takes nothing more
 *     ... free the objects that would have died with the process, or do not ...
 *     disk_crash(disk, kind);    what the next process finds
 *
 * A power loss: directory changes reach the disk in the order they were made,
 * for each top directory by itself as if it were a file system, up to some
 * point behind its last env_sync_dir(); of each file everything synced is
 * there, and of later writes nothing, a prefix, single pages, or all.
 *
 * A sync that fails, as on Linux: some of the pages it should have written are
 * written, the others are lost, but all count as written.  Processes go on
 * seeing their bytes until the machine dies, and a later sync that succeeds
 * does not make them durable; only writing them again does. */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "base/env.h"
#include "base/prng.h"

struct disk;

enum { DISK_PAGE_BYTES = 512 }; /* small, so that small tests tear */

struct disk *disk_new(uint64_t seed);
/* Also frees the files that dead processes left open. */
void disk_free(struct disk *disk);
/* Where env_file_changed_ms() gets its time; 0 without. */
void disk_set_clock(struct disk *disk, int64_t (*wall_ms)(void *arg),
                    void *arg);

/* ---- what goes wrong ------------------------------------------------------*/

enum disk_crash {
    DISK_KILL,  /* the processes died: the page cache lives */
    DISK_POWER, /* the machine died */
    DISK_WORST, /* the machine died, and nothing unsynced had got out */
};

/* Everything that changes the disk fails with -EIO until the crash. */
void disk_freeze(struct disk *disk);
/* Thaws.  Locks are gone; files still open are dead: every call but ref and
 * unref is -EIO.  Faults stay as they are set. */
void disk_crash(struct disk *disk, enum disk_crash kind);
/* One of several processes of the host died: its files and locks as above. */
void disk_release(struct disk *disk, const void *process);
/* The disk was replaced by an empty one; open files are dead. */
void disk_wipe(struct disk *disk);

/* Zero means nothing does. */
struct disk_faults {
    int write_at;    /* the n-th write from now fails, leaving part of itself */
    int sync_at;     /* the n-th sync of a file */
    int truncate_at; /* the n-th truncation */
    int open_at;     /* the n-th open that may create a file */
    /* Each renaming to, and each unlinking of, a name that ends in this. */
    const char *rename_to, *unlink_of;
    int freeze_at;  /* disk_freeze() happens before the n-th call from now */
    int no_more_at; /* from the n-th open of a file or directory from now on
                       each is -EMFILE, until this is set again */
    int error;      /* with this negative errno; 0: -EIO */
    int64_t capacity_bytes; /* of all files; beyond it -ENOSPC; 0: none */
    /* The same by chance, in millionths. */
    uint32_t write_ppm, sync_ppm, truncate_ppm, open_ppm;
    /* One of several disks of a host is dead: everything in the top directory
     * "/data" with this number behind it ("/data1") is -EIO.  0: none. */
    int dead_number;
};
struct disk_faults *disk_faults(struct disk *disk);

/* Flips one bit of a random file that has bytes and whose path ends in suffix,
 * in the page cache and on the disk.  The choice is `prng`'s.  False: there is
 * none.  The caller frees path. */
struct disk_rot {
    char *path;
    int64_t position;
    unsigned bit; /* 0: the lowest */
};
bool disk_rot(struct disk *disk, struct prng *prng, const char *suffix,
              struct disk_rot *rot);

/* ---- looking at it --------------------------------------------------------*/

/* How many of a file's bytes, from the first on, are on the disk as they are
 * seen: a power loss leaves at least those.  0 also when its name is not. */
size_t disk_durable_bytes(const struct disk *disk, const char *path);
/* The same of the file itself, though a power loss may leave it under another
 * name. */
size_t disk_synced_bytes(const struct disk *disk, const char *path);
/* What is seen of a file, until it changes; empty: there is none. */
struct slice disk_peek(const struct disk *disk, const char *path);

/* Calls so far. */
struct disk_counts {
    int64_t opens, reads, writes, syncs, dir_syncs, others;
};
const struct disk_counts *disk_counts(const struct disk *disk);
/* Files open now, without the dead. */
int disk_open_files(const struct disk *disk);
/* Of files that have a name or are open. */
int64_t disk_used_bytes(const struct disk *disk);

/* Whole contents, for looking at and for damaging files; the buf stays the
 * disk's.  Counts as written from the start and not synced, but does not bring
 * back what a failed sync lost.  NULL if there is no such file. */
struct buf *disk_file(struct disk *disk, const char *path);

/* ---- from whoever links it ------------------------------------------------*/

struct disk *env_disk(struct env *env);
/* The process that the loop belongs to; only compared. */
const void *env_process(struct env *env);

/* ---- files that hold something else than bytes (kv_disk.c) ----------------*/

/* Embedded in what the file holds. */
struct disk_object {
    /* The machine died; not DISK_KILL. */
    void (*crash)(struct disk_object *object, enum disk_crash kind,
                  struct prng *prng);
    /* The last name is gone, from the disk too, and nobody has it open. */
    void (*free)(struct disk_object *object);
};

/* The object of an open file: a place to put it, which belongs to the disk from
 * then on.  NULL if the file is dead. */
struct disk_object **disk_object(struct env_file *file);
/* Of the file with this name; NULL if there is none. */
struct disk_object *disk_object_at(struct disk *disk, const char *path);
/* Its size; counts as used. */
void disk_object_resized(struct env_file *file, int64_t bytes);
/* Whether a write that needs `more` bytes, or a sync, may be done: 0, or the
 * error that it fails with. */
int disk_try_write(struct env_file *file, int64_t more);
int disk_try_sync(struct env_file *file);

#endif
