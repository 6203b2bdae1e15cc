/* AlterPartition: the leader of a partition asks for another in-sync set.
 * OfflineReplicas: a broker has lost the log directory of some of its own.
 *
 * Compare-and-set on the partition epoch.  The checks, in Kafka's order, tell a
 * leader that is behind (wait for metadata) from one that asks for a replica
 * that cannot be in sync just now (take it back).  A change that completes a
 * reassignment may take the leadership away from the sender, and so does the
 * sender itself, when its log is damaged, by an in-sync set of somebody else
 * alone. */
#include "base/planted.h"
#include "controller/change.h"

/* ---- one partition ------------------------------------------------------- */

static bool isr_is_possible(const struct image_partition *p,
                            const Leat__AlterPartitionItem *item)
{
    for (size_t i = 0; i < item->n_new_isr; i++) {
        int32_t id = item->new_isr[i]->broker_id;

        if (!image_ids_have(image_replicas(p), id))
            return false;
        for (size_t j = 0; j < i; j++)
            if (item->new_isr[j]->broker_id == id)
                return false;
    }
    return item->n_new_isr > 0;
}

/* A leader whose log has lost records names the one that has them. */
static bool is_handover(int32_t sender, const Leat__AlterPartitionItem *item)
{
    return item->n_new_isr == 1 && item->new_isr[0]->broker_id != sender;
}

static bool has_sender(int32_t sender, const Leat__AlterPartitionItem *item)
{
    for (size_t i = 0; i < item->n_new_isr; i++)
        if (item->new_isr[i]->broker_id == sender)
            return true;
    return false;
}

/* Registered, active, and the very process that the leader has seen. */
static bool is_eligible(const struct step *s, const Leat__IsrMember *member)
{
    const struct image_broker *b = image_broker(s->image, member->broker_id);

    return b != NULL && broker_is_active(s->c, b->id) &&
           (member->broker_epoch == -1 || member->broker_epoch == b->epoch ||
            PLANTED(CONTROLLER_TAKES_EARLIER_LIVES));
}

static enum err check(const struct step *s, int32_t sender,
                      const struct image_partition *p,
                      const Leat__AlterPartitionItem *item)
{
    /* Newer than what we know: we are the ones who are behind. */
    if (item->leader_epoch > p->leader_epoch ||
        item->partition_epoch > p->partition_epoch)
        return ERR_NOT_CONTROLLER;
    if (item->leader_epoch < p->leader_epoch)
        return ERR_FENCED_LEADER_EPOCH;
    if (sender != p->leader)
        return ERR_INVALID_REQUEST;
    if (item->partition_epoch < p->partition_epoch &&
        !PLANTED(CONTROLLER_TAKES_OLD_PARTITION_EPOCHS))
        return ERR_INVALID_UPDATE_VERSION;
    if (!isr_is_possible(p, item) ||
        (!has_sender(sender, item) && !is_handover(sender, item)))
        return ERR_INVALID_REQUEST;
    if (item->recovering && (item->n_new_isr > 1 || !p->recovering))
        return ERR_INVALID_REQUEST;
    for (size_t i = 0; i < item->n_new_isr; i++)
        if (!is_eligible(s, item->new_isr[i]) ||
            image_ids_have(image_offline(p), item->new_isr[i]->broker_id))
            return ERR_INELIGIBLE_REPLICA;
    return ERR_NONE;
}

static void fill_state(struct step *s, const struct image_partition *p,
                       Leat__AlterPartitionResult *out)
{
    struct image_ids isr = image_isr(p);

    out->leader = p->leader;
    out->leader_epoch = p->leader_epoch;
    out->partition_epoch = p->partition_epoch;
    out->recovering = p->recovering;
    out->n_isr = isr.len;
    out->isr = arena_array(s->arena, isr.len, sizeof *out->isr);
    memcpy(out->isr, isr.at, isr.len * sizeof *out->isr);
}

static enum err alter(struct step *s, int32_t sender,
                      const Leat__AlterPartitionItem *item,
                      Leat__AlterPartitionResult *out)
{
    struct uuid topic_id;

    if (item->topic_id.len != sizeof topic_id.bytes)
        return ERR_UNKNOWN_TOPIC_ID;
    memcpy(topic_id.bytes, item->topic_id.data, sizeof topic_id.bytes);
    struct image_topic *topic = image_topic_by_id(s->image, topic_id);
    if (topic == NULL)
        return ERR_UNKNOWN_TOPIC_ID;
    struct image_partition *p = image_partition(topic, item->partition);
    if (p == NULL)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    enum err error = check(s, sender, p, item);
    if (error != ERR_NONE)
        return error;

    struct change ch;
    change_begin(s, topic, item->partition, &ch);
    ch.isr.len = 0;
    for (size_t i = 0; i < item->n_new_isr; i++)
        id_set_add(&ch.isr, item->new_isr[i]->broker_id);
    ch.recovering = item->recovering;
    /* A leader that asks for what it has wants a new partition epoch. */
    ch.even_so = true;
    if (is_handover(sender, item)) {
        int32_t to = item->new_isr[0]->broker_id;

        ch.unclean_broker = sender;
        ch.unclean_loss = LOSS_TAIL;
        ch.recovering = !image_ids_have(image_isr(p), to) &&
                        !image_ids_have(image_elr(p), to);
    }
    change_put(&ch);

    p = topic->partitions[item->partition];
    if (p->leader != sender)
        return ERR_NEW_LEADER_ELECTED;
    fill_state(s, p, out);
    return ERR_NONE;
}

/* ---- the request --------------------------------------------------------- */

enum err partitions_alter(struct step *s, const Leat__AlterPartitionRequest *r,
                          Leat__AlterPartitionResponse *response,
                          const char **why)
{
    enum err error = broker_check_epoch(s, r->broker_id, r->broker_epoch, why);

    if (error != ERR_NONE)
        return error;
    response->n_partitions = r->n_partitions;
    response->partitions =
        arena_array(s->arena, r->n_partitions, sizeof *response->partitions);
    Leat__AlterPartitionResult *results =
        arena_array(s->arena, r->n_partitions, sizeof *results);
    for (size_t i = 0; i < r->n_partitions; i++) {
        Leat__AlterPartitionResult *out = &results[i];

        *out = (Leat__AlterPartitionResult)LEAT__ALTER_PARTITION_RESULT__INIT;
        out->leader = -1;
        out->topic_id = r->partitions[i]->topic_id;
        out->partition = r->partitions[i]->partition;
        out->error = alter(s, r->broker_id, r->partitions[i], out);
        response->partitions[i] = out;
    }
    return ERR_NONE;
}

/* ---- failed log directories ---------------------------------------------- */

/* What the broker does not know yet is not there any more, or is not its. */
enum err partitions_offline(struct step *s,
                            const Leat__OfflineReplicasRequest *r,
                            const char **why)
{
    enum err error = broker_check_epoch(s, r->broker_id, r->broker_epoch, why);

    if (error != ERR_NONE)
        return error;
    for (size_t i = 0; i < r->n_replicas; i++) {
        const Leat__OfflineReplica *q = r->replicas[i];
        struct uuid topic_id;

        if (q->topic_id.len != sizeof topic_id.bytes)
            continue;
        memcpy(topic_id.bytes, q->topic_id.data, sizeof topic_id.bytes);
        struct image_topic *topic = image_topic_by_id(s->image, topic_id);
        if (topic != NULL && image_partition(topic, q->partition) != NULL)
            partition_leave_offline(s, topic, q->partition, r->broker_id);
    }
    return ERR_NONE;
}
