/* The ports on which clients and other brokers connect.
 *
 * Every shard listens on every port (the kernel spreads connections). The ports
 * are taken at start, so that a port in use is a sentence at once; connections
 * are turned away until listeners_open(), when the broker is unfenced. */
#ifndef BROKER_LISTENERS_H
#define BROKER_LISTENERS_H

#include "broker/broker.h"

struct listeners;

/* Before the shards' loops run. NULL and a sentence that the caller frees. */
struct listeners *listeners_new(struct broker *broker, char **why);
/* Any thread. */
void listeners_open(struct listeners *l);

#endif
