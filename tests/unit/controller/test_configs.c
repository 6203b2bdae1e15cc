/* AlterConfigs and IncrementalAlterConfigs. */
#include "tests/unit/controller/desk.h"

#include <criterion/criterion.h>

static struct desk d;

static void set_up(void)
{
    desk_with_brokers(&d, 2);
    desk_create_at(&d, "t", "1,2");
}

static void tear_down(void) { desk_free(&d); }

TestSuite(configs, .init = set_up, .fini = tear_down, .timeout = 60);

#define TOPIC_HAS(key, text)                                                   \
    cr_assert_str_eq(image_config(&d.committed, IMAGE_RESOURCE_TOPIC,          \
                                  SLICE("t"), SLICE(key)),                     \
                     text)
#define TOPIC_LACKS(key)                                                       \
    cr_assert_null(image_config(&d.committed, IMAGE_RESOURCE_TOPIC,            \
                                SLICE("t"), SLICE(key)))

enum { SET, DELETE, APPEND, SUBTRACT };

struct edit {
    const char *key;
    const char *value;
    int8_t operation;
};

static enum err edit_all(int8_t type, const char *name,
                         const struct edit *edits, int32_t len,
                         bool validate_only)
{
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_request_alter_configs_resource resource;
    struct incremental_alter_configs_request_alterable_config configs[64];

    incremental_alter_configs_request_init(&request);
    incremental_alter_configs_request_alter_configs_resource_init(&resource);
    for (int32_t i = 0; i < len; i++) {
        incremental_alter_configs_request_alterable_config_init(&configs[i]);
        configs[i].name = slice_str(edits[i].key);
        configs[i].value = slice_str(edits[i].value);
        configs[i].config_operation = edits[i].operation;
    }
    resource.resource_type = type;
    resource.resource_name = slice_str(name);
    resource.configs = configs;
    resource.configs_len = len;
    request.resources = &resource;
    request.resources_len = 1;
    request.validate_only = validate_only;
    struct incremental_alter_configs_response *response =
        desk_kafka(&d, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    d.why = arena_strdup(&d.arena, response->responses[0].error_message);
    return (enum err)response->responses[0].error_code;
}

#define EDIT(...)                                                              \
    edit_all(IMAGE_RESOURCE_TOPIC, "t", (struct edit[]){__VA_ARGS__},          \
             sizeof((struct edit[]){__VA_ARGS__}) / sizeof(struct edit),       \
             false)

/* ---- incremental --------------------------------------------------------- */

Test(configs, keys_are_set_and_deleted_one_by_one)
{
    cr_assert_eq(EDIT({"retention.ms", "5", SET}, {"segment.ms", "6", SET}),
                 ERR_NONE);
    cr_assert_eq(EDIT({"retention.ms", NULL, DELETE}), ERR_NONE);
    TOPIC_LACKS("retention.ms");
    TOPIC_HAS("segment.ms", "6");
    /* What is so already needs no record. */
    cr_assert_eq(EDIT({"segment.ms", "6", SET}, {"flush.ms", NULL, DELETE}),
                 ERR_NONE);
    cr_assert_eq(d.records, 0);
}

Test(configs, lists_grow_and_shrink)
{
    cr_assert_eq(EDIT({"cleanup.policy", "compact", APPEND}), ERR_NONE);
    TOPIC_HAS("cleanup.policy", "delete,compact");
    cr_assert_eq(EDIT({"cleanup.policy", "compact", APPEND}), ERR_NONE);
    TOPIC_HAS("cleanup.policy", "delete,compact");
    cr_assert_eq(EDIT({"cleanup.policy", "delete", SUBTRACT}), ERR_NONE);
    TOPIC_HAS("cleanup.policy", "compact");
    cr_assert_eq(EDIT({"retention.ms", "5", APPEND}), ERR_INVALID_CONFIG);
    cr_assert_str_eq(d.why, "Can't APPEND to key retention.ms because its type "
                            "is not LIST.");
    cr_assert_eq(EDIT({"cleanup.policy", "nonsense", APPEND}),
                 ERR_INVALID_CONFIG);
}

Test(configs, a_resource_changes_as_a_whole_or_not_at_all)
{
    cr_assert_eq(EDIT({"segment.ms", "6", SET}, {"retention.ms", "x", SET}),
                 ERR_INVALID_CONFIG);
    TOPIC_LACKS("segment.ms");
    cr_assert_eq(d.records, 0);
}

Test(configs, requests_that_make_no_sense)
{
    cr_assert_eq(EDIT({"retention.ms", "5", SET}, {"retention.ms", "6", SET}),
                 ERR_INVALID_REQUEST);
    cr_assert_eq(EDIT({"retention.ms", NULL, SET}), ERR_INVALID_REQUEST);
    cr_assert_eq(EDIT({"retention.ms", "5", 9}), ERR_INVALID_REQUEST);
    cr_assert_eq(EDIT({"unknown", "5", SET}), ERR_INVALID_CONFIG);
    cr_assert_eq(EDIT({"", "5", SET}), ERR_INVALID_CONFIG);
    cr_assert_eq(desk_topic_config(&d, "nope", "retention.ms", "5"),
                 ERR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_str_eq(d.why, "The topic 'nope' does not exist.");
    struct edit e = {"retention.ms", "5", SET};
    cr_assert_eq(edit_all(8, "1", &e, 1, false), ERR_INVALID_REQUEST);
    cr_assert_eq(edit_all(IMAGE_RESOURCE_BROKER, "one", &e, 1, false),
                 ERR_INVALID_REQUEST);
    cr_assert_str_eq(d.why, "Node id must be an integer, but it is: one");
    cr_assert_eq(edit_all(IMAGE_RESOURCE_BROKER, "7", &e, 1, false),
                 ERR_BROKER_ID_NOT_REGISTERED);
}

Test(configs, validate_only_changes_nothing)
{
    struct edit e = {"retention.ms", "5", SET};

    cr_assert_eq(edit_all(IMAGE_RESOURCE_TOPIC, "t", &e, 1, true), ERR_NONE);
    cr_assert_eq(d.records, 0);
    e.value = "x";
    cr_assert_eq(edit_all(IMAGE_RESOURCE_TOPIC, "t", &e, 1, true),
                 ERR_INVALID_CONFIG);
}

Test(configs, a_resource_twice_is_refused_twice)
{
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_request_alter_configs_resource list[2];

    incremental_alter_configs_request_init(&request);
    for (int i = 0; i < 2; i++) {
        incremental_alter_configs_request_alter_configs_resource_init(&list[i]);
        list[i].resource_type = IMAGE_RESOURCE_TOPIC;
        list[i].resource_name = SLICE("t");
    }
    request.resources = list;
    request.resources_len = 2;
    struct incremental_alter_configs_response *response =
        desk_kafka(&d, API_INCREMENTAL_ALTER_CONFIGS, 0, &request);
    cr_assert_eq(response->responses[0].error_code, ERR_INVALID_REQUEST);
    cr_assert_eq(response->responses[1].error_code, ERR_INVALID_REQUEST);
}

/* ---- brokers ------------------------------------------------------------- */

Test(configs, brokers_have_dynamic_configs)
{
    cr_assert_eq(desk_broker_config(&d, 1, "log.retention.ms", "5"), ERR_NONE);
    cr_assert_eq(desk_broker_config(&d, -1, "log.retention.ms", "6"), ERR_NONE);
    cr_assert_str_eq(image_config(&d.committed, IMAGE_RESOURCE_BROKER,
                                  SLICE("1"), SLICE("log.retention.ms")),
                     "5");
    cr_assert_str_eq(image_config(&d.committed, IMAGE_RESOURCE_BROKER,
                                  SLICE(""), SLICE("log.retention.ms")),
                     "6");
    cr_assert_eq(desk_broker_config(&d, 1, "log.dirs", "/x"),
                 ERR_INVALID_REQUEST);
    cr_assert_eq(desk_broker_config(&d, 1, "log.retention.ms", NULL), ERR_NONE);
    cr_assert_null(
        image_configs(&d.committed, IMAGE_RESOURCE_BROKER, SLICE("1")));
}

Test(configs, a_key_must_fit_into_the_store)
{
    char key[242];

    memset(key, 'k', sizeof key - 1);
    key[241] = '\0';
    cr_assert_eq(desk_broker_config(&d, 1, key, "v"), ERR_INVALID_CONFIG);
    key[240] = '\0';
    cr_assert_eq(desk_broker_config(&d, 1, key, "v"), ERR_NONE);
}

Test(configs, all_nodes_agree_on_min_insync_replicas)
{
    cr_assert_str_eq(image_config(&d.committed, IMAGE_RESOURCE_BROKER,
                                  SLICE(""), SLICE("min.insync.replicas")),
                     "1");
    cr_assert_eq(desk_broker_config(&d, 1, "min.insync.replicas", "2"),
                 ERR_INVALID_CONFIG);
    cr_assert_eq(desk_broker_config(&d, -1, "min.insync.replicas", NULL),
                 ERR_INVALID_CONFIG);
    cr_assert_eq(desk_broker_config(&d, -1, "min.insync.replicas", "2"),
                 ERR_NONE);
}

Test(configs, the_first_controllers_file_decides_min_insync_replicas)
{
    desk_free(&d);
    desk_init(&d);
    map_put(&d.file, SLICE("min.insync.replicas"), (void *)(uintptr_t) "2");
    desk_start(&d);
    cr_assert_str_eq(image_config(&d.committed, IMAGE_RESOURCE_BROKER,
                                  SLICE(""), SLICE("min.insync.replicas")),
                     "2");
    map_put(&d.file, SLICE("min.insync.replicas"), (void *)(uintptr_t) "3");
    desk_failover(&d);
    cr_assert_str_eq(image_config(&d.committed, IMAGE_RESOURCE_BROKER,
                                  SLICE(""), SLICE("min.insync.replicas")),
                     "2");
}

/* ---- whole --------------------------------------------------------------- */

static enum err replace(int8_t type, const char *name, const struct edit *edits,
                        int32_t len)
{
    struct alter_configs_request request;
    struct alter_configs_request_resource resource;
    struct alter_configs_request_alterable_config configs[64];

    alter_configs_request_init(&request);
    alter_configs_request_resource_init(&resource);
    for (int32_t i = 0; i < len; i++) {
        alter_configs_request_alterable_config_init(&configs[i]);
        configs[i].name = slice_str(edits[i].key);
        configs[i].value = slice_str(edits[i].value);
    }
    resource.resource_type = type;
    resource.resource_name = slice_str(name);
    resource.configs = configs;
    resource.configs_len = len;
    request.resources = &resource;
    request.resources_len = 1;
    struct alter_configs_response *response =
        desk_kafka(&d, API_ALTER_CONFIGS, 2, &request);
    return (enum err)response->responses[0].error_code;
}

Test(configs, alter_configs_replaces_everything)
{
    struct edit e[] = {{"flush.ms", "7", SET}, {"segment.ms", "8", SET}};

    EDIT({"retention.ms", "5", SET}, {"segment.ms", "6", SET});
    cr_assert_eq(replace(IMAGE_RESOURCE_TOPIC, "t", e, 2), ERR_NONE);
    TOPIC_LACKS("retention.ms");
    TOPIC_HAS("flush.ms", "7");
    TOPIC_HAS("segment.ms", "8");
    cr_assert_eq(replace(IMAGE_RESOURCE_TOPIC, "t", e, 0), ERR_NONE);
    cr_assert_null(
        image_configs(&d.committed, IMAGE_RESOURCE_TOPIC, SLICE("t")));
    e[0].value = NULL;
    cr_assert_eq(replace(IMAGE_RESOURCE_TOPIC, "t", e, 1), ERR_INVALID_REQUEST);
    e[0].value = "x";
    cr_assert_eq(replace(IMAGE_RESOURCE_TOPIC, "t", e, 1), ERR_INVALID_CONFIG);
    /* What all nodes must agree on stays. */
    cr_assert_eq(replace(IMAGE_RESOURCE_BROKER, "", e, 0), ERR_NONE);
    cr_assert_not_null(image_config(&d.committed, IMAGE_RESOURCE_BROKER,
                                    SLICE(""), SLICE("min.insync.replicas")));
}

/* ---- groups and subscriptions -------------------------------------------- */

#define EDIT_OF(type, name, ...)                                               \
    edit_all(type, name, (struct edit[]){__VA_ARGS__},                         \
             sizeof((struct edit[]){__VA_ARGS__}) / sizeof(struct edit),       \
             false)
#define GROUP(...) EDIT_OF(IMAGE_RESOURCE_GROUP, "g", __VA_ARGS__)

Test(configs, groups_keep_theirs_whether_they_exist_or_not)
{
    cr_assert_eq(GROUP({"consumer.session.timeout.ms", "50000", SET}),
                 ERR_NONE);
    cr_assert_str_eq(image_config(&d.committed, IMAGE_RESOURCE_GROUP,
                                  SLICE("g"),
                                  SLICE("consumer.session.timeout.ms")),
                     "50000");
    desk_failover(&d);
    cr_assert_eq(GROUP({"consumer.session.timeout.ms", NULL, DELETE}),
                 ERR_NONE);
    cr_assert_null(
        image_configs(&d.committed, IMAGE_RESOURCE_GROUP, SLICE("g")));
}

Test(configs, values_of_groups_have_the_brokers_limits)
{
    static const struct {
        struct edit edit;
        const char *why;
    } bad[] = {
        {{"no.such", "1", SET}, "Unknown group config name: no.such"},
        {{"consumer.session.timeout.ms", "44999", SET},
         "consumer.session.timeout.ms must be greater than or equal to "
         "group.consumer.min.session.timeout.ms"},
        {{"consumer.session.timeout.ms", "60001", SET},
         "consumer.session.timeout.ms must be less than or equal to "
         "group.consumer.max.session.timeout.ms"},
        {{"streams.num.standby.replicas", "3", SET},
         "streams.num.standby.replicas must be less than or equal to "
         "group.streams.max.standby.replicas"},
        {{"share.isolation.level", "any", SET}, NULL},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(
            edit_all(IMAGE_RESOURCE_GROUP, "g", &bad[i].edit, 1, false),
            ERR_INVALID_CONFIG, "%s", bad[i].edit.key);
        if (bad[i].why != NULL)
            cr_assert_str_eq(d.why, bad[i].why);
    }
    cr_assert_eq(EDIT_OF(IMAGE_RESOURCE_GROUP, "",
                         {"consumer.session.timeout.ms", "50000", SET}),
                 ERR_INVALID_REQUEST);
}

Test(configs, subscriptions_to_metrics)
{
#define METRICS(...) EDIT_OF(IMAGE_RESOURCE_CLIENT_METRICS, "m", __VA_ARGS__)
    cr_assert_eq(METRICS({"interval.ms", "100", SET},
                         {"match", "client_id=a.*,client_software_name=b", SET},
                         {"metrics", "org.", SET}),
                 ERR_NONE);
    cr_assert_eq(METRICS({"interval.ms", "99", SET}), ERR_INVALID_REQUEST);
    cr_assert_eq(METRICS({"interval.ms", "soon", SET}), ERR_INVALID_CONFIG);
    cr_assert_eq(METRICS({"match", "colour=red", SET}), ERR_INVALID_CONFIG);
    cr_assert_eq(METRICS({"match", "client_id", SET}), ERR_INVALID_CONFIG);
    cr_assert_eq(METRICS({"no.such", "1", SET}), ERR_INVALID_REQUEST);
    cr_assert_eq(
        EDIT_OF(IMAGE_RESOURCE_CLIENT_METRICS, "", {"interval.ms", "100", SET}),
        ERR_INVALID_REQUEST);
}

Test(configs, limits_that_let_nobody_in_are_refused)
{
    cr_assert_eq(desk_broker_config(&d, -1, "max.connections", "0"),
                 ERR_INVALID_REQUEST);
    cr_assert_eq(desk_broker_config(&d, 1, "max.connection.creation.rate", "0"),
                 ERR_INVALID_REQUEST);
    cr_assert_eq(desk_broker_config(&d, -1, "max.connections.per.ip", "0"),
                 ERR_INVALID_REQUEST);
    cr_assert_eq(desk_broker_config(&d, -1, "max.connections.per.ip", "1"),
                 ERR_NONE);
    cr_assert_eq(
        desk_broker_config(&d, -1, "listener.name.a.max.connections", "0"),
        ERR_INVALID_REQUEST);
    cr_assert_eq(
        desk_broker_config(&d, 1,
                           "listener.name.a.max.connection.creation.rate", "0"),
        ERR_INVALID_REQUEST);
    cr_assert_eq(
        desk_broker_config(&d, -1, "listener.name.a.max.connections", "some"),
        ERR_INVALID_REQUEST);
    cr_assert_eq(
        desk_broker_config(&d, -1, "listener.name.a.max.connections", "1"),
        ERR_NONE);
}

/* ---- sizes --------------------------------------------------------------- */

/* Unknown keys of a broker, as long as they get. */
static void long_values(struct edit *edits, int32_t len, size_t bytes)
{
    for (int32_t i = 0; i < len; i++) {
        char *value = arena_alloc(&d.arena, bytes + 1);

        memset(value, 'v', bytes);
        edits[i] = (struct edit){
            (const char *)arena_printf(&d.arena, "key.%d", (int)i).data, value,
            SET};
    }
}

Test(configs, all_of_a_resource_have_a_limit)
{
    struct edit edits[48];
    struct edit gone = {"key.0", NULL, DELETE};

    long_values(edits, 48, CONTROLLER_CONFIGS_MAX_BYTES / 36);
    cr_assert_eq(replace(IMAGE_RESOURCE_BROKER, "1", edits, 48),
                 ERR_INVALID_CONFIG);
    cr_assert_eq(edit_all(IMAGE_RESOURCE_BROKER, "1", edits, 48, true),
                 ERR_INVALID_CONFIG);
    cr_assert_eq(d.records, 0);
    cr_assert_eq(replace(IMAGE_RESOURCE_BROKER, "1", edits, 35), ERR_NONE);
    cr_assert_eq(edit_all(IMAGE_RESOURCE_BROKER, "1", edits + 35, 3, false),
                 ERR_INVALID_CONFIG);
    cr_assert_eq(edit_all(IMAGE_RESOURCE_BROKER, "1", &gone, 1, false),
                 ERR_NONE);
    cr_assert_eq(d.records, 1);
}

Test(configs, what_raft_would_not_take_at_once_is_refused)
{
    struct edit edits[4];

    d.c.config.entry_max_bytes = 4000;
    long_values(edits, 4, 1200);
    cr_assert_eq(replace(IMAGE_RESOURCE_BROKER, "1", edits, 4),
                 ERR_POLICY_VIOLATION);
    cr_assert_eq(d.records, 0);
    cr_assert_null(
        image_configs(&d.committed, IMAGE_RESOURCE_BROKER, SLICE("1")));
    cr_assert_eq(replace(IMAGE_RESOURCE_BROKER, "1", edits, 3), ERR_NONE);
}
