/* Requests as they come from anywhere: what is refused, what is bounded. */
#include "tests/unit/broker/streams_fixture.h"

#include "base/prng.h"
#include "broker/coord/excerpt.h"
#include "broker/coord/streams/topology.h"
#include "proto/kafka/coordinator_record.h"

#include <stdio.h>

static struct scene s;

static void set_up(void) { scene_open(&s); }
static void tear_down(void) { scene_close(&s); }

TestSuite(streams_requests, .init = set_up, .fini = tear_down);

typedef struct streams_group_heartbeat_request request_t;

static request_t joining(void)
{
    static topology_t topology;
    request_t q;

    streams_group_heartbeat_request_init(&q);
    topology = plain_topology();
    q.group_id = SLICE("g");
    q.member_id = SLICE("m");
    q.rebalance_timeout_ms = 1000;
    q.topology = &topology;
    q.active_tasks_len = q.standby_tasks_len = q.warmup_tasks_len = 0;
    q.process_id = SLICE("p");
    return q;
}

static enum err ask(const request_t *q)
{
    return beat_err(&s, scene_request(&s, API_STREAMS_GROUP_HEARTBEAT, 0, q));
}

/* One field is wrong, or all are right. */
#define CHECK(field, value, want)                                              \
    do {                                                                       \
        request_t q_ = joining();                                              \
        q_.field = value;                                                      \
        cr_expect_eq((int)ask(&q_), (int)(want), #field " = " #value);         \
    } while (0)

Test(streams_requests, requests)
{
    CHECK(group_id, SLICE(""), ERR_INVALID_REQUEST);
    CHECK(member_id, SLICE(""), ERR_INVALID_REQUEST);
    CHECK(rack_id, SLICE(""), ERR_INVALID_REQUEST);
    CHECK(instance_id, SLICE("i"), ERR_INVALID_REQUEST);
    CHECK(rebalance_timeout_ms, -1, ERR_INVALID_REQUEST);
    CHECK(rebalance_timeout_ms, 0, ERR_INVALID_REQUEST);
    CHECK(rebalance_timeout_ms, -2, ERR_INVALID_REQUEST);
    CHECK(topology, NULL, ERR_INVALID_REQUEST);
    CHECK(member_epoch, 1, ERR_INVALID_REQUEST); /* with a topology */
    CHECK(member_epoch, -2, ERR_INVALID_REQUEST);
    CHECK(member_epoch, -3, ERR_INVALID_REQUEST);
    CHECK(active_tasks_len, -1, ERR_INVALID_REQUEST);
    CHECK(task_offsets_len, 0, ERR_INVALID_REQUEST);
    CHECK(task_end_offsets_len, 0, ERR_INVALID_REQUEST);
    request_t q = joining();
    q.topology = NULL;
    q.member_epoch = 3;
    cr_assert_err(ask(&q), ERR_GROUP_ID_NOT_FOUND);
    q.member_epoch = -1;
    cr_assert_err(ask(&q), ERR_GROUP_ID_NOT_FOUND);
    cr_assert_eq(s.records, 0);
    CHECK(rack_id, SLICE("r"), ERR_NONE);
    q.member_id = SLICE("other");
    cr_assert_err(ask(&q), ERR_UNKNOWN_MEMBER_ID);
    q = joining();
    cr_assert(slice_eq_str(streams_heartbeat_claims(&q), "g"));
    q.member_epoch = 1;
    cr_assert(slice_is_null(streams_heartbeat_claims(&q)));
}

Test(streams_requests, a_group_may_be_full)
{
    scene_close(&s);
    scene_init(&s);
    s.config.group_streams_max_size = 2;
    scene_start(&s);
    struct actor a = actor_join(&s, "a", "p"), b = actor_join(&s, "b", "q");
    struct actor c = actor_of("c", "r");

    cr_assert_err(beat_err(&s, JOIN(&s, &c)), ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_err(beat_err(&s, JOIN(&s, &b)), ERR_NONE); /* it comes again */
    a.epoch = -1;
    BEAT(&s, &a);
    cr_assert_err(beat_err(&s, JOIN(&s, &c)), ERR_NONE);
}

Test(streams_requests, memory_is_bounded)
{
    scene_close(&s);
    scene_init(&s);
    s.config.members_max_bytes = 8000;
    scene_start(&s);
    struct actor first = actor_join(&s, "first", "p");
    enum err err = ERR_NONE;
    int joined = 0;

    for (; err == ERR_NONE && joined < 100; joined++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", joined);
        struct actor a = actor_of(id, id);
        err = beat_err(&s, JOIN(&s, &a));
    }
    cr_assert_err(err, ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_lt(joined, 40);
    actor_beat(&s, &first);
}

/* Names of `len` bytes each. */
static topology_t large_topology(int32_t names_len, size_t len)
{
    static uint8_t names[16][249];
    static struct slice sources[16];
    static sub_t sub;

    cr_assert(names_len <= 16 && len <= sizeof names[0]);
    for (int32_t i = 0; i < names_len; i++) {
        memset(names[i], 'a' + i, len);
        sources[i] = slice_of(names[i], len);
    }
    sub = (sub_t){.subtopology_id = SLICE("0"),
                  .source_topics = sources,
                  .source_topics_len = names_len};
    return (topology_t){0, &sub, 1};
}

/* ---- long texts ----------------------------------------------------------*/

static void check_excerpt(const char *text, size_t max, const char *want)
{
    struct arena arena;

    arena_init(&arena, 0);
    struct slice got = coord_excerpt(&arena, slice_str(text), max);
    cr_expect(slice_eq_str(got, want), "%.*s, not %s", SLICE_FMT(got), want);
    arena_free(&arena);
}

Test(streams_requests, excerpts)
{
    check_excerpt("", 3, "");
    check_excerpt("abc", 3, "abc");
    check_excerpt("abcd", 3, "abc...");
    check_excerpt("ab\u00e9", 4, "ab\u00e9");
    check_excerpt("ab\u00e9", 3, "ab...");
    check_excerpt("ab\u00e9d", 4, "ab\u00e9...");
    check_excerpt("a\U0001f600b", 4, "a...");
    check_excerpt("\x80\x80\x80\x80", 3, "...");
}

/* The longest string that a request can hold.  The fixture encodes all
 * answers. */
static struct slice long_text(void)
{
    static uint8_t text[INT16_MAX];

    memset(text, 'x', sizeof text);
    return slice_of(text, sizeof text);
}

Test(streams_requests, a_member_with_a_long_id_may_ask_for_a_shutdown)
{
    request_t q = joining();

    cr_assert_err(ask(&q), ERR_NONE);
    q.member_id = long_text();
    q.process_id = SLICE("other");
    q.shutdown_application = true;
    cr_assert_err(ask(&q), ERR_NONE);
    q.shutdown_application = false;
    int token = scene_request(&s, API_STREAMS_GROUP_HEARTBEAT, 0, &q);
    cr_assert(beat_says(&s, token, STREAMS_SHUTDOWN_APPLICATION));
    q.member_epoch = STREAMS_LEAVES;
    q.topology = NULL;
    cr_assert_err(ask(&q), ERR_NONE);
    q = joining();
    token = scene_request(&s, API_STREAMS_GROUP_HEARTBEAT, 0, &q);
    cr_assert(beat_says(&s, token, STREAMS_SHUTDOWN_APPLICATION));
}

Test(streams_requests, long_names_in_a_topology_are_refused)
{
    request_t q = joining();
    struct slice name = long_text();
    info_t info = {.name = name, .partitions = -1};
    sub_t sub = {.subtopology_id = SLICE("0"),
                 .source_topics = &name,
                 .source_topics_len = 1};
    topology_t t = {0, &sub, 1};

    q.topology = &t;
    cr_assert_err(ask(&q), ERR_STREAMS_INVALID_TOPOLOGY);
    sub.source_topics_len = 0;
    sub.subtopology_id = name;
    cr_assert_err(ask(&q), ERR_STREAMS_INVALID_TOPOLOGY);
    sub.state_changelog_topics = &info;
    sub.state_changelog_topics_len = 1;
    cr_assert_err(ask(&q), ERR_STREAMS_INVALID_TOPOLOGY);
}

Test(streams_requests, a_group_with_a_long_name_is_not_found)
{
    struct slice id = long_text();
    struct streams_group_describe_request q;

    streams_group_describe_request_init(&q);
    q.group_ids = &id;
    q.group_ids_len = 1;
    int token = scene_request(&s, API_STREAMS_GROUP_DESCRIBE, 0, &q);
    cr_assert_err(
        s.answers[token]->response.streams_group_describe.groups[0].error_code,
        ERR_GROUP_ID_NOT_FOUND);
}

Test(streams_requests, why_topics_are_not_made_may_be_long)
{
    request_t q = joining();

    s.creates = false;
    cr_assert_err(ask(&q), ERR_NONE);
    streams_coord_creation_failed(s.coord, SLICE("g"), long_text());
    int token = scene_request(&s, API_STREAMS_GROUP_HEARTBEAT, 0, &q);
    cr_assert(beat_says(&s, token, STREAMS_MISSING_INTERNAL_TOPICS));
    cr_assert_gt(beat_of(&s, token)->status[0].status_detail.len, 1000);
}

/* ---- what a topology costs -----------------------------------------------*/

static int lookups;

/* All topics but "repN" are there; "in" has the most partitions. */
static bool look_up(void *arg, struct slice name, struct consumer_topic *topic)
{
    (void)arg;
    lookups++;
    topic->id = UUID_ZERO;
    topic->partitions = slice_eq_str(name, "in") ? 3 : 1;
    return name.len < 3 || memcmp(name.data, "rep", 3) != 0;
}

enum { CHAIN = 1000, CHAIN_SOURCES = 1000 };

/* Each reads what the next one by id writes; only the last reads "in", and many
 * others. */
static topology_t chain(void)
{
    static char names[CHAIN + 1][8], ids[CHAIN][8], others[CHAIN_SOURCES][8];
    static struct slice sinks[CHAIN], sources[CHAIN_SOURCES];
    static info_t reads[CHAIN];
    static sub_t subs[CHAIN];

    for (int i = 0; i < CHAIN; i++) {
        snprintf(ids[i], sizeof ids[i], "%04d", i);
        snprintf(names[i], sizeof names[i], "rep%d", i);
        snprintf(others[i], sizeof others[i], "%d", i);
        sources[i] = slice_str(i == 0 ? "in" : others[i]);
        sinks[i] = slice_str(names[i]);
        reads[i] = (info_t){.name = slice_str(names[i])};
    }
    for (int i = 0; i < CHAIN; i++)
        subs[i] = (sub_t){.subtopology_id = slice_str(ids[i]),
                          .repartition_sink_topics = &sinks[i],
                          .repartition_sink_topics_len = i > 0,
                          .repartition_source_topics = &reads[(i + 1) % CHAIN],
                          .repartition_source_topics_len = i + 1 < CHAIN};
    subs[CHAIN - 1].source_topics = sources;
    subs[CHAIN - 1].source_topics_len = CHAIN_SOURCES;
    return (topology_t){0, subs, CHAIN};
}

Test(streams_requests, a_long_chain_is_looked_at_once)
{
    const struct streams_world world = {.topic_by_name = look_up};
    topology_t t = chain();
    struct sconfig *config;
    struct arena arena;
    struct slice why;

    arena_init(&arena, 0);
    cr_assert_err(stopology_validate(&arena, &t, &why), ERR_NONE);
    lookups = 0;
    cr_assert_err(stopology_configure(stopology_of_request(&arena, &t), &world,
                                      &arena, &config, &why),
                  ERR_NONE);
    cr_assert_lt(lookups, 10 * (CHAIN + CHAIN_SOURCES));
    cr_assert_eq((int)config->status, (int)STREAMS_MISSING_INTERNAL_TOPICS);
    cr_assert_eq(config->subs_len, CHAIN);
    for (int i = 0; i < CHAIN; i++)
        cr_assert_eq(config->subs[i].tasks, 3);
    cr_assert_eq(config->missing_len, CHAIN - 1);
    for (int i = 0; i < CHAIN - 1; i++)
        cr_assert_eq(config->missing[i].num_partitions, 3);
    sconfig_free(config);
    /* A circle in place of the last one's sources. */
    t.subtopologies[CHAIN - 1].source_topics_len = 0;
    t.subtopologies[CHAIN - 1].repartition_source_topics_len = 1;
    t.subtopologies[0].repartition_sink_topics_len = 1;
    cr_assert_err(stopology_configure(stopology_of_request(&arena, &t), &world,
                                      &arena, &config, &why),
                  ERR_STREAMS_INVALID_TOPOLOGY);
    arena_free(&arena);
}

/* ---- bounds --------------------------------------------------------------*/

Test(streams_requests, memory_of_groups_is_bounded)
{
    uint8_t id[1000] = {0};
    request_t q = joining();
    int made = 0;

    scene_close(&s);
    scene_init(&s);
    s.config.members_max_bytes = 20000;
    scene_start(&s);
    q.group_id = slice_of(id, sizeof id);
    for (; ask(&q) == ERR_NONE && made < 100; made++, id[0]++) {
        request_t leaving = q;

        leaving.member_epoch = STREAMS_LEAVES;
        leaving.topology = NULL;
        cr_assert_err(ask(&leaving), ERR_NONE);
    }
    cr_assert(made > 2 && made < 10, "%d", made);
    cr_assert_err(ask(&q), ERR_GROUP_MAX_SIZE_REACHED);
    scene_check_reload(&s);
    scene_pass(&s, 600000);
    cr_assert_eq(streams_coord_groups_count(s.coord), 0);
    cr_assert_err(ask(&q), ERR_NONE);
}

Test(streams_requests, a_topology_that_cannot_be_kept_leaves_nothing)
{
    request_t q = joining();
    topology_t t = large_topology(16, 249);

    scene_close(&s);
    scene_init(&s);
    s.batch_max_bytes = 3000;
    scene_start(&s);
    q.topology = &t;
    cr_assert_err(ask(&q), ERR_UNKNOWN_SERVER_ERROR);
    cr_assert_eq(s.records, 0);
    cr_assert_eq(streams_coord_groups_count(s.coord), 0);
    t = large_topology(8, 249);
    cr_assert_err(ask(&q), ERR_NONE);
}

/* As if the end of a group had been cut short. */
Test(streams_requests, what_is_left_of_a_group_goes)
{
    struct streams_group_topology_key key = {SLICE("g")};
    struct streams_group_topology_value value = {0};
    struct buf k = BUF_INIT, v = BUF_INIT;

    coordinator_key_encode(&streams_group_topology_key_desc, &key, &k);
    coordinator_value_encode(&streams_group_topology_value_desc, 0, &value, &v);
    cr_assert_err(streams_coord_replay(s.coord, buf_slice(&k), buf_slice(&v)),
                  ERR_NONE);
    cr_assert_eq(streams_coord_groups_count(s.coord), 1);
    scene_pass(&s, 600000);
    cr_assert_eq(streams_coord_groups_count(s.coord), 0);
    buf_free(&k);
    buf_free(&v);
}

Test(streams_requests, a_topology_may_be_too_large)
{
    static sub_t subs[1001];
    static char names[1001][8];
    request_t q = joining();
    topology_t t = {0, subs, 1001};

    for (int i = 0; i < 1001; i++) {
        subs[i] = plain_topology().subtopologies[0];
        snprintf(names[i], sizeof names[i], "%d", i);
        subs[i].subtopology_id = slice_str(names[i]);
    }
    q.topology = &t;
    cr_assert_err(ask(&q), ERR_STREAMS_INVALID_TOPOLOGY);
    t.subtopologies_len = 100;
    scene_topic(&s, "in", 1000); /* 100,000 tasks */
    cr_assert_err(ask(&q), ERR_STREAMS_INVALID_TOPOLOGY);
    cr_assert_eq(s.records, 0);
    t.subtopologies_len = 60;
    cr_assert_err(ask(&q), ERR_NONE);
}

/* Records of a log that is not ours. */
Test(streams_requests, any_bytes_in_a_record_are_harmless)
{
    struct prng prng = {23};
    uint8_t key[24], value[64];

    for (int i = 0; i < 200000; i++) {
        size_t key_len = 2 + prng_below(&prng, 20);
        size_t value_len = 2 + prng_below(&prng, 60);

        for (size_t k = 0; k < sizeof key; k++)
            key[k] = (uint8_t)prng_below(&prng, 4);
        for (size_t k = 0; k < sizeof value; k++)
            value[k] = (uint8_t)prng_below(&prng, 5);
        key[0] = 0;
        key[1] = (uint8_t)(17 + prng_below(&prng, 7));
        value[0] = value[1] = 0;
        if (prng_below(&prng, 2) == 0) { /* a key that can be read */
            static const uint8_t g[] = {0, 1, 'g', 0, 1, 'm'};
            key_len = key[1] == 17 || key[1] == 20 || key[1] == 23 ? 5 : 8;
            memcpy(key + 2, g, sizeof g);
        }
        streams_coord_replay(s.coord, slice_of(key, key_len),
                             prng_below(&prng, 4) == 0
                                 ? SLICE_NULL
                                 : slice_of(value, value_len));
        if (i % 64 == 0)
            streams_coord_check(s.coord);
    }
}

/* Anything that can be decoded, in any order. */
Test(streams_requests, any_request_gets_an_answer)
{
    static const char *const ids[] = {"", "m", "n", "o"};
    static const char *const texts[] = {NULL, NULL, "", "p", "q"};
    struct prng prng = {1071};
    topology_t topologies[] = {plain_topology(), two_step_topology(),
                               plain_topology()};

    topologies[2].epoch = 3;
    for (int i = 0; i < 12000; i++) {
        int32_t p[2] = {(int32_t)prng_below(&prng, 6) - 1,
                        (int32_t)prng_below(&prng, 6)};
        struct streams_group_heartbeat_request_task_ids tasks[2] = {
            {slice_str(prng_below(&prng, 2) == 0 ? "0" : "1"), p,
             (int32_t)prng_below(&prng, 3)},
            {SLICE("0"), p, 1}};
        request_t q = joining();

        q.group_id = slice_str(ids[prng_below(&prng, 3)]);
        q.member_id = slice_str(ids[prng_below(&prng, 4)]);
        q.member_epoch = (int32_t)prng_below(&prng, 20) - 3;
        q.rack_id = slice_str(texts[prng_below(&prng, 5)]);
        q.process_id = slice_str(texts[prng_below(&prng, 5)]);
        q.rebalance_timeout_ms = (int32_t)prng_below(&prng, 5000) - 2;
        q.shutdown_application = prng_below(&prng, 50) == 0;
        q.topology = NULL;
        q.active_tasks = q.standby_tasks = tasks;
        q.active_tasks_len = (int32_t)prng_below(&prng, 4) - 1;
        q.standby_tasks_len = (int32_t)prng_below(&prng, 3) - 1;
        q.warmup_tasks_len = (int32_t)prng_below(&prng, 2) - 1;
        if (prng_below(&prng, 3) == 0) { /* more of them are right */
            q.member_epoch = 0;
            q.topology = &topologies[prng_below(&prng, 3)];
            q.active_tasks_len = q.standby_tasks_len = q.warmup_tasks_len = 0;
        } else if (q.active_tasks_len > 2) {
            q.active_tasks_len = q.standby_tasks_len = q.warmup_tasks_len = -1;
        }
        scene_request(&s, API_STREAMS_GROUP_HEARTBEAT,
                      (int16_t)prng_below(&prng, 2), &q);
        if (prng_below(&prng, 50) == 0)
            scene_pass(&s, (int64_t)prng_below(&prng, 20000));
        if (prng_below(&prng, 500) == 0)
            scene_fail_over(&s);
        if (prng_below(&prng, 200) == 0)
            scene_topic(&s, "in", (int32_t)prng_below(&prng, 6));
    }
    cr_assert_gt(s.records, 1000);
    scene_check_reload(&s);
}
