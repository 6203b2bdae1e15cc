/* leatd: one node, with the roles its configuration gives it.
 *
 * Threads: this one (signals, start and stop), one loop for the controller, one
 * for the broker's metadata, one per shard, and a few helpers for blocking
 * work.
 *
 * Start: configuration, directories, ports, then all loops; clients are let in
 * when the controller has unfenced the broker.
 * Stop (SIGTERM, SIGINT): the controller moves leaders away, connections end,
 * shards flush, the mark of a clean stop is left. A second signal skips the
 * first step. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/env_libevent.h"
#include "base/log.h"
#include "broker/controller_role.h"
#include "broker/listeners.h"
#include "broker/log_dirs.h"
#include "broker/meta.h"
#include "broker/shard.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

enum { CONFIG_MAX_BYTES = 1 << 20, CONTROLLED_SHUTDOWN_MS = 10000 };

/* One loop on a thread of its own. */
struct loop {
    struct env *env;
    pthread_t thread;
    bool running;
};

struct server {
    struct server_config config;
    struct broker broker;
    struct env *env; /* the main thread's */
    struct loop *shard_loops;
    struct loop meta_loop;
    struct loop controller_loop;
    struct controller_role *controller;
    struct listeners *listeners;
    int stops_asked;
    _Atomic bool failed; /* the reason was logged; the exit code says so */
};

/* ---- command line
 * ------------------------------------------------------------------ */

static const char usage[] =
    "Usage: leatd [--override KEY=VALUE]... FILE.properties\n"
    "\n"
    "Runs one node: a broker, a controller, or both ('process.roles').\n"
    "Keys and defaults are Kafka's; see docs/configuration.md. KAFKA_* "
    "variables\n"
    "of the environment are read as container images do (KAFKA_NODE_ID is\n"
    "node.id); --override wins over both.\n"
    "\n"
    "  --override KEY=VALUE  set one key\n"
    "  --version             print the version and exit\n"
    "  --help                print this and exit\n";

struct arguments {
    const char *file;
    const char **overrides;
    size_t overrides_len;
};

static void parse_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"override", required_argument, NULL, 'o'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;

    a->overrides = xcalloc((size_t)argc, sizeof *a->overrides);
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'o':
            a->overrides[a->overrides_len++] = optarg;
            break;
        case 'v':
            puts("leatd " LEAT_VERSION);
            exit(0);
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind < argc)
        a->file = argv[optind++];
    if (optind < argc) {
        fputs(usage, stderr);
        exit(2);
    }
}

_Noreturn static void refuse(char *why)
{
    log_error("server", "%s", why);
    exit(1);
}

static void load_config(struct server *s, const struct arguments *a)
{
    struct buf text = BUF_INIT;
    char host[256] = "localhost", *why = NULL;
    int32_t processors = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);

    if (a->file != NULL) {
        int error = env_read_all(s->env, a->file, CONFIG_MAX_BYTES, &text);
        if (error < 0)
            refuse(xasprintf("Cannot read the configuration %s: %s", a->file,
                             strerror(-error)));
    }
    gethostname(host, sizeof host - 1);
    struct server_config_sources sources = {
        .file_name = a->file,
        .file = a->file != NULL ? buf_slice(&text) : SLICE_NULL,
        .environment = (const char *const *)environ,
        .overrides = a->overrides,
        .overrides_len = a->overrides_len,
        .host_name = host,
        .processors = processors > 0 ? processors : 1,
    };
    if (server_config_load(&sources, &s->config, &why) != ERR_NONE)
        refuse(why);
    for (size_t i = 0; i < s->config.warnings_len; i++)
        log_warn("server", "%s", s->config.warnings[i]);
    buf_free(&text);
}

/* ---- loops
 * ----------------------------------------------------------------------------
 */

static void *run_loop(void *arg)
{
    struct loop *loop = arg;

    env_run(loop->env);
    return NULL;
}

static void start_loop(struct loop *loop, const char *name)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int error = pthread_create(&loop->thread, NULL, run_loop, loop);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0)
        refuse(xasprintf("Cannot start a thread: %s", strerror(error)));
    pthread_setname_np(loop->thread, name);
    loop->running = true;
}

static void stop_loop(struct loop *loop)
{
    if (!loop->running)
        return;
    env_stop(loop->env);
    pthread_join(loop->thread, NULL);
    loop->running = false;
}

/* ---- start
 * ------------------------------------------------------------------------------
 */

static void let_clients_in(void *arg)
{
    struct server *s = arg;

    listeners_open(s->listeners);
    log_info("server", "Kafka Server started: node %d of cluster %s is ready",
             s->broker.node_id, s->broker.cluster_id);
}

