#include "broker/txn_verify.h"

#include "base/planted.h"
#include "broker/live.h"
#include "broker/replica/partition.h"
#include "broker/shard.h"
#include "broker/txn_client.h"

bool txn_verify_needed(const struct partition *p, int64_t producer_id,
                       int16_t producer_epoch)
{
    struct producer known;

    return !producers_get(p->producers, producer_id, &known) ||
           known.epoch != producer_epoch || known.txn_first_offset < 0;
}

void txn_verify(struct txn_verify *v, struct partition *p)
{
    list_init(&v->link);
    if (!p->shard->live->config.transaction_partition_verification_enable ||
        (PLANTED(TXN_UNVERIFIED) && !v->question.add)) {
        v->done(v, p, ERR_NONE);
        return;
    }
    v->shard = p->shard;
    v->leader_epoch = p->state.leader_epoch;
    v->ended = false;
    list_push_back(&p->verifying, &v->link);
    txn_client_verify(v);
}

void txn_verify_answered(struct env_task *task)
{
    struct txn_verify *v = LIST_ENTRY(task, struct txn_verify, task);
    enum err missing = ERR_NONE;
    struct partition *p = shard_partition(v->shard, &v->topic_id,
                                          v->question.partition, &missing);

    list_remove(&v->link);
    if (p != NULL && v->error == ERR_NONE &&
        p->state.leader_epoch != v->leader_epoch)
        v->error = ERR_NOT_LEADER_OR_FOLLOWER; /* markers may have gone by */
    else if (v->error == ERR_NONE && v->ended)
        v->error = v->question.knows_abortable ? ERR_TRANSACTION_ABORTABLE
                                               : ERR_INVALID_TXN_STATE;
    v->done(v, p, p == NULL ? missing : v->error);
}

/* From transaction version 2 on a marker has the epoch after that of the
 * transaction it ends, and the next transaction may wait already. */
static bool is_of(const struct txn_question *q, const struct control_marker *m,
                  int8_t transaction_version)
{
    return q->producer_id == m->producer_id &&
           (transaction_version < 2 || q->producer_epoch < m->producer_epoch);
}

void txn_verify_ended(struct partition *p, const struct control_marker *m,
                      int8_t transaction_version)
{
    LIST_EACH (node, &p->verifying) {
        struct txn_verify *v = LIST_ENTRY(node, struct txn_verify, link);

        v->ended = v->ended || is_of(&v->question, m, transaction_version);
    }
}

void txn_verify_forget(struct partition *p)
{
    while (!list_empty(&p->verifying))
        list_remove(p->verifying.next);
}
