/* Committed offsets: who may commit, who sees what and when, and what makes
 * them go away. */
#include "tests/unit/broker/coord_fixture.h"

#include "broker/coord/offset_fetch_form.h"

static struct world w;

static const int64_t MINUTE = 60000;
static const int64_t DAY = 24 * 60 * 60000;

static void set_up(void) { world_open(&w); }

static void tear_down(void) { world_close(&w); }

TestSuite(coord_offsets, .init = set_up, .fini = tear_down);

static const struct offset_fetch_response_partitions *one(int token)
{
    const struct offset_fetch_response_group *g = fetch_of(&w, token);

    cr_assert_eq(g->topics_len, 1);
    cr_assert_eq(g->topics[0].partitions_len, 1);
    return &g->topics[0].partitions[0];
}

/* ---- who may commit ------------------------------------------------------*/

Test(coord_offsets, commit_rules)
{
    struct pair p = make_stable_pair(&w, "g");
    const struct {
        const char *what;
        int token;
        enum err err;
    } rows[] = {
        {"member of the generation",
         COMMIT(&w, .member = p.first, .generation = 1), ERR_NONE},
        {"older generation", COMMIT(&w, .member = p.first, .generation = 9),
         ERR_ILLEGAL_GENERATION},
        {"member without generation", COMMIT(&w, .member = p.first),
         ERR_ILLEGAL_GENERATION},
        {"stranger", COMMIT(&w, .member = "x", .generation = 1),
         ERR_UNKNOWN_MEMBER_ID},
        {"nobody, into a group with members", COMMIT(&w),
         ERR_UNKNOWN_MEMBER_ID},
        {"unknown instance",
         COMMIT(&w, .member = p.first, .instance = "i", .generation = 1),
         ERR_UNKNOWN_MEMBER_ID},
        {"nobody, into no group", COMMIT(&w, .group = "new"), ERR_NONE},
        {"nobody again", COMMIT(&w, .group = "new"), ERR_NONE},
        {"a name that is not needed", COMMIT(&w, .group = "new", .member = "x"),
         ERR_NONE},
        {"generation in an empty group",
         COMMIT(&w, .group = "new", .member = "x", .generation = 1),
         ERR_UNKNOWN_MEMBER_ID},
        {"generation in no group, v8",
         COMMIT(&w, .group = "none", .member = "x", .generation = 1),
         ERR_ILLEGAL_GENERATION},
        {"generation 0 in no group",
         COMMIT(&w, .group = "none", .generation = GENERATION_0),
         ERR_ILLEGAL_GENERATION},
        {"generation in no group, v9",
         COMMIT(&w, .group = "none", .member = "x", .generation = 1,
                .version = 9),
         ERR_GROUP_ID_NOT_FOUND},
        {"the empty group id is a name, too", COMMIT(&w, .group = ""),
         ERR_NONE},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(commit_of(&w, rows[i].token), rows[i].err, "%s: %s",
                     rows[i].what, err_name(commit_of(&w, rows[i].token)));
}

Test(coord_offsets, while_a_rebalance_completes_nobody_commits)
{
    int join = JOIN(&w);
    world_pass(&w, 3000);
    char id[128];
    copy_id(join_of(&w, join)->member_id, id);

    cr_assert_err(commit_of(&w, COMMIT(&w, .member = id, .generation = 1)),
                  ERR_REBALANCE_IN_PROGRESS);
}

Test(coord_offsets, while_it_is_prepared_the_old_generation_still_commits)
{
    struct pair p = make_stable_pair(&w, "g");
    JOIN(&w, .member = p.first);

    cr_assert_err(commit_of(&w, COMMIT(&w, .member = p.second, .generation = 1,
                                       .offset = 5)),
                  ERR_NONE);
    cr_assert_eq(fetched(&w, "g", 0), 5);
}

Test(coord_offsets, metadata_has_a_limit_in_characters)
{
    static char text[3 * 4096 + 2];
    memset(text, 'a', 4096);
    cr_assert_err(commit_of(&w, COMMIT(&w, .metadata = text)), ERR_NONE);
    memset(text, 'a', 4097);
    cr_assert_err(commit_of(&w, COMMIT(&w, .metadata = text, .offset = 9)),
                  ERR_OFFSET_METADATA_TOO_LARGE);
    cr_assert_eq(fetched(&w, "g", 0), 0, "the first commit stands");
    for (int i = 0; i < 4096; i++)
        memcpy(text + 3 * i, "\xe2\x82\xac", 3); /* euro signs */
    cr_assert_err(commit_of(&w, COMMIT(&w, .metadata = text)), ERR_NONE);
}

/* ---- what is seen --------------------------------------------------------*/

Test(coord_offsets, what_was_committed_is_fetched)
{
    COMMIT(&w, .offset = 42, .metadata = "note");
    const struct offset_fetch_response_partitions *r = one(FETCH(&w));

    cr_assert_eq(r->committed_offset, 42);
    cr_assert_eq(r->committed_leader_epoch, -1);
    cr_assert_text(r->metadata, "note");
    cr_assert_str_eq(state_of(&w, "g"), "Empty");
}

Test(coord_offsets, without_a_commit_the_offset_is_minus_one_without_error)
{
    COMMIT(&w);
    int tokens[] = {FETCH(&w, .partition = 1), FETCH(&w, .topic = "u"),
                    FETCH(&w, .group = "none")};

    for (int i = 0; i < 3; i++) {
        cr_assert_err(fetch_of(&w, tokens[i])->error_code, ERR_NONE);
        cr_assert_err(one(tokens[i])->error_code, ERR_NONE);
        cr_assert_eq(one(tokens[i])->committed_offset, -1);
        cr_assert_not(slice_is_null(one(tokens[i])->metadata));
    }
}

Test(coord_offsets, null_topics_fetch_all_that_there_is)
{
    COMMIT(&w, .topic = "a", .partition = 7, .offset = 1);
    COMMIT(&w, .topic = "a", .partition = 2, .offset = 2);
    COMMIT(&w, .topic = "b", .offset = 3);
    const struct offset_fetch_response_group *g =
        fetch_of(&w, FETCH(&w, .topic = "*"));

    cr_assert_eq(g->topics_len, 2);
    cr_assert_text(g->topics[0].name, "a");
    cr_assert_eq(g->topics[0].partitions_len, 2);
    cr_assert_eq(g->topics[0].partitions[0].partition_index, 2);
    cr_assert_eq(g->topics[0].partitions[1].committed_offset, 1);
    cr_assert_eq(g->topics[1].partitions[0].committed_offset, 3);
    cr_assert_eq(
        fetch_of(&w, FETCH(&w, .topic = "*", .group = "none"))->topics_len, 0);
}

Test(coord_offsets, nobody_sees_a_commit_that_could_still_be_lost)
{
    COMMIT(&w, .offset = 1);
    w.hold = true;
    int commit = COMMIT(&w, .offset = 2);
    COMMIT(&w, .partition = 1, .offset = 2);

    cr_assert_not(answered(&w, commit));
    cr_assert_eq(fetched(&w, "g", 0), 1);
    cr_assert_eq(fetched(&w, "g", 1), -1);
    cr_assert_eq(
        fetch_of(&w, FETCH(&w, .topic = "*"))->topics[0].partitions_len, 1);
    int third = COMMIT(&w, .offset = 3);
    world_commit_to(&w, 2);
    cr_assert_err(commit_of(&w, commit), ERR_NONE);
    cr_assert_not(answered(&w, third));
    cr_assert_eq(fetched(&w, "g", 0), 2);
    /* The next coordinator does not know the third. */
    world_fail_over_at(&w, 3);
    world_commit(&w);
    cr_assert_eq(fetched(&w, "g", 0), 2);
    cr_assert_eq(fetched(&w, "g", 1), 2);
}

/* The one before may have known it committed, and told so: with the older one a
 * group would step back.  What this one takes itself it knows. */
Test(coord_offsets, a_reloaded_log_does_not_step_back_behind_what_was_told)
{
    COMMIT(&w, .offset = 1);
    COMMIT(&w, .partition = 1, .offset = 1);
    w.hold = true;
    COMMIT(&w, .offset = 2);
    world_fail_over(&w);
    cr_assert_eq(fetched(&w, "g", 0), COME_AGAIN);
    cr_assert_eq(fetched(&w, "g", 1), 1);
    int all = FETCH(&w, .topic = "*");
    cr_assert_eq(fetch_of(&w, all)->error_code,
                 ERR_COORDINATOR_LOAD_IN_PROGRESS);
    int old = FETCH(&w, .version = 1);
    cr_assert_eq(one(old)->error_code, ERR_COORDINATOR_LOAD_IN_PROGRESS);
    world_commit(&w);
    cr_assert_eq(fetched(&w, "g", 0), 2);
    w.hold = true;
    COMMIT(&w, .offset = 3);
    cr_assert_eq(fetched(&w, "g", 0), 2);
}

Test(coord_offsets, require_stable_waits_for_commits_under_way)
{
    COMMIT(&w, .offset = 1);
    w.hold = true;
    COMMIT(&w, .offset = 2);
    int fetch = FETCH(&w, .stable = true);

    cr_assert_not(answered(&w, fetch));
    world_commit(&w);
    cr_assert_eq(one(fetch)->committed_offset, 2);
    int again = FETCH(&w, .stable = true);
    cr_assert_eq(one(again)->committed_offset, 2, "nothing to wait for");
}

Test(coord_offsets, require_stable_fails_so_that_consumers_retry)
{
    w.hold = true;
    COMMIT(&w, .offset = 2);
    int fetch = FETCH(&w, .stable = true);

    world_pass(&w, 5000);
    cr_assert_err(fetch_of(&w, fetch)->error_code, ERR_NOT_COORDINATOR);
    cr_assert_eq(fetch_of(&w, fetch)->topics_len, 0);
}

Test(coord_offsets, commits_of_one_turn_share_a_batch)
{
    struct offset_commit_request_partition partition = {
        .committed_leader_epoch = -1, .commit_timestamp = -1};
    struct offset_commit_request_topic topic = {
        .name = SLICE("t"), .partitions = &partition, .partitions_len = 1};
    struct offset_commit_request request = {
        .group_id = SLICE("g"),
        .generation_id_or_member_epoch = -1,
        .member_id = SLICE(""),
        .retention_time_ms = -1,
        .topics = &topic,
        .topics_len = 1,
    };
    int last = 0;

    for (int i = 0; i < 100; i++) {
        partition.committed_offset = i;
        last = world_request(&w, API_OFFSET_COMMIT, 8, &request);
    }
    cr_assert_eq(w.batches_len, 0);
    cr_assert_eq(group_shard_next_deadline(w.shard), INT64_MIN,
                 "the broker is asked to flush");
    world_flush(&w);
    cr_assert_eq(w.batches_len, 1);
    cr_assert_err(commit_of(&w, last), ERR_NONE);
    cr_assert_eq(fetched(&w, "g", 0), 99);
    /* A request that depends on them appends them first. */
    world_request(&w, API_OFFSET_COMMIT, 8, &request);
    JOIN(&w);
    cr_assert_eq(w.batches_len, 2);
}

Test(coord_offsets, a_failed_append_changes_nothing)
{
    static const struct {
        enum err append, answer;
    } rows[] = {
        {ERR_NOT_ENOUGH_REPLICAS, ERR_COORDINATOR_NOT_AVAILABLE},
        {ERR_NOT_LEADER_OR_FOLLOWER, ERR_NOT_COORDINATOR},
        {ERR_KAFKA_STORAGE_ERROR, ERR_NOT_COORDINATOR},
        {ERR_MESSAGE_TOO_LARGE, ERR_INVALID_COMMIT_OFFSET_SIZE},
    };

    COMMIT(&w, .offset = 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        w.append_err = rows[i].append;
        cr_assert_err(commit_of(&w, COMMIT(&w, .offset = 2)), rows[i].answer);
        cr_assert_err(commit_of(&w, COMMIT(&w, .group = "new")),
                      rows[i].answer);
        w.append_err = ERR_NONE;
        cr_assert_eq(fetched(&w, "g", 0), 1);
    }
    cr_assert_eq(coord_groups_count(world_coord(&w)), 1);
}

Test(coord_offsets, a_commit_that_is_not_replicated_in_time_says_so)
{
    w.hold = true;
    int commit = COMMIT(&w, .offset = 1);

    world_pass(&w, 5000);
    cr_assert_err(commit_of(&w, commit), ERR_COORDINATOR_NOT_AVAILABLE);
}

/* ---- open transactions ---------------------------------------------------*/

Test(coord_offsets, an_open_transaction_is_unstable_until_its_marker)
{
    struct coord_config config;
    struct coord_update update;
    coord_config_init(&config);
    struct coord *coord = coord_create(&config);
    struct buf key = BUF_INIT, value = BUF_INIT;
    static const uint8_t offset_key[] = {0, 1,   0, 1, 'g', 0,
                                         1, 't', 0, 0, 0,   0};
    buf_put(&key, offset_key, sizeof offset_key);
    buf_put_u16(&value, 3);
    buf_put_u64(&value, 77);
    buf_put_u32(&value, UINT32_MAX);
    buf_put_u16(&value, 0);
    buf_put_u64(&value, 1);
    struct offset_fetch_request_topics topic = {.name = SLICE("t"),
                                                .partition_indexes =
                                                    (int32_t[]){0},
                                                .partition_indexes_len = 1};
    struct offset_fetch_request_group group = {
        .group_id = SLICE("g"), .topics = &topic, .topics_len = 1};
    struct offset_fetch_request request = {.groups = &group, .groups_len = 1};
    struct coord_context context = {.version = 9};
    enum err expected[] = {ERR_NONE, ERR_UNSTABLE_OFFSET_COMMIT, ERR_NONE,
                           ERR_NONE};
    int64_t offsets[] = {-1, -1, 77, 77};

    coord_committed(coord, 100);
    cr_assert_eq(coord_replay(coord, (struct coord_origin){1, 5000},
                              buf_slice(&key), buf_slice(&value)),
                 ERR_NONE);
    coord_activate(coord, w.time, &update);
    for (int i = 0; i < 4; i++) {
        coord_update_init(&update);
        request.require_stable = i % 2 == 1;
        if (i == 2)
            coord_replay_marker(coord, (struct coord_origin){2, 5000}, true);
        coord_request(coord, &context, API_OFFSET_FETCH, &request, &update);
        struct coord_answer *answer = NULL;
        if (!request.require_stable) {
            answer = LIST_ENTRY(list_pop_front(&update.answers),
                                struct coord_answer, link);
        } else {
            struct coord_write *write =
                LIST_ENTRY(list_pop_front(&update.writes), struct coord_write,
                           pending.link);
            coord_done(coord, write, ERR_NONE, w.time, &update);
            answer = LIST_ENTRY(list_pop_front(&update.answers),
                                struct coord_answer, link);
        }
        const struct offset_fetch_response_partitions *r =
            &answer->response.offset_fetch.groups[0].topics[0].partitions[0];
        cr_assert_eq(r->error_code, expected[i], "%d", i);
        cr_assert_eq(r->committed_offset, offsets[i], "%d", i);
        coord_answer_free(answer);
    }
    /* An aborted one leaves nothing. */
    coord_replay(coord, (struct coord_origin){3, 5001}, buf_slice(&key),
                 buf_slice(&value));
    coord_replay_marker(coord, (struct coord_origin){4, 5001}, false);
    coord_check(coord);
    coord_free(coord);
    buf_free(&key);
    buf_free(&value);
}

/* Lines of the coordinator's state that begin so. */
static int lines_of(const char *what)
{
    struct buf text = BUF_INIT;
    int lines = 0;

    coord_dump(world_coord(&w), &text);
    buf_put_u8(&text, 0);
    for (char *at = (char *)text.data; *at != 0; at = strchr(at, '\n') + 1)
        lines += strncmp(at, what, strlen(what)) == 0;
    buf_free(&text);
    return lines;
}

/* Live and reloaded: what is pending, and then the offset that counts. */
static void expect_pending(int lines)
{
    for (int i = 0; i < 2; i++) {
        coord_check(world_coord(&w));
        cr_assert_eq(lines_of("pending "), lines, "%d, not %d",
                     lines_of("pending "), lines);
        world_fail_over(&w);
    }
}

static void expect_offset(int32_t partition, int64_t offset)
{
    for (int i = 0; i < 2; i++) {
        coord_check(world_coord(&w));
        cr_assert_eq(fetched(&w, "g", partition), offset, "%lld",
                     (long long)fetched(&w, "g", partition));
        world_fail_over(&w);
    }
}

static enum err stable_err(int32_t partition)
{
    return (enum err)one(FETCH(&w, .partition = partition, .stable = true))
        ->error_code;
}

Test(coord_offsets, of_a_transactions_commits_the_last_one_stays)
{
    for (int64_t offset = 1; offset <= 100; offset++) {
        COMMIT(&w, .producer = 5, .offset = offset);
        COMMIT(&w, .producer = 5, .offset = offset + 1000, .partition = 1);
    }
    COMMIT(&w, .producer = 6, .offset = 7, .partition = 1);
    expect_pending(3);
    cr_assert_err(stable_err(0), ERR_UNSTABLE_OFFSET_COMMIT);
    cr_assert_err(stable_err(2), ERR_NONE);
    world_end_txn(&w, 5, true);
    expect_pending(1);
    expect_offset(0, 100);
    expect_offset(1, 1100);
    cr_assert_err(stable_err(0), ERR_NONE);
    cr_assert_err(stable_err(1), ERR_UNSTABLE_OFFSET_COMMIT);
    world_end_txn(&w, 6, false);
    expect_pending(0);
    expect_offset(1, 1100);
    cr_assert_err(stable_err(1), ERR_NONE);
}

Test(coord_offsets, between_a_transaction_and_others_the_last_record_wins)
{
    COMMIT(&w, .producer = 5, .offset = 1);
    COMMIT(&w, .offset = 2);
    world_end_txn(&w, 5, true);
    expect_offset(0, 2);
    COMMIT(&w, .producer = 5, .offset = 3);
    COMMIT(&w, .offset = 4);
    COMMIT(&w, .producer = 5, .offset = 5);
    world_end_txn(&w, 5, true);
    expect_offset(0, 5);
    /* Of two transactions, too, whichever ends first. */
    COMMIT(&w, .producer = 5, .offset = 6);
    COMMIT(&w, .producer = 6, .offset = 7);
    COMMIT(&w, .producer = 5, .offset = 8);
    world_end_txn(&w, 5, true);
    world_end_txn(&w, 6, true);
    expect_offset(0, 8);
}

Test(coord_offsets, a_commit_that_is_not_in_the_log_replaces_none)
{
    COMMIT(&w, .producer = 5, .offset = 1);
    w.append_err = ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_err(commit_of(&w, COMMIT(&w, .producer = 5, .offset = 2)),
                  ERR_COORDINATOR_NOT_AVAILABLE);
    w.append_err = ERR_NONE;
    expect_pending(1);
    /* Nor one that the log loses again with its leader. */
    w.hold = true;
    int64_t end_offset = w.end_offset;
    COMMIT(&w, .producer = 5, .offset = 3);
    world_fail_over_at(&w, end_offset);
    w.hold = false;
    expect_pending(1);
    world_end_txn(&w, 5, true);
    expect_offset(0, 1);
}

/* ---- deleting ------------------------------------------------------------*/

static int delete_offset(const char *group, const char *topic)
{
    struct offset_delete_request_partition partition = {0};
    struct offset_delete_request_topic t = {.name = slice_str(topic),
                                            .partitions = &partition,
                                            .partitions_len = 1};
    struct offset_delete_request request = {
        .group_id = slice_str(group), .topics = &t, .topics_len = 1};

    return world_request(&w, API_OFFSET_DELETE, 0, &request);
}

static const struct offset_delete_response *delete_of(int token)
{
    return &answer_of(&w, token)->response.offset_delete;
}

Test(coord_offsets, an_offset_is_deleted_once_that_is_committed)
{
    COMMIT(&w, .offset = 1);
    COMMIT(&w, .partition = 1, .offset = 2);
    w.hold = true;
    int token = delete_offset("g", "t");

    cr_assert_not(answered(&w, token));
    cr_assert_eq(fetched(&w, "g", 0), 1);
    world_commit(&w);
    cr_assert_err(delete_of(token)->error_code, ERR_NONE);
    cr_assert_err(delete_of(token)->topics[0].partitions[0].error_code,
                  ERR_NONE);
    cr_assert_eq(fetched(&w, "g", 0), -1);
    cr_assert_eq(fetched(&w, "g", 1), 2);
    w.hold = false;
    world_fail_over(&w);
    cr_assert_eq(fetched(&w, "g", 0), -1);
}

/* Or whoever asks again would take for gone what can still come back. */
Test(coord_offsets, that_there_is_nothing_to_delete_waits_for_what_deleted_it)
{
    struct slice name = SLICE("g");
    struct delete_groups_request request = {&name, 1};

    COMMIT(&w, .offset = 1);
    COMMIT(&w, .partition = 1, .offset = 2);
    w.hold = true;
    delete_offset("g", "t");
    int again = delete_offset("g", "t");
    cr_assert_not(answered(&w, again));
    world_commit(&w);
    cr_assert_err(delete_of(again)->error_code, ERR_NONE);
    cr_assert_err(delete_of(again)->topics[0].partitions[0].error_code,
                  ERR_NONE);
    world_request(&w, API_DELETE_GROUPS, 2, &request);
    again = world_request(&w, API_DELETE_GROUPS, 2, &request);
    cr_assert_not(answered(&w, again));
    world_commit(&w);
    cr_assert_err(
        answer_of(&w, again)->response.delete_groups.results[0].error_code,
        ERR_GROUP_ID_NOT_FOUND);
}

/* The high watermark may pass a commit and its deletion in one step. */
Test(coord_offsets, an_offset_may_be_deleted_before_it_is_committed)
{
    w.hold = true;
    COMMIT(&w, .offset = 1);
    int token = delete_offset("g", "t");

    cr_assert_not(answered(&w, token));
    world_commit(&w);
    cr_assert_err(delete_of(token)->error_code, ERR_NONE);
    cr_assert_eq(fetched(&w, "g", 0), -1);
    coord_check(world_coord(&w));
}

Test(coord_offsets, a_deletion_takes_what_transactions_have_pending)
{
    COMMIT(&w, .producer = 5, .offset = 1);
    COMMIT(&w, .producer = 6, .offset = 2);
    COMMIT(&w, .producer = 6, .offset = 3, .partition = 1);
    cr_assert_err(delete_of(delete_offset("g", "t"))->error_code, ERR_NONE);
    expect_pending(1);
    COMMIT(&w, .producer = 6, .offset = 4);
    world_end_txn(&w, 5, true);
    expect_offset(0, -1);
    world_end_txn(&w, 6, true);
    expect_offset(0, 4);
    expect_offset(1, 3);
}

Test(coord_offsets, what_is_subscribed_is_not_deleted)
{
    uint8_t bytes[128];
    int join = JOIN(&w, .subscription = subscription_to("t", bytes));
    world_pass(&w, 3000);
    char id[128];
    copy_id(join_of(&w, join)->member_id, id);
    SYNC(&w, .member = id, .assign = {id, "x"});
    COMMIT(&w, .member = id, .generation = 1, .offset = 1);
    COMMIT(&w, .member = id, .generation = 1, .offset = 1, .topic = "u");

    int token = delete_offset("g", "t");
    cr_assert_err(delete_of(token)->error_code, ERR_NONE);
    cr_assert_err(delete_of(token)->topics[0].partitions[0].error_code,
                  ERR_GROUP_SUBSCRIBED_TO_TOPIC);
    token = delete_offset("g", "u");
    cr_assert_err(delete_of(token)->topics[0].partitions[0].error_code,
                  ERR_NONE);
    world_fail_over(&w);
    token = delete_offset("g", "t");
    cr_assert_err(delete_of(token)->topics[0].partitions[0].error_code,
                  ERR_GROUP_SUBSCRIBED_TO_TOPIC);
}

Test(coord_offsets, offset_delete_refusals)
{
    int join = JOIN(&w, .group = "connect", .type = "connect");
    world_pass(&w, 3000);
    (void)join;

    cr_assert_err(delete_of(delete_offset("", "t"))->error_code,
                  ERR_INVALID_GROUP_ID);
    cr_assert_err(delete_of(delete_offset("none", "t"))->error_code,
                  ERR_GROUP_ID_NOT_FOUND);
    cr_assert_err(delete_of(delete_offset("connect", "t"))->error_code,
                  ERR_NON_EMPTY_GROUP);
    COMMIT(&w);
    cr_assert_err(delete_of(delete_offset("g", "never"))
                      ->topics[0]
                      .partitions[0]
                      .error_code,
                  ERR_NONE);
}

static enum err delete_group(const char *group)
{
    struct slice name = slice_str(group);
    struct delete_groups_request request = {&name, 1};
    int token = world_request(&w, API_DELETE_GROUPS, 2, &request);
    const struct delete_groups_response *r =
        &answer_of(&w, token)->response.delete_groups;

    cr_assert_eq(r->results_len, 1);
    cr_assert_text(r->results[0].group_id, group);
    return (enum err)r->results[0].error_code;
}

Test(coord_offsets, deleted_groups_are_gone_for_good)
{
    char id[128];
    make_stable(&w, "g", id);
    COMMIT(&w, .member = id, .generation = 1, .offset = 1);

    cr_assert_err(delete_group("none"), ERR_GROUP_ID_NOT_FOUND);
    cr_assert_err(delete_group("g"), ERR_NON_EMPTY_GROUP);
    LEAVE(&w, .member = id);
    cr_assert_err(delete_group("g"), ERR_NONE);
    cr_assert_err(delete_group("g"), ERR_GROUP_ID_NOT_FOUND);
    cr_assert_eq(fetched(&w, "g", 0), -1);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 0);
    world_fail_over(&w);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 0);
}

