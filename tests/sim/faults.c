/* Links and disks are computed anew from the faults that are active, whenever
 * one begins or ends; so overlapping ones add up and end one by one. */
#include "tests/sim/faults.h"

#include "base/alloc.h"
#include "broker/replica/move.h"
#include "broker/replica/partition.h"
#include "tests/sim/loop.h"
#include "tests/sim/members.h"
#include "tests/sim/operators.h"
#include "tests/sim/trace.h"

#include <stdlib.h>

struct active {
    const struct fault *fault;
    int number;
    struct faults *faults;
    struct event begin;
    struct event end;
    bool on;
    bool waits;          /* for its moment */
    struct node *target; /* while it is on; NULL: a, modulo the nodes */
    int nodes;           /* how many there were when it began; 0: not yet */
    int stage;           /* of a rolling restart: nodes already done */
    struct node *victim; /* what is to be started again */
    struct event step;   /* of a departure: the next look at it */
    struct node *leaver;
    struct env_task move; /* to a shard */
    struct shard *shard;
};

struct faults {
    struct faults_options options;
    struct members members;
    struct active active[PLAN_FAULTS_MAX];
    bool fragile;
};

static struct node *node_a(const struct active *x)
{
    if (x->target != NULL)
        return x->target;
    return x->faults->options
        .nodes[x->fault->a %
               (x->nodes != 0 ? x->nodes : *x->faults->options.nodes_len)];
}

static struct node *node_b(const struct active *x)
{
    return x->faults->options
        .nodes[x->fault->b %
               (x->nodes != 0 ? x->nodes : *x->faults->options.nodes_len)];
}

/* A part of the changes of voters never leaves the leader that begins them. */
static bool cuts_leader_off(const struct active *x)
{
    return (x->fault->kind == FAULT_VOTE || x->fault->kind == FAULT_UNVOTE) &&
           x->fault->b % 3 == 0 && x->target != NULL;
}

/* ---- links --------------------------------------------------------------- */

static void cut(struct world *w, const struct host *from, const struct host *to)
{
    w->links[from->index][to->index].cut = true;
}

static void cut_all(struct world *w, const struct host *h, bool in, bool out)
{
    for (int i = 0; i < w->hosts_len; i++) {
        if (in)
            cut(w, w->hosts[i], h);
        if (out)
            cut(w, h, w->hosts[i]);
    }
}

/* Halves of all hosts, clients included, by the bits of `amount`. */
static void split(struct world *w, int64_t amount)
{
    for (int i = 0; i < w->hosts_len; i++)
        for (int j = 0; j < w->hosts_len; j++)
            if ((amount >> i & 1) != (amount >> j & 1))
                cut(w, w->hosts[i], w->hosts[j]);
}

static void change_links(struct world *w, const struct active *x)
{
    const struct host *h = node_a(x)->host;

    for (int i = 0; i < w->hosts_len; i++) {
        struct link *both[2] = {&w->links[h->index][i], &w->links[i][h->index]};

        for (int k = 0; k < 2; k++) {
            if (x->fault->kind == FAULT_SLOW)
                both[k]->delay_us += x->fault->amount;
            else if (x->fault->kind == FAULT_LOSSY)
                both[k]->loss_ppm = (uint32_t)x->fault->amount;
            else
                both[k]->bytes_per_s = x->fault->amount;
        }
    }
}

static void apply_to_links(struct world *w, const struct active *x)
{
    switch (x->fault->kind) {
    case FAULT_ISOLATE:
        cut_all(w, node_a(x)->host, true, true);
        break;
    case FAULT_VOTE:
    case FAULT_UNVOTE:
        if (cuts_leader_off(x))
            cut_all(w, node_a(x)->host, true, true);
        break;
    case FAULT_DEAF:
        cut_all(w, node_a(x)->host, true, false);
        break;
    case FAULT_MUTE:
        cut_all(w, node_a(x)->host, false, true);
        break;
    case FAULT_CUT:
        cut(w, node_a(x)->host, node_b(x)->host);
        cut(w, node_b(x)->host, node_a(x)->host);
        break;
    case FAULT_SPLIT:
        split(w, x->fault->amount);
        break;
    case FAULT_SLOW:
    case FAULT_LOSSY:
    case FAULT_NARROW:
        change_links(w, x);
        break;
    default:
        break;
    }
}

