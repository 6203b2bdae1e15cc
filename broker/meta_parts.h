/* Between the files of the metadata thread; everything here runs on it.
 *
 *   meta.c            life, polls for new metadata, the image's copy on disk
 *   meta_publish.c    what changed in the image -> messages to the shards
 *   meta_settings.c   effective settings of topics
 *   meta_live.c       what changed of the node's own configuration
 *   meta_lifecycle.c  registration, heartbeats, controlled shutdown
 *   meta_vouch.c      whether the shards still turn
 *   meta_isr.c        ISR proposals
 *   meta_offline.c    failed log directories
 *   meta_ids.c        producer ids
 *   meta_create.c     topics that are created because somebody asked for them
 *   meta_streams.c    internal topics of streams groups
 *   meta_park.c       requests that wait for metadata
 *   meta_suspect.c    brokers that seem to be dead
 *   relay.c           requests that another broker answers
 *   txn_client.c      what this broker asks others about transactions
 *   share_client.c    what it asks share coordinators, share_lag.c leaders
 *   api_metadata.c, api_configs.c, api_forward.c, ...  answers */
#ifndef BROKER_META_PARTS_H
#define BROKER_META_PARTS_H

#include "base/kv.h"
#include "broker/control_client.h"
#include "broker/meta.h"
#include "controller/image.h"
#include "controller/image_kv.h"

/* ---- waiting for metadata ----------------------------------------------- */

/* A request that waits until the image says something; embedded in memory of
 * the request's arena. */
struct parked {
    struct list link;
    struct env_timer timer;
    struct meta *meta;
    struct request *request;
    /* After every change of the image and when time is up (last): returns to
     * wait on (not if last), or calls meta_unpark() and answers the request. */
    void (*retry)(struct parked *p, bool last);
};

void meta_park(struct meta *m, struct parked *p, int64_t wait_ms);
void meta_unpark(struct parked *p);
/* Tries all of them. */
void meta_retry_parked(struct meta *m);

/* How long an answer about leaders should wait for the controller's verdict on
 * a broker that seems to be dead; 0: not at all. */
int64_t suspects_wait_ms(struct meta *m);

/* ---- parts of the state ------------------------------------------------- */

/* Follows the metadata log. */
struct follow {
    struct control_call call;
    struct env_timer again; /* after an answer that made no sense */
    /* A snapshot that is being received; NULL: none. */
    struct image *incoming;
    int64_t snapshot_index;
    int64_t snapshot_position;
    /* To be stored, and what is being stored. */
    struct kv_batch unstored;
    struct kv_batch storing;
    struct env_work store;
    int store_error;
    bool store_running;
    bool store_failed; /* the copy on disk is given up */
    bool paused;       /* no poll until the disk has caught up */
};

enum lifecycle_state {
    LIFECYCLE_IDLE,
    LIFECYCLE_REGISTERING,
    LIFECYCLE_REGISTERED,
    LIFECYCLE_LEAVING, /* controlled shutdown: heartbeats ask to stop */
    LIFECYCLE_LEFT,
};

struct lifecycle {
    enum lifecycle_state state;
    struct control_call register_call;
    struct control_call heartbeat_call;
    struct env_timer beat;     /* the next heartbeat */
    struct env_timer again;    /* the next attempt to register */
    struct env_timer patience; /* initial registration */
    struct env_timer shutdown; /* controlled shutdown, until it is late */
    struct env_task leave;     /* meta_shut_down() -> metadata thread */
    int64_t leave_timeout_ms;
    int64_t leave_deadline_ms;
    int64_t previous_epoch; /* of a process that stopped cleanly, else -1 */
    int64_t beat_ms;        /* when the heartbeat under way was asked for */
    int64_t unheard_ms;    /* see heard(): one that was answered, for who has */
    int64_t unheard_index; /* applied the metadata up to here; 0: none */
    bool beat_again;       /* something changed while one was on its way */
    bool was_ready;
    bool leads; /* our registration is in the image: what it says of leaders is
                   meant for this process, not for the one before */
    bool left_wanted;                 /* meta_shut_down() was called */
    enum err last_refusal;            /* of a registration; logged once */
    struct shard_question *questions; /* meta_vouch.c, one for each shard */
    const struct shard *still_shard;  /* so no heartbeats; NULL: none is */
};

