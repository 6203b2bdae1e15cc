/* Kafka's own requests on the controller listener, and DescribeQuorum, which is
 * about Raft and so not the controller core's. */
#include "controller/features.h"
#include "controller/service_parts.h"

#include "base/log.h"
#include "proto/kafka/header.h"

static bool answered_here(int16_t key)
{
    return key == API_API_VERSIONS || key == API_DESCRIBE_QUORUM ||
           key == API_DESCRIBE_CLUSTER || service_changes_voters(key) ||
           controller_handles_kafka(key);
}

/* ---- ApiVersions --------------------------------------------------------- */

static void api_versions(struct service_conn *c, const struct request_header *h,
                         enum err error, struct arena *arena)
{
    struct api_versions_response a;
    struct buf frame = BUF_INIT;
    int32_t n = 0;

    api_versions_response_init(&a);
    a.error_code = err_wire(error);
    a.api_keys = arena_array(arena, API_COUNT, sizeof *a.api_keys);
    for (int i = 0; i < API_COUNT; i++) {
        const struct api *api = &api_table[i];

        if (!api_is_served(api, API_ON_CONTROLLER) || !answered_here(api->key))
            continue;
        api_versions_response_api_version_init(&a.api_keys[n]);
        a.api_keys[n].api_key = api->key;
        a.api_keys[n].min_version = api->served[API_ON_CONTROLLER].min;
        a.api_keys[n].max_version = api->served[API_ON_CONTROLLER].max;
        n++;
    }
    a.api_keys_len = n;
    /* What is committed, which a standby knows as well. */
    struct feature_levels levels = c->service->image.applied_index > 0
                                       ? feature_levels_of(&c->service->image)
                                       : FEATURE_LEVELS_UNKNOWN;
    features_describe(&a, h->request_api_version, &levels, arena);
    int16_t version =
        error == ERR_UNSUPPORTED_VERSION ? 0 : h->request_api_version;
    if (kafka_frame_response(&frame, API_API_VERSIONS, version,
                             h->correlation_id, &a, NULL) == ERR_NONE)
        service_answer_at(c, 0, false, &frame);
}

/* What is asked is bounded; what is answered has sizes of our own. */
static enum err decode(const struct kafka_desc *desc, int16_t version,
                       struct slice body, struct arena *arena, void *q)
{
    enum err error = kafka_decode_request(desc, version, body, arena, q);

    arena->limit_bytes = 0;
    return error;
}

/* A client of version 3 and later says who it is. */
static enum err check_software(const struct request_header *h,
                               struct slice body, struct arena *arena)
{
    struct api_versions_request q;

    if (h->request_api_version < 3)
        return ERR_NONE;
    if (decode(&api_versions_request_desc, h->request_api_version, body, arena,
               &q) != ERR_NONE ||
        !api_software_name_ok(q.client_software_name) ||
        !api_software_name_ok(q.client_software_version))
        return ERR_INVALID_REQUEST;
    return ERR_NONE;
}

/* ---- DescribeCluster ----------------------------------------------------- */

enum { ENDPOINT_BROKERS = 1, ENDPOINT_CONTROLLERS = 2 };

static void fill_controllers(struct controller_service *s, struct arena *arena,
                             struct describe_cluster_response *a)
{
    const struct raft_config *members = raft_node_members(s->raft);

    a->brokers = arena_array(arena, members->len, sizeof *a->brokers);
    for (size_t i = 0; i < members->len; i++) {
        const struct raft_member *m = &members->members[i];
        struct describe_cluster_response_broker *b;

        if (!m->voter)
            continue;
        b = &a->brokers[a->brokers_len++];
        describe_cluster_response_broker_init(b);
        b->broker_id = m->id;
        b->host = slice_str(m->host);
        b->port = m->port;
    }
}

/* KIP-919: tools that know controllers only ask any of them who is active. */
static enum err describe_cluster(struct controller_service *s, int16_t version,
                                 struct slice body, struct arena *arena,
                                 struct buf *response)
{
    struct describe_cluster_request q;
    struct describe_cluster_response a;
    struct raft_node_status status;
    enum err error =
        decode(&describe_cluster_request_desc, version, body, arena, &q);

    if (error != ERR_NONE)
        return error;
    describe_cluster_response_init(&a);
    if (version == 0) /* cannot say whom it asks for */
        q.endpoint_type = ENDPOINT_CONTROLLERS;
    a.cluster_id = slice_str(s->options.cluster_id);
    if (q.endpoint_type == ENDPOINT_CONTROLLERS) {
        raft_node_status(s->raft, &status);
        if (version >= 1)
            a.endpoint_type = ENDPOINT_CONTROLLERS;
        a.controller_id = status.leader_id > 0 ? status.leader_id : -1;
        fill_controllers(s, arena, &a);
        if (q.include_cluster_authorized_operations)
            a.cluster_authorized_operations = CLUSTER_OPERATIONS_ALL;
    } else if (q.endpoint_type == ENDPOINT_BROKERS) {
        a.error_code = ERR_MISMATCHED_ENDPOINT_TYPE;
        a.error_message = SLICE("This is a controller; ask a broker for the "
                                "brokers' endpoints.");
    } else {
        a.error_code = ERR_UNSUPPORTED_ENDPOINT_TYPE;
        a.error_message = SLICE("Unknown endpoint type.");
    }
    return kafka_encode(&describe_cluster_response_desc, version, &a, response,
                        NULL);
}