void faults_set_links(struct faults *f)
{
    struct world *w = f->options.world;

    for (int i = 0; i < w->hosts_len; i++)
        for (int j = 0; j < w->hosts_len; j++) {
            struct link *l = &w->links[i][j];

            l->cut = false;
            l->delay_us = f->options.plan->delay_us;
            l->jitter_us = f->options.plan->jitter_us;
            l->loss_ppm = 0;
            l->bytes_per_s = 0;
        }
    for (int i = 0; i < f->options.plan->faults_len; i++)
        if (f->active[i].on)
            apply_to_links(w, &f->active[i]);
    net_links_changed(w);
}

/* ---- disks --------------------------------------------------------------- */

static void apply_to_disk(const struct active *x)
{
    struct host *h = node_a(x)->host;
    struct disk_faults *d = disk_faults(h->disk);

    switch (x->fault->kind) {
    case FAULT_DISK_SLOW:
        h->work_max_us += x->fault->amount;
        break;
    case FAULT_DISK_STUCK:
        if (h->process != NULL)
            h->process->disk_stuck = true;
        break;
    case FAULT_DISK_FULL:
        if (d->capacity_bytes == 0)
            d->capacity_bytes = disk_used_bytes(h->disk) + x->fault->amount + 1;
        break;
    case FAULT_DISK_ERROR:
        d->write_ppm = d->sync_ppm = d->truncate_ppm = d->open_ppm =
            (uint32_t)x->fault->amount;
        break;
    case FAULT_SYNC_ERROR:
        d->sync_ppm = (uint32_t)x->fault->amount;
        break;
    case FAULT_DIR_ERROR:
        d->dead_number = (int)x->fault->amount;
        break;
    default:
        break;
    }
}

static void set_disks(struct faults *f)
{
    for (int i = 0; i < *f->options.nodes_len; i++) {
        struct host *h = f->options.nodes[i]->host;

        h->work_max_us = f->options.plan->work_max_us;
        *disk_faults(h->disk) = (struct disk_faults){0};
        if (h->process != NULL)
            h->process->disk_stuck = false;
    }
    for (int i = 0; i < f->options.plan->faults_len; i++)
        if (f->active[i].on)
            apply_to_disk(&f->active[i]);
}

/* ---- processes ----------------------------------------------------------- */

static void kill_one(struct active *x, struct node *n, bool power)
{
    struct process *p = n->process;

    x->victim = n;
    n->wanted = false;
    if (p != NULL && x->fault->amount != 0) {
        p->doom = (enum doom)x->fault->amount;
        p->doom_is_power = power;
    } else if (power) {
        node_power_off(n, DISK_POWER);
    } else {
        node_kill(n);
    }
}

static void kill_all(struct active *x, bool power)
{
    struct faults_options *o = &x->faults->options;
    enum disk_crash kind =
        (x->fault->amount & 1) != 0 ? DISK_WORST : DISK_POWER;

    for (int i = 0; i < *o->nodes_len; i++) {
        if (power)
            node_power_off(o->nodes[i], kind);
        else
            node_kill(o->nodes[i]);
    }
}

static void run_again(struct node *n)
{
    if (n->gone)
        return;
    if (n->process != NULL && n->process->doom != DOOM_NONE)
        process_kill(n->process); /* it met its doom too late */
    if (n->process != NULL && n->stopping)
        node_kill(n);
    host_power_on(n->host);
    node_start(n);
}

static void run_all(struct faults *f)
{
    for (int i = 0; i < *f->options.nodes_len; i++)
        run_again(f->options.nodes[i]);
}

static void rot(struct active *x)
{
    static const char *const suffixes[] = {".index", ".timeindex",
                                           "leader-epoch-checkpoint"};
    struct node *n = node_a(x);
    struct disk_rot r;

    kill_one(x, n, false);
    if (n->process == NULL &&
        disk_rot(n->host->disk, &x->faults->options.world->prng,
                 suffixes[x->fault->b % 3], &r)) {
        trace_line(n->host->name, "bit %u at %lld of %s flips", r.bit,
                   (long long)r.position, r.path);
        free(r.path);
    }
}

static void add_node(struct active *x)
{
    struct faults_options *o = &x->faults->options;
    struct world *w = o->world;

    int max = o->plan->members_change ? PLAN_NODES_MAX : PLAN_NODES_FIXED_MAX;

    if (*o->nodes_len >= max || w->hosts_len >= WORLD_HOSTS_MAX)
        return;
    int index = *o->nodes_len;
    o->nodes[index] = node_new(w, index + 1, plan_properties(o->plan, index),
                               o->plan->keep_entries);
    (*o->nodes_len)++;
    node_start(o->nodes[index]);
}

