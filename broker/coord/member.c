/* Members, dynamic and static, and ids that wait for their owners. */
#include "broker/coord/group.h"

#include <stdlib.h>

/* Bookkeeping that a member costs beyond its bytes. */
enum { MEMBER_OVERHEAD_BYTES = 512, PROTOCOL_OVERHEAD_BYTES = 64 };

struct member *member_find(const struct group *group, struct slice id)
{
    return group->roster != NULL ? map_get(&group->roster->by_id, id) : NULL;
}

struct member *member_find_static(const struct group *group,
                                  struct slice instance_id)
{
    if (group->roster == NULL || slice_is_null(instance_id))
        return NULL;
    return map_get(&group->roster->by_instance, instance_id);
}

struct pending_member *pending_find(const struct group *group, struct slice id)
{
    return group->roster != NULL ? map_get(&group->roster->pending, id) : NULL;
}

/* ---- size ----------------------------------------------------------------*/

static size_t
protocols_bytes(const struct join_group_request_protocol *protocols,
                int32_t protocols_len)
{
    size_t bytes = 0;

    for (int32_t i = 0; i < protocols_len; i++)
        bytes += PROTOCOL_OVERHEAD_BYTES + protocols[i].name.len +
                 protocols[i].metadata.len;
    return bytes;
}

/* All that is a key is there twice; the group may be there for this one. */
static size_t keys_bytes(const struct group *group, size_t id_len,
                         size_t instance_id_len)
{
    return 2 * (group->id_len + id_len + instance_id_len);
}

size_t member_bytes_for(const struct group *group, size_t id_len,
                        const struct coord_context *context,
                        const struct join_group_request *request)
{
    return MEMBER_OVERHEAD_BYTES +
           keys_bytes(group, id_len, request->group_instance_id.len) +
           context->client_id.len + context->client_host.len +
           protocols_bytes(request->protocols, request->protocols_len);
}

size_t pending_bytes(const struct pending_member *pending)
{
    return MEMBER_OVERHEAD_BYTES +
           keys_bytes(pending->group, pending->id.len, 0);
}

static void count_bytes(struct coord *coord, struct member *m)
{
    coord->members_bytes -= m->bytes;
    m->bytes = MEMBER_OVERHEAD_BYTES +
               keys_bytes(m->group, m->id.len, m->instance_id.len) +
               m->client_id.len + m->client_host.len + m->assignment.len +
               protocols_bytes(m->protocols, m->protocols_len);
    coord->members_bytes += m->bytes;
}

/* ---- protocols -----------------------------------------------------------*/

static struct join_group_request_protocol *
protocols_copy(const struct join_group_request_protocol *protocols,
               int32_t protocols_len)
{
    size_t array = (size_t)protocols_len * sizeof *protocols;
    struct join_group_request_protocol *copy =
        xmalloc(array + protocols_bytes(protocols, protocols_len) + 1);
    uint8_t *at = (uint8_t *)copy + array;

    for (int32_t i = 0; i < protocols_len; i++) {
        struct slice from[] = {protocols[i].name, protocols[i].metadata};
        struct slice *to[] = {&copy[i].name, &copy[i].metadata};

        for (int part = 0; part < 2; part++) {
            if (from[part].len != 0)
                memcpy(at, from[part].data, from[part].len);
            *to[part] = slice_of(at, from[part].len);
            at += from[part].len;
        }
    }
    return copy;
}

/* A name given twice counts once. */
static bool named_before(const struct member *m, int32_t index)
{
    for (int32_t i = 0; i < index; i++)
        if (slice_eq(m->protocols[i].name, m->protocols[index].name))
            return true;
    return false;
}

static void add_support(struct member *m)
{
    struct map *supports = &m->group->roster->supports;

    for (int32_t i = 0; i < m->protocols_len; i++) {
        struct support *support = map_get(supports, m->protocols[i].name);

        if (named_before(m, i))
            continue;
        if (support == NULL) {
            support = xcalloc(1, sizeof *support);
            map_put(supports, m->protocols[i].name, support);
        }
        support->members++;
    }
}

static void take_support(struct member *m)
{
    struct map *supports = &m->group->roster->supports;

    for (int32_t i = 0; i < m->protocols_len; i++) {
        struct support *support = map_get(supports, m->protocols[i].name);

        if (named_before(m, i))
            continue;
        ASSERT(support != NULL && support->members > 0);
        if (--support->members == 0)
            free(map_remove(supports, m->protocols[i].name));
    }
}

void member_set_protocols(struct coord *coord, struct member *member,
                          const struct join_group_request_protocol *protocols,
                          int32_t protocols_len)
{
    struct join_group_request_protocol *copy =
        protocols_copy(protocols, protocols_len);

    take_support(member);
    free(member->protocols);
    member->protocols = copy;
    member->protocols_len = protocols_len;
    add_support(member);
    count_bytes(coord, member);
}

bool member_has_protocols(const struct member *member,
                          const struct join_group_request_protocol *protocols,
                          int32_t protocols_len)
{
    if (member->protocols_len != protocols_len)
        return false;
    for (int32_t i = 0; i < protocols_len; i++)
        if (!slice_eq(member->protocols[i].name, protocols[i].name) ||
            !slice_eq(member->protocols[i].metadata, protocols[i].metadata))
            return false;
    return true;
}

struct slice member_metadata(const struct member *member, struct slice protocol)
{
    for (int32_t i = 0; i < member->protocols_len; i++)
        if (slice_eq(member->protocols[i].name, protocol))
            return member->protocols[i].metadata;
    return SLICE("");
}

/* ---- coming and going ----------------------------------------------------*/

