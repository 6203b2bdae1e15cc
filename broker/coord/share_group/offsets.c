/* Where a share group begins: DescribeShareGroupOffsets,
 * AlterShareGroupOffsets, DeleteShareGroupOffsets; and DeleteGroups, which
 * deletes all of it first.
 *
 * Only a group without members is changed.  One that is not there has no
 * offsets, and is made when they are set: so it is prepared for its members.
 * What changes is written down as to be initialized or deleted, and the answer
 * waits until share coordinators have done it. */
#include "broker/coord/share_group/sgroup.h"

#include <stdlib.h>

/* ---- answers that wait ---------------------------------------------------*/

static void delete_group(struct sstep *step, struct sgroup *group,
                         struct coord_answer *answer)
{
    struct swrite *write = swrite_new(answer);

    /* Who joined meanwhile may have left states behind. */
    if (group->size != 0 || !sstates_are_none(&group->states))
        sanswer_fail(answer, ERR_NON_EMPTY_GROUP, NULL);
    else
        swrite_group_gone(&write->pending.records, group);
    swrite_send(step, write);
}

static void forget_starts(struct sgroup *group)
{
    MAP_EACH (entry, &group->starts)
        free(entry->value);
    map_free(&group->starts);
    group->starts = (struct map){0};
}

void sgroup_end_waiting(struct sstep *step, struct sgroup *group, enum err err)
{
    struct list waiting;

    list_init(&waiting);
    list_append_all(&waiting, &group->waiting);
    forget_starts(group);
    for (struct list *node; (node = list_pop_front(&waiting)) != NULL;) {
        struct coord_answer *answer =
            LIST_ENTRY(node, struct coord_answer, link);

        if (err != ERR_NONE)
            sanswer_fail(answer, err, NULL);
        if (err == ERR_NONE && answer->api == API_DELETE_GROUPS)
            delete_group(step, group, answer);
        else
            sanswer_send(step, answer);
    }
}

/* The states of an empty group that nobody is at. */
static enum err check_alterable(const struct sgroup *group)
{
    if (group == NULL)
        return ERR_GROUP_ID_NOT_FOUND;
    if (group->size != 0)
        return ERR_NON_EMPTY_GROUP;
    return group->asking || !list_empty(&group->waiting)
               ? ERR_COORDINATOR_NOT_AVAILABLE
               : ERR_NONE;
}

/* Writes the states as they are to be; the answer waits. */
static void change(struct sstep *step, struct sgroup *group,
                   const struct sstates *next, struct coord_answer *answer)
{
    struct swrite *write = swrite_new(NULL);

    write->group = slice_of(slice_dup(group->id), group->id.len);
    swrite_group(&write->pending.records, group->id, group->epoch + 1,
                 group->hash);
    swrite_states(&write->pending.records, step->coord, group->id, next);
    list_push_back(&group->waiting, &answer->link);
    swrite_send(step, write);
}

static bool topic_of(const struct share_group_coord *coord, struct slice name,
                     struct consumer_topic *topic)
{
    return coord->world.topic_by_name(coord->world.arg, name, topic);
}

static void refuse(struct sstep *step, struct coord_answer *answer,
                   enum err err)
{
    sanswer_fail(answer, err, NULL);
    swrite_send(step, swrite_new(answer));
}

/* ---- DescribeShareGroupOffsets -------------------------------------------*/

typedef struct describe_share_group_offsets_response_group described_group;
typedef struct describe_share_group_offsets_response_topic described_topic;
typedef struct describe_share_group_offsets_response_partition
    described_partition;
typedef struct describe_share_group_offsets_request_group asked_group;

