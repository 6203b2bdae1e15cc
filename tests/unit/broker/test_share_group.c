/* Share groups: members, what is initialized for them and shared out, where
 * they begin, and their end. */
#include "tests/unit/broker/coord_fixture.h"

#include "proto/kafka/coordinator_record.h"

#include <stdio.h>
#include <stdlib.h>

static struct world w;

static void open_world(void) { world_open(&w); }

static void close_world(void)
{
    share_group_check(group_cores_share(group_shard_cores(w.shard)));
    world_close(&w);
}

TestSuite(share_group, .init = open_world, .fini = close_world);

typedef struct share_group_heartbeat_response beat_response;

static int beat_for(const char *member, int32_t epoch, struct slice topic)
{
    struct share_group_heartbeat_request q = {
        .group_id = SLICE("g"),
        .member_id = slice_str(member),
        .member_epoch = epoch,
        .subscribed_topic_names = &topic,
        .subscribed_topic_names_len = epoch == 0 ? 1 : -1,
    };

    return world_request(&w, API_SHARE_GROUP_HEARTBEAT, 1, &q);
}

static int beat(const char *member, int32_t epoch)
{
    return beat_for(member, epoch, SLICE("t"));
}

static const beat_response *told(int token)
{
    return &answer_of(&w, token)->response.share_group_heartbeat;
}

static int32_t epoch_of(int token)
{
    cr_assert_err(told(token)->error_code, ERR_NONE);
    return told(token)->member_epoch;
}

/* "0 1 2"; "-": no news. */
static const char *given(int token)
{
    static char text[64];
    const beat_response *r = told(token);
    size_t at = 0;

    cr_assert_err(r->error_code, ERR_NONE);
    if (r->assignment == NULL)
        return "-";
    text[0] = '\0';
    for (int32_t t = 0; t < r->assignment->topic_partitions_len; t++)
        for (int32_t p = 0;
             p < r->assignment->topic_partitions[t].partitions_len; p++)
            at += (size_t)snprintf(
                text + at, sizeof text - at, "%s%d", at == 0 ? "" : " ",
                (int)r->assignment->topic_partitions[t].partitions[p]);
    return text;
}

/* A member of a group all of whose partitions are initialized; its epoch. */
static int32_t settled(const char *member)
{
    int32_t epoch = epoch_of(beat(member, 0));

    while (w.asks_len > 0)
        world_share_answers(&w, ERR_NONE);
    world_pass(&w, 1000);
    return epoch_of(beat(member, epoch));
}

static char *dump(void)
{
    struct buf text = BUF_INIT;

    share_group_dump(group_cores_share(group_shard_cores(w.shard)), &text);
    buf_put_u8(&text, 0);
    return (char *)text.data;
}

static void assert_reloads(void)
{
    char *before = dump();
    world_fail_over(&w);
    char *after = dump();

    cr_assert_str_eq(before, after);
    free(before);
    free(after);
}

/* ---- members -------------------------------------------------------------*/

Test(share_group, partitions_are_initialized_before_members_have_them)
{
    int first = beat("m", 0);
    cr_assert_str_eq(given(first), "");
    cr_assert_eq(w.asks_len, 1);
    cr_assert_eq((int)w.asks[0]->api, API_INITIALIZE_SHARE_GROUP_STATE);
    cr_assert_eq(w.asks[0]->items_len, 3);
    cr_assert_eq(w.asks[0]->items[0].start_offset, -1);
    cr_assert_eq(w.asks[0]->items[0].state_epoch, epoch_of(first));
    cr_assert_str_eq(given(beat("m", epoch_of(first))), "-");
    world_share_answers(&w, ERR_NONE);
    world_pass(&w, 1000);
    int next = beat("m", epoch_of(first));
    cr_assert_str_eq(given(next), "0 1 2");
    cr_assert_gt(epoch_of(next), epoch_of(first));
    cr_assert_str_eq(given(beat("m", epoch_of(next))), "-");
    assert_reloads();
}

/* As if a new leader had loaded a log from which the end of a member was
 * compacted away, but not what came after it. */
