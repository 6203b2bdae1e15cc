#include "broker/coord/group_shard.h"

#include "broker/coord/runtime.h"

#include "base/map.h"

#include <stdlib.h>

enum shard_state { SHARD_LOADING, SHARD_ACTIVE, SHARD_RESIGNED };

struct group_shard {
    struct group_shard_options options;
    const struct group_shard_ops *ops;
    void *arg;
    enum shard_state state;
    struct group_cores *cores; /* NULL while loading */
    struct coord_runtime runtime;
    struct coord_time time; /* of the call in progress */
    int64_t announced;      /* the deadline last told by ops->deadline */
    struct list answers;    /* to be sent when the outermost call ends */
    struct list lookups;    /* likewise */
    struct list asks;       /* likewise */
    struct list creations;  /* likewise */
    struct map deleted;     /* topics that went while loading */
    int depth;              /* calls from outside that have not returned */
    bool sending;
};

/* The owner of the tombstones that make room for a group of another kind. */
enum { OWNER_SHARD = GROUP_KINDS };

static struct coord *classic(const struct group_shard *shard)
{
    return group_cores_classic(shard->cores);
}

/* ---- carrying out --------------------------------------------------------*/

/* Decisions are appended, and so take effect, before the next request is
 * handled.  Only plain commits collect until the end of the turn: they depend
 * on no record, and no other request is handled between them (see below). */
static void carry_out(struct group_shard *shard, uint8_t owner,
                      struct coord_update *update)
{
    bool flush = false;

    while (!list_empty(&update->writes)) {
        struct coord_pending *pending = LIST_ENTRY(
            list_pop_front(&update->writes), struct coord_pending, link);
        pending->owner = owner;
        flush = flush || !pending->may_wait;
        coord_runtime_add(&shard->runtime, pending, shard->time.now_ms,
                          shard->time.wall_ms);
    }
    if (flush)
        coord_runtime_flush(&shard->runtime, shard->time.now_ms,
                            shard->time.wall_ms);
    list_append_all(&shard->answers, &update->answers);
    list_append_all(&shard->lookups, &update->lookups);
    list_append_all(&shard->asks, &update->asks);
    list_append_all(&shard->creations, &update->creations);
}

static enum err on_append(void *arg, uint8_t *batch, size_t len,
                          int64_t *base_offset)
{
    struct group_shard *shard = arg;

    return shard->ops->append(shard->arg, batch, len, base_offset);
}

/* A decision of another kind is in the log, as far as it is about this one. */
static void replay_other(struct group_shard *shard, int64_t offset,
                         struct coord_record record)
{
    struct coord_origin origin = {offset, -1};
    struct coord_update update;

    if (!coord_handover_concerns(record.key)) {
        enum err err =
            group_cores_replay(shard->cores, origin, record.key, record.value);

        ASSERT(err == ERR_NONE); /* we wrote it */
        return;
    }
    coord_update_init(&update);
    coord_hand_over(classic(shard), origin, record.key, record.value,
                    shard->time, &update);
    carry_out(shard, GROUP_CLASSIC, &update);
}

static void on_appended(void *arg, struct coord_pending *pending,
                        uint32_t first, uint32_t count, int64_t base_offset)
{
    struct group_shard *shard = arg;
    uint8_t owner = pending->owner;

    if (owner != OWNER_SHARD)
        group_kinds[owner]->appended(shard->cores->of[owner], pending, first,
                                     count, base_offset, shard->time);
    for (uint32_t i = 0; i < count; i++) {
        struct coord_record record =
            coord_records_get(&pending->records, first + i);

        if (group_kind_of_record(record.key) == owner)
            continue; /* it has done so */
        replay_other(shard, base_offset + i, record);
    }
}

static void on_done(void *arg, struct coord_pending *pending, enum err err)
{
    struct group_shard *shard = arg;
    uint8_t owner = pending->owner;
    struct coord_update update;

    if (pending->owner == OWNER_SHARD) {
        coord_records_free(&pending->records);
        free(pending);
        return;
    }
    coord_update_init(&update);
    group_kinds[pending->owner]->done(shard->cores->of[pending->owner], pending,
                                      err, shard->time, &update);
    carry_out(shard, owner, &update);
}

