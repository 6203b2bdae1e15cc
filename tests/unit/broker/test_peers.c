/* Requests to brokers that are not there. */
#include "broker/peers.h"

#include "base/env_libevent.h"

#include <criterion/criterion.h>

static struct env *env;
static struct peers *peers;

struct asked {
    struct peer_call call;
    int answers;
    enum err error;
    bool again; /* asks once more from inside */
    bool inside;
};

static void send_nowhere(struct asked *a)
{
    a->inside = true;
    peers_send(peers, NULL, &a->call, API_LIST_OFFSETS, 1, NULL, 1000);
    a->inside = false;
}

static void done(struct peer_call *call, enum err error, const void *response)
{
    struct asked *a = (struct asked *)call;

    cr_assert_not(a->inside);
    cr_assert_null(response);
    a->answers++;
    a->error = error;
    if (a->again && a->answers == 1)
        send_nowhere(a);
}

static void stop(void *arg) { env_stop(arg); }

static void run_for(int64_t ms)
{
    struct env_timer timer = {.fn = stop, .arg = env};

    env_timer_start(env, &timer, ms);
    env_run(env);
}

Test(peers, who_is_not_there_is_lost_later)
{
    struct asked one = {.call.done = done, .again = true};
    struct asked two = {.call.done = done};
    struct asked late = {.call.done = done};

    env = env_create();
    peers = peers_new(env, "test");
    send_nowhere(&one);
    send_nowhere(&two);
    run_for(20);
    cr_assert_eq(one.answers, 2);
    cr_assert_eq(two.answers, 1);
    cr_assert_eq((int)two.error, (int)ERR_CLOSED);
    send_nowhere(&late);
    peers_stop(peers);
    cr_assert_eq(late.answers, 1);
    env_free(env);
    peers_free(peers);
}
