#include "broker/txn_client.h"

#include "base/alloc.h"
#include "broker/coord/placement.h"
#include "broker/coord/txn/router.h"
#include "broker/meta_parts.h"
#include "broker/peers.h"
#include "broker/transactions.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MARKERS_VERSION = 2,
    ADD_VERSION = 5,
    IDS_AT_ONCE = 100,
};

struct txn_client {
    struct meta *meta;
    struct peers *peers;
    /* Answers to markers wait for followers; these must not wait behind. */
    struct peers *verifiers;
    struct txn_router *router;
    struct txn_verifier *verifier;
    struct env_timer again; /* the verifier's */
    struct list *ended;     /* markers to bring back, for each shard */
    struct list wanting;    /* ids_mail: there are no ids now */
    bool stopped;
};

static int64_t now_ms(const struct txn_client *c)
{
    return env_now_ms(c->meta->env);
}

/* NULL: nobody knows where it listens, or it is not alive. */
static const struct image_broker *
reachable(const struct txn_client *c, int32_t id, struct peer_address *address)
{
    const struct image_broker *b = image_broker(&c->meta->image, id);
    const struct image_endpoint *e =
        b == NULL ? NULL : meta_broker_endpoint(c->meta, b);

    if (e == NULL)
        return NULL;
    *address = (struct peer_address){b->id, b->epoch, e->host, e->port};
    return b;
}

int32_t txn_client_answer_ms(const struct server_config *config)
{
    return config->request_timeout_ms / 2;
}

/* ---- markers -------------------------------------------------------------*/

/* Markers between a shard and here, and back. */
struct markers_mail {
    struct env_task task;
    struct shard *shard;
    struct list markers;
};

static void markers_home(struct env_task *task)
{
    struct markers_mail *mail = LIST_ENTRY(task, struct markers_mail, task);

    transactions_markers_done(mail->shard, &mail->markers);
    free(mail);
}

static void post_markers(struct shard *s, struct env *to,
                         void (*fn)(struct env_task *task),
                         struct list *markers)
{
    struct markers_mail *mail = xcalloc(1, sizeof *mail);

    mail->task.fn = fn;
    mail->shard = s;
    list_init(&mail->markers);
    list_append_all(&mail->markers, markers);
    env_post(to, &mail->task);
}

static void bring_back(struct txn_client *c)
{
    struct broker *broker = c->meta->broker;

    for (int i = 0; i < broker->shards_len; i++)
        if (!list_empty(&c->ended[i]))
            post_markers(broker->shards[i], broker->shards[i]->env,
                         markers_home, &c->ended[i]);
}

static void on_ended(void *arg, struct txn_marker *marker,
                     enum txn_marker_result result)
{
    struct txn_client *c = arg;
    const struct broker *broker = c->meta->broker;
    const struct image_topic *t =
        image_topic(&c->meta->image, SLICE(TXN_TOPIC));

    if (t == NULL || t->partitions_len == 0) {
        txn_marker_free(marker);
        return;
    }
    marker->result = result;
    int shard = broker_shard_of(
        broker, &t->id, coord_partition_of(marker->id, t->partitions_len));
    list_push_back(&c->ended[shard], &marker->link);
}

static int32_t leader_of(void *arg, const struct txn_marker *marker)
{
    const struct txn_client *c = arg;
    const struct image_topic *t = image_topic(&c->meta->image, marker->topic);
    struct peer_address address;

    /* The coordinator knew the partition when it wrote the decision, and
     * whoever coordinates after it knows at least as much.  So it was deleted,
     * though there may be a smaller topic of that name by now. */
    if (t == NULL || marker->partition >= t->partitions_len)
        return TXN_ROUTE_GONE;
    int32_t leader = t->partitions[marker->partition]->leader;
    return leader >= 0 && reachable(c, leader, &address) != NULL
               ? leader
               : TXN_ROUTE_NOWHERE;
}

struct markers_call {
    struct peer_call call;
    struct txn_client *client;
    int32_t broker;
    struct txn_marker_request *request;
};

static void drop_marker(void *arg, struct txn_marker *marker,
                        enum txn_marker_result result)
{
    (void)arg;
    (void)result;
    txn_marker_free(marker);
}