/* What is asked, as topics with partitions. */
static void name_asked(const struct share_group_coord *coord,
                       const asked_group *from, struct arena *arena,
                       described_group *to)
{
    to->topics_len = from->topics_len;
    to->topics =
        arena_array(arena, (size_t)from->topics_len, sizeof *to->topics);
    for (int32_t t = 0; t < from->topics_len; t++) {
        described_topic *topic = &to->topics[t];
        struct consumer_topic known;
        bool found = topic_of(coord, from->topics[t].topic_name, &known);
        int32_t len = from->topics[t].partitions_len;

        topic->topic_name = arena_copy(arena, from->topics[t].topic_name);
        topic->topic_id = found ? known.id : UUID_ZERO;
        topic->partitions_len = len;
        topic->partitions =
            arena_array(arena, (size_t)len, sizeof *topic->partitions);
        for (int32_t p = 0; p < len; p++) {
            described_partition *out = &topic->partitions[p];
            int32_t index = from->topics[t].partitions[p];

            *out = (described_partition){
                .partition_index = index, .start_offset = -1, .lag = -1};
            if (!found || index < 0 || index >= known.partitions) {
                out->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
                out->error_message =
                    slice_str(err_text(ERR_UNKNOWN_TOPIC_OR_PARTITION));
            }
        }
    }
}

/* All that the group has. */
static void name_all(const struct share_group_coord *coord, struct parts set,
                     struct arena *arena, described_group *to)
{
    const struct consumer_world *world = &coord->world;

    to->topics = arena_array(arena, parts_topics(set), sizeof *to->topics);
    for (uint32_t at = 0, run; at < set.len; at += run) {
        struct slice name = world->topic_name(world->arg, set.items[at].topic);

        run = parts_run(set, at);
        if (slice_is_null(name))
            continue;
        described_topic *topic = &to->topics[to->topics_len++];
        topic->topic_name = arena_copy(arena, name);
        topic->topic_id = set.items[at].topic;
        topic->partitions_len = (int32_t)run;
        topic->partitions = arena_array(arena, run, sizeof *topic->partitions);
        for (uint32_t i = 0; i < run; i++)
            topic->partitions[i] = (described_partition){
                .partition_index = set.items[at + i].partition,
                .start_offset = -1,
                .lag = -1};
    }
}

#define EACH_DESCRIBED(group, topic, partition)                                \
    for (described_topic *topic = (group)->topics;                             \
         topic < (group)->topics + (group)->topics_len; topic++)               \
        for (described_partition *partition = topic->partitions;               \
             partition < topic->partitions + topic->partitions_len;            \
             partition++)

