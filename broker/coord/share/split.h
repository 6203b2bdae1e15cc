/* One request about share states in pieces: each share-partition has its own
 * coordinator, and a request may name many.  Pure. */
#ifndef BROKER_COORD_SHARE_SPLIT_H
#define BROKER_COORD_SHARE_SPLIT_H

#include "broker/coord/share/share_coord.h"

/* What coordinates a share-partition, as FindCoordinator has it:
 * "group:topicId:partition".  In the arena. */
struct slice share_coordinator_key(struct slice group, struct uuid topic,
                                   int32_t partition, struct arena *arena);
/* Whether a client's text is such a key.  A group's name may have colons. */
bool share_coordinator_key_ok(struct slice key);

/* What one coordinator is asked. */
struct share_piece {
    int32_t partition; /* of __share_group_state */
    /* For share_shard_ask(), which takes it.  Points into the whole. */
    struct share_answer *ask;
};

/* `whole` is a request by share_answer_new(), and outlives the pieces; it has
 * `partitions` coordinators.  What is wrong by itself goes to nobody.  The
 * array is in the whole's arena. */
struct share_piece *share_split(struct share_answer *whole, int32_t partitions,
                                int32_t *len);
/* Takes what a piece came back with into the whole, and frees it.  After the
 * last of them: share_gathered() makes the whole's response. */
void share_gather(struct share_answer *whole, struct share_answer *piece);
void share_gathered(struct share_answer *whole);

#endif
