/* A shard's life, what it says while it has no coordinator, what it loads; and
 * the requests that only look. */
#include "tests/unit/broker/coord_fixture.h"

#include "proto/kafka/coordinator_record.h"
#include "proto/record/builder.h"

static struct world w;

static void set_up(void) { world_open(&w); }

static void tear_down(void) { world_close(&w); }

TestSuite(coord_shard, .init = set_up, .fini = tear_down);

/* ---- without a coordinator -----------------------------------------------*/

static struct coord_answer *last;

static void keep(void *arg, struct coord_answer *answer)
{
    coord_answer_free(last);
    last = answer;
}

static enum err refuse_append(void *arg, uint8_t *batch, size_t len,
                              int64_t *base_offset)
{
    cr_assert_fail("nothing to append");
    return ERR_NONE;
}

/* The error in the answer to a plain request. */
static enum err ask(struct group_shard *shard, enum api_key api)
{
    struct slice names[] = {SLICE("g")};
    struct join_group_request join = {.group_id = SLICE("g"),
                                      .member_id = SLICE("m")};
    struct sync_group_request sync = {.group_id = SLICE("g")};
    struct heartbeat_request heartbeat = {.group_id = SLICE("g")};
    struct leave_group_request leave = {.group_id = SLICE("g")};
    struct offset_commit_request_partition partition = {0};
    struct offset_commit_request_topic topic = {
        .name = SLICE("t"), .partitions = &partition, .partitions_len = 1};
    struct offset_commit_request commit = {
        .group_id = SLICE("g"), .topics = &topic, .topics_len = 1};
    struct offset_fetch_request_group group = {.group_id = SLICE("g"),
                                               .topics_len = -1};
    struct offset_fetch_request fetch = {.groups = &group, .groups_len = 1};
    struct offset_delete_request offsets = {.group_id = SLICE("g")};
    struct describe_groups_request describe = {.groups = names,
                                               .groups_len = 1};
    struct list_groups_request list = {0};
    struct delete_groups_request delete = {names, 1};
    const void *requests[API_COUNT] = {
        [API_JOIN_GROUP] = &join,       [API_SYNC_GROUP] = &sync,
        [API_HEARTBEAT] = &heartbeat,   [API_LEAVE_GROUP] = &leave,
        [API_OFFSET_COMMIT] = &commit,  [API_OFFSET_FETCH] = &fetch,
        [API_OFFSET_DELETE] = &offsets, [API_DESCRIBE_GROUPS] = &describe,
        [API_LIST_GROUPS] = &list,      [API_DELETE_GROUPS] = &delete,
    };
    struct coord_context context = {.version = 3};

    if (api == API_OFFSET_FETCH)
        context.version = 8;
    group_shard_request(shard, &context, api, requests[api]);
    switch (api) {
    case API_JOIN_GROUP:
        cr_assert_text(last->response.join_group.member_id, "m");
        return (enum err)last->response.join_group.error_code;
    case API_SYNC_GROUP:
        return (enum err)last->response.sync_group.error_code;
    case API_HEARTBEAT:
        return (enum err)last->response.heartbeat.error_code;
    case API_LEAVE_GROUP:
        return (enum err)last->response.leave_group.error_code;
    case API_OFFSET_COMMIT:
        return (enum err)last->response.offset_commit.topics[0]
            .partitions[0]
            .error_code;
    case API_OFFSET_FETCH:
        return (enum err)last->response.offset_fetch.groups[0].error_code;
    case API_OFFSET_DELETE:
        return (enum err)last->response.offset_delete.error_code;
    case API_DESCRIBE_GROUPS:
        return (enum err)last->response.describe_groups.groups[0].error_code;
    case API_LIST_GROUPS:
        cr_assert_eq(last->response.list_groups.groups_len, 0);
        return (enum err)last->response.list_groups.error_code;
    case API_DELETE_GROUPS:
        return (enum err)last->response.delete_groups.results[0].error_code;
    default:
        cr_assert_fail("no such request");
        return ERR_NONE;
    }
}

