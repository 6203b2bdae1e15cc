/* Several kinds of groups on one partition: whose a name is, and the offsets
 * that all of them share. */
#include "tests/unit/broker/coord_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static struct world w;

static void open_world(void) { world_open(&w); }

static void close_world(void) { world_close(&w); }

TestSuite(coord_kinds, .init = open_world, .fini = close_world);

/* A consumer group with one member, "m"; returns its epoch. */
static int32_t make_consumer(const char *group)
{
    const struct consumer_group_heartbeat_response *r =
        beat_of(&w, BEAT(&w, .group = group));

    cr_assert_err(r->error_code, ERR_NONE);
    return r->member_epoch;
}

/* Its member "m" comes or, with epoch -1, goes. */
static enum err beat_share(const char *group, int32_t epoch)
{
    struct slice t = SLICE("t");
    struct share_group_heartbeat_request q = {
        .group_id = slice_str(group),
        .member_id = SLICE("m"),
        .member_epoch = epoch,
        .subscribed_topic_names = &t,
        .subscribed_topic_names_len = 1,
    };
    int token = world_request(&w, API_SHARE_GROUP_HEARTBEAT, 1, &q);

    while (w.asks_len > 0)
        world_share_answers(&w, ERR_NONE);
    return (enum err)answer_of(&w, token)
        ->response.share_group_heartbeat.error_code;
}

static void make_share(const char *group)
{
    cr_assert_err(beat_share(group, 0), ERR_NONE);
}

static enum err start_share(const char *group)
{
    struct alter_share_group_offsets_request q = {.group_id = slice_str(group)};
    int token = world_request(&w, API_ALTER_SHARE_GROUP_OFFSETS, 0, &q);

    return (enum err)answer_of(&w, token)
        ->response.alter_share_group_offsets.error_code;
}

static enum err beat_streams(const char *group, int32_t epoch)
{
    struct slice t = SLICE("t");
    struct streams_group_heartbeat_request_subtopology sub;
    struct streams_group_heartbeat_request_topology topology = {
        .epoch = 1, .subtopologies = &sub, .subtopologies_len = 1};
    struct streams_group_heartbeat_request q;

    streams_group_heartbeat_request_subtopology_init(&sub);
    sub.subtopology_id = SLICE("0");
    sub.source_topics = &t;
    sub.source_topics_len = 1;
    streams_group_heartbeat_request_init(&q);
    q.group_id = slice_str(group);
    q.member_id = SLICE("m");
    q.member_epoch = epoch;
    if (epoch == STREAMS_JOINS) {
        q.rebalance_timeout_ms = 60000;
        q.topology = &topology;
        q.process_id = SLICE("p");
        q.active_tasks_len = q.standby_tasks_len = q.warmup_tasks_len = 0;
    }
    int token = world_request(&w, API_STREAMS_GROUP_HEARTBEAT, 0, &q);
    return (enum err)answer_of(&w, token)
        ->response.streams_group_heartbeat.error_code;
}

static void leave_consumer(const char *group)
{
    int token = BEAT(&w, .group = group, .epoch = CONSUMER_LEAVES);

    cr_assert_err(beat_of(&w, token)->error_code, ERR_NONE);
}

static void make_empty_classic(const char *group)
{
    char id[128];

    make_stable(&w, group, id);
    LEAVE(&w, .group = group, .member = id);
    cr_assert_str_eq(state_of(&w, group), "Empty");
}

static enum err delete_group(const char *group)
{
    struct slice id = slice_str(group);
    struct delete_groups_request request = {.groups_names = &id,
                                            .groups_names_len = 1};
    int token = world_request(&w, API_DELETE_GROUPS, 2, &request);

    return (enum err)answer_of(&w, token)
        ->response.delete_groups.results[0]
        .error_code;
}

/* "g/consumer/Stable h/classic/Empty", in any order of kinds. */
static char *listed(const char *type)
{
    struct slice types = slice_str(type);
    struct list_groups_request request = {.types_filter = &types,
                                          .types_filter_len = type != NULL};
    int token = world_request(&w, API_LIST_GROUPS, 5, &request);
    const struct list_groups_response *r =
        &answer_of(&w, token)->response.list_groups;
    struct buf text = BUF_INIT;

    for (int32_t i = 0; i < r->groups_len; i++)
        buf_printf(&text, "%s%.*s/%.*s/%.*s", i > 0 ? " " : "",
                   SLICE_FMT(r->groups[i].group_id),
                   SLICE_FMT(r->groups[i].group_type),
                   SLICE_FMT(r->groups[i].group_state));
    char *copy = slice_dup(buf_slice(&text));
    buf_free(&text);
    return copy;
}

