/* Shared by the network tests: one loop that holds both ends, ends that count
 * and keep what happens to them, and running until a condition holds. */
#ifndef TESTS_NET_KIT_H
#define TESTS_NET_KIT_H

#include "base/env_libevent.h"
#include "base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

enum { FRAME_MAX = 32 * 1024 * 1024, ENDS_MAX = 64 };

struct net;

struct end {
    struct net *net;
    struct env_conn *conn; /* NULL after the end */
    struct env_frame **frames;
    size_t frames_len;
    size_t frames_cap;
    int opened, drained, closed;
    int error;
    /* what to do */
    bool echo;
    bool pause_each;   /* pause after each frame */
    bool close_first;  /* env_conn_close() in the first frame() */
    bool finish_first; /* answer and close_when_sent in the first frame() */
    bool refuse;       /* server: accept() says no */
};

struct net {
    struct env *env;
    struct env_listener *listener;
    struct env_timer watchdog;
    bool (*until)(struct net *net);
    bool late;
    struct end client;
    struct end server; /* behaviour of every accepted end, and the first one */
    int accepted;
};

static inline void net_check(struct net *net)
{
    if (net->until != NULL && net->until(net))
        env_stop(net->env);
}

static inline struct env_out *out_of_buf(struct buf *b)
{
    struct env_out *out = env_out_new();

    env_out_add_buf(out, b);
    return out;
}

/* Prefix and bytes. */
static inline void send_frame(struct env_conn *conn, const void *data,
                              size_t len)
{
    struct buf b = BUF_INIT;

    buf_put_u32(&b, (uint32_t)len);
    buf_put(&b, data, len);
    env_conn_send(conn, out_of_buf(&b));
}

static inline void echo_frame(struct env_conn *conn, struct env_frame *frame)
{
    struct buf head = BUF_INIT;

    buf_put_u32(&head, (uint32_t)frame->len);
    struct env_out *out = out_of_buf(&head);
    env_out_add_frame(out, frame, slice_of(frame->data, frame->len));
    env_conn_send(conn, out);
}

static inline void end_opened(struct env_conn *conn, void *arg)
{
    struct end *end = arg;

    end->opened++;
    net_check(end->net);
}

static inline void end_frame(struct env_conn *conn, void *arg,
                             struct env_frame *frame)
{
    struct end *end = arg;

    cr_assert_eq(conn, end->conn, "a frame after the end");
    if (end->frames_len == end->frames_cap) {
        end->frames_cap = end->frames_cap != 0 ? 2 * end->frames_cap : 16;
        end->frames =
            xrealloc(end->frames, end->frames_cap * sizeof *end->frames);
    }
    end->frames[end->frames_len++] = frame;
    if (end->echo)
        echo_frame(conn, frame);
    if (end->pause_each)
        env_conn_pause(conn);
    if (end->finish_first) {
        echo_frame(conn, frame);
        env_conn_close_when_sent(conn);
    }
    if (end->close_first) {
        env_conn_close(conn);
        end->conn = NULL;
    }
    net_check(end->net);
}

static inline void end_drained(struct env_conn *conn, void *arg)
{
    struct end *end = arg;

    end->drained++;
    cr_assert_eq(env_conn_queued(conn), 0);
    cr_assert_eq(env_conn_queued_outs(conn), 0);
    net_check(end->net);
}

static inline void end_closed(struct env_conn *conn, void *arg, int error)
{
    struct end *end = arg;

    cr_assert_eq(conn, end->conn);
    end->closed++;
    end->error = error;
    end->conn = NULL;
    net_check(end->net);
}

static const struct env_conn_ops end_ops = {end_opened, end_frame, end_drained,
                                            end_closed};

static inline const struct env_conn_ops *net_accept(struct env_conn *conn,
                                                    void *owner, void **arg)
{
    struct net *net = owner;

    net->accepted++;
    if (net->server.refuse) {
        net_check(net);
        return NULL;
    }
    net->server.conn = conn;
    *arg = &net->server;
    net_check(net);
    return &end_ops;
}

static inline void net_late(void *arg)
{
    struct net *net = arg;

    net->late = true;
    env_stop(net->env);
}

/* Runs the loop until the condition holds; the test fails after 20 s. */
static inline void net_run(struct net *net, bool (*until)(struct net *net))
{
    net->until = until;
    net->watchdog = (struct env_timer){.fn = net_late, .arg = net};
    env_timer_start(net->env, &net->watchdog, 20000);
    if (!until(net))
        env_run(net->env);
    env_timer_stop(net->env, &net->watchdog);
    net->until = NULL;
    cr_assert_not(net->late, "the condition did not come true in 20 s");
}

struct net_pause {
    struct env_timer timer;
    struct env *env;
};

static inline void net_paused(void *arg)
{
    struct net_pause *p = arg;

    env_stop(p->env);
}

/* Lets the loop run for a while, to see that nothing happens. */
static inline void net_run_ms(struct net *net, int64_t ms)
{
    struct net_pause p = {{.fn = net_paused, .arg = &p}, net->env};

    env_timer_start(net->env, &p.timer, ms);
    env_run(net->env);
}

static inline void net_listen(struct net *net, size_t frame_max)
{
    char *why = NULL;
    struct env_listen_options options = {
        .host = "127.0.0.1",
        .frame_max_bytes = frame_max,
        .accept = net_accept,
        .owner = net,
    };

    *net = (struct net){.env = env_create()};
    net->client.net = net->server.net = net;
    int error = env_listen(net->env, &options, &net->listener, &why);
    cr_assert_eq(error, 0, "%s", why);
}

static inline void net_connect(struct net *net)
{
    net->client.conn =
        env_connect(net->env, "127.0.0.1", env_listener_port(net->listener),
                    FRAME_MAX, &end_ops, &net->client);
}

static inline void end_free(struct end *end)
{
    for (size_t i = 0; i < end->frames_len; i++)
        env_frame_unref(end->frames[i]);
    free(end->frames);
    end->frames = NULL;
    end->frames_len = end->frames_cap = 0;
}

static inline void net_free(struct net *net)
{
    env_free(net->env);
    end_free(&net->client);
    end_free(&net->server);
}

static inline uint8_t pattern(size_t seed, size_t i)
{
    return (uint8_t)((i * 2654435761u + seed * 97) >> 13);
}

static inline uint8_t *pattern_new(size_t seed, size_t len)
{
    uint8_t *data = xmalloc(len);

    for (size_t i = 0; i < len; i++)
        data[i] = pattern(seed, i);
    return data;
}

static inline void check_pattern(const struct env_frame *frame, size_t seed,
                                 size_t len)
{
    cr_assert_eq(frame->len, len);
    for (size_t i = 0; i < len; i++)
        if (frame->data[i] != pattern(seed, i))
            cr_assert_fail("frame %zu differs at byte %zu", seed, i);
}

#endif
