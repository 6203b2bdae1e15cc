/* Streams groups rule by rule: joining, the delay, reconciliation, statuses,
 * topics, offsets. */
#include "tests/unit/broker/streams_fixture.h"

#include "proto/kafka/coordinator_record.h"

#include <stdlib.h>

static struct scene s;

static void set_up(void) { scene_open(&s); }
static void tear_down(void) { scene_close(&s); }

TestSuite(streams_members, .init = set_up, .fini = tear_down);

static void reopen(int32_t delay_ms, int32_t interval_ms)
{
    scene_close(&s);
    scene_init(&s);
    s.config.settings.initial_rebalance_delay_ms = delay_ms;
    s.config.settings.assignment_interval_ms = interval_ms;
    scene_topic(&s, "store", 4);
    scene_start(&s);
}

/* ---- topics --------------------------------------------------------------*/

Test(streams_members, internal_topics_are_asked_for_then_tasks_given)
{
    struct actor a = actor_of("a", "p");

    s.creates = false;
    int token = JOIN(&s, &a);
    actor_take(&s, &a, token);
    cr_assert_eq(a.epoch, 2);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 0);
    cr_assert(beat_says(&s, token, 3));
    cr_assert_str_eq(s.created, "store:4");
    cr_assert_str_eq(scene_state(&s, "g"), "NotReady");

    actor_beat(&s, &a);
    cr_assert_eq(s.creations, 2, "the group is there by now");
    actor_beat(&s, &a);
    cr_assert_eq(s.creations, 2, "asked for once a second");
    streams_coord_creation_failed(s.coord, SLICE("g"), SLICE("no room"));
    token = BEAT(&s, &a);
    cr_assert(beat_says(&s, token, 3));
    cr_assert_not_null(memmem(beat_of(&s, token)->status[0].status_detail.data,
                              beat_of(&s, token)->status[0].status_detail.len,
                              "no room", 7));
    scene_pass(&s, 1000);
    s.creates = true;
    actor_beat(&s, &a);
    token = BEAT(&s, &a);
    actor_take(&s, &a, token);
    cr_assert_not(beat_says(&s, token, 3));
    cr_assert_eq(a.epoch, 3);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 4);
    cr_assert_str_eq(scene_state(&s, "g"), "Stable");
    scene_check_reload(&s);
}

Test(streams_members, internal_topics_are_made_when_the_group_is_committed)
{
    struct actor a = actor_of("a", "p");

    s.append_fails_in = 1;
    cr_assert_err(beat_err(&s, JOIN(&s, &a)), ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_eq(s.creations, 0);
    s.hold = true;
    int token = JOIN(&s, &a);
    cr_assert_not(beat_answered(&s, token));
    cr_assert_eq(s.creations, 0);
    scene_pass(&s, 5000);
    cr_assert_err(beat_err(&s, token), ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_eq(s.creations, 0);
    token = JOIN(&s, &a);
    scene_commit(&s);
    actor_take(&s, &a, token);
    cr_assert_eq(s.creations, 1);
    cr_assert_str_eq(s.created, "store:4");
    scene_topic(&s, "store", 0);
    scene_topic(&s, "in", 5);
    scene_pass(&s, 1000);
    cr_assert_not(beat_answered(&s, BEAT(&s, &a)));
    scene_fail_over(&s);
    cr_assert_eq(s.creations, 1);
}

Test(streams_members, source_topics_must_be_there)
{
    struct actor a = actor_of("a", "p");

    scene_topic(&s, "in", 0);
    int token = JOIN(&s, &a);
    cr_assert(beat_says(&s, token, 1));
    cr_assert_eq(s.creations, 0);
    actor_take(&s, &a, token);
    scene_topic(&s, "in", 2);
    actor_beat(&s, &a); /* the store is made */
    actor_beat(&s, &a);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 2);
    /* It goes again: all tasks do. */
    scene_topic(&s, "in", 0);
    token = BEAT(&s, &a);
    cr_assert(beat_says(&s, token, 1));
    actor_take(&s, &a, token);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 0);
    scene_check_reload(&s);
}

