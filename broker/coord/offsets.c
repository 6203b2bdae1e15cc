/* Committed offsets: group -> topic -> partition -> versions.
 *
 * A record takes effect in memory when it is appended, because later decisions
 * must see it, but it can still be lost until it is committed.  So an entry
 * keeps the version before it, too, for readers who must not see what could be
 * lost.  Such entries stand in a queue by offset; as the high watermark passes,
 * what they replaced is dropped.  A partition at rest has one version.
 *
 * Offsets that belong to an open transaction wait outside of the entries until
 * its marker. */
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

static void free_pending(struct pending_offset *pending)
{
    list_remove(&pending->in_txn);
    list_remove(&pending->in_group);
    group_set_text(&pending->topic, SLICE_NULL);
    free(pending->value);
    free(pending);
}

void offsets_put_pending(struct coord *coord, struct group *group,
                         int64_t producer_id, struct slice topic,
                         int32_t partition, struct offset_value *value)
{
    uint8_t bytes[8];
    struct slice key = txn_key(producer_id, bytes);
    struct txn_offsets *txn = map_get(&coord->txns, key);
    struct pending_offset *pending = xcalloc(1, sizeof *pending);

    if (txn == NULL) {
        txn = xcalloc(1, sizeof *txn);
        list_init(&txn->pending);
        map_put(&coord->txns, key, txn);
    }
    pending->group = group;
    group_set_text(&pending->topic, topic);
    pending->partition = partition;
    pending->value = value;
    list_push_back(&txn->pending, &pending->in_txn);
    list_push_back(&group->pending, &pending->in_group);
}

void offsets_drop_pending(struct group *group, struct slice topic,
                          int32_t partition)
{
    LIST_EACH_SAFE (node, next, &group->pending) {
        struct pending_offset *pending =
            LIST_ENTRY(node, struct pending_offset, in_group);

        if (pending->partition == partition && slice_eq(pending->topic, topic))
            free_pending(pending);
    }
}

bool offsets_pending_in_txn(const struct group *group, struct slice topic,
                            int32_t partition)
{
    LIST_EACH (node, &group->pending) {
        const struct pending_offset *pending =
            LIST_ENTRY(node, struct pending_offset, in_group);

        if (pending->partition == partition && slice_eq(pending->topic, topic))
            return true;
    }
    return false;
}

/* Of a transactional and a plain commit the one later in the log wins, not the
 * one whose transaction ended later: compaction keeps that record. */
static void apply(struct coord *coord, struct pending_offset *pending,
                  int64_t marker_offset)
{
    const struct offset_value *now = offset_newest(
        offsets_find(pending->group, pending->topic, pending->partition));
    struct offset_value *value = pending->value;

    if (now != NULL && now->record_offset >= value->record_offset)
        return;
    pending->value = NULL;
    value->visible_offset = marker_offset;
    offsets_put(coord, pending->group, pending->topic, pending->partition,
                value);
}

void offsets_end_txn(struct coord *coord, int64_t producer_id, bool committed,
                     int64_t marker_offset)
{
    uint8_t bytes[8];
    struct txn_offsets *txn =
        map_remove(&coord->txns, txn_key(producer_id, bytes));

    if (txn == NULL)
        return;
    LIST_EACH_SAFE (node, next, &txn->pending) {
        struct pending_offset *pending =
            LIST_ENTRY(node, struct pending_offset, in_txn);
        struct group *group = pending->group;

        if (committed)
            apply(coord, pending, marker_offset);
        free_pending(pending);
        group_drop_if_hollow(coord, group);
    }
    free(txn);
}

void offsets_free_txns(struct coord *coord)
{
    MAP_EACH (entry, &coord->txns) {
        struct txn_offsets *txn = entry->value;

        LIST_EACH_SAFE (node, next, &txn->pending)
            free_pending(LIST_ENTRY(node, struct pending_offset, in_txn));
        free(txn);
    }
    map_free(&coord->txns);
}
