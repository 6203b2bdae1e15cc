/* From subscriptions to a target: who shall have what.
 *
 * A plan is the group as it will be when the records that are being decided are
 * in the log.  Members with the same subscription share one list of topics, so
 * a thousand equal members cost one look at their topics each, not one at every
 * topic. */
#include "broker/coord/consumer/consumer.h"

#include <stdlib.h>

/* ---- who is there --------------------------------------------------------*/

static void add_member(struct cplan *plan, struct slice id,
                       const struct cprofile *profile, struct parts target,
                       const struct cmember *present)
{
    uint32_t i = plan->members_len++;

    plan->profiles[i] = profile;
    plan->present[i] = present;
    plan->members[i] = (struct assign_member){
        .id = id, .instance_id = profile->instance_id, .owned = target};
}

static void list_members(struct cplan *plan)
{
    uint32_t room = 1 + (plan->group != NULL ? plan->group->size : 0);

    plan->members = arena_array(plan->arena, room, sizeof *plan->members);
    plan->profiles =
        arena_array(plan->arena, room, sizeof(const struct cprofile *));
    plan->present =
        arena_array(plan->arena, room, sizeof(const struct cmember *));
    if (plan->profile != NULL)
        add_member(plan, plan->id, plan->profile, plan->target, NULL);
    if (plan->group == NULL)
        return;
    MAP_EACH (entry, &plan->group->members) {
        const struct cmember *member = entry->value;

        if (member->has_profile && !member->leaving && member != plan->replaced)
            add_member(plan, member->id, &member->profile, member->target,
                       member);
    }
}

/* ---- what they subscribe to ----------------------------------------------*/

/* One topic, once for the whole plan. */
struct found {
    bool exists;
    struct assign_topic topic;
    uint32_t index; /* among plan->topics */
};

struct topics {
    struct cplan *plan;
    const struct consumer_coord *coord;
    struct map by_name; /* -> struct found, in the arena */
    struct found **existing;
    uint32_t existing_len;
    uint32_t existing_cap;
    int64_t hash;
};

/* A sum, so that the order in which topics are met does not matter. */
static int64_t topic_hash(struct slice name, const struct consumer_topic *topic)
{
    struct buf bytes = BUF_INIT;

    buf_put_slice(&bytes, uuid_slice(&topic->id));
    buf_put_u32(&bytes, (uint32_t)topic->partitions);
    buf_put_slice(&bytes, name);
    uint64_t hash = hash_bytes(bytes.data, bytes.len);
    buf_free(&bytes);
    return (int64_t)hash;
}

static void note_existing(struct topics *topics, struct found *found)
{
    if (topics->existing_len == topics->existing_cap) {
        topics->existing_cap = topics->existing_cap * 2 + 16;
        topics->existing = xrealloc(
            topics->existing, topics->existing_cap * sizeof(struct found *));
    }
    topics->existing[topics->existing_len++] = found;
}

static struct found *find_topic(struct topics *topics, struct slice name)
{
    const struct consumer_world *world = &topics->coord->world;
    struct found *found = map_get(&topics->by_name, name);
    struct consumer_topic topic;

    if (found != NULL)
        return found;
    found = arena_alloc(topics->plan->arena, sizeof *found);
    map_put(&topics->by_name, name, found);
    if (!world->topic_by_name(world->arg, name, &topic))
        return found;
    ASSERT(topic.partitions >= 0 && topic.partitions <= CONSUMER_PARTITION_MAX);
    found->exists = true;
    found->topic = (struct assign_topic){topic.id, topic.partitions};
    note_existing(topics, found);
    topics->hash =
        (int64_t)((uint64_t)topics->hash + (uint64_t)topic_hash(name, &topic));
    return found;
}

/* What a regex is known to match. */
static void regex_topics(const struct cplan *plan, struct slice pattern,
                         const struct slice **names, uint32_t *len)
{
    const struct cregex *known =
        plan->group != NULL ? map_get(&plan->group->regexes, pattern) : NULL;

    *names = known != NULL ? known->topics : NULL;
    *len = known != NULL ? known->topics_len : 0;
    for (uint32_t i = 0; plan->lookup != NULL && i < plan->lookup->items_len;
         i++)
        if (slice_eq(plan->lookup->items[i].pattern, pattern)) {
            *names = plan->lookup->items[i].topics;
            *len = plan->lookup->items[i].topics_len;
        }
}

/* A member's existing topics, before they have indexes. */
struct wanted {
    struct found **found;
    uint32_t len;
};

static void want(struct topics *topics, struct wanted *wanted,
                 const struct slice *names, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        struct found *found = find_topic(topics, names[i]);

        if (found->exists)
            wanted->found[wanted->len++] = found;
    }
}

static struct wanted wanted_of(struct topics *topics,
                               const struct cprofile *profile)
{
    const struct slice *matched = NULL;
    uint32_t matched_len = 0;
    struct wanted wanted = {0};

    if (cprofile_has_regex(profile))
        regex_topics(topics->plan, profile->regex, &matched, &matched_len);
    wanted.found =
        arena_array(topics->plan->arena, profile->names_len + matched_len,
                    sizeof(struct found *));
    want(topics, &wanted, profile->names, profile->names_len);
    want(topics, &wanted, matched, matched_len);
    return wanted;
}

/* ---- indexes -------------------------------------------------------------*/

static int compare_found(const void *a, const void *b)
{
    const struct found *x = *(struct found *const *)a;
    const struct found *y = *(struct found *const *)b;

    return memcmp(x->topic.id.bytes, y->topic.id.bytes,
                  sizeof x->topic.id.bytes);
}

