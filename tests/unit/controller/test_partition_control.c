/* AlterPartition: every check, in its order. */
#include "tests/unit/controller/desk.h"

#include <criterion/criterion.h>

static struct desk d;

static void set_up(void)
{
    desk_with_brokers(&d, 4);
    cr_assert_eq(desk_create_at(&d, "t", "1,2,3"), ERR_NONE);
}

static void tear_down(void) { desk_free(&d); }

TestSuite(partition_control, .init = set_up, .fini = tear_down, .timeout = 60);

#define ALTER(...)                                                             \
    desk_alter(&d, (struct desk_alter){.topic = "t", __VA_ARGS__})
#define SHOWS(text) cr_assert_str_eq(desk_show(&d, "t", 0), text)

Test(partition_control, the_leader_shrinks_and_expands)
{
    cr_assert_eq(ALTER(.isr = "1,3"), ERR_NONE);
    SHOWS("leader 1 epochs 0/1 replicas 1,2,3 isr 1,3");
    cr_assert_eq(ALTER(.isr = "1,3,2"), ERR_NONE);
    SHOWS("leader 1 epochs 0/2 replicas 1,2,3 isr 1,3,2");
}

/* What the leader asked for before is out of date then. */
Test(partition_control, the_same_set_has_a_new_epoch)
{
    cr_assert_eq(ALTER(.isr = "1,2,3"), ERR_NONE);
    cr_assert_eq(d.records, 1);
    SHOWS("leader 1 epochs 0/1 replicas 1,2,3 isr 1,2,3");
    cr_assert_eq(ALTER(.isr = "1", .partition_epoch_off = -1),
                 ERR_INVALID_UPDATE_VERSION);
}

Test(partition_control, unknown_topics_and_partitions)
{
    cr_assert_eq(
        desk_alter(&d,
                   (struct desk_alter){.topic = "u", .isr = "1", .sender = 1}),
        ERR_UNKNOWN_TOPIC_ID);
    cr_assert_eq(ALTER(.partition = 1, .isr = "1", .sender = 1),
                 ERR_UNKNOWN_TOPIC_OR_PARTITION);
}

Test(partition_control, epochs_tell_who_is_behind)
{
    cr_assert_eq(ALTER(.isr = "1", .leader_epoch_off = 1), ERR_NOT_CONTROLLER);
    cr_assert_eq(ALTER(.isr = "1", .partition_epoch_off = 1),
                 ERR_NOT_CONTROLLER);
    cr_assert_eq(ALTER(.isr = "1", .partition_epoch_off = -1),
                 ERR_INVALID_UPDATE_VERSION);
    desk_kill(&d, 1);
    cr_assert_eq(ALTER(.isr = "2", .leader_epoch_off = -1),
                 ERR_FENCED_LEADER_EPOCH);
    SHOWS("leader 2 epochs 1/1 replicas 1,2,3 isr 2,3");
}

Test(partition_control, only_the_leader_may_ask)
{
    cr_assert_eq(ALTER(.isr = "1,2", .sender = 2), ERR_INVALID_REQUEST);
}

Test(partition_control, impossible_sets)
{
    cr_assert_eq(ALTER(.isr = ""), ERR_INVALID_REQUEST);
    cr_assert_eq(ALTER(.isr = "2,3"), ERR_INVALID_REQUEST);
    cr_assert_eq(ALTER(.isr = "1,4"), ERR_INVALID_REQUEST);
    cr_assert_eq(ALTER(.isr = "1,2,2"), ERR_INVALID_REQUEST);
    cr_assert_eq(ALTER(.isr = "1,2", .recovering = true), ERR_INVALID_REQUEST);
    cr_assert_eq(ALTER(.isr = "1", .recovering = true), ERR_INVALID_REQUEST);
}

Test(partition_control, a_leader_with_a_damaged_log_hands_over)
{
    cr_assert_eq(ALTER(.isr = "1"), ERR_NONE);
    cr_assert_eq(ALTER(.isr = "3"), ERR_NEW_LEADER_ELECTED);
    SHOWS("leader 3 epochs 1/2 replicas 1,2,3 isr 3 recovering");
}

Test(partition_control, nobody_hands_over_to_the_dead)
{
    desk_kill(&d, 3);
    cr_assert_eq(ALTER(.isr = "3"), ERR_INELIGIBLE_REPLICA);
    SHOWS("leader 1 epochs 0/1 replicas 1,2,3 isr 1,2");
}

