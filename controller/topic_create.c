/* CreateTopics.  Every topic is judged completely before its first record; its
 * records (topic, configs, partitions) are one atomic group.  Topics of one
 * request do not affect each other, except by name. */
#include "controller/placement.h"
#include "controller/step.h"
#include "controller/topic_name.h"
#include "proto/kafka/kafka_messages.h"

typedef struct create_topics_request_creatable_topic request_topic;
typedef struct create_topics_response_creatable_topic_result result_topic;

/* A topic as it will be. */
struct plan {
    const request_topic *wanted;
    int32_t partitions;
    int32_t replicas;     /* of each partition */
    int32_t *replica_ids; /* partitions * replicas */
    struct map configs;   /* key -> NUL-terminated value, in the arena */
};

/* ---- names --------------------------------------------------------------- */

static struct verdict check_name(struct step *s, struct slice name)
{
    if (!topic_name_is_valid(name))
        return (struct verdict){ERR_INVALID_TOPIC_EXCEPTION,
                                topic_name_problem(name, s->arena)};
    if (image_topic(s->image, name) != NULL)
        return refuse(s, ERR_TOPIC_ALREADY_EXISTS,
                      "Topic '%.*s' already exists.", SLICE_FMT(name));
    const struct image_topic *other = index_colliding(&s->c->index, name);
    if (other != NULL)
        return refuse(s, ERR_INVALID_TOPIC_EXCEPTION,
                      "Topic '%.*s' collides with existing topic: %s",
                      SLICE_FMT(name), other->name);
    return VERDICT_GOOD;
}

/* ---- configs ------------------------------------------------------------- */

static struct verdict check_configs(struct step *s, struct plan *plan)
{
    const request_topic *t = plan->wanted;

    for (int32_t i = 0; i < t->configs_len; i++) {
        struct verdict v =
            config_check_topic(s, t->configs[i].name, t->configs[i].value);

        if (v.error != ERR_NONE)
            return v;
        map_put(&plan->configs, t->configs[i].name,
                arena_strdup(s->arena, t->configs[i].value));
    }
    struct verdict v = config_check_topic_all(s, &plan->configs);
    return v.error != ERR_NONE
               ? v
               : config_check_size(s, t->name, &plan->configs, NULL);
}

/* ---- replicas by hand ---------------------------------------------------- */

static bool has_active(const struct step *s, const int32_t *ids, int32_t len)
{
    for (int32_t i = 0; i < len; i++)
        if (broker_is_active(s->c, ids[i]))
            return true;
    return false;
}

/* Assignments may come in any order; `by_partition` gets them in order. */
static struct verdict
sort_assignments(struct step *s, const request_topic *t,
                 const struct create_topics_request_creatable_replica_assignment
                     **by_partition)
{
    for (int32_t i = 0; i < t->assignments_len; i++) {
        int32_t p = t->assignments[i].partition_index;

        if (p < 0 || p >= t->assignments_len)
            return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                          "partitions should be a consecutive 0-based integer "
                          "sequence");
        if (by_partition[p] != NULL)
            return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                          "Found multiple manual partition assignments for "
                          "partition %d",
                          (int)p);
        by_partition[p] = &t->assignments[i];
    }
    return VERDICT_GOOD;
}

static struct verdict plan_by_hand(struct step *s, struct plan *plan)
{
    const request_topic *t = plan->wanted;
    const struct create_topics_request_creatable_replica_assignment **sorted =
        arena_array(s->arena, (size_t)t->assignments_len, sizeof(void *));

