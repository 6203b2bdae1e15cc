/* Groups, members, and who owns which partition.
 *
 * The owner of a partition is whose current assignment holds it, as assigned or
 * as to be given up.  While a log is loaded two members may seem to have one (a
 * record that took it from the first may be compacted away before a later one
 * of that member has been read); then the later record counts. */
#include "broker/coord/consumer/consumer.h"

#include <stdlib.h>

/* Replaces an owned text. */
static void set_text(struct slice *text, struct slice value)
{
    free((void *)(uintptr_t)text->data);
    *text = SLICE_NULL;
    if (!slice_is_null(value))
        *text = slice_of(slice_dup(value), value.len);
}

/* ---- groups --------------------------------------------------------------*/

struct cgroup *cgroup_find(const struct consumer_coord *coord, struct slice id)
{
    struct cgroup *group = map_get(&coord->groups, id);

    return group != NULL && (group->exists || group->size != 0) ? group : NULL;
}

struct cgroup *cgroup_get(struct consumer_coord *coord, struct slice id)
{
    struct cgroup *group = map_get(&coord->groups, id);

    if (group != NULL)
        return group;
    group = xcalloc(1, sizeof *group);
    set_text(&group->id, id);
    group->assign.kind = CTIMER_ASSIGN;
    group->empty.kind = CTIMER_EMPTY;
    group->stale = true;
    map_put(&coord->groups, id, group);
    return group;
}

static void member_free(struct consumer_coord *coord, struct cmember *member);

void cgroup_free(struct consumer_coord *coord, struct cgroup *group)
{
    MAP_EACH (entry, &group->members)
        member_free(coord, entry->value);
    MAP_EACH (entry, &group->regexes) {
        struct cregex *regex = entry->value;

        csubscribe(coord, group, regex->topics, regex->topics_len, -1);
        free(regex->topics);
        free(regex);
    }
    ASSERT(map_count(&group->subscriptions) == 0);
    ASSERT(map_count(&group->owners) == 0);
    ASSERT(map_count(&group->by_instance) == 0);
    ASSERT(map_count(&group->protocols) == 0);
    map_free(&group->members);
    map_free(&group->by_instance);
    map_free(&group->protocols);
    map_free(&group->regexes);
    map_free(&group->subscriptions);
    map_free(&group->owners);
    heap_remove(&coord->timers, &group->assign.node);
    heap_remove(&coord->timers, &group->empty.node);
    map_remove(&coord->groups, group->id);
    set_text(&group->id, SLICE_NULL);
    free(group);
}

void cgroup_drop_if_hollow(struct consumer_coord *coord, struct cgroup *group)
{
    if (!group->exists && !group->has_target_record &&
        !group->has_partition_record && map_count(&group->members) == 0 &&
        map_count(&group->regexes) == 0)
        cgroup_free(coord, group);
}

struct cmember *cgroup_member(const struct cgroup *group, struct slice id)
{
    struct cmember *member = map_get(&group->members, id);

    return member != NULL && member->has_profile ? member : NULL;
}

struct cmember *cgroup_static(const struct cgroup *group,
                              struct slice instance_id)
{
    return map_get(&group->by_instance, instance_id);
}

/* ---- owners --------------------------------------------------------------*/

struct cmember *cgroup_owner(const struct cgroup *group, struct uuid topic,
                             int32_t partition)
{
    const struct cowners *owners = map_get(&group->owners, uuid_slice(&topic));

    return owners != NULL && (uint32_t)partition < owners->cap
               ? owners->of[partition]
               : NULL;
}

static struct cowners *owners_get(struct cgroup *group, struct uuid topic,
                                  uint32_t cap)
{
    struct cowners *owners = map_get(&group->owners, uuid_slice(&topic));

    if (owners == NULL) {
        owners = xcalloc(1, sizeof *owners);
        map_put(&group->owners, uuid_slice(&topic), owners);
    }
    if (owners->cap < cap) {
        cap = cap > 2 * owners->cap ? cap : 2 * owners->cap;
        owners->of = xrealloc(owners->of, cap * sizeof(struct cmember *));
        for (uint32_t i = owners->cap; i < cap; i++)
            owners->of[i] = NULL;
        owners->cap = cap;
    }
    return owners;
}

