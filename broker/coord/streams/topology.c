/* Topologies as members say them and as the group keeps them. */
#include "broker/coord/streams/topology.h"

#include "broker/coord/excerpt.h"
#include "controller/topic_name.h"

#include <stdlib.h>

typedef struct streams_group_heartbeat_request_subtopology said_sub;
typedef struct streams_group_heartbeat_request_topic_info said_topic;
typedef struct streams_group_heartbeat_request_copartition_group said_group;

/* ---- validation ----------------------------------------------------------*/

struct check {
    struct arena *arena;
    struct slice why;
    enum err err;
};

static void refuse(struct check *c, enum err err, struct slice why)
{
    if (c->err != ERR_NONE)
        return;
    c->err = err;
    c->why = why;
}

static void check_name(struct check *c, struct slice name)
{
    struct slice quoted = coord_quote(c->arena, name);

    if (!topic_name_is_valid(name) ||
        slice_eq_str(name, "__consumer_offsets") ||
        slice_eq_str(name, "__transaction_state") ||
        slice_eq_str(name, "__share_group_state"))
        refuse(c, ERR_STREAMS_INVALID_TOPOLOGY,
               arena_printf(c->arena,
                            "Topic %.*s cannot be part of a topology.",
                            SLICE_FMT(quoted)));
}

static void check_topics(struct check *c, const said_topic *topics, int32_t len,
                         bool changelogs)
{
    for (int32_t i = 0; i < len; i++) {
        struct slice quoted = coord_quote(c->arena, topics[i].name);

        check_name(c, topics[i].name);
        if (changelogs && topics[i].partitions != 0)
            refuse(c, ERR_STREAMS_INVALID_TOPOLOGY,
                   arena_printf(c->arena,
                                "Changelog topic %.*s must not say how many "
                                "partitions it has, but says %d.",
                                SLICE_FMT(quoted), topics[i].partitions));
        if (topics[i].partitions < 0 ||
            topics[i].partitions > STREAMS_TASKS_MAX ||
            topics[i].replication_factor < -1)
            refuse(c, ERR_STREAMS_INVALID_TOPOLOGY,
                   arena_printf(c->arena,
                                "Internal topic %.*s cannot have %d "
                                "partitions and %d replicas.",
                                SLICE_FMT(quoted), topics[i].partitions,
                                topics[i].replication_factor));
    }
}

static void check_indexes(struct check *c, const int16_t *indexes, int32_t len,
                          int32_t topics)
{
    for (int32_t i = 0; i < len; i++)
        if (indexes[i] < 0 || indexes[i] >= topics)
            refuse(c, ERR_STREAMS_INVALID_TOPOLOGY,
                   SLICE("A copartition group names a topic that is not "
                         "there."));
}

static void check_sub(struct check *c, const said_sub *sub)
{
    struct slice quoted = coord_quote(c->arena, sub->subtopology_id);

    for (int32_t i = 0; i < sub->source_topics_len; i++)
        check_name(c, sub->source_topics[i]);
    for (int32_t i = 0; i < sub->repartition_sink_topics_len; i++)
        check_name(c, sub->repartition_sink_topics[i]);
    check_topics(c, sub->state_changelog_topics,
                 sub->state_changelog_topics_len, true);
    check_topics(c, sub->repartition_source_topics,
                 sub->repartition_source_topics_len, false);
    for (int32_t i = 0; i < sub->copartition_groups_len; i++) {
        const said_group *group = &sub->copartition_groups[i];

        check_indexes(c, group->source_topics, group->source_topics_len,
                      sub->source_topics_len);
        check_indexes(c, group->repartition_source_topics,
                      group->repartition_source_topics_len,
                      sub->repartition_source_topics_len);
    }
    if (sub->source_topic_regex_len > 0)
        refuse(c, ERR_INVALID_REQUEST,
               SLICE("Regular expressions for source topics are not "
                     "supported yet."));
    if (sub->source_topics_len + sub->repartition_source_topics_len == 0)
        refuse(c, ERR_STREAMS_INVALID_TOPOLOGY,
               arena_printf(c->arena, "Subtopology %.*s has no source topics.",
                            SLICE_FMT(quoted)));
}

static int compare_subs(const void *a, const void *b)
{
    return slice_cmp(((const stopology_sub *)a)->subtopology_id,
                     ((const stopology_sub *)b)->subtopology_id);
}