static const struct coord_runtime_ops runtime_ops = {
    on_append,
    on_appended,
    on_done,
};

int64_t group_shard_next_deadline(const struct group_shard *shard)
{
    if (shard->state != SHARD_ACTIVE)
        return INT64_MAX;
    int64_t earliest = coord_runtime_next_deadline(&shard->runtime);
    for (int kind = 0; kind < GROUP_KINDS; kind++) {
        int64_t due = group_kinds[kind]->next_deadline(shard->cores->of[kind]);

        earliest = due < earliest ? due : earliest;
    }
    return earliest;
}

/* Calls from outside can nest: appending moves the high watermark, and an
 * answer lets the next request of its connection in.  Answers leave when the
 * outermost call has done its work, so that what they cause finds the
 * coordinator at rest. */
static void enter(struct group_shard *shard, struct coord_time time)
{
    shard->depth++;
    shard->time = time;
}

static void look_up(struct group_shard *shard, struct consumer_lookup *lookup)
{
    if (shard->ops->look_up != NULL && shard->state == SHARD_ACTIVE)
        shard->ops->look_up(shard->arg, lookup);
    else
        consumer_lookup_free(lookup);
}

/* Nobody is asked any more. */
static void drop_ask(struct group_shard *shard, struct share_group_ask *ask)
{
    struct coord_answer *answer = share_group_ask_end(ask, ERR_NOT_COORDINATOR);

    if (answer != NULL)
        shard->ops->answer(shard->arg, answer);
}

static void ask(struct group_shard *shard, struct share_group_ask *ask)
{
    if (shard->ops->ask != NULL && shard->state == SHARD_ACTIVE)
        shard->ops->ask(shard->arg, ask);
    else
        drop_ask(shard, ask);
}

static void make(struct group_shard *shard, struct streams_creation *creation)
{
    if (shard->ops->make != NULL && shard->state == SHARD_ACTIVE)
        shard->ops->make(shard->arg, creation);
    else
        streams_creation_free(creation);
}

static void leave(struct group_shard *shard)
{
    if (--shard->depth > 0 || shard->sending)
        return;
    shard->sending = true;
    while (!list_empty(&shard->answers))
        shard->ops->answer(shard->arg,
                           LIST_ENTRY(list_pop_front(&shard->answers),
                                      struct coord_answer, link));
    while (!list_empty(&shard->lookups))
        look_up(shard, LIST_ENTRY(list_pop_front(&shard->lookups),
                                  struct consumer_lookup, link));
    while (!list_empty(&shard->asks))
        ask(shard, LIST_ENTRY(list_pop_front(&shard->asks),
                              struct share_group_ask, link));
    while (!list_empty(&shard->creations))
        make(shard, LIST_ENTRY(list_pop_front(&shard->creations),
                               struct streams_creation, link));
    shard->sending = false;
    int64_t deadline = group_shard_next_deadline(shard);
    if (deadline < shard->announced && shard->ops->deadline != NULL)
        shard->ops->deadline(shard->arg);
    shard->announced = deadline;
}

/* ---- life ----------------------------------------------------------------*/

struct group_shard *
group_shard_create(const struct group_shard_options *options,
                   const struct group_shard_ops *ops, void *arg)
{
    struct group_shard *shard = xcalloc(1, sizeof *shard);

    shard->options = *options;
    shard->ops = ops;
    shard->arg = arg;
    shard->announced = INT64_MAX;
    list_init(&shard->answers);
    list_init(&shard->lookups);
    list_init(&shard->asks);
    list_init(&shard->creations);
    return shard;
}

void group_shard_free(struct group_shard *shard)
{
    if (shard == NULL)
        return;
    ASSERT(shard->state != SHARD_ACTIVE && shard->depth == 0 &&
           !shard->sending);
    coord_runtime_free(&shard->runtime);
    group_cores_free(shard->cores);
    map_free(&shard->deleted);
    free(shard);
}

