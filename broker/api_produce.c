/* Produce: every partition's records go to the shard that owns it, one message
 * per shard; there they are appended in the order of arrival, wait until they
 * are committed (acks=all), and one message comes back. When all shards are
 * back, the answer goes out.
 *
 * The first batch of a transaction waits before that, see txn_verify.h.
 *
 * Record bytes stay in the request's frame all the way to pwritev, but for what
 * must be rewritten (message sets of old clients, see produced_prepare()). Then
 * the frame is dropped: requests that wait for followers must not keep the room
 * that the followers' own requests need. Nor must those that wait for a
 * transaction's coordinator, so that their frames are counted apart. */
#include "base/alloc.h"
#include "base/assert.h"
#include "broker/dispatch.h"
#include "broker/internal_topics.h"
#include "broker/quotas.h"
#include "broker/replica/partition.h"
#include "broker/shard.h"
#include "broker/txn_verify.h"

#include <stdlib.h>

/* Versions of Produce: clients leave it to us to add partitions to transactions
 * (KIP-890), and know TRANSACTION_ABORTABLE. */
enum { ADDS_PARTITIONS = 12, KNOWS_ABORTABLE = 11 };

/* For a shard's lists of faulty records: a few KB may unpack to millions of
 * them.  Clients take those that are not listed for the company of others. */
enum { FAULTS_MAX_BYTES = 1 << 20 };

/* What comes out of the compressed batches of a request takes a shard's time:
 * as much as one batch may expand to, and on top of it so many times the
 * request's size.  4 KB may claim the former. */
enum { EXPANDS_TIMES = 64 };

struct produce_part;

/* One partition of the request. */
struct produce_item {
    struct partition_waiter waiter;
    struct txn_verify verify;
    struct produce_part *part;
    struct uuid topic_id;
    int32_t index;
    struct slice records;
    enum err error;
    struct partition_append result;
    int64_t log_start_offset;
    int32_t leader, leader_epoch; /* a hint with NOT_LEADER_OR_FOLLOWER */
    bool waiting;
};

/* One shard's share of the request. */
struct produce_part {
    struct env_task task;
    struct produce *produce;
    struct shard *shard;
    struct produce_item **items;
    int items_len;
    int unappended;      /* items not appended yet; +1 while starting */
    int waiting;         /* items not committed yet; +1 while appending */
    bool late;           /* the time for replication is over */
    bool has_room;       /* some of it may wait for coordinators */
    struct arena faults; /* lists of faulty records */
    struct arena names;  /* of topics, in questions to coordinators */
    size_t expand_bytes; /* that may still come out of compressed batches */
    struct env_timer timer;
};

struct produce {
    struct request *request;
    const struct produce_request *q;
    struct produce_item *items; /* in the request's order */
    int items_len;
    struct produce_part *parts; /* one per shard */
    int pending;                /* parts still out; +1 while sending */
    _Atomic int unappended;     /* parts whose records are needed; likewise */
};

/* ---- on the owner's shard ------------------------------------------------ */

static void part_home(struct env_task *task);

static void part_done(struct produce_part *part)
{
    env_timer_stop(part->shard->env, &part->timer);
    part->task.fn = part_home;
    struct shard *home = part->produce->request->shard;
    if (home == part->shard)
        part_home(&part->task);
    else
        env_post(home->env, &part->task);
}

static void release(struct produce_part *part)
{
    if (--part->waiting == 0)
        part_done(part);
}

/* the records stay in the log although too few replicas are left to vouch
 * for them; the producer hears of it and retries. */
static void committed(struct partition_waiter *w, enum err error)
{
    struct produce_item *item = (struct produce_item *)(void *)w;

    item->waiting = false;
    if (error != ERR_NONE)
        item->error = error;
    release(item->part);
}

static void timed_out(void *arg)
{
    struct produce_part *part = arg;

    part->late = true;
    part->waiting++;
    for (int i = 0; i < part->items_len; i++) {
        struct produce_item *item = part->items[i];

        if (!item->waiting)
            continue;
        list_remove(&item->waiter.link);
        committed(&item->waiter, ERR_REQUEST_TIMED_OUT);
    }
    release(part);
}

static enum err append(struct partition *p, struct produce_item *item,
                       struct request *r, int acks)
{
    struct partition_source in = {
        .bytes = (uint8_t *)(uintptr_t)item->records.data,
        .len = item->records.len,
        .api_version = r->version,
        .arena = &item->part->faults,
        .expand_bytes = &item->part->expand_bytes,
    };

    return partition_append(p, &in, acks, &item->result);
}

static struct partition *find_partition(struct produce_item *item)
{
    return shard_partition(item->part->shard, &item->topic_id, item->index,
                           &item->error);
}

