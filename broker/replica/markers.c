/* The end of a transaction in one partition: a control batch, which only the
 * leader writes, as the transaction's coordinator asks for it.  What it does to
 * the producers' state is in producers.c; followers and a restart learn it from
 * the batch. */
#include "broker/coordinators.h"
#include "broker/replica/partition.h"
#include "broker/txn_verify.h"

static enum err check(const struct partition *p, const struct control_marker *m,
                      const struct marker_origin *origin)
{
    enum err error = partition_check_replicas(p);

    if (error == ERR_NONE && partition_is_cut_off(p))
        error = ERR_NOT_LEADER_OR_FOLLOWER;
    if (error == ERR_NONE)
        error = producers_check_marker(p->producers, m, origin);
    return error;
}

static enum err append(struct partition *p, const struct control_marker *m,
                       struct partition_append *result)
{
    struct buf bytes = BUF_INIT;
    struct produced in = {.report = {.why = ""}};

    control_marker_encode(m, env_wall_ms(p->shard->env), &bytes);
    in.bytes = bytes.data;
    ASSERT(batch_parse(buf_slice(&bytes), &in.batch) == ERR_NONE);
    enum err error = partition_write_batch(p, &in, result);
    buf_free(&bytes);
    return error;
}

enum err partition_write_marker(struct partition *p,
                                const struct control_marker *m,
                                const struct marker_origin *origin,
                                struct partition_append *result)
{
    *result =
        (struct partition_append){.base_offset = -1, .append_time_ms = -1};
    enum err error = check(p, m, origin);
    if (error == ERR_NONE)
        error = coordinators_before_marker(p);
    if (error == ERR_NONE)
        error = append(p, m, result);
    if (error != ERR_NONE)
        return error;
    producers_note_decision(p->producers, m->producer_id, origin->decision);
    txn_verify_ended(p, m, origin->transaction_version);
    coordinators_marker(p, m, result->base_offset);
    return ERR_NONE;
}
