/* What the offsets of these groups have to ask (KIP-848, "OffsetCommit API" and
 * "OffsetFetch API"; KIP-1251). */
#include "broker/coord/consumer/consumer.h"

#include "base/planted.h"

/* From this version on OffsetCommit knows member epochs. */
enum { COMMIT_EPOCHS_FROM = 9 };

enum err consumer_check_commit(const struct consumer_coord *coord,
                               const struct coord_caller *caller,
                               struct uuid topic, int32_t partition)
{
    const struct cgroup *group = cgroup_find(coord, caller->group);
    const struct cmember *member;
    const struct part *part;

    if (group == NULL)
        return ERR_GROUP_ID_NOT_FOUND;
    if (caller->epoch < 0 && group->size == 0)
        return ERR_NONE; /* by a tool, or a consumer without a group */
    if (coord_caller_is_anonymous(caller))
        return ERR_NONE;
    member = cgroup_member(group, caller->member_id);
    if (member == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    if (member->profile.classic)
        return caller->epoch == member->current.epoch ? ERR_NONE
                                                      : ERR_ILLEGAL_GENERATION;
    if (!caller->transactional && caller->version < COMMIT_EPOCHS_FROM)
        return ERR_UNSUPPORTED_VERSION;
    if (caller->epoch == member->current.epoch ||
        PLANTED(MODERN_TAKES_OLD_EPOCHS))
        return ERR_NONE;
    if (caller->epoch > member->current.epoch || caller->epoch < 0)
        return ERR_STALE_MEMBER_EPOCH;
    /* It has not heard of its new epoch yet.  Nobody else can have committed
     * for what it has had all the time. */
    part = parts_find(member->current.assigned, topic, partition);
    if (part == NULL)
        part = parts_find(member->current.revoking, topic, partition);
    return part != NULL && part->epoch <= caller->epoch
               ? ERR_NONE
               : ERR_STALE_MEMBER_EPOCH;
}

enum err consumer_check_fetch(const struct consumer_coord *coord,
                              const struct coord_caller *caller)
{
    const struct cgroup *group = cgroup_find(coord, caller->group);
    const struct cmember *member;

    if (group == NULL)
        return ERR_GROUP_ID_NOT_FOUND;
    if (slice_is_null(caller->member_id) && caller->epoch < 0)
        return ERR_NONE;
    member = cgroup_member(group, caller->member_id);
    if (member == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    if (caller->epoch == member->current.epoch)
        return ERR_NONE;
    return member->profile.classic ? ERR_ILLEGAL_GENERATION
                                   : ERR_STALE_MEMBER_EPOCH;
}

enum group_presence consumer_presence(const struct consumer_coord *coord,
                                      struct slice group)
{
    const struct cgroup *found = cgroup_find(coord, group);

    if (found == NULL)
        return GROUP_PRESENT_NOT;
    return found->size != 0 ? GROUP_PRESENT : GROUP_PRESENT_EMPTY;
}

bool consumer_subscribes(const struct consumer_coord *coord, struct slice group,
                         struct slice topic)
{
    const struct cgroup *found = cgroup_find(coord, group);

    return found != NULL && map_get(&found->subscriptions, topic) != NULL;
}

enum err consumer_delete_records(const struct consumer_coord *coord,
                                 struct slice group,
                                 struct coord_records *records)
{
    const struct cgroup *found = cgroup_find(coord, group);

    if (found == NULL)
        return ERR_GROUP_ID_NOT_FOUND;
    if (found->size != 0)
        return ERR_NON_EMPTY_GROUP;
    cwrite_group_gone(records, found);
    return ERR_NONE;
}
