/* Who fetches from which partitions: those that are initialized, shared out by
 * the assignor "simple" (../share/assignor.h). */
#include "broker/coord/share_group/sgroup.h"

#include "broker/coord/share/assignor.h"

#include <stdlib.h>

/* ---- topics --------------------------------------------------------------*/

static int by_id(const void *a, const void *b)
{
    const struct consumer_topic *x = a, *y = b;

    return memcmp(x->id.bytes, y->id.bytes, sizeof x->id.bytes);
}

/* All names of all subscriptions, each once. */
static struct slice *all_names(const struct sgroup *group,
                               const struct smember *but,
                               const struct sprofile *profile,
                               struct arena *arena, uint32_t *len)
{
    size_t most = profile != NULL ? profile->names_len : 0;
    uint32_t n = 0;

    if (group != NULL)
        MAP_EACH (entry, &group->members)
            most += ((const struct smember *)entry->value)->profile.names_len;
    struct slice *names = arena_array(arena, most, sizeof *names);
    for (uint32_t i = 0; profile != NULL && i < profile->names_len; i++)
        names[n++] = profile->names[i];
    if (group != NULL)
        MAP_EACH (entry, &group->members) {
            const struct smember *m = entry->value;

            for (uint32_t i = 0; m != but && i < m->profile.names_len; i++)
                names[n++] = m->profile.names[i];
        }
    *len = snames_sort(names, n);
    return names;
}

struct stopics sgroup_topics(const struct share_group_coord *coord,
                             const struct sgroup *group,
                             const struct smember *member,
                             const struct sprofile *profile,
                             struct arena *arena)
{
    const struct consumer_world *world = &coord->world;
    struct stopics topics = {0};
    uint32_t len;
    struct slice *names = all_names(group, member, profile, arena, &len);

    topics.items = arena_array(arena, len, sizeof *topics.items);
    topics.names = arena_array(arena, len, sizeof *topics.names);
    for (uint32_t i = 0; i < len; i++)
        if (world->topic_by_name(world->arg, names[i],
                                 &topics.items[topics.len]))
            topics.len++;
    if (topics.len != 0)
        qsort(topics.items, topics.len, sizeof *topics.items, by_id);
    for (uint32_t i = 0; i < topics.len; i++)
        topics.names[i] = arena_copy(
            arena, world->topic_name(world->arg, topics.items[i].id));
    return topics;
}

/* FNV-1a over ids and sizes: whether topics have changed since. */
int64_t stopics_hash(const struct stopics *topics)
{
    uint64_t hash = 14695981039346656037u;

    for (uint32_t i = 0; i < topics->len; i++) {
        uint8_t bytes[20];

        memcpy(bytes, topics->items[i].id.bytes, 16);
        be32_put(bytes + 16, (uint32_t)topics->items[i].partitions);
        for (size_t k = 0; k < sizeof bytes; k++)
            hash = (hash ^ bytes[k]) * 1099511628211u;
    }
    return (int64_t)hash;
}

/* ---- the assignor's form -------------------------------------------------*/

/* A member as the plan has it. */
struct planned {
    struct slice id;
    const struct sprofile *profile;
    const struct smember *member; /* NULL: new */
};

static int by_member(const void *a, const void *b)
{
    return slice_cmp(((const struct planned *)a)->id,
                     ((const struct planned *)b)->id);
}

static struct planned *members_of(const struct splan *plan, struct arena *arena,
                                  uint32_t *len)
{
    size_t most =
        plan->group == NULL ? 1 : map_count(&plan->group->members) + 1;
    struct planned *all = arena_array(arena, most, sizeof *all);
    uint32_t n = 0;

    if (plan->profile != NULL)
        all[n++] = (struct planned){plan->id, plan->profile, plan->member};
    if (plan->group != NULL)
        MAP_EACH (entry, &plan->group->members) {
            const struct smember *m = entry->value;

            if (m->has_profile && m != plan->member)
                all[n++] = (struct planned){m->id, &m->profile, m};
        }
    if (n != 0)
        qsort(all, n, sizeof *all, by_member);
    *len = n;
    return all;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, ((const struct consumer_topic *)b)->id.bytes, 16);
}

