#include "tests/unit/broker/consumer_fixture.h"

#include "base/map.h"
#include "proto/record/batch.h"
#include "proto/record/record.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the cluster ---------------------------------------------------------*/

static struct realm_topic *find(struct realm *r, struct slice name)
{
    for (int i = 0; i < r->topics_len; i++)
        if (slice_eq_str(name, r->topics[i].name))
            return &r->topics[i];
    return NULL;
}

static bool topic_by_name(void *arg, struct slice name,
                          struct consumer_topic *out)
{
    const struct realm_topic *topic = find(arg, name);

    if (topic == NULL || topic->partitions == 0)
        return false;
    *out = (struct consumer_topic){topic->id, topic->partitions};
    return true;
}

static struct slice topic_name(void *arg, struct uuid id)
{
    struct realm *r = arg;

    for (int i = 0; i < r->topics_len; i++)
        if (uuid_eq(r->topics[i].id, id) && r->topics[i].partitions > 0)
            return slice_str(r->topics[i].name);
    return SLICE_NULL;
}

static bool regex_is_valid(void *arg, struct slice pattern)
{
    (void)arg;
    return pattern.data[pattern.len - 1] == '*';
}

static void timeouts(void *arg, struct slice group, struct consumer_timeouts *t)
{
    const struct realm *r = arg;

    (void)group;
    if (r->session_timeout_ms != 0)
        t->session_timeout_ms = r->session_timeout_ms;
}

struct realm_topic *realm_topic(struct realm *r, const char *name,
                                int32_t partitions)
{
    struct realm_topic *topic = find(r, slice_str(name));

    if (topic == NULL) {
        cr_assert_lt(r->topics_len, REALM_TOPICS_MAX);
        topic = &r->topics[r->topics_len++];
        snprintf(topic->name, sizeof topic->name, "%s", name);
    }
    r->topics_version++;
    if (topic->partitions == 0) { /* made, or made again */
        topic->id = UUID_ZERO;
        be64_put(topic->id.bytes, (uint64_t)r->topics_version);
    }
    topic->partitions = partitions;
    if (r->active)
        consumer_coord_topic_changed(r->coord, slice_str(name),
                                     r->topics_version);
    return topic;
}

/* ---- the log -------------------------------------------------------------*/

static void carry_out(struct realm *r, struct coord_update *update);

static struct consumer_write *write_of(struct coord_pending *pending)
{
    return (struct consumer_write *)(void *)((char *)pending -
                                             offsetof(struct consumer_write,
                                                      pending));
}

static enum err on_append(void *arg, uint8_t *batch, size_t len,
                          int64_t *base_offset)
{
    struct realm *r = arg;
    struct batch header;

    if (r->append_err != ERR_NONE)
        return r->append_err;
    if (r->append_fails_in > 0 && --r->append_fails_in == 0)
        return ERR_NOT_ENOUGH_REPLICAS;
    cr_assert_eq(batch_parse(slice_of(batch, len), &header), ERR_NONE);
    batch_patch(batch, r->end_offset, 1);
    if (r->batches_len == r->batches_cap) {
        r->batches_cap = r->batches_cap * 2 + 16;
        r->batches =
            xrealloc(r->batches, (size_t)r->batches_cap * sizeof *r->batches);
    }
    struct realm_batch *to = &r->batches[r->batches_len++];
    *to = (struct realm_batch){BUF_INIT, r->end_offset};
    buf_put(&to->bytes, batch, len);
    *base_offset = r->end_offset;
    r->end_offset += header.last_offset_delta + 1;
    r->records += header.last_offset_delta + 1;
    return ERR_NONE;
}

static void on_appended(void *arg, struct coord_pending *pending,
                        uint32_t first, uint32_t count, int64_t base_offset)
{
    struct realm *r = arg;

    (void)base_offset;
    consumer_coord_appended(r->coord, write_of(pending), first, count, r->time);
}

static void on_done(void *arg, struct coord_pending *pending, enum err err)
{
    struct realm *r = arg;
    struct coord_update update;

    coord_update_init(&update);
    consumer_coord_done(r->coord, write_of(pending), err, &update);
    carry_out(r, &update);
}

static const struct coord_runtime_ops ops = {
    .append = on_append,
    .appended = on_appended,
    .done = on_done,
};

static void on_answer(struct realm *r, struct coord_answer *answer)
{
    intptr_t token = (intptr_t)answer->token;

    cr_assert(token > 0 && token <= r->tokens);
    cr_assert_null(r->answers[token], "token %d answered twice", (int)token);
    r->answers[token] = answer;
    /* Everything we answer must have a place on the wire. */
    struct buf bytes = BUF_INIT;
    enum err err =
        kafka_encode(api_find((int16_t)answer->api)->response, answer->version,
                     &answer->response, &bytes, NULL);
    cr_assert_eq(err, ERR_NONE, "%s v%d: %s", api_name((int16_t)answer->api),
                 answer->version, err_name((int)err));
    buf_free(&bytes);
}

