/* Most of these answers have no place for an error of the whole request, so it
 * is told of each topic, resource or partition in it. */
#include "broker/forward_errors.h"

#define ARRAY(r, n, item)                                                      \
    arena_array(&(r)->arena, (size_t)((n) > 0 ? (n) : 0), sizeof(item))

static int32_t count(int32_t len) { return len > 0 ? len : 0; }

static void create_topics(struct request *r, int16_t error,
                          struct slice message)
{
    const struct create_topics_request *q = r->msg;
    struct create_topics_response a;

    create_topics_response_init(&a);
    a.topics = ARRAY(r, q->topics_len, *a.topics);
    a.topics_len = count(q->topics_len);
    for (int32_t i = 0; i < a.topics_len; i++) {
        create_topics_response_creatable_topic_result_init(&a.topics[i]);
        a.topics[i].name = q->topics[i].name;
        a.topics[i].error_code = error;
        a.topics[i].error_message = message;
    }
    request_respond(r, &a);
}

static void delete_topics(struct request *r, int16_t error,
                          struct slice message)
{
    const struct delete_topics_request *q = r->msg;
    bool by_id = r->version >= 6;
    struct delete_topics_response a;

    delete_topics_response_init(&a);
    a.responses_len = count(by_id ? q->topics_len : q->topic_names_len);
    a.responses = ARRAY(r, a.responses_len, *a.responses);
    for (int32_t i = 0; i < a.responses_len; i++) {
        delete_topics_response_deletable_topic_result_init(&a.responses[i]);
        a.responses[i].name = by_id ? q->topics[i].name : q->topic_names[i];
        if (by_id)
            a.responses[i].topic_id = q->topics[i].topic_id;
        a.responses[i].error_code = error;
        a.responses[i].error_message = message;
    }
    request_respond(r, &a);
}

static void alter_client_quotas(struct request *r, int16_t error,
                                struct slice message)
{
    const struct alter_client_quotas_request *q = r->msg;
    struct alter_client_quotas_response a;

    alter_client_quotas_response_init(&a);
    a.entries = ARRAY(r, q->entries_len, *a.entries);
    a.entries_len = count(q->entries_len);
    for (int32_t i = 0; i < a.entries_len; i++) {
        int32_t parts = count(q->entries[i].entity_len);

        alter_client_quotas_response_entry_data_init(&a.entries[i]);
        a.entries[i].error_code = error;
        a.entries[i].error_message = message;
        a.entries[i].entity = ARRAY(r, parts, *a.entries[i].entity);
        a.entries[i].entity_len = parts;
        for (int32_t j = 0; j < parts; j++) {
            alter_client_quotas_response_entity_data_init(
                &a.entries[i].entity[j]);
            a.entries[i].entity[j].entity_type =
                q->entries[i].entity[j].entity_type;
            a.entries[i].entity[j].entity_name =
                q->entries[i].entity[j].entity_name;
        }
    }
    request_respond(r, &a);
}

static void create_partitions(struct request *r, int16_t error,
                              struct slice message)
{
    const struct create_partitions_request *q = r->msg;
    struct create_partitions_response a;

    create_partitions_response_init(&a);
    a.results = ARRAY(r, q->topics_len, *a.results);
    a.results_len = count(q->topics_len);
    for (int32_t i = 0; i < a.results_len; i++) {
        a.results[i].name = q->topics[i].name;
        a.results[i].error_code = error;
        a.results[i].error_message = message;
    }
    request_respond(r, &a);
}

static void alter_configs(struct request *r, int16_t error,
                          struct slice message)
{
    const struct alter_configs_request *q = r->msg;
    struct alter_configs_response a;

    alter_configs_response_init(&a);
    a.responses = ARRAY(r, q->resources_len, *a.responses);
    a.responses_len = count(q->resources_len);
    for (int32_t i = 0; i < a.responses_len; i++) {
        a.responses[i].error_code = error;
        a.responses[i].error_message = message;
        a.responses[i].resource_type = q->resources[i].resource_type;
        a.responses[i].resource_name = q->resources[i].resource_name;
    }
    request_respond(r, &a);
}

static void incremental_alter_configs(struct request *r, int16_t error,
                                      struct slice message)
{
    const struct incremental_alter_configs_request *q = r->msg;
    struct incremental_alter_configs_response a;