/* ---- one fault ----------------------------------------------------------- */

/* A disk may lose acknowledged records in this run: then the next fault begins
 * only when everybody has everything again. */
static bool is_fragile(const struct plan *plan)
{
    for (int i = 0; i < plan->faults_len; i++)
        if (plan->faults[i].kind == FAULT_WIPE ||
            (plan->faults[i].kind == FAULT_POWER && !plan->fsync))
            return true;
    return false;
}

static bool ends_a_process(enum fault_kind kind)
{
    return kind == FAULT_KILL || kind == FAULT_KILL_ALL || kind == FAULT_STOP ||
           kind == FAULT_ROLL || kind == FAULT_POWER ||
           kind == FAULT_POWER_ALL || kind == FAULT_ROT || kind == FAULT_WIPE ||
           kind == FAULT_DISK_ERROR || kind == FAULT_LEAVE ||
           kind == FAULT_SYNC_ERROR || kind == FAULT_DIR_ERROR;
}

static bool loses(const struct faults *f, const struct fault *fault)
{
    return fault->kind == FAULT_WIPE ||
           (fault->kind == FAULT_POWER && !f->options.plan->fsync);
}

static bool bearable(const struct active *x)
{
    struct faults *f = x->faults;

    if (x->fault->kind == FAULT_WIPE && node_a(x)->is_controller)
        return false;
    if (x->fault->kind == FAULT_WIPE && f->options.plan->replication < 3)
        return false;
    if (!f->fragile)
        return true;
    /* A live replica that is cut off leaves the in-sync set, too. */
    for (int i = 0; i < f->options.plan->faults_len; i++)
        if (f->active[i].on &&
            (ends_a_process(f->active[i].fault->kind) || loses(f, x->fault)))
            return false;
    for (int i = 0; i < *f->options.nodes_len; i++) {
        const struct node *n = f->options.nodes[i];

        if (!n->gone &&
            (n->process == NULL || n->process->doom != DOOM_NONE || !n->wanted))
            return false;
    }
    return check_unhealed(f->options.check, false) == NULL;
}

/* ---- a node leaves for good ---------------------------------------------- */

enum { LEAVE_STEP_US = 300000 };

static bool somebody_leaves(const struct faults *f)
{
    for (int i = 0; i < f->options.plan->faults_len; i++)
        if (f->active[i].leaver != NULL)
            return true;
    return false;
}

static void leave_on(struct event *event)
{
    struct active *x = HEAP_ENTRY(event, struct active, step);
    struct faults *f = x->faults;

    if (!members_leave_on(&f->members, x->leaver)) {
        event_in(f->options.world, &x->step, LEAVE_STEP_US);
        return;
    }
    trace_line(NULL, "fault %d: n%d has left", x->number, x->leaver->id);
    x->leaver = NULL;
}

static void leave(struct active *x)
{
    if (somebody_leaves(x->faults))
        return;
    x->leaver =
        members_choose_leaver(&x->faults->members, (uint64_t)x->fault->a);
    if (x->leaver == NULL)
        return;
    trace_line(NULL, "fault %d: n%d is to leave", x->number, x->leaver->id);
    event_in(x->faults->options.world, &x->step, 0);
}

static void leave_no_more(struct active *x)
{
    struct node *n = x->leaver;

    event_cancel(x->faults->options.world, &x->step);
    x->leaver = NULL;
    if (n == NULL || n->gone)
        return;
    trace_line(NULL, "fault %d: n%d stays after all", x->number, n->id);
    run_again(n);
}

/* ---- a thread stands still ----------------------------------------------- */

static void stall(struct active *x, struct process *p)
{
    int64_t loops = 0, at;

    LIST_EACH (node, &p->loops)
        loops++;
    at = x->fault->amount % loops;
    LIST_EACH (node, &p->loops) {
        if (at-- != 0)
            continue;
        struct env *loop = LIST_ENTRY(node, struct env, link);

        trace_line(NULL, "fault %d: of n%d only %s", x->number, node_a(x)->id,
                   loop_name(loop));
        loop_stall(loop);
    }
}

