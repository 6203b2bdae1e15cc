#include "tests/unit/broker/coord_fixture.h"

#include "proto/record/control.h"

#include <stdlib.h>

/* ---- the partition -------------------------------------------------------*/

static enum err world_append(void *arg, uint8_t *batch, size_t len,
                             int64_t *base_offset)
{
    struct world *w = arg;
    struct batch header;

    if (w->append_err != ERR_NONE)
        return w->append_err;
    cr_assert_lt(w->batches_len, WORLD_BATCHES_MAX);
    cr_assert_eq(batch_parse(slice_of(batch, len), &header), ERR_NONE);
    cr_assert_eq(header.size_bytes, len, "one batch");
    batch_patch(batch, w->end_offset, 0);
    buf_put(&w->batches[w->batches_len++], batch, len);
    *base_offset = w->end_offset;
    w->end_offset += header.last_offset_delta + 1;
    if (!w->hold)
        world_commit(w);
    return ERR_NONE;
}

static void world_answer(void *arg, struct coord_answer *answer)
{
    struct world *w = arg;
    intptr_t token = (intptr_t)answer->token;

    cr_assert(token > 0 && token <= w->tokens);
    cr_assert_null(w->answers[token], "token %d answered twice", (int)token);
    w->answers[token] = answer;
    /* Everything we answer must have a place on the wire. */
    struct buf bytes = BUF_INIT;
    bool in_txn = answer->api == API_TXN_OFFSET_COMMIT; /* as OffsetCommit */
    enum api_key api = in_txn ? API_OFFSET_COMMIT : answer->api;
    enum err err =
        kafka_encode(api_find((int16_t)api)->response,
                     in_txn || (api == API_OFFSET_FETCH && answer->version < 8)
                         ? 8
                         : answer->version,
                     &answer->response, &bytes, NULL);
    cr_assert_eq(err, ERR_NONE, "%s v%d: %s", api_name((int16_t)answer->api),
                 answer->version, err_name(err));
    buf_free(&bytes);
}

static void world_ask(void *arg, struct share_group_ask *ask)
{
    struct world *w = arg;

    cr_assert_lt(w->asks_len, 16);
    w->asks[w->asks_len++] = ask;
}

static const struct group_shard_ops ops = {
    .append = world_append, .answer = world_answer, .ask = world_ask};

/* ---- the cluster ---------------------------------------------------------*/

static const struct uuid topic_id = {{0, 't'}};

struct uuid world_topic_id(void) { return topic_id; }

static bool topic_by_name(void *arg, struct slice name,
                          struct consumer_topic *topic)
{
    const struct world *w = arg;

    *topic = (struct consumer_topic){topic_id, w->topic_partitions};
    return slice_eq_str(name, "t") && w->topic_partitions != 0;
}

static struct slice topic_name(void *arg, struct uuid id)
{
    (void)arg;
    return uuid_eq(id, topic_id) ? SLICE("t") : SLICE_NULL;
}

static uint64_t topic_changes(void *arg)
{
    return ((const struct world *)arg)->topic_changes;
}

void world_share_answers(struct world *w, enum err err)
{
    struct share_group_ask *ask = w->asks[0];

    cr_assert_gt(w->asks_len, 0, "nobody was asked");
    memmove(w->asks, w->asks + 1, (size_t)--w->asks_len * sizeof *w->asks);
    for (uint32_t i = 0; i < ask->items_len; i++) {
        ask->items[i].err = err;
        if (ask->api != API_READ_SHARE_GROUP_STATE_SUMMARY)
            continue;
        ask->items[i].start_offset = 10 + ask->items[i].partition;
        ask->items[i].complete = ask->items[i].partition;
    }
    group_shard_asked(w->shard, ask, w->time);
}

/* ---- life ----------------------------------------------------------------*/

