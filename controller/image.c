/* Replay: one function per kind of record, each checks its record completely,
 * then changes the image, then tells the observer.
 *
 * Partitions are the many (a million of them is in reach), so each is a single
 * packed allocation that is replaced whole; everything else is few and may be
 * comfortable. */
#include "controller/image.h"

#include "controller/records.h"

#include "base/assert.h"

#include <stdlib.h>

/* ---- small helpers ------------------------------------------------------- */

static bool binary_uuid(ProtobufCBinaryData b, struct uuid *id)
{
    if (b.len != sizeof id->bytes)
        return false;
    memcpy(id->bytes, b.data, sizeof id->bytes);
    return true;
}

static struct image_endpoint *endpoints_copy(Leat__Endpoint **from, size_t len)
{
    struct image_endpoint *to = xcalloc(len != 0 ? len : 1, sizeof *to);

    for (size_t i = 0; i < len; i++)
        to[i] = (struct image_endpoint){
            .listener = xstrdup(from[i]->listener),
            .host = xstrdup(from[i]->host),
            .port = (uint16_t)from[i]->port,
            .security_protocol = (uint8_t)from[i]->security_protocol,
        };
    return to;
}

static bool endpoints_valid(Leat__Endpoint **list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (list[i]->port > UINT16_MAX || list[i]->security_protocol > 3)
            return false;
    return true;
}

static void endpoints_free(struct image_endpoint *list, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        free(list[i].listener);
        free(list[i].host);
    }
    free(list);
}

static struct image_feature_range *ranges_copy(Leat__FeatureRange **from,
                                               size_t len)
{
    struct image_feature_range *to = xcalloc(len != 0 ? len : 1, sizeof *to);

    for (size_t i = 0; i < len; i++)
        to[i] = (struct image_feature_range){
            .name = xstrdup(from[i]->name),
            .min = (int16_t)from[i]->min_level,
            .max = (int16_t)from[i]->max_level,
        };
    return to;
}

static bool ranges_valid(Leat__FeatureRange **list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (list[i]->min_level < 0 || list[i]->max_level > INT16_MAX ||
            list[i]->min_level > list[i]->max_level)
            return false;
    return true;
}

static void ranges_free(struct image_feature_range *list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        free(list[i].name);
    free(list);
}

static void broker_free(struct image_broker *b)
{
    if (b == NULL)
        return;
    endpoints_free(b->endpoints, b->endpoints_len);
    ranges_free(b->features, b->features_len);
    free(b->log_dirs);
    free(b->rack);
    free(b);
}

static void controller_free(struct image_controller *c)
{
    if (c == NULL)
        return;
    endpoints_free(c->endpoints, c->endpoints_len);
    free(c);
}

static void feature_free(struct image_feature *f)
{
    if (f == NULL)
        return;
    free(f->name);
    free(f);
}

static void configs_free(struct image_configs *r)
{
    if (r == NULL)
        return;
    MAP_EACH (entry, &r->by_key)
        free(entry->value);
    map_free(&r->by_key);
    free(r->name);
    free(r);
}

static void topic_free(struct image_topic *t)
{
    if (t == NULL)
        return;
    for (int32_t i = 0; i < t->partitions_len; i++)
        free(t->partitions[i]);
    free(t->partitions);
    free(t->name);
    free(t);
}

/* ---- sorted arrays of pointers ------------------------------------------- */

/* Open a place at `at` in an array of `*len` pointers. */
static void **array_open(void **array, size_t *len, size_t *cap, size_t at)
{
    if (*len == *cap) {
        *cap = *cap != 0 ? *cap * 2 : 4;
        array = xrealloc(array, *cap * sizeof *array);
    }
    memmove(array + at + 1, array + at, (*len - at) * sizeof *array);
    (*len)++;
    return array;
}

static void array_close(void **array, size_t *len, size_t at)
{
    (*len)--;
    memmove(array + at, array + at + 1, (*len - at) * sizeof *array);
}

