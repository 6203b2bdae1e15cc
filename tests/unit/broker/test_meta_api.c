/* What clients hear from the metadata thread. */
#include "base/log.h"
#include "tests/unit/broker/meta_kit.h"

static void assert_has(const char *text, const char *part)
{
    cr_assert_not_null(strstr(text, part), "\"%s\" is not in:\n%s", part, text);
}

static void assert_lacks(const char *text, const char *part)
{
    cr_assert_null(strstr(text, part), "\"%s\" is in:\n%s", part, text);
}

static bool is_ready_and_applied(struct kit *kit)
{
    return kit->ready && kit_is_applied(kit);
}

static bool is_answered(struct kit *kit) { return kit->answers > 0; }

/* Three brokers, a topic of three partitions. */
static void begin(struct kit *kit)
{
    kit_init(kit, "auto.create.topics.enable=true\n");
    kit_topic(kit, 4, "orders", 3, true);
    kit_start(kit);
    kit_run(kit, is_ready_and_applied);
}

static const char *metadata(struct kit *kit, int16_t version,
                            const char *const *names, int32_t len)
{
    struct metadata_request q;
    struct metadata_request_topic topics[4];

    metadata_request_init(&q);
    for (int32_t i = 0; i < len; i++) {
        metadata_request_topic_init(&topics[i]);
        topics[i].name = slice_str(names[i]);
    }
    q.topics = topics;
    q.topics_len = len;
    kit->answers = 0;
    kit_request(kit, API_METADATA, version, api_metadata, &q);
    kit_run(kit, is_answered);
    return kit_answer(kit, API_METADATA, version);
}

/* ---- Metadata ----------------------------------------------------------- */

/* Version 0 says "all" with an empty list, later ones with null. */
Test(api_metadata, null_and_empty_mean_what_the_version_says)
{
    struct kit kit;

    begin(&kit);
    assert_has(metadata(&kit, 0, NULL, 0), "\"orders\"");
    assert_lacks(metadata(&kit, 1, NULL, 0), "\"orders\"");
    const char *all = metadata(&kit, 1, NULL, -1);
    assert_has(all, "\"orders\"");
    assert_has(all, "\"host\":\"host-3\",\"port\":9003");
    kit_free(&kit);
}

/* A fenced broker is hidden, its partitions have no leader, and it is listed
 * as offline. */
Test(api_metadata, a_fenced_broker_is_not_shown)
{
    struct kit kit;

    begin(&kit);
    kit_broker(&kit, 2, 1, true);
    kit_run(&kit, kit_is_applied);
    const char *a = metadata(&kit, 8, (const char *[]){"orders"}, 1);
    assert_lacks(a, "host-2");
    assert_has(a, "{\"errorCode\":5,\"partitionIndex\":1,\"leaderId\":-1,"
                  "\"leaderEpoch\":4,\"replicaNodes\":[2,3,1],"
                  "\"isrNodes\":[2,3,1],\"offlineReplicas\":[2]}");
    /* Version 0 knows only replicas alive, and says that some are missing. */
    assert_has(metadata(&kit, 0, (const char *[]){"orders"}, 1),
               "{\"errorCode\":9,\"partitionIndex\":0,\"leaderId\":1,"
               "\"replicaNodes\":[1,3],\"isrNodes\":[1,3]}");
    kit_free(&kit);
}

Test(api_metadata, names_that_cannot_be_and_ids_that_are_unknown)
{
    struct kit kit;
    struct metadata_request q;
    struct metadata_request_topic topic;

    begin(&kit);
    assert_has(metadata(&kit, 4, (const char *[]){"a/b"}, 1),
               "\"errorCode\":17,\"name\":\"a/b\"");
    metadata_request_init(&q);
    metadata_request_topic_init(&topic);
    topic.name = SLICE_NULL;
    topic.topic_id = kit_uuid(99);
    q.topics = &topic;
    q.topics_len = 1;
    kit_request(&kit, API_METADATA, 12, api_metadata, &q);
    assert_has(kit_answer(&kit, API_METADATA, 12),
               "\"errorCode\":100,\"name\":null");
    topic.topic_id = kit_uuid(4);
    kit_request(&kit, API_METADATA, 12, api_metadata, &q);
    assert_has(kit_answer(&kit, API_METADATA, 12),
               "\"errorCode\":0,\"name\":\"orders\"");
    kit_free(&kit);
}

/* The answer waits until the topic is there, so no client needs a second try.
 * Two requests make one topic. */
Test(api_metadata, a_missing_topic_is_created_before_the_answer)
{
    struct kit kit;

    begin(&kit);
    kit.create_forwarded = true;
    const char *a = metadata(&kit, 4, (const char *[]){"new", "new"}, 2);
    assert_has(a, "\"errorCode\":0,\"name\":\"new\"");
    assert_has(a, "\"partitionIndex\":2");
    assert_lacks(a, "\"errorCode\":3");
    cr_assert_eq(kit.forwards, 1);
    kit_free(&kit);
}

