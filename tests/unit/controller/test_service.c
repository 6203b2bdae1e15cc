/* The controller's shell on real sockets and disks.  Its two peers are the
 * test's: they vote for it, acknowledge what it sends until they are told to
 * be mute, and depose it when the test says so.  A third one is no voter until
 * a test adds it. */
#include "base/env_libevent.h"
#include "base/error.h"
#include "controller/features.h"
#include "controller/service_parts.h"
#include "proto/kafka/header.h"
#include "raft/codec.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SELF = 1,
    VOTING_PEERS = 2,
    PEERS = 3,
    NEWCOMER = SELF + PEERS,
    CALLS = 3,
    PATIENCE_MS = 30000,
    LOOK_MS = 2,
};

static struct env *env;
static char dir[64];
static struct controller_service *service;

/* ---- waiting ------------------------------------------------------------- */

static struct env_timer look_timer;
static bool (*until)(void);
static int64_t patience_ends_ms;

static void look(void *arg)
{
    (void)arg;
    if (until() || env_now_ms(env) > patience_ends_ms)
        env_stop(env);
    else
        env_timer_start(env, &look_timer, LOOK_MS);
}

static void wait_for(bool (*condition)(void), const char *what)
{
    until = condition;
    patience_ends_ms = env_now_ms(env) + PATIENCE_MS;
    look_timer.fn = look;
    env_timer_start(env, &look_timer, 0);
    env_run(env);
    cr_assert(condition(), "%s did not happen", what);
}

/* ---- the peers ----------------------------------------------------------- */

struct peer {
    int32_t id;
    struct env_listener *listener;
    struct env_conn *conn;
};

static struct peer peers[PEERS];
static bool mute;

static void say(const struct raft_message *m)
{
    struct buf body = BUF_INIT;

    raft_message_encode(m, "test", SLICE_NULL, &body);
    cr_assert(raft_node_receive(service->raft, buf_slice(&body)));
    buf_free(&body);
}

static void answer(const struct peer *p, const struct raft_message *m)
{
    struct raft_message reply = {.from = p->id, .to = SELF, .term = m->term};

    if (m->type == RAFT_VOTE_REQUEST) {
        reply.type = RAFT_VOTE_REPLY;
        reply.vote_reply.vote_term = m->vote_request.vote_term;
        reply.vote_reply.pre = m->vote_request.pre;
        reply.vote_reply.granted = true;
        say(&reply);
    } else if (m->type == RAFT_APPEND) {
        reply.type = RAFT_APPEND_REPLY;
        reply.append_reply.match = m->append.prev_index + m->append.entries_len;
        say(&reply);
    }
}

static void on_peer_frame(struct env_conn *conn, void *arg,
                          struct env_frame *frame)
{
    struct slice bytes = slice_of(frame->data, frame->len);
    struct reader in = reader_of(bytes);
    struct slice cluster_id;
    struct raft_message m;
    struct arena arena;

    (void)conn;
    cr_assert(raft_transport_is(bytes));
    read_bytes(&in, 2 + 2 + 4); /* key, version, correlation id */
    read_bytes(&in, read_u16(&in));
    arena_init(&arena, 0);
    cr_assert(raft_message_decode(read_bytes(&in, reader_left(&in)), &arena, &m,
                                  &cluster_id));
    if (!mute)
        answer(arg, &m);
    arena_free(&arena);
    env_frame_unref(frame);
}

static void on_peer_closed(struct env_conn *conn, void *arg, int error)
{
    (void)conn;
    (void)error;
    ((struct peer *)arg)->conn = NULL;
}

static const struct env_conn_ops *on_peer_accept(struct env_conn *conn,
                                                 void *owner, void **arg)
{
    static const struct env_conn_ops ops = {.frame = on_peer_frame,
                                            .closed = on_peer_closed};

    ((struct peer *)owner)->conn = conn;
    *arg = owner;
    return &ops;
}

static void peer_listen(struct peer *p, int32_t id)
{
    char *why = NULL;
    struct env_listen_options o = {
        .host = "127.0.0.1",
        .frame_max_bytes = 1 << 20,
        .accept = on_peer_accept,
        .owner = p,
    };

    p->id = id;
    cr_assert_eq(env_listen(env, &o, &p->listener, &why), 0, "%s", why);
}

/* A leader of the next term. */
static void depose(void)
{
    struct raft_node_status status;

    raft_node_status(service->raft, &status);
    say(&(struct raft_message){.type = RAFT_APPEND,
                               .from = peers[0].id,
                               .to = SELF,
                               .term = status.term + 1});
}

