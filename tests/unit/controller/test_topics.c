/* CreateTopics, DeleteTopics, CreatePartitions: every refusal, and what is
 * there afterwards. */
#include "tests/unit/controller/desk.h"

#include <criterion/criterion.h>

static struct desk d;

static void three_brokers(void) { desk_with_brokers(&d, 3); }

static void tear_down(void) { desk_free(&d); }

TestSuite(topics, .init = three_brokers, .fini = tear_down, .timeout = 60);

#define WHY(text) cr_assert_str_eq(d.why, text)

/* ---- creation ------------------------------------------------------------ */

Test(topics, a_topic_is_there_with_leaders_in_sync)
{
    cr_assert_eq(desk_create(&d, "t", 6, 3), ERR_NONE);
    cr_assert_eq(d.batches, 1);
    for (int32_t p = 0; p < 6; p++) {
        const struct image_partition *part = desk_partition(&d, "t", p);

        cr_assert_eq(part->replicas_len, 3);
        cr_assert_eq(part->isr_len, 3);
        cr_assert_eq(part->leader, part->ids[0]);
    }
}

Test(topics, minus_one_means_the_nodes_defaults)
{
    d.c.config.num_partitions = 4;
    d.c.config.default_replication_factor = 2;
    cr_assert_eq(desk_create(&d, "t", -1, -1), ERR_NONE);
    cr_assert_eq(image_topic(&d.committed, SLICE("t"))->partitions_len, 4);
    cr_assert_eq(desk_partition(&d, "t", 0)->replicas_len, 2);
}

/* default.replication.factor may be any number, as in Kafka. */
Test(topics, a_default_that_makes_no_sense_is_refused_too)
{
    d.c.config.default_replication_factor = 0;
    cr_assert_eq(desk_create(&d, "t", 1, -1), ERR_INVALID_REPLICATION_FACTOR);
    WHY("Invalid replication factor 0: the replication factor must be "
        "positive.");
    d.c.config.default_replication_factor = -5;
    cr_assert_eq(desk_create(&d, "t", 1, -1), ERR_INVALID_REPLICATION_FACTOR);
}

Test(topics, bad_numbers)
{
    cr_assert_eq(desk_create(&d, "t", 0, 1), ERR_INVALID_PARTITIONS);
    WHY("Number of partitions was set to an invalid non-positive value.");
    cr_assert_eq(desk_create(&d, "t", -2, 1), ERR_INVALID_PARTITIONS);
    cr_assert_eq(desk_create(&d, "t", 1, 0), ERR_INVALID_REPLICATION_FACTOR);
    WHY("Replication factor must be larger than 0, or -1 to use the default "
        "value.");
    cr_assert_eq(desk_create(&d, "t", 1, 4), ERR_INVALID_REPLICATION_FACTOR);
    WHY("Unable to replicate the partition 4 time(s): The target replication "
        "factor of 4 cannot be reached because only 3 broker(s) are "
        "registered.");
    cr_assert_eq(desk_create(&d, "t", 10001, 1), ERR_POLICY_VIOLATION);
    cr_assert_eq(d.next_index - 1, d.committed.applied_index);
    cr_assert_null(image_topic(&d.committed, SLICE("t")));
}