void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    coord_config_init(&w->options.coord);
    consumer_config_init(&w->options.consumer);
    streams_config_init(&w->options.streams);
    share_group_config_init(&w->options.share);
    streams_config_init(&w->options.streams);
    w->options.share.topic_changes = topic_changes;
    w->options.world = (struct consumer_world){
        .arg = w, .topic_by_name = topic_by_name, .topic_name = topic_name};
    w->topic_partitions = 3;
    w->options.batch_max_bytes = 1 << 20;
    w->options.commit_timeout_ms = 5000;
    w->time = (struct coord_time){1000000, INT64_C(1700000000000)};
    w->prng.state = 1;
}

static void load(struct world *w)
{
    struct group_loader *loader =
        group_loader_create(&w->options, w->high_watermark);

    w->shard = group_shard_create(&w->options, &ops, w);
    for (int i = 0; i < w->batches_len; i++) {
        enum err err = group_loader_add(loader, buf_slice(&w->batches[i]));
        cr_assert_eq(err, ERR_NONE);
    }
    cr_assert_eq(group_loader_skipped(loader), 0);
    if (w->deleted != NULL)
        group_shard_topic_deleted(w->shard, slice_str(w->deleted), w->time);
    group_shard_activate(w->shard, loader, w->end_offset, w->high_watermark,
                         w->topics_version, w->time);
}

void world_start(struct world *w) { load(w); }

void world_open(struct world *w)
{
    world_init(w);
    world_start(w);
}

void world_close(struct world *w)
{
    if (w->shard != NULL)
        group_shard_resign(w->shard, w->time);
    group_shard_free(w->shard);
    for (int i = 0; i < w->batches_len; i++)
        buf_free(&w->batches[i]);
    for (int i = 0; i <= w->tokens; i++)
        coord_answer_free(w->answers[i]);
    for (int i = 0; i < w->asks_len; i++)
        share_group_ask_free(w->asks[i]);
}

void world_fail_over_at(struct world *w, int64_t end_offset)
{
    group_shard_resign(w->shard, w->time);
    group_shard_free(w->shard);
    while (w->batches_len > 0 &&
           (int64_t)be64_get(w->batches[w->batches_len - 1].data) >= end_offset)
        buf_free(&w->batches[--w->batches_len]);
    w->end_offset = end_offset;
    load(w);
}

void world_fail_over(struct world *w) { world_fail_over_at(w, w->end_offset); }

void world_commit_to(struct world *w, int64_t high_watermark)
{
    w->high_watermark = high_watermark;
    group_shard_committed(w->shard, high_watermark, w->time);
}

void world_commit(struct world *w) { world_commit_to(w, w->end_offset); }

void world_flush(struct world *w) { group_shard_flush(w->shard, w->time); }

void world_pass(struct world *w, int64_t ms)
{
    int64_t end = w->time.now_ms + ms;
    int64_t wall_ahead = w->time.wall_ms - w->time.now_ms;

    for (;;) {
        int64_t due = group_shard_next_deadline(w->shard);

        if (due > end)
            break;
        if (due > w->time.now_ms)
            w->time = (struct coord_time){due, due + wall_ahead};
        group_shard_tick(w->shard, w->time);
    }
    w->time = (struct coord_time){end, end + wall_ahead};
}

const struct coord *world_coord(const struct world *w)
{
    return group_shard_coord(w->shard);
}

/* ---- requests ------------------------------------------------------------*/

static int request_of(struct world *w, struct slice client, enum api_key api,
                      int16_t version, const void *request)
{
    int token = ++w->tokens;
    struct coord_context context = {
        .token = (void *)(intptr_t)token,
        .now_ms = w->time.now_ms,
        .wall_ms = w->time.wall_ms,
        .version = version,
        .client_id = client,
        .client_host = SLICE("/192.0.2.7"),
        .random = uuid_random(&w->prng),
    };

    cr_assert_lt(token, WORLD_TOKENS_MAX);
    group_shard_request(w->shard, &context, api, request);
    coord_check(world_coord(w));
    consumer_coord_check(group_cores_consumer(group_shard_cores(w->shard)));
    return token;
}