static void own(struct cmember *member, struct parts set)
{
    for (uint32_t at = 0, run; at < set.len; at += run) {
        run = parts_run(set, at);
        uint32_t cap = (uint32_t)set.items[at + run - 1].partition + 1;
        struct cowners *owners =
            owners_get(member->group, set.items[at].topic, cap);

        for (uint32_t i = at; i < at + run; i++) {
            struct cmember **of = &owners->of[set.items[i].partition];
            owners->count += *of == NULL;
            *of = member;
        }
    }
}

static void disown(struct cmember *member, struct parts set)
{
    struct cgroup *group = member->group;

    for (uint32_t at = 0, run; at < set.len; at += run) {
        struct uuid topic = set.items[at].topic;
        struct cowners *owners = map_get(&group->owners, uuid_slice(&topic));

        run = parts_run(set, at);
        for (uint32_t i = at; owners != NULL && i < at + run; i++) {
            if (cgroup_owner(group, topic, set.items[i].partition) != member)
                continue; /* a later record gave it to another */
            owners->of[set.items[i].partition] = NULL;
            owners->count--;
        }
        if (owners != NULL && owners->count == 0) {
            map_remove(&group->owners, uuid_slice(&topic));
            free(owners->of);
            free(owners);
        }
    }
}

/* ---- members -------------------------------------------------------------*/

struct cmember *cmember_get(struct cgroup *group, struct slice id)
{
    struct cmember *member = map_get(&group->members, id);

    if (member != NULL)
        return member;
    member = xcalloc(1, sizeof *member);
    member->group = group;
    set_text(&member->id, id);
    member->session.kind = CTIMER_SESSION;
    member->rebalance.kind = CTIMER_REBALANCE;
    member->join.kind = CTIMER_JOIN;
    member->sync.kind = CTIMER_SYNC;
    map_put(&group->members, id, member);
    return member;
}

static size_t text_bytes(const struct cprofile *p)
{
    size_t bytes = p->instance_id.len + p->rack_id.len + p->client_id.len +
                   p->client_host.len + p->regex.len + p->assignor.len;

    for (uint32_t i = 0; i < p->names_len; i++)
        bytes += sizeof *p->names + p->names[i].len;
    for (uint32_t i = 0; i < p->protocols_len; i++)
        bytes += sizeof *p->protocols + p->protocols[i].name.len +
                 p->protocols[i].metadata.len;
    return bytes;
}

static void count_bytes(struct consumer_coord *coord, struct cmember *member)
{
    coord->bytes -= member->bytes;
    member->bytes = sizeof *member + 2 * member->id.len +
                    text_bytes(&member->profile) +
                    sizeof(struct part) *
                        (member->target.len + member->current.assigned.len +
                         member->current.revoking.len);
    coord->bytes += member->bytes;
}

/* Copies a text behind the others. */
static struct slice pack(uint8_t **at, struct slice text)
{
    struct slice copy = {*at, text.len};

