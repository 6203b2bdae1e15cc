/* The image by itself: replay of good and bad records, snapshots in pieces,
 * the store, the difference between two images. */
#include "controller/image_kv.h"
#include "controller/records.h"
#include "tests/unit/raft/memory_kv.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <stdlib.h>

static struct image image;
static int64_t at; /* index of the next record */

static void set_up(void)
{
    image_init(&image);
    at = 1;
}

static void tear_down(void) { image_free(&image); }

TestSuite(image, .init = set_up, .fini = tear_down, .timeout = 60);

static const struct uuid topic_id = {{1}};
static const struct uuid other_id = {{2}};

static enum err replay(Leat__MetadataRecord record)
{
    return image_replay(&image, &record, at++, NULL);
}

static Leat__TopicRecord a_topic(const struct uuid *id, const char *name)
{
    Leat__TopicRecord r = LEAT__TOPIC_RECORD__INIT;

    r.topic_id = record_uuid(id);
    r.name = (char *)(uintptr_t)name;
    return r;
}

static int32_t one_two_three[] = {1, 2, 3};

static Leat__PartitionRecord a_partition(int32_t partition)
{
    Leat__PartitionRecord r = LEAT__PARTITION_RECORD__INIT;

    r.topic_id = record_uuid(&topic_id);
    r.partition = partition;
    r.replicas = r.isr = one_two_three;
    r.n_replicas = r.n_isr = 3;
    r.leader = 1;
    return r;
}

static Leat__BrokerRecord a_broker(int32_t id)
{
    static const struct uuid incarnation = {{9}};
    static Leat__Endpoint endpoint = LEAT__ENDPOINT__INIT;
    static Leat__Endpoint *endpoints[] = {&endpoint};
    Leat__BrokerRecord r = LEAT__BROKER_RECORD__INIT;

    endpoint.listener = (char *)"PLAINTEXT";
    endpoint.host = (char *)"h";
    endpoint.port = 9092;
    r.broker_id = id;
    r.incarnation = record_uuid(&incarnation);
    r.endpoints = endpoints;
    r.n_endpoints = 1;
    return r;
}

static Leat__ConfigRecord a_config(int type, const char *name, const char *key,
                                   const char *value)
{
    Leat__ConfigRecord r = LEAT__CONFIG_RECORD__INIT;

    r.resource_type = type;
    r.resource_name = (char *)(uintptr_t)name;
    r.key = (char *)(uintptr_t)key;
    r.present = value != NULL;
    r.value = (char *)(uintptr_t)(value != NULL ? value : "");
    return r;
}

static enum err put_topic(const struct uuid *id, const char *name)
{
    Leat__TopicRecord r = a_topic(id, name);

    return replay(RECORD(topic, TOPIC, &r));
}

static enum err put_partition(Leat__PartitionRecord r)
{
    return replay(RECORD(partition, PARTITION, &r));
}

static enum err put_broker(Leat__BrokerRecord r)
{
    return replay(RECORD(broker, BROKER, &r));
}

static enum err put_config(int type, const char *name, const char *key,
                           const char *value)
{
    Leat__ConfigRecord r = a_config(type, name, key, value);

    return replay(RECORD(config, CONFIG, &r));
}