Test(coord_offsets, a_group_may_come_back_before_its_deletion_is_committed)
{
    COMMIT(&w, .offset = 1);
    COMMIT(&w, .partition = 1, .offset = 1);
    w.hold = true;
    struct slice name = SLICE("g");
    struct delete_groups_request request = {&name, 1};
    int token = world_request(&w, API_DELETE_GROUPS, 2, &request);
    COMMIT(&w, .offset = 5);

    cr_assert_not(answered(&w, token));
    cr_assert_eq(fetched(&w, "g", 0), 1);
    world_commit(&w);
    cr_assert_eq(fetched(&w, "g", 0), 5);
    cr_assert_eq(fetched(&w, "g", 1), -1);
    cr_assert_str_eq(state_of(&w, "g"), "Empty");
}

Test(coord_offsets, offsets_of_a_deleted_topic_go)
{
    COMMIT(&w, .group = "a", .topic = "gone", .offset = 1);
    COMMIT(&w, .group = "b", .topic = "gone", .offset = 1);
    COMMIT(&w, .group = "b", .topic = "kept", .offset = 2);

    group_shard_topic_deleted(w.shard, SLICE("gone"), w.time);
    cr_assert_eq(
        one(FETCH(&w, .group = "a", .topic = "gone"))->committed_offset, -1);
    cr_assert_eq(
        one(FETCH(&w, .group = "b", .topic = "kept"))->committed_offset, 2);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 1);
}

