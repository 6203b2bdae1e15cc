/* Answers: made, failed, refused.
 *
 * Every API has its own place for an error; this file knows them.  Refusals
 * hold empty strings and arrays where old decoders cannot read null, and say
 * something about every partition that was asked for. */
#include "broker/coord/group.h"

#include <stdlib.h>

static const struct kafka_desc *response_desc(enum api_key api)
{
    switch (api) {
    case API_JOIN_GROUP:
        return &join_group_response_desc;
    case API_SYNC_GROUP:
        return &sync_group_response_desc;
    case API_HEARTBEAT:
        return &heartbeat_response_desc;
    case API_LEAVE_GROUP:
        return &leave_group_response_desc;
    case API_OFFSET_COMMIT:
    case API_TXN_OFFSET_COMMIT:
        return &offset_commit_response_desc;
    case API_OFFSET_FETCH:
        return &offset_fetch_response_desc;
    case API_OFFSET_DELETE:
        return &offset_delete_response_desc;
    case API_DESCRIBE_GROUPS:
        return &describe_groups_response_desc;
    case API_LIST_GROUPS:
        return &list_groups_response_desc;
    case API_DELETE_GROUPS:
        return &delete_groups_response_desc;
    default:
        ASSERT(false); /* the caller sent us somebody else's request */
        return NULL;
    }
}

struct coord_answer *answer_new(void *token, enum api_key api, int16_t version)
{
    struct coord_answer *answer = xcalloc(1, sizeof *answer);

    list_init(&answer->link);
    answer->token = token;
    answer->api = api;
    answer->version = version;
    arena_init(&answer->arena, 0);
    kafka_init(response_desc(api), &answer->response);
    if (api == API_JOIN_GROUP) /* until there is one; "" before version 7 */
        answer->response.join_group.protocol_name = SLICE_NULL;
    return answer;
}

void coord_answer_free(struct coord_answer *answer)
{
    if (answer == NULL)
        return;
    arena_free(&answer->arena);
    free(answer);
}

void answer_send(struct step *step, struct coord_answer *answer)
{
    list_push_back(&step->update->answers, &answer->link);
}

/* ---- parked requests -----------------------------------------------------*/

void answer_join_error(struct step *step, struct member *member,
                       struct slice member_id, enum err err)
{
    struct parked parked;

    if (!member_unpark_join(member, &parked))
        return;
    struct coord_answer *answer =
        answer_new(parked.token, API_JOIN_GROUP, parked.version);
    answer->response.join_group.error_code = err_wire(err);
    answer->response.join_group.member_id =
        arena_copy(&answer->arena, member_id);
    answer_send(step, answer);
}

void answer_sync_error(struct step *step, struct member *member, enum err err)
{
    struct parked parked;

    if (!member_unpark_sync(member, &parked))
        return;
    struct coord_answer *answer =
        answer_new(parked.token, API_SYNC_GROUP, parked.version);
    answer->response.sync_group.error_code = err_wire(err);
    answer_send(step, answer);
}

/* ---- an answer turned into a failure -------------------------------------*/

static void fail_offset_commit(struct offset_commit_response *r, int16_t code)
{
    for (int32_t t = 0; t < r->topics_len; t++)
        for (int32_t p = 0; p < r->topics[t].partitions_len; p++)
            r->topics[t].partitions[p].error_code = code;
}

static void fail_offset_fetch(struct offset_fetch_response *r, int16_t version,
                              int16_t code)
{
    for (int32_t g = 0; g < r->groups_len; g++) {
        struct offset_fetch_response_group *group = &r->groups[g];

        group->error_code = code;
        if (version >= 2)
            group->topics_len = 0;
        for (int32_t t = 0; t < group->topics_len; t++)
            for (int32_t p = 0; p < group->topics[t].partitions_len; p++) {
                struct offset_fetch_response_partitions *partition =
                    &group->topics[t].partitions[p];
                partition->committed_offset = -1;
                partition->committed_leader_epoch = -1;
                partition->metadata = SLICE("");
                partition->error_code = code;
            }
    }
}

static void fail_join(struct join_group_response *r, int16_t code)
{
    struct slice member_id = r->member_id;

    kafka_init(&join_group_response_desc, r);
    r->protocol_name = SLICE_NULL;
    r->member_id = member_id;
    r->error_code = code;
}

void coord_answer_fail(struct coord_answer *answer, enum err err)
{
    int16_t code = err_wire(err);

    switch (answer->api) {
    case API_OFFSET_COMMIT:
    case API_TXN_OFFSET_COMMIT:
        fail_offset_commit(&answer->response.offset_commit, code);
        break;
    case API_OFFSET_FETCH:
        fail_offset_fetch(&answer->response.offset_fetch, answer->version,
                          code);
        break;
    case API_DELETE_GROUPS:
        for (int32_t i = 0; i < answer->response.delete_groups.results_len; i++)
            answer->response.delete_groups.results[i].error_code = code;
        break;
    case API_LEAVE_GROUP:
        answer->response.leave_group.error_code = code;
        answer->response.leave_group.members_len = 0;
        break;
    case API_OFFSET_DELETE:
        answer->response.offset_delete.error_code = code;
        answer->response.offset_delete.topics_len = 0;
        break;
    case API_JOIN_GROUP:
        fail_join(&answer->response.join_group, code);
        break;
    case API_SYNC_GROUP:
        kafka_init(&sync_group_response_desc, &answer->response);
        answer->response.sync_group.error_code = code;
        break;
    case API_HEARTBEAT:
        answer->response.heartbeat.error_code = code;
        break;
    default:
        ASSERT(false); /* no other answer waits as a whole */
    }
}