Test(streams_members, internal_topics_must_have_the_right_partitions)
{
    struct actor a = actor_of("a", "p");

    scene_topic(&s, "store", 3);
    int token = JOIN(&s, &a);
    cr_assert(beat_says(&s, token, 2));
    cr_assert_eq(s.creations, 0);
}

Test(streams_members, repartition_topics_get_the_partitions_of_what_is_read)
{
    topology_t two = two_step_topology();
    struct actor a = actor_of("a", "p");

    actor_take(&s, &a, JOIN(&s, &a, .topology = &two));
    cr_assert_str_eq(s.created, "rep:4 store:4");
    actor_beat(&s, &a);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 8);
    cr_assert(actor_has(&a, TASK_ACTIVE, "0", 3));
    cr_assert(actor_has(&a, TASK_ACTIVE, "1", 3));
    const struct streams_group_describe_response_topology *t =
        scene_describe(&s, "g")->topology;
    cr_assert_eq(t->subtopologies_len, 2);
    cr_assert(slice_eq_str(t->subtopologies[0].subtopology_id, "0"));
    cr_assert_eq(t->subtopologies[1].repartition_source_topics[0].partitions,
                 4);
    cr_assert_eq(t->subtopologies[1].state_changelog_topics[0].partitions, 4);
}

static enum err join_err(const topology_t *t)
{
    struct actor a = actor_of("x", "p");

    a.group = "other";
    return beat_err(&s, JOIN(&s, &a, .topology = t));
}

Test(streams_members, topologies_that_can_never_work)
{
    topology_t t = two_step_topology();
    sub_t subs[2], *one = &subs[0], *zero = &subs[1];
    struct slice in[] = {SLICE("in")}, out[] = {SLICE("rep2")};
    info_t info = {SLICE("rep"), 0, 0, NULL, 0};

#define FRESH()                                                                \
    (memcpy(subs, two_step_topology().subtopologies, sizeof subs),             \
     t = (topology_t){0, subs, 2},                                             \
     info = (info_t){SLICE("rep"), 0, 0, NULL, 0})
    FRESH();
    t.epoch = -1;
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY_EPOCH);
    FRESH();
    one->subtopology_id = SLICE("0");
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    FRESH();
    zero->source_topics_len = 0;
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    FRESH();
    zero->repartition_sink_topics_len = 0; /* nothing writes to rep */
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    FRESH(); /* a circle: it writes what it reads */
    t.subtopologies_len = 1;
    one->repartition_sink_topics = zero->repartition_sink_topics;
    one->repartition_sink_topics_len = 1;
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    FRESH();
    in[0] = SLICE("__consumer_offsets");
    zero->source_topics = in;
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    in[0] = SLICE("no/name");
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    FRESH();
    info.partitions = -4;
    one->repartition_source_topics = &info;
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    info.partitions = INT32_MAX;
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    FRESH();
    info.partitions = 3;
    one->state_changelog_topics = &info;
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    FRESH();
    int16_t index = 1;
    struct streams_group_heartbeat_request_copartition_group group = {
        &index, 1, NULL, 0, NULL, 0};
    zero->copartition_groups = &group;
    zero->copartition_groups_len = 1;
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    index = -1;
    cr_assert_err(join_err(&t), ERR_STREAMS_INVALID_TOPOLOGY);
    FRESH();
    zero->source_topic_regex = out;
    zero->source_topic_regex_len = 1;
    cr_assert_err(join_err(&t), ERR_INVALID_REQUEST);
    cr_assert_eq(streams_coord_groups_count(s.coord), 0);
    cr_assert_eq(s.records, 0);
}

