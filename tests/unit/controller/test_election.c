/* Who leads, who is in sync, who is eligible: fencing, return, unclean
 * elections, preferred leaders, eligible leader replicas (KIP-966). */
#include "controller/image_kv.h"
#include "controller/records.h"
#include "tests/unit/controller/desk.h"

#include <criterion/criterion.h>

static struct desk d;

static void three_brokers(void) { desk_with_brokers(&d, 3); }

static void tear_down(void) { desk_free(&d); }

TestSuite(election, .init = three_brokers, .fini = tear_down, .timeout = 60);

#define SHOWS(text) cr_assert_str_eq(desk_show(&d, "t", 0), text)

/* Makes broker `id` lead t-0 alone in sync, the others fenced. */
static void only(int32_t id)
{
    for (int32_t other = 1; other <= 3; other++)
        if (other != id)
            desk_kill(&d, other);
}

/* ---- clean --------------------------------------------------------------- */

Test(election, the_first_in_sync_by_assignment_leads_after_a_fencing)
{
    desk_create_at(&d, "t", "2,3,1");
    SHOWS("leader 2 epochs 0/0 replicas 2,3,1 isr 2,3,1");
    desk_kill(&d, 2);
    SHOWS("leader 3 epochs 1/1 replicas 2,3,1 isr 3,1");
}

Test(election, a_follower_that_is_fenced_costs_no_leader_epoch)
{
    desk_create_at(&d, "t", "1,2,3");
    desk_kill(&d, 3);
    SHOWS("leader 1 epochs 0/1 replicas 1,2,3 isr 1,2");
}

Test(election, the_last_in_sync_stays_in_sync_and_leads_again)
{
    desk_create_at(&d, "t", "1,2,3");
    desk_kill(&d, 2);
    desk_kill(&d, 3);
    desk_kill(&d, 1);
    SHOWS("leader -1 epochs 1/3 replicas 1,2,3 isr 1");
    /* Others may lack what was acknowledged. */
    desk_restart(&d, 2, true);
    SHOWS("leader -1 epochs 1/3 replicas 1,2,3 isr 1");
    desk_restart(&d, 1, true);
    SHOWS("leader 1 epochs 2/4 replicas 1,2,3 isr 1");
}

Test(election, everybody_killed_at_once_comes_back)
{
    desk_create_at(&d, "t", "1,2,3");
    desk_failover(&d); /* nobody saw them die */
    for (int32_t id = 1; id <= 3; id++)
        cr_assert_eq(
            desk_register(&d, (struct desk_broker){.id = id, .incarnation = 9}),
            ERR_NONE);
    SHOWS("leader -1 epochs 3/3 replicas 1,2,3 isr 3");
    for (int32_t id = 1; id <= 3; id++)
        desk_unfence(&d, id);
    SHOWS("leader 3 epochs 4/4 replicas 1,2,3 isr 3");
}

Test(election, a_restart_that_nobody_noticed_moves_the_leader)
{
    struct controller_update update;
    struct controller_call call;

    desk_create_at(&d, "t", "1,2,3");
    call = desk_call(&d);
    controller_broker_lost(&d.c, &call, 1, desk_epoch(&d, 1), &update);
    desk_done(&d, &update);
    desk_restart(&d, 1, true);
    SHOWS("leader 2 epochs 1/1 replicas 1,2,3 isr 2,3");
}

/* ---- unclean ------------------------------------------------------------- */

Test(election, unclean_election_only_where_the_topic_allows_it)
{
    desk_create_at(&d, "t", "1,2,3");
    only(1);
    desk_restart(&d, 2, false);
    desk_kill(&d, 1);
    SHOWS("leader -1 epochs 1/3 replicas 1,2,3 isr 1");
    cr_assert_eq(
        desk_topic_config(&d, "t", "unclean.leader.election.enable", "true"),
        ERR_NONE);
    SHOWS("leader 2 epochs 2/4 replicas 1,2,3 isr 2 recovering");
    cr_assert_eq(d.c.unclean_elections, 1);
    /* The leader says when it has recovered. */
    cr_assert_eq(desk_alter(&d, (struct desk_alter){.topic = "t", .isr = "2"}),
                 ERR_NONE);
    SHOWS("leader 2 epochs 2/5 replicas 1,2,3 isr 2");
}

