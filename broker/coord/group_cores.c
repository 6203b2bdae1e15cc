/* The cores of all kinds of groups on one partition: made together, and which
 * of them a record, a request or a name belongs to. */
#include "broker/coord/group_kind.h"

#include <stdlib.h>

const struct group_kind *const group_kinds[GROUP_KINDS] = {
    [GROUP_CLASSIC] = &group_kind_classic,
    [GROUP_CONSUMER] = &group_kind_consumer,
    [GROUP_SHARE] = &group_kind_share,
    [GROUP_STREAMS] = &group_kind_streams,
};

/* ---- what offsets ask about groups that are not classic ones -------------*/

static enum group_kind_id other(struct group_cores *cores, struct slice group)
{
    enum group_presence presence;

    return group_cores_find(cores, group, GROUP_CLASSIC, &presence);
}

static enum group_presence presence(void *arg, struct slice group)
{
    enum group_presence presence;

    group_cores_find(arg, group, GROUP_CLASSIC, &presence);
    return presence;
}

static enum err check_commit(void *arg, const struct coord_caller *caller,
                             struct uuid topic, int32_t partition)
{
    struct group_cores *cores = arg;
    enum group_kind_id kind = other(cores, caller->group);

    return group_kinds[kind]->check_commit(cores->of[kind], caller, topic,
                                           partition);
}

static enum err check_fetch(void *arg, const struct coord_caller *caller)
{
    struct group_cores *cores = arg;
    enum group_kind_id kind = other(cores, caller->group);

    return group_kinds[kind]->check_fetch(cores->of[kind], caller);
}

static bool subscribes(void *arg, struct slice group, struct slice topic)
{
    struct group_cores *cores = arg;
    enum group_kind_id kind = other(cores, group);

    return group_kinds[kind]->subscribes(cores->of[kind], group, topic);
}

static void delete_records(void *arg, struct slice group,
                           struct coord_records *records)
{
    struct group_cores *cores = arg;
    enum group_kind_id kind = other(cores, group);

    group_kinds[kind]->delete_records(cores->of[kind], group, records);
}

/* ---- what consumer and streams groups ask about offsets, and consumer groups
 * about classic ones ------------------------------------------------------*/

static bool any_offsets(void *arg, struct slice group)
{
    return coord_has_offsets(arg, group);
}

static bool find_classic(void *arg, struct slice group, struct arena *arena,
                         struct handover_group *out)
{
    return coord_handover_find(arg, group, arena, out);
}

static void forget_classic(void *arg, struct slice group,
                           struct coord_records *records)
{
    coord_handover_forget(arg, group, records);
}

static void store_classic(void *arg, const struct handover_group *group,
                          int64_t wall_ms, struct coord_records *records)
{
    (void)arg;
    coord_handover_store(group, wall_ms, records);
}

/* ---- life ----------------------------------------------------------------*/

struct group_cores *
group_cores_create(const struct group_shard_options *options)
{
    struct group_cores *cores = xcalloc(1, sizeof *cores);
    struct coord_others others = {
        .arg = cores,
        .presence = presence,
        .check_commit = check_commit,
        .check_fetch = check_fetch,
        .subscribes = subscribes,
        .delete_records = delete_records,
    };

    for (int kind = 0; kind < GROUP_KINDS; kind++)
        cores->of[kind] = group_kinds[kind]->create(options);
    coord_set_others(group_cores_classic(cores), &others);
    consumer_coord_set_offsets(
        group_cores_consumer(cores),
        &(struct consumer_offsets){group_cores_classic(cores), any_offsets});
    streams_coord_set_offsets(
        group_cores_streams(cores),
        &(struct consumer_offsets){group_cores_classic(cores), any_offsets});
    consumer_coord_set_classics(
        group_cores_consumer(cores),
        &(struct handover_classics){.arg = group_cores_classic(cores),
                                    .find = find_classic,
                                    .forget = forget_classic,
                                    .store = store_classic});
    return cores;
}

void group_cores_free(struct group_cores *cores)
{
    if (cores == NULL)
        return;
    for (int kind = 0; kind < GROUP_KINDS; kind++)
        group_kinds[kind]->core_free(cores->of[kind]);
    free(cores);
}

/* ---- ListGroups ----------------------------------------------------------*/

void group_list_add(struct list_groups_response *to,
                    const struct list_groups_response_listed_group *more,
                    int32_t len, struct arena *arena)
{
    struct list_groups_response_listed_group *all =
        arena_array(arena, (size_t)(to->groups_len + len), sizeof *all);

    if (to->groups_len != 0)
        memcpy(all, to->groups, (size_t)to->groups_len * sizeof *all);
    if (len != 0)
        memcpy(all + to->groups_len, more, (size_t)len * sizeof *all);
    to->groups = all;
    to->groups_len += len;
}

