/* A broker's life as the controller sees it: registration, heartbeats,
 * sessions, controlled shutdown. */
#include "controller/features.h"
#include "tests/unit/controller/desk.h"

#include <criterion/criterion.h>

static struct desk d;

static void three_brokers(void) { desk_with_brokers(&d, 3); }

static void tear_down(void) { desk_free(&d); }

TestSuite(broker_control, .init = three_brokers, .fini = tear_down,
          .timeout = 60);

#define SHOWS(partition, text)                                                 \
    cr_assert_str_eq(desk_show(&d, "t", partition), text)

/* ---- registration -------------------------------------------------------- */

Test(broker_control, a_new_broker_is_fenced_until_it_has_caught_up)
{
    Leat__HeartbeatRequest beat = LEAT__HEARTBEAT_REQUEST__INIT;
    Leat__HeartbeatResponse response;

    cr_assert_eq(desk_register(&d, (struct desk_broker){.id = 4}), ERR_NONE);
    cr_assert(desk_is_fenced(&d, 4));
    beat.broker_id = 4;
    beat.broker_epoch = desk_epoch(&d, 4);
    beat.applied_index = beat.broker_epoch - 1;
    desk_heartbeat_with(&d, beat, &response);
    cr_assert_not(response.is_caught_up);
    cr_assert(response.is_fenced);

    beat.applied_index = beat.broker_epoch;
    desk_heartbeat_with(&d, beat, &response);
    cr_assert(response.is_caught_up);
    cr_assert_not(response.is_fenced);
}

Test(broker_control, a_broker_that_wants_to_stay_fenced_does)
{
    Leat__HeartbeatRequest beat = LEAT__HEARTBEAT_REQUEST__INIT;
    Leat__HeartbeatResponse response;

    desk_register(&d, (struct desk_broker){.id = 4});
    beat.broker_id = 4;
    beat.broker_epoch = desk_epoch(&d, 4);
    beat.applied_index = beat.broker_epoch;
    beat.want_fence = true;
    desk_heartbeat_with(&d, beat, &response);
    cr_assert(response.is_caught_up);
    cr_assert(response.is_fenced);
}

Test(broker_control, the_epoch_is_the_index_of_the_registration)
{
    int64_t expected = d.next_index;

    desk_register(&d, (struct desk_broker){.id = 9});
    cr_assert_eq(desk_epoch(&d, 9), expected);
}

Test(broker_control, a_second_process_with_a_living_id_is_refused)
{
    enum err error =
        desk_register(&d, (struct desk_broker){.id = 2, .incarnation = 2});

    cr_assert_eq(error, ERR_DUPLICATE_BROKER_REGISTRATION);
    cr_assert_eq(d.records, 0);
}

Test(broker_control, the_same_process_may_register_again)
{
    int64_t epoch = desk_epoch(&d, 2);

    cr_assert_eq(desk_register(&d, (struct desk_broker){.id = 2}), ERR_NONE);
    cr_assert_eq(d.records, 0);
    cr_assert_eq(desk_epoch(&d, 2), epoch);
    cr_assert_eq(
        desk_register(&d, (struct desk_broker){.id = 2, .host = "moved"}),
        ERR_NONE);
    cr_assert_eq(d.records, 1);
    cr_assert_eq(desk_epoch(&d, 2), epoch);
    cr_assert_not(desk_is_fenced(&d, 2));
    cr_assert_str_eq(image_broker(&d.committed, 2)->endpoints[0].host, "moved");
}

Test(broker_control, a_restart_after_a_lost_connection_needs_no_patience)
{
    struct controller_update update;
    struct controller_call call = desk_call(&d);

    controller_broker_lost(&d.c, &call, 2, desk_epoch(&d, 2), &update);
    desk_done(&d, &update);
    cr_assert_eq(
        desk_register(&d, (struct desk_broker){.id = 2, .incarnation = 2}),
        ERR_NONE);
    cr_assert(desk_is_fenced(&d, 2));
}