#define cr_assert_listed(type, want)                                           \
    do {                                                                       \
        char *got = listed(type);                                              \
        cr_assert_str_eq(got, want);                                           \
        free(got);                                                             \
    } while (0)

/* ---- names ---------------------------------------------------------------*/

Test(coord_kinds, a_group_without_a_name)
{
    struct slice none = SLICE("");
    struct sync_group_request sync = {.group_id = none};
    struct offset_commit_request commit = {.group_id = none};
    struct coord_txn_commit txn = {.commit = commit};
    struct consumer_group_heartbeat_request beat = {.group_id = none};
    struct streams_group_heartbeat_request streams = {.group_id = none};
    struct share_group_describe_request describe = {&none, 1, false};
    struct alter_share_group_offsets_request alter = {.group_id = none};
    struct describe_groups_request old = {&none, 1, false};

    cr_assert_err(group_check_name(API_SYNC_GROUP, &sync),
                  ERR_INVALID_GROUP_ID);
    cr_assert_err(group_check_name(API_TXN_OFFSET_COMMIT, &txn),
                  ERR_INVALID_GROUP_ID);
    cr_assert_err(group_check_name(API_SHARE_GROUP_DESCRIBE, &describe),
                  ERR_INVALID_GROUP_ID);
    cr_assert_err(group_check_name(API_ALTER_SHARE_GROUP_OFFSETS, &alter),
                  ERR_INVALID_GROUP_ID);
    cr_assert_err(group_check_name(API_CONSUMER_GROUP_HEARTBEAT, &beat),
                  ERR_INVALID_REQUEST);
    cr_assert_err(group_check_name(API_STREAMS_GROUP_HEARTBEAT, &streams),
                  ERR_INVALID_REQUEST);
    cr_assert_err(group_check_name(API_OFFSET_COMMIT, &commit), ERR_NONE);
    cr_assert_err(group_check_name(API_DESCRIBE_GROUPS, &old), ERR_NONE);
    sync.group_id = SLICE("g");
    cr_assert_err(group_check_name(API_SYNC_GROUP, &sync), ERR_NONE);
}

Test(coord_kinds, a_group_with_members_keeps_its_name)
{
    char id[128];

    make_consumer("new");
    make_stable(&w, "old", id);
    cr_assert_err(join_of(&w, JOIN(&w, .group = "new"))->error_code,
                  ERR_INCONSISTENT_GROUP_PROTOCOL);
    cr_assert_err(beat_of(&w, BEAT(&w, .group = "old"))->error_code,
                  ERR_GROUP_ID_NOT_FOUND);
    cr_assert_listed(NULL, "old/classic/Stable new/consumer/Stable");
    world_fail_over(&w);
    cr_assert_listed(NULL, "old/classic/Stable new/consumer/Stable");
}

Test(coord_kinds, an_empty_classic_group_gives_way_and_leaves_its_offsets)
{
    make_empty_classic("g");
    cr_assert_err(commit_of(&w, COMMIT(&w, .offset = 7)), ERR_NONE);
    make_consumer("g");
    cr_assert_listed(NULL, "g/consumer/Stable");
    cr_assert_eq(fetched(&w, "g", 0), 7);
    world_fail_over(&w);
    cr_assert_listed(NULL, "g/consumer/Stable");
    cr_assert_eq(fetched(&w, "g", 0), 7);
}

Test(coord_kinds, an_empty_consumer_group_gives_way_and_leaves_its_offsets)
{
    int32_t epoch = make_consumer("g");

    cr_assert_err(commit_of(&w, COMMIT(&w, .member = "m", .generation = epoch,
                                       .offset = 7, .version = 9)),
                  ERR_NONE);
    leave_consumer("g");
    cr_assert_listed(NULL, "g/consumer/Empty");
    char id[128];
    make_stable(&w, "g", id);
    cr_assert_listed(NULL, "g/classic/Stable");
    cr_assert_eq(fetched(&w, "g", 0), 7);
    world_fail_over(&w);
    cr_assert_listed(NULL, "g/classic/Stable");
    cr_assert_eq(fetched(&w, "g", 0), 7);
}

