/* A shard: one thread, one event loop, and the partitions it owns.
 *
 * Nobody else touches their state, so there are no locks.  Work for another
 * shard's partition travels as a task to its loop and back.  What the metadata
 * thread learns arrives the same way, as shard_update messages, in order.
 *
 * Each shard keeps a small directory of all topics (name, id, partition count)
 * and brokers, so that routing a request needs nobody else. */
#ifndef BROKER_SHARD_H
#define BROKER_SHARD_H

#include "base/env.h"
#include "base/map.h"
#include "base/uuid.h"
#include "broker/broker.h"
#include "broker/log/log.h"
#include "broker/replica/leader.h"
#include "broker/throttle.h"
#include "controller/features.h"

struct codec;
struct kv_batch;
struct live;
struct quotas;
struct partition;
struct fetcher;
struct fetch_session;
struct share_home;
struct share_leads;

/* Effective settings of one topic; immutable and shared by reference. */
struct topic_settings {
    _Atomic int refs;
    struct log_config log;
    int16_t min_isr;
    bool fsync;       /* leat.durability=fsync */
    bool append_time; /* message.timestamp.type=LogAppendTime */
    int64_t timestamp_before_max_ms;
    int64_t timestamp_after_max_ms;
    int8_t compression; /* -1 producer, else enum compression */
    int compression_level;
    struct throttled throttled[THROTTLE_SIDES];
};

struct topic_settings *topic_settings_ref(struct topic_settings *s);
void topic_settings_unref(struct topic_settings *s);

/* A topic as every shard knows it. */
struct shard_topic {
    struct uuid id;
    char *name;
    int32_t partitions;
    struct partition **local; /* by partition index; NULL: not on this shard */
};

struct shard_broker {
    int32_t id;
    int64_t epoch;
    char *host; /* inter-broker listener */
    uint16_t port;
    char *client_host; /* first client listener, see request_hint() */
    uint16_t client_port;
    bool fenced;
    bool shutting_down;
    char *rack;
};

struct shard {
    struct env *env;
    struct broker *broker;
    int index;

    struct live *live;        /* the configuration as it is now; a reference */
    struct map group_configs; /* group -> struct map *: key -> char * */
    struct quotas *quotas;    /* a reference; NULL: none are known */
    struct map quota_buckets; /* of which we are the owner; quotas.c */
    uint32_t quota_sweep_at;

    struct map topics_by_name; /* name -> shard_topic */
    struct map topics_by_id;   /* 16 bytes -> shard_topic */
    struct map brokers;        /* int32 -> shard_broker */
    int64_t metadata_index;    /* what we know of is in the log up to here */
    /* When we asked what the controller answered last, as of what we know of;
     * -1: it never did. */
    int64_t heard_ms;
    struct list group_lookups; /* regexes being matched (group_regex.c) */
    int partitions_len;
    uint64_t topic_changes; /* topics made, deleted, grown */

    struct map places;      /* names we keep -> place (replica/places.c) */
    struct map wanted_dirs; /* topic id, partition -> log_dir, for replicas
                               that are not here yet */
    struct map fetchers;    /* leader id int32 -> fetcher */
    struct list watched;    /* partitions that need LEADER_TICK */
    struct list checkpoint; /* partitions whose checkpoint is out of date */
    struct list cleanable;  /* partitions that compaction looks at */
    struct list leaving;    /* deleted, but for checkpoint_holds_up() */
    int deleting;           /* replicas whose files are still to go */
    struct list sessions;   /* fetch_session, least recently used first */
    int sessions_len;
    int64_t fetch_entries_waiting;   /* of waiting fetches without a session */
    uint64_t fetch_parts_made;       /* numbers them */
    uint64_t coord_hosts_made;       /* likewise */
    struct list time_searches;       /* that wait, see time_search.h */
    bool time_search_runs;           /* another one */
    struct share_leads *share_leads; /* see share_lead.h */
    struct share_home *share_home;   /* see share_home.h */
    struct env_timer tick;           /* ISR checks, checkpoints */
    struct env_timer retention;
    struct env_timer cleaner; /* runs while there are any of them */
    int64_t next_checkpoint_ms;
    /* What we know is newer than all that an earlier process of this node knew:
     * the image holds our registration. */
    bool settled;
    struct feature_levels features;
    bool unflushed; /* shard_stop(): a log did not get to the disk */
    struct checkpoint_batch *checkpoint_batch; /* in flight, or NULL */
    struct kv_batch *forgotten; /* per log directory: checkpoints of replicas
                                   that are gone; NULL: none */
    /* Connections (request.c), each list least recently used first. */
    struct list idle_conns; /* no request in progress */
    struct list busy_conns;
    struct env_timer idle_check;
    struct env_intake *intake; /* bounds what their requests hold */
    /* Those of them that wait for transactions' coordinators, see
     * txn_verify_take_room(). */
    _Atomic size_t verifying_bytes;
    size_t verifying_max_bytes;
    int64_t complained_ms; /* last line about max.connections.per.ip */

