/* Following the metadata log and the broker's life with the controller. */
#include "broker/txn_client.h"
#include "tests/unit/broker/meta_kit.h"

static void assert_has(const char *text, const char *part)
{
    cr_assert_not_null(strstr(text, part), "\"%s\" is not in:\n%s", part, text);
}

static bool is_ready_and_applied(struct kit *kit)
{
    return kit->ready && kit_is_applied(kit);
}

/* Registered, told to the shards in order, unfenced. */
Test(meta_follow, a_broker_registers_follows_and_becomes_ready)
{
    struct kit kit;

    kit_init(&kit, "log.retention.ms=5000\n");
    kit_topic(&kit, 4, "orders", 3, true);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);

    /* Topic id 4: partitions 0 and 2 belong to shard 0, 1 to shard 1.  What
     * the process before led this one leads when it has heard of its own
     * registration and that is still so. */
    cr_assert_str_eq(
        kit_text(&kit, 0),
        "broker 2 host-2:9002\n"
        "broker 3 host-3:9003\n"
        "topic orders 3\n"
        "partition orders-0 leader -1 epoch 4/7 replicas 3 isr 7 retention "
        "5000\n"
        "partition orders-2 leader 3 epoch 4/7 replicas 3 isr 7 retention "
        "5000\n"
        "broker 1 host-1:9001 fenced\n"
        "partition orders-0 leader 1 epoch 4/7 replicas 3 isr 7 retention "
        "5000\n"
        "broker 1 host-1:9001\n");
    assert_has(kit_text(&kit, 1), "partition orders-1 leader 2");
    cr_assert_geq(kit.heartbeat_applied, kit.epoch);
    cr_assert_eq(atomic_load(&kit.broker.epoch), kit.epoch);
    cr_assert_eq(kit.registrations, 1);
    cr_assert(kit.meta->follow.store.urgent, "polls wait behind logs");
    kit_free(&kit);
}

/* It was told of one controller, which knows another that is active. */
Test(meta_follow, a_controller_that_is_not_configured_is_found_through_another)
{
    struct kit kit;

    kit_init(&kit, "");
    kit.config.voters_len = 1;
    kit.controllers[0].active = false;
    kit.controllers[1].active = true;
    kit.hint = 102;
    kit.hint_port = env_listener_port(kit.controllers[1].listener);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    cr_assert_gt(kit.registrations, 0);
    cr_assert_eq(control_client_active(kit.meta->control), 102);
    kit.config.voters_len = 2;
    kit_free(&kit);
}

/* Changed settings reach the shards, of one topic or of all. */
Test(meta_follow, settings_follow_the_configs)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 1, true);
    kit_topic(&kit, 5, "other", 1, true);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    kit.shard_text[0].len = 0;
    kit_config(&kit, 2, "orders", "retention.ms", "1234");
    kit_run(&kit, kit_is_applied);
    cr_assert_str_eq(kit_text(&kit, 0), "settings retention 1234\n");

    /* The default of all brokers: not of the topic that has its own. */
    kit.shard_text[0].len = 0;
    kit_config(&kit, 4, "", "log.retention.ms", "777");
    kit_run(&kit, kit_is_applied);
    cr_assert_str_eq(kit_text(&kit, 0), "settings retention 777\n");

    kit.shard_text[0].len = 0;
    kit_config(&kit, 2, "orders", "retention.ms", NULL);
    kit_run(&kit, kit_is_applied);
    cr_assert_str_eq(kit_text(&kit, 0), "settings retention 777\n");
    kit_free(&kit);
}

/* The first settings of its own that a topic gets may come together with news
 * of a partition, or in a snapshot with them. */
Test(meta_follow, settings_follow_when_a_partition_changes_with_them)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 1, true);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    kit.shard_text[0].len = 0;
    kit.polls_held = true;
    kit_config(&kit, 2, "orders", "retention.ms", "1234");
    kit_move(&kit, 4, 0, 9, 1, 2);
    kit_release(&kit);
    kit_run(&kit, kit_is_applied);
    cr_assert_not_null(strstr(kit_text(&kit, 0), "settings retention 1234\n"),
                       "%s", kit_text(&kit, 0));
    kit_free(&kit);
}

static int beats_wanted;

static bool has_beaten(struct kit *kit)
{
    return kit->heartbeats >= beats_wanted;
}

static bool has_heard(struct kit *kit)
{
    return strstr(kit_text(kit, 0), "heard\n") != NULL;
}