struct isr_queue {
    struct control_call call;
    struct env_timer again;
    struct list waiting; /* isr_proposal */
    struct list sent;    /* isr_proposal, in the order of the call */
};

struct id_block {
    struct control_call call;
    struct env_timer again;
    int64_t next;
    int64_t end; /* exclusive */
    /* The one after it, fetched ahead of time; empty: none. */
    int64_t ahead_next;
    int64_t ahead_end;
};

struct creations {
    struct list all;       /* struct creation, one call each */
    struct map by_name;    /* of each topic that is being created */
    int64_t complained_ms; /* a refusal was logged last */
};

enum { META_SUSPECTS_MAX = 16 };

struct image_place {
    struct uuid topic_id;
    int32_t partition;
};

/* Replicas that went offline in this process; the controller has confirmed the
 * first `told` of them. */
struct offline_replicas {
    struct control_call call;
    struct env_timer again;
    struct image_place *items;
    size_t len;
    size_t cap;
    size_t told;
    size_t sent;        /* by the call under way, ... */
    int64_t sent_epoch; /* ... as this broker epoch */
};

/* meta_live.c */
struct live_change {
    struct env_work work;
    struct meta *meta;
    struct live *now;  /* told last; NULL: none yet */
    struct live *next; /* while its addresses are looked up */
    char *text;        /* of the overrides looked up last */
    char *why;
    bool running;
    bool again; /* something changed meanwhile */
};

struct live;
struct relay;
struct share_client;
struct share_lag;
struct txn_client;

struct meta {
    struct broker *broker;
    struct env *env;
    char own_id[12]; /* node id in decimal: our name as a config resource */
    struct control_client *control;
    struct kv *kv; /* NULL: no copy on disk */
    struct image image;
    struct follow follow;
    struct lifecycle life;
    struct isr_queue isr;
    struct offline_replicas offline;
    struct id_block ids;
    struct creations creations;
    struct list topic_orders; /* meta_streams.c: on their way */
    struct live_change live;
    struct list parked;
    struct relay *relay;
    struct txn_client *txn_client;
    struct share_client *share_client;
    struct share_lag *share_lag;
    struct {
        int32_t broker;
        int64_t until_ms;
    } suspects[META_SUSPECTS_MAX];
    size_t suspects_len;

    /* Publishing: one message for each shard while a batch is applied. */
    struct shard_updates **out;
    size_t *topic_item;     /* of last_topic in out[], by shard */
    struct uuid last_topic; /* added last in this batch; zero: none */
    struct topic_settings
        *settings;              /* of topics without configs of their own */
    struct map topic_settings;  /* 16 bytes of id -> topic_settings */
    struct map changed_configs; /* topic name -> the map itself */
    /* Replicas that went elsewhere before our registration was applied: they
     * may have come back since, with the data that is on our disk. */
    struct image_place *early_leavers;
    size_t early_leavers_len;
    bool defaults_changed;
    bool features_told; /* the shards know the levels */
    bool quotas_changed;
    uint64_t quotas_generation; /* of what the shards were told last */

    void (*ready)(void *arg);
    void *ready_arg;
    void (*failed)(void *arg);
    void *failed_arg;
    bool has_failed;
    void (*left)(void *arg);
    void *left_arg;
};

/* ---- meta.c ------------------------------------------------------------- */

void follow_start(struct meta *m);
void follow_init(struct meta *m);
void follow_stop(struct meta *m);
void follow_free(struct meta *m);
/* The controllers belong to another cluster: says so and fails. */
void meta_other_cluster(struct meta *m, const Leat__ControlResponse *response);
/* Tells main that the node cannot go on. */
void meta_fail(struct meta *m);
/* Where a broker listens for other brokers; NULL: nowhere. */
const struct image_endpoint *meta_broker_endpoint(const struct meta *m,
                                                  const struct image_broker *b);
/* Addresses of the controllers: the configuration's, then the image's. */
void meta_set_controllers(struct meta *m);