/* ---- DescribeQuorum ------------------------------------------------------ */

static void fill_member(struct controller_service *s, int16_t version,
                        const struct raft_member *m,
                        struct describe_quorum_response_replica_state *v)
{
    const struct raft_peer *peer = raft_node_peer(s->raft, m->id);
    int64_t wall_ms = env_wall_ms(s->env), now_ms = env_now_ms(s->env);
    struct raft_node_status status;

    raft_node_status(s->raft, &status);
    describe_quorum_response_replica_state_init(v);
    v->replica_id = m->id;
    if (version >= 2)
        v->replica_directory_id = m->directory;
    v->log_end_offset = (int64_t)status.last_index + 1;
    v->last_fetch_timestamp = v->last_caught_up_timestamp = wall_ms;
    if (m->id == s->options.node_id || peer == NULL)
        return;
    v->log_end_offset = (int64_t)peer->match + 1;
    v->last_fetch_timestamp = wall_ms - (now_ms - peer->contact_ms);
    v->last_caught_up_timestamp =
        peer->caught_up_ms != 0 ? wall_ms - (now_ms - peer->caught_up_ms) : -1;
}

static void fill_voters(struct controller_service *s, int16_t version,
                        struct arena *arena,
                        struct describe_quorum_response_partition_data *p)
{
    const struct raft_config *members = raft_node_members(s->raft);

    p->current_voters =
        arena_array(arena, members->len, sizeof *p->current_voters);
    for (size_t i = 0; i < members->len; i++)
        if (members->members[i].voter)
            fill_member(s, version, &members->members[i],
                        &p->current_voters[p->current_voters_len++]);
}

/* Brokers, and controllers that do not vote (yet, or any more), follow the log
 * as observers; a node that is both is one of them. */
static void fill_observers(struct controller_service *s, int16_t version,
                           struct arena *arena,
                           struct describe_quorum_response_partition_data *p)
{
    const struct raft_config *members = raft_node_members(s->raft);
    int64_t wall_ms = env_wall_ms(s->env), now_ms = env_now_ms(s->env);

    p->observers =
        arena_array(arena, map_count(&s->controller.brokers) + members->len,
                    sizeof *p->observers);
    for (size_t i = 0; i < members->len; i++)
        if (!members->members[i].voter)
            fill_member(s, version, &members->members[i],
                        &p->observers[p->observers_len++]);
    MAP_EACH (e, &s->controller.brokers) {
        const struct controller_broker *b = e->value;

        if (raft_config_find(members, b->id) != NULL)
            continue;
        struct describe_quorum_response_replica_state *o =
            &p->observers[p->observers_len++];
        describe_quorum_response_replica_state_init(o);
        o->replica_id = b->id;
        o->log_end_offset = b->applied_index + 1;
        o->last_fetch_timestamp = o->last_caught_up_timestamp =
            wall_ms - (now_ms - b->contact_ms);
    }
}

static void fill_partition(struct controller_service *s, int16_t version,
                           struct arena *arena,
                           struct describe_quorum_response_partition_data *p)
{
    struct raft_node_status status;

    raft_node_status(s->raft, &status);
    p->leader_id = status.leader_id;
    p->leader_epoch = (int32_t)status.term;
    p->high_watermark = (int64_t)status.commit_index + 1;
    fill_voters(s, version, arena, p);
    fill_observers(s, version, arena, p);
}

static void fill_nodes(struct controller_service *s, struct arena *arena,
                       struct describe_quorum_response *a)
{
    const struct raft_config *members = raft_node_members(s->raft);

    a->nodes = arena_array(arena, members->len, sizeof *a->nodes);
    for (size_t i = 0; i < members->len; i++) {
        struct describe_quorum_response_node *n;

        if (!members->members[i].voter)
            continue;
        n = &a->nodes[a->nodes_len++];
        describe_quorum_response_node_init(n);
        n->node_id = members->members[i].id;
        n->listeners = arena_alloc(arena, sizeof *n->listeners);
        n->listeners_len = 1;
        n->listeners[0].name = slice_str(s->options.listener);
        n->listeners[0].host = slice_str(members->members[i].host);
        n->listeners[0].port = members->members[i].port;
    }
}

/* Nothing but the metadata's partition, as in Kafka; so whatever is asked, its
 * long answer is given once. */
static bool asks_for_metadata(const struct describe_quorum_request *q)
{
    const struct describe_quorum_request_topic_data *t = q->topics;

    return q->topics_len == 1 &&
           slice_eq_str(t->topic_name, "__cluster_metadata") &&
           t->partitions_len == 1 && t->partitions[0].partition_index == 0;
}