/* First position whose id is not below `id`. */
static size_t broker_position(const struct image *image, int32_t id)
{
    size_t low = 0;

    for (size_t high = image->brokers_len; low < high;) {
        size_t middle = low + (high - low) / 2;

        if (image->brokers[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- look-ups ------------------------------------------------------------ */

struct image_broker *image_broker(const struct image *image, int32_t id)
{
    size_t at = broker_position(image, id);

    return at < image->brokers_len && image->brokers[at]->id == id
               ? image->brokers[at]
               : NULL;
}

struct image_topic *image_topic(const struct image *image, struct slice name)
{
    return map_get(&image->topics_by_name, name);
}

struct image_topic *image_topic_by_id(const struct image *image, struct uuid id)
{
    return map_get(&image->topics_by_id, uuid_slice(&id));
}

struct image_partition *image_partition(const struct image_topic *topic,
                                        int32_t partition)
{
    return partition >= 0 && partition < topic->partitions_len
               ? topic->partitions[partition]
               : NULL;
}

struct image_topic *image_topic_next(const struct image *image, uint32_t *slot)
{
    while (*slot < image->topics_len) {
        struct image_topic *topic = image->topics[(*slot)++];

        if (topic != NULL)
            return topic;
    }
    return NULL;
}

/* The key of a resource in image.configs: its type, then its name. */
static struct buf configs_key(enum image_resource type, struct slice name)
{
    struct buf key = BUF_INIT;

    buf_put_u8(&key, (uint8_t)type);
    buf_put_slice(&key, name);
    return key;
}

static struct image_configs *configs_find(const struct image *image,
                                          enum image_resource type,
                                          struct slice name)
{
    struct buf key = configs_key(type, name);
    struct image_configs *found = map_get(&image->configs, buf_slice(&key));

    buf_free(&key);
    return found;
}

const struct image_configs *image_configs(const struct image *image,
                                          enum image_resource type,
                                          struct slice name)
{
    return configs_find(image, type, name);
}

const char *image_config(const struct image *image, enum image_resource type,
                         struct slice name, struct slice key)
{
    const struct image_configs *r = image_configs(image, type, name);

    return r == NULL ? NULL : map_get(&r->by_key, key);
}

int16_t image_feature(const struct image *image, const char *name)
{
    for (size_t i = 0; i < image->features_len; i++)
        if (strcmp(image->features[i]->name, name) == 0)
            return image->features[i]->level;
    return 0;
}

const struct image_endpoint *image_endpoint(const struct image_broker *broker,
                                            struct slice listener)
{
    for (size_t i = 0; i < broker->endpoints_len; i++)
        if (slice_eq_str(listener, broker->endpoints[i].listener))
            return &broker->endpoints[i];
    return NULL;
}

/* ---- life ---------------------------------------------------------------- */

void image_init(struct image *image)
{
    *image = (struct image){.topics_by_name = MAP_INIT};
}

void image_free(struct image *image)
{
    for (size_t i = 0; i < image->brokers_len; i++)
        broker_free(image->brokers[i]);
    free(image->brokers);
    for (size_t i = 0; i < image->controllers_len; i++)
        controller_free(image->controllers[i]);
    free(image->controllers);
    for (size_t i = 0; i < image->features_len; i++)
        feature_free(image->features[i]);
    free(image->features);
    for (uint32_t i = 0; i < image->topics_len; i++)
        topic_free(image->topics[i]);
    free(image->topics);
    free(image->free_slots);
    map_free(&image->topics_by_name);
    map_free(&image->topics_by_id);
    MAP_EACH (entry, &image->configs)
        configs_free(entry->value);
    map_free(&image->configs);
    image_init(image);
}

/* ---- replay: brokers ----------------------------------------------------- */

static enum err replay_broker(struct image *image, const Leat__BrokerRecord *r,
                              int64_t index, const struct image_observer *o)
{
    int64_t epoch = r->broker_epoch != 0 ? r->broker_epoch : index;
    struct uuid incarnation;

    if (r->broker_id < 0 || epoch <= 0 ||
        !binary_uuid(r->incarnation, &incarnation) ||
        !endpoints_valid(r->endpoints, r->n_endpoints) ||
        !ranges_valid(r->features, r->n_features))
        return ERR_DAMAGED;
    for (size_t i = 0; i < r->n_log_dirs; i++)
        if (r->log_dirs[i].len != 16)
            return ERR_DAMAGED;

    struct image_broker *now = xmalloc(sizeof *now);
    *now = (struct image_broker){
        .id = r->broker_id,
        .incarnation = incarnation,
        .epoch = epoch,
        .fenced = r->fenced,
        .in_controlled_shutdown = r->in_controlled_shutdown,
        .rack = xstrdup(r->rack),
        .endpoints = endpoints_copy(r->endpoints, r->n_endpoints),
        .endpoints_len = r->n_endpoints,
        .log_dirs = xcalloc(r->n_log_dirs + 1, sizeof *now->log_dirs),
        .log_dirs_len = r->n_log_dirs,
        .features = ranges_copy(r->features, r->n_features),
        .features_len = r->n_features,
    };
    for (size_t i = 0; i < r->n_log_dirs; i++)
        binary_uuid(r->log_dirs[i], &now->log_dirs[i]);

    size_t at = broker_position(image, now->id);
    struct image_broker *old = image_broker(image, now->id);
    if (old == NULL)
        image->brokers = (struct image_broker **)array_open(
            (void **)image->brokers, &image->brokers_len, &image->brokers_cap,
            at);
    image->brokers[at] = now;
    if (o != NULL && o->broker_changed != NULL)
        o->broker_changed(o->arg, old, now);
    broker_free(old);
    return ERR_NONE;
}

static enum err replay_remove_broker(struct image *image,
                                     const Leat__RemoveBrokerRecord *r,
                                     const struct image_observer *o)
{
    size_t at = broker_position(image, r->broker_id);
    struct image_broker *old = image_broker(image, r->broker_id);

    if (old == NULL)
        return ERR_NONE; /* replayed twice */
    array_close((void **)image->brokers, &image->brokers_len, at);
    if (o != NULL && o->broker_changed != NULL)
        o->broker_changed(o->arg, old, NULL);
    broker_free(old);
    return ERR_NONE;
}

static enum err replay_controller(struct image *image,
                                  const Leat__ControllerRecord *r)
{
    struct uuid incarnation;
    size_t at = 0;

    if (!binary_uuid(r->incarnation, &incarnation) ||
        !endpoints_valid(r->endpoints, r->n_endpoints))
        return ERR_DAMAGED;
    while (at < image->controllers_len &&
           image->controllers[at]->id < r->controller_id)
        at++;
    bool known = at < image->controllers_len &&
                 image->controllers[at]->id == r->controller_id;
    if (known)
        controller_free(image->controllers[at]);
    if (r->n_endpoints == 0) {
        if (known)
            array_close((void **)image->controllers, &image->controllers_len,
                        at);
        return ERR_NONE;
    }
    struct image_controller *now = xmalloc(sizeof *now);
    *now = (struct image_controller){
        .id = r->controller_id,
        .incarnation = incarnation,
        .endpoints = endpoints_copy(r->endpoints, r->n_endpoints),
        .endpoints_len = r->n_endpoints,
    };
    if (!known)
        image->controllers = (struct image_controller **)array_open(
            (void **)image->controllers, &image->controllers_len,
            &image->controllers_cap, at);
    image->controllers[at] = now;
    return ERR_NONE;
}

static enum err replay_feature(struct image *image,
                               const Leat__FeatureRecord *r,
                               const struct image_observer *o)
{
    size_t at = 0;

    if (r->name[0] == '\0' || r->level < 0 || r->level > INT16_MAX)
        return ERR_DAMAGED;
    while (at < image->features_len &&
           strcmp(image->features[at]->name, r->name) < 0)
        at++;
    bool found = at < image->features_len &&
                 strcmp(image->features[at]->name, r->name) == 0;
    if (found && r->level == 0) {
        feature_free(image->features[at]);
        array_close((void **)image->features, &image->features_len, at);
    } else if (found) {
        image->features[at]->level = (int16_t)r->level;
    } else if (r->level != 0) {
        image->features = (struct image_feature **)array_open(
            (void **)image->features, &image->features_len,
            &image->features_cap, at);
        image->features[at] = xmalloc(sizeof **image->features);
        *image->features[at] = (struct image_feature){
            .name = xstrdup(r->name),
            .level = (int16_t)r->level,
        };
    }
    if (o != NULL && o->feature_changed != NULL)
        o->feature_changed(o->arg, r->name, (int16_t)r->level);
    return ERR_NONE;
}

/* ---- replay: topics ------------------------------------------------------ */

static uint32_t slot_take(struct image *image)
{
    if (image->free_slots_len != 0)
        return image->free_slots[--image->free_slots_len];
    if (image->topics_len == image->topics_cap) {
        image->topics_cap = image->topics_cap != 0 ? image->topics_cap * 2 : 8;
        image->topics =
            xrealloc(image->topics, image->topics_cap * sizeof *image->topics);
    }
    return image->topics_len++;
}

static void slot_give_back(struct image *image, uint32_t slot)
{
    if (image->free_slots_len == image->free_slots_cap) {
        image->free_slots_cap =
            image->free_slots_cap != 0 ? image->free_slots_cap * 2 : 8;
        image->free_slots =
            xrealloc(image->free_slots,
                     image->free_slots_cap * sizeof *image->free_slots);
    }
    image->free_slots[image->free_slots_len++] = slot;
    image->topics[slot] = NULL;
}

static enum err replay_topic(struct image *image, const Leat__TopicRecord *r,
                             const struct image_observer *o)
{
    struct slice name = slice_str(r->name);
    struct uuid id;

    if (!binary_uuid(r->topic_id, &id) || uuid_is_zero(id) || name.len == 0)
        return ERR_DAMAGED;
    struct image_topic *old = image_topic(image, name);
    struct image_topic *same_id = image_topic_by_id(image, id);
    if (old != NULL || same_id != NULL)
        return old == same_id ? ERR_NONE : ERR_DAMAGED;

    struct image_topic *topic = xmalloc(sizeof *topic);
    *topic = (struct image_topic){
        .id = id,
        .name = xstrdup(r->name),
        .name_len = (uint32_t)name.len,
        .slot = slot_take(image),
    };
    image->topics[topic->slot] = topic;
    map_put(&image->topics_by_name, name, topic);
    map_put(&image->topics_by_id, uuid_slice(&topic->id), topic);
    if (o != NULL && o->topic_added != NULL)
        o->topic_added(o->arg, topic);
    return ERR_NONE;
}

static void configs_remove(struct image *image, enum image_resource type,
                           struct slice name)
{
    struct buf key = configs_key(type, name);

    configs_free(map_remove(&image->configs, buf_slice(&key)));
    buf_free(&key);
}

static enum err replay_remove_topic(struct image *image,
                                    const Leat__RemoveTopicRecord *r,
                                    const struct image_observer *o)
{
    struct uuid id;

    if (!binary_uuid(r->topic_id, &id))
        return ERR_DAMAGED;
    struct image_topic *topic = image_topic_by_id(image, id);
    if (topic == NULL) /* replayed twice; the name is not another's */
        return image_topic(image, slice_str(r->name)) == NULL ? ERR_NONE
                                                              : ERR_DAMAGED;
    struct slice name = slice_of(topic->name, topic->name_len);
    if (!slice_eq_str(name, r->name))
        return ERR_DAMAGED;

    if (o != NULL && o->topic_removed != NULL)
        o->topic_removed(o->arg, topic);
    configs_remove(image, IMAGE_RESOURCE_TOPIC, name);
    map_remove(&image->topics_by_name, name);
    map_remove(&image->topics_by_id, uuid_slice(&id));
    image->partitions_count -= topic->partitions_len;
    slot_give_back(image, topic->slot);
    topic_free(topic);
    return ERR_NONE;
}

/* ---- replay: partitions -------------------------------------------------- */

static bool list_valid(const int32_t *ids, size_t len)
{
    if (len > IMAGE_REPLICAS_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (ids[i] < 0)
            return false;
    return true;
}

static bool partition_valid(const Leat__PartitionRecord *r)
{
    struct image_ids replicas = {r->replicas, (uint32_t)r->n_replicas};
    struct image_ids isr = {r->isr, (uint32_t)r->n_isr};

    if (r->partition < 0 || r->partition >= IMAGE_PARTITIONS_MAX ||
        r->n_replicas == 0 || !list_valid(r->replicas, r->n_replicas) ||
        !list_valid(r->isr, r->n_isr) || !list_valid(r->adding, r->n_adding) ||
        !list_valid(r->removing, r->n_removing) ||
        !list_valid(r->elr, r->n_elr) ||
        !list_valid(r->last_known_elr, r->n_last_known_elr) ||
        !list_valid(r->offline, r->n_offline))
        return false;
    for (uint32_t i = 0; i < isr.len; i++)
        if (!image_ids_have(replicas, isr.at[i]))
            return false;
    return r->leader_epoch >= 0 && r->partition_epoch >= 0 &&
           (r->leader == -1 || image_ids_have(isr, r->leader));
}

static int32_t *ids_append(int32_t *to, const int32_t *ids, size_t len)
{
    if (len != 0)
        memcpy(to, ids, len * sizeof *to);
    return to + len;
}

static struct image_partition *
partition_of_record(const Leat__PartitionRecord *r)
{
    size_t total = r->n_replicas + r->n_isr + r->n_adding + r->n_removing +
                   r->n_elr + r->n_last_known_elr + r->n_offline;
    struct image_partition *p = xmalloc(sizeof *p + total * sizeof p->ids[0]);

    *p = (struct image_partition){
        .leader = r->leader,
        .leader_epoch = r->leader_epoch,
        .partition_epoch = r->partition_epoch,
        .replicas_len = (uint8_t)r->n_replicas,
        .isr_len = (uint8_t)r->n_isr,
        .adding_len = (uint8_t)r->n_adding,
        .removing_len = (uint8_t)r->n_removing,
        .elr_len = (uint8_t)r->n_elr,
        .last_known_elr_len = (uint8_t)r->n_last_known_elr,
        .offline_len = (uint8_t)r->n_offline,
        .recovering = r->recovering,
    };
    int32_t *to = p->ids;
    to = ids_append(to, r->replicas, r->n_replicas);
    to = ids_append(to, r->isr, r->n_isr);
    to = ids_append(to, r->adding, r->n_adding);
    to = ids_append(to, r->removing, r->n_removing);
    to = ids_append(to, r->elr, r->n_elr);
    to = ids_append(to, r->last_known_elr, r->n_last_known_elr);
    ids_append(to, r->offline, r->n_offline);
    return p;
}

/* Grow by a quarter: a topic's partitions usually come all at once. */
static void partitions_reserve(struct image_topic *topic, int32_t len)
{
    if (len <= topic->partitions_cap)
        return;
    topic->partitions_cap = len + len / 4;
    topic->partitions =
        xrealloc(topic->partitions,
                 (size_t)topic->partitions_cap * sizeof *topic->partitions);
}

static enum err replay_partition(struct image *image,
                                 const Leat__PartitionRecord *r,
                                 const struct image_observer *o)
{
    struct uuid id;

    if (!binary_uuid(r->topic_id, &id) || !partition_valid(r))
        return ERR_DAMAGED;
    struct image_topic *topic = image_topic_by_id(image, id);
    if (topic == NULL || r->partition > topic->partitions_len)
        return ERR_DAMAGED;

    struct image_partition *old = image_partition(topic, r->partition);
    struct image_partition *now = partition_of_record(r);
    if (old == NULL) {
        partitions_reserve(topic, r->partition + 1);
        topic->partitions_len++;
        image->partitions_count++;
    }
    topic->partitions[r->partition] = now;
    if (o != NULL && o->partition_changed != NULL)
        o->partition_changed(o->arg, topic, r->partition, old, now);
    free(old);
    return ERR_NONE;
}

/* ---- replay: configs and ids --------------------------------------------- */

static void config_set(struct image *image, enum image_resource type,
                       struct slice name, const char *key, const char *value)
{
    struct image_configs *r = configs_find(image, type, name);

    if (r == NULL) {
        struct buf full = configs_key(type, name);

        r = xcalloc(1, sizeof *r);
        r->type = type;
        r->name = slice_dup(name);
        map_put(&image->configs, buf_slice(&full), r);
        buf_free(&full);
    }
    free(map_put(&r->by_key, slice_str(key), xstrdup(value)));
}

static void config_unset(struct image *image, enum image_resource type,
                         struct slice name, struct slice key)
{
    struct image_configs *r = configs_find(image, type, name);

    if (r == NULL)
        return;
    free(map_remove(&r->by_key, key));
    if (map_count(&r->by_key) == 0)
        configs_remove(image, type, name);
}

static bool resource_is_known(enum image_resource type)
{
    switch (type) {
    case IMAGE_RESOURCE_TOPIC:
    case IMAGE_RESOURCE_BROKER:
    case IMAGE_RESOURCE_CLIENT_METRICS:
    case IMAGE_RESOURCE_GROUP:
    case IMAGE_RESOURCE_CLIENT_QUOTA:
        return true;
    }
    return false;
}

static enum err replay_config(struct image *image, const Leat__ConfigRecord *r,
                              const struct image_observer *o)
{
    struct slice name = slice_str(r->resource_name);
    enum image_resource type = (enum image_resource)r->resource_type;

    if (!resource_is_known(type) || r->key[0] == '\0')
        return ERR_DAMAGED;
    if (type == IMAGE_RESOURCE_TOPIC && image_topic(image, name) == NULL)
        return ERR_DAMAGED;
    if (r->present)
        config_set(image, type, name, r->key, r->value);
    else
        config_unset(image, type, name, slice_str(r->key));
    if (o != NULL && o->config_changed != NULL)
        o->config_changed(o->arg, type, r->resource_name, r->key,
                          r->present ? r->value : NULL);
    return ERR_NONE;
}

static enum err replay_producer_ids(struct image *image,
                                    const Leat__ProducerIdsRecord *r)
{
    if (r->next_producer_id < 0)
        return ERR_DAMAGED;
    image->next_producer_id = r->next_producer_id;
    return ERR_NONE;
}

/* ---- replay -------------------------------------------------------------- */

enum err image_replay(struct image *image, const Leat__MetadataRecord *record,
                      int64_t index, const struct image_observer *observer)
{
    switch (record->record_case) {
    case LEAT__METADATA_RECORD__RECORD_BROKER:
        return replay_broker(image, record->broker, index, observer);
    case LEAT__METADATA_RECORD__RECORD_REMOVE_BROKER:
        return replay_remove_broker(image, record->remove_broker, observer);
    case LEAT__METADATA_RECORD__RECORD_TOPIC:
        return replay_topic(image, record->topic, observer);
    case LEAT__METADATA_RECORD__RECORD_REMOVE_TOPIC:
        return replay_remove_topic(image, record->remove_topic, observer);
    case LEAT__METADATA_RECORD__RECORD_PARTITION:
        return replay_partition(image, record->partition, observer);
    case LEAT__METADATA_RECORD__RECORD_CONFIG:
        return replay_config(image, record->config, observer);
    case LEAT__METADATA_RECORD__RECORD_PRODUCER_IDS:
        return replay_producer_ids(image, record->producer_ids);
    case LEAT__METADATA_RECORD__RECORD_CONTROLLER:
        return replay_controller(image, record->controller);
    case LEAT__METADATA_RECORD__RECORD_FEATURE:
        return replay_feature(image, record->feature, observer);
    case LEAT__METADATA_RECORD__RECORD__NOT_SET:
    default:
        return ERR_DAMAGED; /* a record of a version that we don't know */
    }
}

enum err image_apply(struct image *image, int64_t index, struct slice batch,
                     const struct image_observer *observer)
{
    enum err error = ERR_NONE;

    if (index <= image->applied_index)
        return ERR_NONE;
    Leat__MetadataBatch *records = records_unpack(batch);
    if (records == NULL)
        return ERR_MALFORMED;
    for (size_t i = 0; i < records->n_records && error == ERR_NONE; i++)
        error = image_replay(image, records->records[i], index, observer);
    leat__metadata_batch__free_unpacked(records, NULL);
    if (error == ERR_NONE)
        image->applied_index = index;
    return error;
}
