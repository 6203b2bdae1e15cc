#include "broker/share_asking.h"

#include "base/alloc.h"
#include "broker/shard.h"
#include "broker/share_client.h"

#include <stdlib.h>

enum { ASK_MS = 10000 };

struct asking {
    struct env_task task; /* the end, if nothing is to be asked */
    struct shard *shard;
    int32_t partition; /* of __consumer_offsets */
    uint64_t asker;    /* the number of its coordinator */
    struct share_group_ask *ask;
    struct asked_item {
        struct share_ask_call call;
        struct asking *all;
    } * items; /* owned */
    uint32_t pending;
};

static void end(struct asking *a)
{
    coordinators_asked(a->shard, a->partition, a->asker, a->ask);
    free(a->items);
    free(a);
}

static void nothing_asked(struct env_task *task)
{
    end(LIST_ENTRY(task, struct asking, task));
}

static void item_done(struct share_ask_call *call)
{
    struct asked_item *item = LIST_ENTRY(call, struct asked_item, call);
    struct asking *a = item->all;
    struct share_group_item *to = &a->ask->items[item - a->items];

    to->err = call->question.err;
    if (to->err == ERR_NONE &&
        a->ask->api == API_READ_SHARE_GROUP_STATE_SUMMARY) {
        to->state_epoch = call->question.told.state_epoch;
        to->leader_epoch = call->question.told.leader_epoch;
        to->start_offset = call->question.told.start_offset;
        to->complete = call->question.told.complete;
    }
    if (--a->pending == 0)
        end(a);
}

void share_asking_start(struct coord_host *host, struct share_group_ask *ask)
{
    struct asking *a = xcalloc(1, sizeof *a);
    struct env *env = host->shard->env;

    a->shard = host->shard;
    a->partition = host->partition->index;
    a->asker = host->number;
    a->ask = ask;
    a->pending = ask->items_len;
    a->items = xcalloc(ask->items_len + 1, sizeof *a->items);
    for (uint32_t i = 0; i < ask->items_len; i++) {
        const struct share_group_item *from = &ask->items[i];

        a->items[i].all = a;
        a->items[i].call = (struct share_ask_call){
            .question =
                {
                    .api = ask->api,
                    .group = ask->group,
                    .topic = from->topic,
                    .partition = from->partition,
                    .deadline_ms = env_now_ms(env) + ASK_MS,
                    .state_epoch = from->state_epoch,
                    .start_offset = from->start_offset,
                },
            .shard = host->shard,
            .done = item_done,
        };
    }
    for (uint32_t i = 0; i < ask->items_len; i++)
        share_client_ask(&a->items[i].call);
    if (ask->items_len == 0) {
        a->task.fn = nothing_asked;
        env_post(env, &a->task);
    }
}
