/* Requests about offsets in version 0, on a broker that may not coordinate the
 * group.  Brokers 2 and 3 are played by the test. */
#include "broker/coord/placement.h"
#include "broker/relay.h"
#include "tests/unit/broker/meta_kit.h"

enum { GROUPS = 3, SEEN_MAX = 16 };

/* A coordinator as others see it. */
struct fake {
    struct env_listener *listener;
    struct env_conn *conn; /* the newest */
    int conns;             /* accepted so far */
    bool silent;           /* answers nothing */
    bool endless;          /* the next answer is 2 GiB */
    int16_t error;         /* of the next answer, then 0 again */
    int drop;              /* close the connection instead, so many times */
    int seen;
    struct {
        int16_t key;
        int16_t version;
        char group[16];
        int64_t offset; /* of a commit */
        int32_t correlation_id;
    } last[SEEN_MAX];
};

static struct fake fakes[4]; /* by node id */
static char groups[4][16];   /* by coordinating node id */
static int calls_here;
static int16_t error_here; /* of the next answer, then 0 again */
static bool error_stays;

/* ---- the other brokers -------------------------------------------------- */

static void fake_begin_endless(struct fake *f)
{
    struct buf b = BUF_INIT;
    struct env_out *out = env_out_new();

    f->endless = false;
    buf_put_u32(&b, INT32_MAX);
    env_out_add_buf(out, &b);
    env_conn_send(f->conn, out);
}

static void fake_answer(struct fake *f, int i)
{
    struct buf b = BUF_INIT;
    struct env_out *out = env_out_new();
    struct offset_commit_response_partition p = {.error_code = f->error};
    struct offset_commit_response_topic t = {
        .name = SLICE("orders"), .partitions = &p, .partitions_len = 1};
    struct offset_commit_response commit;
    struct offset_fetch_response_partition fp = {
        .committed_offset = 77, .metadata = SLICE("m"), .error_code = f->error};
    struct offset_fetch_response_topic ft = {
        .name = SLICE("orders"), .partitions = &fp, .partitions_len = 1};
    struct offset_fetch_response fetch;
    bool is_commit = f->last[i].key == API_OFFSET_COMMIT;

    offset_commit_response_init(&commit);
    commit.topics = &t;
    commit.topics_len = 1;
    offset_fetch_response_init(&fetch);
    fetch.topics = &ft;
    fetch.topics_len = 1;
    f->error = 0;
    cr_assert_eq(kafka_frame_response(
                     &b, f->last[i].key, f->last[i].version,
                     f->last[i].correlation_id,
                     is_commit ? (void *)&commit : (void *)&fetch, NULL),
                 ERR_NONE);
    env_out_add_buf(out, &b);
    env_conn_send(f->conn, out);
}

static void fake_note(struct fake *f, const struct request_header *h,
                      struct slice body)
{
    int i = f->seen++ % SEEN_MAX;
    struct offset_commit_request commit;
    struct offset_fetch_request fetch;
    struct slice group;
    struct arena arena;

    arena_init(&arena, 0);
    f->last[i].key = h->request_api_key;
    f->last[i].version = h->request_api_version;
    f->last[i].correlation_id = h->correlation_id;
    if (h->request_api_key == API_OFFSET_COMMIT) {
        cr_assert_eq(kafka_decode(&offset_commit_request_desc,
                                  h->request_api_version, body, &arena,
                                  &commit),
                     ERR_NONE);
        group = commit.group_id;
        f->last[i].offset = commit.topics[0].partitions[0].committed_offset;
    } else {
        cr_assert_eq(kafka_decode(&offset_fetch_request_desc,
                                  h->request_api_version, body, &arena, &fetch),
                     ERR_NONE);
        group = fetch.group_id;
    }
    snprintf(f->last[i].group, sizeof f->last[i].group, "%.*s",
             SLICE_FMT(group));
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
    fake_note(f, &h, body);
    env_frame_unref(frame);
    if (f->drop > 0) {
        f->drop--;
        env_conn_close(conn);
        f->conn = NULL;
    } else if (f->endless) {
        fake_begin_endless(f);
    } else if (!f->silent) {
        fake_answer(f, (f->seen - 1) % SEEN_MAX);
    }
    kit_check(kit_now);
}

