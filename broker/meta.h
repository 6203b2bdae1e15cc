/* The metadata thread of a broker: one loop that
 *   - follows the cluster's metadata log (a long poll to the active
 *     controller), keeps the image and its copy on disk, and tells the shards
 *     what concerns them (broker/shard.h: shard_update);
 *   - registers this broker, sends heartbeats, and brings a controlled shutdown
 *     about;
 *   - carries ISR proposals, producer-id blocks and forwarded client requests
 * to the active controller, wherever it currently is;
 *   - answers the requests that only need the image (Metadata, DescribeConfigs,
 *     ...; see dispatch.c).
 * Nothing it does blocks; the image's copy on disk is written by env_work. */
#ifndef BROKER_META_H
#define BROKER_META_H

#include "broker/broker.h"
#include "broker/control_client.h"
#include "broker/request.h"
#include "broker/shard.h"

struct meta;
struct image;

struct meta *meta_new(struct broker *broker, struct env *env);
/* Loads the image from disk, tells the shards about it, starts following and
 * registering.  Blocking; before the loop runs. */
enum err meta_start(struct meta *m, char **why);
/* The end, in three steps: meta_stop() when the loop has ended (closes
 * connections, stops timers), env_free(), which waits for the image's last
 * write, meta_free(). */
void meta_stop(struct meta *m);
void meta_free(struct meta *m);

/* Any thread: constant. */
struct env *meta_env(struct meta *m);

/* Controlled shutdown: asks the controller to move leaders away; `done` runs on
 * the metadata thread when it agreed, or after timeout_ms.  Any thread, once.
 */
void meta_shut_down(struct meta *m, int64_t timeout_ms, void (*done)(void *arg),
                    void *arg);
/* Called on the metadata thread when the broker is unfenced for the first time;
 * main opens the client listeners then. */
void meta_on_ready(struct meta *m, void (*ready)(void *arg), void *arg);
/* Called on the metadata thread, once, when the node cannot go on: it was not
 * registered within initial.broker.registration.timeout.ms, or the metadata log
 * is damaged.  The reason was logged; main ends the process.  Before
 * meta_start(). */
void meta_on_failed(struct meta *m, void (*failed)(void *arg), void *arg);

/* A leader asks for another ISR.  Any thread; takes the proposal over and frees
 * it.  The answer comes as SHARD_ISR_RESULT. */
struct isr_proposal {
    struct env_task task; /* for the metadata thread */
    struct meta *meta;
    struct list link;
    int shard;
    struct uuid topic_id;
    int32_t partition;
    int32_t leader_epoch;
    int32_t partition_epoch;
    bool recovering;
    bool hands_over; /* somebody else is to lead; see partition_hand_over() */
    bool repeated;   /* it was sent before, and how that went is not known */
    int isr_len;
    struct {
        int32_t broker;
        int64_t epoch;
    } isr[LEADER_REPLICAS_MAX];
};
void meta_propose_isr(struct meta *m, struct isr_proposal *proposal);

/* The connection to a broker broke (it may be dead), or is there again.  Any
 * thread. */
void meta_suspect_broker(struct meta *m, int32_t broker, bool alive);

/* Something in the directory failed: it is given up.  Any thread. */
void meta_log_dir_failed(struct meta *m, const struct log_dir *dir);
/* A replica of ours cannot be used until the next start.  Any thread. */
void meta_replica_offline(struct meta *m, const struct uuid *topic_id,
                          int32_t partition);

/* Internal topics that a streams group lacks, to be made by the controller. */
struct topic_order {
    struct env_task task; /* there and back */
    struct shard *from;
    int32_t partition;                 /* of __consumer_offsets */
    uint64_t asker;                    /* the number of its coordinator */
    struct streams_creation *creation; /* owned */
    /* It failed, as `why` says; on the thread of `from`. */
    void (*failed)(struct topic_order *order);
    struct slice why; /* valid during failed() */
    /* The metadata thread's. */
    struct list link;
    struct control_call call;
};
/* Takes the order over and frees it.  The thread of `from`. */
void meta_make_topics(struct topic_order *order);

#endif
