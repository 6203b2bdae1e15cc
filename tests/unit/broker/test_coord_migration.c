/* Groups that change between the classic and the new protocol while they have
 * members (KIP-848): both ways, the classic protocol in a consumer group, and
 * what survives. */
#include "tests/unit/broker/migration_kit.h"

#include "proto/kafka/coordinator_record.h"
#include "proto/record/builder.h"

TestSuite(migration, .init = open_world, .fini = close_world);

/* ---- upgrade -------------------------------------------------------------*/

Test(migration, a_member_of_the_new_protocol_makes_it_a_consumer_group)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};

    make_classic(&a, &b);
    int batches = w.batches_len;
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(w.batches_len, batches + 1, "one write");
    cr_assert_eq(m.generation, a.generation + 1);
    cr_assert_eq(m.has, 0, "all is taken");
    cr_assert_str_eq(listed(), "g/consumer/Reconciling");
    cr_assert_reloads();
    cr_assert_err(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    cr_assert_err(heartbeat(&b), ERR_REBALANCE_IN_PROGRESS);
    rejoin(&b);
    cr_assert_eq(b.has, 4, "nothing moves that need not");
    rejoin(&a);
    cr_assert_eq(__builtin_popcount(a.has), 1);
    cr_assert_eq(a.generation, m.generation);
    cr_assert_reloads();
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(m.has, 3 & ~a.has);
    cr_assert_err(heartbeat(&a), ERR_NONE);
    cr_assert_str_eq(listed(), "g/consumer/Stable");
    cr_assert_reloads();
}

Test(migration, who_waits_in_the_classic_group_joins_again)
{
    struct client a = {0}, b = {0}, c = {0}, m = {.id = "m"};

    make_classic(&a, &b);
    a.has = b.has = 0;
    int first = send_join(&c), second = send_join(&a);
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_err(join_of(&w, first)->error_code, ERR_REBALANCE_IN_PROGRESS);
    cr_assert_err(join_of(&w, second)->error_code, ERR_REBALANCE_IN_PROGRESS);
    rejoin(&a);
    rejoin(&c); /* it never had an id */
    cr_assert_str_eq(listed(), "g/consumer/Assigning");
}

Test(migration, assignments_on_their_way_are_not_handed_out)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};
    int first = send_join(&a), second = send_join(&b);

    world_pass(&w, 2 * w.options.coord.group_initial_rebalance_delay_ms);
    cr_assert_err(take_join(&a, first), ERR_NONE);
    cr_assert_err(take_join(&b, second), ERR_NONE);
    int waiting = SYNC(&w, .member = b.id, .generation = b.generation);
    w.hold = true;
    int leader = SYNC(&w, .member = a.id, .generation = a.generation,
                      .assign = {a.id, "x"});
    int joins = send_beat(&m, false);
    cr_assert_err(sync_of(&w, waiting)->error_code, ERR_REBALANCE_IN_PROGRESS);
    cr_assert_err(sync_of(&w, leader)->error_code, ERR_REBALANCE_IN_PROGRESS);
    world_commit(&w);
    cr_assert_err(beat_of(&w, joins)->error_code, ERR_NONE);
    cr_assert_eq(
        beat_of(&w, joins)->assignment->topic_partitions[0].partitions_len, 1,
        "nobody had anything");
}

Test(migration, a_cooperative_member_owns_what_it_said_while_it_rebalances)
{
    struct client a = {.cooperative = true}, b = {.cooperative = true};
    struct client m = {.id = "m"};

    make_classic(&a, &b);
    int first = send_join(&a), second = send_join(&b);
    cr_assert_err(take_join(&a, first), ERR_NONE);
    cr_assert_err(take_join(&b, second), ERR_NONE);
    /* The assignments of this generation never come. */
    JOIN(&w, .member = a.id, .subscription = subscription(&a),
         .protocol2 = "roundrobin");
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(m.has, 0, "a and b have all of them");
}

Test(migration, a_partition_that_two_were_assigned_has_one_owner)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};
    int first = send_join(&a), second = send_join(&b);

    world_pass(&w, 2 * w.options.coord.group_initial_rebalance_delay_ms);
    cr_assert_err(take_join(&a, first), ERR_NONE);
    cr_assert_err(take_join(&b, second), ERR_NONE);
    lead(&a, &b, assignment(1u | 1u << 31, NULL), assignment(3, NULL));
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(m.has, 4, "only this one was nobody's");
    cr_assert_reloads();
}

Test(migration, a_group_without_assignments_is_taken_over)
{
    struct client a = {0}, m = {.id = "m"};

    int waiting = send_join(&a);
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(m.generation, 1);
    cr_assert_err(join_of(&w, waiting)->error_code, ERR_REBALANCE_IN_PROGRESS);
    cr_assert_str_eq(listed(), "g/consumer/Reconciling");
    cr_assert_reloads();
    /* Nothing of the classic group goes on. */
    int64_t end = w.end_offset;
    world_pass(&w, 2 * w.options.coord.group_initial_rebalance_delay_ms);
    cr_assert_eq(w.end_offset, end);
}

/* Members have their generation, and none has its assignment yet. */
Test(migration, who_waits_for_a_first_assignment_joins_again)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};
    int first = send_join(&a), second = send_join(&b);

    world_pass(&w, 2 * w.options.coord.group_initial_rebalance_delay_ms);
    cr_assert_err(take_join(&a, first), ERR_NONE);
    cr_assert_err(take_join(&b, second), ERR_NONE);
    int waiting = SYNC(&w, .member = b.id, .generation = b.generation);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_err(sync_of(&w, waiting)->error_code, ERR_REBALANCE_IN_PROGRESS);
    cr_assert_str_eq(listed(), "g/consumer/Reconciling");
    cr_assert_reloads();
}