/* ---- a broker ------------------------------------------------------------ */

static struct {
    struct env_conn *conn;
    int32_t correlation_ids[CALLS + 2];
    int32_t errors[CALLS + 2];
    size_t answers;
    bool closed;
} broker;

static void on_answer(struct env_conn *conn, void *arg, struct env_frame *frame)
{
    (void)conn;
    (void)arg;
    cr_assert_geq(frame->len, 4);
    Leat__ControlResponse *r =
        leat__control_response__unpack(NULL, frame->len - 4, frame->data + 4);
    cr_assert_not_null(r);
    cr_assert_lt(broker.answers, CALLS + 2);
    broker.correlation_ids[broker.answers] = (int32_t)be32_get(frame->data);
    broker.errors[broker.answers++] = r->error;
    leat__control_response__free_unpacked(r, NULL);
    env_frame_unref(frame);
}

static void on_broker_closed(struct env_conn *conn, void *arg, int error)
{
    (void)conn;
    (void)arg;
    (void)error;
    broker.closed = true;
}

static void broker_connect(void)
{
    static const struct env_conn_ops ops = {.frame = on_answer,
                                            .closed = on_broker_closed};

    broker.conn =
        env_connect(env, "127.0.0.1", env_listener_port(service->listener),
                    1 << 20, &ops, NULL);
}

static void broker_send(int32_t correlation_id, Leat__ControlRequest *request)
{
    size_t size = leat__control_request__get_packed_size(request);
    struct env_out *out = env_out_new();
    struct buf frame = BUF_INIT;

    buf_put_u32(&frame, (uint32_t)(10 + size));
    buf_put_u16(&frame, CONTROL_API_KEY);
    buf_put_u16(&frame, CONTROL_API_VERSION);
    buf_put_u32(&frame, (uint32_t)correlation_id);
    buf_put_u16(&frame, 0);
    leat__control_request__pack(request, buf_extend(&frame, size));
    env_out_add_buf(out, &frame);
    env_conn_send(broker.conn, out);
}

static uint8_t life = 1; /* of the broker's process */

struct place {
    const char *listener;
    const char *host;
    uint16_t port;
};

/* Where it says that it listens. */
static struct place places[2] = {{"PLAINTEXT", "127.0.0.1", 1}};
static size_t places_len = 1;

/* A call whose answer waits for a commit. */
static void broker_register(int32_t correlation_id, int32_t broker_id)
{
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__RegisterBrokerRequest r = LEAT__REGISTER_BROKER_REQUEST__INIT;
    Leat__Endpoint each[2];
    Leat__Endpoint *endpoints[2];
    uint8_t incarnation[16] = {life, (uint8_t)broker_id};

    for (size_t i = 0; i < places_len; i++) {
        leat__endpoint__init(&each[i]);
        each[i].listener = (char *)(uintptr_t)places[i].listener;
        each[i].host = (char *)(uintptr_t)places[i].host;
        each[i].port = places[i].port;
        endpoints[i] = &each[i];
    }
    r.broker_id = broker_id;
    r.incarnation.data = incarnation;
    r.incarnation.len = sizeof incarnation;
    r.endpoints = endpoints;
    r.n_endpoints = places_len;
    r.previous_broker_epoch = -1;
    struct arena arena;
    arena_init(&arena, 0);
    features_declare(&r, &arena);
    request.call_case = LEAT__CONTROL_REQUEST__CALL_REGISTER_BROKER;
    request.register_broker = &r;
    broker_send(correlation_id, &request);
    arena_free(&arena);
}

/* With everything applied. */
static void broker_beat(int32_t correlation_id, int32_t broker_id)
{
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__HeartbeatRequest r = LEAT__HEARTBEAT_REQUEST__INIT;

    r.broker_id = broker_id;
    r.broker_epoch = image_broker(&service->image, broker_id)->epoch;
    r.applied_index = service->image.applied_index;
    request.call_case = LEAT__CONTROL_REQUEST__CALL_HEARTBEAT;
    request.heartbeat = &r;
    broker_send(correlation_id, &request);
}

/* A call that waits for news after what is committed now, or after more. */
static void broker_poll_after(int32_t correlation_id, int64_t more)
{
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__FetchMetadataRequest r = LEAT__FETCH_METADATA_REQUEST__INIT;

    r.broker_id = -1;
    r.applied_index = service->image.applied_index + more;
    r.max_wait_ms = 2 * PATIENCE_MS;
    r.max_bytes = 1 << 20;
    request.call_case = LEAT__CONTROL_REQUEST__CALL_FETCH_METADATA;
    request.fetch_metadata = &r;
    broker_send(correlation_id, &request);
}

