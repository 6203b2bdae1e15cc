/* Classic groups and everybody's offsets (coord.h) as one kind of groups. */
#include "broker/coord/group_kind.h"

static void *create(const struct group_shard_options *options)
{
    return coord_create(&options->coord);
}

static void core_free(void *core) { coord_free(core); }

static void activate(void *core, int64_t topics_version, struct coord_time time,
                     struct coord_update *update)
{
    (void)topics_version;
    coord_activate(core, time, update);
}

static void resign(void *core, struct coord_update *update)
{
    coord_resign(core, update);
}

static bool owns_record(int16_t type)
{
    return type == GROUP_RECORD_LEGACY_OFFSET_COMMIT ||
           type == GROUP_RECORD_OFFSET_COMMIT ||
           type == GROUP_RECORD_GROUP_METADATA;
}

static enum err replay(void *core, struct coord_origin origin, struct slice key,
                       struct slice value)
{
    return coord_replay(core, origin, key, value);
}

static struct coord_write *write_of(struct coord_pending *pending)
{
    return LIST_ENTRY(pending, struct coord_write, pending);
}

static void appended(void *core, struct coord_pending *pending, uint32_t first,
                     uint32_t count, int64_t base_offset,
                     struct coord_time time)
{
    (void)time;
    coord_appended(core, write_of(pending), first, count, base_offset);
}

static void done(void *core, struct coord_pending *pending, enum err err,
                 struct coord_time time, struct coord_update *update)
{
    coord_done(core, write_of(pending), err, time, update);
}

static bool owns_api(enum api_key api)
{
    switch (api) {
    case API_JOIN_GROUP:
    case API_SYNC_GROUP:
    case API_HEARTBEAT:
    case API_LEAVE_GROUP:
    case API_OFFSET_COMMIT:
    case API_TXN_OFFSET_COMMIT:
    case API_OFFSET_FETCH:
    case API_OFFSET_DELETE:
    case API_DESCRIBE_GROUPS:
    case API_LIST_GROUPS:
    case API_DELETE_GROUPS:
        return true;
    default:
        return false;
    }
}

static void request(void *core, const struct coord_context *context,
                    enum api_key api, const void *request,
                    struct coord_update *update)
{
    coord_request(core, context, api, request, update);
}

static struct slice claims(void *core, const struct coord_context *context,
                           enum api_key api, const void *request)
{
    (void)context;
    return api == API_JOIN_GROUP ? coord_join_claims(core, request)
                                 : SLICE_NULL;
}

static enum group_presence presence(void *core, struct slice group)
{
    return coord_presence(core, group);
}

static void delete_records(void *core, struct slice group,
                           struct coord_records *records)
{
    coord_delete_records(core, group, records);
}

static int64_t next_deadline(void *core) { return coord_next_deadline(core); }

static void tick(void *core, struct coord_time time,
                 struct coord_update *update)
{
    coord_tick(core, time, update);
}

const struct group_kind group_kind_classic = {
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
    .refuse = coord_refuse,
    .claims = claims,
    .taken = ERR_INCONSISTENT_GROUP_PROTOCOL,
    .takes = {[GROUP_CONSUMER] = true},
    .presence = presence,
    .delete_records = delete_records,
    .next_deadline = next_deadline,
    .tick = tick,
};
