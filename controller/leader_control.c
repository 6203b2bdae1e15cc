/* ElectLeaders: somebody wants the preferred replica to lead (type 0), or
 * anyone at all, records lost or not (type 1). */
#include "controller/change.h"
#include "proto/kafka/kafka_messages.h"

typedef struct elect_leaders_response_replica_election_result result_topic;

enum { ELECT_PREFERRED = 0, ELECT_UNCLEAN = 1 };

static struct verdict elect_preferred(struct step *s, struct image_topic *topic,
                                      int32_t partition)
{
    const struct image_partition *p = topic->partitions[partition];
    int32_t preferred = p->ids[0];
    struct change ch;

    if (p->leader == preferred)
        return refuse(s, ERR_ELECTION_NOT_NEEDED,
                      "Leader election not needed for topic partition.");
    change_begin(s, topic, partition, &ch);
    ch.prefer = true;
    change_put(&ch);
    if (topic->partitions[partition]->leader != preferred)
        return refuse(s, ERR_PREFERRED_LEADER_NOT_AVAILABLE,
                      "The preferred leader was not available.");
    return VERDICT_GOOD;
}

static struct verdict elect_unclean(struct step *s, struct image_topic *topic,
                                    int32_t partition)
{
    struct change ch;

    if (topic->partitions[partition]->leader != -1)
        return refuse(s, ERR_ELECTION_NOT_NEEDED,
                      "Leader election not needed for topic partition.");
    change_begin(s, topic, partition, &ch);
    ch.allow_unclean = true;
    change_put(&ch);
    if (topic->partitions[partition]->leader == -1)
        return refuse(s, ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE,
                      "Eligible topic partition leaders are not available.");
    return VERDICT_GOOD;
}

static struct verdict elect(struct step *s, int8_t type,
                            struct image_topic *topic, int32_t partition)
{
    return type == ELECT_UNCLEAN ? elect_unclean(s, topic, partition)
                                 : elect_preferred(s, topic, partition);
}

static void add_result(result_topic *t, int32_t partition, struct verdict v)
{
    struct elect_leaders_response_partition_result *r =
        &t->partition_result[t->partition_result_len++];

    r->partition_id = partition;
    r->error_code = (int16_t)v.error;
    r->error_message = v.why;
}

static void elect_named(struct step *s,
                        const struct elect_leaders_request_topic_partitions *t,
                        int8_t type, result_topic *out)
{
    struct image_topic *topic = image_topic(s->image, t->topic);

    out->topic = t->topic;
    out->partition_result = arena_array(s->arena, (size_t)t->partitions_len,
                                        sizeof *out->partition_result);
    for (int32_t i = 0; i < t->partitions_len; i++) {
        int32_t partition = t->partitions[i];
        struct verdict v;

        if (topic == NULL)
            v = refuse(s, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                       "No such topic as %.*s", SLICE_FMT(t->topic));
        else if (image_partition(topic, partition) == NULL)
            v = refuse(s, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                       "No such partition as %s-%d", topic->name,
                       (int)partition);
        else
            v = elect(s, type, topic, partition);
        add_result(out, partition, v);
    }
}

/* Of all partitions; those that need nothing are not mentioned. */
static void elect_all(struct step *s, int8_t type,
                      struct elect_leaders_response *response)
{
    struct image_topic *topic;

    response->replica_election_results =
        arena_array(s->arena, map_count(&s->image->topics_by_id),
                    sizeof *response->replica_election_results);
    for (uint32_t at = 0; (topic = image_topic_next(s->image, &at)) != NULL;) {
        result_topic *out = &response->replica_election_results
                                 [response->replica_election_results_len];

        for (int32_t p = 0; p < topic->partitions_len; p++) {
            bool needed = type == ELECT_UNCLEAN
                              ? topic->partitions[p]->leader == -1
                              : topic->partitions[p]->leader !=
                                    topic->partitions[p]->ids[0];

            if (!needed)
                continue;
            if (out->partition_result == NULL)
                out->partition_result =
                    arena_array(s->arena, (size_t)topic->partitions_len,
                                sizeof *out->partition_result);
            add_result(out, p, elect(s, type, topic, p));
        }
        if (out->partition_result == NULL)
            continue;
        out->topic = arena_copy(s->arena, slice_str(topic->name));
        response->replica_election_results_len++;
    }
}

void leaders_elect(struct step *s, int16_t version, const void *in, void *out)
{
    const struct elect_leaders_request *request = in;
    struct elect_leaders_response *response = out;
    int32_t count = request->topic_partitions_len;

    if (request->election_type != ELECT_PREFERRED &&
        request->election_type != ELECT_UNCLEAN) {
        response->error_code = ERR_INVALID_REQUEST;
        return;
    }
    if (count < 0) {
        elect_all(s, request->election_type, response);
        return;
    }
    response->replica_election_results = arena_array(
        s->arena, (size_t)count, sizeof *response->replica_election_results);
    response->replica_election_results_len = count;
    for (int32_t i = 0; i < count; i++)
        elect_named(s, &request->topic_partitions[i], request->election_type,
                    &response->replica_election_results[i]);
}
