/* Finalized feature levels: what a new cluster has, UpdateFeatures, and brokers
 * that do not understand what is on. */
#include "controller/features.h"
#include "proto/kafka/api.h"
#include "tests/unit/controller/desk.h"

#include <criterion/criterion.h>

enum { UPGRADE = 1, SAFE = 2, UNSAFE = 3 };

struct ask {
    const char *feature;
    int16_t level;
    int8_t type;
    bool allow_downgrade; /* version 0 */
};

static struct desk d;

static void setup(void) { desk_with_brokers(&d, 3); }
static void teardown(void) { desk_free(&d); }

static struct update_features_response *
ask_many(int16_t version, const struct ask *asked, int32_t len, bool validate)
{
    struct update_features_request q;

    update_features_request_init(&q);
    q.feature_updates =
        arena_array(&d.arena, (size_t)len + 1, sizeof *q.feature_updates);
    q.feature_updates_len = len;
    q.validate_only = validate;
    for (int32_t i = 0; i < len; i++) {
        update_features_request_feature_update_key_init(&q.feature_updates[i]);
        q.feature_updates[i].feature = slice_str(asked[i].feature);
        q.feature_updates[i].max_version_level = asked[i].level;
        if (version >= 1)
            q.feature_updates[i].upgrade_type = asked[i].type;
        else
            q.feature_updates[i].allow_downgrade = asked[i].allow_downgrade;
    }
    return desk_kafka(&d, API_UPDATE_FEATURES, version, &q);
}

static int16_t ask(const char *feature, int16_t level, int8_t type)
{
    struct ask one = {feature, level, type, false};

    return ask_many(2, &one, 1, false)->error_code;
}

static int16_t level(void)
{
    return image_feature(&d.c.image, "transaction.version");
}

TestSuite(features, .init = setup, .fini = teardown);

Test(features, a_new_cluster_has_the_newest)
{
    struct feature_levels levels = feature_levels_of(&d.c.image);

    cr_assert_eq(levels.level[FEATURE_TRANSACTION], 2);
    cr_assert_eq(levels.level[FEATURE_METADATA], 30);
    cr_assert_eq(levels.level[FEATURE_KRAFT], 1);
}

Test(features, a_level_that_was_lowered_stays_so)
{
    cr_assert_eq(ask("transaction.version", 0, SAFE), 0);
    desk_failover(&d);
    cr_assert_eq(level(), 0);
    cr_assert_eq(ask("transaction.version", 1, UPGRADE), 0);
    desk_failover(&d);
    cr_assert_eq(level(), 1);
}

Test(features, each_wrong_update_has_its_error)
{
    static const struct {
        struct ask ask;
        int16_t error;
        const char *why;
    } rows[] = {
        {{"transaction.version", 3, UPGRADE, false}, 95, "only supports"},
        {{"transaction.version", -1, UNSAFE, false}, 95, "less than 0"},
        {{"transaction.version", 1, UPGRADE, false}, 95, "Can't downgrade"},
        {{"transaction.version", 1, 0, false}, 95, "upgrade type"},
        {{"transaction.version", 1, 4, false}, 95, "upgrade type"},
        {{"metadata.version", 29, SAFE, false}, 95, "only supports"},
        {{"kraft.version", 0, UNSAFE, false}, 95, "only supports"},
        {{"no.such.version", 1, UPGRADE, false}, 95, "not support this"},
        {{"", 1, UPGRADE, false}, 95, "not support this"},
        {{"metadata.version", 30, UPGRADE, false}, 0, NULL},
        {{"transaction.version", 2, UPGRADE, false}, 0, NULL},
        {{"transaction.version", 1, UNSAFE, false}, 0, NULL},
        {{"transaction.version", 2, SAFE, false}, 95, "to a newer"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct update_features_response *a =
            ask_many(2, &rows[i].ask, 1, false);

        cr_assert_eq(a->error_code, rows[i].error, "row %zu: %d", i,
                     a->error_code);
        if (rows[i].why != NULL)
            cr_assert_not_null(
                strstr((const char *)a->error_message.data, rows[i].why),
                "row %zu: %s", i, (const char *)a->error_message.data);
    }
    cr_assert_eq(level(), 1);
}

Test(features, all_or_none)
{
    struct ask two[] = {{"transaction.version", 1, SAFE, false},
                        {"metadata.version", 31, UPGRADE, false}};
    struct ask twice[] = {{"transaction.version", 1, SAFE, false},
                          {"transaction.version", 0, SAFE, false}};

    cr_assert_eq(ask_many(1, two, 2, false)->error_code, 95);
    cr_assert_eq(ask_many(1, twice, 2, false)->error_code, 42);
    cr_assert_eq(level(), 2);
}

Test(features, validating_changes_nothing)
{
    struct ask one = {"transaction.version", 1, SAFE, false};
    struct update_features_response *a = ask_many(1, &one, 1, true);

    cr_assert_eq(a->error_code, 0);
    cr_assert_eq(a->results_len, 1);
    cr_assert_eq(level(), 2);
}

Test(features, version_0_only_says_whether_downgrades_are_allowed)
{
    struct ask down = {"transaction.version", 1, 0, false};

    cr_assert_eq(ask_many(0, &down, 1, false)->error_code, 95);
    down.allow_downgrade = true;
    struct update_features_response *a = ask_many(0, &down, 1, false);
    cr_assert_eq(a->error_code, 0);
    cr_assert_eq(a->results_len, 1);
    cr_assert(slice_eq_str(a->results[0].feature, "transaction.version"));
    cr_assert_eq(level(), 1);
}

Test(features, who_does_not_understand_the_level_may_not_join)
{
    struct desk_broker old = {.id = 4, .no_features = true};

    cr_assert_eq(desk_register(&d, old), ERR_UNSUPPORTED_VERSION);
    cr_assert_not_null(strstr(d.why, "transaction.version"));
    cr_assert_eq(ask("transaction.version", 0, SAFE), 0);
    cr_assert_eq(desk_register(&d, old), ERR_NONE);
    /* It holds everybody back until it is replaced. */
    cr_assert_eq(ask("transaction.version", 2, UPGRADE), 95);
    old.no_features = false;
    old.incarnation = 2;
    desk_kill(&d, 4);
    cr_assert_eq(desk_register(&d, old), ERR_NONE);
    cr_assert_eq(ask("transaction.version", 2, UPGRADE), 0);
    cr_assert_eq(level(), 2);
}

Test(features, what_clients_are_told)
{
    struct feature_levels levels = feature_levels_of(&d.c.image);
    struct api_versions_response a;

    api_versions_response_init(&a);
    features_describe(&a, 4, &levels, &d.arena);
    cr_assert_eq(a.supported_features_len, FEATURES_LEN);
    cr_assert_eq(a.finalized_features_len, FEATURES_LEN);
    cr_assert_eq(a.finalized_features_epoch, d.c.image.applied_index);
    cr_assert_eq(a.finalized_features[FEATURE_TRANSACTION].max_version_level,
                 2);

    levels.level[FEATURE_TRANSACTION] = 0;
    api_versions_response_init(&a);
    features_describe(&a, 3, &levels, &d.arena);
    cr_assert_eq(a.supported_features_len, FEATURES_LEN - 1);
    cr_assert_eq(a.finalized_features_len, FEATURES_LEN - 1);

    api_versions_response_init(&a);
    levels = FEATURE_LEVELS_UNKNOWN;
    features_describe(&a, 4, &levels, &d.arena);
    cr_assert_eq(a.finalized_features_len, 0);
    cr_assert_eq(a.finalized_features_epoch, -1);
}
