/* UpdateFeatures, and whether a broker understands what is turned on.
 *
 * All updates of a request are made, or none.  A level must be in the range of
 * this controller and of every registered broker; one that declared nothing
 * knows level 0 only.  No downgrade loses metadata here, so safe and unsafe
 * ones are alike. */
#include "controller/features.h"
#include "controller/step.h"

enum { FEATURE_RECORD_BYTES = 128 }; /* at most */

enum upgrade_type { UPGRADE = 1, SAFE_DOWNGRADE = 2, UNSAFE_DOWNGRADE = 3 };

typedef struct update_features_request_feature_update_key update;

/* ---- ranges of brokers --------------------------------------------------- */

static bool broker_supports(const struct image_broker *b, const char *name,
                            int16_t level, struct image_feature_range *range)
{
    *range = (struct image_feature_range){0};
    for (size_t i = 0; i < b->features_len; i++)
        if (strcmp(b->features[i].name, name) == 0)
            *range = b->features[i];
    return level >= range->min && level <= range->max;
}

const char *features_registration_problem(struct step *s,
                                          const Leat__RegisterBrokerRequest *r)
{
    struct feature_levels levels = feature_levels_of(s->image);

    for (int f = 0; f < FEATURES_LEN; f++) {
        const char *name = feature_ranges[f].name;
        int32_t min = 0, max = 0;

        if (feature_is_fixed((enum feature)f))
            continue;
        for (size_t i = 0; i < r->n_features; i++)
            if (strcmp(r->features[i]->name, name) == 0) {
                min = r->features[i]->min_level;
                max = r->features[i]->max_level;
            }
        if (levels.level[f] < min || levels.level[f] > max)
            return (const char *)arena_printf(
                       s->arena,
                       "it supports levels %d to %d of %s, and the cluster "
                       "uses %d",
                       (int)min, (int)max, name, levels.level[f])
                .data;
    }
    return NULL;
}

/* ---- judging an update --------------------------------------------------- */

static struct verdict invalid(struct step *s, const update *u, const char *why)
{
    return refuse(s, ERR_INVALID_UPDATE_VERSION,
                  "Invalid update version %d for feature %.*s. %s",
                  u->max_version_level, (int)u->feature.len,
                  (const char *)u->feature.data, why);
}

/* NULL: every node supports it. */
static const char *unsupported(struct step *s, enum feature f, int16_t level)
{
    const struct feature_range *own = &feature_ranges[f];
    struct image_feature_range range;

    if (level < own->min || level > own->max)
        return (const char *)arena_printf(
                   s->arena, "The controller only supports versions %d-%d",
                   own->min, own->max)
            .data;
    for (size_t i = 0; i < s->image->brokers_len; i++) {
        const struct image_broker *b = s->image->brokers[i];

        if (!feature_is_fixed(f) &&
            !broker_supports(b, own->name, level, &range))
            return (const char *)arena_printf(
                       s->arena, "Broker %d only supports versions %d-%d",
                       (int)b->id, range.min, range.max)
                .data;
    }
    return NULL;
}

static int8_t type_of(int16_t version, const update *u)
{
    if (version >= 1)
        return u->upgrade_type;
    return u->allow_downgrade ? SAFE_DOWNGRADE : UPGRADE;
}

static struct verdict judge(struct step *s, const update *u, int8_t type,
                            const struct feature_levels *levels)
{
    enum feature f = feature_find(u->feature);
    int16_t level = u->max_version_level;

    if (type < UPGRADE || type > UNSAFE_DOWNGRADE)
        return invalid(s, u,
                       "The controller does not support the given upgrade "
                       "type.");
    if (level < 0)
        return invalid(s, u, "A feature version cannot be less than 0.");
    if (f == FEATURES_LEN)
        return invalid(s, u, "The controller does not support this feature.");
    const char *why = unsupported(s, f, level);
    if (why != NULL)
        return invalid(s, u, why);
    if (level < levels->level[f] && type == UPGRADE)
        return invalid(s, u,
                       "Can't downgrade the version of this feature without "
                       "setting the upgrade type to either safe or unsafe "
                       "downgrade.");
    if (level > levels->level[f] && type != UPGRADE)
        return invalid(s, u, "Can't downgrade to a newer version.");
    return VERDICT_GOOD;
}

static struct verdict judge_all(struct step *s, int16_t version,
                                const struct update_features_request *q)
{
    struct feature_levels levels = feature_levels_of(s->image);

    for (int32_t i = 0; i < q->feature_updates_len; i++) {
        const update *u = &q->feature_updates[i];
        struct verdict v = judge(s, u, type_of(version, u), &levels);

        if (v.error != ERR_NONE)
            return v;
        for (int32_t j = 0; j < i; j++)
            if (slice_eq(u->feature, q->feature_updates[j].feature))
                return refuse(s, ERR_INVALID_REQUEST,
                              "A feature is named twice.");
    }
    return VERDICT_GOOD;
}

/* ---- changing ------------------------------------------------------------ */

static void put_level(struct step *s, enum feature f, int16_t level)
{
    Leat__FeatureRecord r = LEAT__FEATURE_RECORD__INIT;

    if (feature_is_fixed(f) ||
        image_feature(s->image, feature_ranges[f].name) == level)
        return;
    r.name = (char *)(uintptr_t)feature_ranges[f].name;
    r.level = level;
    step_put(s, &RECORD(feature, FEATURE, &r));
}

void features_put_initial(struct step *s)
{
    for (int f = 0; f < FEATURES_LEN; f++)
        put_level(s, (enum feature)f, feature_ranges[f].initial);
}

static void fill_results(struct step *s,
                         const struct update_features_request *q,
                         struct update_features_response *response)
{
    response->results = arena_array(s->arena, (size_t)q->feature_updates_len,
                                    sizeof *response->results);
    response->results_len = q->feature_updates_len;
    for (int32_t i = 0; i < q->feature_updates_len; i++) {
        update_features_response_updatable_feature_result_init(
            &response->results[i]);
        response->results[i].feature =
            arena_copy(s->arena, q->feature_updates[i].feature);
    }
}

void features_update(struct step *s, int16_t version, const void *request,
                     void *response)
{
    const struct update_features_request *q = request;
    struct update_features_response *a = response;
    struct verdict v = judge_all(s, version, q);

    if (v.error != ERR_NONE) {
        a->error_code = err_wire(v.error);
        a->error_message = slice_str(
            (const char *)arena_printf(s->arena,
                                       "The update failed for all features "
                                       "since the following feature "
                                       "had an error: %.*s",
                                       (int)v.why.len, (const char *)v.why.data)
                .data);
        return;
    }
    if (version <= 1)
        fill_results(s, q, a);
    if (version >= 1 && q->validate_only)
        return;
    /* No feature twice, and each is known. */
    step_group_begin(s, FEATURES_LEN * FEATURE_RECORD_BYTES);
    for (int32_t i = 0; i < q->feature_updates_len; i++)
        put_level(s, feature_find(q->feature_updates[i].feature),
                  q->feature_updates[i].max_version_level);
    step_group_end(s);
}
