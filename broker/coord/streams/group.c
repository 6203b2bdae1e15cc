/* Groups, members, and who has which task.
 *
 * Who has an active task is whose current assignment holds it, as assigned or
 * as to be given up.  While a log is loaded two members may seem to have one (a
 * record that took it from the first may be compacted away before a later one
 * of that member has been read); then the later record counts. */
#include "broker/coord/excerpt.h"
#include "broker/coord/streams/streams.h"

#include <stdlib.h>

void stgroup_set_text(struct slice *text, struct slice value)
{
    struct slice copy = SLICE_NULL;

    if (!slice_is_null(value))
        copy = slice_of(slice_dup(value), value.len);
    free((void *)(uintptr_t)text->data);
    *text = copy;
}

void stgroup_set_excerpt(struct slice *text, struct slice value,
                         size_t max_bytes)
{
    struct arena arena;

    arena_init(&arena, 0);
    stgroup_set_text(text, coord_excerpt(&arena, value, max_bytes));
    arena_free(&arena);
}

/* ---- groups --------------------------------------------------------------*/

struct stgroup *stgroup_find(const struct streams_coord *coord, struct slice id)
{
    struct stgroup *group = map_get(&coord->groups, id);

    return group != NULL && (group->exists || group->size != 0) ? group : NULL;
}

/* The map has its id, too. */
size_t stgroup_bytes(struct slice id)
{
    return sizeof(struct stgroup) + 2 * id.len;
}

struct stgroup *stgroup_get(struct streams_coord *coord, struct slice id)
{
    struct stgroup *group = map_get(&coord->groups, id);

    if (group != NULL)
        return group;
    group = xcalloc(1, sizeof *group);
    stgroup_set_text(&group->id, id);
    group->epoch = group->target_epoch = STREAMS_FIRST_EPOCH;
    group->valid_epoch = group->standbys = STREAMS_NONE;
    group->assign.kind = STIMER_ASSIGN;
    group->empty.kind = STIMER_EMPTY;
    map_put(&coord->groups, id, group);
    coord->bytes += stgroup_bytes(id);
    stgroup_watch_empty(coord, group);
    return group;
}

static void sub_free(struct ssub *sub)
{
    for (uint32_t p = 0; p < sub->cap; p++) {
        ASSERT(sub->of[p].active == NULL && sub->of[p].others_len == 0);
        free(sub->of[p].others);
    }
    free(sub->of);
    stgroup_set_text(&sub->name, SLICE_NULL);
    free(sub);
}

static void member_free(struct streams_coord *coord, struct stmember *member);

void stgroup_free(struct streams_coord *coord, struct stgroup *group)
{
    MAP_EACH (entry, &group->members)
        member_free(coord, entry->value);
    MAP_EACH (entry, &group->subs)
        sub_free(entry->value);
    stgroup_set_topology(coord, group, NULL);
    map_free(&group->members);
    map_free(&group->subs);
    heap_remove(&coord->timers, &group->assign.node);
    heap_remove(&coord->timers, &group->empty.node);
    map_remove(&coord->groups, group->id);
    coord->bytes -= stgroup_bytes(group->id);
    stgroup_set_text(&group->shutdown_by, SLICE_NULL);
    stgroup_set_text(&group->creation_why, SLICE_NULL);
    stgroup_set_text(&group->id, SLICE_NULL);
    free(group);
}

void stgroup_drop_if_hollow(struct streams_coord *coord, struct stgroup *group)
{
    if (!group->exists && !group->has_target_record &&
        group->topology == NULL && map_count(&group->members) == 0)
        stgroup_free(coord, group);
}

struct stmember *stgroup_member(const struct stgroup *group, struct slice id)
{
    struct stmember *member = map_get(&group->members, id);

    return member != NULL && member->has_profile ? member : NULL;
}

/* ---- the topology and its topics -----------------------------------------*/

static struct stopic *topic_get(struct streams_coord *coord, struct slice name)
{
    struct stopic *topic = map_get(&coord->topics, name);