static void append_item(struct produce_item *item, struct partition *p)
{
    struct produce_part *part = item->part;
    const struct produce_request *q = part->produce->q;

    item->error = append(p, item, part->produce->request, q->acks);
    if (item->error == ERR_NOT_LEADER_OR_FOLLOWER) {
        item->leader = partition_leader_hint(p);
        item->leader_epoch = p->state.leader_epoch;
    }
    if (item->error != ERR_NONE)
        return;
    item->log_start_offset = log_start_offset(p->log);
    if (part->late) {
        item->error = ERR_REQUEST_TIMED_OUT;
    } else if (q->acks == -1 || p->settings->fsync) {
        item->waiting = true;
        item->waiter.end_offset = item->result.end_offset;
        item->waiter.done = committed;
        part->waiting++;
        partition_wait(p, &item->waiter, q->acks);
    }
}

/* Whichever shard is last.  All parts are still out. */
static void appended(struct produce *produce)
{
    if (atomic_fetch_sub(&produce->unappended, 1) == 1)
        request_drop_frame(produce->request);
}

/* Then the part waits for replication alone. */
static void item_appended(struct produce_part *part)
{
    struct request *r = part->produce->request;

    if (--part->unappended != 0)
        return;
    if (part->has_room)
        txn_verify_give_room(r->shard, r->size_bytes);
    appended(part->produce);
}

static bool may_wait(struct produce_part *part)
{
    struct request *r = part->produce->request;

    if (!part->has_room && txn_verify_take_room(r->shard, r->size_bytes)) {
        part->has_room = true;
        request_discount_frame(r);
    }
    return part->has_room;
}

static void verified(struct txn_verify *v, struct partition *p, enum err error)
{
    struct produce_item *item =
        (struct produce_item *)((char *)v -
                                offsetof(struct produce_item, verify));

    item->error = error;
    if (error == ERR_NONE)
        append_item(item, p);
    else if (p != NULL)
        partition_refused(p, item->records, error);
    item_appended(item->part);
    release(item->part);
}

/* It would open a transaction. */
static bool begins_txn(const struct partition *p,
                       const struct produce_item *item, struct batch *b)
{
    return batch_parse(item->records, b) == ERR_NONE &&
           (b->attributes & BATCH_TRANSACTIONAL) != 0 &&
           txn_verify_needed(p, b->producer_id, b->producer_epoch);
}

static void run_item(struct produce_part *part, struct produce_item *item)
{
    struct partition *p = find_partition(item);
    struct batch b;

    item->leader = item->leader_epoch = -1;
    item->log_start_offset = -1;
    if (p == NULL)
        return;
    if (!begins_txn(p, item, &b)) {
        append_item(item, p);
        return;
    }
    if (!may_wait(part)) {
        item->error = ERR_NOT_ENOUGH_REPLICAS;
        partition_refused(p, item->records, item->error);
        return;
    }
    part->unappended++;
    part->waiting++;
    item->verify = (struct txn_verify){
        .question =
            {
                .transactional_id = part->produce->q->transactional_id,
                .producer_id = b.producer_id,
                .producer_epoch = b.producer_epoch,
                .topic = arena_copy(&part->names, slice_str(p->topic->name)),
                .partition = item->index,
                .add = part->produce->request->version >= ADDS_PARTITIONS,
                .knows_abortable =
                    part->produce->request->version >= KNOWS_ABORTABLE,
            },
        .topic_id = item->topic_id,
        .done = verified,
    };
    txn_verify(&item->verify, p);
}

static void run_part(struct env_task *task)
{
    struct produce_part *part =
        (struct produce_part *)((char *)task -
                                offsetof(struct produce_part, task));

    part->waiting = part->unappended = 1;
    for (int i = 0; i < part->items_len; i++)
        run_item(part, part->items[i]);
    item_appended(part);
    if (part->waiting > 1) {
        part->timer.fn = timed_out;
        part->timer.arg = part;
        env_timer_start(part->shard->env, &part->timer,
                        part->produce->q->timeout_ms > 0
                            ? part->produce->q->timeout_ms
                            : 0);
    }
    release(part);
}

/* ---- at home ------------------------------------------------------------- */

static void fill_hint(struct request *r, struct produce_response *a,
                      const struct produce_item *item,
                      struct produce_response_partition_produce_response *out)
{
    const struct shard_broker *b = request_hint(r, item->leader);

