/* Two images side by side: what a snapshot changed, and whether two histories
 * led to the same. */
#include "controller/image.h"

static bool endpoints_equal(const struct image_endpoint *a, size_t a_len,
                            const struct image_endpoint *b, size_t b_len)
{
    if (a_len != b_len)
        return false;
    for (size_t i = 0; i < a_len; i++)
        if (strcmp(a[i].listener, b[i].listener) != 0 ||
            strcmp(a[i].host, b[i].host) != 0 || a[i].port != b[i].port ||
            a[i].security_protocol != b[i].security_protocol)
            return false;
    return true;
}

static bool ranges_equal(const struct image_broker *a,
                         const struct image_broker *b)
{
    if (a->features_len != b->features_len)
        return false;
    for (size_t i = 0; i < a->features_len; i++)
        if (strcmp(a->features[i].name, b->features[i].name) != 0 ||
            a->features[i].min != b->features[i].min ||
            a->features[i].max != b->features[i].max)
            return false;
    return true;
}

static bool broker_equal(const struct image_broker *a,
                         const struct image_broker *b)
{
    return a->id == b->id && uuid_eq(a->incarnation, b->incarnation) &&
           a->epoch == b->epoch && a->fenced == b->fenced &&
           a->in_controlled_shutdown == b->in_controlled_shutdown &&
           strcmp(a->rack, b->rack) == 0 &&
           endpoints_equal(a->endpoints, a->endpoints_len, b->endpoints,
                           b->endpoints_len) &&
           a->log_dirs_len == b->log_dirs_len &&
           (a->log_dirs_len == 0 ||
            memcmp(a->log_dirs, b->log_dirs,
                   a->log_dirs_len * sizeof *a->log_dirs) == 0) &&
           ranges_equal(a, b);
}

static size_t ids_total(const struct image_partition *p)
{
    return (size_t)p->replicas_len + p->isr_len + p->adding_len +
           p->removing_len + p->elr_len + p->last_known_elr_len +
           p->offline_len;
}

static bool partition_equal(const struct image_partition *a,
                            const struct image_partition *b)
{
    return a->leader == b->leader && a->leader_epoch == b->leader_epoch &&
           a->partition_epoch == b->partition_epoch &&
           a->recovering == b->recovering &&
           a->replicas_len == b->replicas_len && a->isr_len == b->isr_len &&
           a->adding_len == b->adding_len &&
           a->removing_len == b->removing_len && a->elr_len == b->elr_len &&
           a->last_known_elr_len == b->last_known_elr_len &&
           a->offline_len == b->offline_len &&
           memcmp(a->ids, b->ids, ids_total(a) * sizeof a->ids[0]) == 0;
}

/* ---- difference ---------------------------------------------------------- */

static void diff_removed_topics(const struct image *old,
                                const struct image *now,
                                const struct image_observer *o)
{
    struct image_topic *topic;

    if (o->topic_removed == NULL)
        return;
    for (uint32_t at = 0; (topic = image_topic_next(old, &at)) != NULL;)
        if (image_topic_by_id(now, topic->id) == NULL)
            o->topic_removed(o->arg, topic);
}

static void diff_brokers(const struct image *old, const struct image *now,
                         const struct image_observer *o)
{
    if (o->broker_changed == NULL)
        return;
    for (size_t i = 0; i < old->brokers_len; i++)
        if (image_broker(now, old->brokers[i]->id) == NULL)
            o->broker_changed(o->arg, old->brokers[i], NULL);
    for (size_t i = 0; i < now->brokers_len; i++) {
        struct image_broker *before = image_broker(old, now->brokers[i]->id);

        if (before == NULL || !broker_equal(before, now->brokers[i]))
            o->broker_changed(o->arg, before, now->brokers[i]);
    }
}

static void diff_partitions(const struct image_topic *before,
                            const struct image_topic *topic,
                            const struct image_observer *o)
{
    if (o->partition_changed == NULL)
        return;
    for (int32_t i = 0; i < topic->partitions_len; i++) {
        const struct image_partition *p =
            before == NULL ? NULL : image_partition(before, i);

        if (p == NULL || !partition_equal(p, topic->partitions[i]))
            o->partition_changed(o->arg, topic, i, p, topic->partitions[i]);
    }
}

static void diff_topics(const struct image *old, const struct image *now,
                        const struct image_observer *o)
{
    struct image_topic *topic;

    for (uint32_t at = 0; (topic = image_topic_next(now, &at)) != NULL;) {
        struct image_topic *before = image_topic_by_id(old, topic->id);

        if (before == NULL && o->topic_added != NULL)
            o->topic_added(o->arg, topic);
        diff_partitions(before, topic, o);
    }
}

/* What stands in `b` for the same resource as `name` in `a`.  False if there is
 * none because the topic is another one: configs come and go with it. */
