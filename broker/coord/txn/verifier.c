/* A chain holds the questions about one producer and partition.  Those at its
 * front that are alike are asked together; the chain is QUEUED with their
 * coordinator, SENT, or PAUSED until the coordinator is asked again. */
#include "broker/coord/txn/verifier.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/heap.h"
#include "base/map.h"

#include <stdlib.h>

enum { CHAINS_PER_REQUEST = 1000 };

typedef struct add_partitions_to_txn_request_transaction transaction;
typedef struct add_partitions_to_txn_request_topic topic_asked;
typedef struct add_partitions_to_txn_response_result result;

struct chain {
    struct list link; /* target.queue or request.chains */
    struct heap_node again;
    struct slice key;       /* the map's */
    struct list asked;      /* questions that the answer is for */
    struct list waiting;    /* those behind */
    int64_t first_asked_ms; /* the ones in `asked` */
};

/* A coordinator that somebody waits for. */
struct target {
    int32_t broker;
    struct list queue;
    bool busy; /* a request is on its way */
};

struct txn_verifier {
    struct txn_verifier_options options;
    const struct txn_verifier_ops *ops;
    void *arg;
    struct map chains;  /* producer id, partition, topic */
    struct map targets; /* broker id, 4 bytes */
    struct heap paused;
    struct buf key;
};

struct txn_verifier *
txn_verifier_new(const struct txn_verifier_options *options,
                 const struct txn_verifier_ops *ops, void *arg)
{
    struct txn_verifier *v = xcalloc(1, sizeof *v);

    v->options = *options;
    v->ops = ops;
    v->arg = arg;
    return v;
}

void txn_verify_request_free(struct txn_verify_request *request)
{
    arena_free(&request->arena);
    free(request);
}

void txn_verifier_free(struct txn_verifier *v)
{
    MAP_EACH (e, &v->chains)
        free(e->value);
    MAP_EACH (e, &v->targets)
        free(e->value);
    map_free(&v->chains);
    map_free(&v->targets);
    heap_free(&v->paused);
    buf_free(&v->key);
    free(v);
}

static struct txn_question *first_of(const struct list *questions)
{
    return LIST_ENTRY(questions->next, struct txn_question, link);
}

static const struct txn_question *asked_of(const struct chain *c)
{
    return first_of(&c->asked);
}

/* ---- requests ------------------------------------------------------------*/

/* What one request says of one transactional id. */
struct group {
    const struct txn_question *first;
    transaction *transaction;
    int32_t *partitions; /* of all its topics, one after another */
    uint32_t count;
};

static bool same_transaction(const struct txn_question *a,
                             const struct txn_question *b)
{
    return a->producer_id == b->producer_id &&
           a->producer_epoch == b->producer_epoch && a->add == b->add;
}

/* Results are told apart by their ids, so that two producers of one id have to
 * go one after the other. */
static void take(struct target *t, struct txn_verify_request *r,
                 struct map *groups)
{
    int taken = 0;

    LIST_EACH_SAFE (node, next, &t->queue) {
        struct chain *c = LIST_ENTRY(node, struct chain, link);
        const struct txn_question *q = asked_of(c);
        struct group *g = map_get(groups, q->transactional_id);

        if (taken == CHAINS_PER_REQUEST)
            break;
        if (g == NULL) {
            g = arena_alloc(&r->arena, sizeof *g);
            g->first = q;
            map_put(groups, q->transactional_id, g);
        }
        if (!same_transaction(g->first, q))
            continue;
        g->count++;
        taken++;
        list_remove(&c->link);
        list_push_back(&r->chains, &c->link);
    }
}

static transaction *transaction_of(struct txn_verify_request *r,
                                   struct group *g)
{
    if (g->transaction != NULL)
        return g->transaction;
    g->transaction = &r->request.transactions[r->request.transactions_len++];
    *g->transaction = (transaction){
        .transactional_id = g->first->transactional_id,
        .producer_id = g->first->producer_id,
        .producer_epoch = g->first->producer_epoch,
        .verify_only = !g->first->add,
        .topics = arena_array(&r->arena, g->count, sizeof(topic_asked)),
    };
    g->partitions = arena_array(&r->arena, g->count, sizeof *g->partitions);
    return g->transaction;
}

/* A topic may come several times. */
static void fill(struct txn_verify_request *r, const struct map *groups)
{
    r->request.transactions =
        arena_array(&r->arena, map_count(groups), sizeof(transaction));
    LIST_EACH (node, &r->chains) {
        const struct txn_question *q =
            asked_of(LIST_ENTRY(node, struct chain, link));
        struct group *g = map_get(groups, q->transactional_id);
        transaction *t = transaction_of(r, g);
        topic_asked *topic =
            t->topics_len != 0 ? &t->topics[t->topics_len - 1] : NULL;

        if (topic == NULL || !slice_eq(topic->name, q->topic)) {
            topic = &t->topics[t->topics_len++];
            topic->name = q->topic;
            topic->partitions = g->partitions;
        }
        topic->partitions_len++;
        *g->partitions++ = q->partition;
    }
}

