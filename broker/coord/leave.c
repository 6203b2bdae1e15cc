/* LeaveGroup: members go at once, without waiting for their sessions to end.
 *
 * Versions 3 and later name several members (KIP-345); a static member can be
 * removed by its instance id alone, by an administrator.  When the last member
 * has left, the answer waits until the record that says so is committed. */
#include "broker/coord/group.h"

enum { FIRST_BATCH_VERSION = 3 };

static enum err leave(struct step *step, struct group *group,
                      const struct leave_group_request_member_identity *who)
{
    struct pending_member *pending = pending_find(group, who->member_id);
    struct member *m = NULL;

    if (who->member_id.len == 0) {
        m = member_find_static(group, who->group_instance_id);
    } else if (pending != NULL) {
        pending_remove(step->coord, pending);
        return ERR_NONE;
    } else {
        enum err err =
            member_check(group, who->member_id, who->group_instance_id);
        if (err != ERR_NONE)
            return err;
        m = member_find(group, who->member_id);
    }
    if (m == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    rebalance_take_out(step, m);
    return ERR_NONE;
}

/* True if anybody has left. */
static bool leave_all(struct step *step, struct group *group,
                      const struct leave_group_request_member_identity *who,
                      int32_t who_len, struct coord_answer *answer)
{
    struct leave_group_response *r = &answer->response.leave_group;
    bool any = false;

    r->members_len = who_len;
    r->members =
        arena_array(&answer->arena, (size_t)who_len, sizeof *r->members);
    for (int32_t i = 0; i < who_len; i++) {
        enum err err =
            group != NULL ? leave(step, group, &who[i]) : ERR_UNKNOWN_MEMBER_ID;

        any = any || err == ERR_NONE;
        r->members[i] = (struct leave_group_response_member_response){
            .member_id = arena_copy(&answer->arena, who[i].member_id),
            .group_instance_id =
                arena_copy(&answer->arena, who[i].group_instance_id),
            .error_code = err_wire(err),
        };
    }
    return any;
}

static void after_leave(struct step *step, struct group *group)
{
    switch (group->state) {
    case GROUP_STABLE:
    case GROUP_COMPLETING_REBALANCE:
        rebalance_prepare(step, group, "members left");
        break;
    case GROUP_PREPARING_REBALANCE:
        rebalance_complete_if_joined(step, group);
        break;
    case GROUP_EMPTY:
        group_drop_if_hollow(step->coord, group);
        break;
    }
}

/* Sent now, or with the record that the group became empty. */
static void send(struct step *step, struct coord_answer *answer)
{
    struct list *last = step->update->writes.prev;

    if (last == &step->update->writes) {
        answer_send(step, answer);
        return;
    }
    struct coord_write *write =
        LIST_ENTRY(last, struct coord_write, pending.link);
    ASSERT(write->kind == COORD_WRITE_PLAIN && write->answer == NULL);
    write->answer = answer;
}

void leave_request(struct step *step, const struct coord_context *context,
                   const struct leave_group_request *request)
{
    struct coord_answer *answer =
        answer_new(context->token, API_LEAVE_GROUP, context->version);
    struct leave_group_response *r = &answer->response.leave_group;
    struct leave_group_request_member_identity one = {request->member_id,
                                                      SLICE_NULL, SLICE_NULL};
    bool batch = context->version >= FIRST_BATCH_VERSION;
    struct group *group = group_find(step->coord, request->group_id);

    if (request->group_id.len == 0) {
        r->error_code = ERR_INVALID_GROUP_ID;
        answer_send(step, answer);
        return;
    }
    bool left = leave_all(step, group, batch ? request->members : &one,
                          batch ? request->members_len : 1, answer);
    if (!batch) {
        r->error_code = r->members[0].error_code;
        r->members_len = 0;
    }
    if (left)
        after_leave(step, group);
    send(step, answer);
}
