/* Metadata: brokers, topics, partitions and their leaders, out of the image.
 *
 * The answer points into the image and is encoded at once, so ten thousand
 * partitions cost one pass and no copies.
 *
 * A topic that does not exist but may be created is created, and the answer
 * waits a moment for it: clients then need no second try.  If it takes longer
 * they hear UNKNOWN_TOPIC_OR_PARTITION or LEADER_NOT_AVAILABLE, which they all
 * retry. */
#include "broker/cluster_view.h"
#include "broker/dispatch.h"
#include "broker/internal_topics.h"

enum { CREATE_WAIT_MS = 1000 };

struct asking {
    struct parked parked;
    struct slice *missing; /* topics that are being created */
    size_t missing_len;
};

static int32_t *ids(struct image_ids list)
{
    return (int32_t *)(uintptr_t)list.at; /* read only */
}

/* ---- partitions --------------------------------------------------------- */

/* Version 0 knows no replicas but those alive. */
static int32_t *alive_only(const struct cluster_view *v, struct image_ids list,
                           int32_t *len)
{
    int32_t *alive = arena_array(v->arena, list.len, sizeof *alive);

    *len = 0;
    for (uint32_t i = 0; i < list.len; i++)
        if (view_broker_usable(cluster_view_broker(v, list.at[i])))
            alive[(*len)++] = list.at[i];
    return alive;
}

static void trim_to_version_0(const struct cluster_view *v,
                              const struct image_partition *p,
                              struct metadata_response_partition *out)
{
    out->replica_nodes =
        alive_only(v, image_replicas(p), &out->replica_nodes_len);
    out->isr_nodes = alive_only(v, image_isr(p), &out->isr_nodes_len);
    if (out->error_code == ERR_NONE &&
        (out->replica_nodes_len < (int32_t)image_replicas(p).len ||
         out->isr_nodes_len < (int32_t)image_isr(p).len))
        out->error_code = ERR_REPLICA_NOT_AVAILABLE;
}

static void fill_partition(const struct cluster_view *v, int16_t version,
                           int32_t index, const struct image_partition *p,
                           struct metadata_response_partition *out)
{
    enum err error = cluster_view_leader(v, p);
    struct image_ids offline = cluster_view_offline(v, p);

    if (error == ERR_LISTENER_NOT_FOUND && version < 6)
        error = ERR_LEADER_NOT_AVAILABLE;
    *out = (struct metadata_response_partition){
        .error_code = err_wire(error),
        .partition_index = index,
        .leader_id = error == ERR_NONE ? p->leader : -1,
        .leader_epoch = p->leader_epoch,
        .replica_nodes = ids(image_replicas(p)),
        .replica_nodes_len = (int32_t)image_replicas(p).len,
        .isr_nodes = ids(image_isr(p)),
        .isr_nodes_len = (int32_t)image_isr(p).len,
        .offline_replicas = ids(offline),
        .offline_replicas_len = (int32_t)offline.len,
    };
    if (version == 0)
        trim_to_version_0(v, p, out);
}

/* ---- topics ------------------------------------------------------------- */

static void fill_topic(const struct cluster_view *v, const struct request *r,
                       const struct image_topic *t,
                       struct metadata_response_topic *out)
{
    const struct metadata_request *q = r->msg;

    metadata_response_topic_init(out);
    out->name = slice_of(t->name, t->name_len);
    out->topic_id = t->id;
    out->is_internal = topic_is_internal(out->name);
    out->partitions_len = t->partitions_len;
    out->partitions = arena_array(v->arena, (size_t)t->partitions_len,
                                  sizeof *out->partitions);
    for (int32_t i = 0; i < t->partitions_len; i++)
        fill_partition(v, r->version, i, t->partitions[i], &out->partitions[i]);
    if (q->include_topic_authorized_operations)
        out->topic_authorized_operations = TOPIC_OPERATIONS_ALL;
}

static void fill_error(struct metadata_response_topic *out, struct slice name,
                       struct uuid id, enum err error)
{
    metadata_response_topic_init(out);
    out->error_code = err_wire(error);
    out->name = name;
    out->topic_id = id;
    out->is_internal = topic_is_internal(name);
}

/* Ids are a way to ask from version 12 on; 10 and 11 only have the field. */
static void fill_asked(const struct cluster_view *v, const struct request *r,
                       const struct metadata_request_topic *asked,
                       struct metadata_response_topic *out)
{
    bool by_id = slice_is_null(asked->name);
    const struct image_topic *t;

    if (r->version < 12 && (by_id || !uuid_is_zero(asked->topic_id))) {
        fill_error(out, by_id ? SLICE("") : asked->name, asked->topic_id,
                   ERR_INVALID_REQUEST);
        return;
    }
    t = by_id ? image_topic_by_id(v->image, asked->topic_id)
              : image_topic(v->image, asked->name);
    if (t != NULL)
        fill_topic(v, r, t, out);
    else if (by_id)
        fill_error(out, SLICE_NULL, asked->topic_id, ERR_UNKNOWN_TOPIC_ID);
    else
        fill_error(out, asked->name, UUID_ZERO,
                   topic_name_valid(asked->name)
                       ? ERR_UNKNOWN_TOPIC_OR_PARTITION
                       : ERR_INVALID_TOPIC_EXCEPTION);
}

static bool wants_all(const struct request *r)
{
    const struct metadata_request *q = r->msg;

    return q->topics_len < 0 || (r->version == 0 && q->topics_len == 0);
}

static void fill_all_topics(const struct cluster_view *v,
                            const struct request *r,
                            struct metadata_response *a)
{
    struct image_topic *t;

    a->topics = arena_array(v->arena, v->image->topics_len, sizeof *a->topics);
    for (uint32_t at = 0; (t = image_topic_next(v->image, &at)) != NULL;)
        fill_topic(v, r, t, &a->topics[a->topics_len++]);
}

