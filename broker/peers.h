/* Requests of this broker to others, from one loop: one connection to each,
 * made when it is needed, several requests on it at a time.
 *
 * A connection that breaks, or on which an answer is late, ends all requests on
 * it with an error; who asked tries again when he sees fit. */
#ifndef BROKER_PEERS_H
#define BROKER_PEERS_H

#include "base/env.h"
#include "base/error.h"
#include "proto/kafka/api.h"

struct peers;

struct peers *peers_new(struct env *env, const char *client_id);
/* Closes the connections; what is on its way ends with ERR_CLOSED.  Nothing may
 * be sent any more. */
void peers_stop(struct peers *peers);
/* After peers_stop(). */
void peers_free(struct peers *peers);

/* Where a broker listens; copied. */
struct peer_address {
    int32_t id;
    int64_t epoch; /* of its registration: another one is another process */
    const char *host;
    uint16_t port;
};

/* Embedded by who asks, and kept until `done`. */
struct peer_call {
    struct list link; /* the rest is peers.c's, but for `done` */
    enum api_key api;
    int16_t version;
    int32_t correlation_id;
    int64_t deadline_ms;
    struct env_out *out; /* until it is connected */
    /* ERR_NONE and the decoded response, borrowed for the call; else NULL, and
     * the request may or may not have been carried out.  Never from inside of
     * peers_send(). */
    void (*done)(struct peer_call *call, enum err error, const void *response);
};

/* Sends `request`, of that API and version, which fits into a frame.  `to` NULL:
 * the broker is not there any more; the call ends with ERR_CLOSED. */
void peers_send(struct peers *peers, const struct peer_address *to,
                struct peer_call *call, enum api_key api, int16_t version,
                const void *request, int64_t timeout_ms);

#endif
