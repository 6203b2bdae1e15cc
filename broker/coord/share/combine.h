/* Putting state batches together (KIP-932, "WriteShareGroupState").  Pure.
 *
 * Where batches tell different things of one offset, the one with more
 * deliveries is right, and among equals the one whose state is further on.  So
 * it does not matter in which order writes arrive. */
#ifndef BROKER_COORD_SHARE_COMBINE_H
#define BROKER_COORD_SHARE_COMBINE_H

#include "broker/share/state.h"

#include "base/arena.h"

/* `now` is sorted and disjoint; `more` is in any order and may overlap.  The
 * result lies in the arena: sorted, disjoint, neighbours that are alike joined,
 * and nothing below start_offset.  O(n) for `now`, O(m log m) for `more`. */
struct share_batch *share_combine(const struct share_batch *now,
                                  uint32_t now_len,
                                  const struct share_batch *more,
                                  uint32_t more_len, int64_t start_offset,
                                  struct arena *arena, uint32_t *len);

/* Whether a batch that came from outside makes sense. */
bool share_batch_ok(int64_t first, int64_t last, int state, int deliveries);

#endif
