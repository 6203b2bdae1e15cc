/* SyncGroup: the leader's assignments go into the log, and from there to
 * everybody.
 *
 * Nobody sees an assignment before its record is committed.  The first one of a
 * generation counts: a leader that sends SyncGroup again, because it got no
 * answer, waits for the result of the first. */
#include "base/planted.h"
#include "broker/coord/group.h"

#include <stdlib.h>

static void refuse(struct step *step, const struct coord_context *context,
                   enum err err)
{
    struct coord_answer *answer =
        answer_new(context->token, API_SYNC_GROUP, context->version);

    answer->response.sync_group.error_code = err_wire(err);
    answer_send(step, answer);
}

/* The request's assignments for members that there are, in one block. */
static void copy_assignments(struct coord_write *write,
                             const struct group *group,
                             const struct sync_group_request *request)
{
    size_t bytes =
        (size_t)request->assignments_len * sizeof *request->assignments + 1;

    for (int32_t i = 0; i < request->assignments_len; i++)
        if (member_find(group, request->assignments[i].member_id) != NULL)
            bytes += request->assignments[i].member_id.len +
                     request->assignments[i].assignment.len;
    write->assignments = xmalloc(bytes);
    uint8_t *at = (uint8_t *)(write->assignments + request->assignments_len);
    for (int32_t i = 0; i < request->assignments_len; i++) {
        struct slice id = request->assignments[i].member_id;
        struct slice assignment = request->assignments[i].assignment;

        if (member_find(group, id) == NULL)
            continue;
        memcpy(at, id.data, id.len);
        if (assignment.len != 0)
            memcpy(at + id.len, assignment.data, assignment.len);
        write->assignments[write->assignments_len++] =
            (struct sync_group_request_assignment){
                slice_of(at, id.len), slice_of(at + id.len, assignment.len)};
        at += id.len + assignment.len;
    }
}

static void write_assignments(struct step *step, struct group *group,
                              const struct sync_group_request *request)
{
    struct coord_write *write = write_new(COORD_WRITE_SYNC);

    group_set_text(&write->group, group_id(group));
    write->generation = group->generation;
    copy_assignments(write, group, request);
    write_group(write, group, write->assignments, write->assignments_len);
    group->roster->sync_in_flight = write;
    write_send(step, write);
}

static void set_assignments(struct step *step, struct group *group,
                            const struct coord_write *write)
{
    LIST_EACH (node, &group->roster->members)
        member_set_assignment(step->coord,
                              LIST_ENTRY(node, struct member, link), SLICE(""));
    for (int32_t i = 0; i < write->assignments_len; i++) {
        struct member *m = member_find(group, write->assignments[i].member_id);
        if (m != NULL)
            member_set_assignment(step->coord, m,
                                  write->assignments[i].assignment);
    }
}

void sync_done(struct step *step, struct coord_write *write, enum err err)
{
    struct group *group = group_find(step->coord, write->group);

    /* There is a later generation, or another group: one that was deleted and
     * made again may have the same generation. */
    if (group == NULL || group->roster == NULL ||
        group->roster->sync_in_flight != write)
        return;
    group->roster->sync_in_flight = NULL;
    /* A rebalance that has begun meanwhile has failed the parked requests. */
    if (group->state != GROUP_COMPLETING_REBALANCE)
        return;
    if (err != ERR_NONE) {
        rebalance_fail_syncs(step, group, coord_append_error(err));
        rebalance_prepare(step, group, "assignments could not be stored");
        return;
    }
    set_assignments(step, group, write);
    rebalance_hand_out(step, group);
    group_set_state(group, GROUP_STABLE, step->wall_ms);
    expire_arm_group(step->coord, group);
}

/* ---- the request ---------------------------------------------------------*/

static bool differs(struct slice asked, struct slice have)
{
    return !slice_is_null(asked) && !slice_is_null(have) &&
           !slice_eq(asked, have);
}

/* It was a consumer group, which may have named another protocol to each. */
static bool is_handed_over(const struct group *group)
{
    return group->roster->unled && group->state == GROUP_PREPARING_REBALANCE;
}

static enum err check(const struct coord *coord, const struct group *group,
                      const struct sync_group_request *request)
{
    if (group == NULL || group->state == GROUP_EMPTY)
        return ERR_UNKNOWN_MEMBER_ID;
    enum err err =
        member_check(group, request->member_id, request->group_instance_id);
    if (err != ERR_NONE)
        return err;
    if (request->generation_id != group->generation)
        return ERR_ILLEGAL_GENERATION;
    if (is_handed_over(group))
        return ERR_REBALANCE_IN_PROGRESS;
    if (differs(request->protocol_type, group->protocol_type) ||
        differs(request->protocol_name, group->protocol_name))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (group->state == GROUP_PREPARING_REBALANCE)
        return ERR_REBALANCE_IN_PROGRESS;
    /* It was loaded, and what it says could still be lost. */
    if (group->state == GROUP_STABLE &&
        group->loaded_offset >= coord->committed)
        return ERR_REBALANCE_IN_PROGRESS;
    return ERR_NONE;
}

void sync_request(struct step *step, const struct coord_context *context,
                  const struct sync_group_request *request)
{
    struct group *group = group_find(step->coord, request->group_id);
    enum err err = request->group_id.len == 0
                       ? ERR_INVALID_GROUP_ID
                       : check(step->coord, group, request);

    if (err != ERR_NONE) {
        refuse(step, context, err);
        return;
    }
    struct roster *roster = group->roster;
    struct member *m = member_find(group, request->member_id);
    member_park_sync(step, m, context);
    member_set_owes_sync(m, false);
    if (roster->syncs_owed == 0)
        heap_remove(&step->coord->timers, &roster->sync.node);
    if (group->state == GROUP_STABLE ||
        (PLANTED(GROUPS_HAND_OUT_OLD) && roster->leader != m &&
         m->assignment.len != 0))
        rebalance_hand_out(step, group); /* nobody else is waiting */
    else if (roster->leader == m && roster->sync_in_flight == NULL)
        write_assignments(step, group, request);
}
