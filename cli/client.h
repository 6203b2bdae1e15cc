/* A small Kafka client: one thread, plain sockets, deadlines everywhere.
 *
 * It finds the cluster through bootstrap addresses, agrees on versions with
 * each node (ApiVersions), remembers the brokers (Metadata) and group
 * coordinators, and sends requests to a node, to any node, to the controller
 * or to a coordinator.  Errors inside answers are the caller's to look at;
 * client_retry() paces repeated attempts.
 *
 *   struct client *c = client_new("localhost:9092", "leat", 30000);
 *   struct metadata_request q; struct metadata_response a;
 *   struct arena arena; arena_init(&arena, CLIENT_ARENA_BYTES);
 *   metadata_request_init(&q);
 *   enum err e = client_call(c, CLIENT_ANY, API_METADATA, &q, &a, &arena);
 *   if (e != ERR_NONE) puts(client_why(c));
 *
 * Answers live as long as the arena that they were decoded into, which holds
 * the bytes, too. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "base/list.h"
#include "base/map.h"
#include "proto/kafka/api.h"

enum {
    CLIENT_ANY = -1, /* whichever node answers, preferably who did last */
    CLIENT_CONTROLLER = -2, /* the node that Metadata calls the controller */
    /* Added to a node's id: a second connection to it, so that heartbeats do
     * not wait behind a long fetch. */
    CLIENT_SECOND = 1 << 30,
    CLIENT_ARENA_BYTES = 256 * 1024 * 1024,
    CLIENT_FRAME_MAX = 512 * 1024 * 1024,
};

struct client_node {
    int32_t id;
    char *host;
    uint16_t port;
    char *rack; /* NULL: none */
};

struct client;

/* `bootstrap` is "host:port,host:port"; NULL is returned if it is not, with a
 * sentence in *why that the caller frees.  timeout_ms bounds each request and
 * all retries of one. */
struct client *client_new(const char *bootstrap, const char *client_id,
                          int64_t timeout_ms, char **why);
void client_free(struct client *c);
int64_t client_timeout_ms(const struct client *c);

/* Why the last call failed: a sentence, valid until the next call. */
const char *client_why(const struct client *c);
/* Sets that sentence; returns `error`. */
enum err client_fail(struct client *c, enum err error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- requests ------------------------------------------------------------ */

/* Sends and waits.  ERR_NONE when an answer arrived and was decoded into
 * *response (the struct of the API's answer).  Network failures are retried on
 * other nodes for CLIENT_ANY and CLIENT_CONTROLLER only. */
enum err client_call(struct client *c, int32_t node, enum api_key api,
                     const void *request, void *response, struct arena *arena);
/* Waits until the cluster answers, which may still be starting; tells `waiting`
 * (may be NULL) once, with a sentence why, when it does not at once.  Gives up
 * after the client's timeout, and at once when there is no host of a name. */
enum err client_reach(struct client *c, void (*waiting)(const char *why));
/* A node that can be reached now, for requests whose form depends on the
 * version (see below); CLIENT_ANY if there is none. */
int32_t client_any(struct client *c);
/* The version that client_call would use, or -1 if the node lacks the API or
 * cannot be reached (see client_why). */
int16_t client_version(struct client *c, int32_t node, enum api_key api);
/* Above this version a request needs topic ids, which callers here don't use.
 * Lowers what client_call picks. */
int16_t client_version_cap(enum api_key api);

/* The same in two steps, so that several nodes work at once. */
struct client_call {
    struct list link; /* in its connection, in the order sent */
    int32_t node;
    enum api_key api;
    int16_t version;
    int32_t correlation;
    bool done;
    enum err error;   /* of the network */
    struct buf frame; /* the answer, once done */
};

/* Embedded or allocated by the caller, who keeps it until client_finish(). */
enum err client_start(struct client *c, struct client_call *call, int32_t node,
                      enum api_key api, const void *request);
/* Sends a request that has no answer (produce with acks=0). */
enum err client_post(struct client *c, int32_t node, enum api_key api,
                     const void *request);
/* Reads what has arrived, waiting until something does or until the deadline
 * (net_now_ms()).  Calls become done. */
void client_poll(struct client *c, int64_t deadline_ms);
/* Decodes the answer of a call that is done, frees its parts.  The arena takes
 * the bytes. */
enum err client_finish(struct client *c, struct client_call *call,
                       void *response, struct arena *arena);
/* Gives up a call that may not be done: closes its connection. */
void client_abandon(struct client *c, struct client_call *call);

/* ---- the cluster --------------------------------------------------------- */

/* Asks for the brokers again. */
enum err client_refresh(struct client *c);
size_t client_nodes(const struct client *c, const struct client_node **nodes);
const struct client_node *client_node(const struct client *c, int32_t id);
int32_t client_controller(const struct client *c);
const char *client_cluster_id(const struct client *c);

/* Metadata of the named topics, or of all with count -1; refreshes the brokers
 * on the way. Topics' own errors are in the answer. */
enum err client_topics(struct client *c, const struct slice *names,
                       int32_t count, bool create,
                       struct metadata_response *out, struct arena *arena);

/* The coordinator of a group, asked for until there is one; -1 on failure. */
int32_t client_coordinator(struct client *c, struct slice group);
/* Likewise of transactions, asked for at each call. */
int32_t client_txn_coordinator(struct client *c, struct slice transactional_id);
void client_forget_coordinator(struct client *c, struct slice group);

/* ---- repeating ----------------------------------------------------------- */

struct client_retry {
    int64_t deadline_ms;
    int64_t pause_ms;
};

void client_retry_init(struct client *c, struct client_retry *r);
/* Whether to try again after this error: it is one that passes, and there is
 * time; has then waited a little. */
bool client_retry(struct client_retry *r, enum err error);

#endif