static void markers_answered(struct peer_call *call, enum err error,
                             const void *response)
{
    struct markers_call *m = LIST_ENTRY(call, struct markers_call, call);
    struct txn_client *c = m->client;
    struct txn_marker_request *request = m->request;
    int32_t broker = m->broker;

    free(m);
    if (c->stopped) {
        txn_marker_request_done(request, error, NULL, drop_marker, NULL);
        return;
    }
    txn_router_answered(c->router, broker, request, error, response);
    bring_back(c);
}

static void send_markers(void *arg, int32_t broker,
                         struct txn_marker_request *request)
{
    struct txn_client *c = arg;
    struct markers_call *m = xcalloc(1, sizeof *m);
    struct peer_address to;

    m->client = c;
    m->broker = broker;
    m->request = request;
    m->call.done = markers_answered;
    /* It may have gone while another request to it was on its way. */
    bool there = reachable(c, broker, &to) != NULL;
    peers_send(c->peers, there ? &to : NULL, &m->call, API_WRITE_TXN_MARKERS,
               MARKERS_VERSION, &request->request,
               c->meta->broker->config->request_timeout_ms);
}

static const struct txn_router_ops router_ops = {
    .leader = leader_of, .send = send_markers, .ended = on_ended};

static void markers_arrived(struct env_task *task)
{
    struct markers_mail *mail = LIST_ENTRY(task, struct markers_mail, task);
    struct txn_client *c = mail->shard->broker->meta->txn_client;

    txn_router_add(c->router, &mail->markers);
    free(mail);
    bring_back(c);
}

void txn_client_send_markers(struct shard *s, struct list *markers)
{
    post_markers(s, meta_env(s->broker->meta), markers_arrived, markers);
}

/* ---- verification --------------------------------------------------------*/

struct verify_call {
    struct peer_call call;
    struct txn_client *client;
    struct txn_verify_request *request;
};

static void on_again(void *arg);

static void rearm(struct txn_client *c)
{
    int64_t deadline_ms = txn_verifier_next_deadline(c->verifier);

    if (deadline_ms == INT64_MAX)
        env_timer_stop(c->meta->env, &c->again);
    else
        env_timer_start(c->meta->env, &c->again,
                        deadline_ms > now_ms(c) ? deadline_ms - now_ms(c) : 0);
}

static void on_again(void *arg)
{
    struct txn_client *c = arg;

    txn_verifier_tick(c->verifier, now_ms(c));
    rearm(c);
}

static int32_t coordinator_of(void *arg, struct slice transactional_id)
{
    const struct txn_client *c = arg;
    const struct image_topic *t =
        image_topic(&c->meta->image, SLICE(TXN_TOPIC));
    struct peer_address address;

    if (t == NULL || t->partitions_len == 0)
        return -1;
    int32_t leader =
        t->partitions[coord_partition_of(transactional_id, t->partitions_len)]
            ->leader;
    return leader >= 0 && reachable(c, leader, &address) != NULL ? leader : -1;
}

static void verify_answered(struct peer_call *call, enum err error,
                            const void *response)
{
    struct verify_call *v = LIST_ENTRY(call, struct verify_call, call);
    struct txn_client *c = v->client;
    struct txn_verify_request *request = v->request;

    free(v);
    if (c->stopped) {
        txn_verify_request_free(request);
        return;
    }
    txn_verifier_answered(c->verifier, request, error, response, now_ms(c));
    rearm(c);
}

static void send_verify(void *arg, struct txn_verify_request *request)
{
    struct txn_client *c = arg;
    struct verify_call *v = xcalloc(1, sizeof *v);
    struct peer_address to;

    v->client = c;
    v->request = request;
    v->call.done = verify_answered;
    bool there = reachable(c, request->broker, &to) != NULL;
    peers_send(c->verifiers, there ? &to : NULL, &v->call,
               API_ADD_PARTITIONS_TO_TXN, ADD_VERSION, &request->request,
               c->meta->broker->config->request_timeout_ms);
}

static void on_verified(void *arg, struct txn_question *question,
                        enum err error)
{
    struct txn_verify *v = LIST_ENTRY(question, struct txn_verify, question);