enum err service_describe_quorum(struct controller_service *s, int16_t version,
                                 struct slice body, struct arena *arena,
                                 struct buf *response)
{
    struct describe_quorum_request q;
    struct describe_quorum_response a;
    enum err error =
        decode(&describe_quorum_request_desc, version, body, arena, &q);

    if (error != ERR_NONE)
        return error;
    describe_quorum_response_init(&a);
    bool valid = asks_for_metadata(&q);
    a.topics = arena_array(arena, (size_t)q.topics_len, sizeof *a.topics);
    a.topics_len = q.topics_len;
    for (int i = 0; i < q.topics_len; i++) {
        a.topics[i].topic_name = q.topics[i].topic_name;
        a.topics[i].partitions_len = q.topics[i].partitions_len;
        a.topics[i].partitions =
            arena_array(arena, (size_t)q.topics[i].partitions_len,
                        sizeof *a.topics[i].partitions);
        for (int j = 0; j < q.topics[i].partitions_len; j++) {
            struct describe_quorum_response_partition_data *p =
                &a.topics[i].partitions[j];

            describe_quorum_response_partition_data_init(p);
            p->partition_index = q.topics[i].partitions[j].partition_index;
            if (valid)
                fill_partition(s, version, arena, p);
            else
                p->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        }
    }
    if (valid && version >= 2)
        fill_nodes(s, arena, &a);
    return kafka_encode(&describe_quorum_response_desc, version, &a, response,
                        NULL);
}

/* ---- the others ---------------------------------------------------------- */

void service_respond_kafka(struct service_conn *c, int16_t api_key,
                           int16_t version, int32_t correlation_id,
                           struct slice body, int64_t index)
{
    struct buf frame = BUF_INIT;
    bool tagged = kafka_response_header_version(api_key, version) >= 1;

    buf_put_u32(&frame, (uint32_t)(4 + tagged + body.len));
    buf_put_u32(&frame, (uint32_t)correlation_id);
    if (tagged)
        buf_put_u8(&frame, 0);
    buf_put_slice(&frame, body);
    service_answer_at(c, index, false, &frame);
}

static bool change_voters(struct service_conn *c,
                          const struct request_header *h, struct slice body,
                          struct arena *arena)
{
    struct voter_reply to = {
        .conn = c,
        .correlation_id = h->correlation_id,
        .api_key = h->request_api_key,
        .version = h->request_api_version,
    };

    return service_change_voters(c->service, &to, body, arena) == ERR_NONE;
}

static bool decide(struct service_conn *c, const struct request_header *h,
                   struct slice body, struct arena *arena)
{
    struct controller_service *s = c->service;
    struct buf response = BUF_INIT;
    int64_t index = 0;
    enum err error;

    if (h->request_api_key == API_DESCRIBE_CLUSTER) {
        error =
            describe_cluster(s, h->request_api_version, body, arena, &response);
        goto decided;
    }
    if (!s->controller.active)
        return false;
    if (h->request_api_key == API_DESCRIBE_QUORUM) {
        error = service_describe_quorum(s, h->request_api_version, body, arena,
                                        &response);
    } else {
        struct controller_call call;
        struct controller_update update;

        service_begin(s, &call, arena);
        call.user = SLICE("ANONYMOUS");
        call.client_id = h->client_id;
        error = controller_handle_kafka(
            &s->controller, &call, h->request_api_key, h->request_api_version,
            body, &response, &update);
        index = update.answer_index;
        if (!service_carry_out(s, &update))
            error = ERR_NOT_CONTROLLER;
    }
decided:
    if (error == ERR_NONE)
        service_respond_kafka(c, h->request_api_key, h->request_api_version,
                              h->correlation_id, buf_slice(&response), index);
    buf_free(&response);
    return error == ERR_NONE;
}

bool service_kafka_request(struct service_conn *c, struct slice frame)
{
    struct request_header h;
    struct slice body;
    struct arena arena;
    enum err error = kafka_parse_request(frame, &h, &body);
    const struct api *api;

    if (error != ERR_NONE && error != ERR_UNSUPPORTED_VERSION)
        return false;
    api = api_find(h.request_api_key);
    if (api == NULL || !answered_here(api->key))
        return false;
    bool served = error == ERR_NONE &&
                  api_serves(api, API_ON_CONTROLLER, h.request_api_version);
    if (!served && api->key != API_API_VERSIONS)
        return false;
    arena_init(&arena, service_decoded_max(frame.len));
    bool ok = true;
    if (api->key == API_API_VERSIONS)
        api_versions(c, &h,
                     served ? check_software(&h, body, &arena)
                            : ERR_UNSUPPORTED_VERSION,
                     &arena);
    else if (service_changes_voters(api->key))
        ok = change_voters(c, &h, body, &arena);
    else
        ok = decide(c, &h, body, &arena);
    arena_free(&arena);
    return ok;
}