static void pump(struct txn_verifier *v, struct target *t)
{
    struct map groups = MAP_INIT;

    if (t->busy)
        return;
    if (list_empty(&t->queue)) {
        map_remove(&v->targets, slice_of(&t->broker, sizeof t->broker));
        free(t);
        return;
    }
    struct txn_verify_request *r = xcalloc(1, sizeof *r);
    arena_init(&r->arena, 0);
    list_init(&r->chains);
    add_partitions_to_txn_request_init(&r->request);
    r->broker = t->broker;
    take(t, r, &groups);
    fill(r, &groups);
    map_free(&groups);
    t->busy = true;
    v->ops->send(v->arg, r);
}

/* ---- chains --------------------------------------------------------------*/

static struct slice key_of(struct txn_verifier *v, const struct txn_question *q)
{
    v->key.len = 0;
    buf_put_u64(&v->key, (uint64_t)q->producer_id);
    buf_put_u32(&v->key, (uint32_t)q->partition);
    buf_put_slice(&v->key, q->topic);
    return buf_slice(&v->key);
}

static struct target *target_of(struct txn_verifier *v, int32_t broker)
{
    struct slice key = slice_of(&broker, sizeof broker);
    struct target *t = map_get(&v->targets, key);

    if (t != NULL)
        return t;
    t = xcalloc(1, sizeof *t);
    t->broker = broker;
    list_init(&t->queue);
    map_put(&v->targets, key, t);
    return t;
}

static bool alike(const struct txn_question *a, const struct txn_question *b)
{
    return same_transaction(a, b) &&
           slice_eq(a->transactional_id, b->transactional_id);
}

static void start(struct txn_verifier *v, struct chain *c, int64_t now_ms);

/* Answers what was asked, and with a passing error what is behind it.  The
 * answers may ask again, so the chain is at rest first. */
static void finish(struct txn_verifier *v, struct chain *c, enum err error,
                   enum err behind, int64_t now_ms)
{
    struct list asked, failed;

    list_init(&asked);
    list_init(&failed);
    list_append_all(&asked, &c->asked);
    if (behind != ERR_NONE)
        list_append_all(&failed, &c->waiting);
    if (list_empty(&c->waiting)) {
        struct slice key = key_of(v, first_of(&asked));

        map_remove(&v->chains, key);
        free(c);
    } else {
        start(v, c, now_ms);
    }
    for (struct list *node; (node = list_pop_front(&asked)) != NULL;) {
        struct txn_question *q = LIST_ENTRY(node, struct txn_question, link);
        bool unknown =
            error == ERR_TRANSACTION_ABORTABLE && !q->knows_abortable;

        v->ops->done(v->arg, q, unknown ? ERR_INVALID_TXN_STATE : error);
    }
    for (struct list *node; (node = list_pop_front(&failed)) != NULL;)
        v->ops->done(v->arg, LIST_ENTRY(node, struct txn_question, link),
                     behind);
}

/* Asks what is in `asked`. */
static void enqueue(struct txn_verifier *v, struct chain *c, int64_t now_ms)
{
    int32_t broker = v->ops->coordinator(v->arg, asked_of(c)->transactional_id);

    if (broker < 0) {
        finish(v, c, ERR_NOT_ENOUGH_REPLICAS, ERR_NOT_ENOUGH_REPLICAS, now_ms);
        return;
    }
    struct target *t = target_of(v, broker);
    list_push_back(&t->queue, &c->link);
    pump(v, t);
}

static void start(struct txn_verifier *v, struct chain *c, int64_t now_ms)
{
    const struct txn_question *first = first_of(&c->waiting);

    while (!list_empty(&c->waiting) && alike(first, first_of(&c->waiting)))
        list_push_back(&c->asked, list_pop_front(&c->waiting));
    c->first_asked_ms = now_ms;
    enqueue(v, c, now_ms);
}

void txn_verifier_ask(struct txn_verifier *v, struct txn_question *question,
                      int64_t now_ms)
{
    struct slice key = key_of(v, question);
    struct chain *c = map_get(&v->chains, key);
    bool idle = c == NULL;

    if (idle) {
        c = xcalloc(1, sizeof *c);
        list_init(&c->link);
        list_init(&c->asked);
        list_init(&c->waiting);
        map_put(&v->chains, key, c);
    }
    list_init(&question->link);
    list_push_back(&c->waiting, &question->link);
    if (idle)
        start(v, c, now_ms);
}

/* ---- answers -------------------------------------------------------------*/

