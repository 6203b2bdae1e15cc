/* SyncGroup and Heartbeat of members that use the classic protocol.
 *
 * Such a member is in one of these states, by the group's epoch and its own:
 *
 *   it is behind the group        its heartbeats tell it to join again, as soon
 *                                 as that is of use, and it has its rebalance
 *                                 timeout to do so
 *   it has joined                 SyncGroup gives it what it may have now; it
 *                                 has as long to send that
 *   it was told to give up some   it joins again when it has; so do its
 *                                 heartbeats tell it
 *   it waits for others' to give  heartbeats tell it when all of them are free
 *
 * Rules and errors are those of Kafka's GroupMetadataManager,
 * classicGroupSyncToConsumerGroup() and classicGroupHeartbeatToConsumerGroup();
 * a heartbeat also notices that topics have changed, as it may be that no
 * member of the new protocol is left who would. */
#include "broker/coord/consumer/consumer.h"
#include "broker/coord/consumer/embedded.h"

#include "base/planted.h"

/* The member, if it uses the classic protocol and this generation. */
static enum err find(const struct cgroup *group, struct slice member_id,
                     struct slice instance_id, int32_t generation,
                     struct cmember **member)
{
    enum err err = group == NULL
                       ? ERR_UNKNOWN_MEMBER_ID
                       : cclassic_find(group, member_id, instance_id, member);

    if (err != ERR_NONE)
        return err;
    if (!(*member)->profile.classic)
        return ERR_UNKNOWN_MEMBER_ID;
    return (*member)->current.epoch == generation ? ERR_NONE
                                                  : ERR_ILLEGAL_GENERATION;
}

/* There is a later target, or its next JoinGroup computes one.  Until one may
 * be computed (KIP-1263) it would join in vain. */
static bool is_behind(struct cstep *step, struct cgroup *group,
                      const struct cmember *member)
{
    int64_t left_ms;

    if (member->current.epoch >= group->epoch)
        return false;
    if (member->current.epoch < group->target_epoch ||
        cgroup_may_assign(step, group, &left_ms))
        return true;
    if (!heap_has(&group->assign.node))
        cgroup_assign_later(step, group, left_ms);
    return false;
}

/* ---- SyncGroup -----------------------------------------------------------*/

/* It was told the first of them, or, if it joined before the group was
 * upgraded, another. */
static bool supports(const struct cmember *member, struct slice protocol)
{
    for (uint32_t i = 0; i < member->profile.protocols_len; i++)
        if (slice_eq(member->profile.protocols[i].name, protocol))
            return true;
    return false;
}

static struct slice subscription_of(const struct cmember *member)
{
    return member->profile.protocols_len != 0
               ? member->profile.protocols[0].metadata
               : SLICE("");
}

static enum err check_sync(struct cstep *step, struct cgroup *group,
                           struct cmember *member,
                           const struct sync_group_request *request)
{
    if (!slice_is_null(request->protocol_type) &&
        !slice_eq_str(request->protocol_type, "consumer"))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (!slice_is_null(request->protocol_name) &&
        !supports(member, request->protocol_name))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    /* One that has to give something up has to hear of it first. */
    if (member->current.state != CSTATE_UNREVOKED &&
        is_behind(step, group, member)) {
        cmember_await_join(step->coord, member);
        return ERR_REBALANCE_IN_PROGRESS;
    }
    return ERR_NONE;
}

static void fill_sync(struct cstep *step, struct cmember *member,
                      const struct sync_group_request *request,
                      struct coord_answer *answer)
{
    struct sync_group_response *r = &answer->response.sync_group;
    struct parts set = PLANTED(MIGRATION_SYNCS_TARGET)
                           ? member->target
                           : member->current.assigned;

    r->protocol_type = arena_copy(&answer->arena, request->protocol_type);
    r->protocol_name = arena_copy(&answer->arena, request->protocol_name);
    r->assignment = embedded_put(set, &step->coord->world,
                                 subscription_of(member), &answer->arena);
    heap_remove(&step->coord->timers, &member->sync.node);
    cmember_heard(step->coord, member);
}

/* The assignment leaves when all that is in the log is committed. */
void csync_request(struct cstep *step, const struct coord_context *context,
                   const struct sync_group_request *request)
{
    struct coord_answer *answer =
        coord_refuse(context, API_SYNC_GROUP, request, ERR_NONE);
    struct cgroup *group = cgroup_find(step->coord, request->group_id);
    struct cmember *member;
    enum err err = find(group, request->member_id, request->group_instance_id,
                        request->generation_id, &member);

    if (err == ERR_NONE)
        err = check_sync(step, group, member, request);
    if (err == ERR_NONE)
        fill_sync(step, member, request, answer);
    else
        coord_answer_fail(answer, err);
    cwrite_send(step, cwrite_new(answer));
}

/* ---- Heartbeat -----------------------------------------------------------*/

/* Some of its target is still another's. */
static bool is_waiting(const struct cmember *member)
{
    for (uint32_t i = 0; i < member->target.len; i++) {
        const struct part *p = &member->target.items[i];
        const struct cmember *owner =
            cgroup_owner(member->group, p->topic, p->partition);

        if (owner != NULL && parts_find(member->current.assigned, p->topic,
                                        p->partition) == NULL)
            return true;
    }
    return false;
}

static bool must_join(struct cstep *step, struct cgroup *group,
                      const struct cmember *member)
{
    return is_behind(step, group, member) ||
           member->current.state == CSTATE_UNREVOKED ||
           (member->current.state == CSTATE_UNRELEASED && !is_waiting(member));
}

/* Topics may have changed: then there is a new epoch to be told of. */
static void look_at_topics(struct cstep *step, struct cgroup *group,
                           struct consumer_write *write)
{
    struct cplan plan = {.group = group};
    struct arena arena;
    int64_t hash;

    if (!group->stale)
        return;
    arena_init(&arena, 0);
    plan.arena = &arena;
    hash = cplan_topics(&plan, step->coord);
    arena_free(&arena);
    if (hash == group->hash)
        group->stale = false;
    else
        cwrite_epoch(&write->pending.records, group, group->id,
                     group->epoch + 1, hash);
}

void cclassic_heartbeat_request(struct cstep *step,
                                const struct coord_context *context,
                                const struct heartbeat_request *request)
{
    struct coord_answer *answer =
        coord_refuse(context, API_HEARTBEAT, request, ERR_NONE);
    struct consumer_write *write = cwrite_new(answer);
    struct cgroup *group = cgroup_find(step->coord, request->group_id);
    struct cmember *member;
    enum err err = find(group, request->member_id, request->group_instance_id,
                        request->generation_id, &member);

    if (err == ERR_NONE) {
        cmember_heard(step->coord, member);
        look_at_topics(step, group, write);
        if (must_join(step, group, member) ||
            write->pending.records.count != 0) {
            cmember_await_join(step->coord, member);
            err = ERR_REBALANCE_IN_PROGRESS;
        }
    }
    answer->response.heartbeat.error_code = err_wire(err);
    cwrite_send(step, write);
}