Test(migration, an_id_that_nobody_has_used_does_not_hinder)
{
    struct client m = {.id = "m"};

    int token = JOIN(&w, .version = 4, .subscription = subscription(&m));
    cr_assert_err(join_of(&w, token)->error_code, ERR_MEMBER_ID_REQUIRED);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(m.has, 7);
}

/* ---- upgrades that are refused -------------------------------------------*/

static void refused(void)
{
    struct client m = {.id = "m"};
    int64_t end = w.end_offset;

    cr_assert_err(beat(&m), ERR_GROUP_ID_NOT_FOUND);
    cr_assert_eq(w.end_offset, end);
    cr_assert_str_eq(listed(), "g/classic/Stable");
}

Test(migration, the_policy_decides_whether_a_group_is_upgraded)
{
    struct client a = {0}, b = {0};

    w.options.consumer.upgrade = false;
    world_fail_over(&w);
    make_classic(&a, &b);
    refused();
}

Test(migration, a_group_that_is_too_large_is_not_upgraded)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};

    w.options.consumer.group_consumer_max_size = 1;
    world_fail_over(&w);
    make_classic(&a, &b);
    refused();
    w.options.consumer.group_consumer_max_size = 2;
    world_fail_over(&w);
    cr_assert_err(beat(&m), ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_str_eq(listed(), "g/classic/Stable");
    /* Who is one of them already takes no place. */
    snprintf(m.id, sizeof m.id, "%s", a.id);
    cr_assert_err(beat(&m), ERR_NONE);
}

Test(migration, a_group_that_there_is_no_memory_for_is_not_upgraded)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};

    w.options.consumer.members_max_bytes = 1;
    world_fail_over(&w);
    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_str_eq(listed(), "g/classic/Stable");
}

static const struct {
    const char *type;
    const char *subscription; /* NULL: a good one */
    const char *assignment;   /* NULL: a good one */
    const char *user_data;
    const char *protocol; /* "range" */
} unfit[] = {
    {.type = "connect"},
    {.subscription = "m"},
    {.assignment = "x"},
    {.user_data = "mine", .protocol = "mine"},
};

Test(migration, members_that_cannot_be_understood_are_not_upgraded)
{
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++) {
        struct client a = {0};
        int token = JOIN(
            &w, .protocol = unfit[i].protocol, .type = unfit[i].type,
            .metadata = unfit[i].subscription,
            .subscription =
                unfit[i].subscription != NULL ? SLICE_NULL : subscription(&a));

        world_pass(&w, w.options.coord.group_initial_rebalance_delay_ms);
        cr_assert_err(take_join(&a, token), ERR_NONE);
        lead(&a, NULL,
             unfit[i].assignment != NULL ? slice_str(unfit[i].assignment)
                                         : assignment(1, unfit[i].user_data),
             SLICE(""));
        refused();
        LEAVE(&w, .member = a.id);
    }
}

Test(migration, data_in_assignments_of_kafkas_own_assignors_is_of_no_use)
{
    struct client a = {0}, m = {.id = "m"};
    int token = JOIN(&w, .protocol = "cooperative-sticky",
                     .subscription = subscription(&a));

    world_pass(&w, w.options.coord.group_initial_rebalance_delay_ms);
    cr_assert_err(take_join(&a, token), ERR_NONE);
    lead(&a, NULL, assignment(7, "what it had"), SLICE(""));
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_str_eq(listed(), "g/consumer/Reconciling");
}

Test(migration, a_write_that_fails_leaves_the_classic_group)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};

    make_classic(&a, &b);
    w.append_err = ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_err(beat(&m), ERR_COORDINATOR_NOT_AVAILABLE);
    w.append_err = ERR_NONE;
    cr_assert_str_eq(listed(), "g/classic/Stable");
    cr_assert_err(heartbeat(&a), ERR_NONE);
    cr_assert_err(beat(&m), ERR_NONE);
}

Test(migration, a_group_that_does_not_fit_into_a_batch_stays)
{
    struct client a = {0}, b = {0};

    make_classic(&a, &b);
    w.options.batch_max_bytes = 900;
    world_fail_over(&w);
    refused();
    cr_assert_err(heartbeat(&a), ERR_NONE);
}

Test(migration, a_heartbeat_that_does_not_join_upgrades_nothing)
{
    struct client a = {0}, b = {0}, m = {.id = "m", .generation = 1};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_GROUP_ID_NOT_FOUND);
    cr_assert_str_eq(listed(), "g/classic/Stable");
    m.generation = 0;
    cr_assert_err(beat_of(&w, BEAT(&w, .member = ""))->error_code,
                  ERR_INVALID_REQUEST);
    cr_assert_str_eq(listed(), "g/classic/Stable");
}

/* ---- the classic protocol in a consumer group ----------------------------*/

enum classic_call { CALL_JOIN, CALL_SYNC, CALL_HEARTBEAT, CALL_LEAVE };

