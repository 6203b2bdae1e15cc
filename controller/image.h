/* The cluster's metadata at one point of the metadata log, in memory.
 *
 * Brokers, topics, partitions, configs, features, controllers and the next
 * producer id.  Every node that knows the cluster holds one: brokers and
 * standby controllers replay what is committed, the active controller also
 * what it has just proposed.
 *
 * image_replay() is the only mutator.  Records carry full state, so replaying
 * one twice is harmless.  They were validated when they were proposed: one that
 * cannot apply means that the log or the stored image is damaged, the image is
 * then of no more use and the caller gives it up.
 *
 * Everything is plain data for reading.  Pointers to brokers, topics and
 * partitions live until the next replay of a record about the same thing.
 * Iteration is in a fixed order: brokers, controllers and features sorted,
 * topics by slot (creation order, freed slots reused), configs as they came.
 *
 * Not thread-safe: one owner.  No clock, no I/O; storage is kv's (image_kv.h).
 */
#ifndef CONTROLLER_IMAGE_H
#define CONTROLLER_IMAGE_H

#include "base/error.h"
#include "base/map.h"
#include "base/uuid.h"
#include "proto/internal/metadata.pb-c.h"

enum {
    /* Per list of a partition; replicas of a reassignment included. */
    IMAGE_REPLICAS_MAX = 240,
    IMAGE_PARTITIONS_MAX = 1 << 24, /* per topic */
};

/* As in ConfigRecord and, but for quotas, in Kafka's requests. */
enum image_resource {
    IMAGE_RESOURCE_TOPIC = 2,
    IMAGE_RESOURCE_BROKER = 4,
    IMAGE_RESOURCE_CLIENT_METRICS = 16,
    IMAGE_RESOURCE_GROUP = 32,
    IMAGE_RESOURCE_CLIENT_QUOTA = 100, /* names: quota_entity.h */
};

/* Broker ids that somebody else owns. */
struct image_ids {
    const int32_t *at;
    uint32_t len;
};

struct image_endpoint {
    char *listener; /* "PLAINTEXT", "CONTROLLER", ... */
    char *host;
    uint16_t port;
    uint8_t
        security_protocol; /* 0 PLAINTEXT 1 SSL 2 SASL_PLAINTEXT 3 SASL_SSL */
};

/* Levels of a feature that a broker supports, inclusive. */
struct image_feature_range {
    char *name;
    int16_t min;
    int16_t max;
};

struct image_broker {
    int32_t id;
    struct uuid incarnation;
    int64_t epoch; /* index of its registration, > 0 */
    bool fenced;
    bool in_controlled_shutdown;
    char *rack; /* "" none */
    struct image_endpoint *endpoints;
    size_t endpoints_len;
    struct uuid *log_dirs;
    size_t log_dirs_len;
    struct image_feature_range *features; /* missing: level 0 only */
    size_t features_len;
};

struct image_controller {
    int32_t id;
    struct uuid incarnation;
    struct image_endpoint *endpoints;
    size_t endpoints_len;
};

/* One allocation of 24 bytes and 4 per id.  Read the lists with the functions
 * below.  Invariants: leader is -1 or in isr; isr is a subset of replicas and,
 * in what the controller writes, never empty; elr and isr are disjoint; so are
 * last_known_elr and isr, but see image_isr_is_lost(). */
struct image_partition {
    int32_t leader; /* -1 none */
    int32_t leader_epoch;
    int32_t partition_epoch; /* +1 with every change */
    uint8_t replicas_len;
    uint8_t isr_len;
    uint8_t adding_len;
    uint8_t removing_len;
    uint8_t elr_len;
    uint8_t last_known_elr_len;
    uint8_t offline_len;
    bool recovering; /* elected uncleanly, until the leader says recovered */
    int32_t ids[];   /* the seven lists, in the order of their lengths above */
};

struct image_topic {
    struct uuid id;
    char *name;
    uint32_t name_len;
    uint32_t slot;                       /* index in image.topics */
    struct image_partition **partitions; /* no holes */
    int32_t partitions_len;
    int32_t partitions_cap;
};

/* What has configs: a topic, a broker, all brokers (name ""), a group whether
 * or not there is one, a subscription to clients' metrics, those whom a quota
 * is for. */
struct image_configs {
    enum image_resource type;
    char *name;
    struct map by_key; /* key -> char *, the value, NUL-terminated */
};

struct image_feature {
    char *name;
    int16_t level; /* > 0 */
};

struct image {
    int64_t applied_index; /* of the last entry applied, 0: none */

    struct image_broker **brokers; /* sorted by id */
    size_t brokers_len;
    size_t brokers_cap;

    struct image_controller **controllers; /* sorted by id */
    size_t controllers_len;
    size_t controllers_cap;

    struct image_feature **features; /* sorted by name */
    size_t features_len;
    size_t features_cap;

    struct image_topic **topics; /* by slot; NULL: free */
    uint32_t topics_len;         /* with free slots */
    uint32_t topics_cap;
    uint32_t *free_slots; /* last freed is reused first */
    uint32_t free_slots_len;
    uint32_t free_slots_cap;
    struct map topics_by_name;
    struct map topics_by_id;
    int64_t partitions_count; /* of all topics */

    struct map configs; /* type byte and name -> struct image_configs */

    int64_t next_producer_id; /* first one never handed out */
};

/* What a record changed, told while it is replayed.  Any callback may be NULL.
 * Arguments live until the callback returns, except that what is `now` in the
 * image stays (see above).  Callbacks must not touch the image otherwise. */