static void match(struct realm *r, struct consumer_lookup *lookup,
                  struct consumer_lookup_item *item)
{
    size_t prefix = item->pattern.len - 1;

    item->topics =
        arena_array(&lookup->arena, REALM_TOPICS_MAX, sizeof *item->topics);
    for (int i = r->topics_len - 1; i >= 0; i--)
        if (r->topics[i].partitions > 0 &&
            strncmp(r->topics[i].name, (const char *)item->pattern.data,
                    prefix) == 0)
            item->topics[item->topics_len++] =
                arena_copy(&lookup->arena, slice_str(r->topics[i].name));
}

void realm_look_up(struct realm *r, int i)
{
    struct consumer_lookup *lookup = r->lookups[i];
    struct coord_update update;

    r->lookups[i] = r->lookups[--r->lookups_len];
    for (uint32_t k = 0; k < lookup->items_len; k++)
        match(r, lookup, &lookup->items[k]);
    coord_update_init(&update);
    consumer_coord_looked_up(r->coord, lookup, r->topics_version, r->time,
                             &update);
    carry_out(r, &update);
}

static void carry_out(struct realm *r, struct coord_update *update)
{
    struct list *node;

    while ((node = list_pop_front(&update->answers)) != NULL)
        on_answer(r, LIST_ENTRY(node, struct coord_answer, link));
    while ((node = list_pop_front(&update->writes)) != NULL)
        coord_runtime_add(&r->runtime,
                          LIST_ENTRY(node, struct coord_pending, link),
                          r->time.now_ms, r->time.wall_ms);
    if (r->active)
        coord_runtime_flush(&r->runtime, r->time.now_ms, r->time.wall_ms);
    while ((node = list_pop_front(&update->lookups)) != NULL) {
        cr_assert_lt(r->lookups_len, REALM_LOOKUPS_MAX);
        r->lookups[r->lookups_len++] =
            LIST_ENTRY(node, struct consumer_lookup, link);
        r->lookups_seen++;
    }
    if (r->active && !r->hold)
        realm_commit(r);
    while (r->active && !r->hold_lookups && r->lookups_len > 0)
        realm_look_up(r, 0);
}

void realm_commit_to(struct realm *r, int64_t high_watermark)
{
    if (high_watermark <= r->high_watermark && r->high_watermark != 0)
        return;
    r->high_watermark = high_watermark;
    coord_runtime_committed(&r->runtime, high_watermark);
}

void realm_commit(struct realm *r) { realm_commit_to(r, r->end_offset); }

/* ---- life ----------------------------------------------------------------*/

void realm_init(struct realm *r)
{
    memset(r, 0, sizeof *r);
    consumer_config_init(&r->config);
    r->config.group_consumer_assignment_interval_ms = 0;
    r->time = (struct coord_time){1000000, INT64_C(1700000000000)};
    r->batch_max_bytes = 1 << 20;
    realm_topic(r, "a", 3);
    realm_topic(r, "b", 3);
}

typedef void visit_fn(void *arg, struct slice key, struct slice value);