Test(broker_control, after_a_failover_the_same_address_is_the_same_node)
{
    desk_failover(&d);
    cr_assert_eq(desk_register(&d, (struct desk_broker){.id = 2,
                                                        .incarnation = 2,
                                                        .host = "elsewhere"}),
                 ERR_DUPLICATE_BROKER_REGISTRATION);
    cr_assert_eq(
        desk_register(&d, (struct desk_broker){.id = 2, .incarnation = 2}),
        ERR_NONE);
    /* Heard from in this term: now it counts as alive. */
    desk_unfence(&d, 2);
    cr_assert_eq(
        desk_register(&d, (struct desk_broker){.id = 2, .incarnation = 3}),
        ERR_DUPLICATE_BROKER_REGISTRATION);
}

static enum err register_raw(Leat__RegisterBrokerRequest *request)
{
    struct controller_update update;
    struct controller_call call = desk_call(&d);
    Leat__RegisterBrokerResponse response =
        LEAT__REGISTER_BROKER_RESPONSE__INIT;
    const char *why = "";
    enum err error = controller_register_broker(&d.c, &call, request, &response,
                                                &why, &update);

    d.why = why;
    desk_done(&d, &update);
    return error;
}

Test(broker_control, nonsense_is_not_registered)
{
    Leat__RegisterBrokerRequest r = LEAT__REGISTER_BROKER_REQUEST__INIT;
    Leat__Endpoint a = LEAT__ENDPOINT__INIT, b = LEAT__ENDPOINT__INIT;
    Leat__Endpoint *endpoints[] = {&a, &b};
    uint8_t id[16] = {5}, dir[16] = {6};
    ProtobufCBinaryData dirs[] = {{16, dir}, {16, dir}};

    a.listener = b.listener = (char *)"PLAINTEXT";
    a.host = b.host = (char *)"h";
    a.port = b.port = 9092;
    r.broker_id = 5;
    r.incarnation = (ProtobufCBinaryData){16, id};
    r.endpoints = endpoints;
    cr_assert_eq(register_raw(&r), ERR_INVALID_REQUEST);
    cr_assert_not_null(strstr(d.why, "needs an endpoint"));
    r.n_endpoints = 2;
    cr_assert_eq(register_raw(&r), ERR_INVALID_REQUEST);
    cr_assert_not_null(strstr(d.why, "same listener name"));
    b.listener = (char *)"SSL";
    b.port = 65536;
    cr_assert_eq(register_raw(&r), ERR_INVALID_REQUEST);
    cr_assert_not_null(strstr(d.why, "port"));
    b.port = 1;
    r.incarnation.len = 15;
    cr_assert_eq(register_raw(&r), ERR_INVALID_REQUEST);
    r.incarnation.len = 16;
    r.broker_id = -1;
    cr_assert_eq(register_raw(&r), ERR_INVALID_REQUEST);
    r.broker_id = 5;
    r.log_dirs = dirs;
    r.n_log_dirs = 2;
    cr_assert_eq(register_raw(&r), ERR_INVALID_REGISTRATION);
    r.n_log_dirs = 1;
    features_declare(&r, &d.arena);
    r.features[FEATURE_TRANSACTION]->min_level = 3;
    cr_assert_eq(register_raw(&r), ERR_INVALID_REQUEST);
    cr_assert_not_null(strstr(d.why, "make no sense"));
    r.features[FEATURE_TRANSACTION]->min_level = 0;
    cr_assert_eq(register_raw(&r), ERR_NONE);
}

/* ---- heartbeats and sessions --------------------------------------------- */

Test(broker_control, a_heartbeat_of_an_older_process_is_stale)
{
    Leat__HeartbeatRequest beat = LEAT__HEARTBEAT_REQUEST__INIT;

    beat.broker_id = 1;
    beat.broker_epoch = desk_epoch(&d, 1) - 1;
    cr_assert_eq(desk_heartbeat_with(&d, beat, NULL), ERR_STALE_BROKER_EPOCH);
    beat.broker_id = 77;
    cr_assert_eq(desk_heartbeat_with(&d, beat, NULL), ERR_STALE_BROKER_EPOCH);
    cr_assert_str_eq(d.why, "No broker registration found for broker id 77.");
}