static void delete_topic(struct group_shard *shard, struct slice topic)
{
    struct coord_update update;

    coord_update_init(&update);
    coord_topic_deleted(classic(shard), topic, shard->time, &update);
    carry_out(shard, GROUP_CLASSIC, &update);
}

void group_shard_activate(struct group_shard *shard,
                          struct group_loader *loader, int64_t end_offset,
                          int64_t high_watermark, int64_t topics_version,
                          struct coord_time time)
{
    ASSERT(shard->state == SHARD_LOADING);
    shard->cores = group_loader_take(loader);
    shard->state = SHARD_ACTIVE;
    enter(shard, time);
    coord_runtime_init(
        &shard->runtime, &runtime_ops, shard, shard->options.batch_max_bytes,
        shard->options.commit_timeout_ms, end_offset, high_watermark);
    coord_committed(classic(shard), high_watermark);
    for (uint8_t kind = 0; kind < GROUP_KINDS; kind++) {
        struct coord_update update;

        coord_update_init(&update);
        group_kinds[kind]->activate(shard->cores->of[kind], topics_version,
                                    time, &update);
        carry_out(shard, kind, &update);
    }
    MAP_EACH (entry, &shard->deleted)
        delete_topic(shard, entry->key);
    map_free(&shard->deleted);
    leave(shard);
}

void group_shard_resign(struct group_shard *shard, struct coord_time time)
{
    bool active = shard->state == SHARD_ACTIVE;

    shard->state = SHARD_RESIGNED;
    if (!active)
        return;
    enter(shard, time);
    for (uint8_t kind = 0; kind < GROUP_KINDS; kind++) {
        struct coord_update update;

        coord_update_init(&update);
        group_kinds[kind]->resign(shard->cores->of[kind], &update);
        carry_out(shard, kind, &update);
    }
    coord_runtime_resign(&shard->runtime);
    leave(shard);
}

const struct coord *group_shard_coord(const struct group_shard *shard)
{
    return shard->cores != NULL ? classic(shard) : NULL;
}

const struct group_cores *group_shard_cores(const struct group_shard *shard)
{
    return shard->cores;
}

/* ---- requests ------------------------------------------------------------*/

/* What the client may be told while there is no coordinator.  While loading,
 * heartbeats are taken for good, and a SyncGroup starts over with JoinGroup,
 * as older clients do not know the real reason in either answer. */
static enum err refusal(const struct group_shard *shard, enum api_key api)
{
    if (shard->state == SHARD_RESIGNED)
        return api == API_LIST_GROUPS ? ERR_NONE : ERR_NOT_COORDINATOR;
    switch (api) {
    case API_HEARTBEAT:
        return ERR_NONE;
    case API_SYNC_GROUP:
        return ERR_REBALANCE_IN_PROGRESS;
    default:
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    }
}

/* Whether the request can be handled while commits before it are still to be
 * appended: it looks at no offsets, or only at committed ones. */
static bool ignores_collected(enum api_key api, const void *request)
{
    const struct offset_fetch_request *fetch = request;

    return api == API_OFFSET_COMMIT || api == API_HEARTBEAT ||
           api == API_DESCRIBE_GROUPS || api == API_LIST_GROUPS ||
           (api == API_OFFSET_FETCH && !fetch->require_stable);
}

/* The tombstones of an empty group of another kind go into the log first.  If
 * they do not get there, that group is still the one that has the name. */
static void make_room(struct group_shard *shard, enum group_kind_id owner,
                      struct slice name)
{
    struct coord_pending *pending = xcalloc(1, sizeof *pending);

    pending->owner = OWNER_SHARD;
    group_kinds[owner]->delete_records(shard->cores->of[owner], name,
                                       &pending->records);
    coord_runtime_add(&shard->runtime, pending, shard->time.now_ms,
                      shard->time.wall_ms);
    coord_runtime_flush(&shard->runtime, shard->time.now_ms,
                        shard->time.wall_ms);
}

