/* Records become state: on load all of them, live each as soon as it is in the
 * log.
 *
 * Records come from a log that may be older, newer, compacted or damaged, so
 * everything is checked before anything changes, and nothing is expected of
 * their order: a member's metadata may come after its assignment. */
#include "broker/coord/consumer/consumer.h"

#include "proto/kafka/coordinator_record.h"

enum {
    RECORD_GROUP = 3,
    RECORD_PARTITIONS = 4,
    RECORD_PROFILE = 5,
    RECORD_TARGET_EPOCH = 6,
    RECORD_TARGET = 7,
    RECORD_CURRENT = 8,
    RECORD_REGEX = 16,
};

/* One record, decoded; value NULL: a tombstone. */
struct event {
    struct consumer_coord *coord;
    struct arena *arena;
    const void *key;
    const void *value;
};

/* The group of a record.  A tombstone makes none: NULL. */
static struct cgroup *group_of(const struct event *e, struct slice id)
{
    return e->value != NULL ? cgroup_get(e->coord, id)
                            : map_get(&e->coord->groups, id);
}

static struct cmember *member_of(const struct event *e, struct slice group_id,
                                 struct slice id)
{
    struct cgroup *group = group_of(e, group_id);

    if (group == NULL)
        return NULL;
    return e->value != NULL ? cmember_get(group, id)
                            : map_get(&group->members, id);
}

static void drop_hollow(struct consumer_coord *coord, struct cmember *member)
{
    struct cgroup *group = member->group;

    cmember_drop_if_hollow(coord, member);
    cgroup_drop_if_hollow(coord, group);
}

/* ---- the group -----------------------------------------------------------*/

static enum err replay_group(const struct event *e)
{
    const struct consumer_group_metadata_key *key = e->key;
    const struct consumer_group_metadata_value *value = e->value;
    struct cgroup *group = group_of(e, key->group_id);

    if (group == NULL)
        return ERR_NONE;
    group->exists = value != NULL;
    group->epoch = value != NULL ? value->epoch : 0;
    group->hash = value != NULL ? value->metadata_hash : 0;
    group->stale = e->coord->life == CONSUMER_LOADING;
    cgroup_drop_if_hollow(e->coord, group);
    return ERR_NONE;
}

static enum err replay_partitions(const struct event *e)
{
    const struct consumer_group_partition_metadata_key *key = e->key;
    struct cgroup *group = group_of(e, key->group_id);

    if (group == NULL)
        return ERR_NONE;
    group->has_partition_record = e->value != NULL;
    cgroup_drop_if_hollow(e->coord, group);
    return ERR_NONE;
}

static enum err replay_target_epoch(const struct event *e)
{
    const struct consumer_group_target_assignment_metadata_key *key = e->key;
    const struct consumer_group_target_assignment_metadata_value *value =
        e->value;
    struct cgroup *group = group_of(e, key->group_id);

    if (group == NULL)
        return ERR_NONE;
    group->has_target_record = value != NULL;
    group->target_epoch = value != NULL ? value->assignment_epoch : 0;
    group->target_wall_ms = value != NULL ? value->assignment_timestamp : 0;
    heap_remove(&e->coord->timers, &group->assign.node);
    cgroup_drop_if_hollow(e->coord, group);
    return ERR_NONE;
}

static enum err replay_regex(const struct event *e)
{
    const struct consumer_group_regular_expression_key *key = e->key;
    struct cgroup *group = group_of(e, key->group_id);

    if (group == NULL)
        return ERR_NONE;
    cregex_set(e->coord, group, key->regular_expression, e->value);
    cgroup_drop_if_hollow(e->coord, group);
    return ERR_NONE;
}

/* ---- members -------------------------------------------------------------*/

static enum err replay_profile(const struct event *e)
{
    const struct consumer_group_member_metadata_key *key = e->key;
    const struct consumer_group_member_metadata_value *value = e->value;
    struct cmember *member = member_of(e, key->group_id, key->member_id);

    if (member == NULL)
        return ERR_NONE;
    if (value == NULL) {
        cmember_set_profile(e->coord, member, NULL);
        heap_remove(&e->coord->timers, &member->session.node);
        cmember_arm(e->coord, member);
        drop_hollow(e->coord, member);
        return ERR_NONE;
    }
    const struct consumer_group_member_metadata_value_classic_member_metadata
        *classic = value->classic_member_metadata;
    struct cprofile profile = {
        .instance_id = value->instance_id,
        .rack_id = value->rack_id,
        .client_id = value->client_id,
        .client_host = value->client_host,
        .names = value->subscribed_topic_names,
        .names_len = cnames_sort(value->subscribed_topic_names,
                                 (uint32_t)value->subscribed_topic_names_len),
        .regex = value->subscribed_topic_regex,
        .assignor = value->server_assignor,
        .rebalance_timeout_ms = value->rebalance_timeout_ms,
    };
    if (classic != NULL) {
        profile.classic = true;
        profile.session_timeout_ms = classic->session_timeout_ms;
        profile.protocols = classic->supported_protocols;
        profile.protocols_len = (uint32_t)classic->supported_protocols_len;
    }
    bool changes = classic != NULL || member->profile.classic;
    cmember_set_profile(e->coord, member, &profile);
    if (e->coord->life != CONSUMER_ACTIVE)
        return ERR_NONE;
    if (changes || !heap_has(&member->session.node))
        cmember_heard(e->coord, member); /* by what counts from here on */
    if (changes)
        cmember_arm(e->coord, member);
    return ERR_NONE;
}

