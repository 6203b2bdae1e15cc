/* What happens to partitions when a broker leaves or comes back, and when
 * leaders are put back where they belong.
 *
 * All of these walk a set of the index, in the order of topics and partitions,
 * so the work and the records are those of the partitions concerned. */
#include "base/log.h"
#include "controller/change.h"

static void say_lost(const struct change *ch)
{
    log_error("controller",
              "%s-%d has no leader: broker %d, the last one in sync, has "
              "nothing of it any more. The other replicas may lack what was "
              "acknowledged last. Start them, and let one lead with what it "
              "has: kafka-leader-election.sh --election-type unclean, or "
              "unclean.leader.election.enable=true for the topic",
              ch->topic->name, (int)ch->partition, (int)ch->isr.at[0]);
}

static void leave_one(struct step *s, partition_ref ref, int32_t id,
                      enum replica_loss loss)
{
    struct image_topic *topic = ref_topic(s, ref);
    int32_t partition = partition_ref_partition(ref);
    const struct image_partition *p = topic->partitions[partition];
    bool in_isr = image_ids_have(image_isr(p), id);
    bool in_elr = image_ids_have(image_elr(p), id);
    bool in_last = image_ids_have(image_last_known_elr(p), id);
    struct change ch;

    if (!in_isr && !(loss != LOSS_NONE && in_elr) &&
        !(loss == LOSS_ALL && in_last))
        return;
    change_begin(s, topic, partition, &ch);
    /* The last one to have everything is kept even if it may have lost some of
     * it: without it the partition could never be led again.  One that has lost
     * all of it makes way for those that were kept in mind, and if there are
     * none stays without leading. */
    int others = p->isr_len - in_isr;
    if (loss != LOSS_NONE)
        others += p->elr_len - in_elr;
    if (loss == LOSS_ALL)
        others += p->last_known_elr_len - in_last;
    if (others > 0)
        id_set_remove(&ch.isr, id);
    if (others > 0 && loss != LOSS_NONE) {
        ch.unclean_broker = id;
        ch.unclean_loss = loss;
    }
    bool was_lost = ch.isr_lost;
    if (others == 0 && loss == LOSS_ALL && p->replicas_len > 1)
        ch.isr_lost = true;
    change_put(&ch);
    if (ch.isr_lost && !was_lost)
        say_lost(&ch);
}

/* Take a broker out of the leaders and the in-sync sets.  It must not be
 * electable any more (leaving, fenced or shutting down).  loss: it may have
 * lost records, so it is no longer an eligible replica either. */
void partitions_leave(struct step *s, int32_t broker_id, enum replica_loss loss)
{
    const struct index_broker *b = index_broker(&s->c->index, broker_id);

    if (b == NULL)
        return;
    uint32_t count = b->replicas.count;
    const partition_ref *refs = ref_set_sorted(&b->replicas, s->arena);
    for (uint32_t i = 0; i < count; i++)
        leave_one(s, refs[i], broker_id, loss);
}

/* A broker cannot use its replica: as if it were fenced, for this one. */
void partition_leave_offline(struct step *s, struct image_topic *topic,
                             int32_t partition, int32_t broker_id)
{
    const struct image_partition *p = topic->partitions[partition];
    struct change ch;

    if (!image_ids_have(image_replicas(p), broker_id) ||
        image_ids_have(image_offline(p), broker_id))
        return;
    change_begin(s, topic, partition, &ch);
    id_set_add(&ch.offline, broker_id);
    if (p->isr_len > 1)
        id_set_remove(&ch.isr, broker_id);
    change_put(&ch);
}

/* Another process of a broker: its log directories may be there again. */
void partitions_come_online(struct step *s, int32_t broker_id)
{
    const struct index_broker *b = index_broker(&s->c->index, broker_id);

    if (b == NULL)
        return;
    uint32_t count = b->replicas.count;
    const partition_ref *refs = ref_set_sorted(&b->replicas, s->arena);
    for (uint32_t i = 0; i < count; i++) {
        struct image_topic *topic = ref_topic(s, refs[i]);
        int32_t partition = partition_ref_partition(refs[i]);
        struct change ch;

        if (!image_ids_have(image_offline(topic->partitions[partition]),
                            broker_id))
            continue;
        change_begin(s, topic, partition, &ch);
        id_set_remove(&ch.offline, broker_id);
        change_put(&ch);
    }
}

static void elect_where(struct step *s, int32_t broker_id)
{
    uint32_t count = s->c->index.leaderless.count;
    const partition_ref *refs =
        ref_set_sorted(&s->c->index.leaderless, s->arena);

    for (uint32_t i = 0; i < count; i++) {
        struct image_topic *topic = ref_topic(s, refs[i]);
        int32_t partition = partition_ref_partition(refs[i]);
        const struct image_partition *p = topic->partitions[partition];
        struct change ch;

        if (broker_id != -1 && !image_ids_have(image_replicas(p), broker_id))
            continue;
        change_begin(s, topic, partition, &ch);
        change_put(&ch);
    }
}

/* Every partition without leader that can have one. */
void partitions_elect_leaderless(struct step *s) { elect_where(s, -1); }

/* Those with a replica on this broker, which has just become active. */
void partitions_elect_leaderless_of(struct step *s, int32_t broker_id)
{
    elect_where(s, broker_id);
}

/* Preferred replicas that are in sync become leaders. */
void partitions_rebalance(struct step *s)
{
    uint32_t count = s->c->index.imbalanced.count;
    const partition_ref *refs =
        ref_set_sorted(&s->c->index.imbalanced, s->arena);

    for (uint32_t i = 0; i < count; i++) {
        struct change ch;

        change_begin(s, ref_topic(s, refs[i]), partition_ref_partition(refs[i]),
                     &ch);
        ch.prefer = true;
        change_put(&ch);
    }
}