/* Offsets without a group are an empty classic one (Kafka's "simple" group)
 * to a kind that takes nothing from those. */
static bool has_offsets(const struct group_shard *shard,
                        enum group_kind_id kind, struct slice name)
{
    return kind != GROUP_CLASSIC && !group_kinds[kind]->takes[GROUP_CLASSIC] &&
           group_kinds[kind]->presence(shard->cores->of[kind], name) ==
               GROUP_PRESENT_NOT &&
           coord_has_offsets(classic(shard), name);
}

/* A name belongs to one kind of groups; see `takes` for empty ones. */
static enum err take_name(struct group_shard *shard, enum group_kind_id kind,
                          const struct coord_context *context, enum api_key api,
                          const void *request)
{
    enum group_presence presence;
    struct slice name = group_kinds[kind]->claims(shard->cores->of[kind],
                                                  context, api, request);

    if (slice_is_null(name))
        return ERR_NONE;
    enum group_kind_id owner =
        group_cores_find(shard->cores, name, kind, &presence);
    if (presence == GROUP_PRESENT && kind == GROUP_CONSUMER &&
        owner == GROUP_CLASSIC)
        return ERR_NONE; /* it decides whether to take them over */
    if (presence == GROUP_PRESENT ||
        (presence == GROUP_PRESENT_EMPTY && !group_kinds[kind]->takes[owner]) ||
        (presence == GROUP_PRESENT_NOT && has_offsets(shard, kind, name)))
        return group_kinds[kind]->taken;
    if (presence == GROUP_PRESENT_EMPTY)
        make_room(shard, owner, name);
    return group_cores_find(shard->cores, name, kind, &presence) == GROUP_KINDS
               ? ERR_NONE
               : ERR_COORDINATOR_NOT_AVAILABLE;
}

static void list_others(struct group_shard *shard,
                        const struct list_groups_request *request,
                        struct coord_update *update)
{
    struct coord_answer *answer =
        LIST_ENTRY(update->answers.next, struct coord_answer, link);

    for (int kind = GROUP_CLASSIC + 1; kind < GROUP_KINDS; kind++)
        group_kinds[kind]->list(shard->cores->of[kind], request,
                                &answer->response.list_groups, &answer->arena);
}

static void decide(struct group_shard *shard, enum group_kind_id kind,
                   const struct coord_context *context, enum api_key api,
                   const void *request)
{
    struct coord_update update;
    enum err err = take_name(shard, kind, context, api, request);

    coord_update_init(&update);
    if (err != ERR_NONE)
        list_push_back(
            &update.answers,
            &group_kinds[kind]->refuse(context, api, request, err)->link);
    else
        group_kinds[kind]->request(shard->cores->of[kind], context, api,
                                   request, &update);
    if (api == API_LIST_GROUPS)
        list_others(shard, request, &update);
    carry_out(shard, (uint8_t)kind, &update);
}

/* The group that a request of the classic protocol names; null: it is none. */
static struct slice classic_name(enum api_key api, const void *request)
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
    default:
        return SLICE_NULL;
    }
}

/* A share group has more to delete than records, and a consumer group may have
 * members that use the classic protocol. */
enum group_kind_id group_shard_kind(const struct group_shard *shard,
                                    enum api_key api, const void *request)
{
    const struct delete_groups_request *deletion = request;
    struct slice name = classic_name(api, request);

    if (!slice_is_null(name) && shard->state == SHARD_ACTIVE &&
        consumer_presence(group_cores_consumer(shard->cores), name) ==
            GROUP_PRESENT)
        return GROUP_CONSUMER;
    if (api == API_DELETE_GROUPS && shard->state == SHARD_ACTIVE &&
        deletion->groups_names_len != 0 &&
        share_group_presence(group_cores_share(shard->cores),
                             deletion->groups_names[0]) != GROUP_PRESENT_NOT)
        return GROUP_SHARE;
    return group_kind_of_api(api);
}