Test(coord_shard, what_is_said_while_loading_and_after_the_end)
{
    static const struct group_shard_ops ops = {.append = refuse_append,
                                               .answer = keep};
    static const struct {
        enum api_key api;
        enum err loading, resigned;
    } rows[] = {
        {API_JOIN_GROUP, ERR_COORDINATOR_LOAD_IN_PROGRESS, ERR_NOT_COORDINATOR},
        {API_SYNC_GROUP, ERR_REBALANCE_IN_PROGRESS, ERR_NOT_COORDINATOR},
        {API_HEARTBEAT, ERR_NONE, ERR_NOT_COORDINATOR},
        {API_LEAVE_GROUP, ERR_COORDINATOR_LOAD_IN_PROGRESS,
         ERR_NOT_COORDINATOR},
        {API_OFFSET_COMMIT, ERR_COORDINATOR_LOAD_IN_PROGRESS,
         ERR_NOT_COORDINATOR},
        {API_OFFSET_FETCH, ERR_COORDINATOR_LOAD_IN_PROGRESS,
         ERR_NOT_COORDINATOR},
        {API_OFFSET_DELETE, ERR_COORDINATOR_LOAD_IN_PROGRESS,
         ERR_NOT_COORDINATOR},
        {API_DESCRIBE_GROUPS, ERR_COORDINATOR_LOAD_IN_PROGRESS,
         ERR_NOT_COORDINATOR},
        {API_LIST_GROUPS, ERR_COORDINATOR_LOAD_IN_PROGRESS, ERR_NONE},
        {API_DELETE_GROUPS, ERR_COORDINATOR_LOAD_IN_PROGRESS,
         ERR_NOT_COORDINATOR},
    };
    struct group_shard *shard = group_shard_create(&w.options, &ops, NULL);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(ask(shard, rows[i].api), rows[i].loading, "%s",
                     api_name((int16_t)rows[i].api));
    cr_assert_eq(group_shard_next_deadline(shard), INT64_MAX);
    group_shard_resign(shard, w.time);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(ask(shard, rows[i].api), rows[i].resigned, "%s",
                     api_name((int16_t)rows[i].api));
    group_shard_free(shard);
    keep(NULL, NULL);
}

/* ---- a marker that another one writes ------------------------------------ */

/* A transaction's commit of offset 77 for t-0, as the log has it. */
static struct buf offset_in_txn(int64_t producer_id)
{
    static const uint8_t key[] = {0, 1, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 0};
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct buf value = BUF_INIT, bytes = BUF_INIT;
    struct batch_builder b;

    buf_put_u16(&value, 3);
    buf_put_u64(&value, 77);
    buf_put_u32(&value, UINT32_MAX);
    buf_put_u16(&value, 0);
    buf_put_u64(&value, 1);
    batch_builder_init(&b);
    batch_builder_append(&b, 1000, slice_of(key, sizeof key), buf_slice(&value),
                         NULL, 0);
    options.producer_id = producer_id;
    options.producer_epoch = 0;
    options.attributes = BATCH_TRANSACTIONAL;
    batch_builder_finish(&b, &options, NULL, &bytes);
    batch_builder_free(&b);
    buf_free(&value);
    return bytes;
}

static int64_t committed_offset(struct group_shard *shard)
{
    struct offset_fetch_request_topics topic = {.name = SLICE("t"),
                                                .partition_indexes =
                                                    (int32_t[]){0},
                                                .partition_indexes_len = 1};
    struct offset_fetch_request_group group = {
        .group_id = SLICE("g"), .topics = &topic, .topics_len = 1};
    struct offset_fetch_request request = {.groups = &group, .groups_len = 1};
    struct coord_context context = {.version = 9};

    group_shard_request(shard, &context, API_OFFSET_FETCH, &request);
    return last->response.offset_fetch.groups[0]
        .topics[0]
        .partitions[0]
        .committed_offset;
}

Test(coord_shard, offsets_of_a_transaction_count_once_its_marker_is_there)
{
    static const struct group_shard_ops ops = {.append = refuse_append,
                                               .answer = keep};
    static const int64_t wanted[] = {-1, 77};

    for (int commit = 0; commit < 2; commit++) {
        struct group_shard *shard = group_shard_create(&w.options, &ops, NULL);
        struct group_loader *loader = group_loader_create(&w.options, 1);
        struct buf bytes = offset_in_txn(5000);

        cr_assert_eq(group_loader_add(loader, buf_slice(&bytes)), ERR_NONE);
        group_shard_activate(shard, loader, 1, 1, 0, w.time);
        cr_assert_eq(committed_offset(shard), -1, "before the marker");
        group_shard_marker(shard, 4999, true, 1, w.time);
        cr_assert_eq(committed_offset(shard), -1, "another producer's");
        group_shard_marker(shard, 5000, commit != 0, 2, w.time);
        group_shard_committed(shard, 3, w.time);
        cr_assert_eq(committed_offset(shard), wanted[commit]);
        group_shard_resign(shard, w.time);
        group_shard_free(shard);
        buf_free(&bytes);
    }
    keep(NULL, NULL);
}

/* ---- loading -------------------------------------------------------------*/