Test(broker_control, silence_ends_in_fencing_after_the_session_timeout)
{
    desk_create_at(&d, "t", "1,2,3");
    cr_assert_eq(d.deadline_ms, d.now_ms + 9000);
    d.now_ms += 8999;
    desk_heartbeat(&d, 2, NULL);
    desk_heartbeat(&d, 3, NULL);
    desk_tick(&d);
    cr_assert_not(desk_is_fenced(&d, 1));
    d.now_ms += 1;
    desk_tick(&d);
    cr_assert(desk_is_fenced(&d, 1));
    cr_assert_not(desk_is_fenced(&d, 2));
    SHOWS(0, "leader 2 epochs 1/1 replicas 1,2,3 isr 2,3");
}

Test(broker_control, silence_does_not_count_while_the_controller_stood_still)
{
    desk_create_at(&d, "t", "1,2,3");
    d.now_ms += 20000; /* nobody ran, the brokers on this machine neither */
    desk_tick(&d);
    cr_assert_not(desk_is_fenced(&d, 1));
    cr_assert_not(desk_is_fenced(&d, 3));
    cr_assert_eq(d.deadline_ms, d.now_ms + 9000, "as much again, no more");
    desk_heartbeat(&d, 2, NULL);
    desk_heartbeat(&d, 3, NULL);
    /* Once: who is late again is not forgiven again. */
    d.now_ms += 9000 + 800;
    desk_tick(&d);
    cr_assert(desk_is_fenced(&d, 1));
    cr_assert_not(desk_is_fenced(&d, 2));
    SHOWS(0, "leader 2 epochs 1/1 replicas 1,2,3 isr 2,3");
}

Test(broker_control, a_short_stall_gives_back_what_it_took)
{
    struct controller_update update;
    struct controller_call call = desk_call(&d);

    controller_broker_lost(&d.c, &call, 1, desk_epoch(&d, 1), &update);
    desk_done(&d, &update);
    d.now_ms += 100 + 700; /* a reconnect may wait in our queue */
    desk_tick(&d);
    cr_assert_not(desk_is_fenced(&d, 1));
    cr_assert_eq(d.deadline_ms, d.now_ms + 700);
    d.now_ms += 700;
    desk_tick(&d);
    cr_assert(desk_is_fenced(&d, 1));
    cr_assert_not(desk_is_fenced(&d, 2));
}

Test(broker_control, a_lost_connection_ends_in_fencing_after_the_grace)
{
    struct controller_update update;
    struct controller_call call;

    desk_create_at(&d, "t", "1,2,3");
    call = desk_call(&d);
    controller_broker_lost(&d.c, &call, 1, desk_epoch(&d, 1), &update);
    desk_done(&d, &update);
    cr_assert_eq(d.deadline_ms, d.now_ms + 100);
    d.now_ms += 99;
    desk_tick(&d);
    cr_assert_not(desk_is_fenced(&d, 1));
    d.now_ms += 1;
    desk_tick(&d);
    cr_assert(desk_is_fenced(&d, 1));
    SHOWS(0, "leader 2 epochs 1/1 replicas 1,2,3 isr 2,3");
}

Test(broker_control, the_connection_of_an_earlier_process_is_no_loss)
{
    struct controller_update update;
    int64_t before = desk_epoch(&d, 1);
    struct controller_call call;

    desk_kill(&d, 1);
    desk_restart(&d, 1, true);
    call = desk_call(&d);
    controller_broker_lost(&d.c, &call, 1, before, &update);
    desk_done(&d, &update);
    d.now_ms += 100;
    desk_tick(&d);
    cr_assert_not(desk_is_fenced(&d, 1));
}

Test(broker_control, a_broker_that_reconnects_in_time_is_left_alone)
{
    struct controller_update update;
    struct controller_call call = desk_call(&d);

    controller_broker_lost(&d.c, &call, 1, desk_epoch(&d, 1), &update);
    desk_done(&d, &update);
    d.now_ms += 50;
    desk_heartbeat(&d, 1, NULL);
    d.now_ms += 100;
    desk_tick(&d);
    cr_assert_not(desk_is_fenced(&d, 1));
}

