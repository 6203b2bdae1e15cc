/* LeaveGroup for a consumer group: members go at once, all that it names by one
 * write.  As in classic groups it names several from version 3 on, and an
 * administrator can remove static members by their instance alone (KIP-345),
 * those of the new protocol, too.
 *
 * Rules are those of Kafka's GroupMetadataManager,
 * classicGroupLeaveToConsumerGroup(). */
#include "broker/coord/consumer/consumer.h"

enum { FIRST_BATCH_VERSION = 3 };

static enum err find(const struct cgroup *group,
                     const struct leave_group_request_member_identity *who,
                     struct cmember **member)
{
    if (slice_is_null(who->group_instance_id) || who->member_id.len != 0)
        return cclassic_find(group, who->member_id, who->group_instance_id,
                             member);
    *member = cgroup_static(group, who->group_instance_id);
    return *member != NULL ? ERR_NONE : ERR_UNKNOWN_MEMBER_ID;
}

/* Returns how many leave. */
static uint32_t mark(const struct cgroup *group,
                     const struct leave_group_request_member_identity *who,
                     int32_t who_len, struct coord_answer *answer)
{
    struct leave_group_response *r = &answer->response.leave_group;
    uint32_t leaving = 0;

    r->members_len = who_len;
    r->members =
        arena_array(&answer->arena, (size_t)who_len, sizeof *r->members);
    for (int32_t i = 0; i < who_len; i++) {
        struct cmember *member = NULL;
        enum err err = group != NULL ? find(group, &who[i], &member)
                                     : ERR_UNKNOWN_MEMBER_ID;

        if (err == ERR_NONE && !member->leaving) {
            member->leaving = true;
            leaving++;
        }
        r->members[i] = (struct leave_group_response_member_response){
            .member_id = arena_copy(&answer->arena, who[i].member_id),
            .group_instance_id =
                arena_copy(&answer->arena, who[i].group_instance_id),
            .error_code = err_wire(err),
        };
    }
    return leaving;
}

void cleave_group_request(struct cstep *step,
                          const struct coord_context *context,
                          const struct leave_group_request *request)
{
    struct coord_answer *answer =
        coord_refuse(context, API_LEAVE_GROUP, request, ERR_NONE);
    struct leave_group_response *r = &answer->response.leave_group;
    struct leave_group_request_member_identity one = {request->member_id,
                                                      SLICE_NULL, SLICE_NULL};
    bool batch = context->version >= FIRST_BATCH_VERSION;
    struct cgroup *group = cgroup_find(step->coord, request->group_id);
    uint32_t leaving = mark(group, batch ? request->members : &one,
                            batch ? request->members_len : 1, answer);

    if (!batch) {
        r->error_code = r->members[0].error_code;
        r->members_len = 0;
    }
    if (leaving != 0)
        cmembers_fence(step, group, leaving, answer);
    else
        cwrite_send(step, cwrite_new(answer));
}
