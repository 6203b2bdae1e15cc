/* ConsumerGroupDescribe and ListGroups. */
#include "broker/coord/consumer/consumer.h"
#include "broker/coord/excerpt.h"

#include <strings.h>

/* KIP-1099. */
enum { MEMBER_TYPE_CLASSIC = 0, MEMBER_TYPE_CONSUMER = 1 };

typedef struct consumer_group_describe_response_assignment described_assignment;
typedef struct consumer_group_describe_response_member described_member;
typedef struct consumer_group_describe_response_described_group described_group;

/* ---- states --------------------------------------------------------------*/

bool cgroup_is_reconciled(const struct cgroup *group)
{
    if (group->epoch > group->target_epoch)
        return false;
    MAP_EACH (entry, &group->members) {
        const struct cmember *member = entry->value;

        if (member->has_profile &&
            !reconciled(&member->current, group->target_epoch))
            return false;
    }
    return true;
}

/* Looks at all its members: for who asks, not for heartbeats. */
const char *cgroup_state_name(const struct cgroup *group)
{
    if (group->size == 0)
        return "Empty";
    if (group->epoch > group->target_epoch)
        return "Assigning";
    return cgroup_is_reconciled(group) ? "Stable" : "Reconciling";
}

/* ---- ConsumerGroupDescribe -----------------------------------------------*/

/* Topics that are gone are left out: they have no name. */
static described_assignment describe_parts(const struct consumer_coord *coord,
                                           struct arena *arena,
                                           struct parts set)
{
    const struct consumer_world *world = &coord->world;
    described_assignment a = {0};

    a.topic_partitions =
        arena_array(arena, parts_topics(set), sizeof *a.topic_partitions);
    for (uint32_t at = 0, run; at < set.len; at += run) {
        struct slice name = world->topic_name(world->arg, set.items[at].topic);

        run = parts_run(set, at);
        if (slice_is_null(name))
            continue;
        struct consumer_group_describe_response_topic_partitions *topic =
            &a.topic_partitions[a.topic_partitions_len++];
        topic->topic_id = set.items[at].topic;
        topic->topic_name = arena_copy(arena, name);
        topic->partitions = arena_array(arena, run, sizeof(int32_t));
        topic->partitions_len = (int32_t)run;
        for (uint32_t i = 0; i < run; i++)
            topic->partitions[i] = set.items[at + i].partition;
    }
    return a;
}

static void describe_member(const struct consumer_coord *coord,
                            struct arena *arena, const struct cmember *member,
                            described_member *to)
{
    const struct cprofile *p = &member->profile;

    *to = (described_member){
        .member_id = arena_copy(arena, member->id),
        .instance_id = arena_copy(arena, p->instance_id),
        .rack_id = arena_copy(arena, p->rack_id),
        .member_epoch = member->current.epoch,
        .client_id = arena_copy(arena, p->client_id),
        .client_host = arena_copy(arena, p->client_host),
        .subscribed_topic_names =
            arena_array(arena, p->names_len, sizeof(struct slice)),
        .subscribed_topic_names_len = (int32_t)p->names_len,
        .subscribed_topic_regex = arena_copy(arena, p->regex),
        .assignment = describe_parts(coord, arena, member->current.assigned),
        .target_assignment = describe_parts(coord, arena, member->target),
        .member_type = p->classic ? MEMBER_TYPE_CLASSIC : MEMBER_TYPE_CONSUMER,
    };
    for (uint32_t i = 0; i < p->names_len; i++)
        to->subscribed_topic_names[i] = arena_copy(arena, p->names[i]);
}

/* What most members want, as for the next target. */
static struct slice assignor_of(const struct consumer_coord *coord,
                                const struct cgroup *group, struct arena *arena)
{
    struct cplan plan = {.group = group, .arena = arena};

    cplan_topics(&plan, coord);
    return cplan_assignor(coord, &plan);
}

static void describe_group(const struct consumer_coord *coord,
                           struct arena *arena, const struct cgroup *group,
                           described_group *to)
{
    to->group_state = slice_str(cgroup_state_name(group));
    to->group_epoch = group->epoch;
    to->assignment_epoch = group->target_epoch;
    to->assignor_name = assignor_of(coord, group, arena);
    to->members = arena_array(arena, group->size, sizeof *to->members);
    MAP_EACH (entry, &group->members) {
        const struct cmember *member = entry->value;

        if (member->has_profile)
            describe_member(coord, arena, member,
                            &to->members[to->members_len++]);
    }
}

/* It shows what is in the log, so it waits until that is committed. */
void cdescribe_request(struct cstep *step, const struct coord_context *context,
                       const struct consumer_group_describe_request *request)
{
    struct coord_answer *answer = consumer_refuse(
        context, API_CONSUMER_GROUP_DESCRIBE, request, ERR_NONE);
    struct consumer_group_describe_response *r =
        &answer->response.consumer_group_describe;
    struct arena *arena = &answer->arena;

    for (int32_t i = 0; i < r->groups_len; i++) {
        described_group *to = &r->groups[i];
        const struct cgroup *group = cgroup_find(step->coord, to->group_id);

        if (group != NULL) {
            describe_group(step->coord, arena, group, to);
            continue;
        }
        to->error_code = ERR_GROUP_ID_NOT_FOUND;
        struct slice quoted = coord_quote(arena, to->group_id);
        to->error_message =
            arena_printf(arena, "Group %.*s not found.", SLICE_FMT(quoted));
    }
    cwrite_send(step, cwrite_new(answer));
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
consumer_coord_list(const struct consumer_coord *coord,
                    const struct list_groups_request *request,
                    struct arena *arena, int32_t *len)
{
    struct list_groups_response_listed_group *groups =
        arena_array(arena, map_count(&coord->groups), sizeof *groups);

    *len = 0;
    if (!passes("consumer", request->types_filter, request->types_filter_len))
        return groups;
    MAP_EACH (entry, &coord->groups) {
        const struct cgroup *group = cgroup_find(coord, entry->key);
        const char *state = group != NULL ? cgroup_state_name(group) : "";

        if (group == NULL ||
            !passes(state, request->states_filter, request->states_filter_len))
            continue;
        groups[(*len)++] = (struct list_groups_response_listed_group){
            .group_id = arena_copy(arena, group->id),
            .protocol_type = SLICE("consumer"),
            .group_state = slice_str(state),
            .group_type = SLICE("consumer"),
        };
    }
    return groups;
}
