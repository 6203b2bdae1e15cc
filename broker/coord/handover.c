/* Classic groups that become consumer groups and come back (handover.h): what
 * the classic core tells of them, and how it takes part in decisions that are
 * not its own.
 *
 * A group that leaves is gone with its tombstone, and who waits in it is told
 * to join again: the next JoinGroup finds the consumer group.  A group that
 * comes is loaded from its record, live as after a failover.  A record without
 * a leader says that nobody has led these members yet, so they have to join
 * again; that is begun when the record is in the log, and anew by every
 * coordinator that loads it. */
#include "broker/coord/group.h"

#include "proto/kafka/coordinator_record.h"

#include "base/log.h"

/* ---- a group that leaves -------------------------------------------------*/

static struct handover_member member_of(const struct member *m,
                                        struct slice protocol)
{
    return (struct handover_member){
        .id = m->id,
        .instance_id = m->instance_id,
        .client_id = m->client_id,
        .client_host = m->client_host,
        .session_timeout_ms = m->session_timeout_ms,
        .rebalance_timeout_ms = m->rebalance_timeout_ms,
        .protocols = m->protocols,
        .protocols_len = m->protocols_len,
        .subscription = member_metadata(m, protocol),
        .assignment = m->assignment,
    };
}

bool coord_handover_find(const struct coord *coord, struct slice id,
                         struct arena *arena, struct handover_group *out)
{
    const struct group *group = group_find(coord, id);
    struct slice protocol;

    if (group == NULL || coord_presence(coord, id) != GROUP_PRESENT)
        return false;
    /* In the first rebalance of a group none has been chosen. */
    protocol = slice_is_null(group->protocol_name) && group_size(group) != 0
                   ? group_vote(group)
                   : group->protocol_name;
    *out = (struct handover_group){
        .id = group_id(group),
        .protocol_type = group->protocol_type,
        .protocol_name = protocol,
        .generation = group->generation,
        .members = arena_array(arena, group_size(group), sizeof *out->members),
    };
    LIST_EACH (node, &group->roster->members)
        out->members[out->members_len++] =
            member_of(LIST_ENTRY(node, struct member, link), protocol);
    return true;
}

void coord_handover_forget(const struct coord *coord, struct slice id,
                           struct coord_records *records)
{
    const struct group *group = group_find(coord, id);

    /* In its first rebalance a group has no record, but members who wait. */
    if (group != NULL && (group->record_offset >= 0 || group->roster != NULL))
        write_group_value(records, id, NULL);
}

static void send_away(struct step *step, struct group *group)
{
    LIST_EACH (node, &group->roster->members) {
        struct member *m = LIST_ENTRY(node, struct member, link);

        answer_join_error(step, m, m->id, ERR_REBALANCE_IN_PROGRESS);
        answer_sync_error(step, m, ERR_REBALANCE_IN_PROGRESS);
    }
}

/* ---- a group that comes --------------------------------------------------*/

void coord_handover_store(const struct handover_group *group, int64_t wall_ms,
                          struct coord_records *records)
{
    struct group_metadata_value value = {
        .protocol_type = group->protocol_type,
        .generation = group->generation,
        .protocol = group->protocol_name,
        .leader = group->rebalances ? SLICE_NULL : group->members[0].id,
        .current_state_timestamp = wall_ms,
        .members_len = (int32_t)group->members_len,
    };
    struct arena arena;

    arena_init(&arena, 0);
    value.members =
        arena_array(&arena, group->members_len, sizeof *value.members);
    for (uint32_t i = 0; i < group->members_len; i++) {
        const struct handover_member *m = &group->members[i];

        value.members[i] = (struct group_metadata_value_member_metadata){
            .member_id = m->id,
            .group_instance_id = m->instance_id,
            .client_id = m->client_id,
            .client_host = m->client_host,
            .rebalance_timeout = m->rebalance_timeout_ms,
            .session_timeout = m->session_timeout_ms,
            .subscription = m->subscription,
            .assignment =
                slice_is_null(m->assignment) ? SLICE("") : m->assignment,
        };
    }
    write_group_value(records, group->id, &value);
    arena_free(&arena);
}

void handover_begin(struct step *step, struct group *group)
{
    int32_t size_max = step->coord->config.group_max_size;

    if (group->roster == NULL)
        return;
    LIST_EACH (node, &group->roster->members) {
        struct member *m = LIST_ENTRY(node, struct member, link);
        member_heard(step, m, m->session_timeout_ms);
    }
    if (group_size(group) > (uint32_t)size_max)
        rebalance_prepare(step, group, "it is loaded and larger than allowed");
    else if (group->roster->unled)
        rebalance_prepare(step, group, "it was a consumer group");
}

bool coord_handover_concerns(struct slice key)
{
    struct reader r = reader_of(key);

    return read_i16(&r) == GROUP_RECORD_GROUP_METADATA && !r.bad;
}

/* ---- live ----------------------------------------------------------------*/

void coord_hand_over(struct coord *coord, struct coord_origin origin,
                     struct slice key, struct slice value,
                     struct coord_time time, struct coord_update *update)
{
    struct step step = {coord, time.now_ms, time.wall_ms, update};
    struct group_metadata_key name;
    struct reader r = reader_of(key);
    struct group *group;
    struct arena arena;

    coord->time = time;
    arena_init(&arena, 0);
    read_i16(&r);
    ASSERT(kafka_decode(&group_metadata_key_desc, 0,
                        slice_of(r.at, reader_left(&r)), &arena,
                        &name) == ERR_NONE); /* we wrote it */
    group = group_find(coord, name.group);
    if (group != NULL && group->roster != NULL)
        send_away(&step, group);
    ASSERT(coord_replay(coord, origin, key, value) == ERR_NONE);
    group = group_find(coord, name.group);
    if (group != NULL && !slice_is_null(value)) {
        log_info("groups", "group %.*s is a classic group with generation %d",
                 SLICE_FMT(name.group), group->generation);
        handover_begin(&step, group);
        expire_arm_group(coord, group);
    }
    arena_free(&arena);
}