static bool to_be_asked(const struct sgroup *group,
                        const described_topic *topic,
                        const described_partition *partition)
{
    return partition->error_code == ERR_NONE &&
           parts_find(group->states.initialized, topic->topic_id,
                      partition->partition_index) != NULL;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static void ask_summary(struct sstep *step, const struct sgroup *group,
                        struct coord_answer *answer, described_group *named)
{
    struct share_group_ask *ask = xcalloc(1, sizeof *ask);
    size_t most = 0;

    EACH_DESCRIBED(named, topic, partition)
    most++;
    most = smaller(most, group->states.initialized.len);
    list_init(&ask->link);
    arena_init(&ask->arena, 0);
    ask->api = API_READ_SHARE_GROUP_STATE_SUMMARY;
    ask->group = arena_copy(&ask->arena, group->id);
    ask->items = arena_array(&ask->arena, most, sizeof *ask->items);
    EACH_DESCRIBED(named, topic, partition)
    if (to_be_asked(group, topic, partition) && ask->items_len == most) {
        /* Some are named again. */
        partition->error_code = ERR_INVALID_REQUEST;
        partition->error_message = slice_str(err_text(ERR_INVALID_REQUEST));
    } else if (to_be_asked(group, topic, partition)) {
        ask->items[ask->items_len++] = (struct share_group_item){
            .topic = topic->topic_id, .partition = partition->partition_index};
    }
    ask->answer = answer;
    step->coord->describing += ask->items_len;
    list_push_back(&step->update->asks, &ask->link);
}

/* More than are asked for at once, unless nothing else is. */
static bool is_too_many(const struct share_group_coord *coord,
                        const struct sgroup *group, const asked_group *from)
{
    size_t has = group->states.initialized.len, named = 0;

    for (int32_t t = 0; t < from->topics_len; t++)
        named += (size_t)from->topics[t].partitions_len;
    return coord->describing != 0 &&
           coord->describing +
                   (from->topics_len < 0 ? has : smaller(has, named)) >
               coord->config.describing_max;
}

static void
describe_offsets(struct sstep *step, const struct coord_context *context,
                 const struct describe_share_group_offsets_request *request)
{
    const asked_group *from = &request->groups[0];
    struct coord_answer *answer = share_group_refuse(
        context, API_DESCRIBE_SHARE_GROUP_OFFSETS, request, ERR_NONE);
    described_group *to =
        &answer->response.describe_share_group_offsets.groups[0];
    const struct sgroup *group = sgroup_find(step->coord, from->group_id);

    if (group != NULL && is_too_many(step->coord, group, from)) {
        refuse(step, answer, ERR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    to->error_message = SLICE_NULL;
    if (from->topics_len >= 0)
        name_asked(step->coord, from, &answer->arena, to);
    else if (group != NULL)
        name_all(step->coord, group->states.initialized, &answer->arena, to);
    if (group != NULL)
        ask_summary(step, group, answer, to);
    else
        swrite_send(step, swrite_new(answer));
}

static void take_summary(const struct share_group_item *item,
                         described_partition *to)
{
    to->error_code = err_wire(item->err);
    if (item->err != ERR_NONE) {
        to->error_message = slice_str(err_text(item->err));
        return;
    }
    to->start_offset = item->start_offset;
    to->leader_epoch = item->leader_epoch;
    to->lag = item->complete;
}

void soffsets_described(struct sstep *step, struct share_group_ask *ask)
{
    struct coord_answer *answer = ask->answer;
    described_group *to =
        &answer->response.describe_share_group_offsets.groups[0];
    uint32_t at = 0;

    step->coord->describing -= ask->items_len;
    EACH_DESCRIBED(to, topic, partition)
    if (at < ask->items_len && uuid_eq(ask->items[at].topic, topic->topic_id) &&
        ask->items[at].partition == partition->partition_index &&
        partition->error_code == ERR_NONE)
        take_summary(&ask->items[at++], partition);
    ask->answer = NULL;
    sanswer_send(step, answer);
}

/* ---- AlterShareGroupOffsets ----------------------------------------------*/

typedef struct alter_share_group_offsets_response_topic altered_topic;
typedef struct alter_share_group_offsets_response_partition altered_partition;
typedef struct alter_share_group_offsets_request_topic alter_topic;

static void set_start(struct sgroup *group, struct uuid topic,
                      int32_t partition, int64_t start)
{
    uint8_t key[20];
    int64_t *copy = xmalloc(sizeof *copy);

    *copy = start;
    memcpy(key, topic.bytes, 16);
    be32_put(key + 16, (uint32_t)partition);
    free(map_put(&group->starts, slice_of(key, sizeof key), copy));
}

static enum err check_start(const struct sgroup *group, bool found,
                            const struct consumer_topic *topic,
                            int32_t partition, int64_t start)
{
    if (!found || partition < 0 || partition >= topic->partitions)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (sstates_is_deleting(&group->states, topic->id))
        return ERR_COORDINATOR_NOT_AVAILABLE;
    return start < 0 ? ERR_INVALID_REQUEST : ERR_NONE;
}

/* Those of one topic that can be set, in items[]. */
static void take_starts(struct sstep *step, struct sgroup *group,
                        const alter_topic *from, struct arena *arena,
                        altered_topic *to, struct part *items, uint32_t *len)
{
    struct consumer_topic topic = {0};
    bool found = topic_of(step->coord, from->topic_name, &topic);

    to->topic_name = arena_copy(arena, from->topic_name);
    to->topic_id = topic.id;
    to->partitions_len = from->partitions_len;
    to->partitions = arena_array(arena, (size_t)from->partitions_len,
                                 sizeof *to->partitions);
    for (int32_t p = 0; p < from->partitions_len; p++) {
        altered_partition *out = &to->partitions[p];
        int32_t index = from->partitions[p].partition_index;
        int64_t start = from->partitions[p].start_offset;
        enum err err = check_start(group, found, &topic, index, start);

        *out = (altered_partition){.partition_index = index,
                                   .error_code = err_wire(err)};
        if (err != ERR_NONE) {
            out->error_message = arena_copy(arena, slice_str(err_text(err)));
            continue;
        }
        set_start(group, topic.id, index, start);
        items[(*len)++] = (struct part){topic.id, index, 0};
    }
}

static void alter_group(struct sstep *step, struct sgroup *group,
                        const struct alter_share_group_offsets_request *request,
                        struct coord_answer *answer)
{
    struct alter_share_group_offsets_response *r =
        &answer->response.alter_share_group_offsets;
    uint32_t len = 0, room = 0;

    for (int32_t t = 0; t < request->topics_len; t++)
        room += (uint32_t)request->topics[t].partitions_len;
    struct part *items = arena_array(&answer->arena, room, sizeof *items);
    r->responses_len = request->topics_len;
    r->responses = arena_array(&answer->arena, (size_t)r->responses_len,
                               sizeof *r->responses);
    for (int32_t t = 0; t < r->responses_len; t++)
        take_starts(step, group, &request->topics[t], &answer->arena,
                    &r->responses[t], items, &len);
    if (len == 0) {
        swrite_send(step, swrite_new(answer));
        return;
    }
    struct sstates next = group->states;
    struct parts set = parts_of(items, len);
    /* What is initialized stays so: it may fail, or be forgotten. */
    next.initializing = parts_join(
        &answer->arena,
        parts_minus(&answer->arena, group->states.initializing, set), set);
    change(step, group, &next, answer);
}

static void
alter_offsets(struct sstep *step, const struct coord_context *context,
              const struct alter_share_group_offsets_request *request)
{
    struct coord_answer *answer =
        sanswer_new(context, API_ALTER_SHARE_GROUP_OFFSETS);
    bool is_new = sgroup_find(step->coord, request->group_id) == NULL;
    struct sgroup *group = sgroup_get(step->coord, request->group_id);
    enum err err = check_alterable(group);

    if (is_new && step->coord->bytes > step->coord->config.members_max_bytes)
        err = ERR_GROUP_MAX_SIZE_REACHED;
    if (err != ERR_NONE)
        refuse(step, answer, err);
    else
        alter_group(step, group, request, answer);
    sgroup_drop_if_hollow(step->coord, group); /* nothing was set */
}

/* ---- deletions -----------------------------------------------------------*/

static struct parts without_topics(struct parts set, struct parts topics,
                                   struct arena *arena)
{
    struct part *items = arena_array(arena, set.len, sizeof *items);
    uint32_t len = 0;

    for (uint32_t at = 0, run; at < set.len; at += run) {
        run = parts_run(set, at);
        if (parts_find(topics, set.items[at].topic, 0) != NULL)
            continue;
        memcpy(items + len, set.items + at, run * sizeof *items);
        len += run;
    }
    return (struct parts){items, len};
}

/* The states of topics, each as its partition 0, are to be deleted. */
static void delete_topics(struct sstates *next, struct parts topics,
                          struct arena *arena)
{
    struct uuid *deleting =
        arena_array(arena, next->deleting_len + topics.len, sizeof *deleting);
    uint32_t len = 0;

    for (uint32_t i = 0; i < next->deleting_len; i++)
        if (parts_find(topics, next->deleting[i], 0) == NULL)
            deleting[len++] = next->deleting[i];
    for (uint32_t i = 0; i < topics.len; i++)
        deleting[len++] = topics.items[i].topic;
    next->initialized = without_topics(next->initialized, topics, arena);
    next->initializing = without_topics(next->initializing, topics, arena);
    next->deleting = deleting;
    next->deleting_len = len;
}

/* Those that a group has states of. */
static struct parts topics_of(const struct sstates *states, struct arena *arena)
{
    struct parts sets[] = {states->initialized, states->initializing};
    uint32_t len = 0;
    struct part *items =
        arena_array(arena,
                    (size_t)parts_topics(sets[0]) + parts_topics(sets[1]) +
                        states->deleting_len,
                    sizeof *items);

    for (int s = 0; s < 2; s++)
        for (uint32_t at = 0; at < sets[s].len; at += parts_run(sets[s], at))
            items[len++] = (struct part){sets[s].items[at].topic, 0, 0};
    for (uint32_t i = 0; i < states->deleting_len; i++)
        items[len++] = (struct part){states->deleting[i], 0, 0};
    return parts_of(items, len);
}

static void
delete_offsets(struct sstep *step, const struct coord_context *context,
               const struct delete_share_group_offsets_request *request)
{
    struct coord_answer *answer =
        sanswer_new(context, API_DELETE_SHARE_GROUP_OFFSETS);
    struct delete_share_group_offsets_response *r =
        &answer->response.delete_share_group_offsets;
    struct sgroup *group = sgroup_find(step->coord, request->group_id);
    enum err err = check_alterable(group);
    uint32_t len = 0;

    if (err != ERR_NONE) {
        refuse(step, answer, err);
        return;
    }
    struct sstates next = group->states;
    struct parts known = topics_of(&next, &answer->arena);
    struct part *items =
        arena_array(&answer->arena, (size_t)request->topics_len, sizeof *items);
    r->responses_len = request->topics_len;
    r->responses = arena_array(&answer->arena, (size_t)r->responses_len,
                               sizeof *r->responses);
    for (int32_t t = 0; t < r->responses_len; t++) {
        struct consumer_topic topic = {0};
        struct slice name = request->topics[t].topic_name;
        bool found = topic_of(step->coord, name, &topic);

        r->responses[t].topic_name = arena_copy(&answer->arena, name);
        r->responses[t].topic_id = topic.id;
        if (!found || parts_find(known, topic.id, 0) == NULL) {
            r->responses[t].error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
            r->responses[t].error_message =
                found ? SLICE("There is no offset information to delete.")
                      : slice_str(err_text(ERR_UNKNOWN_TOPIC_OR_PARTITION));
            continue;
        }
        items[len++] = (struct part){topic.id, 0, 0};
    }
    if (len == 0) {
        swrite_send(step, swrite_new(answer));
        return;
    }
    delete_topics(&next, parts_of(items, len), &answer->arena);
    change(step, group, &next, answer);
}

/* Everything that share coordinators have, then the group. */
void sdelete_request(struct sstep *step, const struct coord_context *context,
                     const struct delete_groups_request *request)
{
    struct coord_answer *answer =
        share_group_refuse(context, API_DELETE_GROUPS, request, ERR_NONE);
    struct sgroup *group = sgroup_find(step->coord, request->groups_names[0]);
    enum err err = check_alterable(group);

    if (err != ERR_NONE) {
        refuse(step, answer, err);
        return;
    }
    if (sstates_are_none(&group->states)) {
        delete_group(step, group, answer);
        return;
    }
    struct sstates next = group->states;
    delete_topics(&next, topics_of(&next, &answer->arena), &answer->arena);
    change(step, group, &next, answer);
}

void soffsets_request(struct sstep *step, const struct coord_context *context,
                      enum api_key api, const void *request)
{
    switch (api) {
    case API_DESCRIBE_SHARE_GROUP_OFFSETS:
        describe_offsets(step, context, request);
        break;
    case API_ALTER_SHARE_GROUP_OFFSETS:
        alter_offsets(step, context, request);
        break;
    default:
        delete_offsets(step, context, request);
    }
}