int world_request(struct world *w, enum api_key api, int16_t version,
                  const void *request)
{
    return request_of(w, SLICE("client"), api, version, request);
}

bool answered(const struct world *w, int token)
{
    return w->answers[token] != NULL;
}

const struct coord_answer *answer_of(const struct world *w, int token)
{
    cr_assert(answered(w, token), "token %d is not answered", token);
    return w->answers[token];
}

static struct slice or_text(const char *text, const char *otherwise)
{
    return slice_str(text != NULL ? text : otherwise);
}

int join_with(struct world *w, struct join_args a)
{
    struct slice metadata = slice_is_null(a.subscription)
                                ? or_text(a.metadata, "m")
                                : a.subscription;
    struct join_group_request_protocol protocols[2] = {
        {or_text(a.protocol, "range"), metadata},
        {slice_str(a.protocol2), metadata},
    };
    struct join_group_request request = {
        .group_id = or_text(a.group, "g"),
        .session_timeout_ms = a.session_ms != 0 ? a.session_ms : 10000,
        .rebalance_timeout_ms = a.rebalance_ms == REBALANCE_0 ? 0
                                : a.rebalance_ms == 0         ? 60000
                                                              : a.rebalance_ms,
        .member_id = or_text(a.member, ""),
        .group_instance_id = slice_str(a.instance),
        .protocol_type = or_text(a.type, "consumer"),
        .protocols = protocols,
        .protocols_len = a.no_protocols        ? 0
                         : a.protocol2 != NULL ? 2
                                               : 1,
    };
    int version = a.version == 0 ? 3 : a.version < 0 ? 0 : a.version;

    if (version == 0)
        request.rebalance_timeout_ms = -1;
    return request_of(w, or_text(a.client, "client"), API_JOIN_GROUP,
                      (int16_t)version, &request);
}

const struct join_group_response *join_of(const struct world *w, int token)
{
    return &answer_of(w, token)->response.join_group;
}

int sync_with(struct world *w, struct sync_args a)
{
    struct sync_group_request_assignment assignments[32];
    struct sync_group_request request = {
        .group_id = or_text(a.group, "g"),
        .generation_id = a.generation != 0 ? a.generation : 1,
        .member_id = or_text(a.member, ""),
        .group_instance_id = slice_str(a.instance),
        .protocol_type = slice_str(a.type),
        .protocol_name = slice_str(a.name),
        .assignments = assignments,
    };

    for (int i = 0; i < 64 && a.assign[i] != NULL; i += 2)
        assignments[request.assignments_len++] =
            (struct sync_group_request_assignment){slice_str(a.assign[i]),
                                                   slice_str(a.assign[i + 1])};
    return world_request(w, API_SYNC_GROUP,
                         (int16_t)(a.version != 0 ? a.version : 5), &request);
}

const struct sync_group_response *sync_of(const struct world *w, int token)
{
    return &answer_of(w, token)->response.sync_group;
}

enum err heartbeat_with(struct world *w, struct heartbeat_args a)
{
    struct heartbeat_request request = {
        .group_id = or_text(a.group, "g"),
        .generation_id = a.generation != 0 ? a.generation : 1,
        .member_id = or_text(a.member, ""),
        .group_instance_id = slice_str(a.instance),
    };
    int token = world_request(w, API_HEARTBEAT, 4, &request);

    return (enum err)answer_of(w, token)->response.heartbeat.error_code;
}

int beat_with(struct world *w, struct beat_args a)
{
    struct slice names[] = {or_text(a.topic, "t")};
    bool joins = a.epoch == CONSUMER_JOINS;
    struct consumer_group_heartbeat_request request = {
        .group_id = or_text(a.group, "g"),
        .member_id = or_text(a.member, "m"),
        .member_epoch = a.epoch,
        .rebalance_timeout_ms = joins ? 60000 : -1,
        .subscribed_topic_names = names,
        .subscribed_topic_names_len = joins ? 1 : -1,
        .topic_partitions_len = joins || a.owns_nothing ? 0 : -1,
    };

    return world_request(w, API_CONSUMER_GROUP_HEARTBEAT, 1, &request);
}

