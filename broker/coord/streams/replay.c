/* Records become state: on load all of them, live each as soon as it is in the
 * log.
 *
 * Records come from a log that may be older, newer, compacted or damaged, so
 * everything is checked before anything changes, and nothing is expected of
 * their order: a member's metadata may come after its assignment. */
#include "broker/coord/streams/streams.h"

#include "proto/kafka/coordinator_record.h"

#include <stdlib.h>

/* One record, decoded; value NULL: a tombstone. */
struct event {
    struct streams_coord *coord;
    struct arena *arena;
    const void *key;
    void *value;
};

/* The group of a record.  A tombstone makes none: NULL. */
static struct stgroup *group_of(const struct event *e, struct slice id)
{
    return e->value != NULL ? stgroup_get(e->coord, id)
                            : map_get(&e->coord->groups, id);
}

static struct stmember *member_of(const struct event *e, struct slice group_id,
                                  struct slice id)
{
    struct stgroup *group = group_of(e, group_id);

    if (group == NULL)
        return NULL;
    return e->value != NULL ? stmember_get(group, id)
                            : map_get(&group->members, id);
}

static void drop_hollow(struct streams_coord *coord, struct stmember *member)
{
    struct stgroup *group = member->group;

    stmember_drop_if_hollow(coord, member);
    stgroup_drop_if_hollow(coord, group);
}

/* ---- the group -----------------------------------------------------------*/

/* The number of standbys that the last target was to have.  Anything else that
 * is said there is not what we would say, so it is none. */
static int32_t standbys_of(const struct streams_group_metadata_value *value)
{
    char text[16];
    char *end;

    if (value->last_assignment_configs_len != 1 ||
        !slice_eq_str(value->last_assignment_configs[0].key,
                      "num.standby.replicas"))
        return STREAMS_NONE;
    struct slice number = value->last_assignment_configs[0].value;
    if (number.len == 0 || number.len >= sizeof text || number.data[0] < '0' ||
        number.data[0] > '9')
        return STREAMS_NONE;
    memcpy(text, number.data, number.len);
    text[number.len] = '\0';
    long long n = strtoll(text, &end, 10);
    return *end == '\0' && n <= INT32_MAX ? (int32_t)n : STREAMS_NONE;
}

static enum err replay_group(const struct event *e)
{
    const struct streams_group_metadata_key *key = e->key;
    const struct streams_group_metadata_value *value = e->value;
    struct stgroup *group = group_of(e, key->group_id);

    if (group == NULL)
        return ERR_NONE;
    group->exists = value != NULL;
    group->epoch = value != NULL ? value->epoch : STREAMS_FIRST_EPOCH;
    group->hash = value != NULL ? value->metadata_hash : 0;
    group->valid_epoch =
        value != NULL ? value->validated_topology_epoch : STREAMS_NONE;
    group->standbys = value != NULL ? standbys_of(value) : STREAMS_NONE;
    stgroup_drop_if_hollow(e->coord, group);
    return ERR_NONE;
}

static enum err replay_target_epoch(const struct event *e)
{
    const struct streams_group_target_assignment_metadata_key *key = e->key;
    const struct streams_group_target_assignment_metadata_value *value =
        e->value;
    struct stgroup *group = group_of(e, key->group_id);

    if (group == NULL)
        return ERR_NONE;
    group->has_target_record = value != NULL;
    group->target_epoch =
        value != NULL ? value->assignment_epoch : STREAMS_FIRST_EPOCH;
    group->target_wall_ms = value != NULL ? value->assignment_timestamp : 0;
    if (!group->delayed)
        heap_remove(&e->coord->timers, &group->assign.node);
    stgroup_drop_if_hollow(e->coord, group);
    return ERR_NONE;
}

static bool copartition_fits(const stopology_sub *sub)
{
    for (int32_t g = 0; g < sub->copartition_groups_len; g++) {
        const struct streams_group_topology_value_copartition_group *group =
            &sub->copartition_groups[g];

        for (int32_t i = 0; i < group->source_topics_len; i++)
            if (group->source_topics[i] < 0 ||
                group->source_topics[i] >= sub->source_topics_len)
                return false;
        for (int32_t i = 0; i < group->repartition_source_topics_len; i++)
            if (group->repartition_source_topics[i] < 0 ||
                group->repartition_source_topics[i] >=
                    sub->repartition_source_topics_len)
                return false;
    }
    return true;
}

static bool topics_fit(const stopology_topic *topics, int32_t len)
{
    for (int32_t i = 0; i < len; i++)
        if (topics[i].partitions < 0 ||
            topics[i].partitions > STREAMS_PARTITION_MAX)
            return false;
    return true;
}

static enum err replay_topology(const struct event *e)
{
    const struct streams_group_topology_key *key = e->key;
    stopology_value *value = e->value;

