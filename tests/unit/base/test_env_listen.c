/* How connections come to be: listeners, dialling, and what goes wrong. */
#include "tests/unit/base/net_kit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

TestSuite(env_listen, .timeout = 60);

static bool client_closed(struct net *net) { return net->client.closed != 0; }

static bool accepted_one(struct net *net) { return net->accepted == 1; }

static bool client_open(struct net *net)
{
    return net->client.opened != 0 && net->accepted != 0;
}

static void connect_to(struct net *net, const char *host, uint16_t port)
{
    net->client.conn =
        env_connect(net->env, host, port, FRAME_MAX, &end_ops, &net->client);
}

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
    struct net net;

    net_listen(&net, FRAME_MAX);
    uint16_t port = env_listener_port(net.listener);
    net_free(&net);
    return port;
}

/* ---- dialling ------------------------------------------------------------*/

Test(env_listen, a_refused_connection_is_told_later_and_once)
{
    struct net net;
    uint16_t port = free_port();

    net_listen(&net, FRAME_MAX);
    connect_to(&net, "127.0.0.1", port);
    send_frame(net.client.conn, "lost", 4);
    cr_assert_eq(net.client.closed, 0, "inside the call");
    net_run(&net, client_closed);
    cr_assert_eq(net.client.error, ERR_REFUSED);
    cr_assert_eq(net.client.opened, 0);
    net_run_ms(&net, 20);
    cr_assert_eq(net.client.closed, 1);
    net_free(&net);
}

Test(env_listen, a_name_that_does_not_exist_is_no_refusal)
{
    struct net net;

    net_listen(&net, FRAME_MAX);
    connect_to(&net, "a..name.that.cannot.be", 9092);
    net_run(&net, client_closed);
    cr_assert_eq(net.client.error, ERR_UNREACHABLE);
    net_free(&net);
}

Test(env_listen, an_address_that_nobody_can_have_is_no_refusal)
{
    struct net net;

    net_listen(&net, FRAME_MAX);
    connect_to(&net, "255.255.255.255", 9092);
    net_run(&net, client_closed);
    cr_assert_eq(net.client.error, ERR_UNREACHABLE);
    net_free(&net);
}

Test(env_listen, a_name_whose_addresses_all_refuse_is_a_refusal)
{
    struct net net;
    uint16_t port = free_port();

    net_listen(&net, FRAME_MAX);
    connect_to(&net, "localhost", port);
    net_run(&net, client_closed);
    cr_assert_eq(net.client.error, ERR_REFUSED);
    net_free(&net);
}

/* localhost may be ::1 first, where nobody listens. */
Test(env_listen, every_address_of_a_name_is_tried)
{
    struct net net;

    net_listen(&net, FRAME_MAX);
    connect_to(&net, "localhost", env_listener_port(net.listener));
    net_run(&net, client_open);
    cr_assert_str_eq(env_conn_peer_host(net.client.conn), "127.0.0.1");
    cr_assert_str_eq(env_conn_peer_host(net.server.conn), "127.0.0.1");
    cr_assert_eq(env_conn_local_port(net.server.conn),
                 env_listener_port(net.listener));
    net_free(&net);
}

Test(env_listen, closing_during_the_look_up_is_silent)
{
    for (int turns = 0; turns < 3; turns++) {
        struct net net;

        net_listen(&net, FRAME_MAX);
        connect_to(&net, "localhost", env_listener_port(net.listener));
        for (int i = 0; i < turns; i++)
            net_run_ms(&net, 0);
        struct env_conn *conn = net.client.conn;
        net.client.conn = NULL;
        env_conn_close(conn);
        net_run_ms(&net, 20);
        cr_assert_eq(net.client.closed, 0);
        net_free(&net);
    }
}

Test(env_listen, a_loop_may_end_during_the_look_up)
{
    struct net net;

    net_listen(&net, FRAME_MAX);
    connect_to(&net, "localhost", env_listener_port(net.listener));
    net_run_ms(&net, 0);
    net_free(&net);
    cr_assert_eq(net.client.closed, 0);
}

/* ---- listening -----------------------------------------------------------*/

static int try_listen(struct net *net, const char *host, uint16_t port,
                      bool shared, char **why)
{
    struct env_listen_options options = {
        .host = host,
        .port = port,
        .frame_max_bytes = FRAME_MAX,
        .accept = net_accept,
        .owner = net,
        .shared = shared,
    };

    *why = NULL;
    return env_listen(net->env, &options, &net->listener, why);
}

static struct net bare_net(void) { return (struct net){.env = env_create()}; }

