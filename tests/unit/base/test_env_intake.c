/* The bound on what received frames hold, and listeners that do not accept. */
#include "base/env_internal.h"

#include "tests/unit/base/net_kit.h"

#include <pthread.h>
#include <sys/socket.h>

TestSuite(env_intake, .timeout = 60);

enum { MB = 1024 * 1024, CLIENTS = 12 };

/* One listener with an intake; each accepted connection keeps its frames until
 * they are given back. */
struct room {
    struct net net;
    struct env_intake *intake;
    struct end clients[CLIENTS];
    struct env_frame *frames[CLIENTS * 4];
    int frames_len;
    int closed;
    int error;
    size_t most_used;
};

static struct room *room_of(struct net *net)
{
    return LIST_ENTRY(net, struct room, net);
}

static void on_frame(struct env_conn *conn, void *arg, struct env_frame *frame)
{
    struct room *room = arg;

    room->frames[room->frames_len++] = frame;
    if (env_intake_used(room->intake) > room->most_used)
        room->most_used = env_intake_used(room->intake);
    net_check(&room->net);
}

static void on_closed(struct env_conn *conn, void *arg, int error)
{
    struct room *room = arg;

    room->closed++;
    room->error = error;
    net_check(&room->net);
}

static const struct env_conn_ops guest_ops = {.frame = on_frame,
                                              .closed = on_closed};

static const struct env_conn_ops *guest(struct env_conn *conn, void *owner,
                                        void **arg)
{
    struct room *room = owner;

    room->net.accepted++;
    *arg = room;
    return &guest_ops;
}

static void room_open(struct room *room, size_t limit_bytes)
{
    char *why = NULL;

    *room = (struct room){.net = {.env = env_create()}};
    room->intake = env_intake_new(room->net.env, limit_bytes);
    struct env_listen_options options = {
        .host = "127.0.0.1",
        .frame_max_bytes = FRAME_MAX,
        .accept = guest,
        .owner = room,
        .intake = room->intake,
    };
    cr_assert_eq(env_listen(room->net.env, &options, &room->net.listener, &why),
                 0, "%s", why);
    for (int i = 0; i < CLIENTS; i++) {
        room->clients[i].net = &room->net;
        room->clients[i].conn = env_connect(
            room->net.env, "127.0.0.1", env_listener_port(room->net.listener),
            FRAME_MAX, &end_ops, &room->clients[i]);
    }
}

static void room_close(struct room *room)
{
    while (room->frames_len > 0)
        env_frame_unref(room->frames[--room->frames_len]);
    env_conns_free(room->net.env);
    env_intake_free(room->intake);
    env_free(room->net.env);
}

/* The last frame, done with. */
static void give_back(struct room *room)
{
    struct env_frame *frame = room->frames[--room->frames_len];

    env_intake_give_back(room->intake, frame->len);
    env_frame_unref(frame);
}

/* `part` of a frame that says it has len bytes. */
static void send_part(struct env_conn *conn, size_t len, size_t part)
{
    struct buf b = BUF_INIT;
    uint8_t *data = pattern_new(1, part);

    buf_put_u32(&b, (uint32_t)len);
    buf_put(&b, data, part);
    free(data);
    env_conn_send(conn, out_of_buf(&b));
}

static bool one_frame(struct net *net) { return room_of(net)->frames_len == 1; }

static bool any_frame(struct net *net) { return room_of(net)->frames_len > 0; }

static bool all_frames(struct net *net)
{
    return room_of(net)->frames_len == CLIENTS;
}

Test(env_intake, frames_wait_in_the_socket_until_there_is_room)
{
    struct room room;

    room_open(&room, MB);
    for (int i = 0; i < CLIENTS; i++)
        send_part(room.clients[i].conn, MB, MB);
    for (int taken = 0; taken < CLIENTS; taken++) {
        net_run(&room.net, any_frame);
        net_run_ms(&room.net, 10);
        give_back(&room);
    }
    cr_assert_eq(room.frames_len, 0);
    cr_assert_leq(room.most_used, (size_t)2 * MB + 2 * ENV_INTAKE_READ_BYTES);
    cr_assert_eq(env_intake_used(room.intake), 0);
    room_close(&room);
}

