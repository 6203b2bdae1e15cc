/* Records become state: on load all of them, live those of commits and
 * deletions.
 *
 * Records come from a log that may be older, newer or damaged, so everything
 * is checked before anything changes. */
#include "broker/coord/group.h"

#include "base/planted.h"

#include <stdlib.h>

/* ---- offsets -------------------------------------------------------------*/

static struct offset_value *value_of(struct coord_origin origin,
                                     const struct offset_commit_value *v)
{
    struct offset_value *value =
        xcalloc(1, sizeof *value + (v != NULL ? v->metadata.len : 0));

    value->record_offset = value->visible_offset = origin.offset;
    if (v == NULL) {
        value->deleted = true;
        return value;
    }
    value->offset = v->offset;
    value->leader_epoch = v->leader_epoch < 0 ? -1 : v->leader_epoch;
    value->commit_wall_ms = v->commit_timestamp;
    value->expire_wall_ms = v->expire_timestamp < 0 ? -1 : v->expire_timestamp;
    value->metadata_len = (uint32_t)v->metadata.len;
    if (v->metadata.len != 0)
        memcpy(value->metadata, v->metadata.data, v->metadata.len);
    return value;
}

static void replay_commit(struct coord *coord, struct coord_origin origin,
                          const struct offset_commit_key *key,
                          const struct offset_commit_value *v)
{
    /* Commits without members make a simple group. */
    struct group *group = group_find_or_create(coord, key->group, -1);
    struct offset_value *value = value_of(origin, v);
    int64_t due = value->expire_wall_ms;

    if (due < 0) {
        int64_t retention = coord->config.offsets_retention_ms;
        due = value->commit_wall_ms > INT64_MAX - retention
                  ? INT64_MAX
                  : value->commit_wall_ms + retention;
    }
    if (origin.producer_id >= 0 && !PLANTED(TXN_SHOWS_OFFSETS_EARLY))
        offsets_put_pending(coord, group, origin.producer_id, key->topic,
                            key->partition, value);
    else
        offsets_put(coord, group, key->topic, key->partition, value);
    expire_arm(coord, group, due);
}

static void replay_offset_tombstone(struct coord *coord,
                                    struct coord_origin origin,
                                    const struct offset_commit_key *key)
{
    struct group *group = map_get(&coord->groups, key->group);

    if (group == NULL)
        return;
    offsets_drop_pending(group, key->topic, key->partition);
    offsets_put(coord, group, key->topic, key->partition,
                value_of(origin, NULL));
    group_drop_if_hollow(coord, group);
}

static enum err decode(const struct kafka_desc *desc, struct slice bytes,
                       struct arena *arena, void *into)
{
    struct reader r = reader_of(bytes);
    int16_t version = read_i16(&r);

    if (r.bad)
        return ERR_MALFORMED;
    return kafka_decode(desc, version, slice_of(r.at, reader_left(&r)), arena,
                        into);
}

static enum err replay_offset(struct coord *coord, struct coord_origin origin,
                              struct slice key_body, struct slice value)
{
    struct offset_commit_key key;
    struct offset_commit_value v;
    struct arena arena;
    enum err err;

    arena_init(&arena, 0); /* both structs are flat: it stays empty */
    err = kafka_decode(&offset_commit_key_desc, 0, key_body, &arena, &key);
    if (err == ERR_NONE && !slice_is_null(value))
        err = decode(&offset_commit_value_desc, value, &arena, &v);
    if (err == ERR_NONE) {
        if (slice_is_null(value))
            replay_offset_tombstone(coord, origin, &key);
        else
            replay_commit(coord, origin, &key, &v);
    }
    arena_free(&arena);
    return err;
}

/* ---- groups --------------------------------------------------------------*/