static void adopt(struct net *net) { net->client.net = net->server.net = net; }

Test(env_listen, a_taken_port_is_refused_with_the_reason_and_the_remedy)
{
    struct net net, other = bare_net();
    char *why;

    net_listen(&net, FRAME_MAX);
    uint16_t port = env_listener_port(net.listener);
    cr_assert_eq(try_listen(&other, "127.0.0.1", port, false, &why),
                 -EADDRINUSE);
    char *wanted = xasprintf("cannot listen on 127.0.0.1:%u: Address already "
                             "in use: another process has this port; stop it "
                             "or change 'listeners'",
                             port);
    cr_assert_str_eq(why, wanted);
    free(wanted);
    free(why);
    cr_assert_eq(try_listen(&other, "127.0.0.1", port, true, &why),
                 -EADDRINUSE);
    free(why);
    cr_assert_eq(try_listen(&other, "192.0.2.1", port, false, &why),
                 -EADDRNOTAVAIL);
    free(why);
    net_free(&net);
    net_free(&other);
}

/* A second process of the same user would be let in by SO_REUSEPORT alone. */
Test(env_listen, a_shared_port_is_not_shared_with_strangers)
{
    struct net net = bare_net();
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof in;
    int on = 1, stranger = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char *why;

    setsockopt(stranger, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    cr_assert_eq(bind(stranger, (struct sockaddr *)&in, sizeof in), 0);
    cr_assert_eq(listen(stranger, 1), 0);
    getsockname(stranger, (struct sockaddr *)&in, &len);
    cr_assert_eq(try_listen(&net, "", ntohs(in.sin_port), true, &why),
                 -EADDRINUSE);
    free(why);
    close(stranger);
    cr_assert_eq(try_listen(&net, "", ntohs(in.sin_port), true, &why), 0);
    net_free(&net);
}

Test(env_listen, every_address_includes_ipv4_and_ipv6)
{
    static const char *const hosts[] = {"", "0.0.0.0", "::"};

    for (int i = 0; i < 3; i++) {
        struct net net = bare_net();
        char *why;

        adopt(&net);
        cr_assert_eq(try_listen(&net, hosts[i], 0, false, &why), 0);
        connect_to(&net, "127.0.0.1", env_listener_port(net.listener));
        net_run(&net, client_open);
        cr_assert_str_eq(env_conn_peer_host(net.server.conn), "127.0.0.1");
        net_free(&net);
    }
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                               .sin6_addr = in6addr_loopback};
    bool ipv6 = fd >= 0 && bind(fd, (struct sockaddr *)&in6, sizeof in6) == 0;
    close(fd);
    if (!ipv6)
        return;
    struct net net = bare_net();
    char *why;
    adopt(&net);
    cr_assert_eq(try_listen(&net, "0.0.0.0", 0, false, &why), 0);
    connect_to(&net, "::1", env_listener_port(net.listener));
    net_run(&net, client_open);
    cr_assert_str_eq(env_conn_peer_host(net.server.conn), "::1");
    net_free(&net);
}

Test(env_listen, a_refused_guest_sees_the_end)
{
    struct net net;

    net_listen(&net, FRAME_MAX);
    net.server.refuse = true;
    net_connect(&net);
    net_run(&net, client_closed);
    /* Whichever the loop looks at first, the connection or its reset. */
    cr_assert(net.client.error ==
              (net.client.opened ? ERR_CLOSED : ERR_UNREACHABLE));
    cr_assert_eq(net.server.closed, 0);
    net_free(&net);
}

/* Not a mere end, after which some clients come back to the same server. */
Test(env_listen, a_refused_guest_sees_a_reset)
{
    struct net net;
    char byte;

    net_listen(&net, FRAME_MAX);
    net.server.refuse = true;
    struct sockaddr_in in = {
        .sin_family = AF_INET,
        .sin_port = htons(env_listener_port(net.listener)),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    int guest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(guest, (struct sockaddr *)&in, sizeof in), 0);
    net_run(&net, accepted_one);
    cr_assert_eq(recv(guest, &byte, 1, 0), -1);
    cr_assert_eq(errno, ECONNRESET);
    close(guest);
    net_free(&net);
}

static const struct env_conn_ops *accept_last(struct env_conn *conn,
                                              void *owner, void **arg)
{
    struct net *net = owner;

    env_listener_close(net->listener);
    net->listener = NULL;
    return net_accept(conn, owner, arg);
}

