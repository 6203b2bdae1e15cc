/* Where the replicas of new partitions go.
 *
 * The brokers that are active form one list in which racks take turns, started
 * at random places.  Partition i is led by the i-th broker of the list, so
 * leaders are even to within one.  The other replicas follow in the list from a
 * distance that grows with every round, so that one broker's partitions do not
 * all share the same followers; racks not used yet come first.
 * Brokers that are fenced or shutting down only make up for a lack of active
 * ones, and never lead.
 *
 * Pure; the seed decides everything that is left open. */
#ifndef CONTROLLER_PLACEMENT_H
#define CONTROLLER_PLACEMENT_H

#include "base/prng.h"
#include "controller/image.h"

struct arena;

struct placement_broker {
    const struct image_broker *broker;
    uint32_t rack;  /* number of its rack */
    uint32_t taken; /* by the partition with this number + 1 */
};

struct placement {
    struct placement_broker *brokers; /* active ones, racks in turn */
    uint32_t active;
    uint32_t total;       /* with the others, which come last */
    uint32_t *rack_taken; /* by rack, as placement_broker.taken */
    uint32_t start;       /* leads the first partition */
    uint32_t shift;       /* moves the followers of the first partition */
    uint32_t placed;      /* partitions so far */
};

/* Borrows the brokers; lives as long as the arena. */
void placement_init(struct placement *p, const struct image *image,
                    struct arena *arena, struct prng *prng);
/* Replicas of the next partition, the leader first.  Needs active > 0 and
 * 0 < count <= total. */
void placement_next(struct placement *p, uint32_t count, int32_t *replicas);

#endif
