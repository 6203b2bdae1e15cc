/* Share groups (share_group/share_group_coord.h) as one kind of groups. */
#include "broker/coord/group_kind.h"

static void *create(const struct group_shard_options *options)
{
    struct consumer_world world = options->world;

    world.timeouts = options->share_timeouts;
    return share_group_create(&options->share, &world);
}

static void core_free(void *core) { share_group_free(core); }

static void activate(void *core, int64_t topics_version, struct coord_time time,
                     struct coord_update *update)
{
    (void)topics_version;
    share_group_activate(core, time, update);
}

static void resign(void *core, struct coord_update *update)
{
    share_group_resign(core, update);
}

static bool owns_record(int16_t type)
{
    return type >= GROUP_RECORD_SHARE_GROUP_MEMBER_METADATA &&
           type <= GROUP_RECORD_SHARE_GROUP_STATE_PARTITION_METADATA;
}

static enum err replay(void *core, struct coord_origin origin, struct slice key,
                       struct slice value)
{
    (void)origin;
    return share_group_replay(core, key, value);
}

static void appended(void *core, struct coord_pending *pending, uint32_t first,
                     uint32_t count, int64_t base_offset,
                     struct coord_time time)
{
    (void)base_offset;
    share_group_appended(core, pending, first, count, time);
}

static void done(void *core, struct coord_pending *pending, enum err err,
                 struct coord_time time, struct coord_update *update)
{
    share_group_done(core, pending, err, time, update);
}

static bool owns_api(enum api_key api)
{
    return api == API_SHARE_GROUP_HEARTBEAT ||
           api == API_SHARE_GROUP_DESCRIBE ||
           api == API_DESCRIBE_SHARE_GROUP_OFFSETS ||
           api == API_ALTER_SHARE_GROUP_OFFSETS ||
           api == API_DELETE_SHARE_GROUP_OFFSETS;
}

static void request(void *core, const struct coord_context *context,
                    enum api_key api, const void *request,
                    struct coord_update *update)
{
    share_group_request(core, context, api, request, update);
}

static struct slice claims(void *core, const struct coord_context *context,
                           enum api_key api, const void *request)
{
    (void)core;
    (void)context;
    if (api == API_ALTER_SHARE_GROUP_OFFSETS)
        return ((const struct alter_share_group_offsets_request *)request)
            ->group_id;
    return api == API_SHARE_GROUP_HEARTBEAT ? share_group_claims(request)
                                            : SLICE_NULL;
}

static enum group_presence presence(void *core, struct slice group)
{
    return share_group_presence(core, group);
}

static void delete_records(void *core, struct slice group,
                           struct coord_records *records)
{
    share_group_delete_records(core, group, records);
}

/* Share groups have no committed offsets. */
static enum err check_commit(void *core, const struct coord_caller *caller,
                             struct uuid topic, int32_t partition)
{
    (void)core;
    (void)caller;
    (void)topic;
    (void)partition;
    return ERR_GROUP_ID_NOT_FOUND;
}

static enum err check_fetch(void *core, const struct coord_caller *caller)
{
    (void)core;
    (void)caller;
    return ERR_GROUP_ID_NOT_FOUND;
}

static bool subscribes(void *core, struct slice group, struct slice topic)
{
    return share_group_subscribes(core, group, topic);
}

static void list(void *core, const struct list_groups_request *request,
                 struct list_groups_response *to, struct arena *arena)
{
    int32_t len;
    struct list_groups_response_listed_group *more =
        share_group_list(core, request, arena, &len);

    group_list_add(to, more, len, arena);
}

static int64_t next_deadline(void *core)
{
    return share_group_next_deadline(core);
}

static void tick(void *core, struct coord_time time,
                 struct coord_update *update)
{
    share_group_tick(core, time, update);
}

const struct group_kind group_kind_share = {
    .create = create,
    .core_free = core_free,
    .activate = activate,
    .resign = resign,
    .owns_record = owns_record,
    .replay = replay,
    .appended = appended,
    .done = done,
    .owns_api = owns_api,
    .request = request,
    .refuse = share_group_refuse,
    .claims = claims,
    .taken = ERR_GROUP_ID_NOT_FOUND,
    .presence = presence,
    .delete_records = delete_records,
    .check_commit = check_commit,
    .check_fetch = check_fetch,
    .subscribes = subscribes,
    .list = list,
    .next_deadline = next_deadline,
    .tick = tick,
};
