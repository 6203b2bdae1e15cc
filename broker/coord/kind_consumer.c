/* Consumer groups (consumer/consumer_coord.h) as one kind of groups. */
#include "broker/coord/group_kind.h"

static void *create(const struct group_shard_options *options)
{
    struct consumer_config config = options->consumer;

    config.batch_max_bytes = options->batch_max_bytes;
    return consumer_coord_create(&config, &options->world);
}

static void core_free(void *core) { consumer_coord_free(core); }

static void activate(void *core, int64_t topics_version, struct coord_time time,
                     struct coord_update *update)
{
    (void)update;
    consumer_coord_activate(core, topics_version, time);
}

static void resign(void *core, struct coord_update *update)
{
    (void)update;
    consumer_coord_resign(core);
}

static bool owns_record(int16_t type)
{
    return (type >= GROUP_RECORD_CONSUMER_GROUP_METADATA &&
            type <= GROUP_RECORD_CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT) ||
           type == GROUP_RECORD_CONSUMER_GROUP_REGULAR_EXPRESSION;
}

static enum err replay(void *core, struct coord_origin origin, struct slice key,
                       struct slice value)
{
    (void)origin;
    return consumer_coord_replay(core, key, value);
}

static struct consumer_write *write_of(struct coord_pending *pending)
{
    return LIST_ENTRY(pending, struct consumer_write, pending);
}

static void appended(void *core, struct coord_pending *pending, uint32_t first,
                     uint32_t count, int64_t base_offset,
                     struct coord_time time)
{
    (void)base_offset;
    consumer_coord_appended(core, write_of(pending), first, count, time);
}

static void done(void *core, struct coord_pending *pending, enum err err,
                 struct coord_time time, struct coord_update *update)
{
    (void)time;
    consumer_coord_done(core, write_of(pending), err, update);
}

static bool owns_api(enum api_key api)
{
    return api == API_CONSUMER_GROUP_HEARTBEAT ||
           api == API_CONSUMER_GROUP_DESCRIBE;
}

static void request(void *core, const struct coord_context *context,
                    enum api_key api, const void *request,
                    struct coord_update *update)
{
    consumer_coord_request(core, context, api, request, update);
}

static struct slice claims(void *core, const struct coord_context *context,
                           enum api_key api, const void *request)
{
    if (api != API_CONSUMER_GROUP_HEARTBEAT)
        return SLICE_NULL;
    return consumer_heartbeat_claims(core, context->version, request);
}

static enum group_presence presence(void *core, struct slice group)
{
    return consumer_presence(core, group);
}

static void delete_records(void *core, struct slice group,
                           struct coord_records *records)
{
    ASSERT(consumer_delete_records(core, group, records) == ERR_NONE);
}

static enum err check_commit(void *core, const struct coord_caller *caller,
                             struct uuid topic, int32_t partition)
{
    return consumer_check_commit(core, caller, topic, partition);
}

static enum err check_fetch(void *core, const struct coord_caller *caller)
{
    return consumer_check_fetch(core, caller);
}

static bool subscribes(void *core, struct slice group, struct slice topic)
{
    return consumer_subscribes(core, group, topic);
}

static void list(void *core, const struct list_groups_request *request,
                 struct list_groups_response *to, struct arena *arena)
{
    int32_t len;
    struct list_groups_response_listed_group *more =
        consumer_coord_list(core, request, arena, &len);

    group_list_add(to, more, len, arena);
}

static int64_t next_deadline(void *core)
{
    return consumer_coord_next_deadline(core);
}

static void tick(void *core, struct coord_time time,
                 struct coord_update *update)
{
    consumer_coord_tick(core, time, update);
}

static void topic_changed(void *core, struct slice name, int64_t topics_version)
{
    consumer_coord_topic_changed(core, name, topics_version);
}

const struct group_kind group_kind_consumer = {
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
    .refuse = consumer_refuse,
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
