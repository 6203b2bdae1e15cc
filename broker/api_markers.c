/* WriteTxnMarkers: a transaction's coordinator has it ended in partitions that
 * this broker leads.  Each marker is answered when it is committed; the
 * coordinator repeats those with an error, and after a change of leader asks
 * the new one. */
#include "base/alloc.h"
#include "base/assert.h"
#include "broker/dispatch.h"
#include "broker/scatter.h"
#include "broker/shard.h"
#include "broker/txn_client.h"

struct marker_write {
    struct partition_waiter waiter;
    struct env_timer timer;
    struct env *env;
    struct scatter_item *item;
    struct control_marker marker;
    struct marker_origin origin;
    int32_t timeout_ms;
    struct write_txn_markers_response_writable_txn_marker_partition_result *a;
};

/* ---- on the owner's shard ------------------------------------------------ */

static void finish(struct marker_write *w, enum err error)
{
    env_timer_stop(w->env, &w->timer);
    w->item->error = error;
    if (w->item->deferred)
        scatter_item_done(w->item);
    else
        w->env = NULL; /* partition_wait() has not returned */
}

static void committed(struct partition_waiter *waiter, enum err error)
{
    finish((struct marker_write *)(void *)waiter, error);
}

/* It stays in the log, and may be committed yet; a second one does no harm. */
static void timed_out(void *arg)
{
    struct marker_write *w = arg;

    list_remove(&w->waiter.link);
    finish(w, ERR_REQUEST_TIMED_OUT);
}

/* Nobody has such an id or epoch. */
static enum err check(const struct control_marker *m)
{
    if (m->producer_id < 0)
        return ERR_INVALID_PRODUCER_ID_MAPPING;
    return m->producer_epoch < 0 ? ERR_INVALID_PRODUCER_EPOCH : ERR_NONE;
}

static void run(struct scatter_item *item, struct partition *p)
{
    struct marker_write *w = item->arg;
    struct partition_append result;

    if (p == NULL)
        return;
    item->error = check(&w->marker);
    if (item->error == ERR_NONE)
        item->error =
            partition_write_marker(p, &w->marker, &w->origin, &result);
    if (item->error != ERR_NONE)
        return;
    w->env = p->shard->env;
    w->timer.fn = timed_out;
    w->timer.arg = w;
    w->waiter.end_offset = result.end_offset;
    w->waiter.done = committed;
    partition_wait(p, &w->waiter, -1);
    if (w->env == NULL)
        return;
    item->deferred = true;
    env_timer_start(w->env, &w->timer, w->timeout_ms);
}

/* ---- at home ------------------------------------------------------------- */

static void done(struct scatter *s)
{
    for (int i = 0; i < s->items_len; i++) {
        struct marker_write *w = s->items[i].arg;

        w->a->partition_index = s->items[i].index;
        w->a->error_code = err_wire(s->items[i].error);
    }
    request_respond(s->request, s->arg);
}

/* One item per partition, or only their number. */
static int
add_marker(struct request *r, struct scatter *s, int at,
           const struct write_txn_markers_request_writable_txn_marker *q,
           struct write_txn_markers_response_writable_txn_marker_result *a)
{
    write_txn_markers_response_writable_txn_marker_result_init(a);
    a->producer_id = q->producer_id;
    a->topics =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *a->topics);
    a->topics_len = q->topics_len;
    for (int i = 0; i < q->topics_len; i++) {
        const struct write_txn_markers_request_writable_txn_marker_topic *t =
            &q->topics[i];
        struct write_txn_markers_response_writable_txn_marker_topic_result
            *out = &a->topics[i];

        write_txn_markers_response_writable_txn_marker_topic_result_init(out);
        out->name = arena_copy(&r->arena, t->name);
        out->partitions =
            arena_array(&r->arena, (size_t)t->partition_indexes_len,
                        sizeof *out->partitions);
        out->partitions_len = t->partition_indexes_len;
        for (int j = 0; j < t->partition_indexes_len; j++, at++) {
            struct marker_write *w = arena_alloc(&r->arena, sizeof *w);

            w->marker = (struct control_marker){
                .producer_id = q->producer_id,
                .producer_epoch = q->producer_epoch,
                .coordinator_epoch = q->coordinator_epoch,
                .commit = q->transaction_result,
            };
            w->origin.transaction_version = q->transaction_version;
            w->origin.decision = q->decision;
            w->timeout_ms = txn_client_answer_ms(r->shard->broker->config);
            w->a = &out->partitions[j];
            write_txn_markers_response_writable_txn_marker_partition_result_init(
                w->a);
            w->item =
                scatter_set(s, at, t->name, NULL, t->partition_indexes[j], w);
        }
    }
    return at;
}

static int count_partitions(const struct write_txn_markers_request *q)
{
    int count = 0;

    for (int i = 0; i < q->markers_len; i++)
        for (int j = 0; j < q->markers[i].topics_len; j++)
            count += q->markers[i].topics[j].partition_indexes_len;
    return count;
}

void api_write_txn_markers(struct request *r)
{
    const struct write_txn_markers_request *q = r->msg;
    struct write_txn_markers_response *a = arena_alloc(&r->arena, sizeof *a);
    struct scatter *s = scatter_new(r, count_partitions(q));
    int at = 0;

    r->exempt = true;
    write_txn_markers_response_init(a);
    a->markers =
        arena_array(&r->arena, (size_t)q->markers_len, sizeof *a->markers);
    a->markers_len = q->markers_len;
    for (int i = 0; i < q->markers_len; i++)
        at = add_marker(r, s, at, &q->markers[i], &a->markers[i]);
    ASSERT(at == s->items_len);
    /* As in Produce: it waits for followers, whose requests need the room. */
    r->client_id = arena_copy(&r->arena, r->client_id);
    request_drop_frame(r);
    s->run = run;
    s->done = done;
    s->arg = a;
    scatter_start(s);
}
