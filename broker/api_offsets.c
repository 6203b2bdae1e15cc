/* Requests about positions in partitions: ListOffsets, OffsetForLeaderEpoch,
 * DeleteRecords. */
#include "base/alloc.h"
#include "base/planted.h"
#include "broker/dispatch.h"
#include "broker/internal_topics.h"
#include "broker/scatter.h"
#include "broker/shard.h"
#include "broker/time_search.h"

#include <stdlib.h>

/* ---- ListOffsets
 * ----------------------------------------------------------------- */

enum {
    TIMESTAMP_LATEST = -1,
    TIMESTAMP_EARLIEST = -2,
    TIMESTAMP_MAX = -3,
    TIMESTAMP_EARLIEST_LOCAL = -4,
    TIMESTAMP_LATEST_TIERED = -5,
    TIMESTAMP_EARLIEST_PENDING = -6,
    OLD_OFFSETS_MAX = 1000, /* of a version 0 answer */
};

/* The first version that knows a timestamp with a meaning of its own; none
 * does for those that have none. */
static int16_t timestamp_since(int64_t timestamp)
{
    switch (timestamp) {
    case TIMESTAMP_LATEST:
    case TIMESTAMP_EARLIEST:
        return 0;
    case TIMESTAMP_MAX:
        return 7;
    case TIMESTAMP_EARLIEST_LOCAL:
        return 8;
    case TIMESTAMP_LATEST_TIERED:
        return 9;
    case TIMESTAMP_EARLIEST_PENDING:
        return 11;
    default:
        return timestamp < 0 ? INT16_MAX : 0;
    }
}

/* One partition's question and answer. */
struct list_offset {
    const struct list_offsets_request_partition *q;
    struct list_offsets_response_partition_response *a;
    struct log_timestamp_offset found;
    int64_t *old_offsets; /* of version 0; owned */
    int old_offsets_len;
    int16_t version;
    int32_t replica_id;
    bool read_committed;
    int64_t end_offset;
    const _Atomic bool *unwanted;
    struct scatter_item *item;
};

static void searched(struct time_search *t)
{
    struct list_offset *l = t->arg;

    l->item->error = t->error;
    l->found = t->found;
    free(t);
    scatter_item_done(l->item);
}

static void search(struct list_offset *l, struct partition *p)
{
    struct time_search *t = xcalloc(1, sizeof *t);

    t->timestamp = l->q->timestamp == TIMESTAMP_MAX ? LOG_GREATEST_TIMESTAMP
                                                    : l->q->timestamp;
    t->end_offset = l->end_offset;
    t->current_leader_epoch = l->q->current_leader_epoch;
    t->unwanted = l->unwanted;
    t->done = searched;
    t->arg = l;
    l->item->deferred = true;
    time_search_start(t, p);
}

/* No more than there are. */
static void list_old_offsets(struct list_offset *l, const struct partition *p,
                             int64_t timestamp)
{
    int max = log_segment_count(p->log) + 1;

    if (max > OLD_OFFSETS_MAX)
        max = OLD_OFFSETS_MAX;
    if (max > l->q->max_num_offsets)
        max = l->q->max_num_offsets;
    if (max <= 0)
        return;
    l->old_offsets = xcalloc((size_t)max, sizeof *l->old_offsets);
    l->old_offsets_len = log_offsets_before(p->log, timestamp, l->end_offset,
                                            l->old_offsets, max);
}