static const struct {
    enum classic_call call;
    const char *member;   /* "a", "b", "m": of the group; else as it is */
    const char *instance; /* NULL: none */
    int32_t ahead;        /* of its generation */
    const char *type;     /* "consumer" */
    const char *protocol; /* "range" */
    int32_t session_ms;
    enum err want;
} calls[] = {
    {CALL_HEARTBEAT, .member = "a", .want = ERR_NONE},
    {CALL_HEARTBEAT, .member = "x", .want = ERR_UNKNOWN_MEMBER_ID},
    {CALL_HEARTBEAT, .member = "m", .want = ERR_UNKNOWN_MEMBER_ID},
    {CALL_HEARTBEAT, .member = "a", .ahead = 1, .want = ERR_ILLEGAL_GENERATION},
    {CALL_HEARTBEAT, .member = "a", .ahead = -1,
     .want = ERR_ILLEGAL_GENERATION},
    {CALL_HEARTBEAT, .member = "a", .instance = "i",
     .want = ERR_UNKNOWN_MEMBER_ID},
    {CALL_SYNC, .member = "a", .want = ERR_NONE},
    {CALL_SYNC, .member = "x", .want = ERR_UNKNOWN_MEMBER_ID},
    {CALL_SYNC, .member = "m", .want = ERR_UNKNOWN_MEMBER_ID},
    {CALL_SYNC, .member = "a", .ahead = 1, .want = ERR_ILLEGAL_GENERATION},
    {CALL_SYNC, .member = "a", .type = "connect",
     .want = ERR_INCONSISTENT_GROUP_PROTOCOL},
    {CALL_SYNC, .member = "a", .protocol = "sticky",
     .want = ERR_INCONSISTENT_GROUP_PROTOCOL},
    {CALL_JOIN, .member = "", .protocol = "sticky",
     .want = ERR_INCONSISTENT_GROUP_PROTOCOL},
    {CALL_JOIN, .member = "", .type = "connect",
     .want = ERR_INCONSISTENT_GROUP_PROTOCOL},
    {CALL_JOIN, .member = "", .session_ms = 1,
     .want = ERR_INVALID_SESSION_TIMEOUT},
    {CALL_JOIN, .member = "", .session_ms = 1800001,
     .want = ERR_INVALID_SESSION_TIMEOUT},
    {CALL_JOIN, .member = "a", .instance = "i", .want = ERR_UNKNOWN_MEMBER_ID},
    {CALL_LEAVE, .member = "x", .want = ERR_UNKNOWN_MEMBER_ID},
    {CALL_LEAVE, .member = "a", .instance = "i", .want = ERR_UNKNOWN_MEMBER_ID},
    {CALL_LEAVE, .member = "", .instance = "i", .want = ERR_UNKNOWN_MEMBER_ID},
    {CALL_LEAVE, .member = "a", .want = ERR_NONE},
};

static enum err call(size_t i, const struct client *who)
{
    const char *protocol =
        calls[i].protocol != NULL ? calls[i].protocol : "range";
    const char *type = calls[i].type != NULL ? calls[i].type : "consumer";
    int32_t generation = who->generation + calls[i].ahead;

    switch (calls[i].call) {
    case CALL_HEARTBEAT:
        return HEARTBEAT(&w, .member = who->id, .instance = calls[i].instance,
                         .generation = generation);
    case CALL_SYNC:
        return (enum err)sync_of(&w, SYNC(&w, .member = who->id,
                                          .instance = calls[i].instance,
                                          .type = type, .name = protocol,
                                          .generation = generation))
            ->error_code;
    case CALL_JOIN:
        return (enum err)join_of(
                   &w,
                   JOIN(&w, .member = who->id, .instance = calls[i].instance,
                        .type = type, .protocol = protocol,
                        .session_ms = calls[i].session_ms,
                        .version = calls[i].instance != NULL ? 5 : 3,
                        .subscription = subscription(who)))
            ->error_code;
    case CALL_LEAVE:
        return (enum err)leave_of(&w, LEAVE(&w, .member = who->id,
                                            .instance = calls[i].instance))
            ->members[0]
            .error_code;
    }
    return ERR_NONE;
}

Test(migration, classic_requests_are_checked_against_the_consumer_group)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct client other = {.generation = a.generation};
        const struct client *who = &other;

        snprintf(other.id, sizeof other.id, "%s", calls[i].member);
        if (strcmp(calls[i].member, "a") == 0)
            who = &a;
        else if (strcmp(calls[i].member, "m") == 0)
            who = &m;
        enum err got = call(i, who);
        cr_expect_eq(got, calls[i].want, "call %zu: %s, not %s", i,
                     err_name((int)got), err_name((int)calls[i].want));
    }
}

Test(migration, a_new_classic_member_comes_back_with_its_id)
{
    struct client a = {0}, b = {0}, m = {0}, c = {0};

    make_mixed(&a, &b, &m);
    const struct join_group_response *r =
        join_of(&w, JOIN(&w, .version = 9, .subscription = subscription(&c)));
    cr_assert_err(r->error_code, ERR_MEMBER_ID_REQUIRED);
    cr_assert_gt(r->member_id.len, 0);
    copy_id(r->member_id, c.id);
    r = join_of(&w, JOIN(&w, .version = 9, .member = c.id,
                         .subscription = subscription(&c)));
    cr_assert_err(r->error_code, ERR_NONE);
    cr_assert_text(r->member_id, c.id);
    cr_assert_text(r->protocol_type, "consumer");
    cr_assert_text(r->protocol_name, "range");
    cr_assert_eq(r->leader.len, 0);
    cr_assert_eq(r->members_len, 0);
    cr_assert_eq(r->generation_id, m.generation + 1);
}

