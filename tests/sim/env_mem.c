/* The loop is three queues: timers by deadline, works, finished works and
 * tasks.  The disk is tests/sim/disk.c. */
#include "tests/sim/env_mem.h"

#include "base/prng.h"

#include <stdlib.h>

struct env {
    struct prng prng;
    int64_t now_ms;
    struct heap timers;
    struct list works; /* env_work.task.link */
    struct list tasks;

    struct disk *disk;
};

/* ---- life ----------------------------------------------------------------*/

static int64_t wall_ms(void *env) { return env_wall_ms(env); }

struct env *env_mem_new(uint64_t seed)
{
    struct env *env = xcalloc(1, sizeof *env);

    env->prng.state = seed;
    list_init(&env->works);
    list_init(&env->tasks);
    env->disk = disk_new(env_random(env));
    disk_set_clock(env->disk, wall_ms, env);
    return env;
}

void env_mem_free(struct env *env)
{
    heap_free(&env->timers);
    disk_free(env->disk);
    free(env);
}

/* ---- loop ----------------------------------------------------------------*/

int64_t env_now_ms(struct env *env) { return env->now_ms; }

int64_t env_now_us(struct env *env) { return env->now_ms * 1000; }

void env_pause(struct env *env) { ASSERT(false); }

int64_t env_wall_ms(struct env *env) { return 1700000000000 + env->now_ms; }

uint64_t env_random(struct env *env) { return prng_next(&env->prng); }

void env_timer_start(struct env *env, struct env_timer *timer, int64_t delay_ms)
{
    heap_set(&env->timers, &timer->node,
             env->now_ms + (delay_ms > 0 ? delay_ms : 0));
}

void env_timer_stop(struct env *env, struct env_timer *timer)
{
    heap_remove(&env->timers, &timer->node);
}

void env_post(struct env *to, struct env_task *task)
{
    list_push_back(&to->tasks, &task->link);
}

void env_work_start(struct env *env, struct env_work *work)
{
    work->home = env;
    list_push_back(&env->works, &work->task.link);
}

static void finish_work(struct env_task *task)
{
    struct env_work *work = LIST_ENTRY(task, struct env_work, task);

    work->done(work);
}

static bool run_one(struct env *env)
{
    struct list *link = list_pop_front(&env->tasks);

    if (link != NULL) {
        struct env_task *task = LIST_ENTRY(link, struct env_task, link);
        task->fn(task);
        return true;
    }
    struct heap_node *first = heap_first(&env->timers);
    if (first != NULL && first->key <= env->now_ms) {
        struct env_timer *timer = LIST_ENTRY(first, struct env_timer, node);
        heap_remove(&env->timers, first);
        timer->fn(timer->arg);
        return true;
    }
    if ((link = list_pop_front(&env->works)) != NULL) {
        struct env_work *work = LIST_ENTRY(link, struct env_work, task.link);
        work->run(work);
        work->task.fn = finish_work;
        env_post(env, &work->task);
        return true;
    }
    return false;
}

void env_mem_run(struct env *env)
{
    while (run_one(env))
        ;
}

void env_mem_advance(struct env *env, int64_t ms)
{
    env->now_ms += ms;
    env_mem_run(env);
}

bool env_mem_idle(const struct env *env)
{
    return list_empty(&env->works) && list_empty(&env->tasks) &&
           heap_first(&env->timers) == NULL;
}

/* ---- disk ----------------------------------------------------------------*/

struct disk *env_disk(struct env *env) { return env->disk; }

const void *env_process(struct env *env) { return env; }

void env_mem_freeze(struct env *env) { disk_freeze(env->disk); }

void env_mem_crash(struct env *env, enum env_mem_crash kind)
{
    *disk_faults(env->disk) = (struct disk_faults){0};
    disk_crash(env->disk, (enum disk_crash)kind);
}

struct disk_faults *env_mem_faults(struct env *env)
{
    return disk_faults(env->disk);
}

const struct disk_counts *env_mem_counts(const struct env *env)
{
    return disk_counts(env->disk);
}

int env_mem_open_files(const struct env *env)
{
    return disk_open_files(env->disk);
}

struct buf *env_mem_file(struct env *env, const char *path)
{
    return disk_file(env->disk, path);
}