static void fake_closed(struct env_conn *conn, void *arg, int error)
{
    struct fake *f = arg;

    if (f->conn == conn)
        f->conn = NULL;
    kit_check(kit_now);
}

static const struct env_conn_ops *fake_accept(struct env_conn *conn,
                                              void *owner, void **arg)
{
    static const struct env_conn_ops conn_ops = {.frame = fake_frame,
                                                 .closed = fake_closed};
    struct fake *f = owner;

    f->conn = conn;
    f->conns++;
    *arg = f;
    return &conn_ops;
}

static void fake_listen(struct kit *kit, int32_t id)
{
    struct fake *f = &fakes[id];
    char *why = NULL;
    struct env_listen_options options = {.host = "127.0.0.1",
                                         .frame_max_bytes = 1 << 24,
                                         .accept = fake_accept,
                                         .owner = f};

    *f = (struct fake){0};
    cr_assert_eq(env_listen(kit->env, &options, &f->listener, &why), 0, "%s",
                 why);
}

/* A process of node `id` that listens where its fake does. */
static void fake_register(struct kit *kit, int32_t id, int64_t epoch)
{
    Leat__BrokerRecord b = LEAT__BROKER_RECORD__INIT;
    Leat__Endpoint e = LEAT__ENDPOINT__INIT;
    Leat__Endpoint *list[] = {&e};
    struct uuid incarnation = kit_uuid((uint8_t)epoch);

    e.listener = "PLAINTEXT";
    e.host = "127.0.0.1";
    e.port = env_listener_port(fakes[id].listener);
    b.broker_id = id;
    b.incarnation = (ProtobufCBinaryData){16, incarnation.bytes};
    b.broker_epoch = epoch;
    b.endpoints = list;
    b.n_endpoints = 1;
    kit_append(kit, (Leat__MetadataRecord[]){KIT_RECORD(broker, BROKER, &b)},
               1);
}

/* ---- requests ----------------------------------------------------------- */

static void here(struct request *r)
{
    struct offset_commit_response_partition p = {.error_code = error_here};
    struct offset_commit_response_topic t = {
        .name = SLICE("here"), .partitions = &p, .partitions_len = 1};
    struct offset_commit_response a;

    calls_here++;
    if (!error_stays)
        error_here = 0;
    offset_commit_response_init(&a);
    a.topics = &t;
    a.topics_len = 1;
    relay_answer(r, &a);
}

static void handler(struct request *r) { relay_request(r, here); }

static void commit(struct kit *kit, const char *group, int64_t offset)
{
    struct offset_commit_request_partition p = {.committed_offset = offset,
                                                .committed_leader_epoch = -1,
                                                .commit_timestamp = -1,
                                                .committed_metadata =
                                                    SLICE("m")};
    struct offset_commit_request_topic t = {
        .name = SLICE("orders"), .partitions = &p, .partitions_len = 1};
    struct offset_commit_request q;

    offset_commit_request_init(&q);
    q.group_id = slice_str(group);
    q.topics = &t;
    q.topics_len = 1;
    kit_request(kit, API_OFFSET_COMMIT, 0, handler, &q);
}

static void fetch(struct kit *kit, const char *group)
{
    int32_t index = 0;
    struct offset_fetch_request_topic t = {.name = SLICE("orders"),
                                           .partition_indexes = &index,
                                           .partition_indexes_len = 1};
    struct offset_fetch_request q;

    offset_fetch_request_init(&q);
    q.group_id = slice_str(group);
    q.topics = &t;
    q.topics_len = 1;
    kit_request(kit, API_OFFSET_FETCH, 0, handler, &q);
}

static bool is_ready_and_applied(struct kit *kit)
{
    return kit->ready && kit_is_applied(kit);
}