/* "0" reads "in" (4), "two" and "rep" together. */
static int join_together(int32_t of_two, int32_t of_rep)
{
    static struct slice sources[] = {SLICE("in"), SLICE("two")};
    static struct slice sink[] = {SLICE("rep")};
    static int16_t both[] = {0, 1}, first[] = {0};
    static struct streams_group_heartbeat_request_copartition_group group = {
        both, 2, NULL, 0, first, 1};
    info_t rep = {SLICE("rep"), of_rep, 0, NULL, 0};
    sub_t sub = {
        .subtopology_id = SLICE("0"),
        .source_topics = sources,
        .source_topics_len = 2,
        .repartition_source_topics = &rep,
        .repartition_source_topics_len = 1,
        .repartition_sink_topics = sink,
        .repartition_sink_topics_len = 1,
        .copartition_groups = &group,
        .copartition_groups_len = 1,
    };
    topology_t t = {0, &sub, 1};
    struct actor a = actor_of("a", "p");
    static char name[8] = "g0";

    name[1]++;
    a.group = name;
    scene_topic(&s, "two", of_two);
    return JOIN(&s, &a, .topology = &t);
}

Test(streams_members, copartitioned_topics)
{
    s.creates = false;
    cr_assert(beat_says(&s, join_together(3, 0), 2), "in has 4");
    cr_assert(beat_says(&s, join_together(4, 3), 2), "rep says 3");
    cr_assert(beat_says(&s, join_together(4, 0), 3), "rep gives way");
    cr_assert_str_eq(s.created, "rep:4");
    cr_assert(beat_says(&s, join_together(4, 4), 3));
}

/* ---- topology epochs -----------------------------------------------------*/

Test(streams_members, the_first_topology_is_the_groups)
{
    topology_t t = plain_topology(), other = two_step_topology();
    struct actor a = actor_of("a", "p"), b = actor_of("b", "q");

    t.epoch = other.epoch = 2;
    actor_take(&s, &a, JOIN(&s, &a, .topology = &t));
    cr_assert_err(beat_err(&s, JOIN(&s, &b, .topology = &other)),
                  ERR_INVALID_REQUEST);
    other.epoch = 3;
    cr_assert_err(beat_err(&s, JOIN(&s, &b, .topology = &other)),
                  ERR_INVALID_REQUEST);
    other.epoch = 1;
    int token = JOIN(&s, &b, .topology = &other);
    actor_take(&s, &b, token);
    cr_assert(beat_says(&s, token, 0), "it is behind");
    cr_assert(beat_says(&s, BEAT(&s, &b), 0));
    cr_assert_not(beat_says(&s, BEAT(&s, &a), 0));
    scene_check_reload(&s);
}

/* ---- the delay -----------------------------------------------------------*/

Test(streams_members, the_first_members_wait_for_each_other)
{
    reopen(3000, 0);
    struct actor a = actor_of("a", "p"), b = actor_of("b", "q");
    int token = JOIN(&s, &a);

    actor_take(&s, &a, token);
    cr_assert(beat_says(&s, token, 5));
    cr_assert_eq(a.epoch, 1, "not 0, which would be joining again");
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 0);
    scene_pass(&s, 2000);
    token = JOIN(&s, &b);
    actor_take(&s, &b, token);
    cr_assert(beat_says(&s, token, 5));
    cr_assert_str_eq(scene_state(&s, "g"), "Assigning");
    scene_pass(&s, 1000);
    cr_assert_str_eq(scene_state(&s, "g"), "Reconciling");
    token = BEAT(&s, &a);
    actor_take(&s, &a, token);
    cr_assert_not(beat_says(&s, token, 5));
    actor_beat(&s, &b);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 2);
    cr_assert_eq(b.tasks_len[TASK_ACTIVE], 2);
    cr_assert_str_eq(scene_state(&s, "g"), "Stable");
    scene_check_reload(&s);
}

Test(streams_members, the_delay_does_not_survive_but_the_group_does)
{
    reopen(3000, 0);
    struct actor a = actor_join(&s, "a", "p");

    scene_fail_over(&s);
    actor_beat(&s, &a);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 4);
}

