/* ISR proposals of the leaders on all shards.
 *
 * One AlterPartition call at a time; what arrives while it is under way goes
 * into the next one, so thousands of partitions that lose a follower at once
 * cost a few calls.
 *
 * A leader that is told "refused" goes back to its old ISR, which would lose
 * records if the controller had accepted.  So nothing is reported before the
 * controller has given a verdict: a call whose answer was lost is sent again.
 * That is safe because the controller compares partition epochs first: a
 * proposal that was accepted and is sent again is answered with
 * INVALID_UPDATE_VERSION, which leaves the leader waiting for the metadata.
 *
 * The copies may arrive in another order than they were sent, by connections
 * that were given up: one is refused, because a broker is fenced, and the one
 * before it arrives later and is accepted.  So a refusal of what was sent more
 * than once is reported as that, and the leader makes another proposal. */
#include "broker/meta_parts.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>

enum { ITEMS_MAX = 2000, AGAIN_MS = 50 };

static void isr_send(struct meta *m);

static struct isr_proposal *proposal_of(struct list *node)
{
    return LIST_ENTRY(node, struct isr_proposal, link);
}

/* ---- verdicts ----------------------------------------------------------- */

/* The accepted ISR in the numbers of the replicas that the shard was told. */
static bool fill_state(const struct meta *m, const struct isr_proposal *q,
                       const Leat__AlterPartitionResult *from,
                       struct partition_state *out)
{
    const struct image_topic *topic = image_topic_by_id(&m->image, q->topic_id);
    const struct image_partition *p =
        topic != NULL ? image_partition(topic, q->partition) : NULL;

    if (p == NULL || p->replicas_len > LEADER_REPLICAS_MAX)
        return false;
    struct image_ids replicas = image_replicas(p);
    out->leader = from->leader;
    out->leader_epoch = from->leader_epoch;
    out->partition_epoch = from->partition_epoch;
    out->recovering = from->recovering;
    out->replicas_len = (uint8_t)replicas.len;
    for (uint32_t i = 0; i < replicas.len; i++) {
        out->replicas[i] = replicas.at[i];
        for (size_t j = 0; j < from->n_isr; j++)
            if (from->isr[j] == replicas.at[i])
                out->isr = (replica_set)(out->isr | 1u << i);
    }
    return true;
}

/* What the leader hears.  INVALID_REQUEST comes after the comparison of epochs,
 * so it is a certain refusal as well. */
static enum err verdict(const struct isr_proposal *q, int32_t error)
{
    bool refused = error == ERR_INVALID_REQUEST ||
                   error == ERR_INELIGIBLE_REPLICA ||
                   error == ERR_OPERATION_NOT_ATTEMPTED;

    if (refused && q->repeated)
        return ERR_REQUEST_TIMED_OUT;
    return error == ERR_INVALID_REQUEST ? ERR_OPERATION_NOT_ATTEMPTED
                                        : (enum err)error;
}

static void report(struct meta *m, const struct isr_proposal *q,
                   const Leat__AlterPartitionResult *result)
{
    struct shard_updates *u = shard_updates_new(m->broker->shards[q->shard]);
    struct shard_update *item = shard_updates_add(u);

    item->kind = SHARD_ISR_RESULT;
    item->topic_id = q->topic_id;
    item->partition = q->partition;
    item->state.leader_epoch = q->leader_epoch;
    item->state.partition_epoch = q->partition_epoch;
    item->hands_over = q->hands_over;
    item->error = verdict(q, result->error);
    if (item->error == ERR_NONE && !fill_state(m, q, result, &item->state))
        item->error = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    shard_updates_post(u);
}

static const Leat__AlterPartitionResult *
result_of(const Leat__AlterPartitionResponse *response, size_t i,
          const struct isr_proposal *q)
{
    if (i >= response->n_partitions)
        return NULL;
    const Leat__AlterPartitionResult *r = response->partitions[i];
    bool same = r->partition == q->partition && r->topic_id.len == 16 &&
                memcmp(r->topic_id.data, q->topic_id.bytes, 16) == 0;
    return same ? r : NULL;
}

/* Results come in the order of the items.  NOT_CONTROLLER of an item: that
 * controller knows less than we do; the proposal is made again. */
static bool report_all(struct meta *m,
                       const Leat__AlterPartitionResponse *response)
{
    bool again = false;
    size_t i = 0;

    for (struct list *node; (node = list_pop_front(&m->isr.sent)) != NULL;) {
        struct isr_proposal *q = proposal_of(node);
        const Leat__AlterPartitionResult *r = result_of(response, i++, q);

        if (r == NULL || r->error == ERR_NOT_CONTROLLER) {
            list_push_back(&m->isr.waiting, &q->link);
            again = true;
            continue;
        }
        report(m, q, r);
        free(q);
    }
    return again;
}

