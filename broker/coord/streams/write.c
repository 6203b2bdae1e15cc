/* Writes: records in Kafka's layout, and the answer that waits for them. */
#include "broker/coord/streams/streams.h"

#include "proto/kafka/coordinator_record.h"

#include <stdio.h>
#include <stdlib.h>

enum { VALUE_VERSION = 0 };

/* ---- writes --------------------------------------------------------------*/

struct streams_write *stwrite_new(struct coord_answer *answer)
{
    struct streams_write *write = xcalloc(1, sizeof *write);

    list_init(&write->pending.link);
    write->answer = answer;
    return write;
}

void stwrite_free(struct streams_write *write)
{
    coord_records_free(&write->pending.records);
    coord_answer_free(write->answer);
    streams_creation_free(write->creation);
    free(write);
}

void stwrite_send(struct ststep *step, struct streams_write *write)
{
    const struct streams_coord *coord = step->coord;
    bool waits = write->pending.records.count != 0 ||
                 (write->answer != NULL && coord->settled < coord->appends);

    write->covers = coord->appends;
    if (waits) {
        list_push_back(&step->update->writes, &write->pending.link);
        return;
    }
    if (write->answer != NULL)
        stanswer_send(step, write->answer);
    write->answer = NULL;
    stwrite_create(step, write);
    stwrite_free(write);
}

void stwrite_create(struct ststep *step, struct streams_write *write)
{
    if (write->creation != NULL)
        list_push_back(&step->update->creations, &write->creation->link);
    write->creation = NULL;
}

/* ---- records -------------------------------------------------------------*/

/* Ids and names were decoded from requests or records, where a string is at
 * most 32767 bytes, so they fit into records again. */
static void encode_ok(enum err err) { ASSERT(err == ERR_NONE); }

/* value NULL: a tombstone. */
static void add(struct coord_records *records,
                const struct kafka_desc *key_desc, const void *key,
                const struct kafka_desc *value_desc, const void *value)
{
    struct buf key_bytes = BUF_INIT, value_bytes = BUF_INIT;
    struct slice value_slice = SLICE_NULL;

    encode_ok(coordinator_key_encode(key_desc, key, &key_bytes));
    if (value != NULL) {
        encode_ok(coordinator_value_encode(value_desc, VALUE_VERSION, value,
                                           &value_bytes));
        value_slice = buf_slice(&value_bytes);
    }
    coord_records_add(records, buf_slice(&key_bytes), value_slice);
    buf_free(&key_bytes);
    buf_free(&value_bytes);
}

void stwrite_epoch(struct coord_records *records, struct slice group_id,
                   int32_t epoch, int64_t hash, int32_t valid_epoch,
                   int32_t standbys)
{
    char number[16];
    struct streams_group_metadata_key key = {group_id};
    struct streams_group_metadata_value_last_assignment_config config = {
        SLICE("num.standby.replicas"), SLICE_NULL};
    struct streams_group_metadata_value value = {
        .epoch = epoch,
        .metadata_hash = hash,
        .validated_topology_epoch = valid_epoch,
        .last_assignment_configs = &config,
        .last_assignment_configs_len = 1,
    };

    snprintf(number, sizeof number, "%d", standbys);
    config.value = slice_str(number);
    add(records, &streams_group_metadata_key_desc, &key,
        &streams_group_metadata_value_desc, &value);
}

void stwrite_topology(struct coord_records *records, struct slice group_id,
                      const stopology_value *value)
{
    struct streams_group_topology_key key = {group_id};

    add(records, &streams_group_topology_key_desc, &key,
        &streams_group_topology_value_desc, value);
}

void stwrite_profile(struct coord_records *records, struct slice group_id,
                     struct slice member_id, const struct stprofile *profile)
{
    struct streams_group_member_metadata_key key = {group_id, member_id};
    struct streams_group_member_metadata_value_endpoint endpoint = {
        profile->endpoint_host, profile->endpoint_port};
    struct streams_group_member_metadata_value value = {
        .instance_id = profile->instance_id,
        .rack_id = profile->rack_id,
        .client_id = profile->client_id,
        .client_host = profile->client_host,
        .rebalance_timeout_ms = profile->rebalance_timeout_ms,
        .topology_epoch = profile->topology_epoch,
        .process_id = profile->process_id,
        .user_endpoint = profile->has_endpoint ? &endpoint : NULL,
        .client_tags = profile->tags,
        .client_tags_len = (int32_t)profile->tags_len,
    };

    add(records, &streams_group_member_metadata_key_desc, &key,
        &streams_group_member_metadata_value_desc, &value);
}

typedef struct streams_group_target_assignment_member_value_task_ids target_ids;

static target_ids *target_tasks(struct arena *arena, struct tasks set,
                                int32_t *len)
{
    target_ids *ids = arena_array(arena, tasks_subs(set), sizeof *ids);

    for (uint32_t at = 0, run; at < set.len; at += run) {
        target_ids *to = &ids[(*len)++];

        run = tasks_run(set, at);
        to->subtopology_id = set.items[at].sub;
        to->partitions = arena_array(arena, run, sizeof(int32_t));
        to->partitions_len = (int32_t)run;
        for (uint32_t i = 0; i < run; i++)
            to->partitions[i] = set.items[at + i].partition;
    }
    return ids;
}