/* A bit of everything. */
static void fill(void)
{
    Leat__FeatureRecord feature = LEAT__FEATURE_RECORD__INIT;
    Leat__ControllerRecord controller = LEAT__CONTROLLER_RECORD__INIT;
    Leat__Endpoint endpoint = LEAT__ENDPOINT__INIT;
    Leat__Endpoint *endpoints[] = {&endpoint};
    Leat__ProducerIdsRecord ids = LEAT__PRODUCER_IDS_RECORD__INIT;

    for (int32_t id = 3; id > 0; id--)
        cr_assert_eq(put_broker(a_broker(id)), ERR_NONE);
    cr_assert_eq(put_topic(&topic_id, "t"), ERR_NONE);
    cr_assert_eq(put_topic(&other_id, "empty"), ERR_NONE);
    for (int32_t p = 0; p < 100; p++)
        cr_assert_eq(put_partition(a_partition(p)), ERR_NONE);
    cr_assert_eq(put_config(2, "t", "retention.ms", "5"), ERR_NONE);
    cr_assert_eq(put_config(4, "", "a", "x"), ERR_NONE);
    cr_assert_eq(put_config(4, "", "b", ""), ERR_NONE);
    feature.name = (char *)"metadata.version";
    feature.level = 7;
    cr_assert_eq(replay(RECORD(feature, FEATURE, &feature)), ERR_NONE);
    controller.controller_id = 1;
    controller.incarnation = record_uuid(&other_id);
    endpoint.listener = (char *)"CONTROLLER";
    endpoint.host = (char *)"h";
    controller.endpoints = endpoints;
    controller.n_endpoints = 1;
    cr_assert_eq(replay(RECORD(controller, CONTROLLER, &controller)), ERR_NONE);
    ids.next_producer_id = 3000;
    cr_assert_eq(replay(RECORD(producer_ids, PRODUCER_IDS, &ids)), ERR_NONE);
    image.applied_index = at - 1;
}

/* ---- replay -------------------------------------------------------------- */

Test(image, brokers_are_sorted_and_their_epoch_is_the_index)
{
    put_broker(a_broker(5));
    put_broker(a_broker(2));
    cr_assert_eq(image.brokers[0]->id, 2);
    cr_assert_eq(image_broker(&image, 5)->epoch, 1);
    cr_assert_eq(image_broker(&image, 2)->epoch, 2);
    Leat__BrokerRecord r = a_broker(5);
    r.broker_epoch = 1;
    r.fenced = true;
    put_broker(r);
    cr_assert_eq(image_broker(&image, 5)->epoch, 1);
    cr_assert(image_broker(&image, 5)->fenced);
    cr_assert_null(image_broker(&image, 3));
}

Test(image, records_can_be_replayed_twice)
{
    struct image before = image;

    fill();
    before = image;
    image_init(&image);
    at = 1;
    fill();
    at = 1;
    fill();
    cr_assert(image_equal(&image, &before));
    image_free(&before);
}

Test(image, damaged_records_are_told)
{
    Leat__PartitionRecord p;

    cr_assert_eq(put_topic(&UUID_ZERO, "t"), ERR_DAMAGED);
    cr_assert_eq(put_topic(&topic_id, ""), ERR_DAMAGED);
    cr_assert_eq(put_partition(a_partition(0)), ERR_DAMAGED);
    put_topic(&topic_id, "t");
    cr_assert_eq(put_topic(&other_id, "t"), ERR_DAMAGED);
    cr_assert_eq(put_topic(&topic_id, "u"), ERR_DAMAGED);
    cr_assert_eq(put_partition(a_partition(1)), ERR_DAMAGED); /* a hole */
    cr_assert_eq(put_partition(a_partition(-1)), ERR_DAMAGED);
    p = a_partition(0);
    p.leader = 4;
    cr_assert_eq(put_partition(p), ERR_DAMAGED);
    p = a_partition(0);
    p.n_replicas = 2;
    cr_assert_eq(put_partition(p), ERR_DAMAGED);
    p = a_partition(0);
    p.topic_id.len = 15;
    cr_assert_eq(put_partition(p), ERR_DAMAGED);
    p = a_partition(0);
    int32_t many[IMAGE_REPLICAS_MAX + 1] = {0};
    p.replicas = many;
    p.n_replicas = IMAGE_REPLICAS_MAX + 1;
    cr_assert_eq(put_partition(p), ERR_DAMAGED);
    cr_assert_eq(put_config(2, "nope", "k", "v"), ERR_DAMAGED);
    cr_assert_eq(put_config(3, "t", "k", "v"), ERR_DAMAGED);
    cr_assert_eq(put_config(2, "t", "", "v"), ERR_DAMAGED);
    Leat__BrokerRecord b = a_broker(1);
    b.incarnation.len = 3;
    cr_assert_eq(put_broker(b), ERR_DAMAGED);
    cr_assert_eq(replay((Leat__MetadataRecord)LEAT__METADATA_RECORD__INIT),
                 ERR_DAMAGED);
    cr_assert_eq(image_apply(&image, at, SLICE("\x0a\x7f"), NULL),
                 ERR_MALFORMED);
    cr_assert_eq(image_apply(&image, at, SLICE(""), NULL), ERR_NONE);
    cr_assert_eq(image.applied_index, at);
}

