/* Names that are slow to be looked up: the resolver is the test's. */
#include "tests/unit/base/net_kit.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>

enum { LOOKED_MAX = 16 };

/* Everything is at 127.0.0.1, but for names without a dot it takes a post. */
static sem_t begins, answer;
static char looked[LOOKED_MAX][32];
static atomic_int looked_len;

struct found {
    struct addrinfo info;
    struct sockaddr_in in;
};

static bool resolve(const char *host, int flags, struct in_addr *to)
{
    if (inet_pton(AF_INET, host, to) == 1)
        return true;
    if (flags & AI_NUMERICHOST)
        return false;
    int n = atomic_load(&looked_len);
    cr_assert_lt(n, LOOKED_MAX);
    snprintf(looked[n], sizeof looked[n], "%s", host);
    atomic_store(&looked_len, n + 1);
    sem_post(&begins);
    while (sem_wait(&answer) != 0)
        ;
    return inet_pton(AF_INET, "127.0.0.1", to) == 1;
}

int getaddrinfo(const char *restrict host, const char *restrict service,
                const struct addrinfo *restrict hints,
                struct addrinfo **restrict found)
{
    struct found *f = xcalloc(1, sizeof *f);

    if (!resolve(host, hints->ai_flags, &f->in.sin_addr)) {
        free(f);
        return EAI_NONAME;
    }
    f->in.sin_family = AF_INET;
    f->in.sin_port = htons((uint16_t)atoi(service));
    f->info = (struct addrinfo){.ai_family = AF_INET,
                                .ai_socktype = SOCK_STREAM,
                                .ai_addr = (void *)&f->in,
                                .ai_addrlen = sizeof f->in};
    *found = &f->info;
    return 0;
}

void freeaddrinfo(struct addrinfo *found) { free(found); }

static struct net net;

static void set_up(void)
{
    sem_init(&begins, 0, 0);
    sem_init(&answer, 0, 0);
    net_listen(&net, FRAME_MAX);
}

static void tear_down(void) { net_free(&net); }

TestSuite(env_connect, .init = set_up, .fini = tear_down, .timeout = 60);

static void dial(struct end *end, const char *host)
{
    *end = (struct end){.net = &net};
    end->conn = env_connect(net.env, host, env_listener_port(net.listener),
                            FRAME_MAX, &end_ops, end);
}

static void give_up(struct end *end)
{
    env_conn_close(end->conn);
    end->conn = NULL;
}

static void wait_for(sem_t *sem)
{
    while (sem_wait(sem) != 0)
        ;
}

static bool is_open(struct net *n) { return n->client.opened == 1; }

static bool asks(struct net *n)
{
    (void)n;
    int value;

    sem_getvalue(&begins, &value);
    return value > 0;
}

static void run_until_it_asks(void)
{
    while (!asks(&net))
        net_run_ms(&net, 2);
    wait_for(&begins);
}

Test(env_connect, who_dials_again_takes_the_lookup_over)
{
    dial(&net.client, "slow");
    run_until_it_asks();
    for (int i = 0; i < 5; i++) {
        give_up(&net.client);
        dial(&net.client, "slow");
        net_run_ms(&net, 2);
    }
    sem_post(&answer);
    net_run(&net, is_open);
    cr_assert_eq(atomic_load(&looked_len), 1);
}

Test(env_connect, an_answer_between_two_attempts_counts_for_the_next)
{
    dial(&net.client, "slow");
    run_until_it_asks();
    give_up(&net.client);
    sem_post(&answer);
    net_run_ms(&net, 50);
    dial(&net.client, "slow");
    net_run(&net, is_open);
    cr_assert_eq(atomic_load(&looked_len), 1);
    give_up(&net.client);
    dial(&net.client, "slow");
    run_until_it_asks(); /* once only */
    sem_post(&answer);
    net_run(&net, is_open);
}

Test(env_connect, what_nobody_waits_for_any_more_is_not_looked_up)
{
    struct end ends[4];

    dial(&ends[0], "slow");
    run_until_it_asks();
    dial(&ends[1], "one");
    dial(&ends[2], "two");
    dial(&ends[3], "three");
    dial(&net.client, "wanted");
    net_run_ms(&net, 5);
    for (int i = 0; i < 4; i++)
        give_up(&ends[i]);
    sem_post(&answer);
    sem_post(&answer);
    net_run(&net, is_open);
    cr_assert_eq(atomic_load(&looked_len), 2);
    cr_assert_str_eq(looked[1], "wanted");
}

static void ignore_frame(struct env_conn *conn, void *arg,
                         struct env_frame *frame)
{
    (void)conn;
    (void)arg;
    env_frame_unref(frame);
}

static bool stumbled;

/* The helper goes by "again", which nobody wants, to "last". */
static void let_helper_pass(struct env_conn *conn, void *arg, int error)
{
    (void)conn;
    (void)arg;
    (void)error;
    sem_post(&answer);
    wait_for(&begins);
    stumbled = true;
}

/* Between the helper's decision and its news the same name is dialled. */
Test(env_connect, a_lookup_that_was_left_out_and_is_wanted_again_is_made)
{
    static const struct env_conn_ops ops = {.frame = ignore_frame,
                                            .closed = let_helper_pass};
    struct end first, last;

    dial(&first, "slow");
    run_until_it_asks();
    dial(&net.client, "again");
    dial(&last, "last");
    net_run_ms(&net, 5);
    give_up(&net.client);
    /* Fails at once, and its end is told just before the next is dialled. */
    env_connect(net.env, "255.255.255.255", 1, FRAME_MAX, &ops, NULL);
    dial(&net.client, "again");
    while (!stumbled)
        net_run_ms(&net, 2);
    sem_post(&answer);
    sem_post(&answer);
    net_run(&net, is_open);
    cr_assert_str_eq(looked[1], "last");
    cr_assert_str_eq(looked[2], "again");
}

static sem_t disk;

static void hang(struct env_work *work)
{
    (void)work;
    wait_for(&disk);
}

Test(env_connect, names_are_looked_up_although_a_disk_hangs)
{
    static struct env_work works[20];

    sem_init(&disk, 0, 0);
    for (int i = 0; i < 20; i++) {
        works[i] = (struct env_work){.run = hang};
        env_work_start(net.env, &works[i]);
    }
    dial(&net.client, "quick");
    sem_post(&answer);
    net_run(&net, is_open);
    for (int i = 0; i < 20; i++)
        sem_post(&disk);
}
