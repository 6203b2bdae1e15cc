/* A share-partition as a whole: life, loading, where to fetch, the start of the
 * log. */
#include "base/planted.h"
#include "broker/share/parts.h"

#include <stdlib.h>

void share_partition_config_init(struct share_partition_config *config)
{
    *config = (struct share_partition_config){
        .delivery_count_limit = 5,
        .record_lock_duration_ms = 30000,
        .max_record_locks = 2000,
        .renew_enabled = true,
    };
}

void share_update_init(struct share_update *update)
{
    list_init(&update->ended);
    update->write = NULL;
    update->news = false;
}

/* ---- life ----------------------------------------------------------------*/

/* Configuration is checked where it comes in. */
static void check_config(const struct share_partition_config *config)
{
    ASSERT(config->delivery_count_limit >= 1 &&
           config->delivery_count_limit <= INT16_MAX);
    ASSERT(config->record_lock_duration_ms >= 1 &&
           config->max_record_locks >= 1);
}

static bool batch_ok(const struct share_batch *batch, int64_t after)
{
    return batch->first >= after && batch->last >= batch->first &&
           batch->last < INT64_MAX && batch->deliveries >= 0 &&
           (batch->state == SHARE_AVAILABLE || batch->state == SHARE_ACQUIRED ||
            share_state_is_terminal(batch->state));
}

static bool loaded_ok(const struct share_loaded *loaded, int64_t start)
{
    int64_t after = start;

    for (uint32_t i = 0; i < loaded->batches_len; i++) {
        if (!batch_ok(&loaded->batches[i], after))
            return false;
        after = loaded->batches[i].last + 1;
    }
    return start >= 0;
}

static void load(struct share_partition *p, const struct share_loaded *loaded)
{
    for (uint32_t i = 0;
         i < loaded->batches_len && !PLANTED(SHARE_LOADS_START_ONLY); i++) {
        const struct share_batch *batch = &loaded->batches[i];
        enum share_state state = share_state_is_terminal(batch->state)
                                     ? batch->state
                                     : SHARE_AVAILABLE;

        if (batch->first > p->end)
            share_runs_append(p, batch->first - 1, SHARE_AVAILABLE, 0);
        share_runs_append(p, batch->last, state,
                          PLANTED(SHARE_FORGETS_DELIVERIES) &&
                                  state == SHARE_AVAILABLE
                              ? 0
                              : batch->deliveries);
    }
    if (p->len != 0)
        share_runs_join(p, p->start, p->end - 1);
}

struct share_partition *
share_partition_create(const struct share_partition_config *config,
                       int32_t leader_epoch, const struct share_loaded *loaded,
                       struct share_update *update)
{
    bool unknown = loaded->start_offset == SHARE_START_UNKNOWN;
    int64_t start = unknown ? loaded->initial_offset : loaded->start_offset;

    if (!loaded_ok(loaded, start))
        return NULL;
    struct share_partition *p = xcalloc(1, sizeof *p);
    share_partition_configure(p, config);
    p->leader_epoch = leader_epoch;
    p->state_epoch = loaded->state_epoch;
    p->start = p->end = p->available_from = start;
    list_init(&p->dirty);
    list_init(&p->writing);
    list_init(&p->collected);
    list_init(&p->waiting);
    p->retry_ms = INT64_MAX;
    load(p, loaded);
    share_runs_trim(p, update);
    p->want = unknown;
    share_flush(p, update);
    return p;
}

void share_partition_free(struct share_partition *p)
{
    if (p == NULL)
        return;
    ASSERT(list_empty(&p->waiting) && list_empty(&p->collected));
    if (p->len != 0)
        share_runs_drop_below(p, p->end);
    ASSERT(map_count(&p->members) == 0 && heap_first(&p->locks) == NULL);
    map_free(&p->members);
    heap_free(&p->locks);
    free(p->runs);
    free(p->write.batches);
    free(p);
}

void share_partition_configure(struct share_partition *p,
                               const struct share_partition_config *config)
{
    check_config(config);
    p->config = *config;
}

/* ---- fetching ------------------------------------------------------------*/

void share_made_available(struct share_partition *p,
                          const struct share_run *run,
                          struct share_update *update)
{
    if (run->first < p->available_from)
        p->available_from = run->first;
    update->news = true;
}

int64_t share_partition_next_fetch(struct share_partition *p)
{
    size_t i = share_runs_find(p, p->available_from);

    while (i < p->len && share_run_at(p, i)->state != SHARE_AVAILABLE)
        i++;
    p->available_from = i < p->len ? share_run_at(p, i)->first : p->end;
    return p->available_from;
}

bool share_partition_can_acquire(struct share_partition *p)
{
    return !p->closed &&
           (share_partition_next_fetch(p) < p->end ||
            p->end - p->start - p->gaps < p->config.max_record_locks);
}

/* ---- the log -------------------------------------------------------------*/

void share_partition_log_start(struct share_partition *p, int64_t log_start,
                               struct share_update *update)
{
    if (p->closed || log_start <= p->start)
        return;
    share_runs_drop_below(p, log_start);
    share_runs_trim(p, update);
    update->news = true;
}
