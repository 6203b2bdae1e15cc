#include "base/env_libevent.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

TestSuite(env_task, .timeout = 30);

enum { POSTERS = 4, PER_POSTER = 20000 };

struct poster;

struct parcel {
    struct env_task task;
    struct poster *from;
    int number;
};

struct inbox {
    struct env *env;
    int left;
    bool out_of_order;
};

struct poster {
    pthread_t thread;
    struct inbox *to;
    struct parcel *parcels;
    int next; /* expected on the loop */
};

static void on_parcel(struct env_task *task)
{
    struct parcel *p = LIST_ENTRY(task, struct parcel, task);
    struct inbox *inbox = p->from->to;

    if (p->number != p->from->next++)
        inbox->out_of_order = true;
    if (--inbox->left == 0)
        env_stop(inbox->env);
}

static void *post_all(void *arg)
{
    struct poster *poster = arg;

    for (int i = 0; i < PER_POSTER; i++) {
        struct parcel *p = &poster->parcels[i];

        *p = (struct parcel){{.fn = on_parcel}, poster, i};
        env_post(poster->to->env, &p->task);
    }
    return NULL;
}

Test(env_task, from_several_threads_all_arrive_and_each_in_its_order)
{
    struct inbox inbox = {env_create(), POSTERS * PER_POSTER, false};
    struct poster posters[POSTERS];

    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){
            .to = &inbox,
            .parcels = calloc(PER_POSTER, sizeof(struct parcel)),
        };
        pthread_create(&posters[i].thread, NULL, post_all, &posters[i]);
    }
    env_run(inbox.env);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        cr_assert_eq(posters[i].next, PER_POSTER);
        free(posters[i].parcels);
    }
    cr_assert_not(inbox.out_of_order);
    env_free(inbox.env);
}

/* Two loops that answer each other: each message finds the other one asleep,
 * so a single lost wake-up hangs the test. */
enum { ROUNDS = 20000 };

struct side {
    struct env_task task; /* to this side */
    struct env *env;
    struct side *peer;
    int rounds;
};

static void on_ball(struct env_task *task)
{
    struct side *side = LIST_ENTRY(task, struct side, task);

    if (++side->rounds == ROUNDS)
        env_stop(side->env);
    env_post(side->peer->env, &side->peer->task);
}

static void *run_side(void *arg)
{
    struct side *side = arg;

    env_run(side->env);
    return NULL;
}

Test(env_task, a_loop_that_sleeps_is_always_woken)
{
    struct side a = {.task = {.fn = on_ball}, .env = env_create()};
    struct side b = {.task = {.fn = on_ball}, .env = env_create()};
    pthread_t thread;

    a.peer = &b;
    b.peer = &a;
    env_post(a.env, &a.task);
    pthread_create(&thread, NULL, run_side, &b);
    env_run(a.env);
    pthread_join(thread, NULL);
    cr_assert_eq(a.rounds, ROUNDS);
    cr_assert_eq(b.rounds, ROUNDS);
    env_free(a.env);
    env_free(b.env);
}

/* A task posted by a task to its own loop runs later, not inside. */
struct nested {
    struct env_task outer;
    struct env_task inner;
    struct env *env;
    bool inside;
    bool inner_ran;
};

static void on_inner(struct env_task *task)
{
    struct nested *n = LIST_ENTRY(task, struct nested, inner);

    cr_assert_not(n->inside);
    n->inner_ran = true;
    env_stop(n->env);
}

static void on_outer(struct env_task *task)
{
    struct nested *n = LIST_ENTRY(task, struct nested, outer);

    n->inside = true;
    env_post(n->env, &n->inner);
    n->inside = false;
}

Test(env_task, to_the_own_loop_runs_after_the_caller_returned)
{
    struct nested n = {.outer = {.fn = on_outer},
                       .inner = {.fn = on_inner},
                       .env = env_create()};

    env_post(n.env, &n.outer);
    env_run(n.env);
    cr_assert(n.inner_ran);
    env_free(n.env);
}

Test(env_task, stop_before_run_is_not_lost)
{
    struct env *env = env_create();

    env_stop(env);
    env_run(env);
    env_free(env);
}
