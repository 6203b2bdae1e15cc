/* Three processes with real disks, sockets and clocks: cold start, and SIGKILL
 * of the leader, again and again.  Each process proposes while it leads and
 * tells, one line at a time, when it begins to lead and what it has applied;
 * the states must agree. */
#include "base/env_libevent.h"
#include "base/error.h"
#include "base/kv.h"
#include "base/map.h"
#include "raft/node.h"
#include "raft/transport.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NODES = 3, KILLS = 5, REPORT_EVERY = 16, PATIENCE_MS = 20000 };

/* ---- a process ---------------------------------------------------------- */

struct process {
    int32_t id;
    struct env *env;
    struct raft_node *node;
    struct raft_transport *transport;
    struct env_timer proposer;
    uint64_t hash;
    uint64_t count;
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    char line[128];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (write(STDOUT_FILENO, line, (size_t)n) != n)
        _exit(0);
}

static void on_commit(void *arg, uint64_t index, uint64_t term,
                      struct slice data)
{
    struct process *p = arg;
    uint64_t parts[4] = {p->hash, index, term, hash_bytes(data.data, data.len)};

    p->hash = hash_bytes(parts, sizeof parts);
    if (index % REPORT_EVERY == 0)
        say("applied %llu %llu\n", (unsigned long long)index,
            (unsigned long long)p->hash);
}

static void propose(void *arg)
{
    struct process *p = arg;
    uint8_t data[8];
    uint64_t index;

    be64_put(data, ++p->count);
    if (raft_node_propose(p->node, slice_of(data, 8), &index) == ERR_NONE)
        env_timer_start(p->env, &p->proposer, 1);
}

static void on_role(void *arg, bool leader, int32_t leader_id, uint64_t term)
{
    struct process *p = arg;

    (void)leader_id;
    if (!leader)
        return;
    say("leads %llu\n", (unsigned long long)term);
    env_timer_start(p->env, &p->proposer, 0);
}

static void on_failed(void *arg, bool final, const char *why)
{
    (void)arg;
    (void) final;
    say("failed %s\n", why);
}

static void frame(struct env_conn *conn, void *arg, struct env_frame *f)
{
    struct process *p = arg;

    if (p->node == NULL ||
        !raft_transport_receive(p->transport, slice_of(f->data, f->len)))
        env_conn_close(conn);
    env_frame_unref(f);
}

static void closed(struct env_conn *conn, void *arg, int error)
{
    (void)conn;
    (void)arg;
    (void)error;
}

static const struct env_conn_ops *accept_conn(struct env_conn *conn,
                                              void *owner, void **arg)
{
    static const struct env_conn_ops ops = {.frame = frame, .closed = closed};

    (void)conn;
    *arg = owner;
    return &ops;
}

static void die(char *why)
{
    say("failed %s\n", why);
    _exit(1);
}

static uint16_t listen_on(struct process *p, uint16_t port)
{
    struct env_listener *listener;
    char *why;
    struct env_listen_options o = {
        .host = "127.0.0.1",
        .port = port,
        .frame_max_bytes = 16 << 20,
        .accept = accept_conn,
        .owner = p,
    };

    if (env_listen(p->env, &o, &listener, &why) != 0)
        die(why);
    return env_listener_port(listener);
}

/* Standard input brings the three ports, standard output takes the reports. */
static void run_process(int32_t id, uint16_t port, const char *dir)
{
    struct process p = {.id = id, .env = env_create()};
    struct raft_config voters = RAFT_CONFIG_INIT;
    unsigned ports[NODES];
    struct kv *kv;
    char *why;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    say("port %u\n", listen_on(&p, port));
    if (scanf("%u %u %u", &ports[0], &ports[1], &ports[2]) != NODES)
        _exit(1);
    for (int32_t i = 1; i <= NODES; i++) {
        struct raft_member m = {.id = i, .voter = true, .host = "127.0.0.1"};

        m.port = (uint16_t)ports[i - 1];
        raft_config_set(&voters, &m);
    }
    if (kv_open(p.env, dir, &kv, &why) != 0)
        die(why);
    p.transport = raft_transport_new(
        &(struct raft_transport_options){.env = p.env, .node_id = id});
    struct raft_node_options o = {
        .env = p.env,
        .kv = kv,
        .name = dir,
        .cluster_id = "test",
        .raft = raft_options_default(id),
        .initial = &voters,
        .owner = {.on_commit = on_commit,
                  .on_role = on_role,
                  .on_failed = on_failed,
                  .arg = &p},
        .link = raft_transport_link(p.transport),
    };
    if (raft_node_open(&o, &p.node, &why) != 0)
        die(why);
    raft_transport_bind(p.transport, p.node);
    p.proposer.fn = propose;
    p.proposer.arg = &p;
    raft_node_start(p.node);
    env_run(p.env);
    _exit(0);
}

/* ---- the test's side ---------------------------------------------------- */

struct child {
    pid_t pid;
    int in;
    int out;
    uint16_t port;
    char line[256]; /* being received */
    size_t line_len;
    uint64_t applied;
};

