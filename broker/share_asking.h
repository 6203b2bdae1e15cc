/* What the coordinators of share groups ask share coordinators, and back.  The
 * thread of the coordinator's partition. */
#ifndef BROKER_SHARE_ASKING_H
#define BROKER_SHARE_ASKING_H

#include "broker/coord/share_group/share_group_coord.h"
#include "broker/coord_host.h"

/* Takes the ask; every item of it is asked, and when all have been answered it
 * comes back by coordinators_asked(), never from inside. */
void share_asking_start(struct coord_host *host, struct share_group_ask *ask);

/* For share_asking.c: takes the ask back to the coordinator on that partition
 * of __consumer_offsets, if it is still the one that asked. */
void coordinators_asked(struct shard *s, int32_t partition, uint64_t asker,
                        struct share_group_ask *ask);

#endif
