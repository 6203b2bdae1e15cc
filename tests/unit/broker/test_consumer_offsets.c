/* What offsets ask, and what tools see. */
#include "tests/unit/broker/consumer_fixture.h"

#include <stdlib.h>

static struct realm r;

static void set_up(void) { realm_open(&r); }
static void tear_down(void) { realm_close(&r); }

TestSuite(consumer_offsets, .init = set_up, .fini = tear_down);

static struct consumer_group_heartbeat_request joining(void)
{
    static struct slice names[1];
    struct consumer_group_heartbeat_request request;

    consumer_group_heartbeat_request_init(&request);
    names[0] = SLICE("a");
    request.group_id = SLICE("g");
    request.member_id = SLICE("m");
    request.rebalance_timeout_ms = 1000;
    request.subscribed_topic_names = names;
    request.subscribed_topic_names_len = 1;
    request.topic_partitions_len = 0;
    return request;
}

/* ---- offsets -------------------------------------------------------------*/

static enum err commit_err(const char *id, int32_t epoch, int topic, int32_t p)
{
    struct coord_caller caller = {SLICE("g"), slice_str(id), epoch,
                                  9,          false,         SLICE_NULL};

    return consumer_check_commit(r.coord, &caller, r.topics[topic].id, p);
}

static enum err fetch_err(const char *id, int32_t epoch)
{
    struct coord_caller caller = {SLICE("g"), slice_str(id), epoch,
                                  9,          false,         SLICE_NULL};

    return consumer_check_fetch(r.coord, &caller);
}

Test(consumer_offsets, offsets_of_a_member)
{
    cr_assert_err(commit_err("a", 1, 0, 0), ERR_GROUP_ID_NOT_FOUND);
    cr_assert_err(fetch_err("a", 1), ERR_GROUP_ID_NOT_FOUND);
    struct client a = client_join(&r, "a", "a"), b = client_join(&r, "b", "a");
    client_beat(&r, &a);
    struct client *both[] = {&a, &b};
    clients_settle(&r, both, 2);
    int32_t given = b.parts[0].partition, kept = a.parts[0].partition;
    struct coord_caller old = {SLICE("g"), SLICE("a"), 2, 8, false, SLICE_NULL};
    const struct row rows[] = {
        {"present epoch", commit_err("a", 2, 0, kept), ERR_NONE},
        {"present epoch, any partition", commit_err("a", 2, 1, 0), ERR_NONE},
        {"older epoch, has it since", commit_err("a", 1, 0, kept), ERR_NONE},
        {"older epoch, gave it up", commit_err("a", 1, 0, given),
         ERR_STALE_MEMBER_EPOCH},
        {"older epoch, had it not yet", commit_err("b", 1, 0, given),
         ERR_STALE_MEMBER_EPOCH},
        {"epoch to come", commit_err("a", 3, 0, kept), ERR_STALE_MEMBER_EPOCH},
        {"no epoch", commit_err("a", -1, 0, kept), ERR_STALE_MEMBER_EPOCH},
        {"unknown", commit_err("x", 2, 0, kept), ERR_UNKNOWN_MEMBER_ID},
        {"a tool, while there are members", commit_err(NULL, -1, 0, kept),
         ERR_UNKNOWN_MEMBER_ID},
        {"version 8",
         consumer_check_commit(r.coord, &old, r.topics[0].id, kept),
         ERR_UNSUPPORTED_VERSION},
        {"fetch", fetch_err("a", 2), ERR_NONE},
        {"fetch, old", fetch_err("a", 1), ERR_STALE_MEMBER_EPOCH},
        {"fetch, unknown", fetch_err("x", 2), ERR_UNKNOWN_MEMBER_ID},
        {"fetch of a tool", fetch_err(NULL, -1), ERR_NONE},
    };
    CHECK_ROWS(rows);
    old.transactional = true;
    cr_assert_err(consumer_check_commit(r.coord, &old, r.topics[0].id, kept),
                  ERR_NONE);
    cr_assert(consumer_subscribes(r.coord, SLICE("g"), SLICE("a")));
    cr_assert_not(consumer_subscribes(r.coord, SLICE("g"), SLICE("b")));
}

/* KAFKA-18060: producers before KIP-447 cannot say who they commit for, and
 * later ones need not. */
Test(consumer_offsets, a_transaction_need_not_name_a_member)
{
    struct client a = client_join(&r, "a", "a");
    struct coord_caller callers[] = {
        {SLICE("g"), SLICE(""), -1, 2, true, SLICE_NULL},
        {SLICE("g"), SLICE(""), -1, 2, false, SLICE_NULL},
        {SLICE("g"), SLICE(""), a.epoch, 3, true, SLICE_NULL},
        {SLICE("g"), SLICE("x"), -1, 3, true, SLICE_NULL},
        {SLICE("g"), SLICE("a"), -1, 3, true, SLICE_NULL},
        {SLICE("g"), SLICE(""), -1, 3, true, SLICE("i")},
    };
    enum err errs[6];

    for (int i = 0; i < 6; i++)
        errs[i] =
            consumer_check_commit(r.coord, &callers[i], r.topics[0].id, 0);
    const struct row rows[] = {
        {"nobody", errs[0], ERR_NONE},
        {"nobody, in no transaction", errs[1], ERR_UNKNOWN_MEMBER_ID},
        {"an epoch alone", errs[2], ERR_UNKNOWN_MEMBER_ID},
        {"a stranger", errs[3], ERR_UNKNOWN_MEMBER_ID},
        {"a member without its epoch", errs[4], ERR_STALE_MEMBER_EPOCH},
        {"an instance alone", errs[5], ERR_UNKNOWN_MEMBER_ID},
    };
    CHECK_ROWS(rows);
}

