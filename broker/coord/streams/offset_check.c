/* What the offsets of these groups have to ask (KIP-1071, "OffsetCommit API"
 * and "OffsetFetch API"). */
#include "broker/coord/streams/streams.h"

/* From this version on OffsetCommit knows member epochs. */
enum { COMMIT_EPOCHS_FROM = 9 };

/* Since which epoch the member processes this partition; -1: it does not. */
static int32_t since(const struct streams_coord *coord,
                     const struct stmember *member, struct uuid topic,
                     int32_t partition)
{
    const struct stgroup *group = member->group;
    struct slice name = coord->world.topic_name(coord->world.arg, topic);
    const stopology_sub *sub =
        slice_is_null(name) || group->topology == NULL
            ? NULL
            : stopology_reader(group->topology->value, name);
    const struct task *task;

    if (sub == NULL)
        return -1;
    task = tasks_find(member->current.assigned.of[TASK_ACTIVE],
                      sub->subtopology_id, partition);
    if (task == NULL)
        task = tasks_find(member->current.revoking.of[TASK_ACTIVE],
                          sub->subtopology_id, partition);
    return task != NULL ? task->epoch : -1;
}

enum err streams_check_commit(const struct streams_coord *coord,
                              const struct coord_caller *caller,
                              struct uuid topic, int32_t partition)
{
    const struct stgroup *group = stgroup_find(coord, caller->group);
    const struct stmember *member;
    int32_t epoch;

    if (group == NULL)
        return ERR_GROUP_ID_NOT_FOUND;
    if (caller->epoch < 0 && group->size == 0)
        return ERR_NONE; /* by a tool, or a consumer without a group */
    if (coord_caller_is_anonymous(caller))
        return ERR_NONE;
    member = stgroup_member(group, caller->member_id);
    if (member == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    if (!caller->transactional && caller->version < COMMIT_EPOCHS_FROM)
        return ERR_UNSUPPORTED_VERSION;
    if (caller->epoch == member->current.epoch)
        return ERR_NONE;
    if (caller->epoch > member->current.epoch || caller->epoch < 0)
        return ERR_STALE_MEMBER_EPOCH;
    /* It has not heard of its new epoch yet.  Nobody else can have committed
     * for what it has had all the time. */
    epoch = since(coord, member, topic, partition);
    return epoch >= 0 && epoch <= caller->epoch ? ERR_NONE
                                                : ERR_STALE_MEMBER_EPOCH;
}

enum err streams_check_fetch(const struct streams_coord *coord,
                             const struct coord_caller *caller)
{
    const struct stgroup *group = stgroup_find(coord, caller->group);
    const struct stmember *member;

    if (group == NULL)
        return ERR_GROUP_ID_NOT_FOUND;
    if (slice_is_null(caller->member_id) && caller->epoch < 0)
        return ERR_NONE;
    member = stgroup_member(group, caller->member_id);
    if (member == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    return caller->epoch == member->current.epoch ? ERR_NONE
                                                  : ERR_STALE_MEMBER_EPOCH;
}

enum group_presence streams_presence(const struct streams_coord *coord,
                                     struct slice group)
{
    const struct stgroup *found = stgroup_find(coord, group);

    if (found == NULL)
        return GROUP_PRESENT_NOT;
    return found->size != 0 ? GROUP_PRESENT : GROUP_PRESENT_EMPTY;
}

bool streams_subscribes(const struct streams_coord *coord, struct slice group,
                        struct slice topic)
{
    const struct stgroup *found = stgroup_find(coord, group);

    return found != NULL && found->size != 0 && found->topology != NULL &&
           stopology_reader(found->topology->value, topic) != NULL;
}

enum err streams_delete_records(const struct streams_coord *coord,
                                struct slice group,
                                struct coord_records *records)
{
    const struct stgroup *found = stgroup_find(coord, group);

    if (found == NULL)
        return ERR_GROUP_ID_NOT_FOUND;
    if (found->size != 0)
        return ERR_NON_EMPTY_GROUP;
    stwrite_group_gone(records, found);
    return ERR_NONE;
}