Test(migration, a_full_group_takes_nobody)
{
    struct client a = {0}, b = {0}, m = {0}, c = {0};

    make_mixed(&a, &b, &m);
    w.options.consumer.group_consumer_max_size = 3;
    world_fail_over(&w);
    cr_assert_err(join(&c), ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_err(
        join_of(&w, JOIN(&w, .version = 9, .subscription = subscription(&c)))
            ->error_code,
        ERR_GROUP_MAX_SIZE_REACHED);
    rejoin(&a);
}

Test(migration, memory_of_classic_members_is_bounded)
{
    struct client a = {0}, b = {0}, m = {0}, c = {0};

    make_mixed(&a, &b, &m);
    w.options.consumer.members_max_bytes = 2000;
    world_fail_over(&w);
    cr_assert_err(join(&c), ERR_GROUP_MAX_SIZE_REACHED);
}

/* A subscription that becomes far more than its bytes when it is read: so many
 * empty names, and so often partition 0 of "t". */
static struct buf bloated(uint32_t names, uint32_t partitions)
{
    struct buf b = BUF_INIT;

    buf_put_u16(&b, 1);
    buf_put_u32(&b, names);
    for (uint32_t i = 0; i < names; i++)
        buf_put_u16(&b, 0);
    buf_put_u32(&b, UINT32_MAX);
    buf_put_u32(&b, 1);
    buf_put_u16(&b, 1);
    buf_put(&b, "t", 1);
    buf_put_u32(&b, partitions);
    for (uint32_t i = 0; i < partitions; i++)
        buf_put_u32(&b, 0);
    return b;
}

static const struct {
    uint32_t names, partitions;
    bool fits;
} bloats[] = {
    {.names = 900000, .partitions = 1, .fits = true},
    {.names = 1100000, .partitions = 1},
    {.names = 1, .partitions = 600000, .fits = true},
    {.names = 1, .partitions = 800000},
};

Test(migration, what_a_subscription_becomes_is_bounded)
{
    for (size_t i = 0; i < sizeof bloats / sizeof *bloats; i++) {
        struct buf b = bloated(bloats[i].names, bloats[i].partitions);
        struct client m = {.id = "m"};

        world_close(&w);
        world_open(&w);
        w.options.batch_max_bytes = 64 << 20;
        world_fail_over(&w);
        cr_assert_err(beat(&m), ERR_NONE);
        int token = JOIN(&w, .subscription = buf_slice(&b));
        cr_expect_eq(join_of(&w, token)->error_code,
                     bloats[i].fits ? ERR_NONE : ERR_GROUP_MAX_SIZE_REACHED,
                     "%zu: %s", i, err_name(join_of(&w, token)->error_code));
        buf_free(&b);
    }
}

Test(migration, what_a_subscription_becomes_is_bounded_in_an_upgrade)
{
    for (size_t i = 0; i < sizeof bloats / sizeof *bloats; i++) {
        struct buf b = bloated(bloats[i].names, bloats[i].partitions);
        struct client a = {0}, m = {.id = "m"};

        world_close(&w);
        world_open(&w);
        w.options.batch_max_bytes = 64 << 20;
        world_fail_over(&w);
        int token = JOIN(&w, .subscription = buf_slice(&b));
        world_pass(&w, w.options.coord.group_initial_rebalance_delay_ms);
        cr_assert_err(take_join(&a, token), ERR_NONE);
        cr_expect_eq(beat(&m),
                     bloats[i].fits ? ERR_NONE : ERR_GROUP_ID_NOT_FOUND,
                     "upgrade %zu", i);
        buf_free(&b);
    }
}

/* All of what `c` has is given up before anybody else has it. */
Test(migration, an_eager_member_gives_up_by_joining)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(m.has, 0);
    a.has = 0;
    int token = send_join(&a);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(__builtin_popcount(m.has), 1, "free since it joined");
    cr_assert_err(take_join(&a, token), ERR_NONE);
    cr_assert_err(sync(&a), ERR_NONE);
    cr_assert_eq(a.has & m.has, 0);
}

Test(migration, a_cooperative_member_gives_up_after_it_was_told)
{
    struct client a = {.cooperative = true}, b = {.cooperative = true};
    struct client m = {.id = "m"};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    int32_t before = a.generation;
    cr_assert_err(join(&a), ERR_NONE);
    cr_assert_eq(a.generation, before, "it is not there yet");
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(m.has, 0, "it has not been told yet");
    cr_assert_err(sync(&a), ERR_NONE);
    cr_assert_eq(__builtin_popcount(a.has), 1);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(m.has, 0, "it has not said that it gave up");
    cr_assert_err(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    cr_assert_reloads();
    rejoin(&a);
    cr_assert_eq(a.generation, m.generation);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(m.has | a.has, 3);
    cr_assert_err(heartbeat(&a), ERR_NONE);
}

Test(migration, a_member_that_waits_for_others_is_told_when_they_gave_up)
{
    struct client a = {0}, b = {0}, m = {0}, c = {0};

    make_mixed(&a, &b, &m);
    cr_assert_err(beat_of(&w, send_beat(&m, true))->error_code, ERR_NONE);
    m = (struct client){.id = "m"};
    /* `m` has come back to a group that is classic again. */
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
    cr_assert_err(beat(&m), ERR_NONE);
    rejoin(&a);
    rejoin(&b);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_err(join(&c), ERR_NONE);
    cr_assert_err(sync(&c), ERR_NONE);
    cr_assert_err(heartbeat(&c), ERR_NONE);
    cr_assert_eq(a.has & b.has, 0);
}

Test(migration, offsets_are_committed_with_the_epoch_as_generation)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    cr_assert_err(commit_of(&w, COMMIT(&w, .member = a.id, .version = 2,
                                       .generation = a.generation)),
                  ERR_NONE);
    cr_assert_err(commit_of(&w, COMMIT(&w, .member = a.id,
                                       .generation = a.generation - 1)),
                  ERR_ILLEGAL_GENERATION);
    cr_assert_err(commit_of(&w, COMMIT(&w, .member = a.id,
                                       .generation = a.generation + 1)),
                  ERR_ILLEGAL_GENERATION);
    cr_assert_err(
        commit_of(&w, COMMIT(&w, .member = "x", .generation = a.generation)),
        ERR_UNKNOWN_MEMBER_ID);
    cr_assert_err(commit_of(&w, COMMIT(&w, .member = m.id, .version = 8,
                                       .generation = m.generation)),
                  ERR_UNSUPPORTED_VERSION);
}

