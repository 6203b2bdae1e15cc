/* A Kafka client's foundation: connections to brokers, metadata, coordinator.
 *
 * Each actor of the workload (a producer, a reader, a member, the admin) has a
 * client of its own, as programs do.  Requests to one node go out in order on
 * one connection, several at a time; the first is ApiVersions.  A request
 * without an answer in time costs the connection, and with it all requests on
 * it.  Which version of each API a client speaks is drawn from its seed: the
 * lowest, the middle or the highest that may be, or any between.
 *
 * All functions belong to the loop's thread.  Callbacks come from the loop,
 * never from inside the call that asked for them. */
#ifndef TESTS_SIM_LOAD_CLIENT_H
#define TESTS_SIM_LOAD_CLIENT_H

#include "base/env.h"
#include "base/error.h"
#include "base/prng.h"
#include "proto/kafka/kafka_messages.h"

struct load_address {
    const char *host;
    uint16_t port;
};

struct load_client_options {
    const char *id;                       /* as the client id; copied */
    const struct load_address *bootstrap; /* outlives the client */
    size_t bootstrap_len;
    int64_t request_timeout_ms;
    int64_t metadata_age_ms; /* after which the cluster is looked at again */
    bool newest;             /* always the highest version */
};

struct load_client;

struct load_client *load_client_new(struct env *env, uint64_t seed,
                                    const struct load_client_options *options);
/* Drops everything under way without callbacks; not from inside a callback. */
void load_client_free(struct load_client *c);
/* As a process that dies: closes all connections, forgets all requests, calls
 * nothing.  May be called from callbacks. */
void load_client_reset(struct load_client *c);

/* ---- requests --------------------------------------------------------------
 */

/* For this run of the client, at least `floor` and at most `cap`; it is the
 * same at each call with the same bounds.  Bounds outside what is served are
 * brought into it. */
int16_t load_client_version(const struct load_client *c, enum api_key api,
                            int16_t floor, int16_t cap);

/* error: ERR_NONE, and `response` is the decoded message, with all it points
 * to valid until the return; else what befell the connection: ERR_CLOSED,
 * ERR_REFUSED, ERR_UNREACHABLE, ERR_REQUEST_TIMED_OUT, ERR_MALFORMED,
 * ERR_UNSUPPORTED_VERSION (the node does not serve it). */
typedef void load_client_done(void *arg, enum err error, const void *response);

enum {
    LOAD_ANY_NODE = -1,
    /* Added to a node id: on a second connection, so that a JoinGroup that is
     * held back holds nothing else back. */
    LOAD_SECOND = 1 << 30,
};

/* The request is encoded at once.  patience_ms is added to the request
 * timeout.  done NULL: no answer will come (Produce with acks=0). */
void load_client_call(struct load_client *c, int32_t node, enum api_key api,
                      int16_t version, const void *request, int64_t patience_ms,
                      load_client_done *done, void *arg);
/* Requests to the node that were not answered. */
int load_client_in_flight(const struct load_client *c, int32_t node);

/* ---- the cluster ------------------------------------------------------------
 */

struct load_partition {
    int32_t leader; /* -1: none known */
    int32_t leader_epoch;
    int32_t *replicas; /* owned by the cache */
    int32_t replicas_len;
    int32_t isr_len;
};

struct load_topic {
    char *name;
    struct uuid id;
    struct load_partition *partitions; /* by index */
    int32_t partitions_len;
};

/* Asks for a look at the cluster soon; looks are at least 50 ms apart. */
void load_client_look(struct load_client *c);
/* Counts answered looks. */
uint64_t load_client_looks(const struct load_client *c);
/* By id if it is not zero, else by name; NULL if there is none.  Valid until
 * the loop's next turn. */
const struct load_topic *load_client_topic(const struct load_client *c,
                                           struct slice name, struct uuid id);
size_t load_client_topics(const struct load_client *c,
                          const struct load_topic **topics);
/* Live brokers, in the order of Metadata. */
size_t load_client_nodes(const struct load_client *c, const int32_t **ids);
/* -1: none; looks for one. */
int32_t load_client_leader(struct load_client *c, struct slice name,
                           struct uuid id, int32_t partition, int32_t *epoch);

/* The group's coordinator (with LOAD_SECOND), or -1; then it is being looked
 * for.  A client asks about one group only. */
int32_t load_client_coordinator(struct load_client *c, const char *group);
void load_client_forget_coordinator(struct load_client *c);

struct env *load_client_env(const struct load_client *c);
struct prng *load_client_prng(struct load_client *c);

#endif
