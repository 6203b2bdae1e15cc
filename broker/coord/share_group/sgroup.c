/* Groups and members: found, made, forgotten. */
#include "broker/coord/share_group/sgroup.h"

#include <stdlib.h>

static void set_text(struct slice *text, struct slice value)
{
    free((void *)(uintptr_t)text->data);
    *text = SLICE_NULL;
    if (!slice_is_null(value))
        *text = slice_of(slice_dup(value), value.len);
}

/* ---- groups --------------------------------------------------------------*/

struct sgroup *sgroup_find(const struct share_group_coord *coord,
                           struct slice id)
{
    struct sgroup *group = map_get(&coord->groups, id);

    return group != NULL && (group->exists || group->size != 0) ? group : NULL;
}

/* The map has its id, too. */
size_t sgroup_bytes(struct slice id)
{
    return sizeof(struct sgroup) + 2 * id.len;
}

struct sgroup *sgroup_get(struct share_group_coord *coord, struct slice id)
{
    struct sgroup *group = map_get(&coord->groups, id);

    if (group != NULL)
        return group;
    group = xcalloc(1, sizeof *group);
    set_text(&group->id, id);
    group->assign.kind = STIMER_ASSIGN;
    group->ask_again.kind = STIMER_ASK;
    list_init(&group->waiting);
    map_put(&coord->groups, id, group);
    coord->bytes += sgroup_bytes(id);
    return group;
}

static void member_free(struct share_group_coord *coord, struct smember *member)
{
    smember_set_profile(coord, member, NULL);
    heap_remove(&coord->timers, &member->session.node);
    map_remove(&member->group->members, member->id);
    parts_free(&member->target);
    parts_free(&member->assigned);
    set_text(&member->id, SLICE_NULL);
    free(member);
}

void sgroup_free(struct share_group_coord *coord, struct sgroup *group)
{
    MAP_EACH (entry, &group->members)
        member_free(coord, entry->value);
    MAP_EACH (entry, &group->starts)
        free(entry->value);
    ASSERT(list_empty(&group->waiting));
    map_free(&group->members);
    map_free(&group->starts);
    sstates_clear(&group->states);
    heap_remove(&coord->timers, &group->assign.node);
    heap_remove(&coord->timers, &group->ask_again.node);
    map_remove(&coord->groups, group->id);
    coord->bytes -= sgroup_bytes(group->id);
    set_text(&group->id, SLICE_NULL);
    free(group);
}

void sgroup_drop_if_hollow(struct share_group_coord *coord,
                           struct sgroup *group)
{
    if (!group->exists && !group->has_target_record &&
        !group->has_states_record && map_count(&group->members) == 0 &&
        list_empty(&group->waiting))
        sgroup_free(coord, group);
}

struct smember *sgroup_member(const struct sgroup *group, struct slice id)
{
    struct smember *member = map_get(&group->members, id);

    return member != NULL && member->has_profile ? member : NULL;
}

/* ---- members -------------------------------------------------------------*/

struct smember *smember_get(struct sgroup *group, struct slice id)
{
    struct smember *member = map_get(&group->members, id);

    if (member != NULL)
        return member;
    member = xcalloc(1, sizeof *member);
    member->group = group;
    set_text(&member->id, id);
    member->session.kind = STIMER_SESSION;
    map_put(&group->members, id, member);
    return member;
}

void smember_drop_if_hollow(struct share_group_coord *coord,
                            struct smember *member)
{
    if (!member->has_profile && !member->has_target && !member->has_current)
        member_free(coord, member);
}

static size_t size_of(const struct sprofile *p)
{
    size_t bytes = p->rack_id.len + p->client_id.len + p->client_host.len;

    for (uint32_t i = 0; i < p->names_len; i++)
        bytes += sizeof(struct slice) + p->names[i].len;
    return bytes;
}

static struct slice put(uint8_t **at, struct slice text)
{
    struct slice copy = slice_of(*at, text.len);

    if (slice_is_null(text))
        return text;
    if (text.len != 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static void copy_profile(struct smember *member, const struct sprofile *from)
{
    struct sprofile *to = &member->profile;
    size_t names = from->names_len * sizeof(struct slice);
    uint8_t *block = xmalloc(size_of(from) + names + 1);
    uint8_t *at = block + names;

    *to = *from;
    to->names = (struct slice *)(void *)block;
    to->rack_id = put(&at, from->rack_id);
    to->client_id = put(&at, from->client_id);
    to->client_host = put(&at, from->client_host);
    for (uint32_t i = 0; i < from->names_len; i++)
        to->names[i] = put(&at, from->names[i]);
    member->profile_block = block;
}

void smember_set_profile(struct share_group_coord *coord,
                         struct smember *member, const struct sprofile *profile)
{
    void *old = member->profile_block;

    if (member->has_profile)
        member->group->size--;
    coord->bytes -= member->bytes;
    member->bytes = 0;
    member->profile_block = NULL;
    member->has_profile = profile != NULL;
    if (profile != NULL) {
        copy_profile(member, profile);
        member->group->size++;
        member->bytes = sizeof *member + member->id.len + size_of(profile);
        coord->bytes += member->bytes;
    } else {
        member->profile = (struct sprofile){0};
    }
    free(old);
}

/* ---- profiles ------------------------------------------------------------*/

static int compare_names(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

uint32_t snames_sort(struct slice *names, uint32_t len)
{
    uint32_t kept = 0;

    if (len == 0)
        return 0;
    qsort(names, len, sizeof *names, compare_names);
    for (uint32_t i = 0; i < len; i++)
        if (kept == 0 || !slice_eq(names[kept - 1], names[i]))
            names[kept++] = names[i];
    return kept;
}

bool sprofile_wants(const struct sprofile *profile, struct slice topic)
{
    return profile->names_len != 0 &&
           bsearch(&topic, profile->names, profile->names_len, sizeof topic,
                   compare_names) != NULL;
}

bool sprofile_same_names(const struct sprofile *a, const struct sprofile *b)
{
    if (a->names_len != b->names_len)
        return false;
    for (uint32_t i = 0; i < a->names_len; i++)
        if (!slice_eq(a->names[i], b->names[i]))
            return false;
    return true;
}

bool sprofile_same(const struct sprofile *a, const struct sprofile *b)
{
    return sprofile_same_names(a, b) &&
           slice_is_null(a->rack_id) == slice_is_null(b->rack_id) &&
           slice_eq(a->rack_id, b->rack_id) &&
           slice_eq(a->client_id, b->client_id) &&
           slice_eq(a->client_host, b->client_host);
}

/* ---- time ----------------------------------------------------------------*/

struct consumer_timeouts sgroup_timeouts(const struct share_group_coord *coord,
                                         struct slice group)
{
    struct consumer_timeouts t = {coord->config.session_timeout_ms,
                                  coord->config.heartbeat_interval_ms,
                                  coord->config.assignment_interval_ms};

    if (coord->world.timeouts != NULL)
        coord->world.timeouts(coord->world.arg, group, &t);
    return t;
}

void smember_heard(struct share_group_coord *coord, struct smember *member)
{
    heap_set(&coord->timers, &member->session.node,
             coord->time.now_ms +
                 sgroup_timeouts(coord, member->group->id).session_timeout_ms);
}