Test(image, slots_of_deleted_topics_are_used_again)
{
    Leat__RemoveTopicRecord r = LEAT__REMOVE_TOPIC_RECORD__INIT;

    put_topic(&topic_id, "t");
    put_partition(a_partition(0));
    r.topic_id = record_uuid(&topic_id);
    r.name = (char *)"wrong";
    cr_assert_eq(replay(RECORD(remove_topic, REMOVE_TOPIC, &r)), ERR_DAMAGED);
    r.name = (char *)"t";
    cr_assert_eq(replay(RECORD(remove_topic, REMOVE_TOPIC, &r)), ERR_NONE);
    cr_assert_eq(image.partitions_count, 0);
    put_topic(&other_id, "u");
    cr_assert_eq(image.topics_len, 1);
    cr_assert_eq(image_topic(&image, SLICE("u"))->slot, 0);
}

Test(image, a_partition_takes_less_than_150_bytes)
{
    const int32_t count = 20000;

    put_topic(&topic_id, "t");
    size_t before = mallinfo2().uordblks;
    for (int32_t p = 0; p < count; p++)
        put_partition(a_partition(p));
    size_t each = (mallinfo2().uordblks - before) / (size_t)count;
#ifndef __SANITIZE_ADDRESS__
    cr_assert_gt(each, 40); /* or nothing was measured */
#endif
    cr_assert_lt(each, 150, "%zu bytes", each);
}

/* ---- snapshots and the store --------------------------------------------- */

static void snapshot_into(struct image *copy, size_t max_bytes)
{
    struct image_cursor cursor = {0};
    struct buf piece = BUF_INIT;
    int64_t position = 0;

    image_init(copy);
    for (int64_t index = 1; !cursor.done; index++) {
        piece.len = 0;
        image_snapshot_next(&image, &cursor, max_bytes, &piece);
        cr_assert_eq(image_apply(copy, index, buf_slice(&piece), NULL),
                     ERR_NONE);
        cr_assert(cursor.done || cursor.position > position);
        cr_assert(piece.len <= max_bytes || cursor.position == position + 1);
        position = cursor.position;
    }
    cr_assert_eq(position, 111);
    buf_free(&piece);
}

Test(image, a_snapshot_rebuilds_it_in_pieces_of_any_size)
{
    static const size_t sizes[] = {1, 100, 333, 4096, 1 << 20};

    fill();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct image copy;

        snapshot_into(&copy, sizes[i]);
        cr_assert(image_equal(&image, &copy));
        image_free(&copy);
    }
}