Test(api_metadata, a_refused_creation_is_an_unknown_topic)
{
    struct kit kit;

    begin(&kit);
    assert_has(metadata(&kit, 4, (const char *[]){"new"}, 1),
               "\"errorCode\":3,\"name\":\"new\"");
    cr_assert_eq(kit.forwards, 1);
    kit_free(&kit);
}

/* ---- FindCoordinator, InitProducerId ------------------------------------ */

Test(api_cluster, the_first_group_brings_its_topic_about)
{
    struct kit kit;
    struct find_coordinator_request q;
    struct slice keys[] = {SLICE("g1"), SLICE("g2")};

    begin(&kit);
    kit.create_forwarded = true;
    find_coordinator_request_init(&q);
    q.coordinator_keys = keys;
    q.coordinator_keys_len = 2;
    kit.answers = 0;
    kit_request(&kit, API_FIND_COORDINATOR, 4, api_find_coordinator, &q);
    kit_run(&kit, is_answered);
    const char *a = kit_answer(&kit, API_FIND_COORDINATOR, 4);
    assert_has(a, "\"key\":\"g1\",\"nodeId\":");
    assert_lacks(a, "\"errorCode\":15");
    cr_assert_not_null(
        image_topic(&kit.meta->image, SLICE("__consumer_offsets")));
    kit_free(&kit);
}

/* Blocks hold two ids here: five producers need three blocks. */
Test(api_cluster, producer_ids_never_repeat)
{
    struct kit kit;
    struct init_producer_id_request q;
    int64_t last = -1;

    begin(&kit);
    init_producer_id_request_init(&q);
    q.transactional_id = SLICE_NULL;
    for (int i = 0; i < 5; i++) {
        struct arena arena;
        struct init_producer_id_response a;

        kit.answers = 0;
        kit_request(&kit, API_INIT_PRODUCER_ID, 1, api_init_producer_id, &q);
        kit_run(&kit, is_answered);
        arena_init(&arena, 0);
        cr_assert_eq(kafka_decode(&init_producer_id_response_desc, 1,
                                  buf_slice(&kit.answer), &arena, &a),
                     ERR_NONE);
        arena_free(&arena);
        cr_assert_eq(a.error_code, ERR_NONE);
        cr_assert_gt(a.producer_id, last);
        last = a.producer_id;
    }
    kit_free(&kit);
}

/* ---- DescribeConfigs ---------------------------------------------------- */

static const char *describe(struct kit *kit, int8_t type, const char *name,
                            const char *key)
{
    struct describe_configs_request q;
    struct describe_configs_request_resource resource;
    struct slice keys[] = {slice_str(key)};

    describe_configs_request_init(&q);
    describe_configs_request_resource_init(&resource);
    resource.resource_type = type;
    resource.resource_name = slice_str(name);
    resource.configuration_keys = keys;
    resource.configuration_keys_len = 1;
    q.resources = &resource;
    q.resources_len = 1;
    q.include_synonyms = true;
    kit_request(kit, API_DESCRIBE_CONFIGS, 1, api_describe_configs, &q);
    return kit_answer(kit, API_DESCRIBE_CONFIGS, 1);
}

Test(api_configs, values_tell_where_they_come_from)
{
    struct kit kit;

    begin(&kit);
    kit_config(&kit, 4, "1", "log.retention.ms", "2000");
    kit_config(&kit, 2, "orders", "retention.ms", "1000");
    kit_run(&kit, kit_is_applied);
    const char *a = describe(&kit, 2, "orders", "retention.ms");
    assert_has(a, "\"value\":\"1000\",\"readOnly\":false,\"configSource\":1");
    assert_has(a, "{\"name\":\"log.retention.ms\",\"value\":\"2000\","
                  "\"source\":2}");
    a = describe(&kit, 4, "1", "node.id");
    assert_has(a, "\"value\":\"1\",\"readOnly\":true,\"configSource\":4");
    a = describe(&kit, 4, "2", "node.id");
    assert_has(a, "\"errorCode\":42");
    a = describe(&kit, 2, "nowhere", "retention.ms");
    assert_has(a, "\"errorCode\":3");
    kit_free(&kit);
}

/* ---- forwarding --------------------------------------------------------- */

static const char *create(struct kit *kit, const char *name)
{
    struct create_topics_request q;
    struct create_topics_request_creatable_topic topic;

    create_topics_request_init(&q);
    create_topics_request_creatable_topic_init(&topic);
    topic.name = slice_str(name);
    topic.num_partitions = 3;
    topic.replication_factor = 3;
    q.topics = &topic;
    q.topics_len = 1;
    kit->answers = 0;
    kit_request(kit, API_CREATE_TOPICS, 4, api_forward, &q);
    kit_run(kit, is_answered);
    return kit_answer(kit, API_CREATE_TOPICS, 4);
}

/* Has the answer for `made` come although the image lacks it? */
static bool answered_early;

static void look_and_release(void *arg)
{
    struct kit *kit = arg;

    answered_early = kit->answers != 0;
    kit_release(kit);
}