/* ---- refusals ------------------------------------------------------------*/

static void refuse_join(struct coord_answer *answer,
                        const struct join_group_request *request, int16_t code)
{
    answer->response.join_group.error_code = code;
    answer->response.join_group.member_id =
        arena_copy(&answer->arena, request->member_id);
}

static void refuse_offset_commit(struct coord_answer *answer,
                                 const struct offset_commit_request *request,
                                 int16_t code)
{
    struct offset_commit_response *r = &answer->response.offset_commit;
    struct arena *arena = &answer->arena;

    r->topics_len = request->topics_len;
    r->topics =
        arena_array(arena, (size_t)request->topics_len, sizeof *r->topics);
    for (int32_t t = 0; t < request->topics_len; t++) {
        const struct offset_commit_request_topic *from = &request->topics[t];
        struct offset_commit_response_topic *to = &r->topics[t];

        to->name = arena_copy(arena, from->name);
        to->topic_id = from->topic_id;
        to->partitions_len = from->partitions_len;
        to->partitions = arena_array(arena, (size_t)from->partitions_len,
                                     sizeof *to->partitions);
        for (int32_t p = 0; p < from->partitions_len; p++) {
            to->partitions[p].partition_index =
                from->partitions[p].partition_index;
            to->partitions[p].error_code = code;
        }
    }
}

static void refuse_topics(struct arena *arena,
                          const struct offset_fetch_request_group *from,
                          struct offset_fetch_response_group *to)
{
    if (from->topics_len <= 0)
        return;
    to->topics_len = from->topics_len;
    to->topics =
        arena_array(arena, (size_t)from->topics_len, sizeof *to->topics);
    for (int32_t t = 0; t < from->topics_len; t++) {
        struct offset_fetch_response_topics *topic = &to->topics[t];
        int32_t count = from->topics[t].partition_indexes_len;

        topic->name = arena_copy(arena, from->topics[t].name);
        topic->topic_id = from->topics[t].topic_id;
        topic->partitions_len = count;
        topic->partitions =
            arena_array(arena, (size_t)count, sizeof *topic->partitions);
        for (int32_t p = 0; p < count; p++) {
            offset_fetch_response_partitions_init(&topic->partitions[p]);
            topic->partitions[p].partition_index =
                from->topics[t].partition_indexes[p];
        }
    }
}

static void refuse_offset_fetch(struct coord_answer *answer,
                                const struct offset_fetch_request *request,
                                int16_t code)
{
    struct offset_fetch_response *r = &answer->response.offset_fetch;

    r->groups_len = request->groups_len;
    r->groups = arena_array(&answer->arena, (size_t)request->groups_len,
                            sizeof *r->groups);
    for (int32_t g = 0; g < request->groups_len; g++) {
        offset_fetch_response_group_init(&r->groups[g]);
        r->groups[g].group_id =
            arena_copy(&answer->arena, request->groups[g].group_id);
        refuse_topics(&answer->arena, &request->groups[g], &r->groups[g]);
    }
    fail_offset_fetch(r, answer->version, code);
}

static void refuse_describe(struct coord_answer *answer,
                            const struct describe_groups_request *request,
                            int16_t code)
{
    struct describe_groups_response *r = &answer->response.describe_groups;

    r->groups_len = request->groups_len;
    r->groups = arena_array(&answer->arena, (size_t)request->groups_len,
                            sizeof *r->groups);
    for (int32_t i = 0; i < request->groups_len; i++) {
        describe_groups_response_described_group_init(&r->groups[i]);
        r->groups[i].group_id = arena_copy(&answer->arena, request->groups[i]);
        r->groups[i].error_code = code;
    }
}

static void refuse_delete(struct coord_answer *answer,
                          const struct delete_groups_request *request,
                          int16_t code)
{
    struct delete_groups_response *r = &answer->response.delete_groups;

    r->results_len = request->groups_names_len;
    r->results = arena_array(&answer->arena, (size_t)request->groups_names_len,
                             sizeof *r->results);
    for (int32_t i = 0; i < request->groups_names_len; i++) {
        delete_groups_response_deletable_group_result_init(&r->results[i]);
        r->results[i].group_id =
            arena_copy(&answer->arena, request->groups_names[i]);
        r->results[i].error_code = code;
    }
}

struct coord_answer *coord_refuse(const struct coord_context *context,
                                  enum api_key api, const void *request,
                                  enum err err)
{
    struct coord_answer *answer =
        answer_new(context->token, api, context->version);
    int16_t code = err_wire(err);

    switch (api) {
    case API_JOIN_GROUP:
        refuse_join(answer, request, code);
        break;
    case API_SYNC_GROUP:
        answer->response.sync_group.error_code = code;
        break;
    case API_HEARTBEAT:
        answer->response.heartbeat.error_code = code;
        break;
    case API_LEAVE_GROUP:
        answer->response.leave_group.error_code = code;
        break;
    case API_OFFSET_COMMIT:
        refuse_offset_commit(answer, request, code);
        break;
    case API_TXN_OFFSET_COMMIT:
        refuse_offset_commit(
            answer, &((const struct coord_txn_commit *)request)->commit, code);
        break;
    case API_OFFSET_FETCH:
        refuse_offset_fetch(answer, request, code);
        break;
    case API_OFFSET_DELETE:
        answer->response.offset_delete.error_code = code;
        break;
    case API_DESCRIBE_GROUPS:
        refuse_describe(answer, request, code);
        break;
    case API_LIST_GROUPS:
        answer->response.list_groups.error_code = code;
        break;
    case API_DELETE_GROUPS:
        refuse_delete(answer, request, code);
        break;
    default:
        ASSERT(false);
    }
    return answer;
}
