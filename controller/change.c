#include "controller/change.h"

#include "base/assert.h"
#include "base/planted.h"

/* ---- sets of ids --------------------------------------------------------- */

void id_set_copy(struct id_set *to, struct image_ids from)
{
    ASSERT(from.len <= IMAGE_REPLICAS_MAX);
    to->len = from.len;
    if (from.len != 0)
        memcpy(to->at, from.at, from.len * sizeof to->at[0]);
}

void id_set_add(struct id_set *s, int32_t id)
{
    if (id_set_has(s, id))
        return;
    ASSERT(s->len < IMAGE_REPLICAS_MAX);
    s->at[s->len++] = id;
}

void id_set_remove(struct id_set *s, int32_t id)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->len; i++)
        if (s->at[i] != id)
            s->at[kept++] = s->at[i];
    s->len = kept;
}

bool id_set_subset(const struct id_set *s, const struct id_set *of)
{
    for (uint32_t i = 0; i < s->len; i++)
        if (!id_set_has(of, s->at[i]))
            return false;
    return true;
}

static void remove_all(struct id_set *s, const struct id_set *gone)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->len; i++)
        if (!id_set_has(gone, s->at[i]))
            s->at[kept++] = s->at[i];
    s->len = kept;
}

static bool equals(const struct id_set *s, struct image_ids ids)
{
    return s->len == ids.len &&
           (s->len == 0 ||
            memcmp(s->at, ids.at, s->len * sizeof s->at[0]) == 0);
}

/* ---- reassignment -------------------------------------------------------- */

/* All that are to be added are in sync: the rest can go. */
static void finish_reassignment(struct change *ch)
{
    struct id_set isr = ch->isr;

    if ((ch->adding.len == 0 && ch->removing.len == 0) || ch->isr_lost)
        return;
    remove_all(&isr, &ch->removing);
    if (isr.len == 0 || !id_set_subset(&ch->adding, &isr))
        return;
    ch->isr = isr;
    remove_all(&ch->replicas, &ch->removing);
    ch->adding.len = 0;
    ch->removing.len = 0;
}

/* ---- eligible leader replicas -------------------------------------------- */

/* Candidates are all that were in sync or eligible; those still in the
 * assignment and not known to have lost records stay eligible, those that lost
 * some are remembered as last known. */
static void keep_eligible(struct change *ch)
{
    int32_t enough = ch->min_insync;
    struct id_set candidates = ch->elr;
    struct image_ids was = image_isr(ch->old);

    if (enough > (int32_t)ch->replicas.len)
        enough = (int32_t)ch->replicas.len;
    if ((int32_t)ch->isr.len >= enough) {
        ch->elr.len = 0;
        ch->last_known_elr.len = 0;
        return;
    }
    for (uint32_t i = 0; i < was.len; i++)
        id_set_add(&candidates, was.at[i]);
    remove_all(&candidates, &ch->isr);

    struct id_set last = ch->last_known_elr;
    ch->elr.len = 0;
    ch->last_known_elr.len = 0;
    for (uint32_t i = 0; i < candidates.len; i++) {
        int32_t id = candidates.at[i];

        if (!id_set_has(&ch->replicas, id))
            continue;
        if (id != ch->unclean_broker)
            id_set_add(&ch->elr, id);
        else if (ch->unclean_loss == LOSS_TAIL)
            id_set_add(&last, id);
    }
    if (ch->unclean_loss == LOSS_ALL)
        id_set_remove(&last, ch->unclean_broker);
    for (uint32_t i = 0; i < last.len; i++)
        if (id_set_has(&ch->replicas, last.at[i]) &&
            !id_set_has(&ch->isr, last.at[i]) &&
            !id_set_has(&ch->elr, last.at[i]))
            id_set_add(&ch->last_known_elr, last.at[i]);
}

/* The first of the set in the order of assignment, an active one if there is
 * any; -1. */
