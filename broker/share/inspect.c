/* Numbers, invariants, and the window as text. */
#include "broker/share/parts.h"

void share_partition_stats(const struct share_partition *p,
                           struct share_partition_stats *stats)
{
    *stats = (struct share_partition_stats){
        .start = p->start,
        .end = p->end,
        .in_flight = p->end - p->start - p->gaps,
        .delivery_complete = p->terminal,
        .runs = (uint32_t)p->len,
        .members = map_count(&p->members),
    };
}

bool share_partition_look(const struct share_partition *p, int64_t offset,
                          struct share_batch *alike, struct slice *member)
{
    size_t i = share_runs_find(p, offset);

    if (i == p->len || share_run_at(p, i)->first > offset)
        return false;
    const struct share_run *run = share_run_at(p, i);
    *alike = (struct share_batch){run->first, run->last, run->state,
                                  run->deliveries};
    *member = run->owner != NULL ? run->owner->id : SLICE_NULL;
    return true;
}

/* ---- invariants ----------------------------------------------------------*/

static void check_run(const struct share_partition *p,
                      const struct share_run *run)
{
    bool acquired = run->state == SHARE_ACQUIRED;

    ASSERT(run->first <= run->last);
    ASSERT(acquired == (run->owner != NULL));
    ASSERT(acquired == !list_unlinked(&run->owned));
    ASSERT(!heap_has(&run->lock) || acquired);
    ASSERT(!acquired || heap_has(&run->lock) || run->decided);
    ASSERT(!run->decided || (acquired && run->persist != SHARE_CLEAN));
    ASSERT((run->persist == SHARE_CLEAN) == list_unlinked(&run->link));
    ASSERT(run->state != SHARE_AVAILABLE || run->first >= p->available_from ||
           run->last < p->available_from || p->closed);
    ASSERT(run->state != SHARE_AVAILABLE || run->last >= p->available_from ||
           p->closed);
}

static size_t list_len(const struct list *list)
{
    size_t len = 0;

    LIST_EACH (node, list)
        len++;
    return len;
}

void share_partition_check(const struct share_partition *p)
{
    int64_t at = p->start, terminal = 0, gaps = 0;
    size_t linked = 0;

    for (size_t i = 0; i < p->len; i++) {
        const struct share_run *run = share_run_at(p, i);

        ASSERT(run->first == at);
        at = run->last + 1;
        check_run(p, run);
        terminal +=
            share_state_is_terminal(run->state) ? share_run_size(run) : 0;
        gaps += share_run_is_gap(run) ? share_run_size(run) : 0;
        linked += run->persist != SHARE_CLEAN;
    }
    ASSERT(at == p->end);
    ASSERT(terminal == p->terminal && gaps == p->gaps);
    ASSERT(p->len == 0 || !share_state_is_terminal(share_run_at(p, 0)->state));
    ASSERT(linked == list_len(&p->dirty) + list_len(&p->writing));
    ASSERT(p->under_way || list_empty(&p->writing) || p->closed);
    ASSERT(p->under_way || list_empty(&p->waiting));
    MAP_EACH (entry, &p->members)
        ASSERT(!list_empty(&((struct share_member *)entry->value)->runs));
}

/* ---- text ----------------------------------------------------------------*/

static const char *state_name(enum share_state state)
{
    switch (state) {
    case SHARE_AVAILABLE:
        return "available";
    case SHARE_ACQUIRED:
        return "acquired";
    case SHARE_ACKNOWLEDGED:
        return "acknowledged";
    case SHARE_ARCHIVED:
        return "archived";
    }
    return "?";
}

void share_partition_dump(const struct share_partition *p, struct buf *out)
{
    buf_printf(out, "[%lld, %lld)\n", (long long)p->start, (long long)p->end);
    for (size_t i = 0; i < p->len; i++) {
        const struct share_run *run = share_run_at(p, i);

        buf_printf(out, "%lld-%lld %s %d", (long long)run->first,
                   (long long)run->last, state_name(run->state),
                   run->deliveries);
        if (run->owner != NULL)
            buf_printf(out, " %.*s", SLICE_FMT(run->owner->id));
        if (run->decided)
            buf_printf(out, " -> %s", state_name(run->next));
        buf_printf(out, "\n");
    }
}
