/* A classic group becomes a consumer group (KIP-848, "Online Upgrade"; the
 * conditions and the records are those of Kafka's GroupMetadataManager,
 * convertToConsumerGroup(), and ConsumerGroup, fromClassicGroup()).
 *
 * It does so when a member of the new protocol joins it: the tombstone of the
 * classic group, the records of its members, and those of the one that joins
 * are one write, in one batch.  The generation becomes the epoch, and each
 * member keeps what it was assigned, so nothing moves before it has joined
 * again; the epoch that the joining member bumps tells all of them to.
 *
 * The new group is not there before the records are, but the heartbeat has to
 * be decided on it: so they are replayed into a coordinator of their own, which
 * lasts for that decision.
 *
 * A member may own more than its last assignment says: a cooperative one keeps
 * its partitions while a rebalance goes on, even if the assignments of that are
 * never handed out.  What it said it owns when it joined counts as its own,
 * too, where nobody else was assigned it; Kafka takes the assignment alone. */
#include "broker/coord/consumer/consumer.h"
#include "broker/coord/consumer/embedded.h"

#include "base/log.h"
#include "base/planted.h"

#include <stdlib.h>

/* One member on its way. */
struct convert {
    const struct handover_member *from;
    struct consumer_protocol_subscription subscription;
    struct cprofile profile;
    struct parts assigned;
};

bool cupgrade_is_due(const struct consumer_coord *coord, struct slice group)
{
    struct handover_group found;
    struct arena arena;
    bool is;

    if (coord->classics.arg == NULL || cgroup_find(coord, group) != NULL)
        return false;
    arena_init(&arena, 0);
    is = coord->classics.find(coord->classics.arg, group, &arena, &found);
    arena_free(&arena);
    return is;
}

static const char *why_not(const struct consumer_coord *coord,
                           const struct handover_group *group)
{
    if (!coord->config.upgrade)
        return "group.consumer.migration.policy does not allow it";
    if (group->members_len != 0 &&
        !slice_eq_str(group->protocol_type, "consumer"))
        return "its members are no consumers";
    if (group->members_len > (uint32_t)coord->config.group_consumer_max_size)
        return "it is larger than group.consumer.max.size";
    return group->generation == INT32_MAX ? "its generations are used up"
                                          : NULL;
}

static bool replaces(const struct consumer_group_heartbeat_request *request,
                     const struct handover_group *group)
{
    for (uint32_t i = 0; i < group->members_len; i++)
        if (slice_eq(group->members[i].id, request->member_id) ||
            (!slice_is_null(request->instance_id) &&
             slice_eq(group->members[i].instance_id, request->instance_id)))
            return true;
    return false;
}

static size_t room_of(const struct consumer_coord *coord)
{
    size_t max = coord->config.members_max_bytes;

    return max > coord->bytes ? max - coord->bytes : 0;
}

/* For all of its members and the one that joins.  What is refused for the sum
 * of its bytes here costs nothing; the heartbeat knows the rest. */
static bool has_room(const struct consumer_coord *coord,
                     const struct handover_group *group,
                     const struct consumer_group_heartbeat_request *request)
{
    size_t bytes = 0;

    if (group->members_len >= (uint32_t)coord->config.group_consumer_max_size &&
        !replaces(request, group))
        return false;
    for (uint32_t i = 0; i < group->members_len; i++)
        for (int32_t p = 0; p < group->members[i].protocols_len; p++)
            bytes += group->members[i].protocols[p].metadata.len;
    return bytes <= room_of(coord);
}

/* ---- members -------------------------------------------------------------*/

static void take_profile(struct convert *c, struct arena *arena)
{
    const struct handover_member *from = c->from;
    struct cprofile *p = &c->profile;

    *p = (struct cprofile){
        .instance_id = from->instance_id,
        .rack_id = c->subscription.rack_id.len != 0 ? c->subscription.rack_id
                                                    : SLICE_NULL,
        .client_id =
            slice_is_null(from->client_id) ? SLICE("") : from->client_id,
        .client_host =
            slice_is_null(from->client_host) ? SLICE("") : from->client_host,
        .names = c->subscription.topics,
        .names_len = cnames_sort(c->subscription.topics,
                                 (uint32_t)c->subscription.topics_len),
        .rebalance_timeout_ms = from->rebalance_timeout_ms,
        .classic = true,
        .session_timeout_ms = from->session_timeout_ms,
        .protocols_len = (uint32_t)from->protocols_len,
    };
    p->protocols = arena_array(arena, p->protocols_len, sizeof *p->protocols);
    for (uint32_t i = 0; i < p->protocols_len; i++)
        p->protocols[i] =
            (cprotocol){from->protocols[i].name, from->protocols[i].metadata};
}

/* Kafka's own assignors have no use for data in an assignment.  (librdkafka's
 * cooperative-sticky puts there what its subscription said.) */
static bool is_known_assignor(struct slice protocol)
{
    return slice_eq_str(protocol, "range") ||
           slice_eq_str(protocol, "roundrobin") ||
           slice_eq_str(protocol, "sticky") ||
           slice_eq_str(protocol, "cooperative-sticky");
}

/* An assignor of the client's own may have put more into the assignment than
 * partitions, which would be lost. */
static const char *convert_member(const struct consumer_coord *coord,
                                  struct slice protocol, struct convert *c,
                                  struct arena *arena)
{
    struct consumer_protocol_assignment assignment;