const struct consumer_group_heartbeat_response *beat_of(const struct world *w,
                                                        int token)
{
    return &answer_of(w, token)->response.consumer_group_heartbeat;
}

int leave_with(struct world *w, struct leave_args a)
{
    struct leave_group_request_member_identity members[2] = {
        {or_text(a.member, ""), slice_str(a.instance), SLICE_NULL},
        {slice_str(a.member2), SLICE_NULL, SLICE_NULL},
    };
    struct leave_group_request request = {
        .group_id = or_text(a.group, "g"),
        .member_id = or_text(a.member, ""),
        .members = members,
        .members_len = a.member2 != NULL ? 2 : 1,
    };

    return world_request(w, API_LEAVE_GROUP,
                         (int16_t)(a.version != 0 ? a.version : 5), &request);
}

const struct leave_group_response *leave_of(const struct world *w, int token)
{
    return &answer_of(w, token)->response.leave_group;
}

int commit_with(struct world *w, struct commit_args a)
{
    struct offset_commit_request_partition partition = {
        .partition_index = a.partition,
        .committed_offset = a.offset,
        .committed_leader_epoch = -1,
        .commit_timestamp = a.timestamp != 0 ? a.timestamp : -1,
        .committed_metadata = slice_str(a.metadata),
    };
    struct offset_commit_request_topic topic = {
        .name = or_text(a.topic, "t"),
        .partitions = &partition,
        .partitions_len = 1,
    };
    struct offset_commit_request request = {
        .group_id = or_text(a.group, "g"),
        .generation_id_or_member_epoch = a.generation == GENERATION_0 ? 0
                                         : a.generation == 0          ? -1
                                                             : a.generation,
        .member_id = or_text(a.member, ""),
        .group_instance_id = slice_str(a.instance),
        .retention_time_ms = a.retention_ms != 0 ? a.retention_ms : -1,
        .topics = &topic,
        .topics_len = 1,
    };
    struct coord_txn_commit in_txn = {request, a.producer, 0};
    int token =
        a.producer != 0
            ? world_request(w, API_TXN_OFFSET_COMMIT,
                            (int16_t)(a.version != 0 ? a.version : 3), &in_txn)
            : world_request(w, API_OFFSET_COMMIT,
                            (int16_t)(a.version != 0 ? a.version : 8),
                            &request);

    world_flush(w);
    return token;
}

void world_end_txn(struct world *w, int64_t producer, bool committed)
{
    struct control_marker marker = {.producer_id = producer,
                                    .commit = committed};
    int64_t offset = w->end_offset++;

    cr_assert_lt(w->batches_len, WORLD_BATCHES_MAX);
    struct buf *batch = &w->batches[w->batches_len++];
    control_marker_encode(&marker, w->time.wall_ms, batch);
    batch_patch(batch->data, offset, 0);
    group_shard_marker(w->shard, producer, committed, offset, w->time);
    if (!w->hold)
        world_commit(w);
}

enum err commit_of(const struct world *w, int token)
{
    const struct offset_commit_response *r =
        &answer_of(w, token)->response.offset_commit;

    cr_assert_eq(r->topics_len, 1);
    cr_assert_eq(r->topics[0].partitions_len, 1);
    return (enum err)r->topics[0].partitions[0].error_code;
}

