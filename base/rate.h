/* A bound on an amount per second, shared by threads without a lock: the
 * generic cell rate algorithm (GCRA).  What was taken so far, spread evenly at
 * the rate, will have been due at `due_ns`; a burst may run ahead of that.
 *
 * It stands for Kafka's average over quota.window.num windows: as there, who
 * was quiet for (windows - 1) windows may take at once what the rate gives in
 * that time, and who takes more is late by what it takes the average to come
 * down. */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rate {
    _Atomic int64_t due_ns;
};

#define RATE_SECOND_NS INT64_C(1000000000)

/* How long `amount` takes at `per_second`, at most a thousand years. */
static inline int64_t rate_cost_ns(double amount, double per_second)
{
    double ns = amount / per_second * (double)RATE_SECOND_NS;

    return ns < 3e18 ? (int64_t)ns : INT64_C(3000000000000000000);
}

/* By how much those before are ahead of the rate and the burst; 0: they are
 * not. */
static inline int64_t rate_ahead_ns(const struct rate *r, int64_t burst_ns,
                                    int64_t now_ns)
{
    int64_t ahead = atomic_load(&r->due_ns) - now_ns;

    return ahead > burst_ns ? ahead - burst_ns : 0;
}

/* The same, had `cost` been taken. */
static inline int64_t rate_would_be_ns(const struct rate *r, int64_t cost_ns,
                                       int64_t burst_ns, int64_t now_ns)
{
    int64_t due = atomic_load(&r->due_ns);
    int64_t ahead = (due > now_ns ? due - now_ns : 0) + cost_ns;

    return ahead > burst_ns ? ahead - burst_ns : 0;
}

/* Takes it; returns how long the taker should pause then.  Any thread. */
static inline int64_t rate_take_ns(struct rate *r, int64_t cost_ns,
                                   int64_t burst_ns, int64_t now_ns)
{
    int64_t due = atomic_load(&r->due_ns);
    int64_t next;

    do {
        int64_t from = due > now_ns ? due : now_ns;

        next = from > INT64_MAX - cost_ns ? INT64_MAX : from + cost_ns;
    } while (!atomic_compare_exchange_weak(&r->due_ns, &due, next));
    return next - now_ns > burst_ns ? next - now_ns - burst_ns : 0;
}

#endif
