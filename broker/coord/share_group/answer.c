/* Answers: made, failed, refused. */
#include "broker/coord/share_group/sgroup.h"

#include <stdlib.h>

static const struct kafka_desc *response_of(enum api_key api)
{
    switch (api) {
    case API_SHARE_GROUP_HEARTBEAT:
        return &share_group_heartbeat_response_desc;
    case API_SHARE_GROUP_DESCRIBE:
        return &share_group_describe_response_desc;
    case API_DESCRIBE_SHARE_GROUP_OFFSETS:
        return &describe_share_group_offsets_response_desc;
    case API_ALTER_SHARE_GROUP_OFFSETS:
        return &alter_share_group_offsets_response_desc;
    case API_DELETE_SHARE_GROUP_OFFSETS:
        return &delete_share_group_offsets_response_desc;
    default:
        ASSERT(api == API_DELETE_GROUPS);
        return &delete_groups_response_desc;
    }
}

struct coord_answer *sanswer_new(const struct coord_context *context,
                                 enum api_key api)
{
    struct coord_answer *answer = xcalloc(1, sizeof *answer);

    list_init(&answer->link);
    answer->token = context->token;
    answer->api = api;
    answer->version = context->version;
    arena_init(&answer->arena, 0);
    kafka_init(response_of(api), &answer->response);
    return answer;
}

void sanswer_send(struct sstep *step, struct coord_answer *answer)
{
    list_push_back(&step->update->answers, &answer->link);
}

/* ---- failures ------------------------------------------------------------*/

static void fail_described(struct share_group_describe_response *r,
                           enum err err, struct slice why)
{
    for (int32_t i = 0; i < r->groups_len; i++) {
        struct slice id = r->groups[i].group_id;

        share_group_describe_response_described_group_init(&r->groups[i]);
        r->groups[i].group_id = id;
        r->groups[i].error_code = err_wire(err);
        r->groups[i].error_message = why;
    }
}

static void fail_offsets(struct describe_share_group_offsets_response *r,
                         enum err err, struct slice why)
{
    for (int32_t i = 0; i < r->groups_len; i++) {
        r->groups[i].topics_len = 0;
        r->groups[i].error_code = err_wire(err);
        r->groups[i].error_message = why;
    }
}

static void fail_deleted(struct delete_groups_response *r, enum err err)
{
    for (int32_t i = 0; i < r->results_len; i++)
        r->results[i].error_code = err_wire(err);
}

void sanswer_fail(struct coord_answer *answer, enum err err, const char *why)
{
    struct slice text = arena_copy(
        &answer->arena, slice_str(why != NULL ? why : err_text((int)err)));

    switch (answer->api) {
    case API_SHARE_GROUP_HEARTBEAT:
        kafka_init(&share_group_heartbeat_response_desc, &answer->response);
        answer->response.share_group_heartbeat.error_code = err_wire(err);
        answer->response.share_group_heartbeat.error_message = text;
        break;
    case API_SHARE_GROUP_DESCRIBE:
        fail_described(&answer->response.share_group_describe, err, text);
        break;
    case API_DESCRIBE_SHARE_GROUP_OFFSETS:
        fail_offsets(&answer->response.describe_share_group_offsets, err, text);
        break;
    case API_ALTER_SHARE_GROUP_OFFSETS:
        kafka_init(&alter_share_group_offsets_response_desc, &answer->response);
        answer->response.alter_share_group_offsets.error_code = err_wire(err);
        answer->response.alter_share_group_offsets.error_message = text;
        break;
    case API_DELETE_SHARE_GROUP_OFFSETS:
        kafka_init(&delete_share_group_offsets_response_desc,
                   &answer->response);
        answer->response.delete_share_group_offsets.error_code = err_wire(err);
        answer->response.delete_share_group_offsets.error_message = text;
        break;
    default:
        fail_deleted(&answer->response.delete_groups, err);
    }
}

/* What it names comes back in the answer. */
static void name_groups(struct coord_answer *answer, const void *request)
{
    const struct share_group_describe_request *describe = request;
    const struct describe_share_group_offsets_request *offsets = request;
    const struct delete_groups_request *deletion = request;
    struct arena *arena = &answer->arena;

    if (answer->api == API_SHARE_GROUP_DESCRIBE) {
        struct share_group_describe_response *r =
            &answer->response.share_group_describe;
        r->groups_len = describe->group_ids_len;
        r->groups =
            arena_array(arena, (size_t)r->groups_len, sizeof *r->groups);
        for (int32_t i = 0; i < r->groups_len; i++)
            r->groups[i].group_id = arena_copy(arena, describe->group_ids[i]);
    } else if (answer->api == API_DESCRIBE_SHARE_GROUP_OFFSETS) {
        struct describe_share_group_offsets_response *r =
            &answer->response.describe_share_group_offsets;
        r->groups_len = offsets->groups_len;
        r->groups =
            arena_array(arena, (size_t)r->groups_len, sizeof *r->groups);
        for (int32_t i = 0; i < r->groups_len; i++)
            r->groups[i].group_id =
                arena_copy(arena, offsets->groups[i].group_id);
    } else if (answer->api == API_DELETE_GROUPS) {
        struct delete_groups_response *r = &answer->response.delete_groups;
        r->results_len = deletion->groups_names_len;
        r->results =
            arena_array(arena, (size_t)r->results_len, sizeof *r->results);
        for (int32_t i = 0; i < r->results_len; i++)
            r->results[i].group_id =
                arena_copy(arena, deletion->groups_names[i]);
    }
}

struct coord_answer *share_group_refuse(const struct coord_context *context,
                                        enum api_key api, const void *request,
                                        enum err err)
{
    struct coord_answer *answer = sanswer_new(context, api);

    name_groups(answer, request);
    sanswer_fail(answer, err, NULL);
    return answer;
}
