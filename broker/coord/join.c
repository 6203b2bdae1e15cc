/* JoinGroup.
 *
 * A new dynamic member of version 4 or later first gets an id and comes back
 * with it (KIP-394), so that a client that gives up does not leave a member
 * behind.  A static member (KIP-345) that comes back without its id takes over
 * the place of its former self, without a rebalance if the group is stable and
 * would choose the same protocol. */
#include "broker/coord/group.h"

#include "base/log.h"

enum {
    /* A new member's JoinGroup is parked for at most this long: it cannot send
     * heartbeats, and its connection is not read while it waits. */
    NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000,
    PROTOCOLS_MAX = 256,
    STRING_MAX = 32767,
    UUID_DASHED_LEN = 36,
};

struct join {
    struct step *step;
    const struct coord_context *context;
    const struct join_group_request *request;
    struct group *group;
};

static void refuse(const struct join *join, struct slice member_id,
                   enum err err)
{
    struct coord_answer *answer = answer_new(
        join->context->token, API_JOIN_GROUP, join->context->version);

    answer->response.join_group.error_code = err_wire(err);
    answer->response.join_group.member_id =
        arena_copy(&answer->arena, member_id);
    answer_send(join->step, answer);
}

static int32_t rebalance_timeout_ms(const struct join *join)
{
    return coord_rebalance_timeout_ms(join->request, join->context->version);
}

static struct slice id_prefix(const struct join *join)
{
    struct slice prefix = slice_is_null(join->request->group_instance_id)
                              ? join->context->client_id
                              : join->request->group_instance_id;

    if (prefix.len > STRING_MAX - 1 - UUID_DASHED_LEN)
        prefix.len = STRING_MAX - 1 - UUID_DASHED_LEN;
    return prefix;
}

/* "consumer-1-3f2c0c5e-0000-4000-8000-000000000000" */
static void new_member_id(const struct join *join, struct buf *id)
{
    const uint8_t *r = join->context->random.bytes;

    buf_put_slice(id, id_prefix(join));
    for (int i = 0; i < 16; i++)
        buf_printf(id, "%s%02x",
                   i == 0 || i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                   r[i]);
}

/* ---- members -------------------------------------------------------------*/

static void add_member(const struct join *join, struct slice id)
{
    struct step *step = join->step;
    struct group *group = join->group;
    const struct join_group_request *request = join->request;

    if (group_size(group) == 0)
        group_set_text(&group->protocol_type, request->protocol_type);
    struct member *m =
        member_add(step->coord, group, id, request->group_instance_id,
                   join->context->client_id, join->context->client_host,
                   rebalance_timeout_ms(join), request->session_timeout_ms,
                   request->protocols, request->protocols_len);
    m->is_new = true;
    if (group->roster->initial)
        group->roster->member_added = true;
    member_park_join(step, m, join->context);
    member_heard(step, m, NEW_MEMBER_JOIN_TIMEOUT_MS);
    rebalance(step, group, "a member joined");
}

static void update_member(const struct join *join, struct member *m)
{
    const struct join_group_request *request = join->request;

    if (!member_has_protocols(m, request->protocols, request->protocols_len))
        member_set_protocols(join->step->coord, m, request->protocols,
                             request->protocols_len);
    m->rebalance_timeout_ms = rebalance_timeout_ms(join);
    m->session_timeout_ms = request->session_timeout_ms;
    member_park_join(join->step, m, join->context);
}

/* It knows the generation or will by this answer; nothing changes. */
static void answer_current(const struct join *join, struct member *m)
{
    const struct roster *roster = join->group->roster;
    bool completing = join->group->state == GROUP_COMPLETING_REBALANCE;

    member_park_join(join->step, m, join->context);
    rebalance_answer_join(join->step, m, roster->leader->id,
                          completing && roster->leader == m, false);
}

/* ---- static members that come back ---------------------------------------*/

static void write_new_id(const struct join *join, struct member *m,
                         struct slice old_id)
{
    struct coord_write *write = write_new(COORD_WRITE_STATIC);

    group_set_text(&write->group, group_id(join->group));
    group_set_text(&write->member, m->id);
    group_set_text(&write->old_member, old_id);
    write->generation = join->group->generation;
    write_group(write, join->group, NULL, 0);
    write_send(join->step, write);
}