static void expect_same_after_reload(void)
{
    struct buf live = BUF_INIT, loaded = BUF_INIT;

    coord_dump(world_coord(&w), &live);
    world_fail_over(&w);
    coord_dump(world_coord(&w), &loaded);
    buf_put_u8(&live, 0);
    buf_put_u8(&loaded, 0);
    cr_assert_str_eq((char *)loaded.data, (char *)live.data);
    buf_free(&live);
    buf_free(&loaded);
}

Test(coord_shard, a_reloaded_coordinator_knows_the_same)
{
    char id[128];
    make_stable_pair(&w, "pair");
    make_stable(&w, "left", id);
    COMMIT(&w, .group = "left", .member = id, .generation = 1, .offset = 4,
           .metadata = "note");
    LEAVE(&w, .group = "left", .member = id);
    COMMIT(&w, .group = "simple", .offset = 9, .retention_ms = 100000,
           .version = 2);
    JOIN(&w, .group = "pending", .version = 4);
    struct buf text = BUF_INIT;
    coord_dump(world_coord(&w), &text);
    buf_put_u8(&text, 0);
    cr_assert_not_null(strstr((char *)text.data, "assignment two"));
    cr_assert_not_null(strstr((char *)text.data, "offset simple t-0 at 9"));
    cr_assert_null(strstr((char *)text.data, "pending"));
    buf_free(&text);
    expect_same_after_reload();
}

/* Bytes as Apache Kafka writes them, put together by hand. */
Test(coord_shard, records_have_kafkas_layout)
{
    char id[128];
    COMMIT(&w, .group = "gr", .topic = "to", .partition = 3, .offset = 258,
           .metadata = "x");
    static const uint8_t key[] = {0, 1,   0,   2, 'g', 'r', 0,
                                  2, 't', 'o', 0, 0,   0,   3};
    uint8_t value[] = {0,   3, 0, 0,   0, 0, 0, 0, 1, 2, 255, 255, 255,
                       255, 0, 1, 'x', 0, 0, 0, 0, 0, 0, 0,   0};
    be64_put(value + 17, (uint64_t)w.time.wall_ms);
    struct slice log = buf_slice(&w.batches[0]);

    cr_assert_not_null(memmem(log.data, log.len, key, sizeof key));
    cr_assert_not_null(memmem(log.data, log.len, value, sizeof value));
    make_stable(&w, "gr", id);
    static const uint8_t group_key[] = {0, 2, 0, 2, 'g', 'r'};
    static const uint8_t group_value[] = {
        0, 3, 0, 8, 'c', 'o', 'n', 's', 'u', 'm', 'e', 'r',
        0, 0, 0, 1, 0,   5,   'r', 'a', 'n', 'g', 'e'};
    log = buf_slice(&w.batches[w.batches_len - 1]);
    cr_assert_not_null(memmem(log.data, log.len, group_key, sizeof group_key));
    cr_assert_not_null(
        memmem(log.data, log.len, group_value, sizeof group_value));
}

static enum err load_one(struct slice key, struct slice value, struct buf *dump,
                         uint64_t *skipped)
{
    struct group_loader *loader = group_loader_create(&w.options, INT64_MAX);
    struct batch_builder builder;
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct buf batch = BUF_INIT;

    batch_builder_init(&builder);
    batch_builder_append(&builder, 1, key, value, NULL, 0);
    batch_builder_finish(&builder, &options, NULL, &batch);
    batch_builder_free(&builder);
    enum err err = group_loader_add(loader, buf_slice(&batch));
    buf_free(&batch);
    *skipped = group_loader_skipped(loader);
    struct group_cores *cores = group_loader_take(loader);
    coord_check(group_cores_classic(cores));
    coord_dump(group_cores_classic(cores), dump);
    buf_put_u8(dump, 0);
    group_cores_free(cores);
    return err;
}

Test(coord_shard, records_of_former_times_are_understood)
{
    /* Key 0 and value 0, of Kafka 0.8.2. */
    static const uint8_t key[] = {0, 0, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 5};
    static const uint8_t value[] = {0, 0,   0, 0, 0, 0, 0, 0, 0, 9, 0,
                                    1, 'm', 0, 0, 0, 0, 0, 0, 0, 7};
    struct buf dump = BUF_INIT;
    uint64_t skipped;

    cr_assert_eq(load_one(slice_of(key, sizeof key),
                          slice_of(value, sizeof value), &dump, &skipped),
                 ERR_NONE);
    cr_assert_eq(skipped, 0);
    cr_assert_not_null(strstr((char *)dump.data,
                              "offset g t-5 at 9 epoch -1 commit 7 expire -1 "
                              "metadata m"));
    buf_free(&dump);
}

