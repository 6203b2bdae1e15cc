#include "base/env_libevent.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

TestSuite(env_work, .timeout = 30);

enum { LANES = 5, PER_LANE = 200 };

struct lane {
    int ran;         /* touched by one work at a time, by contract */
    int done;        /* touched by the loop */
    atomic_int busy; /* works of the lane running now */
};

struct bench {
    struct env *env;
    pthread_t loop;
    struct lane lanes[LANES];
    int left;
};

struct job {
    struct env_work work;
    struct bench *bench;
    struct lane *lane;
    int number;
    bool overlapped, misordered, on_loop;
};

static void job_run(struct env_work *work)
{
    struct job *j = LIST_ENTRY(work, struct job, work);

    j->overlapped = atomic_fetch_add(&j->lane->busy, 1) != 0;
    j->misordered = j->lane->ran++ != j->number;
    j->on_loop = pthread_equal(pthread_self(), j->bench->loop);
    atomic_fetch_sub(&j->lane->busy, 1);
}

static void job_done(struct env_work *work)
{
    struct job *j = LIST_ENTRY(work, struct job, work);

    cr_assert_not(j->overlapped);
    cr_assert_not(j->misordered);
    cr_assert_not(j->on_loop);
    cr_assert_eq(j->lane->done++, j->number);
    cr_assert(pthread_equal(pthread_self(), j->bench->loop));
    if (--j->bench->left == 0)
        env_stop(j->bench->env);
}

Test(env_work, a_lane_runs_in_order_one_at_a_time_and_ends_on_the_loop)
{
    static struct bench bench;
    static struct job jobs[LANES * PER_LANE];

    bench.env = env_create();
    bench.loop = pthread_self();
    bench.left = LANES * PER_LANE;
    for (int i = 0; i < LANES * PER_LANE; i++) {
        struct lane *lane = &bench.lanes[i % LANES];

        jobs[i] = (struct job){
            .work = {.lane = lane, .run = job_run, .done = job_done},
            .bench = &bench,
            .lane = lane,
            .number = i / LANES,
        };
        env_work_start(bench.env, &jobs[i].work);
    }
    env_run(bench.env);
    for (int i = 0; i < LANES; i++)
        cr_assert_eq(bench.lanes[i].done, PER_LANE);
    env_free(bench.env);
}

/* Two works without a lane that wait for each other need two threads. */
struct meeting {
    pthread_barrier_t barrier;
    struct env *env;
    struct env_work works[2];
    int left;
};

static struct meeting meeting;

static void meet(struct env_work *work)
{
    pthread_barrier_wait(&meeting.barrier);
}

static void met(struct env_work *work)
{
    if (--meeting.left == 0)
        env_stop(meeting.env);
}

Test(env_work, without_a_lane_works_run_side_by_side)
{
    meeting.env = env_create();
    meeting.left = 2;
    pthread_barrier_init(&meeting.barrier, NULL, 2);
    for (int i = 0; i < 2; i++) {
        meeting.works[i] = (struct env_work){.run = meet, .done = met};
        env_work_start(meeting.env, &meeting.works[i]);
    }
    env_run(meeting.env);
    cr_assert_eq(meeting.left, 0);
    env_free(meeting.env);
    pthread_barrier_destroy(&meeting.barrier);
}

static atomic_int left_over;

static void count(struct env_work *work) { atomic_fetch_add(&left_over, 1); }

static void never(struct env_work *work)
{
    cr_assert_fail("done() after env_free()");
}

Test(env_work, free_waits_for_works_under_way)
{
    static struct env_work works[50];

    for (int round = 0; round < 3; round++) { /* the pool starts anew */
        struct env *env = env_create();
        atomic_store(&left_over, 0);
        for (int i = 0; i < 50; i++) {
            works[i] = (struct env_work){
                .lane = i % 2 ? works : NULL, .run = count, .done = never};
            env_work_start(env, &works[i]);
        }
        env_free(env);
        cr_assert_eq(atomic_load(&left_over), 50);
    }
}