/* Many parts fill the room: each ends, one after the other. */
Test(env_intake, frames_that_began_together_all_end)
{
    struct room room;

    room_open(&room, 4 * MB);
    for (int i = 0; i < CLIENTS; i++)
        send_part(room.clients[i].conn, 4 * MB, 4 * MB);
    for (int taken = 0; taken < CLIENTS; taken++) {
        net_run(&room.net, any_frame);
        give_back(&room);
    }
    cr_assert_leq(room.most_used, (size_t)8 * MB + 2 * ENV_INTAKE_READ_BYTES);
    room_close(&room);
}

Test(env_intake, small_frames_are_cut_on_when_room_comes)
{
    struct room room;

    room_open(&room, 100);
    for (int i = 0; i < 4; i++)
        send_part(room.clients[0].conn, 60, 60);
    for (int given = 0; given < 4; given += 2) {
        while (room.frames_len < 2)
            net_run_ms(&room.net, 5);
        net_run_ms(&room.net, 10);
        cr_assert_eq(room.frames_len, 2, "120 bytes are held of 100");
        give_back(&room);
        give_back(&room);
    }
    room_close(&room);
}

static bool half_arrived(struct net *net)
{
    return env_intake_used(room_of(net)->intake) == MB / 2;
}

static bool nothing_held(struct net *net)
{
    return env_intake_used(room_of(net)->intake) == 0;
}

Test(env_intake, a_connection_that_ends_gives_its_half_frame_back)
{
    struct room room;

    room_open(&room, MB / 2);
    send_part(room.clients[0].conn, MB, MB / 2);
    while (!half_arrived(&room.net))
        net_run_ms(&room.net, 5);
    send_part(room.clients[1].conn, 10, 10);
    net_run_ms(&room.net, 20);
    cr_assert_eq(room.frames_len, 0, "there is no room");
    env_conn_close(room.clients[0].conn);
    net_run(&room.net, one_frame);
    cr_assert_eq(room.error, ERR_MALFORMED);
    give_back(&room);
    cr_assert(nothing_held(&room.net));
    room_close(&room);
}

/* The clock is moved instead of waited for. */
Test(env_intake, a_stalled_frame_loses_its_place_if_others_wait)
{
    struct room room;

    room_open(&room, MB / 2);
    send_part(room.clients[0].conn, MB, MB / 2);
    while (!half_arrived(&room.net))
        net_run_ms(&room.net, 5);
    struct env_conn *stalled = LIST_ENTRY(room.intake->arriving.next,
                                          struct env_conn, intake_arriving);
    stalled->frame_began_ms -= ENV_INTAKE_PATIENCE_MS;
    net_run_ms(&room.net, 20);
    cr_assert_eq(room.closed, 0, "it disturbs nobody");
    send_part(room.clients[1].conn, 10, 10);
    net_run(&room.net, one_frame);
    cr_assert_eq(room.closed, 1);
    cr_assert_eq(room.error, ERR_REQUEST_TIMED_OUT);
    room_close(&room);
}

/* What arrives of `len` bytes is `part`; returns the end that has it. */
static struct env_conn *begin_frame(struct room *room, size_t len, size_t part)
{
    send_part(room->clients[0].conn, len, part);
    while (env_intake_used(room->intake) != part)
        net_run_ms(&room->net, 5);
    return LIST_ENTRY(room->intake->arriving.next, struct env_conn,
                      intake_arriving);
}

static void send_rest(struct env_conn *conn, size_t len)
{
    struct buf b = BUF_INIT;

    memset(buf_extend(&b, len), 'x', len);
    env_conn_send(conn, out_of_buf(&b));
}

/* As a producer that is throttled while half of its next frame is in. */
Test(env_intake, a_frame_of_a_paused_connection_is_not_waited_for)
{
    struct room room;

    room_open(&room, MB);
    struct env_conn *paused = begin_frame(&room, 3 * MB, 1000);
    paused->frame_began_ms -= ENV_INTAKE_PATIENCE_MS;
    env_conn_pause(paused);
    for (int i = 1; i <= 3; i++)
        send_part(room.clients[i].conn, 4 * MB, 4 * MB);
    for (int i = 1; i <= 3; i++) {
        net_run(&room.net, any_frame);
        give_back(&room);
    }
    cr_assert_eq(room.closed, 0);
    send_part(room.clients[1].conn, 4 * MB, 2 * MB);
    net_run_ms(&room.net, 20);
    env_conn_resume(paused);
    send_rest(room.clients[0].conn, 3 * MB - 1000);
    net_run_ms(&room.net, 20);
    send_rest(room.clients[1].conn, 2 * MB);
    for (int i = 0; i < 2; i++) {
        net_run(&room.net, any_frame);
        give_back(&room);
    }
    cr_assert_eq(room.closed, 0, "its time began anew");
    cr_assert_eq(env_intake_used(room.intake), 0);
    room_close(&room);
}

