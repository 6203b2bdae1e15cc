#include "broker/txn_verify.h"

#include "base/planted.h"
#include "broker/live.h"
#include "broker/replica/partition.h"
#include "broker/shard.h"
#include "broker/txn_client.h"

/* Everybody who waits for an answer about one producer in one partition: the
 * question that was asked, and in the order of their arrival those that came
 * meanwhile.  They are asked one after another, and only as long as the
 * transaction is not open here. */

static struct slice key_of(const int64_t *producer_id)
{
    return slice_of(producer_id, sizeof *producer_id);
}

static bool is_open(const struct partition *p, int64_t producer_id,
                    int16_t producer_epoch)
{
    struct producer known;

    return producers_get(p->producers, producer_id, &known) &&
           known.epoch == producer_epoch && known.txn_first_offset >= 0;
}

bool txn_verify_needed(const struct partition *p, int64_t producer_id,
                       int16_t producer_epoch)
{
    bool is_behind = map_get(&p->verifying, key_of(&producer_id)) != NULL &&
                     !PLANTED(TXN_OVERTAKES);

    return is_behind || !is_open(p, producer_id, producer_epoch);
}

static void put_first(struct txn_verify *v, struct partition *p)
{
    v->partition = p;
    map_put(&p->verifying, key_of(&v->question.producer_id), v);
}

/* False: nobody has to be asked.  What is to be added has to be in any case, or
 * nobody would end it. */
static bool ask(struct txn_verify *v, struct partition *p)
{
    bool verifies =
        p->shard->live->config.transaction_partition_verification_enable;

    if (!v->question.add && (!verifies || PLANTED(TXN_UNVERIFIED)))
        return false;
    v->leader_epoch = p->state.leader_epoch;
    txn_client_verify(v);
    return true;
}

void txn_verify(struct txn_verify *v, struct partition *p)
{
    struct txn_verify *first =
        map_get(&p->verifying, key_of(&v->question.producer_id));

    list_init(&v->link);
    list_init(&v->behind);
    v->shard = p->shard;
    v->partition = NULL;
    v->ended = false;
    if (first != NULL)
        list_push_back(&first->behind, &v->link);
    else if (ask(v, p))
        put_first(v, p);
    else
        v->done(v, p, ERR_NONE);
}

static enum err ended_error(const struct txn_verify *v)
{
    return v->question.knows_abortable ? ERR_TRANSACTION_ABORTABLE
                                       : ERR_INVALID_TXN_STATE;
}

static bool may_pass(enum err error)
{
    return error == ERR_NOT_ENOUGH_REPLICAS ||
           error == ERR_CONCURRENT_TRANSACTIONS ||
           error == ERR_NOT_LEADER_OR_FOLLOWER;
}

/* What came behind takes its place before it hears its answer: from inside of
 * that more of this producer may arrive. */
static struct txn_verify *step_down(struct txn_verify *v)
{
    struct list *node = list_pop_front(&v->behind);
    struct partition *p = v->partition;

    if (p != NULL)
        map_remove(&p->verifying, key_of(&v->question.producer_id));
    if (node == NULL)
        return NULL;
    struct txn_verify *next = LIST_ENTRY(node, struct txn_verify, link);
    list_append_all(&next->behind, &v->behind);
    if (p != NULL)
        put_first(next, p);
    return next;
}

/* The replica that v was sent to has gone; the one that came after it, if there
 * is any, is to know what was refused. */
static struct partition *successor(const struct txn_verify *v, enum err *error)
{
    struct partition *p =
        shard_partition(v->shard, &v->topic_id, v->question.partition, error);

    if (*error == ERR_NONE)
        *error = ERR_NOT_LEADER_OR_FOLLOWER;
    return p;
}

/* What was asked about v has been answered. */
static enum err judge(const struct txn_verify *v)
{
    if (v->error != ERR_NONE)
        return v->error;
    if (v->partition->state.leader_epoch != v->leader_epoch)
        return ERR_NOT_LEADER_OR_FOLLOWER; /* markers may have gone by */
    return v->ended ? ended_error(v) : ERR_NONE;
}

/* True: v's turn to be answered, with *error.  `before` is what was said to who
 * was in front of it: a passing error is for those behind, too, or they would
 * be asked about in vain, one after another. */
static bool knows(struct txn_verify *v, enum err before, enum err *error)
{
    struct partition *p = v->partition;

    if (p == NULL || may_pass(before)) {
        *error = before;
        return true;
    }
    *error = v->ended ? ended_error(v) : ERR_NONE;
    bool open =
        is_open(p, v->question.producer_id, v->question.producer_epoch) &&
        !PLANTED(TXN_OVERTAKES);
    return v->ended || open || !ask(v, p);
}

void txn_verify_answered(struct env_task *task)
{
    struct txn_verify *v = LIST_ENTRY(task, struct txn_verify, task);
    enum err error = v->partition != NULL ? judge(v) : ERR_NONE;

    do {
        struct partition *p =
            v->partition != NULL ? v->partition : successor(v, &error);
        struct txn_verify *next = step_down(v);

        v->done(v, p, error);
        v = next;
    } while (v != NULL && knows(v, error, &error));
}

/* From transaction version 2 on a marker has the epoch after that of the
 * transaction it ends, and the next transaction may wait already. */
static bool is_of(const struct txn_question *q, const struct control_marker *m,
                  int8_t transaction_version)
{
    return q->producer_id == m->producer_id &&
           (transaction_version < 2 || q->producer_epoch < m->producer_epoch);
}

static void note_end(struct txn_verify *v, const struct control_marker *m,
                     int8_t transaction_version)
{
    v->ended = v->ended || is_of(&v->question, m, transaction_version);
}

void txn_verify_ended(struct partition *p, const struct control_marker *m,
                      int8_t transaction_version)
{
    struct txn_verify *first = map_get(&p->verifying, key_of(&m->producer_id));

    if (first == NULL)
        return;
    note_end(first, m, transaction_version);
    LIST_EACH (node, &first->behind)
        note_end(LIST_ENTRY(node, struct txn_verify, link), m,
                 transaction_version);
}

void txn_verify_forget(struct partition *p)
{
    MAP_EACH (e, &p->verifying)
        ((struct txn_verify *)e->value)->partition = NULL;
    map_free(&p->verifying);
}

/* ---- room ----------------------------------------------------------------*/

bool txn_verify_take_room(struct shard *home, size_t bytes)
{
    size_t before = atomic_fetch_add(&home->verifying_bytes, bytes);

    /* One may be larger than all the room. */
    if (before == 0 || before + bytes <= home->verifying_max_bytes)
        return true;
    atomic_fetch_sub(&home->verifying_bytes, bytes);
    return false;
}

void txn_verify_give_room(struct shard *home, size_t bytes)
{
    atomic_fetch_sub(&home->verifying_bytes, bytes);
}
