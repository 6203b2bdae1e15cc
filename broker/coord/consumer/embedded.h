/* Kafka's consumer protocol: what consumers put into the bytes of JoinGroup and
 * SyncGroup, which to a classic coordinator mean nothing ("embedded protocol").
 *
 * A version, then the message of that version; a version that is newer than
 * ours is read as ours, as all Kafka clients do.
 *
 * What is read takes more room than its bytes, eight times as much where names
 * are empty, and nobody has counted it when a request came in: so it is
 * bounded here. */
#ifndef BROKER_COORD_CONSUMER_EMBEDDED_H
#define BROKER_COORD_CONSUMER_EMBEDDED_H

#include "broker/coord/consumer/consumer_coord.h"

enum {
    /* One message as structs, and its partitions as a set: a million topics or
     * 700,000 partitions. */
    EMBEDDED_MAX_BYTES = 16 << 20,
};

/* ERR_TOO_LARGE: above EMBEDDED_MAX_BYTES; others: it cannot be read.  Memory
 * from the arena. */
enum err embedded_subscription(struct slice bytes, struct arena *arena,
                               struct consumer_protocol_subscription *out);
enum err embedded_assignment(struct slice bytes, struct arena *arena,
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