static void list_offset_run(struct scatter_item *item, struct partition *p)
{
    struct list_offset *l = item->arg;
    int64_t timestamp = l->q->timestamp;

    l->found = (struct log_timestamp_offset){-1, -1, -1};
    if (p == NULL)
        return;
    if (l->version < timestamp_since(timestamp)) {
        item->error = ERR_UNSUPPORTED_VERSION;
        return;
    }
    item->error = p->role == PARTITION_OPENING
                      ? ERR_NOT_LEADER_OR_FOLLOWER
                      : partition_check_leader(p, l->q->current_leader_epoch);
    if (item->error == ERR_KAFKA_STORAGE_ERROR &&
        p->role == PARTITION_DAMAGED && timestamp == TIMESTAMP_EARLIEST &&
        l->version > 0) {
        item->error = ERR_NONE; /* the beginning can still be read */
        l->found.offset = log_start_offset(p->log);
        return;
    }
    if (item->error != ERR_NONE)
        return;
    l->end_offset = l->replica_id >= 0 || PLANTED(READERS_HEAR_OF_UNCOMMITTED)
                        ? log_end_offset(p->log)
                    : l->read_committed ? partition_last_stable(p)
                                        : p->high_watermark;
    /* until the high watermark has reached the epoch's start, it may be
     * lower than what an earlier leader already showed. */
    if (l->replica_id < 0 && timestamp != TIMESTAMP_EARLIEST &&
        p->high_watermark < p->led_from_offset &&
        !PLANTED(READERS_HEAR_OLD_WATERMARK)) {
        item->error = l->version >= 5 ? ERR_OFFSET_NOT_AVAILABLE
                                      : ERR_LEADER_NOT_AVAILABLE;
        return;
    }
    if (l->version == 0) {
        if (timestamp >= env_wall_ms(p->shard->env))
            timestamp = TIMESTAMP_LATEST; /* the end counts as written now */
        list_old_offsets(l, p, timestamp);
        return;
    }
    switch (timestamp) {
    case TIMESTAMP_LATEST:
        l->found.offset = l->end_offset;
        l->found.leader_epoch = p->state.leader_epoch;
        break;
    case TIMESTAMP_EARLIEST:
    case TIMESTAMP_EARLIEST_LOCAL:
        l->found.offset = log_start_offset(p->log);
        l->found.leader_epoch = log_epoch_at(p->log, l->found.offset);
        break;
    case TIMESTAMP_LATEST_TIERED:
    case TIMESTAMP_EARLIEST_PENDING:
        break; /* nothing is tiered */
    default:
        search(l, p);
    }
}

static void list_offset_fill(struct request *r, struct scatter_item *item)
{
    struct list_offset *l = item->arg;

    list_offsets_response_partition_response_init(l->a);
    l->a->partition_index = l->q->partition_index;
    l->a->error_code = err_wire(item->error);
    l->a->timestamp = l->a->offset = l->a->leader_epoch = -1;
    if (item->error != ERR_NONE)
        return;
    if (l->version == 0) {
        size_t n = (size_t)l->old_offsets_len;

        l->a->old_style_offsets =
            arena_array(&r->arena, n, sizeof *l->old_offsets);
        l->a->old_style_offsets_len = l->old_offsets_len;
        if (n != 0)
            memcpy(l->a->old_style_offsets, l->old_offsets,
                   n * sizeof *l->old_offsets);
        free(l->old_offsets);
        return;
    }
    l->a->timestamp = l->found.timestamp;
    l->a->offset = l->found.offset;
    if (l->version >= 4)
        l->a->leader_epoch = l->found.leader_epoch;
}

static void list_offsets_done(struct scatter *s)
{
    for (int i = 0; i < s->items_len; i++)
        list_offset_fill(s->request, &s->items[i]);
    request_respond(s->request, s->arg);
}

static struct list_offset *
list_offset_new(struct request *r,
                const struct list_offsets_request_partition *q,
                struct list_offsets_response_partition_response *a)
{
    const struct list_offsets_request *whole = r->msg;
    struct list_offset *l = arena_alloc(&r->arena, sizeof *l);

    l->q = q;
    l->a = a;
    l->version = r->version;
    l->replica_id = whole->replica_id;
    l->read_committed = whole->isolation_level == READ_COMMITTED;
    l->unwanted = r->context;
    return l;
}

static void list_offsets_cancel(struct request *r)
{
    atomic_store((_Atomic bool *)r->context, true);
}

