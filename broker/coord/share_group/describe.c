/* ShareGroupDescribe and ListGroups. */
#include "broker/coord/excerpt.h"
#include "broker/coord/share_group/sgroup.h"

#include <strings.h>

typedef struct share_group_describe_response_assignment described_assignment;
typedef struct share_group_describe_response_member described_member;
typedef struct share_group_describe_response_described_group described_group;

static const char *state_name(const struct sgroup *group)
{
    return group->size == 0 ? "Empty" : "Stable";
}

/* Topics that are gone are left out: they have no name. */
static described_assignment
describe_parts(const struct share_group_coord *coord, struct arena *arena,
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
        struct share_group_describe_response_topic_partitions *topic =
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

static void describe_member(const struct share_group_coord *coord,
                            struct arena *arena, const struct smember *member,
                            described_member *to)
{
    const struct sprofile *p = &member->profile;

    *to = (described_member){
        .member_id = arena_copy(arena, member->id),
        .rack_id = arena_copy(arena, p->rack_id),
        .member_epoch = member->epoch,
        .client_id = arena_copy(arena, p->client_id),
        .client_host = arena_copy(arena, p->client_host),
        .subscribed_topic_names =
            arena_array(arena, p->names_len, sizeof(struct slice)),
        .subscribed_topic_names_len = (int32_t)p->names_len,
        .assignment = describe_parts(coord, arena, member->assigned),
    };
    for (uint32_t i = 0; i < p->names_len; i++)
        to->subscribed_topic_names[i] = arena_copy(arena, p->names[i]);
}

static void describe_group(const struct share_group_coord *coord,
                           struct arena *arena, const struct sgroup *group,
                           described_group *to)
{
    to->group_state = slice_str(state_name(group));
    to->group_epoch = group->epoch;
    to->assignment_epoch = group->target_epoch;
    to->assignor_name = SLICE("simple");
    to->members = arena_array(arena, group->size, sizeof *to->members);
    MAP_EACH (entry, &group->members) {
        const struct smember *member = entry->value;

        if (member->has_profile)
            describe_member(coord, arena, member,
                            &to->members[to->members_len++]);
    }
}

/* It shows what is in the log, so it waits until that is committed. */
void sdescribe_request(struct sstep *step, const struct coord_context *context,
                       const struct share_group_describe_request *request)
{
    struct coord_answer *answer =
        sanswer_new(context, API_SHARE_GROUP_DESCRIBE);
    struct share_group_describe_response *r =
        &answer->response.share_group_describe;
    struct arena *arena = &answer->arena;

    r->groups_len = request->group_ids_len;
    r->groups = arena_array(arena, (size_t)r->groups_len, sizeof *r->groups);
    for (int32_t i = 0; i < r->groups_len; i++) {
        described_group *to = &r->groups[i];

        share_group_describe_response_described_group_init(to);
        to->group_id = arena_copy(arena, request->group_ids[i]);
        const struct sgroup *group = sgroup_find(step->coord, to->group_id);
        if (group != NULL) {
            describe_group(step->coord, arena, group, to);
            continue;
        }
        to->error_code = ERR_GROUP_ID_NOT_FOUND;
        struct slice quoted = coord_quote(arena, to->group_id);
        to->error_message =
            arena_printf(arena, "Group %.*s not found.", SLICE_FMT(quoted));
    }
    swrite_send(step, swrite_new(answer));
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
share_group_list(const struct share_group_coord *coord,
                 const struct list_groups_request *request, struct arena *arena,
                 int32_t *len)
{
    struct list_groups_response_listed_group *groups =
        arena_array(arena, map_count(&coord->groups), sizeof *groups);

    *len = 0;
    if (!passes("share", request->types_filter, request->types_filter_len))
        return groups;
    MAP_EACH (entry, &coord->groups) {
        const struct sgroup *group = sgroup_find(coord, entry->key);

        if (group == NULL || !passes(state_name(group), request->states_filter,
                                     request->states_filter_len))
            continue;
        groups[(*len)++] = (struct list_groups_response_listed_group){
            .group_id = arena_copy(arena, group->id),
            .protocol_type = SLICE("share"),
            .group_state = slice_str(state_name(group)),
            .group_type = SLICE("share"),
        };
    }
    return groups;
}