Test(election, unclean_election_when_a_replica_comes_back)
{
    desk_create_at(&d, "t", "1,2");
    desk_topic_config(&d, "t", "unclean.leader.election.enable", "true");
    desk_kill(&d, 2);
    desk_kill(&d, 1);
    SHOWS("leader -1 epochs 1/2 replicas 1,2 isr 1");
    desk_restart(&d, 2, false);
    SHOWS("leader 2 epochs 2/3 replicas 1,2 isr 2 recovering");
}

Test(election, a_cluster_wide_setting_allows_it_too)
{
    desk_create_at(&d, "t", "1,2");
    only(1);
    desk_restart(&d, 2, false);
    desk_kill(&d, 1);
    cr_assert_eq(
        desk_broker_config(&d, -1, "unclean.leader.election.enable", "true"),
        ERR_NONE);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, 2);
}

/* ---- preferred ----------------------------------------------------------- */

static void back_in_sync(int32_t id)
{
    desk_restart(&d, id, true);
    cr_assert_eq(
        desk_alter(&d, (struct desk_alter){.topic = "t", .isr = "1,2,3"}),
        ERR_NONE);
}

Test(election, leaders_go_back_at_the_check_interval)
{
    desk_create_at(&d, "t", "1,2,3");
    desk_kill(&d, 1);
    back_in_sync(1);
    SHOWS("leader 2 epochs 1/2 replicas 1,2,3 isr 1,2,3");
    desk_pass(&d, 290000);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, 2);
    desk_pass(&d, 10000);
    SHOWS("leader 1 epochs 2/3 replicas 1,2,3 isr 1,2,3");
}

Test(election, leaders_go_back_soon_after_the_preferred_is_in_sync)
{
    desk_free(&d);
    desk_init(&d);
    d.config.leader_rebalance_delay_ms = 5000;
    desk_start(&d);
    for (int32_t id = 1; id <= 3; id++) {
        desk_register(&d, (struct desk_broker){.id = id});
        desk_unfence(&d, id);
    }
    desk_create_at(&d, "t", "1,2,3");
    desk_kill(&d, 1);
    back_in_sync(1);
    desk_pass(&d, 4000);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, 2);
    desk_pass(&d, 1000);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, 1);
}

Test(election, leaders_stay_when_rebalancing_is_off)
{
    d.c.config.auto_leader_rebalance = false;
    desk_failover(&d);
    d.c.config.auto_leader_rebalance = false;
    d.c.rebalance_ms = INT64_MAX;
    desk_create_at(&d, "t", "1,2,3");
    desk_kill(&d, 1);
    back_in_sync(1);
    desk_pass(&d, 400000);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, 2);
}

