/* A controller at work: Raft node, image, listener, brokers' sessions, joined
 * on one loop.
 *
 *   standby  applies committed entries to its image and stores it
 *   active   decides (controller.h) on a second image that is ahead of what is
 *            committed; answers wait for their index to be committed
 *
 * The listener speaks Kafka's framing: Raft messages (API key 20000), brokers'
 * calls (20001, proto/internal/control.proto), and those of Kafka's own APIs
 * that a controller answers.
 *
 * Evidence of death: the connection over which a broker sent heartbeats breaks,
 * and a connect to it is refused (a controller that has just become active
 * tries them all).
 *
 * Thread: the loop of options.env; open blocks and comes before the loop runs.
 */
#ifndef CONTROLLER_SERVICE_H
#define CONTROLLER_SERVICE_H

#include "base/env.h"
#include "controller/controller.h"
#include "raft/config.h"

struct controller_service;

enum { CONTROL_API_KEY = 20001, CONTROL_API_VERSION = 0 };

enum {
    /* What the active controller answers a broker: the whole image at worst. */
    CONTROL_ANSWER_MAX_BYTES = INT32_MAX,
    /* What the listener takes at least: socket.request.max.bytes is about
     * clients, and may be shorter than an entry of the metadata log. */
    CONTROL_REQUEST_LEAST_BYTES = 100 << 20,
    /* Around a client's request that a broker forwards. */
    CONTROL_AROUND_BYTES = 1 << 17,
};

struct controller_service_options {
    struct env *env;
    int32_t node_id;
    struct uuid incarnation;
    const char *cluster_id; /* outlives the service */
    const char *dir;        /* for two stores: raft, image */
    /* The quorum when it begins; may lack this node or be empty: then it waits
     * to be added. */
    struct raft_config voters;
    bool voters_configured; /* from controller.quorum.voters: every node has the
                               list, and its addresses win over the log's */
    struct uuid directory;  /* the id of the directory that `dir` is in; zero:
                               not known */
    int64_t election_timeout_ms;
    int64_t snapshot_bytes; /* the Raft log is cut when it has as many, ... */
    int64_t keep_entries;   /* ... but for so many entries; 0: as Raft likes */
    struct controller_config config;
    /* The controller listener. */
    const char *listener; /* its name, "CONTROLLER" */
    const char *host;
    uint16_t port;
    const char *advertised_host;
    uint16_t advertised_port;
    size_t frame_max_bytes; /* of requests; Raft's frames may be longer */
    /* The listener by which brokers know each other; outlives the service.
     * NULL or "": not known. */
    const char *inter_broker_listener;
    /* On the loop, at most once: the store takes no more writes, or what was
     * agreed on cannot be applied. The reason was logged; the process ends,
     * since this node can neither vote nor know the metadata. May be NULL. */
    void (*failed)(void *arg);
    void *failed_arg;
};

/* NULL and a sentence that the caller frees. */
struct controller_service *
controller_service_open(const struct controller_service_options *options,
                        char **why);
/* Any thread. A leader hands over first; `stopped` comes on the loop when
 * everything is on disk. */
void controller_service_stop(struct controller_service *s,
                             void (*stopped)(void *arg), void *arg);

#endif
