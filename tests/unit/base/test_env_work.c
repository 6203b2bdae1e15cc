#include "base/env_libevent.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
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
            .work = {.lane = lane,
                     .urgent = i % 3 == 0,
                     .run = job_run,
                     .done = job_done},
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

/* ---- urgent works --------------------------------------------------------*/

enum { STUCK_MAX = 20, BEHIND = 100 };

/* Works that hang, as on a disk that does not answer, until they are let go. */
struct stuck {
    struct env *env;
    struct env_work works[STUCK_MAX];
    int len;
    sem_t running, go, go_urgent;
    atomic_int ran;  /* of `behind` */
    int done;        /* of the test's own works */
    int ran_by_then; /* when the urgent one ran */
    bool late;
    struct env_work behind[BEHIND];
};

static struct stuck stuck;

static void hang(struct env_work *work)
{
    sem_post(&stuck.running);
    while (sem_wait(work->urgent ? &stuck.go_urgent : &stuck.go) != 0)
        ;
}

static void done_hanging(struct env_work *work) { (void)work; }

/* As many as there are helpers for them, or fewer. */
static void start_hanging(int n, bool urgent, const void *lane)
{
    for (int i = 0; i < n; i++) {
        struct env_work *work = &stuck.works[stuck.len++];

        *work = (struct env_work){
            .lane = lane, .urgent = urgent, .run = hang, .done = done_hanging};
        env_work_start(stuck.env, work);
        while (sem_wait(&stuck.running) != 0)
            ;
    }
}

static void let_go(sem_t *go, int n)
{
    while (n-- > 0)
        sem_post(go);
}

static void run_behind(struct env_work *work)
{
    (void)work;
    atomic_fetch_add(&stuck.ran, 1);
}

static void run_mine(struct env_work *work)
{
    (void)work;
    stuck.ran_by_then = atomic_load(&stuck.ran);
}

static void mine_done(struct env_work *work)
{
    (void)work;
    stuck.done++;
    env_stop(stuck.env);
}

static void too_late(void *arg)
{
    stuck.late = true;
    env_stop(arg);
}

static void run_until_mine_is_done(void)
{
    struct env_timer timer = {.fn = too_late, .arg = stuck.env};

    env_timer_start(stuck.env, &timer, 10000);
    env_run(stuck.env);
    env_timer_stop(stuck.env, &timer);
}

static void stuck_begin(void)
{
    stuck.env = env_create();
    sem_init(&stuck.running, 0, 0);
    sem_init(&stuck.go, 0, 0);
    sem_init(&stuck.go_urgent, 0, 0);
}

static void start_behind(void)
{
    for (int i = 0; i < BEHIND; i++) {
        stuck.behind[i] = (struct env_work){.run = run_behind};
        env_work_start(stuck.env, &stuck.behind[i]);
    }
}

static struct env_work mine(bool urgent, const void *lane)
{
    return (struct env_work){
        .lane = lane, .urgent = urgent, .run = run_mine, .done = mine_done};
}

/* Raft's vote while a directory hangs and a thousand logs wait to be opened. */
Test(env_work, urgent_works_run_although_all_others_hang)
{
    stuck_begin();
    start_hanging(4, false, NULL);
    start_behind();
    for (int i = 0; i < 3; i++) {
        struct env_work urgent = mine(true, &stuck);

        env_work_start(stuck.env, &urgent);
        run_until_mine_is_done();
        cr_assert_eq(stuck.done, i + 1);
        cr_assert_eq(stuck.ran_by_then, 0);
    }
    let_go(&stuck.go, 4);
    env_free(stuck.env);
    cr_assert_eq(atomic_load(&stuck.ran), BEHIND);
}

Test(env_work, urgent_works_go_before_those_that_wait)
{
    struct env_work urgent = mine(true, NULL);

    stuck_begin();
    start_hanging(4, false, NULL);
    start_hanging(2, true, NULL);
    start_behind();
    env_work_start(stuck.env, &urgent);
    let_go(&stuck.go, 1);
    run_until_mine_is_done();
    cr_assert_not(stuck.late);
    cr_assert_eq(stuck.ran_by_then, 0);
    let_go(&stuck.go, 3);
    let_go(&stuck.go_urgent, 2);
    env_free(stuck.env);
    cr_assert_eq(atomic_load(&stuck.ran), BEHIND);
}

Test(env_work, a_lane_goes_on_with_a_work_that_is_not_urgent)
{
    struct env_work next = mine(false, &stuck);

    stuck_begin();
    start_hanging(4, false, NULL);
    start_hanging(1, true, &stuck);
    env_work_start(stuck.env, &next);
    let_go(&stuck.go, 4);
    for (int i = 0; i < 20; i++) { /* the four have nothing to do */
        struct env_timer timer = {.fn = too_late, .arg = stuck.env};

        env_timer_start(stuck.env, &timer, 5);
        env_run(stuck.env);
    }
    cr_assert_eq(stuck.done, 0, "its lane is busy");
    stuck.late = false;
    let_go(&stuck.go_urgent, 1);
    run_until_mine_is_done();
    cr_assert_not(stuck.late);
    env_free(stuck.env);
}

/* ---- the end -------------------------------------------------------------*/

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
