/* ShareFetch and ShareAcknowledge (KIP-932) at home: the session, then what is
 * acknowledged, then, in a ShareFetch, records.  A session that the request
 * ends is released after its last acknowledgements. */
#include "base/alloc.h"
#include "broker/dispatch.h"
#include "broker/shard.h"
#include "broker/share_fetch.h"
#include "broker/share_home.h"

#include <stdlib.h>

enum { RENEW_VERSION = 2, MODE_VERSION = 2 };

/* ---- ShareFetch: the request ---------------------------------------------*/

struct fetching {
    struct share_call call;
    struct share_fetch fetch;
};

static void respond_fetch_error(struct request *r, enum err error)
{
    struct share_fetch_response a;

    share_fetch_response_init(&a);
    a.error_code = err_wire(error);
    a.error_message = slice_str(err_text(error));
    request_respond(r, &a);
}

static void
take_fetch_acks(struct arena *arena, struct share_call *call,
                const struct share_fetch_request_fetch_partition *from,
                struct share_asked *to)
{
    struct share_ack *acks = arena_array(
        arena, (size_t)from->acknowledgement_batches_len, sizeof *acks);

    to->acks = acks;
    to->acks_len = (uint32_t)from->acknowledgement_batches_len;
    for (uint32_t i = 0; i < to->acks_len; i++)
        acks[i] = (struct share_ack){
            from->acknowledgement_batches[i].first_offset,
            from->acknowledgement_batches[i].last_offset,
            from->acknowledgement_batches[i].acknowledge_types,
            from->acknowledgement_batches[i].acknowledge_types_len};
    to->acks_ok = share_acks_ok(call, acks, to->acks_len);
}

static void take_fetch(struct fetching *f, const struct share_fetch_request *q)
{
    struct share_call *call = &f->call;
    struct arena *arena = &call->request->arena;
    size_t len = 0;

    call->group = q->group_id;
    call->member = q->member_id;
    call->epoch = q->share_session_epoch;
    call->renews = call->request->version >= RENEW_VERSION && q->is_renew_ack;
    for (int32_t t = 0; t < q->topics_len; t++)
        len += (size_t)q->topics[t].partitions_len;
    call->asked = arena_array(arena, len, sizeof *call->asked);
    for (int32_t t = 0; t < q->topics_len; t++)
        for (int32_t p = 0; p < q->topics[t].partitions_len; p++) {
            struct share_asked *to = &call->asked[call->asked_len++];

            to->topic = q->topics[t].topic_id;
            to->partition = q->topics[t].partitions[p].partition_index;
            take_fetch_acks(arena, call, &q->topics[t].partitions[p], to);
        }
}

/* With renewals nothing may be fetched (KIP-1222). */
static enum err check_fetch(const struct fetching *f,
                            const struct share_fetch_request *q)
{
    enum err error = share_call_check(&f->call);

    if (error == ERR_NONE && f->call.renews &&
        (q->max_wait_ms > 0 || q->min_bytes > 0 || q->max_bytes > 0 ||
         q->max_records > 0))
        error = ERR_INVALID_REQUEST;
    return error;
}

static struct share_session_name *forgotten(struct arena *arena,
                                            const struct share_fetch_request *q,
                                            uint32_t *len)
{
    struct share_session_name *names;
    size_t most = 0;

    for (int32_t t = 0; t < q->forgotten_topics_data_len; t++)
        most += (size_t)q->forgotten_topics_data[t].partitions_len;
    names = arena_array(arena, most, sizeof *names);
    *len = 0;
    for (int32_t t = 0; t < q->forgotten_topics_data_len; t++)
        for (int32_t p = 0; p < q->forgotten_topics_data[t].partitions_len; p++)
            names[(*len)++] = (struct share_session_name){
                q->forgotten_topics_data[t].topic_id,
                q->forgotten_topics_data[t].partitions[p]};
    return names;
}

/* ---- ShareFetch: the response --------------------------------------------*/

/* What is said of one partition: its acknowledgement, its records, or both. */
struct said {
    struct share_session_name name;
    const struct share_asked *asked; /* NULL: nothing was acknowledged */
    struct share_fetched *fetched;   /* NULL: nothing was found */
    int order;
};

static int by_name(const void *a, const void *b)
{
    const struct said *x = a, *y = b;
    int order = memcmp(x->name.topic.bytes, y->name.topic.bytes, 16);

    if (order != 0)
        return order;
    if (x->name.partition != y->name.partition)
        return x->name.partition < y->name.partition ? -1 : 1;
    return x->order - y->order;
}

