/* Kafka's consumer protocol: what consumers put into the bytes of JoinGroup and
 * SyncGroup, which to a classic coordinator mean nothing ("embedded protocol").
 *
 * A version, then the message of that version; a version that is newer than
 * ours is read as ours, as all Kafka clients do. */
#ifndef BROKER_COORD_CONSUMER_EMBEDDED_H
#define BROKER_COORD_CONSUMER_EMBEDDED_H

#include "broker/coord/consumer/consumer_coord.h"

/* False: it cannot be read.  Memory from the arena. */
bool embedded_subscription(struct slice bytes, struct arena *arena,
                           struct consumer_protocol_subscription *out);
bool embedded_assignment(struct slice bytes, struct arena *arena,
                         struct consumer_protocol_assignment *out);
/* What the member owns, as far as it exists. */
struct parts
embedded_owned(const struct consumer_protocol_subscription *subscription,
               const struct consumer_world *world, struct arena *arena);
struct parts
embedded_assigned(const struct consumer_protocol_assignment *assignment,
                  const struct consumer_world *world, struct arena *arena);
/* An assignment for a member with this subscription, in its version. */
struct slice embedded_put(struct parts set, const struct consumer_world *world,
                          struct slice subscription, struct arena *arena);

#endif