/* A broker that was cut off is answered before it learns who leads by now.  As
 * long as its shards do not know either, no answer keeps its session. */
Test(meta_follow, shards_hear_of_an_answer_behind_the_metadata_it_came_with)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 1, true);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    kit.hears = true;
    kit_run(&kit, has_heard);

    kit.polls_held = true;
    kit_move(&kit, 4, 0, 9, 2, 1);
    beats_wanted = kit.heartbeats + 1;
    kit_run(&kit, has_beaten);
    kit.shard_text[0].len = 0;
    beats_wanted = kit.heartbeats + 3;
    kit_run(&kit, has_beaten);
    cr_assert_str_empty(kit_text(&kit, 0));

    kit_release(&kit);
    kit_run(&kit, has_heard);
    cr_assert_eq(strncmp(kit_text(&kit, 0), "partition orders-0 leader 2", 27),
                 0, "%s", kit_text(&kit, 0));
    kit_free(&kit);
}

static bool nothing_is_asked(struct kit *kit)
{
    return !control_call_running(&kit->meta->life.heartbeat_call);
}

static bool is_registered_again(struct kit *kit)
{
    return kit->registrations == 2 &&
           atomic_load(&kit->broker.epoch) == kit->epoch;
}

/* Nor does a registration, which may come after the end of the one before. */
Test(meta_follow, shards_hear_of_a_registration_behind_what_came_before_it)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 1, true);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    kit_run(&kit, nothing_is_asked);
    kit.hears = true;
    kit.shard_text[0].len = 0;

    kit.polls_held = true;
    kit_move(&kit, 4, 0, 9, 2, 1);
    kit.epoch = 0; /* it was unregistered */
    lifecycle_stale(kit.meta);
    kit_run(&kit, is_registered_again);
    cr_assert_str_empty(kit_text(&kit, 0));

    kit_release(&kit);
    kit_run(&kit, has_heard);
    cr_assert_eq(strncmp(kit_text(&kit, 0), "partition orders-0 leader 2", 27),
                 0, "%s", kit_text(&kit, 0));
    kit_free(&kit);
}

/* A restart knows from its disk what it knew, and asks for the rest. */
Test(meta_follow, a_restart_continues_from_the_disk)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 2, true);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    meta_stop(kit.meta);
    env_free(kit.env);
    meta_free(kit.meta);

    kit.env = env_create();
    for (int i = 0; i < KIT_SHARDS; i++)
        kit.shards[i].env = kit.env;
    for (int i = 0; i < KIT_CONTROLLERS; i++) {
        kit.controllers[i] = (struct kit_controller){.active = i == 0};
        kit_listen(&kit, i);
    }
    server_config_free(&kit.config);
    kit_load_config(&kit, "");
    int64_t known = kit.entries_len;
    kit.shard_text[0].len = 0;
    kit.first_poll_index = -1;
    kit.ready = false;
    kit_start(&kit);
    cr_assert_geq(kit.meta->image.applied_index, known - 1);
    assert_has(kit_text(&kit, 0), "partition orders-0 leader -1");
    kit_run(&kit, kit_is_ready);
    cr_assert_geq(kit.first_poll_index, known - 1);
    kit_free(&kit);
}

/* What an old image replays happened long ago: a replica that left and came
 * back has its data from after that.  Only what is still so when the
 * registration is there costs data. */
Test(meta_follow, replicas_that_left_in_the_past_are_not_dropped)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 3, true);
    kit_move(&kit, 4, 0, 8, 2, 3); /* not on 1 any more, ... */
    kit_move(&kit, 4, 0, 9, 2, 1); /* ... and back */
    kit_move(&kit, 4, 2, 8, 2, 3); /* for good */
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    cr_assert_null(strstr(kit_text(&kit, 0), "partition gone 0"), "%s",
                   kit_text(&kit, 0));
    char *gone = strstr(kit_text(&kit, 0), "partition gone 2");
    cr_assert_not_null(gone, "%s", kit_text(&kit, 0));
    cr_assert_lt(strstr(kit_text(&kit, 0), "broker 1 host-1:9001 fenced"),
                 gone);

    /* Later it is done at once. */
    kit.shard_text[0].len = 0;
    kit_move(&kit, 4, 0, 10, 2, 3);
    kit_run(&kit, kit_is_applied);
    cr_assert_str_eq(kit_text(&kit, 0), "partition gone 0\n");
    kit_free(&kit);
}