static bool same(const struct said *a, const struct said *b)
{
    return uuid_eq(a->name.topic, b->name.topic) &&
           a->name.partition == b->name.partition;
}

/* One for each partition, in an order that is always the same. */
static struct said *say(struct fetching *f, int *len)
{
    size_t most = (size_t)f->call.asked_len + (size_t)f->fetch.items_len;
    struct said *all = arena_array(&f->call.request->arena, most, sizeof *all);
    int n = 0, kept = 0;

    for (int32_t i = 0; i < f->call.asked_len; i++) {
        const struct share_asked *a = &f->call.asked[i];

        if (a->acknowledged) {
            all[n] = (struct said){{a->topic, a->partition}, a, NULL, n};
            n++;
        }
    }
    for (int i = 0; i < f->fetch.items_len; i++) {
        struct share_fetched *item = &f->fetch.items[i];

        if (item->err != ERR_NONE || item->taken.acquired.len != 0) {
            all[n] = (struct said){item->name, NULL, item, n};
            n++;
        }
    }
    if (n != 0)
        qsort(all, (size_t)n, sizeof *all, by_name);
    for (int i = 0; i < n; i++) {
        struct said *last = kept == 0 ? NULL : &all[kept - 1];

        if (last == NULL || !same(last, &all[i]))
            all[kept++] = all[i];
        else if (all[i].fetched != NULL)
            last->fetched = all[i].fetched;
    }
    *len = kept;
    return all;
}

static void add_fetch_endpoint(struct request *r,
                               struct share_fetch_response *a, int32_t id)
{
    const struct shard_broker *b = request_hint(r, id);

    for (int32_t i = 0; b != NULL && i < a->node_endpoints_len; i++)
        if (a->node_endpoints[i].node_id == id)
            return;
    if (b == NULL)
        return;
    struct share_fetch_response_node_endpoint *e =
        &a->node_endpoints[a->node_endpoints_len++];
    share_fetch_response_node_endpoint_init(e);
    e->node_id = id;
    e->host = arena_copy(&r->arena, slice_str(b->client_host));
    e->port = b->client_port;
}

static void fill_acquired(struct request *r, const struct share_acquired *from,
                          struct share_fetch_response_partition_data *to)
{
    to->acquired_records =
        arena_array(&r->arena, from->len, sizeof *to->acquired_records);
    to->acquired_records_len = (int32_t)from->len;
    for (uint32_t i = 0; i < from->len; i++)
        to->acquired_records[i] =
            (struct share_fetch_response_acquired_records){
                from->ranges[i].first, from->ranges[i].last,
                from->ranges[i].deliveries};
}

static void fill_partition(struct request *r, struct share_fetch_response *a,
                           const struct said *said,
                           struct share_fetch_response_partition_data *to)
{
    struct share_fetched *f = said->fetched;
    int32_t leader = f != NULL && f->leader >= 0 ? f->leader
                     : said->asked != NULL       ? said->asked->leader
                                                 : -1;

    share_fetch_response_partition_data_init(to);
    to->partition_index = said->name.partition;
    to->records.bytes = SLICE("");
    to->current_leader.leader_id = to->current_leader.leader_epoch = -1;
    if (said->asked != NULL) {
        to->acknowledge_error_code = err_wire(said->asked->err);
        to->current_leader.leader_epoch = said->asked->leader_epoch;
        if (said->asked->err != ERR_NONE)
            to->acknowledge_error_message =
                slice_str(err_text(said->asked->err));
    }
    if (f != NULL) {
        to->error_code = err_wire(f->err);
        if (f->err != ERR_NONE)
            to->error_message = slice_str(err_text(f->err));
        if (f->leader >= 0)
            to->current_leader.leader_epoch = f->leader_epoch;
        fill_acquired(r, &f->taken.acquired, to);
    }
    to->current_leader.leader_id = leader;
    add_fetch_endpoint(r, a, leader);
    if (f != NULL && f->taken.range.len != 0) {
        to->records.ext = &f->taken.range;
        to->records.ext_len = f->taken.range.len;
    }
}

static void fill_topics(struct request *r, struct share_fetch_response *a,
                        const struct said *said, int len)
{
    struct share_fetch_response_share_fetchable_topic_response *t = NULL;
    struct share_fetch_response_partition_data *items =
        arena_array(&r->arena, (size_t)len, sizeof *items);

    a->responses = arena_array(&r->arena, (size_t)len, sizeof *a->responses);
    a->node_endpoints =
        arena_array(&r->arena, (size_t)len, sizeof *a->node_endpoints);
    for (int i = 0; i < len; i++) {
        if (t == NULL || !uuid_eq(t->topic_id, said[i].name.topic)) {
            t = &a->responses[a->responses_len++];
            t->topic_id = said[i].name.topic;
            t->partitions = &items[i];
        }
        fill_partition(r, a, &said[i], &t->partitions[t->partitions_len++]);
    }
}

