/* Which __consumer_offsets partition coordinates a group. */
#ifndef BROKER_COORD_PLACEMENT_H
#define BROKER_COORD_PLACEMENT_H

#include "base/slice.h"

/* abs(s.hashCode()) % partitions, with Java's hash over UTF-16 code units and
 * abs(-2^31) = 0; `id` is UTF-8.  Transactional ids are placed alike.
 * partitions > 0. */
int32_t coord_partition_of(struct slice id, int32_t partitions);

#endif
