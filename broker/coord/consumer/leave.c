/* Members that go: by themselves, for a while, or because they were not heard
 * of.  The next heartbeat of another computes the new target. */
#include "broker/coord/consumer/consumer.h"

/* Once for each regex that nobody is left for. */
static void drop_regex(const struct cmember *member,
                       struct coord_records *records)
{
    const struct cgroup *group = member->group;
    struct cregex *regex;

    if (!cprofile_has_regex(&member->profile))
        return;
    regex = map_get(&group->regexes, member->profile.regex);
    if (++regex->leaving == regex->members && regex->resolved)
        cwrite_regex_gone(records, group->id, member->profile.regex);
}

static void unmark(struct cmember *member)
{
    struct cregex *regex =
        map_get(&member->group->regexes, member->profile.regex);

    member->leaving = false;
    if (regex != NULL)
        regex->leaving = 0;
}

/* The group without them, at its next epoch. */
static void remove_leaving(struct cstep *step, struct consumer_write *write,
                           const struct cgroup *group, uint32_t leaving_len)
{
    struct coord_records *records = &write->pending.records;
    struct cplan plan = {.group = group};
    struct arena arena;

    arena_init(&arena, 0);
    plan.arena = &arena;
    cwrite_epoch(records, group, group->id, group->epoch + 1,
                 cplan_topics(&plan, step->coord));
    MAP_EACH (entry, &group->members) {
        if (((const struct cmember *)entry->value)->leaving)
            cwrite_member_gone(records, group->id, entry->key);
    }
    if (group->size == leaving_len) /* nobody computes a target any more */
        cwrite_target_epoch(records, group->id, group->epoch + 1,
                            step->time.wall_ms);
    MAP_EACH (entry, &group->members) {
        if (((const struct cmember *)entry->value)->leaving)
            drop_regex(entry->value, records);
    }
    arena_free(&arena);
}

void cmembers_fence(struct cstep *step, struct cgroup *group,
                    uint32_t leaving_len, struct coord_answer *answer)
{
    struct consumer_write *write = cwrite_new(answer);

    if (!cdowngrade_is_due(step->coord, group, leaving_len, NULL) ||
        !cdowngrade(step, write, group, NULL, true))
        remove_leaving(step, write, group, leaving_len);
    MAP_EACH (entry, &group->members)
        unmark(entry->value);
    cwrite_send(step, write);
}

void cmember_fence(struct cstep *step, struct cmember *member,
                   struct coord_answer *answer)
{
    member->leaving = true;
    cmembers_fence(step, member->group, 1, answer);
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