static enum err fetch_as(const char *member, int32_t epoch)
{
    struct offset_fetch_request_group group = {.group_id = SLICE("g"),
                                               .member_id = slice_str(member),
                                               .member_epoch = epoch,
                                               .topics_len = -1};
    struct offset_fetch_request q = {.groups = &group, .groups_len = 1};

    return (enum err)fetch_of(&w, world_request(&w, API_OFFSET_FETCH, 9, &q))
        ->error_code;
}

Test(migration, offsets_are_fetched_with_the_epoch_as_generation)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    cr_assert_err(fetch_as(a.id, a.generation), ERR_NONE);
    cr_assert_err(fetch_as(NULL, -1), ERR_NONE);
    cr_assert_err(fetch_as(a.id, a.generation + 1), ERR_ILLEGAL_GENERATION);
    cr_assert_err(fetch_as(m.id, m.generation + 1), ERR_STALE_MEMBER_EPOCH);
    cr_assert_err(fetch_as("x", 1), ERR_UNKNOWN_MEMBER_ID);
}

Test(migration, nobody_joins_before_a_target_may_be_computed)
{
    struct client a = {0}, b = {0}, m = {.id = "m"}, c = {0};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    rejoin(&a);
    rejoin(&b);
    rejoin(&c);
    cr_assert_eq(c.generation, a.generation, "it has the target of before");
    cr_assert_eq(c.has, 0);
    cr_assert_err(heartbeat(&a), ERR_NONE);
    cr_assert_err(heartbeat(&c), ERR_NONE);
    world_pass(&w, 1000);
    cr_assert_err(heartbeat(&c), ERR_REBALANCE_IN_PROGRESS);
    cr_assert_err(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
}

Test(migration, topics_that_change_are_noticed_by_a_classic_heartbeat)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    w.topic_partitions = 6;
    group_shard_topic_changed(w.shard, SLICE("t"), ++w.topics_version, w.time);
    cr_assert_err(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    world_pass(&w, 1000);
    rejoin(&a);
    cr_assert_eq(__builtin_popcount(a.has), 2);
}

Test(migration, described_by_both_apis)
{
    struct client a = {0}, b = {0}, m = {0};
    struct slice id = SLICE("g");
    struct consumer_group_describe_request q = {.group_ids = &id,
                                                .group_ids_len = 1};

    make_mixed(&a, &b, &m);
    cr_assert_str_eq(state_of(&w, "g"), "Dead");
    const struct consumer_group_describe_response *r =
        &answer_of(&w, world_request(&w, API_CONSUMER_GROUP_DESCRIBE, 1, &q))
             ->response.consumer_group_describe;
    cr_assert_text(r->groups[0].group_state, "Stable");
    cr_assert_eq(r->groups[0].members_len, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(r->groups[0].members[i].member_type,
                     slice_eq_str(r->groups[0].members[i].member_id, "m"));
}

/* ---- time ----------------------------------------------------------------*/

/* Lets time pass while these two live. */
static void pass(int64_t ms, struct client *one, struct client *two)
{
    for (int64_t t = 0; t < ms; t += 5000) {
        world_pass(&w, 5000);
        if (one != NULL)
            heartbeat(one);
        if (two != NULL)
            beat(two);
    }
}

static uint32_t size(void)
{
    struct slice id = SLICE("g");
    struct consumer_group_describe_request q = {.group_ids = &id,
                                                .group_ids_len = 1};

    return (uint32_t)answer_of(
               &w, world_request(&w, API_CONSUMER_GROUP_DESCRIBE, 1, &q))
        ->response.consumer_group_describe.groups[0]
        .members_len;
}

Test(migration, a_classic_member_has_its_own_session)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    world_fail_over(&w);
    pass(10000, &a, &m);
    cr_assert_eq(size(), 2, "b was silent for its 10 s");
    cr_assert_err(heartbeat(&b), ERR_UNKNOWN_MEMBER_ID);
}

Test(migration, a_member_that_does_not_join_again_is_removed)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    rejoin(&b);
    for (int i = 0; i < 11; i++) {
        cr_assert_err(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
        pass(5000, &b, &m);
    }
    cr_assert_eq(size(), 3);
    cr_assert_err(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    pass(5000, &b, &m);
    cr_assert_eq(size(), 2, "its rebalance timeout of 60 s is over");
    cr_assert_err(heartbeat(&a), ERR_UNKNOWN_MEMBER_ID);
}

Test(migration, a_member_that_does_not_sync_is_removed)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    cr_assert_err(join(&b), ERR_NONE);
    for (int i = 0; i < 11; i++) {
        cr_assert_err(heartbeat(&b), ERR_NONE);
        pass(5000, &a, &m);
    }
    cr_assert_eq(size(), 3);
    cr_assert_err(heartbeat(&b), ERR_NONE);
    pass(5000, &a, &m);
    cr_assert_eq(size(), 2);
    cr_assert_err(heartbeat(&b), ERR_UNKNOWN_MEMBER_ID);
}

Test(migration, timers_begin_anew_with_a_new_coordinator)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_err(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    world_fail_over(&w);
    pass(9000, NULL, &m);
    cr_assert_eq(size(), 1, "both were silent");
}

/* ---- static members ------------------------------------------------------*/

Test(migration, a_static_member_changes_its_protocol)
{
    struct client a = {.instance = "i"}, b = {0};
    struct client m = {.id = "m", .instance = "i"};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_eq(size(), 2, "in the place of a");
    cr_assert_err(heartbeat(&a), ERR_FENCED_INSTANCE_ID);
    cr_assert_eq(m.has, 3);
    rejoin(&b);
    cr_assert_reloads();
    /* And back, when it is the last one of the new protocol. */
    struct client back = {.instance = "i"};
    cr_assert_err(join(&back), ERR_NONE);
    cr_assert_str_eq(listed(), "g/classic/Stable");
    cr_assert_reloads();
    cr_assert_eq(back.generation, b.generation);
    cr_assert_err(heartbeat(&b), ERR_NONE);
    cr_assert_err(sync(&back), ERR_NONE);
    cr_assert_eq(back.has, 3);
    cr_assert_err(beat(&m), ERR_GROUP_ID_NOT_FOUND);
}

Test(migration, a_classic_static_member_takes_its_own_place)
{
    struct client a = {.instance = "i"}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    struct client again = {.instance = "i"};
    cr_assert_err(join(&again), ERR_NONE);
    cr_assert_str_neq(again.id, a.id);
    cr_assert_eq(again.generation, a.generation);
    cr_assert_err(sync(&again), ERR_NONE);
    cr_assert_eq(again.has, a.has);
    cr_assert_err(heartbeat(&a), ERR_FENCED_INSTANCE_ID);
    cr_assert_err(sync(&a), ERR_FENCED_INSTANCE_ID);
    cr_assert_err(join(&a), ERR_FENCED_INSTANCE_ID);
    cr_assert_reloads();
    cr_assert_err(
        leave_of(&w, LEAVE(&w, .instance = "i"))->members[0].error_code,
        ERR_NONE);
    cr_assert_eq(size(), 2);
}

/* ---- downgrade -----------------------------------------------------------*/

/* `a` and `b` are a classic group again, and get there. */
static void cr_assert_classic_again(struct client *a, struct client *b)
{
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
    cr_assert_err(heartbeat(a), ERR_REBALANCE_IN_PROGRESS);
    cr_assert_err(heartbeat(b), ERR_REBALANCE_IN_PROGRESS);
    int32_t before = a->generation;
    int first = send_join(a), second = send_join(b);
    cr_assert_err(take_join(a, first), ERR_NONE);
    cr_assert_err(take_join(b, second), ERR_NONE);
    cr_assert_eq(a->generation, before + 1);
    lead(a, b, assignment(3, NULL), assignment(4, NULL));
    cr_assert_err(sync(b), ERR_NONE);
    cr_assert_str_eq(listed(), "g/classic/Stable");
}

Test(migration, without_members_of_the_new_protocol_it_is_classic_again)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    int batches = w.batches_len;
    leave_new(&m);
    cr_assert_eq(w.batches_len, batches + 1, "one write");
    cr_assert_classic_again(&a, &b);
    cr_assert_reloads();
    cr_assert_eq(fetched(&w, "g", 0), -1);
}