static bool is_partition(int32_t partition)
{
    return partition >= 0 && partition <= CONSUMER_PARTITION_MAX;
}

static enum err replay_target(const struct event *e)
{
    const struct consumer_group_target_assignment_member_key *key = e->key;
    const struct consumer_group_target_assignment_member_value *value =
        e->value;
    uint32_t len = 0, room = 0;

    for (int32_t t = 0; value != NULL && t < value->topic_partitions_len; t++)
        room += (uint32_t)value->topic_partitions[t].partitions_len;
    struct part *items = arena_array(e->arena, room, sizeof *items);
    for (int32_t t = 0; value != NULL && t < value->topic_partitions_len; t++)
        for (int32_t i = 0; i < value->topic_partitions[t].partitions_len;
             i++) {
            int32_t p = value->topic_partitions[t].partitions[i];

            if (!is_partition(p))
                return ERR_MALFORMED;
            items[len++] =
                (struct part){value->topic_partitions[t].topic_id, p, 0};
        }
    struct cmember *member = member_of(e, key->group_id, key->member_id);
    if (member == NULL)
        return ERR_NONE;
    member->has_target = value != NULL;
    cmember_set_target(e->coord, member, parts_of(items, len));
    drop_hollow(e->coord, member);
    return ERR_NONE;
}

typedef struct consumer_group_current_member_assignment_value_topic_partitions
    current_topic;

/* Without epochs, as Kafka wrote it before KIP-1251: that of the member, or 0
 * if it is away. */
static enum err read_parts(const struct event *e, const current_topic *topics,
                           int32_t topics_len, int32_t epoch, struct parts *out)
{
    uint32_t room = 0, len = 0;

    for (int32_t t = 0; t < topics_len; t++)
        room += (uint32_t)topics[t].partitions_len;
    struct part *items = arena_array(e->arena, room, sizeof *items);
    for (int32_t t = 0; t < topics_len; t++) {
        bool has_epochs = topics[t].assignment_epochs_len >= 0;

        if (has_epochs &&
            topics[t].assignment_epochs_len != topics[t].partitions_len)
            return ERR_MALFORMED;
        for (int32_t i = 0; i < topics[t].partitions_len; i++) {
            if (!is_partition(topics[t].partitions[i]))
                return ERR_MALFORMED;
            items[len++] =
                (struct part){topics[t].topic_id, topics[t].partitions[i],
                              has_epochs  ? topics[t].assignment_epochs[i]
                              : epoch > 0 ? epoch
                                          : 0};
        }
    }
    *out = parts_of(items, len);
    return ERR_NONE;
}

static enum cstate state_of(int8_t state)
{
    return state >= CSTATE_STABLE && state <= CSTATE_UNRELEASED
               ? (enum cstate)state
               : CSTATE_UNKNOWN;
}

static enum err replay_current(const struct event *e)
{
    const struct consumer_group_current_member_assignment_key *key = e->key;
    const struct consumer_group_current_member_assignment_value *value =
        e->value;
    struct ccurrent current = {0};
    enum err err = ERR_NONE;

    if (value != NULL) {
        current.epoch = value->member_epoch;
        current.previous_epoch = value->previous_member_epoch;
        current.state = state_of(value->state);
        err = read_parts(e, value->assigned_partitions,
                         value->assigned_partitions_len, value->member_epoch,
                         &current.assigned);
        if (err == ERR_NONE)
            err = read_parts(e, value->partitions_pending_revocation,
                             value->partitions_pending_revocation_len,
                             value->member_epoch, &current.revoking);
        if (err == ERR_NONE &&
            parts_overlap(current.assigned, current.revoking))
            err = ERR_MALFORMED;
    }
    if (err != ERR_NONE)
        return err;
    struct cmember *member = member_of(e, key->group_id, key->member_id);
    if (member == NULL)
        return ERR_NONE;
    member->has_current = value != NULL;
    cmember_set_current(e->coord, member, &current);
    if (e->coord->life == CONSUMER_ACTIVE)
        cmember_arm(e->coord, member);
    drop_hollow(e->coord, member);
    return ERR_NONE;
}

/* ---- dispatch ------------------------------------------------------------*/

static enum err dispatch(const struct event *e, int16_t type)
{
    switch (type) {
    case RECORD_GROUP:
        return replay_group(e);
    case RECORD_PARTITIONS:
        return replay_partitions(e);
    case RECORD_PROFILE:
        return replay_profile(e);
    case RECORD_TARGET_EPOCH:
        return replay_target_epoch(e);
    case RECORD_TARGET:
        return replay_target(e);
    case RECORD_CURRENT:
        return replay_current(e);
    case RECORD_REGEX:
        return replay_regex(e);
    default:
        return ERR_UNSUPPORTED_VERSION; /* somebody else's */
    }
}

enum err consumer_coord_replay(struct consumer_coord *coord, struct slice key,
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