Test(coord_shard, records_that_make_no_sense_are_skipped)
{
    static const uint8_t offset_key[] = {0, 1,   0, 1, 'g', 0,
                                         1, 't', 0, 0, 0,   5};
    static const uint8_t group_key[] = {0, 2, 0, 1, 'g'};
    static const uint8_t consumer_key[] = {0, 3, 0, 1, 'g'};
    static const uint8_t future[] = {0, 99, 1, 2, 3};
    /* Stable without a protocol, and twice the same member. */
    struct buf twice = BUF_INIT;
    struct group_metadata_value_member_metadata members[2] = {
        {.member_id = SLICE("m")}, {.member_id = SLICE("m")}};
    struct group_metadata_value value = {.protocol_type = SLICE("consumer"),
                                         .generation = 1,
                                         .protocol = SLICE("range"),
                                         .members = members,
                                         .members_len = 2};
    cr_assert_eq(
        coordinator_value_encode(&group_metadata_value_desc, 3, &value, &twice),
        ERR_NONE);
    const struct {
        struct slice key, value;
    } rows[] = {
        {SLICE(""), SLICE("")},
        {SLICE_NULL, SLICE("x")},
        {slice_of(future, sizeof future), SLICE("x")},
        {slice_of(consumer_key, sizeof consumer_key), SLICE("x")},
        {slice_of(offset_key, sizeof offset_key), SLICE("")},
        {slice_of(offset_key, sizeof offset_key),
         slice_of(future, sizeof future)},
        {slice_of(offset_key, sizeof offset_key - 1), SLICE("x")},
        {slice_of(group_key, sizeof group_key), SLICE("x")},
        {slice_of(group_key, sizeof group_key), buf_slice(&twice)},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf dump = BUF_INIT;
        uint64_t skipped;

        cr_assert_eq(load_one(rows[i].key, rows[i].value, &dump, &skipped),
                     ERR_NONE);
        cr_expect_eq(skipped, 1, "row %zu", i);
        cr_expect_str_eq((char *)dump.data, "", "row %zu", i);
        buf_free(&dump);
    }
    buf_free(&twice);
}

Test(coord_shard, a_damaged_batch_stops_the_loading)
{
    struct group_loader *loader = group_loader_create(&w.options, INT64_MAX);

    COMMIT(&w, .offset = 1);
    w.batches[0].data[w.batches[0].len - 1] ^= 1;
    cr_assert_eq(group_loader_add(loader, buf_slice(&w.batches[0])),
                 ERR_CORRUPT_MESSAGE);
    group_loader_free(loader);
}

/* ---- calls inside of calls -----------------------------------------------*/

static struct {
    struct group_shard *shard;
    int64_t end;
    bool hold;
    int deletes;
} nest;

static enum err nest_append(void *arg, uint8_t *batch, size_t len,
                            int64_t *base_offset)
{
    struct batch header;

    cr_assert_eq(batch_parse(slice_of(batch, len), &header), ERR_NONE);
    *base_offset = nest.end;
    nest.end += header.records_count;
    if (!nest.hold)
        group_shard_committed(nest.shard, nest.end, w.time);
    return ERR_NONE;
}

static void nest_request(enum api_key api, const void *request)
{
    struct coord_context context = {.version = api == API_OFFSET_COMMIT ? 8 : 2,
                                    .now_ms = w.time.now_ms,
                                    .wall_ms = w.time.wall_ms};

    group_shard_request(nest.shard, &context, api, request);
}

/* As soon as the first commit is answered its client deletes the group. */
static void nest_answer(void *arg, struct coord_answer *answer)
{
    struct slice name = SLICE("g");
    struct delete_groups_request request = {&name, 1};

    if (answer->api == API_OFFSET_COMMIT && nest.deletes++ == 0)
        nest_request(API_DELETE_GROUPS, &request);
    coord_answer_free(answer);
}

static void nest_commit(int32_t partition)
{
    struct offset_commit_request_partition p = {.partition_index = partition,
                                                .commit_timestamp = -1};
    struct offset_commit_request_topic topic = {
        .name = SLICE("t"), .partitions = &p, .partitions_len = 1};
    struct offset_commit_request request = {
        .group_id = SLICE("g"),
        .generation_id_or_member_epoch = -1,
        .member_id = SLICE(""),
        .retention_time_ms = -1,
        .topics = &topic,
        .topics_len = 1,
    };

    nest_request(API_OFFSET_COMMIT, &request);
}