Test(image, equal_means_equal_in_everything)
{
    Leat__ConfigRecord c = a_config(4, "", "a", "y");
    Leat__PartitionRecord p = a_partition(100);
    Leat__TopicRecord t = a_topic(&(struct uuid){{3}}, "new");
    Leat__BrokerRecord b = a_broker(3);
    Leat__ProducerIdsRecord ids = LEAT__PRODUCER_IDS_RECORD__INIT;
    Leat__FeatureRecord f = LEAT__FEATURE_RECORD__INIT;
    Leat__ControllerRecord ctl = LEAT__CONTROLLER_RECORD__INIT;
    Leat__Endpoint endpoint = LEAT__ENDPOINT__INIT;
    Leat__Endpoint *endpoints[] = {&endpoint};
    f.name = (char *)"x";
    f.level = 1;
    ctl.controller_id = 2;
    ctl.incarnation = record_uuid(&other_id);
    endpoint.listener = (char *)"CONTROLLER";
    endpoint.host = (char *)"h";
    ctl.endpoints = endpoints;
    ctl.n_endpoints = 1;
    b.rack = (char *)"r";
    Leat__MetadataRecord changes[] = {
        RECORD(config, CONFIG, &c),
        RECORD(partition, PARTITION, &p),
        RECORD(topic, TOPIC, &t),
        RECORD(broker, BROKER, &b),
        RECORD(feature, FEATURE, &f),
        RECORD(controller, CONTROLLER, &ctl),
        RECORD(producer_ids, PRODUCER_IDS, &ids),
    };

    fill();
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct image copy;

        snapshot_into(&copy, 4096);
        cr_assert(image_equal(&image, &copy));
        image_replay(&copy, &changes[i], 500, NULL);
        cr_assert_not(image_equal(&image, &copy), "change %zu", i);
        cr_assert_not(image_equal(&copy, &image), "change %zu", i);
        image_free(&copy);
    }
}

Test(image, the_store_gives_back_what_was_put)
{
    struct kv *kv = memory_kv_new();
    struct kv_batch batch = KV_BATCH_INIT;
    struct image copy;
    char *why = NULL;
    int64_t term = 0;

    fill();
    image_persist_all(&image, 9, &batch);
    cr_assert_eq(kv_write(kv, &batch, true), 0);
    kv_batch_free(&batch);
    image_init(&copy);
    cr_assert_eq(image_load(kv, &copy, &term, &why), ERR_NONE);
    cr_assert(image_equal(&image, &copy));
    cr_assert_eq(copy.applied_index, image.applied_index);
    cr_assert_eq(term, 9);
    image_free(&copy);
    memory_kv_free(kv);
}

Test(image, a_smaller_image_leaves_nothing_of_a_larger_one_in_the_store)
{
    struct kv *kv = memory_kv_new();
    struct kv_batch batch = KV_BATCH_INIT;
    struct image copy;
    char *why = NULL;

    fill();
    image_persist_all(&image, 1, &batch);
    kv_write(kv, &batch, true);
    kv_batch_free(&batch);
    image_free(&image);
    put_broker(a_broker(8));
    image_persist_all(&image, 1, &batch);
    kv_write(kv, &batch, true);
    kv_batch_free(&batch);
    image_init(&copy);
    cr_assert_eq(image_load(kv, &copy, NULL, &why), ERR_NONE);
    cr_assert(image_equal(&image, &copy));
    image_free(&copy);
    memory_kv_free(kv);
}

Test(image, a_damaged_store_is_not_loaded)
{
    struct kv *kv = memory_kv_new();
    struct kv_batch batch = KV_BATCH_INIT;
    struct image copy;
    char *why = NULL;

    kv_batch_put(&batch, SLICE(IMAGE_KV_PREFIX "T1"), SLICE("garbage"));
    kv_write(kv, &batch, true);
    image_init(&copy);
    cr_assert_eq(image_load(kv, &copy, NULL, &why), ERR_DAMAGED);
    cr_assert_not_null(strstr(why, IMAGE_KV_PREFIX "T"));
    free(why);
    image_free(&copy);
    kv_batch_free(&batch);
    memory_kv_free(kv);
}

/* ---- difference ---------------------------------------------------------- */

static struct buf said;

static void say_broker(void *arg, const struct image_broker *old,
                       const struct image_broker *now)
{
    buf_printf(&said, "broker %d %s; ", now != NULL ? now->id : old->id,
               old == NULL   ? "new"
               : now == NULL ? "gone"
                             : "changed");
}

static void say_added(void *arg, const struct image_topic *topic)
{
    buf_printf(&said, "added %s; ", topic->name);
}

static void say_removed(void *arg, const struct image_topic *topic)
{
    buf_printf(&said, "removed %s; ", topic->name);
}

static void say_partition(void *arg, const struct image_topic *topic,
                          int32_t partition, const struct image_partition *old,
                          const struct image_partition *now)
{
    buf_printf(&said, "%s-%d %s; ", topic->name, partition,
               old == NULL ? "new" : "changed");
}

