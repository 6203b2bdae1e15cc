/* Topics in which coordinators keep what they know.  Pure; any thread. */
#ifndef BROKER_INTERNAL_TOPICS_H
#define BROKER_INTERNAL_TOPICS_H

#include "broker/coordinators.h"
#include "broker/share_states.h"
#include "broker/transactions.h"

static inline bool topic_is_internal(struct slice name)
{
    return slice_eq_str(name, GROUP_TOPIC) || slice_eq_str(name, TXN_TOPIC) ||
           slice_eq_str(name, SHARE_STATE_TOPIC);
}

/* Clients may not change what is in them: a coordinator would take it for its
 * own.  But for one id, by which Kafka's own tools may
 * (ReplicaManager.internalTopicsAllowed). */
static inline bool topic_is_closed(struct slice name, struct slice client_id)
{
    return topic_is_internal(name) &&
           !slice_eq_str(client_id, "__admin_client");
}

#endif