/* A list that is too long to serve has us in it even so: the data stays. */
Test(meta_follow, a_partition_with_too_many_replicas_keeps_its_data)
{
    struct kit kit;
    int32_t many[LEADER_REPLICAS_MAX + 1];

    for (int32_t i = 0; i <= LEADER_REPLICAS_MAX; i++)
        many[i] = LEADER_REPLICAS_MAX + 1 - i;
    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 3, true);
    kit_place(&kit, 4, 2, 8, many, LEADER_REPLICAS_MAX + 1);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    kit.shard_text[0].len = 0;
    kit_place(&kit, 4, 0, 8, many, LEADER_REPLICAS_MAX + 1);
    kit_run(&kit, kit_is_applied);
    cr_assert_str_empty(kit_text(&kit, 0));

    /* It is served again when the list is shorter, and gone without us. */
    kit_move(&kit, 4, 0, 9, 2, 1);
    kit_run(&kit, kit_is_applied);
    assert_has(kit_text(&kit, 0), "partition orders-0 leader 2");
    cr_assert_null(strstr(kit_text(&kit, 0), "gone"));
    kit.shard_text[0].len = 0;
    kit_move(&kit, 4, 2, 9, 2, 3);
    kit_run(&kit, kit_is_applied);
    cr_assert_str_eq(kit_text(&kit, 0), "partition gone 2\n");
    kit_free(&kit);
}

/* Too far behind: the image comes whole, and only the difference is told. */
Test(meta_follow, a_snapshot_replaces_the_image)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 1, true);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    kit.shard_text[0].len = 0;
    kit.controllers[0].active = false; /* so that it misses something */
    kit_kill(&kit.controllers[0]);
    kit_remove_topic(&kit, 4, "orders");
    kit_topic(&kit, 6, "fresh", 1, true);
    kit.log_start = kit.entries_len;
    kit.controllers[1].active = true;
    kit_run(&kit, kit_is_applied);
    cr_assert_str_eq(kit_text(&kit, 0),
                     "topic gone 4\ntopic fresh 1\npartition fresh-0 leader 1 "
                     "epoch 4/7 replicas 3 isr 7 retention 604800000\n");
    kit_free(&kit);
}

/* What clients may send says nothing of what the controllers have to tell. */
Test(meta_follow, metadata_may_be_longer_than_a_clients_request)
{
    struct kit kit;
    char *text = xmalloc(3000);

    kit_init(&kit, "socket.request.max.bytes=2000\n");
    memset(text, 'x', 2999);
    text[2999] = '\0';
    kit_config(&kit, IMAGE_RESOURCE_BROKER, "", "some.text", text);
    free(text);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    kit_free(&kit);
}

static bool second_heard(struct kit *kit)
{
    return kit->controllers[1].calls > 0;
}

/* The active controller dies: the next one hears from us long before the next
 * heartbeat is due. */
Test(meta_follow, a_killed_controller_is_left_at_once)
{
    struct kit kit;

    kit_init(&kit, "broker.heartbeat.interval.ms=4000\n");
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    int64_t before_ms = env_now_us(kit.env) / 1000;
    kit.controllers[1].active = true;
    kit_kill(&kit.controllers[0]);
    kit_run(&kit, second_heard);
    cr_assert_lt(env_now_us(kit.env) / 1000 - before_ms, 2000);
    kit_free(&kit);
}

static bool has_left(struct kit *kit) { return kit->left; }

Test(meta_follow, a_controlled_shutdown_asks_until_it_may)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    meta_shut_down(kit.meta, 10000, kit_left, &kit);
    kit_run(&kit, has_left);
    cr_assert(kit.heartbeat_wants_shutdown);
    kit_free(&kit);
}

static int64_t look_ms;

/* A registration is answered, and time has passed since. */
static bool has_registered_long_ago(struct kit *kit)
{
    if (kit->registrations == 0)
        look_ms = env_now_ms(kit->env) + 200;
    return kit->registrations != 0 && env_now_ms(kit->env) > look_ms;
}

/* The answer to a registration comes when nobody waits for it any more. */
Test(meta_follow, who_has_left_does_not_come_back)
{
    struct kit kit;

    kit_init(&kit, "");
    kit.controllers[0].active = false;
    kit_start(&kit);
    meta_shut_down(kit.meta, 50, kit_left, &kit);
    kit_run(&kit, has_left);
    kit.left = false;
    kit.controllers[0].active = true;
    kit_run(&kit, has_registered_long_ago);
    cr_assert_not(kit.left, "told twice");
    cr_assert_eq(kit.heartbeats, 0);
    kit_free(&kit);
}