/* Or the next topic of that name would be read from there. */
Test(coord_offsets, offsets_of_a_topic_go_that_is_deleted_while_they_are_loaded)
{
    COMMIT(&w, .topic = "gone", .offset = 1);
    COMMIT(&w, .topic = "gone", .offset = 2, .producer = 5);
    COMMIT(&w, .topic = "kept", .offset = 3);
    w.deleted = "gone";
    world_fail_over(&w);
    world_end_txn(&w, 5, true);
    cr_assert_eq(one(FETCH(&w, .topic = "gone"))->committed_offset, -1);
    cr_assert_eq(one(FETCH(&w, .topic = "kept"))->committed_offset, 3);
    w.deleted = NULL;
    COMMIT(&w, .topic = "gone", .offset = 4);
    world_fail_over(&w);
    cr_assert_eq(one(FETCH(&w, .topic = "gone"))->committed_offset, 4);
}

/* ---- expiry --------------------------------------------------------------*/

Test(coord_offsets, a_simple_groups_offsets_expire_after_their_commit)
{
    COMMIT(&w, .offset = 1);
    world_pass(&w, 6 * DAY);
    COMMIT(&w, .partition = 1, .offset = 2);
    world_pass(&w, DAY - 1);
    cr_assert_eq(fetched(&w, "g", 0), 1);
    world_pass(&w, 10 * MINUTE + 1);
    cr_assert_eq(fetched(&w, "g", 0), -1);
    cr_assert_eq(fetched(&w, "g", 1), 2);
    world_pass(&w, 6 * DAY);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 0);
    world_fail_over(&w);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 0);
}

