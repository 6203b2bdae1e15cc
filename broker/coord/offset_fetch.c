/* OffsetFetch: what a group has committed.
 *
 * Without require_stable a client sees committed offsets and is answered at
 * once; only where a commit was there when this coordinator began, and is not
 * known to be committed yet, the one before may have shown it, and an older
 * one would be a step back: then the client comes again, as while loading. With
 * it (KIP-447) it must not miss a commit that is under way: it sees the newest
 * offsets, waits until they are committed, and is told to come back where a
 * transaction is open. */
#include "broker/coord/group.h"

enum { FIRST_GROUP_ERROR = 2 };

struct fetch {
    const struct coord *coord;
    const struct group *group; /* NULL: unknown; nothing is committed */
    bool require_stable;
    struct arena *arena;
    bool doubtful; /* what was committed before this coordinator is unknown */
};

static void fill_partition(struct fetch *fetch, struct slice topic,
                           int32_t index,
                           struct offset_fetch_response_partitions *to)
{
    const struct offset_entry *entry =
        fetch->group != NULL ? offsets_find(fetch->group, topic, index) : NULL;
    const struct offset_value *value =
        fetch->require_stable ? offset_newest(entry)
                              : offset_committed(fetch->coord, entry);

    fetch->doubtful |=
        !fetch->require_stable && offset_is_doubtful(fetch->coord, entry);
    offset_fetch_response_partitions_init(to);
    to->partition_index = index;
    to->committed_offset = -1;
    to->metadata = SLICE("");
    if (fetch->require_stable && fetch->group != NULL &&
        offsets_pending_in_txn(fetch->group, topic, index)) {
        to->error_code = ERR_UNSTABLE_OFFSET_COMMIT;
    } else if (value != NULL) {
        to->committed_offset = value->offset;
        to->committed_leader_epoch = value->leader_epoch;
        to->metadata = arena_copy(
            fetch->arena, slice_of(value->metadata, value->metadata_len));
    }
}

static void fill_asked(struct fetch *fetch,
                       const struct offset_fetch_request_group *from,
                       struct offset_fetch_response_group *to)
{
    to->topics_len = from->topics_len;
    to->topics =
        arena_array(fetch->arena, (size_t)from->topics_len, sizeof *to->topics);
    for (int32_t t = 0; t < from->topics_len; t++) {
        const struct offset_fetch_request_topics *asked = &from->topics[t];
        struct offset_fetch_response_topics *topic = &to->topics[t];

        topic->name = arena_copy(fetch->arena, asked->name);
        topic->topic_id = asked->topic_id;
        topic->partitions_len = asked->partition_indexes_len;
        topic->partitions =
            arena_array(fetch->arena, (size_t)asked->partition_indexes_len,
                        sizeof *topic->partitions);
        for (int32_t p = 0; p < asked->partition_indexes_len; p++)
            fill_partition(fetch, asked->name, asked->partition_indexes[p],
                           &topic->partitions[p]);
    }
}

/* ---- everything that the group has ---------------------------------------*/

static bool shown(const struct fetch *fetch, const struct offset_entry *entry)
{
    return (fetch->require_stable
                ? offset_newest(entry)
                : offset_committed(fetch->coord, entry)) != NULL ||
           (!fetch->require_stable && offset_is_doubtful(fetch->coord, entry));
}

static bool fill_topic(struct fetch *fetch, const struct topic_offsets *from,
                       struct offset_fetch_response_topics *to)
{
    struct slice name = offsets_topic_name(from);

    offset_fetch_response_topics_init(to);
    to->name = arena_copy(fetch->arena, name);
    to->partitions =
        arena_array(fetch->arena, from->len, sizeof *to->partitions);
    for (uint32_t i = 0; i < from->len; i++)
        if (shown(fetch, &from->entries[i]))
            fill_partition(fetch, name, from->entries[i].partition,
                           &to->partitions[to->partitions_len++]);
    return to->partitions_len != 0;
}

static void fill_all(struct fetch *fetch,
                     struct offset_fetch_response_group *to)
{
    if (fetch->group == NULL)
        return;
    to->topics =
        arena_array(fetch->arena, fetch->group->topics_len, sizeof *to->topics);
    for (uint32_t t = 0; t < fetch->group->topics_len; t++)
        if (fill_topic(fetch, fetch->group->topics[t],
                       &to->topics[to->topics_len]))
            to->topics_len++;
}

/* Versions 0 and 1 have a place for it at the partitions only. */
static void come_again(struct offset_fetch_response_group *to, int16_t version)
{
    int16_t code = err_wire(ERR_COORDINATOR_LOAD_IN_PROGRESS);

    if (version >= FIRST_GROUP_ERROR) {
        to->topics_len = 0;
        to->error_code = code;
        return;
    }
    for (int32_t t = 0; t < to->topics_len; t++)
        for (int32_t p = 0; p < to->topics[t].partitions_len; p++) {
            to->topics[t].partitions[p].committed_offset = -1;
            to->topics[t].partitions[p].metadata = SLICE("");
            to->topics[t].partitions[p].error_code = code;
        }
}

/* ---- the request ---------------------------------------------------------*/

/* Members of groups of other kinds show their epoch (KIP-848). */
static enum err check(const struct coord *coord,
                      const struct offset_fetch_request_group *from,
                      int16_t version)
{
    struct coord_caller caller = {
        .group = from->group_id,
        .member_id = from->member_id,
        .epoch = from->member_epoch,
        .version = version,
    };

    return group_elsewhere(coord, from->group_id) == GROUP_PRESENT_NOT
               ? ERR_NONE
               : coord->others.check_fetch(coord->others.arg, &caller);
}

void offset_fetch_request(struct step *step,
                          const struct coord_context *context,
                          const struct offset_fetch_request *request)
{
    struct coord_answer *answer =
        answer_new(context->token, API_OFFSET_FETCH, context->version);
    struct offset_fetch_response *r = &answer->response.offset_fetch;

    r->groups_len = request->groups_len;
    r->groups = arena_array(&answer->arena, (size_t)request->groups_len,
                            sizeof *r->groups);
    for (int32_t i = 0; i < request->groups_len; i++) {
        const struct offset_fetch_request_group *from = &request->groups[i];
        struct fetch fetch = {
            step->coord,
            /* Also one whose deletion is not committed yet. */
            map_get(&step->coord->groups, from->group_id),
            request->require_stable,
            &answer->arena,
            false,
        };

        offset_fetch_response_group_init(&r->groups[i]);
        r->groups[i].group_id = arena_copy(&answer->arena, from->group_id);
        r->groups[i].error_code =
            err_wire(check(step->coord, from, context->version));
        if (r->groups[i].error_code != 0)
            continue;
        if (from->topics_len < 0)
            fill_all(&fetch, &r->groups[i]);
        else
            fill_asked(&fetch, from, &r->groups[i]);
        if (fetch.doubtful)
            come_again(&r->groups[i], context->version);
    }
    if (!request->require_stable) {
        answer_send(step, answer);
        return;
    }
    struct coord_write *write = write_new(COORD_WRITE_PLAIN);
    write->answer = answer;
    write_send(step, write);
}
