/* What a record of a share-partition can be, and ranges of records that are
 * alike: the words that the partition's leader and the share coordinator have
 * in common.  Plain data. */
#ifndef BROKER_SHARE_STATE_H
#define BROKER_SHARE_STATE_H

#include <stdbool.h>
#include <stdint.h>

/* Values as in the records and requests (KIP-932, "In-flight records"). */
enum share_state {
    SHARE_AVAILABLE = 0,
    SHARE_ACQUIRED = 1, /* by one member, for a time; never written down */
    SHARE_ACKNOWLEDGED = 2,
    SHARE_ARCHIVED = 4, /* refused, delivered too often, or not there */
};

static inline bool share_state_is_terminal(enum share_state state)
{
    return state == SHARE_ACKNOWLEDGED || state == SHARE_ARCHIVED;
}

/* Records [first, last], both inclusive. */
struct share_batch {
    int64_t first;
    int64_t last;
    enum share_state state;
    int16_t deliveries; /* how often they were handed out */
};

/* As start offset: the group has not been anywhere yet. */
#define SHARE_START_UNKNOWN (-1)

#endif
