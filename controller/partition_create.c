/* CreatePartitions: a topic grows.  Existing partitions stay as they are. */
#include "controller/placement.h"
#include "controller/step.h"
#include "proto/kafka/kafka_messages.h"

typedef struct create_partitions_request_topic request_topic;

static struct verdict check_count(struct step *s, const request_topic *t,
                                  const struct image_topic *topic)
{
    if (t->count < topic->partitions_len)
        return refuse(s, ERR_INVALID_PARTITIONS,
                      "The topic %s currently has %d partition(s); %d would "
                      "not be an increase.",
                      topic->name, (int)topic->partitions_len, (int)t->count);
    if (t->count == topic->partitions_len)
        return refuse(s, ERR_INVALID_PARTITIONS,
                      "Topic already has %d partition(s).",
                      (int)topic->partitions_len);
    if (t->count > IMAGE_PARTITIONS_MAX)
        return refuse(s, ERR_INVALID_PARTITIONS,
                      "A topic can have %d partitions at most.",
                      (int)IMAGE_PARTITIONS_MAX);
    if (t->count - topic->partitions_len >
        CONTROLLER_PARTITIONS_PER_REQUEST_MAX)
        return refuse(s, ERR_POLICY_VIOLATION,
                      "Excessively large number of partitions per request.");
    return VERDICT_GOOD;
}

/* As many as the first partition has, or is going to have. */
static int32_t replication_factor(const struct image_topic *topic)
{
    const struct image_partition *p = topic->partitions[0];

    return p->replicas_len - p->removing_len;
}

static struct verdict check_by_hand(struct step *s, const request_topic *t,
                                    const struct image_topic *topic)
{
    int32_t added = t->count - topic->partitions_len;
    int32_t factor = replication_factor(topic);

    if (t->assignments_len != added)
        return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                      "Attempted to add %d additional partition(s), but only "
                      "%d assignment(s) were specified.",
                      (int)added, (int)t->assignments_len);
    for (int32_t i = 0; i < t->assignments_len; i++) {
        const int32_t *ids = t->assignments[i].broker_ids;
        int32_t len = t->assignments[i].broker_ids_len;
        struct verdict v = assignment_check(s, ids, len);
        bool active = false;

        if (v.error != ERR_NONE)
            return v;
        if (len != factor)
            return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                          "The manual partition assignment includes a "
                          "partition with %d replica(s), but this is not "
                          "consistent with previous partitions, which have %d "
                          "replica(s).",
                          (int)len, (int)factor);
        for (int32_t j = 0; j < len; j++)
            active |= broker_is_active(s->c, ids[j]);
        if (!active)
            return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                          "All brokers specified in the manual partition "
                          "assignment for partition %d are fenced or in "
                          "controlled shutdown.",
                          (int)(topic->partitions_len + i));
    }
    return VERDICT_GOOD;
}

static void put_by_hand(struct step *s, const request_topic *t,
                        const struct image_topic *topic)
{
    for (int32_t i = 0; i < t->assignments_len; i++)
        partition_put_new(s, &topic->id, topic->partitions_len,
                          t->assignments[i].broker_ids,
                          (uint32_t)t->assignments[i].broker_ids_len);
}

static void put_by_placement(struct step *s, const request_topic *t,
                             const struct image_topic *topic,
                             struct placement *placement)
{
    uint32_t factor = (uint32_t)replication_factor(topic);
    int32_t replicas[IMAGE_REPLICAS_MAX];

    while (topic->partitions_len < t->count) {
        placement_next(placement, factor, replicas);
        partition_put_new(s, &topic->id, topic->partitions_len, replicas,
                          factor);
    }
}

static struct verdict grow(struct step *s, const request_topic *t,
                           bool validate_only)
{
    struct image_topic *topic = image_topic(s->image, t->name);
    struct placement placement;
    size_t bytes = 0;
    bool by_hand = t->assignments_len >= 0;

    if (topic == NULL)
        return refuse(s, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                      "This server does not host this topic-partition.");
    struct verdict v = check_count(s, t, topic);
    if (v.error != ERR_NONE)
        return v;
    if (by_hand) {
        v = check_by_hand(s, t, topic);
    } else {
        placement_init(&placement, s->image, s->arena, &s->prng);
        v = placement_check(s, &placement, replication_factor(topic));
    }
    if (v.error == ERR_NONE) {
        bytes = (size_t)(t->count - topic->partitions_len) *
                partition_record_bytes((uint32_t)replication_factor(topic));
        v = step_fits(s, bytes);
    }
    if (v.error == ERR_NONE)
        v = mutation_quota_take(s, t->count - topic->partitions_len);
    if (v.error != ERR_NONE || validate_only)
        return v;
    step_group_begin(s, bytes);
    if (by_hand)
        put_by_hand(s, t, topic);
    else
        put_by_placement(s, t, topic, &placement);
    step_group_end(s);
    return VERDICT_GOOD;
}

void partitions_create(struct step *s, int16_t version, const void *in,
                       void *out)
{
    const struct create_partitions_request *request = in;
    struct create_partitions_response *response = out;
    struct map seen = MAP_INIT;
    struct map duplicates = MAP_INIT;
    struct map told = MAP_INIT; /* duplicates that have their answer */

    for (int32_t i = 0; i < request->topics_len; i++)
        if (map_put(&seen, request->topics[i].name, &seen) != NULL)
            map_put(&duplicates, request->topics[i].name, &duplicates);
    response->results = arena_array(s->arena, (size_t)request->topics_len,
                                    sizeof *response->results);
    response->results_len = 0;
    mutation_quota_begin(s, version >= 3);
    for (int32_t i = 0; i < request->topics_len; i++) {
        const request_topic *t = &request->topics[i];
        bool twice = map_get(&duplicates, t->name) != NULL;

        if (twice && map_put(&told, t->name, &told) != NULL)
            continue;
        struct verdict v =
            twice ? refuse(s, ERR_INVALID_REQUEST, "Duplicate topic name.")
                  : grow(s, t, request->validate_only);
        struct create_partitions_response_topic_result *result =
            &response->results[response->results_len++];

        create_partitions_response_topic_result_init(result);
        result->name = t->name;
        result->error_code = (int16_t)v.error;
        result->error_message = v.why;
    }
    response->throttle_time_ms = mutation_quota_pause_ms(s);
    map_free(&told);
    map_free(&seen);
    map_free(&duplicates);
}