Test(migration, a_new_coordinator_begins_the_rebalance_anew)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    leave_new(&m);
    world_fail_over(&w);
    cr_assert_classic_again(&a, &b);
    world_fail_over(&w);
    cr_assert_str_eq(listed(), "g/classic/Stable");
}

Test(migration, a_member_that_is_silent_ends_it_too)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    for (int i = 0; i < 9; i++) {
        world_pass(&w, 5000);
        if (i < 8) {
            cr_assert_err(heartbeat(&a), ERR_NONE);
            cr_assert_err(heartbeat(&b), ERR_NONE);
        }
    }
    cr_assert_classic_again(&a, &b);
}

Test(migration, an_administrator_removes_the_last_of_the_new_protocol)
{
    struct client a = {.instance = "i"}, b = {0}, c = {0};
    struct client m = {.id = "m", .instance = "i"};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    rejoin(&b);
    world_pass(&w, 1000);
    rejoin(&c);
    const struct leave_group_response *r =
        leave_of(&w, LEAVE(&w, .instance = "i", .member2 = c.id));
    cr_assert_err(r->members[0].error_code, ERR_NONE);
    cr_assert_err(r->members[1].error_code, ERR_NONE);
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
    cr_assert_err(heartbeat(&c), ERR_UNKNOWN_MEMBER_ID);
}

Test(migration, nobody_is_left_of_a_group_that_all_leave)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    LEAVE(&w, .member = a.id, .member2 = b.id);
    cr_assert_str_eq(listed(), "g/consumer/Assigning");
    leave_new(&m);
    cr_assert_str_eq(listed(), "g/consumer/Empty");
    cr_assert_reloads();
}

Test(migration, who_is_named_twice_leaves_once)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    LEAVE(&w, .member = a.id, .member2 = a.id);
    cr_assert_str_eq(listed(), "g/consumer/Assigning");
    cr_assert_eq(size(), 2);
}

Test(migration, the_policy_decides_whether_a_group_is_downgraded)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    w.options.consumer.downgrade = false;
    world_fail_over(&w);
    leave_new(&m);
    cr_assert_str_eq(listed(), "g/consumer/Assigning");
    cr_assert_err(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    world_pass(&w, 1000);
    rejoin(&a);
    rejoin(&b);
    cr_assert_eq(a.has | b.has, 7, "without the new protocol");
    cr_assert_str_eq(listed(), "g/consumer/Stable");
    cr_assert_reloads();
}

Test(migration, a_group_that_is_too_large_is_not_downgraded)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    w.options.consumer.group_max_size = 1;
    world_fail_over(&w);
    leave_new(&m);
    cr_assert_str_eq(listed(), "g/consumer/Assigning");
}

