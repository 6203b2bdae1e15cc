/* Members that go: by themselves, or because they were not heard of.  The next
 * heartbeat of another computes the new target. */
#include "broker/coord/excerpt.h"
#include "broker/coord/streams/streams.h"

void stgroup_ask_shutdown(struct stgroup *group, struct slice member_id)
{
    if (slice_is_null(group->shutdown_by))
        stgroup_set_excerpt(&group->shutdown_by, member_id, COORD_QUOTE_BYTES);
}

void stmember_fence(struct ststep *step, struct stmember *member,
                    struct coord_answer *answer)
{
    struct stgroup *group = member->group;
    struct streams_write *write = stwrite_new(answer);

    stwrite_epoch(&write->pending.records, group->id, group->epoch + 1,
                  group->hash, group->valid_epoch, group->standbys);
    stwrite_member_gone(&write->pending.records, group->id, member->id);
    stwrite_send(step, write);
}

void stleave_request(struct ststep *step, const struct coord_context *context,
                     const struct streams_group_heartbeat_request *request)
{
    struct coord_answer *answer =
        stanswer_new(context, API_STREAMS_GROUP_HEARTBEAT);
    struct streams_group_heartbeat_response *r =
        &answer->response.streams_group_heartbeat;
    struct stgroup *group = stgroup_find(step->coord, request->group_id);
    struct stmember *member =
        group != NULL ? stgroup_member(group, request->member_id) : NULL;

    if (member == NULL) {
        stanswer_fail(answer,
                      group == NULL ? ERR_GROUP_ID_NOT_FOUND
                                    : ERR_UNKNOWN_MEMBER_ID,
                      SLICE_NULL);
        stwrite_send(step, stwrite_new(answer));
        return;
    }
    if (request->shutdown_application)
        stgroup_ask_shutdown(group, member->id);
    r->member_id = arena_copy(&answer->arena, request->member_id);
    r->member_epoch = request->member_epoch;
    r->status_len = 0;
    stmember_fence(step, member, answer);
}