    out->current_leader.leader_id = item->leader;
    out->current_leader.leader_epoch = item->leader_epoch;
    if (b == NULL)
        return;
    for (int i = 0; i < a->node_endpoints_len; i++)
        if (a->node_endpoints[i].node_id == b->id)
            return;
    struct produce_response_node_endpoint *e =
        &a->node_endpoints[a->node_endpoints_len++];
    produce_response_node_endpoint_init(e);
    e->node_id = b->id;
    e->host = arena_copy(&r->arena, slice_str(b->client_host));
    e->port = b->client_port;
}

static void fill_faults(struct request *r, const struct produce_item *item,
                        struct produce_response_partition_produce_response *out)
{
    const struct record_report *report = &item->result.report;

    if (report->why != NULL && report->why[0] != '\0')
        out->error_message = slice_str(report->why);
    out->record_errors = arena_array(&r->arena, (size_t)report->faults_count,
                                     sizeof *out->record_errors);
    out->record_errors_len = report->faults_count;
    for (int i = 0; i < report->faults_count; i++) {
        out->record_errors[i].batch_index = report->faults[i].index;
        out->record_errors[i].batch_index_error_message =
            slice_str(report->faults[i].why);
    }
}

static void fill_item(struct request *r, struct produce_response *a,
                      const struct produce_item *item,
                      struct produce_response_partition_produce_response *out)
{
    produce_response_partition_produce_response_init(out);
    out->index = item->index;
    out->error_code = err_wire(item->error);
    out->base_offset = -1;
    if (item->error == ERR_NONE) {
        out->base_offset = item->result.base_offset;
        out->log_append_time_ms = item->result.append_time_ms;
        out->log_start_offset = item->log_start_offset;
    } else {
        fill_faults(r, item, out);
        if (item->error == ERR_NOT_LEADER_OR_FOLLOWER && r->version >= 10 &&
            item->leader >= 0)
            fill_hint(r, a, item, out);
    }
}

static void free_parts(struct produce *produce)
{
    for (int i = 0; i < produce->request->shard->broker->shards_len; i++) {
        arena_free(&produce->parts[i].faults);
        arena_free(&produce->parts[i].names);
    }
}

/* Bytes of the whole request count, as in Kafka. */
static void take_quota(struct request *r)
{
    request_throttle(r,
                     quota_take(r->quotas, QUOTA_PRODUCE, (double)r->size_bytes,
                                env_now_us(r->shard->env)));
}

static void respond(struct produce *produce)
{
    struct request *r = produce->request;
    const struct produce_request *q = produce->q;
    const struct produce_item *item = produce->items;
    struct produce_response a;

    produce_response_init(&a);
    a.responses =
        arena_array(&r->arena, (size_t)q->topic_data_len, sizeof *a.responses);
    a.responses_len = q->topic_data_len;
    a.node_endpoints = arena_array(&r->arena, (size_t)produce->items_len,
                                   sizeof *a.node_endpoints);
    for (int i = 0; i < q->topic_data_len; i++) {
        const struct produce_request_topic_produce_data *t = &q->topic_data[i];
        struct produce_response_topic_produce_response *out = &a.responses[i];

        produce_response_topic_produce_response_init(out);
        out->name = t->name;
        out->topic_id = t->topic_id;
        out->partition_responses =
            arena_array(&r->arena, (size_t)t->partition_data_len,
                        sizeof *out->partition_responses);
        out->partition_responses_len = t->partition_data_len;
        for (int j = 0; j < t->partition_data_len; j++)
            fill_item(r, &a, item++, &out->partition_responses[j]);
    }
    free_parts(produce);
    request_respond(r, &a);
}

static void finish(struct produce *produce)
{
    struct request *r = produce->request;

    take_quota(r);
    if (produce->q->acks != 0) {
        respond(produce);
        return;
    }
    free_parts(produce);
    /* acks=0 can't carry an error; Kafka's way to tell is to hang up. */
    for (int i = 0; i < produce->items_len; i++)
        if (produce->items[i].error != ERR_NONE) {
            request_close(r, "with acks=0 failed, and hanging up is the only "
                             "answer to it");
            return;
        }
    request_finish_silently(r);
}

static void part_home(struct env_task *task)
{
    struct produce_part *part =
        (struct produce_part *)((char *)task -
                                offsetof(struct produce_part, task));

    if (--part->produce->pending == 0)
        finish(part->produce);
}

/* By name up to version 12, by id from 13 on. */
static void route_topic(struct produce *produce, struct shard *home,
                        const struct produce_request_topic_produce_data *t,
                        struct produce_item *items)
{
    bool by_id = produce->request->version >= 13;
    struct shard_topic *topic = by_id ? shard_topic_by_id(home, &t->topic_id)
                                      : shard_topic_by_name(home, t->name);