Test(coord_offsets, an_empty_groups_offsets_expire_after_it_became_empty)
{
    char id[128];
    make_stable(&w, "g", id);
    COMMIT(&w, .member = id, .generation = 1, .offset = 1);
    for (int i = 0; i < 1000; i++) {
        world_pass(&w, 9000);
        HEARTBEAT(&w, .member = id);
    }
    LEAVE(&w, .member = id);
    world_pass(&w, 7 * DAY - MINUTE);
    cr_assert_eq(fetched(&w, "g", 0), 1);
    world_fail_over(&w);
    world_pass(&w, MINUTE - 1);
    cr_assert_eq(fetched(&w, "g", 0), 1);
    world_pass(&w, 11 * MINUTE);
    cr_assert_eq(fetched(&w, "g", 0), -1);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 0);
}

Test(coord_offsets, an_empty_group_without_offsets_goes_at_the_next_check)
{
    char id[128];
    make_stable(&w, "g", id);
    LEAVE(&w, .member = id);

    world_pass(&w, 10 * MINUTE - 1);
    cr_assert_str_eq(state_of(&w, "g"), "Empty");
    world_pass(&w, 1);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 0);
    world_fail_over(&w);
    cr_assert_eq(coord_groups_count(world_coord(&w)), 0);
}