static int answers_wanted, seen_wanted;
static int32_t seen_by;

static bool has_answers(struct kit *kit)
{
    return kit->answers >= answers_wanted;
}

static void await_answers(struct kit *kit, int count)
{
    answers_wanted = count;
    kit_run(kit, has_answers);
}

static bool has_seen(struct kit *kit)
{
    return fakes[seen_by].seen >= seen_wanted;
}

static void await_seen(struct kit *kit, int32_t id, int count)
{
    seen_by = id;
    seen_wanted = count;
    kit_run(kit, has_seen);
}

static void assert_answer(struct kit *kit, int16_t key, const char *want)
{
    cr_assert_str_eq(kit_answer(kit, key, 0), want);
}

static const char *commit_answer(int error)
{
    static char text[128];

    snprintf(text, sizeof text,
             "{\"topics\":[{\"name\":\"orders\",\"partitions\":["
             "{\"partitionIndex\":0,\"errorCode\":%d}]}]}",
             error);
    return text;
}

/* Partition i of __consumer_offsets is led by node i + 1; group[i] is one of
 * its groups. */
static void begin(struct kit *kit, const char *config, bool with_topic)
{
    kit_init(kit, config);
    calls_here = 0;
    error_here = 0;
    error_stays = false;
    for (int32_t id = 2; id <= 3; id++) {
        fake_listen(kit, id);
        fake_register(kit, id, 10 + id);
    }
    for (int32_t id = 1; id <= GROUPS; id++)
        for (int i = 0;; i++) {
            snprintf(groups[id], sizeof groups[id], "g%d", i);
            if (coord_partition_of(slice_str(groups[id]), GROUPS) == id - 1)
                break;
        }
    if (with_topic)
        kit_topic(kit, 5, "__consumer_offsets", GROUPS, true);
    kit_start(kit);
    kit_run(kit, is_ready_and_applied);
}

/* ---- what is asked, and what is answered -------------------------------- */

Test(relay, the_coordinator_answers_in_a_version_that_is_not_relayed)
{
    struct kit kit;

    begin(&kit, "", true);
    commit(&kit, groups[2], 5);
    await_answers(&kit, 1);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(0));
    cr_assert_eq(fakes[2].last[0].version, 2);
    cr_assert_eq(fakes[2].last[0].offset, 5);
    cr_assert_str_eq(fakes[2].last[0].group, groups[2]);

    fetch(&kit, groups[2]);
    await_answers(&kit, 2);
    assert_answer(&kit, API_OFFSET_FETCH,
                  "{\"topics\":[{\"name\":\"orders\",\"partitions\":["
                  "{\"partitionIndex\":0,\"committedOffset\":77,"
                  "\"metadata\":\"m\",\"errorCode\":0}]}]}");
    cr_assert_eq(fakes[2].last[1].version, 1);
    cr_assert_eq(fakes[2].conns, 1);
    cr_assert_eq(fakes[3].seen + calls_here, 0);
    kit_free(&kit);
}

Test(relay, other_errors_are_the_clients)
{
    struct kit kit;

    begin(&kit, "", true);
    fakes[2].error = ERR_OFFSET_METADATA_TOO_LARGE;
    commit(&kit, groups[2], 5);
    await_answers(&kit, 1);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(12));
    cr_assert_eq(fakes[2].seen, 1);
    kit_free(&kit);
}

Test(relay, a_coordinator_here_that_loads_is_asked_again)
{
    struct kit kit;

    begin(&kit, "", true);
    error_here = ERR_COORDINATOR_LOAD_IN_PROGRESS;
    commit(&kit, groups[1], 5);
    cr_assert_eq(kit.answers, 0);
    await_answers(&kit, 1);
    cr_assert_eq(calls_here, 2);
    cr_assert_eq(fakes[2].seen + fakes[3].seen, 0);
    kit_free(&kit);
}

/* ---- order -------------------------------------------------------------- */

