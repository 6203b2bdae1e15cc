#include "tests/unit/broker/streams_fixture.h"

#include "base/map.h"
#include "proto/record/batch.h"
#include "proto/record/record.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the cluster ---------------------------------------------------------*/

static struct scene_topic *find(struct scene *s, struct slice name)
{
    for (int i = 0; i < s->topics_len; i++)
        if (slice_eq_str(name, s->topics[i].name))
            return &s->topics[i];
    return NULL;
}

static bool topic_by_name(void *arg, struct slice name,
                          struct consumer_topic *out)
{
    const struct scene_topic *topic = find(arg, name);

    if (topic == NULL || topic->partitions == 0)
        return false;
    *out = (struct consumer_topic){topic->id, topic->partitions};
    return true;
}

static struct slice topic_name(void *arg, struct uuid id)
{
    struct scene *s = arg;

    for (int i = 0; i < s->topics_len; i++)
        if (uuid_eq(s->topics[i].id, id) && s->topics[i].partitions > 0)
            return slice_str(s->topics[i].name);
    return SLICE_NULL;
}

static void settings(void *arg, struct slice group,
                     struct streams_settings *settings)
{
    const struct scene *s = arg;

    (void)group;
    settings->num_standby_replicas = s->standbys;
}

struct scene_topic *scene_topic(struct scene *s, const char *name,
                                int32_t partitions)
{
    struct scene_topic *topic = find(s, slice_str(name));

    if (topic == NULL) {
        cr_assert_lt(s->topics_len, SCENE_TOPICS_MAX);
        topic = &s->topics[s->topics_len++];
        snprintf(topic->name, sizeof topic->name, "%s", name);
    }
    if (topic->partitions == 0) { /* made, or made again */
        topic->id = UUID_ZERO;
        be64_put(topic->id.bytes, (uint64_t)++s->topics_made);
    }
    topic->partitions = partitions;
    if (s->active)
        streams_coord_topic_changed(s->coord, slice_str(name));
    return topic;
}

/* ---- the log -------------------------------------------------------------*/

static void carry_out(struct scene *s, struct coord_update *update);

static struct streams_write *write_of(struct coord_pending *pending)
{
    return LIST_ENTRY(pending, struct streams_write, pending);
}

static enum err on_append(void *arg, uint8_t *bytes, size_t len,
                          int64_t *base_offset)
{
    struct scene *s = arg;
    struct batch header;

    if (s->append_fails_in > 0 && --s->append_fails_in == 0)
        return ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_eq(batch_parse(slice_of(bytes, len), &header), ERR_NONE);
    batch_patch(bytes, s->end_offset, 1);
    if (s->batches_len == s->batches_cap) {
        s->batches_cap = s->batches_cap * 2 + 16;
        s->batches =
            xrealloc(s->batches, (size_t)s->batches_cap * sizeof *s->batches);
    }
    struct scene_batch *to = &s->batches[s->batches_len++];
    *to = (struct scene_batch){BUF_INIT, s->end_offset};
    buf_put(&to->bytes, bytes, len);
    *base_offset = s->end_offset;
    s->end_offset += header.last_offset_delta + 1;
    s->records += header.last_offset_delta + 1;
    return ERR_NONE;
}

static void on_appended(void *arg, struct coord_pending *pending,
                        uint32_t first, uint32_t count, int64_t base_offset)
{
    struct scene *s = arg;

    (void)base_offset;
    streams_coord_appended(s->coord, write_of(pending), first, count, s->time);
}

static void on_done(void *arg, struct coord_pending *pending, enum err err)
{
    struct scene *s = arg;
    struct coord_update update;

    coord_update_init(&update);
    streams_coord_done(s->coord, write_of(pending), err, &update);
    carry_out(s, &update);
}

static const struct coord_runtime_ops ops = {
    .append = on_append,
    .appended = on_appended,
    .done = on_done,
};

