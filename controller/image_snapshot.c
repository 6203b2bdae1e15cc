/* The image as records: sections one after another, each a list of things
 * with one record per thing, or per partition or key within it.
 *
 * The order matters to replay: a topic comes before its partitions and its
 * configs. */
#include "controller/records.h"

enum section {
    SECTION_FEATURES,
    SECTION_CONTROLLERS,
    SECTION_BROKERS,
    SECTION_TOPICS,
    SECTION_CONFIGS,
    SECTION_PRODUCER_IDS,
    SECTION_END,
};

/* Where the records of one piece go. */
struct piece {
    struct buf *batch;
    size_t start;
    size_t max_bytes;
};

/* False: full, and the record is for the next piece. */
static bool piece_put(struct piece *piece, struct image_cursor *cursor,
                      const Leat__MetadataRecord *record)
{
    size_t used = piece->batch->len - piece->start;

    if (used != 0 && used + records_size(record) > piece->max_bytes)
        return false;
    records_put(piece->batch, record);
    cursor->position++;
    return true;
}

static bool put_feature(const struct image *image, struct image_cursor *cursor,
                        struct piece *piece)
{
    const struct image_feature *f = image->features[cursor->at];
    Leat__FeatureRecord r = LEAT__FEATURE_RECORD__INIT;

    r.name = f->name;
    r.level = f->level;
    return piece_put(piece, cursor, &RECORD(feature, FEATURE, &r));
}

static bool put_controller(const struct image *image,
                           struct image_cursor *cursor, struct piece *piece)
{
    struct arena arena;

    arena_init(&arena, 0);
    Leat__ControllerRecord r =
        record_of_controller(image->controllers[cursor->at], &arena);
    bool fits = piece_put(piece, cursor, &RECORD(controller, CONTROLLER, &r));
    arena_free(&arena);
    return fits;
}

static bool put_broker(const struct image *image, struct image_cursor *cursor,
                       struct piece *piece)
{
    struct arena arena;

    arena_init(&arena, 0);
    Leat__BrokerRecord r = record_of_broker(image->brokers[cursor->at], &arena);
    bool fits = piece_put(piece, cursor, &RECORD(broker, BROKER, &r));
    arena_free(&arena);
    return fits;
}

/* within 0 is the topic itself, within p + 1 its partition p. */
static bool put_topic(const struct image *image, struct image_cursor *cursor,
                      struct piece *piece)
{
    const struct image_topic *topic = image->topics[cursor->at];

    if (topic == NULL)
        return true;
    if (cursor->within == 0) {
        Leat__TopicRecord r = record_of_topic(topic);

        if (!piece_put(piece, cursor, &RECORD(topic, TOPIC, &r)))
            return false;
        cursor->within = 1;
    }
    for (; cursor->within <= topic->partitions_len; cursor->within++) {
        int32_t partition = cursor->within - 1;
        Leat__PartitionRecord r =
            record_of_partition(topic, partition, topic->partitions[partition]);

        if (!piece_put(piece, cursor, &RECORD(partition, PARTITION, &r)))
            return false;
    }
    return true;
}

/* within is a position in the map of keys. */
static bool put_configs(const struct image *image, struct image_cursor *cursor,
                        struct piece *piece)
{
    const struct map_entry *entry = &image->configs.entries[cursor->at];
    const struct image_configs *configs = entry->value;

    if (entry->key.data == NULL)
        return true;
    for (;;) {
        uint32_t at = map_next(&configs->by_key, (uint32_t)cursor->within);

        if (at == configs->by_key.entries_len)
            return true;
        const struct map_entry *config = &configs->by_key.entries[at];
        Leat__ConfigRecord r = LEAT__CONFIG_RECORD__INIT;
        r.resource_type = configs->type;
        r.resource_name = configs->name;
        r.key = (char *)(uintptr_t)config->key.data;
        r.present = true;
        r.value = config->value;
        if (!piece_put(piece, cursor, &RECORD(config, CONFIG, &r)))
            return false;
        cursor->within = (int32_t)at + 1;
    }
}

static bool put_producer_ids(const struct image *image,
                             struct image_cursor *cursor, struct piece *piece)
{
    Leat__ProducerIdsRecord r = LEAT__PRODUCER_IDS_RECORD__INIT;

    r.broker_id = -1;
    r.broker_epoch = -1;
    r.next_producer_id = image->next_producer_id;
    return piece_put(piece, cursor, &RECORD(producer_ids, PRODUCER_IDS, &r));
}

struct section_kind {
    bool (*put)(const struct image *image, struct image_cursor *cursor,
                struct piece *piece);
    uint32_t len;
};

static struct section_kind section_kind(const struct image *image, int section)
{
    switch (section) {
    case SECTION_FEATURES:
        return (struct section_kind){put_feature,
                                     (uint32_t)image->features_len};
    case SECTION_CONTROLLERS:
        return (struct section_kind){put_controller,
                                     (uint32_t)image->controllers_len};
    case SECTION_BROKERS:
        return (struct section_kind){put_broker, (uint32_t)image->brokers_len};
    case SECTION_TOPICS:
        return (struct section_kind){put_topic, image->topics_len};
    case SECTION_CONFIGS:
        return (struct section_kind){put_configs, image->configs.entries_len};
    default:
        return (struct section_kind){put_producer_ids,
                                     image->next_producer_id != 0 ? 1 : 0};
    }
}

void image_snapshot_next(const struct image *image, struct image_cursor *cursor,
                         size_t max_bytes, struct buf *batch)
{
    struct piece piece = {batch, batch->len, max_bytes};

    for (; cursor->section != SECTION_END; cursor->section++, cursor->at = 0) {
        struct section_kind kind = section_kind(image, cursor->section);

        for (; cursor->at < kind.len; cursor->at++, cursor->within = 0)
            if (!kind.put(image, cursor, &piece))
                return;
    }
    cursor->done = true;
}