void api_list_offsets(struct request *r)
{
    const struct list_offsets_request *q = r->msg;
    struct list_offsets_response *a = arena_alloc(&r->arena, sizeof *a);
    int count = 0, at = 0;

    r->context = arena_alloc(&r->arena, sizeof(_Atomic bool));
    r->cancel = list_offsets_cancel;
    for (int i = 0; i < q->topics_len; i++)
        count += q->topics[i].partitions_len;
    struct scatter *s = scatter_new(r, count);
    list_offsets_response_init(a);
    a->topics =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *a->topics);
    a->topics_len = q->topics_len;
    for (int i = 0; i < q->topics_len; i++) {
        const struct list_offsets_request_topic *t = &q->topics[i];
        struct list_offsets_response_topic_response *out = &a->topics[i];

        list_offsets_response_topic_response_init(out);
        out->name = t->name;
        out->partitions = arena_array(&r->arena, (size_t)t->partitions_len,
                                      sizeof *out->partitions);
        out->partitions_len = t->partitions_len;
        for (int j = 0; j < t->partitions_len; j++, at++) {
            struct list_offset *l =
                list_offset_new(r, &t->partitions[j], &out->partitions[j]);
            l->item = scatter_set(s, at, t->name, NULL,
                                  t->partitions[j].partition_index, l);
        }
    }
    scatter_refuse_repeated(s, ERR_INVALID_REQUEST);
    s->run = list_offset_run;
    s->done = list_offsets_done;
    s->arg = a;
    scatter_start(s);
}

/* ---- OffsetForLeaderEpoch
 * ----------------------------------------------------------- */

struct epoch_end {
    const struct offset_for_leader_epoch_request_offset_for_leader_partition *q;
    struct offset_for_leader_epoch_response_epoch_end_offset *a;
};

static void epoch_end_run(struct scatter_item *item, struct partition *p)
{
    struct epoch_end *e = item->arg;
    int32_t epoch;
    int64_t end;

    if (p == NULL)
        return;
    item->error = p->role == PARTITION_OPENING
                      ? ERR_NOT_LEADER_OR_FOLLOWER
                      : partition_check_leader(p, e->q->current_leader_epoch);
    if (item->error != ERR_NONE)
        return;
    if (e->q->leader_epoch == p->state.leader_epoch) {
        epoch = e->q->leader_epoch;
        end = log_end_offset(p->log);
    } else {
        log_end_offset_for_epoch(p->log, e->q->leader_epoch, &epoch, &end);
    }
    e->a->leader_epoch = epoch;
    e->a->end_offset = end;
}

static void epoch_ends_done(struct scatter *s)
{
    for (int i = 0; i < s->items_len; i++) {
        struct epoch_end *e = s->items[i].arg;
        e->a->error_code = err_wire(s->items[i].error);
    }
    request_respond(s->request, s->arg);
}

void api_offset_for_leader_epoch(struct request *r)
{
    const struct offset_for_leader_epoch_request *q = r->msg;
    struct offset_for_leader_epoch_response *a =
        arena_alloc(&r->arena, sizeof *a);
    int count = 0, at = 0;

    r->exempt = q->replica_id >= 0;
    for (int i = 0; i < q->topics_len; i++)
        count += q->topics[i].partitions_len;
    struct scatter *s = scatter_new(r, count);
    offset_for_leader_epoch_response_init(a);
    a->topics =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *a->topics);
    a->topics_len = q->topics_len;
    for (int i = 0; i < q->topics_len; i++) {
        a->topics[i].topic = q->topics[i].topic;
        a->topics[i].partitions_len = q->topics[i].partitions_len;
        a->topics[i].partitions =
            arena_array(&r->arena, (size_t)q->topics[i].partitions_len,
                        sizeof *a->topics[i].partitions);
        for (int j = 0; j < q->topics[i].partitions_len; j++, at++) {
            struct epoch_end *e = arena_alloc(&r->arena, sizeof *e);

            e->q = &q->topics[i].partitions[j];
            e->a = &a->topics[i].partitions[j];
            offset_for_leader_epoch_response_epoch_end_offset_init(e->a);
            e->a->partition = e->q->partition;
            scatter_set(s, at, q->topics[i].topic, NULL, e->q->partition, e);
        }
    }
    s->run = epoch_end_run;
    s->done = epoch_ends_done;
    s->arg = a;
    scatter_start(s);
}

