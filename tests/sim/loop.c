/* Loops under virtual time: base/env.h's clock, timers, tasks and blocking
 * work.
 *
 * A turn is as in production (base/env_libevent.c): input of connections,
 * tasks, due timers, then everything queued is sent.  It happens at one
 * instant, and keeps the loop busy for some microseconds after it; whatever
 * comes meanwhile waits for the next turn.
 *
 * Blocking work waits for one of WORLD_HELPERS helpers and for its lane, takes
 * the disk's time, runs at one instant, and its done() is a task at home. */
#include "tests/sim/loop.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TURN_MIN_US = 2,
    TURN_MAX_US = 60,
    WAKE_MIN_US = 1,
    WAKE_MAX_US = 30,
};

/* ---- turns --------------------------------------------------------------- */

void loop_enter(struct env *loop)
{
    struct world *w = loop->world;

    ASSERT(w->current == NULL);
    w->current = loop->process;
    w->current_loop = loop;
    loop->now_ms = host_mono_us(loop->process->host) / 1000;
}

void loop_leave(struct env *loop)
{
    struct world *w = loop->world;
    struct process *p = loop->process;

    w->current = NULL;
    w->current_loop = NULL;
    if (!w->kill_current)
        return;
    w->kill_current = false;
    if (w->kill_power)
        host_power_off(p->host, DISK_POWER);
    else
        process_kill(p);
}

/* True if the process dies here. */
static bool meets_doom(struct process *p, enum doom doom)
{
    if (p->doom != doom)
        return false;
    p->host->world->kill_current = true;
    p->host->world->kill_power = p->doom_is_power;
    return true;
}

static void wake_at(struct env *loop, int64_t at_us)
{
    if (!loop->running)
        return;
    if (at_us < loop->idle_at_us)
        at_us = loop->idle_at_us;
    if (!event_pending(&loop->turn) || loop->turn.node.key > at_us)
        event_at(loop->world, &loop->turn, at_us);
}

void loop_wake(struct env *loop)
{
    struct world *w = loop->world;

    if (w->current_loop == loop) /* the turn's end looks for itself */
        return;
    wake_at(loop, w->now_us + world_between(w, WAKE_MIN_US, WAKE_MAX_US));
}

static void wait_for_more(struct env *loop)
{
    struct heap_node *first = heap_first(&loop->timers);

    if (!loop->running)
        return;
    if (!list_empty(&loop->tasks) || net_turn_wanted(loop))
        wake_at(loop, loop->idle_at_us);
    else if (first != NULL)
        wake_at(loop, host_world_us(loop->process->host, first->key * 1000));
}

static void run_tasks(struct env *loop)
{
    struct list batch, *node;

    list_init(&batch);
    list_append_all(&batch, &loop->tasks);
    while ((node = list_pop_front(&batch)) != NULL) {
        struct env_task *task = LIST_ENTRY(node, struct env_task, link);

        task->fn(task);
    }
}

static void run_timers(struct env *loop)
{
    uint64_t limit = loop->timers.turns;
    struct heap_node *first;

    while ((first = heap_first(&loop->timers)) != NULL &&
           first->key <= loop->now_ms && first->turn < limit) {
        struct env_timer *timer = HEAP_ENTRY(first, struct env_timer, node);

        heap_remove(&loop->timers, first);
        timer->fn(timer->arg);
    }
}

static void turn(struct event *event)
{
    struct env *loop = HEAP_ENTRY(event, struct env, turn);
    struct world *w = loop->world;

    /* process_resume(), loop_go_on() wake it. */
    if (loop->process->paused || loop->stalled)
        return;
    world_note_number(w, (uint64_t)w->now_us << 8 ^
                             (uint64_t)loop->process->number);
    loop_enter(loop);
    net_turn_input(loop);
    run_tasks(loop);
    run_timers(loop);
    if (!meets_doom(loop->process, DOOM_BEFORE_SEND))
        net_turn_end(loop);
    loop->idle_at_us = w->now_us + world_between(w, TURN_MIN_US, TURN_MAX_US);
    if (w->turned != NULL && loop->running)
        w->turned(loop, w->turned_arg);
    loop_leave(loop);
    wait_for_more(loop);
}

void process_resume(struct process *p)
{
    if (!p->paused)
        return;
    p->paused = false;
    LIST_EACH (node, &p->loops) {
        loop_wake(LIST_ENTRY(node, struct env, link));
    }
}

void loop_stall(struct env *loop) { loop->stalled = true; }

void loop_go_on(struct env *loop)
{
    if (!loop->stalled)
        return;
    loop->stalled = false;
    loop_wake(loop);
}

/* ---- life ---------------------------------------------------------------- */

struct env *process_loop_new(struct process *p, const char *name)
{
    struct env *loop = xcalloc(1, sizeof *loop);