static void on_answer(struct scene *s, struct coord_answer *answer)
{
    intptr_t token = (intptr_t)answer->token;
    struct buf bytes = BUF_INIT;

    cr_assert(token > 0 && token <= s->tokens);
    cr_assert_null(s->answers[token], "token %d answered twice", (int)token);
    s->answers[token] = answer;
    /* Everything we answer must have a place on the wire. */
    enum err err =
        kafka_encode(api_find((int16_t)answer->api)->response, answer->version,
                     &answer->response, &bytes, NULL);
    cr_assert_eq(err, ERR_NONE, "%s v%d: %s", api_name((int16_t)answer->api),
                 answer->version, err_name((int)err));
    buf_free(&bytes);
}

static void on_creation(struct scene *s, struct streams_creation *c)
{
    int at = 0;

    s->creations++;
    s->created[0] = '\0';
    for (uint32_t i = 0; i < c->topics_len && at < 200; i++)
        at +=
            snprintf(s->created + at, sizeof s->created - (size_t)at,
                     "%s%.*s:%d", i == 0 ? "" : " ",
                     SLICE_FMT(c->topics[i].name), c->topics[i].num_partitions);
    for (uint32_t i = 0; s->creates && i < c->topics_len; i++) {
        char name[32];
        snprintf(name, sizeof name, "%.*s", SLICE_FMT(c->topics[i].name));
        scene_topic(s, name, c->topics[i].num_partitions);
    }
    streams_creation_free(c);
}

static void carry_out(struct scene *s, struct coord_update *update)
{
    struct list *node;

    while ((node = list_pop_front(&update->answers)) != NULL)
        on_answer(s, LIST_ENTRY(node, struct coord_answer, link));
    while ((node = list_pop_front(&update->writes)) != NULL)
        coord_runtime_add(&s->runtime,
                          LIST_ENTRY(node, struct coord_pending, link),
                          s->time.now_ms, s->time.wall_ms);
    if (s->active)
        coord_runtime_flush(&s->runtime, s->time.now_ms, s->time.wall_ms);
    while ((node = list_pop_front(&update->creations)) != NULL)
        on_creation(s, LIST_ENTRY(node, struct streams_creation, link));
    cr_assert(list_empty(&update->lookups));
    if (s->active && !s->hold)
        scene_commit(s);
}

void scene_commit_to(struct scene *s, int64_t high_watermark)
{
    if (high_watermark <= s->high_watermark && s->high_watermark != 0)
        return;
    s->high_watermark = high_watermark;
    coord_runtime_committed(&s->runtime, high_watermark);
}

void scene_commit(struct scene *s) { scene_commit_to(s, s->end_offset); }

/* ---- life ----------------------------------------------------------------*/

void scene_init(struct scene *s)
{
    memset(s, 0, sizeof *s);
    streams_config_init(&s->config);
    s->config.settings.assignment_interval_ms = 0;
    s->config.settings.initial_rebalance_delay_ms = 0;
    s->time = (struct coord_time){1000000, INT64_C(1700000000000)};
    s->batch_max_bytes = 1 << 20;
    s->creates = true;
    scene_topic(s, "in", 4);
}

typedef void visit_fn(void *arg, struct slice key, struct slice value);

static void each_record(const struct scene *s, visit_fn *visit, void *arg)
{
    struct codec *codec = codec_new();
    struct buf scratch = BUF_INIT;

    for (int i = 0; i < s->batches_len; i++) {
        struct slice bytes = buf_slice(&s->batches[i].bytes);
        struct record_reader reader;
        struct record record;
        struct batch batch;

        cr_assert_eq(batch_parse(bytes, &batch), ERR_NONE);
        cr_assert_eq(record_open(&reader, codec, bytes, &batch,
                                 CODEC_LIMIT_BYTES, &scratch),
                     ERR_NONE);
        while (record_next(&reader, &record))
            visit(arg, record.key, record.value);
    }
    codec_free(codec);
    buf_free(&scratch);
}

static void load_record(void *arg, struct slice key, struct slice value)
{
    cr_assert_eq(streams_coord_replay(arg, key, value), ERR_NONE);
}

static struct streams_coord *empty(struct scene *s)
{
    const struct streams_world world = {
        .arg = s,
        .topic_by_name = topic_by_name,
        .topic_name = topic_name,
        .settings = settings,
    };

    return streams_coord_create(&s->config, &world);
}

static struct streams_coord *load(struct scene *s)
{
    struct streams_coord *coord = empty(s);

    each_record(s, load_record, coord);
    return coord;
}

