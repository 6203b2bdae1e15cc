/* Writes for the share coordinator: what goes into one, and its end.
 *
 * Runs that differ from what the coordinator knows are in the list `dirty`.  A
 * write takes them all.  What changes while it is under way is marked, and goes
 * back to the list when it ends.  Decisions of members want a write at once,
 * and so do locks that time out; whatever was refused goes along with the next.
 */
#include "broker/share/parts.h"

#include <stdlib.h>

void share_run_dirty(struct share_partition *p, struct share_run *run)
{
    if (run->persist == SHARE_CLEAN) {
        run->persist = SHARE_DIRTY;
        list_push_back(&p->dirty, &run->link);
    } else if (run->persist == SHARE_WRITING) {
        run->persist = SHARE_WRITING_AGAIN;
    }
    p->want = true;
}

void share_waiter_end(struct share_update *update, struct share_waiter *waiter,
                      enum err err)
{
    if (waiter == NULL)
        return;
    waiter->err = err;
    list_push_back(&update->ended, &waiter->link);
}

static void end_all(struct list *waiters, struct share_update *update,
                    enum err err)
{
    while (!list_empty(waiters))
        share_waiter_end(
            update,
            LIST_ENTRY(list_pop_front(waiters), struct share_waiter, link),
            err);
}

/* ---- a write -------------------------------------------------------------*/

/* Being acquired is not written down, and neither is the delivery that is not
 * over yet. */
static struct share_batch written_as(const struct share_run *run)
{
    if (run->decided)
        return (struct share_batch){run->first, run->last, run->next,
                                    run->deliveries};
    if (run->state == SHARE_ACQUIRED)
        return (struct share_batch){run->first, run->last, SHARE_AVAILABLE,
                                    (int16_t)(run->deliveries - 1)};
    return (struct share_batch){run->first, run->last, run->state,
                                run->deliveries};
}