static void each_record(const struct realm *r, visit_fn *visit, void *arg)
{
    struct codec *codec = codec_new();
    struct buf scratch = BUF_INIT;

    for (int i = 0; i < r->batches_len; i++) {
        struct slice bytes = buf_slice(&r->batches[i].bytes);
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
    cr_assert_eq(consumer_coord_replay(arg, key, value), ERR_NONE);
}

static struct consumer_coord *load(struct realm *r)
{
    const struct consumer_world world = {
        .arg = r,
        .topic_by_name = topic_by_name,
        .topic_name = topic_name,
        .regex_is_valid = regex_is_valid,
        .timeouts = timeouts,
    };
    struct consumer_coord *coord = consumer_coord_create(&r->config, &world);

    each_record(r, load_record, coord);
    return coord;
}

void realm_start(struct realm *r)
{
    r->coord = load(r);
    coord_runtime_init(&r->runtime, &ops, r, r->batch_max_bytes, 5000,
                       r->end_offset, r->high_watermark);
    r->active = true;
    consumer_coord_activate(r->coord, r->topics_version, r->time);
    if (!r->hold)
        realm_commit(r);
    consumer_coord_check(r->coord);
}

void realm_open(struct realm *r)
{
    realm_init(r);
    realm_start(r);
}

static void resign(struct realm *r)
{
    r->active = false;
    consumer_coord_resign(r->coord);
    coord_runtime_resign(&r->runtime);
    while (r->lookups_len > 0)
        consumer_lookup_free(r->lookups[--r->lookups_len]);
    coord_runtime_free(&r->runtime);
    consumer_coord_free(r->coord);
    r->coord = NULL;
}

void realm_close(struct realm *r)
{
    if (r->coord != NULL)
        resign(r);
    for (int i = 0; i < r->batches_len; i++)
        buf_free(&r->batches[i].bytes);
    free(r->batches);
    for (int i = 0; i <= r->tokens; i++)
        coord_answer_free(r->answers[i]);
}

void realm_fail_over_at(struct realm *r, int64_t end_offset)
{
    resign(r);
    while (r->batches_len > 0 &&
           r->batches[r->batches_len - 1].base >= end_offset) {
        r->end_offset = r->batches[--r->batches_len].base;
        buf_free(&r->batches[r->batches_len].bytes);
    }
    realm_start(r);
}

void realm_fail_over(struct realm *r) { realm_fail_over_at(r, r->end_offset); }

void realm_pass(struct realm *r, int64_t ms)
{
    int64_t end = r->time.now_ms + ms;
    int64_t ahead = r->time.wall_ms - r->time.now_ms;

    for (;;) {
        struct coord_update update;
        int64_t due = consumer_coord_next_deadline(r->coord);
        int64_t other = coord_runtime_next_deadline(&r->runtime);

        due = other < due ? other : due;
        if (due > end)
            break;
        if (due > r->time.now_ms)
            r->time = (struct coord_time){due, due + ahead};
        coord_runtime_tick(&r->runtime, r->time.now_ms, r->time.wall_ms);
        coord_update_init(&update);
        consumer_coord_tick(r->coord, r->time, &update);
        carry_out(r, &update);
    }
    r->time = (struct coord_time){end, end + ahead};
    consumer_coord_check(r->coord);
}

static char *dump(const struct consumer_coord *coord)
{
    struct buf text = BUF_INIT;

    consumer_coord_dump(coord, &text);
    char *copy = slice_dup(buf_slice(&text));
    buf_free(&text);
    return copy;
}

char *realm_dump(const struct realm *r) { return dump(r->coord); }

/* ---- the log, once more --------------------------------------------------*/

struct kept {
    struct map last;
    struct consumer_coord *coord;
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

/* What is in the log, whole or compacted, is what the coordinator knows. */
void realm_check_reload(struct realm *r)
{
    struct kept kept = {0};
    char *live = realm_dump(r);
    struct consumer_coord *coord = load(r);
    char *loaded = dump(coord);

    cr_assert_str_eq(loaded, live);
    free(loaded);
    consumer_coord_free(coord);

    each_record(r, note_last, &kept);
    kept.at = 0;
    kept.coord =
        consumer_coord_create(&r->config, &(struct consumer_world){.arg = r});
    each_record(r, load_last, &kept);
    loaded = dump(kept.coord);
    cr_assert_str_eq(loaded, live);
    consumer_coord_check(kept.coord);
    free(loaded);
    free(live);
    consumer_coord_free(kept.coord);
    map_free(&kept.last);
}

/* ---- requests ------------------------------------------------------------*/

static int request_of(struct realm *r, enum api_key api, int16_t version,
                      const void *request, const char *client_id)
{
    int token = ++r->tokens;
    struct coord_context context = {
        .token = (void *)(intptr_t)token,
        .now_ms = r->time.now_ms,
        .wall_ms = r->time.wall_ms,
        .version = version,
        .client_id = slice_str(client_id != NULL ? client_id : "client"),
        .client_host = SLICE("/192.0.2.7"),
    };
    struct coord_update update;

    cr_assert_lt(token, REALM_TOKENS_MAX);
    be64_put(context.random.bytes, (uint64_t)token);
    coord_update_init(&update);
    consumer_coord_request(r->coord, &context, api, request, &update);
    carry_out(r, &update);
    consumer_coord_check(r->coord);
    return token;
}

int realm_request(struct realm *r, enum api_key api, int16_t version,
                  const void *request)
{
    return request_of(r, api, version, request, NULL);
}

static int32_t split(const char *text, struct slice *names)
{
    int32_t len = 0;

    if (text == NULL)
        return -1;
    if (strcmp(text, "-") == 0)
        return 0;
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, " ");
        names[len++] = slice_of(at, n);
        at += n + (at[n] == ' ');
    }
    return len;
}

struct client named(const char *id)
{
    struct client c = {0};

    snprintf(c.id, sizeof c.id, "%s", id);
    return c;
}

struct client static_named(const char *id, const char *instance)
{
    struct client c = named(id);

    c.instance = instance;
    return c;
}

