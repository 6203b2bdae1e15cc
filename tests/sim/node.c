/* A process that ends by itself is started again after a while, as a supervisor
 * would; one that was stopped or killed stays down until node_start(). */
#include "tests/sim/node.h"

#include "base/alloc.h"
#include "tests/sim/loop.h"
#include "tests/sim/trace.h"

#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_MIN_US = 500000, AGAIN_MAX_US = 3000000 };

static const char cluster_id[] = "CLUSTER_ID=c2ltdWxhdGVkLWxlYXQ";

/* ---- the server's host --------------------------------------------------- */

static struct env *new_loop(void *host, const char *name)
{
    struct node *n = host;

    return process_loop_new(n->process, name);
}

static void start_loop(void *host, struct env *loop) { loop_start(loop); }

static void stop_loop(void *host, struct env *loop) { loop_stop(loop); }

/* The process ends when its code returns. */
static void leave(struct node *n)
{
    n->world->kill_current = true;
    n->world->kill_power = false;
}

static void finish(struct env_task *task)
{
    struct node *n = LIST_ENTRY(task, struct node, finish);

    server_finish(n->server);
    trace_line(n->process->name, "ends");
    if (atomic_load(&n->server->failed))
        n->failures++;
    leave(n);
}

static void on_closed(void *host)
{
    struct node *n = host;

    n->finish.fn = finish;
    env_post(n->main_loop, &n->finish);
}

static void close_server(struct env_task *task)
{
    struct node *n = LIST_ENTRY(task, struct node, close);

    server_close(n->server);
    n->ended = true;
}

static void on_ended(void *host)
{
    struct node *n = host;

    if (n->closing)
        return;
    n->closing = true;
    n->close.fn = close_server;
    env_post(n->main_loop, &n->close);
}

/* Of the process that runs; -1 none. */
static int64_t own_epoch(const struct node *n)
{
    return n->server != NULL && n->is_broker && n->running
               ? atomic_load(&n->server->broker.epoch)
               : -1;
}

int64_t node_epoch(const struct node *n)
{
    int64_t now = own_epoch(n);

    return now > n->epoch ? now : n->epoch;
}

/* ---- life ---------------------------------------------------------------- */

static void gone(struct process *p, void *arg)
{
    struct node *n = arg;

    n->epoch = node_epoch(n);
    if (!n->ended && own_epoch(n) > 0)
        n->crashed_epoch = own_epoch(n);
    n->process = NULL;
    n->main_loop = NULL;
    n->server = NULL;
    if (n->wanted && n->host->up)
        event_in(n->world, &n->again,
                 world_between(n->world, AGAIN_MIN_US, AGAIN_MAX_US));
}

static void start_again(struct event *event)
{
    node_start(HEAP_ENTRY(event, struct node, again));
}

static void start_server(struct env_task *task)
{
    struct node *n = LIST_ENTRY(task, struct node, start);
    const struct server_host host = {
        .loop_new = new_loop,
        .loop_start = start_loop,
        .loop_stop = stop_loop,
        .ended = on_ended,
        .closed = on_closed,
        .host = n,
    };
    char *why = NULL;

    n->running = server_start(n->server, n->main_loop, &n->config, &host,
                              &why) == ERR_NONE;
    if (n->running)
        return;
    trace_line(n->process->name, "does not start: %s", why);
    free(why);
    n->failures++;
    leave(n);
}

void node_start(struct node *n)
{
    char name[32];

    if (n->process != NULL || !n->host->up)
        return;
    event_cancel(n->world, &n->again);
    snprintf(name, sizeof name, "%s.%d", n->host->name, ++n->starts);
    n->wanted = true;
    n->running = n->stopping = n->closing = n->ended = false;
    n->process = process_new(n->host, name);
    n->process->gone = gone;
    n->process->gone_arg = n;
    n->process->owner = n;
    n->main_loop = process_loop_new(n->process, "main");
    n->server = xcalloc(1, sizeof *n->server);
    n->start = n->stop = n->close = n->finish = (struct env_task){0};
    n->start.fn = start_server;
    loop_start(n->main_loop);
    loop_call(n->main_loop, &n->start);
}

static void ask_stop(struct env_task *task)
{
    server_ask_stop(LIST_ENTRY(task, struct node, stop)->server);
}

void node_stop(struct node *n)
{
    n->wanted = false;
    event_cancel(n->world, &n->again);
    if (n->process == NULL || n->stopping)
        return;
    if (!n->running) {
        process_kill(n->process);
        return;
    }
    n->stopping = true;
    n->stop.fn = ask_stop;
    loop_call(n->main_loop, &n->stop);
}

void node_kill(struct node *n)
{
    n->wanted = false;
    event_cancel(n->world, &n->again);
    if (n->process != NULL)
        process_kill(n->process);
}

void node_power_off(struct node *n, enum disk_crash kind)
{
    n->wanted = false;
    event_cancel(n->world, &n->again);
    host_power_off(n->host, kind);
}

bool node_ready(const struct node *n)
{
    return n->server != NULL && atomic_load(&n->server->ready);
}

static void load_config(struct node *n)
{
    const char *const environment[] = {cluster_id, NULL};
    const struct server_config_sources sources = {
        .file_name = "server.properties",
        .file = slice_str(n->properties),
        .environment = environment,
        .host_name = n->host->name,
        .processors = 2,
    };
    char *why = NULL;

    if (server_config_load(&sources, &n->config, &why) != ERR_NONE) {
        fprintf(stderr, "sim: node %d: %s\n", n->id, why);
        exit(2);
    }
}

struct node *node_new(struct world *w, int32_t id, char *properties,
                      int64_t keep_entries)
{
    struct node *n = xcalloc(1, sizeof *n);
    char name[16];

    snprintf(name, sizeof name, "n%d", id);
    n->id = id;
    n->world = w;
    n->host = host_new(w, name);
    n->properties = properties;
    n->again.fn = start_again;
    load_config(n);
    n->config.metadata_keep_entries = keep_entries;
    n->is_broker = n->config.is_broker;
    n->is_controller = n->config.is_controller;
    return n;
}