/* ---- meta_publish.c ----------------------------------------------------- */

void publish_init(struct meta *m);
void publish_free(struct meta *m);
/* Tells the shards everything between `old` and the image. */
void publish_diff(struct meta *m, const struct image *old);
/* Tells the shards what we lead, and which replicas are not ours any more;
 * before life.leads they hear of neither. */
void publish_led(struct meta *m);
/* For image_apply(); publish_send() after the batch. */
struct image_observer publish_observer(struct meta *m);
void publish_send(struct meta *m);
/* shard.heard_ms. */
void publish_heard(struct meta *m, int64_t asked_ms);

/* ---- meta_settings.c ---------------------------------------------------- */

/* The settings in effect; a reference of the callee's. */
struct topic_settings *settings_of(struct meta *m,
                                   const struct image_topic *topic);
void settings_forget(struct meta *m, const struct image_topic *topic);
/* Resolves what changed_configs and defaults_changed name, and calls `changed`
 * for topics whose settings are different now. */
void settings_refresh(struct meta *m,
                      void (*changed)(struct meta *m,
                                      const struct image_topic *topic,
                                      struct topic_settings *settings));
void settings_free(struct meta *m);
/* Layers for controller/config_resolve.h; topic may be NULL. */
struct config_layers meta_config_layers(const struct meta *m,
                                        const struct image_topic *topic);

/* ---- meta_live.c -------------------------------------------------------- */

/* Some key of this broker, or of all, changed. */
void live_refresh(struct meta *m);
void live_free(struct meta *m);

/* ---- meta_lifecycle.c --------------------------------------------------- */

void lifecycle_init(struct meta *m);
void lifecycle_start(struct meta *m);
void lifecycle_stop(struct meta *m);
void lifecycle_free(struct meta *m);
/* The image changed. */
void lifecycle_applied(struct meta *m);
/* A connection to a controller opened. */
void lifecycle_connected(struct meta *m);
/* The controller does not know our epoch: registers again. */
void lifecycle_stale(struct meta *m);
/* The shard for which heartbeats were held back answers again. */
void lifecycle_shards_turn(struct meta *m);

/* A heartbeat now. */
void lifecycle_beat(struct meta *m);

/* ---- meta_vouch.c ------------------------------------------------------- */

void vouch_start(struct meta *m);
void vouch_free(struct meta *m);
/* Asks the shards; false: a heartbeat would vouch for one that stands still. */
bool vouch(struct meta *m);

/* ---- meta_offline.c ----------------------------------------------------- */

void offline_init(struct meta *m);
void offline_registered(struct meta *m);
void offline_stop(struct meta *m);
void offline_free(struct meta *m);

/* ---- meta_isr.c, meta_ids.c --------------------------------------------- */

void isr_init(struct meta *m);
void isr_registered(struct meta *m);
void isr_stop(struct meta *m);
void ids_init(struct meta *m);
void ids_registered(struct meta *m);
void ids_stop(struct meta *m);
/* The next id, or -1: none is here yet (parked requests are told, and the
 * coordinators of transactions). */
int64_t ids_take(struct meta *m);
/* The first of at most `max` ids. */
int64_t ids_take_some(struct meta *m, int32_t max, int32_t *count);

/* ---- meta_create.c ------------------------------------------------------ */

void creations_init(struct meta *m);
void creations_applied(struct meta *m);
void creations_free(struct meta *m);
/* Starts creating what does not exist and is not being created yet. */
void creations_start(struct meta *m, const struct slice *names, size_t len);
bool creation_running(const struct meta *m, struct slice name);
/* Whether a topic of this name may be created by asking for it. */
bool creation_possible(const struct meta *m, struct slice name);
bool topic_name_valid(struct slice name);

/* ---- meta_streams.c ----------------------------------------------------- */

void topic_orders_init(struct meta *m);
void topic_orders_stop(struct meta *m);

/* ---- attempts ----------------------------------------------------------- */

/* For one controller to answer what takes it no more than a commit. */
static inline int64_t meta_attempt_ms(const struct meta *m)
{
    return m->broker->config->controller_request_timeout_ms;
}

#endif
