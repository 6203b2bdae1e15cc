/* The group coordinator of a partition: first what its log holds, whoever wrote
 * it, then requests of clients.
 *
 * A row of steps, each a byte that says what happens.  Until the step START
 * records are gathered (a key and a value, or a marker), of which batches are
 * made that are in order.  After it: requests (api, version, body), time, loss
 * of leadership.  What the coordinator appends can be loaded again without a
 * record skipped, and tells the same. */
#include "tests/fuzz/kit.h"

#include "broker/coord/coord.h"
#include "broker/coord/group_shard.h"
#include "broker/coord/offset_fetch_form.h"
#include "proto/record/builder.h"

#include <stdlib.h>

enum { STEPS_MAX = 64, RECORD_MAX = 2048 };

static const enum api_key apis[] = {
    API_JOIN_GROUP,    API_SYNC_GROUP,      API_HEARTBEAT,
    API_LEAVE_GROUP,   API_OFFSET_COMMIT,   API_OFFSET_FETCH,
    API_OFFSET_DELETE, API_DESCRIBE_GROUPS, API_LIST_GROUPS,
    API_DELETE_GROUPS,
};

/* Of groups of other kinds. */
static const enum api_key modern_apis[] = {
    API_CONSUMER_GROUP_HEARTBEAT,     API_SHARE_GROUP_HEARTBEAT,
    API_STREAMS_GROUP_HEARTBEAT,      API_CONSUMER_GROUP_DESCRIBE,
    API_SHARE_GROUP_DESCRIBE,         API_STREAMS_GROUP_DESCRIBE,
    API_DESCRIBE_SHARE_GROUP_OFFSETS, API_ALTER_SHARE_GROUP_OFFSETS,
    API_DELETE_SHARE_GROUP_OFFSETS,
};
enum { MODERN_FROM = 200 }; /* the byte that chooses */

struct world {
    struct group_shard_options options;
    struct group_shard *shard; /* NULL until the start */
    struct coord_time time;
    struct buf hostile; /* batches that we did not write */
    struct buf log;     /* batches that the coordinator wrote */
    int64_t log_start;  /* their first offset */
    int64_t end_offset;
    int64_t high_watermark;
    bool commits;        /* what is appended is committed at once */
    struct slice member; /* owned; the id that the last JoinGroup was given */
    int32_t generation;
    struct slice modern; /* owned; the id that the last heartbeat had */
    int32_t epoch;       /* that it was told */
    struct list asks, lookups, creations; /* until the end of the step */
    uint64_t tokens;                      /* requests */
    uint64_t answered;                    /* answers */
};

/* ---- the partition ------------------------------------------------------- */

static enum err append(void *arg, uint8_t *batch, size_t len,
                       int64_t *base_offset)
{
    struct world *w = arg;
    struct batch b;

    ASSERT(batch_parse(slice_of(batch, len), &b) == ERR_NONE &&
           b.size_bytes == len);
    batch_patch(batch, w->end_offset, 0);
    buf_put(&w->log, batch, len);
    *base_offset = w->end_offset;
    w->end_offset += b.last_offset_delta + 1;
    if (w->commits) {
        w->high_watermark = w->end_offset;
        group_shard_committed(w->shard, w->high_watermark, w->time);
    }
    return ERR_NONE;
}

static void remember_modern(struct world *w, struct slice id, int32_t epoch)
{
    if (id.len == 0 || epoch <= 0)
        return;
    free((void *)(uintptr_t)w->modern.data);
    w->modern = slice_of(slice_dup(id), id.len);
    w->epoch = epoch;
}

static void remember(struct world *w, const struct coord_answer *a)
{
    const struct join_group_response *join = &a->response.join_group;

    if (a->api == API_CONSUMER_GROUP_HEARTBEAT)
        remember_modern(w, a->response.consumer_group_heartbeat.member_id,
                        a->response.consumer_group_heartbeat.member_epoch);
    if (a->api == API_SHARE_GROUP_HEARTBEAT)
        remember_modern(w, a->response.share_group_heartbeat.member_id,
                        a->response.share_group_heartbeat.member_epoch);
    if (a->api == API_STREAMS_GROUP_HEARTBEAT)
        remember_modern(w, a->response.streams_group_heartbeat.member_id,
                        a->response.streams_group_heartbeat.member_epoch);
    if (a->api != API_JOIN_GROUP || join->member_id.len == 0)
        return;
    free((void *)(uintptr_t)w->member.data);
    w->member = slice_of(slice_dup(join->member_id), join->member_id.len);
    w->generation = join->generation_id;
}

