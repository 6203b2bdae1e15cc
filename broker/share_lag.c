#include "broker/share_lag.h"

#include "base/alloc.h"
#include "broker/meta_parts.h"
#include "broker/peers.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    VERSION = 7, /* of ListOffsets */
    TIMESTAMP_LATEST = -1,
    ANSWER_MS = 5000,
    /* Asked at once; with the longest names less than a MiB. */
    REQUEST_PARTITIONS_MAX = 2000,
    /* Of one call, or naming a partition again and again would keep the
     * metadata thread busy; those beyond are not known. */
    CALL_PARTITIONS_MAX = 100000,
};

typedef struct describe_share_group_offsets_response_topic described_topic;
typedef struct describe_share_group_offsets_response_partition
    described_partition;

/* A partition whose end is wanted. */
struct share_lag_end {
    const described_topic *topic;
    described_partition *to;
    int32_t complete;
    int32_t leader; /* -1: nobody to ask */
    int64_t offset; /* the high watermark; -1: not known */
};

struct share_lag {
    struct meta *meta;
    struct peers *peers;
    bool stopped;
};

/* ---- the shard's thread --------------------------------------------------*/

#define EACH_TOPIC(response, topic)                                            \
    for (int32_t g_ = 0; g_ < (response)->groups_len; g_++)                    \
        for (described_topic *topic = (response)->groups[g_].topics;           \
             topic < (response)->groups[g_].topics +                           \
                         (response)->groups[g_].topics_len;                    \
             topic++)

static int32_t count(const struct share_lag_call *call)
{
    int64_t len = 0;

    EACH_TOPIC(call->response, topic)
    len += topic->partitions_len;
    return len < CALL_PARTITIONS_MAX ? (int32_t)len : CALL_PARTITIONS_MAX;
}

static void collect(struct share_lag_call *call, described_topic *topic,
                    int32_t max)
{
    for (int32_t i = 0; i < topic->partitions_len; i++) {
        described_partition *p = &topic->partitions[i];
        int32_t complete = (int32_t)p->lag;

        p->lag = -1;
        if (p->error_code != ERR_NONE || p->start_offset < 0 || complete < 0 ||
            call->ends_len == max)
            continue;
        call->ends[call->ends_len] =
            (struct share_lag_end){.topic = topic,
                                   .to = p,
                                   .complete = complete,
                                   .leader = -1,
                                   .offset = -1};
        call->ends_len++;
    }
}

/* A group can be set to begin behind the end. */
static int64_t lag_of(const struct share_lag_end *end)
{
    int64_t start = end->to->start_offset;

    if (end->offset < 0)
        return -1;
    return end->offset - end->complete > start
               ? end->offset - end->complete - start
               : 0;
}

static void home(struct env_task *task)
{
    struct share_lag_call *call = LIST_ENTRY(task, struct share_lag_call, task);

    for (int32_t i = 0; i < call->ends_len; i++)
        call->ends[i].to->lag = lag_of(&call->ends[i]);
    call->done(call);
}

static void arrived(struct env_task *task);

void share_lag_start(struct share_lag_call *call, struct arena *arena)
{
    int32_t max = count(call);

    call->ends = arena_array(arena, (size_t)max, sizeof *call->ends);
    call->ends_len = 0;
    EACH_TOPIC(call->response, topic)
    collect(call, topic, max);
    if (call->ends_len == 0) {
        call->done(call);
        return;
    }
    call->task.fn = arrived;
    env_post(meta_env(call->shard->broker->meta), &call->task);
}

/* ---- who leads -----------------------------------------------------------*/

static bool address_of(const struct share_lag *l, int32_t id,
                       struct peer_address *address)
{
    const struct image_broker *b = image_broker(&l->meta->image, id);
    const struct image_endpoint *e =
        b == NULL ? NULL : meta_broker_endpoint(l->meta, b);

    if (e == NULL)
        return false;
    *address = (struct peer_address){b->id, b->epoch, e->host, e->port};
    return true;
}

static void find_leaders(const struct share_lag *l, struct share_lag_call *call)
{
    const described_topic *last = NULL;
    const struct image_topic *t = NULL;

    for (int32_t i = 0; i < call->ends_len; i++) {
        struct share_lag_end *end = &call->ends[i];
        int32_t index = end->to->partition_index;

        if (end->topic != last) {
            t = image_topic(&l->meta->image, end->topic->topic_name);
            if (t != NULL && !uuid_eq(t->id, end->topic->topic_id))
                t = NULL; /* another one of this name */
            last = end->topic;
        }
        if (t != NULL && index >= 0 && index < t->partitions_len)
            end->leader = t->partitions[index]->leader;
    }
}

static int by_leader(const void *a, const void *b)
{
    const struct share_lag_end *x = a, *y = b;
    int32_t p = x->to->partition_index, q = y->to->partition_index;

    if (x->leader != y->leader)
        return x->leader < y->leader ? -1 : 1;
    int names = slice_cmp(x->topic->topic_name, y->topic->topic_name);
    if (names != 0)
        return names;
    return p < q ? -1 : p > q;
}