Test(partition_control, members_must_be_alive_and_the_same_process)
{
    cr_assert_eq(ALTER(.isr = "1,2", .member_epoch_off = -1),
                 ERR_INELIGIBLE_REPLICA);
    desk_kill(&d, 3);
    cr_assert_eq(ALTER(.isr = "1,2,3"), ERR_INELIGIBLE_REPLICA);
    Leat__HeartbeatRequest beat = LEAT__HEARTBEAT_REQUEST__INIT;
    beat.broker_id = 2;
    beat.broker_epoch = desk_epoch(&d, 2);
    beat.want_shutdown = true;
    desk_heartbeat_with(&d, beat, NULL);
    cr_assert_eq(ALTER(.isr = "1,2"), ERR_INELIGIBLE_REPLICA);
    SHOWS("leader 1 epochs 0/2 replicas 1,2,3 isr 1");
}

Test(partition_control, the_sender_must_be_registered)
{
    struct controller_update update;
    struct controller_call call = desk_call(&d);
    Leat__AlterPartitionRequest request = LEAT__ALTER_PARTITION_REQUEST__INIT;
    Leat__AlterPartitionResponse response =
        LEAT__ALTER_PARTITION_RESPONSE__INIT;
    const char *why = NULL;

    request.broker_id = 1;
    request.broker_epoch = desk_epoch(&d, 1) - 1;
    cr_assert_eq(controller_alter_partition(&d.c, &call, &request, &response,
                                            &why, &update),
                 ERR_STALE_BROKER_EPOCH);
    cr_assert_not_null(why);
    desk_done(&d, &update);
}

Test(partition_control, the_answer_carries_the_new_state)
{
    struct controller_update update;
    struct controller_call call = desk_call(&d);
    Leat__AlterPartitionRequest request = LEAT__ALTER_PARTITION_REQUEST__INIT;
    Leat__AlterPartitionResponse response =
        LEAT__ALTER_PARTITION_RESPONSE__INIT;
    Leat__AlterPartitionItem item = LEAT__ALTER_PARTITION_ITEM__INIT;
    Leat__AlterPartitionItem *items[] = {&item};
    Leat__IsrMember member = LEAT__ISR_MEMBER__INIT;
    Leat__IsrMember *members[] = {&member};
    struct image_topic *topic = image_topic(&d.committed, SLICE("t"));
    const char *why = NULL;

    request.broker_id = 1;
    request.broker_epoch = desk_epoch(&d, 1);
    request.partitions = items;
    request.n_partitions = 1;
    item.topic_id = (ProtobufCBinaryData){16, topic->id.bytes};
    item.new_isr = members;
    item.n_new_isr = 1;
    member.broker_id = 1;
    member.broker_epoch = -1; /* an old leader does not know epochs */
    cr_assert_eq(controller_alter_partition(&d.c, &call, &request, &response,
                                            &why, &update),
                 ERR_NONE);
    desk_done(&d, &update);
    cr_assert_eq(response.partitions[0]->error, ERR_NONE);
    cr_assert_eq(response.partitions[0]->leader, 1);
    cr_assert_eq(response.partitions[0]->partition_epoch, 1);
    cr_assert_eq(response.partitions[0]->n_isr, 1);
    cr_assert_eq(response.partitions[0]->isr[0], 1);
}

/* ---- reassignment -------------------------------------------------------- */

Test(partition_control, a_move_ends_when_the_new_replica_is_in_sync)
{
    cr_assert_eq(desk_reassign(&d, "t", 0, "4,2,3"), ERR_NONE);
    SHOWS("leader 1 epochs 0/1 replicas 4,2,3,1 isr 1,2,3 adding 4 removing 1");
    /* The old leader leaves with the move that it completes itself. */
    cr_assert_eq(ALTER(.isr = "1,2,3,4"), ERR_NEW_LEADER_ELECTED);
    SHOWS("leader 4 epochs 1/2 replicas 4,2,3 isr 2,3,4");
}

Test(partition_control, a_move_that_keeps_the_leader_raises_its_epoch)
{
    cr_assert_eq(desk_reassign(&d, "t", 0, "1,2,4"), ERR_NONE);
    cr_assert_eq(ALTER(.isr = "1,2,3,4"), ERR_NONE);
    SHOWS("leader 1 epochs 1/2 replicas 1,2,4 isr 1,2,4");
}

