#include "tests/unit/raft/world.h"

#include "base/assert.h"

#include <stdlib.h>

/* A started env_work. */
struct work_event {
    struct world_event event;
    struct list link; /* env.works */
    struct env_work *work;
};

/* A running env_timer; found again by its timer. */
struct timer_event {
    struct world_event event;
    struct env_timer *timer;
};

void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.now_ms = 1, .prng = {seed}, .disk_max_ms = 5};
    list_init(&w->tasks);
}

void world_free(struct world *w)
{
    struct heap_node *node;

    while ((node = heap_first(&w->events)) != NULL) {
        heap_remove(&w->events, node);
        free(HEAP_ENTRY(node, struct world_event, node));
    }
    heap_free(&w->events);
}

void env_init(struct env *env, struct world *w)
{
    env->world = w;
    list_init(&env->works);
}

void world_at(struct world *w, int64_t delay_ms, struct world_event *event)
{
    heap_set(&w->events, &event->node, w->now_ms + delay_ms);
}

void world_settle(struct world *w)
{
    struct list *link;

    while ((link = list_pop_front(&w->tasks)) != NULL) {
        struct env_task *task = LIST_ENTRY(link, struct env_task, link);
        task->fn(task);
    }
}

bool world_next(struct world *w, int64_t until_ms)
{
    struct heap_node *node = heap_first(&w->events);

    if (node == NULL || node->key > until_ms) {
        w->now_ms = until_ms;
        return false;
    }
    heap_remove(&w->events, node);
    if (node->key > w->now_ms)
        w->now_ms = node->key;
    struct world_event *event = HEAP_ENTRY(node, struct world_event, node);
    event->fn(event);
    world_settle(w);
    return true;
}

/* ---- base/env.h --------------------------------------------------------- */

int64_t env_now_ms(struct env *env) { return env->world->now_ms; }

uint64_t env_random(struct env *env) { return prng_next(&env->world->prng); }

/* The timer's own heap node only says that it runs; `turn` holds the event. */
static struct timer_event *event_of(const struct env_timer *timer)
{
    return (struct timer_event *)(uintptr_t)timer->node.turn;
}

static void timer_fire(struct world_event *event)
{
    struct env_timer *timer = ((struct timer_event *)event)->timer;

    free(event);
    timer->node.index = 0;
    timer->fn(timer->arg);
}

void env_timer_stop(struct env *env, struct env_timer *timer)
{
    if (timer->node.index == 0)
        return;
    heap_remove(&env->world->events, &event_of(timer)->event.node);
    free(event_of(timer));
    timer->node.index = 0;
}

void env_timer_start(struct env *env, struct env_timer *timer, int64_t delay_ms)
{
    struct timer_event *e = xcalloc(1, sizeof *e);

    env_timer_stop(env, timer);
    e->event.fn = timer_fire;
    e->timer = timer;
    timer->node.index = 1;
    timer->node.turn = (uintptr_t)e;
    world_at(env->world, delay_ms, &e->event);
}

void env_post(struct env *to, struct env_task *task)
{
    list_push_back(&to->world->tasks, &task->link);
}

static void work_finish(struct work_event *e, bool run)
{
    struct env_work *work = e->work;

    list_remove(&e->link);
    free(e);
    if (run)
        work->run(work);
    work->done(work);
}

static void work_fire(struct world_event *event)
{
    work_finish((struct work_event *)event, true);
}

void env_work_start(struct env *env, struct env_work *work)
{
    struct work_event *e = xcalloc(1, sizeof *e);
    struct world *w = env->world;
    int64_t max = w->disk_max_ms;

    ASSERT(work->urgent); /* votes do not wait for logs to be opened */

    if (world_chance(w, 20))
        max *= 10;
    e->event.fn = work_fire;
    e->work = work;
    list_push_back(&env->works, &e->link);
    world_at(w, (int64_t)world_random(w, (uint64_t)max + 1), &e->event);
}

void env_crash(struct env *env)
{
    struct world *w = env->world;
    bool reached = true;

    while (!list_empty(&env->works)) {
        struct work_event *e =
            LIST_ENTRY(env->works.next, struct work_event, link);

        reached = reached && world_chance(w, 2);
        heap_remove(&w->events, &e->event.node);
        work_finish(e, reached);
    }
    world_settle(w);
}