/* Of another process by now, maybe. */
static void stall_no_more(struct process *p)
{
    LIST_EACH (node, &p->loops)
        loop_go_on(LIST_ENTRY(node, struct env, link));
}

/* ---- replicas go to other directories ------------------------------------ */

enum { MOVES_AT_ONCE = 3 };

/* Some of a shard's, by the bits of `amount`. */
static void move_some(struct env_task *task)
{
    struct active *x = LIST_ENTRY(task, struct active, move);
    struct shard *s = x->shard;
    uint64_t bits = (uint64_t)x->fault->amount;
    int n = 0;

    MAP_EACH (entry, &s->topics_by_id) {
        const struct shard_topic *t = entry->value;

        for (int32_t i = 0; i < t->partitions && n < MOVES_AT_ONCE; i++) {
            struct partition *p = t->local[i];

            bits = bits * 6364136223846793005u + 1442695040888963407u;
            if (p == NULL || bits >> 62 != 0)
                continue;
            int to = (int)(bits >> 40 & 0xff) % s->broker->log_dirs_len;
            enum err error = partition_move(p, &s->broker->log_dirs[to]);

            trace_line(NULL, "fault %d: %s-%d goes to %s: %s", x->number,
                       t->name, i, s->broker->log_dirs[to].path,
                       err_text(error));
            n++;
        }
    }
}

static void move(struct active *x, const struct node *n)
{
    const struct broker *b = n->server != NULL ? &n->server->broker : NULL;

    if (b == NULL || !n->running || !n->is_broker || n->stopping)
        return;
    x->shard = b->shards[x->fault->b / 2 % b->shards_len];
    x->move = (struct env_task){.fn = move_some};
    loop_call(x->shard->env, &x->move);
}

static void begin_kind(struct active *x)
{
    struct node *n = node_a(x);

    switch (x->fault->kind) {
    case FAULT_KILL:
        kill_one(x, n, false);
        break;
    case FAULT_POWER:
        kill_one(x, n, true);
        break;
    case FAULT_WIPE:
        x->victim = n;
        node_power_off(n, DISK_POWER);
        disk_wipe(n->host->disk);
        break;
    case FAULT_KILL_ALL:
    case FAULT_POWER_ALL:
        kill_all(x, x->fault->kind == FAULT_POWER_ALL);
        break;
    case FAULT_STOP:
        x->victim = n;
        node_stop(n);
        break;
    case FAULT_ROLL:
        x->stage = 0;
        node_stop(x->faults->options.nodes[0]);
        break;
    case FAULT_PAUSE:
        if (n->process != NULL)
            process_pause(n->process);
        break;
    case FAULT_STALL:
        if (n->process != NULL)
            stall(x, n->process);
        break;
    case FAULT_RESET:
        for (int i = 0; i < x->fault->amount; i++)
            net_reset_some(x->faults->options.world, n->host);
        break;
    case FAULT_JUMP:
        n->host->wall_offset_ms += x->fault->amount;
        break;
    case FAULT_ROT:
        rot(x);
        break;
    case FAULT_ADD:
        add_node(x);
        break;
    case FAULT_VOTE:
        members_add_voters(&x->faults->members, (uint64_t)x->fault->a,
                           (int)x->fault->amount);
        break;
    case FAULT_UNVOTE:
        members_remove_voters(&x->faults->members, (uint64_t)x->fault->a,
                              (int)x->fault->amount);
        break;
    case FAULT_LEAVE:
        leave(x);
        break;
    case FAULT_MOVE:
        move(x, n);
        break;
    default:
        break;
    }
}

static struct node *active_controller(const struct active *x)
{
    return members_leader(&x->faults->members);
}

/* In some runs every other fault strikes the active controller: most of what
 * can go wrong there needs that. */
static bool aims_at_controller(const struct active *x)
{
    return x->fault->moment == MOMENT_NONE && x->faults->options.plan->aims &&
           x->fault->b % 2 != 0;
}

void faults_moment(struct faults *f, enum moment moment, struct node *n)
{
    for (int i = 0; i < f->options.plan->faults_len; i++) {
        struct active *x = &f->active[i];

        if (!x->waits || x->fault->moment != moment)
            continue;
        x->waits = false;
        x->target = x->fault->aim == AIM_IT           ? n
                    : x->fault->aim == AIM_CONTROLLER ? active_controller(x)
                                                      : node_a(x);
        if (x->target == NULL)
            x->target = n;
        trace_line(NULL, "fault %d: n%d %s", i, n->id, moment_texts[moment]);
        event_in(f->options.world, &x->begin, x->fault->after_us);
    }
}