/* Everything that is answered has a place on the wire. */
static void answer(void *arg, struct coord_answer *a)
{
    struct world *w = arg;
    struct buf bytes = BUF_INIT;
    int16_t version = a->version;

    w->answered++;
    if (a->api == API_OFFSET_FETCH)
        ASSERT(offset_fetch_from_groups(&a->response.offset_fetch, version,
                                        &a->arena));
    ASSERT(kafka_encode(api_find((int16_t)a->api)->response, version,
                        &a->response, &bytes, NULL) == ERR_NONE);
    remember(w, a);
    buf_free(&bytes);
    coord_answer_free(a);
}

static void on_ask(void *arg, struct share_group_ask *ask)
{
    list_push_back(&((struct world *)arg)->asks, &ask->link);
}

static void on_look_up(void *arg, struct consumer_lookup *lookup)
{
    list_push_back(&((struct world *)arg)->lookups, &lookup->link);
}

static void on_make(void *arg, struct streams_creation *creation)
{
    list_push_back(&((struct world *)arg)->creations, &creation->link);
}

static const struct group_shard_ops ops = {
    .append = append,
    .answer = answer,
    .ask = on_ask,
    .look_up = on_look_up,
    .make = on_make,
};

/* What was asked outside comes back: done, or not. */
static void come_back(struct world *w, bool good)
{
    for (struct list *node; (node = list_pop_front(&w->asks)) != NULL;) {
        struct share_group_ask *ask =
            LIST_ENTRY(node, struct share_group_ask, link);

        for (uint32_t i = 0; i < ask->items_len; i++)
            ask->items[i].err = good ? ERR_NONE : ERR_COORDINATOR_NOT_AVAILABLE;
        group_shard_asked(w->shard, ask, w->time);
    }
    for (struct list *node; (node = list_pop_front(&w->lookups)) != NULL;)
        group_shard_looked_up(w->shard,
                              LIST_ENTRY(node, struct consumer_lookup, link), 0,
                              w->time);
    for (struct list *node; (node = list_pop_front(&w->creations)) != NULL;) {
        struct streams_creation *creation =
            LIST_ENTRY(node, struct streams_creation, link);

        if (!good)
            group_shard_not_made(w->shard, creation->group, SLICE("no"),
                                 w->time);
        streams_creation_free(creation);
    }
}

/* A cluster with one topic, "t". */
static const struct uuid topic_id = {{0, 't'}};

static bool topic_by_name(void *arg, struct slice name,
                          struct consumer_topic *topic)
{
    (void)arg;
    *topic = (struct consumer_topic){topic_id, 3};
    return slice_eq_str(name, "t");
}

static struct slice topic_name(void *arg, struct uuid id)
{
    (void)arg;
    return uuid_eq(id, topic_id) ? SLICE("t") : SLICE_NULL;
}

static void check(const struct world *w)
{
    const struct group_cores *cores = group_shard_cores(w->shard);

    coord_check(group_cores_classic(cores));
    consumer_coord_check(group_cores_consumer(cores));
    share_group_check(group_cores_share(cores));
    streams_coord_check(group_cores_streams(cores));
}

/* ---- what is in the log before ------------------------------------------- */

static void gather(struct world *w, struct slice key, struct slice value,
                   uint8_t attributes)
{
    struct batch_options options = BATCH_OPTIONS_INIT;
    struct batch_builder b;

    batch_builder_init(&b);
    batch_builder_append(&b, w->time.wall_ms, key, value, NULL, 0);
    options.base_offset = w->end_offset++;
    if ((attributes & 1) != 0) {
        options.attributes = BATCH_TRANSACTIONAL;
        options.producer_id = attributes >> 1 & 1;
        options.producer_epoch = 0;
    }
    if ((attributes & 4) != 0)
        options.attributes |= BATCH_CONTROL;
    batch_builder_finish(&b, &options, NULL, &w->hostile);
    batch_builder_free(&b);
}