/* Who was served waits for the others the next time.  What was acquired for a
 * session that is gone meanwhile nobody would release. */
static void settle_items(struct fetching *f)
{
    struct share_session *session = share_call_session(&f->call);
    struct share_session_name *taken = arena_array(
        &f->call.request->arena, (size_t)f->fetch.items_len, sizeof *taken);
    size_t len = 0;

    for (int i = 0; i < f->fetch.items_len; i++) {
        const struct share_fetched *item = &f->fetch.items[i];

        if (item->taken.acquired.len == 0)
            continue;
        taken[len++] = item->name;
        if (session != NULL)
            share_session_serve(session, &item->name);
    }
    if (session == NULL && len != 0)
        share_call_release(&f->call, taken, len);
}

static void respond_fetch(struct fetching *f)
{
    struct request *r = f->call.request;
    struct share_fetch_response a;
    int len;
    struct said *said = say(f, &len);
    struct log_range *ranges =
        arena_array(&r->arena, (size_t)f->fetch.items_len, sizeof *ranges);

    share_fetch_response_init(&a);
    a.acquisition_lock_timeout_ms = share_lock_ms(&f->call);
    fill_topics(r, &a, said, len);
    settle_items(f);
    for (int i = 0; i < f->fetch.items_len; i++)
        ranges[i] = f->fetch.items[i].taken.range;
    for (int i = 0; i < f->fetch.items_len; i++)
        share_acquired_free(&f->fetch.items[i].taken.acquired);
    request_respond_ranges(r, &a, ranges, f->fetch.items_len);
}

/* ---- ShareFetch ----------------------------------------------------------*/

static void fetched(struct share_fetch *fetch)
{
    fetch->call->request->cancel = NULL;
    respond_fetch(LIST_ENTRY(fetch, struct fetching, fetch));
}

static void on_cancel(struct request *r)
{
    share_fetch_cancel(&((struct fetching *)r->context)->fetch);
}

static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

static void acknowledged_fetch(struct share_call *call)
{
    struct request *r = call->request;
    const struct share_fetch_request *q = r->msg;
    struct fetching *f = LIST_ENTRY(call, struct fetching, call);
    int64_t max_bytes =
        at_most(q->max_bytes, r->shard->broker->config->fetch_max_bytes);

    if (call->epoch == SHARE_EPOCH_FINAL || call->renews ||
        q->max_records <= 0 || max_bytes <= 0 ||
        share_call_session(call) == NULL) {
        respond_fetch(f);
        return;
    }
    f->fetch.call = call;
    f->fetch.min_bytes = at_most(q->min_bytes, max_bytes);
    f->fetch.max_bytes = max_bytes;
    f->fetch.max_wait_ms = q->max_wait_ms;
    f->fetch.max_records = q->max_records;
    f->fetch.batch_size = q->batch_size;
    f->fetch.mode = r->version >= MODE_VERSION &&
                            q->share_acquire_mode == SHARE_RECORD_LIMIT
                        ? SHARE_RECORD_LIMIT
                        : SHARE_BATCH_OPTIMIZED;
    f->fetch.done = fetched;
    f->fetch.last = r->conn == NULL;
    r->context = f;
    r->cancel = on_cancel;
    share_fetch_start(&f->fetch);
}

void api_share_fetch(struct request *r)
{
    const struct share_fetch_request *q = r->msg;
    struct fetching *f = arena_alloc(&r->arena, sizeof *f);
    uint32_t forget_len;

    f->call.request = r;
    take_fetch(f, q);
    enum err error = check_fetch(f, q);
    const struct share_session_name *forget =
        forgotten(&r->arena, q, &forget_len);
    if (error == ERR_NONE)
        error = share_call_fetch(&f->call, forget, forget_len);
    if (error != ERR_NONE)
        respond_fetch_error(r, error);
    else
        share_call_start_acks(&f->call, acknowledged_fetch);
}

/* ---- ShareAcknowledge ----------------------------------------------------*/

static void take_ack_batches(
    struct arena *arena, struct share_call *call,
    const struct share_acknowledge_request_acknowledge_partition *from,
    struct share_asked *to)
{
    struct share_ack *acks = arena_array(
        arena, (size_t)from->acknowledgement_batches_len, sizeof *acks);