Test(election, elect_leaders_answers_as_kafka_does)
{
    desk_create_at(&d, "t", "1,2,3");
    cr_assert_eq(desk_elect(&d, 0, "t", 0), ERR_ELECTION_NOT_NEEDED);
    cr_assert_eq(desk_elect(&d, 1, "t", 0), ERR_ELECTION_NOT_NEEDED);
    cr_assert_eq(desk_elect(&d, 0, "t", 1), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(desk_elect(&d, 0, "nope", 0), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    desk_kill(&d, 1);
    cr_assert_eq(desk_elect(&d, 0, "t", 0), ERR_PREFERRED_LEADER_NOT_AVAILABLE);
    back_in_sync(1);
    cr_assert_eq(desk_elect(&d, 0, "t", 0), ERR_NONE);
    SHOWS("leader 1 epochs 2/3 replicas 1,2,3 isr 1,2,3");
}

Test(election, elect_leaders_can_be_told_to_lose_records)
{
    desk_create_at(&d, "t", "1,2");
    desk_kill(&d, 2);
    desk_kill(&d, 1);
    cr_assert_eq(desk_elect(&d, 1, "t", 0), ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE);
    desk_restart(&d, 2, false);
    cr_assert_eq(desk_elect(&d, 0, "t", 0), ERR_PREFERRED_LEADER_NOT_AVAILABLE);
    cr_assert_eq(desk_elect(&d, 1, "t", 0), ERR_NONE);
    SHOWS("leader 2 epochs 2/3 replicas 1,2 isr 2 recovering");
}

Test(election, elect_leaders_for_all_mentions_only_what_is_needed)
{
    struct elect_leaders_request request;

    desk_create_at(&d, "t", "1,2,3 2,1,3");
    desk_create_at(&d, "u", "3,2");
    desk_kill(&d, 1);
    desk_restart(&d, 1, true);
    desk_alter(&d, (struct desk_alter){.topic = "t", .isr = "1,2,3"});
    elect_leaders_request_init(&request);
    request.topic_partitions_len = -1;
    struct elect_leaders_response *response =
        desk_kafka(&d, API_ELECT_LEADERS, 2, &request);
    cr_assert_eq(response->replica_election_results_len, 1);
    cr_assert_eq(response->replica_election_results[0].partition_result_len, 1);
    cr_assert_eq(
        response->replica_election_results[0].partition_result[0].error_code,
        ERR_NONE);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, 1);

    request.election_type = 5;
    response = desk_kafka(&d, API_ELECT_LEADERS, 2, &request);
    cr_assert_eq(response->error_code, ERR_INVALID_REQUEST);
}

/* ---- eligible leader replicas -------------------------------------------- */

static void min_insync(const char *value)
{
    cr_assert_eq(desk_topic_config(&d, "t", "min.insync.replicas", value),
                 ERR_NONE);
}

/* Another machine that gets the id of one that was given up. */
static void registers_anew(int32_t id)
{
    cr_assert_eq(
        desk_register(
            &d, (struct desk_broker){.id = id, .incarnation = 77, .disk = 9}),
        ERR_NONE);
    desk_unfence(&d, id);
}

Test(election, who_leaves_below_min_insync_replicas_stays_eligible)
{
    desk_create_at(&d, "t", "1,2,3");
    min_insync("2");
    desk_kill(&d, 3);
    SHOWS("leader 1 epochs 0/1 replicas 1,2,3 isr 1,2");
    desk_kill(&d, 2);
    SHOWS("leader 1 epochs 0/2 replicas 1,2,3 isr 1 elr 2");
    desk_kill(&d, 1);
    SHOWS("leader -1 epochs 1/3 replicas 1,2,3 isr 1 elr 2");
    /* 3 left earlier and is not eligible, 2 is. */
    desk_restart(&d, 3, true);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, -1);
    desk_restart(&d, 2, true);
    SHOWS("leader 2 epochs 2/4 replicas 1,2,3 isr 2 elr 1");
    cr_assert_eq(
        desk_alter(&d, (struct desk_alter){.topic = "t", .isr = "2,3"}),
        ERR_NONE);
    SHOWS("leader 2 epochs 2/5 replicas 1,2,3 isr 2,3");
}

Test(election, an_unclean_shutdown_ends_eligibility)
{
    desk_create_at(&d, "t", "1,2,3");
    min_insync("2");
    desk_kill(&d, 3);
    desk_kill(&d, 2);
    desk_kill(&d, 1);
    desk_restart(&d, 2, false);
    SHOWS("leader -1 epochs 1/4 replicas 1,2,3 isr 1 last 2");
    desk_restart(&d, 1, false); /* the last one: better than nobody */
    SHOWS("leader 1 epochs 2/5 replicas 1,2,3 isr 1 last 2");
}