    if (topic != NULL)
        return topic;
    topic = xcalloc(1, sizeof *topic);
    stgroup_set_text(&topic->name, name);
    list_init(&topic->groups);
    map_put(&coord->topics, name, topic);
    return topic;
}

static void want_topics(struct streams_coord *coord, struct stgroup *group)
{
    struct arena arena;

    arena_init(&arena, 0);
    struct slice *names =
        stopology_topics(&arena, group->topology->value, &group->wants_len);
    group->wants = xcalloc(group->wants_len + 1, sizeof *group->wants);
    for (uint32_t i = 0; i < group->wants_len; i++) {
        struct swant *want = &group->wants[i];

        want->group = group;
        want->topic = topic_get(coord, names[i]);
        list_push_back(&want->topic->groups, &want->link);
    }
    arena_free(&arena);
}

static void want_nothing(struct streams_coord *coord, struct stgroup *group)
{
    for (uint32_t i = 0; i < group->wants_len; i++) {
        struct stopic *topic = group->wants[i].topic;

        list_remove(&group->wants[i].link);
        if (!list_empty(&topic->groups))
            continue;
        map_remove(&coord->topics, topic->name);
        stgroup_set_text(&topic->name, SLICE_NULL);
        free(topic);
    }
    free(group->wants);
    group->wants = NULL;
    group->wants_len = 0;
}

void stgroup_set_config(struct stgroup *group, struct sconfig *config)
{
    if (group->config != config)
        sconfig_free(group->config);
    group->config = config;
    if (config == NULL || config->ready)
        stgroup_set_text(&group->creation_why, SLICE_NULL);
}

/* Bytes as on the wire, and the structs that point to them. */
static size_t topology_bytes(const struct stgroup *group)
{
    return group->topology == NULL
               ? 0
               : sizeof *group->topology + group->topology->bytes.len +
                     group->topology->arena.used_bytes +
                     group->wants_len * sizeof *group->wants;
}

void stgroup_set_topology(struct streams_coord *coord, struct stgroup *group,
                          stopology_value *value)
{
    coord->bytes -= group->topology_bytes;
    want_nothing(coord, group);
    stopology_free(group->topology);
    stgroup_set_config(group, NULL);
    group->topology = value != NULL ? stopology_new(value) : NULL;
    if (group->topology != NULL)
        want_topics(coord, group);
    group->topology_bytes = topology_bytes(group);
    coord->bytes += group->topology_bytes;
}

/* ---- who has what --------------------------------------------------------*/

const struct sholders *stgroup_holders(const struct stgroup *group,
                                       struct slice sub, int32_t partition)
{
    const struct ssub *found = map_get(&group->subs, sub);

    return found != NULL && (uint32_t)partition < found->cap
               ? &found->of[partition]
               : NULL;
}

static struct ssub *sub_get(struct stgroup *group, struct slice name)
{
    struct ssub *sub = map_get(&group->subs, name);

    if (sub != NULL)
        return sub;
    sub = xcalloc(1, sizeof *sub);
    stgroup_set_text(&sub->name, name);
    map_put(&group->subs, name, sub);
    return sub;
}

static void sub_reserve(struct ssub *sub, uint32_t cap)
{
    if (sub->cap >= cap)
        return;
    cap = cap > 2 * sub->cap ? cap : 2 * sub->cap;
    sub->of = xrealloc(sub->of, cap * sizeof *sub->of);
    for (uint32_t p = sub->cap; p < cap; p++)
        sub->of[p] = (struct sholders){0};
    sub->cap = cap;
}

static void hold(struct sholders *of, struct stmember *member,
                 enum task_kind kind)
{
    if (kind == TASK_ACTIVE) {
        of->active = member;
        return;
    }
    of->others =
        xrealloc(of->others, (of->others_len + 1) * sizeof(struct stmember *));
    of->others[of->others_len++] = member;
}

