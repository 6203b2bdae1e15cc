/* Framing, flow control and the end of connections, over real sockets. */
#include "tests/unit/base/net_kit.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

TestSuite(env_net, .timeout = 60);

static bool client_closed(struct net *net) { return net->client.closed != 0; }

static bool server_closed(struct net *net) { return net->server.closed != 0; }

static bool client_open(struct net *net)
{
    return net->client.opened != 0 && net->accepted != 0;
}

/* ---- frames --------------------------------------------------------------*/

static const size_t sizes[] = {
    0,       1,       2,       3,       4,     5,        100, 4095,   4096,
    16384,   65531,   65532,   65533,   65536, 65540,    0,   200000, 1048576,
    2096128, 2096129, 2097152, 5000000, 7,     20000000, 33,
};
enum { SIZES = sizeof sizes / sizeof *sizes };

static bool all_sizes_back(struct net *net)
{
    return net->client.frames_len == SIZES;
}

Test(env_net, frames_of_every_size_come_back_as_they_were)
{
    struct net net;

    net_listen(&net, FRAME_MAX);
    net.server.echo = true;
    net_connect(&net);
    for (size_t i = 0; i < SIZES; i++) {
        uint8_t *data = pattern_new(i, sizes[i]);
        send_frame(net.client.conn, data, sizes[i]);
        free(data);
    }
    net_run(&net, all_sizes_back);
    for (size_t i = 0; i < SIZES; i++)
        check_pattern(net.client.frames[i], i, sizes[i]);
    cr_assert_eq(net.client.opened, 1);
    net_free(&net);
}

enum { MANY = 20000 };

static bool many_back(struct net *net)
{
    return net->client.frames_len == MANY;
}

Test(env_net, pipelined_small_frames_keep_their_order)
{
    struct net net;
    struct buf b = BUF_INIT;

    net_listen(&net, FRAME_MAX);
    net.server.echo = true;
    net_connect(&net);
    for (uint32_t i = 0; i < MANY; i++) {
        buf_put_u32(&b, 4 + i % 50);
        buf_put_u32(&b, i);
        memset(buf_extend(&b, i % 50), 0, i % 50);
    }
    env_conn_send(net.client.conn, out_of_buf(&b));
    net_run(&net, many_back);
    for (uint32_t i = 0; i < MANY; i++) {
        cr_assert_eq(net.client.frames[i]->len, 4 + i % 50);
        cr_assert_eq(be32_get(net.client.frames[i]->data), i);
    }
    net_free(&net);
}

/* One byte per packet at worst: the length prefix itself arrives in pieces. */
static bool one_frame(struct net *net) { return net->server.frames_len == 1; }

Test(env_net, a_frame_may_arrive_byte_by_byte)
{
    static const uint8_t bytes[] = {0, 0, 0, 3, 'a', 'b', 'c'};
    struct net net;

    net_listen(&net, FRAME_MAX);
    net_connect(&net);
    net_run(&net, client_open);
    for (size_t i = 0; i < sizeof bytes; i++) {
        struct buf b = BUF_INIT;

        cr_assert_eq(net.server.frames_len, 0);
        buf_put_u8(&b, bytes[i]);
        env_conn_send(net.client.conn, out_of_buf(&b));
        net_run_ms(&net, 3);
    }
    net_run(&net, one_frame);
    cr_assert_eq(memcmp(net.server.frames[0]->data, "abc", 3), 0);
    net_free(&net);
}

static void send_raw(struct net *net, uint32_t length, size_t bytes)
{
    struct buf b = BUF_INIT;

    buf_put_u32(&b, length);
    memset(buf_extend(&b, bytes), 'x', bytes);
    env_conn_send(net->client.conn, out_of_buf(&b));
}

Test(env_net, a_length_above_the_limit_ends_the_connection)
{
    struct net net;

    net_listen(&net, 1000);
    net_connect(&net);
    send_raw(&net, 1000, 1000); /* the limit is inclusive */
    send_raw(&net, 1001, 0);
    net_run(&net, server_closed);
    cr_assert_eq(net.server.frames_len, 1);
    cr_assert_eq(net.server.error, ERR_TOO_LARGE);
    net_run(&net, client_closed);
    net_free(&net);
}

