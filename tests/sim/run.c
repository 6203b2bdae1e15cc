/* The course of a run:
 *
 *   calm      the cluster forms, clients begin, a first record is acknowledged
 *   faults    the plan's, one after another and at once
 *   heal      everything runs again: within HEAL_US every partition must have a
 *             leader and all its replicas in sync, all nodes must know the
 *             same, and clients must get on
 *   quiet     clients finish, then read everything once more
 *   verdict
 */
#include "tests/sim/run.h"

#include "base/alloc.h"
#include "tests/sim/check.h"
#include "tests/sim/faults.h"
#include "tests/sim/operators.h"
#include "tests/sim/trace.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    FORM_US = 60 * 1000000,
    HEAL_US = 180 * 1000000,
    QUIET_US = 120 * 1000000,
    LOOK_US = 50000, /* between two looks at a condition */
};

struct run {
    struct world *world;
    struct plan plan;
    struct node *nodes[PLAN_NODES_MAX];
    int nodes_len;
    struct history *history;
    struct check *check;
    struct faults *faults;
    struct load *load;
    bool read_finally;
};

/* For the signal handler: what a crash prints. */
static int tail_lines;

static void on_crash(int signo)
{
    if (tail_lines != 0)
        trace_dump(tail_lines);
    fflush(NULL);
    signal(signo, SIG_DFL);
    raise(signo);
}

static void turned(struct env *loop, void *arg)
{
    struct run *r = arg;

    check_turn(r->check, loop);
}

static void on_moment(void *arg, enum moment moment, struct node *n)
{
    struct run *r = arg;

    faults_moment(r->faults, moment, n);
}

static void on_event(void *arg, const char *line)
{
    (void)arg;
    trace_detail("clients", line);
}

/* ---- parts of the world -------------------------------------------------- */

static void make_nodes(struct run *r)
{
    r->nodes_len = r->plan.nodes + r->plan.spares;
    for (int i = 0; i < r->nodes_len; i++) {
        r->nodes[i] = node_new(r->world, i + 1, plan_properties(&r->plan, i),
                               r->plan.keep_entries);
        r->nodes[i]->host->drift_ppm = r->plan.drift_ppm[i];
    }
}

static void make_clients(struct run *r)
{
    struct host *h = host_new(r->world, "clients");
    struct process *p = process_new(h, "clients");
    struct env *loop = process_loop_new(p, "clients");
    struct load_address brokers[PLAN_NODES_MAX];
    size_t n = 0;

    for (int i = 0; i < r->nodes_len; i++)
        if (r->nodes[i]->is_broker)
            brokers[n++] = (struct load_address){
                .host = r->nodes[i]->host->name, .port = NODE_CLIENT_PORT};
    r->load = load_new(loop, r->plan.seed, &r->plan.load, brokers, n);
    r->history = load_history(r->load);
    loop_start(loop);
}

static void make(struct run *r, const struct run_options *options)
{
    plan_draw(options->seed, &r->plan);
    r->world = world_new(options->seed);
    trace_start(r->world, options->print);
    make_nodes(r);
    make_clients(r);
    /* Thousands of lines, which are in the hash in any case. */
    if (options->print)
        history_on_event(r->history, on_event, NULL);
    if (options->mute != NULL)
        history_mute(r->history, options->mute);
    struct check_options check = {.history = r->history,
                                  .nodes = r->nodes,
                                  .nodes_len = &r->nodes_len,
                                  .loss_possible =
                                      r->plan.load.unclean_possible,
                                  .on_moment = on_moment,
                                  .arg = r};
    r->check = check_new(&check);
    r->world->turned = turned;
    r->world->turned_arg = r;
    struct faults_options faults = {.world = r->world,
                                    .plan = &r->plan,
                                    .nodes = r->nodes,
                                    .nodes_len = &r->nodes_len,
                                    .check = r->check,
                                    .without = options->without};
    r->faults = faults_new(&faults);
    faults_set_links(r->faults);
}

/* ---- the course ---------------------------------------------------------- */

static bool wrong(const struct run *r)
{
    const char *sentence;

    return history_verdict(r->history, &sentence) != NULL;
}

static void run_for(struct run *r, int64_t us)
{
    int64_t until = r->world->now_us + us;

    while (!wrong(r) && world_step(r->world, until))
        ;
}

/* Until the condition holds; false if it does not within `us`. */
static bool run_until(struct run *r, int64_t us, bool (*holds)(struct run *r))
{
    int64_t deadline = r->world->now_us + us;

    while (!wrong(r) && !holds(r)) {
        if (r->world->now_us >= deadline)
            return false;
        run_for(r, LOOK_US);
    }
    return true;
}