Test(election, the_last_in_sync_loses_its_place_to_an_eligible_replica)
{
    desk_create_at(&d, "t", "1,2,3");
    min_insync("2");
    desk_kill(&d, 3);
    desk_kill(&d, 2);
    desk_kill(&d, 1);
    desk_restart(&d, 1, false);
    SHOWS("leader -1 epochs 1/4 replicas 1,2,3 isr 2 last 1");
    desk_restart(&d, 2, true);
    SHOWS("leader 2 epochs 2/5 replicas 1,2,3 isr 2 last 1");
}

Test(election, the_last_in_sync_with_an_empty_disk_makes_way)
{
    desk_create_at(&d, "t", "1,2,3");
    min_insync("2");
    desk_kill(&d, 3);
    desk_kill(&d, 2);
    desk_kill(&d, 1);
    desk_restart(&d, 2, false);
    SHOWS("leader -1 epochs 1/4 replicas 1,2,3 isr 1 last 2");
    /* 2 may lack a tail, 1 lacks everything. */
    desk_restart_emptied(&d, 1);
    SHOWS("leader 2 epochs 2/5 replicas 1,2,3 isr 2 recovering");
}

Test(election, an_empty_disk_is_not_kept_in_mind)
{
    desk_create_at(&d, "t", "1,2,3");
    min_insync("2");
    desk_kill(&d, 3);
    desk_kill(&d, 2);
    desk_kill(&d, 1);
    desk_restart_emptied(&d, 2);
    SHOWS("leader -1 epochs 1/4 replicas 1,2,3 isr 1");
    desk_restart_emptied(&d, 1);
    SHOWS("leader -1 epochs 1/5 replicas 1,2,3 isr 1 last 1");
}

/* It would have the others cut off what they have. */
Test(election, the_last_in_sync_does_not_lead_with_an_empty_disk)
{
    desk_create_at(&d, "t", "1,2,3");
    only(1);
    desk_kill(&d, 1);
    desk_restart_emptied(&d, 1);
    SHOWS("leader -1 epochs 1/4 replicas 1,2,3 isr 1 last 1");
    /* Whatever happens to it and to the controller. */
    desk_failover(&d);
    desk_restart(&d, 2, true);
    desk_kill(&d, 1);
    desk_restart(&d, 1, true);
    min_insync("2");
    min_insync("1");
    cr_assert_eq(desk_elect(&d, 0, "t", 0), ERR_PREFERRED_LEADER_NOT_AVAILABLE);
    desk_kill(&d, 1);
    desk_restart(&d, 1, false);
    SHOWS("leader -1 epochs 1/4 replicas 1,2,3 isr 1 last 1");
    /* The first by assignment is the worst. */
    cr_assert_eq(desk_elect(&d, 1, "t", 0), ERR_NONE);
    SHOWS("leader 2 epochs 2/5 replicas 1,2,3 isr 2 recovering");
    cr_assert_eq(d.c.unclean_elections, 1);
    cr_assert_eq(
        desk_alter(&d, (struct desk_alter){.topic = "t", .isr = "2,1"}),
        ERR_NONE);
    desk_kill(&d, 2);
    SHOWS("leader 1 epochs 3/7 replicas 1,2,3 isr 1");
}

Test(election, who_lost_all_leads_when_that_is_wished_and_nobody_else_can)
{
    desk_create_at(&d, "t", "1,2,3");
    only(1);
    desk_kill(&d, 1);
    desk_restart_emptied(&d, 1);
    cr_assert_eq(desk_elect(&d, 1, "t", 0), ERR_NONE);
    SHOWS("leader 1 epochs 2/5 replicas 1,2,3 isr 1 recovering");
}

Test(election, the_only_replica_leads_with_an_empty_disk)
{
    desk_create_at(&d, "t", "1");
    desk_kill(&d, 1);
    desk_restart_emptied(&d, 1);
    SHOWS("leader 1 epochs 2/2 replicas 1 isr 1");
}