static void say_config(void *arg, enum image_resource type, const char *name,
                       const char *key, const char *value)
{
    buf_printf(&said, "config %d '%s' %s=%s; ", type, name, key,
               value != NULL ? value : "default");
}

static void say_feature(void *arg, const char *name, int16_t level)
{
    buf_printf(&said, "feature %s %d; ", name, level);
}

static const struct image_observer speaker = {
    .broker_changed = say_broker,
    .topic_added = say_added,
    .topic_removed = say_removed,
    .partition_changed = say_partition,
    .config_changed = say_config,
    .feature_changed = say_feature,
};

Test(image, a_difference_tells_what_a_snapshot_changed)
{
    struct image old;
    Leat__RemoveTopicRecord gone = LEAT__REMOVE_TOPIC_RECORD__INIT;
    Leat__RemoveBrokerRecord left = LEAT__REMOVE_BROKER_RECORD__INIT;
    Leat__PartitionRecord p = a_partition(7);
    Leat__BrokerRecord b = a_broker(2);
    Leat__FeatureRecord f = LEAT__FEATURE_RECORD__INIT;
    static const struct uuid third = {{3}};

    fill();
    snapshot_into(&old, 4096);
    gone.topic_id = record_uuid(&other_id);
    gone.name = (char *)"empty";
    replay(RECORD(remove_topic, REMOVE_TOPIC, &gone));
    left.broker_id = 3;
    replay(RECORD(remove_broker, REMOVE_BROKER, &left));
    b.broker_epoch = 2;
    b.fenced = true;
    put_broker(b);
    put_topic(&third, "new");
    p.leader = 2;
    put_partition(p);
    put_config(4, "", "a", NULL);
    put_config(2, "t", "retention.ms", "6");
    f.name = (char *)"metadata.version";
    replay(RECORD(feature, FEATURE, &f));

    said = BUF_INIT;
    image_diff(&old, &image, &speaker);
    buf_put_u8(&said, 0);
    cr_assert_str_eq((char *)said.data,
                     "removed empty; broker 3 gone; broker 2 changed; "
                     "t-7 changed; added new; config 4 '' a=default; "
                     "config 2 't' retention.ms=6; "
                     "feature metadata.version 0; ");
    buf_free(&said);
    image_free(&old);
}

Test(image, a_topic_made_again_is_another_topic)
{
    struct image old;
    struct image now;
    Leat__ConfigRecord c = a_config(2, "t", "k", "v");
    Leat__TopicRecord first = a_topic(&topic_id, "t");
    Leat__TopicRecord second = a_topic(&other_id, "t");

    image_init(&old);
    image_init(&now);
    image_replay(&old, &RECORD(topic, TOPIC, &first), 1, NULL);
    image_replay(&old, &RECORD(config, CONFIG, &c), 2, NULL);
    image_replay(&now, &RECORD(topic, TOPIC, &second), 1, NULL);
    image_replay(&now, &RECORD(config, CONFIG, &c), 2, NULL);
    said = BUF_INIT;
    image_diff(&old, &now, &speaker);
    buf_put_u8(&said, 0);
    cr_assert_str_eq((char *)said.data,
                     "removed t; added t; config 2 't' k=v; ");
    buf_free(&said);
    image_free(&old);
    image_free(&now);
}

Test(image, a_controller_without_endpoints_is_gone)
{
    Leat__ControllerRecord gone = LEAT__CONTROLLER_RECORD__INIT;

    fill();
    cr_assert_eq(image.controllers_len, 1);
    gone.controller_id = 1;
    gone.incarnation = record_uuid(&other_id);
    cr_assert_eq(replay(RECORD(controller, CONTROLLER, &gone)), ERR_NONE);
    cr_assert_eq(image.controllers_len, 0);
    cr_assert_eq(replay(RECORD(controller, CONTROLLER, &gone)), ERR_NONE);
}