static int32_t first_kept(const struct change *ch, const struct id_set *set)
{
    int32_t first = -1;

    for (uint32_t i = 0; i < ch->replicas.len; i++) {
        int32_t id = ch->replicas.at[i];

        if (!id_set_has(set, id))
            continue;
        if (broker_is_active(ch->s->c, id) && !id_set_has(&ch->offline, id))
            return id;
        if (first == -1)
            first = id;
    }
    return first;
}

/* The last member lost records, but others are eligible, or were before they
 * stopped uncleanly: one of them takes its place. */
static void refill_isr(struct change *ch)
{
    int32_t first;

    if (ch->isr.len != 0)
        return;
    first = first_kept(ch, &ch->elr);
    if (first == -1) {
        first = first_kept(ch, &ch->last_known_elr);
        ch->recovering = true;
    }
    ASSERT(first != -1);
    id_set_add(&ch->isr, first);
    id_set_remove(&ch->elr, first);
    id_set_remove(&ch->last_known_elr, first);
}

/* ---- election ------------------------------------------------------------ */

static bool may_lead(const struct change *ch, int32_t id)
{
    return (broker_is_active(ch->s->c, id) ||
            PLANTED(CONTROLLER_ELECTS_FENCED)) &&
           !step_broker(ch->s->c, id)->leaving && !id_set_has(&ch->offline, id);
}

/* First in the order of assignment among `set` (NULL: any replica); one whose
 * connection is gone only if there is no other. */
static int32_t first_of(const struct change *ch, const struct id_set *set)
{
    int32_t doubtful = -1;

    for (uint32_t i = 0; i < ch->replicas.len; i++) {
        int32_t id = ch->replicas.at[i];

        if ((set != NULL && !id_set_has(set, id)) || !may_lead(ch, id))
            continue;
        if (!step_broker(ch->s->c, id)->lost)
            return id;
        if (doubtful == -1)
            doubtful = id;
    }
    return doubtful;
}

static bool leads_well(const struct change *ch, int32_t id)
{
    return id != -1 && !ch->isr_lost && id_set_has(&ch->replicas, id) &&
           id_set_has(&ch->isr, id) && may_lead(ch, id);
}

/* Records are lost.  Not all of them, if it can be helped. */
static int32_t first_of_all(const struct change *ch)
{
    struct id_set others = ch->replicas;
    int32_t id;

    if (ch->isr_lost) {
        id_set_remove(&others, ch->isr.at[0]);
        id = first_of(ch, &others);
        if (id != -1)
            return id;
    }
    return first_of(ch, NULL);
}

/* The only one in sync; everybody else may have something else in its log. */
static void elect_alone(struct change *ch, int32_t id)
{
    ch->leader = id;
    ch->isr.len = 0;
    id_set_add(&ch->isr, id);
}

static void elect(struct change *ch)
{
    int32_t preferred = ch->replicas.at[0];
    int32_t id;

    if (ch->prefer && leads_well(ch, preferred) &&
        !step_broker(ch->s->c, preferred)->lost) {
        ch->leader = preferred;
    } else if (leads_well(ch, ch->old->leader)) {
        ch->leader = ch->old->leader;
    } else if (!ch->isr_lost && (id = first_of(ch, &ch->isr)) != -1) {
        ch->leader = id;
    } else if ((id = first_of(ch, &ch->elr)) != -1) {
        for (uint32_t i = 0; i < ch->isr.len; i++)
            id_set_add(&ch->elr, ch->isr.at[i]);
        elect_alone(ch, id);
        id_set_remove(&ch->elr, id);
    } else if ((ch->allow_unclean || PLANTED(CONTROLLER_ELECTS_ANYBODY)) &&
               (id = first_of_all(ch)) != -1) {
        elect_alone(ch, id);
        ch->isr_lost = false;
        ch->elr.len = 0;
        ch->last_known_elr.len = 0;
        ch->recovering = true;
    } else {
        ch->leader = -1;
    }
}

/* ---- the record ---------------------------------------------------------- */