    if (t->replication_factor != -1)
        return refuse(s, ERR_INVALID_REQUEST,
                      "A manual partition assignment was specified, but "
                      "replication factor was not set to -1.");
    if (t->num_partitions != -1)
        return refuse(s, ERR_INVALID_REQUEST,
                      "A manual partition assignment was specified, but "
                      "numPartitions was not set to -1.");
    struct verdict v = sort_assignments(s, t, sorted);
    if (v.error != ERR_NONE)
        return v;
    plan->partitions = t->assignments_len;
    plan->replicas = sorted[0]->broker_ids_len;
    for (int32_t p = 0; p < plan->partitions; p++) {
        const int32_t *ids = sorted[p]->broker_ids;
        int32_t len = sorted[p]->broker_ids_len;

        v = assignment_check(s, ids, len);
        if (v.error != ERR_NONE)
            return v;
        if (len != plan->replicas)
            return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                          "The manual partition assignment includes a "
                          "partition with %d replica(s), but this is not "
                          "consistent with previous partitions, which have %d "
                          "replica(s).",
                          (int)len, (int)plan->replicas);
        if (!has_active(s, ids, len))
            return refuse(s, ERR_INVALID_REPLICA_ASSIGNMENT,
                          "All brokers specified in the manual partition "
                          "assignment for partition %d are fenced or in "
                          "controlled shutdown.",
                          (int)p);
        if (p == 0)
            plan->replica_ids = arena_array(
                s->arena, (size_t)plan->partitions * (size_t)plan->replicas,
                sizeof *ids);
        memcpy(plan->replica_ids + p * plan->replicas, ids,
               (size_t)len * sizeof *ids);
    }
    return VERDICT_GOOD;
}

/* ---- replicas by placement ----------------------------------------------- */

static struct verdict plan_by_placement(struct step *s, struct plan *plan)
{
    const request_topic *t = plan->wanted;
    struct placement placement;

    if (t->replication_factor < -1 || t->replication_factor == 0)
        return refuse(s, ERR_INVALID_REPLICATION_FACTOR,
                      "Replication factor must be larger than 0, or -1 to use "
                      "the default value.");
    if (t->num_partitions < -1 || t->num_partitions == 0)
        return refuse(s, ERR_INVALID_PARTITIONS,
                      "Number of partitions was set to an invalid non-positive "
                      "value.");
    plan->partitions = t->num_partitions != -1 ? t->num_partitions
                                               : s->c->config.num_partitions;
    plan->replicas = t->replication_factor != -1
                         ? t->replication_factor
                         : s->c->config.default_replication_factor;
    placement_init(&placement, s->image, s->arena, &s->prng);
    struct verdict v = placement_check(s, &placement, plan->replicas);
    if (v.error != ERR_NONE)
        return v;
    plan->replica_ids =
        arena_array(s->arena, (size_t)plan->partitions * (size_t)plan->replicas,
                    sizeof *plan->replica_ids);
    for (int32_t p = 0; p < plan->partitions; p++)
        placement_next(&placement, (uint32_t)plan->replicas,
                       plan->replica_ids + p * plan->replicas);
    return VERDICT_GOOD;
}

/* ---- records and result -------------------------------------------------- */

/* The topic's own record has its name, its id, and little else. */
static size_t topic_bytes(const struct plan *plan)
{
    struct slice name = plan->wanted->name;
    size_t bytes = 64 + name.len +
                   (size_t)plan->partitions *
                       partition_record_bytes((uint32_t)plan->replicas);

    MAP_EACH (entry, &plan->configs)
        bytes += config_record_bytes(name, entry->key, slice_str(entry->value));
    return bytes;
}

static void put_topic(struct step *s, const struct plan *plan,
                      const struct uuid *id)
{
    Leat__TopicRecord topic = LEAT__TOPIC_RECORD__INIT;
    struct slice name = plan->wanted->name;

    step_group_begin(s, topic_bytes(plan));
    topic.topic_id = record_uuid(id);
    topic.name = arena_strdup(s->arena, name);
    step_put(s, &RECORD(topic, TOPIC, &topic));
    MAP_EACH (entry, &plan->configs)
        config_put(s, IMAGE_RESOURCE_TOPIC, name, entry->key,
                   slice_str(entry->value));
    for (int32_t p = 0; p < plan->partitions; p++)
        partition_put_new(s, id, p, plan->replica_ids + p * plan->replicas,
                          (uint32_t)plan->replicas);
    step_group_end(s);
}

