#include "broker/server.h"

#include "base/alloc.h"
#include "base/log.h"
#include "broker/controller_role.h"
#include "broker/listeners.h"
#include "broker/log_dirs.h"
#include "broker/meta.h"
#include "broker/shard.h"

#include <stdio.h>

enum { CONTROLLED_SHUTDOWN_MS = 10000 };

/* ---- start --------------------------------------------------------------- */

static void let_clients_in(void *arg)
{
    struct server *s = arg;

    listeners_open(s->listeners);
    atomic_store(&s->ready, true);
    log_info("server", "Kafka Server started: node %d of cluster %s is ready",
             s->broker.node_id, s->broker.cluster_id);
}

static void cannot_go_on(void *arg)
{
    struct server *s = arg;

    atomic_store(&s->failed, true);
    s->host.ended(s->host.host);
}

static void reconfigured(void *arg, const struct live *now)
{
    listeners_reconfigured(arg, now);
}

static void make_shards(struct server *s)
{
    struct broker *b = &s->broker;

    b->shards_len = s->config->num_network_threads;
    b->shards = xcalloc((size_t)b->shards_len, sizeof *b->shards);
    s->shard_loops = xcalloc((size_t)b->shards_len, sizeof *s->shard_loops);
    for (int i = 0; i < b->shards_len; i++) {
        char name[24];

        snprintf(name, sizeof name, "shard-%d", i);
        s->shard_loops[i] = s->host.loop_new(s->host.host, name);
        b->shards[i] = shard_new(b, i, s->shard_loops[i]);
    }
}

static enum err start_broker(struct server *s, char **why)
{
    struct broker *b = &s->broker;

    make_shards(s);
    s->meta_loop = s->host.loop_new(s->host.host, "metadata");
    b->meta = meta_new(b, s->meta_loop);
    s->listeners = listeners_new(b, why);
    if (s->listeners == NULL)
        return ERR_IO;
    b->reconfigured = reconfigured;
    b->reconfigured_arg = s->listeners;
    meta_on_ready(b->meta, let_clients_in, s);
    meta_on_failed(b->meta, cannot_go_on, s);
    enum err error = meta_start(b->meta, why);
    if (error != ERR_NONE)
        return error;
    for (int i = 0; i < b->shards_len; i++)
        s->host.loop_start(s->host.host, s->shard_loops[i]);
    s->host.loop_start(s->host.host, s->meta_loop);
    return ERR_NONE;
}

static enum err start_controller(struct server *s, char **why)
{
    s->controller_loop = s->host.loop_new(s->host.host, "controller");
    s->controller = controller_role_start(&s->broker, s->controller_loop,
                                          cannot_go_on, s, why);
    if (s->controller == NULL)
        return ERR_IO;
    s->host.loop_start(s->host.host, s->controller_loop);
    return ERR_NONE;
}

enum err server_start(struct server *s, struct env *env,
                      const struct server_config *config,
                      const struct server_host *host, char **why)
{
    struct prng random = {env_random(env)};

    s->host = *host;
    s->env = env;
    s->config = config;
    s->broker.config = config;
    atomic_store(&s->broker.epoch, -1);
    s->broker.started_wall_ms = env_wall_ms(env);
    s->broker.incarnation = uuid_random(&random);
    enum err error = log_dirs_open(&s->broker, env, why);
    if (error == ERR_NONE && config->is_controller)
        error = start_controller(s, why);
    if (error == ERR_NONE && config->is_broker)
        error = start_broker(s, why);
    return error;
}

/* ---- stop ---------------------------------------------------------------- */

static void moved_away(void *arg)
{
    struct server *s = arg;

    s->host.ended(s->host.host);
}

void server_ask_stop(struct server *s)
{
    if (s->stops_asked++ > 0 || !s->config->is_broker ||
        !s->config->controlled_shutdown_enable) {
        s->host.ended(s->host.host);
        return;
    }
    log_info("server", "Stopping: asking the controller to move leaders away");
    atomic_store(&s->broker.stopping, true);
    meta_shut_down(s->broker.meta, CONTROLLED_SHUTDOWN_MS, moved_away, s);
}

static void close_broker(struct server *s)
{
    struct broker *b = &s->broker;
    bool clean = true;

    for (int i = 0; i < b->shards_len; i++)
        s->host.loop_stop(s->host.host, s->shard_loops[i]);
    s->host.loop_stop(s->host.host, s->meta_loop);
    for (int i = 0; i < b->shards_len; i++)
        if (!shard_stop(b->shards[i], true))
            clean = false;
    /* Without the mark the next start looks at what is really there. */
    if (clean)
        log_dirs_leave_clean_marks(b, s->env);
}

static void controller_stopped(void *arg)
{
    struct server *s = arg;

    s->host.closed(s->host.host);
}

void server_close(struct server *s)
{
    if (s->config->is_broker)
        close_broker(s);
    if (s->config->is_controller)
        controller_role_stop(s->controller, controller_stopped, s);
    else
        s->host.closed(s->host.host);
}

void server_finish(struct server *s)
{
    if (s->config->is_controller)
        s->host.loop_stop(s->host.host, s->controller_loop);
    /* What is still open and allocated goes with the process: helpers may be
     * using it, and nothing that waits for a disk or a peer holds its end up. */
}