Test(streams_members, targets_at_intervals)
{
    reopen(0, 1000);
    struct actor a = actor_join(&s, "a", "p"), b = actor_of("b", "q");

    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 4);
    int token = JOIN(&s, &b);
    actor_take(&s, &b, token);
    cr_assert(beat_says(&s, token, 5));
    scene_pass(&s, 1000); /* by itself */
    actor_beat(&s, &a);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 2);
    scene_check_reload(&s);
}

/* ---- reconciliation ------------------------------------------------------*/

Test(streams_members, a_task_is_given_up_before_it_is_given)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p"), b = actor_join(&s, "b", "q");

    cr_assert_eq(b.epoch, 3);
    cr_assert_eq(b.tasks_len[TASK_ACTIVE], 0);
    struct actor before = a;
    actor_beat(&s, &a);
    cr_assert_eq(a.epoch, 2);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 2);
    cr_assert_err(beat_err(&s, BEAT(&s, &before)), ERR_NONE);
    actor_beat(&s, &b);
    cr_assert_eq(b.tasks_len[TASK_ACTIVE], 0, "a says that it has them still");
    cr_assert_err(beat_err(&s, BEAT(&s, &a, .silent = true)), ERR_NONE);
    actor_beat(&s, &b);
    cr_assert_eq(b.tasks_len[TASK_ACTIVE], 0, "a says nothing");
    actor_beat(&s, &a);
    cr_assert_eq(a.epoch, 3);
    actor_beat(&s, &b);
    cr_assert_eq(b.tasks_len[TASK_ACTIVE], 2);
    int64_t records = s.records;
    actor_beat(&s, &a);
    actor_beat(&s, &b);
    cr_assert_eq(s.records, records, "no news, no records");
    scene_check_reload(&s);
}

Test(streams_members, an_answer_that_was_lost_is_said_again)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p"), b = actor_join(&s, "b", "q");
    struct actor *both[] = {&a, &b};

    actors_settle(&s, both, 2);
    struct actor lost = a;
    a.epoch = -1;
    cr_assert_err(beat_err(&s, BEAT(&s, &a)), ERR_NONE);
    a = b;
    BEAT(&s, &b); /* b is given everything, and does not hear of it */
    cr_assert_err(beat_err(&s, BEAT(&s, &b, .silent = true)),
                  ERR_FENCED_MEMBER_EPOCH);
    actor_take(&s, &b, BEAT(&s, &b));
    cr_assert_eq(b.tasks_len[TASK_ACTIVE], 4);
    cr_assert_err(beat_err(&s, BEAT(&s, &lost)), ERR_UNKNOWN_MEMBER_ID);
}

Test(streams_members, epochs)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p"), late = a, liar = a;

    late.epoch = a.epoch + 1;
    cr_assert_err(beat_err(&s, BEAT(&s, &late)), ERR_FENCED_MEMBER_EPOCH);
    liar.epoch = 0; /* comes again with tasks */
    cr_assert_err(beat_err(&s, BEAT(&s, &liar)), ERR_INVALID_REQUEST);
    liar = a;
    liar.tasks[TASK_ACTIVE][0].partition = 4;
    cr_assert_err(beat_err(&s, BEAT(&s, &liar)), ERR_INVALID_REQUEST);
    struct actor again = actor_of("a", "p");
    actor_take(&s, &again, JOIN(&s, &again));
    cr_assert_eq(again.epoch, a.epoch);
    cr_assert_eq(again.tasks_len[TASK_ACTIVE], 4);
}

Test(streams_members, who_does_not_give_up_in_time_is_out)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p"), b = actor_join(&s, "b", "q");

    BEAT(&s, &a);
    scene_pass(&s, 9999);
    cr_assert_err(beat_err(&s, BEAT(&s, &a, .silent = true)), ERR_NONE);
    scene_pass(&s, 1);
    cr_assert_err(beat_err(&s, BEAT(&s, &a)), ERR_UNKNOWN_MEMBER_ID);
    actor_beat(&s, &b);
    cr_assert_eq(b.tasks_len[TASK_ACTIVE], 4);
    scene_check_reload(&s);
}