/* What the response says of each partition that was asked for. */
static void learn(struct map *said, struct buf *key,
                  const struct add_partitions_to_txn_response *response)
{
    for (int32_t i = 0; i < response->results_by_transaction_len; i++) {
        const result *r = &response->results_by_transaction[i];

        for (int32_t t = 0; t < r->topic_results_len; t++)
            for (int32_t p = 0;
                 p < r->topic_results[t].results_by_partition_len; p++) {
                const struct add_partitions_to_txn_response_partition_result
                    *one = &r->topic_results[t].results_by_partition[p];

                key->len = 0;
                buf_put_u32(key, (uint32_t)r->transactional_id.len);
                buf_put_slice(key, r->transactional_id);
                buf_put_u32(key, (uint32_t)one->partition_index);
                buf_put_slice(key, r->topic_results[t].name);
                map_put(said, buf_slice(key),
                        (void *)(uintptr_t)&one->partition_error_code);
            }
    }
}

static enum err said_of(const struct map *said, struct buf *key,
                        const struct txn_question *q)
{
    key->len = 0;
    buf_put_u32(key, (uint32_t)q->transactional_id.len);
    buf_put_slice(key, q->transactional_id);
    buf_put_u32(key, (uint32_t)q->partition);
    buf_put_slice(key, q->topic);
    const int16_t *code = map_get(said, buf_slice(key));
    return code != NULL ? (enum err) * code : ERR_NOT_ENOUGH_REPLICAS;
}

/* The coordinator is not where it was looked for, or not ready, or has not
 * heard of one of the transaction's topics yet, which are all led here. */
static bool may_pass(enum err error)
{
    return error == ERR_NOT_COORDINATOR ||
           error == ERR_UNKNOWN_TOPIC_OR_PARTITION ||
           error == ERR_OPERATION_NOT_ATTEMPTED ||
           error == ERR_COORDINATOR_NOT_AVAILABLE ||
           error == ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           error == ERR_NOT_ENOUGH_REPLICAS || error == ERR_REQUEST_TIMED_OUT ||
           error == ERR_CONCURRENT_TRANSACTIONS;
}

static void judge(struct txn_verifier *v, struct chain *c, enum err error,
                  int64_t now_ms)
{
    const struct txn_question *q = asked_of(c);

    if (error == ERR_CONCURRENT_TRANSACTIONS && q->add &&
        now_ms - c->first_asked_ms < v->options.retry_max_ms) {
        heap_set(&v->paused, &c->again, now_ms + v->options.retry_pause_ms);
        return;
    }
    if (error == ERR_PRODUCER_FENCED)
        error = ERR_INVALID_PRODUCER_EPOCH; /* producers expect this one */
    if (!may_pass(error)) {
        finish(v, c, error, ERR_NONE, now_ms);
        return;
    }
    /* The previous transaction is being ended: who has asked for the partition
     * to be added knows that. */
    if (error != ERR_CONCURRENT_TRANSACTIONS || !q->add)
        error = ERR_NOT_ENOUGH_REPLICAS;
    finish(v, c, error, error, now_ms);
}

void txn_verifier_answered(
    struct txn_verifier *v, struct txn_verify_request *request, enum err error,
    const struct add_partitions_to_txn_response *response, int64_t now_ms)
{
    struct target *t = map_get(
        &v->targets, slice_of(&request->broker, sizeof request->broker));
    struct map said = MAP_INIT;
    struct buf key = BUF_INIT;

    ASSERT(t != NULL && t->busy);
    if (error == ERR_NONE && response != NULL)
        error = (enum err)response->error_code;
    else
        error = ERR_NOT_ENOUGH_REPLICAS; /* a lost connection */
    if (error == ERR_NONE)
        learn(&said, &key, response);
    while (!list_empty(&request->chains)) {
        struct chain *c =
            LIST_ENTRY(list_pop_front(&request->chains), struct chain, link);

        judge(v, c,
              error != ERR_NONE ? error : said_of(&said, &key, asked_of(c)),
              now_ms);
    }
    t->busy = false;
    pump(v, t);
    map_free(&said);
    buf_free(&key);
    txn_verify_request_free(request);
}

/* ---- time ----------------------------------------------------------------*/

int64_t txn_verifier_next_deadline(const struct txn_verifier *v)
{
    const struct heap_node *first = heap_first(&v->paused);

    return first != NULL ? first->key : INT64_MAX;
}

void txn_verifier_tick(struct txn_verifier *v, int64_t now_ms)
{
    for (struct heap_node *node;
         (node = heap_first(&v->paused)) != NULL && node->key <= now_ms;) {
        heap_remove(&v->paused, node);
        enqueue(v, HEAP_ENTRY(node, struct chain, again), now_ms);
    }
}
