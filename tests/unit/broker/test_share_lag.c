/* How far share groups are behind: leaders are asked where partitions end.
 * Brokers 2 and 3 are played by the test; partition i of "orders" is led by
 * node i % 3 + 1. */
#include "broker/share_lag.h"
#include "tests/unit/broker/meta_kit.h"

enum { TOPIC = 5, LEADERLESS = 6, ENDS_AT = 1000 };

/* A leader as others see it. */
struct fake {
    struct env_listener *listener;
    int seen;
    bool silent;
    bool drops;     /* closes the connection */
    bool answers_x; /* of another partition than was asked */
    int16_t error;  /* of partition 1 or 2 */
    struct list_offsets_request last;
    struct arena arena; /* of last */
};

static struct fake fakes[4]; /* by node id */
static struct kit kit;

static struct describe_share_group_offsets_response_topic topics[2];
static struct describe_share_group_offsets_response_partition partitions[2][32];
static struct describe_share_group_offsets_response_group group;
static struct describe_share_group_offsets_response response;
static struct share_lag_call call;
static struct arena scratch;
static int calls_done;

/* ---- the leaders -------------------------------------------------------- */

/* Partition i ends at 1000 + i. */
static void fake_answer(const struct fake *f, struct env_conn *conn,
                        int32_t correlation_id)
{
    struct list_offsets_response a;
    struct env_out *out = env_out_new();
    struct buf b = BUF_INIT;
    struct arena arena;

    arena_init(&arena, 0);
    list_offsets_response_init(&a);
    a.topics_len = f->last.topics_len;
    a.topics = arena_array(&arena, (size_t)a.topics_len, sizeof *a.topics);
    for (int32_t t = 0; t < a.topics_len; t++) {
        const struct list_offsets_request_topic *q = &f->last.topics[t];

        a.topics[t].name = q->name;
        a.topics[t].partitions_len = q->partitions_len;
        a.topics[t].partitions = arena_array(&arena, (size_t)q->partitions_len,
                                             sizeof *a.topics[t].partitions);
        for (int32_t i = 0; i < q->partitions_len; i++) {
            int32_t index = q->partitions[i].partition_index;

            list_offsets_response_partition_response_init(
                &a.topics[t].partitions[i]);
            a.topics[t].partitions[i].partition_index =
                index + (f->answers_x ? 100 : 0);
            a.topics[t].partitions[i].offset = ENDS_AT + index;
            if (index <= 2 && f->error != 0) {
                a.topics[t].partitions[i].error_code = f->error;
                a.topics[t].partitions[i].offset = -1;
            }
        }
    }
    cr_assert_eq(
        kafka_frame_response(&b, API_LIST_OFFSETS, 7, correlation_id, &a, NULL),
        ERR_NONE);
    env_out_add_buf(out, &b);
    env_conn_send(conn, out);
    arena_free(&arena);
}

static void fake_frame(struct env_conn *conn, void *arg,
                       struct env_frame *frame)
{
    struct fake *f = arg;
    struct request_header h;
    struct slice body;

    cr_assert_eq(
        kafka_parse_request(slice_of(frame->data, frame->len), &h, &body),
        ERR_NONE);
    cr_assert_eq(h.request_api_key, API_LIST_OFFSETS);
    cr_assert_eq(h.request_api_version, 7);
    arena_free(&f->arena);
    cr_assert_eq(kafka_decode(&list_offsets_request_desc, 7,
                              arena_copy(&f->arena, body), &f->arena, &f->last),
                 ERR_NONE);
    env_frame_unref(frame);
    cr_assert_eq(f->last.replica_id, -1);
    cr_assert_eq(f->last.isolation_level, 0);
    cr_assert_eq(f->last.topics[0].partitions[0].timestamp, -1);
    f->seen++;
    if (f->drops)
        env_conn_close(conn);
    else if (!f->silent)
        fake_answer(f, conn, h.correlation_id);
}

static void fake_closed(struct env_conn *conn, void *arg, int error) {}

static const struct env_conn_ops *fake_accept(struct env_conn *conn,
                                              void *owner, void **arg)
{
    static const struct env_conn_ops conn_ops = {.frame = fake_frame,
                                                 .closed = fake_closed};

    *arg = owner;
    return &conn_ops;
}

