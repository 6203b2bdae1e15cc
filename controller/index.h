/* Which partitions concern whom, so that no decision has to look at all.
 *
 * Kept up by replay: whoever replays into the image passes index_observer()'s
 * callbacks on.  Sets hold references (ref_set.h) into image.topics.  Pure;
 * one owner. */
#ifndef CONTROLLER_INDEX_H
#define CONTROLLER_INDEX_H

#include "controller/image.h"
#include "controller/ref_set.h"

/* A broker as far as partitions name it, registered or not. */
struct index_broker {
    int32_t id;
    struct ref_set replicas; /* in the partition's replica list */
    int64_t leads;           /* how many of them it leads */
};

struct index {
    struct map brokers;         /* id -> struct index_broker */
    struct ref_set leaderless;  /* leader -1 */
    struct ref_set imbalanced;  /* the preferred replica is in sync and there is
                                   another leader */
    struct ref_set reassigning; /* replicas are being added or removed */
    struct ref_set with_elr;    /* has eligible leader replicas */
    struct map collisions;      /* name with '.' as '_' -> struct image_topic,
                                   for names that have either */
};

void index_init(struct index *x);
void index_free(struct index *x);
/* From an image that was replayed without us. */
void index_build(struct index *x, const struct image *image);

void index_topic_added(struct index *x, const struct image_topic *topic);
void index_topic_removed(struct index *x, const struct image_topic *topic);
void index_partition_changed(struct index *x, const struct image_topic *topic,
                             int32_t partition,
                             const struct image_partition *old,
                             const struct image_partition *now);

/* NULL if no partition ever named it. */
struct index_broker *index_broker(const struct index *x, int32_t id);
/* The topic whose name differs from this one at most in '.' against '_', and
 * would share file or metric names with it; NULL if there is none. */
const struct image_topic *index_colliding(const struct index *x,
                                          struct slice name);

#endif