int beat_with(struct realm *r, const struct client *c, struct beat_args args)
{
    struct consumer_group_heartbeat_request_topic_partitions
        topics[REALM_MEMBER_PARTS_MAX];
    int32_t partitions[REALM_MEMBER_PARTS_MAX];
    struct slice names[REALM_TOPICS_MAX];
    struct consumer_group_heartbeat_request request = {
        .group_id = slice_str(c->group != NULL ? c->group : "g"),
        .member_id = slice_str(c->id),
        .member_epoch = c->epoch,
        .instance_id = slice_str(c->instance),
        .rack_id = slice_str(args.rack),
        .rebalance_timeout_ms = args.timeout_ms != 0 ? args.timeout_ms : -1,
        .subscribed_topic_names = names,
        .subscribed_topic_names_len = split(args.names, names),
        .subscribed_topic_regex = slice_str(args.regex),
        .server_assignor = slice_str(args.assignor),
        .topic_partitions = topics,
        .topic_partitions_len = args.silent ? -1 : (int32_t)c->parts_len,
    };

    for (uint32_t i = 0; i < c->parts_len; i++) {
        partitions[i] = c->parts[i].partition;
        topics[i] = (struct consumer_group_heartbeat_request_topic_partitions){
            c->parts[i].topic, &partitions[i], 1};
    }
    return request_of(r, API_CONSUMER_GROUP_HEARTBEAT,
                      args.version == BEAT_VERSION_0 ? 0 : 1, &request,
                      args.client_id);
}

int join_with(struct realm *r, struct client *c, struct beat_args args)
{
    if (args.timeout_ms == 0)
        args.timeout_ms = 10000;
    if (args.names == NULL && args.regex == NULL)
        args.names = "a";
    c->epoch = 0;
    c->parts_len = 0;
    return beat_with(r, c, args);
}

bool beat_answered(const struct realm *r, int token)
{
    return r->answers[token] != NULL;
}

const struct consumer_group_heartbeat_response *beat_of(const struct realm *r,
                                                        int token)
{
    cr_assert(beat_answered(r, token), "token %d is not answered", token);
    return &r->answers[token]->response.consumer_group_heartbeat;
}

enum err beat_err(const struct realm *r, int token)
{
    return beat_of(r, token)->error_code;
}

void client_take(const struct realm *r, struct client *c, int token)
{
    const struct consumer_group_heartbeat_response *a = beat_of(r, token);

    cr_assert_err(a->error_code, ERR_NONE);
    snprintf(c->id, sizeof c->id, "%.*s", SLICE_FMT(a->member_id));
    c->epoch = a->member_epoch;
    if (a->assignment == NULL)
        return;
    c->parts_len = 0;
    for (int32_t t = 0; t < a->assignment->topic_partitions_len; t++)
        for (int32_t i = 0;
             i < a->assignment->topic_partitions[t].partitions_len; i++) {
            cr_assert_lt(c->parts_len, REALM_MEMBER_PARTS_MAX);
            c->parts[c->parts_len++] = (struct part){
                a->assignment->topic_partitions[t].topic_id,
                a->assignment->topic_partitions[t].partitions[i], 0};
        }
}

void client_beat(struct realm *r, struct client *c)
{
    client_take(r, c, BEAT(r, c));
}

struct client client_join(struct realm *r, const char *id, const char *names)
{
    struct client c = {0};

    snprintf(c.id, sizeof c.id, "%s", id);
    client_take(r, &c, JOIN(r, &c, .names = names));
    return c;
}

void clients_settle(struct realm *r, struct client *const *clients, int len)
{
    for (int round = 0; round < 8; round++)
        for (int i = 0; i < len; i++)
            client_beat(r, clients[i]);
}

bool client_owns(const struct client *c, const struct realm_topic *topic,
                 int32_t partition)
{
    for (uint32_t i = 0; i < c->parts_len; i++)
        if (uuid_eq(c->parts[i].topic, topic->id) &&
            c->parts[i].partition == partition)
            return true;
    return false;
}

const struct consumer_group_describe_response_described_group *
realm_describe(struct realm *r, const char *group)
{
    struct slice ids[1] = {slice_str(group)};
    struct consumer_group_describe_request request = {ids, 1, false};
    int token = realm_request(r, API_CONSUMER_GROUP_DESCRIBE, 1, &request);

    cr_assert(beat_answered(r, token));
    return &r->answers[token]->response.consumer_group_describe.groups[0];
}

const char *realm_state(struct realm *r, const char *group)
{
    static char state[32];

    snprintf(state, sizeof state, "%.*s",
             SLICE_FMT(realm_describe(r, group)->group_state));
    return state;
}

void check_rows(const struct row *rows, size_t len)
{
    for (size_t i = 0; i < len; i++)
        cr_expect_eq((int)rows[i].got, (int)rows[i].want, "%s: %s, not %s",
                     rows[i].what, err_name((int)rows[i].got),
                     err_name((int)rows[i].want));
}