static void replace_static(const struct join *join, struct member *m,
                           struct slice new_id)
{
    struct group *group = join->group;
    struct slice old_id = SLICE_NULL;

    group_set_text(&old_id, m->id);
    /* Whoever still waits under the old id is a double. */
    answer_join_error(join->step, m, old_id, ERR_FENCED_INSTANCE_ID);
    answer_sync_error(join->step, m, ERR_FENCED_INSTANCE_ID);
    member_rename(join->step->coord, m, new_id);
    member_heard(join->step, m, m->session_timeout_ms);
    update_member(join, m);
    switch (group->state) {
    case GROUP_STABLE:
        if (slice_eq(group_vote(group), group->protocol_name))
            write_new_id(join, m, old_id);
        else
            rebalance(join->step, group, "a static member's protocols changed");
        break;
    case GROUP_COMPLETING_REBALANCE:
        /* The leader may have assigned something to the old id. */
        rebalance_prepare(join->step, group, "a static member came back");
        break;
    case GROUP_PREPARING_REBALANCE:
        rebalance_complete_if_joined(join->step, group);
        break;
    case GROUP_EMPTY:
        ASSERT(false); /* it has a member */
    }
    group_set_text(&old_id, SLICE_NULL);
}

void join_static_done(struct step *step, struct coord_write *write,
                      enum err err)
{
    struct group *group = group_find(step->coord, write->group);
    struct member *m = group != NULL ? member_find(group, write->member) : NULL;

    /* Once a rebalance has begun, its end answers. */
    if (m == NULL || group->state != GROUP_STABLE ||
        group->generation != write->generation || !m->join.waiting)
        return;
    const struct roster *roster = group->roster;
    /* A session that ended while it was parked did not count. */
    member_heard(step, m, m->session_timeout_ms);
    if (err != ERR_NONE) {
        answer_join_error(step, m, SLICE(""), coord_append_error(err));
        /* Unless it is in the log and was only not committed in time. */
        if (write->pending.appended == 0 &&
            member_find(group, write->old_member) == NULL)
            member_rename(step->coord, m, write->old_member);
        return;
    }
    bool leads = roster->leader == m;
    if (m->join.version >= 9)
        rebalance_answer_join(step, m, roster->leader->id, leads, leads);
    else
        /* An old client that finds its own id as the leader's would compute
         * assignments for a stable group, so it gets the former one. */
        rebalance_answer_join(step, m,
                              leads ? write->old_member : roster->leader->id,
                              false, false);
}

/* ---- the request ---------------------------------------------------------*/

static void join_new(const struct join *join)
{
    const struct join_group_request *request = join->request;
    struct buf id = BUF_INIT;

    new_member_id(join, &id);
    if (!slice_is_null(request->group_instance_id)) {
        struct member *m =
            member_find_static(join->group, request->group_instance_id);
        if (m != NULL)
            replace_static(join, m, buf_slice(&id));
        else
            add_member(join, buf_slice(&id));
    } else if (join->context->version >= 4) {
        pending_add(join->step, join->group, buf_slice(&id),
                    request->session_timeout_ms);
        refuse(join, buf_slice(&id), ERR_MEMBER_ID_REQUIRED);
    } else {
        add_member(join, buf_slice(&id));
    }
    buf_free(&id);
}

static void join_known(const struct join *join, struct member *m)
{
    const struct join_group_request *request = join->request;
    bool same =
        member_has_protocols(m, request->protocols, request->protocols_len);

    switch (join->group->state) {
    case GROUP_PREPARING_REBALANCE:
        update_member(join, m);
        rebalance(join->step, join->group, "a member rejoined");
        break;
    case GROUP_COMPLETING_REBALANCE:
        /* With the same metadata it has probably missed our answer. */
        if (same) {
            answer_current(join, m);
            break;
        }
        update_member(join, m);
        rebalance(join->step, join->group, "a member's metadata changed");
        break;
    case GROUP_STABLE:
        /* A leader rejoins to trigger a rebalance, for example because topics
         * have changed that its metadata does not show. */
        if (same && join->group->roster->leader != m) {
            answer_current(join, m);
            break;
        }
        update_member(join, m);
        rebalance(join->step, join->group,
                  same ? "the leader rejoined" : "a member's metadata changed");
        break;
    case GROUP_EMPTY:
        ASSERT(false); /* it has a member */
    }
}

