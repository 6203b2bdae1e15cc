/* Whether a heartbeat may be believed: what it must look like, and whose it is
 * (KIP-848, "Request Validation" of ConsumerGroupHeartbeat, and "Static
 * Membership"). */
#include "broker/coord/consumer/consumer.h"

/* From this version on members choose their ids (KIP-1082). */
enum { OWN_IDS_FROM = 1 };

static bool is_empty(struct slice text)
{
    return !slice_is_null(text) && text.len == 0;
}

/* A member that comes, or comes back, says everything and owns nothing. */
static enum err
validate_joining(const struct consumer_group_heartbeat_request *request,
                 const char **why)
{
    if (request->rebalance_timeout_ms <= 0)
        *why = "RebalanceTimeoutMs must be provided in first request.";
    else if (request->topic_partitions_len != 0)
        *why = "TopicPartitions must be empty when (re-)joining.";
    else if (request->subscribed_topic_names_len < 0 &&
             slice_is_null(request->subscribed_topic_regex))
        *why = "Either SubscribedTopicNames or SubscribedTopicRegex must be "
               "non-null when (re-)joining.";
    return *why != NULL ? ERR_INVALID_REQUEST : ERR_NONE;
}

static enum err
validate_shape(int16_t version,
               const struct consumer_group_heartbeat_request *request,
               const char **why)
{
    int32_t epoch = request->member_epoch;
    bool may_lack_id = version < OWN_IDS_FROM && epoch == CONSUMER_JOINS;

    if (request->group_id.len == 0)
        *why = "GroupId can't be empty.";
    else if (is_empty(request->instance_id))
        *why = "InstanceId can't be empty.";
    else if (is_empty(request->rack_id))
        *why = "RackId can't be empty.";
    else if (request->member_id.len == 0 && !may_lack_id)
        *why = "MemberId can't be empty.";
    else if (epoch < CONSUMER_LEAVES_FOR_NOW)
        *why = "MemberEpoch is invalid.";
    else if (epoch == CONSUMER_LEAVES_FOR_NOW &&
             slice_is_null(request->instance_id))
        *why = "InstanceId can't be null.";
    return *why != NULL ? ERR_INVALID_REQUEST : ERR_NONE;
}

static bool has_assignor(const struct consumer_config *config,
                         struct slice name)
{
    for (uint32_t i = 0; i < config->group_consumer_assignors_len; i++)
        if (slice_eq(config->group_consumer_assignors[i], name))
            return true;
    return false;
}

enum err
cheartbeat_validate(const struct consumer_coord *coord, int16_t version,
                    const struct consumer_group_heartbeat_request *request,
                    const char **why)
{
    *why = NULL;
    enum err err = validate_shape(version, request, why);
    if (err == ERR_NONE && request->member_epoch == CONSUMER_JOINS)
        err = validate_joining(request, why);
    if (err != ERR_NONE || request->member_epoch < 0)
        return err;
    if (!slice_is_null(request->server_assignor) &&
        !has_assignor(&coord->config, request->server_assignor))
        return ERR_UNSUPPORTED_ASSIGNOR;
    return ERR_NONE;
}

struct parts
cheartbeat_owned(struct arena *arena,
                 const struct consumer_group_heartbeat_request *request)
{
    uint32_t room = 0, len = 0;

    for (int32_t t = 0; t < request->topic_partitions_len; t++)
        room += (uint32_t)request->topic_partitions[t].partitions_len;
    struct part *items = arena_array(arena, room, sizeof *items);
    for (int32_t t = 0; t < request->topic_partitions_len; t++)
        for (int32_t i = 0; i < request->topic_partitions[t].partitions_len;
             i++)
            items[len++] =
                (struct part){request->topic_partitions[t].topic_id,
                              request->topic_partitions[t].partitions[i], 0};
    return parts_of(items, len);
}

/* ---- whose it is ---------------------------------------------------------*/

/* An older epoch is taken only if it is the last one and the member owns
 * nothing that it must not: then the answer that told it of the new epoch was
 * lost.  Epoch 0 is for one who gave up everything, so it may always come back
 * (as in Kafka from 4.0.1 on). */
static enum err check_epoch(const struct cmember *member, int32_t epoch,
                            bool owned_known, struct parts owned)
{
    const struct ccurrent *current = &member->current;

    if (epoch == CONSUMER_JOINS || epoch == current->epoch)
        return ERR_NONE;
    if (epoch < current->epoch && epoch == current->previous_epoch &&
        owned_known && parts_contain(current->assigned, owned))
        return ERR_NONE;
    return ERR_FENCED_MEMBER_EPOCH;
}

/* A static member's id is found by its instance, and is new each time. */
static enum err find_joining_static(const struct cgroup *group,
                                    struct slice instance_id,
                                    struct slice member_id,
                                    const struct cmember **member,
                                    const struct cmember **returned)
{
    const struct cmember *present = cgroup_static(group, instance_id);

    *member = NULL;
    *returned = NULL;
    if (present == NULL) {
        /* The id of a member that is somebody else. */
        *member = cgroup_member(group, member_id);
        return ERR_NONE;
    }
    if (slice_eq(present->id, member_id) &&
        present->current.epoch != CONSUMER_LEAVES_FOR_NOW)
        *member = present; /* its first answer was lost */
    else if (present->current.epoch == CONSUMER_LEAVES_FOR_NOW ||
             present->profile.classic)
        *returned = present; /* one of the classic protocol does not say that
                                it will be back */
    else
        return ERR_UNRELEASED_INSTANCE_ID;
    return ERR_NONE;
}

static enum err find_static(const struct cgroup *group,
                            struct slice instance_id, struct slice member_id,
                            const struct cmember **member)
{
    *member = cgroup_static(group, instance_id);
    if (*member == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    return slice_eq((*member)->id, member_id) ? ERR_NONE
                                              : ERR_FENCED_INSTANCE_ID;
}

enum err cheartbeat_find(const struct cgroup *group,
                         const struct consumer_group_heartbeat_request *request,
                         struct parts owned, const struct cmember **member,
                         const struct cmember **returned)
{
    bool joins = request->member_epoch == CONSUMER_JOINS;
    enum err err = ERR_NONE;

    *returned = NULL;
    if (slice_is_null(request->instance_id))
        *member = cgroup_member(group, request->member_id);
    else if (joins)
        err = find_joining_static(group, request->instance_id,
                                  request->member_id, member, returned);
    else
        err = find_static(group, request->instance_id, request->member_id,
                          member);
    if (err != ERR_NONE)
        return err;
    if (*member == NULL)
        return joins ? ERR_NONE : ERR_UNKNOWN_MEMBER_ID;
    if (request->member_epoch < 0)
        return ERR_NONE; /* it leaves, whatever its epoch was */
    return check_epoch(*member, request->member_epoch,
                       request->topic_partitions_len >= 0, owned);
}