/* ---- an empty group of each kind, and who wants its name -----------------*/

static const char *const kind_names[GROUP_KINDS] = {
    [GROUP_CLASSIC] = "classic",
    [GROUP_CONSUMER] = "consumer",
    [GROUP_SHARE] = "share",
    [GROUP_STREAMS] = "streams",
};

static void make_empty(enum group_kind_id kind, const char *group)
{
    switch (kind) {
    case GROUP_CLASSIC:
        make_empty_classic(group);
        break;
    case GROUP_CONSUMER:
        make_consumer(group);
        leave_consumer(group);
        break;
    case GROUP_SHARE:
        make_share(group);
        cr_assert_err(beat_share(group, -1), ERR_NONE);
        break;
    default:
        cr_assert_err(beat_streams(group, STREAMS_JOINS), ERR_NONE);
        cr_assert_err(beat_streams(group, STREAMS_LEAVES), ERR_NONE);
    }
}

/* JoinGroup is held until its rebalance is over. */
static enum err join_as(enum group_kind_id kind, const char *group)
{
    int token;

    switch (kind) {
    case GROUP_CLASSIC:
        token = JOIN(&w, .group = group);
        world_pass(&w, w.options.coord.group_initial_rebalance_delay_ms);
        return (enum err)join_of(&w, token)->error_code;
    case GROUP_CONSUMER:
        return (enum err)beat_of(&w, BEAT(&w, .group = group))->error_code;
    case GROUP_SHARE:
        return beat_share(group, 0);
    default:
        return beat_streams(group, STREAMS_JOINS);
    }
}

/* As the table in group_kind.h. */
static const enum err wanted[GROUP_KINDS][GROUP_KINDS] = {
    [GROUP_CLASSIC] = {[GROUP_CONSUMER] = ERR_NONE,
                       [GROUP_SHARE] = ERR_INCONSISTENT_GROUP_PROTOCOL,
                       [GROUP_STREAMS] = ERR_INCONSISTENT_GROUP_PROTOCOL},
    [GROUP_CONSUMER] = {[GROUP_CLASSIC] = ERR_NONE,
                        [GROUP_SHARE] = ERR_GROUP_ID_NOT_FOUND,
                        [GROUP_STREAMS] = ERR_GROUP_ID_NOT_FOUND},
    [GROUP_SHARE] = {[GROUP_CLASSIC] = ERR_GROUP_ID_NOT_FOUND,
                     [GROUP_CONSUMER] = ERR_GROUP_ID_NOT_FOUND,
                     [GROUP_STREAMS] = ERR_GROUP_ID_NOT_FOUND},
    [GROUP_STREAMS] = {[GROUP_CLASSIC] = ERR_NONE,
                       [GROUP_CONSUMER] = ERR_GROUP_ID_NOT_FOUND,
                       [GROUP_SHARE] = ERR_GROUP_ID_NOT_FOUND},
};

static void cr_expect_kind(const char *group, enum group_kind_id kind)
{
    char *all = listed(kind_names[kind]);

    cr_expect(strstr(all, group) != NULL, "%s is no %s group", group,
              kind_names[kind]);
    free(all);
}

Test(coord_kinds, empty_groups_give_way_or_not)
{
    for (enum group_kind_id joins = 0; joins < GROUP_KINDS; joins++)
        for (enum group_kind_id has = 0; has < GROUP_KINDS; has++) {
            char group[64];

            snprintf(group, sizeof group, "%s-%s", kind_names[joins],
                     kind_names[has]);
            make_empty(has, group);
            if (joins == GROUP_SHARE && has != joins)
                cr_expect_eq(start_share(group), wanted[joins][has]);
            enum err got = join_as(joins, group);
            cr_expect_eq(got, wanted[joins][has], "%s: %s, not %s", group,
                         err_name((int)got), err_name((int)wanted[joins][has]));
            cr_expect_kind(group, got == ERR_NONE ? joins : has);
        }
}

