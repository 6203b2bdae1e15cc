#include "controller/features.h"

#include <string.h>

/* metadata.version only names what Kafka's tools ask for: the records are our
 * own.  What group.version turns on is turned off by
 * group.coordinator.rebalance.protocols.  Voters and eligible replicas are
 * never without what kraft.version and eligible.leader.replicas.version turn
 * on, nor share groups without share.version, nor streams groups without
 * streams.version. */
const struct feature_range feature_ranges[FEATURES_LEN] = {
    [FEATURE_ELIGIBLE_LEADER_REPLICAS] = {"eligible.leader.replicas.version", 1,
                                          1, 1},
    [FEATURE_GROUP] = {"group.version", 1, 1, 1},
    [FEATURE_KRAFT] = {"kraft.version", 1, 1, 1},
    [FEATURE_METADATA] = {"metadata.version", 30, 30, 30},
    [FEATURE_SHARE] = {"share.version", 1, 1, 1},
    [FEATURE_STREAMS] = {"streams.version", 1, 1, 1},
    [FEATURE_TRANSACTION] = {"transaction.version", 0, 2, 2},
};

enum feature feature_find(struct slice name)
{
    int f = 0;

    while (f < FEATURES_LEN && !slice_eq_str(name, feature_ranges[f].name))
        f++;
    return (enum feature)f;
}

struct feature_levels feature_levels_of(const struct image *image)
{
    struct feature_levels levels = {.epoch = image->applied_index};

    for (int f = 0; f < FEATURES_LEN; f++)
        levels.level[f] = feature_is_fixed((enum feature)f)
                              ? feature_ranges[f].max
                              : image_feature(image, feature_ranges[f].name);
    return levels;
}

/* Before version 4 clients took a range that begins with 0 for an error
 * (KAFKA-17492), so they are not told of it. */
static void describe_supported(struct api_versions_response *response,
                               int16_t version, struct arena *arena)
{
    response->supported_features =
        arena_array(arena, FEATURES_LEN, sizeof *response->supported_features);
    for (int f = 0; f < FEATURES_LEN; f++) {
        const struct feature_range *range = &feature_ranges[f];
        struct api_versions_response_supported_feature_key *to;

        if (range->min == 0 && version < 4)
            continue;
        to = &response->supported_features[response->supported_features_len++];
        api_versions_response_supported_feature_key_init(to);
        to->name = slice_str(range->name);
        to->min_version = range->min;
        to->max_version = range->max;
    }
}

static void describe_finalized(struct api_versions_response *response,
                               const struct feature_levels *levels,
                               struct arena *arena)
{
    response->finalized_features_epoch = levels->epoch;
    response->finalized_features =
        arena_array(arena, FEATURES_LEN, sizeof *response->finalized_features);
    for (int f = 0; f < FEATURES_LEN; f++) {
        struct api_versions_response_finalized_feature_key *to;

        if (levels->level[f] == 0)
            continue;
        to = &response->finalized_features[response->finalized_features_len++];
        api_versions_response_finalized_feature_key_init(to);
        to->name = slice_str(feature_ranges[f].name);
        to->min_version_level = to->max_version_level = levels->level[f];
    }
}

void features_describe(struct api_versions_response *response, int16_t version,
                       const struct feature_levels *levels, struct arena *arena)
{
    if (version < 3)
        return;
    describe_supported(response, version, arena);
    if (levels->epoch >= 0)
        describe_finalized(response, levels, arena);
}

void features_declare(Leat__RegisterBrokerRequest *request, struct arena *arena)
{
    Leat__FeatureRange *ranges =
        arena_array(arena, FEATURES_LEN, sizeof *ranges);

    request->n_features = FEATURES_LEN;
    request->features =
        arena_array(arena, FEATURES_LEN, sizeof *request->features);
    for (int f = 0; f < FEATURES_LEN; f++) {
        leat__feature_range__init(&ranges[f]);
        ranges[f].name = (char *)(uintptr_t)feature_ranges[f].name;
        ranges[f].min_level = feature_ranges[f].min;
        ranges[f].max_level = feature_ranges[f].max;
        request->features[f] = &ranges[f];
    }
}
