/* Helper threads: blocking work off the loops.
 *
 * One pool for the process, WORK_THREADS_MAX threads at most, each started when
 * work arrives and nobody is idle.  Works wait in one queue.  A lane is an
 * entry in a table from the moment its first work is queued until its last one
 * has run; works of a lane that is in the table wait behind it, not in the
 * queue, so each lane has at most one work queued or running:
 *
 *     start:  lane absent -> enter it, queue the work
 *             lane there  -> append to the lane
 *     ran:    post done() home, then
 *             lane has more -> queue the next one
 *             lane empty    -> remove it
 *
 * done() is posted before the lane moves on, so one lane's done() calls arrive
 * in order too. */
#include "base/env_internal.h"
#include "base/log.h"
#include "base/map.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    WORK_THREADS_MAX = 4,
    WORK_STACK_BYTES = 256 * 1024,
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;  /* the queue got work, or `ending` */
    pthread_cond_t fewer; /* some loop has no works left */
    struct list queue;    /* env_work by task.link */
    unsigned queued;      /* its length */
    struct map lanes;     /* lane pointer -> struct lane */
    pthread_t threads[WORK_THREADS_MAX];
    unsigned threads_len;
    unsigned idle;  /* threads waiting for `more` */
    unsigned loops; /* that may start works */
    bool ending;
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .more = PTHREAD_COND_INITIALIZER,
    .fewer = PTHREAD_COND_INITIALIZER,
    .queue = {&pool.queue, &pool.queue},
};

struct lane {
    struct list works;
};

static struct slice lane_key(const void *const *lane)
{
    return slice_of(lane, sizeof *lane);
}

static void work_done(struct env_task *task)
{
    struct env_work *work = LIST_ENTRY(task, struct env_work, task);

    work->done(work);
}

/* Pool locked. */
static void enqueue(struct list *node)
{
    list_push_back(&pool.queue, node);
    pool.queued++;
}

/* The lane's next work joins the queue, or the lane ends.  Pool locked. */
static void lane_next(const void *lane_pointer)
{
    struct lane *lane = map_get(&pool.lanes, lane_key(&lane_pointer));

    struct list *next = list_pop_front(&lane->works);
    if (next != NULL) {
        enqueue(next);
        return;
    }
    map_remove(&pool.lanes, lane_key(&lane_pointer));
    free(lane);
}

static void run_one(struct env_work *work)
{
    const void *lane = work->lane;
    struct env *home = work->home;
    bool returns = work->done != NULL;

    work->run(work);
    /* From here on the home loop may free the work, or run() has. */
    if (returns)
        env_post(home, &work->task);
    pthread_mutex_lock(&pool.lock);
    if (lane != NULL)
        lane_next(lane);
    /* Only now may env_free() go on. */
    if (atomic_fetch_sub(&home->works, 1) == 1)
        pthread_cond_broadcast(&pool.fewer);
    pthread_mutex_unlock(&pool.lock);
}

static void *helper(void *arg)
{
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        struct list *node = list_pop_front(&pool.queue);

        if (node != NULL) {
            pool.queued--;
            pthread_mutex_unlock(&pool.lock);
            run_one(LIST_ENTRY(node, struct env_work, task.link));
            pthread_mutex_lock(&pool.lock);
        } else if (pool.ending) {
            break;
        } else {
            pool.idle++;
            pthread_cond_wait(&pool.more, &pool.lock);
            pool.idle--;
        }
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* Signals are for the loops.  Pool locked. */
static void start_thread(void)
{
    pthread_attr_t attr;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORK_STACK_BYTES);
    int error =
        pthread_create(&pool.threads[pool.threads_len], &attr, helper, NULL);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        pthread_setname_np(pool.threads[pool.threads_len++], "helper");
        return;
    }
    log_error("server", "cannot start a helper thread: %s; %u are running",
              strerror(error), pool.threads_len);
    ASSERT(pool.threads_len != 0); /* the work would never be done */
}

void env_work_start(struct env *env, struct env_work *work)
{
    work->home = env;
    work->task.fn = work_done;
    atomic_fetch_add(&env->works, 1);
    pthread_mutex_lock(&pool.lock);
    struct lane *lane =
        work->lane == NULL ? NULL : map_get(&pool.lanes, lane_key(&work->lane));
    if (lane != NULL) {
        list_push_back(&lane->works, &work->task.link);
    } else {
        if (work->lane != NULL) {
            lane = xmalloc(sizeof *lane);
            list_init(&lane->works);
            map_put(&pool.lanes, lane_key(&work->lane), lane);
        }
        enqueue(&work->task.link);
        /* A thread that was signalled still counts as idle until it runs. */
        if (pool.idle < pool.queued && pool.threads_len < WORK_THREADS_MAX)
            start_thread();
        pthread_cond_signal(&pool.more);
    }
    pthread_mutex_unlock(&pool.lock);
}

struct closing {
    struct env_work work;
    int fd;
};

static void run_close(struct env_work *work)
{
    struct closing *c = LIST_ENTRY(work, struct closing, work);

    close(c->fd);
    free(c);
}

void env_work_close(struct env *env, int fd)
{
    struct closing *c = xmalloc(sizeof *c);

    *c = (struct closing){.work.run = run_close, .fd = fd};
    env_work_start(env, &c->work); /* nobody waits: no done() */
}

void env_work_join_pool(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.loops++;
    pthread_mutex_unlock(&pool.lock);
}

void env_work_leave_pool(struct env *env)
{
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&env->works) != 0)
        pthread_cond_wait(&pool.fewer, &pool.lock);
    if (--pool.loops == 0) {
        pool.ending = true;
        pthread_cond_broadcast(&pool.more);
        /* No loop is left to start works, so threads_len stays. */
        pthread_mutex_unlock(&pool.lock);
        for (unsigned i = 0; i < pool.threads_len; i++)
            pthread_join(pool.threads[i], NULL);
        pthread_mutex_lock(&pool.lock);
        pool.threads_len = 0;
        pool.ending = false;
        map_free(&pool.lanes);
        pool.lanes = MAP_INIT;
    }
    pthread_mutex_unlock(&pool.lock);
}
