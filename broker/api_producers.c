/* DescribeProducers: who writes to a partition, and what is open there.  Any
 * replica may be asked, as it may be the only one that does not know a
 * transaction's end yet. */
#include "base/alloc.h"
#include "broker/dispatch.h"
#include "broker/scatter.h"
#include "broker/shard.h"

#include <stdlib.h>

struct described {
    struct describe_producers_response_partition_response *a;
    struct producer *producers; /* owned */
    int producers_len;
};

static void run(struct scatter_item *item, struct partition *p)
{
    struct described *d = item->arg;

    if (p == NULL)
        return;
    if (p->log == NULL) {
        item->error = p->role == PARTITION_OPENING ? ERR_NOT_LEADER_OR_FOLLOWER
                                                   : ERR_KAFKA_STORAGE_ERROR;
        return;
    }
    d->producers =
        xcalloc(producers_count(p->producers) + 1, sizeof *d->producers);
    for (int64_t at = 0;
         (at = producers_next(p->producers, at,
                              &d->producers[d->producers_len])) !=
         PRODUCERS_END;)
        d->producers_len++;
}

static void
fill_producer(const struct producer *p,
              struct describe_producers_response_producer_state *out)
{
    describe_producers_response_producer_state_init(out);
    out->producer_id = p->producer_id;
    out->producer_epoch = p->epoch;
    out->last_sequence = p->last_sequence;
    out->last_timestamp = p->timestamp;
    out->coordinator_epoch = p->coordinator_epoch;
    out->current_txn_start_offset = p->txn_first_offset;
}

static void fill(struct request *r, const struct scatter_item *item)
{
    struct described *d = item->arg;

    describe_producers_response_partition_response_init(d->a);
    d->a->partition_index = item->index;
    d->a->error_code = err_wire(item->error);
    if (item->error != ERR_NONE)
        d->a->error_message = slice_str(err_text(item->error));
    d->a->active_producers = arena_array(&r->arena, (size_t)d->producers_len,
                                         sizeof *d->a->active_producers);
    d->a->active_producers_len = d->producers_len;
    for (int i = 0; i < d->producers_len; i++)
        fill_producer(&d->producers[i], &d->a->active_producers[i]);
    free(d->producers);
}

static void done(struct scatter *s)
{
    for (int i = 0; i < s->items_len; i++)
        fill(s->request, &s->items[i]);
    request_respond(s->request, s->arg);
}

void api_describe_producers(struct request *r)
{
    const struct describe_producers_request *q = r->msg;
    struct describe_producers_response *a = arena_alloc(&r->arena, sizeof *a);
    int count = 0, at = 0;

    for (int i = 0; i < q->topics_len; i++)
        count += q->topics[i].partition_indexes_len;
    struct scatter *s = scatter_new(r, count);
    describe_producers_response_init(a);
    a->topics =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *a->topics);
    a->topics_len = q->topics_len;
    for (int i = 0; i < q->topics_len; i++) {
        const struct describe_producers_request_topic_request *t =
            &q->topics[i];
        struct describe_producers_response_topic_response *out = &a->topics[i];

        describe_producers_response_topic_response_init(out);
        out->name = t->name;
        out->partitions =
            arena_array(&r->arena, (size_t)t->partition_indexes_len,
                        sizeof *out->partitions);
        out->partitions_len = t->partition_indexes_len;
        for (int j = 0; j < t->partition_indexes_len; j++, at++) {
            struct described *d = arena_alloc(&r->arena, sizeof *d);

            d->a = &out->partitions[j];
            scatter_set(s, at, t->name, NULL, t->partition_indexes[j], d);
        }
    }
    /* A partition may have a million producers, and each mention of it would
     * have them all. */
    scatter_refuse_repeated(s, ERR_INVALID_REQUEST);
    s->run = run;
    s->done = done;
    s->arg = a;
    scatter_start(s);
}