Test(election, others_take_the_place_of_an_empty_disk_where_that_is_allowed)
{
    desk_create_at(&d, "t", "1,2,3");
    only(1);
    desk_kill(&d, 1);
    desk_restart_emptied(&d, 1);
    desk_restart(&d, 3, true);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, -1);
    cr_assert_eq(
        desk_topic_config(&d, "t", "unclean.leader.election.enable", "true"),
        ERR_NONE);
    SHOWS("leader 3 epochs 2/5 replicas 1,2,3 isr 3 recovering");
}

/* The others' data would be deleted. */
Test(election, no_move_ends_while_the_last_in_sync_has_an_empty_disk)
{
    desk_create_at(&d, "t", "1,2,3");
    only(1);
    desk_kill(&d, 1);
    desk_restart_emptied(&d, 1);
    desk_reassign(&d, "t", 0, "1");
    SHOWS("leader -1 epochs 1/5 replicas 1,2,3 isr 1 removing 2,3 last 1");
    desk_restart(&d, 2, true);
    cr_assert_eq(desk_elect(&d, 1, "t", 0), ERR_NONE);
    SHOWS("leader 2 epochs 2/6 replicas 1,2,3 isr 2 removing 2,3 recovering");
    desk_alter(&d, (struct desk_alter){.topic = "t", .isr = "1,2"});
    SHOWS("leader 1 epochs 3/7 replicas 1 isr 1");
}

Test(election, the_last_in_sync_is_unregistered)
{
    desk_create_at(&d, "t", "1,2");
    only(1);
    cr_assert_eq(desk_unregister(&d, 1), ERR_NONE);
    SHOWS("leader -1 epochs 1/2 replicas 1,2 isr 1 last 1");
    registers_anew(1);
    SHOWS("leader -1 epochs 1/2 replicas 1,2 isr 1 last 1");
    desk_restart(&d, 2, true);
    cr_assert_eq(desk_elect(&d, 1, "t", 0), ERR_NONE);
    SHOWS("leader 2 epochs 2/3 replicas 1,2 isr 2 recovering");
}

Test(election, who_was_unregistered_is_not_eligible_when_it_registers_again)
{
    desk_create_at(&d, "t", "1,2");
    min_insync("2");
    desk_kill(&d, 2);
    SHOWS("leader 1 epochs 0/1 replicas 1,2 isr 1 elr 2");
    cr_assert_eq(desk_unregister(&d, 2), ERR_NONE);
    SHOWS("leader 1 epochs 0/2 replicas 1,2 isr 1");
    registers_anew(2);
    desk_kill(&d, 1);
    SHOWS("leader -1 epochs 1/3 replicas 1,2 isr 1");
    desk_restart(&d, 1, true);
    SHOWS("leader 1 epochs 2/4 replicas 1,2 isr 1");
}

Test(election, the_last_in_sync_is_unregistered_and_an_eligible_replica_leads)
{
    desk_create_at(&d, "t", "1,2,3");
    min_insync("2");
    only(1);
    desk_kill(&d, 1);
    SHOWS("leader -1 epochs 1/3 replicas 1,2,3 isr 1 elr 3");
    cr_assert_eq(desk_unregister(&d, 1), ERR_NONE);
    SHOWS("leader -1 epochs 1/4 replicas 1,2,3 isr 3");
    registers_anew(1);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, -1);
    desk_restart(&d, 3, true);
    SHOWS("leader 3 epochs 2/5 replicas 1,2,3 isr 3");
}

/* Its registration goes, and nothing else, as earlier releases had it. */
static void is_forgotten(int32_t id)
{
    Leat__MetadataBatch batch = LEAT__METADATA_BATCH__INIT;
    Leat__RemoveBrokerRecord r = LEAT__REMOVE_BROKER_RECORD__INIT;
    Leat__MetadataRecord record = RECORD(remove_broker, REMOVE_BROKER, &r);
    Leat__MetadataRecord *records[] = {&record};
    struct kv_batch stored = KV_BATCH_INIT;

    r.broker_id = id;
    batch.n_records = 1;
    batch.records = records;
    uint8_t *bytes =
        arena_alloc(&d.arena, leat__metadata_batch__get_packed_size(&batch));
    struct slice packed =
        slice_of(bytes, leat__metadata_batch__pack(&batch, bytes));
    cr_assert_eq(image_persist(d.next_index, 1, packed, &stored), ERR_NONE);
    cr_assert_eq(kv_write(d.kv, &stored, false), 0);
    kv_batch_free(&stored);
    cr_assert_eq(image_apply(&d.committed, d.next_index++, packed, NULL),
                 ERR_NONE);
    desk_failover(&d);
}

