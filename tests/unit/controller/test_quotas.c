/* AlterClientQuotas, the names of entities, which quota counts, and
 * controller_mutation_rate. */
#include "controller/quota_entity.h"
#include "tests/unit/controller/desk.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct desk d;

static void set_up(void) { desk_with_brokers(&d, 2); }
static void tear_down(void) { desk_free(&d); }

TestSuite(quotas, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- names --------------------------------------------------------------- */

static void same_again(struct quota_entity e, const char *name)
{
    struct quota_entity back;
    struct slice text = quota_entity_encode(&e, &d.arena);

    cr_assert(slice_eq_str(text, name), "%.*s", SLICE_FMT(text));
    cr_assert(quota_entity_decode(text, &d.arena, &back));
    for (int i = 0; i < QUOTA_PARTS; i++) {
        cr_assert_eq(back.has[i], e.has[i]);
        cr_assert_eq(slice_is_null(back.name[i]), slice_is_null(e.name[i]));
        cr_assert(slice_eq(back.name[i], e.name[i]));
    }
}

Test(quotas, names_go_there_and_back)
{
    same_again((struct quota_entity){.has = {true, true, false},
                                     .name = {SLICE("al;i=ce"), SLICE("c 1")}},
               "user=al%3Bi%3Dce;client-id=c%201");
    same_again((struct quota_entity){.has = {true, true, false},
                                     .name = {SLICE_NULL, SLICE("<default>")}},
               "user=<default>;client-id=%3Cdefault%3E");
    same_again((struct quota_entity){.has = {false, false, true},
                                     .name = {[2] = SLICE("::1")}},
               "ip=::1");
}

Test(quotas, names_that_nobody_writes)
{
    static const char *const bad[] = {
        "",         "user",  "user=",         "user=%4",
        "user=%g1", "who=a", "user=a;user=b", "user=a b"};
    struct quota_entity e;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(quota_entity_decode(slice_str(bad[i]), &d.arena, &e),
                      "%s", bad[i]);
}

/* ---- which counts -------------------------------------------------------- */

/* Entities that have a value; the value is their place in the list. */
static const char *look_up(const void *arg, struct slice entity,
                           struct slice key)
{
    static const char *const values[] = {"1", "2", "3", "4",
                                         "5", "6", "7", "8"};
    const char *const *with = arg;

    cr_assert(slice_eq_str(key, "producer_byte_rate"));
    for (int i = 0; with[i] != NULL; i++)
        if (slice_eq_str(entity, with[i]))
            return values[i];
    return NULL;
}

Test(quotas, the_most_special_entity_counts)
{
    static const char *const levels[] = {"user=u;client-id=c",
                                         "user=u;client-id=<default>",
                                         "user=<default>;client-id=c",
                                         "user=<default>;client-id=<default>",
                                         "user=u",
                                         "user=<default>",
                                         "client-id=c",
                                         "client-id=<default>"};
    static const char *const buckets[] = {"user=u;client-id=c",
                                          "user=u;client-id=c",
                                          "user=u;client-id=c",
                                          "user=u;client-id=c",
                                          "user=u",
                                          "user=u",
                                          "client-id=c",
                                          "client-id=c"};
    struct quota_match m;

    for (int i = 0; i < 8; i++) {
        const char *with[9] = {0};
        char bucket[64];

        for (int j = i; j < 8; j++)
            with[j - i] = levels[j];
        cr_assert(quota_find(QUOTA_PRODUCE, SLICE("u"), SLICE("c"), look_up,
                             with, &d.arena, &m));
        cr_assert_eq((int)m.limit, 1, "%s", levels[i]);
        snprintf(bucket, sizeof bucket, "producer_byte_rate;%s", buckets[i]);
        cr_assert(slice_eq_str(m.bucket, bucket), "%.*s", SLICE_FMT(m.bucket));
    }
    cr_assert_not(quota_find(QUOTA_PRODUCE, SLICE("other"), SLICE("x"), look_up,
                             (const char *[]){levels[0], levels[4], NULL},
                             &d.arena, &m));
}

/* ---- changes ------------------------------------------------------------- */

struct change {
    const char *user, *client_id; /* NULL: not part of the entity */
    const char *key;
    double value; /* 0: removed */
    bool only_validated;
};

static enum err change(struct change c)
{
    struct alter_client_quotas_request request;
    struct alter_client_quotas_request_entry_data entry;
    struct alter_client_quotas_request_entity_data parts[2];
    struct alter_client_quotas_request_op_data op;

    alter_client_quotas_request_init(&request);
    alter_client_quotas_request_entry_data_init(&entry);
    alter_client_quotas_request_op_data_init(&op);
    op.key = slice_str(c.key);
    op.value = c.value;
    op.remove = c.value < 1e-9;
    entry.ops = &op;
    entry.ops_len = 1;
    entry.entity = parts;
    entry.entity_len = 0;
    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? c.user : c.client_id;

        if (name == NULL)
            continue;
        alter_client_quotas_request_entity_data_init(&parts[entry.entity_len]);
        parts[entry.entity_len].entity_type =
            i == 0 ? SLICE("user") : SLICE("client-id");
        parts[entry.entity_len++].entity_name = slice_str(name);
    }
    request.entries = &entry;
    request.entries_len = 1;
    request.validate_only = c.only_validated;
    struct alter_client_quotas_response *response =
        desk_kafka(&d, API_ALTER_CLIENT_QUOTAS, 1, &request);
    cr_assert_eq(response->entries_len, 1);
    return (enum err)response->entries[0].error_code;
}