void stwrite_target(struct coord_records *records, struct slice group_id,
                    struct slice member_id, const struct tuple *target)
{
    struct streams_group_target_assignment_member_key key = {group_id,
                                                             member_id};
    struct streams_group_target_assignment_member_value v = {0};
    struct arena arena;

    arena_init(&arena, 0);
    v.active_tasks =
        target_tasks(&arena, target->of[TASK_ACTIVE], &v.active_tasks_len);
    v.standby_tasks =
        target_tasks(&arena, target->of[TASK_STANDBY], &v.standby_tasks_len);
    v.warmup_tasks =
        target_tasks(&arena, target->of[TASK_WARMUP], &v.warmup_tasks_len);
    add(records, &streams_group_target_assignment_member_key_desc, &key,
        &streams_group_target_assignment_member_value_desc, &v);
    arena_free(&arena);
}

void stwrite_target_epoch(struct coord_records *records, struct slice group_id,
                          int32_t epoch, int64_t wall_ms)
{
    struct streams_group_target_assignment_metadata_key key = {group_id};
    struct streams_group_target_assignment_metadata_value value = {epoch,
                                                                   wall_ms};

    add(records, &streams_group_target_assignment_metadata_key_desc, &key,
        &streams_group_target_assignment_metadata_value_desc, &value);
}

typedef struct streams_group_current_member_assignment_value_task_ids
    current_ids;

/* Active ones with the epoch of each. */
static current_ids *current_tasks(struct arena *arena, const struct tuple *from,
                                  enum task_kind kind, int32_t *len)
{
    struct tasks set = from->of[kind];
    current_ids *ids = arena_array(arena, tasks_subs(set), sizeof *ids);

    for (uint32_t at = 0, run; at < set.len; at += run) {
        current_ids *to = &ids[(*len)++];

        run = tasks_run(set, at);
        to->subtopology_id = set.items[at].sub;
        to->partitions = arena_array(arena, run, sizeof(int32_t));
        to->partitions_len = (int32_t)run;
        to->assignment_epochs_len = -1;
        if (kind == TASK_ACTIVE) {
            to->assignment_epochs = arena_array(arena, run, sizeof(int32_t));
            to->assignment_epochs_len = (int32_t)run;
        }
        for (uint32_t i = 0; i < run; i++) {
            to->partitions[i] = set.items[at + i].partition;
            if (kind == TASK_ACTIVE)
                to->assignment_epochs[i] = set.items[at + i].epoch;
        }
    }
    return ids;
}

void stwrite_current(struct coord_records *records, struct slice group_id,
                     struct slice member_id, const struct scurrent *current)
{
    struct streams_group_current_member_assignment_key key = {group_id,
                                                              member_id};
    struct streams_group_current_member_assignment_value v = {
        .member_epoch = current->epoch,
        .previous_member_epoch = current->previous_epoch,
        .state = (int8_t)current->state,
    };
    const struct tuple *has = &current->assigned, *gives = &current->revoking;
    struct arena arena;

    arena_init(&arena, 0);
    v.active_tasks =
        current_tasks(&arena, has, TASK_ACTIVE, &v.active_tasks_len);
    v.standby_tasks =
        current_tasks(&arena, has, TASK_STANDBY, &v.standby_tasks_len);
    v.warmup_tasks =
        current_tasks(&arena, has, TASK_WARMUP, &v.warmup_tasks_len);
    v.active_tasks_pending_revocation = current_tasks(
        &arena, gives, TASK_ACTIVE, &v.active_tasks_pending_revocation_len);
    v.standby_tasks_pending_revocation = current_tasks(
        &arena, gives, TASK_STANDBY, &v.standby_tasks_pending_revocation_len);
    v.warmup_tasks_pending_revocation = current_tasks(
        &arena, gives, TASK_WARMUP, &v.warmup_tasks_pending_revocation_len);
    add(records, &streams_group_current_member_assignment_key_desc, &key,
        &streams_group_current_member_assignment_value_desc, &v);
    arena_free(&arena);
}

/* ---- tombstones ----------------------------------------------------------*/

/* In the order in which Kafka wants them: it takes the last one only of who has
 * neither an assignment nor a target. */
void stwrite_member_gone(struct coord_records *records, struct slice group_id,
                         struct slice member_id)
{
    struct streams_group_current_member_assignment_key current = {group_id,
                                                                  member_id};
    struct streams_group_target_assignment_member_key target = {group_id,
                                                                member_id};
    struct streams_group_member_metadata_key profile = {group_id, member_id};

    add(records, &streams_group_current_member_assignment_key_desc, &current,
        NULL, NULL);
    add(records, &streams_group_target_assignment_member_key_desc, &target,
        NULL, NULL);
    add(records, &streams_group_member_metadata_key_desc, &profile, NULL, NULL);
}

void stwrite_group_gone(struct coord_records *records,
                        const struct stgroup *group)
{
    struct streams_group_target_assignment_metadata_key target = {group->id};
    struct streams_group_metadata_key key = {group->id};
    struct streams_group_topology_key topology = {group->id};

    MAP_EACH (entry, &group->members)
        stwrite_member_gone(records, group->id, entry->key);
    add(records, &streams_group_target_assignment_metadata_key_desc, &target,
        NULL, NULL);
    add(records, &streams_group_metadata_key_desc, &key, NULL, NULL);
    add(records, &streams_group_topology_key_desc, &topology, NULL, NULL);
}
