/* Where an application's members can be asked for their state (interactive
 * queries): for each member with an endpoint, the partitions that its tasks
 * read. */
#include "broker/coord/streams/streams.h"

typedef struct streams_group_heartbeat_response_topic_partition partitions_t;
typedef struct streams_group_heartbeat_response_endpoint_to_partitions place_t;

/* A task beyond a topic's partitions reads others of its subtopology. */
static void add_topic(const struct streams_coord *coord, struct arena *arena,
                      struct slice topic, const struct task *tasks,
                      uint32_t len, partitions_t *to, int32_t *to_len)
{
    const struct streams_world *world = &coord->world;
    struct consumer_topic found;
    partitions_t *out = &to[*to_len];

    if (!world->topic_by_name(world->arg, topic, &found))
        return;
    out->topic = arena_copy(arena, topic);
    out->partitions = arena_array(arena, len, sizeof(int32_t));
    out->partitions_len = 0;
    for (uint32_t i = 0; i < len; i++)
        if (tasks[i].partition < found.partitions)
            out->partitions[out->partitions_len++] = tasks[i].partition;
    if (out->partitions_len > 0)
        (*to_len)++;
}

static const stopology_sub *sub_of(const stopology_value *value,
                                   struct slice id)
{
    int32_t low = 0, high = value->subtopologies_len;

    while (low < high) {
        int32_t mid = low + (high - low) / 2;
        int order = slice_cmp(value->subtopologies[mid].subtopology_id, id);

        if (order == 0)
            return &value->subtopologies[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static partitions_t *partitions_of(const struct streams_coord *coord,
                                   const stopology_value *value,
                                   struct arena *arena, struct tasks set,
                                   int32_t *len)
{
    size_t room = 0;

    *len = 0;
    for (uint32_t at = 0; at < set.len; at += tasks_run(set, at)) {
        const stopology_sub *sub = sub_of(value, set.items[at].sub);
        if (sub != NULL)
            room += (size_t)(sub->source_topics_len +
                             sub->repartition_source_topics_len);
    }
    partitions_t *out = arena_array(arena, room, sizeof *out);
    for (uint32_t at = 0, run; at < set.len; at += run) {
        const stopology_sub *sub = sub_of(value, set.items[at].sub);

        run = tasks_run(set, at);
        for (int32_t i = 0; sub != NULL && i < sub->source_topics_len; i++)
            add_topic(coord, arena, sub->source_topics[i], &set.items[at], run,
                      out, len);
        for (int32_t i = 0;
             sub != NULL && i < sub->repartition_source_topics_len; i++)
            add_topic(coord, arena, sub->repartition_source_topics[i].name,
                      &set.items[at], run, out, len);
    }
    return out;
}

void sendpoints_fill(const struct streams_coord *coord,
                     const struct stgroup *group, struct arena *arena,
                     struct streams_group_heartbeat_response *r)
{
    if (group->topology == NULL)
        return;
    r->partitions_by_user_endpoint =
        arena_array(arena, group->size, sizeof *r->partitions_by_user_endpoint);
    r->partitions_by_user_endpoint_len = 0;
    MAP_EACH (entry, &group->members) {
        const struct stmember *member = entry->value;
        const struct tuple *has = &member->current.assigned;

        if (!member->has_profile || !member->profile.has_endpoint)
            continue;
        place_t *to = &r->partitions_by_user_endpoint
                           [r->partitions_by_user_endpoint_len++];
        to->user_endpoint.host =
            arena_copy(arena, member->profile.endpoint_host);
        to->user_endpoint.port = member->profile.endpoint_port;
        to->active_partitions =
            partitions_of(coord, group->topology->value, arena,
                          has->of[TASK_ACTIVE], &to->active_partitions_len);
        to->standby_partitions =
            partitions_of(coord, group->topology->value, arena,
                          has->of[TASK_STANDBY], &to->standby_partitions_len);
    }
}