/* ---- whose it is ---------------------------------------------------------*/

enum group_kind_id group_kind_of_record(struct slice key)
{
    struct reader r = reader_of(key);
    int16_t type = read_i16(&r);
    int kind = 0;

    while (!r.bad && kind < GROUP_KINDS &&
           !group_kinds[kind]->owns_record(type))
        kind++;
    /* Damaged keys are the first's to refuse. */
    return r.bad ? GROUP_CLASSIC : (enum group_kind_id)kind;
}

enum err group_cores_replay(struct group_cores *cores,
                            struct coord_origin origin, struct slice key,
                            struct slice value)
{
    enum group_kind_id kind = group_kind_of_record(key);

    if (kind == GROUP_KINDS)
        return ERR_UNSUPPORTED_VERSION;
    return group_kinds[kind]->replay(cores->of[kind], origin, key, value);
}

enum group_kind_id group_kind_of_api(enum api_key api)
{
    for (int kind = 0; kind < GROUP_KINDS; kind++)
        if (group_kinds[kind]->owns_api(api))
            return (enum group_kind_id)kind;
    ASSERT(false); /* the caller sent us somebody else's request */
    return GROUP_KINDS;
}

/* The group that a request for one names; a null slice: it has no name to be
 * looked at. */
static struct slice name_in(enum api_key api, const void *request)
{
    switch (api) {
    case API_JOIN_GROUP:
        return ((const struct join_group_request *)request)->group_id;
    case API_SYNC_GROUP:
        return ((const struct sync_group_request *)request)->group_id;
    case API_HEARTBEAT:
        return ((const struct heartbeat_request *)request)->group_id;
    case API_LEAVE_GROUP:
        return ((const struct leave_group_request *)request)->group_id;
    case API_TXN_OFFSET_COMMIT:
        return ((const struct coord_txn_commit *)request)->commit.group_id;
    case API_OFFSET_DELETE:
        return ((const struct offset_delete_request *)request)->group_id;
    case API_CONSUMER_GROUP_HEARTBEAT:
        return ((const struct consumer_group_heartbeat_request *)request)
            ->group_id;
    case API_SHARE_GROUP_HEARTBEAT:
        return ((const struct share_group_heartbeat_request *)request)
            ->group_id;
    case API_STREAMS_GROUP_HEARTBEAT:
        return ((const struct streams_group_heartbeat_request *)request)
            ->group_id;
    case API_CONSUMER_GROUP_DESCRIBE:
        return ((const struct consumer_group_describe_request *)request)
            ->group_ids[0];
    case API_SHARE_GROUP_DESCRIBE:
        return ((const struct share_group_describe_request *)request)
            ->group_ids[0];
    case API_STREAMS_GROUP_DESCRIBE:
        return ((const struct streams_group_describe_request *)request)
            ->group_ids[0];
    case API_ALTER_SHARE_GROUP_OFFSETS:
        return ((const struct alter_share_group_offsets_request *)request)
            ->group_id;
    case API_DELETE_SHARE_GROUP_OFFSETS:
        return ((const struct delete_share_group_offsets_request *)request)
            ->group_id;
    default:
        return SLICE_NULL;
    }
}

enum err group_check_name(enum api_key api, const void *request)
{
    struct slice name = name_in(api, request);

    if (slice_is_null(name) || name.len != 0)
        return ERR_NONE;
    return api == API_CONSUMER_GROUP_HEARTBEAT ||
                   api == API_SHARE_GROUP_HEARTBEAT ||
                   api == API_STREAMS_GROUP_HEARTBEAT
               ? ERR_INVALID_REQUEST
               : ERR_INVALID_GROUP_ID;
}

struct coord_answer *group_refuse(const struct coord_context *context,
                                  enum api_key api, const void *request,
                                  enum err err)
{
    return group_kinds[group_kind_of_api(api)]->refuse(context, api, request,
                                                       err);
}

enum group_kind_id group_cores_find(const struct group_cores *cores,
                                    struct slice group, enum group_kind_id but,
                                    enum group_presence *presence)
{
    for (int kind = 0; kind < GROUP_KINDS; kind++) {
        if (kind == (int)but)
            continue;
        *presence = group_kinds[kind]->presence(cores->of[kind], group);
        if (*presence != GROUP_PRESENT_NOT)
            return (enum group_kind_id)kind;
    }
    *presence = GROUP_PRESENT_NOT;
    return GROUP_KINDS;
}