Test(env_intake, a_frame_that_nobody_will_read_is_not_waited_for)
{
    struct room room;

    room_open(&room, MB);
    struct env_conn *ending = begin_frame(&room, 3 * MB, 1000);
    env_conn_pause(room.clients[0].conn); /* does not take the answer */
    send_rest(ending, 16 * MB);
    env_conn_close_when_sent(ending);
    for (int i = 1; i <= 2; i++)
        send_part(room.clients[i].conn, 4 * MB, 4 * MB);
    for (int i = 1; i <= 2; i++) {
        net_run(&room.net, any_frame);
        give_back(&room);
    }
    cr_assert_eq(room.closed, 0);
    room_close(&room);
}

Test(env_intake, who_waits_and_is_paused_does_not_wait)
{
    struct room room;

    room_open(&room, MB / 2);
    struct env_conn *slow = begin_frame(&room, MB, MB / 2);
    send_part(room.clients[1].conn, 10, 10);
    while (list_empty(&room.intake->waiting))
        net_run_ms(&room.net, 5);
    struct env_conn *waiting =
        LIST_ENTRY(room.intake->waiting.next, struct env_conn, intake_waiting);
    env_conn_pause(waiting);
    cr_assert(list_empty(&room.intake->waiting));
    env_conn_resume(waiting);
    net_run_ms(&room.net, 20);
    cr_assert_eq(room.frames_len, 0, "there is no room");
    cr_assert_not(list_empty(&room.intake->waiting));
    send_rest(room.clients[0].conn, MB / 2);
    net_run(&room.net, any_frame);
    cr_assert_eq(room.frames[0]->len, MB);
    give_back(&room);
    net_run(&room.net, any_frame);
    cr_assert_eq(slow->state, CONN_OPEN);
    room_close(&room);
}

/* The clock is moved again, to when the time of who waited is over. */
Test(env_intake, a_slow_frame_stays_if_who_waited_has_left)
{
    struct room room;

    room_open(&room, MB / 2);
    struct env_conn *slow = begin_frame(&room, MB, MB / 2);
    send_part(room.clients[1].conn, 10, 10);
    while (list_empty(&room.intake->waiting))
        net_run_ms(&room.net, 5);
    env_conn_close(
        LIST_ENTRY(room.intake->waiting.next, struct env_conn, intake_waiting));
    slow->frame_began_ms -= ENV_INTAKE_PATIENCE_MS;
    env_timer_start(room.net.env, &room.intake->patience, 0);
    net_run_ms(&room.net, 20);
    cr_assert_eq(room.closed, 0);
    send_rest(room.clients[0].conn, MB / 2);
    net_run(&room.net, any_frame);
    room_close(&room);
}

static void *give_back_elsewhere(void *arg)
{
    give_back(arg);
    return NULL;
}

Test(env_intake, another_thread_may_give_back)
{
    struct room room;
    pthread_t thread;

    room_open(&room, MB);
    for (int i = 0; i < 2; i++)
        send_part(room.clients[i].conn, MB, MB);
    net_run(&room.net, one_frame);
    net_run_ms(&room.net, 20);
    pthread_create(&thread, NULL, give_back_elsewhere, &room);
    pthread_join(thread, NULL);
    net_run(&room.net, one_frame);
    room_close(&room);
}

Test(env_intake, without_a_limit_in_reach_nobody_waits)
{
    struct room room;

    room_open(&room, (size_t)CLIENTS * MB + 1);
    for (int i = 0; i < CLIENTS; i++)
        send_part(room.clients[i].conn, MB, MB);
    net_run(&room.net, all_frames);
    room_close(&room);
}

/* ---- listeners that do not accept ----------------------------------------*/

static int slots, taken_back;