static void replay_target(const char *member, const int32_t *partitions,
                          int32_t len)
{
    struct share_group_target_assignment_member_key key = {SLICE("g"),
                                                           slice_str(member)};
    struct share_group_target_assignment_member_value_topic_partition topic = {
        world_topic_id(), (int32_t *)(uintptr_t)partitions, len};
    struct share_group_target_assignment_member_value value = {&topic, 1};
    struct buf k = BUF_INIT, v = BUF_INIT;

    coordinator_key_encode(&share_group_target_assignment_member_key_desc, &key,
                           &k);
    coordinator_value_encode(&share_group_target_assignment_member_value_desc,
                             0, &value, &v);
    cr_assert_err(
        share_group_replay(group_cores_share(group_shard_cores(w.shard)),
                           buf_slice(&k), buf_slice(&v)),
        ERR_NONE);
    buf_free(&k);
    buf_free(&v);
}

Test(share_group, who_is_no_member_has_no_part)
{
    int32_t epoch = settled("m");

    replay_target("ghost", (const int32_t[]){0}, 1);
    replay_target("m", (const int32_t[]){1, 2}, 2);
    int next = beat("m", epoch);
    world_pass(&w, 1000);
    next = beat("m", epoch_of(next));
    cr_assert_gt(epoch_of(next), epoch);
    cr_assert_str_eq(given(beat("m", 0)), "0 1 2");
    char *text = dump();
    cr_assert_null(strstr(text, "ghost"), "%s", text);
    free(text);
    assert_reloads();
}

Test(share_group, nothing_is_asked_before_its_record_is_committed)
{
    w.hold = true;
    int token = beat("m", 0);
    cr_assert(!answered(&w, token));
    cr_assert_eq(w.asks_len, 0);
    world_commit(&w);
    cr_assert(answered(&w, token));
    cr_assert_eq(w.asks_len, 1);
    world_share_answers(&w, ERR_NONE);
    world_commit(&w);
}