/* Without acknowledgements reading shows that writing works. */
static uint64_t records_seen(const struct run *r)
{
    const struct history_counts *c = history_counts(r->history);

    return c->acked + c->read;
}

static bool formed(struct run *r)
{
    return records_seen(r) > 0 && load_has_begun(r->load);
}

/* Also those that noticed only after the fault was over. */
static void restore_dirs(struct run *r)
{
    for (int i = 0; i < r->nodes_len; i++)
        operators_restore_dirs(r->nodes[i]);
}

static bool healed(struct run *r)
{
    restore_dirs(r);
    return check_unhealed(r->check, false) == NULL;
}

static bool alike(struct run *r)
{
    restore_dirs(r);
    return check_unhealed(r->check, true) == NULL;
}

/* A sync that stood still may end in an error only now. */
static bool quiet(struct run *r)
{
    restore_dirs(r);
    return load_is_quiet(r->load);
}

static bool read_finally(struct run *r) { return r->read_finally; }

static void on_final_read(void *arg)
{
    struct run *r = arg;

    r->read_finally = true;
}

static void start_all(struct run *r)
{
    for (int i = 0; i < r->nodes_len; i++)
        node_start(r->nodes[i]);
    load_start(r->load);
}

static void heal(struct run *r)
{
    uint64_t seen;

    trace_line(NULL, "all faults end");
    faults_end(r->faults);
    load_stop_changes(r->load);
    if (!run_until(r, HEAL_US, healed) &&
        !(operators_help(r->nodes, r->nodes_len) &&
          run_until(r, HEAL_US, healed))) {
        history_violation(r->history, "not-healed", "%d s after all faults: %s",
                          HEAL_US / 1000000, check_unhealed(r->check, false));
        return;
    }
    trace_line(NULL, "healed");
    seen = records_seen(r);
    int64_t deadline = r->world->now_us + HEAL_US;
    while (!wrong(r) && records_seen(r) < seen + 10) {
        if (r->world->now_us >= deadline) {
            history_violation(r->history, "no-progress",
                              "%d s after the cluster healed only %llu more "
                              "records are acknowledged or read",
                              HEAL_US / 1000000,
                              (unsigned long long)(records_seen(r) - seen));
            return;
        }
        restore_dirs(r);
        run_for(r, LOOK_US);
    }
}

static void course(struct run *r)
{
    start_all(r);
    if (!run_until(r, FORM_US, formed))
        history_violation(r->history, "no-progress", "%s %d s after the start",
                          records_seen(r) > 0
                              ? "the share group has no start everywhere"
                              : "no record is acknowledged",
                          FORM_US / 1000000);
    if (wrong(r))
        return;
    trace_line(NULL, "the first record is acknowledged");
    faults_begin(r->faults);
    run_for(r, r->plan.faults_us);
    if (wrong(r))
        return;
    heal(r);
    if (wrong(r))
        return;
    trace_line(NULL, "clients stop writing");
    load_stop_writing(r->load);
    if (!run_until(r, QUIET_US, quiet)) {
        load_complain(r->load);
        history_violation(r->history, "no-progress",
                          "clients have not finished %d s after the cluster "
                          "healed",
                          QUIET_US / 1000000);
    }
    if (wrong(r))
        return;
    trace_line(NULL, "the final read");
    load_final_read(r->load, on_final_read, r);
    if (!run_until(r, QUIET_US, read_finally))
        load_final_give_up(r->load);
    if (!wrong(r) && !run_until(r, HEAL_US, alike))
        history_violation(r->history, "not-healed", "at the end: %s",
                          check_unhealed(r->check, true));
}

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void run_seed(const struct run_options *options, struct run_result *result)
{
    struct run *r = xcalloc(1, sizeof *r);
    const char *sentence = "";

    tail_lines = options->tail;
    for (int i = 0; i < 3; i++)
        signal((const int[]){SIGABRT, SIGSEGV, SIGXCPU}[i], on_crash);
    make(r, options);
    course(r);
    const char *checker = history_verdict(r->history, &sentence);
    if (checker != NULL) {
        trace_line(NULL, "broken: %s: %s", checker, sentence);
        if (options->tail != 0)
            trace_dump(options->tail);
        snprintf(result->checker, sizeof result->checker, "%s", checker);
        snprintf(result->sentence, sizeof result->sentence, "%s", sentence);
    }
    const struct history_counts *c = history_counts(r->history);
    world_note_number(r->world, history_hash(r->history));
    result->hash = r->world->hash;
    result->steps = r->world->steps;
    result->simulated_us = r->world->now_us;
    result->cpu_us = cpu_us();
    result->acked = c->acked;
    result->read = c->read;
    result->committed = c->committed;
    result->faults = r->plan.faults_len;
}