static void let_go(struct sholders *of, const struct stmember *member,
                   enum task_kind kind)
{
    if (kind == TASK_ACTIVE) {
        if (of->active == member) /* or a later record gave it to another */
            of->active = NULL;
        return;
    }
    for (uint32_t i = 0; i < of->others_len; i++)
        if (of->others[i] == member) {
            of->others[i] = of->others[--of->others_len];
            return;
        }
}

/* Each set is one subtopology after the other. */
static void hold_all(struct stmember *member, const struct tuple *tasks,
                     bool holds)
{
    for (int k = 0; k < TASK_KINDS; k++)
        for (uint32_t at = 0, run; at < tasks->of[k].len; at += run) {
            const struct task *first = &tasks->of[k].items[at];
            struct ssub *sub = sub_get(member->group, first->sub);

            run = tasks_run(tasks->of[k], at);
            sub_reserve(sub, (uint32_t)first[run - 1].partition + 1);
            for (uint32_t i = 0; i < run; i++)
                if (holds)
                    hold(&sub->of[first[i].partition], member,
                         (enum task_kind)k);
                else
                    let_go(&sub->of[first[i].partition], member,
                           (enum task_kind)k);
        }
}

/* A copy whose names are the group's. */
static struct tuple adopt(struct stgroup *group, const struct tuple *tasks)
{
    struct tuple copy = tuple_dup(tasks);

    for (int k = 0; k < TASK_KINDS; k++)
        for (uint32_t at = 0, run; at < copy.of[k].len; at += run) {
            run = tasks_run(copy.of[k], at);
            struct slice name = sub_get(group, copy.of[k].items[at].sub)->name;

            for (uint32_t i = at; i < at + run; i++)
                copy.of[k].items[i].sub = name;
        }
    return copy;
}

/* ---- members -------------------------------------------------------------*/

struct stmember *stmember_get(struct stgroup *group, struct slice id)
{
    struct stmember *member = map_get(&group->members, id);

    if (member != NULL)
        return member;
    member = xcalloc(1, sizeof *member);
    member->group = group;
    stgroup_set_text(&member->id, id);
    member->current = SCURRENT_NEW;
    member->session.kind = STIMER_SESSION;
    member->rebalance.kind = STIMER_REBALANCE;
    map_put(&group->members, id, member);
    return member;
}

static size_t text_bytes(const struct stprofile *p)
{
    size_t bytes = p->instance_id.len + p->rack_id.len + p->client_id.len +
                   p->client_host.len + p->process_id.len +
                   p->endpoint_host.len + p->tags_len * sizeof *p->tags;

    for (uint32_t i = 0; i < p->tags_len; i++)
        bytes += p->tags[i].key.len + p->tags[i].value.len;
    return bytes;
}

