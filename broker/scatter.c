#include "broker/scatter.h"

#include "base/alloc.h"
#include "broker/shard.h"

#include <stdlib.h>

/* One shard's items. */
struct scatter_share {
    struct env_task task;
    struct scatter *scatter;
    struct shard *shard;
    struct scatter_item **items;
    int items_len;
    int pending; /* items not done; +1 while they are started */
};

struct scatter *scatter_new(struct request *r, int items_len)
{
    struct scatter *s = arena_alloc(&r->arena, sizeof *s);

    s->request = r;
    s->items_len = items_len;
    s->items = arena_array(&r->arena, (size_t)items_len, sizeof *s->items);
    s->shares = arena_array(&r->arena, (size_t)r->shard->broker->shards_len,
                            sizeof *s->shares);
    return s;
}

struct scatter_item *scatter_set(struct scatter *s, int i, struct slice name,
                                 const struct uuid *id, int32_t index,
                                 void *arg)
{
    struct shard *home = s->request->shard;
    struct scatter_item *item = &s->items[i];
    struct shard_topic *t = id != NULL ? shard_topic_by_id(home, id)
                                       : shard_topic_by_name(home, name);

    item->index = index;
    item->arg = arg;
    if (t == NULL || index < 0 || index >= t->partitions) {
        item->error = t == NULL && id != NULL ? ERR_UNKNOWN_TOPIC_ID
                                              : ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return item;
    }
    item->topic_id = t->id;
    item->share =
        &s->shares[broker_shard_of(home->broker, &item->topic_id, index)];
    item->share->items_len++;
    return item;
}

void scatter_refuse(struct scatter_item *item, enum err error)
{
    if (item->share == NULL)
        return;
    item->error = error;
    item->share->items_len--;
    item->share = NULL;
}

/* By partition, how often the topic's were named: 0, 1, more. */
static uint8_t *mentions_of(struct scatter *s, struct map *topics,
                            const struct scatter_item *item)
{
    struct slice id = slice_of(item->topic_id.bytes, sizeof item->topic_id);
    uint8_t *counts = map_get(topics, id);

    if (counts == NULL) {
        struct shard_topic *t =
            shard_topic_by_id(s->request->shard, &item->topic_id);

        counts = xcalloc((size_t)t->partitions, sizeof *counts);
        map_put(topics, id, counts);
    }
    return counts;
}

void scatter_refuse_repeated(struct scatter *s, enum err error)
{
    struct map topics = MAP_INIT;

    for (int i = 0; i < s->items_len; i++) {
        struct scatter_item *item = &s->items[i];

        if (item->share == NULL)
            continue;
        uint8_t *count = &mentions_of(s, &topics, item)[item->index];
        *count = *count == 0 ? 1 : 2;
    }
    for (int i = 0; i < s->items_len; i++) {
        struct scatter_item *item = &s->items[i];

        if (item->share != NULL &&
            mentions_of(s, &topics, item)[item->index] > 1)
            scatter_refuse(item, error);
    }
    MAP_EACH (entry, &topics) {
        free(entry->value);
    }
    map_free(&topics);
}

/* ---- there and back
 * ----------------------------------------------------------- */

static void share_home(struct env_task *task)
{
    struct scatter_share *share = (struct scatter_share *)(void *)task;

    if (--share->scatter->pending == 0)
        share->scatter->done(share->scatter);
}

static void release(struct scatter_share *share)
{
    struct shard *home = share->scatter->request->shard;

    if (--share->pending != 0)
        return;
    share->task.fn = share_home;
    if (home == share->shard)
        share_home(&share->task);
    else
        env_post(home->env, &share->task);
}

void scatter_item_done(struct scatter_item *item) { release(item->share); }

struct shard *scatter_item_shard(const struct scatter_item *item)
{
    return item->share->shard;
}

static void share_run(struct env_task *task)
{
    struct scatter_share *share = (struct scatter_share *)(void *)task;

    share->pending = 1;
    for (int i = 0; i < share->items_len; i++) {
        struct scatter_item *item = share->items[i];
        struct partition *p = shard_partition(share->shard, &item->topic_id,
                                              item->index, &item->error);

        share->pending++;
        share->scatter->run(item, p);
        if (!item->deferred)
            share->pending--;
    }
    release(share);
}

static void fill_shares(struct scatter *s)
{
    struct broker *broker = s->request->shard->broker;

    for (int i = 0; i < broker->shards_len; i++) {
        struct scatter_share *share = &s->shares[i];

        share->scatter = s;
        share->shard = broker->shards[i];
        share->items = arena_array(&s->request->arena, (size_t)share->items_len,
                                   sizeof *share->items);
        share->items_len = 0;
    }
    for (int i = 0; i < s->items_len; i++) {
        struct scatter_item *item = &s->items[i];

        if (item->share != NULL)
            item->share->items[item->share->items_len++] = item;
    }
}

void scatter_start(struct scatter *s)
{
    struct shard *home = s->request->shard;
    struct scatter_share *own = NULL;

    fill_shares(s);
    s->pending = 1;
    for (int i = 0; i < home->broker->shards_len; i++) {
        struct scatter_share *share = &s->shares[i];

        if (share->items_len == 0)
            continue;
        s->pending++;
        share->task.fn = share_run;
        if (share->shard == home)
            own = share;
        else
            env_post(share->shard->env, &share->task);
    }
    if (own != NULL)
        share_run(&own->task);
    if (--s->pending == 0)
        s->done(s);
}

/* ---- every shard
 * ----------------------------------------------------------------- */

static void all_home(struct env_task *task)
{
    struct scatter_all *s = (struct scatter_all *)(void *)task;

    s->done(s);
}

static void all_visit(struct env_task *task)
{
    struct scatter_all *s = (struct scatter_all *)(void *)task;
    struct broker *broker = s->request->shard->broker;

    s->run(s, broker->shards[s->next++]);
    bool last = s->next == broker->shards_len;
    s->task.fn = last ? all_home : all_visit;
    env_post(last ? s->request->shard->env : broker->shards[s->next]->env,
             &s->task);
}

void scatter_all_start(struct scatter_all *s)
{
    s->next = 0;
    s->task.fn = all_visit;
    env_post(s->request->shard->broker->shards[0]->env, &s->task);
}