#define CHANGE(...) change((struct change){__VA_ARGS__})

static const char *kept(const char *entity, const char *key)
{
    return image_config(&d.committed, IMAGE_RESOURCE_CLIENT_QUOTA,
                        slice_str(entity), slice_str(key));
}

Test(quotas, are_kept_changed_and_removed)
{
    cr_assert_eq(CHANGE("u", "c", "producer_byte_rate", 1024), ERR_NONE);
    cr_assert_str_eq(kept("user=u;client-id=c", "producer_byte_rate"), "1024");
    cr_assert_eq(CHANGE("u", "c", "producer_byte_rate", 1024), ERR_NONE);
    cr_assert_eq(d.records, 0, "the same again writes nothing");
    cr_assert_eq(CHANGE("u", "c", "producer_byte_rate", 7, true), ERR_NONE);
    cr_assert_str_eq(kept("user=u;client-id=c", "producer_byte_rate"), "1024");
    desk_failover(&d);
    cr_assert_eq(CHANGE("u", "c", "producer_byte_rate", 0), ERR_NONE);
    cr_assert_null(kept("user=u;client-id=c", "producer_byte_rate"));
}

Test(quotas, a_name_that_is_too_long_is_refused)
{
    char name[800];

    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    cr_assert_eq(CHANGE(name, NULL, "producer_byte_rate", 1),
                 ERR_INVALID_REQUEST);
    name[440] = '\0';
    cr_assert_eq(CHANGE(name, NULL, "producer_byte_rate", 1), ERR_NONE);
}

/* ---- controller_mutation_rate -------------------------------------------- */

/* Creates a topic in the name of a client; the pause it is told. */
static enum err create(const char *name, int32_t partitions, int16_t version,
                       int32_t *pause_ms)
{
    const struct api *api = api_find(API_CREATE_TOPICS);
    struct create_topics_request request;
    struct create_topics_request_creatable_topic topic;
    struct create_topics_response response;
    struct controller_call call = desk_call(&d);
    struct controller_update update;
    struct buf in = BUF_INIT, out = BUF_INIT;

    create_topics_request_init(&request);
    create_topics_request_creatable_topic_init(&topic);
    topic.name = slice_str(name);
    topic.num_partitions = partitions;
    topic.replication_factor = 1;
    request.topics = &topic;
    request.topics_len = 1;
    cr_assert_eq(kafka_encode(api->request, version, &request, &in, NULL),
                 ERR_NONE);
    call.user = SLICE("ANONYMOUS");
    call.client_id = SLICE("c");
    cr_assert_eq(controller_handle_kafka(&d.c, &call, API_CREATE_TOPICS,
                                         version, buf_slice(&in), &out,
                                         &update),
                 ERR_NONE);
    desk_done(&d, &update);
    cr_assert_eq(kafka_decode(api->response, version,
                              arena_copy(&d.arena, buf_slice(&out)), &d.arena,
                              &response),
                 ERR_NONE);
    buf_free(&in);
    buf_free(&out);
    *pause_ms = response.throttle_time_ms;
    return (enum err)response.topics[0].error_code;
}

Test(quotas, creating_partitions_is_paced)
{
    int32_t pause_ms;

    CHANGE(NULL, "c", "controller_mutation_rate", 1);
    cr_assert_eq(create("a", 10, 6, &pause_ms), ERR_NONE);
    cr_assert_eq(pause_ms, 0);
    cr_assert_eq(create("b", 6, 6, &pause_ms), ERR_NONE,
                 "the last that begins within the burst of 11 s");
    cr_assert_eq(pause_ms, 0);
    cr_assert_eq(create("c", 1, 6, &pause_ms), ERR_THROTTLING_QUOTA_EXCEEDED);
    cr_assert_eq(pause_ms, 5000);
    cr_assert_eq(create("c", 1, 5, &pause_ms), ERR_NONE,
                 "older versions are not refused");
    cr_assert_eq(pause_ms, 6000);
    desk_pass(&d, 6000);
    cr_assert_eq(create("d", 1, 6, &pause_ms), ERR_NONE);
    CHANGE(NULL, "c", "controller_mutation_rate", 0);
    cr_assert_eq(create("e", 100, 6, &pause_ms), ERR_NONE);
    cr_assert_eq(pause_ms, 0);
}