static void fake_listen(int32_t id)
{
    struct fake *f = &fakes[id];
    char *why = NULL;
    struct env_listen_options options = {.host = "127.0.0.1",
                                         .frame_max_bytes = 1 << 24,
                                         .accept = fake_accept,
                                         .owner = f};

    *f = (struct fake){0};
    cr_assert_eq(env_listen(kit.env, &options, &f->listener, &why), 0, "%s",
                 why);
}

static void fake_register(int32_t id)
{
    Leat__BrokerRecord b = LEAT__BROKER_RECORD__INIT;
    Leat__Endpoint e = LEAT__ENDPOINT__INIT;
    Leat__Endpoint *list[] = {&e};
    struct uuid incarnation = kit_uuid((uint8_t)(10 + id));

    e.listener = "PLAINTEXT";
    e.host = "127.0.0.1";
    e.port = env_listener_port(fakes[id].listener);
    b.broker_id = id;
    b.incarnation = (ProtobufCBinaryData){16, incarnation.bytes};
    b.broker_epoch = 10 + id;
    b.endpoints = list;
    b.n_endpoints = 1;
    kit_append(&kit, (Leat__MetadataRecord[]){KIT_RECORD(broker, BROKER, &b)},
               1);
}

/* ---- the question ------------------------------------------------------- */

static void done(struct share_lag_call *c)
{
    calls_done++;
    kit_check(&kit);
}

static bool is_done(struct kit *k) { return calls_done > 0; }

static bool is_ready_and_applied(struct kit *k)
{
    return k->ready && kit_is_applied(k);
}

static void begin(void)
{
    kit_init(&kit, "");
    for (int32_t id = 2; id <= 3; id++) {
        fake_listen(id);
        fake_register(id);
    }
    kit_topic(&kit, TOPIC, "orders", 30, true);
    kit_topic(&kit, LEADERLESS, "nobody", 3, false);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    arena_init(&scratch, 0);
    calls_done = 0;
    topics[0] = (struct describe_share_group_offsets_response_topic){
        .topic_name = SLICE("orders"),
        .topic_id = kit_uuid(TOPIC),
        .partitions = partitions[0]};
    topics[1] = topics[0];
    topics[1].topic_name = SLICE("nobody");
    topics[1].topic_id = kit_uuid(LEADERLESS);
    topics[1].partitions = partitions[1];
    group = (struct describe_share_group_offsets_response_group){
        .topics = topics, .topics_len = 2};
    response = (struct describe_share_group_offsets_response){.groups = &group,
                                                              .groups_len = 1};
}

static void end(void)
{
    kit_free(&kit);
    arena_free(&scratch);
    for (int id = 2; id <= 3; id++)
        arena_free(&fakes[id].arena);
}

/* As the coordinator left it. */
static void partition(int topic, int32_t index, int64_t start, int32_t complete)
{
    partitions[topic][topics[topic].partitions_len++] =
        (struct describe_share_group_offsets_response_partition){
            .partition_index = index, .start_offset = start, .lag = complete};
}

static void ask(void)
{
    call = (struct share_lag_call){
        .shard = &kit.shards[0], .response = &response, .done = done};
    share_lag_start(&call, &scratch);
}

static void assert_lag(int topic, int i, int64_t want)
{
    cr_assert_eq(partitions[topic][i].lag, want, "partition %d of %d: %ld",
                 partitions[topic][i].partition_index, topic,
                 (long)partitions[topic][i].lag);
}

/* ---- lags --------------------------------------------------------------- */

Test(share_lag, is_what_is_neither_before_the_start_nor_complete)
{
    begin();
    partition(0, 1, 900, 0);
    partition(0, 2, 900, 30);
    partition(0, 4, 1004, 0);
    partition(0, 5, 1000, 5);
    ask();
    cr_assert_eq(calls_done, 0);
    kit_run(&kit, is_done);
    assert_lag(0, 0, 101);
    assert_lag(0, 1, 72);
    assert_lag(0, 2, 0);
    assert_lag(0, 3, 0);
    end();
}