    if (slice_is_null(text))
        return SLICE_NULL;
    if (text.len != 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static void copy_profile(struct cmember *member, const struct cprofile *from)
{
    struct cprofile *to = &member->profile;
    void *block = xmalloc(text_bytes(from) + 1);
    cprotocol *protocols =
        (cprotocol *)((struct slice *)block + from->names_len);
    uint8_t *at = (uint8_t *)(protocols + from->protocols_len);

    *to = *from;
    to->names = block;
    to->protocols = protocols;
    for (uint32_t i = 0; i < from->protocols_len; i++) {
        to->protocols[i].name = pack(&at, from->protocols[i].name);
        to->protocols[i].metadata = pack(&at, from->protocols[i].metadata);
    }
    for (uint32_t i = 0; i < from->names_len; i++)
        to->names[i] = pack(&at, from->names[i]);
    to->instance_id = pack(&at, from->instance_id);
    to->rack_id = pack(&at, from->rack_id);
    to->client_id = pack(&at, from->client_id);
    to->client_host = pack(&at, from->client_host);
    to->regex = pack(&at, from->regex);
    to->assignor = pack(&at, from->assignor);
    free(member->profile_block);
    member->profile_block = block;
}

/* A name that is given twice counts once. */
static bool named_before(const struct cprofile *p, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (slice_eq(p->protocols[i].name, p->protocols[index].name))
            return true;
    return false;
}

/* One member more or less uses the classic protocol. */
static void count_classic(struct cgroup *group, const struct cprofile *p,
                          int delta)
{
    if (!p->classic)
        return;
    group->classics = (uint32_t)((int64_t)group->classics + delta);
    for (uint32_t i = 0; i < p->protocols_len; i++) {
        struct slice name = p->protocols[i].name;
        intptr_t count;

        if (named_before(p, i))
            continue;
        count = (intptr_t)map_get(&group->protocols, name) + delta;
        if (count != 0)
            map_put(&group->protocols, name, (void *)count);
        else
            map_remove(&group->protocols, name);
    }
}

/* The group forgets what the profile says. */
static void unlist(struct consumer_coord *coord, struct cmember *member)
{
    struct cgroup *group = member->group;
    const struct cprofile *p = &member->profile;

    if (!member->has_profile)
        return;
    group->size--;
    if (!slice_is_null(p->instance_id) &&
        cgroup_static(group, p->instance_id) == member)
        map_remove(&group->by_instance, p->instance_id);
    csubscribe(coord, group, p->names, p->names_len, -1);
    if (cprofile_has_regex(p))
        cregex_count(group, p->regex, -1);
    count_classic(group, p, -1);
    member->has_profile = false;
}

void cmember_set_profile(struct consumer_coord *coord, struct cmember *member,
                         const struct cprofile *profile)
{
    struct cgroup *group = member->group;

    unlist(coord, member);
    if (profile == NULL) {
        free(member->profile_block);
        member->profile_block = NULL;
        member->profile = (struct cprofile){0};
        count_bytes(coord, member);
        cgroup_watch_empty(coord, group);
        return;
    }
    copy_profile(member, profile);
    profile = &member->profile;
    member->has_profile = true;
    group->size++;
    if (!slice_is_null(profile->instance_id))
        map_put(&group->by_instance, profile->instance_id, member);
    csubscribe(coord, group, profile->names, profile->names_len, 1);
    if (cprofile_has_regex(profile))
        cregex_count(group, profile->regex, 1);
    count_classic(group, profile, 1);
    cgroup_watch_empty(coord, group);
    count_bytes(coord, member);
}

void cmember_set_target(struct consumer_coord *coord, struct cmember *member,
                        struct parts target)
{
    struct parts copy = parts_dup(target);

    parts_free(&member->target);
    member->target = copy;
    count_bytes(coord, member);
}

void cmember_set_current(struct consumer_coord *coord, struct cmember *member,
                         const struct ccurrent *current)
{
    struct ccurrent copy = *current;

    copy.assigned = parts_dup(current->assigned);
    copy.revoking = parts_dup(current->revoking);
    disown(member, member->current.assigned);
    disown(member, member->current.revoking);
    parts_free(&member->current.assigned);
    parts_free(&member->current.revoking);
    member->current = copy;
    own(member, copy.assigned);
    own(member, copy.revoking);
    count_bytes(coord, member);
}

static void member_free(struct consumer_coord *coord, struct cmember *member)
{
    const struct ccurrent nothing = {0};

    cmember_set_current(coord, member, &nothing);
    cmember_set_target(coord, member, PARTS_EMPTY);
    cmember_set_profile(coord, member, NULL);
    heap_remove(&coord->timers, &member->session.node);
    heap_remove(&coord->timers, &member->rebalance.node);
    heap_remove(&coord->timers, &member->join.node);
    heap_remove(&coord->timers, &member->sync.node);
    map_remove(&member->group->members, member->id);
    coord->bytes -= member->bytes;
    set_text(&member->id, SLICE_NULL);
    free(member);
}

void cmember_drop_if_hollow(struct consumer_coord *coord,
                            struct cmember *member)
{
    if (!member->has_profile && !member->has_target && !member->has_current)
        member_free(coord, member);
}
