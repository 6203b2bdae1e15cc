/* Coordinators on the partitions that store their records: the joint between
 * the pure cores in broker/coord and the broker.
 *
 * When this replica begins to lead, the partition's records are read back in
 * pieces, a piece per turn of the loop, and until that is done requests hear
 * COORDINATOR_LOAD_IN_PROGRESS.  All on the partition's shard. */
#ifndef BROKER_COORD_HOST_H
#define BROKER_COORD_HOST_H

#include "broker/coord/coord.h"
#include "broker/replica/partition.h"

struct coord_host;

/* What groups and transactions do each in their own way. */
struct coord_host_kind {
    const char *topic;
    const char *area; /* of log lines */
    const char *what; /* "groups" */
    /* Sets host->core and host->loader. */
    void (*create)(struct coord_host *host);
    enum err (*load)(void *loader, struct slice batches);
    uint64_t (*loaded)(const void *loader, uint64_t *skipped);
    void (*loader_free)(void *loader);
    /* Takes the loader, which has seen everything below host->load_end. */
    void (*activate)(struct coord_host *host, struct coord_time time);
    /* At the end of a turn, and when the high watermark has moved. */
    void (*turn)(struct coord_host *host, struct coord_time time);
    void (*tick)(void *core, struct coord_time time);
    int64_t (*next_deadline)(const void *core);
    void (*resign)(void *core, struct coord_time time);
    void (*core_free)(void *core);
};

struct coord_host {
    struct partition *partition; /* NULL: lost, waits for its tasks to end */
    struct shard *shard;
    const struct coord_host_kind *kind;
    uint64_t number; /* each time that this shard leads it is another one */
    void *core;
    void *loader; /* while loading */
    int64_t load_at;
    int64_t load_end;
    int64_t load_started_us;
    enum err load_error; /* of the last try */
    struct env_timer timer;
    struct env_task poke; /* the end of the turn */
    bool poke_posted;
};

/* ---- for partitions ------------------------------------------------------*/

/* This replica began to lead; does nothing for topics without coordinator. */
void coord_host_elected(struct partition *p);
/* It lost the lead (or goes away): answers what is parked. */
void coord_host_lost(struct partition *p);
/* Its high watermark moved. */
void coord_host_committed(struct partition *p);

/* ---- for the kinds -------------------------------------------------------*/

extern const struct coord_host_kind coord_host_groups;
extern const struct coord_host_kind coord_host_transactions;
extern const struct coord_host_kind coord_host_share_states;

struct coord_time coord_host_time(const struct coord_host *host);
/* Has the end of the turn come. */
void coord_host_poke(struct coord_host *host);
/* The core's next deadline may have changed. */
void coord_host_rearm(struct coord_host *host);
/* Appends a batch of the core's with acks=all. */
enum err coord_host_append(struct coord_host *host, uint8_t *batch, size_t len,
                           int64_t *base_offset);
/* NULL: the partition has none here. */
struct coord_host *coord_host_find(struct shard *s,
                                   const struct coord_host_kind *kind,
                                   int32_t partition);

/* ---- calls ---------------------------------------------------------------*/

/* One call to one coordinator, from the request's home to the thread of the
 * partition and back.  Embedded by its owner. */
struct coord_call {
    struct env_task task;
    struct request *request;                  /* whose home gets `returned` */
    struct shard *owner;                      /* set by coord_call_start() */
    int32_t partition;                        /* -1: there is no such topic */
    void (*arrived)(struct coord_call *call); /* on the owner's thread */
    void (*returned)(struct coord_call *call);
};

void coord_call_start(struct coord_call *call,
                      const struct coord_host_kind *kind);
/* Back home.  Any thread, `here` is its shard. */
void coord_call_return(struct coord_call *call, struct shard *here);
/* How many partitions the kind's topic has; 0: it is not there. */
int32_t coord_host_partitions(struct shard *s,
                              const struct coord_host_kind *kind);

#endif
