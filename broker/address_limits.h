/* max.connections.per.ip and its overrides, kept without a lock.
 *
 * The connections of one address may be on any shard, so each address has one
 * shard that counts for all of them (by the address's hash).  Whoever accepts a
 * connection asks there, by a task, and reads nothing until the answer comes;
 * when the connection ends it says so in the same way. */
#ifndef BROKER_ADDRESS_LIMITS_H
#define BROKER_ADDRESS_LIMITS_H

#include "broker/broker.h"

struct address_limits;
struct visitor; /* one connection, as the counting shard knows it */

/* For set-up: names among the overrides are looked up.  *limits stays NULL if
 * nothing is limited. False with a sentence that the caller frees. */
bool address_limits_new(struct broker *broker, struct address_limits **limits,
                        char **why);

/* On the shard `home`: answer(arg) arrives there later, never from inside the
 * call.  If it refuses, the visitor is gone when it returns, and `max` is the
 * limit that was reached; else it stays until visitor_leave(). */
struct visitor *
visitor_ask(struct address_limits *limits, int home, const char *address,
            void (*answer)(void *arg, bool admitted, int32_t max), void *arg);
/* On the same shard, before or after the answer, which then does not come. */
void visitor_leave(struct visitor *v);

#endif