Test(share_lag, is_not_known_without_a_start_a_count_or_a_topic)
{
    begin();
    partition(0, 1, -1, 0);
    partition(0, 2, 900, -1);
    partition(0, 4, 900, 7);
    partitions[0][2].error_code = ERR_COORDINATOR_NOT_AVAILABLE;
    ask();
    cr_assert_eq(calls_done, 1, "nothing is asked");
    for (int i = 0; i < 3; i++)
        assert_lag(0, i, -1);

    calls_done = 0;
    topics[0].partitions_len = 0;
    partition(0, 30, 900, 0);
    partition(0, -1, 900, 0);
    partition(0, 4, 900, 0);
    partition(1, 0, 900, 0);
    ask();
    kit_run(&kit, is_done);
    assert_lag(0, 0, -1);
    assert_lag(0, 1, -1);
    assert_lag(0, 2, 104);
    assert_lag(1, 0, -1);

    calls_done = 0;
    topics[0].topic_id = kit_uuid(99); /* was deleted and made again */
    partitions[0][2].lag = 0;
    ask();
    kit_run(&kit, is_done);
    assert_lag(0, 2, -1);
    end();
}

Test(share_lag, never_is_below_nothing)
{
    begin();
    partition(0, 1, INT64_MAX, INT32_MAX);
    partition(0, 2, 1005, 0);
    partition(0, 4, 0, INT32_MAX);
    ask();
    kit_run(&kit, is_done);
    for (int i = 0; i < 3; i++)
        assert_lag(0, i, 0);
    end();
}

Test(share_lag, partitions_of_one_leader_are_asked_together)
{
    begin();
    for (int32_t i = 0; i < 30; i++)
        if (i % 3 != 0)
            partition(0, i, 0, 0);
    ask();
    kit_run(&kit, is_done);
    for (int id = 2; id <= 3; id++) {
        cr_assert_eq(fakes[id].seen, 1);
        cr_assert_eq(fakes[id].last.topics_len, 1);
        cr_assert_eq(fakes[id].last.topics[0].partitions_len, 10);
    }
    for (int i = 0; i < 20; i++)
        assert_lag(0, i, ENDS_AT + partitions[0][i].partition_index);
    end();
}

/* Two groups have the topic, and one of them is asked for a partition twice. */
Test(share_lag, a_partition_is_asked_for_once)
{
    static const int32_t indexes[] = {2, 1, 2, 4};

    begin();
    for (size_t i = 0; i < 4; i++)
        partition(0, indexes[i], 100 * (int64_t)i, 0);
    topics[1].topic_name = topics[0].topic_name;
    topics[1].topic_id = topics[0].topic_id;
    for (size_t i = 0; i < 4; i++)
        partition(1, indexes[i], 0, (int32_t)i);
    ask();
    kit_run(&kit, is_done);
    int asked = 0;
    for (int id = 2; id <= 3; id++) {
        cr_assert_leq(fakes[id].last.topics_len, 1);
        if (fakes[id].last.topics_len != 0)
            asked += fakes[id].last.topics[0].partitions_len;
    }
    cr_assert_eq(asked, 3);
    for (int i = 0; i < 4; i++) {
        assert_lag(0, i, ENDS_AT + indexes[i] - 100 * i);
        assert_lag(1, i, ENDS_AT + indexes[i] - i);
    }
    end();
}

/* ---- leaders that fail -------------------------------------------------- */

Test(share_lag, a_leader_that_refuses_or_goes_away_leaves_the_others)
{
    begin();
    fakes[2].error = ERR_NOT_LEADER_OR_FOLLOWER;
    fakes[3].drops = true;
    partition(0, 1, 900, 0);
    partition(0, 2, 900, 0);
    partition(0, 4, 900, 0);
    ask();
    kit_run(&kit, is_done);
    assert_lag(0, 0, -1);
    assert_lag(0, 1, -1);
    assert_lag(0, 2, 104);
    end();
}

Test(share_lag, a_leader_that_answers_something_else_is_not_believed)
{
    begin();
    fakes[2].answers_x = true;
    partition(0, 1, 900, 0);
    partition(0, 2, 900, 0);
    ask();
    kit_run(&kit, is_done);
    assert_lag(0, 0, -1);
    assert_lag(0, 1, 102);
    end();
}

Test(share_lag, a_silent_leader_is_not_waited_for_long)
{
    begin();
    fakes[2].silent = true;
    partition(0, 1, 900, 0);
    partition(0, 2, 900, 0);
    int64_t start_ms = env_now_ms(kit.env);
    ask();
    kit_run(&kit, is_done);
    cr_assert_geq(env_now_ms(kit.env) - start_ms, 4900);
    assert_lag(0, 0, -1);
    assert_lag(0, 1, 102);
    end();
}