    if (embedded_subscription(c->from->subscription, arena, &c->subscription) !=
        ERR_NONE)
        return "a member's subscription cannot be read, or is too large";
    take_profile(c, arena);
    if (c->from->assignment.len == 0)
        return NULL; /* it has not had one yet */
    if (embedded_assignment(c->from->assignment, arena, &assignment) !=
        ERR_NONE)
        return "a member's assignment cannot be read, or is too large";
    if (assignment.user_data.len != 0 && !is_known_assignor(protocol))
        return "its assignor puts data of its own into assignments";
    if (!PLANTED(MIGRATION_LOSES_ASSIGNMENTS))
        c->assigned = embedded_assigned(&assignment, &coord->world, arena);
    return NULL;
}

/* ---- partitions ----------------------------------------------------------*/

static struct slice part_key(const struct part *part, uint8_t bytes[20])
{
    memcpy(bytes, part->topic.bytes, 16);
    memcpy(bytes + 16, &part->partition, 4);
    return slice_of(bytes, 20);
}

/* Leaves those that nobody before had. */
static struct parts take_unowned(struct map *owned, struct parts set,
                                 struct arena *arena)
{
    struct part *items = arena_array(arena, set.len, sizeof *items);
    uint32_t len = 0;
    uint8_t bytes[20];

    for (uint32_t i = 0; i < set.len; i++) {
        struct slice key = part_key(&set.items[i], bytes);

        if (map_put(owned, key, items) == NULL)
            items[len++] = set.items[i];
    }
    return (struct parts){items, len};
}

/* Each partition has one owner at most, whatever a leader has assigned. */
static void take_partitions(const struct consumer_coord *coord,
                            struct convert *members, uint32_t len,
                            int32_t epoch, struct arena *arena)
{
    struct map owned = MAP_INIT;

    for (uint32_t i = 0; i < len; i++)
        members[i].assigned = take_unowned(&owned, members[i].assigned, arena);
    for (uint32_t i = 0; i < len; i++) {
        struct parts more =
            embedded_owned(&members[i].subscription, &coord->world, arena);

        members[i].assigned = parts_join(arena, members[i].assigned,
                                         take_unowned(&owned, more, arena));
        for (uint32_t k = 0; k < members[i].assigned.len; k++)
            members[i].assigned.items[k].epoch = epoch;
    }
    map_free(&owned);
}

/* ---- all of it -----------------------------------------------------------*/

static void write_group(struct coord_records *records, struct slice id,
                        int32_t epoch, const struct convert *members,
                        uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        cwrite_profile(records, id, members[i].from->id, &members[i].profile);
    cwrite_epoch(records, NULL, id, epoch, 0);
    for (uint32_t i = 0; i < len; i++)
        cwrite_target(records, id, members[i].from->id, members[i].assigned);
    /* Without a time: the next target need not wait for an interval. */
    cwrite_target_epoch(records, id, epoch, 0);
    for (uint32_t i = 0; i < len; i++) {
        struct ccurrent current = {epoch, epoch, CSTATE_STABLE,
                                   members[i].assigned, PARTS_EMPTY};

        cwrite_current(records, id, members[i].from->id, &current);
    }
}

static const char *convert(const struct consumer_coord *coord,
                           const struct handover_group *group,
                           struct arena *arena, struct coord_records *records)
{
    struct convert *members =
        arena_array(arena, group->members_len, sizeof *members);

    for (uint32_t i = 0; i < group->members_len; i++) {
        members[i].from = &group->members[i];
        const char *why =
            convert_member(coord, group->protocol_name, &members[i], arena);

        if (why != NULL)
            return why;
        if (arena->used_bytes > coord->config.members_max_bytes)
            return "what its members say is too large";
    }
    take_partitions(coord, members, group->members_len, group->generation,
                    arena);
    coord->classics.forget(coord->classics.arg, group->id, records);
    if (group->members_len != 0)
        write_group(records, group->id, group->generation, members,
                    group->members_len);
    return NULL;
}

static struct consumer_coord *replayed(const struct cstep *step,
                                       const struct coord_records *records)
{
    const struct consumer_coord *coord = step->coord;
    struct consumer_coord *as_if =
        consumer_coord_create(&coord->config, &coord->world);

    for (uint32_t i = 0; i < records->count; i++) {
        struct coord_record record = coord_records_get(records, i);
        enum err err = consumer_coord_replay(as_if, record.key, record.value);

        ASSERT(err == ERR_NONE || err == ERR_UNSUPPORTED_VERSION);
    }
    as_if->config.members_max_bytes = room_of(coord);
    consumer_coord_activate(as_if, coord->topics_version, step->time);
    return as_if;
}

enum err cupgrade(struct cstep *step,
                  const struct consumer_group_heartbeat_request *request,
                  struct coord_records *records, struct consumer_coord **as_if)
{
    struct consumer_coord *coord = step->coord;
    struct slice id = request->group_id;
    struct handover_group group;
    struct arena arena;
    const char *why = "it is gone";
    enum err err = ERR_GROUP_ID_NOT_FOUND;

    arena_init(&arena, 0);
    if (coord->classics.find(coord->classics.arg, id, &arena, &group))
        why = why_not(coord, &group);
    if (why == NULL && !has_room(coord, &group, request)) {
        why = "there is no room for its members and another";
        err = ERR_GROUP_MAX_SIZE_REACHED;
    }
    if (why == NULL)
        why = convert(coord, &group, &arena, records);
    if (why != NULL)
        log_info("groups", "group %.*s does not become a consumer group: %s",
                 SLICE_FMT(id), why);
    else
        log_info("groups",
                 "group %.*s becomes a consumer group with %u members of the "
                 "classic protocol, at epoch %d",
                 SLICE_FMT(id), group.members_len, group.generation);
    arena_free(&arena);
    if (why != NULL)
        return err;
    *as_if = replayed(step, records);
    return ERR_NONE;
}