static void broker_poll(int32_t correlation_id)
{
    broker_poll_after(correlation_id, 0);
}

/* ---- a tool -------------------------------------------------------------- */

static struct {
    struct env_conn *conn;
    int16_t errors[CALLS];
    size_t answers;
    bool closed;
} tool;

/* All three answers begin with the throttle time and the error. */
static void on_tool_answer(struct env_conn *conn, void *arg,
                           struct env_frame *frame)
{
    struct reader in = reader_of(slice_of(frame->data, frame->len));

    (void)conn;
    (void)arg;
    cr_assert_lt(tool.answers, (size_t)CALLS);
    cr_assert_eq(read_i32(&in), (int32_t)tool.answers, "out of order");
    read_u8(&in); /* no tagged fields in the header */
    read_i32(&in);
    tool.errors[tool.answers++] = read_i16(&in);
    cr_assert_not(in.bad);
    env_frame_unref(frame);
}

static void on_tool_closed(struct env_conn *conn, void *arg, int error)
{
    (void)conn;
    (void)arg;
    (void)error;
    tool.closed = true;
}

static void ask(int16_t key, int16_t version, const void *msg)
{
    static const struct env_conn_ops ops = {.frame = on_tool_answer,
                                            .closed = on_tool_closed};
    static int32_t asked;
    struct request_header h;
    struct buf frame = BUF_INIT;

    request_header_init(&h);
    h.request_api_key = key;
    h.request_api_version = version;
    h.correlation_id = asked++;
    cr_assert_eq(kafka_frame_request(&frame, &h, msg), ERR_NONE);
    if (tool.conn == NULL)
        tool.conn =
            env_connect(env, "127.0.0.1", env_listener_port(service->listener),
                        1 << 20, &ops, NULL);
    struct env_out *out = env_out_new();
    env_out_add_buf(out, &frame);
    env_conn_send(tool.conn, out);
}

static struct add_raft_voter_request_listener newcomers_address;

static struct add_raft_voter_request an_addition(void)
{
    struct add_raft_voter_request q;

    newcomers_address = (struct add_raft_voter_request_listener){
        .name = SLICE("CONTROLLER"),
        .host = SLICE("127.0.0.1"),
        .port = env_listener_port(peers[PEERS - 1].listener),
    };
    add_raft_voter_request_init(&q);
    q.cluster_id = SLICE_NULL;
    q.timeout_ms = PATIENCE_MS;
    q.voter_id = NEWCOMER;
    q.voter_directory_id = (struct uuid){{4}};
    q.listeners = &newcomers_address;
    q.listeners_len = 1;
    return q;
}

static struct remove_raft_voter_request a_removal(int32_t id)
{
    struct remove_raft_voter_request q;

    remove_raft_voter_request_init(&q);
    q.cluster_id = SLICE_NULL;
    q.voter_id = id;
    q.voter_directory_id = (struct uuid){{9}};
    return q;
}

static bool one_is_told(void) { return tool.answers == 1; }

static bool two_are_told(void) { return tool.answers == 2; }

static bool three_are_told(void) { return tool.answers == 3; }

/* ---- the service --------------------------------------------------------- */