struct image_observer {
    void *arg;
    /* old NULL: registered; now NULL: removed. */
    void (*broker_changed)(void *arg, const struct image_broker *old,
                           const struct image_broker *now);
    /* Before its first partition. */
    void (*topic_added)(void *arg, const struct image_topic *topic);
    /* With its partitions still there; they get no callbacks of their own, and
     * neither do its configs. */
    void (*topic_removed)(void *arg, const struct image_topic *topic);
    /* old NULL: created.  topic->partitions[partition] is `now`. */
    void (*partition_changed)(void *arg, const struct image_topic *topic,
                              int32_t partition,
                              const struct image_partition *old,
                              const struct image_partition *now);
    /* value NULL: back to the default. */
    void (*config_changed)(void *arg, enum image_resource type,
                           const char *name, const char *key,
                           const char *value);
    void (*feature_changed)(void *arg, const char *name, int16_t level);
};

void image_init(struct image *image);
void image_free(struct image *image); /* and back to image_init() */

/* Apply one record of the entry `index`.  observer may be NULL.
 * ERR_DAMAGED: the record is not one that a controller writes. */
enum err image_replay(struct image *image, const Leat__MetadataRecord *record,
                      int64_t index, const struct image_observer *observer);

/* Apply the MetadataBatch in `batch` (empty: none, as in Raft's own entries)
 * and set applied_index.  An entry at or below applied_index is skipped.
 * ERR_MALFORMED or ERR_DAMAGED: give the image up. */
enum err image_apply(struct image *image, int64_t index, struct slice batch,
                     const struct image_observer *observer);

/* Tell the observer what would have to be replayed to get from `old` to `now`:
 * removed topics first, then brokers, added topics, partitions, configs,
 * features.  A broker uses it when a snapshot replaces its image. */
void image_diff(const struct image *old, const struct image *now,
                const struct image_observer *observer);

/* Same content, whatever the order in which it came; for tests and checks.
 * applied_index is not compared. */
bool image_equal(const struct image *a, const struct image *b);

/* ---- look-ups: NULL if absent ------------------------------------------ */

struct image_broker *image_broker(const struct image *image, int32_t id);
struct image_topic *image_topic(const struct image *image, struct slice name);
struct image_topic *image_topic_by_id(const struct image *image,
                                      struct uuid id);
struct image_partition *image_partition(const struct image_topic *topic,
                                        int32_t partition);
/* Configs that are set; NULL if none ever was. */
const struct image_configs *image_configs(const struct image *image,
                                          enum image_resource type,
                                          struct slice name);
/* The value set on exactly this resource. */
const char *image_config(const struct image *image, enum image_resource type,
                         struct slice name, struct slice key);
int16_t image_feature(const struct image *image, const char *name); /* 0: off */
/* By listener name. */
const struct image_endpoint *image_endpoint(const struct image_broker *broker,
                                            struct slice listener);

/* First topic in a slot >= *slot, which moves behind it:
 *     for (uint32_t at = 0; (t = image_topic_next(image, &at)) != NULL;) */
struct image_topic *image_topic_next(const struct image *image, uint32_t *slot);

static inline struct image_ids
image_replicas(const struct image_partition *p) /* assignment order */
{
    return (struct image_ids){p->ids, p->replicas_len};
}

static inline struct image_ids image_isr(const struct image_partition *p)
{
    return (struct image_ids){p->ids + p->replicas_len, p->isr_len};
}

static inline struct image_ids image_adding(const struct image_partition *p)
{
    return (struct image_ids){image_isr(p).at + p->isr_len, p->adding_len};
}

static inline struct image_ids image_removing(const struct image_partition *p)
{
    return (struct image_ids){image_adding(p).at + p->adding_len,
                              p->removing_len};
}

/* Eligible leader replicas (KIP-966). */
static inline struct image_ids image_elr(const struct image_partition *p)
{
    return (struct image_ids){image_removing(p).at + p->removing_len,
                              p->elr_len};
}

static inline struct image_ids
image_last_known_elr(const struct image_partition *p)
{
    return (struct image_ids){image_elr(p).at + p->elr_len,
                              p->last_known_elr_len};
}

/* Replicas whose log directory failed. */
static inline struct image_ids image_offline(const struct image_partition *p)
{
    return (struct image_ids){
        image_last_known_elr(p).at + p->last_known_elr_len, p->offline_len};
}

static inline bool image_ids_have(struct image_ids ids, int32_t id)
{
    for (uint32_t i = 0; i < ids.len; i++)
        if (ids.at[i] == id)
            return true;
    return false;
}

/* The only one in sync came back with nothing of it: it is last known, too.
 * There is no leader then before an unclean election. */
static inline bool image_isr_is_lost(const struct image_partition *p)
{
    return p->isr_len == 1 &&
           image_ids_have(image_last_known_elr(p), image_isr(p).at[0]);
}

/* ---- snapshots ----------------------------------------------------------- */

/* Where the next piece starts; zero-initialise for the first. */
struct image_cursor {
    int section;
    uint32_t at;      /* entry of the section */
    int32_t within;   /* partition of a topic, key of a resource */
    int64_t position; /* records written so far */
    bool done;
};

/* Append to `batch` the next records as a MetadataBatch: as many as fit in
 * max_bytes, at least one if any is left.  All pieces, replayed in order on an
 * empty image, rebuild this one.  The image must not change between pieces. */
void image_snapshot_next(const struct image *image, struct image_cursor *cursor,
                         size_t max_bytes, struct buf *batch);

#endif