static void begin(struct event *event)
{
    struct active *x = HEAP_ENTRY(event, struct active, begin);
    struct faults *f = x->faults;

    if (x->fault->moment != MOMENT_NONE && x->target == NULL) {
        x->waits = true;
        return;
    }
    if (aims_at_controller(x))
        x->target = active_controller(x);
    if (x->fault->kind == FAULT_VOTE || x->fault->kind == FAULT_UNVOTE)
        x->target = members_leader(&f->members);

    if (!bearable(x)) {
        trace_line(NULL, "fault %d: %s of n%d is skipped", x->number,
                   fault_names[x->fault->kind], node_a(x)->id);
        return;
    }
    trace_line(NULL, "fault %d: %s n%d begins", x->number,
               fault_names[x->fault->kind], node_a(x)->id);
    x->on = true;
    x->nodes = *f->options.nodes_len;
    begin_kind(x);
    faults_set_links(f);
    set_disks(f);
    event_in(f->options.world, &x->end, x->fault->duration_us);
}

/* True when there is more to do. */
static bool roll_on(struct active *x)
{
    struct faults_options *o = &x->faults->options;

    run_again(o->nodes[x->stage++]);
    if (x->stage >= *o->nodes_len)
        return false;
    node_stop(o->nodes[x->stage]);
    return true;
}

static void end(struct event *event)
{
    struct active *x = HEAP_ENTRY(event, struct active, end);
    struct faults *f = x->faults;
    struct node *n = node_a(x);

    if (x->fault->kind == FAULT_ROLL && roll_on(x)) {
        event_in(f->options.world, &x->end, x->fault->duration_us);
        return;
    }
    x->on = false;
    trace_line(NULL, "fault %d: %s n%d ends", x->number,
               fault_names[x->fault->kind], n->id);
    if (x->victim != NULL)
        run_again(x->victim);
    x->victim = NULL;
    leave_no_more(x);
    if (x->fault->kind == FAULT_KILL_ALL || x->fault->kind == FAULT_POWER_ALL)
        run_all(f);
    if (x->fault->kind == FAULT_PAUSE && n->process != NULL)
        process_resume(n->process);
    if (x->fault->kind == FAULT_STALL && n->process != NULL)
        stall_no_more(n->process);
    faults_set_links(f);
    set_disks(f);
    operators_restore_dirs(n);
}

/* ---- life ---------------------------------------------------------------- */

struct faults *faults_new(const struct faults_options *options)
{
    struct faults *f = xcalloc(1, sizeof *f);

    f->options = *options;
    f->members = (struct members){
        .nodes = options->nodes,
        .nodes_len = options->nodes_len,
        .initial = options->plan->nodes,
        .replication = options->plan->replication,
    };
    for (int i = 0; i < options->plan->faults_len; i++)
        f->active[i] = (struct active){
            .fault = &options->plan->faults[i],
            .number = i,
            .faults = f,
            .begin.fn = begin,
            .end.fn = end,
            .step.fn = leave_on,
        };
    f->fragile = is_fragile(options->plan);
    set_disks(f);
    return f;
}

void faults_begin(struct faults *f)
{
    struct world *w = f->options.world;

    for (int i = 0; i < f->options.plan->faults_len; i++)
        if (f->options.without == NULL || !f->options.without[i])
            event_in(w, &f->active[i].begin, f->active[i].fault->at_us);
}

void faults_end(struct faults *f)
{
    struct world *w = f->options.world;

    for (int i = 0; i < f->options.plan->faults_len; i++) {
        event_cancel(w, &f->active[i].begin);
        event_cancel(w, &f->active[i].end);
        f->active[i].on = f->active[i].waits = false;
        leave_no_more(&f->active[i]);
    }
    for (int i = 0; i < *f->options.nodes_len; i++) {
        struct node *n = f->options.nodes[i];

        n->host->wall_offset_ms = 0;
        if (n->process != NULL) {
            process_resume(n->process);
            stall_no_more(n->process);
        }
    }
    faults_set_links(f);
    set_disks(f);
    for (int i = 0; i < *f->options.nodes_len; i++)
        operators_restore_dirs(f->options.nodes[i]);
    run_all(f);
}
