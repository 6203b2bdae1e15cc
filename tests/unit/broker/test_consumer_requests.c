/* Requests as they come from anywhere: what is refused, what is bounded. */
#include "tests/unit/broker/consumer_fixture.h"

#include "base/prng.h"

#include <stdio.h>

static struct realm r;

static void set_up(void) { realm_open(&r); }
static void tear_down(void) { realm_close(&r); }

TestSuite(consumer_requests, .init = set_up, .fini = tear_down);

/* ---- what a request must look like ---------------------------------------*/

static struct consumer_group_heartbeat_request joining(void)
{
    static struct slice names[1];
    struct consumer_group_heartbeat_request request;

    consumer_group_heartbeat_request_init(&request);
    names[0] = SLICE("a");
    request.group_id = SLICE("g");
    request.member_id = SLICE("m");
    request.rebalance_timeout_ms = 1000;
    request.subscribed_topic_names = names;
    request.subscribed_topic_names_len = 1;
    request.topic_partitions_len = 0;
    return request;
}

static enum err ask(const struct consumer_group_heartbeat_request *request,
                    int16_t version)
{
    return beat_err(
        &r, realm_request(&r, API_CONSUMER_GROUP_HEARTBEAT, version, request));
}

/* One field is wrong, or all are right. */
#define WITH(version, field, value)                                            \
    ({                                                                         \
        struct consumer_group_heartbeat_request q_ = joining();                \
        q_.field = value;                                                      \
        ask(&q_, (version));                                                   \
    })

Test(consumer_requests, requests)
{
    const struct row rows[] = {
        {"no group", WITH(1, group_id, SLICE("")), ERR_INVALID_REQUEST},
        {"no id", WITH(1, member_id, SLICE("")), ERR_INVALID_REQUEST},
        {"empty instance", WITH(1, instance_id, SLICE("")),
         ERR_INVALID_REQUEST},
        {"empty rack", WITH(1, rack_id, SLICE("")), ERR_INVALID_REQUEST},
        {"no rebalance timeout", WITH(1, rebalance_timeout_ms, -1),
         ERR_INVALID_REQUEST},
        {"a rebalance timeout of 0", WITH(1, rebalance_timeout_ms, 0),
         ERR_INVALID_REQUEST},
        {"negative rebalance timeout", WITH(1, rebalance_timeout_ms, -2),
         ERR_INVALID_REQUEST},
        {"no subscription", WITH(1, subscribed_topic_names_len, -1),
         ERR_INVALID_REQUEST},
        {"joins and does not say what it owns",
         WITH(1, topic_partitions_len, -1), ERR_INVALID_REQUEST},
        {"leaves for now without instance", WITH(1, member_epoch, -2),
         ERR_INVALID_REQUEST},
        {"epoch -3", WITH(1, member_epoch, -3), ERR_INVALID_REQUEST},
        {"epoch of nobody", WITH(1, member_epoch, 1), ERR_GROUP_ID_NOT_FOUND},
        {"nobody leaves", WITH(1, member_epoch, -1), ERR_GROUP_ID_NOT_FOUND},
        {"unknown assignor", WITH(1, server_assignor, SLICE("best")),
         ERR_UNSUPPORTED_ASSIGNOR},
        {"empty assignor", WITH(1, server_assignor, SLICE("")),
         ERR_UNSUPPORTED_ASSIGNOR},
        {"bad regex", WITH(1, subscribed_topic_regex, SLICE("(")),
         ERR_INVALID_REGULAR_EXPRESSION},
        {"right", WITH(1, rack_id, SLICE("r")), ERR_NONE},
        {"right, v0 without id", WITH(0, member_id, SLICE("")), ERR_NONE},
        {"an epoch to come", WITH(1, member_epoch, 9), ERR_FENCED_MEMBER_EPOCH},
    };

    CHECK_ROWS(rows);
    cr_assert_eq(consumer_coord_groups_count(r.coord), 1);
}

/* As @platformatic/kafka does. */
Test(consumer_requests, who_leaves_may_say_any_timeout)
{
    struct consumer_group_heartbeat_request request = joining();

    cr_assert_eq(ask(&request, 1), ERR_NONE);
    request.member_epoch = -1;
    request.rebalance_timeout_ms = 0;
    cr_assert_eq(ask(&request, 1), ERR_NONE);
    cr_assert_eq(ask(&request, 1), ERR_UNKNOWN_MEMBER_ID);
}

Test(consumer_requests, who_joins_owns_nothing)
{
    struct consumer_group_heartbeat_request request = joining();
    int32_t partition = 0;
    struct consumer_group_heartbeat_request_topic_partitions topic = {
        r.topics[0].id, &partition, 1};

    request.topic_partitions = &topic;
    request.topic_partitions_len = 1;
    cr_assert_err(ask(&request, 1), ERR_INVALID_REQUEST);
    cr_assert_eq(r.records, 0);
}