Test(election, who_registers_without_a_predecessor_has_nothing)
{
    desk_create_at(&d, "t", "1,2");
    min_insync("2");
    desk_kill(&d, 2);
    is_forgotten(2);
    SHOWS("leader 1 epochs 0/1 replicas 1,2 isr 1 elr 2");
    registers_anew(2);
    SHOWS("leader 1 epochs 0/2 replicas 1,2 isr 1");
}

Test(election, lower_min_insync_replicas_ends_eligibility)
{
    desk_create_at(&d, "t", "1,2,3");
    min_insync("2");
    desk_kill(&d, 3);
    desk_kill(&d, 2);
    SHOWS("leader 1 epochs 0/2 replicas 1,2,3 isr 1 elr 2");
    min_insync("3");
    SHOWS("leader 1 epochs 0/2 replicas 1,2,3 isr 1 elr 2");
    min_insync("1");
    SHOWS("leader 1 epochs 0/3 replicas 1,2,3 isr 1");
}

Test(election, so_does_taking_the_topics_own_value_away)
{
    desk_create_at(&d, "t", "1,2,3");
    min_insync("2");
    desk_kill(&d, 3);
    desk_kill(&d, 2);
    min_insync(NULL);
    SHOWS("leader 1 epochs 0/3 replicas 1,2,3 isr 1");
}

Test(election, a_cluster_wide_value_counts_where_the_topic_has_none)
{
    cr_assert_eq(desk_broker_config(&d, -1, "min.insync.replicas", "2"),
                 ERR_NONE);
    desk_create_at(&d, "t", "1,2,3");
    desk_create_at(&d, "own", "1,2,3");
    desk_topic_config(&d, "own", "min.insync.replicas", "2");
    desk_kill(&d, 3);
    desk_kill(&d, 2);
    SHOWS("leader 1 epochs 0/2 replicas 1,2,3 isr 1 elr 2");
    cr_assert_eq(desk_broker_config(&d, -1, "min.insync.replicas", "1"),
                 ERR_NONE);
    SHOWS("leader 1 epochs 0/3 replicas 1,2,3 isr 1");
    cr_assert_eq(desk_partition(&d, "own", 0)->elr_len, 1);
}

Test(election, min_insync_replicas_above_the_replicas_counts_as_all)
{
    desk_create_at(&d, "t", "1,2");
    min_insync("3");
    desk_kill(&d, 2);
    SHOWS("leader 1 epochs 0/1 replicas 1,2 isr 1 elr 2");
    desk_restart(&d, 2, true);
    desk_alter(&d, (struct desk_alter){.topic = "t", .isr = "1,2"});
    SHOWS("leader 1 epochs 0/2 replicas 1,2 isr 1,2");
}

/* ---- failed log directories ---------------------------------------------- */

Test(election, a_leader_whose_directory_fails_is_replaced)
{
    desk_create_at(&d, "t", "1,2,3 1,2,3");
    cr_assert_eq(desk_offline(&d, 1, "t", "0"), ERR_NONE);
    SHOWS("leader 2 epochs 1/1 replicas 1,2,3 isr 2,3 offline 1");
    /* The broker goes on with what it has elsewhere. */
    cr_assert_eq(desk_partition(&d, "t", 1)->leader, 1);
    cr_assert_eq(desk_partition(&d, "t", 1)->partition_epoch, 0);
}

