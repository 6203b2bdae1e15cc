#include "controller/index.h"

#include <stdlib.h>

/* ---- brokers ------------------------------------------------------------- */

static struct slice id_key(const int32_t *id)
{
    return slice_of(id, sizeof *id);
}

struct index_broker *index_broker(const struct index *x, int32_t id)
{
    return map_get(&x->brokers, id_key(&id));
}

static struct index_broker *broker_get(struct index *x, int32_t id)
{
    struct index_broker *b = index_broker(x, id);

    if (b == NULL) {
        b = xcalloc(1, sizeof *b);
        b->id = id;
        map_put(&x->brokers, id_key(&id), b);
    }
    return b;
}

/* ---- names --------------------------------------------------------------- */

/* Empty unless the name has a character that can collide. */
static struct buf collision_key(struct slice name)
{
    struct buf key = BUF_INIT;
    bool can_collide = false;

    buf_put_slice(&key, name);
    for (size_t i = 0; i < key.len; i++) {
        can_collide |= key.data[i] == '.' || key.data[i] == '_';
        if (key.data[i] == '.')
            key.data[i] = '_';
    }
    if (!can_collide)
        key.len = 0;
    return key;
}

const struct image_topic *index_colliding(const struct index *x,
                                          struct slice name)
{
    struct buf key = collision_key(name);
    const struct image_topic *found =
        key.len == 0 ? NULL : map_get(&x->collisions, buf_slice(&key));

    buf_free(&key);
    return found;
}

void index_topic_added(struct index *x, const struct image_topic *topic)
{
    struct buf key = collision_key(slice_str(topic->name));

    if (key.len != 0)
        map_put(&x->collisions, buf_slice(&key),
                (struct image_topic *)(uintptr_t)topic);
    buf_free(&key);
}

/* ---- partitions ---------------------------------------------------------- */

static void count_leader(struct index *x, const struct image_partition *p,
                         int by)
{
    if (p != NULL && p->leader >= 0)
        broker_get(x, p->leader)->leads += by;
}

static void update_replicas(struct index *x, partition_ref ref,
                            struct image_ids old, struct image_ids now)
{
    for (uint32_t i = 0; i < old.len; i++)
        if (!image_ids_have(now, old.at[i]))
            ref_set_remove(&broker_get(x, old.at[i])->replicas, ref);
    for (uint32_t i = 0; i < now.len; i++)
        if (!image_ids_have(old, now.at[i]))
            ref_set_add(&broker_get(x, now.at[i])->replicas, ref);
}

static bool is_imbalanced(const struct image_partition *p)
{
    return p->leader != p->ids[0] && p->leader != -1 &&
           image_ids_have(image_isr(p), p->ids[0]);
}

/* old NULL: created; now NULL: removed. */
static void update(struct index *x, partition_ref ref,
                   const struct image_partition *old,
                   const struct image_partition *now)
{
    static const struct image_ids none = {NULL, 0};

    count_leader(x, old, -1);
    count_leader(x, now, +1);
    update_replicas(x, ref, old == NULL ? none : image_replicas(old),
                    now == NULL ? none : image_replicas(now));
    ref_set_put(&x->leaderless, ref, now != NULL && now->leader == -1);
    ref_set_put(&x->imbalanced, ref, now != NULL && is_imbalanced(now));
    ref_set_put(&x->reassigning, ref,
                now != NULL &&
                    (now->adding_len != 0 || now->removing_len != 0));
    ref_set_put(&x->with_elr, ref, now != NULL && now->elr_len != 0);
}

void index_partition_changed(struct index *x, const struct image_topic *topic,
                             int32_t partition,
                             const struct image_partition *old,
                             const struct image_partition *now)
{
    update(x, partition_ref_of(topic->slot, partition), old, now);
}

void index_topic_removed(struct index *x, const struct image_topic *topic)
{
    struct buf key = collision_key(slice_str(topic->name));

    for (int32_t i = 0; i < topic->partitions_len; i++)
        update(x, partition_ref_of(topic->slot, i), topic->partitions[i], NULL);
    if (key.len != 0)
        map_remove(&x->collisions, buf_slice(&key));
    buf_free(&key);
}

/* ---- life ---------------------------------------------------------------- */

void index_init(struct index *x) { *x = (struct index){.brokers = MAP_INIT}; }

void index_free(struct index *x)
{
    MAP_EACH (entry, &x->brokers) {
        struct index_broker *b = entry->value;

        ref_set_free(&b->replicas);
        free(b);
    }
    map_free(&x->brokers);
    map_free(&x->collisions);
    ref_set_free(&x->leaderless);
    ref_set_free(&x->imbalanced);
    ref_set_free(&x->reassigning);
    ref_set_free(&x->with_elr);
}

void index_build(struct index *x, const struct image *image)
{
    struct image_topic *topic;

    for (uint32_t at = 0; (topic = image_topic_next(image, &at)) != NULL;) {
        index_topic_added(x, topic);
        for (int32_t i = 0; i < topic->partitions_len; i++)
            index_partition_changed(x, topic, i, NULL, topic->partitions[i]);
    }
}
