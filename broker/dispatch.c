#include "broker/dispatch.h"

#include "broker/meta.h"
#include "broker/shard.h"

static void api_versions(struct request *r);

/* Where a request goes: answered where it arrived, or moved to the metadata
 * thread first. */
struct handler {
    int16_t key;
    void (*fn)(struct request *r);
    bool on_meta;
};

static const struct handler handlers[] = {
    {API_PRODUCE, api_produce, false},
    {API_FETCH, api_fetch, false},
    {API_LIST_OFFSETS, api_list_offsets, false},
    {API_METADATA, api_metadata, true},
    {API_OFFSET_COMMIT, api_group_request, false},
    {API_OFFSET_FETCH, api_group_request, false},
    {API_FIND_COORDINATOR, api_find_coordinator, true},
    {API_JOIN_GROUP, api_group_request, false},
    {API_HEARTBEAT, api_group_request, false},
    {API_LEAVE_GROUP, api_group_request, false},
    {API_SYNC_GROUP, api_group_request, false},
    {API_DESCRIBE_GROUPS, api_group_request, false},
    {API_LIST_GROUPS, api_group_request, false},
    {API_API_VERSIONS, api_versions, false},
    {API_CREATE_TOPICS, api_forward, true},
    {API_DELETE_TOPICS, api_forward, true},
    {API_DELETE_RECORDS, api_delete_records, false},
    {API_INIT_PRODUCER_ID, api_init_producer_id, false},
    {API_OFFSET_FOR_LEADER_EPOCH, api_offset_for_leader_epoch, false},
    {API_ADD_PARTITIONS_TO_TXN, api_txn_request, false},
    {API_ADD_OFFSETS_TO_TXN, api_txn_request, false},
    {API_END_TXN, api_txn_request, false},
    {API_TXN_OFFSET_COMMIT, api_group_request, false},
    {API_WRITE_TXN_MARKERS, api_write_txn_markers, false},
    {API_DESCRIBE_CONFIGS, api_describe_configs, true},
    {API_ALTER_CONFIGS, api_forward, true},
    {API_ALTER_REPLICA_LOG_DIRS, api_alter_replica_log_dirs, false},
    {API_DESCRIBE_LOG_DIRS, api_describe_log_dirs, false},
    {API_CREATE_PARTITIONS, api_forward, true},
    {API_DELETE_GROUPS, api_group_request, false},
    {API_ELECT_LEADERS, api_forward, true},
    {API_INCREMENTAL_ALTER_CONFIGS, api_incremental_alter_configs, true},
    {API_ALTER_PARTITION_REASSIGNMENTS, api_forward, true},
    {API_LIST_PARTITION_REASSIGNMENTS, api_forward, true},
    {API_OFFSET_DELETE, api_group_request, false},
    {API_DESCRIBE_CLIENT_QUOTAS, api_describe_client_quotas, true},
    {API_ALTER_CLIENT_QUOTAS, api_forward, true},
    {API_DESCRIBE_QUORUM, api_forward, true},
    {API_ADD_RAFT_VOTER, api_forward, true},
    {API_REMOVE_RAFT_VOTER, api_forward, true},
    {API_DESCRIBE_CLUSTER, api_describe_cluster, true},
    {API_DESCRIBE_PRODUCERS, api_describe_producers, false},
    {API_DESCRIBE_TRANSACTIONS, api_txn_request, false},
    {API_LIST_TRANSACTIONS, api_txn_request, false},
    {API_UPDATE_FEATURES, api_forward, true},
    {API_CONSUMER_GROUP_HEARTBEAT, api_group_request, false},
    {API_CONSUMER_GROUP_DESCRIBE, api_group_request, false},
    {API_LIST_CONFIG_RESOURCES, api_list_config_resources, true},
    {API_SHARE_GROUP_HEARTBEAT, api_group_request, false},
    {API_SHARE_GROUP_DESCRIBE, api_group_request, false},
    {API_SHARE_FETCH, api_share_fetch, false},
    {API_SHARE_ACKNOWLEDGE, api_share_acknowledge, false},
    {API_INITIALIZE_SHARE_GROUP_STATE, api_share_state, false},
    {API_READ_SHARE_GROUP_STATE, api_share_state, false},
    {API_WRITE_SHARE_GROUP_STATE, api_share_state, false},
    {API_DELETE_SHARE_GROUP_STATE, api_share_state, false},
    {API_READ_SHARE_GROUP_STATE_SUMMARY, api_share_state, false},
    {API_DESCRIBE_SHARE_GROUP_OFFSETS, api_group_request, false},
    {API_ALTER_SHARE_GROUP_OFFSETS, api_group_request, false},
    {API_DELETE_SHARE_GROUP_OFFSETS, api_group_request, false},
    {API_STREAMS_GROUP_HEARTBEAT, api_group_request, false},
    {API_STREAMS_GROUP_DESCRIBE, api_group_request, false},
    {API_DESCRIBE_TOPIC_PARTITIONS, api_describe_topic_partitions, true},
};

static const struct handler *find(int16_t key)
{
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
        if (handlers[i].key == key)
            return &handlers[i];
    return NULL;
}

bool dispatch_serves(int16_t api_key) { return find(api_key) != NULL; }

void dispatch(struct request *r)
{
    const struct handler *h = find(r->api->key);

    if (h->on_meta)
        request_move(r, meta_env(r->shard->broker->meta), h->fn);
    else
        h->fn(r);
}

/* ---- ApiVersions --------------------------------------------------------- */

static void answer_api_versions(struct request *r, enum err error)
{
    struct api_versions_response response;
    int32_t n = 0;

    api_versions_response_init(&response);
    response.error_code = err_wire(error);
    response.api_keys =
        arena_array(&r->arena, API_COUNT, sizeof *response.api_keys);
    for (int i = 0; i < API_COUNT; i++) {
        const struct api *api = &api_table[i];

        if (!api_is_served(api, API_ON_BROKER) || !dispatch_serves(api->key))
            continue;
        api_versions_response_api_version_init(&response.api_keys[n]);
        response.api_keys[n].api_key = api->key;
        response.api_keys[n].min_version = api->served[API_ON_BROKER].min;
        response.api_keys[n].max_version = api->served[API_ON_BROKER].max;
        n++;
    }
    response.api_keys_len = n;
    features_describe(&response, r->version, &r->shard->features, &r->arena);
    request_respond(r, &response);
}

void dispatch_api_versions_unsupported(struct request *r)
{
    answer_api_versions(r, ERR_UNSUPPORTED_VERSION);
}

static void api_versions(struct request *r)
{
    const struct api_versions_request *q = r->msg;
    bool ok =
        r->version < 3 || (api_software_name_ok(q->client_software_name) &&
                           api_software_name_ok(q->client_software_version));

    answer_api_versions(r, ok ? ERR_NONE : ERR_INVALID_REQUEST);
}
