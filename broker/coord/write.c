/* Writes: records in Kafka's layout, and what waits for them. */
#include "broker/coord/group.h"
#include "proto/kafka/coordinator_record.h"

#include <stdlib.h>

enum {
    /* The newest versions that every tool reads; 1 has an expiry instead. */
    OFFSET_VALUE_VERSION = 3,
    OFFSET_VALUE_VERSION_EXPIRING = 1,
    GROUP_VALUE_VERSION = 3,
};

struct coord_write *write_new(enum coord_write_kind kind)
{
    struct coord_write *write = xcalloc(1, sizeof *write);

    list_init(&write->pending.link);
    write->kind = kind;
    return write;
}

void write_send(struct step *step, struct coord_write *write)
{
    list_push_back(&step->update->writes, &write->pending.link);
}

void write_free(struct coord_write *write)
{
    coord_records_free(&write->pending.records);
    coord_answer_free(write->answer);
    group_set_text(&write->group, SLICE_NULL);
    group_set_text(&write->member, SLICE_NULL);
    group_set_text(&write->old_member, SLICE_NULL);
    free(write->assignments);
    free(write);
}

/* Ids and names were decoded from requests, where a string is at most 32767
 * bytes, so they fit into records again. */
static void encode_ok(enum err err) { ASSERT(err == ERR_NONE); }

static void add_offset_record(struct coord_write *write, struct slice group,
                              struct slice topic, int32_t partition,
                              struct slice value)
{
    struct offset_commit_key key = {group, topic, partition};
    struct buf bytes = BUF_INIT;

    encode_ok(coordinator_key_encode(&offset_commit_key_desc, &key, &bytes));
    coord_records_add(&write->pending.records, buf_slice(&bytes), value);
    buf_free(&bytes);
}

void write_offset(struct coord_write *write, struct slice group,
                  struct slice topic, int32_t partition,
                  const struct offset_commit_value *value)
{
    struct buf bytes = BUF_INIT;
    int16_t version = value->expire_timestamp >= 0
                          ? OFFSET_VALUE_VERSION_EXPIRING
                          : OFFSET_VALUE_VERSION;

    encode_ok(coordinator_value_encode(&offset_commit_value_desc, version,
                                       value, &bytes));
    add_offset_record(write, group, topic, partition, buf_slice(&bytes));
    buf_free(&bytes);
}

void write_offset_tombstone(struct coord_write *write, struct slice group,
                            struct slice topic, int32_t partition)
{
    add_offset_record(write, group, topic, partition, SLICE_NULL);
}

void write_group_value(struct coord_records *records, struct slice group,
                       const struct group_metadata_value *value)
{
    struct group_metadata_key key = {group};
    struct buf key_bytes = BUF_INIT, value_bytes = BUF_INIT;

    encode_ok(
        coordinator_key_encode(&group_metadata_key_desc, &key, &key_bytes));
    if (value != NULL)
        encode_ok(coordinator_value_encode(&group_metadata_value_desc,
                                           GROUP_VALUE_VERSION, value,
                                           &value_bytes));
    coord_records_add(records, buf_slice(&key_bytes),
                      value != NULL ? buf_slice(&value_bytes) : SLICE_NULL);
    buf_free(&key_bytes);
    buf_free(&value_bytes);
}

void write_group_tombstone(struct coord_write *write, struct slice group)
{
    write_group_value(&write->pending.records, group, NULL);
}

void coord_delete_records(const struct coord *coord, struct slice group,
                          struct coord_records *records)
{
    ASSERT(coord_presence(coord, group) == GROUP_PRESENT_EMPTY);
    write_group_value(records, group, NULL);
}

/* ---- group metadata ------------------------------------------------------*/

static struct slice assignment_of(const struct member *m,
                                  const struct map *assignments)
{
    if (assignments == NULL)
        return slice_is_null(m->assignment) ? SLICE("") : m->assignment;
    const struct sync_group_request_assignment *found =
        map_get(assignments, m->id);
    return found != NULL ? found->assignment : SLICE("");
}

static struct group_metadata_value_member_metadata *
members_of(const struct group *group, const struct map *assignments,
           struct arena *arena)
{
    struct group_metadata_value_member_metadata *members =
        arena_array(arena, group_size(group), sizeof *members);
    uint32_t i = 0;

    if (group->roster == NULL)
        return members;
    LIST_EACH (node, &group->roster->members) {
        const struct member *m = LIST_ENTRY(node, struct member, link);

        members[i++] = (struct group_metadata_value_member_metadata){
            .member_id = m->id,
            .group_instance_id = m->instance_id,
            .client_id = m->client_id,
            .client_host = m->client_host,
            .rebalance_timeout = m->rebalance_timeout_ms,
            .session_timeout = m->session_timeout_ms,
            .subscription = member_metadata(m, group->protocol_name),
            .assignment = assignment_of(m, assignments),
        };
    }
    return members;
}

void write_group(struct coord_write *write, const struct group *group,
                 const struct sync_group_request_assignment *assignments,
                 int32_t assignments_len)
{
    struct arena arena;
    struct map by_member = MAP_INIT;

    arena_init(&arena, 0);
    for (int32_t i = 0; i < assignments_len; i++)
        map_put(&by_member, assignments[i].member_id,
                (void *)(uintptr_t)&assignments[i]);
    struct group_metadata_value value = {
        .protocol_type = group->protocol_type,
        .generation = group->generation,
        .protocol = group->protocol_name,
        .leader = group->roster != NULL && group->roster->leader != NULL
                      ? group->roster->leader->id
                      : SLICE_NULL,
        .current_state_timestamp = group->state_wall_ms,
        .members =
            members_of(group, assignments != NULL ? &by_member : NULL, &arena),
        .members_len = (int32_t)group_size(group),
    };
    write_group_value(&write->pending.records, group_id(group), &value);
    map_free(&by_member);
    arena_free(&arena);
}
