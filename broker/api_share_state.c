/* The five requests about stored share states, at home: in pieces by
 * coordinator, and the answers put together. */
#include "broker/dispatch.h"
#include "broker/shard.h"
#include "broker/share_states.h"

struct state_request {
    struct request *request;
    struct share_answer *whole;
    struct share_state_call *calls;
    int32_t len;
    int32_t pending; /* +1 while they are started */
};

static void release(struct state_request *all)
{
    if (--all->pending != 0)
        return;
    struct share_answer *whole = all->whole;
    for (int32_t i = 0; i < all->len; i++)
        share_gather(whole, all->calls[i].piece);
    share_gathered(whole);
    request_respond(all->request, &whole->response); /* frees `all` */
    share_answer_free(whole);
}

static void returned(struct coord_call *call)
{
    release(LIST_ENTRY(call, struct share_state_call, call)->arg);
}

static void start(struct state_request *all, int32_t partitions)
{
    struct request *r = all->request;
    struct share_piece *pieces = share_split(all->whole, partitions, &all->len);

    all->calls = arena_array(&r->arena, (size_t)all->len, sizeof *all->calls);
    all->pending = 1;
    for (int32_t i = 0; i < all->len; i++) {
        struct share_state_call *call = &all->calls[i];

        call->call.request = r;
        call->call.partition = pieces[i].partition;
        call->call.returned = returned;
        call->piece = pieces[i].ask;
        call->arg = all;
        all->pending++;
    }
    for (int32_t i = 0; i < all->len; i++)
        share_state_call_start(&all->calls[i]);
    release(all);
}

void api_share_state(struct request *r)
{
    struct state_request *all = arena_alloc(&r->arena, sizeof *all);
    struct share_context context = {.version = r->version};
    int32_t partitions =
        coord_host_partitions(r->shard, &coord_host_share_states);

    all->request = r;
    all->whole = share_answer_new(&context, (enum api_key)r->api->key, r->msg);
    if (partitions != 0) {
        start(all, partitions);
        return;
    }
    struct share_answer *whole = all->whole;
    share_answer_refuse(whole, ERR_NOT_COORDINATOR);
    request_respond(r, &whole->response);
    share_answer_free(whole);
}
