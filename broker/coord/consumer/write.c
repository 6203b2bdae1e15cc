/* Writes: records in Kafka's layout, and the answer that waits for them. */
#include "broker/coord/consumer/consumer.h"

#include "proto/kafka/coordinator_record.h"

#include <stdlib.h>

enum { VALUE_VERSION = 0 };

/* ---- writes --------------------------------------------------------------*/

struct consumer_write *cwrite_new(struct coord_answer *answer)
{
    struct consumer_write *write = xcalloc(1, sizeof *write);

    list_init(&write->pending.link);
    write->answer = answer;
    return write;
}

void cwrite_free(struct consumer_write *write)
{
    coord_records_free(&write->pending.records);
    coord_answer_free(write->answer);
    free((void *)(uintptr_t)write->joined_group.data);
    free((void *)(uintptr_t)write->joined_member.data);
    free(write);
}

/* It may have become a classic group meanwhile. */
void cwrite_joined(struct consumer_coord *coord,
                   const struct consumer_write *write)
{
    const struct cgroup *group = slice_is_null(write->joined_group)
                                     ? NULL
                                     : cgroup_find(coord, write->joined_group);
    struct cmember *member =
        group != NULL ? cgroup_member(group, write->joined_member) : NULL;

    if (member == NULL || !member->profile.classic)
        return;
    cmember_heard(coord, member);
    cmember_await_sync(coord, member);
}