static void isr_done(struct control_call *call, enum err error,
                     const Leat__ControlResponse *response)
{
    struct meta *m = LIST_ENTRY(call, struct meta, isr.call);
    struct isr_queue *isr = &m->isr;

    LIST_EACH (node, &isr->sent)
        proposal_of(node)->repeated |= call->doubtful;
    if (error == ERR_NONE && response->error == ERR_NONE &&
        response->result_case ==
            LEAT__CONTROL_RESPONSE__RESULT_ALTER_PARTITION) {
        if (report_all(m, response->alter_partition))
            env_timer_start(m->env, &isr->again, AGAIN_MS);
        else
            isr_send(m);
        return;
    }
    /* No verdict: before those that came meanwhile, once more. */
    list_append_all(&isr->sent, &isr->waiting);
    list_append_all(&isr->waiting, &isr->sent);
    if (error == ERR_NONE && response->error == ERR_STALE_BROKER_EPOCH)
        lifecycle_stale(m); /* isr_registered() goes on */
    else
        env_timer_start(m->env, &isr->again, AGAIN_MS);
}

/* ---- the call ----------------------------------------------------------- */

static void fill_item(struct isr_proposal *q, struct arena *arena,
                      Leat__AlterPartitionItem *item)
{
    Leat__IsrMember *members =
        arena_array(arena, (size_t)q->isr_len + 1, sizeof *members);

    leat__alter_partition_item__init(item);
    item->topic_id = (ProtobufCBinaryData){16, q->topic_id.bytes};
    item->partition = q->partition;
    item->leader_epoch = q->leader_epoch;
    item->partition_epoch = q->partition_epoch;
    item->recovering = q->recovering;
    item->n_new_isr = (size_t)q->isr_len;
    item->new_isr =
        arena_array(arena, (size_t)q->isr_len + 1, sizeof *item->new_isr);
    for (int i = 0; i < q->isr_len; i++) {
        leat__isr_member__init(&members[i]);
        members[i].broker_id = q->isr[i].broker;
        members[i].broker_epoch = q->isr[i].epoch;
        item->new_isr[i] = &members[i];
    }
}

static void isr_send(struct meta *m)
{
    struct isr_queue *isr = &m->isr;
    Leat__ControlRequest request = LEAT__CONTROL_REQUEST__INIT;
    Leat__AlterPartitionRequest r = LEAT__ALTER_PARTITION_REQUEST__INIT;
    struct arena arena;

    if (list_empty(&isr->waiting) || control_call_running(&isr->call) ||
        env_timer_running(&isr->again) ||
        (m->life.state != LIFECYCLE_REGISTERED &&
         m->life.state != LIFECYCLE_LEAVING))
        return;
    arena_init(&arena, 0);
    Leat__AlterPartitionItem *items =
        arena_array(&arena, ITEMS_MAX, sizeof *items);
    r.partitions = arena_array(&arena, ITEMS_MAX, sizeof *r.partitions);
    while (r.n_partitions < ITEMS_MAX && !list_empty(&isr->waiting)) {
        struct isr_proposal *q = proposal_of(list_pop_front(&isr->waiting));

        fill_item(q, &arena, &items[r.n_partitions]);
        r.partitions[r.n_partitions] = &items[r.n_partitions];
        r.n_partitions++;
        list_push_back(&isr->sent, &q->link);
    }
    r.broker_id = m->broker->node_id;
    r.broker_epoch = atomic_load(&m->broker->epoch);
    request.call_case = LEAT__CONTROL_REQUEST__CALL_ALTER_PARTITION;
    request.alter_partition = &r;
    isr->call.repeatable = true;
    isr->call.attempt_ms = meta_attempt_ms(m);
    isr->call.deadline_ms = INT64_MAX;
    isr->call.done = isr_done;
    control_send(m->control, CONTROL_CALLS, &isr->call, &request);
    arena_free(&arena);
}

/* ---- in and out --------------------------------------------------------- */

static void proposed(struct env_task *task)
{
    struct isr_proposal *q = LIST_ENTRY(task, struct isr_proposal, task);
    struct meta *m = q->meta;

    list_init(&q->link);
    list_push_back(&m->isr.waiting, &q->link);
    isr_send(m);
}

void meta_propose_isr(struct meta *m, struct isr_proposal *proposal)
{
    proposal->meta = m;
    proposal->task.fn = proposed;
    env_post(m->env, &proposal->task);
}

static void isr_again(void *arg) { isr_send(arg); }

void isr_registered(struct meta *m) { isr_send(m); }

void isr_init(struct meta *m)
{
    list_init(&m->isr.waiting);
    list_init(&m->isr.sent);
    m->isr.again = (struct env_timer){.fn = isr_again, .arg = m};
}

void isr_stop(struct meta *m)
{
    env_timer_stop(m->env, &m->isr.again);
    list_append_all(&m->isr.waiting, &m->isr.sent);
    for (struct list *node; (node = list_pop_front(&m->isr.waiting)) != NULL;)
        free(proposal_of(node));
}