static bool same_resource(const struct image *a, const struct image *b,
                          const struct image_configs *r,
                          const struct image_configs **other)
{
    struct slice name = slice_str(r->name);

    *other = image_configs(b, r->type, name);
    if (r->type != IMAGE_RESOURCE_TOPIC)
        return true;
    struct image_topic *here = image_topic(a, name);
    struct image_topic *there = image_topic(b, name);
    if (here != NULL && there != NULL && uuid_eq(here->id, there->id))
        return true;
    *other = NULL;
    return false;
}

static void diff_unset_keys(const struct image *old, const struct image *now,
                            const struct image_observer *o)
{
    MAP_EACH (resource, &old->configs) {
        const struct image_configs *r = resource->value;
        const struct image_configs *other;

        if (!same_resource(old, now, r, &other))
            continue;
        MAP_EACH (config, &r->by_key) {
            if (other == NULL || map_get(&other->by_key, config->key) == NULL)
                o->config_changed(o->arg, r->type, r->name,
                                  (const char *)config->key.data, NULL);
        }
    }
}

static void diff_set_keys(const struct image *old, const struct image *now,
                          const struct image_observer *o)
{
    MAP_EACH (resource, &now->configs) {
        const struct image_configs *r = resource->value;
        const struct image_configs *other;

        same_resource(now, old, r, &other);
        MAP_EACH (config, &r->by_key) {
            const char *before =
                other == NULL ? NULL : map_get(&other->by_key, config->key);

            if (before == NULL || strcmp(before, config->value) != 0)
                o->config_changed(o->arg, r->type, r->name,
                                  (const char *)config->key.data,
                                  config->value);
        }
    }
}

static void diff_features(const struct image *old, const struct image *now,
                          const struct image_observer *o)
{
    if (o->feature_changed == NULL)
        return;
    for (size_t i = 0; i < old->features_len; i++)
        if (image_feature(now, old->features[i]->name) == 0)
            o->feature_changed(o->arg, old->features[i]->name, 0);
    for (size_t i = 0; i < now->features_len; i++) {
        const struct image_feature *f = now->features[i];

        if (image_feature(old, f->name) != f->level)
            o->feature_changed(o->arg, f->name, f->level);
    }
}

void image_diff(const struct image *old, const struct image *now,
                const struct image_observer *observer)
{
    diff_removed_topics(old, now, observer);
    diff_brokers(old, now, observer);
    diff_topics(old, now, observer);
    if (observer->config_changed != NULL) {
        diff_unset_keys(old, now, observer);
        diff_set_keys(old, now, observer);
    }
    diff_features(old, now, observer);
}

/* ---- equality ------------------------------------------------------------ */

struct difference {
    bool found;
};

static void differs(void *arg) { ((struct difference *)arg)->found = true; }

static void on_broker(void *arg, const struct image_broker *old,
                      const struct image_broker *now)
{
    differs(arg);
}

static void on_topic(void *arg, const struct image_topic *topic)
{
    differs(arg);
}

static void on_partition(void *arg, const struct image_topic *topic,
                         int32_t partition, const struct image_partition *old,
                         const struct image_partition *now)
{
    differs(arg);
}

static void on_config(void *arg, enum image_resource type, const char *name,
                      const char *key, const char *value)
{
    differs(arg);
}

static void on_feature(void *arg, const char *name, int16_t level)
{
    differs(arg);
}

static bool controllers_equal(const struct image *a, const struct image *b)
{
    if (a->controllers_len != b->controllers_len)
        return false;
    for (size_t i = 0; i < a->controllers_len; i++) {
        const struct image_controller *x = a->controllers[i];
        const struct image_controller *y = b->controllers[i];

        if (x->id != y->id || !uuid_eq(x->incarnation, y->incarnation) ||
            !endpoints_equal(x->endpoints, x->endpoints_len, y->endpoints,
                             y->endpoints_len))
            return false;
    }
    return true;
}

/* diff() doesn't look at names of topics that exist on both sides, nor at
 * partitions that `b` has in excess. */
static bool topics_equal(const struct image *a, const struct image *b)
{
    struct image_topic *topic;

    if (a->partitions_count != b->partitions_count)
        return false;
    for (uint32_t at = 0; (topic = image_topic_next(a, &at)) != NULL;) {
        struct image_topic *other = image_topic_by_id(b, topic->id);

        if (other == NULL || strcmp(topic->name, other->name) != 0 ||
            topic->partitions_len != other->partitions_len)
            return false;
    }
    return true;
}

bool image_equal(const struct image *a, const struct image *b)
{
    struct difference difference = {false};
    struct image_observer o = {
        .arg = &difference,
        .broker_changed = on_broker,
        .topic_added = on_topic,
        .topic_removed = on_topic,
        .partition_changed = on_partition,
        .config_changed = on_config,
        .feature_changed = on_feature,
    };

    image_diff(a, b, &o);
    return !difference.found && a->next_producer_id == b->next_producer_id &&
           map_count(&a->configs) == map_count(&b->configs) &&
           controllers_equal(a, b) && topics_equal(a, b);
}