    /* Scratch for records that must be looked at or rewritten. */
    struct codec *codec;
    struct buf expanded;
    struct buf rewritten;
};

struct shard *shard_new(struct broker *broker, int index, struct env *env);
void shard_free(struct shard *s);

/* The topic, or NULL. */
struct shard_topic *shard_topic_by_name(struct shard *s, struct slice name);
struct shard_topic *shard_topic_by_id(struct shard *s, const struct uuid *id);
/* The local partition; NULL with *error set to what a client should hear:
 * UNKNOWN_TOPIC_OR_PARTITION or NOT_LEADER_OR_FOLLOWER. */
struct partition *shard_partition(struct shard *s, const struct uuid *topic_id,
                                  int32_t index, enum err *error);
struct shard_broker *shard_broker(struct shard *s, int32_t id);
/* A replica that comes here is to be made in this directory. */
void shard_want_dir(struct shard *s, const struct uuid *topic_id, int32_t index,
                    struct log_dir *dir);
/* NULL: in any.  Forgets it. */
struct log_dir *shard_wanted_dir(struct shard *s, const struct uuid *topic_id,
                                 int32_t index);

/* What a group has set for itself; null: nothing, the broker's group.* keys
 * count. */
struct slice shard_group_config(const struct shard *s, struct slice group,
                                const char *key);

/* The same as a number, held to [min, max], which may have changed since;
 * *value stays if there is none. */
void shard_group_number(const struct shard *s, struct slice group,
                        const char *key, int32_t min, int32_t max,
                        int32_t *value);

/* ---- what the metadata thread says ---------------------------------------*/

enum shard_update_kind {
    SHARD_TOPIC, /* topic appeared or has more partitions */
    SHARD_TOPIC_GONE,
    SHARD_PARTITION,      /* a replica of ours: new or changed */
    SHARD_PARTITION_GONE, /* no longer ours: its data is deleted */
    SHARD_SETTINGS,       /* a topic's effective settings changed */
    SHARD_BROKER,
    SHARD_BROKER_GONE,
    SHARD_ISR_RESULT, /* the controller's answer to a proposal */
    SHARD_SETTLED,    /* see shard.settled */
    SHARD_FEATURES,
    SHARD_DIR_FAILED, /* a log directory of this broker */
    SHARD_LIVE,       /* the node's configuration changed */
    SHARD_GROUP,      /* a group's configuration changed */
    SHARD_QUOTAS,     /* client quotas changed */
    SHARD_HEARD,      /* see shard.heard_ms */
};

/* A partition's registration, as far as a replica needs it. */
struct partition_state {
    int32_t leader; /* -1 none */
    int32_t leader_epoch;
    int32_t partition_epoch;
    uint8_t replicas_len;
    replica_set isr; /* by position in replicas[] */
    bool recovering;
    int32_t replicas[LEADER_REPLICAS_MAX];
};

struct shard_update {
    enum shard_update_kind kind;
    struct uuid topic_id;
    int32_t partition; /* SHARD_TOPIC: the count */
    char *name;        /* owned; SHARD_TOPIC, SHARD_PARTITION, SHARD_GROUP */
    char *key;         /* owned; SHARD_GROUP */
    char *value;       /* owned; SHARD_GROUP; NULL: back to the default */
    struct live *live; /* a reference; SHARD_LIVE */
    struct quotas *quotas; /* a reference; SHARD_QUOTAS */
    struct partition_state state;
    struct topic_settings *settings; /* a reference */
    struct shard_broker broker;      /* strings owned */
    enum err error;                  /* SHARD_ISR_RESULT */
    bool hands_over;                 /* likewise: of partition_hand_over() */
    struct feature_levels features;  /* SHARD_FEATURES */
    int dir;                         /* SHARD_DIR_FAILED: its number */
    int64_t heard_ms;                /* SHARD_HEARD */
};

/* A message of many updates, applied in order.  Made by the metadata thread,
 * freed by the shard. */
struct shard_updates {
    struct env_task task;
    struct shard *shard;
    int64_t metadata_index; /* 0: not about metadata */
    struct shard_update *items;
    size_t len;
    size_t cap;
};

struct shard_updates *shard_updates_new(struct shard *s);
/* A zeroed item to fill in. */
struct shard_update *shard_updates_add(struct shard_updates *u);
void shard_updates_post(struct shard_updates *u);

/* ---- shutdown -------------------------------------------------------------*/

/* Stops fetching and serving, flushes logs, writes checkpoints; blocking, on
 * the shard's own thread after its loop has ended.  clean: true if all of it is
 * on disk. */
bool shard_stop(struct shard *s, bool clean);

#endif
