/* Records become state: on load all of them, live each as soon as it is in the
 * log.  Everything is checked before anything changes, and nothing is expected
 * of their order. */
#include "broker/coord/share_group/sgroup.h"

#include "proto/kafka/coordinator_record.h"

#include <stdlib.h>

/* One record, decoded; value NULL: a tombstone. */
struct event {
    struct share_group_coord *coord;
    struct arena *arena;
    const void *key;
    const void *value;
};

/* The group of a record.  A tombstone makes none: NULL. */
static struct sgroup *group_of(const struct event *e, struct slice id)
{
    return e->value != NULL ? sgroup_get(e->coord, id)
                            : map_get(&e->coord->groups, id);
}

static struct smember *member_of(const struct event *e, struct slice group_id,
                                 struct slice id)
{
    struct sgroup *group = group_of(e, group_id);

    if (group == NULL)
        return NULL;
    return e->value != NULL ? smember_get(group, id)
                            : map_get(&group->members, id);
}

static void drop_hollow(struct share_group_coord *coord, struct smember *member)
{
    struct sgroup *group = member->group;

    smember_drop_if_hollow(coord, member);
    sgroup_drop_if_hollow(coord, group);
}

/* ---- the group -----------------------------------------------------------*/

static enum err replay_group(const struct event *e)
{
    const struct share_group_metadata_key *key = e->key;
    const struct share_group_metadata_value *value = e->value;
    struct sgroup *group = group_of(e, key->group_id);

    if (group == NULL)
        return ERR_NONE;
    group->exists = value != NULL;
    group->epoch = value != NULL ? value->epoch : 0;
    group->hash = value != NULL ? value->metadata_hash : 0;
    group->seen_topics = 0;
    sgroup_drop_if_hollow(e->coord, group);
    return ERR_NONE;
}

static enum err replay_target_epoch(const struct event *e)
{
    const struct share_group_target_assignment_metadata_key *key = e->key;
    const struct share_group_target_assignment_metadata_value *value = e->value;
    struct sgroup *group = group_of(e, key->group_id);

    if (group == NULL)
        return ERR_NONE;
    group->has_target_record = value != NULL;
    group->target_epoch = value != NULL ? value->assignment_epoch : 0;
    group->target_wall_ms = value != NULL ? value->assignment_timestamp : 0;
    heap_remove(&e->coord->timers, &group->assign.node);
    sgroup_drop_if_hollow(e->coord, group);
    return ERR_NONE;
}

/* ---- members -------------------------------------------------------------*/

static enum err replay_profile(const struct event *e)
{
    const struct share_group_member_metadata_key *key = e->key;
    const struct share_group_member_metadata_value *value = e->value;
    struct smember *member = member_of(e, key->group_id, key->member_id);

    if (member == NULL)
        return ERR_NONE;
    if (value == NULL) {
        smember_set_profile(e->coord, member, NULL);
        heap_remove(&e->coord->timers, &member->session.node);
        drop_hollow(e->coord, member);
        return ERR_NONE;
    }
    struct sprofile profile = {
        .rack_id = value->rack_id,
        .client_id = value->client_id,
        .client_host = value->client_host,
        .names = value->subscribed_topic_names,
        .names_len = snames_sort(value->subscribed_topic_names,
                                 (uint32_t)value->subscribed_topic_names_len),
    };
    smember_set_profile(e->coord, member, &profile);
    if (e->coord->life == SGROUPS_ACTIVE && !heap_has(&member->session.node))
        smember_heard(e->coord, member);
    return ERR_NONE;
}

/* Adds partitions of one topic; false: they are none. */
static bool add_parts(struct part *items, uint32_t *len, struct uuid topic,
                      const int32_t *partitions, int32_t partitions_len)
{
    for (int32_t i = 0; i < partitions_len; i++) {
        if (partitions[i] < 0 || partitions[i] > SGROUP_PARTITION_MAX)
            return false;
        items[(*len)++] = (struct part){topic, partitions[i], 0};
    }
    return true;
}

/* The partitions of a list of topics, whatever their structs are called. */
#define READ_PARTS(e, topics, topics_len, out, ok)                             \
    do {                                                                       \
        uint32_t room_ = 0, len_ = 0;                                          \
                                                                               \
        for (int32_t t_ = 0; t_ < (topics_len); t_++)                          \
            room_ += (uint32_t)(topics)[t_].partitions_len;                    \
        struct part *items_ = arena_array((e)->arena, room_, sizeof *items_);  \
        (ok) = true;                                                           \
        for (int32_t t_ = 0; (ok) && t_ < (topics_len); t_++)                  \
            (ok) = add_parts(items_, &len_, (topics)[t_].topic_id,             \
                             (topics)[t_].partitions,                          \
                             (topics)[t_].partitions_len);                     \
        *(out) = parts_of(items_, len_);                                       \
    } while (0)

static void set_parts(struct parts *to, struct parts from)
{
    struct parts copy = parts_dup(from);

    parts_free(to);
    *to = copy;
}

static enum err replay_target(const struct event *e)
{
    const struct share_group_target_assignment_member_key *key = e->key;
    const struct share_group_target_assignment_member_value *value = e->value;
    struct parts target = PARTS_EMPTY;
    bool ok = true;

