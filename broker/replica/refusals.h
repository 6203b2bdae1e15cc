/* What follows a refused batch of an idempotent producer is refused alike.
 *
 * A producer has several requests on their way.  If the first is refused for a
 * passing reason (we don't lead yet, too few replicas are in sync) and the
 * reason passes before the second is looked at, the second has a gap before it
 * and would be answered with OUT_OF_ORDER_SEQUENCE_NUMBER, or accepted if the
 * producer is not known here.  Neither is the producer's fault, who sends the
 * first again.  But librdkafka before 2.3 ends with a fatal error when it hears
 * of a gap then, and any client that starts a new epoch writes what it believes
 * to be lost once more under the new epoch: a duplicate.
 *
 * So a partition remembers the refused batch, and whatever of that producer
 * lies beyond it hears the same error until it comes again.  Only for a while:
 * a producer that has given up on the batch must learn of the gap.
 *
 * Pure.  One thread.  Some hundred bytes per remembered producer; NULL when
 * nobody is remembered. */
#ifndef BROKER_REPLICA_REFUSALS_H
#define BROKER_REPLICA_REFUSALS_H

#include "base/error.h"
#include "proto/record/batch.h"

enum {
    REFUSALS_MAX = 1024, /* producers; then the longest known is forgotten */
    REFUSALS_KEPT_MS = 30000,
};

struct refusals;

/* b was refused with `error`, which may pass.  Batches without producer or
 * sequence are of no interest. */
void refusals_note(struct refusals **r, const struct batch *b, enum err error,
                   int64_t now_ms);
/* The error of the refused batch that b comes behind; ERR_NONE: there is
 * none. */
enum err refusals_reason(const struct refusals *r, const struct batch *b,
                         int64_t now_ms);
/* b was accepted, or is a duplicate. */
void refusals_accepted(struct refusals **r, const struct batch *b);
/* Forgets those that are too old to matter. */
void refusals_expire(struct refusals **r, int64_t now_ms);
void refusals_free(struct refusals *r); /* NULL is allowed */

#endif
