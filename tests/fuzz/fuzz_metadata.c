/* Entries of the metadata log, each a part: MetadataBatches, whoever wrote
 * them.  Hostile ones are refused; from those that apply, the image, the stored
 * image, its snapshot and the difference to an empty one all tell the same. */
#include "tests/fuzz/kit.h"

#include "controller/image_kv.h"
#include "tests/unit/raft/memory_kv.h"

#include <stdlib.h>

enum { ENTRIES_MAX = 16 };

static void check_snapshot(const struct image *image)
{
    struct image_cursor cursor = {0};
    struct buf piece = BUF_INIT;
    struct image copy;

    image_init(&copy);
    while (!cursor.done) {
        piece.len = 0;
        image_snapshot_next(image, &cursor, 64, &piece);
        copy.applied_index = 0;
        ASSERT(image_apply(&copy, image->applied_index + 1, buf_slice(&piece),
                           NULL) == ERR_NONE);
    }
    ASSERT(image_equal(image, &copy));
    image_free(&copy);
    buf_free(&piece);
}

static void check_stored(struct kv *kv, const struct image *image)
{
    struct image loaded;
    int64_t term;
    char *why = NULL;

    image_init(&loaded);
    ASSERT(image_load(kv, &loaded, &term, &why) == ERR_NONE);
    ASSERT(loaded.applied_index == image->applied_index);
    ASSERT(image_equal(&loaded, image));
    image_free(&loaded);
}

/* ---- what observers are told --------------------------------------------- */

struct counts {
    int64_t brokers, topics, partitions;
};

static void broker_changed(void *arg, const struct image_broker *old,
                           const struct image_broker *now)
{
    struct counts *c = arg;

    c->brokers += (now != NULL) - (old != NULL);
}

static void topic_added(void *arg, const struct image_topic *topic)
{
    ((struct counts *)arg)->topics++;
}

static void topic_removed(void *arg, const struct image_topic *topic)
{
    struct counts *c = arg;

    c->topics--;
    c->partitions -= topic->partitions_len;
}

static void partition_changed(void *arg, const struct image_topic *topic,
                              int32_t partition,
                              const struct image_partition *old,
                              const struct image_partition *now)
{
    ASSERT(image_partition(topic, partition) == now);
    ASSERT(now->leader == -1 || image_ids_have(image_isr(now), now->leader));
    if (old == NULL)
        ((struct counts *)arg)->partitions++;
}

static struct image_observer observer_of(struct counts *c)
{
    return (struct image_observer){
        .arg = c,
        .broker_changed = broker_changed,
        .topic_added = topic_added,
        .topic_removed = topic_removed,
        .partition_changed = partition_changed,
    };
}

static void check_counts(const struct image *image, const struct counts *c)
{
    ASSERT(c->brokers == (int64_t)image->brokers_len);
    ASSERT(c->topics == map_count(&image->topics_by_id));
    ASSERT(c->topics == map_count(&image->topics_by_name));
    ASSERT(c->partitions == image->partitions_count);
}

static void check_diff(const struct image *image)
{
    struct counts c = {0};
    struct image_observer o = observer_of(&c);
    struct image empty;

    image_init(&empty);
    image_diff(&empty, image, &o);
    check_counts(image, &c);
    image_diff(image, &empty, &o);
    check_counts(&empty, &c);
    image_free(&empty);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    struct kv *kv = memory_kv_new();
    struct counts counts = {0};
    struct image_observer o = observer_of(&counts);
    struct image image;
    enum err err = ERR_NONE;

    image_init(&image);
    for (int64_t i = 1; i <= ENTRIES_MAX && reader_left(&r) != 0; i++) {
        struct slice batch = take_part(&r);
        struct kv_batch store = KV_BATCH_INIT;
        enum err stored = image_persist(i, 1, batch, &store);

        err = image_apply(&image, i, batch, &o);
        ASSERT(err != ERR_NONE || stored == ERR_NONE);
        if (err == ERR_NONE && kv_write(kv, &store, false) != 0)
            err = ERR_IO; /* a name that no key can hold */
        kv_batch_free(&store);
        if (err != ERR_NONE)
            break;
        check_counts(&image, &counts);
    }
    if (err == ERR_NONE) {
        check_snapshot(&image);
        check_stored(kv, &image);
        check_diff(&image);
    }
    image_free(&image);
    memory_kv_free(kv);
    return 0;
}