static void gather_step(struct world *w, uint8_t op, struct reader *r)
{
    struct slice key = take_part(r);
    struct slice value = (op & 0x40) != 0 ? SLICE_NULL : take_part(r);

    if (key.len <= RECORD_MAX && value.len <= RECORD_MAX)
        gather(w, key, value, op >> 3);
}

/* ---- life ---------------------------------------------------------------- */

static void start(struct world *w)
{
    struct group_loader *loader =
        group_loader_create(&w->options, w->high_watermark);

    ASSERT(group_loader_add(loader, buf_slice(&w->hostile)) == ERR_NONE);
    uint64_t skipped = group_loader_skipped(loader);
    ASSERT(group_loader_add(loader, buf_slice(&w->log)) == ERR_NONE);
    ASSERT(group_loader_skipped(loader) == skipped);
    w->shard = group_shard_create(&w->options, &ops, w);
    group_shard_activate(w->shard, loader, w->end_offset, w->high_watermark, 0,
                         w->time);
    come_back(w, true);
    check(w);
}

static void stop(struct world *w)
{
    group_shard_resign(w->shard, w->time);
    come_back(w, false);
    ASSERT(w->answered == w->tokens);
    group_shard_free(w->shard);
    w->shard = NULL;
}

/* ---- requests ------------------------------------------------------------ */

/* Puts in the member's id and generation where the input leaves them empty and
 * zero, as nobody can guess them. */
static void help_modern(const struct world *w, struct slice *id, int32_t *epoch)
{
    if (id->len == 0 && !slice_is_null(w->modern))
        *id = w->modern;
    if (*epoch == 1)
        *epoch = w->epoch;
}

static void help(const struct world *w, enum api_key api, void *request)
{
    struct slice *id = NULL;
    int32_t *generation = NULL;

    if (api == API_CONSUMER_GROUP_HEARTBEAT) {
        struct consumer_group_heartbeat_request *q = request;
        help_modern(w, &q->member_id, &q->member_epoch);
    } else if (api == API_SHARE_GROUP_HEARTBEAT) {
        struct share_group_heartbeat_request *q = request;
        help_modern(w, &q->member_id, &q->member_epoch);
    } else if (api == API_STREAMS_GROUP_HEARTBEAT) {
        struct streams_group_heartbeat_request *q = request;
        help_modern(w, &q->member_id, &q->member_epoch);
    }
    if (api == API_JOIN_GROUP) {
        struct join_group_request *q = request;
        if (q->member_id.len == 1)
            id = &q->member_id;
    } else if (api == API_SYNC_GROUP) {
        struct sync_group_request *q = request;
        id = &q->member_id;
        generation = &q->generation_id;
        for (int32_t i = 0; i < q->assignments_len; i++)
            if (q->assignments[i].member_id.len == 0)
                q->assignments[i].member_id = w->member;
    } else if (api == API_HEARTBEAT) {
        struct heartbeat_request *q = request;
        id = &q->member_id;
        generation = &q->generation_id;
    } else if (api == API_OFFSET_COMMIT) {
        struct offset_commit_request *q = request;
        id = &q->member_id;
        generation = &q->generation_id_or_member_epoch;
    } else if (api == API_LEAVE_GROUP) {
        struct leave_group_request *q = request;
        id = &q->member_id;
        for (int32_t i = 0; i < q->members_len; i++)
            if (q->members[i].member_id.len == 0)
                q->members[i].member_id = w->member;
    }
    if (id != NULL && id->len <= 1 && !slice_is_null(w->member))
        *id = w->member;
    if (generation != NULL && *generation == 0)
        *generation = w->generation;
}

/* The broker makes one call for each group of such a request. */
static bool is_one(enum api_key api, void *request)
{
    struct describe_share_group_offsets_request *q = request;

    if (api != API_DESCRIBE_SHARE_GROUP_OFFSETS)
        return true;
    if (q->groups_len > 1)
        q->groups_len = 1;
    return q->groups_len == 1;
}