static void sort(stopology_value *value)
{
    if (value->subtopologies_len > 0)
        qsort(value->subtopologies, (size_t)value->subtopologies_len,
              sizeof *value->subtopologies, compare_subs);
}

static void check_ids(struct check *c, const stopology_value *value)
{
    for (int32_t i = 1; i < value->subtopologies_len; i++)
        if (compare_subs(&value->subtopologies[i - 1],
                         &value->subtopologies[i]) == 0)
            refuse(c, ERR_STREAMS_INVALID_TOPOLOGY,
                   SLICE("Two subtopologies have the same id."));
}

static int64_t mentioned(const said_sub *sub)
{
    int64_t len =
        (int64_t)sub->source_topics_len + sub->repartition_sink_topics_len +
        sub->state_changelog_topics_len + sub->repartition_source_topics_len;

    for (int32_t i = 0; i < sub->copartition_groups_len; i++)
        len += sub->copartition_groups[i].source_topics_len +
               sub->copartition_groups[i].repartition_source_topics_len;
    return len;
}

static bool
is_too_large(const struct streams_group_heartbeat_request_topology *said)
{
    int64_t topics = 0;

    for (int32_t i = 0; i < said->subtopologies_len; i++)
        topics += mentioned(&said->subtopologies[i]);
    return said->subtopologies_len > STREAMS_SUBTOPOLOGIES_MAX ||
           topics > STREAMS_TOPICS_MAX;
}

enum err
stopology_validate(struct arena *arena,
                   const struct streams_group_heartbeat_request_topology *said,
                   struct slice *why)
{
    struct check c = {.arena = arena};

    if (is_too_large(said)) {
        *why = SLICE("The topology is too large.");
        return ERR_STREAMS_INVALID_TOPOLOGY;
    }
    if (said->epoch < 0)
        refuse(&c, ERR_STREAMS_INVALID_TOPOLOGY_EPOCH,
               SLICE("The epoch of a topology cannot be negative."));
    for (int32_t i = 0; i < said->subtopologies_len; i++)
        check_sub(&c, &said->subtopologies[i]);
    check_ids(&c, stopology_of_request(arena, said));
    *why = c.why;
    return c.err;
}

/* ---- request into record -------------------------------------------------*/

static stopology_topic *copy_topics(struct arena *arena,
                                    const said_topic *topics, int32_t len)
{
    stopology_topic *out = arena_array(arena, (size_t)len, sizeof *out);

    for (int32_t i = 0; i < len; i++) {
        out[i] = (stopology_topic){
            .name = topics[i].name,
            .partitions = topics[i].partitions,
            .replication_factor = topics[i].replication_factor,
            .topic_configs_len = topics[i].topic_configs_len,
        };
        out[i].topic_configs =
            arena_array(arena, (size_t)topics[i].topic_configs_len,
                        sizeof *out[i].topic_configs);
        for (int32_t k = 0; k < topics[i].topic_configs_len; k++) {
            out[i].topic_configs[k].key = topics[i].topic_configs[k].key;
            out[i].topic_configs[k].value = topics[i].topic_configs[k].value;
        }
    }
    return out;
}

static void copy_sub(struct arena *arena, const said_sub *from,
                     stopology_sub *to)
{
    *to = (stopology_sub){
        .subtopology_id = from->subtopology_id,
        .source_topics = from->source_topics,
        .source_topics_len = from->source_topics_len,
        .source_topic_regex = from->source_topic_regex,
        .source_topic_regex_len = from->source_topic_regex_len,
        .state_changelog_topics =
            copy_topics(arena, from->state_changelog_topics,
                        from->state_changelog_topics_len),
        .state_changelog_topics_len = from->state_changelog_topics_len,
        .repartition_sink_topics = from->repartition_sink_topics,
        .repartition_sink_topics_len = from->repartition_sink_topics_len,
        .repartition_source_topics =
            copy_topics(arena, from->repartition_source_topics,
                        from->repartition_source_topics_len),
        .repartition_source_topics_len = from->repartition_source_topics_len,
        .copartition_groups_len = from->copartition_groups_len,
    };
    to->copartition_groups =
        arena_array(arena, (size_t)from->copartition_groups_len,
                    sizeof *to->copartition_groups);
    for (int32_t i = 0; i < from->copartition_groups_len; i++) {
        const said_group *group = &from->copartition_groups[i];

        to->copartition_groups[i] =
            (struct streams_group_topology_value_copartition_group){
                group->source_topics,
                group->source_topics_len,
                group->source_topic_regex,
                group->source_topic_regex_len,
                group->repartition_source_topics,
                group->repartition_source_topics_len};
    }
}