Test(coord_shard, a_request_that_an_answer_lets_in_sees_all_before_it)
{
    static const struct group_shard_ops ops = {.append = nest_append,
                                               .answer = nest_answer};

    nest.shard = group_shard_create(&w.options, &ops, NULL);
    group_shard_activate(nest.shard, group_loader_create(&w.options, 0), 0, 0,
                         0, w.time);
    nest.hold = true;
    nest_commit(0);
    group_shard_flush(nest.shard, w.time);
    nest.hold = false;
    nest_commit(1);
    /* This append commits both, and the first is answered on the way. */
    group_shard_flush(nest.shard, w.time);
    cr_assert_eq(nest.deletes, 2);
    cr_assert_eq(nest.end, 5, "two commits, three tombstones");
    cr_assert_eq(coord_groups_count(group_shard_coord(nest.shard)), 0);
    group_shard_resign(nest.shard, w.time);
    group_shard_free(nest.shard);
}

/* ---- looking -------------------------------------------------------------*/

static const struct describe_groups_response_described_group *
describe(const char *group, int16_t version)
{
    struct slice name = slice_str(group);
    struct describe_groups_request request = {.groups = &name, .groups_len = 1};
    int token = world_request(&w, API_DESCRIBE_GROUPS, version, &request);

    return &answer_of(&w, token)->response.describe_groups.groups[0];
}

Test(coord_shard, a_stable_group_is_described_with_its_members)
{
    struct pair p = make_stable_pair(&w, "g");
    const struct describe_groups_response_described_group *g = describe("g", 5);

    cr_assert_err(g->error_code, ERR_NONE);
    cr_assert_text(g->group_id, "g");
    cr_assert_text(g->group_state, "Stable");
    cr_assert_text(g->protocol_type, "consumer");
    cr_assert_text(g->protocol_data, "range");
    cr_assert_eq(g->members_len, 2);
    cr_assert_text(g->members[0].member_id, p.first);
    cr_assert_text(g->members[0].client_id, "client");
    cr_assert_text(g->members[0].client_host, "/192.0.2.7");
    cr_assert_text(g->members[0].member_metadata, "m");
    cr_assert_text(g->members[1].member_assignment, "two");
    cr_assert_eq(g->authorized_operations, INT32_MIN);
    LEAVE(&w, .member = p.second);
    g = describe("g", 5);
    cr_assert_text(g->group_state, "PreparingRebalance");
    cr_assert_text(g->protocol_data, "");
    cr_assert_text(g->members[0].member_metadata, "");
}

Test(coord_shard, what_is_not_there_is_dead_or_from_version_6_not_found)
{
    cr_assert_text(describe("none", 5)->group_state, "Dead");
    cr_assert_err(describe("none", 5)->error_code, ERR_NONE);
    cr_assert_text(describe("none", 6)->group_state, "Dead");
    cr_assert_err(describe("none", 6)->error_code, ERR_GROUP_ID_NOT_FOUND);
    cr_assert_text(describe("none", 6)->error_message, "Group none not found.");
}

static void expect_listed(const char *state, const char *type,
                          const char *expected)
{
    struct slice states = slice_str(state), types = slice_str(type);
    struct list_groups_request request = {
        .states_filter = &states,
        .states_filter_len = state != NULL,
        .types_filter = &types,
        .types_filter_len = type != NULL,
    };
    int token = world_request(&w, API_LIST_GROUPS, 5, &request);
    const struct list_groups_response *r =
        &answer_of(&w, token)->response.list_groups;
    struct buf text = BUF_INIT;

    for (int32_t i = 0; i < r->groups_len; i++)
        buf_printf(&text, "%.*s/%.*s/%.*s/%.*s ",
                   SLICE_FMT(r->groups[i].group_id),
                   SLICE_FMT(r->groups[i].protocol_type),
                   SLICE_FMT(r->groups[i].group_state),
                   SLICE_FMT(r->groups[i].group_type));
    buf_put_u8(&text, 0);
    cr_assert_str_eq((char *)text.data, expected);
    buf_free(&text);
}

Test(coord_shard, groups_are_listed_by_state_and_type)
{
    char id[128];
    make_stable(&w, "g", id);
    COMMIT(&w, .group = "simple");

    expect_listed(NULL, NULL,
                  "g/consumer/Stable/classic simple//Empty/classic ");
    expect_listed("stable", NULL, "g/consumer/Stable/classic ");
    expect_listed("Empty", "CLASSIC", "simple//Empty/classic ");
    expect_listed("Dead", NULL, "");
    expect_listed(NULL, "consumer", "");
}