static void set_up(void)
{
    struct controller_service_options o = {
        .node_id = SELF,
        .incarnation = {{1}},
        .cluster_id = "test",
        .dir = dir,
        .voters = RAFT_CONFIG_INIT,
        /* Nobody is to be deposed because this machine is slow. */
        .election_timeout_ms = 10 * PATIENCE_MS,
        .listener = "CONTROLLER",
        .host = "127.0.0.1",
        .advertised_host = "127.0.0.1",
        .advertised_port = 1,
        .frame_max_bytes = 1 << 20,
        .inter_broker_listener = "INTERNAL",
    };
    char *why = NULL;

    strcpy(dir, "/tmp/leat-service-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    o.env = env = env_create();
    controller_config_init(&o.config);
    struct raft_member self = {.id = SELF, .voter = true, .host = "127.0.0.1"};
    self.port = 1;
    raft_config_set(&o.voters, &self);
    for (int32_t i = 0; i < PEERS; i++) {
        struct raft_member m = {.voter = true, .host = "127.0.0.1"};

        m.id = SELF + 1 + i;
        peer_listen(&peers[i], m.id);
        m.port = env_listener_port(peers[i].listener);
        if (i < VOTING_PEERS)
            raft_config_set(&o.voters, &m);
    }
    service = controller_service_open(&o, &why);
    cr_assert_not_null(service, "%s", why);
    raft_config_free(&o.voters);
}

static bool service_gone;

static void on_stopped(void *arg)
{
    (void)arg;
    service_gone = true;
}

static bool is_gone(void) { return service_gone; }

static void tear_down(void)
{
    if (!service_gone)
        controller_service_stop(service, on_stopped, NULL);
    wait_for(is_gone, "the end of the service");
    if (!broker.closed && broker.conn != NULL)
        env_conn_close(broker.conn);
    if (!tool.closed && tool.conn != NULL)
        env_conn_close(tool.conn);
    for (int i = 0; i < PEERS; i++) {
        if (peers[i].conn != NULL)
            env_conn_close(peers[i].conn);
        env_listener_close(peers[i].listener);
    }
    env_free(env);
    char *command = xasprintf("rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
    free(command);
}

TestSuite(service, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- conditions ---------------------------------------------------------- */

/* It has proposed what a new cluster needs, and all of that is committed. */
static bool is_active(void)
{
    struct raft_node_status status;

    raft_node_status(service->raft, &status);
    return service->controller.active && status.last_index > 0 &&
           status.applied_index == status.last_index;
}

static size_t list_len(const struct list *l)
{
    size_t len = 0;

    LIST_EACH (node, l)
        len++;
    return len;
}

static bool answers_are_held(void)
{
    return list_len(&service->answers) == CALLS;
}

static bool a_poll_waits(void) { return !list_empty(&service->polls); }

static bool first_is_answered(void) { return broker.answers == 1; }

static bool all_are_answered(void) { return broker.answers == CALLS + 2; }

/* ---- tests --------------------------------------------------------------- */

Test(service, a_deposed_controller_refuses_what_it_held_back_in_order)
{
    int32_t id = 0;

    wait_for(is_active, "leadership");
    broker_connect();
    broker_register(++id, 100);
    wait_for(first_is_answered, "an answer from a quorum");
    cr_assert_eq(broker.errors[0], ERR_NONE);
    cr_assert(service->write.urgent, "the image waits behind logs");

    mute = true;
    broker_poll(++id);
    wait_for(a_poll_waits, "a long poll");
    for (int32_t i = 1; i <= CALLS; i++)
        broker_register(++id, 100 + i);
    wait_for(answers_are_held, "held answers");
    depose();
    wait_for(all_are_answered, "an answer to everything held back");
    cr_assert_not(service->leader);
    for (int32_t i = 0; i < CALLS; i++) {
        cr_assert_eq(broker.correlation_ids[1 + i], 3 + i);
        cr_assert_eq(broker.errors[1 + i], ERR_NOT_CONTROLLER);
    }
    cr_assert_eq(broker.correlation_ids[1 + CALLS], 2); /* polls come last */
    cr_assert_eq(broker.errors[1 + CALLS], ERR_NOT_CONTROLLER);
    cr_assert_not(broker.closed);
}

static bool two_are_answered(void) { return broker.answers == 2; }

static bool three_are_answered(void) { return broker.answers == 3; }

static bool four_are_answered(void) { return broker.answers == 4; }

static bool one_is_connected(void) { return list_len(&service->conns) == 1; }

static bool nobody_is_connected(void) { return list_empty(&service->conns); }

static bool is_lost(int32_t id)
{
    const struct controller_broker *b =
        map_get(&service->controller.brokers, slice_of(&id, sizeof id));

    return b->lost;
}

/* Registered and unfenced, by a connection that stays broker.conn. */
static void broker_starts(int32_t id)
{
    wait_for(is_active, "leadership");
    broker_connect();
    broker_register(1, id);
    wait_for(first_is_answered, "an answer");
    broker_beat(2, id);
    wait_for(two_are_answered, "an answer");
    cr_assert_not(image_broker(&service->image, id)->fenced);
}

Test(service, a_refused_process_takes_nothing_with_its_connection)
{
    broker_starts(100);
    struct env_conn *healthy = broker.conn;
    life = 2;
    broker_connect();
    broker_register(3, 100);
    wait_for(three_are_answered, "an answer");
    cr_assert_eq(broker.errors[2], ERR_DUPLICATE_BROKER_REGISTRATION);
    env_conn_close(broker.conn);
    broker.conn = healthy;
    wait_for(one_is_connected, "the end of the connection");
    cr_assert_not(is_lost(100));
}

Test(service, only_the_end_of_a_brokers_last_connection_counts)
{
    broker_starts(100);
    struct env_conn *old = broker.conn;
    broker_connect();
    broker_beat(3, 100);
    wait_for(three_are_answered, "an answer");
    env_conn_close(old);
    wait_for(one_is_connected, "the end of the connection");
    cr_assert_not(is_lost(100));
    env_conn_close(broker.conn);
    broker.conn = NULL;
    wait_for(nobody_is_connected, "the end of the connection");
    cr_assert(is_lost(100));
}

/* What was on its way when the broker gave the connection up. */
Test(service, a_late_heartbeat_does_not_bring_an_old_connection_back)
{
    broker_starts(100);
    struct env_conn *old = broker.conn;
    broker_connect();
    struct env_conn *now = broker.conn;
    broker_beat(3, 100);
    wait_for(three_are_answered, "an answer");
    broker.conn = old;
    broker_beat(4, 100);
    wait_for(four_are_answered, "an answer");
    env_conn_close(old);
    broker.conn = now;
    wait_for(one_is_connected, "the end of the connection");
    cr_assert_not(is_lost(100));
}

/* ---- who has more -------------------------------------------------------- */

static bool one_answer_is_held(void)
{
    return list_len(&service->answers) == 1;
}

Test(service, what_was_never_agreed_on_is_refused_once_the_quorum_has_confirmed)
{
    wait_for(is_active, "leadership");
    broker_connect();
    broker_poll_after(1, 1);
    wait_for(first_is_answered, "an answer");
    cr_assert_eq(broker.errors[0], ERR_OFFSET_OUT_OF_RANGE);
    broker_poll_after(2, 5);
    wait_for(two_are_answered, "an answer");
    cr_assert_eq(broker.errors[1], ERR_OFFSET_OUT_OF_RANGE);
    wait_for(is_active, "activity");
}

/* Others may lead by now, and what it has be theirs. */
Test(service, a_controller_that_is_not_sure_to_lead_ends_no_broker)
{
    wait_for(is_active, "leadership");
    broker_connect();
    mute = true;
    broker_poll_after(1, 1);
    wait_for(one_answer_is_held, "an answer that waits");
    cr_assert_eq(broker.answers, 0);
    depose();
    wait_for(first_is_answered, "an answer");
    cr_assert_eq(broker.errors[0], ERR_NOT_CONTROLLER);
}

/* ---- probes -------------------------------------------------------------- */

static bool no_probe_is_under_way(void) { return list_empty(&service->probes); }

/* What a controller that has just become active finds out about a broker which
 * listens there; port 0: at one where somebody does. */
static bool is_found_dead(struct place first, struct place second)
{
    int32_t id = 100;

    wait_for(is_active, "leadership");
    places[0] = first;
    places[1] = second;
    places_len = second.listener != NULL ? 2 : 1;
    for (int i = 0; i < 2; i++)
        if (places[i].port == 0)
            places[i].port = env_listener_port(peers[PEERS - 1].listener);
    broker_starts(id);
    struct controller_broker *b =
        map_get(&service->controller.brokers, slice_of(&id, sizeof id));
    b->heard = false;
    service_probe_brokers(service);
    wait_for(no_probe_is_under_way, "an end of the probes");
    return image_broker(&service->controller.image, id)->fenced;
}

#define PLACE(...) ((struct place){__VA_ARGS__})
#define NOWHERE ((struct place){0})

Test(service, a_broker_whose_port_refuses_is_dead)
{
    cr_assert(is_found_dead(PLACE("PLAINTEXT", "127.0.0.1", 1), NOWHERE));
}

Test(service, a_broker_whose_name_nobody_knows_may_live)
{
    cr_assert_not(
        is_found_dead(PLACE("INTERNAL", "a..name.that.cannot.be", 1), NOWHERE));
}

Test(service, the_listener_between_brokers_is_the_one_that_is_probed)
{
    cr_assert_not(is_found_dead(PLACE("EXTERNAL", "localhost", 1),
                                PLACE("INTERNAL", "127.0.0.1")));
}

Test(service, a_broker_that_only_others_listen_for_is_dead)
{
    cr_assert(is_found_dead(PLACE("EXTERNAL", "localhost"),
                            PLACE("INTERNAL", "127.0.0.1", 1)));
}

Test(service, all_listeners_must_refuse_if_that_between_brokers_is_not_known)
{
    cr_assert_not(
        is_found_dead(PLACE("A", "127.0.0.1", 1), PLACE("B", "127.0.0.1")));
}

Test(service, a_broker_is_dead_if_all_its_listeners_refuse)
{
    cr_assert(
        is_found_dead(PLACE("A", "127.0.0.1", 1), PLACE("B", "127.0.0.1", 1)));
}

/* ---- decisions that are not taken ---------------------------------------- */

static bool is_stale(void) { return service->stale; }

/* Nothing is uncommitted, so no commit comes that could bring it back. */
Test(service, a_leader_whose_decision_is_not_taken_is_active_again)
{
    struct controller_update update = {.deadline_ms = INT64_MAX};
    struct raft_node_status status;

    wait_for(is_active, "leadership");
    raft_node_status(service->raft, &status);
    update.batches = xcalloc(1, sizeof *update.batches);
    update.batches_len = 1;
    update.batches[0].index = (int64_t)status.last_index + 1;
    memset(buf_extend(&update.batches[0].bytes, (8 << 20) + 1), 0,
           (8 << 20) + 1);
    cr_assert_not(service_carry_out(service, &update));
    cr_assert(is_stale());
    wait_for(is_active, "activity");
    cr_assert_not(is_stale());
    broker_connect();
    broker_register(1, 100);
    wait_for(first_is_answered, "an answer");
    cr_assert_eq(broker.errors[0], ERR_NONE);
}

/* ---- who votes ----------------------------------------------------------- */

static const struct raft_member *member(int32_t id)
{
    return raft_config_find(raft_node_members(service->raft), id);
}

static const struct image_controller *registered(int32_t id)
{
    for (size_t i = 0; i < service->image.controllers_len; i++)
        if (service->image.controllers[i]->id == id)
            return service->image.controllers[i];
    return NULL;
}

Test(service, a_controller_is_added_when_it_has_caught_up_and_all_know_it)
{
    struct add_raft_voter_request q = an_addition();

    wait_for(is_active, "leadership");
    ask(API_ADD_RAFT_VOTER, 1, &q);
    wait_for(one_is_told, "an answer");
    cr_assert_eq(tool.errors[0], ERR_NONE);
    cr_assert(member(NEWCOMER)->voter);
    cr_assert(uuid_eq(member(NEWCOMER)->directory, q.voter_directory_id));
    cr_assert_eq(registered(NEWCOMER)->endpoints[0].port,
                 newcomers_address.port);
    ask(API_ADD_RAFT_VOTER, 0, &q);
    wait_for(two_are_told, "an answer");
    cr_assert_eq(tool.errors[1], err_wire(ERR_DUPLICATE_VOTER));
}

Test(service, a_controller_that_does_not_answer_stays_an_observer)
{
    struct add_raft_voter_request q = an_addition();
    struct remove_raft_voter_request r = a_removal(NEWCOMER);

    wait_for(is_active, "leadership");
    newcomers_address.port = 1; /* nobody listens */
    q.timeout_ms = 100;
    ask(API_ADD_RAFT_VOTER, 1, &q);
    wait_for(one_is_told, "an answer");
    cr_assert_eq(tool.errors[0], err_wire(ERR_REQUEST_TIMED_OUT));
    cr_assert_not(member(NEWCOMER)->voter);
    ask(API_REMOVE_RAFT_VOTER, 0, &r);
    wait_for(two_are_told, "an answer");
    cr_assert_eq(tool.errors[1], err_wire(ERR_VOTER_NOT_FOUND));
    /* Another try, and where it really is. */
    q = an_addition();
    ask(API_ADD_RAFT_VOTER, 1, &q);
    wait_for(three_are_told, "an answer");
    cr_assert_eq(tool.errors[2], ERR_NONE);
    cr_assert(member(NEWCOMER)->voter);
}

static bool voters_change(void) { return service->voters.change.active; }

Test(service, one_change_of_voters_at_a_time)
{
    struct remove_raft_voter_request q = a_removal(2);
    struct voter_reply nobody = {.api_key = API_REMOVE_RAFT_VOTER};
    struct buf body = BUF_INIT;
    struct arena arena;

    wait_for(is_active, "leadership");
    mute = true;
    ask(API_REMOVE_RAFT_VOTER, 0, &q);
    wait_for(voters_change, "a change under way");
    q.voter_id = 3;
    cr_assert_eq(
        kafka_encode(&remove_raft_voter_request_desc, 0, &q, &body, NULL),
        ERR_NONE);
    arena_init(&arena, 0);
    cr_assert_eq(
        service_change_voters(service, &nobody, buf_slice(&body), &arena),
        ERR_NONE);
    cr_assert(member(3)->voter);
    cr_assert_not(member(2)->voter);
    cr_assert_eq(tool.answers, 0, "it is not committed");
    arena_free(&arena);
    buf_free(&body);
    depose();
    wait_for(one_is_told, "an answer");
    cr_assert_eq(tool.errors[0], err_wire(ERR_NOT_LEADER_OR_FOLLOWER));
}

static bool leads_no_more(void) { return !service->leader; }

Test(service, an_active_controller_that_is_removed_says_so_and_steps_down)
{
    struct remove_raft_voter_request q = a_removal(SELF);

    wait_for(is_active, "leadership");
    ask(API_REMOVE_RAFT_VOTER, 0, &q);
    wait_for(one_is_told, "an answer");
    cr_assert_eq(tool.errors[0], ERR_NONE);
    wait_for(leads_no_more, "the end of its leadership");
    cr_assert_not(member(SELF)->voter);
    ask(API_REMOVE_RAFT_VOTER, 0, &q);
    wait_for(two_are_told, "an answer");
    cr_assert_eq(tool.errors[1], err_wire(ERR_NOT_LEADER_OR_FOLLOWER));
}

Test(service, changes_of_voters_that_make_no_sense_are_refused)
{
    struct add_raft_voter_request q = an_addition();
    struct remove_raft_voter_request r = a_removal(7);

    wait_for(is_active, "leadership");
    q.cluster_id = SLICE("another");
    ask(API_ADD_RAFT_VOTER, 1, &q);
    q = an_addition();
    newcomers_address.name = SLICE("PLAINTEXT");
    ask(API_ADD_RAFT_VOTER, 1, &q);
    ask(API_REMOVE_RAFT_VOTER, 0, &r);
    wait_for(three_are_told, "answers");
    cr_assert_eq(tool.errors[0], err_wire(ERR_INCONSISTENT_CLUSTER_ID));
    cr_assert_eq(tool.errors[1], err_wire(ERR_INVALID_REQUEST));
    cr_assert_eq(tool.errors[2], err_wire(ERR_VOTER_NOT_FOUND));
    cr_assert_null(member(NEWCOMER));
}

Test(service, a_voter_moves_to_another_address)
{
    struct update_raft_voter_request_listener at = {
        SLICE("CONTROLLER"), SLICE("127.0.0.1"),
        env_listener_port(peers[PEERS - 1].listener)};
    struct update_raft_voter_request q;
    struct raft_node_status status;

    wait_for(is_active, "leadership");
    update_raft_voter_request_init(&q);
    q.cluster_id = SLICE_NULL;
    q.voter_id = 3;
    q.voter_directory_id = (struct uuid){{3}};
    q.listeners = &at;
    q.listeners_len = 1;
    q.current_leader_epoch = 0;
    ask(API_UPDATE_RAFT_VOTER, 0, &q);
    raft_node_status(service->raft, &status);
    q.current_leader_epoch = (int32_t)status.term;
    ask(API_UPDATE_RAFT_VOTER, 0, &q);
    wait_for(two_are_told, "answers");
    cr_assert_eq(tool.errors[0], err_wire(ERR_FENCED_LEADER_EPOCH));
    cr_assert_eq(tool.errors[1], ERR_NONE);
    cr_assert(member(3)->voter);
    cr_assert_eq(member(3)->port, at.port);
}

/* ---- DescribeQuorum ------------------------------------------------------ */

static struct describe_quorum_response
describe_quorum(int topics, int partitions, int32_t index, struct arena *arena)
{
    struct describe_quorum_request_partition_data p[2] = {{index}, {index}};
    struct describe_quorum_request_topic_data t[2] = {
        {SLICE("__cluster_metadata"), p, partitions},
        {SLICE("__cluster_metadata"), p, partitions},
    };
    struct describe_quorum_request q;
    struct describe_quorum_response a;
    struct buf body = BUF_INIT, response = BUF_INIT;

    describe_quorum_request_init(&q);
    q.topics = t;
    q.topics_len = topics;
    cr_assert_eq(
        kafka_encode(&describe_quorum_request_desc, 2, &q, &body, NULL),
        ERR_NONE);
    cr_assert_eq(
        service_describe_quorum(service, 2, buf_slice(&body), arena, &response),
        ERR_NONE);
    struct slice bytes = arena_copy(arena, buf_slice(&response));
    cr_assert_eq(
        kafka_decode(&describe_quorum_response_desc, 2, bytes, arena, &a),
        ERR_NONE);
    buf_free(&body);
    buf_free(&response);
    return a;
}

Test(service, the_quorum_is_described_once_in_an_answer)
{
    static const struct {
        int topics, partitions;
        int32_t index;
    } refused[] = {{1, 2, 0}, {2, 1, 0}, {1, 1, 1}};
    struct describe_quorum_response a;
    struct arena arena;

    arena_init(&arena, 0);
    a = describe_quorum(1, 1, 0, &arena);
    cr_assert_eq(a.topics[0].partitions[0].error_code, ERR_NONE);
    cr_assert_gt(a.topics[0].partitions[0].current_voters_len, 0);
    cr_assert_gt(a.nodes_len, 0);
    for (int i = 0; i < 3; i++) {
        a = describe_quorum(refused[i].topics, refused[i].partitions,
                            refused[i].index, &arena);
        cr_assert_eq(a.topics_len, refused[i].topics);
        cr_assert_eq(a.nodes_len, 0);
        for (int32_t t = 0; t < a.topics_len; t++) {
            cr_assert_eq(a.topics[t].partitions_len, refused[i].partitions);
            for (int32_t p = 0; p < a.topics[t].partitions_len; p++) {
                cr_assert_eq(a.topics[t].partitions[p].error_code,
                             ERR_UNKNOWN_TOPIC_OR_PARTITION, "%d", i);
                cr_assert_eq(a.topics[t].partitions[p].current_voters_len, 0);
            }
        }
    }
    arena_free(&arena);
}

static bool is_stopping(void) { return service->stopping; }

/* Raft tells it from the midst of its own work, where nothing may be freed. */
Test(service, a_leader_that_stops_closes_when_another_leads)
{
    wait_for(is_active, "leadership");
    controller_service_stop(service, on_stopped, NULL);
    wait_for(is_stopping, "the hand-over");
    depose();
    cr_assert_not(service->closing);
    wait_for(is_gone, "the end of the service");
}

/* ---- frames ---------------------------------------------------------------*/

static uint64_t last_index(void)
{
    struct raft_node_status status;

    raft_node_status(service->raft, &status);
    return status.last_index;
}

static uint64_t index_awaited;

static bool is_appended(void) { return last_index() == index_awaited; }

static bool is_refused(void) { return tool.closed; }

static bool is_appended_or_refused(void)
{
    return is_appended() || is_refused();
}

/* An entry that fills a message, from the leader of the next term. */
static void send_long_append(void)
{
    static const struct env_conn_ops ops = {.frame = on_tool_answer,
                                            .closed = on_tool_closed};
    struct raft_node_status status;
    struct buf payload = BUF_INIT, frame = BUF_INIT;
    struct env_out *out = env_out_new();

    raft_node_status(service->raft, &status);
    size_t len = service->options.config.entry_max_bytes;
    memset(buf_extend(&payload, len), 0, len);
    struct raft_entry entry = {.term = status.term + 1,
                               .data = buf_slice(&payload)};
    struct raft_message m = {.type = RAFT_APPEND,
                             .from = peers[0].id,
                             .to = SELF,
                             .term = status.term + 1};
    m.append.prev_index = status.last_index;
    m.append.prev_term = status.term;
    m.append.entries = &entry;
    m.append.entries_len = 1;
    index_awaited = status.last_index + 1;
    buf_put_u32(&frame, 0);
    buf_put_u16(&frame, RAFT_API_KEY);
    buf_put_u16(&frame, RAFT_API_VERSION);
    buf_put_u32(&frame, 0);
    buf_put_u16(&frame, 6);
    buf_put_slice(&frame, SLICE("raft-2"));
    raft_message_encode(&m, "test", SLICE_NULL, &frame);
    be32_put(frame.data, (uint32_t)(frame.len - 4));
    env_out_add_buf(out, &frame);
    tool.conn =
        env_connect(env, "127.0.0.1", env_listener_port(service->listener),
                    1 << 20, &ops, NULL);
    env_conn_send(tool.conn, out);
    buf_free(&payload);
}

/* Whatever length clients' requests are allowed. */
Test(service, what_controllers_send_each_other_may_be_as_long_as_it_gets)
{
    wait_for(is_active, "leadership");
    cr_assert_gt(service->options.config.entry_max_bytes,
                 service->options.frame_max_bytes);
    mute = true;
    send_long_append();
    wait_for(is_appended_or_refused, "an end of the message");
    cr_assert(is_appended());
}
