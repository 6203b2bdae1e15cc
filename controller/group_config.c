/* What keys of a group must agree on: each within the limits that the broker
 * keys give (consumer.session.timeout.ms: group.consumer.min.session.timeout.ms
 * and ...max...), and members must be heard before their session is over. */
#include "controller/config_resolve.h"
#include "controller/step.h"

/* group.KIND.min.REST for KIND.REST; NULL: there is no such key. */
static const struct config_def *bound_of(struct step *s, const char *key,
                                         const char *which)
{
    size_t kind = strcspn(key, ".");
    const char *rest = key + kind + 1;

    if (strcmp(key, "streams.num.standby.replicas") == 0)
        rest = "standby.replicas";
    return config_find(CONFIG_BROKER,
                       arena_printf(s->arena, "group.%.*s.%s.%s", (int)kind,
                                    key, which, rest));
}

static bool number_of(struct step *s, const struct config_def *broker_key,
                      int64_t *out)
{
    struct config_layers layers;
    struct config_value value;

    topic_config_layers(s->c, SLICE(""), &layers);
    config_resolve_broker(broker_key, &layers, s->arena, &value);
    return config_parse_int64(value.value, out);
}

static struct verdict check_bounds(struct step *s, const char *key,
                                   int64_t number)
{
    const struct config_def *min = bound_of(s, key, "min");
    const struct config_def *max = bound_of(s, key, "max");
    int64_t bound;

    if (min != NULL && number_of(s, min, &bound) && number < bound)
        return refuse(s, ERR_INVALID_CONFIG,
                      "%s must be greater than or equal to %s", key, min->key);
    if (max != NULL && number_of(s, max, &bound) && number > bound)
        return refuse(s, ERR_INVALID_CONFIG,
                      "%s must be less than or equal to %s", key, max->key);
    return VERDICT_GOOD;
}

/* The value a group has in effect. */
static int64_t effective(struct step *s, const struct map *values,
                         const char *key)
{
    const struct config_def *def = config_find(CONFIG_GROUP, slice_str(key));
    struct config_layers layers;
    struct config_value value;
    int64_t number = 0;

    topic_config_layers(s->c, SLICE(""), &layers);
    layers.topic = config_layer_of_map(values);
    config_resolve_group(def, &layers, s->arena, &value);
    config_parse_int64(value.value, &number);
    return number;
}

static struct verdict check_session(struct step *s, const struct map *values,
                                    const char *session, const char *heartbeat)
{
    if (effective(s, values, session) > effective(s, values, heartbeat))
        return VERDICT_GOOD;
    return refuse(s, ERR_INVALID_CONFIG, "%s must be greater than %s", session,
                  heartbeat);
}

struct verdict group_config_check(struct step *s, const struct map *values)
{
    struct verdict v = VERDICT_GOOD;

    MAP_EACH (e, values) {
        const struct config_def *def = config_find(CONFIG_GROUP, e->key);
        int64_t number;

        if (v.error == ERR_NONE && def != NULL && def->type == CONFIG_INT &&
            config_parse_int64(slice_str(e->value), &number))
            v = check_bounds(s, def->key, number);
    }
    if (v.error == ERR_NONE)
        v = check_session(s, values, "consumer.session.timeout.ms",
                          "consumer.heartbeat.interval.ms");
    if (v.error == ERR_NONE)
        v = check_session(s, values, "share.session.timeout.ms",
                          "share.heartbeat.interval.ms");
    if (v.error == ERR_NONE)
        v = check_session(s, values, "streams.session.timeout.ms",
                          "streams.heartbeat.interval.ms");
    return v;
}
