#include "broker/share_client.h"

#include "base/alloc.h"
#include "broker/coord/placement.h"
#include "broker/coord/share/split.h"
#include "broker/meta_parts.h"
#include "broker/peers.h"
#include "broker/share_states.h"

#include <stdio.h>
#include <stdlib.h>

struct share_client {
    struct meta *meta;
    struct peers *peers;
    struct share_router *router;
    struct env_timer again; /* the router's */
    bool stopped;
};

static int64_t now_ms(const struct share_client *c)
{
    return env_now_ms(c->meta->env);
}

/* ---- who coordinates -----------------------------------------------------*/

static int32_t leader_of(const struct image_topic *t,
                         const struct share_question *q)
{
    struct arena arena;

    arena_init(&arena, 0);
    int32_t partition = coord_partition_of(
        share_coordinator_key(q->group, q->topic, q->partition, &arena),
        t->partitions_len);
    arena_free(&arena);
    return t->partitions[partition]->leader;
}

static bool address_of(const struct share_client *c, int32_t id,
                       struct peer_address *address)
{
    const struct image_broker *b = image_broker(&c->meta->image, id);
    const struct image_endpoint *e =
        b == NULL ? NULL : meta_broker_endpoint(c->meta, b);

    if (e == NULL)
        return false;
    *address = (struct peer_address){b->id, b->epoch, e->host, e->port};
    return true;
}

/* The first question of a cluster brings the topic about. */
static int32_t coordinator_of(void *arg, const struct share_question *q)
{
    const struct share_client *c = arg;
    struct slice name = SLICE(SHARE_STATE_TOPIC);
    const struct image_topic *t = image_topic(&c->meta->image, name);
    struct peer_address address;

    if (t == NULL && !creation_running(c->meta, name))
        creations_start(c->meta, &name, 1);
    if (t == NULL || t->partitions_len == 0)
        return -1;
    int32_t leader = leader_of(t, q);
    return leader >= 0 && address_of(c, leader, &address) ? leader : -1;
}

/* ---- requests ------------------------------------------------------------*/

struct state_call {
    struct peer_call call;
    struct share_client *client;
    struct share_router_request *request;
};

static void on_again(void *arg);

static void rearm(struct share_client *c)
{
    int64_t deadline_ms = share_router_next_deadline(c->router);

    if (deadline_ms == INT64_MAX)
        env_timer_stop(c->meta->env, &c->again);
    else
        env_timer_start(c->meta->env, &c->again,
                        deadline_ms > now_ms(c) ? deadline_ms - now_ms(c) : 0);
}

static void on_again(void *arg)
{
    struct share_client *c = arg;

    share_router_tick(c->router, now_ms(c));
    rearm(c);
}

static void answered(struct peer_call *call, enum err error,
                     const void *response)
{
    struct state_call *s = LIST_ENTRY(call, struct state_call, call);
    struct share_client *c = s->client;
    struct share_router_request *request = s->request;

    free(s);
    if (c->stopped) {
        share_router_request_free(request);
        return;
    }
    share_router_answered(c->router, request, error, response, now_ms(c));
    rearm(c);
}

static void send(void *arg, int32_t broker,
                 struct share_router_request *request)
{
    struct share_client *c = arg;
    struct state_call *s = xcalloc(1, sizeof *s);
    struct peer_address to;

    s->client = c;
    s->request = request;
    s->call.done = answered;
    /* It may have gone while another request to it was on its way. */
    bool there = address_of(c, broker, &to);
    peers_send(c->peers, there ? &to : NULL, &s->call, request->api,
               request->version, &request->request,
               c->meta->broker->config->request_timeout_ms);
}

/* ---- questions from the shards, and back ---------------------------------*/

static void home(struct env_task *task)
{
    struct share_ask_call *call = LIST_ENTRY(task, struct share_ask_call, task);

    call->done(call);
}

static void on_done(void *arg, struct share_question *q)
{
    struct share_ask_call *call =
        LIST_ENTRY(q, struct share_ask_call, question);

    (void)arg;
    call->task.fn = home;
    env_post(call->shard->env, &call->task);
}

static const struct share_router_ops router_ops = {
    .coordinator = coordinator_of, .send = send, .done = on_done};

static void arrived(struct env_task *task)
{
    struct share_ask_call *call = LIST_ENTRY(task, struct share_ask_call, task);
    struct share_client *c = call->shard->broker->meta->share_client;

    if (c->stopped)
        return;
    share_router_ask(c->router, &call->question, now_ms(c));
    rearm(c);
}

void share_client_ask(struct share_ask_call *call)
{
    call->task.fn = arrived;
    env_post(meta_env(call->shard->broker->meta), &call->task);
}

/* ---- life ----------------------------------------------------------------*/

struct share_client *share_client_new(struct meta *m)
{
    struct share_client *c = xcalloc(1, sizeof *c);
    char client_id[48];

    snprintf(client_id, sizeof client_id, "share-%d", (int)m->broker->node_id);
    c->meta = m;
    c->peers = peers_new(m->env, client_id);
    c->router = share_router_new(&router_ops, c);
    c->again = (struct env_timer){.fn = on_again, .arg = c};
    return c;
}

void share_client_stop(struct share_client *c)
{
    c->stopped = true;
    env_timer_stop(c->meta->env, &c->again);
    peers_stop(c->peers);
}

void share_client_free(struct share_client *c)
{
    peers_free(c->peers);
    share_router_free(c->router);
    free(c);
}
