/* Heartbeat: shows that a member lives, tells it of a rebalance. */
#include "broker/coord/group.h"

static enum err heartbeat(struct step *step,
                          const struct heartbeat_request *request)
{
    struct group *group = group_find(step->coord, request->group_id);

    if (request->group_id.len == 0)
        return ERR_INVALID_GROUP_ID;
    if (group == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    enum err err =
        member_check(group, request->member_id, request->group_instance_id);
    if (err != ERR_NONE)
        return err;
    if (request->generation_id != group->generation)
        return ERR_ILLEGAL_GENERATION;
    struct member *m = member_find(group, request->member_id);
    member_heard(step, m, m->session_timeout_ms);
    /* While the rebalance is being completed its members already know. */
    return group->state == GROUP_PREPARING_REBALANCE ? ERR_REBALANCE_IN_PROGRESS
                                                     : ERR_NONE;
}

void heartbeat_request(struct step *step, const struct coord_context *context,
                       const struct heartbeat_request *request)
{
    struct coord_answer *answer =
        answer_new(context->token, API_HEARTBEAT, context->version);

    answer->response.heartbeat.error_code = err_wire(heartbeat(step, request));
    answer_send(step, answer);
}
