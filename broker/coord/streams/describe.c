/* StreamsGroupDescribe and ListGroups. */
#include "broker/coord/excerpt.h"
#include "broker/coord/streams/streams.h"

#include <strings.h>

typedef struct streams_group_describe_response_assignment described_assignment;
typedef struct streams_group_describe_response_member described_member;
typedef struct streams_group_describe_response_described_group described_group;
typedef struct streams_group_describe_response_subtopology described_sub;
typedef struct streams_group_describe_response_topic_info described_topic;
typedef struct streams_group_describe_response_task_ids described_ids;

/* ---- states --------------------------------------------------------------*/

static bool all_reconciled(const struct stgroup *group)
{
    MAP_EACH (entry, &group->members) {
        const struct stmember *member = entry->value;

        if (member->has_profile &&
            !streams_reconciled(&member->current, group->target_epoch))
            return false;
    }
    return true;
}

/* Looks at all its members: for who asks, not for heartbeats. */
const char *stgroup_state_name(const struct stgroup *group)
{
    if (group->size == 0)
        return "Empty";
    if (group->topology == NULL ||
        group->topology->value->epoch != group->valid_epoch)
        return "NotReady";
    if (group->epoch > group->target_epoch)
        return "Assigning";
    return all_reconciled(group) ? "Stable" : "Reconciling";
}

/* ---- topologies ----------------------------------------------------------*/

static struct slice *copy_names(struct arena *arena, const struct slice *names,
                                int32_t len)
{
    struct slice *out = arena_array(arena, (size_t)len, sizeof *out);

    for (int32_t i = 0; i < len; i++)
        out[i] = arena_copy(arena, names[i]);
    return out;
}

/* `tasks`: how many partitions it has by now if it does not say; 0: unknown. */
static described_topic *describe_topics(struct arena *arena,
                                        const stopology_topic *topics,
                                        int32_t len, int32_t tasks)
{
    described_topic *out = arena_array(arena, (size_t)len, sizeof *out);

    for (int32_t i = 0; i < len; i++) {
        const stopology_topic *from = &topics[i];

        out[i] = (described_topic){
            .name = arena_copy(arena, from->name),
            .partitions = from->partitions != 0 ? from->partitions : tasks,
            .replication_factor = from->replication_factor,
            .topic_configs_len = from->topic_configs_len,
        };
        out[i].topic_configs =
            arena_array(arena, (size_t)from->topic_configs_len,
                        sizeof *out[i].topic_configs);
        for (int32_t k = 0; k < from->topic_configs_len; k++) {
            out[i].topic_configs[k].key =
                arena_copy(arena, from->topic_configs[k].key);
            out[i].topic_configs[k].value =
                arena_copy(arena, from->topic_configs[k].value);
        }
    }
    return out;
}

static int32_t partitions_of(const struct streams_coord *coord,
                             struct slice topic, int32_t otherwise)
{
    const struct streams_world *world = &coord->world;
    struct consumer_topic found;

    return world->topic_by_name(world->arg, topic, &found) ? found.partitions
                                                           : otherwise;
}

static void describe_sub(const struct streams_coord *coord,
                         const struct sconfig *config, struct arena *arena,
                         const stopology_sub *from, described_sub *to)
{
    const struct sticky_sub *sub =
        config != NULL && config->ready
            ? sconfig_sub(config, from->subtopology_id)
            : NULL;
    int32_t tasks = sub != NULL ? sub->tasks : 0;

    *to = (described_sub){
        .subtopology_id = arena_copy(arena, from->subtopology_id),
        .source_topics =
            copy_names(arena, from->source_topics, from->source_topics_len),
        .source_topics_len = from->source_topics_len,
        .repartition_sink_topics =
            copy_names(arena, from->repartition_sink_topics,
                       from->repartition_sink_topics_len),
        .repartition_sink_topics_len = from->repartition_sink_topics_len,
        .state_changelog_topics =
            describe_topics(arena, from->state_changelog_topics,
                            from->state_changelog_topics_len, tasks),
        .state_changelog_topics_len = from->state_changelog_topics_len,
        .repartition_source_topics =
            describe_topics(arena, from->repartition_source_topics,
                            from->repartition_source_topics_len, 0),
        .repartition_source_topics_len = from->repartition_source_topics_len,
    };
    for (int32_t i = 0; sub != NULL && i < to->repartition_source_topics_len;
         i++)
        to->repartition_source_topics[i].partitions =
            partitions_of(coord, from->repartition_source_topics[i].name,
                          to->repartition_source_topics[i].partitions);
}

static struct streams_group_describe_response_topology *
describe_topology(const struct streams_coord *coord, struct arena *arena,
                  const struct stgroup *group)
{
    struct streams_group_describe_response_topology *to =
        arena_alloc(arena, sizeof *to);
    const stopology_value *value = group->topology->value;

    to->epoch = value->epoch;
    to->subtopologies = arena_array(arena, (size_t)value->subtopologies_len,
                                    sizeof *to->subtopologies);
    to->subtopologies_len = value->subtopologies_len;
    for (int32_t s = 0; s < value->subtopologies_len; s++)
        describe_sub(coord, group->config, arena, &value->subtopologies[s],
                     &to->subtopologies[s]);
    return to;
}

/* ---- members -------------------------------------------------------------*/