static void ask(struct world *w, enum api_key api, int16_t version,
                void *request)
{
    if (!is_one(api, request))
        return;
    struct uuid random = {{(uint8_t)++w->tokens}};
    struct coord_context context = {
        .token = w,
        .now_ms = w->time.now_ms,
        .wall_ms = w->time.wall_ms,
        .version = version,
        .client_id = SLICE("client"),
        .client_host = SLICE("/192.0.2.7"),
        .random = random,
    };

    help(w, api, request);
    group_shard_request(w->shard, &context, api, request);
}

static void request_step(struct world *w, struct reader *r)
{
    uint8_t which = read_u8(r);
    enum api_key api =
        which >= MODERN_FROM
            ? modern_apis[which % (sizeof modern_apis / sizeof *modern_apis)]
            : apis[which % (sizeof apis / sizeof *apis)];
    int16_t version = read_u8(r);
    struct slice body = take_part(r);
    const struct api *a = api_find((int16_t)api);
    struct offset_fetch_request groups;
    struct arena arena;

    if (!api_serves(a, API_ON_BROKER, version))
        return;
    void *request = xmalloc(a->request->size_bytes);
    arena_init(&arena, 1 << 20);
    if (kafka_decode(a->request, version, body, &arena, request) == ERR_NONE) {
        if (api != API_OFFSET_FETCH)
            ask(w, api, version, request);
        else if (offset_fetch_to_groups(request, version, &arena, &groups))
            ask(w, api, version, &groups);
    }
    arena_free(&arena);
    free(request);
}

static void pass(struct world *w, int64_t ms)
{
    w->time.now_ms += ms;
    w->time.wall_ms += ms;
    for (int i = 0;
         i < 16 && group_shard_next_deadline(w->shard) <= w->time.now_ms; i++)
        group_shard_tick(w->shard, w->time);
}

static void live_step(struct world *w, uint8_t op, struct reader *r)
{
    switch (op & 7) {
    case 0:
    case 1:
    case 2:
    case 3:
        request_step(w, r);
        if ((op & 0x80) == 0)
            group_shard_flush(w->shard, w->time);
        break;
    case 4:
        pass(w, 1 << (op >> 3 & 31) % 24);
        break;
    case 5:
        w->commits = (op & 8) != 0;
        w->high_watermark = w->end_offset;
        group_shard_committed(w->shard, w->high_watermark, w->time);
        break;
    case 6:
        group_shard_topic_deleted(w->shard, take_part(r), w->time);
        break;
    default:
        stop(w);
        start(w);
        break;
    }
    come_back(w, (op & 0x40) == 0);
    check(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    struct world w = {
        .options = {.batch_max_bytes = 1 << 20, .commit_timeout_ms = 5000},
        .time = {1000000, INT64_C(1700000000000)},
        .commits = true,
    };

    coord_config_init(&w.options.coord);
    consumer_config_init(&w.options.consumer);
    share_group_config_init(&w.options.share);
    streams_config_init(&w.options.streams);
    w.options.streams.settings.initial_rebalance_delay_ms = 0;
    w.options.world = (struct consumer_world){.topic_by_name = topic_by_name,
                                              .topic_name = topic_name};
    w.options.coord.members_max_bytes = 1 << 16;
    w.options.consumer.members_max_bytes = 1 << 16;
    w.options.share.members_max_bytes = 1 << 16;
    w.options.streams.members_max_bytes = 1 << 16;
    list_init(&w.asks);
    list_init(&w.lookups);
    list_init(&w.creations);
    for (int i = 0; i < STEPS_MAX && reader_left(&r) != 0; i++) {
        uint8_t op = read_u8(&r);

        if (w.shard != NULL) {
            live_step(&w, op, &r);
        } else if ((op & 7) != 7) {
            gather_step(&w, op, &r);
        } else {
            w.high_watermark = (op & 8) != 0 ? 0 : w.end_offset;
            start(&w);
        }
    }
    if (w.shard == NULL)
        start(&w);
    stop(&w);
    start(&w);
    stop(&w);
    buf_free(&w.hostile);
    buf_free(&w.log);
    free((void *)(uintptr_t)w.member.data);
    free((void *)(uintptr_t)w.modern.data);
    return 0;
}