static void index_topics(struct topics *topics)
{
    struct cplan *plan = topics->plan;

    plan->topics_len = topics->existing_len;
    plan->topics =
        arena_array(plan->arena, plan->topics_len, sizeof *plan->topics);
    if (topics->existing_len != 0)
        qsort(topics->existing, topics->existing_len, sizeof(struct found *),
              compare_found);
    for (uint32_t i = 0; i < topics->existing_len; i++) {
        plan->topics[i] = topics->existing[i]->topic;
        topics->existing[i]->index = i;
    }
}

static int compare_indexes(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void set_topics(const struct cplan *plan, struct assign_member *member,
                       struct wanted wanted)
{
    uint32_t *indexes = arena_array(plan->arena, wanted.len, sizeof *indexes);
    uint32_t len = 0;

    for (uint32_t i = 0; i < wanted.len; i++)
        indexes[i] = wanted.found[i]->index;
    if (wanted.len != 0)
        qsort(indexes, wanted.len, sizeof *indexes, compare_indexes);
    for (uint32_t i = 0; i < wanted.len; i++)
        if (len == 0 || indexes[len - 1] != indexes[i])
            indexes[len++] = indexes[i]; /* named, and matched by a regex */
    member->topics = indexes;
    member->topics_len = len;
}

static bool same_subscription(const struct cprofile *a,
                              const struct cprofile *b)
{
    return cprofile_same_names(a, b) && slice_eq(a->regex, b->regex);
}

int64_t cplan_topics(struct cplan *plan, const struct consumer_coord *coord)
{
    struct topics topics = {.plan = plan, .coord = coord};
    struct wanted *wanted;

    list_members(plan);
    wanted = arena_array(plan->arena, plan->members_len, sizeof *wanted);
    for (uint32_t m = 0; m < plan->members_len; m++)
        if (m > 0 &&
            same_subscription(plan->profiles[m - 1], plan->profiles[m]))
            wanted[m] = wanted[m - 1];
        else
            wanted[m] = wanted_of(&topics, plan->profiles[m]);
    index_topics(&topics);
    for (uint32_t m = 0; m < plan->members_len; m++) {
        struct assign_member *member = &plan->members[m];

        if (m > 0 && wanted[m].found == wanted[m - 1].found) {
            member->topics = plan->members[m - 1].topics;
            member->topics_len = plan->members[m - 1].topics_len;
        } else {
            set_topics(plan, member, wanted[m]);
        }
    }
    map_free(&topics.by_name);
    free(topics.existing);
    return topics.hash;
}

/* ---- the target ----------------------------------------------------------*/

static int32_t assignor_index(const struct consumer_config *config,
                              struct slice name)
{
    for (uint32_t i = 0; i < config->group_consumer_assignors_len; i++)
        if (slice_eq(name, config->group_consumer_assignors[i]))
            return (int32_t)i;
    return -1; /* the configuration was another when it was chosen */
}

/* Most votes; among equals the first that is configured. */
struct slice cplan_assignor(const struct consumer_coord *coord,
                            const struct cplan *plan)
{
    const struct consumer_config *config = &coord->config;
    uint32_t votes[2] = {0};
    uint32_t best = 0;

    for (uint32_t m = 0; m < plan->members_len; m++) {
        int32_t i = assignor_index(config, plan->profiles[m]->assignor);
        if (i >= 0)
            votes[i]++;
    }
    for (uint32_t i = 1; i < config->group_consumer_assignors_len; i++)
        if (votes[i] > votes[best])
            best = i;
    return config->group_consumer_assignors[best];
}

struct parts cplan_assign(struct cplan *plan, struct cstep *step,
                          struct consumer_write *write, struct slice group_id,
                          int32_t epoch)
{
    struct coord_records *records = &write->pending.records;
    struct assign_input input = {plan->topics, plan->topics_len, plan->members,
                                 plan->members_len};
    struct parts *out =
        arena_array(plan->arena, plan->members_len, sizeof *out);
    struct parts own = PARTS_EMPTY;

    assign_find(cplan_assignor(step->coord, plan))(&input, plan->arena, out);
    for (uint32_t m = 0; m < plan->members_len; m++) {
        if (plan->present[m] == NULL)
            own = out[m];
        if (!parts_eq(out[m], plan->members[m].owned))
            cwrite_target(records, group_id, plan->members[m].id, out[m]);
    }
    cwrite_target_epoch(records, group_id, epoch, step->time.wall_ms);
    return own;
}

/* ---- at intervals --------------------------------------------------------*/

bool cgroup_may_assign(const struct cstep *step, const struct cgroup *group,
                       int64_t *left_ms)
{
    *left_ms = 0;
    if (group == NULL || group->size == 0 || group->target_epoch == 0)
        return true;
    int64_t interval =
        cgroup_timeouts(step->coord, group->id).assignment_interval_ms;
    int64_t age = step->time.wall_ms - group->target_wall_ms;
    if (age < 0 || age >= interval) /* a clock that was set back */
        return true;
    *left_ms = interval - age;
    return false;
}

void cgroup_assign_later(struct cstep *step, struct cgroup *group,
                         int64_t left_ms)
{
    heap_set(&step->coord->timers, &group->assign.node,
             step->time.now_ms + left_ms);
}

void cgroup_assign(struct cstep *step, struct cgroup *group)
{
    struct cplan plan = {.group = group};
    struct arena arena;

    if (group->epoch <= group->target_epoch || group->size == 0)
        return;
    arena_init(&arena, 0);
    plan.arena = &arena;
    struct consumer_write *write = cwrite_new(NULL);
    cplan_topics(&plan, step->coord);
    cplan_assign(&plan, step, write, group->id, group->epoch);
    arena_free(&arena);
    cwrite_send(step, write);
}