/* Every config the topic has, as DescribeConfigs would say. */
static void fill_configs(struct step *s, const struct plan *plan,
                         result_topic *out)
{
    size_t count = config_count(CONFIG_TOPIC);
    struct config_layers layers;

    topic_config_layers(s->c, SLICE(""), &layers);
    layers.topic = config_layer_of_map(&plan->configs);
    out->configs = arena_array(s->arena, count, sizeof *out->configs);
    out->configs_len = 0;
    for (size_t i = 0; i < count; i++) {
        const struct config_def *def = config_at(CONFIG_TOPIC, i);
        struct config_value value;

        if (config_is_internal(def))
            continue;
        config_resolve_topic(def, &layers, s->arena, &value);
        struct create_topics_response_creatable_topic_configs *config =
            &out->configs[out->configs_len++];
        create_topics_response_creatable_topic_configs_init(config);
        config->name = slice_str(def->key);
        /* Values may belong to plan.configs. */
        config->value = arena_copy(s->arena, value.value);
        config->config_source = (int8_t)value.source;
    }
}

static struct verdict create_topic(struct step *s, int16_t version,
                                   const request_topic *t, bool validate_only,
                                   result_topic *out)
{
    struct plan plan = {.wanted = t, .configs = MAP_INIT};
    struct verdict v = check_name(s, t->name);

    if (v.error == ERR_NONE)
        v = check_configs(s, &plan);
    if (v.error == ERR_NONE)
        v = t->assignments_len > 0 ? plan_by_hand(s, &plan)
                                   : plan_by_placement(s, &plan);
    if (v.error == ERR_NONE)
        v = step_fits(s, topic_bytes(&plan));
    if (v.error == ERR_NONE)
        v = mutation_quota_take(s, plan.partitions);
    if (v.error == ERR_NONE) {
        out->num_partitions = plan.partitions;
        out->replication_factor = (int16_t)plan.replicas;
        if (version >= 5)
            fill_configs(s, &plan, out);
        if (!validate_only) {
            out->topic_id = uuid_random(&s->prng);
            put_topic(s, &plan, &out->topic_id);
        }
    }
    map_free(&plan.configs);
    return v;
}

/* ---- the request --------------------------------------------------------- */

/* How many partitions a topic asks for, whatever else is wrong with it. */
static int64_t partitions_wanted(const struct step *s, const request_topic *t)
{
    if (t->assignments_len > 0)
        return t->assignments_len;
    return t->num_partitions == -1 ? s->c->config.num_partitions
           : t->num_partitions > 0 ? t->num_partitions
                                   : 0;
}

void topics_create(struct step *s, int16_t version, const void *in, void *out)
{
    const struct create_topics_request *request = in;
    struct create_topics_response *response = out;
    struct map seen = MAP_INIT; /* name -> how often, 1 or 2 */
    int64_t partitions = 0;

    for (int32_t i = 0; i < request->topics_len; i++) {
        const request_topic *t = &request->topics[i];
        bool again = map_get(&seen, t->name) != NULL;

        map_put(&seen, t->name, (void *)(uintptr_t)(again ? 2 : 1));
        partitions += partitions_wanted(s, t);
    }
    mutation_quota_begin(s, version >= 6);
    response->topics = arena_array(s->arena, (size_t)request->topics_len,
                                   sizeof *response->topics);
    for (int32_t i = 0; i < request->topics_len; i++) {
        const request_topic *t = &request->topics[i];
        uintptr_t times = (uintptr_t)map_get(&seen, t->name);
        struct verdict v;

        if (times == 3)
            continue; /* a duplicate that has its answer */
        result_topic *result = &response->topics[response->topics_len++];
        create_topics_response_creatable_topic_result_init(result);
        result->name = t->name;
        if (times == 2) {
            map_put(&seen, t->name, (void *)(uintptr_t)3);
            v = refuse(s, ERR_INVALID_REQUEST, "Duplicate topic name.");
        } else if (partitions > CONTROLLER_PARTITIONS_PER_REQUEST_MAX) {
            v = refuse(s, ERR_POLICY_VIOLATION,
                       "Excessively large number of partitions per request.");
        } else {
            v = create_topic(s, version, t, request->validate_only, result);
        }
        result->error_code = (int16_t)v.error;
        result->error_message = v.why;
    }
    response->throttle_time_ms = mutation_quota_pause_ms(s);
    map_free(&seen);
}
