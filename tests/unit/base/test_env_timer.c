#include "base/env_libevent.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <time.h>

TestSuite(env_timer, .timeout = 20);

struct probe {
    struct env_timer timer;
    struct env *env;
    struct probe *stop; /* to stop in our callback, may be NULL */
    bool last;          /* ends the loop */
    int fired;
    int order;
    int64_t at_ms;
};

static int fired_in_all;

static void on_fire(void *arg)
{
    struct probe *p = arg;

    p->fired++;
    p->order = ++fired_in_all;
    p->at_ms = env_now_ms(p->env);
    if (p->stop != NULL)
        env_timer_stop(p->env, &p->stop->timer);
    if (p->last)
        env_stop(p->env);
}

static void probe_init(struct probe *p, struct env *env)
{
    *p = (struct probe){.timer = {.fn = on_fire, .arg = p}, .env = env};
}

Test(env_timer, fire_once_in_order_of_deadline_and_not_early)
{
    struct env *env = env_create();
    struct probe p[4];
    static const int delays[] = {30, 10, 20, 60};
    int64_t start = env_now_ms(env);

    for (int i = 0; i < 4; i++) {
        probe_init(&p[i], env);
        env_timer_start(env, &p[i].timer, delays[i]);
    }
    p[3].last = true;
    env_run(env);
    static const int order[] = {3, 1, 2, 4};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(p[i].fired, 1);
        cr_assert_eq(p[i].order, order[i]);
        cr_assert_geq(p[i].at_ms, start + delays[i]);
        cr_assert_not(env_timer_running(&p[i].timer));
    }
    env_free(env);
}

Test(env_timer, a_stopped_timer_is_silent_and_a_restarted_one_moves)
{
    struct env *env = env_create();
    struct probe killer, victim, moved, last;
    int64_t start = env_now_ms(env);

    probe_init(&killer, env);
    probe_init(&victim, env);
    probe_init(&moved, env);
    probe_init(&last, env);
    killer.stop = &victim;
    last.last = true;
    env_timer_start(env, &killer.timer, 5);
    env_timer_start(env, &victim.timer, 5);
    env_timer_start(env, &moved.timer, 1);
    env_timer_start(env, &moved.timer, 30);
    env_timer_start(env, &last.timer, 50);
    env_run(env);
    cr_assert_eq(killer.fired, 1);
    cr_assert_eq(victim.fired, 0);
    cr_assert_eq(moved.fired, 1);
    cr_assert_geq(moved.at_ms, start + 30);
    env_free(env);
}

struct starter {
    struct env_task task;
    struct probe *near;
};

static void start_near(struct env_task *task)
{
    struct probe *near = LIST_ENTRY(task, struct starter, task)->near;

    env_timer_start(near->env, &near->timer, 10);
}

/* When the task runs, the loop has prepared to sleep until the far one. */
Test(env_timer, a_near_deadline_is_not_hidden_by_a_far_one)
{
    struct env *env = env_create();
    struct probe far_off, near;
    struct starter starter = {{.fn = start_near}, &near};
    int64_t start = env_now_ms(env);

    probe_init(&far_off, env);
    probe_init(&near, env);
    near.last = true;
    env_timer_start(env, &far_off.timer, 12000);
    env_post(env, &starter.task);
    env_run(env);
    cr_assert_eq(far_off.fired, 0);
    cr_assert_lt(near.at_ms, start + 10000);
    env_free(env);
}

struct spinner {
    struct env_timer timer;
    struct env_timer other;
    struct env *env;
    int spins;
};

static void spin(void *arg)
{
    struct spinner *s = arg;

    s->spins++;
    env_timer_start(s->env, &s->timer, 0);
}

static void stop(void *arg) { env_stop(arg); }

Test(env_timer, one_that_restarts_itself_with_no_delay_starves_nobody)
{
    struct spinner s = {.timer = {.fn = spin, .arg = &s}, .env = env_create()};

    s.other = (struct env_timer){.fn = stop, .arg = s.env};
    env_timer_start(s.env, &s.timer, 0);
    env_timer_start(s.env, &s.other, 20);
    env_run(s.env);
    cr_assert_gt(s.spins, 1);
    env_free(s.env);
}

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

Test(env_timer, waiting_costs_no_processor_time)
{
    struct env *env = env_create();
    struct env_timer timer = {.fn = stop, .arg = env};

    env_timer_start(env, &timer, 300);
    int64_t before = cpu_us();
    env_run(env);
    cr_assert_lt(cpu_us() - before, 100000);
    env_free(env);
}

static void on_signal(void *arg)
{
    struct probe *p = arg;

    p->fired++;
    env_stop(p->env);
}

static void raise_term(void *arg) { raise(SIGTERM); }

Test(env_timer, signals_arrive_on_the_loop)
{
    struct probe p = {.env = env_create()};
    struct env_timer timer = {.fn = raise_term};

    env_on_signal(p.env, SIGTERM, on_signal, &p);
    env_timer_start(p.env, &timer, 1);
    env_run(p.env);
    cr_assert_eq(p.fired, 1);
    env_free(p.env);
}

Test(env_timer, random_numbers_differ)
{
    struct env *env = env_create();
    uint64_t seen[100];

    for (int i = 0; i < 100; i++) {
        seen[i] = env_random(env);
        for (int j = 0; j < i; j++)
            cr_assert_neq(seen[i], seen[j]);
    }
    env_free(env);
}
