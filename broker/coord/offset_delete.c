/* Deletions that somebody asked for: OffsetDelete, DeleteGroups, and topics
 * that are gone. */
#include "broker/coord/group.h"

/* That there is nothing to delete may rest on a deletion that can still be
 * lost, so that answer waits, too. */
static void send_with_answer(struct step *step, struct coord_write *write,
                             struct coord_answer *answer)
{
    if (write->pending.records.count == 0 && answer == NULL) {
        write_free(write);
        return;
    }
    write->replay = true;
    write->answer = answer;
    write_send(step, write);
}

/* ---- OffsetDelete --------------------------------------------------------*/

static enum err check_offset_delete(const struct coord *coord,
                                    const struct group *group,
                                    struct slice group_id)
{
    if (group_id.len == 0)
        return ERR_INVALID_GROUP_ID;
    if (group_elsewhere(coord, group_id) != GROUP_PRESENT_NOT)
        return ERR_NONE;
    if (group == NULL)
        return ERR_GROUP_ID_NOT_FOUND;
    if (group->state != GROUP_EMPTY && !group_is_consumer(group))
        return ERR_NON_EMPTY_GROUP;
    return ERR_NONE;
}

/* The group may be NULL: one of another kind without offsets. */
static void delete_partitions(const struct coord *coord,
                              struct coord_write *write, struct slice id,
                              const struct group *group,
                              const struct offset_delete_request_topic *from,
                              struct offset_delete_response_topic *to)
{
    bool subscribed = expire_is_subscribed(coord, id, group, from->name);

    for (int32_t i = 0; i < from->partitions_len; i++) {
        int32_t index = from->partitions[i].partition_index;

        to->partitions[i].partition_index = index;
        if (subscribed)
            to->partitions[i].error_code = ERR_GROUP_SUBSCRIBED_TO_TOPIC;
        else if (group != NULL &&
                 (offset_newest(offsets_find(group, from->name, index)) !=
                      NULL ||
                  offsets_pending_in_txn(group, from->name, index)))
            write_offset_tombstone(write, id, from->name, index);
    }
}

void offset_delete_request(struct step *step,
                           const struct coord_context *context,
                           const struct offset_delete_request *request)
{
    const struct group *group = group_find(step->coord, request->group_id);
    enum err err = check_offset_delete(step->coord, group, request->group_id);
    struct coord_answer *answer =
        coord_refuse(context, API_OFFSET_DELETE, request, err);
    struct offset_delete_response *r = &answer->response.offset_delete;

    if (err != ERR_NONE) {
        answer_send(step, answer);
        return;
    }
    struct coord_write *write = write_new(COORD_WRITE_PLAIN);
    r->topics_len = request->topics_len;
    r->topics = arena_array(&answer->arena, (size_t)request->topics_len,
                            sizeof *r->topics);
    for (int32_t i = 0; i < request->topics_len; i++) {
        const struct offset_delete_request_topic *from = &request->topics[i];

        r->topics[i].name = arena_copy(&answer->arena, from->name);
        r->topics[i].partitions_len = from->partitions_len;
        r->topics[i].partitions =
            arena_array(&answer->arena, (size_t)from->partitions_len,
                        sizeof *r->topics[i].partitions);
        delete_partitions(step->coord, write, request->group_id, group, from,
                          &r->topics[i]);
    }
    send_with_answer(step, write, answer);
}

/* ---- DeleteGroups --------------------------------------------------------*/

/* What only open transactions have committed. */
static void delete_pending(struct coord_write *write, const struct group *group,
                           const struct pending_topic *topic)
{
    struct slice name = offsets_pending_name(topic);

    MAP_EACH (entry, &topic->partitions) {
        const struct pending_partition *partition = entry->value;

        if (offset_newest(offsets_find(group, name, partition->index)) == NULL)
            write_offset_tombstone(write, group_id(group), name,
                                   partition->index);
    }
}

static void delete_offsets(struct coord_write *write, const struct group *group)
{
    for (uint32_t t = 0; t < group->topics_len; t++) {
        const struct topic_offsets *topic = group->topics[t];
        struct slice name = offsets_topic_name(topic);

        for (uint32_t i = 0; i < topic->len; i++)
            if (offset_newest(&topic->entries[i]) != NULL)
                write_offset_tombstone(write, group_id(group), name,
                                       topic->entries[i].partition);
    }
    MAP_EACH (entry, &group->pending)
        delete_pending(write, group, entry->value);
}

/* Tombstones for offsets first, so that a group whose deletion was cut short
 * is still there to be deleted again; then what another kind has of it.  The
 * group may be NULL: such a one without offsets. */
static void delete_group(const struct coord *coord, struct coord_write *write,
                         struct slice id, const struct group *group)
{
    if (group != NULL)
        delete_offsets(write, group);
    if (group_elsewhere(coord, id) != GROUP_PRESENT_NOT)
        coord->others.delete_records(coord->others.arg, id,
                                     &write->pending.records);
    if (group != NULL)
        write_group_tombstone(write, id);
}

void delete_groups_request(struct step *step,
                           const struct coord_context *context,
                           const struct delete_groups_request *request)
{
    struct coord_answer *answer =
        coord_refuse(context, API_DELETE_GROUPS, request, ERR_NONE);
    struct delete_groups_response *r = &answer->response.delete_groups;
    struct coord_write *write = write_new(COORD_WRITE_PLAIN);

    for (int32_t i = 0; i < request->groups_names_len; i++) {
        struct slice id = request->groups_names[i];
        const struct group *group = group_find(step->coord, id);
        enum group_presence elsewhere = group_elsewhere(step->coord, id);

        if (group == NULL && elsewhere == GROUP_PRESENT_NOT)
            r->results[i].error_code = ERR_GROUP_ID_NOT_FOUND;
        else if (elsewhere == GROUP_PRESENT ||
                 (group != NULL && group->state != GROUP_EMPTY))
            r->results[i].error_code = ERR_NON_EMPTY_GROUP;
        else
            delete_group(step->coord, write, id, group);
    }
    send_with_answer(step, write, answer);
}

/* ---- deleted topics ------------------------------------------------------*/

static void delete_topic(struct coord_write *write, const struct group *group,
                         struct slice topic)
{
    const struct topic_offsets *offsets = offsets_topic(group, topic);

    for (uint32_t i = 0; offsets != NULL && i < offsets->len; i++)
        if (offset_newest(&offsets->entries[i]) != NULL)
            write_offset_tombstone(write, group_id(group), topic,
                                   offsets->entries[i].partition);
    const struct pending_topic *pending = offsets_pending_topic(group, topic);
    if (pending != NULL)
        delete_pending(write, group, pending);
}

void coord_topic_deleted(struct coord *coord, struct slice topic,
                         struct coord_time time, struct coord_update *update)
{
    struct step step = {coord, time.now_ms, time.wall_ms, update};
    struct coord_write *write = write_new(COORD_WRITE_PLAIN);

    coord->time = time;
    MAP_EACH (entry, &coord->groups)
        delete_topic(write, entry->value, topic);
    send_with_answer(&step, write, NULL);
}
