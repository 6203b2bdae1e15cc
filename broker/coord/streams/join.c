/* Whether a heartbeat may be believed: what it must look like, and whose it is
 * (KIP-1071, "Request Validation" of StreamsGroupHeartbeat).  What Kafka 4.3
 * does not support yet is refused as there: static members, offsets of tasks,
 * warm-ups, and regular expressions for topics. */
#include "broker/coord/streams/streams.h"

typedef struct streams_group_heartbeat_request request_t;

static bool is_empty(struct slice text)
{
    return !slice_is_null(text) && text.len == 0;
}

static const char *unsupported(const request_t *q)
{
    if (!slice_is_null(q->instance_id))
        return "Static membership is not yet supported.";
    if (q->task_offsets_len >= 0)
        return "TaskOffsets are not supported yet.";
    if (q->task_end_offsets_len >= 0)
        return "TaskEndOffsets are not supported yet.";
    if (q->warmup_tasks_len > 0)
        return "WarmupTasks are not supported yet.";
    return NULL;
}

/* A member that comes, or comes back, says everything and has nothing. */
static const char *wrong_joining(const request_t *q)
{
    if (q->rebalance_timeout_ms <= 0)
        return "RebalanceTimeoutMs must be provided in first request.";
    if (q->active_tasks_len > 0 || q->standby_tasks_len > 0 ||
        q->warmup_tasks_len > 0)
        return "ActiveTasks, StandbyTasks and WarmupTasks must be empty when "
               "(re-)joining.";
    if (q->topology == NULL)
        return "Topology must be non-null when (re-)joining.";
    return NULL;
}

static const char *wrong_shape(const request_t *q)
{
    int given = (q->active_tasks_len >= 0) + (q->standby_tasks_len >= 0) +
                (q->warmup_tasks_len >= 0);

    if (q->member_id.len == 0)
        return "MemberId can't be empty.";
    if (q->group_id.len == 0)
        return "GroupId can't be empty.";
    if (is_empty(q->rack_id))
        return "RackId can't be empty.";
    if (q->member_epoch == STREAMS_LEAVES_FOR_NOW)
        return "InstanceId can't be null.";
    if (q->member_epoch < STREAMS_LEAVES_FOR_NOW)
        return "MemberEpoch must be greater than or equal to -2.";
    if (q->member_epoch != STREAMS_LEAVES &&
        (q->rebalance_timeout_ms < -1 || q->rebalance_timeout_ms == 0))
        return "RebalanceTimeoutMs is invalid.";
    if (given != 0 && given != 3)
        return "If one task-type is non-null, all must be non-null.";
    if (q->member_epoch == STREAMS_JOINS)
        return wrong_joining(q);
    if (q->topology != NULL)
        return "Topology can only be provided when (re-)joining.";
    return NULL;
}

enum err stheartbeat_validate(struct arena *arena, const request_t *request,
                              struct slice *why)
{
    const char *wrong = unsupported(request);

    if (wrong == NULL)
        wrong = wrong_shape(request);
    *why = slice_str(wrong);
    if (wrong != NULL)
        return ERR_INVALID_REQUEST;
    return request->topology != NULL
               ? stopology_validate(arena, request->topology, why)
               : ERR_NONE;
}

struct slice streams_heartbeat_claims(const request_t *request)
{
    struct slice why, group = SLICE_NULL;
    struct arena arena;

    arena_init(&arena, 0);
    if (request->member_epoch == STREAMS_JOINS &&
        stheartbeat_validate(&arena, request, &why) == ERR_NONE)
        group = request->group_id;
    arena_free(&arena);
    return group;
}

/* ---- what it has ---------------------------------------------------------*/

static struct tasks
set_of(struct arena *arena,
       const struct streams_group_heartbeat_request_task_ids *ids,
       int32_t ids_len)
{
    uint32_t room = 0, len = 0;

    for (int32_t t = 0; t < ids_len; t++)
        room += (uint32_t)ids[t].partitions_len;
    struct task *items = arena_array(arena, room, sizeof *items);
    for (int32_t t = 0; t < ids_len; t++)
        for (int32_t i = 0; i < ids[t].partitions_len; i++)
            items[len++] =
                (struct task){ids[t].subtopology_id, ids[t].partitions[i], 0};
    return tasks_of(items, len);
}

bool stheartbeat_owned(struct arena *arena, const request_t *q,
                       struct tuple *owned)
{
    owned->of[TASK_ACTIVE] =
        set_of(arena, q->active_tasks, q->active_tasks_len);
    owned->of[TASK_STANDBY] =
        set_of(arena, q->standby_tasks, q->standby_tasks_len);
    owned->of[TASK_WARMUP] =
        set_of(arena, q->warmup_tasks, q->warmup_tasks_len);
    return q->active_tasks_len >= 0 || q->member_epoch == STREAMS_JOINS;
}

enum err stheartbeat_check_tasks(const struct sconfig *config,
                                 const struct tuple *owned)
{
    for (int k = 0; k < TASK_KINDS; k++)
        for (uint32_t at = 0, run; at < owned->of[k].len; at += run) {
            const struct task *first = &owned->of[k].items[at];
            const struct sticky_sub *sub = sconfig_sub(config, first->sub);

            run = tasks_run(owned->of[k], at);
            if (sub == NULL || first[0].partition < 0 ||
                first[run - 1].partition >= sub->tasks)
                return ERR_INVALID_REQUEST;
        }
    return ERR_NONE;
}

/* ---- whose it is ---------------------------------------------------------*/

/* An older epoch is taken only if it is the last one and the member has nothing
 * that it must not: then the answer that told it of the new epoch was lost.
 * Epoch 0 is for one who gave up everything, so it may always come back. */
static enum err check_epoch(const struct stmember *member,
                            const request_t *request, const struct tuple *owned)
{
    const struct scurrent *current = &member->current;
    int32_t epoch = request->member_epoch;

    if (epoch == STREAMS_JOINS || epoch == current->epoch)
        return ERR_NONE;
    if (epoch < current->epoch && epoch == current->previous_epoch &&
        request->active_tasks_len >= 0 &&
        tuple_contain(&current->assigned, owned))
        return ERR_NONE;
    return ERR_FENCED_MEMBER_EPOCH;
}

enum err stheartbeat_find(const struct stgroup *group, const request_t *request,
                          const struct tuple *owned,
                          const struct stmember **member)
{
    *member = stgroup_member(group, request->member_id);
    if (*member == NULL)
        return request->member_epoch == STREAMS_JOINS ? ERR_NONE
                                                      : ERR_UNKNOWN_MEMBER_ID;
    return check_epoch(*member, request, owned);
}