Test(relay, a_commit_that_is_repeated_is_not_overtaken)
{
    struct kit kit;

    begin(&kit, "", true);
    fakes[2].silent = true;
    commit(&kit, groups[2], 1);
    commit(&kit, groups[2], 2);
    commit(&kit, groups[3], 3);
    await_answers(&kit, 1); /* of the other group */
    await_seen(&kit, 2, 1);
    fakes[2].silent = false;
    fakes[2].error = ERR_NOT_COORDINATOR;
    fake_answer(&fakes[2], 0);
    await_answers(&kit, 3);
    cr_assert_eq(fakes[2].seen, 3);
    cr_assert_eq(fakes[2].last[0].offset, 1);
    cr_assert_eq(fakes[2].last[1].offset, 1);
    cr_assert_eq(fakes[2].last[2].offset, 2);
    kit_free(&kit);
}

/* ---- coordinators that are lost ----------------------------------------- */

Test(relay, a_request_is_repeated_when_the_connection_breaks)
{
    struct kit kit;

    begin(&kit, "", true);
    fakes[2].drop = 2;
    commit(&kit, groups[2], 9);
    await_answers(&kit, 1);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(0));
    cr_assert_eq(fakes[2].seen, 3);
    cr_assert_eq(fakes[2].conns, 3);
    kit_free(&kit);
}

Test(relay, a_silent_coordinator_is_left_for_the_next_one)
{
    struct kit kit;
    Leat__MetadataRecord record;
    Leat__PartitionRecord p = LEAT__PARTITION_RECORD__INIT;
    int32_t replicas[] = {2, 3, 1};
    struct uuid id = kit_uuid(5);

    begin(&kit, "", true);
    fakes[2].silent = true;
    commit(&kit, groups[2], 9);
    await_seen(&kit, 2, 1);
    p.topic_id = (ProtobufCBinaryData){16, id.bytes};
    p.partition = 1;
    p.replicas = p.isr = replicas;
    p.n_replicas = p.n_isr = 3;
    p.leader = 3;
    p.leader_epoch = 5;
    p.partition_epoch = 8;
    record = (Leat__MetadataRecord)KIT_RECORD(partition, PARTITION, &p);
    kit_append(&kit, &record, 1);
    await_answers(&kit, 1);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(0));
    cr_assert_eq(fakes[3].seen, 1);

    /* The one that was left answers after all. */
    fake_answer(&fakes[2], 0);
    commit(&kit, groups[2], 10);
    await_answers(&kit, 2);
    cr_assert_eq(fakes[3].last[1].offset, 10);
    kit_free(&kit);
}

Test(relay, another_process_of_the_broker_is_connected_to)
{
    struct kit kit;

    begin(&kit, "", true);
    commit(&kit, groups[2], 1);
    await_answers(&kit, 1);
    fake_register(&kit, 2, 20);
    kit_run(&kit, kit_is_applied);
    commit(&kit, groups[2], 2);
    await_answers(&kit, 2);
    cr_assert_eq(fakes[2].conns, 2);
    kit_free(&kit);
}

static bool is_left(struct kit *kit) { return fakes[2].conn == NULL; }

/* A client hears after request.timeout.ms, and the connection is given up. */
Test(relay, a_request_ends_in_time)
{
    struct kit kit;

    begin(&kit, "request.timeout.ms=300\n", true);
    fakes[2].silent = true;
    commit(&kit, groups[2], 1);
    fetch(&kit, groups[2]); /* waits behind it, and no longer */
    await_answers(&kit, 1);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(15));
    await_answers(&kit, 2);
    assert_answer(&kit, API_OFFSET_FETCH,
                  "{\"topics\":[{\"name\":\"orders\",\"partitions\":["
                  "{\"partitionIndex\":0,\"committedOffset\":-1,"
                  "\"metadata\":\"\",\"errorCode\":15}]}]}");
    cr_assert_eq(fakes[2].seen, 1);
    kit_run(&kit, is_left);

    env_listener_close(fakes[3].listener); /* nobody is there at all */
    commit(&kit, groups[3], 1);
    await_answers(&kit, 3);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(15));

    error_here = ERR_COORDINATOR_LOAD_IN_PROGRESS;
    error_stays = true;
    commit(&kit, groups[1], 1); /* it says so to the end */
    await_answers(&kit, 4);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(14));
    cr_assert_gt(calls_here, 1);
    kit_free(&kit);
}