Test(election, saying_twice_that_a_directory_failed_changes_nothing)
{
    desk_create_at(&d, "t", "1,2,3");
    desk_offline(&d, 3, "t", "0");
    SHOWS("leader 1 epochs 0/1 replicas 1,2,3 isr 1,2 offline 3");
    desk_offline(&d, 3, "t", "0");
    SHOWS("leader 1 epochs 0/1 replicas 1,2,3 isr 1,2 offline 3");
}

Test(election, an_offline_replica_never_leads_nor_gets_in_sync)
{
    desk_create_at(&d, "t", "1,2");
    desk_topic_config(&d, "t", "unclean.leader.election.enable", "true");
    desk_offline(&d, 2, "t", "0");
    cr_assert_eq(
        desk_alter(&d, (struct desk_alter){.topic = "t", .isr = "1,2"}),
        ERR_INELIGIBLE_REPLICA);
    desk_kill(&d, 1);
    SHOWS("leader -1 epochs 1/2 replicas 1,2 isr 1 offline 2");
    cr_assert_eq(desk_elect(&d, 1, "t", 0), ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE);
}

Test(election, the_last_in_sync_stays_so_when_its_directory_fails)
{
    desk_create_at(&d, "t", "1,2");
    desk_kill(&d, 2);
    desk_offline(&d, 1, "t", "0");
    SHOWS("leader -1 epochs 1/2 replicas 1,2 isr 1 offline 1");
    desk_kill(&d, 1);
    /* The directory is there again, and all that was in it. */
    desk_restart(&d, 1, true);
    SHOWS("leader 1 epochs 2/4 replicas 1,2 isr 1");
}

Test(election, an_eligible_replica_with_a_failed_directory_waits)
{
    desk_create_at(&d, "t", "1,2,3");
    desk_topic_config(&d, "t", "min.insync.replicas", "3");
    desk_offline(&d, 2, "t", "0");
    SHOWS("leader 1 epochs 0/1 replicas 1,2,3 isr 1,3 elr 2 offline 2");
    desk_kill(&d, 3);
    desk_kill(&d, 1);
    SHOWS("leader -1 epochs 1/3 replicas 1,2,3 isr 1 elr 2,3 offline 2");
    desk_kill(&d, 2);
    desk_restart(&d, 2, true);
    SHOWS("leader 2 epochs 2/5 replicas 1,2,3 isr 2 elr 3,1");
}

Test(election, what_another_broker_knows_of_a_replica_does_not_count)
{
    desk_create_at(&d, "t", "1,2");
    desk_offline(&d, 3, "t", "0,7");
    SHOWS("leader 1 epochs 0/0 replicas 1,2 isr 1,2");
}

Test(election, a_replica_that_moves_away_is_not_offline_any_more)
{
    desk_create_at(&d, "t", "1,2");
    desk_offline(&d, 2, "t", "0");
    desk_reassign(&d, "t", 0, "1,3");
    desk_alter(&d, (struct desk_alter){.topic = "t", .isr = "1,3"});
    SHOWS("leader 1 epochs 1/3 replicas 1,3 isr 1,3");
}

Test(election, a_clean_stop_without_one_of_its_directories_counts_as_a_crash)
{
    desk_create_at(&d, "t", "1,2");
    desk_topic_config(&d, "t", "min.insync.replicas", "2");
    desk_kill(&d, 2);
    cr_assert_eq(desk_register(&d, (struct desk_broker){.id = 2,
                                                        .incarnation = 5,
                                                        .disks = 2,
                                                        .previous_epoch =
                                                            desk_epoch(&d, 2)}),
                 ERR_NONE);
    SHOWS("leader 1 epochs 0/1 replicas 1,2 isr 1 elr 2");
    cr_assert_eq(desk_register(&d, (struct desk_broker){.id = 2,
                                                        .incarnation = 6,
                                                        .disks = 1,
                                                        .previous_epoch =
                                                            desk_epoch(&d, 2)}),
                 ERR_NONE);
    SHOWS("leader 1 epochs 0/2 replicas 1,2 isr 1 last 2");
}