/* `a` and `b` have all of it, in a consumer group. */
static void cr_assert_still_consumers(struct client *a, struct client *b)
{
    cr_assert_eq(size(), 2);
    cr_assert_str_eq(listed(), "g/consumer/Assigning");
    world_pass(&w, 1000);
    rejoin(a);
    rejoin(b);
    cr_assert_eq(a->has | b->has, 7);
    cr_assert_str_eq(listed(), "g/consumer/Stable");
    cr_assert_reloads();
}

Test(migration, a_downgrade_that_does_not_fit_into_a_batch_is_none)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    w.options.batch_max_bytes = 600;
    world_fail_over(&w);
    leave_new(&m);
    cr_assert_still_consumers(&a, &b);
    /* Nor is it one when somebody else goes, until there is room. */
    rejoin(&m);
    LEAVE(&w, .member = m.id);
    cr_assert_str_eq(listed(), "g/consumer/Assigning");
    w.options.batch_max_bytes = 1 << 20;
    world_fail_over(&w);
    LEAVE(&w, .member = b.id);
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
}

Test(migration, who_is_silent_goes_where_a_downgrade_does_not_fit)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    w.options.batch_max_bytes = 600;
    world_fail_over(&w);
    for (int i = 0; i < 9; i++) {
        world_pass(&w, 5000);
        heartbeat(&a);
        heartbeat(&b);
    }
    cr_assert_still_consumers(&a, &b);
}

Test(migration, a_static_member_comes_back_where_a_downgrade_does_not_fit)
{
    struct client a = {.instance = "i"}, b = {0};
    struct client m = {.id = "m", .instance = "i"}, back = {.instance = "i"};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    rejoin(&b);
    w.options.batch_max_bytes = 600;
    world_fail_over(&w);
    rejoin(&back);
    cr_assert_eq(size(), 2);
    cr_assert_eq(back.has, 3);
    cr_assert_str_eq(listed(), "g/consumer/Stable");
    cr_assert_err(heartbeat(&b), ERR_NONE);
}

Test(migration, a_downgrade_that_cannot_be_written_is_none)
{
    struct client a = {0}, b = {0}, m = {0};

    make_mixed(&a, &b, &m);
    w.append_err = ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_err(beat_of(&w, send_beat(&m, true))->error_code,
                  ERR_COORDINATOR_NOT_AVAILABLE);
    w.append_err = ERR_NONE;
    cr_assert_str_eq(listed(), "g/consumer/Stable");
    cr_assert_err(heartbeat(&a), ERR_NONE);
    leave_new(&m);
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
}

/* It prefers a protocol that not all have. */
static const struct join_group_response *join_preferring(const char *member,
                                                         const char *instance)
{
    struct client c = {0};

    return join_of(&w, JOIN(&w, .member = member, .instance = instance,
                            .protocol = "mine", .protocol2 = "range",
                            .subscription = subscription(&c), .version = 5));
}

static enum err sync_as(const struct client *c, const char *protocol)
{
    return (enum err)sync_of(&w,
                             SYNC(&w, .member = c->id, .instance = c->instance,
                                  .generation = c->generation,
                                  .type = "consumer", .name = protocol))
        ->error_code;
}

Test(migration, who_comes_back_with_the_downgrade_hears_of_its_protocol)
{
    struct client a = {.instance = "i"}, b = {0}, back = {.instance = "i"};
    struct client m = {.id = "m", .instance = "i"};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    rejoin(&b);
    const struct join_group_response *r = join_preferring("", "i");
    cr_assert_err(r->error_code, ERR_NONE);
    cr_assert_text(r->protocol_name, "range");
    copy_id(r->member_id, back.id);
    back.generation = r->generation_id;
    cr_assert_str_eq(listed(), "g/classic/Stable");
    cr_assert_err(sync_as(&back, "range"), ERR_NONE);
}

Test(migration, who_was_told_another_protocol_before_a_downgrade_joins_again)
{
    struct client a = {0}, b = {0}, m = {0}, c = {0};

    make_mixed(&a, &b, &m);
    const struct join_group_response *r = join_preferring(a.id, NULL);
    cr_assert_text(r->protocol_name, "mine");
    cr_assert_eq(r->generation_id, a.generation);
    leave_new(&m);
    cr_assert_err(sync_as(&a, "mine"), ERR_REBALANCE_IN_PROGRESS);
    world_fail_over(&w);
    cr_assert_err(sync_as(&a, "mine"), ERR_REBALANCE_IN_PROGRESS);
    cr_assert_classic_again(&a, &b);
    /* From here on it is a classic group like any. */
    send_join(&c);
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
    cr_assert_err(sync_as(&a, "mine"), ERR_INCONSISTENT_GROUP_PROTOCOL);
}

Test(migration, who_comes_back_makes_those_join_again_who_were_told_another)
{
    struct client a = {.instance = "i"}, b = {0}, back = {.instance = "i"};
    struct client m = {.id = "m", .instance = "i"};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_err(join(&b), ERR_NONE);
    cr_assert_text(join_preferring(b.id, NULL)->protocol_name, "mine");
    cr_assert_err(join(&back), ERR_NONE);
    cr_assert_err(sync_as(&b, "mine"), ERR_REBALANCE_IN_PROGRESS);
    cr_assert_classic_again(&b, &back);
}

