/* The ports on which clients and other brokers connect, and how many may.
 *
 * Every shard listens on every port (the kernel spreads connections).  The
 * ports are taken at start, so that a port in use is a sentence at once.  Who
 * connects before the broker is unfenced waits in the backlog and is served as
 * soon as listeners_open() says that it is.  That lasts for LISTENERS_HOLD_MS:
 * a node that is not ready by then (no quorum, long recovery) turns connections
 * away, so that clients try the next server of their list instead of waiting
 * for a request's timeout.
 *
 * max.connections and max.connection.creation.rate are kept by not accepting:
 * those beyond wait in the backlog.  If there is more than one listener for
 * clients, the one between brokers is exempt from both, and a connection of it
 * that passes max.connections costs another listener the connection that was
 * used least recently.
 *
 * A listener may have limits of its own besides (listener.name.NAME.KEY), which
 * count its connections only, and hold for the one between brokers, too. */
#ifndef BROKER_LISTENERS_H
#define BROKER_LISTENERS_H

#include "broker/broker.h"

struct listeners;
struct live;
struct shard_port; /* one port on one shard */

enum { LISTENERS_HOLD_MS = 5000 };

/* Before the shards' loops run. NULL and a sentence that the caller frees. */
struct listeners *listeners_new(struct broker *broker, char **why);
/* Any thread. */
void listeners_open(struct listeners *l);
/* One thread at a time: the limits of `live` count from now on.  Connections
 * that are there already stay. */
void listeners_reconfigured(struct listeners *l, const struct live *live);
/* A connection that was accepted there has ended; on its shard. */
void listeners_left(struct shard_port *port);

#endif
