/* A controller on a desk: brokers that say what the test wants, a log that
 * commits at once, and checks of everything that must always hold.
 *
 * Every call's batches are replayed into a second image, which must come out
 * equal to the controller's own, and stored in a kv in memory.  Each change of
 * a partition is checked against the rules of elections and epochs. */
#ifndef TESTS_CONTROLLER_DESK_H
#define TESTS_CONTROLLER_DESK_H

#include "base/kv.h"
#include "controller/controller.h"
#include "proto/kafka/api.h"

struct desk {
    struct controller_config config; /* change before desk_start() */
    struct map file;                 /* key -> char *, the node's file */
    struct controller c;
    struct image committed; /* from the batches alone */
    struct kv *kv;          /* likewise */
    struct arena arena;
    int64_t now_ms;
    int64_t next_index;
    uint64_t seed;
    int64_t deadline_ms;
    size_t records; /* of the last call */
    size_t batches;
    bool light;      /* skip what is proportional to everything */
    const char *why; /* of the last broker call; "" none */
};

/* Kafka's defaults, but leaders don't go back by themselves before 300 s, and
 * a lost connection is final after 100 ms. */
void desk_init(struct desk *d);
/* Activate with an empty image. */
void desk_start(struct desk *d);
/* desk_init(), desk_start(), brokers 1..n registered and unfenced. */
void desk_with_brokers(struct desk *d, int32_t n);
void desk_free(struct desk *d);
/* The controller dies; another one starts from what is stored. */
void desk_failover(struct desk *d);

/* ---- brokers ------------------------------------------------------------- */

struct desk_broker {
    int32_t id;
    uint16_t incarnation; /* default 1 */
    const char *rack;
    int64_t previous_epoch; /* default -1: unclean */
    const char *host;       /* default "host<id>" */
    uint8_t disk;           /* another number: an empty one */
    bool no_features;       /* of a release that knew none */
    uint8_t disks;          /* how many, default 1, at most 2 */
};

enum err desk_register(struct desk *d, struct desk_broker b);
/* With everything applied. */
enum err desk_heartbeat(struct desk *d, int32_t id,
                        Leat__HeartbeatResponse *response);
enum err desk_heartbeat_with(struct desk *d, Leat__HeartbeatRequest request,
                             Leat__HeartbeatResponse *response);
void desk_unfence(struct desk *d, int32_t id);
/* Its connection breaks and the grace passes. */
void desk_kill(struct desk *d, int32_t id);
/* A new process: registered, caught up.  clean: with the old epoch. */
void desk_restart(struct desk *d, int32_t id, bool clean);
/* The same with an empty disk. */
void desk_restart_emptied(struct desk *d, int32_t id);
enum err desk_unregister(struct desk *d, int32_t id);
int64_t desk_epoch(const struct desk *d, int32_t id);
bool desk_is_fenced(const struct desk *d, int32_t id);

void desk_tick(struct desk *d);
/* Time passes, with heartbeats of all brokers that are not fenced. */
void desk_pass(struct desk *d, int64_t ms);

/* AlterPartition by the present leader (or `sender` != 0), to the ids in `isr`
 * ("1,2").  Epochs of the request are raised by the given amounts. */
struct desk_alter {
    const char *topic;
    int32_t partition;
    const char *isr;
    bool recovering;
    int32_t sender;
    int leader_epoch_off;
    int partition_epoch_off;
    int64_t member_epoch_off;
};
enum err desk_alter(struct desk *d, struct desk_alter a);

/* The broker's log directory with these replicas of a topic ("0,2") failed. */
enum err desk_offline(struct desk *d, int32_t broker, const char *topic,
                      const char *partitions);

/* ---- Kafka's requests ---------------------------------------------------- */

/* Encodes, handles, decodes; the response lives in the arena. */
void *desk_kafka(struct desk *d, int16_t api_key, int16_t version,
                 const void *request);
/* -1: defaults. */
enum err desk_create(struct desk *d, const char *name, int32_t partitions,
                     int16_t replicas);
/* Replicas as "1,2,3 2,3,1". */
enum err desk_create_at(struct desk *d, const char *name,
                        const char *assignment);
enum err desk_delete(struct desk *d, const char *name);
/* One key; value NULL: delete.  broker -1: all brokers. */
enum err desk_topic_config(struct desk *d, const char *topic, const char *key,
                           const char *value);
enum err desk_broker_config(struct desk *d, int32_t broker, const char *key,
                            const char *value);
/* replicas NULL: cancel. */
enum err desk_reassign(struct desk *d, const char *topic, int32_t partition,
                       const char *replicas);
/* type 0 preferred, 1 unclean. */
enum err desk_elect(struct desk *d, int8_t type, const char *topic,
                    int32_t partition);

/* "1,2,3" -> ids in the arena. */
int32_t *desk_ids(struct desk *d, const char *text, int32_t *len);

/* ---- looking ------------------------------------------------------------- */

/* "leader 1 epochs 0/0 replicas 1,2,3 isr 1,2,3", with " adding", " removing",
 * " elr", " last", " offline" and " recovering" where there is something to
 * say. */
const char *desk_show(struct desk *d, const char *topic, int32_t partition);
const struct image_partition *
desk_partition(const struct desk *d, const char *topic, int32_t partition);

/* A call for functions used directly, and what must follow it. */
struct controller_call desk_call(struct desk *d);
void desk_done(struct desk *d, struct controller_update *update);
/* Snapshot, store and index agree with the image. */
void desk_check_copies(struct desk *d);

#endif
