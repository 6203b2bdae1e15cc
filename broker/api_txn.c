/* Requests to the coordinators of transactions, at home: which coordinator, one
 * call to each, and the answers put together again.  InitProducerId without a
 * transactional id is anybody's, see api_cluster.c. */
#include "broker/coord/txn/split.h"
#include "broker/dispatch.h"
#include "broker/once.h"
#include "broker/shard.h"
#include "broker/transactions.h"

/* A request that is split into calls. */
struct txn_calls {
    struct request *request;
    struct txn_call *calls;
    const struct txn_piece *pieces; /* NULL: it is not in pieces */
    int32_t len;
    int32_t pending; /* +1 while they are started */
    struct txn_answer *whole;
};

static struct txn_context context_of(const struct request *r)
{
    return (struct txn_context){.version = r->version};
}

static void respond(struct request *r, struct txn_answer *answer)
{
    request_respond(r, &answer->response);
    txn_answer_free(answer);
}

/* ---- one coordinator: the answer goes out as it is ------------------------
 */

static void one_returned(struct coord_call *call)
{
    struct txn_call *c = LIST_ENTRY(call, struct txn_call, call);

    respond(call->request, c->answer);
}

static void call_init(struct txn_call *c, struct request *r)
{
    c->call.request = r;
    c->api = (enum api_key)r->api->key;
    c->version = r->version;
    c->msg = r->msg;
}

static void one_coordinator(struct request *r)
{
    int32_t len = coord_host_partitions(r->shard, &coord_host_transactions);
    struct txn_call *c = arena_alloc(&r->arena, sizeof *c);

    call_init(c, r);
    c->call.partition =
        len == 0 ? -1
                 : txn_partition_of((enum api_key)r->api->key, r->msg, len);
    c->call.returned = one_returned;
    txn_call_start(c);
}

/* ---- several --------------------------------------------------------------
 */

static void all_returned(struct txn_calls *all)
{
    for (int32_t i = 0; i < all->len; i++) {
        struct txn_answer *answer = all->calls[i].answer;

        if (all->pieces != NULL)
            txn_gather(all->whole, &all->pieces[i], answer);
        else
            txn_gather_list(all->whole, answer);
        txn_answer_free(answer);
    }
    respond(all->request, all->whole);
}

static void release(struct txn_calls *all)
{
    if (--all->pending == 0)
        all_returned(all);
}

static void piece_returned(struct coord_call *call)
{
    release(LIST_ENTRY(call, struct txn_call, call)->arg);
}

static void start_all(struct txn_calls *all)
{
    all->pending = 1;
    for (int32_t i = 0; i < all->len; i++) {
        all->pending++;
        txn_call_start(&all->calls[i]);
    }
    release(all);
}

/* Whose partition is not there is nobody's. */
static struct txn_calls *calls_new(struct request *r, int32_t len,
                                   enum err error)
{
    struct txn_calls *all = arena_alloc(&r->arena, sizeof *all);
    struct txn_context context = context_of(r);

    all->request = r;
    all->len = len;
    all->calls = arena_array(&r->arena, (size_t)len, sizeof *all->calls);
    all->whole = txn_refuse(&context, (enum api_key)r->api->key, r->msg, error);
    for (int32_t i = 0; i < len; i++) {
        call_init(&all->calls[i], r);
        all->calls[i].call.returned = piece_returned;
        all->calls[i].arg = all;
    }
    return all;
}

static void in_pieces(struct request *r)
{
    int32_t partitions =
        coord_host_partitions(r->shard, &coord_host_transactions);
    const struct txn_piece *pieces = NULL;
    int32_t len = 0;

    if (partitions != 0)
        pieces = txn_split((enum api_key)r->api->key, r->msg, partitions,
                           &r->arena, &len);
    struct txn_calls *all =
        calls_new(r, len, partitions == 0 ? ERR_NOT_COORDINATOR : ERR_NONE);
    all->pieces = pieces;
    for (int32_t i = 0; i < len; i++) {
        all->calls[i].msg = &pieces[i].request;
        all->calls[i].call.partition = pieces[i].partition;
    }
    start_all(all);
}

/* A transaction is far larger than its id, so each is described once, where it
 * is first named. */
static void describe(struct request *r)
{
    struct describe_transactions_request *q = r->msg;

    q->transactional_ids_len =
        once_names(q->transactional_ids, q->transactional_ids_len,
                   (struct once_field){sizeof *q->transactional_ids, 0});
    in_pieces(r);
}

/* A broker lists the transactions that it coordinates. */
static void list(struct request *r)
{
    struct txn_calls *all = calls_new(
        r, coord_host_partitions(r->shard, &coord_host_transactions), ERR_NONE);

    for (int32_t i = 0; i < all->len; i++)
        all->calls[i].call.partition = i;
    start_all(all);
}

/* ---- dispatch -------------------------------------------------------------
 */

void api_txn_request(struct request *r)
{
    switch (r->api->key) {
    case API_ADD_PARTITIONS_TO_TXN:
        if (r->version >= 4)
            in_pieces(r);
        else
            one_coordinator(r);
        break;
    case API_DESCRIBE_TRANSACTIONS:
        describe(r);
        break;
    case API_LIST_TRANSACTIONS:
        list(r);
        break;
    default:
        one_coordinator(r);
    }
}
