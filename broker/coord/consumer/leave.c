/* Members that go: by themselves, for a while, or because they were not heard
 * of.  The next heartbeat of another computes the new target. */
#include "broker/coord/consumer/consumer.h"

static void drop_regex(const struct cmember *member,
                       struct coord_records *records)
{
    const struct cgroup *group = member->group;
    const struct cregex *regex;

    if (!cprofile_has_regex(&member->profile))
        return;
    regex = map_get(&group->regexes, member->profile.regex);
    if (regex->members == 1 && regex->resolved)
        cwrite_regex_gone(records, group->id, member->profile.regex);
}

void cmember_fence(struct cstep *step, struct cmember *member,
                   struct coord_answer *answer)
{
    struct cgroup *group = member->group;
    struct consumer_write *write = cwrite_new(answer);
    struct cplan plan = {.group = group, .gone = member};
    struct arena arena;

    arena_init(&arena, 0);
    plan.arena = &arena;
    cwrite_epoch(&write->pending.records, group, group->id, group->epoch + 1,
                 cplan_topics(&plan, step->coord));
    cwrite_member_gone(&write->pending.records, group->id, member->id);
    if (group->size == 1) /* nobody is left who would compute a target */
        cwrite_target_epoch(&write->pending.records, group->id,
                            group->epoch + 1, step->time.wall_ms);
    drop_regex(member, &write->pending.records);
    arena_free(&arena);
    cwrite_send(step, write);
}

/* A static member stops and will be back: nobody gets its partitions before its
 * session is over.  What it was to give up it does not have any more. */
static void leave_for_now(struct cstep *step, const struct cmember *member,
                          struct coord_answer *answer)
{
    struct consumer_write *write = cwrite_new(answer);
    struct ccurrent next = member->current;

    next.epoch = CONSUMER_LEAVES_FOR_NOW;
    next.revoking = PARTS_EMPTY;
    if (!ccurrent_same(&member->current, &next))
        cwrite_current(&write->pending.records, member->group->id, member->id,
                       &next);
    cwrite_send(step, write);
}

void cleave_request(struct cstep *step, const struct coord_context *context,
                    const struct consumer_group_heartbeat_request *request)
{
    struct coord_answer *answer =
        canswer_new(context, API_CONSUMER_GROUP_HEARTBEAT);
    struct consumer_group_heartbeat_response *r =
        &answer->response.consumer_group_heartbeat;
    const struct cgroup *group = cgroup_find(step->coord, request->group_id);
    const struct cmember *member = NULL, *returned;
    enum err err = group == NULL ? ERR_GROUP_ID_NOT_FOUND
                                 : cheartbeat_find(group, request, PARTS_EMPTY,
                                                   &member, &returned);

    r->member_id = arena_copy(&answer->arena, request->member_id);
    r->member_epoch = request->member_epoch;
    if (err != ERR_NONE) {
        canswer_fail(answer, err, NULL);
        cwrite_send(step, cwrite_new(answer));
    } else if (request->member_epoch == CONSUMER_LEAVES_FOR_NOW) {
        leave_for_now(step, member, answer);
    } else {
        cmember_fence(step, (struct cmember *)(uintptr_t)member, answer);
    }
}
