/* Streams groups (streams/streams_coord.h) as one kind of groups. */
#include "broker/coord/group_kind.h"

static void *create(const struct group_shard_options *options)
{
    struct streams_world world = {
        .arg = options->world.arg,
        .topic_by_name = options->world.topic_by_name,
        .topic_name = options->world.topic_name,
        .settings = options->streams_settings,
    };

    return streams_coord_create(&options->streams, &world);
}

static void core_free(void *core) { streams_coord_free(core); }

static void activate(void *core, int64_t topics_version, struct coord_time time,
                     struct coord_update *update)
{
    (void)topics_version;
    (void)update;
    streams_coord_activate(core, time);
}

static void resign(void *core, struct coord_update *update)
{
    (void)update;
    streams_coord_resign(core);
}

static bool owns_record(int16_t type)
{
    return type == GROUP_RECORD_STREAMS_GROUP_METADATA ||
           (type >= GROUP_RECORD_STREAMS_GROUP_MEMBER_METADATA &&
            type <= GROUP_RECORD_STREAMS_GROUP_TOPOLOGY);
}

static enum err replay(void *core, struct coord_origin origin, struct slice key,
                       struct slice value)
{
    (void)origin;
    return streams_coord_replay(core, key, value);
}

static struct streams_write *write_of(struct coord_pending *pending)
{
    return LIST_ENTRY(pending, struct streams_write, pending);
}

static void appended(void *core, struct coord_pending *pending, uint32_t first,
                     uint32_t count, int64_t base_offset,
                     struct coord_time time)
{
    (void)base_offset;
    streams_coord_appended(core, write_of(pending), first, count, time);
}

static void done(void *core, struct coord_pending *pending, enum err err,
                 struct coord_time time, struct coord_update *update)
{
    (void)time;
    streams_coord_done(core, write_of(pending), err, update);
}

static bool owns_api(enum api_key api)
{
    return api == API_STREAMS_GROUP_HEARTBEAT ||
           api == API_STREAMS_GROUP_DESCRIBE;
}

static void request(void *core, const struct coord_context *context,
                    enum api_key api, const void *request,
                    struct coord_update *update)
{
    streams_coord_request(core, context, api, request, update);
}

static struct slice claims(void *core, const struct coord_context *context,
                           enum api_key api, const void *request)
{
    (void)core;
    (void)context;
    return api == API_STREAMS_GROUP_HEARTBEAT
               ? streams_heartbeat_claims(request)
               : SLICE_NULL;
}

static enum group_presence presence(void *core, struct slice group)
{
    return streams_presence(core, group);
}

static void delete_records(void *core, struct slice group,
                           struct coord_records *records)
{
    ASSERT(streams_delete_records(core, group, records) == ERR_NONE);
}

static enum err check_commit(void *core, const struct coord_caller *caller,
                             struct uuid topic, int32_t partition)
{
    return streams_check_commit(core, caller, topic, partition);
}

static enum err check_fetch(void *core, const struct coord_caller *caller)
{
    return streams_check_fetch(core, caller);
}

static bool subscribes(void *core, struct slice group, struct slice topic)
{
    return streams_subscribes(core, group, topic);
}

static void list(void *core, const struct list_groups_request *request,
                 struct list_groups_response *to, struct arena *arena)
{
    int32_t len;
    struct list_groups_response_listed_group *more =
        streams_coord_list(core, request, arena, &len);

    group_list_add(to, more, len, arena);
}

static int64_t next_deadline(void *core)
{
    return streams_coord_next_deadline(core);
}

static void tick(void *core, struct coord_time time,
                 struct coord_update *update)
{
    streams_coord_tick(core, time, update);
}

static void topic_changed(void *core, struct slice name, int64_t topics_version)
{
    (void)topics_version;
    streams_coord_topic_changed(core, name);
}

const struct group_kind group_kind_streams = {
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
    .refuse = streams_refuse,
    .claims = claims,
    .taken = ERR_GROUP_ID_NOT_FOUND,
    .takes = {[GROUP_CLASSIC] = true},
    .presence = presence,
    .delete_records = delete_records,
    .check_commit = check_commit,
    .check_fetch = check_fetch,
    .subscribes = subscribes,
    .list = list,
    .next_deadline = next_deadline,
    .tick = tick,
    .topic_changed = topic_changed,
};