static bool take_slot(void *owner) { return slots > 0 && slots-- > 0; }

static void put_slot_back(void *owner)
{
    slots++;
    taken_back++;
}

static bool echoed(struct net *net) { return net->client.frames_len == 1; }

static void net_listen_with(struct net *net, struct env_listen_options *options)
{
    char *why = NULL;

    *net = (struct net){.env = env_create()};
    net->client.net = net->server.net = net;
    options->host = "127.0.0.1";
    options->frame_max_bytes = FRAME_MAX;
    options->accept = net_accept;
    options->owner = net;
    cr_assert_eq(env_listen(net->env, options, &net->listener, &why), 0, "%s",
                 why);
}

Test(env_intake, a_paused_listener_keeps_guests_in_the_backlog)
{
    struct net net;

    net_listen_with(&net, &(struct env_listen_options){.paused = true});
    net.server.echo = true;
    net_connect(&net);
    send_frame(net.client.conn, "early", 5);
    net_run_ms(&net, 30);
    cr_assert_eq(net.client.opened, 1, "the kernel answers");
    cr_assert_eq(net.accepted, 0);
    env_listener_resume(net.listener);
    net_run(&net, echoed);
    env_listener_pause(net.listener);
    struct end late = {.net = &net};
    late.conn =
        env_connect(net.env, "127.0.0.1", env_listener_port(net.listener),
                    FRAME_MAX, &end_ops, &late);
    net_run_ms(&net, 30);
    cr_assert_eq(net.accepted, 1);
    net_free(&net);
}

static bool two_accepted(struct net *net) { return net->accepted == 2; }

static bool three_accepted(struct net *net) { return net->accepted == 3; }

Test(env_intake, guests_that_are_not_admitted_wait)
{
    struct net net;
    struct end guests[3];

    slots = 2;
    taken_back = 0;
    net_listen_with(&net, &(struct env_listen_options){
                              .admit = take_slot, .unadmit = put_slot_back});
    for (int i = 0; i < 3; i++) {
        guests[i] = (struct end){.net = &net};
        guests[i].conn =
            env_connect(net.env, "127.0.0.1", env_listener_port(net.listener),
                        FRAME_MAX, &end_ops, &guests[i]);
    }
    net_run(&net, two_accepted);
    net_run_ms(&net, 30);
    cr_assert_eq(net.accepted, 2);
    slots = 2;
    env_listener_resume(net.listener);
    net_run(&net, three_accepted);
    net_run_ms(&net, 10);
    cr_assert_eq(slots, 1, "the slot for nobody came back");
    cr_assert_geq(taken_back, 1);
    net_free(&net);
}

static int option_of(const struct env_conn *conn, int option)
{
    int value = 0;
    socklen_t len = sizeof value;

    cr_assert_eq(getsockopt(conn->fd, SOL_SOCKET, option, &value, &len), 0);
    return value;
}

static bool both_open(struct net *net)
{
    return net->client.opened && net->accepted;
}

/* The kernel doubles what it is told, for its own needs. */
Test(env_intake, buffers_have_the_size_that_was_asked_for)
{
    struct net net;

    net_listen_with(&net,
                    &(struct env_listen_options){.send_buffer_bytes = 20000,
                                                 .receive_buffer_bytes = 30000,
                                                 .backlog = 1});
    net_connect(&net);
    env_conn_set_receive_buffer(net.client.conn, 40000);
    net_run(&net, both_open);
    cr_assert_eq(option_of(net.server.conn, SO_SNDBUF), 40000);
    cr_assert_eq(option_of(net.server.conn, SO_RCVBUF), 60000);
    cr_assert_eq(option_of(net.client.conn, SO_RCVBUF), 80000);
    net_free(&net);
}

Test(env_intake, hosts_are_looked_up_as_peers_are_written)
{
    char address[ENV_HOST_BYTES];

    cr_assert_null(env_look_up("127.0.0.1", address));
    cr_assert_str_eq(address, "127.0.0.1");
    cr_assert_null(env_look_up("0:0:0:0:0:0:0:1", address));
    cr_assert_str_eq(address, "::1");
    cr_assert_null(env_look_up("::ffff:192.0.2.7", address));
    cr_assert_str_eq(address, "192.0.2.7");
    cr_assert_not_null(env_look_up("a..name.that.cannot.be", address));
}