    to->acks = acks;
    to->acks_len = (uint32_t)from->acknowledgement_batches_len;
    for (uint32_t i = 0; i < to->acks_len; i++)
        acks[i] = (struct share_ack){
            from->acknowledgement_batches[i].first_offset,
            from->acknowledgement_batches[i].last_offset,
            from->acknowledgement_batches[i].acknowledge_types,
            from->acknowledgement_batches[i].acknowledge_types_len};
    to->acks_ok = share_acks_ok(call, acks, to->acks_len);
}

static void take_acknowledge(struct share_call *call,
                             const struct share_acknowledge_request *q)
{
    struct arena *arena = &call->request->arena;
    size_t len = 0;

    call->group = q->group_id;
    call->member = q->member_id;
    call->epoch = q->share_session_epoch;
    call->renews = call->request->version >= RENEW_VERSION && q->is_renew_ack;
    for (int32_t t = 0; t < q->topics_len; t++)
        len += (size_t)q->topics[t].partitions_len;
    call->asked = arena_array(arena, len, sizeof *call->asked);
    for (int32_t t = 0; t < q->topics_len; t++)
        for (int32_t p = 0; p < q->topics[t].partitions_len; p++) {
            struct share_asked *to = &call->asked[call->asked_len++];

            to->topic = q->topics[t].topic_id;
            to->partition = q->topics[t].partitions[p].partition_index;
            take_ack_batches(arena, call, &q->topics[t].partitions[p], to);
        }
}

static void add_ack_endpoint(struct request *r,
                             struct share_acknowledge_response *a, int32_t id)
{
    const struct shard_broker *b = request_hint(r, id);

    for (int32_t i = 0; b != NULL && i < a->node_endpoints_len; i++)
        if (a->node_endpoints[i].node_id == id)
            return;
    if (b == NULL)
        return;
    struct share_acknowledge_response_node_endpoint *e =
        &a->node_endpoints[a->node_endpoints_len++];
    share_acknowledge_response_node_endpoint_init(e);
    e->node_id = id;
    e->host = arena_copy(&r->arena, slice_str(b->client_host));
    e->port = b->client_port;
}

static void
fill_acknowledged(struct request *r, struct share_acknowledge_response *a,
                  const struct share_asked *asked,
                  struct share_acknowledge_response_partition_data *to)
{
    share_acknowledge_response_partition_data_init(to);
    to->partition_index = asked->partition;
    to->error_code = err_wire(asked->err);
    if (asked->err != ERR_NONE)
        to->error_message = slice_str(err_text(asked->err));
    to->current_leader.leader_id = asked->leader;
    to->current_leader.leader_epoch = asked->leader_epoch;
    add_ack_endpoint(r, a, asked->leader);
}

/* As asked, one answer for each partition: without acknowledgements it is that
 * nothing was wrong. */
static void acknowledged_alone(struct share_call *call)
{
    struct request *r = call->request;
    const struct share_acknowledge_request *q = r->msg;
    const struct share_asked *asked = call->asked;
    struct share_acknowledge_response a;

    share_acknowledge_response_init(&a);
    a.acquisition_lock_timeout_ms = share_lock_ms(call);
    a.node_endpoints = arena_array(&r->arena, (size_t)call->asked_len,
                                   sizeof *a.node_endpoints);
    a.responses =
        arena_array(&r->arena, (size_t)q->topics_len, sizeof *a.responses);
    a.responses_len = q->topics_len;
    for (int32_t t = 0; t < q->topics_len; t++) {
        int32_t len = q->topics[t].partitions_len;

        a.responses[t].topic_id = q->topics[t].topic_id;
        a.responses[t].partitions_len = len;
        a.responses[t].partitions = arena_array(
            &r->arena, (size_t)len, sizeof *a.responses[t].partitions);
        for (int32_t p = 0; p < len; p++)
            fill_acknowledged(r, &a, asked++, &a.responses[t].partitions[p]);
    }
    request_respond(r, &a);
}

void api_share_acknowledge(struct request *r)
{
    struct share_call *call = arena_alloc(&r->arena, sizeof *call);
    struct share_acknowledge_response a;

    call->request = r;
    take_acknowledge(call, r->msg);
    enum err error = share_call_check(call);
    if (call->group.len == 0)
        error = ERR_SHARE_SESSION_NOT_FOUND; /* none was ever begun */
    if (error == ERR_NONE)
        error = share_call_acknowledge(call);
    if (error == ERR_NONE) {
        share_call_start_acks(call, acknowledged_alone);
        return;
    }
    share_acknowledge_response_init(&a);
    a.error_code = err_wire(error);
    a.error_message = slice_str(err_text(error));
    request_respond(r, &a);
}
