/* Answers: made, failed, refused. */
#include "broker/coord/consumer/consumer.h"

#include <stdlib.h>

struct coord_answer *canswer_new(const struct coord_context *context,
                                 enum api_key api)
{
    struct coord_answer *answer = xcalloc(1, sizeof *answer);

    ASSERT(api == API_CONSUMER_GROUP_HEARTBEAT ||
           api == API_CONSUMER_GROUP_DESCRIBE);
    list_init(&answer->link);
    answer->token = context->token;
    answer->api = api;
    answer->version = context->version;
    arena_init(&answer->arena, 0);
    kafka_init(api == API_CONSUMER_GROUP_HEARTBEAT
                   ? &consumer_group_heartbeat_response_desc
                   : &consumer_group_describe_response_desc,
               &answer->response);
    return answer;
}

void canswer_send(struct cstep *step, struct coord_answer *answer)
{
    list_push_back(&step->update->answers, &answer->link);
}

struct consumer_group_heartbeat_response_assignment *
canswer_assignment(struct arena *arena, struct parts set)
{
    struct consumer_group_heartbeat_response_assignment *a =
        arena_alloc(arena, sizeof *a);

    a->topic_partitions =
        arena_array(arena, parts_topics(set), sizeof *a->topic_partitions);
    for (uint32_t at = 0, run; at < set.len; at += run) {
        struct consumer_group_heartbeat_response_topic_partitions *topic =
            &a->topic_partitions[a->topic_partitions_len++];

        run = parts_run(set, at);
        topic->topic_id = set.items[at].topic;
        topic->partitions = arena_array(arena, run, sizeof(int32_t));
        topic->partitions_len = (int32_t)run;
        for (uint32_t i = 0; i < run; i++)
            topic->partitions[i] = set.items[at + i].partition;
    }
    return a;
}

static void fail_groups(struct consumer_group_describe_response *r,
                        enum err err)
{
    for (int32_t i = 0; i < r->groups_len; i++) {
        struct slice id = r->groups[i].group_id;

        consumer_group_describe_response_described_group_init(&r->groups[i]);
        r->groups[i].group_id = id;
        r->groups[i].error_code = err_wire(err);
    }
}

void canswer_fail(struct coord_answer *answer, enum err err, const char *why)
{
    struct consumer_group_heartbeat_response *r =
        &answer->response.consumer_group_heartbeat;

    if (answer->api == API_CONSUMER_GROUP_DESCRIBE) {
        fail_groups(&answer->response.consumer_group_describe, err);
        return;
    }
    if (answer->api != API_CONSUMER_GROUP_HEARTBEAT) {
        coord_answer_fail(answer, err);
        return;
    }
    kafka_init(&consumer_group_heartbeat_response_desc, r);
    r->error_code = err_wire(err);
    r->error_message = arena_copy(
        &answer->arena, slice_str(why != NULL ? why : err_text((int)err)));
}

struct coord_answer *consumer_refuse(const struct coord_context *context,
                                     enum api_key api, const void *request,
                                     enum err err)
{
    const struct consumer_group_describe_request *describe = request;

    if (api != API_CONSUMER_GROUP_DESCRIBE &&
        api != API_CONSUMER_GROUP_HEARTBEAT)
        return coord_refuse(context, api, request, err);
    struct coord_answer *answer = canswer_new(context, api);
    struct consumer_group_describe_response *r =
        &answer->response.consumer_group_describe;

    if (api == API_CONSUMER_GROUP_DESCRIBE) {
        r->groups = arena_array(&answer->arena, (size_t)describe->group_ids_len,
                                sizeof *r->groups);
        r->groups_len = describe->group_ids_len;
        for (int32_t i = 0; i < r->groups_len; i++)
            r->groups[i].group_id =
                arena_copy(&answer->arena, describe->group_ids[i]);
    }
    canswer_fail(answer, err, NULL);
    return answer;
}
