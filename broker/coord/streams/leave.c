/* Members that go: by themselves, or because they were not heard of.  The next
 * heartbeat of another computes the new target. */
#include "broker/coord/streams/streams.h"

void sgroup_ask_shutdown(struct sgroup *group, struct slice member_id)
{
    if (slice_is_null(group->shutdown_by))
        sgroup_set_text(&group->shutdown_by, member_id);
}

void smember_fence(struct sstep *step, struct smember *member,
                   struct coord_answer *answer)
{
    struct sgroup *group = member->group;
    struct streams_write *write = swrite_new(answer);

    swrite_epoch(&write->pending.records, group->id, group->epoch + 1,
                 group->hash, group->valid_epoch, group->standbys);
    swrite_member_gone(&write->pending.records, group->id, member->id);
    swrite_send(step, write);
}

void sleave_request(struct sstep *step, const struct coord_context *context,
                    const struct streams_group_heartbeat_request *request)
{
    struct coord_answer *answer =
        sanswer_new(context, API_STREAMS_GROUP_HEARTBEAT);
    struct streams_group_heartbeat_response *r =
        &answer->response.streams_group_heartbeat;
    struct sgroup *group = sgroup_find(step->coord, request->group_id);
    struct smember *member =
        group != NULL ? sgroup_member(group, request->member_id) : NULL;

    if (member == NULL) {
        sanswer_fail(answer,
                     group == NULL ? ERR_GROUP_ID_NOT_FOUND
                                   : ERR_UNKNOWN_MEMBER_ID,
                     SLICE_NULL);
        swrite_send(step, swrite_new(answer));
        return;
    }
    if (request->shutdown_application)
        sgroup_ask_shutdown(group, member->id);
    r->member_id = arena_copy(&answer->arena, request->member_id);
    r->member_epoch = request->member_epoch;
    r->status_len = 0;
    smember_fence(step, member, answer);
}