static void fill_asked_topics(const struct cluster_view *v,
                              const struct request *r,
                              struct metadata_response *a)
{
    const struct metadata_request *q = r->msg;

    a->topics = arena_array(v->arena, (size_t)q->topics_len, sizeof *a->topics);
    a->topics_len = q->topics_len;
    for (int32_t i = 0; i < q->topics_len; i++)
        fill_asked(v, r, &q->topics[i], &a->topics[i]);
}

/* ---- the answer --------------------------------------------------------- */

static void fill_brokers(const struct cluster_view *v,
                         struct metadata_response *a)
{
    a->brokers = arena_array(v->arena, v->len, sizeof *a->brokers);
    for (size_t i = 0; i < v->len; i++) {
        const struct view_broker *b = &v->brokers[i];

        if (!view_broker_usable(b))
            continue;
        a->brokers[a->brokers_len++] = (struct metadata_response_broker){
            .node_id = b->id,
            .host = slice_str(b->endpoint->host),
            .port = b->endpoint->port,
            .rack = b->broker->rack[0] != '\0' ? slice_str(b->broker->rack)
                                               : SLICE_NULL,
        };
    }
}

static void answer(struct request *r)
{
    const struct metadata_request *q = r->msg;
    struct metadata_response a;
    struct cluster_view v;

    cluster_view_init(&v, r);
    metadata_response_init(&a);
    fill_brokers(&v, &a);
    a.cluster_id = slice_str(r->shard->broker->cluster_id);
    a.controller_id = cluster_view_controller(&v);
    if (wants_all(r))
        fill_all_topics(&v, r, &a);
    else
        fill_asked_topics(&v, r, &a);
    if (q->include_cluster_authorized_operations)
        a.cluster_authorized_operations = CLUSTER_OPERATIONS_ALL;
    request_respond(r, &a);
}

/* ---- waiting for topics ------------------------------------------------- */

static bool is_settled(const struct cluster_view *v, struct slice name)
{
    const struct image_topic *t = image_topic(v->image, name);

    if (creation_running(v->meta, name))
        return false;
    for (int32_t i = 0; t != NULL && i < t->partitions_len; i++)
        if (cluster_view_leader(v, t->partitions[i]) ==
            ERR_LEADER_NOT_AVAILABLE)
            return false;
    return true;
}

static void look_again(struct parked *p, bool last)
{
    struct asking *asking = LIST_ENTRY(p, struct asking, parked);
    bool settled = true;
    struct cluster_view v;

    cluster_view_init(&v, p->request);
    for (size_t i = 0; i < asking->missing_len && settled; i++)
        settled = is_settled(&v, asking->missing[i]);
    if (!settled && !last)
        return;
    meta_unpark(p);
    answer(p->request);
}

/* Topics that do not exist and that the request may create. */
static size_t find_missing(struct request *r, struct slice **missing)
{
    const struct metadata_request *q = r->msg;
    const struct meta *m = request_meta(r);
    size_t n = 0;

    *missing = NULL;
    if (wants_all(r) || !q->allow_auto_topic_creation)
        return 0;
    for (int32_t i = 0; i < q->topics_len; i++) {
        struct slice name = q->topics[i].name;

        if (slice_is_null(name) || image_topic(&m->image, name) != NULL ||
            !creation_possible(m, name))
            continue;
        if (*missing == NULL)
            *missing =
                arena_array(&r->arena, (size_t)q->topics_len, sizeof **missing);
        (*missing)[n++] = name;
    }
    return n;
}

/* A leader that seems to be dead: the answer waits for who comes next. */
static void verdict_came(struct parked *p, bool last)
{
    if (!last && suspects_wait_ms(p->meta) > 0)
        return;
    meta_unpark(p);
    answer(p->request);
}

static void answer_after_verdict(struct meta *m, struct request *r,
                                 int64_t wait_ms)
{
    struct parked *p = arena_alloc(&r->arena, sizeof *p);

    p->request = r;
    p->retry = verdict_came;
    meta_park(m, p, wait_ms);
}

/* A topic that is named again is answered once, as in Kafka, where they are a
 * set: else a few bytes of a request would cost as much as a topic's answer. */
static void drop_repeats(struct metadata_request *q)
{
    struct map names = MAP_INIT, ids = MAP_INIT;
    int32_t kept = 0;

    for (int32_t i = 0; i < q->topics_len; i++) {
        const struct metadata_request_topic *t = &q->topics[i];
        bool by_id = slice_is_null(t->name);
        struct slice key =
            by_id ? slice_of(t->topic_id.bytes, sizeof t->topic_id.bytes)
                  : t->name;

        if (map_put(by_id ? &ids : &names, key, q) == NULL)
            q->topics[kept++] = *t;
    }
    if (q->topics_len > 0)
        q->topics_len = kept;
    map_free(&names);
    map_free(&ids);
}

void api_metadata(struct request *r)
{
    struct metadata_request *q = r->msg;
    struct meta *m = request_meta(r);

    if (q->topics_len > 1)
        drop_repeats(q);
    struct slice *missing;
    size_t n = find_missing(r, &missing);
    int64_t wait_ms = suspects_wait_ms(m);

    if (n == 0 && wait_ms > 0) {
        answer_after_verdict(m, r, wait_ms);
        return;
    }
    if (n == 0) {
        answer(r);
        return;
    }
    struct asking *asking = arena_alloc(&r->arena, sizeof *asking);
    asking->missing = missing;
    asking->missing_len = n;
    asking->parked.request = r;
    asking->parked.retry = look_again;
    meta_park(m, &asking->parked, CREATE_WAIT_MS);
    creations_start(m, missing, n);
}