Test(topics, bad_names)
{
    char longest[251];

    cr_assert_eq(desk_create(&d, "", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    WHY("Topic name is invalid: the empty string is not allowed");
    cr_assert_eq(desk_create(&d, ".", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    cr_assert_eq(desk_create(&d, "..", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    WHY("Topic name is invalid: '.' or '..' is not allowed");
    cr_assert_eq(desk_create(&d, "a b", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    WHY("Topic name is invalid: 'a b' contains one or more characters other "
        "than ASCII alphanumerics, '.', '_' and '-'");
    cr_assert_eq(desk_create(&d, "\xc3\xa4", 1, 1),
                 ERR_INVALID_TOPIC_EXCEPTION);
    memset(longest, 'x', 250);
    longest[250] = '\0';
    cr_assert_eq(desk_create(&d, longest, 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    longest[249] = '\0';
    cr_assert_eq(desk_create(&d, longest, 1, 1), ERR_NONE);
}

Test(topics, names_that_exist_or_collide)
{
    cr_assert_eq(desk_create(&d, "a.b", 1, 1), ERR_NONE);
    cr_assert_eq(desk_create(&d, "a.b", 1, 1), ERR_TOPIC_ALREADY_EXISTS);
    WHY("Topic 'a.b' already exists.");
    cr_assert_eq(desk_create(&d, "a_b", 1, 1), ERR_INVALID_TOPIC_EXCEPTION);
    WHY("Topic 'a_b' collides with existing topic: a.b");
    cr_assert_eq(desk_delete(&d, "a.b"), ERR_NONE);
    cr_assert_eq(desk_create(&d, "a_b", 1, 1), ERR_NONE);
}

Test(topics, assignments_by_hand)
{
    cr_assert_eq(desk_create_at(&d, "t", "3,1 2,3"), ERR_NONE);
    cr_assert_str_eq(desk_show(&d, "t", 0),
                     "leader 3 epochs 0/0 replicas 3,1 isr 3,1");
    cr_assert_str_eq(desk_show(&d, "t", 1),
                     "leader 2 epochs 0/0 replicas 2,3 isr 2,3");
    cr_assert_eq(desk_create_at(&d, "u", "1,1"),
                 ERR_INVALID_REPLICA_ASSIGNMENT);
    WHY("The manual partition assignment includes the broker 1 more than "
        "once.");
    cr_assert_eq(desk_create_at(&d, "u", "1,9"),
                 ERR_INVALID_REPLICA_ASSIGNMENT);
    WHY("The manual partition assignment includes broker 9, but no such "
        "broker is registered.");
    cr_assert_eq(desk_create_at(&d, "u", "1,2 1"),
                 ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(desk_create_at(&d, "u", ""), ERR_INVALID_REPLICA_ASSIGNMENT);
    WHY("The manual partition assignment includes an empty replica list.");
    desk_kill(&d, 1);
    cr_assert_eq(desk_create_at(&d, "u", "1"), ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(desk_create_at(&d, "u", "1,2"), ERR_NONE);
    cr_assert_str_eq(desk_show(&d, "u", 0),
                     "leader 2 epochs 0/0 replicas 1,2 isr 2");
}

/* A request with one topic, to be bent. */
static struct create_topics_request_creatable_topic topic;
static struct create_topics_request request;

static void a_request(void)
{
    create_topics_request_init(&request);
    create_topics_request_creatable_topic_init(&topic);
    topic.name = SLICE("t");
    topic.num_partitions = 1;
    topic.replication_factor = 1;
    request.topics = &topic;
    request.topics_len = 1;
}

static const struct create_topics_response_creatable_topic_result *
send(int16_t version)
{
    struct create_topics_response *response =
        desk_kafka(&d, API_CREATE_TOPICS, version, &request);

    d.why = arena_strdup(&d.arena, response->topics[0].error_message);
    return &response->topics[0];
}

Test(topics, assignments_and_numbers_do_not_mix)
{
    struct create_topics_request_creatable_replica_assignment list[2];
    int32_t one[] = {1};

    a_request();
    create_topics_request_creatable_replica_assignment_init(&list[0]);
    create_topics_request_creatable_replica_assignment_init(&list[1]);
    list[0].broker_ids = list[1].broker_ids = one;
    list[0].broker_ids_len = list[1].broker_ids_len = 1;
    topic.assignments = list;
    topic.assignments_len = 2;
    cr_assert_eq(send(7)->error_code, ERR_INVALID_REQUEST);
    topic.replication_factor = -1;
    cr_assert_eq(send(7)->error_code, ERR_INVALID_REQUEST);
    topic.num_partitions = -1;
    cr_assert_eq(send(7)->error_code, ERR_INVALID_REPLICA_ASSIGNMENT);
    WHY("Found multiple manual partition assignments for partition 0");
    list[1].partition_index = 2;
    cr_assert_eq(send(7)->error_code, ERR_INVALID_REPLICA_ASSIGNMENT);
    WHY("partitions should be a consecutive 0-based integer sequence");
    list[0].partition_index = 1;
    list[1].partition_index = 0;
    cr_assert_eq(send(7)->error_code, ERR_NONE);
}

Test(topics, configs_come_with_the_topic_and_in_the_answer)
{
    struct create_topics_request_creatable_topic_config configs[1];

    a_request();
    create_topics_request_creatable_topic_config_init(&configs[0]);
    configs[0].name = SLICE("retention.ms");
    configs[0].value = SLICE("1234");
    topic.configs = configs;
    topic.configs_len = 1;
    const struct create_topics_response_creatable_topic_result *r = send(5);
    bool seen = false;
    cr_assert_eq(r->error_code, ERR_NONE);
    cr_assert_eq(r->num_partitions, 1);
    cr_assert_eq(r->replication_factor, 1);
    for (int32_t i = 0; i < r->configs_len; i++) {
        if (slice_eq_str(r->configs[i].name, "retention.ms")) {
            seen = true;
            cr_assert(slice_eq_str(r->configs[i].value, "1234"));
            cr_assert_eq(r->configs[i].config_source, CONFIG_SOURCE_TOPIC);
        }
        if (slice_eq_str(r->configs[i].name, "segment.bytes")) {
            cr_assert(slice_eq_str(r->configs[i].value, "1073741824"));
            cr_assert_eq(r->configs[i].config_source, CONFIG_SOURCE_DEFAULT);
        }
    }
    cr_assert(seen);
    cr_assert(r->configs_len > 20);
    cr_assert_str_eq(image_config(&d.committed, IMAGE_RESOURCE_TOPIC,
                                  SLICE("t"), SLICE("retention.ms")),
                     "1234");
}

Test(topics, bad_configs)
{
    struct create_topics_request_creatable_topic_config configs[1];

    a_request();
    create_topics_request_creatable_topic_config_init(&configs[0]);
    topic.configs = configs;
    topic.configs_len = 1;
    configs[0].name = SLICE("no.such.key");
    configs[0].value = SLICE("1");
    cr_assert_eq(send(7)->error_code, ERR_INVALID_CONFIG);
    WHY("Unknown topic config name: no.such.key");
    configs[0].name = SLICE("retention.ms");
    configs[0].value = SLICE("-2");
    cr_assert_eq(send(7)->error_code, ERR_INVALID_CONFIG);
    configs[0].value = SLICE_NULL;
    cr_assert_eq(send(7)->error_code, ERR_INVALID_CONFIG);
    configs[0].value = SLICE("1\0002");
    cr_assert_eq(send(7)->error_code, ERR_INVALID_CONFIG);
    cr_assert_null(image_topic(&d.committed, SLICE("t")));
}

Test(topics, validate_only_creates_nothing)
{
    a_request();
    request.validate_only = true;
    const struct create_topics_response_creatable_topic_result *r = send(7);
    cr_assert_eq(r->error_code, ERR_NONE);
    cr_assert_eq(r->num_partitions, 1);
    cr_assert_eq(d.records, 0);
    topic.replication_factor = 9;
    cr_assert_eq(send(7)->error_code, ERR_INVALID_REPLICATION_FACTOR);
}

Test(topics, topics_of_a_request_stand_alone)
{
    struct create_topics_request_creatable_topic list[4];

    a_request();
    for (int i = 0; i < 4; i++) {
        list[i] = topic;
        list[i].name = slice_of("abbc" + i, 1);
    }
    list[3].replication_factor = 7;
    request.topics = list;
    request.topics_len = 4;
    struct create_topics_response *response =
        desk_kafka(&d, API_CREATE_TOPICS, 7, &request);
    cr_assert_eq(response->topics_len, 3);
    cr_assert_eq(response->topics[0].error_code, ERR_NONE);
    cr_assert_eq(response->topics[1].error_code, ERR_INVALID_REQUEST);
    cr_assert(slice_eq_str(response->topics[1].error_message,
                           "Duplicate topic name."));
    cr_assert_eq(response->topics[2].error_code,
                 ERR_INVALID_REPLICATION_FACTOR);
    cr_assert_not_null(image_topic(&d.committed, SLICE("a")));
    cr_assert_null(image_topic(&d.committed, SLICE("b")));
}

Test(topics, every_version_is_answered)
{
    char name[] = "v0";

    for (int16_t version = 0; version <= 7; version++) {
        a_request();
        name[1] = (char)('0' + version);
        topic.name = slice_str(name);
        cr_assert_eq(send(version)->error_code, ERR_NONE);
        cr_assert_not_null(image_topic(&d.committed, topic.name));
    }
}

Test(topics, fenced_brokers_hold_replicas_only_when_there_is_no_other)
{
    desk_kill(&d, 2);
    for (int i = 0; i < 5; i++) {
        char name[] = {'a', (char)('0' + i), '\0'};

        cr_assert_eq(desk_create(&d, name, 3, 2), ERR_NONE);
        for (int32_t p = 0; p < 3; p++)
            cr_assert_not(
                image_ids_have(image_replicas(desk_partition(&d, name, p)), 2));
    }
    cr_assert_eq(desk_create(&d, "t", 1, 3), ERR_NONE);
    const struct image_partition *p = desk_partition(&d, "t", 0);
    cr_assert_eq(p->ids[2], 2);
    cr_assert_eq(p->isr_len, 2);
    desk_kill(&d, 1);
    desk_kill(&d, 3);
    cr_assert_eq(desk_create(&d, "u", 1, 1), ERR_INVALID_REPLICATION_FACTOR);
    WHY("Unable to replicate the partition 1 time(s): All brokers are "
        "currently fenced.");
}

Test(topics, garbage_is_refused_before_anything_is_decided)
{
    struct controller_update update;
    struct controller_call call = desk_call(&d);
    struct buf out = BUF_INIT;

    cr_assert_eq(controller_handle_kafka(&d.c, &call, API_CREATE_TOPICS, 0,
                                         SLICE("\x7f\xff\xff\xff"), &out,
                                         &update),
                 ERR_MALFORMED);
    desk_done(&d, &update);
    call = desk_call(&d);
    cr_assert_eq(controller_handle_kafka(&d.c, &call, API_CREATE_TOPICS, 99,
                                         SLICE(""), &out, &update),
                 ERR_UNSUPPORTED_VERSION);
    desk_done(&d, &update);
    call = desk_call(&d);
    cr_assert_eq(controller_handle_kafka(&d.c, &call, API_PRODUCE, 3, SLICE(""),
                                         &out, &update),
                 ERR_UNSUPPORTED_VERSION);
    desk_done(&d, &update);
    cr_assert_eq(out.len, 0);
    cr_assert_not(controller_handles_kafka(API_PRODUCE));
    cr_assert(controller_handles_kafka(API_CREATE_TOPICS));
}

/* ---- deletion ------------------------------------------------------------ */

Test(topics, a_deleted_topic_takes_everything_along)
{
    desk_create(&d, "t", 3, 2);
    desk_topic_config(&d, "t", "retention.ms", "5");
    cr_assert_eq(desk_delete(&d, "t"), ERR_NONE);
    cr_assert_null(image_topic(&d.committed, SLICE("t")));
    cr_assert_eq(d.committed.partitions_count, 0);
    cr_assert_eq(desk_create(&d, "t", 1, 1), ERR_NONE);
    cr_assert_null(image_config(&d.committed, IMAGE_RESOURCE_TOPIC, SLICE("t"),
                                SLICE("retention.ms")));
    cr_assert_eq(desk_delete(&d, "nope"), ERR_UNKNOWN_TOPIC_OR_PARTITION);
}

static struct delete_topics_response *
delete_states(struct delete_topics_request_delete_topic_state *list,
              int32_t len)
{
    struct delete_topics_request r;

    delete_topics_request_init(&r);
    r.topics = list;
    r.topics_len = len;
    return desk_kafka(&d, API_DELETE_TOPICS, 6, &r);
}

Test(topics, deletion_by_id)
{
    struct delete_topics_request_delete_topic_state t[2];

    desk_create(&d, "t", 1, 1);
    delete_topics_request_delete_topic_state_init(&t[0]);
    cr_assert_eq(delete_states(t, 1)->responses[0].error_code,
                 ERR_INVALID_REQUEST);
    t[0].topic_id = (struct uuid){{1, 2, 3}};
    cr_assert_eq(delete_states(t, 1)->responses[0].error_code,
                 ERR_UNKNOWN_TOPIC_ID);
    t[0].topic_id = image_topic(&d.committed, SLICE("t"))->id;
    t[0].name = SLICE("t");
    cr_assert_eq(delete_states(t, 1)->responses[0].error_code,
                 ERR_INVALID_REQUEST);
    t[0].name = SLICE_NULL;
    t[1] = t[0];
    struct delete_topics_response *response = delete_states(t, 2);
    cr_assert_eq(response->responses_len, 1); /* one answer for both */
    cr_assert_eq(response->responses[0].error_code, ERR_INVALID_REQUEST);
    response = delete_states(t, 1);
    cr_assert_eq(response->responses[0].error_code, ERR_NONE);
    cr_assert(slice_eq_str(response->responses[0].name, "t"));
}

Test(topics, deletion_can_be_switched_off)
{
    struct delete_topics_request r;
    struct slice name = SLICE("t");

    desk_create(&d, "t", 1, 1);
    d.c.config.delete_topic_enable = false;
    delete_topics_request_init(&r);
    r.topic_names = &name;
    r.topic_names_len = 1;
    struct delete_topics_response *response =
        desk_kafka(&d, API_DELETE_TOPICS, 3, &r);
    cr_assert_eq(response->responses[0].error_code,
                 ERR_TOPIC_DELETION_DISABLED);
    response = desk_kafka(&d, API_DELETE_TOPICS, 2, &r);
    cr_assert_eq(response->responses[0].error_code, ERR_INVALID_REQUEST);
    d.c.config.delete_topic_enable = true;
    response = desk_kafka(&d, API_DELETE_TOPICS, 0, &r);
    cr_assert_eq(response->responses[0].error_code, ERR_NONE);
}

/* ---- growth -------------------------------------------------------------- */

static enum err grow(const char *name, int32_t count, const char *by_hand)
{
    struct create_partitions_request r;
    struct create_partitions_request_topic t;
    struct create_partitions_request_assignment a;

    create_partitions_request_init(&r);
    create_partitions_request_topic_init(&t);
    t.name = slice_str(name);
    t.count = count;
    t.assignments_len = -1;
    if (by_hand != NULL) {
        create_partitions_request_assignment_init(&a);
        a.broker_ids = desk_ids(&d, by_hand, &a.broker_ids_len);
        t.assignments = &a;
        t.assignments_len = 1;
    }
    r.topics = &t;
    r.topics_len = 1;
    struct create_partitions_response *response =
        desk_kafka(&d, API_CREATE_PARTITIONS, 3, &r);
    d.why = arena_strdup(&d.arena, response->results[0].error_message);
    return (enum err)response->results[0].error_code;
}

Test(topics, sixteen_replicas_at_most)
{
    for (int32_t id = 4; id <= 17; id++) {
        desk_register(&d, (struct desk_broker){.id = id});
        desk_unfence(&d, id);
    }
    cr_assert_eq(desk_create(&d, "t", 1, 17), ERR_INVALID_REPLICATION_FACTOR);
    WHY("Unable to replicate the partition 17 time(s): A partition can have 16 "
        "replicas at most.");
    cr_assert_eq(
        desk_create_at(&d, "t", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"),
        ERR_INVALID_REPLICA_ASSIGNMENT);
    WHY("The manual partition assignment includes 17 replicas, more than the "
        "16 that are possible.");
    cr_assert_eq(desk_create(&d, "t", 1, 16), ERR_NONE);
    cr_assert_eq(desk_partition(&d, "t", 0)->replicas_len, 16);
    cr_assert_eq(grow("t", 2, "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"),
                 ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(grow("t", 2, NULL), ERR_NONE);
}

Test(topics, a_topic_grows_and_never_shrinks)
{
    desk_create_at(&d, "t", "1,2 2,3");
    cr_assert_eq(grow("t", 4, NULL), ERR_NONE);
    cr_assert_eq(image_topic(&d.committed, SLICE("t"))->partitions_len, 4);
    cr_assert_str_eq(desk_show(&d, "t", 1),
                     "leader 2 epochs 0/0 replicas 2,3 isr 2,3");
    cr_assert_eq(desk_partition(&d, "t", 3)->replicas_len, 2);
    cr_assert_eq(grow("t", 4, NULL), ERR_INVALID_PARTITIONS);
    WHY("Topic already has 4 partition(s).");
    cr_assert_eq(grow("t", 3, NULL), ERR_INVALID_PARTITIONS);
    cr_assert_eq(grow("t", -1, NULL), ERR_INVALID_PARTITIONS);
    cr_assert_eq(grow("t", 10005, NULL), ERR_POLICY_VIOLATION);
    cr_assert_eq(grow("nope", 3, NULL), ERR_UNKNOWN_TOPIC_OR_PARTITION);
}

Test(topics, growth_by_hand)
{
    desk_create_at(&d, "t", "1,2");
    cr_assert_eq(grow("t", 3, "3,1"), ERR_INVALID_REPLICA_ASSIGNMENT);
    WHY("Attempted to add 2 additional partition(s), but only 1 assignment(s) "
        "were specified.");
    cr_assert_eq(grow("t", 2, "3"), ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(grow("t", 2, "3,9"), ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(grow("t", 2, "3,1"), ERR_NONE);
    cr_assert_str_eq(desk_show(&d, "t", 1),
                     "leader 3 epochs 0/0 replicas 3,1 isr 3,1");
}

/* ---- sizes --------------------------------------------------------------- */

Test(topics, what_raft_would_not_take_at_once_is_refused)
{
    d.c.config.entry_max_bytes = 1000;
    cr_assert_eq(desk_create(&d, "t", 20, 3), ERR_POLICY_VIOLATION);
    cr_assert_eq(d.records, 0);
    cr_assert_eq(desk_create(&d, "t", 5, 3), ERR_NONE);
    cr_assert_eq(grow("t", 25, NULL), ERR_POLICY_VIOLATION);
    cr_assert_eq(d.records, 0);
    cr_assert_eq(grow("t", 10, NULL), ERR_NONE);
}

Test(topics, one_request_changes_a_bounded_amount)
{
    struct create_topics_request_creatable_topic topics[3];
    struct create_topics_request r;

    create_topics_request_init(&r);
    for (int i = 0; i < 3; i++) {
        create_topics_request_creatable_topic_init(&topics[i]);
        topics[i].name = arena_printf(&d.arena, "t%d", i);
        topics[i].num_partitions = 10;
        topics[i].replication_factor = 3;
    }
    r.topics = topics;
    r.topics_len = 3;
    /* Room for two, one entry each. */
    d.c.config.entry_max_bytes = 1100;
    d.c.config.request_max_bytes = 1500;
    struct create_topics_response *response =
        desk_kafka(&d, API_CREATE_TOPICS, 4, &r);
    cr_assert_eq(response->topics[0].error_code, ERR_NONE);
    cr_assert_eq(response->topics[1].error_code, ERR_NONE);
    cr_assert_eq(response->topics[2].error_code, ERR_POLICY_VIOLATION);
    cr_assert_eq(d.batches, 2);
}
