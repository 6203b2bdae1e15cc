/* DeleteTopics, by name or by id.  One record takes the topic, its partitions
 * and its configs away. */
#include "controller/step.h"
#include "proto/kafka/kafka_messages.h"

typedef struct delete_topics_response_deletable_topic_result result_topic;

/* What one entry of the request names. */
struct target {
    struct slice name; /* null: by id */
    struct uuid id;
};

static struct verdict find(struct step *s, const struct target *t,
                           struct image_topic **topic)
{
    bool by_id = !uuid_is_zero(t->id);

    *topic = NULL;
    if (!slice_is_null(t->name) && by_id)
        return refuse(s, ERR_INVALID_REQUEST,
                      "You may not specify both topic name and topic id.");
    if (slice_is_null(t->name) && !by_id)
        return refuse(s, ERR_INVALID_REQUEST,
                      "Neither topic name nor id were specified.");
    *topic = by_id ? image_topic_by_id(s->image, t->id)
                   : image_topic(s->image, t->name);
    if (*topic == NULL && by_id)
        return refuse(s, ERR_UNKNOWN_TOPIC_ID,
                      "This server does not host this topic ID.");
    if (*topic == NULL)
        return refuse(s, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                      "This server does not host this topic-partition.");
    return VERDICT_GOOD;
}

static void put_removal(struct step *s, const struct image_topic *topic)
{
    Leat__RemoveTopicRecord r = LEAT__REMOVE_TOPIC_RECORD__INIT;
    struct uuid id = topic->id;

    r.topic_id = record_uuid(&id);
    r.name = arena_strdup(s->arena, slice_str(topic->name));
    step_put(s, &RECORD(remove_topic, REMOVE_TOPIC, &r));
}

/* `duplicates` holds names and ids that the request names twice. */
static struct verdict delete_topic(struct step *s, int16_t version,
                                   const struct target *t,
                                   const struct map *duplicates,
                                   result_topic *out)
{
    struct image_topic *topic;

    if (!s->c->config.delete_topic_enable)
        return refuse(
            s, version >= 3 ? ERR_TOPIC_DELETION_DISABLED : ERR_INVALID_REQUEST,
            "Topic deletion is disabled.");
    if (!slice_is_null(t->name) && map_get(duplicates, t->name) != NULL)
        return refuse(s, ERR_INVALID_REQUEST, "Duplicate topic name.");
    if (!uuid_is_zero(t->id) && map_get(duplicates, uuid_slice(&t->id)) != NULL)
        return refuse(s, ERR_INVALID_REQUEST, "Duplicate topic id.");
    struct verdict v = find(s, t, &topic);
    if (v.error != ERR_NONE)
        return v;
    v = mutation_quota_take(s, topic->partitions_len);
    if (v.error != ERR_NONE)
        return v;
    out->name = arena_copy(s->arena, slice_str(topic->name));
    out->topic_id = topic->id;
    put_removal(s, topic);
    return VERDICT_GOOD;
}

static struct target target_at(const struct delete_topics_request *r,
                               int16_t version, int32_t i)
{
    if (version >= 6)
        return (struct target){r->topics[i].name, r->topics[i].topic_id};
    return (struct target){r->topic_names[i], UUID_ZERO};
}

/* What is named more than once is refused, so count before the first is
 * deleted. */
static void find_duplicates(const struct delete_topics_request *r,
                            int16_t version, int32_t count,
                            struct map *duplicates)
{
    struct map seen = MAP_INIT;

    for (int32_t i = 0; i < count; i++) {
        struct target t = target_at(r, version, i);
        struct slice key = slice_is_null(t.name) ? uuid_slice(&t.id) : t.name;

        if (map_put(&seen, key, &seen) != NULL)
            map_put(duplicates, key, duplicates);
    }
    map_free(&seen);
}

void topics_delete(struct step *s, int16_t version, const void *in, void *out)
{
    const struct delete_topics_request *request = in;
    struct delete_topics_response *response = out;
    struct map duplicates = MAP_INIT;
    int32_t count =
        version >= 6 ? request->topics_len : request->topic_names_len;

    struct map told = MAP_INIT; /* duplicates that have their answer */

    find_duplicates(request, version, count, &duplicates);
    mutation_quota_begin(s, version >= 5);
    response->responses =
        arena_array(s->arena, (size_t)count, sizeof *response->responses);
    response->responses_len = 0;
    for (int32_t i = 0; i < count; i++) {
        struct target t = target_at(request, version, i);
        result_topic *result = &response->responses[response->responses_len];
        struct slice key = slice_is_null(t.name) ? uuid_slice(&t.id) : t.name;

        if (map_get(&duplicates, key) != NULL &&
            map_put(&told, key, &told) != NULL)
            continue;
        response->responses_len++;
        delete_topics_response_deletable_topic_result_init(result);
        result->name = t.name;
        result->topic_id = t.id;
        struct verdict v = delete_topic(s, version, &t, &duplicates, result);
        result->error_code = (int16_t)v.error;
        result->error_message = v.why;
    }
    response->throttle_time_ms = mutation_quota_pause_ms(s);
    map_free(&told);
    map_free(&duplicates);
}
