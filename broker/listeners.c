#include "broker/listeners.h"

#include "base/alloc.h"
#include "broker/request.h"
#include "broker/shard.h"

#include <stdlib.h>

struct listeners {
    struct broker *broker;
    _Atomic bool open;
};

/* One port on one shard. */
struct shard_port {
    struct listeners *listeners;
    struct shard *shard;
    int listener; /* in config->listeners */
};

static const struct env_conn_ops *on_accept(struct env_conn *stream,
                                            void *owner, void **arg)
{
    struct shard_port *port = owner;

    if (!atomic_load(&port->listeners->open))
        return NULL;
    struct conn *c = conn_new(port->shard, stream, port->listener);
    if (c == NULL)
        return NULL;
    *arg = c;
    return &request_conn_ops;
}

static int listen_on(struct listeners *l, struct shard *shard, int index,
                     char **why)
{
    const struct server_config *config = l->broker->config;
    const struct server_listener *at = &config->listeners[index];
    struct shard_port *port = xmalloc(sizeof *port);
    struct env_listener *listener;

    *port = (struct shard_port){l, shard, index};
    struct env_listen_options options = {
        .host = at->host,
        .port = at->port,
        .frame_max_bytes = (size_t)config->socket_request_max_bytes,
        .accept = on_accept,
        .owner = port,
        .shared = l->broker->shards_len > 1,
    };
    int error = env_listen(shard->env, &options, &listener, why);
    if (error < 0)
        free(port);
    return error;
}

/* Shared ports let a second process of the same user in without a word; asking
 * for the port alone first tells that it is taken. */
static int port_is_free(struct listeners *l, int index, char **why)
{
    const struct server_listener *at = &l->broker->config->listeners[index];
    struct env_listen_options options = {
        .host = at->host, .port = at->port, .accept = on_accept};
    struct env_listener *listener;
    int error = env_listen(l->broker->shards[0]->env, &options, &listener, why);

    if (error >= 0)
        env_listener_close(listener);
    return error;
}

struct listeners *listeners_new(struct broker *broker, char **why)
{
    struct listeners *l = xcalloc(1, sizeof *l);

    l->broker = broker;
    for (size_t i = 0; i < broker->config->listeners_len; i++) {
        if (broker->config->listeners[i].is_controller)
            continue;
        if (port_is_free(l, (int)i, why) < 0)
            return NULL;
        for (int j = 0; j < broker->shards_len; j++)
            if (listen_on(l, broker->shards[j], (int)i, why) < 0)
                return NULL; /* the process ends, nothing to unwind */
    }
    return l;
}

void listeners_open(struct listeners *l) { atomic_store(&l->open, true); }
