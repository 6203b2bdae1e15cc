/* Features: what a cluster turns on when all of its nodes understand it
 * (KIP-584, KIP-1022).
 *
 * A node supports a range of levels of each feature.  The finalized level is
 * the one in use; it is in the metadata (0: off, and then there is no record)
 * and changed by UpdateFeatures.  Where the range is one level there is nothing
 * to choose, and nothing is stored.
 *
 * The table is fixed; everything here may be called from any thread. */
#ifndef CONTROLLER_FEATURES_H
#define CONTROLLER_FEATURES_H

#include "base/arena.h"
#include "controller/image.h"
#include "proto/internal/control.pb-c.h"
#include "proto/kafka/kafka_messages.h"

enum feature {
    FEATURE_ELIGIBLE_LEADER_REPLICAS, /* KIP-966 */
    FEATURE_GROUP,                    /* KIP-848 */
    FEATURE_KRAFT,                    /* KIP-853 */
    FEATURE_METADATA,
    FEATURE_SHARE,       /* KIP-932 */
    FEATURE_STREAMS,     /* KIP-1071 */
    FEATURE_TRANSACTION, /* KIP-890; 1: flexible records, 2: epochs bump */
    FEATURES_LEN,
};

struct feature_range {
    const char *name; /* as in Kafka */
    int16_t min;      /* inclusive */
    int16_t max;      /* inclusive */
    int16_t initial;  /* of a new cluster */
};

/* By enum feature, sorted by name. */
extern const struct feature_range feature_ranges[FEATURES_LEN];

/* FEATURES_LEN: not known. */
enum feature feature_find(struct slice name);
static inline bool feature_is_fixed(enum feature f)
{
    return feature_ranges[f].min == feature_ranges[f].max;
}

/* The finalized levels at some index of the metadata log. */
struct feature_levels {
    /* Of an entry at or after the last change and before the next; -1: not
     * known yet.  Of two answers the one with the larger is newer. */
    int64_t epoch;
    int16_t level[FEATURES_LEN];
};

#define FEATURE_LEVELS_UNKNOWN ((struct feature_levels){.epoch = -1})

struct feature_levels feature_levels_of(const struct image *image);

/* The parts of an ApiVersions response that tell of features; what they point
 * to is static or in `arena`. */
void features_describe(struct api_versions_response *response, int16_t version,
                       const struct feature_levels *levels,
                       struct arena *arena);

/* What this node supports, for its registration; in `arena`. */
void features_declare(Leat__RegisterBrokerRequest *request,
                      struct arena *arena);

#endif
