/* Helper threads: blocking work off the loops.
 *
 * One pool for the process, each thread started when work arrives and nobody is
 * idle.  Works wait in two queues.  WORK_THREADS_MAX threads take what is
 * urgent first; URGENT_THREADS_MAX more take nothing else.  They are asked
 * last, so that they are free when the others hang.
 *
 * A lane is an entry in a table from the moment its first work is queued until
 * its last one has run; works of a lane that is in the table wait behind it,
 * not in a queue, so each lane has at most one work queued or running:
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
    /* A name server that does not answer holds one of them (look-ups share a
     * lane). */
    URGENT_THREADS_MAX = 2,
    WORK_STACK_BYTES = 256 * 1024,
};

/* Threads that take the same works. */
struct crew {
    pthread_cond_t more; /* there is work for an idle one, or `ending` */
    unsigned len;
    unsigned idle; /* waiting for `more` */
};

struct queue {
    struct list works; /* env_work by task.link */
    unsigned len;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t fewer; /* some loop has no works left */
    struct queue urgent;
    struct queue others;
    struct map lanes; /* lane pointer -> struct lane */
    struct crew all_round;
    struct crew urgent_only;
    pthread_t threads[WORK_THREADS_MAX + URGENT_THREADS_MAX];
    unsigned threads_len;
    unsigned loops; /* that may start works */
    bool ending;
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .fewer = PTHREAD_COND_INITIALIZER,
    .urgent.works = {&pool.urgent.works, &pool.urgent.works},
    .others.works = {&pool.others.works, &pool.others.works},
    .all_round.more = PTHREAD_COND_INITIALIZER,
    .urgent_only.more = PTHREAD_COND_INITIALIZER,
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
static void enqueue(struct env_work *work)
{
    struct queue *q = work->urgent ? &pool.urgent : &pool.others;

    list_push_back(&q->works, &work->task.link);
    q->len++;
}

/* NULL: nothing for this crew.  Pool locked. */
static struct env_work *dequeue(const struct crew *crew)
{
    struct queue *q = &pool.urgent;

    if (q->len == 0 && crew == &pool.all_round)
        q = &pool.others;
    struct list *node = list_pop_front(&q->works);
    if (node == NULL)
        return NULL;
    q->len--;
    return LIST_ENTRY(node, struct env_work, task.link);
}

static void *all_round(void *arg);
static void *urgent_only(void *arg);

/* Signals are for the loops.  Pool locked. */
static void start_thread(struct crew *crew)
{
    pthread_attr_t attr;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORK_STACK_BYTES);
    int error =
        pthread_create(&pool.threads[pool.threads_len], &attr,
                       crew == &pool.all_round ? all_round : urgent_only, NULL);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        pthread_setname_np(pool.threads[pool.threads_len++], "helper");
        crew->len++;
        return;
    }
    log_error("server", "cannot start a helper thread: %s; %u are running",
              strerror(error), pool.threads_len);
    ASSERT(pool.threads_len != 0); /* the work would never be done */
}

/* Somebody takes what was queued.  A thread that was signalled still counts as
 * idle until it runs.  Pool locked. */
static void find_thread(bool urgent)
{
    struct crew *crew = &pool.all_round;
    unsigned queued = pool.urgent.len + pool.others.len;
    unsigned max = WORK_THREADS_MAX;

    if (urgent && crew->idle < queued && crew->len == max) {
        crew = &pool.urgent_only;
        queued = pool.urgent.len;
        max = URGENT_THREADS_MAX;
    }
    if (crew->idle < queued && crew->len < max)
        start_thread(crew);
    pthread_cond_signal(&crew->more);
}

/* The lane's next work joins a queue, or the lane ends.  Pool locked. */
static void lane_next(const void *lane_pointer, const struct crew *crew)
{
    struct lane *lane = map_get(&pool.lanes, lane_key(&lane_pointer));

    struct list *node = list_pop_front(&lane->works);
    if (node != NULL) {
        struct env_work *next = LIST_ENTRY(node, struct env_work, task.link);

        enqueue(next);
        /* Otherwise this thread will take one. */
        if (crew == &pool.urgent_only && !next->urgent)
            find_thread(false);
        return;
    }
    map_remove(&pool.lanes, lane_key(&lane_pointer));
    free(lane);
}

/* Pool locked, but not while the work runs: what the lane queues and what this
 * thread takes next are one step, so nobody else counts that work as waiting.
 */
static void run_one(struct env_work *work, const struct crew *crew)
{
    const void *lane = work->lane;
    struct env *home = work->home;
    bool returns = work->done != NULL;

    pthread_mutex_unlock(&pool.lock);
    work->run(work);
    /* From here on the home loop may free the work, or run() has. */
    if (returns)
        env_post(home, &work->task);
    pthread_mutex_lock(&pool.lock);
    if (lane != NULL)
        lane_next(lane, crew);
    /* Only now may env_free() go on. */
    if (atomic_fetch_sub(&home->works, 1) == 1)
        pthread_cond_broadcast(&pool.fewer);
}

static void help(struct crew *crew)
{
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        struct env_work *work = dequeue(crew);

        if (work != NULL) {
            run_one(work, crew);
        } else if (pool.ending) {
            break;
        } else {
            crew->idle++;
            pthread_cond_wait(&crew->more, &pool.lock);
            crew->idle--;
        }
    }
    pthread_mutex_unlock(&pool.lock);
}

static void *all_round(void *arg)
{
    help(&pool.all_round);
    return NULL;
}

static void *urgent_only(void *arg)
{
    help(&pool.urgent_only);
    return NULL;
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
        enqueue(work);
        find_thread(work->urgent);
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
        pthread_cond_broadcast(&pool.all_round.more);
        pthread_cond_broadcast(&pool.urgent_only.more);
        /* No loop is left to start works, so threads_len stays. */
        pthread_mutex_unlock(&pool.lock);
        for (unsigned i = 0; i < pool.threads_len; i++)
            pthread_join(pool.threads[i], NULL);
        pthread_mutex_lock(&pool.lock);
        pool.threads_len = pool.all_round.len = pool.urgent_only.len = 0;
        pool.ending = false;
        map_free(&pool.lanes);
        pool.lanes = MAP_INIT;
    }
    pthread_mutex_unlock(&pool.lock);
}
