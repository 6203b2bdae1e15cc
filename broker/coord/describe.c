/* DescribeGroups and ListGroups: looking at groups without touching them. */
#include "broker/coord/excerpt.h"
#include "broker/coord/group.h"

#include <strings.h>

enum { FIRST_NOT_FOUND_VERSION = 6 };

static struct slice state_text(const struct group *group)
{
    return slice_str(group_state_name(group->state));
}

static struct slice text_or_empty(struct arena *arena, struct slice text)
{
    return slice_is_null(text) ? SLICE("") : arena_copy(arena, text);
}

/* ---- DescribeGroups ------------------------------------------------------*/

static void
describe_members(struct arena *arena, const struct group *group,
                 struct describe_groups_response_described_group *to)
{
    bool stable = group->state == GROUP_STABLE;

    to->members = arena_array(arena, group_size(group), sizeof *to->members);
    if (group->roster == NULL)
        return;
    LIST_EACH (node, &group->roster->members) {
        const struct member *m = LIST_ENTRY(node, struct member, link);

        to->members[to->members_len++] =
            (struct describe_groups_response_described_group_member){
                .member_id = arena_copy(arena, m->id),
                .group_instance_id = arena_copy(arena, m->instance_id),
                .client_id = text_or_empty(arena, m->client_id),
                .client_host = text_or_empty(arena, m->client_host),
                .member_metadata =
                    stable ? arena_copy(arena, member_metadata(
                                                   m, group->protocol_name))
                           : SLICE(""),
                .member_assignment = text_or_empty(arena, m->assignment),
            };
    }
}

static void describe(struct arena *arena, const struct group *group,
                     struct describe_groups_response_described_group *to)
{
    to->group_state = state_text(group);
    to->protocol_type = text_or_empty(arena, group->protocol_type);
    if (group->state == GROUP_STABLE)
        to->protocol_data = text_or_empty(arena, group->protocol_name);
    describe_members(arena, group, to);
}

/* Old clients take a group that is not there for a dead one. */
static void describe_absent(struct arena *arena, int16_t version,
                            bool elsewhere,
                            struct describe_groups_response_described_group *to)
{
    to->group_state = SLICE("Dead");
    if (version < FIRST_NOT_FOUND_VERSION)
        return;
    to->error_code = ERR_GROUP_ID_NOT_FOUND;
    struct slice quoted = coord_quote(arena, to->group_id);
    to->error_message =
        arena_printf(arena,
                     elsewhere ? "Group %.*s is not a classic group."
                               : "Group %.*s not found.",
                     SLICE_FMT(quoted));
}

void describe_groups_request(struct step *step,
                             const struct coord_context *context,
                             const struct describe_groups_request *request)
{
    struct coord_answer *answer =
        coord_refuse(context, API_DESCRIBE_GROUPS, request, ERR_NONE);
    struct describe_groups_response *r = &answer->response.describe_groups;

    for (int32_t i = 0; i < request->groups_len; i++) {
        const struct group *group = group_find(step->coord, request->groups[i]);
        bool elsewhere = group_elsewhere(step->coord, request->groups[i]) !=
                         GROUP_PRESENT_NOT;

        if (group != NULL && !elsewhere)
            describe(&answer->arena, group, &r->groups[i]);
        else
            describe_absent(&answer->arena, context->version, elsewhere,
                            &r->groups[i]);
    }
    answer_send(step, answer);
}

/* ---- ListGroups ----------------------------------------------------------*/

static bool same_word(struct slice a, struct slice b)
{
    return a.len == b.len &&
           strncasecmp((const char *)a.data, (const char *)b.data, a.len) == 0;
}

static bool passes(struct slice word, const struct slice *filter,
                   int32_t filter_len)
{
    for (int32_t i = 0; i < filter_len; i++)
        if (same_word(word, filter[i]))
            return true;
    return filter_len <= 0;
}

void list_groups_request(struct step *step, const struct coord_context *context,
                         const struct list_groups_request *request)
{
    struct coord_answer *answer =
        answer_new(context->token, API_LIST_GROUPS, context->version);
    struct list_groups_response *r = &answer->response.list_groups;
    struct arena *arena = &answer->arena;

    r->groups =
        arena_array(arena, map_count(&step->coord->groups), sizeof *r->groups);
    MAP_EACH (entry, &step->coord->groups) {
        const struct group *group = entry->value;

        if (!group->exists ||
            group_elsewhere(step->coord, entry->key) != GROUP_PRESENT_NOT ||
            !passes(state_text(group), request->states_filter,
                    request->states_filter_len) ||
            !passes(SLICE("classic"), request->types_filter,
                    request->types_filter_len))
            continue;
        r->groups[r->groups_len++] = (struct list_groups_response_listed_group){
            .group_id = arena_copy(arena, entry->key),
            .protocol_type = text_or_empty(arena, group->protocol_type),
            .group_state = state_text(group),
            .group_type = SLICE("classic"),
        };
    }
    answer_send(step, answer);
}