/* No id and no instance twice. */
static bool members_ok(const struct group_metadata_value *v)
{
    struct map seen = MAP_INIT;
    struct map instances = MAP_INIT;
    bool ok = true;

    for (int32_t i = 0; i < v->members_len && ok; i++) {
        const struct group_metadata_value_member_metadata *m = &v->members[i];

        ok = m->member_id.len != 0 &&
             map_put(&seen, m->member_id, &seen) == NULL;
        if (ok && !slice_is_null(m->group_instance_id))
            ok = map_put(&instances, m->group_instance_id, &seen) == NULL;
    }
    map_free(&seen);
    map_free(&instances);
    return ok;
}

static void add_members(struct coord *coord, struct group *group,
                        const struct group_metadata_value *v)
{
    for (int32_t i = 0; i < v->members_len; i++) {
        const struct group_metadata_value_member_metadata *m = &v->members[i];
        /* Of its protocols only the one in use was kept. */
        struct join_group_request_protocol protocol = {v->protocol,
                                                       m->subscription};
        struct member *member =
            member_add(coord, group, m->member_id, m->group_instance_id,
                       m->client_id, m->client_host,
                       m->rebalance_timeout < 0 ? m->session_timeout
                                                : m->rebalance_timeout,
                       m->session_timeout, &protocol, 1);

        group->roster->unled = slice_is_null(v->leader);
        member_set_assignment(coord, member, m->assignment);
        if (slice_eq(m->member_id, v->leader))
            group->roster->leader = member;
    }
}

static void load_group(struct coord *coord, struct coord_origin origin,
                       struct slice id, const struct group_metadata_value *v)
{
    struct group *group = group_find_or_create(coord, id, -1);

    group_drop_roster(coord, group);
    group->state = v->members_len > 0 ? GROUP_STABLE : GROUP_EMPTY;
    group->previous = GROUP_EMPTY;
    group->generation = v->generation;
    group->state_wall_ms = v->current_state_timestamp;
    group->record_offset = group->loaded_offset = origin.offset;
    group_set_text(&group->protocol_type,
                   v->protocol_type.len != 0 ? v->protocol_type : SLICE_NULL);
    group_set_text(&group->protocol_name, v->protocol);
    add_members(coord, group, v);
    group_learn_topics(group);
}

static enum err replay_group(struct coord *coord, struct coord_origin origin,
                             struct slice key_body, struct slice value)
{
    struct group_metadata_key key;
    struct group_metadata_value v;
    struct arena arena;
    enum err err;

    arena_init(&arena, 0);
    err = kafka_decode(&group_metadata_key_desc, 0, key_body, &arena, &key);
    if (err == ERR_NONE && slice_is_null(value)) {
        struct group *group = group_find(coord, key.group);
        if (group != NULL)
            group_forget(coord, group);
    } else if (err == ERR_NONE) {
        err = decode(&group_metadata_value_desc, value, &arena, &v);
        if (err == ERR_NONE &&
            (!members_ok(&v) || v.generation < 0 ||
             (v.members_len > 0 && slice_is_null(v.protocol))))
            err = ERR_MALFORMED;
        if (err == ERR_NONE)
            load_group(coord, origin, key.group, &v);
    }
    arena_free(&arena);
    return err;
}

/* ---- both ----------------------------------------------------------------*/

enum err coord_replay(struct coord *coord, struct coord_origin origin,
                      struct slice key, struct slice value)
{
    struct reader r = reader_of(key);
    int16_t type = read_i16(&r);

    if (r.bad)
        return ERR_MALFORMED;
    struct slice body = slice_of(r.at, reader_left(&r));
    switch (type) {
    case GROUP_RECORD_LEGACY_OFFSET_COMMIT:
    case GROUP_RECORD_OFFSET_COMMIT:
        return replay_offset(coord, origin, body, value);
    case GROUP_RECORD_GROUP_METADATA:
        return replay_group(coord, origin, body, value);
    default:
        return ERR_UNSUPPORTED_VERSION;
    }
}

void coord_replay_marker(struct coord *coord, struct coord_origin origin,
                         bool committed)
{
    offsets_end_txn(coord, origin.producer_id, committed, origin.offset);
}