struct member *member_add(struct coord *coord, struct group *group,
                          struct slice id, struct slice instance_id,
                          struct slice client_id, struct slice client_host,
                          int32_t rebalance_timeout_ms,
                          int32_t session_timeout_ms,
                          const struct join_group_request_protocol *protocols,
                          int32_t protocols_len)
{
    struct roster *roster = group_roster(group);
    struct member *m = xcalloc(1, sizeof *m);

    ASSERT(map_get(&roster->by_id, id) == NULL);
    m->group = group;
    m->session.kind = TIMER_SESSION;
    group_set_text(&m->id, id);
    group_set_text(&m->instance_id, instance_id);
    group_set_text(&m->client_id, client_id);
    group_set_text(&m->client_host, client_host);
    m->rebalance_timeout_ms = rebalance_timeout_ms;
    m->session_timeout_ms = session_timeout_ms;
    list_push_back(&roster->members, &m->link);
    map_put(&roster->by_id, id, m);
    if (!slice_is_null(instance_id)) {
        void *other = map_put(&roster->by_instance, instance_id, m);
        ASSERT(other == NULL);
    }
    member_set_protocols(coord, m, protocols, protocols_len);
    if (roster->leader == NULL)
        roster->leader = m;
    return m;
}

void member_remove(struct coord *coord, struct member *member)
{
    struct roster *roster = member->group->roster;

    ASSERT(!member->join.waiting && !member->sync.waiting);
    member_set_owes_sync(member, false);
    take_support(member);
    heap_remove(&coord->timers, &member->session.node);
    list_remove(&member->link);
    map_remove(&roster->by_id, member->id);
    if (!slice_is_null(member->instance_id))
        map_remove(&roster->by_instance, member->instance_id);
    if (roster->leader == member)
        roster->leader =
            list_empty(&roster->members)
                ? NULL
                : LIST_ENTRY(roster->members.next, struct member, link);
    coord->members_bytes -= member->bytes;
    group_set_text(&member->id, SLICE_NULL);
    group_set_text(&member->instance_id, SLICE_NULL);
    group_set_text(&member->client_id, SLICE_NULL);
    group_set_text(&member->client_host, SLICE_NULL);
    group_set_text(&member->assignment, SLICE_NULL);
    free(member->protocols);
    free(member);
}

void member_set_assignment(struct coord *coord, struct member *member,
                           struct slice assignment)
{
    group_set_text(&member->assignment, assignment);
    count_bytes(coord, member);
}

void member_rename(struct coord *coord, struct member *member, struct slice id)
{
    struct roster *roster = member->group->roster;

    map_remove(&roster->by_id, member->id);
    group_set_text(&member->id, id);
    map_put(&roster->by_id, id, member);
    count_bytes(coord, member);
}

/* ---- parked requests -----------------------------------------------------*/

void member_park_join(struct step *step, struct member *member,
                      const struct coord_context *context)
{
    /* Its client gave up on the one before; somebody may still read it. */
    answer_join_error(step, member, member->id,
                      ERR_COORDINATOR_LOAD_IN_PROGRESS);
    member->join =
        (struct parked){context->token, context->version, .waiting = true};
    member->group->roster->joins_waiting++;
}

void member_park_sync(struct step *step, struct member *member,
                      const struct coord_context *context)
{
    answer_sync_error(step, member, ERR_REBALANCE_IN_PROGRESS);
    member->sync =
        (struct parked){context->token, context->version, .waiting = true};
}

bool member_unpark_join(struct member *member, struct parked *parked)
{
    if (!member->join.waiting)
        return false;
    *parked = member->join;
    member->join = (struct parked){0};
    member->group->roster->joins_waiting--;
    return true;
}

bool member_unpark_sync(struct member *member, struct parked *parked)
{
    if (!member->sync.waiting)
        return false;
    *parked = member->sync;
    member->sync = (struct parked){0};
    return true;
}

void member_set_owes_sync(struct member *member, bool owes)
{
    struct roster *roster = member->group->roster;

    if (member->owes_sync == owes)
        return;
    member->owes_sync = owes;
    if (owes)
        roster->syncs_owed++;
    else
        roster->syncs_owed--;
}

/* ---- liveness ------------------------------------------------------------*/

void member_heard(struct step *step, struct member *member, int64_t timeout_ms)
{
    heap_set(&step->coord->timers, &member->session.node,
             step->now_ms + timeout_ms);
}

void pending_add(struct step *step, struct group *group, struct slice id,
                 int64_t timeout_ms)
{
    struct pending_member *pending = xcalloc(1, sizeof *pending);

    pending->timer.kind = TIMER_PENDING;
    pending->group = group;
    group_set_text(&pending->id, id);
    map_put(&group_roster(group)->pending, id, pending);
    step->coord->members_bytes += pending_bytes(pending);
    heap_set(&step->coord->timers, &pending->timer.node,
             step->now_ms + timeout_ms);
}

void pending_remove(struct coord *coord, struct pending_member *pending)
{
    map_remove(&pending->group->roster->pending, pending->id);
    heap_remove(&coord->timers, &pending->timer.node);
    coord->members_bytes -= pending_bytes(pending);
    group_set_text(&pending->id, SLICE_NULL);
    free(pending);
}

enum err member_check(const struct group *group, struct slice member_id,
                      struct slice instance_id)
{
    if (!slice_is_null(instance_id)) {
        const struct member *owner = member_find_static(group, instance_id);

        if (owner == NULL)
            return ERR_UNKNOWN_MEMBER_ID;
        if (!slice_eq(owner->id, member_id))
            return ERR_FENCED_INSTANCE_ID;
    }
    return member_find(group, member_id) != NULL ? ERR_NONE
                                                 : ERR_UNKNOWN_MEMBER_ID;
}