static bool has_failed(struct kit *kit) { return kit->failed; }

Test(meta_follow, without_a_controller_the_start_fails_in_time)
{
    struct kit kit;

    kit_init(&kit, "initial.broker.registration.timeout.ms=300\n");
    kit.controllers[0].active = false;
    kit_start(&kit);
    kit_run(&kit, has_failed);
    cr_assert_not(kit.ready);
    kit_free(&kit);
}

/* ---- ISR proposals ------------------------------------------------------ */

static struct isr_proposal *proposal_new(void)
{
    struct isr_proposal *q = xcalloc(1, sizeof *q);

    q->topic_id = kit_uuid(4);
    q->leader_epoch = 4;
    q->partition_epoch = 7;
    q->isr_len = 2;
    q->isr[0].broker = 1;
    q->isr[1].broker = 3;
    q->isr[0].epoch = q->isr[1].epoch = -1;
    return q;
}

static void propose(struct kit *kit)
{
    meta_propose_isr(kit->meta, proposal_new());
}

static bool has_verdict(struct kit *kit) { return kit->shard_text[0].len != 0; }

/* The answer is lost twice, which says nothing: asked again until there is a
 * verdict, and nothing is told before. */
Test(meta_isr, a_lost_answer_is_no_refusal)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 1, true);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    kit.shard_text[0].len = 0;
    kit.controllers[0].drop_isr = 2;
    propose(&kit);
    kit_run(&kit, has_verdict);
    cr_assert_eq(kit.isr_calls, 3);
    /* Replicas 1, 2, 3 with 1 and 3 in sync: bits 0 and 2. */
    cr_assert_str_eq(kit_text(&kit, 0), "isr result 0 error 0 epoch 8 isr 5\n");
    kit_free(&kit);
}

Test(meta_isr, a_refusal_reaches_the_leader)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 1, true);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    kit.shard_text[0].len = 0;
    kit.isr_error = ERR_INELIGIBLE_REPLICA;
    propose(&kit);
    kit_run(&kit, has_verdict);
    cr_assert_str_eq(kit_text(&kit, 0),
                     "isr result 0 error 107 epoch 7 isr 0\n");
    kit_free(&kit);
}

/* The leader may have proposed another in-sync set at the same time, and must
 * not take this for the answer to that. */
Test(meta_isr, the_answer_to_a_hand_over_says_so)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 4, "orders", 1, true);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);
    kit.shard_text[0].len = 0;
    kit.isr_error = ERR_INELIGIBLE_REPLICA;
    struct isr_proposal *q = proposal_new();
    q->hands_over = true;
    meta_propose_isr(kit.meta, q);
    kit_run(&kit, has_verdict);
    cr_assert_str_eq(kit_text(&kit, 0),
                     "hand over, isr result 0 error 107 epoch 7 isr 0\n");
    kit_free(&kit);
}

static void send_marker(struct kit *kit, const char *topic, int32_t partition)
{
    struct txn_marker *m = xcalloc(1, sizeof *m);
    struct list markers;

    m->id = slice_str(xstrdup("payments"));
    m->topic = slice_str(xstrdup(topic));
    m->partition = partition;
    list_init(&markers);
    list_push_back(&markers, &m->link);
    txn_client_send_markers(&kit->shards[0], &markers);
}

static bool has_markers_back(struct kit *kit)
{
    size_t n = 0;

    for (int i = 0; i < KIT_SHARDS; i++)
        for (const char *at = kit_text(kit, i);
             (at = strstr(at, "marker ")) != NULL; at++)
            n++;
    return n == 3;
}

/* Or its transaction would never end. */
Test(meta_txns, a_partition_that_a_topic_made_again_has_no_more_is_gone)
{
    struct kit kit;

    kit_init(&kit, "");
    kit_topic(&kit, 2, "__transaction_state", 1, true);
    kit_topic(&kit, 4, "orders", 3, false);
    kit_remove_topic(&kit, 4, "orders");
    kit_topic(&kit, 6, "orders", 2, false);
    kit_start(&kit);
    kit_run(&kit, is_ready_and_applied);

    send_marker(&kit, "orders", 1);
    send_marker(&kit, "orders", 2);
    send_marker(&kit, "sales", 0);
    kit_run(&kit, has_markers_back);
    assert_has(kit_text(&kit, 0), "marker orders-1 again\n"
                                  "marker orders-2 gone\n"
                                  "marker sales-0 gone\n");
    kit_free(&kit);
}