Test(coord_offsets, what_a_stable_group_reads_does_not_expire)
{
    uint8_t bytes[128];
    world_close(&w);
    world_init(&w);
    w.options.coord.offsets_retention_ms = 20 * MINUTE;
    world_start(&w);
    int join = JOIN(&w, .subscription = subscription_to("t", bytes),
                    .session_ms = 1800000);
    world_pass(&w, 3000);
    char id[128];
    copy_id(join_of(&w, join)->member_id, id);
    SYNC(&w, .member = id, .assign = {id, "x"});
    COMMIT(&w, .member = id, .generation = 1, .offset = 1);
    COMMIT(&w, .member = id, .generation = 1, .offset = 2, .topic = "once");

    world_pass(&w, 25 * MINUTE);
    HEARTBEAT(&w, .member = id);
    world_pass(&w, 25 * MINUTE);
    cr_assert_eq(fetched(&w, "g", 0), 1);
    cr_assert_eq(one(FETCH(&w, .topic = "once"))->committed_offset, -1);
    cr_assert_str_eq(state_of(&w, "g"), "Stable");
}

Test(coord_offsets, versions_2_to_4_say_themselves_how_long)
{
    COMMIT(&w, .offset = 1, .retention_ms = MINUTE, .version = 2);
    world_pass(&w, MINUTE - 1);
    cr_assert_eq(fetched(&w, "g", 0), 1);
    world_fail_over(&w);
    cr_assert_eq(fetched(&w, "g", 0), 1);
    world_pass(&w, 10 * MINUTE);
    cr_assert_eq(fetched(&w, "g", 0), -1);
}