Test(share_group, what_fails_is_asked_again)
{
    beat("m", 0);
    world_share_answers(&w, ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_eq(w.asks_len, 0);
    world_pass(&w, 29999);
    cr_assert_eq(w.asks_len, 0);
    world_pass(&w, 1);
    cr_assert_eq(w.asks_len, 1);
    world_share_answers(&w, ERR_NONE);
}

Test(share_group, the_next_coordinator_asks_again)
{
    beat("m", 0);
    share_group_ask_free(w.asks[--w.asks_len]);
    world_fail_over(&w);
    cr_assert_eq(w.asks_len, 1);
    cr_assert_eq(w.asks[0]->items_len, 3);
    world_share_answers(&w, ERR_NONE);
    world_pass(&w, 1000);
    cr_assert_str_eq(given(beat("m", 1)), "0 1 2");
}

Test(share_group, two_members_share)
{
    int32_t a = settled("a");
    int32_t b = epoch_of(beat("b", 0));

    world_pass(&w, 1000);
    int first = beat("a", a);
    char mine[64];
    snprintf(mine, sizeof mine, "%s", given(first));
    cr_assert(strlen(mine) == 3 || strlen(mine) == 1, "%s", mine);
    cr_assert_str_neq(given(beat("b", b)), mine);
    assert_reloads();
    cr_assert_err(told(beat("b", -1))->error_code, ERR_NONE);
    world_pass(&w, 1000);
    cr_assert_str_eq(given(beat("a", epoch_of(first))), "0 1 2");
}

Test(share_group, epochs)
{
    int32_t epoch = settled("m");

    cr_assert_err(told(beat("m", epoch + 1))->error_code,
                  ERR_FENCED_MEMBER_EPOCH);
    cr_assert_str_eq(given(beat("m", epoch - 1)), "0 1 2"); /* lost answer */
    cr_assert_err(told(beat("x", epoch))->error_code, ERR_UNKNOWN_MEMBER_ID);
    cr_assert_str_eq(given(beat("m", 0)), "0 1 2"); /* it starts over */
}

Test(share_group, who_is_silent_leaves)
{
    int32_t epoch = settled("m");

    world_pass(&w, 44999);
    cr_assert_err(told(beat("m", epoch))->error_code, ERR_NONE);
    world_pass(&w, 45000);
    cr_assert_err(told(beat("m", epoch))->error_code, ERR_UNKNOWN_MEMBER_ID);
}

/* While the clock is behind the last assignment's time the pause begins anew
 * with each heartbeat, and ends all the same. */
Test(share_group, a_clock_that_was_set_back_puts_nothing_off)
{
    int32_t a = settled("a");

    w.time.wall_ms -= 86400000;
    int32_t b = epoch_of(beat("b", 0));
    for (int i = 0; i < 3; i++) {
        world_pass(&w, 400);
        a = epoch_of(beat("a", a));
        b = epoch_of(beat("b", b));
    }
    cr_assert_eq(a, b);
    char mine[64];
    snprintf(mine, sizeof mine, "%s", given(beat("a", 0)));
    cr_assert_str_neq(mine, "0 1 2");
    cr_assert_str_neq(given(beat("b", 0)), "");
}

Test(share_group, a_topic_grows)
{
    int32_t epoch = settled("m");

    w.topic_partitions = 5;
    cr_assert_eq(epoch_of(beat("m", epoch)), epoch);
    w.topic_changes++;
    beat("m", epoch);
    cr_assert_eq(w.asks_len, 1);
    cr_assert_eq(w.asks[0]->items_len, 2);
    world_share_answers(&w, ERR_NONE);
    world_pass(&w, 1000);
    cr_assert_str_eq(given(beat("m", epoch)), "0 1 2 3 4");
    assert_reloads();
}

/* As time goes on, member `id` has all that there is. */
static void assert_gets(const char *id, int32_t epoch, const char *all)
{
    for (int i = 0; i < 3; i++) {
        world_pass(&w, 5000);
        epoch = epoch_of(beat(id, epoch));
        while (w.asks_len > 0)
            world_share_answers(&w, ERR_NONE);
    }
    cr_assert_str_eq(given(beat(id, 0)), all);
    assert_reloads();
}

Test(share_group, a_topic_grows_and_an_append_fails)
{
    int32_t epoch = settled("m");

    w.topic_partitions = 5;
    w.topic_changes++;
    w.append_err = ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_err(told(beat("m", epoch))->error_code,
                  ERR_COORDINATOR_NOT_AVAILABLE);
    w.append_err = ERR_NONE;
    assert_gets("m", epoch, "0 1 2 3 4");
}

Test(share_group, a_topic_grows_while_somebody_leaves)
{
    int32_t epoch = settled("a");

    beat("b", 0);
    world_pass(&w, 1000);
    epoch = epoch_of(beat("a", epoch));
    w.topic_partitions = 5;
    w.topic_changes++;
    beat("b", -1);
    assert_gets("a", epoch, "0 1 2 3 4");
}

Test(share_group, a_full_group)
{
    char id[8];

    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "m%d", i);
        cr_assert_err(told(beat(id, 0))->error_code, ERR_NONE);
    }
    cr_assert_err(told(beat("one more", 0))->error_code,
                  ERR_GROUP_MAX_SIZE_REACHED);
    while (w.asks_len > 0)
        world_share_answers(&w, ERR_NONE);
}

