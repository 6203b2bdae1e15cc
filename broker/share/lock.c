/* Acquisition locks: who does not acknowledge in time loses its records. */
#include "base/planted.h"
#include "broker/share/parts.h"

void share_run_time_out(struct share_partition *p, struct share_run *run,
                        struct share_update *update)
{
    bool last = run->deliveries >= p->config.delivery_count_limit &&
                !PLANTED(SHARE_IGNORES_LIMIT);

    share_run_disown(p, run);
    share_run_set(p, run, last ? SHARE_ARCHIVED : SHARE_AVAILABLE,
                  run->deliveries);
    share_run_dirty(p, run);
    if (!last)
        share_made_available(p, run, update);
}

int64_t share_partition_next_deadline(const struct share_partition *p)
{
    const struct heap_node *first = heap_first(&p->locks);
    int64_t lock_ms = first != NULL ? first->key : INT64_MAX;

    if (p->closed)
        return INT64_MAX;
    return lock_ms < p->retry_ms ? lock_ms : p->retry_ms;
}

static void time_out_due(struct share_partition *p, int64_t now_ms,
                         struct share_update *update)
{
    int64_t first = INT64_MAX, last = INT64_MIN;

    for (int i = 0; i < SHARE_TIMEOUTS_PER_TICK; i++) {
        struct heap_node *node = heap_first(&p->locks);

        if (node == NULL || node->key > now_ms)
            break;
        struct share_run *run = HEAP_ENTRY(node, struct share_run, lock);
        heap_remove(&p->locks, node);
        if (run->decided)
            continue; /* the write's end decides, see persist.c */
        first = run->first < first ? run->first : first;
        last = run->last > last ? run->last : last;
        share_run_time_out(p, run, update);
    }
    if (first <= last)
        share_runs_join(p, first, last);
}

void share_partition_tick(struct share_partition *p, int64_t now_ms,
                          struct share_update *update)
{
    if (p->closed)
        return;
    if (p->under_way && p->retry_ms <= now_ms) {
        p->retry_ms = INT64_MAX;
        update->write = &p->write;
    }
    time_out_due(p, now_ms, update);
    share_runs_trim(p, update);
    share_flush(p, update);
}