void group_shard_request(struct group_shard *shard,
                         const struct coord_context *context, enum api_key api,
                         const void *request)
{
    enum group_kind_id kind = group_shard_kind(shard, api, request);

    if (shard->state != SHARD_ACTIVE) {
        shard->ops->answer(shard->arg, group_refuse(context, api, request,
                                                    refusal(shard, api)));
        return;
    }
    enter(shard, (struct coord_time){context->now_ms, context->wall_ms});
    if (!ignores_collected(api, request))
        coord_runtime_flush(&shard->runtime, context->now_ms, context->wall_ms);
    decide(shard, kind, context, api, request);
    leave(shard);
}

void group_shard_topic_deleted(struct group_shard *shard, struct slice topic,
                               struct coord_time time)
{
    if (shard->state == SHARD_LOADING)
        map_put(&shard->deleted, topic, shard);
    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_runtime_flush(&shard->runtime, time.now_ms, time.wall_ms);
    delete_topic(shard, topic);
    leave(shard);
}

void group_shard_topic_changed(struct group_shard *shard, struct slice topic,
                               int64_t topics_version, struct coord_time time)
{
    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    for (int kind = 0; kind < GROUP_KINDS; kind++)
        if (group_kinds[kind]->topic_changed != NULL)
            group_kinds[kind]->topic_changed(shard->cores->of[kind], topic,
                                             topics_version);
    leave(shard);
}

void group_shard_asked(struct group_shard *shard, struct share_group_ask *ask,
                       struct coord_time time)
{
    struct coord_update update;

    if (shard->state != SHARD_ACTIVE) {
        drop_ask(shard, ask);
        return;
    }
    enter(shard, time);
    coord_update_init(&update);
    share_group_asked(group_cores_share(shard->cores), ask, time, &update);
    carry_out(shard, GROUP_SHARE, &update);
    leave(shard);
}

void group_shard_not_made(struct group_shard *shard, struct slice group,
                          struct slice why, struct coord_time time)
{
    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    streams_coord_creation_failed(group_cores_streams(shard->cores), group,
                                  why);
    leave(shard);
}

void group_shard_looked_up(struct group_shard *shard,
                           struct consumer_lookup *lookup,
                           int64_t topics_version, struct coord_time time)
{
    struct coord_update update;

    if (shard->state != SHARD_ACTIVE) {
        consumer_lookup_free(lookup);
        return;
    }
    enter(shard, time);
    coord_runtime_flush(&shard->runtime, time.now_ms, time.wall_ms);
    coord_update_init(&update);
    consumer_coord_looked_up(group_cores_consumer(shard->cores), lookup,
                             topics_version, time, &update);
    carry_out(shard, GROUP_CONSUMER, &update);
    leave(shard);
}

void group_shard_marker(struct group_shard *shard, int64_t producer_id,
                        bool committed, int64_t offset, struct coord_time time)
{
    struct coord_origin origin = {offset, producer_id};

    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_replay_marker(classic(shard), origin, committed);
    leave(shard);
}

/* ---- time and the log ----------------------------------------------------*/

void group_shard_flush(struct group_shard *shard, struct coord_time time)
{
    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_runtime_flush(&shard->runtime, time.now_ms, time.wall_ms);
    leave(shard);
}

void group_shard_committed(struct group_shard *shard, int64_t high_watermark,
                           struct coord_time time)
{
    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_committed(classic(shard), high_watermark);
    coord_runtime_committed(&shard->runtime, high_watermark);
    leave(shard);
}

void group_shard_tick(struct group_shard *shard, struct coord_time time)
{
    if (shard->state != SHARD_ACTIVE)
        return;
    enter(shard, time);
    coord_runtime_tick(&shard->runtime, time.now_ms, time.wall_ms);
    for (uint8_t kind = 0; kind < GROUP_KINDS; kind++) {
        struct coord_update update;

        coord_update_init(&update);
        group_kinds[kind]->tick(shard->cores->of[kind], time, &update);
        carry_out(shard, kind, &update);
    }
    shard->announced = INT64_MAX;
    leave(shard);
}