/* Whoever created a topic finds it here. */
Test(api_forward, the_answer_waits_for_our_own_image)
{
    struct kit kit;
    struct env_timer later = {.fn = look_and_release, .arg = &kit};

    begin(&kit);
    kit.create_forwarded = true;
    kit.polls_held = true;
    env_timer_start(kit.env, &later, 100);
    assert_has(create(&kit, "made"), "\"errorCode\":0");
    cr_assert_eq(kit.forwards, 1);
    cr_assert_not(answered_early);
    cr_assert_not_null(image_topic(&kit.meta->image, SLICE("made")));
    kit_free(&kit);
}

/* The connection breaks after the request was sent: not sent twice, and the
 * client hears that nobody knows. */
Test(api_forward, a_change_is_not_sent_twice)
{
    struct kit kit;

    begin(&kit);
    kit.create_forwarded = true;
    kit.controllers[0].drop_forwards = 1;
    assert_has(create(&kit, "made"), "\"name\":\"made\",\"errorCode\":7");
    cr_assert_eq(kit.forwards, 1);
    kit_free(&kit);
}

static bool forward_is_held(struct kit *kit)
{
    return kit->controllers[0].held_conn != NULL;
}

static bool second_is_polled(struct kit *kit)
{
    return kit->controllers[1].poll_conn != NULL;
}

static bool both_are_answered(struct kit *kit) { return kit->answers == 2; }

/* One request is with a controller that is not active any more, the next one
 * comes when the active one is known already. */
Test(api_forward, a_request_that_was_sent_in_vain_is_not_overtaken)
{
    struct kit kit;
    struct create_topics_request first;
    struct delete_topics_request second;

    begin(&kit);
    create_topics_request_init(&first);
    delete_topics_request_init(&second);
    kit.controllers[0].holds_forwards = true;
    kit.answers = 0;
    kit_request(&kit, API_CREATE_TOPICS, 4, api_forward, &first);
    kit_run(&kit, forward_is_held);
    kit.controllers[0].active = false;
    kit.hint = 102;
    kit.controllers[1].active = true;
    kit_refuse_poll(&kit.controllers[0], 102);
    kit_run(&kit, second_is_polled);
    kit_request(&kit, API_DELETE_TOPICS, 4, api_forward, &second);
    kit_refuse_forward(&kit.controllers[0], 102);
    kit_run(&kit, both_are_answered);
    cr_assert_eq(kit.first_forward_key, API_CREATE_TOPICS);
    kit_free(&kit);
}

/* Our logger "raft" and a topic in one request. */
static const char *alter_both(struct kit *kit)
{
    struct incremental_alter_configs_request_alterable_config config[] = {
        {.name = SLICE("raft"), .value = SLICE("WARN")},
        {.name = SLICE("retention.ms"), .value = SLICE("7")}};
    struct incremental_alter_configs_request_alter_configs_resource both[] = {
        {.resource_type = 8,
         .resource_name = SLICE("1"),
         .configs = &config[0],
         .configs_len = 1},
        {.resource_type = 2,
         .resource_name = SLICE("orders"),
         .configs = &config[1],
         .configs_len = 1}};
    struct incremental_alter_configs_request q = {.resources = both,
                                                  .resources_len = 2};

    kit->answers = 0;
    kit_request(kit, API_INCREMENTAL_ALTER_CONFIGS, 1,
                api_incremental_alter_configs, &q);
    kit_run(kit, is_answered);
    return kit_answer(kit, API_INCREMENTAL_ALTER_CONFIGS, 1);
}

static enum log_level raft_level(void)
{
    return log_logger_level(log_logger_find(SLICE("raft")));
}

/* One error for all of the request: then nothing of it has happened here. */
Test(api_forward, levels_stay_if_the_controller_does_not_answer)
{
    struct kit kit;
    enum log_level before = raft_level();

    cr_assert_neq(before, LOG_WARN);
    begin(&kit);
    kit.controllers[0].drop_forwards = 1;
    const char *answer = alter_both(&kit);
    assert_has(answer, "\"errorCode\":7");
    assert_lacks(answer, "\"errorCode\":0");
    cr_assert_eq(raft_level(), before);

    /* The kit answers with nothing, which is no answer to this request. */
    answer = alter_both(&kit);
    cr_assert_eq(kit.forwards, 2);
    assert_has(answer, "\"errorCode\":-1");
    assert_lacks(answer, "\"errorCode\":0");
    cr_assert_eq(raft_level(), before);
    kit_free(&kit);
}

/* "Not me, ask 102" and "not me, I don't know who" do not reach the client. */
Test(api_forward, the_active_controller_is_found)
{
    struct kit kit;

    begin(&kit);
    kit.create_forwarded = true;
    kit.controllers[0].active = false;
    kit.controllers[1].active = true;
    kit.hint = 102;
    assert_has(create(&kit, "made"), "\"errorCode\":0");
    kit.controllers[1].active = false;
    kit.controllers[0].active = true;
    kit.hint = -1;
    assert_has(create(&kit, "again"), "\"errorCode\":0");
    kit_free(&kit);
}