void scene_start(struct scene *s)
{
    s->coord = load(s);
    coord_runtime_init(&s->runtime, &ops, s, s->batch_max_bytes, 5000,
                       s->end_offset, s->high_watermark);
    s->active = true;
    streams_coord_activate(s->coord, s->time);
    if (!s->hold)
        scene_commit(s);
    streams_coord_check(s->coord);
}

void scene_open(struct scene *s)
{
    scene_init(s);
    scene_start(s);
}

static void resign(struct scene *s)
{
    s->active = false;
    streams_coord_resign(s->coord);
    coord_runtime_resign(&s->runtime);
    coord_runtime_free(&s->runtime);
    streams_coord_free(s->coord);
    s->coord = NULL;
}

void scene_close(struct scene *s)
{
    if (s->coord != NULL)
        resign(s);
    for (int i = 0; i < s->batches_len; i++)
        buf_free(&s->batches[i].bytes);
    free(s->batches);
    for (int i = 0; i <= s->tokens; i++)
        coord_answer_free(s->answers[i]);
}

void scene_fail_over_at(struct scene *s, int64_t end_offset)
{
    resign(s);
    while (s->batches_len > 0 &&
           s->batches[s->batches_len - 1].base >= end_offset) {
        s->end_offset = s->batches[--s->batches_len].base;
        buf_free(&s->batches[s->batches_len].bytes);
    }
    scene_start(s);
}

void scene_fail_over(struct scene *s) { scene_fail_over_at(s, s->end_offset); }

void scene_pass(struct scene *s, int64_t ms)
{
    int64_t end = s->time.now_ms + ms;
    int64_t ahead = s->time.wall_ms - s->time.now_ms;

    for (;;) {
        struct coord_update update;
        int64_t due = streams_coord_next_deadline(s->coord);
        int64_t other = coord_runtime_next_deadline(&s->runtime);

        due = other < due ? other : due;
        if (due > end)
            break;
        if (due > s->time.now_ms)
            s->time = (struct coord_time){due, due + ahead};
        coord_runtime_tick(&s->runtime, s->time.now_ms, s->time.wall_ms);
        coord_update_init(&update);
        streams_coord_tick(s->coord, s->time, &update);
        carry_out(s, &update);
    }
    s->time = (struct coord_time){end, end + ahead};
    streams_coord_check(s->coord);
}

static char *dump(const struct streams_coord *coord)
{
    struct buf text = BUF_INIT;

    streams_coord_dump(coord, &text);
    char *copy = slice_dup(buf_slice(&text));
    buf_free(&text);
    return copy;
}

char *scene_dump(const struct scene *s) { return dump(s->coord); }

/* ---- the log, once more --------------------------------------------------*/

struct kept {
    struct map last;
    struct streams_coord *coord;
    int64_t at;
};

static void note_last(void *arg, struct slice key, struct slice value)
{
    struct kept *kept = arg;

    (void)value;
    map_put(&kept->last, key, (void *)(intptr_t)++kept->at);
}

static void load_last(void *arg, struct slice key, struct slice value)
{
    struct kept *kept = arg;

    if ((intptr_t)map_get(&kept->last, key) == ++kept->at)
        load_record(kept->coord, key, value);
}

static void load_and_check(void *arg, struct slice key, struct slice value)
{
    load_record(arg, key, value);
    streams_coord_check(arg);
}

void scene_check_reload(struct scene *s)
{
    struct kept kept = {0};
    char *live = scene_dump(s);
    struct streams_coord *coord = empty(s);

    each_record(s, load_and_check, coord);
    char *loaded = dump(coord);
    cr_assert_str_eq(loaded, live);
    free(loaded);
    streams_coord_free(coord);

    each_record(s, note_last, &kept);
    kept.at = 0;
    kept.coord = empty(s);
    each_record(s, load_last, &kept);
    loaded = dump(kept.coord);
    cr_assert_str_eq(loaded, live);
    streams_coord_check(kept.coord);
    free(loaded);
    free(live);
    streams_coord_free(kept.coord);
    map_free(&kept.last);
}

/* ---- topologies ----------------------------------------------------------*/

