/* The loop: turns, clock, timers, tasks, signals.
 *
 * A turn is one call into the kernel and everything that follows from it:
 *
 *     poll        libevent runs the callbacks of ready descriptors
 *     tasks       what other threads posted, in order
 *     timers      those that are due
 *     later       connections to resume or to dial
 *     flush       what all of the above queued, one writev per connection
 *     bury        memory of connections that ended
 *
 * If anything is left to do the next poll does not block.  Before it blocks the
 * loop says so in `asleep` and then looks at its inbox once more; a poster
 * pushes first and looks at `asleep` afterwards.  Both use sequentially
 * consistent operations, so at least one of them sees the other, and only the
 * poster that finds the loop asleep pays for a system call.
 *
 * The descriptors for waking and for timers are edge-triggered and never read:
 * each write or expiry is an edge of its own, and their counters cannot
 * overflow in the life of a machine. */
#include "base/env_internal.h"

#include "base/env_libevent.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct env_signal {
    struct list link;
    struct env *env;
    struct event *event;
    void (*fn)(void *arg);
    void *arg;
};

/* The loop that runs on this thread. */
static _Thread_local struct env *current;

/* ---- clock, chance -------------------------------------------------------*/

static int64_t clock_us(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t env_now_us(struct env *env) { return clock_us(CLOCK_MONOTONIC); }

void env_pause(struct env *env)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

int64_t env_wall_ms(struct env *env) { return clock_us(CLOCK_REALTIME) / 1000; }

int64_t env_now_ms(struct env *env) { return env->now_ms; }

void env_turn_begin(struct env *env)
{
    if (!env->clock_stale)
        return;
    env->now_ms = env_now_us(env) / 1000;
    env->clock_stale = false;
}

uint64_t env_random(struct env *env)
{
    uint64_t value;

    if (env->random_left < sizeof value) {
        /* Up to 256 bytes arrive whole once the kernel's pool is ready. */
        while (getrandom(env->random, sizeof env->random, 0) !=
               (ssize_t)sizeof env->random)
            ASSERT(errno == EINTR);
        env->random_left = sizeof env->random;
    }
    env->random_left -= sizeof value;
    memcpy(&value, env->random + env->random_left, sizeof value);
    return value;
}

/* ---- timers --------------------------------------------------------------*/

void env_timer_start(struct env *env, struct env_timer *timer, int64_t delay_ms)
{
    if (current != env) { /* set-up may take long, and has no turns */
        env->clock_stale = true;
        env_turn_begin(env);
    }
    if (delay_ms < 0)
        delay_ms = 0;
    if (delay_ms > INT64_MAX / 4)
        delay_ms = INT64_MAX / 4;
    heap_set(&env->timers, &timer->node, env->now_ms + delay_ms);
}

void env_timer_stop(struct env *env, struct env_timer *timer)
{
    heap_remove(&env->timers, &timer->node);
}

/* Timers started by these callbacks wait for the next turn, whatever their
 * delay: they have a later place in the order of insertion. */
static void run_timers(struct env *env)
{
    uint64_t limit = env->timers.turns;
    struct heap_node *first;

    while ((first = heap_first(&env->timers)) != NULL &&
           first->key <= env->now_ms && first->turn < limit) {
        struct env_timer *timer = HEAP_ENTRY(first, struct env_timer, node);

        heap_remove(&env->timers, first);
        timer->fn(timer->arg);
    }
}

static void arm_timer(struct env *env)
{
    struct heap_node *first = heap_first(&env->timers);

    if (first == NULL || first->key >= env->armed_ms)
        return;
    struct itimerspec at = {
        .it_value = {.tv_sec = first->key / 1000,
                     .tv_nsec = first->key % 1000 * 1000000},
    };
    if (timerfd_settime(env->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) == 0)
        env->armed_ms = first->key;
}

static void on_timer_fd(int fd, short what, void *arg)
{
    struct env *env = arg;

    env_turn_begin(env);
    env->armed_ms = INT64_MAX;
}

/* ---- tasks ---------------------------------------------------------------*/

static void wake(struct env *env)
{
    uint64_t one = 1;

    while (write(env->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void env_post(struct env *to, struct env_task *task)
{
    if (to == current) {
        list_push_back(&to->local, &task->link);
        return;
    }
    struct list *head = atomic_load(&to->inbox);
    do {
        task->link.next = head;
    } while (!atomic_compare_exchange_weak(&to->inbox, &head, &task->link));
    if (atomic_load(&to->asleep) && atomic_exchange(&to->asleep, false))
        wake(to);
}

static void on_wake_fd(int fd, short what, void *arg) { env_turn_begin(arg); }

static void run_tasks(struct env *env)
{
    struct list batch;
    struct list *node = atomic_exchange(&env->inbox, NULL);

    list_init(&batch);
    while (node != NULL) {
        struct list *next = node->next;

        list_push_front(&batch, node);
        node = next;
    }
    list_append_all(&batch, &env->local);
    while ((node = list_pop_front(&batch)) != NULL) {
        struct env_task *task = LIST_ENTRY(node, struct env_task, link);

        task->fn(task);
    }
}

/* ---- the turn ------------------------------------------------------------*/

static bool has_more(struct env *env)
{
    return !list_empty(&env->local) || !list_empty(&env->later) ||
           !list_empty(&env->dirty) || atomic_load(&env->inbox) != NULL ||
           atomic_load(&env->stopping);
}

static void poll_events(struct env *env)
{
    int flags = EVLOOP_ONCE;

    arm_timer(env);
    atomic_store(&env->asleep, true);
    if (has_more(env))
        flags |= EVLOOP_NONBLOCK;
    env->clock_stale = true;
    event_base_loop(env->base, flags);
    atomic_store(&env->asleep, false);
    env_turn_begin(env);
}

void env_run(struct env *env)
{
    ASSERT(current == NULL);
    current = env;
    while (!atomic_load(&env->stopping)) {
        poll_events(env);
        run_tasks(env);
        run_timers(env);
        env_conn_turn_end(env);
        env_listeners_bury(env);
    }
    atomic_store(&env->stopping, false);
    current = NULL;
}

void env_stop(struct env *env)
{
    atomic_store(&env->stopping, true);
    wake(env);
}

/* ---- signals -------------------------------------------------------------*/

static void on_signal(int signo, short what, void *arg)
{
    struct env_signal *signal = arg;

    env_turn_begin(signal->env);
    signal->fn(signal->arg);
}

void env_on_signal(struct env *env, int signo, void (*fn)(void *arg), void *arg)
{
    struct env_signal *signal = xcalloc(1, sizeof *signal);

    signal->env = env;
    signal->fn = fn;
    signal->arg = arg;
    signal->event = evsignal_new(env->base, signo, on_signal, signal);
    ASSERT(signal->event != NULL && event_add(signal->event, NULL) == 0);
    list_push_back(&env->signals, &signal->link);
}

/* ---- birth and end -------------------------------------------------------*/

static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();

    ASSERT(config != NULL);
    /* Our timers are our own, so libevent need not read a clock. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME);
    event_config_require_features(config, EV_FEATURE_ET);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static void watch_edges(struct env *env, struct event *event, int fd,
                        event_callback_fn fn)
{
    event_assign(event, env->base, fd, EV_READ | EV_PERSIST | EV_ET, fn, env);
    ASSERT(event_add(event, NULL) == 0);
}

static void prepare_process(void) { signal(SIGPIPE, SIG_IGN); }

struct env *env_create(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct env *env = xcalloc(1, sizeof *env);

    pthread_once(&once, prepare_process);
    env->base = base_new();
    env->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    env->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    ASSERT(env->base != NULL && env->wake_fd >= 0 && env->timer_fd >= 0);
    watch_edges(env, &env->wake_event, env->wake_fd, on_wake_fd);
    watch_edges(env, &env->timer_event, env->timer_fd, on_timer_fd);
    env->armed_ms = INT64_MAX;
    env->clock_stale = true;
    env_turn_begin(env);
    list_init(&env->local);
    list_init(&env->conns);
    list_init(&env->listeners);
    list_init(&env->closed_listeners);
    list_init(&env->lookups);
    list_init(&env->dirty);
    list_init(&env->later);
    list_init(&env->dead);
    list_init(&env->signals);
    env_work_join_pool();
    return env;
}

void env_free(struct env *env)
{
    ASSERT(current != env);
    env_conns_free(env);
    env_listeners_free(env);
    env_work_leave_pool(env);
    env_lookups_free(env);
    LIST_EACH_SAFE (node, tmp, &env->signals) {
        struct env_signal *signal = LIST_ENTRY(node, struct env_signal, link);

        event_free(signal->event);
        free(signal);
    }
    event_del(&env->wake_event);
    event_del(&env->timer_event);
    close(env->wake_fd);
    close(env->timer_fd);
    event_base_free(env->base);
    free(env->timers.nodes); /* the timers may be gone already */
    free(env->scratch);
    free(env);
}
