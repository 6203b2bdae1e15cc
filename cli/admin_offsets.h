/* Offsets: of logs (by time) and of groups (committed).  Errors as in
 * admin_topics.h; each partition also has its own. */
#ifndef CLI_ADMIN_OFFSETS_H
#define CLI_ADMIN_OFFSETS_H

#include "cli/client.h"

enum {
    OFFSETS_LATEST = -1,   /* the high watermark */
    OFFSETS_EARLIEST = -2, /* the log start */
};

struct partition_offset {
    struct slice topic;
    int32_t partition;
    int64_t offset;    /* -1: none */
    int64_t timestamp; /* of the record found by time; -1 */
    int32_t leader;    /* filled on the way; -1: none */
    enum err error;
};

/* Of each item the first offset at or after `when_ms`, or OFFSETS_*.  Items
 * without leader, or whose leader stays silent, carry an error.  committed:
 * stop at the last stable offset. */
enum err admin_offsets_list(struct client *c, struct partition_offset *items,
                            int32_t len, int64_t when_ms, bool committed,
                            struct arena *a);

/* Committed offsets of a group: of the given partitions, or with len -1 of all
 * that it has any of (then *items and *len are set).  -1 where there is none.
 * Sorted by topic and partition when all were asked for. */
enum err admin_offsets_committed(struct client *c, struct slice group,
                                 struct partition_offset **items, int32_t *len,
                                 struct arena *a);

/* Commits.  generation -1 and an empty member for tools; answers of single
 * partitions go to item.error, the first of them is returned. */
enum err admin_offsets_commit(struct client *c, struct slice group,
                              int32_t generation, struct slice member,
                              struct partition_offset *items, int32_t len,
                              struct arena *a);

/* Removes committed offsets of partitions that no member subscribes to. */
enum err admin_offsets_delete(struct client *c, struct slice group,
                              struct partition_offset *items, int32_t len,
                              struct arena *a);

/* By topic, then partition. */
void partition_offsets_sort(struct partition_offset *items, int32_t len);
/* The same, and each partition once, with the offset that it was last given;
 * returns how many there are now. */
int32_t partition_offsets_unique(struct partition_offset *items, int32_t len);

#endif
