#include "broker/coord/offset_fetch_form.h"

enum { FIRST_GROUPS_VERSION = 8, FIRST_GROUP_ERROR_VERSION = 2 };

bool offset_fetch_to_groups(const struct offset_fetch_request *request,
                            int16_t version, struct arena *arena,
                            struct offset_fetch_request *groups)
{
    *groups = *request;
    if (version >= FIRST_GROUPS_VERSION)
        return true;
    struct offset_fetch_request_group *group =
        arena_array(arena, 1, sizeof *group);
    if (group == NULL)
        return false;
    offset_fetch_request_group_init(group);
    group->group_id = request->group_id;
    group->topics_len = request->topics_len; /* -1: all */
    if (request->topics_len > 0) {
        group->topics = arena_array(arena, (size_t)request->topics_len,
                                    sizeof *group->topics);
        if (group->topics == NULL)
            return false;
    }
    for (int32_t i = 0; i < request->topics_len; i++)
        group->topics[i] = (struct offset_fetch_request_topics){
            .name = request->topics[i].name,
            .partition_indexes = request->topics[i].partition_indexes,
            .partition_indexes_len = request->topics[i].partition_indexes_len,
        };
    groups->groups = group;
    groups->groups_len = 1;
    return true;
}

static bool copy_topic(const struct offset_fetch_response_topics *from,
                       struct arena *arena,
                       struct offset_fetch_response_topic *to)
{
    to->name = from->name;
    to->partitions_len = from->partitions_len;
    to->partitions = arena_array(arena, (size_t)from->partitions_len,
                                 sizeof *to->partitions);
    if (to->partitions == NULL)
        return false;
    for (int32_t i = 0; i < from->partitions_len; i++)
        to->partitions[i] = (struct offset_fetch_response_partition){
            .partition_index = from->partitions[i].partition_index,
            .committed_offset = from->partitions[i].committed_offset,
            .committed_leader_epoch =
                from->partitions[i].committed_leader_epoch,
            .metadata = from->partitions[i].metadata,
            .error_code = from->partitions[i].error_code,
        };
    return true;
}

bool offset_fetch_from_groups(struct offset_fetch_response *response,
                              int16_t version, struct arena *arena)
{
    if (version >= FIRST_GROUPS_VERSION)
        return true;
    ASSERT(response->groups_len == 1);
    const struct offset_fetch_response_group *group = &response->groups[0];

    response->topics_len = group->topics_len;
    response->topics =
        arena_array(arena, (size_t)group->topics_len, sizeof *response->topics);
    if (response->topics == NULL)
        return false;
    for (int32_t i = 0; i < group->topics_len; i++)
        if (!copy_topic(&group->topics[i], arena, &response->topics[i]))
            return false;
    response->error_code =
        version >= FIRST_GROUP_ERROR_VERSION ? group->error_code : 0;
    response->groups = NULL;
    response->groups_len = 0;
    return true;
}