void cwrite_send(struct cstep *step, struct consumer_write *write)
{
    struct consumer_coord *coord = step->coord;
    bool waits = write->pending.records.count != 0 ||
                 (write->answer != NULL && coord->settled < coord->appends);

    write->covers = coord->appends;
    if (waits) {
        list_push_back(&step->update->writes, &write->pending.link);
        return;
    }
    cwrite_joined(coord, write);
    if (write->answer != NULL)
        canswer_send(step, write->answer);
    write->answer = NULL;
    cwrite_free(write);
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

void cwrite_epoch(struct coord_records *records, const struct cgroup *group,
                  struct slice group_id, int32_t epoch, int64_t hash)
{
    struct consumer_group_metadata_key key = {group_id};
    struct consumer_group_metadata_value value = {epoch, hash};
    struct consumer_group_partition_metadata_key old = {group_id};

    add(records, &consumer_group_metadata_key_desc, &key,
        &consumer_group_metadata_value_desc, &value);
    if (group != NULL && group->has_partition_record)
        add(records, &consumer_group_partition_metadata_key_desc, &old, NULL,
            NULL);
}

void cwrite_profile(struct coord_records *records, struct slice group_id,
                    struct slice member_id, const struct cprofile *profile)
{
    struct consumer_group_member_metadata_key key = {group_id, member_id};
    struct consumer_group_member_metadata_value_classic_member_metadata
        classic = {
            .session_timeout_ms = profile->session_timeout_ms,
            .supported_protocols = profile->protocols,
            .supported_protocols_len = (int32_t)profile->protocols_len,
        };
    struct consumer_group_member_metadata_value value = {
        .instance_id = profile->instance_id,
        .rack_id = profile->rack_id,
        .client_id = profile->client_id,
        .client_host = profile->client_host,
        .subscribed_topic_names = profile->names,
        .subscribed_topic_names_len = (int32_t)profile->names_len,
        .subscribed_topic_regex = profile->regex,
        .rebalance_timeout_ms = profile->rebalance_timeout_ms,
        .server_assignor = profile->assignor,
        .classic_member_metadata = profile->classic ? &classic : NULL,
    };

    add(records, &consumer_group_member_metadata_key_desc, &key,
        &consumer_group_member_metadata_value_desc, &value);
}

void cwrite_target(struct coord_records *records, struct slice group_id,
                   struct slice member_id, struct parts target)
{
    typedef struct consumer_group_target_assignment_member_value_topic_partition
        topic_value;
    struct consumer_group_target_assignment_member_key key = {group_id,
                                                              member_id};
    struct consumer_group_target_assignment_member_value value = {0};
    struct arena arena;

    arena_init(&arena, 0);
    value.topic_partitions = arena_array(&arena, parts_topics(target),
                                         sizeof *value.topic_partitions);
    for (uint32_t at = 0, run; at < target.len; at += run) {
        topic_value *topic =
            &value.topic_partitions[value.topic_partitions_len++];

        run = parts_run(target, at);
        topic->topic_id = target.items[at].topic;
        topic->partitions = arena_array(&arena, run, sizeof(int32_t));
        topic->partitions_len = (int32_t)run;
        for (uint32_t i = 0; i < run; i++)
            topic->partitions[i] = target.items[at + i].partition;
    }
    add(records, &consumer_group_target_assignment_member_key_desc, &key,
        &consumer_group_target_assignment_member_value_desc, &value);
    arena_free(&arena);
}

void cwrite_target_epoch(struct coord_records *records, struct slice group_id,
                         int32_t epoch, int64_t wall_ms)
{
    struct consumer_group_target_assignment_metadata_key key = {group_id};
    struct consumer_group_target_assignment_metadata_value value = {epoch,
                                                                    wall_ms};

    add(records, &consumer_group_target_assignment_metadata_key_desc, &key,
        &consumer_group_target_assignment_metadata_value_desc, &value);
}

typedef struct consumer_group_current_member_assignment_value_topic_partitions
    current_topic;

/* With the epoch of each partition (KIP-1251). */
static current_topic *current_topics(struct arena *arena, struct parts set,
                                     int32_t *len)
{
    current_topic *topics =
        arena_array(arena, parts_topics(set), sizeof *topics);

    for (uint32_t at = 0, run; at < set.len; at += run) {
        current_topic *topic = &topics[(*len)++];

        run = parts_run(set, at);
        topic->topic_id = set.items[at].topic;
        topic->partitions = arena_array(arena, run, sizeof(int32_t));
        topic->assignment_epochs = arena_array(arena, run, sizeof(int32_t));
        topic->partitions_len = topic->assignment_epochs_len = (int32_t)run;
        for (uint32_t i = 0; i < run; i++) {
            topic->partitions[i] = set.items[at + i].partition;
            topic->assignment_epochs[i] = set.items[at + i].epoch;
        }
    }
    return topics;
}

void cwrite_current(struct coord_records *records, struct slice group_id,
                    struct slice member_id, const struct ccurrent *current)
{
    struct consumer_group_current_member_assignment_key key = {group_id,
                                                               member_id};
    struct consumer_group_current_member_assignment_value value = {
        .member_epoch = current->epoch,
        .previous_member_epoch = current->previous_epoch,
        .state = (int8_t)current->state,
    };
    struct arena arena;

    arena_init(&arena, 0);
    value.assigned_partitions = current_topics(&arena, current->assigned,
                                               &value.assigned_partitions_len);
    value.partitions_pending_revocation = current_topics(
        &arena, current->revoking, &value.partitions_pending_revocation_len);
    add(records, &consumer_group_current_member_assignment_key_desc, &key,
        &consumer_group_current_member_assignment_value_desc, &value);
    arena_free(&arena);
}

void cwrite_regex(struct coord_records *records, struct slice group_id,
                  struct slice pattern, struct slice *topics, uint32_t len,
                  int64_t topics_version, int64_t wall_ms)
{
    struct consumer_group_regular_expression_key key = {group_id, pattern};
    struct consumer_group_regular_expression_value value = {
        topics, (int32_t)len, topics_version, wall_ms};

    add(records, &consumer_group_regular_expression_key_desc, &key,
        &consumer_group_regular_expression_value_desc, &value);
}

/* ---- tombstones ----------------------------------------------------------*/

void cwrite_regex_gone(struct coord_records *records, struct slice group_id,
                       struct slice pattern)
{
    struct consumer_group_regular_expression_key key = {group_id, pattern};

    add(records, &consumer_group_regular_expression_key_desc, &key, NULL, NULL);
}

/* In the order in which Kafka wants them: it takes the last one only of who has
 * neither an assignment nor a target. */
void cwrite_member_gone(struct coord_records *records, struct slice group_id,
                        struct slice member_id)
{
    struct consumer_group_current_member_assignment_key current = {group_id,
                                                                   member_id};
    struct consumer_group_target_assignment_member_key target = {group_id,
                                                                 member_id};
    struct consumer_group_member_metadata_key profile = {group_id, member_id};

    add(records, &consumer_group_current_member_assignment_key_desc, &current,
        NULL, NULL);
    add(records, &consumer_group_target_assignment_member_key_desc, &target,
        NULL, NULL);
    add(records, &consumer_group_member_metadata_key_desc, &profile, NULL,
        NULL);
}

void cwrite_group_gone(struct coord_records *records,
                       const struct cgroup *group)
{
    struct consumer_group_target_assignment_metadata_key target = {group->id};
    struct consumer_group_partition_metadata_key old = {group->id};
    struct consumer_group_metadata_key key = {group->id};

    MAP_EACH (entry, &group->members)
        cwrite_member_gone(records, group->id, entry->key);
    add(records, &consumer_group_target_assignment_metadata_key_desc, &target,
        NULL, NULL);
    if (group->has_partition_record)
        add(records, &consumer_group_partition_metadata_key_desc, &old, NULL,
            NULL);
    MAP_EACH (entry, &group->regexes)
        if (((const struct cregex *)entry->value)->resolved)
            cwrite_regex_gone(records, group->id, entry->key);
    add(records, &consumer_group_metadata_key_desc, &key, NULL, NULL);
}