int fetch_with(struct world *w, struct fetch_args a)
{
    struct offset_fetch_request_topics topic = {
        .name = or_text(a.topic, "t"),
        .partition_indexes = &a.partition,
        .partition_indexes_len = 1,
    };
    bool all = a.topic != NULL && strcmp(a.topic, "*") == 0;
    struct offset_fetch_request_group group = {
        .group_id = or_text(a.group, "g"),
        .member_epoch = -1,
        .topics = all ? NULL : &topic,
        .topics_len = all ? -1 : 1,
    };
    struct offset_fetch_request request = {
        .groups = &group,
        .groups_len = 1,
        .require_stable = a.stable,
    };

    return world_request(w, API_OFFSET_FETCH,
                         (int16_t)(a.version != 0 ? a.version : 9), &request);
}

const struct offset_fetch_response_group *fetch_of(const struct world *w,
                                                   int token)
{
    const struct offset_fetch_response *r =
        &answer_of(w, token)->response.offset_fetch;

    cr_assert_eq(r->groups_len, 1);
    return &r->groups[0];
}

int64_t fetched(struct world *w, const char *group, int32_t partition)
{
    int token = FETCH(w, .group = group, .partition = partition);
    const struct offset_fetch_response_group *g = fetch_of(w, token);

    if (g->error_code == ERR_COORDINATOR_LOAD_IN_PROGRESS)
        return COME_AGAIN;
    cr_assert_eq(g->error_code, ERR_NONE);
    cr_assert_eq(g->topics[0].partitions[0].error_code, ERR_NONE);
    return g->topics[0].partitions[0].committed_offset;
}

const char *state_of(struct world *w, const char *group)
{
    struct slice id = slice_str(group);
    struct describe_groups_request request = {.groups = &id, .groups_len = 1};
    int token = world_request(w, API_DESCRIBE_GROUPS, 5, &request);
    const struct describe_groups_response *r =
        &answer_of(w, token)->response.describe_groups;

    return (const char *)r->groups[0].group_state.data;
}

/* ---- shortcuts -----------------------------------------------------------*/

void copy_id(struct slice id, char out[static 128])
{
    cr_assert_lt(id.len, 128);
    memcpy(out, id.data, id.len);
    out[id.len] = '\0';
}

void make_stable(struct world *w, const char *group, char id[static 128])
{
    int join = JOIN(w, .group = group);

    world_pass(w, w->options.coord.group_initial_rebalance_delay_ms);
    copy_id(join_of(w, join)->member_id, id);
    int sync = SYNC(w, .group = group, .member = id,
                    .generation = join_of(w, join)->generation_id,
                    .assign = {id, "one"});
    cr_assert_err(sync_of(w, sync)->error_code, ERR_NONE);
}

struct pair make_stable_pair(struct world *w, const char *group)
{
    struct pair pair;
    int first = JOIN(w, .group = group);
    int second = JOIN(w, .group = group);

    world_pass(w, 2 * w->options.coord.group_initial_rebalance_delay_ms);
    copy_id(join_of(w, first)->member_id, pair.first);
    copy_id(join_of(w, second)->member_id, pair.second);
    pair.generation = join_of(w, first)->generation_id;
    int waiting = SYNC(w, .group = group, .member = pair.second,
                       .generation = pair.generation);
    int leader = SYNC(w, .group = group, .member = pair.first,
                      .generation = pair.generation,
                      .assign = {pair.first, "one", pair.second, "two"});
    cr_assert_text(sync_of(w, leader)->assignment, "one");
    cr_assert_text(sync_of(w, waiting)->assignment, "two");
    return pair;
}

struct slice subscription_to(const char *topic, uint8_t bytes[static 128])
{
    struct buf b = BUF_INIT;

    buf_put_u16(&b, 1);
    buf_put_u32(&b, 1);
    buf_put_u16(&b, (uint16_t)strlen(topic));
    buf_put(&b, topic, strlen(topic));
    buf_put_u32(&b, UINT32_MAX); /* no user data */
    buf_put_u32(&b, 0);          /* no owned partitions */
    cr_assert_leq(b.len, 128);
    memcpy(bytes, b.data, b.len);
    struct slice s = slice_of(bytes, b.len);
    buf_free(&b);
    return s;
}