    (void)arg;
    v->error = error;
    v->task.fn = txn_verify_answered;
    env_post(v->shard->env, &v->task);
}

static const struct txn_verifier_ops verifier_ops = {
    .coordinator = coordinator_of, .send = send_verify, .done = on_verified};

static void verify_arrived(struct env_task *task)
{
    struct txn_verify *v = LIST_ENTRY(task, struct txn_verify, task);
    struct txn_client *c = v->shard->broker->meta->txn_client;

    txn_verifier_ask(c->verifier, &v->question, now_ms(c));
    rearm(c);
}

void txn_client_verify(struct txn_verify *v)
{
    v->task.fn = verify_arrived;
    env_post(meta_env(v->shard->broker->meta), &v->task);
}

/* ---- producer ids --------------------------------------------------------*/

struct ids_mail {
    struct list link; /* client.wanting */
    struct env_task task;
    struct shard *shard;
    int32_t partition;
    int64_t first;
    int32_t count;
};

static void ids_home(struct env_task *task)
{
    struct ids_mail *mail = LIST_ENTRY(task, struct ids_mail, task);

    transactions_give_ids(mail->shard, mail->partition, mail->first,
                          mail->count);
    free(mail);
}

void txn_client_ids_came(struct txn_client *c)
{
    while (!list_empty(&c->wanting)) {
        struct ids_mail *mail =
            LIST_ENTRY(c->wanting.next, struct ids_mail, link);

        mail->first = ids_take_some(c->meta, IDS_AT_ONCE, &mail->count);
        if (mail->first < 0)
            return;
        list_remove(&mail->link);
        mail->task.fn = ids_home;
        env_post(mail->shard->env, &mail->task);
    }
}

static void ids_asked(struct env_task *task)
{
    struct ids_mail *mail = LIST_ENTRY(task, struct ids_mail, task);
    struct txn_client *c = mail->shard->broker->meta->txn_client;

    list_push_back(&c->wanting, &mail->link);
    txn_client_ids_came(c);
}

void txn_client_ask_ids(struct shard *s, int32_t partition)
{
    struct ids_mail *mail = xcalloc(1, sizeof *mail);

    list_init(&mail->link);
    mail->shard = s;
    mail->partition = partition;
    mail->task.fn = ids_asked;
    env_post(meta_env(s->broker->meta), &mail->task);
}

/* ---- life ----------------------------------------------------------------*/

struct txn_client *txn_client_new(struct meta *m)
{
    const struct server_config *config = m->broker->config;
    struct txn_client *c = xcalloc(1, sizeof *c);
    struct txn_verifier_options options = {
        .retry_pause_ms = config->add_partitions_to_txn_retry_backoff_ms,
        .retry_max_ms = config->add_partitions_to_txn_retry_backoff_max_ms,
    };
    char client_id[48];

    snprintf(client_id, sizeof client_id, "transactions-%d",
             (int)m->broker->node_id);
    c->meta = m;
    c->peers = peers_new(m->env, client_id);
    c->verifiers = peers_new(m->env, client_id);
    c->router = txn_router_new(&router_ops, c);
    c->verifier = txn_verifier_new(&options, &verifier_ops, c);
    c->again = (struct env_timer){.fn = on_again, .arg = c};
    list_init(&c->wanting);
    c->ended = xcalloc((size_t)m->broker->shards_len + 1, sizeof *c->ended);
    for (int i = 0; i < m->broker->shards_len; i++)
        list_init(&c->ended[i]);
    return c;
}

void txn_client_stop(struct txn_client *c)
{
    c->stopped = true;
    env_timer_stop(c->meta->env, &c->again);
    peers_stop(c->peers);
    peers_stop(c->verifiers);
}

void txn_client_free(struct txn_client *c)
{
    peers_free(c->peers);
    peers_free(c->verifiers);
    txn_router_free(c->router);
    txn_verifier_free(c->verifier);
    for (struct list *node; (node = list_pop_front(&c->wanting)) != NULL;)
        free(LIST_ENTRY(node, struct ids_mail, link));
    free(c->ended);
    free(c);
}