Test(consumer_requests, version_0_gets_an_id)
{
    struct client c = named("");
    int token = JOIN(&r, &c, .version = BEAT_VERSION_0);

    client_take(&r, &c, token);
    cr_assert_eq(strlen(c.id), 22);
    cr_assert_eq(c.epoch, 1);
    client_beat(&r, &c);
}

Test(consumer_requests, nonsense_in_what_a_member_owns_is_harmless)
{
    struct client c = client_join(&r, "m", "a");
    struct client liar = c;

    for (uint32_t i = 0; i < 3; i++)
        liar.parts[i] = (struct part){UUID_ZERO, i == 0 ? -5 : INT32_MAX, 0};
    cr_assert_err(beat_err(&r, BEAT(&r, &liar)), ERR_NONE);
    liar.parts[1] = liar.parts[0]; /* twice */
    cr_assert_err(beat_err(&r, BEAT(&r, &liar)), ERR_NONE);
    client_beat(&r, &c);
    cr_assert_eq(c.parts_len, 3);
}

Test(consumer_requests, a_group_may_be_full)
{
    tear_down();
    realm_init(&r);
    r.config.group_consumer_max_size = 2;
    realm_start(&r);
    struct client a = client_join(&r, "a", "a"), b = client_join(&r, "b", "a");
    struct client c = named("c");

    cr_assert_err(beat_err(&r, JOIN(&r, &c)), ERR_GROUP_MAX_SIZE_REACHED);
    client_beat(&r, &a);
    cr_assert_err(beat_err(&r, JOIN(&r, &b)), ERR_NONE); /* it comes again */
    a.epoch = -1;
    cr_assert_err(beat_err(&r, BEAT(&r, &a)), ERR_NONE);
    cr_assert_err(beat_err(&r, JOIN(&r, &c)), ERR_NONE);
}

Test(consumer_requests, memory_is_bounded)
{
    tear_down();
    realm_init(&r);
    r.config.members_max_bytes = 4000;
    realm_start(&r);
    struct client first = client_join(&r, "first", "a");
    enum err err = ERR_NONE;
    int joined = 0;

    for (; err == ERR_NONE && joined < 100; joined++) {
        struct client c = {0};
        snprintf(c.id, sizeof c.id, "m%d", joined);
        err = beat_err(&r, JOIN(&r, &c));
    }
    cr_assert_err(err, ERR_GROUP_MAX_SIZE_REACHED);
    cr_assert_lt(joined, 20);
    /* Who is there goes on, and may say again what it said. */
    cr_assert_err(
        beat_err(&r, BEAT(&r, &first, .names = "a", .timeout_ms = 10000)),
        ERR_NONE);
    cr_assert_err(beat_err(&r, BEAT(&r, &first, .names = "a b")),
                  ERR_GROUP_MAX_SIZE_REACHED);
}

/* Anything that can be decoded, in any order. */
Test(consumer_requests, any_request_gets_an_answer)
{
    static const char *const ids[] = {"", "m", "n", "o"};
    static const char *const texts[] = {NULL, NULL, "", "i", "j"};
    struct prng prng = {848};
    struct slice names[4] = {SLICE("a"), SLICE("b"), SLICE("a"), SLICE("")};

    for (int i = 0; i < 15000; i++) {
        int32_t p[2] = {(int32_t)prng_below(&prng, 5) - 1,
                        (int32_t)prng_next(&prng)};
        struct consumer_group_heartbeat_request_topic_partitions topic = {
            r.topics[prng_below(&prng, 2)].id, p,
            (int32_t)prng_below(&prng, 3)};
        struct consumer_group_heartbeat_request q = {
            .group_id = slice_str(ids[prng_below(&prng, 3)]),
            .member_id = slice_str(ids[prng_below(&prng, 4)]),
            .member_epoch = (int32_t)prng_below(&prng, 20) - 4,
            .instance_id = slice_str(texts[prng_below(&prng, 5)]),
            .rack_id = slice_str(texts[prng_below(&prng, 4)]),
            .rebalance_timeout_ms = (int32_t)prng_below(&prng, 5000) - 2,
            .subscribed_topic_names = names,
            .subscribed_topic_names_len = (int32_t)prng_below(&prng, 6) - 1,
            .subscribed_topic_regex =
                slice_str(prng_below(&prng, 5) == 0 ? "a*" : NULL),
            .topic_partitions = &topic,
            .topic_partitions_len = (int32_t)prng_below(&prng, 3) - 1,
        };
        if (q.subscribed_topic_names_len > 4)
            q.subscribed_topic_names_len = -1;
        if (prng_below(&prng, 3) == 0) { /* more of them are right */
            q.member_epoch = 0;
            q.topic_partitions_len = 0;
        }
        realm_request(&r, API_CONSUMER_GROUP_HEARTBEAT,
                      (int16_t)prng_below(&prng, 2), &q);
        if (prng_below(&prng, 50) == 0)
            realm_pass(&r, (int64_t)prng_below(&prng, 20000));
        if (prng_below(&prng, 500) == 0)
            realm_fail_over(&r);
    }
    cr_assert_gt(r.records, 1000);
    realm_check_reload(&r);
}
