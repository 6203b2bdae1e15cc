/* Committed offsets: group -> topic -> partition -> versions.
 *
 * A record takes effect in memory when it is appended, because later decisions
 * must see it, but it can still be lost until it is committed.  So an entry
 * keeps the version before it, too, for readers who must not see what could be
 * lost.  Such entries stand in a queue by offset; as the high watermark passes,
 * what they replaced is dropped.  A partition at rest has one version.
 *
 * Offsets that belong to an open transaction wait outside of the entries until
 * its marker, of each partition the last one: a group finds them by topic and
 * partition, a transaction all of its own. */
#include "broker/coord/group.h"

#include <stdlib.h>

struct slice offsets_topic_name(const struct topic_offsets *topic)
{
    return slice_of(topic->name, topic->name_len);
}

static void free_chain(struct offset_value *value)
{
    while (value != NULL) {
        struct offset_value *older = value->older;
        free(value);
        value = older;
    }
}

/* ---- topics and entries --------------------------------------------------*/

/* Index of the first topic that is not below `name`. */
static uint32_t topic_bound(const struct group *group, struct slice name)
{
    uint32_t low = 0, high = group->topics_len;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slice_cmp(offsets_topic_name(group->topics[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct topic_offsets *offsets_topic(const struct group *group,
                                    struct slice topic)
{
    uint32_t at = topic_bound(group, topic);

    return at < group->topics_len &&
                   slice_eq(offsets_topic_name(group->topics[at]), topic)
               ? group->topics[at]
               : NULL;
}

static struct topic_offsets *add_topic(struct group *group, struct slice name)
{
    struct topic_offsets *topic = offsets_topic(group, name);
    uint32_t at = topic_bound(group, name);

    if (topic != NULL)
        return topic;
    topic = xcalloc(1, sizeof *topic + name.len + 1);
    topic->group = group;
    topic->name_len = (uint32_t)name.len;
    if (name.len != 0)
        memcpy(topic->name, name.data, name.len);
    if (group->topics_len == group->topics_cap) {
        group->topics_cap = group->topics_cap != 0 ? group->topics_cap * 2 : 1;
        group->topics =
            xrealloc(group->topics, group->topics_cap * sizeof *group->topics);
    }
    memmove(&group->topics[at + 1], &group->topics[at],
            (group->topics_len - at) * sizeof *group->topics);
    group->topics[at] = topic;
    group->topics_len++;
    return topic;
}

static void remove_topic(struct topic_offsets *topic)
{
    struct group *group = topic->group;
    uint32_t at = topic_bound(group, offsets_topic_name(topic));

    ASSERT(group->topics[at] == topic);
    group->topics_len--;
    memmove(&group->topics[at], &group->topics[at + 1],
            (group->topics_len - at) * sizeof *group->topics);
    free(topic->entries);
    free(topic);
}

/* Index of the first entry that is not below `partition`. */
static uint32_t lower_bound(const struct topic_offsets *topic,
                            int32_t partition)
{
    uint32_t low = 0, high = topic->len;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (topic->entries[middle].partition < partition)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct offset_entry *find_in(const struct topic_offsets *topic,
                                    int32_t partition)
{
    uint32_t at = lower_bound(topic, partition);

    return at < topic->len && topic->entries[at].partition == partition
               ? &topic->entries[at]
               : NULL;
}

struct offset_entry *offsets_find(const struct group *group, struct slice topic,
                                  int32_t partition)
{
    const struct topic_offsets *t = offsets_topic(group, topic);

    return t != NULL ? find_in(t, partition) : NULL;
}

static struct offset_entry *add_entry(struct topic_offsets *topic,
                                      int32_t partition)
{
    uint32_t at = lower_bound(topic, partition);

    if (at < topic->len && topic->entries[at].partition == partition)
        return &topic->entries[at];
    if (topic->len == topic->cap) {
        topic->cap = topic->cap != 0 ? topic->cap * 2 : 1;
        topic->entries =
            xrealloc(topic->entries, topic->cap * sizeof *topic->entries);
    }
    memmove(&topic->entries[at + 1], &topic->entries[at],
            (topic->len - at) * sizeof *topic->entries);
    topic->len++;
    topic->entries[at] = (struct offset_entry){.partition = partition};
    return &topic->entries[at];
}

/* Removes an entry whose last version is gone, and what becomes empty. */
static void remove_entry(struct topic_offsets *topic,
                         struct offset_entry *entry)
{
    uint32_t at = (uint32_t)(entry - topic->entries);

    free_chain(entry->newest);
    topic->len--;
    memmove(&topic->entries[at], &topic->entries[at + 1],
            (topic->len - at) * sizeof *topic->entries);
    if (topic->len == 0)
        remove_topic(topic);
}

/* ---- reading -------------------------------------------------------------*/

const struct offset_value *offset_newest(const struct offset_entry *entry)
{
    return entry == NULL || entry->newest->deleted ? NULL : entry->newest;
}

const struct offset_value *offset_committed(const struct coord *coord,
                                            const struct offset_entry *entry)
{
    const struct offset_value *value = entry != NULL ? entry->newest : NULL;

    while (value != NULL && value->visible_offset >= coord->committed)
        value = value->older;
    return value == NULL || value->deleted ? NULL : value;
}

int64_t offsets_unsettled_end(const struct coord *coord)
{
    if (coord->unsettled_len == 0)
        return 0;
    return coord
               ->unsettled[(coord->unsettled_at + coord->unsettled_len - 1) &
                           (coord->unsettled_cap - 1)]
               .visible_offset +
           1;
}

bool offset_is_doubtful(const struct coord *coord,
                        const struct offset_entry *entry)
{
    const struct offset_value *value = entry != NULL ? entry->newest : NULL;

    for (; value != NULL && value->visible_offset >= coord->committed;
         value = value->older)
        if (value->visible_offset < coord->inherited)
            return true;
    return false;
}

/* ---- settling ------------------------------------------------------------*/

static void push_unsettled(struct coord *coord, struct unsettled item)
{
    if (coord->unsettled_len == coord->unsettled_cap) {
        uint32_t cap =
            coord->unsettled_cap != 0 ? coord->unsettled_cap * 2 : 64;
        struct unsettled *ring = xcalloc(cap, sizeof *ring);

        for (uint32_t i = 0; i < coord->unsettled_len; i++)
            ring[i] = coord->unsettled[(coord->unsettled_at + i) &
                                       (coord->unsettled_cap - 1)];
        free(coord->unsettled);
        coord->unsettled = ring;
        coord->unsettled_cap = cap;
        coord->unsettled_at = 0;
    }
    coord->unsettled[(coord->unsettled_at + coord->unsettled_len++) &
                     (coord->unsettled_cap - 1)] = item;
}

/* Drops what the newest committed version has replaced.  True if the entry
 * holds nothing any more, and nobody in the queue asks for it. */
static bool prune(const struct coord *coord, struct offset_entry *entry)
{
    struct offset_value *value = entry->newest;

    while (value != NULL && value->visible_offset >= coord->committed)
        value = value->older;
    if (value == NULL)
        return false;
    free_chain(value->older);
    value->older = NULL;
    return value == entry->newest && value->deleted && entry->unsettled == 0;
}

void offsets_settle(struct coord *coord)
{
    while (coord->unsettled_len != 0) {
        struct unsettled item = coord->unsettled[coord->unsettled_at];

        if (item.visible_offset >= coord->committed)
            break;
        coord->unsettled_at =
            (coord->unsettled_at + 1) & (coord->unsettled_cap - 1);
        coord->unsettled_len--;
        /* Standing in the queue keeps an entry and so its topic and group
         * alive until here: also one that a later, committed version has
         * deleted. */
        struct group *group = item.topic->group;
        struct offset_entry *entry = find_in(item.topic, item.partition);
        ASSERT(entry != NULL && entry->unsettled > 0);
        entry->unsettled--;
        if (prune(coord, entry)) {
            remove_entry(item.topic, entry);
            group_drop_if_hollow(coord, group);
        }
    }
}

void offsets_put(struct coord *coord, struct group *group, struct slice topic,
                 int32_t partition, struct offset_value *value)
{
    struct offset_entry *entry = offsets_find(group, topic, partition);

    if (entry == NULL && value->deleted) {
        free(value);
        return;
    }
    struct topic_offsets *t = add_topic(group, topic);
    entry = add_entry(t, partition);
    value->older = entry->newest;
    entry->newest = value;
    if (value->visible_offset >= coord->committed) {
        entry->unsettled++;
        push_unsettled(coord,
                       (struct unsettled){value->visible_offset, t, partition});
    } else if (prune(coord, entry)) {
        remove_entry(t, entry);
    }
}

void offsets_free(struct group *group)
{
    for (uint32_t t = 0; t < group->topics_len; t++) {
        struct topic_offsets *topic = group->topics[t];

        for (uint32_t i = 0; i < topic->len; i++)
            free_chain(topic->entries[i].newest);
        free(topic->entries);
        free(topic);
    }
    free(group->topics);
}

/* ---- open transactions ---------------------------------------------------*/

static struct slice txn_key(int64_t producer_id, uint8_t bytes[static 8])
{
    be64_put(bytes, (uint64_t)producer_id);
    return slice_of(bytes, 8);
}

struct slice offsets_pending_name(const struct pending_topic *topic)
{
    return slice_of(topic->name, topic->name_len);
}

struct pending_topic *offsets_pending_topic(const struct group *group,
                                            struct slice topic)
{
    return map_get(&group->pending, topic);
}

static struct slice index_key(int32_t index, uint8_t bytes[static 4])
{
    be32_put(bytes, (uint32_t)index);
    return slice_of(bytes, 4);
}

static struct pending_partition *find_pending(const struct group *group,
                                              struct slice topic, int32_t index)
{
    const struct pending_topic *t = offsets_pending_topic(group, topic);
    uint8_t bytes[4];

    return t != NULL ? map_get(&t->partitions, index_key(index, bytes)) : NULL;
}

static struct pending_topic *add_pending_topic(struct group *group,
                                               struct slice name)
{
    struct pending_topic *topic = offsets_pending_topic(group, name);

    if (topic != NULL)
        return topic;
    topic = xcalloc(1, sizeof *topic + name.len + 1);
    topic->group = group;
    topic->name_len = (uint32_t)name.len;
    if (name.len != 0)
        memcpy(topic->name, name.data, name.len);
    map_put(&group->pending, name, topic);
    return topic;
}

static struct pending_partition *add_pending(struct group *group,
                                             struct slice topic, int32_t index)
{
    struct pending_partition *partition = find_pending(group, topic, index);
    uint8_t bytes[4];

    if (partition != NULL)
        return partition;
    partition = xcalloc(1, sizeof *partition);
    partition->topic = add_pending_topic(group, topic);
    partition->index = index;
    list_init(&partition->offsets);
    map_put(&partition->topic->partitions, index_key(index, bytes), partition);
    return partition;
}

/* Removes a partition that nothing is pending of, and what becomes empty. */
static void remove_pending(struct pending_partition *partition)
{
    struct pending_topic *topic = partition->topic;
    struct group *group = topic->group;
    uint8_t bytes[4];

    map_remove(&topic->partitions, index_key(partition->index, bytes));
    free(partition);
    if (map_count(&topic->partitions) != 0)
        return;
    map_remove(&group->pending, offsets_pending_name(topic));
    map_free(&topic->partitions);
    free(topic);
    if (map_count(&group->pending) == 0)
        map_free(&group->pending);
}

/* Only looked up by: no order comes from an address. */
static struct slice partition_key(struct pending_partition *const *partition)
{
    return slice_of(partition, sizeof *partition);
}

static void free_pending(struct pending_offset *pending)
{
    struct pending_partition *partition = pending->partition;

    map_remove(&pending->txn->pending, partition_key(&partition));
    list_remove(&pending->in_partition);
    free(pending->value);
    free(pending);
    if (list_empty(&partition->offsets))
        remove_pending(partition);
}

static struct txn_offsets *add_txn(struct coord *coord, int64_t producer_id)
{
    uint8_t bytes[8];
    struct slice key = txn_key(producer_id, bytes);
    struct txn_offsets *txn = map_get(&coord->txns, key);

    if (txn == NULL) {
        txn = xcalloc(1, sizeof *txn);
        map_put(&coord->txns, key, txn);
    }
    return txn;
}

void offsets_put_pending(struct coord *coord, struct group *group,
                         int64_t producer_id, struct slice topic,
                         int32_t partition, struct offset_value *value)
{
    struct txn_offsets *txn = add_txn(coord, producer_id);
    struct pending_partition *p = add_pending(group, topic, partition);
    struct pending_offset *pending = map_get(&txn->pending, partition_key(&p));

    if (pending == NULL) {
        pending = xcalloc(1, sizeof *pending);
        pending->partition = p;
        pending->txn = txn;
        list_push_back(&p->offsets, &pending->in_partition);
        map_put(&txn->pending, partition_key(&p), pending);
    }
    free(pending->value);
    pending->value = value;
}

void offsets_drop_pending(struct group *group, struct slice topic,
                          int32_t partition)
{
    struct pending_partition *p = find_pending(group, topic, partition);

    if (p == NULL)
        return;
    /* The partition goes with the last of them. */
    for (bool last = false; !last;) {
        struct pending_offset *pending =
            LIST_ENTRY(p->offsets.next, struct pending_offset, in_partition);

        last = pending->in_partition.next == &p->offsets;
        free_pending(pending);
    }
}

bool offsets_pending_in_txn(const struct group *group, struct slice topic,
                            int32_t partition)
{
    return find_pending(group, topic, partition) != NULL;
}

bool offsets_any_pending(const struct group *group)
{
    return map_count(&group->pending) != 0;
}

/* Of a transactional and a plain commit the one later in the log wins, not the
 * one whose transaction ended later: compaction keeps that record. */
static void apply(struct coord *coord, struct pending_offset *pending,
                  int64_t marker_offset)
{
    const struct pending_topic *topic = pending->partition->topic;
    struct group *group = topic->group;
    struct slice name = offsets_pending_name(topic);
    int32_t partition = pending->partition->index;
    const struct offset_value *now =
        offset_newest(offsets_find(group, name, partition));
    struct offset_value *value = pending->value;

    if (now != NULL && now->record_offset >= value->record_offset)
        return;
    pending->value = NULL;
    value->visible_offset = marker_offset;
    offsets_put(coord, group, name, partition, value);
    if (!group->exists) { /* its metadata went meanwhile */
        group_find_or_create(coord, group_id(group), -1);
        expire_arm_group(coord, group);
    }
}

void offsets_end_txn(struct coord *coord, int64_t producer_id, bool committed,
                     int64_t marker_offset)
{
    uint8_t bytes[8];
    struct txn_offsets *txn =
        map_remove(&coord->txns, txn_key(producer_id, bytes));

    if (txn == NULL)
        return;
    MAP_EACH (entry, &txn->pending) {
        struct pending_offset *pending = entry->value;
        struct group *group = pending->partition->topic->group;

        if (committed)
            apply(coord, pending, marker_offset);
        free_pending(pending);
        group_drop_if_hollow(coord, group);
    }
    map_free(&txn->pending);
    free(txn);
}

void offsets_free_txns(struct coord *coord)
{
    MAP_EACH (entry, &coord->txns) {
        struct txn_offsets *txn = entry->value;

        MAP_EACH (pending, &txn->pending)
            free_pending(pending->value);
        map_free(&txn->pending);
        free(txn);
    }
    map_free(&coord->txns);
}