Test(partition_control, fewer_replicas_and_another_order_take_no_time)
{
    cr_assert_eq(desk_reassign(&d, "t", 0, "3,1"), ERR_NONE);
    SHOWS("leader 1 epochs 1/1 replicas 3,1 isr 1,3");
    cr_assert_eq(desk_reassign(&d, "t", 0, "1,3"), ERR_NONE);
    SHOWS("leader 1 epochs 1/2 replicas 1,3 isr 1,3");
    cr_assert_eq(desk_reassign(&d, "t", 0, "1,3"), ERR_NONE);
    cr_assert_eq(d.records, 0);
}

Test(partition_control, a_move_can_be_called_off)
{
    cr_assert_eq(desk_reassign(&d, "t", 0, NULL),
                 ERR_NO_REASSIGNMENT_IN_PROGRESS);
    desk_reassign(&d, "t", 0, "2,3,4");
    SHOWS("leader 1 epochs 0/1 replicas 2,3,4,1 isr 1,2,3 adding 4 removing 1");
    cr_assert_eq(desk_reassign(&d, "t", 0, NULL), ERR_NONE);
    SHOWS("leader 1 epochs 1/2 replicas 2,3,1 isr 1,2,3");
}

Test(partition_control, calling_off_must_not_lose_the_last_in_sync)
{
    desk_register(&d, (struct desk_broker){.id = 5});
    desk_unfence(&d, 5);
    desk_reassign(&d, "t", 0, "4,5");
    cr_assert_eq(ALTER(.isr = "1,2,3,4"), ERR_NONE);
    for (int32_t id = 1; id <= 3; id++)
        desk_kill(&d, id);
    SHOWS("leader 4 epochs 1/5 replicas 4,5,1,2,3 isr 4 adding 4,5 "
          "removing 1,2,3");
    cr_assert_eq(desk_reassign(&d, "t", 0, NULL),
                 ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(desk_reassign(&d, "t", 0, "5,1"),
                 ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(d.records, 0);
    cr_assert_eq(ALTER(.isr = "4,5"), ERR_NONE);
    SHOWS("leader 4 epochs 2/6 replicas 4,5 isr 4,5");
}

Test(partition_control, a_new_target_starts_from_the_original)
{
    desk_register(&d, (struct desk_broker){.id = 5});
    desk_unfence(&d, 5);
    desk_reassign(&d, "t", 0, "4,2,3");
    cr_assert_eq(desk_reassign(&d, "t", 0, "5,2,3"), ERR_NONE);
    SHOWS("leader 1 epochs 1/2 replicas 5,2,3,1 isr 1,2,3 adding 5 removing 1");
    desk_reassign(&d, "t", 0, "5,2,4");
    SHOWS("leader 1 epochs 1/3 replicas 5,2,4,3,1 isr 1,2,3 adding 5,4 "
          "removing 3,1");
    cr_assert_eq(ALTER(.isr = "1,2,3,4"), ERR_NONE);
    cr_assert_eq(ALTER(.isr = "1,2,3,4,5"), ERR_NEW_LEADER_ELECTED);
    SHOWS("leader 5 epochs 2/5 replicas 5,2,4 isr 2,4,5");
}

/* Brokers have room for 16, whatever becomes of them. */
Test(partition_control, a_partition_that_moves_has_sixteen_replicas_at_most)
{
    for (int32_t id = 5; id <= 17; id++) {
        desk_register(&d, (struct desk_broker){.id = id});
        desk_unfence(&d, id);
    }
    cr_assert_eq(
        desk_reassign(&d, "t", 0, "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"),
        ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_str_eq(d.why, "The manual partition assignment includes 17 "
                            "replicas, more than the 16 that are possible.");
    cr_assert_eq(
        desk_reassign(&d, "t", 0, "4,5,6,7,8,9,10,11,12,13,14,15,16,17"),
        ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_str_eq(d.why,
                     "Unable to reassign t-0: it would have 17 replicas while "
                     "it moves, the present ones and the new ones, more than "
                     "the 16 that are possible.");
    cr_assert_eq(d.records, 0);
    cr_assert_eq(desk_reassign(&d, "t", 0, "4,5,6,7,8,9,10,11,12,13,14,15,16"),
                 ERR_NONE);
    SHOWS("leader 1 epochs 0/1 replicas "
          "4,5,6,7,8,9,10,11,12,13,14,15,16,1,2,3 isr 1,2,3 adding "
          "4,5,6,7,8,9,10,11,12,13,14,15,16 removing 1,2,3");
}

Test(partition_control, impossible_targets)
{
    cr_assert_eq(desk_reassign(&d, "u", 0, "1"),
                 ERR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(desk_reassign(&d, "t", 1, "1"),
                 ERR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(desk_reassign(&d, "t", 0, ""), ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(desk_reassign(&d, "t", 0, "1,1"),
                 ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(desk_reassign(&d, "t", 0, "1,9"),
                 ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(desk_reassign(&d, "t", 0, "1,-2"),
                 ERR_INVALID_REPLICA_ASSIGNMENT);
    cr_assert_eq(d.records, 0);
}

Test(partition_control, the_replication_factor_can_be_held)
{
    struct alter_partition_reassignments_request request;
    struct alter_partition_reassignments_request_reassignable_topic t;
    struct alter_partition_reassignments_request_reassignable_partition p;
    int32_t two[] = {1, 2};

    alter_partition_reassignments_request_init(&request);
    alter_partition_reassignments_request_reassignable_topic_init(&t);
    alter_partition_reassignments_request_reassignable_partition_init(&p);
    p.replicas = two;
    p.replicas_len = 2;
    t.name = SLICE("t");
    t.partitions = &p;
    t.partitions_len = 1;
    request.topics = &t;
    request.topics_len = 1;
    request.allow_replication_factor_change = false;
    struct alter_partition_reassignments_response *response =
        desk_kafka(&d, API_ALTER_PARTITION_REASSIGNMENTS, 1, &request);
    cr_assert_eq(response->responses[0].partitions[0].error_code,
                 ERR_INVALID_REPLICATION_FACTOR);
    cr_assert_not(response->allow_replication_factor_change);
}

static struct list_partition_reassignments_response *list(const char *topic,
                                                          int32_t partition)
{
    struct list_partition_reassignments_request request;
    struct list_partition_reassignments_request_topics t;

    list_partition_reassignments_request_init(&request);
    list_partition_reassignments_request_topics_init(&t);
    request.topics_len = -1;
    if (topic != NULL) {
        t.name = slice_str(topic);
        t.partition_indexes = &partition;
        t.partition_indexes_len = 1;
        request.topics = &t;
        request.topics_len = 1;
    }
    return desk_kafka(&d, API_LIST_PARTITION_REASSIGNMENTS, 0, &request);
}

Test(partition_control, running_moves_are_listed)
{
    desk_create_at(&d, "u", "1,2 2,3");
    cr_assert_eq(list(NULL, 0)->topics_len, 0);
    desk_reassign(&d, "t", 0, "2,3,4");
    desk_reassign(&d, "u", 1, "3,4");
    struct list_partition_reassignments_response *r = list(NULL, 0);
    cr_assert_eq(r->topics_len, 2);
    cr_assert(slice_eq_str(r->topics[0].name, "t"));
    cr_assert_eq(r->topics[0].partitions[0].replicas_len, 4);
    cr_assert_eq(r->topics[0].partitions[0].adding_replicas[0], 4);
    cr_assert_eq(r->topics[0].partitions[0].removing_replicas[0], 1);
    cr_assert_eq(r->topics[1].partitions_len, 1);
    cr_assert_eq(r->topics[1].partitions[0].partition_index, 1);

    cr_assert_eq(list("u", 0)->topics_len, 0);
    cr_assert_eq(list("u", 1)->topics_len, 1);
    cr_assert_eq(list("nope", 1)->topics_len, 0);
}

Test(partition_control, a_move_survives_the_death_of_its_leader)
{
    desk_reassign(&d, "t", 0, "4,2,3");
    desk_kill(&d, 1);
    SHOWS("leader 2 epochs 1/2 replicas 4,2,3,1 isr 2,3 adding 4 removing 1");
    cr_assert_eq(ALTER(.isr = "2,3,4"), ERR_NONE);
    SHOWS("leader 2 epochs 2/3 replicas 4,2,3 isr 2,3,4");
}