/* ---- DeleteRecords
 * ----------------------------------------------------------------------
 * As in Kafka it is done when all live replicas begin there, or a failover
 * would bring the records back; else it is REQUEST_TIMED_OUT in time. */

struct delete_records {
    struct partition_waiter waiter;
    struct env_timer timer;
    struct scatter_item *item;
    struct partition *partition; /* while it waits there */
    int64_t offset;
    int32_t timeout_ms;
    struct delete_records_response_partition_result *a;
};

static void delete_records_end(struct delete_records *d, enum err error)
{
    struct partition *p = d->partition;

    env_timer_stop(scatter_item_shard(d->item)->env, &d->timer);
    d->item->error = error;
    if (error == ERR_NONE)
        d->a->low_watermark = partition_low_watermark(p);
    else if (error != ERR_REQUEST_TIMED_OUT)
        d->a->low_watermark = -1;
    scatter_item_done(d->item);
}

static void delete_records_reached(struct partition_waiter *w, enum err error)
{
    delete_records_end((struct delete_records *)(void *)w, error);
}

static void delete_records_timed_out(void *arg)
{
    struct delete_records *d = arg;

    list_remove(&d->waiter.link);
    delete_records_end(d, ERR_REQUEST_TIMED_OUT);
}

static void delete_records_run(struct scatter_item *item, struct partition *p)
{
    struct delete_records *d = item->arg;

    if (p == NULL)
        return;
    item->error = p->role == PARTITION_OPENING
                      ? ERR_NOT_LEADER_OR_FOLLOWER
                      : partition_delete_records(p, &d->offset);
    if (item->error != ERR_NONE)
        return;
    d->partition = p;
    d->a->low_watermark = partition_low_watermark(p);
    item->deferred = true;
    d->waiter.end_offset = d->offset;
    d->waiter.done = delete_records_reached;
    d->timer.fn = delete_records_timed_out;
    d->timer.arg = d;
    env_timer_start(p->shard->env, &d->timer,
                    d->timeout_ms > 0 ? d->timeout_ms : 0);
    partition_wait_start(p, &d->waiter);
}

static void delete_records_done(struct scatter *s)
{
    for (int i = 0; i < s->items_len; i++) {
        struct delete_records *d = s->items[i].arg;
        d->a->error_code = err_wire(s->items[i].error);
    }
    request_respond(s->request, s->arg);
}

/* The frame is dropped: the followers' requests need its room. */
void api_delete_records(struct request *r)
{
    const struct delete_records_request *q = r->msg;
    struct delete_records_response *a = arena_alloc(&r->arena, sizeof *a);
    int count = 0, at = 0;

    for (int i = 0; i < q->topics_len; i++)
        count += q->topics[i].partitions_len;
    struct scatter *s = scatter_new(r, count);
    delete_records_response_init(a);
    a->topics =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *a->topics);
    a->topics_len = q->topics_len;
    for (int i = 0; i < q->topics_len; i++) {
        a->topics[i].name = arena_copy(&r->arena, q->topics[i].name);
        a->topics[i].partitions_len = q->topics[i].partitions_len;
        a->topics[i].partitions =
            arena_array(&r->arena, (size_t)q->topics[i].partitions_len,
                        sizeof *a->topics[i].partitions);
        for (int j = 0; j < q->topics[i].partitions_len; j++, at++) {
            struct delete_records *d = arena_alloc(&r->arena, sizeof *d);

            const struct delete_records_request_partition *wanted =
                &q->topics[i].partitions[j];

            d->offset = wanted->offset;
            d->timeout_ms = q->timeout_ms;
            d->a = &a->topics[i].partitions[j];
            delete_records_response_partition_result_init(d->a);
            d->a->partition_index = wanted->partition_index;
            d->a->low_watermark = -1;
            d->item = scatter_set(s, at, q->topics[i].name, NULL,
                                  wanted->partition_index, d);
            if (topic_is_internal(q->topics[i].name))
                scatter_refuse(d->item, ERR_INVALID_TOPIC_EXCEPTION);
        }
    }
    s->run = delete_records_run;
    s->done = delete_records_done;
    s->arg = a;
    request_drop_frame(r);
    scatter_start(s);
}
