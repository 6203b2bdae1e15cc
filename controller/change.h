/* A partition's next state, worked out in one place.
 *
 * The caller takes the present state, changes targets (usually isr), and
 * change_put() does the rest, always in the same order: finish a reassignment
 * whose new replicas are in sync, keep the eligible leader replicas (KIP-966),
 * elect, raise the epochs, put the record if anything differs.
 *
 * Election.  Candidates are active, not leaving, and their log directory has
 * not failed; among equals the order of assignment decides, and brokers whose
 * connection is gone come last.
 *   1. the present leader, if it is in sync (with `prefer`: the preferred
 *      replica before it)
 *   2. a replica in sync
 *   3. an eligible leader replica: the high watermark does not move below
 *      min.insync.replicas, so it has everything that was acknowledged
 *   4. if unclean election is allowed: any replica, but one that is in sync and
 *      lost everything only if there is no other; it is then the only one in
 *      sync, and recovering
 *   5. none: leader -1; the in-sync set stays as it is
 *
 * The in-sync set never becomes empty: its last member stays, without leading,
 * until it or an eligible replica comes back.  If it comes back with an empty
 * disk, one of those that were eligible before they stopped uncleanly takes its
 * place: it may lack a tail, the other lacks everything.  Where there is none
 * of these either, it does not lead, as the other replicas would cut off what
 * they have to agree with it; the partition waits for an unclean election
 * (image_isr_is_lost()).  A replica that has no others leads with what it has.
 *
 * Epochs.  The partition epoch rises with every change.  The leader epoch rises
 * when the leader changes, or a replica leaves the assignment (so that it stops
 * fetching), but not when the in-sync set shrinks. */
#ifndef CONTROLLER_CHANGE_H
#define CONTROLLER_CHANGE_H

#include "controller/step.h"

struct id_set {
    int32_t at[IMAGE_REPLICAS_MAX];
    uint32_t len;
};

static inline struct image_ids id_set_view(const struct id_set *s)
{
    return (struct image_ids){s->at, s->len};
}

static inline bool id_set_has(const struct id_set *s, int32_t id)
{
    return image_ids_have(id_set_view(s), id);
}

void id_set_copy(struct id_set *to, struct image_ids from);
void id_set_add(struct id_set *s, int32_t id);
void id_set_remove(struct id_set *s, int32_t id);
bool id_set_subset(const struct id_set *s, const struct id_set *of);

struct change {
    struct step *s;
    struct image_topic *topic;
    int32_t partition;
    const struct image_partition *old; /* until change_put() */

    /* Targets. */
    struct id_set replicas;
    struct id_set isr;
    struct id_set adding;
    struct id_set removing;
    struct id_set elr;
    struct id_set last_known_elr;
    struct id_set offline;
    int32_t leader;
    bool recovering;
    bool isr_lost; /* its only member lost everything; no move ends */

    /* Wishes. */
    bool prefer;            /* elect the preferred replica if it is in sync */
    bool allow_unclean;     /* starts as the topic's config says */
    int32_t min_insync;     /* likewise */
    int32_t unclean_broker; /* may have lost records; -1 none */
    enum replica_loss unclean_loss; /* how many */
    bool even_so; /* a record, and a new partition epoch, if nothing differs */
};

void change_begin(struct step *s, struct image_topic *topic, int32_t partition,
                  struct change *ch);
/* True if a record was put; the partition in the image is then the new one. */
bool change_put(struct change *ch);

#endif
