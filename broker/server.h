/* One node put together: what its roles need, started and stopped in order.
 *
 * Whoever runs it provides the loops: main.c gives each a thread, the simulator
 * runs them under virtual time.  Both run this same code.
 *
 * Start: directories, controller, ports, then all loops; clients are let in
 * when the controller has unfenced the broker, and wait in the backlog so long
 * (listeners.h).
 * Stop: the controller moves leaders away, connections end, shards flush, the
 * mark of a clean stop is left, the controller hands over.
 *
 * Thread: one, called the main thread, but for what says otherwise. */
#ifndef BROKER_SERVER_H
#define BROKER_SERVER_H

#include "broker/broker.h"

struct controller_role;
struct listeners;

struct server_host {
    /* A loop that does not run yet.  Never fails. */
    struct env *(*loop_new)(void *host, const char *name);
    /* Runs it; it no longer belongs to the main thread. */
    void (*loop_start)(void *host, struct env *loop);
    /* Returns when it runs no more; harmless for a loop that never ran. */
    void (*loop_stop)(void *host, struct env *loop);
    /* Any thread, at least once: serving is over (see server_ask_stop and
     * server.failed); the main thread calls server_close() next. */
    void (*ended)(void *host);
    /* Any thread, once after server_close(): everything is on disk. */
    void (*closed)(void *host);
    void *host;
};

struct server {
    struct server_host host;
    const struct server_config *config; /* the caller's, outlives the server */
    struct env *env;                    /* of the main thread */
    struct broker broker;
    struct env **shard_loops;
    struct env *meta_loop;
    struct env *controller_loop;
    struct controller_role *controller;
    struct listeners *listeners;
    int stops_asked;
    _Atomic bool failed; /* it cannot go on; the reason was logged */
    _Atomic bool ready;  /* clients are let in */
};

/* Blocking.  `s` is zeroed.  On failure the caller ends the process, and *why
 * is a sentence that it frees; nothing is unwound. */
enum err server_start(struct server *s, struct env *env,
                      const struct server_config *config,
                      const struct server_host *host, char **why);
/* A controlled shutdown, unless the configuration or a second call says not to
 * wait for one. */
void server_ask_stop(struct server *s);
/* After host.ended(): blocking but for the controller's hand-over. */
void server_close(struct server *s);
/* After host.closed(): what remains is memory, and the end of the process. */
void server_finish(struct server *s);

#endif
