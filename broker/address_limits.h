/* max.connections.per.ip and its overrides, and the quota
 * connection_creation_rate (KIP-612), kept without a lock.
 *
 * The connections of one address may be on any shard, so each address has one
 * shard that counts for all of them (by the address's hash).  Whoever accepts a
 * connection asks there, by a task, and while any address has a limit it reads
 * nothing until the answer comes; when the connection ends it says so in the
 * same way.  All are counted all the time, so a limit that is set while the
 * node runs knows who is there. */
#ifndef BROKER_ADDRESS_LIMITS_H
#define BROKER_ADDRESS_LIMITS_H

#include "broker/broker.h"

struct address_limits;
struct visitor; /* one connection, as the counting shard knows it */

/* For set-up, before the shards run: names among the file's overrides are
 * looked up.  False with a sentence that the caller frees. */
bool address_limits_new(struct broker *broker, struct address_limits **limits,
                        char **why);

/* On the shard `home`: answer(arg) arrives there later, never from inside the
 * call.  If it refuses, the visitor is gone when it returns; the limit on
 * connections, `max`, was reached or, with wait_ms > 0, the one on new ones per
 * second, and the connection is to be closed after that time.  Else it stays
 * until visitor_leave(). */
struct visitor *visitor_ask(struct address_limits *limits, int home,
                            const char *address,
                            void (*answer)(void *arg, bool admitted,
                                           int32_t max, int32_t wait_ms),
                            void *arg);
/* On the same shard, before or after the answer, which then does not come. */
void visitor_leave(struct visitor *v);

#endif
