/* Who is who: DescribeCluster, FindCoordinator, and InitProducerId for
 * producers without transactions. */
#include "broker/cluster_view.h"
#include "broker/coord/placement.h"
#include "broker/coordinators.h"
#include "broker/dispatch.h"
#include "broker/share_states.h"
#include "broker/transactions.h"

enum { CREATE_WAIT_MS = 1000, IDS_WAIT_MS = 5000 };

/* ---- DescribeCluster ---------------------------------------------------- */

enum { ENDPOINT_BROKERS = 1, ENDPOINT_CONTROLLERS = 2 };

static void describe_brokers(const struct cluster_view *v, bool fenced_too,
                             struct describe_cluster_response *a)
{
    a->brokers = arena_array(v->arena, v->len, sizeof *a->brokers);
    for (size_t i = 0; i < v->len; i++) {
        const struct view_broker *b = &v->brokers[i];

        if (b->endpoint == NULL || (!b->alive && !fenced_too))
            continue;
        a->brokers[a->brokers_len++] =
            (struct describe_cluster_response_broker){
                .broker_id = b->id,
                .host = slice_str(b->endpoint->host),
                .port = b->endpoint->port,
                .rack = b->broker->rack[0] != '\0' ? slice_str(b->broker->rack)
                                                   : SLICE_NULL,
                .is_fenced = !b->alive,
            };
    }
}

void api_describe_cluster(struct request *r)
{
    const struct describe_cluster_request *q = r->msg;
    struct describe_cluster_response a;
    struct cluster_view v;

    cluster_view_init(&v, r);
    describe_cluster_response_init(&a);
    a.cluster_id = slice_str(r->shard->broker->cluster_id);
    a.controller_id = cluster_view_controller(&v);
    if (q->endpoint_type == ENDPOINT_BROKERS) {
        describe_brokers(&v, q->include_fenced_brokers, &a);
        if (q->include_cluster_authorized_operations)
            a.cluster_authorized_operations = CLUSTER_OPERATIONS_ALL;
    } else if (q->endpoint_type == ENDPOINT_CONTROLLERS) {
        a.error_code = ERR_MISMATCHED_ENDPOINT_TYPE;
        a.error_message = SLICE("This is a broker; ask a controller for the "
                                "controllers' endpoints.");
    } else {
        a.error_code = ERR_UNSUPPORTED_ENDPOINT_TYPE;
        a.error_message = SLICE("Unknown endpoint type.");
    }
    request_respond(r, &a);
}

/* ---- FindCoordinator ---------------------------------------------------- */

enum { KEY_GROUP, KEY_TRANSACTION, KEY_SHARE };

static void find_error(struct find_coordinator_response_coordinator *out,
                       enum err error, struct slice message)
{
    out->node_id = out->port = -1;
    out->host = SLICE("");
    out->error_code = err_wire(error);
    out->error_message = message;
}

/* The topic whose partitions the coordinators of that type stand on. */
static struct slice topic_of(int8_t type)
{
    return type == KEY_TRANSACTION ? SLICE(TXN_TOPIC)
           : type == KEY_SHARE     ? SLICE(SHARE_STATE_TOPIC)
                                   : SLICE(GROUP_TOPIC);
}

static void find_in(const struct cluster_view *v, struct slice topic,
                    struct find_coordinator_response_coordinator *out)
{
    const struct image_topic *t = image_topic(v->image, topic);
    const struct view_broker *b = NULL;

    if (t != NULL && t->partitions_len != 0)
        b = cluster_view_broker(
            v, t->partitions[coord_partition_of(out->key, t->partitions_len)]
                   ->leader);
    if (!view_broker_usable(b)) {
        find_error(out, ERR_COORDINATOR_NOT_AVAILABLE, SLICE_NULL);
        return;
    }
    out->node_id = b->id;
    out->host = slice_str(b->endpoint->host);
    out->port = b->endpoint->port;
}

enum { FIND_SHARE_VERSION = 6 };

/* Null: it is one. */
static struct slice why_no_key(int8_t type, int16_t version, struct slice key)
{
    if (type < KEY_GROUP || type > KEY_SHARE)
        return SLICE("Unknown coordinator type.");
    if (type == KEY_SHARE && version < FIND_SHARE_VERSION)
        return SLICE("Coordinators of share partitions are known from version "
                     "6 on.");
    if (type == KEY_SHARE && !share_coordinator_key_ok(key))
        return SLICE("The key must have the form groupId:topicId:partition.");
    return SLICE_NULL;
}

static void find_one(const struct cluster_view *v, int8_t type, int16_t version,
                     struct find_coordinator_response_coordinator *out)
{
    struct slice why = why_no_key(type, version, out->key);