/* What is to be given up is still the member's to commit for. */
Test(consumer_offsets, offsets_of_what_is_given_up)
{
    struct client a = client_join(&r, "a", "a"), before = a;

    client_join(&r, "b", "a");
    client_beat(&r, &a);
    for (uint32_t i = 0; i < before.parts_len; i++)
        cr_assert_err(commit_err("a", 1, 0, before.parts[i].partition),
                      ERR_NONE);
}

Test(consumer_offsets, an_empty_group_may_be_deleted)
{
    struct coord_records records = {0};
    struct client a = named("a");

    cr_assert_err(consumer_delete_records(r.coord, SLICE("g"), &records),
                  ERR_GROUP_ID_NOT_FOUND);
    client_take(&r, &a, JOIN(&r, &a, .regex = "b*"));
    cr_assert_err(consumer_delete_records(r.coord, SLICE("g"), &records),
                  ERR_NON_EMPTY_GROUP);
    a.epoch = -1;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    cr_assert_err(commit_err(NULL, -1, 0, 0), ERR_NONE);
    cr_assert_err(consumer_delete_records(r.coord, SLICE("g"), &records),
                  ERR_NONE);
    for (uint32_t i = 0; i < records.count; i++) {
        struct coord_record record = coord_records_get(&records, i);
        cr_assert_err(consumer_coord_replay(r.coord, record.key, record.value),
                      ERR_NONE);
    }
    coord_records_free(&records);
    cr_assert_eq(consumer_coord_groups_count(r.coord), 0);
    consumer_coord_check(r.coord);
}

/* ---- describe and list ---------------------------------------------------*/

Test(consumer_offsets, describe)
{
    struct client a = static_named("a", "i");

    client_take(&r, &a, JOIN(&r, &a, .names = "b a", .rack = "r1"));
    struct client b = client_join(&r, "b", "a");
    const struct consumer_group_describe_response_described_group *g =
        realm_describe(&r, "g");
    const struct consumer_group_describe_response_member *m = &g->members[0];

    cr_assert_err(g->error_code, ERR_NONE);
    cr_assert_eq(g->group_epoch, 2);
    cr_assert_eq(g->assignment_epoch, 2);
    cr_assert_eq(g->members_len, 2);
    cr_assert(slice_eq_str(m->member_id, "a"));
    cr_assert(slice_eq_str(m->instance_id, "i"));
    cr_assert(slice_eq_str(m->rack_id, "r1"));
    cr_assert(slice_eq_str(m->client_host, "/192.0.2.7"));
    cr_assert_eq(m->member_epoch, 1);
    cr_assert_eq(m->member_type, 1);
    cr_assert_eq(m->subscribed_topic_names_len, 2);
    cr_assert(slice_eq_str(m->subscribed_topic_names[0], "a"));
    cr_assert_eq(m->assignment.topic_partitions_len, 2);
    cr_assert(slice_eq_str(m->assignment.topic_partitions[0].topic_name, "a"));
    cr_assert_eq(m->assignment.topic_partitions[0].partitions_len, 3);
    cr_assert(slice_is_null(g->members[1].instance_id));
    cr_assert_eq(g->members[1].target_assignment.topic_partitions_len, 1);
    cr_assert_eq(g->members[1].assignment.topic_partitions_len, 0);

    g = realm_describe(&r, "none");
    cr_assert_err(g->error_code, ERR_GROUP_ID_NOT_FOUND);
    client_beat(&r, &b);
}

static int32_t listed(const char *type, const char *state)
{
    struct slice types[1] = {slice_str(type)}, states[1] = {slice_str(state)};
    struct list_groups_request request = {states, state != NULL, types,
                                          type != NULL};
    struct arena arena;
    int32_t len;

    arena_init(&arena, 0);
    consumer_coord_list(r.coord, &request, &arena, &len);
    arena_free(&arena);
    return len;
}

Test(consumer_offsets, list)
{
    struct client a = client_join(&r, "a", "a");

    a.group = "other";
    cr_assert_err(beat_err(&r, JOIN(&r, &a)), ERR_NONE);
    a.epoch = -1;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    cr_assert_eq(listed(NULL, NULL), 2);
    cr_assert_eq(listed("Consumer", NULL), 2);
    cr_assert_eq(listed("classic", NULL), 0);
    cr_assert_eq(listed(NULL, "stable"), 1);
    cr_assert_eq(listed("consumer", "EMPTY"), 1);
}

Test(consumer_offsets, refusals)
{
    struct slice ids[2] = {SLICE("g"), SLICE("h")};
    struct consumer_group_describe_request describe = {ids, 2, false};
    struct consumer_group_heartbeat_request beat = joining();
    struct coord_context context = {.version = 1};
    struct coord_answer *answer =
        consumer_refuse(&context, API_CONSUMER_GROUP_DESCRIBE, &describe,
                        ERR_COORDINATOR_LOAD_IN_PROGRESS);

    cr_assert_eq(answer->response.consumer_group_describe.groups_len, 2);
    cr_assert_err(answer->response.consumer_group_describe.groups[1].error_code,
                  ERR_COORDINATOR_LOAD_IN_PROGRESS);
    coord_answer_free(answer);
    answer = consumer_refuse(&context, API_CONSUMER_GROUP_HEARTBEAT, &beat,
                             ERR_NOT_COORDINATOR);
    cr_assert_err(answer->response.consumer_group_heartbeat.error_code,
                  ERR_NOT_COORDINATOR);
    coord_answer_free(answer);
}