static void cannot_go_on(void *arg)
{
    struct server *s = arg;

    atomic_store(&s->failed, true);
    env_stop(s->env);
}

static void start_broker(struct server *s)
{
    struct broker *b = &s->broker;
    char *why = NULL;

    b->shards_len = s->config.num_network_threads;
    b->shards = xcalloc((size_t)b->shards_len, sizeof *b->shards);
    s->shard_loops = xcalloc((size_t)b->shards_len, sizeof *s->shard_loops);
    for (int i = 0; i < b->shards_len; i++) {
        s->shard_loops[i].env = env_create();
        b->shards[i] = shard_new(b, i, s->shard_loops[i].env);
    }
    s->meta_loop.env = env_create();
    b->meta = meta_new(b, s->meta_loop.env);
    s->listeners = listeners_new(b, &why);
    if (s->listeners == NULL)
        refuse(why);
    meta_on_ready(b->meta, let_clients_in, s);
    meta_on_failed(b->meta, cannot_go_on, s);
    if (meta_start(b->meta, &why) != ERR_NONE)
        refuse(why);
    for (int i = 0; i < b->shards_len; i++) {
        char name[24];
        snprintf(name, sizeof name, "shard-%d", i);
        start_loop(&s->shard_loops[i], name);
    }
    start_loop(&s->meta_loop, "metadata");
}

static void start_controller(struct server *s)
{
    char *why = NULL;

    s->controller_loop.env = env_create();
    s->controller =
        controller_role_start(&s->broker, s->controller_loop.env, &why);
    if (s->controller == NULL)
        refuse(why);
    start_loop(&s->controller_loop, "controller");
}

/* ---- stop
 * -------------------------------------------------------------------------------
 */

static void moved_away(void *arg)
{
    struct server *s = arg;

    env_stop(s->env);
}

static void on_stop_signal(void *arg)
{
    struct server *s = arg;

    if (s->stops_asked++ > 0 || !s->config.is_broker ||
        !s->config.controlled_shutdown_enable) {
        env_stop(s->env);
        return;
    }
    log_info("server", "Stopping: asking the controller to move leaders away");
    atomic_store(&s->broker.stopping, true);
    meta_shut_down(s->broker.meta, CONTROLLED_SHUTDOWN_MS, moved_away, s);
}

static void controller_stopped(void *arg)
{
    struct server *s = arg;

    env_stop(s->env);
}

static void stop_broker(struct server *s)
{
    struct broker *b = &s->broker;

    for (int i = 0; i < b->shards_len; i++)
        stop_loop(&s->shard_loops[i]);
    stop_loop(&s->meta_loop);
    for (int i = 0; i < b->shards_len; i++)
        shard_stop(b->shards[i], true);
    log_dirs_leave_clean_marks(b, s->env);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    /* Lasts as long as the process, so that a search for leaks at its end finds
     * what nobody holds any more, not what is in use to the last. */
    static struct server s;
    char *why = NULL;

    /* One arena and early trimming: a node idles in a few megabytes. */
    mallopt(M_ARENA_MAX, 2);
    /* Buffers of requests are reused warm instead of mapped anew each time. */
    mallopt(M_MMAP_THRESHOLD, 8 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    parse_arguments(argc, argv, &arguments);
    log_to_stderr(LOG_INFO);
    s.env = env_create();
    load_config(&s, &arguments);
    free(arguments.overrides);
    s.broker.config = &s.config;
    atomic_store(&s.broker.epoch, -1);
    s.broker.started_wall_ms = env_wall_ms(s.env);
    struct prng random = {env_random(s.env)};
    s.broker.incarnation = uuid_random(&random);
    if (log_dirs_open(&s.broker, s.env, &why) != ERR_NONE)
        refuse(why);
    env_on_signal(s.env, SIGTERM, on_stop_signal, &s);
    env_on_signal(s.env, SIGINT, on_stop_signal, &s);

    if (s.config.is_controller)
        start_controller(&s);
    if (s.config.is_broker)
        start_broker(&s);
    env_run(s.env);

    if (s.config.is_broker)
        stop_broker(&s);
    if (s.config.is_controller) {
        controller_role_stop(s.controller, controller_stopped, &s);
        env_run(s.env);
        stop_loop(&s.controller_loop);
    }
    log_info("server", "Stopped");
    /* The process ends here: what is still allocated is the kernel's to free,
     * and nothing that waits for a disk or a peer holds the exit up. */
    log_dirs_close(&s.broker);
    return atomic_load(&s.failed) ? 1 : 0;
}