Test(env_listen, a_listener_may_be_closed_while_it_accepts)
{
    struct net net = bare_net();
    char *why = NULL;
    struct env_listen_options options = {
        .host = "127.0.0.1",
        .frame_max_bytes = FRAME_MAX,
        .accept = accept_last,
        .owner = &net,
    };

    adopt(&net);
    cr_assert_eq(env_listen(net.env, &options, &net.listener, &why), 0);
    uint16_t port = env_listener_port(net.listener);
    connect_to(&net, "127.0.0.1", port);
    net_run(&net, client_open);
    struct end late = {.net = &net};
    late.conn =
        env_connect(net.env, "127.0.0.1", port, FRAME_MAX, &end_ops, &late);
    net_run_ms(&net, 20);
    cr_assert_eq(late.error, ERR_REFUSED);
    cr_assert_eq(net.accepted, 1);
    net_free(&net);
}

/* ---- several loops -------------------------------------------------------*/

enum { GUESTS = 40 };

static atomic_int guests;

static const struct env_conn_ops *count_guest(struct env_conn *conn,
                                              void *owner, void **arg)
{
    atomic_fetch_add(&guests, 1);
    return NULL;
}

static void *run_loop(void *env)
{
    env_run(env);
    return NULL;
}

static bool all_refused(struct net *net)
{
    return net->client.closed == GUESTS;
}

static void guest_closed(struct env_conn *conn, void *arg, int error)
{
    struct net *net = arg;

    net->client.closed++;
    net_check(net);
}

Test(env_listen, loops_that_share_a_port_take_every_connection)
{
    static const struct env_conn_ops guest_ops = {.closed = guest_closed};
    struct env_listen_options options = {
        .host = "127.0.0.1",
        .frame_max_bytes = FRAME_MAX,
        .accept = count_guest,
        .shared = true,
    };
    struct env *loops[3];
    struct env_listener *listeners[3];
    pthread_t threads[3];
    struct net net = bare_net();
    char *why;

    for (int i = 0; i < 3; i++) {
        loops[i] = env_create();
        cr_assert_eq(env_listen(loops[i], &options, &listeners[i], &why), 0);
        options.port = env_listener_port(listeners[i]);
    }
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, run_loop, loops[i]);
    for (int i = 0; i < GUESTS; i++)
        env_connect(net.env, "127.0.0.1", options.port, FRAME_MAX, &guest_ops,
                    &net);
    net_run(&net, all_refused);
    cr_assert_eq(atomic_load(&guests), GUESTS);
    for (int i = 0; i < 3; i++) {
        env_stop(loops[i]);
        pthread_join(threads[i], NULL);
        env_free(loops[i]);
    }
    net_free(&net);
}

/* ---- out of descriptors --------------------------------------------------*/

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

Test(env_listen, out_of_descriptors_it_waits_without_spinning_and_recovers)
{
    struct net net;
    struct rlimit limit;
    int filler = -1, last;

    net_listen(&net, FRAME_MAX);
    struct sockaddr_in in = {
        .sin_family = AF_INET,
        .sin_port = htons(env_listener_port(net.listener)),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    int guest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 256;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((last = dup(guest)) >= 0)
        filler = last;
    cr_assert_eq(connect(guest, (struct sockaddr *)&in, sizeof in), 0);
    int64_t before = cpu_us();
    net_run_ms(&net, 250);
    cr_assert_eq(net.accepted, 0);
    cr_assert_lt(cpu_us() - before, 100000);
    close(filler);
    net_run(&net, accepted_one);
    net_free(&net);
}

/* Or whoever connects often enough would take the files away from the logs. */
Test(env_listen, the_last_descriptors_are_not_for_guests)
{
    struct rlimit limit;
    struct net net;
    int fd;

    net_listen(&net, FRAME_MAX);
    uint16_t port = env_listener_port(net.listener);
    env_listener_close(net.listener);
    struct env_listen_options options = {
        .host = "127.0.0.1",
        .port = port,
        .frame_max_bytes = FRAME_MAX,
        .accept = net_accept,
        .owner = &net,
        .spares_descriptors = true,
    };
    char *why;
    cr_assert_eq(env_listen(net.env, &options, &net.listener, &why), 0);
    while ((fd = open("/dev/null", O_RDONLY)) < 80)
        cr_assert_geq(fd, 0);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)fd + 6;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    connect_to(&net, "127.0.0.1", port);
    net_run(&net, client_closed);
    cr_assert_eq(net.accepted, 0);
    cr_assert_geq(open("/dev/null", O_RDONLY), 0);

    limit.rlim_cur = limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    net.client.closed = 0;
    connect_to(&net, "127.0.0.1", port);
    net_run(&net, client_open);
    net_free(&net);
}
