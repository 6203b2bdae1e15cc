/* Calls from this broker to the active controller, wherever it is.
 *
 * A call is sent to the controller that was active last.  One that is not (any
 * more) says who is and where, or nobody knows yet, and the call goes on to the
 * next one.
 * Connections that break are opened again at once, to the next controller: how
 * fast a cluster heals after a kill hangs on that.
 *
 * Two connections, because answers come in order: long polls have their own, so
 * that a heartbeat never waits behind one.
 *
 * What a call may count on
 *   - NOT_CONTROLLER and connections that were never established: sent again
 *     until the deadline.
 *   - A connection that broke after the call was sent: the outcome is unknown.
 *     With `repeatable` it is sent again, otherwise done() gets ERR_CLOSED.
 *   - No answer within attempt_ms: the connection is given up, as if it broke.
 *   - One that is sent again goes before those of its channel that were made
 *     later and are not sent yet.
 *   - Every call ends with exactly one done(), unless the client is freed.
 *
 * One thread, that of `env`. */
#ifndef BROKER_CONTROL_CLIENT_H
#define BROKER_CONTROL_CLIENT_H

#include "base/env.h"
#include "base/error.h"
#include "controller/service.h"
#include "proto/internal/control.pb-c.h"

struct control_client;

enum control_channel { CONTROL_POLLS, CONTROL_CALLS, CONTROL_CHANNELS };

struct control_client_options {
    const char *cluster_id; /* copied */
    const char *client_id;  /* copied */
    size_t frame_max_bytes; /* of an answer */
    /* A connection for CONTROL_CALLS was established; it may lead to a
     * controller that has not heard from this broker yet.  May be NULL. */
    void (*connected)(void *arg);
    void *arg;
};

/* Where a controller listens. */
struct control_address {
    int32_t id; /* -1: not known (a bootstrap address) */
    const char *host;
    uint16_t port;
};

struct control_client *
control_client_new(struct env *env,
                   const struct control_client_options *options);
/* Closes the connections; calls in progress get no done(). */
void control_client_free(struct control_client *c);

/* Replaces the addresses (copied).  At least one; the order is the order in
 * which they are tried. */
void control_client_set_addresses(struct control_client *c,
                                  const struct control_address *list,
                                  size_t len);
/* The id of the controller that answered as the active one last; -1 none. */
int32_t control_client_active(const struct control_client *c);

/* Embedded by its owner, who keeps it alive until done(). */
struct control_call {
    /* Set by the owner, before control_send(). */
    bool repeatable;
    int64_t attempt_ms;  /* for one controller to answer */
    int64_t deadline_ms; /* from now; INT64_MAX: none */
    /* error: ERR_NONE: the active controller answered; response->error is its
     * verdict and the response lives until done() returns.  Otherwise response
     * is NULL: ERR_REQUEST_TIMED_OUT, or ERR_CLOSED: it was sent and the answer
     * is lost. */
    void (*done)(struct control_call *call, enum err error,
                 const Leat__ControlResponse *response);

    /* The client's. */
    struct list link;
    struct env_timer timer;
    struct control_client *client;
    struct buf frame;
    enum control_channel channel;
    int32_t correlation_id;
    uint64_t order;     /* in which calls were made */
    int64_t expires_ms; /* the deadline on the loop's clock */
    int64_t sent_ms;
    bool sent;     /* on the connection that is open now */
    bool doubtful; /* an earlier answer was lost; still set in done() */
};

/* Packs `request` (cluster_id is filled in) and sends it when a controller is
 * reached. */
void control_send(struct control_client *c, enum control_channel channel,
                  struct control_call *call, Leat__ControlRequest *request);
static inline bool control_call_running(const struct control_call *call)
{
    return call->client != NULL;
}

#endif