Test(broker_control, nobody_is_elected_who_is_being_fenced_too)
{
    desk_create_at(&d, "t", "1,2,3");
    d.now_ms += 8999;
    desk_heartbeat(&d, 3, NULL);
    d.now_ms += 1;
    desk_tick(&d);
    cr_assert(desk_is_fenced(&d, 1));
    cr_assert(desk_is_fenced(&d, 2));
    /* One election, not two. */
    cr_assert_eq(desk_partition(&d, "t", 0)->leader_epoch, 1);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, 3);
}

Test(broker_control, a_broker_whose_connection_is_gone_is_elected_last)
{
    struct controller_update update;
    struct controller_call call;

    desk_create_at(&d, "t", "1,2,3");
    call = desk_call(&d);
    controller_broker_lost(&d.c, &call, 1, desk_epoch(&d, 1), &update);
    desk_done(&d, &update);
    d.now_ms += 60;
    call = desk_call(&d);
    controller_broker_lost(&d.c, &call, 2, desk_epoch(&d, 2), &update);
    desk_done(&d, &update);
    d.now_ms += 40;
    desk_tick(&d);
    cr_assert(desk_is_fenced(&d, 1));
    cr_assert_not(desk_is_fenced(&d, 2));
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, 3);
}

Test(broker_control, a_failover_gives_everybody_a_fresh_session)
{
    d.now_ms += 8000;
    desk_failover(&d);
    d.now_ms += 8999;
    desk_tick(&d);
    cr_assert_not(desk_is_fenced(&d, 1));
    d.now_ms += 1;
    desk_tick(&d);
    cr_assert(desk_is_fenced(&d, 1));
}

/* ---- controlled shutdown ------------------------------------------------- */

static Leat__HeartbeatResponse want_shutdown(int32_t id)
{
    Leat__HeartbeatRequest beat = LEAT__HEARTBEAT_REQUEST__INIT;
    Leat__HeartbeatResponse response;

    beat.broker_id = id;
    beat.broker_epoch = desk_epoch(&d, id);
    beat.applied_index = d.next_index - 1;
    beat.want_shutdown = true;
    cr_assert_eq(desk_heartbeat_with(&d, beat, &response), ERR_NONE);
    return response;
}

Test(broker_control, shutdown_moves_leaders_and_waits_until_all_have_heard)
{
    desk_create_at(&d, "t", "1,2,3 2,1,3");
    desk_create_at(&d, "u", "1");
    Leat__HeartbeatResponse response = want_shutdown(1);
    cr_assert_not(response.should_shut_down);
    cr_assert_not(response.is_fenced);
    SHOWS(0, "leader 2 epochs 1/1 replicas 1,2,3 isr 2,3");
    SHOWS(1, "leader 2 epochs 0/1 replicas 2,1,3 isr 2,3");
    /* No other replica: it stays in sync, and nobody leads. */
    cr_assert_str_eq(desk_show(&d, "u", 0),
                     "leader -1 epochs 1/1 replicas 1 isr 1");

    desk_heartbeat(&d, 2, NULL);
    cr_assert_not(want_shutdown(1).should_shut_down);
    desk_heartbeat(&d, 3, NULL);
    response = want_shutdown(1);
    cr_assert(response.should_shut_down);
    cr_assert(response.is_fenced);
    /* If the answer got lost, it is given again. */
    cr_assert(want_shutdown(1).should_shut_down);
}

Test(broker_control, shutdown_hears_of_metadata_between_heartbeats)
{
    desk_create_at(&d, "t", "1,2,3");
    want_shutdown(1);
    controller_broker_applied(&d.c, 2, desk_epoch(&d, 2), d.next_index - 1);
    controller_broker_applied(&d.c, 3, desk_epoch(&d, 3), d.next_index - 1);
    cr_assert(want_shutdown(1).should_shut_down);
}

Test(broker_control, a_broker_shutting_down_is_not_elected_or_placed)
{
    desk_create_at(&d, "t", "3,1,2");
    want_shutdown(1);
    desk_kill(&d, 3);
    cr_assert_eq(desk_partition(&d, "t", 0)->leader, 2);
    cr_assert_eq(desk_create(&d, "u", 3, 1), ERR_NONE);
    for (int32_t p = 0; p < 3; p++)
        cr_assert_eq(desk_partition(&d, "u", p)->leader, 2);
}

