/* From members and a configured topology to a target: who shall have what. */
#include "broker/coord/streams/streams.h"

static void add_member(struct sticky_input *input, struct sticky_member *to,
                       struct slice id, const struct stprofile *profile,
                       const struct tuple *target)
{
    to[input->members_len++] =
        (struct sticky_member){id, profile->process_id, *target};
}

/* The one that comes is the first. */
static struct sticky_input input_of(const struct splan *plan)
{
    struct sticky_input in = {.standbys = plan->standbys};
    uint32_t room = 1 + (plan->group != NULL ? plan->group->size : 0);
    struct sticky_member *members =
        arena_array(plan->arena, room, sizeof *members);

    if (plan->config->ready) {
        in.subs = plan->config->subs;
        in.subs_len = plan->config->subs_len;
    }
    in.members = members;
    if (plan->profile != NULL)
        add_member(&in, members, plan->id, plan->profile, &plan->target);
    if (plan->group == NULL)
        return in;
    MAP_EACH (entry, &plan->group->members) {
        const struct stmember *member = entry->value;

        if (member->has_profile && member != plan->replaced)
            add_member(&in, members, member->id, &member->profile,
                       &member->target);
    }
    return in;
}

struct tuple splan_assign(struct splan *plan, struct ststep *step,
                          struct streams_write *write, struct slice group_id,
                          int32_t epoch)
{
    struct coord_records *records = &write->pending.records;
    struct sticky_input in = input_of(plan);
    struct tuple *out = arena_array(plan->arena, in.members_len, sizeof *out);
    struct tuple own = {0};

    streams_assign_sticky(&in, plan->arena, out);
    for (uint32_t m = 0; m < in.members_len; m++)
        if (!tuple_eq(&out[m], &in.members[m].owned))
            stwrite_target(records, group_id, in.members[m].id, &out[m]);
    stwrite_target_epoch(records, group_id, epoch, step->time.wall_ms);
    if (plan->profile != NULL)
        own = out[0];
    return own;
}

bool stgroup_may_assign(const struct ststep *step, const struct stgroup *group,
                        int64_t *left_ms)
{
    *left_ms = 0;
    if (group == NULL || !group->has_target_record)
        return true;
    int64_t interval =
        stgroup_settings(step->coord, group->id).assignment_interval_ms;
    int64_t age = step->time.wall_ms - group->target_wall_ms;
    if (age < 0 || age >= interval) /* a clock that was set back */
        return true;
    *left_ms = interval - age;
    return false;
}

/* With the topology as it was configured last: a heartbeat that finds it
 * otherwise bumps the epoch. */
void stgroup_assign(struct ststep *step, struct stgroup *group)
{
    struct splan plan = {
        .group = group, .config = group->config, .standbys = group->standbys};
    struct arena arena;

    if (group->config == NULL || group->stale)
        return; /* the next heartbeat does it */
    arena_init(&arena, 0);
    plan.arena = &arena;
    struct streams_write *write = stwrite_new(NULL);
    splan_assign(&plan, step, write, group->id, group->epoch);
    arena_free(&arena);
    stwrite_send(step, write);
}