Test(env_net, a_negative_length_ends_the_connection)
{
    struct net net;

    net_listen(&net, SIZE_MAX);
    net_connect(&net);
    send_raw(&net, (uint32_t)-1, 10);
    net_run(&net, server_closed);
    cr_assert_eq(net.server.error, ERR_TOO_LARGE);
    net_free(&net);
}

Test(env_net, an_end_inside_a_length_is_inside_a_frame)
{
    struct net net;
    struct buf b = BUF_INIT;

    net_listen(&net, FRAME_MAX);
    net_connect(&net);
    buf_put_u16(&b, 0);
    env_conn_send(net.client.conn, out_of_buf(&b));
    env_conn_close_when_sent(net.client.conn);
    net_run(&net, server_closed);
    cr_assert_eq(net.server.error, ERR_MALFORMED);
    net_free(&net);
}

Test(env_net, an_end_inside_a_frame_is_told_from_one_between_frames)
{
    static const struct {
        uint32_t length;
        size_t bytes;
        int error;
    } cases[] = {{10, 3, ERR_MALFORMED},
                 {10, 0, ERR_MALFORMED},
                 {10, 10, ERR_CLOSED},
                 {0, 0, ERR_CLOSED},
                 {9000000, 70000, ERR_MALFORMED}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net net;

        net_listen(&net, FRAME_MAX);
        net_connect(&net);
        send_raw(&net, cases[i].length, cases[i].bytes);
        env_conn_close_when_sent(net.client.conn);
        net_run(&net, server_closed);
        cr_assert_eq(net.server.error, cases[i].error, "case %zu", i);
        net_run(&net, client_closed);
        cr_assert_eq(net.client.error, ERR_CLOSED);
        net_free(&net);
    }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static bool three_open(struct net *net) { return net->accepted == 3; }

Test(env_net, a_promised_length_is_not_believed_with_memory)
{
    struct net net;
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;

    net_listen(&net, 1 << 30);
    for (int i = 0; i < 3; i++) {
        net_connect(&net);
        send_raw(&net, 900 << 20, 10);
    }
    net_run(&net, three_open);
    net_run_ms(&net, 20);
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    cr_assert_lt(after - before, 16u << 20);
    net_free(&net);
}
#endif

/* ---- flow control --------------------------------------------------------*/

static size_t wanted_frames;

static bool server_has_wanted(struct net *net)
{
    return net->server.frames_len >= wanted_frames;
}

Test(env_net, a_paused_connection_gives_one_frame_per_resume)
{
    struct net net;

    net_listen(&net, FRAME_MAX);
    net.server.pause_each = true;
    net_connect(&net);
    for (uint32_t i = 0; i < 10; i++) {
        uint8_t *data = pattern_new(i, 20000 * i);
        send_frame(net.client.conn, data, 20000 * i);
        free(data);
    }
    for (wanted_frames = 1; wanted_frames <= 10; wanted_frames++) {
        net_run(&net, server_has_wanted);
        net_run_ms(&net, 5);
        cr_assert_eq(net.server.frames_len, wanted_frames);
        env_conn_resume(net.server.conn);
        cr_assert_eq(net.server.frames_len, wanted_frames, "inside the call");
    }
    for (size_t i = 0; i < 10; i++)
        check_pattern(net.server.frames[i], i, 20000 * i);
    net_free(&net);
}

static int dial(struct net *net)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons(env_listener_port(net->listener)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert(fd >= 0);
    cr_assert_eq(connect(fd, (void *)&to, sizeof to), 0);
    return fd;
}

static char order[8];
static size_t order_len;
static struct env_conn *first, *second;

static void note_order(struct env_conn *conn, void *arg,
                       struct env_frame *frame)
{
    (void)arg;
    if (conn == second)
        env_conn_resume(first);
    else
        order[order_len++] = (char)frame->data[0];
    if (conn == first && order_len == 1)
        env_conn_pause(first);
    env_frame_unref(frame);
}

static void ignore_end(struct env_conn *conn, void *arg, int error)
{
    (void)conn;
    (void)arg;
    (void)error;
}

static const struct env_conn_ops *take_two(struct env_conn *conn, void *owner,
                                           void **arg)
{
    static const struct env_conn_ops ops = {.frame = note_order,
                                            .closed = ignore_end};

    (void)owner;
    (void)arg;
    *(first == NULL ? &first : &second) = conn;
    return &ops;
}

static bool both_there(struct net *net)
{
    (void)net;
    return second != NULL;
}

static bool first_paused(struct net *net)
{
    (void)net;
    return order_len != 0;
}

/* B came with A and waits since A paused the connection; in the turn in which
 * another connection resumes it, C can be read. */
Test(env_net, what_was_held_while_paused_comes_before_what_is_read_later)
{
    struct net net = {0};
    struct env_listen_options options = {
        .host = "127.0.0.1", .frame_max_bytes = 100, .accept = take_two};
    char *why = NULL;

    net.env = env_create();
    cr_assert_eq(env_listen(net.env, &options, &net.listener, &why), 0);
    int one = dial(&net), two = dial(&net);
    while (!both_there(&net))
        net_run_ms(&net, 1);
    cr_assert_eq(write(one, "\0\0\0\1A\0\0\0\1B", 10), 10);
    while (!first_paused(&net))
        net_run_ms(&net, 1);
    /* Both are ready at once. */
    cr_assert_eq(write(two, "\0\0\0\1r", 5), 5);
    cr_assert_eq(write(one, "\0\0\0\1C", 5), 5);
    while (order_len < 3)
        net_run_ms(&net, 1);
    cr_assert_str_eq(order, "ABC");
    close(one);
    close(two);
    net_free(&net);
}

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

Test(env_net, a_reader_that_pauses_holds_the_sender_back)
{
    enum { BIG = 20 * 1000 * 1000 };
    struct net net;
    uint8_t *data = pattern_new(1, BIG);

    net_listen(&net, FRAME_MAX);
    net_connect(&net);
    net_run(&net, client_open);
    env_conn_pause(net.server.conn);
    send_frame(net.client.conn, data, BIG);
    send_frame(net.client.conn, data, BIG);
    cr_assert_eq(env_conn_queued(net.client.conn), 2 * (BIG + 4));
    net_run_ms(&net, 100);
    cr_assert_gt(env_conn_queued(net.client.conn), BIG);
    int64_t before = cpu_us();
    net_run_ms(&net, 300);
    cr_assert_lt(cpu_us() - before, 150000, "waiting costs processor time");
    cr_assert_eq(net.client.drained, 0);
    env_conn_resume(net.server.conn);
    wanted_frames = 2;
    net_run(&net, server_has_wanted);
    cr_assert_eq(net.client.drained, 1);
    check_pattern(net.server.frames[0], 1, BIG);
    check_pattern(net.server.frames[1], 1, BIG);
    free(data);
    net_free(&net);
}

/* ---- the end -------------------------------------------------------------*/

Test(env_net, closing_inside_a_callback_is_the_last_callback)
{
    struct net net;

    net_listen(&net, FRAME_MAX);
    net.server.close_first = true;
    net_connect(&net);
    for (int i = 0; i < 100; i++)
        send_frame(net.client.conn, "hello", 5);
    net_run(&net, client_closed);
    cr_assert_eq(net.server.frames_len, 1);
    cr_assert_eq(net.server.closed, 0);
    cr_assert_eq(net.client.error, ERR_CLOSED);
    net_free(&net);
}

/* The server leaves requests unread: a plain close() would reset the
 * connection and the answer could be lost. */
Test(env_net, the_last_answer_arrives_although_requests_were_left_unread)
{
    enum { BIG = 3000000 };
    struct net net;
    uint8_t *data = pattern_new(5, BIG);

    net_listen(&net, FRAME_MAX);
    net.server.finish_first = true;
    net_connect(&net);
    send_frame(net.client.conn, data, BIG);
    for (int i = 0; i < 50; i++)
        send_frame(net.client.conn, data, 100000);
    net_run(&net, client_closed);
    cr_assert_eq(net.server.frames_len, 1);
    cr_assert_eq(net.server.closed, 1);
    cr_assert_eq(net.client.frames_len, 1);
    check_pattern(net.client.frames[0], 5, BIG);
    free(data);
    net_free(&net);
}

Test(env_net, sending_to_a_peer_that_left_ends_in_closed)
{
    struct net net;

    net_listen(&net, FRAME_MAX);
    net_connect(&net);
    net_run(&net, client_open);
    env_conn_close(net.client.conn);
    net.client.conn = NULL;
    for (int i = 0; i < 10 && net.server.conn != NULL; i++) {
        send_frame(net.server.conn, "hello", 5);
        net_run_ms(&net, 1);
    }
    net_run(&net, server_closed);
    cr_assert_eq(net.server.error, ERR_CLOSED);
    net_free(&net);
}

/* ---- file ranges ---------------------------------------------------------*/

enum { FILE_BYTES = 8 * 1000 * 1000 };

static struct env_file *file_of_pattern(struct env *env)
{
    char path[] = "/tmp/leat-env-net-XXXXXX";
    uint8_t *data = pattern_new(3, FILE_BYTES);
    struct slice part = slice_of(data, FILE_BYTES);
    struct env_file *file;

    close(mkstemp(path));
    cr_assert_eq(env_file_open(env, path, 0, &file), 0);
    cr_assert_eq(env_file_write(file, &part, 1, 0), 0);
    cr_assert_eq(env_unlink(env, path), 0);
    free(data);
    return file;
}

static bool client_has_frame(struct net *net)
{
    return net->client.frames_len == 1;
}

Test(env_net, memory_and_file_ranges_leave_in_order)
{
    struct net net;
    struct buf head = BUF_INIT, middle = BUF_INIT;

    net_listen(&net, FRAME_MAX);
    struct env_file *file = file_of_pattern(net.env);
    net_connect(&net);
    net_run(&net, client_open);
    buf_put_u32(&head, 4 + 10 + (FILE_BYTES - 1000) + 6 + 999);
    buf_put(&head, "head", 4);
    struct env_out *out = out_of_buf(&head);
    env_out_add_file(out, file, 5, 10);
    env_out_add_file(out, file, 1000, FILE_BYTES - 1000);
    buf_put(&middle, "middle", 6);
    env_out_add_buf(out, &middle);
    env_out_add_file(out, file, 0, 0);
    env_out_add_file(out, file, 1, 999);
    env_file_unref(file);
    cr_assert_eq(env_out_len(out), 4 + 4 + 10 + FILE_BYTES - 1000 + 6 + 999);
    env_conn_send(net.server.conn, out);
    net_run(&net, client_has_frame);
    const uint8_t *p = net.client.frames[0]->data;
    cr_assert_eq(memcmp(p, "head", 4), 0);
    p += 4;
    for (size_t i = 0; i < 10; i++)
        cr_assert_eq(*p++, pattern(3, 5 + i));
    for (size_t i = 1000; i < FILE_BYTES; i++)
        if (*p++ != pattern(3, i))
            cr_assert_fail("byte %zu of the range differs", i);
    cr_assert_eq(memcmp(p, "middle", 6), 0);
    p += 6;
    for (size_t i = 1; i < 1000; i++)
        cr_assert_eq(*p++, pattern(3, i));
    net_free(&net);
}

Test(env_net, a_range_that_vanished_ends_the_connection)
{
    struct net net;
    struct buf head = BUF_INIT;

    net_listen(&net, FRAME_MAX);
    struct env_file *file = file_of_pattern(net.env);
    net_connect(&net);
    net_run(&net, client_open);
    cr_assert_eq(env_file_truncate(file, 100), 0);
    buf_put_u32(&head, 200);
    struct env_out *out = out_of_buf(&head);
    env_out_add_file(out, file, 0, 200);
    env_file_unref(file);
    env_conn_send(net.server.conn, out);
    net_run(&net, client_closed);
    cr_assert_eq(net.client.error, ERR_MALFORMED);
    cr_assert_eq(net.server.error, ERR_CLOSED);
    net_free(&net);
}

/* ---- the end of a process ------------------------------------------------ */

Test(env_net, who_hangs_up_is_seen_to_go)
{
    struct net net;
    char byte;

    net_listen(&net, FRAME_MAX);
    int there = dial(&net);
    while (net.accepted == 0)
        net_run_ms(&net, 1);
    env_hang_up(net.env);
    cr_assert_eq(read(there, &byte, 1), 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons(env_listener_port(net.listener)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int late = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(late, (void *)&to, sizeof to), -1);
    cr_assert_eq(errno, ECONNREFUSED);
    close(there);
    close(late);
    net_free(&net);
}