Test(streams_members, who_is_silent_is_out)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p");

    scene_pass(&s, 44999);
    actor_beat(&s, &a);
    scene_fail_over(&s);
    scene_pass(&s, 44999);
    cr_assert_str_eq(scene_state(&s, "g"), "Stable");
    scene_pass(&s, 1);
    cr_assert_str_eq(scene_state(&s, "g"), "Empty");
    cr_assert_err(beat_err(&s, BEAT(&s, &a)), ERR_UNKNOWN_MEMBER_ID);
    scene_check_reload(&s);
}

/* ---- standbys ------------------------------------------------------------*/

Test(streams_members, a_copy_is_given_up_before_its_process_is_active)
{
    reopen(0, 0);
    s.standbys = 1;
    struct actor a = actor_join(&s, "a", "p"), b = actor_join(&s, "b", "q");
    struct actor *both[] = {&a, &b};

    actors_settle(&s, both, 2);
    cr_assert_eq(a.tasks_len[TASK_STANDBY], 2);
    cr_assert_eq(b.tasks_len[TASK_STANDBY], 2);
    a.epoch = -1;
    BEAT(&s, &a);
    actor_beat(&s, &b);
    cr_assert_eq(b.tasks_len[TASK_ACTIVE], 2);
    cr_assert_eq(b.tasks_len[TASK_STANDBY], 0, "gives the copies up");
    actor_beat(&s, &b);
    actor_beat(&s, &b);
    cr_assert_eq(b.tasks_len[TASK_ACTIVE], 4);
    scene_check_reload(&s);
}

Test(streams_members, another_number_of_standbys_makes_a_new_target)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p"), b = actor_join(&s, "b", "q");
    struct actor *both[] = {&a, &b};

    actors_settle(&s, both, 2);
    s.standbys = 1;
    actors_settle(&s, both, 2);
    cr_assert_eq(a.tasks_len[TASK_STANDBY], 2);
    scene_check_reload(&s);
    scene_fail_over(&s);
    int64_t records = s.records;
    actors_settle(&s, both, 2);
    cr_assert_eq(s.records, records, "it is remembered");
}

/* ---- shutdown, endpoints -------------------------------------------------*/

Test(streams_members, one_may_ask_all_to_stop)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p"), b = actor_join(&s, "b", "q");

    cr_assert(beat_says(&s, BEAT(&s, &a, .shutdown = true), 4));
    cr_assert(beat_says(&s, BEAT(&s, &b), 4));
    a.epoch = b.epoch = -1;
    BEAT(&s, &a);
    BEAT(&s, &b, .shutdown = true);
    b = actor_of("b", "q");
    cr_assert_not(beat_says(&s, JOIN(&s, &b), 4), "all have stopped");
}

Test(streams_members, endpoints)
{
    reopen(0, 0);
    struct actor a = actor_of("a", "p");

    actor_take(&s, &a, JOIN(&s, &a, .endpoint = "host"));
    int token = BEAT(&s, &a);
    const struct streams_group_heartbeat_response *r = beat_of(&s, token);
    cr_assert_eq(r->partitions_by_user_endpoint_len, 1);
    cr_assert_eq(r->partitions_by_user_endpoint[0].active_partitions_len, 1);
    cr_assert_eq(
        r->partitions_by_user_endpoint[0].active_partitions[0].partitions_len,
        4);
    token = BEAT(&s, &a, .endpoint_epoch = r->endpoint_information_epoch);
    cr_assert_eq(beat_of(&s, token)->partitions_by_user_endpoint_len, -1);
}

/* ---- offsets, other APIs -------------------------------------------------*/

static enum err commit(const char *member, int32_t epoch, int16_t version,
                       int32_t partition)
{
    struct coord_caller caller = {SLICE("g"), slice_str(member), epoch, version,
                                  false,      SLICE_NULL};

    return streams_check_commit(s.coord, &caller, s.topics[0].id, partition);
}