static int by_offset(const void *a, const void *b)
{
    const struct share_batch *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

static uint32_t join_batches(struct share_batch *batches, uint32_t len)
{
    uint32_t kept = 0;

    for (uint32_t i = 1; i < len; i++) {
        struct share_batch *last = &batches[kept];

        if (last->last + 1 == batches[i].first &&
            last->state == batches[i].state &&
            last->deliveries == batches[i].deliveries)
            last->last = batches[i].last;
        else
            batches[++kept] = batches[i];
    }
    return len == 0 ? 0 : kept + 1;
}

static int32_t clamp_count(int64_t count)
{
    return count > INT32_MAX ? INT32_MAX : (int32_t)count;
}

static void fill(struct share_partition *p, struct share_write *write)
{
    int64_t complete = p->terminal;
    uint32_t len = 0;

    LIST_EACH (node, &p->dirty)
        len++;
    write->batches = len == 0 ? NULL : xcalloc(len, sizeof *write->batches);
    len = 0;
    while (!list_empty(&p->dirty)) {
        struct share_run *run =
            LIST_ENTRY(list_pop_front(&p->dirty), struct share_run, link);

        if (run->decided && share_state_is_terminal(run->next))
            complete += share_run_size(run);
        write->batches[len++] = written_as(run);
        run->persist = SHARE_WRITING;
        list_push_back(&p->writing, &run->link);
    }
    if (len != 0)
        qsort(write->batches, len, sizeof *write->batches, by_offset);
    write->batches_len = join_batches(write->batches, len);
    write->delivery_complete_count = clamp_count(complete);
}

void share_flush(struct share_partition *p, struct share_update *update)
{
    if (p->closed || p->under_way || !p->want)
        return;
    p->want = false;
    p->under_way = true;
    p->retry_ms = INT64_MAX;
    p->write.id++;
    p->write.state_epoch = p->state_epoch;
    p->write.leader_epoch = p->leader_epoch;
    p->write.start_offset = p->start;
    fill(p, &p->write);
    list_append_all(&p->waiting, &p->collected);
    update->write = &p->write;
}

/* ---- its end -------------------------------------------------------------*/

enum share_write_result share_write_result_of(enum err err)
{
    switch (err) {
    case ERR_NONE:
        return SHARE_WRITTEN;
    case ERR_FENCED_LEADER_EPOCH:
    case ERR_FENCED_STATE_EPOCH:
    case ERR_GROUP_ID_NOT_FOUND:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
        return SHARE_FENCED;
    case ERR_INVALID_REQUEST:
    case ERR_MESSAGE_TOO_LARGE:
    case ERR_RECORD_LIST_TOO_LARGE:
    case ERR_UNSUPPORTED_VERSION:
    case ERR_GROUP_AUTHORIZATION_FAILED:
    case ERR_CLUSTER_AUTHORIZATION_FAILED:
        return SHARE_REFUSED;
    default:
        /* A coordinator that says it is none any more may have written first,
         * and what it wrote may be what the next one loads. */
        return SHARE_IN_DOUBT;
    }
}

static void carry_out(struct share_partition *p, struct share_run *run,
                      struct share_update *update)
{
    enum share_state next = run->next;

    share_run_disown(p, run);
    share_run_set(p, run, next, run->deliveries);
    if (next == SHARE_AVAILABLE)
        share_made_available(p, run, update);
}

static void take_back(struct share_partition *p, struct share_run *run,
                      struct share_update *update)
{
    run->decided = false;
    if (!heap_has(&run->lock))
        share_run_time_out(p, run, update); /* it was over meanwhile */
}

/* Is dirty again, but no reason for a write of its own. */
static void keep_dirty(struct share_partition *p, struct share_run *run)
{
    run->persist = SHARE_DIRTY;
    list_push_back(&p->dirty, &run->link);
}

static void run_written(struct share_partition *p, struct share_run *run,
                        bool ok, struct share_update *update)
{
    bool again = run->persist == SHARE_WRITING_AGAIN;

    run->persist = SHARE_CLEAN;
    if (again || (!ok && !run->decided))
        keep_dirty(p, run);
    else if (run->decided && ok)
        carry_out(p, run, update);
    else if (run->decided)
        take_back(p, run, update);
}

static void end_write(struct share_partition *p, bool ok, enum err err,
                      struct share_update *update)
{
    int64_t first = INT64_MAX, last = INT64_MIN;

    p->under_way = false;
    free(p->write.batches);
    p->write.batches = NULL;
    while (!list_empty(&p->writing)) {
        struct share_run *run =
            LIST_ENTRY(list_pop_front(&p->writing), struct share_run, link);

        first = run->first < first ? run->first : first;
        last = run->last > last ? run->last : last;
        run_written(p, run, ok, update);
    }
    if (first <= last)
        share_runs_join(p, first, last);
    share_runs_trim(p, update);
    end_all(&p->waiting, update, err);
    share_flush(p, update);
}

void share_partition_written(struct share_partition *p, uint64_t id,
                             enum err err, int64_t now_ms,
                             struct share_update *update)
{
    if (p->closed || !p->under_way || id != p->write.id)
        return;
    switch (share_write_result_of(err)) {
    case SHARE_WRITTEN:
        end_write(p, true, ERR_NONE, update);
        break;
    case SHARE_REFUSED:
        end_write(p, false, err, update);
        break;
    case SHARE_IN_DOUBT:
        end_all(&p->waiting, update, err);
        /* Theirs goes along with the next, so it waits as long. */
        end_all(&p->collected, update, err);
        p->retry_ms = now_ms + SHARE_RETRY_MS;
        break;
    case SHARE_FENCED:
        share_partition_close(p, update);
        break;
    }
}

void share_partition_close(struct share_partition *p,
                           struct share_update *update)
{
    p->closed = true;
    p->retry_ms = INT64_MAX;
    end_all(&p->waiting, update, ERR_NOT_LEADER_OR_FOLLOWER);
    end_all(&p->collected, update, ERR_NOT_LEADER_OR_FOLLOWER);
    update->write = NULL;
    update->news = true; /* fetches that wait are to hear of it */
}

bool share_partition_is_closed(const struct share_partition *p)
{
    return p->closed;
}

bool share_partition_is_idle(const struct share_partition *p)
{
    return map_count(&p->members) == 0 && !p->under_way && !p->want;
}
