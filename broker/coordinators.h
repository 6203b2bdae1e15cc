/* Group coordinators on the partitions of __consumer_offsets: which partition
 * coordinates what, and the joint between broker/coord (pure) and the
 * partition that stores its records. */
#ifndef BROKER_COORDINATORS_H
#define BROKER_COORDINATORS_H

#include "broker/replica/partition.h"

#define GROUP_TOPIC "__consumer_offsets"

/* This replica began to lead; starts loading if the topic is a coordinator's. */
void coordinators_elected(struct partition *p);
/* It lost the lead (or goes away): answers what is parked. */
void coordinators_lost(struct partition *p);
/* Its high watermark moved. */
void coordinators_committed(struct partition *p);

#endif