    for (int j = 0; j < t->partition_data_len; j++) {
        struct produce_item *item = &items[j];

        item->index = t->partition_data[j].index;
        item->records = t->partition_data[j].records.bytes;
        item->result.append_time_ms = -1;
        if (topic == NULL || item->index < 0 ||
            item->index >= topic->partitions) {
            item->error = topic == NULL && by_id
                              ? ERR_UNKNOWN_TOPIC_ID
                              : ERR_UNKNOWN_TOPIC_OR_PARTITION;
            continue;
        }
        if (topic_is_closed(slice_str(topic->name),
                            produce->request->client_id)) {
            item->error = ERR_INVALID_TOPIC_EXCEPTION;
            continue;
        }
        item->topic_id = topic->id;
        int shard = broker_shard_of(home->broker, &topic->id, item->index);
        item->part = &produce->parts[shard];
        item->part->items_len++;
    }
}

static void route(struct produce *produce)
{
    struct request *r = produce->request;
    struct shard *home = r->shard;
    int at = 0;

    for (int i = 0; i < produce->q->topic_data_len; i++) {
        route_topic(produce, home, &produce->q->topic_data[i],
                    &produce->items[at]);
        at += produce->q->topic_data[i].partition_data_len;
    }
    for (int i = 0; i < home->broker->shards_len; i++) {
        struct produce_part *part = &produce->parts[i];

        part->produce = produce;
        part->shard = home->broker->shards[i];
        arena_init(&part->faults, FAULTS_MAX_BYTES);
        part->expand_bytes = CODEC_LIMIT_BYTES + EXPANDS_TIMES * r->size_bytes;
        part->items = arena_array(&r->arena, (size_t)part->items_len,
                                  sizeof *part->items);
        part->items_len = 0;
    }
    for (int i = 0; i < produce->items_len; i++) {
        struct produce_item *item = &produce->items[i];

        if (item->part != NULL)
            item->part->items[item->part->items_len++] = item;
    }
}

static void send_parts(struct produce *produce)
{
    struct shard *home = produce->request->shard;
    struct produce_part *own = NULL;

    produce->pending = 1;
    atomic_init(&produce->unappended, 1);
    for (int i = 0; i < home->broker->shards_len; i++) {
        struct produce_part *part = &produce->parts[i];

        if (part->items_len == 0)
            continue;
        produce->pending++;
        atomic_fetch_add(&produce->unappended, 1);
        part->task.fn = run_part;
        if (part->shard == home)
            own = part;
        else
            env_post(part->shard->env, &part->task);
    }
    if (own != NULL)
        run_part(&own->task);
    appended(produce);
    if (--produce->pending == 0)
        finish(produce);
}

static void refuse_all(struct produce *produce, enum err error)
{
    int at = 0;

    for (int i = 0; i < produce->q->topic_data_len; i++)
        for (int j = 0; j < produce->q->topic_data[i].partition_data_len; j++) {
            struct produce_item *item = &produce->items[at++];

            item->index = produce->q->topic_data[i].partition_data[j].index;
            item->error = error;
        }
    finish(produce);
}

/* Only who may write with a transactional id may write transactions, and such a
 * request without one is nobody's. */
static bool lacks_txn_id(const struct produce_request *q)
{
    struct batch b;

    if (!slice_is_null(q->transactional_id))
        return false;
    for (int i = 0; i < q->topic_data_len; i++)
        for (int j = 0; j < q->topic_data[i].partition_data_len; j++)
            if (batch_parse(q->topic_data[i].partition_data[j].records.bytes,
                            &b) == ERR_NONE &&
                (b.attributes & BATCH_TRANSACTIONAL) != 0)
                return true;
    return false;
}

void api_produce(struct request *r)
{
    struct produce_request *q = r->msg;
    struct produce *produce = arena_alloc(&r->arena, sizeof *produce);
    int count = 0;

    for (int i = 0; i < q->topic_data_len; i++) {
        count += q->topic_data[i].partition_data_len;
        q->topic_data[i].name = arena_copy(&r->arena, q->topic_data[i].name);
    }
    r->client_id = arena_copy(&r->arena, r->client_id);
    if (!slice_is_null(q->transactional_id))
        q->transactional_id = arena_copy(&r->arena, q->transactional_id);
    produce->request = r;
    produce->q = q;
    produce->items_len = count;
    produce->items =
        arena_array(&r->arena, (size_t)count, sizeof *produce->items);
    produce->parts =
        arena_array(&r->arena, (size_t)r->shard->broker->shards_len,
                    sizeof *produce->parts);
    if (q->acks < -1 || q->acks > 1) {
        refuse_all(produce, ERR_INVALID_REQUIRED_ACKS);
        return;
    }
    if (lacks_txn_id(q)) {
        refuse_all(produce, ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        return;
    }
    route(produce);
    send_parts(produce);
}