static void count_bytes(struct streams_coord *coord, struct stmember *member)
{
    coord->bytes -= member->bytes;
    member->bytes =
        sizeof *member + 2 * member->id.len + text_bytes(&member->profile) +
        sizeof(struct task) * (tuple_len(&member->target) +
                               2 * tuple_len(&member->current.assigned) +
                               2 * tuple_len(&member->current.revoking));
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

static void copy_profile(struct stmember *member, const struct stprofile *from)
{
    struct stprofile *to = &member->profile;
    void *block = xmalloc(text_bytes(from) + 1);
    uint8_t *at = (uint8_t *)block + from->tags_len * sizeof *to->tags;

    *to = *from;
    to->tags = block;
    for (uint32_t i = 0; i < from->tags_len; i++) {
        to->tags[i].key = pack(&at, from->tags[i].key);
        to->tags[i].value = pack(&at, from->tags[i].value);
    }
    to->instance_id = pack(&at, from->instance_id);
    to->rack_id = pack(&at, from->rack_id);
    to->client_id = pack(&at, from->client_id);
    to->client_host = pack(&at, from->client_host);
    to->process_id = pack(&at, from->process_id);
    to->endpoint_host = pack(&at, from->endpoint_host);
    free(member->profile_block);
    member->profile_block = block;
}

/* The endpoints' epoch says that it went. */
static void unlist(struct stmember *member)
{
    struct stgroup *group = member->group;

    if (!member->has_profile)
        return;
    if (--group->size == 0)
        stgroup_set_text(&group->shutdown_by, SLICE_NULL);
    group->endpoint_epoch += member->profile.has_endpoint;
    member->has_profile = false;
}

void stmember_set_profile(struct streams_coord *coord, struct stmember *member,
                          const struct stprofile *profile)
{
    struct stgroup *group = member->group;

    if (profile == NULL) {
        unlist(member);
        free(member->profile_block);
        member->profile_block = NULL;
        member->profile = (struct stprofile){0};
        count_bytes(coord, member);
        stgroup_watch_empty(coord, group);
        return;
    }
    if (!member->has_profile)
        group->size++;
    member->has_profile = true;
    copy_profile(member, profile);
    count_bytes(coord, member);
    stgroup_watch_empty(coord, group);
}

void stmember_set_target(struct streams_coord *coord, struct stmember *member,
                         const struct tuple *target)
{
    struct tuple copy = {0};

    if (target != NULL)
        copy = adopt(member->group, target);
    tuple_free(&member->target);
    member->target = copy;
    count_bytes(coord, member);
}

void stmember_set_current(struct streams_coord *coord, struct stmember *member,
                          const struct scurrent *current)
{
    struct scurrent copy = SCURRENT_NEW;

    if (current != NULL) {
        copy = *current;
        copy.assigned = adopt(member->group, &current->assigned);
        copy.revoking = adopt(member->group, &current->revoking);
    }
    if (member->profile.has_endpoint &&
        !tuple_eq(&copy.assigned, &member->current.assigned))
        member->group->endpoint_epoch++;
    hold_all(member, &member->current.assigned, false);
    hold_all(member, &member->current.revoking, false);
    tuple_free(&member->current.assigned);
    tuple_free(&member->current.revoking);
    member->current = copy;
    hold_all(member, &copy.assigned, true);
    hold_all(member, &copy.revoking, true);
    count_bytes(coord, member);
}

static void member_free(struct streams_coord *coord, struct stmember *member)
{
    stmember_set_current(coord, member, NULL);
    stmember_set_target(coord, member, NULL);
    stmember_set_profile(coord, member, NULL);
    heap_remove(&coord->timers, &member->session.node);
    heap_remove(&coord->timers, &member->rebalance.node);
    map_remove(&member->group->members, member->id);
    coord->bytes -= member->bytes;
    stgroup_set_text(&member->id, SLICE_NULL);
    free(member);
}

void stmember_drop_if_hollow(struct streams_coord *coord,
                             struct stmember *member)
{
    if (!member->has_profile && !member->has_target && !member->has_current)
        member_free(coord, member);
}

static bool text_same(struct slice a, struct slice b)
{
    return slice_is_null(a) == slice_is_null(b) && slice_eq(a, b);
}

bool stprofile_same(const struct stprofile *a, const struct stprofile *b)
{
    if (a->tags_len != b->tags_len)
        return false;
    for (uint32_t i = 0; i < a->tags_len; i++)
        if (!slice_eq(a->tags[i].key, b->tags[i].key) ||
            !slice_eq(a->tags[i].value, b->tags[i].value))
            return false;
    return text_same(a->instance_id, b->instance_id) &&
           text_same(a->rack_id, b->rack_id) &&
           slice_eq(a->client_id, b->client_id) &&
           slice_eq(a->client_host, b->client_host) &&
           slice_eq(a->process_id, b->process_id) &&
           a->rebalance_timeout_ms == b->rebalance_timeout_ms &&
           a->topology_epoch == b->topology_epoch &&
           a->has_endpoint == b->has_endpoint &&
           text_same(a->endpoint_host, b->endpoint_host) &&
           a->endpoint_port == b->endpoint_port;
}
