/* Grouping markers by decision and topic, and finding their answers. */
#include "broker/coord/txn/marker_request.h"

#include "base/map.h"

#include <stdlib.h>

typedef struct write_txn_markers_request_writable_txn_marker entry;
typedef struct write_txn_markers_request_writable_txn_marker_topic entry_topic;
typedef struct write_txn_markers_response_writable_txn_marker_result
    result_entry;
typedef struct write_txn_markers_response_writable_txn_marker_topic_result
    result_topic;

/* ---- a request -----------------------------------------------------------*/

/* All markers of one producer id, or of one topic of it: counted first, so
 * that arrays have the room they need. */
struct group {
    const struct txn_marker *first;
    uint32_t count;
    entry *entry;
    entry_topic *topic;
};

struct grouping {
    struct txn_marker_request *to;
    struct map by_producer; /* of struct group, in the arena */
    struct map by_topic;
    struct buf key;
};

static struct slice producer_key(struct grouping *g, const struct txn_marker *m)
{
    g->key.len = 0;
    buf_put_u64(&g->key, (uint64_t)m->producer_id);
    return buf_slice(&g->key);
}

static struct slice topic_key(struct grouping *g, const struct txn_marker *m)
{
    producer_key(g, m);
    buf_put_slice(&g->key, m->topic);
    return buf_slice(&g->key);
}

static struct group *group_for(struct grouping *g, struct map *groups,
                               struct slice key, const struct txn_marker *m)
{
    struct group *group = map_get(groups, key);

    if (group == NULL) {
        group = arena_alloc(&g->to->arena, sizeof *group);
        group->first = m;
        map_put(groups, key, group);
    }
    return group;
}

static bool same_decision(const struct txn_marker *a,
                          const struct txn_marker *b)
{
    return a->round == b->round && a->producer_epoch == b->producer_epoch &&
           a->committed == b->committed &&
           a->coordinator_epoch == b->coordinator_epoch;
}

static bool take(struct grouping *g, struct txn_marker *m)
{
    struct group *producer =
        group_for(g, &g->by_producer, producer_key(g, m), m);

    if (!same_decision(producer->first, m))
        return false;
    producer->count++;
    group_for(g, &g->by_topic, topic_key(g, m), m)->count++;
    list_remove(&m->link);
    list_push_back(&g->to->markers, &m->link);
    return true;
}

static entry *entry_for(struct grouping *g, const struct txn_marker *m)
{
    struct write_txn_markers_request *r = &g->to->request;
    struct group *group = map_get(&g->by_producer, producer_key(g, m));

    if (group->entry != NULL)
        return group->entry;
    group->entry = &r->markers[r->markers_len++];
    *group->entry = (entry){
        .producer_id = m->producer_id,
        .producer_epoch = m->producer_epoch,
        .transaction_result = m->committed,
        .coordinator_epoch = m->coordinator_epoch,
        .transaction_version = m->transaction_version,
        .decision = (int64_t)m->round,
        .topics = arena_array(&g->to->arena, group->count, sizeof(entry_topic)),
    };
    return group->entry;
}

static entry_topic *topic_for(struct grouping *g, const struct txn_marker *m)
{
    struct group *group = map_get(&g->by_topic, topic_key(g, m));

    if (group->topic != NULL)
        return group->topic;
    entry *e = entry_for(g, m);
    group->topic = &e->topics[e->topics_len++];
    group->topic->name = m->topic; /* the marker outlives the request */
    group->topic->partition_indexes =
        arena_array(&g->to->arena, group->count, sizeof(int32_t));
    return group->topic;
}

static void fill(struct grouping *g)
{
    g->to->request.markers =
        arena_array(&g->to->arena, map_count(&g->by_producer), sizeof(entry));
    LIST_EACH (node, &g->to->markers) {
        const struct txn_marker *m = LIST_ENTRY(node, struct txn_marker, link);
        entry_topic *topic = topic_for(g, m);

        topic->partition_indexes[topic->partition_indexes_len++] = m->partition;
    }
}

struct txn_marker_request *txn_marker_request_new(struct list *markers,
                                                  uint32_t max)
{
    struct grouping g = {0};
    uint32_t taken = 0;

    if (list_empty(markers) || max == 0)
        return NULL;
    g.to = xcalloc(1, sizeof *g.to);
    list_init(&g.to->markers);
    arena_init(&g.to->arena, 0);
    LIST_EACH_SAFE (node, next, markers) {
        if (taken == max)
            break;
        taken += take(&g, LIST_ENTRY(node, struct txn_marker, link));
    }
    fill(&g);
    map_free(&g.by_producer);
    map_free(&g.by_topic);
    buf_free(&g.key);
    return g.to;
}

/* ---- its response --------------------------------------------------------*/

static void learn_topic(struct map *said, struct buf *key, int64_t producer_id,
                        const result_topic *t)
{
    for (int32_t i = 0; i < t->partitions_len; i++) {
        key->len = 0;
        buf_put_u32(key, (uint32_t)t->partitions[i].partition_index);
        buf_put_u64(key, (uint64_t)producer_id);
        buf_put_slice(key, t->name);
        map_put(said, buf_slice(key),
                (void *)(uintptr_t)&t->partitions[i].error_code);
    }
}

static void learn(struct map *said,
                  const struct write_txn_markers_response *response)
{
    struct buf key = BUF_INIT;

    for (int32_t i = 0; i < response->markers_len; i++) {
        const result_entry *e = &response->markers[i];

        for (int32_t t = 0; t < e->topics_len; t++)
            learn_topic(said, &key, e->producer_id, &e->topics[t]);
    }
    buf_free(&key);
}

static enum txn_marker_result result_of(const struct map *said,
                                        const struct txn_marker *m)
{
    struct buf key = BUF_INIT;

    buf_put_u32(&key, (uint32_t)m->partition);
    buf_put_u64(&key, (uint64_t)m->producer_id);
    buf_put_slice(&key, m->topic);
    const int16_t *code = map_get(said, buf_slice(&key));
    buf_free(&key);
    return code != NULL ? txn_marker_result_of((enum err) * code)
                        : TXN_MARKER_RETRY;
}

void txn_marker_request_done(struct txn_marker_request *request, enum err err,
                             const struct write_txn_markers_response *response,
                             void (*ended)(void *arg, struct txn_marker *marker,
                                           enum txn_marker_result result),
                             void *arg)
{
    struct map said = MAP_INIT;

    if (err == ERR_NONE && response != NULL)
        learn(&said, response);
    while (!list_empty(&request->markers)) {
        struct txn_marker *m = LIST_ENTRY(list_pop_front(&request->markers),
                                          struct txn_marker, link);

        ended(arg, m, result_of(&said, m));
    }
    map_free(&said);
    arena_free(&request->arena);
    free(request);
}