Test(streams_members, commits)
{
    reopen(0, 0);
    cr_assert_err(commit("a", 1, 9, 0), ERR_GROUP_ID_NOT_FOUND);
    struct actor a = actor_join(&s, "a", "p");
    struct coord_caller nobody = {SLICE("g"), SLICE_NULL, -1,
                                  9,          false,      SLICE_NULL};

    cr_assert_err(commit("a", a.epoch, 9, 0), ERR_NONE);
    cr_assert_err(commit("a", a.epoch, 8, 0), ERR_UNSUPPORTED_VERSION);
    cr_assert_err(commit("a", a.epoch + 1, 9, 0), ERR_STALE_MEMBER_EPOCH);
    cr_assert_err(commit("x", a.epoch, 9, 0), ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(commit(NULL, -1, 9, 0), ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(streams_check_fetch(s.coord, &nobody), ERR_NONE);
    nobody.transactional = true;
    cr_assert_err(streams_check_commit(s.coord, &nobody, s.topics[0].id, 0),
                  ERR_NONE);
    nobody.instance_id = SLICE("i");
    cr_assert_err(streams_check_commit(s.coord, &nobody, s.topics[0].id, 0),
                  ERR_UNKNOWN_MEMBER_ID);
    struct actor b = actor_join(&s, "b", "q");
    struct actor *both[] = {&a, &b};
    int32_t before = a.epoch;
    actors_settle(&s, both, 2);
    for (int32_t p = 0; p < 4; p++)
        cr_assert_err(commit("a", before, 9, p),
                      actor_has(&a, TASK_ACTIVE, "0", p)
                          ? ERR_NONE
                          : ERR_STALE_MEMBER_EPOCH);
    cr_assert(streams_subscribes(s.coord, SLICE("g"), SLICE("in")));
    cr_assert_not(streams_subscribes(s.coord, SLICE("g"), SLICE("store")));
}

Test(streams_members, an_empty_group_can_be_deleted)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p");
    struct coord_records records = {0};

    cr_assert_err(streams_delete_records(s.coord, SLICE("g"), &records),
                  ERR_NON_EMPTY_GROUP);
    cr_assert_eq(streams_presence(s.coord, SLICE("g")), GROUP_PRESENT);
    a.epoch = -1;
    BEAT(&s, &a);
    cr_assert_eq(streams_presence(s.coord, SLICE("g")), GROUP_PRESENT_EMPTY);
    cr_assert_err(streams_delete_records(s.coord, SLICE("g"), &records),
                  ERR_NONE);
    for (uint32_t i = 0; i < records.count; i++) {
        struct coord_record r = coord_records_get(&records, i);
        cr_assert_err(streams_coord_replay(s.coord, r.key, r.value), ERR_NONE);
        streams_coord_check(s.coord);
    }
    coord_records_free(&records);
    cr_assert_eq(streams_coord_groups_count(s.coord), 0);
    cr_assert_eq(streams_presence(s.coord, SLICE("g")), GROUP_PRESENT_NOT);
}

Test(streams_members, groups_are_listed)
{
    struct slice types[] = {SLICE("Streams")}, other[] = {SLICE("consumer")};
    struct list_groups_request q;
    struct arena arena;
    int32_t len;

    reopen(0, 0);
    actor_join(&s, "a", "p");
    list_groups_request_init(&q);
    arena_init(&arena, 0);
    q.types_filter = types;
    q.types_filter_len = 1;
    struct list_groups_response_listed_group *g =
        streams_coord_list(s.coord, &q, &arena, &len);
    cr_assert_eq(len, 1);
    cr_assert(slice_eq_str(g[0].group_state, "Stable"));
    q.types_filter = other;
    streams_coord_list(s.coord, &q, &arena, &len);
    cr_assert_eq(len, 0);
    arena_free(&arena);
}

Test(streams_members, answers_wait_for_the_commit)
{
    reopen(0, 0);
    struct actor a = actor_of("a", "p"), b = actor_of("b", "q");

    s.hold = true;
    int join = JOIN(&s, &a), other;
    b.group = "other";
    other = JOIN(&s, &b);
    cr_assert_not(beat_answered(&s, join));
    scene_pass(&s, 5000);
    cr_assert_err(beat_err(&s, join), ERR_COORDINATOR_NOT_AVAILABLE);
    join = JOIN(&s, &a);
    cr_assert_not(beat_answered(&s, join), "it rests on what is in doubt");
    scene_commit(&s);
    actor_take(&s, &a, join);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 4);
    cr_assert(beat_answered(&s, BEAT(&s, &a)));
    (void)other;
}

