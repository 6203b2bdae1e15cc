/* Answers: made, failed, refused. */
#include "broker/coord/streams/streams.h"

#include <stdlib.h>

struct coord_answer *stanswer_new(const struct coord_context *context,
                                  enum api_key api)
{
    struct coord_answer *answer = xcalloc(1, sizeof *answer);

    ASSERT(api == API_STREAMS_GROUP_HEARTBEAT ||
           api == API_STREAMS_GROUP_DESCRIBE);
    list_init(&answer->link);
    answer->token = context->token;
    answer->api = api;
    answer->version = context->version;
    arena_init(&answer->arena, 0);
    kafka_init(api == API_STREAMS_GROUP_HEARTBEAT
                   ? &streams_group_heartbeat_response_desc
                   : &streams_group_describe_response_desc,
               &answer->response);
    return answer;
}

void stanswer_send(struct ststep *step, struct coord_answer *answer)
{
    list_push_back(&step->update->answers, &answer->link);
}

typedef struct streams_group_heartbeat_response_task_ids answer_ids;

static answer_ids *tasks_of_kind(struct arena *arena, struct tasks set,
                                 int32_t *len)
{
    answer_ids *ids = arena_array(arena, tasks_subs(set), sizeof *ids);

    *len = 0;
    for (uint32_t at = 0, run; at < set.len; at += run) {
        answer_ids *to = &ids[(*len)++];

        run = tasks_run(set, at);
        to->subtopology_id = arena_copy(arena, set.items[at].sub);
        to->partitions = arena_array(arena, run, sizeof(int32_t));
        to->partitions_len = (int32_t)run;
        for (uint32_t i = 0; i < run; i++)
            to->partitions[i] = set.items[at + i].partition;
    }
    return ids;
}

void stanswer_tasks(struct arena *arena,
                    struct streams_group_heartbeat_response *r,
                    const struct tuple *tasks)
{
    r->active_tasks =
        tasks_of_kind(arena, tasks->of[TASK_ACTIVE], &r->active_tasks_len);
    r->standby_tasks =
        tasks_of_kind(arena, tasks->of[TASK_STANDBY], &r->standby_tasks_len);
    r->warmup_tasks =
        tasks_of_kind(arena, tasks->of[TASK_WARMUP], &r->warmup_tasks_len);
}

static void fail_groups(struct streams_group_describe_response *r, enum err err)
{
    for (int32_t i = 0; i < r->groups_len; i++) {
        struct slice id = r->groups[i].group_id;

        streams_group_describe_response_described_group_init(&r->groups[i]);
        r->groups[i].group_id = id;
        r->groups[i].error_code = err_wire(err);
    }
}

void stanswer_fail(struct coord_answer *answer, enum err err, struct slice why)
{
    struct streams_group_heartbeat_response *r =
        &answer->response.streams_group_heartbeat;

    if (answer->api == API_STREAMS_GROUP_DESCRIBE) {
        fail_groups(&answer->response.streams_group_describe, err);
        return;
    }
    kafka_init(&streams_group_heartbeat_response_desc, r);
    r->error_code = err_wire(err);
    r->error_message =
        arena_copy(&answer->arena,
                   slice_is_null(why) ? slice_str(err_text((int)err)) : why);
}

struct coord_answer *streams_refuse(const struct coord_context *context,
                                    enum api_key api, const void *request,
                                    enum err err)
{
    const struct streams_group_describe_request *describe = request;
    struct coord_answer *answer = stanswer_new(context, api);
    struct streams_group_describe_response *r =
        &answer->response.streams_group_describe;

    if (api == API_STREAMS_GROUP_DESCRIBE) {
        r->groups = arena_array(&answer->arena, (size_t)describe->group_ids_len,
                                sizeof *r->groups);
        r->groups_len = describe->group_ids_len;
        for (int32_t i = 0; i < r->groups_len; i++)
            r->groups[i].group_id =
                arena_copy(&answer->arena, describe->group_ids[i]);
    }
    stanswer_fail(answer, err, SLICE_NULL);
    return answer;
}