/* ---- bounds ------------------------------------------------------------- */

Test(relay, what_waits_is_bounded)
{
    struct kit kit;
    enum { CALLS_MAX = 4096 };

    begin(&kit, "request.timeout.ms=2000\n", true);
    fakes[2].silent = true;
    for (int i = 0; i < CALLS_MAX; i++)
        commit(&kit, groups[2], i);
    cr_assert_eq(kit.answers, 0);
    commit(&kit, groups[2], 1);
    cr_assert_eq(kit.answers, 1);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(15));
    commit(&kit, groups[3], 1);
    cr_assert_eq(kit.answers, 2);
    await_answers(&kit, CALLS_MAX + 2);
    commit(&kit, groups[3], 1); /* there is room again */
    await_answers(&kit, CALLS_MAX + 3);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(0));
    kit_free(&kit);
}

/* Nobody else suffers from it. */
Test(relay, an_answer_that_is_too_long_ends_its_request)
{
    struct kit kit;

    begin(&kit, "", true);
    fakes[2].endless = true;
    commit(&kit, groups[2], 1);
    commit(&kit, groups[2], 2);
    await_answers(&kit, 1);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(42));
    await_answers(&kit, 2);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(0));
    cr_assert_eq(fakes[2].seen, 2);
    kit_free(&kit);
}

Test(relay, a_request_that_is_too_long_is_refused)
{
    enum { PARTITIONS = 40, BYTES = 30000 };
    struct kit kit;
    struct offset_commit_request q;
    struct offset_commit_request_partition p[PARTITIONS];
    struct offset_commit_request_topic t = {.name = SLICE("orders"),
                                            .partitions = p};
    static uint8_t metadata[BYTES];

    begin(&kit, "", true);
    memset(metadata, 'm', sizeof metadata);
    for (int i = 0; i < PARTITIONS; i++)
        p[i] = (struct offset_commit_request_partition){
            .partition_index = i,
            .committed_leader_epoch = -1,
            .commit_timestamp = -1,
            .committed_metadata = slice_of(metadata, BYTES)};
    offset_commit_request_init(&q);
    q.group_id = slice_str(groups[2]);
    q.topics = &t;
    q.topics_len = 1;
    t.partitions_len = PARTITIONS;
    kit_request(&kit, API_OFFSET_COMMIT, 0, handler, &q);
    cr_assert_eq(kit.answers, 1);
    cr_assert_not_null(strstr(kit_answer(&kit, API_OFFSET_COMMIT, 0),
                              "\"partitionIndex\":39,\"errorCode\":42"));
    t.partitions_len = 30;
    kit_request(&kit, API_OFFSET_COMMIT, 0, handler, &q);
    await_answers(&kit, 2);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(0));
    kit_free(&kit);
}

/* ---- __consumer_offsets -------------------------------------------------- */

Test(relay, the_first_request_brings_the_topic_about)
{
    struct kit kit;

    begin(&kit, "", false);
    kit.create_forwarded = true;
    commit(&kit, "g", 1);
    await_answers(&kit, 1);
    cr_assert_not_null(
        image_topic(&kit.meta->image, SLICE("__consumer_offsets")));
    kit_free(&kit);
}

Test(relay, a_topic_that_cannot_be_created_is_an_error_at_once)
{
    struct kit kit;

    begin(&kit, "", false);
    commit(&kit, groups[2], 1);
    await_answers(&kit, 1);
    assert_answer(&kit, API_OFFSET_COMMIT, commit_answer(15));
    cr_assert_eq(fakes[2].seen, 0);
    kit_free(&kit);
}