/* UINT32_MAX: nobody subscribes to it. */
static uint32_t index_of(const struct stopics *topics, struct uuid topic)
{
    const struct consumer_topic *found =
        topics->len == 0 ? NULL
                         : bsearch(topic.bytes, topics->items, topics->len,
                                   sizeof *topics->items, compare_ids);

    return found == NULL ? UINT32_MAX : (uint32_t)(found - topics->items);
}

/* How many partitions of each, from the first on, can be fetched from. */
static int32_t *initialized(const struct sgroup *group,
                            const struct stopics *topics, struct arena *arena)
{
    int32_t *counts = arena_array(arena, topics->len, sizeof *counts);

    for (uint32_t i = 0; group != NULL && i < topics->len; i++)
        while (counts[i] < topics->items[i].partitions &&
               parts_find(group->states.initialized, topics->items[i].id,
                          counts[i]) != NULL)
            counts[i]++;
    return counts;
}

static void fill_member(const struct planned *from,
                        const struct stopics *topics, struct arena *arena,
                        struct share_assign_member *to)
{
    struct parts has =
        from->member != NULL ? from->member->target : PARTS_EMPTY;
    uint32_t *indices = arena_array(arena, topics->len, sizeof *indices);
    struct share_assigned *now = arena_array(arena, has.len, sizeof *now);

    for (uint32_t i = 0; i < topics->len; i++)
        if (sprofile_wants(from->profile, topics->names[i]))
            indices[to->topics_len++] = i;
    for (uint32_t i = 0; i < has.len; i++) {
        uint32_t topic = index_of(topics, has.items[i].topic);

        if (topic != UINT32_MAX)
            now[to->has_len++] =
                (struct share_assigned){topic, has.items[i].partition};
    }
    to->topics = indices;
    to->has = now;
}

static struct parts parts_got(const struct share_assign_member *m,
                              const struct stopics *topics, struct arena *arena)
{
    struct part *items = arena_array(arena, m->gets_len, sizeof *items);

    for (uint32_t i = 0; i < m->gets_len; i++)
        items[i] = (struct part){topics->items[m->gets[i].topic].id,
                                 m->gets[i].partition, 0};
    return parts_of(items, m->gets_len);
}

/* ---- the target ----------------------------------------------------------*/

struct parts sgroup_assign(struct sstep *step, const struct splan *plan,
                           struct coord_records *records, struct slice group_id,
                           int32_t epoch, struct arena *arena)
{
    struct stopics topics = sgroup_topics(step->coord, plan->group,
                                          plan->member, plan->profile, arena);
    struct parts mine = PARTS_EMPTY;
    uint32_t len;
    struct planned *planned = members_of(plan, arena, &len);
    struct share_assign_member *members =
        arena_array(arena, len, sizeof *members);

    for (uint32_t i = 0; i < len; i++)
        fill_member(&planned[i], &topics, arena, &members[i]);
    share_assign(members, len, initialized(plan->group, &topics, arena),
                 topics.len, arena);
    for (uint32_t i = 0; i < len; i++) {
        const struct smember *m = planned[i].member;
        struct parts target = parts_got(&members[i], &topics, arena);

        if (m == NULL || !m->has_target || !parts_eq(m->target, target))
            swrite_target(records, group_id, planned[i].id, target);
        if (slice_eq(planned[i].id, plan->id))
            mine = target;
    }
    swrite_target_epoch(records, group_id, epoch, step->time.wall_ms);
    return mine;
}

bool sgroup_may_assign(const struct sstep *step, const struct sgroup *group,
                       int64_t *left_ms)
{
    int64_t interval_ms = 0;

    if (group != NULL)
        interval_ms =
            sgroup_timeouts(step->coord, group->id).assignment_interval_ms;
    *left_ms = group == NULL
                   ? 0
                   : group->target_wall_ms + interval_ms - step->time.wall_ms;
    if (*left_ms > interval_ms) /* the clock was set back */
        *left_ms = interval_ms;
    return interval_ms == 0 || *left_ms <= 0;
}