    if (slice_is_null(why))
        find_in(v, topic_of(type), out);
    else
        find_error(out, ERR_INVALID_REQUEST, why);
}

/*
 * Versions 1 to 3 have a message beside the error, and Apache Kafka says NONE
 * when all is well (kafkajs's tests look for it); from version 4 on, nothing.
 */
static struct slice
found_message(const struct find_coordinator_response_coordinator *c)
{
    return c->error_code == 0 ? SLICE("NONE") : c->error_message;
}

/* Versions up to 3 ask for one key and have the answer in the body itself. */
static void
respond_coordinators(struct request *r,
                     struct find_coordinator_response_coordinator *c,
                     int32_t len)
{
    struct find_coordinator_response a;

    find_coordinator_response_init(&a);
    if (r->version >= 4) {
        a.coordinators = c;
        a.coordinators_len = len;
    } else {
        a.error_code = c->error_code;
        a.error_message = found_message(c);
        a.node_id = c->node_id;
        a.host = c->host;
        a.port = c->port;
    }
    request_respond(r, &a);
}

/* True when every key is answered for good. */
static bool find_all(struct request *r,
                     struct find_coordinator_response_coordinator **out,
                     int32_t *len)
{
    const struct find_coordinator_request *q = r->msg;
    struct cluster_view v;
    bool found = true;

    cluster_view_init(&v, r);
    *len = r->version >= 4 ? q->coordinator_keys_len : 1;
    *out = arena_array(&r->arena, (size_t)*len, sizeof **out);
    for (int32_t i = 0; i < *len; i++) {
        find_coordinator_response_coordinator_init(&(*out)[i]);
        (*out)[i].key = r->version >= 4 ? q->coordinator_keys[i] : q->key;
        find_one(&v, q->key_type, r->version, &(*out)[i]);
        found &= (*out)[i].error_code != ERR_COORDINATOR_NOT_AVAILABLE;
    }
    return found;
}

static void find_again(struct parked *p, bool last)
{
    struct request *r = p->request;
    struct meta *m = p->meta;
    struct find_coordinator_response_coordinator *c;
    int32_t len;
    const struct find_coordinator_request *q = r->msg;
    struct slice topic = topic_of(q->key_type);
    bool hopeless =
        !creation_running(m, topic) && image_topic(&m->image, topic) == NULL;

    if (!find_all(r, &c, &len) && !last && !hopeless)
        return;
    meta_unpark(p);
    respond_coordinators(r, c, len);
}

/* The first group of a cluster brings __consumer_offsets about, and so on. */
void api_find_coordinator(struct request *r)
{
    struct meta *m = request_meta(r);
    struct find_coordinator_response_coordinator *c;
    const struct find_coordinator_request *q = r->msg;
    struct slice name = topic_of(q->key_type);
    int32_t len;

    if (find_all(r, &c, &len) || image_topic(&m->image, name) != NULL) {
        respond_coordinators(r, c, len);
        return;
    }
    struct parked *p = arena_alloc(&r->arena, sizeof *p);
    p->request = r;
    p->retry = find_again;
    meta_park(m, p, CREATE_WAIT_MS);
    creations_start(m, &name, 1);
}

/* ---- InitProducerId ----------------------------------------------------- */

static void respond_id(struct request *r, enum err error, int64_t id)
{
    struct init_producer_id_response a;

    init_producer_id_response_init(&a);
    a.error_code = err_wire(error);
    a.producer_id = id;
    a.producer_epoch = (int16_t)(id < 0 ? -1 : 0);
    request_respond(r, &a);
}

static void id_again(struct parked *p, bool last)
{
    int64_t id = ids_take(p->meta);

    if (id < 0 && !last)
        return;
    meta_unpark(p);
    respond_id(p->request, id < 0 ? ERR_COORDINATOR_LOAD_IN_PROGRESS : ERR_NONE,
               id);
}

static void any_id(struct request *r)
{
    int64_t id = ids_take(request_meta(r));
    if (id >= 0) {
        respond_id(r, ERR_NONE, id);
        return;
    }
    struct parked *p = arena_alloc(&r->arena, sizeof *p);
    p->request = r;
    p->retry = id_again;
    meta_park(request_meta(r), p, IDS_WAIT_MS);
}

void api_init_producer_id(struct request *r)
{
    const struct init_producer_id_request *q = r->msg;

    if (!slice_is_null(q->transactional_id) && q->transactional_id.len == 0)
        respond_id(r, ERR_INVALID_REQUEST, -1);
    else if (!slice_is_null(q->transactional_id))
        api_txn_request(r);
    else if ((q->producer_id < 0) != (q->producer_epoch < 0))
        respond_id(r, ERR_INVALID_REQUEST, -1);
    else
        request_move(r, meta_env(request_meta(r)), any_id);
}