Test(share_group, a_failed_append_changes_nothing)
{
    w.append_err = ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_err(told(beat("m", 0))->error_code,
                  ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_eq(w.asks_len, 0);
    w.append_err = ERR_NONE;
    cr_assert_eq(settled("m") > 0, true);
}

/* ---- names ---------------------------------------------------------------*/

Test(share_group, its_name_is_its_own)
{
    char id[128];

    settled("m");
    cr_assert_err(join_of(&w, JOIN(&w, .group = "g"))->error_code,
                  ERR_INCONSISTENT_GROUP_PROTOCOL);
    beat("m", -1);
    cr_assert_err(join_of(&w, JOIN(&w, .group = "g"))->error_code,
                  ERR_INCONSISTENT_GROUP_PROTOCOL);
    (void)id;
}

/* ---- offsets and the end -------------------------------------------------*/

static int delete_group(void)
{
    struct slice id = SLICE("g");
    struct delete_groups_request q = {&id, 1};

    return world_request(&w, API_DELETE_GROUPS, 2, &q);
}

static enum err deleted(int token)
{
    return (enum err)answer_of(&w, token)
        ->response.delete_groups.results[0]
        .error_code;
}

Test(share_group, deleting_a_group_deletes_its_states_first)
{
    settled("m");
    cr_assert_err(deleted(delete_group()), ERR_NON_EMPTY_GROUP);
    beat("m", -1);
    int token = delete_group();
    cr_assert(!answered(&w, token));
    cr_assert_eq((int)w.asks[0]->api, API_DELETE_SHARE_GROUP_STATE);
    cr_assert_eq(w.asks[0]->items_len, 3);
    cr_assert_err(deleted(delete_group()), ERR_COORDINATOR_NOT_AVAILABLE);
    world_share_answers(&w, ERR_NONE);
    cr_assert_err(deleted(token), ERR_NONE);
    cr_assert_err(deleted(delete_group()), ERR_GROUP_ID_NOT_FOUND);
    assert_reloads();
}

static const struct uuid other_id = {{0, 'u'}};

static bool two_by_name(void *arg, struct slice name,
                        struct consumer_topic *topic)
{
    bool other = slice_eq_str(name, "u");

    (void)arg;
    *topic = (struct consumer_topic){other ? other_id : world_topic_id(), 2};
    return other || slice_eq_str(name, "t");
}

static struct slice two_names(void *arg, struct uuid id)
{
    (void)arg;
    return uuid_eq(id, other_id) ? SLICE("u") : SLICE("t");
}

Test(share_group, a_state_that_came_during_a_deletion_is_no_orphan)
{
    world_close(&w);
    world_init(&w);
    w.options.world.topic_by_name = two_by_name;
    w.options.world.topic_name = two_names;
    world_start(&w);
    settled("m");
    beat("m", -1);
    int token = delete_group();
    beat_for("n", 0, SLICE("u"));
    beat("n", -1);
    world_share_answers(&w, ERR_NONE);
    cr_assert_eq((int)w.asks[0]->api, API_INITIALIZE_SHARE_GROUP_STATE);
    world_share_answers(&w, ERR_NONE);
    cr_assert_err(deleted(token), ERR_NON_EMPTY_GROUP);
    token = delete_group();
    cr_assert_eq((int)w.asks[0]->api, API_DELETE_SHARE_GROUP_STATE);
    cr_assert_eq(w.asks[0]->items_len, 2);
    cr_assert(uuid_eq(w.asks[0]->items[0].topic, other_id));
    world_share_answers(&w, ERR_NONE);
    cr_assert_err(deleted(token), ERR_NONE);
    assert_reloads();
}

enum { MANY_TOPICS = 500 };

static bool many_by_name(void *arg, struct slice name,
                         struct consumer_topic *topic)
{
    int i = atoi((const char *)name.data);

    (void)arg;
    *topic = (struct consumer_topic){.partitions = 2};
    be32_put(topic->id.bytes, (uint32_t)i + 1);
    return true;
}

static struct slice many_names(void *arg, struct uuid id)
{
    static char text[MANY_TOPICS][8];
    uint32_t i = be32_get(id.bytes) - 1;

    (void)arg;
    snprintf(text[i], sizeof text[i], "%u", (unsigned)i);
    return slice_str(text[i]);
}

/* An empty group with states of many topics. */
static void settle_many(struct slice *names)
{
    struct share_group_heartbeat_request q = {
        .group_id = SLICE("g"),
        .member_id = SLICE("m"),
        .subscribed_topic_names = names,
        .subscribed_topic_names_len = MANY_TOPICS,
    };

    world_close(&w);
    world_init(&w);
    w.options.world.topic_by_name = many_by_name;
    w.options.world.topic_name = many_names;
    world_start(&w);
    for (int i = 0; i < MANY_TOPICS; i++) {
        struct uuid id = UUID_ZERO;

        be32_put(id.bytes, (uint32_t)i + 1);
        names[i] = many_names(NULL, id);
    }
    world_request(&w, API_SHARE_GROUP_HEARTBEAT, 1, &q);
    world_share_answers(&w, ERR_NONE);
    beat("m", -1);
}

/* What an answer that waits holds does not grow with their square. */
static void assert_deletes_many(int token)
{
    cr_assert_eq((int)w.asks[0]->api, API_DELETE_SHARE_GROUP_STATE);
    cr_assert_eq(w.asks[0]->items_len, 2 * MANY_TOPICS);
    world_share_answers(&w, ERR_NONE);
    cr_assert_lt(answer_of(&w, token)->arena.used_bytes, 400 * MANY_TOPICS);
}

Test(share_group, deleting_a_group_with_many_topics)
{
    struct slice names[MANY_TOPICS];

    settle_many(names);
    int token = delete_group();
    assert_deletes_many(token);
    cr_assert_err(deleted(token), ERR_NONE);
    assert_reloads();
}

Test(share_group, deleting_offsets_of_many_topics)
{
    struct slice names[MANY_TOPICS];
    struct delete_share_group_offsets_request_topic topics[MANY_TOPICS + 1];
    struct delete_share_group_offsets_request q = {SLICE("g"), topics,
                                                   MANY_TOPICS + 1};

    settle_many(names);
    for (int i = 0; i < MANY_TOPICS; i++)
        topics[i].topic_name = names[i];
    topics[MANY_TOPICS].topic_name = names[0]; /* again */
    int token = world_request(&w, API_DELETE_SHARE_GROUP_OFFSETS, 0, &q);
    assert_deletes_many(token);
    const struct delete_share_group_offsets_response *r =
        &answer_of(&w, token)->response.delete_share_group_offsets;
    cr_assert_err(r->error_code, ERR_NONE);
    for (int i = 0; i < r->responses_len; i++)
        cr_assert_err(r->responses[i].error_code, ERR_NONE);
    token = world_request(&w, API_DELETE_SHARE_GROUP_OFFSETS, 0, &q);
    cr_assert_err(answer_of(&w, token)
                      ->response.delete_share_group_offsets.responses[0]
                      .error_code,
                  ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_reloads();
}

Test(share_group, a_deletion_that_fails_is_gone_on_with)
{
    settled("m");
    beat("m", -1);
    int token = delete_group();
    world_share_answers(&w, ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_err(deleted(token), ERR_COORDINATOR_NOT_AVAILABLE);
    world_fail_over(&w);
    cr_assert_eq((int)w.asks[0]->api, API_DELETE_SHARE_GROUP_STATE);
    world_share_answers(&w, ERR_NONE);
    cr_assert_err(deleted(delete_group()), ERR_NONE);
}

/* Another coordinator may lead without the record, and for that one what would
 * be deleted is there. */
Test(share_group, nothing_is_deleted_before_its_record_is_committed)
{
    settled("m");
    beat("m", -1);
    w.hold = true;
    delete_group();
    world_pass(&w, 20000); /* the commit takes too long, and is waited for */
    cr_assert_eq(w.asks_len, 0);
    world_commit(&w);
    world_pass(&w, 1000);
    cr_assert_eq(w.asks_len, 1);
    cr_assert_eq((int)w.asks[0]->api, API_DELETE_SHARE_GROUP_STATE);
    world_share_answers(&w, ERR_NONE);
    world_commit(&w);
}

Test(share_group, nor_by_the_next_coordinator)
{
    settled("m");
    beat("m", -1);
    w.hold = true;
    delete_group();
    world_fail_over(&w);
    cr_assert_eq(w.asks_len, 0);
    world_commit(&w);
    cr_assert_eq(w.asks_len, 1);
    cr_assert_eq((int)w.asks[0]->api, API_DELETE_SHARE_GROUP_STATE);
    world_share_answers(&w, ERR_NONE);
    world_commit(&w);
}

Test(share_group, who_joins_during_a_deletion_gets_all_anew)
{
    settled("m");
    beat("m", -1);
    int token = delete_group();
    int32_t epoch = epoch_of(beat("n", 0));
    world_share_answers(&w, ERR_NONE);
    cr_assert_err(deleted(token), ERR_NON_EMPTY_GROUP);
    assert_gets("n", epoch, "0 1 2");
}

static int alter(int64_t start)
{
    struct alter_share_group_offsets_request_partition p[] = {{0, start},
                                                              {7, 1}};
    struct alter_share_group_offsets_request_topic t = {SLICE("t"), p, 2};
    struct alter_share_group_offsets_request q = {SLICE("g"), &t, 1};

    return world_request(&w, API_ALTER_SHARE_GROUP_OFFSETS, 0, &q);
}

Test(share_group, a_start_is_set_with_a_new_epoch)
{
    int32_t epoch = settled("m");

    cr_assert_err(
        answer_of(&w, alter(4))->response.alter_share_group_offsets.error_code,
        ERR_NON_EMPTY_GROUP);
    beat("m", -1);
    int token = alter(4);
    cr_assert_eq(w.asks[0]->items_len, 1);
    cr_assert_eq(w.asks[0]->items[0].start_offset, 4);
    cr_assert_gt(w.asks[0]->items[0].state_epoch, epoch);
    world_share_answers(&w, ERR_NONE);
    const struct alter_share_group_offsets_response *r =
        &answer_of(&w, token)->response.alter_share_group_offsets;
    cr_assert_err(r->error_code, ERR_NONE);
    cr_assert_err(r->responses[0].partitions[0].error_code, ERR_NONE);
    cr_assert_err(r->responses[0].partitions[1].error_code,
                  ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_reloads();
}

static enum err altered(int token)
{
    return (enum err)answer_of(&w, token)
        ->response.alter_share_group_offsets.error_code;
}

/* Nothing begins anew at the group's default, and members get all of it. */
static void assert_stays_as_it_is(void)
{
    while (w.asks_len > 0) {
        cr_assert_eq(w.asks[0]->items_len, 0);
        world_share_answers(&w, ERR_NONE);
    }
    char *text = dump();
    cr_assert_null(strstr(text, "initializing"), "%s", text);
    free(text);
    beat("m", 0);
    cr_assert_eq(w.asks_len, 0);
    world_pass(&w, 1000);
    cr_assert_str_eq(given(beat("m", 0)), "0 1 2");
    assert_reloads();
}

Test(share_group, a_start_that_cannot_be_set_changes_nothing)
{
    settled("m");
    beat("m", -1);
    int token = alter(4);
    world_share_answers(&w, ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_err(altered(token), ERR_COORDINATOR_NOT_AVAILABLE);
    world_pass(&w, 30000);
    assert_stays_as_it_is();
}

Test(share_group, the_next_coordinator_does_not_know_a_start)
{
    settled("m");
    beat("m", -1);
    alter(4);
    share_group_ask_free(w.asks[--w.asks_len]);
    world_fail_over(&w);
    assert_stays_as_it_is();
}

Test(share_group, a_start_is_set_once_more)
{
    settled("m");
    beat("m", -1);
    alter(4);
    world_share_answers(&w, ERR_COORDINATOR_NOT_AVAILABLE);
    int token = alter(5);
    cr_assert_eq(w.asks[0]->items_len, 1);
    cr_assert_eq(w.asks[0]->items[0].start_offset, 5);
    world_share_answers(&w, ERR_NONE);
    cr_assert_err(altered(token), ERR_NONE);
    world_pass(&w, 30000);
    assert_stays_as_it_is();
}

Test(share_group, a_group_is_made_by_its_start)
{
    w.hold = true;
    int token = alter(4);
    cr_assert_eq(w.asks_len, 0, "its record is not committed");
    w.hold = false;
    world_commit(&w);
    cr_assert_eq(w.asks_len, 1);
    cr_assert_eq(w.asks[0]->items_len, 1);
    cr_assert_eq(w.asks[0]->items[0].start_offset, 4);
    cr_assert_not(answered(&w, token));
    world_share_answers(&w, ERR_NONE);
    cr_assert_err(altered(token), ERR_NONE);
    assert_reloads();
    int32_t epoch = epoch_of(beat("m", 0));
    cr_assert_eq(w.asks[0]->items_len, 2, "the others");
    cr_assert_gt(epoch, 1);
    world_share_answers(&w, ERR_NONE);
}

static void assert_nothing(void)
{
    char *text = dump();

    cr_assert_str_eq(text, "");
    free(text);
}

Test(share_group, a_group_that_cannot_be_made_is_not_there)
{
    struct alter_share_group_offsets_request none = {SLICE("g"), NULL, 0};

    w.append_err = ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_err(altered(alter(4)), ERR_COORDINATOR_NOT_AVAILABLE);
    assert_nothing();
    cr_assert_eq(group_shard_next_deadline(w.shard), INT64_MAX);
    w.append_err = ERR_NONE;
    cr_assert_err(
        altered(world_request(&w, API_ALTER_SHARE_GROUP_OFFSETS, 0, &none)),
        ERR_NONE);
    cr_assert_err(altered(alter(-5)), ERR_NONE);
    assert_nothing();
    cr_assert_eq(w.asks_len, 0);
}

static void reopen_with_room_for(size_t bytes)
{
    world_close(&w);
    world_init(&w);
    w.options.share.members_max_bytes = bytes;
    world_start(&w);
}

Test(share_group, groups_without_members_are_counted)
{
    struct share_group_heartbeat_request q = {.subscribed_topic_names_len = 1};
    static struct slice names = SLICE("t");
    char id[4000];
    enum err err = ERR_NONE;
    int made = 0;

    reopen_with_room_for(40000);
    memset(id, 'g', sizeof id);
    q.group_id = slice_of(id, sizeof id);
    q.member_id = SLICE("m");
    q.subscribed_topic_names = &names;
    for (; made < 100; made++, id[0]++) {
        q.member_epoch = 0;
        err =
            (enum err)told(world_request(&w, API_SHARE_GROUP_HEARTBEAT, 1, &q))
                ->error_code;
        if (err != ERR_NONE)
            break;
        q.member_epoch = -1;
        world_request(&w, API_SHARE_GROUP_HEARTBEAT, 1, &q);
        world_share_answers(&w, ERR_NONE);
    }
    cr_assert_err(err, ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert(made > 2 && made < 10, "%d", made);
    assert_reloads();
}

Test(share_group, groups_that_are_made_by_their_start_are_counted)
{
    reopen_with_room_for(100);
    cr_assert_err(altered(alter(4)), ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_eq(w.asks_len, 0);
    assert_nothing();
}

Test(share_group, a_start_takes_no_name)
{
    char id[128];

    make_stable(&w, "g", id);
    cr_assert_err(altered(alter(4)), ERR_GROUP_ID_NOT_FOUND);
    LEAVE(&w, .group = "g", .member = id);
    cr_assert_err(altered(alter(4)), ERR_GROUP_ID_NOT_FOUND);
    assert_nothing();
}

Test(share_group, a_group_that_is_not_there_has_no_offsets)
{
    int32_t partitions[] = {0, 7};
    struct describe_share_group_offsets_request_topic t = {SLICE("t"),
                                                           partitions, 2};
    struct describe_share_group_offsets_request_group g = {
        .group_id = SLICE("g"), .topics = &t, .topics_len = 1};
    struct describe_share_group_offsets_request q = {&g, 1};
    int some = world_request(&w, API_DESCRIBE_SHARE_GROUP_OFFSETS, 0, &q);
    const struct describe_share_group_offsets_response_group *r =
        &answer_of(&w, some)->response.describe_share_group_offsets.groups[0];

    cr_assert_err(r->error_code, ERR_NONE);
    cr_assert_eq(r->topics[0].partitions[0].start_offset, -1);
    cr_assert_err(r->topics[0].partitions[0].error_code, ERR_NONE);
    cr_assert_err(r->topics[0].partitions[1].error_code,
                  ERR_UNKNOWN_TOPIC_OR_PARTITION);
    g.topics_len = -1;
    int all = world_request(&w, API_DESCRIBE_SHARE_GROUP_OFFSETS, 0, &q);
    r = &answer_of(&w, all)->response.describe_share_group_offsets.groups[0];
    cr_assert_err(r->error_code, ERR_NONE);
    cr_assert_eq(r->topics_len, 0);
}

Test(share_group, offsets_are_what_share_coordinators_say)
{
    struct describe_share_group_offsets_request_group g = {
        .group_id = SLICE("g"), .topics_len = -1};
    struct describe_share_group_offsets_request q = {&g, 1};

    settled("m");
    int token = world_request(&w, API_DESCRIBE_SHARE_GROUP_OFFSETS, 0, &q);
    cr_assert_eq((int)w.asks[0]->api, API_READ_SHARE_GROUP_STATE_SUMMARY);
    world_share_answers(&w, ERR_NONE);
    const struct describe_share_group_offsets_response_group *r =
        &answer_of(&w, token)->response.describe_share_group_offsets.groups[0];
    cr_assert_eq(r->topics_len, 1);
    cr_assert_eq(r->topics[0].partitions_len, 3);
    cr_assert_eq(r->topics[0].partitions[2].start_offset, 12);
    cr_assert_eq(r->topics[0].partitions[2].lag, 2, "complete deliveries");
}

Test(share_group, a_partition_that_is_named_again_and_again)
{
    enum { MANY = 1000 };
    static int32_t partitions[MANY];
    struct describe_share_group_offsets_request_topic t = {SLICE("t"),
                                                           partitions, MANY};
    struct describe_share_group_offsets_request_group g = {
        .group_id = SLICE("g"), .topics = &t, .topics_len = 1};
    struct describe_share_group_offsets_request q = {&g, 1};

    settled("m");
    int token = world_request(&w, API_DESCRIBE_SHARE_GROUP_OFFSETS, 0, &q);
    cr_assert_leq(w.asks[0]->items_len, 3);
    world_share_answers(&w, ERR_NONE);
    const struct describe_share_group_offsets_response_group *r =
        &answer_of(&w, token)->response.describe_share_group_offsets.groups[0];
    cr_assert_eq(r->topics[0].partitions_len, MANY);
    cr_assert_eq(r->topics[0].partitions[0].start_offset, 10);
    cr_assert_err(r->topics[0].partitions[MANY - 1].error_code,
                  ERR_INVALID_REQUEST);
}

static enum err described(int token)
{
    return (enum err)answer_of(&w, token)
        ->response.describe_share_group_offsets.groups[0]
        .error_code;
}

Test(share_group, a_group_that_is_named_again_and_again)
{
    struct describe_share_group_offsets_request_group g = {
        .group_id = SLICE("g"), .topics_len = -1};
    struct describe_share_group_offsets_request q = {&g, 1};
    int tokens[4];

    world_close(&w);
    world_init(&w);
    w.options.share.describing_max = 6;
    world_start(&w);
    settled("m");
    for (int i = 0; i < 4; i++)
        tokens[i] = world_request(&w, API_DESCRIBE_SHARE_GROUP_OFFSETS, 0, &q);
    cr_assert_eq(w.asks_len, 2);
    cr_assert_err(described(tokens[2]), ERR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_err(described(tokens[3]), ERR_COORDINATOR_NOT_AVAILABLE);
    world_share_answers(&w, ERR_NONE);
    world_share_answers(&w, ERR_NONE);
    cr_assert_err(described(tokens[0]), ERR_NONE);
    cr_assert_err(described(tokens[1]), ERR_NONE);
    tokens[2] = world_request(&w, API_DESCRIBE_SHARE_GROUP_OFFSETS, 0, &q);
    world_share_answers(&w, ERR_NONE);
    cr_assert_err(described(tokens[2]), ERR_NONE);
}

Test(share_group, who_waits_hears_of_the_end)
{
    struct describe_share_group_offsets_request_group g = {
        .group_id = SLICE("g"), .topics_len = -1};
    struct describe_share_group_offsets_request q = {&g, 1};

    settled("m");
    beat("m", -1);
    int deletion = delete_group();
    int offsets = world_request(&w, API_DESCRIBE_SHARE_GROUP_OFFSETS, 0, &q);
    struct share_group_ask *first = w.asks[0];
    w.asks[0] = w.asks[1];
    w.asks_len = 1;
    world_fail_over(&w);
    cr_assert_err(deleted(deletion), ERR_NOT_COORDINATOR);
    share_group_ask_free(first);
    world_share_answers(&w, ERR_NONE);
    cr_assert(answered(&w, offsets));
    while (w.asks_len > 0)
        world_share_answers(&w, ERR_NONE);
}
