/* The rebalance of a group, from the first parked JoinGroup to the assignments
 * in everybody's hands.
 *
 *     Empty ---> PreparingRebalance ---> CompletingRebalance ---> Stable
 *       ^             |      ^                  |                   |
 *       +-------------+      +------------------+-------------------+
 *
 * PreparingRebalance ends when all known members have joined, or when the
 * largest of their rebalance timeouts is over: then dynamic members that did
 * not come back are removed, static ones stay until their session ends.  The
 * first rebalance of an empty group waits for more members instead: for
 * group.initial.rebalance.delay.ms, again as long as new ones keep coming, at
 * most for the rebalance timeout.
 *
 * CompletingRebalance ends with the leader's assignments in the log (sync.c).
 * Members that do not send SyncGroup within the rebalance timeout are removed,
 * and it starts again. */
#include "broker/coord/group.h"

#include "base/log.h"

/* ---- answers -------------------------------------------------------------*/

static void fill_members(struct coord_answer *answer, const struct group *group)
{
    struct join_group_response *r = &answer->response.join_group;
    int32_t i = 0;

    r->members_len = (int32_t)group_size(group);
    r->members =
        arena_array(&answer->arena, group_size(group), sizeof *r->members);
    LIST_EACH (node, &group->roster->members) {
        const struct member *m = LIST_ENTRY(node, struct member, link);

        r->members[i++] = (struct join_group_response_member){
            .member_id = arena_copy(&answer->arena, m->id),
            .group_instance_id = arena_copy(&answer->arena, m->instance_id),
            .metadata = arena_copy(&answer->arena,
                                   member_metadata(m, group->protocol_name)),
        };
    }
}

void rebalance_answer_join(struct step *step, struct member *member,
                           struct slice leader, bool with_members,
                           bool skip_assignment)
{
    const struct group *group = member->group;
    struct parked parked;

    if (!member_unpark_join(member, &parked))
        return;
    struct coord_answer *answer =
        answer_new(parked.token, API_JOIN_GROUP, parked.version);
    struct join_group_response *r = &answer->response.join_group;
    r->generation_id = group->generation;
    r->protocol_type = arena_copy(&answer->arena, group->protocol_type);
    r->protocol_name = arena_copy(&answer->arena, group->protocol_name);
    r->leader = arena_copy(&answer->arena, leader);
    r->member_id = arena_copy(&answer->arena, member->id);
    r->skip_assignment = skip_assignment;
    if (with_members)
        fill_members(answer, group);
    answer_send(step, answer);
}

void rebalance_fail_syncs(struct step *step, struct group *group, enum err err)
{
    LIST_EACH (node, &group->roster->members) {
        struct member *m = LIST_ENTRY(node, struct member, link);

        member_set_assignment(step->coord, m, SLICE_NULL);
        if (m->sync.waiting)
            member_heard(step, m, m->session_timeout_ms);
        answer_sync_error(step, m, err);
    }
}

void rebalance_hand_out(struct step *step, struct group *group)
{
    LIST_EACH (node, &group->roster->members) {
        struct member *m = LIST_ENTRY(node, struct member, link);
        struct parked parked;

        if (!member_unpark_sync(m, &parked))
            continue;
        struct coord_answer *answer =
            answer_new(parked.token, API_SYNC_GROUP, parked.version);
        struct sync_group_response *r = &answer->response.sync_group;
        r->protocol_type = arena_copy(&answer->arena, group->protocol_type);
        r->protocol_name = arena_copy(&answer->arena, group->protocol_name);
        r->assignment = slice_is_null(m->assignment)
                            ? SLICE("")
                            : arena_copy(&answer->arena, m->assignment);
        answer_send(step, answer);
        /* A session that ended while it was parked did not count. */
        member_heard(step, m, m->session_timeout_ms);
    }
}

/* ---- the end of the join phase -------------------------------------------*/