    if (value != NULL)
        READ_PARTS(e, value->topic_partitions, value->topic_partitions_len,
                   &target, ok);
    if (!ok)
        return ERR_MALFORMED;
    struct smember *member = member_of(e, key->group_id, key->member_id);
    if (member == NULL)
        return ERR_NONE;
    member->has_target = value != NULL;
    set_parts(&member->target, target);
    drop_hollow(e->coord, member);
    return ERR_NONE;
}

static enum err replay_current(const struct event *e)
{
    const struct share_group_current_member_assignment_key *key = e->key;
    const struct share_group_current_member_assignment_value *value = e->value;
    struct parts assigned = PARTS_EMPTY;
    bool ok = true;

    if (value != NULL)
        READ_PARTS(e, value->assigned_partitions,
                   value->assigned_partitions_len, &assigned, ok);
    if (!ok)
        return ERR_MALFORMED;
    struct smember *member = member_of(e, key->group_id, key->member_id);
    if (member == NULL)
        return ERR_NONE;
    member->has_current = value != NULL;
    member->epoch = value != NULL ? value->member_epoch : 0;
    member->previous_epoch = value != NULL ? value->previous_member_epoch : 0;
    set_parts(&member->assigned, assigned);
    drop_hollow(e->coord, member);
    return ERR_NONE;
}

/* ---- states --------------------------------------------------------------*/

static void know_name(struct sstates *states, struct uuid topic,
                      struct slice name)
{
    free(map_put(&states->names, uuid_slice(&topic), slice_dup(name)));
}

static void
set_states(struct sstates *to, struct parts initializing,
           struct parts initialized,
           const struct share_group_state_partition_metadata_value *value)
{
    sstates_clear(to);
    to->initializing = parts_dup(initializing);
    to->initialized = parts_dup(initialized);
    to->deleting_len = (uint32_t)value->deleting_topics_len;
    to->deleting = xcalloc(to->deleting_len + 1, sizeof *to->deleting);
    for (uint32_t i = 0; i < to->deleting_len; i++) {
        to->deleting[i] = value->deleting_topics[i].topic_id;
        know_name(to, to->deleting[i], value->deleting_topics[i].topic_name);
    }
    for (int32_t i = 0; i < value->initializing_topics_len; i++)
        know_name(to, value->initializing_topics[i].topic_id,
                  value->initializing_topics[i].topic_name);
    for (int32_t i = 0; i < value->initialized_topics_len; i++)
        know_name(to, value->initialized_topics[i].topic_id,
                  value->initialized_topics[i].topic_name);
}

static enum err replay_states(const struct event *e)
{
    const struct share_group_state_partition_metadata_key *key = e->key;
    const struct share_group_state_partition_metadata_value *value = e->value;
    struct parts initializing = PARTS_EMPTY, initialized = PARTS_EMPTY;
    bool ok = true;

    if (value != NULL)
        READ_PARTS(e, value->initializing_topics,
                   value->initializing_topics_len, &initializing, ok);
    if (ok && value != NULL)
        READ_PARTS(e, value->initialized_topics, value->initialized_topics_len,
                   &initialized, ok);
    if (!ok)
        return ERR_MALFORMED;
    struct sgroup *group = group_of(e, key->group_id);
    if (group == NULL)
        return ERR_NONE;
    group->has_states_record = value != NULL;
    group->states_at = e->coord->appends + 1; /* counted when it is done */
    group->seen_topics = 0;
    if (value != NULL)
        set_states(&group->states, initializing, initialized, value);
    else
        sstates_clear(&group->states);
    sgroup_drop_if_hollow(e->coord, group);
    return ERR_NONE;
}

/* ---- any -----------------------------------------------------------------*/

static enum err replay(const struct event *e, int16_t type)
{
    switch (type) {
    case GROUP_RECORD_SHARE_GROUP_MEMBER_METADATA:
        return replay_profile(e);
    case GROUP_RECORD_SHARE_GROUP_METADATA:
        return replay_group(e);
    case GROUP_RECORD_SHARE_GROUP_TARGET_ASSIGNMENT_METADATA:
        return replay_target_epoch(e);
    case GROUP_RECORD_SHARE_GROUP_TARGET_ASSIGNMENT_MEMBER:
        return replay_target(e);
    case GROUP_RECORD_SHARE_GROUP_CURRENT_MEMBER_ASSIGNMENT:
        return replay_current(e);
    case GROUP_RECORD_SHARE_GROUP_STATE_PARTITION_METADATA:
        return replay_states(e);
    default:
        return ERR_UNSUPPORTED_VERSION;
    }
}

enum err share_group_replay(struct share_group_coord *coord, struct slice key,
                            struct slice value)
{
    const struct coordinator_record *record;
    struct arena arena;
    void *key_struct, *value_struct = NULL;

    arena_init(&arena, 0);
    enum err err = coordinator_key_decode(&group_records, key, &arena, &record,
                                          &key_struct);
    if (err == ERR_NONE && !slice_is_null(value))
        err = coordinator_value_decode(record, value, &arena, &value_struct);
    if (err == ERR_NONE) {
        struct event e = {coord, &arena, key_struct, value_struct};

        err = replay(&e, record->type);
    }
    arena_free(&arena);
    return err;
}
