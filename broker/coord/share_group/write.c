/* Writes: records in Kafka's layout, and the answer that waits for them. */
#include "broker/coord/share_group/sgroup.h"

#include "proto/kafka/coordinator_record.h"

#include <stdlib.h>

enum { VALUE_VERSION = 0 };

struct swrite *swrite_new(struct coord_answer *answer)
{
    struct swrite *write = xcalloc(1, sizeof *write);

    list_init(&write->pending.link);
    write->answer = answer;
    return write;
}

void swrite_free(struct swrite *write)
{
    coord_records_free(&write->pending.records);
    coord_answer_free(write->answer);
    free((void *)(uintptr_t)write->group.data);
    free(write);
}

void swrite_send(struct sstep *step, struct swrite *write)
{
    const struct share_group_coord *coord = step->coord;
    bool waits = write->pending.records.count != 0 ||
                 (write->answer != NULL && coord->settled < coord->appends);

    write->covers = coord->appends;
    if (waits) {
        list_push_back(&step->update->writes, &write->pending.link);
        return;
    }
    if (write->answer != NULL)
        sanswer_send(step, write->answer);
    write->answer = NULL;
    swrite_free(write);
}

/* ---- records -------------------------------------------------------------*/

/* Ids and names were decoded from requests or records, where a string is at
 * most 32767 bytes, so they fit into records again.  value NULL: a tombstone.
 */
static void add(struct coord_records *records,
                const struct kafka_desc *key_desc, const void *key,
                const struct kafka_desc *value_desc, const void *value)
{
    struct buf key_bytes = BUF_INIT, value_bytes = BUF_INIT;
    struct slice value_slice = SLICE_NULL;

    ASSERT(coordinator_key_encode(key_desc, key, &key_bytes) == ERR_NONE);
    if (value != NULL) {
        ASSERT(coordinator_value_encode(value_desc, VALUE_VERSION, value,
                                        &value_bytes) == ERR_NONE);
        value_slice = buf_slice(&value_bytes);
    }
    coord_records_add(records, buf_slice(&key_bytes), value_slice);
    buf_free(&key_bytes);
    buf_free(&value_bytes);
}

void swrite_group(struct coord_records *records, struct slice group,
                  int32_t epoch, int64_t hash)
{
    struct share_group_metadata_key key = {group};
    struct share_group_metadata_value value = {epoch, hash};

    add(records, &share_group_metadata_key_desc, &key,
        &share_group_metadata_value_desc, &value);
}

void swrite_profile(struct coord_records *records, struct slice group,
                    struct slice member, const struct sprofile *profile)
{
    struct share_group_member_metadata_key key = {group, member};
    struct share_group_member_metadata_value value = {
        .rack_id = profile->rack_id,
        .client_id = profile->client_id,
        .client_host = profile->client_host,
        .subscribed_topic_names = profile->names,
        .subscribed_topic_names_len = (int32_t)profile->names_len,
    };

    add(records, &share_group_member_metadata_key_desc, &key,
        &share_group_member_metadata_value_desc, &value);
}

/* The partitions of those of a set from `at` on that have one topic. */
static int32_t *partitions_of(struct arena *arena, struct parts set,
                              uint32_t at, uint32_t run)
{
    int32_t *partitions = arena_array(arena, run, sizeof *partitions);

    for (uint32_t i = 0; i < run; i++)
        partitions[i] = set.items[at + i].partition;
    return partitions;
}

void swrite_target(struct coord_records *records, struct slice group,
                   struct slice member, struct parts target)
{
    struct share_group_target_assignment_member_key key = {group, member};
    struct share_group_target_assignment_member_value value = {0};
    struct arena arena;

    arena_init(&arena, 0);
    value.topic_partitions = arena_array(&arena, parts_topics(target),
                                         sizeof *value.topic_partitions);
    for (uint32_t at = 0, run; at < target.len; at += run) {
        run = parts_run(target, at);
        value.topic_partitions[value.topic_partitions_len++] =
            (struct share_group_target_assignment_member_value_topic_partition){
                target.items[at].topic, partitions_of(&arena, target, at, run),
                (int32_t)run};
    }
    add(records, &share_group_target_assignment_member_key_desc, &key,
        &share_group_target_assignment_member_value_desc, &value);
    arena_free(&arena);
}

void swrite_target_epoch(struct coord_records *records, struct slice group,
                         int32_t epoch, int64_t wall_ms)
{
    struct share_group_target_assignment_metadata_key key = {group};
    struct share_group_target_assignment_metadata_value value = {epoch,
                                                                 wall_ms};

    add(records, &share_group_target_assignment_metadata_key_desc, &key,
        &share_group_target_assignment_metadata_value_desc, &value);
}