static void remove_absent(struct step *step, struct group *group)
{
    LIST_EACH_SAFE (node, next, &group->roster->members) {
        struct member *m = LIST_ENTRY(node, struct member, link);

        if (m->join.waiting || !slice_is_null(m->instance_id))
            continue;
        log_info("groups", "group %.*s: %.*s did not rejoin in time, removed",
                 SLICE_FMT(group_id(group)), SLICE_FMT(m->id));
        rebalance_take_out(step, m);
    }
}

/* The leader must have joined; else the first member that has takes over. */
static bool elect_joined_leader(struct roster *roster)
{
    if (roster->leader == NULL)
        return false;
    if (roster->leader->join.waiting)
        return true;
    LIST_EACH (node, &roster->members) {
        struct member *m = LIST_ENTRY(node, struct member, link);
        if (m->join.waiting) {
            roster->leader = m;
            return true;
        }
    }
    return false;
}

/* Nobody has joined of those that are left, however often it is looked at: not
 * more often than this, though their timeout may be 0. */
enum { ABSENT_CHECK_MIN_MS = 1000 };

static int64_t absent_check_ms(const struct group *group)
{
    int32_t timeout = group_rebalance_timeout_ms(group);

    return timeout > ABSENT_CHECK_MIN_MS ? timeout : ABSENT_CHECK_MIN_MS;
}

static void set_join_timer(struct step *step, struct group *group,
                           int64_t delay_ms)
{
    heap_set(&step->coord->timers, &group->roster->join.node,
             step->now_ms + delay_ms);
}

static void clear_sync_phase(struct step *step, struct group *group)
{
    LIST_EACH (node, &group->roster->members)
        member_set_owes_sync(LIST_ENTRY(node, struct member, link), false);
    heap_remove(&step->coord->timers, &group->roster->sync.node);
}

static void become_empty(struct step *step, struct group *group)
{
    struct coord_write *write = write_new(COORD_WRITE_PLAIN);

    group_set_text(&group->protocol_name, SLICE_NULL);
    group_set_state(group, GROUP_EMPTY, step->wall_ms);
    group_set_text(&write->group, group_id(group));
    write->generation = group->generation;
    write_group(write, group, NULL, 0);
    write_send(step, write);
    if (map_count(&group->roster->pending) == 0)
        group_drop_roster(step->coord, group);
    expire_arm_group(step->coord, group);
    log_info("groups", "group %.*s is empty with generation %d",
             SLICE_FMT(group_id(group)), group->generation);
}

static void start_generation(struct step *step, struct group *group)
{
    struct roster *roster = group->roster;

    group_set_text(&group->protocol_name, group_vote(group));
    group_learn_topics(group);
    roster->unled = false;
    roster->sync_in_flight = NULL; /* of the generation before */
    group_set_state(group, GROUP_COMPLETING_REBALANCE, step->wall_ms);
    LIST_EACH (node, &roster->members) {
        struct member *m = LIST_ENTRY(node, struct member, link);

        rebalance_answer_join(step, m, roster->leader->id, m == roster->leader,
                              false);
        member_heard(step, m, m->session_timeout_ms);
        m->is_new = false;
        member_set_owes_sync(m, true);
    }
    heap_set(&step->coord->timers, &roster->sync.node,
             step->now_ms + group_rebalance_timeout_ms(group));
    log_info("groups", "group %.*s has generation %d with %u members",
             SLICE_FMT(group_id(group)), group->generation, group_size(group));
}

static void complete(struct step *step, struct group *group)
{
    struct roster *roster = group->roster;

    heap_remove(&step->coord->timers, &roster->join.node);
    roster->initial = false;
    remove_absent(step, group);
    if (!elect_joined_leader(roster) && group_size(group) != 0) {
        /* Only static members are left, and none of them has joined: their
         * sessions decide. */
        set_join_timer(step, group, absent_check_ms(group));
        return;
    }
    clear_sync_phase(step, group);
    group->generation =
        group->generation == INT32_MAX ? 0 : group->generation + 1;
    if (group_size(group) == 0)
        become_empty(step, group);
    else
        start_generation(step, group);
}

/* ---- its beginning -------------------------------------------------------*/

