/* leatd: one node, with the roles its configuration gives it.
 *
 * Threads: this one (signals, start and stop), one loop for the controller, one
 * for the broker's metadata, one per shard, and a few helpers for blocking
 * work.  What they do, and in what order, is server.h's.
 *
 * SIGTERM and SIGINT stop the node; a second one does not wait for leaders to
 * move away. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/env_libevent.h"
#include "base/log.h"
#include "base/map.h"
#include "broker/server.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

extern char **environ;

enum { CONFIG_MAX_BYTES = 1 << 20, NAME_MAX_BYTES = 16 };

/* One loop on a thread of its own. */
struct loop {
    struct env *env;
    pthread_t thread;
    char name[NAME_MAX_BYTES];
    bool running;
};

struct process {
    struct server_config config;
    struct server server;
    struct env *env; /* this thread's */
    struct loop *loops;
    size_t loops_len;
    _Atomic bool ended;
    _Atomic bool closed;
};

/* ---- command line -------------------------------------------------------- */

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

static void load_config(struct process *p, const struct arguments *a)
{
    struct buf text = BUF_INIT;
    char host[256] = "localhost", *why = NULL;
    int32_t processors = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);

    if (a->file != NULL) {
        int error = env_read_all(p->env, a->file, CONFIG_MAX_BYTES, &text);
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
    if (server_config_load(&sources, &p->config, &why) != ERR_NONE)
        refuse(why);
    for (size_t i = 0; i < p->config.warnings_len; i++)
        log_warn("server", "%s", p->config.warnings[i]);
    buf_free(&text);
}

/* ---- loops --------------------------------------------------------------- */

static struct env *loop_new(void *host, const char *name)
{
    struct process *p = host;

    p->loops = xrealloc(p->loops, (p->loops_len + 1) * sizeof *p->loops);
    struct loop *loop = &p->loops[p->loops_len++];
    *loop = (struct loop){.env = env_create()};
    snprintf(loop->name, sizeof loop->name, "%s", name);
    return loop->env;
}

static struct loop *loop_of(struct process *p, const struct env *env)
{
    size_t i = 0;

    while (p->loops[i].env != env)
        ASSERT(++i < p->loops_len);
    return &p->loops[i];
}

static void *run_loop(void *env)
{
    env_run(env);
    return NULL;
}

static void loop_start(void *host, struct env *env)
{
    struct loop *loop = loop_of(host, env);
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int error = pthread_create(&loop->thread, NULL, run_loop, env);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0)
        refuse(xasprintf("Cannot start a thread: %s", strerror(error)));
    pthread_setname_np(loop->thread, loop->name);
    loop->running = true;
}

static void loop_stop(void *host, struct env *env)
{
    struct loop *loop = loop_of(host, env);

    if (!loop->running)
        return;
    env_stop(env);
    pthread_join(loop->thread, NULL);
    loop->running = false;
    /* Peers need not wait until all is on disk to see that this node goes. */
    env_hang_up(env);
}

static void ended(void *host)
{
    struct process *p = host;

    atomic_store(&p->ended, true);
    env_stop(p->env);
}

static void closed(void *host)
{
    struct process *p = host;

    atomic_store(&p->closed, true);
    env_stop(p->env);
}

static void on_stop_signal(void *arg)
{
    struct process *p = arg;

    server_ask_stop(&p->server);
}

/* Files and connections need one each; the soft limit is meant for programs
 * that use select(). */
static void take_all_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    /* Lasts as long as the process, so that a search for leaks at its end finds
     * what nobody holds any more, not what is in use to the last. */
    static struct process p;
    char *why = NULL;

    /* One arena and early trimming: a node idles in a few megabytes. */
    mallopt(M_ARENA_MAX, 2);
    /* Buffers of requests are reused warm instead of mapped anew each time. */
    mallopt(M_MMAP_THRESHOLD, 8 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    take_all_descriptors();
    parse_arguments(argc, argv, &arguments);
    log_to_stderr(LOG_INFO);
    p.env = env_create();
    map_set_secrets(env_random(p.env), env_random(p.env));
    load_config(&p, &arguments);
    free(arguments.overrides);
    const struct server_host host = {
        .loop_new = loop_new,
        .loop_start = loop_start,
        .loop_stop = loop_stop,
        .ended = ended,
        .closed = closed,
        .host = &p,
    };
    env_on_signal(p.env, SIGTERM, on_stop_signal, &p);
    env_on_signal(p.env, SIGINT, on_stop_signal, &p);
    if (server_start(&p.server, p.env, &p.config, &host, &why) != ERR_NONE)
        refuse(why);
    while (!atomic_load(&p.ended))
        env_run(p.env);
    server_close(&p.server);
    while (!atomic_load(&p.closed))
        env_run(p.env);
    server_finish(&p.server);
    log_info("server", "Stopped");
    return atomic_load(&p.server.failed) ? 1 : 0;
}