    for (int32_t s = 0; value != NULL && s < value->subtopologies_len; s++) {
        const stopology_sub *sub = &value->subtopologies[s];

        if (!copartition_fits(sub) ||
            !topics_fit(sub->state_changelog_topics,
                        sub->state_changelog_topics_len) ||
            !topics_fit(sub->repartition_source_topics,
                        sub->repartition_source_topics_len))
            return ERR_MALFORMED;
    }
    struct stgroup *group = group_of(e, key->group_id);
    if (group == NULL)
        return ERR_NONE;
    stgroup_set_topology(e->coord, group, value);
    stgroup_drop_if_hollow(e->coord, group);
    return ERR_NONE;
}

/* ---- members -------------------------------------------------------------*/

static int compare_tags(const void *a, const void *b)
{
    return slice_cmp(((const streams_tag *)a)->key,
                     ((const streams_tag *)b)->key);
}

static struct stprofile
profile_of(const struct streams_group_member_metadata_value *value)
{
    struct stprofile p = {
        .instance_id = value->instance_id,
        .rack_id = value->rack_id,
        .client_id = value->client_id,
        .client_host = value->client_host,
        .process_id = value->process_id,
        .rebalance_timeout_ms = value->rebalance_timeout_ms,
        .topology_epoch = value->topology_epoch,
        .has_endpoint = value->user_endpoint != NULL,
        .tags = value->client_tags,
        .tags_len = (uint32_t)value->client_tags_len,
    };

    if (p.has_endpoint) {
        p.endpoint_host = value->user_endpoint->host;
        p.endpoint_port = value->user_endpoint->port;
    }
    if (p.tags_len != 0)
        qsort(p.tags, p.tags_len, sizeof *p.tags, compare_tags);
    return p;
}

static enum err replay_profile(const struct event *e)
{
    const struct streams_group_member_metadata_key *key = e->key;
    struct stmember *member = member_of(e, key->group_id, key->member_id);

    if (member == NULL)
        return ERR_NONE;
    if (e->value == NULL) {
        stmember_set_profile(e->coord, member, NULL);
        heap_remove(&e->coord->timers, &member->session.node);
        heap_remove(&e->coord->timers, &member->rebalance.node);
        drop_hollow(e->coord, member);
        return ERR_NONE;
    }
    struct stprofile profile = profile_of(e->value);
    bool first = member->group->size == 0;
    stmember_set_profile(e->coord, member, &profile);
    if (e->coord->life != STREAMS_ACTIVE)
        return ERR_NONE;
    if (!heap_has(&member->session.node))
        stmember_heard(e->coord, member);
    if (first)
        stgroup_delay(e->coord, member->group);
    return ERR_NONE;
}

static bool is_partition(int32_t partition)
{
    return partition >= 0 && partition <= STREAMS_PARTITION_MAX;
}

typedef struct streams_group_target_assignment_member_value_task_ids target_ids;

static enum err read_target(struct arena *arena, const target_ids *ids,
                            int32_t ids_len, struct tasks *out)
{
    uint32_t room = 0, len = 0;

    for (int32_t t = 0; t < ids_len; t++)
        room += (uint32_t)ids[t].partitions_len;
    struct task *items = arena_array(arena, room, sizeof *items);
    for (int32_t t = 0; t < ids_len; t++)
        for (int32_t i = 0; i < ids[t].partitions_len; i++) {
            if (!is_partition(ids[t].partitions[i]))
                return ERR_MALFORMED;
            items[len++] =
                (struct task){ids[t].subtopology_id, ids[t].partitions[i], 0};
        }
    *out = tasks_of(items, len);
    return ERR_NONE;
}

static enum err replay_target(const struct event *e)
{
    const struct streams_group_target_assignment_member_key *key = e->key;
    const struct streams_group_target_assignment_member_value *v = e->value;
    struct tuple target = {0};
    enum err err = ERR_NONE;

    if (v != NULL) {
        err = read_target(e->arena, v->active_tasks, v->active_tasks_len,
                          &target.of[TASK_ACTIVE]);
        if (err == ERR_NONE)
            err = read_target(e->arena, v->standby_tasks, v->standby_tasks_len,
                              &target.of[TASK_STANDBY]);
        if (err == ERR_NONE)
            err = read_target(e->arena, v->warmup_tasks, v->warmup_tasks_len,
                              &target.of[TASK_WARMUP]);
    }
    if (err != ERR_NONE)
        return err;
    struct stmember *member = member_of(e, key->group_id, key->member_id);
    if (member == NULL)
        return ERR_NONE;
    member->has_target = v != NULL;
    stmember_set_target(e->coord, member, &target);
    drop_hollow(e->coord, member);
    return ERR_NONE;
}

typedef struct streams_group_current_member_assignment_value_task_ids
    current_ids;

/* Active tasks without epochs, or with another number of them: that of the
 * member. */