static void start_initial_delay(struct step *step, struct group *group)
{
    struct roster *roster = group->roster;
    int32_t delay = step->coord->config.group_initial_rebalance_delay_ms;
    int32_t timeout = group_rebalance_timeout_ms(group);

    roster->initial = true;
    roster->member_added = false;
    roster->initial_delay_ms = delay;
    roster->initial_left_ms = timeout > delay ? timeout - delay : 0;
    set_join_timer(step, group, delay);
}

void rebalance_prepare(struct step *step, struct group *group,
                       const char *reason)
{
    bool initial = group->state == GROUP_EMPTY;

    log_info("groups", "group %.*s, %s with generation %d, rebalances: %s",
             SLICE_FMT(group_id(group)), group_state_name(group->state),
             group->generation, reason);
    if (group->state == GROUP_COMPLETING_REBALANCE)
        rebalance_fail_syncs(step, group, ERR_REBALANCE_IN_PROGRESS);
    clear_sync_phase(step, group);
    group_set_state(group, GROUP_PREPARING_REBALANCE, step->wall_ms);
    if (initial)
        start_initial_delay(step, group);
    else if (group_all_joined(group))
        complete(step, group);
    else
        set_join_timer(step, group, group_rebalance_timeout_ms(group));
}

void rebalance_complete_if_joined(struct step *step, struct group *group)
{
    if (group->state == GROUP_PREPARING_REBALANCE &&
        group->previous != GROUP_EMPTY && group_all_joined(group))
        complete(step, group);
}

void rebalance(struct step *step, struct group *group, const char *reason)
{
    if (group->state != GROUP_PREPARING_REBALANCE)
        rebalance_prepare(step, group, reason);
    else
        rebalance_complete_if_joined(step, group);
}

/* ---- timeouts ------------------------------------------------------------*/

void rebalance_join_timeout(struct step *step, struct group *group)
{
    struct roster *roster = group->roster;

    ASSERT(group->state == GROUP_PREPARING_REBALANCE);
    if (!roster->initial || !roster->member_added ||
        roster->initial_left_ms == 0) {
        complete(step, group);
        return;
    }
    int32_t delay = step->coord->config.group_initial_rebalance_delay_ms;
    int32_t left = roster->initial_left_ms;
    roster->member_added = false;
    roster->initial_left_ms =
        left > roster->initial_delay_ms ? left - roster->initial_delay_ms : 0;
    roster->initial_delay_ms = delay < left ? delay : left;
    set_join_timer(step, group, roster->initial_delay_ms);
}

void rebalance_sync_timeout(struct step *step, struct group *group)
{
    if (group->state != GROUP_COMPLETING_REBALANCE &&
        group->state != GROUP_STABLE)
        return;
    if (group->roster->syncs_owed == 0)
        return;
    LIST_EACH_SAFE (node, next, &group->roster->members) {
        struct member *m = LIST_ENTRY(node, struct member, link);

        if (!m->owes_sync)
            continue;
        log_info("groups", "group %.*s: %.*s sent no SyncGroup, removed",
                 SLICE_FMT(group_id(group)), SLICE_FMT(m->id));
        rebalance_take_out(step, m);
    }
    rebalance_prepare(step, group, "members sent no SyncGroup in time");
}

/* ---- members that go -----------------------------------------------------*/

void rebalance_take_out(struct step *step, struct member *member)
{
    /* Its client, if it is still there, starts over with a new id. */
    answer_join_error(step, member, SLICE(""), ERR_UNKNOWN_MEMBER_ID);
    answer_sync_error(step, member, ERR_UNKNOWN_MEMBER_ID);
    member_remove(step->coord, member);
}

void rebalance_member_gone(struct step *step, struct group *group,
                           const char *reason)
{
    if (group->state == GROUP_STABLE ||
        group->state == GROUP_COMPLETING_REBALANCE)
        rebalance_prepare(step, group, reason);
    else if (group->state == GROUP_PREPARING_REBALANCE &&
             group_all_joined(group))
        complete(step, group);
}