/* Kafka's "simple" group is a classic one, and empty. */
Test(coord_kinds, offsets_alone_give_way_to_all_but_share_groups)
{
    COMMIT(&w, .group = "a", .offset = 7);
    COMMIT(&w, .group = "b", .offset = 7);
    COMMIT(&w, .group = "c", .offset = 7);
    cr_assert_err(beat_share("a", 0), ERR_GROUP_ID_NOT_FOUND);
    cr_assert_err(start_share("a"), ERR_GROUP_ID_NOT_FOUND);
    cr_assert_err(join_as(GROUP_CLASSIC, "a"), ERR_NONE);
    cr_assert_err(join_as(GROUP_CONSUMER, "b"), ERR_NONE);
    cr_assert_err(join_as(GROUP_STREAMS, "c"), ERR_NONE);
    cr_assert_eq(fetched(&w, "c", 0), 7);
}

Test(coord_kinds, a_group_stays_where_room_cannot_be_made)
{
    make_empty_classic("g");
    w.append_err = ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_err(beat_of(&w, BEAT(&w, .group = "g"))->error_code,
                  ERR_COORDINATOR_NOT_AVAILABLE);
    w.append_err = ERR_NONE;
    cr_assert_listed(NULL, "g/classic/Empty");
}

Test(coord_kinds, a_bad_request_takes_no_name)
{
    make_empty_classic("g");
    cr_assert_err(beat_of(&w, BEAT(&w, .group = "g", .member = ""))->error_code,
                  ERR_INVALID_REQUEST);
    cr_assert_listed(NULL, "g/classic/Empty");
    make_consumer("h");
    leave_consumer("h");
    cr_assert_err(
        join_of(&w, JOIN(&w, .group = "h", .session_ms = 1))->error_code,
        ERR_INVALID_SESSION_TIMEOUT);
    cr_assert_listed("consumer", "h/consumer/Empty");
}

Test(coord_kinds, offsets_alone_do_not_take_a_name)
{
    COMMIT(&w, .offset = 7);
    cr_assert_listed(NULL, "g/classic/Empty");
    int64_t end = w.end_offset;
    make_consumer("g");
    cr_assert_listed(NULL, "g/consumer/Stable");
    cr_assert_eq(w.batches_len, 2, "nothing to be deleted before");
    cr_assert_gt(w.end_offset, end);
}

Test(coord_kinds, an_answer_waits_for_the_commit_whichever_kind_it_is_of)
{
    w.hold = true;
    int join = BEAT(&w, .group = "g");
    int commit = COMMIT(&w, .group = "other", .offset = 1);
    cr_assert(!answered(&w, join) && !answered(&w, commit));
    world_commit(&w);
    cr_assert_err(beat_of(&w, join)->error_code, ERR_NONE);
    cr_assert_err(commit_of(&w, commit), ERR_NONE);
}

Test(coord_kinds, members_of_both_kinds_are_given_up_when_they_are_silent)
{
    make_consumer("new");
    JOIN(&w, .group = "old", .session_ms = 10000, .rebalance_ms = 10000);
    world_pass(&w, 600000);
    cr_assert_listed("consumer", "new/consumer/Empty");
    cr_assert_listed("classic", "old/classic/Empty");
}

Test(coord_kinds, described_as_a_classic_group_it_is_none)
{
    struct slice id = SLICE("g");
    struct describe_groups_request request = {.groups = &id, .groups_len = 1};

    make_consumer("g");
    COMMIT(&w, .member = "m", .generation = 1, .version = 9, .offset = 1);
    cr_assert_str_eq(state_of(&w, "g"), "Dead");
    int token = world_request(&w, API_DESCRIBE_GROUPS, 6, &request);
    const struct describe_groups_response *r =
        &answer_of(&w, token)->response.describe_groups;
    cr_assert_err(r->groups[0].error_code, ERR_GROUP_ID_NOT_FOUND);
    cr_assert_text(r->groups[0].error_message,
                   "Group g is not a classic group.");
}

/* ---- offsets -------------------------------------------------------------*/