static struct child children[NODES + 1];
static char base_dir[] = "/tmp/leat-raft-XXXXXX";
static uint64_t *hashes; /* by index / REPORT_EVERY */
static size_t hashes_len;
static int32_t leader;
static uint64_t leader_term;

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void note_applied(struct child *c, uint64_t index, uint64_t hash)
{
    size_t at = (size_t)(index / REPORT_EVERY);

    if (at >= hashes_len) {
        hashes = xrealloc(hashes, (at + 1) * sizeof *hashes);
        memset(hashes + hashes_len, 0, (at + 1 - hashes_len) * sizeof *hashes);
        hashes_len = at + 1;
    }
    if (hashes[at] == 0)
        hashes[at] = hash;
    cr_assert_eq(hashes[at], hash, "states differ at entry %llu",
                 (unsigned long long)index);
    c->applied = index;
}

static void note(int32_t id, const char *line)
{
    struct child *c = &children[id];
    unsigned long long a, b;
    unsigned port;

    if (sscanf(line, "port %u", &port) == 1) {
        c->port = (uint16_t)port;
    } else if (sscanf(line, "leads %llu", &a) == 1) {
        cr_assert_gt(a, leader_term, "two leaders in one term");
        leader = id;
        leader_term = a;
    } else if (sscanf(line, "applied %llu %llu", &a, &b) == 2) {
        note_applied(c, a, b);
    } else {
        cr_assert_fail("node %d: %s", (int)id, line);
    }
}

static void read_lines(int32_t id)
{
    struct child *c = &children[id];
    char bytes[4096];
    ssize_t n = read(c->out, bytes, sizeof bytes);

    cr_assert_gt(n, 0, "node %d ended", (int)id);
    for (ssize_t i = 0; i < n; i++) {
        cr_assert_lt(c->line_len, sizeof c->line - 1);
        if (bytes[i] != '\n') {
            c->line[c->line_len++] = bytes[i];
            continue;
        }
        c->line[c->line_len] = '\0';
        c->line_len = 0;
        note(id, c->line);
    }
}

static void listen_to_children(void)
{
    struct pollfd polls[NODES];

    for (int i = 0; i < NODES; i++)
        polls[i] = (struct pollfd){.fd = children[i + 1].out, .events = POLLIN};
    if (poll(polls, NODES, 100) <= 0)
        return;
    for (int i = 0; i < NODES; i++)
        if (polls[i].revents != 0)
            read_lines(i + 1);
}

static void start(int32_t id)
{
    struct child *c = &children[id];
    int in[2], out[2];
    char dir[64];

    cr_assert_eq(pipe(in), 0);
    cr_assert_eq(pipe(out), 0);
    snprintf(dir, sizeof dir, "%s/%d", base_dir, (int)id);
    c->line_len = 0;
    c->applied = 0;
    c->pid = fork();
    if (c->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        for (int fd = 3; fd < 256; fd++)
            close(fd);
        run_process(id, c->port, dir);
    }
    cr_assert_gt(c->pid, 0);
    close(in[0]);
    close(out[1]);
    c->in = in[1];
    c->out = out[0];
}

static void kill_child(int32_t id)
{
    struct child *c = &children[id];

    if (c->pid <= 0)
        return;
    kill(c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    close(c->in);
    close(c->out);
    c->out = -1;
    c->pid = 0;
}

static void tell_ports(int32_t id)
{
    dprintf(children[id].in, "%u %u %u\n", children[1].port, children[2].port,
            children[3].port);
}

static bool all_ports(void)
{
    return children[1].port != 0 && children[2].port != 0 &&
           children[3].port != 0;
}

static bool has_leader(void) { return leader != 0; }

static uint64_t target;

static bool all_applied_target(void)
{
    return children[1].applied >= target && children[2].applied >= target &&
           children[3].applied >= target;
}

static void wait_for(bool (*done)(void), const char *what)
{
    int64_t end = now_us() + PATIENCE_MS * 1000LL;

    while (!done()) {
        cr_assert_lt(now_us(), end, "no %s", what);
        listen_to_children();
    }
}

static void tear_down(void)
{
    char *command = xasprintf("rm -rf %s", base_dir);

    for (int32_t id = 1; id <= NODES; id++)
        kill_child(id);
    cr_assert_eq(system(command), 0);
    free(command);
    free(hashes);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

Test(failover, a_killed_leader_is_replaced_and_nothing_is_lost,
     .fini = tear_down)
{
    int64_t times_us[KILLS];

    cr_assert_not_null(mkdtemp(base_dir));
    for (int32_t id = 1; id <= NODES; id++)
        start(id);
    wait_for(all_ports, "ports");
    int64_t from = now_us();
    for (int32_t id = 1; id <= NODES; id++)
        tell_ports(id);
    wait_for(has_leader, "leader");
    printf("failover: cold start %.1f ms\n", (double)(now_us() - from) / 1000);
    for (int i = 0; i < KILLS; i++) {
        int32_t old = leader;

        target = (uint64_t)(hashes_len + 4) * REPORT_EVERY;
        wait_for(all_applied_target, "progress of all three");
        leader = 0;
        from = now_us();
        kill_child(old);
        wait_for(has_leader, "new leader");
        times_us[i] = now_us() - from;
        cr_assert_neq(leader, old);
        start(old);
        tell_ports(old);
    }
    target = (uint64_t)(hashes_len + 4) * REPORT_EVERY;
    wait_for(all_applied_target, "progress at the end");
    qsort(times_us, KILLS, sizeof *times_us, compare_times);
    printf("failover: SIGKILL to next leader, median %.1f ms, worst %.1f ms\n",
           (double)times_us[KILLS / 2] / 1000,
           (double)times_us[KILLS - 1] / 1000);
    /* Far below the election timeout of 1 to 2 s, also on a busy machine. */
    cr_assert_lt(times_us[KILLS / 2], 900000);
}