static enum err read_current(struct arena *arena, const current_ids *ids,
                             int32_t ids_len, enum task_kind kind,
                             int32_t epoch, struct tasks *out)
{
    uint32_t room = 0, len = 0;

    for (int32_t t = 0; t < ids_len; t++)
        room += (uint32_t)ids[t].partitions_len;
    struct task *items = arena_array(arena, room, sizeof *items);
    for (int32_t t = 0; t < ids_len; t++) {
        bool has_epochs = ids[t].assignment_epochs_len == ids[t].partitions_len;

        for (int32_t i = 0; i < ids[t].partitions_len; i++) {
            if (!is_partition(ids[t].partitions[i]))
                return ERR_MALFORMED;
            items[len++] =
                (struct task){ids[t].subtopology_id, ids[t].partitions[i],
                              kind != TASK_ACTIVE ? 0
                              : has_epochs        ? ids[t].assignment_epochs[i]
                                                  : epoch};
        }
    }
    *out = tasks_of(items, len);
    return ERR_NONE;
}

static enum sstate state_of(int8_t state)
{
    return state >= SSTATE_STABLE && state <= SSTATE_UNRELEASED
               ? (enum sstate)state
               : SSTATE_UNKNOWN;
}

static enum err
current_of(struct arena *arena,
           const struct streams_group_current_member_assignment_value *v,
           struct scurrent *out)
{
    const struct {
        const current_ids *ids;
        int32_t len;
        struct tasks *to;
    } sets[2][TASK_KINDS] = {
        {{v->active_tasks, v->active_tasks_len, &out->assigned.of[TASK_ACTIVE]},
         {v->standby_tasks, v->standby_tasks_len,
          &out->assigned.of[TASK_STANDBY]},
         {v->warmup_tasks, v->warmup_tasks_len,
          &out->assigned.of[TASK_WARMUP]}},
        {{v->active_tasks_pending_revocation,
          v->active_tasks_pending_revocation_len,
          &out->revoking.of[TASK_ACTIVE]},
         {v->standby_tasks_pending_revocation,
          v->standby_tasks_pending_revocation_len,
          &out->revoking.of[TASK_STANDBY]},
         {v->warmup_tasks_pending_revocation,
          v->warmup_tasks_pending_revocation_len,
          &out->revoking.of[TASK_WARMUP]}},
    };
    enum err err = ERR_NONE;

    out->epoch = v->member_epoch;
    out->previous_epoch = v->previous_member_epoch;
    out->state = state_of(v->state);
    for (int s = 0; s < 2; s++)
        for (int k = 0; err == ERR_NONE && k < TASK_KINDS; k++)
            err = read_current(arena, sets[s][k].ids, sets[s][k].len,
                               (enum task_kind)k, out->epoch, sets[s][k].to);
    if (err == ERR_NONE && tuple_overlap(&out->assigned, &out->revoking))
        err = ERR_MALFORMED;
    return err;
}

static enum err replay_current(const struct event *e)
{
    const struct streams_group_current_member_assignment_key *key = e->key;
    struct scurrent current = SCURRENT_NEW;
    enum err err = ERR_NONE;

    if (e->value != NULL)
        err = current_of(e->arena, e->value, &current);
    if (err != ERR_NONE)
        return err;
    struct stmember *member = member_of(e, key->group_id, key->member_id);
    if (member == NULL)
        return ERR_NONE;
    member->has_current = e->value != NULL;
    stmember_set_current(e->coord, member, &current);
    if (e->coord->life == STREAMS_ACTIVE)
        stmember_arm(e->coord, member);
    drop_hollow(e->coord, member);
    return ERR_NONE;
}

/* ---- dispatch ------------------------------------------------------------*/

static enum err dispatch(const struct event *e, int16_t type)
{
    switch (type) {
    case GROUP_RECORD_STREAMS_GROUP_METADATA:
        return replay_group(e);
    case GROUP_RECORD_STREAMS_GROUP_MEMBER_METADATA:
        return replay_profile(e);
    case GROUP_RECORD_STREAMS_GROUP_TARGET_ASSIGNMENT_METADATA:
        return replay_target_epoch(e);
    case GROUP_RECORD_STREAMS_GROUP_TARGET_ASSIGNMENT_MEMBER:
        return replay_target(e);
    case GROUP_RECORD_STREAMS_GROUP_CURRENT_MEMBER_ASSIGNMENT:
        return replay_current(e);
    case GROUP_RECORD_STREAMS_GROUP_TOPOLOGY:
        return replay_topology(e);
    default:
        return ERR_UNSUPPORTED_VERSION; /* somebody else's */
    }
}

enum err streams_coord_replay(struct streams_coord *coord, struct slice key,
                              struct slice value)
{
    const struct coordinator_record *record;
    void *decoded_key, *decoded_value = NULL;
    struct arena arena;

    arena_init(&arena, 0);
    enum err err = coordinator_key_decode(&group_records, key, &arena, &record,
                                          &decoded_key);
    if (err == ERR_NONE && !slice_is_null(value))
        err = coordinator_value_decode(record, value, &arena, &decoded_value);
    if (err == ERR_NONE) {
        struct event e = {coord, &arena, decoded_key, decoded_value};
        err = dispatch(&e, record->type);
    }
    arena_free(&arena);
    return err;
}