Test(coord_kinds, offsets_of_a_consumer_group_are_committed_by_its_members)
{
    int32_t epoch = make_consumer("g");

    cr_assert_err(commit_of(&w, COMMIT(&w, .member = "m", .generation = epoch,
                                       .version = 9)),
                  ERR_NONE);
    cr_assert_err(commit_of(&w, COMMIT(&w, .member = "m", .generation = epoch)),
                  ERR_UNSUPPORTED_VERSION);
    cr_assert_err(commit_of(&w, COMMIT(&w, .member = "m", .version = 9,
                                       .generation = epoch + 1)),
                  ERR_STALE_MEMBER_EPOCH);
    cr_assert_err(commit_of(&w, COMMIT(&w, .member = "x", .version = 9,
                                       .generation = epoch)),
                  ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(commit_of(&w, COMMIT(&w, .version = 9)),
                  ERR_UNKNOWN_MEMBER_ID);
    leave_consumer("g");
    cr_assert_err(commit_of(&w, COMMIT(&w, .version = 9)), ERR_NONE);
}

static enum err txn_commit(const char *group, int32_t epoch, int16_t version)
{
    struct offset_commit_request_partition p;
    struct offset_commit_request_topic t;
    struct coord_txn_commit q = {.producer_id = 5};

    offset_commit_request_partition_init(&p);
    offset_commit_request_topic_init(&t);
    offset_commit_request_init(&q.commit);
    t.name = SLICE("t");
    t.partitions = &p;
    t.partitions_len = 1;
    q.commit.group_id = slice_str(group);
    q.commit.member_id = SLICE("m");
    q.commit.generation_id_or_member_epoch = epoch;
    q.commit.topics = &t;
    q.commit.topics_len = 1;
    int token = world_request(&w, API_TXN_OFFSET_COMMIT, version, &q);
    return (enum err)answer_of(&w, token)
        ->response.offset_commit.topics[0]
        .partitions[0]
        .error_code;
}

Test(coord_kinds, offsets_of_a_transaction_are_committed_in_nobodys_name)
{
    make_consumer("g");
    for (int version = 2; version <= 5; version++) {
        cr_assert_err(commit_of(&w, COMMIT(&w, .producer = 5, .offset = version,
                                           .version = version)),
                      ERR_NONE);
        cr_assert_err(commit_of(&w, COMMIT(&w, .producer = 5, .instance = "i",
                                           .version = version)),
                      ERR_UNKNOWN_MEMBER_ID);
    }
    world_end_txn(&w, 5, true);
    cr_assert_eq(fetched(&w, "g", 0), 5);
}

/* What producers do not know they take for the end. */
Test(coord_kinds, old_producers_are_told_of_a_generation)
{
    int32_t epoch = make_consumer("g");

    make_share("shared");
    cr_assert_err(txn_commit("g", epoch, 5), ERR_NONE);
    for (int16_t version = 3; version < 6; version++) {
        cr_assert_err(txn_commit("g", epoch + 1, version),
                      ERR_ILLEGAL_GENERATION);
        cr_assert_err(txn_commit("shared", 1, version), ERR_ILLEGAL_GENERATION);
    }
    cr_assert_err(txn_commit("g", epoch + 1, 6), ERR_STALE_MEMBER_EPOCH);
    cr_assert_err(txn_commit("shared", 1, 6), ERR_GROUP_ID_NOT_FOUND);
}

static enum err fetch_as(const char *member, int32_t epoch)
{
    struct offset_fetch_request_group group = {.group_id = SLICE("g"),
                                               .member_id = slice_str(member),
                                               .member_epoch = epoch,
                                               .topics_len = -1};
    struct offset_fetch_request request = {
        .groups = &group, .groups_len = 1, .require_stable = true};
    int token = world_request(&w, API_OFFSET_FETCH, 9, &request);

    return (enum err)fetch_of(&w, token)->error_code;
}

Test(coord_kinds, offsets_of_a_consumer_group_are_fetched_with_its_epoch)
{
    int32_t epoch = make_consumer("g");

    cr_assert_err(fetch_as("m", epoch), ERR_NONE);
    cr_assert_err(fetch_as(NULL, -1), ERR_NONE);
    cr_assert_err(fetch_as("m", epoch + 1), ERR_STALE_MEMBER_EPOCH);
    cr_assert_err(fetch_as("x", epoch), ERR_UNKNOWN_MEMBER_ID);
}

Test(coord_kinds, a_consumer_group_is_deleted_with_its_offsets)
{
    int32_t epoch = make_consumer("g");

    COMMIT(&w, .member = "m", .generation = epoch, .version = 9, .offset = 7);
    cr_assert_err(delete_group("g"), ERR_NON_EMPTY_GROUP);
    leave_consumer("g");
    cr_assert_err(delete_group("g"), ERR_NONE);
    cr_assert_err(delete_group("g"), ERR_GROUP_ID_NOT_FOUND);
    cr_assert_listed(NULL, "");
    cr_assert_eq(fetched(&w, "g", 0), -1);
    world_fail_over(&w);
    cr_assert_listed(NULL, "");
    cr_assert_eq(coord_groups_count(world_coord(&w)), 0);
}

/* The classic group's record goes while its only offset is in a transaction. */
Test(coord_kinds, an_offset_that_outlives_its_classic_group_is_deleted)
{
    char id[128];

    make_stable(&w, "g", id);
    LEAVE(&w, .member = id);
    COMMIT(&w, .producer = 5, .offset = 7);
    make_consumer("g");
    world_end_txn(&w, 5, true);
    cr_assert_eq(fetched(&w, "g", 0), 7);
    leave_consumer("g");
    cr_assert_err(delete_group("g"), ERR_NONE);
    cr_assert_eq(fetched(&w, "g", 0), -1);
    world_fail_over(&w);
    cr_assert_eq(fetched(&w, "g", 0), -1);
}

Test(coord_kinds, an_offset_that_outlives_its_classic_group_expires)
{
    char id[128];

    for (int reloaded = 0; reloaded < 2; reloaded++) {
        make_stable(&w, "g", id);
        LEAVE(&w, .member = id);
        COMMIT(&w, .producer = 5, .offset = 7);
        make_consumer("g");
        world_end_txn(&w, 5, true);
        leave_consumer("g");
        if (reloaded)
            world_fail_over(&w);
        cr_assert_eq(fetched(&w, "g", 0), 7);
        world_pass(&w, 2 * w.options.coord.offsets_retention_ms);
        cr_assert_eq(fetched(&w, "g", 0), -1);
        cr_assert_listed(NULL, "");
    }
}

Test(coord_kinds, a_consumer_group_without_offsets_is_deleted)
{
    make_consumer("g");
    leave_consumer("g");
    cr_assert_err(delete_group("g"), ERR_NONE);
    world_fail_over(&w);
    cr_assert_listed(NULL, "");
}

Test(coord_kinds, offsets_that_a_member_wants_stay)
{
    int32_t epoch = make_consumer("g");
    struct offset_delete_request_partition partition = {0};
    struct offset_delete_request_topic topics[] = {
        {SLICE("t"), &partition, 1},
        {SLICE("u"), &partition, 1},
    };
    struct offset_delete_request request = {SLICE("g"), topics, 2};

    COMMIT(&w, .member = "m", .generation = epoch, .version = 9, .offset = 7);
    int token = world_request(&w, API_OFFSET_DELETE, 0, &request);
    const struct offset_delete_response *r =
        &answer_of(&w, token)->response.offset_delete;
    cr_assert_err(r->error_code, ERR_NONE);
    cr_assert_err(r->topics[0].partitions[0].error_code,
                  ERR_GROUP_SUBSCRIBED_TO_TOPIC);
    cr_assert_err(r->topics[1].partitions[0].error_code, ERR_NONE);
}

Test(coord_kinds, offsets_expire_when_nobody_subscribes)
{
    int32_t epoch = make_consumer("g");
    const int64_t day = 86400000;

    w.options.coord.offsets_retention_ms = day;
    world_fail_over(&w);
    COMMIT(&w, .member = "m", .generation = epoch, .version = 9, .offset = 7);
    COMMIT(&w, .member = "m", .generation = epoch, .version = 9, .offset = 8,
           .topic = "u");
    for (int i = 0; i < 2 * day / 30000; i++) {
        world_pass(&w, 30000);
        BEAT(&w, .epoch = epoch);
    }
    cr_assert_eq(fetched(&w, "g", 0), 7);
    int token = FETCH(&w, .topic = "u");
    cr_assert_eq(fetch_of(&w, token)->topics[0].partitions[0].committed_offset,
                 -1);
    leave_consumer("g");
    world_pass(&w, day);
    cr_assert_eq(fetched(&w, "g", 0), -1);
    cr_assert_listed(NULL, "");
}

Test(coord_kinds, an_empty_group_that_never_had_offsets_goes)
{
    make_consumer("g");
    leave_consumer("g");
    world_fail_over(&w);
    world_pass(&w, 599000);
    cr_assert_listed(NULL, "g/consumer/Empty");
    world_pass(&w, 2000);
    cr_assert_listed(NULL, "");
    cr_assert_eq(group_shard_next_deadline(w.shard), INT64_MAX);
}

/* Their error messages quote it; the fixture encodes all answers. */
Test(coord_kinds, a_name_as_long_as_can_be_is_described)
{
    static uint8_t text[INT16_MAX];

    memset(text, 'g', sizeof text);
    struct slice id = slice_of(text, sizeof text);
    struct describe_groups_request classic = {&id, 1, false};
    struct consumer_group_describe_request consumer = {&id, 1, false};
    struct share_group_describe_request share = {&id, 1, false};
    struct streams_group_describe_request streams = {&id, 1, false};
    int token = world_request(&w, API_DESCRIBE_GROUPS, 6, &classic);
    cr_assert(answered(&w, token));
    token = world_request(&w, API_CONSUMER_GROUP_DESCRIBE, 1, &consumer);
    cr_assert(answered(&w, token));
    token = world_request(&w, API_SHARE_GROUP_DESCRIBE, 1, &share);
    cr_assert(answered(&w, token));
    token = world_request(&w, API_STREAMS_GROUP_DESCRIBE, 0, &streams);
    cr_assert(answered(&w, token));
}

/* ---- streams groups ------------------------------------------------------*/

Test(coord_kinds, an_empty_streams_group_that_never_had_offsets_goes)
{
    cr_assert_err(beat_streams("g", STREAMS_JOINS), ERR_NONE);
    cr_assert_err(beat_streams("g", STREAMS_LEAVES), ERR_NONE);
    world_fail_over(&w);
    world_pass(&w, 599000);
    cr_assert_listed(NULL, "g/streams/Empty");
    world_pass(&w, 2000);
    cr_assert_listed(NULL, "");
    cr_assert_eq(group_shard_next_deadline(w.shard), INT64_MAX);
    world_fail_over(&w);
    cr_assert_listed(NULL, "");
}

Test(coord_kinds, an_empty_streams_group_with_offsets_stays)
{
    cr_assert_err(beat_streams("g", STREAMS_JOINS), ERR_NONE);
    cr_assert_err(beat_streams("g", STREAMS_LEAVES), ERR_NONE);
    cr_assert_err(commit_of(&w, COMMIT(&w, .generation = -1, .offset = 7)),
                  ERR_NONE);
    world_pass(&w, 3600000);
    cr_assert_listed(NULL, "g/streams/Empty");
    cr_assert_eq(fetched(&w, "g", 0), 7);
}

Test(coord_kinds, a_streams_group_goes_though_its_offsets_expired_before)
{
    const int64_t hour = 3600000;

    w.options.coord.offsets_retention_ms = hour;
    world_fail_over(&w);
    cr_assert_err(beat_streams("g", STREAMS_JOINS), ERR_NONE);
    cr_assert_err(beat_streams("g", STREAMS_LEAVES), ERR_NONE);
    COMMIT(&w, .generation = -1, .offset = 7, .topic = "u");
    for (int64_t t = 0; t < 2 * hour; t += 30000) {
        cr_assert_err(beat_streams("g", STREAMS_JOINS), ERR_NONE);
        world_pass(&w, 30000);
    }
    int token = FETCH(&w, .topic = "u");
    cr_assert_eq(fetch_of(&w, token)->topics[0].partitions[0].committed_offset,
                 -1);
    cr_assert_listed("streams", "g/streams/Stable");
    cr_assert_err(beat_streams("g", STREAMS_LEAVES), ERR_NONE);
    world_pass(&w, 601000);
    cr_assert_listed(NULL, "");
}

/* ---- topics --------------------------------------------------------------*/

Test(coord_kinds, a_topic_that_grows_is_shared_out_anew)
{
    int32_t epoch = make_consumer("g");

    w.topic_partitions = 5;
    group_shard_topic_changed(w.shard, SLICE("t"), ++w.topics_version, w.time);
    world_pass(&w, 1000);
    const struct consumer_group_heartbeat_response *r =
        beat_of(&w, BEAT(&w, .epoch = epoch));
    cr_assert_gt(r->member_epoch, epoch);
    cr_assert_eq(r->assignment->topic_partitions[0].partitions_len, 5);
}