topology_t plain_topology(void)
{
    static struct slice in[] = {SLICE("in")};
    static info_t store = {SLICE("store"), 0, 0, NULL, 0};
    static sub_t sub = {
        .subtopology_id = SLICE("0"),
        .source_topics = in,
        .source_topics_len = 1,
        .state_changelog_topics = &store,
        .state_changelog_topics_len = 1,
    };

    return (topology_t){0, &sub, 1};
}

topology_t two_step_topology(void)
{
    static struct slice in[] = {SLICE("in")}, rep_name[] = {SLICE("rep")};
    static info_t store = {SLICE("store"), 0, 0, NULL, 0};
    static info_t rep = {SLICE("rep"), 0, 0, NULL, 0};
    static sub_t subs[] = {
        {
            .subtopology_id = SLICE("1"),
            .repartition_source_topics = &rep,
            .repartition_source_topics_len = 1,
            .state_changelog_topics = &store,
            .state_changelog_topics_len = 1,
        },
        {
            .subtopology_id = SLICE("0"),
            .source_topics = in,
            .source_topics_len = 1,
            .repartition_sink_topics = rep_name,
            .repartition_sink_topics_len = 1,
        },
    };

    return (topology_t){0, subs, 2};
}

/* ---- requests ------------------------------------------------------------*/

int scene_request(struct scene *s, enum api_key api, int16_t version,
                  const void *request)
{
    int token = ++s->tokens;
    struct coord_context context = {
        .token = (void *)(intptr_t)token,
        .now_ms = s->time.now_ms,
        .wall_ms = s->time.wall_ms,
        .version = version,
        .client_id = SLICE("client"),
        .client_host = SLICE("/192.0.2.7"),
    };
    struct coord_update update;

    cr_assert_lt(token, SCENE_TOKENS_MAX);
    coord_update_init(&update);
    streams_coord_request(s->coord, &context, api, request, &update);
    carry_out(s, &update);
    streams_coord_check(s->coord);
    return token;
}

struct actor actor_of(const char *id, const char *process)
{
    struct actor a = {0};

    snprintf(a.id, sizeof a.id, "%s", id);
    snprintf(a.process, sizeof a.process, "%s", process);
    return a;
}

int beat_with(struct scene *s, const struct actor *a, struct beat_args args)
{
    struct streams_group_heartbeat_request_task_ids ids[TASK_KINDS]
                                                       [ACTOR_TASKS_MAX];
    int32_t partitions[TASK_KINDS][ACTOR_TASKS_MAX];
    struct streams_group_heartbeat_request_endpoint endpoint = {
        slice_str(args.endpoint), 80};
    struct streams_group_heartbeat_request q;

    streams_group_heartbeat_request_init(&q);
    for (int k = 0; k < TASK_KINDS; k++)
        for (uint32_t i = 0; i < a->tasks_len[k]; i++) {
            partitions[k][i] = a->tasks[k][i].partition;
            ids[k][i] = (struct streams_group_heartbeat_request_task_ids){
                a->tasks[k][i].sub, &partitions[k][i], 1};
        }
    q.group_id = slice_str(a->group != NULL ? a->group : "g");
    q.member_id = slice_str(a->id);
    q.member_epoch = a->epoch;
    q.endpoint_information_epoch = args.endpoint_epoch;
    q.rebalance_timeout_ms = args.timeout_ms != 0 ? args.timeout_ms : -1;
    q.topology = (topology_t *)(uintptr_t)args.topology;
    q.process_id = a->epoch == 0 ? slice_str(a->process) : SLICE_NULL;
    q.shutdown_application = args.shutdown;
    if (args.endpoint != NULL)
        q.user_endpoint = &endpoint;
    if (!args.silent) {
        q.active_tasks = ids[TASK_ACTIVE];
        q.active_tasks_len = (int32_t)a->tasks_len[TASK_ACTIVE];
        q.standby_tasks = ids[TASK_STANDBY];
        q.standby_tasks_len = (int32_t)a->tasks_len[TASK_STANDBY];
        q.warmup_tasks = ids[TASK_WARMUP];
        q.warmup_tasks_len = (int32_t)a->tasks_len[TASK_WARMUP];
    }
    return scene_request(s, API_STREAMS_GROUP_HEARTBEAT, 0, &q);
}