/* Of the same partition: several groups have it, or it was named again. */
static bool is_same(const struct share_lag_end *a,
                    const struct share_lag_end *b)
{
    return a->to->partition_index == b->to->partition_index &&
           slice_eq(a->topic->topic_name, b->topic->topic_name);
}

/* ---- requests ------------------------------------------------------------*/

struct ends_call {
    struct peer_call call;
    struct share_lag *lag;
    struct share_lag_call *of;
    int32_t first;
    int32_t len;
};

static void end_one(struct share_lag_call *call)
{
    if (--call->pending > 0)
        return;
    call->task.fn = home;
    env_post(call->shard->env, &call->task);
}

/* Leaders answer in the order in which they were asked. */
static void take(const struct ends_call *e,
                 const struct list_offsets_response *response)
{
    struct share_lag_end *end = &e->of->ends[e->first];
    const struct share_lag_end *last = end + e->len;

    for (int32_t i = 0; i < response->topics_len; i++) {
        const struct list_offsets_response_topic_response *topic =
            &response->topics[i];

        for (int32_t j = 0; j < topic->partitions_len && end < last; j++) {
            const struct list_offsets_response_partition_response *p =
                &topic->partitions[j];

            if (p->partition_index != end->to->partition_index ||
                !slice_eq(topic->name, end->topic->topic_name))
                continue;
            const struct share_lag_end *asked = end;
            for (; end < last && is_same(end, asked); end++)
                if (p->error_code == ERR_NONE && p->offset >= 0)
                    end->offset = p->offset;
        }
    }
}

static void answered(struct peer_call *call, enum err error,
                     const void *response)
{
    struct ends_call *e = LIST_ENTRY(call, struct ends_call, call);

    if (!e->lag->stopped) {
        if (error == ERR_NONE)
            take(e, response);
        end_one(e->of);
    }
    free(e);
}

/* Each partition once: what is named twice is refused. */
static void build(const struct share_lag_end *ends, int32_t len,
                  struct arena *arena, struct list_offsets_request *q)
{
    struct list_offsets_request_partition *p =
        arena_array(arena, (size_t)len, sizeof *p);
    struct list_offsets_request_topic *topic =
        arena_array(arena, (size_t)len, sizeof *topic);

    list_offsets_request_init(q);
    q->replica_id = -1;
    q->topics = topic--;
    for (int32_t i = 0; i < len; i++) {
        if (i != 0 && is_same(&ends[i], &ends[i - 1]))
            continue;
        if (i == 0 || !slice_eq(ends[i].topic->topic_name,
                                ends[i - 1].topic->topic_name)) {
            list_offsets_request_topic_init(++topic);
            topic->name = ends[i].topic->topic_name;
            topic->partitions = p;
            q->topics_len++;
        }
        list_offsets_request_partition_init(p);
        p->partition_index = ends[i].to->partition_index;
        p->timestamp = TIMESTAMP_LATEST;
        p++;
        topic->partitions_len++;
    }
}

/* Those of one leader, from `first` on, as many as a request may have. */
static int32_t run_of(const struct share_lag_call *call, int32_t first)
{
    int32_t len = 1;

    while (first + len < call->ends_len && len < REQUEST_PARTITIONS_MAX &&
           call->ends[first + len].leader == call->ends[first].leader)
        len++;
    return len;
}

static void ask(struct share_lag *l, struct share_lag_call *call, int32_t first,
                int32_t len)
{
    struct list_offsets_request request;
    struct peer_address to;
    struct arena arena;

    if (!address_of(l, call->ends[first].leader, &to))
        return;
    struct ends_call *e = xcalloc(1, sizeof *e);
    e->call.done = answered;
    e->lag = l;
    e->of = call;
    e->first = first;
    e->len = len;
    call->pending++;
    arena_init(&arena, 0);
    build(&call->ends[first], len, &arena, &request);
    peers_send(l->peers, &to, &e->call, API_LIST_OFFSETS, VERSION, &request,
               ANSWER_MS);
    arena_free(&arena);
}

static void arrived(struct env_task *task)
{
    struct share_lag_call *call = LIST_ENTRY(task, struct share_lag_call, task);
    struct share_lag *l = call->shard->broker->meta->share_lag;

    if (l->stopped)
        return;
    find_leaders(l, call);
    qsort(call->ends, (size_t)call->ends_len, sizeof *call->ends, by_leader);
    call->pending = 1;
    for (int32_t first = 0, len; first < call->ends_len; first += len) {
        len = run_of(call, first);
        ask(l, call, first, len);
    }
    end_one(call);
}

/* ---- life ----------------------------------------------------------------*/

struct share_lag *share_lag_new(struct meta *m)
{
    struct share_lag *l = xcalloc(1, sizeof *l);
    char client_id[48];

    snprintf(client_id, sizeof client_id, "share-lag-%d",
             (int)m->broker->node_id);
    l->meta = m;
    l->peers = peers_new(m->env, client_id);
    return l;
}

void share_lag_stop(struct share_lag *l)
{
    l->stopped = true;
    peers_stop(l->peers);
}

void share_lag_free(struct share_lag *l)
{
    peers_free(l->peers);
    free(l);
}