    incremental_alter_configs_response_init(&a);
    a.responses = ARRAY(r, q->resources_len, *a.responses);
    a.responses_len = count(q->resources_len);
    for (int32_t i = 0; i < a.responses_len; i++) {
        a.responses[i].error_code = error;
        a.responses[i].error_message = message;
        a.responses[i].resource_type = q->resources[i].resource_type;
        a.responses[i].resource_name = q->resources[i].resource_name;
    }
    request_respond(r, &a);
}

static void
elect_topic(struct request *r, int16_t error, struct slice message,
            const struct elect_leaders_request_topic_partitions *q,
            struct elect_leaders_response_replica_election_result *out)
{
    out->topic = q->topic;
    out->partition_result = ARRAY(r, q->partitions_len, *out->partition_result);
    out->partition_result_len = count(q->partitions_len);
    for (int32_t i = 0; i < out->partition_result_len; i++) {
        out->partition_result[i].partition_id = q->partitions[i];
        out->partition_result[i].error_code = error;
        out->partition_result[i].error_message = message;
    }
}

static void elect_leaders(struct request *r, int16_t error,
                          struct slice message)
{
    const struct elect_leaders_request *q = r->msg;
    struct elect_leaders_response a;

    elect_leaders_response_init(&a);
    if (r->version >= 1)
        a.error_code = error;
    a.replica_election_results =
        ARRAY(r, q->topic_partitions_len, *a.replica_election_results);
    a.replica_election_results_len = count(q->topic_partitions_len);
    for (int32_t i = 0; i < a.replica_election_results_len; i++)
        elect_topic(r, error, message, &q->topic_partitions[i],
                    &a.replica_election_results[i]);
    request_respond(r, &a);
}

static void alter_reassignments(struct request *r, int16_t error,
                                struct slice message)
{
    struct alter_partition_reassignments_response a;

    alter_partition_reassignments_response_init(&a);
    a.error_code = error;
    a.error_message = message;
    request_respond(r, &a);
}

static void list_reassignments(struct request *r, int16_t error,
                               struct slice message)
{
    struct list_partition_reassignments_response a;

    list_partition_reassignments_response_init(&a);
    a.error_code = error;
    a.error_message = message;
    request_respond(r, &a);
}

static void describe_quorum(struct request *r, int16_t error,
                            struct slice message)
{
    struct describe_quorum_response a;

    describe_quorum_response_init(&a);
    a.error_code = error;
    a.error_message = message;
    request_respond(r, &a);
}

static void update_features(struct request *r, int16_t error,
                            struct slice message)
{
    struct update_features_response a;

    update_features_response_init(&a);
    a.error_code = error;
    a.error_message = message;
    request_respond(r, &a);
}

static void add_raft_voter(struct request *r, int16_t error,
                           struct slice message)
{
    struct add_raft_voter_response a;

    add_raft_voter_response_init(&a);
    a.error_code = error;
    a.error_message = message;
    request_respond(r, &a);
}

static void remove_raft_voter(struct request *r, int16_t error,
                              struct slice message)
{
    struct remove_raft_voter_response a;

    remove_raft_voter_response_init(&a);
    a.error_code = error;
    a.error_message = message;
    request_respond(r, &a);
}

void forward_respond_error(struct request *r, enum err error,
                           struct slice message)
{
    static const struct {
        int16_t key;
        void (*respond)(struct request *r, int16_t error, struct slice message);
    } answers[] = {
        {API_CREATE_TOPICS, create_topics},
        {API_DELETE_TOPICS, delete_topics},
        {API_CREATE_PARTITIONS, create_partitions},
        {API_UPDATE_FEATURES, update_features},
        {API_ALTER_CONFIGS, alter_configs},
        {API_INCREMENTAL_ALTER_CONFIGS, incremental_alter_configs},
        {API_ALTER_CLIENT_QUOTAS, alter_client_quotas},
        {API_ELECT_LEADERS, elect_leaders},
        {API_ALTER_PARTITION_REASSIGNMENTS, alter_reassignments},
        {API_LIST_PARTITION_REASSIGNMENTS, list_reassignments},
        {API_DESCRIBE_QUORUM, describe_quorum},
        {API_ADD_RAFT_VOTER, add_raft_voter},
        {API_REMOVE_RAFT_VOTER, remove_raft_voter},
    };

    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (answers[i].key == r->api->key) {
            answers[i].respond(r, err_wire(error), message);
            return;
        }
    request_close(r, "could not be forwarded to the controller");
}