Test(streams_members, a_failed_append_changes_nothing)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p"), b = actor_of("b", "q");
    char *before = scene_dump(&s);

    s.append_fails_in = 1;
    cr_assert_err(beat_err(&s, JOIN(&s, &b)), ERR_COORDINATOR_NOT_AVAILABLE);
    char *after = scene_dump(&s);
    cr_assert_str_eq(before, after);
    free(before);
    free(after);
    actor_beat(&s, &a);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 4);
}

Test(streams_members, a_state_from_the_future_starts_over)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p");
    struct streams_group_current_member_assignment_key key = {SLICE("g"),
                                                              SLICE("a")};
    struct streams_group_current_member_assignment_value value = {
        .member_epoch = a.epoch, .state = 9};
    struct buf k = BUF_INIT, v = BUF_INIT;

    coordinator_key_encode(&streams_group_current_member_assignment_key_desc,
                           &key, &k);
    coordinator_value_encode(
        &streams_group_current_member_assignment_value_desc, 0, &value, &v);
    cr_assert_err(streams_coord_replay(s.coord, buf_slice(&k), buf_slice(&v)),
                  ERR_NONE);
    cr_assert_err(beat_err(&s, BEAT(&s, &a)), ERR_FENCED_MEMBER_EPOCH);
    actor_take(&s, &a, JOIN(&s, &a));
    actor_beat(&s, &a);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 4);
    buf_free(&k);
    buf_free(&v);
}

/* As if a new leader had loaded a log from which the end of a member was
 * compacted away, but not what came after it. */
Test(streams_members, who_is_no_member_has_no_task)
{
    reopen(0, 0);
    struct actor a = actor_join(&s, "a", "p");
    struct streams_group_target_assignment_member_key key = {SLICE("g"),
                                                             SLICE("ghost")};
    struct streams_group_target_assignment_member_key mine = {SLICE("g"),
                                                              SLICE("a")};
    struct streams_group_target_assignment_member_value none = {0};
    struct buf k = BUF_INIT, v = BUF_INIT;

    actor_beat(&s, &a);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 4);
    coordinator_value_encode(&streams_group_target_assignment_member_value_desc,
                             0, &none, &v);
    coordinator_key_encode(&streams_group_target_assignment_member_key_desc,
                           &key, &k);
    cr_assert_err(streams_coord_replay(s.coord, buf_slice(&k), buf_slice(&v)),
                  ERR_NONE);
    k.len = 0;
    coordinator_key_encode(&streams_group_target_assignment_member_key_desc,
                           &mine, &k);
    cr_assert_err(streams_coord_replay(s.coord, buf_slice(&k), buf_slice(&v)),
                  ERR_NONE);
    int32_t epoch = a.epoch;
    for (int i = 0; i < 4; i++)
        actor_beat(&s, &a);
    cr_assert_gt(a.epoch, epoch);
    cr_assert_eq(a.tasks_len[TASK_ACTIVE], 4);
    struct buf text = BUF_INIT;
    streams_coord_dump(s.coord, &text);
    buf_put_u8(&text, 0);
    cr_assert_null(strstr((char *)text.data, "ghost"));
    buf_free(&text);
    buf_free(&k);
    buf_free(&v);
}