void swrite_current(struct coord_records *records, struct slice group,
                    struct slice member, int32_t epoch, int32_t previous,
                    struct parts assigned)
{
    struct share_group_current_member_assignment_key key = {group, member};
    struct share_group_current_member_assignment_value value = {
        .member_epoch = epoch,
        .previous_member_epoch = previous,
        .state = SGROUP_STABLE,
    };
    struct arena arena;

    arena_init(&arena, 0);
    value.assigned_partitions = arena_array(&arena, parts_topics(assigned),
                                            sizeof *value.assigned_partitions);
    for (uint32_t at = 0, run; at < assigned.len; at += run) {
        run = parts_run(assigned, at);
        value.assigned_partitions[value.assigned_partitions_len++] =
            (struct
             share_group_current_member_assignment_value_topic_partitions){
                assigned.items[at].topic,
                partitions_of(&arena, assigned, at, run), (int32_t)run};
    }
    add(records, &share_group_current_member_assignment_key_desc, &key,
        &share_group_current_member_assignment_value_desc, &value);
    arena_free(&arena);
}

/* ---- states --------------------------------------------------------------*/

typedef struct share_group_state_partition_metadata_value_topic_partitions_info
    topic_info;

/* What the topic is called now, or was when it was last known. */
static struct slice name_of(const struct share_group_coord *coord,
                            const struct sstates *states, struct uuid topic)
{
    struct slice name = coord->world.topic_name(coord->world.arg, topic);

    if (!slice_is_null(name))
        return name;
    const char *known = map_get(&states->names, uuid_slice(&topic));
    return known != NULL ? slice_str(known) : SLICE("");
}

static topic_info *infos(struct arena *arena,
                         const struct share_group_coord *coord,
                         const struct sstates *states, struct parts set,
                         int32_t *len)
{
    topic_info *all = arena_array(arena, parts_topics(set), sizeof *all);

    *len = 0;
    for (uint32_t at = 0, run; at < set.len; at += run) {
        struct uuid topic = set.items[at].topic;

        run = parts_run(set, at);
        all[(*len)++] = (topic_info){
            topic, arena_copy(arena, name_of(coord, states, topic)),
            partitions_of(arena, set, at, run), (int32_t)run};
    }
    return all;
}

void swrite_states(struct coord_records *records,
                   const struct share_group_coord *coord, struct slice group,
                   const struct sstates *states)
{
    struct share_group_state_partition_metadata_key key = {group};
    struct share_group_state_partition_metadata_value value = {0};
    struct arena arena;

    arena_init(&arena, 0);
    value.initializing_topics =
        infos(&arena, coord, states, states->initializing,
              &value.initializing_topics_len);
    value.initialized_topics = infos(&arena, coord, states, states->initialized,
                                     &value.initialized_topics_len);
    value.deleting_topics = arena_array(&arena, states->deleting_len,
                                        sizeof *value.deleting_topics);
    value.deleting_topics_len = (int32_t)states->deleting_len;
    for (uint32_t i = 0; i < states->deleting_len; i++)
        value.deleting_topics[i] =
            (struct share_group_state_partition_metadata_value_topic_info){
                states->deleting[i],
                arena_copy(&arena,
                           name_of(coord, states, states->deleting[i]))};
    add(records, &share_group_state_partition_metadata_key_desc, &key,
        &share_group_state_partition_metadata_value_desc, &value);
    arena_free(&arena);
}

/* ---- tombstones ----------------------------------------------------------*/

void swrite_member_gone(struct coord_records *records, struct slice group,
                        struct slice member)
{
    struct share_group_current_member_assignment_key current = {group, member};
    struct share_group_target_assignment_member_key target = {group, member};
    struct share_group_member_metadata_key profile = {group, member};

    add(records, &share_group_current_member_assignment_key_desc, &current,
        NULL, NULL);
    add(records, &share_group_target_assignment_member_key_desc, &target, NULL,
        NULL);
    add(records, &share_group_member_metadata_key_desc, &profile, NULL, NULL);
}

void swrite_group_gone(struct coord_records *records,
                       const struct sgroup *group)
{
    struct share_group_target_assignment_metadata_key target = {group->id};
    struct share_group_state_partition_metadata_key states = {group->id};
    struct share_group_metadata_key key = {group->id};

    MAP_EACH (entry, &group->members)
        swrite_member_gone(records, group->id, entry->key);
    add(records, &share_group_target_assignment_metadata_key_desc, &target,
        NULL, NULL);
    add(records, &share_group_state_partition_metadata_key_desc, &states, NULL,
        NULL);
    add(records, &share_group_metadata_key_desc, &key, NULL, NULL);
}