Test(broker_control, a_broker_comes_back_after_a_clean_shutdown)
{
    desk_create_at(&d, "t", "1");
    want_shutdown(1);
    desk_heartbeat(&d, 2, NULL);
    desk_heartbeat(&d, 3, NULL);
    cr_assert(want_shutdown(1).should_shut_down);
    desk_restart(&d, 1, true);
    SHOWS(0, "leader 1 epochs 2/2 replicas 1 isr 1");
}

Test(broker_control, shutdown_after_a_failover_goes_on)
{
    desk_create_at(&d, "t", "1,2,3");
    want_shutdown(1);
    desk_failover(&d);
    cr_assert_not(want_shutdown(1).should_shut_down);
    desk_heartbeat(&d, 2, NULL);
    desk_heartbeat(&d, 3, NULL);
    cr_assert(want_shutdown(1).should_shut_down);
}

/* ---- removal and producer ids -------------------------------------------- */

Test(broker_control, an_unregistered_broker_is_gone)
{
    desk_create_at(&d, "t", "3,1");
    cr_assert_eq(desk_unregister(&d, 3), ERR_NONE);
    SHOWS(0, "leader 1 epochs 1/1 replicas 3,1 isr 1");
    cr_assert_null(image_broker(&d.committed, 3));
    cr_assert_eq(desk_unregister(&d, 3), ERR_BROKER_ID_NOT_REGISTERED);
}

static enum err allocate(int64_t epoch_off,
                         Leat__AllocateProducerIdsResponse *response)
{
    struct controller_update update;
    struct controller_call call = desk_call(&d);
    Leat__AllocateProducerIdsRequest request =
        LEAT__ALLOCATE_PRODUCER_IDS_REQUEST__INIT;
    const char *why = "";

    leat__allocate_producer_ids_response__init(response);
    request.broker_id = 1;
    request.broker_epoch = desk_epoch(&d, 1) + epoch_off;
    enum err error = controller_allocate_producer_ids(&d.c, &call, &request,
                                                      response, &why, &update);
    desk_done(&d, &update);
    return error;
}

Test(broker_control, producer_ids_are_handed_out_once)
{
    Leat__AllocateProducerIdsResponse response;

    cr_assert_eq(allocate(0, &response), ERR_NONE);
    cr_assert_eq(response.first, 0);
    cr_assert_eq(response.count, 1000);
    desk_failover(&d);
    cr_assert_eq(allocate(0, &response), ERR_NONE);
    cr_assert_eq(response.first, 1000);
    cr_assert_eq(allocate(1, &response), ERR_STALE_BROKER_EPOCH);
}

/* ---- any call ------------------------------------------------------------ */

Test(broker_control, a_call_that_is_missing_or_not_ours_is_refused)
{
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__ControlResponse response;
    struct controller_update update;
    struct controller_call call = desk_call(&d);

    controller_handle(&d.c, &call, &request, &response, &update);
    desk_done(&d, &update);
    cr_assert_eq(response.error, ERR_INVALID_REQUEST);

    Leat__ForwardRequest forward = LEAT__FORWARD_REQUEST__INIT;
    forward.api_key = 65536 + 19;
    request.call_case = LEAT__CONTROL_REQUEST__CALL_FORWARD;
    request.forward = &forward;
    call = desk_call(&d);
    controller_handle(&d.c, &call, &request, &response, &update);
    desk_done(&d, &update);
    cr_assert_eq(response.error, ERR_UNSUPPORTED_VERSION);

    Leat__HeartbeatRequest beat = LEAT__HEARTBEAT_REQUEST__INIT;
    beat.broker_id = 1;
    beat.broker_epoch = desk_epoch(&d, 1);
    request.call_case = LEAT__CONTROL_REQUEST__CALL_HEARTBEAT;
    request.heartbeat = &beat;
    call = desk_call(&d);
    controller_handle(&d.c, &call, &request, &response, &update);
    desk_done(&d, &update);
    cr_assert_eq(response.error, ERR_NONE);
    cr_assert_eq(response.result_case,
                 LEAT__CONTROL_RESPONSE__RESULT_HEARTBEAT);
}