Test(coord_offsets, a_tombstone_that_is_refused_is_tried_again)
{
    COMMIT(&w, .offset = 1);
    w.append_err = ERR_NOT_ENOUGH_REPLICAS;
    world_pass(&w, 7 * DAY + MINUTE);
    cr_assert_eq(fetched(&w, "g", 0), 1);
    w.append_err = ERR_NONE;
    world_pass(&w, 10 * MINUTE);
    cr_assert_eq(fetched(&w, "g", 0), -1);
}

/* ---- the two forms of OffsetFetch ----------------------------------------*/

Test(coord_offsets, old_versions_are_translated_both_ways)
{
    struct offset_fetch_request_topic topic = {
        .name = SLICE("t"),
        .partition_indexes = (int32_t[]){0, 1},
        .partition_indexes_len = 2,
    };
    struct offset_fetch_request request = {
        .group_id = SLICE("g"), .topics = &topic, .topics_len = 1};
    struct offset_fetch_request groups;
    struct arena arena;

    COMMIT(&w, .offset = 7, .metadata = "note");
    arena_init(&arena, 0);
    cr_assert(offset_fetch_to_groups(&request, 1, &arena, &groups));
    int token = world_request(&w, API_OFFSET_FETCH, 1, &groups);
    struct coord_answer *answer = w.answers[token];
    struct offset_fetch_response *r = &answer->response.offset_fetch;
    cr_assert(offset_fetch_from_groups(r, 1, &answer->arena));
    cr_assert_eq(r->groups_len, 0);
    cr_assert_eq(r->topics_len, 1);
    cr_assert_eq(r->topics[0].partitions_len, 2);
    cr_assert_eq(r->topics[0].partitions[0].committed_offset, 7);
    cr_assert_text(r->topics[0].partitions[0].metadata, "note");
    cr_assert_eq(r->topics[0].partitions[1].committed_offset, -1);
    struct buf bytes = BUF_INIT;
    cr_assert_eq(kafka_encode(&offset_fetch_response_desc, 1, r, &bytes, NULL),
                 ERR_NONE);
    buf_free(&bytes);

    /* Versions 0 and 1 find the group's error in each partition. */
    struct coord_context context = {.version = 1};
    answer =
        coord_refuse(&context, API_OFFSET_FETCH, &groups, ERR_NOT_COORDINATOR);
    r = &answer->response.offset_fetch;
    cr_assert(offset_fetch_from_groups(r, 1, &answer->arena));
    cr_assert_err(r->topics[0].partitions[1].error_code, ERR_NOT_COORDINATOR);
    cr_assert_eq(r->error_code, 0);
    coord_answer_free(answer);
    context.version = 5;
    answer =
        coord_refuse(&context, API_OFFSET_FETCH, &groups, ERR_NOT_COORDINATOR);
    r = &answer->response.offset_fetch;
    cr_assert(offset_fetch_from_groups(r, 5, &answer->arena));
    cr_assert_err(r->error_code, ERR_NOT_COORDINATOR);
    cr_assert_eq(r->topics_len, 0);
    coord_answer_free(answer);

    /* All topics stay all topics. */
    request.topics_len = -1;
    cr_assert(offset_fetch_to_groups(&request, 2, &arena, &groups));
    cr_assert_eq(groups.groups[0].topics_len, -1);
    arena_free(&arena);
}