    loop->world = p->host->world;
    loop->process = p;
    snprintf(loop->name, sizeof loop->name, "%s", name);
    loop->turn.fn = turn;
    loop->random.state = prng_next(&loop->world->prng);
    loop->now_ms = host_mono_us(p->host) / 1000;
    list_init(&loop->tasks);
    list_init(&loop->conns);
    list_init(&loop->listeners);
    list_init(&loop->input);
    list_init(&loop->dirty);
    list_init(&loop->dead);
    list_push_back(&p->loops, &loop->link);
    return loop;
}

void loop_start(struct env *loop)
{
    loop->running = true;
    wake_at(loop, loop->world->now_us);
}

void loop_stop(struct env *loop)
{
    loop->running = false;
    event_cancel(loop->world, &loop->turn);
}

struct process *loop_process(const struct env *loop) { return loop->process; }

const char *loop_name(const struct env *loop) { return loop->name; }

void loop_call(struct env *loop, struct env_task *task)
{
    list_push_back(&loop->tasks, &task->link);
    loop_wake(loop);
}

struct disk *env_disk(struct env *env) { return env->process->host->disk; }

const void *env_process(struct env *env) { return env->process; }

/* ---- env.h: time and chance ---------------------------------------------- */

/* Outside of a turn (set-up, stops, works) the clock is read afresh. */
int64_t env_now_ms(struct env *env)
{
    if (env->world->current_loop != env)
        env->now_ms = host_mono_us(env->process->host) / 1000;
    return env->now_ms;
}

int64_t env_now_us(struct env *env) { return host_mono_us(env->process->host); }

void env_pause(struct env *env) { ASSERT(false); }

int64_t env_wall_ms(struct env *env)
{
    return host_wall_ms(env->process->host);
}

uint64_t env_random(struct env *env) { return prng_next(&env->random); }

void env_timer_start(struct env *env, struct env_timer *timer, int64_t delay_ms)
{
    if (delay_ms < 0)
        delay_ms = 0;
    if (delay_ms > INT64_MAX / 4000000)
        delay_ms = INT64_MAX / 4000000;
    heap_set(&env->timers, &timer->node, env_now_ms(env) + delay_ms);
    if (env->world->current_loop != env)
        wait_for_more(env);
}

void env_timer_stop(struct env *env, struct env_timer *timer)
{
    heap_remove(&env->timers, &timer->node);
}

/* ---- env.h: tasks and works ---------------------------------------------- */

void env_post(struct env *to, struct env_task *task)
{
    list_push_back(&to->tasks, &task->link);
    loop_wake(to);
}

/* A work on its way; found by nobody but the list. */
struct job {
    struct list link; /* process->works */
    struct event event;
    struct env_work *work;
    const void *lane;
    struct process *process;
    bool started; /* has a helper */
};

static void job_run(struct event *event);

static bool lane_busy(const struct process *p, const struct job *job)
{
    if (job->lane == NULL)
        return false;
    LIST_EACH (node, &p->works) {
        const struct job *other = LIST_ENTRY(node, struct job, link);

        if (other == job)
            return false;
        if (other->lane == job->lane)
            return true;
    }
    return false;
}

static void jobs_start(struct process *p)
{
    struct host *h = p->host;

    LIST_EACH (node, &p->works) {
        struct job *job = LIST_ENTRY(node, struct job, link);

        if (p->helpers_busy >= WORLD_HELPERS)
            return;
        if (job->started || lane_busy(p, job))
            continue;
        job->started = true;
        p->helpers_busy++;
        event_in(h->world, &job->event,
                 world_between(h->world, h->work_min_us, h->work_max_us));
    }
}

enum { STUCK_AGAIN_US = 10000 };

static void work_done(struct env_task *task)
{
    struct env_work *work = LIST_ENTRY(task, struct env_work, task);

    work->done(work);
}

static void job_run(struct event *event)
{
    struct job *job = HEAP_ENTRY(event, struct job, event);
    struct process *p = job->process;
    struct world *w = p->host->world;

    if (!p->alive) {
        list_remove(&job->link);
        free(job);
        return;
    }
    if (p->paused || p->disk_stuck) {
        event_in(w, event, STUCK_AGAIN_US);
        return;
    }
    struct env_work *work = job->work;
    struct env *home = work->home;
    w->current = p;
    work->run(work);
    w->current = NULL;
    list_remove(&job->link);
    free(job);
    p->helpers_busy--;
    work->task.fn = work_done;
    env_post(home, &work->task);
    jobs_start(p);
    meets_doom(p, DOOM_AFTER_WORK);
    loop_leave(home);
}

void env_work_start(struct env *env, struct env_work *work)
{
    struct process *p = env->process;
    struct job *job = xcalloc(1, sizeof *job);

    work->home = env;
    *job = (struct job){
        .event.fn = job_run, .work = work, .lane = work->lane, .process = p};
    list_push_back(&p->works, &job->link);
    jobs_start(p);
}