static void join_existing(const struct join *join)
{
    const struct join_group_request *request = join->request;
    struct pending_member *pending =
        pending_find(join->group, request->member_id);

    if (pending != NULL && slice_is_null(request->group_instance_id)) {
        pending_remove(join->step->coord, pending);
        add_member(join, request->member_id);
        return;
    }
    enum err err = member_check(join->group, request->member_id,
                                request->group_instance_id);
    if (err != ERR_NONE)
        refuse(join, request->member_id, err);
    else
        join_known(join, member_find(join->group, request->member_id));
}

static bool has_memory(const struct join *join)
{
    const struct coord *coord = join->step->coord;
    struct slice id = join->request->member_id;
    const struct member *m = member_find(join->group, id);
    const struct pending_member *pending = pending_find(join->group, id);
    size_t held = m != NULL         ? m->bytes
                  : pending != NULL ? pending_bytes(pending)
                                    : 0;
    size_t id_len =
        id.len != 0 ? id.len : id_prefix(join).len + 1 + UUID_DASHED_LEN;

    return coord->members_bytes - held +
               member_bytes_for(join->group, id_len, join->context,
                                join->request) <=
           coord->config.members_max_bytes;
}

/* While a rebalance is prepared, those that wait count: a group that is larger
 * than the limit, since that was lowered, loses the last to come back. */
static bool has_room(const struct join *join)
{
    const struct group *group = join->group;
    const struct member *m = member_find(group, join->request->member_id);
    uint32_t size_max = (uint32_t)join->step->coord->config.group_max_size;

    if (!has_memory(join))
        return false;
    switch (group->state) {
    case GROUP_EMPTY:
        return true;
    case GROUP_PREPARING_REBALANCE:
        return (m != NULL && m->join.waiting) ||
               group->roster->joins_waiting < size_max;
    default:
        return m != NULL || group_size(group) < size_max;
    }
}

static void turn_away(const struct join *join)
{
    struct member *m = member_find(join->group, join->request->member_id);
    struct pending_member *pending =
        pending_find(join->group, join->request->member_id);

    if (m != NULL) {
        rebalance_take_out(join->step, m);
        rebalance_member_gone(join->step, join->group,
                              "the group is too large");
    }
    if (pending != NULL)
        pending_remove(join->step->coord, pending);
    refuse(join, SLICE(""), ERR_GROUP_MAX_SIZE_REACHED);
}

static enum err check(const struct coord_config *config,
                      const struct join_group_request *request)
{
    if (request->group_id.len == 0)
        return ERR_INVALID_GROUP_ID;
    if (request->session_timeout_ms < config->group_min_session_timeout_ms ||
        request->session_timeout_ms > config->group_max_session_timeout_ms)
        return ERR_INVALID_SESSION_TIMEOUT;
    if (request->protocols_len > PROTOCOLS_MAX)
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    return ERR_NONE;
}

struct slice coord_join_claims(const struct coord *coord,
                               const struct join_group_request *request)
{
    return request->member_id.len == 0 &&
                   check(&coord->config, request) == ERR_NONE
               ? request->group_id
               : SLICE_NULL;
}

void join_request(struct step *step, const struct coord_context *context,
                  const struct join_group_request *request)
{
    struct join join = {step, context, request, NULL};
    bool unknown = request->member_id.len == 0;
    enum err err = check(&step->coord->config, request);

    if (err != ERR_NONE) {
        refuse(&join, request->member_id, err);
        return;
    }
    join.group = unknown ? group_find_or_create(step->coord, request->group_id,
                                                step->wall_ms)
                         : group_find(step->coord, request->group_id);
    if (join.group == NULL) {
        refuse(&join, request->member_id, ERR_UNKNOWN_MEMBER_ID);
        return;
    }
    if (!has_room(&join))
        turn_away(&join);
    else if (!group_supports(join.group, request->protocol_type,
                             request->protocols, request->protocols_len))
        refuse(&join, unknown ? SLICE("") : request->member_id,
               ERR_INCONSISTENT_GROUP_PROTOCOL);
    else if (unknown)
        join_new(&join);
    else
        join_existing(&join);
    group_drop_if_hollow(step->coord, join.group);
}