static bool differs(const struct change *ch)
{
    const struct image_partition *old = ch->old;

    return ch->leader != old->leader || ch->recovering != old->recovering ||
           !equals(&ch->replicas, image_replicas(old)) ||
           !equals(&ch->isr, image_isr(old)) ||
           !equals(&ch->adding, image_adding(old)) ||
           !equals(&ch->removing, image_removing(old)) ||
           !equals(&ch->elr, image_elr(old)) ||
           !equals(&ch->last_known_elr, image_last_known_elr(old)) ||
           !equals(&ch->offline, image_offline(old));
}

static bool raises_leader_epoch(const struct change *ch)
{
    struct image_ids was = image_replicas(ch->old);

    if (ch->leader != ch->old->leader)
        return !PLANTED(CONTROLLER_KEEPS_LEADER_EPOCH);
    for (uint32_t i = 0; i < was.len; i++)
        if (!id_set_has(&ch->replicas, was.at[i]))
            return true;
    return false;
}

static void put(struct change *ch)
{
    Leat__PartitionRecord r = LEAT__PARTITION_RECORD__INIT;
    /* The topic's id outlives the partition that replay replaces. */
    struct uuid topic_id = ch->topic->id;

    r.topic_id = record_uuid(&topic_id);
    r.partition = ch->partition;
    r.n_replicas = ch->replicas.len;
    r.replicas = ch->replicas.at;
    r.n_isr = ch->isr.len;
    r.isr = ch->isr.at;
    r.n_adding = ch->adding.len;
    r.adding = ch->adding.at;
    r.n_removing = ch->removing.len;
    r.removing = ch->removing.at;
    r.leader = ch->leader;
    r.leader_epoch = ch->old->leader_epoch + (raises_leader_epoch(ch) ? 1 : 0);
    r.partition_epoch = ch->old->partition_epoch + 1;
    r.recovering = ch->recovering;
    r.n_elr = ch->elr.len;
    r.elr = ch->elr.at;
    r.n_last_known_elr = ch->last_known_elr.len;
    r.last_known_elr = ch->last_known_elr.at;
    r.n_offline = ch->offline.len;
    r.offline = ch->offline.at;
    step_put(ch->s, &RECORD(partition, PARTITION, &r));
}

void change_begin(struct step *s, struct image_topic *topic, int32_t partition,
                  struct change *ch)
{
    const struct image_partition *old = topic->partitions[partition];

    ch->s = s;
    ch->topic = topic;
    ch->partition = partition;
    ch->old = old;
    id_set_copy(&ch->replicas, image_replicas(old));
    id_set_copy(&ch->isr, image_isr(old));
    id_set_copy(&ch->adding, image_adding(old));
    id_set_copy(&ch->removing, image_removing(old));
    id_set_copy(&ch->elr, image_elr(old));
    id_set_copy(&ch->last_known_elr, image_last_known_elr(old));
    id_set_copy(&ch->offline, image_offline(old));
    ch->leader = old->leader;
    ch->recovering = old->recovering;
    ch->isr_lost = image_isr_is_lost(old);
    ch->prefer = false;
    ch->allow_unclean = topic_unclean_election(s, topic);
    ch->min_insync = topic_min_insync_replicas(s, topic);
    ch->unclean_broker = -1;
    ch->unclean_loss = LOSS_NONE;
    ch->even_so = false;
}

static void keep_offline(struct change *ch)
{
    struct id_set was = ch->offline;

    ch->offline.len = 0;
    for (uint32_t i = 0; i < was.len; i++)
        if (id_set_has(&ch->replicas, was.at[i]))
            id_set_add(&ch->offline, was.at[i]);
}

bool change_put(struct change *ch)
{
    finish_reassignment(ch);
    keep_offline(ch);
    keep_eligible(ch);
    refill_isr(ch);
    elect(ch);
    if (ch->isr_lost)
        id_set_add(&ch->last_known_elr, ch->isr.at[0]);
    if (!differs(ch) && !ch->even_so)
        return false;
    put(ch);
    return true;
}