static described_ids *describe_tasks(struct arena *arena, struct tasks set,
                                     int32_t *len)
{
    described_ids *ids = arena_array(arena, tasks_subs(set), sizeof *ids);

    for (uint32_t at = 0, run; at < set.len; at += run) {
        described_ids *to = &ids[(*len)++];

        run = tasks_run(set, at);
        to->subtopology_id = arena_copy(arena, set.items[at].sub);
        to->partitions = arena_array(arena, run, sizeof(int32_t));
        to->partitions_len = (int32_t)run;
        for (uint32_t i = 0; i < run; i++)
            to->partitions[i] = set.items[at + i].partition;
    }
    return ids;
}

static described_assignment describe_tuple(struct arena *arena,
                                           const struct tuple *tasks)
{
    described_assignment a = {0};

    a.active_tasks =
        describe_tasks(arena, tasks->of[TASK_ACTIVE], &a.active_tasks_len);
    a.standby_tasks =
        describe_tasks(arena, tasks->of[TASK_STANDBY], &a.standby_tasks_len);
    a.warmup_tasks =
        describe_tasks(arena, tasks->of[TASK_WARMUP], &a.warmup_tasks_len);
    return a;
}

static void describe_member(struct arena *arena, const struct stmember *member,
                            described_member *to)
{
    const struct stprofile *p = &member->profile;

    streams_group_describe_response_member_init(to);
    to->member_id = arena_copy(arena, member->id);
    to->member_epoch = member->current.epoch;
    to->instance_id = arena_copy(arena, p->instance_id);
    to->rack_id = arena_copy(arena, p->rack_id);
    to->client_id = arena_copy(arena, p->client_id);
    to->client_host = arena_copy(arena, p->client_host);
    to->topology_epoch = p->topology_epoch;
    to->process_id = arena_copy(arena, p->process_id);
    if (p->has_endpoint) {
        to->user_endpoint = arena_alloc(arena, sizeof *to->user_endpoint);
        to->user_endpoint->host = arena_copy(arena, p->endpoint_host);
        to->user_endpoint->port = p->endpoint_port;
    }
    to->client_tags = arena_array(arena, p->tags_len, sizeof *to->client_tags);
    to->client_tags_len = (int32_t)p->tags_len;
    for (uint32_t i = 0; i < p->tags_len; i++) {
        to->client_tags[i].key = arena_copy(arena, p->tags[i].key);
        to->client_tags[i].value = arena_copy(arena, p->tags[i].value);
    }
    to->assignment = describe_tuple(arena, &member->current.assigned);
    to->target_assignment = describe_tuple(arena, &member->target);
}

/* ---- StreamsGroupDescribe ------------------------------------------------*/

static void describe_group(const struct streams_coord *coord,
                           struct arena *arena, const struct stgroup *group,
                           described_group *to)
{
    to->group_state = slice_str(stgroup_state_name(group));
    to->group_epoch = group->epoch;
    to->assignment_epoch = group->target_epoch;
    if (group->topology != NULL)
        to->topology = describe_topology(coord, arena, group);
    to->assignor_name = SLICE("sticky");
    to->members = arena_array(arena, group->size, sizeof *to->members);
    MAP_EACH (entry, &group->members) {
        const struct stmember *member = entry->value;

        if (member->has_profile)
            describe_member(arena, member, &to->members[to->members_len++]);
    }
}

/* It shows what is in the log, so it waits until that is committed. */
void stdescribe_request(struct ststep *step,
                        const struct coord_context *context,
                        const struct streams_group_describe_request *request)
{
    struct coord_answer *answer =
        streams_refuse(context, API_STREAMS_GROUP_DESCRIBE, request, ERR_NONE);
    struct streams_group_describe_response *r =
        &answer->response.streams_group_describe;
    struct arena *arena = &answer->arena;

    for (int32_t i = 0; i < r->groups_len; i++) {
        described_group *to = &r->groups[i];
        const struct stgroup *group = stgroup_find(step->coord, to->group_id);

        if (group != NULL) {
            describe_group(step->coord, arena, group, to);
            continue;
        }
        to->error_code = ERR_GROUP_ID_NOT_FOUND;
        struct slice quoted = coord_quote(arena, to->group_id);
        to->error_message =
            arena_printf(arena, "Group %.*s not found.", SLICE_FMT(quoted));
    }
    stwrite_send(step, stwrite_new(answer));
}

/* ---- ListGroups ----------------------------------------------------------*/

static bool passes(const char *word, const struct slice *filter, int32_t len)
{
    for (int32_t i = 0; i < len; i++)
        if (filter[i].len == strlen(word) &&
            strncasecmp((const char *)filter[i].data, word, filter[i].len) == 0)
            return true;
    return len <= 0;
}

struct list_groups_response_listed_group *
streams_coord_list(const struct streams_coord *coord,
                   const struct list_groups_request *request,
                   struct arena *arena, int32_t *len)
{
    struct list_groups_response_listed_group *groups =
        arena_array(arena, map_count(&coord->groups), sizeof *groups);

    *len = 0;
    if (!passes("streams", request->types_filter, request->types_filter_len))
        return groups;
    MAP_EACH (entry, &coord->groups) {
        const struct stgroup *group = stgroup_find(coord, entry->key);
        const char *state = group != NULL ? stgroup_state_name(group) : "";

        if (group == NULL ||
            !passes(state, request->states_filter, request->states_filter_len))
            continue;
        groups[(*len)++] = (struct list_groups_response_listed_group){
            .group_id = arena_copy(arena, group->id),
            .protocol_type = SLICE("streams"),
            .group_state = slice_str(state),
            .group_type = SLICE("streams"),
        };
    }
    return groups;
}