Test(migration, who_was_told_another_protocol_before_an_upgrade_joins_again)
{
    struct client a = {0}, b = {0}, m = {.id = "m"};
    int first = JOIN(&w, .protocol = "mine", .protocol2 = "range",
                     .subscription = subscription(&a));
    int second = send_join(&b);

    world_pass(&w, 2 * w.options.coord.group_initial_rebalance_delay_ms);
    cr_assert_text(join_of(&w, first)->protocol_name, "range");
    cr_assert_err(take_join(&a, first), ERR_NONE);
    cr_assert_err(take_join(&b, second), ERR_NONE);
    cr_assert_err(beat(&m), ERR_NONE);
    cr_assert_err(sync_as(&a, "range"), ERR_REBALANCE_IN_PROGRESS);
    cr_assert_err(sync_as(&a, "sticky"), ERR_INCONSISTENT_GROUP_PROTOCOL);
}

/* What the record says each may have is nobody else's, whenever a member asks
 * for it. */
Test(migration, a_downgrade_gives_nobody_what_another_still_has)
{
    struct client a = {.cooperative = true}, b = {.cooperative = true};
    struct client m = {.id = "m"}, c = {0};

    make_classic(&a, &b);
    cr_assert_err(beat(&m), ERR_NONE);
    world_pass(&w, 1000);
    cr_assert_err(join(&c), ERR_NONE); /* it is to have one of a's */
    leave_new(&m);
    w.options.coord.group_initial_rebalance_delay_ms = 0;
    world_fail_over(&w);
    cr_assert_err(sync(&c), ERR_REBALANCE_IN_PROGRESS);
    struct slice id = SLICE("g");
    struct describe_groups_request q = {.groups = &id, .groups_len = 1};
    const struct describe_groups_response *r =
        &answer_of(&w, world_request(&w, API_DESCRIBE_GROUPS, 5, &q))
             ->response.describe_groups;
    unsigned all = 0;
    cr_assert_eq(r->groups[0].members_len, 3);
    for (int i = 0; i < 3; i++) {
        unsigned has = mask_of(r->groups[0].members[i].member_assignment);

        cr_assert_eq(all & has, 0);
        all |= has;
    }
    cr_assert_eq(all, 7);
}

/* ---- records that nobody of ours wrote -----------------------------------*/

static void put(struct batch_builder *builder, const struct kafka_desc *key,
                const void *k, const struct kafka_desc *value, const void *v)
{
    struct buf key_bytes = BUF_INIT, value_bytes = BUF_INIT;

    cr_assert_err(coordinator_key_encode(key, k, &key_bytes), ERR_NONE);
    cr_assert_err(coordinator_value_encode(value, 0, v, &value_bytes),
                  ERR_NONE);
    batch_builder_append(builder, 7, buf_slice(&key_bytes),
                         buf_slice(&value_bytes), NULL, 0);
    buf_free(&key_bytes);
    buf_free(&value_bytes);
}

/* A member of a consumer group with metadata alone. */
static void
put_member(struct batch_builder *builder, const char *id,
           struct consumer_group_member_metadata_value_classic_member_metadata
               *classic)
{
    struct consumer_group_member_metadata_key key = {SLICE("g"), slice_str(id)};
    struct consumer_group_member_metadata_value value = {
        .rebalance_timeout_ms = 60000, .classic_member_metadata = classic};

    put(builder, &consumer_group_member_metadata_key_desc, &key,
        &consumer_group_member_metadata_value_desc, &value);
}

/* Negative times, no protocols or none in common, subscriptions that are
 * none: every request is answered, and a downgrade leaves a classic group. */
Test(migration, members_of_a_strange_log_do_no_harm)
{
    struct consumer_group_member_metadata_value_classic_protocol odd[] = {
        {SLICE("x"), SLICE("\xff")}, {SLICE("x"), SLICE("")}};
    struct consumer_group_member_metadata_value_classic_member_metadata
        nothing = {.session_timeout_ms = 60000},
        strange = {-5, odd, 2}, other = {60000, odd, 1};
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct consumer_group_metadata_key key = {SLICE("g")};
    struct consumer_group_metadata_value value = {.epoch = 3};
    struct batch_builder builder;

    odd[1].name = SLICE("y");
    batch_builder_init(&builder);
    put_member(&builder, "a", &nothing);
    put_member(&builder, "b", &strange);
    put_member(&builder, "c", &other);
    put_member(&builder, "m", NULL);
    put(&builder, &consumer_group_metadata_key_desc, &key,
        &consumer_group_metadata_value_desc, &value);
    options.base_offset = w.end_offset;
    batch_builder_finish(&builder, &options, NULL, &w.batches[w.batches_len++]);
    batch_builder_free(&builder);
    w.end_offset += 5;
    w.high_watermark = w.end_offset;
    world_fail_over(&w);
    cr_assert_eq(size(), 4);
    cr_assert_err(HEARTBEAT(&w, .member = "a", .generation = GENERATION_0),
                  ERR_ILLEGAL_GENERATION);
    for (int i = 0; i < 3; i++) {
        const char *id = (const char *[]){"a", "b", "c"}[i];
        struct sync_group_request q = {.group_id = SLICE("g"),
                                       .member_id = slice_str(id)};
        struct heartbeat_request beats = {.group_id = SLICE("g"),
                                          .member_id = slice_str(id)};

        answer_of(&w, world_request(&w, API_SYNC_GROUP, 5, &q));
        answer_of(&w, world_request(&w, API_HEARTBEAT, 4, &beats));
    }
    struct client join_me = {0};
    cr_assert_err(join(&join_me), ERR_INCONSISTENT_GROUP_PROTOCOL);
    world_pass(&w, 1); /* the one whose session is over */
    cr_assert_eq(size(), 3);
    cr_assert_err(beat_of(&w, BEAT(&w, .member = "m", .epoch = CONSUMER_LEAVES))
                      ->error_code,
                  ERR_NONE);
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
    free(dump());
    world_fail_over(&w);
    cr_assert_str_eq(listed(), "g/classic/PreparingRebalance");
    free(dump());
}
