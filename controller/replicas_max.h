/* How many replicas a partition can have, those that a running reassignment
 * will remove included: brokers keep sets of them in 16 bits.  The controller
 * refuses more; image.h's bound is that of what can be read. */
#ifndef CONTROLLER_REPLICAS_MAX_H
#define CONTROLLER_REPLICAS_MAX_H

enum { PARTITION_REPLICAS_MAX = 16 };

#endif