stopology_value *stopology_of_request(
    struct arena *arena,
    const struct streams_group_heartbeat_request_topology *said)
{
    stopology_value *value = arena_alloc(arena, sizeof *value);

    value->epoch = said->epoch;
    value->subtopologies = arena_array(arena, (size_t)said->subtopologies_len,
                                       sizeof *value->subtopologies);
    value->subtopologies_len = said->subtopologies_len;
    for (int32_t i = 0; i < said->subtopologies_len; i++)
        copy_sub(arena, &said->subtopologies[i], &value->subtopologies[i]);
    sort(value);
    return value;
}

/* ---- as the group keeps it -----------------------------------------------*/

static void encode(const stopology_value *value, struct buf *bytes)
{
    /* It was decoded, so it can be encoded. */
    ASSERT(kafka_encode(&streams_group_topology_value_desc, 0, value, bytes,
                        NULL) == ERR_NONE);
}

struct stopology *stopology_new(stopology_value *value)
{
    struct stopology *topology = xcalloc(1, sizeof *topology);

    sort(value);
    arena_init(&topology->arena, 0);
    topology->value = arena_alloc(&topology->arena, sizeof *topology->value);
    encode(value, &topology->bytes);
    ASSERT(kafka_decode(&streams_group_topology_value_desc, 0,
                        buf_slice(&topology->bytes), &topology->arena,
                        topology->value) == ERR_NONE);
    return topology;
}

void stopology_free(struct stopology *topology)
{
    if (topology == NULL)
        return;
    arena_free(&topology->arena);
    buf_free(&topology->bytes);
    free(topology);
}

bool stopology_same(const stopology_value *a, const stopology_value *b)
{
    struct buf x = BUF_INIT, y = BUF_INIT;

    encode(a, &x);
    encode(b, &y);
    bool same = slice_eq(buf_slice(&x), buf_slice(&y));
    buf_free(&x);
    buf_free(&y);
    return same;
}

static int compare_names(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

struct slice *stopology_topics(struct arena *arena,
                               const stopology_value *value, uint32_t *len)
{
    uint32_t room = 0, all = 0, kept = 0;

    for (int32_t s = 0; s < value->subtopologies_len; s++)
        room +=
            (uint32_t)(value->subtopologies[s].source_topics_len +
                       value->subtopologies[s].state_changelog_topics_len +
                       value->subtopologies[s].repartition_source_topics_len);
    struct slice *names = arena_array(arena, room, sizeof *names);
    for (int32_t s = 0; s < value->subtopologies_len; s++) {
        const stopology_sub *sub = &value->subtopologies[s];

        for (int32_t i = 0; i < sub->source_topics_len; i++)
            names[all++] = sub->source_topics[i];
        for (int32_t i = 0; i < sub->state_changelog_topics_len; i++)
            names[all++] = sub->state_changelog_topics[i].name;
        for (int32_t i = 0; i < sub->repartition_source_topics_len; i++)
            names[all++] = sub->repartition_source_topics[i].name;
    }
    if (all != 0)
        qsort(names, all, sizeof *names, compare_names);
    for (uint32_t i = 0; i < all; i++)
        if (kept == 0 || !slice_eq(names[kept - 1], names[i]))
            names[kept++] = names[i];
    *len = kept;
    return names;
}

static bool reads(const stopology_sub *sub, struct slice topic)
{
    for (int32_t i = 0; i < sub->source_topics_len; i++)
        if (slice_eq(sub->source_topics[i], topic))
            return true;
    for (int32_t i = 0; i < sub->repartition_source_topics_len; i++)
        if (slice_eq(sub->repartition_source_topics[i].name, topic))
            return true;
    return false;
}

const stopology_sub *stopology_reader(const stopology_value *value,
                                      struct slice topic)
{
    for (int32_t s = 0; s < value->subtopologies_len; s++)
        if (reads(&value->subtopologies[s], topic))
            return &value->subtopologies[s];
    return NULL;
}
