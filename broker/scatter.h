/* Requests about partitions, carried out by the shards that own them.
 *
 * The handler makes one item per partition, with `run` to be called on the
 * owner's thread; when all have run, `done` is called at home. Items to one
 * shard travel together. An item that needs a helper thread (cold reads) may
 * set `deferred` in run() and call scatter_item_done() later, on the owner's
 * thread. Memory is the request's arena. */
#ifndef BROKER_SCATTER_H
#define BROKER_SCATTER_H

#include "broker/replica/partition.h"
#include "broker/request.h"

struct scatter;
struct scatter_share;

struct scatter_item {
    struct scatter_share *share;
    struct uuid topic_id; /* zero: no such topic, `error` says so */
    int32_t index;
    enum err error;
    bool deferred;
    void *arg; /* the handler's own data for this partition */
};

struct scatter {
    struct request *request;
    struct scatter_item *items;
    int items_len;
    /* p NULL: item->error says why. Owner's thread. */
    void (*run)(struct scatter_item *item, struct partition *p);
    void (*done)(struct scatter *s); /* home */
    void *arg;
    /* the rest is scatter.c's */
    struct scatter_share *shares;
    int pending;
};

struct scatter *scatter_new(struct request *r, int items_len);
/* Fills in item number i; looks the topic up by name (id NULL) or id. */
struct scatter_item *scatter_set(struct scatter *s, int i, struct slice name,
                                 const struct uuid *id, int32_t index,
                                 void *arg);
/* Answered with `error` and not carried out, if there is such a partition. */
void scatter_refuse(struct scatter_item *item, enum err error);
/* Of partitions named more than once, each mention is answered with `error`
 * and not carried out.  After all are set. */
void scatter_refuse_repeated(struct scatter *s, enum err error);
void scatter_start(struct scatter *s);
void scatter_item_done(struct scatter_item *item);
/* In run(): the owner. */
struct shard *scatter_item_shard(const struct scatter_item *item);

/* One call on every shard, one after the other, then `done` at home. */
struct scatter_all {
    struct env_task task;
    struct request *request;
    int next; /* shard */
    void (*run)(struct scatter_all *s, struct shard *shard);
    void (*done)(struct scatter_all *s);
    void *arg;
};
void scatter_all_start(struct scatter_all *s);

#endif
