/* From members and a configured topology to a target: who shall have what. */
#include "broker/coord/streams/streams.h"

static void add_member(struct sticky_input *input, struct sticky_member *to,
                       struct slice id, const struct sprofile *profile,
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
        const struct smember *member = entry->value;

        if (member->has_profile && member != plan->replaced)
            add_member(&in, members, member->id, &member->profile,
                       &member->target);
    }
    return in;
}

struct tuple splan_assign(struct splan *plan, struct sstep *step,
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
            swrite_target(records, group_id, in.members[m].id, &out[m]);
    swrite_target_epoch(records, group_id, epoch, step->time.wall_ms);
    if (plan->profile != NULL)
        own = out[0];
    return own;
}

bool sgroup_may_assign(const struct sstep *step, const struct sgroup *group,
                       int64_t *left_ms)
{
    *left_ms = 0;
    if (group == NULL || !group->has_target_record)
        return true;
    int64_t interval =
        sgroup_settings(step->coord, group->id).assignment_interval_ms;
    int64_t age = step->time.wall_ms - group->target_wall_ms;
    if (age < 0 || age >= interval) /* a clock that was set back */
        return true;
    *left_ms = interval - age;
    return false;
}

/* With the topology as it was configured last: a heartbeat that finds it
 * otherwise bumps the epoch. */
void sgroup_assign(struct sstep *step, struct sgroup *group)
{
    struct splan plan = {
        .group = group, .config = group->config, .standbys = group->standbys};
    struct arena arena;

    if (group->config == NULL || group->stale)
        return; /* the next heartbeat does it */
    arena_init(&arena, 0);
    plan.arena = &arena;
    struct streams_write *write = swrite_new(NULL);
    splan_assign(&plan, step, write, group->id, group->epoch);
    arena_free(&arena);
    swrite_send(step, write);
}