int join_with(struct scene *s, struct actor *a, struct beat_args args)
{
    topology_t plain = plain_topology();

    if (args.topology == NULL)
        args.topology = &plain;
    if (args.timeout_ms == 0)
        args.timeout_ms = 10000;
    a->epoch = 0;
    memset(a->tasks_len, 0, sizeof a->tasks_len);
    return beat_with(s, a, args);
}

bool beat_answered(const struct scene *s, int token)
{
    return s->answers[token] != NULL;
}

const struct streams_group_heartbeat_response *beat_of(const struct scene *s,
                                                       int token)
{
    cr_assert(beat_answered(s, token), "token %d is not answered", token);
    return &s->answers[token]->response.streams_group_heartbeat;
}

enum err beat_err(const struct scene *s, int token)
{
    return beat_of(s, token)->error_code;
}

bool beat_says(const struct scene *s, int token, int8_t status)
{
    const struct streams_group_heartbeat_response *r = beat_of(s, token);

    for (int32_t i = 0; i < r->status_len; i++)
        if (r->status[i].status_code == status)
            return true;
    return false;
}

/* Names of subtopologies that outlive answers. */
static struct slice lasting(struct slice name)
{
    static const char *const names[] = {"0", "1", "2"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_eq_str(name, names[i]))
            return slice_str(names[i]);
    cr_assert(false, "subtopology %.*s", SLICE_FMT(name));
    return SLICE_NULL;
}

static void
take_kind(struct actor *a, enum task_kind kind,
          const struct streams_group_heartbeat_response_task_ids *ids,
          int32_t len)
{
    a->tasks_len[kind] = 0;
    for (int32_t t = 0; t < len; t++)
        for (int32_t i = 0; i < ids[t].partitions_len; i++) {
            cr_assert_lt(a->tasks_len[kind], ACTOR_TASKS_MAX);
            a->tasks[kind][a->tasks_len[kind]++] = (struct task){
                lasting(ids[t].subtopology_id), ids[t].partitions[i], 0};
        }
}

void actor_take(const struct scene *s, struct actor *a, int token)
{
    const struct streams_group_heartbeat_response *r = beat_of(s, token);

    cr_assert_err(r->error_code, ERR_NONE);
    a->epoch = r->member_epoch;
    if (r->active_tasks_len < 0)
        return;
    take_kind(a, TASK_ACTIVE, r->active_tasks, r->active_tasks_len);
    take_kind(a, TASK_STANDBY, r->standby_tasks, r->standby_tasks_len);
    take_kind(a, TASK_WARMUP, r->warmup_tasks, r->warmup_tasks_len);
}

void actor_beat(struct scene *s, struct actor *a)
{
    actor_take(s, a, BEAT(s, a));
}

struct actor actor_join(struct scene *s, const char *id, const char *process)
{
    struct actor a = actor_of(id, process);

    actor_take(s, &a, JOIN(s, &a));
    return a;
}

void actors_settle(struct scene *s, struct actor *const *actors, int len)
{
    for (int round = 0; round < 8; round++)
        for (int i = 0; i < len; i++)
            actor_beat(s, actors[i]);
}

bool actor_has(const struct actor *a, enum task_kind kind, const char *sub,
               int32_t partition)
{
    for (uint32_t i = 0; i < a->tasks_len[kind]; i++)
        if (slice_eq_str(a->tasks[kind][i].sub, sub) &&
            a->tasks[kind][i].partition == partition)
            return true;
    return false;
}

const struct streams_group_describe_response_described_group *
scene_describe(struct scene *s, const char *group)
{
    struct slice ids[1] = {slice_str(group)};
    struct streams_group_describe_request request;

    streams_group_describe_request_init(&request);
    request.group_ids = ids;
    request.group_ids_len = 1;
    int token = scene_request(s, API_STREAMS_GROUP_DESCRIBE, 0, &request);
    cr_assert(beat_answered(s, token));
    return &s->answers[token]->response.streams_group_describe.groups[0];
}

const char *scene_state(struct scene *s, const char *group)
{
    static char state[32];

    snprintf(state, sizeof state, "%.*s",
             SLICE_FMT(scene_describe(s, group)->group_state));
    return state;
}
